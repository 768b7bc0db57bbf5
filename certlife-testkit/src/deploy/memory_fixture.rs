//! The reference fixture.

use std::sync::Arc;

use certlife_core::{
    CertificateId, Deployer, ErrorKind, Identifier,
    challenge::{HttpPath, TlsAlpnResponse},
    deploy::Bundle,
};
use rustls_pki_types::CertificateDer;

use super::{
    fixture::{DeployFixture, Seen},
    issuer::challenge_certificate,
    memory::MemoryTarget,
};
use crate::{
    crash::{CrashPlan, Crashing},
    dns::Cannot,
};

/// [`MemoryTarget`] as a fixture of the suite: an example to start from, and the suite's own test.
#[derive(Debug, Default)]
pub struct MemoryFixture {
    target: MemoryTarget,
}

impl MemoryFixture {
    /// A fresh target.
    pub fn new() -> Self {
        Self::default()
    }

    /// A fixture for a target that was prepared.
    pub fn with(target: MemoryTarget) -> Self {
        Self { target }
    }
}

impl DeployFixture for MemoryFixture {
    fn deployer(&self) -> Arc<dyn Deployer> {
        Arc::new(self.target.reopened())
    }

    async fn seen(&self, certificate: &CertificateId, _: &Identifier) -> Option<Seen> {
        let (chain, key) = self.target.served(certificate)?;
        let key_hash = chain.info().ok()?.key_hash;
        Some(Seen {
            chain: chain.certificates().cloned().collect(),
            key_fits: key.map(|key| key.public_key_hash() == key_hash),
        })
    }

    async fn tamper(&self, bundle: &Bundle) {
        self.target.tamper(bundle);
    }

    async fn http(&self, host: &Identifier, path: &HttpPath) -> Option<String> {
        self.target.http(host, path)
    }

    async fn tls_alpn(&self, identifier: &Identifier) -> Option<CertificateDer<'static>> {
        let digest = self.target.tls_alpn(identifier)?;
        Some(challenge_certificate(&TlsAlpnResponse { identifier: identifier.clone(), digest }))
    }

    async fn exposed_keys(&self) -> Result<Vec<String>, Cannot> {
        Err(Cannot("a key in memory is in no file that others could read"))
    }

    fn with_broken_target(&self) -> Result<Arc<dyn Deployer>, Cannot> {
        let broken = MemoryTarget::new();
        broken.fail_next(usize::MAX, ErrorKind::Unreachable);
        Ok(Arc::new(broken))
    }

    fn crashing(&self, plan: &Arc<CrashPlan>) -> Result<Arc<dyn Deployer>, Cannot> {
        Ok(Crashing::new(self.deployer(), plan))
    }

    async fn remains(&self) -> Result<Vec<String>, Cannot> {
        Ok(self.target.remains())
    }

    fn secrets(&self) -> Result<Vec<String>, Cannot> {
        Err(Cannot("a target in memory has no credentials"))
    }

    fn debug_of_builder(&self) -> String {
        String::new()
    }
}
