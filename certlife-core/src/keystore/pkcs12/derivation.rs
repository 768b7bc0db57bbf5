//! The key derivation of PKCS#12 (RFC 7292 appendix B), which its MACs and its old encryption use.

use aws_lc_rs::digest::{Algorithm, Context, Digest};
use zeroize::Zeroizing;

/// What a derived key is for: the diversifier of RFC 7292 §B.3.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    Encryption = 1,
    Iv = 2,
    Mac = 3,
}

/// A password as PKCS#12 hashes it: UTF-16, big-endian, with a zero at the end (RFC 7292 §B.1).
pub(super) fn utf16(password: &str) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity((password.len() + 1) * 2));
    bytes.extend(password.encode_utf16().flat_map(u16::to_be_bytes));
    bytes.extend([0, 0]);
    bytes
}

/// Derives `N` bytes (RFC 7292 §B.2). `rounds` below one count as one.
pub(super) fn derive<const N: usize>(
    hash: &'static Algorithm,
    purpose: Purpose,
    password: &[u8],
    salt: &[u8],
    rounds: u32,
) -> Zeroizing<[u8; N]> {
    let mut key = Zeroizing::new([0; N]);
    derive_into(hash, purpose, password, salt, rounds, &mut *key);
    key
}

/// As [`derive`], filling `key`.
pub(super) fn derive_into(
    hash: &'static Algorithm,
    purpose: Purpose,
    password: &[u8],
    salt: &[u8],
    rounds: u32,
    key: &mut [u8],
) {
    let block = hash.block_len();
    let diversifier = vec![purpose as u8; block];
    let mut input = filled(salt, block);
    input.extend_from_slice(&filled(password, block));
    for part in key.chunks_mut(hash.output_len()) {
        let mut digest = {
            let mut context = Context::new(hash);
            context.update(&diversifier);
            context.update(&input);
            context.finish()
        };
        for _ in 1..rounds {
            digest = aws_lc_rs::digest::digest(hash, digest.as_ref());
        }
        part.copy_from_slice(&digest.as_ref()[..part.len()]);
        for chunk in input.chunks_mut(block) {
            add(chunk, &digest);
        }
    }
}

/// Repeats `text` up to a whole number of blocks; nothing stays nothing.
fn filled(text: &[u8], block: usize) -> Zeroizing<Vec<u8>> {
    let length = text.len().div_ceil(block) * block;
    let mut filled = Zeroizing::new(Vec::with_capacity(length * 2));
    filled.extend(text.iter().cycle().take(length));
    filled
}

/// Adds one and the digest, repeated, to a block, as numbers (RFC 7292 §B.2 step 6C).
fn add(chunk: &mut [u8], digest: &Digest) {
    let last = chunk.len();
    let addend = digest.as_ref().iter().cycle().take(last);
    let addend: Zeroizing<Vec<u8>> = Zeroizing::new(addend.copied().collect());
    let mut carry = 1_u16;
    for (byte, added) in chunk.iter_mut().zip(addend.iter()).rev() {
        carry += u16::from(*byte) + u16::from(*added);
        *byte = carry.to_be_bytes()[1];
        carry >>= 8;
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY;

    use super::*;
    use crate::openssl::openssl_text;

    #[test]
    fn keys_are_those_of_openssl() {
        let password = utf16("smeg");
        for (purpose, rounds, length) in
            [(Purpose::Encryption, 1, 24), (Purpose::Iv, 1, 8), (Purpose::Mac, 1_000, 20)]
        {
            let mut key = vec![0; length];
            let salt = [0x0a, 0x58, 0xcf, 0x64, 0x53, 0x0d, 0x82, 0x3f];
            derive_into(&SHA1_FOR_LEGACY_USE_ONLY, purpose, &password, &salt, rounds, &mut key);
            let printed = openssl_text(
                &[
                    "kdf",
                    "-provider",
                    "default",
                    "-keylen",
                    &length.to_string(),
                    "-kdfopt",
                    "digest:SHA1",
                    "-kdfopt",
                    "hexpass:0073006d006500670000",
                    "-kdfopt",
                    "hexsalt:0a58cf64530d823f",
                    "-kdfopt",
                    &format!("iter:{rounds}"),
                    "-kdfopt",
                    &format!("id:{}", purpose as u8),
                    "PKCS12KDF",
                ],
                b"",
            );
            assert_eq!(printed.trim().replace(':', "").to_lowercase(), crate::digest::to_hex(&key));
        }
    }
}
