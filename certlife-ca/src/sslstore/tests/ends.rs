//! What becomes of orders: waiting, cancelled, revoked, kept.

use std::time::Duration;

use certlife_core::{
    ErrorKind, Operation, Retry, RevocationReason,
    ca::{Decision, OrderHandle, Revocation},
};
use serde_json::json;

use super::{super::fake::ORDER_SECRET, *};

#[tokio::test]
async fn cancelling_asks_for_the_money_once_and_leaves_issued_orders_alone() {
    let desk = Desk::start().await;
    desk.fake.world().refunds_at_once = false;
    let waiting = simple();
    let placed = desk.ca().place(&waiting).await.unwrap();
    let order = order_ref(&waiting, &placed);
    let asked = desk.ca().decide(&order, Decision::Cancel).await.unwrap();
    assert_eq!(asked.stage, Stage::Processing, "granted is what the vendor says is granted");
    assert!(asked.message.unwrap().as_str().contains("a refund is asked for"));
    desk.ca().decide(&order, Decision::Cancel).await.unwrap();
    assert_eq!(desk.fake.world().calls("order/refundrequest"), 1);
    assert_eq!(desk.fake.world().calls("order/refundstatus"), 1);
    desk.fake.world().order("7000001").cancel();
    assert_eq!(desk.ca().decide(&order, Decision::Cancel).await.unwrap().stage, Stage::Cancelled);
    assert_eq!(desk.ca().poll(&order).await.unwrap().stage, Stage::Cancelled);

    let first = simple();
    let issued = desk.obtain(&first).await;
    let order = order_ref(&first, &issued);
    let error = desk.ca().decide(&order, Decision::Cancel).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotNow(_)), "{error}");
    desk.fake.world().refunds_at_once = true;
    let back = desk.ca().refund(&issued.handle, "ordered by mistake").await.unwrap();
    assert_eq!(back.stage, Stage::Cancelled);
    assert_eq!(desk.body("order/refundrequest")["RefundReason"], "ordered by mistake");
}

#[tokio::test]
async fn a_lost_cancellation_is_uncertain_and_harmless_to_ask_again() {
    let desk = Desk::start().await;
    let waiting = simple();
    let placed = desk.ca().place(&waiting).await.unwrap();
    lose(&desk, "order/refundrequest");
    let order = order_ref(&waiting, &placed);
    let error = desk.ca().decide(&order, Decision::Cancel).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (&ErrorKind::Uncertain, Retry::Never));
    assert_eq!(desk.ca().decide(&order, Decision::Cancel).await.unwrap().stage, Stage::Cancelled);
    assert_eq!(desk.fake.world().calls("order/refundrequest"), 1);
}

#[tokio::test]
async fn a_revocation_names_certificate_and_reason() {
    let desk = Desk::start().await;
    let first = simple();
    let issued = desk.obtain(&first).await;
    let revocation = |reason| Revocation {
        issued: issued_ref(&issued),
        reason,
        comment: Some("x".repeat(900).as_str().into()),
    };
    desk.calls();
    for reason in [RevocationReason::CertificateHold, RevocationReason::CaCompromise] {
        let error = desk.ca().revoke(&revocation(reason), None).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unsupported(_)));
    }
    assert!(desk.calls().is_empty());
    lose(&desk, "order/certificaterevokerequest");
    desk.ca().revoke(&revocation(RevocationReason::KeyCompromise), None).await.unwrap();
    let body = desk.body("order/certificaterevokerequest");
    assert_eq!(body["SerialNumber"], json!(issued.certificate.as_ref().unwrap().info().unwrap().serial));
    let words = body["RevokeReason"].as_str().unwrap();
    assert!(words.starts_with("Key compromise: x") && words.len() == 250, "{words}");
    let seen = desk.ca().poll(&order_ref(&first, &issued)).await.unwrap();
    assert_eq!(seen.stage, Stage::Revoked);

    // What cannot be revoked for another reason is an error.
    let other = desk.obtain(&simple()).await;
    desk.fake.world().order("7000002").major = "Expired".into();
    let revocation = Revocation { issued: issued_ref(&other), ..revocation(RevocationReason::Unspecified) };
    let error = desk.ca().revoke(&revocation, None).await.unwrap_err();
    assert!(error.to_string().contains("no such active certificate"), "{error}");
    let orphan = Revocation { issued: IssuedRef { handle: None, ..revocation.issued.clone() }, ..revocation };
    assert!(matches!(desk.ca().revoke(&orphan, None).await.unwrap_err().kind(), ErrorKind::NotFound(_)));
}

#[tokio::test]
async fn an_archive_is_handed_out_as_it_is() {
    let desk = Desk::start().await;
    let issued = desk.obtain(&simple()).await;
    let archive = desk.ca().archive(&issued.handle).await.unwrap();
    assert!(archive.zip.starts_with(b"-----BEGIN CERTIFICATE-----"));
    assert_eq!(archive.pkcs7_zip.as_deref(), Some(&b"pkcs7"[..]));
    let nothing = json!({ "Zip": "%", "pkcs7zip": null }).to_string();
    desk.fake.world().scripted.push(("order/downloadaszip".into(), 200, "application/json".into(), nothing));
    let error = desk.ca().archive(&issued.handle).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{error}");
}

#[tokio::test]
async fn an_order_that_the_list_has_is_not_lost_for_a_refusal() {
    let desk = Desk::start().await;
    let first = simple();
    let placed = desk.ca().place(&first).await.unwrap();
    let refusal = json!({ "AuthResponse": { "isError": true, "Message": ["try later"] } }).to_string();
    desk.fake.world().scripted.push(("order/status".into(), 200, "application/json".into(), refusal));
    let error = desk.ca().poll(&order_ref(&first, &placed)).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (&ErrorKind::Unavailable, Retry::Backoff));
    assert!(error.chain().contains("try later"), "{}", error.chain());
    let unknown = OrderRef { intent: None, handle: OrderHandle(json!({ "order": "1" })) };
    let error = desk.ca().poll(&unknown).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotFound(_)) && error.operation() == Operation::PollOrder);
}

#[tokio::test]
async fn secrets_of_orders_go_nowhere() {
    let desk = Desk::start().await;
    let first = simple();
    let issued = desk.obtain(&first).await;
    let kept = serde_json::to_string(&issued).unwrap();
    assert!(!kept.contains(ORDER_SECRET) && !kept.contains("password-of"), "{kept}");
    for detail in ["product", "vendor", "price", "term_months", "purchased", "vendor_order"] {
        assert!(issued.details.contains_key(detail), "{detail}: {:?}", issued.details);
    }
}

#[tokio::test]
async fn the_term_is_told_where_it_outlasts_the_certificate() {
    let desk = Desk::start().await;
    let issued = desk.obtain(&simple()).await;
    let not_after = issued.certificate.as_ref().unwrap().info().unwrap().not_after;
    let end = desk.fake.world().orders[0].ends();
    assert!(end > not_after);
    assert_eq!(issued.term_ends.map(certlife_core::Timestamp::unix_seconds), Some(end.unix_seconds()));
    desk.fake.world().orders[0].months = 6;
    let order = OrderRef { intent: None, handle: issued.handle };
    assert_eq!(
        desk.ca().poll(&order).await.unwrap().term_ends,
        None,
        "the certificate is all that was paid for"
    );
}

#[tokio::test]
async fn a_vetted_order_waits_for_people_and_is_asked_after_rarely() {
    let desk = Desk::start().await;
    let ov = intent(request("sectigomdc", &["a.example.org"]));
    let placed = desk.ca().place(&ov).await.unwrap();
    let ready = desk.prove(&placed);
    let waiting = desk.ca().respond(&order_ref(&ov, &placed), &ready).await.unwrap();
    assert_eq!(waiting.stage, Stage::Processing);
    assert!(waiting.ask_again.unwrap() >= Duration::from_hours(6));
    assert!(
        waiting.message.as_ref().unwrap().as_str().contains("Organization: in progress"),
        "{:?}",
        waiting.message
    );
    assert_eq!(desk.finish(&ov, waiting).await.stage, Stage::Issued);
}
