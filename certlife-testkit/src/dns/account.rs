//! An account at the vendor that [`MemoryDns`] plays.

use std::{fmt, time::Duration};

use certlife_core::{
    AccountSummary, DnsProvider, Error, ErrorKind, Fqdn, Operation, ProviderName, Result, Retry, async_trait,
    dns::{Added, Distribution, DnsCapabilities, DnsRecord, RecordData, RecordHandle, Zone},
};
use serde_json::json;

use super::memory::MemoryDns;

const MEMORY: ProviderName = ProviderName::new("memory");

/// The reference [`DnsProvider`]: changes the zones of a [`MemoryDns`] that its account holds.
///
/// Clones, and those made by [`reopened`](Self::reopened), are the same account: failures that are told to
/// one happen to all.
#[derive(Clone)]
pub struct MemoryAccount {
    world: MemoryDns,
    index: usize,
}

/// What an account is told to do, and what it did.
#[derive(Default)]
pub(super) struct AccountState {
    refused: bool,
    throttled: Option<Retry>,
    failing: Option<(usize, ErrorKind)>,
    answers_to_lose: usize,
    delay: Duration,
    under_way: usize,
    calls: Calls,
}

/// How often an account was called, failures included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Calls {
    /// [`DnsProvider::probe`].
    pub probe: usize,
    /// [`DnsProvider::zone_of`].
    pub zone_of: usize,
    /// [`DnsProvider::add`].
    pub add: usize,
    /// [`DnsProvider::remove`].
    pub remove: usize,
    /// [`DnsProvider::distribution`].
    pub distribution: usize,
    /// The most calls that were under way at one time.
    pub most_at_once: usize,
}

impl MemoryAccount {
    pub(super) fn new(world: MemoryDns, index: usize) -> Self {
        Self { world, index }
    }

    /// The same account as a process sees it that has just started.
    #[must_use]
    pub fn reopened(&self) -> Self {
        self.clone()
    }

    /// Refuses the credentials from now on, or accepts them again.
    pub fn refuse_credentials(&self, refuse: bool) {
        self.with(|state| state.refused = refuse);
    }

    /// Throttles every call, with or without saying for how long, until [`recover`](Self::recover).
    pub fn throttle(&self, retry_after: Option<Duration>) {
        let retry = retry_after.map_or(Retry::Backoff, Retry::After);
        self.with(|state| state.throttled = Some(retry));
    }

    /// Fails the next calls like this, without changing anything.
    pub fn fail_next(&self, calls: usize, kind: ErrorKind) {
        self.with(|state| state.failing = Some((calls, kind)));
    }

    /// Makes the next changes and fails with [`ErrorKind::Uncertain`], as if the answers were lost.
    pub fn lose_next_answers(&self, changes: usize) {
        self.with(|state| state.answers_to_lose = changes);
    }

    /// Takes this long for each call, by the clock of the world. Defaults to nothing.
    pub fn delay(&self, delay: Duration) {
        self.with(|state| state.delay = delay);
    }

    /// Works again, whatever was told before.
    pub fn recover(&self) {
        self.with(|state| {
            *state =
                AccountState { calls: state.calls, under_way: state.under_way, ..AccountState::default() };
        });
    }

    /// How often it was called so far.
    pub fn calls(&self) -> Calls {
        self.with(|state| state.calls)
    }

    fn with<T>(&self, act: impl FnOnce(&mut AccountState) -> T) -> T {
        act(&mut self.world.state().accounts[self.index])
    }

    /// Counts a call, takes its time, and fails it if that was asked for.
    async fn called(&self, operation: Operation, count: fn(&mut Calls) -> &mut usize) -> Result<()> {
        let delay = self.with(|state| {
            *count(&mut state.calls) += 1;
            state.under_way += 1;
            state.calls.most_at_once = state.calls.most_at_once.max(state.under_way);
            state.delay
        });
        let _under_way = UnderWay(self);
        // Even without a delay other calls get their turn here, as they would at any vendor.
        if delay.is_zero() {
            tokio::task::yield_now().await;
        } else {
            self.world.clock().sleep_until(self.world.clock().now() + delay).await;
        }
        self.with(AccountState::failure).map_or(Ok(()), |(kind, retry)| {
            let error = Error::new(MEMORY, operation, kind);
            Err(match retry {
                Some(retry) => error.retry_as(retry),
                None => error,
            })
        })
    }

    /// Makes the answer to a change, or loses it.
    fn answer<T>(&self, operation: Operation, value: T) -> Result<T> {
        let lost = self.with(|state| {
            let lost = state.answers_to_lose > 0;
            state.answers_to_lose = state.answers_to_lose.saturating_sub(1);
            lost
        });
        if lost { Err(Error::new(MEMORY, operation, ErrorKind::Uncertain)) } else { Ok(value) }
    }

    fn zone(&self, operation: Operation, name: &Fqdn) -> Result<Fqdn> {
        let state = self.world.state();
        let held = |zone: &Fqdn| state.zones.get(zone).is_some_and(|accounts| accounts.contains(&self.index));
        let zone = name.ancestors().find(held);
        zone.ok_or_else(|| Error::new(MEMORY, operation, ErrorKind::ZoneNotFound(name.clone())))
    }
}

impl AccountState {
    fn failure(&mut self) -> Option<(ErrorKind, Option<Retry>)> {
        if self.refused {
            return Some((ErrorKind::Unauthorized, None));
        }
        if let Some(retry) = self.throttled {
            return Some((ErrorKind::RateLimited, Some(retry)));
        }
        let (left, kind) = self.failing.as_mut().filter(|(left, _)| *left > 0)?;
        *left -= 1;
        Some((kind.clone(), None))
    }
}

/// Counts a call as under way until it ends or is dropped.
struct UnderWay<'a>(&'a MemoryAccount);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.with(|state| state.under_way -= 1);
    }
}

impl fmt::Debug for MemoryAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryAccount").field("index", &self.index).finish_non_exhaustive()
    }
}

#[async_trait]
impl DnsProvider for MemoryAccount {
    fn provider(&self) -> ProviderName {
        MEMORY
    }

    fn capabilities(&self) -> DnsCapabilities {
        DnsCapabilities { cname: true, distribution: true, by_hand: false }
    }

    async fn probe(&self) -> Result<AccountSummary> {
        self.called(Operation::Probe, |calls| &mut calls.probe).await?;
        Ok(AccountSummary { identity: Some("memory".into()), ..AccountSummary::default() })
    }

    async fn zone_of(&self, name: &Fqdn) -> Result<Zone> {
        self.called(Operation::FindZone, |calls| &mut calls.zone_of).await?;
        let zone = self.zone(Operation::FindZone, name)?;
        Ok(Zone { id: zone.to_string(), name: zone, name_servers: Vec::new() })
    }

    async fn add(&self, record: &DnsRecord) -> Result<Added> {
        let operation = Operation::PublishRecord;
        self.called(operation, |calls| &mut calls.add).await?;
        self.zone(operation, &record.name)?;
        let mut state = self.world.state();
        let there = state.at(&record.name).find(|entry| entry.record == *record).map(|entry| entry.id);
        let is_alias = |data: &RecordData| matches!(data, RecordData::Cname(_));
        let in_the_way =
            state.at(&record.name).any(|entry| is_alias(&entry.record.data) || is_alias(&record.data));
        if there.is_none() && in_the_way {
            let what = format!("other records stand at {}", record.name);
            return Err(Error::new(MEMORY, operation, ErrorKind::Conflict(what.into())));
        }
        let id = there.unwrap_or_else(|| state.publish(record.clone(), self.world.clock().now()));
        drop(state);
        let handle = RecordHandle { record: record.clone(), vendor: json!({ "id": id }) };
        self.answer(operation, Added { handle, existed: there.is_some() })
    }

    async fn remove(&self, handle: &RecordHandle) -> Result<()> {
        let operation = Operation::WithdrawRecord;
        self.called(operation, |calls| &mut calls.remove).await?;
        self.zone(operation, &handle.record.name)?;
        self.world.state().withdraw(&handle.record, self.world.clock().now());
        self.answer(operation, ())
    }

    async fn distribution(&self, _: &RecordHandle) -> Result<Distribution> {
        self.called(Operation::AskDistribution, |calls| &mut calls.distribution).await?;
        Ok(Distribution::Complete)
    }
}
