//! A TLS server for agents alone, for hosts that do not mount the hub in their own.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use ::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::aws_lc_rs,
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use certlife_core::{Error, ErrorKind, Identifier, Operation, Result};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tower_service::Service as _;

use super::{AGENT, authority::ServerIdentity, hub::AgentHub, service::PeerCertificate};
use crate::accept;

/// How many connections are served at once; more wait in the operating system's queue.
const MAX_CONNECTIONS: usize = 4_096;
/// How long a handshake, and the head of a request, may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The most of a request's head that is read.
const MAX_HEAD: usize = 16 * 1_024;

impl AgentHub {
    /// Makes a configuration for a TLS server that agents trust, under these names: with a certificate of the hub's CA,
    /// which is made anew in time, and asking for client certificates of it.
    ///
    /// The server hands the certificate of each connection over as [`PeerCertificate`]. One that has expired passes the
    /// handshake, so that the agent gets an answer that says what to do.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Crypto`] if no certificate can be made for these names.
    pub fn server_config(&self, names: impl IntoIterator<Item = Identifier>) -> Result<ServerConfig> {
        let crypto = |cause| Error::new(AGENT, Operation::Configure, ErrorKind::Crypto).because(cause);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.0.authority.certificate().clone()).map_err(crypto)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .map_err(|cause| Error::new(AGENT, Operation::Configure, ErrorKind::Crypto).because(cause))?;
        let (authority, clock) = (Arc::clone(&self.0.authority), Arc::clone(&self.0.clock));
        let identity = ServerIdentity::new(authority, names.into_iter().collect(), clock)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(crypto)?
            .with_client_cert_verifier(Arc::new(Patient(verifier)))
            .with_cert_resolver(Arc::new(identity));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Listens for agents on `address`, under the names by which they call it.
    ///
    /// # Errors
    ///
    /// As [`server_config`](Self::server_config), and [`ErrorKind::Io`] if the address cannot be listened on.
    pub async fn listen(
        &self,
        address: SocketAddr,
        names: impl IntoIterator<Item = Identifier> + Send,
    ) -> Result<AgentListener> {
        let config = self.server_config(names)?;
        let listener = TcpListener::bind(address).await.map_err(|cause| {
            let what = ErrorKind::Io(format!("cannot listen on {address}: {cause}").into());
            Error::new(AGENT, Operation::Configure, what)
        })?;
        Ok(AgentListener { listener, hub: self.clone(), acceptor: TlsAcceptor::from(Arc::new(config)) })
    }
}

/// Serves agents on an address of its own; made by [`AgentHub::listen`].
///
/// Speaks HTTP/1.1 over TLS on at most 4,096 connections at once, with at most 16 KiB of head a request.
pub struct AgentListener {
    listener: TcpListener,
    hub: AgentHub,
    acceptor: TlsAcceptor,
}

impl AgentListener {
    /// The address that is listened on: with the port that was chosen if none was asked for.
    ///
    /// # Errors
    ///
    /// The operating system's own.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` is ready. Dropping the future, too, ends it and closes every connection.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send) {
        accept::serve(self.listener, MAX_CONNECTIONS, shutdown, |stream| {
            // Whoever is too slow, or breaks the protocol, is left alone.
            answer(self.hub.clone(), self.acceptor.clone(), stream)
        })
        .await;
    }
}

impl std::fmt::Debug for AgentListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentListener").field("listener", &self.listener).finish_non_exhaustive()
    }
}

async fn answer(hub: AgentHub, acceptor: TlsAcceptor, stream: TcpStream) {
    let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await else { return };
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let peer = shown.map(|certificate| PeerCertificate(certificate.clone().into_owned()));
    let service = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        // What a client wrote into its request is no certificate.
        request.extensions_mut().remove::<PeerCertificate>();
        if let Some(peer) = &peer {
            request.extensions_mut().insert(peer.clone());
        }
        hub.clone().call(request)
    });
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_mins(2))
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// Takes certificates that have expired, so that the hub can say so in words.
#[derive(Debug)]
struct Patient(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for Patient {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, ::rustls::Error> {
        match self.0.verify_client_cert(end_entity, intermediates, now) {
            Err(::rustls::Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            )) => Ok(ClientCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, ::rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, ::rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
