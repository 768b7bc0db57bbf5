//! With the engine around it: nine days of waiting, every order once, and a crash at every point.

use std::{sync::Arc, time::Duration};

use certlife_core::{
    BuildContext, CertificateAuthority, CertificateId, Clock, Engine, EngineBuilder, KeyRing,
    RevocationReason, Store, Timestamp, async_trait,
    ca::{Decision, ImportFilter},
    engine::CaOptions,
    model::{CertificateSpec, OrderState},
};
use certlife_testkit::crash::{CrashPlan, Crashing};
use serde_json::json;

use super::{
    super::{
        OrderOptions, Settings,
        fake::{Mishap, Step},
    },
    *,
};

const DAY: Duration = Duration::from_hours(24);

/// The clock of the scene as the engine sees it: it leaps when a request is repeated, and not whenever the engine
/// looks after its leases while one is under way.
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

/// A host with one account.
struct Host {
    scene: Scene,
    store: Arc<MemoryStore>,
    ring: Arc<dyn KeyRing>,
}

impl Host {
    async fn new() -> Self {
        let ring = LocalKeyRing::from_key(SecretBytes::new(vec![7; 32])).unwrap();
        Self { scene: Scene::new().await, store: Arc::new(MemoryStore::new()), ring: Arc::new(ring) }
    }

    fn builder(&self, plan: &Arc<CrashPlan>) -> EngineBuilder {
        let store: Arc<dyn Store> = self.store.clone();
        let builder = Engine::builder(Crashing::new(store, plan), self.ring.clone())
            .clock(Arc::new(Steady(self.scene.clock.clone())))
            .seed(1)
            .linger(Duration::ZERO);
        let account: AccountName = "entrust".parse().unwrap();
        let settings = json!({
            "username": USER, "api_key": KEY, "base_url": self.scene.fake.base_url(),
            "requester": { "name": "PKI", "email": "pki@northwind.example", "phone": "1" },
            "http": { "roots": self.scene.fake.world().issuer.root_pem(), "only_roots": true },
        });
        let settings: Settings = serde_json::from_value(settings).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(self.scene.clock.clone());
        let context = BuildContext { clock, ..builder.context(account.clone()) };
        let ca: Arc<dyn CertificateAuthority> = Arc::new(settings.build(&context).unwrap());
        builder.ca(account, Crashing::new(ca, plan), CaOptions::default())
    }

    async fn engine(&self) -> Engine {
        self.builder(&CrashPlan::never()).build().await.unwrap()
    }

    /// Lets the engine work on whatever is due within `horizon`.
    async fn work(&self, engine: &Engine, horizon: Duration) {
        let end = self.scene.clock.now() + horizon;
        loop {
            match engine.pass().await.unwrap().next {
                Some(next) if next <= end => self.scene.clock.advance(next.since(self.scene.clock.now())),
                _ => return,
            }
        }
    }

    fn paid(&self) -> usize {
        self.scene.fake.world().ledger.iter().filter(|line| line.paid).count()
    }
}

fn www() -> CertificateId {
    "www".parse().unwrap()
}

fn spec(options: &OrderOptions) -> CertificateSpec {
    let mut spec = CertificateSpec::new(www(), "entrust".parse().unwrap())
        .identifiers(["www.northwind.example", "shop.northwind.example"].map(|name| name.parse().unwrap()));
    spec.product = Some("UC_SSL".into());
    spec.options = serde_json::to_value(options).unwrap();
    spec
}

#[tokio::test]
async fn an_order_waits_nine_days_for_its_approval_and_lives_on() {
    let host = Host::new().await;
    let engine = host.engine().await;
    engine.refresh_catalog(&"entrust".parse().unwrap()).await.unwrap();
    engine.ensure(spec(&OrderOptions::new().queue_for_approval(true))).await.unwrap();
    host.scene.requests();
    host.work(&engine, 9 * DAY).await;
    let order = engine.orders(&www(), None).await.unwrap().items.remove(0);
    assert_eq!(order.state, OrderState::AwaitingApproval, "{order:#?}");
    let requests = host.scene.requests().len();
    assert!(requests < 120, "{requests} requests in nine days");

    engine.decide(order.id, Decision::Approve).await.unwrap();
    host.work(&engine, Duration::from_mins(5)).await;
    let versions = async || engine.versions(&www(), None).await.unwrap().items;
    assert_eq!((versions().await.len(), host.paid()), (1, 1));

    engine.renew(&www()).await.unwrap();
    host.work(&engine, DAY).await;
    engine.reissue(&www(), Some("the key was replaced")).await.unwrap();
    host.work(&engine, DAY).await;
    assert_eq!((versions().await.len(), host.paid(), host.scene.fake.world().ledger.len()), (3, 2, 3));

    let current = engine.certificate(&www()).await.unwrap().current.unwrap();
    engine.revoke(current, RevocationReason::Superseded, None, false).await.unwrap();
    host.work(&engine, DAY).await;
    assert_eq!(host.scene.fake.world().orders[2].status, "REVOKED");

    let report = engine.import(&"entrust".parse().unwrap(), &ImportFilter::default()).await.unwrap();
    assert_eq!((report.listed, report.known, report.imported), (3, 3, 0));
}

#[tokio::test]
async fn whatever_the_point_of_a_crash_one_order_is_paid() {
    let mut at = 1;
    loop {
        let host = Host::new().await;
        {
            // The list hides the order until it is generated, which takes a while.
            let mut world = host.scene.fake.world();
            (world.hides_unfinished, world.polls_to_issue) = (true, 3);
            world.generates_in = Some(Duration::from_mins(8));
        }
        let plan = CrashPlan::freeze_at(at);
        let crashed = tokio::select! {
            biased;
            () = plan.crashed() => true,
            () = async {
                let engine = host.builder(&plan).build().await.unwrap();
                engine.ensure(spec(&OrderOptions::new())).await.unwrap();
                host.work(&engine, Duration::from_hours(1)).await;
            } => false,
        };
        if !crashed {
            break;
        }
        host.scene.clock.advance(Duration::from_mins(2));
        let engine = host.engine().await;
        engine.ensure(spec(&OrderOptions::new())).await.unwrap();
        host.work(&engine, DAY).await;
        let order = engine.orders(&www(), None).await.unwrap().items.remove(0);
        assert_eq!(order.state, OrderState::Issued, "point {at}: {order:#?}");
        assert_eq!(host.paid(), 1, "point {at}");
        at += 1;
    }
    assert!(at > 10, "only {at} points were tried");
}

#[tokio::test]
async fn an_outage_while_ordering_costs_time_and_no_second_order() {
    for mishap in [Mishap::Fail, Mishap::Lose, Mishap::Garble, Mishap::Throttle(None)] {
        let host = Host::new().await;
        host.scene.fake.befall(Step::Order, mishap.clone());
        let engine = host.engine().await;
        engine.ensure(spec(&OrderOptions::new())).await.unwrap();
        host.work(&engine, DAY).await;
        let order = engine.orders(&www(), None).await.unwrap().items.remove(0);
        assert_eq!((order.state, host.paid()), (OrderState::Issued, 1), "{mishap:?}: {order:#?}");
    }
}
