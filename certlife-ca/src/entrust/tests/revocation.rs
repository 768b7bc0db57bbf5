//! Revocation: reasons, comments, repetition.

use certlife_core::{
    CertificateAuthority as _, ErrorKind, Retry, RevocationReason as Reason,
    ca::{OrderHandle, Revocation},
};
use serde_json::json;

use super::{
    super::fake::{Mishap, Step},
    Scene, intent, issued, request,
};

/// Revokes a new certificate, and tells reason and comment as the CA got them.
async fn revoked(
    scene: &Scene,
    reason: Reason,
    comment: Option<&str>,
) -> Result<(String, String), certlife_core::Error> {
    let seen = scene.ca().place(&intent(request(&["shop.northwind.example"]))).await.unwrap();
    let revocation = Revocation { issued: issued(&seen), reason, comment: comment.map(Into::into) };
    scene.requests();
    scene.ca().revoke(&revocation, None).await?;
    Ok(scene.fake.world().orders.last().unwrap().revoked.clone().unwrap())
}

#[tokio::test]
async fn reasons_are_told_in_the_words_of_the_ca() {
    let scene = Scene::new().await;
    let usual = "revoked through certlife";
    for (reason, word, comment) in [
        (Reason::Unspecified, "unspecified", usual),
        (Reason::KeyCompromise, "keyCompromise", usual),
        (Reason::AffiliationChanged, "affiliationChanged", usual),
        (Reason::Superseded, "superseded", usual),
        (Reason::CessationOfOperation, "cessationOfOperation", usual),
        (Reason::CaCompromise, "keyCompromise", "cACompromise: revoked through certlife"),
        (Reason::PrivilegeWithdrawn, "unspecified", "privilegeWithdrawn: revoked through certlife"),
        (Reason::AaCompromise, "unspecified", "aACompromise: revoked through certlife"),
    ] {
        assert_eq!(revoked(&scene, reason, None).await.unwrap(), (word.into(), comment.into()));
        assert_eq!(scene.requests().len(), 1);
    }
    for reason in [Reason::CertificateHold, Reason::RemoveFromCrl] {
        let error = revoked(&scene, reason, None).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unsupported(_)), "{error}");
        assert!(error.to_string().contains("suspend") && scene.requests().is_empty(), "{error}");
    }
    let (_, comment) = revoked(&scene, Reason::Superseded, Some(&"ä".repeat(126))).await.unwrap();
    assert_eq!(comment, "ä".repeat(126));
}

#[tokio::test]
async fn a_reason_that_is_no_longer_taken_goes_into_the_comment() {
    let scene = Scene::new().await;
    scene.fake.world().reasons = vec!["unspecified"];
    let told = revoked(&scene, Reason::Superseded, Some("a newer one serves")).await.unwrap();
    assert_eq!(told, ("unspecified".into(), "superseded: a newer one serves".into()));
    // A compromised key is not hidden behind another reason.
    let error = revoked(&scene, Reason::KeyCompromise, None).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Rejected(_)), "{error}");
    assert!(error.to_string().contains("Unknown reason") && error.to_string().contains("ACTIVE"), "{error}");
}

#[tokio::test]
async fn what_is_revoked_already_is_success_and_what_cannot_be_is_not() {
    let scene = Scene::new().await;
    let seen = scene.ca().place(&intent(request(&["shop.northwind.example"]))).await.unwrap();
    let mut revocation = Revocation { issued: issued(&seen), reason: Reason::Superseded, comment: None };
    // The answer is lost; the second attempt is refused, and the status tells why.
    scene.fake.befall(Step::Revoke, Mishap::Lose);
    scene.ca().revoke(&revocation, None).await.unwrap();
    // By its serial number.
    revocation.issued.handle = None;
    scene.ca().revoke(&revocation, None).await.unwrap();
    scene.fake.world().order(4_810_277).status = "EXPIRED".into();
    let error = scene.ca().revoke(&revocation, None).await.unwrap_err();
    assert!(error.to_string().contains("cannot be revoked (the certificate is EXPIRED)"), "{error}");
    assert_eq!(error.retry(), Retry::Never);
    scene.fake.world().orders.clear();
    let error = scene.ca().revoke(&revocation, None).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotFound(_)), "{error}");
    revocation.issued.handle = Some(OrderHandle(json!({ "order": 1 })));
    let error = scene.ca().revoke(&revocation, None).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotFound(_)), "{error}");
}

#[tokio::test]
async fn a_login_page_is_not_taken_for_a_revocation() {
    let scene = Scene::new().await;
    let seen = scene.ca().place(&intent(request(&["shop.northwind.example"]))).await.unwrap();
    let revocation = Revocation { issued: issued(&seen), reason: Reason::Superseded, comment: None };
    scene.fake.befall(Step::Revoke, Mishap::Page);
    let error = scene.ca().revoke(&revocation, None).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{error}");
    assert_eq!(error.retry(), Retry::Backoff);
}

#[tokio::test]
async fn a_serial_number_that_is_not_unique_is_not_guessed() {
    let scene = Scene::new().await;
    let seen = scene.ca().place(&intent(request(&["shop.northwind.example"]))).await.unwrap();
    let mut twin = scene.fake.world().orders[0].clone();
    twin.id = 5;
    scene.fake.world().orders.push(twin);
    let mut of = issued(&seen);
    of.handle = None;
    let revocation = Revocation { issued: of, reason: Reason::Superseded, comment: None };
    let error = scene.ca().revoke(&revocation, None).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict(_)), "{error}");
}
