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
    NAME, Route53,
    api::{self, Api},
    credentials::{Keys, Role, Source, Terms},
    sign::SigV4,
};
use crate::settings::trimmed;

/// The settings of [`Route53`]: `access_key_id` and `secret_access_key`; all else is optional.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// The id of an access key: `AKIA…`, or `ASIA…` for one that does not last.
    pub access_key_id: String,
    /// The secret access key.
    pub secret_access_key: Secret,
    /// The session token, if the access key does not last.
    pub session_token: Option<Secret>,
    /// The region whose partition the account is in, and whose STS is asked. Default: `us-east-1`.
    pub region: Option<String>,
    /// Change this zone only: its id, `Z…`.
    pub hosted_zone_id: Option<String>,
    /// The name of that zone. With it the right `route53:GetHostedZone` is not needed.
    pub zone: Option<String>,
    /// A role to assume: `arn:aws:iam::123456789012:role/name`.
    pub role_arn: Option<String>,
    /// The name of the session in which the role is assumed, for the audit trail. Default: `certlife`.
    pub role_session_name: Option<String>,
    /// The external id that the role's trust policy asks for.
    pub external_id: Option<String>,
    /// How long the role is assumed at a time, in seconds: 900 to 43200. Default: 3600.
    #[schemars(range(min = 900, max = 43_200))]
    pub role_duration_seconds: Option<u32>,
    /// The time to live of new record sets, in seconds, at most 2147483647. Existing sets keep theirs. Default: 10.
    #[serde(default, rename = "ttl")]
    #[schemars(range(max = 2_147_483_647))]
    pub ttl_seconds: Option<u32>,
    /// Where the API is. Default: the public one of the region's partition.
    pub base_url: Option<Url>,
    /// Where STS is. Default: the public one of the region.
    pub sts_url: Option<Url>,
    /// How to connect.
    #[serde(default)]
    pub http: http::Settings,
}

impl Settings {
    pub(super) fn new(access_key_id: String, secret_access_key: Secret) -> Self {
        Self {
            access_key_id,
            secret_access_key,
            session_token: None,
            region: None,
            hosted_zone_id: None,
            zone: None,
            role_arn: None,
            role_session_name: None,
            external_id: None,
            role_duration_seconds: None,
            ttl_seconds: None,
            base_url: None,
            sts_url: None,
            http: http::Settings::default(),
        }
    }
}

/// Makes a [`Route53`].
#[derive(Debug, Clone)]
#[must_use]
pub struct Route53Builder {
    settings: Settings,
    clock: Arc<dyn Clock>,
}

impl Route53Builder {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, clock: Arc::new(SystemClock::default()) }
    }

    /// Sends this token along, for an access key that does not last. Defaults to none.
    pub fn session_token(mut self, token: impl Into<Secret>) -> Self {
        self.settings.session_token = Some(token.into());
        self
    }

    /// Says in which region's partition the account is. Defaults to `us-east-1`.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.settings.region = Some(region.into());
        self
    }

    /// Changes this zone only. Defaults to the zone that encloses each name.
    pub fn hosted_zone_id(mut self, id: impl Into<String>) -> Self {
        self.settings.hosted_zone_id = Some(id.into());
        self
    }

    /// States the name of that zone. Defaults to asking for it.
    pub fn zone(mut self, name: impl Into<String>) -> Self {
        self.settings.zone = Some(name.into());
        self
    }

    /// Assumes this role. Defaults to none.
    pub fn role_arn(mut self, arn: impl Into<String>) -> Self {
        self.settings.role_arn = Some(arn.into());
        self
    }

    /// Names the session in which the role is assumed. Defaults to `certlife`.
    pub fn role_session_name(mut self, name: impl Into<String>) -> Self {
        self.settings.role_session_name = Some(name.into());
        self
    }

    /// Sends this external id when the role is assumed. Defaults to none.
    pub fn external_id(mut self, id: impl Into<String>) -> Self {
        self.settings.external_id = Some(id.into());
        self
    }

    /// Assumes the role for this many seconds at a time. Defaults to 3600.
    pub fn role_duration_seconds(mut self, seconds: u32) -> Self {
        self.settings.role_duration_seconds = Some(seconds);
        self
    }

    /// Makes new record sets with this time to live, in seconds. Defaults to 10.
    pub fn ttl_seconds(mut self, seconds: u32) -> Self {
        self.settings.ttl_seconds = Some(seconds);
        self
    }

    /// Sends requests to `url` instead, such as a test server. Defaults to the public API of the partition.
    pub fn base_url(mut self, url: Url) -> Self {
        self.settings.base_url = Some(url);
        self
    }

    /// Asks STS at `url` instead. Defaults to the public one of the region.
    pub fn sts_url(mut self, url: Url) -> Self {
        self.settings.sts_url = Some(url);
        self
    }

    /// Connects like this. Defaults to [`http::Settings::default`].
    pub fn http(mut self, settings: http::Settings) -> Self {
        self.settings.http = settings;
        self
    }

    /// Dates and paces requests and remembers zones by this clock. Defaults to the operating system's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Checks the settings and returns the provider. Opens no connection.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] names the setting that is wrong and what it should look like.
    pub fn build(self) -> Result<Route53, InputError> {
        let Self { settings, clock } = self;
        let keys = keys(&settings)?;
        let region = region(&settings)?;
        let only = only_zone(&settings)?;
        let ttl_seconds = settings.ttl_seconds.unwrap_or(10);
        if i32::try_from(ttl_seconds).is_err() {
            return Err(InputError::setting("ttl", "is at most 2147483647 seconds"));
        }
        let partition = Partition::of(&region);
        let base_url = http::endpoint("base_url", settings.base_url.as_ref(), &partition.route53())?;
        let sts_url = http::endpoint("sts_url", settings.sts_url.as_ref(), &partition.sts(&region))?;

        let start = |url: &Url, signer: SigV4| {
            let builder = Client::builder(NAME).base_url(url).settings(&settings.http).clock(clock.clone());
            builder.hide(&keys.secret_access_key).refine(api::refine).sign_with(signer)
        };
        let sts = |source: &Source| {
            let signer = SigV4 { source: source.clone(), region: region.clone(), service: "sts" };
            start(&sts_url, signer).build().map_err(|error| named("sts_url", error))
        };
        let stated = Source::Stated(keys.clone());
        let source = match role(&settings)? {
            Some(role) => Source::role(Role { sts: sts(&stated)?, terms: role }, clock.clone()),
            None => stated,
        };
        let region = partition.signing_region.to_owned();
        let http = start(&base_url, SigV4 { source: source.clone(), region, service: "route53" })
            // <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/DNSLimitations.html#limits-api-requests>
            .rate(5, Duration::from_secs(1))
            // A zone can be busy for some seconds with what others change.
            .retries(6)
            .build()?;
        let api = Api { http, base_url, sts: sts(&source)?, source };
        Ok(Route53::new(api, only, ttl_seconds, clock))
    }
}

/// What belongs together in one of Amazon's worlds: <https://docs.aws.amazon.com/general/latest/gr/r53.html>.
struct Partition {
    host: &'static str,
    /// Route 53 is everywhere and yet signed for one region.
    signing_region: &'static str,
    domain: &'static str,
}

impl Partition {
    fn of(region: &str) -> Self {
        let (host, signing_region, domain) = match region.split('-').next().unwrap_or_default() {
            "cn" => ("route53.amazonaws.com.cn", "cn-northwest-1", "amazonaws.com.cn"),
            "eusc" => ("route53.amazonaws.eu", "eusc-de-east-1", "amazonaws.eu"),
            _ if region.starts_with("us-gov-") => {
                ("route53.us-gov.amazonaws.com", "us-gov-west-1", "amazonaws.com")
            }
            _ => ("route53.amazonaws.com", "us-east-1", "amazonaws.com"),
        };
        Self { host, signing_region, domain }
    }

    fn route53(&self) -> String {
        format!("https://{}", self.host)
    }

    fn sts(&self, region: &str) -> String {
        format!("https://sts.{region}.{}", self.domain)
    }
}

/// A client calls every address `base_url`.
fn named(setting: &'static str, error: InputError) -> InputError {
    match error {
        InputError::Setting { setting: found, rule } if found == "base_url" => {
            InputError::setting(setting, rule)
        }
        other => other,
    }
}

fn keys(settings: &Settings) -> Result<Keys, InputError> {
    let access_key_id = settings.access_key_id.trim().to_owned();
    // <https://docs.aws.amazon.com/IAM/latest/APIReference/API_AccessKey.html>
    if !(16..=128).contains(&access_key_id.len()) || !only_of(&access_key_id, b"_") {
        return Err(InputError::setting("access_key_id", "is 16 to 128 letters and digits"));
    }
    let secret_access_key = pasted("secret_access_key", &settings.secret_access_key)?;
    let session_token =
        settings.session_token.as_ref().map(|token| pasted("session_token", token)).transpose()?;
    Ok(Keys { access_key_id, secret_access_key, session_token })
}

fn pasted(setting: &'static str, secret: &Secret) -> Result<Secret, InputError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=_-.~".contains(&byte);
    trimmed(setting, secret, "is letters, digits and signs, without quotes and blanks", fits)
}

fn region(settings: &Settings) -> Result<String, InputError> {
    let region = settings.region.as_deref().unwrap_or("us-east-1").trim().to_ascii_lowercase();
    // It becomes part of a host name.
    let fits = region.len() <= 32 && region.split('-').count() >= 3 && !region.split('-').any(str::is_empty);
    if fits && only_of(&region, b"-") {
        Ok(region)
    } else {
        Err(InputError::setting("region", "is the name of a region, such as `eu-central-1`"))
    }
}

fn only_zone(settings: &Settings) -> Result<Option<(String, Option<Fqdn>)>, InputError> {
    let Some(id) = &settings.hosted_zone_id else {
        return match settings.zone {
            Some(_) => Err(InputError::setting("hosted_zone_id", "is required with `zone`")),
            None => Ok(None),
        };
    };
    let id = id.trim();
    let bare = id.strip_prefix("/hostedzone/").unwrap_or(id);
    if api::bare_id(bare) != Some(bare) {
        return Err(InputError::setting("hosted_zone_id", "is letters and digits, such as `Z0123456789ABC`"));
    }
    let name = settings.zone.as_deref().map(|name| {
        name.trim().parse().map_err(|error: InputError| InputError::setting("zone", error.to_string()))
    });
    Ok(Some((bare.to_owned(), name.transpose()?)))
}

/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>
fn role(settings: &Settings) -> Result<Option<Terms>, InputError> {
    let Settings { role_arn, role_session_name, external_id, role_duration_seconds, .. } = settings;
    let Some(arn) = role_arn.as_deref().map(str::trim) else {
        if role_session_name.is_some() || external_id.is_some() || role_duration_seconds.is_some() {
            return Err(InputError::setting("role_arn", "is required with what else is said of the role"));
        }
        return Ok(None);
    };
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let is_role = matches!(parts[..], ["arn", _, "iam", "", _, what] if what.starts_with("role/"));
    if !is_role || !(20..=2_048).contains(&arn.len()) {
        return Err(InputError::setting("role_arn", "looks like `arn:aws:iam::123456789012:role/name`"));
    }
    let session_name = role_session_name.as_deref().unwrap_or("certlife").trim();
    if !(2..=64).contains(&session_name.len()) || !only_of(session_name, b"_+=,.@-") {
        return Err(InputError::setting("role_session_name", "is 2 to 64 letters, digits and `_+=,.@-`"));
    }
    if let Some(id) = external_id
        && !((2..=1_224).contains(&id.len()) && only_of(id, b"_+=,.@:/-"))
    {
        return Err(InputError::setting("external_id", "is 2 to 1224 letters, digits and `_+=,.@:/-`"));
    }
    let duration_seconds = role_duration_seconds.unwrap_or(3_600);
    if !(900..=43_200).contains(&duration_seconds) {
        return Err(InputError::setting("role_duration_seconds", "is 900 to 43200"));
    }
    Ok(Some(Terms {
        arn: arn.to_owned(),
        session_name: session_name.to_owned(),
        external_id: external_id.clone(),
        duration_seconds,
    }))
}

fn only_of(text: &str, signs: &[u8]) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || signs.contains(&byte))
}
