use certlife_core::{Retry, dns::RecordData};
use certlife_testkit::{
    clock::LeapClock,
    dns::{Cannot, Change, DnsFixture},
};
use serde_json::json;

use super::{
    fake::{ACCOUNT, EMAIL, FakeCloudflare, KEY, TOKEN},
    *,
};
use crate::txt;

struct Fixture {
    fake: FakeCloudflare,
}

impl Fixture {
    async fn new() -> Self {
        Self { fake: FakeCloudflare::start(&["example.org", "sub.example.org"]).await }
    }

    fn with_token(&self, token: &str) -> CloudflareBuilder {
        Cloudflare::builder(token).base_url(self.fake.base_url()).clock(clock())
    }

    fn builder(&self) -> CloudflareBuilder {
        self.with_token(TOKEN)
    }

    fn dns(&self) -> Cloudflare {
        self.builder().build().unwrap()
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.fake.world().requests)
    }

    fn contents(&self, kind: &str, name: &Fqdn) -> Vec<String> {
        self.fake.world().contents(kind, name.as_str())
    }
}

fn clock() -> Arc<LeapClock> {
    Arc::default()
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
        self.contents("TXT", name).iter().map(|content| txt::unquoted(content)).collect()
    }

    async fn cname(&self, name: &Fqdn) -> Option<Fqdn> {
        self.contents("CNAME", name).pop().map(|content| content.parse().unwrap())
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
        // Zones are asked for by name, so all on these pages have the same one.
        let mut world = self.fake.world();
        for _ in 0..120 {
            world.add_zone("many.example", "internal", "active", ACCOUNT);
        }
        world.add_zone("many.example", "full", "active", ACCOUNT);
        Ok(name("_acme-challenge.many.example"))
    }

    fn with_wrong_credentials(&self) -> Result<Arc<dyn DnsProvider>, Cannot> {
        Ok(Arc::new(self.with_token(&TOKEN.replace("invented", "mistaken")).build().unwrap()))
    }

    fn throttle(&self, retry_after: Option<Duration>) -> Result<(), Cannot> {
        let mut world = self.fake.world();
        (world.throttled, world.retry_after) = (true, retry_after);
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

    fn secrets(&self) -> Result<Vec<String>, Cannot> {
        Ok(vec![TOKEN.into()])
    }

    fn debug_of_builder(&self) -> String {
        format!("{:?}", self.builder())
    }
}

certlife_testkit::dns_conformance!(Fixture::new().await);

#[tokio::test]
async fn a_record_costs_one_request_once_its_zone_is_known() {
    let fx = Fixture::new().await;
    let dns = fx.dns();
    let added = dns.add(&record("a")).await.unwrap();
    assert_eq!(fx.requests().len(), 4, "three candidates for the zone, and the record");
    dns.add(&record("b")).await.unwrap();
    dns.remove(&added.handle).await.unwrap();
    let paths = fx.requests();
    assert_eq!(paths.len(), 2, "{paths:?}");
    assert!(paths[0].starts_with("POST") && paths[1].starts_with("DELETE"));
    let world = fx.fake.world();
    assert_eq!((world.records[0].content.as_str(), world.records[0].ttl), ("\"b\"", 60));
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
async fn unquoted_content_of_old_records_is_known() {
    let fx = Fixture::new().await;
    let owner = record("").name;
    fx.fake.world().insert("example.org", "TXT", owner.as_str(), "old value");
    fx.dns().remove(&RecordHandle::unknown(record("old value"))).await.unwrap();
    assert!(fx.contents("TXT", &owner).is_empty());
    fx.fake.world().insert("example.org", "CNAME", owner.as_str(), "Target.example.net.");
    let alias = DnsRecord::cname(owner.clone(), name("target.example.net"));
    assert!(fx.dns().add(&alias).await.unwrap().existed);
}

#[tokio::test]
async fn errors_have_their_meaning() {
    let fx = Fixture::new().await;
    let plain = |code: u32, message: &str| json!([{ "code": code, "message": message }]);
    for (status, errors, expected) in [
        (
            400,
            json!([{ "code": 6003, "message": "x", "error_chain": [{ "code": 6111, "message": "y" }] }]),
            "unauthorized",
        ),
        (403, plain(9103, "Unknown X-Auth-Key"), "unauthorized"),
        (403, plain(9109, "Invalid access token"), "unauthorized"),
        (403, plain(9109, "Unauthorized to access requested resource"), "forbidden"),
        (401, plain(10000, "Authentication error"), "forbidden"),
        (403, plain(1009, "no edit"), "forbidden"),
        (403, plain(0, "requires permission com.cloudflare.api.account.zone.list"), "forbidden"),
        (
            400,
            json!([{ "code": 1004, "message": "x", "error_chain": [{ "code": 9007, "message": "y" }] }]),
            "rejected",
        ),
        (400, plain(9005, "Content is invalid"), "rejected"),
        (400, plain(81053, "A record exists"), "conflict"),
        (400, plain(81057, "The record already exists"), "conflict"),
        (429, plain(0, "slow"), "rate_limited"),
        (400, plain(10100, "slow"), "rate_limited"),
        (500, plain(10013, "internal"), "uncertain"),
        (200, plain(1099, "odd"), "rejected"),
    ] {
        fx.fake.world().refuse_changes = Some((status, errors.clone()));
        let error = fx.dns().add(&record("value")).await.unwrap_err();
        assert_eq!(error.kind().code(), expected, "{errors}: {}", error.chain());
    }
}

#[tokio::test]
async fn the_vendors_words_are_kept_with_their_chain() {
    let fx = Fixture::new().await;
    let chain = json!([{ "code": 9007, "message": "Content is empty" }]);
    let errors = json!([{ "code": 1004, "message": "DNS Validation Error", "error_chain": chain }]);
    fx.fake.world().refuse_changes = Some((400, errors));
    let error = fx.dns().add(&record("value")).await.unwrap_err();
    let told = error.to_string();
    assert!(told.contains("DNS Validation Error (1004); Content is empty (9007)"), "{told}");
}

#[tokio::test]
async fn zones_that_the_world_does_not_see_are_passed_over() {
    let fx = Fixture::new().await;
    for kind in ["internal", "secondary"] {
        fx.fake.world().add_zone("www.example.org", kind, "active", ACCOUNT);
    }
    assert_eq!(fx.dns().zone_of(&record("").name).await.unwrap().name, name("example.org"));
}

#[tokio::test]
async fn of_two_zones_of_one_name_the_active_one_or_the_stated_account_wins() {
    let fx = Fixture::new().await;
    let other = "ffffffffffffffffffffffffffffffff";
    let pending = fx.fake.world().add_zone("example.org", "full", "pending", other);
    let found = fx.dns().zone_of(&name("a.example.org")).await.unwrap();
    assert_ne!(found.id, pending);
    assert_eq!(found.name_servers, [name("ada.ns.cloudflare.com"), name("bob.ns.cloudflare.com")]);

    fx.fake.world().add_zone("example.org", "full", "active", other);
    let error = fx.dns().zone_of(&name("a.example.org")).await.unwrap_err();
    assert!(error.to_string().contains("account_id"), "{error}");
    let dns = fx.builder().account_id(ACCOUNT).build().unwrap();
    assert_eq!(dns.zone_of(&name("a.example.org")).await.unwrap().id, found.id);
}

#[tokio::test]
async fn a_remembered_zone_that_is_gone_is_looked_up_again() {
    let fx = Fixture::new().await;
    let dns = fx.dns();
    dns.add(&record("a")).await.unwrap();
    let made_anew = {
        let mut world = fx.fake.world();
        world.zones.retain(|zone| zone.name != "example.org");
        world.add_zone("example.org", "full", "active", ACCOUNT)
    };
    dns.add(&record("b")).await.unwrap();
    assert_eq!(fx.fake.world().records.last().unwrap().zone, made_anew);
}

#[tokio::test]
async fn a_stated_zone_needs_no_search() {
    let fx = Fixture::new().await;
    let id = fx.fake.world().zones[0].id.clone();
    let dns = fx.builder().zone(&id, "example.org").build().unwrap();
    dns.add(&record("value")).await.unwrap();
    assert_eq!(fx.requests(), [format!("POST /client/v4/zones/{id}/dns_records")]);
    let error = dns.add(&DnsRecord::txt(name("a.example.net"), "value")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::ZoneNotFound(name("a.example.net")));
    dns.probe().await.unwrap();
}

#[tokio::test]
async fn ids_in_a_handle_that_are_no_ids_are_not_used() {
    let fx = Fixture::new().await;
    let mut handle = fx.dns().add(&record("value")).await.unwrap().handle;
    handle.vendor = json!({ "zone": "../../accounts", "record": "x" });
    fx.dns().remove(&handle).await.unwrap();
    assert!(fx.contents("TXT", &handle.record.name).is_empty());
}

#[tokio::test]
async fn both_kinds_of_token_and_the_global_key_can_be_tested() {
    let fx = Fixture::new().await;
    let summary = fx.dns().probe().await.unwrap();
    assert_eq!(summary.details["zones"].as_str(), "2");
    assert!(summary.warnings.is_empty());

    fx.fake.world().account_token = true;
    assert_eq!(*fx.dns().probe().await.unwrap_err().kind(), ErrorKind::Unauthorized);
    fx.builder().account_id(ACCOUNT).build().unwrap().probe().await.unwrap();

    let with_key = |key: &str| {
        Cloudflare::builder_with_global_key(EMAIL, key)
            .base_url(fx.fake.base_url())
            .clock(clock())
            .build()
            .unwrap()
    };
    let summary = with_key(KEY).probe().await.unwrap();
    assert_eq!(summary.identity.unwrap().as_str(), EMAIL);
    with_key(KEY).add(&record("value")).await.unwrap();
    let error = with_key(&KEY.replace("01234", "43210")).probe().await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unauthorized);
}

#[tokio::test]
async fn a_missing_right_to_edit_is_named_before_it_is_needed() {
    let fx = Fixture::new().await;
    let refusal = json!([{ "code": 10000, "message": "Authentication error" }]);
    fx.fake.world().refuse_changes = Some((403, refusal));
    let warnings = fx.dns().probe().await.unwrap().warnings;
    assert_eq!(warnings[0].as_str(), "the right DNS:Edit is missing for zone example.org");
    let id = fx.fake.world().zones[0].id.clone();
    let by_id = json!({ "api_token": TOKEN, "zone_id": id, "base_url": fx.fake.base_url() });
    let by_id: Settings = serde_json::from_value(by_id).unwrap();
    let by_id = Cloudflare::from_settings(by_id, clock()).unwrap();
    for stated in [fx.builder().zone(&id, "example.org").build().unwrap(), by_id] {
        let error = stated.probe().await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Forbidden(_)), "{error}");
    }
    assert!(fx.fake.world().records.is_empty());
}

#[tokio::test]
async fn an_account_without_zones_is_warned_of() {
    let fx = Fixture::new().await;
    fx.fake.world().zones.clear();
    assert!(fx.dns().probe().await.unwrap().warnings[0].as_str().contains("Zone:Read"));
}

#[tokio::test]
async fn two_tokens_are_used_each_for_its_right() {
    let fx = Fixture::new().await;
    let reader = TOKEN.replace("invented", "mistaken");
    let error = fx.builder().zone_token(reader).build().unwrap().zone_of(&record("").name).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unauthorized, "zones are read with the zone token");
    let editor = fx.with_token(&TOKEN.replace("invented", "mistaken")).zone_token(TOKEN).build().unwrap();
    editor.zone_of(&record("").name).await.unwrap();
    assert_eq!(*editor.add(&record("value")).await.unwrap_err().kind(), ErrorKind::Unauthorized);
}

#[test]
fn long_and_awkward_values_are_quoted_on_the_wire() {
    let content = |value: &str| {
        let data = RecordData::Txt(value.into());
        serde_json::to_value(NewRecord::new(&name("a.example"), &data, 60)).unwrap()["content"].clone()
    };
    assert_eq!(content("plain"), "\"plain\"");
    assert_eq!(content(r#"a"b"#), r#""a\"b""#);
    assert_eq!(content(&"x".repeat(300)), format!("\"{}\" \"{}\"", "x".repeat(255), "x".repeat(45)));
}

#[test]
fn settings_that_cannot_work_are_named() {
    for (settings, setting) in [
        (json!({}), "api_token"),
        (json!({ "api_token": "" }), "api_token"),
        (json!({ "api_token": "\"quoted\"" }), "api_token"),
        (json!({ "api_token": "t", "email": "a@b", "api_key": "k" }), "api_token"),
        (json!({ "email": "a@b" }), "api_key"),
        (json!({ "api_key": "k" }), "email"),
        (json!({ "email": "nobody", "api_key": "k" }), "email"),
        (json!({ "api_token": "t", "account_id": "x" }), "account_id"),
        (json!({ "api_token": "t", "zone_id": "x" }), "zone_id"),
        (json!({ "api_token": "t", "zone": "example.org" }), "zone_id"),
        (json!({ "api_token": "t", "zone_id": "0".repeat(32), "zone": "a b" }), "zone"),
        (json!({ "api_token": "t", "ttl": 2 }), "ttl"),
        (json!({ "api_token": "t", "base_url": "http://api.example" }), "base_url"),
    ] {
        let parsed: Settings = serde_json::from_value(settings.clone()).unwrap();
        let message = Cloudflare::from_settings(parsed, clock()).unwrap_err().to_string();
        assert!(message.starts_with(&format!("setting `{setting}`")), "{settings}: {message}");
    }
    assert!(serde_json::from_value::<Settings>(json!({ "token": "t" })).is_err());
    let settings: Settings = serde_json::from_value(json!({ "api_token": " token_with_blanks\n" })).unwrap();
    assert!(!format!("{settings:?}").contains("token_with"));
    Cloudflare::from_settings(settings, clock()).unwrap();
    let schema = serde_json::to_value(schemars::schema_for!(Settings)).unwrap();
    assert!(schema["properties"]["api_token"].to_string().contains("writeOnly"), "{schema:#}");
}
