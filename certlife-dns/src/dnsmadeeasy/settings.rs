//! What the host states, checked and put together.

use std::{sync::Arc, time::Duration};

use certlife_core::{
    Clock, Fqdn, InputError, Secret, SystemClock,
    http::{self, Client},
};
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use super::{
    DnsMadeEasy, NAME,
    api::{self, Api},
    sign::DateSigner,
};
use crate::settings::trimmed;

const PRODUCTION: &str = "https://api.dnsmadeeasy.com/V2.0";
const SANDBOX: &str = "https://api.sandbox.dnsmadeeasy.com/V2.0";

/// The settings of [`DnsMadeEasy`]: `api_key` and `secret_key`; all else is optional.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// The API key: in the control panel under Config, Account Information.
    pub api_key: Secret,
    /// The secret key that stands beside it.
    pub secret_key: Secret,
    /// Use the sandbox, which has accounts and keys of its own. Default: no.
    #[serde(default)]
    pub sandbox: bool,
    /// Change this zone only.
    pub zone: Option<String>,
    /// The id of that zone, a number. With it the zone is not asked for.
    pub zone_id: Option<u64>,
    /// The time to live of records, in seconds: 1 to 2147483647. Default: 120.
    #[serde(default, rename = "ttl")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub ttl_seconds: Option<u32>,
    /// Where the API is. Default: the public one, version 2.0, or that of the sandbox.
    pub base_url: Option<Url>,
    /// How to connect.
    #[serde(default)]
    pub http: http::Settings,
}

impl Settings {
    pub(super) fn new(api_key: Secret, secret_key: Secret) -> Self {
        Self {
            api_key,
            secret_key,
            sandbox: false,
            zone: None,
            zone_id: None,
            ttl_seconds: None,
            base_url: None,
            http: http::Settings::default(),
        }
    }
}

/// Makes a [`DnsMadeEasy`].
#[derive(Debug, Clone)]
#[must_use]
pub struct DnsMadeEasyBuilder {
    settings: Settings,
    clock: Arc<dyn Clock>,
}

impl DnsMadeEasyBuilder {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, clock: Arc::new(SystemClock::default()) }
    }

    /// Uses the sandbox or not. Defaults to not.
    pub fn sandbox(mut self, sandbox: bool) -> Self {
        self.settings.sandbox = sandbox;
        self
    }

    /// Changes this zone only. Defaults to the zone that encloses each name.
    pub fn zone(mut self, name: impl Into<String>) -> Self {
        self.settings.zone = Some(name.into());
        self
    }

    /// States the id of that zone. Defaults to asking for it.
    pub fn zone_id(mut self, id: u64) -> Self {
        self.settings.zone_id = Some(id);
        self
    }

    /// Publishes records with this time to live, in seconds. Defaults to 120.
    pub fn ttl_seconds(mut self, seconds: u32) -> Self {
        self.settings.ttl_seconds = Some(seconds);
        self
    }

    /// Sends requests to `url` instead, such as a test server. Defaults to the public API, or to the sandbox.
    pub fn base_url(mut self, url: Url) -> Self {
        self.settings.base_url = Some(url);
        self
    }

    /// Connects like this. Defaults to [`http::Settings::default`].
    pub fn http(mut self, settings: http::Settings) -> Self {
        self.settings.http = settings;
        self
    }

    /// Dates and paces requests and remembers zones by this clock. Defaults to the operating system's.
    ///
    /// The service refuses requests whose date is about half a minute off.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Checks the settings and returns the provider. Opens no connection.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] names the setting that is wrong and what it should look like.
    pub fn build(self) -> Result<DnsMadeEasy, InputError> {
        let Self { settings, clock } = self;
        let api_key = pasted("api_key", &settings.api_key)?;
        let secret_key = pasted("secret_key", &settings.secret_key)?;
        let ttl_seconds = settings.ttl_seconds.unwrap_or(120);
        if ttl_seconds == 0 || i32::try_from(ttl_seconds).is_err() {
            return Err(InputError::setting("ttl", "is 1 to 2147483647 seconds"));
        }
        let only = match (&settings.zone, settings.zone_id) {
            (None, Some(_)) => return Err(InputError::setting("zone", "is required with `zone_id`")),
            (None, None) => None,
            (Some(name), id) => {
                let name = name.trim().parse::<Fqdn>();
                Some((name.map_err(|error| InputError::setting("zone", error.to_string()))?, id))
            }
        };
        if settings.sandbox && settings.base_url.is_some() {
            return Err(InputError::setting("sandbox", "has an address of its own; leave `base_url` out"));
        }
        let usual = if settings.sandbox { SANDBOX } else { PRODUCTION };
        let base_url = http::endpoint("base_url", settings.base_url.as_ref(), usual)?;
        let http = Client::builder(NAME)
            .base_url(&base_url)
            .settings(&settings.http)
            .clock(clock.clone())
            .concurrency(8)
            // <https://api-docs.dnsmadeeasy.com/>: "150 requests per 5 minute scrolling window".
            .rate(150, Duration::from_mins(5))
            .header("accept", "application/json")
            .secret_header("x-dnsme-apiKey", api_key)
            .hide(&secret_key)
            .sign_with(DateSigner { secret_key })
            .refine(api::refine)
            .build()?;
        Ok(DnsMadeEasy::new(Api { http }, only, ttl_seconds, clock))
    }
}

fn pasted(setting: &'static str, secret: &Secret) -> Result<Secret, InputError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    trimmed(setting, secret, "is letters, digits and hyphens", fits)
}
