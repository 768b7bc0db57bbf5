//! Error bodies in every shape, and what each code means.

use certlife_core::{ErrorKind, Retry, ca::Revocation};

use super::*;

fn before(status: u16, kind: &'static str, text: &str) -> Mishap {
    Mishap::Before(status, kind, text.to_owned())
}

#[tokio::test]
async fn refused_orders_have_their_meaning() {
    let fx = Fixture::start().await;
    for (mishap, expected) in [
        (Mishap::refuse(-16, "Unknown user"), "unauthorized"),
        (before(401, "application/json", r#"{"description":"Unauthorized"}"#), "unauthorized"),
        (before(401, "text/plain", ""), "unauthorized"),
        (Mishap::refuse(-3, "You are not authorized"), "forbidden"),
        (Mishap::refuse(-226, "No privilege for the organization"), "forbidden"),
        (Mishap::refuse(-429, "The customer has no CA login"), "not_eligible"),
        (Mishap::refuse(-1023, "Organization not found"), "not_found"),
        (Mishap::refuse(-111, "No profile"), "not_found"),
        (Mishap::refuse(-36, "Term 365 is not available"), "rejected"),
        (Mishap::refuse(-62, "A mandatory custom field is missing"), "rejected"),
        (Mishap::refuse(-139, "External requester required"), "rejected"),
        (Mishap::refuse(-98_765, "Something new"), "rejected"),
        (before(400, "application/json", r#"{"description":"only words"}"#), "rejected"),
        (before(400, "application/json", r#"{"code":"-36","description":null}"#), "rejected"),
        (before(400, "text/plain", "not JSON at all"), "rejected"),
        (before(400, "application/json", r#"{"code":-36,"descr"#), "rejected"),
        (before(400, "text/html", "<html>proxy</html>"), "rejected"),
        (before(200, "application/json", r#"{"code":-36,"description":"an error inside 200"}"#), "rejected"),
        (before(403, "text/html", "<html>blocked</html>"), "forbidden"),
        (before(302, "text/html", ""), "protocol"),
        (before(500, "application/json", r#"{"code":-2,"description":"internal"}"#), "uncertain"),
        (Mishap::refuse(-2, "Internal error"), "uncertain"),
        (Mishap::refuse(-195, "CA unavailable"), "uncertain"),
    ] {
        fx.fake.befall(Step::Place, mishap.clone());
        let error = fx.sectigo().place(&fx.intent(&["www.suite.example"])).await.unwrap_err();
        assert_eq!(error.kind().code(), expected, "{mishap:?}: {}", error.chain());
        assert_eq!(error.retry(), Retry::Never, "{mishap:?}");
    }
    assert_eq!(fx.paid(), 0);
}

#[tokio::test]
async fn the_vendors_words_and_code_are_kept() {
    let fx = Fixture::start().await;
    let body = json!({ "code": -36, "description": "Term 365\nis not available", "details": "offered: 199" });
    fx.fake.befall(Step::Place, Mishap::error(400, body));
    let error = fx.sectigo().place(&fx.intent(&["www.suite.example"])).await.unwrap_err();
    let words = "Term 365 is not available; offered: 199 (-36)";
    assert_eq!(error.kind(), &ErrorKind::Rejected(words.into()));
}

#[tokio::test]
async fn unreadable_details_say_nothing_about_the_order() {
    let fx = Fixture::start().await;
    let intent = fx.intent(&["www.suite.example"]);
    let placed = fx.sectigo().place(&intent).await.unwrap();
    let poll = || async { fx.sectigo().poll(&order(&intent, &placed)).await };
    for body in [
        "",
        "{\"status\":\"Iss",
        "[]",
        "null",
        "\"Issued\"",
        "{}",
        "{\"id\":1,\"status\":\"Issued\"}",
        "{\"status\":\"\"}",
        "{\"status\":null}",
        "<html>please log in</html>",
    ] {
        fx.fake.befall(Step::Details, before(200, "application/json", body));
        let error = poll().await.expect_err(body);
        assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{body}: {error:?}");
        assert_eq!(error.retry(), Retry::Backoff);
    }
    fx.fake.befall(Step::Details, Mishap::refuse(-5101, "Certificate not found"));
    assert!(matches!(poll().await.unwrap_err().kind(), ErrorKind::NotFound(_)));
    fx.fake.befall(Step::Details, before(404, "application/json", ""));
    assert!(matches!(poll().await.unwrap_err().kind(), ErrorKind::NotFound(_)));
    assert_eq!(poll().await.unwrap().stage, Stage::Issued);
}

#[tokio::test]
async fn wrong_credentials_are_told_and_nothing_secret_with_them() {
    let fx = Fixture::start().await;
    let wrong = Sectigo::builder(CUSTOMER, LOGIN, "mistaken-Passw0rd!");
    let wrong = wrong.base_url(fx.fake.server.uri().parse().unwrap()).build().unwrap();
    let error = wrong.probe().await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (&ErrorKind::Unauthorized, Retry::Never));
    assert!(
        error.chain().contains("Unknown user") && !error.chain().contains("mistaken"),
        "{}",
        error.chain()
    );
    // A server that echoes the password does not get it into an error.
    fx.fake.befall(Step::Place, Mishap::refuse(-36, &format!("bad {PASSWORD}")));
    let error = fx.sectigo().place(&fx.intent(&["www.suite.example"])).await.unwrap_err();
    assert!(!format!("{error:?} {}", error.chain()).contains(PASSWORD));
}

#[tokio::test]
async fn revocations_have_the_vendors_reasons() {
    use certlife_core::RevocationReason as Reason;
    for scheme in [Scheme::Password, Scheme::OAuth] {
        let fx = Fixture::with(scheme).await;
        for reason in [
            Reason::Unspecified,
            Reason::KeyCompromise,
            Reason::CaCompromise,
            Reason::AffiliationChanged,
            Reason::Superseded,
            Reason::CessationOfOperation,
            Reason::PrivilegeWithdrawn,
        ] {
            let issued = fx.obtain(&fx.intent(&["www.suite.example"])).await;
            let issued = IssuedRef { handle: Some(issued.handle), chain: issued.certificate.unwrap() };
            let comment = Some("x".repeat(900).into());
            let revocation = Revocation { issued: issued.clone(), reason, comment };
            fx.requests();
            fx.sectigo().revoke(&revocation, None).await.unwrap();
            let requests = fx.requests();
            assert!(requests.iter().filter(|one| *one != "POST /token").count() == 1);
            assert!(requests.iter().any(|one| one.contains("/revoke/serial/5C%3A5C")), "{requests:?}");
            // Again, and as somebody who knows the certificate alone.
            fx.sectigo().revoke(&revocation, None).await.unwrap();
            let foreign = IssuedRef { handle: None, ..issued };
            fx.sectigo().revoke(&Revocation { issued: foreign, reason, comment: None }, None).await.unwrap();
        }
        let issued = fx.obtain(&fx.intent(&["www.suite.example"])).await;
        let id = ssl_id(&issued);
        let issued = IssuedRef { handle: Some(issued.handle), chain: issued.certificate.unwrap() };
        fx.requests();
        let hold = Revocation { issued, reason: Reason::CertificateHold, comment: None };
        let error = fx.sectigo().revoke(&hold, None).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unsupported(_)) && fx.requests().is_empty(), "{error}");
        // Not revoked, and not to be: the code alone is no success.
        fx.fake.world().record(id).map_err(drop).unwrap().status = "Expired".to_owned();
        let error =
            fx.sectigo().revoke(&Revocation { reason: Reason::Superseded, ..hold }, None).await.unwrap_err();
        assert!(error.to_string().contains("(-102)"), "{error}");
    }
}
