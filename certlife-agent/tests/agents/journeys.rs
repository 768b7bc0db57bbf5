//! What the processes go through.

use std::time::Duration;

use certlife_core::{
    CertificateId, Engine, VersionId,
    model::{CertificateSpec, DeploymentState},
};
use certlife_deploy::AgentHub;

use crate::{
    network::Network,
    processes::{Home, Process, name},
};

/// How long something may take that has to happen.
const PATIENCE: Duration = Duration::from_mins(2);

struct Fleet {
    home: Home,
    engine: Engine,
    hub: AgentHub,
    /// One to each agent.
    networks: [Network; 2],
    host: Option<Process>,
    agents: [Option<Process>; 2],
    _directory: tempfile::TempDir,
}

const AGENTS: [&str; 2] = ["web1", "web2"];

impl Fleet {
    /// A host and two agents, which are invited and know nothing yet.
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let home = Home(directory.path().to_owned());
        let hub = home.hub().await;
        for agent in AGENTS {
            std::fs::create_dir(home.agent(agent)).unwrap();
            let token = hub.invite(&name(agent), Duration::from_hours(1)).await.unwrap();
            std::fs::write(home.agent(agent).join("token"), token.expose()).unwrap();
        }
        let engine = home.engine(&hub).await;
        let networks = [Network::new(home.port_file()).await, Network::new(home.port_file()).await];
        let host = Some(home.start_host());
        let agents = [0, 1].map(|n| Some(home.start_agent(AGENTS[n], networks[n].address)));
        Self { home, engine, hub, networks, host, agents, _directory: directory }
    }

    fn restart_agent(&mut self, number: usize) {
        let started = self.home.start_agent(AGENTS[number], self.networks[number].address);
        self.agents[number] = Some(started);
    }

    async fn want(&self) {
        let wish = CertificateSpec::new(www(), name("ca"))
            .identifiers(["www.internal.example".parse().unwrap()])
            .deploy(name("web1"))
            .deploy(name("web2"));
        self.engine.ensure(wish).await.unwrap();
    }

    #[expect(clippy::future_not_send, reason = "each test waits in its own thread")]
    async fn until(&self, what: &str, so: impl AsyncFn() -> bool) {
        let looking = async {
            while !so().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, looking).await.is_err() {
            let explanation = self.engine.explain(&www()).await;
            panic!("it takes too long until {what}: {explanation:#?}\n{}", self.home.logs());
        }
    }

    /// The version that this agent is known to have.
    async fn confirmed(&self, agent: &str) -> Option<VersionId> {
        let deployments = self.engine.deployments(&www()).await.unwrap();
        let deployment = deployments.iter().find(|deployment| deployment.target.as_str() == agent)?;
        deployment.actual.filter(|_| deployment.state == DeploymentState::Live)
    }

    /// Waits until these agents have the newest of so many versions, as files, with their key.
    async fn until_live(&self, agents: &[&str], versions: usize) -> VersionId {
        let known = async || self.engine.versions(&www(), None).await.unwrap().items;
        self.until("the version is issued", async || known().await.len() >= versions).await;
        let issued = known().await;
        assert_eq!(issued.len(), versions, "one order a version");
        let newest = issued.iter().max_by_key(|version| version.id).unwrap();
        for agent in agents {
            self.until(&format!("{agent} has it"), async || self.confirmed(agent).await == Some(newest.id))
                .await;
            assert_eq!(self.home.live(agent, "cert.pem").unwrap().trim(), newest.chain.leaf_pem().trim());
            let key = self.home.live(agent, "privkey.pem").unwrap();
            let key = certlife_core::PrivateKey::from_pem(&key.as_str().into()).unwrap();
            assert_eq!(key.public_key_hash(), newest.info.key_hash);
        }
        newest.id
    }
}

fn www() -> CertificateId {
    "www".parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_killed_with_work_out_ends_where_it_was_going() {
    let mut fleet = Fleet::start().await;
    // One agent is reached and the other is not, so that the host dies with work done and work open.
    fleet.networks[1].cut();
    fleet.want().await;
    fleet.until_live(&["web1"], 1).await;
    fleet.host.take().unwrap().kill();
    fleet.networks[1].mend();
    assert_eq!(fleet.confirmed("web2").await, None);
    fleet.host = Some(fleet.home.start_host());
    fleet.until_live(&AGENTS, 1).await;
    for agent in AGENTS {
        let status = fleet.hub.status(&name(agent)).await.unwrap().unwrap();
        assert!(status.enrolled && status.blocks.contains_key(&name("files")), "{status:?}");
        assert!(!fleet.home.agent(agent).join("token").exists());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_killed_gets_what_it_missed() {
    let mut fleet = Fleet::start().await;
    fleet.want().await;
    let first = fleet.until_live(&AGENTS, 1).await;
    fleet.agents[0].take().unwrap().kill();
    fleet.engine.renew(&www()).await.unwrap();
    let second = fleet.until_live(&["web2"], 2).await;
    assert_ne!(fleet.confirmed("web1").await, Some(second));
    assert_ne!(first, second);
    fleet.restart_agent(0);
    fleet.until_live(&AGENTS, 2).await;
    for agent in &mut fleet.agents {
        agent.take().unwrap().stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_network_delays_and_loses_nothing() {
    let fleet = Fleet::start().await;
    fleet.want().await;
    fleet.until_live(&AGENTS, 1).await;
    fleet.networks[0].cut();
    fleet.engine.renew(&www()).await.unwrap();
    let second = fleet.until_live(&["web2"], 2).await;
    assert_ne!(fleet.confirmed("web1").await, Some(second));
    fleet.networks[0].mend();
    fleet.until_live(&AGENTS, 2).await;
}
