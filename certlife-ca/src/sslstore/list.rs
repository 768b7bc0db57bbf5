//! The orders that the account already has.

use std::time::Duration;

use certlife_core::{
    ErrorKind, Operation, Result,
    ca::{ImportFilter, OrderSnapshot, Stage},
    store::{Cursor, Page},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    SslStore,
    api::Which,
    check::refused,
    error,
    order::{Handle, Order, Standing},
    place::is_refusal,
};

/// As many as any client asks for.
const LARGE_PAGE: u32 = 100;
/// A listing that goes on after so many pages does not end.
const MOST_PAGES: u32 = 10_000;
/// Certificates that are fetched at a time.
const AT_A_TIME: usize = 4;

impl SslStore {
    /// Looks through the whole list for one order.
    pub(super) async fn listed(
        &self,
        operation: Operation,
        wanted: impl Fn(&Order) -> bool + Send + Sync,
    ) -> Result<Option<Order>> {
        let mut before = None;
        for number in 1..=MOST_PAGES {
            let page = self.api.orders(operation, number, LARGE_PAGE, None, "").await?;
            let first = page.orders.first().and_then(Order::number);
            let more = has_more(page.count, LARGE_PAGE, first.as_ref(), before.as_ref());
            if let Some(found) = page.orders.into_iter().find(&wanted) {
                return Ok(Some(found));
            }
            if !more {
                return Ok(None);
            }
            before = first;
        }
        Err(error(operation, ErrorKind::Protocol("the list of orders does not end".into())))
    }

    /// Lists a page for import, with the certificate of each issued order.
    pub(super) async fn list_orders(
        &self,
        filter: &ImportFilter,
        page: Option<Cursor>,
    ) -> Result<Page<OrderSnapshot>> {
        const OPERATION: Operation = Operation::ListOrders;
        let number = match &page {
            None => 1,
            Some(cursor) => {
                cursor.id.parse().ok().filter(|page| (1..=MOST_PAGES).contains(page)).ok_or_else(|| {
                    error(
                        OPERATION,
                        ErrorKind::Input(refused("page", &cursor.id, "a page of this list has a number")),
                    )
                })?
            }
        };
        let now = self.clock.now();
        let since = filter.placed_after.map(|start| (start, start.max(now) + Duration::from_hours(24)));
        let mut products = filter.products.iter();
        // The vendor filters by one product or by none.
        let product = match (products.next(), products.next()) {
            (Some(only), None) => only.as_str(),
            _ => "",
        };
        let listed = self.api.orders(OPERATION, number, self.page_size, since, product).await?;
        let first = listed.orders.first().and_then(Order::number);
        let before = page.map(|cursor| cursor.value).filter(|before| !before.is_empty());
        if first.is_some() && first == before {
            // It gives the same page again and again.
            return Ok(Page { items: Vec::new(), next: None });
        }
        let more = has_more(listed.count, self.page_size, first.as_ref(), before.as_ref());
        let found: Vec<Option<OrderSnapshot>> = stream::iter(listed.orders)
            .map(|order| self.take_over(order, filter))
            .buffered(AT_A_TIME)
            .try_collect()
            .await?;
        let next = more.then(|| Cursor { value: first.unwrap_or_default(), id: (number + 1).to_string() });
        Ok(Page { items: found.into_iter().flatten().collect(), next })
    }

    /// Reads one order of the list as far as the filter wants it. Its certificate is fetched last, since that is a
    /// request of its own.
    async fn take_over(&self, order: Order, filter: &ImportFilter) -> Result<Option<OrderSnapshot>> {
        const OPERATION: Operation = Operation::ListOrders;
        let Some(number) = order.number() else { return Ok(None) };
        if !self.admits(&order, filter) {
            return Ok(None);
        }
        let order = if order.major().is_none() || order.product().is_none() {
            // The list may show less than the order itself.
            match self.api.status(OPERATION, Which::Number(&number)).await {
                Ok(whole) => whole,
                Err(refusal) if is_refusal(&refusal) => order,
                Err(error) => return Err(error),
            }
        } else {
            order
        };
        if !self.admits(&order, filter) {
            return Ok(None);
        }
        let handle = Handle::imported(number);
        let snapshot = self.snapshot(OPERATION, &order, &handle, None).await?;
        let named = |snapshot: &OrderSnapshot| {
            filter.names.is_empty() || filter.names.iter().any(|name| snapshot.identifiers.contains(name))
        };
        let expired = snapshot.stage == Stage::Expired && filter.skip_expired;
        Ok(Some(snapshot).filter(|snapshot| named(snapshot) && !expired))
    }

    /// Whether the filter lets an order through, as far as the order tells. What it does not tell counts for it.
    fn admits(&self, order: &Order, filter: &ImportFilter) -> bool {
        let skipped = match order.standing() {
            Standing::Over(Stage::Expired) => filter.skip_expired,
            Standing::Over(Stage::Revoked) => filter.skip_revoked,
            Standing::Over(_) => filter.skip_cancelled,
            _ => {
                let end = order.object.moment("CertificateEndDate");
                filter.skip_expired
                    && end.is_some_and(|end| end + Duration::from_hours(24) < self.clock.now())
            }
        };
        let early = match (filter.placed_after, order.purchased()) {
            (Some(start), Some(bought)) => bought < start,
            _ => false,
        };
        let of_product = |product: String| filter.products.is_empty() || filter.products.contains(&product);
        !skipped && !early && order.product().is_none_or(of_product)
    }
}

/// Whether another page may follow: there is no total, so a full page says so. A page with more than was asked for, or
/// that begins like the one before, comes from a server that passes paging over.
fn has_more(count: usize, size: u32, first: Option<&String>, before: Option<&String>) -> bool {
    usize::try_from(size).is_ok_and(|size| count == size) && (first.is_none() || first != before)
}
