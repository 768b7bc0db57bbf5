//! What the host states, checked and put together.

use std::{sync::Arc, time::Duration};

use certlife_core::{
    Clock, Fqdn, InputError, Secret, SystemClock,
    http::{self, Client},
};
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use super::{GoDaddy, NAME, REMEMBER_ZONES, api::Api, v1, v3};
use crate::{serial::Serial, settings::trimmed, zones::ZoneList};

/// The settings of [`GoDaddy`]: `api_key` and `api_secret`, or `token`; all else is optional.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// A classic API key, made for Production unless `ote` is set. Reported to work through 2026 only.
    pub api_key: Option<Secret>,
    /// The secret of that key.
    pub api_secret: Option<Secret>,
    /// A personal access token with the scopes `domains.domain:read` and `domains.dns:update`, in place of the
    /// key. The API for it is a beta.
    pub token: Option<Secret>,
    /// The customer on whose behalf a reseller acts.
    pub shopper_id: Option<String>,
    /// Change this domain only. With it domains are not listed.
    pub zone: Option<String>,
    /// The time to live of new records, in seconds: 600 to 604800, with a token to 86400. Default: 600.
    #[serde(default, rename = "ttl")]
    #[schemars(range(min = 600, max = 604_800))]
    pub ttl_seconds: Option<u32>,
    /// Use the test environment (OTE), which has keys and an account of its own and which the world does not see.
    #[serde(default)]
    pub ote: bool,
    /// Where the APIs are. Default: GoDaddy's public host.
    pub base_url: Option<Url>,
    /// How to connect.
    #[serde(default)]
    pub http: http::Settings,
}

/// Makes a [`GoDaddy`].
#[derive(Debug, Clone)]
#[must_use]
pub struct GoDaddyBuilder {
    settings: Settings,
    clock: Arc<dyn Clock>,
}

impl GoDaddyBuilder {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, clock: Arc::new(SystemClock::default()) }
    }

    /// Acts on behalf of this customer of a reseller. Defaults to the account of the credential.
    pub fn shopper_id(mut self, id: impl Into<String>) -> Self {
        self.settings.shopper_id = Some(id.into());
        self
    }

    /// Changes this domain only. Defaults to the domain that encloses each name.
    pub fn zone(mut self, name: impl Into<String>) -> Self {
        self.settings.zone = Some(name.into());
        self
    }

    /// Makes new records with this time to live, in seconds. Defaults to 600, the least.
    pub fn ttl_seconds(mut self, ttl: u32) -> Self {
        self.settings.ttl_seconds = Some(ttl);
        self
    }

    /// Uses the test environment. Defaults to production.
    pub fn ote(mut self) -> Self {
        self.settings.ote = true;
        self
    }

    /// Sends requests to `url` instead, such as a test server. Defaults to the public API.
    pub fn base_url(mut self, url: Url) -> Self {
        self.settings.base_url = Some(url);
        self
    }

    /// Connects like this. Defaults to [`http::Settings::default`].
    pub fn http(mut self, settings: http::Settings) -> Self {
        self.settings.http = settings;
        self
    }

    /// Paces requests and remembers zones by this clock. Defaults to the operating system's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Checks the settings and returns the provider. Opens no connection.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] names the setting that is wrong and what it should look like.
    pub fn build(self) -> Result<GoDaddy, InputError> {
        let Self { settings, clock } = self;
        let only = match &settings.zone {
            None => None,
            Some(name) => match name.trim().parse::<Fqdn>() {
                Ok(name) => Some(name),
                Err(error) => return Err(InputError::setting("zone", error.to_string())),
            },
        };
        let api = api(&settings, &clock)?;
        let most = if matches!(api, Api::Classic(_)) { 604_800 } else { 86_400 };
        let ttl_seconds = settings.ttl_seconds.unwrap_or(600);
        if !(600..=most).contains(&ttl_seconds) {
            return Err(InputError::setting("ttl", format!("is 600 to {most} seconds")));
        }
        Ok(GoDaddy {
            api,
            only,
            ote: settings.ote,
            ttl_seconds,
            zones: ZoneList::new(clock.clone(), REMEMBER_ZONES),
            turns: Serial::new(),
            clock,
        })
    }
}

fn api(settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Api, InputError> {
    if settings.ote && settings.base_url.is_some() {
        return Err(InputError::setting("ote", "is not used with `base_url`"));
    }
    let usual = if settings.ote { "https://api.ote-godaddy.com" } else { "https://api.godaddy.com" };
    let base_url = http::endpoint("base_url", settings.base_url.as_ref(), usual)?;
    let mut client = Client::builder(NAME)
        .base_url(&base_url)
        .settings(&settings.http)
        .clock(clock.clone())
        .concurrency(8)
        // By endpoint, says <https://developer.godaddy.com/getstarted>; what an endpoint is it does not say, so
        // that all requests count together.
        .rate(60, Duration::from_mins(1));
    if let Some(id) = &settings.shopper_id {
        if id.trim().is_empty() {
            return Err(InputError::setting("shopper_id", "is the id of a customer, or absent"));
        }
        client = client.header("X-Shopper-Id", id.trim());
    }
    match (&settings.api_key, &settings.api_secret, &settings.token) {
        (Some(key), Some(secret), None) => {
            let (key, secret) = (pasted("api_key", key)?, pasted("api_secret", secret)?);
            let both = format!("sso-key {}:{}", key.expose(), secret.expose());
            let client = client.hide(&key).hide(&secret).secret_header("Authorization", both);
            Ok(Api::Classic(v1::Api { client: client.refine(v1::refine).build()? }))
        }
        (None, None, Some(token)) => {
            let client = client.bearer(pasted("token", token)?).build()?;
            Ok(Api::Token(v3::Api { client, base_url }))
        }
        (_, _, Some(_)) => {
            Err(InputError::setting("token", "stands alone, without `api_key` and `api_secret`"))
        }
        (Some(_), None, None) => Err(InputError::setting("api_secret", "is required with `api_key`")),
        (None, _, None) => Err(InputError::setting("api_key", "is required, or `token` in its place")),
    }
}

fn pasted(setting: &'static str, secret: &Secret) -> Result<Secret, InputError> {
    let fits = |byte: u8| byte.is_ascii_graphic() && !b":\"'".contains(&byte);
    trimmed(setting, secret, "is letters, digits and signs, without quotes, colons and blanks", fits)
}
