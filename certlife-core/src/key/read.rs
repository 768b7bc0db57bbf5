//! Reads private keys that the host brings: PKCS#8 (RFC 5958), PKCS#1 (RFC 8017 §A.1.2) and SEC 1
//! (RFC 5915), in PEM or DER. The shape decides, not the label, because labels are often wrong.

use aws_lc_rs::{
    rsa::KeyPair as RsaKeyPair,
    signature::{EcdsaKeyPair, Ed25519KeyPair},
};
use const_oid::{
    ObjectIdentifier,
    db::{
        rfc5912::{
            ID_EC_PUBLIC_KEY, ID_RSASSA_PSS, RSA_ENCRYPTION, SECP_256_R_1, SECP_384_R_1, SECP_521_R_1,
        },
        rfc8410::ID_ED_25519,
    },
};
use der::{
    Decode as _, Reader as _, SliceReader, Tag, TagNumber, Tagged as _,
    asn1::{AnyRef, ContextSpecific, OctetStringRef, UintRef},
};
use pkcs8::PrivateKeyInfoRef;

use super::{KeyAlgorithm, P256, P384, P521, Pair, PrivateKey};
use crate::{
    input::InputError,
    pem,
    secret::{Secret, SecretBytes},
};

/// The largest key that is looked at; an RSA-4096 key in PEM has 3.3 kB.
const MAX_INPUT: usize = 64 * 1_024;

impl PrivateKey {
    /// Reads the one private key in a PEM text: PKCS#8 version 1 or 2, PKCS#1 or SEC 1. Certificates
    /// and parameters beside it are skipped.
    ///
    /// # Errors
    ///
    /// [`InputError::PrivateKey`] names the rule: at most 64 KiB, exactly one key, not encrypted, RSA
    /// of 2048, 3072 or 4096 bits, P-256, P-384, P-521 or Ed25519, and both halves must belong together.
    pub fn from_pem(text: &Secret) -> Result<Self, InputError> {
        if text.expose().len() > MAX_INPUT {
            return Err(unusable("it is larger than 64 KiB"));
        }
        let blocks = pem::blocks(text.expose()).map_err(unusable)?;
        let mut keys = blocks.iter().filter(|block| block.label.ends_with("PRIVATE KEY"));
        let key = keys.next().ok_or_else(|| unusable("the text holds no PEM block with a private key"))?;
        if keys.next().is_some() {
            return Err(unusable("the text holds more than one private key"));
        }
        if key.encrypted {
            return Err(unusable(ENCRYPTED));
        }
        read(&key.der)
    }

    /// Reads a private key in DER: PKCS#8 version 1 or 2, PKCS#1 or SEC 1.
    ///
    /// # Errors
    ///
    /// As [`from_pem`](Self::from_pem).
    pub fn from_der(der: &SecretBytes) -> Result<Self, InputError> {
        read(der.expose())
    }
}

const ENCRYPTED: &str = "it is encrypted; remove the passphrase first";
const GARBAGE: &str = "it is not a private key in PKCS#8, PKCS#1 or SEC 1 form";

fn read(der: &[u8]) -> Result<PrivateKey, InputError> {
    if der.len() > MAX_INPUT {
        return Err(unusable("it is larger than 64 KiB"));
    }
    let (algorithm, pair) = match first_tags(der).map_err(|_| unusable(GARBAGE))? {
        [Tag::Integer, Tag::Sequence] => pkcs8(der),
        [Tag::Integer, Tag::Integer] => rsa(der),
        [Tag::Integer, Tag::OctetString] => ecdsa(der, None),
        [Tag::Sequence, Tag::OctetString] => Err(unusable(ENCRYPTED)),
        _ => Err(unusable(GARBAGE)),
    }?;
    PrivateKey::new(algorithm, pair).map_err(|_| unusable(INCONSISTENT))
}

/// The tags of the first two elements of a sequence, which tell the forms apart.
fn first_tags(der: &[u8]) -> der::Result<[Tag; 2]> {
    let mut elements = SliceReader::new(AnyRef::from_der(der)?.value())?;
    let first = elements.decode::<AnyRef<'_>>()?;
    Ok([first.tag(), Tag::peek(&elements)?])
}

fn pkcs8(der: &[u8]) -> Result<(KeyAlgorithm, Pair), InputError> {
    let info = PrivateKeyInfoRef::from_der(der).map_err(|_| unusable("its PKCS#8 structure is broken"))?;
    let key = info.private_key.as_bytes();
    match info.algorithm.oid {
        RSA_ENCRYPTION => rsa(key),
        ID_RSASSA_PSS => Err(unusable("RSA keys restricted to PSS are not supported")),
        ID_EC_PUBLIC_KEY => ecdsa(key, info.algorithm.parameters),
        ID_ED_25519 => ed25519(key, info.public_key.map(|key| key.raw_bytes())),
        other => Err(unusable(format!("keys of algorithm {other} are not supported"))),
    }
}

const INCONSISTENT: &str = "its parts do not belong together";

fn rsa(der: &[u8]) -> Result<(KeyAlgorithm, Pair), InputError> {
    let bits = modulus_bits(der).map_err(|_| unusable("its PKCS#1 structure is broken"))?;
    let algorithm = KeyAlgorithm::rsa(bits)
        .ok_or_else(|| unusable(format!("RSA keys have 2048, 3072 or 4096 bits; this one has {bits}")))?;
    let pair = RsaKeyPair::from_der(der).map_err(|_| unusable(INCONSISTENT))?;
    Ok((algorithm, Pair::Rsa(pair)))
}

/// The size of the modulus in an `RSAPrivateKey` (RFC 8017 §A.1.2), read first so that a weak key is
/// named as such.
fn modulus_bits(der: &[u8]) -> der::Result<usize> {
    let mut elements = SliceReader::new(AnyRef::from_der(der)?.value())?;
    elements.decode::<AnyRef<'_>>()?;
    Ok(super::public::bit_length(elements.decode::<UintRef<'_>>()?.as_bytes()))
}

fn ecdsa(der: &[u8], outer_curve: Option<AnyRef<'_>>) -> Result<(KeyAlgorithm, Pair), InputError> {
    let inner_curve = curve_parameter(der).map_err(|_| unusable("its SEC 1 structure is broken"))?;
    let curve = outer_curve.or(inner_curve).ok_or_else(|| unusable("it does not name its curve"))?;
    let curve: ObjectIdentifier =
        curve.decode_as().map_err(|_| unusable("its curve is spelled out instead of named"))?;
    let (algorithm, curve) = match curve {
        SECP_256_R_1 => (KeyAlgorithm::EcdsaP256, P256),
        SECP_384_R_1 => (KeyAlgorithm::EcdsaP384, P384),
        SECP_521_R_1 => (KeyAlgorithm::EcdsaP521, P521),
        other => return Err(unusable(format!("curve {other} is not supported; use P-256, P-384 or P-521"))),
    };
    let pair = EcdsaKeyPair::from_private_key_der(curve, der).map_err(|_| unusable(INCONSISTENT))?;
    Ok((algorithm, Pair::Ecdsa(pair)))
}

/// The curve in an `ECPrivateKey` (RFC 5915 §3), which is absent inside PKCS#8.
fn curve_parameter(der: &[u8]) -> der::Result<Option<AnyRef<'_>>> {
    let mut elements = SliceReader::new(AnyRef::from_der(der)?.value())?;
    elements.decode::<u8>()?;
    elements.decode::<&OctetStringRef>()?;
    Ok(ContextSpecific::decode_explicit(&mut elements, TagNumber(0))?.map(|curve| curve.value))
}

fn ed25519(der: &[u8], public_key: Option<&[u8]>) -> Result<(KeyAlgorithm, Pair), InputError> {
    // The seed is an OCTET STRING of its own inside PKCS#8 (RFC 8410 §7).
    let seed =
        <&OctetStringRef>::from_der(der).ok().map(OctetStringRef::as_bytes).filter(|seed| seed.len() == 32);
    let seed = seed.ok_or_else(|| unusable("an Ed25519 key has 32 bytes"))?;
    let pair = match public_key {
        Some(public_key) => Ed25519KeyPair::from_seed_and_public_key(seed, public_key),
        None => Ed25519KeyPair::from_seed_unchecked(seed),
    };
    Ok((KeyAlgorithm::Ed25519, Pair::Ed25519(pair.map_err(|_| unusable(INCONSISTENT))?)))
}

fn unusable(rule: impl Into<std::borrow::Cow<'static, str>>) -> InputError {
    InputError::PrivateKey { rule: rule.into() }
}
