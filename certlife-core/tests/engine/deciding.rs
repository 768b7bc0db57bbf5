//! Decisions on what is issued: asked for once, carried out until the CA confirms or refuses.

use std::time::Duration;

use certlife_core::{
    Clock as _, Engine, Operation, VersionId,
    ca::{Decision, Stage},
    engine::Hindrance,
    model::{Certificate, CertificateStatus, EventKind},
};
use certlife_testkit::{ca::Fault, crash::CrashPlan};

use crate::world::{DAY, World, certificate, events, id, spec};

const ASIDE: [Decision; 4] =
    [Decision::Suspend, Decision::Resume, Decision::Deactivate, Decision::Reactivate];

fn world() -> World {
    World::with_ca(|ca| ca.decisions(ASIDE))
}

async fn issued(world: &World, engine: &Engine) -> VersionId {
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(engine, DAY).await;
    certificate(engine, "www").await.current.unwrap()
}

fn stage(world: &World) -> (Stage, bool) {
    let line = &world.ca.ledger()[0];
    (line.stage, line.managed)
}

async fn hindrance(engine: &Engine) -> Option<Hindrance> {
    engine.renewal_outlook(None).await.unwrap().items[0].hindrance
}

fn status(world: &World, certificate: &Certificate) -> CertificateStatus {
    certificate.status(world.clock.now())
}

#[tokio::test]
async fn what_is_set_aside_is_not_renewed_until_it_is_taken_back() {
    for (aside, back, told) in [
        (Decision::Suspend, Decision::Resume, Hindrance::Suspended),
        (Decision::Deactivate, Decision::Reactivate, Hindrance::Deactivated),
    ] {
        let world = world();
        let engine = world.engine().await;
        let version = issued(&world, &engine).await;
        engine.by("erin").decide_version(version, aside).await.unwrap();
        world.work(&engine, DAY).await;
        let now = certificate(&engine, "www").await;
        assert!(now.decisions.is_empty());
        if aside == Decision::Suspend {
            assert_eq!(status(&world, &now), CertificateStatus::Suspended);
            assert!(engine.version(version).await.unwrap().suspended.is_some());
        } else {
            assert_eq!(status(&world, &now), CertificateStatus::Valid);
            assert!(engine.version(version).await.unwrap().deactivated.is_some());
        }
        assert_ne!(stage(&world), (Stage::Issued, true));
        world.work(&engine, 75 * DAY).await;
        assert_eq!(engine.versions(&id("www"), None).await.unwrap().items.len(), 1);
        assert_eq!(hindrance(&engine).await, Some(told));
        let explanation = engine.explain(&id("www")).await.unwrap();
        assert!(explanation.sentences.iter().any(|words| words.contains("nothing is ordered by itself")));

        engine.decide_version(version, back).await.unwrap();
        world.work(&engine, DAY).await;
        assert_eq!(stage(&world), (Stage::Issued, true));
        let now = certificate(&engine, "www").await;
        assert!(now.suspended.is_none() && now.deactivated.is_none() && now.current != Some(version));
        assert_eq!(
            engine.versions(&id("www"), None).await.unwrap().items.len(),
            2,
            "it was due, so it is renewed"
        );
        let trail = events(&engine).await;
        let carried_out =
            trail.iter().filter(|event| matches!(event.occurrence.kind, EventKind::VersionDecided { .. }));
        assert_eq!(carried_out.count(), 2);
    }
}

#[tokio::test]
async fn a_ca_that_is_away_is_asked_until_it_answers_and_the_last_word_counts() {
    let world = world();
    let engine = world.engine().await;
    let version = issued(&world, &engine).await;
    for fault in [Fault::Fail, Fault::LoseAnswer, Fault::Throttle(Some(Duration::from_hours(1)))] {
        world.ca.inject(Some(Operation::Decide), fault);
    }
    engine.decide_version(version, Decision::Suspend).await.unwrap();
    engine.pass().await.unwrap();
    let explanation = engine.explain(&id("www")).await.unwrap();
    assert_eq!(explanation.decisions.len(), 1);
    assert!(explanation.sentences.iter().any(|words| words.contains("is asked to suspend version")));
    assert_eq!(engine.delete(&id("www")).await.unwrap_err().kind().code(), "not_now");
    engine.decide_version(version, Decision::Deactivate).await.unwrap();
    engine.decide_version(version, Decision::Resume).await.unwrap();
    assert_eq!(
        certificate(&engine, "www").await.decisions.len(),
        2,
        "resuming takes the place of suspending"
    );
    world.work(&engine, DAY).await;
    assert_eq!(stage(&world), (Stage::Issued, false));
    assert!(certificate(&engine, "www").await.decisions.is_empty());
}

#[tokio::test]
async fn a_refusal_is_shown_until_somebody_asks_again() {
    let world = world();
    let engine = world.engine().await;
    let version = issued(&world, &engine).await;
    engine.revoke(version, certlife_core::RevocationReason::Superseded, None, false).await.unwrap();
    // Revoked at the CA before the decision gets there.
    engine.decide_version(version, Decision::Suspend).await.unwrap();
    world.work(&engine, DAY).await;
    assert!(certificate(&engine, "www").await.decisions.is_empty(), "what is revoked needs no decision");
    let refused = engine.decide_version(version, Decision::Suspend).await.unwrap_err();
    assert_eq!(refused.kind().code(), "not_now");

    let engine = world.engine().await;
    engine.ensure(spec("other", &["other.example.com"])).await.unwrap();
    world.work(&engine, DAY).await;
    let other = certificate(&engine, "other").await;
    let fingerprint = engine.version(other.current.unwrap()).await.unwrap();
    // Somebody revokes it at the CA's own portal.
    let revocation = certlife_core::ca::Revocation {
        issued: fingerprint.issued_ref(),
        reason: certlife_core::RevocationReason::Superseded,
        comment: None,
    };
    certlife_core::CertificateAuthority::revoke(&world.ca, &revocation, None).await.unwrap();
    engine.decide_version(other.current.unwrap(), Decision::Suspend).await.unwrap();
    world.work(&engine, DAY).await;
    let shown = certificate(&engine, "other").await;
    assert!(shown.decisions[0].next_attempt.is_none() && shown.suspended.is_none(), "{shown:#?}");
    let trail = engine.audit(&id("other"), None).await.unwrap().items;
    assert!(trail.iter().any(|event| matches!(event.occurrence.kind, EventKind::DecisionRefused { .. })));
}

#[tokio::test]
async fn what_no_version_takes_is_refused_before_anything_is_stored() {
    let world = World::with_ca(|ca| ca.decisions([Decision::Suspend]));
    let engine = world.engine().await;
    let version = issued(&world, &engine).await;
    for (decision, code) in [(Decision::Approve, "bad_value"), (Decision::Resume, "unsupported")] {
        let refused = engine.decide_version(version, decision).await.unwrap_err();
        assert_eq!(refused.kind().code(), code, "{refused}");
    }
    assert!(certificate(&engine, "www").await.decisions.is_empty());
}

#[tokio::test]
async fn a_crash_at_any_point_loses_no_decision() {
    let mut at = 1;
    loop {
        let world = world();
        let engine = world.engine().await;
        let version = issued(&world, &engine).await;
        drop(engine);
        let plan = CrashPlan::freeze_at(at);
        let work = async {
            let engine = world.builder(&plan).build().await.unwrap();
            engine.decide_version(version, Decision::Suspend).await.unwrap();
            world.work(&engine, DAY).await;
        };
        let crashed = plan.interrupts(work).await;
        world.clock.advance(Duration::from_mins(2));
        let engine = world.engine().await;
        world.work(&engine, DAY).await;
        if engine.version(version).await.unwrap().suspended.is_none() {
            // Whoever asked and heard no answer asks again.
            assert!(certificate(&engine, "www").await.decisions.is_empty(), "point {at}");
            engine.decide_version(version, Decision::Suspend).await.unwrap();
            world.work(&engine, DAY).await;
        }
        assert_eq!(stage(&world), (Stage::Suspended, true), "point {at}");
        let now = certificate(&engine, "www").await;
        assert_eq!(status(&world, &now), CertificateStatus::Suspended, "point {at}");
        if !crashed {
            break;
        }
        at += 1;
    }
    assert!(at > 8, "only {at} points were tried");
}
