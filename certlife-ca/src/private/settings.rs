//! How an embedded authority is set up, and what an order may ask of it.

use std::{collections::BTreeMap, time::Duration};

use certlife_core::{Identifier, InputError, KeyAlgorithm, Secret};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

/// The settings of a [`Private`](super::Private) authority. All optional.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// The name that the common names of root and issuing certificate begin with. Default: `certlife`.
    pub name: String,
    /// The organization in both certificates.
    pub organization: Option<String>,
    /// The country in both certificates, two letters.
    pub country: Option<String>,
    /// The key of the root. Default: `ecdsa-p384`.
    pub root_key: KeyAlgorithm,
    /// The key that signs certificates. Default: `ecdsa-p256`.
    pub issuing_key: KeyAlgorithm,
    /// Days that the root is valid. Default: 7300, which is twenty years.
    pub root_validity_days: u32,
    /// Days that the issuing certificate is valid. It is made anew in time. Default: 1825, five years.
    pub issuing_validity_days: u32,
    /// An authority of your own to issue with, in place of one that is made here.
    pub import: Option<Import>,
    /// Issue only for these host names and those below them; for none else, and no addresses. It goes into
    /// the certificates that are made here, and so stays as it was when they were made; an import is not
    /// changed by it. Default: for all.
    pub permitted_names: Vec<String>,
    /// What has to be proven before a certificate is issued. Default: nothing, for whoever can place an order
    /// here is the host itself.
    pub validation: Validation,
    /// The port that proofs by HTTP are fetched from. Default: 80.
    pub http_port: u16,
    /// Whether orders wait for an approval. Default: no.
    pub approval: bool,
    /// Days after which an order is given up that waits for a proof or an approval. Default: 30.
    pub order_lifetime_days: u32,
    /// What can be ordered, by product id. Default: `server`, `client` and `server-client`, for 90 days.
    pub profiles: BTreeMap<String, Profile>,
    /// Minutes that certificates are dated back, for clocks that are slow. Default: 5.
    pub backdate_minutes: u32,
    /// Whether the first host name becomes the subject's common name too, if it fits its 64 characters.
    /// Default: yes, since old software of the kind that private authorities serve looks there.
    pub common_name: bool,
    /// The most identifiers in one certificate. Default: 100.
    pub max_identifiers: usize,
    /// Where clients find the revocation list; the host publishes it there. Default: nowhere.
    pub crl_url: Option<Url>,
    /// Days that a revocation list is good for. Default: 7.
    pub crl_validity_days: u32,
}

/// An authority that exists already, such as an intermediate below a company's root.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "hosts build it")]
pub struct Import {
    /// The private key in PEM: PKCS#8, PKCS#1 or SEC 1.
    pub key: Secret,
    /// The authority's certificate and those above it, in PEM, in any order.
    pub chain: String,
}

/// What has to be proven of each identifier before a certificate is issued.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Validation {
    /// Nothing.
    #[default]
    None,
    /// A file on its web server, as in ACME's `http-01` (RFC 8555 §8.3). No wildcards. The host's own machine
    /// fetches it, from wherever the name leads.
    Http,
    /// A TXT record, as in ACME's `dns-01` (RFC 8555 §8.4). No addresses.
    Dns,
}

/// A kind of certificate that can be ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "hosts build it")]
pub struct Profile {
    /// What people read; empty means the product id.
    #[serde(default)]
    pub title: String,
    /// Good for TLS servers.
    #[serde(default)]
    pub server: bool,
    /// Good for TLS clients.
    #[serde(default)]
    pub client: bool,
    /// Days of validity, if the order does not say.
    pub validity_days: u32,
    /// The most days of validity that an order may ask for.
    pub max_validity_days: u32,
}

impl Profile {
    /// The usual validity period.
    pub fn validity(&self) -> Duration {
        days(self.validity_days)
    }

    /// The longest validity period.
    pub fn max_validity(&self) -> Duration {
        days(self.max_validity_days)
    }
}

/// What an order may ask besides its names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct OrderOptions {
    /// Good for TLS clients too, whatever the product says.
    pub client: bool,
    /// Good only with a stapled OCSP response (RFC 7633). A request that asks for it gets it in any case.
    pub must_staple: bool,
    /// Whether the first host name becomes the common name; none means as the settings say.
    pub common_name: Option<bool>,
}

impl OrderOptions {
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
}

impl Default for Settings {
    fn default() -> Self {
        let profile = |title: &str, server, client| Profile {
            title: title.to_owned(),
            server,
            client,
            validity_days: 90,
            max_validity_days: 397,
        };
        Self {
            name: "certlife".to_owned(),
            organization: None,
            country: None,
            root_key: KeyAlgorithm::EcdsaP384,
            issuing_key: KeyAlgorithm::EcdsaP256,
            root_validity_days: 7_300,
            issuing_validity_days: 1_825,
            import: None,
            permitted_names: Vec::new(),
            validation: Validation::None,
            http_port: 80,
            approval: false,
            order_lifetime_days: 30,
            profiles: [
                ("server".to_owned(), profile("TLS server", true, false)),
                ("client".to_owned(), profile("TLS client", false, true)),
                ("server-client".to_owned(), profile("TLS server and client", true, true)),
            ]
            .into(),
            backdate_minutes: 5,
            common_name: true,
            max_identifiers: 100,
            crl_url: None,
            crl_validity_days: 7,
        }
    }
}

impl Settings {
    /// The product of an order that names none: `server`, or the only one there is.
    pub(super) const DEFAULT_PRODUCT: &str = "server";

    pub(super) fn check(&self) -> Result<(), InputError> {
        let broken = |setting: &'static str, rule: &'static str| Err(InputError::setting(setting, rule));
        let printable = |text: &str, most: usize| {
            !text.trim().is_empty() && text.chars().count() <= most && !text.chars().any(char::is_control)
        };
        // The upper bounds are those of RFC 5280, appendix A.1, less the words that are added.
        if !printable(&self.name, 48) {
            return broken("name", "use 1 to 48 printable characters");
        }
        if self.organization.as_deref().is_some_and(|name| !printable(name, 64)) {
            return broken("organization", "use 1 to 64 printable characters");
        }
        let is_code = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase());
        if self.country.as_deref().is_some_and(|code| !is_code(code)) {
            return broken("country", "use the two capital letters of ISO 3166-1");
        }
        for (setting, value, most) in [
            ("root_validity_days", self.root_validity_days, 36_500),
            ("issuing_validity_days", self.issuing_validity_days, 36_500),
            ("order_lifetime_days", self.order_lifetime_days, 3_650),
            ("crl_validity_days", self.crl_validity_days, 3_650),
        ] {
            if !(1..=most).contains(&value) {
                return Err(InputError::setting(setting, format!("use 1 to {most} days")));
            }
        }
        if self.root_validity_days < self.issuing_validity_days {
            return broken("issuing_validity_days", "use at most the days of the root");
        }
        if self.backdate_minutes > 60 {
            return broken("backdate_minutes", "use at most an hour");
        }
        if self.http_port == 0 {
            return broken("http_port", "use a port from 1 to 65535");
        }
        if !(1..=1_000).contains(&self.max_identifiers) {
            return broken("max_identifiers", "use 1 to 1000");
        }
        if self.crl_url.as_ref().is_some_and(|url| !matches!(url.scheme(), "http" | "https")) {
            return broken("crl_url", "use an http URL");
        }
        self.check_profiles()
    }

    fn check_profiles(&self) -> Result<(), InputError> {
        if self.profiles.is_empty() {
            return Err(InputError::setting("profiles", "describe at least one product"));
        }
        for (id, profile) in &self.profiles {
            let rule = if !(profile.server || profile.client) {
                "is good for servers, for clients, or for both"
            } else if profile.validity_days == 0 || profile.validity_days > profile.max_validity_days {
                "is valid for at least a day and at most `max_validity_days`"
            } else if profile.max_validity_days > self.issuing_validity_days {
                "is valid for at most `issuing_validity_days`"
            } else {
                continue;
            };
            return Err(InputError::setting(format!("profiles.{id}"), rule));
        }
        Ok(())
    }

    /// Finds the product of an order.
    pub(super) fn profile(&self, product: Option<&str>) -> Result<&Profile, InputError> {
        let id = match product {
            Some(id) => id,
            None if self.profiles.len() == 1 => {
                self.profiles.keys().next().map_or(Self::DEFAULT_PRODUCT, String::as_str)
            }
            None => Self::DEFAULT_PRODUCT,
        };
        self.profiles.get(id).ok_or_else(|| InputError::Value {
            field: "product".into(),
            value: id.into(),
            rule: format!("this CA offers {}", self.profiles.keys().cloned().collect::<Vec<_>>().join(", "))
                .into(),
        })
    }

    /// The longest validity period of all products.
    pub(super) fn max_validity(&self) -> Duration {
        self.profiles.values().map(Profile::max_validity).max().unwrap_or_default()
    }
}

/// Whether a host name is one of the permitted ones or lies below it; without any, everything is.
pub(super) fn is_permitted(permitted: &[certlife_core::DnsName], identifier: &Identifier) -> bool {
    let within = |name: &certlife_core::DnsName| {
        permitted.iter().any(|zone| name.to_fqdn().is_within(&zone.to_fqdn()))
    };
    permitted.is_empty() || identifier.base_name().is_some_and(within)
}

pub(super) fn days(count: u32) -> Duration {
    Duration::from_hours(24 * u64::from(count))
}
