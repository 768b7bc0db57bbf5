//! Writes and signs certificates and revocation lists (RFC 5280 §4.1, §5.1).
//!
//! Issuer names, subjects and public keys go in as the bytes that they are: a name that is parsed and
//! written again may come out as another, and then nothing below it verifies.

use certlife_core::{Error, ErrorKind, KeyAlgorithm, Operation, PrivateKey, Result, Timestamp};
use const_oid::{
    AssociatedOid, ObjectIdentifier,
    db::{
        rfc4519::{COMMON_NAME, COUNTRY_NAME, ORGANIZATION_NAME},
        rfc5912::{ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ECDSA_WITH_SHA_512, SHA_256_WITH_RSA_ENCRYPTION},
        rfc8410::ID_ED_25519,
    },
};
use der::{
    Decode as _, Encode, Reader as _, Sequence, SliceReader, Tag, Tagged as _,
    asn1::{
        Any, AnyRef, BitStringRef, GeneralizedTime, OctetString, PrintableStringRef, SetOfVec, Uint, UintRef,
        UtcTime, Utf8StringRef,
    },
};
use x509_cert::{
    attr::AttributeTypeAndValue,
    ext::Extension,
    name::{RdnSequence, RelativeDistinguishedName},
    spki::AlgorithmIdentifierOwned,
    time::{Time, Validity},
};

use super::PROVIDER;

/// What a certificate will say.
pub(super) struct Template<'a> {
    pub(super) serial: &'a [u8],
    /// The subject's name in DER.
    pub(super) subject: &'a [u8],
    /// `SubjectPublicKeyInfo` in DER.
    pub(super) public_key: &'a [u8],
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) extensions: Vec<Extension>,
}

/// `TBSCertificate`.
#[derive(Sequence)]
struct Content<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: u8,
    serial: UintRef<'a>,
    signature: AlgorithmIdentifierOwned,
    issuer: AnyRef<'a>,
    validity: Validity,
    subject: AnyRef<'a>,
    public_key: AnyRef<'a>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Vec<Extension>,
}

/// `TBSCertList`.
#[derive(Sequence)]
struct ListContent<'a> {
    version: u8,
    signature: AlgorithmIdentifierOwned,
    issuer: AnyRef<'a>,
    this_update: Time,
    next_update: Time,
    #[asn1(optional = "true")]
    revoked: Option<Vec<Revoked>>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    extensions: Vec<Extension>,
}

/// One line of a revocation list.
#[derive(Sequence)]
pub(super) struct Revoked {
    pub(super) serial: Uint,
    pub(super) at: Time,
    #[asn1(optional = "true")]
    pub(super) extensions: Option<Vec<Extension>>,
}

/// What a revocation list will say.
pub(super) struct ListTemplate {
    pub(super) this_update: Timestamp,
    pub(super) next_update: Timestamp,
    pub(super) revoked: Vec<Revoked>,
    pub(super) extensions: Vec<Extension>,
}

#[derive(Sequence)]
struct Signed<'a> {
    content: AnyRef<'a>,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitStringRef<'a>,
}

/// Signs a certificate and returns it in DER. `issuer` is the issuer's name in DER.
pub(super) fn certificate(template: &Template<'_>, issuer: &[u8], key: &PrivateKey) -> Result<Vec<u8>> {
    let algorithm = signature_algorithm(key.algorithm());
    let content = || {
        Content {
            // Version 3.
            version: 2,
            serial: UintRef::new(template.serial)?,
            signature: algorithm.clone(),
            issuer: AnyRef::from_der(issuer)?,
            validity: Validity::new(time(template.not_before)?, time(template.not_after)?),
            subject: AnyRef::from_der(template.subject)?,
            public_key: AnyRef::from_der(template.public_key)?,
            extensions: template.extensions.clone(),
        }
        .to_der()
    };
    signed(&content().map_err(unwritable)?, &algorithm, key)
}

/// Signs a revocation list and returns it in DER.
pub(super) fn revocation_list(template: ListTemplate, issuer: &[u8], key: &PrivateKey) -> Result<Vec<u8>> {
    let algorithm = signature_algorithm(key.algorithm());
    let content = || {
        ListContent {
            // Version 2.
            version: 1,
            signature: algorithm.clone(),
            issuer: AnyRef::from_der(issuer)?,
            this_update: time(template.this_update)?,
            next_update: time(template.next_update)?,
            // An empty list must be absent (RFC 5280 §5.1.2.6).
            revoked: Some(template.revoked).filter(|revoked| !revoked.is_empty()),
            extensions: template.extensions,
        }
        .to_der()
    };
    signed(&content().map_err(unwritable)?, &algorithm, key)
}

fn signed(content: &[u8], algorithm: &AlgorithmIdentifierOwned, key: &PrivateKey) -> Result<Vec<u8>> {
    let signature = key.sign(content)?;
    let whole = || {
        Signed {
            content: AnyRef::from_der(content)?,
            algorithm: algorithm.clone(),
            signature: BitStringRef::from_bytes(&signature)?,
        }
        .to_der()
    };
    whole().map_err(unwritable)
}

/// Writes an extension.
pub(super) fn extension<T: AssociatedOid + Encode>(critical: bool, value: &T) -> Result<Extension> {
    raw_extension(T::OID, critical, value)
}

/// Writes an extension under a stated identifier.
pub(super) fn raw_extension(id: ObjectIdentifier, critical: bool, value: &impl Encode) -> Result<Extension> {
    let value = value.to_der().and_then(OctetString::new).map_err(unwritable)?;
    Ok(Extension { extn_id: id, critical, extn_value: value })
}

/// Writes a time in the form that RFC 5280 §4.1.2.5 wants for its year.
pub(super) fn time(moment: Timestamp) -> der::Result<Time> {
    let seconds = std::time::Duration::from_secs(u64::try_from(moment.unix_seconds()).unwrap_or(0));
    if moment.to_utc().year() < 2050 {
        UtcTime::from_unix_duration(seconds).map(Time::UtcTime)
    } else {
        GeneralizedTime::from_unix_duration(seconds).map(Time::GeneralTime)
    }
}

/// Writes a name: country, organization and common name, each where it is given.
pub(super) fn name(
    common_name: Option<&str>,
    organization: Option<&str>,
    country: Option<&str>,
) -> Result<Vec<u8>> {
    let written = || {
        let mut names = RdnSequence::default();
        if let Some(country) = country {
            // X.520 §6.3.1 wants a PrintableString here.
            names.push(attribute(COUNTRY_NAME, Any::encode_from(&PrintableStringRef::new(country)?)?)?);
        }
        for (id, text) in [(ORGANIZATION_NAME, organization), (COMMON_NAME, common_name)] {
            if let Some(text) = text {
                names.push(attribute(id, Any::encode_from(&Utf8StringRef::new(text)?)?)?);
            }
        }
        names.to_der()
    };
    written().map_err(unwritable)
}

fn attribute(oid: ObjectIdentifier, value: Any) -> der::Result<RelativeDistinguishedName> {
    Ok(SetOfVec::try_from([AttributeTypeAndValue { oid, value }])?.into())
}

/// The parts of a certificate that its own children and its revocation repeat, as the bytes that came.
pub(super) struct Parts<'a> {
    pub(super) serial: &'a [u8],
    /// The subject's name in DER.
    pub(super) subject: &'a [u8],
    /// The content of the key's BIT STRING.
    pub(super) key_bits: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Splits a certificate in DER.
    pub(super) fn read(certificate: &'a [u8]) -> der::Result<Self> {
        let mut whole = elements(certificate)?;
        let mut parts = elements(whole.tlv_bytes()?)?;
        if Tag::peek(&parts)?.is_context_specific() {
            parts.decode::<AnyRef<'_>>()?;
        }
        let serial: AnyRef<'_> = parts.decode()?;
        // Signature algorithm, issuer and validity.
        for _ in 0..3 {
            parts.decode::<AnyRef<'_>>()?;
        }
        let subject = parts.tlv_bytes()?;
        let mut key = elements(parts.tlv_bytes()?)?;
        key.decode::<AnyRef<'_>>()?;
        let bits: BitStringRef<'_> = key.decode()?;
        Ok(Self { serial: serial.value(), subject, key_bits: bits.raw_bytes() })
    }
}

/// The content of the BIT STRING in a `SubjectPublicKeyInfo`.
pub(super) fn key_bits(public_key: &[u8]) -> der::Result<&[u8]> {
    let mut key = elements(public_key)?;
    key.decode::<AnyRef<'_>>()?;
    Ok(key.decode::<BitStringRef<'_>>()?.raw_bytes())
}

fn elements(der: &[u8]) -> der::Result<SliceReader<'_>> {
    let whole = AnyRef::from_der(der)?;
    whole.tag().assert_eq(Tag::Sequence)?;
    SliceReader::new(whole.value())
}

/// What [`PrivateKey::sign`] signs with (RFC 5754 §3, RFC 8410 §3). Only RSA has a parameter.
fn signature_algorithm(algorithm: KeyAlgorithm) -> AlgorithmIdentifierOwned {
    let (oid, parameters) = match algorithm {
        KeyAlgorithm::EcdsaP256 => (ECDSA_WITH_SHA_256, None),
        KeyAlgorithm::EcdsaP384 => (ECDSA_WITH_SHA_384, None),
        KeyAlgorithm::EcdsaP521 => (ECDSA_WITH_SHA_512, None),
        KeyAlgorithm::Ed25519 => (ID_ED_25519, None),
        _ => (SHA_256_WITH_RSA_ENCRYPTION, Some(Any::null())),
    };
    AlgorithmIdentifierOwned { oid, parameters }
}

pub(super) fn unwritable(error: der::Error) -> Error {
    let kind = ErrorKind::BadCertificate("it cannot be written".into());
    Error::new(PROVIDER, Operation::PlaceOrder, kind).because(error)
}
