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
    ClouDns, NAME,
    api::{self, Api, User},
};

/// The values that a time to live may have, in seconds: <https://www.cloudns.net/wiki/article/188/>. Of the
/// last one, 28 and 30 days are both on record; the API says which it takes.
const TTLS: [u32; 14] = [
    60, 300, 900, 1_800, 3_600, 21_600, 43_200, 86_400, 172_800, 259_200, 604_800, 1_209_600, 2_419_200,
    2_592_000,
];

/// The settings of [`ClouDns`]: one of `auth_id`, `sub_auth_id` and `sub_auth_user`, and `auth_password`; all
/// else is optional.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// The id of an API user: a number.
    pub auth_id: Option<String>,
    /// The id of an API sub-user, who sees only the zones that were given to them: a number.
    pub sub_auth_id: Option<String>,
    /// The name of an API sub-user, in place of the id.
    pub sub_auth_user: Option<String>,
    /// The password of that API user, which is not the one for the website.
    pub auth_password: Option<Secret>,
    /// Change this zone only. Absent: the zone that encloses each name.
    pub zone: Option<String>,
    /// The time to live of records, in seconds: 60, 300, 900, 1800, 3600, 21600, 43200, 86400, or a value of
    /// days that ClouDNS offers. Default: 60.
    #[serde(default, rename = "ttl")]
    #[schemars(range(min = 60, max = 2_592_000))]
    pub ttl_seconds: Option<u32>,
    /// Where the API is. Default: that of ClouDNS.
    pub base_url: Option<Url>,
    /// How to connect.
    #[serde(default)]
    pub http: http::Settings,
}

/// Makes a [`ClouDns`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ClouDnsBuilder {
    settings: Settings,
    clock: Arc<dyn Clock>,
}

impl ClouDnsBuilder {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, clock: Arc::new(SystemClock::default()) }
    }

    /// Changes this zone only. Defaults to the zone that encloses each name.
    pub fn zone(mut self, name: impl Into<String>) -> Self {
        self.settings.zone = Some(name.into());
        self
    }

    /// Publishes records with this time to live, in seconds, which has to be one that ClouDNS offers.
    /// Defaults to 60.
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
    pub fn build(self) -> Result<ClouDns, InputError> {
        let Self { settings, clock } = self;
        let user = user(&settings)?;
        let password = password(&settings)?;
        let ttl_seconds = settings.ttl_seconds.unwrap_or(60);
        if !TTLS.contains(&ttl_seconds) {
            let offered = TTLS.map(|ttl| ttl.to_string()).join(", ");
            return Err(InputError::setting("ttl", format!("is one of these, in seconds: {offered}")));
        }
        let zone: Option<Fqdn> = match &settings.zone {
            Some(name) => {
                let parsed = name.trim().parse();
                Some(parsed.map_err(|error: InputError| InputError::setting("zone", error.to_string()))?)
            }
            None => None,
        };
        let http = client(&settings, &password, &clock)?;
        Ok(ClouDns::new(Api { http, user, password }, zone, ttl_seconds, clock))
    }
}

fn user(settings: &Settings) -> Result<User, InputError> {
    match (&settings.auth_id, &settings.sub_auth_id, &settings.sub_auth_user) {
        (Some(id), None, None) => Ok(User::Main(number("auth_id", id)?)),
        (None, Some(id), None) => Ok(User::Sub(number("sub_auth_id", id)?)),
        (None, None, Some(name)) => {
            let name = name.trim();
            if name.is_empty() || name.chars().any(char::is_control) {
                return Err(InputError::setting("sub_auth_user", "is the name of an API sub-user"));
            }
            Ok(User::SubNamed(name.to_owned()))
        }
        (None, None, None) => {
            Err(InputError::setting("auth_id", "is required, or `sub_auth_id`, or `sub_auth_user`"))
        }
        (Some(_), _, _) => {
            Err(InputError::setting("auth_id", "stands alone, without `sub_auth_id` and `sub_auth_user`"))
        }
        (None, Some(_), Some(_)) => {
            Err(InputError::setting("sub_auth_id", "stands alone, without `sub_auth_user`"))
        }
    }
}

fn number(setting: &'static str, text: &str) -> Result<String, InputError> {
    let text = text.trim();
    if api::is_id(text) { Ok(text.to_owned()) } else { Err(InputError::setting(setting, "is a number")) }
}

/// Blanks may be part of it; a line break was pasted with it, and would be refused without a hint.
fn password(settings: &Settings) -> Result<Secret, InputError> {
    let password =
        settings.auth_password.clone().ok_or_else(|| InputError::setting("auth_password", "is required"))?;
    if password.is_empty() || password.expose().chars().any(char::is_control) {
        return Err(InputError::setting("auth_password", "is the API user's, without line breaks"));
    }
    Ok(password)
}

fn client(settings: &Settings, password: &Secret, clock: &Arc<dyn Clock>) -> Result<Client, InputError> {
    let base_url = http::endpoint("base_url", settings.base_url.as_ref(), "https://api.cloudns.net")?;
    Client::builder(NAME)
        .base_url(&base_url)
        .settings(&settings.http)
        .clock(clock.clone())
        .hide(password)
        .concurrency(16)
        // An IP address: <https://www.cloudns.net/wiki/article/41/>
        .rate(20, Duration::from_secs(1))
        .rate(600, Duration::from_mins(1))
        .rate(36_000, Duration::from_hours(1))
        .refine(api::refine)
        .build()
}
