//! [`Lookup`]: real servers, asked through resolvers or directly.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::{join, join_all};
use hickory_proto::{
    op::Message,
    rr::{RData, RecordType},
};
use tokio::sync::Semaphore;

use super::{
    Answer, Authority, DNS, DnsLookup, Exchange, NameServer, NoAnswer, Question, ResponseCode, Transport,
    wire,
};
use crate::{
    error::{Error, ErrorKind, Operation, Result, Retry},
    input::InputError,
    name::Fqdn,
};

/// The most CNAMEs that are followed; resolvers give up at about as many.
const MAX_HOPS: usize = 16;
/// The most name servers of a zone that are looked at. The root has 13.
const MAX_SERVERS: usize = 16;
/// The most addresses of one server name and family that are looked at.
const MAX_ADDRESSES: usize = 8;
/// The most resolvers that are used.
const MAX_RESOLVERS: usize = 8;

/// Asks real DNS servers.
///
/// Names are resolved through recursive resolvers, tried in turn, beginning with the one that answered last;
/// [`ask`](DnsLookup::ask) goes straight to the server. Clones share the cap on questions under way.
#[derive(Clone)]
pub struct Lookup(Arc<Shared>);

struct Shared {
    resolvers: Vec<SocketAddr>,
    port: u16,
    exchange: Exchange,
    under_way: Semaphore,
    /// The index of the resolver that answered last.
    preferred: AtomicUsize,
}

impl Lookup {
    /// Uses the resolvers of this machine: `/etc/resolv.conf`, or what the operating system has in its place.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] if that cannot be read or names none.
    pub fn system() -> Result<Self, InputError> {
        let unusable = |rule: String| InputError::setting("resolvers", rule);
        let (config, _) = hickory_resolver::system_conf::read_system_conf()
            .map_err(|error| unusable(format!("this machine's cannot be read ({error}); state them")))?;
        let stated = config.name_servers().iter().map(|server| {
            let port = server.connections.first().map_or(53, |connection| connection.port);
            SocketAddr::new(server.ip, port)
        });
        Self::builder().resolvers(stated.take(MAX_RESOLVERS)).build()
    }

    /// Starts a lookup with stated resolvers.
    pub fn builder() -> LookupBuilder {
        LookupBuilder {
            resolvers: Vec::new(),
            port: 53,
            timeout: Duration::from_secs(5),
            transport: Transport::Udp,
            concurrency: 64,
        }
    }

    /// Asks one server and reads the answer.
    async fn exchange(
        &self,
        server: SocketAddr,
        name: &Fqdn,
        kind: RecordType,
        recurse: bool,
    ) -> Result<Message, NoAnswer> {
        let _permit = self.0.under_way.acquire().await.map_err(|_| NoAnswer::Timeout)?;
        let question = wire::encode(name, kind, recurse)?;
        let answer = self.0.exchange.send(server, &question).await?;
        wire::decode(&answer, name, kind)
    }

    /// Asks the resolvers in turn until one knows.
    async fn resolve(&self, name: &Fqdn, kind: RecordType) -> Result<Message> {
        let first = self.0.preferred.load(Ordering::Relaxed);
        let count = self.0.resolvers.len();
        let mut failure = ErrorKind::Unavailable;
        for index in (first..first + count).map(|index| index % count) {
            match self.exchange(self.0.resolvers[index], name, kind, true).await {
                Ok(message) => match wire::code(&message) {
                    ResponseCode::NoError | ResponseCode::NxDomain => {
                        self.0.preferred.store(index, Ordering::Relaxed);
                        return Ok(message);
                    }
                    _ => failure = ErrorKind::Unavailable,
                },
                Err(reason) => failure = reason.into(),
            }
        }
        Err(Error::new(DNS, Operation::Resolve, failure).because(format!("{kind} of {name}")))
    }

    /// Finds the zone cut: the owner of the SOA record that comes with the answer or its denial.
    async fn zone_cut(&self, name: &Fqdn) -> Result<Fqdn> {
        for candidate in name.ancestors() {
            let message = self.resolve(&candidate, RecordType::SOA).await?;
            // Behind a CNAME the SOA belongs to the target's zone.
            if message.answers.iter().any(|record| record.record_type() == RecordType::CNAME) {
                continue;
            }
            let sections = message.answers.iter().chain(&message.authorities);
            let owners = sections.filter(|record| record.record_type() == RecordType::SOA);
            let mut zones = owners.filter_map(|record| wire::from_wire(&record.name));
            if let Some(zone) = zones.find(|zone| candidate.is_within(zone)) {
                return Ok(zone);
            }
        }
        Err(not_found(format!("a zone that encloses {name}")))
    }

    async fn server_names(&self, zone: &Fqdn) -> Result<Vec<Fqdn>> {
        let message = self.resolve(zone, RecordType::NS).await?;
        let at_apex =
            message.answers.iter().filter(|record| wire::from_wire(&record.name).as_ref() == Some(zone));
        let mut names: Vec<Fqdn> = at_apex
            .filter_map(|record| match &record.data {
                RData::NS(server) => wire::from_wire(&server.0),
                _ => None,
            })
            .take(MAX_SERVERS)
            .collect();
        names.sort();
        names.dedup();
        if names.is_empty() { Err(not_found(format!("a name server of {zone}"))) } else { Ok(names) }
    }

    /// Resolves a server name to all its addresses. One that cannot be resolved has none.
    async fn addresses(&self, name: Fqdn) -> NameServer {
        let (v4, v6) = join(self.resolve(&name, RecordType::A), self.resolve(&name, RecordType::AAAA)).await;
        let mut addresses = Vec::new();
        for message in [v4, v6].into_iter().flatten() {
            let found = message.answers.iter().filter_map(|record| record.data.ip_addr());
            addresses.extend(found.take(MAX_ADDRESSES).map(|ip: IpAddr| SocketAddr::new(ip, self.0.port)));
        }
        addresses.sort();
        addresses.dedup();
        NameServer { name, addresses }
    }
}

#[async_trait]
impl DnsLookup for Lookup {
    async fn effective_name(&self, name: &Fqdn) -> Result<Fqdn> {
        let mut trail = vec![name.clone()];
        while trail.len() <= MAX_HOPS {
            let here = &trail[trail.len() - 1];
            let message = self.resolve(here, RecordType::CNAME).await?;
            let alias = message.answers.iter().find_map(|record| match &record.data {
                RData::CNAME(target) if wire::from_wire(&record.name).as_ref() == Some(here) => {
                    Some(&target.0)
                }
                _ => None,
            });
            let Some(target) = alias else { return Ok(here.clone()) };
            let Some(target) = wire::from_wire(target) else {
                let what = format!("the CNAME at {here} points to what is not a usable name");
                return Err(Error::new(DNS, Operation::Resolve, ErrorKind::Protocol(what.into())));
            };
            if trail.contains(&target) {
                return Err(conflict(format!("the CNAMEs that start at {name} come back to {target}")));
            }
            trail.push(target);
        }
        Err(conflict(format!("more than {MAX_HOPS} CNAMEs follow each other from {name} on")))
    }

    async fn authority(&self, name: &Fqdn) -> Result<Authority> {
        let zone = self.zone_cut(name).await?;
        let names = self.server_names(&zone).await?;
        let servers = join_all(names.into_iter().map(|name| self.addresses(name))).await;
        Ok(Authority { zone, servers })
    }

    async fn ask(&self, server: SocketAddr, question: &Question) -> Result<Answer, NoAnswer> {
        let kind = question.kind.into();
        let message = self.exchange(server, &question.name, kind, question.recurse).await?;
        Ok(wire::answer(&message, &question.name, question.kind))
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").field("resolvers", &self.0.resolvers).finish_non_exhaustive()
    }
}

/// Delegations heal, so the question is worth asking again.
fn not_found(what: String) -> Error {
    Error::new(DNS, Operation::Resolve, ErrorKind::NotFound(what.into())).retry_as(Retry::Backoff)
}

fn conflict(what: String) -> Error {
    Error::new(DNS, Operation::Resolve, ErrorKind::Conflict(what.into()))
}

/// Makes a [`Lookup`].
#[derive(Debug, Clone)]
#[must_use]
pub struct LookupBuilder {
    resolvers: Vec<SocketAddr>,
    port: u16,
    timeout: Duration,
    transport: Transport,
    concurrency: usize,
}

impl LookupBuilder {
    /// Resolves names through these recursive resolvers, in this order. Required; 1 to 8.
    pub fn resolvers(mut self, resolvers: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.resolvers = resolvers.into_iter().collect();
        self
    }

    /// Asks authoritative servers at this port, as test servers need it. Defaults to 53.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Gives one question to one server this long, over UDP and TCP together. Defaults to 5 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends questions this way. Defaults to [`Transport::Udp`].
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Has at most this many questions under way at a time. Defaults to 64.
    pub fn concurrency(mut self, questions: usize) -> Self {
        self.concurrency = questions;
        self
    }

    /// Checks the values and returns the lookup. Asks nothing.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] names the setting that is wrong and what it should look like.
    pub fn build(self) -> Result<Lookup, InputError> {
        if self.resolvers.is_empty() || self.resolvers.len() > MAX_RESOLVERS {
            return Err(InputError::setting("resolvers", format!("name 1 to {MAX_RESOLVERS}")));
        }
        if self.concurrency == 0 || self.concurrency > Semaphore::MAX_PERMITS {
            return Err(InputError::setting("concurrency", "allow at least one question"));
        }
        if self.timeout.is_zero() {
            return Err(InputError::setting("timeout", "allow some time"));
        }
        Ok(Lookup(Arc::new(Shared {
            resolvers: self.resolvers,
            port: self.port,
            exchange: Exchange { transport: self.transport, timeout: self.timeout },
            under_way: Semaphore::new(self.concurrency),
            preferred: AtomicUsize::new(0),
        })))
    }
}
