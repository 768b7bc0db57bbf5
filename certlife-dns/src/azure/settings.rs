//! What the host states, checked and put together.

use std::{path::PathBuf, sync::Arc, time::Duration};

use certlife_core::{
    Clock, Fqdn, InputError, Secret, SystemClock,
    http::{self, Client, TokenSource},
};
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use super::{
    AzureDns, NAME, REMEMBER_ZONES,
    api::{self, Api, Zone},
    fault,
    token::{Assertion, Proof, Tokens},
};
use crate::{serial::Serial, settings::trimmed, zones::ZoneList};

/// Where a machine in Azure asks who it is. Nothing else answers there, so that plain HTTP is what it speaks.
const MACHINE: &str = "http://169.254.169.254/metadata/identity/oauth2/token";

/// The settings of [`AzureDns`]: `subscription_id`, and `tenant_id`, `client_id` and `client_secret`, or
/// another proof in place of these three; all else is optional.
///
/// Who may write them chooses which file is sent to which URL (`federated_token_file`, `token_url`).
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// The id of the subscription that holds the zones.
    #[serde(default)]
    pub subscription_id: String,
    /// The directory (tenant) of the application: its id or a domain of it.
    pub tenant_id: Option<String>,
    /// The application (client) id; with `managed_identity` that of a user-assigned identity.
    pub client_id: Option<String>,
    /// The value, not the id, of a client secret of the application.
    pub client_secret: Option<Secret>,
    /// A token of another issuer that the application trusts (workload identity), in place of a secret.
    pub federated_token: Option<Secret>,
    /// The file that holds such a token. It is read anew whenever a token of Azure is fetched, since whoever
    /// writes it replaces it before it ends.
    pub federated_token_file: Option<PathBuf>,
    /// Ask the machine in Azure that this runs on, in place of a secret.
    #[serde(default)]
    pub managed_identity: bool,
    /// Look for zones in this resource group only. Default: in the whole subscription.
    pub resource_group: Option<String>,
    /// Change this zone only; needs `resource_group`. With it the right to list zones is not needed.
    pub zone: Option<String>,
    /// Which Azure it is. Default: public.
    #[serde(default)]
    pub cloud: Cloud,
    /// The time to live of new record sets, in seconds: 1 to 2147483647. One that is there keeps its own.
    /// Default: 60.
    #[serde(default, rename = "ttl")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub ttl_seconds: Option<u32>,
    /// Where Azure Resource Manager is. Default: that of the cloud.
    pub base_url: Option<Url>,
    /// Where tokens are fetched. Default: that of the cloud and the tenant, or of the machine.
    pub token_url: Option<Url>,
    /// Whom tokens are for: the base URL of Resource Manager as a private cloud names it. Default: that of the
    /// cloud.
    pub audience: Option<String>,
    /// How to connect.
    #[serde(default)]
    pub http: http::Settings,
}

/// Which Azure. Tenants, applications and secrets are apart in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cloud {
    /// The public one.
    #[default]
    #[serde(alias = "AzurePublicCloud")]
    Public,
    /// For the government of the United States.
    #[serde(alias = "usgovernment", alias = "AzureUSGovernmentCloud")]
    UsGovernment,
    /// In China, run by 21Vianet.
    #[serde(alias = "AzureChinaCloud")]
    China,
}

impl Cloud {
    /// Resource Manager and the token authority.
    ///
    /// <https://learn.microsoft.com/en-us/entra/identity-platform/authentication-national-cloud>
    fn endpoints(self) -> (&'static str, &'static str) {
        match self {
            Self::Public => ("https://management.azure.com", "https://login.microsoftonline.com"),
            Self::UsGovernment => {
                ("https://management.usgovcloudapi.net", "https://login.microsoftonline.us")
            }
            Self::China => {
                ("https://management.chinacloudapi.cn", "https://login.partner.microsoftonline.cn")
            }
        }
    }

    /// The most characters in the TXT records of one set.
    ///
    /// <https://learn.microsoft.com/en-us/azure/azure-resource-manager/management/azure-subscription-service-limits>
    fn most_characters(self) -> usize {
        if self == Self::Public { 4_096 } else { 1_024 }
    }
}

/// Makes an [`AzureDns`].
#[derive(Debug, Clone)]
#[must_use]
pub struct AzureBuilder {
    settings: Settings,
    clock: Arc<dyn Clock>,
}

impl AzureBuilder {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, clock: Arc::new(SystemClock::default()) }
    }

    /// Looks for zones in this resource group only. Defaults to the whole subscription.
    pub fn resource_group(mut self, name: impl Into<String>) -> Self {
        self.settings.resource_group = Some(name.into());
        self
    }

    /// Changes this zone only. Defaults to the zone that encloses each name.
    pub fn zone(mut self, resource_group: impl Into<String>, name: impl Into<String>) -> Self {
        self.settings.zone = Some(name.into());
        self.resource_group(resource_group)
    }

    /// Uses this Azure. Defaults to the public one.
    pub fn cloud(mut self, cloud: Cloud) -> Self {
        self.settings.cloud = cloud;
        self
    }

    /// Makes new record sets with this time to live, in seconds. Defaults to 60.
    pub fn ttl_seconds(mut self, ttl: u32) -> Self {
        self.settings.ttl_seconds = Some(ttl);
        self
    }

    /// Sends requests to `url` instead, such as a private cloud. Defaults to Resource Manager of the cloud.
    pub fn base_url(mut self, url: Url) -> Self {
        self.settings.base_url = Some(url);
        self
    }

    /// Fetches tokens at `url` instead. Defaults to the authority of the cloud, or to the machine.
    pub fn token_url(mut self, url: Url) -> Self {
        self.settings.token_url = Some(url);
        self
    }

    /// Asks for tokens for this audience. Defaults to Resource Manager of the cloud.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.settings.audience = Some(audience.into());
        self
    }

    /// Connects like this. Defaults to [`http::Settings::default`].
    pub fn http(mut self, settings: http::Settings) -> Self {
        self.settings.http = settings;
        self
    }

    /// Paces requests and remembers tokens and zones by this clock. Defaults to the operating system's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Checks the settings and returns the provider. Opens no connection and reads no file.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] names the setting that is wrong and what it should look like.
    pub fn build(self) -> Result<AzureDns, InputError> {
        let Self { settings, clock } = self;
        let subscription = guid("subscription_id", &settings.subscription_id)?;
        let ttl_seconds = settings.ttl_seconds.unwrap_or(60);
        if !(1..=2_147_483_647).contains(&ttl_seconds) {
            return Err(InputError::setting("ttl", "is 1 to 2147483647 seconds"));
        }
        let group = settings.resource_group.as_deref().map(resource_group).transpose()?;
        let only = match (&settings.zone, &group) {
            (None, _) => None,
            (Some(_), None) => return Err(InputError::setting("resource_group", "is required with `zone`")),
            (Some(name), Some(group)) => {
                let name = name.trim().parse::<Fqdn>();
                let name = name.map_err(|error| InputError::setting("zone", error.to_string()))?;
                Some(Zone { name, group: group.clone(), name_servers: Vec::new() })
            }
        };
        let (identity, proof) = proof(&settings)?;
        let token = TokenSource::new(tokens(&settings, proof, &clock)?, clock.clone());
        // Azure counts by zone. Here all zones of an account count together, which errs on Azure's side.
        // <https://learn.microsoft.com/en-us/azure/azure-resource-manager/management/azure-subscription-service-limits>
        let client = |requests_a_minute| client(&settings, &token, &clock, requests_a_minute);
        let api =
            Api { subscription, group, lists: client(60)?, reads: client(2_000)?, writes: client(200)? };
        Ok(AzureDns {
            api,
            identity,
            only,
            ttl_seconds,
            most_characters: settings.cloud.most_characters(),
            zones: ZoneList::new(clock.clone(), REMEMBER_ZONES),
            turns: Serial::new(),
            clock,
        })
    }
}

/// Picks the one proof that is stated. Returns also whose it is.
fn proof(settings: &Settings) -> Result<(String, Proof), InputError> {
    let Settings { client_secret, federated_token, federated_token_file, managed_identity, .. } = settings;
    let client_id = settings.client_id.as_deref().map(|id| guid("client_id", id)).transpose()?;
    let application = || client_id.clone().ok_or_else(|| InputError::setting("client_id", "is required"));
    let proof = match (client_secret, federated_token, federated_token_file, managed_identity) {
        (Some(secret), None, None, false) => {
            Proof::Secret { client_id: application()?, secret: pasted("client_secret", secret)? }
        }
        (None, Some(token), None, false) => {
            let assertion = Assertion::Token(pasted("federated_token", token)?);
            Proof::Federated { client_id: application()?, assertion }
        }
        (None, None, Some(path), false) => {
            if !path.is_absolute() {
                return Err(InputError::setting("federated_token_file", "is an absolute path"));
            }
            Proof::Federated { client_id: application()?, assertion: Assertion::File(path.clone()) }
        }
        (None, None, None, true) => Proof::Machine { client_id: client_id.clone() },
        (None, None, None, false) => return Err(InputError::setting("client_secret", "is required")),
        _ => {
            let rule = "stands alone: state one of `client_secret`, `federated_token`, `federated_token_file` \
                        and `managed_identity`";
            return Err(InputError::setting("client_secret", rule));
        }
    };
    let identity = match (&proof, client_id) {
        (Proof::Machine { .. }, None) => "the identity of the machine".to_owned(),
        (Proof::Machine { .. }, Some(id)) => format!("managed identity {id}"),
        (_, id) => format!("application {}", id.unwrap_or_default()),
    };
    Ok((identity, proof))
}

fn tokens(settings: &Settings, proof: Proof, clock: &Arc<dyn Clock>) -> Result<Tokens, InputError> {
    let (manager, authority) = settings.cloud.endpoints();
    let mut connect = settings.http.clone();
    let url = match (&settings.token_url, &proof) {
        (Some(url), _) => url.clone(),
        (None, Proof::Machine { .. }) => {
            // The address is the machine's own, so nothing leaves it, and no proxy could reach it.
            connect.allow_plain_http = true;
            (connect.proxy, connect.proxy_user, connect.proxy_password) = (None, None, None);
            http::endpoint("token_url", None, MACHINE)?
        }
        (None, _) => {
            let tenant = tenant(settings.tenant_id.as_deref().unwrap_or_default())?;
            http::endpoint("token_url", None, &format!("{authority}/{tenant}/oauth2/v2.0/token"))?
        }
    };
    let client = Client::builder(NAME).base_url(&url).settings(&connect).clock(clock.clone());
    let client = client.build().map_err(|error| match error {
        InputError::Setting { setting, rule } if setting == "base_url" => {
            InputError::setting("token_url", rule)
        }
        other => other,
    })?;
    let audience = settings.audience.as_deref().unwrap_or(manager).trim().trim_end_matches('/').to_owned();
    if audience.is_empty() {
        return Err(InputError::setting("audience", "is the base URL of Resource Manager, or absent"));
    }
    Ok(Tokens { client, proof, audience })
}

fn client(
    settings: &Settings,
    token: &TokenSource,
    clock: &Arc<dyn Clock>,
    requests_a_minute: u32,
) -> Result<Client, InputError> {
    let base_url = http::endpoint("base_url", settings.base_url.as_ref(), settings.cloud.endpoints().0)?;
    Client::builder(NAME)
        .base_url(&base_url)
        .settings(&settings.http)
        .clock(clock.clone())
        .token(token.clone())
        .concurrency(16)
        .rate(requests_a_minute, Duration::from_mins(1))
        .refine(fault::refine)
        .build()
}

fn pasted(setting: &'static str, secret: &Secret) -> Result<Secret, InputError> {
    trimmed(setting, secret, "is not empty", |_| true)
}

fn guid(setting: &'static str, text: &str) -> Result<String, InputError> {
    let text = text.trim().to_ascii_lowercase();
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    let digits = text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    match text.as_str() {
        "" => Err(InputError::setting(setting, "is required")),
        _ if digits && lengths == [8, 4, 4, 4, 12] => Ok(text),
        _ => Err(InputError::setting(setting, "is an id like 00000000-0000-0000-0000-000000000000")),
    }
}

/// The id of a tenant or a domain of it, which becomes part of a path.
fn tenant(text: &str) -> Result<String, InputError> {
    guid("tenant_id", text).or_else(|error| match text.trim().parse::<Fqdn>() {
        Ok(domain) if domain.parent().is_some() => Ok(domain.to_string()),
        _ => Err(error),
    })
}

fn resource_group(text: &str) -> Result<String, InputError> {
    let text = text.trim();
    let rule = "is at most 90 letters, digits, hyphens, underscores, dots and parentheses";
    if api::is_group(text) { Ok(text.to_owned()) } else { Err(InputError::setting("resource_group", rule)) }
}
