//! A certificate that exists already starts with its version instead of with an order.

use std::sync::Arc;

use certlife_core::{
    Chain, KeyAlgorithm, PrivateKey,
    ca::PurposeKind,
    engine::PrivateExport,
    keystore::{self, Form, PemContents},
    model::{DeploymentState, EventKind, KeyPolicy, KeySource, RenewalTrigger},
    store::{Kind, Query, Store as _},
};
use certlife_testkit::crash::CrashPlan;

use crate::world::{DAY, World, certificate, events, id, spec};

/// A certificate with its key, from a CA that the engine under test does not know.
async fn existing(identifiers: &[&str]) -> PrivateExport {
    let elsewhere = World::new();
    let engine = elsewhere.engine().await;
    engine.ensure(spec("old", identifiers)).await.unwrap();
    elsewhere.work(&engine, DAY).await;
    let current = certificate(&engine, "old").await.current.unwrap();
    engine.export(current).await.unwrap()
}

/// A world in which that certificate is valid.
fn later() -> World {
    let world = World::new();
    world.clock.advance(DAY);
    world
}

#[tokio::test]
async fn it_is_deployed_and_renewed_without_an_order_of_its_own() {
    let old = existing(&["example.com"]).await;
    let world = later();
    let engine = world.engine().await;
    // Through a file, as a host does it.
    let file = old.encode(&Form::pem(PemContents::KeyAndFullChain)).unwrap();
    let found = keystore::read(file.expose(), None).unwrap();
    let adopted = engine
        .by("frank")
        .adopt(spec("www", &["example.com"]), found.chain.as_ref().unwrap(), found.key.as_ref())
        .await
        .unwrap();
    let version = adopted.current.unwrap();
    assert_eq!(engine.version(version).await.unwrap().purpose, PurposeKind::Import);

    world.work(&engine, DAY).await;
    assert_eq!(world.ca.orders_placed(), 0);
    let (chain, key) = world.target.served(&id("www")).unwrap();
    assert_eq!((&chain, &key), (&old.chain, &old.key));
    assert_eq!(engine.deployments(&id("www")).await.unwrap()[0].state, DeploymentState::Live);
    assert_eq!(engine.export(version).await.unwrap().key, old.key);
    let told: Vec<_> = events(&engine).await.into_iter().map(|event| event.occurrence).collect();
    assert_eq!(told[0].to_string(), "www: adopted with its key for example.com");
    assert!(matches!(told[1].kind, EventKind::VersionCurrent { version: current, .. } if current == version));

    world.work(&engine, 90 * DAY).await;
    let renewed = certificate(&engine, "www").await;
    assert_ne!(renewed.current, Some(version));
    let orders = engine.orders(&id("www"), None).await.unwrap().items;
    assert_eq!((orders[0].purpose, orders[0].predecessor), (PurposeKind::Renewal, Some(version)));
    assert!(
        matches!(orders[0].trigger, Some(RenewalTrigger::CaWindow | RenewalTrigger::Policy)),
        "{orders:?}"
    );

    // After all that, the same call changes nothing.
    let before = events(&engine).await.len();
    let again = engine.adopt(spec("www", &["example.com"]), &old.chain, old.key.as_ref()).await.unwrap();
    assert_eq!((again.current, events(&engine).await.len()), (renewed.current, before));
}

#[tokio::test]
async fn a_key_may_be_elsewhere_or_here_already() {
    let old = existing(&["example.com"]).await;
    let key = old.key.as_ref().unwrap();
    let world = later();
    let engine = world.engine().await;
    engine.adopt(spec("bare", &["example.com"]), &old.chain, None).await.unwrap();
    let brought = engine.import_key(key).await.unwrap();
    let policy = KeyPolicy { source: KeySource::Brought(brought), ..KeyPolicy::default() };
    engine.adopt(spec("brought", &["example.com"]).key(policy), &old.chain, None).await.unwrap();
    engine.adopt(spec("both", &["example.com"]), &old.chain, Some(key)).await.unwrap();
    for (name, stored) in [("bare", None), ("brought", Some(brought)), ("both", Some(brought))] {
        let version = certificate(&engine, name).await.current.unwrap();
        assert_eq!(engine.version(version).await.unwrap().key, stored, "{name}");
    }
    world.work(&engine, DAY).await;
    assert_eq!(world.target.served(&id("bare")).unwrap(), (old.chain.clone(), None));
    assert_eq!(world.target.served(&id("brought")).unwrap(), (old.chain, old.key));
    assert_eq!(world.ca.orders_placed(), 0);
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_nothing_is_stored() {
    let old = existing(&["example.com", "www.example.com"]).await;
    let names = ["example.com", "www.example.com"];
    let other = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let world = later();
    let engine = world.engine().await;
    let key = old.key.as_ref();
    let mut unknown_ca = spec("www", &names);
    unknown_ca.ca = "nobody".parse().unwrap();
    for (wish, key, code, words) in [
        (spec("www", &names), Some(&other), "bad_certificate", "for another key"),
        (spec("www", &names[..1]), key, "bad_certificate", "names www.example.com, which was not asked for"),
        (spec("www", &[names[0], names[1], "c.example.com"]), key, "bad_certificate", "lacks c.example.com"),
        (spec("www", &[]), key, "no_identifiers", "at least one"),
        (spec("www", &names).deploy("nowhere".parse().unwrap()), key, "unknown_account", "nowhere"),
        (unknown_ca, key, "unknown_account", "nobody"),
    ] {
        let refused = engine.adopt(wish, &old.chain, key).await.unwrap_err();
        assert_eq!(refused.kind().code(), code, "{refused}");
        assert!(refused.to_string().contains(words), "{refused}");
    }
    world.clock.advance(90 * DAY);
    let expired = engine.adopt(spec("www", &names), &old.chain, key).await.unwrap_err();
    assert!(expired.to_string().contains("expired at"), "{expired}");
    assert!(events(&engine).await.is_empty() && engine.certificate(&id("www")).await.is_err());
}

#[tokio::test]
async fn a_name_is_taken_once() {
    let (old, another) = (existing(&["example.com"]).await, existing(&["example.com"]).await.chain);
    let world = later();
    let engine = world.engine().await;
    let wish = spec("www", &["example.com"]);
    let adopted = engine.adopt(wish.clone(), &old.chain, old.key.as_ref()).await.unwrap();
    let before = events(&engine).await.len();
    assert_eq!(engine.adopt(wish.clone(), &old.chain, old.key.as_ref()).await.unwrap(), adopted);

    let mut manual = wish.clone();
    manual.renewal.automatic = false;
    let refused = engine.adopt(manual, &old.chain, old.key.as_ref()).await.unwrap_err();
    assert_eq!(refused.kind().code(), "already_exists");
    let refused = engine.adopt(wish, &another, None).await.unwrap_err();
    assert_eq!(refused.kind().code(), "bad_value");
    assert!(refused.to_string().contains("adopt this one under another name"), "{refused}");
    assert_eq!(events(&engine).await.len(), before);
}

#[tokio::test]
async fn a_crash_anywhere_leaves_all_of_it_or_nothing() {
    let old = existing(&["example.com"]).await;
    let key = old.key.as_ref();
    let mut crashes = 0;
    loop {
        let world = later();
        let plan = CrashPlan::freeze_at(crashes);
        let reached = tokio::select! {
            biased;
            () = plan.crashed() => false,
            () = adopt_with(&world, &plan, &old.chain, key) => true,
        };
        let engine = world.engine().await;
        // Whoever asked and heard no answer asks again.
        engine.adopt(spec("www", &["example.com"]), &old.chain, key).await.unwrap();
        world.work(&engine, DAY).await;
        assert_eq!(world.target.served(&id("www")).unwrap(), (old.chain.clone(), old.key.clone()));
        assert_eq!(engine.versions(&id("www"), None).await.unwrap().items.len(), 1, "point {crashes}");
        let keys = world.store.list(&Query::all(Kind::Key)).await.unwrap().items;
        assert_eq!(keys.len(), 1, "point {crashes}");
        if reached {
            break;
        }
        crashes += 1;
    }
    assert!(crashes > 3, "only {crashes} points were crashed at");
}

async fn adopt_with(world: &World, plan: &Arc<CrashPlan>, chain: &Chain, key: Option<&PrivateKey>) {
    let engine = world.builder(plan).build().await.unwrap();
    engine.adopt(spec("www", &["example.com"]), chain, key).await.unwrap();
}
