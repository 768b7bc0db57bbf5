//! One request: what it asks for, whether it may be sent twice, and what in it is secret.

use std::{fmt, sync::Arc, time::Duration};

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use bytes::Bytes;
use serde::Serialize;
use url::Url;

use super::{
    address,
    client::Client,
    exchange,
    mask::Mask,
    response::Response,
    sign::Signer,
    status::{Answer, Refine, Refinement},
};
use crate::{
    error::{Error, ErrorKind, Operation, Result, Retry},
    input::InputError,
    secret::Secret,
};

/// A request under construction. Made by [`Client`]; nothing happens before [`send`](Self::send), and what is
/// wrong with the values is told there.
#[must_use = "a request does nothing until it is sent"]
pub struct Request {
    pub(super) client: Client,
    pub(super) method: Method,
    pub(super) operation: Operation,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
    pub(super) mask: Mask,
    pub(super) replayable: bool,
    pub(super) deadline: Duration,
    pub(super) timeout: Option<Duration>,
    pub(super) accepted: Vec<StatusCode>,
    pub(super) raw: bool,
    pub(super) anonymous: bool,
    pub(super) signer: Option<Arc<dyn Signer>>,
    pub(super) refine: Option<Arc<Refine>>,
    /// The first thing that was wrong.
    fault: Option<ErrorKind>,
}

pub(super) enum Body {
    Bytes(Bytes),
    /// Pairs in `application/x-www-form-urlencoded`.
    Form(String),
}

impl Request {
    pub(super) fn new(client: Client, method: Method, operation: Operation, url: Url) -> Self {
        Self {
            // RFC 9110 §9.2.2.
            replayable: method.is_idempotent(),
            mask: client.shared().mask.clone(),
            client,
            method,
            operation,
            url,
            headers: HeaderMap::new(),
            body: Body::Bytes(Bytes::new()),
            deadline: Duration::from_secs(30),
            timeout: None,
            accepted: Vec::new(),
            raw: false,
            anonymous: false,
            signer: None,
            refine: None,
            fault: None,
        }
    }

    /// Adds a query parameter. In errors and logs its value is left out.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.url.query_pairs_mut().append_pair(name, value);
        self
    }

    /// Adds a query parameter whose value is masked wherever it is echoed.
    pub fn secret_query(mut self, name: &str, value: &Secret) -> Self {
        self.mask.hide(value);
        self.query(name, value.expose())
    }

    /// Sets a header, in place of the client's of that name.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match header_value(name, value) {
            Ok((name, value)) => {
                self.headers.insert(name, value);
                self
            }
            Err(input) => self.fail(ErrorKind::Input(input)),
        }
    }

    /// Sets a header whose value is masked wherever it is echoed.
    pub fn secret_header(mut self, name: &str, value: &Secret) -> Self {
        self.mask.hide(value);
        match secret_header_value(name, value) {
            Ok((name, value)) => {
                self.headers.insert(name, value);
                self
            }
            Err(input) => self.fail(ErrorKind::Input(input)),
        }
    }

    /// Masks `secret`, which is somewhere in the body or the path, wherever it is echoed.
    ///
    /// A secret of fewer than four characters is not masked.
    pub fn hide(mut self, secret: &Secret) -> Self {
        self.mask.hide(secret);
        self
    }

    /// Sends `value` as JSON.
    pub fn json(self, value: &(impl Serialize + ?Sized)) -> Self {
        match serde_json::to_vec(value) {
            Ok(bytes) => self.body(bytes, "application/json"),
            Err(error) => self.fail(ErrorKind::Input(InputError::Value {
                field: "body".into(),
                value: error.to_string().into(),
                rule: "it must be representable as JSON".into(),
            })),
        }
    }

    /// Adds pairs to a form, `application/x-www-form-urlencoded`.
    pub fn form(mut self, pairs: &[(&str, &str)]) -> Self {
        if let Body::Bytes(_) = self.body {
            self.body = Body::Form(String::new());
            self = self.content_type("application/x-www-form-urlencoded");
        }
        if let Body::Form(text) = &mut self.body {
            url::form_urlencoded::Serializer::new(text).extend_pairs(pairs);
        }
        self
    }

    /// Adds a pair to a form, whose value is masked wherever it is echoed.
    pub fn secret_form(mut self, name: &str, value: &Secret) -> Self {
        self.mask.hide(value);
        self.form(&[(name, value.expose())])
    }

    /// Sends `bytes`.
    pub fn body(mut self, bytes: impl Into<Bytes>, content_type: &str) -> Self {
        self.body = Body::Bytes(bytes.into());
        self.content_type(content_type)
    }

    fn content_type(self, value: &str) -> Self {
        self.header(header::CONTENT_TYPE.as_str(), value)
    }

    /// Says whether sending it twice does no more than sending it once.
    ///
    /// Defaults to what RFC 9110 §9.2.2 says of the method: yes but for POST and PATCH. If not, an attempt
    /// whose outcome is unknown is not repeated, and [`send`](Self::send) fails with
    /// [`ErrorKind::Uncertain`]: look before you repeat it.
    pub fn replayable(mut self, replayable: bool) -> Self {
        self.replayable = replayable;
        self
    }

    /// Bounds how long the call waits in total: for its turn under the rate limit, and between attempts.
    /// Defaults to 30 seconds. The attempts themselves have the timeout of the settings each.
    pub fn deadline(mut self, waiting: Duration) -> Self {
        self.deadline = waiting;
        self
    }

    /// Replaces the request timeout of the settings for each attempt of this request.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Returns answers with these statuses to the caller, as if they were successes, and unrefined.
    pub fn accept_status(mut self, statuses: &[StatusCode]) -> Self {
        self.accepted.extend_from_slice(statuses);
        self
    }

    /// Returns the answer whatever its status: nothing is refined, and no status is a reason to send again
    /// (but for a 401 where the client has a [token source](super::ClientBuilder::token)). What fails without
    /// an answer is retried as always.
    pub fn raw(mut self) -> Self {
        self.raw = true;
        self
    }

    /// Sends none of the client's credentials, secret headers and signatures.
    pub fn anonymous(mut self) -> Self {
        self.anonymous = true;
        self
    }

    /// Signs this request, in place of the client's signer.
    pub fn sign_with(mut self, signer: Arc<dyn Signer>) -> Self {
        self.signer = Some(signer);
        self
    }

    /// Asks `refine` before the client's own [refinement](super::ClientBuilder::refine).
    pub fn refine(
        mut self,
        refine: impl Fn(&Answer<'_>) -> Option<Refinement> + Send + Sync + 'static,
    ) -> Self {
        self.refine = Some(Arc::new(refine));
        self
    }

    /// Sends the request, again where that is safe and may help, and reads the whole answer.
    ///
    /// | what happened | sent again | error in the end |
    /// | --- | --- | --- |
    /// | no connection | always (not if a certificate was refused) | [`Unreachable`](ErrorKind::Unreachable) |
    /// | 429, or [`Refinement::throttled`] | always | [`RateLimited`](ErrorKind::RateLimited) |
    /// | no answer in time, 408 | if replayable | [`Timeout`](ErrorKind::Timeout), or `Uncertain` |
    /// | connection lost after sending, 5xx | if replayable | [`Unavailable`](ErrorKind::Unavailable), or `Uncertain` |
    /// | 503 with `Retry-After` | if replayable | [`Unavailable`](ErrorKind::Unavailable) |
    /// | 401 with a token source | once, with a new token | [`Unauthorized`](ErrorKind::Unauthorized) |
    ///
    /// [`Uncertain`](ErrorKind::Uncertain), with [`Retry::Never`], takes the place of the other where the
    /// request is not [replayable](Self::replayable), since it may have had its effect. The pause is
    /// `Retry-After` if the answer has it, else a jittered exponential back-off; one beyond the
    /// [deadline](Self::deadline) is not slept but returned as [`Retry::After`].
    ///
    /// Dropping the call while it is under way leaves open whether the request had its effect.
    ///
    /// # Errors
    ///
    /// As above. 3xx is [`Protocol`](ErrorKind::Protocol), 400 and other 4xx
    /// [`Rejected`](ErrorKind::Rejected), 402 [`NotEligible`](ErrorKind::NotEligible), 403
    /// [`Forbidden`](ErrorKind::Forbidden), 404 and 410 [`NotFound`](ErrorKind::NotFound), 409 and 412
    /// [`Conflict`](ErrorKind::Conflict), 501 [`Unsupported`](ErrorKind::Unsupported); a refused client
    /// certificate is [`Unauthorized`](ErrorKind::Unauthorized); a body above the limit is
    /// [`Protocol`](ErrorKind::Protocol). The source is a [`FailedExchange`](super::FailedExchange).
    pub async fn send(mut self) -> Result<Response> {
        match self.fault.take() {
            Some(kind) => Err(Error::new(self.client.provider().clone(), self.operation, kind)
                .retry_as(Retry::Never)
                .because(format!("{} {}", self.method, self.mask.words(&address::redacted(&self.url))))),
            None => exchange::run(self).await,
        }
    }

    /// Keeps the first fault, for `send` to tell.
    pub(super) fn fail(mut self, kind: ErrorKind) -> Self {
        self.fault.get_or_insert(kind);
        self
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("url", &self.mask.words(&address::redacted(&self.url)))
            .field("operation", &self.operation)
            .field("replayable", &self.replayable)
            .finish_non_exhaustive()
    }
}

/// Checks a header. The error does not show the value.
pub(super) fn header_value(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), InputError> {
    let bad = |rule: &'static str| InputError::setting(name.to_owned(), rule);
    let key = HeaderName::try_from(name).map_err(|_| bad("is not a header name"))?;
    let value = HeaderValue::from_str(value)
        .map_err(|_| bad("goes into a header and may hold visible ASCII characters and spaces only"))?;
    Ok((key, value))
}

/// Checks a header whose value other code must not log.
pub(super) fn secret_header_value(
    name: &str,
    value: &Secret,
) -> Result<(HeaderName, HeaderValue), InputError> {
    let (name, mut value) = header_value(name, value.expose())?;
    value.set_sensitive(true);
    Ok((name, value))
}
