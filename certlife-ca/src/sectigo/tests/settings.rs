//! Logins, settings and options, before anything is sent.

use certlife_core::{
    ca::{Contact, ContactRole},
    challenge::Proof,
};

use super::*;
use crate::sectigo::Settings;

/// A certificate and its key in PEM.
pub(super) fn identity() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
    params.self_signed(&key).unwrap().pem() + &key.serialize_pem()
}

fn clock() -> Arc<LeapClock> {
    Arc::default()
}

#[test]
fn settings_that_cannot_work_are_named() {
    let with = |more: serde_json::Value| {
        let mut settings = json!({ "login": "l", "customer_uri": "c", "password": "secret-p" });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        settings
    };
    for (settings, setting) in [
        (json!({}), "login"),
        (json!({ "login": "l" }), "customer_uri"),
        (json!({ "login": "l", "customer_uri": "c" }), "password"),
        (with(json!({ "login": " " })), "login"),
        (with(json!({ "customer_uri": "" })), "customer_uri"),
        (with(json!({ "password": " " })), "password"),
        (with(json!({ "login": "two\nlines" })), "login"),
        (with(json!({ "password": "new\nline" })), "password"),
        (with(json!({ "client_id": "i" })), "client_id"),
        (with(json!({ "token_url": "https://t.example" })), "token_url"),
        (json!({ "client_id": "i" }), "client_secret"),
        (json!({ "client_secret": "secret-s" }), "client_id"),
        (json!({ "client_id": "i", "client_secret": "" }), "client_secret"),
        (json!({ "client_id": "i", "client_secret": "secret-s", "password": "secret-p" }), "password"),
        (
            json!({ "client_id": "i", "client_secret": "secret-s", "token_url": "http://t.example" }),
            "token_url",
        ),
        (with(json!({ "base_url": "http://scm.example" })), "base_url"),
        (with(json!({ "max_identifiers": 0 })), "max_identifiers"),
        (with(json!({ "max_identifiers": 1_001 })), "max_identifiers"),
        (with(json!({ "reference_field": " " })), "reference_field"),
        (with(json!({ "settle_seconds": 3_601 })), "settle_seconds"),
        (json!({ "login": "l", "customer_uri": "c", "http": { "client_identity": "x" } }), "client_identity"),
    ] {
        let parsed: Settings = serde_json::from_value(settings.clone()).unwrap();
        let message = Sectigo::from_settings(parsed, clock()).unwrap_err().to_string();
        assert!(message.starts_with(&format!("setting `{setting}`")), "{settings}: {message}");
        assert!(!message.contains("secret-"), "{message}");
    }
    assert!(serde_json::from_value::<Settings>(with(json!({ "pasword": "p" }))).is_err());
    let schema = serde_json::to_value(schemars::schema_for!(Settings)).unwrap();
    for secret in ["password", "client_secret"] {
        assert!(schema["properties"][secret].to_string().contains("writeOnly"), "{schema:#}");
    }
}

#[test]
fn settings_and_builders_print_no_secret() {
    let ca = |settings: serde_json::Value| {
        let settings: Settings = serde_json::from_value(settings).unwrap();
        format!("{settings:?} {:?}", Sectigo::from_settings(settings.clone(), clock()).unwrap())
    };
    let identity = identity();
    let printed = [
        ca(json!({ "login": "l", "customer_uri": "c", "password": PASSWORD })),
        ca(json!({ "client_id": "i", "client_secret": CLIENT_SECRET })),
        ca(json!({ "login": "l", "customer_uri": "c", "http": { "client_identity": identity } })),
        format!("{:?}", Sectigo::builder("c", "l", PASSWORD)),
        format!("{:?}", Sectigo::builder_with_api_key("i", CLIENT_SECRET)),
        format!("{:?}", Sectigo::builder_with_certificate("c", "l", &*identity)),
    ]
    .concat();
    for secret in [PASSWORD, CLIENT_SECRET, "PRIVATE KEY"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[test]
fn base_urls_are_taken_with_and_without_their_path() {
    for (given, expected) in [
        (None, "https://cert-manager.com/api"),
        (Some("https://hard.cert-manager.com"), "https://hard.cert-manager.com/api"),
        (Some("https://hard.cert-manager.com/api/"), "https://hard.cert-manager.com/api"),
        (Some("https://cert-manager.com/private/"), "https://cert-manager.com/private/api"),
        (Some("https://gate.example/scm/api"), "https://gate.example/scm/api"),
    ] {
        let mut builder = Sectigo::builder("c", "l", PASSWORD);
        if let Some(given) = given {
            builder = builder.base_url(given.parse().unwrap());
        }
        let printed = format!("{:?}", builder.build().unwrap());
        assert!(printed.contains(&format!("{expected:?}")), "{given:?}: {printed}");
    }
    let printed = format!("{:?}", Sectigo::builder_with_certificate("c", "l", identity()).build().unwrap());
    assert!(printed.contains("https://cert-manager.com/private/api"), "{printed}");
    let http = certlife_core::http::Settings::default();
    Sectigo::builder_with_certificate("c", "l", identity()).http(http).build().unwrap();
    let printed = format!("{:?}", Sectigo::builder_with_api_key("i", "s").build().unwrap());
    assert!(printed.contains("https://admin.enterprise.sectigo.com/api"), "{printed}");
}

#[tokio::test]
async fn options_are_checked_by_name_value_and_rule() {
    let fx = Fixture::start().await;
    let request = |options: serde_json::Value| OrderRequest {
        options,
        ..fx.request(identifiers(&["www.suite.example"]))
    };
    let long = |count: usize| "é".repeat(count);
    for good in [
        json!(null),
        json!({}),
        json!({ "comments": long(971) }),
        json!({ "external_requesters": ["a@b.example"] }),
        json!({ "custom_fields": { long(256): long(256) } }),
    ] {
        fx.sectigo().check(&request(good), None).unwrap();
    }
    for (options, words) in [
        (json!({ "comment": "x" }), "comment"),
        (json!([]), "options"),
        (json!({ "comments": 7 }), "options"),
        (json!({ "comments": long(972) }), "at most 1024 characters"),
        (json!({ "external_requesters": ["nobody"] }), "nobody"),
        (json!({ "external_requesters": ["a@b.example, c@d.example"] }), "external_requesters"),
        (
            json!({ "external_requesters": (0..40).map(|n| format!("person{n}@b.example")).collect::<Vec<_>>() }),
            "512",
        ),
        (json!({ "custom_fields": { "": "x" } }), "custom_fields"),
        (json!({ "custom_fields": { "F": long(257) } }), "custom_fields.F"),
        (json!({ "custom_fields": { "F": "" } }), "custom_fields.F"),
    ] {
        let message = fx.sectigo().check(&request(options.clone()), None).unwrap_err().to_string();
        assert!(message.contains(words), "{options}: {message}");
    }
    let in_field = fx.builder().reference_field("F").build().unwrap();
    in_field.check(&request(json!({ "comments": long(1_024) })), None).unwrap();
    for options in [json!({ "comments": long(1_025) }), json!({ "custom_fields": { "F": "x" } })] {
        in_field.check(&request(options), None).unwrap_err();
    }
    let contact = Contact {
        role: ContactRole::Requester,
        email: "nobody".into(),
        first_name: String::new(),
        last_name: String::new(),
        title: String::new(),
        phone: String::new(),
    };
    let message = fx
        .sectigo()
        .check(&OrderRequest { contacts: vec![contact], ..request(json!(null)) }, None)
        .unwrap_err();
    assert!(message.to_string().contains("contacts"), "{message}");
    assert_eq!(fx.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn one_method_an_order() {
    let fx = Fixture::with_order_validation().await;
    let names = identifiers(&["www.suite.example", "*.suite.example"]);
    let with = |first: Proof, second: Proof| OrderRequest {
        challenges: [(names[0].clone(), first), (names[1].clone(), second)].into(),
        ..fx.request(names.clone())
    };
    let by = |kind: ChallengeKind| Proof::from(kind);
    let mail = |address: &str| Proof { kind: ChallengeKind::Email, approver: Some(address.into()) };
    let (txt, cname, http) =
        (by(ChallengeKind::DnsTxt), by(ChallengeKind::DnsCname), by(ChallengeKind::Http));
    let ca = fx.sectigo();
    ca.check(&with(txt.clone(), txt.clone()), None).unwrap();
    ca.check(&with(mail("a@suite.example"), mail("a@suite.example")), None).unwrap();
    for (first, second) in [
        (txt.clone(), cname.clone()),
        (mail("a@suite.example"), mail("b@suite.example")),
        (mail("nobody"), mail("nobody")),
        (by(ChallengeKind::Email), by(ChallengeKind::Email)),
        (http.clone(), http),
    ] {
        ca.check(&with(first, second), None).unwrap_err();
    }
    // Where domains are validated apart from orders, a wish for one has no say.
    Fixture::start().await.sectigo().check(&with(txt, cname), None).unwrap();
}

#[test]
fn the_registry_builds_it_and_describes_its_options() {
    let mut registry = certlife_core::Registry::new();
    crate::sectigo::register(&mut registry);
    let kind = registry.kinds().into_iter().find(|kind| kind.kind == "sectigo").unwrap();
    let options = kind.order_options.unwrap();
    for option in ["comments", "external_requesters", "custom_fields", "unvalidated"] {
        assert!(options["properties"][option].is_object(), "{options:#}");
    }
}

#[test]
fn long_comments_of_old_records_make_room_for_the_reference() {
    use crate::sectigo::options::{carries, marked};
    let marked_again = marked(Some(&marked(Some(&"x".repeat(2_000)), "first")), "second");
    assert_eq!(marked_again.chars().count(), 1_024);
    assert!(carries(&marked_again, "second") && !carries(&marked_again, "secon"));
    assert_eq!(marked(None, "ref"), "[ref]");
}
