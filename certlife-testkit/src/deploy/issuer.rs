//! Certificates to test with.

use std::{
    fmt,
    sync::atomic::{AtomicU32, Ordering},
};

use certlife_core::{
    CertificateId, Chain, Csr, Identifier, KeyAlgorithm, PrivateKey, Timestamp, VersionId,
    challenge::TlsAlpnResponse, deploy::Bundle,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::ca::SubjectKey;

/// A private CA with a root and an intermediate, which issues whatever a test asks for.
pub struct Issuer {
    intermediate: CertifiedIssuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    issued: AtomicU32,
}

impl Issuer {
    /// Makes root and intermediate.
    ///
    /// # Panics
    ///
    /// If the cryptographic library fails.
    pub fn new() -> Self {
        let root = CertifiedIssuer::self_signed(ca("Test Root"), key_pair()).expect("a root");
        let intermediate =
            CertifiedIssuer::signed_by(ca("Test Intermediate"), key_pair(), &root).expect("an intermediate");
        Self { intermediate, root: root.der().clone(), issued: AtomicU32::new(0) }
    }

    /// The root, which clients trust and chains leave out.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// Issues the next version of `certificate`, with a P-256 key of its own. Later versions have greater ids.
    ///
    /// # Panics
    ///
    /// If no such certificate can be made.
    pub fn bundle(&self, certificate: &CertificateId, identifiers: &[Identifier]) -> Bundle {
        self.bundle_with(certificate, identifiers, KeyAlgorithm::EcdsaP256)
    }

    /// As [`bundle`](Self::bundle), with a key of this kind.
    ///
    /// # Panics
    ///
    /// If no such certificate can be made.
    pub fn bundle_with(
        &self,
        certificate: &CertificateId,
        identifiers: &[Identifier],
        algorithm: KeyAlgorithm,
    ) -> Bundle {
        let key = PrivateKey::generate(algorithm).expect("a key");
        let pkcs8 = key.to_pkcs8_der().expect("a key encodes");
        let pair = KeyPair::try_from(&PrivatePkcs8KeyDer::from(pkcs8.expose())).expect("the key reads back");
        let leaf = leaf_params(identifiers).signed_by(&pair, &self.intermediate).expect("a leaf");
        self.next(certificate, identifiers, leaf.der(), Some(key))
    }

    /// Issues the next version for the key of a signing request, which is not in the bundle.
    ///
    /// # Panics
    ///
    /// If no such certificate can be made.
    pub fn bundle_for(&self, certificate: &CertificateId, identifiers: &[Identifier], csr: &Csr) -> Bundle {
        let key = SubjectKey::read(csr).expect("a key that can be certified");
        let leaf = leaf_params(identifiers).signed_by(&key, &self.intermediate).expect("a leaf");
        self.next(certificate, identifiers, leaf.der(), None)
    }

    fn next(
        &self,
        certificate: &CertificateId,
        identifiers: &[Identifier],
        leaf: &CertificateDer<'_>,
        key: Option<PrivateKey>,
    ) -> Bundle {
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        let ders = [leaf.to_vec(), self.intermediate.der().to_vec()];
        Bundle {
            certificate: certificate.clone(),
            version: version_id(number),
            identifiers: identifiers.to_vec(),
            chain: Chain::from_ders(ders).expect("leaf and intermediate are a chain"),
            key,
            replaces: None,
        }
    }
}

impl Default for Issuer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("issued", &self.issued).finish_non_exhaustive()
    }
}

/// Makes the certificate that answers a `tls-alpn-01` challenge (RFC 8737 §3).
pub(super) fn challenge_certificate(response: &TlsAlpnResponse) -> CertificateDer<'static> {
    let mut params = leaf_params(std::slice::from_ref(&response.identifier));
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&response.digest)];
    params.self_signed(&key_pair()).expect("a self-signed certificate").der().clone()
}

fn leaf_params(identifiers: &[Identifier]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = identifiers
        .iter()
        .map(|identifier| match identifier {
            Identifier::Ip(address) => SanType::IpAddress(*address),
            name => SanType::DnsName(name.to_string().try_into().expect("identifiers are ASCII")),
        })
        .collect();
    params.distinguished_name.push(DnType::CommonName, "test");
    params.use_authority_key_identifier_extension = true;
    params
}

fn ca(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn key_pair() -> KeyPair {
    KeyPair::generate().expect("a key")
}

/// An id that says its place in the order of versions.
fn version_id(number: u32) -> VersionId {
    let [a, b, c, d] = number.to_be_bytes();
    let moment = Timestamp::from_unix_seconds(1_800_000_000 + i64::from(number));
    VersionId::new(moment, [0, 0, 0, 0, 0, 0, a, b, c, d])
}
