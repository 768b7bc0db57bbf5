//! Requests to one ACME server: its directory, its nonces, and signed requests that use them well.
//!
//! A signed request is sent once: it cannot be sent again with the same nonce, and waiting is the engine's.
//! Only a refused nonce is answered at once by another attempt, because that is what refusing it asks for
//! (RFC 8555 §6.5).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use certlife_core::{
    Error, ErrorKind, Operation, ProviderName, Result, Retry, Timestamp,
    http::{Client, Method, Response, StatusCode},
};
use serde::Serialize;
use tokio::sync::{Mutex, Semaphore};
use url::{Origin, Url};

use super::{
    jws::{self, By},
    nonce::{Nonce, Nonces},
    problem::{Failure, Refusal},
    wire::Directory,
};

/// A connection to one ACME server. What it remembers is a cache.
#[derive(Debug)]
pub(super) struct Session {
    client: Client,
    directory_url: Url,
    /// The origins that the server may send us to.
    origins: Vec<Origin>,
    directory: Mutex<Option<(Arc<Directory>, Timestamp)>>,
    nonces: Nonces,
    /// One permit a signed request under way, so that no more nonces are ever out than may be kept.
    slots: Semaphore,
    counters: Counters,
}

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    nonce_requests: AtomicU64,
    refused_nonces: AtomicU64,
}

/// How many requests an [`Acme`](super::Acme) has sent so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// All requests.
    pub requests: u64,
    /// Those that only asked for a nonce.
    pub nonce_requests: u64,
    /// Those that were answered with `badNonce` and sent again. CAs forget nonces; test servers refuse some on purpose.
    pub refused_nonces: u64,
}

/// A signed request.
#[derive(Debug)]
pub(super) struct Call<'a> {
    operation: Operation,
    url: &'a Url,
    payload: String,
    accept: &'static str,
    /// Whether carrying it out twice does no more than carrying it out once.
    repeatable: bool,
}

impl<'a> Call<'a> {
    /// Asks (POST-as-GET, RFC 8555 §6.3).
    pub(super) fn ask(operation: Operation, url: &'a Url) -> Self {
        Self { operation, url, payload: String::new(), accept: "application/json", repeatable: true }
    }

    /// Sends `payload`, which carried out twice does no more than once.
    pub(super) fn send(operation: Operation, url: &'a Url, payload: &impl Serialize) -> Result<Self> {
        let payload = serde_json::to_string(payload).map_err(|error| {
            let kind = ErrorKind::Protocol("the request cannot be written as JSON".into());
            Error::new(super::NAME, operation, kind).retry_as(Retry::Never).because(error)
        })?;
        Ok(Self { payload, ..Self::ask(operation, url) })
    }

    /// Says that carrying it out twice would do more.
    #[must_use]
    pub(super) fn once(mut self) -> Self {
        self.repeatable = false;
        self
    }

    /// Asks for another media type than JSON.
    #[must_use]
    pub(super) fn accept(mut self, media_type: &'static str) -> Self {
        self.accept = media_type;
        self
    }
}

impl Session {
    /// How often a request is sent before its refused nonce is reported. A server that refuses every fifth
    /// one at random gets as far as that once in 400 000 requests.
    const NONCES_TRIED: u32 = 8;
    /// How long the directory is believed. It changes about as often as a CA adds a profile.
    const DIRECTORY_AGE: Duration = Duration::from_hours(1);
    /// The longest address that is taken from the server.
    const LONGEST_URL: usize = 2_000;

    pub(super) fn new(client: Client, directory_url: Url, also_allowed: &[Url]) -> Self {
        let origins = std::iter::once(&directory_url).chain(also_allowed).map(Url::origin).collect();
        Self {
            client,
            directory_url,
            origins,
            directory: Mutex::default(),
            nonces: Nonces::default(),
            slots: Semaphore::new(Nonces::MOST),
            counters: Counters::default(),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.client.clock().now()
    }

    pub(super) fn statistics(&self) -> Statistics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Statistics {
            requests: read(&self.counters.requests),
            nonce_requests: read(&self.counters.nonce_requests),
            refused_nonces: read(&self.counters.refused_nonces),
        }
    }

    /// Makes an error about this server.
    pub(super) fn error(&self, operation: Operation, kind: ErrorKind) -> Error {
        Error::new(self.provider(), operation, kind)
    }

    pub(super) fn provider(&self) -> ProviderName {
        self.client.provider().clone()
    }

    /// Checks an address that the server handed out, before it is kept.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] if it leads to another origin than those allowed, or is too long.
    pub(super) fn admit(&self, operation: Operation, url: &Url) -> Result<()> {
        let rule = if url.as_str().len() > Self::LONGEST_URL {
            "it hands out an address of more than 2000 characters"
        } else if !self.origins.contains(&url.origin()) {
            "it hands out an address that is not on the list of allowed origins"
        } else {
            return Ok(());
        };
        Err(self.error(operation, ErrorKind::Protocol(rule.into())).retry_as(Retry::Never))
    }

    /// Reads the address of a new resource from the `Location` header.
    pub(super) fn location(&self, operation: Operation, response: &Response) -> Result<Url> {
        let url = response.header("location").and_then(|text| self.directory_url.join(text).ok());
        let url = url.ok_or_else(|| response.unexpected("it does not say where the new resource is"))?;
        self.admit(operation, &url)?;
        Ok(url)
    }

    /// The directory, from memory unless it is old.
    pub(super) async fn directory(&self, operation: Operation) -> Result<Arc<Directory>> {
        let mut known = self.directory.lock().await;
        match &*known {
            Some((directory, read)) if self.now().since(*read) < Self::DIRECTORY_AGE => Ok(directory.clone()),
            _ => self.read_directory(operation, &mut known).await,
        }
    }

    /// The directory as it is now.
    pub(super) async fn fresh_directory(&self, operation: Operation) -> Result<Arc<Directory>> {
        self.read_directory(operation, &mut *self.directory.lock().await).await
    }

    async fn read_directory(
        &self,
        operation: Operation,
        known: &mut Option<(Arc<Directory>, Timestamp)>,
    ) -> Result<Arc<Directory>> {
        let response = self.get(operation, &self.directory_url).await?;
        let directory: Arc<Directory> = Arc::new(response.json()?);
        *known = Some((directory.clone(), self.now()));
        Ok(directory)
    }

    /// Reads what needs no signature: the directory and renewal information.
    pub(super) async fn get(&self, operation: Operation, url: &Url) -> Result<Response> {
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        let request = self.client.absolute(Method::GET, operation, url);
        request.header("accept", "application/json").send().await
    }

    /// Sends a signed request.
    pub(super) async fn post(&self, call: &Call<'_>, by: By<'_>) -> Result<Response, Failure> {
        let directory = self.directory(call.operation).await?;
        // Acquiring fails only for a closed semaphore, and nobody closes it.
        let _slot = self.slots.acquire().await.ok();
        let mut tried = 0;
        loop {
            let nonce = self.nonce(call.operation, &directory).await?;
            let body = by.sign(call.url, nonce.as_str(), &call.payload)?;
            let answered = self.exchange(call, body).await;
            drop(nonce);
            let response = answered?;
            self.nonces.keep(response.header("replay-nonce"), self.now());
            if response.status().is_success() {
                return Ok(response);
            }
            let refusal = Refusal::read(&response, self.now());
            tried += 1;
            if !refusal.is("badNonce") || tried == Self::NONCES_TRIED {
                return Err(Failure::Refused(Box::new(refusal)));
            }
            self.counters.refused_nonces.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends a body once. Refusals are answers here; what the server may be out of order for is an error.
    async fn exchange(&self, call: &Call<'_>, body: Vec<u8>) -> Result<Response> {
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        self.client
            .absolute(Method::POST, call.operation, call.url)
            .header("accept", call.accept)
            .body(body, jws::MEDIA_TYPE)
            .accept_status(&REFUSALS)
            .replayable(call.repeatable)
            // The nonce is spent, so the layer below must not send this body again.
            .deadline(Duration::ZERO)
            .send()
            .await
    }

    /// Takes a nonce that is there, or fetches one. CAs limit how fast a client may fetch them; then the
    /// answers to other requests, which bring one each, are waited for.
    async fn nonce(&self, operation: Operation, directory: &Directory) -> Result<Nonce<'_>> {
        loop {
            let changed = self.nonces.changed();
            if let Some(nonce) = self.nonces.take(self.now()) {
                return Ok(nonce);
            }
            let refused = match self.fetch_nonce(operation, directory).await {
                Ok(nonce) => return Ok(nonce),
                Err(error) => error,
            };
            if *refused.kind() != ErrorKind::RateLimited {
                return Err(refused);
            }
            // One may have come back meanwhile.
            if let Some(nonce) = self.nonces.take(self.now()) {
                return Ok(nonce);
            }
            if !self.nonces.some_are_out() {
                return Err(refused);
            }
            changed.await;
        }
    }

    async fn fetch_nonce(&self, operation: Operation, directory: &Directory) -> Result<Nonce<'_>> {
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        self.counters.nonce_requests.fetch_add(1, Ordering::Relaxed);
        let request = self.client.absolute(Method::HEAD, operation, &directory.new_nonce);
        let response = request.deadline(Duration::ZERO).send().await?;
        let nonce = self.nonces.take_from(response.header("replay-nonce"));
        nonce.ok_or_else(|| response.unexpected("it hands out no valid nonce"))
    }
}

/// The statuses under which CAs send problem documents about a request. What is missing here has the meaning
/// that it has everywhere.
const REFUSALS: [StatusCode; 15] = [
    StatusCode::BAD_REQUEST,
    StatusCode::UNAUTHORIZED,
    StatusCode::PAYMENT_REQUIRED,
    StatusCode::FORBIDDEN,
    StatusCode::NOT_FOUND,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::NOT_ACCEPTABLE,
    StatusCode::CONFLICT,
    StatusCode::GONE,
    StatusCode::LENGTH_REQUIRED,
    StatusCode::PRECONDITION_FAILED,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    StatusCode::UNPROCESSABLE_ENTITY,
    StatusCode::TOO_MANY_REQUESTS,
];
