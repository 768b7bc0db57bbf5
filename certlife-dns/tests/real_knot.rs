//! [`Rfc2136`](certlife_dns::rfc2136::Rfc2136) against Knot DNS, which is strict where BIND is lenient.
//!
//! Needs the servers that `cargo xtask test` runs.
#![cfg(feature = "rfc2136")]
#![expect(clippy::unwrap_used, reason = "everything here is a test")]

mod updates;

use certlife_core::DnsProvider as _;
use certlife_dns::rfc2136::{Rfc2136, Transport};
use certlife_testkit::servers::Servers;

use self::updates::{Fixture, dynamic_updates};

dynamic_updates!(Servers::from_env().knot);

/// Knot looks at a key only where it has the zone, and does not sign that it has none.
#[tokio::test]
async fn a_key_cannot_be_tested_without_a_zone() {
    let knot = Servers::from_env().knot;
    let key = knot.key("hmac-sha256");
    for secret in [&*key.secret, "AAAA"] {
        let dns = Rfc2136::builder(knot.address.to_string(), &*key.name, secret).build().unwrap();
        let summary = dns.probe().await.unwrap();
        assert!(summary.warnings[0].as_str().contains("state a zone"), "{:?}", summary.warnings);
    }
}
