//! What every step and command needs: the journal, the accounts, the clock.

use std::{sync::Arc, sync::atomic::AtomicBool};

use serde::{Deserialize, Serialize};

use super::{EngineSettings, accounts::Accounts};
use crate::{
    entropy::Entropy,
    error::{Error, ErrorKind, Failure, Operation, ProviderName, Result},
    id::{AccountName, KeyId, OrderId, VersionId, WorkerId},
    input::InputError,
    journal::{Journal, StoredKey},
    key::PrivateKey,
    lookup::DnsLookup,
    model::DomainMapping,
    notify::{Notice, Notifier},
    seal::{Binding, Sealer},
    store::{Key, Kind},
    time::{Clock, Timestamp},
};

/// The parts of an engine.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) journal: Journal,
    pub(crate) sealer: Sealer,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Entropy,
    pub(crate) accounts: Accounts,
    pub(crate) lookup: Arc<dyn DnsLookup>,
    pub(crate) notifiers: Vec<Arc<dyn Notifier>>,
    pub(crate) settings: EngineSettings,
    pub(crate) worker: WorkerId,
    pub(crate) paused: AtomicBool,
}

/// What is remembered about an account.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct AccountState {
    #[serde(default)]
    pub(crate) disabled: bool,
}

impl Context {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn new_order_id(&self) -> OrderId {
        OrderId::new(self.now(), self.entropy.bytes())
    }

    pub(crate) fn new_version_id(&self) -> VersionId {
        VersionId::new(self.now(), self.entropy.bytes())
    }

    pub(crate) fn failure(&self, error: &Error, account: &AccountName) -> Failure {
        Failure::new(error, Some(account.clone()), self.now())
    }

    /// Seals a key under a new id. The caller stores it.
    pub(crate) async fn seal_key(&self, key: &PrivateKey) -> Result<StoredKey> {
        let id = KeyId::new(self.now(), self.entropy.bytes());
        let sealed = self.sealer.seal(&key.to_pkcs8_der()?, &key_binding(id)).await?;
        Ok(StoredKey { id, sealed, hash: key.public_key_hash() })
    }

    /// Opens a sealed key. What is returned may go to the CSR signer, a deployer or an explicit export.
    pub(crate) async fn open_key(&self, id: KeyId) -> Result<PrivateKey> {
        let stored = self.journal.load::<StoredKey>(id).await?.ok_or_else(|| {
            let kind = ErrorKind::Corrupt("the private key that an order or version names is gone".into());
            Error::new(ProviderName::ENGINE, Operation::ReadStore, kind)
        })?;
        let der = self.sealer.open(&stored.value.sealed, &key_binding(id)).await?;
        PrivateKey::from_der(&der).map_err(|input| {
            Error::new(ProviderName::ENGINE, Operation::Seal, ErrorKind::Corrupt("private key".into()))
                .because(input)
        })
    }

    /// Fails if the account is disabled.
    pub(crate) async fn check_enabled(&self, account: &AccountName) -> Result<()> {
        let state = self.journal.setting::<AccountState>(&account_key(account)).await?;
        if state.is_some_and(|(state, _)| state.disabled) {
            let input = InputError::DisabledAccount { name: account.to_string() };
            return Err(Error::input(Operation::Command, input).retry_as(crate::Retry::Backoff));
        }
        Ok(())
    }

    pub(crate) async fn mappings(&self) -> Result<Vec<DomainMapping>> {
        Ok(self.journal.setting(&mappings_key()).await?.map(|(mappings, _)| mappings).unwrap_or_default())
    }

    /// Tells people. A notifier that fails is logged and does not stop the work.
    pub(crate) async fn tell(&self, notice: &Notice) {
        for notifier in &self.notifiers {
            if let Err(error) = notifier.notify(notice).await {
                tracing::warn!(notifier = %notifier.provider(), error = %error.chain(), "a notice was not delivered");
            }
        }
    }
}

fn key_binding(id: KeyId) -> Binding {
    Binding::new(Kind::Key.as_str(), id)
}

pub(crate) fn account_key(account: &AccountName) -> Key {
    Key::new(Kind::Account, account)
}

pub(crate) fn mappings_key() -> Key {
    Key::new(Kind::Setting, "domain-mappings")
}

/// The record that shows whether the key ring is the one that sealed this store.
pub(crate) fn keyring_key() -> Key {
    Key::new(Kind::Setting, "key-ring")
}
