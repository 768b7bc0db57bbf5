//! All DNS vendors at once, through the engine: one certificate for names that are spread over them, and a crash at
//! each of them between its change and our commit.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod vendors;

use std::{sync::Arc, time::Duration};

use certlife_ca::acme::Acme;
use certlife_core::{
    AccountSummary, Clock as _, DnsProvider, Engine, EngineBuilder, Fqdn, LocalKeyRing, ProviderName, Result,
    SecretBytes, SystemClock, async_trait,
    challenge::ChallengeKind,
    dns::{Added, Distribution, DnsCapabilities, DnsRecord, RecordHandle, Zone},
    engine::{CaOptions, DnsOptions},
    http,
    lookup::Visibility,
    model::{CertificateSpec, DomainMapping, Order, OrderState, Route, RouteReason},
    store::MemoryStore,
};
use certlife_testkit::{
    ca::MemoryCa,
    clock::ManualClock,
    crash::{CrashPlan, Crashing},
    servers::{ChallTestSrv, Pebble, Servers},
    work,
};

use self::vendors::{Books, Vendor};

/// What stands at every challenge name before anything is done, and has to stand there afterwards.
const OF_OTHERS: &str = "a value of somebody else";

/// Tells the server that Pebble asks what the vendor holds, after each change.
struct Mirrored {
    provider: Arc<dyn DnsProvider>,
    books: Arc<dyn Books>,
    resolver: ChallTestSrv,
}

impl Mirrored {
    async fn show(&self, name: &Fqdn) {
        self.resolver.clear_txt(&format!("{name}.")).await;
        for value in self.books.values(name.as_str()).await {
            self.resolver.add_txt(&format!("{name}."), &value).await;
        }
    }
}

impl std::fmt::Debug for Mirrored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.provider.fmt(f)
    }
}

#[async_trait]
impl DnsProvider for Mirrored {
    fn provider(&self) -> ProviderName {
        self.provider.provider()
    }

    fn capabilities(&self) -> DnsCapabilities {
        self.provider.capabilities()
    }

    async fn probe(&self) -> Result<AccountSummary> {
        self.provider.probe().await
    }

    async fn zone_of(&self, name: &Fqdn) -> Result<Zone> {
        self.provider.zone_of(name).await
    }

    async fn add(&self, record: &DnsRecord) -> Result<Added> {
        let added = self.provider.add(record).await?;
        self.show(&record.name).await;
        Ok(added)
    }

    async fn remove(&self, handle: &RecordHandle) -> Result<()> {
        self.provider.remove(handle).await?;
        self.show(&handle.record.name).await;
        Ok(())
    }

    async fn distribution(&self, handle: &RecordHandle) -> Result<Distribution> {
        self.provider.distribution(handle).await
    }
}

fn builder(store: &Arc<MemoryStore>, clock: &ManualClock) -> EngineBuilder {
    let ring = LocalKeyRing::from_key(SecretBytes::new(vec![7; 32])).unwrap();
    Engine::builder(store.clone(), Arc::new(ring)).clock(Arc::new(clock.clone())).linger(Duration::ZERO)
}

/// The fakes have no name servers to look at.
fn unseen() -> DnsOptions {
    DnsOptions::default().visibility(Visibility::None).follow_cnames(false)
}

/// Lets the engine work until nothing is due within an hour.
async fn work(engine: &Engine, clock: &ManualClock) {
    work::among_servers(engine, clock, Duration::from_hours(1)).await;
}

async fn only_order(engine: &Engine) -> Order {
    let mut orders = engine.orders(&"many".parse().unwrap(), None).await.unwrap().items;
    assert_eq!(orders.len(), 1, "{orders:#?}");
    orders.remove(0)
}

fn acme(builder: &EngineBuilder, pebble: &Pebble, clock: &ManualClock) -> Acme {
    let mut settings = http::Settings::default();
    settings.roots = Some(pebble.tls_roots_pem());
    settings.only_roots = true;
    Acme::builder(pebble.directory_url.clone(), builder.vault("pebble".parse().unwrap()))
        .terms_agreed(true)
        .clock(Arc::new(clock.clone()))
        .http(settings)
        .build()
        .unwrap()
}

#[tokio::test]
async fn ten_names_at_seven_vendors_share_a_certificate() {
    let servers = Servers::from_env();
    let (store, clock) =
        (Arc::new(MemoryStore::new()), ManualClock::starting_at(SystemClock::default().now()));
    let vendors = vendors::all(&clock, &servers.bind, &servers.bind.spare_zones[5]).await;
    let pebble = &servers.pebble.mock_dns;
    let start = builder(&store, &clock);
    let acme = acme(&start, pebble, &clock);
    let mut builder = start.ca("pebble".parse().unwrap(), Arc::new(acme), CaOptions::default());
    let mut mappings = Vec::new();
    for vendor in &vendors {
        vendor.books.insert(&vendor.challenge_name(), OF_OTHERS).await;
        let mirrored = Mirrored {
            provider: vendor.provider.clone(),
            books: vendor.books.clone(),
            resolver: servers.pebble.challenge_server.clone(),
        };
        builder = builder.dns(vendor.account.parse().unwrap(), Arc::new(mirrored), unseen());
        let route = Route::Dns(vendor.account.parse().unwrap());
        mappings.push(DomainMapping::new(vendor.zone.parse().unwrap()).route(route));
    }
    let engine = builder.build().await.unwrap();
    engine.set_mappings(&mappings).await.unwrap();

    let mut names: Vec<String> = vendors.iter().map(|vendor| vendor.zone.clone()).collect();
    names.extend(["*.route53.test", "www.azure.test"].map(str::to_owned));
    assert_eq!(names.len(), 10);
    let spec = CertificateSpec::new("many".parse().unwrap(), "pebble".parse().unwrap())
        .identifiers(names.iter().map(|name| name.parse().unwrap()));
    engine.ensure(spec).await.unwrap();
    work(&engine, &clock).await;

    let order = only_order(&engine).await;
    assert_eq!(order.state, OrderState::Issued, "{order:#?}");
    let version = engine.version(order.version.unwrap()).await.unwrap();
    assert_eq!(version.info.identifiers.len(), 10);
    for publication in &order.publications {
        let RouteReason::DomainMapping(domain) = &publication.because else { panic!("{publication:#?}") };
        let vendor = vendors.iter().find(|vendor| vendor.zone == domain.as_str()).unwrap();
        assert_eq!(publication.route, Route::Dns(vendor.account.parse().unwrap()));
    }
    for vendor in &vendors {
        assert_eq!(vendor.books.values(&vendor.challenge_name()).await, [OF_OTHERS], "{}", vendor.account);
    }
    for name in ["_acme-challenge.www.azure.test", "_acme-challenge.www.route53.test"] {
        for vendor in &vendors {
            assert!(vendor.books.values(name).await.is_empty(), "{name} at {}", vendor.account);
        }
    }
}

#[tokio::test]
async fn a_crash_after_the_vendor_s_change_leaves_nothing_behind() {
    let servers = Servers::from_env();
    let clock = ManualClock::starting_at(SystemClock::default().now());
    for vendor in vendors::all(&clock, &servers.bind, &servers.bind.spare_zones[6]).await {
        for cancelled in [false, true] {
            crash(&vendor, &clock, cancelled).await;
        }
    }
}

/// Stops the engine for good when the vendor has made its change and nobody has heard of it, and lets another one go on.
async fn crash(vendor: &Vendor, clock: &ManualClock, cancelled: bool) {
    let (store, name) = (Arc::new(MemoryStore::new()), vendor.challenge_name());
    if vendor.books.values(&name).await.is_empty() {
        vendor.books.insert(&name, OF_OTHERS).await;
    }
    // It issues once it is told that the record is there.
    let ca = MemoryCa::builder(Arc::new(clock.clone())).challenges([ChallengeKind::DnsTxt]).build();
    let engine = async |plan: &Arc<CrashPlan>| {
        let dns: Arc<dyn DnsProvider> = vendor.provider.clone();
        builder(&store, clock)
            .ca("ca".parse().unwrap(), Arc::new(ca.clone()), CaOptions::default())
            .dns("dns".parse().unwrap(), Crashing::new(dns, plan), unseen())
            .build()
            .await
            .unwrap()
    };
    let spec = CertificateSpec::new("many".parse().unwrap(), "ca".parse().unwrap())
        .identifiers([vendor.zone.parse().unwrap()])
        .validate(Route::Dns("dns".parse().unwrap()));

    // The first point is before the change, the second behind it.
    let plan = CrashPlan::freeze_at(2);
    let crashing = engine(&plan).await;
    crashing.ensure(spec).await.unwrap();
    tokio::select! {
        () = plan.crashed() => {}
        () = work(&crashing, clock) => panic!("{}: the engine did not come to the second point", vendor.account),
    }
    drop(crashing);
    assert_eq!(vendor.books.values(&name).await.len(), 2, "{}: the change was made", vendor.account);

    clock.advance(Duration::from_mins(2));
    let engine = engine(&CrashPlan::never()).await;
    if cancelled {
        engine.cancel(only_order(&engine).await.id).await.unwrap();
    }
    work(&engine, clock).await;
    let order = only_order(&engine).await;
    let expected = if cancelled { OrderState::Cancelled } else { OrderState::Issued };
    assert!(order.state == expected && order.is_closed(), "{}: {order:#?}", vendor.account);
    assert_eq!(vendor.books.values(&name).await, [OF_OTHERS], "{}", vendor.account);
}
