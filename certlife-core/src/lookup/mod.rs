//! What the engine asks DNS: where a challenge name leads, who serves it, and whether a record is there.
//!
//! [`DnsLookup`] is the contract, [`Lookup`] asks real servers, and [`check`] decides visibility on top of
//! either. Nothing is cached, because a cached answer is what a freshly published record must not meet.
//! Every answer is hostile until parsed: counts and sizes are capped, and names become [`Fqdn`]s.

mod exchange;
mod resolver;
#[cfg(test)]
mod tests;
mod visibility;
mod wire;

use std::{fmt, net::SocketAddr};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    dns::RecordData,
    error::{ErrorKind, ProviderName, Result},
    name::Fqdn,
};

pub use exchange::{Exchange, Transport};
pub use resolver::{Lookup, LookupBuilder};
pub use visibility::{ServerReport, ServerState, Visibility, VisibilityReport, check};

/// DNS itself, in errors, logs and metrics.
pub const DNS: ProviderName = ProviderName::new("dns");

/// Answers questions about DNS as the world sees it.
///
/// # Contract
///
/// * **Fresh.** Nothing is remembered between calls.
/// * **Bounded.** Each call ends within a small multiple of the implementation's timeout, and returns a
///   bounded number of names, addresses and values, whatever servers say.
/// * **Concurrent.** Calls overlap; the implementation caps how many questions are under way.
/// * **Abandonable.** Dropping a call has no effect.
#[async_trait]
pub trait DnsLookup: fmt::Debug + Send + Sync + 'static {
    /// Follows the CNAMEs of `name` to the name where records are really looked up ([RFC 1034 §3.6.2]).
    ///
    /// Returns `name` itself if it has no CNAME, whether or not it exists.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Conflict`] if the aliases go round in a circle or on without end,
    /// [`ErrorKind::Unavailable`], [`ErrorKind::Timeout`] or [`ErrorKind::Unreachable`] if no resolver
    /// answered usefully, [`ErrorKind::Protocol`] if a target is not a usable name.
    ///
    /// [RFC 1034 §3.6.2]: https://www.rfc-editor.org/rfc/rfc1034#section-3.6.2
    async fn effective_name(&self, name: &Fqdn) -> Result<Fqdn>;

    /// Finds the zone that holds, or would hold, records at `name`, and the servers it is delegated to.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if no zone encloses the name or the zone names no server; otherwise as with
    /// [`effective_name`](Self::effective_name).
    async fn authority(&self, name: &Fqdn) -> Result<Authority>;

    /// Asks one server one question, over UDP and, if the answer is cut short, over TCP ([RFC 7766 §5]).
    ///
    /// # Errors
    ///
    /// Says why there is no answer. An answer that denies or refuses is an [`Answer`].
    ///
    /// [RFC 7766 §5]: https://www.rfc-editor.org/rfc/rfc7766#section-5
    async fn ask(&self, server: SocketAddr, question: &Question) -> Result<Answer, NoAnswer>;
}

/// A zone and its authoritative servers, as the delegation names them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "lookups outside this crate build it")]
pub struct Authority {
    /// The apex.
    pub zone: Fqdn,
    /// Its name servers.
    pub servers: Vec<NameServer>,
}

/// One name server of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "lookups outside this crate build it")]
pub struct NameServer {
    /// Its name in the NS record.
    pub name: Fqdn,
    /// All its addresses; empty if the name does not resolve.
    pub addresses: Vec<SocketAddr>,
}

/// A question to one server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a question has these parts (RFC 1035 §4.1.2) and RD")]
pub struct Question {
    /// The owner name.
    pub name: Fqdn,
    /// The type of record.
    pub kind: RecordKind,
    /// Whether the server is asked to find the answer elsewhere (RD), as one asks a resolver.
    pub recurse: bool,
}

/// The types of record that prove control of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "it follows `RecordData`")]
pub enum RecordKind {
    /// TXT, RFC 1035 §3.3.14.
    Txt,
    /// CNAME, RFC 1035 §3.3.1.
    Cname,
}

impl From<&RecordData> for RecordKind {
    fn from(data: &RecordData) -> Self {
        match data {
            RecordData::Txt(_) => Self::Txt,
            RecordData::Cname(_) => Self::Cname,
        }
    }
}

/// What one server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "lookups outside this crate build it")]
pub struct Answer {
    /// Whether the server claims authority for the zone (AA).
    pub authoritative: bool,
    /// The response code.
    pub code: ResponseCode,
    /// The values of the type asked for at the name, or where CNAMEs in the same answer lead: TXT with its
    /// character-strings joined. At most 256, none longer than 8 KiB; what goes beyond is left out.
    pub values: Vec<RecordData>,
}

/// A response code, RFC 6895 §2.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "the last case holds every other code")]
pub enum ResponseCode {
    /// 0: the name exists, with or without records of that type.
    NoError,
    /// 2: the server could not find out.
    ServFail,
    /// 3: the name does not exist.
    NxDomain,
    /// 5: the server does not want to say.
    Refused,
    /// Any other.
    Other(u16),
}

/// Why a server gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "callers handle every case")]
pub enum NoAnswer {
    /// This machine has no route to that address family, so nothing is known about the server.
    #[error("this machine has no route to its address family")]
    NoRoute,
    /// The address refused the connection or cannot be reached, so the message did not arrive.
    #[error("it cannot be reached")]
    Unreachable,
    /// Nothing came in time. The message may have arrived.
    #[error("no answer in time")]
    Timeout,
    /// The connection stood but was closed without an answer. The message may have arrived.
    #[error("it closed the connection without an answer")]
    HungUp,
    /// What came is not an answer to the question.
    #[error("the answer is not usable")]
    Malformed,
}

impl From<NoAnswer> for ErrorKind {
    fn from(reason: NoAnswer) -> Self {
        match reason {
            NoAnswer::NoRoute | NoAnswer::Unreachable => Self::Unreachable,
            NoAnswer::Timeout | NoAnswer::HungUp => Self::Timeout,
            NoAnswer::Malformed => Self::Protocol("the DNS message does not answer the question".into()),
        }
    }
}
