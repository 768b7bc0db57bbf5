use std::{collections::BTreeSet, time::Duration};

use certlife_core::{
    DnsLookup as _, DnsProvider as _, ErrorKind,
    dns::DnsRecord,
    lookup::{ServerState, Visibility, check},
};

use super::*;

mod promises {
    crate::dns_conformance!(crate::dns::MemoryFixture::new());
}

#[test]
fn every_promise_of_the_suite_is_run() {
    let sources = [
        include_str!("suite/aliases.rs"),
        include_str!("suite/conflicts.rs"),
        include_str!("suite/failures.rs"),
        include_str!("suite/values.rs"),
        include_str!("suite/zones.rs"),
    ];
    let written: BTreeSet<&str> = sources
        .iter()
        .flat_map(|source| source.lines())
        .filter_map(|line| line.strip_prefix("pub async fn ")?.split('(').next())
        .collect();
    let list = include_str!("suite/mod.rs").split("$fixture =>").nth(1).unwrap();
    let listed: BTreeSet<&str> = list.split('}').next().unwrap().split_whitespace().collect();
    assert_eq!(written, listed);
}

fn record(value: &str) -> DnsRecord {
    DnsRecord::txt("_acme-challenge.example.org".parse().unwrap(), value)
}

#[tokio::test]
async fn servers_lag_break_and_mend() {
    let world = MemoryDns::new();
    let account = world.account(&["example.org"]);
    world.servers(2);
    world.lag(1, Duration::from_mins(1));
    let handle = account.add(&record("a")).await.unwrap().handle;
    let states = async || {
        let report = check(&world, &record("a"), &Visibility::Authoritative).await;
        report.servers.iter().map(|server| server.state).collect::<Vec<_>>()
    };
    assert_eq!(states().await, [ServerState::Has, ServerState::Lacks]);
    world.lag(1, Duration::ZERO);
    assert_eq!(states().await, [ServerState::Has, ServerState::Has]);
    account.remove(&handle).await.unwrap();
    world.lag(1, Duration::from_mins(1));
    world.insert(record("b"));
    assert_eq!(states().await, [ServerState::Lacks, ServerState::Lacks]);
    for (fault, state) in [
        (ServerFault::Lame, ServerState::Lame),
        (ServerFault::Refuses, ServerState::Refused),
        (ServerFault::Fails, ServerState::Fails),
        (ServerFault::Silent, ServerState::Silent),
        (ServerFault::NoRoute, ServerState::NoRoute),
    ] {
        world.break_server(0, Some(fault));
        assert_eq!(states().await[0], state);
    }
    world.break_server(0, None);
    assert_eq!(states().await[0], ServerState::Lacks);
}

#[tokio::test]
async fn accounts_hold_their_own_zones_and_fail_on_their_own() {
    let world = MemoryDns::new();
    let (one, other) = (world.account(&["example.org"]), world.account(&["example.net"]));
    assert!(matches!(other.add(&record("a")).await.unwrap_err().kind(), ErrorKind::ZoneNotFound(_)));
    one.fail_next(1, ErrorKind::Unavailable);
    assert_eq!(*one.add(&record("a")).await.unwrap_err().kind(), ErrorKind::Unavailable);
    one.add(&record("a")).await.unwrap();
    assert_eq!((one.calls().add, other.calls().add), (2, 1));
    assert_eq!(world.all_records(), [record("a")]);
}

#[tokio::test]
async fn aliases_lead_to_their_end_or_nowhere() {
    let world = MemoryDns::new();
    world.add_zone("example.org");
    world.alias("a.example.org", "b.example.org");
    world.alias("b.example.org", "c.example.org");
    let name = |text: &str| text.parse().unwrap();
    assert_eq!(world.effective_name(&name("a.example.org")).await.unwrap(), name("c.example.org"));
    world.alias("c.example.org", "a.example.org");
    let error = world.effective_name(&name("a.example.org")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict(_)));
    world.fail_lookups(Some(ErrorKind::Timeout));
    assert_eq!(*world.authority(&name("a.example.org")).await.unwrap_err().kind(), ErrorKind::Timeout);
}

#[tokio::test]
async fn calls_under_way_are_counted_even_when_dropped() {
    let world = MemoryDns::new();
    let account = world.account(&["example.org"]);
    let records = [record("a"), record("b"), record("c")];
    futures_util::future::join_all(records.iter().map(|record| account.add(record))).await;
    assert_eq!(account.calls().most_at_once, 3);
    account.delay(Duration::from_hours(1));
    let abandoned = tokio::time::timeout(Duration::from_millis(1), account.add(&records[0])).await;
    assert!(abandoned.is_err());
    account.recover();
    account.add(&records[0]).await.unwrap();
    assert_eq!(account.calls().most_at_once, 3);
}
