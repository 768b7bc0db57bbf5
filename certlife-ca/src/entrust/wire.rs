//! What travels to Entrust and back, in its own spelling.
//!
//! Answers are read leniently: a member may be missing or null, a number may come as text, an unknown word is
//! kept. Only what a step cannot do without is asked for where that step is.

use certlife_core::{Timestamp, VendorText};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A new order, a renewal or a reissue; the last two leave out what they take over.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OrderBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cert_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) org: Option<String>,
    pub(super) csr: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) subject_alt_name: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signing_alg: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) eku: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ct_log: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cert_expiry_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cert_lifetime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queue_for_approval: Option<bool>,
    pub(super) tracking: TrackingBody,
}

/// Who asked for what, for the CA's books and mails.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TrackingBody {
    pub(super) tracking_info: String,
    pub(super) requester_name: String,
    pub(super) requester_email: String,
    pub(super) requester_phone: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) additional_emails: Vec<String>,
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub(super) custom_fields: serde_json::Map<String, Value>,
}

/// A decision: `PATCH /certificates/{trackingId}`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Operate {
    pub(super) operation: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) decline_reason: Option<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RevocationBody {
    pub(super) crl_reason: &'static str,
    pub(super) revocation_comment: String,
}

/// A domain to validate, or another way to validate one, which goes without its name.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DomainBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) domain_name: Option<&'a str>,
    pub(super) verification_method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) email_method: Option<EmailBody<'a>>,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EmailBody<'a> {
    pub(super) email_source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) email: Option<&'a str>,
}

/// A certificate, which at Entrust is the order too: the answer to placing it, and, with more in it, to asking.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Certificate {
    #[serde(deserialize_with = "lenient::number")]
    pub(super) tracking_id: Option<i64>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) status: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) dn: Option<String>,
    #[serde(deserialize_with = "lenient::list")]
    pub(super) subject_alt_name: Vec<Value>,
    #[serde(deserialize_with = "lenient::moment")]
    pub(super) issue_date_time: Option<Timestamp>,
    #[serde(deserialize_with = "lenient::moment")]
    pub(super) expires_after: Option<Timestamp>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) org: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) cert_type: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) domain_used: Option<String>,
    #[serde(deserialize_with = "lenient::flag")]
    pub(super) is_third_party: bool,
    /// None if the answer does not tell, as when not all members were asked for.
    pub(super) tracking: Option<Tracking>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) end_entity_cert: Option<String>,
    #[serde(deserialize_with = "lenient::list")]
    pub(super) chain_certs: Vec<Value>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) creator_name: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) decline_reason: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Tracking {
    #[serde(rename = "trackingInfo", deserialize_with = "lenient::text")]
    pub(super) info: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) requester_name: Option<String>,
    #[serde(deserialize_with = "lenient::flag")]
    pub(super) deactivated: bool,
}

/// Where a page lies in its listing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Summary {
    #[serde(deserialize_with = "lenient::number")]
    pub(super) total: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CertificatePage {
    pub(super) summary: Option<Summary>,
    pub(super) certificates: Option<Vec<Certificate>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DomainPage {
    pub(super) summary: Option<Summary>,
    pub(super) domains: Option<Vec<Domain>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Version {
    #[serde(deserialize_with = "lenient::text")]
    pub(super) version: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Clients {
    pub(super) clients: Vec<CompanyUnit>,
}

/// What Entrust calls a client: a company unit within the account.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct CompanyUnit {
    #[serde(deserialize_with = "lenient::number")]
    pub(super) client_id: Option<i64>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) client_name: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) friendly_client_name: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) verification_status: Option<String>,
    #[serde(deserialize_with = "lenient::moment")]
    pub(super) ov_expiry_date: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Organizations {
    pub(super) organizations: Vec<Organization>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Organization {
    #[serde(deserialize_with = "lenient::text")]
    pub(super) name: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) verification_status: Option<String>,
    #[serde(deserialize_with = "lenient::number")]
    pub(super) client_id: Option<i64>,
}

/// The published document calls the array `inventory`, clients in production read `inventories`.
#[derive(Debug, Deserialize)]
pub(super) struct Inventories {
    #[serde(alias = "inventory")]
    pub(super) inventories: Vec<Inventory>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Inventory {
    #[serde(deserialize_with = "lenient::text")]
    pub(super) product_type: Option<String>,
    #[serde(deserialize_with = "lenient::number")]
    pub(super) used_count: Option<i64>,
    #[serde(deserialize_with = "lenient::number")]
    pub(super) total_count: Option<i64>,
    #[serde(deserialize_with = "lenient::number")]
    pub(super) remaining_count: Option<i64>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) consumption_type: Option<String>,
}

impl Inventory {
    /// Whether a certificate can be taken from it now.
    pub(super) fn has_some(&self) -> bool {
        let unlimited = |kind: &String| kind.eq_ignore_ascii_case("UNLIMITED");
        self.consumption_type.as_ref().is_some_and(unlimited) || self.remaining_count.is_some_and(|n| n > 0)
    }
}

/// A field of the account's own that orders carry.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CustomField {
    #[serde(deserialize_with = "lenient::flag")]
    pub(super) enabled: bool,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) label: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) mandatory: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) options: Option<String>,
}

impl CustomField {
    /// Whether orders by API must have it.
    pub(super) fn is_required(&self) -> bool {
        let word = self.mandatory.as_deref().unwrap_or_default().to_ascii_uppercase();
        matches!(word.as_str(), "ADMIN_API" | "BOTH")
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Domain {
    #[serde(rename = "domainName", deserialize_with = "lenient::text")]
    pub(super) name: Option<String>,
    #[serde(deserialize_with = "lenient::number")]
    pub(super) client_id: Option<i64>,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) verification_method: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    verification_status: Option<String>,
    /// What the published document calls `verificationStatus`, which every known client reads.
    #[serde(deserialize_with = "lenient::text")]
    status: Option<String>,
    #[serde(deserialize_with = "lenient::moment")]
    pub(super) ov_expiry: Option<Timestamp>,
    pub(super) dns_method: Option<DnsMethod>,
    pub(super) web_server_method: Option<WebServerMethod>,
    #[serde(deserialize_with = "lenient::list")]
    pub(super) email_method: Vec<Value>,
}

impl Domain {
    /// The status in capitals; empty if it is not told.
    pub(super) fn status(&self) -> String {
        let word = self.verification_status.as_ref().or(self.status.as_ref());
        word.map(|word| word.trim().to_ascii_uppercase()).unwrap_or_default()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DnsMethod {
    #[serde(rename = "recordDomain", deserialize_with = "lenient::text")]
    pub(super) domain: Option<String>,
    #[serde(rename = "recordType", deserialize_with = "lenient::text")]
    pub(super) kind: Option<String>,
    #[serde(rename = "recordValue", deserialize_with = "lenient::text")]
    pub(super) value: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WebServerMethod {
    #[serde(rename = "fileLocation", deserialize_with = "lenient::text")]
    pub(super) location: Option<String>,
    #[serde(rename = "fileContents", deserialize_with = "lenient::text")]
    pub(super) contents: Option<String>,
}

/// The body of an error.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Fault {
    #[serde(default, deserialize_with = "lenient::number")]
    pub(super) status: Option<i64>,
    errors: Vec<Value>,
}

impl Fault {
    /// All messages, each with the field at fault and its cause; none if there is no error in it.
    pub(super) fn words(&self) -> Option<VendorText> {
        const MOST: usize = 20;
        let told: Vec<_> = self.errors.iter().take(MOST).map(|error| message(error, 0)).collect();
        let words = VendorText::from(told.join("; "));
        if words.is_empty() { None } else { Some(words) }
    }

    /// Whether the reason of a revocation is what is refused.
    pub(super) fn is_about_reason(&self) -> bool {
        let words = self.words().map(|words| words.as_str().to_ascii_lowercase()).unwrap_or_default();
        words.contains("crlreason") || words.contains("reason code") || words.contains("revocation reason")
    }
}

fn message(error: &Value, depth: u8) -> String {
    const DEEPEST: u8 = 4;
    let part = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut text = match (error.as_str(), part("field"), part("message")) {
        (Some(text), ..) => text.to_owned(),
        (None, "", message) => message.to_owned(),
        (None, field, message) => format!("{field}: {message}"),
    };
    if let Some(cause) = error.get("cause").filter(|cause| !cause.is_null() && depth < DEEPEST) {
        text = format!("{text} ({})", message(cause, depth + 1));
    }
    text
}

/// Readers that take what is meant: absence, null, and numbers or flags as text.
mod lenient {
    use certlife_core::Timestamp;
    use serde::{Deserialize as _, Deserializer};
    use serde_json::Value;

    type Read<'de, T, D> = Result<T, <D as Deserializer<'de>>::Error>;

    /// Empty text counts as none.
    pub(super) fn text<'de, D: Deserializer<'de>>(from: D) -> Read<'de, Option<String>, D> {
        Ok(match Value::deserialize(from)? {
            Value::String(text) if !text.trim().is_empty() => Some(text),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(flag) => Some(flag.to_string()),
            _ => None,
        })
    }

    pub(super) fn number<'de, D: Deserializer<'de>>(from: D) -> Read<'de, Option<i64>, D> {
        Ok(match Value::deserialize(from)? {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        })
    }

    pub(super) fn flag<'de, D: Deserializer<'de>>(from: D) -> Read<'de, bool, D> {
        Ok(match Value::deserialize(from)? {
            Value::Bool(flag) => flag,
            Value::String(text) => text.trim().eq_ignore_ascii_case("true"),
            _ => false,
        })
    }

    pub(super) fn moment<'de, D: Deserializer<'de>>(from: D) -> Read<'de, Option<Timestamp>, D> {
        Ok(text(from)?.and_then(|text| Timestamp::parse(text.trim()).ok()))
    }

    /// One that is alone may come without its brackets.
    pub(super) fn list<'de, D: Deserializer<'de>>(from: D) -> Read<'de, Vec<Value>, D> {
        Ok(match Value::deserialize(from)? {
            Value::Array(items) => items,
            Value::Null => Vec::new(),
            single => vec![single],
        })
    }
}
