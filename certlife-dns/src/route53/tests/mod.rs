mod account;
mod changes;

use certlife_testkit::{
    clock::LeapClock,
    dns::{Cannot, Change, DnsFixture},
};

use super::{
    fake::{EXTERNAL_ID, FakeRoute53, FakeSet, KEY_ID, ROLE, SECRET},
    *,
};
use crate::txt::{self, Escape};

struct Fixture {
    fake: FakeRoute53,
    clock: Arc<LeapClock>,
}

impl Fixture {
    async fn new() -> Self {
        let clock = Arc::new(LeapClock::default());
        let time = clock.clone();
        let seconds = Arc::new(move || time.now().unix_seconds());
        Self { fake: FakeRoute53::start(&["example.org", "sub.example.org"], seconds).await, clock }
    }

    fn with_secret(&self, secret: &str) -> Route53Builder {
        let url = self.fake.base_url();
        Route53::builder(KEY_ID, secret).base_url(url.clone()).sts_url(url).clock(self.clock.clone())
    }

    fn builder(&self) -> Route53Builder {
        self.with_secret(SECRET)
    }

    fn dns(&self) -> Route53 {
        self.builder().build().unwrap()
    }

    fn with_role(&self) -> Route53Builder {
        self.builder().role_arn(ROLE).external_id(EXTERNAL_ID)
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.fake.world().requests)
    }

    fn values(&self, name: &Fqdn) -> Vec<String> {
        let values = self.fake.world().values("TXT", name.as_str());
        values.iter().map(|value| txt::unquoted_as(Escape::Octal, value)).collect()
    }

    /// Makes the set at the name of [`record`] one that is not plain.
    fn insert_set(&self, before: &str, behind: &str, values: &[&str]) -> FakeSet {
        let mut world = self.fake.world();
        let set = FakeSet {
            zone: world.zones[0].id.clone(),
            name: format!("{}.", record("").name),
            kind: "TXT".into(),
            ttl: 300,
            values: values.iter().map(|value| format!("\"{value}\"")).collect(),
            extra: (before.into(), behind.into()),
        };
        world.sets.push(set.clone());
        set
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
        self.values(name)
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
        for number in 0..120 {
            world.add_zone("many.example", true);
            world.add_zone(&format!("n{number}.many.example"), false);
        }
        world.add_zone("z.many.example", false);
        Ok(name("_acme-challenge.z.many.example"))
    }

    fn with_wrong_credentials(&self) -> Result<Arc<dyn DnsProvider>, Cannot> {
        Ok(Arc::new(self.with_secret(&SECRET.replace("INVENTED", "MISTAKEN")).build().unwrap()))
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

    fn intrude(&self, _: Change, name: &Fqdn, value: &str) -> Result<(), Cannot> {
        self.fake.world().meddling.push((name.to_string(), format!("\"{value}\"")));
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
        Ok(vec![SECRET.into()])
    }

    fn debug_of_builder(&self) -> String {
        format!("{:?}", self.builder().session_token(SECRET))
    }
}

certlife_testkit::dns_conformance!(Fixture::new().await);
