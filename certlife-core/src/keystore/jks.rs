//! The key store of Java before version 9, as `sun.security.provider.JavaKeyStore` and `KeyProtector` of the JDK write
//! it. Its protection is what it is: a key stream of salted SHA-1, and a digest instead of a MAC.

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA1_OUTPUT_LEN};
use const_oid::ObjectIdentifier;
use zeroize::Zeroizing;

use super::{FriendlyName, encryption, not_encoded, pkcs8, tlv};
use crate::{
    input::InputError,
    key::PrivateKey,
    secret::{Secret, SecretBytes},
    x509::Chain,
};

pub(super) const MAGIC: u32 = 0xfeed_feed;
const VERSION: u32 = 2;
const PRIVATE_KEY: u32 = 1;
const CERTIFICATE_TYPE: &str = "X.509";
/// What the digest at the end takes in after the password.
const WHITENER: &[u8] = b"Mighty Aphrodite";
/// Sun's `KeyProtector`.
const PROTECTOR: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.42.2.17.1.1");
const SALT: usize = SHA1_OUTPUT_LEN;

/// Writes one entry with key and chain. Its date of creation is the first moment of the leaf's validity period.
pub(super) fn write(
    chain: &Chain,
    key: &PrivateKey,
    alias: &FriendlyName,
    password: &Secret,
) -> Result<SecretBytes, InputError> {
    let password = utf16(password.expose());
    let created = chain.info()?.not_before.unix_millis();
    let protected = protect(pkcs8(key)?.expose(), &password)?;

    let mut store = Vec::new();
    for number in [MAGIC, VERSION, 1, PRIVATE_KEY] {
        store.extend(number.to_be_bytes());
    }
    // Java looks aliases up in lower case.
    put_text(&mut store, &alias.as_str().to_lowercase())?;
    store.extend(created.to_be_bytes());
    put_bytes(&mut store, &protected)?;
    store.extend(length::<u32>(chain.certificates().count())?.to_be_bytes());
    for certificate in chain.certificates() {
        put_text(&mut store, CERTIFICATE_TYPE)?;
        put_bytes(&mut store, certificate)?;
    }
    let digest = sha1(&[&password, WHITENER, &store]);
    store.extend(digest);
    Ok(SecretBytes::new(store))
}

/// Encrypts a key: salt, key XOR stream, and a digest of password and key.
fn protect(key: &[u8], password: &[u8]) -> Result<Vec<u8>, InputError> {
    let salt: [u8; SALT] = encryption::random().map_err(|_| not_encoded())?;
    let mut content = salt.to_vec();
    content.extend(Stream::new(salt, password).zip(key).map(|(mask, byte)| mask ^ byte));
    content.extend(sha1(&[password, key]));
    let algorithm = tlv::algorithm(PROTECTOR, tlv::NULL);
    Ok(tlv::sequence(&[&algorithm, &tlv::octets(&content)]).to_vec())
}

/// The key stream: each block is the digest of the password and the block before.
struct Stream<'a> {
    password: &'a [u8],
    block: Zeroizing<[u8; SHA1_OUTPUT_LEN]>,
    used: usize,
}

impl<'a> Stream<'a> {
    fn new(salt: [u8; SALT], password: &'a [u8]) -> Self {
        Self { password, block: Zeroizing::new(salt), used: SHA1_OUTPUT_LEN }
    }
}

impl Iterator for Stream<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if self.used == SHA1_OUTPUT_LEN {
            self.block = Zeroizing::new(sha1(&[self.password, &*self.block]));
            self.used = 0;
        }
        self.used += 1;
        Some(self.block[self.used - 1])
    }
}

/// The password as Java digests it.
fn utf16(password: &str) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(password.len() * 2));
    bytes.extend(password.encode_utf16().flat_map(u16::to_be_bytes));
    bytes
}

fn sha1(parts: &[&[u8]]) -> [u8; SHA1_OUTPUT_LEN] {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    for part in parts {
        context.update(part);
    }
    let mut digest = [0; SHA1_OUTPUT_LEN];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// `DataOutput.writeUTF`, which for the characters of a [`FriendlyName`] is UTF-8.
fn put_text(store: &mut Vec<u8>, text: &str) -> Result<(), InputError> {
    store.extend(length::<u16>(text.len())?.to_be_bytes());
    store.extend(text.as_bytes());
    Ok(())
}

fn put_bytes(store: &mut Vec<u8>, bytes: &[u8]) -> Result<(), InputError> {
    store.extend(length::<u32>(bytes.len())?.to_be_bytes());
    store.extend(bytes);
    Ok(())
}

fn length<N: TryFrom<usize>>(length: usize) -> Result<N, InputError> {
    N::try_from(length).map_err(|_| not_encoded())
}
