//! Whether a published record can be seen by those who will look for it.
//!
//! A CA asks authoritative servers, from several places, and a failed validation costs a new order; so the
//! default is that every authoritative server has the record. The other strategies are for where that cannot
//! be asked: hidden primaries, split horizons, closed ports.

use std::{fmt, net::IpAddr, net::SocketAddr, time::Duration};

use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Answer, DnsLookup, NoAnswer, Question, RecordKind, ResponseCode};
use crate::{dns::DnsRecord, name::Fqdn, text::VendorText};

/// The most servers that one check asks.
const MAX_ASKED: usize = 64;

/// Who is asked whether a record is there.
///
/// As a setting: `"authoritative"`, `{ servers = ["192.0.2.1", "192.0.2.2:5353"] }`,
/// `{ resolvers = ["192.0.2.53"] }`, `{ wait_seconds = 120 }` or `"none"`. A port left out is 53.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "the engine handles every case")]
pub enum Visibility {
    /// Every server that the zone is delegated to.
    #[default]
    Authoritative,
    /// These authoritative servers, all of them, whatever the delegation says.
    #[schemars(with = "Vec<String>")]
    Servers(#[serde(with = "addresses")] Vec<SocketAddr>),
    /// These recursive resolvers, all of them. They may remember for a while that a name did not exist.
    #[schemars(with = "Vec<String>")]
    Resolvers(#[serde(with = "addresses")] Vec<SocketAddr>),
    /// Nobody: once this long has passed, given in seconds, the record is taken for visible.
    #[serde(rename = "wait_seconds")]
    #[schemars(with = "u64")]
    Wait(#[serde(with = "seconds")] Duration),
    /// Nobody: the record is taken for visible at once.
    None,
}

impl Visibility {
    /// How long to let pass after publication before [`check`] is worth calling.
    pub fn first_wait(&self) -> Duration {
        match self {
            Self::Wait(wait) => *wait,
            _ => Duration::ZERO,
        }
    }
}

/// What one check found, for `explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VisibilityReport {
    /// Whether every server that counts has the record.
    pub visible: bool,
    /// The zone whose servers were asked, where the strategy is to find them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Fqdn>,
    /// What each server said.
    pub servers: Vec<ServerReport>,
    /// Why no server could be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<VendorText>,
}

impl VisibilityReport {
    /// The servers that keep the record from being visible.
    pub fn waiting_for(&self) -> impl Iterator<Item = &ServerReport> {
        self.servers.iter().filter(|report| !matches!(report.state, ServerState::Has | ServerState::NoRoute))
    }

    /// Whether each server that serves the zone at all has the record, so that what is missing is not old
    /// data but broken servers. A CA passes over such servers, so going on at the deadline is reasonable.
    pub fn only_broken_servers_lack_it(&self) -> bool {
        self.servers.iter().any(|report| report.state == ServerState::Has)
            && self.waiting_for().all(|report| report.state.is_broken())
    }

    fn trusted() -> Self {
        Self { visible: true, zone: None, servers: Vec::new(), problem: None }
    }

    fn of(zone: Option<Fqdn>, servers: Vec<ServerReport>) -> Self {
        let mut report = Self { visible: false, zone, servers, problem: None };
        let somebody_has_it = report.servers.iter().any(|server| server.state == ServerState::Has);
        report.visible = somebody_has_it && report.waiting_for().next().is_none();
        report
    }
}

/// What one server said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServerReport {
    /// The address that was asked; none if the server's name has no address.
    pub server: Option<SocketAddr>,
    /// The name of the server, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Fqdn>,
    /// What it said.
    pub state: ServerState,
}

impl fmt::Display for ServerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, self.server) {
            (Some(name), Some(server)) => write!(f, "{name} ({server})"),
            (Some(name), None) => write!(f, "{name}"),
            (None, Some(server)) => write!(f, "{server}"),
            (None, None) => f.write_str("a server"),
        }?;
        write!(f, " {}", self.state)
    }
}

/// What a server says about a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ServerState {
    /// It has the record.
    Has,
    /// It does not have it yet.
    Lacks,
    /// It could not find out (SERVFAIL or another error code).
    Fails,
    /// It is named as a server of the zone but does not claim authority for it (RFC 9499 §7).
    Lame,
    /// It refuses to answer.
    Refused,
    /// It did not answer, or not in time.
    Silent,
    /// It cannot be reached.
    Unreachable,
    /// Its name has no address.
    Unresolved,
    /// Its answer could not be read.
    Malformed,
    /// This machine has no route to its address family; it does not count.
    NoRoute,
}

impl ServerState {
    fn is_broken(self) -> bool {
        !matches!(self, Self::Has | Self::Lacks)
    }
}

impl fmt::Display for ServerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Has => "has the record",
            Self::Lacks => "does not have the record yet",
            Self::Fails => "failed to answer",
            Self::Lame => "does not serve the zone",
            Self::Refused => "refuses to answer",
            Self::Silent => "did not answer in time",
            Self::Unreachable => "cannot be reached",
            Self::Unresolved => "has no address",
            Self::Malformed => "gave an unreadable answer",
            Self::NoRoute => "is skipped, as there is no route to its address family",
        })
    }
}

/// Finds out whether `record` is visible by the given strategy, asking all servers concurrently.
///
/// The name is taken as it is: for a challenge that is delegated by a CNAME, pass the
/// [effective name](DnsLookup::effective_name). With [`Visibility::Wait`] the caller has waited already.
/// Never fails: what goes wrong is a reason why the record is not visible yet.
pub async fn check(lookup: &dyn DnsLookup, record: &DnsRecord, by: &Visibility) -> VisibilityReport {
    match by {
        Visibility::Wait(_) | Visibility::None => VisibilityReport::trusted(),
        Visibility::Servers(servers) => {
            VisibilityReport::of(None, ask_all(lookup, record, stated(servers), false).await)
        }
        Visibility::Resolvers(servers) => {
            VisibilityReport::of(None, ask_all(lookup, record, stated(servers), true).await)
        }
        Visibility::Authoritative => match lookup.authority(&record.name).await {
            Ok(authority) => {
                let servers = authority.servers.into_iter().flat_map(|server| {
                    let unresolved = server.addresses.is_empty().then_some(None);
                    let addresses = server.addresses.into_iter().map(Some).chain(unresolved);
                    addresses.map(move |address| (Some(server.name.clone()), address))
                });
                let reports = ask_all(lookup, record, servers.collect(), false).await;
                VisibilityReport::of(Some(authority.zone), reports)
            }
            Err(error) => VisibilityReport {
                problem: Some(error.chain().into()),
                ..VisibilityReport::of(None, Vec::new())
            },
        },
    }
}

type Asked = (Option<Fqdn>, Option<SocketAddr>);

fn stated(servers: &[SocketAddr]) -> Vec<Asked> {
    servers.iter().map(|server| (None, Some(*server))).collect()
}

async fn ask_all(
    lookup: &dyn DnsLookup,
    record: &DnsRecord,
    servers: Vec<Asked>,
    recurse: bool,
) -> Vec<ServerReport> {
    let kind = RecordKind::from(&record.data);
    let question = &Question { name: record.name.clone(), kind, recurse };
    join_all(servers.into_iter().take(MAX_ASKED).map(|(name, server)| async move {
        let state = match server {
            None => ServerState::Unresolved,
            Some(address) => state(&lookup.ask(address, question).await, record, recurse),
        };
        ServerReport { server, name, state }
    }))
    .await
}

fn state(outcome: &Result<Answer, NoAnswer>, record: &DnsRecord, recursive: bool) -> ServerState {
    let answer = match outcome {
        Ok(answer) => answer,
        Err(NoAnswer::NoRoute) => return ServerState::NoRoute,
        Err(NoAnswer::Unreachable) => return ServerState::Unreachable,
        Err(NoAnswer::Timeout | NoAnswer::HungUp) => return ServerState::Silent,
        Err(NoAnswer::Malformed) => return ServerState::Malformed,
    };
    match answer.code {
        ResponseCode::NoError | ResponseCode::NxDomain if !answer.authoritative && !recursive => {
            ServerState::Lame
        }
        ResponseCode::NoError if answer.values.contains(&record.data) => ServerState::Has,
        ResponseCode::NoError | ResponseCode::NxDomain => ServerState::Lacks,
        ResponseCode::Refused => ServerState::Refused,
        ResponseCode::ServFail | ResponseCode::Other(_) => ServerState::Fails,
    }
}

/// Socket addresses as text, the port being 53 unless stated.
mod addresses {
    use super::{Deserialize, Deserializer, IpAddr, MAX_ASKED, Serializer, SocketAddr};
    use serde::de::Error as _;

    pub(super) fn serialize<S: Serializer>(list: &[SocketAddr], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<SocketAddr>, D::Error> {
        let list = Vec::<String>::deserialize(deserializer)?;
        if list.is_empty() || list.len() > MAX_ASKED {
            return Err(D::Error::custom(format!("name 1 to {MAX_ASKED} servers")));
        }
        list.iter().map(|text| parse(text).ok_or_else(|| D::Error::custom(unusable(text)))).collect()
    }

    fn parse(text: &str) -> Option<SocketAddr> {
        text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 53)))
    }

    fn unusable(text: &str) -> String {
        format!(
            "{text:?} is neither an IP address nor one with a port, as in `192.0.2.1:53` or `[2001:db8::1]:53`"
        )
    }
}

/// A duration as whole seconds.
mod seconds {
    use super::{Deserialize, Deserializer, Duration, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(duration.as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_secs)
    }
}
