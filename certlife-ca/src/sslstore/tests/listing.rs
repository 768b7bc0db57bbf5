//! Import of orders that exist.

use std::time::Duration;

use certlife_core::{
    ErrorKind,
    ca::{ImportFilter, OrderHandle},
    store::Cursor,
};
use serde_json::json;

use super::*;

async fn list(desk: &Desk, filter: &ImportFilter) -> Vec<OrderSnapshot> {
    let (mut found, mut page) = (Vec::new(), None);
    for _ in 0..20 {
        let part = desk.ca().orders(filter, page).await.unwrap();
        found.extend(part.items);
        match part.next {
            Some(next) => page = Some(next),
            None => return found,
        }
    }
    panic!("the list does not end");
}

fn numbers(listed: &[OrderSnapshot]) -> Vec<&str> {
    listed.iter().map(|order| order.number.as_ref().unwrap().as_str()).collect()
}

/// Five orders: issued, waiting, cancelled, revoked, expired.
async fn book() -> Desk {
    let desk = Desk::start().await;
    for product in ["positivessl", "positivessl", "positivessl", "digi_rapidssl", "positivessl"] {
        let number = desk.fake.world().orders.len();
        let ordered = intent(request(product, &[&format!("n{number}.example.org")]));
        if number == 1 {
            _ = desk.ca().place(&ordered).await.unwrap();
        } else {
            _ = desk.obtain(&ordered).await;
        }
    }
    let mut world = desk.fake.world();
    world.order("7000003").cancel();
    world.order("7000004").major = "Cancelled".into();
    world.order("7000004").minor = "Revoked".into();
    world.order("7000005").major = "Expired".into();
    drop(world);
    desk
}

#[tokio::test]
async fn all_pages_are_listed_newest_first_with_their_stages() {
    let desk = book().await;
    desk.fake.world().nulls = true;
    desk.calls();
    let listed = list(&desk, &ImportFilter::default()).await;
    assert_eq!(numbers(&listed), ["7000005", "7000004", "7000003", "7000002", "7000001"]);
    let stages: Vec<_> = listed.iter().map(|order| order.stage).collect();
    // The list shows no proofs, so a waiting order is one that the CA works on.
    assert_eq!(stages, [Stage::Expired, Stage::Revoked, Stage::Cancelled, Stage::Processing, Stage::Issued]);
    assert_eq!(listed[4].certificate.as_ref().unwrap().intermediates().len(), 1);
    assert_eq!(
        (listed[4].identifiers.as_slice(), listed[4].details["product"].as_str()),
        (&[name("n0.example.org")][..], "positivessl")
    );
    let calls = desk.calls();
    assert_eq!(
        calls.iter().filter(|call| *call == "order/query").count(),
        4,
        "six elements of two a page, and the end"
    );
    assert_eq!(calls.iter().filter(|call| *call == "order/download").count(), 1, "{calls:?}");
}

#[tokio::test]
async fn filters_spare_what_they_leave_out() {
    let desk = book().await;
    let filter = |change: &dyn Fn(&mut ImportFilter)| {
        let mut filter = ImportFilter::default();
        change(&mut filter);
        filter
    };
    for (filter, expected) in [
        (filter(&|f| f.skip_expired = true), vec!["7000004", "7000003", "7000002", "7000001"]),
        (filter(&|f| f.skip_revoked = true), vec!["7000005", "7000003", "7000002", "7000001"]),
        (filter(&|f| f.skip_cancelled = true), vec!["7000005", "7000004", "7000002", "7000001"]),
        (filter(&|f| f.products = ["digi_rapidssl".into()].into()), vec!["7000004"]),
        (
            filter(&|f| f.products = ["digi_rapidssl".into(), "positivessl".into()].into()),
            vec!["7000005", "7000004", "7000003", "7000002", "7000001"],
        ),
        (filter(&|f| f.products = ["nothing".into()].into()), vec![]),
        (
            filter(&|f| f.names = [name("n0.example.org"), name("n2.example.org")].into()),
            vec!["7000003", "7000001"],
        ),
    ] {
        assert_eq!(numbers(&list(&desk, &filter).await), expected, "{filter:?}");
    }
    let now = certlife_core::Clock::now(&desk.clock);
    let early = ImportFilter { placed_after: Some(now - Duration::from_hours(1)), ..ImportFilter::default() };
    assert_eq!(list(&desk, &early).await.len(), 5);
    let late = ImportFilter { placed_after: Some(now + Duration::from_secs(2)), ..ImportFilter::default() };
    assert_eq!(list(&desk, &late).await, []);

    // A certificate that has run out is expired, whatever the order says.
    desk.clock.advance(Duration::from_hours(24 * 300));
    let listed = list(&desk, &ImportFilter::default()).await;
    assert_eq!(listed[4].stage, Stage::Expired);
    let fresh = ImportFilter { skip_expired: true, ..ImportFilter::default() };
    desk.calls();
    assert!(!numbers(&list(&desk, &fresh).await).contains(&"7000001"));
    assert!(!desk.calls().contains(&"order/download".to_owned()), "nothing is fetched for what is left out");
}

#[tokio::test]
async fn a_server_that_passes_over_paging_ends_too() {
    let desk = book().await;
    desk.fake.world().ignores_paging = true;
    assert_eq!(list(&desk, &ImportFilter::default()).await.len(), 5);
    // With exactly a page of orders the second page is the first again.
    desk.fake.world().orders.truncate(2);
    assert_eq!(numbers(&list(&desk, &ImportFilter::default()).await), ["7000002", "7000001"]);
}

#[tokio::test]
async fn an_element_that_shows_little_is_read_in_full() {
    let desk = book().await;
    let bare =
        json!([{ "TheSSLStoreOrderID": 7_000_001 }, { "CommonName": "no number" }, "junk"]).to_string();
    desk.fake.world().scripted.push(("order/query".into(), 200, "application/json".into(), bare));
    let listed = desk.ca().orders(&ImportFilter::default(), None).await.unwrap();
    assert_eq!((numbers(&listed.items), listed.items[0].stage), (vec!["7000001"], Stage::Issued));
}

#[tokio::test]
async fn an_imported_order_is_followed_and_renewed_but_not_reissued() {
    let desk = book().await;
    let listed = list(&desk, &ImportFilter::default()).await;
    let imported = listed.last().unwrap();
    let order = OrderRef { intent: None, handle: imported.handle.clone() };
    assert_eq!(desk.ca().poll(&order).await.unwrap().certificate, imported.certificate);
    let ordered = request("positivessl", &["n0.example.org"]);
    let reissue = OrderRequest {
        purpose: Purpose::Reissue { of: Box::new(issued_ref(imported)), reason: None },
        ..ordered.clone()
    };
    let refused = desk.ca().check(&reissue, None).unwrap_err().to_string();
    assert!(refused.contains("placed elsewhere") && refused.contains("7000001"), "{refused}");
    desk.calls();
    assert!(matches!(desk.ca().place(&intent(reissue)).await.unwrap_err().kind(), ErrorKind::Input(_)));
    assert!(desk.calls().is_empty());
    let renewal =
        OrderRequest { purpose: Purpose::Renewal { of: Box::new(issued_ref(imported)) }, ..ordered };
    desk.obtain(&intent(renewal)).await;
}

#[tokio::test]
async fn a_foreign_cursor_is_named() {
    let desk = Desk::start().await;
    for id in ["", "0", "x", "99999999999"] {
        let cursor = Cursor { value: String::new(), id: id.into() };
        let error = desk.ca().orders(&ImportFilter::default(), Some(cursor)).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Input(_)), "{id:?}: {error}");
    }
    let handle = OrderHandle(json!({ "order": "../x" }));
    let error = desk.ca().poll(&OrderRef { intent: None, handle }).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotFound(_)), "{error}");
}
