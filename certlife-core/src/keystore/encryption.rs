//! PBES2 (RFC 8018 §6.2), for encrypted PKCS#8 and for PKCS#12: written with PBKDF2 and AES-256, read with PBKDF2 or
//! scrypt and any AES.

use std::{borrow::Cow, num::NonZeroU32};

use aws_lc_rs::{
    cipher::{
        AES_128, AES_192, AES_256, AES_256_KEY_LEN, Algorithm, DecryptionContext, EncryptionContext,
        PaddedBlockDecryptingKey, PaddedBlockEncryptingKey, UnboundCipherKey,
    },
    error::Unspecified,
    iv::FixedLength,
    pbkdf2, rand,
};
use const_oid::{
    ObjectIdentifier,
    db::{
        rfc5911::{ID_AES_128_CBC, ID_AES_192_CBC, ID_AES_256_CBC, ID_PBKDF_2},
        rfc6268::{ID_HMAC_WITH_SHA_256, ID_HMAC_WITH_SHA_384, ID_HMAC_WITH_SHA_512},
    },
};
use der::{
    Decode as _, Encode as _, Sequence,
    asn1::{AnyRef, OctetStringRef},
};
use pkcs8::{
    AlgorithmIdentifierRef,
    pkcs5::pbes2::{HMAC_WITH_SHA1_OID, Kdf, PBES2_OID, Parameters, SCRYPT_OID},
};
use zeroize::Zeroizing;

use super::{
    not_encoded,
    tlv::{self, Element},
};
use crate::{
    input::InputError,
    key::PrivateKey,
    secret::{Secret, SecretBytes},
};

/// Rounds of PBKDF2 for a key that stands alone: 0.1 s of one core, as OWASP's password storage cheat sheet asks.
const PKCS8_ROUNDS: u32 = 600_000;

/// Encrypts PKCS#8: an `EncryptedPrivateKeyInfo` (RFC 5958 §3).
pub(super) fn write_pkcs8(der: &SecretBytes, password: &Secret) -> Result<SecretBytes, InputError> {
    let encrypted =
        encrypt(password.expose().as_bytes(), der.expose(), PKCS8_ROUNDS).map_err(|_| not_encoded())?;
    Ok(SecretBytes::new(encrypted.key_info().to_vec()))
}

/// `EncryptedPrivateKeyInfo` (RFC 5958 §3).
#[derive(Sequence)]
pub(super) struct EncryptedKey<'a> {
    pub(super) algorithm: AlgorithmIdentifierRef<'a>,
    pub(super) content: &'a OctetStringRef,
}

/// Reads an `EncryptedPrivateKeyInfo` that PBES2 encrypts.
pub(super) fn read_pkcs8(
    der: &[u8],
    password: Option<&Secret>,
    budget: &mut Budget,
) -> Result<PrivateKey, InputError> {
    let encrypted = EncryptedKey::from_der(der).map_err(|_| broken("its encrypted private key is broken"))?;
    let plain = decrypt(&encrypted.algorithm, needed(password)?, encrypted.content.as_bytes(), budget)?;
    // One wrong password in 256 leaves padding that looks right.
    if AnyRef::from_der(&plain).is_err() {
        return Err(wrong_password());
    }
    PrivateKey::from_der(&SecretBytes::new(plain.to_vec()))
}

/// How much work a file may ask for: rounds of all derivations together.
pub(super) struct Budget(u64);

impl Budget {
    /// What Java allows a derivation; one or two seconds of one core.
    const ROUNDS: u64 = 5_000_000;

    pub(super) fn new() -> Self {
        Self(Self::ROUNDS)
    }

    /// Takes `rounds` for each of `blocks`.
    pub(super) fn spend(&mut self, rounds: u64, blocks: u64) -> Result<(), InputError> {
        match rounds.checked_mul(blocks).and_then(|work| self.0.checked_sub(work)) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => Err(broken(format!(
                "it asks for more than {} rounds of key derivation; write it again with fewer",
                Self::ROUNDS
            ))),
        }
    }
}

/// `PBES2-params` (RFC 8018 appendix A.4).
#[derive(Sequence)]
struct Pbes2<'a> {
    derivation: AlgorithmIdentifierRef<'a>,
    cipher: AlgorithmIdentifierRef<'a>,
}

/// `PBKDF2-params` (RFC 8018 appendix A.2), of which a salt that comes from elsewhere is in nobody's use.
#[derive(Sequence)]
struct Pbkdf2<'a> {
    salt: &'a OctetStringRef,
    rounds: u32,
    #[asn1(optional = "true")]
    key_length: Option<u16>,
    #[asn1(optional = "true")]
    function: Option<AlgorithmIdentifierRef<'a>>,
}

/// Decrypts PBES2.
pub(super) fn decrypt(
    algorithm: &AlgorithmIdentifierRef<'_>,
    password: &Secret,
    content: &[u8],
    budget: &mut Budget,
) -> Result<Zeroizing<Vec<u8>>, InputError> {
    let malformed = |_| broken("its encryption parameters are broken");
    if algorithm.oid != PBES2_OID {
        return Err(unsupported(algorithm.oid));
    }
    let parameters = algorithm.parameters.ok_or_else(|| broken("its encryption parameters are missing"))?;
    let Pbes2 { derivation, cipher } = parameters.decode_as().map_err(malformed)?;
    if derivation.oid == SCRYPT_OID {
        return scrypt(&parameters.to_der().map_err(malformed)?, password, content, budget);
    }
    if derivation.oid != ID_PBKDF_2 {
        return Err(unsupported(derivation.oid));
    }
    let (kind, key_length): (&'static Algorithm, usize) = match cipher.oid {
        ID_AES_128_CBC => (&AES_128, 16),
        ID_AES_192_CBC => (&AES_192, 24),
        ID_AES_256_CBC => (&AES_256, 32),
        other => return Err(unsupported(other)),
    };
    let iv = cipher.parameters.and_then(|iv| iv.decode_as::<&OctetStringRef>().ok());
    let iv: [u8; 16] = iv
        .and_then(|iv| iv.as_bytes().try_into().ok())
        .ok_or_else(|| broken("its encryption parameters are broken"))?;

    let key = pbkdf2_key(&derivation, key_length, password, budget)?;
    let mut plain = Zeroizing::new(content.to_vec());
    let length = UnboundCipherKey::new(kind, &key)
        .and_then(PaddedBlockDecryptingKey::cbc_pkcs7)
        .and_then(|key| {
            key.decrypt(&mut plain, DecryptionContext::Iv128(FixedLength::from(iv))).map(|text| text.len())
        })
        .map_err(|_| wrong_password())?;
    plain.truncate(length);
    Ok(plain)
}

fn pbkdf2_key(
    derivation: &AlgorithmIdentifierRef<'_>,
    length: usize,
    password: &Secret,
    budget: &mut Budget,
) -> Result<Zeroizing<Vec<u8>>, InputError> {
    let parameters = derivation.parameters.and_then(|parameters| parameters.decode_as::<Pbkdf2<'_>>().ok());
    let rounds = parameters.as_ref().and_then(|parameters| NonZeroU32::new(parameters.rounds));
    let (Some(parameters), Some(rounds)) = (parameters, rounds) else {
        return Err(broken("its encryption parameters are broken"));
    };
    if parameters.key_length.is_some_and(|said| usize::from(said) != length) {
        return Err(broken("its key length is not that of its cipher"));
    }
    // HMAC-SHA-1 is the default (RFC 8018 appendix A.2).
    let function = match parameters.function.map_or(HMAC_WITH_SHA1_OID, |function| function.oid) {
        HMAC_WITH_SHA1_OID => pbkdf2::PBKDF2_HMAC_SHA1,
        ID_HMAC_WITH_SHA_256 => pbkdf2::PBKDF2_HMAC_SHA256,
        ID_HMAC_WITH_SHA_384 => pbkdf2::PBKDF2_HMAC_SHA384,
        ID_HMAC_WITH_SHA_512 => pbkdf2::PBKDF2_HMAC_SHA512,
        other => return Err(unsupported(other)),
    };
    // The shortest digest has 20 bytes, so that the longest key takes two.
    budget.spend(rounds.get().into(), 2)?;
    let mut key = Zeroizing::new(vec![0; length]);
    pbkdf2::derive(function, rounds, parameters.salt.as_bytes(), password.expose().as_bytes(), &mut key);
    Ok(key)
}

/// scrypt (RFC 7914 §7), which the `pkcs8` crate and `openssl pkcs8 -scrypt` write.
fn scrypt(
    parameters: &[u8],
    password: &Secret,
    content: &[u8],
    budget: &mut Budget,
) -> Result<Zeroizing<Vec<u8>>, InputError> {
    const MAX_MEMORY: u64 = 64 * 1_024 * 1_024;
    let parameters =
        Parameters::from_der(parameters).map_err(|_| broken("its encryption parameters are broken"))?;
    if let Kdf::Scrypt(scrypt) = &parameters.kdf {
        let work = scrypt.cost_parameter.saturating_mul(scrypt.block_size.into());
        if work.saturating_mul(128) > MAX_MEMORY {
            return Err(broken("it asks for more than 64 MiB of memory; write it again with less"));
        }
        budget.spend(work, scrypt.parallelization.into())?;
    }
    let plain = parameters.decrypt(password.expose().as_bytes(), content);
    plain.map(Zeroizing::new).map_err(|_| wrong_password())
}

pub(super) fn needed(password: Option<&Secret>) -> Result<&Secret, InputError> {
    password
        .ok_or_else(|| InputError::Password { rule: "the key store is encrypted; give its password".into() })
}

pub(super) fn wrong_password() -> InputError {
    InputError::Password { rule: "it does not open the key store".into() }
}

pub(super) fn unsupported(algorithm: ObjectIdentifier) -> InputError {
    broken(format!(
        "it is protected with {algorithm}, which is not supported; write it again with PBKDF2 and AES"
    ))
}

pub(super) fn broken(rule: impl Into<Cow<'static, str>>) -> InputError {
    InputError::Keystore { rule: rule.into() }
}

/// Something encrypted, and how.
pub(super) struct Encrypted {
    /// `AlgorithmIdentifier` in DER.
    pub(super) algorithm: Element,
    pub(super) content: Vec<u8>,
}

impl Encrypted {
    pub(super) fn key_info(&self) -> Element {
        tlv::sequence(&[&self.algorithm, &tlv::octets(&self.content)])
    }
}

/// Encrypts with PBKDF2-HMAC-SHA-256 and AES-256 in CBC mode.
pub(super) fn encrypt(password: &[u8], plain: &[u8], rounds: u32) -> Result<Encrypted, Unspecified> {
    let salt: [u8; 16] = random()?;
    let iv: [u8; 16] = random()?;
    let mut key = Zeroizing::new([0; AES_256_KEY_LEN]);
    let times = NonZeroU32::new(rounds).ok_or(Unspecified)?;
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, times, &salt, password, &mut *key);

    let mut content = padding_room(plain);
    let cipher = PaddedBlockEncryptingKey::cbc_pkcs7(UnboundCipherKey::new(&AES_256, &*key)?)?;
    cipher.less_safe_encrypt(&mut *content, EncryptionContext::Iv128(FixedLength::from(iv)))?;
    Ok(Encrypted { algorithm: pbes2(&salt, rounds, &iv), content: content.to_vec() })
}

/// A copy with room for a block of padding, so that nothing is left behind unwiped when the buffer grows.
pub(super) fn padding_room(plain: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut copy = Zeroizing::new(Vec::with_capacity(plain.len() + 16));
    copy.extend_from_slice(plain);
    copy
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], Unspecified> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes)?;
    Ok(bytes)
}

/// `PBES2-params` under their name (RFC 8018 appendix A.4).
fn pbes2(salt: &[u8], rounds: u32, iv: &[u8]) -> Element {
    let derivation = tlv::sequence(&[
        &tlv::octets(salt),
        &tlv::integer(rounds),
        &tlv::algorithm(ID_HMAC_WITH_SHA_256, tlv::NULL),
    ]);
    let derivation = tlv::algorithm(ID_PBKDF_2, &derivation);
    let cipher = tlv::algorithm(ID_AES_256_CBC, &tlv::octets(iv));
    tlv::algorithm(PBES2_OID, &tlv::sequence(&[&derivation, &cipher]))
}
