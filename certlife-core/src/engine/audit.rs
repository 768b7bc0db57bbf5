//! What renewal did: which was due, by which rule, what came of it, and what it cost.

use serde::{Deserialize, Serialize};

use super::Engine;
use crate::{
    ca::PurposeKind,
    error::{Failure, Result},
    id::{AccountName, CertificateId, OrderId, VersionId},
    journal::Stored,
    model::{Order, OrderState, RenewalTrigger},
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
    /// since first orders are passed over. Why something that is due was *not* ordered is what
    /// [`explain`](Self::explain) tells.
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
