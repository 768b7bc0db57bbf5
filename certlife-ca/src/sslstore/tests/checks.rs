//! What is refused before anything is sent: options, requests, settings.

use std::time::Duration;

use certlife_core::ca::{Catalog, OrderHandle};
use serde_json::json;

use super::*;
use crate::sslstore::{OrderOptions, Settings, SignatureHash, WebServer};

const DAY: Duration = Duration::from_hours(24);

async fn catalog() -> (Desk, Catalog) {
    let desk = Desk::start().await;
    let catalog = desk.builder().legacy_products(true).build().unwrap().catalog().await.unwrap();
    desk.calls();
    (desk, catalog)
}

fn with(options: Value, request: OrderRequest) -> OrderRequest {
    OrderRequest { options, ..request }
}

fn organization() -> Value {
    json!({
        "name": "Example AB", "phone": "46123", "jurisdiction_country": "SE",
        "address": { "line_1": "Storgatan 1", "city": "Lund", "region": "Skane", "postal_code": "22100", "country": "SE" },
    })
}

#[tokio::test]
async fn each_option_that_breaks_a_rule_is_named() {
    let (desk, catalog) = catalog().await;
    let person = |email: &str| json!({ "email": email });
    for (options, words) in [
        (json!({ "colour": 1 }), "colour"),
        (json!([1]), "options"),
        (json!({ "vendor": "entrust" }), "entrust"),
        (json!({ "vendor": "digicert" }), "options.vendor"),
        (json!({ "validation_level": "OV" }), "options.validation_level"),
        (json!({ "validation_level": "dv" }), "options"),
        (json!({ "server_count": 0 }), "options.server_count"),
        (json!({ "server_count": 501 }), "options.server_count"),
        (json!({ "server_count": -1 }), "options"),
        (json!({ "web_server": "nginx" }), "nginx"),
        (json!({ "approver_email": "nobody" }), "options.approver_email"),
        (json!({ "approver_email": "a@example.org,b@example.org" }), "options.approver_email"),
        (json!({ "reserved_sans": 251 }), "options.reserved_sans"),
        (json!({ "reserved_wildcard_sans": 251 }), "options.reserved_wildcard_sans"),
        (json!({ "signature_hash": "SHA2-256" }), "options.signature_hash"),
        (json!({ "signature_hash": "MD5" }), "MD5"),
        (json!({ "email_language": "english" }), "options.email_language"),
        (json!({ "special_instructions": "x".repeat(501) }), "options.special_instructions"),
        (json!({ "record_type": "mx" }), "mx"),
        (json!({ "administrator": person("") }), "options.administrator.email"),
        (json!({ "technical": person("a b@example.org") }), "options.technical.email"),
        (
            json!({ "technical": { "email": "a@example.org", "address": { "country": "Sweden" } } }),
            "options.technical.address.country",
        ),
        (
            json!({ "technical": { "email": "a@example.org", "phone": "1".repeat(201) } }),
            "options.technical.phone",
        ),
        (json!({ "technical": { "email": "a@example.org", "age": 7 } }), "age"),
        (json!({ "organization": {} }), "options.organization.name"),
        (
            json!({ "organization": { "name": "A", "address": { "country": "se" } } }),
            "options.organization.address.country",
        ),
        (
            json!({ "organization": { "name": "A", "jurisdiction_country": "Sweden" } }),
            "options.organization.jurisdiction_country",
        ),
        (json!({ "organization": { "name": "A\nB" } }), "options.organization.name"),
    ] {
        let request = with(options.clone(), request("positivessl", &["shop.example.org"]));
        let refused = desk.ca().check(&request, Some(&catalog)).unwrap_err().to_string();
        assert!(refused.contains(words), "{options}: {refused}");
    }
    let https = with(json!({ "file_over_https": true }), request("digi_rapidssl", &["shop.example.org"]));
    assert!(desk.ca().check(&https, None).unwrap_err().to_string().contains("file_over_https"));
    let www = with(json!({ "auto_www": true }), request("positivemdcssl", &["shop.example.org"]));
    assert!(desk.ca().check(&www, Some(&catalog)).unwrap_err().to_string().contains("auto_www"));
    assert!(desk.calls().is_empty());
}

#[tokio::test]
async fn each_request_that_breaks_a_rule_is_named() {
    let (desk, catalog) = catalog().await;
    let ssl = || request("positivessl", &["shop.example.org"]);
    let proven = |kinds: &[(&str, ChallengeKind, Option<&str>)], product: &str| {
        let names: Vec<_> = kinds.iter().map(|kind| kind.0).collect();
        let mut request = request(product, &names);
        for (identifier, kind, approver) in kinds {
            let proof = Proof { kind: *kind, approver: approver.map(str::to_owned) };
            request.challenges.insert(name(identifier), proof);
        }
        request
    };
    let reissue = |handle: Option<Value>, product: &str| {
        let chain = issued_chain();
        let of = Box::new(IssuedRef { handle: handle.map(OrderHandle), chain });
        OrderRequest {
            purpose: Purpose::Reissue { of, reason: None },
            ..request(product, &["shop.example.org"])
        }
    };
    let organized = |id: &str, product: &str| OrderRequest {
        organization: Some(id.into()),
        ..request(product, &["shop.example.org"])
    };
    let long = format!("{}.{}.example.org", "a".repeat(40), "b".repeat(40));
    for (request, words) in [
        (OrderRequest { product: None, ..ssl() }, "product"),
        (request("gold", &["shop.example.org"]), "gold"),
        (request("positive ssl", &["shop.example.org"]), "positive ssl"),
        (request("sectigocsc", &["shop.example.org"]), "the account offers"),
        (request("positivessl", &["a.example.org", "b.example.org"]), "allows 1"),
        (
            request(
                "quicksslpremiummd",
                &["a.example", "b.example", "c.example", "d.example", "e.example", "f.example"],
            ),
            "allows 5",
        ),
        (
            with(
                json!({ "reserved_sans": 1 }),
                request("positivemdcssl", &["a.example", "b.example", "c.example"]),
            ),
            "options.reserved_sans",
        ),
        (
            with(
                json!({ "reserved_wildcard_sans": 0 }),
                request("digi_ssl_dv_geotrust_flex", &["a.example", "*.b.example"]),
            ),
            "options.reserved_wildcard_sans",
        ),
        (request("positivessl", &["*.example.org"]), "holds no wildcards"),
        (request("digi_securesite_ev_flex", &["*.example.org"]), "holds no wildcards"),
        (request("positivesslwildcard", &["example.org"]), "is for wildcards"),
        (request("positivessl", &[&long]), "64 characters"),
        (OrderRequest { validity: Some(DAY * 1095), ..ssl() }, "offered for 12, 24 months"),
        (OrderRequest { validity: Some(DAY * 47), ..ssl() }, "whole months"),
        (OrderRequest { key_algorithm: Some(KeyAlgorithm::Ed25519), ..ssl() }, "key_algorithm"),
        (OrderRequest { contacts: Vec::new(), ..ssl() }, "contacts"),
        (
            proven(
                &[("a.example", ChallengeKind::DnsTxt, None), ("b.example", ChallengeKind::Http, None)],
                "positivemdcssl",
            ),
            "in one way",
        ),
        (proven(&[("*.a.example", ChallengeKind::Http, None)], "positivemdcwildcard"), "cannot prove"),
        (proven(&[("a.example", ChallengeKind::TlsAlpn, None)], "positivessl"), "challenges"),
        (proven(&[("a.example", ChallengeKind::Email, Some("nobody"))], "positivessl"), "e-mail address"),
        (
            proven(
                &[
                    ("a.example", ChallengeKind::Email, Some("admin@a.example")),
                    ("b.example", ChallengeKind::Email, Some("admin@b.example")),
                ],
                "digi_ssl_dv_geotrust_flex",
            ),
            "one approver",
        ),
        (organized("501", "positivessl"), "only DigiCert"),
        (organized("x", "digi_securesite_flex"), "number of an organization"),
        (organized("0", "digi_securesite_flex"), "number of an organization"),
        (organized("777", "digi_securesite_flex"), "no organization of that number"),
        (organized("502", "digi_securesite_flex"), "pending"),
        (
            with(json!({ "organization": organization() }), organized("501", "digi_securesite_flex")),
            "stands alone",
        ),
        (request("sectigomdc", &["shop.example.org"]), "organization.name"),
        (reissue(None, "positivessl"), "renew it"),
        (reissue(Some(json!({ "order": "7", "imported": true })), "positivessl"), "placed elsewhere"),
        (reissue(Some(json!({ "order": "7" })), "freessl"), "cannot be reissued"),
    ] {
        let refused = desk.ca().check(&request, Some(&catalog)).unwrap_err().to_string();
        assert!(refused.contains(words), "{words}: {refused}");
    }
    let sectigo = desk.builder().vendor(crate::sslstore::Vendor::Sectigo).build().unwrap();
    let refused = sectigo.check(&request("digi_rapidssl", &["a.example"]), None).unwrap_err().to_string();
    assert!(refused.contains("products of sectigo only"), "{refused}");
    assert!(desk.calls().is_empty());
}

fn issued_chain() -> certlife_core::Chain {
    let signed = rcgen::generate_simple_self_signed(vec!["shop.example.org".to_owned()]).unwrap();
    certlife_core::Chain::from_ders([signed.cert.der().to_vec()]).unwrap()
}

#[tokio::test]
async fn what_each_level_needs_is_missed_by_name() {
    let (desk, catalog) = catalog().await;
    let names = &["shop.example.org"];
    let mut whole = organization();
    for (product, member) in
        [("sectigomdc", "phone"), ("sectigoevssl", "jurisdiction_country"), ("digi_securesite_flex", "name")]
    {
        desk.ca()
            .check(&with(json!({ "organization": whole }), request(product, names)), Some(&catalog))
            .unwrap();
        let kept = whole[member].take();
        let lacking = if member == "name" { json!({}) } else { json!({ "organization": clean(&whole) }) };
        let refused =
            desk.ca().check(&with(lacking, request(product, names)), Some(&catalog)).unwrap_err().to_string();
        assert!(refused.contains(&format!("organization.{member}")), "{product}: {refused}");
        whole[member] = kept;
    }
    // DigiCert asks after people, too, and knows some organizations itself.
    let ev = OrderRequest { organization: Some("501".into()), ..request("digi_securesite_ev_flex", names) };
    desk.ca().check(&ev, Some(&catalog)).unwrap();
    let mut untitled = ev.clone();
    untitled.contacts[0].title.clear();
    let refused = desk.ca().check(&untitled, Some(&catalog)).unwrap_err().to_string();
    assert!(refused.contains("administrator.title"), "{refused}");
    // Without a catalog the order's own word about the level counts.
    let stated = with(json!({ "validation_level": "OV" }), request("sectigomdc", names));
    assert!(desk.ca().check(&stated, None).unwrap_err().to_string().contains("organization.name"));
    desk.ca().check(&request("sectigomdc", names), None).unwrap();
    // The presets of the account fill the gaps.
    let preset = serde_json::from_value(organization()).unwrap();
    let ca = desk.builder().organization(preset).build().unwrap();
    ca.check(&request("sectigomdc", names), Some(&catalog)).unwrap();
}

/// Without the members that are null.
fn clean(value: &Value) -> Value {
    let members = value.as_object().unwrap().iter().filter(|(_, value)| !value.is_null());
    members.map(|(name, value)| (name.clone(), value.clone())).collect::<serde_json::Map<_, _>>().into()
}

#[test]
fn options_are_written_as_they_are_read() {
    let options = OrderOptions::new()
        .web_server(WebServer::IbmHttp)
        .signature_hash(SignatureHash::Sha512)
        .approver_email("admin@example.org")
        .auto_www(true)
        .file_over_https(true);
    let value = serde_json::to_value(&options).unwrap();
    assert_eq!((&value["web_server"], &value["signature_hash"]), (&json!("Ibmhttp"), &json!("SHA2-512")));
    assert_eq!(OrderOptions::read(&value).unwrap(), options);
    assert_eq!(OrderOptions::read(&Value::Null).unwrap(), OrderOptions::default());
    let schema = serde_json::to_value(schemars::schema_for!(OrderOptions)).unwrap();
    assert_eq!(schema["additionalProperties"], json!(false));
    for option in
        ["vendor", "validation_level", "server_count", "web_server", "approver_email", "organization"]
    {
        assert!(schema["properties"][option].is_object(), "{option}");
    }
}

#[test]
fn settings_that_cannot_work_are_named() {
    let clock = || Arc::new(LeapClock::default());
    let partner = |more: Value| {
        let mut settings = json!({ "partner_code": "1", "auth_token": "secret-token" });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        settings
    };
    for (settings, setting) in [
        (json!({}), "partner_code"),
        (json!({ "partner_code": "1" }), "auth_token"),
        (json!({ "auth_token": "secret-token" }), "partner_code"),
        (json!({ "partner_code": " ", "auth_token": "secret-token" }), "partner_code"),
        (json!({ "partner_code": "1", "auth_token": "a b" }), "auth_token"),
        (json!({ "partner_code": "1", "auth_token": "abc" }), "auth_token"),
        (json!({ "token_id": "1" }), "token_code"),
        (json!({ "token_code": "secret" }), "token_id"),
        (partner(json!({ "token": "secret" })), "partner_code"),
        (json!({ "token": "secret", "token_id": "1", "token_code": "secret" }), "partner_code"),
        (partner(json!({ "term_months": 0 })), "term_months"),
        (partner(json!({ "page_size": 101 })), "page_size"),
        (partner(json!({ "administrator": { "email": "x" } })), "administrator.email"),
        (partner(json!({ "technical": { "email": "x" } })), "technical.email"),
        (partner(json!({ "organization": { "name": "" } })), "organization.name"),
        (partner(json!({ "base_url": "http://api.example/rest/" })), "base_url"),
    ] {
        let parsed: Settings = serde_json::from_value(settings.clone()).unwrap();
        let message = SslStore::from_settings(parsed, clock()).unwrap_err().to_string();
        assert!(message.starts_with(&format!("setting `{setting}`")), "{settings}: {message}");
        assert!(!message.contains("secret"), "{message}");
    }
    for unknown in
        [json!({ "user": "x" }), partner(json!({ "csr_form": "der" })), partner(json!({ "vendor": "x" }))]
    {
        assert!(serde_json::from_value::<Settings>(unknown).is_err());
    }
    let settings = partner(json!({ "sandbox": true, "csr_form": "plain", "auth_token": " secret-token\n" }));
    let settings: Settings = serde_json::from_value(settings).unwrap();
    assert!(!format!("{settings:?}").contains("secret-token"));
    let ca = SslStore::from_settings(settings, clock()).unwrap();
    assert!(format!("{ca:?}").contains("sandbox-wbapi.thesslstore.com"), "{ca:?}");
    let schema = serde_json::to_value(schemars::schema_for!(Settings)).unwrap();
    for secret in ["auth_token", "token", "token_code"] {
        assert!(schema["properties"][secret].to_string().contains("writeOnly"), "{secret}");
    }
}

#[test]
fn the_registry_knows_settings_and_options() {
    let mut registry = certlife_core::Registry::new();
    crate::sslstore::register(&mut registry);
    let kinds = registry.kinds();
    assert_eq!((kinds[0].kind.as_str(), kinds[0].order_options.is_some()), ("sslstore", true));
}
