//! What is written here, read by `openssl`, and the other way round.

use serde_json::json;

use super::*;
use crate::openssl::{Files, openssl, openssl_text};

#[test]
fn openssl_reads_keys_in_every_form() {
    for algorithm in KeyAlgorithm::ALL {
        let sample = Sample::new(*algorithm);
        let public = sample.key().public_key_der();
        for (settings, arguments) in [
            (json!({ "format": "pem", "contents": "key" }), &["-inform", "PEM"][..]),
            (
                json!({ "format": "pem", "contents": "key", "password": PASSWORD }),
                &["-passin", "pass:correct horse"],
            ),
            (json!({ "format": "der", "contents": "key" }), &["-inform", "DER"]),
            (
                json!({ "format": "der", "contents": "key", "password": PASSWORD }),
                &["-inform", "DER", "-passin", "pass:correct horse"],
            ),
            (json!({ "format": "pem", "contents": "key-and-full-chain" }), &[]),
        ] {
            let written = sample.encode(&form(settings.clone()));
            let read = openssl(&[&["pkey", "-pubout", "-outform", "DER"], arguments].concat(), &written);
            assert_eq!(read, public, "{algorithm}: {settings}");
        }
        if *algorithm != KeyAlgorithm::Ed25519 {
            let written =
                sample.text(&form(json!({ "format": "pem", "contents": "key", "key": "traditional" })));
            let command = if algorithm.is_rsa() { "rsa" } else { "ec" };
            assert_eq!(labels(&written), [format!("{} PRIVATE KEY", command.to_uppercase())]);
            let read = openssl(&[command, "-pubout", "-outform", "DER"], written.as_bytes());
            assert_eq!(read, public, "{algorithm}");
        }
    }
}

#[test]
fn encrypted_keys_say_how_they_are_encrypted() {
    let sample = Sample::new(KeyAlgorithm::EcdsaP256);
    let written = sample.encode(&form(json!({ "format": "der", "contents": "key", "password": PASSWORD })));
    let printed = openssl_text(&["asn1parse", "-inform", "DER"], &written);
    // 600 000 rounds.
    for part in ["PBES2", "PBKDF2", "0927C0", "hmacWithSHA256", "aes-256-cbc"] {
        assert!(printed.contains(part), "{part} in {printed}");
    }
}

#[test]
fn openssl_lists_the_certificates_of_pkcs7_leaf_first() {
    let sample = Sample::new(KeyAlgorithm::EcdsaP256);
    for encoding in ["PEM", "DER"] {
        let settings = json!({ "format": "pkcs7", "encoding": encoding.to_lowercase() });
        let written = sample.encode(&form(settings));
        let printed = openssl_text(&["pkcs7", "-inform", encoding, "-print_certs"], &written);
        assert_eq!(certificates(&printed), ders(sample.chain()));
    }
}

#[cfg(feature = "pkcs12")]
#[test]
fn openssl_reads_pkcs12_with_key_chain_and_name() {
    let files = Files::new();
    for algorithm in KeyAlgorithm::ALL {
        let sample = Sample::new(*algorithm);
        for (protection, flags, said) in [
            (
                "modern",
                &[][..],
                ["AES-256-CBC, Iteration 100000, PRF hmacWithSHA256", "MAC: sha256, Iteration 100000"],
            ),
            (
                "legacy",
                &["-legacy"],
                ["pbeWithSHA1And3-KeyTripleDES-CBC, Iteration 20000", "MAC: sha1, Iteration 20000"],
            ),
        ] {
            let written = sample.encode(&form(json!({
                "format": "pkcs12", "password": PASSWORD, "protection": protection, "friendly_name": "Shop Two",
            })));
            let path = files.put("a.pfx", written);
            let read = ["pkcs12", "-in", &path, "-passin", "pass:correct horse"];
            let printed = openssl_text(&[&read[..], &["-nodes"], flags].concat(), b"");
            assert_eq!(certificates(&printed), ders(sample.chain()), "{algorithm} {protection}");
            assert_eq!(PrivateKey::from_pem(&Secret::new(printed.clone())).unwrap(), *sample.key());
            // Once with the key and once with its certificate.
            assert_eq!(printed.matches("friendlyName: Shop Two").count(), 2, "{printed}");
            assert_eq!(printed.matches("localKeyID").count(), 2, "{printed}");

            let info = std::process::Command::new("openssl")
                .args([&read[..], &["-info", "-noout"], flags].concat())
                .output()
                .unwrap();
            let info = String::from_utf8(info.stderr).unwrap();
            for part in said {
                assert!(info.contains(part), "{part} in {info}");
            }
        }
    }
}

#[test]
fn encrypted_keys_of_openssl_are_read() {
    let sample = Sample::new(KeyAlgorithm::EcdsaP384);
    let plain = sample.encode(&form(json!({ "format": "pem", "contents": "key" })));
    let topk8 = ["pkcs8", "-topk8", "-passout", "pass:correct horse"];
    for flags in [
        &["-v2", "aes-256-cbc"][..],
        &["-v2", "aes-192-cbc", "-v2prf", "hmacWithSHA512"],
        &["-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA1", "-iter", "1000"],
        &["-scrypt"],
        &["-outform", "DER"],
    ] {
        let written = openssl(&[&topk8[..], flags].concat(), &plain);
        let found = read(&written, Some(&secret(PASSWORD))).unwrap();
        assert_eq!(found.key.as_ref(), Some(sample.key()), "{flags:?}");
        assert_eq!(found.missing, [Missing::Certificate]);
        let wrong = read(&written, Some(&secret("wrong"))).unwrap_err();
        assert!(matches!(wrong, InputError::Password { .. }), "{flags:?}: {wrong}");
    }
    for (flags, rule) in [
        (&["-v2", "des3"][..], "1.2.840.113549.3.7, which is not supported"),
        (&["-iter", "5000001"], "more than 5000000 rounds"),
    ] {
        let written = openssl(&[&topk8[..], flags].concat(), &plain);
        let refused = read(&written, Some(&secret(PASSWORD))).unwrap_err().to_string();
        assert!(refused.contains(rule), "{refused}");
    }
    let old = openssl(&["ec", "-aes256", "-passout", "pass:correct horse"], &plain);
    let refused = read(&old, Some(&secret(PASSWORD))).unwrap_err().to_string();
    assert!(refused.contains("RFC 1421") && refused.contains("openssl pkcs8 -topk8"), "{refused}");
}

#[test]
fn pkcs7_of_openssl_is_read_in_any_order() {
    let sample = Sample::new(KeyAlgorithm::EcdsaP256);
    let files = Files::new();
    let upside_down = sample.text(&form(json!({ "format": "pem", "contents": "root-first" })));
    let path = files.put("chain.pem", upside_down);
    for encoding in ["PEM", "DER"] {
        let written = openssl(&["crl2pkcs7", "-nocrl", "-certfile", &path, "-outform", encoding], b"");
        let found = read(&written, None).unwrap();
        assert_eq!(found.format, if encoding == "PEM" { Format::Pem } else { Format::Pkcs7 });
        assert_eq!(ders(&found.chain.unwrap()), ders(sample.chain()));
        assert_eq!(found.missing, [Missing::Key]);
    }
}

#[cfg(feature = "pkcs12")]
#[test]
fn pkcs12_of_openssl_is_read_with_key_chain_and_name() {
    for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcdsaP256, KeyAlgorithm::Ed25519] {
        let sample = Sample::new(algorithm);
        let files = Files::new();
        let everything = sample.text(&form(json!({ "format": "pem", "contents": "key-and-full-chain" })));
        let path = files.put("all.pem", everything + &pem::encode("CERTIFICATE", &sample.root));
        let export =
            ["pkcs12", "-export", "-in", &path, "-name", "Shop Two", "-passout", "pass:correct horse"];
        for flags in [
            &[][..],
            &["-legacy"],
            &["-descert", "-legacy"],
            &["-certpbe", "NONE", "-keypbe", "NONE"],
            &["-certpbe", "AES-128-CBC", "-keypbe", "AES-192-CBC", "-macalg", "SHA512"],
            &["-certpbe", "PBE-SHA1-RC2-128", "-keypbe", "PBE-SHA1-3DES", "-legacy"],
            &["-nomac"],
        ] {
            let written = openssl(&[&export[..], flags].concat(), b"");
            let found = read(&written, Some(&secret(PASSWORD))).unwrap();
            assert_eq!((found.format, found.key.as_ref()), (Format::Pkcs12, Some(sample.key())), "{flags:?}");
            assert_eq!(ders(found.chain.as_ref().unwrap()), ders(sample.chain()), "{flags:?}");
            assert_eq!(found.name.unwrap().as_str(), "Shop Two", "{flags:?}");
            assert_eq!(found.missing, []);
            // The root.
            assert_eq!(found.dropped.len(), 1);
            let wrong = read(&written, Some(&secret("wrong"))).unwrap_err();
            assert!(matches!(wrong, InputError::Password { .. }), "{flags:?}: {wrong}");
            let missing = read(&written, None).unwrap_err();
            assert!(matches!(missing, InputError::Password { .. }), "{flags:?}: {missing}");
        }
        let hard = openssl(&[&export[..], &["-iter", "5000001"]].concat(), b"");
        let refused = read(&hard, Some(&secret(PASSWORD))).unwrap_err().to_string();
        assert!(refused.contains("more than 5000000 rounds"), "{refused}");
    }
}
