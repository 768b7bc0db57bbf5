mod account;

use certlife_testkit::{
    clock::LeapClock,
    dns::{Cannot, Change, DnsFixture},
};
use serde_json::{Value, json};

use super::{
    fake::{CLIENT, FakeAzure, FakeZone, GROUP, SECRET, SUBSCRIPTION, TENANT, TOKEN_LASTS},
    *,
};

struct Fixture {
    fake: FakeAzure,
    clock: LeapClock,
}

impl Fixture {
    async fn new() -> Self {
        let clock = LeapClock::default();
        let time = clock.clone();
        let now = move || time.now().unix_seconds();
        Self { fake: FakeAzure::start(&["example.org", "sub.example.org"], now).await, clock }
    }

    fn set_up(&self, builder: AzureBuilder) -> AzureBuilder {
        let builder = builder.base_url(self.fake.base_url()).token_url(self.fake.token_url());
        builder.clock(Arc::new(self.clock.clone()))
    }

    fn with_secret(&self, secret: &str) -> AzureBuilder {
        self.set_up(AzureDns::builder(SUBSCRIPTION, TENANT, CLIENT, secret))
    }

    fn builder(&self) -> AzureBuilder {
        self.with_secret(SECRET)
    }

    fn dns(&self) -> AzureDns {
        self.builder().build().unwrap()
    }

    /// The requests since the last time, without the common part of their paths.
    fn requests(&self) -> Vec<String> {
        let all = std::mem::take(&mut self.fake.world().requests);
        let zones = format!(
            "/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Network/dnsZones"
        );
        all.iter().map(|request| request.replace(&zones, "")).collect()
    }

    fn add_zone(&self, group: &str, name: &str, kind: &'static str) {
        self.fake.world().zones.push(FakeZone { group: group.into(), name: name.into(), kind });
    }
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
        self.fake.cname(name.as_str()).map(|target| target.parse().unwrap())
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
        for number in 0..250 {
            self.add_zone(GROUP, &format!("zone-{number}.example"), "Public");
        }
        Ok(name("_acme-challenge.zone-249.example"))
    }

    fn with_wrong_credentials(&self) -> Result<Arc<dyn DnsProvider>, Cannot> {
        Ok(Arc::new(self.with_secret("q8~AnotherOne+/=1").build().unwrap()))
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

    fn intrude(&self, _: Change, _: &Fqdn, value: &str) -> Result<(), Cannot> {
        self.fake.world().intruders.push_back(value.into());
        Ok(())
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
        let encoded = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
        Ok(vec![SECRET.into(), encoded, "eyJ0eXAi.invented".into()])
    }

    fn debug_of_builder(&self) -> String {
        format!("{:?}", self.builder())
    }
}

certlife_testkit::dns_conformance!(Fixture::new().await);

#[tokio::test]
async fn a_change_costs_a_question_and_a_write_once_token_and_zones_are_known() {
    let fx = Fixture::new().await;
    let dns = fx.dns();
    let first = dns.add(&record("a")).await.unwrap();
    let set = "/example.org/TXT/_acme-challenge.www";
    let (read, write) = (&*format!("GET {set}"), &*format!("PUT {set}"));
    let zones = format!("GET /subscriptions/{SUBSCRIPTION}/providers/Microsoft.Network/dnszones");
    let token = format!("POST /{TENANT}/oauth2/v2.0/token");
    assert_eq!(fx.requests(), [&*token, &*zones, read, write]);
    let second = dns.add(&record("b")).await.unwrap();
    dns.remove(&first.handle).await.unwrap();
    assert_eq!(fx.requests(), [read, write, read, write]);
    dns.remove(&second.handle).await.unwrap();
    assert_eq!(fx.requests(), [read, &*format!("DELETE {set}")]);
    assert!(dns.add(&DnsRecord::txt(name("other.example.org"), "a")).await.is_ok());
    assert_eq!(fx.requests().len(), 2, "no name of a known zone costs more");
}

#[tokio::test]
async fn a_set_keeps_its_time_to_live_its_metadata_and_the_strings_of_others() {
    let fx = Fixture::new().await;
    fx.fake.insert(OWNER, "theirs");
    let key = fx.fake.world().key(OWNER, "txt").unwrap();
    {
        let mut world = fx.fake.world();
        let set = world.sets.get_mut(&key).unwrap();
        set.metadata.insert("owner".into(), "mail".into());
        set.texts.push(vec!["cut ".into(), "in two".into()]);
    }
    let dns = fx.dns();
    assert!(dns.add(&record("cut in two")).await.unwrap().existed);
    let added = dns.add(&record("ours")).await.unwrap();
    let texts = || fx.fake.world().sets[&key].texts.clone();
    assert_eq!(texts(), [vec!["theirs"], vec!["cut ", "in two"], vec!["ours"]]);
    dns.remove(&added.handle).await.unwrap();
    assert_eq!(texts(), [vec!["theirs"], vec!["cut ", "in two"]]);
    let set = fx.fake.world().sets[&key].clone();
    assert_eq!((set.ttl, set.metadata["owner"].as_str()), (3_600, Some("mail")));
}

#[tokio::test]
async fn new_sets_have_the_stated_time_to_live() {
    for (builder, ttl) in [(None, 60), (Some(300), 300)] {
        let fx = Fixture::new().await;
        let dns = builder.map_or(fx.builder(), |ttl| fx.builder().ttl_seconds(ttl)).build().unwrap();
        dns.add(&record("value")).await.unwrap();
        assert_eq!(fx.fake.world().sets.values().next().unwrap().ttl, ttl);
    }
}

#[tokio::test]
async fn each_change_by_others_costs_a_question_and_a_write_more() {
    let fx = Fixture::new().await;
    fx.fake.world().intruders.extend(["x".into(), "y".into()]);
    fx.dns().add(&record("ours")).await.unwrap();
    assert_eq!(fx.fake.txt_values(OWNER), ["x", "y", "ours"]);
    assert_eq!(fx.requests().len(), 2 + 3 * 2);
}

#[tokio::test]
async fn a_set_that_others_change_all_the_time_is_given_up_for_now() {
    let fx = Fixture::new().await;
    fx.fake.world().intruders.extend((0..100).map(|number| number.to_string()));
    let error = fx.dns().add(&record("ours")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict(_)), "{}", error.chain());
    assert_eq!(error.retry(), Retry::Backoff);
    assert_eq!(fx.requests().len(), 2 + 2 * ATTEMPTS as usize);
}

#[tokio::test]
async fn the_tag_may_be_in_the_header_alone_and_without_one_nothing_is_written() {
    let fx = Fixture::new().await;
    fx.fake.insert(OWNER, "theirs");
    fx.fake.world().tag_in_header_only = true;
    fx.dns().add(&record("ours")).await.unwrap();
    assert_eq!(fx.fake.txt_values(OWNER), ["theirs", "ours"]);
    fx.requests();
    for etag in ["", "*"] {
        fx.fake.world().sets.values_mut().for_each(|set| set.etag = etag.into());
        let error = fx.dns().add(&record("more")).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{}", error.chain());
    }
    assert!(!fx.requests().iter().any(|request| request.starts_with("PUT")));
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
    fx.dns().remove(&RecordHandle::unknown(record("value"))).await.unwrap();
    assert!(fx.fake.txt_values(OWNER).is_empty());
}

#[tokio::test]
async fn a_crash_after_the_write_leaves_what_the_next_start_removes() {
    let fx = Fixture::new().await;
    fx.fake.insert(OWNER, "theirs");
    drop(fx.dns().add(&record("ours")).await.unwrap());
    fx.dns().remove(&RecordHandle::unknown(record("ours"))).await.unwrap();
    assert_eq!(fx.fake.txt_values(OWNER), ["theirs"]);
}

#[tokio::test]
async fn names_are_relative_and_the_apex_is_an_at_sign() {
    let fx = Fixture::new().await;
    let dns = fx.dns();
    for (text, relative) in [("example.org", "@"), ("a.b.example.org", "a.b"), ("sub.example.org", "@")] {
        let record = DnsRecord::txt(name(text), "value");
        let added = dns.add(&record).await.unwrap();
        assert_eq!(fx.fake.world().sets.keys().next().unwrap()[3], relative, "{text}");
        dns.remove(&added.handle).await.unwrap();
        assert!(fx.fake.world().sets.is_empty());
    }
}

#[tokio::test]
async fn long_values_are_cut_between_characters() {
    let fx = Fixture::new().await;
    let value = format!("a{}", "ä".repeat(200));
    fx.dns().add(&record(&value)).await.unwrap();
    let sets = fx.fake.world().sets.clone();
    let texts = &sets.values().next().unwrap().texts;
    assert_eq!(texts[0].iter().map(String::len).collect::<Vec<_>>(), [255, 146]);
}

#[tokio::test]
async fn a_full_set_is_told_as_a_limit() {
    let fx = Fixture::new().await;
    for number in 0..20 {
        fx.fake.insert(OWNER, &number.to_string());
    }
    let error = fx.dns().add(&record("one more")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::QuotaExceeded(_)), "{}", error.chain());
    assert!(error.to_string().contains("21 records"), "{error}");
    let error = fx.dns().add(&DnsRecord::txt(name("example.org"), "x".repeat(4_097))).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::QuotaExceeded(_)), "{}", error.chain());
}

#[tokio::test]
async fn private_zones_are_passed_over() {
    let fx = Fixture::new().await;
    fx.add_zone(GROUP, "www.example.org", "Private");
    assert_eq!(fx.dns().zone_of(&name(OWNER)).await.unwrap().name, name("example.org"));
    let error = fx.builder().zone(GROUP, "www.example.org").build().unwrap().probe().await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::ZoneNotFound(name("www.example.org")));
}

#[tokio::test]
async fn a_zone_has_its_id_and_name_servers() {
    let fx = Fixture::new().await;
    let zone = fx.dns().zone_of(&name(OWNER)).await.unwrap();
    assert!(
        zone.id.ends_with("/resourceGroups/dns-rg/providers/Microsoft.Network/dnsZones/example.org"),
        "{}",
        zone.id
    );
    assert_eq!(zone.name_servers, [name("ns1-07.azure-dns.com"), name("ns2-07.azure-dns.net")]);
}

#[tokio::test]
async fn of_namesakes_in_two_groups_the_stated_group_has_the_right_one() {
    let fx = Fixture::new().await;
    fx.add_zone("Other(group).1", "example.org", "Public");
    let error = fx.dns().add(&record("value")).await.unwrap_err();
    assert!(error.to_string().contains("state `resource_group`"), "{error}");
    let dns = fx.builder().resource_group("other(GROUP).1").build().unwrap();
    dns.add(&record("value")).await.unwrap();
    assert_eq!(fx.fake.world().sets.keys().next().unwrap()[0], "other(group).1");
    let error = dns.add(&DnsRecord::txt(name("sub.example.com"), "value")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ZoneNotFound(_)));
}

#[tokio::test]
async fn a_stated_zone_needs_no_search() {
    let fx = Fixture::new().await;
    fx.fake.world().denied.push("Microsoft.Network/dnsZones/read".into());
    let dns = fx.builder().zone(GROUP, "example.org").build().unwrap();
    dns.add(&record("value")).await.unwrap();
    assert_eq!(fx.requests().len(), 3, "the token, the question and the write");
    let error = dns.add(&DnsRecord::txt(name("a.example.net"), "value")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::ZoneNotFound(name("a.example.net")));
}

#[tokio::test]
async fn zones_that_are_gone_are_looked_up_again_and_then_told() {
    let fx = Fixture::new().await;
    let dns = fx.dns();
    dns.add(&record("a")).await.unwrap();
    fx.fake.world().zones[0].group = "moved".into();
    dns.add(&record("b")).await.unwrap();
    assert!(fx.fake.world().sets.keys().any(|key| key[0] == "moved"));
    fx.fake.world().zones.clear();
    let error = dns.add(&record("c")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::ZoneNotFound(name(OWNER)), "{}", error.chain());
    let stated = fx.builder().zone(GROUP, "example.org").build().unwrap();
    let error = stated.remove(&RecordHandle::unknown(record("c"))).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::ZoneNotFound(name(OWNER)), "{}", error.chain());
    assert!(error.chain().contains("zone example.org in resource group dns-rg"), "{}", error.chain());
}

#[tokio::test]
async fn the_list_of_zones_is_remembered_for_five_minutes() {
    let fx = Fixture::new().await;
    let dns = fx.dns();
    for (wait, expected) in [(0, 2), (299, 0), (2, 1)] {
        fx.clock.advance(Duration::from_secs(wait));
        dns.zone_of(&name("any.example.org")).await.unwrap();
        assert_eq!(fx.requests().len(), expected);
    }
}

#[tokio::test]
async fn pages_lead_nowhere_else() {
    let fx = Fixture::new().await;
    fx.fake.world().zones_a_page = 1;
    assert_eq!(fx.dns().zone_of(&name("a.sub.example.org")).await.unwrap().name, name("sub.example.org"));
    for link in
        ["https://management.azure.com.example.net/", "nowhere", "http://127.0.0.1:9/", "file:///etc/passwd"]
    {
        fx.fake.world().next_link = Some(link.into());
        let error = fx.dns().zone_of(&name("a.sub.example.org")).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{link}: {}", error.chain());
    }
}

#[tokio::test]
async fn zones_whose_ids_are_none_are_not_used() {
    let fx = Fixture::new().await;
    let dns = fx.dns();
    for group in ["..", "a/b", "a b", "", "x."] {
        fx.fake.world().zones[0].group = group.into();
        dns.zones.forget().await;
        let error = dns.zone_of(&name(OWNER)).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ZoneNotFound(_)), "{group}: {}", error.chain());
    }
}
