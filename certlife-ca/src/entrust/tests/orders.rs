//! What is sent for an order, and what becomes of it.

use std::time::Duration;

use certlife_core::{
    CertificateAuthority as _, Clock as _, CsrTemplate, ErrorKind, KeyAlgorithm, PrivateKey, Retry,
    ca::{Contact, ContactRole, Decision, OrderHandle, OrderIntent, OrderRequest, Purpose, Stage},
};
use serde_json::{Value, json};

use super::{
    super::{
        ExtendedKeyUsage, OrderOptions, SignatureAlgorithm, ValidityAs,
        fake::{Mishap, Step},
    },
    Scene, intent, issued, order, placed, request, with_options,
};

/// What the CA got for the last order.
fn last_body(scene: &Scene) -> Value {
    scene.fake.world().orders.last().unwrap().body.clone()
}

#[tokio::test]
async fn an_order_that_nobody_has_to_approve_is_one_request() {
    let scene = Scene::new().await;
    let (intent, seen) = placed(&scene, request(&["shop.northwind.example", "www.northwind.example"])).await;
    assert_eq!(scene.requests(), ["POST /certificates"]);
    assert_eq!((seen.stage, seen.message.clone()), (Stage::Issued, None));
    assert_eq!(seen.number.as_ref().unwrap().as_str(), "4810277");
    assert_eq!(seen.handle, OrderHandle(json!({ "order": 4_810_277, "client": 1 })));
    assert_eq!(seen.certificate.as_ref().unwrap().intermediates().len(), 1, "and the root left out");
    assert_eq!(
        last_body(&scene),
        json!({
            "certType": "UC_SSL", "clientId": 1, "csr": intent.csr.pem(),
            "subjectAltName": ["shop.northwind.example", "www.northwind.example"],
            "signingAlg": "SHA-2", "queueForApproval": false,
            "tracking": {
                "trackingInfo": intent.reference, "requesterName": "Mira Okafor",
                "requesterEmail": "mira.okafor@northwind.example", "requesterPhone": "+1-613-555-0142",
                "additionalEmails": [], "customFields": {},
            },
        })
    );
    let again = scene.ca().poll(&order(&intent, &seen)).await.unwrap();
    assert_eq!((again.certificate, again.stage), (seen.certificate, Stage::Issued));
    assert_eq!(again.details["product"].as_str(), "UC_SSL");
    assert_eq!(again.details["organization"].as_str(), "Northwind Trial Ltd");
    assert_eq!(again.ask_again, Some(Duration::from_hours(24)));
}

#[tokio::test]
async fn every_option_reaches_the_ca() {
    let scene = Scene::new().await;
    let field = |kind: &str| json!({ "enabled": true, "label": kind, "mandatory": "NOT_MANDATORY" });
    let fields = json!({
        "text1": field("Cost centre"), "number1": field("Floor"), "date1": field("Since"),
        "email1": field("Owner"), "dropdown1": field("Stage"),
    });
    scene.fake.world().custom_fields = fields.as_object().cloned();
    let options = OrderOptions::new()
        .friendly_name("shop frontend")
        .requester("Ada Lovelace", "ada@northwind.example", "+44-20-5550142")
        .additional_email("pki-team@northwind.example")
        .custom_field("text1", "CC-4410")
        .custom_number("number1", 12)
        .custom_field("date1", "2026-03-01")
        .custom_field("email1", "owner@northwind.example")
        .custom_field("dropdown1", "Production")
        .extended_key_usage(ExtendedKeyUsage::ServerAuth)
        .signature_algorithm(SignatureAlgorithm::Sha2)
        .expiry_date("2026-11-30")
        .ct_log(true)
        .queue_for_approval(true);
    let request =
        OrderRequest { organization: Some("1/Northwind Trial Ltd".into()), ..with_options(&options) };
    let (intent, seen) = placed(&scene, request).await;
    assert_eq!(seen.stage, Stage::AwaitingApproval);
    let body = last_body(&scene);
    for (member, value) in [
        ("org", json!("Northwind Trial Ltd")),
        ("eku", json!("SERVER_AUTH")),
        ("ctLog", json!(true)),
        ("certExpiryDate", json!("2026-11-30")),
        ("queueForApproval", json!(true)),
    ] {
        assert_eq!(body[member], value, "{member}");
    }
    assert_eq!(
        body["tracking"],
        json!({
            "trackingInfo": format!("shop frontend / {}", intent.reference), "requesterName": "Ada Lovelace",
            "requesterEmail": "ada@northwind.example", "requesterPhone": "+44-20-5550142",
            "additionalEmails": ["pki-team@northwind.example"],
            "customFields": {
                "text1": "CC-4410", "number1": 12, "date1": "2026-03-01", "email1": "owner@northwind.example",
                "dropdown1": "Production",
            },
        })
    );
}

#[tokio::test]
async fn a_validity_becomes_a_day_or_a_period() {
    let scene = Scene::new().await;
    let wanted = |days: u64| OrderRequest {
        validity: Some(Duration::from_hours(24 * days)),
        ..request(&["shop.northwind.example"])
    };
    placed(&scene, wanted(90)).await;
    // From 2026-01-01T00:00Z on, by the time of New York and not longer.
    assert_eq!(last_body(&scene)["certExpiryDate"], "2026-03-31");
    let ca = scene.builder().validity_as(ValidityAs::Lifetime).build().unwrap();
    for (days, period) in [(90, "P90D"), (365, "P1Y")] {
        ca.place(&intent(wanted(days))).await.unwrap();
        let body = last_body(&scene);
        assert_eq!((&body["certLifetime"], body.get("certExpiryDate")), (&json!(period), None));
    }
}

#[tokio::test]
async fn the_requester_may_be_a_contact_of_the_order() {
    let scene = Scene::new().await;
    let contact = Contact {
        role: ContactRole::Requester,
        email: "grace@northwind.example".into(),
        first_name: "Grace".into(),
        last_name: "Hopper".into(),
        title: String::new(),
        phone: String::new(),
    };
    let request = OrderRequest { contacts: vec![contact], ..request(&["shop.northwind.example"]) };
    placed(&scene, request).await;
    let tracking = last_body(&scene)["tracking"].clone();
    assert_eq!(tracking["requesterName"], "Grace Hopper");
    assert_eq!(tracking["requesterPhone"], "+1-613-555-0142", "what the contact lacks, the account has");
}

#[tokio::test]
async fn the_standard_product_names_the_twin_alone() {
    let scene = Scene::new().await;
    let names = ["shop.northwind.example", "www.shop.northwind.example"];
    let request = OrderRequest { product: Some("STANDARD_SSL".into()), ..request(&names) };
    let plain = intent(request.clone());
    let mut template = CsrTemplate::new(request.identifiers.iter().cloned());
    template.common_name = request.identifiers.first().cloned();
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let with_name = OrderIntent { csr: template.sign(&key).unwrap(), ..plain.clone() };
    // A request without common name would lose one.
    for (intent, expected) in [(plain, &names[..]), (with_name, &names[1..])] {
        let seen = scene.ca().place(&intent).await.unwrap();
        assert_eq!(last_body(&scene)["subjectAltName"], json!(expected));
        let issued = seen.certificate.unwrap().info().unwrap().identifiers;
        assert_eq!(issued, request.identifiers.iter().cloned().collect());
    }
}

#[tokio::test]
async fn a_certificate_for_another_key_is_passed_on_for_the_engine_to_refuse() {
    let scene = Scene::new().await;
    let (intent, seen) = placed(&scene, request(&["shop.northwind.example"])).await;
    let (_, other) = placed(&scene, request(&["shop.northwind.example"])).await;
    let chain = other.certificate.clone().unwrap();
    let body = json!({
        "status": "ACTIVE", "endEntityCert": chain.leaf_pem(),
        "chainCerts": [seen.certificate.clone().unwrap().leaf_pem(), chain.intermediates_pem()],
    });
    scene.fake.befall(Step::Read, Mishap::Say(200, body));
    let told = scene.ca().poll(&order(&intent, &seen)).await.unwrap();
    assert_eq!((told.stage, told.certificate), (Stage::Issued, other.certificate));
}

#[tokio::test]
async fn renewals_and_reissues_are_calls_of_their_own() {
    let scene = Scene::new().await;
    let options = OrderOptions::new().queue_for_approval(true).expiry_date("2026-06-30");
    let (first, waits) = placed(&scene, with_options(&options)).await;
    let seen = scene.ca().decide(&order(&first, &waits), Decision::Approve).await.unwrap();
    scene.requests();
    let of = Box::new(issued(&seen));
    let reissue =
        OrderRequest { purpose: Purpose::Reissue { of: of.clone(), reason: None }, ..with_options(&options) };
    let renewal = OrderRequest { purpose: Purpose::Renewal { of }, ..with_options(&options) };

    // A renewal stays with product and approval, and has a term of its own.
    let (_, renewed) = placed(&scene, renewal).await;
    assert_eq!(renewed.stage, Stage::Issued);
    let body = last_body(&scene);
    assert_eq!((&body["certExpiryDate"], &body["clientId"]), (&json!("2026-06-30"), &json!(1)));
    assert_eq!((body.get("certType"), body.get("queueForApproval")), (None, None));
    // A reissue ends with the certificate that it replaces.
    let (_, reissued) = placed(&scene, reissue).await;
    assert_eq!(last_body(&scene).get("certExpiryDate"), None);
    assert_eq!(
        scene.requests(),
        ["POST /certificates/4810277/renewals", "POST /certificates/4810277/reissues"]
    );
    let numbers = [&seen, &renewed, &reissued].map(|seen| seen.number.clone().unwrap());
    assert!(numbers[0] < numbers[1] && numbers[1] < numbers[2]);
    let paid: Vec<bool> = scene.fake.world().ledger.iter().map(|line| line.paid).collect();
    assert_eq!(paid, [true, true, false]);
    let old = scene.ca().poll(&order(&first, &seen)).await.unwrap();
    assert_eq!((old.stage, old.message.unwrap().as_str()), (Stage::Issued, "REISSUED"));
}

#[tokio::test]
async fn what_was_not_ordered_here_is_found_by_its_serial_number_and_organization() {
    let scene = Scene::new().await;
    let (_, seen) = placed(&scene, request(&["shop.northwind.example"])).await;
    // Another unit has an organization of the same name, so that only the CA can tell which one is meant.
    let mut of = issued(&seen);
    of.handle = None;
    let renewal = |of| OrderRequest {
        purpose: Purpose::Renewal { of: Box::new(of) },
        ..request(&["shop.northwind.example"])
    };
    scene.requests();
    let (_, next) = placed(&scene, renewal(of)).await;
    assert_eq!(last_body(&scene)["clientId"], Value::Null);
    assert_eq!(
        scene.requests(),
        [
            "GET /certificates",
            "GET /certificates/4810277",
            "GET /organizations",
            "POST /certificates/4810277/renewals"
        ]
    );
    scene.fake.world().organizations.pop();
    let mut of = issued(&next);
    of.handle = None;
    placed(&scene, renewal(of)).await;
    let body = last_body(&scene);
    assert_eq!((&body["clientId"], &body["org"]), (&json!(1), &json!("Northwind Trial Ltd")));
}

#[tokio::test]
async fn organizations_are_named_for_the_primary_unit_alone() {
    let scene = Scene::new().await;
    scene.fake.world().domains.push(super::FakeDomain::approved("labs.example", 2));
    for (organization, expected) in
        [("2", None), ("2/Northwind Labs GmbH", None), ("1/Northwind Trial Ltd", Some("Northwind Trial Ltd"))]
    {
        let name = if organization.starts_with('2') { "a.labs.example" } else { "a.northwind.example" };
        let request = OrderRequest { organization: Some(organization.into()), ..request(&[name]) };
        placed(&scene, request).await;
        let body = last_body(&scene);
        let client = scene.fake.world().orders.last().unwrap().client;
        assert_eq!(client.to_string(), organization[..1], "{organization}");
        assert_eq!(body.get("org").and_then(Value::as_str), expected, "{organization}");
    }
}

#[tokio::test]
async fn a_status_is_told_as_what_it_means() {
    let scene = Scene::new().await;
    let (intent, seen) = placed(&scene, request(&["shop.northwind.example"])).await;
    let number = 4_810_277;
    for (status, stage, words) in [
        ("ACTIVE", Stage::Issued, None),
        ("ready", Stage::Issued, None),
        ("RENEWED", Stage::Issued, Some("RENEWED")),
        ("REISSUING", Stage::Issued, Some("REISSUING")),
        ("PENDING_QUORUM", Stage::AwaitingApproval, Some("second administrator")),
        ("APPROVED", Stage::Issued, None),
        ("SUSPENDED", Stage::Suspended, Some("SUSPENDED")),
        ("REVOKED", Stage::Revoked, Some("REVOKED")),
        ("EXPIRED", Stage::Expired, Some("EXPIRED")),
        ("NA", Stage::Processing, Some("NA")),
        ("Awaiting moonrise", Stage::Processing, Some("AWAITING MOONRISE")),
        ("DECLINED", Stage::Rejected, Some("without a reason")),
    ] {
        scene.fake.world().order(number).status = status.to_owned();
        let told = scene.ca().poll(&order(&intent, &seen)).await.unwrap();
        assert_eq!(told.stage, stage, "{status}");
        let message = told.message.map(|words| words.to_string()).unwrap_or_default();
        assert_eq!(!message.is_empty(), words.is_some(), "{status}: {message}");
        assert!(message.contains(words.unwrap_or_default()), "{status}: {message}");
    }
    // The status lags behind the date.
    scene.fake.world().order(number).status = "ACTIVE".to_owned();
    scene.clock.advance(Duration::from_hours(24 * 400));
    assert_eq!(scene.ca().poll(&order(&intent, &seen)).await.unwrap().stage, Stage::Expired);
}

#[tokio::test]
async fn answers_are_read_in_every_form() {
    let scene = Scene::new().await;
    let (intent, seen) = placed(&scene, request(&["shop.northwind.example"])).await;
    let at_ca = order(&intent, &seen);
    let certificate = seen.certificate.clone().unwrap();
    let (leaf, rest) = (certificate.leaf_pem(), certificate.intermediates_pem());
    let say = |body: Value| scene.fake.befall(Step::Read, Mishap::Say(200, body));
    // Null, missing, and as text what should be a number; the chain in another order and without line ends.
    say(json!({
        "trackingId": "4810277", "status": "ACTIVE", "dn": null, "subjectAltName": null, "tracking": null,
        "endEntityCert": leaf.trim(), "chainCerts": [rest.trim(), leaf.trim()], "new": { "member": [1] },
    }));
    let told = scene.ca().poll(&at_ca).await.unwrap();
    assert_eq!((told.stage, &told.certificate), (Stage::Issued, &seen.certificate));
    say(json!({}));
    assert_eq!(scene.ca().poll(&at_ca).await.unwrap().stage, Stage::Processing);
    say(json!({ "status": "READY", "endEntityCert": "", "chainCerts": [] }));
    assert_eq!(scene.ca().poll(&at_ca).await.unwrap().stage, Stage::Processing, "nothing was picked up yet");

    for broken in
        [json!([]), json!("text"), json!({ "status": "ACTIVE", "endEntityCert": "-----BEGIN NONSENSE" })]
    {
        say(broken.clone());
        let error = scene.ca().poll(&at_ca).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{broken}: {error}");
        assert_eq!(error.retry(), Retry::Backoff);
    }
}

#[tokio::test]
async fn an_order_whose_certificate_cannot_be_read_exists_all_the_same() {
    let scene = Scene::new().await;
    let body = json!({ "trackingId": 4_810_277, "endEntityCert": "-----BEGIN NONSENSE", "chainCerts": [7] });
    scene.fake.befall(Step::Order, Mishap::Say(201, body));
    let seen = scene.ca().place(&intent(request(&["shop.northwind.example"]))).await.unwrap();
    assert_eq!((seen.stage, seen.certificate), (Stage::Processing, None));
    assert!(scene.clock.now() > certlife_core::Timestamp::MIN);
}
