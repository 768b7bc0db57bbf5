//! Where the work is done: in order what is about the same thing, side by side what is not.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use certlife_core::{AccountName, Deployer, Error, ErrorKind, Result, deploy::Bundle};
use tokio::sync::{Notify, Semaphore};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::{AbortOnDropHandle, TaskTracker},
};

use super::{
    super::{
        AGENT,
        fault::Fault,
        wire::{Answer, MAX_HOLDING, Outcome, Task, WorkId, WorkItem},
    },
    home::Home,
    on_disk,
};

/// How many pieces of work are done at once.
const AT_ONCE: usize = 8;

/// What the agent may use.
pub(super) type Blocks = BTreeMap<AccountName, Arc<dyn Deployer>>;

/// The work that the agent holds.
#[derive(Debug)]
pub(super) struct Bench {
    blocks: Blocks,
    home: Home,
    state: Mutex<State>,
    slots: Semaphore,
    tasks: TaskTracker,
    end: CancellationToken,
    /// Told when there is something to report.
    finished: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// What waits for its turn, by what it is about. A lane is there as long as somebody works in it.
    lanes: BTreeMap<(AccountName, String), VecDeque<WorkItem>>,
    holding: BTreeSet<WorkId>,
    done: BTreeMap<WorkId, Outcome>,
}

impl Bench {
    /// Starts with what was done before a restart and is not reported.
    pub(super) async fn open(blocks: Blocks, home: Home) -> Result<Arc<Self>> {
        let left = home.clone();
        let done: BTreeMap<_, _> = on_disk(move || left.outcomes()).await?.into_iter().collect();
        let holding = done.keys().cloned().collect();
        let state = Mutex::new(State { lanes: BTreeMap::new(), holding, done });
        let (slots, tasks, finished) = (Semaphore::new(AT_ONCE), TaskTracker::new(), Notify::new());
        Ok(Arc::new(Self { blocks, home, state, slots, tasks, end: CancellationToken::new(), finished }))
    }

    /// Ends the work under way where it is, when the guard is dropped. Nothing goes on behind an agent that has ended: it
    /// could come after what the next one does.
    pub(super) fn end_with(&self) -> DropGuard {
        self.end.clone().drop_guard()
    }

    pub(super) fn holding(&self) -> Vec<WorkId> {
        self.state().holding.iter().cloned().collect()
    }

    /// Takes work on, but for what it has already, and for what is more than an agent may hold.
    pub(super) fn take(self: &Arc<Self>, items: Vec<WorkItem>) {
        let mut state = self.state();
        for item in items {
            // It is given again when there is room. Nothing that follows may overtake it.
            if state.holding.len() >= MAX_HOLDING {
                break;
            }
            if !state.holding.insert(item.id.clone()) {
                continue;
            }
            let lane = (item.block.clone(), item.task.subject());
            if let Some(waiting) = state.lanes.get_mut(&lane) {
                waiting.push_back(item);
                continue;
            }
            state.lanes.insert(lane.clone(), VecDeque::from([item]));
            let work = Arc::clone(self).work_in(lane);
            self.tasks.spawn(self.end.clone().run_until_cancelled_owned(work));
        }
    }

    async fn work_in(self: Arc<Self>, lane: (AccountName, String)) {
        loop {
            let item = {
                let mut state = self.state();
                let next = state.lanes.get_mut(&lane).and_then(VecDeque::pop_front);
                if next.is_none() {
                    state.lanes.remove(&lane);
                }
                next
            };
            let Some(item) = item else { return };
            let Ok(_slot) = self.slots.acquire().await else { return };
            let (id, outcome) = (item.id.clone(), self.carry_out(item).await);
            let (home, kept) = (self.home.clone(), (id.clone(), outcome.clone()));
            if let Err(error) = on_disk(move || home.keep_outcome(&kept.0, &kept.1)).await {
                // It is still reported; only a restart before that would do the work once more.
                tracing::warn!(error = %error.chain(), "an outcome could not be kept");
            }
            self.state().done.insert(id, outcome);
            self.finished.notify_one();
        }
    }

    async fn carry_out(&self, item: WorkItem) -> Outcome {
        let (operation, block) = (item.task.operation(), item.block);
        let Some(deployer) = self.blocks.get(&block) else {
            let known = self.blocks.keys().map(AccountName::as_str).collect::<Vec<_>>().join(", ");
            let what = format!("this agent has no block {block}; its configuration has: {known}");
            let error = Error::new(AGENT, operation, ErrorKind::Forbidden(what.into()));
            tracing::warn!(error = %error.chain(), "work was refused");
            return Outcome::Failed(Fault::of(&error));
        };
        // A deployer that panics takes its own work down, and nothing else.
        let done = AbortOnDropHandle::new(tokio::spawn(call(Arc::clone(deployer), item.task)));
        let done = done.await.unwrap_or_else(|_| {
            let what = ErrorKind::Io("the work ended without an outcome; the agent's log has more".into());
            Err(Error::new(AGENT, operation, what))
        });
        match done {
            Ok(answer) => {
                tracing::info!(%block, work = %item.id, "{operation}: done");
                Outcome::Done(answer)
            }
            Err(error) => {
                tracing::warn!(%block, work = %item.id, error = %error.chain(), "{operation}: failed");
                Outcome::Failed(Fault::of(&error))
            }
        }
    }

    /// The next outcome to report, as soon as there is one.
    pub(super) async fn next_outcome(&self) -> (WorkId, Outcome) {
        loop {
            let first =
                self.state().done.first_key_value().map(|(id, outcome)| (id.clone(), outcome.clone()));
            match first {
                Some(next) => return next,
                None => self.finished.notified().await,
            }
        }
    }

    /// Forgets what the hub has taken note of.
    pub(super) async fn reported(&self, id: WorkId) {
        let (home, done) = (self.home.clone(), id.clone());
        if let Err(error) = on_disk(move || home.forget_outcome(&done)).await {
            tracing::warn!(error = %error.chain(), "a reported outcome could not be removed");
        }
        let mut state = self.state();
        state.done.remove(&id);
        state.holding.remove(&id);
    }

    /// Lets the work that is under way come to its end, for at most `grace`.
    pub(super) async fn finish(&self, grace: Duration) {
        self.state().lanes.values_mut().for_each(VecDeque::clear);
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            tracing::warn!("the agent stops with work under way; it will be asked for again");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes one call of the contract.
async fn call(deployer: Arc<dyn Deployer>, task: Task) -> Result<Answer> {
    Ok(match task {
        Task::Probe => Answer::Summary(deployer.probe().await?),
        Task::MakeKey(wanted) => Answer::Csr(deployer.make_key(&wanted).await?),
        Task::Install(bundle) => Answer::Receipt(deployer.install(&Bundle::from(*bundle)).await?),
        Task::Installed { certificate } => Answer::Installed(deployer.installed(&certificate).await?),
        Task::Rollback { receipt } => {
            deployer.rollback(&receipt).await?;
            Answer::Nothing
        }
        Task::Uninstall { certificate } => {
            deployer.uninstall(&certificate).await?;
            Answer::Nothing
        }
        Task::PutChallenge { response } => Answer::Handle(deployer.put_challenge(&response).await?),
        Task::RemoveChallenge { handle } => {
            deployer.remove_challenge(&handle).await?;
            Answer::Nothing
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hub_that_gives_more_than_an_agent_may_hold_is_taken_from_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::new(directory.path().join("state"));
        let _alone = home.open().unwrap();
        let bench = Bench::open(Blocks::new(), home).await.unwrap();
        let item = |number: u64| WorkItem {
            id: WorkId::new("0123456789abcdef0123456789abcdef", number),
            block: "files".parse().unwrap(),
            task: Task::Uninstall { certificate: format!("c{number}").parse().unwrap() },
        };
        // Nothing is done before this task waits.
        bench.take((0..600).map(item).collect());
        let mut held = bench.holding();
        held.sort_by_key(|id| id.as_str().len());
        assert_eq!(held.len(), MAX_HOLDING);
        assert_eq!(held.last(), Some(&item(511).id));
    }
}
