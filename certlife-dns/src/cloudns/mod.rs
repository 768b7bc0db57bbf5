//! [ClouDNS](https://www.cloudns.net/) as a [`DnsProvider`].
//!
//! Needs an API user, or better a sub-user to whom the zones concerned were given, of an account whose plan
//! includes the HTTP API. Each value is a record of its own with an id. What the API does with a record that is
//! there already is not documented, so it is looked for first, by one caller at a time for each name.

mod api;
#[cfg(test)]
mod fake;
mod settings;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

use certlife_core::{
    AccountSummary, Clock, DnsProvider, Error, ErrorKind, Fqdn, InputError, Operation, ProviderName,
    Registry, Result, Secret, async_trait,
    dns::{Added, Distribution, DnsCapabilities, DnsRecord, RecordData, RecordHandle, Zone},
};
use serde::{Deserialize, Serialize};

use self::api::{Api, Place, Record};
use crate::{serial::Serial, zones::Zones};

pub use self::settings::{ClouDnsBuilder, Settings};

/// `cloudns` in errors, logs and metrics.
pub const NAME: ProviderName = ProviderName::new("cloudns");

/// How long it is remembered which names are zones.
const REMEMBER_ZONES: Duration = Duration::from_mins(5);

/// How long a change takes to reach the name servers, about; lego asks every 10 seconds.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Publishes through the HTTP API of ClouDNS.
pub struct ClouDns {
    api: Api,
    /// The only zone.
    only: Option<Fqdn>,
    ttl_seconds: u32,
    zones: Zones<Home>,
    turns: Serial<Place>,
}

/// A zone, and the one that holds its records: the same, or the master of its group ("cloud") of domains.
#[derive(Debug, Clone)]
struct Home {
    zone: Fqdn,
    holder: Fqdn,
}

/// What a handle remembers of a record.
#[derive(Serialize, Deserialize)]
struct Ids {
    zone: Fqdn,
    record: String,
}

impl ClouDns {
    /// Starts a provider that acts as an API user.
    pub fn builder(auth_id: impl Into<String>, auth_password: impl Into<Secret>) -> ClouDnsBuilder {
        ClouDnsBuilder::new(Settings {
            auth_id: Some(auth_id.into()),
            auth_password: Some(auth_password.into()),
            ..Settings::default()
        })
    }

    /// Starts a provider that acts as an API sub-user, known by id.
    pub fn builder_with_sub_id(
        sub_auth_id: impl Into<String>,
        auth_password: impl Into<Secret>,
    ) -> ClouDnsBuilder {
        ClouDnsBuilder::new(Settings {
            sub_auth_id: Some(sub_auth_id.into()),
            auth_password: Some(auth_password.into()),
            ..Settings::default()
        })
    }

    /// Starts a provider that acts as an API sub-user, known by name.
    pub fn builder_with_sub_user(
        sub_auth_user: impl Into<String>,
        auth_password: impl Into<Secret>,
    ) -> ClouDnsBuilder {
        ClouDnsBuilder::new(Settings {
            sub_auth_user: Some(sub_auth_user.into()),
            auth_password: Some(auth_password.into()),
            ..Settings::default()
        })
    }

    /// Makes the provider from its settings.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] names the setting that is wrong and what it should look like.
    pub fn from_settings(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, InputError> {
        ClouDnsBuilder::new(settings).clock(clock).build()
    }

    fn new(api: Api, only: Option<Fqdn>, ttl_seconds: u32, clock: Arc<dyn Clock>) -> Self {
        let zones = Zones::new(clock, REMEMBER_ZONES);
        Self { api, only, ttl_seconds, zones, turns: Serial::new() }
    }

    async fn home(&self, operation: Operation, name: &Fqdn) -> Result<Home> {
        let found = match &self.only {
            None => self.zones.enclosing(name, |candidate| self.home_named(operation, candidate)).await?,
            Some(zone) => name.is_within(zone).then(|| Home { zone: zone.clone(), holder: zone.clone() }),
        };
        found.ok_or_else(|| Error::new(NAME, operation, ErrorKind::ZoneNotFound(name.clone())))
    }

    /// Finds the zone of exactly this name, if the world is served from it and it takes changes.
    async fn home_named(&self, operation: Operation, name: Fqdn) -> Result<Option<Home>> {
        // Nobody holds a top-level domain here, so the question is not worth a request.
        if name.parent().is_none() {
            return Ok(None);
        }
        let found = self.api.zone_named(operation, &name).await?;
        let Some(mut zone) = found.filter(|zone| zone.takes_changes() && zone.is_active()) else {
            return Ok(None);
        };
        // Whether the listing tells the master is not documented; the zone itself does.
        if zone.is_cloud() && zone.cloud_master.is_none() {
            zone = self.api.zone(operation, &name).await?;
        }
        let holder = zone.cloud_master.unwrap_or_else(|| name.clone());
        Ok(Some(Home { zone: name, holder }))
    }

    async fn place(&self, operation: Operation, name: &Fqdn) -> Result<Place> {
        let home = self.home(operation, name).await?;
        let host = name.relative_to(&home.zone).unwrap_or_default().to_owned();
        Ok(Place { zone: home.holder, host })
    }

    async fn add_once(&self, record: &DnsRecord) -> Result<Added> {
        let DnsRecord { name, data } = record;
        let place = self.place(Operation::PublishRecord, name).await?;
        let _turn = self.turns.turn(place.clone()).await;
        let there = self.api.records(Operation::PublishRecord, name, &place).await?;
        if let Some(found) = there.iter().find(|found| found.is(data)) {
            return Ok(Added { handle: handle(record, &place, found.id()), existed: true });
        }
        if there.iter().any(|found| found.excludes(data)) {
            let what = format!("{name} has other records, beside which a {} cannot be", data.type_name());
            return Err(Error::new(NAME, Operation::PublishRecord, ErrorKind::Conflict(what.into())));
        }
        match self.api.add_record(name, &place, data, self.ttl_seconds).await {
            Ok(id) => Ok(Added { handle: handle(record, &place, id), existed: false }),
            // Somebody else may have been quicker, for which there are no documented words.
            Err(refused) if matches!(refused.kind(), ErrorKind::Rejected(_) | ErrorKind::Conflict(_)) => {
                let there = self.api.records(Operation::PublishRecord, name, &place).await?;
                let found = there.iter().find(|found| found.is(data)).ok_or(refused)?;
                Ok(Added { handle: handle(record, &place, found.id()), existed: true })
            }
            Err(error) => Err(error),
        }
    }

    async fn remove_once(&self, handle: &RecordHandle) -> Result<()> {
        let DnsRecord { name, data } = &handle.record;
        if let Some(ids) = known_ids(handle) {
            match self.delete(name, &ids.zone, &ids.record).await {
                // The zone may have moved to another holder, and its records with it.
                Err(error) if matches!(error.kind(), ErrorKind::ZoneNotFound(_)) => {}
                outcome => return outcome,
            }
        }
        let place = self.place(Operation::WithdrawRecord, name).await?;
        let there = self.api.records(Operation::WithdrawRecord, name, &place).await?;
        for id in there.iter().filter(|found| found.is(data)).filter_map(Record::id) {
            self.delete(name, &place.zone, &id).await?;
        }
        Ok(())
    }

    async fn delete(&self, name: &Fqdn, zone: &Fqdn, id: &str) -> Result<()> {
        match self.api.delete_record(name, zone, id).await {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => Ok(()),
            outcome => outcome,
        }
    }

    /// Whether a failure may come from a zone that was remembered and is gone; it is forgotten then.
    fn zone_was_stale<T>(&self, outcome: &Result<T>, name: &Fqdn) -> bool {
        let lost = outcome.as_ref().is_err_and(|error| matches!(error.kind(), ErrorKind::ZoneNotFound(_)));
        lost && self.zones.forget(name)
    }
}

fn handle(record: &DnsRecord, place: &Place, id: Option<String>) -> RecordHandle {
    let ids = id.map(|record| Ids { zone: place.zone.clone(), record });
    let vendor = ids.and_then(|ids| serde_json::to_value(ids).ok());
    RecordHandle { record: record.clone(), vendor: vendor.unwrap_or_default() }
}

/// The ids in a handle, if they are ids.
fn known_ids(handle: &RecordHandle) -> Option<Ids> {
    Ids::deserialize(&handle.vendor).ok().filter(|ids| api::is_id(&ids.record))
}

/// Refuses what the API would refuse, or store in another form than it was given.
///
/// The rules are not documented; `DNSControl` found them by trying, but for that of a leading blank:
/// <https://github.com/StackExchange/dnscontrol/blob/main/providers/cloudns/auditrecords.go>
fn check(data: &RecordData) -> Result<()> {
    let RecordData::Txt(value) = data else { return Ok(()) };
    let rule = if value.is_empty() {
        "ClouDNS holds no empty value"
    } else if value.contains(['"', '`']) {
        "ClouDNS holds no value with a double quote or a backtick"
    } else if value.trim() != value {
        "ClouDNS holds no value with a blank at its ends"
    } else {
        return Ok(());
    };
    let input = InputError::Value { field: "value".into(), value: value.as_str().into(), rule: rule.into() };
    Err(Error::new(NAME, Operation::PublishRecord, ErrorKind::Input(input)))
}

#[async_trait]
impl DnsProvider for ClouDns {
    fn provider(&self) -> ProviderName {
        NAME
    }

    fn capabilities(&self) -> DnsCapabilities {
        DnsCapabilities { cname: true, distribution: true, by_hand: false }
    }

    /// Asks whether the credential is right and which zones it sees. The right to edit shows with the first
    /// record.
    async fn probe(&self) -> Result<AccountSummary> {
        self.api.log_in().await?;
        let (field, user) = self.api.user.field();
        let mut summary =
            AccountSummary { identity: Some(format!("{field} {user}").into()), ..AccountSummary::default() };
        if let Some(name) = &self.only {
            let zone = self.api.zone(Operation::Probe, name).await?;
            if !zone.takes_changes() {
                summary
                    .warnings
                    .push(format!("zone {name} is not a master zone and takes no changes").into());
            }
            if !zone.is_active() {
                summary.warnings.push(format!("zone {name} is not active").into());
            }
            if let Some(master) = &zone.cloud_master {
                summary.warnings.push(format!("the records of {name} are in zone {master}").into());
            }
            summary.details.insert("zone".into(), name.as_str().into());
        } else {
            let (count, more) = self.api.some_zones().await?;
            let count = if more { format!("at least {count}") } else { count.to_string() };
            if count == "0" {
                summary.warnings.push("the user sees no zone; a sub-user has to be given the zones".into());
            }
            summary.details.insert("zones".into(), count.into());
        }
        Ok(summary)
    }

    async fn zone_of(&self, name: &Fqdn) -> Result<Zone> {
        let zone = self.home(Operation::FindZone, name).await?.zone;
        let id = zone.as_str().to_owned();
        Ok(Zone { name: zone, id, name_servers: Vec::new() })
    }

    async fn add(&self, record: &DnsRecord) -> Result<Added> {
        check(&record.data)?;
        let outcome = self.add_once(record).await;
        if self.zone_was_stale(&outcome, &record.name) { self.add_once(record).await } else { outcome }
    }

    async fn remove(&self, handle: &RecordHandle) -> Result<()> {
        let outcome = self.remove_once(handle).await;
        if self.zone_was_stale(&outcome, &handle.record.name) {
            self.remove_once(handle).await
        } else {
            outcome
        }
    }

    /// Asks whether all name servers of the zone have its latest version.
    async fn distribution(&self, handle: &RecordHandle) -> Result<Distribution> {
        let name = &handle.record.name;
        let zone = match known_ids(handle) {
            Some(ids) => ids.zone,
            None => self.home(Operation::AskDistribution, name).await?.holder,
        };
        Ok(match self.api.update_status(name, &zone).await? {
            (0, 0) => Distribution::Unknown,
            (_, 0) => Distribution::Complete,
            _ => Distribution::Pending(ASK_AGAIN),
        })
    }
}

/// Registers the provider under its name.
pub(crate) fn register(registry: &mut Registry) {
    registry.register_dns("cloudns", "ClouDNS", |settings: Settings, context| {
        ClouDns::from_settings(settings, context.clock.clone())
    });
}

impl fmt::Debug for ClouDns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClouDns").field("api", &self.api).finish_non_exhaustive()
    }
}
