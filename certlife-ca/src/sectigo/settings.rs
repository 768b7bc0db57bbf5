//! What the host states, checked and put together.

use std::{sync::Arc, time::Duration};

use certlife_core::{Clock, InputError, Secret, SystemClock, http};
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use super::{Sectigo, api::Api};

/// The settings of [`Sectigo`]: `login`, `customer_uri` and `password`; or the first two and a client certificate as
/// `http.client_identity`; or `client_id` and `client_secret`. All else is optional.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// The login of an administrator, best one of type API with the role MRAO.
    pub login: Option<String>,
    /// The administrator's password.
    pub password: Option<Secret>,
    /// The customer: the last part of the URL of the login page, `https://cert-manager.com/customer/{customer_uri}`.
    pub customer_uri: Option<String>,
    /// The id of an API key, for the newer host.
    pub client_id: Option<String>,
    /// The secret of that API key.
    pub client_secret: Option<Secret>,
    /// Where tokens for `client_id` come from. Default: Sectigo's public single sign-on.
    pub token_url: Option<Url>,
    /// Where the interface is, with or without `/api`. Default: `https://cert-manager.com/api`, its `/private/api` for a
    /// client certificate, `https://admin.enterprise.sectigo.com/api` for `client_id`. The second public instance has
    /// `hard` in its name.
    pub base_url: Option<Url>,
    /// Whether domains are validated with each order, because pre-validation is off for the account. Default: no, they
    /// are validated once for all orders.
    pub order_validation: bool,
    /// The name of a custom field that carries the reference by which an order is found again. Default: it goes to
    /// the end of the comments.
    pub reference_field: Option<String>,
    /// The most names in one certificate, 1 to 1000. Sectigo states none. Default: 250.
    pub max_identifiers: Option<usize>,
    /// Seconds that the CA gets to show an order whose answer was lost before it counts as never placed: it may still
    /// be working on it. Default: 60.
    pub settle_seconds: Option<u32>,
    /// How to connect.
    pub http: http::Settings,
}

impl Settings {
    const MAX_IDENTIFIERS: usize = 250;
    const SETTLE_SECONDS: u32 = 60;
}

/// Makes a [`Sectigo`].
#[derive(Debug, Clone)]
#[must_use]
pub struct SectigoBuilder {
    settings: Settings,
    clock: Arc<dyn Clock>,
}

impl SectigoBuilder {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, clock: Arc::new(SystemClock::default()) }
    }

    /// Sends requests to `url` instead, with or without `/api`. Defaults to the public host for the login.
    pub fn base_url(mut self, url: Url) -> Self {
        self.settings.base_url = Some(url);
        self
    }

    /// Fetches tokens from `url` instead. Defaults to Sectigo's public single sign-on.
    pub fn token_url(mut self, url: Url) -> Self {
        self.settings.token_url = Some(url);
        self
    }

    /// Has domains validated with each order, for accounts without pre-validation. Defaults to no.
    pub fn order_validation(mut self, with_orders: bool) -> Self {
        self.settings.order_validation = with_orders;
        self
    }

    /// Carries the reference of an order in the custom field of this name. Defaults to the end of the comments.
    pub fn reference_field(mut self, name: impl Into<String>) -> Self {
        self.settings.reference_field = Some(name.into());
        self
    }

    /// Allows this many names in one certificate. Defaults to 250.
    pub fn max_identifiers(mut self, limit: usize) -> Self {
        self.settings.max_identifiers = Some(limit);
        self
    }

    /// Gives the CA this many seconds to show an order whose answer was lost before it counts as never placed.
    /// Defaults to 60.
    pub fn settle_seconds(mut self, seconds: u32) -> Self {
        self.settings.settle_seconds = Some(seconds);
        self
    }

    /// Connects like this; a `client_identity` in it stays unless the login brought one. Defaults to
    /// [`http::Settings::default`].
    pub fn http(mut self, settings: http::Settings) -> Self {
        let identity = self.settings.http.client_identity.take();
        self.settings.http = settings;
        if identity.is_some() {
            self.settings.http.client_identity = identity;
        }
        self
    }

    /// Paces requests by this clock. Defaults to the operating system's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Checks the settings and returns the provider. Opens no connection.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] names the setting that is wrong and what it should look like.
    pub fn build(self) -> Result<Sectigo, InputError> {
        let Self { settings, clock } = self;
        let max_identifiers = settings.max_identifiers.unwrap_or(Settings::MAX_IDENTIFIERS);
        if !(1..=1_000).contains(&max_identifiers) {
            return Err(InputError::setting("max_identifiers", "use 1 to 1000"));
        }
        let reference_field = settings.reference_field.as_deref().map(str::trim);
        if reference_field.is_some_and(|name| name.is_empty() || name.chars().count() > 256) {
            return Err(InputError::setting("reference_field", "is the name of a custom field"));
        }
        let settle = settings.settle_seconds.unwrap_or(Settings::SETTLE_SECONDS);
        if settle > 3_600 {
            return Err(InputError::setting("settle_seconds", "use at most an hour"));
        }
        Ok(Sectigo {
            api: Api::new(&settings, &clock)?,
            clock,
            order_validation: settings.order_validation,
            reference_field: reference_field.map(str::to_owned),
            max_identifiers,
            settles_in: Duration::from_secs(settle.into()),
            has_password: settings.password.is_some(),
            identity: match (&settings.login, &settings.customer_uri, &settings.client_id) {
                (Some(login), Some(customer), _) => format!("{login} at {customer}"),
                (_, _, Some(id)) => format!("API key {id}"),
                _ => String::new(),
            },
        })
    }
}
