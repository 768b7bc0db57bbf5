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

const LONG_ENOUGH: Duration = Duration::from_mins(11);

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
async fn nothing_is_said_to_be_missing_before_the_ca_has_had_its_time() {
    let scene = Scene::new().await;
    let intent = wanted();
    scene.fake.befall(Step::Order, Mishap::Fail);
    assert_eq!(scene.ca().place(&intent).await.unwrap_err().kind(), &ErrorKind::Uncertain);
    let early = scene.ca().find(&intent).await.unwrap_err();
    assert!(matches!(early.kind(), ErrorKind::NotNow(_)), "{early}");
    let Retry::After(wait) = early.retry() else { panic!("{early:?}") };
    assert!(wait > Duration::from_mins(9) && wait <= Duration::from_mins(10), "{wait:?}");
    scene.clock.advance(wait);
    assert!(matches!(scene.ca().find(&intent).await.unwrap(), Found::Nothing));
    scene.ca().place(&intent).await.unwrap();
    assert_eq!(scene.taken(&intent), 1);
}

#[tokio::test]
async fn an_order_that_the_list_hides_at_first_is_not_placed_twice() {
    let scene = Scene::new().await;
    {
        let mut world = scene.fake.world();
        (world.hides_unfinished, world.polls_to_issue) = (true, 9);
        world.generates_in = Some(Duration::from_mins(4));
    }
    // The answer comes, and is lost with the process before it is stored.
    let intent = wanted();
    scene.ca().place(&intent).await.unwrap();
    let early = scene.ca().find(&intent).await.unwrap_err();
    assert!(matches!(early.retry(), Retry::After(_)), "{early:?}");
    scene.clock.advance(Duration::from_mins(5));
    assert!(matches!(scene.ca().find(&intent).await.unwrap(), Found::Order(_)));
    assert_eq!(scene.taken(&intent), 1);
}

#[tokio::test]
async fn what_was_certainly_not_taken_may_be_placed_at_once() {
    let scene = Scene::new().await;
    let hour = Some(Duration::from_hours(1));
    for (mishap, kind) in [
        (Mishap::Throttle(hour), ErrorKind::RateLimited),
        (Mishap::Say(403, json!({})), ErrorKind::Forbidden("{}".into())),
    ] {
        let intent = wanted();
        scene.fake.befall(Step::Order, mishap);
        assert_eq!(scene.ca().place(&intent).await.unwrap_err().kind(), &kind);
        assert!(matches!(scene.ca().find(&intent).await.unwrap(), Found::Nothing));
    }
    // A process that died before it sent anything has left no trace.
    assert!(matches!(scene.ca().find(&wanted()).await.unwrap(), Found::Nothing));
    assert!(scene.fake.world().ledger.is_empty());
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
    scene.clock.advance(LONG_ENOUGH);
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

#[tokio::test]
async fn notes_of_attempts_do_not_pile_up() {
    let scene = Scene::new().await;
    let notes = async || scene.vault.entries(None, 100).await.unwrap().items.len();
    // References of the engine ascend, as their ids do.
    let numbered = |number: u32| OrderIntent { reference: format!("certlife-{number:04}"), ..wanted() };
    for number in 0..4 {
        scene.ca().place(&numbered(number)).await.unwrap();
    }
    assert_eq!(notes().await, 4);
    scene.clock.advance(Duration::from_hours(24 * 8));
    for number in 4..10 {
        scene.ca().place(&numbered(number)).await.unwrap();
    }
    assert_eq!(notes().await, 6, "those of last week are gone");
    // A refusal leaves none.
    let unknown = intent(request(&["shop.elsewhere.example"]));
    assert!(scene.ca().place(&unknown).await.is_err());
    assert_eq!(notes().await, 6);
}
