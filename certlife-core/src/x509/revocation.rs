//! Why a certificate is revoked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A reason code (RFC 5280 §5.3.1). In serde: the RFC's own spelling, such as `keyCompromise`.
///
/// Public CAs take only those that the Baseline Requirements §7.2.2 allow a subscriber to give:
/// unspecified, key compromise, affiliation changed, superseded and cessation of operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub enum RevocationReason {
    /// No reason is given (0). The default.
    #[default]
    #[serde(rename = "unspecified")]
    Unspecified,
    /// The private key is, or may be, known to others (1).
    #[serde(rename = "keyCompromise")]
    KeyCompromise,
    /// The CA's own key is known to others (2).
    #[serde(rename = "cACompromise")]
    CaCompromise,
    /// The subject's name or other details changed (3).
    #[serde(rename = "affiliationChanged")]
    AffiliationChanged,
    /// A newer certificate took its place (4).
    #[serde(rename = "superseded")]
    Superseded,
    /// The site is no longer operated (5).
    #[serde(rename = "cessationOfOperation")]
    CessationOfOperation,
    /// On hold, which can be undone (6).
    #[serde(rename = "certificateHold")]
    CertificateHold,
    /// No longer on hold, in delta CRLs only (8).
    #[serde(rename = "removeFromCRL")]
    RemoveFromCrl,
    /// A privilege in the certificate was withdrawn (9).
    #[serde(rename = "privilegeWithdrawn")]
    PrivilegeWithdrawn,
    /// The attribute authority's key is known to others (10).
    #[serde(rename = "aACompromise")]
    AaCompromise,
}

impl RevocationReason {
    /// The number of the reason, as in CRLs and ACME (RFC 8555 §7.6).
    pub const fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::CaCompromise => 2,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
            Self::CertificateHold => 6,
            Self::RemoveFromCrl => 8,
            Self::PrivilegeWithdrawn => 9,
            Self::AaCompromise => 10,
        }
    }
}
