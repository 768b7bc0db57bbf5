//! Checks signed bodies the way a strict server does (RFC 8555 §6.2).

use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac,
    rsa::PublicKeyComponents,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
        RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

/// A signed body, taken apart and not yet believed.
pub(crate) struct Jws {
    pub(crate) header: Value,
    pub(crate) payload: Vec<u8>,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl Jws {
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(body).ok()?;
        Self::from_value(&value)
    }

    pub(crate) fn from_value(value: &Value) -> Option<Self> {
        if value.as_object()?.len() != 3 {
            return None;
        }
        let part = |name: &str| value[name].as_str();
        let (protected, payload) = (part("protected")?, part("payload")?);
        Some(Self {
            header: serde_json::from_slice(&URL_SAFE_NO_PAD.decode(protected).ok()?).ok()?,
            payload: URL_SAFE_NO_PAD.decode(payload).ok()?,
            message: format!("{protected}.{payload}").into_bytes(),
            signature: URL_SAFE_NO_PAD.decode(part("signature")?).ok()?,
        })
    }

    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.payload).ok()
    }

    /// Whether `jwk` made the signature, by the algorithm that goes with it.
    pub(crate) fn is_by(&self, jwk: &Value) -> bool {
        let bytes = |name: &str| jwk[name].as_str().and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let wanted = match (jwk["kty"].as_str(), jwk["crv"].as_str()) {
            (Some("EC"), Some("P-256")) => "ES256",
            (Some("EC"), Some("P-384")) => "ES384",
            (Some("EC"), Some("P-521")) => "ES512",
            (Some("OKP"), Some("Ed25519")) => "EdDSA",
            (Some("RSA"), None) => "RS256",
            _ => return false,
        };
        if self.header["alg"] != wanted {
            return false;
        }
        let ecdsa = |algorithm: &'static dyn VerificationAlgorithm| {
            let (Some(x), Some(y)) = (bytes("x"), bytes("y")) else { return false };
            let point = [&[4][..], &x, &y].concat();
            UnparsedPublicKey::new(algorithm, point).verify(&self.message, &self.signature).is_ok()
        };
        match wanted {
            "ES256" => ecdsa(&ECDSA_P256_SHA256_FIXED),
            "ES384" => ecdsa(&ECDSA_P384_SHA384_FIXED),
            "ES512" => ecdsa(&ECDSA_P521_SHA512_FIXED),
            "EdDSA" => bytes("x").is_some_and(|x| {
                UnparsedPublicKey::new(&ED25519, x).verify(&self.message, &self.signature).is_ok()
            }),
            _ => {
                let (Some(n), Some(e)) = (bytes("n"), bytes("e")) else { return false };
                let key = PublicKeyComponents { n, e };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, &self.message, &self.signature).is_ok()
            }
        }
    }

    pub(crate) fn is_by_mac(&self, key: &[u8]) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        self.header["alg"] == "HS256" && hmac::verify(&key, &self.message, &self.signature).is_ok()
    }
}

/// RFC 7638 §3; the members of a JSON object are sorted here.
pub(crate) fn thumbprint(jwk: &Value) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, jwk.to_string().as_bytes()))
}

/// The `SubjectPublicKeyInfo` of a JWK on P-256 (RFC 5480 §2).
pub(crate) fn p256_public_key(jwk: &Value) -> Option<Vec<u8>> {
    const PREFIX: [u8; 27] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
        0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
    ];
    let part = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str()?).ok();
    Some([&PREFIX[..], &part("x")?, &part("y")?].concat())
}
