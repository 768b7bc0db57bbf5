//! What the model says to people: lower-case fragments for logs, progress lines and user interfaces.
//!
//! Programs read the serialized forms, which are stable; these words may get better with any release.

use std::{collections::BTreeSet, fmt};

use super::{
    CertificateStatus, DecidedBy, DeploymentState, DomainState, Event, EventKind, Occurrence, OrderState,
    RenewalTrigger, Request, Route, RouteReason, TargetReason,
};
use crate::{
    ca::{Decision, PurposeKind, Stage},
    error::Failure,
    id::AccountName,
    name::Identifier,
    text::VendorText,
};

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.occurrence, f)
    }
}

/// The certificate and what happened: `www: the CA accepted the order as 4711`.
impl fmt::Display for Occurrence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(certificate) = &self.certificate {
            write!(f, "{certificate}: ")?;
        }
        fmt::Display::fmt(&self.kind, f)
    }
}

impl fmt::Display for EventKind {
    #[expect(clippy::too_many_lines, reason = "an event a line or two, and nothing else")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CertificateWanted { identifiers } => write!(f, "wanted for {}", list(identifiers)),
            Self::CertificateAdopted { identifiers, with_key } => {
                let key = if *with_key { "with its key" } else { "without its key" };
                write!(f, "adopted {key} for {}", list(identifiers))
            }
            Self::CertificateChanged { identifiers } => write!(f, "changed, now for {}", list(identifiers)),
            Self::CertificateDeleted => f.write_str("deleted here"),
            Self::CertificatePaused { paused: true } => f.write_str("paused"),
            Self::CertificatePaused { paused: false } => f.write_str("goes on after a pause"),
            Self::RenewalDue { trigger } => write!(f, "renewal is due, because {trigger}"),
            Self::RenewalWindow { start, end, .. } => {
                write!(f, "the CA suggests to renew between {start} and {end}")
            }
            Self::OrderDrafted { purpose, ca } => write!(f, "{purpose} order drafted for {ca}"),
            Self::OrderPlacing { .. } => f.write_str("key and order are stored; placing the order"),
            Self::OrderPlaced { number, found } => {
                f.write_str(if *found {
                    "the order was found at the CA"
                } else {
                    "the CA accepted the order"
                })?;
                words_after(f, " as ", number.as_ref())
            }
            Self::OrderStage { stage, message } => {
                write!(f, "the order is {stage}")?;
                words_after(f, ": ", message.as_ref())
            }
            Self::ValidationPlanned { identifiers, route, because } => {
                write!(f, "{} validated by {route}, {because}", are(identifiers))
            }
            Self::Published { identifiers } => {
                write!(f, "challenge response in place for {}", list(identifiers))
            }
            Self::PublicationByHand { identifiers } => {
                write!(f, "challenge response for {} waits for a person", list(identifiers))
            }
            Self::Answered { identifiers } => {
                write!(f, "challenge response seen, and the CA told, for {}", list(identifiers))
            }
            Self::Withdrawn { identifiers } => write!(f, "challenge response gone for {}", list(identifiers)),
            Self::OrderRequested { request } => write!(f, "asked to {request}"),
            Self::Retrying { failure, next } => write!(f, "{}; tried again at {next}", failure.message),
            Self::OrderEnded { state, failure } => {
                write!(f, "the order ended as {state}")?;
                words_after(f, ": ", failure.as_ref().map(message))
            }
            Self::OrderDeleted => f.write_str("order deleted here"),
            Self::VersionCurrent { version, not_after, .. } => {
                write!(f, "version {version} is stored and current, valid until {not_after}")
            }
            Self::RevocationAsked { version, reason } => {
                write!(f, "asked to revoke version {version} ({reason:?})")
            }
            Self::RevocationRefused { version, failure } => {
                write!(f, "version {version} is not revoked: {}", failure.message)
            }
            Self::VersionRevoked { version, reason } => write!(f, "version {version} revoked ({reason:?})"),
            Self::DecisionAsked { version, decision } => write!(f, "asked to {decision} version {version}"),
            Self::DecisionRefused { version, decision, failure } => {
                write!(f, "the CA does not {decision} version {version}: {}", failure.message)
            }
            Self::VersionDecided { version, decision } => {
                write!(f, "version {version}: the CA did as asked, {decision}")
            }
            Self::KeyExported { version } => write!(f, "private key of version {version} exported"),
            Self::TargetsChosen { targets } if targets.is_empty() => f.write_str("no target gets it"),
            Self::TargetsChosen { targets } => {
                let each = targets.iter().map(|(target, because)| format!("{target}, {because}"));
                write!(f, "deployed to {}", each.collect::<Vec<_>>().join("; "))
            }
            Self::WaveStarted { version, wave, of, targets } => {
                write!(f, "wave {wave} of {of} gets version {version}: {}", names(targets))
            }
            Self::RolloutHeld { version, target, failure } => {
                write!(f, "the rollout of version {version} is held by {target}: {}", failure.message)
            }
            Self::RolloutContinued { version, past } if past.is_empty() => {
                write!(f, "the rollout of version {version} goes on")
            }
            Self::RolloutContinued { version, past } => {
                write!(f, "the rollout of version {version} goes on past {}", names(past))
            }
            Self::Installing { target, version } => write!(f, "installing version {version} on {target}"),
            Self::DeploymentLive { target, version, .. } => write!(f, "{target} confirms version {version}"),
            Self::DeploymentFailed { target, failure, next, .. } => {
                write!(f, "{target}: {}; tried again at {next}", failure.message)
            }
            Self::RolledBack { target, version: Some(version) } => {
                write!(f, "{target} has version {version} back")
            }
            Self::RolledBack { target, version: None } => write!(f, "{target} was rolled back"),
            Self::DriftFound { target, failure } => write!(f, "{target} has changed: {}", failure.message),
            Self::DriftGone { target } => write!(f, "{target} has again what it should have"),
            Self::RedeployAsked { target } => write!(f, "asked to install on {target} again"),
            Self::Uninstalled { target } => write!(f, "removed from {target}"),
            Self::ExpiryNoticed { days } => write!(f, "expires within {days} days"),
            Self::ImportProgress { account, listed, imported, last } => {
                let state = if *last { "looked through" } else { "being looked through" };
                write!(f, "orders at {account} {state}: {listed} listed, {imported} taken over")
            }
            Self::DomainAsked { account, domain, route } => {
                write!(f, "asked to validate {domain} at {account} by {route}")
            }
            Self::DomainValidated { account, domain, valid_until } => {
                write!(f, "{domain} is validated at {account}")?;
                match valid_until {
                    Some(end) => write!(f, " until {end}"),
                    None => Ok(()),
                }
            }
            Self::DomainEnded { account, domain, state, failure } => {
                write!(f, "the validation of {domain} at {account} {state}")?;
                words_after(f, ": ", failure.as_ref().map(message))
            }
            Self::AccountPolicyChanged { account, .. } => write!(f, "policy of account {account} changed"),
            Self::AccountSwitched { account, enabled } => {
                write!(f, "account {account} {}", if *enabled { "enabled" } else { "disabled" })
            }
        }
    }
}

/// The first names of a list that may be long.
fn list(identifiers: &[Identifier]) -> String {
    const SHOWN: usize = 3;
    let shown = identifiers.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match identifiers.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn names(targets: &BTreeSet<AccountName>) -> String {
    targets.iter().map(AccountName::as_str).collect::<Vec<_>>().join(", ")
}

fn are(identifiers: &[Identifier]) -> String {
    let verb = if identifiers.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", list(identifiers))
}

fn message(failure: &Failure) -> &VendorText {
    &failure.message
}

fn words_after(f: &mut fmt::Formatter<'_>, lead: &str, words: Option<&VendorText>) -> fmt::Result {
    match words {
        Some(words) if !words.is_empty() => write!(f, "{lead}{words}"),
        _ => Ok(()),
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(account) => write!(f, "a DNS record through {account}"),
            Self::Http(account) => write!(f, "a file on {account}"),
            Self::TlsAlpn(account) => write!(f, "a handshake with {account}"),
            Self::Email(address) => write!(f, "e-mail to {address}"),
            Self::Manual(kind) => write!(f, "hand ({kind})"),
        }
    }
}

impl fmt::Display for RouteReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DomainRoute => f.write_str("as was asked for"),
            Self::OrderRoute => f.write_str("as was asked for in this order"),
            Self::IdentifierRoute => f.write_str("as the certificate says for this identifier"),
            Self::CertificateRoute => f.write_str("as the certificate says"),
            Self::DomainMapping(domain) => write!(f, "as {domain} is mapped"),
            Self::AccountDefault => f.write_str("as the CA account's default says"),
        }
    }
}

impl fmt::Display for TargetReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate => f.write_str("as the certificate says"),
            Self::DomainMapping(domain) => write!(f, "as {domain} is mapped"),
            Self::AccountDefault => f.write_str("as the CA account's default says"),
        }
    }
}

/// Declares `Display` for enums whose values are a few fixed words.
macro_rules! words {
    ($($type:ident { $($variant:ident => $words:literal,)* })*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $words,)* })
            }
        }
    )*};
}

words! {
    RenewalTrigger {
        CaWindow => "the CA suggests it",
        Policy => "the renewal policy says so",
        SpecChanged => "what is wanted has changed",
        Requested => "it was asked for",
        Revoked => "the current version is revoked",
    }
    Decision {
        Approve => "approve",
        Decline => "decline",
        Suspend => "suspend",
        Resume => "resume",
        Cancel => "cancel",
        Deactivate => "deactivate",
        Reactivate => "reactivate",
    }
    DecidedBy {
        Certificate => "its own settings",
        Account => "the settings of its CA account",
        Default => "the built-in rule",
    }
    CertificateStatus {
        Pending => "pending",
        Valid => "valid",
        Renewing => "renewing",
        Failing => "failing",
        Expired => "expired",
        Paused => "paused",
        Suspended => "suspended",
        Revoked => "revoked",
    }
    OrderState {
        Drafted => "drafted",
        Placing => "being placed",
        InDoubt => "in doubt",
        Validating => "being validated",
        AwaitingApproval => "awaiting approval",
        Suspended => "suspended",
        Processing => "being processed",
        Issued => "issued",
        Failed => "failed",
        Rejected => "rejected",
        Cancelled => "cancelled",
        Expired => "expired",
    }
    DomainState {
        Pending => "is under way",
        Valid => "succeeded",
        Failed => "failed",
        Cancelled => "was given up",
    }
    Stage {
        Validating => "being validated",
        AwaitingApproval => "awaiting approval",
        Processing => "being processed",
        Issued => "issued",
        Rejected => "rejected",
        Cancelled => "cancelled",
        Suspended => "suspended",
        Expired => "expired",
        Revoked => "revoked",
    }
    PurposeKind {
        New => "new",
        Renewal => "renewal",
        Reissue => "reissue",
        Import => "import",
    }
}

impl fmt::Display for DeploymentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RollingBack => "rolling back",
            other => other.as_str(),
        })
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decide(decision) => write!(f, "{decision} the order"),
            Self::Verify => f.write_str("verify what was published by hand"),
            Self::Revalidate { identifier, route } => write!(f, "prove {identifier} by {route}"),
            Self::PlaceAgain => f.write_str("place the order in doubt again"),
            Self::Abandon => f.write_str("abandon the order in doubt"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Actor, time::Timestamp};

    #[test]
    fn an_event_reads_as_a_sentence_about_its_certificate() {
        let identifiers =
            ["a.example", "b.example", "c.example", "d.example"].map(|name| name.parse().unwrap());
        let kind = EventKind::CertificateWanted { identifiers: identifiers.into() };
        let occurrence = Occurrence::new(Timestamp::MIN, Actor::Host, kind).on(&"www".parse().unwrap());
        assert_eq!(occurrence.to_string(), "www: wanted for a.example, b.example, c.example and 1 more");

        let kind = EventKind::ValidationPlanned {
            identifiers: vec!["*.example.com".parse().unwrap()],
            route: Route::Dns("corp".parse().unwrap()),
            because: RouteReason::DomainMapping("example.com".parse().unwrap()),
        };
        assert_eq!(
            kind.to_string(),
            "*.example.com is validated by a DNS record through corp, as example.com is mapped"
        );
        let kind = EventKind::OrderPlaced { number: Some("4711".into()), found: true };
        assert_eq!(kind.to_string(), "the order was found at the CA as 4711");
    }
}
