//! The embedded authority against the contract, against OpenSSL, and against its own promises.

mod authority;
mod conformance;
mod openssl;
mod profiles;
mod validation;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use certlife_core::{
    AccountName, Clock, CsrTemplate, Error, ErrorKind, Identifier, KeyAlgorithm, LocalKeyRing, Operation,
    PrivateKey, ProviderName, Result, Sealer, SecretBytes, Store, Timestamp, Vault,
    ca::{OrderIntent, OrderRequest, Purpose},
    store::{Batch, Claim, Claimed, Committed, Key, Lease, MemoryStore, Page, Query, Record},
};
use certlife_testkit::ca::Fault;
use std::sync::{
    Mutex,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use super::{Private, PrivateBuilder};

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub(super) struct HandClock(AtomicI64);

impl HandClock {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(Timestamp::parse("2026-03-01T12:00:00Z").unwrap().unix_millis())))
    }

    pub(super) fn advance(&self, time: Duration) {
        self.0.fetch_add(i64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_millis(self.0.load(Ordering::SeqCst))
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        self.advance(deadline.since(self.now()));
    }
}

/// A store whose calls are counted and can be made to fail.
#[derive(Debug, Default)]
pub(super) struct FlakyStore {
    inner: MemoryStore,
    calls: AtomicU64,
    on_write: Mutex<Option<Fault>>,
    on_read: Mutex<Option<Fault>>,
}

impl FlakyStore {
    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    pub(super) fn inject(&self, write: bool, fault: Fault) {
        *if write { &self.on_write } else { &self.on_read }.lock().unwrap() = Some(fault);
    }

    async fn befall<T>(
        &self,
        slot: &Mutex<Option<Fault>>,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        // As with a real database, others get their turn before each call and after it.
        tokio::task::yield_now().await;
        let lost = |kind| Err(Error::new(ProviderName::ENGINE, Operation::WriteStore, kind));
        let fault = slot.lock().unwrap().take();
        match fault {
            Some(Fault::Fail) => lost(ErrorKind::Unavailable),
            Some(Fault::LoseAnswer) => {
                call.await?;
                lost(ErrorKind::Io("the connection to the database broke".into()))
            }
            Some(Fault::Slow(time)) => {
                tokio::time::sleep(time).await;
                call.await
            }
            _ => call.await,
        }
    }
}

#[async_trait]
impl Store for FlakyStore {
    async fn get(&self, key: &Key) -> Result<Option<Record>> {
        self.befall(&self.on_read, self.inner.get(key)).await
    }

    async fn list(&self, query: &Query) -> Result<Page<Record>> {
        self.befall(&self.on_read, self.inner.list(query)).await
    }

    async fn commit(&self, batch: Batch) -> Result<Committed> {
        self.befall(&self.on_write, self.inner.commit(batch)).await
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

/// A store with its keys, to build authorities over.
#[derive(Clone)]
pub(super) struct Ground {
    pub(super) store: Arc<FlakyStore>,
    pub(super) clock: Arc<HandClock>,
    sealer: Sealer,
}

impl fmt::Debug for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ground")
    }
}

impl Ground {
    pub(super) fn new() -> Self {
        let ring = LocalKeyRing::from_key(SecretBytes::new(vec![7; 32])).unwrap();
        let sealer = Sealer::new(Arc::new(ring));
        Self { store: Arc::default(), clock: HandClock::new(), sealer }
    }

    pub(super) fn vault(&self) -> Vault {
        let account = AccountName::new("inside").unwrap();
        Vault::new(self.store.clone(), self.sealer.clone(), account)
    }

    pub(super) fn builder(&self) -> PrivateBuilder {
        Private::builder(self.vault()).clock(self.clock.clone())
    }

    pub(super) fn ca(&self) -> Private {
        self.builder().build().unwrap()
    }
}

pub(super) fn request(names: &[&str]) -> OrderRequest {
    OrderRequest {
        purpose: Purpose::New,
        identifiers: names.iter().map(|name| name.parse::<Identifier>().unwrap()).collect(),
        key_algorithm: None,
        validity: None,
        product: None,
        organization: None,
        contacts: Vec::new(),
        challenges: [].into(),
        options: serde_json::Value::Null,
    }
}

pub(super) fn intent(reference: &str, request: OrderRequest) -> OrderIntent {
    intent_with(reference, request, KeyAlgorithm::EcdsaP256)
}

pub(super) fn intent_with(reference: &str, request: OrderRequest, algorithm: KeyAlgorithm) -> OrderIntent {
    let key = PrivateKey::generate(algorithm).unwrap();
    let csr = CsrTemplate::new(request.identifiers.iter().cloned()).sign(&key).unwrap();
    OrderIntent { reference: reference.to_owned(), request, csr }
}
