//! The [`Store`] contract: durable records, compare-and-swap batches, leases with fencing tokens.
//!
//! A store knows nothing of certificates. It keeps records under a kind and an id, finds them by a few
//! index values, hands out those that are due, and appends events. Types, sealing and the audit trail
//! live above it, once, in the engine; so a third store is an afternoon's work.

mod memory;

use std::{collections::BTreeSet, fmt, ops::Bound};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use self::memory::MemoryStore;
use crate::{error::Result, id::WorkerId, input::InputError, time::Timestamp};

/// Keeps everything that must survive a crash.
///
/// # Contract
///
/// * **Atomic.** [`commit`](Self::commit) applies the whole batch or nothing, and readers see it whole.
/// * **Compared.** A write names the revision that it replaces; if another writer came first, the batch
///   fails with [`RevisionConflict`] and nothing is written.
/// * **Fenced.** A batch that carries a [`Lease`] fails with [`LeaseLost`] if the record has been claimed
///   again, released or deleted since, whatever the clock says. Replacing a record leaves its lease alone.
/// * **Durable.** `commit` returns once the data would survive a power cut.
/// * **Exclusive.** Of several workers that [`claim`](Self::claim) at once, one gets a due record.
/// * **Cheap when idle.** `claim` and [`list`](Self::list) read an index; they cost what they return.
/// * **Ordered.** Events get positions from 1 upwards without gaps, and a reader that has seen a position
///   never finds a new event before it.
/// * **Stable paging.** A record that stays as it is during a listing is listed exactly once; under a
///   filter, once for each of its values that the filter admits. A [`Cursor`] is a place and need not name
///   a record; one outside the filter leads to no record outside it.
/// * **Abandonable.** A dropped call either happened as a whole or not at all.
///
/// `certlife_testkit::store_conformance!` checks every line above on every implementation.
///
/// # Errors
///
/// [`RevisionConflict`], [`LeaseLost`], and [`ErrorKind::Io`](crate::ErrorKind::Io) where the medium fails.
///
/// [`RevisionConflict`]: crate::ErrorKind::RevisionConflict
/// [`LeaseLost`]: crate::ErrorKind::LeaseLost
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Reads one record.
    async fn get(&self, key: &Key) -> Result<Option<Record>>;

    /// Lists records of one kind, by id or by an index value, a page at a time.
    async fn list(&self, query: &Query) -> Result<Page<Record>>;

    /// Writes a batch.
    async fn commit(&self, batch: Batch) -> Result<Committed>;

    /// Takes up to [`Claim::limit`] due records, earliest first, so that no other worker gets them before
    /// [`Claim::until`].
    async fn claim(&self, claim: &Claim) -> Result<Claimed>;

    /// Keeps a lease until `until`. Fails with `LeaseLost` if another worker has it or the record is gone.
    async fn extend(&self, lease: &Lease, until: Timestamp) -> Result<Lease>;

    /// Gives a lease back, so that the record can be claimed again once it is due. Harmless if it is lost.
    async fn release(&self, lease: &Lease) -> Result<()>;
}

/// What a record is about. Stores keep the text form and need not know the kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// A certificate that the host wants to keep alive.
    Certificate,
    /// One issued certificate with its chain.
    Version,
    /// One sealed private key.
    Key,
    /// One attempt to get a version.
    Order,
    /// The pair certificate × target.
    Deployment,
    /// What is remembered about an account, such as that it is disabled.
    Account,
    /// What holds for the certificates of a CA account that say nothing themselves.
    Policy,
    /// A domain that is validated at a CA account apart from orders.
    Domain,
    /// What an account may order.
    Catalog,
    /// A sealed entry that belongs to a provider, such as the key of an ACME account.
    Vault,
    /// What is remembered about the engine itself.
    Setting,
    /// One line of the audit trail and of the feed. Its id is its position.
    Event,
}

impl Kind {
    /// The text form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Version => "version",
            Self::Key => "key",
            Self::Order => "order",
            Self::Deployment => "deployment",
            Self::Account => "account",
            Self::Policy => "policy",
            Self::Domain => "domain",
            Self::Catalog => "catalog",
            Self::Vault => "vault",
            Self::Setting => "setting",
            Self::Event => "event",
        }
    }
}

impl std::str::FromStr for Kind {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        serde::Deserialize::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(
            text,
        ))
        .map_err(|_| InputError::Unknown { kind: "record kind", id: text.chars().take(40).collect() })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a record is found.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "a pair, and stores build it from two columns")]
pub struct Key {
    /// What the record is about.
    pub kind: Kind,
    /// Unique within the kind. At most 255 bytes.
    pub id: String,
}

impl Key {
    /// Names a record.
    pub fn new(kind: Kind, id: impl fmt::Display) -> Self {
        Self { kind, id: id.to_string() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.id)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Counts the writes of a record, from 1.
pub type Revision = u64;

/// A stored record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "stores build it from their columns")]
pub struct Record {
    /// Where it is found.
    pub key: Key,
    /// How often it was written.
    pub revision: Revision,
    /// The JSON text that the engine keeps. At most [`MAX_BODY`] bytes.
    pub body: String,
    /// When work on it is due; none means never.
    pub due: Option<Timestamp>,
    /// What it is found by.
    pub index: Index,
}

/// The largest body of a record: 8 MiB, far above an order of 1,000 names.
pub const MAX_BODY: usize = 8 << 20;

/// What a record is found by: any number of values a field.
pub type Index = BTreeSet<(Field, String)>;

/// A field of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Field {
    /// The object that it belongs to, such as the certificate of an order.
    Owner,
    /// Its state.
    State,
    /// An identifier in the certificate.
    Name,
    /// The issuer of the certificate.
    Issuer,
    /// SHA-256 of the public key.
    KeyHash,
    /// When the certificate expires, as [`Timestamp`] text, which sorts like time.
    Expires,
    /// The id that somebody else uses for it, such as an order number at the CA.
    Reference,
    /// A publication that an order has, or may have, in place.
    Publication,
    /// The account that it uses.
    Account,
}

impl Field {
    /// The text form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::State => "state",
            Self::Name => "name",
            Self::Issuer => "issuer",
            Self::KeyHash => "key_hash",
            Self::Expires => "expires",
            Self::Reference => "reference",
            Self::Publication => "publication",
            Self::Account => "account",
        }
    }
}

impl std::str::FromStr for Field {
    type Err = InputError;

    fn from_str(text: &str) -> Result<Self, InputError> {
        serde::Deserialize::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(
            text,
        ))
        .map_err(|_| InputError::Unknown { kind: "index field", id: text.chars().take(40).collect() })
    }
}

/// What to write under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the engine builds it and stores take it apart")]
pub struct Draft {
    /// Where to write.
    pub key: Key,
    /// JSON text.
    pub body: String,
    /// When work on it is due.
    pub due: Option<Timestamp>,
    /// What it is found by; replaces the earlier values.
    pub index: Index,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a store has to carry out every kind")]
pub enum Write {
    /// Creates a record; fails if the key is taken. Its revision is 1.
    Insert(Draft),
    /// Replaces a record whose revision is the one given.
    Replace(Draft, Revision),
    /// Removes a record whose revision is the one given.
    Delete(Key, Revision),
    /// Appends an event; the store gives it the next position. Its key's id is ignored.
    Append {
        /// JSON text.
        body: String,
        /// What it is found by.
        index: Index,
    },
}

/// Changes that happen together.
#[derive(Debug, Clone, Default)]
#[expect(clippy::exhaustive_structs, reason = "the engine builds it and stores take it apart")]
pub struct Batch {
    /// The leases under which the batch is written, and what becomes of each.
    pub leases: Vec<(Lease, AfterCommit)>,
    /// The changes, carried out in order. A key occurs at most once.
    pub writes: Vec<Write>,
}

/// What becomes of a lease when its batch is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a lease is kept or not")]
pub enum AfterCommit {
    /// The worker goes on.
    Keep,
    /// The record can be claimed again once it is due.
    Release,
}

/// What a commit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::exhaustive_structs, reason = "stores build it")]
pub struct Committed {
    /// The position of the last event that the batch appended, if it appended any.
    pub position: Option<u64>,
}

/// A worker's wish for due records.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "the engine builds it and stores take it apart")]
pub struct Claim {
    /// Who asks.
    pub worker: WorkerId,
    /// The present moment: records due at or before it are taken, unless leased beyond it.
    pub now: Timestamp,
    /// How long the leases last.
    pub until: Timestamp,
    /// The most records to take.
    pub limit: usize,
}

/// What a claim brought.
#[derive(Debug, Clone, Default)]
#[expect(clippy::exhaustive_structs, reason = "stores build it")]
pub struct Claimed {
    /// The records: those first that have been both due and free the longest.
    pub work: Vec<Leased>,
    /// When the next record that was not taken becomes due or falls free; none if nothing is waiting.
    pub next: Option<Timestamp>,
}

/// A record with the lease on it.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "a pair that stores build")]
pub struct Leased {
    /// The record as claimed.
    pub record: Record,
    /// The right to work on it.
    pub lease: Lease,
}

/// The right to work on a record for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "stores build it")]
pub struct Lease {
    /// The record.
    pub key: Key,
    /// Who holds it.
    pub worker: WorkerId,
    /// The fencing token: grows with every claim in the store, so that no two leases share one.
    pub token: u64,
    /// When others may claim the record.
    pub until: Timestamp,
}

/// Which records to list.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "the engine builds it and stores take it apart")]
pub struct Query {
    /// The kind.
    pub kind: Kind,
    /// Restricts to an index value or range, and orders by it; without it all records, ordered by id.
    pub filter: Option<Filter>,
    /// Goes on after this place.
    pub after: Option<Cursor>,
    /// The most records in the page: at least 1, at most [`Query::MAX_LIMIT`].
    pub limit: usize,
    /// Turns the order round: newest events first, latest expiry first.
    pub descending: bool,
}

impl Query {
    /// The most records in one page.
    pub const MAX_LIMIT: usize = 1_000;

    /// All records of a kind, by id, 100 a page.
    pub fn all(kind: Kind) -> Self {
        Self { kind, filter: None, after: None, limit: 100, descending: false }
    }

    /// Those whose index holds `value` for `field`.
    #[must_use]
    pub fn having(mut self, field: Field, value: impl Into<String>) -> Self {
        let value = value.into();
        self.filter =
            Some(Filter { field, from: Bound::Included(value.clone()), to: Bound::Included(value) });
        self
    }

    /// Those whose value for `field` lies between the bounds.
    #[must_use]
    pub fn between(mut self, field: Field, from: Bound<String>, to: Bound<String>) -> Self {
        self.filter = Some(Filter { field, from, to });
        self
    }

    /// Goes on after `cursor`.
    #[must_use]
    pub fn after(mut self, cursor: Option<Cursor>) -> Self {
        self.after = cursor;
        self
    }

    /// Sets the page size, kept between 1 and [`Query::MAX_LIMIT`].
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit.clamp(1, Self::MAX_LIMIT);
        self
    }

    /// Turns the order round.
    #[must_use]
    pub fn descending(mut self) -> Self {
        self.descending = true;
        self
    }
}

/// A range of one index field. Values compare as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "the engine builds it and stores take it apart")]
pub struct Filter {
    /// The field.
    pub field: Field,
    /// The lower end.
    pub from: Bound<String>,
    /// The upper end.
    pub to: Bound<String>,
}

impl Filter {
    /// Whether a value lies within.
    pub fn admits(&self, value: &str) -> bool {
        let after_start = match &self.from {
            Bound::Included(from) => value >= from.as_str(),
            Bound::Excluded(from) => value > from.as_str(),
            Bound::Unbounded => true,
        };
        after_start
            && match &self.to {
                Bound::Included(to) => value <= to.as_str(),
                Bound::Excluded(to) => value < to.as_str(),
                Bound::Unbounded => true,
            }
    }
}

/// A place in a listing: the last record seen, by index value (empty without a filter) and id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "stores build it and compare it")]
pub struct Cursor {
    /// The index value, empty without a filter.
    pub value: String,
    /// The id.
    pub id: String,
}

/// Part of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "providers and stores build it")]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where to go on; none after the last page.
    pub next: Option<Cursor>,
}

impl<T> Page<T> {
    /// Converts every item.
    ///
    /// # Errors
    ///
    /// The first error of `convert`.
    pub fn try_map<U, E>(self, convert: impl FnMut(T) -> Result<U, E>) -> Result<Page<U>, E> {
        Ok(Page { items: self.items.into_iter().map(convert).collect::<Result<_, E>>()?, next: self.next })
    }
}

/// The id of the event at `position`: fixed width, so that ids sort like positions.
pub fn event_id(position: u64) -> String {
    format!("{position:020}")
}
