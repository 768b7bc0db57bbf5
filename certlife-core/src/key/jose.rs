//! Keys in JSON: what ACME needs to sign with an account key or a certificate's key (RFC 8555 §6.2).

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use der::{Decode as _, Sequence, asn1::UintRef};
use pkcs8::SubjectPublicKeyInfoRef;
use serde_json::{Value, json};

use super::{KeyAlgorithm, PrivateKey, crypto_failed, public::RsaNumbers};
use crate::error::Result;

impl PrivateKey {
    /// The `alg` of signatures by [`sign_jws`](Self::sign_jws): `RS256`, `ES256`, `ES384`, `ES512`
    /// (RFC 7518 §3.1) or `EdDSA` (RFC 8037 §3.1). It is part of what is signed, so it is asked for first.
    pub fn jws_algorithm(&self) -> &'static str {
        match self.algorithm() {
            KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => "RS256",
            KeyAlgorithm::EcdsaP256 => "ES256",
            KeyAlgorithm::EcdsaP384 => "ES384",
            KeyAlgorithm::EcdsaP521 => "ES512",
            KeyAlgorithm::Ed25519 => "EdDSA",
        }
    }

    /// Signs `message`, the JWS signing input, in the form that JWS wants: for ECDSA both numbers side
    /// by side in fixed width (RFC 7518 §3.4), otherwise as [`sign`](Self::sign).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Crypto`](crate::ErrorKind::Crypto) if the cryptographic library fails.
    pub fn sign_jws(&self, message: &[u8]) -> Result<Vec<u8>> {
        let signature = self.sign(message)?;
        match self.field_width() {
            Some(width) => fixed_width(&signature, width)
                .ok_or_else(|| crypto_failed("the signature has an unknown form")),
            None => Ok(signature),
        }
    }

    /// The public key as a JSON Web Key with the required members only (RFC 7517, RFC 7518 §6, RFC 8037 §2).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Crypto`](crate::ErrorKind::Crypto) if the public key has a form that the library never makes.
    pub fn jwk(&self) -> Result<Value> {
        self.required_members().ok_or_else(|| crypto_failed("the public key has an unknown form"))
    }

    /// The thumbprint of the public key in Base64url: SHA-256 over [`jwk`](Self::jwk) (RFC 7638 §3).
    ///
    /// # Errors
    ///
    /// As [`jwk`](Self::jwk).
    pub fn jwk_thumbprint(&self) -> Result<String> {
        // The members are in lexicographic order and the text has no white space (RFC 7638 §3.3).
        let canonical = self.jwk()?.to_string();
        Ok(URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes())))
    }

    /// The members in lexicographic order, whatever order the JSON library keeps.
    fn required_members(&self) -> Option<Value> {
        let info = SubjectPublicKeyInfoRef::from_der(self.public_key_der()).ok()?;
        let bits = info.subject_public_key.raw_bytes();
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match (self.algorithm(), self.field_width()) {
            (KeyAlgorithm::Ed25519, _) => Some(json!({ "crv": "Ed25519", "kty": "OKP", "x": text(bits) })),
            (algorithm, Some(width)) => {
                let curve = match algorithm {
                    KeyAlgorithm::EcdsaP256 => "P-256",
                    KeyAlgorithm::EcdsaP384 => "P-384",
                    _ => "P-521",
                };
                // An uncompressed point: 4, x, y (SEC 1 §2.3.3).
                let (x, y) = bits.strip_prefix(&[4])?.split_at_checked(width)?;
                Some(json!({ "crv": curve, "kty": "EC", "x": text(x), "y": text(y) }))
            }
            (_, None) => {
                let numbers = RsaNumbers::from_der(bits).ok()?;
                let (e, n) = (numbers.exponent.as_bytes(), numbers.modulus.as_bytes());
                Some(json!({ "e": text(e), "kty": "RSA", "n": text(n) }))
            }
        }
    }

    /// How many bytes a coordinate has on the curve (RFC 7518 §6.2.1.2); none unless ECDSA.
    fn field_width(&self) -> Option<usize> {
        match self.algorithm() {
            KeyAlgorithm::EcdsaP256 => Some(32),
            KeyAlgorithm::EcdsaP384 => Some(48),
            KeyAlgorithm::EcdsaP521 => Some(66),
            _ => None,
        }
    }
}

/// `Ecdsa-Sig-Value` (RFC 5480, appendix A).
#[derive(Sequence)]
struct EcdsaSignature<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

fn fixed_width(der: &[u8], width: usize) -> Option<Vec<u8>> {
    let signature = EcdsaSignature::from_der(der).ok()?;
    let mut fixed = vec![0; 2 * width];
    for (number, end) in [(signature.r, width), (signature.s, 2 * width)] {
        let start = end.checked_sub(number.as_bytes().len()).filter(|start| *start + width >= end)?;
        fixed[start..end].copy_from_slice(number.as_bytes());
    }
    Some(fixed)
}
