//! Crashes at any numbered step: wrappers that count every effect and stop the worker before or after one.
//!
//! The engine knows nothing of it. Each call that changes something outside the process — a commit, an order, a
//! record, an install — has two points: just before it happens, and just after, when nobody has heard of it yet.
//! A test runs the same work once for every point.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use certlife_core::{
    AccountSummary, CertificateAuthority, CertificateId, Csr, Deployer, DnsProvider, Fqdn, Identifier,
    InputError, ProviderName, Result, Store, Timestamp,
    ca::{
        CaCapabilities, Catalog, Decision, DomainValidation, Found, ImportFilter, IssuedRef, OrderIntent,
        OrderRef, OrderRequest, OrderSnapshot, RenewalWindow, Revocation, Signer,
    },
    challenge::{ChallengeId, Proof},
    deploy::{Bundle, ChallengeHandle, DeployCapabilities, Installed, KeyRequest, Receipt, TargetResponse},
    dns::{Added, Distribution, DnsCapabilities, DnsRecord, RecordHandle, Zone},
    store::{Batch, Claim, Claimed, Committed, Cursor, Key, Lease, Page, Query, Record},
};
use tokio::sync::watch;

/// Counts points and crashes at one of them.
#[derive(Debug)]
pub struct CrashPlan {
    at: usize,
    manner: Manner,
    passed: AtomicUsize,
    crashed: watch::Sender<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Freeze,
    Kill,
}

impl CrashPlan {
    /// Freezes every worker at point `at`, counted from 1: the call never returns, and [`crashed`](Self::crashed)
    /// tells. The test then drops the engine, which is what a crash leaves behind.
    pub fn freeze_at(at: usize) -> Arc<Self> {
        Self::new(at, Manner::Freeze)
    }

    /// Kills the whole process with SIGKILL at point `at`, counted from 1.
    pub fn kill_at(at: usize) -> Arc<Self> {
        Self::new(at, Manner::Kill)
    }

    /// Counts and never crashes.
    pub fn never() -> Arc<Self> {
        Self::new(usize::MAX, Manner::Freeze)
    }

    fn new(at: usize, manner: Manner) -> Arc<Self> {
        Arc::new(Self { at, manner, passed: AtomicUsize::new(0), crashed: watch::Sender::new(false) })
    }

    /// How many points were passed.
    pub fn points(&self) -> usize {
        self.passed.load(Ordering::SeqCst)
    }

    /// Returns once a worker is frozen.
    pub async fn crashed(&self) {
        // The sender is this plan's own, so that there is no end to wait for.
        let _ = self.crashed.subscribe().wait_for(|crashed| *crashed).await;
    }

    /// Lets `work` go on to its end or to the crash; returns whether it crashed. What it held is dropped then.
    pub async fn interrupts(&self, work: impl Future<Output = ()>) -> bool {
        tokio::select! {
            biased;
            () = self.crashed() => true,
            () = work => false,
        }
    }

    /// Passes a point, or crashes there and never returns: for effects that no wrapper of this module sees.
    pub async fn point(&self) {
        let number = self.passed.fetch_add(1, Ordering::SeqCst) + 1;
        if number < self.at {
            return;
        }
        if self.manner == Manner::Kill {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
        self.crashed.send_replace(true);
        // Whoever comes after the crash is dead as well.
        std::future::pending::<()>().await;
    }

    async fn around<T>(&self, effect: impl Future<Output = T>) -> T {
        self.point().await;
        let outcome = effect.await;
        self.point().await;
        outcome
    }
}

/// Wraps a store, a CA, a DNS provider or a deployer.
#[derive(Debug)]
pub struct Crashing<P: ?Sized> {
    plan: Arc<CrashPlan>,
    inner: Arc<P>,
}

impl<P: ?Sized> Crashing<P> {
    /// Wraps `inner`, so that each of its effects is a point of `plan`.
    pub fn new(inner: Arc<P>, plan: &Arc<CrashPlan>) -> Arc<Self> {
        Arc::new(Self { plan: plan.clone(), inner })
    }
}

#[async_trait]
impl Store for Crashing<dyn Store> {
    async fn get(&self, key: &Key) -> Result<Option<Record>> {
        self.inner.get(key).await
    }

    async fn list(&self, query: &Query) -> Result<Page<Record>> {
        self.inner.list(query).await
    }

    async fn commit(&self, batch: Batch) -> Result<Committed> {
        self.plan.around(self.inner.commit(batch)).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed> {
        self.inner.claim(claim).await
    }

    async fn extend(&self, lease: &Lease, until: Timestamp) -> Result<Lease> {
        self.inner.extend(lease, until).await
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        self.inner.release(lease).await
    }
}

#[async_trait]
impl CertificateAuthority for Crashing<dyn CertificateAuthority> {
    fn provider(&self) -> ProviderName {
        self.inner.provider()
    }

    fn capabilities(&self) -> CaCapabilities {
        self.inner.capabilities()
    }

    fn check(&self, request: &OrderRequest, catalog: Option<&Catalog>) -> Result<(), InputError> {
        self.inner.check(request, catalog)
    }

    async fn probe(&self) -> Result<AccountSummary> {
        self.inner.probe().await
    }

    async fn catalog(&self) -> Result<Catalog> {
        self.inner.catalog().await
    }

    async fn place(&self, intent: &OrderIntent) -> Result<OrderSnapshot> {
        self.plan.around(self.inner.place(intent)).await
    }

    async fn find(&self, intent: &OrderIntent) -> Result<Found> {
        self.inner.find(intent).await
    }

    async fn respond(&self, order: &OrderRef, ready: &[ChallengeId]) -> Result<OrderSnapshot> {
        self.plan.around(self.inner.respond(order, ready)).await
    }

    async fn poll(&self, order: &OrderRef) -> Result<OrderSnapshot> {
        self.plan.around(self.inner.poll(order)).await
    }

    async fn decide(&self, order: &OrderRef, decision: Decision) -> Result<OrderSnapshot> {
        self.plan.around(self.inner.decide(order, decision)).await
    }

    async fn approvers(&self, domain: &Identifier, product: Option<&str>) -> Result<Vec<String>> {
        self.inner.approvers(domain, product).await
    }

    async fn revalidate(
        &self,
        order: &OrderRef,
        identifier: &Identifier,
        proof: &Proof,
    ) -> Result<OrderSnapshot> {
        self.plan.around(self.inner.revalidate(order, identifier, proof)).await
    }

    async fn validate_domain(&self, domain: &Identifier, proof: &Proof) -> Result<DomainValidation> {
        self.plan.around(self.inner.validate_domain(domain, proof)).await
    }

    async fn revoke(&self, revocation: &Revocation, key: Option<&dyn Signer>) -> Result<()> {
        self.plan.around(self.inner.revoke(revocation, key)).await
    }

    async fn orders(&self, filter: &ImportFilter, page: Option<Cursor>) -> Result<Page<OrderSnapshot>> {
        self.inner.orders(filter, page).await
    }

    async fn renewal_window(&self, issued: &IssuedRef) -> Result<Option<RenewalWindow>> {
        self.inner.renewal_window(issued).await
    }
}

#[async_trait]
impl DnsProvider for Crashing<dyn DnsProvider> {
    fn provider(&self) -> ProviderName {
        self.inner.provider()
    }

    fn capabilities(&self) -> DnsCapabilities {
        self.inner.capabilities()
    }

    async fn probe(&self) -> Result<AccountSummary> {
        self.inner.probe().await
    }

    async fn zone_of(&self, name: &Fqdn) -> Result<Zone> {
        self.inner.zone_of(name).await
    }

    async fn add(&self, record: &DnsRecord) -> Result<Added> {
        self.plan.around(self.inner.add(record)).await
    }

    async fn remove(&self, handle: &RecordHandle) -> Result<()> {
        self.plan.around(self.inner.remove(handle)).await
    }

    async fn distribution(&self, handle: &RecordHandle) -> Result<Distribution> {
        self.inner.distribution(handle).await
    }
}

#[async_trait]
impl Deployer for Crashing<dyn Deployer> {
    fn provider(&self) -> ProviderName {
        self.inner.provider()
    }

    fn capabilities(&self) -> DeployCapabilities {
        self.inner.capabilities()
    }

    async fn probe(&self) -> Result<AccountSummary> {
        self.inner.probe().await
    }

    async fn make_key(&self, wanted: &KeyRequest) -> Result<Csr> {
        self.plan.around(self.inner.make_key(wanted)).await
    }

    async fn install(&self, bundle: &Bundle) -> Result<Receipt> {
        self.plan.around(self.inner.install(bundle)).await
    }

    async fn installed(&self, certificate: &CertificateId) -> Result<Option<Installed>> {
        self.inner.installed(certificate).await
    }

    async fn rollback(&self, receipt: &Receipt) -> Result<()> {
        self.plan.around(self.inner.rollback(receipt)).await
    }

    async fn uninstall(&self, certificate: &CertificateId) -> Result<()> {
        self.plan.around(self.inner.uninstall(certificate)).await
    }

    async fn put_challenge(&self, response: &TargetResponse) -> Result<ChallengeHandle> {
        self.plan.around(self.inner.put_challenge(response)).await
    }

    async fn remove_challenge(&self, handle: &ChallengeHandle) -> Result<()> {
        self.plan.around(self.inner.remove_challenge(handle)).await
    }
}
