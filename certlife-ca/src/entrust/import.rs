//! The orders that an account already has, a page at a time.

use certlife_core::{
    Error, ErrorKind, InputError, Operation, Result, Timestamp,
    ca::{ImportFilter, OrderSnapshot, Stage},
    store::{Cursor, Page},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{Entrust, NAME, snapshot::Handle, wire::Certificate};

const OPERATION: Operation = Operation::ListOrders;
/// Orders on a page: each is read by itself for its certificate, so that this many are held at a time.
const PAGE: usize = 25;
/// Certificates that are fetched at a time.
const AT_A_TIME: usize = 4;

impl Entrust {
    pub(super) async fn list_orders(
        &self,
        filter: &ImportFilter,
        page: Option<Cursor>,
    ) -> Result<Page<OrderSnapshot>> {
        let (offset, before) = match &page {
            Some(cursor) => read_cursor(cursor)?,
            None => (0, None),
        };
        let products = format!("in:{}", filter.products.iter().cloned().collect::<Vec<_>>().join(","));
        // Those that the CA found elsewhere cannot be renewed, reissued or revoked.
        let mut filters = vec![("isThirdParty", "false")];
        if !filter.products.is_empty() {
            filters.push(("certType", products.as_str()));
        }
        let listed = self.api.certificates(OPERATION, &filters, PAGE, offset).await?;
        let first = listed.items.first().and_then(|order| order.tracking_id);
        if first.is_some() && first == before {
            let what = "the listing leads back to a page that it already gave";
            return Err(Error::new(NAME, OPERATION, ErrorKind::Protocol(what.into())));
        }
        let now = self.clock.now();
        let wanted: Vec<Certificate> =
            listed.items.into_iter().filter(|order| !is_left_out(order, filter, now)).collect();
        let snapshots = stream::iter(wanted).map(|order| self.in_full(order)).buffered(AT_A_TIME);
        let snapshots: Vec<Option<OrderSnapshot>> = snapshots.try_collect().await?;
        let kept = |snapshot: &OrderSnapshot| !is_outside(snapshot, filter);
        Ok(Page {
            items: snapshots.into_iter().flatten().filter(kept).collect(),
            next: listed
                .next
                .map(|next| Cursor { value: next.to_string(), id: first.unwrap_or_default().to_string() }),
        })
    }

    /// Reads an order with its certificate, which the list does not hold. One that cannot be read is shown as far as
    /// the list tells, so that it does not hide all others.
    async fn in_full(&self, listed: Certificate) -> Result<Option<OrderSnapshot>> {
        let Some(order) = listed.tracking_id.filter(|id| *id > 0) else { return Ok(None) };
        let handle = Handle { order, client: None };
        let read = match self.api.certificate(OPERATION, order).await {
            Ok((full, answer)) => self.read(handle, &with_list(full, &listed), &answer),
            Err(error) => Err(error),
        };
        match read {
            Ok(snapshot) => Ok(Some(snapshot)),
            Err(error) if matches!(error.kind(), ErrorKind::Protocol(_) | ErrorKind::NotFound(_)) => {
                let bare = Certificate { end_entity_cert: None, ..listed };
                let mut snapshot = bare
                    .snapshot(handle, self.clock.now())
                    .map_err(|input| Error::new(NAME, OPERATION, ErrorKind::Input(input)))?;
                snapshot.message = Some(format!("it could not be read: {}", error.kind()).into());
                Ok(Some(snapshot))
            }
            Err(error) => Err(error),
        }
    }
}

/// What only the list told is kept.
fn with_list(full: Certificate, listed: &Certificate) -> Certificate {
    Certificate {
        status: full.status.or_else(|| listed.status.clone()),
        cert_type: full.cert_type.or_else(|| listed.cert_type.clone()),
        org: full.org.or_else(|| listed.org.clone()),
        expires_after: full.expires_after.or(listed.expires_after),
        tracking: full.tracking.or_else(|| listed.tracking.clone()),
        ..full
    }
}

fn read_cursor(cursor: &Cursor) -> Result<(usize, Option<i64>)> {
    let wrong = || {
        let rule = "it must be one that this listing gave".into();
        let input = InputError::Value { field: "page".into(), value: cursor.value.as_str().into(), rule };
        Error::new(NAME, OPERATION, ErrorKind::Input(input))
    };
    let offset = cursor.value.parse().map_err(|_| wrong())?;
    Ok((offset, cursor.id.parse().ok().filter(|id| *id != 0)))
}

/// Whether the list alone tells that an order is left out, which spares a request.
fn is_left_out(order: &Certificate, filter: &ImportFilter, now: Timestamp) -> bool {
    if order.is_third_party || order.tracking_id.is_none_or(|id| id <= 0) {
        return true;
    }
    let (word, stage) = (order.word(), order.stage(now));
    let has_expired = word == "EXPIRED" || order.expires_after.is_some_and(|end| end < now);
    // A reissue revokes the certificate that it replaces.
    let is_revoked = stage == Stage::Revoked || word == "REISSUED";
    let is_given_up = matches!(stage, Stage::Rejected | Stage::Cancelled) || order.is_deactivated();
    // Orders that wait have no date yet; they are recent then, and stay.
    let is_older = |after: Timestamp| order.issue_date_time.is_some_and(|issued| issued < after);
    let is_product = |product: &String| filter.products.contains(product);
    let names = order.identifiers();
    let is_named = names.is_empty() || names.iter().any(|name| filter.names.contains(name));
    (filter.skip_expired && has_expired)
        || (filter.skip_revoked && is_revoked)
        || (filter.skip_cancelled && is_given_up)
        || filter.placed_after.is_some_and(is_older)
        || (!filter.products.is_empty() && !order.cert_type.as_ref().is_some_and(is_product))
        || (!filter.names.is_empty() && !is_named)
}

/// Whether an order that was read in full turns out to be left out: by names that only its certificate tells.
fn is_outside(snapshot: &OrderSnapshot, filter: &ImportFilter) -> bool {
    !filter.names.is_empty() && !snapshot.identifiers.iter().any(|name| filter.names.contains(name))
}
