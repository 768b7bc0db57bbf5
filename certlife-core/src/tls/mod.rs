//! What a TLS server really serves: the evidence that a certificate has arrived.
//!
//! Any certificate is taken, for the question is which one is there, not whether to trust it. But the server
//! has to sign the handshake with the certificate's key, so that a certificate without its key does not pass.
//! Whether the chain is the right one is for the caller to compare. Protocols that begin in the clear are spoken up to
//! the point where TLS starts by [`StartTls`].

mod starttls;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use der::{Reader as _, Tag};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, PeerMisbehaved, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls13_signature_with_raw_key},
};
use rustls_pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;
use webpki::RawPublicKeyEntity;

use crate::{
    digest::Fingerprint,
    error::{Error, ErrorKind, Operation, ProviderName, Result, Retry},
    input::InputError,
    name::DnsName,
    text::VendorText,
    x509::{CertificateInfo, Chain, elements},
};

pub use self::starttls::StartTls;

/// The certificates that a server showed, in its own order, and proved to have the key for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedChain {
    leaf: CertificateDer<'static>,
    rest: Vec<CertificateDer<'static>>,
    protocol: Option<Vec<u8>>,
}

impl ServedChain {
    /// The certificate that the server showed first, whose key it has.
    pub fn leaf(&self) -> &CertificateDer<'static> {
        &self.leaf
    }

    /// All certificates in the order in which the server sent them, leaf first; at most
    /// [`Chain::MAX_CERTIFICATES`].
    pub fn certificates(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        std::iter::once(&self.leaf).chain(&self.rest)
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

    /// The application protocol that the server chose (RFC 7301); none if it chose none, or refused the
    /// client after it had shown its certificate.
    pub fn protocol(&self) -> Option<&[u8]> {
        self.protocol.as_deref()
    }
}

/// Connects to `address` over TCP and reads which certificates a TLS server shows there.
///
/// `server_name` goes into the SNI extension (RFC 6066 §3); none sends no such extension, as for addresses.
/// `timeout` spans connection and handshake. Dropping the future closes the connection.
///
/// # Errors
///
/// * [`ErrorKind::Unreachable`]: no connection.
/// * [`ErrorKind::Timeout`]: the server stalls.
/// * [`ErrorKind::Rejected`]: the server refused the handshake, as for a name that it does not know.
/// * [`ErrorKind::Protocol`]: no TLS, more than ten certificates, or a signature by another key than the
///   certificate's.
pub async fn served_chain(
    address: SocketAddr,
    server_name: Option<&DnsName>,
    timeout: Duration,
) -> Result<ServedChain> {
    let deadline = Instant::now() + timeout;
    let stream = connect(address, deadline).await?;
    served_over(stream, server_name, &[], deadline.duration_since(Instant::now())).await
}

/// As [`served_chain`], of a server that begins in the clear.
///
/// `timeout` spans connection, conversation and handshake.
///
/// # Errors
///
/// As [`served_chain`], and as [`StartTls::negotiate`].
pub async fn served_chain_after(
    protocol: StartTls,
    address: SocketAddr,
    server_name: Option<&DnsName>,
    timeout: Duration,
) -> Result<ServedChain> {
    let deadline = Instant::now() + timeout;
    let stream = connect(address, deadline).await?;
    let stream = protocol.negotiate(stream, deadline.duration_since(Instant::now())).await?;
    served_over(stream, server_name, &[], deadline.duration_since(Instant::now())).await
}

async fn connect(address: SocketAddr, deadline: Instant) -> Result<TcpStream> {
    timeout_at(deadline, TcpStream::connect(address))
        .await
        .map_err(|_| failed(ErrorKind::Timeout))?
        .map_err(|cause| failed(ErrorKind::Unreachable).because(cause))
}

/// Reads which certificates a TLS server shows over a connection on which TLS is to start now.
///
/// `protocols` are offered by ALPN (RFC 7301), such as `acme-tls/1`; empty offers none.
///
/// # Errors
///
/// As [`served_chain`].
pub async fn served_over<S>(
    stream: S,
    server_name: Option<&DnsName>,
    protocols: &[&[u8]],
    timeout: Duration,
) -> Result<ServedChain>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let provider = aws_lc_rs::default_provider();
    let witness = Arc::new(Witness::new(&provider));
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(|cause| failed(ErrorKind::Crypto).because(cause))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&witness) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    // A resumed session shows no certificate (RFC 8446 §2.2).
    config.resumption = Resumption::disabled();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config.enable_sni = server_name.is_some();
    let name = match server_name {
        Some(name) => ServerName::try_from(name.as_str().to_owned()).map_err(|_| {
            let refused = InputError::dns_name(name.as_str(), "TLS cannot send it as a server name");
            Error::input(Operation::Verify, refused)
        })?,
        // Sent nowhere: SNI is off, and the witness does not look at it.
        None => ServerName::from(std::net::IpAddr::from(Ipv4Addr::UNSPECIFIED)),
    };
    let deadline = Instant::now() + timeout;
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
    match timeout_at(deadline, handshake).await {
        Err(_) => Err(failed(ErrorKind::Timeout)),
        Ok(Ok(mut connection)) => {
            let protocol = connection.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
            // A polite end, so that the server logs no fault. It changes nothing if it fails.
            let _ = timeout_at(deadline, connection.shutdown()).await;
            witness.served(protocol).ok_or_else(|| protocol_broken("the server showed no certificate"))?
        }
        // Who demands a certificate of the client may refuse it after showing its own.
        Ok(Err(cause)) => witness.served(None).unwrap_or_else(|| Err(handshake_failed(cause))),
    }
}

/// Takes any certificate, and notes it once the handshake is signed with its key.
///
/// The size of a chain needs no care here: rustls reads no handshake message above 64 KiB.
#[derive(Debug)]
struct Witness {
    algorithms: WebPkiSupportedAlgorithms,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    certificates: Vec<CertificateDer<'static>>,
    proven: bool,
}

impl Witness {
    fn new(provider: &CryptoProvider) -> Self {
        Self { algorithms: provider.signature_verification_algorithms, seen: Mutex::default() }
    }

    /// What was shown and proven; none if nothing was.
    fn served(&self, protocol: Option<Vec<u8>>) -> Option<Result<ServedChain>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::take(&mut seen.proven) {
            return None;
        }
        let mut certificates = std::mem::take(&mut seen.certificates).into_iter();
        if certificates.len() > Chain::MAX_CERTIFICATES {
            return Some(Err(protocol_broken("the server showed more certificates than a chain has")));
        }
        let leaf = certificates.next()?;
        Some(Ok(ServedChain { leaf, rest: certificates.collect(), protocol }))
    }

    fn note(&self, signed: Result<(), rustls::Error>) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).proven = signed.is_ok();
        signed.map(|()| HandshakeSignatureValid::assertion())
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        rest: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = std::iter::once(leaf).chain(rest).take(Chain::MAX_CERTIFICATES + 1);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).certificates =
            shown.map(|der| der.clone().into_owned()).collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let signed = public_key(leaf).and_then(|key| {
            let key = RawPublicKeyEntity::try_from(&key).map_err(|_| CertificateError::BadEncoding)?;
            let mapping = self.algorithms.mapping.iter().find(|(scheme, _)| *scheme == signature.scheme);
            let (_, candidates) = mapping.ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
            // In TLS 1.2 a scheme leaves the curve open, so that several algorithms stand for it.
            let verified = candidates
                .iter()
                .any(|algorithm| key.verify_signature(*algorithm, message, signature.signature()).is_ok());
            if verified { Ok(()) } else { Err(CertificateError::BadSignature.into()) }
        });
        self.note(signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let signed = public_key(leaf)
            .and_then(|key| verify_tls13_signature_with_raw_key(message, &key, signature, &self.algorithms));
        self.note(signed.map(drop))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Takes the public key out of a certificate (RFC 5280 §4.1), whatever else is in it: rustls would refuse one
/// with a critical extension that it does not know, as certificates for `acme-tls/1` have.
fn public_key<'a>(certificate: &'a CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'a>, rustls::Error> {
    let find = || -> der::Result<&'a [u8]> {
        let mut fields = elements(elements(certificate)?.tlv_bytes()?)?;
        if Tag::peek(&fields)? != Tag::Integer {
            // The version.
            fields.tlv_bytes()?;
        }
        // Serial number, signature algorithm, issuer, validity, subject.
        for _ in 0..5 {
            fields.tlv_bytes()?;
        }
        fields.tlv_bytes()
    };
    find().map(SubjectPublicKeyInfoDer::from).map_err(|_| CertificateError::BadEncoding.into())
}

fn failed(kind: ErrorKind) -> Error {
    Error::new(ProviderName::ENGINE, Operation::Verify, kind)
}

fn protocol_broken(how: &'static str) -> Error {
    failed(ErrorKind::Protocol(how.into()))
}

/// Translates what the TLS library says about a handshake.
fn handshake_failed(cause: io::Error) -> Error {
    let tls = cause.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let error = match tls {
        Some(rustls::Error::AlertReceived(alert)) => {
            let refusal = VendorText::new(&format!("TLS alert {alert:?}"));
            failed(ErrorKind::Rejected(refusal)).retry_as(Retry::Backoff)
        }
        Some(rustls::Error::InvalidCertificate(CertificateError::BadSignature)) => {
            protocol_broken("the server does not have the key of the certificate that it shows")
        }
        Some(_) => protocol_broken("the TLS handshake failed"),
        None => protocol_broken("the server closed the connection during the TLS handshake"),
    };
    error.because(cause)
}

#[cfg(test)]
mod tests;
