//! Answers that never came: money is paid once, and what cannot be known is left to a person.

use certlife_core::{ErrorKind, Retry, ca::Found};

use super::*;
use crate::sectigo::fake::Record;

fn order_of(found: Found) -> OrderSnapshot {
    match found {
        Found::Order(order) => *order,
        found => panic!("{found:?}"),
    }
}

/// Every way in which the answer to an order can fail to tell its number.
fn losses() -> Vec<Mishap> {
    let after = |status, kind, text: &str| Mishap::After(status, kind, text.to_owned());
    vec![
        Mishap::lose(),
        after(504, "text/html", "<html>504</html>"),
        after(200, "text/html", "<html>log in</html>"),
        after(200, "application/json", "{\"sslId\": 77"),
        after(200, "application/json", "{}"),
        after(200, "application/json", "{\"sslId\": null, \"renewId\": \"\"}"),
        after(200, "application/json", ""),
        after(400, "application/json", r#"{"code":-129,"description":"connection error while applying"}"#),
        after(400, "application/json", r#"{"code":-1,"description":"unknown error"}"#),
    ]
}

#[tokio::test]
async fn an_order_whose_answer_is_lost_is_found_and_paid_once() {
    for loss in losses() {
        let fx = Fixture::start().await;
        let intent = fx.intent(&["www.suite.example"]);
        fx.fake.befall(Step::Place, loss.clone());
        let error = fx.sectigo().place(&intent).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (&ErrorKind::Uncertain, Retry::Never), "{loss:?}");
        let posts = fx.requests().iter().filter(|request| request.starts_with("POST")).count();
        assert_eq!(posts, 1, "{loss:?}");
        let found = order_of(fx.sectigo().find(&intent).await.unwrap());
        assert_eq!(fx.finish(&intent, found).await.stage, Stage::Issued);
        assert_eq!(fx.paid(), 1);
    }
}

#[tokio::test]
async fn a_throttled_order_is_sent_again_and_paid_once() {
    let fx = Fixture::start().await;
    fx.fake.befall(Step::Place, Mishap::Throttle(Some(Duration::from_secs(2))));
    fx.sectigo().place(&fx.intent(&["www.suite.example"])).await.unwrap();
    assert_eq!(fx.paid(), 1);
}

#[tokio::test]
async fn nothing_is_said_after_two_listings_and_without_waiting() {
    let fx = Fixture::start().await;
    let (clock, intent) = (&fx.clock, fx.intent(&["www.suite.example"]));
    let before = clock.now();
    assert_eq!(fx.sectigo().find(&intent).await.unwrap(), Found::Nothing);
    assert_eq!(clock.now(), before, "waiting is the engine's");
    assert_eq!(fx.requests(), ["GET /api/ssl/v1"; 2], "by common name and by organization");
    assert_eq!(fx.sectigo().capabilities().settles_in, Duration::from_mins(1));
    let hasty = fx.builder().settle_seconds(0).build().unwrap();
    assert_eq!(hasty.capabilities().settles_in, Duration::ZERO);
}

#[tokio::test]
async fn an_order_is_found_among_hundreds_on_the_last_page() {
    let fx = Fixture::start().await;
    let model = fx.obtain(&fx.intent(&["other.suite.example"])).await;
    let other = fx.fake.world().records[&ssl_id(&model)].clone();
    for number in 0..450 {
        let name = format!("n{number}.suite.example");
        let names = identifiers(&[&name]);
        let record = Record { common_name: Some(name), names, ..other.clone() };
        fx.fake.world().insert(record);
    }
    let intent = fx.intent(&["www.suite.example"]);
    fx.fake.befall(Step::Place, Mishap::lose());
    fx.sectigo().place(&intent).await.unwrap_err();
    // The CA took the common name for another one, so that only the listing of all can tell.
    for record in
        fx.fake.world().records.values_mut().filter(|record| record.names == intent.request.identifiers)
    {
        record.common_name = None;
    }
    fx.requests();
    let found = order_of(fx.sectigo().find(&intent).await.unwrap());
    let requests = fx.requests();
    assert!(requests.len() <= 7, "four pages, its details, its certificate: {requests:?}");
    assert_eq!(fx.finish(&intent, found).await.stage, Stage::Issued);
}

#[tokio::test]
async fn a_listing_that_may_lack_records_tells_nothing() {
    let fx = Fixture::start().await;
    let intent = fx.intent(&["www.suite.example"]);
    let sectigo = fx.sectigo();
    // Filled without a total, a page may be followed by another one that was shifted.
    let lines: Vec<_> = (1..=200).map(|id| json!({ "sslId": id, "commonName": "x.suite.example" })).collect();
    for _ in 0..2 {
        fx.fake.befall(Step::List, Mishap::error(200, json!(lines)));
        fx.fake.befall(Step::List, Mishap::error(200, json!([])));
    }
    assert_eq!(sectigo.find(&intent).await.unwrap(), Found::CannotTell);
    // What will not be answered later either must not end the order.
    fx.fake.befall(Step::List, Mishap::refuse(-3, "You may not list"));
    assert_eq!(sectigo.find(&intent).await.unwrap(), Found::CannotTell);
    for _ in 0..4 {
        fx.fake.befall(Step::List, Mishap::lose());
    }
    assert_eq!(sectigo.find(&intent).await.unwrap_err().retry(), Retry::Backoff);
}

#[tokio::test]
async fn a_lost_renewal_is_told_by_reference_or_key_or_not_at_all() {
    let fx = Fixture::start().await;
    let first = fx.intent(&["www.suite.example"]);
    let issued = fx.obtain(&first).await;
    let renewal = intent(OrderRequest {
        purpose: Purpose::Renewal { of: Box::new(of(&issued)) },
        ..first.request.clone()
    });
    assert_eq!(fx.sectigo().find(&renewal).await.unwrap(), Found::Nothing);

    fx.fake.befall(Step::Place, Mishap::lose());
    assert_eq!(fx.sectigo().place(&renewal).await.unwrap_err().kind(), &ErrorKind::Uncertain);
    // No certificate yet, and no reference: another renewal would look the same. It is waited for, but not for ever.
    fx.fake.world().polls = 9;
    let error = fx.sectigo().find(&renewal).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotNow(_)), "{error:?}");
    assert_eq!(error.retry(), Retry::After(Duration::from_mins(5)));
    let new = *fx.fake.world().records.last_key_value().unwrap().0;
    fx.fake.world().issue(new);
    assert_eq!(ssl_id(&order_of(fx.sectigo().find(&renewal).await.unwrap())), new);

    // A third party's renewal is not taken for ours.
    let other = intent(OrderRequest {
        purpose: Purpose::Renewal { of: Box::new(of(&issued)) },
        ..first.request.clone()
    });
    assert_eq!(fx.sectigo().find(&other).await.unwrap(), Found::CannotTell);
    let placed = fx.sectigo().place(&other).await.unwrap();
    assert_eq!(
        ssl_id(&order_of(fx.sectigo().find(&other).await.unwrap())),
        ssl_id(&placed),
        "by the reference"
    );
    assert_eq!(fx.paid(), 3);
}

#[tokio::test]
async fn a_renewal_that_is_answered_without_an_id_is_looked_for() {
    let fx = Fixture::start().await;
    let first = fx.intent(&["www.suite.example"]);
    let issued = fx.obtain(&first).await;
    fx.fake.world().renews_without_id = true;
    fx.fake.world().polls = 0;
    let renewal = intent(OrderRequest {
        purpose: Purpose::Renewal { of: Box::new(of(&issued)) },
        ..first.request.clone()
    });
    // The details show it as issued, and its key tells.
    let placed = fx.sectigo().place(&renewal).await.unwrap();
    assert_eq!(placed.stage, Stage::Issued);
    fx.fake.world().approval = true;
    let renewal = intent(OrderRequest {
        purpose: Purpose::Renewal { of: Box::new(of(&placed)) },
        ..first.request.clone()
    });
    assert_eq!(fx.sectigo().place(&renewal).await.unwrap_err().kind(), &ErrorKind::Uncertain);
    assert_eq!(fx.paid(), 3);
}

#[tokio::test]
async fn a_lost_reissue_is_told_by_reference_and_serial_number() {
    let fx = Fixture::start().await;
    let first = fx.intent(&["www.suite.example"]);
    let issued = fx.obtain(&first).await;
    let purpose = || Purpose::Reissue { of: Box::new(of(&issued)), reason: None };
    let reissue = intent(OrderRequest { purpose: purpose(), ..first.request.clone() });
    assert_eq!(fx.sectigo().find(&reissue).await.unwrap(), Found::Nothing);
    fx.fake.befall(Step::Place, Mishap::lose());
    assert_eq!(fx.sectigo().place(&reissue).await.unwrap_err().kind(), &ErrorKind::Uncertain);
    let found = order_of(fx.sectigo().find(&reissue).await.unwrap());
    let done = fx.finish(&reissue, found).await;
    assert_eq!(done.certificate.unwrap().info().unwrap().key_hash, reissue.csr.public_key_hash());
    // Once it is issued its key tells, and to another intent nothing can be told.
    assert!(matches!(fx.sectigo().find(&reissue).await.unwrap(), Found::Order(_)));
    let other = intent(OrderRequest { purpose: purpose(), ..first.request.clone() });
    assert_eq!(fx.sectigo().find(&other).await.unwrap(), Found::CannotTell);
}

#[tokio::test]
async fn other_calls_that_change_something_may_lose_their_answers() {
    let fx = Fixture::with_approval().await;
    let intent = fx.intent(&["www.suite.example"]);
    let placed = fx.sectigo().place(&intent).await.unwrap();
    fx.fake.befall(Step::Decide, Mishap::lose());
    let decided =
        fx.sectigo().decide(&order(&intent, &placed), certlife_core::ca::Decision::Approve).await.unwrap();
    assert_eq!(decided.stage, Stage::Processing);
    let issued = fx.finish(&intent, decided).await;
    fx.fake.befall(Step::Revoke, Mishap::lose());
    let reason = certlife_core::RevocationReason::KeyCompromise;
    let revocation = certlife_core::ca::Revocation { issued: of(&issued), reason, comment: None };
    fx.sectigo().revoke(&revocation, None).await.unwrap();
    assert_eq!(fx.fake.world().records[&ssl_id(&issued)].status, "Revoked");
    assert_eq!(fx.paid(), 1);
}
