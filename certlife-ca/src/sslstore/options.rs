//! What an order may say besides what orders of all CAs say.

use certlife_core::InputError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    party::{OrganizationDetails, Person, is_email},
    server::WebServer,
};

/// The vendor behind a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Vendor {
    /// Sectigo, formerly Comodo CA.
    Sectigo,
    /// Symantec, with `GeoTrust`, Thawte and `RapidSSL` of that time.
    Symantec,
    /// DigiCert, with its `GeoTrust`, Thawte and `RapidSSL` brands.
    DigiCert,
}

impl Vendor {
    /// The vendor by the name that the API gives it; Certum and others are none of the three.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name.trim().to_ascii_uppercase().as_str() {
            "SECTIGO" | "COMODO" => Some(Self::Sectigo),
            "SYMANTEC" | "GEOTRUST" | "THAWTE" | "RAPIDSSL" | "VERISIGN" => Some(Self::Symantec),
            "DIGICERT" => Some(Self::DigiCert),
            _ => None,
        }
    }

    /// The vendor by the code of a product, as far as codes tell: DigiCert's have a prefix, and Symantec's are a
    /// closed list of the past.
    pub(super) fn of_product(code: &str) -> Self {
        const SYMANTEC: [&str; 7] = [
            "securesite",
            "quicksslpremium",
            "truebiz",
            "truebusinessid",
            "ssl123",
            "sslwebserver",
            "rapidssl",
        ];
        if code.starts_with("digi_") {
            Self::DigiCert
        } else if SYMANTEC.iter().any(|start| code.starts_with(start)) {
            Self::Symantec
        } else {
            Self::Sectigo
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Sectigo => "sectigo",
            Self::Symantec => "symantec",
            Self::DigiCert => "digicert",
        }
    }
}

/// How much is known about the subscriber (BR §7.1.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(clippy::exhaustive_enums, reason = "there are three for TLS servers")]
pub enum ValidationLevel {
    /// Control of the domain.
    Dv,
    /// The organization too.
    Ov,
    /// The organization by the rules for extended validation.
    Ev,
}

impl ValidationLevel {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Dv => "DV",
            Self::Ov => "OV",
            Self::Ev => "EV",
        }
    }
}

/// What the certificate is signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub enum SignatureHash {
    /// Sectigo: SHA-2 if the chain allows it.
    #[serde(rename = "PREFER_SHA2")]
    PreferSha2,
    /// Sectigo: SHA-2 or nothing.
    #[serde(rename = "REQUIRE_SHA2")]
    RequireSha2,
    /// Sectigo: as the request is signed.
    #[serde(rename = "INFER_FROM_CSR")]
    InferFromCsr,
    /// Sectigo: its own choice.
    #[serde(rename = "NO_PREFERENCE")]
    NoPreference,
    /// DigiCert and Symantec: SHA-256.
    #[serde(rename = "SHA2-256")]
    Sha256,
    /// DigiCert and Symantec: SHA-512.
    #[serde(rename = "SHA2-512")]
    Sha512,
}

impl SignatureHash {
    /// What is sent if the order does not say: without it DigiCert refuses the CSR in misleading words.
    pub(super) fn usual(vendor: Vendor) -> Self {
        if vendor == Vendor::Sectigo { Self::PreferSha2 } else { Self::Sha256 }
    }

    pub(super) fn suits(self, vendor: Vendor) -> bool {
        matches!(self, Self::Sha256 | Self::Sha512) == (vendor != Vendor::Sectigo)
    }
}

/// The type of a DNS record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "CAs use these two")]
pub enum RecordType {
    /// TXT.
    Txt,
    /// CNAME.
    Cname,
}

/// The options of an order at The SSL Store. All are optional.
///
/// Product, validity, identifiers, validation and contacts are part of every order and stand there. With
/// [`approver_email`](Self::approver_email) goes the approver of single identifiers, which is part of their proof.
///
/// ```
/// use certlife_ca::sslstore::{OrderOptions, Vendor, WebServer};
///
/// let options = OrderOptions::new().vendor(Vendor::Sectigo).server_count(2).web_server(WebServer::Iis);
/// let value = serde_json::to_value(options)?;
/// assert_eq!(value["server_count"], 2);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct OrderOptions {
    /// The vendor that the product must be of. Default: as the product's code says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<Vendor>,
    /// The level that the product must have. Default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation_level: Option<ValidationLevel>,
    /// How many servers will have the certificate. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 500))]
    pub server_count: Option<u32>,
    /// The software of the servers. It selects the instructions that come with the certificate and nothing else.
    /// Default: `Other`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web_server: Option<WebServer>,
    /// Who confirms, for all identifiers whose proof names nobody: `admin`, `administrator`, `hostmaster`,
    /// `webmaster` or `postmaster` at the domain, or an address that the CA lists. Default: the first that the CA
    /// lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approver_email: Option<String>,
    /// Whether files are fetched over HTTPS rather than HTTP. Sectigo only. Default: no.
    pub file_over_https: bool,
    /// The type of the DNS records, where the CA does not say it. Default: as the vendor usually has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record_type: Option<RecordType>,
    /// The organization, for levels OV and EV, unless the order names one of the catalog. Default: that of the
    /// account's settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization: Option<OrganizationDetails>,
    /// The administrator. Default: the administrative contact of the order, else that of the settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub administrator: Option<Person>,
    /// The technical contact. Default: that of the order, that of the settings, the administrator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub technical: Option<Person>,
    /// Names to pay for in a multi-domain product, besides the common name and including those that the product
    /// includes. Default: as many as the order has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserved_sans: Option<u32>,
    /// Wildcard names to pay for in a flex product. Default: as many as the order has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserved_wildcard_sans: Option<u32>,
    /// Whether a product for one name covers its `www.` name too, at no cost. Default: no.
    pub auto_www: bool,
    /// What the certificate is signed with. Default: SHA-256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature_hash: Option<SignatureHash>,
    /// Whether the certificate is published in transparency logs. Default: the vendor's choice, which browsers
    /// require to be yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_certificate: Option<bool>,
    /// The language of the vendor's messages, two letters. Default: `EN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_language: Option<String>,
    /// A note for the staff, of at most 500 characters. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub special_instructions: Option<String>,
}

/// Declares setters that wrap their value.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(mut self, $name: $type) -> Self {
            self.$name = Some($name.into());
            self
        }
    )*};
}

impl OrderOptions {
    /// Starts without any option.
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// Refuses a product of another vendor. Defaults to the one that the product's code names.
        vendor: Vendor,
        /// Refuses a product of another level. Defaults to any.
        validation_level: ValidationLevel,
        /// Orders for this many servers. Defaults to 1.
        server_count: u32,
        /// States the software of the servers. Defaults to `Other`.
        web_server: WebServer,
        /// Has this address confirm where a proof names nobody. Defaults to the first that the CA lists.
        approver_email: impl Into<String>,
        /// Publishes records of this type where the CA does not say it. Defaults to the vendor's usual one.
        record_type: RecordType,
        /// Names the organization. Defaults to that of the settings.
        organization: OrganizationDetails,
        /// Names the administrator. Defaults to the order's contact, then that of the settings.
        administrator: Person,
        /// Names the technical contact. Defaults to the order's, then that of the settings.
        technical: Person,
        /// Pays for this many names. Defaults to as many as the order has.
        reserved_sans: u32,
        /// Pays for this many wildcard names. Defaults to as many as the order has.
        reserved_wildcard_sans: u32,
        /// Chooses the hash. Defaults to SHA-256.
        signature_hash: SignatureHash,
        /// Says whether the certificate is published in logs. Defaults to the vendor's choice.
        log_certificate: bool,
        /// Chooses the language of messages. Defaults to `EN`.
        email_language: impl Into<String>,
        /// Leaves a note for the staff. Defaults to none.
        special_instructions: impl Into<String>,
    }

    /// Has files fetched over HTTPS rather than HTTP. Defaults to no.
    #[must_use]
    pub fn file_over_https(mut self, https: bool) -> Self {
        self.file_over_https = https;
        self
    }

    /// Covers the `www.` name of a single-name product. Defaults to no.
    #[must_use]
    pub fn auto_www(mut self, covers: bool) -> Self {
        self.auto_www = covers;
        self
    }

    pub(super) fn read(value: &serde_json::Value) -> Result<Self, InputError> {
        if value.is_null() {
            return Ok(Self::default());
        }
        Self::deserialize(value).map_err(|error| InputError::Value {
            field: "options".into(),
            value: value.to_string().into(),
            rule: error.to_string().into(),
        })
    }

    /// The vendor, as stated or as the product's code says.
    pub(super) fn vendor_of(&self, product: &str) -> Vendor {
        self.vendor.unwrap_or_else(|| Vendor::of_product(product))
    }

    /// Checks what needs no catalog.
    pub(super) fn check(&self, vendor: Vendor) -> Result<(), InputError> {
        if let Some(count) = self.server_count.filter(|count| !(1..=500).contains(count)) {
            return Err(refused("server_count", &count.to_string(), "order for 1 to 500 servers"));
        }
        if let Some(address) = self.approver_email.as_deref().filter(|address| !is_email(address)) {
            return Err(refused("approver_email", address, "give an e-mail address"));
        }
        if self.file_over_https && vendor != Vendor::Sectigo {
            return Err(refused("file_over_https", "true", "only Sectigo fetches files over HTTPS"));
        }
        for (field, count) in
            [("reserved_sans", self.reserved_sans), ("reserved_wildcard_sans", self.reserved_wildcard_sans)]
        {
            if let Some(count) = count.filter(|count| *count > 250) {
                return Err(refused(field, &count.to_string(), "a certificate has at most 250 names"));
            }
        }
        if let Some(hash) = self.signature_hash.filter(|hash| !hash.suits(vendor)) {
            let rule = "Sectigo takes PREFER_SHA2, REQUIRE_SHA2, INFER_FROM_CSR and NO_PREFERENCE, the others \
                        SHA2-256 and SHA2-512";
            return Err(refused("signature_hash", &format!("{hash:?}"), rule));
        }
        let letters = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic());
        if let Some(language) = self.email_language.as_deref().filter(|language| !letters(language)) {
            return Err(refused("email_language", language, "use the two letters of ISO 639-1"));
        }
        if let Some(note) = self.special_instructions.as_deref().filter(|note| note.chars().count() > 500) {
            return Err(refused("special_instructions", note, "use at most 500 characters"));
        }
        for (field, person) in [("administrator", &self.administrator), ("technical", &self.technical)] {
            if let Some(person) = person {
                person
                    .check()
                    .map_err(|(member, value, rule)| refused(&format!("{field}.{member}"), &value, rule))?;
            }
        }
        if let Some(organization) = &self.organization {
            organization
                .check()
                .map_err(|(member, value, rule)| refused(&format!("organization.{member}"), &value, rule))?;
        }
        Ok(())
    }
}

/// An option that breaks `rule`.
pub(super) fn refused(option: &str, value: &str, rule: &'static str) -> InputError {
    InputError::Value { field: format!("options.{option}").into(), value: value.into(), rule: rule.into() }
}
