//! Carries a request out: attempts, pauses between them, and what comes of it.

use std::{fmt, time::Duration};

use ::http::{HeaderMap, Method, StatusCode, header};
use bytes::{Bytes, BytesMut};

use super::{
    address,
    mask::Mask,
    request::{Body, Request, secret_header_value},
    response::{Response, is_page},
    retry::retry_after,
    sign::PreparedRequest,
    status::{Again, Answer, meaning},
};
use crate::{
    error::{Error, ErrorKind, Operation, ProviderName, Result, Retry},
    secret::Secret,
    text::VendorText,
    time::Timestamp,
};

/// Sends `request` until it is answered or it makes no sense to go on.
pub(super) async fn run(request: Request) -> Result<Response> {
    let mut call = Call::new(request);
    let outcome = call.run().await;
    let status = match &outcome {
        Ok(answer) => answer.status.as_str().to_owned(),
        Err(error) => error.kind().code().to_owned(),
    };
    tracing::debug!(
        provider = %call.exchange.provider,
        operation = %call.exchange.operation,
        method = %call.exchange.method,
        url = %call.exchange.url,
        status,
        attempts = call.exchange.attempts,
        elapsed_ms = call.exchange.elapsed.as_millis(),
        "HTTP request"
    );
    outcome.map(|answer| Response {
        status: answer.status,
        headers: answer.headers,
        body: answer.body,
        exchange: call.exchange,
    })
}

/// A request and its fate so far, as errors tell it.
pub(super) struct Exchange {
    pub(super) provider: ProviderName,
    pub(super) operation: Operation,
    pub(super) replayable: bool,
    method: Method,
    url: VendorText,
    attempts: u32,
    elapsed: Duration,
    mask: Mask,
}

impl Exchange {
    /// Describes the failure; `detail` must be masked.
    pub(super) fn failed(&self, status: Option<StatusCode>, detail: impl Into<VendorText>) -> FailedExchange {
        FailedExchange {
            method: self.method.clone(),
            url: self.url.clone(),
            status,
            attempts: self.attempts,
            elapsed: self.elapsed,
            detail: detail.into(),
        }
    }
}

/// The source of an error of this layer: the request, redacted, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedExchange {
    method: Method,
    url: VendorText,
    status: Option<StatusCode>,
    attempts: u32,
    elapsed: Duration,
    detail: VendorText,
}

impl FailedExchange {
    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The URL without userinfo, query values and secrets.
    pub fn url(&self) -> &VendorText {
        &self.url
    }

    /// The status of the last answer, if there was one.
    pub fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// How often the request was sent, or tried to be.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The time from the start of the call, pauses included.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// What else is known: words of the vendor or of the network, redacted. May be empty.
    pub fn detail(&self) -> &VendorText {
        &self.detail
    }
}

impl fmt::Display for FailedExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.url)?;
        if let Some(status) = self.status {
            write!(f, " answered {}", status.as_u16())?;
        }
        let plural = if self.attempts == 1 { "" } else { "s" };
        write!(f, " ({} attempt{plural}, {:?})", self.attempts, self.elapsed)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}

impl std::error::Error for FailedExchange {}

/// What came back, for better or worse.
struct Received {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// Why an attempt brought no result.
struct Failure {
    kind: ErrorKind,
    retry: Retry,
    again: Again,
    status: Option<StatusCode>,
    /// Masked.
    detail: VendorText,
}

enum Stop {
    Failed(Failure),
    /// A token or a signature could not be had: an error in its own right.
    Foreign(Error),
    /// The token was refused and forgotten.
    StaleToken,
}

struct Call {
    request: Request,
    exchange: Exchange,
    started: Timestamp,
    /// What was waited so far, out of the deadline.
    waited: Duration,
    /// A refused token has been replaced; that happens once.
    renewed: bool,
}

impl Call {
    fn new(request: Request) -> Self {
        let shared = request.client.shared();
        let exchange = Exchange {
            provider: shared.provider.clone(),
            operation: request.operation,
            replayable: request.replayable,
            method: request.method.clone(),
            url: request.mask.words(&address::redacted(&request.url)),
            attempts: 0,
            elapsed: Duration::ZERO,
            mask: request.mask.clone(),
        };
        let started = shared.clock.now();
        Self { request, exchange, started, waited: Duration::ZERO, renewed: false }
    }

    async fn run(&mut self) -> Result<Received> {
        loop {
            let outcome = self.attempt().await;
            self.exchange.elapsed = self.now().since(self.started);
            match outcome {
                Ok(received) => return Ok(received),
                Err(Stop::Foreign(error)) => return Err(error),
                Err(Stop::StaleToken) => {}
                Err(Stop::Failed(failure)) => match self.pause(&failure) {
                    Some(pause) => {
                        self.waited += pause;
                        self.request.client.clock().sleep_until(self.now() + pause).await;
                    }
                    None => return Err(self.error(failure)),
                },
            }
        }
    }

    /// Returns how long to wait before another attempt, or `None` if there is to be none.
    fn pause(&self, failure: &Failure) -> Option<Duration> {
        let may = match failure.again {
            Again::Never => false,
            Again::Always => true,
            Again::IfReplayable | Again::ElseUncertain => self.request.replayable,
        };
        let shared = self.request.client.shared();
        if !may || self.exchange.attempts >= shared.attempts {
            return None;
        }
        let pause = match failure.retry {
            Retry::After(wait) => wait,
            Retry::Backoff | Retry::Never => shared.backoff.after(self.exchange.attempts),
        };
        (pause <= self.request.deadline.saturating_sub(self.waited)).then_some(pause)
    }

    fn error(&self, failure: Failure) -> Error {
        let uncertain = failure.again == Again::ElseUncertain && !self.request.replayable;
        let (kind, retry) =
            if uncertain { (ErrorKind::Uncertain, Retry::Never) } else { (failure.kind, failure.retry) };
        let detail = if has_words(&kind) { VendorText::default() } else { failure.detail };
        let source = self.exchange.failed(failure.status, detail);
        Error::new(self.exchange.provider.clone(), self.exchange.operation, kind)
            .retry_as(retry)
            .because(source)
    }

    /// Sends the request once.
    async fn attempt(&mut self) -> Result<Received, Stop> {
        let token = self.token().await.map_err(Stop::Foreign)?;
        let client = self.request.client.clone();
        let shared = client.shared();
        // Acquiring fails only for a closed semaphore, and nobody closes it.
        let _permit = match &shared.concurrency {
            Some(concurrency) => concurrency.acquire().await.ok(),
            None => None,
        };
        self.wait_for_turn().await.map_err(Stop::Failed)?;
        self.exchange.attempts += 1;
        let prepared = self.prepare(token.as_ref()).await.map_err(Stop::Foreign)?;

        let began = shared.clock.now();
        let outcome = self.transfer(prepared).await;
        let label = match &outcome {
            Ok((received, _)) => received.status.as_str(),
            Err(failure) => failure.kind.code(),
        };
        self.measure(label, shared.clock.now().since(began));
        let (received, cut) = outcome.map_err(Stop::Failed)?;

        if received.status == StatusCode::UNAUTHORIZED
            && !self.renewed
            && let (Some(source), Some(token)) = (&shared.token, &token)
        {
            source.invalidate(token).await;
            self.renewed = true;
            return Err(Stop::StaleToken);
        }
        self.judge(received, cut).map_err(Stop::Failed)
    }

    async fn token(&mut self) -> Result<Option<Secret>> {
        match &self.request.client.shared().token {
            Some(source) if !self.request.anonymous => {
                let token = source.token().await?;
                self.exchange.mask.hide(&token);
                Ok(Some(token))
            }
            _ => Ok(None),
        }
    }

    /// Waits for the rate limit, if that fits into the deadline.
    async fn wait_for_turn(&mut self) -> Result<(), Failure> {
        let shared = self.request.client.shared();
        let Some(limiter) = &shared.limiter else { return Ok(()) };
        let patience = self.request.deadline.saturating_sub(self.waited);
        match limiter.reserve(&*shared.clock, patience) {
            Ok(turn) => {
                self.waited += turn.since(shared.clock.now());
                shared.clock.sleep_until(turn).await;
                Ok(())
            }
            Err(wait) => Err(Failure {
                kind: ErrorKind::RateLimited,
                retry: Retry::After(wait),
                again: Again::Never,
                status: None,
                detail: "our own limit for this account is reached; this attempt was not sent".into(),
            }),
        }
    }

    /// Puts the request together, credentials and signature included.
    async fn prepare(&mut self, token: Option<&Secret>) -> Result<PreparedRequest> {
        let request = &self.request;
        let shared = request.client.shared();
        let mut headers = shared.headers.clone();
        if !request.anonymous {
            headers.extend(shared.credentials.clone());
        }
        headers.extend(request.headers.clone());
        let mut prepared = PreparedRequest {
            provider: shared.provider.clone(),
            operation: request.operation,
            method: request.method.clone(),
            url: request.url.clone(),
            headers,
            body: match &request.body {
                Body::Bytes(bytes) => bytes.clone(),
                Body::Form(text) => Bytes::copy_from_slice(text.as_bytes()),
            },
            attempt: self.exchange.attempts,
            now: shared.clock.now(),
            mask: Mask::default(),
        };
        if let Some(token) = token {
            let bearer = Secret::from(format!("Bearer {}", token.expose()));
            // The token came from a server, so a bad one is the server's fault.
            let (name, value) =
                secret_header_value(header::AUTHORIZATION.as_str(), &bearer).map_err(|_| {
                    let kind =
                        ErrorKind::Protocol("it handed out a token that does not fit into a header".into());
                    Error::new(shared.provider.clone(), request.operation, kind)
                })?;
            prepared.headers.insert(name, value);
        }
        let signer = request.signer.as_ref().or(shared.signer.as_ref().filter(|_| !request.anonymous));
        if let Some(signer) = signer {
            signer.sign(&mut prepared).await?;
            self.exchange.mask.merge(&prepared.mask);
        }
        Ok(prepared)
    }

    /// Sends and receives. The second value says what is missing of the body.
    async fn transfer(&self, prepared: PreparedRequest) -> Result<(Received, Option<Failure>), Failure> {
        let shared = self.request.client.shared();
        let mut outgoing = reqwest::Request::new(prepared.method, prepared.url);
        *outgoing.headers_mut() = prepared.headers;
        *outgoing.timeout_mut() = self.request.timeout;
        if !prepared.body.is_empty() {
            *outgoing.body_mut() = Some(prepared.body.into());
        }
        let mut incoming = shared.connector.execute(outgoing).await.map_err(|error| self.lost(error))?;
        let status = incoming.status();
        let headers = std::mem::take(incoming.headers_mut());
        let mut body = BytesMut::new();
        let cut = loop {
            match incoming.chunk().await {
                Ok(None) => break None,
                Ok(Some(chunk)) if chunk.len() > shared.max_body - body.len() => {
                    body.extend_from_slice(&chunk[..shared.max_body - body.len()]);
                    break Some(self.too_long());
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Err(error) => break Some(self.lost(error)),
            }
        };
        Ok((Received { status, headers, body: body.freeze() }, cut))
    }

    /// Says what an answer means, by the request, the refinements and the table, in that order.
    fn judge(&self, received: Received, cut: Option<Failure>) -> Result<Received, Failure> {
        let request = &self.request;
        let status = received.status;
        let cut = cut.map(|failure| Failure { status: Some(status), ..failure });
        if request.raw || request.accepted.contains(&status) {
            return cut.map_or(Ok(received), Err);
        }
        let wait = retry_after(&received.headers, self.now());
        if let Some(failure) = self.refined(&received, wait) {
            return Err(failure);
        }
        if status.is_success() {
            return cut.map_or(Ok(received), Err);
        }
        // For a status that is an error anyway, as much of the body as came is enough.
        let detail = self.words(&received);
        let words = if detail.is_empty() { VendorText::new(&status.to_string()) } else { detail.clone() };
        let (kind, retry, again) = meaning(status, words, wait);
        Err(Failure { kind, retry, again, status: Some(status), detail })
    }

    fn refined(&self, received: &Received, wait: Option<Duration>) -> Option<Failure> {
        let shared = self.request.client.shared();
        let refiners: Vec<_> = [&self.request.refine, &shared.refine].into_iter().flatten().collect();
        if refiners.is_empty() {
            return None;
        }
        let body = String::from_utf8_lossy(&received.body);
        let text = &self.exchange.mask.apply(&body);
        let answer = Answer { status: received.status, headers: &received.headers, text };
        let refinement = refiners.into_iter().find_map(|refine| refine(&answer))?;
        let again = match (&refinement.kind, refinement.retry) {
            (_, Some(Retry::Never)) => Again::Never,
            (ErrorKind::RateLimited, _) => Again::Always,
            (_, Some(_)) => Again::IfReplayable,
            (ErrorKind::Timeout | ErrorKind::Unavailable, None) => Again::ElseUncertain,
            (_, None) => Again::Never,
        };
        let usual =
            Error::new(shared.provider.clone(), self.request.operation, refinement.kind.clone()).retry();
        let retry = match (refinement.retry.unwrap_or(usual), wait) {
            (Retry::Backoff, Some(wait)) => Retry::After(wait),
            (retry, _) => retry,
        };
        let detail = self.words(received);
        Some(Failure { kind: refinement.kind, retry, again, status: Some(received.status), detail })
    }

    /// The vendor's words: the body, or what it is if it is not for reading.
    fn words(&self, received: &Received) -> VendorText {
        if is_page(&received.headers, &received.body) {
            return VendorText::new("a web page, such as that of a proxy");
        }
        let mask = &self.exchange.mask;
        if let Some(place) =
            received.headers.get(header::LOCATION).filter(|_| received.status.is_redirection())
        {
            let place = String::from_utf8_lossy(place.as_bytes());
            return mask.words(&format!("to {}", place.split(['?', '#']).next().unwrap_or_default()));
        }
        mask.words(&String::from_utf8_lossy(&received.body))
    }

    fn too_long(&self) -> Failure {
        let limit = self.request.client.shared().max_body;
        Failure {
            kind: ErrorKind::Protocol(format!("the body is longer than {limit} bytes").into()),
            retry: if self.request.replayable { Retry::Backoff } else { Retry::Never },
            again: Again::Never,
            status: None,
            detail: VendorText::default(),
        }
    }

    /// Says what it means that no answer, or no whole one, came.
    fn lost(&self, error: reqwest::Error) -> Failure {
        let failure = |kind, again| {
            let retry = if again == Again::Never { Retry::Never } else { Retry::Backoff };
            (kind, retry, again)
        };
        let (kind, retry, again) = match tls_fault(&error) {
            Some(TlsFault::OurCertificate) => failure(ErrorKind::Unauthorized, Again::Never),
            // Another attempt now meets the same certificate; later it may have been replaced.
            Some(TlsFault::TheirCertificate) => (ErrorKind::Unreachable, Retry::Backoff, Again::Never),
            None if error.is_builder() => {
                failure(ErrorKind::Protocol("the request cannot be sent".into()), Again::Never)
            }
            None if error.is_connect() => failure(ErrorKind::Unreachable, Again::Always),
            None if error.is_timeout() => failure(ErrorKind::Timeout, Again::ElseUncertain),
            None => failure(ErrorKind::Unavailable, Again::ElseUncertain),
        };
        // The URL may hold secrets, and it is told elsewhere, redacted.
        let detail = self.exchange.mask.words(&chain(&error.without_url()));
        Failure { kind, retry, again, status: None, detail }
    }

    fn measure(&self, status: &str, took: Duration) {
        let provider = self.exchange.provider.as_str().to_owned();
        let operation = snake_case(self.exchange.operation);
        let labels = [("provider", provider), ("operation", operation), ("status", status.to_owned())];
        metrics::counter!("certlife_http_requests_total", &labels).increment(1);
        metrics::histogram!("certlife_http_request_seconds", &labels).record(took.as_secs_f64());
    }

    fn now(&self) -> Timestamp {
        self.request.client.clock().now()
    }
}

/// Whether the message of `kind` already holds the vendor's words.
fn has_words(kind: &ErrorKind) -> bool {
    use ErrorKind::{Conflict, Forbidden, NotEligible, QuotaExceeded, Rejected};
    matches!(kind, Forbidden(_) | NotEligible(_) | Conflict(_) | QuotaExceeded(_) | Rejected(_))
}

/// The label of an operation: `find_zone`.
fn snake_case(operation: Operation) -> String {
    let mut label = String::new();
    for character in format!("{operation:?}").chars() {
        if character.is_ascii_uppercase() && !label.is_empty() {
            label.push('_');
        }
        label.push(character.to_ascii_lowercase());
    }
    label
}

enum TlsFault {
    OurCertificate,
    TheirCertificate,
}

/// Looks for a certificate that one of the two sides refused.
fn tls_fault(error: &reqwest::Error) -> Option<TlsFault> {
    use rustls::{AlertDescription as Alert, Error::AlertReceived, Error::InvalidCertificate};
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = error.downcast_ref().or_else(|| inner.and_then(|inner| inner.downcast_ref()));
        match tls {
            Some(InvalidCertificate(_)) => return Some(TlsFault::TheirCertificate),
            Some(AlertReceived(
                Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::CertificateRequired
                | Alert::UnknownCA
                | Alert::DecryptError
                | Alert::AccessDenied,
            )) => return Some(TlsFault::OurCertificate),
            _ => {}
        }
        // An `io::Error` passes over what it wraps.
        cause = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// The message of an error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}
