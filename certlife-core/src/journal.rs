//! Typed records over the [`Store`]: what is written together, and the events that go with it.

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{Notify, watch};

use crate::{
    error::{Error, ErrorKind, Operation, ProviderName, Result},
    model::{Certificate, Deployment, Event, Occurrence, Order, Version},
    seal::Sealed,
    store::{
        AfterCommit, Batch, Draft, Field, Index, Key, Kind, Lease, MAX_BODY, Page, Query, Record, Revision,
        Store, Write,
    },
    time::Timestamp,
};

/// A type that is kept as a record.
pub(crate) trait Document: Serialize + DeserializeOwned + Send + Sync {
    const KIND: Kind;

    fn id(&self) -> String;

    fn index(&self) -> Index;

    fn key(&self) -> Key {
        Key::new(Self::KIND, self.id())
    }
}

impl Document for Certificate {
    const KIND: Kind = Kind::Certificate;

    fn id(&self) -> String {
        self.spec.id.to_string()
    }

    fn index(&self) -> Index {
        let mut index: Index =
            self.spec.identifiers.iter().map(|identifier| (Field::Name, identifier.to_string())).collect();
        index.insert((Field::Account, self.spec.ca.to_string()));
        if let Some((_, not_after)) = self.validity {
            index.insert((Field::Expires, not_after.to_string()));
        }
        index
    }
}

impl Document for Version {
    const KIND: Kind = Kind::Version;

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn index(&self) -> Index {
        let mut index = Index::from([
            (Field::Owner, self.certificate.to_string()),
            (Field::Expires, self.info.not_after.to_string()),
            (Field::Issuer, self.info.issuer.to_string()),
            (Field::KeyHash, self.info.key_hash.to_string()),
            (Field::Reference, self.chain.fingerprint().to_string()),
        ]);
        index.extend(self.info.identifiers.iter().map(|identifier| (Field::Name, identifier.to_string())));
        index
    }
}

impl Document for Order {
    const KIND: Kind = Kind::Order;

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn index(&self) -> Index {
        Order::index(self)
    }
}

impl Document for Deployment {
    const KIND: Kind = Kind::Deployment;

    fn id(&self) -> String {
        Self::key(&self.certificate, &self.target).id
    }

    fn index(&self) -> Index {
        Deployment::index(self)
    }
}

/// A sealed private key, under the id that orders and versions name.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct StoredKey {
    pub(crate) id: crate::KeyId,
    pub(crate) sealed: Sealed,
    /// SHA-256 of the public key.
    pub(crate) hash: crate::KeyHash,
}

impl Document for StoredKey {
    const KIND: Kind = Kind::Key;

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn index(&self) -> Index {
        [(Field::KeyHash, self.hash.to_string())].into()
    }
}

/// A document with the revision that the next write has to name, and its due time.
#[derive(Debug, Clone)]
pub(crate) struct Stored<T> {
    pub(crate) value: T,
    pub(crate) revision: Revision,
    pub(crate) due: Option<Timestamp>,
}

impl<T: Document> Stored<T> {
    pub(crate) fn read(record: &Record) -> Result<Self> {
        let value = from_json(&record.body, record.key.kind)?;
        Ok(Self { value, revision: record.revision, due: record.due })
    }
}

pub(crate) fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value)
        .expect("our own types have string keys and finite numbers, so they serialize")
}

pub(crate) fn from_json<T: DeserializeOwned>(body: &str, kind: Kind) -> Result<T> {
    serde_json::from_str(body).map_err(|error| {
        let kind = ErrorKind::Corrupt(format!("{kind} record").into());
        Error::new(ProviderName::ENGINE, Operation::ReadStore, kind).because(error)
    })
}

/// Changes that are committed together.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    batch: Batch,
}

impl Changes {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Writes under a lease and keeps it.
    pub(crate) fn under(lease: &Lease, after: AfterCommit) -> Self {
        Self { batch: Batch { leases: vec![(lease.clone(), after)], writes: Vec::new() } }
    }

    pub(crate) fn insert<T: Document>(&mut self, value: &T, due: Option<Timestamp>) -> &mut Self {
        self.batch.writes.push(Write::Insert(draft(value, due)));
        self
    }

    pub(crate) fn replace<T: Document>(&mut self, stored: &Stored<T>, due: Option<Timestamp>) -> &mut Self {
        self.batch.writes.push(Write::Replace(draft(&stored.value, due), stored.revision));
        self
    }

    pub(crate) fn delete(&mut self, key: Key, revision: Revision) -> &mut Self {
        self.batch.writes.push(Write::Delete(key, revision));
        self
    }

    pub(crate) fn event(&mut self, occurrence: &Occurrence) -> &mut Self {
        self.batch.writes.push(Write::Append { body: to_json(occurrence), index: occurrence.index() });
        self
    }

    pub(crate) fn events<'a>(&mut self, occurrences: impl IntoIterator<Item = &'a Occurrence>) -> &mut Self {
        for occurrence in occurrences {
            self.event(occurrence);
        }
        self
    }
}

impl Changes {
    /// Whether a claim may find something that it did not before: a due record that no worker goes on with.
    fn makes_work(&self) -> bool {
        let kept = |key: &Key| {
            self.batch.leases.iter().any(|(lease, after)| lease.key == *key && *after == AfterCommit::Keep)
        };
        self.batch.writes.iter().any(|write| match write {
            Write::Insert(draft) | Write::Replace(draft, _) => draft.due.is_some() && !kept(&draft.key),
            Write::Delete(..) | Write::Append { .. } => false,
        })
    }

    fn check_sizes(&self) -> Result<()> {
        let body = |write: &Write| match write {
            Write::Insert(draft) | Write::Replace(draft, _) => draft.body.len(),
            Write::Append { body, .. } => body.len(),
            Write::Delete(..) => 0,
        };
        if self.batch.writes.iter().all(|write| body(write) <= MAX_BODY) {
            return Ok(());
        }
        let kind = ErrorKind::Corrupt("it would be larger than 8 MiB".into());
        Err(Error::new(ProviderName::ENGINE, Operation::WriteStore, kind))
    }
}

fn draft<T: Document>(value: &T, due: Option<Timestamp>) -> Draft {
    Draft { key: value.key(), body: to_json(value), due, index: value.index() }
}

/// The store, typed, with word of new work and new events to this process.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) store: Arc<dyn Store>,
    /// Told of every commit, since it may have made something due.
    pub(crate) wake: Notify,
    /// The position of the last event that this process appended.
    pub(crate) feed: watch::Sender<u64>,
}

impl Journal {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, wake: Notify::new(), feed: watch::Sender::new(0) }
    }

    pub(crate) async fn load<T: Document>(
        &self,
        id: impl std::fmt::Display + Send,
    ) -> Result<Option<Stored<T>>> {
        let record = self.store.get(&Key::new(T::KIND, id)).await?;
        record.as_ref().map(Stored::read).transpose()
    }

    pub(crate) async fn page<T: Document>(&self, query: Query) -> Result<Page<Stored<T>>> {
        debug_assert_eq!(query.kind, T::KIND, "the query names the kind of the document");
        self.store.list(&query).await?.try_map(|record| Stored::read(&record))
    }

    /// Everything that a query finds. For sets that are small by nature, such as the targets of a certificate.
    pub(crate) async fn all<T: Document>(&self, query: Query) -> Result<Vec<Stored<T>>> {
        let mut found = Vec::new();
        let mut query = query.limit(Query::MAX_LIMIT);
        loop {
            let page = self.page(query.clone()).await?;
            found.extend(page.items);
            let Some(next) = page.next else { return Ok(found) };
            query = query.after(Some(next));
        }
    }

    pub(crate) async fn commit(&self, changes: Changes) -> Result<()> {
        changes.check_sizes()?;
        let wakes = changes.makes_work();
        let committed = self.store.commit(changes.batch).await?;
        if let Some(position) = committed.position {
            self.feed.send_if_modified(|last| {
                let newer = position > *last;
                *last = (*last).max(position);
                newer
            });
        }
        if wakes {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Reads a record of the engine's own settings.
    pub(crate) async fn setting<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<(T, Revision)>> {
        let Some(record) = self.store.get(key).await? else { return Ok(None) };
        Ok(Some((from_json(&record.body, key.kind)?, record.revision)))
    }

    /// Writes a record of the engine's own settings, with the events that go with it.
    pub(crate) async fn set<T: Serialize + Sync>(
        &self,
        key: Key,
        value: &T,
        replaces: Option<Revision>,
        events: &[Occurrence],
    ) -> Result<()> {
        let draft = Draft { key, body: to_json(value), due: None, index: Index::new() };
        let mut changes = Changes::new();
        changes.batch.writes.push(match replaces {
            None => Write::Insert(draft),
            Some(revision) => Write::Replace(draft, revision),
        });
        changes.events(events);
        self.commit(changes).await
    }

    /// Reads a page of the feed after a position.
    pub(crate) async fn events(&self, query: Query) -> Result<Page<Event>> {
        self.store.list(&query).await?.try_map(|record| {
            let position = record.key.id.parse().map_err(|_| {
                Error::new(
                    ProviderName::ENGINE,
                    Operation::ReadStore,
                    ErrorKind::Corrupt("event position".into()),
                )
            })?;
            Ok(Event { position, occurrence: from_json(&record.body, Kind::Event)? })
        })
    }
}

/// Whether a commit failed because somebody else wrote first, so that reading again may help.
pub(crate) fn lost_race(error: &Error) -> bool {
    *error.kind() == ErrorKind::RevisionConflict
}
