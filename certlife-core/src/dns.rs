//! The [`DnsProvider`] contract and what travels through it.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    account::AccountSummary,
    error::{ProviderName, Result},
    name::Fqdn,
};

/// Publishes and withdraws the records that prove control of a DNS name.
///
/// The engine calls [`add`](Self::add) before it tells the CA that a challenge is ready (for ACME `dns-01`
/// [RFC 8555 §8.4]), and [`remove`](Self::remove) once the authorization is final, in whatever way.
///
/// # Contract
///
/// * **Additive.** Other values at the owner name stay: `example.com` and `*.example.com` share it.
/// * **Exact.** Only the value that the handle names is removed; the rest of the zone stays as it was.
/// * **Idempotent.** Adding a value that is there, or removing one that is gone, is success.
/// * **Durable.** A [`RecordHandle`] suffices to remove the record from a new process after a crash, and so
///   does [`RecordHandle::unknown`], made from the record alone when the answer to `add` was lost.
/// * **Concurrent.** Calls overlap, even at one owner name; serialize here if the vendor cannot.
/// * **Prompt.** A call returns once the vendor accepts; the engine watches propagation.
/// * **Abandonable.** A dropped future may leave the record up; the engine removes it next pass.
///
/// `certlife_testkit::dns_conformance!` checks every line above on every implementation.
///
/// # Errors
///
/// [`ErrorKind::ZoneNotFound`] if the account holds no enclosing zone, [`ErrorKind::Unauthorized`] if the
/// vendor refused the credentials, [`ErrorKind::Forbidden`] if they lack a right, [`ErrorKind::Conflict`] if
/// a CNAME or another target stands at the name. [`Error::retry`] says whether to call again.
///
/// [RFC 8555 §8.4]: https://www.rfc-editor.org/rfc/rfc8555#section-8.4
/// [`ErrorKind::ZoneNotFound`]: crate::ErrorKind::ZoneNotFound
/// [`ErrorKind::Unauthorized`]: crate::ErrorKind::Unauthorized
/// [`ErrorKind::Forbidden`]: crate::ErrorKind::Forbidden
/// [`ErrorKind::Conflict`]: crate::ErrorKind::Conflict
/// [`Error::retry`]: crate::Error::retry
#[async_trait]
pub trait DnsProvider: fmt::Debug + Send + Sync + 'static {
    /// Names the vendor in errors, logs and metrics: lower case, never renamed.
    fn provider(&self) -> ProviderName;

    /// Tells what this account can do, so that the engine asks for nothing else.
    fn capabilities(&self) -> DnsCapabilities;

    /// Tests the account, and says precisely what is missing in the credential's rights.
    async fn probe(&self) -> Result<AccountSummary>;

    /// Finds the zone of the account that holds, or would hold, records at `name`.
    async fn zone_of(&self, name: &Fqdn) -> Result<Zone>;

    /// Publishes `record` beside whatever is at its name.
    async fn add(&self, record: &DnsRecord) -> Result<Added>;

    /// Withdraws the one value that `handle` stands for.
    async fn remove(&self, handle: &RecordHandle) -> Result<()>;

    /// Asks the vendor whether a record has reached all its servers.
    async fn distribution(&self, handle: &RecordHandle) -> Result<Distribution>;
}

/// What a DNS account can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "providers outside this crate build it; a new field is a question to each"
)]
pub struct DnsCapabilities {
    /// Whether CNAME records can be published.
    pub cname: bool,
    /// Whether [`distribution`](DnsProvider::distribution) ever says more than `Unknown`.
    pub distribution: bool,
    /// Whether a person carries the changes out, so that the engine has to show them and wait for word.
    pub by_hand: bool,
}

/// A record to publish.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "tests of providers outside this crate build it")]
pub struct DnsRecord {
    /// The owner name.
    pub name: Fqdn,
    /// Type and value.
    #[serde(flatten)]
    pub data: RecordData,
}

impl DnsRecord {
    /// A TXT record with the vendor's usual short TTL.
    pub fn txt(name: Fqdn, value: impl Into<String>) -> Self {
        Self { name, data: RecordData::Txt(value.into()) }
    }

    /// A CNAME record with the vendor's usual short TTL.
    pub fn cname(name: Fqdn, target: Fqdn) -> Self {
        Self { name, data: RecordData::Cname(target) }
    }
}

/// Type and value of a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "type", content = "value")]
#[expect(clippy::exhaustive_enums, reason = "providers handle every type")]
pub enum RecordData {
    /// One TXT value: the character-strings joined, unquoted, as a resolver gives it (RFC 1035 §3.3.14).
    #[serde(rename = "TXT")]
    Txt(String),
    /// A CNAME target.
    #[serde(rename = "CNAME")]
    Cname(Fqdn),
}

impl RecordData {
    /// `TXT` or `CNAME`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Txt(_) => "TXT",
            Self::Cname(_) => "CNAME",
        }
    }
}

/// What [`DnsProvider::add`] did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "providers outside this crate build it")]
pub struct Added {
    /// How to remove the record again.
    pub handle: RecordHandle,
    /// Whether the value was there before, so that somebody else may own it.
    pub existed: bool,
}

/// The durable handle of a published record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "providers outside this crate build it")]
pub struct RecordHandle {
    /// What was published.
    pub record: DnsRecord,
    /// What only the vendor reads, such as zone and record ids; null if the answer was lost. At most 4 KiB.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub vendor: serde_json::Value,
}

impl RecordHandle {
    /// The handle of a record whose answer was lost: found by name, type and value.
    pub fn unknown(record: DnsRecord) -> Self {
        Self { record, vendor: serde_json::Value::Null }
    }
}

/// A zone of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "providers outside this crate build it")]
pub struct Zone {
    /// The apex.
    pub name: Fqdn,
    /// The vendor's id of the zone, or its name where there is no other.
    pub id: String,
    /// The name servers that the vendor assigned to it; empty if it does not say.
    pub name_servers: Vec<Fqdn>,
}

/// How far a record has spread among the vendor's own servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "the engine handles every case")]
pub enum Distribution {
    /// The vendor does not say.
    Unknown,
    /// Not everywhere yet; ask again after this long.
    Pending(Duration),
    /// On all servers.
    Complete,
}
