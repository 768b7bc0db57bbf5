//! Errors in every shape, and answers that nobody expects.

use certlife_core::{ErrorKind, Retry, ca::ValidationStatus};
use serde_json::json;

use super::{super::fake::ORDER_SECRET, *};

fn script(desk: &Desk, path: &str, status: u16, media_type: &str, body: &str) {
    desk.fake.world().scripted.push((path.into(), status, media_type.into(), body.into()));
}

#[tokio::test]
async fn errors_have_their_meaning_in_every_shape() {
    let wrapped =
        |message: Value| json!({ "AuthResponse": { "isError": true, "Message": message } }).to_string();
    let flat = |message: Value| json!({ "isError": true, "Message": message }).to_string();
    for (status, body, kind, words) in [
        (
            200,
            wrapped(json!(["ErrorCode:-9008|Message:Token/Authentication Failure"])),
            "unauthorized",
            "refused",
        ),
        (200, flat(json!("ErrorCode:-9008|Message:Token/Authentication Failure")), "unauthorized", "refused"),
        (400, wrapped(json!(["ErrorCode:-9008|Message:x"])), "unauthorized", "refused"),
        (
            200,
            wrapped(json!(["ErrorCode:-9009|Message:Vendor returns error:x"])),
            "rejected",
            "Vendor returns error:x (-9009)",
        ),
        (200, wrapped(json!([null, "", "plain words"])), "rejected", "plain words"),
        (200, wrapped(Value::Null), "rejected", "no reason was given"),
        (200, json!({ "IsError": "true" }).to_string(), "rejected", "no reason was given"),
        (
            200,
            json!([{ "AuthResponse": { "isError": 1, "Message": ["in a list"] } }]).to_string(),
            "rejected",
            "in a list",
        ),
        (400, "{\"Message\":\"An error has occurred.\"}".into(), "rejected", "An error has occurred"),
        (401, String::new(), "unauthorized", "refused"),
        (403, "blocked".into(), "forbidden", "blocked"),
        (404, "<html></html>".into(), "protocol", "base_url"),
        (429, String::new(), "rate_limited", "too many"),
        (500, "oops".into(), "unavailable", "unavailable"),
        (200, "<html>login</html>".into(), "protocol", "a web page"),
        (200, "{\"AuthResponse\":{".into(), "protocol", "JSON"),
        (200, String::new(), "protocol", "empty"),
        (200, "null".into(), "protocol", "object"),
        (200, "[]".into(), "protocol", "object"),
        (200, "\"text\"".into(), "protocol", "object"),
        (200, "{}".into(), "protocol", "neither number nor status"),
        (200, "{\"TheSSLStoreOrderID\":\"8\",\"OrderStatus\":{}}".into(), "protocol", "another order"),
    ] {
        let desk = Desk::start().await;
        let first = simple();
        let placed = desk.ca().place(&first).await.unwrap();
        // Questions are repeated where that may help.
        for _ in 0..4 {
            script(&desk, "order/status", status, "application/json", &body);
            // What is refused in words is looked for in the list.
            script(&desk, "order/query", status, "application/json", &body);
        }
        let error = desk.ca().poll(&order_ref(&first, &placed)).await.unwrap_err();
        assert_eq!(error.kind().code(), kind, "{status} {body}: {}", error.chain());
        assert!(error.chain().contains(words), "{status} {body}: {}", error.chain());
        let passing = matches!(kind, "protocol" | "unavailable" | "rate_limited" | "rejected");
        assert!(status == 401 || !passing || error.retry() == Retry::Backoff, "{status} {body}: {error:?}");
    }
}

#[tokio::test]
async fn unknown_words_null_and_numbers_are_taken_for_what_they_are() {
    let first = simple();
    for (body, stage, words) in [
        (
            json!({ "TheSSLStoreOrderID": 7_000_001, "OrderStatus": { "MajorStatus": "Frozen", "MinorStatus": "deep" } }),
            Stage::Processing,
            "Frozen, deep",
        ),
        (
            json!({ "TheSSLStoreOrderID": null, "OrderStatus": { "MajorStatus": "Pending" } }),
            Stage::Processing,
            "Pending",
        ),
        (
            json!({ "thesslstoreorderid": "7000001", "orderstatus": { "majorstatus": "CANCELED", "AuthenticationComments": "no answer" } }),
            Stage::Cancelled,
            "no answer",
        ),
        (json!({ "TheSSLStoreOrderID": "7000001", "OrderStatus": null }), Stage::Processing, ""),
        (
            json!({ "TheSSLStoreOrderID": "7000001", "CommonName": 5, "DNSNames": [1, null], "OrderStatus": { "MajorStatus": "Initial", "OrderNotes": [{ "Comments": "call us" }] } }),
            Stage::Processing,
            "call us",
        ),
    ] {
        let desk = Desk::start().await;
        let placed = desk.ca().place(&first).await.unwrap();
        script(&desk, "order/status", 200, "application/json", &body.to_string());
        let seen = desk.ca().poll(&order_ref(&first, &placed)).await.unwrap();
        assert_eq!(seen.stage, stage, "{body}");
        assert!(seen.message.unwrap_or_default().as_str().contains(words), "{body}");
    }
}

#[tokio::test]
async fn certificates_are_found_in_every_form_of_file() {
    let desk = Desk::start().await;
    let first = simple();
    let issued = desk.obtain(&first).await;
    let chain = issued.certificate.clone().unwrap();
    let (leaf, above) = (chain.leaf_pem(), chain.intermediates_pem());
    let bare = |pem: &str| pem.lines().filter(|line| !line.starts_with('-')).collect::<String>();
    let encoded = leaf.replace('+', "%2B").replace(' ', "%20").replace('\n', "%0A");
    let order = order_ref(&first, &issued);
    for files in [
        json!([{ "FileName": "all.pem", "FileContent": format!("{above}{leaf}") }]),
        json!([{ "FileName": "a", "FileContent": bare(&above) }, { "FileName": "b", "FileContent": bare(&leaf) }]),
        json!([null, { "filecontent": encoded }, { "FILECONTENT": above, "FileName": null }, { "FileContent": "junk" }]),
    ] {
        script(
            &desk,
            "order/download",
            200,
            "application/json",
            &json!({ "Certificates": files }).to_string(),
        );
        let seen = desk.ca().poll(&order).await.unwrap();
        assert_eq!((seen.stage, seen.certificate), (Stage::Issued, issued.certificate.clone()), "{files}");
    }
    // Until then the CA works on it, whatever the status says.
    let refusal = json!({ "AuthResponse": { "isError": true, "Message": ["come back later"] } });
    for answer in [json!({ "Certificates": [] }), json!({ "Certificates": null }), json!({}), refusal] {
        script(&desk, "order/download", 200, "application/json", &answer.to_string());
        let seen = desk.ca().poll(&order).await.unwrap();
        assert_eq!((seen.stage, seen.certificate), (Stage::Processing, None), "{answer}");
        assert!(seen.message.is_some() && seen.ask_again.is_some());
    }
    // Two leaves of which neither is ours: nobody guesses.
    let other = async || desk.obtain(&simple()).await;
    let strangers = [other().await, other().await].map(|issued| issued.certificate.unwrap().leaf_pem());
    let files = json!({ "Certificates": [{ "FileContent": strangers.join("\n") }] });
    script(&desk, "order/download", 200, "application/json", &files.to_string());
    assert_eq!(desk.ca().poll(&order).await.unwrap().stage, Stage::Processing);
}

#[tokio::test]
async fn an_answer_that_cannot_be_used_does_not_undo_an_order() {
    let desk = Desk::start().await;
    let first = simple();
    let hostile = json!({
        "TheSSLStoreOrderID": "7000009", "CustomOrderID": first.reference, "VendorName": "SECTIGO",
        "CommonName": "shop.example.org", "CNAMEAuthName": "a b", "CNAMEAuthValue": "c d",
        "OrderStatus": { "MajorStatus": "Pending" },
    });
    script(&desk, "order/neworder", 200, "application/json", &hostile.to_string());
    let placed = desk.ca().place(&first).await.unwrap();
    assert_eq!((placed.stage, placed.number.unwrap().as_str()), (Stage::Processing, "7000009"));
}

#[tokio::test]
async fn the_account_is_tested_twice_and_shown() {
    let desk = Desk::start().await;
    let summary = desk.ca().probe().await.unwrap();
    assert_eq!(desk.calls(), ["health/validate", "order/status", "user/accountdetail"]);
    assert_eq!(summary.identity.unwrap().as_str(), "Example AB");
    assert_eq!(summary.details["balance"].as_str(), "1250.00");

    // One call may let a wrong token pass; the other does not.
    let good = json!({ "isError": false, "Message": [] }).to_string();
    script(&desk, "health/validate", 200, "application/json", &good);
    let wrong = desk.with_token("MISTAKEN-AUTH-TOKEN-0001").build().unwrap();
    let error = wrong.probe().await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unauthorized);
    assert!(error.chain().contains("Token/Authentication Failure"), "{}", error.chain());
    assert!(!error.chain().contains("MISTAKEN-AUTH"));

    script(&desk, "user/accountdetail", 200, "application/json", &json!({ "isError": true }).to_string());
    assert!(!desk.ca().probe().await.unwrap().warnings.is_empty());
}

#[tokio::test]
async fn the_catalog_is_what_certifies_servers() {
    let desk = Desk::start().await;
    let catalog = desk.ca().catalog().await.unwrap();
    assert_eq!(desk.calls(), ["product/query", "digicert/organizationlist"]);
    assert_eq!(catalog.products.len(), 10, "no legacy, no code signing");
    let product = |code: &str| catalog.products.iter().find(|product| product.id == code).unwrap();
    let multi = product("positivemdcwildcard");
    assert_eq!((multi.max_identifiers, multi.wildcards, multi.validity.len()), (Some(250), Some(true), 2));
    assert_eq!(
        (product("positivessl").max_identifiers, product("positivessl").wildcards),
        (Some(1), Some(false))
    );
    assert_eq!(product("digi_securesite_ev_flex").wildcards, Some(false), "EV has no wildcards");
    let detail = |code: &str, name: &str| product(code).details[name].as_str().to_owned();
    assert_eq!(
        (detail("sectigomdc", "validation_level"), detail("sectigomdc", "vendor")),
        ("OV".into(), "sectigo".into())
    );
    assert_eq!(detail("positivesslwildcard", "vendor"), "sectigo", "COMODO is its older name");
    assert_eq!(detail("positivessl", "price_24_months"), "18.00");
    let organizations: Vec<_> =
        catalog.organizations.iter().map(|one| (one.id.as_str(), one.status)).collect();
    assert_eq!(organizations, [("501", ValidationStatus::Valid), ("502", ValidationStatus::Pending)]);

    let legacy = desk.builder().legacy_products(true).build().unwrap().catalog().await.unwrap();
    assert_eq!(legacy.products.len(), 12);
    let refusal = json!({ "AuthResponse": { "isError": true, "Message": ["no DigiCert here"] } }).to_string();
    script(&desk, "digicert/organizationlist", 200, "application/json", &refusal);
    assert!(desk.ca().catalog().await.unwrap().organizations.is_empty());
}

#[tokio::test]
async fn an_echoed_secret_is_masked() {
    let desk = Desk::start().await;
    let words = format!("no such token {TOKEN}, code {ORDER_SECRET}");
    let refusal = json!({ "AuthResponse": { "isError": true, "Message": [words] } }).to_string();
    script(&desk, "order/neworder", 200, "application/json", &refusal);
    let error = desk.ca().place(&simple()).await.unwrap_err();
    assert!(error.chain().contains("[REDACTED]") && !format!("{error:?}{}", error.chain()).contains(TOKEN));
}
