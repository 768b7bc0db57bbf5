//! Signs certificates under an intermediate that two roots vouch for, so that there is an alternate chain.

use certlife_core::{Csr, Identifier, KeyAlgorithm};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm,
};
use rustls_pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};
use x509_cert::spki::SubjectPublicKeyInfoRef;

pub(crate) struct Issuer {
    /// The roots, and the certificate that each gave the intermediate.
    pub(crate) ways: Vec<(CertificateDer<'static>, String)>,
    signer: rcgen::Issuer<'static, KeyPair>,
}

impl Issuer {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let params = authority("Fake Intermediate");
        let ways = ["Fake Root One", "Fake Root Two"].map(|name| {
            let root_key = KeyPair::generate().unwrap();
            let root_params = authority(name);
            let root = root_params.self_signed(&root_key).unwrap().der().clone();
            let signer = rcgen::Issuer::new(root_params, root_key);
            (root, params.signed_by(&key, &signer).unwrap().pem())
        });
        Self { ways: ways.into(), signer: rcgen::Issuer::new(params, key) }
    }

    /// Issues for 90 days and returns the certificate alone.
    pub(crate) fn issue(&self, csr: &Csr, serial: u64, now: OffsetDateTime) -> String {
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from(serial));
        params.not_before = now - Duration::HOUR;
        params.not_after = now + Duration::days(90);
        params.distinguished_name = DistinguishedName::new();
        let name = |identifier: &Identifier| match identifier {
            Identifier::Ip(address) => SanType::IpAddress(*address),
            name => SanType::DnsName(name.to_string().try_into().unwrap()),
        };
        params.subject_alt_names = csr.identifiers().unwrap().iter().map(name).collect();
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.signed_by(&SubjectKey::read(csr), &self.signer).unwrap().pem()
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params
}

/// The public key of a request as rcgen takes it.
struct SubjectKey {
    bits: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
}

impl SubjectKey {
    fn read(csr: &Csr) -> Self {
        let algorithm = match csr.key_algorithm().unwrap() {
            KeyAlgorithm::EcdsaP256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyAlgorithm::EcdsaP384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            KeyAlgorithm::EcdsaP521 => &rcgen::PKCS_ECDSA_P521_SHA512,
            KeyAlgorithm::Ed25519 => &rcgen::PKCS_ED25519,
            _ => &rcgen::PKCS_RSA_SHA256,
        };
        let info = <SubjectPublicKeyInfoRef<'_> as der::Decode<'_>>::from_der(csr.public_key_der()).unwrap();
        Self { bits: info.subject_public_key.raw_bytes().to_vec(), algorithm }
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
