//! What a host states: settings, options, and requests that are refused before anything is sent.

use std::sync::Arc;

use certlife_core::{
    BuildContext, CertificateAuthority as _, InputError, Registry,
    ca::{Catalog, OrderRequest, Purpose},
};
use serde_json::{Value, json};

use super::{super::*, Scene, request};

fn context(scene: &Scene) -> BuildContext {
    BuildContext { vault: scene.vault.clone(), clock: Arc::new(scene.clock.clone()), lookup: None }
}

#[tokio::test]
async fn settings_are_checked_and_named() {
    let scene = Scene::new().await;
    let context = context(&scene);
    let mut registry = Registry::new();
    register(&mut registry);
    let build = |more: Value| {
        let mut settings = json!({ "username": "user", "api_key": "key-123456" });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        registry.ca("entrust", settings, &context).map(|ca| ca.provider())
    };
    for good in [
        json!({}),
        json!({ "client_id": 2, "validity_as": "lifetime", "extra_products": ["STANDARD_PLUS_SSL"] }),
        json!({ "requester": { "name": "PKI", "email": "pki@example.org", "phone": "1" }, "settles_in_seconds": 5 }),
        json!({ "base_url": "https://api.example.org/enterprise/v2/", "http": { "request_timeout_seconds": 5 } }),
    ] {
        assert_eq!(build(good.clone()).unwrap().as_str(), "entrust", "{good}");
    }
    for (bad, word) in [
        (json!({ "username": " " }), "username"),
        (json!({ "username": "a:b" }), "username"),
        (json!({ "api_key": "" }), "api_key"),
        (json!({ "api_key": "a\nb" }), "api_key"),
        (json!({ "client_id": 0 }), "client_id"),
        (json!({ "client_id": -1 }), "-1"),
        (json!({ "requester": { "name": "", "email": "a@b.c", "phone": "1" } }), "requester.name"),
        (json!({ "requester": { "name": "a", "email": "nobody", "phone": "1" } }), "requester.email"),
        (json!({ "requester": { "name": "a", "email": "a@b.c", "phone": " " } }), "requester.phone"),
        (json!({ "requester": { "name": "a" } }), "email"),
        (json!({ "validity_as": "moon" }), "expiry_date"),
        (json!({ "extra_products": ["lower case"] }), "extra_products"),
        (json!({ "base_url": "http://example.org" }), "base_url"),
        (json!({ "http": { "client_identity": "nonsense" } }), "client_identity"),
        (json!({ "colour": "blue" }), "colour"),
    ] {
        let error = build(bad.clone()).unwrap_err().to_string();
        assert!(error.contains(word), "{bad}: {error}");
        assert!(!error.contains("key-123456"));
    }
    let kind = registry.kinds().into_iter().find(|kind| kind.kind == "entrust").unwrap();
    assert_eq!(kind.settings["properties"]["api_key"]["writeOnly"], true);
    assert!(kind.order_options.unwrap()["properties"]["queue_for_approval"].is_object());
    let settings: Settings =
        serde_json::from_value(json!({ "username": "user", "api_key": "key-123456" })).unwrap();
    let printed = format!("{settings:?} {:?}", scene.builder());
    assert!(!printed.contains("key-123456") && !printed.contains("invented-api-key"), "{printed}");
}

#[tokio::test]
async fn a_client_certificate_goes_with_the_login_and_is_not_printed() {
    let scene = Scene::new().await;
    let made = rcgen::generate_simple_self_signed(vec!["api.northwind.example".to_owned()]).unwrap();
    let key = made.signing_key.serialize_pem();
    let identity = format!("{}{key}", made.cert.pem());
    let settings = json!({
        "username": "user", "api_key": "key-123456", "http": { "client_identity": identity },
    });
    let settings: Settings = serde_json::from_value(settings).unwrap();
    let context = context(&scene);
    let printed = format!("{settings:?} {:?}", settings.clone().build(&context).unwrap());
    assert!(!printed.contains(key.lines().nth(1).unwrap()), "{printed}");
}

fn refused(outcome: Result<(), InputError>, what: &str) -> String {
    outcome.expect_err(what).to_string()
}

#[tokio::test]
async fn options_are_checked_each_by_itself() {
    let scene = Scene::new().await;
    let ca = scene.ca();
    let check = |options: &Value| {
        ca.check(&OrderRequest { options: options.clone(), ..request(&["shop.northwind.example"]) }, None)
    };
    for good in [
        json!({}),
        json!({ "friendly_name": "ä".repeat(70), "additional_emails": ["a@b.example", "c@d.example"] }),
        json!({ "custom_fields": { "text15": "x", "number5": 1.5, "date5": "2026-02-28", "dropdown5": "y" } }),
        json!({ "lifetime": "P1Y" }),
        json!({ "lifetime": "P1Y6M10D", "ct_log": false, "signature_algorithm": "sha2" }),
        json!({ "expiry_date": "2026-03-14", "extended_key_usage": "client_auth" }),
    ] {
        check(&good).unwrap_or_else(|error| panic!("{good}: {error}"));
    }
    for (bad, field, value) in [
        (json!({ "colour": "blue" }), "colour", "blue"),
        (json!({ "friendly_name": "x".repeat(71) }), "options.friendly_name", "xxx"),
        (json!({ "friendly_name": "two\nlines" }), "options.friendly_name", "two lines"),
        (json!({ "requester_name": " " }), "options.requester_name", ""),
        (json!({ "requester_email": "nobody" }), "options.requester_email", "nobody"),
        (json!({ "requester_email": "a@b.c,d@e.f" }), "options.requester_email", "a@b.c,d@e.f"),
        (json!({ "requester_phone": "x".repeat(256) }), "options.requester_phone", "xxx"),
        (json!({ "additional_emails": ["a@b.c", "d"] }), "options.additional_emails", "d"),
        (json!({ "custom_fields": { "text16": "x" } }), "options.custom_fields.text16", "text16"),
        (json!({ "custom_fields": { "text01": "x" } }), "options.custom_fields.text01", "text01"),
        (json!({ "custom_fields": { "colour1": "x" } }), "options.custom_fields.colour1", "colour1"),
        (json!({ "custom_fields": { "Größe": "x" } }), "options.custom_fields.Größe", "Größe"),
        (json!({ "custom_fields": { "text1": "x".repeat(501) } }), "options.custom_fields.text1", "500"),
        (json!({ "custom_fields": { "text1": 7 } }), "options.custom_fields.text1", "7"),
        (json!({ "custom_fields": { "number1": "7" } }), "options.custom_fields.number1", "give a number"),
        (json!({ "custom_fields": { "date1": "1.3.2026" } }), "options.custom_fields.date1", "1.3.2026"),
        (json!({ "custom_fields": { "email1": "x" } }), "options.custom_fields.email1", "x"),
        (
            json!({ "custom_fields": { "dropdown1": "x".repeat(51) } }),
            "options.custom_fields.dropdown1",
            "50",
        ),
        (json!({ "custom_fields": { "text1": true } }), "options", "custom_fields"),
        (json!({ "extended_key_usage": "any" }), "options", "server_auth"),
        (json!({ "signature_algorithm": "md5" }), "options", "sha1"),
        (json!({ "signature_algorithm": "sha1" }), "options.signature_algorithm", "PRIVATE_SSL"),
        (json!({ "expiry_date": "tomorrow" }), "options.expiry_date", "tomorrow"),
        (json!({ "expiry_date": "2026-02-30" }), "options.expiry_date", "2026-02-30"),
        (json!({ "expiry_date": "2026-01-01" }), "options.expiry_date", "future"),
        (json!({ "expiry_date": "2026-03-14", "lifetime": "P1Y" }), "options.expiry_date", "lifetime"),
        (json!({ "lifetime": "P" }), "options.lifetime", "P1Y"),
        (json!({ "lifetime": "P0D" }), "options.lifetime", "P0D"),
        (json!({ "lifetime": "P1D1Y" }), "options.lifetime", "P1D1Y"),
        (json!({ "lifetime": "P99999Y" }), "options.lifetime", "P99999Y"),
        (json!({ "lifetime": "PT5H" }), "options.lifetime", "PT5H"),
        (json!({ "ct_log": true, "extended_key_usage": "client_auth" }), "options.ct_log", "logged"),
        (json!({ "queue_for_approval": "yes" }), "options", "boolean"),
        (json!(["list"]), "options", "list"),
    ] {
        let error = refused(check(&bad), &bad.to_string());
        assert!(error.contains(field) && error.contains(value), "{bad}: {error}");
    }
    let stored = serde_json::to_value(OrderOptions::new().ct_log(true)).unwrap();
    assert_eq!(stored, json!({ "ct_log": true, "queue_for_approval": false }));
    assert!(scene.requests().is_empty());
}

#[tokio::test]
async fn requests_are_checked_by_rules_and_by_the_catalog() {
    let scene = Scene::new().await;
    let fields = json!({
        "text1": { "enabled": true, "label": "Cost centre", "mandatory": "BOTH" },
        "text2": { "enabled": false, "label": "Old", "mandatory": "BOTH" },
        "dropdown1": { "enabled": true, "label": "Stage", "mandatory": "EFORM", "options": "Test,Production" },
    });
    scene.fake.world().custom_fields = fields.as_object().cloned();
    scene.fake.world().domains.push(super::FakeDomain {
        status: "EXPIRED".into(),
        ..super::FakeDomain::approved("old.example", 1)
    });
    scene.fake.world().domains.push(super::FakeDomain::approved("labs.example", 2));
    let catalog = scene.ca().catalog().await.unwrap();
    let ca = scene.ca();
    scene.requests();
    let good = |names: &[&str]| OrderRequest {
        options: json!({ "custom_fields": { "text1": "CC", "dropdown1": "Test" } }),
        ..request(names)
    };
    let of = |product: &str, names: &[&str]| OrderRequest { product: Some(product.into()), ..good(names) };
    let org = |id: &str| OrderRequest { organization: Some(id.into()), ..good(&["a.northwind.example"]) };
    let options = |options: Value| OrderRequest { options, ..good(&["a.northwind.example"]) };
    for request in [
        good(&["northwind.example", "*.northwind.example", "a.b.northwind.example"]),
        of("PRIVATE_SSL", &["intranet.anything.example"]),
        of("STANDARD_SSL", &["northwind.example", "www.northwind.example"]),
        org("1"),
        org("1/Northwind Trial Ltd"),
        OrderRequest { organization: Some("2/Northwind Trial Ltd".into()), ..good(&["a.labs.example"]) },
    ] {
        ca.check(&request, Some(&catalog)).unwrap_or_else(|error| panic!("{request:?}: {error}"));
    }
    let hour = std::time::Duration::from_hours(1);
    for (request, words) in [
        (OrderRequest { product: None, ..good(&["a.northwind.example"]) }, &["product", "UC_SSL"][..]),
        (of("GOLD_SSL", &["a.northwind.example"]), &["product", "GOLD_SSL", "UC_SSL"]),
        (of("EV_SSL", &["a.northwind.example"]), &["product", "EV_SSL", "cannot be ordered now"]),
        (of("CODE_SIGNING", &["a.northwind.example"]), &["product", "CODE_SIGNING"]),
        (of("CMS_1_ADMIN", &["a.northwind.example"]), &["product", "CMS_1_ADMIN"]),
        (of("STANDARD_SSL", &["*.northwind.example"]), &["*.northwind.example", "no wildcards"]),
        (of("STANDARD_SSL", &["a.northwind.example", "b.northwind.example"]), &["identifiers", "www."]),
        (org("1/Northwind Holding"), &["organization", "Northwind Holding", "Expired"]),
        (org("2"), &["organization", "Pending"]),
        (org("3"), &["organization", "3", "1/Northwind Trial Ltd"]),
        (org("Northwind"), &["organization", "Northwind"]),
        (org("1/"), &["organization"]),
        (good(&["shop.elsewhere.example"]), &["shop.elsewhere.example", "validate the domain"]),
        (good(&["shop.old.example"]), &["shop.old.example", "Expired"]),
        (good(&["a.labs.example"]), &["a.labs.example", "client 1"]),
        (options(json!({})), &["options.custom_fields.text1", "Cost centre"]),
        (
            options(json!({ "custom_fields": { "text1": "x", "text2": "y" } })),
            &["custom_fields.text2", "does not use"],
        ),
        (
            options(json!({ "custom_fields": { "text1": "x", "dropdown1": "Moon" } })),
            &["custom_fields.dropdown1", "Moon", "Test,Production"],
        ),
        (
            OrderRequest {
                options: json!({ "custom_fields": { "text1": "x" }, "extended_key_usage": "server_auth" }),
                ..of("PRIVATE_SSL", &["a.b.example"])
            },
            &["options.extended_key_usage", "SERVER_AUTH"],
        ),
        (OrderRequest { validity: Some(hour), ..good(&["a.northwind.example"]) }, &["validity", "0 days"]),
        (
            OrderRequest {
                validity: Some(hour * 99),
                options: json!({ "lifetime": "P1Y" }),
                ..good(&["a.northwind.example"])
            },
            &["validity", "P1Y"],
        ),
        (
            OrderRequest { key_algorithm: Some(KeyAlgorithm::Ed25519), ..good(&["a.northwind.example"]) },
            &["key_algorithm", "ed25519"],
        ),
        (good(&["192.0.2.1"]), &["192.0.2.1"]),
    ] {
        let error = refused(ca.check(&request, Some(&catalog)), &format!("{request:?}"));
        assert!(words.iter().all(|word| error.contains(word)), "{words:?}: {error}");
    }
    // Without a requester in order, contacts and settings nobody can be told.
    let nobody = Entrust::builder("user", "key-123456").build().unwrap();
    let error = refused(nobody.check(&request(&["a.northwind.example"]), None), "no requester");
    assert!(error.contains("options.requester_name"), "{error}");
    // What is not known of the account cannot be held against an order.
    ca.check(&request(&["a.northwind.example"]), None).unwrap();
    let bare = Catalog { products: catalog.products.clone(), ..Catalog::default() };
    ca.check(&good(&["shop.elsewhere.example"]), Some(&bare)).unwrap();
    assert!(scene.requests().is_empty());
}

#[tokio::test]
async fn a_renewal_need_not_name_the_product_and_a_reissue_ignores_the_term() {
    let scene = Scene::new().await;
    let ca = scene.ca();
    let seen = ca.place(&super::intent(request(&["a.northwind.example"]))).await.unwrap();
    let of = Box::new(super::issued(&seen));
    let catalog = ca.catalog().await.unwrap();
    let plain = OrderRequest {
        purpose: Purpose::Renewal { of: of.clone() },
        product: None,
        ..request(&["a.northwind.example"])
    };
    ca.check(&plain, Some(&catalog)).unwrap();
    let past = json!({ "expiry_date": "2025-12-31" });
    let renewal = OrderRequest { options: past.clone(), ..plain.clone() };
    assert!(refused(ca.check(&renewal, None), "a day in the past").contains("expiry_date"));
    let purpose = Purpose::Reissue { of, reason: None };
    ca.check(&OrderRequest { purpose, options: past, ..plain }, None).unwrap();
}
