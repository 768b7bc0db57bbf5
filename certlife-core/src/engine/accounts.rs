//! Accounts by name: which provider stands behind each, how much of it is used at once, how it is verified.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    ca::CertificateAuthority,
    deploy::Deployer,
    dns::DnsProvider,
    error::{Error, ErrorKind, Operation, ProviderName, Result},
    id::AccountName,
    input::InputError,
    lookup::Visibility,
    model::Route,
    name::DnsName,
    tls::StartTls,
};

/// How a CA account is used.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CaOptions {
    /// How identifiers are validated that neither the certificate nor a domain mapping speaks of.
    pub default_route: Option<Route>,
    /// The targets of certificates that name none themselves and that no domain mapping gives any.
    pub default_targets: BTreeSet<AccountName>,
    /// The most calls at once. Defaults to 16.
    pub concurrency: usize,
}

impl Default for CaOptions {
    fn default() -> Self {
        Self { default_route: None, default_targets: BTreeSet::new(), concurrency: 16 }
    }
}

impl CaOptions {
    /// Sets how identifiers are validated that nothing else speaks of.
    #[must_use]
    pub fn default_route(mut self, route: Route) -> Self {
        self.default_route = Some(route);
        self
    }

    /// Adds a target of certificates that nothing else gives any.
    #[must_use]
    pub fn default_target(mut self, target: AccountName) -> Self {
        self.default_targets.insert(target);
        self
    }

    /// Sets the most calls at once.
    #[must_use]
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.concurrency = calls;
        self
    }
}

/// How a DNS account is used.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DnsOptions {
    /// Where a record has to be seen before the CA is told. Defaults to all authoritative servers.
    pub visibility: Visibility,
    /// How long that may take before the order is given up. Defaults to 10 minutes.
    pub patience: Duration,
    /// Whether CNAMEs at a challenge name are followed to the name that is written. Defaults to yes.
    pub follow_cnames: bool,
    /// The most calls at once. Defaults to 16.
    pub concurrency: usize,
}

impl Default for DnsOptions {
    fn default() -> Self {
        Self {
            visibility: Visibility::Authoritative,
            patience: Duration::from_mins(10),
            follow_cnames: true,
            concurrency: 16,
        }
    }
}

impl DnsOptions {
    /// Sets where a record has to be seen before the CA is told.
    #[must_use]
    pub fn visibility(mut self, visibility: Visibility) -> Self {
        self.visibility = visibility;
        self
    }

    /// Sets how long that may take.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets whether CNAMEs at a challenge name are followed.
    #[must_use]
    pub fn follow_cnames(mut self, follow: bool) -> Self {
        self.follow_cnames = follow;
        self
    }

    /// Sets the most calls at once.
    #[must_use]
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.concurrency = calls;
        self
    }
}

/// How a target is used.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TargetOptions {
    /// Where the target serves the certificate. All of them have to confirm a version; with none, the
    /// target is asked what it holds.
    pub endpoints: Vec<TlsEndpoint>,
    /// How often the target is compared with what it should have. Defaults to daily.
    pub drift_check: Duration,
    /// What happens when it is found with something else. Defaults to repairing it.
    pub on_drift: OnDrift,
    /// How long the target may take to serve a new version before the old one is put back. Defaults to a minute.
    pub patience: Duration,
    /// The most calls at once. Defaults to 4.
    pub concurrency: usize,
}

impl Default for TargetOptions {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            drift_check: Duration::from_hours(24),
            on_drift: OnDrift::Repair,
            patience: Duration::from_mins(1),
            concurrency: 4,
        }
    }
}

impl TargetOptions {
    /// Adds an address at which the target serves the certificate.
    #[must_use]
    pub fn served_at(self, address: SocketAddr) -> Self {
        self.endpoint(TlsEndpoint { address, server_name: None, starttls: None })
    }

    /// Adds an address at which the target serves the certificate once TLS is started by this protocol.
    #[must_use]
    pub fn served_after(self, protocol: StartTls, address: SocketAddr) -> Self {
        self.endpoint(TlsEndpoint { address, server_name: None, starttls: Some(protocol) })
    }

    /// Adds an address at which the target serves the certificate, with all that can be said of it.
    #[must_use]
    pub fn endpoint(mut self, endpoint: TlsEndpoint) -> Self {
        self.endpoints.push(endpoint);
        self
    }

    /// Sets how often the target is compared with what it should have.
    #[must_use]
    pub fn drift_check(mut self, every: Duration) -> Self {
        self.drift_check = every;
        self
    }

    /// Sets what happens when it is found with something else.
    #[must_use]
    pub fn on_drift(mut self, policy: OnDrift) -> Self {
        self.on_drift = policy;
        self
    }

    /// Sets how long the target may take to serve a new version.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets the most calls at once.
    #[must_use]
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.concurrency = calls;
        self
    }
}

/// What happens when a target is found with something else than it had confirmed. Either way it is an event, and
/// [`explain`](crate::Engine::explain) shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "it is put right or it is not")]
pub enum OnDrift {
    /// The engine installs the version again.
    #[default]
    Repair,
    /// People are told, and it stays until it is gone or somebody asks for a
    /// [`redeploy`](crate::Engine::redeploy). A newer version is installed all the same.
    Tell,
}

/// An address that serves a certificate over TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "hosts build it")]
pub struct TlsEndpoint {
    /// Where to connect.
    pub address: SocketAddr,
    /// The name for SNI; none means the certificate's first DNS name.
    #[serde(default)]
    pub server_name: Option<DnsName>,
    /// The protocol that starts TLS there; none if TLS starts with the connection.
    #[serde(default)]
    pub starttls: Option<StartTls>,
}

/// A provider under a name, with a bound on calls at once.
pub(crate) struct Account<P: ?Sized, O> {
    pub(crate) name: AccountName,
    pub(crate) provider: Arc<P>,
    pub(crate) options: O,
    calls: Semaphore,
}

impl<P: ?Sized + Send + Sync, O: Send + Sync> Account<P, O> {
    fn new(name: AccountName, provider: Arc<P>, options: O, concurrency: usize) -> Arc<Self> {
        Arc::new(Self { name, provider, options, calls: Semaphore::new(concurrency.clamp(1, 1_024)) })
    }

    /// Waits for a place among the calls at once.
    pub(crate) async fn place(&self) -> SemaphorePermit<'_> {
        self.calls.acquire().await.expect("the semaphore is never closed")
    }
}

impl<P: ?Sized, O> fmt::Debug for Account<P, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("name", &self.name).finish_non_exhaustive()
    }
}

pub(crate) type CaAccount = Account<dyn CertificateAuthority, CaOptions>;
pub(crate) type DnsAccount = Account<dyn DnsProvider, DnsOptions>;
pub(crate) type TargetAccount = Account<dyn Deployer, TargetOptions>;

/// The accounts of this process. They can be added and removed while the engine runs.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    cas: Named<CaAccount>,
    dns: Named<DnsAccount>,
    targets: Named<TargetAccount>,
    /// CA accounts of whose catalogs it is not known whether they are on the schedule.
    unscheduled: Mutex<BTreeSet<AccountName>>,
    /// Targets that have forgotten everything with the process before this one.
    forgetful: Mutex<BTreeSet<AccountName>>,
}

type Named<A> = RwLock<BTreeMap<AccountName, Arc<A>>>;

impl Accounts {
    pub(crate) fn add_ca(
        &self,
        name: AccountName,
        provider: Arc<dyn CertificateAuthority>,
        options: CaOptions,
    ) {
        if provider.capabilities().catalog {
            lock(&self.unscheduled).insert(name.clone());
        }
        let concurrency = options.concurrency;
        put(&self.cas, Account::new(name, provider, options, concurrency), |account| &account.name);
    }

    pub(crate) fn add_dns(&self, name: AccountName, provider: Arc<dyn DnsProvider>, options: DnsOptions) {
        let concurrency = options.concurrency;
        put(&self.dns, Account::new(name, provider, options, concurrency), |account| &account.name);
    }

    /// A target that forgets everything with the process is restored before the next work is claimed.
    pub(crate) fn add_target(&self, name: AccountName, provider: Arc<dyn Deployer>, options: TargetOptions) {
        if provider.capabilities().volatile {
            lock(&self.forgetful).insert(name.clone());
        }
        let concurrency = options.concurrency;
        put(&self.targets, Account::new(name, provider, options, concurrency), |account| &account.name);
    }

    /// CA accounts that have a catalog and may not be on the schedule yet.
    pub(crate) fn unscheduled(&self) -> BTreeSet<AccountName> {
        lock(&self.unscheduled).clone()
    }

    /// Notes that the catalog of an account is on the schedule.
    pub(crate) fn scheduled(&self, account: &AccountName) {
        lock(&self.unscheduled).remove(account);
    }

    /// Targets that have forgotten what was installed on them.
    pub(crate) fn forgetful(&self) -> BTreeSet<AccountName> {
        lock(&self.forgetful).clone()
    }

    /// Notes that a target gets again what it has forgotten.
    pub(crate) fn restored(&self, target: &AccountName) {
        lock(&self.forgetful).remove(target);
    }

    /// Forgets an account of any kind. Steps under way keep using it until they end.
    pub(crate) fn remove(&self, name: &AccountName) -> bool {
        let cas = write(&self.cas).remove(name).is_some();
        let dns = write(&self.dns).remove(name).is_some();
        let targets = write(&self.targets).remove(name).is_some();
        cas || dns || targets
    }

    pub(crate) fn ca(&self, name: &AccountName) -> Result<Arc<CaAccount>, InputError> {
        find(&self.cas, "CA", name)
    }

    pub(crate) fn dns(&self, name: &AccountName) -> Result<Arc<DnsAccount>, InputError> {
        find(&self.dns, "DNS", name)
    }

    pub(crate) fn target(&self, name: &AccountName) -> Result<Arc<TargetAccount>, InputError> {
        find(&self.targets, "target", name)
    }

    /// Names, with what each is: `ca`, `dns` or `target`, and its provider.
    pub(crate) fn names(&self) -> Vec<(AccountName, &'static str, ProviderName)> {
        let cas = read(&self.cas)
            .values()
            .map(|a| (a.name.clone(), "ca", a.provider.provider()))
            .collect::<Vec<_>>();
        let dns = read(&self.dns)
            .values()
            .map(|a| (a.name.clone(), "dns", a.provider.provider()))
            .collect::<Vec<_>>();
        let targets = read(&self.targets)
            .values()
            .map(|a| (a.name.clone(), "target", a.provider.provider()))
            .collect::<Vec<_>>();
        [cas, dns, targets].concat()
    }
}

/// An account that stored work names but this process does not have: another process may, so the work waits.
pub(crate) fn absent(operation: Operation, input: InputError) -> Error {
    Error::new(ProviderName::ENGINE, operation, ErrorKind::Input(input)).retry_as(crate::Retry::Backoff)
}

// A poisoned lock means that a caller's thread panicked between two map operations, which leaves the map whole.
fn read<A>(named: &Named<A>) -> std::sync::RwLockReadGuard<'_, BTreeMap<AccountName, Arc<A>>> {
    named.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<A>(named: &Named<A>) -> std::sync::RwLockWriteGuard<'_, BTreeMap<AccountName, Arc<A>>> {
    named.write().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn put<A>(named: &Named<A>, account: Arc<A>, name: impl Fn(&A) -> &AccountName) {
    let name = name(&account).clone();
    write(named).insert(name, account);
}

fn find<A>(named: &Named<A>, kind: &'static str, name: &AccountName) -> Result<Arc<A>, InputError> {
    read(named).get(name).cloned().ok_or_else(|| InputError::UnknownAccount { kind, name: name.to_string() })
}
