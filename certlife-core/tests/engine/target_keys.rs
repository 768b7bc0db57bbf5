//! Keys that are made on a target: never here, one a version, the same after a crash.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use certlife_core::{
    Deployer, Engine, ErrorKind, KeyAlgorithm, Operation,
    engine::TargetOptions,
    model::{CertificateSpec, DeploymentState, KeyChange, KeyPolicy, KeySource, OrderState, Version},
    store::{Kind, Query, Store as _},
};
use certlife_testkit::{crash::CrashPlan, deploy::MemoryTarget};

use crate::world::{DAY, World, certificate, id, only_order, spec};

fn on_target(on_renewal: KeyChange) -> CertificateSpec {
    let source = KeySource::OnTarget("web".parse().unwrap());
    spec("www", &["example.com"]).key(KeyPolicy { source, on_renewal, ..KeyPolicy::default() })
}

async fn current(engine: &Engine) -> Version {
    engine.version(certificate(engine, "www").await.current.unwrap()).await.unwrap()
}

/// Asserts that the target serves the current version with a key that it made itself, and that no key is here.
async fn serves_its_own_key(world: &World, engine: &Engine) {
    let version = current(engine).await;
    let (chain, key) = world.target.served(&id("www")).unwrap();
    assert_eq!(chain.fingerprint(), version.chain.fingerprint());
    let key = key.expect("the target has the key");
    assert_eq!(key.public_key_hash(), version.info.key_hash);
    assert_eq!(version.key, None);
    assert_eq!(version.target_key.as_ref().unwrap().target.as_str(), "web");
    assert!(world.store.list(&Query::all(Kind::Key)).await.unwrap().items.is_empty(), "a key is here");
}

#[tokio::test]
async fn the_key_is_made_there_and_renewal_rotates_or_keeps_it() {
    for on_renewal in [KeyChange::Rotate, KeyChange::Keep] {
        let world = World::new();
        let engine = world.engine().await;
        engine.ensure(on_target(on_renewal)).await.unwrap();
        world.work(&engine, DAY).await;
        serves_its_own_key(&world, &engine).await;
        let mut hashes = BTreeSet::from([current(&engine).await.info.key_hash]);
        engine.renew(&id("www")).await.unwrap();
        world.work(&engine, DAY).await;
        serves_its_own_key(&world, &engine).await;
        hashes.insert(current(&engine).await.info.key_hash);
        engine.reissue(&id("www"), Some("test")).await.unwrap();
        world.work(&engine, DAY).await;
        serves_its_own_key(&world, &engine).await;
        hashes.insert(current(&engine).await.info.key_hash);
        let expected = if on_renewal == KeyChange::Keep { 1 } else { 3 };
        assert_eq!(hashes.len(), expected, "{on_renewal:?}");
        assert_eq!(world.target.made_keys(&id("www")).len(), expected, "{on_renewal:?}");
    }
}

#[tokio::test]
async fn a_crash_at_any_point_ends_with_one_order_and_one_key() {
    let mut at = 1;
    loop {
        let world = World::with_ca(|ca| ca.placement(certlife_core::ca::Placement::Paid));
        let plan = CrashPlan::freeze_at(at);
        let journey = async {
            let engine = world.builder(&plan).build().await.unwrap();
            engine.ensure(on_target(KeyChange::Rotate)).await.unwrap();
            world.work(&engine, Duration::from_hours(1)).await;
        };
        let crashed = plan.interrupts(journey).await;
        if !crashed {
            break;
        }
        world.clock.advance(Duration::from_mins(2));
        let engine = world.engine().await;
        engine.ensure(on_target(KeyChange::Rotate)).await.unwrap();
        world.work(&engine, DAY).await;
        assert_eq!(only_order(&engine, "www").await.state, OrderState::Issued, "point {at}");
        serves_its_own_key(&world, &engine).await;
        assert_eq!(world.target.made_keys(&id("www")).len(), 1, "point {at}: a key was made twice");
        assert_eq!(world.ca.orders_placed(), 1, "point {at}");
        at += 1;
    }
    assert!(at > 25, "only {at} points were tried");
}

#[tokio::test]
async fn a_target_that_is_away_is_asked_again_for_the_same_key() {
    let world = World::new();
    let engine = world.engine().await;
    world.target.fail_next_of(Operation::MakeKey, 3, ErrorKind::Unreachable);
    world.target.lose_next_answers(1);
    engine.ensure(on_target(KeyChange::Rotate)).await.unwrap();
    world.work(&engine, Duration::ZERO).await;
    let order = only_order(&engine, "www").await;
    assert_eq!(order.state, OrderState::Drafted);
    assert_eq!(order.failure.as_ref().unwrap().operation, Operation::MakeKey);
    let chosen = order.target_key.clone().unwrap();
    world.work(&engine, DAY).await;
    serves_its_own_key(&world, &engine).await;
    assert_eq!(current(&engine).await.target_key, Some(chosen));
    assert_eq!(world.target.made_keys(&id("www")).len(), 1);
    assert_eq!(world.ca.orders_placed(), 1);
}

#[tokio::test]
async fn another_target_than_the_one_with_the_key_is_refused() {
    let world = World::new();
    let engine = world.engine().await;
    let other: Arc<dyn Deployer> = Arc::new(MemoryTarget::new());
    engine.add_target("other".parse().unwrap(), other, TargetOptions::default());
    let error =
        engine.ensure(on_target(KeyChange::Rotate).deploy("other".parse().unwrap())).await.unwrap_err();
    assert_eq!(error.kind().code(), "bad_setting");
    assert!(error.to_string().contains("made on web and never leaves it"), "{error}");

    let mut capabilities = world.target.capabilities();
    capabilities.keys = [KeyAlgorithm::Rsa2048].into();
    world.target.limit_to(capabilities.clone());
    let error = engine.ensure(on_target(KeyChange::Rotate)).await.unwrap_err();
    assert!(error.to_string().contains("web makes {Rsa2048}"), "{error}");
    capabilities.keys.clear();
    world.target.limit_to(capabilities);
    let error = engine.ensure(on_target(KeyChange::Rotate)).await.unwrap_err();
    assert!(error.to_string().contains("web makes no keys"), "{error}");
    assert_eq!(world.target.calls().make_key, 0);
}

#[tokio::test]
async fn a_version_never_reaches_a_target_without_its_key() {
    let world = World::new();
    let engine = world.engine().await;
    engine.ensure(on_target(KeyChange::Rotate)).await.unwrap();
    world.work(&engine, DAY).await;
    // From now on keys are made here, and another target is added: it waits for the first version that it can have.
    let other = MemoryTarget::new();
    let shared: Arc<dyn Deployer> = Arc::new(other.clone());
    engine.add_target("other".parse().unwrap(), shared, TargetOptions::default());
    let kept_here = spec("www", &["example.com"]).deploy("other".parse().unwrap());
    world.ca.inject(Some(Operation::PlaceOrder), certlife_testkit::ca::Fault::Fail);
    engine.update(kept_here).await.unwrap();
    world.work(&engine, Duration::ZERO).await;
    let deployments = engine.deployments(&id("www")).await.unwrap();
    let waiting = deployments.iter().find(|deployment| deployment.target.as_str() == "other").unwrap();
    let words = waiting.failure.as_ref().unwrap().message.as_str();
    assert!(words.contains("on web and never leaves it"), "{words}");
    assert_eq!(other.calls().install, 0);
    world.work(&engine, DAY).await;
    let (_, key) = other.served(&id("www")).unwrap();
    assert_eq!(key.unwrap().public_key_hash(), current(&engine).await.info.key_hash);
    assert_eq!(current(&engine).await.target_key, None);
}

#[tokio::test]
async fn a_target_that_lost_the_key_is_told_and_a_reissue_mends_it() {
    let world = World::new();
    let engine = world.engine().await;
    engine.ensure(on_target(KeyChange::Rotate)).await.unwrap();
    world.work(&engine, DAY).await;
    world.target.wipe();
    world.work(&engine, 3 * DAY).await;
    let deployment = &engine.deployments(&id("www")).await.unwrap()[0];
    assert_eq!(deployment.state, DeploymentState::Failing);
    let words = deployment.failure.as_ref().unwrap().message.as_str();
    assert!(words.contains("the private key of this version on the target"), "{words}");
    assert!(world.target.served(&id("www")).is_none(), "a certificate was installed without its key");
    engine.reissue(&id("www"), None).await.unwrap();
    world.work(&engine, DAY).await;
    serves_its_own_key(&world, &engine).await;
}
