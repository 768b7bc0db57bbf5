//! The DNS vendors, each over the fake that its own tests run on, and RFC 2136 over BIND.
#![allow(dead_code, reason = "the vendors' own tests use all of the fakes")]

use std::sync::Arc;

use certlife_core::{Clock, DnsProvider, async_trait};
use certlife_dns::{
    azure::AzureDns, cloudflare::Cloudflare, cloudns::ClouDns, dnsmadeeasy::DnsMadeEasy, godaddy::GoDaddy,
    rfc2136::Rfc2136, route53::Route53,
};
use certlife_testkit::{
    clock::{LeapClock, ManualClock},
    servers::Bind,
};

#[path = "../../certlife-dns/src/azure/fake.rs"]
mod azure;
#[path = "../../certlife-dns/src/cloudflare/fake.rs"]
mod cloudflare;
#[path = "../../certlife-dns/src/cloudns/fake.rs"]
mod cloudns;
#[path = "../../certlife-dns/src/dnsmadeeasy/fake.rs"]
mod dnsmadeeasy;
#[path = "../../certlife-dns/src/godaddy/fake.rs"]
mod godaddy;
#[path = "../../certlife-dns/src/route53/fake.rs"]
mod route53;

/// What a vendor holds, seen past the provider.
#[async_trait]
pub(crate) trait Books: Send + Sync {
    async fn values(&self, name: &str) -> Vec<String>;

    async fn insert(&self, name: &str, value: &str);
}

/// One account at one vendor, and the zone that it holds.
pub(crate) struct Vendor {
    pub(crate) account: &'static str,
    pub(crate) zone: String,
    pub(crate) provider: Arc<dyn DnsProvider>,
    pub(crate) books: Arc<dyn Books>,
}

impl Vendor {
    fn new(
        account: &'static str,
        zone: &str,
        provider: impl DnsProvider,
        books: impl Books + 'static,
    ) -> Self {
        Self { account, zone: zone.into(), provider: Arc::new(provider), books: Arc::new(books) }
    }

    pub(crate) fn challenge_name(&self) -> String {
        format!("_acme-challenge.{}", self.zone)
    }
}

/// Every vendor once, and two accounts at Cloudflare. BIND holds `bind_zone`.
pub(crate) async fn all(clock: &ManualClock, bind: &Bind, bind_zone: &str) -> Vec<Vendor> {
    vec![
        azure(clock, "azure.test").await,
        cloudflare(clock, "cloudflare-one", "cloudflare-one.test").await,
        cloudflare(clock, "cloudflare-two", "cloudflare-two.test").await,
        cloudns(clock, "cloudns.test").await,
        dnsmadeeasy(clock, "dnsmadeeasy.test").await,
        godaddy(clock, "godaddy.test").await,
        rfc2136(bind, bind_zone),
        route53(clock, "route53.test").await,
    ]
}

/// Vendors who wait, for their own limits or for a change to show, take the engine's clock along.
fn leaping(clock: &ManualClock) -> Arc<dyn Clock> {
    Arc::new(LeapClock::from(clock.clone()))
}

fn seconds(clock: &ManualClock) -> impl Fn() -> i64 + Send + Sync + 'static {
    let clock = clock.clone();
    move || clock.now().unix_seconds()
}

/// Declares how the books of a fake are read.
macro_rules! books {
    ($fake:ty, |$this:ident, $name:ident| $values:expr, |$value:ident| $insert:expr) => {
        #[async_trait]
        impl Books for $fake {
            async fn values(&self, $name: &str) -> Vec<String> {
                let $this = self;
                $values
            }

            async fn insert(&self, $name: &str, $value: &str) {
                let $this = self;
                $insert;
            }
        }
    };
}

books!(azure::FakeAzure, |fake, name| fake.txt_values(name), |value| fake.insert(name, value));
books!(godaddy::FakeGoDaddy, |fake, name| fake.txt_values(name), |value| fake.insert(name, value));
books!(dnsmadeeasy::FakeDnsMadeEasy, |fake, name| fake.world().values("TXT", name), |value| fake
    .world()
    .insert("TXT", name, value));
books!(cloudns::FakeClouDns, |fake, name| fake.txt_values(name), |value| fake.insert_txt(name, value));
books!(cloudflare::FakeCloudflare, |fake, name| unquoted(&fake.world().contents("TXT", name)), |value| {
    let zone = name.trim_start_matches("_acme-challenge.");
    fake.world().insert(zone, "TXT", name, &format!("\"{value}\""))
});
books!(route53::FakeRoute53, |fake, name| unquoted(&fake.world().values("TXT", name)), |value| fake
    .world()
    .insert("TXT", name, &format!("\"{value}\"")));

/// The values of these tests need no escapes.
fn unquoted(values: &[String]) -> Vec<String> {
    values.iter().map(|value| value.trim_matches('"').to_owned()).collect()
}

async fn azure(clock: &ManualClock, zone: &str) -> Vendor {
    let fake = azure::FakeAzure::start(&[zone], seconds(clock)).await;
    let builder = AzureDns::builder(azure::SUBSCRIPTION, azure::TENANT, azure::CLIENT, azure::SECRET);
    let builder = builder.base_url(fake.base_url()).token_url(fake.token_url());
    Vendor::new("azure", zone, builder.clock(leaping(clock)).build().unwrap(), fake)
}

async fn cloudflare(clock: &ManualClock, account: &'static str, zone: &str) -> Vendor {
    let fake = cloudflare::FakeCloudflare::start(&[zone]).await;
    let builder = Cloudflare::builder(cloudflare::TOKEN).base_url(fake.base_url());
    Vendor::new(account, zone, builder.clock(leaping(clock)).build().unwrap(), fake)
}

async fn cloudns(clock: &ManualClock, zone: &str) -> Vendor {
    let fake = cloudns::FakeClouDns::start(&[zone]).await;
    let builder = ClouDns::builder(cloudns::AUTH_ID, cloudns::PASSWORD);
    let builder = builder.base_url(fake.base_url().parse().unwrap());
    Vendor::new("cloudns", zone, builder.clock(leaping(clock)).build().unwrap(), fake)
}

async fn dnsmadeeasy(clock: &ManualClock, zone: &str) -> Vendor {
    let fake = dnsmadeeasy::FakeDnsMadeEasy::start(&[zone], Arc::new(seconds(clock))).await;
    let builder =
        DnsMadeEasy::builder(dnsmadeeasy::API_KEY, dnsmadeeasy::SECRET_KEY).base_url(fake.base_url());
    Vendor::new("dnsmadeeasy", zone, builder.clock(leaping(clock)).build().unwrap(), fake)
}

async fn godaddy(clock: &ManualClock, zone: &str) -> Vendor {
    let fake = godaddy::FakeGoDaddy::start(&[zone]).await;
    let builder = GoDaddy::builder(godaddy::KEY, godaddy::SECRET).base_url(fake.base_url());
    Vendor::new("godaddy", zone, builder.clock(leaping(clock)).build().unwrap(), fake)
}

async fn route53(clock: &ManualClock, zone: &str) -> Vendor {
    let fake = route53::FakeRoute53::start(&[zone], Arc::new(seconds(clock))).await;
    let url = fake.base_url();
    let builder = Route53::builder(route53::KEY_ID, route53::SECRET).base_url(url.clone()).sts_url(url);
    Vendor::new("route53", zone, builder.clock(leaping(clock)).build().unwrap(), fake)
}

struct BindBooks(Bind, String);

#[async_trait]
impl Books for BindBooks {
    async fn values(&self, name: &str) -> Vec<String> {
        self.0.txt_values(name).await
    }

    async fn insert(&self, name: &str, value: &str) {
        let command = format!("update add {name} 60 TXT \"{value}\"");
        self.0.update(self.0.key("hmac-sha256"), &self.1, &[&command]).await.unwrap();
    }
}

fn rfc2136(bind: &Bind, zone: &str) -> Vendor {
    let key = bind.key("hmac-sha256");
    let builder = Rfc2136::builder(bind.address.to_string(), key.name.clone(), key.secret.as_str());
    let provider = builder.zone(zone).build().unwrap();
    Vendor::new("rfc2136", zone, provider, BindBooks(bind.clone(), zone.to_owned()))
}
