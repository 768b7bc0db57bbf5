//! [GoDaddy](https://developer.godaddy.com/) as a [`DnsProvider`].
//!
//! Takes a classic key with its secret, or a personal access token, which have an API each. With a token every
//! value is a record of its own with an id. With a key all values at a name are one set: adding appends to it,
//! but removing replaces it by the others, and GoDaddy has no means to notice that somebody else changed it
//! between our question and that. So changes at a name take turns here, and each is followed by a question,
//! which also waits until GoDaddy shows the change. Another program that adds a value at the same name in that
//! very moment can still lose it. GoDaddy does not say when its servers have a change.

mod api;
#[cfg(test)]
mod fake;
mod settings;
#[cfg(test)]
mod tests;
mod v1;
mod v3;

use std::{fmt, sync::Arc, time::Duration};

use certlife_core::{
    AccountSummary, Clock, DnsProvider, Error, ErrorKind, Fqdn, InputError, Operation, ProviderName,
    Registry, Result, Retry, Secret, async_trait,
    dns::{Added, Distribution, DnsCapabilities, DnsRecord, RecordData, RecordHandle, Zone},
};
use serde::{Deserialize, Serialize};

use self::api::{Api, Record, SetId};
use crate::{
    pause::pause,
    serial::Serial,
    zones::{ZoneList, longest, relative, zone_not_found},
};

pub use self::settings::{GoDaddyBuilder, Settings};

/// `godaddy` in errors, logs and metrics.
pub const NAME: ProviderName = ProviderName::new("godaddy");

/// How long it is remembered which domains there are.
const REMEMBER_ZONES: Duration = Duration::from_mins(5);
/// How often a change is tried.
const ATTEMPTS: u32 = 5;
/// How often the records are read until they show a change, which may take some ten seconds.
const READS: u32 = 5;
/// Where the pauses begin: with about a second, since a zone that is being rebuilt takes some.
const FIRST_PAUSE: u32 = 4;

/// Publishes through GoDaddy's API.
pub struct GoDaddy {
    api: Api,
    /// The only domain, if it is stated.
    only: Option<Fqdn>,
    ote: bool,
    ttl_seconds: u32,
    zones: ZoneList<api::Zone>,
    /// Changes at one name take turns, so that asking and changing belong together.
    turns: Serial<Fqdn>,
    clock: Arc<dyn Clock>,
}

/// What a handle remembers of a record that has an id.
#[derive(Serialize, Deserialize)]
struct Ids {
    zone: Fqdn,
    record: String,
}

impl GoDaddy {
    /// Starts a provider that uses a classic key.
    pub fn builder(api_key: impl Into<Secret>, api_secret: impl Into<Secret>) -> GoDaddyBuilder {
        GoDaddyBuilder::new(Settings {
            api_key: Some(api_key.into()),
            api_secret: Some(api_secret.into()),
            ..Settings::default()
        })
    }

    /// Starts a provider that uses a personal access token.
    pub fn builder_with_token(token: impl Into<Secret>) -> GoDaddyBuilder {
        GoDaddyBuilder::new(Settings { token: Some(token.into()), ..Settings::default() })
    }

    /// Makes the provider from its settings.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] names the setting that is wrong and what it should look like.
    pub fn from_settings(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, InputError> {
        GoDaddyBuilder::new(settings).clock(clock).build()
    }

    /// Finds the domain with the longest name that encloses `name`.
    async fn zone(&self, operation: Operation, name: &Fqdn) -> Result<api::Zone> {
        let unknown = || Error::new(NAME, operation, ErrorKind::ZoneNotFound(name.clone()));
        if let Some(only) = &self.only {
            let zone = api::Zone { name: only.clone(), name_servers: Vec::new() };
            return if name.is_within(only) { Ok(zone) } else { Err(unknown()) };
        }
        let zones = self.zones.get(|| self.api.zones(operation)).await?;
        longest(&zones, name, |zone| &zone.name).first().copied().cloned().ok_or_else(unknown)
    }

    async fn add_once(&self, record: &DnsRecord) -> Result<Added> {
        const OPERATION: Operation = Operation::PublishRecord;
        if matches!(&record.data, RecordData::Txt(value) if value.trim().is_empty()) {
            // GoDaddy's own tools and older clients leave such behind in place of nothing.
            return Err(Error::new(NAME, OPERATION, ErrorKind::Unsupported("a blank TXT value".into())));
        }
        let zone = self.zone(OPERATION, &record.name).await?.name;
        let set = set_of(&zone, record);
        let mut ours = false;
        for attempt in 1..=ATTEMPTS {
            let there = self.api.records(OPERATION, set).await?;
            if let Some(found) = there.iter().find(|found| found.is(&record.data, &zone)) {
                return Ok(added(record, &zone, found.id.clone(), !ours));
            }
            if let (RecordData::Cname(_), Some(other)) = (&record.data, there.first()) {
                return Err(occupied(&record.name, "CNAME", other));
            }
            match self.api.create(set, &record.data, self.ttl_seconds).await {
                Ok(id) => {
                    // Accepted is accepted, even if the question fails.
                    if id.is_some() || self.shows(OPERATION, set, &record.data, true).await.unwrap_or(true) {
                        return Ok(added(record, &zone, id, false));
                    }
                    ours = true;
                }
                Err(error) if matches!(error.kind(), ErrorKind::Conflict(_) | ErrorKind::Rejected(_)) => {
                    self.check_way(set, record).await?;
                    if matches!(error.kind(), ErrorKind::Rejected(_)) || attempt == ATTEMPTS {
                        return Err(error);
                    }
                    pause(&*self.clock, attempt + FIRST_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
        Err(too_busy(OPERATION, &record.name))
    }

    /// Fails if there is what excludes a record: a CNAME and anything else. GoDaddy's codes do not tell that from
    /// other reasons.
    async fn check_way(&self, set: SetId<'_>, record: &DnsRecord) -> Result<()> {
        let kind = if set.kind == "CNAME" { "TXT" } else { "CNAME" };
        let others = self.api.records(Operation::PublishRecord, SetId { kind, ..set }).await?;
        others.first().map_or(Ok(()), |other| Err(occupied(&record.name, kind, other)))
    }

    /// Reads until a change shows, since GoDaddy may show the old state for a while.
    async fn shows(
        &self,
        operation: Operation,
        set: SetId<'_>,
        data: &RecordData,
        present: bool,
    ) -> Result<bool> {
        for read in 1..=READS {
            let there = self.api.records(operation, set).await?;
            if there.iter().any(|found| found.is(data, set.zone)) == present {
                return Ok(true);
            }
            if read < READS {
                pause(&*self.clock, read + FIRST_PAUSE).await;
            }
        }
        Ok(false)
    }

    async fn remove_once(&self, handle: &RecordHandle) -> Result<()> {
        match &self.api {
            Api::Classic(api) => self.remove_from_set(api, &handle.record).await,
            Api::Token(api) => self.remove_record(api, handle).await,
        }
    }

    async fn remove_from_set(&self, api: &v1::Api, record: &DnsRecord) -> Result<()> {
        const OPERATION: Operation = Operation::WithdrawRecord;
        let zone = self.zone(OPERATION, &record.name).await?.name;
        let set = set_of(&zone, record);
        for attempt in 1..=ATTEMPTS {
            let mut there = self.api.records(OPERATION, set).await?;
            if !there.iter().any(|found| found.is(&record.data, &zone)) {
                return Ok(());
            }
            // Blank ones were left by clients that knew no other way to remove a value.
            there.retain(|found| !found.is(&record.data, &zone) && !found.data.trim().is_empty());
            let outcome = if there.is_empty() {
                api.delete(OPERATION, set).await
            } else {
                api.replace(OPERATION, set, &there).await
            };
            match outcome {
                Ok(()) if self.shows(OPERATION, set, &record.data, false).await? => return Ok(()),
                Ok(()) => {}
                Err(error) if attempt < ATTEMPTS && is_worth_another_look(&error) => {
                    pause(&*self.clock, attempt + FIRST_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
        Err(too_busy(OPERATION, &record.name))
    }

    async fn remove_record(&self, api: &v3::Api, handle: &RecordHandle) -> Result<()> {
        const OPERATION: Operation = Operation::WithdrawRecord;
        let record = &handle.record;
        if let Some(ids) = known_ids(handle) {
            return api.delete(OPERATION, ids.zone.as_str(), &ids.record).await;
        }
        let zone = self.zone(OPERATION, &record.name).await?.name;
        let there = self.api.records(OPERATION, set_of(&zone, record)).await?;
        for found in there.into_iter().filter(|found| found.is(&record.data, &zone)) {
            let id = found.id.filter(|id| is_id(id)).ok_or_else(|| {
                let what = "it shows a record without an id by which it could be deleted";
                Error::new(NAME, OPERATION, ErrorKind::Protocol(what.into()))
            })?;
            api.delete(OPERATION, zone.as_str(), &id).await?;
        }
        Ok(())
    }
}

fn set_of<'a>(zone: &'a Fqdn, record: &'a DnsRecord) -> SetId<'a> {
    SetId { zone, kind: record.data.type_name(), name: relative(&record.name, zone) }
}

fn added(record: &DnsRecord, zone: &Fqdn, id: Option<String>, existed: bool) -> Added {
    let ids = id.map(|record| Ids { zone: zone.clone(), record });
    let vendor = ids.and_then(|ids| serde_json::to_value(ids).ok()).unwrap_or_default();
    Added { handle: RecordHandle { record: record.clone(), vendor }, existed }
}

/// The ids in a handle, if they are what ids are like and fit the name: they become parts of a path.
fn known_ids(handle: &RecordHandle) -> Option<Ids> {
    let ids = Ids::deserialize(&handle.vendor).ok()?;
    (is_id(&ids.record) && handle.record.name.is_within(&ids.zone)).then_some(ids)
}

fn is_id(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// Whether the zone was busy, or the answer was lost, so that the records tell what to do.
fn is_worth_another_look(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Conflict(_) => error.retry() != Retry::Never,
        kind => *kind == ErrorKind::Uncertain,
    }
}

fn occupied(name: &Fqdn, kind: &str, other: &Record) -> Error {
    let what = format!("{kind} {} is at {name}", other.data);
    Error::new(NAME, Operation::PublishRecord, ErrorKind::Conflict(what.into()))
}

fn too_busy(operation: Operation, name: &Fqdn) -> Error {
    let what = format!("the records at {name} did not take the change in {ATTEMPTS} attempts");
    Error::new(NAME, operation, ErrorKind::Conflict(what.into())).retry_as(Retry::Backoff)
}

#[async_trait]
impl DnsProvider for GoDaddy {
    fn provider(&self) -> ProviderName {
        NAME
    }

    fn capabilities(&self) -> DnsCapabilities {
        DnsCapabilities { cname: true, distribution: false, by_hand: false }
    }

    /// Lists the domains and reads a record of one; with a token it also tries a deletion that finds nothing. A
    /// key has no finer rights than its account.
    async fn probe(&self) -> Result<AccountSummary> {
        const OPERATION: Operation = Operation::Probe;
        let mut summary = AccountSummary::default();
        if self.ote {
            summary.warnings.push("the test environment is not seen by the world".into());
        }
        let zone = if let Some(only) = &self.only {
            summary.details.insert("zone".into(), only.as_str().into());
            Some(only.clone())
        } else {
            let zones = self.api.zones(OPERATION).await?;
            summary.details.insert("zones".into(), zones.len().to_string().into());
            if zones.is_empty() {
                summary.warnings.push("the account has no active domain".into());
            }
            for zone in zones.iter().filter(|zone| zone.is_served_elsewhere()).take(10) {
                let what = format!("domain {} is served by other name servers than GoDaddy's", zone.name);
                summary.warnings.push(what.into());
            }
            zones.into_iter().next().map(|zone| zone.name)
        };
        if let Some(zone) = zone {
            let set = SetId { zone: &zone, kind: "TXT", name: "_certlife-probe" };
            let read = self.api.records(OPERATION, set).await;
            read.map_err(|error| zone_not_found(error, &zone))?;
            if let Api::Token(api) = &self.api {
                api.test_writing(zone.as_str()).await?;
            }
        }
        Ok(summary)
    }

    async fn zone_of(&self, name: &Fqdn) -> Result<Zone> {
        let api::Zone { name, name_servers } = self.zone(Operation::FindZone, name).await?;
        Ok(Zone { id: name.to_string(), name, name_servers })
    }

    async fn add(&self, record: &DnsRecord) -> Result<Added> {
        let _turn = self.turns.turn(record.name.clone()).await;
        let mut outcome = self.add_once(record).await;
        if self.zones.was_stale(&outcome).await {
            outcome = self.add_once(record).await;
        }
        outcome.map_err(|error| zone_not_found(error, &record.name))
    }

    async fn remove(&self, handle: &RecordHandle) -> Result<()> {
        let name = &handle.record.name;
        let _turn = self.turns.turn(name.clone()).await;
        let mut outcome = self.remove_once(handle).await;
        if self.zones.was_stale(&outcome).await {
            outcome = self.remove_once(handle).await;
        }
        outcome.map_err(|error| zone_not_found(error, name))
    }

    async fn distribution(&self, _: &RecordHandle) -> Result<Distribution> {
        Ok(Distribution::Unknown)
    }
}

/// Registers the provider under its name.
pub(crate) fn register(registry: &mut Registry) {
    registry.register_dns("godaddy", "GoDaddy", |settings: Settings, context| {
        GoDaddy::from_settings(settings, context.clock.clone())
    });
}

impl fmt::Debug for GoDaddy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GoDaddy").field("api", &self.api).finish_non_exhaustive()
    }
}
