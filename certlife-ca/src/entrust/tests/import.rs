//! Orders that exist already.

use std::{collections::BTreeSet, time::Duration};

use certlife_core::{
    CertificateAuthority as _, ErrorKind, Retry,
    ca::{Decision, ImportFilter, OrderRef, OrderSnapshot, Stage},
    store::Cursor,
};
use serde_json::json;

use super::{
    super::{
        OrderOptions,
        fake::{Mishap, Step},
    },
    Scene, intent, order, request,
};

async fn listed(scene: &Scene, filter: &ImportFilter) -> Vec<OrderSnapshot> {
    let mut found = Vec::new();
    let mut page = None;
    loop {
        let part = scene.ca().orders(filter, page).await.unwrap();
        found.extend(part.items);
        page = part.next;
        if page.is_none() {
            return found;
        }
    }
}

/// One order in each state, by name.
async fn history(scene: &Scene) {
    let ca = scene.ca();
    let place = async |name: &str, queue: bool| {
        let options = serde_json::to_value(OrderOptions::new().queue_for_approval(queue)).unwrap();
        let name = format!("{name}.northwind.example");
        let intent = intent(certlife_core::ca::OrderRequest { options, ..request(&[&name]) });
        let seen = ca.place(&intent).await.unwrap();
        order(&intent, &seen)
    };
    place("active", false).await;
    place("waiting", true).await;
    let declined = place("declined", true).await;
    ca.decide(&declined, Decision::Decline).await.unwrap();
    let deactivated = place("deactivated", false).await;
    ca.decide(&deactivated, Decision::Deactivate).await.unwrap();
    let suspended = place("suspended", false).await;
    ca.decide(&suspended, Decision::Suspend).await.unwrap();
    for (name, status) in
        [("revoked", "REVOKED"), ("replaced", "REISSUED"), ("expired", "EXPIRED"), ("renewed", "RENEWED")]
    {
        place(name, false).await;
        scene.fake.world().orders.last_mut().unwrap().status = status.into();
    }
    place("private", false).await;
    scene.fake.world().orders.last_mut().unwrap().product = "PRIVATE_SSL".into();
    place("foreign", false).await;
    scene.fake.world().orders.last_mut().unwrap().foreign = true;
    scene.requests();
}

fn names(listed: &[OrderSnapshot]) -> Vec<String> {
    let first = |order: &OrderSnapshot| order.identifiers[0].to_string();
    listed.iter().map(|order| first(order).split('.').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn orders_are_listed_with_certificates_and_without_those_of_others() {
    use Stage::{AwaitingApproval, Expired, Issued, Rejected, Revoked, Suspended};
    let scene = Scene::new().await;
    history(&scene).await;
    scene.fake.world().max_page = 3;
    let all = listed(&scene, &ImportFilter::default()).await;
    assert_eq!(
        names(&all),
        [
            "active",
            "waiting",
            "declined",
            "deactivated",
            "suspended",
            "revoked",
            "replaced",
            "expired",
            "renewed",
            "private"
        ]
    );
    let stages: Vec<_> = all.iter().map(|order| order.stage).collect();
    assert_eq!(
        stages,
        [Issued, AwaitingApproval, Rejected, Issued, Suspended, Revoked, Issued, Expired, Issued, Issued]
    );
    for order in &all {
        assert_eq!(
            order.certificate.is_some(),
            !matches!(order.stage, AwaitingApproval | Rejected),
            "{order:?}"
        );
        assert!(order.details["product"].as_str().ends_with("_SSL"));
        let again = scene.ca().poll(&OrderRef { intent: None, handle: order.handle.clone() }).await.unwrap();
        assert_eq!((again.stage, &again.certificate), (order.stage, &order.certificate));
    }
    assert_eq!(scene.requests().len(), 4 + 10 + 10, "pages, and each order, here twice");
}

#[tokio::test]
async fn a_filter_leaves_out_before_anything_is_fetched() {
    let scene = Scene::new().await;
    history(&scene).await;
    let all = ImportFilter::default;
    let products = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>();
    let named = ["active.northwind.example", "nobody.example"].map(|name| name.parse().unwrap());
    for (filter, expected) in [
        (
            ImportFilter { skip_expired: true, skip_revoked: true, skip_cancelled: true, ..all() },
            &["active", "waiting", "suspended", "renewed", "private"][..],
        ),
        (ImportFilter { products: products(&["PRIVATE_SSL", "EV_SSL"]), ..all() }, &["private"]),
        (ImportFilter { names: named.into(), ..all() }, &["active"]),
        (
            ImportFilter { skip_revoked: true, products: products(&["UC_SSL"]), ..all() },
            &["active", "waiting", "declined", "deactivated", "suspended", "expired", "renewed"],
        ),
    ] {
        let found = listed(&scene, &filter).await;
        assert_eq!(names(&found), expected, "{filter:?}");
        assert_eq!(scene.requests().len(), 1 + expected.len(), "{filter:?}");
    }
    // By date: those that wait have none yet.
    scene.clock.advance(Duration::from_hours(48));
    let later = ImportFilter {
        placed_after: Some(certlife_core::Clock::now(&scene.clock) - Duration::from_hours(24)),
        ..all()
    };
    assert_eq!(names(&listed(&scene, &later).await), ["waiting", "declined"]);
    scene.clock.advance(Duration::from_hours(24 * 400));
    let living = ImportFilter { skip_expired: true, ..all() };
    assert_eq!(
        names(&listed(&scene, &living).await),
        ["waiting", "declined"],
        "the date counts, not the status alone"
    );
}

#[tokio::test]
async fn an_order_that_cannot_be_read_hides_no_other() {
    let scene = Scene::new().await;
    history(&scene).await;
    let broken = json!({ "trackingId": 4_810_277, "endEntityCert": "-----BEGIN NONSENSE" });
    scene.fake.befall(Step::Read, Mishap::Say(200, broken));
    let all = listed(&scene, &ImportFilter::default()).await;
    let hidden: Vec<_> = all
        .iter()
        .filter(|order| {
            order.message.as_ref().is_some_and(|words| words.as_str().contains("could not be read"))
        })
        .collect();
    assert_eq!((all.len(), hidden.len()), (10, 1));
    assert_eq!(hidden[0].certificate, None);
    // A fault of the CA is no property of an order: the page is asked for again.
    for _ in 0..16 {
        scene.fake.befall(Step::Read, Mishap::Fail);
    }
    let error = scene.ca().orders(&ImportFilter::default(), None).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (&ErrorKind::Unavailable, Retry::Backoff));
}

#[tokio::test]
async fn a_listing_ends_whatever_the_server_says() {
    let scene = Scene::new().await;
    history(&scene).await;
    scene.fake.world().max_page = 2;
    let first = scene.ca().orders(&ImportFilter::default(), None).await.unwrap();
    assert_eq!(first.next, Some(Cursor { value: "2".into(), id: "4810277".into() }));
    // The same page once more.
    let again =
        json!({ "summary": { "total": "9" }, "certificates": [{ "trackingId": "4810277", "status": "NA" }] });
    scene.fake.befall(Step::List, Mishap::Say(200, again));
    let error = scene.ca().orders(&ImportFilter::default(), first.next).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{error}");
    // Without a total, and beyond it.
    for body in [json!({ "certificates": [] }), json!({ "summary": { "total": 99 }, "certificates": [] })] {
        scene.fake.befall(Step::List, Mishap::Say(200, body));
        assert_eq!(scene.ca().orders(&ImportFilter::default(), None).await.unwrap().next, None);
    }
    for junk in ["", "-1", "x", "99999999999999999999999"] {
        let cursor = Cursor { value: junk.into(), id: "x".into() };
        let error = scene.ca().orders(&ImportFilter::default(), Some(cursor)).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Input(_)), "{junk}: {error}");
    }
    // What the CA found elsewhere has no number, and an item may be next to nothing.
    let odd = json!({ "certificates": [{ "trackingId": 0, "uri": "/x" }, { "isThirdParty": true, "trackingId": 7 }, {}] });
    scene.fake.befall(Step::List, Mishap::Say(200, odd));
    assert_eq!(scene.ca().orders(&ImportFilter::default(), None).await.unwrap().items, []);
}
