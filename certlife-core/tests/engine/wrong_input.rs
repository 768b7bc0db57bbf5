//! Bad input before any effect: each its own typed error that names the value and the rule.

use certlife_core::{
    CsrTemplate, DnsName, KeyAlgorithm, PrivateKey, Secret,
    challenge::HttpPath,
    model::{CertificateSpec, KeyPolicy, KeySource, Rollout, Route},
};

use crate::world::{World, events, spec};

async fn refused(world: &World, wish: CertificateSpec) -> (&'static str, String) {
    let engine = world.engine().await;
    let before = events(&engine).await.len();
    let error = engine.ensure(wish).await.unwrap_err();
    assert_eq!(world.ca.requests(), 0, "something was sent");
    assert_eq!(events(&engine).await.len(), before, "something was stored");
    (error.kind().code(), error.to_string())
}

#[tokio::test]
async fn each_has_its_own_error_and_nothing_is_sent_or_stored() {
    let world = World::with_ca(|ca| ca.max_identifiers(3));
    let http = Route::Http("web".parse().unwrap());
    let four = ["a.example.com", "b.example.com", "c.example.com", "d.example.com"];
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let csr = CsrTemplate::new(["other.example.com".parse().unwrap()]).sign(&key).unwrap();
    let elsewhere = KeyPolicy { source: KeySource::Elsewhere(Box::new(csr)), ..KeyPolicy::default() };
    let mut unknown_ca = spec("www", &["example.com"]);
    unknown_ca.ca = "nobody".parse().unwrap();
    let mut routed = spec("www", &["example.com"]);
    routed.validation.routes.insert("x.example.com".parse().unwrap(), http.clone());

    let place = |targets: &[&str]| targets.iter().map(|target| target.parse().unwrap()).collect();
    let waves = |waves: &[&[&str]]| Rollout::Waves(waves.iter().map(|wave| place(wave)).collect());

    for (wish, code, words) in [
        (
            spec("www", &["example.com"]).rollout(waves(&[&["web"], &["web"]])),
            "bad_value",
            "rollout: \"web\" is not valid: a target has one place in it",
        ),
        (
            spec("www", &["example.com"]).rollout(waves(&[&["nowhere"]])),
            "unknown_account",
            "no target account named \"nowhere\"",
        ),
        (spec("www", &[]), "no_identifiers", "at least one identifier"),
        (spec("www", &four), "too_many_identifiers", "4 identifiers are too many: this CA allows 3"),
        (
            spec("www", &["*.example.com"]).validate(http.clone()),
            "no_validation",
            "a wildcard is validated by",
        ),
        (
            spec("www", &["example.com"]).validate(Route::Dns("nobody".parse().unwrap())),
            "unknown_account",
            "no DNS account named \"nobody\"",
        ),
        (
            spec("www", &["example.com"]).deploy("nowhere".parse().unwrap()),
            "unknown_account",
            "no target account named \"nowhere\"",
        ),
        (unknown_ca, "unknown_account", "no CA account named \"nobody\""),
        (spec("www", &["example.com"]).key(elsewhere), "bad_csr", "other.example.com"),
        (routed, "bad_identifier", "x.example.com"),
    ] {
        let (found, message) = refused(&world, wish).await;
        assert_eq!(found, code, "{message}");
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn names_paths_and_tokens_are_refused_where_they_are_read() {
    for name in ["", "a..b", "xn--a.example", &"a".repeat(64), &"a.".repeat(140)] {
        assert_eq!(name.parse::<DnsName>().unwrap_err().code(), "bad_dns_name");
    }
    assert_eq!(HttpPath::acme("a/b/../../../../../../etc/passwd").unwrap_err().code(), "bad_token");
    assert_eq!(HttpPath::new("/.well-known/../../etc/passwd").unwrap_err().code(), "bad_path");
    assert_eq!(PrivateKey::from_pem(&Secret::new("not a key")).unwrap_err().code(), "bad_private_key");
}
