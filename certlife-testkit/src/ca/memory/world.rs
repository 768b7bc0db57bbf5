//! Everything that a [`MemoryCa`](super::MemoryCa) keeps across restarts.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use certlife_core::{
    ErrorKind, Fingerprint, Identifier, Operation, RevocationReason, Timestamp, VendorText,
    ca::{
        Decision, DomainValidation, Found, ImportFilter, OrderIntent, OrderSnapshot, Purpose, PurposeKind,
        RenewalWindow, Stage,
    },
    challenge::{Authorization, AuthorizationStatus, ChallengeId, Proof},
    store::{Cursor, Page},
};

use super::{
    Plan,
    builder::Shared,
    dice, no_such_order,
    order::{self, Order, Refusals},
};
use crate::ca::Fault;

/// How long a domain that was validated apart from orders stays so: BR §4.2.1 allowed 398 days for long.
const DOMAIN_VALIDITY: Duration = Duration::from_hours(398 * 24);

#[derive(Default)]
pub(super) struct World {
    pub(super) faults: VecDeque<(Option<Operation>, Fault)>,
    pub(super) down: Vec<(Timestamp, Timestamp)>,
    pub(super) refused: Refusals,
    pub(super) refuses_revocations: bool,
    pub(super) hurry: Option<(Timestamp, RenewalWindow)>,
    /// How many requests arrived and were carried out.
    pub(super) requests: HashMap<Operation, u64>,
    /// How often each subject was the matter of each operation; kept only where chance has a part.
    attempts: HashMap<(Operation, String), u64>,
    orders: BTreeMap<String, Order>,
    by_reference: HashMap<String, Vec<String>>,
    by_certificate: HashMap<Fingerprint, String>,
    /// Domains that are validated apart from orders.
    domains: BTreeMap<Identifier, (Proof, DomainValidation)>,
}

/// One order as the authority's books show it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LedgerLine {
    /// The authority's number.
    pub number: String,
    /// The reference of the intent.
    pub reference: String,
    /// What it was for.
    pub purpose: PurposeKind,
    /// Whether it cost money.
    pub paid: bool,
    /// When it was placed.
    pub placed_at: Timestamp,
    /// How far it is.
    pub stage: Stage,
    /// The identifiers.
    pub identifiers: Vec<Identifier>,
    /// The serial number of the certificate in hexadecimal digits, once it is issued.
    pub serial: Option<String>,
    /// Names the certificate, once it is issued.
    pub fingerprint: Option<Fingerprint>,
    /// The validity period, once it is issued.
    pub validity: Option<(Timestamp, Timestamp)>,
    /// Whether it is in the authority's management.
    pub managed: bool,
    /// Why it was revoked, if it was.
    pub revoked: Option<RevocationReason>,
}

impl World {
    /// Decides what befalls a request.
    pub(super) fn arrive(
        &mut self,
        operation: Operation,
        subject: &str,
        plan: &Plan,
        now: Timestamp,
    ) -> Option<Fault> {
        let planned =
            self.faults.iter().position(|(wanted, _)| wanted.is_none_or(|wanted| wanted == operation));
        if let Some((_, fault)) = planned.and_then(|place| self.faults.remove(place)) {
            return Some(fault);
        }
        if plan.failure_rate <= 0.0 && plan.lost_answer_rate <= 0.0 {
            return None;
        }
        // Subjects that recur for ever, such as a listing, are told apart by time.
        let subject = if subject.is_empty() { now.to_string() } else { subject.to_owned() };
        let words = operation.words().as_bytes();
        let attempt = self.attempts.entry((operation, subject.clone())).or_default();
        *attempt += 1;
        let roll = dice::roll(plan.seed, &[b"fate", words, subject.as_bytes(), &attempt.to_be_bytes()]);
        if dice::fraction(&roll, 0) < plan.failure_rate {
            let pause = Duration::from_secs(u64::from(roll[4]));
            return Some(match roll[5] % 3 {
                0 => Fault::Fail,
                1 => Fault::Throttle(None),
                _ => Fault::Throttle(Some(pause)),
            });
        }
        (dice::fraction(&roll, 2) < plan.lost_answer_rate).then_some(Fault::LoseAnswer)
    }

    pub(super) fn is_down(&self, now: Timestamp) -> bool {
        self.down.iter().any(|(start, end)| *start <= now && now < *end)
    }

    pub(super) fn place(
        &mut self,
        shared: &Shared,
        intent: &OrderIntent,
        now: Timestamp,
    ) -> Result<OrderSnapshot, ErrorKind> {
        let term = self.term_of_predecessor(shared, intent)?.or(shared.plan.term.map(|term| now + term));
        let number = format!("M-{:08}", self.orders.len() + 1);
        let order = Order::new(&shared.plan, number.clone(), intent, term, now)?;
        self.by_reference.entry(order.reference.clone()).or_default().push(number.clone());
        self.orders.insert(number.clone(), order);
        self.step(shared, &number, now, |order, refusals| {
            order.advance(shared, refusals, false);
            Ok(())
        })
    }

    /// A paid reissue keeps the end of what was paid for: that of the order where it has one, else of the certificate.
    fn term_of_predecessor(
        &self,
        shared: &Shared,
        intent: &OrderIntent,
    ) -> Result<Option<Timestamp>, ErrorKind> {
        let Purpose::Reissue { of, .. } = &intent.request.purpose else { return Ok(None) };
        let order =
            self.by_certificate.get(&of.chain.fingerprint()).and_then(|number| self.orders.get(number));
        let order = order.ok_or_else(|| ErrorKind::NotFound("the order to reissue".into()))?;
        let not_after = order.certificate.as_ref().map(|issued| issued.not_after);
        Ok(order.term.or(not_after).filter(|_| shared.plan.is_paid()))
    }

    pub(super) fn find(&self, reference: &str, plan: &Plan, now: Timestamp) -> Found {
        let order = self.by_reference.get(reference).and_then(|numbers| self.orders.get(numbers.last()?));
        let order = order.filter(|order| order.placed_at + plan.capabilities.settles_in <= now);
        order.map_or(Found::Nothing, |order| Found::Order(Box::new(order.snapshot(plan, now))))
    }

    pub(super) fn respond(
        &mut self,
        shared: &Shared,
        number: &str,
        ready: &[ChallengeId],
        now: Timestamp,
    ) -> Result<OrderSnapshot, ErrorKind> {
        self.step(shared, number, now, |order, refusals| {
            order.respond(shared, ready, refusals);
            Ok(())
        })
    }

    pub(super) fn poll(
        &mut self,
        shared: &Shared,
        number: &str,
        now: Timestamp,
    ) -> Result<OrderSnapshot, ErrorKind> {
        self.step(shared, number, now, |order, refusals| {
            order.advance(shared, refusals, true);
            Ok(())
        })
    }

    pub(super) fn revalidate(
        &mut self,
        shared: &Shared,
        number: &str,
        identifier: &Identifier,
        proof: &Proof,
        now: Timestamp,
    ) -> Result<OrderSnapshot, ErrorKind> {
        self.step(shared, number, now, |order, refusals| {
            order.revalidate(&shared.plan, identifier, proof)?;
            order.advance(shared, refusals, false);
            Ok(())
        })
    }

    /// Says what to show for a domain; asked again, looks for it.
    pub(super) fn validate_domain(
        &mut self,
        shared: &Shared,
        domain: &Identifier,
        proof: &Proof,
        now: Timestamp,
    ) -> Result<DomainValidation, ErrorKind> {
        let known = self.domains.get_mut(domain).filter(|(known, validation)| {
            known == proof && validation.valid_until.is_none_or(|end| now < end)
        });
        let Some((_, validation)) = known else {
            let challenge = order::challenge(&shared.plan, &format!("domain/{domain}"), domain, proof)?;
            let authorization = Authorization {
                identifier: domain.clone(),
                status: AuthorizationStatus::Pending,
                challenges: vec![challenge],
                problem: None,
            };
            let ask_again = shared.plan.ask_again;
            let validation = DomainValidation { authorization, valid_until: None, ask_again };
            self.domains.insert(domain.clone(), (proof.clone(), validation.clone()));
            return Ok(validation);
        };
        let authorization = &mut validation.authorization;
        if let [challenge] = &authorization.challenges[..] {
            let looked = match &shared.validator {
                Some(validator) => validator(domain, &challenge.response),
                None => Ok(()),
            };
            match looked {
                Ok(()) => {
                    (authorization.status, authorization.challenges) =
                        (AuthorizationStatus::Valid, Vec::new());
                    authorization.problem = None;
                    validation.valid_until = Some(now + DOMAIN_VALIDITY);
                    validation.ask_again = None;
                }
                Err(words) => authorization.problem = Some(VendorText::new(&words)),
            }
        }
        Ok(validation.clone())
    }

    pub(super) fn decide(
        &mut self,
        shared: &Shared,
        number: &str,
        decision: Decision,
        now: Timestamp,
    ) -> Result<OrderSnapshot, ErrorKind> {
        self.step(shared, number, now, |order, refusals| {
            order.decide(decision)?;
            order.advance(shared, refusals, false);
            Ok(())
        })
    }

    /// Takes one order a step on, and notes its certificate if that step issued it.
    fn step(
        &mut self,
        shared: &Shared,
        number: &str,
        now: Timestamp,
        step: impl FnOnce(&mut Order, &Refusals) -> Result<(), ErrorKind>,
    ) -> Result<OrderSnapshot, ErrorKind> {
        let order = self.orders.get_mut(number).ok_or_else(no_such_order)?;
        step(order, &self.refused)?;
        if let Some(issued) = &order.certificate {
            self.by_certificate.entry(issued.chain.fingerprint()).or_insert_with(|| number.to_owned());
        }
        Ok(order.snapshot(&shared.plan, now))
    }

    pub(super) fn revoke(
        &mut self,
        fingerprint: Fingerprint,
        reason: RevocationReason,
    ) -> Result<(), ErrorKind> {
        if self.refuses_revocations {
            return Err(ErrorKind::Rejected("ask the registration officer".into()));
        }
        let number = self.by_certificate.get(&fingerprint);
        let order = number.and_then(|number| self.orders.get_mut(number));
        let order = order.ok_or_else(|| ErrorKind::NotFound("the certificate".into()))?;
        if let Some(issued) = &mut order.certificate {
            issued.revoked.get_or_insert(reason);
        }
        order.stage = Stage::Revoked;
        Ok(())
    }

    pub(super) fn list(
        &self,
        filter: &ImportFilter,
        after: Option<&Cursor>,
        plan: &Plan,
        now: Timestamp,
    ) -> Page<OrderSnapshot> {
        let admits = |order: &&Order| {
            let skipped = match order.stage_at(now) {
                Stage::Expired => filter.skip_expired,
                Stage::Revoked => filter.skip_revoked,
                Stage::Cancelled | Stage::Rejected => filter.skip_cancelled,
                _ => false,
            };
            let of_product = |product: &String| order.product.as_ref() == Some(product);
            !skipped
                && filter.placed_after.is_none_or(|start| order.placed_at >= start)
                && (filter.products.is_empty() || filter.products.iter().any(of_product))
                && (filter.names.is_empty()
                    || filter.names.iter().any(|name| order.identifiers.contains(name)))
        };
        let rest = self.orders.values().filter(|order| after.is_none_or(|after| order.number > after.id));
        let mut found = rest.filter(admits);
        let items: Vec<_> = found.by_ref().take(plan.page_size).collect();
        let more = found.next().is_some();
        let next = items.last().filter(|_| more);
        Page {
            next: next.map(|order| Cursor { value: String::new(), id: order.number.clone() }),
            items: items.iter().map(|order| order.snapshot(plan, now)).collect(),
        }
    }

    pub(super) fn renewal_window(
        &self,
        plan: &Plan,
        fingerprint: Fingerprint,
    ) -> Result<Option<RenewalWindow>, ErrorKind> {
        let Some((from, to)) = plan.renewal_windows else { return Ok(None) };
        let order = self.by_certificate.get(&fingerprint).and_then(|number| self.orders.get(number));
        let issued = order.and_then(|order| order.certificate.as_ref());
        let issued = issued.ok_or_else(|| ErrorKind::NotFound("the certificate".into()))?;
        if let Some((until, window)) = self.hurry.as_ref().filter(|(until, _)| issued.not_before <= *until) {
            tracing::trace!(%until, "the renewal of this certificate is hurried");
            return Ok(Some(window.clone()));
        }
        let length = issued.not_after.since(issued.not_before);
        let at = |share: f64| issued.not_before + length.mul_f64(share.clamp(0.0, 1.0));
        Ok(Some(RenewalWindow {
            start: at(from),
            end: at(to),
            explanation: None,
            ask_again: Some(Duration::from_hours(6)),
        }))
    }

    pub(super) fn order_count(&self) -> usize {
        self.orders.len()
    }

    pub(super) fn count_of(&self, reference: &str) -> usize {
        self.by_reference.get(reference).map_or(0, Vec::len)
    }

    pub(super) fn duplicates(&self) -> BTreeMap<String, usize> {
        let several = self.by_reference.iter().filter(|(_, numbers)| numbers.len() > 1);
        several.map(|(reference, numbers)| (reference.clone(), numbers.len())).collect()
    }

    pub(super) fn ledger(&self, now: Timestamp) -> Vec<LedgerLine> {
        let line = |order: &Order| {
            let issued = order.certificate.as_ref();
            LedgerLine {
                number: order.number.clone(),
                reference: order.reference.clone(),
                purpose: order.purpose,
                paid: order.paid,
                placed_at: order.placed_at,
                stage: order.stage_at(now),
                identifiers: order.identifiers.clone(),
                serial: issued.map(|issued| issued.serial.clone()),
                fingerprint: issued.map(|issued| issued.chain.fingerprint()),
                validity: issued.map(|issued| (issued.not_before, issued.not_after)),
                managed: order.managed,
                revoked: issued.and_then(|issued| issued.revoked),
            }
        };
        self.orders.values().map(line).collect()
    }
}
