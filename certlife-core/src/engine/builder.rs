//! Building an engine.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    CaOptions, Context, DnsOptions, Engine, EngineSettings, TargetOptions, accounts::Accounts,
    context::keyring_key,
};
use crate::{
    ca::CertificateAuthority,
    deploy::Deployer,
    dns::DnsProvider,
    entropy::Entropy,
    error::{Error, ErrorKind, Operation, ProviderName, Result},
    id::{AccountName, WorkerId},
    journal::Journal,
    lookup::{DnsLookup, Lookup},
    notify::Notifier,
    registry::BuildContext,
    seal::{Binding, KeyRing, Sealed, Sealer},
    secret::SecretBytes,
    store::Store,
    time::{Clock, SystemClock},
    vault::Vault,
};

/// Builds an [`Engine`].
#[derive(Debug)]
pub struct EngineBuilder {
    store: Arc<dyn Store>,
    keyring: Arc<dyn KeyRing>,
    clock: Arc<dyn Clock>,
    entropy: Entropy,
    lookup: Option<Arc<dyn DnsLookup>>,
    notifiers: Vec<Arc<dyn Notifier>>,
    accounts: Accounts,
    settings: EngineSettings,
}

/// What shows whether a key ring is the one that sealed a store.
#[derive(Serialize, Deserialize)]
struct Canary {
    sealed: Sealed,
}

impl EngineBuilder {
    pub(super) fn new(store: Arc<dyn Store>, keyring: Arc<dyn KeyRing>) -> Self {
        Self {
            store,
            keyring,
            clock: Arc::new(SystemClock),
            entropy: Entropy::from_system(),
            lookup: None,
            notifiers: Vec::new(),
            accounts: Accounts::default(),
            settings: EngineSettings::default(),
        }
    }

    /// Adds a CA account.
    #[must_use]
    pub fn ca(self, name: AccountName, provider: Arc<dyn CertificateAuthority>, options: CaOptions) -> Self {
        self.accounts.add_ca(name, provider, options);
        self
    }

    /// Adds a DNS account.
    #[must_use]
    pub fn dns(self, name: AccountName, provider: Arc<dyn DnsProvider>, options: DnsOptions) -> Self {
        self.accounts.add_dns(name, provider, options);
        self
    }

    /// Adds a target.
    #[must_use]
    pub fn target(self, name: AccountName, provider: Arc<dyn Deployer>, options: TargetOptions) -> Self {
        self.accounts.add_target(name, provider, options);
        self
    }

    /// Adds a way to tell people.
    #[must_use]
    pub fn notifier(mut self, notifier: Arc<dyn Notifier>) -> Self {
        self.notifiers.push(notifier);
        self
    }

    /// Tells the time by another clock. Defaults to the operating system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Makes ids from a seed, so that a simulation can be repeated. Keys are never made from it.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.entropy = Entropy::from_seed(seed);
        self
    }

    /// Asks DNS in another way. Defaults to the operating system's resolvers.
    #[must_use]
    pub fn lookup(mut self, lookup: Arc<dyn DnsLookup>) -> Self {
        self.lookup = Some(lookup);
        self
    }

    /// Sets the most steps at once. Defaults to 64.
    #[must_use]
    pub fn concurrency(mut self, steps: usize) -> Self {
        self.settings.concurrency = steps.clamp(1, 10_000);
        self
    }

    /// Sets how long a lease lasts, at least a second. Defaults to a minute.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease.max(Duration::from_secs(1));
        self
    }

    /// Sets how long a step may wait before the wait is stored instead. Defaults to five seconds.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.settings.linger = linger;
        self
    }

    /// Sets how often work of other engines is looked for. Defaults to ten seconds.
    #[must_use]
    pub fn poll(mut self, every: Duration) -> Self {
        self.settings.poll = every.max(Duration::from_millis(10));
        self
    }

    /// Sets how long steps may go on after the shutdown signal. Defaults to 30 seconds.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// The vault of an account in this engine's store, for building its provider.
    pub fn vault(&self, account: AccountName) -> Vault {
        Vault::new(self.store.clone(), Sealer::new(self.keyring.clone()), account)
    }

    /// The clock of this engine, for building providers.
    pub fn clock_handle(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    /// What the provider of an account is built with from stored settings: its vault, and this engine's clock and way
    /// of asking DNS.
    pub fn context(&self, account: AccountName) -> BuildContext {
        let (clock, lookup) = (self.clock.clone(), self.lookup.clone());
        BuildContext { vault: self.vault(account), clock, lookup }
    }

    /// Checks that the key ring opens what the store holds, and returns the engine. Nothing runs before
    /// [`Engine::run`] or [`Engine::pass`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsealable`] if the store was sealed under another key ring, such as another passphrase;
    /// what the store says; and what stands in the way of asking DNS.
    pub async fn build(self) -> Result<Engine> {
        let sealer = Sealer::new(self.keyring);
        let journal = Journal::new(self.store);
        check_keyring(&journal, &sealer).await?;
        let lookup = match self.lookup {
            Some(lookup) => lookup,
            None => Arc::new(Lookup::system().map_err(|input| Error::input(Operation::Configure, input))?),
        };
        let worker = WorkerId::new(self.clock.now(), self.entropy.bytes());
        let context = Context {
            journal,
            sealer,
            clock: self.clock,
            entropy: self.entropy,
            accounts: self.accounts,
            lookup,
            notifiers: self.notifiers,
            settings: self.settings,
            worker,
            paused: AtomicBool::new(false),
        };
        Ok(Engine { context: Arc::new(context) })
    }
}

/// Opens the canary of the store, or leaves one in a new store.
async fn check_keyring(journal: &Journal, sealer: &Sealer) -> Result<()> {
    let binding = Binding::new("setting", "key-ring");
    if let Some((canary, _)) = journal.setting::<Canary>(&keyring_key()).await? {
        return sealer.open(&canary.sealed, &binding).await.map(drop).map_err(|error| {
            let reason =
                "the store was sealed under another key; check the passphrase or key of the key ring";
            Error::new(ProviderName::ENGINE, Operation::Configure, ErrorKind::Unsealable(reason.into()))
                .because(error)
        });
    }
    let canary = sealer.seal(&SecretBytes::new(b"certlife".to_vec()), &binding).await?;
    match journal.set(keyring_key(), &Canary { sealed: canary }, None, &[]).await {
        // Another engine opened the new store at the same moment; its canary decides.
        Err(error) if crate::journal::lost_race(&error) => Box::pin(check_keyring(journal, sealer)).await,
        other => other,
    }
}
