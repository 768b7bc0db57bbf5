//! The order desk: catalogs, and orders that already exist at a CA.
//!
//! Here is what every CA has in common. What the commercial CAs need beyond it — approvers, validation of
//! domains apart from orders, presets — is added here, not in the steps of orders.

use serde::{Deserialize, Serialize};

use super::{Context, Engine, certificate, principal::unknown};
use crate::{
    ca::{Catalog, DomainValidation, ImportFilter, OrderSnapshot, PurposeKind, Stage},
    challenge::Proof,
    error::{Error, Operation, Result},
    id::{AccountName, CertificateId},
    journal::{Changes, lost_race},
    model::{Actor, Certificate, CertificateSpec, EventKind, Occurrence, Version},
    name::Identifier,
    store::{Field, Key, Kind, Query},
    x509::Chain,
};

/// What an import did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImportReport {
    /// Orders that the CA listed.
    pub listed: usize,
    /// Certificates that were taken over.
    pub imported: usize,
    /// Those that were here already.
    pub known: usize,
    /// Orders without a certificate.
    pub without_certificate: usize,
}

/// The catalog of an account as last read; none if it was never read.
pub(super) async fn stored_catalog(context: &Context, account: &AccountName) -> Result<Option<Catalog>> {
    Ok(context.journal.setting(&catalog_key(account)).await?.map(|(catalog, _)| catalog))
}

fn catalog_key(account: &AccountName) -> Key {
    Key::new(Kind::Catalog, account)
}

impl Engine {
    /// Reads what a CA account may order, and keeps it: later wishes are checked against it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the CA has no catalog, and what it says.
    pub async fn refresh_catalog(&self, account: &AccountName) -> Result<Catalog> {
        let ca =
            self.context.accounts.ca(account).map_err(|input| Error::input(Operation::Catalog, input))?;
        let catalog = {
            let _place = ca.place().await;
            ca.provider.catalog().await?
        };
        let key = catalog_key(account);
        loop {
            let revision = self.context.journal.setting::<Catalog>(&key).await?.map(|(_, revision)| revision);
            match self.context.journal.set(key.clone(), &catalog, revision, &[]).await {
                Err(error) if lost_race(&error) => {}
                other => return other.map(|()| catalog),
            }
        }
    }

    /// The catalog of a CA account as last read; none if it was never read.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn catalog(&self, account: &AccountName) -> Result<Option<Catalog>> {
        stored_catalog(&self.context, account).await
    }

    /// Lists the e-mail addresses of which one may confirm control of `domain` at a CA account, for a
    /// [`Route::Email`](crate::model::Route::Email).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the CA has no such list, and what it says.
    pub async fn approvers(
        &self,
        account: &AccountName,
        domain: &Identifier,
        product: Option<&str>,
    ) -> Result<Vec<String>> {
        let absent = |input| Error::input(Operation::ListApprovers, input);
        let ca = self.context.accounts.ca(account).map_err(absent)?;
        let _place = ca.place().await;
        ca.provider.approvers(domain, product).await
    }

    /// Starts to validate a domain at a CA account apart from any order, and says what to publish; asked again, the CA
    /// looks whether it is there. Publishing is the caller's: nothing is stored here.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the CA validates domains with orders only, and what
    /// it says.
    pub async fn validate_domain(
        &self,
        account: &AccountName,
        domain: &Identifier,
        proof: &Proof,
    ) -> Result<DomainValidation> {
        let absent = |input| Error::input(Operation::ValidateDomain, input);
        let ca = self.context.accounts.ca(account).map_err(absent)?;
        let _place = ca.place().await;
        ca.provider.validate_domain(domain, proof).await
    }

    /// Takes over the certificates of orders that already exist at a CA account. They are tracked and alerted;
    /// nothing is ordered by itself until [`update`](Self::update) turns automatic renewal on. Repeating an import
    /// takes over only what is new.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the CA does not list orders, and what it says.
    /// What was taken over before the error stays.
    pub async fn import(&self, account: &AccountName, filter: &ImportFilter) -> Result<ImportReport> {
        let ca =
            self.context.accounts.ca(account).map_err(|input| Error::input(Operation::ListOrders, input))?;
        let mut report = ImportReport::default();
        let mut page = None;
        loop {
            let listed = {
                let _place = ca.place().await;
                ca.provider.orders(filter, page).await?
            };
            for snapshot in listed.items {
                report.listed += 1;
                let Some(chain) = snapshot.certificate.clone() else {
                    report.without_certificate += 1;
                    continue;
                };
                let new = self.import_one(account, snapshot, chain).await?;
                *(if new { &mut report.imported } else { &mut report.known }) += 1;
            }
            page = listed.next;
            if page.is_none() {
                return Ok(report);
            }
        }
    }

    /// Takes over one certificate; returns false if it is here already.
    async fn import_one(&self, account: &AccountName, snapshot: OrderSnapshot, chain: Chain) -> Result<bool> {
        let context = &self.context;
        let fingerprint = chain.fingerprint().to_string();
        let here = Query::all(Kind::Version).having(Field::Reference, fingerprint.clone()).limit(1);
        if !context.journal.store.list(&here).await?.items.is_empty() {
            return Ok(false);
        }
        let info = chain.info().map_err(|input| Error::input(Operation::ListOrders, input))?;
        let name = format!("imported-{}", fingerprint.chars().take(20).collect::<String>());
        let id = CertificateId::new(name).map_err(|input| Error::input(Operation::ListOrders, input))?;
        let now = context.now();
        let mut spec =
            CertificateSpec::new(id.clone(), account.clone()).identifiers(info.identifiers.iter().cloned());
        spec.renewal.automatic = false;
        spec.product = snapshot.details.get("product").map(|product| product.as_str().to_owned());
        let mut wanted = Certificate::wanted(spec, now);
        let version = Version {
            id: context.new_version_id(),
            certificate: id.clone(),
            order: None,
            purpose: PurposeKind::Import,
            ca: account.clone(),
            handle: Some(snapshot.handle),
            key: None,
            chain,
            info,
            received_at: now,
            revoked: None,
        };
        certificate::became_current(&mut wanted, &version, &version.info.identifiers, now);
        if snapshot.stage == Stage::Revoked {
            wanted.state = crate::model::CertificateState::Revoked;
        }
        let due = certificate::settle(&mut wanted, now);
        let kind = EventKind::VersionCurrent {
            version: version.id,
            fingerprint: version.chain.fingerprint(),
            not_after: version.info.not_after,
        };
        let mut changes = Changes::new();
        changes
            .insert(&wanted, due)
            .insert(&version, None)
            .event(&Occurrence::new(now, Actor::Host, kind).on(&id));
        match context.journal.commit(changes).await {
            Ok(()) => Ok(true),
            Err(error) if lost_race(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads one certificate of a CA account that is known here.
    ///
    /// # Errors
    ///
    /// [`InputError::Unknown`](crate::InputError::Unknown) if there is none of that name.
    pub async fn certificate(&self, id: &CertificateId) -> Result<Certificate> {
        let stored = self.context.journal.load::<Certificate>(id).await?;
        stored.map(|stored| stored.value).ok_or_else(|| unknown("certificate", id))
    }
}
