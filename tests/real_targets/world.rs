//! An engine over SQLite and a private CA, on a clock that runs ahead so that nobody waits for real.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use certlife_ca::private::Private;
use certlife_core::{
    Clock as _, Engine, Fingerprint, LocalKeyRing, SecretBytes, SystemClock,
    engine::{CaOptions, OnDrift, TargetOptions},
    model::{CertificateSpec, Deployment, EventKind},
};
use certlife_store::Sqlite;
use certlife_testkit::clock::ManualClock;

use crate::server::{CERTIFICATE, NAME, Server};

pub(crate) struct World {
    pub(crate) engine: Engine,
    clock: ManualClock,
    pub(crate) servers: BTreeMap<&'static str, Server>,
    _directory: tempfile::TempDir,
}

impl World {
    pub(crate) async fn with(servers: BTreeMap<&'static str, Server>, on_drift: OnDrift) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Sqlite::builder(directory.path().join("certlife.db")).open().unwrap();
        let ring = LocalKeyRing::from_key(SecretBytes::new(vec![7; 32])).unwrap();
        let clock = ManualClock::starting_at(SystemClock::default().now());
        let mut builder = Engine::builder(Arc::new(store), Arc::new(ring))
            .clock(Arc::new(clock.clone()))
            .linger(Duration::ZERO);
        let house = Private::builder(builder.vault("house".parse().unwrap())).clock(Arc::new(clock.clone()));
        builder =
            builder.ca("house".parse().unwrap(), Arc::new(house.build().unwrap()), CaOptions::default());
        for (name, server) in &servers {
            let options = TargetOptions::default().on_drift(on_drift).patience(Duration::from_mins(10));
            let options = server.endpoints().into_iter().fold(options, TargetOptions::endpoint);
            builder = builder.target(name.parse().unwrap(), server.deployer(), options);
        }
        let engine = builder.build().await.unwrap();
        Self { engine, clock, servers, _directory: directory }
    }

    /// Lets the engine work until nothing is due within `horizon`. Its clock moves on at once where it waits; the
    /// servers, whose time is real, get more of it the longer the engine is ready to wait for them.
    pub(crate) async fn work(&self, horizon: Duration) {
        let end = self.clock.now() + horizon;
        for _ in 0..2_000 {
            let Some(next) = self.engine.pass().await.unwrap().next.filter(|next| *next <= end) else {
                return;
            };
            let wait = next.since(self.clock.now());
            self.clock.advance_to(next);
            tokio::time::sleep((wait / 10).clamp(Duration::from_millis(20), Duration::from_millis(400)))
                .await;
        }
        panic!("the engine does not come to rest");
    }

    pub(crate) async fn deployment(&self, target: &str) -> Deployment {
        let all = self.engine.deployments(&CERTIFICATE.parse().unwrap()).await.unwrap();
        all.into_iter().find(|deployment| deployment.target.as_str() == target).unwrap()
    }

    /// The leaf of the current version.
    pub(crate) async fn current(&self) -> Fingerprint {
        let certificate = self.engine.certificate(&CERTIFICATE.parse().unwrap()).await.unwrap();
        self.engine.version(certificate.current.unwrap()).await.unwrap().chain.fingerprint()
    }

    pub(crate) async fn told(&self, kind: impl Fn(&EventKind) -> bool) -> usize {
        let events = self.engine.events_after(0, 1_000).await.unwrap();
        events.iter().filter(|event| kind(&event.occurrence.kind)).count()
    }

    /// A wish for all servers of this world.
    pub(crate) fn wish(&self) -> CertificateSpec {
        let wish = CertificateSpec::new(CERTIFICATE.parse().unwrap(), "house".parse().unwrap())
            .identifiers([NAME.parse().unwrap()]);
        self.servers.keys().fold(wish, |wish, name| wish.deploy(name.parse().unwrap()))
    }
}
