//! Renewals: by policy, by the CA's window, after failures, and a whole year of them.

use std::{sync::Arc, time::Duration};

use certlife_core::{
    Clock as _, Engine, Identifier,
    ca::{Placement, PurposeKind, RenewalWindow},
    engine::{CaOptions, DnsOptions, TargetOptions},
    model::{
        CertificateSpec, CertificateStatus, EventKind, KeyChange, KeyPolicy, OrderState, RenewBefore,
        RenewalPolicy, RenewalTrigger, Route,
    },
    store::MemoryStore,
};
use certlife_testkit::{ca::MemoryCa, clock::ManualClock};

use crate::world::{DAY, World, certificate, events, id, moment, spec};

#[tokio::test]
async fn a_renewal_is_deployed_long_before_expiry_with_a_new_key() {
    let world = World::new();
    let engine = world.engine().await;
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, 70 * DAY).await;
    let versions = engine.versions(&id("www"), None).await.unwrap().items;
    assert_eq!(versions.len(), 2);
    assert_eq!(versions[0].purpose, PurposeKind::Renewal);
    assert_ne!(versions[0].info.key_hash, versions[1].info.key_hash);
    assert!(versions[0].received_at < versions[1].info.not_after - 25 * DAY);
    assert_eq!(world.target.served_version(&id("www")), Some(versions[0].id));
}

#[tokio::test]
async fn a_kept_key_is_kept() {
    let world = World::new();
    let engine = world.engine().await;
    let keep = KeyPolicy { on_renewal: KeyChange::Keep, ..KeyPolicy::default() };
    engine.ensure(spec("www", &["example.com"]).key(keep)).await.unwrap();
    world.work(&engine, 70 * DAY).await;
    let versions = engine.versions(&id("www"), None).await.unwrap().items;
    assert_eq!(versions[0].info.key_hash, versions[1].info.key_hash);
    assert_eq!(versions[0].key, versions[1].key);
}

#[tokio::test]
async fn the_window_of_the_ca_is_followed_and_a_hurried_one_at_once() {
    let world = World::with_ca(|ca| ca.renewal_windows(0.3, 0.4));
    let engine = world.engine().await;
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, 26 * DAY).await;
    assert_eq!(engine.versions(&id("www"), None).await.unwrap().items.len(), 1);
    let now = world.clock.now();
    let window = RenewalWindow { start: now - 2 * DAY, end: now - DAY, explanation: None, ask_again: None };
    world.ca.hurry_renewals(window);
    world.work(&engine, DAY).await;
    assert_eq!(engine.versions(&id("www"), None).await.unwrap().items.len(), 2);
    let told = events(&engine).await;
    assert!(told.iter().any(|event| matches!(event.occurrence.kind, EventKind::RenewalWindow { .. })));
}

#[tokio::test]
async fn changed_names_bring_a_new_version_at_once_and_days_before_expiry_are_kept() {
    let world = World::new();
    let engine = world.engine().await;
    let renewal = RenewalPolicy { before: Some(RenewBefore::Days(10)), ..RenewalPolicy::default() };
    let wish = spec("www", &["example.com"]).renewal(renewal);
    engine.ensure(wish.clone()).await.unwrap();
    world.work(&engine, DAY).await;
    engine.update(wish.identifiers(["www.example.com".parse().unwrap()])).await.unwrap();
    world.work(&engine, DAY).await;
    let versions = engine.versions(&id("www"), None).await.unwrap().items;
    assert_eq!(versions.len(), 2);
    assert_eq!(versions[0].info.identifiers.len(), 2);
    world.work(&engine, 75 * DAY).await;
    assert_eq!(engine.versions(&id("www"), None).await.unwrap().items.len(), 2, "renewed too early");
    world.work(&engine, 12 * DAY).await;
    assert_eq!(engine.versions(&id("www"), None).await.unwrap().items.len(), 3);
}

#[tokio::test]
async fn while_the_ca_refuses_people_are_told_and_the_current_version_stays() {
    let world = World::new();
    let engine = world.engine().await;
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, DAY).await;
    let current = certificate(&engine, "www").await.current;
    let name: Identifier = "example.com".parse().unwrap();
    world.ca.refuse(name.clone(), "policy forbids it");
    world.work(&engine, 85 * DAY).await;
    assert_eq!(certificate(&engine, "www").await.current, current);
    let told = events(&engine).await;
    let noticed: Vec<_> = told
        .iter()
        .filter_map(|event| match event.occurrence.kind {
            EventKind::ExpiryNoticed { days } => Some(days),
            _ => None,
        })
        .collect();
    assert_eq!(noticed, [14, 7]);
    let explanation = engine.explain(&id("www")).await.unwrap();
    assert!(explanation.failed_orders > 3);
    assert!(explanation.sentences.iter().any(|s| s.contains("policy forbids it")), "{explanation:#?}");
    world.ca.accept(&name);
    world.work(&engine, 2 * DAY).await;
    assert_ne!(certificate(&engine, "www").await.current, current);
    assert_eq!(world.records_in_dns(), 0);
}

/// What a simulated year leaves behind: enough to compare two runs line by line.
#[derive(Debug, PartialEq, Eq)]
struct Year {
    orders: usize,
    versions: Vec<(String, String)>,
    events: u64,
    busiest_day: usize,
}

async fn simulate(certificates: usize, seed: u64) -> Year {
    let start = moment("2026-01-01T00:00:00Z");
    let clock = ManualClock::starting_at(start);
    let world = World::new();
    let ca = MemoryCa::builder(Arc::new(clock.clone()))
        .seed(seed)
        .validity(45 * DAY)
        .failure_rate(0.05)
        .lost_answer_rate(0.01)
        .build();
    ca.down_between(start + 100 * DAY, start + 102 * DAY);
    let engine = Engine::builder(Arc::new(MemoryStore::new()), world.ring.clone())
        .clock(Arc::new(clock.clone()))
        .lookup(Arc::new(world.dns.clone()))
        .seed(seed)
        .linger(Duration::ZERO)
        .ca("ca".parse().unwrap(), Arc::new(ca.clone()), CaOptions::default())
        .dns("dns".parse().unwrap(), Arc::new(world.account.reopened()), DnsOptions::default())
        .target(
            "web".parse().unwrap(),
            Arc::new(world.target.clone()),
            TargetOptions::default().drift_check(400 * DAY),
        )
        .build()
        .await
        .unwrap();
    for number in 0..certificates {
        let name = format!("host{number}.example.com");
        let wish = CertificateSpec::new(id(&format!("c{number}")), "ca".parse().unwrap())
            .identifiers([name.parse().unwrap()])
            .validate(Route::Dns("dns".parse().unwrap()))
            .deploy("web".parse().unwrap());
        engine.ensure(wish).await.unwrap();
    }
    let end = start + 365 * DAY;
    let mut served_at_all_times = true;
    loop {
        let pass = engine.pass().await.unwrap();
        let expired = engine.expiring(clock.now(), None).await.unwrap().items;
        served_at_all_times &= expired.is_empty();
        match pass.next {
            Some(next) if next <= end => clock.advance_to(next),
            _ => break,
        }
    }
    assert!(served_at_all_times, "a certificate expired");
    assert!(ca.duplicates().is_empty(), "ordered twice: {:?}", ca.duplicates());

    let mut days = vec![0; 366];
    let mut versions = Vec::new();
    for number in 0..certificates {
        let found = engine.versions(&id(&format!("c{number}")), None).await.unwrap().items;
        let deployment = &engine.deployments(&id(&format!("c{number}"))).await.unwrap()[0];
        assert_eq!(deployment.actual, Some(found[0].id), "renewed but not deployed");
        assert!(found.len() >= 9, "c{number} was renewed only {} times", found.len());
        for version in found {
            let day = version.received_at.since(start).as_secs() / DAY.as_secs();
            days[usize::try_from(day).unwrap()] += 1;
            versions.push((version.id.to_string(), version.received_at.to_string()));
        }
    }
    let busiest_day = days[30..].iter().copied().max().unwrap();
    let events = engine.audit(&id("c0"), None).await.unwrap().items[0].position;
    Year { orders: ca.orders_placed(), versions, events, busiest_day }
}

#[tokio::test]
async fn a_year_with_a_thousand_certificates_and_a_failing_ca_loses_none() {
    let year = simulate(1_000, 7).await;
    // Each needs a version a month at least; what the failing CA costs on top stays small.
    assert!((9_000..14_000).contains(&year.orders), "{} orders", year.orders);
    assert!(year.busiest_day < 500, "{} renewals on one day", year.busiest_day);
}

#[tokio::test]
async fn the_same_seed_gives_the_same_year() {
    assert_eq!(simulate(20, 3).await, simulate(20, 3).await);
}

#[tokio::test]
async fn within_the_term_that_was_paid_for_the_next_version_is_a_reissue() {
    let world = World::with_ca(|ca| ca.placement(Placement::Paid).term(365 * DAY));
    let engine = world.engine().await;
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, 300 * DAY).await;
    let versions = engine.versions(&id("www"), None).await.unwrap().items;
    assert!(versions.len() >= 4, "{} versions", versions.len());
    let (first, later) = versions.split_last().unwrap();
    assert_eq!(first.purpose, PurposeKind::New);
    assert!(later.iter().all(|version| version.purpose == PurposeKind::Reissue));
    let reports = engine.renewals(Some(&id("www")), None).await.unwrap().items;
    assert_eq!(reports.len(), later.len());
    assert!(reports.iter().all(|report| report.trigger == Some(RenewalTrigger::Policy)
        && report.purpose == PurposeKind::Reissue
        && report.state == OrderState::Issued
        && report.number.is_some()
        && report.next_attempt.is_none()));
    assert_eq!(reports[0].version, Some(versions[0].id));
    let paid = || world.ca.ledger().iter().filter(|line| line.paid).count();
    assert_eq!(paid(), 1);

    world.work(&engine, 200 * DAY).await;
    assert_eq!(paid(), 2, "the next term is paid for once");
    let now = world.clock.now();
    assert_eq!(certificate(&engine, "www").await.status(now), CertificateStatus::Valid);
}
