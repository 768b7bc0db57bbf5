//! Key pairs: made here or brought along, used to sign requests and messages, never printed.
//!
//! [`PrivateKey`] holds the parsed key, so that what comes in is checked once, and gives out PKCS#8
//! version 1 only: OpenSSL 3.0 cannot read the version 2 that is usual for Ed25519 elsewhere.

mod algorithm;
mod jose;
mod public;
mod read;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    encoding::{AsDer, EcPrivateKeyRfc5915Der, Pkcs8V1Der, PublicKeyX509Der},
    error::Unspecified,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
        EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    },
};
use der::Decode as _;
use pkcs8::PrivateKeyInfoRef;

pub use self::algorithm::KeyAlgorithm;
pub(crate) use self::public::{PublicKey, SignatureError};
use crate::{
    digest::KeyHash,
    error::{BoxError, Error, ErrorKind, Operation, ProviderName, Result},
    pem,
    secret::{Secret, SecretBytes},
};

/// A private key. Cloning shares it; `Debug` shows its algorithm only.
#[derive(Clone)]
pub struct PrivateKey(Arc<Inner>);

struct Inner {
    algorithm: KeyAlgorithm,
    pair: Pair,
    /// `SubjectPublicKeyInfo`.
    public_key: Vec<u8>,
}

/// The key as the cryptographic library holds it.
enum Pair {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl PrivateKey {
    /// Makes a key pair.
    ///
    /// An RSA key takes 0.1 to 2 seconds of one core: in async code call
    /// [`generate_off_thread`](Self::generate_off_thread).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Crypto`] if the cryptographic library fails, as without a source of randomness.
    pub fn generate(algorithm: KeyAlgorithm) -> Result<Self> {
        Pair::generate(algorithm)
            .and_then(|pair| Self::new(algorithm, pair))
            .map_err(|_| crypto_failed("no key was made"))
    }

    /// Makes a key pair without holding up the executor: RSA keys are made on a blocking thread.
    ///
    /// Dropping the future abandons the key; the thread finishes by itself. Must run in a Tokio runtime.
    ///
    /// # Errors
    ///
    /// As [`generate`](Self::generate).
    pub async fn generate_off_thread(algorithm: KeyAlgorithm) -> Result<Self> {
        if !algorithm.is_rsa() {
            return Self::generate(algorithm);
        }
        tokio::task::spawn_blocking(move || Self::generate(algorithm))
            .await
            .unwrap_or_else(|stopped| Err(crypto_failed(stopped)))
    }

    fn new(algorithm: KeyAlgorithm, pair: Pair) -> Result<Self, Unspecified> {
        let public_key = pair.public_key_der()?;
        Ok(Self(Arc::new(Inner { algorithm, pair, public_key })))
    }

    /// The kind of key, with its size.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.0.algorithm
    }

    /// The public key as `SubjectPublicKeyInfo` in DER (RFC 5280 §4.1.2.7).
    pub fn public_key_der(&self) -> &[u8] {
        &self.0.public_key
    }

    /// The hash that names the pair, as in `CertificateInfo::key_hash`.
    pub fn public_key_hash(&self) -> KeyHash {
        KeyHash::of(&self.0.public_key)
    }

    /// The private key as PKCS#8 version 1 in DER (RFC 5208), which every tool reads.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Crypto`] if the cryptographic library fails.
    pub fn to_pkcs8_der(&self) -> Result<SecretBytes> {
        self.0.pair.pkcs8_der().map_err(|_| crypto_failed("the key was not encoded"))
    }

    /// The private key as PKCS#8 version 1 in PEM: `-----BEGIN PRIVATE KEY-----`.
    ///
    /// # Errors
    ///
    /// As [`to_pkcs8_der`](Self::to_pkcs8_der).
    pub fn to_pkcs8_pem(&self) -> Result<Secret> {
        Ok(Secret::new(pem::encode("PRIVATE KEY", self.to_pkcs8_der()?.expose())))
    }

    /// The private key in the form that its kind had before PKCS#8, in DER, with the label of its PEM block: PKCS#1
    /// for RSA (RFC 8017 §A.1.2), SEC 1 for ECDSA (RFC 5915). None for Ed25519, which never had another.
    pub(crate) fn to_traditional_der(&self) -> Result<Option<(&'static str, SecretBytes)>> {
        self.0.pair.traditional_der().map_err(|_| crypto_failed("the key was not encoded"))
    }

    /// Signs `message` the way certificates and requests are signed: RSA PKCS#1 v1.5 with SHA-256,
    /// ECDSA with the hash of the curve's size and in ASN.1 form, or Ed25519.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Crypto`] if the cryptographic library fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        self.0.pair.sign(message).map_err(|_| crypto_failed("nothing was signed"))
    }
}

impl PartialEq for PrivateKey {
    /// Compares the public halves, which tell the private ones apart.
    fn eq(&self, other: &Self) -> bool {
        self.0.public_key == other.0.public_key
    }
}

impl Eq for PrivateKey {}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({}, [REDACTED])", self.0.algorithm)
    }
}

impl Pair {
    fn generate(algorithm: KeyAlgorithm) -> Result<Self, Unspecified> {
        let rsa = |size| RsaKeyPair::generate(size).map(Self::Rsa);
        let ecdsa = |curve| EcdsaKeyPair::generate(curve).map(Self::Ecdsa);
        match algorithm {
            KeyAlgorithm::Rsa2048 => rsa(KeySize::Rsa2048),
            KeyAlgorithm::Rsa3072 => rsa(KeySize::Rsa3072),
            KeyAlgorithm::Rsa4096 => rsa(KeySize::Rsa4096),
            KeyAlgorithm::EcdsaP256 => ecdsa(P256),
            KeyAlgorithm::EcdsaP384 => ecdsa(P384),
            KeyAlgorithm::EcdsaP521 => ecdsa(P521),
            KeyAlgorithm::Ed25519 => Ed25519KeyPair::generate().map(Self::Ed25519),
        }
    }

    fn public_key_der(&self) -> Result<Vec<u8>, Unspecified> {
        let der: PublicKeyX509Der<'_> = match self {
            Self::Rsa(pair) => pair.public_key().as_der()?,
            Self::Ecdsa(pair) => pair.public_key().as_der()?,
            Self::Ed25519(pair) => pair.public_key().as_der()?,
        };
        Ok(der.as_ref().to_vec())
    }

    fn pkcs8_der(&self) -> Result<SecretBytes, Unspecified> {
        // The library's own buffers are wiped when they are dropped.
        let der = match self {
            Self::Rsa(pair) => AsDer::<Pkcs8V1Der<'_>>::as_der(pair)?.as_ref().to_vec(),
            Self::Ecdsa(pair) => pair.to_pkcs8v1()?.as_ref().to_vec(),
            Self::Ed25519(pair) => pair.to_pkcs8v1()?.as_ref().to_vec(),
        };
        Ok(SecretBytes::new(der))
    }

    fn traditional_der(&self) -> Result<Option<(&'static str, SecretBytes)>, Unspecified> {
        match self {
            Self::Rsa(_) => {
                let pkcs8 = self.pkcs8_der()?;
                let info = PrivateKeyInfoRef::from_der(pkcs8.expose()).map_err(|_| Unspecified)?;
                Ok(Some(("RSA PRIVATE KEY", SecretBytes::new(info.private_key.as_bytes().to_vec()))))
            }
            Self::Ecdsa(pair) => {
                let der: EcPrivateKeyRfc5915Der<'_> = pair.private_key().as_der()?;
                Ok(Some(("EC PRIVATE KEY", SecretBytes::new(der.as_ref().to_vec()))))
            }
            Self::Ed25519(_) => Ok(None),
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)?;
                Ok(signature)
            }
            Self::Ecdsa(pair) => Ok(pair.sign(&SystemRandom::new(), message)?.as_ref().to_vec()),
            Self::Ed25519(pair) => Ok(pair.try_sign(message)?.as_ref().to_vec()),
        }
    }
}

const P256: &EcdsaSigningAlgorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
const P384: &EcdsaSigningAlgorithm = &ECDSA_P384_SHA384_ASN1_SIGNING;
const P521: &EcdsaSigningAlgorithm = &ECDSA_P521_SHA512_ASN1_SIGNING;

fn crypto_failed(cause: impl Into<BoxError>) -> Error {
    Error::new(ProviderName::ENGINE, Operation::MakeKey, ErrorKind::Crypto).because(cause)
}
