//! A world of DNS in memory: zones, what their servers answer, and accounts that change them.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use certlife_core::{
    Clock, DnsLookup, Error, ErrorKind, Fqdn, Operation, Result, Retry, SystemClock, Timestamp, async_trait,
    dns::{DnsRecord, RecordData},
    lookup::{Answer, Authority, DNS, NameServer, NoAnswer, Question, RecordKind, ResponseCode},
};

use super::account::{AccountState, MemoryAccount};

/// The most aliases that are followed, as by real resolvers.
const MAX_HOPS: usize = 16;

/// The reference world of DNS: zones with their records, the servers that answer for them, and any number of
/// [accounts](Self::account) that may change some of the zones.
///
/// It is a [`DnsLookup`] itself. Clones share the world. Every zone is served by the same servers, at first
/// one, which show a change at once; [`servers`](Self::servers), [`lag`](Self::lag) and
/// [`break_server`](Self::break_server) change that.
#[derive(Clone)]
pub struct MemoryDns(Arc<World>);

pub(super) struct World {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

/// Everything that changes.
pub(super) struct State {
    /// The zones, each with the accounts that hold it.
    pub(super) zones: BTreeMap<Fqdn, Vec<usize>>,
    pub(super) records: Vec<Entry>,
    pub(super) next_id: u64,
    pub(super) accounts: Vec<AccountState>,
    servers: Vec<Server>,
    questions: usize,
    failing_lookups: Option<ErrorKind>,
}

/// A record and the time in which it was published. It stays after its removal, for servers that lag.
pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) record: DnsRecord,
    since: Timestamp,
    until: Option<Timestamp>,
}

#[derive(Default)]
struct Server {
    lag: Duration,
    fault: Option<ServerFault>,
}

/// What is wrong with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerFault {
    /// It answers without authority.
    Lame,
    /// It answers REFUSED.
    Refuses,
    /// It answers SERVFAIL.
    Fails,
    /// It does not answer.
    Silent,
    /// This machine has no route to it.
    NoRoute,
}

impl MemoryDns {
    /// A world without zones, on the operating system's clock.
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock::default()))
    }

    /// A world without zones whose servers lag by `clock`.
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let state = State {
            zones: BTreeMap::new(),
            records: Vec::new(),
            next_id: 1,
            accounts: Vec::new(),
            servers: vec![Server::default()],
            questions: 0,
            failing_lookups: None,
        };
        Self(Arc::new(World { clock, state: Mutex::new(state) }))
    }

    /// Adds a zone that no account holds. One that is there stays as it is.
    pub fn add_zone(&self, apex: &str) {
        self.state().zones.entry(name(apex)).or_default();
    }

    /// Opens an account that holds these zones, adding those that are not there.
    pub fn account(&self, zones: &[&str]) -> MemoryAccount {
        let mut state = self.state();
        let index = state.accounts.len();
        state.accounts.push(AccountState::default());
        for zone in zones {
            state.zones.entry(name(zone)).or_default().push(index);
        }
        MemoryAccount::new(self.clone(), index)
    }

    /// Puts a record into the world past every account. It is visible on all servers at once.
    pub fn insert(&self, record: DnsRecord) {
        let mut state = self.state();
        state.publish(record, Timestamp::MIN);
    }

    /// Puts an alias into the world: `insert` of a CNAME.
    pub fn alias(&self, owner: &str, target: &str) {
        self.insert(DnsRecord::cname(name(owner), name(target)));
    }

    /// Serves every zone by this many servers, `ns0.memory.test` at 192.0.2.1:53 and so on, all in order.
    pub fn servers(&self, count: u8) {
        self.state().servers = (0..count).map(|_| Server::default()).collect();
    }

    /// Lets one server show every change this much later, past changes included.
    pub fn lag(&self, server: usize, lag: Duration) {
        self.state().servers[server].lag = lag;
    }

    /// Breaks one server, or mends it.
    pub fn break_server(&self, server: usize, fault: Option<ServerFault>) {
        self.state().servers[server].fault = fault;
    }

    /// Lets [`effective_name`](DnsLookup::effective_name) and [`authority`](DnsLookup::authority) fail like
    /// this, or succeed again.
    pub fn fail_lookups(&self, kind: Option<ErrorKind>) {
        self.state().failing_lookups = kind;
    }

    /// The TXT values at `name` now, sorted.
    pub fn txt_values(&self, name: &Fqdn) -> Vec<String> {
        let state = self.state();
        let mut values: Vec<String> = state
            .at(name)
            .filter_map(|entry| match &entry.record.data {
                RecordData::Txt(value) => Some(value.clone()),
                RecordData::Cname(_) => None,
            })
            .collect();
        values.sort();
        values
    }

    /// The target of the CNAME at `name` now.
    pub fn cname(&self, name: &Fqdn) -> Option<Fqdn> {
        self.state().alias(name)
    }

    /// Every record of the world now, sorted.
    pub fn all_records(&self) -> Vec<DnsRecord> {
        let state = self.state();
        let mut records: Vec<DnsRecord> = state
            .records
            .iter()
            .filter(|entry| entry.until.is_none())
            .map(|entry| entry.record.clone())
            .collect();
        records.sort();
        records
    }

    /// How many questions were put to servers so far.
    pub fn questions(&self) -> usize {
        self.state().questions
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryDns {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryDns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDns").field("records", &self.all_records()).finish()
    }
}

#[async_trait]
impl DnsLookup for MemoryDns {
    async fn effective_name(&self, name: &Fqdn) -> Result<Fqdn> {
        let state = self.state();
        state.lookups_work()?;
        let mut trail = vec![name.clone()];
        while trail.len() <= MAX_HOPS {
            let here = &trail[trail.len() - 1];
            match state.alias(here) {
                None => return Ok(here.clone()),
                Some(target) if trail.contains(&target) => break,
                Some(target) => trail.push(target),
            }
        }
        Err(Error::new(DNS, Operation::Resolve, ErrorKind::Conflict("the CNAMEs do not end".into())))
    }

    async fn authority(&self, name: &Fqdn) -> Result<Authority> {
        let state = self.state();
        state.lookups_work()?;
        let Some(zone) = name.ancestors().find(|candidate| state.zones.contains_key(candidate)) else {
            let what = ErrorKind::NotFound(format!("a zone that encloses {name}").into());
            return Err(Error::new(DNS, Operation::Resolve, what).retry_as(Retry::Backoff));
        };
        let servers = (0..state.servers.len()).map(|index| NameServer {
            name: self::name(&format!("ns{index}.memory.test")),
            addresses: vec![address(index)],
        });
        Ok(Authority { zone, servers: servers.collect() })
    }

    async fn ask(&self, server: SocketAddr, question: &Question) -> Result<Answer, NoAnswer> {
        let mut state = self.state();
        state.questions += 1;
        let index = (0..state.servers.len()).find(|index| address(*index) == server);
        let server = &state.servers[index.ok_or(NoAnswer::Unreachable)?];
        let bare = |code, authoritative| Answer { authoritative, code, values: Vec::new() };
        match server.fault {
            Some(ServerFault::NoRoute) => return Err(NoAnswer::NoRoute),
            Some(ServerFault::Silent) => return Err(NoAnswer::Timeout),
            Some(ServerFault::Refuses) => return Ok(bare(ResponseCode::Refused, false)),
            Some(ServerFault::Fails) => return Ok(bare(ResponseCode::ServFail, false)),
            Some(ServerFault::Lame) | None => {}
        }
        let shown = self.0.clock.now() - server.lag;
        let authoritative = server.fault.is_none();
        let answer = state.answer(question, shown);
        Ok(Answer { authoritative, ..answer })
    }
}

impl State {
    pub(super) fn publish(&mut self, record: DnsRecord, since: Timestamp) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.records.push(Entry { id, record, since, until: None });
        id
    }

    pub(super) fn withdraw(&mut self, record: &DnsRecord, now: Timestamp) {
        for entry in &mut self.records {
            if entry.until.is_none() && entry.record == *record {
                entry.until = Some(now);
            }
        }
    }

    /// What is at `name` now.
    pub(super) fn at(&self, name: &Fqdn) -> impl Iterator<Item = &Entry> {
        self.records.iter().filter(move |entry| entry.until.is_none() && entry.record.name == *name)
    }

    fn alias(&self, name: &Fqdn) -> Option<Fqdn> {
        self.at(name).find_map(|entry| match &entry.record.data {
            RecordData::Cname(target) => Some(target.clone()),
            RecordData::Txt(_) => None,
        })
    }

    fn answer(&self, question: &Question, shown: Timestamp) -> Answer {
        let there = |entry: &&Entry| entry.since <= shown && entry.until.is_none_or(|until| shown < until);
        let mut owner = question.name.clone();
        let mut here: Vec<&Entry> = Vec::new();
        for _ in 0..MAX_HOPS {
            here = self.records.iter().filter(there).filter(|entry| entry.record.name == owner).collect();
            match here.first().map(|entry| &entry.record.data) {
                Some(RecordData::Cname(target)) if question.kind == RecordKind::Txt => owner = target.clone(),
                _ => break,
            }
        }
        let code = if here.is_empty() { ResponseCode::NxDomain } else { ResponseCode::NoError };
        let of_kind = here.iter().filter(|entry| RecordKind::from(&entry.record.data) == question.kind);
        Answer { authoritative: true, code, values: of_kind.map(|entry| entry.record.data.clone()).collect() }
    }

    fn lookups_work(&self) -> Result<()> {
        match &self.failing_lookups {
            None => Ok(()),
            Some(kind) => Err(Error::new(DNS, Operation::Resolve, kind.clone())),
        }
    }
}

fn address(index: usize) -> SocketAddr {
    let last = u8::try_from(index + 1).unwrap_or(u8::MAX);
    SocketAddr::from(([192, 0, 2, last], 53))
}

fn name(text: &str) -> Fqdn {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}
