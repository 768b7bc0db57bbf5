//! Signs certificates with keys that live as long as the process, for the authority in memory and for fakes.

use std::{collections::BTreeSet, net::IpAddr};

use certlife_core::{Chain, Csr, Identifier, InputError, KeyAlgorithm, Timestamp};
use der::Decode as _;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use rustls_pki_types::CertificateDer;
use x509_cert::spki::SubjectPublicKeyInfoRef;

/// A root, an intermediate and the key of the intermediate, all on P-256.
pub struct Issuer {
    root: CertificateDer<'static>,
    root_pem: String,
    intermediate: CertificateDer<'static>,
    signer: rcgen::Issuer<'static, KeyPair>,
}

/// What a certificate will say.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "fakes build it")]
pub struct Template<'a> {
    /// The request, for its key.
    pub csr: &'a Csr,
    /// The names.
    pub identifiers: &'a [Identifier],
    /// The serial number: positive, and of full length, if the first octet is 0x40 to 0x7f.
    pub serial: [u8; 16],
    /// The first moment of the validity period.
    pub not_before: Timestamp,
    /// The last second of the validity period.
    pub not_after: Timestamp,
}

impl Issuer {
    /// Makes the authority, whose own certificates outlast every test.
    #[expect(clippy::expect_used, reason = "a test authority has nobody to report to")]
    #[expect(clippy::missing_panics_doc, reason = "it panics only without randomness")]
    pub fn new(name: &str) -> Self {
        let key = || KeyPair::generate().expect("the system has randomness");
        let (root_key, key) = (key(), key());
        let root_params = authority(&format!("{name} root"));
        let root = root_params.self_signed(&root_key).expect("the root is well-formed");
        let params = authority(&format!("{name} intermediate"));
        let root_signer = rcgen::Issuer::new(root_params, root_key);
        let intermediate = params.signed_by(&key, &root_signer).expect("the intermediate is well-formed");
        Self {
            root_pem: root.pem(),
            root: root.der().clone(),
            intermediate: intermediate.der().clone(),
            signer: rcgen::Issuer::new(params, key),
        }
    }

    /// The root in DER.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// The root in PEM.
    pub fn root_pem(&self) -> String {
        self.root_pem.clone()
    }

    /// A text that nothing may print.
    #[cfg(test)]
    pub(super) fn secret(&self) -> String {
        self.signer.key().serialize_pem().lines().nth(1).unwrap_or_default().to_owned()
    }

    /// Issues a certificate; the chain ends with the intermediate.
    ///
    /// # Errors
    ///
    /// If key or names of the request cannot be certified.
    pub fn issue(&self, template: &Template<'_>) -> Result<Chain, InputError> {
        let broken = |_| InputError::Csr { rule: "its key or names cannot be certified".into() };
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from_slice(&template.serial));
        params.not_before = template.not_before.to_utc();
        params.not_after = template.not_after.to_utc();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.subject_alt_names = alt_names(template.identifiers).map_err(broken)?;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if template.csr.must_staple() {
            // `status_request`, RFC 7633 §4.
            let feature =
                CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], vec![0x30, 3, 2, 1, 5]);
            params.custom_extensions.push(feature);
        }
        let key = SubjectKey::read(template.csr)?;
        let certificate = params.signed_by(&key, &self.signer).map_err(broken)?;
        Chain::from_ders([certificate.der().to_vec(), self.intermediate.to_vec()])
    }
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").finish_non_exhaustive()
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params.not_before = date_time_ymd(1990, 1, 1);
    params.not_after = date_time_ymd(9999, 12, 31);
    params
}

/// The names without repetition, in the order that they were given.
fn alt_names(identifiers: &[Identifier]) -> Result<Vec<SanType>, rcgen::Error> {
    let mut seen = BTreeSet::new();
    let name = |identifier: &Identifier| match identifier {
        Identifier::Ip(address) => Ok(SanType::IpAddress(IpAddr::to_canonical(address))),
        name => name.to_string().try_into().map(SanType::DnsName),
    };
    identifiers.iter().filter(|identifier| seen.insert(*identifier)).map(name).collect()
}

/// The public key of a request as rcgen takes it.
pub(crate) struct SubjectKey {
    bits: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
}

impl SubjectKey {
    pub(crate) fn read(csr: &Csr) -> Result<Self, InputError> {
        let broken = || InputError::Csr { rule: "its key is of a kind that is not certified here".into() };
        let algorithm = match csr.key_algorithm().ok_or_else(broken)? {
            KeyAlgorithm::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyAlgorithm::EcdsaP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyAlgorithm::EcdsaP521 => &rcgen::PKCS_ECDSA_P521_SHA512,
            KeyAlgorithm::Ed25519 => &rcgen::PKCS_ED25519,
            algorithm if algorithm.is_rsa() => &rcgen::PKCS_RSA_SHA256,
            _ => return Err(broken()),
        };
        let info = SubjectPublicKeyInfoRef::from_der(csr.public_key_der()).map_err(|_| broken())?;
        Ok(Self { bits: info.subject_public_key.raw_bytes().to_vec(), algorithm })
    }
}

impl PublicKeyData for SubjectKey {
    fn der_bytes(&self) -> &[u8] {
        &self.bits
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}
