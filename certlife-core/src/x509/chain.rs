//! Certificate chains, put into the order that servers send (RFC 8446 §4.4.2), whatever order came.

use std::{collections::BTreeSet, fmt};

use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::{
    info::{CertificateInfo, authority_key_id},
    raw::{Raw, name_text},
    unusable,
};
use crate::{
    digest::{Fingerprint, KeyHash},
    input::InputError,
    key::SignatureError,
    pem,
    text::VendorText,
};

/// A certificate and the certificates that lead from it to a root: leaf first, each signed by the next.
///
/// Holds the original bytes. In serde and as text it is PEM, leaf first.
#[derive(Clone, PartialEq, Eq)]
pub struct Chain {
    leaf: CertificateDer<'static>,
    issuers: Vec<CertificateDer<'static>>,
}

impl Chain {
    /// The most certificates in a chain.
    pub const MAX_CERTIFICATES: usize = 10;
    /// The largest PEM text that is read.
    const MAX_PEM: usize = 1_024 * 1_024;

    /// Reads PEM: certificates in any order, other blocks skipped, a root left out, unrelated
    /// certificates refused. [`ChainOptions`] has the other ways.
    ///
    /// # Errors
    ///
    /// [`InputError::Certificate`] names the rule that is broken.
    pub fn from_pem(text: &str) -> Result<Self, InputError> {
        ChainOptions::default().from_pem(text).map(|assembled| assembled.chain)
    }

    /// As [`from_pem`](Self::from_pem), from certificates in DER.
    ///
    /// # Errors
    ///
    /// As [`from_pem`](Self::from_pem).
    pub fn from_ders<D: Into<Vec<u8>>>(ders: impl IntoIterator<Item = D>) -> Result<Self, InputError> {
        ChainOptions::default().from_ders(ders).map(|assembled| assembled.chain)
    }

    /// The certificate itself, in DER.
    pub fn leaf(&self) -> &CertificateDer<'static> {
        &self.leaf
    }

    /// The certificates after the leaf: intermediates, and the root if it was kept.
    pub fn intermediates(&self) -> &[CertificateDer<'static>] {
        &self.issuers
    }

    /// All certificates, leaf first.
    pub fn certificates(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        std::iter::once(&self.leaf).chain(&self.issuers)
    }

    /// All certificates in PEM, leaf first.
    pub fn pem(&self) -> String {
        self.certificates().map(|der| pem::encode("CERTIFICATE", der)).collect()
    }

    /// The leaf in PEM.
    pub fn leaf_pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.leaf)
    }

    /// The certificates after the leaf in PEM; empty if there are none.
    pub fn intermediates_pem(&self) -> String {
        self.issuers.iter().map(|der| pem::encode("CERTIFICATE", der)).collect()
    }

    /// Names the leaf.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.leaf)
    }

    /// What the leaf says.
    ///
    /// # Errors
    ///
    /// As [`CertificateInfo::read`].
    pub fn info(&self) -> Result<CertificateInfo, InputError> {
        CertificateInfo::read(&self.leaf)
    }

    /// Reads PEM that [`pem`](Self::pem) wrote: the order stands.
    fn from_stored(text: &str) -> Result<Self, InputError> {
        let mut ders = certificates_in(text)?.into_iter();
        let leaf = ders.next().ok_or_else(none_found)?;
        let chain = Self { leaf: leaf.into(), issuers: ders.map(CertificateDer::from).collect() };
        for der in chain.certificates() {
            Raw::read(der)?;
        }
        Ok(chain)
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({} and {} more)", self.fingerprint(), self.issuers.len())
    }
}

impl Serialize for Chain {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.pem())
    }
}

impl<'de> Deserialize<'de> for Chain {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_stored(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// How a heap of certificates becomes a [`Chain`].
#[derive(Debug, Clone, Copy, Default)]
pub struct ChainOptions {
    leaf_key: Option<KeyHash>,
    keep_root: bool,
    drop_unrelated: bool,
}

/// A chain, and what was not needed for it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Assembled {
    /// The chain.
    pub chain: Chain,
    /// The certificates that were left out. Copies of the same certificate are not listed.
    pub dropped: Vec<Dropped>,
}

/// A certificate that was left out of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// Names the certificate.
    pub fingerprint: Fingerprint,
    /// Its subject.
    pub subject: VendorText,
    /// Why it was left out.
    pub reason: &'static str,
}

impl ChainOptions {
    /// Finds the leaf by its key. Defaults to the certificate that issued none of the others.
    #[must_use]
    pub fn leaf_key(mut self, hash: KeyHash) -> Self {
        self.leaf_key = Some(hash);
        self
    }

    /// Keeps a self-signed root at the end. Defaults to leaving it out: clients have their own, and
    /// servers may omit it (RFC 8446 §4.4.2).
    #[must_use]
    pub fn keep_root(mut self, keep: bool) -> Self {
        self.keep_root = keep;
        self
    }

    /// Leaves out certificates that have nothing to do with the leaf. Defaults to refusing them.
    #[must_use]
    pub fn drop_unrelated(mut self, drop: bool) -> Self {
        self.drop_unrelated = drop;
        self
    }

    /// Reads certificates in PEM of at most 1 MiB, in any order; blocks of other kinds are skipped.
    ///
    /// # Errors
    ///
    /// [`InputError::Certificate`] if there are none or more than ten, if one is malformed or larger
    /// than 64 KiB, or if the leaf cannot be told.
    pub fn from_pem(&self, text: &str) -> Result<Assembled, InputError> {
        self.assemble(&certificates_in(text)?)
    }

    /// As [`from_pem`](Self::from_pem), from certificates in DER.
    ///
    /// # Errors
    ///
    /// As [`from_pem`](Self::from_pem).
    pub fn from_ders<D: Into<Vec<u8>>>(
        &self,
        ders: impl IntoIterator<Item = D>,
    ) -> Result<Assembled, InputError> {
        let ders: Vec<_> = ders.into_iter().map(Into::into).take(Chain::MAX_CERTIFICATES + 1).collect();
        self.assemble(&ders)
    }

    fn assemble(&self, ders: &[Vec<u8>]) -> Result<Assembled, InputError> {
        check_count(ders.len())?;
        let mut seen = BTreeSet::new();
        let heap: Vec<_> = ders
            .iter()
            .filter(|der| seen.insert(Fingerprint::of(der)))
            .map(|der| Raw::read(der))
            .collect::<Result<_, _>>()?;
        let leaf = self.find_leaf(&heap)?;
        let (path, root) = climb(leaf, &heap);
        if let ([leaf], None) = (&path[..], root)
            && let Some(namesake) = heap.iter().find(|raw| raw.der != leaf.der && raw.subject == leaf.issuer)
        {
            // Passing the leaf on alone would hide that it was damaged, or came with another's issuer.
            let (issuer, leaf) = (describe(namesake), describe(leaf));
            return Err(unusable(format!("{leaf} names {issuer} as its issuer, but is not signed by it")));
        }
        let mut kept = path;
        kept.extend(root.filter(|_| self.keep_root || kept.is_empty()));

        let in_chain = |raw: &Raw<'_>| kept.iter().any(|member| member.der == raw.der);
        let mut dropped = Vec::new();
        for raw in heap.iter().filter(|raw| !in_chain(raw)) {
            let useful = kept.iter().any(|member| issued(raw, member));
            if !useful && !self.drop_unrelated {
                return Err(unusable(format!("{} has nothing to do with the leaf", describe(raw))));
            }
            let reason = match (useful, raw.is_self_issued()) {
                (true, true) => "a root, which clients have already",
                (true, false) => "another way to the root",
                (false, _) => "it has nothing to do with the leaf",
            };
            dropped.push(Dropped {
                fingerprint: Fingerprint::of(raw.der),
                subject: name_text(raw.subject).unwrap_or_default(),
                reason,
            });
        }
        let mut kept = kept.into_iter().map(|raw| CertificateDer::from(raw.der.to_vec()));
        let leaf = kept.next().ok_or_else(none_found)?;
        Ok(Assembled { chain: Chain { leaf, issuers: kept.collect() }, dropped })
    }

    fn find_leaf<'h, 'a>(&self, heap: &'h [Raw<'a>]) -> Result<&'h Raw<'a>, InputError> {
        if let Some(hash) = self.leaf_key {
            // A reissue may keep the key, so the newest of several is meant.
            return heap
                .iter()
                .filter(|raw| raw.key_hash() == hash)
                .max_by_key(|raw| raw.validity().ok())
                .ok_or_else(|| unusable("none of the certificates has the expected key"));
        }
        let issued_none =
            |raw: &&Raw<'_>| !heap.iter().any(|other| other.der != raw.der && issued(raw, other));
        let mut ends: Vec<_> = heap.iter().filter(issued_none).collect();
        if ends.len() > 1 {
            ends.retain(|raw| matches!(raw.is_ca(), Ok(false)));
        }
        match ends[..] {
            [leaf] => Ok(leaf),
            [] => Err(unusable("none of the certificates is a leaf")),
            _ => Err(unusable("more than one of the certificates could be the leaf")),
        }
    }
}

/// Follows the issuers from `leaf`, up to a root if it is there.
fn climb<'h, 'a>(leaf: &'h Raw<'a>, heap: &'h [Raw<'a>]) -> (Vec<&'h Raw<'a>>, Option<&'h Raw<'a>>) {
    let mut path = vec![leaf];
    let mut last = leaf;
    while !last.is_self_issued() {
        let is_new = |raw: &&Raw<'_>| !path.iter().any(|member| member.der == raw.der);
        // A cross-signed certificate leads further than the root of the same name.
        let issuer =
            heap.iter().filter(is_new).filter(|raw| issued(raw, last)).min_by_key(|raw| raw.is_self_issued());
        match issuer {
            Some(root) if root.is_self_issued() => return (path, Some(root)),
            Some(issuer) => path.push(issuer),
            None => break,
        }
        last = path[path.len() - 1];
    }
    (path, None)
}

/// Whether `issuer` issued `raw`: names and key identifiers fit, and so does the signature, unless it is
/// of a kind that we cannot verify.
fn issued(issuer: &Raw<'_>, raw: &Raw<'_>) -> bool {
    if raw.issuer != issuer.subject {
        return false;
    }
    match issuer.key().map(|key| raw.signed.verify(&key)) {
        Ok(Ok(())) => true,
        Ok(Err(SignatureError::Unsupported(_) | SignatureError::RsaSize(_))) => key_ids_fit(issuer, raw),
        Ok(Err(SignatureError::Wrong)) | Err(_) => false,
    }
}

fn key_ids_fit(issuer: &Raw<'_>, raw: &Raw<'_>) -> bool {
    let subject = issuer.decoded::<x509_cert::ext::pkix::SubjectKeyIdentifier>().ok().flatten();
    match (authority_key_id(raw).ok().flatten(), subject) {
        (Some(authority), Some(subject)) => authority == subject.0.as_bytes(),
        _ => true,
    }
}

fn certificates_in(text: &str) -> Result<Vec<Vec<u8>>, InputError> {
    if text.len() > Chain::MAX_PEM {
        return Err(unusable("the text is larger than 1 MiB"));
    }
    let blocks = pem::blocks(text).map_err(unusable)?;
    // `X509 CERTIFICATE` is an older name (RFC 7468 §5.1).
    let certificates =
        blocks.iter().filter(|block| matches!(block.label, "CERTIFICATE" | "X509 CERTIFICATE"));
    let ders: Vec<_> = certificates.map(|block| block.der.to_vec()).collect();
    check_count(ders.len())?;
    Ok(ders)
}

fn check_count(count: usize) -> Result<(), InputError> {
    match count {
        0 => Err(none_found()),
        1..=Chain::MAX_CERTIFICATES => Ok(()),
        _ => Err(unusable(format!("a chain has at most {} certificates", Chain::MAX_CERTIFICATES))),
    }
}

fn none_found() -> InputError {
    unusable("there is no certificate in it")
}

fn describe(raw: &Raw<'_>) -> String {
    let subject = name_text(raw.subject).unwrap_or_default();
    format!("the certificate {:?} ({})", subject, Fingerprint::of(raw.der))
}
