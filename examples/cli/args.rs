//! What can be said on the command line.

use std::{path::PathBuf, time::Duration};

use certlife::{
    AccountName, CertificateId, Fqdn, Identifier, RevocationReason, Timestamp, VersionId, ca::Decision,
    challenge::ChallengeKind, model::Route,
};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use serde::Deserialize as _;

use crate::{commands::Files, config::Span, forms::Protection};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed; the message says who has to act
  2  the command line or the configuration file is wrong
  3  waits for a person: see `pending` and `explain`
  4  not finished in time, or interrupted; `run` goes on with it";

/// Runs the whole life of TLS certificates: order, prove, issue, deploy, verify, renew.
#[derive(Debug, Parser)]
#[command(name = "certlife", version, after_help = EXIT_CODES)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Common {
    /// The configuration file.
    #[arg(long, short, global = true, value_name = "FILE", default_value = "certlife.toml")]
    pub(crate) config: PathBuf,
    /// Print JSON: one value, or one line an event.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Log what happens to standard error; twice for more.
    #[arg(long, short, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Agree to the terms of service of every CA in the file.
    #[arg(long, global = true)]
    pub(crate) agree_terms: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Keep all certificates of the file alive until interrupted.
    Run,
    /// Get certificates of the file issued and deployed.
    Order {
        /// The tables `[certificate.NAME]`.
        #[arg(required = true)]
        names: Vec<CertificateId>,
        #[command(flatten)]
        wait: Wait,
    },
    /// Put a certificate that exists already under this program's care, with its key, instead of ordering it.
    Adopt {
        #[command(flatten)]
        one: One,
        /// The file with certificate, chain and key in any form, or several in PEM.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        protection: Protection,
    },
    /// List what a person has to publish.
    Pending,
    /// Say that what had to be published by hand is in place.
    Verify(One),
    /// Look now what the targets of a certificate serve; drift is told or put right, as the target's `on_drift` says.
    Check(One),
    /// Install once more what the targets of a certificate should have.
    Redeploy {
        #[command(flatten)]
        one: One,
        /// Only on this target.
        #[arg(long)]
        target: Option<AccountName>,
    },
    /// Let a rollout that is held go on past the targets at which it failed.
    Continue(One),
    /// Order the next term now.
    Renew(One),
    /// Have the current version issued again, with a new key.
    Reissue {
        #[command(flatten)]
        one: One,
        /// Why, for the CA's record.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Revoke a version.
    Revoke {
        #[command(flatten)]
        one: One,
        /// Which version, if not the current one.
        #[arg(long)]
        version: Option<VersionId>,
        /// Why: unspecified, keyCompromise, affiliationChanged, superseded, cessationOfOperation…
        #[arg(long, default_value = "unspecified", value_parser = reason)]
        reason: RevocationReason,
        /// For the CA's record.
        #[arg(long)]
        comment: Option<String>,
        /// Order another one at once.
        #[arg(long)]
        replace: bool,
    },
    /// Decide on the order under way, or on a version that was issued.
    Decide {
        #[command(flatten)]
        one: One,
        /// On this version, not on the order under way. Without an order under way it is the current one.
        #[arg(long)]
        version: Option<VersionId>,
        /// What is decided.
        #[arg(value_enum)]
        decision: Verdict,
    },
    /// Give the order under way up and remove what it published.
    Cancel(One),
    /// Remove a certificate here; at the CA and on targets nothing changes.
    Delete {
        /// The certificate.
        name: CertificateId,
    },
    /// Take over certificates that were ordered elsewhere.
    Import {
        /// The CA account.
        account: AccountName,
        /// Take over expired and revoked ones, too.
        #[arg(long)]
        all: bool,
        /// Only orders that hold one of these names.
        #[arg(long = "name", value_name = "NAME")]
        names: Vec<Identifier>,
        /// Only orders placed after this moment (RFC 3339).
        #[arg(long, value_parser = Timestamp::parse)]
        placed_after: Option<Timestamp>,
    },
    /// Read what a CA account may order.
    Catalog {
        /// The CA account.
        account: AccountName,
    },
    /// List the e-mail addresses of which one may confirm control of a domain at a CA.
    Approvers {
        /// The CA account.
        account: AccountName,
        /// The domain.
        domain: Identifier,
        /// For this product.
        #[arg(long)]
        product: Option<String>,
    },
    /// Have a name of the order under way proven in another way, or have the CA look, or write, once more.
    Revalidate {
        #[command(flatten)]
        one: One,
        /// The name in the certificate.
        identifier: Identifier,
        #[command(flatten)]
        by: By,
    },
    /// Validate a domain at a CA apart from orders: publish the proof, have the CA look, and remove it again. With
    /// --manual nothing is published: it says what to put in place, and has the CA look when asked again.
    ValidateDomain {
        /// The CA account.
        account: AccountName,
        /// The domain.
        domain: Identifier,
        #[command(flatten)]
        by: By,
        /// Validate it anew before it lapses.
        #[arg(long, conflicts_with = "manual")]
        keep: bool,
        #[command(flatten)]
        wait: Wait,
    },
    /// List the domains that are validated apart from orders, and how far each is.
    Domains,
    /// Give the validation of a domain up, and remove what was published for it.
    CancelDomain {
        /// The CA account.
        account: AccountName,
        /// The domain.
        domain: Identifier,
        #[command(flatten)]
        wait: Wait,
    },
    /// List certificates.
    List {
        /// Only those that expire within this time, such as 30d.
        #[arg(long, value_parser = span)]
        expiring: Option<Duration>,
        /// Only those that hold this name.
        #[arg(long, conflicts_with = "expiring")]
        name: Option<Identifier>,
    },
    /// Show all that is known of a certificate.
    Show {
        /// The certificate.
        name: CertificateId,
    },
    /// Say why a certificate is as it is, who has to act, and what happens next.
    Explain {
        /// The certificate.
        name: CertificateId,
    },
    /// Write a version to files; without any, print its chain.
    Export {
        /// The certificate.
        name: CertificateId,
        /// Which version, if not the current one.
        #[arg(long)]
        version: Option<VersionId>,
        #[command(flatten)]
        files: Box<Files>,
    },
    /// Print the feed of events.
    Events {
        /// Begin after this position.
        #[arg(long, default_value_t = 0)]
        after: u64,
        /// Go on with what happens, until interrupted.
        #[arg(long, short)]
        follow: bool,
        /// Only those of this certificate.
        #[arg(long, value_name = "NAME")]
        certificate: Option<CertificateId>,
    },
    /// Test accounts and targets.
    Probe {
        /// Which; all of them if none is named.
        accounts: Vec<AccountName>,
    },
    /// List the kinds of provider that are built in, with the JSON Schema of their settings under --json.
    Providers {
        /// Only this kind.
        kind: Option<String>,
    },
    /// Work on DNS by hand, through the accounts of the file.
    #[command(subcommand)]
    Dns(Dns),
}

#[derive(Debug, Subcommand)]
pub(crate) enum Dns {
    /// Publish a TXT record beside whatever is there.
    Add(Record),
    /// Withdraw one TXT value.
    Remove(Record),
    /// Show which account, name and zone would be written, and what the servers say.
    Check {
        /// The owner name.
        name: Fqdn,
        #[command(flatten)]
        through: Through,
        /// Write a harmless record, watch it appear, and remove it.
        #[arg(long)]
        write: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Record {
    /// The owner name, such as _acme-challenge.example.com.
    pub(crate) name: Fqdn,
    /// The value, unquoted.
    pub(crate) value: String,
    #[command(flatten)]
    pub(crate) through: Through,
}

#[derive(Debug, Args)]
pub(crate) struct Through {
    /// The DNS account, if not the one that the mappings lead to.
    #[arg(long)]
    pub(crate) account: Option<AccountName>,
}

/// How a name is proven: one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct By {
    /// A record through this DNS account.
    #[arg(long, value_name = "ACCOUNT")]
    dns: Option<AccountName>,
    /// A file on this target.
    #[arg(long, value_name = "TARGET")]
    http: Option<AccountName>,
    /// A message to this address.
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// What a person puts in place: dns-txt, dns-cname, http.
    #[arg(long, value_name = "KIND", value_parser = kind)]
    manual: Option<ChallengeKind>,
}

impl By {
    pub(crate) fn route(self) -> Route {
        match (self.dns, self.http, self.email) {
            (Some(account), ..) => Route::Dns(account),
            (_, Some(target), _) => Route::Http(target),
            (.., Some(address)) => Route::Email(address),
            // One of the four is there: the parser sees to it.
            _ => Route::Manual(self.manual.unwrap_or(ChallengeKind::DnsTxt)),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// The certificate.
    pub(crate) name: CertificateId,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Wait {
    /// How long to work on it before giving the rest to `run`.
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = span)]
    pub(crate) wait: Duration,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Verdict {
    /// Let it be issued.
    Approve,
    /// Refuse it.
    Decline,
    /// Hold it.
    Suspend,
    /// Let a suspended one go on.
    Resume,
    /// Take it out of the CA's management without revoking it.
    Deactivate,
    /// Take a deactivated one back into management.
    Reactivate,
    /// It is in doubt and does not exist at the CA: place it again. This may cost money.
    PlaceAgain,
    /// It is in doubt: give it up.
    Abandon,
}

impl Verdict {
    /// The decision at the CA; none for those about an order in doubt.
    pub(crate) fn at_ca(self) -> Option<Decision> {
        match self {
            Self::Approve => Some(Decision::Approve),
            Self::Decline => Some(Decision::Decline),
            Self::Suspend => Some(Decision::Suspend),
            Self::Resume => Some(Decision::Resume),
            Self::Deactivate => Some(Decision::Deactivate),
            Self::Reactivate => Some(Decision::Reactivate),
            Self::PlaceAgain | Self::Abandon => None,
        }
    }
}

fn span(text: &str) -> Result<Duration, String> {
    Span::parse(text).map(|span| span.0)
}

fn kind(text: &str) -> Result<ChallengeKind, String> {
    let text = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(text);
    ChallengeKind::deserialize(text).map_err(|error| error.to_string())
}

fn reason(text: &str) -> Result<RevocationReason, String> {
    let text = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(text);
    RevocationReason::deserialize(text).map_err(|error| error.to_string())
}
