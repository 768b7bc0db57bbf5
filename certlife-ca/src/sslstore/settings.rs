//! What the host states, checked and put together.

use std::sync::Arc;

use certlife_core::{
    Clock, InputError, Secret, SystemClock,
    http::{self, Client},
};
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use super::{
    NAME, SslStore,
    api::{Api, Login},
    options::Vendor,
    party::{Fault, OrganizationDetails, Person},
    wire,
};

/// The settings of [`SslStore`]: `partner_code` and `auth_token`, or the token of one order; all else is optional.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// The partner code of the account.
    pub partner_code: Option<String>,
    /// The secret that goes with the partner code. Live system and sandbox have different ones.
    pub auth_token: Option<Secret>,
    /// The token of one order that was bought already, in place of a partner's login. With it that order can be
    /// configured, followed and reissued, and nothing else.
    pub token: Option<Secret>,
    /// The id of such a token, in place of `token`; with `token_code`.
    pub token_id: Option<String>,
    /// The code of such a token; with `token_id`.
    pub token_code: Option<Secret>,
    /// Use the sandbox, where nothing costs money and no certificate is trusted. Default: no.
    pub sandbox: bool,
    /// Where the API is. Default: `https://api.thesslstore.com/rest/`, or the sandbox.
    pub base_url: Option<Url>,
    /// Order products of this vendor only, whose ways of validation are then known beforehand. Default: of all.
    pub vendor: Option<Vendor>,
    /// The administrator of orders that name none.
    pub administrator: Option<Person>,
    /// The technical contact of orders that name none. Default: the administrator.
    pub technical: Option<Person>,
    /// The organization of orders that name none.
    pub organization: Option<OrganizationDetails>,
    /// The term of orders that state none, in months. Default: 12.
    #[schemars(range(min = 1, max = 120))]
    pub term_months: Option<u32>,
    /// List products of the Symantec era too. Default: no.
    pub legacy_products: bool,
    /// How certificate signing requests are written. Default: `percent-encoded`.
    pub csr_form: CsrForm,
    /// Orders on a page of the listing. Default: 50.
    #[schemars(range(min = 1, max = 100))]
    pub page_size: Option<u32>,
    /// How to connect. Placing an order has a timeout of its own.
    pub http: http::Settings,
}

/// How a certificate signing request is written. What the API wants differs by vendor and has changed over time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CsrForm {
    /// PEM, encoded as in a URL.
    #[default]
    PercentEncoded,
    /// PEM as it is.
    Plain,
    /// PEM without line breaks.
    OneLine,
}

impl CsrForm {
    pub(super) fn write(self, pem: &str) -> String {
        match self {
            Self::PercentEncoded => wire::percent_encoded(pem),
            Self::Plain => pem.to_owned(),
            Self::OneLine => pem.replace('\n', ""),
        }
    }
}

/// Makes an [`SslStore`].
#[derive(Debug, Clone)]
#[must_use]
pub struct SslStoreBuilder {
    settings: Settings,
    clock: Arc<dyn Clock>,
}

impl SslStoreBuilder {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, clock: Arc::new(SystemClock::default()) }
    }

    /// Uses the sandbox. Defaults to the live system.
    pub fn sandbox(mut self, sandbox: bool) -> Self {
        self.settings.sandbox = sandbox;
        self
    }

    /// Sends requests to `url` instead, such as the European host or a test server.
    pub fn base_url(mut self, url: Url) -> Self {
        self.settings.base_url = Some(url);
        self
    }

    /// Orders products of this vendor only. Defaults to all.
    pub fn vendor(mut self, vendor: Vendor) -> Self {
        self.settings.vendor = Some(vendor);
        self
    }

    /// Names the administrator of orders that name none. Defaults to nobody.
    pub fn administrator(mut self, person: Person) -> Self {
        self.settings.administrator = Some(person);
        self
    }

    /// Names the technical contact of orders that name none. Defaults to the administrator.
    pub fn technical(mut self, person: Person) -> Self {
        self.settings.technical = Some(person);
        self
    }

    /// Names the organization of orders that name none. Defaults to none.
    pub fn organization(mut self, organization: OrganizationDetails) -> Self {
        self.settings.organization = Some(organization);
        self
    }

    /// Orders for this many months where an order does not say. Defaults to 12.
    pub fn term_months(mut self, months: u32) -> Self {
        self.settings.term_months = Some(months);
        self
    }

    /// Lists products of the Symantec era too. Defaults to no.
    pub fn legacy_products(mut self, list: bool) -> Self {
        self.settings.legacy_products = list;
        self
    }

    /// Writes certificate signing requests like this. Defaults to percent-encoded.
    pub fn csr_form(mut self, form: CsrForm) -> Self {
        self.settings.csr_form = form;
        self
    }

    /// Lists this many orders on a page. Defaults to 50.
    pub fn page_size(mut self, orders: u32) -> Self {
        self.settings.page_size = Some(orders);
        self
    }

    /// Connects like this. Defaults to [`http::Settings::default`].
    pub fn http(mut self, settings: http::Settings) -> Self {
        self.settings.http = settings;
        self
    }

    /// Tells the time by this clock. Defaults to the operating system's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Checks the settings and returns the provider. Opens no connection.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] names the setting that is wrong and what it should look like.
    pub fn build(self) -> Result<SslStore, InputError> {
        let Self { settings, clock } = self;
        let login = login(&settings)?;
        for (name, person) in [("administrator", &settings.administrator), ("technical", &settings.technical)]
        {
            preset(name, person.as_ref().map_or(Ok(()), Person::check))?;
        }
        preset("organization", settings.organization.as_ref().map_or(Ok(()), OrganizationDetails::check))?;
        let term_months = settings.term_months.unwrap_or(12);
        if !(1..=120).contains(&term_months) {
            return Err(InputError::setting("term_months", "is 1 to 120 months"));
        }
        let page_size = settings.page_size.unwrap_or(50);
        if !(1..=100).contains(&page_size) {
            return Err(InputError::setting("page_size", "is 1 to 100 orders"));
        }
        let http = client(&settings, &login, &clock)?;
        Ok(SslStore {
            api: Api { http, login, csr_form: settings.csr_form },
            clock,
            vendor: settings.vendor,
            administrator: settings.administrator,
            technical: settings.technical,
            organization: settings.organization,
            term_months,
            legacy_products: settings.legacy_products,
            page_size,
        })
    }
}

fn preset(name: &'static str, checked: Result<(), Fault>) -> Result<(), InputError> {
    checked.map_err(|(member, _, rule)| InputError::setting(format!("{name}.{member}"), rule))
}

fn login(settings: &Settings) -> Result<Login, InputError> {
    let Settings { partner_code, auth_token, token, token_id, token_code, .. } = settings;
    match (partner_code, auth_token, token, token_id, token_code) {
        (Some(code), Some(token), None, None, None) => {
            Ok(Login::Partner { code: plain("partner_code", code)?, token: secret("auth_token", token)? })
        }
        (None, None, Some(token), None, None) => Ok(Login::Token(secret("token", token)?)),
        (None, None, None, Some(id), Some(code)) => {
            Ok(Login::Pair { id: plain("token_id", id)?, code: secret("token_code", code)? })
        }
        (Some(_), None, ..) => Err(InputError::setting("auth_token", "is required with `partner_code`")),
        (None, Some(_), ..) => Err(InputError::setting("partner_code", "is required with `auth_token`")),
        (None, None, None, Some(_), None) => {
            Err(InputError::setting("token_code", "is required with `token_id`"))
        }
        (None, None, None, None, Some(_)) => {
            Err(InputError::setting("token_id", "is required with `token_code`"))
        }
        (None, None, None, None, None) => {
            Err(InputError::setting("partner_code", "is required, with `auth_token`; or else `token`"))
        }
        _ => Err(InputError::setting(
            "partner_code",
            "stands alone with `auth_token`, as a token of an order does",
        )),
    }
}

fn plain(setting: &'static str, text: &str) -> Result<String, InputError> {
    let text = text.trim();
    let fits = (1..=200).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits {
        Ok(text.to_owned())
    } else {
        Err(InputError::setting(setting, "is printable and without blanks"))
    }
}

/// Secrets are pasted with what stood around them. Short ones could not be masked where the vendor repeats them.
fn secret(setting: &'static str, secret: &Secret) -> Result<Secret, InputError> {
    let text = plain(setting, secret.expose())?;
    if text.len() < 4 {
        Err(InputError::setting(setting, "has at least 4 characters"))
    } else {
        Ok(text.into())
    }
}

fn client(settings: &Settings, login: &Login, clock: &Arc<dyn Clock>) -> Result<Client, InputError> {
    let usual = if settings.sandbox {
        "https://sandbox-wbapi.thesslstore.com/rest/"
    } else {
        "https://api.thesslstore.com/rest/"
    };
    let base_url = http::endpoint("base_url", settings.base_url.as_ref(), usual)?;
    let mut builder = Client::builder(NAME)
        .base_url(&base_url)
        .settings(&settings.http)
        .clock(clock.clone())
        .header("accept", "application/json")
        // No rate limit is published; this many at a time is what a listing with its certificates needs.
        .concurrency(8)
        // A server that ignores paging sends the whole book at once.
        .max_body(16 << 20)
        .refine(wire::refine);
    for secret in login.secrets() {
        builder = builder.hide(secret);
    }
    builder.build()
}
