//! The promises of a deployer, kept by hub and agent together: over TLS on loopback, and through two hosts, of which the
//! agent is connected to one. Either side is made to die at each of its steps.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use certlife_core::{CertificateId, Deployer, ErrorKind, Identifier, challenge::HttpPath, deploy::Bundle};
use certlife_testkit::{
    crash::{CrashPlan, Crashing},
    deploy::{DeployFixture, MemoryFixture, MemoryTarget, Seen},
    dns::Cannot,
};
use rustls_pki_types::CertificateDer;

use super::{
    super::AgentTarget,
    dying::{Brisk, Dying, Mortal, Network, Road, ServiceManager},
    world::{Running, World, connected, heart, memory, name, serve},
};

/// A target in memory behind an agent, which two hosts know.
struct Remote {
    target: MemoryFixture,
    hosts: [AgentTarget; 2],
    broken: AgentTarget,
    asked: AtomicUsize,
    secrets: Vec<String>,
    described: String,
    network: Arc<Network>,
    _running: [Running; 2],
}

impl Remote {
    async fn start(mortal: Mortal) -> Self {
        let world = World::new();
        let (near, far) = (world.hub().await, world.hub().await);
        let (home, server) = serve(&near).await;
        let (road, url, way) = Road::open(&home).await;
        let (target, deployer) = memory();
        let broken = MemoryTarget::new();
        broken.fail_next(usize::MAX, ErrorKind::Unreachable);
        let invited = world.invited(&near, &url, "web1").await;
        let token = std::fs::read_to_string(world.token_file("web1")).unwrap();
        let described = format!("{:?} {near:?}", invited.block(name("files"), Arc::clone(&deployer)));
        let agent = world.agent(&url, "web1").clock(Arc::new(Brisk::default()));
        let agent = agent.block(name("broken"), Arc::new(broken));
        let manager = ServiceManager::start(road.clone(), move |plan| {
            let block = plan.map_or_else(
                || Arc::clone(&deployer),
                |plan| Crashing::new(Arc::clone(&deployer), plan) as Arc<dyn Deployer>,
            );
            agent.clone().block(name("files"), block)
        });
        let hosts = [connected(&near, "web1", "files").await, connected(&far, "web1", "files").await];
        let stored = world.vault().read("authority").await.unwrap().unwrap().secret;
        let stored: serde_json::Value = serde_json::from_slice(stored.expose()).unwrap();
        let key = heart(&stored["key"].as_str().unwrap().into());
        Self {
            target: MemoryFixture::with(target),
            broken: connected(&near, "web1", "broken").await,
            asked: AtomicUsize::new(0),
            secrets: vec![token, key],
            described,
            network: Network::new((mortal, world, home), (road, manager), Arc::new(hosts[1].clone())),
            hosts,
            _running: [server, way],
        }
    }
}

impl DeployFixture for Remote {
    fn deployer(&self) -> Arc<dyn Deployer> {
        Arc::new(self.hosts[self.asked.fetch_add(1, Ordering::Relaxed) % 2].clone())
    }

    async fn seen(&self, certificate: &CertificateId, host: &Identifier) -> Option<Seen> {
        self.network.settle().await;
        self.target.seen(certificate, host).await
    }

    async fn tamper(&self, bundle: &Bundle) {
        self.target.tamper(bundle).await;
    }

    async fn http(&self, host: &Identifier, path: &HttpPath) -> Option<String> {
        self.target.http(host, path).await
    }

    async fn tls_alpn(&self, identifier: &Identifier) -> Option<CertificateDer<'static>> {
        self.target.tls_alpn(identifier).await
    }

    async fn exposed_keys(&self) -> Result<Vec<String>, Cannot> {
        Err(Cannot("the target behind the agent is in memory; what the agent keeps is tested beside this"))
    }

    fn with_broken_target(&self) -> Result<Arc<dyn Deployer>, Cannot> {
        Ok(Arc::new(self.broken.clone()))
    }

    fn crashing(&self, plan: &Arc<CrashPlan>) -> Result<Arc<dyn Deployer>, Cannot> {
        Ok(Dying::new(&self.network, plan))
    }

    async fn remains(&self) -> Result<Vec<String>, Cannot> {
        self.target.remains().await
    }

    fn secrets(&self) -> Result<Vec<String>, Cannot> {
        Ok(self.secrets.clone())
    }

    fn debug_of_builder(&self) -> String {
        self.described.clone()
    }
}

mod promises {
    use super::*;

    certlife_testkit::deployer_conformance!(Remote::start(Mortal::Host).await);
}

mod promises_where_the_agent_dies {
    use super::*;

    certlife_testkit::deploy_promises! { @crashes Remote::start(Mortal::Agent).await }
}
