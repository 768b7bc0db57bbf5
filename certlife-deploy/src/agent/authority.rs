//! The hub's own small CA: it certifies its agents for short times, and the hub itself to them.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ::rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use certlife_core::{
    AccountName, CertificateInfo, Clock, Csr, Error, ErrorKind, Fingerprint, Identifier, KeyAlgorithm,
    Operation, Result, SecretBytes, Timestamp, Vault,
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm,
};
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};

use super::{
    AGENT,
    record::{Issued, TokenHash},
};

const ENTRY: &str = "authority";
/// As long as a hub lives; a new one means inviting every agent again.
const LIFETIME: Duration = Duration::from_hours(24 * 365 * 20);
/// Clocks of agents may be behind by this much.
const BACKDATE: Duration = Duration::from_hours(24);
/// How long the hub's own certificate lasts. It is made anew in memory, at two thirds of that.
const SERVER_LIFETIME: Duration = Duration::from_hours(24 * 30);
/// What comes before the point in the `SubjectPublicKeyInfo` of a P-256 key (RFC 5480 §2).
const P256_PREFIX: usize = 26;
const P256_POINT: usize = 65;

/// A CA on P-256 whose key lives sealed in the hub's vault.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
    fingerprint: Fingerprint,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    certificate: String,
    key: String,
}

impl Authority {
    /// Opens the CA of this vault, or founds it. Of several hosts that found it at once, one does.
    pub(super) async fn open(vault: &Vault, now: Timestamp) -> Result<Self> {
        loop {
            if let Some(entry) = vault.read(ENTRY).await? {
                return Self::read(&entry.secret).ok_or_else(|| {
                    let kind = ErrorKind::Corrupt("the CA of the agents".into());
                    Error::new(AGENT, Operation::Configure, kind)
                });
            }
            let founded = found(vault.account(), now).map_err(crypto)?;
            match vault.write(ENTRY, &founded, None).await {
                Err(error) if *error.kind() != ErrorKind::RevisionConflict => return Err(error),
                _ => {}
            }
        }
    }

    fn read(secret: &SecretBytes) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(secret.expose()).ok()?;
        let certificate = CertificateDer::from_pem_slice(stored.certificate.as_bytes()).ok()?;
        let key = KeyPair::from_pem(&stored.key).ok()?;
        let fingerprint = CertificateInfo::read(&certificate).ok()?.sha256;
        // The name of the CA is its certificate's; ours was made by `params` and nothing else.
        let name = CertificateInfo::read(&certificate).ok()?.subject;
        let issuer = Issuer::new(params(name.as_str().strip_prefix("CN=")?), key);
        Some(Self { issuer, certificate, pem: stored.certificate, fingerprint })
    }

    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    pub(super) fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Certifies an agent's key.
    pub(super) fn certify(
        &self,
        agent: &AccountName,
        csr: &Csr,
        token: Option<TokenHash>,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<Issued> {
        let key = AgentKey::read(csr).ok_or_else(|| {
            let kind = ErrorKind::Unsupported("an agent whose key is not on P-256".into());
            Error::new(AGENT, Operation::Enrol, kind)
        })?;
        let mut params = leaf(agent.as_str(), now, lifetime).map_err(crypto)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).map_err(crypto)?;
        let info = CertificateInfo::read(certificate.der())
            .map_err(|input| Error::input(Operation::Enrol, input))?;
        Ok(Issued {
            pem: certificate.pem(),
            fingerprint: info.sha256,
            key: csr.public_key_hash(),
            not_after: info.not_after,
            token,
        })
    }

    /// Certifies the hub itself, with a key that nobody keeps.
    fn certify_server(&self, names: &[Identifier], now: Timestamp) -> Result<CertifiedKey> {
        let mut params = leaf("certlife hub", now, SERVER_LIFETIME).map_err(crypto)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        for name in names {
            params.subject_alt_names.push(match name {
                Identifier::Ip(address) => SanType::IpAddress(*address),
                name => SanType::DnsName(name.to_string().try_into().map_err(crypto)?),
            });
        }
        let key = KeyPair::generate().map_err(crypto)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(crypto)?;
        let signer =
            any_supported_type(&PrivatePkcs8KeyDer::from(key.serialize_der()).into()).map_err(crypto)?;
        // The CA's own certificate goes along: an agent that has nothing but its invitation finds it there.
        Ok(CertifiedKey::new(vec![certificate.der().clone(), self.certificate.clone()], signer))
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

/// Makes key and certificate of a new CA.
fn found(account: &AccountName, now: Timestamp) -> Result<SecretBytes, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = params(&format!("certlife agents of {account}"));
    params.not_before = (now - BACKDATE).to_utc();
    params.not_after = (now + LIFETIME).to_utc();
    let certificate = params.self_signed(&key)?;
    let stored = Stored { certificate: certificate.pem(), key: key.serialize_pem() };
    Ok(SecretBytes::new(serde_json::to_vec(&stored).unwrap_or_default()))
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf(name: &str, now: Timestamp, lifetime: Duration) -> Result<CertificateParams, rcgen::Error> {
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial).map_err(|_| rcgen::Error::RingUnspecified)?;
    // Positive, and of full length.
    serial[0] = serial[0] & 0x3f | 0x40;
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // A short certificate is not to be due for renewal when it is made.
    params.not_before = (now - BACKDATE.min(lifetime / 4)).to_utc();
    params.not_after = (now + lifetime).to_utc();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn crypto(cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(AGENT, Operation::Configure, ErrorKind::Crypto).because(cause)
}

/// The public key of a request as rcgen takes it.
struct AgentKey(Vec<u8>);

impl AgentKey {
    fn read(csr: &Csr) -> Option<Self> {
        let info = csr.public_key_der();
        let fits =
            csr.key_algorithm() == Some(KeyAlgorithm::EcdsaP256) && info.len() == P256_PREFIX + P256_POINT;
        fits.then(|| Self(info[P256_PREFIX..].to_vec()))
    }
}

impl PublicKeyData for AgentKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// Shows the hub's certificate in handshakes, and makes the next one in time.
pub(super) struct ServerIdentity {
    authority: Arc<Authority>,
    names: Vec<Identifier>,
    clock: Arc<dyn Clock>,
    current: Mutex<(Arc<CertifiedKey>, Timestamp)>,
}

impl ServerIdentity {
    pub(super) fn new(
        authority: Arc<Authority>,
        names: Vec<Identifier>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let now = clock.now();
        let first = Arc::new(authority.certify_server(&names, now)?);
        Ok(Self { authority, names, clock, current: Mutex::new((first, now + SERVER_LIFETIME / 3 * 2)) })
    }
}

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerIdentity").field("names", &self.names).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for ServerIdentity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        if now >= current.1
            && let Ok(next) = self.authority.certify_server(&self.names, now)
        {
            *current = (Arc::new(next), now + SERVER_LIFETIME / 3 * 2);
        }
        Some(Arc::clone(&current.0))
    }
}
