//! The order desk: who may approve, domains apart from orders, and orders that already exist at a CA.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Engine, certificate};
use crate::{
    ca::{DomainValidation, ImportFilter, OrderSnapshot, PurposeKind, Stage},
    challenge::Proof,
    digest::Fingerprint,
    error::{Error, Operation, Result},
    id::{AccountName, CertificateId},
    journal::{Changes, lost_race},
    model::{
        AccountPolicy, Actor, Certificate, CertificateSpec, CertificateState, EventKind, Occurrence, Version,
    },
    name::Identifier,
    store::{Field, Kind, Query},
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

impl Engine {
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
    /// looks whether it is there. Publishing is the caller's and nothing is stored here;
    /// [`prove_domain`](Self::prove_domain) does all of it.
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
    /// nothing is ordered by itself until [`update`](Self::update) turns automatic renewal on, unless the account's
    /// policy [says](AccountPolicy::imported) that it goes for imported ones as well. Repeating an import takes over only
    /// what is new.
    ///
    /// One page of the CA's listing is held and stored at a time, with an event that tells how far it is. Dropping the
    /// call keeps the pages that were stored.
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
            page = listed.next;
            report = self.import_page(account, listed.items, report, page.is_none()).await?;
            if page.is_none() {
                return Ok(report);
            }
        }
    }

    /// Takes over what is new on a page, in one commit. Returns the report with the page in it.
    async fn import_page(
        &self,
        account: &AccountName,
        items: Vec<OrderSnapshot>,
        before: ImportReport,
        last: bool,
    ) -> Result<ImportReport> {
        loop {
            let mut report = before;
            let mut changes = Changes::new();
            let mut here = BTreeSet::new();
            let policy = self.context.policy(account).await?;
            for snapshot in &items {
                report.listed += 1;
                let Some(chain) = &snapshot.certificate else {
                    report.without_certificate += 1;
                    continue;
                };
                let fingerprint = chain.fingerprint();
                if !here.insert(fingerprint) || self.is_known(fingerprint).await? {
                    report.known += 1;
                    continue;
                }
                self.take_over(account, snapshot, chain, &policy, &mut changes)?;
                report.imported += 1;
            }
            let (listed, imported) = (report.listed, report.imported);
            let kind = EventKind::ImportProgress { account: account.clone(), listed, imported, last };
            changes.event(&Occurrence::new(self.context.now(), Actor::Host, kind));
            match self.context.journal.commit(changes).await {
                Ok(()) => return Ok(report),
                // Another import took some of them over in the same moment.
                Err(error) if lost_race(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn is_known(&self, fingerprint: Fingerprint) -> Result<bool> {
        let here = Query::all(Kind::Version).having(Field::Reference, fingerprint.to_string()).limit(1);
        Ok(!self.context.journal.store.list(&here).await?.items.is_empty())
    }

    /// Makes a certificate with one version of what the CA has.
    fn take_over(
        &self,
        account: &AccountName,
        snapshot: &OrderSnapshot,
        chain: &Chain,
        policy: &AccountPolicy,
        changes: &mut Changes,
    ) -> Result<()> {
        let context = &self.context;
        let fail = |input| Error::input(Operation::ListOrders, input);
        let info = chain.info().map_err(fail)?;
        let fingerprint = chain.fingerprint();
        let name: String = fingerprint.to_string().chars().take(20).collect();
        let id = CertificateId::new(format!("imported-{name}")).map_err(fail)?;
        let now = context.now();
        let mut spec =
            CertificateSpec::new(id.clone(), account.clone()).identifiers(info.identifiers.iter().cloned());
        spec.renewal.automatic = (!policy.imported).then_some(false);
        spec.product = snapshot.details.get("product").map(|product| product.as_str().to_owned());
        let mut wanted = Certificate::wanted(spec, now);
        let version = Version {
            id: context.new_version_id(),
            certificate: id.clone(),
            order: None,
            purpose: PurposeKind::Import,
            ca: account.clone(),
            handle: Some(snapshot.handle.clone()),
            key: None,
            target_key: None,
            chain: chain.clone(),
            info,
            received_at: now,
            term_ends: snapshot.term_ends,
            revoked: None,
            suspended: None,
            deactivated: None,
        };
        certificate::became_current(&mut wanted, &version, &version.info.identifiers, now);
        if snapshot.stage == Stage::Revoked {
            wanted.state = CertificateState::Revoked;
        }
        let due = certificate::settle(&mut wanted, policy, now);
        let kind =
            EventKind::VersionCurrent { version: version.id, fingerprint, not_after: version.info.not_after };
        changes
            .insert(&wanted, due)
            .insert(&version, None)
            .event(&Occurrence::new(now, Actor::Host, kind).on(&id));
        Ok(())
    }
}
