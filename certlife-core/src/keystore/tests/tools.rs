//! What is written here, read by `openssl`.

use serde_json::json;

use super::*;
#[cfg(feature = "pkcs12")]
use crate::openssl::Files;
use crate::openssl::{openssl, openssl_text};

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
