//! The three ways to log in, and the client that goes with each.

use std::{sync::Arc, time::Duration};

use certlife_core::{
    Clock, ErrorKind, InputError, Operation, Result, Secret, async_trait,
    http::{self, Answer, Client, ClientBuilder, FetchToken, Refinement, Token, TokenSource},
};
use serde::Deserialize;
use url::Url;

use super::{NAME, api::Api, fault, settings::Settings, wire};

/// "Base URLs" and "Authentication" in Sectigo's REST reference.
const HEADER_HOST: &str = "https://cert-manager.com/api";
const CERTIFICATE_HOST: &str = "https://cert-manager.com/private/api";
const OAUTH_HOST: &str = "https://admin.enterprise.sectigo.com/api";
const TOKEN_URL: &str = "https://auth.sso.sectigo.com/auth/realms/apiclients/protocol/openid-connect/token";

/// Which way the settings choose.
enum Login<'a> {
    Password { login: &'a str, customer: &'a str, password: &'a Secret },
    Certificate { login: &'a str, customer: &'a str },
    OAuth { id: &'a str, secret: &'a Secret },
}

impl<'a> Login<'a> {
    fn of(settings: &'a Settings) -> Result<Self, InputError> {
        let needs = |setting: &'static str, rule: &'static str| Err(InputError::setting(setting, rule));
        let login = given("login", settings.login.as_deref())?;
        let customer = given("customer_uri", settings.customer_uri.as_deref())?;
        let id = given("client_id", settings.client_id.as_deref())?;
        let blank = |secret: &Secret| secret.expose().trim().is_empty();
        if settings.password.as_ref().is_some_and(blank) {
            return needs("password", "must not be empty");
        }
        if settings.client_secret.as_ref().is_some_and(blank) {
            return needs("client_secret", "must not be empty");
        }
        match (id, &settings.client_secret, login) {
            (Some(_), _, Some(_)) => needs("client_id", "stands alone, without `login` and `password`"),
            (Some(_), None, _) => needs("client_secret", "is required with `client_id`"),
            (None, Some(_), _) => needs("client_id", "is required with `client_secret`"),
            (Some(_), Some(_), None) if settings.password.is_some() => {
                needs("password", "goes with `login`, not with `client_id`")
            }
            (Some(id), Some(secret), None) => Ok(Self::OAuth { id, secret }),
            (None, None, None) => needs("login", "is required, or `client_id` and `client_secret`"),
            (None, None, Some(login)) => {
                let Some(customer) = customer else {
                    return needs("customer_uri", "is required: the last part of the URL of your login page");
                };
                if settings.token_url.is_some() {
                    return needs("token_url", "goes with `client_id`");
                }
                match (&settings.password, &settings.http.client_identity) {
                    (Some(password), _) => Ok(Self::Password { login, customer, password }),
                    (None, Some(_)) => Ok(Self::Certificate { login, customer }),
                    (None, None) => needs("password", "is required, or `http.client_identity`"),
                }
            }
        }
    }
}

fn given<'a>(setting: &'static str, value: Option<&'a str>) -> Result<Option<&'a str>, InputError> {
    match value.map(str::trim) {
        Some("") => Err(InputError::setting(setting, "must not be empty")),
        value => Ok(value),
    }
}

impl Api {
    pub(super) fn new(settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Self, InputError> {
        let login = Login::of(settings)?;
        let client = |host| {
            let base_url = base_url(settings.base_url.as_ref(), host)?;
            Ok::<_, InputError>(builder(&base_url, &settings.http, clock))
        };
        let http = match login {
            Login::Password { login, customer, password } => client(HEADER_HOST)?
                .header("login", login)
                .header("customerUri", customer)
                .secret_header("password", password.clone()),
            // The certificate is in the settings of the connection.
            Login::Certificate { login, customer } => {
                client(CERTIFICATE_HOST)?.header("login", login).header("customerUri", customer)
            }
            Login::OAuth { id, secret } => {
                let url = http::endpoint("token_url", settings.token_url.as_ref(), TOKEN_URL)?;
                let tokens = builder(&url, &settings.http, clock).refine(refine_token).build();
                let client_for_tokens = tokens.map_err(|error| match error {
                    InputError::Setting { setting, rule } if setting == "base_url" => {
                        InputError::setting("token_url", rule)
                    }
                    error => error,
                })?;
                let tokens = Tokens { client: client_for_tokens, id: id.to_owned(), secret: secret.clone() };
                client(OAUTH_HOST)?.hide(secret).token(TokenSource::new(tokens, clock.clone()))
            }
        };
        Ok(Self { http: http.refine(fault::refine).build()?, oauth: matches!(login, Login::OAuth { .. }) })
    }
}

fn builder(base_url: &Url, settings: &http::Settings, clock: &Arc<dyn Clock>) -> ClientBuilder {
    // Sectigo publishes no rate limit. Four at a time is what clients of the field keep to.
    Client::builder(NAME).base_url(base_url).settings(settings).clock(clock.clone()).concurrency(4)
}

/// The base of the interface. People give it with and without `/api`, with and without a final slash.
fn base_url(given: Option<&Url>, default: &str) -> Result<Url, InputError> {
    let usual = http::endpoint("base_url", None, default)?;
    let Some(given) = given else { return Ok(usual) };
    let mut url = given.clone();
    let path = url.path().trim_end_matches('/').to_owned();
    if path.ends_with("/api") {
        url.set_path(&path);
    } else if path.is_empty() {
        url.set_path(usual.path());
    } else {
        url.set_path(&format!("{path}/api"));
    }
    Ok(url)
}

/// Fetches access tokens by the client's own credentials (RFC 6749 §4.4).
#[derive(Debug)]
struct Tokens {
    /// Its base URL is that of the token endpoint.
    client: Client,
    id: String,
    secret: Secret,
}

#[derive(Deserialize)]
struct GivenToken {
    access_token: Secret,
    #[serde(default, rename = "expires_in", deserialize_with = "wire::number")]
    lasts_seconds: Option<i64>,
}

/// How long a token lasts if the answer does not say, as a client of the field has it.
const USUAL_LIFE: Duration = Duration::from_mins(5);

#[async_trait]
impl FetchToken for Tokens {
    async fn fetch(&self) -> Result<Token> {
        let request = self.client.post(Operation::OpenAccount, &[]);
        let request = request.form(&[("grant_type", "client_credentials"), ("client_id", &self.id)]);
        // A token that nobody uses does no harm.
        let request = request.secret_form("client_secret", &self.secret).replayable(true);
        let GivenToken { access_token, lasts_seconds } = request.send().await?.json()?;
        let seconds = lasts_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let lasts = seconds.map_or(USUAL_LIFE, Duration::from_secs);
        Ok(Token { secret: access_token, expires: Some(self.client.clock().now() + lasts) })
    }
}

/// The errors of RFC 6749 §5.2 that mean wrong credentials.
fn refine_token(answer: &Answer<'_>) -> Option<Refinement> {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    let refusal: Refusal = answer.json()?;
    let wrong = matches!(refusal.error.as_str(), "invalid_client" | "unauthorized_client" | "invalid_grant");
    wrong.then(|| Refinement::new(ErrorKind::Unauthorized))
}
