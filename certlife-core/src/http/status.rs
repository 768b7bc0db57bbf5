//! What a status means, once for all vendors, and how a vendor refines it by what the body says.

use std::{fmt, time::Duration};

use ::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use crate::{
    error::{ErrorKind, Retry},
    text::VendorText,
};

/// An answer as [`ClientBuilder::refine`](super::ClientBuilder::refine) sees it: with the secrets of the
/// client and the request masked, so that its words may go into an [`ErrorKind`].
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    pub(super) text: &'a str,
}

impl<'a> Answer<'a> {
    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// All headers.
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }

    /// The first header of that name, if it is text.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as text, without what is not UTF-8. Capped, and cut short if the connection was.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The body read as `T`, or `None` if it is something else.
    pub fn json<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_str(self.text).ok()
    }
}

impl fmt::Debug for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).finish_non_exhaustive()
    }
}

/// What an answer means by its body, in place of what its status says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refinement {
    pub(super) kind: ErrorKind,
    pub(super) retry: Option<Retry>,
}

impl Refinement {
    /// Says that the answer is this error, with the usual [`Retry`] of its kind.
    ///
    /// [`ErrorKind::Timeout`] and [`ErrorKind::Unavailable`] are treated like their statuses: sent again if the
    /// request is replayable, else [`ErrorKind::Uncertain`]. No other kind but
    /// [`ErrorKind::RateLimited`] is sent again unless [`retry_as`](Self::retry_as) says so.
    pub fn new(kind: ErrorKind) -> Self {
        Self { kind, retry: None }
    }

    /// Says that the answer asks for fewer requests, whatever its status. The request counts as not
    /// carried out, so that it is sent again even if it is not replayable.
    pub fn throttled() -> Self {
        Self::new(ErrorKind::RateLimited)
    }

    /// Replaces the usual [`Retry`] of the kind. With [`Retry::Never`] the request is not sent again; else it
    /// is if it is replayable or throttled, and the error keeps its kind.
    #[must_use]
    pub fn retry_as(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }
}

/// The type of a refining function.
pub(super) type Refine = dyn Fn(&Answer<'_>) -> Option<Refinement> + Send + Sync;

/// Whether a failed attempt may be followed by another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// Another attempt would end the same way.
    Never,
    /// The request certainly had no effect, so any request may be sent again.
    Always,
    /// Only a replayable request may be sent again.
    IfReplayable,
    /// Only a replayable request may be sent again; for any other it is now unknown whether it had its
    /// effect, and it must not look as if it could simply be repeated.
    ElseUncertain,
}

/// What a status means when nothing refines it.
///
/// `words` are the vendor's, masked; `wait` is `Retry-After`.
pub(super) fn meaning(
    status: StatusCode,
    words: VendorText,
    wait: Option<Duration>,
) -> (ErrorKind, Retry, Again) {
    let later = wait.map_or(Retry::Backoff, Retry::After);
    let never = |kind| (kind, Retry::Never, Again::Never);
    match status.as_u16() {
        300..=399 => {
            never(ErrorKind::Protocol("it redirects elsewhere, and redirects are not followed".into()))
        }
        401 => never(ErrorKind::Unauthorized),
        402 => never(ErrorKind::NotEligible(words)),
        403 => never(ErrorKind::Forbidden(words)),
        404 | 410 => never(ErrorKind::NotFound("what was asked for".into())),
        // From the proxy, so the request did not arrive.
        407 => never(ErrorKind::Unreachable),
        408 => (ErrorKind::Timeout, later, Again::ElseUncertain),
        409 | 412 => never(ErrorKind::Conflict(words)),
        429 => (ErrorKind::RateLimited, later, Again::Always),
        501 => never(ErrorKind::Unsupported("this request".into())),
        // A server that says when to come back has turned the request away (RFC 9110 §15.6.4). Without
        // that, load balancers also send 503 for a backend that broke off after the request reached it.
        503 if wait.is_some() => (ErrorKind::Unavailable, later, Again::IfReplayable),
        500..=599 => (ErrorKind::Unavailable, later, Again::ElseUncertain),
        400..=499 => never(ErrorKind::Rejected(words)),
        _ => never(ErrorKind::Protocol(format!("status {} has no meaning here", status.as_u16()).into())),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Again::{Always, ElseUncertain, IfReplayable, Never},
        *,
    };
    use crate::error::Retry::Backoff;

    #[test]
    fn the_table() {
        let code = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            let (kind, retry, again) = meaning(status, "words".into(), None);
            (kind.code(), retry, again)
        };
        for (status, expected) in [
            (302, ("protocol", Retry::Never, Never)),
            (400, ("rejected", Retry::Never, Never)),
            (401, ("unauthorized", Retry::Never, Never)),
            (402, ("not_eligible", Retry::Never, Never)),
            (403, ("forbidden", Retry::Never, Never)),
            (404, ("not_found", Retry::Never, Never)),
            (405, ("rejected", Retry::Never, Never)),
            (407, ("unreachable", Retry::Never, Never)),
            (408, ("timeout", Backoff, ElseUncertain)),
            (409, ("conflict", Retry::Never, Never)),
            (410, ("not_found", Retry::Never, Never)),
            (412, ("conflict", Retry::Never, Never)),
            (418, ("rejected", Retry::Never, Never)),
            (422, ("rejected", Retry::Never, Never)),
            (429, ("rate_limited", Backoff, Always)),
            (500, ("unavailable", Backoff, ElseUncertain)),
            (501, ("unsupported", Retry::Never, Never)),
            (502, ("unavailable", Backoff, ElseUncertain)),
            (503, ("unavailable", Backoff, ElseUncertain)),
            (504, ("unavailable", Backoff, ElseUncertain)),
            (529, ("unavailable", Backoff, ElseUncertain)),
            (700, ("protocol", Retry::Never, Never)),
        ] {
            assert_eq!(code(status), expected, "{status}");
        }
        let wait = Duration::from_secs(9);
        let told = meaning(StatusCode::SERVICE_UNAVAILABLE, VendorText::default(), Some(wait));
        assert_eq!(told, (ErrorKind::Unavailable, Retry::After(wait), IfReplayable));
    }
}
