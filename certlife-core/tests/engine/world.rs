//! A small world: a CA, DNS, a target, a store and a clock, all in memory, and engines over them.

use std::{sync::Arc, time::Duration};

use certlife_core::{
    CertificateAuthority, CertificateId, Deployer, DnsProvider, Engine, EngineBuilder, KeyRing, LocalKeyRing,
    SecretBytes, Store, Timestamp,
    challenge::{ChallengeKind, ChallengeResponse},
    engine::{CaOptions, DnsOptions, TargetOptions},
    model::{Certificate, CertificateSpec, Event, Order, Route},
    store::MemoryStore,
};
use certlife_testkit::{
    ca::{MemoryCa, MemoryCaBuilder},
    clock::ManualClock,
    crash::{CrashPlan, Crashing},
    deploy::MemoryTarget,
    dns::{MemoryAccount, MemoryDns},
    work,
};

pub(crate) const DAY: Duration = Duration::from_hours(24);

pub(crate) struct World {
    pub(crate) clock: ManualClock,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) ring: Arc<dyn KeyRing>,
    pub(crate) ca: MemoryCa,
    pub(crate) dns: MemoryDns,
    pub(crate) account: MemoryAccount,
    pub(crate) target: MemoryTarget,
}

impl World {
    /// A CA that asks for DNS or HTTP proofs and really looks, a DNS account with `example.com`, one target.
    pub(crate) fn new() -> Self {
        Self::with_ca(|ca| ca)
    }

    pub(crate) fn with_ca(change: impl FnOnce(MemoryCaBuilder) -> MemoryCaBuilder) -> Self {
        let clock = ManualClock::default();
        let dns = MemoryDns::with_clock(Arc::new(clock.clone()));
        dns.add_zone("example.com");
        let account = dns.account(&["example.com"]);
        let target = MemoryTarget::with_clock(Arc::new(clock.clone()));
        let (seen, files) = (dns.clone(), target.clone());
        let ca = MemoryCa::builder(Arc::new(clock.clone()))
            .challenges([ChallengeKind::DnsTxt, ChallengeKind::Http])
            .validator(move |_, response| look(&seen, &files, response))
            .validity(90 * DAY);
        let ca = change(ca).build();
        let ring = LocalKeyRing::from_key(SecretBytes::new(vec![7; 32])).unwrap();
        Self { clock, store: Arc::new(MemoryStore::new()), ring: Arc::new(ring), ca, dns, account, target }
    }

    pub(crate) fn builder(&self, plan: &Arc<CrashPlan>) -> EngineBuilder {
        let store: Arc<dyn Store> = self.store.clone();
        let ca: Arc<dyn CertificateAuthority> = Arc::new(self.ca.clone());
        let dns: Arc<dyn DnsProvider> = Arc::new(self.account.reopened());
        let target: Arc<dyn Deployer> = Arc::new(self.target.clone());
        Engine::builder(Crashing::new(store, plan), self.ring.clone())
            .clock(Arc::new(self.clock.clone()))
            .lookup(Arc::new(self.dns.clone()))
            .seed(1)
            .linger(Duration::ZERO)
            .ca("ca".parse().unwrap(), Crashing::new(ca, plan), CaOptions::default())
            .dns("dns".parse().unwrap(), Crashing::new(dns, plan), DnsOptions::default())
            .target("web".parse().unwrap(), Crashing::new(target, plan), TargetOptions::default())
    }

    pub(crate) async fn engine(&self) -> Engine {
        self.builder(&CrashPlan::never()).build().await.unwrap()
    }

    /// Lets the engine work for as long as something is due within `horizon`.
    pub(crate) async fn work(&self, engine: &Engine, horizon: Duration) {
        work::within(engine, &self.clock, horizon).await;
    }

    pub(crate) fn records_in_dns(&self) -> usize {
        self.dns.all_records().len()
    }
}

/// What the CA sees when it looks.
fn look(dns: &MemoryDns, target: &MemoryTarget, response: &ChallengeResponse) -> Result<(), String> {
    let found = match response {
        ChallengeResponse::DnsTxt { name, value } => {
            let name = dns.cname(name).unwrap_or_else(|| name.clone());
            dns.txt_values(&name).contains(value)
        }
        ChallengeResponse::DnsCname { name, target } => dns.cname(name).as_ref() == Some(target),
        ChallengeResponse::Http(file) => {
            target.http(&file.host, &file.path).as_deref() == Some(file.body.as_str())
        }
        ChallengeResponse::TlsAlpn(alpn) => target.tls_alpn(&alpn.identifier) == Some(alpn.digest),
        _ => false,
    };
    if found { Ok(()) } else { Err("the response is not there".to_owned()) }
}

pub(crate) fn id(text: &str) -> CertificateId {
    text.parse().unwrap()
}

pub(crate) fn spec(name: &str, identifiers: &[&str]) -> CertificateSpec {
    CertificateSpec::new(id(name), "ca".parse().unwrap())
        .identifiers(identifiers.iter().map(|identifier| identifier.parse().unwrap()))
        .validate(Route::Dns("dns".parse().unwrap()))
        .deploy("web".parse().unwrap())
}

pub(crate) async fn certificate(engine: &Engine, name: &str) -> Certificate {
    engine.certificate(&id(name)).await.unwrap()
}

pub(crate) async fn only_order(engine: &Engine, name: &str) -> Order {
    let orders = engine.orders(&id(name), None).await.unwrap().items;
    assert_eq!(orders.len(), 1, "{orders:#?}");
    orders.into_iter().next().unwrap()
}

pub(crate) async fn events(engine: &Engine) -> Vec<Event> {
    engine.events_after(0, 1_000).await.unwrap()
}

pub(crate) fn moment(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}
