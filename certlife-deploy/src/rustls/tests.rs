mod handshakes;
mod http;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ::http::{Request, StatusCode};
use certlife_core::{
    CertificateId, Deployer, DnsName, ErrorKind, Identifier, Result,
    challenge::HttpPath,
    deploy::Bundle,
    tls::{ServedChain, served_over},
};
use certlife_testkit::{
    crash::{CrashPlan, Crashing},
    deploy::{DeployFixture, Issuer, Seen},
    dns::Cannot,
};
use http_body_util::BodyExt as _;
use rustls_pki_types::CertificateDer;
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

use super::{Rustls, alpn::server_name, table::Served};

const PATIENCE: Duration = Duration::from_secs(30);

/// A process with its server. All deployers are for the one server, since the target is the process.
struct Process {
    server: Rustls,
}

impl Process {
    fn start() -> Self {
        Self { server: Rustls::new() }
    }

    /// Shakes hands with the server.
    async fn handshake(&self, name: Option<&str>, protocols: &[&[u8]]) -> Result<ServedChain> {
        let config = self.server.server_config(["h2", "http/1.1"]).unwrap();
        let (near, far) = tokio::io::duplex(16 * 1_024);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let serving = async { acceptor.accept(far).await.map(drop) };
        let name: Option<DnsName> = name.map(|name| name.parse().unwrap());
        let looking = served_over(near, name.as_ref(), protocols, PATIENCE);
        futures_util::future::join(looking, serving).await.0
    }

    /// The names of the certificate that a client sees; empty if it is refused.
    async fn names(&self, name: Option<&str>) -> String {
        match self.handshake(name, &[]).await {
            Ok(served) => {
                let names: Vec<_> =
                    served.info().unwrap().identifiers.iter().map(ToString::to_string).collect();
                names.join(" ")
            }
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Rejected(_)), "{}", error.chain());
                String::new()
            }
        }
    }

    /// Installs a certificate for these names.
    async fn install(&self, issuer: &Issuer, certificate: &str, names: &[&str]) -> Bundle {
        let identifiers: Vec<_> = names.iter().map(|name| name.parse().unwrap()).collect();
        let bundle = issuer.bundle(&CertificateId::new(certificate).unwrap(), &identifiers);
        self.server.install(&bundle).await.unwrap();
        bundle
    }
}

impl DeployFixture for Process {
    fn deployer(&self) -> Arc<dyn Deployer> {
        Arc::new(self.server.clone())
    }

    async fn seen(&self, _: &CertificateId, host: &Identifier) -> Option<Seen> {
        let name = host.base_name().map(DnsName::as_str);
        match self.handshake(name, &[]).await {
            // Without the key there is no handshake.
            Ok(served) => {
                Some(Seen { chain: served.certificates().cloned().collect(), key_fits: Some(true) })
            }
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Rejected(_)), "{}", error.chain());
                None
            }
        }
    }

    async fn tamper(&self, bundle: &Bundle) {
        let served = Served::new(bundle, &self.server.0.provider).unwrap();
        self.server.write().spoil(served);
    }

    async fn http(&self, host: &Identifier, path: &HttpPath) -> Option<String> {
        let host = match host {
            Identifier::Ip(address) => SocketAddr::new(*address, 80).to_string(),
            name => name.to_string(),
        };
        let request = Request::get(path.as_str()).header("host", host).body(()).unwrap();
        let response = self.server.http01().call(request).await.unwrap();
        let found = response.status() == StatusCode::OK;
        let body = response.into_body().collect().await.unwrap().to_bytes();
        found.then(|| String::from_utf8(body.to_vec()).unwrap())
    }

    async fn tls_alpn(&self, identifier: &Identifier) -> Option<CertificateDer<'static>> {
        match self.handshake(Some(&server_name(identifier)), &[b"acme-tls/1"]).await {
            Ok(served) => {
                assert_eq!(served.protocol(), Some(&b"acme-tls/1"[..]));
                assert_eq!(served.certificates().count(), 1);
                Some(served.leaf().clone())
            }
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Rejected(_)), "{}", error.chain());
                None
            }
        }
    }

    async fn exposed_keys(&self) -> Result<Vec<String>, Cannot> {
        Err(Cannot("keys are in memory only, which is in no file that others could read"))
    }

    fn with_broken_target(&self) -> Result<Arc<dyn Deployer>, Cannot> {
        Err(Cannot("the target is the process itself, which does not fail while it runs"))
    }

    /// Its worker dies; the table is the process's, and lives on.
    fn crashing(&self, plan: &Arc<CrashPlan>) -> Result<Arc<dyn Deployer>, Cannot> {
        Ok(Crashing::new(self.deployer(), plan))
    }

    async fn remains(&self) -> Result<Vec<String>, Cannot> {
        Ok(self.server.read().remains())
    }

    fn secrets(&self) -> Result<Vec<String>, Cannot> {
        Err(Cannot("a server in the same process takes no credentials"))
    }

    fn debug_of_builder(&self) -> String {
        format!("{:?}", Rustls::builder())
    }
}

mod promises {
    certlife_testkit::deployer_conformance!(super::Process::start());
}
