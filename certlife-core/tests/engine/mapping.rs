//! Where a certificate is deployed: its own choice, then the domain mappings, then the default of the CA account.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use certlife_core::{
    AccountName, Engine, EngineBuilder,
    challenge::ChallengeKind,
    deploy::DeployCapabilities,
    engine::{CaOptions, TargetOptions},
    model::{CertificateSpec, DomainMapping, EventKind, Route, TargetReason},
};
use certlife_testkit::{crash::CrashPlan, deploy::MemoryTarget};

use crate::world::{DAY, World, certificate, events, id, spec};

const HOUR: Duration = Duration::from_hours(1);

fn name(text: &str) -> AccountName {
    text.parse().unwrap()
}

fn mapping(domain: &str, targets: &[&str]) -> DomainMapping {
    targets
        .iter()
        .fold(DomainMapping::new(domain.parse().unwrap()), |mapping, target| mapping.deploy(name(target)))
}

/// A wish that names no target.
fn undeployed(certificate: &str, identifiers: &[&str]) -> CertificateSpec {
    let mut wish = spec(certificate, identifiers);
    wish.deploy.clear();
    wish
}

/// The world with the targets `web`, `east` and `west`; certificates that nothing else gives any go to `default`.
fn builder(world: &World, plan: &Arc<CrashPlan>, default: Option<&str>) -> EngineBuilder {
    let ca = default.iter().fold(CaOptions::default(), |ca, target| ca.default_target(name(target)));
    let mut builder = world.builder(plan).ca(name("ca"), Arc::new(world.ca.clone()), ca);
    for target in ["east", "west"] {
        builder = builder.target(name(target), Arc::new(MemoryTarget::new()), TargetOptions::default());
    }
    builder
}

async fn engine(world: &World, default: Option<&str>) -> Engine {
    builder(world, &CrashPlan::never(), default).build().await.unwrap()
}

async fn targets(engine: &Engine, of: &str) -> BTreeMap<String, TargetReason> {
    let chosen = certificate(engine, of).await.targets;
    // What was decided is what happens.
    let deployments = engine.deployments(&id(of)).await.unwrap();
    let wanted: BTreeSet<_> =
        deployments.iter().filter(|d| d.desired.is_some()).map(|d| d.target.clone()).collect();
    assert_eq!(wanted, chosen.keys().cloned().collect());
    chosen.into_iter().map(|(target, because)| (target.to_string(), because)).collect()
}

fn mapped(domain: &str) -> TargetReason {
    TargetReason::DomainMapping(domain.parse().unwrap())
}

#[tokio::test]
async fn the_certificate_s_own_choice_comes_before_mappings_and_those_before_the_default() {
    let world = World::new();
    let engine = engine(&world, Some("web")).await;
    engine.set_mappings(&[mapping("mapped.example.com", &["east"])]).await.unwrap();
    engine.ensure(spec("own", &["a.mapped.example.com"])).await.unwrap();
    engine.ensure(undeployed("mapped", &["b.mapped.example.com", "c.example.com"])).await.unwrap();
    engine.ensure(undeployed("other", &["d.example.com"])).await.unwrap();
    world.work(&engine, HOUR).await;
    assert_eq!(targets(&engine, "own").await, [("web".into(), TargetReason::Certificate)].into());
    assert_eq!(targets(&engine, "mapped").await, [("east".into(), mapped("mapped.example.com"))].into());
    assert_eq!(targets(&engine, "other").await, [("web".into(), TargetReason::AccountDefault)].into());
    for (name, words) in [
        ("mapped", "east (as mapped.example.com is mapped)"),
        ("other", "web (as the CA account's default says)"),
    ] {
        let explanation = engine.explain(&id(name)).await.unwrap();
        assert!(explanation.sentences.iter().any(|said| said.contains(words)), "{explanation:#?}");
    }
}

#[tokio::test]
async fn the_longest_mapping_speaks_for_each_name_and_all_names_add_up() {
    let world = World::new();
    let engine = engine(&world, None).await;
    let dns = Route::Dns(name("dns"));
    engine
        .set_mappings(&[
            mapping("example.com", &["web"]).route(dns.clone()),
            mapping("deep.example.com", &["east", "west"]),
            // It speaks of the route only, and leaves targets to the one above it.
            DomainMapping::new("x.deep.example.com".parse().unwrap()).route(dns),
        ])
        .await
        .unwrap();
    let mut wish = undeployed("www", &["a.example.com", "*.x.deep.example.com"]);
    wish.validation.default = None;
    engine.ensure(wish).await.unwrap();
    world.work(&engine, HOUR).await;
    let deep = || mapped("deep.example.com");
    let expected = [("web".into(), mapped("example.com")), ("east".into(), deep()), ("west".into(), deep())];
    assert_eq!(targets(&engine, "www").await, expected.into());
    let chosen = |kind: &EventKind| matches!(kind, EventKind::TargetsChosen { .. });
    let told = events(&engine).await.iter().filter(|event| chosen(&event.occurrence.kind)).count();
    assert_eq!(told, 1, "decided again with the same outcome it is not told again");
}

#[tokio::test]
async fn certificates_follow_when_mappings_change() {
    let world = World::new();
    let engine = engine(&world, None).await;
    for number in 0..120 {
        let names = [format!("h{number}.example.com")];
        let names = names.each_ref().map(String::as_str);
        let wish = if number == 7 { spec("own", &names) } else { undeployed(&format!("c{number}"), &names) };
        engine.ensure(wish).await.unwrap();
    }
    world.work(&engine, HOUR).await;
    engine.set_mappings(&[mapping("example.com", &["east"])]).await.unwrap();
    world.work(&engine, HOUR).await;
    engine.set_mappings(&[mapping("example.com", &["west"])]).await.unwrap();
    world.work(&engine, HOUR).await;
    for certificate in ["c0", "c50", "c119"] {
        assert_eq!(targets(&engine, certificate).await, [("west".into(), mapped("example.com"))].into());
    }
    assert_eq!(targets(&engine, "own").await, [("web".into(), TargetReason::Certificate)].into());
    assert_eq!(world.ca.orders_placed(), 120, "other targets are no reason to order");
    // What concerns routes only, or is set again as it is, touches no certificate.
    let before = events(&engine).await.len();
    let routed = mapping("example.com", &["west"]).route(Route::Dns(name("dns")));
    engine.set_mappings(&[routed]).await.unwrap();
    assert_eq!(engine.pass().await.unwrap().steps, 0);
    assert_eq!(events(&engine).await.len(), before);
}

#[tokio::test]
async fn a_crash_while_certificates_follow_a_mapping_leaves_none_behind() {
    let mut at = 1;
    loop {
        let world = World::new();
        let engine = engine(&world, None).await;
        for number in 0..3 {
            let name = format!("h{number}.example.com");
            engine.ensure(undeployed(&format!("c{number}"), &[&name])).await.unwrap();
        }
        world.work(&engine, HOUR).await;
        drop(engine);

        let plan = CrashPlan::freeze_at(at);
        let mappings = [mapping("example.com", &["east"])];
        let journey = async {
            let engine = builder(&world, &plan, None).build().await.unwrap();
            engine.set_mappings(&mappings).await.unwrap();
            world.work(&engine, HOUR).await;
        };
        let crashed = plan.interrupts(journey).await;
        let engine = self::engine(&world, None).await;
        world.clock.advance(Duration::from_mins(2));
        if engine.mappings().await.unwrap() != mappings {
            engine.set_mappings(&mappings).await.unwrap();
        }
        world.work(&engine, HOUR).await;
        for certificate in ["c0", "c1", "c2"] {
            let found = targets(&engine, certificate).await;
            assert_eq!(found, [("east".into(), mapped("example.com"))].into(), "point {at}");
        }
        if !crashed {
            break;
        }
        at += 1;
    }
    assert!(at > 10, "only {at} points were tried");
}

#[tokio::test]
async fn what_was_ordered_elsewhere_is_deployed_only_if_it_says_so() {
    let world = World::new();
    let engine = engine(&world, Some("web")).await;
    engine.ensure(undeployed("www", &["a.example.com"])).await.unwrap();
    world.work(&engine, HOUR).await;
    // Another engine, on a store of its own, finds the order at the CA and has no key for it.
    let other = World { store: Arc::default(), ..world };
    let engine = self::engine(&other, Some("web")).await;
    let filter = certlife_core::ca::ImportFilter::default();
    assert_eq!(engine.import(&name("ca"), &filter).await.unwrap().imported, 1);
    engine.set_mappings(&[mapping("example.com", &["east"])]).await.unwrap();
    other.work(&engine, DAY).await;
    let imported = engine.certificates(None).await.unwrap().items.remove(0).spec.id;
    assert!(targets(&engine, imported.as_str()).await.is_empty());
}

#[tokio::test]
async fn targets_that_do_not_exist_or_take_nothing_are_refused() {
    let world = World::new();
    let engine = engine(&world, Some("gone")).await;
    let unknown = engine.set_mappings(&[mapping("example.com", &["nowhere"])]).await.unwrap_err();
    assert_eq!(unknown.kind().code(), "unknown_account");
    let unknown = engine.ensure(undeployed("www", &["example.com"])).await.unwrap_err();
    assert!(unknown.to_string().contains("\"gone\""), "{unknown}");
    let challenges = [ChallengeKind::Http].into();
    let keys = BTreeSet::new();
    world.target.limit_to(DeployCapabilities { install: false, challenges, volatile: false, keys });
    let refused = engine.set_mappings(&[mapping("example.com", &["web"])]).await.unwrap_err();
    assert!(refused.to_string().contains("takes no certificates"), "{refused}");
    assert!(engine.mappings().await.unwrap().is_empty());
}
