mod account;
mod classic;
mod token;

use certlife_testkit::{
    clock::LeapClock,
    dns::{Cannot, Change, DnsFixture},
};
use serde_json::{Value, json};

use super::{
    fake::{FakeGoDaddy, KEY, SECRET, TOKEN},
    *,
};

/// The account by one of its two credentials.
struct Fixture {
    fake: FakeGoDaddy,
    with_token: bool,
}

impl Fixture {
    async fn new(with_token: bool) -> Self {
        Self { fake: FakeGoDaddy::start(&["example.org", "sub.example.org"]).await, with_token }
    }

    async fn classic() -> Self {
        Self::new(false).await
    }

    async fn token() -> Self {
        Self::new(true).await
    }

    fn with_secret(&self, secret: &str, token: &str) -> GoDaddyBuilder {
        let builder =
            if self.with_token { GoDaddy::builder_with_token(token) } else { GoDaddy::builder(KEY, secret) };
        builder.base_url(self.fake.base_url()).clock(Arc::new(LeapClock::default()))
    }

    fn builder(&self) -> GoDaddyBuilder {
        self.with_secret(SECRET, TOKEN)
    }

    fn dns(&self) -> GoDaddy {
        self.builder().build().unwrap()
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.fake.world().requests)
    }

    /// How many of the requests since the last time had this method.
    fn count(&self, method: &str) -> usize {
        self.requests().iter().filter(|request| request.starts_with(method)).count()
    }

    /// Value and time to live of what is at the name of [`record`].
    fn records(&self) -> Vec<(String, u32)> {
        let world = self.fake.world();
        world.records.iter().map(|record| (record.data.clone(), record.ttl)).collect()
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
        for number in 0..1_200 {
            self.fake.world().add_zone(&format!("zone-{number:04}.example"), "ACTIVE");
        }
        Ok(name("_acme-challenge.zone-1199.example"))
    }

    fn with_wrong_credentials(&self) -> Result<Arc<dyn DnsProvider>, Cannot> {
        let wrong = |secret: &str| secret.replace("invented", "mistaken");
        Ok(Arc::new(self.with_secret(&wrong(SECRET), &wrong(TOKEN)).build().unwrap()))
    }

    fn throttle(&self, retry_after: Option<Duration>) -> Result<(), Cannot> {
        let mut world = self.fake.world();
        world.throttled = true;
        world.retry_after_seconds = retry_after.map(|wait| wait.as_secs());
        Ok(())
    }

    fn lose_next_answer(&self) -> Result<(), Cannot> {
        self.fake.world().lose_next_answer = true;
        Ok(())
    }

    fn intrude(&self, change: Change, name: &Fqdn, value: &str) -> Result<(), Cannot> {
        match (self.with_token, change) {
            (true, _) => Err(Cannot("each value is a record of its own, and no change touches another one")),
            (false, Change::Addition) => {
                self.fake.world().intruders.push_back((name.to_string(), value.into()));
                Ok(())
            }
            (false, Change::Removal) => Err(Cannot(
                "a set is replaced by what is to stay, and GoDaddy has no means to notice that it changed meanwhile",
            )),
        }
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
        Ok(vec![KEY.into(), SECRET.into(), TOKEN.into()])
    }

    fn debug_of_builder(&self) -> String {
        format!("{:?}", self.builder())
    }
}
