//! The host's side: who may connect, and what is asked of whom.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use certlife_core::{
    AccountName, Clock, Error, ErrorKind, InputError, Operation, Result, Secret, SystemClock, Timestamp,
    Vault, deploy::DeployCapabilities,
};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use super::{
    AGENT, TOKEN_PREFIX,
    authority::Authority,
    record::{AgentRecord, TokenHash},
    target::AgentTarget,
    wire::WorkId,
};

/// What the name of an agent's entry in the vault begins with.
const ENTRY: &str = "agent/";

/// The place that agents call: it says who they are, gives them work and takes their reports. Clones are the same hub.
///
/// A host mounts it as a [`tower_service::Service`] behind its own TLS server, which asks for client certificates and
/// hands them over as [`PeerCertificate`](super::PeerCertificate), or has it [listen](Self::listen) by itself. Everything
/// that a hub knows lives sealed in its vault, so that any number of hosts that share a store are one hub, and a restart
/// loses nothing.
#[derive(Clone)]
pub struct AgentHub(pub(super) Arc<Shared>);

pub(super) struct Shared {
    vault: Vault,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) authority: Arc<Authority>,
    pub(super) lifetime: Duration,
    pub(super) patience: Duration,
    pub(super) look_every: Duration,
    presences: Mutex<BTreeMap<AccountName, Arc<Presence>>>,
}

/// What this process knows of an agent.
#[derive(Debug)]
pub(super) struct Presence {
    /// In front of the store's comparison of revisions.
    turn: tokio::sync::Mutex<()>,
    /// Moves with every change that is made here, for those that wait for work.
    news: watch::Sender<u64>,
    /// Rung for those that wait for one outcome.
    bells: Mutex<BTreeMap<WorkId, Arc<Notify>>>,
    pub(super) latest: Mutex<Latest>,
}

#[derive(Debug, Default)]
pub(super) struct Latest {
    pub(super) blocks: BTreeMap<AccountName, DeployCapabilities>,
    pub(super) seen: Option<Timestamp>,
}

/// What [`AgentHub::change`] does with what it was given.
pub(super) enum Change<T> {
    Keep(T),
    Store(T),
}

/// One agent, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AgentStatus {
    /// Its name.
    pub agent: AccountName,
    /// Whether it has a certificate that is good now.
    pub enrolled: bool,
    /// When the last of its certificates expires.
    pub expires: Option<Timestamp>,
    /// When it last called a hub of this process.
    pub seen: Option<Timestamp>,
    /// What it may be asked, by block.
    pub blocks: BTreeMap<AccountName, DeployCapabilities>,
}

/// Describes a hub; made by [`AgentHub::builder`].
#[derive(Debug)]
pub struct AgentHubBuilder {
    vault: Vault,
    clock: Arc<dyn Clock>,
    lifetime: Duration,
    patience: Duration,
    look_every: Duration,
}

impl AgentHubBuilder {
    /// Reads the time from `clock`. Defaults to the operating system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How long an agent's certificate lasts: an hour to 90 days; the agent renews it at two thirds. Defaults to 30 days.
    #[must_use]
    pub fn certificate_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// How long a call waits for the agent's report before it fails and is to be repeated: a second to 10 minutes.
    /// Defaults to 2 minutes.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// How often the store is looked at for what other hosts did: 10 milliseconds to a minute. It costs one read for each
    /// agent that is connected and each call that waits. Defaults to 2 seconds.
    #[must_use]
    pub fn look_every(mut self, every: Duration) -> Self {
        self.look_every = every;
        self
    }

    /// Opens the hub, and founds its CA if the vault has none.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] names a setting that is out of its bounds; and what the vault says.
    pub async fn open(self) -> Result<AgentHub> {
        let check = |setting: &'static str, value: Duration, least: Duration, most: Duration| {
            let rule = || InputError::setting(setting, format!("use {least:?} to {most:?}"));
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(Error::input(Operation::Configure, rule()))
            }
        };
        let (hour, minute) = (Duration::from_hours(1), Duration::from_mins(1));
        check("certificate_lifetime", self.lifetime, hour, hour * 24 * 90)?;
        check("patience", self.patience, Duration::from_secs(1), minute * 10)?;
        check("look_every", self.look_every, Duration::from_millis(10), minute)?;
        let authority = Authority::open(&self.vault, self.clock.now()).await?;
        Ok(AgentHub(Arc::new(Shared {
            vault: self.vault,
            clock: self.clock,
            authority: Arc::new(authority),
            lifetime: self.lifetime,
            patience: self.patience,
            look_every: self.look_every,
            presences: Mutex::default(),
        })))
    }
}

impl AgentHub {
    /// Starts the description of a hub that keeps what it knows in `vault`, which is its alone.
    pub fn builder(vault: Vault) -> AgentHubBuilder {
        AgentHubBuilder {
            vault,
            clock: Arc::new(SystemClock::default()),
            lifetime: Duration::from_hours(24 * 30),
            patience: Duration::from_mins(2),
            look_every: Duration::from_secs(2),
        }
    }

    /// Makes an invitation: a text that lets one agent enrol under this name, once, within `valid_for` (at most 30 days).
    /// An earlier invitation for the name is void. It also says which CA the agent may trust as the hub's.
    ///
    /// An agent of that name that is enrolled already goes on until the new one has enrolled.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] if `valid_for` is zero or longer than 30 days; and what the store says.
    pub async fn invite(&self, agent: &AccountName, valid_for: Duration) -> Result<Secret> {
        if valid_for.is_zero() || valid_for > Duration::from_hours(24 * 30) {
            let rule = InputError::setting("valid_for", "an invitation is good for at most 30 days");
            return Err(Error::input(Operation::Enrol, rule));
        }
        let mut random = [0; 32];
        aws_lc_rs::rand::fill(&mut random)
            .map_err(|_| Error::new(AGENT, Operation::Enrol, ErrorKind::Crypto))?;
        let secret = URL_SAFE_NO_PAD.encode(random);
        let (token, expires) = (TokenHash::of(&secret), self.0.clock.now() + valid_for);
        loop {
            let invited = self.update(agent, |record| record.invite(token.clone(), expires)).await?;
            if invited.is_some() {
                break;
            }
            let mut record = AgentRecord::new(self.0.clock.now());
            record.invite(token.clone(), expires);
            match self.0.vault.write(&entry(agent), &encode(&record)?, None).await {
                Err(error) if *error.kind() == ErrorKind::RevisionConflict => {}
                written => break written.map(drop)?,
            }
        }
        Ok(Secret::new(format!("{TOKEN_PREFIX}.{secret}.{}", self.0.authority.fingerprint())))
    }

    /// The agents that were invited, by name.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn agents(&self) -> Result<Vec<AgentStatus>> {
        let (mut found, mut page) = (Vec::new(), None);
        loop {
            let entries = self.0.vault.entries(page, 100).await?;
            for name in entries.items.iter().filter_map(|name| name.strip_prefix(ENTRY)) {
                let agent =
                    AccountName::new(name).map_err(|input| Error::input(Operation::ReadStore, input))?;
                found.extend(self.status(&agent).await?);
            }
            page = entries.next;
            if page.is_none() {
                found.sort_by(|one, other| one.agent.cmp(&other.agent));
                return Ok(found);
            }
        }
    }

    /// One agent; none if it was never invited, or removed.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn status(&self, agent: &AccountName) -> Result<Option<AgentStatus>> {
        let now = self.0.clock.now();
        let status = self.change(agent, |record| {
            let (enrolled, expires) = (record.is_enrolled(now), record.expires());
            let (agent, blocks) = (agent.clone(), record.blocks.clone());
            Ok(Change::Keep(AgentStatus { agent, enrolled, expires, seen: None, blocks }))
        });
        let Some(mut status) = status.await? else { return Ok(None) };
        status.seen = self.presence(agent).latest().seen;
        Ok(Some(status))
    }

    /// Takes an agent's certificates and invitations away: its next request is refused, and it has to be invited again.
    /// Work that is asked of it waits. Harmless if there is no such agent.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn revoke(&self, agent: &AccountName) -> Result<()> {
        self.update(agent, AgentRecord::revoke).await.map(drop)
    }

    /// Forgets an agent altogether, with the work that is asked of it. Harmless if there is no such agent.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn remove(&self, agent: &AccountName) -> Result<()> {
        while let Some(found) = self.0.vault.read(&entry(agent)).await? {
            match self.0.vault.delete(&entry(agent), found.revision).await {
                Err(error) if *error.kind() == ErrorKind::RevisionConflict => {}
                deleted => {
                    deleted?;
                    break;
                }
            }
        }
        if let Some(presence) = self.presences().remove(agent) {
            presence.tell();
        }
        Ok(())
    }

    /// One block of one agent as a target: what the agent's own configuration calls by that name.
    ///
    /// What it can do is what the agent last reported. Before its first report that is: installing certificates.
    ///
    /// # Errors
    ///
    /// [`InputError::Unknown`] if the agent was never invited, and what the store says.
    pub async fn target(&self, agent: &AccountName, block: &AccountName) -> Result<AgentTarget> {
        let known = self.change(agent, |_| Ok(Change::Keep(()))).await?;
        if known.is_none() {
            let unknown = InputError::Unknown { kind: "agent", id: agent.to_string() };
            return Err(Error::input(Operation::Configure, unknown));
        }
        Ok(AgentTarget::new(self.clone(), agent.clone(), block.clone()))
    }

    /// Reads an agent's record, lets `with` change it, and stores what it says is to be stored. None if there is no such
    /// agent.
    ///
    /// `with` runs again if another host came first.
    pub(super) async fn change<T>(
        &self,
        agent: &AccountName,
        mut with: impl FnMut(&mut AgentRecord) -> Result<Change<T>, ErrorKind> + Send,
    ) -> Result<Option<T>> {
        let entry = entry(agent);
        loop {
            // Names that nobody invited leave no trace in memory.
            if !self.presences().contains_key(agent) && self.0.vault.read(&entry).await?.is_none() {
                return Ok(None);
            }
            let presence = self.presence(agent);
            let _turn = presence.turn.lock().await;
            let Some(found) = self.0.vault.read(&entry).await? else { return Ok(None) };
            let mut record = AgentRecord::read(&found.secret).map_err(|cause| {
                let kind = ErrorKind::Corrupt(format!("what is known of agent {agent}").into());
                Error::new(AGENT, Operation::ReadStore, kind).because(cause)
            })?;
            let changed = with(&mut record).map_err(|kind| Error::new(AGENT, Operation::WriteStore, kind))?;
            presence.latest().blocks.clone_from(&record.blocks);
            let value = match changed {
                Change::Keep(value) => return Ok(Some(value)),
                Change::Store(value) => value,
            };
            match self.0.vault.write(&entry, &encode(&record)?, Some(found.revision)).await {
                Err(error) if *error.kind() == ErrorKind::RevisionConflict => {}
                written => {
                    written?;
                    presence.tell();
                    return Ok(Some(value));
                }
            }
        }
    }

    /// As [`change`](Self::change), for what is always stored.
    pub(super) async fn update(
        &self,
        agent: &AccountName,
        mut with: impl FnMut(&mut AgentRecord) + Send,
    ) -> Result<Option<()>> {
        self.change(agent, |record| {
            with(record);
            Ok(Change::Store(()))
        })
        .await
    }

    pub(super) fn presence(&self, agent: &AccountName) -> Arc<Presence> {
        Arc::clone(self.presences().entry(agent.clone()).or_default())
    }

    fn presences(&self) -> MutexGuard<'_, BTreeMap<AccountName, Arc<Presence>>> {
        self.0.presences.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for AgentHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentHub")
            .field("account", self.0.vault.account())
            .field("authority", &self.0.authority)
            .finish_non_exhaustive()
    }
}

impl Default for Presence {
    fn default() -> Self {
        Self {
            turn: tokio::sync::Mutex::default(),
            news: watch::Sender::new(0),
            bells: Mutex::default(),
            latest: Mutex::default(),
        }
    }
}

impl Presence {
    pub(super) fn latest(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is told from now on.
    pub(super) fn listen(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    /// What is rung when the outcome of this work comes in here.
    pub(super) fn bell(&self, id: &WorkId) -> Arc<Notify> {
        let mut bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        bells.retain(|_, bell| Arc::strong_count(bell) > 1);
        Arc::clone(bells.entry(id.clone()).or_default())
    }

    pub(super) fn ring(&self, id: &WorkId) {
        let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = bells.get(id) {
            bell.notify_waiters();
        }
    }

    fn tell(&self) {
        self.news.send_modify(|number| *number = number.wrapping_add(1));
    }
}

fn entry(agent: &AccountName) -> String {
    format!("{ENTRY}{agent}")
}

fn encode(record: &AgentRecord) -> Result<certlife_core::SecretBytes> {
    record.write().map_err(|cause| {
        let kind = ErrorKind::Corrupt("what is known of an agent".into());
        Error::new(AGENT, Operation::WriteStore, kind).because(cause)
    })
}
