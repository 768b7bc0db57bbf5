//! Queries: what a host or its UI asks. They read; nothing changes.

use serde::{Deserialize, Serialize};

use super::{Engine, backoff, context::AccountState, context::account_key, principal::unknown};
use crate::{
    account::AccountSummary,
    challenge::ChallengeResponse,
    dns::{DnsRecord, RecordData, Zone},
    error::{Error, Operation, ProviderName, Result},
    id::{AccountName, CertificateId, OrderId, VersionId},
    input::InputError,
    journal::Changes,
    key::PrivateKey,
    keystore::{Form, Keystore},
    lookup::{self, VisibilityReport},
    model::{
        Actor, Certificate, Deployment, DomainMapping, EventKind, Occurrence, Order, PublicationState, Route,
        Version,
    },
    name::{Fqdn, Identifier},
    secret::SecretBytes,
    store::{Cursor, Field, Kind, Page, Query},
    time::Timestamp,
    x509::Chain,
};

/// An account of this engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AccountInfo {
    /// Its name.
    pub name: AccountName,
    /// `ca`, `dns` or `target`.
    pub role: String,
    /// The provider behind it.
    pub provider: ProviderName,
    /// Whether it is enabled.
    pub enabled: bool,
}

/// A challenge response that a person has to publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PendingPublication {
    /// The certificate.
    pub certificate: CertificateId,
    /// The order, for [`Engine::verify`].
    pub order: OrderId,
    /// The identifiers whose control it proves.
    pub identifiers: Vec<Identifier>,
    /// What to publish; for a TXT record see [`record`](Self::record) for the name that is finally written.
    pub response: ChallengeResponse,
    /// The DNS record, with CNAMEs followed.
    pub record: Option<DnsRecord>,
}

/// How a name stands in DNS and with an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DnsCheck {
    /// The account.
    pub account: AccountName,
    /// The name that is finally written, with CNAMEs followed.
    pub effective_name: Fqdn,
    /// The zone of the account that holds it.
    pub zone: Zone,
    /// What the servers that would be watched say about the record now.
    pub servers: VisibilityReport,
}

/// A version with its private key in the clear, for an explicit export.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PrivateExport {
    /// Leaf and intermediates.
    pub chain: Chain,
    /// The private key; none if it is elsewhere.
    pub key: Option<PrivateKey>,
}

impl PrivateExport {
    /// Puts chain and key together, to be written in any form.
    ///
    /// # Errors
    ///
    /// Those of [`Keystore::new`].
    pub fn keystore(&self) -> Result<Keystore, InputError> {
        Keystore::new(self.chain.clone(), self.key.clone())
    }

    /// Writes chain and key in one form, as [`Keystore::encode`] does. [`Form::holds_key`] tells whether it is secret.
    ///
    /// # Errors
    ///
    /// Those of [`Keystore::new`] and [`Keystore::encode`].
    pub fn encode(&self, form: &Form) -> Result<SecretBytes, InputError> {
        self.keystore()?.encode(form)
    }
}

impl Engine {
    /// Lists certificates by name, 100 a page.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn certificates(&self, page: Option<Cursor>) -> Result<Page<Certificate>> {
        self.list(Query::all(Kind::Certificate).after(page)).await
    }

    /// Reads a certificate.
    ///
    /// # Errors
    ///
    /// [`InputError::Unknown`] if there is none of that name.
    pub async fn certificate(&self, id: &CertificateId) -> Result<Certificate> {
        let stored = self.context.journal.load::<Certificate>(id).await?;
        stored.map(|stored| stored.value).ok_or_else(|| unknown("certificate", id))
    }

    /// Lists the certificates that hold an identifier.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn certificates_for(
        &self,
        identifier: &Identifier,
        page: Option<Cursor>,
    ) -> Result<Page<Certificate>> {
        self.list(Query::all(Kind::Certificate).having(Field::Name, identifier.to_string()).after(page)).await
    }

    /// Lists the certificates whose current version expires before a moment, the earliest first.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn expiring(&self, before: Timestamp, page: Option<Cursor>) -> Result<Page<Certificate>> {
        let to = std::ops::Bound::Excluded(before.to_string());
        self.list(
            Query::all(Kind::Certificate).between(Field::Expires, std::ops::Bound::Unbounded, to).after(page),
        )
        .await
    }

    /// Lists the versions of a certificate, newest first.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn versions(&self, certificate: &CertificateId, page: Option<Cursor>) -> Result<Page<Version>> {
        let query = Query::all(Kind::Version).having(Field::Owner, certificate.as_str());
        self.list(query.after(page).descending()).await
    }

    /// Reads a version.
    ///
    /// # Errors
    ///
    /// [`InputError::Unknown`] if there is none of that id.
    pub async fn version(&self, id: VersionId) -> Result<Version> {
        let stored = self.context.journal.load::<Version>(id).await?;
        stored.map(|stored| stored.value).ok_or_else(|| unknown("version", &id))
    }

    /// Lists the orders of a certificate, newest first.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn orders(&self, certificate: &CertificateId, page: Option<Cursor>) -> Result<Page<Order>> {
        let query = Query::all(Kind::Order).having(Field::Owner, certificate.as_str());
        self.list(query.after(page).descending()).await
    }

    /// Lists the orders that are under way or being cleaned up, oldest first.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn open_orders(&self, page: Option<Cursor>) -> Result<Page<Order>> {
        self.list(Query::all(Kind::Order).having(Field::State, "open").after(page)).await
    }

    /// Reads an order.
    ///
    /// # Errors
    ///
    /// [`InputError::Unknown`] if there is none of that id.
    pub async fn order(&self, id: OrderId) -> Result<Order> {
        let stored = self.context.journal.load::<Order>(id).await?;
        stored.map(|stored| stored.value).ok_or_else(|| unknown("order", &id))
    }

    /// Lists the deployments of a certificate.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn deployments(&self, certificate: &CertificateId) -> Result<Vec<Deployment>> {
        let query = Query::all(Kind::Deployment).having(Field::Owner, certificate.as_str());
        let stored = self.context.journal.all::<Deployment>(query).await?;
        Ok(stored.into_iter().map(|stored| stored.value).collect())
    }

    /// Lists what people have to publish by hand, of all orders under way.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn pending(&self) -> Result<Vec<PendingPublication>> {
        let open = Query::all(Kind::Order).having(Field::State, "open");
        let mut pending = Vec::new();
        for order in self.context.journal.all::<Order>(open).await? {
            let order = order.value;
            let by_hand = order.publications.iter().filter(|p| p.state == PublicationState::ByHand);
            pending.extend(by_hand.map(|publication| PendingPublication {
                certificate: order.certificate.clone(),
                order: order.id,
                identifiers: publication.identifiers.iter().cloned().collect(),
                response: publication.response.clone(),
                record: publication.record(),
            }));
        }
        Ok(pending)
    }

    /// Lists the accounts of this engine.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn accounts(&self) -> Result<Vec<AccountInfo>> {
        let mut accounts = Vec::new();
        for (name, role, provider) in self.context.accounts.names() {
            let state = self.context.journal.setting::<AccountState>(&account_key(&name)).await?;
            let enabled = !state.is_some_and(|(state, _)| state.disabled);
            accounts.push(AccountInfo { name, role: role.to_owned(), provider, enabled });
        }
        Ok(accounts)
    }

    /// Tests an account of any kind.
    ///
    /// # Errors
    ///
    /// [`InputError::UnknownAccount`], and what the provider says, as precisely as it does.
    pub async fn probe(&self, name: &AccountName) -> Result<AccountSummary> {
        let accounts = &self.context.accounts;
        if let Ok(ca) = accounts.ca(name) {
            return ca.provider.probe().await;
        }
        if let Ok(dns) = accounts.dns(name) {
            return dns.provider.probe().await;
        }
        match accounts.target(name) {
            Ok(target) => target.provider.probe().await,
            Err(_) => {
                let input = InputError::UnknownAccount { kind: "CA, DNS or target", name: name.to_string() };
                Err(Error::input(Operation::Probe, input))
            }
        }
    }

    /// The domain mappings.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn mappings(&self) -> Result<Vec<DomainMapping>> {
        self.context.mappings().await
    }

    /// Takes a version out, with its private key in the clear. The audit trail shows it.
    ///
    /// # Errors
    ///
    /// [`InputError::Unknown`]; [`ErrorKind::Unsealable`](crate::ErrorKind::Unsealable) if the key ring cannot open the key.
    pub async fn export(&self, version: VersionId) -> Result<PrivateExport> {
        let version = self.version(version).await?;
        let key = match version.key {
            Some(id) => {
                let key = self.context.open_key(id).await?;
                let kind = EventKind::KeyExported { version: version.id };
                let exported =
                    Occurrence::new(self.context.now(), Actor::Host, kind).on(&version.certificate);
                let mut changes = Changes::new();
                changes.event(&exported);
                self.context.journal.commit(changes).await?;
                Some(key)
            }
            None => None,
        };
        Ok(PrivateExport { chain: version.chain, key })
    }

    /// Finds the DNS account that would validate a name, as an order without a route of its own would.
    ///
    /// # Errors
    ///
    /// [`InputError::NoValidation`] if no mapping leads to a DNS account.
    pub async fn dns_account_for(&self, name: &Fqdn) -> Result<AccountName> {
        let mappings = self.context.mappings().await?;
        let effective = self.context.lookup.effective_name(name).await.unwrap_or_else(|_| name.clone());
        let mut fitting: Vec<_> = mappings
            .iter()
            .filter(|mapping| effective.is_within(&mapping.domain) || name.is_within(&mapping.domain))
            .collect();
        fitting.sort_by_key(|mapping| std::cmp::Reverse(mapping.domain.as_str().len()));
        fitting
            .iter()
            .find_map(|mapping| match &mapping.route {
                Route::Dns(account) => Some(account.clone()),
                _ => None,
            })
            .ok_or_else(|| {
                let (identifier, rule) =
                    (name.to_string(), "no domain mapping leads to a DNS account".into());
                Error::input(Operation::FindZone, InputError::NoValidation { identifier, rule })
            })
    }

    /// Shows where a TXT record at `name` would be written and what the servers say there now. Nothing is written.
    ///
    /// # Errors
    ///
    /// [`InputError::UnknownAccount`], and what the provider and DNS say.
    pub async fn check_dns(&self, account: &AccountName, name: &Fqdn) -> Result<DnsCheck> {
        let dns =
            self.context.accounts.dns(account).map_err(|input| Error::input(Operation::FindZone, input))?;
        let effective_name = if dns.options.follow_cnames {
            self.context.lookup.effective_name(name).await.unwrap_or_else(|_| name.clone())
        } else {
            name.clone()
        };
        let zone = {
            let _place = dns.place().await;
            dns.provider.zone_of(&effective_name).await?
        };
        let record = self.test_record(&effective_name);
        let servers = lookup::check(&*self.context.lookup, &record, &dns.options.visibility).await;
        Ok(DnsCheck { account: account.clone(), effective_name, zone, servers })
    }

    /// Writes a harmless TXT record at `name`, waits until the servers show it, and removes it again; returns what
    /// they said last.
    ///
    /// # Errors
    ///
    /// What the provider says. A record that could not be removed is named in the error.
    pub async fn try_dns(&self, account: &AccountName, name: &Fqdn) -> Result<VisibilityReport> {
        let dns =
            self.context.accounts.dns(account).map_err(|input| Error::input(Operation::FindZone, input))?;
        let record = self.test_record(name);
        let added = {
            let _place = dns.place().await;
            dns.provider.add(&record).await?
        };
        let end = self.context.now() + dns.options.patience;
        let mut looks = 0;
        let report = loop {
            let report = lookup::check(&*self.context.lookup, &record, &dns.options.visibility).await;
            if report.visible || self.context.now() >= end {
                break report;
            }
            looks += 1;
            let next =
                backoff::Backoff::CALL.next(self.context.now(), looks, crate::Retry::Backoff, name.as_str());
            self.context.clock.sleep_until(next.min(end)).await;
        };
        let _place = dns.place().await;
        dns.provider.remove(&added.handle).await?;
        Ok(report)
    }

    fn test_record(&self, name: &Fqdn) -> DnsRecord {
        let random: [u8; 8] = self.context.entropy.bytes();
        let value =
            random.iter().fold("certlife-check-".to_owned(), |text, byte| format!("{text}{byte:02x}"));
        DnsRecord { name: name.clone(), data: RecordData::Txt(value) }
    }

    async fn list<T: crate::journal::Document>(&self, query: Query) -> Result<Page<T>> {
        self.context.journal.page::<T>(query).await?.try_map(|stored| Ok(stored.value))
    }
}
