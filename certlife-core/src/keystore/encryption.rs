//! PBES2 with PBKDF2 and AES (RFC 8018 §6.2), for encrypted PKCS#8 and for PKCS#12.

use std::num::NonZeroU32;

use aws_lc_rs::{
    cipher::{AES_256, AES_256_KEY_LEN, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey},
    error::Unspecified,
    iv::FixedLength,
    pbkdf2, rand,
};
use const_oid::db::{
    rfc5911::{ID_AES_256_CBC, ID_PBKDF_2},
    rfc6268::ID_HMAC_WITH_SHA_256,
};
use pkcs8::pkcs5::pbes2::PBES2_OID;
use zeroize::Zeroizing;

use super::{
    not_encoded,
    tlv::{self, Element},
};
use crate::{
    input::InputError,
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
