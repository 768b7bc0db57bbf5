//! Domains that are validated apart from orders, and who may confirm by e-mail.
//!
//! A file or a CNAME is started, published and then submitted; a TXT record and a message are told by submitting.
//! What has been done already the CA tells, so that every call begins by asking.

use std::time::Duration;

use certlife_core::{
    CertificateAuthority as _, Error, ErrorKind, Identifier, Operation, Result, Retry,
    ca::DomainValidation,
    challenge::{
        Authorization, AuthorizationStatus, Challenge, ChallengeId, ChallengeKind, ChallengeResponse, Proof,
    },
};

use super::{
    NAME, Sectigo,
    options::{bad, is_address},
    proof, unsupported,
    wire::{self, Dcv},
};

const VALIDATE: Operation = Operation::ValidateDomain;

/// How far a request for validation is, apart from whether an older one is still good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// None is under way.
    Idle,
    /// It was started; what it wants is to be published, and then it is to be submitted.
    Started,
    /// The CA looks for the proof by itself.
    Submitted,
    Rejected,
}

impl Progress {
    fn of(dcv: &Dcv) -> Self {
        match wire::folded(dcv.order_status.as_deref().unwrap_or_default()).as_str() {
            "AWAITINGSUBMISSION" => Self::Started,
            "SUBMITTED" => Self::Submitted,
            "REJECTED" => Self::Rejected,
            _ => Self::Idle,
        }
    }
}

impl Sectigo {
    pub(super) async fn validate(&self, domain: &Identifier, proof: &Proof) -> Result<DomainValidation> {
        let Some(mode) = proof::mode(proof.kind)
            .filter(|_| self.capabilities().challenges.contains(&proof.kind) && proof.kind.suits(domain))
        else {
            return Err(unsupported(VALIDATE, "this proof of a domain"));
        };
        let name = domain_name(VALIDATE, domain)?;
        let state = self.api.dcv_status(VALIDATE, &name).await?;
        let progress = Progress::of(&state);
        // Unless it is told to be another one, it is this one.
        let same = state.order_mode.as_deref().is_none_or(|told| proof::kind(told) == Some(proof.kind));
        if same && proof::is_valid(state.status.as_ref()) {
            return Ok(valid(domain, &state));
        }
        let wish = Wish { domain, name: &name, kind: proof.kind, mode: &mode.to_lowercase() };
        let other_approver = match (&proof.approver, &state.validation_email) {
            (Some(wanted), Some(asked)) => !wanted.eq_ignore_ascii_case(asked),
            _ => false,
        };
        match progress {
            Progress::Submitted if same && !other_approver => {
                // What is to be published is told by either answer.
                let looked = self.api.dcv_sync(&name).await?;
                if proof::is_valid(looked.status.as_ref()) {
                    return Ok(valid(domain, &looked));
                }
                if state.shows_nothing() {
                    return Ok(pending(domain, Vec::new()));
                }
                wish.pending(&state, state.validation_email.as_deref())
            }
            // A message is not started for anybody; who gets it is said when it is submitted.
            Progress::Started if same && !is_told_by_submitting(proof.kind) => {
                // The status need not tell what is to be published; starting does.
                let told = if state.shows_nothing() {
                    self.api.dcv_start(VALIDATE, wish.mode, &name).await?
                } else {
                    state
                };
                let published = wish.pending(&told, None)?;
                let submitted = self.api.dcv_submit(wish.mode, &name, None).await?;
                let is_there = proof::is_valid(submitted.status.as_ref());
                Ok(if is_there { valid(domain, &submitted) } else { published })
            }
            Progress::Idle => self.begin(&wish, proof).await,
            Progress::Started | Progress::Submitted | Progress::Rejected => {
                self.api.dcv_clear(&name).await?;
                self.begin(&wish, proof).await
            }
        }
    }

    async fn begin(&self, wish: &Wish<'_>, proof: &Proof) -> Result<DomainValidation> {
        match wish.kind {
            ChallengeKind::DnsTxt => {
                let submitted = self.api.dcv_submit(wish.mode, wish.name, None).await?;
                wish.pending(&submitted, None)
            }
            ChallengeKind::Email => {
                let offered = self.offered(VALIDATE, wish.name).await?;
                let chosen = match &proof.approver {
                    Some(wanted) => offered.iter().find(|address| address.eq_ignore_ascii_case(wanted)),
                    None => offered.first(),
                };
                let Some(chosen) = chosen else {
                    let rule = format!("Sectigo offers {}", offered.join(", "));
                    let wanted = proof.approver.as_deref().unwrap_or_default();
                    return Err(Error::input(VALIDATE, bad("approver", wanted, rule)));
                };
                let submitted = self.api.dcv_submit(wish.mode, wish.name, Some(chosen)).await?;
                wish.pending(&submitted, Some(chosen))
            }
            _ => {
                let started = self.api.dcv_start(VALIDATE, wish.mode, wish.name).await?;
                wish.pending(&started, None)
            }
        }
    }

    pub(super) async fn list_approvers(&self, domain: &Identifier) -> Result<Vec<String>> {
        const LIST: Operation = Operation::ListApprovers;
        let name = domain_name(LIST, domain)?;
        // The only call that tells them starts a validation, which would put an end to another one.
        let state = self.api.dcv_status(LIST, &name).await?;
        let by_message = state.order_mode.as_deref().and_then(proof::kind) == Some(ChallengeKind::Email);
        let under_way = matches!(Progress::of(&state), Progress::Started | Progress::Submitted);
        if under_way && state.order_mode.is_some() && !by_message {
            let what = "another validation of the domain is under way, which this would end";
            return Err(Error::new(NAME, LIST, ErrorKind::NotNow(what.into())));
        }
        self.offered(LIST, &name).await
    }

    async fn offered(&self, operation: Operation, name: &str) -> Result<Vec<String>> {
        let started = self.api.dcv_start(operation, "email", name).await?;
        let mut offered: Vec<String> = Vec::new();
        let sets = started.email_sets.iter();
        let others = sets.flat_map(|set| set.admin.iter().chain(&set.whois).chain(&set.dns_txt));
        for address in started.emails.iter().chain(others) {
            if is_address(address) && !offered.iter().any(|known| known.eq_ignore_ascii_case(address)) {
                offered.push(address.clone());
            }
        }
        Ok(offered)
    }
}

/// Whether what is to be published is known only once the request is submitted.
fn is_told_by_submitting(kind: ChallengeKind) -> bool {
    matches!(kind, ChallengeKind::DnsTxt | ChallengeKind::Email)
}

fn domain_name(operation: Operation, domain: &Identifier) -> Result<String> {
    let name = domain.base_name().map(ToString::to_string);
    name.ok_or_else(|| unsupported(operation, "validating an address apart from orders"))
}

/// What is wanted of one domain.
struct Wish<'a> {
    domain: &'a Identifier,
    name: &'a str,
    kind: ChallengeKind,
    /// As paths have it.
    mode: &'a str,
}

impl Wish<'_> {
    fn pending(&self, told: &Dcv, email: Option<&str>) -> Result<DomainValidation> {
        let response = self.response(told, email)?;
        let challenge = Challenge { id: ChallengeId(format!("{}:{}", self.kind, self.name)), response };
        Ok(pending(self.domain, vec![challenge]))
    }

    fn response(&self, told: &Dcv, email: Option<&str>) -> Result<ChallengeResponse> {
        proof::response(self.domain, self.kind, &told.shown, email).map_err(|what| {
            Error::new(NAME, VALIDATE, ErrorKind::Protocol(what.into())).retry_as(Retry::Never)
        })
    }
}

fn pending(domain: &Identifier, challenges: Vec<Challenge>) -> DomainValidation {
    DomainValidation {
        authorization: Authorization {
            identifier: domain.clone(),
            status: AuthorizationStatus::Pending,
            challenges,
            problem: None,
        },
        valid_until: None,
        ask_again: Some(Duration::from_mins(1)),
    }
}

fn valid(domain: &Identifier, state: &Dcv) -> DomainValidation {
    DomainValidation {
        authorization: Authorization {
            identifier: domain.clone(),
            status: AuthorizationStatus::Valid,
            challenges: Vec::new(),
            problem: None,
        },
        valid_until: state.expiration_date.as_deref().and_then(wire::moment),
        ask_again: None,
    }
}
