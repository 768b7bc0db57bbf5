//! What an authority tells about account, catalog, orders and renewal.

use std::collections::{BTreeMap, BTreeSet};

use certlife_core::{
    Identifier, RevocationReason,
    ca::{ImportFilter, OrderSnapshot, Revocation, Stage},
};

use super::drive::{assert_refused_unsent, chain, dns, intent, issued_ref, obtain};
use crate::ca::CaFixture;

/// More pages than any test makes.
const PAGES: usize = 100;

/// `probe` succeeds on an account that works.
pub async fn the_account_can_be_tested(fx: &impl CaFixture) {
    fx.ca().probe().await.unwrap();
    fx.ca().probe().await.unwrap();
}

/// Contract: *declared*, for the catalog. What it lists has ids of its own, and `check` knows it.
pub async fn a_catalog_is_shown_or_refused(fx: &impl CaFixture) {
    let before = fx.requests();
    if !fx.ca().capabilities().catalog {
        assert_refused_unsent(fx, before, fx.ca().catalog().await, "the catalog");
        return;
    }
    let catalog = fx.ca().catalog().await.unwrap();
    let distinct: BTreeSet<_> = catalog.products.iter().map(|product| &product.id).collect();
    assert_eq!(distinct.len(), catalog.products.len(), "two products share an id");
    let distinct: BTreeSet<_> = catalog.organizations.iter().map(|organization| &organization.id).collect();
    assert_eq!(distinct.len(), catalog.organizations.len(), "two organizations share an id");
    let mut request = fx.request(vec![dns(fx, "catalog")]);
    fx.ca().check(&request, Some(&catalog)).unwrap();
    if !catalog.products.is_empty() {
        request.product = Some("no-such-product".to_owned());
        let message = fx.ca().check(&request, Some(&catalog)).expect_err("a product that is not on offer");
        assert!(message.to_string().contains("no-such-product"), "{message}");
    }
}

async fn list(fx: &impl CaFixture, filter: &ImportFilter) -> Vec<OrderSnapshot> {
    let mut found = Vec::new();
    let mut page = None;
    for _ in 0..PAGES {
        // The cursor is stored between passes.
        let text = serde_json::to_string(&page).unwrap();
        let part = fx.ca().orders(filter, serde_json::from_str(&text).unwrap()).await.unwrap();
        found.extend(part.items);
        match part.next {
            Some(next) => page = Some(next),
            None => return found,
        }
    }
    panic!("the listing does not end");
}

/// Contract of `orders`: each once, with its names, over several pages.
pub async fn a_listing_shows_every_order_once_and_ends(fx: &impl CaFixture) {
    if !fx.ca().capabilities().import {
        let before = fx.requests();
        let refused = fx.ca().orders(&ImportFilter::default(), None).await;
        assert_refused_unsent(fx, before, refused, "the listing");
        return;
    }
    let mut expected = BTreeMap::new();
    for number in 0..5 {
        let name = dns(fx, &format!("listed-{number}"));
        let issued = obtain(fx, &intent(fx, vec![name.clone()])).await;
        expected.insert(name, chain(&issued));
    }
    let listed = list(fx, &ImportFilter::default()).await;
    for (name, chain) in &expected {
        let of_name: Vec<_> = listed.iter().filter(|order| order.identifiers.contains(name)).collect();
        assert_eq!(of_name.len(), 1, "{name} is listed {} times", of_name.len());
        assert_eq!(of_name[0].stage, Stage::Issued);
        assert!(of_name[0].certificate.is_none() || of_name[0].certificate.as_ref() == Some(chain));
        // An order that is taken over has no intent.
        let order = certlife_core::ca::OrderRef { intent: None, handle: of_name[0].handle.clone() };
        let seen = fx.ca().poll(&order).await.unwrap();
        assert_eq!(seen.certificate.as_ref(), Some(chain), "{name} cannot be fetched from its handle");
    }
}

/// Contract of `orders`: what the filter leaves out is left out.
pub async fn a_listing_keeps_to_its_filter(fx: &impl CaFixture) {
    if !fx.ca().capabilities().import {
        let before = fx.requests();
        let filter = ImportFilter { skip_expired: true, ..ImportFilter::default() };
        assert_refused_unsent(fx, before, fx.ca().orders(&filter, None).await, "the listing");
        return;
    }
    let (kept, other) = (dns(fx, "kept"), dns(fx, "other"));
    let issued = obtain(fx, &intent(fx, vec![kept.clone()])).await;
    obtain(fx, &intent(fx, vec![other.clone()])).await;
    let has = |listed: &[OrderSnapshot], name: &Identifier| {
        listed.iter().any(|order| order.identifiers.contains(name))
    };
    let named = ImportFilter { names: [kept.clone()].into(), ..ImportFilter::default() };
    let listed = list(fx, &named).await;
    assert!(has(&listed, &kept) && !has(&listed, &other));
    let future = fx.now() + std::time::Duration::from_hours(24);
    let none = ImportFilter { placed_after: Some(future), ..ImportFilter::default() };
    assert_eq!(list(fx, &none).await, []);
    if fx.ca().capabilities().revocation {
        let reason = RevocationReason::Superseded;
        let revocation = Revocation { issued: issued_ref(&issued), reason, comment: None };
        fx.ca().revoke(&revocation, None).await.unwrap();
        let filter = ImportFilter { skip_revoked: true, ..ImportFilter::default() };
        let listed = list(fx, &filter).await;
        assert!(has(&listed, &other) && !has(&listed, &kept));
    }
}

/// Contract of `renewal_window`: a window that makes sense, or none.
pub async fn a_renewal_window_lies_in_the_validity_period(fx: &impl CaFixture) {
    let issued = obtain(fx, &intent(fx, vec![dns(fx, "window")])).await;
    let before = fx.requests();
    let told = fx.ca().renewal_window(&issued_ref(&issued)).await;
    if !fx.ca().capabilities().renewal_info {
        if let Ok(told) = told {
            assert_eq!((told, fx.requests()), (None, before));
        } else {
            assert_refused_unsent(fx, before, told, "renewal information");
        }
        return;
    }
    let window = told.unwrap().unwrap_or_else(|| panic!("renewal information is promised"));
    let info = chain(&issued).info().unwrap();
    assert!(window.start < window.end, "{window:?}");
    assert!(info.not_before < window.start && window.start < info.not_after, "{window:?}");
}
