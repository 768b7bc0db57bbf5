//! Login and catalog.

use certlife_core::{
    CertificateAuthority as _, ErrorKind,
    ca::{Catalog, Product, ValidationStatus},
};
use serde_json::{Value, json};

use super::{
    super::fake::{FakeDomain, Mishap, Step},
    Scene,
};

#[tokio::test]
async fn a_login_test_tells_whose_account_it_is() {
    let scene = Scene::new().await;
    let told = scene.ca().probe().await.unwrap();
    assert_eq!(told.identity.unwrap().as_str(), "Northwind");
    assert_eq!(told.details["api_version"].as_str(), "12.5.0.138");
    assert_eq!(told.details["clients"].as_str(), "2");
    assert_eq!((told.warnings.len(), scene.requests().len()), (0, 2));

    for (client, word) in [(2, "not validated: PENDING"), (3, "no client 3")] {
        let told = scene.builder().client_id(client).build().unwrap().probe().await.unwrap();
        assert!(told.warnings[0].as_str().contains(word), "{told:?}");
    }
    scene.fake.world().clients.clear();
    let error = scene.ca().probe().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotEligible(_)), "{error}");
    scene.fake.befall(Step::Version, Mishap::Page);
    let error = scene.ca().probe().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{error}");
    let refusal = json!({ "status": 403, "errors": [{ "message": "The API user is disabled" }] });
    scene.fake.befall(Step::Version, Mishap::Say(403, refusal));
    let error = scene.ca().probe().await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Forbidden("The API user is disabled".into()));
}

fn product<'a>(catalog: &'a Catalog, id: &str) -> &'a Product {
    catalog.products.iter().find(|product| product.id == id).unwrap_or_else(|| panic!("{id} is listed"))
}

#[tokio::test]
async fn the_catalog_has_units_organizations_domains_and_products() {
    let scene = Scene::new().await;
    scene.fake.world().max_page = 1;
    for (name, status) in [
        ("a.example", "RE_VERIFICATION"),
        ("b.example", "INITIAL_VERIFICATION"),
        ("c.example", "CANCELLED"),
        ("d.example", "MOON"),
    ] {
        scene
            .fake
            .world()
            .domains
            .push(FakeDomain { status: status.into(), ..FakeDomain::approved(name, 2) });
    }
    let catalog = scene.ca().catalog().await.unwrap();
    assert_eq!(scene.requests().iter().filter(|path| path.ends_with("/domains")).count(), 6, "all pages");

    let organizations: Vec<_> = catalog
        .organizations
        .iter()
        .map(|one| (one.id.as_str(), one.parent.as_deref(), one.status, one.valid_until.is_some()))
        .collect();
    assert_eq!(
        organizations,
        [
            ("1", None, ValidationStatus::Valid, true),
            ("2", None, ValidationStatus::Pending, false),
            ("1/Northwind Trial Ltd", Some("1"), ValidationStatus::Valid, true),
            ("1/Northwind Holding", Some("1"), ValidationStatus::Expired, true),
            ("2/Northwind Labs GmbH", Some("2"), ValidationStatus::Pending, false),
            ("2/Northwind Trial Ltd", Some("2"), ValidationStatus::Valid, false),
        ]
    );
    let domains: Vec<_> = catalog.domains.iter().map(|one| (one.id.as_str(), one.status)).collect();
    assert_eq!(
        domains,
        [
            ("1/suite.example", ValidationStatus::Valid),
            ("1/northwind.example", ValidationStatus::Valid),
            ("2/a.example", ValidationStatus::Valid),
            ("2/b.example", ValidationStatus::Pending),
            ("2/c.example", ValidationStatus::Refused),
            ("2/d.example", ValidationStatus::Unknown),
        ]
    );
    for (id, available, wildcards) in [
        ("UC_SSL", true, None),
        ("STANDARD_SSL", true, Some(false)),
        ("EV_SSL", false, Some(false)),
        ("PRIVATE_SSL", true, None),
        ("CODE_SIGNING", false, None),
        ("CMS_1_ADMIN", false, None),
    ] {
        let found = product(&catalog, id);
        assert_eq!((found.available, found.wildcards), (available, wildcards), "{id}");
    }
    assert_eq!(product(&catalog, "STANDARD_SSL").max_identifiers, Some(2));
    assert_eq!(product(&catalog, "UC_SSL").details["remaining"].as_str(), "311");
    assert_eq!(product(&catalog, "CMS_1_ADMIN").details["kind"].as_str(), "unknown to certlife");
    let stored = serde_json::to_string(&catalog).unwrap();
    assert_eq!(serde_json::from_str::<Catalog>(&stored).unwrap(), catalog);
}

#[tokio::test]
async fn a_flexible_licence_covers_every_tls_product_but_one() {
    let scene = Scene::new().await;
    {
        let mut world = scene.fake.world();
        world
            .inventories
            .push(json!({ "productType": "FLEX", "consumptionType": "UNLIMITED", "usedCount": 7 }));
        world.inventory_key = "inventory";
    }
    let ca = scene.builder().extra_products(["STANDARD_PLUS_SSL"]).build().unwrap();
    let catalog = ca.catalog().await.unwrap();
    let is_listed = |id: &str| catalog.products.iter().any(|product| product.id == id);
    assert!(!is_listed("FLEX") && !is_listed("PD_SSL") && !is_listed("SMIME_ENT"));
    for id in ["ADVANTAGE_SSL", "WILDCARD_SSL", "EV_SSL", "QWAC_SSL", "STANDARD_PLUS_SSL"] {
        assert!(product(&catalog, id).available, "{id}");
    }
    let plain = scene.ca().catalog().await.unwrap();
    assert!(!plain.products.iter().any(|product| product.id == "STANDARD_PLUS_SSL"));
}

#[tokio::test]
async fn fields_of_the_account_are_part_of_its_products() {
    let scene = Scene::new().await;
    let fields = json!({
        "text1": { "enabled": "true", "label": "Cost centre", "mandatory": "admin_api" },
        "text2": { "enabled": false, "label": "Old" },
        "text3": null,
        "dropdown1": { "enabled": true, "label": null, "options": "Test,Production", "order": 3 },
    });
    scene.fake.world().custom_fields = fields.as_object().cloned();
    let catalog = scene.ca().catalog().await.unwrap();
    let details = &product(&catalog, "UC_SSL").details;
    let told: Vec<_> = details
        .iter()
        .filter(|(name, _)| name.contains('.'))
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("choices.dropdown1", "Test,Production"),
            ("field.dropdown1", "dropdown1"),
            ("field.text1", "required: Cost centre")
        ]
    );
}

#[tokio::test]
async fn a_catalog_that_breaks_off_is_no_catalog() {
    let scene = Scene::new().await;
    for body in [json!({ "clients": null }), json!({}), json!([1]), Value::Null] {
        for _ in 0..4 {
            scene.fake.befall(Step::Catalog, Mishap::Say(200, body.clone()));
        }
        let error = scene.ca().catalog().await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{body}: {error}");
    }
}
