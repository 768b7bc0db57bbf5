//! The [`Deployer`] contract and what travels through it.

use std::{collections::BTreeSet, fmt};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    account::AccountSummary,
    challenge::{ChallengeKind, HttpFile, TlsAlpnResponse},
    csr::{Csr, CsrTemplate},
    digest::Fingerprint,
    error::{ProviderName, Result},
    id::{CertificateId, KeyId, VersionId},
    key::{KeyAlgorithm, PrivateKey},
    name::Identifier,
    x509::Chain,
};

/// Puts certificates, and the responses to challenges, where they are served.
///
/// # Contract
///
/// * **Atomic.** Whoever reads the target sees the old certificate with the old key or the new one with the
///   new key, never a mixture.
/// * **Idempotent.** Installing what is installed, rolling back what is rolled back, and removing what is
///   gone are success; a repeated [`install`](Self::install) returns an equal receipt.
/// * **Durable.** A [`Receipt`] or [`ChallengeHandle`] suffices in a new process after a crash.
/// * **Reversible.** [`rollback`](Self::rollback) brings back the version that was there before. A receipt that
///   a newer install has overtaken is refused, since it would take away what came later.
/// * **Matching.** A key that is not the leaf's is refused with
///   [`ErrorKind::BadCertificate`](crate::ErrorKind::BadCertificate), and nothing changes.
/// * **Truthful.** [`installed`](Self::installed) reads the target, not a memory of it.
/// * **Key-keeping.** A key that [`make_key`](Self::make_key) makes never leaves the target. A bundle without a
///   key is installed beside the key that the target made for that leaf, if it made one.
/// * **Confined.** Nothing in a bundle or challenge chooses a path outside the configured places, a command,
///   or an address.
/// * **Abandonable.** A dropped call leaves the target whole: old or new.
///
/// `certlife_testkit::deployer_conformance!` checks every line above on every implementation.
///
/// # Errors
///
/// [`ErrorKind::Io`], [`ErrorKind::CommandFailed`], [`ErrorKind::Unauthorized`], [`ErrorKind::Forbidden`],
/// [`ErrorKind::Unreachable`], [`ErrorKind::Untrusted`]; [`Error::retry`] says whether to call again.
///
/// [`ErrorKind::Io`]: crate::ErrorKind::Io
/// [`ErrorKind::CommandFailed`]: crate::ErrorKind::CommandFailed
/// [`ErrorKind::Unauthorized`]: crate::ErrorKind::Unauthorized
/// [`ErrorKind::Forbidden`]: crate::ErrorKind::Forbidden
/// [`ErrorKind::Unreachable`]: crate::ErrorKind::Unreachable
/// [`ErrorKind::Untrusted`]: crate::ErrorKind::Untrusted
/// [`Error::retry`]: crate::Error::retry
#[async_trait]
pub trait Deployer: fmt::Debug + Send + Sync + 'static {
    /// Names the kind of target in errors, logs and metrics: lower case, never renamed.
    fn provider(&self) -> ProviderName;

    /// Tells what this target can do, so that the engine asks for nothing else.
    fn capabilities(&self) -> DeployCapabilities;

    /// Tests the target: reachable, rights, places writable.
    async fn probe(&self) -> Result<AccountSummary>;

    /// Makes a key pair on the target and returns a signing request for it, signed there. Asked again for the same
    /// [`KeyRequest::key`], it returns a request for the same key.
    ///
    /// Refused as [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for an algorithm that is not among
    /// [`DeployCapabilities::keys`].
    async fn make_key(&self, wanted: &KeyRequest) -> Result<Csr>;

    /// Installs a version and makes it the one that is served.
    async fn install(&self, bundle: &Bundle) -> Result<Receipt>;

    /// Reads which version of the certificate the target holds or serves; none if it holds none.
    async fn installed(&self, certificate: &CertificateId) -> Result<Option<Installed>>;

    /// Brings back what was there before the install that `receipt` stands for.
    async fn rollback(&self, receipt: &Receipt) -> Result<()>;

    /// Removes a certificate altogether, when the host gives it up.
    async fn uninstall(&self, certificate: &CertificateId) -> Result<()>;

    /// Places the response to a challenge.
    async fn put_challenge(&self, response: &TargetResponse) -> Result<ChallengeHandle>;

    /// Removes the response to a challenge.
    async fn remove_challenge(&self, handle: &ChallengeHandle) -> Result<()>;
}

/// What a target can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "deployers outside this crate build it; a new field is a question to each"
)]
pub struct DeployCapabilities {
    /// Whether certificates can be installed.
    pub install: bool,
    /// Which challenges it can answer: [`ChallengeKind::Http`], [`ChallengeKind::TlsAlpn`].
    pub challenges: BTreeSet<ChallengeKind>,
    /// Whether it forgets everything with the host's process, so that the engine installs anew when it starts.
    pub volatile: bool,
    /// For which algorithms it can make keys that never leave it; empty if it makes none.
    #[serde(default)]
    pub keys: BTreeSet<KeyAlgorithm>,
}

/// A key that is to be made on a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "tests of deployers outside this crate build it")]
pub struct KeyRequest {
    /// Which certificate it is for.
    pub certificate: CertificateId,
    /// The name under which the target keeps it, chosen by the engine before it asks.
    pub key: KeyId,
    /// Its algorithm.
    pub algorithm: KeyAlgorithm,
    /// What the signing request asks for.
    pub template: CsrTemplate,
}

/// A version on its way to a target. The only place, besides the CSR signer and an explicit export, that a
/// plaintext private key reaches.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "tests of deployers outside this crate build it")]
pub struct Bundle {
    /// Which certificate.
    pub certificate: CertificateId,
    /// Which version of it.
    pub version: VersionId,
    /// Its identifiers.
    pub identifiers: Vec<Identifier>,
    /// Leaf and intermediates.
    pub chain: Chain,
    /// The private key; none if it is elsewhere, such as on the target itself.
    pub key: Option<PrivateKey>,
    /// The version that the target last confirmed, for rolling back.
    pub replaces: Option<VersionId>,
}

/// The durable proof of an install, from which it can be rolled back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "deployers outside this crate build it")]
pub struct Receipt {
    /// Which certificate.
    pub certificate: CertificateId,
    /// What was installed.
    pub version: VersionId,
    /// What was there before.
    pub replaced: Option<VersionId>,
    /// What only the deployer reads. At most 4 KiB.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub vendor: serde_json::Value,
}

/// What a target holds or serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "deployers outside this crate build it")]
pub struct Installed {
    /// SHA-256 of the leaf certificate.
    pub fingerprint: Fingerprint,
    /// The version, where the target keeps it.
    pub version: Option<VersionId>,
}

/// The response to a challenge that a target shows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[expect(clippy::exhaustive_enums, reason = "deployers refuse what they cannot do, by name")]
pub enum TargetResponse {
    /// A file.
    Http(HttpFile),
    /// A certificate in the handshake.
    TlsAlpn(TlsAlpnResponse),
}

impl TargetResponse {
    /// Which kind of challenge it answers.
    pub fn kind(&self) -> ChallengeKind {
        match self {
            Self::Http(_) => ChallengeKind::Http,
            Self::TlsAlpn(_) => ChallengeKind::TlsAlpn,
        }
    }
}

/// The durable handle of a placed response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "deployers outside this crate build it")]
pub struct ChallengeHandle {
    /// What was placed.
    pub response: TargetResponse,
    /// What only the deployer reads; null if the answer was lost. At most 4 KiB.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub vendor: serde_json::Value,
}

impl ChallengeHandle {
    /// The handle of a response whose placing was interrupted: found by what was placed.
    pub fn unknown(response: TargetResponse) -> Self {
        Self { response, vendor: serde_json::Value::Null }
    }
}
