//! Commands that the host gives in its own name, and those that concern accounts, mappings and keys.

use std::sync::Arc;

#[cfg(doc)]
use super::Principal;
use super::{
    CaOptions, Context, DnsOptions, Engine, TargetOptions,
    context::{AccountState, account_key, mappings_key},
};
use crate::{
    ca::{CertificateAuthority, Decision},
    deploy::Deployer,
    dns::DnsProvider,
    error::{Error, Operation, Result},
    id::{AccountName, CertificateId, KeyId, OrderId, VersionId},
    input::InputError,
    journal::{Changes, Stored, StoredKey, lost_race},
    key::PrivateKey,
    model::{Actor, Certificate, CertificateSpec, DomainMapping, EventKind, Occurrence, Route},
    name::Identifier,
    store::{Field, Kind, Query},
    x509::{Chain, RevocationReason},
};

impl Engine {
    /// Adds a CA account, or replaces the one of that name. Steps under way go on with the one they have.
    pub fn add_ca(&self, name: AccountName, provider: Arc<dyn CertificateAuthority>, options: CaOptions) {
        self.context.accounts.add_ca(name, provider, options);
        self.context.journal.wake.notify_one();
    }

    /// Adds a DNS account, or replaces the one of that name.
    pub fn add_dns(&self, name: AccountName, provider: Arc<dyn DnsProvider>, options: DnsOptions) {
        self.context.accounts.add_dns(name, provider, options);
        self.context.journal.wake.notify_one();
    }

    /// Adds a target, or replaces the one of that name.
    pub fn add_target(&self, name: AccountName, provider: Arc<dyn Deployer>, options: TargetOptions) {
        self.context.accounts.add_target(name, provider, options);
        self.context.journal.wake.notify_one();
    }

    /// Forgets the accounts of that name in this process; returns whether there were any. Work that needs one
    /// waits until it is added again, here or in another process.
    pub fn remove_account(&self, name: &AccountName) -> bool {
        self.context.accounts.remove(name)
    }

    /// [`Principal::ensure`] in the host's own name.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn ensure(&self, spec: CertificateSpec) -> Result<Certificate> {
        self.host().ensure(spec).await
    }

    /// [`Principal::adopt`] in the host's own name.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn adopt(
        &self,
        spec: CertificateSpec,
        chain: &Chain,
        key: Option<&PrivateKey>,
    ) -> Result<Certificate> {
        self.host().adopt(spec, chain, key).await
    }

    /// [`Principal::update`] in the host's own name.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn update(&self, spec: CertificateSpec) -> Result<Certificate> {
        self.host().update(spec).await
    }

    /// [`Principal::renew`] in the host's own name.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn renew(&self, certificate: &CertificateId) -> Result<OrderId> {
        self.host().renew(certificate).await
    }

    /// [`Principal::reissue`] in the host's own name.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn reissue(&self, certificate: &CertificateId, reason: Option<&str>) -> Result<OrderId> {
        self.host().reissue(certificate, reason).await
    }

    /// [`Principal::revoke`] in the host's own name.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn revoke(
        &self,
        version: VersionId,
        reason: RevocationReason,
        comment: Option<&str>,
        replace: bool,
    ) -> Result<()> {
        self.host().revoke(version, reason, comment, replace).await
    }

    /// [`Principal::decide`] in the host's own name.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn decide(&self, order: OrderId, decision: Decision) -> Result<()> {
        self.host().decide(order, decision).await
    }

    /// [`Principal::cancel`] in the host's own name.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn cancel(&self, order: OrderId) -> Result<()> {
        self.host().cancel(order).await
    }

    /// [`Principal::verify`] in the host's own name.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn verify(&self, order: OrderId) -> Result<()> {
        self.host().verify(order).await
    }

    /// [`Principal::revalidate`] in the host's own name.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn revalidate(&self, order: OrderId, identifier: &Identifier, route: Route) -> Result<()> {
        self.host().revalidate(order, identifier, route).await
    }

    /// [`Principal::place_again`] in the host's own name.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn place_again(&self, order: OrderId) -> Result<()> {
        self.host().place_again(order).await
    }

    /// [`Principal::abandon`] in the host's own name.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn abandon(&self, order: OrderId) -> Result<()> {
        self.host().abandon(order).await
    }

    /// [`Principal::set_paused`] in the host's own name.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn set_paused(
        &self,
        certificate: &CertificateId,
        paused: bool,
        remark: Option<&str>,
    ) -> Result<()> {
        self.host().set_paused(certificate, paused, remark).await
    }

    /// [`Principal::check_target`] in the host's own name.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn check_target(&self, certificate: &CertificateId, target: &AccountName) -> Result<()> {
        self.host().check_target(certificate, target).await
    }

    /// [`Principal::delete`] in the host's own name.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn delete(&self, certificate: &CertificateId) -> Result<()> {
        self.host().delete(certificate).await
    }

    /// Stores a private key that the host brings, and returns the id to name in a
    /// [`KeySource::Brought`](crate::model::KeySource::Brought). A key that is here already keeps its id.
    ///
    /// # Errors
    ///
    /// What the key ring and the store say.
    pub async fn import_key(&self, key: &PrivateKey) -> Result<KeyId> {
        let hash = key.public_key_hash().to_string();
        let here = Query::all(Kind::Key).having(Field::KeyHash, hash).limit(1);
        if let Some(record) = self.context.journal.store.list(&here).await?.items.first() {
            return Ok(Stored::<StoredKey>::read(record)?.value.id);
        }
        let stored = self.context.seal_key(key).await?;
        let mut changes = Changes::new();
        changes.insert(&stored, None);
        self.context.journal.commit(changes).await?;
        Ok(stored.id)
    }

    /// Replaces the domain mappings, for every engine on this store. Orders under way keep their plan.
    ///
    /// # Errors
    ///
    /// [`InputError::UnknownAccount`] if a mapping names an account that this process does not have.
    pub async fn set_mappings(&self, mappings: &[DomainMapping]) -> Result<()> {
        for mapping in mappings {
            check_route_account(&self.context, &mapping.route)
                .map_err(|input| Error::input(Operation::Command, input))?;
        }
        loop {
            let revision = self.context.journal.setting::<Vec<DomainMapping>>(&mappings_key()).await?;
            let revision = revision.map(|(_, revision)| revision);
            match self.context.journal.set(mappings_key(), &mappings, revision, &[]).await {
                Err(error) if lost_race(&error) => {}
                other => return other,
            }
        }
    }

    /// Disables or enables an account for every engine on this store. Orders and deployments that need a
    /// disabled one wait; what it published is still removed.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn set_enabled(&self, account: &AccountName, enabled: bool) -> Result<()> {
        let key = account_key(account);
        loop {
            let stored = self.context.journal.setting::<AccountState>(&key).await?;
            let (state, revision) = stored.map_or_else(Default::default, |(state, at)| (state, Some(at)));
            if state.disabled != enabled {
                return Ok(());
            }
            let kind = EventKind::AccountSwitched { account: account.clone(), enabled };
            let event = Occurrence::new(self.context.now(), Actor::Host, kind);
            let state = AccountState { disabled: !enabled };
            match self.context.journal.set(key.clone(), &state, revision, &[event]).await {
                Err(error) if lost_race(&error) => {}
                other => return other,
            }
        }
    }
}

fn check_route_account(context: &Context, route: &crate::model::Route) -> Result<(), InputError> {
    use crate::model::Route;
    match route {
        Route::Dns(account) => context.accounts.dns(account).map(drop),
        Route::Http(account) | Route::TlsAlpn(account) => context.accounts.target(account).map(drop),
        Route::Email(_) | Route::Manual(_) => Ok(()),
    }
}
