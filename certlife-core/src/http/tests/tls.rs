//! Roots, client certificates and HTTP/2, against TLS servers on loopback.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::{TestClock, builder};
use crate::{
    error::{ErrorKind, Operation, Retry},
    http::{BundledRoots, Client, Settings},
};

struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    /// Makes a CA whose name no other one has.
    fn new() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        let name = format!("test CA {}", MADE.fetch_add(1, Ordering::SeqCst));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> String {
        self.0.pem()
    }

    fn issue(&self) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    fn identity(&self) -> String {
        let (certificate, key) = self.issue();
        certificate.pem() + &key.serialize_pem()
    }

    fn store(&self) -> Arc<RootCertStore> {
        let mut store = RootCertStore::empty();
        store.add(self.0.der().clone()).unwrap();
        Arc::new(store)
    }
}

struct Server {
    url: String,
    requests: Arc<AtomicUsize>,
    negotiated: Arc<std::sync::Mutex<Vec<Option<Vec<u8>>>>>,
}

/// Answers every request with `200 ok` over HTTP/1.1; asks for a client certificate of `clients`.
async fn serve(ca: &Ca, clients: Option<&Ca>, protocols: &[&[u8]]) -> Server {
    let (certificate, key) = ca.issue();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(clients.store(), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let server = Server { url, requests: Arc::default(), negotiated: Arc::default() };
    let (requests, negotiated) = (server.requests.clone(), server.negotiated.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            negotiated.lock().unwrap().push(stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec));
            let mut head = [0; 4_096];
            if stream.read(&mut head).await.unwrap_or(0) > 0 {
                requests.fetch_add(1, Ordering::SeqCst);
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
                let _ = stream.write_all(answer).await;
                let _ = stream.shutdown().await;
            }
        }
    });
    server
}

fn client(server: &Server, change: impl FnOnce(&mut Settings)) -> (Client, Arc<TestClock>) {
    let mut settings = Settings::default();
    change(&mut settings);
    let (builder, clock) = builder(&server.url);
    (builder.settings(&settings).build().unwrap(), clock)
}

#[tokio::test]
async fn given_roots_are_trusted_added_or_alone() {
    let ca = Ca::new();
    let server = serve(&ca, None, &[]).await;
    for bundled in [BundledRoots::Fallback, BundledRoots::Always] {
        for only in [false, true] {
            let (client, _) = client(&server, |settings| {
                settings.roots = Some(Ca::new().pem() + &ca.pem());
                settings.only_roots = only;
                settings.bundled_roots = bundled;
            });
            assert_eq!(client.get(Operation::Probe, &[]).send().await.unwrap().text().unwrap(), "ok");
        }
    }
}

#[tokio::test]
async fn an_untrusted_server_gets_no_request_and_is_not_asked_again_at_once() {
    let server = serve(&Ca::new(), None, &[]).await;
    for bundled in [BundledRoots::Fallback, BundledRoots::Always] {
        let (client, clock) = client(&server, |settings| settings.bundled_roots = bundled);
        let failed = client.post(Operation::PlaceOrder, &[]).send().await.unwrap_err();
        assert_eq!((failed.kind(), failed.retry()), (&ErrorKind::Unreachable, Retry::Backoff), "{failed:?}");
        assert!(failed.chain().contains("certificate"), "{}", failed.chain());
        assert_eq!((server.requests.load(Ordering::SeqCst), clock.sleeps().len()), (0, 0));
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_asked_for() {
    let (ca, clients) = (Ca::new(), Ca::new());
    let server = serve(&ca, Some(&clients), &[]).await;
    let (good, _) = client(&server, |settings| {
        settings.roots = Some(ca.pem());
        settings.client_identity = Some(clients.identity().into());
    });
    good.get(Operation::Probe, &[]).send().await.unwrap();

    for identity in [None, Some(ca.identity().into())] {
        let (bad, clock) = client(&server, |settings| {
            settings.roots = Some(ca.pem());
            settings.client_identity = identity;
        });
        let failed = bad.post(Operation::PlaceOrder, &[]).send().await.unwrap_err();
        assert_eq!((failed.kind(), failed.retry()), (&ErrorKind::Unauthorized, Retry::Never), "{failed:?}");
        assert_eq!(clock.sleeps().len(), 0);
    }
    assert_eq!(server.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn http_2_is_offered() {
    let ca = Ca::new();
    let server = serve(&ca, None, &[b"h2", b"http/1.1"]).await;
    let (client, _) = client(&server, |settings| settings.roots = Some(ca.pem()));
    // The server only pretends to speak it, so the request itself fails.
    client.get(Operation::Probe, &[]).deadline(std::time::Duration::ZERO).send().await.unwrap_err();
    assert_eq!(server.negotiated.lock().unwrap()[0].as_deref(), Some(&b"h2"[..]));
}

/// A machine without root certificates cannot be had in this process, so the test runs itself in another one.
#[test]
fn without_a_platform_store_the_bundled_roots_step_in() {
    let this = std::env::current_exe().unwrap();
    let name = "http::tests::tls::child_without_a_platform_store";
    let ran = std::process::Command::new(this)
        .args(["--exact", name, "--ignored"])
        .env("SSL_CERT_FILE", "/nonexistent")
        .env("SSL_CERT_DIR", "/nonexistent")
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
    assert!(String::from_utf8_lossy(&ran.stdout).contains("1 passed"));
}

#[test]
#[ignore = "runs in a process of its own, see above"]
fn child_without_a_platform_store() {
    let build = |bundled, roots| {
        let settings = Settings { bundled_roots: bundled, roots, ..Settings::default() };
        builder("https://vendor.invalid").0.settings(&settings).build()
    };
    for roots in [None, Some(Ca::new().pem())] {
        assert!(build(BundledRoots::Fallback, roots.clone()).is_ok());
        assert!(build(BundledRoots::Always, roots.clone()).is_ok());
        if cfg!(target_os = "linux") {
            assert!(build(BundledRoots::Never, roots).is_err());
        }
    }
}
