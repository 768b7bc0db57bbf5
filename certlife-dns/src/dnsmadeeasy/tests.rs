use certlife_core::Retry;
use certlife_testkit::{
    clock::LeapClock,
    dns::{Cannot, Change, DnsFixture},
};
use serde_json::json;

use super::{
    fake::{API_KEY, FakeDnsMadeEasy, LIMIT, SECRET_KEY},
    *,
};

struct Fixture {
    fake: FakeDnsMadeEasy,
    clock: Arc<LeapClock>,
}

impl Fixture {
    async fn new() -> Self {
        let clock = Arc::new(LeapClock::default());
        let time = clock.clone();
        let seconds = Arc::new(move || time.now().unix_seconds());
        Self { fake: FakeDnsMadeEasy::start(&["example.org", "sub.example.org"], seconds).await, clock }
    }

    fn with_keys(&self, api_key: &str, secret_key: &str) -> DnsMadeEasyBuilder {
        DnsMadeEasy::builder(api_key, secret_key).base_url(self.fake.base_url()).clock(self.clock.clone())
    }

    fn builder(&self) -> DnsMadeEasyBuilder {
        self.with_keys(API_KEY, SECRET_KEY)
    }

    fn dns(&self) -> DnsMadeEasy {
        self.builder().build().unwrap()
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.fake.world().requests)
    }

    fn values(&self) -> Vec<String> {
        self.fake.world().values("TXT", record("").name.as_str())
    }
}

fn name(text: &str) -> Fqdn {
    text.parse().unwrap()
}

fn record(value: &str) -> DnsRecord {
    DnsRecord::txt(name("_acme-challenge.www.example.org"), value)
}

impl DnsFixture for Fixture {
    fn provider(&self) -> Arc<dyn DnsProvider> {
        Arc::new(self.dns())
    }

    fn name(&self, label: &str) -> Fqdn {
        name(&format!("_acme-challenge.{label}.example.org"))
    }

    async fn txt_values(&self, name: &Fqdn) -> Vec<String> {
        self.fake.world().values("TXT", name.as_str())
    }

    async fn cname(&self, name: &Fqdn) -> Option<Fqdn> {
        self.fake.world().values("CNAME", name.as_str()).pop().map(|value| value.parse().unwrap())
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
        let mut world = self.fake.world();
        for number in 0..220 {
            world.add_zone(&format!("n{number}.example"));
        }
        Ok(name("_acme-challenge.n219.example"))
    }

    fn with_wrong_credentials(&self) -> Result<Arc<dyn DnsProvider>, Cannot> {
        Ok(Arc::new(self.with_keys(API_KEY, &SECRET_KEY.replace("5a6c", "c6a5")).build().unwrap()))
    }

    fn throttle(&self, retry_after: Option<Duration>) -> Result<(), Cannot> {
        let mut world = self.fake.world();
        (world.throttled, world.retry_after) = (true, retry_after.map(|wait| wait.as_secs()));
        Ok(())
    }

    fn lose_next_answer(&self) -> Result<(), Cannot> {
        self.fake.world().lose_next_answer = true;
        Ok(())
    }

    fn intrude(&self, _: Change, _: &Fqdn, _: &str) -> Result<(), Cannot> {
        Err(Cannot("each value is a record of its own, and no change touches another one"))
    }

    fn fail_in_body(&self) -> Result<(), Cannot> {
        self.fake.world().fail_in_body = true;
        Ok(())
    }

    fn recover(&self) {
        let mut world = self.fake.world();
        world.throttled = false;
        world.fail_in_body = false;
    }

    fn cannot_hold(&self, value: &str) -> Option<Cannot> {
        value.contains(['"', '\\']).then_some(Cannot(
            "DNS Made Easy takes no quotation marks in values, and of escapes nothing is known",
        ))
    }

    fn secrets(&self) -> Result<Vec<String>, Cannot> {
        Ok(vec![API_KEY.into(), SECRET_KEY.into()])
    }

    fn debug_of_builder(&self) -> String {
        format!("{:?}", self.builder())
    }
}

certlife_testkit::dns_conformance!(Fixture::new().await);

#[tokio::test]
async fn a_record_costs_one_request_once_the_zones_are_known() {
    let fx = Fixture::new().await;
    let dns = fx.dns();
    let zone = fx.fake.world().zones[0].id;
    let records = format!("/V2.0/dns/managed/{zone}/records");
    let a = dns.add(&record("a")).await.unwrap();
    assert_eq!(fx.requests(), ["GET /V2.0/dns/managed".to_owned(), format!("POST {records}")]);
    dns.add(&DnsRecord::txt(name("www.sub.example.org"), "b")).await.unwrap();
    assert_eq!(fx.requests().len(), 1);
    assert!(dns.add(&record("a")).await.unwrap().existed);
    assert_eq!(fx.requests(), [format!("POST {records}"), format!("GET {records}")]);
    dns.remove(&a.handle).await.unwrap();
    assert_eq!(fx.requests().len(), 1);
    dns.add(&record("a")).await.unwrap();
    fx.requests();
    dns.remove(&RecordHandle::unknown(record("a"))).await.unwrap();
    assert_eq!(fx.requests().len(), 2, "without its id a record is looked for");
}

#[tokio::test]
async fn no_more_requests_are_sent_than_the_service_allows() {
    let fx = Fixture::new().await;
    let dns = fx.dns();
    let handle = dns.add(&record("value")).await.unwrap().handle;
    for _ in 2..LIMIT {
        dns.remove(&handle).await.unwrap();
    }
    let error = dns.remove(&handle).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::RateLimited);
    let Retry::After(wait) = error.retry() else { panic!("{:?}", error.retry()) };
    assert!(wait > Duration::from_mins(4) && wait <= Duration::from_mins(5), "{wait:?}");
    assert_eq!(fx.requests().len(), LIMIT);
    fx.clock.advance(wait);
    dns.remove(&handle).await.unwrap();
}

#[tokio::test]
async fn too_many_requests_of_others_are_waited_out() {
    let fx = Fixture::new().await;
    fx.fake.world().throttled = true;
    let began = fx.clock.now();
    let error = fx.dns().add(&record("value")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (&ErrorKind::RateLimited, Retry::After(Duration::from_secs(30)))
    );
    assert_eq!(fx.requests().len(), 2);
    assert_eq!(fx.clock.now().since(began), Duration::from_secs(30));
}

#[tokio::test]
async fn a_lost_answer_to_a_creation_is_uncertain_and_not_sent_again() {
    let fx = Fixture::new().await;
    let dns = fx.dns();
    dns.zone_of(&record("").name).await.unwrap();
    fx.requests();
    fx.fake.world().lose_next_answer = true;
    let error = dns.add(&record("value")).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (&ErrorKind::Uncertain, Retry::Never));
    assert_eq!(fx.requests().len(), 1);
}

#[tokio::test]
async fn after_a_crash_exactly_our_value_is_removed() {
    let fx = Fixture::new().await;
    let theirs = fx.fake.world().insert("TXT", record("").name.as_str(), "theirs");
    fx.fake.world().lose_next_answer = true;
    fx.dns().add(&record("ours")).await.unwrap_err();
    assert_eq!(fx.values(), ["theirs", "ours"]);
    fx.dns().remove(&RecordHandle::unknown(record("ours"))).await.unwrap();
    let world = fx.fake.world();
    assert_eq!(world.records.iter().map(|left| (left.id, left.ttl)).collect::<Vec<_>>(), [(theirs, 300)]);
}

#[tokio::test]
async fn a_value_of_a_shared_template_is_known_and_left_alone() {
    let fx = Fixture::new().await;
    fx.fake.world().insert("TXT", record("").name.as_str(), "shared");
    fx.fake.world().records[0].source = 0;
    assert!(fx.dns().add(&record("shared")).await.unwrap().existed);
    fx.dns().remove(&RecordHandle::unknown(record("shared"))).await.unwrap();
    assert_eq!(fx.values(), ["shared"]);
}

#[tokio::test]
async fn values_at_the_apex_are_told_from_those_below() {
    let fx = Fixture::new().await;
    let apex = DnsRecord::txt(name("example.org"), "value");
    fx.dns().add(&record("value")).await.unwrap();
    fx.dns().remove(&RecordHandle::unknown(apex.clone())).await.unwrap();
    assert!(!fx.dns().add(&apex).await.unwrap().existed);
    assert_eq!(fx.fake.world().records[1].name, "");
    fx.dns().remove(&RecordHandle::unknown(apex)).await.unwrap();
    assert_eq!(fx.values(), ["value"]);
}

#[tokio::test]
async fn targets_are_absolute_and_compared_without_their_dot() {
    let fx = Fixture::new().await;
    let alias = DnsRecord::cname(record("").name, name("target.example.net"));
    fx.dns().add(&alias).await.unwrap();
    assert_eq!(fx.fake.world().records[0].value, "target.example.net");
    let text = serde_json::to_string(&NewRecord::new("a", &alias.data, 120)).unwrap();
    assert!(text.contains(r#""value":"target.example.net.""#), "{text}");
    assert!(fx.dns().add(&alias).await.unwrap().existed);
}

#[tokio::test]
async fn errors_have_their_meaning() {
    let fx = Fixture::new().await;
    let plain = |words: &str| json!({ "error": [words] }).to_string();
    for (status, body, expected) in [
        (400, plain("Rate limit exceeded"), "rate_limited"),
        (400, "{error: [\"Rate limit exceeded\"]}".to_owned(), "rate_limited"),
        (400, r#"{"error":"rate Limit Exceeded"}"#.to_owned(), "rate_limited"),
        (200, plain("Rate limit exceeded"), "rate_limited"),
        (429, "slow down".to_owned(), "rate_limited"),
        (400, plain("Request sent with date header too far out of sync."), "unauthorized"),
        (403, plain("API key not found"), "unauthorized"),
        (401, plain("API key not found"), "unauthorized"),
        (400, plain("API Key not found"), "unauthorized"),
        (403, "<html>Forbidden</html>".to_owned(), "unauthorized"),
        (400, plain("Record with this type already exists."), "conflict"),
        (400, plain("Record value is not valid."), "rejected"),
        (400, r#"{"error":["one","two"]}"#.to_owned(), "rejected"),
        (400, r#"{"error":[]}"#.to_owned(), "rejected"),
        (400, r#"{"errors":{"a":1}}"#.to_owned(), "rejected"),
        (400, String::new(), "rejected"),
        (404, "<html>Not Found</html>".to_owned(), "zone_not_found"),
        (404, plain("Not Found"), "zone_not_found"),
        (500, "<html>oops</html>".to_owned(), "uncertain"),
        (200, plain("odd"), "rejected"),
        (200, "<html>login</html>".to_owned(), "protocol"),
        (201, "{}".to_owned(), "protocol"),
    ] {
        fx.fake.world().refuse_changes = Some((status, body.clone()));
        let error = fx.dns().add(&record("value")).await.unwrap_err();
        assert_eq!(error.kind().code(), expected, "{status} {body}: {}", error.chain());
        fx.clock.advance(Duration::from_mins(5));
    }
}

#[tokio::test]
async fn the_vendors_words_are_kept() {
    let fx = Fixture::new().await;
    fx.fake.world().refuse_changes = Some((400, r#"{"error":["one","two"]}"#.into()));
    let error = fx.dns().add(&record("value")).await.unwrap_err();
    assert!(error.to_string().ends_with("refused: one; two"), "{error}");
}

#[tokio::test]
async fn what_stands_in_the_way_is_found_whatever_the_vendor_says() {
    let fx = Fixture::new().await;
    fx.fake.world().insert("CNAME", record("").name.as_str(), "elsewhere.example.net");
    let error = fx.dns().add(&record("value")).await.unwrap_err();
    assert!(error.to_string().contains("a CNAME record is at _acme-challenge.www.example.org"), "{error}");
    assert!(error.chain().contains("Some other words"), "{}", error.chain());
}

#[tokio::test]
async fn a_wrong_clock_and_a_wrong_key_are_told() {
    let fx = Fixture::new().await;
    for off in [29, 31] {
        let late = LeapClock::starting_at(fx.clock.now() + Duration::from_secs(off));
        let outcome = fx.builder().clock(Arc::new(late)).build().unwrap().probe().await;
        match outcome {
            Ok(_) => assert_eq!(off, 29),
            Err(error) => {
                assert_eq!((off, error.kind()), (31, &ErrorKind::Unauthorized));
                assert!(error.chain().contains("out of sync"), "{}", error.chain());
            }
        }
    }
    let error = fx.with_keys(SECRET_KEY, SECRET_KEY).build().unwrap().probe().await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (&ErrorKind::Unauthorized, Retry::Never));
    assert!(error.chain().contains("API key not found"), "{}", error.chain());
}

#[tokio::test]
async fn an_account_tells_what_it_has_left() {
    let fx = Fixture::new().await;
    let summary = fx.dns().probe().await.unwrap();
    assert_eq!((summary.details["zones"].as_str(), summary.details["requests left"].as_str()), ("2", "149"));
    assert!(summary.warnings.is_empty());
    fx.fake.world().zones[0].pending = 3;
    let summary = fx.builder().zone("example.org").build().unwrap().probe().await.unwrap();
    assert!(summary.warnings[0].as_str().contains("being created"), "{:?}", summary.warnings);
    let wrong = fx.builder().zone("example.org").zone_id(1).build().unwrap().probe().await.unwrap_err();
    assert!(matches!(wrong.kind(), ErrorKind::Conflict(_)), "{wrong}");
    let foreign = fx.builder().zone("example.net").build().unwrap().probe().await.unwrap_err();
    assert_eq!(*foreign.kind(), ErrorKind::ZoneNotFound(name("example.net")));
    fx.fake.world().zones.clear();
    assert!(fx.dns().probe().await.unwrap().warnings[0].as_str().contains("no zone"));
}

#[tokio::test]
async fn a_stated_zone_needs_no_list() {
    let fx = Fixture::new().await;
    let id = fx.fake.world().zones[0].id;
    for (builder, requests) in
        [(fx.builder().zone("example.org").zone_id(id), 1), (fx.builder().zone("Example.org."), 2)]
    {
        let dns = builder.build().unwrap();
        let added = dns.add(&record("value")).await.unwrap();
        let sent = fx.requests();
        assert!(sent.len() == requests && !sent.contains(&"GET /V2.0/dns/managed".to_owned()), "{sent:?}");
        dns.remove(&added.handle).await.unwrap();
        let nested = dns.zone_of(&name("a.sub.example.org")).await.unwrap();
        assert_eq!(nested.name, name("example.org"), "other zones are not looked at");
        let error = dns.add(&DnsRecord::txt(name("a.example.net"), "value")).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::ZoneNotFound(name("a.example.net")));
        fx.requests();
    }
    let missing = fx.builder().zone("example.net").build().unwrap();
    let error = missing.zone_of(&name("a.example.net")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::ZoneNotFound(name("a.example.net")));
    let found =
        fx.builder().zone("example.org").build().unwrap().zone_of(&name("example.org")).await.unwrap();
    assert_eq!(found.name_servers, [name("ns10.dnsmadeeasy.com")]);
}

#[tokio::test]
async fn a_remembered_zone_that_is_gone_is_looked_up_again() {
    let fx = Fixture::new().await;
    let dns = fx.dns();
    let first = dns.add(&record("a")).await.unwrap();
    let replace_zone = || {
        let mut world = fx.fake.world();
        world.zones.retain(|zone| zone.name != "example.org");
        world.records.clear();
        world.add_zone("example.org")
    };
    let made_anew = replace_zone();
    dns.add(&record("b")).await.unwrap();
    assert_eq!(fx.fake.world().records[0].zone, made_anew);
    dns.remove(&first.handle).await.unwrap();
    replace_zone();
    dns.remove(&RecordHandle::unknown(record("b"))).await.unwrap();
    fx.fake.world().zones.clear();
    let error = dns.add(&record("d")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::ZoneNotFound(record("").name));
}

#[tokio::test]
async fn zones_with_names_that_are_none_here_do_no_harm() {
    let fx = Fixture::new().await;
    fx.fake.world().add_zone("0/26.2.0.192.in-addr.arpa");
    fx.dns().add(&record("value")).await.unwrap();
    let twin = fx.fake.world().add_zone("example.org");
    let error = fx.dns().add(&record("value")).await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Conflict(_)) && error.to_string().contains("zone_id"),
        "{error}"
    );
    fx.builder().zone("example.org").zone_id(twin).build().unwrap().add(&record("b")).await.unwrap();
    assert_eq!(fx.fake.world().records[1].zone, twin);
}

#[tokio::test]
async fn a_handle_with_odd_ids_is_searched_for() {
    let fx = Fixture::new().await;
    for vendor in [json!({ "zone": "../1", "record": 1 }), json!({ "zone": -1, "record": 1 }), json!(7)] {
        let mut handle = fx.dns().add(&record("value")).await.unwrap().handle;
        handle.vendor = vendor;
        fx.dns().remove(&handle).await.unwrap();
        assert!(fx.values().is_empty());
    }
}

#[test]
fn settings_that_cannot_work_are_named() {
    for (settings, setting) in [
        (json!({ "api_key": "" }), "api_key"),
        (json!({ "api_key": "\"quoted\"" }), "api_key"),
        (json!({ "secret_key": "two words" }), "secret_key"),
        (json!({ "zone": "a b" }), "zone"),
        (json!({ "zone_id": 1 }), "zone"),
        (json!({ "ttl": 0 }), "ttl"),
        (json!({ "ttl": 2_147_483_648_u32 }), "ttl"),
        (json!({ "base_url": "http://api.example" }), "base_url"),
        (json!({ "base_url": "https://api.example", "sandbox": true }), "sandbox"),
    ] {
        let mut all = json!({ "api_key": API_KEY, "secret_key": SECRET_KEY });
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let parsed: Settings = serde_json::from_value(all).unwrap();
        let message =
            DnsMadeEasy::from_settings(parsed, Arc::new(LeapClock::default())).unwrap_err().to_string();
        assert!(message.starts_with(&format!("setting `{setting}`")), "{settings}: {message}");
    }
    assert!(serde_json::from_value::<Settings>(json!({ "api_key": API_KEY })).is_err());
    assert!(
        serde_json::from_value::<Settings>(json!({ "api_key": "a", "secret_key": "b", "x": 1 })).is_err()
    );
    let schema = serde_json::to_value(schemars::schema_for!(Settings)).unwrap();
    for secret in ["api_key", "secret_key"] {
        assert!(schema["properties"][secret].to_string().contains("writeOnly"), "{schema:#}");
    }
}

#[test]
fn the_sandbox_has_its_own_address() {
    let address = |sandbox: bool| {
        let builder = DnsMadeEasy::builder(format!(" {API_KEY}\n"), SECRET_KEY).sandbox(sandbox);
        format!("{:?}", builder.build().unwrap())
    };
    assert!(address(false).contains("https://api.dnsmadeeasy.com/V2.0"), "{}", address(false));
    assert!(address(true).contains("https://api.sandbox.dnsmadeeasy.com/V2.0"), "{}", address(true));
}
