//! A crash at every numbered point of the journey ends in the same place: one order, one key, nothing left behind.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use certlife_core::{
    Engine,
    model::{DeploymentState, OrderState, Route},
    store::{Kind, Query, Store as _},
};
use certlife_testkit::crash::CrashPlan;

use crate::world::{DAY, World, id, only_order, spec};

/// Works until nothing is due for an hour, or until the plan crashes it.
async fn work_or_crash(world: &World, engine: &Engine, plan: &Arc<CrashPlan>) -> bool {
    plan.interrupts(world.work(engine, Duration::from_hours(1))).await
}

/// Wants a certificate, crashes at point `at`, and lets a second engine go on after the lease has run out. Returns
/// whether there was such a point.
async fn crash_at(world: &World, at: usize, routes: &[Route]) -> bool {
    let plan = CrashPlan::freeze_at(at);
    let wish = |route: &Route| spec("www", &["example.com", "*.example.com"]).validate(route.clone());
    let built = tokio::select! {
        biased;
        () = plan.crashed() => None,
        engine = world.builder(&plan).build() => Some(engine.unwrap()),
    };
    let Some(engine) = built else { return true };
    let asked = tokio::select! {
        biased;
        () = plan.crashed() => false,
        asked = engine.ensure(wish(&routes[0])) => { asked.unwrap(); true }
    };
    let crashed = !asked || work_or_crash(world, &engine, &plan).await;
    drop(engine);
    crashed
}

async fn check(world: &World, at: usize) {
    let engine = world.engine().await;
    world.clock.advance(Duration::from_mins(2));
    // Whoever asked and heard no answer asks again.
    engine.ensure(spec("www", &["example.com", "*.example.com"])).await.unwrap();
    world.work(&engine, DAY).await;

    let order = only_order(&engine, "www").await;
    assert_eq!(order.state, OrderState::Issued, "point {at}: {order:#?}");
    assert!(order.is_closed(), "point {at}: {order:#?}");
    assert_eq!(world.records_in_dns(), 0, "point {at}: a TXT record is left behind");
    let versions = engine.versions(&id("www"), None).await.unwrap().items;
    assert_eq!(versions.len(), 1, "point {at}");
    let deployment = &engine.deployments(&id("www")).await.unwrap()[0];
    assert_eq!(
        (deployment.state, deployment.actual),
        (DeploymentState::Live, Some(versions[0].id)),
        "point {at}"
    );
    let keys = world.store.list(&Query::all(Kind::Key)).await.unwrap().items;
    assert_eq!(keys.len(), 1, "point {at}: a key was made twice");
}

#[tokio::test]
async fn whatever_the_point_one_order_is_paid_and_nothing_is_left() {
    let routes = [Route::Dns("dns".parse().unwrap())];
    for paid in [true, false] {
        let mut at = 1;
        loop {
            let world = World::with_ca(|ca| {
                let placement = if paid {
                    certlife_core::ca::Placement::Paid
                } else {
                    certlife_core::ca::Placement::Free
                };
                ca.placement(placement).polls_to_issue(2)
            });
            if !crash_at(&world, at, &routes).await {
                break;
            }
            check(&world, at).await;
            assert!(world.ca.duplicates().is_empty(), "point {at}: ordered twice: {:?}", world.ca.ledger());
            assert_eq!(world.ca.orders_placed(), 1, "point {at}");
            at += 1;
        }
        assert!(at > 30, "only {at} points were tried");
    }
}

#[tokio::test]
async fn a_crash_during_a_renewal_never_takes_the_old_version_away() {
    let mut at = 1;
    loop {
        let world = World::new();
        let engine = world.engine().await;
        engine.ensure(spec("www", &["example.com"])).await.unwrap();
        world.work(&engine, DAY).await;
        drop(engine);
        let first = world.target.served_version(&id("www")).unwrap();

        let plan = CrashPlan::freeze_at(at);
        let engine = world.builder(&plan).build().await.unwrap();
        let www = id("www");
        let asked = tokio::select! {
            biased;
            () = plan.crashed() => false,
            asked = engine.renew(&www) => { asked.unwrap(); true }
        };
        let crashed = !asked || work_or_crash(&world, &engine, &plan).await;
        drop(engine);
        let served = world.target.served(&id("www")).unwrap();
        assert_eq!(
            served.0.info().unwrap().key_hash,
            served.1.unwrap().public_key_hash(),
            "point {at}: certificate and key differ"
        );
        if !crashed {
            break;
        }
        let engine = world.engine().await;
        world.clock.advance(Duration::from_mins(2));
        // The command may not have been heard: then nothing happened, and asking again is harmless.
        engine.renew(&id("www")).await.unwrap();
        world.work(&engine, DAY).await;
        let versions: BTreeSet<_> = world.target.history(&id("www")).into_iter().collect();
        assert!(versions.contains(&first) && versions.len() >= 2, "point {at}");
        assert_ne!(
            world.target.served_version(&id("www")),
            Some(first),
            "point {at}: the renewal was never deployed"
        );
        assert_eq!(world.records_in_dns(), 0, "point {at}");
        at += 1;
    }
    assert!(at > 25, "only {at} points were tried");
}

#[tokio::test]
async fn after_a_lost_answer_a_paid_order_that_cannot_be_found_waits_for_a_person() {
    use certlife_core::{Operation, ca::Placement};
    use certlife_testkit::ca::Fault;
    let world = World::with_ca(|ca| ca.placement(Placement::Paid).findable(false));
    world.ca.inject(Some(Operation::PlaceOrder), Fault::LoseAnswer);
    let engine = world.engine().await;
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, DAY).await;
    let order = only_order(&engine, "www").await;
    assert_eq!(order.state, OrderState::InDoubt);
    assert_eq!(world.ca.orders_placed(), 1);
    let explanation = engine.explain(&id("www")).await.unwrap();
    assert_eq!(explanation.who_acts, certlife_core::Party::Approver);
    assert!(
        explanation.sentences.iter().any(|s| s.contains("place it again or abandon it")),
        "{explanation:#?}"
    );
    world.work(&engine, 300 * DAY).await;
    assert_eq!(world.ca.orders_placed(), 1, "the engine paid twice by itself");

    let principal = engine.by("bob");
    principal.place_again(order.id).await.unwrap();
    world.work(&engine, DAY).await;
    assert_eq!(only_order(&engine, "www").await.state, OrderState::Issued);
    assert_eq!(world.ca.orders_placed(), 2);
}

#[tokio::test]
async fn an_abandoned_order_in_doubt_is_not_ordered_again_by_itself() {
    use certlife_core::{Operation, ca::Placement};
    use certlife_testkit::ca::Fault;
    let world = World::with_ca(|ca| ca.placement(Placement::Paid).findable(false));
    world.ca.inject(Some(Operation::PlaceOrder), Fault::LoseAnswer);
    let engine = world.engine().await;
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, DAY).await;
    let order = only_order(&engine, "www").await;
    engine.by("bob").abandon(order.id).await.unwrap();
    world.work(&engine, 300 * DAY).await;
    assert_eq!(only_order(&engine, "www").await.state, OrderState::Cancelled);
    assert_eq!(world.ca.orders_placed(), 1);
    // Asking for it is a new decision.
    engine.renew(&id("www")).await.unwrap();
    world.work(&engine, DAY).await;
    assert!(engine.certificate(&id("www")).await.unwrap().current.is_some());
}
