//! What the forms hold, and what they refuse.

use serde_json::json;

use super::*;

#[test]
fn pem_forms_hold_what_they_say_in_that_order() {
    let sample = Sample::new(KeyAlgorithm::EcdsaP256);
    let [leaf, intermediate] = &ders(sample.chain())[..] else { panic!("leaf and intermediate") };
    for (contents, certificates_in, labels_in) in [
        ("certificate", vec![leaf], vec!["CERTIFICATE"]),
        ("intermediates", vec![intermediate], vec!["CERTIFICATE"]),
        ("full-chain", vec![leaf, intermediate], vec!["CERTIFICATE"; 2]),
        ("root-first", vec![intermediate, leaf], vec!["CERTIFICATE"; 2]),
        ("key", vec![], vec!["PRIVATE KEY"]),
        ("key-and-full-chain", vec![leaf, intermediate], vec!["PRIVATE KEY", "CERTIFICATE", "CERTIFICATE"]),
        ("full-chain-and-key", vec![leaf, intermediate], vec!["CERTIFICATE", "CERTIFICATE", "PRIVATE KEY"]),
    ] {
        let form = form(json!({ "format": "pem", "contents": contents }));
        let text = sample.text(&form);
        assert_eq!(certificates(&text).iter().collect::<Vec<_>>(), certificates_in, "{contents}");
        assert_eq!(labels(&text), labels_in, "{contents}");
        assert_eq!(form.holds_key(), text.contains("PRIVATE KEY"), "{contents}");
    }
}

#[test]
fn the_name_is_the_first_identifier_unless_the_host_says_otherwise() {
    let sample = Sample::new(KeyAlgorithm::EcdsaP256);
    assert_eq!(sample.keystore.name().as_str(), "example.com");
    let named = sample.keystore.clone().named("Größe".parse().unwrap());
    assert_eq!(named.name().as_str(), "Größe");
    for bad in ["", " a", "a\n", "a\u{0}", "\u{1f600}", &"a".repeat(256)] {
        let refused = FriendlyName::new(bad).unwrap_err().to_string();
        assert!(refused.contains("1 to 255 characters"), "{refused}");
    }
}

#[test]
fn settings_that_cannot_work_are_refused_by_field_and_rule() {
    for (settings, field, rule) in [
        (json!({ "format": "pem", "contents": "key", "password": "" }), "password", "1 to 1024"),
        (json!({ "format": "pem", "contents": "key", "password": "a\nb" }), "password", "control"),
        (json!({ "format": "pem", "contents": "full-chain", "password": "abc" }), "password", "no key"),
        (json!({ "format": "pem", "contents": "full-chain", "key": "traditional" }), "key", "no key"),
        (
            json!({ "format": "pem", "contents": "key", "key": "traditional", "password": "a" }),
            "key",
            "pkcs8",
        ),
        (json!({ "format": "der", "contents": "certificate", "password": "abc" }), "password", "no key"),
        #[cfg(feature = "pkcs12")]
        (json!({ "format": "pkcs12", "password": "" }), "password", "1 to 1024"),
        #[cfg(feature = "pkcs12")]
        (json!({ "format": "pkcs12", "password": "pässword" }), "password", "ASCII"),
        #[cfg(feature = "jks")]
        (json!({ "format": "jks", "password": "12345" }), "password", "6 to 1024"),
        #[cfg(feature = "jks")]
        (json!({ "format": "jks", "password": "pässword" }), "password", "ASCII"),
    ] {
        let refused = form(settings.clone()).check().unwrap_err();
        let InputError::Setting { setting, rule: said } = &refused else { panic!("{refused:?}") };
        assert!(setting == field && said.contains(rule), "{settings}: {refused}");
        assert!(!refused.to_string().contains("pässword"), "{refused}");
    }
    for unknown in [
        json!({ "format": "pfx", "password": "abcdef" }),
        json!({ "format": "pem", "contents": "key", "passwort": "abcdef" }),
        json!({ "format": "pem", "contents": "everything" }),
        #[cfg(feature = "jks")]
        json!({ "format": "jks", "password": "abcdef", "alias": " spaced " }),
    ] {
        assert!(serde_json::from_value::<Form>(unknown.clone()).is_err(), "{unknown}");
    }
}

#[test]
fn keys_that_are_missing_or_of_another_certificate_are_refused() {
    let sample = Sample::new(KeyAlgorithm::Ed25519);
    let other = PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap();
    let refused = Keystore::new(sample.chain().clone(), Some(other)).unwrap_err();
    assert!(refused.to_string().contains("not the key of the certificate"), "{refused}");

    let without = Keystore::new(sample.chain().clone(), None).unwrap();
    let password = "abcdef";
    for settings in [
        json!({ "format": "pem", "contents": "key" }),
        json!({ "format": "pem", "contents": "key-and-full-chain", "password": password }),
        json!({ "format": "der", "contents": "key" }),
        #[cfg(feature = "pkcs12")]
        json!({ "format": "pkcs12", "password": password }),
        #[cfg(feature = "jks")]
        json!({ "format": "jks", "password": password }),
    ] {
        let refused = without.encode(&form(settings)).unwrap_err();
        assert!(matches!(refused, InputError::PrivateKey { .. }), "{refused:?}");
    }
    let traditional = form(json!({ "format": "pem", "contents": "key", "key": "traditional" }));
    let refused = sample.keystore.encode(&traditional).unwrap_err().to_string();
    assert!(refused.contains("ed25519 keys have no form but PKCS#8"), "{refused}");
}

#[test]
fn debug_output_shows_no_password() {
    let form = form(json!({ "format": "pem", "contents": "key", "password": PASSWORD }));
    assert!(!format!("{form:?}").contains(PASSWORD));
}

#[test]
fn the_schema_marks_passwords_and_names_every_format() {
    let schema = serde_json::to_string(&schemars::schema_for!(Form)).unwrap();
    for part in ["\"pem\"", "\"der\"", "\"pkcs7\"", "\"full-chain\"", "\"writeOnly\":true"] {
        assert!(schema.contains(part), "{part} in {schema}");
    }
}
