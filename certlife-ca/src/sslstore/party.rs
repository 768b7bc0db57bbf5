//! People and organizations, as orders and presets state them.

use certlife_core::ca::Contact;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is wrong: the member, its value and the rule.
pub(super) type Fault = (&'static str, String, &'static str);

/// A postal address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "hosts build it")]
pub struct Address {
    /// Street and number.
    pub line_1: String,
    /// More of it.
    pub line_2: String,
    /// Still more of it.
    pub line_3: String,
    /// City.
    pub city: String,
    /// State, province or region.
    pub region: String,
    /// Postal code.
    pub postal_code: String,
    /// Country: the two capital letters of ISO 3166-1.
    pub country: String,
}

impl Address {
    fn check(&self) -> Result<(), Fault> {
        country("address.country", &self.country)?;
        lengths(&[
            ("address.line_1", &self.line_1),
            ("address.line_2", &self.line_2),
            ("address.line_3", &self.line_3),
            ("address.city", &self.city),
            ("address.region", &self.region),
            ("address.postal_code", &self.postal_code),
        ])
    }
}

/// Somebody who answers for an order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "hosts build it")]
pub struct Person {
    /// Given name.
    pub first_name: String,
    /// Family name.
    pub last_name: String,
    /// Position in the organization.
    pub title: String,
    /// E-mail address. The only member that every order needs.
    pub email: String,
    /// Telephone number.
    pub phone: String,
    /// Fax number.
    pub fax: String,
    /// The organization that the person is of.
    pub organization: String,
    /// Where. Default: where the account's preset is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
}

impl Person {
    pub(super) fn check(&self) -> Result<(), Fault> {
        if !is_email(&self.email) {
            return Err(("email", self.email.clone(), "give an e-mail address"));
        }
        lengths(&[
            ("first_name", &self.first_name),
            ("last_name", &self.last_name),
            ("title", &self.title),
            ("phone", &self.phone),
            ("fax", &self.fax),
            ("organization", &self.organization),
        ])?;
        self.address.as_ref().map_or(Ok(()), Address::check)
    }

    /// Takes over where the preset's person is, if this one does not say: people of one account sit in one place.
    pub(super) fn at(mut self, preset: Option<&Self>) -> Self {
        if let Some(preset) = preset {
            if self.organization.is_empty() {
                self.organization.clone_from(&preset.organization);
            }
            self.address = self.address.or_else(|| preset.address.clone());
        }
        self
    }
}

impl From<&Contact> for Person {
    fn from(contact: &Contact) -> Self {
        Self {
            first_name: contact.first_name.clone(),
            last_name: contact.last_name.clone(),
            title: contact.title.clone(),
            email: contact.email.clone(),
            phone: contact.phone.clone(),
            ..Self::default()
        }
    }
}

/// The organization in a certificate of level OV or EV.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "hosts build it")]
pub struct OrganizationDetails {
    /// Legal name.
    pub name: String,
    /// The name that it trades under.
    pub assumed_name: String,
    /// Department.
    pub division: String,
    /// D-U-N-S number.
    pub duns: String,
    /// The authority that registered it.
    pub incorporating_agency: String,
    /// Its number there.
    pub registration_number: String,
    /// City of the jurisdiction, for EV.
    pub jurisdiction_city: String,
    /// Region of the jurisdiction, for EV.
    pub jurisdiction_region: String,
    /// Country of the jurisdiction, for EV: the two capital letters of ISO 3166-1.
    pub jurisdiction_country: String,
    /// Where it is.
    pub address: Address,
    /// Telephone number, by which the CA calls back.
    pub phone: String,
    /// Fax number.
    pub fax: String,
}

impl OrganizationDetails {
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.name.trim().is_empty() {
            return Err(("name", self.name.clone(), "give the legal name"));
        }
        lengths(&[
            ("name", &self.name),
            ("assumed_name", &self.assumed_name),
            ("division", &self.division),
            ("duns", &self.duns),
            ("incorporating_agency", &self.incorporating_agency),
            ("registration_number", &self.registration_number),
            ("jurisdiction_city", &self.jurisdiction_city),
            ("jurisdiction_region", &self.jurisdiction_region),
            ("phone", &self.phone),
            ("fax", &self.fax),
        ])?;
        country("jurisdiction_country", &self.jurisdiction_country)?;
        self.address.check()
    }
}

fn country(member: &'static str, code: &str) -> Result<(), Fault> {
    let is_code = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    if code.is_empty() || is_code {
        return Ok(());
    }
    Err((member, code.to_owned(), "use the two capital letters of ISO 3166-1"))
}

fn lengths(members: &[(&'static str, &String)]) -> Result<(), Fault> {
    let bad = |text: &str| text.chars().count() > 200 || text.chars().any(char::is_control);
    match members.iter().find(|(_, text)| bad(text)) {
        Some((member, text)) => Err((member, (*text).clone(), "use at most 200 printable characters")),
        None => Ok(()),
    }
}

/// Whether a text is one e-mail address. Stricter than RFC 5321: addresses are joined by commas on the wire.
pub(super) fn is_email(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b",;:<>()[]\\\"".contains(&byte);
    let sides = text.split_once('@');
    text.len() <= 254
        && text.bytes().all(plain)
        && sides.is_some_and(|(user, host)| {
            !user.is_empty() && host.contains('.') && host.parse::<certlife_core::DnsName>().is_ok()
        })
}
