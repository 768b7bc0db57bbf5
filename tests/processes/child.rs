//! The process that is killed: an engine on embedded defaults, run from this same test binary.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::Arc,
    time::Duration,
};

use certlife_ca::private::{Private, Settings, Validation};
use certlife_core::{
    AccountName, CertificateAuthority, Clock as _, Deployer, Engine, KeyRing, LocalKeyRing, SecretBytes,
    Store, SystemClock,
    engine::{CaOptions, TargetOptions},
    model::{CertificateSpec, DeploymentState, Route},
};
use certlife_deploy::Local;
use certlife_store::Sqlite;
use certlife_testkit::crash::{CrashPlan, Crashing};

/// What the parent tells the child, as `directory|address of the web server|point`.
const ORDERS: &str = "CERTLIFE_TEST_CHILD";

/// Everything in one directory: database, certificates, web root.
pub(crate) struct Home(pub(crate) PathBuf);

impl Home {
    pub(crate) fn store(&self) -> Sqlite {
        Sqlite::builder(self.0.join("certlife.db")).open().unwrap()
    }

    pub(crate) fn web_root(&self) -> PathBuf {
        self.0.join("www")
    }

    pub(crate) fn live(&self) -> PathBuf {
        self.0.join("tls")
    }

    pub(crate) fn ca(store: &Sqlite, web_server: SocketAddr) -> Private {
        let store: Arc<dyn Store> = Arc::new(store.clone());
        let vault = certlife_core::Vault::new(store, certlife_core::Sealer::new(ring()), name("ca"));
        Private::builder(vault)
            .settings(Settings::default())
            .validation(Validation::Http)
            .resolve(move |_| Some(web_server))
            .build()
            .unwrap()
    }

    pub(crate) async fn engine(&self, web_server: SocketAddr, plan: &Arc<CrashPlan>) -> Engine {
        let sqlite = self.store();
        let ca: Arc<dyn CertificateAuthority> = Arc::new(Self::ca(&sqlite, web_server));
        let local: Arc<dyn Deployer> =
            Arc::new(Local::builder(self.live()).web_root(self.web_root()).build().unwrap());
        let store: Arc<dyn Store> = Arc::new(sqlite);
        Engine::builder(Crashing::new(store, plan), ring())
            .lease(Duration::from_secs(1))
            .ca(name("ca"), Crashing::new(ca, plan), CaOptions::default())
            .target(name("web"), Crashing::new(local, plan), TargetOptions::default())
            .build()
            .await
            .unwrap()
    }
}

pub(crate) fn ring() -> Arc<dyn KeyRing> {
    Arc::new(LocalKeyRing::from_key(SecretBytes::new(vec![5; 32])).unwrap())
}

pub(crate) fn name(text: &str) -> AccountName {
    text.parse().unwrap()
}

pub(crate) fn wish() -> CertificateSpec {
    CertificateSpec::new("www".parse().unwrap(), name("ca"))
        .identifiers(["www.internal.example".parse().unwrap()])
        .validate(Route::Http(name("web")))
        .deploy(name("web"))
}

/// Runs the child and waits for its end.
pub(crate) fn run(home: &Path, web_server: SocketAddr, kill_at: Option<usize>) -> ExitStatus {
    let point = kill_at.map_or_else(String::new, |point| point.to_string());
    Command::new(std::env::current_exe().unwrap())
        .args(["child::the_child", "--exact", "--ignored", "--quiet"])
        .env(ORDERS, format!("{}|{web_server}|{point}", home.display()))
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap()
}

#[tokio::test]
#[ignore = "the tests of this file start it as a process of its own"]
#[expect(clippy::disallowed_methods, reason = "this is how a parent process speaks to its child")]
async fn the_child() {
    let orders = std::env::var(ORDERS).unwrap();
    let mut orders = orders.split('|');
    let home = Home(orders.next().unwrap().into());
    let web_server: SocketAddr = orders.next().unwrap().parse().unwrap();
    let plan = match orders.next().unwrap() {
        "" => CrashPlan::never(),
        point => CrashPlan::kill_at(point.parse().unwrap()),
    };
    let engine = home.engine(web_server, &plan).await;
    engine.ensure(wish()).await.unwrap();
    let end = SystemClock::default().now() + Duration::from_secs(30);
    let done = async {
        loop {
            let deployments = engine.deployments(&"www".parse().unwrap()).await.unwrap();
            let live = deployments.iter().any(|deployment| deployment.state == DeploymentState::Live);
            if live && engine.open_orders(None).await.unwrap().items.is_empty() {
                return;
            }
            let late = SystemClock::default().now() > end;
            assert!(
                !late,
                "it takes too long: {:#?}",
                engine.explain(&"www".parse().unwrap()).await.unwrap()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    engine.run(done).await.unwrap();
}
