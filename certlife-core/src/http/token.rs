//! Short-lived credentials: fetched when needed, kept while they last, by one caller at a time.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::Mutex;

use crate::{
    error::{Error, ErrorKind, Operation, ProviderName, Result, Retry},
    secret::Secret,
    text::VendorText,
    time::{Clock, Timestamp},
};

/// A credential and how long it lasts.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "vendors build it")]
pub struct Token {
    /// The credential.
    pub secret: Secret,
    /// When it ends; `None` if it lasts until it is refused.
    pub expires: Option<Timestamp>,
}

/// Gets a new credential, such as from an OAuth token endpoint or a login call.
///
/// # Contract
///
/// * **Fresh.** Each call asks for a new one; [`TokenSource`] does the keeping.
/// * **Elsewhere.** It sends through another client than the one that uses the source, or it would wait
///   for itself.
/// * **Abandonable.** A dropped call has no effect but perhaps an unused credential.
#[async_trait]
pub trait FetchToken: fmt::Debug + Send + Sync + 'static {
    /// Fetches a credential.
    async fn fetch(&self) -> Result<Token>;
}

/// Keeps one short-lived credential. Clones share it.
///
/// It is refreshed a minute before it ends (half-way for one that lasts less than two). While one caller
/// fetches, the others wait and share what comes out, the error too. If an early refresh fails, the old
/// credential serves until its end.
#[derive(Debug, Clone)]
pub struct TokenSource(Arc<Source>);

#[derive(Debug)]
struct Source {
    fetch: Box<dyn FetchToken>,
    clock: Arc<dyn Clock>,
    /// Held during a fetch: that is what makes the others wait.
    kept: Mutex<Kept>,
    /// How many fetches have ended. One that ended while a caller waited speaks for that caller too.
    fetched: AtomicU64,
}

#[derive(Debug, Default)]
struct Kept {
    token: Option<Token>,
    refresh_at: Option<Timestamp>,
    failure: Option<SharedFailure>,
}

impl TokenSource {
    /// How long before its end a credential is replaced.
    const MARGIN: Duration = Duration::from_mins(1);
    /// How long the old credential serves before another early refresh, after one has failed.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// Makes a source that is empty at first.
    pub fn new(fetch: impl FetchToken, clock: Arc<dyn Clock>) -> Self {
        let (kept, fetched) = (Mutex::default(), AtomicU64::new(0));
        Self(Arc::new(Source { fetch: Box::new(fetch), clock, kept, fetched }))
    }

    /// Returns a credential that still lasts, fetching it if need be.
    ///
    /// Dropping the call lets the next caller fetch.
    ///
    /// # Errors
    ///
    /// That of the [`FetchToken`]; callers who waited for the same fetch get its kind, retry and words.
    pub async fn token(&self) -> Result<Secret> {
        let source = &*self.0;
        let before = source.fetched.load(Ordering::Acquire);
        let mut kept = source.kept.lock().await;
        if let Some(token) = kept.fresh(source.clock.now()) {
            return Ok(token);
        }
        if source.fetched.load(Ordering::Acquire) != before
            && let Some(failure) = &kept.failure
        {
            return Err(failure.again());
        }
        kept.failure = None;
        let outcome = source.fetch.fetch().await;
        source.fetched.fetch_add(1, Ordering::AcqRel);
        let now = source.clock.now();
        match outcome {
            Ok(token) => Ok(kept.keep(token, now)),
            Err(error) => {
                if let Some(token) = kept.lasting(now) {
                    kept.refresh_at = Some(now + Self::PATIENCE);
                    return Ok(token);
                }
                kept.failure = Some(SharedFailure::of(&error));
                Err(error)
            }
        }
    }

    /// Forgets `refused`, which a server did not accept; another one that was fetched since stays.
    pub async fn invalidate(&self, refused: &Secret) {
        let mut kept = self.0.kept.lock().await;
        if kept.token.as_ref().is_some_and(|token| token.secret.expose() == refused.expose()) {
            kept.token = None;
        }
    }
}

impl Kept {
    fn keep(&mut self, token: Token, now: Timestamp) -> Secret {
        self.refresh_at = token.expires.map(|end| end - TokenSource::MARGIN.min(end.since(now) / 2));
        self.token.insert(token).secret.clone()
    }

    /// The credential, unless it is time for another one.
    fn fresh(&self, now: Timestamp) -> Option<Secret> {
        let early = self.refresh_at.is_none_or(|moment| now < moment);
        self.lasting(now).filter(|_| early)
    }

    /// The credential, unless it has ended.
    fn lasting(&self, now: Timestamp) -> Option<Secret> {
        let token = self.token.as_ref()?;
        token.expires.is_none_or(|end| now < end).then(|| token.secret.clone())
    }
}

/// An error that several callers get.
#[derive(Debug)]
struct SharedFailure {
    provider: ProviderName,
    operation: Operation,
    kind: ErrorKind,
    retry: Retry,
    words: Option<VendorText>,
}

impl SharedFailure {
    fn of(error: &Error) -> Self {
        Self {
            provider: error.provider().clone(),
            operation: error.operation(),
            kind: error.kind().clone(),
            retry: error.retry(),
            words: std::error::Error::source(error).map(|source| VendorText::new(&source.to_string())),
        }
    }

    fn again(&self) -> Error {
        let error = Error::new(self.provider.clone(), self.operation, self.kind.clone()).retry_as(self.retry);
        match &self.words {
            Some(words) => error.because(words.to_string()),
            None => error,
        }
    }
}
