//! The key store of Java before version 9, as `sun.security.provider.JavaKeyStore` and `KeyProtector` of the JDK write
//! it. Its protection is what it is: a key stream of salted SHA-1, and a digest instead of a MAC.

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA1_OUTPUT_LEN},
};
use const_oid::ObjectIdentifier;
use der::Decode as _;
use zeroize::Zeroizing;

use super::{
    FriendlyName,
    encryption::{self, EncryptedKey, broken, needed, wrong_password},
    not_encoded, pkcs8,
    read::{Gathered, JKS},
    tlv,
};
use crate::{
    input::InputError,
    key::PrivateKey,
    secret::{Secret, SecretBytes},
    x509::Chain,
};

const VERSION: u32 = 2;
const PRIVATE_KEY: u32 = 1;
const TRUSTED_CERTIFICATE: u32 = 2;
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
    for number in [JKS, VERSION, 1, PRIVATE_KEY] {
        store.extend(number.to_be_bytes());
    }
    put_text(&mut store, &written_alias(alias))?;
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

/// Java looks aliases up in lower case.
pub(super) fn written_alias(alias: &FriendlyName) -> String {
    alias.as_str().to_lowercase()
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

/// Reads every entry. The digest at the end is checked first, so that a wrong password is told from a broken file.
pub(super) fn read(bytes: &[u8], password: Option<&Secret>) -> Result<Gathered, InputError> {
    let password = utf16(needed(password)?.expose());
    let (store, digest) = bytes.split_last_chunk::<SHA1_OUTPUT_LEN>().ok_or_else(cut)?;
    if verify_slices_are_equal(&sha1(&[&password, WHITENER, store]), digest).is_err() {
        return Err(wrong_password());
    }
    let mut rest = Rest(store);
    let (_, version, count) = (rest.number()?, rest.number()?, rest.number()?);
    if !matches!(version, 1 | VERSION) {
        return Err(broken(format!("it is of version {version} of JKS; known are 1 and 2")));
    }
    let mut found = Gathered::default();
    // What the file claims costs nothing: every entry has to be there.
    for _ in 0..count {
        let kind = rest.number()?;
        let alias = FriendlyName::new(String::from_utf8_lossy(rest.text()?)).ok();
        rest.take(8)?;
        let certificates = match kind {
            PRIVATE_KEY => {
                let protected = rest.bytes()?;
                found.add_key(unprotect(protected, &password)?, alias)?;
                rest.number()?
            }
            TRUSTED_CERTIFICATE => 1,
            other => {
                return Err(broken(format!("it holds an entry of kind {other}, which is not supported")));
            }
        };
        for _ in 0..certificates {
            if version == VERSION && rest.text()? != CERTIFICATE_TYPE.as_bytes() {
                return Err(broken("it holds a certificate that is not of X.509"));
            }
            found.add_certificate(rest.bytes()?)?;
        }
    }
    Ok(found)
}

/// Decrypts a key, and tells by its digest whether the password was right.
fn unprotect(protected: &[u8], password: &[u8]) -> Result<PrivateKey, InputError> {
    let encrypted = EncryptedKey::from_der(protected).map_err(|_| broken("its private key is broken"))?;
    if encrypted.algorithm.oid != PROTECTOR {
        return Err(encryption::unsupported(encrypted.algorithm.oid));
    }
    let content = encrypted.content.as_bytes();
    let parts = content.split_first_chunk::<SALT>();
    let parts = parts.and_then(|(salt, rest)| Some((salt, rest.split_last_chunk::<SHA1_OUTPUT_LEN>()?)));
    let (salt, (masked, digest)) = parts.ok_or_else(|| broken("its private key is broken"))?;
    let mut key = Zeroizing::new(Vec::with_capacity(masked.len()));
    key.extend(Stream::new(*salt, password).zip(masked).map(|(mask, byte)| mask ^ byte));
    if verify_slices_are_equal(&sha1(&[password, &key]), digest).is_err() {
        let rule =
            "the private key has a password of its own; give it that of the store (`keytool -keypasswd`)";
        return Err(InputError::Password { rule: rule.into() });
    }
    PrivateKey::from_der(&SecretBytes::new(key.to_vec()))
}

/// What is not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], InputError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(cut)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u32, InputError> {
        let (octets, rest) = self.0.split_first_chunk().ok_or_else(cut)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*octets))
    }

    fn text(&mut self) -> Result<&'a [u8], InputError> {
        let (octets, rest) = self.0.split_first_chunk().ok_or_else(cut)?;
        self.0 = rest;
        self.take(u16::from_be_bytes(*octets).into())
    }

    fn bytes(&mut self) -> Result<&'a [u8], InputError> {
        let length = self.number()?;
        self.take(usize::try_from(length).map_err(|_| cut())?)
    }
}

fn cut() -> InputError {
    broken("it ends in the middle")
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
