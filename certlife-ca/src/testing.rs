//! What the tests of paid authorities share that go through the engine.

use std::{sync::Arc, time::Duration};

use certlife_core::{
    AccountName, BuildContext, CertificateAuthority, CertificateId, Clock, Engine, EngineBuilder, KeyRing,
    LocalKeyRing, SecretBytes, Store, Timestamp, async_trait, engine::CaOptions, model::Order,
    store::MemoryStore,
};
use certlife_testkit::{
    clock::LeapClock,
    crash::{CrashPlan, Crashing},
    work,
};

pub(crate) use crate::outside::Outside;

pub(crate) const DAY: Duration = Duration::from_hours(24);

/// A leaping clock as the engine sees it: it leaps when a request is repeated, and not whenever the engine looks after
/// its leases while one is under way.
#[derive(Debug)]
struct Steady(LeapClock);

#[async_trait]
impl Clock for Steady {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        while self.now() < deadline {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// What a host with one account keeps, whatever becomes of its process.
pub(crate) struct Host {
    pub(crate) account: AccountName,
    clock: LeapClock,
    store: Arc<MemoryStore>,
    ring: Arc<dyn KeyRing>,
}

impl Host {
    pub(crate) fn new(account: &str, clock: &LeapClock) -> Self {
        let ring = LocalKeyRing::from_key(SecretBytes::new(vec![7; 32])).unwrap();
        Self {
            account: account.parse().unwrap(),
            clock: clock.clone(),
            store: Arc::new(MemoryStore::new()),
            ring: Arc::new(ring),
        }
    }

    /// Begins an engine whose effects are points of `plan`.
    pub(crate) fn builder<C: CertificateAuthority>(
        &self,
        plan: &Arc<CrashPlan>,
        open: impl FnOnce(&BuildContext) -> C,
    ) -> EngineBuilder {
        let store: Arc<dyn Store> = self.store.clone();
        let builder = Engine::builder(Crashing::new(store, plan), self.ring.clone())
            .clock(Arc::new(Steady(self.clock.clone())))
            .seed(1)
            .linger(Duration::ZERO);
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let context = BuildContext { clock, ..builder.context(self.account.clone()) };
        let ca: Arc<dyn CertificateAuthority> = Arc::new(open(&context));
        builder.ca(self.account.clone(), Crashing::new(ca, plan), CaOptions::default())
    }

    /// Lets the engine work on whatever is due within `horizon`.
    pub(crate) async fn work(&self, engine: &Engine, horizon: Duration) {
        work::within(engine, self.clock.as_ref(), horizon).await;
    }
}

pub(crate) fn www() -> CertificateId {
    "www".parse().unwrap()
}

/// The newest order for [`www`].
pub(crate) async fn newest_order(engine: &Engine) -> Order {
    engine.orders(&www(), None).await.unwrap().items.remove(0)
}
