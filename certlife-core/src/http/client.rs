//! The client: one credential at one vendor, with its limits.

use std::{fmt, sync::Arc, time::Duration};

use ::http::{HeaderMap, Method};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use tokio::sync::Semaphore;
use url::{Origin, Url};

use super::{
    address,
    limiter::{Limiter, Rate},
    mask::Mask,
    page::Pages,
    request::{Request, header_value, secret_header_value},
    retry::Backoff,
    settings::Settings,
    sign::Signer,
    status::{Answer, Refine, Refinement},
    token::TokenSource,
};
use crate::{
    error::{ErrorKind, Operation, ProviderName},
    input::InputError,
    secret::Secret,
    time::{Clock, SystemClock},
};

/// Sends requests to one vendor with one credential.
///
/// Clones share connections, limits and tokens, so make one per account and keep it.
///
/// ```
/// use std::time::Duration;
///
/// use certlife_core::{Operation, ProviderName, Result, Secret, http::Client};
/// use url::Url;
///
/// #[derive(serde::Deserialize)]
/// struct Zone {
///     id: String,
/// }
///
/// async fn zone(client: &Client, id: &str) -> Result<Zone> {
///     client.get(Operation::FindZone, &["zones", id]).query("per_page", "50").send().await?.json()
/// }
///
/// let client = Client::builder(ProviderName::new("cloudflare"))
///     .base_url(&Url::parse("https://api.cloudflare.com/client/v4")?)
///     .bearer(Secret::new("token"))
///     .rate(1_200, Duration::from_mins(5))
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Client(Arc<Shared>);

/// What the clones of a client share.
pub(super) struct Shared {
    pub(super) provider: ProviderName,
    pub(super) base_url: Url,
    /// The origins that an address from a server may have.
    pub(super) origins: Vec<Origin>,
    pub(super) connector: reqwest::Client,
    pub(super) headers: HeaderMap,
    /// The headers that an anonymous request goes without.
    pub(super) credentials: HeaderMap,
    pub(super) mask: Mask,
    pub(super) limiter: Option<Limiter>,
    pub(super) concurrency: Option<Semaphore>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) backoff: Backoff,
    pub(super) attempts: u32,
    pub(super) max_body: usize,
    pub(super) signer: Option<Arc<dyn Signer>>,
    pub(super) token: Option<TokenSource>,
    pub(super) refine: Option<Arc<Refine>>,
}

impl Client {
    /// Starts a client for `provider`, which is how errors, logs and metrics name it.
    pub fn builder(provider: ProviderName) -> ClientBuilder {
        ClientBuilder::new(provider)
    }

    /// Starts a request to the base URL with `segments` appended to its path.
    ///
    /// Each segment is percent-encoded on its own, so that it stays one segment whatever it holds. An empty
    /// segment, `.` or `..` makes [`Request::send`] fail with [`ErrorKind::Input`]. Without segments it is
    /// the base URL itself.
    pub fn request(&self, method: Method, operation: Operation, segments: &[&str]) -> Request {
        match address::join(&self.0.base_url, segments) {
            Ok(url) => Request::new(self.clone(), method, operation, url),
            Err(rule) => {
                let value = segments.join("/").into();
                let input = InputError::Value { field: "path".into(), value, rule: rule.into() };
                let request = Request::new(self.clone(), method, operation, self.0.base_url.clone());
                request.fail(ErrorKind::Input(input))
            }
        }
    }

    /// Starts a GET.
    pub fn get(&self, operation: Operation, segments: &[&str]) -> Request {
        self.request(Method::GET, operation, segments)
    }

    /// Starts a HEAD.
    pub fn head(&self, operation: Operation, segments: &[&str]) -> Request {
        self.request(Method::HEAD, operation, segments)
    }

    /// Starts a POST.
    pub fn post(&self, operation: Operation, segments: &[&str]) -> Request {
        self.request(Method::POST, operation, segments)
    }

    /// Starts a PUT.
    pub fn put(&self, operation: Operation, segments: &[&str]) -> Request {
        self.request(Method::PUT, operation, segments)
    }

    /// Starts a PATCH.
    pub fn patch(&self, operation: Operation, segments: &[&str]) -> Request {
        self.request(Method::PATCH, operation, segments)
    }

    /// Starts a DELETE.
    pub fn delete(&self, operation: Operation, segments: &[&str]) -> Request {
        self.request(Method::DELETE, operation, segments)
    }

    /// Starts a request to an address that a server handed out, with the client's credentials.
    ///
    /// Only the origin of the base URL and those of [`ClientBuilder::also_allow`] are called. For any other,
    /// and for one with a user name, [`Request::send`] fails with [`ErrorKind::Protocol`] and
    /// [`Retry::Never`](crate::Retry::Never) before anything is sent: nothing that a server says chooses
    /// whom we call.
    pub fn absolute(&self, method: Method, operation: Operation, url: &Url) -> Request {
        let allowed = self.0.origins.contains(&url.origin()) && !address::has_userinfo(url);
        let mut url = url.clone();
        url.set_fragment(None);
        let request = Request::new(self.clone(), method, operation, url);
        if allowed {
            request
        } else {
            request.fail(ErrorKind::Protocol(
                "it hands out an address that is not on the list of allowed origins".into(),
            ))
        }
    }

    /// Reads a listing page by page, to its end.
    pub fn pages(&self, operation: Operation) -> Pages {
        Pages::new(self.0.provider.clone(), operation)
    }

    /// The vendor's name.
    pub fn provider(&self) -> &ProviderName {
        &self.0.provider
    }

    /// The clock that paces this client.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.0
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("provider", &self.0.provider)
            .field("base_url", &self.0.mask.apply(self.0.base_url.as_str()))
            .finish_non_exhaustive()
    }
}

/// Makes a [`Client`]. What is wrong with the values is told by [`build`](Self::build).
#[must_use]
pub struct ClientBuilder {
    provider: ProviderName,
    base_url: Option<Url>,
    also_allowed: Vec<Url>,
    settings: Settings,
    user_agent: String,
    headers: HeaderMap,
    credentials: HeaderMap,
    mask: Mask,
    rates: Vec<Rate>,
    concurrency: Option<usize>,
    clock: Arc<dyn Clock>,
    seed: Option<u64>,
    attempts: u32,
    max_body: usize,
    signer: Option<Arc<dyn Signer>>,
    token: Option<TokenSource>,
    refine: Option<Arc<Refine>>,
    /// The first thing that was wrong.
    fault: Option<InputError>,
}

impl ClientBuilder {
    fn new(provider: ProviderName) -> Self {
        Self {
            provider,
            base_url: None,
            also_allowed: Vec::new(),
            settings: Settings::default(),
            user_agent: concat!("certlife/", env!("CARGO_PKG_VERSION")).to_owned(),
            headers: HeaderMap::new(),
            credentials: HeaderMap::new(),
            mask: Mask::default(),
            rates: Vec::new(),
            concurrency: None,
            clock: Arc::new(SystemClock),
            seed: None,
            attempts: 4,
            max_body: 4 << 20,
            signer: None,
            token: None,
            refine: None,
            fault: None,
        }
    }

    /// Sends requests under `url`. Required.
    ///
    /// `https`, or `http` for this machine (`localhost`, 127.0.0.0/8, `::1`) and where
    /// [`Settings::allow_plain_http`] says so.
    pub fn base_url(mut self, url: &Url) -> Self {
        self.base_url = Some(url.clone());
        self
    }

    /// Allows [`Client::absolute`] to call the origin of `url` too, with the same credentials.
    pub fn also_allow(mut self, url: &Url) -> Self {
        self.also_allowed.push(url.clone());
        self
    }

    /// Sends `token` as a bearer token (RFC 6750 §2.1).
    pub fn bearer(mut self, token: impl Into<Secret>) -> Self {
        let token = token.into();
        self.mask.hide(&token);
        self.credential("authorization", &Secret::from(format!("Bearer {}", token.expose())))
    }

    /// Sends user name and password by the Basic scheme (RFC 7617).
    pub fn basic(mut self, user: &str, password: impl Into<Secret>) -> Self {
        let password = password.into();
        let pair = Secret::from(BASE64.encode(format!("{user}:{}", password.expose())));
        self.mask.hide(&password);
        self.mask.hide(&pair);
        self.credential("authorization", &Secret::from(format!("Basic {}", pair.expose())))
    }

    /// Sends a bearer token that is fetched when needed, and anew after a 401.
    pub fn token(mut self, source: TokenSource) -> Self {
        self.token = Some(source);
        self
    }

    /// Sends this header with every request. A request may replace it.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match header_value(name, value) {
            Ok((name, value)) => {
                self.headers.insert(name, value);
                self
            }
            Err(fault) => self.refuse(fault),
        }
    }

    /// Sends this header with every request that is not anonymous, and masks its value wherever it is echoed.
    pub fn secret_header(mut self, name: &str, value: impl Into<Secret>) -> Self {
        let value = value.into();
        self.mask.hide(&value);
        self.credential(name, &value)
    }

    /// Masks `secret` wherever it is echoed, for one that travels in a body, a path or a signature.
    ///
    /// A secret of fewer than four characters is not masked.
    pub fn hide(mut self, secret: &Secret) -> Self {
        self.mask.hide(secret);
        self
    }

    /// Connects as `settings` say.
    pub fn settings(mut self, settings: &Settings) -> Self {
        self.settings = settings.clone();
        self
    }

    /// Sends at most `requests` in any stretch of time as long as `period`: the vendor's published figure.
    ///
    /// Call it again for a further limit; all hold. A call whose turn would come after its
    /// [deadline](Request::deadline) fails with [`ErrorKind::RateLimited`] and
    /// [`Retry::After`](crate::Retry::After), and nothing is sent. Defaults to no limit.
    pub fn rate(mut self, requests: u32, period: Duration) -> Self {
        if requests == 0 {
            return self.refuse(InputError::setting("rate", "allow at least one request"));
        }
        self.rates.push(Rate { requests, period });
        self
    }

    /// Has at most `requests` under way at a time; others wait. Defaults to no limit.
    pub fn concurrency(mut self, requests: usize) -> Self {
        if requests == 0 || requests > Semaphore::MAX_PERMITS {
            return self.refuse(InputError::setting("concurrency", "allow at least one request"));
        }
        self.concurrency = Some(requests);
        self
    }

    /// Reads the time from `clock` and sleeps by it. Defaults to the operating system's.
    ///
    /// The timeouts of [`Settings`] run by the operating system's clock in any case.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Makes the random part of the back-off repeatable. Defaults to a random seed.
    pub fn jitter_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sends a request at most this many times. At least 1; defaults to 4.
    pub fn retries(mut self, max_attempts: u32) -> Self {
        self.attempts = max_attempts.max(1);
        self
    }

    /// Reads at most this much of a body, decompressed. Defaults to 4 MiB.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Names the sender. Defaults to `certlife/` and the version.
    pub fn user_agent(mut self, text: impl Into<String>) -> Self {
        self.user_agent = text.into();
        self
    }

    /// Signs every request, unless it has a signer of its own.
    pub fn sign_with(mut self, signer: impl Signer) -> Self {
        self.signer = Some(Arc::new(signer));
        self
    }

    /// Lets `refine` say what an answer means by its body.
    ///
    /// It sees every answer but those that the request [accepts](Request::accept_status) or takes
    /// [raw](Request::raw), those of 200 to 299 included, since some vendors put errors there. `None` leaves
    /// the meaning to the status.
    pub fn refine(
        mut self,
        refine: impl Fn(&Answer<'_>) -> Option<Refinement> + Send + Sync + 'static,
    ) -> Self {
        self.refine = Some(Arc::new(refine));
        self
    }

    /// Checks the values and returns the client. Opens no connection.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] names the setting that is wrong and what it should look like.
    pub fn build(self) -> Result<Client, InputError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let base_url = self.base_url.ok_or_else(|| InputError::setting("base_url", "is required"))?;
        let plain = self.settings.allow_plain_http;
        address::check_base(&base_url, plain).map_err(|rule| InputError::setting("base_url", rule))?;
        let mut origins = vec![base_url.origin()];
        for url in &self.also_allowed {
            address::check_base(url, plain).map_err(|rule| InputError::setting("also_allow", rule))?;
            origins.push(url.origin());
        }
        header_value("user-agent", &self.user_agent)?;
        Ok(Client(Arc::new(Shared {
            provider: self.provider,
            base_url,
            origins,
            connector: self.settings.connector(&self.user_agent)?,
            headers: self.headers,
            credentials: self.credentials,
            mask: self.mask,
            limiter: (!self.rates.is_empty()).then(|| Limiter::new(&self.rates)),
            concurrency: self.concurrency.map(Semaphore::new),
            clock: self.clock,
            backoff: Backoff::new(self.seed.unwrap_or_else(rand::random)),
            attempts: self.attempts,
            max_body: self.max_body,
            signer: self.signer,
            token: self.token,
            refine: self.refine,
        })))
    }

    fn credential(mut self, name: &str, value: &Secret) -> Self {
        match secret_header_value(name, value) {
            Ok((name, value)) => {
                self.credentials.insert(name, value);
                self
            }
            Err(fault) => self.refuse(fault),
        }
    }

    fn refuse(mut self, fault: InputError) -> Self {
        self.fault.get_or_insert(fault);
        self
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("provider", &self.provider).finish_non_exhaustive()
    }
}
