//! What a certificate says, in text and numbers that can be stored, listed and compared.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use const_oid::{
    ObjectIdentifier,
    db::{
        rfc5280::{
            ID_AD_CA_ISSUERS, ID_AD_OCSP, ID_CE_SUBJECT_ALT_NAME, ID_KP_CLIENT_AUTH, ID_KP_CODE_SIGNING,
            ID_KP_EMAIL_PROTECTION, ID_KP_OCSP_SIGNING, ID_KP_SERVER_AUTH, ID_KP_TIME_STAMPING,
        },
        rfc5912::ANY_EXTENDED_KEY_USAGE,
    },
};
use der::Decode as _;
use serde::{Deserialize, Serialize};
use x509_cert::ext::pkix::{
    AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, CrlDistributionPoints, ExtendedKeyUsage, KeyUsage,
    KeyUsages, SubjectKeyIdentifier,
    name::{DistributionPointName, GeneralName},
};

use super::{
    AltNames,
    raw::{Raw, name_text},
    unusable,
};
use crate::{
    digest::{Fingerprint, KeyHash, to_hex},
    input::InputError,
    key::{KeyAlgorithm, SignatureError},
    name::Identifier,
    text::VendorText,
    time::Timestamp,
};

/// What one certificate says. Serializes to a stable form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CertificateInfo {
    /// The subject's name, as RFC 4514 writes it, capped. Often empty.
    pub subject: VendorText,
    /// The issuer's name, as RFC 4514 writes it, capped.
    pub issuer: VendorText,
    /// The serial number in hexadecimal digits, without leading zero octets.
    pub serial: String,
    /// The first moment of the validity period.
    pub not_before: Timestamp,
    /// The last second of the validity period; it still counts (RFC 5280 §4.1.2.5).
    pub not_after: Timestamp,
    /// The subject alternative names that name hosts. The common name does not count (RFC 9525 §2).
    pub identifiers: BTreeSet<Identifier>,
    /// The other subject alternative names, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub other_names: Vec<VendorText>,
    /// The kind of key, if it is one that we make too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_algorithm: Option<KeyAlgorithm>,
    /// The kind of key as text: as [`key_algorithm`](Self::key_algorithm), `rsa-8192`, or an object identifier.
    pub key_description: String,
    /// Names the key pair.
    pub key_hash: KeyHash,
    /// Names the certificate.
    pub sha256: Fingerprint,
    /// SHA-1 of the certificate in hexadecimal digits, which Windows knows certificates by.
    pub sha1: String,
    /// The key identifier of the issuer, in hexadecimal digits (RFC 5280 §4.2.1.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority_key_id: Option<String>,
    /// The key identifier of the subject, in hexadecimal digits (RFC 5280 §4.2.1.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_key_id: Option<String>,
    /// Whether it may sign certificates.
    pub is_ca: bool,
    /// What the key may be used for, in the spelling of RFC 5280 §4.2.1.3, such as `digitalSignature`.
    pub key_usages: Vec<String>,
    /// What the certificate may be used for, as in RFC 5280 §4.2.1.12, such as `serverAuth`, or object identifiers.
    pub extended_key_usages: Vec<String>,
    /// Whether servers must staple an OCSP response (RFC 7633).
    pub must_staple: bool,
    /// Where revocation is asked after (OCSP).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ocsp_urls: Vec<VendorText>,
    /// Where revocation lists are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crl_urls: Vec<VendorText>,
    /// Where the issuer's certificate is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issuer_urls: Vec<VendorText>,
    /// Whether it is signed with its own key.
    pub self_signed: bool,
}

impl CertificateInfo {
    /// Reads one certificate in DER, of at most 64 KiB. Checks nothing but the form.
    ///
    /// # Errors
    ///
    /// [`InputError::Certificate`] if it is not a certificate.
    pub fn read(der: &[u8]) -> Result<Self, InputError> {
        let raw = Raw::read(der)?;
        let key = raw.key()?;
        let (not_before, not_after) = raw.validity()?;
        let names = alt_names(&raw)?;
        let text = |name| name_text(name).map_err(|_| unusable("one of its names is broken"));
        let access = Access::read(&raw);
        Ok(Self {
            subject: text(raw.subject)?,
            issuer: text(raw.issuer)?,
            serial: to_hex(
                raw.serial.strip_prefix(&[0]).filter(|rest| !rest.is_empty()).unwrap_or(raw.serial),
            ),
            not_before,
            not_after,
            identifiers: names.identifiers,
            other_names: names.others,
            key_algorithm: key.algorithm(),
            key_description: key.describe(),
            key_hash: raw.key_hash(),
            sha256: Fingerprint::of(der),
            sha1: to_hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, der).as_ref()),
            authority_key_id: authority_key_id(&raw)?.map(|id| to_hex(&id)),
            subject_key_id: raw.decoded::<SubjectKeyIdentifier>()?.map(|id| to_hex(id.0.as_bytes())),
            is_ca: raw.is_ca()?,
            key_usages: raw.decoded()?.map(key_usages).unwrap_or_default(),
            extended_key_usages: raw.decoded()?.map(|usage| extended_key_usages(&usage)).unwrap_or_default(),
            must_staple: must_staple(raw.extension(TLS_FEATURE)?),
            ocsp_urls: access.ocsp,
            crl_urls: crl_urls(&raw),
            issuer_urls: access.issuers,
            // A signature that we cannot verify is taken on trust here: nothing is decided by it.
            self_signed: raw.is_self_issued() && raw.signed.verify(&key) != Err(SignatureError::Wrong),
        })
    }

    /// Whether `now` lies within the validity period.
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.not_before <= now && now.unix_seconds() <= self.not_after.unix_seconds()
    }
}

/// The id of a certificate in renewal information: `base64url(AKI) "." base64url(serial)` with the
/// content octets of both as they stand in the certificate (RFC 9773 §4.1).
///
/// # Errors
///
/// [`InputError::Certificate`] if `der` is not a certificate or lacks an authority key identifier.
pub fn ari_certificate_id(der: &[u8]) -> Result<String, InputError> {
    let raw = Raw::read(der)?;
    let authority = authority_key_id(&raw)?.ok_or_else(|| unusable("it has no authority key identifier"))?;
    Ok(format!("{}.{}", URL_SAFE_NO_PAD.encode(authority), URL_SAFE_NO_PAD.encode(raw.serial)))
}

pub(super) fn alt_names(raw: &Raw<'_>) -> Result<AltNames, InputError> {
    let names = raw.extension(ID_CE_SUBJECT_ALT_NAME)?.map(AltNames::read).transpose();
    Ok(names.map_err(|_| unusable("its subject alternative names are broken"))?.unwrap_or_default())
}

pub(super) fn authority_key_id(raw: &Raw<'_>) -> Result<Option<Vec<u8>>, InputError> {
    let authority = raw.decoded::<AuthorityKeyIdentifier>()?.and_then(|authority| authority.key_identifier);
    Ok(authority.map(|id| id.as_bytes().to_vec()))
}

/// `id-pe-tlsfeature` (RFC 7633 §4).
pub(crate) const TLS_FEATURE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.24");
/// `status_request`, the TLS extension that carries a stapled response (RFC 6066 §8).
pub(crate) const STATUS_REQUEST: u16 = 5;

/// Whether a TLS feature extension asks for `status_request`.
pub(crate) fn must_staple(tls_feature: Option<&[u8]>) -> bool {
    tls_feature
        .and_then(|value| Vec::<u16>::from_der(value).ok())
        .is_some_and(|features| features.contains(&STATUS_REQUEST))
}

fn key_usages(usage: KeyUsage) -> Vec<String> {
    let names = [
        (KeyUsages::DigitalSignature, "digitalSignature"),
        (KeyUsages::NonRepudiation, "nonRepudiation"),
        (KeyUsages::KeyEncipherment, "keyEncipherment"),
        (KeyUsages::DataEncipherment, "dataEncipherment"),
        (KeyUsages::KeyAgreement, "keyAgreement"),
        (KeyUsages::KeyCertSign, "keyCertSign"),
        (KeyUsages::CRLSign, "cRLSign"),
        (KeyUsages::EncipherOnly, "encipherOnly"),
        (KeyUsages::DecipherOnly, "decipherOnly"),
    ];
    names.into_iter().filter(|(flag, _)| usage.0.contains(*flag)).map(|(_, name)| name.to_owned()).collect()
}

fn extended_key_usages(usage: &ExtendedKeyUsage) -> Vec<String> {
    let name = |id: &ObjectIdentifier| match *id {
        ID_KP_SERVER_AUTH => "serverAuth".to_owned(),
        ID_KP_CLIENT_AUTH => "clientAuth".to_owned(),
        ID_KP_CODE_SIGNING => "codeSigning".to_owned(),
        ID_KP_EMAIL_PROTECTION => "emailProtection".to_owned(),
        ID_KP_TIME_STAMPING => "timeStamping".to_owned(),
        ID_KP_OCSP_SIGNING => "OCSPSigning".to_owned(),
        ANY_EXTENDED_KEY_USAGE => "anyExtendedKeyUsage".to_owned(),
        other => other.to_string(),
    };
    usage.0.iter().map(name).collect()
}

/// Authority information access (RFC 5280 §4.2.2.1). One that is broken counts as none: it is only shown.
#[derive(Default)]
struct Access {
    ocsp: Vec<VendorText>,
    issuers: Vec<VendorText>,
}

impl Access {
    fn read(raw: &Raw<'_>) -> Self {
        let mut access = Self::default();
        let descriptions = raw.decoded::<AuthorityInfoAccessSyntax>().ok().flatten();
        for description in descriptions.into_iter().flat_map(|descriptions| descriptions.0) {
            let urls = match description.access_method {
                ID_AD_OCSP => &mut access.ocsp,
                ID_AD_CA_ISSUERS => &mut access.issuers,
                _ => continue,
            };
            urls.extend(url(&description.access_location));
        }
        access
    }
}

/// CRL distribution points (RFC 5280 §4.2.1.13), like [`Access`].
fn crl_urls(raw: &Raw<'_>) -> Vec<VendorText> {
    let points = raw.decoded::<CrlDistributionPoints>().ok().flatten();
    let names =
        points.into_iter().flat_map(|points| points.0).filter_map(|point| match point.distribution_point? {
            DistributionPointName::FullName(names) => Some(names),
            DistributionPointName::NameRelativeToCRLIssuer(_) => None,
        });
    names.flatten().filter_map(|name| url(&name)).collect()
}

fn url(name: &GeneralName) -> Option<VendorText> {
    match name {
        GeneralName::UniformResourceIdentifier(url) => Some(VendorText::new(url.as_str())),
        _ => None,
    }
}
