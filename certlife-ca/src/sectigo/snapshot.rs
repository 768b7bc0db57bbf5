//! What a record says of an order.

use std::{collections::BTreeMap, time::Duration};

use certlife_core::{
    Chain, Error, ErrorKind, Identifier, Operation, Result, Retry, VendorText,
    ca::{OrderIntent, OrderSnapshot, Stage},
    challenge::{Authorization, AuthorizationStatus, Challenge, ChallengeId},
    x509::ChainOptions,
};

use super::{
    NAME, Sectigo,
    order::Handle,
    proof,
    wire::{self, Details, Instruction, OrderDcv},
};

/// How a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// Without a certificate so far.
    Open(Stage),
    /// It has a certificate that can be collected.
    Certified(Stage),
    /// It will have none, or none any more.
    Over(Stage),
    /// A word that is not known here.
    Unknown,
}

impl Status {
    /// Reads "Certificate status" of Sectigo's reference, the labels of reports and old accounts, and the numbers that
    /// reports use.
    pub(super) fn of(details: &Details) -> Self {
        match wire::folded(details.status.as_deref().unwrap_or_default()).as_str() {
            "REQUESTED" | "AWAITINGAPPROVAL" | "1" => Self::Open(Stage::AwaitingApproval),
            "INIT" | "APPROVED" | "SAAPPROVED" | "APPLIED" | "NOTENROLLED" => Self::Open(Stage::Processing),
            // Of a replaced record the certificate decides: none of the sources says what the word means.
            "ISSUED"
            | "ENROLLEDPENDINGDOWNLOAD"
            | "DOWNLOADED"
            | "UNMANAGED"
            | "EXTERNAL"
            | "REPLACED"
            | "2" => Self::Certified(Stage::Issued),
            "EXPIRED" | "4" => Self::Certified(Stage::Expired),
            "REVOKED" | "3" => Self::Over(Stage::Revoked),
            "DECLINED" | "REJECTED" | "INVALID" => Self::Over(Stage::Rejected),
            _ => Self::Unknown,
        }
    }
}

/// A snapshot that tells no more than that the order stands.
pub(super) fn bare(handle: &Handle, stage: Stage) -> OrderSnapshot {
    let number = Some(VendorText::from(handle.ssl_id.to_string()));
    OrderSnapshot { ask_again: Some(ask_again(stage)), number, ..OrderSnapshot::new(handle.written(), stage) }
}

/// Sectigo tells no time. Its clients ask every few seconds at first; the engine slows down by itself.
fn ask_again(stage: Stage) -> Duration {
    match stage {
        Stage::Processing => Duration::from_secs(10),
        Stage::Validating => Duration::from_mins(1),
        Stage::AwaitingApproval => Duration::from_hours(1),
        _ => Duration::from_hours(24),
    }
}

impl Sectigo {
    /// Reads a record, its certificate if it has one, and what is to be proven if that happens with the order.
    pub(super) async fn look(
        &self,
        operation: Operation,
        handle: &Handle,
        intent: Option<&OrderIntent>,
    ) -> Result<OrderSnapshot> {
        let details = self.api.details(operation, handle.ssl_id).await?;
        self.describe(operation, handle, intent, &details).await
    }

    /// As [`look`](Self::look), for details that were read already.
    pub(super) async fn describe(
        &self,
        operation: Operation,
        handle: &Handle,
        intent: Option<&OrderIntent>,
        details: &Details,
    ) -> Result<OrderSnapshot> {
        let mut snapshot = OrderSnapshot {
            message: wire::words(details.status.as_ref()),
            details: shown(details),
            ..bare(handle, Stage::Processing)
        };
        match Status::of(details) {
            Status::Open(stage) => {
                snapshot.stage = stage;
                if stage == Stage::Processing && self.order_validation {
                    self.show_proofs(operation, handle, intent, &mut snapshot).await?;
                }
                snapshot.ask_again = Some(ask_again(snapshot.stage));
            }
            Status::Certified(stage) if handle.replaces.is_none() || handle.replaces != details.serial() => {
                let chain = self.chain(operation, handle, intent).await?;
                if let Some(chain) = chain.filter(|chain| !is_serial(chain, handle.replaces.as_deref())) {
                    snapshot.certificate = Some(chain);
                    snapshot.stage = stage;
                }
                snapshot.ask_again = Some(ask_again(snapshot.stage));
            }
            Status::Certified(_) => {}
            Status::Over(stage) => {
                snapshot.stage = stage;
                if stage == Stage::Rejected && self.order_validation {
                    self.show_rejection(operation, handle, &mut snapshot).await?;
                }
                snapshot.ask_again = Some(ask_again(stage));
            }
            // Processing, with the CA's word; there is nothing to expect soon.
            Status::Unknown => snapshot.ask_again = Some(Duration::from_hours(24)),
        }
        if intent.is_none() {
            snapshot.identifiers = identifiers(details, snapshot.certificate.as_ref());
        }
        Ok(snapshot)
    }

    /// Collects the certificate; none while it is not ready.
    async fn chain(
        &self,
        operation: Operation,
        handle: &Handle,
        intent: Option<&OrderIntent>,
    ) -> Result<Option<Chain>> {
        let Some(pem) = self.api.collect(operation, handle.ssl_id).await? else { return Ok(None) };
        let options = ChainOptions::default().drop_unrelated(true);
        // By the key, unless the record has been replaced since.
        let by_key =
            intent.and_then(|intent| options.leaf_key(intent.csr.public_key_hash()).from_pem(&pem).ok());
        match by_key.map_or_else(|| options.from_pem(&pem), Ok) {
            Ok(assembled) => Ok(Some(assembled.chain)),
            Err(input) => {
                let kind = ErrorKind::Protocol("what was collected is no certificate chain".into());
                Err(Error::new(NAME, operation, kind).because(input))
            }
        }
    }

    /// Adds what is to be proven, if the order waits for that.
    async fn show_proofs(
        &self,
        operation: Operation,
        handle: &Handle,
        intent: Option<&OrderIntent>,
        snapshot: &mut OrderSnapshot,
    ) -> Result<()> {
        let parts = match self.api.order_dcv(operation, handle.ssl_id).await {
            Ok(parts) => parts,
            // Such as a record that needs no validation.
            Err(error) if matches!(error.kind(), ErrorKind::Rejected(_) | ErrorKind::NotEligible(_)) => {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let ordered = intent.map(|intent| &intent.request.identifiers[..]).unwrap_or_default();
        let mut shown: Vec<Authorization> = Vec::new();
        for part in &parts {
            for one in authorizations(part, ordered).map_err(|what| {
                let kind = ErrorKind::Protocol(what.into());
                Error::new(NAME, operation, kind).retry_as(Retry::Never)
            })? {
                if !shown.iter().any(|known| known.identifier == one.identifier) {
                    shown.push(one);
                }
            }
        }
        if shown.iter().any(|one| one.status == AuthorizationStatus::Pending) {
            snapshot.stage = Stage::Validating;
        }
        if !shown.is_empty() {
            snapshot.authorizations = Some(shown);
        }
        Ok(())
    }

    /// Adds why an order was rejected, where its validation says so.
    async fn show_rejection(
        &self,
        operation: Operation,
        handle: &Handle,
        snapshot: &mut OrderSnapshot,
    ) -> Result<()> {
        let parts = match self.api.order_dcv(operation, handle.ssl_id).await {
            Ok(parts) => parts,
            Err(error) if error.retry() == Retry::Never => return Ok(()),
            Err(error) => return Err(error),
        };
        let told = parts.iter().find_map(|part| part.dcv_log.as_ref()?.error.as_ref()?.words());
        if let (Some(words), Some(told)) = (&snapshot.message, told) {
            snapshot.message = Some(format!("{words}: {told}").into());
        }
        Ok(())
    }
}

/// The authorizations of an order: one for each name that was ordered, or for each domain if that is not known.
fn authorizations(part: &OrderDcv, ordered: &[Identifier]) -> Result<Vec<Authorization>, &'static str> {
    let lines = part.dcv_log.iter().flat_map(|log| &log.log);
    let status: BTreeMap<String, &String> = lines
        .filter_map(|line| Some((line.domain_name.as_ref()?.to_lowercase(), line.dcv_status.as_ref()?)))
        .collect();
    let problem = part.dcv_log.as_ref().and_then(|log| log.error.as_ref()?.words());
    let mut found = Vec::new();
    for instruction in &part.instructions {
        let told = instruction.domain_name.as_deref().ok_or("an instruction names no domain")?;
        let domain: Identifier = told.parse().map_err(|_| "an instruction is for no domain")?;
        let valid = proof::is_valid(status.get(&told.to_lowercase()).copied());
        let challenges = if valid { Vec::new() } else { vec![challenge(instruction, &domain)?] };
        for identifier in concerned(&domain, ordered)? {
            found.push(Authorization {
                identifier,
                status: if valid { AuthorizationStatus::Valid } else { AuthorizationStatus::Pending },
                challenges: challenges.clone(),
                problem: problem.clone().filter(|_| !valid),
            });
        }
    }
    Ok(found)
}

fn challenge(instruction: &Instruction, domain: &Identifier) -> Result<Challenge, &'static str> {
    let mode = instruction.dcv_mode.as_deref().unwrap_or_default();
    let kind = proof::kind(mode).ok_or("an instruction is for a method that is not known here")?;
    let response = proof::response(domain, kind, &instruction.shown, None)?;
    let base = domain.base_name().map_or_else(|| domain.to_string(), ToString::to_string);
    Ok(Challenge { id: ChallengeId(format!("{kind}:{base}")), response })
}

/// The ordered names whose control a domain proves: those of that name, else those below it.
fn concerned(domain: &Identifier, ordered: &[Identifier]) -> Result<Vec<Identifier>, &'static str> {
    let Some(base) = domain.base_name() else { return Ok(vec![domain.clone()]) };
    if ordered.is_empty() {
        return Ok(vec![Identifier::Dns(base.clone())]);
    }
    let pick = |test: &dyn Fn(&certlife_core::DnsName) -> bool| -> Vec<Identifier> {
        ordered.iter().filter(|name| name.base_name().is_some_and(test)).cloned().collect()
    };
    let own = pick(&|name| name == base);
    let found = if own.is_empty() { pick(&|name| name.to_fqdn().is_within(&base.to_fqdn())) } else { own };
    if found.is_empty() { Err("an instruction is for a domain that was not ordered") } else { Ok(found) }
}

fn is_serial(chain: &Chain, serial: Option<&str>) -> bool {
    let Some(serial) = serial else { return false };
    chain.info().is_ok_and(|info| wire::folded_serial(&info.serial) == serial)
}

/// The names of a record: those of its certificate, else what the record says.
pub(super) fn identifiers(details: &Details, certificate: Option<&Chain>) -> Vec<Identifier> {
    if let Some(info) = certificate.and_then(|chain| chain.info().ok()) {
        return info.identifiers.into_iter().collect();
    }
    let mut names: Vec<Identifier> = Vec::new();
    let told = details.common_name.iter().chain(&details.subject_alternative_names);
    for name in told.filter_map(|name| name.parse().ok()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

pub(super) fn shown(details: &Details) -> BTreeMap<String, VendorText> {
    let number = |number: Option<i64>| number.map(|number| number.to_string());
    let profile = details.cert_type.as_ref();
    let told = [
        ("product", number(profile.and_then(|profile| profile.id))),
        ("product_name", profile.and_then(|profile| profile.name.clone())),
        ("organization", number(details.org_id)),
        ("term_days", number(details.term_days)),
        ("backend_id", details.backend_cert_id.clone()),
        ("requester", details.requester.clone()),
        ("external_requester", details.external_requester.clone()),
        ("requested", details.requested.clone()),
        ("comments", details.comments.clone()),
    ];
    told.into_iter().filter_map(|(key, value)| Some((key.to_owned(), VendorText::new(&value?)))).collect()
}
