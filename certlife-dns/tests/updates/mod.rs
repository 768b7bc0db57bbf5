//! [`Rfc2136`] against one real server: what holds at each of them.

mod relay;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use certlife_core::{
    Clock, DnsProvider, Error, ErrorKind, Fqdn, Retry, SystemClock, Timestamp,
    dns::{DnsRecord, RecordHandle},
};
use certlife_dns::rfc2136::{Algorithm, Rfc2136, Rfc2136Builder, Transport};
use certlife_testkit::{
    dns::{Cannot, Change, DnsFixture},
    servers::{NameServer, TsigKey},
};

use self::relay::Relay;

/// How far clocks may differ (RFC 8945 §10).
const FUDGE_SECONDS: i64 = 300;

/// Some base64 that is nobody's secret.
const WRONG_SECRET: &str = "d3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmctd3Jvbmctd3I=";

/// One test for each case below, and the whole suite for each algorithm and for TCP.
macro_rules! dynamic_updates {
    ($server:expr) => {
        $crate::updates::dynamic_updates! { @suites $server =>
            hmac_md5: "hmac-md5", Udp;
            hmac_sha1: "hmac-sha1", Udp;
            hmac_sha224: "hmac-sha224", Udp;
            hmac_sha256: "hmac-sha256", Udp;
            hmac_sha384: "hmac-sha384", Udp;
            hmac_sha512: "hmac-sha512", Udp;
            hmac_sha256_by_tcp: "hmac-sha256", Tcp;
        }
        $crate::updates::dynamic_updates! { @cases $server =>
            every_algorithm_of_the_server_is_tested
            what_is_wrong_with_a_key_is_told_apart
            clocks_may_differ_by_the_fudge_and_not_by_more
            a_key_without_the_right_is_forbidden
            the_least_rights_suffice
            a_zone_that_the_server_lacks_is_not_found
            an_answer_that_is_cut_short_is_fetched_by_tcp
            nothing_is_left_of_a_zone_whose_records_were_removed
        }
    };
    (@suites $server:expr => $($module:ident: $algorithm:literal, $transport:ident;)*) => {
        $(
            mod $module {
                use certlife_dns::rfc2136::Transport;
                use certlife_testkit::servers::Servers;

                use crate::updates::Fixture;

                certlife_testkit::dns_conformance!(Fixture::new($server, $algorithm, Transport::$transport));
            }
        )*
    };
    (@cases $server:expr => $($case:ident)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                $crate::updates::$case(Fixture::new($server, "hmac-sha256", Transport::Udp)).await;
            }
        )*
    };
}

pub(crate) use dynamic_updates;

/// A server, one of its keys, and names that nobody else uses.
pub(crate) struct Fixture {
    server: NameServer,
    key: TsigKey,
    transport: Transport,
    /// Tells the names of this fixture from those of all others at the same server.
    run: String,
}

impl Fixture {
    pub(crate) fn new(server: NameServer, algorithm: &str, transport: Transport) -> Self {
        static FIXTURES: AtomicUsize = AtomicUsize::new(0);
        let key = server.key(algorithm).clone();
        let run = format!("{}-{}", std::process::id(), FIXTURES.fetch_add(1, Ordering::Relaxed));
        Self { server, key, transport, run }
    }

    fn builder(&self) -> Rfc2136Builder {
        self.with_key(&self.key)
    }

    fn with_key(&self, key: &TsigKey) -> Rfc2136Builder {
        self.with(&key.name, &key.algorithm, &key.secret)
    }

    fn with(&self, key: &str, algorithm: &str, secret: &str) -> Rfc2136Builder {
        Rfc2136::builder(self.server.address.to_string(), key, secret)
            .algorithm(algorithm.parse().unwrap())
            .transport(self.transport)
    }

    fn record(&self) -> DnsRecord {
        DnsRecord::txt(self.name("a"), "value")
    }
}

fn name(text: &str) -> Fqdn {
    text.parse().unwrap()
}

fn dns(builder: Rfc2136Builder) -> Rfc2136 {
    builder.build().unwrap()
}

async fn refused(builder: Rfc2136Builder, record: &DnsRecord) -> Error {
    dns(builder).add(record).await.unwrap_err()
}

const NOT_IN_DNS: Cannot =
    Cannot("the protocol has no such answer: there is a response code and nothing else");

impl DnsFixture for Fixture {
    fn provider(&self) -> Arc<dyn DnsProvider> {
        Arc::new(dns(self.builder()))
    }

    fn name(&self, label: &str) -> Fqdn {
        name(&format!("_acme-challenge.{label}.{}.{}", self.run, self.server.zone))
    }

    async fn txt_values(&self, name: &Fqdn) -> Vec<String> {
        self.server.txt_values(name.as_str()).await
    }

    async fn cname(&self, name: &Fqdn) -> Option<Fqdn> {
        let records = self.server.records(&self.server.zone).await;
        let alias = records.iter().find(|record| record.owner == name.as_str() && record.kind == "CNAME");
        alias.map(|record| self::name(&record.data))
    }

    fn zone(&self) -> Fqdn {
        name(&self.server.zone)
    }

    fn nested_zone(&self) -> Result<Fqdn, Cannot> {
        Ok(name(&self.server.sub_zone))
    }

    fn foreign_name(&self) -> Fqdn {
        name("_acme-challenge.example.net")
    }

    fn name_on_last_page(&self) -> Result<Fqdn, Cannot> {
        Err(Cannot("zones are asked for one by one; there is no listing"))
    }

    fn with_wrong_credentials(&self) -> Result<Arc<dyn DnsProvider>, Cannot> {
        // One zone is stated besides, because Knot looks at a key only where it has the zone.
        let TsigKey { name, algorithm, .. } = &self.key;
        let builder = self.with(name, algorithm, WRONG_SECRET);
        let spare = &self.server.spare_zones[0];
        let builder = builder.zone_key(spare, name, WRONG_SECRET.into(), algorithm.parse().unwrap());
        Ok(Arc::new(dns(builder)))
    }

    fn throttle(&self, _: Option<Duration>) -> Result<(), Cannot> {
        Err(NOT_IN_DNS)
    }

    fn lose_next_answer(&self) -> Result<(), Cannot> {
        Err(Cannot("a real server answers every message; the fake one can lose them"))
    }

    fn intrude(&self, _: Change, _: &Fqdn, _: &str) -> Result<(), Cannot> {
        Err(Cannot(
            "nobody can stop a real server between two messages; the fake one lets somebody come in between",
        ))
    }

    fn fail_in_body(&self) -> Result<(), Cannot> {
        Err(NOT_IN_DNS)
    }

    fn recover(&self) {}

    fn secrets(&self) -> Result<Vec<String>, Cannot> {
        Ok(vec![self.key.secret.clone()])
    }

    fn debug_of_builder(&self) -> String {
        format!("{:?}", self.builder())
    }
}

/// The suites have one key each; the server has no key that none of them uses.
pub(crate) async fn every_algorithm_of_the_server_is_tested(fx: Fixture) {
    let mut algorithms: Vec<&str> = fx.server.keys.iter().map(|key| key.algorithm.as_str()).collect();
    algorithms.sort_unstable();
    assert_eq!(algorithms, Algorithm::ALL.map(Algorithm::as_str));
    for key in &fx.server.keys {
        let zone = &fx.server.zone;
        let summary = dns(fx.with_key(key).zone(zone)).probe().await.unwrap();
        assert!(summary.details[zone].as_str().contains(&format!("({})", key.algorithm)));
        let weak = ["hmac-md5", "hmac-sha1"].contains(&key.algorithm.as_str());
        assert_eq!(summary.warnings.len(), usize::from(weak), "{:?}", summary.warnings);
    }
}

pub(crate) async fn what_is_wrong_with_a_key_is_told_apart(fx: Fixture) {
    let TsigKey { name, algorithm, secret, .. } = &fx.key;
    for (name, algorithm, secret, told) in [
        ("stranger", &**algorithm, &**secret, "BADKEY"),
        (name, "hmac-sha512", secret, "BADKEY"),
        (name, algorithm, WRONG_SECRET, "BADSIG"),
    ] {
        let builder = || fx.with(name, algorithm, secret);
        let error = refused(builder(), &fx.record()).await;
        assert_eq!((error.kind(), error.retry()), (&ErrorKind::Unauthorized, Retry::Never));
        assert!(error.chain().contains(told), "{}", error.chain());
        let error = dns(builder().zone(&fx.server.zone)).probe().await.unwrap_err();
        assert!(error.chain().contains(told), "{}", error.chain());
    }
}

/// Is ahead of the operating system's clock by so many seconds.
#[derive(Debug)]
struct Ahead(i64);

#[certlife_core::async_trait]
impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_seconds(SystemClock::default().now().unix_seconds() + self.0)
    }

    async fn sleep_until(&self, _: Timestamp) {}
}

pub(crate) async fn clocks_may_differ_by_the_fudge_and_not_by_more(fx: Fixture) {
    for sign in [-1, 1] {
        // Some seconds either way, since the server's clock goes on.
        let slightly = Arc::new(Ahead(sign * (FUDGE_SECONDS - 20)));
        dns(fx.builder().clock(slightly)).add(&fx.record()).await.unwrap();
        let too_far = Arc::new(Ahead(sign * (FUDGE_SECONDS + 20)));
        let error = refused(fx.builder().clock(too_far), &fx.record()).await;
        assert_eq!((error.kind(), error.retry()), (&ErrorKind::Unauthorized, Retry::Never));
        assert!(error.chain().contains("BADTIME"), "{}", error.chain());
    }
}

/// BIND answers REFUSED; Knot says not to know the key, which it knew when asked a question.
pub(crate) async fn a_key_without_the_right_is_forbidden(fx: Fixture) {
    let zone = &fx.server.read_only_zone;
    let error = refused(fx.builder(), &DnsRecord::txt(name(&format!("a.{zone}")), "value")).await;
    assert!(matches!(error.kind(), ErrorKind::Forbidden(_)), "{}", error.chain());
    assert_eq!(error.retry(), Retry::Never);
    let error = dns(fx.builder().zone(zone)).probe().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Forbidden(_)), "{}", error.chain());
}

pub(crate) async fn the_least_rights_suffice(fx: Fixture) {
    let limited = &fx.server.limited;
    let dns = dns(fx.with_key(&limited.key).zone(&limited.zone));
    dns.probe().await.unwrap();
    let owner = name(&limited.owners[0]);
    let handle = dns.add(&DnsRecord::txt(owner.clone(), "value")).await.unwrap().handle;
    assert_eq!(fx.server.txt_values(owner.as_str()).await, ["value"]);
    dns.remove(&handle).await.unwrap();
    assert!(fx.server.txt_values(owner.as_str()).await.is_empty());

    let elsewhere = DnsRecord::txt(name(&format!("elsewhere.{}", limited.zone)), "value");
    let other_type = DnsRecord::cname(owner, name("target.example.net"));
    for record in [elsewhere, other_type] {
        let error = dns.add(&record).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Forbidden(_)), "{}", error.chain());
    }
}

/// NOTAUTH to an update, and REFUSED to a question.
pub(crate) async fn a_zone_that_the_server_lacks_is_not_found(fx: Fixture) {
    let dns = dns(fx.builder().zone("example.net"));
    let error = dns.probe().await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::ZoneNotFound(name("example.net")));
    assert!(error.chain().contains("NOTAUTH"), "{}", error.chain());
    let record = DnsRecord::txt(name("a.example.net"), "value");
    let added = dns.add(&record).await.map(drop);
    let removed = dns.remove(&RecordHandle::unknown(record)).await;
    for outcome in [added, removed] {
        let error = outcome.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::ZoneNotFound(name("a.example.net")), "{}", error.chain());
    }
}

pub(crate) async fn an_answer_that_is_cut_short_is_fetched_by_tcp(fx: Fixture) {
    let relay = Relay::start(fx.server.address).await;
    let values: Vec<String> = (0..10).map(|number| format!("{number}-{}", "x".repeat(100))).collect();
    let direct = dns(fx.builder());
    let owner = fx.name("crowded");
    for value in &values {
        direct.add(&DnsRecord::txt(owner.clone(), value)).await.unwrap();
    }

    let key = &fx.key;
    let crowded = dns(Rfc2136::builder(relay.address().to_string(), &*key.name, &*key.secret));
    assert!(crowded.add(&DnsRecord::txt(owner.clone(), &values[9])).await.unwrap().existed);
    let seen = relay.seen();
    assert_eq!((seen.cut_short, seen.by_tcp), (1, 1), "{seen:?}");
    crowded.remove(&RecordHandle::unknown(DnsRecord::txt(owner.clone(), &values[0]))).await.unwrap();
    let seen = relay.seen();
    assert_eq!((seen.cut_short, seen.by_tcp), (2, 2), "{seen:?}");
    assert_eq!(fx.server.txt_values(owner.as_str()).await, values[1..]);
}

pub(crate) async fn nothing_is_left_of_a_zone_whose_records_were_removed(fx: Fixture) {
    let zone = &fx.server.spare_zones[0];
    let dns = dns(fx.builder());
    let before = fx.server.records(zone).await.len();
    for number in 0..5 {
        let record = DnsRecord::txt(name(&format!("_acme-challenge.n{number}.{zone}")), "value");
        dns.add(&record).await.unwrap();
        dns.remove(&RecordHandle::unknown(record)).await.unwrap();
    }
    assert_eq!(fx.server.records(zone).await.len(), before);
}
