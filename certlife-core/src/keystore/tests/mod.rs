mod forms;
#[cfg(any(feature = "jks", feature = "pkcs12"))]
mod java;
mod reading;
mod tools;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use super::*;
use crate::key::KeyAlgorithm;

const PASSWORD: &str = "correct horse";

/// A root, an intermediate and a leaf with a key of a chosen kind.
struct Sample {
    root: Vec<u8>,
    keystore: Keystore,
}

impl Sample {
    fn new(algorithm: KeyAlgorithm) -> Self {
        let (root, root_der) = authority("root", None);
        let (intermediate, intermediate_der) = authority("intermediate", Some(&root));
        let key = PrivateKey::generate(algorithm).unwrap();
        let pair = KeyPair::from_pem(key.to_pkcs8_pem().unwrap().expose()).unwrap();
        let names = ["example.com", "www.example.com"].map(ToOwned::to_owned);
        let params = CertificateParams::new(names).unwrap();
        let leaf = params.signed_by(&pair, &intermediate).unwrap().der().to_vec();
        let chain = Chain::from_ders([leaf, intermediate_der]).unwrap();
        Self { root: root_der, keystore: Keystore::new(chain, Some(key)).unwrap() }
    }

    fn chain(&self) -> &Chain {
        self.keystore.chain()
    }

    fn key(&self) -> &PrivateKey {
        self.keystore.key().unwrap()
    }

    fn encode(&self, form: &Form) -> Vec<u8> {
        self.keystore.encode(form).unwrap().expose().to_vec()
    }

    fn text(&self, form: &Form) -> String {
        String::from_utf8(self.encode(form)).unwrap()
    }
}

fn authority(name: &str, above: Option<&Issuer<'_, KeyPair>>) -> (Issuer<'static, KeyPair>, Vec<u8>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let certificate = match above {
        Some(above) => params.signed_by(&key, above).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    let der = certificate.der().to_vec();
    (Issuer::new(params, key), der)
}

/// Every form with everything in it, by its settings.
fn whole_forms() -> Vec<serde_json::Value> {
    use serde_json::json;
    vec![
        json!({ "format": "pem", "contents": "key-and-full-chain" }),
        json!({ "format": "pem", "contents": "full-chain-and-key" }),
        json!({ "format": "pem", "contents": "key-and-full-chain", "password": PASSWORD }),
        #[cfg(feature = "pkcs12")]
        json!({ "format": "pkcs12", "password": PASSWORD, "friendly_name": "shop zwei ä" }),
        #[cfg(feature = "pkcs12")]
        json!({ "format": "pkcs12", "password": PASSWORD, "protection": "legacy" }),
        #[cfg(feature = "jks")]
        json!({ "format": "jks", "password": PASSWORD, "alias": "shop zwei ä" }),
    ]
}

fn secret(password: &str) -> Secret {
    Secret::new(password)
}

/// The form that these settings say.
fn form(settings: serde_json::Value) -> Form {
    serde_json::from_value(settings).unwrap()
}

fn labels(text: &str) -> Vec<&str> {
    pem::blocks(text).unwrap().iter().map(|block| block.label).collect()
}

fn certificates(text: &str) -> Vec<Vec<u8>> {
    let blocks = pem::blocks(text).unwrap();
    blocks.iter().filter(|block| block.label == "CERTIFICATE").map(|block| block.der.to_vec()).collect()
}

fn ders(chain: &Chain) -> Vec<Vec<u8>> {
    chain.certificates().map(|der| der.to_vec()).collect()
}
