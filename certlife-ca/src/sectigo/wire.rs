//! The shapes of Sectigo's answers.
//!
//! Absent values come as nothing, as `null` or as `""`, and some numbers as text, so everything that can be missing is
//! read like that. Unknown members are ignored.

use std::collections::BTreeMap;

use certlife_core::{Fqdn, Timestamp, VendorText};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;
use time::{Date, OffsetDateTime, PrimitiveDateTime, macros::format_description};

/// A text; numbers count, empty text does not.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(as_text(&Value::deserialize(deserializer)?))
}

/// A whole number, or one written as text.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(as_number(&Value::deserialize(deserializer)?))
}

/// Texts; whatever else is in the list, or in its place, is left out.
fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Value::deserialize(deserializer)?.as_array().into_iter().flatten().filter_map(as_text).collect())
}

fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<i64>, D::Error> {
    Ok(Value::deserialize(deserializer)?.as_array().into_iter().flatten().filter_map(as_number).collect())
}

fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(value == Value::Bool(true) || value.as_str().is_some_and(|text| text.eq_ignore_ascii_case("true")))
}

/// A list, or nothing in its place.
fn list<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// An object, or nothing if it has another shape.
fn maybe<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(T::deserialize(Value::deserialize(deserializer)?).ok())
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn as_number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// One value for the spellings of an enumeration: `SA Approved` and `SAApproved`, `Not validated` and `NOT_VALIDATED`.
pub(super) fn folded(word: &str) -> String {
    let plain = word.chars().filter(|character| !matches!(character, ' ' | '_' | '-'));
    plain.flat_map(char::to_uppercase).collect()
}

/// A serial number without colons, case and leading zeros.
pub(super) fn folded_serial(serial: &str) -> String {
    let plain: String = serial.chars().filter(char::is_ascii_hexdigit).collect();
    plain.trim_start_matches('0').to_ascii_lowercase()
}

/// A moment in any of the forms that the interface uses; a day is its first moment.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    if let Ok(moment) = Timestamp::parse(text) {
        return Some(moment);
    }
    let to_the_second = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    if let Ok(moment) = PrimitiveDateTime::parse(text, to_the_second) {
        return Some(moment.assume_utc().into());
    }
    let day = Date::parse(text, format_description!("[month]/[day]/[year]"))
        .or_else(|_| Date::parse(text, format_description!("[year]-[month]-[day]")));
    day.ok().map(|day| OffsetDateTime::new_utc(day, time::Time::MIDNIGHT).into())
}

/// Whether a text tells a day and no time.
pub(super) fn is_day(text: &str) -> bool {
    text.len() <= "MM/dd/yyyy".len()
}

/// What enrolment answers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Enrolled {
    #[serde(default, deserialize_with = "number")]
    pub(super) ssl_id: Option<i64>,
}

/// One line of the listing.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    #[serde(default, deserialize_with = "number")]
    pub(super) ssl_id: Option<i64>,
    #[serde(default, deserialize_with = "text")]
    pub(super) common_name: Option<String>,
    #[serde(default, deserialize_with = "texts")]
    pub(super) subject_alternative_names: Vec<String>,
}

/// One SSL record.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Details {
    #[serde(default, deserialize_with = "number")]
    pub(super) id: Option<i64>,
    #[serde(default, deserialize_with = "number")]
    pub(super) ssl_id: Option<i64>,
    #[serde(default, deserialize_with = "text")]
    pub(super) status: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) common_name: Option<String>,
    #[serde(default, deserialize_with = "texts")]
    pub(super) subject_alternative_names: Vec<String>,
    #[serde(default, deserialize_with = "number")]
    pub(super) org_id: Option<i64>,
    #[serde(default, deserialize_with = "maybe")]
    pub(super) cert_type: Option<Profile>,
    #[serde(default, deserialize_with = "number", rename = "term")]
    pub(super) term_days: Option<i64>,
    #[serde(default, deserialize_with = "text")]
    pub(super) backend_cert_id: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) requester: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) external_requester: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) comments: Option<String>,
    #[serde(default, deserialize_with = "list")]
    pub(super) custom_fields: Vec<FieldValue>,
    #[serde(default, deserialize_with = "text")]
    pub(super) requested: Option<String>,
    #[serde(default, deserialize_with = "flag")]
    pub(super) renewed: bool,
    #[serde(default, deserialize_with = "text")]
    pub(super) serial_number: Option<String>,
}

impl Details {
    /// The serial number of the certificate that the record has now.
    pub(super) fn serial(&self) -> Option<String> {
        self.serial_number.as_deref().map(folded_serial)
    }
}

#[derive(Debug, Clone, Deserialize, serde::Serialize)]
pub(super) struct FieldValue {
    #[serde(default, deserialize_with = "text")]
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) value: Option<String>,
}

/// A certificate profile, which the API also calls type.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Profile {
    #[serde(default, deserialize_with = "number")]
    pub(super) id: Option<i64>,
    #[serde(default, deserialize_with = "text")]
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) description: Option<String>,
    #[serde(default, deserialize_with = "numbers", rename = "terms")]
    pub(super) terms_days: Vec<i64>,
    #[serde(default, deserialize_with = "maybe")]
    pub(super) key_types: Option<BTreeMap<String, Value>>,
}

impl Profile {
    /// Algorithm and size of each key that it allows.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&str, String)> {
        self.key_types.iter().flatten().flat_map(|(algorithm, sizes)| {
            let sizes = sizes.as_array().into_iter().flatten().filter_map(as_text);
            sizes.map(move |size| (algorithm.as_str(), size))
        })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct CustomField {
    #[serde(default, deserialize_with = "text")]
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "flag")]
    pub(super) mandatory: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Organization {
    #[serde(default, deserialize_with = "number")]
    pub(super) id: Option<i64>,
    #[serde(default, deserialize_with = "text")]
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "list")]
    pub(super) departments: Vec<Organization>,
}

/// One validation of an organization. The level is `validationLevel` in one vendor document, `type` in the other.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Validation {
    #[serde(default, deserialize_with = "text")]
    pub(super) status: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) expires: Option<String>,
    #[serde(default, deserialize_with = "text", rename = "validationLevel")]
    pub(super) level: Option<String>,
    #[serde(default, deserialize_with = "text", rename = "type")]
    pub(super) kind: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Domain {
    #[serde(default, deserialize_with = "number")]
    pub(super) id: Option<i64>,
    #[serde(default, deserialize_with = "text")]
    pub(super) name: Option<String>,
}

/// One line of the listing of domain validations.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DomainState {
    #[serde(default, deserialize_with = "text")]
    pub(super) domain: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) dcv_status: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) expiration_date: Option<String>,
}

/// How the validation of a domain is, or what starting or submitting one answers: each a part of these.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Dcv {
    #[serde(default, deserialize_with = "text")]
    pub(super) status: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) order_status: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) order_mode: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) expiration_date: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) validation_email: Option<String>,
    #[serde(flatten)]
    pub(super) shown: Shown,
    #[serde(default, deserialize_with = "texts")]
    pub(super) emails: Vec<String>,
    #[serde(default, deserialize_with = "list", rename = "dcvEmails")]
    pub(super) email_sets: Vec<EmailSet>,
}

impl Dcv {
    /// Whether it tells nothing of what has to be published, or who is asked.
    pub(super) fn shows_nothing(&self) -> bool {
        self.shown.host.is_none() && self.shown.url.is_none() && self.validation_email.is_none()
    }
}

/// What has to be published: the members of every method.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown {
    #[serde(default, deserialize_with = "text")]
    pub(super) host: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) point: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) url: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) first_line: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) second_line: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) file: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) dcv_email: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct EmailSet {
    #[serde(default, deserialize_with = "texts", rename = "whoisEmails")]
    pub(super) whois: Vec<String>,
    #[serde(default, deserialize_with = "texts", rename = "adminEmails")]
    pub(super) admin: Vec<String>,
    #[serde(default, deserialize_with = "texts", rename = "dnsTxtEmails")]
    pub(super) dns_txt: Vec<String>,
}

/// The domain validation of one order. One vendor document shows an object, the other a list of them.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OrderDcvs {
    Many(Vec<OrderDcv>),
    One(OrderDcv),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OrderDcv {
    #[serde(default, deserialize_with = "maybe")]
    pub(super) dcv_log: Option<DcvLog>,
    #[serde(default, deserialize_with = "list")]
    pub(super) instructions: Vec<Instruction>,
}

#[derive(Debug, Deserialize)]
pub(super) struct DcvLog {
    #[serde(default, deserialize_with = "maybe")]
    pub(super) error: Option<super::fault::Fault>,
    #[serde(default, deserialize_with = "list")]
    pub(super) log: Vec<DcvLine>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DcvLine {
    #[serde(default, deserialize_with = "text")]
    pub(super) dcv_status: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) domain_name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Instruction {
    #[serde(default, deserialize_with = "text")]
    pub(super) domain_name: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) dcv_mode: Option<String>,
    #[serde(flatten)]
    pub(super) shown: Shown,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PasswordState {
    #[serde(default, deserialize_with = "text")]
    pub(super) state: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) expiration_date: Option<String>,
}

/// A name from an answer as an owner name.
pub(super) fn owner_name(text: Option<&String>) -> Option<Fqdn> {
    text?.parse().ok()
}

/// A text from an answer, for people.
pub(super) fn words(text: Option<&String>) -> Option<VendorText> {
    text.map(|text| VendorText::new(text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn absent_values_have_many_forms() {
        for absent in [json!({}), json!({ "sslId": null }), json!({ "sslId": "" }), json!({ "sslId": [] })] {
            assert_eq!(serde_json::from_value::<Enrolled>(absent).unwrap().ssl_id, None);
        }
        for present in [json!({ "sslId": 7 }), json!({ "sslId": "7" }), json!({ "sslId": " 7 ", "more": {} })]
        {
            assert_eq!(serde_json::from_value::<Enrolled>(present).unwrap().ssl_id, Some(7));
        }
        let odd = json!({
            "status": 2, "certType": "OV", "subjectAlternativeNames": null, "customFields": null,
            "renewed": "true", "serialNumber": "00:AB:0c", "term": "199",
        });
        let details: Details = serde_json::from_value(odd).unwrap();
        assert_eq!(
            (details.status.as_deref(), details.term_days, details.renewed),
            (Some("2"), Some(199), true)
        );
        assert!(details.cert_type.is_none() && details.custom_fields.is_empty());
        assert_eq!(details.serial().as_deref(), Some("ab0c"));
    }

    #[test]
    fn dates_have_many_forms() {
        for text in ["05/04/2026", "2026-05-04", "2026-05-04 00:00:00", "2026-05-04T00:00:00.000Z"] {
            assert_eq!(moment(text).unwrap().to_string(), "2026-05-04T00:00:00.000Z", "{text}");
        }
        for text in ["", "null", "4 May", "13/13/2026", "2026-02-30"] {
            assert_eq!(moment(text), None, "{text}");
        }
    }

    #[test]
    fn spellings_of_an_enumeration_are_one() {
        assert_eq!(folded("SA Approved"), folded("SAApproved"));
        assert_eq!(folded("Not validated"), folded("NOT_VALIDATED"));
    }
}
