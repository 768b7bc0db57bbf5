//! The one error type: who failed, doing what, why, and whether to call again.

use std::{borrow::Cow, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{id::AccountName, input::InputError, name::Fqdn, text::VendorText, time::Timestamp};

/// The result of every fallible call in certlife.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error that can be a cause.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// A call that failed: who, doing what, why, and whether to call again.
///
/// The message never contains a secret or an unredacted URL. [`kind`](Self::kind) is what to match on.
pub struct Error(Box<Inner>);

struct Inner {
    provider: ProviderName,
    operation: Operation,
    kind: ErrorKind,
    retry: Retry,
    source: Option<BoxError>,
}

impl Error {
    /// Makes an error whose [`Retry`] is the usual one for `kind`.
    pub fn new(provider: ProviderName, operation: Operation, kind: ErrorKind) -> Self {
        let retry = kind.usual_retry();
        Self(Box::new(Inner { provider, operation, kind, retry, source: None }))
    }

    /// Makes an error about input that the host gave, found before anything was sent or changed.
    pub fn input(operation: Operation, input: InputError) -> Self {
        Self::new(ProviderName::ENGINE, operation, ErrorKind::Input(input))
    }

    /// Replaces the usual [`Retry`] of the kind by what the answer said.
    #[must_use]
    pub fn retry_as(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// The error of a call that does no harm when it is repeated: a lost answer is then no reason to stop.
    #[must_use]
    pub(crate) fn repeatable(self) -> Self {
        let stops = *self.kind() == ErrorKind::Uncertain && self.retry() == Retry::Never;
        if stops { self.retry_as(Retry::Backoff) } else { self }
    }

    /// Whether the request certainly had no effect: no connection was made, or the provider put it off (429).
    pub(crate) fn did_not_arrive(&self) -> bool {
        matches!(self.kind(), ErrorKind::Unreachable | ErrorKind::RateLimited)
    }

    /// Links the cause. Its text must already be redacted.
    #[must_use]
    pub fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The vendor that was called, or [`ProviderName::ENGINE`].
    pub fn provider(&self) -> &ProviderName {
        &self.0.provider
    }

    /// What the engine wanted, in our words rather than the endpoint's.
    pub fn operation(&self) -> Operation {
        self.0.operation
    }

    /// What went wrong, in terms that all vendors share. Match on this.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// Whether the same call may succeed later.
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// Who has to act before the same call can succeed.
    pub fn who_acts(&self) -> Party {
        if self.0.retry == Retry::Never { self.0.kind.responsible() } else { Party::Engine }
    }

    /// The message with its causes, as one line.
    pub fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: could not {}: {}", self.0.provider, self.0.operation, self.0.kind)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("provider", &self.0.provider)
            .field("operation", &self.0.operation)
            .field("kind", &self.0.kind)
            .field("retry", &self.0.retry)
            .field("source", &self.0.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}

/// What went wrong, in causes that an operator can act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What the host asked for breaks a rule; nothing was sent or changed.
    #[error("{0}")]
    Input(#[from] InputError),
    /// The provider refused the credentials.
    #[error("the credentials were refused")]
    Unauthorized,
    /// The credentials are valid but lack a right, named as precisely as the provider does.
    #[error("a right is missing: {0}")]
    Forbidden(VendorText),
    /// The account may not use this interface at all: plan, contract or eligibility.
    #[error("the account is not eligible: {0}")]
    NotEligible(VendorText),
    /// The account holds no zone that encloses this owner name.
    #[error("the account holds no zone for {0}")]
    ZoneNotFound(Fqdn),
    /// The object that was asked for does not exist at the provider.
    #[error("{0} does not exist")]
    NotFound(Cow<'static, str>),
    /// Another object stands in the way, such as a CNAME at the owner name of a TXT record.
    #[error("something stands in the way: {0}")]
    Conflict(VendorText),
    /// The provider asked for fewer requests.
    #[error("too many requests")]
    RateLimited,
    /// A limit of the account is used up and waiting alone does not help.
    #[error("a limit of the account is reached: {0}")]
    QuotaExceeded(VendorText),
    /// The provider cannot do this; its capabilities say so.
    #[error("{0} is not supported")]
    Unsupported(Cow<'static, str>),
    /// The provider understood the request and refuses it, in its own words.
    #[error("the request was refused: {0}")]
    Rejected(VendorText),
    /// The other side did not prove to be the one that was meant, such as by its host key; nothing was sent.
    #[error("the other side is not trusted: {0}")]
    Untrusted(VendorText),
    /// The answer breaks the protocol, so nothing can be concluded from it.
    #[error("the answer breaks the protocol: {0}")]
    Protocol(Cow<'static, str>),
    /// No connection was made, so the request did not arrive.
    #[error("no connection")]
    Unreachable,
    /// The answer did not come in time; the request may have had its effect.
    #[error("no answer in time")]
    Timeout,
    /// The provider has a fault of its own (5xx).
    #[error("the service is unavailable")]
    Unavailable,
    /// The request may or may not have had its effect, and the provider cannot tell.
    #[error("it is not known whether the request had its effect")]
    Uncertain,
    /// What a target serves or holds is not what was installed there.
    #[error("the target does not confirm the certificate: {0}")]
    NotConfirmed(VendorText),
    /// Key, certificate, chain, identifiers and clock do not agree.
    #[error("the certificate was refused: {0}")]
    BadCertificate(Cow<'static, str>),
    /// A command on a target failed.
    #[error("the command failed: {0}")]
    CommandFailed(VendorText),
    /// A file, directory or database could not be read or written.
    #[error("input or output failed: {0}")]
    Io(VendorText),
    /// A sealed secret could not be opened: wrong key ring, or changed bytes.
    #[error("the sealed secret could not be opened: {0}")]
    Unsealable(Cow<'static, str>),
    /// A stored record cannot be read by this version of certlife.
    #[error("a stored record is unreadable: {0}")]
    Corrupt(Cow<'static, str>),
    /// The cryptographic library failed, as without a source of randomness.
    #[error("the cryptographic library failed")]
    Crypto,
    /// Another writer changed the record first.
    #[error("the record changed meanwhile")]
    RevisionConflict,
    /// Another worker holds the lease now; nothing was written.
    #[error("the lease was lost")]
    LeaseLost,
    /// The object is not in a state that allows this.
    #[error("not possible now: {0}")]
    NotNow(Cow<'static, str>),
    /// The engine is shutting down.
    #[error("the engine is shutting down")]
    ShuttingDown,
}

impl ErrorKind {
    /// Returns what a caller may do with the same request unless the answer says otherwise.
    fn usual_retry(&self) -> Retry {
        match self {
            Self::RateLimited
            | Self::Unreachable
            | Self::Timeout
            | Self::Unavailable
            | Self::RevisionConflict
            | Self::NotConfirmed(_)
            | Self::CommandFailed(_)
            | Self::Io(_)
            | Self::Crypto
            | Self::Protocol(_) => Retry::Backoff,
            _ => Retry::Never,
        }
    }

    fn responsible(&self) -> Party {
        match self {
            Self::Input(_) | Self::Unsupported(_) | Self::NotNow(_) => Party::Requester,
            Self::Unauthorized
            | Self::Forbidden(_)
            | Self::NotEligible(_)
            | Self::QuotaExceeded(_)
            | Self::ZoneNotFound(_)
            | Self::Conflict(_)
            | Self::Rejected(_)
            | Self::Uncertain
            | Self::NotFound(_)
            | Self::BadCertificate(_) => Party::AccountHolder,
            _ => Party::Operator,
        }
    }

    /// A stable, short code for programs and translations: `rate_limited`, `zone_not_found`, …
    pub fn code(&self) -> &'static str {
        match self {
            Self::Input(input) => input.code(),
            Self::Unauthorized => "unauthorized",
            Self::Forbidden(_) => "forbidden",
            Self::NotEligible(_) => "not_eligible",
            Self::ZoneNotFound(_) => "zone_not_found",
            Self::NotFound(_) => "not_found",
            Self::Conflict(_) => "conflict",
            Self::RateLimited => "rate_limited",
            Self::QuotaExceeded(_) => "quota_exceeded",
            Self::Unsupported(_) => "unsupported",
            Self::Rejected(_) => "rejected",
            Self::Untrusted(_) => "untrusted",
            Self::Protocol(_) => "protocol",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::Uncertain => "uncertain",
            Self::NotConfirmed(_) => "not_confirmed",
            Self::BadCertificate(_) => "bad_certificate",
            Self::CommandFailed(_) => "command_failed",
            Self::Io(_) => "io",
            Self::Unsealable(_) => "unsealable",
            Self::Corrupt(_) => "corrupt",
            Self::Crypto => "crypto",
            Self::RevisionConflict => "revision_conflict",
            Self::LeaseLost => "lease_lost",
            Self::NotNow(_) => "not_now",
            Self::ShuttingDown => "shutting_down",
        }
    }
}

/// What a caller may do with the same request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "callers handle every case")]
pub enum Retry {
    /// Fails until configuration or input changes.
    Never,
    /// May succeed; the shared back-off picks the delay.
    Backoff,
    /// May succeed after this long: `Retry-After`, RFC 9110 §10.2.3.
    After(Duration),
}

/// Who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Party {
    /// Nobody: the engine tries again by itself.
    Engine,
    /// Whoever asked: the request has to change.
    Requester,
    /// Whoever runs the host and its targets.
    Operator,
    /// Whoever holds the account at the provider: credentials, rights, money, organization.
    AccountHolder,
    /// Whoever approves orders, at the CA or here.
    Approver,
}

/// The vendor's name in errors, logs and metrics: lower case, never renamed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProviderName(Cow<'static, str>);

impl ProviderName {
    /// certlife itself, where no vendor is involved.
    pub const ENGINE: Self = Self::new("certlife");

    /// Names a vendor. Lower-case letters, digits and `-` are the convention.
    pub const fn new(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Declares [`Operation`] with the words that complete "could not …".
macro_rules! operations {
    ($($(#[$doc:meta])* $variant:ident = $words:literal,)*) => {
        /// What the engine wanted, in our words. Completes the sentence "could not …".
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum Operation {
            $($(#[$doc])* $variant,)*
        }

        impl Operation {
            /// The words that complete "could not …".
            pub fn words(self) -> &'static str {
                match self { $(Self::$variant => $words,)* }
            }
        }
    };
}

operations! {
    /// Build a provider, a store or the engine from its settings.
    Configure = "use the settings",
    /// Test an account.
    Probe = "test the account",
    /// Read what a CA account may order.
    Catalog = "read the catalog",
    /// Accept a certificate wish from the host.
    Ensure = "accept the certificate",
    /// Put a certificate that exists already under the engine's care.
    Adopt = "adopt the certificate",
    /// Make a key pair or a certificate signing request.
    MakeKey = "make the key",
    /// Register or read the account at the CA.
    OpenAccount = "open the account",
    /// Replace the key of the account at the CA.
    RollAccountKey = "replace the account key",
    /// Place an order.
    PlaceOrder = "place the order",
    /// Look for an order whose answer was lost.
    FindOrder = "find the order",
    /// Tell the CA that challenges are ready.
    Respond = "answer the challenges",
    /// Ask after an order.
    PollOrder = "ask after the order",
    /// Approve, decline, suspend, resume, cancel, deactivate or reactivate.
    Decide = "carry the decision out",
    /// Fetch the issued certificate.
    FetchCertificate = "fetch the certificate",
    /// Check an issued certificate against key, identifiers and clock.
    CheckCertificate = "accept the issued certificate",
    /// List who may confirm control of a domain.
    ListApprovers = "list the approvers",
    /// Have an identifier of an order proven in another way, or once more.
    Revalidate = "validate the identifier anew",
    /// Validate a domain apart from orders.
    ValidateDomain = "validate the domain",
    /// Revoke a certificate.
    Revoke = "revoke the certificate",
    /// List the orders of an account.
    ListOrders = "list the orders",
    /// Read renewal information, RFC 9773.
    RenewalInfo = "read the renewal information",
    /// Find the zone of an owner name.
    FindZone = "find the zone",
    /// Publish a DNS record.
    PublishRecord = "publish the record",
    /// Withdraw a DNS record.
    WithdrawRecord = "withdraw the record",
    /// Ask whether a DNS record is on all servers of its vendor.
    AskDistribution = "ask whether the record is distributed",
    /// Query DNS.
    Resolve = "query DNS",
    /// Decide who proves control of which identifier, and how.
    PlanValidation = "plan the validation",
    /// Place a challenge response on a target.
    PutChallenge = "place the challenge response",
    /// Remove a challenge response from a target.
    RemoveChallenge = "remove the challenge response",
    /// Install a certificate on a target.
    Install = "install the certificate",
    /// Read what a target holds or serves.
    Inspect = "read what is installed",
    /// Compare what a target serves with what it should.
    Verify = "verify the deployment",
    /// Put the previous certificate back.
    RollBack = "roll the deployment back",
    /// Remove a certificate from a target.
    Uninstall = "remove the certificate",
    /// Let an agent in, or renew its certificate.
    Enrol = "enrol the agent",
    /// Fetch work for an agent, or report what became of it.
    ExchangeWork = "exchange work with the hub",
    /// Seal or open a secret.
    Seal = "seal or open a secret",
    /// Read from the store.
    ReadStore = "read the store",
    /// Write to the store.
    WriteStore = "write to the store",
    /// Claim due work.
    Claim = "claim due work",
    /// Send a notice.
    Notify = "send the notice",
    /// Carry out a command of the host.
    Command = "carry out the command",
    /// Export a certificate or key.
    Export = "export",
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// An error as it is kept in a record and shown by `explain`: no secrets, stable, serializable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// When it happened.
    pub at: Timestamp,
    /// The vendor that was called, or `certlife`.
    pub provider: ProviderName,
    /// The account that was used, where one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountName>,
    /// What the engine wanted.
    pub operation: Operation,
    /// [`ErrorKind::code`].
    pub code: String,
    /// The message with its causes.
    pub message: VendorText,
    /// Whether the same call may succeed later.
    pub retry: Retry,
    /// Who has to act.
    pub who_acts: Party,
}

impl Failure {
    /// Keeps what `error` says, as of `at`.
    pub fn new(error: &Error, account: Option<AccountName>, at: Timestamp) -> Self {
        Self {
            at,
            provider: error.provider().clone(),
            account,
            operation: error.operation(),
            code: error.kind().code().to_owned(),
            message: VendorText::new(&error.chain()),
            retry: error.retry(),
            who_acts: error.who_acts(),
        }
    }
}
