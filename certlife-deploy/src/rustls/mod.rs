//! The host's own TLS server, if it is built on [rustls](https://docs.rs/rustls): certificates go from the
//! engine straight into the handshake, without files and without restarts.
//!
//! Private keys are held in memory only. After a restart nothing is installed, [`Deployer::installed`] says
//! so, and the engine installs again what it has stored. Receipts and handles stay valid as long as the
//! process, since the target is the process.

mod alpn;
mod http01;
mod listener;
mod resolver;
mod table;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    fmt,
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use ::rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::ResolvesServerCert,
};
use async_trait::async_trait;
use certlife_core::{
    AccountSummary, CertificateId, Csr, Deployer, Error, ErrorKind, Operation, ProviderName, Result,
    challenge::ChallengeKind,
    deploy::{Bundle, ChallengeHandle, DeployCapabilities, Installed, KeyRequest, Receipt, TargetResponse},
};

use self::{resolver::Resolver, table::Table};

pub use self::{
    http01::{Http01, Http01Or},
    listener::Http01Listener,
};

const RUSTLS: ProviderName = ProviderName::new("rustls");
/// The protocol that a validator offers alone (RFC 8737 §4).
const ACME_TLS: &[u8] = b"acme-tls/1";

/// The host's own rustls server as a [`Deployer`]. Clones are the same server.
///
/// The [`resolver`](Self::resolver) goes into any number of [`ServerConfig`]s, which
/// [`server_config`](Self::server_config) makes. It picks the certificate by the name that the client asks
/// for: one that names it, else a wildcard; the newest of several, but one whose key the client can use. A
/// client that sends no name, as to an address, gets the default certificate, else one with an address, else
/// the only one. A name that no certificate has gets the default certificate, or the handshake is refused.
///
/// It answers `tls-alpn-01` challenges in the handshake, and `http-01` challenges by [`http01`](Self::http01).
#[derive(Clone)]
pub struct Rustls(Arc<Shared>);

struct Shared {
    provider: Arc<CryptoProvider>,
    table: RwLock<Table>,
}

impl Rustls {
    /// A server without certificates, and with the defaults of [`builder`](Self::builder).
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Starts the description of a server.
    pub fn builder() -> RustlsBuilder {
        RustlsBuilder::default()
    }

    /// The part that rustls asks in each handshake. It sees new versions at once.
    pub fn resolver(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::new(Resolver(self.clone()))
    }

    /// Makes a configuration with the [`resolver`](Self::resolver), TLS 1.2 and 1.3, and no client
    /// certificates. Whatever else the host wants it may change.
    ///
    /// `protocols` is what the host speaks, best first, as for ALPN (RFC 7301): `["h2", "http/1.1"]`, or only
    /// `["http/1.1"]`. `acme-tls/1` is added: a connection that ends up with it is a CA's, has got what it came
    /// for by then, and is to be closed (RFC 8737 §3).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Crypto`] if the [crypto provider](RustlsBuilder::crypto_provider) lacks TLS 1.2 and 1.3.
    pub fn server_config<P: Into<Vec<u8>>>(
        &self,
        protocols: impl IntoIterator<Item = P>,
    ) -> Result<ServerConfig> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.0.provider))
            .with_safe_default_protocol_versions()
            .map_err(|cause| Error::new(RUSTLS, Operation::Configure, ErrorKind::Crypto).because(cause))?
            .with_no_client_auth()
            .with_cert_resolver(self.resolver());
        config.alpn_protocols = protocols.into_iter().map(Into::into).collect();
        config.alpn_protocols.push(ACME_TLS.to_vec());
        Ok(config)
    }

    /// The answers to `http-01` challenges as a service for the host's web server on port 80.
    pub fn http01(&self) -> Http01 {
        Http01::new(self.clone())
    }

    /// Listens on `address`, such as `[::]:80`, for hosts that have no web server there.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] if the address cannot be listened on.
    pub async fn http01_listener(&self, address: SocketAddr) -> Result<Http01Listener> {
        Http01Listener::bind(self.http01(), address).await.map_err(|cause| {
            let what = ErrorKind::Io(format!("cannot listen on {address}: {cause}").into());
            Error::new(RUSTLS, Operation::Configure, what)
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.0.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing that takes time may happen while this is held: handshakes wait.
    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.0.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Rustls {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Rustls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rustls").field(&*self.read()).finish()
    }
}

/// Describes a server; made by [`Rustls::builder`].
#[derive(Debug, Clone, Default)]
pub struct RustlsBuilder {
    provider: Option<Arc<CryptoProvider>>,
    default: Option<CertificateId>,
}

impl RustlsBuilder {
    /// Shows this certificate to clients that send no name, or one that no certificate has. Defaults to none.
    #[must_use]
    pub fn default_certificate(mut self, certificate: CertificateId) -> Self {
        self.default = Some(certificate);
        self
    }

    /// Takes cryptography from here. Defaults to that of aws-lc-rs, whatever the process has installed.
    #[must_use]
    pub fn crypto_provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Returns the server.
    pub fn build(self) -> Rustls {
        let provider = self.provider.unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()));
        Rustls(Arc::new(Shared { provider, table: RwLock::new(Table::new(self.default)) }))
    }
}

#[async_trait]
impl Deployer for Rustls {
    fn provider(&self) -> ProviderName {
        RUSTLS
    }

    fn capabilities(&self) -> DeployCapabilities {
        let challenges = BTreeSet::from([ChallengeKind::Http, ChallengeKind::TlsAlpn]);
        DeployCapabilities { install: true, challenges, volatile: true, keys: BTreeSet::new() }
    }

    async fn probe(&self) -> Result<AccountSummary> {
        Ok(AccountSummary { identity: Some("this process".into()), ..AccountSummary::default() })
    }

    async fn make_key(&self, wanted: &KeyRequest) -> Result<Csr> {
        let what = format!("making {} keys on the target", wanted.algorithm);
        Err(Error::new(RUSTLS, Operation::MakeKey, ErrorKind::Unsupported(what.into())))
    }

    async fn install(&self, bundle: &Bundle) -> Result<Receipt> {
        let failed = |kind| Error::new(RUSTLS, Operation::Install, kind);
        let served = table::Served::new(bundle, &self.0.provider).map_err(failed)?;
        Ok(self.write().install(served))
    }

    async fn installed(&self, certificate: &CertificateId) -> Result<Option<Installed>> {
        Ok(self.read().installed(certificate))
    }

    async fn rollback(&self, receipt: &Receipt) -> Result<()> {
        self.write().roll_back(receipt).map_err(|kind| Error::new(RUSTLS, Operation::RollBack, kind))
    }

    async fn uninstall(&self, certificate: &CertificateId) -> Result<()> {
        self.write().uninstall(certificate);
        Ok(())
    }

    async fn put_challenge(&self, response: &TargetResponse) -> Result<ChallengeHandle> {
        match response {
            TargetResponse::Http(file) => self.write().put_file(file.clone()),
            TargetResponse::TlsAlpn(alpn) => {
                let shown = alpn::certify(alpn, &self.0.provider)
                    .map_err(|kind| Error::new(RUSTLS, Operation::PutChallenge, kind))?;
                self.write().put_alpn(alpn.clone(), shown);
            }
        }
        Ok(ChallengeHandle::unknown(response.clone()))
    }

    async fn remove_challenge(&self, handle: &ChallengeHandle) -> Result<()> {
        match &handle.response {
            TargetResponse::Http(file) => self.write().remove_file(file),
            TargetResponse::TlsAlpn(alpn) => self.write().remove_alpn(alpn),
        }
        Ok(())
    }
}
