//! Certificate signing requests (RFC 2986): made here from a [`CsrTemplate`], or brought along.
//!
//! What is brought along is kept as it came and checked once: form, size, and that whoever made it
//! holds the private key.

mod template;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, fmt, sync::Arc};

use const_oid::{
    ObjectIdentifier,
    db::{rfc4519::COMMON_NAME, rfc5280::ID_CE_SUBJECT_ALT_NAME, rfc5912::ID_EXTENSION_REQ},
};
use der::{Decode as _, Reader as _, SliceReader, Tag, Tagged as _, asn1::AnyRef};
use serde::{Deserialize, Serialize};
use x509_cert::{
    ext::{Extension, pkix::name::DirectoryString},
    name::Name,
};

pub use self::template::{CsrTemplate, SubjectAttribute};
use crate::{
    digest::KeyHash,
    input::InputError,
    key::{KeyAlgorithm, PrivateKey, PublicKey, SignatureError},
    name::Identifier,
    pem,
    text::VendorText,
    x509::{AltNames, Signed, TLS_FEATURE, elements, must_staple},
};

/// A certificate signing request whose signature holds. Cloning shares it.
///
/// In serde it is PEM; reading it back checks it again.
#[derive(Clone)]
pub struct Csr(Arc<Inner>);

struct Inner {
    der: Vec<u8>,
    public_key: Vec<u8>,
    algorithm: Option<KeyAlgorithm>,
    subject: VendorText,
    common_name: Option<String>,
    names: AltNames,
    must_staple: bool,
}

impl Csr {
    /// The largest request that is read; one with a hundred names and RSA-4096 has some 5 kB.
    const MAX_DER: usize = 64 * 1_024;

    /// Reads the one request in a PEM text, under the usual label or the older `NEW CERTIFICATE REQUEST`.
    ///
    /// # Errors
    ///
    /// [`InputError::Csr`] names the rule: exactly one request, at most 64 KiB, well-formed, RSA of at
    /// least 2048 bits, P-256, P-384, P-521 or Ed25519, and signed with its own key and at least SHA-256.
    pub fn from_pem(text: &str) -> Result<Self, InputError> {
        if text.len() > 2 * Self::MAX_DER {
            return Err(unusable("it is larger than 64 KiB"));
        }
        let blocks = pem::blocks(text).map_err(unusable)?;
        let is_request = |label| matches!(label, "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST");
        let mut requests = blocks.iter().filter(|block| is_request(block.label));
        let request =
            requests.next().ok_or_else(|| unusable("the text holds no certificate signing request"))?;
        if requests.next().is_some() {
            return Err(unusable("the text holds more than one certificate signing request"));
        }
        Self::from_der(&request.der)
    }

    /// As [`from_pem`](Self::from_pem), from DER.
    ///
    /// # Errors
    ///
    /// As [`from_pem`](Self::from_pem).
    pub fn from_der(der: &[u8]) -> Result<Self, InputError> {
        if der.len() > Self::MAX_DER {
            return Err(unusable("it is larger than 64 KiB"));
        }
        let malformed = |_| unusable("it is not a PKCS#10 request");
        let signed = Signed::read(der).map_err(malformed)?;
        let parts = Parts::read(signed.content).map_err(malformed)?;
        let key = PublicKey::read(parts.public_key).map_err(|_| unusable("its public key is broken"))?;
        signed.verify(&key).map_err(|error| match error {
            SignatureError::Wrong => unusable("it is not signed with its own key, or was changed"),
            SignatureError::RsaSize(bits) => {
                unusable(format!("an RSA key has 2048 to 8192 bits; it has {bits}"))
            }
            SignatureError::Unsupported(algorithm) => {
                unusable(format!("its key or its signature ({algorithm}) is of a kind that is not supported"))
            }
        })?;
        let extensions = Extensions::read(&parts)?;
        let name = Name::from_der(parts.subject).map_err(|_| unusable("its subject is broken"))?;
        Ok(Self(Arc::new(Inner {
            der: der.to_vec(),
            public_key: parts.public_key.to_vec(),
            algorithm: key.algorithm(),
            subject: VendorText::new(&name.to_string()),
            common_name: common_name(&name)?,
            names: extensions.names,
            must_staple: extensions.must_staple,
        })))
    }

    /// The request as it came, in DER.
    pub fn der(&self) -> &[u8] {
        &self.0.der
    }

    /// The request in PEM.
    pub fn pem(&self) -> String {
        pem::encode("CERTIFICATE REQUEST", &self.0.der)
    }

    /// The public key as `SubjectPublicKeyInfo` in DER.
    pub fn public_key_der(&self) -> &[u8] {
        &self.0.public_key
    }

    /// Names the key pair.
    pub fn public_key_hash(&self) -> KeyHash {
        KeyHash::of(&self.0.public_key)
    }

    /// The kind of key; none if it is one that we take but do not make, such as RSA with 8192 bits.
    pub fn key_algorithm(&self) -> Option<KeyAlgorithm> {
        self.0.algorithm
    }

    /// The subject as RFC 4514 writes it, capped. Often empty.
    pub fn subject(&self) -> &VendorText {
        &self.0.subject
    }

    /// Whether it asks that servers must staple an OCSP response (RFC 7633).
    pub fn must_staple(&self) -> bool {
        self.0.must_staple
    }

    /// The identifiers that it asks for: subject alternative names, and the common name if it is a host
    /// name or address. Another common name, such as a person's, only counts as an error if it is alone.
    ///
    /// # Errors
    ///
    /// [`InputError::Csr`] if it asks for names of other kinds, such as e-mail addresses, for malformed
    /// ones, or for none.
    pub fn identifiers(&self) -> Result<BTreeSet<Identifier>, InputError> {
        if let Some(other) = self.0.names.others.first() {
            return Err(unusable(format!("it asks for {other}, which is neither host name nor address")));
        }
        let mut identifiers = self.0.names.identifiers.clone();
        match self.0.common_name.as_deref().map(str::parse) {
            Some(Ok(identifier)) => _ = identifiers.insert(identifier),
            Some(Err(error)) if identifiers.is_empty() => {
                let error: InputError = error;
                return Err(unusable(format!("its only name is not usable: {error}")));
            }
            Some(Err(_)) | None => {}
        }
        if identifiers.is_empty() {
            return Err(unusable("it names no identifier"));
        }
        Ok(identifiers)
    }

    /// Checks that it asks for exactly `identifiers`, and is for `key` if one is given.
    ///
    /// # Errors
    ///
    /// [`InputError::Csr`] names the identifiers that are missing and those that are too many, or says
    /// that the key is another.
    pub fn check_against(
        &self,
        identifiers: &BTreeSet<Identifier>,
        key: Option<&PrivateKey>,
    ) -> Result<(), InputError> {
        let asked = self.identifiers()?;
        let list = |names: Vec<String>| names.join(", ");
        let missing = list(identifiers.difference(&asked).map(ToString::to_string).collect());
        let extra = list(asked.difference(identifiers).map(ToString::to_string).collect());
        match (missing.as_str(), extra.as_str()) {
            ("", "") => {}
            (missing, "") => return Err(unusable(format!("it lacks {missing}"))),
            ("", extra) => return Err(unusable(format!("it also asks for {extra}"))),
            (missing, extra) => {
                return Err(unusable(format!("it lacks {missing} and also asks for {extra}")));
            }
        }
        match key {
            Some(key) if key.public_key_der() != self.public_key_der() => Err(unusable(format!(
                "it is for another key: wanted {}, found {}",
                key.public_key_hash(),
                self.public_key_hash()
            ))),
            _ => Ok(()),
        }
    }
}

impl PartialEq for Csr {
    fn eq(&self, other: &Self) -> bool {
        self.0.der == other.0.der
    }
}

impl Eq for Csr {}

impl fmt::Debug for Csr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Csr({:?}, key {})", self.0.subject, self.public_key_hash())
    }
}

impl Serialize for Csr {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.pem())
    }
}

impl<'de> Deserialize<'de> for Csr {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_pem(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// `CertificationRequestInfo` (RFC 2986 §4.1).
struct Parts<'a> {
    subject: &'a [u8],
    public_key: &'a [u8],
    /// The content of the SET; empty if it is left out, as some tools do against the RFC.
    attributes: &'a [u8],
}

impl<'a> Parts<'a> {
    fn read(der: &'a [u8]) -> der::Result<Self> {
        let mut parts = elements(der)?;
        parts.decode::<AnyRef<'_>>()?.tag().assert_eq(Tag::Integer)?;
        let subject = parts.tlv_bytes()?;
        let public_key = parts.tlv_bytes()?;
        let attributes = if parts.is_finished() { &[] } else { parts.decode::<AnyRef<'_>>()?.value() };
        parts.finish()?;
        Ok(Self { subject, public_key, attributes })
    }

    /// The contents of the extension requests.
    fn extension_requests(&self) -> der::Result<Vec<Extension>> {
        let mut extensions = Vec::new();
        let mut attributes = SliceReader::new(self.attributes)?;
        while !attributes.is_finished() {
            let mut attribute = elements(attributes.tlv_bytes()?)?;
            let id: ObjectIdentifier = attribute.decode()?;
            let values: AnyRef<'_> = attribute.decode()?;
            if id == ID_EXTENSION_REQ || id == MICROSOFT_EXTENSION_REQ {
                extensions.extend(Vec::<Extension>::from_der(values.value())?);
            }
        }
        Ok(extensions)
    }
}

/// `szOID_CERT_EXTENSIONS`, which older Windows writes in place of PKCS#9's extension request
/// (MS-WCCE §2.2.2.7.4).
const MICROSOFT_EXTENSION_REQ: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.14");

struct Extensions {
    names: AltNames,
    must_staple: bool,
}

impl Extensions {
    fn read(parts: &Parts<'_>) -> Result<Self, InputError> {
        let requested = parts.extension_requests().map_err(|_| unusable("its attributes are broken"))?;
        let find = |id| {
            let mut found = requested.iter().filter(|extension| extension.extn_id == id);
            let first = found.next().map(|extension| extension.extn_value.as_bytes());
            // Two readers could pick different ones.
            if found.next().is_some() {
                Err(unusable(format!("extension {id} is there twice")))
            } else {
                Ok(first)
            }
        };
        let names = find(ID_CE_SUBJECT_ALT_NAME)?.map(AltNames::read).transpose();
        let names = names.map_err(|_| unusable("its subject alternative names are broken"))?;
        Ok(Self { names: names.unwrap_or_default(), must_staple: must_staple(find(TLS_FEATURE)?) })
    }
}

fn common_name(name: &Name) -> Result<Option<String>, InputError> {
    let mut found = name.iter().filter(|attribute| attribute.oid == COMMON_NAME);
    let Some(attribute) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(unusable("its subject has more than one common name"));
    }
    let text =
        attribute.value.decode_as::<DirectoryString>().map_err(|_| unusable("its common name is broken"))?;
    Ok(Some(text.value().into_owned()))
}

fn unusable(rule: impl Into<std::borrow::Cow<'static, str>>) -> InputError {
    InputError::Csr { rule: rule.into() }
}
