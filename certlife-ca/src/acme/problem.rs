//! What a CA says when it refuses: problem documents (RFC 7807, RFC 8555 §6.7), or a page or nothing at all.

use std::fmt::Write as _;

use certlife_core::{
    Error, ErrorKind, InputError, Retry, Timestamp, VendorText,
    http::{Response, StatusCode},
};
use instant_acme::Identifier;
use serde::Deserialize;

/// A problem document.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Problem {
    #[serde(flatten)]
    document: instant_acme::Problem,
    /// A page for people, as with `userActionRequired`.
    instance: Option<String>,
    /// What `badSignatureAlgorithm` would rather see.
    algorithms: Option<Vec<String>>,
}

/// An answer that refuses, and the error that it amounts to.
#[derive(Debug)]
pub(super) struct Refusal {
    problem: Option<Problem>,
    error: Error,
}

/// Why a signed request brought no result.
#[derive(Debug)]
pub(super) enum Failure {
    /// The CA understood it and says no.
    Refused(Box<Refusal>),
    /// It did not arrive, its answer did not, or the CA has a fault of its own.
    Other(Error),
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => refusal.error,
            Failure::Other(error) => error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl Failure {
    /// Whether the CA refused with this problem, named as in RFC 8555 §6.7.
    pub(super) fn is(&self, name: &str) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.is(name))
    }
}

impl Refusal {
    /// Reads a refusing answer.
    pub(super) fn read(response: &Response, now: Timestamp) -> Self {
        // One that has no type and no detail is some other JSON.
        let problem = serde_json::from_slice::<Problem>(response.bytes())
            .ok()
            .filter(|problem| problem.document.r#type.is_some() || problem.document.detail.is_some());
        let status = response.status();
        let words = match &problem {
            Some(problem) => problem.words(),
            None => match response.text() {
                Ok(text) if !text.trim().is_empty() => VendorText::new(text),
                Ok(_) => format!("status {status} without a word").into(),
                Err(_) => format!("status {status} with a web page").into(),
            },
        };
        let name = problem.as_ref().map_or("", Problem::name);
        let kind = kind(name, status, words.clone());
        let error = match &kind {
            // Those that do not hold the words themselves have them as their cause.
            ErrorKind::RateLimited
            | ErrorKind::Unauthorized
            | ErrorKind::NotFound(_)
            | ErrorKind::Protocol(_)
            | ErrorKind::Unavailable => response.error(kind).because(words.to_string()),
            _ => response.error(kind),
        };
        let error = match (error.retry(), response.retry_after(now)) {
            (Retry::Backoff, Some(wait)) => error.retry_as(Retry::After(wait)),
            _ if name == "orderNotReady" => error.retry_as(Retry::Backoff),
            _ => error,
        };
        Self { problem, error }
    }

    /// Whether it is this problem, named as in RFC 8555 §6.7.
    pub(super) fn is(&self, name: &str) -> bool {
        self.problem.as_ref().is_some_and(|problem| problem.name() == name)
    }

    /// Whether the account may have another key or another URL by now. CAs tell a signature by a former key
    /// in different ways, so every refusal that could be one counts.
    pub(super) fn doubts_the_account(&self) -> bool {
        const DOUBTS: [&str; 5] =
            ["accountDoesNotExist", "unauthorized", "malformed", "badPublicKey", "badSignatureAlgorithm"];
        DOUBTS.iter().any(|name| self.is(name))
    }

    /// The error that it amounts to.
    pub(super) fn error(&self) -> &Error {
        &self.error
    }
}

impl Problem {
    /// The type without its namespace; empty if it has none of RFC 8555 §6.7.
    fn name(&self) -> &str {
        let name = self.document.r#type.as_deref().unwrap_or_default();
        name.strip_prefix("urn:ietf:params:acme:error:").unwrap_or_default()
    }

    /// Everything that it says, for people.
    pub(super) fn words(&self) -> VendorText {
        let mut words = self.document.detail.clone().unwrap_or_default();
        if words.is_empty() {
            words.push_str(self.document.r#type.as_deref().unwrap_or("no reason is given"));
        }
        for sub in &self.document.subproblems {
            let identifier = match &sub.identifier {
                Some(Identifier::Ip(address)) => address.to_string(),
                Some(identifier) => identifier.authorized(false).to_string(),
                None => "problem".to_owned(),
            };
            let detail = sub.detail.as_deref().or(sub.r#type.as_deref()).unwrap_or("refused");
            let _ = write!(words, "; {identifier}: {detail}"); // Writing to a `String` cannot fail.
        }
        if let Some(algorithms) = &self.algorithms {
            let _ = write!(words, "; it takes {}", algorithms.join(", "));
        }
        if let Some(page) = &self.instance {
            let _ = write!(words, "; see {page}");
        }
        VendorText::new(&words)
    }
}

/// What a refusal means (RFC 8555 §6.7, RFC 9773 §7.4, draft-ietf-acme-profiles §6.3), by the problem's name
/// or, where it has none, by the status.
fn kind(name: &str, status: StatusCode, words: VendorText) -> ErrorKind {
    let setting = |name, words: VendorText| {
        ErrorKind::Input(InputError::setting(name, format!("the CA refuses it: {words}")))
    };
    match name {
        "accountDoesNotExist" => ErrorKind::Unauthorized,
        "alreadyReplaced" | "alreadyRevoked" => ErrorKind::Conflict(words),
        "badNonce" => ErrorKind::Protocol("it refuses every nonce that it hands out".into()),
        "externalAccountRequired" => setting("eab", words),
        "invalidContact" | "unsupportedContact" => setting("contacts", words),
        "invalidProfile" => ErrorKind::Input(InputError::Value {
            field: "product".into(),
            value: VendorText::default(),
            rule: format!("the CA refuses the profile: {words}").into(),
        }),
        "orderNotReady" => ErrorKind::NotNow("the CA does not take the order as ready".into()),
        "rateLimited" => ErrorKind::RateLimited,
        "serverInternal" => ErrorKind::Unavailable,
        "unauthorized" => ErrorKind::Forbidden(words),
        "userActionRequired" => ErrorKind::NotEligible(words),
        _ => match status.as_u16() {
            401 => ErrorKind::Unauthorized,
            402 => ErrorKind::NotEligible(words),
            403 if name.is_empty() => ErrorKind::Forbidden(words),
            404 | 410 => ErrorKind::NotFound("what was asked for".into()),
            409 | 412 => ErrorKind::Conflict(words),
            429 => ErrorKind::RateLimited,
            _ => ErrorKind::Rejected(words),
        },
    }
}
