//! [Azure DNS](https://learn.microsoft.com/en-us/azure/dns/) as a [`DnsProvider`].
//!
//! Needs an identity with the role DNS Zone Contributor on the zones concerned or their resource group, and
//! nothing else. One that has it on a single zone states `zone` and `resource_group`, so that none are listed.
//! All values at a name are one record set with a tag (`etag`) that changes whenever it does. A change reads
//! the set and writes it back on condition that the tag is still the same, anew if it is not; time to live and
//! metadata of a set stay. Azure does not say when its servers have a change.

mod api;
#[cfg(test)]
mod fake;
mod fault;
mod settings;
#[cfg(test)]
mod tests;
mod token;

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::Duration};

use certlife_core::{
    AccountSummary, Clock, DnsProvider, Error, ErrorKind, Fqdn, InputError, Operation, ProviderName,
    Registry, Result, Retry, Secret, VendorText, async_trait,
    dns::{Added, Distribution, DnsCapabilities, DnsRecord, RecordData, RecordHandle, Zone},
};

use self::api::{Api, Expected, Properties, SetId};
use crate::{
    pause::pause,
    serial::Serial,
    zones::{ZoneList, longest, relative, zone_not_found},
};

pub use self::settings::{AzureBuilder, Cloud, Settings};

/// `azure` in errors, logs and metrics.
pub const NAME: ProviderName = ProviderName::new("azure");

/// How long it is remembered which zones there are.
const REMEMBER_ZONES: Duration = Duration::from_mins(5);
/// How often a change is tried while others change the same set.
const ATTEMPTS: u32 = 8;
/// The most records in one set.
///
/// <https://learn.microsoft.com/en-us/azure/azure-resource-manager/management/azure-subscription-service-limits>
const MOST_RECORDS: usize = 20;
/// The most resource groups whose rights are tested.
const MOST_TESTED: usize = 10;

/// Publishes through Azure Resource Manager.
pub struct AzureDns {
    api: Api,
    /// Who we are, for people.
    identity: String,
    /// The only zone, if it is stated.
    only: Option<api::Zone>,
    ttl_seconds: u32,
    most_characters: usize,
    zones: ZoneList<api::Zone>,
    /// Changes at one name take turns, so that they do not refuse each other.
    turns: Serial<Fqdn>,
    clock: Arc<dyn Clock>,
}

impl AzureDns {
    /// Starts a provider that is an application with a client secret.
    pub fn builder(
        subscription_id: impl Into<String>,
        tenant_id: impl Into<String>,
        client_id: impl Into<String>,
        client_secret: impl Into<Secret>,
    ) -> AzureBuilder {
        AzureBuilder::new(Settings {
            subscription_id: subscription_id.into(),
            tenant_id: Some(tenant_id.into()),
            client_id: Some(client_id.into()),
            client_secret: Some(client_secret.into()),
            ..Settings::default()
        })
    }

    /// Starts a provider that is an application which trusts another issuer's token (workload identity).
    ///
    /// The token is in a file with this absolute path, which is read anew whenever a token of Azure is fetched,
    /// since whoever writes it replaces it before it ends.
    pub fn builder_with_federated_token_file(
        subscription_id: impl Into<String>,
        tenant_id: impl Into<String>,
        client_id: impl Into<String>,
        path: impl Into<PathBuf>,
    ) -> AzureBuilder {
        AzureBuilder::new(Settings {
            subscription_id: subscription_id.into(),
            tenant_id: Some(tenant_id.into()),
            client_id: Some(client_id.into()),
            federated_token_file: Some(path.into()),
            ..Settings::default()
        })
    }

    /// Starts a provider that is the machine in Azure that it runs on: the identity that Azure assigned to it,
    /// or one that a user assigned, by its client id.
    pub fn builder_with_managed_identity(
        subscription_id: impl Into<String>,
        client_id: Option<String>,
    ) -> AzureBuilder {
        AzureBuilder::new(Settings {
            subscription_id: subscription_id.into(),
            client_id,
            managed_identity: true,
            ..Settings::default()
        })
    }

    /// Makes the provider from its settings.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] names the setting that is wrong and what it should look like.
    pub fn from_settings(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, InputError> {
        AzureBuilder::new(settings).clock(clock).build()
    }

    /// Finds the zone with the longest name that encloses `name`.
    async fn zone(&self, operation: Operation, name: &Fqdn) -> Result<api::Zone> {
        let unknown = || Error::new(NAME, operation, ErrorKind::ZoneNotFound(name.clone()));
        if let Some(only) = &self.only {
            return if name.is_within(&only.name) { Ok(only.clone()) } else { Err(unknown()) };
        }
        let zones = self.zones.get(|| self.api.zones(operation)).await;
        let zones = zones.map_err(|error| zone_not_found(error, name))?;
        match longest(&zones, name, |zone| &zone.name)[..] {
            [] => Err(unknown()),
            [zone] => Ok(zone.clone()),
            ref namesakes @ [zone, ..] => {
                let groups: Vec<&str> = namesakes.iter().map(|zone| zone.group.as_str()).collect();
                let groups = groups.join(", ");
                let what =
                    format!("zone {} is in the resource groups {groups}; state `resource_group`", zone.name);
                Err(Error::new(NAME, operation, ErrorKind::Conflict(what.into())))
            }
        }
    }

    async fn add_once(&self, record: &DnsRecord) -> Result<Added> {
        const OPERATION: Operation = Operation::PublishRecord;
        let zone = self.zone(OPERATION, &record.name).await?;
        let set = set_of(&zone, record);
        let added = |existed| Added { handle: RecordHandle::unknown(record.clone()), existed };
        for attempt in 1..=ATTEMPTS {
            let (mut properties, expected) = match self.api.read(OPERATION, set).await? {
                Some((properties, _)) if properties.holds(&record.data) => return Ok(added(true)),
                Some(_) if matches!(record.data, RecordData::Cname(_)) => {
                    let what = format!("a CNAME with another target is at {}", record.name);
                    return Err(Error::new(NAME, OPERATION, ErrorKind::Conflict(what.into())));
                }
                Some(found) => found,
                None => (Properties::new(self.ttl_seconds), Expected::Absent),
            };
            properties.insert(&record.data);
            let written = self.api.write(OPERATION, set, &properties, &expected).await;
            if written.map_err(|error| self.explained(error, &properties))? {
                return Ok(added(false));
            }
            pause(&*self.clock, attempt).await;
        }
        Err(too_busy(OPERATION, &record.name))
    }

    async fn remove_once(&self, record: &DnsRecord) -> Result<()> {
        const OPERATION: Operation = Operation::WithdrawRecord;
        let zone = self.zone(OPERATION, &record.name).await?;
        let set = set_of(&zone, record);
        for attempt in 1..=ATTEMPTS {
            let Some((mut properties, expected)) = self.api.read(OPERATION, set).await? else {
                return Ok(());
            };
            if !properties.holds(&record.data) {
                return Ok(());
            }
            let done = if properties.take(&record.data) {
                self.api.write(OPERATION, set, &properties, &expected).await?
            } else {
                self.api.delete(OPERATION, set, &expected).await?
            };
            if done {
                return Ok(());
            }
            pause(&*self.clock, attempt).await;
        }
        Err(too_busy(OPERATION, &record.name))
    }

    /// Tells a set that is full, for which Azure has no code of its own, from one that is wrong.
    fn explained(&self, error: Error, properties: &Properties) -> Error {
        let (records, characters) = properties.size();
        match error.kind() {
            ErrorKind::Rejected(words) if records > MOST_RECORDS || characters > self.most_characters => {
                let what = format!(
                    "the record set would hold {records} records of {characters} characters: {words}"
                );
                let kind = ErrorKind::QuotaExceeded(what.into());
                Error::new(NAME, error.operation(), kind).because(error)
            }
            _ => error,
        }
    }

    /// Finds out which rights are missing, by changes that cannot be made: they are for a tag that no set has.
    async fn test_rights(&self, zone: &api::Zone) -> Result<()> {
        const OPERATION: Operation = Operation::Probe;
        let set = SetId { zone, kind: "TXT", name: "_certlife-probe" };
        let never = Expected::Unchanged("00000000-0000-0000-0000-000000000000".to_owned());
        let mut properties = Properties::new(self.ttl_seconds);
        properties.insert(&RecordData::Txt("probe".to_owned()));
        if self.api.write(OPERATION, set, &properties, &never).await? {
            let what = "it ignores `If-Match`, so that changes of others could be lost";
            return Err(Error::new(NAME, OPERATION, ErrorKind::Protocol(what.into())));
        }
        self.api.delete(OPERATION, set, &never).await.map(drop)
    }

    /// The zones to test: the stated one, or one a resource group, since rights are mostly given by group.
    async fn zones_to_test(&self, summary: &mut AccountSummary) -> Result<Vec<api::Zone>> {
        const OPERATION: Operation = Operation::Probe;
        if let Some(only) = &self.only {
            summary.details.insert("zone".into(), only.name.as_str().into());
            let found =
                self.api.zone(OPERATION, only).await.map_err(|error| zone_not_found(error, &only.name))?;
            return match found {
                Some(zone) => Ok(vec![zone]),
                None => Err(Error::new(NAME, OPERATION, ErrorKind::ZoneNotFound(only.name.clone()))
                    .because("the zone is private")),
            };
        }
        let zones = self.api.zones(OPERATION).await?;
        summary.details.insert("zones".into(), zones.len().to_string().into());
        if zones.is_empty() {
            let place =
                self.api.group.as_ref().map_or("subscription".to_owned(), |name| format!("group {name}"));
            let what = format!(
                "the identity sees no public zone in the {place}; it needs the role DNS Zone Contributor"
            );
            summary.warnings.push(what.into());
        }
        let by_group: BTreeMap<_, _> =
            zones.into_iter().map(|zone| (zone.group.to_lowercase(), zone)).collect();
        Ok(by_group.into_values().take(MOST_TESTED).collect())
    }
}

fn set_of<'a>(zone: &'a api::Zone, record: &'a DnsRecord) -> SetId<'a> {
    SetId { zone, kind: record.data.type_name(), name: relative(&record.name, &zone.name) }
}

fn too_busy(operation: Operation, name: &Fqdn) -> Error {
    let what = format!("the record set at {name} was changed by others {ATTEMPTS} times meanwhile");
    Error::new(NAME, operation, ErrorKind::Conflict(what.into())).retry_as(Retry::Backoff)
}

#[async_trait]
impl DnsProvider for AzureDns {
    fn provider(&self) -> ProviderName {
        NAME
    }

    fn capabilities(&self) -> DnsCapabilities {
        DnsCapabilities { cname: true, distribution: false, by_hand: false }
    }

    /// Lists the zones and tries, in each resource group, changes that cannot be made. A right that is missing
    /// in some groups is a warning, in all of them an error.
    async fn probe(&self) -> Result<AccountSummary> {
        let identity = Some(VendorText::new(&self.identity));
        let mut summary = AccountSummary { identity, ..AccountSummary::default() };
        let zones = self.zones_to_test(&mut summary).await?;
        let mut missing = Vec::new();
        for zone in &zones {
            match self.test_rights(zone).await {
                Ok(()) => {}
                Err(error) if matches!(error.kind(), ErrorKind::Forbidden(_)) => missing.push(error),
                Err(error) => return Err(zone_not_found(error, &zone.name)),
            }
        }
        let everywhere = missing.len() == zones.len();
        summary.warnings.extend(missing.iter().map(|error| VendorText::new(&error.kind().to_string())));
        match missing.into_iter().next() {
            Some(error) if everywhere => Err(error),
            _ => Ok(summary),
        }
    }

    async fn zone_of(&self, name: &Fqdn) -> Result<Zone> {
        let zone = self.zone(Operation::FindZone, name).await?;
        Ok(Zone { id: self.api.id(&zone), name: zone.name, name_servers: zone.name_servers })
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
        let record = &handle.record;
        let _turn = self.turns.turn(record.name.clone()).await;
        let mut outcome = self.remove_once(record).await;
        if self.zones.was_stale(&outcome).await {
            outcome = self.remove_once(record).await;
        }
        outcome.map_err(|error| zone_not_found(error, &record.name))
    }

    async fn distribution(&self, _: &RecordHandle) -> Result<Distribution> {
        Ok(Distribution::Unknown)
    }
}

/// Registers the provider under its name.
pub(crate) fn register(registry: &mut Registry) {
    registry.register_dns("azure", "Azure DNS", |settings: Settings, context| {
        AzureDns::from_settings(settings, context.clock.clone())
    });
}

impl fmt::Debug for AzureDns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureDns").field("api", &self.api).finish_non_exhaustive()
    }
}
