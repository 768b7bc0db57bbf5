//! Writes one key with its chain, laid out as OpenSSL lays it out: the certificates in an encrypted safe, the key
//! encrypted in its bag, and a MAC over both.

use aws_lc_rs::{
    digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256},
    error::Unspecified,
    hmac,
};
use cbc::cipher::{BlockModeEncrypt as _, KeyIvInit as _, block_padding::Pkcs7};
use const_oid::{
    ObjectIdentifier,
    db::{
        rfc2985::{PKCS_9_AT_FRIENDLY_NAME, PKCS_9_AT_LOCAL_KEY_ID},
        rfc5911::{ID_DATA, ID_ENCRYPTED_DATA},
        rfc5912::{ID_SHA_1, ID_SHA_256},
        rfc7292::PBE_WITH_SHA_AND_3_KEY_TRIPLE_DES_CBC,
    },
};
use des::TdesEde3;

use super::{
    super::{
        FriendlyName, Protection,
        encryption::{self, Encrypted},
        not_encoded, pkcs8,
        tlv::{self, Element},
    },
    CERT_BAG, SHROUDED_KEY_BAG, X509_CERTIFICATE,
    derivation::{self, Purpose},
};
use crate::{
    input::InputError,
    key::PrivateKey,
    secret::{Secret, SecretBytes},
    x509::Chain,
};

/// Rounds a derivation. Three of them stay below the 600 000 that .NET allows a file
/// (<https://support.microsoft.com/help/5025823>), and below the 5 000 000 of Java.
const MODERN_ROUNDS: u32 = 100_000;
/// For programs of an age in which 2000 were usual.
const LEGACY_ROUNDS: u32 = 20_000;

pub(in super::super) fn write(
    chain: &Chain,
    key: &PrivateKey,
    name: &FriendlyName,
    password: &Secret,
    protection: Protection,
) -> Result<SecretBytes, InputError> {
    let key = pkcs8(key)?;
    let writer = Writer { password: password.expose(), protection };
    writer.pfx(chain, &key, name).map(|pfx| SecretBytes::new(pfx.to_vec())).map_err(|_| not_encoded())
}

struct Writer<'a> {
    password: &'a str,
    protection: Protection,
}

impl Writer<'_> {
    fn pfx(&self, chain: &Chain, key: &SecretBytes, name: &FriendlyName) -> Result<Element, Unspecified> {
        // What pairs key and certificate; OpenSSL too takes the SHA-1 of the certificate.
        let key_id = digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, chain.leaf());
        let attributes = attributes(name, key_id.as_ref());

        let mut bags = vec![bag(CERT_BAG, &cert_bag(chain.leaf()), &attributes)];
        bags.extend(chain.intermediates().iter().map(|der| bag(CERT_BAG, &cert_bag(der), &[])));
        let certificates = self.encrypt(&safe(&bags))?;
        let key = self.encrypt(key.expose())?.key_info();
        let keys = safe(&[bag(SHROUDED_KEY_BAG, &key, &attributes)]);

        let content = tlv::sequence(&[&encrypted_data(&certificates), &data(&keys)]);
        Ok(tlv::sequence(&[&tlv::integer(3), &data(&content), &self.mac(&content)?]))
    }

    fn encrypt(&self, plain: &[u8]) -> Result<Encrypted, Unspecified> {
        match self.protection {
            Protection::Modern => encryption::encrypt(self.password.as_bytes(), plain, MODERN_ROUNDS),
            Protection::Legacy => self.triple_des(plain),
        }
    }

    /// `pbeWithSHAAnd3-KeyTripleDES-CBC` (RFC 7292 appendix C).
    fn triple_des(&self, plain: &[u8]) -> Result<Encrypted, Unspecified> {
        let salt: [u8; 16] = encryption::random()?;
        let password = derivation::utf16(self.password);
        let hash = &SHA1_FOR_LEGACY_USE_ONLY;
        let key = derivation::derive::<24>(hash, Purpose::Encryption, &password, &salt, LEGACY_ROUNDS);
        let iv = derivation::derive::<8>(hash, Purpose::Iv, &password, &salt, LEGACY_ROUNDS);
        let cipher = cbc::Encryptor::<TdesEde3>::new((&*key).into(), (&*iv).into());
        let parameters = tlv::sequence(&[&tlv::octets(&salt), &tlv::integer(LEGACY_ROUNDS)]);
        Ok(Encrypted {
            algorithm: tlv::algorithm(PBE_WITH_SHA_AND_3_KEY_TRIPLE_DES_CBC, &parameters),
            content: cipher.encrypt_padded_vec::<Pkcs7>(plain),
        })
    }

    /// `MacData` (RFC 7292 §4).
    fn mac(&self, content: &[u8]) -> Result<Element, Unspecified> {
        let (hash, hmac, id, rounds) = match self.protection {
            Protection::Modern => (&SHA256, hmac::HMAC_SHA256, ID_SHA_256, MODERN_ROUNDS),
            Protection::Legacy => {
                (&SHA1_FOR_LEGACY_USE_ONLY, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, ID_SHA_1, LEGACY_ROUNDS)
            }
        };
        let salt: [u8; 16] = encryption::random()?;
        let mut key = zeroize::Zeroizing::new(vec![0; hash.output_len()]);
        let password = derivation::utf16(self.password);
        derivation::derive_into(hash, Purpose::Mac, &password, &salt, rounds, &mut key);
        let tag = hmac::sign(&hmac::Key::new(hmac, &key), content);
        let digest = tlv::sequence(&[&tlv::algorithm(id, tlv::NULL), &tlv::octets(tag.as_ref())]);
        Ok(tlv::sequence(&[&digest, &tlv::octets(&salt), &tlv::integer(rounds)]))
    }
}

/// `ContentInfo` of type data.
fn data(content: &[u8]) -> Element {
    tlv::sequence(&[&tlv::oid(ID_DATA), &tlv::explicit(&tlv::octets(content))])
}

/// `ContentInfo` of type encrypted data (RFC 5652 §8).
fn encrypted_data(encrypted: &Encrypted) -> Element {
    let content = tlv::element(tlv::CONTEXT_0_PRIMITIVE, &[&encrypted.content]);
    let info = tlv::sequence(&[&tlv::oid(ID_DATA), &encrypted.algorithm, &content]);
    let data = tlv::sequence(&[&tlv::integer(0), &info]);
    tlv::sequence(&[&tlv::oid(ID_ENCRYPTED_DATA), &tlv::explicit(&data)])
}

fn safe(bags: &[Element]) -> Element {
    let bags: Vec<&[u8]> = bags.iter().map(|bag| &***bag).collect();
    tlv::sequence(&bags)
}

/// `SafeBag` (RFC 7292 §4.2).
fn bag(kind: ObjectIdentifier, value: &[u8], attributes: &[u8]) -> Element {
    tlv::sequence(&[&tlv::oid(kind), &tlv::explicit(value), attributes])
}

fn cert_bag(der: &[u8]) -> Element {
    tlv::sequence(&[&tlv::oid(X509_CERTIFICATE), &tlv::explicit(&tlv::octets(der))])
}

/// Friendly name and local key id (RFC 2985 §5.5), sorted as DER asks of a SET.
fn attributes(name: &FriendlyName, key_id: &[u8]) -> Element {
    let name: Vec<u8> = name.as_str().encode_utf16().flat_map(u16::to_be_bytes).collect();
    let attribute = |id, value: Element| tlv::sequence(&[&tlv::oid(id), &tlv::element(tlv::SET, &[&value])]);
    let mut attributes = [
        attribute(PKCS_9_AT_FRIENDLY_NAME, tlv::element(tlv::BMP_STRING, &[&name])),
        attribute(PKCS_9_AT_LOCAL_KEY_ID, tlv::octets(key_id)),
    ];
    attributes.sort_by(|one, other| one.as_slice().cmp(other.as_slice()));
    let [first, second] = &attributes;
    tlv::element(tlv::SET, &[first, second])
}
