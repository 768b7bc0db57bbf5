//! The version: one issued certificate, immutable.

use serde::{Deserialize, Serialize};

use crate::{
    ca::{IssuedRef, OrderHandle, PurposeKind, Revocation},
    id::{AccountName, CertificateId, KeyId, OrderId, VersionId},
    model::TargetKey,
    time::Timestamp,
    x509::{CertificateInfo, Chain},
};

/// One issued certificate with its chain and, unless the key is elsewhere, the name of its sealed key.
///
/// Immutable but for what the CA was told about it since: [`revoked`](Self::revoked),
/// [`suspended`](Self::suspended) and [`deactivated`](Self::deactivated).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Version {
    /// Its id; later versions have greater ids.
    pub id: VersionId,
    /// The certificate that it is a version of.
    pub certificate: CertificateId,
    /// The order that it came from; none if the host imported it.
    pub order: Option<OrderId>,
    /// What the order was for.
    pub purpose: PurposeKind,
    /// The CA account that issued it.
    pub ca: AccountName,
    /// The order's handle at the CA.
    pub handle: Option<OrderHandle>,
    /// The sealed private key; none if it is elsewhere.
    pub key: Option<KeyId>,
    /// The private key, if it was made on a target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_key: Option<TargetKey>,
    /// Leaf and intermediates.
    pub chain: Chain,
    /// What the leaf says.
    pub info: CertificateInfo,
    /// When it was fetched.
    pub received_at: Timestamp,
    /// Until when its order was paid for, where it ends earlier itself: until then the next version is a reissue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term_ends: Option<Timestamp>,
    /// When it was revoked, and why.
    #[serde(default)]
    pub revoked: Option<(Timestamp, Revocation)>,
    /// Since when it is on hold at the CA, by a decision that was made here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<Timestamp>,
    /// Since when it is out of the CA's management, by a decision that was made here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deactivated: Option<Timestamp>,
}

impl Version {
    /// How the CA knows it.
    pub fn issued_ref(&self) -> IssuedRef {
        IssuedRef { handle: self.handle.clone(), chain: self.chain.clone() }
    }
}
