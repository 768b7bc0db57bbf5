//! Placing, finding, reissuing, renewing, cancelling, revoking.

use std::time::Duration;

use certlife_core::{
    ErrorKind, Retry,
    ca::{Found, Purpose},
};
use serde_json::json;

use super::*;
use crate::sslstore::{Address, CsrForm, OrderOptions, OrganizationDetails, Person, Vendor, WebServer};

fn following(purpose: Purpose, request: OrderRequest) -> OrderIntent {
    intent(OrderRequest { purpose, ..request })
}

#[tokio::test]
async fn an_order_costs_one_request_to_place_and_two_to_fetch() {
    let desk = Desk::start().await;
    let intent = simple();
    let placed = desk.ca().place(&intent).await.unwrap();
    assert_eq!(desk.calls(), ["order/neworder"]);
    assert_eq!(placed.stage, Stage::Validating);
    let ready = desk.prove(&placed);
    let issued = desk.ca().respond(&order_ref(&intent, &placed), &ready).await.unwrap();
    assert_eq!(desk.calls(), ["order/status", "order/download"]);
    assert_eq!((issued.stage, issued.certificate.unwrap().intermediates().len()), (Stage::Issued, 1));
}

#[tokio::test]
async fn everything_that_an_order_says_is_sent() {
    let desk = Desk::start().await;
    let address =
        Address { line_1: "Storgatan 1".into(), city: "Lund".into(), region: "Skane".into(), ..preset() };
    let organization = OrganizationDetails {
        name: "Example AB".into(),
        phone: "46123".into(),
        address: address.clone(),
        ..OrganizationDetails::default()
    };
    let options = OrderOptions::new()
        .vendor(Vendor::Sectigo)
        .server_count(3)
        .web_server(WebServer::Iis)
        .organization(organization)
        .technical(Person { email: "tech@example.org".into(), ..Person::default() })
        .reserved_sans(5)
        .log_certificate(true)
        .email_language("sv")
        .special_instructions("as last year");
    let plain = request("sectigomdc", &["a.example.org", "b.example.org", "c.example.org"]);
    let intent = intent(OrderRequest {
        options: serde_json::to_value(options).unwrap(),
        validity: Some(Duration::from_hours(24 * 730)),
        ..proven_by(ChallengeKind::Http, plain)
    });
    let ca = desk
        .builder()
        .administrator(Person {
            email: "preset@example.org".into(),
            address: Some(address),
            ..Person::default()
        })
        .build()
        .unwrap();
    let placed = ca.place(&intent).await.unwrap();
    assert_eq!(placed.authorizations.as_ref().unwrap().len(), 3);
    let body = desk.body("order/neworder");
    for (member, expected) in [
        ("CustomOrderID", json!(intent.reference)),
        ("ProductCode", json!("sectigomdc")),
        ("ValidityPeriod", json!(24)),
        ("ServerCount", json!(3)),
        ("WebServerType", json!("iis")),
        ("DomainName", json!("a.example.org")),
        ("DNSNames", json!(["b.example.org", "c.example.org"])),
        ("ReserveSANCount", json!(5)),
        ("FileAuthDVIndicator", json!(true)),
        ("CNAMEAuthDVIndicator", json!(false)),
        ("ApproverEmail", json!("admin@a.example.org,admin@b.example.org,admin@c.example.org")),
        ("SignatureHashAlgorithm", json!("PREFER_SHA2")),
        ("CertTransparencyIndicator", json!(true)),
        ("EmailLanguageCode", json!("SV")),
        ("SpecialInstructions", json!("as last year")),
        ("isRenewalOrder", json!(false)),
    ] {
        assert_eq!(body[member], expected, "{member}");
    }
    assert_eq!(body["OrganizationInfo"]["OrganizationAddress"]["LocalityName"], "Lund");
    // The order's own contact stands where the preset's does.
    assert_eq!(
        (&body["AdminContact"]["Email"], &body["AdminContact"]["City"]),
        (&json!("ada@example.org"), &json!("Lund"))
    );
    assert_eq!(body["TechnicalContact"]["Email"], "tech@example.org");
    assert!(body["CSR"].as_str().unwrap().starts_with("-----BEGIN%20CERTIFICATE%20REQUEST-----%0A"));
}

fn preset() -> Address {
    Address { postal_code: "22100".into(), country: "SE".into(), ..Address::default() }
}

#[tokio::test]
async fn the_form_of_the_request_can_be_chosen() {
    let desk = Desk::start().await;
    desk.fake.world().csr_form = Some("plain");
    let refused = desk.ca().place(&simple()).await.unwrap_err();
    assert!(refused.to_string().contains("Failed to parse CSR"), "{refused}");
    assert_eq!((refused.retry(), desk.fake.world().ledger.len()), (Retry::Never, 0));
    for form in [CsrForm::Plain, CsrForm::OneLine] {
        desk.builder().csr_form(form).build().unwrap().place(&simple()).await.unwrap();
    }
}

#[tokio::test]
async fn a_lost_answer_to_an_order_is_never_repeated_and_the_order_is_found() {
    let desk = Desk::start().await;
    let intent = simple();
    lose(&desk, "order/neworder");
    let error = desk.ca().place(&intent).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (&ErrorKind::Uncertain, Retry::Never));
    assert_eq!(desk.calls(), ["order/neworder"]);
    let Found::Order(found) = desk.ca().find(&intent).await.unwrap() else { panic!("an order") };
    assert_eq!(desk.calls(), ["order/status"]);
    assert_eq!(desk.finish(&intent, *found).await.stage, Stage::Issued);
    assert_eq!(desk.fake.world().ledger.len(), 1);
}

#[tokio::test]
async fn an_order_is_waited_for_longer_than_an_answer() {
    let desk = Desk::start().await;
    let mut http = certlife_core::http::Settings::default();
    http.bundled_roots = certlife_core::http::BundledRoots::Always;
    http.request_timeout_seconds = std::num::NonZeroU32::new(1);
    desk.fake.world().faults.push(("order/neworder".into(), Fault::Slow(Duration::from_millis(1_200))));
    desk.builder().http(http).build().unwrap().place(&simple()).await.unwrap();
}

#[tokio::test]
async fn any_answer_that_is_none_leaves_an_order_in_doubt() {
    for (status, media_type, body) in [
        (200, "text/html", "<html>maintenance</html>"),
        (200, "application/json", "{\"AuthResponse\":{\"isError\":fal"),
        (200, "application/json", "{}"),
        (200, "application/json", "null"),
        (200, "application/json", "[]"),
        (
            200,
            "application/json",
            "{\"TheSSLStoreOrderID\":\"../1\",\"OrderStatus\":{\"MajorStatus\":\"Pending\"}}",
        ),
        (200, "application/json", "{\"TheSSLStoreOrderID\":\"7\",\"CustomOrderID\":\"another\"}"),
        (200, "application/json", "{\"TheSSLStoreOrderID\":\"7\",\"AuthResponse\":{\"isError\":true}}"),
        (302, "text/plain", ""),
        (404, "text/html", "<html></html>"),
        (500, "text/plain", "oops"),
        (504, "text/html", "<html></html>"),
    ] {
        let desk = Desk::start().await;
        let scripted = ("order/neworder".to_owned(), status, media_type.to_owned(), body.to_owned());
        desk.fake.world().scripted.push(scripted);
        let error = desk.ca().place(&simple()).await.unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Uncertain, "{status} {body}: {}", error.chain());
        assert_eq!(desk.calls().len(), 1, "{status} {body}");
    }
}

#[tokio::test]
async fn that_there_is_no_order_is_said_after_the_whole_list_was_seen() {
    let desk = Desk::start().await;
    for number in 0..3 {
        desk.ca().place(&intent(request("positivessl", &[&format!("n{number}.example.org")]))).await.unwrap();
    }
    desk.calls();
    assert_eq!(desk.ca().find(&simple()).await.unwrap(), Found::Nothing);
    assert_eq!(desk.calls(), ["order/status", "order/query"]);

    // A refusal alone says nothing: the list has it.
    let placed = simple();
    desk.ca().place(&placed).await.unwrap();
    let refusal = json!({ "AuthResponse": { "isError": true, "Message": ["out of order"] } }).to_string();
    let refuse = |path: &str| (path.to_owned(), 200, "application/json".to_owned(), refusal.clone());
    desk.fake.world().scripted.push(refuse("order/status"));
    assert!(matches!(desk.ca().find(&placed).await.unwrap(), Found::Order(_)));

    // If neither can be asked, nobody knows.
    let mut scripted = vec![refuse("order/status"), refuse("order/query")];
    desk.fake.world().scripted.append(&mut scripted);
    assert_eq!(desk.ca().find(&simple()).await.unwrap(), Found::CannotTell);

    // An answer about another order is no evidence.
    let other = desk.fake.world().orders[0].shown().to_string();
    desk.fake.world().scripted.push(("order/status".into(), 200, "application/json".into(), other));
    assert_eq!(desk.ca().find(&simple()).await.unwrap(), Found::CannotTell);
}

#[tokio::test]
async fn an_order_in_doubt_is_not_given_up_for_an_error() {
    let desk = Desk::start().await;
    let wrong = desk.with_token("MISTAKEN-AUTH-TOKEN-0001").build().unwrap();
    let error = wrong.find(&simple()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (&ErrorKind::Unauthorized, Retry::Backoff));
    desk.fake.world().missing.insert("order/status".into());
    let error = desk.ca().find(&simple()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Protocol(_)) && error.retry() == Retry::Backoff, "{error:?}");
}

#[tokio::test]
async fn a_renewal_names_the_order_before_and_is_paid() {
    let desk = Desk::start().await;
    let first = simple();
    let issued = desk.obtain(&first).await;
    let renewal = following(Purpose::Renewal { of: Box::new(issued_ref(&issued)) }, first.request.clone());
    let renewed = desk.obtain(&renewal).await;
    assert_ne!(renewed.handle, issued.handle);
    let body = desk.body("order/neworder");
    assert_eq!(
        (&body["isRenewalOrder"], &body["RelatedTheSSLStoreOrderID"]),
        (&json!(true), &json!("7000001"))
    );
    assert_eq!(desk.fake.world().ledger.iter().filter(|line| line.2).count(), 2);

    // What another CA issued is followed by a first order here.
    let mut of = Box::new(issued_ref(&issued));
    of.handle = None;
    desk.obtain(&following(Purpose::Renewal { of }, first.request.clone())).await;
    assert_eq!(desk.body("order/neworder")["isRenewalOrder"], json!(false));
}

#[tokio::test]
async fn a_reissue_keeps_the_order_and_says_which_names_change() {
    let desk = Desk::start().await;
    let first = intent(request("positivemdcssl", &["a.example.org", "b.example.org"]));
    let issued = desk.obtain(&first).await;
    let purpose = Purpose::Reissue { of: Box::new(issued_ref(&issued)), reason: None };
    let next = following(purpose, request("positivemdcssl", &["a.example.org", "c.example.org"]));
    desk.calls();
    let placed = desk.ca().place(&next).await.unwrap();
    assert_eq!(desk.calls(), ["order/status", "order/reissue"]);
    assert_eq!((placed.stage, &placed.handle), (Stage::Validating, &issued.handle));
    let body = desk.body("order/reissue");
    assert_eq!(body["AddSAN"], json!([{ "OldValue": "", "NewValue": "c.example.org" }]));
    assert_eq!(body["DeleteSAN"], json!([{ "OldValue": "b.example.org", "NewValue": "" }]));
    assert_eq!(body["ReissueEmail"], "ada@example.org");
    assert_eq!(body["ApproverEmails"], "admin@a.example.org,admin@c.example.org");
    // Until then the old certificate stands, for whoever asks for it.
    let old = desk.ca().poll(&order_ref(&first, &issued)).await.unwrap();
    assert_eq!((old.stage, &old.certificate), (Stage::Issued, &issued.certificate));
    let over =
        desk.ca().place(&following(next.request.purpose.clone(), next.request.clone())).await.unwrap_err();
    assert!(over.to_string().contains("another reissue"), "{over}");
    let reissued = desk.finish(&next, placed).await;
    assert_eq!(reissued.stage, Stage::Issued);
    assert_ne!(reissued.certificate, issued.certificate);
    assert_eq!(desk.fake.world().ledger.iter().filter(|line| line.2).count(), 1, "a reissue is free");
}

#[tokio::test]
async fn a_reissue_is_not_done_while_the_old_certificate_is_delivered() {
    let desk = Desk::start().await;
    let first = simple();
    let issued = desk.obtain(&first).await;
    let next = following(
        Purpose::Reissue { of: Box::new(issued_ref(&issued)), reason: None },
        first.request.clone(),
    );
    desk.ca().place(&next).await.unwrap();
    // The status is ahead of the download.
    desk.fake.world().order("7000001").minor = "Active".into();
    let seen = desk.ca().poll(&order_ref(&next, &issued)).await.unwrap();
    assert_eq!((seen.stage, &seen.certificate), (Stage::Processing, &None));
    assert!(seen.message.unwrap().as_str().contains("previous one"));
}

#[tokio::test]
async fn a_lost_reissue_is_found_by_what_it_left_behind() {
    for (product, renames) in [("positivessl", false), ("positivessl", true), ("digi_rapidssl", false)] {
        let desk = Desk::start().await;
        desk.fake.world().reissue_renames = renames;
        let first = intent(request(product, &["shop.example.org"]));
        let issued = desk.obtain(&first).await;
        let purpose = || Purpose::Reissue { of: Box::new(issued_ref(&issued)), reason: None };
        let next = following(purpose(), first.request.clone());
        assert_eq!(desk.ca().find(&next).await.unwrap(), Found::Nothing, "{product}: nothing was asked yet");
        lose(&desk, "order/reissue");
        assert_eq!(desk.ca().place(&next).await.unwrap_err().kind(), &ErrorKind::Uncertain);
        let Found::Order(found) = desk.ca().find(&next).await.unwrap() else { panic!("{product} {renames}") };
        // A reissue of somebody else is none of ours.
        let other = following(purpose(), first.request.clone());
        assert_eq!(desk.ca().find(&other).await.unwrap(), Found::CannotTell, "{product}");
        let reissued = desk.finish(&next, *found).await;
        assert_eq!(reissued.stage, Stage::Issued);
        // Nor is its certificate.
        let seen = desk.ca().poll(&order_ref(&other, &reissued)).await.unwrap();
        assert_eq!((seen.stage, seen.certificate), (Stage::Processing, None));
        // Found by its key, too, once it is through.
        assert!(matches!(desk.ca().find(&next).await.unwrap(), Found::Order(_)), "{product}");
        assert_eq!(desk.ca().find(&other).await.unwrap(), Found::CannotTell);
        assert_eq!(desk.fake.world().ledger.len(), 2);
    }
}

#[tokio::test]
async fn a_refused_order_is_over_and_costs_nothing() {
    let desk = Desk::start().await;
    let first = intent(request("positivessl", &["a.example.org", "b.example.org"]));
    let error = desk.ca().place(&first).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Rejected(_)) && error.retry() == Retry::Never);
    assert!(error.to_string().contains("this product is for one name (-9009)"), "{error}");
    assert_eq!(desk.fake.world().ledger.len(), 0);
}
