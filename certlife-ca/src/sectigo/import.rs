//! The orders that the account has already.
//!
//! A line of the listing tells neither status nor date, so each record that the filter may admit is read, and collected
//! where it has a certificate. A report would tell all at once, but in one answer without pages.

use std::time::Duration;

use certlife_core::{
    Error, ErrorKind, Identifier, Operation, Result, Timestamp,
    ca::{ImportFilter, OrderSnapshot, Stage},
    store::{Cursor, Page},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    NAME, Sectigo,
    api::next_position,
    order::Handle,
    snapshot::{Status, bare},
    wire::{self, Details, Entry},
};

const LIST: Operation = Operation::ListOrders;
/// Records of a page, of which each costs two requests.
const PAGE: usize = 50;

impl Sectigo {
    pub(super) async fn list_orders(
        &self,
        filter: &ImportFilter,
        page: Option<&Cursor>,
    ) -> Result<Page<OrderSnapshot>> {
        let mut position = page.map_or(Ok(0), position_of)?;
        // The only filter that the interface has of these, and it takes one value.
        let product = filter.products.first().filter(|_| filter.products.len() == 1);
        let query: Vec<_> = product.map(|product| ("sslTypeId", product.as_str())).into_iter().collect();
        if product.is_some_and(|product| product.parse::<u64>().is_err()) {
            return Ok(Page { items: Vec::new(), next: None });
        }
        // A page may hold nothing that is wanted; an empty one would look like the end.
        loop {
            let part = self.api.list(LIST, &query, position, PAGE).await?;
            let next = next_position(position, part.entries.len(), PAGE, part.total);
            let wanted = part.entries.iter().filter(|entry| may_have(entry, filter));
            let ids: Vec<u64> =
                wanted.filter_map(|entry| entry.ssl_id.and_then(|id| u64::try_from(id).ok())).collect();
            let records = stream::iter(ids.into_iter().map(|id| self.record(id, filter)));
            let items: Vec<Option<OrderSnapshot>> = records.buffered(4).try_collect().await?;
            let items: Vec<_> = items.into_iter().flatten().collect();
            match next {
                Some(next) if items.is_empty() => position = next,
                next => {
                    let next = next.map(|next| Cursor { value: String::new(), id: next.to_string() });
                    return Ok(Page { items, next });
                }
            }
        }
    }

    /// Reads one record; none if the filter leaves it out, or if it has gone since it was listed.
    async fn record(&self, id: u64, filter: &ImportFilter) -> Result<Option<OrderSnapshot>> {
        let details = match self.api.details(LIST, id).await {
            Ok(details) => details,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        if !admits(&details, filter) {
            return Ok(None);
        }
        let handle = Handle::new(id);
        let snapshot = match self.describe(LIST, &handle, None, &details).await {
            Ok(snapshot) => snapshot,
            // One record that cannot be collected, or whose certificate cannot be read, does not keep the others out.
            Err(error) if is_of_the_record(&error) => OrderSnapshot {
                message: Some(error.chain().into()),
                identifiers: super::snapshot::identifiers(&details, None),
                details: super::snapshot::shown(&details),
                ..bare(&handle, Stage::Processing)
            },
            Err(error) => return Err(error),
        };
        let named = |name: &Identifier| snapshot.identifiers.contains(name);
        Ok((filter.names.is_empty() || filter.names.iter().any(named)).then_some(snapshot))
    }
}

/// Whether an error says something about this record alone.
fn is_of_the_record(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::NotFound(_) | ErrorKind::Rejected(_) | ErrorKind::Conflict(_) => true,
        // A chain that cannot be read, as opposed to an answer that broke off.
        ErrorKind::Protocol(_) => std::error::Error::source(error)
            .is_some_and(<dyn std::error::Error>::is::<certlife_core::InputError>),
        _ => false,
    }
}

fn position_of(cursor: &Cursor) -> Result<usize> {
    cursor.id.parse().map_err(|_| {
        let kind = ErrorKind::Corrupt("the cursor is not one of this listing".into());
        Error::new(NAME, LIST, kind)
    })
}

/// Whether a line of the listing may be of one of the names that are wanted. What it does not tell it may have.
fn may_have(entry: &Entry, filter: &ImportFilter) -> bool {
    let others = &entry.subject_alternative_names;
    if filter.names.is_empty() || others.is_empty() {
        return true;
    }
    let told = entry.common_name.iter().chain(others);
    told.filter_map(|name| name.parse().ok()).any(|name: Identifier| filter.names.contains(&name))
}

fn admits(details: &Details, filter: &ImportFilter) -> bool {
    let skipped = match Status::of(details) {
        Status::Certified(Stage::Expired) => filter.skip_expired,
        Status::Over(Stage::Revoked) => filter.skip_revoked,
        Status::Over(_) => filter.skip_cancelled,
        _ => false,
    };
    let product = details.cert_type.as_ref().and_then(|profile| profile.id).map(|id| id.to_string());
    let wanted = filter.products.is_empty() || product.is_some_and(|id| filter.products.contains(&id));
    let late = |start: Timestamp| {
        let Some(text) = details.requested.as_deref() else { return true };
        let Some(asked) = wire::moment(text) else { return true };
        // Of a day the last moment counts: what may have been placed after is listed.
        let latest = if wire::is_day(text) { asked + Duration::from_millis(86_399_999) } else { asked };
        latest >= start
    };
    !skipped && wanted && filter.placed_after.is_none_or(late)
}
