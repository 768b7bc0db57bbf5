//! What answers mean that are not what was asked for.

use std::time::Duration;

use certlife_core::{CertificateAuthority as _, ErrorKind, Retry};
use serde_json::{Value, json};

use super::{
    super::{
        Entrust,
        fake::{Mishap, Step},
    },
    Scene, intent, request,
};

#[tokio::test]
async fn errors_keep_the_words_of_the_ca() {
    let scene = Scene::new().await;
    let one = |status: Value, message: &str| json!({ "status": status, "errors": [{ "message": message }] });
    let two = json!({
        "status": 400,
        "errors": [
            { "message": "Unapproved OU", "field": "ou" },
            { "message": "Not approved", "field": "subjectAltName", "cause": { "message": "beta.other.example" } },
        ],
    });
    let words = "ou: Unapproved OU; subjectAltName: Not approved (beta.other.example)";
    for (status, body, kind) in [
        (400, two.clone(), ErrorKind::Rejected(words.into())),
        (200, two, ErrorKind::Rejected(words.into())),
        (422, one(json!(422), "No"), ErrorKind::Rejected("No".into())),
        (401, one(json!(401), "Bad credentials"), ErrorKind::Unauthorized),
        (200, one(json!("401"), "Bad credentials"), ErrorKind::Unauthorized),
        (403, one(json!(403), "No right"), ErrorKind::Forbidden("No right".into())),
        (409, one(json!(409), "There already"), ErrorKind::Conflict("There already".into())),
        (
            400,
            json!({ "errors": ["plain text", { "field": null, "message": 7 }] }),
            ErrorKind::Rejected("plain text;".into()),
        ),
        (
            400,
            json!({ "status": 400, "errors": [] }),
            ErrorKind::Rejected(r#"{"errors":[],"status":400}"#.into()),
        ),
        (400, json!("what?"), ErrorKind::Rejected(r#""what?""#.into())),
        (402, Value::Null, ErrorKind::NotEligible("null".into())),
        (
            302,
            json!({}),
            ErrorKind::Protocol("it redirects elsewhere, and redirects are not followed".into()),
        ),
    ] {
        scene.fake.befall(Step::Order, Mishap::Say(status, body.clone()));
        let error = scene.ca().place(&intent(request(&["shop.northwind.example"]))).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (&kind, Retry::Never), "{status} {body}");
    }
    assert!(scene.fake.world().orders.is_empty());
}

#[tokio::test]
async fn an_answer_that_may_have_had_an_effect_is_uncertain() {
    let scene = Scene::new().await;
    for (status, body) in [
        (500, json!({ "status": 500, "errors": [{ "message": "Oops" }] })),
        (200, json!({ "status": 500, "errors": [{ "message": "Oops" }] })),
        (504, json!({})),
        (201, json!({ "trackingId": null })),
        (201, json!({ "trackingId": 0 })),
        (201, json!({ "trackingId": "many" })),
        (200, json!([])),
        (201, json!({ "trackingId": 1, "padding": "x".repeat(5 << 20) })),
    ] {
        scene.fake.befall(Step::Order, Mishap::Say(status, body));
        let error = scene.ca().place(&intent(request(&["shop.northwind.example"]))).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Uncertain, "{status}: {error}");
    }
}

#[tokio::test]
async fn throttling_is_waited_for_if_it_is_short() {
    let scene = Scene::new().await;
    scene.fake.befall(Step::Order, Mishap::Throttle(Some(Duration::from_secs(2))));
    scene.ca().place(&intent(request(&["shop.northwind.example"]))).await.unwrap();
    assert_eq!(scene.requests().len(), 2);
    assert_eq!(scene.fake.world().ledger.len(), 1);
}

#[tokio::test]
async fn a_refused_login_is_told_precisely_and_without_the_key() {
    let scene = Scene::new().await;
    let key = "mistaken-api-key-0123456789";
    let ca = Entrust::builder("somebody", key).base_url(scene.fake.base_url()).build().unwrap();
    let error = ca.probe().await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Unauthorized);
    let printed = format!("{error:?} {} {ca:?}", error.chain());
    assert!(printed.contains("Bad credentials") && !printed.contains(key), "{printed}");
}

#[tokio::test]
async fn nothing_hostile_makes_it_panic() {
    let scene = Scene::new().await;
    let seen = scene.ca().place(&intent(request(&["shop.northwind.example"]))).await.unwrap();
    let at_ca = certlife_core::ca::OrderRef { intent: None, handle: seen.handle };
    for body in [
        json!({ "status": { "a": 1 }, "dn": ["x"], "subjectAltName": [{ "type": 1 }, 7, null, { "value": "*.*" }] }),
        json!({ "expiresAfter": "yesterday", "issueDateTime": 12, "dn": ",,cn,=,cn=" }),
        json!({ "trackingId": i64::MIN, "chainCerts": { "a": "b" }, "tracking": { "deactivated": "TRUE" } }),
        json!({ "endEntityCert": "x".repeat(2_000_000), "chainCerts": vec!["y"; 5_000] }),
        json!({ "status": "\u{202e}\u{0}x".repeat(9_000) }),
        json!({ "status": "200", "errors": [[[[]]]] }),
    ] {
        scene.fake.befall(Step::Read, Mishap::Say(200, body));
        if let Ok(told) = scene.ca().poll(&at_ca).await {
            assert!(told.message.is_none_or(|words| words.as_str().chars().count() <= 1_001));
        }
    }
}
