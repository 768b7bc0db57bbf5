//! What an [`Entrust`] is made from: a builder for programs, settings for what is stored.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use certlife_core::{
    BuildContext, Clock, InputError, Secret, SystemClock,
    http::{self, Client},
};
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use super::{
    Entrust, NAME,
    api::{self, Api},
    options::check_email,
};

/// The settings of an [`Entrust`] as a host stores them: `username` and `api_key`; all else is optional.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// The name of the API user, made under Administration > Advanced Settings > API.
    pub username: String,
    /// The key that came with it.
    pub api_key: Secret,
    /// The company unit (client) that orders and domains belong to where they do not say. Default: 1, the primary
    /// one.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub client_id: Option<u32>,
    /// Who asks for certificates, where an order does not say. Orders need one.
    #[serde(default)]
    pub requester: Option<Requester>,
    /// What becomes of the `validity` of an order. Default: an expiry date.
    #[serde(default)]
    pub validity_as: ValidityAs,
    /// Products to offer although certlife does not know their names, such as new TLS products of the CA.
    #[serde(default)]
    pub extra_products: Vec<String>,
    /// Seconds after which an order whose answer was lost must show in the CA's list; only then may it be placed
    /// again. Default: 600.
    #[serde(default)]
    pub settles_in_seconds: Option<u32>,
    /// Where the API is. Default: Entrust's public API, version 2.
    #[serde(default)]
    pub base_url: Option<Url>,
    /// How to connect. If a certificate was chosen for the API user, it goes into `client_identity`. A request may
    /// take 100 seconds unless this says otherwise.
    #[serde(default)]
    pub http: http::Settings,
}

/// Who asks for certificates, for the CA's books and messages.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "hosts build it; the CA asks for nothing else")]
pub struct Requester {
    /// The name.
    pub name: String,
    /// The e-mail address.
    pub email: String,
    /// The telephone number.
    pub phone: String,
}

/// How the wanted validity of an order is told. Which one an account takes depends on its contract.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ValidityAs {
    /// As the last day: accounts that count certificates in a pool, or by subscription.
    #[default]
    ExpiryDate,
    /// As a period: accounts that pay by the certificate.
    Lifetime,
}

impl Settings {
    /// Checks the settings and makes the provider.
    ///
    /// # Errors
    ///
    /// As [`EntrustBuilder::build`].
    pub fn build(self, context: &BuildContext) -> Result<Entrust, InputError> {
        EntrustBuilder { settings: self, clock: context.clock.clone() }.build()
    }
}

/// Makes an [`Entrust`].
#[derive(Debug, Clone)]
#[must_use]
pub struct EntrustBuilder {
    settings: Settings,
    clock: Arc<dyn Clock>,
}

impl EntrustBuilder {
    pub(super) fn new(username: String, api_key: Secret) -> Self {
        let settings = Settings {
            username,
            api_key,
            client_id: None,
            requester: None,
            validity_as: ValidityAs::default(),
            extra_products: Vec::new(),
            settles_in_seconds: None,
            base_url: None,
            http: http::Settings::default(),
        };
        Self { settings, clock: Arc::new(SystemClock::default()) }
    }

    /// Orders for this company unit (client) where an order does not say. Defaults to 1, the primary one.
    pub fn client_id(mut self, id: u32) -> Self {
        self.settings.client_id = Some(id);
        self
    }

    /// States who asks for certificates where an order does not say. Defaults to nobody, so that each order must.
    pub fn requester(mut self, requester: Requester) -> Self {
        self.settings.requester = Some(requester);
        self
    }

    /// Tells the wanted validity of an order like this. Defaults to an expiry date.
    pub fn validity_as(mut self, form: ValidityAs) -> Self {
        self.settings.validity_as = form;
        self
    }

    /// Offers products although certlife does not know their names. Defaults to none.
    pub fn extra_products<P: Into<String>>(mut self, products: impl IntoIterator<Item = P>) -> Self {
        self.settings.extra_products = products.into_iter().map(Into::into).collect();
        self
    }

    /// Expects an order whose answer was lost in the CA's list after this many seconds. Defaults to 600.
    pub fn settles_in_seconds(mut self, seconds: u32) -> Self {
        self.settings.settles_in_seconds = Some(seconds);
        self
    }

    /// Sends requests to `url` instead, such as a test server. Defaults to the public API.
    pub fn base_url(mut self, url: Url) -> Self {
        self.settings.base_url = Some(url);
        self
    }

    /// Connects like this. Defaults to [`http::Settings::default`], with 100 seconds for a request.
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
    pub fn build(self) -> Result<Entrust, InputError> {
        let Self { settings, clock } = self;
        let username = settings.username.trim();
        if username.is_empty() || username.contains(':') || username.chars().any(char::is_control) {
            return Err(InputError::setting("username", "is the name of the API user, without a colon"));
        }
        let api_key = Secret::new(settings.api_key.expose().trim());
        if api_key.is_empty() || api_key.expose().chars().any(char::is_control) {
            return Err(InputError::setting("api_key", "is the key that came with the API user"));
        }
        if settings.client_id == Some(0) {
            return Err(InputError::setting("client_id", "is 1 or more"));
        }
        if let Some(requester) = &settings.requester {
            check_requester(requester)?;
        }
        let is_word = |name: &String| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
        };
        if !settings.extra_products.iter().all(is_word) {
            return Err(InputError::setting("extra_products", "are names such as STANDARD_PLUS_SSL"));
        }
        let usual = "https://api.entrust.net/enterprise/v2";
        let base_url = http::endpoint("base_url", settings.base_url.as_ref(), usual)?;
        let mut http = settings.http.clone();
        // Issuance answers when it is done: clients wait 40 to 100 seconds, and Lemur warns that it may take longer.
        http.request_timeout_seconds = http.request_timeout_seconds.or(NonZeroU32::new(100));
        http.connect_timeout_seconds = http.connect_timeout_seconds.or(NonZeroU32::new(15));
        // No figure is published: the allowance of each 30 seconds comes with a 429, in `X-Rate-Limit-Limit`, and is
        // kept by waiting as `Retry-After` says. A few requests at a time keep an import from running into it at once.
        let client = Client::builder(NAME)
            .base_url(&base_url)
            .basic(username, api_key)
            .settings(&http)
            .clock(clock.clone())
            .concurrency(8)
            .refine(api::refine)
            .build()?;
        Ok(Entrust {
            api: Api { http: client },
            clock,
            client_id: i64::from(settings.client_id.unwrap_or(1)),
            requester: settings.requester,
            validity_as: settings.validity_as,
            extra_products: settings.extra_products,
            settles_in: Duration::from_secs(u64::from(settings.settles_in_seconds.unwrap_or(600))),
        })
    }
}

fn check_requester(requester: &Requester) -> Result<(), InputError> {
    let is_line =
        |text: &str| !text.trim().is_empty() && text.len() <= 255 && !text.chars().any(char::is_control);
    if !is_line(&requester.name) {
        return Err(InputError::setting("requester.name", "is the name of a person or team"));
    }
    if !is_line(&requester.phone) {
        return Err(InputError::setting("requester.phone", "is a telephone number"));
    }
    check_email("requester.email", &requester.email)
        .map_err(|_| InputError::setting("requester.email", "is one e-mail address"))
}
