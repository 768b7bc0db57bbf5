//! What a kind of target supplies to be tested.

use std::sync::Arc;

use certlife_core::{CertificateId, Deployer, Identifier, challenge::HttpPath, deploy::Bundle};
use rustls_pki_types::CertificateDer;

use crate::{crash::CrashPlan, dns::Cannot};

/// What a reader of the target finds at one moment: for files whoever reads them, else a TLS client.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "fixtures outside this crate build it")]
pub struct Seen {
    /// The certificates, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Whether the key beside them is the leaf's; none if the target has no key.
    pub key_fits: Option<bool>,
}

/// A deployer under test, and a second view of the target behind it, which is empty at first.
///
/// # Errors
///
/// [`Cannot`] where something cannot be staged or told, with the reason.
#[expect(clippy::missing_errors_doc, reason = "the trait's own documentation says it once for all")]
pub trait DeployFixture: Sync {
    /// A deployer for the target with no memory of earlier ones, as after a restart.
    ///
    /// Where the target itself lives in the host's process, its deployers share it: what is gone after a
    /// restart then is gone from the target, and [`Deployer::installed`] says so.
    fn deployer(&self) -> Arc<dyn Deployer>;

    /// What a reader finds now, read past the deployer under test: where the target keeps certificates apart
    /// by name, at `certificate`; where only by the host that a client asks for, at `host`.
    fn seen(
        &self,
        certificate: &CertificateId,
        host: &Identifier,
    ) -> impl Future<Output = Option<Seen>> + Send;

    /// Puts chain and key of `bundle` where its certificate is installed, past the deployer under test.
    fn tamper(&self, bundle: &Bundle) -> impl Future<Output = ()> + Send;

    /// What an HTTP client gets from `host` at `path`; none if it is told that nothing is there.
    fn http(&self, host: &Identifier, path: &HttpPath) -> impl Future<Output = Option<String>> + Send;

    /// Which certificate a client sees that asks for `identifier` and offers `acme-tls/1` alone; none if the
    /// handshake is refused.
    fn tls_alpn(
        &self,
        identifier: &Identifier,
    ) -> impl Future<Output = Option<CertificateDer<'static>>> + Send;

    /// The places on the target where others than the owner could read a private key now.
    fn exposed_keys(&self) -> impl Future<Output = Result<Vec<String>, Cannot>> + Send;

    /// A deployer like [`deployer`](Self::deployer), but whose target cannot be reached or written.
    fn with_broken_target(&self) -> Result<Arc<dyn Deployer>, Cannot>;

    /// A deployer like [`deployer`](Self::deployer) that dies where `plan` says.
    ///
    /// Each step that changes the target or runs something there is a [point](CrashPlan::point) of the plan, passed
    /// just before it. The step at which it crashes does not happen, nor does anything after it: of this deployer
    /// nothing is left but what it did, and what others on the way to the target were told to do.
    fn crashing(&self, plan: &Arc<CrashPlan>) -> Result<Arc<dyn Deployer>, Cannot>;

    /// Everything that the target keeps for certificates and challenges, under whatever name: nothing once all of them
    /// are removed.
    fn remains(&self) -> impl Future<Output = Result<Vec<String>, Cannot>> + Send;

    /// The secrets that the deployer was built with, in every spelling in which they could leak.
    fn secrets(&self) -> Result<Vec<String>, Cannot>;

    /// What `{:?}` of the deployer's builder and settings prints, with the secrets set.
    fn debug_of_builder(&self) -> String;
}
