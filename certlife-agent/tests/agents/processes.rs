//! The processes: the host, run from this same test binary, and agents, run from the program itself.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use certlife_ca::private::Private;
use certlife_core::{
    AccountName, Engine, KeyRing, LocalKeyRing, Sealer, SecretBytes, Store, Vault,
    engine::{CaOptions, TargetOptions},
};
use certlife_deploy::AgentHub;
use certlife_store::Sqlite;

/// What the parent tells the host: its directory.
const ORDERS: &str = "CERTLIFE_TEST_HOST";

/// The directory of the host.
#[derive(Clone)]
pub(crate) struct Home(pub(crate) PathBuf);

/// A process that ends with the test.
pub(crate) struct Process(Child);

impl Process {
    fn start(command: &mut Command, log: PathBuf) -> Self {
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let errors = log.try_clone().unwrap();
        Self(command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().unwrap())
    }

    /// SIGKILL: nothing is cleaned up.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// SIGTERM: it ends by itself, and well.
    pub(crate) async fn stop(mut self) {
        let id = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        let ended = async {
            loop {
                if let Some(status) = self.0.try_wait().unwrap() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let status = tokio::time::timeout(Duration::from_secs(30), ended).await;
        assert!(status.expect("it stops when it is told to").success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Home {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(Sqlite::builder(self.0.join("certlife.db")).open().unwrap())
    }

    pub(crate) fn port_file(&self) -> PathBuf {
        self.0.join("port")
    }

    pub(crate) async fn hub(&self) -> AgentHub {
        let vault = Vault::new(self.store(), Sealer::new(ring()), name("agents"));
        AgentHub::builder(vault).look_every(Duration::from_millis(50)).open().await.unwrap()
    }

    /// An engine on the host's store. The parent has one too, to say what it wants and to look.
    pub(crate) async fn engine(&self, hub: &AgentHub) -> Engine {
        let builder = Engine::builder(self.store(), ring())
            .lease(Duration::from_secs(2))
            .poll(Duration::from_millis(50));
        let ca = Private::builder(builder.vault(name("ca"))).build().unwrap();
        let mut builder = builder.ca(name("ca"), Arc::new(ca), CaOptions::default());
        for agent in ["web1", "web2"] {
            let target = hub.target(&name(agent), &name("files")).await.unwrap();
            builder = builder.target(name(agent), Arc::new(target), TargetOptions::default());
        }
        builder.build().await.unwrap()
    }

    pub(crate) fn start_host(&self) -> Process {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["processes::the_host", "--exact", "--ignored", "--nocapture"]).env(ORDERS, &self.0);
        Process::start(&mut command, self.0.join("host.log"))
    }

    /// Writes the agent's configuration and starts the program.
    pub(crate) fn start_agent(&self, agent: &str, hub: std::net::SocketAddr) -> Process {
        let directory = self.agent(agent);
        let config = format!(
            "hub = \"https://{hub}/\"\nname = \"{agent}\"\nstate = \"{0}/state\"\ntoken_file = \"{0}/token\"\n\
             [[local]]\nname = \"files\"\ndirectory = \"{0}/tls\"\n",
            directory.display()
        );
        std::fs::write(directory.join("agent.toml"), config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_certlife-agent"));
        Process::start(command.arg(directory.join("agent.toml")), directory.join("agent.log"))
    }

    pub(crate) fn agent(&self, agent: &str) -> PathBuf {
        self.0.join(agent)
    }

    /// What the processes wrote, for a test that fails.
    pub(crate) fn logs(&self) -> String {
        let logs = ["host.log", "web1/agent.log", "web2/agent.log"];
        let read = |log: &&str| std::fs::read_to_string(self.0.join(log)).unwrap_or_default();
        logs.map(|log| format!("--- {log}\n{}", read(&log))).join("\n")
    }

    pub(crate) fn live(&self, agent: &str, file: &str) -> Option<String> {
        std::fs::read_to_string(self.agent(agent).join("tls/www/live").join(file)).ok()
    }
}

fn ring() -> Arc<dyn KeyRing> {
    Arc::new(LocalKeyRing::from_key(SecretBytes::new(vec![5; 32])).unwrap())
}

pub(crate) fn name(text: &str) -> AccountName {
    text.parse().unwrap()
}

#[tokio::test]
#[ignore = "the tests beside this start it as a process of its own"]
#[expect(clippy::disallowed_methods, reason = "this is how a parent process speaks to its child")]
async fn the_host() {
    let home = Home(Path::new(&std::env::var_os(ORDERS).unwrap()).to_owned());
    let hub = home.hub().await;
    let engine = home.engine(&hub).await;
    let listener = hub.listen("127.0.0.1:0".parse().unwrap(), ["127.0.0.1".parse().unwrap()]).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let new = home.0.join("port.new");
    std::fs::write(&new, port.to_string()).unwrap();
    std::fs::rename(new, home.port_file()).unwrap();
    // Nobody is left to kill it if the parent dies.
    let end = tokio::time::sleep(Duration::from_mins(5));
    tokio::spawn(listener.serve(std::future::pending()));
    engine.run(end).await.unwrap();
}
