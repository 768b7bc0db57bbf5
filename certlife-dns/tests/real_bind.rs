//! [`Rfc2136`] and [`Lookup`] against BIND, which knows the protocols better than any fake of ours.
//!
//! Needs the servers that `cargo xtask test` runs.
#![cfg(feature = "rfc2136")]
#![expect(clippy::unwrap_used, reason = "everything here is a test")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use certlife_core::{
    DnsLookup as _, DnsProvider, ErrorKind, Fqdn, Lookup, Retry,
    dns::{DnsRecord, RecordHandle},
    lookup::{ServerState, Visibility, check},
};
use certlife_dns::rfc2136::{Algorithm, Rfc2136, Rfc2136Builder, Transport};
use certlife_testkit::{
    dns::{Cannot, DnsFixture},
    servers::{Bind, Servers, TsigKey},
};

struct BindFixture {
    bind: Bind,
    key: TsigKey,
    transport: Transport,
    /// Tells the names of this fixture from those of all others at the same server.
    run: String,
}

impl BindFixture {
    fn start(algorithm: &str, transport: Transport) -> Self {
        static FIXTURES: AtomicUsize = AtomicUsize::new(0);
        let bind = Servers::from_env().bind;
        let key = bind.key(algorithm).clone();
        let run = format!("{}-{}", std::process::id(), FIXTURES.fetch_add(1, Ordering::Relaxed));
        Self { bind, key, transport, run }
    }

    fn builder(&self, secret: &str) -> Rfc2136Builder {
        Rfc2136::builder(self.bind.address.to_string(), &*self.key.name, secret)
            .algorithm(self.key.algorithm.parse::<Algorithm>().unwrap())
            .transport(self.transport)
    }
}

fn name(text: &str) -> Fqdn {
    text.parse().unwrap()
}

fn provider(bind: &Bind, key: &TsigKey) -> Rfc2136 {
    Rfc2136::builder(bind.address.to_string(), &*key.name, &*key.secret)
        .algorithm(key.algorithm.parse().unwrap())
        .build()
        .unwrap()
}

const NOT_IN_DNS: Cannot =
    Cannot("the protocol has no such answer: there is a response code and nothing else");

impl DnsFixture for BindFixture {
    fn provider(&self) -> Arc<dyn DnsProvider> {
        Arc::new(self.builder(&self.key.secret).build().unwrap())
    }

    fn name(&self, label: &str) -> Fqdn {
        name(&format!("_acme-challenge.{label}.{}.{}", self.run, self.bind.zone))
    }

    async fn txt_values(&self, name: &Fqdn) -> Vec<String> {
        self.bind.txt_values(name.as_str()).await
    }

    async fn cname(&self, name: &Fqdn) -> Option<Fqdn> {
        let records = self.bind.records(&self.bind.zone).await;
        let alias = records.iter().find(|record| record.owner == name.as_str() && record.kind == "CNAME");
        alias.map(|record| self::name(&record.data))
    }

    fn zone(&self) -> Fqdn {
        name(&self.bind.zone)
    }

    fn nested_zone(&self) -> Result<Fqdn, Cannot> {
        Ok(name(&self.bind.sub_zone))
    }

    fn foreign_name(&self) -> Fqdn {
        name("_acme-challenge.example.net")
    }

    fn name_on_last_page(&self) -> Result<Fqdn, Cannot> {
        Err(Cannot("zones are asked for one by one; there is no listing"))
    }

    fn with_wrong_credentials(&self) -> Result<Arc<dyn DnsProvider>, Cannot> {
        Ok(Arc::new(self.builder("d3Jvbmctd3Jvbmctd3Jvbmc=").build().unwrap()))
    }

    fn throttle(&self, _: Option<Duration>) -> Result<(), Cannot> {
        Err(NOT_IN_DNS)
    }

    fn lose_next_answer(&self) -> Result<(), Cannot> {
        Err(Cannot("BIND answers every message; the fake server can lose them"))
    }

    fn fail_in_body(&self) -> Result<(), Cannot> {
        Err(NOT_IN_DNS)
    }

    fn recover(&self) {}

    fn secrets(&self) -> Result<Vec<String>, Cannot> {
        Ok(vec![self.key.secret.clone()])
    }

    fn debug_of_builder(&self) -> String {
        format!("{:?}", self.builder(&self.key.secret))
    }
}

/// The whole suite for one algorithm and one transport.
macro_rules! suite {
    ($module:ident, $algorithm:literal, $transport:ident) => {
        mod $module {
            use super::*;

            certlife_testkit::dns_conformance!(BindFixture::start($algorithm, Transport::$transport));
        }
    };
}

suite!(hmac_md5, "hmac-md5", Udp);
suite!(hmac_sha1, "hmac-sha1", Udp);
suite!(hmac_sha224, "hmac-sha224", Udp);
suite!(hmac_sha256, "hmac-sha256", Udp);
suite!(hmac_sha384, "hmac-sha384", Udp);
suite!(hmac_sha512, "hmac-sha512", Udp);
suite!(hmac_sha256_by_tcp, "hmac-sha256", Tcp);

#[tokio::test]
async fn what_is_wrong_with_a_key_is_told_apart() {
    let fx = BindFixture::start("hmac-sha256", Transport::Udp);
    let record = DnsRecord::txt(fx.name("keys"), "value");
    let told = async |builder: Rfc2136Builder| {
        let error = builder.build().unwrap().add(&record).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.retry()),
            (&ErrorKind::Unauthorized, Retry::Never),
            "{}",
            error.chain()
        );
        error.chain()
    };
    let stranger = Rfc2136::builder(fx.bind.address.to_string(), "stranger", &*fx.key.secret);
    assert!(told(stranger).await.contains("BADKEY"));
    assert!(told(fx.builder("AAAA")).await.contains("BADSIG"));
    let late = told(fx.builder(&fx.key.secret).clock(Arc::new(Late))).await;
    assert!(late.contains("BADTIME"), "{late}");
}

/// A clock that is a day behind.
#[derive(Debug)]
struct Late;

#[certlife_core::async_trait]
impl certlife_core::Clock for Late {
    fn now(&self) -> certlife_core::Timestamp {
        certlife_core::SystemClock::default().now() - Duration::from_hours(24)
    }

    async fn sleep_until(&self, _: certlife_core::Timestamp) {}
}

#[tokio::test]
async fn a_key_without_the_right_is_forbidden() {
    let bind = Servers::from_env().bind;
    let dns = provider(&bind, &bind.keys[0]);
    let record = DnsRecord::txt(name(&format!("a.{}", bind.read_only_zone)), "value");
    let error = dns.add(&record).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Forbidden(_)), "{}", error.chain());
}

#[tokio::test]
async fn the_least_rights_suffice() {
    let bind = Servers::from_env().bind;
    let dns = provider(&bind, &bind.limited.key);
    dns.probe().await.unwrap();
    let owner = name(&bind.limited.owners[0]);
    let handle = dns.add(&DnsRecord::txt(owner.clone(), "value")).await.unwrap().handle;
    assert_eq!(bind.txt_values(owner.as_str()).await, ["value"]);
    dns.remove(&handle).await.unwrap();
    let elsewhere = DnsRecord::txt(name(&format!("elsewhere.{}", bind.limited.zone)), "value");
    let error = dns.add(&elsewhere).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Forbidden(_)), "{}", error.chain());
}

#[tokio::test]
async fn nothing_is_left_of_a_zone_whose_records_were_removed() {
    let bind = Servers::from_env().bind;
    let zone = &bind.spare_zones[0];
    let dns = provider(&bind, bind.key("hmac-sha256"));
    let before = bind.records(zone).await.len();
    for number in 0..5 {
        let record = DnsRecord::txt(name(&format!("_acme-challenge.n{number}.{zone}")), "value");
        dns.add(&record).await.unwrap();
        dns.remove(&RecordHandle::unknown(record)).await.unwrap();
    }
    assert_eq!(bind.records(zone).await.len(), before);
}

#[tokio::test]
async fn a_delegated_challenge_is_followed_published_and_seen() {
    let bind = Servers::from_env().bind;
    let lookup = Lookup::builder().resolvers([bind.address]).port(bind.address.port()).build().unwrap();
    let challenge = name(&format!("_acme-challenge.{}", bind.delegation.identifier));
    let effective = lookup.effective_name(&challenge).await.unwrap();
    assert_eq!(effective.as_str(), bind.delegation.target);
    let authority = lookup.authority(&effective).await.unwrap();
    assert_eq!(authority.zone.as_str(), bind.delegation.alias_zone);

    let record = DnsRecord::txt(effective, "value");
    let report = check(&lookup, &record, &Visibility::Authoritative).await;
    assert_eq!(report.servers.iter().map(|server| server.state).collect::<Vec<_>>(), [ServerState::Lacks]);
    let dns = provider(&bind, bind.key("hmac-sha256"));
    let handle = dns.add(&record).await.unwrap().handle;
    assert!(check(&lookup, &record, &Visibility::Authoritative).await.visible);
    dns.remove(&handle).await.unwrap();
    assert!(!check(&lookup, &record, &Visibility::Authoritative).await.visible);
}
