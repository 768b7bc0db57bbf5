//! The event: one line of the audit trail and of the feed.

use serde::{Deserialize, Serialize};

use super::{
    certificate::RenewalTrigger,
    order::{OrderState, Request, RouteReason},
    policy::Route,
};
use crate::{
    ca::{PurposeKind, Stage},
    digest::Fingerprint,
    error::Failure,
    id::{AccountName, CertificateId, OrderId, VersionId},
    name::Identifier,
    store::{Field, Index},
    text::VendorText,
    time::Timestamp,
    x509::RevocationReason,
};

/// One line of the audit trail: who did what, on which object, with which outcome, when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Event {
    /// Its place in the feed, from 1 upwards without gaps.
    pub position: u64,
    /// What happened.
    #[serde(flatten)]
    pub occurrence: Occurrence,
}

/// An event before it has its place in the feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Occurrence {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// The certificate concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateId>,
    /// The order concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderId>,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

impl Occurrence {
    pub(crate) fn new(at: Timestamp, actor: Actor, kind: EventKind) -> Self {
        Self { at, actor, certificate: None, order: None, kind }
    }

    #[must_use]
    pub(crate) fn on(mut self, certificate: &CertificateId) -> Self {
        self.certificate = Some(certificate.clone());
        self
    }

    #[must_use]
    pub(crate) fn in_order(mut self, order: OrderId) -> Self {
        self.order = Some(order);
        self
    }

    pub(crate) fn index(&self) -> Index {
        self.certificate.iter().map(|certificate| (Field::Owner, certificate.to_string())).collect()
    }
}

/// Who caused an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Actor {
    /// The engine, by its own rules.
    Engine,
    /// The host's program itself.
    Host,
    /// A person or program that the host named in its command.
    Named(VendorText),
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// The host asked for a certificate.
    CertificateWanted {
        /// The identifiers.
        identifiers: Vec<Identifier>,
    },
    /// The host put a certificate that existed already under the engine's care.
    CertificateAdopted {
        /// The identifiers.
        identifiers: Vec<Identifier>,
        /// Whether its private key came along.
        with_key: bool,
    },
    /// The host changed what it wants.
    CertificateChanged {
        /// The identifiers from now on.
        identifiers: Vec<Identifier>,
    },
    /// The certificate and everything about it were removed here.
    CertificateDeleted,
    /// The host paused or resumed the certificate.
    CertificatePaused {
        /// Whether it is paused now.
        paused: bool,
    },
    /// A renewal has become due.
    RenewalDue {
        /// Why.
        trigger: RenewalTrigger,
    },
    /// The CA named its window for renewal (RFC 9773).
    RenewalWindow {
        /// The start.
        start: Timestamp,
        /// The end.
        end: Timestamp,
        /// A page that explains it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        explanation: Option<VendorText>,
    },
    /// An order was drafted.
    OrderDrafted {
        /// What for.
        purpose: PurposeKind,
        /// At which CA account.
        ca: AccountName,
    },
    /// The order is about to be placed; key and intent are stored.
    OrderPlacing {
        /// Our own reference.
        reference: String,
    },
    /// The CA accepted the order.
    OrderPlaced {
        /// The number at the CA.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number: Option<VendorText>,
        /// Whether it was found again after a lost answer.
        found: bool,
    },
    /// The order changed its stage at the CA.
    OrderStage {
        /// The stage.
        stage: Stage,
        /// The CA's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<VendorText>,
    },
    /// It is decided how an identifier is validated.
    ValidationPlanned {
        /// The identifiers.
        identifiers: Vec<Identifier>,
        /// How.
        route: Route,
        /// Why that way.
        because: RouteReason,
    },
    /// A challenge response is in place.
    Published {
        /// The identifiers.
        identifiers: Vec<Identifier>,
    },
    /// A challenge response waits for a person to put it in place.
    PublicationByHand {
        /// The identifiers.
        identifiers: Vec<Identifier>,
    },
    /// A challenge response is seen where the CA will look, and the CA was told.
    Answered {
        /// The identifiers.
        identifiers: Vec<Identifier>,
    },
    /// A challenge response is gone.
    Withdrawn {
        /// The identifiers.
        identifiers: Vec<Identifier>,
    },
    /// A person asked something of the order.
    OrderRequested {
        /// What.
        request: Request,
    },
    /// An attempt failed and will be repeated.
    Retrying {
        /// Why.
        failure: Failure,
        /// When.
        next: Timestamp,
    },
    /// The order is over without a version.
    OrderEnded {
        /// How.
        state: OrderState,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
    },
    /// The order record was deleted here.
    OrderDeleted,
    /// A new version is stored and current.
    VersionCurrent {
        /// The version.
        version: VersionId,
        /// SHA-256 of its leaf.
        fingerprint: Fingerprint,
        /// When it expires.
        not_after: Timestamp,
    },
    /// A person asked for a version to be revoked.
    RevocationAsked {
        /// The version.
        version: VersionId,
        /// Why.
        reason: RevocationReason,
    },
    /// The CA refused to revoke a version.
    RevocationRefused {
        /// The version.
        version: VersionId,
        /// Why.
        failure: Failure,
    },
    /// A version was revoked.
    VersionRevoked {
        /// The version.
        version: VersionId,
        /// Why.
        reason: RevocationReason,
    },
    /// A private key left certlife through an explicit export.
    KeyExported {
        /// The version whose key it is.
        version: VersionId,
    },
    /// A version is being installed on a target.
    Installing {
        /// The target.
        target: AccountName,
        /// The version.
        version: VersionId,
    },
    /// A target confirmed the version.
    DeploymentLive {
        /// The target.
        target: AccountName,
        /// The version.
        version: VersionId,
        /// SHA-256 of the leaf that it serves or holds.
        fingerprint: Fingerprint,
    },
    /// A deployment failed and will be repeated.
    DeploymentFailed {
        /// The target.
        target: AccountName,
        /// The version.
        version: VersionId,
        /// Why.
        failure: Failure,
        /// When it is tried again.
        next: Timestamp,
    },
    /// The version before was put back.
    RolledBack {
        /// The target.
        target: AccountName,
        /// The version that is back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<VersionId>,
    },
    /// A target was found with something else than it had confirmed.
    DriftFound {
        /// The target.
        target: AccountName,
        /// What was found.
        failure: Failure,
    },
    /// The certificate is gone from the target.
    Uninstalled {
        /// The target.
        target: AccountName,
    },
    /// People were told that the certificate expires soon.
    ExpiryNoticed {
        /// Days before expiry.
        days: u32,
    },
    /// A page of the orders that a CA has was looked through.
    ImportProgress {
        /// The CA account.
        account: AccountName,
        /// Orders that were listed so far.
        listed: usize,
        /// Certificates that were taken over so far.
        imported: usize,
        /// Whether it was the last page.
        last: bool,
    },
    /// An account was disabled or enabled.
    AccountSwitched {
        /// The account.
        account: AccountName,
        /// Whether it is enabled now.
        enabled: bool,
    },
}
