//! The key that signs, with its certificate and those above it.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use certlife_core::{
    CertificateInfo, Chain, DnsName, Error, ErrorKind, InputError, Operation, PrivateKey, Result, Secret,
    SecretBytes, Timestamp, Vault, store::Revision, x509::ChainOptions,
};
use der::asn1::{Ia5String, OctetString};
use serde::{Deserialize, Serialize};
use tokio::sync::RwLock;
use x509_cert::ext::{
    Extension,
    pkix::{
        AuthorityKeyIdentifier, BasicConstraints, KeyUsage, KeyUsages, NameConstraints, SubjectKeyIdentifier,
        constraints::name::GeneralSubtree, name::GeneralName,
    },
};

use super::{
    PROVIDER,
    encode::{self, Parts, Template},
    settings::{Import, Settings, days},
};

/// An authority that signs certificates.
pub(super) struct Issuer {
    pub(super) key: PrivateKey,
    /// Its own certificate first; the root is kept.
    pub(super) chain: Chain,
    /// Its name in DER, as its certificate has it.
    pub(super) name: Vec<u8>,
    /// Its subject key identifier.
    pub(super) key_id: Vec<u8>,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    /// The host names that its certificate is constrained to.
    pub(super) permitted: Vec<DnsName>,
}

impl Issuer {
    fn new(key: PrivateKey, chain: Chain, permitted: Vec<DnsName>) -> Result<Self, InputError> {
        let unusable = |rule: &'static str| InputError::Certificate { rule: rule.into() };
        let info = chain.info()?;
        let may_sign =
            |usage: &str| info.key_usages.is_empty() || info.key_usages.iter().any(|one| one == usage);
        if info.key_hash != key.public_key_hash() {
            return Err(unusable("its key is another"));
        }
        if !info.is_ca || !may_sign("keyCertSign") {
            return Err(unusable("it may not sign certificates"));
        }
        if !may_sign("cRLSign") {
            return Err(unusable("it may not sign revocation lists"));
        }
        let parts = Parts::read(chain.leaf()).map_err(|_| unusable("it is broken"))?;
        let key_id = match &info.subject_key_id {
            Some(text) => from_hex(text).ok_or_else(|| unusable("its key identifier is broken"))?,
            None => key_id(parts.key_bits),
        };
        let name = parts.subject.to_vec();
        Ok(Self {
            key,
            name,
            key_id,
            not_before: info.not_before,
            not_after: info.not_after,
            permitted,
            chain,
        })
    }

    /// Reads an authority that exists already.
    pub(super) fn import(import: &Import) -> Result<Self, InputError> {
        let key = PrivateKey::from_pem(&import.key)
            .map_err(|error| InputError::setting("import.key", error.to_string()))?;
        let options = ChainOptions::default().leaf_key(key.public_key_hash()).keep_root(true);
        options
            .from_pem(&import.chain)
            .and_then(|assembled| Self::new(key, assembled.chain, Vec::new()))
            .map_err(|error| InputError::setting("import.chain", error.to_string()))
    }

    /// The authority key identifier of everything that it signs.
    pub(super) fn authority_key_id(&self) -> Result<Extension> {
        encode::extension(false, &authority_key_id(&self.key_id)?)
    }

    /// The topmost certificate: the root, unless one was imported without it.
    pub(super) fn root_der(&self) -> &[u8] {
        self.chain.certificates().last().unwrap_or(self.chain.leaf())
    }

    /// Whether this issuer signed `leaf`, or one before it with the same key and name.
    pub(super) fn signed(&self, leaf: &[u8]) -> bool {
        let both = Chain::from_ders([leaf, self.chain.leaf().as_ref()]);
        both.is_ok_and(|chain| chain.leaf().as_ref() == leaf) && leaf != self.chain.leaf().as_ref()
    }
}

/// Where the issuer comes from: settings, or the vault that both its keys are sealed in.
pub(super) struct Source {
    vault: Vault,
    imported: Option<Arc<Issuer>>,
    /// The one that was read last. It stays good, so nothing is lost by forgetting it.
    known: RwLock<Option<Arc<Issuer>>>,
    permitted: Vec<DnsName>,
}

/// The vault entry that both keys are in.
const ENTRY: &str = "authority";

/// What a fresh authority is written as.
#[derive(Serialize)]
struct Written<'a> {
    chain: &'a Chain,
    root_key: &'a str,
    key: &'a str,
    permitted: &'a [DnsName],
}

/// What is read back.
#[derive(Deserialize)]
struct Stored {
    chain: Chain,
    root_key: Secret,
    key: Secret,
    permitted: Vec<DnsName>,
}

impl Source {
    pub(super) fn new(
        vault: Vault,
        settings: &Settings,
        permitted: Vec<DnsName>,
    ) -> Result<Self, InputError> {
        let imported = settings.import.as_ref().map(Issuer::import).transpose()?.map(Arc::new);
        Ok(Self { vault, imported, known: RwLock::default(), permitted })
    }

    /// The issuer, made on first use and made anew before it would cut certificates short.
    pub(super) async fn issuer(&self, settings: &Settings, now: Timestamp) -> Result<Arc<Issuer>> {
        if let Some(imported) = &self.imported {
            return Ok(imported.clone());
        }
        if let Some(known) = self.known.read().await.as_ref().filter(|known| !is_due(known, settings, now)) {
            return Ok(known.clone());
        }
        // One caller in this process does the work; other processes are met in the vault.
        let mut known = self.known.write().await;
        loop {
            let (written, replaces) = match self.vault.read(ENTRY).await? {
                None => (self.make(settings, now).await?, None),
                Some(entry) => {
                    let stored = read(&entry.secret)?;
                    let issuer = current(&stored)?;
                    if !is_due(&issuer, settings, now) {
                        return Ok(known.insert(Arc::new(issuer)).clone());
                    }
                    (renew(&stored, &issuer, settings, now)?, Some(entry.revision))
                }
            };
            match self.write(&written, replaces).await {
                Ok(()) => {}
                // Another process came first: what it wrote counts.
                Err(error) if *error.kind() == ErrorKind::RevisionConflict => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn write(&self, secret: &SecretBytes, replaces: Option<Revision>) -> Result<()> {
        self.vault.write(ENTRY, secret, replaces).await.map(|_| ())
    }

    /// Makes a root and an issuing certificate below it.
    async fn make(&self, settings: &Settings, now: Timestamp) -> Result<SecretBytes> {
        let root_key = PrivateKey::generate_off_thread(settings.root_key).await?;
        let key = PrivateKey::generate_off_thread(settings.issuing_key).await?;
        let subject = |role: &str| {
            let name = format!("{} {role}", settings.name);
            encode::name(Some(&name), settings.organization.as_deref(), settings.country.as_deref())
        };
        let name = subject("Root CA")?;
        let root_id = key_id(encode::key_bits(root_key.public_key_der()).map_err(encode::unwritable)?);
        let root = Authority {
            subject: &name,
            key: &root_key,
            not_after: now + days(settings.root_validity_days),
            path_length: 1,
            permitted: &self.permitted,
        };
        let root = root.sign(&name, &root_id, &root_key, now)?;
        let issuing = Authority {
            subject: &subject("Issuing CA")?,
            key: &key,
            not_after: now + days(settings.issuing_validity_days),
            path_length: 0,
            permitted: &self.permitted,
        };
        let issuing = issuing.sign(&name, &root_id, &root_key, now)?;
        write(&chain([issuing, root])?, &root_key, &key, &self.permitted)
    }
}

/// Makes the issuing certificate anew, with the same name and key, so that certificates and revocation
/// lists that stand stay good under both.
fn renew(stored: &Stored, issuer: &Issuer, settings: &Settings, now: Timestamp) -> Result<SecretBytes> {
    let root_key = PrivateKey::from_pem(&stored.root_key).map_err(|_| corrupt())?;
    let root = Parts::read(issuer.root_der()).map_err(|_| corrupt())?;
    let authority = Authority {
        subject: &issuer.name,
        key: &issuer.key,
        not_after: (now + days(settings.issuing_validity_days)).min(root_end(issuer)),
        path_length: 0,
        permitted: &stored.permitted,
    };
    let renewed = authority.sign(root.subject, &key_id(root.key_bits), &root_key, now)?;
    let chain = chain([renewed, issuer.root_der().to_vec()])?;
    write(&chain, &root_key, &issuer.key, &stored.permitted)
}

/// Whether the longest certificate would outlast the issuer, and a new issuer would last longer.
fn is_due(issuer: &Issuer, settings: &Settings, now: Timestamp) -> bool {
    let gain = (now + days(settings.issuing_validity_days)).min(root_end(issuer)).since(issuer.not_after);
    now + settings.max_validity() > issuer.not_after && gain > days(1)
}

fn root_end(issuer: &Issuer) -> Timestamp {
    CertificateInfo::read(issuer.root_der()).map_or(issuer.not_after, |root| root.not_after)
}

/// A certificate of an authority that is about to be signed.
struct Authority<'a> {
    subject: &'a [u8],
    key: &'a PrivateKey,
    not_after: Timestamp,
    path_length: u8,
    permitted: &'a [DnsName],
}

impl Authority<'_> {
    fn sign(&self, issuer: &[u8], issuer_id: &[u8], key: &PrivateKey, now: Timestamp) -> Result<Vec<u8>> {
        let bits = encode::key_bits(self.key.public_key_der()).map_err(encode::unwritable)?;
        let own_id = OctetString::new(key_id(bits)).map_err(encode::unwritable)?;
        let usage = KeyUsages::KeyCertSign | KeyUsages::CRLSign;
        let constraints = BasicConstraints { ca: true, path_len_constraint: Some(self.path_length) };
        let mut extensions = vec![
            encode::extension(true, &constraints)?,
            encode::extension(true, &KeyUsage(usage))?,
            encode::extension(false, &SubjectKeyIdentifier(own_id))?,
            encode::extension(false, &authority_key_id(issuer_id)?)?,
        ];
        if !self.permitted.is_empty() {
            extensions.push(encode::extension(true, &constraints_to(self.permitted)?)?);
        }
        let template = Template {
            serial: &random_serial()?,
            subject: self.subject,
            public_key: self.key.public_key_der(),
            // Clocks differ, and an authority must not be younger than what it issues.
            not_before: now - std::time::Duration::from_hours(2),
            not_after: self.not_after,
            extensions,
        };
        encode::certificate(&template, issuer, key)
    }
}

/// Permits these host names with all below them, and no address (RFC 5280 §4.2.1.10).
fn constraints_to(permitted: &[DnsName]) -> Result<NameConstraints> {
    let subtree = |base| GeneralSubtree { base, minimum: 0, maximum: None };
    let permitted = permitted
        .iter()
        .map(|name| Ia5String::new(name.as_str()).map(|name| subtree(GeneralName::DnsName(name))))
        .collect::<der::Result<Vec<_>>>()
        .map_err(encode::unwritable)?;
    // An address with an empty mask stands for all of its family.
    let excluded = [8, 32].map(|length| OctetString::new(vec![0; length]));
    let excluded = excluded
        .into_iter()
        .map(|range| range.map(|range| subtree(GeneralName::IpAddress(range))))
        .collect::<der::Result<Vec<_>>>()
        .map_err(encode::unwritable)?;
    Ok(NameConstraints { permitted_subtrees: Some(permitted), excluded_subtrees: Some(excluded) })
}

fn authority_key_id(id: &[u8]) -> Result<AuthorityKeyIdentifier> {
    let id = OctetString::new(id).map_err(encode::unwritable)?;
    Ok(AuthorityKeyIdentifier { key_identifier: Some(id), ..AuthorityKeyIdentifier::default() })
}

/// The leftmost 160 bits of SHA-256 over the key (RFC 7093 §2, method 1).
pub(super) fn key_id(bits: &[u8]) -> Vec<u8> {
    digest(&SHA256, bits).as_ref()[..20].to_vec()
}

/// 128 random bits (Baseline Requirements §7.1 want at least 64).
pub(super) fn random_serial() -> Result<[u8; 16]> {
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial)
        .map_err(|error| Error::new(PROVIDER, Operation::PlaceOrder, ErrorKind::Crypto).because(error))?;
    // Zero is no serial number (RFC 5280 §4.1.2.2).
    serial[15] |= 1;
    Ok(serial)
}

fn chain(ders: [Vec<u8>; 2]) -> Result<Chain> {
    let assembled = ChainOptions::default().keep_root(true).from_ders(ders);
    assembled.map(|assembled| assembled.chain).map_err(|error| corrupt().because(error))
}

fn write(
    chain: &Chain,
    root_key: &PrivateKey,
    key: &PrivateKey,
    permitted: &[DnsName],
) -> Result<SecretBytes> {
    let (root_key, key) = (root_key.to_pkcs8_pem()?, key.to_pkcs8_pem()?);
    let written = Written { chain, root_key: root_key.expose(), key: key.expose(), permitted };
    serde_json::to_vec(&written).map(SecretBytes::new).map_err(|_| corrupt())
}

fn read(secret: &SecretBytes) -> Result<Stored> {
    // The parser's message could quote a key.
    serde_json::from_slice(secret.expose()).map_err(|_| corrupt())
}

fn current(stored: &Stored) -> Result<Issuer> {
    let key = PrivateKey::from_pem(&stored.key).map_err(|_| corrupt())?;
    Issuer::new(key, stored.chain.clone(), stored.permitted.clone()).map_err(|error| corrupt().because(error))
}

fn corrupt() -> Error {
    Error::new(PROVIDER, Operation::ReadStore, ErrorKind::Corrupt("the authority's keys".into()))
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    pairs.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}
