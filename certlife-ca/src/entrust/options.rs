//! What an order at Entrust may ask besides its names, and the rules that each value keeps by itself.

use std::{collections::BTreeMap, time::Duration};

use certlife_core::{InputError, Timestamp, VendorText};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::{Date, format_description::BorrowedFormatItem, macros::format_description};

/// What an order may ask of Entrust besides its names, product and organization. All optional, but the account may
/// require the requester, the expiry date and some of its own fields.
///
/// ```
/// use certlife_ca::entrust::{ExtendedKeyUsage, OrderOptions};
///
/// let options = OrderOptions::new()
///     .friendly_name("shop frontend")
///     .requester("Mira Okafor", "mira.okafor@example.org", "+1-613-555-0142")
///     .extended_key_usage(ExtendedKeyUsage::ServerAuth)
///     .custom_field("text1", "CC-4410")
///     .queue_for_approval(true);
/// let stored = serde_json::to_value(&options)?;
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct OrderOptions {
    /// The name that people at the CA see, at most 70 characters. It goes into `trackingInfo`, before our reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub friendly_name: Option<String>,
    /// Who asks for the certificate. Default: the contact of the order, then that of the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requester_name: Option<String>,
    /// Where the CA writes about delivery and expiry. Default: as for the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requester_email: Option<String>,
    /// The telephone number of the requester. Default: as for the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requester_phone: Option<String>,
    /// Who else gets these messages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub additional_emails: Vec<String>,
    /// The account's own fields, by the CA's names: `text1` to `text15`, and `number`, `date`, `email` and `dropdown`
    /// from 1 to 5.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub custom_fields: BTreeMap<String, CustomValue>,
    /// What the certificate is good for. Only for public TLS products. Default: the CA's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extended_key_usage: Option<ExtendedKeyUsage>,
    /// How the CA signs. Default: `sha2`. `sha1` is for `PRIVATE_SSL` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature_algorithm: Option<SignatureAlgorithm>,
    /// The last day of the certificate, such as `2026-03-14`, for accounts that count certificates in a pool. For
    /// one that is renewed by itself say `validity` in its place. Reissued certificates end with the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiry_date: Option<String>,
    /// How long the certificate lasts, such as `P1Y`, for accounts that pay by the certificate. In its place the
    /// order may say `validity`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<String>,
    /// Whether the certificate is logged (Certificate Transparency). Default: as the account says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ct_log: Option<bool>,
    /// Whether a new order waits for an administrator's approval. Default: no.
    pub queue_for_approval: bool,
}

/// The value of one of the account's own fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[expect(clippy::exhaustive_enums, reason = "these are all that the CA knows")]
pub enum CustomValue {
    /// Text, a date, an e-mail address, or one of the choices.
    Text(String),
    /// A number.
    Number(serde_json::Number),
}

/// What a certificate is good for (RFC 5280 §4.2.1.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ExtendedKeyUsage {
    /// TLS servers.
    ServerAuth,
    /// TLS clients.
    ClientAuth,
    /// Both.
    ServerAndClientAuth,
}

impl ExtendedKeyUsage {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::ServerAuth => "SERVER_AUTH",
            Self::ClientAuth => "CLIENT_AUTH",
            Self::ServerAndClientAuth => "SERVER_AND_CLIENT_AUTH",
        }
    }
}

/// The digest under the CA's signature.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SignatureAlgorithm {
    /// SHA-1.
    Sha1,
    /// SHA-256 or longer.
    #[default]
    Sha2,
}

impl SignatureAlgorithm {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA-1",
            Self::Sha2 => "SHA-2",
        }
    }
}

impl OrderOptions {
    /// `trackingInfo` holds 128 characters, of which a reference takes up to 55 and what stands between them three.
    const MAX_FRIENDLY_NAME: usize = 70;
    const MAX_NAME: usize = 255;
    pub(super) const MAX_EMAIL: usize = 254;

    /// Options that say nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the certificate for people at the CA, in at most 70 characters.
    #[must_use]
    pub fn friendly_name(mut self, name: impl Into<String>) -> Self {
        self.friendly_name = Some(name.into());
        self
    }

    /// States who asks for the certificate.
    #[must_use]
    pub fn requester(
        mut self,
        name: impl Into<String>,
        email: impl Into<String>,
        phone: impl Into<String>,
    ) -> Self {
        self.requester_name = Some(name.into());
        self.requester_email = Some(email.into());
        self.requester_phone = Some(phone.into());
        self
    }

    /// Sends the CA's messages to this address too.
    #[must_use]
    pub fn additional_email(mut self, address: impl Into<String>) -> Self {
        self.additional_emails.push(address.into());
        self
    }

    /// Fills in one of the account's own fields that holds text: `text1`, `date1`, `email1`, `dropdown1`, …
    #[must_use]
    pub fn custom_field(mut self, field: impl Into<String>, value: impl Into<String>) -> Self {
        self.custom_fields.insert(field.into(), CustomValue::Text(value.into()));
        self
    }

    /// Fills in one of the account's own fields that holds a number: `number1` to `number5`.
    #[must_use]
    pub fn custom_number(mut self, field: impl Into<String>, value: impl Into<serde_json::Number>) -> Self {
        self.custom_fields.insert(field.into(), CustomValue::Number(value.into()));
        self
    }

    /// States what the certificate is good for.
    #[must_use]
    pub fn extended_key_usage(mut self, usage: ExtendedKeyUsage) -> Self {
        self.extended_key_usage = Some(usage);
        self
    }

    /// States how the CA signs.
    #[must_use]
    pub fn signature_algorithm(mut self, algorithm: SignatureAlgorithm) -> Self {
        self.signature_algorithm = Some(algorithm);
        self
    }

    /// States the last day, as in `2026-03-14`.
    #[must_use]
    pub fn expiry_date(mut self, date: impl Into<String>) -> Self {
        self.expiry_date = Some(date.into());
        self
    }

    /// States how long the certificate lasts, as in `P1Y` (ISO 8601).
    #[must_use]
    pub fn lifetime(mut self, lifetime: impl Into<String>) -> Self {
        self.lifetime = Some(lifetime.into());
        self
    }

    /// States whether the certificate is logged.
    #[must_use]
    pub fn ct_log(mut self, log: bool) -> Self {
        self.ct_log = Some(log);
        self
    }

    /// States whether a new order waits for an administrator's approval.
    #[must_use]
    pub fn queue_for_approval(mut self, queue: bool) -> Self {
        self.queue_for_approval = queue;
        self
    }

    /// Reads the options of a request and checks each by itself.
    pub(super) fn read(value: &serde_json::Value) -> Result<Self, InputError> {
        if value.is_null() {
            return Ok(Self::default());
        }
        if !value.is_object() {
            return Err(refused("options", &value.to_string(), "give an object"));
        }
        let options = Self::deserialize(value)
            .map_err(|error| refused("options", &value.to_string(), error.to_string()))?;
        options.check()?;
        Ok(options)
    }

    /// Refuses an expiry date that has passed, as that of an earlier order would have.
    pub(super) fn check_date(&self, now: Timestamp) -> Result<(), InputError> {
        let date = self.expiry_date.as_deref().and_then(parse_date);
        match (date, &self.expiry_date) {
            (Some(date), Some(text)) if date <= now.to_utc().date() => {
                Err(refused("options.expiry_date", text, "the day must lie in the future"))
            }
            _ => Ok(()),
        }
    }

    fn check(&self) -> Result<(), InputError> {
        for (field, value, limit) in [
            ("options.friendly_name", &self.friendly_name, Self::MAX_FRIENDLY_NAME),
            ("options.requester_name", &self.requester_name, Self::MAX_NAME),
            ("options.requester_phone", &self.requester_phone, Self::MAX_NAME),
        ] {
            if let Some(value) = value {
                check_text(field, value, limit)?;
            }
        }
        if let Some(address) = &self.requester_email {
            check_email("options.requester_email", address)?;
        }
        for address in &self.additional_emails {
            check_email("options.additional_emails", address)?;
        }
        for (name, value) in &self.custom_fields {
            check_custom(name, value)?;
        }
        if let (Some(date), Some(_)) = (&self.expiry_date, &self.lifetime) {
            return Err(refused("options.expiry_date", date, "it excludes `lifetime`"));
        }
        if let Some(text) = self.expiry_date.as_ref().filter(|text| parse_date(text).is_none()) {
            return Err(refused("options.expiry_date", text, "give a date such as 2026-03-14"));
        }
        match &self.lifetime {
            Some(text) if !is_period(text) => Err(refused(
                "options.lifetime",
                text,
                "give years, months and days such as P1Y or P90D (ISO 8601)",
            )),
            _ => Ok(()),
        }
    }
}

pub(super) fn refused(field: impl Into<String>, value: &str, rule: impl Into<String>) -> InputError {
    InputError::Value { field: field.into().into(), value: VendorText::new(value), rule: rule.into().into() }
}

fn check_text(field: &str, text: &str, limit: usize) -> Result<(), InputError> {
    let is_good =
        !text.trim().is_empty() && text.chars().count() <= limit && !text.chars().any(char::is_control);
    if is_good { Ok(()) } else { Err(refused(field, text, format!("1 to {limit} characters on one line"))) }
}

pub(super) fn check_email(field: &str, address: &str) -> Result<(), InputError> {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b',' | b';' | b'<' | b'>' | b'"');
    let sides = address.split_once('@').filter(|(user, host)| !user.is_empty() && host.contains('.'));
    if sides.is_some() && address.len() <= OrderOptions::MAX_EMAIL && address.bytes().all(plain) {
        Ok(())
    } else {
        Err(refused(field, address, "give one e-mail address of at most 254 characters"))
    }
}

/// The kinds of fields that an account may have, how many of each, and how long a value may be (SPEC).
const CUSTOM: [(&str, u8, usize); 5] =
    [("text", 15, 500), ("number", 5, 40), ("date", 5, 10), ("email", 5, 254), ("dropdown", 5, 50)];

fn check_custom(name: &str, value: &CustomValue) -> Result<(), InputError> {
    let field = format!("options.custom_fields.{name}");
    let digits = name.trim_start_matches(|c: char| c.is_ascii_lowercase());
    let kind = &name[..name.len() - digits.len()];
    let known = CUSTOM.iter().find(|(known, count, _)| {
        *known == kind
            && !digits.starts_with('0')
            && digits.parse().is_ok_and(|n: u8| (1..=*count).contains(&n))
    });
    let Some((_, _, limit)) = known else {
        let rule = "fields are text1 to text15, and number, date, email and dropdown from 1 to 5";
        return Err(refused(field, name, rule));
    };
    match (kind, value) {
        ("number", CustomValue::Number(_)) => Ok(()),
        ("number", CustomValue::Text(text)) => Err(refused(field, text, "give a number")),
        (_, CustomValue::Number(number)) => Err(refused(field, &number.to_string(), "give text")),
        ("date", CustomValue::Text(text)) if parse_date(text).is_none() => {
            Err(refused(field, text, "give a date such as 2026-03-14"))
        }
        ("email", CustomValue::Text(text)) => check_email(&field, text),
        (_, CustomValue::Text(text)) => check_text(&field, text, *limit),
    }
}

const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

fn parse_date(text: &str) -> Option<Date> {
    Date::parse(text, DAY).ok()
}

/// The day on which a certificate ends that is to be valid for `validity` from now on, and not longer.
///
/// A moment would be taken for one in the time of New York (UTC-5), so that only days are sent. The certificate ends
/// when that day begins there.
pub(super) fn last_day(now: Timestamp, validity: Duration) -> String {
    let there = now + validity - Duration::from_hours(5);
    there.to_string().chars().take_while(|character| *character != 'T').collect()
}

/// A validity period as ISO 8601 has it, in whole years where it is that.
pub(super) fn period(validity: Duration) -> String {
    const DAY: u64 = 86_400;
    let days = validity.as_secs() / DAY;
    if days > 0 && days.is_multiple_of(365) {
        format!("P{}Y", days / 365)
    } else {
        format!("P{}D", days.max(1))
    }
}

/// Whether a text is years, months and days as ISO 8601 writes them, and not nothing.
fn is_period(text: &str) -> bool {
    let Some(mut rest) = text.strip_prefix('P').filter(|rest| !rest.is_empty()) else { return false };
    let mut total = 0_u32;
    for unit in ['Y', 'M', 'D'] {
        let Some((number, after)) = rest.split_once(unit) else { continue };
        let digits =
            !number.is_empty() && number.len() <= 4 && number.bytes().all(|byte| byte.is_ascii_digit());
        let Some(number) = number.parse::<u32>().ok().filter(|_| digits) else { return false };
        (total, rest) = (total + number, after);
    }
    rest.is_empty() && total > 0
}
