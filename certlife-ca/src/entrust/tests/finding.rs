//! One paid order an intent, whatever is lost on the way.

use std::time::Duration;

use certlife_core::{
    CertificateAuthority as _, ErrorKind, Retry,
    ca::{Found, OrderIntent, OrderRequest, Purpose, Stage},
};
use serde_json::json;

use super::{
    super::fake::{Mishap, Step},
    Scene, intent, issued, request,
};

fn wanted() -> OrderIntent {
    intent(request(&["shop.northwind.example"]))
}

#[tokio::test]
async fn an_answer_that_is_lost_in_any_way_is_uncertain_and_the_order_is_found() {
    let scene = Scene::new().await;
    let first = scene.ca().place(&wanted()).await.unwrap();
    let (mut renewed, mut reissued) = (issued(&first), issued(&first));
    for mishap in [Mishap::Lose, Mishap::Garble, Mishap::Page] {
        let purposes = [
            Purpose::New,
            Purpose::Renewal { of: Box::new(renewed.clone()) },
            Purpose::Reissue { of: Box::new(reissued.clone()), reason: None },
        ];
        for purpose in purposes {
            let kind = purpose.kind();
            let intent = intent(OrderRequest { purpose, ..request(&["shop.northwind.example"]) });
            scene.fake.befall(Step::Order, mishap.clone());
            let error = scene.ca().place(&intent).await.unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::Uncertain, "{kind:?} {mishap:?}");
            let Found::Order(found) = scene.ca().find(&intent).await.unwrap() else { panic!("{kind:?}") };
            assert_eq!(found.stage, Stage::Issued);
            assert_eq!(scene.taken(&intent), 1);
            (renewed, reissued) = (issued(&found), issued(&found));
        }
    }
}

#[tokio::test]
async fn what_was_not_taken_is_not_found_and_may_be_placed() {
    let scene = Scene::new().await;
    assert_eq!(scene.ca().capabilities().settles_in, Duration::from_mins(10));
    let hour = Some(Duration::from_hours(1));
    for (mishap, kind) in [
        (Mishap::Fail, ErrorKind::Uncertain),
        (Mishap::Throttle(hour), ErrorKind::RateLimited),
        (Mishap::Say(403, json!({})), ErrorKind::Forbidden("{}".into())),
    ] {
        let intent = wanted();
        scene.fake.befall(Step::Order, mishap);
        assert_eq!(scene.ca().place(&intent).await.unwrap_err().kind(), &kind);
        assert!(matches!(scene.ca().find(&intent).await.unwrap(), Found::Nothing));
    }
    assert!(scene.fake.world().ledger.is_empty());
    let intent = wanted();
    scene.ca().place(&intent).await.unwrap();
    assert_eq!(scene.taken(&intent), 1);
}

#[tokio::test]
async fn an_order_is_told_by_its_whole_reference_on_whatever_page() {
    let scene = Scene::new().await;
    scene.fake.world().max_page = 1;
    let mine = wanted();
    for reference in [format!("{}-again1", mine.reference), format!("x{}", mine.reference)] {
        scene.ca().place(&OrderIntent { reference, ..wanted() }).await.unwrap();
    }
    scene.ca().place(&mine).await.unwrap();
    scene.requests();
    let Found::Order(found) = scene.ca().find(&mine).await.unwrap() else { panic!("it is there") };
    assert_eq!(found.number.unwrap().as_str(), "4810279");
    assert_eq!(scene.requests().len(), 4, "three pages, and the order itself");
}

#[tokio::test]
async fn what_is_not_certain_waits_for_a_person() {
    let scene = Scene::new().await;
    let mine = wanted();
    scene.ca().place(&mine).await.unwrap();
    // The CA does not search, or does not show what it found.
    for (status, body) in [
        (400, json!({ "status": 400, "errors": [{ "message": "Unknown filter" }] })),
        (403, json!({ "status": 403, "errors": [{ "message": "No right to list" }] })),
        (
            200,
            json!({ "summary": { "total": 1 }, "certificates": [{ "trackingId": 4_810_277, "status": "ACTIVE" }] }),
        ),
    ] {
        scene.fake.befall(Step::List, Mishap::Say(status, body));
        assert!(matches!(scene.ca().find(&mine).await.unwrap(), Found::CannotTell), "{status}");
    }
    // Two orders carry the reference, such as after a reissue at the portal.
    scene.ca().place(&mine).await.unwrap();
    assert!(matches!(scene.ca().find(&mine).await.unwrap(), Found::CannotTell));
}

#[tokio::test]
async fn a_successor_that_does_not_show_waits_for_a_person() {
    let scene = Scene::new().await;
    let seen = scene.ca().place(&wanted()).await.unwrap();
    let purpose = Purpose::Renewal { of: Box::new(issued(&seen)) };
    let renewal = intent(OrderRequest { purpose, ..request(&["shop.northwind.example"]) });
    scene.fake.befall(Step::Order, Mishap::Fail);
    scene.ca().place(&renewal).await.unwrap_err();
    scene.fake.world().order(4_810_277).status = "RENEWED".into();
    assert!(matches!(scene.ca().find(&renewal).await.unwrap(), Found::CannotTell));
    scene.fake.world().order(4_810_277).status = "ACTIVE".into();
    assert!(matches!(scene.ca().find(&renewal).await.unwrap(), Found::Nothing));
}

#[tokio::test]
async fn a_search_that_may_work_later_is_an_error() {
    let scene = Scene::new().await;
    for _ in 0..4 {
        scene.fake.befall(Step::List, Mishap::Fail);
    }
    let error = scene.ca().find(&wanted()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (&ErrorKind::Unavailable, Retry::Backoff));
}
