//! The parts of a certificate as the bytes that came (RFC 5280 §4.1).
//!
//! Signatures, key hashes, name chaining and renewal information all need original bytes, which a
//! parser into owned types does not keep.

use der::{
    Decode as _, Reader as _, SliceReader, Tag, Tagged as _,
    asn1::{AnyRef, BitStringRef, ObjectIdentifier},
};
use pkcs8::AlgorithmIdentifierRef;
use x509_cert::{
    ext::pkix::BasicConstraints,
    name::Name,
    time::{Time, Validity},
};

use super::{MAX_CERTIFICATE, unusable};
use crate::{
    digest::KeyHash,
    input::InputError,
    key::{PublicKey, SignatureError},
    text::VendorText,
    time::Timestamp,
};

/// Something signed, such as a certificate or a request (RFC 5280 §4.1.1, RFC 2986 §4.2).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signed<'a> {
    /// What the signature covers.
    pub(crate) content: &'a [u8],
    pub(crate) algorithm: AlgorithmIdentifierRef<'a>,
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    pub(crate) fn read(der: &'a [u8]) -> der::Result<Self> {
        let mut parts = elements(der)?;
        let signed = Self {
            content: tlv(&mut parts)?,
            algorithm: parts.decode()?,
            signature: whole_bytes(parts.decode()?)?,
        };
        parts.finish()?;
        Ok(signed)
    }

    pub(crate) fn verify(&self, key: &PublicKey<'_>) -> Result<(), SignatureError> {
        key.verify(&self.algorithm, self.content, self.signature)
    }
}

/// A certificate, split into its parts.
#[derive(Debug, Clone)]
pub(super) struct Raw<'a> {
    pub(super) der: &'a [u8],
    pub(super) signed: Signed<'a>,
    /// The content octets of the serial number, which a sign octet may open.
    pub(super) serial: &'a [u8],
    /// The issuer's name in DER.
    pub(super) issuer: &'a [u8],
    validity: &'a [u8],
    /// The subject's name in DER.
    pub(super) subject: &'a [u8],
    /// `SubjectPublicKeyInfo`.
    pub(super) public_key: &'a [u8],
    extensions: Vec<Extension<'a>>,
}

#[derive(Debug, Clone, Copy)]
struct Extension<'a> {
    id: ObjectIdentifier,
    value: &'a [u8],
}

impl<'a> Raw<'a> {
    /// Splits one certificate in DER.
    pub(super) fn read(der: &'a [u8]) -> Result<Self, InputError> {
        if der.len() > MAX_CERTIFICATE {
            return Err(unusable("it is larger than 64 KiB"));
        }
        Self::split(der).map_err(|_| unusable("it is not an X.509 certificate"))
    }

    fn split(der: &'a [u8]) -> der::Result<Self> {
        let signed = Signed::read(der)?;
        let mut parts = elements(signed.content)?;
        // The version is absent in version 1.
        if Tag::peek(&parts)?.is_context_specific() {
            parts.decode::<AnyRef<'_>>()?;
        }
        let serial: AnyRef<'_> = parts.decode()?;
        serial.tag().assert_eq(Tag::Integer)?;
        let algorithm: AlgorithmIdentifierRef<'_> = parts.decode()?;
        if algorithm != signed.algorithm {
            return Err(Tag::Sequence.value_error().into());
        }
        let mut raw = Self {
            der,
            signed,
            serial: serial.value(),
            issuer: sequence(&mut parts)?,
            validity: sequence(&mut parts)?,
            subject: sequence(&mut parts)?,
            public_key: sequence(&mut parts)?,
            extensions: Vec::new(),
        };
        while !parts.is_finished() {
            let part: AnyRef<'_> = parts.decode()?;
            if part.tag() == EXTENSIONS {
                raw.extensions = extensions(part.value())?;
            }
        }
        Ok(raw)
    }

    /// The content of an extension.
    ///
    /// # Errors
    ///
    /// If it is there twice, which RFC 5280 §4.2 forbids and which would let two readers disagree.
    pub(super) fn extension(&self, id: ObjectIdentifier) -> Result<Option<&'a [u8]>, InputError> {
        let mut found = self.extensions.iter().filter(|extension| extension.id == id);
        let first = found.next().map(|extension| extension.value);
        if found.next().is_some() {
            return Err(unusable(format!("its extension {id} is there twice")));
        }
        Ok(first)
    }

    /// An extension, decoded.
    pub(super) fn decoded<T: der::Decode<'a> + const_oid::AssociatedOid>(
        &self,
    ) -> Result<Option<T>, InputError> {
        let decode =
            |value| T::from_der(value).map_err(|_| unusable(format!("its extension {} is broken", T::OID)));
        self.extension(T::OID)?.map(decode).transpose()
    }

    /// First and last moment of the validity period, both included (RFC 5280 §4.1.2.5).
    pub(super) fn validity(&self) -> Result<(Timestamp, Timestamp), InputError> {
        let validity: Validity =
            Validity::from_der(self.validity).map_err(|_| unusable("its validity period is broken"))?;
        Ok((read_timestamp(validity.not_before), read_timestamp(validity.not_after)))
    }

    pub(super) fn key(&self) -> Result<PublicKey<'a>, InputError> {
        PublicKey::read(self.public_key).map_err(|_| unusable("its public key is broken"))
    }

    pub(super) fn key_hash(&self) -> KeyHash {
        KeyHash::of(self.public_key)
    }

    /// Whether it may sign certificates (RFC 5280 §4.2.1.9).
    pub(super) fn is_ca(&self) -> Result<bool, InputError> {
        Ok(self.decoded::<BasicConstraints>()?.is_some_and(|constraints| constraints.ca))
    }

    /// Whether subject and issuer have the same name.
    pub(super) fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }
}

const EXTENSIONS: Tag = Tag::ContextSpecific { constructed: true, number: der::TagNumber(3) };

fn extensions(der: &[u8]) -> der::Result<Vec<Extension<'_>>> {
    let mut list = elements(der)?;
    let mut extensions = Vec::new();
    while !list.is_finished() {
        let mut parts = elements(tlv(&mut list)?)?;
        let id = parts.decode()?;
        if Tag::peek(&parts)? == Tag::Boolean {
            parts.decode::<AnyRef<'_>>()?;
        }
        let value: AnyRef<'_> = parts.decode()?;
        value.tag().assert_eq(Tag::OctetString)?;
        parts.finish()?;
        extensions.push(Extension { id, value: value.value() });
    }
    Ok(extensions)
}

/// Reads over the elements of one SEQUENCE that fills `der`.
pub(crate) fn elements(der: &[u8]) -> der::Result<SliceReader<'_>> {
    let whole = AnyRef::from_der(der)?;
    whole.tag().assert_eq(Tag::Sequence)?;
    SliceReader::new(whole.value())
}

/// Takes the next element with its header, if it is a SEQUENCE.
fn sequence<'a>(reader: &mut SliceReader<'a>) -> der::Result<&'a [u8]> {
    Tag::peek(reader)?.assert_eq(Tag::Sequence)?;
    tlv(reader)
}

/// Takes the next element with its header.
fn tlv<'a>(reader: &mut SliceReader<'a>) -> der::Result<&'a [u8]> {
    reader.tlv_bytes()
}

fn whole_bytes(bits: BitStringRef<'_>) -> der::Result<&[u8]> {
    bits.as_bytes().ok_or_else(|| Tag::BitString.value_error().into())
}

/// A name as RFC 4514 writes it, safe to print.
pub(crate) fn name_text(der: &[u8]) -> der::Result<VendorText> {
    Ok(VendorText::new(&Name::from_der(der)?.to_string()))
}

/// A time in a certificate.
pub(crate) fn read_timestamp(time: Time) -> Timestamp {
    Timestamp::from_unix_seconds(i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX))
}
