use certlife_core::{Retry, Timestamp};
use certlife_testkit::{
    clock::LeapClock,
    dns::{Cannot, Change, DnsFixture},
};
use hickory_proto::{
    op::OpCode,
    rr::{Record, rdata::TXT},
};

use super::{
    fake::{FakeServer, Signing},
    tsig::Key,
    *,
};

const SECRET: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ=";
const NOW: i64 = 1_768_469_400;

fn clock_at(seconds: i64) -> Arc<LeapClock> {
    Arc::new(LeapClock::starting_at(Timestamp::from_unix_seconds(seconds)))
}

struct Fixture {
    server: FakeServer,
    algorithm: Algorithm,
    transport: Transport,
}

impl Fixture {
    async fn start(algorithm: Algorithm, transport: Transport) -> Self {
        let key = Key::new(name("acme-key.example.org"), algorithm, &SECRET.into()).unwrap();
        let server = FakeServer::start(vec![key], &["example.org", "sub.example.org"], NOW).await;
        Self { server, algorithm, transport }
    }

    async fn new() -> Self {
        Self::start(Algorithm::HmacSha256, Transport::Udp).await
    }

    fn builder(&self) -> Rfc2136Builder {
        self.builder_with("acme-key.example.org", SECRET)
    }

    fn builder_with(&self, key: &str, secret: &str) -> Rfc2136Builder {
        Rfc2136::builder(self.server.address.to_string(), key, secret)
            .algorithm(self.algorithm)
            .transport(self.transport)
            .timeout(Duration::from_millis(200))
            .clock(clock_at(NOW))
    }

    fn dns(&self) -> Rfc2136 {
        self.builder().build().unwrap()
    }
}

fn name(text: &str) -> Fqdn {
    text.parse().unwrap()
}

fn record(value: &str) -> DnsRecord {
    DnsRecord::txt(name("_acme-challenge.www.example.org"), value)
}

const NOT_IN_DNS: Cannot =
    Cannot("the protocol has no such answer: there is a response code and nothing else");

impl DnsFixture for Fixture {
    fn provider(&self) -> Arc<dyn DnsProvider> {
        Arc::new(self.dns())
    }

    fn name(&self, label: &str) -> Fqdn {
        name(&format!("_acme-challenge.{label}.example.org"))
    }

    async fn txt_values(&self, name: &Fqdn) -> Vec<String> {
        let world = self.server.world();
        let texts = world.at(name).filter_map(|data| match data {
            RData::TXT(txt) => Some(String::from_utf8(txt.txt_data.concat()).unwrap()),
            _ => None,
        });
        texts.collect()
    }

    async fn cname(&self, name: &Fqdn) -> Option<Fqdn> {
        self.server.world().at(name).find_map(|data| match data {
            RData::CNAME(target) => Some(target.0.to_ascii().parse().unwrap()),
            _ => None,
        })
    }

    fn zone(&self) -> Fqdn {
        name("example.org")
    }

    fn nested_zone(&self) -> Result<Fqdn, Cannot> {
        Ok(name("sub.example.org"))
    }

    fn foreign_name(&self) -> Fqdn {
        name("_acme-challenge.example.net")
    }

    fn name_on_last_page(&self) -> Result<Fqdn, Cannot> {
        Err(Cannot("zones are asked for one by one; there is no listing"))
    }

    fn with_wrong_credentials(&self) -> Result<Arc<dyn DnsProvider>, Cannot> {
        Ok(Arc::new(self.builder_with("acme-key.example.org", "d3Jvbmctd3Jvbmctd3Jvbmc=").build().unwrap()))
    }

    fn throttle(&self, _: Option<Duration>) -> Result<(), Cannot> {
        Err(NOT_IN_DNS)
    }

    fn lose_next_answer(&self) -> Result<(), Cannot> {
        self.server.world().lose_next_update = true;
        Ok(())
    }

    fn intrude(&self, _: Change, name: &Fqdn, value: &str) -> Result<(), Cannot> {
        let text = RData::TXT(TXT::new(vec![value.into()]));
        self.server.world().intruder = Some(Record::from_rdata(message::wire_name(name), 60, text));
        Ok(())
    }

    fn fail_in_body(&self) -> Result<(), Cannot> {
        Err(NOT_IN_DNS)
    }

    fn recover(&self) {}

    fn secrets(&self) -> Result<Vec<String>, Cannot> {
        Ok(vec![SECRET.into(), "secret-secret-secret-secret-1234".into()])
    }

    fn debug_of_builder(&self) -> String {
        format!("{:?}", self.builder())
    }
}

mod by_udp {
    use super::*;

    certlife_testkit::dns_conformance!(Fixture::new().await);
}

mod by_tcp {
    use super::*;

    certlife_testkit::dns_conformance!(Fixture::start(Algorithm::HmacMd5, Transport::Tcp).await);
}

#[tokio::test]
async fn every_algorithm_is_understood() {
    for algorithm in Algorithm::ALL {
        let fx = Fixture::start(algorithm, Transport::Udp).await;
        fx.dns().add(&record("value")).await.unwrap_or_else(|error| panic!("{algorithm}: {}", error.chain()));
        assert_eq!(fx.txt_values(&record("").name).await, ["value"]);
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_key_is_told_apart() {
    let fx = Fixture::new().await;
    let told = async |builder: Rfc2136Builder| {
        let error = builder.build().unwrap().add(&record("value")).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (&ErrorKind::Unauthorized, Retry::Never));
        error.chain()
    };
    assert!(told(fx.builder_with("other-key", SECRET)).await.contains("BADKEY"));
    assert!(told(fx.builder_with("acme-key.example.org", "AAAA")).await.contains("BADSIG"));
    assert!(told(fx.builder().algorithm(Algorithm::HmacSha512)).await.contains("BADKEY"));
    let late = told(fx.builder().clock(clock_at(NOW + 3_600))).await;
    assert!(late.contains("BADTIME") && late.contains("1768473000") && late.contains("1768469400"), "{late}");

    fx.server.world().refuse = Some((ResponseCode::NotAuth, Signing::Error(22)));
    let error = fx.dns().add(&record("value")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Rejected(_)) && error.chain().contains("BADTRUNC"));
}

#[tokio::test]
async fn a_key_that_is_unknown_to_updates_alone_lacks_the_right() {
    let fx = Fixture::new().await;
    fx.server.world().refuse = Some((ResponseCode::NotAuth, Signing::Error(17)));
    let stated = fx.builder().zone("example.org").build().unwrap();
    let told = [fx.dns().add(&record("value")).await.map(drop), stated.probe().await.map(drop)];
    for outcome in told {
        let error = outcome.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Forbidden(_)), "{}", error.chain());
        assert!(error.chain().contains("BADKEY"), "{}", error.chain());
    }
}

#[tokio::test]
async fn a_refused_question_about_a_zone_that_is_not_there_is_understood() {
    let fx = Fixture::new().await;
    let stated = fx.builder().zone("example.net").build().unwrap();
    for like_knot in [false, true] {
        fx.server.world().like_knot = like_knot;
        let there = DnsRecord::txt(name("a.example.net"), "value");
        let error = stated.add(&there).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::ZoneNotFound(there.name.clone()), "{}", error.chain());
        let error = fx.dns().add(&there).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::ZoneNotFound(there.name), "{}", error.chain());
    }
}

#[tokio::test]
async fn response_codes_have_their_meaning() {
    let fx = Fixture::new().await;
    for (code, expected, retry) in [
        (ResponseCode::Refused, "forbidden", Retry::Never),
        (ResponseCode::ServFail, "unavailable", Retry::Backoff),
        (ResponseCode::NotAuth, "zone_not_found", Retry::Never),
        (ResponseCode::NotZone, "zone_not_found", Retry::Never),
        (ResponseCode::NotImp, "unsupported", Retry::Never),
        (ResponseCode::FormErr, "rejected", Retry::Never),
    ] {
        for signing in [Signing::Signed, Signing::Unsigned] {
            fx.server.world().refuse = Some((code, signing));
            let error = fx.dns().add(&record("value")).await.unwrap_err();
            assert_eq!((error.kind().code(), error.retry()), (expected, retry), "{}", error.chain());
        }
    }
}

#[tokio::test]
async fn success_without_a_signature_is_not_believed() {
    let fx = Fixture::new().await;
    fx.server.world().refuse = Some((ResponseCode::NoError, Signing::Unsigned));
    let error = fx.dns().add(&record("value")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{}", error.chain());
}

#[tokio::test]
async fn success_that_changed_nothing_is_a_conflict() {
    let fx = Fixture::new().await;
    fx.server.world().ignore_updates = true;
    let error = fx.dns().add(&record("value")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict(_)), "{}", error.chain());
}

#[tokio::test]
async fn a_record_has_the_stated_time_to_live_and_costs_one_update() {
    let fx = Fixture::new().await;
    fx.builder().ttl_seconds(7).build().unwrap().add(&record("value")).await.unwrap();
    fx.dns().add(&record("value")).await.unwrap();
    let world = fx.server.world();
    let updates = world.updates();
    assert_eq!(updates.len(), 1);
    assert_eq!(updates[0].authorities[0].ttl, 7);
}

#[tokio::test]
async fn a_text_that_is_cut_in_another_way_is_known_and_removed() {
    let fx = Fixture::new().await;
    let cut = RData::TXT(TXT::new(vec!["on".into(), "e".into()]));
    let there = Record::from_rdata(message::wire_name(&record("").name), 60, cut);
    fx.server.world().zones.get_mut(&name("example.org")).unwrap().push(there);
    assert!(fx.dns().add(&record("one")).await.unwrap().existed);
    fx.dns().remove(&RecordHandle::unknown(record("one"))).await.unwrap();
    assert!(fx.txt_values(&record("").name).await.is_empty());
}

#[tokio::test]
async fn a_truncated_answer_is_fetched_by_tcp() {
    let fx = Fixture::new().await;
    fx.server.world().truncate_udp = true;
    fx.dns().add(&record("value")).await.unwrap();
    let world = fx.server.world();
    assert!(world.seen.chunks(2).all(|pair| !pair[0].by_tcp && pair[1].by_tcp));
}

#[tokio::test]
async fn tcp_alone_is_used_where_stated() {
    let fx = Fixture::start(Algorithm::HmacSha256, Transport::Tcp).await;
    fx.dns().add(&record("value")).await.unwrap();
    assert!(fx.server.world().seen.iter().all(|seen| seen.by_tcp));
}

#[tokio::test]
async fn a_remembered_zone_that_is_gone_is_looked_up_again() {
    let fx = Fixture::new().await;
    let dns = fx.dns();
    let inner = DnsRecord::txt(name("_acme-challenge.sub.example.org"), "value");
    dns.add(&inner).await.unwrap();
    fx.server.world().zones.remove(&name("sub.example.org"));
    dns.add(&inner).await.unwrap();
    assert_eq!(fx.txt_values(&inner.name).await, ["value"]);
    assert_eq!(fx.server.world().updates()[1].queries[0].name, message::wire_name(&name("sub.example.org")));
    assert_eq!(fx.server.world().updates()[2].queries[0].name, message::wire_name(&name("example.org")));
}

#[tokio::test]
async fn the_zone_is_asked_for_once() {
    let fx = Fixture::new().await;
    let dns = fx.dns();
    let values: Vec<DnsRecord> = ["a", "b", "c"].map(record).into();
    for value in &values {
        dns.add(value).await.unwrap();
    }
    let world = fx.server.world();
    let asked = world.seen.iter().filter(|seen| seen.message.queries[0].query_type == RecordType::SOA);
    assert_eq!(asked.filter(|seen| seen.message.metadata.op_code == OpCode::Query).count(), 1);
}

#[tokio::test]
async fn a_stated_zone_is_used_without_asking_and_is_the_only_one() {
    let fx = Fixture::new().await;
    let dns = fx.builder().zone("example.org").build().unwrap();
    dns.add(&record("value")).await.unwrap();
    assert_eq!(fx.server.world().seen.len(), 3, "look, update, look again");
    let error = dns.add(&DnsRecord::txt(name("a.example.net"), "value")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::ZoneNotFound(name("a.example.net")));
}

#[tokio::test]
async fn a_zone_with_a_key_of_its_own_is_signed_with_it() {
    let fx = Fixture::new().await;
    let own = Key::new(name("sub-key"), Algorithm::HmacSha512, &"c3ViLXNlY3JldA==".into()).unwrap();
    fx.server.world().keys.push(own);
    let settings = serde_json::json!({
        "server": fx.server.address.to_string(),
        "key_name": "acme-key.example.org",
        "key_secret": SECRET,
        "zones": [
            { "zone": "sub.example.org", "key_name": "sub-key", "key_secret": "c3ViLXNlY3JldA==", "algorithm": "HMACSHA512" },
        ],
    });
    let settings: Settings = serde_json::from_value(settings).unwrap();
    let dns = Rfc2136::from_settings(settings, clock_at(NOW)).unwrap();
    dns.add(&record("value")).await.unwrap();
    dns.add(&DnsRecord::txt(name("_acme-challenge.sub.example.org"), "value")).await.unwrap();
    let keys: Vec<String> = {
        let world = fx.server.world();
        let updates = world.updates();
        updates.iter().map(|update| update.signature.as_ref().unwrap().name.to_ascii()).collect()
    };
    assert_eq!(keys, ["acme-key.example.org.", "sub-key."]);
    let summary = dns.probe().await.unwrap();
    assert_eq!(summary.details.keys().collect::<Vec<_>>(), ["any zone", "sub.example.org"]);
}

#[tokio::test]
async fn testing_the_account_changes_nothing_and_warns_of_weak_keys() {
    let fx = Fixture::start(Algorithm::HmacMd5, Transport::Udp).await;
    let dns = fx.builder().zone("example.org").build().unwrap();
    let summary = dns.probe().await.unwrap();
    assert!(summary.warnings[0].as_str().contains("hmac-md5"));
    assert!(fx.server.world().updates()[0].authorities.is_empty());
    let error = fx.builder().zone("example.net").build().unwrap().probe().await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::ZoneNotFound(name("example.net")));
}

#[tokio::test]
async fn a_server_that_does_not_say_whether_it_knows_the_key_is_warned_of() {
    let fx = Fixture::new().await;
    let stranger = fx.builder_with("stranger", SECRET);
    fx.server.world().like_knot = true;
    let summary = stranger.build().unwrap().probe().await.unwrap();
    assert!(summary.warnings[0].as_str().contains("state a zone"), "{:?}", summary.warnings);
    fx.server.world().like_knot = false;
    let error = fx.builder_with("stranger", SECRET).build().unwrap().probe().await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unauthorized);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable() {
    let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dns = Rfc2136::builder(closed.to_string(), "key", SECRET).zone("example.org").build().unwrap();
    let error = dns.add(&record("value")).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (&ErrorKind::Unreachable, Retry::Backoff));
    assert!(error.chain().contains(&closed.to_string()), "{}", error.chain());
}

#[test]
fn settings_that_cannot_work_are_named() {
    let told = |text: &str| {
        let settings: Settings = serde_json::from_str(text).unwrap();
        Rfc2136::from_settings(settings, clock_at(NOW)).unwrap_err().to_string()
    };
    for (settings, setting) in [
        ("{}", "server"),
        (r#"{"server":"a"}"#, "key_name"),
        (r#"{"server":"a","key_name":"k"}"#, "key_secret"),
        (r#"{"server":"a","key_name":"k k","key_secret":"AAAA"}"#, "key_name"),
        (r#"{"server":"a","key_name":"k","key_secret":"?"}"#, "key_secret"),
        (r#"{"server":"a:b:c","key_name":"k","key_secret":"AAAA"}"#, "server"),
        (r#"{"server":"a","key_name":"k","key_secret":"AAAA","zone":"..."}"#, "zone"),
        (r#"{"server":"a","key_name":"k","key_secret":"AAAA","ttl":2147483648}"#, "ttl"),
        (r#"{"server":"a","key_name":"k","key_secret":"AAAA","timeout_seconds":0}"#, "timeout_seconds"),
        (r#"{"server":"a","key_name":"k","key_secret":"AAAA","zone":"b","zones":[{"zone":"B."}]}"#, "zones"),
        (r#"{"zones":[{"zone":"b","server":"a"}]}"#, "key_name"),
        (
            r#"{"server":"a","zone":"c","zones":[{"zone":"b","key_name":"k","key_secret":"AAAA"}]}"#,
            "key_name",
        ),
    ] {
        let message = told(settings);
        assert!(message.starts_with(&format!("setting `{setting}`")), "{settings}: {message}");
    }
    assert!(serde_json::from_str::<Settings>(r#"{"sever":"a"}"#).is_err());
    assert!(serde_json::from_str::<Settings>(r#"{"algorithm":"hmac-sha3"}"#).is_err());
    let settings: Settings =
        serde_json::from_str(r#"{"server":"a","key_name":"k","key_secret":"c2VjcmV0"}"#).unwrap();
    assert!(!format!("{settings:?}").contains("c2VjcmV0"));
    assert_eq!(
        (settings.ttl_seconds, settings.timeout_seconds, settings.transport),
        (60, 10, Transport::Udp)
    );
    let schema = serde_json::to_value(schemars::schema_for!(Settings)).unwrap();
    assert_eq!(schema["properties"]["key_secret"]["writeOnly"], true, "{schema:#}");
}
