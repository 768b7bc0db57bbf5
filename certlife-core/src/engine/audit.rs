//! What renewal did: which was due, by which rule, what came of it, and what it cost.

use std::{collections::BTreeMap, ops::Bound};

use serde::{Deserialize, Serialize};

use super::{Engine, certificate::is_asked};
use crate::{
    ca::PurposeKind,
    error::{Failure, Result},
    id::{AccountName, CertificateId, OrderId, VersionId},
    journal::Stored,
    model::{
        Certificate, CertificateState, DecidedBy, Order, OrderState, RenewBefore, RenewalSchedule,
        RenewalTrigger,
    },
    store::{Cursor, Field, Kind, Page, Query},
    text::VendorText,
    time::Timestamp,
};

/// One renewal or reissue, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RenewalReport {
    /// The certificate.
    pub certificate: CertificateId,
    /// The order.
    pub order: OrderId,
    /// When it was drafted.
    pub at: Timestamp,
    /// The rule by which it was due; [`RenewalTrigger::Requested`] if somebody asked.
    pub trigger: Option<RenewalTrigger>,
    /// Whose word it was, unless somebody asked.
    pub decided_by: Option<DecidedBy>,
    /// The next term, or the same order again.
    pub purpose: PurposeKind,
    /// The CA account.
    pub ca: AccountName,
    /// The product or profile, where one was ordered.
    pub product: Option<String>,
    /// Our own reference, as the CA has it; none until it was about to be placed.
    pub reference: Option<String>,
    /// The order's number at the CA.
    pub number: Option<VendorText>,
    /// Until when it was paid for, where its certificate ends earlier.
    pub term_ends: Option<Timestamp>,
    /// The version that it followed or replaced.
    pub predecessor: Option<VersionId>,
    /// How far it is, or how it ended.
    pub state: OrderState,
    /// The version that it brought.
    pub version: Option<VersionId>,
    /// Why the last attempt failed.
    pub failure: Option<Failure>,
    /// When the engine goes on with it.
    pub next_attempt: Option<Timestamp>,
}

impl Engine {
    /// Lists renewals and reissues, newest first: of one certificate, or of all. A page may hold fewer than the next one,
    /// since first orders are passed over. Why something was *not* ordered is what
    /// [`renewal_outlook`](Self::renewal_outlook) lists and [`explain`](Self::explain) tells.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn renewals(
        &self,
        certificate: Option<&CertificateId>,
        page: Option<Cursor>,
    ) -> Result<Page<RenewalReport>> {
        let mut query = Query::all(Kind::Order);
        if let Some(certificate) = certificate {
            query = query.having(Field::Owner, certificate.as_str());
        }
        let Page { items, next } = self.context.journal.page::<Order>(query.after(page).descending()).await?;
        let renewals = items.into_iter().filter(|order| order.value.purpose != PurposeKind::New);
        Ok(Page { items: renewals.map(report).collect(), next })
    }
}

/// When a certificate is to be renewed, by whose word, and what stands in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RenewalOutlook {
    /// The certificate.
    pub certificate: CertificateId,
    /// The CA account.
    pub ca: AccountName,
    /// When the current version expires.
    pub not_after: Timestamp,
    /// When its renewal is due, and why then.
    pub schedule: Option<RenewalSchedule>,
    /// Whether it is renewed by itself, and who says so.
    pub automatic: (bool, DecidedBy),
    /// How long before expiry where the CA does not say, and who says so.
    pub before: (RenewBefore, DecidedBy),
    /// Why it is not, or was not, renewed when that is due; none if it will be.
    pub hindrance: Option<Hindrance>,
}

/// Why a certificate is not renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Hindrance {
    /// Its settings, or those of its account, say that it is not renewed by itself.
    Off,
    /// It is paused.
    Paused,
    /// It is revoked and not to be replaced.
    Revoked,
    /// Its current version is on hold at the CA.
    Suspended,
    /// Its current version is out of the CA's management.
    Deactivated,
    /// An order is under way already.
    UnderWay(OrderId),
    /// An order failed; the next one follows at this moment.
    Waits(Timestamp),
    /// An order failed or was given up, so that the next one is placed only if somebody asks.
    UntilAsked,
}

impl Engine {
    /// Lists the certificates that have a version, the one that expires first leading, with when and by whose word each is
    /// renewed and what stands in the way.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn renewal_outlook(&self, page: Option<Cursor>) -> Result<Page<RenewalOutlook>> {
        let query = Query::all(Kind::Certificate).between(Field::Expires, Bound::Unbounded, Bound::Unbounded);
        let Page { items, next } = self.context.journal.page::<Certificate>(query.after(page)).await?;
        let mut policies = BTreeMap::new();
        let now = self.context.now();
        let mut outlooks = Vec::new();
        for Stored { value: certificate, .. } in items {
            let ca = certificate.spec.ca.clone();
            if !policies.contains_key(&ca) {
                policies.insert(ca.clone(), self.context.policy(&ca).await?);
            }
            let Some((_, not_after)) = certificate.validity else { continue };
            let policy = &policies[&ca];
            let automatic = policy.automatic(&certificate.spec);
            outlooks.push(RenewalOutlook {
                hindrance: hindrance(&certificate, automatic.0, now),
                before: policy.before(&certificate.spec),
                certificate: certificate.spec.id,
                ca,
                not_after,
                schedule: certificate.schedule,
                automatic,
            });
        }
        Ok(Page { items: outlooks, next })
    }
}

fn hindrance(certificate: &Certificate, automatic: bool, now: Timestamp) -> Option<Hindrance> {
    let asked = certificate.schedule.as_ref().is_some_and(|schedule| is_asked(schedule.trigger));
    match (certificate.order, certificate.state, certificate.not_before) {
        (Some(order), ..) => Some(Hindrance::UnderWay(order)),
        (_, CertificateState::Paused, _) => Some(Hindrance::Paused),
        (_, CertificateState::Revoked, _) => Some(Hindrance::Revoked),
        _ if certificate.suspended.is_some() && !asked => Some(Hindrance::Suspended),
        _ if certificate.deactivated.is_some() && !asked => Some(Hindrance::Deactivated),
        _ if !automatic && !asked => Some(Hindrance::Off),
        (.., Some(Timestamp::MAX)) => Some(Hindrance::UntilAsked),
        (.., Some(earliest)) if earliest > now => Some(Hindrance::Waits(earliest)),
        _ => None,
    }
}

fn report(order: Stored<Order>) -> RenewalReport {
    let Stored { value: order, due, .. } = order;
    let (reference, product) = match order.intent {
        Some(intent) => (Some(intent.reference), intent.request.product),
        None => (None, None),
    };
    RenewalReport {
        certificate: order.certificate,
        order: order.id,
        at: order.created_at,
        trigger: order.trigger,
        decided_by: order.decided_by,
        purpose: order.purpose,
        ca: order.ca,
        product,
        reference,
        number: order.number,
        term_ends: order.term_ends,
        predecessor: order.predecessor,
        state: order.state,
        version: order.version,
        failure: order.failure,
        next_attempt: due,
    }
}
