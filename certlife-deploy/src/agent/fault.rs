//! Errors of a deployer on their way from the agent to the host: the same cause, in the same words.

use std::{borrow::Cow, time::Duration};

use certlife_core::{Error, ErrorKind, Operation, Retry, VendorText};
use serde::{Deserialize, Serialize};

use super::AGENT;

/// An error as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fault {
    /// [`ErrorKind::code`].
    code: String,
    /// What the kind says besides.
    words: VendorText,
    retry: Retry,
}

impl Fault {
    /// Takes an error apart. Its own sources stay behind: they are in the agent's log.
    pub(super) fn of(error: &Error) -> Self {
        let kind = error.kind();
        Self { code: kind.code().to_owned(), words: words(kind), retry: error.retry() }
    }

    /// Puts it together again. What the agent says is believed as to its words and no further.
    pub(super) fn into_error(self, operation: Operation) -> Error {
        const LONGEST: Duration = Duration::from_hours(24);
        let retry = match self.retry {
            Retry::After(wait) => Retry::After(wait.min(LONGEST)),
            retry => retry,
        };
        Error::new(AGENT, operation, kind(&self.code, self.words)).retry_as(retry)
    }
}

fn words(kind: &ErrorKind) -> VendorText {
    match kind {
        ErrorKind::Forbidden(words)
        | ErrorKind::NotEligible(words)
        | ErrorKind::Conflict(words)
        | ErrorKind::QuotaExceeded(words)
        | ErrorKind::Rejected(words)
        | ErrorKind::NotConfirmed(words)
        | ErrorKind::CommandFailed(words)
        | ErrorKind::Io(words) => words.clone(),
        ErrorKind::NotFound(words)
        | ErrorKind::Unsupported(words)
        | ErrorKind::Protocol(words)
        | ErrorKind::BadCertificate(words)
        | ErrorKind::NotNow(words) => VendorText::new(words),
        other => VendorText::new(&other.to_string()),
    }
}

fn kind(code: &str, words: VendorText) -> ErrorKind {
    let owned = |words: &VendorText| Cow::Owned(words.as_str().to_owned());
    match code {
        "unauthorized" => ErrorKind::Unauthorized,
        "forbidden" => ErrorKind::Forbidden(words),
        "not_eligible" => ErrorKind::NotEligible(words),
        "not_found" => ErrorKind::NotFound(owned(&words)),
        "conflict" => ErrorKind::Conflict(words),
        "rate_limited" => ErrorKind::RateLimited,
        "quota_exceeded" => ErrorKind::QuotaExceeded(words),
        "unsupported" => ErrorKind::Unsupported(owned(&words)),
        "protocol" => ErrorKind::Protocol(owned(&words)),
        "unreachable" => ErrorKind::Unreachable,
        "timeout" => ErrorKind::Timeout,
        "unavailable" => ErrorKind::Unavailable,
        "not_confirmed" => ErrorKind::NotConfirmed(words),
        "bad_certificate" => ErrorKind::BadCertificate(owned(&words)),
        "command_failed" => ErrorKind::CommandFailed(words),
        "io" => ErrorKind::Io(words),
        "crypto" => ErrorKind::Crypto,
        "not_now" => ErrorKind::NotNow(owned(&words)),
        // A later agent may know causes that this host does not.
        _ => ErrorKind::Rejected(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_of_a_deployer_arrives_as_it_was() {
        let text = || VendorText::new("the disk is full");
        for sent in [
            ErrorKind::Unauthorized,
            ErrorKind::Forbidden(text()),
            ErrorKind::NotFound("version 7".into()),
            ErrorKind::Conflict(text()),
            ErrorKind::Unsupported("answering http challenges".into()),
            ErrorKind::Unreachable,
            ErrorKind::Timeout,
            ErrorKind::BadCertificate("the key is another's".into()),
            ErrorKind::CommandFailed(text()),
            ErrorKind::Io(text()),
            ErrorKind::Crypto,
            ErrorKind::NotNow("another version has been installed since".into()),
        ] {
            let error = Error::new(AGENT, Operation::Install, sent.clone());
            let text = serde_json::to_string(&Fault::of(&error)).unwrap();
            let back = serde_json::from_str::<Fault>(&text).unwrap().into_error(Operation::Install);
            assert_eq!((back.kind(), back.retry()), (&sent, error.retry()));
        }
    }

    #[test]
    fn an_unknown_cause_keeps_its_words_and_a_long_wait_is_cut() {
        let text = r#"{"code":"moon","words":"it is\nfull","retry":{"after":{"secs":99999999,"nanos":0}}}"#;
        let error = serde_json::from_str::<Fault>(text).unwrap().into_error(Operation::Install);
        assert_eq!(*error.kind(), ErrorKind::Rejected("it is full".into()));
        assert_eq!(error.retry(), Retry::After(Duration::from_hours(24)));
    }
}
