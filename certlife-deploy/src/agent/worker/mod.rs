//! The agent's side: calls the hub, does what it asks with the blocks of its own configuration, and reports.

mod bench;
mod home;
mod line;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use certlife_core::{
    AccountName, Clock, Deployer, Error, ErrorKind, InputError, Operation, Result, SystemClock,
    deploy::DeployCapabilities,
};
use url::Url;

use self::{
    bench::{Bench, Blocks},
    home::Home,
    line::{Connector, State},
};
use super::{
    AGENT,
    wire::{Fetch, MAX_BLOCKS, Outcome, Work, WorkId},
};

/// How long the hub is asked to hold a request for work back.
const WAIT: Duration = Duration::from_secs(40);
/// How long the answer may take beyond that.
const SLACK: Duration = Duration::from_secs(15);
/// How long to wait after a failure: from the first, doubled with each in a row, to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LAST_PAUSE: Duration = Duration::from_secs(30);
/// How long work that is under way may take when the agent is to stop.
const GRACE: Duration = Duration::from_secs(20);

/// An agent: made once by its program, which then [runs](Self::run) it.
///
/// What it can be asked for is what its blocks can do, under the names that it gives them. In its directory are its
/// certificate with the key, the CA that it trusts as the hub's, and outcomes that are not reported yet; nothing that it
/// installs passes through there.
#[derive(Debug)]
pub struct AgentWorker {
    connector: Connector,
    blocks: Blocks,
}

/// Describes an agent; made by [`AgentWorker::builder`].
#[derive(Debug, Clone)]
pub struct AgentWorkerBuilder {
    hub: Url,
    agent: AccountName,
    home: PathBuf,
    token_file: Option<PathBuf>,
    roots: Option<String>,
    clock: Arc<dyn Clock>,
    blocks: Blocks,
}

impl AgentWorkerBuilder {
    /// Adds what the hub may call `name`.
    #[must_use]
    pub fn block(mut self, name: AccountName, deployer: Arc<dyn Deployer>) -> Self {
        self.blocks.insert(name, deployer);
        self
    }

    /// Enrols with the invitation in this file, which is removed once it is used. It is looked at whenever the agent has to
    /// enrol: at first, and when the hub no longer knows its certificate. Defaults to none.
    #[must_use]
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token_file = Some(path.into());
        self
    }

    /// Trusts these certificates, as PEM text, for the hub's TLS server. Defaults to the hub's own CA, which the invitation
    /// names.
    #[must_use]
    pub fn roots(mut self, pem: impl Into<String>) -> Self {
        self.roots = Some(pem.into());
        self
    }

    /// Reads the time from `clock`. Defaults to the operating system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Checks the values and returns the agent. Opens no connection and reads no file.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] names the setting that is wrong and what it should look like.
    pub fn build(self) -> Result<AgentWorker, InputError> {
        if self.hub.scheme() != "https" || !self.hub.has_host() {
            return Err(InputError::setting("hub", "give an `https` URL"));
        }
        if self.blocks.is_empty() || self.blocks.len() > MAX_BLOCKS {
            let rule = format!("an agent has 1 to {MAX_BLOCKS} of them, each under a name of its own");
            return Err(InputError::setting("blocks", rule));
        }
        if !self.home.is_absolute() {
            return Err(InputError::setting("state", "give an absolute path"));
        }
        let connector = Connector {
            hub: self.hub,
            agent: self.agent,
            home: Home::new(self.home),
            token_file: self.token_file,
            roots: self.roots,
            clock: self.clock,
            state: tokio::sync::Mutex::new(State::default()),
        };
        Ok(AgentWorker { connector, blocks: self.blocks })
    }
}

impl AgentWorker {
    /// Starts the description of the agent `name` of the hub at `hub`, which keeps what it must remember in the
    /// directory `state`. That is made if it does not exist, for the agent alone.
    pub fn builder(hub: Url, name: AccountName, state: impl Into<PathBuf>) -> AgentWorkerBuilder {
        AgentWorkerBuilder {
            hub,
            agent: name,
            home: state.into(),
            token_file: None,
            roots: None,
            clock: Arc::new(SystemClock::default()),
            blocks: BTreeMap::new(),
        }
    }

    /// Connects once, for a test that wants to know why that fails.
    #[cfg(test)]
    pub(super) async fn connect(self) -> Result<()> {
        let home = self.connector.home.clone();
        let _alone = on_disk(move || home.open()).await?;
        self.connector.line().await.map(drop)
    }

    /// Works until `shutdown` is ready; then what is under way gets 20 seconds to end. A hub that is away, or does not know
    /// this agent, is called again and again, ever more slowly up to twice a minute. Dropping the future ends what is
    /// under way where it is, as a crash does: the agent that starts next is asked for it again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] or [`ErrorKind::Forbidden`] if the state directory cannot be used, and [`ErrorKind::Conflict`] if
    /// another agent works over it.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
        let Self { connector, blocks } = self;
        let home = connector.home.clone();
        let _alone = on_disk(move || home.open()).await?;
        let capabilities = blocks.iter().map(|(name, block)| (name.clone(), block.capabilities())).collect();
        let bench = Bench::open(blocks, connector.home.clone()).await?;
        let _end = bench.end_with();
        tokio::select! {
            () = shutdown => {}
            () = fetch(&connector, &bench, &capabilities) => {}
            () = report(&connector, &bench) => {}
        }
        bench.finish(GRACE).await;
        Ok(())
    }
}

/// Fetches work for ever.
async fn fetch(
    connector: &Connector,
    bench: &Arc<Bench>,
    blocks: &BTreeMap<AccountName, DeployCapabilities>,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let asked = Fetch { blocks: blocks.clone(), holding: bench.holding(), wait_seconds: WAIT.as_secs() };
        match ask_for_work(connector, &asked).await {
            Ok(work) => {
                pause = FIRST_PAUSE;
                bench.take(work.items);
            }
            Err(error) => rest(connector, &mut pause, &error).await,
        }
    }
}

async fn ask_for_work(connector: &Connector, asked: &Fetch) -> Result<Work> {
    let line = connector.line().await?;
    let request = line.client.post(Operation::ExchangeWork, &["v1", "work"]).json(asked);
    let answered = request.replayable(true).timeout(WAIT + SLACK).send().await;
    connector.heard(&line, answered).await?.map_or(Ok(Work::default()), |answer| answer.json())
}

/// Reports outcomes for ever.
async fn report(connector: &Connector, bench: &Arc<Bench>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let (id, outcome) = bench.next_outcome().await;
        match send(connector, &id, &outcome).await {
            Ok(true) => {
                pause = FIRST_PAUSE;
                bench.reported(id).await;
            }
            Ok(false) => {}
            Err(error) => rest(connector, &mut pause, &error).await,
        }
    }
}

/// Returns whether the hub has taken note.
async fn send(connector: &Connector, id: &WorkId, outcome: &Outcome) -> Result<bool> {
    let line = connector.line().await?;
    let request = line.client.post(Operation::ExchangeWork, &["v1", "work", id.as_str()]).json(outcome);
    let sent = request.replayable(true).send().await;
    match connector.heard(&line, sent).await {
        // Whoever asked has given up, or has it already. Nothing that is refused becomes right by being repeated.
        Err(error) if matches!(error.kind(), ErrorKind::NotNow(_)) => {
            tracing::warn!(work = %id, error = %error.chain(), "the hub does not take an outcome");
            Ok(true)
        }
        sent => Ok(sent?.is_some()),
    }
}

/// Waits after a failure.
async fn rest(connector: &Connector, pause: &mut Duration, error: &Error) {
    tracing::warn!(hub = %connector.hub, error = %error.chain(), "the hub could not be reached; trying again");
    let clock = &connector.clock;
    clock.sleep_until(clock.now() + *pause).await;
    *pause = (*pause * 2).min(LAST_PAUSE);
}

/// Works on files, on a thread that may block.
async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let interrupted =
        || Error::new(AGENT, Operation::Configure, ErrorKind::Io("the work on files was interrupted".into()));
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(interrupted()))
}
