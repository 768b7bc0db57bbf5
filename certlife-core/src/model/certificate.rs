//! The certificate: what the subscriber wants to keep alive.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    Actor,
    policy::{KeyPolicy, RenewalPolicy, ValidationPolicy},
    rollout::{Rollout, RolloutProgress, TargetReason},
};
use crate::{
    ca::{Contact, Decision, RenewalWindow},
    error::Failure,
    id::{AccountName, CertificateId, OrderId, VersionId},
    name::Identifier,
    text::VendorText,
    time::Timestamp,
    x509::RevocationReason,
};

/// What the host wants: identifiers, where from, how proven, where to.
///
/// ```
/// # use certlife_core::model::{CertificateSpec, Route};
/// let spec = CertificateSpec::new("www".parse()?, "letsencrypt".parse()?)
///     .identifiers(["example.com".parse()?, "*.example.com".parse()?])
///     .validate(Route::Dns("corp".parse()?))
///     .deploy("web".parse()?);
/// # Ok::<_, certlife_core::InputError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CertificateSpec {
    /// The host's name for it.
    pub id: CertificateId,
    /// The identifiers; the first becomes the common name where it fits (64 characters, RFC 5280 appendix A).
    pub identifiers: Vec<Identifier>,
    /// The CA account.
    pub ca: AccountName,
    /// Where keys come from.
    #[serde(default)]
    pub key: KeyPolicy,
    /// The validity period that is wanted; none means the CA's usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validity: Option<Duration>,
    /// The product or profile, by the id that the catalog gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// The organization, by the id that the catalog gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// Whether the certificate must be served with a stapled OCSP response (RFC 7633). Defaults to no.
    #[serde(default)]
    pub must_staple: bool,
    /// People that the CA may write to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<Contact>,
    /// The vendor's own options.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub options: serde_json::Value,
    /// How control of the identifiers is proven.
    #[serde(default)]
    pub validation: ValidationPolicy,
    /// When it is renewed.
    #[serde(default)]
    pub renewal: RenewalPolicy,
    /// The targets that get it; if empty, those that the domain mappings name, or else the defaults of the CA account.
    #[serde(default)]
    pub deploy: BTreeSet<AccountName>,
    /// In which order they get a new version. Defaults to all at once.
    #[serde(default)]
    pub rollout: Rollout,
}

impl CertificateSpec {
    /// Starts a wish for a certificate from a CA account.
    pub fn new(id: CertificateId, ca: AccountName) -> Self {
        Self {
            id,
            identifiers: Vec::new(),
            ca,
            key: KeyPolicy::default(),
            validity: None,
            product: None,
            organization: None,
            must_staple: false,
            contacts: Vec::new(),
            options: serde_json::Value::Null,
            validation: ValidationPolicy::default(),
            renewal: RenewalPolicy::default(),
            deploy: BTreeSet::new(),
            rollout: Rollout::AllAtOnce,
        }
    }

    /// Adds identifiers. One that is there already is not added twice.
    #[must_use]
    pub fn identifiers(mut self, identifiers: impl IntoIterator<Item = Identifier>) -> Self {
        for identifier in identifiers {
            if !self.identifiers.contains(&identifier) {
                self.identifiers.push(identifier);
            }
        }
        self
    }

    /// Sets how the identifiers are validated that no other rule names.
    #[must_use]
    pub fn validate(mut self, route: super::Route) -> Self {
        self.validation.default = Some(route);
        self
    }

    /// Adds a target.
    #[must_use]
    pub fn deploy(mut self, target: AccountName) -> Self {
        self.deploy.insert(target);
        self
    }

    /// Sets in which order targets get a new version.
    #[must_use]
    pub fn rollout(mut self, rollout: Rollout) -> Self {
        self.rollout = rollout;
        self
    }

    /// Sets where keys come from.
    #[must_use]
    pub fn key(mut self, key: KeyPolicy) -> Self {
        self.key = key;
        self
    }

    /// Sets when it is renewed.
    #[must_use]
    pub fn renewal(mut self, renewal: RenewalPolicy) -> Self {
        self.renewal = renewal;
        self
    }

    /// Asks for a validity period.
    #[must_use]
    pub fn validity(mut self, validity: Duration) -> Self {
        self.validity = Some(validity);
        self
    }

    /// Asks for a product or profile.
    #[must_use]
    pub fn product(mut self, product: impl Into<String>) -> Self {
        self.product = Some(product.into());
        self
    }

    /// Sets the vendor's own options.
    #[must_use]
    pub fn options(mut self, options: serde_json::Value) -> Self {
        self.options = options;
        self
    }
}

/// A certificate as the engine keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Certificate {
    /// What the host wants.
    pub spec: CertificateSpec,
    /// When the host asked for it.
    pub created_at: Timestamp,
    /// What happens with it.
    pub state: CertificateState,
    /// The version that is, or is to be, served.
    #[serde(default)]
    pub current: Option<VersionId>,
    /// The current version's validity period.
    #[serde(default)]
    pub validity: Option<(Timestamp, Timestamp)>,
    /// Until when the order of the current version was paid for, where the version ends earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term_ends: Option<Timestamp>,
    /// The order under way.
    #[serde(default)]
    pub order: Option<OrderId>,
    /// When the next renewal is due, and why then.
    #[serde(default)]
    pub schedule: Option<RenewalSchedule>,
    /// Orders that failed since the last that did not.
    #[serde(default)]
    pub failed_orders: u32,
    /// Why the last order failed.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// The earliest moment of the next order after a failure.
    #[serde(default)]
    pub not_before: Option<Timestamp>,
    /// What the CA suggests (RFC 9773), and until when that answer holds.
    #[serde(default)]
    pub window: Option<RenewalWindow>,
    /// When the CA is asked for its window again.
    #[serde(default)]
    pub window_due: Option<Timestamp>,
    /// The smallest notice threshold, in days, that people were told of for the current version.
    #[serde(default)]
    pub noticed_days: Option<u32>,
    /// What a person said last about it, such as why it is paused.
    #[serde(default)]
    pub remark: Option<VendorText>,
    /// Revocations that were asked for and that the CA has not confirmed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revocations: Vec<PendingRevocation>,
    /// Decisions on versions that were asked for and that the CA has not confirmed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<PendingDecision>,
    /// Since when the current version is on hold at the CA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<Timestamp>,
    /// Since when the current version is out of the CA's management.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deactivated: Option<Timestamp>,
    /// The targets that get it, and why each. Decided when it is wanted, when a version becomes current, and when the wish
    /// or a mapping changes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub targets: BTreeMap<AccountName, TargetReason>,
    /// The rollout of the current version, while targets wait for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutProgress>,
    /// Whether the targets are to be looked through: a mapping has changed, or others may wait for one that has news.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub targets_due: bool,
}

/// A decision on an issued version that was asked for and that the CA has not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PendingDecision {
    /// The version.
    pub version: VersionId,
    /// What was decided.
    pub decision: Decision,
    /// Who decided.
    pub actor: Actor,
    /// Attempts that failed.
    #[serde(default)]
    pub attempts: u32,
    /// Why the last one failed.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// When the CA is asked next; none if it refused, until somebody asks again.
    pub next_attempt: Option<Timestamp>,
}

/// A revocation that was asked for and that the CA has not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PendingRevocation {
    /// The version to revoke.
    pub version: VersionId,
    /// Why.
    pub reason: RevocationReason,
    /// What the person who asked had to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<VendorText>,
    /// Whether the certificate goes on with another version.
    pub replace: bool,
    /// Who asked.
    pub actor: Actor,
    /// Attempts that failed.
    #[serde(default)]
    pub attempts: u32,
    /// Why the last one failed.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// When the CA is asked next; none if it refused, until somebody asks again.
    pub next_attempt: Option<Timestamp>,
}

/// What happens with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CertificateState {
    /// The engine keeps it alive.
    Active,
    /// The host paused it: nothing is ordered by itself.
    Paused,
    /// Its current version is revoked and it is not to be renewed.
    Revoked,
}

/// What a certificate looks like from outside, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CertificateStatus {
    /// There is no version yet.
    Pending,
    /// A version is current and nothing is due.
    Valid,
    /// A newer version is on its way.
    Renewing,
    /// The last order failed; the current version, if any, still holds.
    Failing,
    /// The current version has expired.
    Expired,
    /// The host paused it.
    Paused,
    /// The current version is on hold at the CA, so that whoever checks refuses it.
    Suspended,
    /// Revoked and not to be renewed.
    Revoked,
}

impl Certificate {
    /// A wish that nothing was done for yet.
    pub(crate) fn wanted(spec: CertificateSpec, now: Timestamp) -> Self {
        Self {
            spec,
            created_at: now,
            state: CertificateState::Active,
            current: None,
            validity: None,
            term_ends: None,
            order: None,
            schedule: None,
            failed_orders: 0,
            failure: None,
            not_before: None,
            window: None,
            window_due: None,
            noticed_days: None,
            remark: None,
            revocations: Vec::new(),
            targets: BTreeMap::new(),
            rollout: None,
            targets_due: false,
            decisions: Vec::new(),
            suspended: None,
            deactivated: None,
        }
    }

    /// What it looks like from outside at `now`.
    pub fn status(&self, now: Timestamp) -> CertificateStatus {
        match (self.state, self.validity) {
            (CertificateState::Revoked, _) => CertificateStatus::Revoked,
            (_, Some((_, not_after))) if not_after < now => CertificateStatus::Expired,
            (CertificateState::Paused, _) => CertificateStatus::Paused,
            _ if self.suspended.is_some() => CertificateStatus::Suspended,
            _ if self.failed_orders > 0 => CertificateStatus::Failing,
            (_, None) => CertificateStatus::Pending,
            _ if self.order.is_some() => CertificateStatus::Renewing,
            _ => CertificateStatus::Valid,
        }
    }
}

/// When the next renewal is due, and why then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RenewalSchedule {
    /// The moment.
    pub at: Timestamp,
    /// Why then.
    pub trigger: RenewalTrigger,
}

impl RenewalSchedule {
    pub(crate) fn new(at: Timestamp, trigger: RenewalTrigger) -> Self {
        Self { at, trigger }
    }
}

/// Why a renewal is due when it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RenewalTrigger {
    /// The CA suggested the window (RFC 9773).
    CaWindow,
    /// The certificate's renewal policy.
    Policy,
    /// The spec changed in a way that the current version does not meet.
    SpecChanged,
    /// The host asked for it.
    Requested,
    /// The current version was revoked and is to be replaced.
    Revoked,
}
