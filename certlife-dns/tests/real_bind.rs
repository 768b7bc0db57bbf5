//! [`Rfc2136`] and [`Lookup`] against BIND, which knows the protocols better than any fake of ours.
//!
//! Needs the servers that `cargo xtask test` runs.
#![cfg(feature = "rfc2136")]
#![expect(clippy::unwrap_used, reason = "everything here is a test")]

mod updates;

use certlife_core::{
    DnsLookup as _, DnsProvider as _, Lookup,
    dns::DnsRecord,
    lookup::{ServerState, Visibility, check},
};
use certlife_dns::rfc2136::{Rfc2136, Transport};
use certlife_testkit::servers::Servers;

use self::updates::{Fixture, dynamic_updates};

dynamic_updates!(Servers::from_env().bind.name_server);

#[tokio::test]
async fn a_delegated_challenge_is_followed_published_and_seen() {
    let bind = Servers::from_env().bind;
    let lookup = Lookup::builder().resolvers([bind.address]).port(bind.address.port()).build().unwrap();
    let challenge = format!("_acme-challenge.{}", bind.delegation.identifier).parse().unwrap();
    let effective = lookup.effective_name(&challenge).await.unwrap();
    assert_eq!(effective.as_str(), bind.delegation.target);
    let authority = lookup.authority(&effective).await.unwrap();
    assert_eq!(authority.zone.as_str(), bind.delegation.alias_zone);

    let record = DnsRecord::txt(effective, "value");
    let report = check(&lookup, &record, &Visibility::Authoritative).await;
    assert_eq!(report.servers.iter().map(|server| server.state).collect::<Vec<_>>(), [ServerState::Lacks]);
    let key = bind.key("hmac-sha256");
    let dns = Rfc2136::builder(bind.address.to_string(), &*key.name, &*key.secret).build().unwrap();
    let handle = dns.add(&record).await.unwrap().handle;
    assert!(check(&lookup, &record, &Visibility::Authoritative).await.visible);
    dns.remove(&handle).await.unwrap();
    assert!(!check(&lookup, &record, &Visibility::Authoritative).await.visible);
}
