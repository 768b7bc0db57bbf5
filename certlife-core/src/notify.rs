//! The [`Notifier`] contract: telling people.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Failure, ProviderName, Result},
    id::{AccountName, CertificateId, VersionId},
    time::Timestamp,
};

/// Tells people what they have to know.
///
/// # Contract
///
/// * **At least once.** A notice may come twice after a crash; [`Notice::id`] is equal then.
/// * **Bounded.** A call returns within a minute; what it could not deliver it reports.
/// * **Abandonable.** A dropped call may have delivered the notice.
#[async_trait]
pub trait Notifier: fmt::Debug + Send + Sync + 'static {
    /// Names the kind of notifier in errors, logs and metrics.
    fn provider(&self) -> ProviderName;

    /// Delivers a notice.
    async fn notify(&self, notice: &Notice) -> Result<()>;
}

/// Something that a person should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Notice {
    /// Equal for the same matter.
    pub id: String,
    /// When it came up.
    pub at: Timestamp,
    /// The certificate concerned.
    pub certificate: CertificateId,
    /// What it is about.
    pub matter: Matter,
}

/// What a notice is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "matter", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Matter {
    /// The current version expires soon and no newer one is in sight.
    Expiring {
        /// When it expires.
        not_after: Timestamp,
        /// The threshold that was passed, in days before expiry.
        days: u32,
    },
    /// An order needs a person: a decision, a record to publish by hand, a refusal to look into.
    OrderNeedsPerson {
        /// What happened, where something failed.
        failure: Option<Failure>,
    },
    /// The CA refuses to revoke a version.
    RevocationRefused {
        /// What it says.
        failure: Failure,
    },
    /// The CA refuses a decision on an issued version.
    DecisionRefused {
        /// What it says.
        failure: Failure,
    },
    /// A target does not confirm the version that it should have.
    DeploymentFailed {
        /// The target.
        target: AccountName,
        /// What happened.
        failure: Failure,
    },
    /// A target was found with something else than it had confirmed, and it stays so until somebody acts.
    DriftFound {
        /// The target.
        target: AccountName,
        /// When it last confirmed what it should have.
        confirmed_at: Option<Timestamp>,
        /// What was found.
        failure: Failure,
    },
    /// A rollout failed at a target and does not go on by itself.
    RolloutHeld {
        /// The version.
        version: VersionId,
        /// The target.
        target: AccountName,
        /// What happened.
        failure: Failure,
    },
    /// A new version is current.
    Renewed {
        /// When the new version expires.
        not_after: Timestamp,
    },
}

impl Notice {
    /// Makes a notice about a certificate.
    pub fn new(certificate: CertificateId, at: Timestamp, matter: Matter) -> Self {
        let topic = match &matter {
            Matter::Expiring { not_after, days } => format!("expiring/{not_after}/{days}"),
            Matter::OrderNeedsPerson { .. } => format!("order/{at}"),
            Matter::RevocationRefused { .. } => format!("revocation/{at}"),
            Matter::DecisionRefused { .. } => format!("decision/{at}"),
            Matter::DeploymentFailed { target, .. } => format!("deployment/{target}/{at}"),
            Matter::DriftFound { target, confirmed_at, .. } => {
                // Found once more after a crash it is still the same.
                format!("drift/{target}/{}", confirmed_at.unwrap_or(at))
            }
            Matter::RolloutHeld { version, target, .. } => format!("rollout/{version}/{target}"),
            Matter::Renewed { not_after } => format!("renewed/{not_after}"),
        };
        Self { id: format!("{certificate}/{topic}"), at, certificate, matter }
    }
}

/// Writes notices to the `tracing` log: needs of a person as warnings, the rest as information.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct LogNotifier;

#[async_trait]
impl Notifier for LogNotifier {
    fn provider(&self) -> ProviderName {
        ProviderName::new("log")
    }

    async fn notify(&self, notice: &Notice) -> Result<()> {
        let certificate = &notice.certificate;
        match &notice.matter {
            Matter::Renewed { not_after } => tracing::info!(%certificate, %not_after, "certificate renewed"),
            Matter::Expiring { not_after, days } => {
                tracing::warn!(%certificate, %not_after, days, "certificate expires soon");
            }
            Matter::OrderNeedsPerson { failure } => {
                let why = failure.as_ref().map_or("", |failure| failure.message.as_str());
                tracing::warn!(%certificate, why, "an order needs a person");
            }
            Matter::DecisionRefused { failure } => {
                tracing::warn!(%certificate, why = %failure.message, "the CA refuses a decision on a version");
            }
            Matter::RevocationRefused { failure } => {
                tracing::warn!(%certificate, why = %failure.message, "the CA refuses to revoke a version");
            }
            Matter::DeploymentFailed { target, failure } => {
                tracing::warn!(%certificate, %target, why = %failure.message, "a target does not confirm the certificate");
            }
            Matter::RolloutHeld { version, target, failure } => {
                tracing::warn!(%certificate, %version, %target, why = %failure.message, "a rollout is held");
            }
            Matter::DriftFound { target, failure, .. } => {
                tracing::warn!(%certificate, %target, found = %failure.message, "a target has changed and waits for a person");
            }
        }
        Ok(())
    }
}
