//! Dynamic update ([RFC 2136](https://www.rfc-editor.org/rfc/rfc2136)) with TSIG as a [`DnsProvider`]: BIND,
//! Knot and others.
//!
//! Needs a key that may update TXT records, and CNAME records if CAs ask for them. Each change adds or
//! deletes exactly one record, and the server is asked before and after, because it drops without an error
//! what does not fit (RFC 2136 §3.4.2.2). All messages are signed, questions too, since views may hang on
//! the key; for that Knot wants `action: [query, update]` in its ACL. Records are on this server at once; its
//! secondaries follow by themselves.

#[cfg(test)]
mod fake;
mod message;
mod server;
mod settings;
#[cfg(test)]
mod tests;
mod tsig;

use std::{fmt, sync::Arc, time::Duration};

use certlife_core::{
    AccountSummary, Clock, DnsProvider, Error, ErrorKind, Fqdn, InputError, Operation, ProviderName,
    Registry, Result, Secret, async_trait,
    dns::{Added, Distribution, DnsCapabilities, DnsRecord, RecordData, RecordHandle, Zone},
};
use hickory_proto::{
    op::ResponseCode,
    rr::{RData, RecordType},
};

use self::server::Server;
use crate::{serial::Serial, zones::Zones};

pub use self::{
    settings::{Rfc2136Builder, Settings, ZoneSettings},
    tsig::Algorithm,
};
pub use certlife_core::lookup::Transport;

/// `rfc2136` in errors, logs and metrics.
pub const NAME: ProviderName = ProviderName::new("rfc2136");

/// How long it is remembered which zone of the server encloses a name.
const REMEMBER_ZONES: Duration = Duration::from_mins(5);

/// Publishes by dynamic update.
pub struct Rfc2136 {
    entries: Vec<Entry>,
    ttl_seconds: u32,
    clock: Arc<dyn Clock>,
    /// For the entry without a zone, if there is one.
    zones: Zones<Fqdn>,
    /// Changes at one name take turns, so that asking and changing belong together.
    turns: Serial<Fqdn>,
}

/// A server with a key, for one zone or for all that it has.
struct Entry {
    zone: Option<Fqdn>,
    server: Server,
}

/// What is at a name already.
struct Present {
    /// The records that are the one in question, as they are on the wire.
    same: Vec<RData>,
    /// Whether a CNAME is there that is not the one in question.
    alias: bool,
}

impl Rfc2136 {
    /// Starts a provider that updates at `server`: an IP address or a host name, with or without a port.
    ///
    /// `key_secret` is in base64.
    pub fn builder(
        server: impl Into<String>,
        key_name: impl Into<String>,
        key_secret: impl Into<Secret>,
    ) -> Rfc2136Builder {
        Rfc2136Builder::new(server, key_name, key_secret.into())
    }

    /// Makes the provider from its settings.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] names the setting that is wrong and what it should look like.
    pub fn from_settings(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, InputError> {
        Rfc2136Builder::from_settings(settings, clock).build()
    }

    fn new(entries: Vec<Entry>, ttl_seconds: u32, clock: Arc<dyn Clock>) -> Self {
        let zones = Zones::new(clock.clone(), REMEMBER_ZONES);
        Self { entries, ttl_seconds, clock, zones, turns: Serial::new() }
    }

    fn now(&self) -> i64 {
        self.clock.now().unix_seconds()
    }

    /// Chooses the server and the zone for a name.
    async fn locate(&self, operation: Operation, name: &Fqdn) -> Result<(&Server, Fqdn)> {
        let unknown = || Error::new(NAME, operation, ErrorKind::ZoneNotFound(name.clone()));
        let stated = self.entries.iter().filter_map(|entry| Some((entry, entry.zone.as_ref()?)));
        let enclosing = stated.filter(|(_, zone)| name.is_within(zone));
        if let Some((entry, zone)) = enclosing.max_by_key(|(_, zone)| zone.as_str().len()) {
            return Ok((&entry.server, zone.clone()));
        }
        let any = self.entries.iter().find(|entry| entry.zone.is_none()).ok_or_else(unknown)?;
        let find = |candidate| self.zone_around(operation, &any.server, candidate);
        let zone = self.zones.enclosing(name, find).await?.ok_or_else(unknown)?;
        Ok((&any.server, zone))
    }

    /// Asks the server for the zone at or around `name`. None if it has no authority there.
    async fn zone_around(&self, operation: Operation, server: &Server, name: Fqdn) -> Result<Option<Fqdn>> {
        let answer = server.send(operation, &message::question(&name, RecordType::SOA), self.now()).await?;
        match answer.code() {
            ResponseCode::NoError | ResponseCode::NXDomain if answer.message.metadata.authoritative => {}
            ResponseCode::NoError
            | ResponseCode::NXDomain
            | ResponseCode::Refused
            | ResponseCode::NotAuth => return Ok(None),
            code => return Err(message::refusal(operation, code, &name)),
        }
        // Behind a CNAME the SOA may be that of the target's zone.
        if answer.message.answers.iter().any(|record| record.record_type() == RecordType::CNAME) {
            return Ok(None);
        }
        let sections = answer.message.answers.iter().chain(&answer.message.authorities);
        let mut owners = sections
            .filter(|record| record.record_type() == RecordType::SOA)
            .filter_map(|record| record.name.to_ascii().parse::<Fqdn>().ok());
        Ok(owners.find(|zone| name.is_within(zone)))
    }

    /// Asks the server what is at the name of `record`.
    async fn present(
        &self,
        operation: Operation,
        server: &Server,
        zone: &Fqdn,
        record: &DnsRecord,
    ) -> Result<Present> {
        let question = message::question(&record.name, message::kind(&record.data));
        let answer = server.send(operation, &question, self.now()).await?;
        match answer.code() {
            ResponseCode::NoError | ResponseCode::NXDomain if answer.message.metadata.authoritative => {}
            // The name is delegated to somebody else.
            ResponseCode::NoError | ResponseCode::NXDomain => {
                return Err(Error::new(NAME, operation, ErrorKind::ZoneNotFound(record.name.clone())));
            }
            // So is answered who may not ask, and who asks for a zone that is not there. An update tells which.
            ResponseCode::Refused => {
                let code = match self.touch(operation, server, zone, answer.signed).await? {
                    ResponseCode::NotAuth => ResponseCode::NotAuth,
                    _ => ResponseCode::Refused,
                };
                return Err(message::refusal(operation, code, &record.name));
            }
            code => return Err(message::refusal(operation, code, &record.name)),
        }
        let owner = message::wire_name(&record.name);
        let here = || answer.message.answers.iter().filter(|found| found.name == owner);
        let same = here().filter(|found| message::is(found, &record.data)).map(|found| found.data.clone());
        let alias =
            here().any(|found| found.record_type() == RecordType::CNAME && !message::is(found, &record.data));
        Ok(Present { same: same.collect(), alias })
    }

    /// Sends an update that changes nothing, and returns what the server says to it. `known` says whether it
    /// signed its answer to a question before, so that it knows the key.
    async fn touch(
        &self,
        operation: Operation,
        server: &Server,
        zone: &Fqdn,
        known: bool,
    ) -> Result<ResponseCode> {
        let mut update = message::update(zone);
        message::require_used(&mut update, zone);
        let answer = if known {
            server.update(operation, &update, zone, self.now()).await?
        } else {
            server.send(operation, &update, self.now()).await?
        };
        Ok(answer.code())
    }

    async fn add_once(&self, record: &DnsRecord) -> Result<Added> {
        const OPERATION: Operation = Operation::PublishRecord;
        let name = &record.name;
        let (server, zone) = self.locate(OPERATION, name).await?;
        let added = |existed| Added { handle: RecordHandle::unknown(record.clone()), existed };
        let conflict = || message::refusal(OPERATION, ResponseCode::YXDomain, name);

        let before = self.present(OPERATION, server, &zone, record).await?;
        if before.alias {
            return Err(conflict());
        }
        if !before.same.is_empty() {
            return Ok(added(true));
        }
        let mut update = message::update(&zone);
        if matches!(record.data, RecordData::Cname(_)) {
            // Without this a CNAME would replace another one without a sound.
            message::require_unused(&mut update, name);
        }
        message::add(&mut update, name, message::to_wire(&record.data), self.ttl_seconds);
        let code = server.update(OPERATION, &update, name, self.now()).await?.code();
        // Something is there now: other records, or this one, if the message arrived twice.
        if !matches!(code, ResponseCode::NoError | ResponseCode::YXDomain) {
            return Err(message::refusal(OPERATION, code, name));
        }
        let after = self.present(OPERATION, server, &zone, record).await?;
        if after.same.is_empty() { Err(conflict()) } else { Ok(added(false)) }
    }

    async fn remove_once(&self, record: &DnsRecord) -> Result<()> {
        const OPERATION: Operation = Operation::WithdrawRecord;
        let (server, zone) = self.locate(OPERATION, &record.name).await?;
        // Deleted is what is there, since the strings of a text may be cut in another way than ours.
        let present = self.present(OPERATION, server, &zone, record).await?;
        if present.same.is_empty() {
            return Ok(());
        }
        let mut update = message::update(&zone);
        for data in present.same {
            message::delete(&mut update, &record.name, data);
        }
        match server.update(OPERATION, &update, &record.name, self.now()).await?.code() {
            ResponseCode::NoError => Ok(()),
            code => Err(message::refusal(OPERATION, code, &record.name)),
        }
    }

    /// Whether a failure may come from a zone that was remembered and is gone; it is forgotten then.
    fn zone_was_stale<T>(&self, outcome: &Result<T>, name: &Fqdn) -> bool {
        let lost = outcome.as_ref().is_err_and(|error| matches!(error.kind(), ErrorKind::ZoneNotFound(_)));
        lost && self.zones.forget(name)
    }
}

#[async_trait]
impl DnsProvider for Rfc2136 {
    fn provider(&self) -> ProviderName {
        NAME
    }

    fn capabilities(&self) -> DnsCapabilities {
        DnsCapabilities { cname: true, distribution: false, by_hand: false }
    }

    /// Asks each server a question and, where a zone is stated, sends an update of it that changes nothing.
    async fn probe(&self) -> Result<AccountSummary> {
        const OPERATION: Operation = Operation::Probe;
        let mut summary = AccountSummary::default();
        for Entry { zone, server } in &self.entries {
            let key = &server.key;
            // Any name will do where no zone is stated: a server that signs its answer knows the key.
            let question = message::question(zone.as_ref().unwrap_or(key.name()), RecordType::SOA);
            let answer = server.send(OPERATION, &question, self.now()).await?;
            let label = if let Some(zone) = zone {
                let code = self.touch(OPERATION, server, zone, answer.signed).await?;
                if code != ResponseCode::NoError {
                    return Err(message::refusal(OPERATION, code, zone));
                }
                zone.to_string()
            } else {
                // Knot looks at a key only where it has the zone.
                if !answer.signed && answer.code() == ResponseCode::Refused {
                    let what =
                        format!("{} does not say whether it knows the key; state a zone", server.address);
                    summary.warnings.push(what.into());
                } else if !answer.signed {
                    return Err(message::distrust(OPERATION, tsig::Distrust::Unsigned));
                }
                "any zone".to_owned()
            };
            let how = format!("{} by key {} ({})", server.address, key.name(), key.algorithm());
            summary.details.insert(label, how.into());
            summary.warnings.extend(key.algorithm().warning().map(Into::into));
        }
        summary.warnings.dedup();
        Ok(summary)
    }

    async fn zone_of(&self, name: &Fqdn) -> Result<Zone> {
        let (_, zone) = self.locate(Operation::FindZone, name).await?;
        Ok(Zone { id: zone.to_string(), name: zone, name_servers: Vec::new() })
    }

    async fn add(&self, record: &DnsRecord) -> Result<Added> {
        let _turn = self.turns.turn(record.name.clone()).await;
        let outcome = self.add_once(record).await;
        if self.zone_was_stale(&outcome, &record.name) { self.add_once(record).await } else { outcome }
    }

    async fn remove(&self, handle: &RecordHandle) -> Result<()> {
        let record = &handle.record;
        let _turn = self.turns.turn(record.name.clone()).await;
        let outcome = self.remove_once(record).await;
        if self.zone_was_stale(&outcome, &record.name) { self.remove_once(record).await } else { outcome }
    }

    async fn distribution(&self, _: &RecordHandle) -> Result<Distribution> {
        Ok(Distribution::Unknown)
    }
}

/// Registers the provider under its name.
pub(crate) fn register(registry: &mut Registry) {
    registry.register_dns("rfc2136", "Dynamic update (RFC 2136)", |settings: Settings, context| {
        Rfc2136::from_settings(settings, context.clock.clone())
    });
}

impl fmt::Debug for Rfc2136 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rfc2136").field("entries", &self.entries).finish_non_exhaustive()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { zone, server } = self;
        f.debug_struct("Entry").field("zone", zone).field("key", &server.key).finish_non_exhaustive()
    }
}
