//! Decisions on orders and certificates.

use std::time::Duration;

use certlife_core::{
    CertificateAuthority as _, ErrorKind,
    ca::{Decision, OrderHandle, OrderRef, Stage},
};
use serde_json::json;

use super::{
    super::{
        OrderOptions,
        fake::{Mishap, Step},
    },
    Scene, order, placed, request, with_options,
};

#[tokio::test]
async fn an_approval_issues_at_once_or_asks_for_a_second_one() {
    let scene = Scene::new().await;
    let options = OrderOptions::new().queue_for_approval(true);
    let (first, waits) = placed(&scene, with_options(&options)).await;
    assert_eq!(waits.message.as_ref().unwrap().as_str(), "it waits for the approval of an administrator");
    assert_eq!(waits.ask_again, Some(Duration::from_mins(30)));
    let seen = scene.ca().decide(&order(&first, &waits), Decision::Approve).await.unwrap();
    assert_eq!(seen.stage, Stage::Issued);
    assert_eq!(scene.requests(), ["POST /certificates", "PATCH /certificates/4810277"]);

    scene.fake.world().quorum = true;
    let (second, waits) = placed(&scene, with_options(&options)).await;
    let seen = scene.ca().decide(&order(&second, &waits), Decision::Approve).await.unwrap();
    assert_eq!(seen.stage, Stage::AwaitingApproval);
    assert!(seen.message.unwrap().as_str().contains("second administrator"));
}

#[tokio::test]
async fn a_declined_order_is_rejected_with_the_reason() {
    let scene = Scene::new().await;
    let (intent, waits) = placed(&scene, with_options(&OrderOptions::new().queue_for_approval(true))).await;
    let at_ca = order(&intent, &waits);
    for _ in 0..2 {
        let seen = scene.ca().decide(&at_ca, Decision::Decline).await.unwrap();
        assert_eq!(seen.stage, Stage::Rejected, "declining twice is declining once");
        assert_eq!(seen.message.unwrap().as_str(), "declined through certlife");
    }
    let error = scene.ca().decide(&at_ca, Decision::Approve).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotNow(_)), "{error}");
    assert!(error.to_string().contains("DECLINED") && error.to_string().contains("Not possible"), "{error}");
}

#[tokio::test]
async fn a_certificate_is_deactivated_and_stays_good() {
    let scene = Scene::new().await;
    let (intent, seen) = placed(&scene, request(&["shop.northwind.example"])).await;
    let at_ca = order(&intent, &seen);
    let aside = scene.ca().decide(&at_ca, Decision::Deactivate).await.unwrap();
    assert_eq!((aside.stage, &aside.certificate), (Stage::Issued, &seen.certificate));
    assert!(aside.message.unwrap().as_str().contains("DEACTIVATED"));
    scene.fake.world().reactivates = false;
    let error = scene.ca().decide(&at_ca, Decision::Reactivate).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported(_)), "{error}");
    assert!(error.to_string().contains("portal"), "{error}");
    let nowhere = OrderRef { handle: OrderHandle(json!({ "order": 99 })), ..at_ca };
    let error = scene.ca().decide(&nowhere, Decision::Reactivate).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotFound(_)), "{error}");
}

#[tokio::test]
async fn a_decision_whose_answer_is_lost_is_looked_at() {
    let scene = Scene::new().await;
    for decision in [Decision::Approve, Decision::Decline] {
        let (intent, waits) =
            placed(&scene, with_options(&OrderOptions::new().queue_for_approval(true))).await;
        for mishap in [Mishap::Fail, Mishap::Lose] {
            let had_effect = matches!(mishap, Mishap::Lose);
            scene.fake.befall(Step::Decide, mishap);
            let outcome = scene.ca().decide(&order(&intent, &waits), decision).await;
            match outcome {
                Ok(seen) => assert!(had_effect && seen.stage != Stage::AwaitingApproval, "{seen:?}"),
                Err(error) => assert!(!had_effect && *error.kind() == ErrorKind::Uncertain, "{error}"),
            }
        }
    }
    assert_eq!(scene.fake.world().ledger.len(), 2);
    for (aside, back) in [(Decision::Suspend, Decision::Resume), (Decision::Deactivate, Decision::Reactivate)]
    {
        let (intent, seen) = placed(&scene, request(&["shop.northwind.example"])).await;
        for decision in [aside, back] {
            scene.fake.befall(Step::Decide, Mishap::Lose);
            scene.ca().decide(&order(&intent, &seen), decision).await.unwrap();
        }
        // A login page is not the empty body of success.
        scene.fake.befall(Step::Decide, Mishap::Page);
        let error = scene.ca().decide(&order(&intent, &seen), aside).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{error}");
    }
}

#[tokio::test]
async fn what_the_ca_has_no_word_for_is_refused_unsent() {
    let scene = Scene::new().await;
    let (intent, seen) = placed(&scene, request(&["shop.northwind.example"])).await;
    scene.requests();
    let error = scene.ca().decide(&order(&intent, &seen), Decision::Cancel).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported(_)), "{error}");
    assert!(scene.requests().is_empty());
}
