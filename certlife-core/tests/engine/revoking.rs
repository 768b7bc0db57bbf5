//! Revocations: asked for once, carried out until the CA confirms or refuses.

use std::time::Duration;

use certlife_core::{
    Clock as _, Engine, Operation, RevocationReason, VersionId,
    model::{CertificateStatus, EventKind},
};
use certlife_testkit::{ca::Fault, crash::CrashPlan};

use crate::world::{DAY, World, certificate, id, spec};

async fn issued(world: &World, engine: &Engine) -> VersionId {
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(engine, DAY).await;
    certificate(engine, "www").await.current.unwrap()
}

#[tokio::test]
async fn revoking_stops_renewal_or_forces_replacement() {
    let world = World::new();
    let engine = world.engine().await;
    for name in ["stop", "replace"] {
        engine.ensure(spec(name, &[&format!("{name}.example.com")])).await.unwrap();
    }
    world.work(&engine, DAY).await;
    for (name, replace) in [("stop", false), ("replace", true)] {
        let version = certificate(&engine, name).await.current.unwrap();
        engine.revoke(version, RevocationReason::KeyCompromise, Some("lost laptop"), replace).await.unwrap();
        engine.revoke(version, RevocationReason::KeyCompromise, None, replace).await.unwrap();
        world.work(&engine, DAY).await;
        assert!(engine.version(version).await.unwrap().revoked.is_some());
        engine.revoke(version, RevocationReason::KeyCompromise, None, replace).await.unwrap();
        assert!(certificate(&engine, name).await.revocations.is_empty());
    }
    world.work(&engine, DAY).await;
    assert_eq!(certificate(&engine, "stop").await.status(world.clock.now()), CertificateStatus::Revoked);
    assert_eq!(certificate(&engine, "replace").await.status(world.clock.now()), CertificateStatus::Valid);
    assert_eq!(engine.versions(&id("replace"), None).await.unwrap().items.len(), 2);
    world.work(&engine, 200 * DAY).await;
    assert_eq!(engine.versions(&id("stop"), None).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn a_ca_that_is_away_is_asked_until_it_answers() {
    let world = World::new();
    let engine = world.engine().await;
    let version = issued(&world, &engine).await;
    for fault in [Fault::Fail, Fault::LoseAnswer, Fault::Throttle(Some(Duration::from_hours(1)))] {
        world.ca.inject(Some(Operation::Revoke), fault);
    }
    engine.revoke(version, RevocationReason::KeyCompromise, None, false).await.unwrap();
    engine.pass().await.unwrap();
    let explanation = engine.explain(&id("www")).await.unwrap();
    assert_eq!(explanation.revocations.len(), 1, "{explanation:#?}");
    assert!(explanation.sentences.iter().any(|sentence| sentence.contains("is to be revoked")));
    let refused = engine.delete(&id("www")).await.unwrap_err();
    assert_eq!(refused.kind().code(), "not_now", "a revocation under way is not forgotten");
    world.work(&engine, DAY).await;
    assert!(engine.version(version).await.unwrap().revoked.is_some());
    assert!(certificate(&engine, "www").await.revocations.is_empty());
    assert_eq!(world.ca.requests_for(Operation::Revoke), 2, "one whose answer was lost, and one more");
}

#[tokio::test]
async fn a_refusal_is_shown_until_somebody_asks_again() {
    let world = World::new();
    let engine = world.engine().await;
    let version = issued(&world, &engine).await;
    world.ca.refuse_revocations(true);
    engine.by("erin").revoke(version, RevocationReason::Superseded, None, false).await.unwrap();
    world.work(&engine, DAY).await;
    let shown = certificate(&engine, "www").await;
    assert!(shown.revocations[0].next_attempt.is_none(), "{shown:#?}");
    assert_eq!(
        shown.status(world.clock.now()),
        CertificateStatus::Valid,
        "it is not revoked, so it is renewed"
    );
    let events = engine.audit(&id("www"), None).await.unwrap().items;
    let refusals =
        events.iter().filter(|event| matches!(event.occurrence.kind, EventKind::RevocationRefused { .. }));
    assert_eq!(refusals.count(), 1);

    world.ca.refuse_revocations(false);
    engine.revoke(version, RevocationReason::Superseded, None, false).await.unwrap();
    world.work(&engine, DAY).await;
    assert!(engine.version(version).await.unwrap().revoked.is_some());
}

#[tokio::test]
async fn a_crash_at_any_point_loses_no_revocation() {
    let mut at = 1;
    loop {
        let world = World::new();
        let engine = world.engine().await;
        let version = issued(&world, &engine).await;
        drop(engine);
        let plan = CrashPlan::freeze_at(at);
        let engine = world.builder(&plan).build().await.unwrap();
        let asked = tokio::select! {
            biased;
            () = plan.crashed() => false,
            asked = engine.revoke(version, RevocationReason::KeyCompromise, None, false) => {
                asked.unwrap();
                true
            }
        };
        let crashed = plan.interrupts(world.work(&engine, DAY)).await;
        drop(engine);
        let engine = world.engine().await;
        world.clock.advance(Duration::from_mins(2));
        if !asked {
            // Whoever asked and heard no answer asks again.
            engine.revoke(version, RevocationReason::KeyCompromise, None, false).await.unwrap();
        }
        world.work(&engine, DAY).await;
        assert!(engine.version(version).await.unwrap().revoked.is_some(), "point {at}");
        assert_eq!(
            certificate(&engine, "www").await.status(world.clock.now()),
            CertificateStatus::Revoked,
            "point {at}"
        );
        if !crashed {
            break;
        }
        at += 1;
    }
    assert!(at > 8, "only {at} points were tried");
}
