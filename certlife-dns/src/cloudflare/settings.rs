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
    Cloudflare, Credential, NAME,
    api::{self, Api},
};
use crate::settings::trimmed;

/// The settings of [`Cloudflare`]: `api_token`, or `email` and `api_key`; all else is optional.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// An API token with the rights Zone:Read and DNS:Edit for the zones concerned.
    pub api_token: Option<Secret>,
    /// Another token that has the right Zone:Read, if `api_token` has DNS:Edit alone.
    pub zone_token: Option<Secret>,
    /// The e-mail address of the user whose Global API Key it is.
    pub email: Option<String>,
    /// The Global API Key. An API token is better: it can be limited.
    pub api_key: Option<Secret>,
    /// Look for zones in this account only: 32 hexadecimal digits.
    pub account_id: Option<String>,
    /// Change this zone only: 32 hexadecimal digits.
    pub zone_id: Option<String>,
    /// The name of that zone. With it the right Zone:Read is not needed.
    pub zone: Option<String>,
    /// The time to live of records, in seconds: 1 for automatic, or 30 to 86400, of which less than 60 is for
    /// Enterprise zones. Default: 60.
    #[serde(default, rename = "ttl")]
    #[schemars(range(min = 1, max = 86_400))]
    pub ttl_seconds: Option<u32>,
    /// Where the API is. Default: Cloudflare's public API, version 4.
    pub base_url: Option<Url>,
    /// How to connect.
    #[serde(default)]
    pub http: http::Settings,
}

/// Makes a [`Cloudflare`].
#[derive(Debug, Clone)]
#[must_use]
pub struct CloudflareBuilder {
    settings: Settings,
    clock: Arc<dyn Clock>,
}

impl CloudflareBuilder {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, clock: Arc::new(SystemClock::default()) }
    }

    /// Reads zones with this token, and edits records with the other one. Defaults to one for both.
    pub fn zone_token(mut self, token: impl Into<Secret>) -> Self {
        self.settings.zone_token = Some(token.into());
        self
    }

    /// Looks for zones in this account only. Defaults to every account that the credential sees.
    pub fn account_id(mut self, id: impl Into<String>) -> Self {
        self.settings.account_id = Some(id.into());
        self
    }

    /// Changes this zone only. Defaults to the zone that encloses each name.
    pub fn zone(mut self, id: impl Into<String>, name: impl Into<String>) -> Self {
        self.settings.zone_id = Some(id.into());
        self.settings.zone = Some(name.into());
        self
    }

    /// Publishes records with this time to live, in seconds; 1 is automatic. Defaults to 60.
    pub fn ttl_seconds(mut self, ttl: u32) -> Self {
        self.settings.ttl_seconds = Some(ttl);
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
    pub fn build(self) -> Result<Cloudflare, InputError> {
        let Self { settings, clock } = self;
        let credential = credential(&settings)?;
        let ttl_seconds = settings.ttl_seconds.unwrap_or(60);
        if !matches!(ttl_seconds, 1 | 30..=86_400) {
            return Err(InputError::setting("ttl", "is 1, or 30 to 86400 seconds"));
        }
        let account = settings.account_id.as_deref().map(|id| hexadecimal("account_id", id)).transpose()?;
        let zone_id = settings.zone_id.as_deref().map(|id| hexadecimal("zone_id", id)).transpose()?;
        let zone: Option<Fqdn> = match &settings.zone {
            Some(_) if zone_id.is_none() => {
                return Err(InputError::setting("zone_id", "is required with `zone`"));
            }
            Some(name) => {
                let parsed = name.trim().parse();
                Some(parsed.map_err(|error: InputError| InputError::setting("zone", error.to_string()))?)
            }
            None => None,
        };
        let records = client(&settings, &credential, &clock)?;
        let zones = match &settings.zone_token {
            Some(token) => client(&settings, &Credential::Token(pasted("zone_token", token)?), &clock)?,
            None => records.clone(),
        };
        let two_tokens = settings.zone_token.is_some();
        Ok(Cloudflare::new(
            Api { zones, records },
            matches!(credential, Credential::Token(_)),
            two_tokens,
            account,
            zone_id.map(|id| (id, zone)),
            ttl_seconds,
            clock,
        ))
    }
}

fn credential(settings: &Settings) -> Result<Credential, InputError> {
    match (&settings.api_token, &settings.email, &settings.api_key) {
        (Some(token), None, None) => Ok(Credential::Token(pasted("api_token", token)?)),
        (None, Some(email), Some(key)) => {
            let email = email.trim().to_owned();
            if !email.contains('@') {
                return Err(InputError::setting("email", "is the e-mail address of the user"));
            }
            Ok(Credential::GlobalKey { email, key: pasted("api_key", key)? })
        }
        (None, Some(_), None) => Err(InputError::setting("api_key", "is required with `email`")),
        (None, None, Some(_)) => Err(InputError::setting("email", "is required with `api_key`")),
        (None, None, None) => Err(InputError::setting("api_token", "is required")),
        (Some(_), _, _) => {
            Err(InputError::setting("api_token", "stands alone, without `email` and `api_key`"))
        }
    }
}

fn pasted(setting: &'static str, secret: &Secret) -> Result<Secret, InputError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.~+/=".contains(&byte);
    trimmed(setting, secret, "is letters, digits and signs, without quotes and blanks", fits)
}

fn hexadecimal(setting: &'static str, text: &str) -> Result<String, InputError> {
    let text = text.trim().to_ascii_lowercase();
    if super::is_id(&text) { Ok(text) } else { Err(InputError::setting(setting, "is 32 hexadecimal digits")) }
}

fn client(
    settings: &Settings,
    credential: &Credential,
    clock: &Arc<dyn Clock>,
) -> Result<Client, InputError> {
    let public = "https://api.cloudflare.com/client/v4";
    let base_url = http::endpoint("base_url", settings.base_url.as_ref(), public)?;
    let builder = Client::builder(NAME)
        .base_url(&base_url)
        .settings(&settings.http)
        .clock(clock.clone())
        .concurrency(16)
        // <https://developers.cloudflare.com/fundamentals/api/reference/limits/>
        .rate(1_200, Duration::from_mins(5))
        .refine(api::refine);
    match credential {
        Credential::Token(token) => builder.bearer(token.clone()),
        Credential::GlobalKey { email, key } => {
            builder.header("X-Auth-Email", email).secret_header("X-Auth-Key", key.clone())
        }
    }
    .build()
}
