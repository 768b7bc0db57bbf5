//! An engine over SQLite, Pebble and BIND, on a clock that runs ahead so that nobody waits for real.

use std::{sync::Arc, time::Duration};

use certlife_ca::acme::{Acme, ExternalAccount};
use certlife_core::{
    Clock, Engine, Identifier, KeyRing, LocalKeyRing, Lookup, SecretBytes, Store, SystemClock, Timestamp,
    engine::{CaOptions, DnsOptions, TargetOptions},
    http,
    lookup::Visibility,
    model::{CertificateSpec, Order, Route},
};
use certlife_deploy::{Local, Rustls};
use certlife_dns::rfc2136::Rfc2136;
use certlife_store::Sqlite;
use certlife_testkit::{
    clock::ManualClock,
    servers::{Pebble, Servers},
    work,
};

pub(crate) const DAY: Duration = Duration::from_hours(24);

pub(crate) struct World {
    pub(crate) servers: Servers,
    pub(crate) clock: ManualClock,
    pub(crate) store: Sqlite,
    pub(crate) ring: Arc<dyn KeyRing>,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) rustls: Rustls,
}

impl World {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Sqlite::builder(directory.path().join("certlife.db")).open().unwrap();
        let ring = LocalKeyRing::from_key(SecretBytes::new(vec![7; 32])).unwrap();
        Self {
            servers: Servers::from_env(),
            clock: ManualClock::starting_at(SystemClock::default().now()),
            store,
            ring: Arc::new(ring),
            directory,
            rustls: Rustls::new(),
        }
    }

    /// An engine with the CA at `directory`, DNS at BIND in `zone`, and targets `web` (files) and `tls` (rustls).
    pub(crate) async fn engine_at(&self, pebble: &Pebble, directory_url: &str, zone: &str) -> Engine {
        let bind = &self.servers.bind;
        let store: Arc<dyn Store> = Arc::new(self.store.clone());
        let lookup = Lookup::builder().resolvers([bind.address]).build().unwrap();
        let builder = Engine::builder(store, self.ring.clone())
            .clock(Arc::new(self.clock.clone()))
            .lookup(Arc::new(lookup))
            .linger(Duration::ZERO);
        let mut settings = http::Settings::default();
        settings.roots = Some(pebble.tls_roots_pem());
        settings.only_roots = true;
        let mut acme = Acme::builder(directory_url, builder.vault("pebble".parse().unwrap()))
            .terms_agreed(true)
            .clock(Arc::new(self.clock.clone()))
            .http(settings);
        if let Some(account) = pebble.external_accounts.first() {
            acme = acme.external_account(ExternalAccount {
                key_id: account.key_id.clone(),
                hmac_key: account.hmac_key.as_str().into(),
            });
        }
        let key = bind.key("hmac-sha256");
        let dns = Rfc2136::builder(bind.address.to_string(), key.name.clone(), key.secret.as_str())
            .zone(zone)
            .build()
            .unwrap();
        let visibility = DnsOptions::default().visibility(Visibility::Servers(vec![bind.address]));
        let local = Local::builder(self.directory.path().join("live")).build().unwrap();
        builder
            .ca("pebble".parse().unwrap(), Arc::new(acme.build().unwrap()), CaOptions::default())
            .dns("bind".parse().unwrap(), Arc::new(dns), visibility)
            .target("web".parse().unwrap(), Arc::new(local), TargetOptions::default())
            .target("tls".parse().unwrap(), Arc::new(self.rustls.clone()), TargetOptions::default())
            .build()
            .await
            .unwrap()
    }

    pub(crate) async fn engine(&self, pebble: &Pebble, zone: &str) -> Engine {
        self.engine_at(pebble, &pebble.directory_url, zone).await
    }

    /// Lets the engine work until nothing is due within `horizon`.
    pub(crate) async fn work(&self, engine: &Engine, horizon: Duration) {
        work::among_servers(engine, &self.clock, horizon).await;
    }

    pub(crate) fn live_file(&self, certificate: &str, name: &str) -> Option<String> {
        let path = self.directory.path().join("live").join(certificate).join("live").join(name);
        std::fs::read_to_string(path).ok()
    }
}

pub(crate) fn spec(name: &str, identifiers: impl IntoIterator<Item = String>) -> CertificateSpec {
    let identifiers = identifiers.into_iter().map(|identifier| identifier.parse::<Identifier>().unwrap());
    CertificateSpec::new(name.parse().unwrap(), "pebble".parse().unwrap())
        .identifiers(identifiers)
        .validate(Route::Dns("bind".parse().unwrap()))
}

pub(crate) async fn last_order(engine: &Engine, name: &str) -> Order {
    engine.orders(&name.parse().unwrap(), None).await.unwrap().items.remove(0)
}

/// The present moment in the CA's eyes.
pub(crate) fn real_now() -> Timestamp {
    SystemClock::default().now()
}
