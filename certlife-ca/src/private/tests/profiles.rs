//! Products, options, settings, and what they make of a certificate.

use std::time::Duration;

use certlife_core::{
    BuildContext, CertificateAuthority as _, Clock as _, KeyAlgorithm, Registry,
    ca::{Decision, OrderRef, OrderRequest, Stage},
};
use serde_json::json;

use super::{Ground, intent, intent_with, request};
use crate::private::{Profile, Settings, register};

const DAY: Duration = Duration::from_hours(24);

async fn issued(ground: &Ground, reference: &str, request: OrderRequest) -> certlife_core::CertificateInfo {
    let placed = ground.ca().place(&intent(reference, request)).await.unwrap();
    placed.certificate.unwrap().info().unwrap()
}

#[tokio::test]
async fn products_and_options_decide_what_a_certificate_is_good_for() {
    let ground = Ground::new();
    let product = |id: &str| OrderRequest { product: Some(id.to_owned()), ..request(&["a.example"]) };
    let both = ["serverAuth", "clientAuth"];
    assert_eq!(issued(&ground, "s", request(&["a.example"])).await.extended_key_usages, ["serverAuth"]);
    assert_eq!(issued(&ground, "c", product("client")).await.extended_key_usages, ["clientAuth"]);
    assert_eq!(issued(&ground, "b", product("server-client")).await.extended_key_usages, both);
    let options = json!({ "client": true, "must_staple": true, "common_name": false });
    let info = issued(&ground, "o", OrderRequest { options, ..request(&["a.example"]) }).await;
    assert_eq!(info.extended_key_usages, both);
    assert!(info.must_staple && info.subject.is_empty());
    assert!(!info.is_ca);
    let rsa = intent_with("rsa", request(&["a.example"]), KeyAlgorithm::Rsa2048);
    let rsa = ground.ca().place(&rsa).await.unwrap().certificate.unwrap().info().unwrap();
    assert_eq!(rsa.key_usages, ["digitalSignature", "keyEncipherment"]);
}

#[tokio::test]
async fn the_validity_period_is_what_was_asked_within_the_limits() {
    let ground = Ground::new();
    let now = ground.clock.now();
    let usual = issued(&ground, "usual", request(&["a.example"])).await;
    assert_eq!(now.since(usual.not_before), Duration::from_mins(5));
    assert_eq!(usual.not_after, now + DAY * 90 - Duration::from_secs(1));
    let week = OrderRequest { validity: Some(DAY * 7), ..request(&["a.example"]) };
    assert_eq!(issued(&ground, "week", week).await.not_after, now + DAY * 7 - Duration::from_secs(1));
    let ca = ground
        .builder()
        .profile(
            "brief",
            Profile {
                title: "A day".to_owned(),
                server: true,
                client: false,
                validity_days: 1,
                max_validity_days: 1,
            },
        )
        .build()
        .unwrap();
    let brief = OrderRequest { product: Some("brief".to_owned()), ..request(&["a.example"]) };
    let placed = ca.place(&intent("brief", brief.clone())).await.unwrap();
    assert_eq!(placed.certificate.unwrap().info().unwrap().not_after, now + DAY - Duration::from_secs(1));
    let error = ca.check(&OrderRequest { validity: Some(DAY * 2), ..brief }, None).unwrap_err().to_string();
    assert!(error.contains("at most 1 days"), "{error}");
}

#[tokio::test]
async fn serial_numbers_are_random_and_whole() {
    let ground = Ground::new();
    let mut serials = std::collections::BTreeSet::new();
    for number in 0..20 {
        let serial = issued(&ground, &format!("n{number}"), request(&["a.example"])).await.serial;
        assert!((28..=32).contains(&serial.len()), "{serial}");
        assert!(serials.insert(serial));
    }
}

#[tokio::test]
async fn an_approval_is_waited_for_and_given_up_in_the_end() {
    let ground = Ground::new();
    let ca = ground.builder().approval(true).build().unwrap();
    let mut stages = Vec::new();
    for (reference, decision) in
        [("yes", Decision::Approve), ("no", Decision::Decline), ("off", Decision::Cancel)]
    {
        let intent = intent(reference, request(&["a.example"]));
        let placed = ca.place(&intent).await.unwrap();
        assert_eq!(placed.stage, Stage::AwaitingApproval);
        let order = OrderRef { intent: Some(intent), handle: placed.handle };
        assert_eq!(ca.poll(&order).await.unwrap().stage, Stage::AwaitingApproval);
        let decided = ca.decide(&order, decision).await.unwrap();
        assert_eq!(ca.decide(&order, decision).await.unwrap(), decided);
        stages.push(decided.stage);
        if decision != Decision::Approve {
            assert!(ca.decide(&order, Decision::Approve).await.is_err());
        }
    }
    assert_eq!(stages, [Stage::Issued, Stage::Rejected, Stage::Cancelled]);
    let intent = intent("late", request(&["a.example"]));
    let placed = ca.place(&intent).await.unwrap();
    let order = OrderRef { intent: Some(intent), handle: placed.handle };
    ground.clock.advance(DAY * 31);
    assert_eq!(ca.poll(&order).await.unwrap().stage, Stage::Expired);
}

#[test]
fn wrong_settings_are_named() {
    let read = |value: serde_json::Value| serde_json::from_value::<Settings>(value).unwrap();
    for (settings, word) in [
        (json!({ "name": "" }), "`name`"),
        (json!({ "country": "Germany" }), "`country`"),
        (json!({ "root_validity_days": 0 }), "`root_validity_days`"),
        (json!({ "issuing_validity_days": 9_000 }), "`issuing_validity_days`"),
        (json!({ "permitted_names": ["a b"] }), "`permitted_names`"),
        (json!({ "http_port": 0 }), "`http_port`"),
        (json!({ "backdate_minutes": 61 }), "`backdate_minutes`"),
        (json!({ "crl_url": "ftp://a.example/" }), "`crl_url`"),
        (json!({ "profiles": {} }), "`profiles`"),
        (json!({ "profiles": { "x": { "validity_days": 1, "max_validity_days": 1 } } }), "`profiles.x`"),
        (
            json!({ "profiles": { "x": { "server": true, "validity_days": 2, "max_validity_days": 1 } } }),
            "`profiles.x`",
        ),
    ] {
        let error = Ground::new().builder().settings(read(settings)).build().unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[tokio::test]
async fn the_registry_builds_it_from_stored_settings() {
    let ground = Ground::new();
    let mut registry = Registry::new();
    register(&mut registry);
    let context = BuildContext { vault: ground.vault(), clock: ground.clock.clone(), lookup: None };
    let ca = registry.ca("private", json!({ "name": "Example", "validation": "http" }), &context).unwrap();
    let summary = ca.probe().await.unwrap();
    assert_eq!(summary.identity.unwrap().as_str(), "CN=Example Issuing CA");
    let error = registry.ca("private", json!({ "nane": "x" }), &context).unwrap_err().to_string();
    assert!(error.contains("nane"), "{error}");
    let kind = registry.kinds().remove(0);
    let key = &kind.settings["$defs"]["Import"]["properties"]["key"];
    assert_eq!(key["writeOnly"], json!(true), "{}", kind.settings);
    assert!(kind.order_options.unwrap()["properties"]["must_staple"].is_object());
}
