//! Reads whatever a host brings along: recognises the form, finds the key and its chain, says what is missing.

use std::fmt;

use der::{Decode as _, SliceReader, Tag, asn1::AnyRef};

use super::{
    FriendlyName, Keystore,
    encryption::{self, Budget, broken},
    pkcs7,
};
use crate::{
    input::InputError,
    key::PrivateKey,
    pem,
    secret::{Secret, SecretBytes},
    text::VendorText,
    x509::{CertificateInfo, Chain, ChainOptions, Dropped},
};

/// The largest file that is read.
const MAX_INPUT: usize = 1_024 * 1_024;
pub(super) const JKS: u32 = 0xfeed_feed;
const JCEKS: u32 = 0xcece_cece;

/// A form that was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// PEM text, whatever is in it.
    Pem,
    /// One certificate in DER.
    DerCertificate,
    /// One private key in DER, encrypted or not.
    DerKey,
    /// PKCS#7.
    Pkcs7,
    /// PKCS#12.
    Pkcs12,
    /// The key store of Java before version 9.
    Jks,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pem => "PEM",
            Self::DerCertificate => "a certificate in DER",
            Self::DerKey => "a private key in DER",
            Self::Pkcs7 => "PKCS#7",
            Self::Pkcs12 => "PKCS#12",
            Self::Jks => "JKS",
        })
    }
}

/// What was found in a file.
#[derive(Debug)]
#[non_exhaustive]
pub struct Contents {
    /// Its form.
    pub format: Format,
    /// The leaf and what leads from it to a root, in order; none if there is no certificate.
    pub chain: Option<Chain>,
    /// The private key; the leaf's, if there is a leaf.
    pub key: Option<PrivateKey>,
    /// The friendly name or alias of the key.
    pub name: Option<FriendlyName>,
    /// Certificates that are not needed: roots, other ways to the root, and strangers.
    pub dropped: Vec<Dropped>,
    /// What is not there.
    pub missing: Vec<Missing>,
}

/// Something that a file does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    /// The certificate.
    Certificate,
    /// The private key.
    Key,
    /// The certificate of the leaf's issuer, without which clients may not find the way to a root.
    Issuer(VendorText),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate => f.write_str("the certificate"),
            Self::Key => f.write_str("the private key"),
            Self::Issuer(name) => write!(f, "the certificate of the issuer {name}"),
        }
    }
}

impl Contents {
    /// Takes chain and key out, to be written in another form or put under an engine's care.
    ///
    /// # Errors
    ///
    /// [`InputError::Keystore`] if there is no certificate.
    pub fn into_keystore(self) -> Result<Keystore, InputError> {
        let chain = self.chain.ok_or_else(|| broken("it holds no certificate"))?;
        let keystore = Keystore::new(chain, self.key)?;
        Ok(match self.name {
            Some(name) => keystore.named(name),
            None => keystore,
        })
    }
}

/// Reads a file of at most 1 MiB in any of the forms: PEM with anything around it, DER, PKCS#7, PKCS#12, JKS. A password
/// that nothing asks for is not looked at.
///
/// The leaf is the certificate of the private key, or without a key the one that issued none of the others. May take a
/// few seconds of one core, since files say themselves how much work their password takes: in async code call it on
/// a thread that may block.
///
/// # Errors
///
/// [`InputError::Password`] if a password is missing or wrong, [`InputError::Keystore`] if the form is unknown, broken,
/// built out of the crate, holds several private keys, or asks for more than five million rounds of key derivation,
/// [`InputError::PrivateKey`] and [`InputError::Certificate`] for what is in it.
pub fn read(bytes: &[u8], password: Option<&Secret>) -> Result<Contents, InputError> {
    let (format, found) = gather(bytes, password)?;
    found.sort_out(format)
}

/// Reads everything that a file holds, in its order.
pub(super) fn gather(bytes: &[u8], password: Option<&Secret>) -> Result<(Format, Gathered), InputError> {
    if bytes.len() > MAX_INPUT {
        return Err(broken("it is larger than 1 MiB"));
    }
    let mut budget = Budget::new();
    let format = recognise(bytes)?;
    let mut found = Gathered::default();
    match format {
        Format::Pem => found.add_pem(bytes, password, &mut budget)?,
        Format::DerCertificate => found.add_certificate(bytes)?,
        Format::DerKey => found.add_key(der_key(bytes, password, &mut budget)?, None)?,
        Format::Pkcs7 => found.add_pkcs7(bytes)?,
        #[cfg(feature = "pkcs12")]
        Format::Pkcs12 => found = super::pkcs12::read(bytes, password, &mut budget)?.0,
        #[cfg(feature = "jks")]
        Format::Jks => found = super::jks::read(bytes, password)?,
        #[cfg(not(all(feature = "pkcs12", feature = "jks")))]
        other => return Err(broken(format!("it is {other}, which this build leaves out"))),
    }
    Ok((format, found))
}

fn recognise(bytes: &[u8]) -> Result<Format, InputError> {
    match bytes.first_chunk().map(|magic| u32::from_be_bytes(*magic)) {
        Some(JKS) => return Ok(Format::Jks),
        Some(JCEKS) => {
            return Err(broken(
                "it is JCEKS; convert it with `keytool -importkeystore -deststoretype PKCS12`",
            ));
        }
        _ => {}
    }
    if bytes.first() == Some(&0x30) {
        return recognise_der(bytes)
            .ok_or_else(|| broken("it is DER of another kind than key or certificate"));
    }
    if std::str::from_utf8(bytes).is_ok_and(|text| text.contains("-----BEGIN ")) {
        return Ok(Format::Pem);
    }
    Err(broken("its form is unknown; known are PEM, DER, PKCS#7, PKCS#12 and JKS"))
}

/// Tells by the first elements, which suffice even where lengths are left open.
fn recognise_der(bytes: &[u8]) -> Option<Format> {
    let inner = header(bytes)?;
    match *inner.first()? {
        0x06 => Some(Format::Pkcs7),
        // The version of PFX (RFC 7292 §4); keys have 0 or 1.
        0x02 if inner.starts_with(&[0x02, 0x01, 0x03]) => Some(Format::Pkcs12),
        0x02 => Some(Format::DerKey),
        0x30 => {
            let mut elements = SliceReader::new(inner).ok()?;
            der::Reader::decode::<AnyRef<'_>>(&mut elements).ok()?;
            match Tag::peek(&elements).ok()? {
                Tag::OctetString => Some(Format::DerKey),
                _ => Some(Format::DerCertificate),
            }
        }
        _ => None,
    }
}

/// What follows the tag and the length of an element.
fn header(bytes: &[u8]) -> Option<&[u8]> {
    let octets = match *bytes.get(1)? {
        long @ 0x81..=0x84 => usize::from(long & 0x7f),
        _ => 0,
    };
    bytes.get(2 + octets..)
}

fn der_key(der: &[u8], password: Option<&Secret>, budget: &mut Budget) -> Result<PrivateKey, InputError> {
    // Keys begin with their version, encrypted ones with an algorithm.
    if AnyRef::from_der(der).is_ok_and(|whole| whole.value().first() == Some(&0x30)) {
        return encryption::read_pkcs8(der, password, budget);
    }
    PrivateKey::from_der(&SecretBytes::new(der.to_vec()))
}

/// Certificates and keys as they stand in a file.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) certificates: Vec<Vec<u8>>,
    pub(super) keys: Vec<(PrivateKey, Option<FriendlyName>)>,
}

impl Gathered {
    /// How many certificates are looked at: copies and roots beside the chain.
    const MAX_CERTIFICATES: usize = 3 * Chain::MAX_CERTIFICATES;

    pub(super) fn add_certificate(&mut self, der: &[u8]) -> Result<(), InputError> {
        if self.certificates.len() == Self::MAX_CERTIFICATES {
            return Err(broken(format!("it holds more than {} certificates", Self::MAX_CERTIFICATES)));
        }
        self.certificates.push(der.to_vec());
        Ok(())
    }

    /// Adds a key; the same one again adds its name at most.
    pub(super) fn add_key(&mut self, key: PrivateKey, name: Option<FriendlyName>) -> Result<(), InputError> {
        match &mut self.keys[..] {
            [] => self.keys.push((key, name)),
            [(known, its_name)] if *known == key => *its_name = its_name.take().or(name),
            _ => {
                let names: Vec<_> = self.keys.iter().map(|(_, name)| name).chain([&name]).flatten().collect();
                let names = if names.is_empty() { String::new() } else { format!(": {names:?}") };
                return Err(broken(format!(
                    "it holds several private keys{names}; keep the one that is meant"
                )));
            }
        }
        Ok(())
    }

    fn add_pkcs7(&mut self, bytes: &[u8]) -> Result<(), InputError> {
        pkcs7::read(bytes)?.iter().try_for_each(|der| self.add_certificate(der))
    }

    fn add_pem(
        &mut self,
        bytes: &[u8],
        password: Option<&Secret>,
        budget: &mut Budget,
    ) -> Result<(), InputError> {
        let text = std::str::from_utf8(bytes).map_err(|_| broken("it is not text"))?;
        for block in pem::blocks(text).map_err(broken)? {
            match block.label {
                // Older and OpenSSL's names (RFC 7468 §5.1).
                "CERTIFICATE" | "X509 CERTIFICATE" => self.add_certificate(&block.der)?,
                pkcs7::LABEL | "PKCS #7 SIGNED DATA" | "CMS" => self.add_pkcs7(&block.der)?,
                label if label.ends_with("PRIVATE KEY") => {
                    if block.encrypted {
                        return Err(broken(
                            "its private key is encrypted in the old way of OpenSSL (RFC 1421); convert it with \
                             `openssl pkcs8 -topk8`",
                        ));
                    }
                    self.add_key(der_key(&block.der, password, budget)?, None)?;
                }
                // Parameters, requests, revocation lists.
                _ => {}
            }
        }
        Ok(())
    }

    fn sort_out(self, format: Format) -> Result<Contents, InputError> {
        let (key, name) = self.keys.into_iter().next().map_or((None, None), |(key, name)| (Some(key), name));
        let mut missing = Vec::new();
        if key.is_none() {
            missing.push(Missing::Key);
        }
        if self.certificates.is_empty() {
            if key.is_none() {
                return Err(broken("it holds neither certificate nor private key"));
            }
            missing.push(Missing::Certificate);
            return Ok(Contents { format, chain: None, key, name, dropped: Vec::new(), missing });
        }
        let mut options = ChainOptions::default().drop_unrelated(true);
        if let Some(key) = &key {
            let hash = key.public_key_hash();
            let fits = |der: &Vec<u8>| CertificateInfo::read(der).is_ok_and(|info| info.key_hash == hash);
            if !self.certificates.iter().any(fits) {
                return Err(broken("its private key belongs to none of its certificates"));
            }
            options = options.leaf_key(hash);
        }
        let assembled = options.from_ders(unique(self.certificates))?;
        let chain = assembled.chain;
        missing.extend(missing_issuer(&chain, &assembled.dropped)?.map(Missing::Issuer));
        Ok(Contents { format, chain: Some(chain), key, name, dropped: assembled.dropped, missing })
    }
}

fn unique(mut certificates: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut seen = std::collections::BTreeSet::new();
    certificates.retain(|der| seen.insert(der.clone()));
    certificates
}

/// The issuer that a lone leaf lacks. Behind an intermediate, what is not there is the root, which clients have.
fn missing_issuer(chain: &Chain, dropped: &[Dropped]) -> Result<Option<VendorText>, InputError> {
    let leaf = chain.info()?;
    let alone = chain.intermediates().is_empty() && !leaf.self_signed;
    let known = dropped.iter().any(|dropped| dropped.subject == leaf.issuer);
    Ok((alone && !known).then_some(leaf.issuer))
}
