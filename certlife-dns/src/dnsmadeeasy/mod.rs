//! [DNS Made Easy](https://api-docs.dnsmadeeasy.com/) as a [`DnsProvider`].
//!
//! Needs the API key and the secret key of an account, which may do everything in it. Each value is a record of
//! its own with an id, so adding and removing are single calls and nothing needs a lock. Few requests are allowed,
//! so the zones are listed at once rather than looked for by name.

mod api;
#[cfg(test)]
mod fake;
mod settings;
mod sign;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

use certlife_core::{
    AccountSummary, Clock, DnsProvider, Error, ErrorKind, Fqdn, InputError, Operation, ProviderName,
    Registry, Result, Secret, async_trait,
    dns::{Added, Distribution, DnsCapabilities, DnsRecord, RecordData, RecordHandle, Zone},
};
use serde::{Deserialize, Serialize};

use self::api::{Api, NewRecord};
use crate::zones::{self, ZoneList, zone_not_found};

pub use self::settings::{DnsMadeEasyBuilder, Settings};

/// `dnsmadeeasy` in errors, logs and metrics.
pub const NAME: ProviderName = ProviderName::new("dnsmadeeasy");

/// How long it is remembered which zones there are.
const REMEMBER_ZONES: Duration = Duration::from_mins(5);

/// Publishes through the API of DNS Made Easy, version 2.0.
pub struct DnsMadeEasy {
    api: Api,
    /// The name of the only zone, and its id if it is stated.
    only: Option<(Fqdn, Option<u64>)>,
    ttl_seconds: u32,
    zones: ZoneList<api::Zone>,
}

/// What a handle remembers of a record.
#[derive(Serialize, Deserialize)]
struct Ids {
    zone: u64,
    record: u64,
}

impl DnsMadeEasy {
    /// Starts a provider that uses the keys of an account.
    pub fn builder(api_key: impl Into<Secret>, secret_key: impl Into<Secret>) -> DnsMadeEasyBuilder {
        DnsMadeEasyBuilder::new(Settings::new(api_key.into(), secret_key.into()))
    }

    /// Makes the provider from its settings.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] names the setting that is wrong and what it should look like.
    pub fn from_settings(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, InputError> {
        DnsMadeEasyBuilder::new(settings).clock(clock).build()
    }

    fn new(api: Api, only: Option<(Fqdn, Option<u64>)>, ttl_seconds: u32, clock: Arc<dyn Clock>) -> Self {
        Self { api, only, ttl_seconds, zones: ZoneList::new(clock, REMEMBER_ZONES) }
    }

    async fn zone(&self, operation: Operation, name: &Fqdn) -> Result<api::Zone> {
        let zones = self.zones.get(|| self.list_zones(operation)).await?;
        match zones::longest(&zones, name, |zone| &zone.name)[..] {
            [zone] => Ok(zone.clone()),
            [] => Err(Error::new(NAME, operation, ErrorKind::ZoneNotFound(name.clone()))),
            [zone, ..] => {
                let what = format!("the account has several zones {}; state `zone_id`", zone.name);
                Err(Error::new(NAME, operation, ErrorKind::Conflict(what.into())))
            }
        }
    }

    /// Lists the zones of the account, or the stated one.
    async fn list_zones(&self, operation: Operation) -> Result<Vec<api::Zone>> {
        match &self.only {
            None => self.api.zones(operation).await,
            Some((name, Some(id))) => {
                let (id, name) = (*id, name.clone());
                Ok(vec![api::Zone { id, name, is_pending: false, name_servers: Vec::new() }])
            }
            Some((name, None)) => match self.api.zone_named(operation, name).await {
                Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => Ok(Vec::new()),
                outcome => Ok(vec![outcome?]),
            },
        }
    }

    async fn add_once(&self, record: &DnsRecord) -> Result<Added> {
        let operation = Operation::PublishRecord;
        let zone = self.zone(operation, &record.name).await?;
        let owner = record.name.relative_to(&zone.name).unwrap_or_default();
        let new = NewRecord::new(owner, &record.data, self.ttl_seconds);
        match self.api.create(zone.id, &new).await {
            Ok(made) => Ok(added(record, Ids { zone: zone.id, record: made.id }, false)),
            // What stands in the way is told in words that are written down nowhere. So it is looked for.
            Err(refused) if matches!(refused.kind(), ErrorKind::Conflict(_) | ErrorKind::Rejected(_)) => {
                let there = self.api.records(operation, zone.id, owner, None).await?;
                match there.iter().find(|found| found.is(&record.data)) {
                    Some(found) => Ok(added(record, Ids { zone: zone.id, record: found.id }, true)),
                    None => Err(match in_the_way(&there, record) {
                        Some(conflict) => conflict.because(refused),
                        None => refused,
                    }),
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn remove_once(&self, handle: &RecordHandle) -> Result<()> {
        let DnsRecord { name, data } = &handle.record;
        let ids = if let Ok(ids) = Ids::deserialize(&handle.vendor) {
            ids
        } else {
            let operation = Operation::WithdrawRecord;
            let zone = self.zone(operation, name).await?;
            let owner = name.relative_to(&zone.name).unwrap_or_default();
            let there = self.api.records(operation, zone.id, owner, Some(data.type_name())).await?;
            match there.into_iter().find(|found| found.is(data) && !found.is_shared()) {
                Some(found) => Ids { zone: zone.id, record: found.id },
                None => return Ok(()),
            }
        };
        match self.api.delete(ids.zone, ids.record).await {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => Ok(()),
            outcome => outcome,
        }
    }
}

fn added(record: &DnsRecord, ids: Ids, existed: bool) -> Added {
    let vendor = serde_json::to_value(ids).unwrap_or(serde_json::Value::Null);
    Added { handle: RecordHandle { record: record.clone(), vendor }, existed }
}

/// Why `record` cannot stand beside `there`, which are at its name: a CNAME stands alone (RFC 1034 §3.6.2).
fn in_the_way(there: &[api::Record], record: &DnsRecord) -> Option<Error> {
    let ours_stands_alone = matches!(record.data, RecordData::Cname(_));
    let other = there.iter().find(|found| ours_stands_alone || found.kind == "CNAME")?;
    let what = format!("a {} record is at {}", other.kind, record.name);
    Some(Error::new(NAME, Operation::PublishRecord, ErrorKind::Conflict(what.into())))
}

/// Refuses what the service would not give back as it was.
///
/// Quotation marks within a value are known not to work
/// (<https://github.com/StackExchange/dnscontrol/blob/main/providers/dnsmadeeasy/auditrecords.go>), and of escapes
/// nothing is known.
fn check(record: &DnsRecord) -> Result<()> {
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && !b"\"\\".contains(&byte);
    match &record.data {
        RecordData::Txt(value) if !value.bytes().all(plain) || value.is_empty() => {
            let what = "a TXT value that is empty, or with quotation marks, backslashes or other than printable \
                        ASCII characters,";
            Err(Error::new(NAME, Operation::PublishRecord, ErrorKind::Unsupported(what.into())))
        }
        _ => Ok(()),
    }
}

#[async_trait]
impl DnsProvider for DnsMadeEasy {
    fn provider(&self) -> ProviderName {
        NAME
    }

    fn capabilities(&self) -> DnsCapabilities {
        DnsCapabilities { cname: true, distribution: false, by_hand: false }
    }

    /// Asks which zones the keys see, and how many requests are left. Keys have no rights of their own: they may do
    /// everything in their account.
    async fn probe(&self) -> Result<AccountSummary> {
        let operation = Operation::Probe;
        let mut summary = AccountSummary::default();
        let overview = self.api.overview(operation).await?;
        summary.details.insert("zones".into(), overview.zones.to_string().into());
        if let Some(left) = overview.requests_left {
            summary.details.insert("requests left".into(), left.to_string().into());
        }
        if overview.zones == 0 {
            summary.warnings.push("the account has no zone".into());
        }
        if let Some((name, id)) = &self.only {
            let found =
                self.api.zone_named(operation, name).await.map_err(|error| zone_not_found(error, name))?;
            if id.is_some_and(|id| id != found.id) {
                let what = format!("zone {name} has the id {}, not that of `zone_id`", found.id);
                return Err(Error::new(NAME, operation, ErrorKind::Conflict(what.into())));
            }
            summary.details.insert("zone".into(), name.as_str().into());
            if found.is_pending {
                summary.warnings.push(format!("zone {name} is being created, changed or deleted").into());
            }
        }
        Ok(summary)
    }

    async fn zone_of(&self, name: &Fqdn) -> Result<Zone> {
        let zone = self.zone(Operation::FindZone, name).await?;
        Ok(Zone { name: zone.name, id: zone.id.to_string(), name_servers: zone.name_servers })
    }

    async fn add(&self, record: &DnsRecord) -> Result<Added> {
        check(record)?;
        let mut outcome = self.add_once(record).await;
        if self.zones.was_stale(&outcome).await {
            outcome = self.add_once(record).await;
        }
        outcome.map_err(|error| zone_not_found(error, &record.name))
    }

    async fn remove(&self, handle: &RecordHandle) -> Result<()> {
        let mut outcome = self.remove_once(handle).await;
        if self.zones.was_stale(&outcome).await {
            outcome = self.remove_once(handle).await;
        }
        outcome.map_err(|error| zone_not_found(error, &handle.record.name))
    }

    async fn distribution(&self, _: &RecordHandle) -> Result<Distribution> {
        Ok(Distribution::Unknown)
    }
}

/// Registers the provider under its name.
pub(crate) fn register(registry: &mut Registry) {
    registry.register_dns("dnsmadeeasy", "DNS Made Easy", |settings: Settings, context| {
        DnsMadeEasy::from_settings(settings, context.clock.clone())
    });
}

impl fmt::Debug for DnsMadeEasy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsMadeEasy").field("http", &self.api.http).finish_non_exhaustive()
    }
}
