//! Makes certificate signing requests.

use std::collections::BTreeSet;

use const_oid::{
    ObjectIdentifier,
    db::{
        rfc4519::{
            COMMON_NAME, COUNTRY_NAME, LOCALITY_NAME, ORGANIZATION_NAME, ORGANIZATIONAL_UNIT_NAME, ST,
        },
        rfc5912::{ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ECDSA_WITH_SHA_512, SHA_256_WITH_RSA_ENCRYPTION},
        rfc8410::ID_ED_25519,
    },
};
use der::{
    Decode as _, Encode as _,
    asn1::{Any, BitString, Ia5String, OctetString, PrintableStringRef, SetOfVec, Utf8StringRef},
};
use pkcs8::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use x509_cert::{
    attr::AttributeTypeAndValue,
    ext::{
        Extension, ToExtension as _,
        pkix::{SubjectAltName, name::GeneralName},
    },
    name::{Name, RdnSequence, RelativeDistinguishedName},
    request::{CertReq, CertReqInfo, ExtensionReq, Version},
};

use super::{Csr, unusable};
use crate::{
    error::{Error, Operation, Result},
    input::InputError,
    key::{KeyAlgorithm, PrivateKey},
    name::Identifier,
    x509::{STATUS_REQUEST, TLS_FEATURE},
};

/// What a certificate signing request asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct CsrTemplate {
    /// The identifiers, as subject alternative names.
    pub identifiers: BTreeSet<Identifier>,
    /// Becomes the subject's common name too, and an identifier if it is not one already. Public CAs
    /// ignore or discourage it (Baseline Requirements §7.1.4.3). Defaults to none.
    pub common_name: Option<Identifier>,
    /// The other attributes of the subject, in this order; an attribute may repeat. Defaults to none.
    pub subject: Vec<SubjectAttribute>,
    /// Asks for a certificate that is good only with a stapled OCSP response (RFC 7633). Defaults to no.
    pub must_staple: bool,
}

/// One attribute of a subject (RFC 5280 §4.1.2.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SubjectAttribute {
    /// C: two letters (ISO 3166-1).
    Country(String),
    /// ST.
    StateOrProvince(String),
    /// L.
    Locality(String),
    /// O.
    Organization(String),
    /// OU. Public CAs no longer take it (Baseline Requirements §7.1.4.3).
    OrganizationalUnit(String),
}

impl CsrTemplate {
    /// Asks for these identifiers and nothing else.
    pub fn new(identifiers: impl IntoIterator<Item = Identifier>) -> Self {
        Self { identifiers: identifiers.into_iter().collect(), ..Self::default() }
    }

    /// Signs the request with `key`.
    ///
    /// # Errors
    ///
    /// [`InputError::NoIdentifiers`], [`InputError::Csr`] if an attribute is empty or longer than RFC 5280
    /// appendix A.1 allows, and [`ErrorKind::Crypto`](crate::ErrorKind::Crypto).
    pub fn sign(&self, key: &PrivateKey) -> Result<Csr> {
        let info = self.info(key).map_err(|error| Error::input(Operation::MakeKey, error))?;
        let broken = |_: der::Error| Error::input(Operation::MakeKey, unusable("it cannot be encoded"));
        let signature = key.sign(&info.to_der().map_err(broken)?)?;
        let request = CertReq {
            info,
            algorithm: signature_algorithm(key.algorithm()),
            signature: BitString::from_bytes(&signature).map_err(broken)?,
        };
        Csr::from_der(&request.to_der().map_err(broken)?)
            .map_err(|error| Error::input(Operation::MakeKey, error))
    }

    fn info(&self, key: &PrivateKey) -> Result<CertReqInfo, InputError> {
        let identifiers: BTreeSet<_> = self.identifiers.iter().chain(&self.common_name).collect();
        if identifiers.is_empty() {
            return Err(InputError::NoIdentifiers);
        }
        let subject = self.subject()?;
        let encode = || -> der::Result<CertReqInfo> {
            let mut extensions = vec![alt_names(&identifiers)?.to_extension(&subject, &[])?];
            if self.must_staple {
                let features = OctetString::new(vec![STATUS_REQUEST].to_der()?)?;
                extensions.push(Extension { extn_id: TLS_FEATURE, critical: false, extn_value: features });
            }
            let mut attributes = SetOfVec::new();
            attributes.insert(ExtensionReq(extensions).try_into()?)?;
            Ok(CertReqInfo {
                version: Version::V1,
                subject: subject.clone(),
                public_key: SubjectPublicKeyInfoOwned::from_der(key.public_key_der())?,
                attributes,
            })
        };
        encode().map_err(|_| unusable("it cannot be encoded"))
    }

    fn subject(&self) -> Result<Name, InputError> {
        let common_name = self.common_name.as_ref().map(ToString::to_string);
        // ub-common-name (RFC 5280, appendix A.1).
        let common_name = common_name.as_deref().map(|name| (COMMON_NAME, name, "common_name", 64));
        let mut names = RdnSequence::default();
        for (id, value, field, most) in self.subject.iter().map(SubjectAttribute::parts).chain(common_name) {
            let is_country = id == COUNTRY_NAME;
            if is_country && !(value.len() == 2 && value.bytes().all(|byte| byte.is_ascii_alphabetic())) {
                return Err(unusable("country has two letters"));
            }
            let fits = !value.trim().is_empty() && value.chars().count() <= most;
            if !fits || value.chars().any(char::is_control) {
                return Err(unusable(format!("{field} has 1 to {most} printable characters")));
            }
            let name = attribute(id, value, is_country);
            names.push(name.map_err(|_| unusable(format!("{field} cannot be encoded")))?);
        }
        let encoded = names.to_der().and_then(|der| Name::from_der(&der));
        encoded.map_err(|_| unusable("its subject cannot be encoded"))
    }
}

/// A name of one attribute: a `PrintableString` for countries, which X.520 §6.3.1 wants, otherwise UTF-8.
fn attribute(id: ObjectIdentifier, value: &str, printable: bool) -> der::Result<RelativeDistinguishedName> {
    let value = if printable {
        Any::encode_from(&PrintableStringRef::new(&value.to_ascii_uppercase())?)?
    } else {
        Any::encode_from(&Utf8StringRef::new(value)?)?
    };
    Ok(SetOfVec::try_from([AttributeTypeAndValue { oid: id, value }])?.into())
}

fn alt_names(identifiers: &BTreeSet<&Identifier>) -> der::Result<SubjectAltName> {
    let name = |identifier: &&Identifier| match identifier {
        Identifier::Ip(address) => Ok(GeneralName::from(*address)),
        Identifier::Dns(_) | Identifier::Wildcard(_) => {
            Ia5String::new(&identifier.to_string()).map(GeneralName::DnsName)
        }
    };
    identifiers.iter().map(name).collect::<der::Result<_>>().map(SubjectAltName)
}

/// What [`PrivateKey::sign`] signs with (RFC 5754 §3, RFC 8410 §3). Only RSA has a parameter.
fn signature_algorithm(algorithm: KeyAlgorithm) -> AlgorithmIdentifierOwned {
    let (oid, parameters) = match algorithm {
        KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => {
            (SHA_256_WITH_RSA_ENCRYPTION, Some(Any::null()))
        }
        KeyAlgorithm::EcdsaP256 => (ECDSA_WITH_SHA_256, None),
        KeyAlgorithm::EcdsaP384 => (ECDSA_WITH_SHA_384, None),
        KeyAlgorithm::EcdsaP521 => (ECDSA_WITH_SHA_512, None),
        KeyAlgorithm::Ed25519 => (ID_ED_25519, None),
    };
    AlgorithmIdentifierOwned { oid, parameters }
}

impl SubjectAttribute {
    /// Type, value, name in messages, and the upper bound of RFC 5280, appendix A.1.
    fn parts(&self) -> (ObjectIdentifier, &str, &'static str, usize) {
        match self {
            Self::Country(value) => (COUNTRY_NAME, value, "country", 2),
            Self::StateOrProvince(value) => (ST, value, "state_or_province", 128),
            Self::Locality(value) => (LOCALITY_NAME, value, "locality", 128),
            Self::Organization(value) => (ORGANIZATION_NAME, value, "organization", 64),
            Self::OrganizationalUnit(value) => (ORGANIZATIONAL_UNIT_NAME, value, "organizational_unit", 64),
        }
    }
}
