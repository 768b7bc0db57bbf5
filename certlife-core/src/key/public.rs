//! Public keys in certificates and requests, and the signatures that they verify.
//!
//! The curve comes from the key and the hash from the signature algorithm: every pair that
//! RFC 5480 §4 allows is met in practice, such as P-384 with SHA-256.

use aws_lc_rs::{
    rsa::PublicKeyComponents,
    signature::{
        ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
        ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA384_ASN1,
        ECDSA_P521_SHA512_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
        RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
        RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPssSaltLength, UnparsedPublicKey, VerificationAlgorithm,
    },
};
use const_oid::{
    ObjectIdentifier,
    db::{
        rfc5912::{
            ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ECDSA_WITH_SHA_512, ID_EC_PUBLIC_KEY, ID_MGF_1,
            ID_RSASSA_PSS, ID_SHA_256, ID_SHA_384, ID_SHA_512, RSA_ENCRYPTION, SECP_256_R_1, SECP_384_R_1,
            SECP_521_R_1, SHA_256_WITH_RSA_ENCRYPTION, SHA_384_WITH_RSA_ENCRYPTION,
            SHA_512_WITH_RSA_ENCRYPTION,
        },
        rfc8410::ID_ED_25519,
    },
};
use der::{
    Decode as _, Sequence,
    asn1::{AnyRef, UintRef},
};
use pkcs8::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use super::KeyAlgorithm;

/// A public key that somebody else may have made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PublicKey<'a> {
    kind: Kind<'a>,
    /// The content of the BIT STRING.
    bits: &'a [u8],
    oid: ObjectIdentifier,
}

#[derive(Debug, Clone, Copy)]
enum Kind<'a> {
    Rsa(RsaNumbers<'a>),
    Ecdsa(KeyAlgorithm),
    Ed25519,
    /// An algorithm, curve or form that we cannot verify with.
    Other,
}

/// `RSAPublicKey` (RFC 8017 §A.1.1).
#[derive(Debug, Clone, Copy, Sequence)]
pub(super) struct RsaNumbers<'a> {
    pub(super) modulus: UintRef<'a>,
    pub(super) exponent: UintRef<'a>,
}

/// Why a signature does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SignatureError {
    /// The algorithm is weak, unknown, or does not fit the key.
    Unsupported(ObjectIdentifier),
    /// The RSA key has this many bits: too few to be safe, or more than the library takes.
    RsaSize(usize),
    /// The signature was made with another key or over other bytes.
    Wrong,
}

impl<'a> PublicKey<'a> {
    /// Reads `SubjectPublicKeyInfo`. A key of an unknown kind is no error.
    pub(crate) fn read(der: &'a [u8]) -> der::Result<Self> {
        let info = SubjectPublicKeyInfoRef::from_der(der)?;
        let bits = info.subject_public_key.raw_bytes();
        let oid = info.algorithm.oid;
        let kind = match oid {
            // A key restricted to PSS (RFC 4055 §1.2) has the same numbers.
            RSA_ENCRYPTION | ID_RSASSA_PSS => Kind::Rsa(RsaNumbers::from_der(bits)?),
            ID_EC_PUBLIC_KEY => {
                let curve =
                    info.algorithm.parameters.and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
                match curve {
                    Some(SECP_256_R_1) => Kind::Ecdsa(KeyAlgorithm::EcdsaP256),
                    Some(SECP_384_R_1) => Kind::Ecdsa(KeyAlgorithm::EcdsaP384),
                    Some(SECP_521_R_1) => Kind::Ecdsa(KeyAlgorithm::EcdsaP521),
                    _ => Kind::Other,
                }
            }
            ID_ED_25519 => Kind::Ed25519,
            _ => Kind::Other,
        };
        Ok(Self { kind, bits, oid })
    }

    /// The algorithm, if it is one that [`PrivateKey`](super::PrivateKey) has too.
    pub(crate) fn algorithm(&self) -> Option<KeyAlgorithm> {
        match self.kind {
            Kind::Rsa(numbers) if self.oid == RSA_ENCRYPTION => KeyAlgorithm::rsa(numbers.bits()),
            Kind::Ecdsa(algorithm) => Some(algorithm),
            Kind::Ed25519 => Some(KeyAlgorithm::Ed25519),
            Kind::Rsa(_) | Kind::Other => None,
        }
    }

    /// The algorithm as text: its name here, the size of an RSA key, or the object identifier.
    pub(crate) fn describe(&self) -> String {
        match (self.algorithm(), self.kind) {
            (Some(algorithm), _) => algorithm.to_string(),
            (None, Kind::Rsa(numbers)) if self.oid == RSA_ENCRYPTION => format!("rsa-{}", numbers.bits()),
            (None, Kind::Rsa(numbers)) => format!("rsa-pss-{}", numbers.bits()),
            (None, _) => self.oid.to_string(),
        }
    }

    /// Checks that `signature` over `message` was made with the private half of this key.
    pub(crate) fn verify(
        &self,
        algorithm: &AlgorithmIdentifierRef<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        let verified = match self.kind {
            Kind::Rsa(numbers) if !(2_048..=8_192).contains(&numbers.bits()) => {
                return Err(SignatureError::RsaSize(numbers.bits()));
            }
            Kind::Rsa(numbers) => {
                let parameters =
                    rsa_parameters(algorithm).ok_or(SignatureError::Unsupported(algorithm.oid))?;
                let key =
                    PublicKeyComponents { n: numbers.modulus.as_bytes(), e: numbers.exponent.as_bytes() };
                key.verify(&parameters, message, signature)
            }
            Kind::Ecdsa(_) | Kind::Ed25519 => {
                let algorithm =
                    self.curve_algorithm(algorithm.oid).ok_or(SignatureError::Unsupported(algorithm.oid))?;
                UnparsedPublicKey::new(algorithm, self.bits).verify(message, signature)
            }
            Kind::Other => return Err(SignatureError::Unsupported(self.oid)),
        };
        verified.map_err(|_| SignatureError::Wrong)
    }

    fn curve_algorithm(&self, signature: ObjectIdentifier) -> Option<&'static dyn VerificationAlgorithm> {
        Some(match (self.algorithm()?, signature) {
            (KeyAlgorithm::EcdsaP256, ECDSA_WITH_SHA_256) => &ECDSA_P256_SHA256_ASN1,
            (KeyAlgorithm::EcdsaP256, ECDSA_WITH_SHA_384) => &ECDSA_P256_SHA384_ASN1,
            (KeyAlgorithm::EcdsaP256, ECDSA_WITH_SHA_512) => &ECDSA_P256_SHA512_ASN1,
            (KeyAlgorithm::EcdsaP384, ECDSA_WITH_SHA_256) => &ECDSA_P384_SHA256_ASN1,
            (KeyAlgorithm::EcdsaP384, ECDSA_WITH_SHA_384) => &ECDSA_P384_SHA384_ASN1,
            (KeyAlgorithm::EcdsaP384, ECDSA_WITH_SHA_512) => &ECDSA_P384_SHA512_ASN1,
            (KeyAlgorithm::EcdsaP521, ECDSA_WITH_SHA_256) => &ECDSA_P521_SHA256_ASN1,
            (KeyAlgorithm::EcdsaP521, ECDSA_WITH_SHA_384) => &ECDSA_P521_SHA384_ASN1,
            (KeyAlgorithm::EcdsaP521, ECDSA_WITH_SHA_512) => &ECDSA_P521_SHA512_ASN1,
            (KeyAlgorithm::Ed25519, ID_ED_25519) => &ED25519,
            _ => return None,
        })
    }
}

impl RsaNumbers<'_> {
    fn bits(&self) -> usize {
        bit_length(self.modulus.as_bytes())
    }
}

/// How many bits a big-endian number has.
pub(super) fn bit_length(number: &[u8]) -> usize {
    let significant = number.iter().position(|byte| *byte != 0).map_or(&[][..], |start| &number[start..]);
    significant.first().map_or(0, |first| significant.len() * 8 - first.leading_zeros() as usize)
}

/// `RSASSA-PSS-params` (RFC 4055 §3.1), whose defaults mean SHA-1.
#[derive(Sequence)]
struct PssParameters<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    hash: Option<AlgorithmIdentifierRef<'a>>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    mask: Option<AlgorithmIdentifierRef<'a>>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    salt_length: Option<u16>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    trailer: Option<u8>,
}

fn rsa_parameters(algorithm: &AlgorithmIdentifierRef<'_>) -> Option<RsaParameters> {
    match algorithm.oid {
        SHA_256_WITH_RSA_ENCRYPTION => Some(RSA_PKCS1_2048_8192_SHA256),
        SHA_384_WITH_RSA_ENCRYPTION => Some(RSA_PKCS1_2048_8192_SHA384),
        SHA_512_WITH_RSA_ENCRYPTION => Some(RSA_PKCS1_2048_8192_SHA512),
        ID_RSASSA_PSS => pss_parameters(algorithm.parameters?),
        _ => None,
    }
}

fn pss_parameters(parameters: AnyRef<'_>) -> Option<RsaParameters> {
    let parameters: PssParameters<'_> = parameters.decode_as().ok()?;
    let hash = parameters.hash?.oid;
    let mask = parameters.mask?;
    let mask_hash = mask.parameters?.decode_as::<AlgorithmIdentifierRef<'_>>().ok()?.oid;
    if mask.oid != ID_MGF_1 || mask_hash != hash || parameters.trailer.is_some_and(|trailer| trailer != 1) {
        return None;
    }
    let any_salt = match hash {
        ID_SHA_256 => RSA_PSS_2048_8192_SHA256,
        ID_SHA_384 => RSA_PSS_2048_8192_SHA384,
        ID_SHA_512 => RSA_PSS_2048_8192_SHA512,
        _ => return None,
    };
    // OpenSSL signs with the longest salt that fits unless told otherwise; absent means 20.
    Some(any_salt.with_pss_salt_length(RsaPssSaltLength::Custom(parameters.salt_length.unwrap_or(20))))
}
