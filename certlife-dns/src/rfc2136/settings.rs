//! What the host states, checked and put together.

use std::{sync::Arc, time::Duration};

use certlife_core::{
    Clock, Fqdn, InputError, Secret, SystemClock,
    lookup::{Exchange, Transport},
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Entry, Rfc2136,
    server::{Address, Server},
    tsig::{Algorithm, Key},
};

/// The settings of [`Rfc2136`].
///
/// `server`, `key_name`, `key_secret` and `algorithm` serve every zone that has no entry of its own in
/// `zones`, and fill in what such an entry leaves out. Without `key_name` and `key_secret` only the zones
/// listed are served.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// The server that takes updates: IP address or host name, with or without a port (53).
    pub server: Option<String>,
    /// The name of the TSIG key, exactly as the server has it.
    pub key_name: Option<String>,
    /// The secret of the key, in base64.
    pub key_secret: Option<Secret>,
    /// The algorithm of the key. Default: hmac-sha256.
    #[serde(default)]
    pub algorithm: Option<Algorithm>,
    /// The zone to update. Without it the server is asked which of its zones encloses a name.
    pub zone: Option<String>,
    /// Zones with a key or a server of their own. The longest name that encloses a record is used.
    #[serde(default)]
    pub zones: Vec<ZoneSettings>,
    /// The time to live of records, in seconds. All values at one name share it. Default: 60.
    #[serde(default = "default_ttl", rename = "ttl")]
    #[schemars(range(max = 2_147_483_647_u32))]
    pub ttl_seconds: u32,
    /// How messages travel: `udp`, with TCP where it does not get through, or `tcp`. Default: `udp`.
    #[serde(default)]
    pub transport: Transport,
    /// Seconds until a server must have answered. Default: 10.
    #[serde(default = "default_timeout")]
    #[schemars(range(min = 1, max = 300))]
    pub timeout_seconds: u32,
}

/// A zone with a key or a server of its own.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ZoneSettings {
    /// The zone.
    pub zone: String,
    /// The server that takes updates of it.
    pub server: Option<String>,
    /// The name of the key.
    pub key_name: Option<String>,
    /// The secret of the key, in base64.
    pub key_secret: Option<Secret>,
    /// The algorithm of the key.
    pub algorithm: Option<Algorithm>,
}

fn default_ttl() -> u32 {
    60
}

fn default_timeout() -> u32 {
    10
}

/// Makes an [`Rfc2136`].
#[derive(Debug, Clone)]
#[must_use]
pub struct Rfc2136Builder {
    settings: Settings,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl Rfc2136Builder {
    pub(super) fn new(server: impl Into<String>, key_name: impl Into<String>, key_secret: Secret) -> Self {
        Self::from_settings(
            Settings {
                server: Some(server.into()),
                key_name: Some(key_name.into()),
                key_secret: Some(key_secret),
                algorithm: None,
                zone: None,
                zones: Vec::new(),
                ttl_seconds: default_ttl(),
                transport: Transport::default(),
                timeout_seconds: default_timeout(),
            },
            Arc::new(SystemClock::default()),
        )
    }

    pub(super) fn from_settings(settings: Settings, clock: Arc<dyn Clock>) -> Self {
        Self { timeout: Duration::from_secs(settings.timeout_seconds.into()), settings, clock }
    }

    /// Signs by this algorithm. Defaults to [`Algorithm::HmacSha256`].
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.settings.algorithm = Some(algorithm);
        self
    }

    /// Updates this zone and no other. Defaults to the zone of the server that encloses each name.
    pub fn zone(mut self, zone: impl Into<String>) -> Self {
        self.settings.zone = Some(zone.into());
        self
    }

    /// Serves one zone by a key of its own, at the same server.
    pub fn zone_key(
        mut self,
        zone: impl Into<String>,
        key_name: impl Into<String>,
        key_secret: Secret,
        algorithm: Algorithm,
    ) -> Self {
        self.settings.zones.push(ZoneSettings {
            zone: zone.into(),
            server: None,
            key_name: Some(key_name.into()),
            key_secret: Some(key_secret),
            algorithm: Some(algorithm),
        });
        self
    }

    /// Publishes records with this time to live, in seconds. Defaults to 60.
    pub fn ttl_seconds(mut self, ttl: u32) -> Self {
        self.settings.ttl_seconds = ttl;
        self
    }

    /// Sends messages this way. Defaults to [`Transport::Udp`].
    pub fn transport(mut self, transport: Transport) -> Self {
        self.settings.transport = transport;
        self
    }

    /// Gives the server this long to answer, over UDP and TCP together. Defaults to 10 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Signs by the time of this clock. Defaults to the operating system's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Checks the settings and returns the provider. Contacts nobody.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] names the setting that is wrong and what it should look like.
    pub fn build(self) -> Result<Rfc2136, InputError> {
        let Self { settings, timeout, clock } = self;
        if timeout.is_zero() {
            return Err(InputError::setting("timeout_seconds", "is at least 1"));
        }
        // RFC 2181 §8.
        if settings.ttl_seconds > i32::MAX.unsigned_abs() {
            return Err(InputError::setting("ttl", "is at most 2147483647 seconds"));
        }
        let exchange = Exchange { transport: settings.transport, timeout };
        let mut entries = Vec::new();
        for zone in &settings.zones {
            entries.push(entry(Some(&zone.zone), &settings, zone, exchange)?);
        }
        if settings.key_name.is_some() || settings.key_secret.is_some() || settings.zones.is_empty() {
            let none = ZoneSettings {
                zone: String::new(),
                server: None,
                key_name: None,
                key_secret: None,
                algorithm: None,
            };
            entries.push(entry(settings.zone.as_deref(), &settings, &none, exchange)?);
        } else if settings.zone.is_some() {
            return Err(InputError::setting("key_name", "is required with `zone`"));
        }
        if let Some(twice) = duplicate(&entries) {
            return Err(InputError::setting("zones", format!("{twice} stands there twice")));
        }
        Ok(Rfc2136::new(entries, settings.ttl_seconds, clock))
    }
}

/// Puts an entry together from its own settings and, for what it leaves out, the common ones.
fn entry(
    zone: Option<&str>,
    common: &Settings,
    own: &ZoneSettings,
    exchange: Exchange,
) -> Result<Entry, InputError> {
    let missing = |setting: &'static str| InputError::setting(setting, "is required");
    let server = own.server.as_ref().or(common.server.as_ref()).ok_or_else(|| missing("server"))?;
    let key_name = own.key_name.as_ref().or(common.key_name.as_ref()).ok_or_else(|| missing("key_name"))?;
    let secret =
        own.key_secret.as_ref().or(common.key_secret.as_ref()).ok_or_else(|| missing("key_secret"))?;
    let algorithm = own.algorithm.or(common.algorithm).unwrap_or_default();
    let key_name: Fqdn = read("key_name", key_name)?;
    Ok(Entry {
        zone: zone.map(|zone| read("zone", zone)).transpose()?,
        server: Server {
            address: Address::parse(server)?,
            key: Key::new(key_name, algorithm, secret)?,
            exchange,
        },
    })
}

fn read(setting: &'static str, text: &str) -> Result<Fqdn, InputError> {
    text.trim().parse().map_err(|error: InputError| InputError::setting(setting, error.to_string()))
}

fn duplicate(entries: &[Entry]) -> Option<&Fqdn> {
    let mut zones: Vec<&Fqdn> = entries.iter().filter_map(|entry| entry.zone.as_ref()).collect();
    zones.sort();
    zones.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}
