//! What is written here, read by Java's `keytool`.

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
