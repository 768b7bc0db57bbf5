//! One order, as the vault keeps it.

use std::time::Duration;

use certlife_core::{
    Chain, Csr, Error, Identifier, Result, Timestamp, VendorText,
    ca::{OrderHandle, OrderIntent, OrderSnapshot, PurposeKind, Stage},
    challenge::{Authorization, AuthorizationStatus, ChallengeId},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    encode::Parts,
    proof::{Proof, Seen},
    settings::{OrderOptions, Settings, Validation, days},
};

/// Everything about one order. It is written whole, and each write compares revisions, so that a
/// certificate exists once its order holds it and not before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) reference: String,
    pub(super) purpose: PurposeKind,
    pub(super) placed_at: Timestamp,
    pub(super) identifiers: Vec<Identifier>,
    pub(super) product: Option<String>,
    pub(super) options: OrderOptions,
    pub(super) csr: Csr,
    validity_seconds: Option<u64>,
    pub(super) stage: Stage,
    pub(super) expires: Timestamp,
    pub(super) proofs: Vec<Proof>,
    approved: bool,
    pub(super) certificate: Option<Chain>,
    not_after: Option<Timestamp>,
    message: Option<VendorText>,
}

impl Order {
    pub(super) fn new(
        intent: &OrderIntent,
        options: OrderOptions,
        settings: &Settings,
        now: Timestamp,
    ) -> Result<Self> {
        let request = &intent.request;
        let proofs = match settings.validation {
            Validation::None => Vec::new(),
            _ => request.identifiers.iter().map(Proof::new).collect::<Result<_>>()?,
        };
        Ok(Self {
            reference: intent.reference.clone(),
            purpose: request.purpose.kind(),
            placed_at: now,
            identifiers: request.identifiers.clone(),
            product: request.product.clone(),
            options,
            csr: intent.csr.clone(),
            validity_seconds: request.validity.map(|validity| validity.as_secs()),
            stage: Stage::Validating,
            expires: now + days(settings.order_lifetime_days),
            proofs,
            approved: false,
            certificate: None,
            not_after: None,
            message: None,
        })
    }

    pub(super) fn validity(&self) -> Option<Duration> {
        self.validity_seconds.map(Duration::from_secs)
    }

    /// Whether it still waits for something.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Validating | Stage::AwaitingApproval | Stage::Processing)
    }

    /// Goes on as far as it can without a certificate: `Processing` means that one may be signed now.
    pub(super) fn advance(&mut self, settings: &Settings, now: Timestamp) {
        if self.is_open() && now > self.expires {
            self.stage = Stage::Expired;
        }
        if self.stage == Stage::Validating {
            let refused = self.proofs.iter().find(|proof| proof.status == AuthorizationStatus::Invalid);
            if let Some(words) = refused.map(|proof| proof.problem.clone().unwrap_or_default()) {
                self.reject(words);
            } else if self.proofs.iter().all(|proof| proof.status == AuthorizationStatus::Valid) {
                self.stage = Stage::AwaitingApproval;
            }
        }
        if self.stage == Stage::AwaitingApproval && (self.approved || !settings.approval) {
            self.stage = Stage::Processing;
        }
    }

    pub(super) fn reject(&mut self, words: VendorText) {
        self.stage = Stage::Rejected;
        self.message = Some(words);
    }

    pub(super) fn approve(&mut self) {
        self.approved = true;
    }

    pub(super) fn issued(&mut self, chain: Chain) -> Result<()> {
        let info = chain.info().map_err(|error| Error::input(certlife_core::Operation::PlaceOrder, error))?;
        self.not_after = Some(info.not_after);
        self.certificate = Some(chain);
        self.stage = Stage::Issued;
        Ok(())
    }

    /// Notes that challenges are said to be ready.
    pub(super) fn answer(&mut self, ready: &[ChallengeId]) {
        for proof in &mut self.proofs {
            proof.answered |= ready.iter().any(|id| id.0 == proof.token);
        }
    }

    /// Notes what looking at the proofs has shown, one for each.
    pub(super) fn looked(&mut self, seen: Vec<Option<Seen>>) {
        for (proof, seen) in self.proofs.iter_mut().zip(seen) {
            if let Some(seen) = seen {
                proof.looked(seen);
            }
        }
    }

    /// The serial number as its certificate has it.
    pub(super) fn serial(&self) -> Option<&[u8]> {
        let chain = self.certificate.as_ref()?;
        Parts::read(chain.leaf()).ok().map(|parts| parts.serial)
    }

    /// The stage as people outside see it.
    pub(super) fn stage_at(&self, now: Timestamp, revoked: bool) -> Stage {
        match self.stage {
            Stage::Issued if revoked => Stage::Revoked,
            Stage::Issued if self.not_after.is_some_and(|end| now > end) => Stage::Expired,
            stage => stage,
        }
    }

    pub(super) fn snapshot(&self, settings: &Settings, now: Timestamp, revoked: bool) -> OrderSnapshot {
        let authorization = |proof: &Proof| Authorization {
            identifier: proof.identifier.clone(),
            status: proof.status,
            challenges: proof.challenge(settings.validation, &self.csr).into_iter().collect(),
            problem: proof.problem.clone(),
        };
        let product = self.product.as_deref().unwrap_or(Settings::DEFAULT_PRODUCT);
        let purpose = format!("{:?}", self.purpose).to_lowercase();
        OrderSnapshot {
            authorizations: (!self.proofs.is_empty())
                .then(|| self.proofs.iter().map(authorization).collect()),
            certificate: self.certificate.clone(),
            ask_again: self.proofs.iter().any(Proof::is_unclear).then_some(Proof::LOOK_AGAIN),
            expires: self.is_open().then_some(self.expires),
            message: self.message.clone(),
            number: Some(VendorText::new(&self.reference)),
            identifiers: self.identifiers.clone(),
            details: [("product".to_owned(), product.into()), ("purpose".to_owned(), purpose.into())].into(),
            ..OrderSnapshot::new(handle(&self.reference), self.stage_at(now, revoked))
        }
    }
}

/// The vault entry of the order with this reference.
pub(super) fn entry(reference: &str) -> String {
    format!("{PREFIX}{reference}")
}

/// What the vault entries of orders begin with.
pub(super) const PREFIX: &str = "order/";

pub(super) fn handle(reference: &str) -> OrderHandle {
    OrderHandle(json!({ "order": reference }))
}

/// The reference in a handle. A text that is none names no order, so it is not looked for.
pub(super) fn reference(handle: &OrderHandle) -> Option<&str> {
    handle.0.get("order").and_then(serde_json::Value::as_str).filter(|text| is_reference(text))
}

/// Whether a text has the form that the contract gives references.
pub(super) fn is_reference(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.len() <= 50 && text.bytes().all(plain)
}
