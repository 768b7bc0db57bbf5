//! One order in the world behind a [`MemoryCa`](super::MemoryCa), and how it goes on.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use certlife_core::{
    Chain, Csr, ErrorKind, Identifier, InputError, RevocationReason, Timestamp, VendorText,
    ca::{Decision, OrderIntent, OrderSnapshot, PurposeKind, Stage},
    challenge::{
        Authorization, AuthorizationStatus, Challenge, ChallengeId, ChallengeKind, ChallengeResponse,
        HttpBody, HttpFile, HttpPath, Proof, TlsAlpnResponse,
    },
};

use super::{Plan, builder::Shared, dice, handle, issue::Template};

/// An order as the authority keeps it.
pub(super) struct Order {
    pub(super) number: String,
    pub(super) reference: String,
    pub(super) purpose: PurposeKind,
    pub(super) paid: bool,
    pub(super) placed_at: Timestamp,
    pub(super) identifiers: Vec<Identifier>,
    pub(super) product: Option<String>,
    pub(super) stage: Stage,
    pub(super) certificate: Option<Issued>,
    /// Where a suspended order goes on.
    before_suspension: Stage,
    /// Whether it is in the authority's management.
    pub(super) managed: bool,
    csr: Option<Csr>,
    /// The end of what was paid for, which a reissue shares.
    pub(super) term: Option<Timestamp>,
    wanted: std::time::Duration,
    expires: Timestamp,
    proofs: Vec<Check>,
    polls_left: u32,
    message: Option<VendorText>,
}

pub(super) struct Issued {
    pub(super) chain: Chain,
    pub(super) serial: String,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) revoked: Option<RevocationReason>,
}

/// The proof for one identifier, as far as it is.
struct Check {
    authorization: Authorization,
    /// The challenge that the subscriber chose, and after how many polls it is looked at.
    answered: Option<(ChallengeResponse, u32)>,
}

impl Order {
    pub(super) fn new(
        plan: &Plan,
        number: String,
        intent: &OrderIntent,
        term: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<Self, ErrorKind> {
        let request = &intent.request;
        intent.csr.check_against(&request.identifiers.iter().cloned().collect(), None)?;
        let proofs = proofs(plan, &number, intent)?;
        let stage = if proofs.is_empty() { after_validation(plan) } else { Stage::Validating };
        Ok(Self {
            reference: intent.reference.clone(),
            purpose: request.purpose.kind(),
            paid: plan.is_paid() && request.purpose.kind() != PurposeKind::Reissue,
            placed_at: now,
            identifiers: request.identifiers.clone(),
            product: request.product.clone(),
            stage,
            certificate: None,
            before_suspension: stage,
            managed: true,
            csr: Some(intent.csr.clone()),
            term,
            wanted: request.validity.unwrap_or(plan.validity).min(plan.validity),
            expires: now + plan.order_lifetime,
            proofs,
            polls_left: plan.polls_to_issue,
            message: None,
            number,
        })
    }

    /// Notes which challenges are ready; those of valid or failed proofs are passed over.
    pub(super) fn respond(&mut self, shared: &Shared, ready: &[ChallengeId], refusals: &Refusals) {
        for proof in &mut self.proofs {
            let chosen =
                proof.authorization.challenges.iter().find(|challenge| ready.contains(&challenge.id));
            if let (Some(chosen), None) = (chosen, &proof.answered) {
                proof.answered = Some((chosen.response.clone(), shared.plan.polls_to_check));
            }
        }
        self.advance(shared, refusals, false);
    }

    /// Has an identifier proven like this from now on; one that is proven stays so.
    pub(super) fn revalidate(
        &mut self,
        plan: &Plan,
        identifier: &Identifier,
        proof: &Proof,
    ) -> Result<(), ErrorKind> {
        if self.stage != Stage::Validating {
            return Err(ErrorKind::NotNow(format!("the order is {:?}", self.stage).into()));
        }
        let subject = |index| format!("{}/{index}", self.number);
        let found = self.proofs.iter().position(|check| check.authorization.identifier == *identifier);
        let index = found.ok_or_else(|| ErrorKind::NotFound(format!("{identifier} in the order").into()))?;
        let challenge = challenge(plan, &subject(index), identifier, proof)?;
        let check = &mut self.proofs[index];
        if check.authorization.status == AuthorizationStatus::Pending
            && check.authorization.challenges != [challenge.clone()]
        {
            check.authorization.challenges = vec![challenge];
            check.answered = None;
        }
        Ok(())
    }

    /// Goes on as far as nothing else is wanted. A poll is what time is counted in.
    pub(super) fn advance(&mut self, shared: &Shared, refusals: &Refusals, is_poll: bool) {
        let now = shared.clock.now();
        let waits = matches!(self.stage, Stage::Validating | Stage::AwaitingApproval | Stage::Processing);
        if waits && now > self.expires {
            self.stage = Stage::Expired;
        }
        if self.stage == Stage::Validating {
            self.check_proofs(shared, refusals, is_poll);
        }
        if self.stage != Stage::Processing {
            return;
        }
        if self.polls_left > 0 {
            self.polls_left -= u32::from(is_poll);
            return;
        }
        match self.issue(shared, now) {
            Ok(issued) => {
                self.stage = Stage::Issued;
                self.certificate = Some(issued);
                (self.csr, self.proofs, self.message) = (None, Vec::new(), None);
            }
            Err(error) => self.reject(&error.to_string()),
        }
    }

    fn check_proofs(&mut self, shared: &Shared, refusals: &Refusals, is_poll: bool) {
        let mut refused = None;
        for proof in &mut self.proofs {
            let Some((response, polls_left)) = &mut proof.answered else { continue };
            if proof.authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            if *polls_left > 0 {
                *polls_left -= u32::from(is_poll);
                continue;
            }
            let identifier = &proof.authorization.identifier;
            let looked = match (refusals.get(identifier), &shared.validator) {
                (Some(words), _) => Err(words.clone()),
                (None, Some(validator)) => validator(identifier, response),
                (None, None) => Ok(()),
            };
            match looked {
                Ok(()) => {
                    proof.authorization.status = AuthorizationStatus::Valid;
                    proof.authorization.challenges = Vec::new();
                }
                Err(words) => {
                    proof.authorization.status = AuthorizationStatus::Invalid;
                    proof.authorization.problem = Some(VendorText::new(&words));
                    refused = Some(words);
                }
            }
        }
        if let Some(words) = refused {
            self.reject(&words);
        } else if self.proofs.iter().all(|proof| proof.authorization.status == AuthorizationStatus::Valid) {
            self.stage = after_validation(&shared.plan);
        }
    }

    fn reject(&mut self, words: &str) {
        self.stage = Stage::Rejected;
        self.message = Some(VendorText::new(words));
    }

    fn issue(&self, shared: &Shared, now: Timestamp) -> Result<Issued, InputError> {
        let csr = self.csr.as_ref().ok_or(InputError::Csr { rule: "it is gone".into() })?;
        // Certificates know whole seconds, and their last one counts (RFC 5280 §4.1.2.5).
        let not_before = Timestamp::from_unix_seconds((now - shared.plan.backdate).unix_seconds());
        let end = not_before + self.wanted - std::time::Duration::from_secs(1);
        let not_after = self.term.map_or(end, |term| term.min(end));
        let mut serial = [0; 16];
        let roll = dice::roll(shared.plan.seed, &[b"serial", self.number.as_bytes()]);
        serial.copy_from_slice(&roll[..16]);
        // Positive, and never shortened (RFC 5280 §4.1.2.2).
        serial[0] = serial[0] & 0x3f | 0x40;
        let template = Template { csr, identifiers: &self.identifiers, serial, not_before, not_after };
        let chain = shared.issuer.issue(&template)?;
        let serial = hex(&serial);
        Ok(Issued { chain, serial, not_before, not_after, revoked: None })
    }

    /// Carries a decision out; one that was carried out already changes nothing.
    pub(super) fn decide(&mut self, decision: Decision) -> Result<(), ErrorKind> {
        let open = matches!(
            self.stage,
            Stage::Validating | Stage::AwaitingApproval | Stage::Processing | Stage::Suspended
        );
        let issued = self.certificate.is_some() && matches!(self.stage, Stage::Issued | Stage::Suspended);
        match (decision, self.stage) {
            (Decision::Approve, Stage::AwaitingApproval) => self.stage = Stage::Processing,
            (Decision::Decline, Stage::AwaitingApproval) => self.reject("the order was declined"),
            (Decision::Cancel, _) if open => self.stage = Stage::Cancelled,
            (Decision::Suspend, _) if (open || issued) && self.stage != Stage::Suspended => {
                self.before_suspension = self.stage;
                self.stage = Stage::Suspended;
            }
            (Decision::Resume, Stage::Suspended) => self.stage = self.before_suspension,
            (Decision::Deactivate, _) if issued => self.managed = false,
            (Decision::Reactivate, _) if issued => self.managed = true,
            (Decision::Resume, Stage::Issued)
            | (Decision::Approve, Stage::Processing | Stage::Issued)
            | (Decision::Decline, Stage::Rejected)
            | (Decision::Cancel, Stage::Cancelled)
            | (Decision::Suspend, Stage::Suspended) => {}
            _ => return Err(ErrorKind::NotNow(format!("the order is {:?}", self.stage).into())),
        }
        Ok(())
    }

    /// The stage as of `now`: a certificate expires by itself.
    pub(super) fn stage_at(&self, now: Timestamp) -> Stage {
        match &self.certificate {
            Some(issued) if self.stage == Stage::Issued && now > issued.not_after => Stage::Expired,
            _ => self.stage,
        }
    }

    pub(super) fn snapshot(&self, plan: &Plan, now: Timestamp) -> OrderSnapshot {
        let stage = self.stage_at(now);
        let waits = matches!(stage, Stage::Validating | Stage::AwaitingApproval | Stage::Processing);
        OrderSnapshot {
            authorizations: (!self.proofs.is_empty())
                .then(|| self.proofs.iter().map(|proof| proof.authorization.clone()).collect()),
            certificate: self.certificate.as_ref().map(|issued| issued.chain.clone()),
            ask_again: plan.ask_again.filter(|_| waits),
            expires: waits.then_some(self.expires),
            term_ends: plan.term.and(self.term),
            message: self.message.clone(),
            number: Some(VendorText::new(&self.number)),
            identifiers: self.identifiers.clone(),
            ..OrderSnapshot::new(handle(&self.number), stage)
        }
    }
}

/// The identifiers whose proofs fail, with the words.
pub(super) type Refusals = std::collections::BTreeMap<Identifier, String>;

fn after_validation(plan: &Plan) -> Stage {
    if plan.approval { Stage::AwaitingApproval } else { Stage::Processing }
}

fn proofs(plan: &Plan, number: &str, intent: &OrderIntent) -> Result<Vec<Check>, ErrorKind> {
    let kinds = &plan.capabilities.challenges;
    if kinds.is_empty() {
        return Ok(Vec::new());
    }
    let mut proofs = Vec::new();
    for (index, identifier) in intent.request.identifiers.iter().enumerate() {
        let wanted = intent.request.challenges.get(identifier);
        let offered = kinds
            .iter()
            .filter(|kind| kind.suits(identifier) && wanted.is_none_or(|wanted| wanted.kind == **kind));
        let subject = format!("{number}/{index}");
        let challenges: Vec<_> = offered
            .map(|kind| {
                let approver = wanted.and_then(|wanted| wanted.approver.clone());
                challenge(plan, &subject, identifier, &Proof { kind: *kind, approver })
            })
            .collect::<Result<_, InputError>>()?;
        if challenges.is_empty() {
            return Err(ErrorKind::Rejected(format!("nothing can prove {identifier}").into()));
        }
        let authorization = Authorization {
            identifier: identifier.clone(),
            status: AuthorizationStatus::Pending,
            challenges,
            problem: None,
        };
        proofs.push(Check { authorization, answered: None });
    }
    Ok(proofs)
}

/// What has to be shown for `identifier`; the same whenever it is asked for one subject.
pub(super) fn challenge(
    plan: &Plan,
    subject: &str,
    identifier: &Identifier,
    proof: &Proof,
) -> Result<Challenge, InputError> {
    let token = dice::roll(plan.seed, &[b"token", subject.as_bytes()]);
    let response = response(proof, identifier, &token)?;
    Ok(Challenge { id: ChallengeId(format!("{subject}/{}", proof.kind)), response })
}

fn response(
    proof: &Proof,
    identifier: &Identifier,
    token: &[u8; 32],
) -> Result<ChallengeResponse, InputError> {
    let text = URL_SAFE_NO_PAD.encode(token);
    let mut half = [0; 16];
    half.copy_from_slice(&token[..16]);
    let label = hex(&half);
    let base = || {
        identifier.base_name().map(certlife_core::DnsName::to_fqdn).ok_or_else(|| InputError::Identifier {
            identifier: identifier.to_string(),
            rule: "an address has no place in DNS".into(),
        })
    };
    Ok(match proof.kind {
        ChallengeKind::DnsTxt => {
            ChallengeResponse::DnsTxt { name: base()?.child("_acme-challenge")?, value: text }
        }
        ChallengeKind::DnsCname => ChallengeResponse::DnsCname {
            name: base()?.child(&format!("_{label}"))?,
            target: format!("{label}.validation.example").parse()?,
        },
        ChallengeKind::Http => ChallengeResponse::Http(HttpFile {
            host: identifier.clone(),
            path: HttpPath::acme(&text)?,
            body: HttpBody::new(format!("{text}.{label}"))?,
        }),
        ChallengeKind::TlsAlpn => {
            let mut authorization = [0; 32];
            authorization.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
            ChallengeResponse::TlsAlpn(TlsAlpnResponse {
                identifier: identifier.clone(),
                digest: authorization,
            })
        }
        _ => {
            let first = || base().map(|domain| format!("admin@{domain}"));
            let address = proof.approver.clone().map_or_else(first, Ok)?;
            ChallengeResponse::Email { address }
        }
    })
}

fn hex(bytes: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*bytes))
}
