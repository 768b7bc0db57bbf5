//! The objects that travel, as RFC 8555 §7.1, RFC 9773 and the profiles draft spell them. What instant-acme
//! reads well is its type; what it reads too strictly or not at all is read here, leniently where it is
//! only shown.

use std::collections::BTreeMap;

use certlife_core::VendorText;
use instant_acme::{AuthorizationStatus, Challenge, Identifier, OrderStatus};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::Value;
use url::Url;

use super::problem::Problem;

/// Where everything is (RFC 8555 §7.1.1).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Directory {
    pub(super) new_nonce: Url,
    pub(super) new_account: Url,
    pub(super) new_order: Url,
    pub(super) revoke_cert: Option<Url>,
    pub(super) key_change: Option<Url>,
    pub(super) renewal_info: Option<Url>,
    #[serde(default)]
    pub(super) meta: Meta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta {
    #[serde(default, deserialize_with = "lenient")]
    pub(super) terms_of_service: Option<VendorText>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) website: Option<VendorText>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) caa_identities: Option<Vec<VendorText>>,
    #[serde(default)]
    pub(super) external_account_required: bool,
    /// Names and descriptions (draft-ietf-acme-profiles §3).
    #[serde(default, deserialize_with = "lenient")]
    pub(super) profiles: Option<BTreeMap<String, VendorText>>,
}

/// A status as this version knows it, or the CA's word.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Status<T> {
    Known(T),
    Unknown(VendorText),
}

/// An account (RFC 8555 §7.1.2).
#[derive(Debug, Deserialize)]
pub(super) struct AccountObject {
    pub(super) status: Status<AccountStatus>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) contact: Option<Vec<VendorText>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum AccountStatus {
    Valid,
    Deactivated,
    Revoked,
}

/// What a new account asks for (RFC 8555 §7.3).
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewAccount<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) contact: &'a [String],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) terms_of_service_agreed: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) only_return_existing: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) external_account_binding: Option<Value>,
}

/// What a new order asks for (RFC 8555 §7.4, RFC 9773 §5, draft-ietf-acme-profiles §4).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewOrder<'a> {
    pub(super) identifiers: Vec<Identifier>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) not_after: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) profile: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) replaces: Option<String>,
}

/// An order (RFC 8555 §7.1.3).
#[derive(Debug, Deserialize)]
pub(super) struct Order {
    pub(super) status: Status<OrderStatus>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) expires: Option<String>,
    #[serde(default)]
    pub(super) authorizations: Vec<Url>,
    pub(super) finalize: Url,
    pub(super) certificate: Option<Url>,
    #[serde(default, deserialize_with = "lenient")]
    pub(super) error: Option<Problem>,
}

/// An authorization (RFC 8555 §7.1.4).
#[derive(Debug, Deserialize)]
pub(super) struct AuthorizationObject {
    pub(super) identifier: Identifier,
    pub(super) status: Status<AuthorizationStatus>,
    #[serde(default)]
    pub(super) wildcard: bool,
    #[serde(default, deserialize_with = "those_that_fit")]
    pub(super) challenges: Vec<Challenge>,
}

/// When to renew (RFC 9773 §4.2).
pub(super) use instant_acme::RenewalInfo;

/// Takes a value that is only shown, or nothing if it has an unexpected form.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

/// Takes the members that fit: challenges of a kind still to come may look like anything.
fn those_that_fit<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let values = Vec::<Value>::deserialize(deserializer)?;
    Ok(values.into_iter().filter_map(|value| serde_json::from_value(value).ok()).collect())
}
