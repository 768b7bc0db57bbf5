//! [Amazon Route 53](https://docs.aws.amazon.com/Route53/latest/APIReference/) as a [`DnsProvider`].
//!
//! Needs the rights `route53:ListHostedZonesByName` on everything (or, with a stated zone, `route53:GetHostedZone`
//! on it), `route53:ListResourceRecordSets` and `route53:ChangeResourceRecordSets` on the zones concerned, and
//! `route53:GetChange`. All values of a name are one set, and there is no revision to compare. So a set is changed by
//! deleting the exact one that is believed to be there and creating the new one, in a batch that is carried out
//! as a whole or not at all. Usually nothing is there, and that is believed first: then one request is enough.

mod api;
mod credentials;
#[cfg(test)]
mod fake;
mod set;
mod settings;
mod sign;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

use certlife_core::{
    AccountSummary, Clock, DnsProvider, Error, ErrorKind, Fqdn, InputError, Operation, ProviderName,
    Registry, Result, Secret, VendorText, async_trait,
    dns::{Added, Distribution, DnsCapabilities, DnsRecord, RecordHandle, Zone},
};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use self::{
    api::{Api, HostedZone},
    set::RecordSet,
};
use crate::{
    serial::Serial,
    zones::{self, Zones, is_gone, zone_not_found},
};

pub use self::settings::{Route53Builder, Settings};

/// `route53` in errors, logs and metrics.
pub const NAME: ProviderName = ProviderName::new("route53");

/// How long it is remembered which zones there are.
const REMEMBER_ZONES: Duration = Duration::from_mins(5);
/// How often a change is tried while others change the same set.
const TRIES: u32 = 5;
/// When to ask again whether a change is everywhere, which takes up to a minute.
const ASK_AGAIN: Duration = Duration::from_secs(4);
/// On how many zones a test of the account tries the rights.
const TRIED_ZONES: usize = 3;

/// Publishes through the Route 53 API.
pub struct Route53 {
    api: Api,
    only: Option<OnlyZone>,
    ttl_seconds: u32,
    /// The public zones at and below the last two labels of a name.
    zones: Zones<Arc<[FoundZone]>>,
    /// Keyed by zone id, since the service refuses a change to a zone while it is busy with another; and for
    /// searches by the name where they start.
    turns: Serial<String>,
}

/// A zone whose id and name were checked.
#[derive(Debug, Clone)]
struct FoundZone {
    id: String,
    name: Fqdn,
    name_servers: Vec<Fqdn>,
    is_private: bool,
}

/// The zone that was stated. Its name never changes, so it is asked for once at most.
struct OnlyZone {
    id: String,
    found: OnceCell<FoundZone>,
}

/// What a handle remembers of a record.
#[derive(Serialize, Deserialize)]
struct Ids {
    zone: String,
    /// None if the value was there before.
    change: Option<String>,
}

impl Route53 {
    /// Starts a provider that uses an access key.
    pub fn builder(access_key_id: impl Into<String>, secret_access_key: impl Into<Secret>) -> Route53Builder {
        Route53Builder::new(Settings::new(access_key_id.into(), secret_access_key.into()))
    }

    /// Makes the provider from its settings.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] names the setting that is wrong and what it should look like.
    pub fn from_settings(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, InputError> {
        Route53Builder::new(settings).clock(clock).build()
    }

    fn new(api: Api, only: Option<(String, Option<Fqdn>)>, ttl_seconds: u32, clock: Arc<dyn Clock>) -> Self {
        let only = only.map(|(id, name)| {
            let stated =
                |name| FoundZone { id: id.clone(), name, name_servers: Vec::new(), is_private: false };
            OnlyZone { found: OnceCell::new_with(name.map(stated)), id }
        });
        let zones = Zones::new(clock, REMEMBER_ZONES);
        Self { api, only, ttl_seconds, zones, turns: Serial::new() }
    }

    async fn zone(&self, operation: Operation, name: &Fqdn) -> Result<FoundZone> {
        let found = match &self.only {
            Some(only) => {
                Some(self.stated_zone(operation, only).await?).filter(|zone| name.is_within(&zone.name))
            }
            None => self.longest_zone(operation, name).await?,
        };
        found.ok_or_else(|| Error::new(NAME, operation, ErrorKind::ZoneNotFound(name.clone())))
    }

    async fn stated_zone(&self, operation: Operation, only: &OnlyZone) -> Result<FoundZone> {
        let ask = || async {
            let details = self.api.zone(operation, &only.id).await?;
            let zone = found_zone(&details.hosted_zone).ok_or_else(|| {
                let what = "the zone has a name or an id that is none";
                Error::new(NAME, operation, ErrorKind::Protocol(what.into()))
            })?;
            Ok(FoundZone { name_servers: details.name_servers(), ..zone })
        };
        only.found.get_or_try_init(ask).await.cloned()
    }

    async fn longest_zone(&self, operation: Operation, name: &Fqdn) -> Result<Option<FoundZone>> {
        // Nobody holds a top-level domain here, so the search starts one label below it.
        let Some(base) = name.ancestors().take_while(|name| name.parent().is_some()).last() else {
            return Ok(None);
        };
        // One caller asks, and the others find its answer.
        let _turn = self.turns.turn(base.to_string()).await;
        let search = |candidate: Fqdn| async move {
            if candidate.parent().is_none() {
                return Ok(None);
            }
            let zones = self.api.zones_below(operation, &candidate).await?;
            let public = zones.iter().filter_map(found_zone).filter(|zone| !zone.is_private);
            let public: Arc<[FoundZone]> = public.collect();
            Ok((!public.is_empty()).then_some(public))
        };
        let Some(zones) = self.zones.enclosing(&base, search).await? else { return Ok(None) };
        match zones::longest(&zones, name, |zone| &zone.name)[..] {
            [] => Ok(None),
            [zone] => Ok(Some(zone.clone())),
            [zone, ..] => {
                let what = format!("the account has several zones {}; state `hosted_zone_id`", zone.name);
                Err(Error::new(NAME, operation, ErrorKind::Conflict(what.into())))
            }
        }
    }

    async fn add_once(&self, record: &DnsRecord) -> Result<Added> {
        let operation = Operation::PublishRecord;
        let DnsRecord { name, data } = record;
        let zone = self.zone(operation, name).await?.id;
        let _turn = self.turns.turn(zone.clone()).await;
        let mut there: Option<RecordSet> = None;
        let mut tries = 0;
        loop {
            let new = match &there {
                None => RecordSet::new(record, self.ttl_seconds),
                Some(set) => one_more(set, record)?,
            };
            tries += 1;
            match self.api.replace(operation, &zone, there.as_ref(), Some(&new)).await {
                Err(error) if *error.kind() == ErrorKind::RevisionConflict && tries < TRIES => {}
                outcome => return Ok(added(record, zone, outcome?, false)),
            }
            there = self.api.record_set(operation, &zone, name, data.type_name()).await?;
            if there.as_ref().is_some_and(|set| set.oddity().is_none() && set.holds(data)) {
                return Ok(added(record, zone, None, true));
            }
        }
    }

    async fn remove_once(&self, handle: &RecordHandle) -> Result<()> {
        let operation = Operation::WithdrawRecord;
        let DnsRecord { name, data } = &handle.record;
        let zone = match known_ids(handle) {
            Some(ids) => ids.zone,
            None => self.zone(operation, name).await?.id,
        };
        let _turn = self.turns.turn(zone.clone()).await;
        let mut there = RecordSet::new(&handle.record, self.ttl_seconds);
        let mut tries = 0;
        loop {
            let left = there.without(data);
            tries += 1;
            match self.api.replace(operation, &zone, Some(&there), left.as_ref()).await {
                Err(error) if *error.kind() == ErrorKind::RevisionConflict && tries < TRIES => {}
                outcome => return outcome.map(drop),
            }
            // What is not a plain set is not of our making, whatever it holds.
            match self.api.record_set(operation, &zone, name, data.type_name()).await? {
                Some(set) if set.oddity().is_none() && set.holds(data) => there = set,
                _ => return Ok(()),
            }
        }
    }

    /// Tries what a record needs, in a way that changes nothing. Returns what is missing.
    async fn missing_rights(&self, zone: &FoundZone) -> Result<Vec<VendorText>> {
        let operation = Operation::Probe;
        // A value that nobody publishes, so that its deletion is refused, by whoever may delete, as not found.
        let name = zone.name.child("_acme-challenge").unwrap_or_else(|_| zone.name.clone());
        let never = RecordSet::new(&DnsRecord::txt(name.clone(), "certlife probes its rights"), 0);
        let outcomes = [
            self.api.record_set(operation, &zone.id, &name, "TXT").await.map(drop),
            self.api.replace(operation, &zone.id, Some(&never), None).await.map(drop),
        ];
        let mut missing = Vec::new();
        for error in outcomes.into_iter().filter_map(Result::err) {
            match error.kind() {
                ErrorKind::RevisionConflict => {}
                ErrorKind::Forbidden(words) => missing.push(words.clone()),
                _ => return Err(error),
            }
        }
        Ok(missing)
    }
}

/// The set with the record's value too.
fn one_more(set: &RecordSet, record: &DnsRecord) -> Result<RecordSet> {
    let DnsRecord { name, data } = record;
    let conflict = |what: String| {
        Error::new(NAME, Operation::PublishRecord, ErrorKind::Conflict(VendorText::from(what)))
    };
    if let Some(oddity) = set.oddity() {
        return Err(conflict(format!(
            "the set of {} records at {name} {oddity}; it is left alone",
            data.type_name()
        )));
    }
    set.with(data).ok_or_else(|| conflict(format!("another CNAME record is at {name}")))
}

fn found_zone(zone: &HostedZone) -> Option<FoundZone> {
    let (id, name) = (zone.id()?.to_owned(), zone.name()?);
    Some(FoundZone { id, name, name_servers: Vec::new(), is_private: zone.is_private() })
}

fn added(record: &DnsRecord, zone: String, change: Option<String>, existed: bool) -> Added {
    let vendor = serde_json::to_value(Ids { zone, change }).unwrap_or(serde_json::Value::Null);
    Added { handle: RecordHandle { record: record.clone(), vendor }, existed }
}

/// The ids in a handle, if they are ids: they become part of a path.
fn known_ids(handle: &RecordHandle) -> Option<Ids> {
    let ids = Ids::deserialize(&handle.vendor).ok()?;
    let is_id = |text: &str| api::bare_id(text) == Some(text);
    (is_id(&ids.zone) && ids.change.as_deref().is_none_or(is_id)).then_some(ids)
}

#[async_trait]
impl DnsProvider for Route53 {
    fn provider(&self) -> ProviderName {
        NAME
    }

    fn capabilities(&self) -> DnsCapabilities {
        DnsCapabilities { cname: true, distribution: true, by_hand: false }
    }

    /// Asks whose the credentials are and which zones they see, and tries each right that a record needs, on the
    /// stated zone or on the first few. Nothing is changed. A missing right is an error for a stated zone, else a
    /// warning, since another zone may be meant.
    async fn probe(&self) -> Result<AccountSummary> {
        let operation = Operation::Probe;
        let mut summary = AccountSummary::default();
        let caller = self.api.caller(operation).await?;
        summary.identity = Some(caller.arn.into());
        summary.details.insert("account".into(), caller.account.into());
        let zones = match &self.only {
            Some(only) => {
                let zone = self.stated_zone(operation, only).await?;
                summary.details.insert("zone".into(), zone.name.as_str().into());
                if zone.is_private {
                    let what = format!("zone {} is private; public CAs do not see it", zone.name);
                    summary.warnings.push(what.into());
                }
                vec![zone]
            }
            None => {
                let zones = self.api.some_zones(operation).await?;
                let mut zones: Vec<FoundZone> = zones.iter().filter_map(found_zone).collect();
                zones.retain(|zone| !zone.is_private);
                if zones.is_empty() {
                    summary.warnings.push("no public zone is among the first of the account".into());
                }
                zones.truncate(TRIED_ZONES);
                zones
            }
        };
        for zone in &zones {
            for words in self.missing_rights(zone).await? {
                if self.only.is_some() {
                    return Err(Error::new(NAME, operation, ErrorKind::Forbidden(words)));
                }
                summary.warnings.push(words);
            }
        }
        // No change has this id, which only whoever may ask is told.
        match self.api.is_in_sync(operation, "C00000000000000").await {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => {}
            // Publishing works without.
            Err(error) => match error.kind() {
                ErrorKind::Forbidden(words) => summary.warnings.push(words.clone()),
                ErrorKind::Rejected(_) => {}
                _ => return Err(error),
            },
            Ok(_) => {}
        }
        Ok(summary)
    }

    async fn zone_of(&self, name: &Fqdn) -> Result<Zone> {
        let zone = self.zone(Operation::FindZone, name).await?;
        Ok(Zone { name: zone.name, id: zone.id, name_servers: zone.name_servers })
    }

    async fn add(&self, record: &DnsRecord) -> Result<Added> {
        let mut outcome = self.add_once(record).await;
        if is_gone(&outcome) && self.zones.forget(&record.name) {
            outcome = self.add_once(record).await;
        }
        outcome.map_err(|error| zone_not_found(error, &record.name))
    }

    async fn remove(&self, handle: &RecordHandle) -> Result<()> {
        let name = &handle.record.name;
        let mut outcome = self.remove_once(handle).await;
        if is_gone(&outcome) && known_ids(handle).is_some() {
            // The record went with its zone.
            return Ok(());
        }
        if is_gone(&outcome) && self.zones.forget(name) {
            outcome = self.remove_once(handle).await;
        }
        outcome.map_err(|error| zone_not_found(error, name))
    }

    async fn distribution(&self, handle: &RecordHandle) -> Result<Distribution> {
        let Some(change) = known_ids(handle).and_then(|ids| ids.change) else {
            return Ok(Distribution::Unknown);
        };
        match self.api.is_in_sync(Operation::AskDistribution, &change).await {
            Ok(true) => Ok(Distribution::Complete),
            Ok(false) => Ok(Distribution::Pending(ASK_AGAIN)),
            // Changes are forgotten after some time.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => Ok(Distribution::Unknown),
            Err(error) => Err(error),
        }
    }
}

/// Registers the provider under its name.
pub(crate) fn register(registry: &mut Registry) {
    registry.register_dns("route53", "Amazon Route 53", |settings: Settings, context| {
        Route53::from_settings(settings, context.clock.clone())
    });
}

impl fmt::Debug for Route53 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route53").field("http", &self.api.http).finish_non_exhaustive()
    }
}
