//! Authenticated encryption with 256-bit keys and random 96-bit nonces.

use aws_lc_rs::{
    aead::{AES_256_GCM, AES_256_GCM_SIV, Aad, Algorithm, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand,
};

use super::crypto_failed;
use crate::{error::Result, secret::SecretBytes};

/// The length of every key, in bytes.
pub(super) const KEY_LEN: usize = 32;

/// Makes a key.
pub(super) fn random_key() -> Result<SecretBytes> {
    let mut key = vec![0; KEY_LEN];
    rand::fill(&mut key).map_err(|_| crypto_failed())?;
    Ok(SecretBytes::new(key))
}

/// Encrypts with AES-256-GCM. `key` must encrypt nothing else.
pub(super) fn seal(key: &SecretBytes, secret: &[u8], context: &[u8]) -> Result<([u8; NONCE_LEN], Vec<u8>)> {
    encrypt(&AES_256_GCM, key, secret, context)
}

/// Decrypts what [`seal`] made; none if anything differs.
pub(super) fn open(
    key: &SecretBytes,
    nonce: &[u8],
    ciphertext: &[u8],
    context: &[u8],
) -> Option<SecretBytes> {
    decrypt(&AES_256_GCM, key, nonce, ciphertext, context)
}

/// Encrypts a data key with AES-256-GCM-SIV (RFC 8452): one key-encryption key wraps any number of data
/// keys, which with GCM would have to end at 2^32 because its nonces must never meet.
pub(super) fn wrap(key: &SecretBytes, data_key: &[u8], context: &[u8]) -> Result<Vec<u8>> {
    let (nonce, ciphertext) = encrypt(&AES_256_GCM_SIV, key, data_key, context)?;
    Ok([&nonce[..], &ciphertext].concat())
}

/// Decrypts what [`wrap`] made; none if anything differs.
pub(super) fn unwrap(key: &SecretBytes, wrapped: &[u8], context: &[u8]) -> Option<SecretBytes> {
    let (nonce, ciphertext) = wrapped.split_at_checked(NONCE_LEN)?;
    decrypt(&AES_256_GCM_SIV, key, nonce, ciphertext, context)
}

fn encrypt(
    algorithm: &'static Algorithm,
    key: &SecretBytes,
    secret: &[u8],
    context: &[u8],
) -> Result<([u8; NONCE_LEN], Vec<u8>)> {
    let key = UnboundKey::new(algorithm, key.expose()).map_err(|_| crypto_failed())?;
    let mut nonce = [0; NONCE_LEN];
    rand::fill(&mut nonce).map_err(|_| crypto_failed())?;
    // With room for the tag, the plaintext is not left behind in a buffer that grew.
    let mut bytes = Vec::with_capacity(secret.len() + algorithm.tag_len());
    bytes.extend_from_slice(secret);
    LessSafeKey::new(key)
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut bytes)
        .map_err(|_| crypto_failed())?;
    Ok((nonce, bytes))
}

fn decrypt(
    algorithm: &'static Algorithm,
    key: &SecretBytes,
    nonce: &[u8],
    ciphertext: &[u8],
    context: &[u8],
) -> Option<SecretBytes> {
    let key = LessSafeKey::new(UnboundKey::new(algorithm, key.expose()).ok()?);
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut bytes = zeroize::Zeroizing::new(ciphertext.to_vec());
    let secret = key.open_in_place(nonce, Aad::from(context), &mut bytes).ok()?;
    Some(SecretBytes::new(secret.to_vec()))
}
