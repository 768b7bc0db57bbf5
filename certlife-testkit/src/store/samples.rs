//! Records, moments and short forms of calls that the cases share.

use certlife_core::{
    ErrorKind, Result, Store, Timestamp, WorkerId,
    store::{
        AfterCommit, Batch, Claim, Claimed, Committed, Draft, Field, Index, Key, Kind, Lease, Leased, Query,
        Record, Revision, Write,
    },
};

/// The moment this many seconds into the story.
pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(1_800_000_000 + seconds)
}

pub(super) fn worker(number: u8) -> WorkerId {
    WorkerId::new(at(0), [number; 10])
}

pub(super) fn key(id: impl std::fmt::Display) -> Key {
    Key::new(Kind::Order, id)
}

/// An order that is never due and found by nothing.
pub(super) fn order(id: impl std::fmt::Display) -> Draft {
    Draft { key: key(id), body: "{}".to_owned(), due: None, index: Index::new() }
}

/// Says what is special about a draft.
pub(super) trait Shape {
    fn body(self, body: impl Into<String>) -> Self;
    fn due(self, seconds: i64) -> Self;
    fn found_by(self, field: Field, value: impl Into<String>) -> Self;
}

impl Shape for Draft {
    fn body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }

    fn due(mut self, seconds: i64) -> Self {
        self.due = Some(at(seconds));
        self
    }

    fn found_by(mut self, field: Field, value: impl Into<String>) -> Self {
        self.index.insert((field, value.into()));
        self
    }
}

/// The record that a draft becomes.
pub(super) fn written(draft: Draft, revision: Revision) -> Record {
    let Draft { key, body, due, index } = draft;
    Record { key, revision, body, due, index }
}

pub(super) fn event(body: impl Into<String>) -> Write {
    Write::Append { body: body.into(), index: Index::new() }
}

pub(super) async fn write(store: &dyn Store, writes: Vec<Write>) -> Result<Committed> {
    store.commit(Batch { leases: Vec::new(), writes }).await
}

/// Commits under leases.
pub(super) async fn write_under(
    store: &dyn Store,
    leases: Vec<(Lease, AfterCommit)>,
    writes: Vec<Write>,
) -> Result<Committed> {
    store.commit(Batch { leases, writes }).await
}

/// Inserts all drafts in one batch.
pub(super) async fn insert(store: &dyn Store, drafts: impl IntoIterator<Item = Draft>) {
    write(store, drafts.into_iter().map(Write::Insert).collect()).await.unwrap();
}

/// Reads a record that must be there.
pub(super) async fn read(store: &dyn Store, id: &str) -> Record {
    store.get(&key(id)).await.unwrap().unwrap()
}

pub(super) async fn claim(store: &dyn Store, who: u8, now: i64, until: i64, limit: usize) -> Claimed {
    let wish = Claim { worker: worker(who), now: at(now), until: at(until), limit };
    store.claim(&wish).await.unwrap()
}

/// Claims the one record that is due at `now`.
pub(super) async fn claim_one(store: &dyn Store, who: u8, now: i64, until: i64) -> Leased {
    let mut claimed = claim(store, who, now, until, 10).await;
    assert_eq!(claimed.work.len(), 1, "one record is due and free at {now}");
    claimed.work.remove(0)
}

pub(super) fn claimed_ids(claimed: &Claimed) -> Vec<&str> {
    claimed.work.iter().map(|leased| leased.record.key.id.as_str()).collect()
}

/// Follows a listing to its end.
pub(super) async fn list_all(store: &dyn Store, query: &Query) -> Vec<Record> {
    let (mut query, mut records) = (query.clone(), Vec::new());
    loop {
        let page = store.list(&query).await.unwrap();
        assert!(page.items.len() <= query.limit, "a page holds at most `limit` records");
        assert!(page.next.is_none() || !page.items.is_empty(), "a page that goes on holds something");
        records.extend(page.items);
        assert!(records.len() < 100_000, "a listing ends");
        query.after = match page.next {
            Some(next) => Some(next),
            None => return records,
        };
    }
}

pub(super) async fn list_ids(store: &dyn Store, query: &Query) -> Vec<String> {
    list_all(store, query).await.into_iter().map(|record| record.key.id).collect()
}

pub(super) fn assert_conflict<T: std::fmt::Debug>(result: Result<T>) {
    assert_eq!(*result.unwrap_err().kind(), ErrorKind::RevisionConflict);
}

pub(super) fn assert_lost<T: std::fmt::Debug>(result: Result<T>) {
    assert_eq!(*result.unwrap_err().kind(), ErrorKind::LeaseLost);
}
