//! Reads keys and certificates out of all bags, after the MAC has said that the password is right.

use aws_lc_rs::{
    digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512},
    hmac,
};
use cbc::cipher::{BlockModeDecrypt, KeyIvInit, block_padding::Pkcs7};
use const_oid::{
    ObjectIdentifier,
    db::{
        rfc2985::PKCS_9_AT_FRIENDLY_NAME,
        rfc5911::{ID_DATA, ID_ENCRYPTED_DATA},
        rfc5912::{ID_SHA_1, ID_SHA_256, ID_SHA_384, ID_SHA_512},
        rfc7292::{
            PBE_WITH_SHA_AND_3_KEY_TRIPLE_DES_CBC, PBE_WITH_SHA_AND_128_BIT_RC_2_CBC,
            PBEWITH_SHA_AND_40_BIT_RC_2_CBC,
        },
    },
};
use der::{
    Decode as _, Reader as _, Sequence, SliceReader, Tag, Tagged as _,
    asn1::{AnyRef, BmpString, OctetStringRef},
};
use pkcs8::{AlgorithmIdentifierRef, pkcs5::pbes2::PBES2_OID};
use zeroize::Zeroizing;

use super::{
    super::{
        FriendlyName, Protection, ber,
        encryption::{self, Budget, EncryptedKey, broken, unsupported, wrong_password},
        read::Gathered,
    },
    CERT_BAG, KEY_BAG, SAFE_CONTENTS_BAG, SHROUDED_KEY_BAG, X509_CERTIFICATE,
    derivation::{self, Purpose},
};
use crate::{
    input::InputError,
    key::PrivateKey,
    secret::{Secret, SecretBytes},
    x509::elements,
};

/// How many bags are looked at, and how deep they may be nested.
const MAX_BAGS: usize = 100;
const MAX_DEPTH: usize = 4;

/// Reads a whole file; the protection is that of its certificates.
pub(in super::super) fn read(
    bytes: &[u8],
    password: Option<&Secret>,
    budget: &mut Budget,
) -> Result<(Gathered, Option<Protection>), InputError> {
    let password = encryption::needed(password)?;
    let mut reader = Reader { password, budget, found: Gathered::default(), bags: 0, protection: None };
    reader.pfx(&ber::to_der(bytes).ok_or_else(malformed)?)?;
    Ok((reader.found, reader.protection))
}

struct Reader<'a> {
    password: &'a Secret,
    budget: &'a mut Budget,
    found: Gathered,
    bags: usize,
    protection: Option<Protection>,
}

/// `ContentInfo` (RFC 5652 §3).
#[derive(Sequence)]
struct ContentInfo<'a> {
    kind: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    content: AnyRef<'a>,
}

/// `PFX` (RFC 7292 §4).
#[derive(Sequence)]
struct Pfx<'a> {
    version: u8,
    content: ContentInfo<'a>,
    #[asn1(optional = "true")]
    mac: Option<MacData<'a>>,
}

#[derive(Sequence)]
struct MacData<'a> {
    digest: DigestInfo<'a>,
    salt: &'a OctetStringRef,
    #[asn1(default = "one")]
    rounds: u32,
}

fn one() -> u32 {
    1
}

#[derive(Sequence)]
struct DigestInfo<'a> {
    algorithm: AlgorithmIdentifierRef<'a>,
    digest: &'a OctetStringRef,
}

/// `pkcs-12PbeParams` (RFC 7292 appendix C).
#[derive(Sequence)]
struct PbeParameters<'a> {
    salt: &'a OctetStringRef,
    rounds: u32,
}

impl Reader<'_> {
    fn pfx(&mut self, der: &[u8]) -> Result<(), InputError> {
        let Pfx { content, mac, .. } = Pfx::from_der(der).map_err(lost)?;
        if content.kind != ID_DATA {
            return Err(broken("it is protected with a public key instead of a password"));
        }
        let content = octets(content.content)?;
        if let Some(mac) = mac {
            self.check_mac(&mac, content)?;
        }
        let safes = ber::to_der(content).ok_or_else(malformed)?;
        let mut safes = elements(&safes).map_err(lost)?;
        while !safes.is_finished() {
            self.safe(&safes.decode().map_err(lost)?)?;
        }
        Ok(())
    }

    fn check_mac(&mut self, mac: &MacData<'_>, content: &[u8]) -> Result<(), InputError> {
        let (hash, kind): (&'static digest::Algorithm, _) = match mac.digest.algorithm.oid {
            ID_SHA_1 => (&SHA1_FOR_LEGACY_USE_ONLY, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
            ID_SHA_256 => (&SHA256, hmac::HMAC_SHA256),
            ID_SHA_384 => (&SHA384, hmac::HMAC_SHA384),
            ID_SHA_512 => (&SHA512, hmac::HMAC_SHA512),
            other => return Err(unsupported(other)),
        };
        let mut key = Zeroizing::new(vec![0; hash.output_len()]);
        self.derive(hash, Purpose::Mac, mac.salt, mac.rounds, &mut key)?;
        hmac::verify(&hmac::Key::new(kind, &key), content, mac.digest.digest.as_bytes())
            .map_err(|_| wrong_password())
    }

    fn derive(
        &mut self,
        hash: &'static digest::Algorithm,
        purpose: Purpose,
        salt: &OctetStringRef,
        rounds: u32,
        key: &mut [u8],
    ) -> Result<(), InputError> {
        // The work grows with the salt as well.
        let (salt, blocks) = (salt.as_bytes(), key.len().div_ceil(hash.output_len()));
        if salt.len() > 1_024 {
            return Err(broken("its salt is longer than 1 KiB"));
        }
        self.budget.spend(rounds.into(), u64::try_from(blocks).unwrap_or(u64::MAX))?;
        let password = derivation::utf16(self.password.expose());
        derivation::derive_into(hash, purpose, &password, salt, rounds, key);
        Ok(())
    }

    fn safe(&mut self, info: &ContentInfo<'_>) -> Result<(), InputError> {
        match info.kind {
            ID_DATA => self.bags(octets(info.content)?, 0),
            ID_ENCRYPTED_DATA => {
                let (algorithm, content) = encrypted_data(info.content).map_err(lost)?;
                let modern = algorithm.oid == PBES2_OID;
                self.protection = Some(if modern { Protection::Modern } else { Protection::Legacy });
                let plain = self.decrypt(&algorithm, &content)?;
                self.bags(&plain, 0)
            }
            _ => Err(broken("it is protected with a public key instead of a password")),
        }
    }

    fn decrypt(
        &mut self,
        algorithm: &AlgorithmIdentifierRef<'_>,
        content: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, InputError> {
        match algorithm.oid {
            PBES2_OID => encryption::decrypt(algorithm, self.password, content, self.budget),
            PBE_WITH_SHA_AND_3_KEY_TRIPLE_DES_CBC => {
                self.decrypt_old::<cbc::Decryptor<des::TdesEde3>>(algorithm, 24, content)
            }
            PBE_WITH_SHA_AND_128_BIT_RC_2_CBC => {
                self.decrypt_old::<cbc::Decryptor<rc2::Rc2>>(algorithm, 16, content)
            }
            PBEWITH_SHA_AND_40_BIT_RC_2_CBC => {
                self.decrypt_old::<cbc::Decryptor<rc2::Rc2>>(algorithm, 5, content)
            }
            other => Err(unsupported(other)),
        }
    }

    /// The encryption of RFC 7292 appendix C, with SHA-1.
    fn decrypt_old<C: BlockModeDecrypt + KeyIvInit>(
        &mut self,
        algorithm: &AlgorithmIdentifierRef<'_>,
        key_length: usize,
        content: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, InputError> {
        let parameters = algorithm.parameters.ok_or_else(malformed)?;
        let PbeParameters { salt, rounds } = parameters.decode_as().map_err(lost)?;
        let hash = &SHA1_FOR_LEGACY_USE_ONLY;
        let (mut key, mut iv) = (Zeroizing::new(vec![0; key_length]), Zeroizing::new([0; 8]));
        self.derive(hash, Purpose::Encryption, salt, rounds, &mut key)?;
        self.derive(hash, Purpose::Iv, salt, rounds, &mut *iv)?;
        let cipher = C::new_from_slices(&key, &*iv).map_err(|_| malformed())?;
        cipher.decrypt_padded_vec::<Pkcs7>(content).map(Zeroizing::new).map_err(|_| wrong_password())
    }

    /// `SafeContents` (RFC 7292 §4.2).
    fn bags(&mut self, bytes: &[u8], depth: usize) -> Result<(), InputError> {
        let der = ber::to_der(bytes).ok_or_else(wrong_password)?;
        let mut bags = elements(&der).map_err(lost)?;
        while !bags.is_finished() {
            self.bags += 1;
            if self.bags > MAX_BAGS || depth > MAX_DEPTH {
                return Err(broken(format!("it holds more than {MAX_BAGS} bags, or nests them too deep")));
            }
            let (kind, value, name) = bag(&mut bags).map_err(lost)?;
            self.bag(kind, value, name, depth)?;
        }
        Ok(())
    }

    fn bag(
        &mut self,
        kind: ObjectIdentifier,
        value: &[u8],
        name: Option<FriendlyName>,
        depth: usize,
    ) -> Result<(), InputError> {
        match kind {
            KEY_BAG => self.found.add_key(PrivateKey::from_der(&SecretBytes::new(value.to_vec()))?, name),
            SHROUDED_KEY_BAG => {
                let encrypted = EncryptedKey::from_der(value).map_err(lost)?;
                let plain = self.decrypt(&encrypted.algorithm, encrypted.content.as_bytes())?;
                self.found.add_key(PrivateKey::from_der(&SecretBytes::new(plain.to_vec()))?, name)
            }
            CERT_BAG => match certificate(value).map_err(lost)? {
                Some(der) => self.found.add_certificate(der),
                None => Ok(()),
            },
            SAFE_CONTENTS_BAG => self.bags(value, depth + 1),
            // Revocation lists and secrets of other kinds.
            _ => Ok(()),
        }
    }
}

/// `EncryptedData` (RFC 5652 §8): the algorithm, and what is encrypted.
fn encrypted_data(data: AnyRef<'_>) -> der::Result<(AlgorithmIdentifierRef<'_>, Vec<u8>)> {
    let mut data = SliceReader::new(data.value())?;
    data.decode::<u8>()?;
    let mut info = SliceReader::new(data.decode::<AnyRef<'_>>()?.value())?;
    info.decode::<ObjectIdentifier>()?;
    let algorithm = info.decode()?;
    let content = info.decode::<AnyRef<'_>>()?;
    if !content.tag().is_constructed() {
        return Ok((algorithm, content.value().to_vec()));
    }
    let (mut reader, mut parts) = (SliceReader::new(content.value())?, Vec::new());
    while !reader.is_finished() {
        parts.push(reader.tlv_bytes()?);
    }
    Ok((algorithm, ber::pieces(&parts)))
}

/// `SafeBag` (RFC 7292 §4.2): its kind, its value, and its friendly name.
fn bag<'a>(bags: &mut SliceReader<'a>) -> der::Result<(ObjectIdentifier, &'a [u8], Option<FriendlyName>)> {
    let mut parts = SliceReader::new(bags.decode::<AnyRef<'a>>()?.value())?;
    let kind = parts.decode()?;
    let value = parts.decode::<AnyRef<'a>>()?;
    let name = if parts.is_finished() { None } else { friendly_name(parts.decode()?) };
    Ok((kind, value.value(), name))
}

/// A name that breaks our rules counts as none: it is for people.
fn friendly_name(attributes: AnyRef<'_>) -> Option<FriendlyName> {
    let mut attributes = SliceReader::new(attributes.value()).ok()?;
    while !attributes.is_finished() {
        let mut attribute = SliceReader::new(attributes.decode::<AnyRef<'_>>().ok()?.value()).ok()?;
        if attribute.decode::<ObjectIdentifier>().ok()? == PKCS_9_AT_FRIENDLY_NAME {
            let name = BmpString::from_der(attribute.decode::<AnyRef<'_>>().ok()?.value()).ok()?;
            return FriendlyName::new(name.to_string()).ok();
        }
    }
    None
}

/// `CertBag` (RFC 7292 §4.2.3); none if the certificate is of another kind.
fn certificate(value: &[u8]) -> der::Result<Option<&[u8]>> {
    let mut parts = elements(value)?;
    if parts.decode::<ObjectIdentifier>()? != X509_CERTIFICATE {
        return Ok(None);
    }
    let explicit = parts.decode::<AnyRef<'_>>()?;
    Ok(Some(<&OctetStringRef>::from_der(explicit.value())?.as_bytes()))
}

fn octets(content: AnyRef<'_>) -> Result<&[u8], InputError> {
    content.tag().assert_eq(Tag::OctetString).map_err(|_| malformed())?;
    Ok(content.value())
}

fn malformed() -> InputError {
    broken("its PKCS#12 structure is broken")
}

fn lost(_: der::Error) -> InputError {
    malformed()
}
