//! Hubs over one store, agents that really connect, and targets behind them.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use certlife_core::{
    AccountName, CertificateId, Clock, Deployer, KeyRing, LocalKeyRing, Sealer, Secret, SecretBytes, Store,
    SystemClock, Vault, deploy::Bundle, store::MemoryStore,
};
use certlife_testkit::deploy::{Issuer, MemoryTarget};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use url::Url;

use super::super::{AgentHub, AgentTarget, AgentWorker, AgentWorkerBuilder, record::AgentRecord};

pub(super) const DAY: Duration = Duration::from_hours(24);
/// How long a test waits for something that has to happen.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What survives a restart of the host.
#[derive(Debug)]
pub(super) struct World {
    pub(super) store: Arc<MemoryStore>,
    ring: Arc<dyn KeyRing>,
    pub(super) root: TempDir,
}

/// A task that ends with the test.
#[derive(Debug)]
pub(super) struct Running<T = ()>(pub(super) JoinHandle<T>);

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T: Send> Running<T> {
    /// Ends it as a crash does, and waits until nothing of it is left.
    pub(super) async fn end(mut self) {
        self.0.abort();
        assert!((&mut self.0).await.is_err_and(|ended| ended.is_cancelled()));
    }
}

impl World {
    pub(super) fn new() -> Self {
        let ring = LocalKeyRing::from_key(SecretBytes::new(vec![7; 32])).unwrap();
        Self { store: Arc::new(MemoryStore::new()), ring: Arc::new(ring), root: tempfile::tempdir().unwrap() }
    }

    pub(super) fn vault(&self) -> Vault {
        self.vault_over(self.store.clone())
    }

    fn vault_over(&self, store: Arc<dyn Store>) -> Vault {
        Vault::new(store, Sealer::new(Arc::clone(&self.ring)), name("agents"))
    }

    /// The hub as a host has it that has just started.
    pub(super) async fn hub(&self) -> AgentHub {
        self.hub_with(Arc::new(SystemClock::default()), PATIENCE).await
    }

    pub(super) async fn hub_with(&self, clock: Arc<dyn Clock>, patience: Duration) -> AgentHub {
        let hub = AgentHub::builder(self.vault()).clock(clock).patience(patience);
        hub.look_every(Duration::from_millis(20)).open().await.unwrap()
    }

    /// The hub of a host that reaches the store in another way.
    pub(super) async fn hub_over(&self, store: Arc<dyn Store>) -> AgentHub {
        let hub = AgentHub::builder(self.vault_over(store)).patience(PATIENCE);
        hub.look_every(Duration::from_millis(20)).open().await.unwrap()
    }

    /// Whether all work that was ever asked of the agent is done and reported.
    pub(super) async fn is_idle(&self, agent: &str) -> bool {
        let entry = self.vault().read(&format!("agent/{agent}")).await.unwrap().unwrap();
        let record = AgentRecord::read(&entry.secret).unwrap();
        record.open(&BTreeSet::new(), SystemClock::default().now()).is_empty()
    }

    pub(super) fn home(&self, agent: &str) -> std::path::PathBuf {
        self.root.path().join(agent)
    }

    /// An agent that has an invitation in its token file.
    pub(super) async fn invited(&self, hub: &AgentHub, url: &Url, agent: &str) -> AgentWorkerBuilder {
        let token = hub.invite(&name(agent), DAY).await.unwrap();
        std::fs::write(self.token_file(agent), token.expose()).unwrap();
        self.agent(url, agent)
    }

    pub(super) fn agent(&self, url: &Url, agent: &str) -> AgentWorkerBuilder {
        AgentWorker::builder(url.clone(), name(agent), self.home(agent)).token_file(self.token_file(agent))
    }

    pub(super) fn token_file(&self, agent: &str) -> std::path::PathBuf {
        self.root.path().join(format!("{agent}.token"))
    }
}

/// Serves agents on loopback; returns where.
pub(super) async fn serve(hub: &AgentHub) -> (Url, Running) {
    serve_at(hub, "127.0.0.1:0").await
}

pub(super) async fn serve_at(hub: &AgentHub, address: &str) -> (Url, Running) {
    let names = ["localhost".parse().unwrap(), "127.0.0.1".parse().unwrap()];
    let listener = hub.listen(address.parse().unwrap(), names).await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap()).parse().unwrap();
    (url, Running(tokio::spawn(listener.serve(std::future::pending()))))
}

pub(super) fn run(agent: AgentWorkerBuilder) -> Running {
    let agent = agent.build().unwrap();
    Running(tokio::spawn(async move { agent.run(std::future::pending()).await.unwrap() }))
}

/// The target of a block, once the agent has told what it can do.
pub(super) async fn connected(hub: &AgentHub, agent: &str, block: &str) -> AgentTarget {
    let target = hub.target(&name(agent), &name(block)).await.unwrap();
    until("the agent tells of its blocks", async || {
        hub.status(&name(agent)).await.unwrap().is_some_and(|status| status.blocks.contains_key(&name(block)))
    })
    .await;
    target
}

/// Looks until it is so; a test that waits in vain fails.
#[expect(clippy::future_not_send, reason = "each test has a thread of its own")]
pub(super) async fn until(what: &str, so: impl AsyncFn() -> bool) {
    let looking = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let ended = tokio::time::timeout(PATIENCE, looking).await;
    assert!(ended.is_ok(), "it takes too long until {what}");
}

pub(super) fn memory() -> (MemoryTarget, Arc<dyn Deployer>) {
    let target = MemoryTarget::new();
    (target.clone(), Arc::new(target))
}

pub(super) fn name(text: &str) -> AccountName {
    text.parse().unwrap()
}

pub(super) fn www() -> CertificateId {
    "www".parse().unwrap()
}

pub(super) fn bundle(issuer: &Issuer) -> Bundle {
    issuer.bundle(&www(), &["www.example.org".parse().unwrap()])
}

/// Everything that lies in the files below a directory, as text.
pub(super) fn text_below(directory: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            text.push_str(&text_below(&entry.path()));
        } else {
            text.push_str(&String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap_or_default()));
        }
    }
    text
}

/// A line in the middle of a PEM text: what a leak would show.
pub(super) fn heart(pem: &Secret) -> String {
    pem.expose().lines().nth(1).unwrap().to_owned()
}
