//! [Cloudflare DNS](https://developers.cloudflare.com/dns/) as a [`DnsProvider`].
//!
//! Needs a token with the rights Zone:Read and DNS:Edit for the zones concerned and nothing else. Each value
//! is a record of its own with an id, so adding and removing are single calls and nothing needs a lock. A
//! record that is there already is an error of the API, which is answered by looking for it.

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
    dns::{Added, Distribution, DnsCapabilities, DnsRecord, RecordHandle, Zone},
    http::Client,
};
use serde::{Deserialize, Serialize};

use self::api::{Api, NewRecord};
use crate::zones::{Zones, is_gone};

pub use self::settings::{CloudflareBuilder, Settings};

/// `cloudflare` in errors, logs and metrics.
pub const NAME: ProviderName = ProviderName::new("cloudflare");

/// How long it is remembered which names are zones.
const REMEMBER_ZONES: Duration = Duration::from_mins(5);

/// On how many zones a test of the account tries the rights.
const TRIED_ZONES: usize = 3;
/// An id that no record has.
const NO_RECORD: &str = "00000000000000000000000000000000";

/// Publishes through Cloudflare's API.
pub struct Cloudflare {
    api: Api,
    has_token: bool,
    has_two_tokens: bool,
    account: Option<String>,
    /// The id of the only zone, and its name if it is stated.
    only: Option<(String, Option<Fqdn>)>,
    ttl_seconds: u32,
    zones: Zones<api::Zone>,
}

enum Credential {
    Token(Secret),
    GlobalKey { email: String, key: Secret },
}

/// What a handle remembers of a record.
#[derive(Serialize, Deserialize)]
struct Ids {
    zone: String,
    record: String,
}

impl Cloudflare {
    /// Starts a provider that uses an API token.
    pub fn builder(api_token: impl Into<Secret>) -> CloudflareBuilder {
        CloudflareBuilder::new(Settings { api_token: Some(api_token.into()), ..Settings::default() })
    }

    /// Starts a provider that uses the Global API Key of a user.
    pub fn builder_with_global_key(
        email: impl Into<String>,
        api_key: impl Into<Secret>,
    ) -> CloudflareBuilder {
        CloudflareBuilder::new(Settings {
            email: Some(email.into()),
            api_key: Some(api_key.into()),
            ..Settings::default()
        })
    }

    /// Makes the provider from its settings.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] names the setting that is wrong and what it should look like.
    pub fn from_settings(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, InputError> {
        CloudflareBuilder::new(settings).clock(clock).build()
    }

    fn new(
        api: Api,
        has_token: bool,
        has_two_tokens: bool,
        account: Option<String>,
        only: Option<(String, Option<Fqdn>)>,
        ttl_seconds: u32,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let zones = Zones::new(clock, REMEMBER_ZONES);
        Self { api, has_token, has_two_tokens, account, only, ttl_seconds, zones }
    }

    async fn zone(&self, operation: Operation, name: &Fqdn) -> Result<api::Zone> {
        let found = match &self.only {
            None => self.zones.enclosing(name, |candidate| self.zone_named(operation, candidate)).await?,
            Some((id, Some(zone))) => name.is_within(zone).then(|| api::Zone {
                id: id.clone(),
                name: zone.clone(),
                status: String::new(),
                kind: String::new(),
                name_servers: Vec::new(),
            }),
            Some((id, None)) => {
                Some(self.api.zone(operation, id).await?).filter(|zone| name.is_within(&zone.name))
            }
        };
        found.ok_or_else(|| Error::new(NAME, operation, ErrorKind::ZoneNotFound(name.clone())))
    }

    /// Finds the zone of exactly this name, preferring one that is in use.
    async fn zone_named(&self, operation: Operation, name: Fqdn) -> Result<Option<api::Zone>> {
        // Nobody holds a top-level domain here, so the question is not worth a request.
        if name.parent().is_none() {
            return Ok(None);
        }
        let mut zones = self.api.zones_named(operation, &name, self.account.as_deref()).await?;
        zones.retain(|zone| zone.is_public() && zone.name == name && is_id(&zone.id));
        if zones.iter().any(api::Zone::is_active) {
            zones.retain(api::Zone::is_active);
        }
        if zones.len() > 1 {
            let what = format!("zone {name} is in {} accounts; state `account_id`", zones.len());
            return Err(Error::new(NAME, operation, ErrorKind::Conflict(what.into())));
        }
        Ok(zones.pop())
    }

    /// Looks for a record by its content.
    async fn find(
        &self,
        operation: Operation,
        zone: &api::Zone,
        record: &DnsRecord,
    ) -> Result<Option<api::Record>> {
        let DnsRecord { name, data } = record;
        let records = self.api.records(operation, &zone.id, name, data.type_name()).await?;
        Ok(records.into_iter().find(|found| found.is(data)))
    }

    async fn add_once(&self, record: &DnsRecord) -> Result<Added> {
        let zone = self.zone(Operation::PublishRecord, &record.name).await?;
        let new = NewRecord::new(&record.name, &record.data, self.ttl_seconds);
        let (found, existed) = match self.api.create(&zone.id, &new).await {
            Ok(made) => (made, false),
            Err(conflict) if matches!(conflict.kind(), ErrorKind::Conflict(_)) => {
                let there = self.find(Operation::PublishRecord, &zone, record).await?;
                (there.ok_or(conflict)?, true)
            }
            Err(error) => return Err(error),
        };
        let ids = serde_json::to_value(Ids { zone: zone.id, record: found.id });
        let vendor = ids.unwrap_or(serde_json::Value::Null);
        Ok(Added { handle: RecordHandle { record: record.clone(), vendor }, existed })
    }

    async fn remove_once(&self, handle: &RecordHandle) -> Result<()> {
        let ids = if let Some(ids) = known_ids(handle) {
            ids
        } else {
            let operation = Operation::WithdrawRecord;
            let zone = self.zone(operation, &handle.record.name).await?;
            match self.find(operation, &zone, &handle.record).await? {
                Some(found) => Ids { zone: zone.id, record: found.id },
                None => return Ok(()),
            }
        };
        match self.api.delete(Operation::WithdrawRecord, &ids.zone, &ids.record).await {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => Ok(()),
            outcome => outcome,
        }
    }

    /// Deletes a record that no zone has: whoever may edit is told so.
    async fn try_editing(&self, zone: &str) -> Result<()> {
        match self.api.delete(Operation::Probe, zone, NO_RECORD).await {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => Ok(()),
            outcome => outcome,
        }
    }

    /// Whether a failure may come from a zone that was remembered and is gone; it is forgotten then.
    fn zone_was_stale<T>(&self, outcome: &Result<T>, name: &Fqdn) -> bool {
        is_gone(outcome) && self.zones.forget(name)
    }

    /// Tests one token, be it a user's or an account's.
    async fn test_token(&self, client: &Client) -> Result<String> {
        let token = match (Api::verify_user_token(client).await, &self.account) {
            (Err(error), Some(account)) if *error.kind() == ErrorKind::Unauthorized => {
                Api::verify_account_token(client, account).await?
            }
            (outcome, _) => outcome?,
        };
        if token.status == "active" {
            Ok(format!("token {}", token.id))
        } else {
            let cause = format!("the token is {}", certlife_core::VendorText::new(&token.status));
            Err(Error::new(NAME, Operation::Probe, ErrorKind::Unauthorized).because(cause))
        }
    }
}

/// The ids in a handle, if they are ids: they become part of a path.
fn known_ids(handle: &RecordHandle) -> Option<Ids> {
    let ids = Ids::deserialize(&handle.vendor).ok()?;
    (is_id(&ids.zone) && is_id(&ids.record)).then_some(ids)
}

fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[async_trait]
impl DnsProvider for Cloudflare {
    fn provider(&self) -> ProviderName {
        NAME
    }

    fn capabilities(&self) -> DnsCapabilities {
        DnsCapabilities { cname: true, distribution: false, by_hand: false }
    }

    /// Asks whose the credential is and which zones it sees, and tries the right to edit, on the stated zone or on the
    /// first few, by deleting a record that does not exist. A missing right is an error for a stated zone, else a
    /// warning, since another zone may be meant.
    async fn probe(&self) -> Result<AccountSummary> {
        let mut summary = AccountSummary::default();
        let identity = if self.has_token {
            if self.has_two_tokens {
                self.test_token(&self.api.zones).await?;
            }
            self.test_token(&self.api.records).await?
        } else {
            summary.warnings.push("the Global API Key may do everything; an API token can be limited".into());
            self.api.user().await?.email
        };
        summary.identity = Some(identity.into());
        match &self.only {
            Some((id, Some(name))) => {
                self.api.records(Operation::Probe, id, name, "TXT").await?;
                self.try_editing(id).await?;
                summary.details.insert("zone".into(), name.as_str().into());
            }
            Some((id, None)) => {
                self.try_editing(id).await?;
                let zone = self.api.zone(Operation::Probe, id).await?;
                if !zone.is_active() {
                    summary.warnings.push(format!("zone {} is not active", zone.name).into());
                }
                summary.details.insert("zone".into(), zone.name.as_str().into());
            }
            None => {
                let (zones, count) = self.api.first_zones(Operation::Probe, self.account.as_deref()).await?;
                for zone in zones.iter().filter(|zone| zone.is_public() && is_id(&zone.id)).take(TRIED_ZONES)
                {
                    match self.try_editing(&zone.id).await {
                        Err(error) if matches!(error.kind(), ErrorKind::Forbidden(_)) => {
                            let what = format!("the right DNS:Edit is missing for zone {}", zone.name);
                            summary.warnings.push(what.into());
                        }
                        outcome => outcome?,
                    }
                }
                summary.details.insert("zones".into(), count.to_string().into());
                if count == 0 {
                    summary.warnings.push("the credential sees no zone; it needs the right Zone:Read".into());
                }
            }
        }
        Ok(summary)
    }

    async fn zone_of(&self, name: &Fqdn) -> Result<Zone> {
        let zone = self.zone(Operation::FindZone, name).await?;
        let name_servers = zone.name_servers.iter().filter_map(|server| server.parse().ok()).collect();
        Ok(Zone { name: zone.name, id: zone.id, name_servers })
    }

    async fn add(&self, record: &DnsRecord) -> Result<Added> {
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

    async fn distribution(&self, _: &RecordHandle) -> Result<Distribution> {
        Ok(Distribution::Unknown)
    }
}

/// Registers the provider under its name.
pub(crate) fn register(registry: &mut Registry) {
    registry.register_dns("cloudflare", "Cloudflare DNS", |settings: Settings, context| {
        Cloudflare::from_settings(settings, context.clock.clone())
    });
}

impl fmt::Debug for Cloudflare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cloudflare").field("api", &self.api).finish_non_exhaustive()
    }
}
