//! The deployment: the pair certificate × target.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{
    deploy::Receipt,
    digest::Fingerprint,
    error::Failure,
    id::{AccountName, CertificateId, VersionId},
    store::{Field, Index, Key, Kind},
    time::Timestamp,
};

/// One certificate on one target: what it should have, what it has, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Deployment {
    /// The certificate.
    pub certificate: CertificateId,
    /// The target.
    pub target: AccountName,
    /// The version that it should have; none once it is to be removed.
    pub desired: Option<VersionId>,
    /// The version that it last confirmed.
    #[serde(default)]
    pub actual: Option<VersionId>,
    /// How far it is.
    pub state: DeploymentState,
    /// The proof of the last install, from which it can be rolled back.
    #[serde(default)]
    pub receipt: Option<Receipt>,
    /// What the target last confirmed.
    #[serde(default)]
    pub evidence: Option<Evidence>,
    /// Attempts that failed since the last that did not.
    #[serde(default)]
    pub attempts: u32,
    /// Verifications that failed since the install.
    #[serde(default)]
    pub looks: u32,
    /// Why the last attempt failed.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// Whether the target was found with another version than it had confirmed, since it last confirmed one.
    #[serde(default)]
    pub drifted: bool,
    /// Whether somebody asked for the version to be installed again, and the engine has not begun with it.
    #[serde(default)]
    pub redeploy: bool,
    /// Whether targets of later waves may wait for this one.
    #[serde(default)]
    pub awaited: bool,
}

impl Deployment {
    pub(crate) fn new(certificate: CertificateId, target: AccountName, desired: VersionId) -> Self {
        Self {
            certificate,
            target,
            desired: Some(desired),
            actual: None,
            state: DeploymentState::Wanted,
            receipt: None,
            evidence: None,
            attempts: 0,
            looks: 0,
            failure: None,
            drifted: false,
            redeploy: false,
            awaited: false,
        }
    }

    pub(crate) fn key(certificate: &CertificateId, target: &AccountName) -> Key {
        Key::new(Kind::Deployment, format_args!("{certificate}/{target}"))
    }

    /// Makes the target get `version`, from the beginning.
    pub(crate) fn want(&mut self, version: VersionId) {
        if self.desired != Some(version) || self.state == DeploymentState::Removed {
            self.desired = Some(version);
            self.state = DeploymentState::Wanted;
            self.attempts = 0;
            self.looks = 0;
        }
    }

    /// Begins anew, since the target has forgotten everything.
    pub(crate) fn forgotten(&mut self) {
        if self.desired.is_some() {
            self.state = DeploymentState::Wanted;
            (self.actual, self.receipt, self.evidence) = (None, None, None);
            (self.attempts, self.looks) = (0, 0);
        }
    }

    /// Takes over what is wanted of it in the stored record; returns whether that is something else.
    pub(crate) fn adopt_desired(&mut self, stored: &Self) -> bool {
        let changed = self.desired != stored.desired || (stored.redeploy && !self.redeploy);
        self.redeploy |= stored.redeploy;
        self.awaited |= stored.awaited;
        match stored.desired {
            Some(version) => self.want(version),
            None => self.desired = None,
        }
        changed
    }

    pub(crate) fn index(&self) -> Index {
        Index::from([
            (Field::Owner, self.certificate.to_string()),
            (Field::Account, self.target.to_string()),
            (Field::State, self.state.as_str().to_owned()),
        ])
    }
}

/// How far a deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeploymentState {
    /// The target should get the desired version.
    Wanted,
    /// It is being installed; it may or may not be there.
    Installing,
    /// It is installed; the target has not confirmed it yet.
    Verifying,
    /// The target confirmed it.
    Live,
    /// The target did not confirm it and the version before is being put back.
    RollingBack,
    /// An attempt failed; another follows.
    Failing,
    /// The certificate is being removed from the target.
    Removing,
    /// The certificate is gone from the target.
    Removed,
}

impl DeploymentState {
    /// Whether nothing was begun that has to be brought to an end first.
    pub(crate) fn is_at_rest(self) -> bool {
        matches!(self, Self::Wanted | Self::Live | Self::Failing)
    }

    /// The text form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Installing => "installing",
            Self::Verifying => "verifying",
            Self::Live => "live",
            Self::RollingBack => "rolling_back",
            Self::Failing => "failing",
            Self::Removing => "removing",
            Self::Removed => "removed",
        }
    }
}

/// What a target confirmed, when, and how we know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evidence {
    /// When.
    pub at: Timestamp,
    /// SHA-256 of the leaf that it holds or serves.
    pub fingerprint: Fingerprint,
    /// The address whose TLS handshake showed it; none if the deployer read it from the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_at: Option<SocketAddr>,
}

impl Evidence {
    pub(crate) fn new(at: Timestamp, fingerprint: Fingerprint, served_at: Option<SocketAddr>) -> Self {
        Self { at, fingerprint, served_at }
    }
}
