//! With the engine around it: nine days of waiting, every order once, and a crash at every point.

use std::{sync::Arc, time::Duration};

use certlife_core::{
    Clock as _, Engine, EngineBuilder, RevocationReason,
    ca::{Decision, ImportFilter},
    model::{CertificateSpec, DomainState, OrderState, Route},
};
use certlife_testkit::crash::CrashPlan;
use serde_json::json;

use super::{
    super::{
        OrderOptions, Settings,
        fake::{Mishap, Step},
    },
    *,
};
use crate::testing::{self, DAY, Outside, newest_order, www};

/// A host with one account.
struct Host {
    scene: Scene,
    base: testing::Host,
    outside: Outside,
}

impl Host {
    async fn new() -> Self {
        let scene = Scene::new().await;
        let base = testing::Host::new("entrust", &scene.clock);
        let outside = Outside::new(&scene.clock, "northwind.example");
        let seen = outside.clone();
        scene.fake.world().eyes = Some(Arc::new(move |kind, place, value| seen.sees(kind, place, value)));
        Self { scene, base, outside }
    }

    fn builder(&self, plan: &Arc<CrashPlan>) -> EngineBuilder {
        let settings = json!({
            "username": USER, "api_key": KEY, "base_url": self.scene.fake.base_url(),
            "requester": { "name": "PKI", "email": "pki@northwind.example", "phone": "1" },
            "http": { "roots": self.scene.fake.world().issuer.root_pem(), "only_roots": true },
        });
        let settings: Settings = serde_json::from_value(settings).unwrap();
        let builder = self.base.builder(plan, |context| settings.build(context).unwrap());
        self.outside.added_to(builder, plan)
    }

    async fn engine(&self) -> Engine {
        self.builder(&CrashPlan::never()).build().await.unwrap()
    }

    async fn work(&self, engine: &Engine, horizon: Duration) {
        self.base.work(engine, horizon).await;
    }

    fn paid(&self) -> usize {
        self.scene.fake.world().ledger.iter().filter(|line| line.paid).count()
    }
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
    let order = newest_order(&engine).await;
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
        let work = async {
            let engine = host.builder(&plan).build().await.unwrap();
            engine.ensure(spec(&OrderOptions::new())).await.unwrap();
            host.work(&engine, Duration::from_hours(1)).await;
        };
        if !plan.interrupts(work).await {
            break;
        }
        host.scene.clock.advance(Duration::from_mins(2));
        let engine = host.engine().await;
        engine.ensure(spec(&OrderOptions::new())).await.unwrap();
        host.work(&engine, DAY).await;
        let order = newest_order(&engine).await;
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
        let order = newest_order(&engine).await;
        assert_eq!((order.state, host.paid()), (OrderState::Issued, 1), "{mishap:?}: {order:#?}");
    }
}

#[tokio::test]
async fn a_renewal_that_the_list_hides_at_first_is_paid_once() {
    for mishap in [Mishap::Lose, Mishap::Fail] {
        let host = Host::new().await;
        let engine = host.engine().await;
        engine.ensure(spec(&OrderOptions::new())).await.unwrap();
        host.work(&engine, DAY).await;
        {
            let mut world = host.scene.fake.world();
            (world.hides_unfinished, world.polls_to_issue) = (true, 9);
            world.generates_in = Some(Duration::from_mins(8));
        }
        host.scene.fake.befall(Step::Order, mishap.clone());
        engine.renew(&www()).await.unwrap();
        host.work(&engine, DAY).await;
        let order = newest_order(&engine).await;
        assert_eq!((order.state, host.paid()), (OrderState::Issued, 2), "{mishap:?}: {order:#?}");
    }
}

#[tokio::test]
async fn what_is_issued_is_put_on_hold_and_taken_out_of_management_and_back() {
    let host = Host::new().await;
    let engine = host.engine().await;
    engine.ensure(spec(&OrderOptions::new())).await.unwrap();
    host.work(&engine, DAY).await;
    let version = engine.certificate(&www()).await.unwrap().current.unwrap();
    let state = || {
        let world = host.scene.fake.world();
        (world.orders[0].status.clone(), world.orders[0].deactivated)
    };
    for (decision, expected) in [
        (Decision::Suspend, "SUSPENDED"),
        (Decision::Resume, "ACTIVE"),
        (Decision::Deactivate, "DEACTIVATED"),
        (Decision::Reactivate, "ACTIVE"),
    ] {
        host.scene.fake.befall(Step::Decide, Mishap::Fail);
        engine.decide_version(version, decision).await.unwrap();
        host.work(&engine, DAY).await;
        assert_eq!(state(), (expected.to_owned(), decision == Decision::Deactivate), "{decision:?}");
        assert!(engine.certificate(&www()).await.unwrap().decisions.is_empty(), "{decision:?}");
    }
}

#[tokio::test]
async fn whatever_the_point_of_a_crash_a_domain_is_proven_and_nothing_is_left() {
    let (account, domain) = ("entrust".parse().unwrap(), "new.northwind.example".parse().unwrap());
    for route in [Route::Dns("dns".parse().unwrap()), Route::Http("web".parse().unwrap())] {
        let mut at = 1;
        loop {
            let host = Host::new().await;
            host.scene.fake.world().value_after = 1;
            let plan = CrashPlan::freeze_at(at);
            let work = async {
                let engine = host.builder(&plan).build().await.unwrap();
                engine.prove_domain(&account, &domain, route.clone(), true).await.unwrap();
                host.work(&engine, DAY).await;
            };
            let crashed = plan.interrupts(work).await;
            host.scene.clock.advance(Duration::from_mins(2));
            let engine = host.engine().await;
            if engine.managed_domain(&account, &domain).await.is_err() {
                engine.prove_domain(&account, &domain, route.clone(), true).await.unwrap();
            }
            host.work(&engine, DAY).await;
            let proven = engine.managed_domain(&account, &domain).await.unwrap();
            assert_eq!(proven.state, DomainState::Valid, "point {at}: {proven:#?}");
            assert!(!proven.has_leftovers() && host.outside.dns.all_records().is_empty(), "point {at}");
            assert!(host.outside.web.responses().is_empty(), "point {at}");
            if !crashed {
                break;
            }
            at += 1;
        }
        assert!(at > 12, "only {at} points were tried");
    }
}

/// The CA says that a validation expires soon; whoever asks then has it renewed before it lapses.
#[tokio::test]
async fn a_domain_that_is_kept_is_proven_anew_while_it_still_holds() {
    let (account, domain) = ("entrust".parse().unwrap(), "northwind.example".parse().unwrap());
    let host = Host::new().await;
    let engine = host.engine().await;
    let end = host.scene.clock.now() + DAY * 90;
    host.scene.fake.world().domain("northwind.example").ov_expiry = Some(end);
    engine.prove_domain(&account, &domain, Route::Dns("dns".parse().unwrap()), true).await.unwrap();
    host.work(&engine, DAY).await;
    assert_eq!(engine.managed_domain(&account, &domain).await.unwrap().valid_until, Some(end));
    host.scene.fake.world().domain("northwind.example").status = "EXPIRING".into();
    host.work(&engine, 80 * DAY).await;
    let kept = engine.managed_domain(&account, &domain).await.unwrap();
    assert!(kept.state == DomainState::Valid && kept.valid_until.unwrap() > end, "{kept:#?}");
    assert!(host.outside.dns.all_records().is_empty());
}
