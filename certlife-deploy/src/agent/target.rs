//! One block of one agent, as the engine sees it.

use async_trait::async_trait;
use certlife_core::{
    AccountName, AccountSummary, CertificateId, Csr, Deployer, Error, ErrorKind, Operation, ProviderName,
    Result, Timestamp,
    deploy::{Bundle, ChallengeHandle, DeployCapabilities, Installed, KeyRequest, Receipt, TargetResponse},
};
use std::{collections::BTreeSet, pin::pin};

use super::{
    AGENT,
    hub::{AgentHub, Change},
    record::Progress,
    wire::{Answer, MAX_WAIT, Outcome, SentBundle, Task, WorkId},
};

/// The most of what only the deployer reads, in JSON: what the contract allows.
const MAX_VENDOR: usize = 4 << 10;

/// A block of an agent as a [`Deployer`]; made by [`AgentHub::target`]. Clones are the same target.
///
/// Each call is stored as work for the agent and waits until the agent reports. One that is not reported in time fails as
/// [`ErrorKind::Unreachable`] if the agent is away, else as [`ErrorKind::Timeout`]; the work stays, and the same call finds it
/// or its outcome again. What is asked about one certificate is done in the order in which it was asked.
#[derive(Debug, Clone)]
pub struct AgentTarget {
    hub: AgentHub,
    agent: AccountName,
    block: AccountName,
}

impl AgentTarget {
    pub(super) fn new(hub: AgentHub, agent: AccountName, block: AccountName) -> Self {
        Self { hub, agent, block }
    }

    /// Has the agent do something, and waits for its report.
    async fn call(&self, task: Task) -> Result<Answer> {
        let operation = task.operation();
        let shared = &self.hub.0;
        let until = shared.clock.now() + shared.patience;
        let presence = self.hub.presence(&self.agent);
        let mut id = self.ask(&task, until).await?;
        loop {
            let bell = presence.bell(&id);
            let mut rung = pin!(bell.notified());
            // From here on, so that no outcome comes unheard between the look and the wait.
            rung.as_mut().enable();
            match self.look(&id).await.map_err(|error| renamed(error, operation))? {
                Progress::Over(Outcome::Done(answer)) => return Ok(answer),
                Progress::Over(Outcome::Failed(fault)) => return Err(fault.into_error(operation)),
                // It was forgotten meanwhile, or the agent was removed.
                Progress::Gone => id = self.ask(&task, until).await?,
                Progress::Waiting => {
                    let now = shared.clock.now();
                    if now >= until {
                        return Err(self.late(operation, &id).await);
                    }
                    tokio::select! {
                        () = rung => {}
                        () = shared.clock.sleep_until(until.min(now + shared.look_every)) => {}
                    }
                }
            }
        }
    }

    async fn ask(&self, task: &Task, until: Timestamp) -> Result<WorkId> {
        let operation = task.operation();
        let asked = self.hub.change(&self.agent, |record| {
            let (id, new) = record.ask(&self.block, task, until, self.hub.0.clock.now())?;
            Ok(if new { Change::Store(id) } else { Change::Keep(id) })
        });
        let asked = asked.await.map_err(|error| renamed(error, operation))?;
        asked.ok_or_else(|| {
            let kind = ErrorKind::NotFound(format!("agent {}", self.agent).into());
            Error::new(AGENT, operation, kind)
        })
    }

    async fn look(&self, id: &WorkId) -> Result<Progress> {
        let looked = self.hub.change(&self.agent, |record| {
            let (progress, first) = record.collect(id, self.hub.0.clock.now());
            Ok(if first { Change::Store(progress) } else { Change::Keep(progress) })
        });
        Ok(looked.await?.unwrap_or(Progress::Gone))
    }

    /// Gives up for now, and says whether the agent is there at all.
    async fn late(&self, operation: Operation, id: &WorkId) -> Error {
        let withdrawn = self.hub.update(&self.agent, |record| record.withdraw(id));
        if let Err(error) = withdrawn.await {
            return renamed(error, operation);
        }
        let now = self.hub.0.clock.now();
        let seen = self.hub.presence(&self.agent).latest().seen;
        let away = seen.is_none_or(|seen| now.since(seen) > MAX_WAIT * 2);
        let kind = if away { ErrorKind::Unreachable } else { ErrorKind::Timeout };
        Error::new(AGENT, operation, kind)
    }
}

/// The store's error, or that too much waits already, as one of this call.
fn renamed(error: Error, operation: Operation) -> Error {
    if matches!(error.kind(), ErrorKind::RateLimited) {
        Error::new(AGENT, operation, ErrorKind::RateLimited)
    } else {
        error
    }
}

/// The agent answered something else than it was asked.
fn mistaken(operation: Operation) -> Error {
    let kind = ErrorKind::Protocol("the agent answered something else than it was asked".into());
    Error::new(AGENT, operation, kind)
}

fn is_small(vendor: &serde_json::Value) -> bool {
    vendor.to_string().len() <= MAX_VENDOR
}

#[async_trait]
impl Deployer for AgentTarget {
    fn provider(&self) -> ProviderName {
        AGENT
    }

    fn capabilities(&self) -> DeployCapabilities {
        let presence = self.hub.presence(&self.agent);
        let latest = presence.latest();
        match latest.blocks.get(&self.block) {
            Some(reported) => reported.clone(),
            None => DeployCapabilities {
                install: true,
                challenges: BTreeSet::new(),
                volatile: false,
                keys: BTreeSet::new(),
            },
        }
    }

    async fn probe(&self) -> Result<AccountSummary> {
        match self.call(Task::Probe).await? {
            Answer::Summary(summary) => Ok(summary),
            _ => Err(mistaken(Operation::Probe)),
        }
    }

    async fn make_key(&self, wanted: &KeyRequest) -> Result<Csr> {
        match self.call(Task::MakeKey(Box::new(wanted.clone()))).await? {
            Answer::Csr(csr) => Ok(csr),
            _ => Err(mistaken(Operation::MakeKey)),
        }
    }

    async fn install(&self, bundle: &Bundle) -> Result<Receipt> {
        match self.call(Task::Install(Box::new(SentBundle::from(bundle)))).await? {
            Answer::Receipt(receipt)
                if (&receipt.certificate, receipt.version) == (&bundle.certificate, bundle.version)
                    && is_small(&receipt.vendor) =>
            {
                Ok(receipt)
            }
            _ => Err(mistaken(Operation::Install)),
        }
    }

    async fn installed(&self, certificate: &CertificateId) -> Result<Option<Installed>> {
        match self.call(Task::Installed { certificate: certificate.clone() }).await? {
            Answer::Installed(installed) => Ok(installed),
            _ => Err(mistaken(Operation::Inspect)),
        }
    }

    async fn rollback(&self, receipt: &Receipt) -> Result<()> {
        match self.call(Task::Rollback { receipt: receipt.clone() }).await? {
            Answer::Nothing => Ok(()),
            _ => Err(mistaken(Operation::RollBack)),
        }
    }

    async fn uninstall(&self, certificate: &CertificateId) -> Result<()> {
        match self.call(Task::Uninstall { certificate: certificate.clone() }).await? {
            Answer::Nothing => Ok(()),
            _ => Err(mistaken(Operation::Uninstall)),
        }
    }

    async fn put_challenge(&self, response: &TargetResponse) -> Result<ChallengeHandle> {
        match self.call(Task::PutChallenge { response: response.clone() }).await? {
            Answer::Handle(handle) if handle.response == *response && is_small(&handle.vendor) => Ok(handle),
            _ => Err(mistaken(Operation::PutChallenge)),
        }
    }

    async fn remove_challenge(&self, handle: &ChallengeHandle) -> Result<()> {
        match self.call(Task::RemoveChallenge { handle: handle.clone() }).await? {
            Answer::Nothing => Ok(()),
            _ => Err(mistaken(Operation::RemoveChallenge)),
        }
    }
}
