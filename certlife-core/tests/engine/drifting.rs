//! Targets that somebody changes: found, told, put right or left to people.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use certlife_core::{
    CertificateId, Engine, Notifier, Party, ProviderName, Result, async_trait,
    engine::{OnDrift, TargetOptions},
    model::{DeploymentState, EventKind},
    notify::{Matter, Notice},
};
use certlife_testkit::{crash::CrashPlan, deploy::Issuer};

use crate::world::{DAY, World, certificate, events, id, spec};

/// Remembers what people were told.
#[derive(Debug, Clone, Default)]
struct Told(Arc<Mutex<Vec<Notice>>>);

#[async_trait]
impl Notifier for Told {
    fn provider(&self) -> ProviderName {
        ProviderName::new("told")
    }

    async fn notify(&self, notice: &Notice) -> Result<()> {
        self.0.lock().unwrap().push(notice.clone());
        Ok(())
    }
}

impl Told {
    fn drift(&self) -> Vec<Notice> {
        let notices = self.0.lock().unwrap();
        notices.iter().filter(|notice| matches!(notice.matter, Matter::DriftFound { .. })).cloned().collect()
    }
}

async fn engine(world: &World, told: &Told, policy: OnDrift) -> Engine {
    let options = TargetOptions::default().on_drift(policy);
    world
        .builder(&CrashPlan::never())
        .target("web".parse().unwrap(), Arc::new(world.target.clone()), options)
        .notifier(Arc::new(told.clone()))
        .build()
        .await
        .unwrap()
}

/// Puts another certificate of the same name on the target.
fn tamper(world: &World, certificate: &CertificateId) {
    let foreign = Issuer::new().bundle(certificate, &["example.com".parse().unwrap()]);
    world.target.tamper(&foreign);
}

async fn count(engine: &Engine, kind: impl Fn(&EventKind) -> bool) -> usize {
    events(engine).await.iter().filter(|event| kind(&event.occurrence.kind)).count()
}

#[tokio::test]
async fn drift_that_is_only_told_stays_until_somebody_asks_for_repair() {
    let (world, told) = (World::new(), Told::default());
    let engine = engine(&world, &told, OnDrift::Tell).await;
    let (www, web) = (id("www"), "web".parse().unwrap());
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, Duration::from_hours(1)).await;
    tamper(&world, &www);
    world.work(&engine, 5 * DAY).await;

    assert_eq!(world.target.served_version(&www), None, "it was changed by itself");
    assert_eq!(world.target.calls().install, 1);
    assert_eq!(count(&engine, |kind| matches!(kind, EventKind::DriftFound { .. })).await, 1, "told once");
    assert_eq!(told.drift().len(), 1);
    let explanation = engine.explain(&www).await.unwrap();
    assert_eq!(explanation.who_acts, Party::Operator);
    assert!(explanation.deployments[0].drifted && explanation.deployments[0].waits_for_person());
    let next = explanation.deployments[0].next_attempt.unwrap().to_string();
    let sentence = explanation.sentences.iter().find(|sentence| sentence.contains("has changed")).unwrap();
    assert!(sentence.contains("until somebody redeploys it") && sentence.contains(&next), "{sentence}");

    engine.by("carol").redeploy(&www, &web).await.unwrap();
    world.work(&engine, Duration::from_mins(1)).await;
    assert_eq!(world.target.served_version(&www), certificate(&engine, "www").await.current);
    let deployment = &engine.deployments(&www).await.unwrap()[0];
    assert_eq!((deployment.state, deployment.drifted), (DeploymentState::Live, false));
    assert!(!deployment.redeploy && deployment.failure.is_none());
    assert_eq!(engine.explain(&www).await.unwrap().who_acts, Party::Engine);
    assert_eq!(count(&engine, |kind| matches!(kind, EventKind::RedeployAsked { .. })).await, 1);
    assert_eq!(world.ca.orders_placed(), 1);
}

#[tokio::test]
async fn drift_that_is_only_told_ends_when_it_is_gone() {
    let (world, told) = (World::new(), Told::default());
    let engine = engine(&world, &told, OnDrift::Tell).await;
    let www = id("www");
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, Duration::from_hours(1)).await;
    let own = world.target.served(&www).unwrap().0.fingerprint();
    let lie = |fingerprint| certlife_core::deploy::Installed { fingerprint, version: None };
    let other = Issuer::new().bundle(&www, &["example.com".parse().unwrap()]).chain.fingerprint();
    world.target.confirm_instead(&www, Some(lie(other)));
    world.work(&engine, 2 * DAY).await;
    assert!(engine.deployments(&www).await.unwrap()[0].drifted);

    world.target.confirm_instead(&www, Some(lie(own)));
    world.work(&engine, 2 * DAY).await;
    let deployment = &engine.deployments(&www).await.unwrap()[0];
    assert_eq!((deployment.drifted, &deployment.failure), (false, &None));
    assert_eq!(count(&engine, |kind| matches!(kind, EventKind::DriftGone { .. })).await, 1);

    // What happens once more is told once more.
    world.target.confirm_instead(&www, Some(lie(other)));
    world.work(&engine, 2 * DAY).await;
    let notices = told.drift();
    assert_eq!(notices.len(), 2);
    assert_ne!(notices[0].id, notices[1].id);
}

#[tokio::test]
async fn a_newer_version_goes_where_drift_is_only_told() {
    let (world, told) = (World::new(), Told::default());
    let engine = engine(&world, &told, OnDrift::Tell).await;
    let www = id("www");
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, Duration::from_hours(1)).await;
    tamper(&world, &www);
    world.work(&engine, 2 * DAY).await;
    engine.renew(&www).await.unwrap();
    world.work(&engine, Duration::from_hours(1)).await;
    assert_eq!(world.target.served_version(&www), certificate(&engine, "www").await.current);
    assert!(!engine.deployments(&www).await.unwrap()[0].drifted);
}

#[tokio::test]
async fn repaired_drift_needs_nobody() {
    let (world, told) = (World::new(), Told::default());
    let engine = engine(&world, &told, OnDrift::Repair).await;
    let www = id("www");
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, Duration::from_hours(1)).await;
    tamper(&world, &www);
    world.work(&engine, 2 * DAY).await;
    assert_eq!(world.target.served_version(&www), certificate(&engine, "www").await.current);
    assert_eq!(count(&engine, |kind| matches!(kind, EventKind::DriftFound { .. })).await, 1);
    assert!(told.drift().is_empty());
}

#[tokio::test]
async fn a_failing_target_is_tried_again_at_once_when_somebody_asks() {
    let world = World::new();
    let engine = world.engine().await;
    let (www, web) = (id("www"), "web".parse().unwrap());
    let full = certlife_core::ErrorKind::Io("disk full".into());
    world.target.fail_next_of(certlife_core::Operation::Install, 8, full);
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, Duration::from_mins(20)).await;
    assert_eq!(engine.deployments(&www).await.unwrap()[0].state, DeploymentState::Failing);
    world.target.recover();
    engine.redeploy(&www, &web).await.unwrap();
    engine.pass().await.unwrap();
    assert_eq!(engine.deployments(&www).await.unwrap()[0].state, DeploymentState::Live);
    let nowhere = engine.redeploy(&www, &"nowhere".parse().unwrap()).await.unwrap_err();
    assert_eq!(nowhere.kind().code(), "unknown_object");
}
