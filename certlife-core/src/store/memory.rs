//! The reference store: everything in memory, gone with the process.
//!
//! For tests and for hosts that order anew at every start. It shows the contract in its plainest form:
//! one map, one index of values, one index of what is due.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::{
    AfterCommit, Batch, Claim, Claimed, Committed, Cursor, Draft, Field, Index, Key, Kind, Lease, Leased,
    Page, Query, Record, Revision, Store, Write, event_id,
};
use crate::{
    error::{Error, ErrorKind, Operation, ProviderName, Result},
    id::WorkerId,
    time::Timestamp,
};

const NAME: ProviderName = ProviderName::new("memory");

/// A [`Store`] in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    rows: BTreeMap<Key, Row>,
    /// Where each record stands in the order of its ids (no field) and of each index field.
    index: BTreeMap<(Kind, Option<Field>), BTreeSet<Cursor>>,
    /// When a record is due and free, and its key.
    ready: BTreeSet<(Timestamp, Key)>,
    events: u64,
    tokens: u64,
}

#[derive(Debug)]
struct Row {
    record: Record,
    token: u64,
    lease: Option<(WorkerId, Timestamp)>,
}

impl Row {
    /// When the record is both due and free.
    fn ready(&self) -> Option<Timestamp> {
        let due = self.record.due?;
        Some(self.lease.map_or(due, |(_, until)| due.max(until)))
    }
}

impl MemoryStore {
    /// Makes an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock half way through a change, so the state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a record stands in each order.
fn places_of(key: &Key, index: &Index) -> impl Iterator<Item = (Option<Field>, Cursor)> {
    let place = |value: &str| Cursor { value: value.to_owned(), id: key.id.clone() };
    std::iter::once((None, place("")))
        .chain(index.iter().map(move |(field, value)| (Some(*field), place(value))))
}

fn error(operation: Operation, kind: ErrorKind) -> Error {
    Error::new(NAME, operation, kind)
}

#[async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &Key) -> Result<Option<Record>> {
        Ok(self.state().rows.get(key).map(|row| row.record.clone()))
    }

    async fn list(&self, query: &Query) -> Result<Page<Record>> {
        Ok(self.state().page(query))
    }

    async fn commit(&self, batch: Batch) -> Result<Committed> {
        let mut state = self.state();
        state.check(&batch)?;
        Ok(state.apply(batch))
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed> {
        Ok(self.state().claim(claim))
    }

    async fn extend(&self, lease: &Lease, until: Timestamp) -> Result<Lease> {
        let mut state = self.state();
        state.holds(lease)?;
        state.change(&lease.key, |row| row.lease = Some((lease.worker, until)));
        Ok(Lease { until, ..lease.clone() })
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        let mut state = self.state();
        if state.holds(lease).is_ok() {
            state.change(&lease.key, |row| row.lease = None);
        }
        Ok(())
    }
}

impl State {
    fn page(&self, query: &Query) -> Page<Record> {
        let limit = query.limit.clamp(1, Query::MAX_LIMIT);
        let mut places = self.places(query, limit + 1);
        let more = places.len() > limit;
        places.truncate(limit);
        let next = places.last().filter(|_| more).cloned();
        let records = places.iter().filter_map(|place| self.row(query.kind, &place.id));
        Page { items: records.map(|row| row.record.clone()).collect(), next }
    }

    /// The first `count` places that the query admits.
    fn places(&self, query: &Query, count: usize) -> Vec<Cursor> {
        let (mut low, mut high) = (Bound::Unbounded, Bound::Unbounded);
        if let Some(filter) = &query.filter {
            // No value lies between `v` and `v` with a NUL behind it.
            let at = |value: &str| Cursor { value: value.to_owned(), id: String::new() };
            let behind = |value: &str| at(&format!("{value}\0"));
            low = match &filter.from {
                Bound::Included(from) => Bound::Included(at(from)),
                Bound::Excluded(from) => Bound::Included(behind(from)),
                Bound::Unbounded => Bound::Unbounded,
            };
            high = match &filter.to {
                Bound::Included(to) => Bound::Excluded(behind(to)),
                Bound::Excluded(to) => Bound::Excluded(at(to)),
                Bound::Unbounded => Bound::Unbounded,
            };
        }
        // A cursor narrows the range and never widens it.
        match &query.after {
            Some(after) if query.descending => match &high {
                Bound::Included(end) | Bound::Excluded(end) if end <= after => {}
                _ => high = Bound::Excluded(after.clone()),
            },
            Some(after) => match &low {
                Bound::Included(start) | Bound::Excluded(start) if start > after => {}
                _ => low = Bound::Excluded(after.clone()),
            },
            None => {}
        }
        if let (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) =
            (&low, &high)
            && low >= high
        {
            return Vec::new();
        }
        let field = query.filter.as_ref().map(|filter| filter.field);
        let Some(places) = self.index.get(&(query.kind, field)) else { return Vec::new() };
        let range = places.range((low, high));
        if query.descending {
            range.rev().take(count).cloned().collect()
        } else {
            range.take(count).cloned().collect()
        }
    }

    fn row(&self, kind: Kind, id: &str) -> Option<&Row> {
        self.rows.get(&Key { kind, id: id.to_owned() })
    }

    /// Checks every fence and revision, so that [`apply`](Self::apply) cannot fail half way.
    fn check(&self, batch: &Batch) -> Result<()> {
        for (lease, _) in &batch.leases {
            self.holds(lease)?;
        }
        for write in &batch.writes {
            let (key, expected) = match write {
                Write::Insert(draft) => (&draft.key, None),
                Write::Replace(draft, revision) => (&draft.key, Some(*revision)),
                Write::Delete(key, revision) => (key, Some(*revision)),
                Write::Append { .. } => continue,
            };
            let found = self.rows.get(key).map(|row| row.record.revision);
            if found != expected {
                return Err(error(Operation::WriteStore, ErrorKind::RevisionConflict));
            }
        }
        Ok(())
    }

    fn holds(&self, lease: &Lease) -> Result<()> {
        let held =
            self.rows.get(&lease.key).is_some_and(|row| row.token == lease.token && row.lease.is_some());
        if held { Ok(()) } else { Err(error(Operation::WriteStore, ErrorKind::LeaseLost)) }
    }

    fn apply(&mut self, batch: Batch) -> Committed {
        let mut committed = Committed::default();
        for write in batch.writes {
            match write {
                Write::Insert(draft) => self.put(draft, 1),
                Write::Replace(draft, revision) => self.put(draft, revision + 1),
                Write::Delete(key, _) => self.remove(&key),
                Write::Append { body, index } => {
                    self.events += 1;
                    committed.position = Some(self.events);
                    let key = Key { kind: Kind::Event, id: event_id(self.events) };
                    self.put(Draft { key, body, due: None, index }, 1);
                }
            }
        }
        for (lease, after) in batch.leases {
            if after == AfterCommit::Release {
                self.change(&lease.key, |row| row.lease = None);
            }
        }
        committed
    }

    fn put(&mut self, draft: Draft, revision: Revision) {
        let Draft { key, body, due, index } = draft;
        let (token, lease) = self.rows.get(&key).map_or((0, None), |row| (row.token, row.lease));
        self.remove(&key);
        for (field, place) in places_of(&key, &index) {
            self.index.entry((key.kind, field)).or_default().insert(place);
        }
        let row = Row { record: Record { key: key.clone(), revision, body, due, index }, token, lease };
        if let Some(ready) = row.ready() {
            self.ready.insert((ready, key.clone()));
        }
        self.rows.insert(key, row);
    }

    fn remove(&mut self, key: &Key) {
        let Some(row) = self.rows.remove(key) else { return };
        for (field, place) in places_of(key, &row.record.index) {
            if let Some(places) = self.index.get_mut(&(key.kind, field)) {
                places.remove(&place);
            }
        }
        if let Some(ready) = row.ready() {
            self.ready.remove(&(ready, key.clone()));
        }
    }

    /// Changes the lease of a row and keeps the index of what is ready in step.
    fn change(&mut self, key: &Key, change: impl FnOnce(&mut Row)) {
        let Some(row) = self.rows.get_mut(key) else { return };
        if let Some(ready) = row.ready() {
            self.ready.remove(&(ready, key.clone()));
        }
        change(row);
        if let Some(ready) = row.ready() {
            self.ready.insert((ready, key.clone()));
        }
    }

    fn claim(&mut self, claim: &Claim) -> Claimed {
        let due: Vec<Key> = self
            .ready
            .iter()
            .take_while(|(ready, _)| *ready <= claim.now)
            .take(claim.limit)
            .map(|(_, key)| key.clone())
            .collect();
        let mut claimed = Claimed::default();
        for key in due {
            self.tokens += 1;
            let token = self.tokens;
            self.change(&key, |row| {
                row.token = token;
                row.lease = Some((claim.worker, claim.until));
            });
            if let Some(row) = self.rows.get(&key) {
                let lease = Lease { key, worker: claim.worker, token: row.token, until: claim.until };
                claimed.work.push(Leased { record: row.record.clone(), lease });
            }
        }
        let taken = |key: &Key| claimed.work.iter().any(|leased| leased.lease.key == *key);
        claimed.next = self.ready.iter().find(|(_, key)| !taken(key)).map(|(ready, _)| *ready);
        claimed
    }
}
