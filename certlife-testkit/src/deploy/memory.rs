//! A target in memory: the reference [`Deployer`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use certlife_core::{
    AccountSummary, CertificateId, Chain, Clock, Csr, Deployer, Error, ErrorKind, Identifier, KeyAlgorithm,
    KeyId, Operation, PrivateKey, ProviderName, Result, Retry, SystemClock, VersionId, async_trait,
    challenge::{ChallengeKind, HttpPath},
    deploy::{Bundle, ChallengeHandle, DeployCapabilities, Installed, KeyRequest, Receipt, TargetResponse},
};
use serde_json::Value;

const MEMORY: ProviderName = ProviderName::new("memory");

/// A target in memory, with a deployer for it. Clones, and those made by [`reopened`](Self::reopened), are the
/// same target: what is told to one happens to all.
#[derive(Clone)]
pub struct MemoryTarget(Arc<Shared>);

struct Shared {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

struct State {
    capabilities: DeployCapabilities,
    places: BTreeMap<CertificateId, Place>,
    /// The keys that were made here.
    keys: BTreeMap<CertificateId, BTreeMap<KeyId, PrivateKey>>,
    /// What answers challenges, the latest last.
    responses: Vec<TargetResponse>,
    orders: Orders,
    under_way: usize,
    calls: Calls,
}

/// Where one certificate is installed.
#[derive(Default)]
struct Place {
    live: Option<VersionId>,
    kept: BTreeMap<VersionId, Kept>,
    /// What somebody put there past the deployer.
    foreign: Option<Pair>,
    history: Vec<VersionId>,
}

struct Kept {
    pair: Pair,
    replaced: Option<VersionId>,
}

#[derive(Clone)]
struct Pair {
    chain: Chain,
    key: Option<PrivateKey>,
}

/// What the target is told to do.
#[derive(Default)]
struct Orders {
    failing: Vec<Failing>,
    answers_to_lose: usize,
    delay: Duration,
    ignores_installs: bool,
    lies: BTreeMap<CertificateId, Option<Installed>>,
}

struct Failing {
    operation: Option<Operation>,
    left: usize,
    kind: ErrorKind,
    retry: Option<Retry>,
}

/// How often a target was called, failures included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Calls {
    /// [`Deployer::probe`].
    pub probe: usize,
    /// [`Deployer::make_key`].
    pub make_key: usize,
    /// [`Deployer::install`].
    pub install: usize,
    /// [`Deployer::installed`].
    pub installed: usize,
    /// [`Deployer::rollback`].
    pub rollback: usize,
    /// [`Deployer::uninstall`].
    pub uninstall: usize,
    /// [`Deployer::put_challenge`].
    pub put_challenge: usize,
    /// [`Deployer::remove_challenge`].
    pub remove_challenge: usize,
    /// The most calls that were under way at one time.
    pub most_at_once: usize,
}

impl MemoryTarget {
    /// An empty target that can do everything, on the operating system's clock.
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock::default()))
    }

    /// An empty target that can do everything, whose [`delay`](Self::delay) goes by `clock`.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let challenges = BTreeSet::from([ChallengeKind::Http, ChallengeKind::TlsAlpn]);
        let state = State {
            capabilities: DeployCapabilities {
                install: true,
                challenges,
                volatile: false,
                keys: KeyAlgorithm::ALL.iter().copied().collect(),
            },
            places: BTreeMap::new(),
            keys: BTreeMap::new(),
            responses: Vec::new(),
            orders: Orders::default(),
            under_way: 0,
            calls: Calls::default(),
        };
        Self(Arc::new(Shared { clock, state: Mutex::new(state) }))
    }

    /// The same target as a process sees it that has just started.
    #[must_use]
    pub fn reopened(&self) -> Self {
        self.clone()
    }

    /// Does only this from now on, and refuses the rest as unsupported.
    pub fn limit_to(&self, capabilities: DeployCapabilities) {
        self.state().capabilities = capabilities;
    }

    /// Fails the next calls of any kind like this, without changing anything.
    pub fn fail_next(&self, calls: usize, kind: ErrorKind) {
        self.fail(None, calls, kind, None);
    }

    /// Fails the next calls for one operation like this, without changing anything: [`Operation::Probe`],
    /// [`MakeKey`](Operation::MakeKey), [`Install`](Operation::Install), [`Inspect`](Operation::Inspect), [`RollBack`](Operation::RollBack),
    /// [`Uninstall`](Operation::Uninstall), [`PutChallenge`](Operation::PutChallenge) or
    /// [`RemoveChallenge`](Operation::RemoveChallenge).
    pub fn fail_next_of(&self, operation: Operation, calls: usize, kind: ErrorKind) {
        self.fail(Some(operation), calls, kind, None);
    }

    /// As [`fail_next_of`](Self::fail_next_of), saying whether to call again.
    pub fn fail_next_as(&self, operation: Operation, calls: usize, kind: ErrorKind, retry: Retry) {
        self.fail(Some(operation), calls, kind, Some(retry));
    }

    /// Makes the next changes and fails with [`ErrorKind::Timeout`], as if the answers were lost.
    pub fn lose_next_answers(&self, changes: usize) {
        self.state().orders.answers_to_lose = changes;
    }

    /// Takes this long for each call, by the clock of the target. Defaults to nothing.
    pub fn delay(&self, delay: Duration) {
        self.state().orders.delay = delay;
    }

    /// Gives receipts for installs from now on, but goes on serving what it serves; or obeys again.
    pub fn ignore_installs(&self, ignore: bool) {
        self.state().orders.ignores_installs = ignore;
    }

    /// Confirms this for `certificate` from now on, whatever it serves, until [`recover`](Self::recover).
    pub fn confirm_instead(&self, certificate: &CertificateId, installed: Option<Installed>) {
        self.state().orders.lies.insert(certificate.clone(), installed);
    }

    /// Puts chain and key of `bundle` where its certificate is, past every deployer.
    pub fn tamper(&self, bundle: &Bundle) {
        let pair = Pair { chain: bundle.chain.clone(), key: bundle.key.clone() };
        self.state().places.entry(bundle.certificate.clone()).or_default().foreign = Some(pair);
    }

    /// Loses everything that it holds, as a machine that was set up anew.
    pub fn wipe(&self) {
        let mut state = self.state();
        state.places.clear();
        state.keys.clear();
        state.responses.clear();
    }

    /// Works as told by nobody again: no failures, delays and lies.
    pub fn recover(&self) {
        self.state().orders = Orders::default();
    }

    /// How often it was called so far.
    pub fn calls(&self) -> Calls {
        self.state().calls
    }

    /// The chain that is served for `certificate`, and its key.
    pub fn served(&self, certificate: &CertificateId) -> Option<(Chain, Option<PrivateKey>)> {
        let state = self.state();
        let pair = state.places.get(certificate)?.served()?;
        Some((pair.chain.clone(), pair.key.clone()))
    }

    /// The keys that were made here for `certificate`, oldest first.
    pub fn made_keys(&self, certificate: &CertificateId) -> Vec<PrivateKey> {
        self.state().keys.get(certificate).map(|keys| keys.values().cloned().collect()).unwrap_or_default()
    }

    /// The version that is served for `certificate`; none too if somebody tampered with it.
    pub fn served_version(&self, certificate: &CertificateId) -> Option<VersionId> {
        self.state().places.get(certificate)?.version()
    }

    /// Every version that was made the served one, in order, rolled back ones and repetitions included.
    pub fn history(&self, certificate: &CertificateId) -> Vec<VersionId> {
        self.state().places.get(certificate).map(|place| place.history.clone()).unwrap_or_default()
    }

    /// What answers challenges now, the latest last.
    pub fn responses(&self) -> Vec<TargetResponse> {
        self.state().responses.clone()
    }

    /// What it keeps for certificates and challenges, a line each: versions, keys that were made here, and responses.
    pub fn remains(&self) -> Vec<String> {
        let state = self.state();
        let versions = |(certificate, place): (&CertificateId, &Place)| {
            let kept = place.kept.keys().map(|version| format!("{certificate}, version {version}"));
            kept.collect::<Vec<_>>()
        };
        let keys = |(certificate, keys): (&CertificateId, &BTreeMap<KeyId, _>)| {
            keys.keys().map(|key| format!("{certificate}, key {key}")).collect::<Vec<_>>()
        };
        let responses = state.responses.iter().map(|response| format!("{response:?}"));
        let places = state.places.iter().flat_map(versions);
        places.chain(state.keys.iter().flat_map(keys)).chain(responses).collect()
    }

    /// What an HTTP client gets.
    pub fn http(&self, host: &Identifier, path: &HttpPath) -> Option<String> {
        self.state().responses.iter().rev().find_map(|response| match response {
            TargetResponse::Http(file) if file.host == *host && file.path == *path => {
                Some(file.body.as_str().to_owned())
            }
            _ => None,
        })
    }

    /// The digest that a `tls-alpn-01` client sees.
    pub fn tls_alpn(&self, identifier: &Identifier) -> Option<[u8; 32]> {
        self.state().responses.iter().rev().find_map(|response| match response {
            TargetResponse::TlsAlpn(alpn) if alpn.identifier == *identifier => Some(alpn.digest),
            _ => None,
        })
    }

    fn fail(&self, operation: Option<Operation>, calls: usize, kind: ErrorKind, retry: Option<Retry>) {
        self.state().orders.failing.push(Failing { operation, left: calls, kind, retry });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call, takes its time, and fails it if that was asked for.
    async fn called(&self, operation: Operation, count: fn(&mut Calls) -> &mut usize) -> Result<()> {
        let delay = {
            let mut state = self.state();
            *count(&mut state.calls) += 1;
            state.under_way += 1;
            state.calls.most_at_once = state.calls.most_at_once.max(state.under_way);
            state.orders.delay
        };
        let _under_way = UnderWay(self);
        // Even without a delay other calls get their turn here, as they would at any target.
        if delay.is_zero() {
            tokio::task::yield_now().await;
        } else {
            self.0.clock.sleep_until(self.0.clock.now() + delay).await;
        }
        self.state().orders.failure(operation).map_or(Ok(()), Err)
    }

    /// Makes the answer to a change, or loses it.
    fn answer<T>(&self, operation: Operation, value: T) -> Result<T> {
        let mut state = self.state();
        if state.orders.answers_to_lose == 0 {
            return Ok(value);
        }
        state.orders.answers_to_lose -= 1;
        Err(Error::new(MEMORY, operation, ErrorKind::Timeout))
    }
}

impl Default for MemoryTarget {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = self.state().places.keys().cloned().collect::<Vec<_>>();
        f.debug_struct("MemoryTarget").field("certificates", &places).finish_non_exhaustive()
    }
}

impl Orders {
    fn failure(&mut self, operation: Operation) -> Option<Error> {
        let concerns = |failing: &&mut Failing| {
            failing.left > 0 && failing.operation.is_none_or(|concerned| concerned == operation)
        };
        let failing = self.failing.iter_mut().find(concerns)?;
        failing.left -= 1;
        let error = Error::new(MEMORY, operation, failing.kind.clone());
        Some(match failing.retry {
            Some(retry) => error.retry_as(retry),
            None => error,
        })
    }
}

impl Place {
    fn served(&self) -> Option<&Pair> {
        let own = || self.live.and_then(|version| self.kept.get(&version)).map(|kept| &kept.pair);
        self.foreign.as_ref().or_else(own)
    }

    fn version(&self) -> Option<VersionId> {
        self.live.filter(|_| self.foreign.is_none())
    }

    fn serve(&mut self, version: Option<VersionId>) {
        self.live = version;
        self.foreign = None;
        self.history.extend(version);
    }
}

impl State {
    fn install(&mut self, bundle: &Bundle) -> Receipt {
        let ignore = self.orders.ignores_installs;
        let place = self.places.entry(bundle.certificate.clone()).or_default();
        let replaced = match place.kept.get(&bundle.version) {
            Some(kept) if place.live == Some(bundle.version) => kept.replaced,
            _ => place.live,
        };
        if !ignore {
            let leaf_key = bundle.chain.info().map(|info| info.key_hash).ok();
            let made = self.keys.get(&bundle.certificate).into_iter().flat_map(BTreeMap::values);
            let own = made.into_iter().find(|key| Some(key.public_key_hash()) == leaf_key);
            let pair = Pair { chain: bundle.chain.clone(), key: bundle.key.as_ref().or(own).cloned() };
            place.kept.insert(bundle.version, Kept { pair, replaced });
            place.serve(Some(bundle.version));
        }
        let (certificate, version) = (bundle.certificate.clone(), bundle.version);
        Receipt { certificate, version, replaced, vendor: Value::Null }
    }

    fn rollback(&mut self, receipt: &Receipt) -> Result<(), ErrorKind> {
        let place = self.places.entry(receipt.certificate.clone()).or_default();
        match place.live {
            Some(live) if live != receipt.version && Some(live) != receipt.replaced => {
                return Err(ErrorKind::NotNow("another version has been installed since".into()));
            }
            _ => {}
        }
        if let Some(replaced) = receipt.replaced.filter(|replaced| !place.kept.contains_key(replaced)) {
            return Err(ErrorKind::NotFound(format!("version {replaced}").into()));
        }
        place.serve(receipt.replaced);
        Ok(())
    }
}

/// Counts a call as under way until it ends or is dropped.
struct UnderWay<'a>(&'a MemoryTarget);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.state().under_way -= 1;
    }
}

#[async_trait]
impl Deployer for MemoryTarget {
    fn provider(&self) -> ProviderName {
        MEMORY
    }

    fn capabilities(&self) -> DeployCapabilities {
        self.state().capabilities.clone()
    }

    async fn probe(&self) -> Result<AccountSummary> {
        self.called(Operation::Probe, |calls| &mut calls.probe).await?;
        Ok(AccountSummary { identity: Some("memory".into()), ..AccountSummary::default() })
    }

    async fn make_key(&self, wanted: &KeyRequest) -> Result<Csr> {
        let operation = Operation::MakeKey;
        self.called(operation, |calls| &mut calls.make_key).await?;
        if !self.capabilities().keys.contains(&wanted.algorithm) {
            let what = format!("making {} keys on the target", wanted.algorithm);
            return Err(Error::new(MEMORY, operation, ErrorKind::Unsupported(what.into())));
        }
        let made = PrivateKey::generate_off_thread(wanted.algorithm).await?;
        let key = {
            let mut state = self.state();
            let keys = state.keys.entry(wanted.certificate.clone()).or_default();
            keys.entry(wanted.key).or_insert(made).clone()
        };
        self.answer(operation, wanted.template.sign(&key)?)
    }

    async fn install(&self, bundle: &Bundle) -> Result<Receipt> {
        let operation = Operation::Install;
        self.called(operation, |calls| &mut calls.install).await?;
        if !self.capabilities().install {
            return Err(unsupported(operation, "installing certificates"));
        }
        let key_hash = bundle.chain.info().map_err(|input| Error::input(operation, input))?.key_hash;
        if bundle.key.as_ref().is_some_and(|key| key.public_key_hash() != key_hash) {
            let what = ErrorKind::BadCertificate("the key is another certificate's".into());
            return Err(Error::new(MEMORY, operation, what));
        }
        let receipt = self.state().install(bundle);
        self.answer(operation, receipt)
    }

    async fn installed(&self, certificate: &CertificateId) -> Result<Option<Installed>> {
        self.called(Operation::Inspect, |calls| &mut calls.installed).await?;
        let state = self.state();
        if let Some(lie) = state.orders.lies.get(certificate) {
            return Ok(lie.clone());
        }
        Ok(state.places.get(certificate).and_then(|place| {
            let fingerprint = place.served()?.chain.fingerprint();
            Some(Installed { fingerprint, version: place.version() })
        }))
    }

    async fn rollback(&self, receipt: &Receipt) -> Result<()> {
        let operation = Operation::RollBack;
        self.called(operation, |calls| &mut calls.rollback).await?;
        self.state().rollback(receipt).map_err(|kind| Error::new(MEMORY, operation, kind))?;
        self.answer(operation, ())
    }

    async fn uninstall(&self, certificate: &CertificateId) -> Result<()> {
        let operation = Operation::Uninstall;
        self.called(operation, |calls| &mut calls.uninstall).await?;
        let mut state = self.state();
        state.keys.remove(certificate);
        if let Some(place) = state.places.get_mut(certificate) {
            place.kept.clear();
            place.serve(None);
        }
        drop(state);
        self.answer(operation, ())
    }

    async fn put_challenge(&self, response: &TargetResponse) -> Result<ChallengeHandle> {
        let operation = Operation::PutChallenge;
        self.called(operation, |calls| &mut calls.put_challenge).await?;
        if !self.capabilities().challenges.contains(&response.kind()) {
            return Err(unsupported(operation, response.kind().as_str()));
        }
        let mut state = self.state();
        state.responses.retain(|placed| placed != response);
        state.responses.push(response.clone());
        drop(state);
        self.answer(operation, ChallengeHandle::unknown(response.clone()))
    }

    async fn remove_challenge(&self, handle: &ChallengeHandle) -> Result<()> {
        let operation = Operation::RemoveChallenge;
        self.called(operation, |calls| &mut calls.remove_challenge).await?;
        self.state().responses.retain(|placed| *placed != handle.response);
        self.answer(operation, ())
    }
}

fn unsupported(operation: Operation, what: &'static str) -> Error {
    Error::new(MEMORY, operation, ErrorKind::Unsupported(what.into()))
}
