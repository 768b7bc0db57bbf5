//! What is written here, read by Java's `keytool`, and the other way round.

use serde_json::json;

use super::*;
use crate::{
    keytool::keytool,
    openssl::{Files, openssl},
};

/// Reads a store with `keytool`, checks what it lists, and has it hand the key to `openssl`.
fn read_back(sample: &Sample, form: &Form, alias: &str) {
    let files = Files::new();
    let path = files.put("store", sample.encode(form));
    let password = form.password().unwrap().expose();
    let listed = keytool(&["-list", "-rfc", "-keystore", &path, "-storepass", password]);
    assert!(listed.contains(&format!("Alias name: {alias}\n")), "{listed}");
    assert!(listed.contains("Entry type: PrivateKeyEntry\nCertificate chain length: 2"), "{listed}");
    assert_eq!(certificates(&listed), ders(sample.chain()));

    let copy = files.path("copy.p12");
    #[rustfmt::skip]
    keytool(&[
        "-importkeystore", "-noprompt", "-srckeystore", &path, "-srcstorepass", password,
        "-destkeystore", &copy, "-deststoretype", "PKCS12", "-deststorepass", password,
    ]);
    let pass = format!("pass:{password}");
    let key = openssl(&["pkcs12", "-in", &copy, "-passin", &pass, "-nodes", "-nocerts"], b"");
    // It prints names in Latin-1.
    let key = Secret::new(String::from_utf8_lossy(&key));
    assert_eq!(PrivateKey::from_pem(&key).unwrap(), *sample.key());
}

#[cfg(feature = "pkcs12")]
#[test]
fn keytool_reads_pkcs12_with_key_chain_and_alias() {
    for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcdsaP521, KeyAlgorithm::Ed25519] {
        let sample = Sample::new(algorithm);
        for protection in ["modern", "legacy"] {
            let settings = json!({
                "format": "pkcs12", "password": PASSWORD, "protection": protection, "friendly_name": "Shop Zwei Ä",
            });
            read_back(&sample, &form(settings), "shop zwei ä");
        }
    }
}

#[cfg(feature = "jks")]
#[test]
fn keytool_reads_jks_with_key_chain_and_alias() {
    for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcdsaP521, KeyAlgorithm::Ed25519] {
        let sample = Sample::new(algorithm);
        read_back(&sample, &form(json!({ "format": "jks", "password": PASSWORD })), "example.com");
        // `keytool` finds an alias only if it is in lower case.
        let named = json!({ "format": "jks", "password": PASSWORD, "alias": "Shop Zwei Ä" });
        let files = Files::new();
        let path = files.put("store", sample.encode(&form(named)));
        let listed = keytool(&["-list", "-alias", "Shop Zwei Ä", "-keystore", &path, "-storepass", PASSWORD]);
        assert!(listed.contains("PrivateKeyEntry"), "{listed}");
    }
}

/// Has `openssl` make a PKCS#12 of the sample and `keytool` copy it into a store of its own.
fn made_by_keytool(sample: &Sample, kind: &str) -> Vec<u8> {
    let files = Files::new();
    let all = files
        .put("all.pem", sample.encode(&form(json!({ "format": "pem", "contents": "key-and-full-chain" }))));
    let source = files.path("source.p12");
    let pass = format!("pass:{PASSWORD}");
    openssl(&["pkcs12", "-export", "-in", &all, "-name", "one", "-passout", &pass, "-out", &source], b"");
    #[rustfmt::skip]
    keytool(&[
        "-importkeystore", "-noprompt", "-srckeystore", &source, "-srcstorepass", PASSWORD, "-srcstoretype", "PKCS12",
        "-srcalias", "one", "-destalias", "Zwei",
        "-destkeystore", &files.path("made"), "-deststoretype", kind, "-deststorepass", PASSWORD,
    ]);
    // A root that the store trusts, as Java keeps it beside the key.
    let root = files.put("root.der", &sample.root);
    #[rustfmt::skip]
    keytool(&[
        "-importcert", "-noprompt", "-file", &root, "-alias", "root", "-keystore", &files.path("made"),
        "-storepass", PASSWORD,
    ]);
    files.take("made")
}

fn reads(kind: &str, format: Format) {
    for algorithm in [KeyAlgorithm::Rsa2048, KeyAlgorithm::EcdsaP384, KeyAlgorithm::Ed25519] {
        let sample = Sample::new(algorithm);
        let made = made_by_keytool(&sample, kind);
        let found = read(&made, Some(&secret(PASSWORD))).unwrap();
        assert_eq!((found.format, found.key.as_ref()), (format, Some(sample.key())));
        assert_eq!(ders(found.chain.as_ref().unwrap()), ders(sample.chain()));
        assert_eq!(found.name.unwrap().as_str(), "zwei");
        assert_eq!((found.missing, found.dropped.len()), (vec![], 1));
        let wrong = read(&made, Some(&secret("wrong horse"))).unwrap_err();
        assert!(matches!(wrong, InputError::Password { .. }), "{wrong}");
    }
}

#[cfg(feature = "pkcs12")]
#[test]
fn pkcs12_of_keytool_is_read_with_key_chain_and_alias() {
    reads("PKCS12", Format::Pkcs12);
}

#[cfg(feature = "jks")]
#[test]
fn jks_of_keytool_is_read_with_key_chain_and_alias() {
    reads("JKS", Format::Jks);
}

#[test]
fn jceks_is_refused_by_name() {
    let sample = Sample::new(KeyAlgorithm::EcdsaP256);
    let refused = read(&made_by_keytool(&sample, "JCEKS"), Some(&secret(PASSWORD))).unwrap_err().to_string();
    assert!(refused.contains("it is JCEKS; convert it with `keytool -importkeystore"), "{refused}");
}
