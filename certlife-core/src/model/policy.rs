//! Policies: what the host wants to happen, stated once a certificate.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    challenge::ChallengeKind,
    csr::Csr,
    id::{AccountName, KeyId},
    input::InputError,
    key::KeyAlgorithm,
    name::{Fqdn, Identifier},
};

/// Where keys come from and how long they are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::exhaustive_structs, reason = "hosts build it with struct update syntax")]
pub struct KeyPolicy {
    /// The algorithm of keys that are made here. Defaults to what the CA account's
    /// [policy](super::AccountPolicy::key_algorithm) says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<KeyAlgorithm>,
    /// Where the key comes from. Defaults to made here.
    pub source: KeySource,
    /// What a renewal does with the key. Defaults to rotating it.
    pub on_renewal: KeyChange,
}

/// Where a key comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KeySource {
    /// Made here, for each version as [`KeyPolicy::on_renewal`] says.
    #[default]
    Generated,
    /// Brought by the host through [`import_key`](crate::Engine::import_key).
    Brought(KeyId),
    /// Elsewhere: the host brings the signing request and keeps the key.
    Elsewhere(Box<Csr>),
    /// Made on this target, for each version as [`KeyPolicy::on_renewal`] says. The key never leaves it, so that the
    /// certificate is deployed there alone.
    OnTarget(AccountName),
}

/// A private key that was made on a target, and is there alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "what names such a key: where, by which name, of which kind")]
pub struct TargetKey {
    /// The target.
    pub target: AccountName,
    /// The name under which the target keeps it.
    pub key: KeyId,
    /// Its algorithm.
    pub algorithm: KeyAlgorithm,
}

/// What a renewal does with the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a key is replaced or kept")]
pub enum KeyChange {
    /// Makes a new one.
    #[default]
    Rotate,
    /// Uses the same one again.
    Keep,
}

/// How control of the identifiers is proven.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::exhaustive_structs, reason = "hosts build it with struct update syntax")]
pub struct ValidationPolicy {
    /// The route of identifiers that [`routes`](Self::routes) does not name.
    #[serde(flatten)]
    pub default: Option<Route>,
    /// The route of single identifiers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub routes: BTreeMap<Identifier, Route>,
}

/// The way a challenge response is published. As JSON or TOML: `{ "dns": "corp" }`, `{ "http": "web" }`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Route {
    /// A TXT record, or a CNAME record if the CA asks for one, through a DNS account.
    Dns(#[schemars(with = "String")] AccountName),
    /// A file, through a target.
    Http(#[schemars(with = "String")] AccountName),
    /// A certificate in the handshake, through a target.
    TlsAlpn(#[schemars(with = "String")] AccountName),
    /// A message to this address, which a person answers.
    Email(String),
    /// A person publishes the response and says so with `verify`.
    Manual(ChallengeKind),
}

impl Route {
    /// Whether this route can answer a challenge of that kind.
    pub fn answers(&self, kind: ChallengeKind) -> bool {
        match self {
            Self::Dns(_) => kind.is_dns(),
            Self::Http(_) => kind == ChallengeKind::Http,
            Self::TlsAlpn(_) => kind == ChallengeKind::TlsAlpn,
            Self::Email(_) => kind == ChallengeKind::Email,
            Self::Manual(by_hand) => *by_hand == kind,
        }
    }

    /// The account that it goes through.
    pub fn account(&self) -> Option<&AccountName> {
        match self {
            Self::Dns(account) | Self::Http(account) | Self::TlsAlpn(account) => Some(account),
            Self::Email(_) | Self::Manual(_) => None,
        }
    }
}

/// Says how the identifiers at and below a domain are validated and which targets get their certificates, unless an order
/// or certificate says otherwise. As JSON: `{ "domain": "example.com", "route": { "dns": "corp" }, "deploy": ["web"] }`.
///
/// The longest matching domain that speaks of the matter wins: one that names targets only leaves the route to a
/// shorter one. For the route the owner name that is finally written counts, so that a delegated `_acme-challenge`
/// finds the account of the zone it leads to; for targets the identifier does, and those of several identifiers add up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "hosts build it")]
pub struct DomainMapping {
    /// The domain.
    pub domain: Fqdn,
    /// How identifiers are validated; none leaves it to other rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<Route>,
    /// The targets that get the certificates; empty leaves it to other rules.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub deploy: BTreeSet<AccountName>,
}

impl DomainMapping {
    /// Starts a mapping that says nothing yet.
    pub fn new(domain: Fqdn) -> Self {
        Self { domain, route: None, deploy: BTreeSet::new() }
    }

    /// Sets how identifiers are validated.
    #[must_use]
    pub fn route(mut self, route: Route) -> Self {
        self.route = Some(route);
        self
    }

    /// Adds a target.
    #[must_use]
    pub fn deploy(mut self, target: AccountName) -> Self {
        self.deploy.insert(target);
        self
    }

    /// The one of `mappings` with the longest domain that `name` lies within.
    pub(crate) fn longest<'a>(mappings: impl Iterator<Item = &'a Self>, name: &Fqdn) -> Option<&'a Self> {
        mappings
            .filter(|mapping| name.is_within(&mapping.domain))
            .max_by_key(|mapping| mapping.domain.as_str().len())
    }
}

/// When a certificate is renewed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::exhaustive_structs, reason = "hosts build it with struct update syntax")]
pub struct RenewalPolicy {
    /// Whether the engine renews by itself. Defaults to what the CA account's [policy](super::AccountPolicy::automatic)
    /// says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automatic: Option<bool>,
    /// When, where the CA does not say (RFC 9773). Defaults to what the CA account's
    /// [policy](super::AccountPolicy::before) says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<RenewBefore>,
    /// Whether the CA's own window (RFC 9773) takes precedence. Defaults to yes.
    pub follow_ca: bool,
    /// Days before expiry at which people are told, as long as no newer version is in sight. Defaults to
    /// 30, 14, 7, 3 and 1; thresholds longer than the time from renewal to expiry are left out.
    pub notice_days: Vec<u32>,
}

impl Default for RenewalPolicy {
    fn default() -> Self {
        Self { automatic: None, before: None, follow_ca: true, notice_days: vec![30, 14, 7, 3, 1] }
    }
}

/// How long before expiry a certificate is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "there is no third way to say it")]
pub enum RenewBefore {
    /// When this many percent of the validity period are left: 1 to 90.
    Percent(u8),
    /// This many days before expiry, but not before half of the validity period is over.
    Days(u32),
}

impl Default for RenewBefore {
    fn default() -> Self {
        Self::Percent(33)
    }
}

impl RenewBefore {
    /// Checks that a renewal falls into the validity period.
    pub(crate) fn check(self) -> Result<(), InputError> {
        let (value, rule) = match self {
            Self::Percent(1..=90) | Self::Days(1..) => return Ok(()),
            Self::Percent(percent) => {
                (format!("{percent} percent"), "use 1 to 90 percent of the validity period")
            }
            Self::Days(days) => (format!("{days} days"), "use at least one day"),
        };
        Err(InputError::Value { field: "before".into(), value: value.as_str().into(), rule: rule.into() })
    }

    /// How long before expiry, for a validity period of that length.
    pub fn lead(self, validity: Duration) -> Duration {
        match self {
            Self::Percent(percent) => validity / 100 * u32::from(percent),
            Self::Days(days) => Duration::from_hours(24 * u64::from(days)).min(validity / 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_reads_as_people_write_it() {
        let policy: ValidationPolicy =
            serde_json::from_str(r#"{"dns":"corp","routes":{"a.example":{"http":"web"}}}"#).unwrap();
        assert_eq!(policy.default, Some(Route::Dns("corp".parse().unwrap())));
        assert_eq!(policy.routes.len(), 1);
        let text = serde_json::to_string(&policy).unwrap();
        assert_eq!(serde_json::from_str::<ValidationPolicy>(&text).unwrap(), policy);
        assert_eq!(serde_json::from_str::<ValidationPolicy>("{}").unwrap(), ValidationPolicy::default());
    }

    #[test]
    fn days_never_eat_more_than_half_of_a_short_certificate() {
        let week = Duration::from_hours(7 * 24);
        assert_eq!(RenewBefore::Days(30).lead(week), week / 2);
    }
}
