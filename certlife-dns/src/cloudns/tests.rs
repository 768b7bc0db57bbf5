use certlife_core::Retry;
use certlife_testkit::{
    clock::LeapClock,
    dns::{Cannot, Change, DnsFixture},
};
use serde_json::json;

use super::{
    fake::{AUTH_ID, FakeClouDns, PASSWORD, SUB_AUTH_ID, SUB_AUTH_USER, failed},
    *,
};

struct Fixture {
    fake: FakeClouDns,
}

impl Fixture {
    async fn new() -> Self {
        Self { fake: FakeClouDns::start(&["example.org", "sub.example.org"]).await }
    }

    fn here(&self, builder: ClouDnsBuilder) -> ClouDns {
        builder.base_url(self.fake.base_url().parse().unwrap()).clock(clock()).build().unwrap()
    }

    fn dns(&self) -> ClouDns {
        self.here(builder())
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.fake.world().requests)
    }
}

fn builder() -> ClouDnsBuilder {
    ClouDns::builder(AUTH_ID, PASSWORD)
}

fn clock() -> Arc<LeapClock> {
    Arc::default()
}

fn name(text: &str) -> Fqdn {
    text.parse().unwrap()
}

const OWNER: &str = "_acme-challenge.www.example.org";

fn record(value: &str) -> DnsRecord {
    DnsRecord::txt(name(OWNER), value)
}

impl DnsFixture for Fixture {
    fn provider(&self) -> Arc<dyn DnsProvider> {
        Arc::new(self.dns())
    }

    fn name(&self, label: &str) -> Fqdn {
        name(&format!("_acme-challenge.{label}.example.org"))
    }

    async fn txt_values(&self, name: &Fqdn) -> Vec<String> {
        self.fake.txt_values(name.as_str())
    }

    async fn cname(&self, name: &Fqdn) -> Option<Fqdn> {
        self.fake.world().contents("CNAME", name.as_str()).pop().map(|content| content.parse().unwrap())
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
        // The search finds every zone that contains the name.
        let mut world = self.fake.world();
        for number in 0..250 {
            world.add_zone(&format!("z{number}.many.example"), "master");
        }
        world.add_zone("many.example", "master");
        Ok(name("_acme-challenge.many.example"))
    }

    fn with_wrong_credentials(&self) -> Result<Arc<dyn DnsProvider>, Cannot> {
        Ok(Arc::new(self.here(ClouDns::builder(AUTH_ID, "mistaken & p%ss+wörd"))))
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
        self.fake.world().refuse_changes = Some((200, failed("Something went wrong.")));
        Ok(())
    }

    fn recover(&self) {
        let mut world = self.fake.world();
        world.throttled = false;
        world.refuse_changes = None;
    }

    fn cannot_hold(&self, value: &str) -> Option<Cannot> {
        value.contains('"').then_some(Cannot("ClouDNS holds no double quotes"))
    }

    fn secrets(&self) -> Result<Vec<String>, Cannot> {
        let encoded = url::form_urlencoded::byte_serialize(PASSWORD.as_bytes()).collect();
        Ok(vec![PASSWORD.into(), encoded, "mistaken & p%ss+wörd".into()])
    }

    fn debug_of_builder(&self) -> String {
        format!("{:?}", builder())
    }
}

certlife_testkit::dns_conformance!(Fixture::new().await);

#[tokio::test]
async fn a_record_costs_two_requests_once_its_zone_is_known_and_its_removal_one() {
    let fx = Fixture::new().await;
    let dns = fx.dns();
    let added = dns.add(&record("a")).await.unwrap();
    assert_eq!(fx.requests().len(), 5, "three candidates for the zone, a look, and the record");
    dns.add(&record("b")).await.unwrap();
    assert_eq!(fx.requests(), ["records example.org", "add-record example.org"]);
    dns.remove(&added.handle).await.unwrap();
    assert_eq!(fx.requests(), ["delete-record example.org"]);
    dns.remove(&RecordHandle::unknown(record("b"))).await.unwrap();
    assert_eq!(fx.requests(), ["records example.org", "delete-record example.org"]);
    dns.distribution(&added.handle).await.unwrap();
    assert_eq!(fx.requests(), ["update-status example.org"]);
}

#[tokio::test]
async fn a_lost_answer_to_an_addition_is_uncertain_and_not_sent_again() {
    let fx = Fixture::new().await;
    let dns = fx.dns();
    dns.zone_of(&name(OWNER)).await.unwrap();
    fx.requests();
    fx.fake.world().lose_next_answer = true;
    let error = dns.add(&record("value")).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (&ErrorKind::Uncertain, Retry::Never));
    assert_eq!(fx.requests().len(), 2);
}

#[tokio::test]
async fn after_a_crash_between_the_addition_and_our_commit_exactly_our_value_is_removed() {
    let fx = Fixture::new().await;
    fx.fake.insert_txt(OWNER, "theirs");
    fx.fake.insert_txt("www.example.org", "ours");
    drop(fx.dns().add(&record("ours")).await.unwrap());
    fx.dns().remove(&RecordHandle::unknown(record("ours"))).await.unwrap();
    assert_eq!(fx.fake.txt_values(OWNER), ["theirs"]);
    assert_eq!(fx.fake.txt_values("www.example.org"), ["ours"]);
}

#[tokio::test]
async fn records_beside_ours_keep_all_that_they_have() {
    let fx = Fixture::new().await;
    fx.fake.insert_txt(OWNER, "theirs");
    fx.fake.insert_txt("www.example.org", "v=spf1 -all");
    let before = format!("{:?}", fx.fake.world().records);
    let added = fx.here(builder().ttl_seconds(300)).add(&record("ours")).await.unwrap();
    assert_eq!(fx.fake.world().records.last().unwrap().ttl, 300);
    fx.dns().remove(&added.handle).await.unwrap();
    assert_eq!(format!("{:?}", fx.fake.world().records), before);
}

#[tokio::test]
async fn somebody_quicker_with_the_same_value_is_noticed() {
    for (doubles, left) in [(false, 1), (true, 2)] {
        let fx = Fixture::new().await;
        {
            let mut world = fx.fake.world();
            world.rival = Some(world.record("TXT", OWNER, "value"));
            world.doubles = doubles;
        }
        let added = fx.dns().add(&record("value")).await.unwrap();
        assert_eq!((added.existed, fx.fake.txt_values(OWNER).len()), (!doubles, left));
        fx.dns().remove(&RecordHandle::unknown(record("value"))).await.unwrap();
        assert!(fx.fake.txt_values(OWNER).is_empty());
    }
}

#[tokio::test]
async fn somebody_quicker_with_an_alias_is_left_in_place() {
    let fx = Fixture::new().await;
    {
        let mut world = fx.fake.world();
        world.rival = Some(world.record("CNAME", OWNER, "elsewhere.example.net"));
    }
    let error = fx.dns().add(&record("value")).await.unwrap_err();
    assert!(error.to_string().contains("CNAME cannot be used together"), "{error}");
    assert!(fx.fake.txt_values(OWNER).is_empty());
}

#[tokio::test]
async fn numbers_and_truth_values_are_read_in_every_form() {
    let fx = Fixture::new().await;
    fx.fake.world().other_forms = true;
    let dns = fx.dns();
    let added = dns.add(&record("value")).await.unwrap();
    assert!(added.handle.vendor.is_null(), "the answer had no id");
    assert_eq!(dns.distribution(&added.handle).await.unwrap(), Distribution::Pending(ASK_AGAIN));
    dns.distribution(&added.handle).await.unwrap();
    assert_eq!(dns.distribution(&added.handle).await.unwrap(), Distribution::Complete);
    let again = dns.add(&record("value")).await.unwrap();
    assert!(again.existed && !again.handle.vendor.is_null());
    let apex = DnsRecord::txt(name("example.org"), "apex");
    dns.add(&apex).await.unwrap();
    assert!(dns.add(&apex).await.unwrap().existed);
    dns.remove(&RecordHandle::unknown(apex)).await.unwrap();
    dns.remove(&again.handle).await.unwrap();
    assert!(fx.fake.world().records.is_empty());
}

#[tokio::test]
async fn what_is_shown_in_another_notation_is_known() {
    let fx = Fixture::new().await;
    let (long, quoted) = ("x".repeat(300), crate::txt::quoted(&"x".repeat(300)));
    fx.fake.insert_txt(OWNER, &quoted);
    assert!(fx.dns().add(&record(&long)).await.unwrap().existed);
    fx.fake.world().insert("CNAME", "a.example.org", "Target.example.net.");
    let alias = DnsRecord::cname(name("a.example.org"), name("target.example.net"));
    assert!(fx.dns().add(&alias).await.unwrap().existed);
}

#[tokio::test]
async fn a_record_that_is_switched_off_is_not_there() {
    let fx = Fixture::new().await;
    fx.fake.insert_txt(OWNER, "value");
    {
        let mut world = fx.fake.world();
        world.records[0].active = false;
        world.doubles = true;
    }
    let added = fx.dns().add(&record("value")).await.unwrap();
    assert!(!added.existed);
    fx.dns().remove(&RecordHandle::unknown(record("value"))).await.unwrap();
    assert_eq!(fx.fake.txt_values(OWNER).len(), 1);
}

#[tokio::test]
async fn at_the_apex_every_page_of_records_is_read() {
    let fx = Fixture::new().await;
    for number in 0..250 {
        fx.fake.insert_txt(&format!("h{number}.example.org"), "value");
    }
    fx.fake.insert_txt("example.org", "value");
    let apex = DnsRecord::txt(name("example.org"), "value");
    assert!(fx.dns().add(&apex).await.unwrap().existed);
    fx.dns().remove(&RecordHandle::unknown(apex)).await.unwrap();
    assert_eq!(fx.fake.world().records.len(), 250);
}

#[tokio::test]
async fn zones_that_the_world_does_not_see_or_nobody_can_change_are_passed_over() {
    let fx = Fixture::new().await;
    for kind in ["slave", "parked"] {
        fx.fake.world().add_zone("www.example.org", kind);
        assert_eq!(fx.dns().zone_of(&name(OWNER)).await.unwrap().name, name("example.org"));
        fx.fake.world().zones.pop();
    }
    fx.fake.world().add_zone("www.example.org", "master").status = "0";
    assert_eq!(fx.dns().zone_of(&name(OWNER)).await.unwrap().name, name("example.org"));
}

#[tokio::test]
async fn the_records_of_a_cloud_domain_are_in_its_master() {
    for other_forms in [false, true] {
        let fx = Fixture::new().await;
        fx.fake.world().add_zone("example.com", "cloud").cloud_master = Some("example.org");
        fx.fake.world().other_forms = other_forms;
        let dns = fx.dns();
        let alias = DnsRecord::txt(name("_acme-challenge.example.com"), "value");
        assert_eq!(dns.zone_of(&alias.name).await.unwrap().name, name("example.com"));
        let added = dns.add(&alias).await.unwrap();
        assert_eq!(fx.fake.txt_values("_acme-challenge.example.org"), ["value"]);
        assert!(matches!(dns.distribution(&added.handle).await.unwrap(), Distribution::Pending(_)));
        dns.remove(&added.handle).await.unwrap();
        assert!(fx.fake.world().records.is_empty());
    }
}

#[tokio::test]
async fn a_remembered_zone_that_is_gone_is_looked_up_again() {
    let fx = Fixture::new().await;
    fx.fake.world().add_zone("www.example.org", "master");
    let dns = fx.dns();
    let first = dns.add(&record("a")).await.unwrap();
    fx.fake.world().zones.pop();
    dns.add(&record("b")).await.unwrap();
    let place = fx.fake.world().records.last().map(|made| (made.zone.clone(), made.host.clone()));
    assert_eq!(place.unwrap(), ("example.org".into(), "_acme-challenge.www".into()));
    // Its records went with it, so the removal is done.
    dns.remove(&first.handle).await.unwrap();
    fx.fake.world().zones.clear();
    let error = dns.remove(&first.handle).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::ZoneNotFound(name(OWNER)), "it may just be out of sight");
}

#[tokio::test]
async fn a_stated_zone_needs_no_search() {
    let fx = Fixture::new().await;
    let dns = fx.here(builder().zone("example.org"));
    dns.add(&record("value")).await.unwrap();
    assert_eq!(fx.requests(), ["records example.org", "add-record example.org"]);
    for other in ["a.example.net", "notexample.org"] {
        let error = dns.add(&DnsRecord::txt(name(other), "value")).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::ZoneNotFound(name(other)));
    }
    let summary = dns.probe().await.unwrap();
    assert_eq!((summary.details["zone"].as_str(), summary.warnings.len()), ("example.org", 0));

    fx.fake.world().zones.clear();
    assert_eq!(*dns.probe().await.unwrap_err().kind(), ErrorKind::ZoneNotFound(name("example.org")));
    fx.fake.world().add_zone("example.org", "slave").status = "0";
    assert_eq!(dns.probe().await.unwrap().warnings.len(), 2);
}

#[tokio::test]
async fn ids_in_a_handle_that_are_no_ids_are_not_used() {
    let fx = Fixture::new().await;
    let mut handle = fx.dns().add(&record("value")).await.unwrap().handle;
    handle.vendor = json!({ "zone": "example.org", "record": "1&domain-name=example.net" });
    fx.dns().remove(&handle).await.unwrap();
    assert!(fx.fake.txt_values(OWNER).is_empty());
}

#[tokio::test]
async fn all_three_kinds_of_user_can_be_tested() {
    let fx = Fixture::new().await;
    let summary = fx.dns().probe().await.unwrap();
    assert_eq!(summary.identity.unwrap().as_str(), "auth-id 1337");
    assert_eq!((summary.details["zones"].as_str(), summary.warnings.len()), ("2", 0));

    let by_id = fx.here(ClouDns::builder_with_sub_id(SUB_AUTH_ID, PASSWORD));
    let by_name = fx.here(ClouDns::builder_with_sub_user(SUB_AUTH_USER, PASSWORD));
    let summary = by_id.probe().await.unwrap();
    assert!(summary.warnings[0].as_str().contains("has to be given the zones"));
    let error = by_id.zone_of(&name(OWNER)).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::ZoneNotFound(name(OWNER)));

    fx.fake.world().zones[0].given = true;
    assert_eq!(by_name.probe().await.unwrap().details["zones"].as_str(), "1");
    by_name.add(&record("value")).await.unwrap();
    let mistaken = fx.here(ClouDns::builder_with_sub_user("nobody", PASSWORD));
    assert_eq!(*mistaken.probe().await.unwrap_err().kind(), ErrorKind::Unauthorized);
}

#[tokio::test]
async fn failures_have_their_meaning() {
    let fx = Fixture::new().await;
    for (status, words, expected) in [
        (200, "Invalid authentication, incorrect auth-id or auth-password.", "unauthorized"),
        (200, "Invalid authentication, incorrect sub-auth-id, sub-auth-user or ...", "unauthorized"),
        (200, "You don't have access to the HTTP API. Check your plan.", "not_eligible"),
        (200, "You don't have permission for this zone.", "forbidden"),
        (200, "Missing domain-name", "zone_not_found"),
        (200, "Invalid record-id param.", "not_found"),
        (200, "Invalid TTL. Choose from the list of the values we support.", "rejected"),
        (200, "You have reached the maximum number of records.", "quota_exceeded"),
        (200, "This record already exists.", "conflict"),
        (200, "Rate limit exceeded", "rate_limited"),
        (429, "", "rate_limited"),
        (503, "Maintenance", "uncertain"),
        (200, "", "rejected"),
    ] {
        fx.fake.world().refuse_changes = Some((status, failed(words)));
        let error = fx.dns().add(&record("value")).await.unwrap_err();
        assert_eq!(error.kind().code(), expected, "{words}: {}", error.chain());
        assert!(!error.chain().contains("invented"), "{}", error.chain());
    }
    fx.fake.world().refuse_changes = Some((200, json!({ "status": "Perhaps" })));
    let error = fx.dns().add(&record("value")).await.unwrap_err();
    assert_eq!((error.kind().code(), error.retry()), ("protocol", Retry::Never));
}

#[tokio::test]
async fn the_vendors_words_are_kept_and_the_password_in_them_is_not() {
    let fx = Fixture::new().await;
    let words = format!("No luck with {PASSWORD} today");
    fx.fake.world().refuse_changes = Some((200, failed(&words)));
    let error = fx.dns().add(&record("value")).await.unwrap_err();
    assert!(error.to_string().contains("No luck with [REDACTED] today"), "{error}");
    assert!(!format!("{error:?}").contains(PASSWORD));
}

#[tokio::test]
async fn values_that_would_be_changed_are_refused_before_anything_is_sent() {
    let fx = Fixture::new().await;
    for value in ["", "a\"b", "a`b", "blank ", " blank"] {
        let error = fx.dns().add(&record(value)).await.unwrap_err();
        assert_eq!((error.kind().code(), error.retry()), ("bad_value", Retry::Never), "{value:?}");
    }
    assert!(fx.requests().is_empty());
}

#[test]
fn settings_that_cannot_work_are_named() {
    for (settings, setting) in [
        (json!({}), "auth_id"),
        (json!({ "auth_id": "1337" }), "auth_password"),
        (json!({ "auth_id": "1337", "auth_password": "" }), "auth_password"),
        (json!({ "auth_id": "1337", "auth_password": "p\n" }), "auth_password"),
        (json!({ "auth_id": "me@example.org", "auth_password": "p" }), "auth_id"),
        (json!({ "auth_id": "1", "sub_auth_id": "2", "auth_password": "p" }), "auth_id"),
        (json!({ "auth_id": "1", "sub_auth_user": "u", "auth_password": "p" }), "auth_id"),
        (json!({ "sub_auth_id": "2", "sub_auth_user": "u", "auth_password": "p" }), "sub_auth_id"),
        (json!({ "sub_auth_id": "u", "auth_password": "p" }), "sub_auth_id"),
        (json!({ "sub_auth_user": " ", "auth_password": "p" }), "sub_auth_user"),
        (json!({ "auth_id": "1", "auth_password": "p", "zone": "a b" }), "zone"),
        (json!({ "auth_id": "1", "auth_password": "p", "ttl": 120 }), "ttl"),
        (json!({ "auth_id": "1", "auth_password": "p", "base_url": "http://api.example" }), "base_url"),
    ] {
        let parsed: Settings = serde_json::from_value(settings.clone()).unwrap();
        let message = ClouDns::from_settings(parsed, clock()).unwrap_err().to_string();
        assert!(message.starts_with(&format!("setting `{setting}`")), "{settings}: {message}");
    }
    assert!(serde_json::from_value::<Settings>(json!({ "id": "1337" })).is_err());
    let settings: Settings =
        serde_json::from_value(json!({ "auth_id": " 1337 ", "auth_password": "hunter2" })).unwrap();
    assert!(!format!("{settings:?}").contains("hunter2"));
    ClouDns::from_settings(settings, clock()).unwrap();
    let schema = serde_json::to_value(schemars::schema_for!(Settings)).unwrap();
    assert!(schema["properties"]["auth_password"].to_string().contains("writeOnly"), "{schema:#}");
}
