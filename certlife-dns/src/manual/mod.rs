//! A person makes the changes: the engine shows the record and waits for word.
//!
//! Nothing is contacted and nothing is remembered here. What a person was asked to do, and whether it was
//! done, is the engine's to keep.

#[cfg(test)]
mod tests;

use certlife_core::{
    AccountSummary, DnsProvider, Error, ErrorKind, Fqdn, InputError, Operation, ProviderName, Registry,
    Result, async_trait,
    dns::{Added, Distribution, DnsCapabilities, DnsRecord, RecordHandle, Zone},
};
use schemars::JsonSchema;
use serde::Deserialize;

/// `manual` in errors, logs and metrics.
pub const NAME: ProviderName = ProviderName::new("manual");

/// Publishes by hand: every call succeeds, and somebody has to carry it out.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Manual;

/// The settings of [`Manual`]: none.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {}

impl Manual {
    /// Makes the provider.
    pub fn new() -> Self {
        Self
    }

    /// Makes the provider from its settings.
    ///
    /// # Errors
    ///
    /// None today; the signature is that of all providers.
    pub fn from_settings(_: Settings) -> Result<Self, InputError> {
        Ok(Self)
    }
}

#[async_trait]
impl DnsProvider for Manual {
    fn provider(&self) -> ProviderName {
        NAME
    }

    fn capabilities(&self) -> DnsCapabilities {
        DnsCapabilities { cname: true, distribution: false, by_hand: true }
    }

    async fn probe(&self) -> Result<AccountSummary> {
        Ok(AccountSummary::default())
    }

    async fn zone_of(&self, _: &Fqdn) -> Result<Zone> {
        Err(Error::new(NAME, Operation::FindZone, ErrorKind::Unsupported("finding zones".into())))
    }

    async fn add(&self, record: &DnsRecord) -> Result<Added> {
        Ok(Added { handle: RecordHandle::unknown(record.clone()), existed: false })
    }

    async fn remove(&self, _: &RecordHandle) -> Result<()> {
        Ok(())
    }

    async fn distribution(&self, _: &RecordHandle) -> Result<Distribution> {
        Ok(Distribution::Unknown)
    }
}

/// Registers the provider under its name.
pub(crate) fn register(registry: &mut Registry) {
    registry.register_dns("manual", "By hand", |settings: Settings, _| Manual::from_settings(settings));
}
