use std::sync::Arc;

use rcgen::{CertifiedKey, KeyPair};
use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::aws_lc_rs::default_provider,
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::{self, SigningKey},
    version::{TLS12, TLS13},
};
use rustls_pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn self_signed(name: &str) -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed([name.to_owned()]).unwrap()
}

fn signing_key(key: &KeyPair) -> Arc<dyn SigningKey> {
    let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    default_provider().key_provider.load_private_key(der).unwrap()
}

/// Shows `chain` for the one name, and nothing without a name.
#[derive(Debug)]
struct Shows {
    name: Option<&'static str>,
    key: Arc<sign::CertifiedKey>,
}

impl ResolvesServerCert for Shows {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<sign::CertifiedKey>> {
        (hello.server_name() == self.name).then(|| Arc::clone(&self.key))
    }
}

fn shows(
    versions: &[&'static SupportedProtocolVersion],
    name: Option<&'static str>,
    chain: Vec<CertificateDer<'static>>,
    key: &KeyPair,
) -> ServerConfig {
    let key = Arc::new(sign::CertifiedKey::new(chain, signing_key(key)));
    ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Shows { name, key }))
}

/// Serves one connection after another.
async fn serve(config: ServerConfig) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _: Result<_, std::io::Error> = acceptor.accept(stream).await;
        }
    });
    address
}

fn name(text: &str) -> DnsName {
    text.parse().unwrap()
}

#[tokio::test]
async fn the_chain_comes_as_it_was_sent_under_both_versions() {
    let (own, other) = (self_signed("a.example"), self_signed("b.example"));
    let chain = vec![own.cert.der().clone(), other.cert.der().clone()];
    for version in [&TLS12, &TLS13] {
        let address = serve(shows(&[version], Some("a.example"), chain.clone(), &own.signing_key)).await;
        let served = served_chain(address, Some(&name("a.example")), SECOND * 10).await.unwrap();
        assert_eq!(served.certificates().cloned().collect::<Vec<_>>(), chain);
        assert_eq!(served.leaf(), own.cert.der());
        assert_eq!(served.info().unwrap().sha256, served.fingerprint());
    }
}

#[tokio::test]
async fn the_server_name_is_sent_as_given_or_not_at_all() {
    let own = self_signed("a.example");
    let address =
        serve(shows(&[&TLS13], Some("a.example"), vec![own.cert.der().clone()], &own.signing_key)).await;
    for wrong in [None, Some(name("b.example"))] {
        let error = served_chain(address, wrong.as_ref(), SECOND * 10).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Rejected(_)), "{}", error.chain());
        assert_eq!(error.retry(), Retry::Backoff);
    }
    let address = serve(shows(&[&TLS13], None, vec![own.cert.der().clone()], &own.signing_key)).await;
    served_chain(address, None, SECOND * 10).await.unwrap();
}

#[tokio::test]
async fn a_certificate_without_its_key_does_not_pass() {
    let (own, other) = (self_signed("a.example"), self_signed("a.example"));
    for version in [&TLS12, &TLS13] {
        let config = shows(&[version], Some("a.example"), vec![own.cert.der().clone()], &other.signing_key);
        let error =
            served_chain(serve(config).await, Some(&name("a.example")), SECOND * 10).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Protocol(how) if how.contains("key")), "{}", error.chain());
    }
}

#[tokio::test]
async fn a_server_that_wants_a_client_certificate_has_shown_its_own() {
    let own = self_signed("a.example");
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let provider = Arc::new(default_provider());
    for version in [&TLS12, &TLS13] {
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), Arc::clone(&provider));
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(
                vec![own.cert.der().clone()],
                PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap(),
            )
            .unwrap();
        let served = served_chain(serve(config).await, None, SECOND * 10).await.unwrap();
        assert_eq!(served.leaf(), own.cert.der());
    }
}

#[tokio::test]
async fn a_critical_extension_that_nobody_knows_is_no_obstacle() {
    let key = KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
    params.custom_extensions = vec![rcgen::CustomExtension::new_acme_identifier(&[7; 32])];
    let der = params.self_signed(&key).unwrap().der().clone();
    for version in [&TLS12, &TLS13] {
        let address = serve(shows(&[version], None, vec![der.clone()], &key)).await;
        assert_eq!(*served_chain(address, None, SECOND * 10).await.unwrap().leaf(), der);
    }
}

#[tokio::test]
async fn what_is_no_certificate_is_refused() {
    let key = KeyPair::generate().unwrap();
    for garbage in [&b""[..], b"\x30\x00", b"\x30\x02\x30\x00", b"\x30\x05\x30\x03\x02\x01\x01", &[0x30; 64]]
    {
        for version in [&TLS12, &TLS13] {
            let address = serve(shows(&[version], None, vec![garbage.to_vec().into()], &key)).await;
            let error = served_chain(address, None, SECOND * 10).await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{}", error.chain());
        }
    }
}

#[tokio::test]
async fn offered_protocols_reach_the_server() {
    let own = self_signed("a.example");
    let mut config = shows(&[&TLS13], Some("a.example"), vec![own.cert.der().clone()], &own.signing_key);
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    let stream = TcpStream::connect(serve(config).await).await.unwrap();
    let served = served_over(stream, Some(&name("a.example")), &[b"acme-tls/1"], SECOND * 10).await.unwrap();
    assert_eq!(served.protocol(), Some(&b"acme-tls/1"[..]));
}

#[tokio::test]
async fn tls_can_start_in_the_middle_of_a_connection() {
    let own = self_signed("a.example");
    let config = shows(&[&TLS13], Some("a.example"), vec![own.cert.der().clone()], &own.signing_key);
    let (client, far_end) = tokio::io::duplex(1_024);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move { acceptor.accept(far_end).await.map(drop) });
    let served = served_over(client, Some(&name("a.example")), &[], SECOND * 10).await.unwrap();
    assert_eq!(served.leaf(), own.cert.der());
}

#[tokio::test]
async fn an_endless_chain_is_refused() {
    let own = self_signed("a.example");
    for copies in [Chain::MAX_CERTIFICATES + 1, 500] {
        let config =
            shows(&[&TLS13], Some("a.example"), vec![own.cert.der().clone(); copies], &own.signing_key);
        let error =
            served_chain(serve(config).await, Some(&name("a.example")), SECOND * 10).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{}", error.chain());
    }
}

/// Serves `answer` to every connection, and then nothing more; closes it if told so.
async fn answer(answer: &'static [u8], close: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(answer).await;
            if !close {
                open.push(stream);
            }
        }
    });
    address
}

#[tokio::test]
async fn what_goes_wrong_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let error = served_chain(closed, None, SECOND * 10).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unreachable);

    let stalled = answer(b"", false).await;
    let error = served_chain(stalled, None, SECOND / 20).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Timeout);

    for (bytes, close) in
        [(&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], true), (b"", true), (&[0; 9_000], false)]
    {
        let error = served_chain(answer(bytes, close).await, None, SECOND * 10).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{}", error.chain());
        assert_eq!(error.retry(), Retry::Backoff);
    }
}
