use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use ::rustls::SignatureScheme;
use certlife_core::{
    CertificateId, Deployer as _, ErrorKind, KeyAlgorithm, PrivateKey, challenge::TlsAlpnResponse,
    deploy::TargetResponse, tls::served_chain,
};
use certlife_testkit::deploy::Issuer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{super::*, PATIENCE, Process};

#[tokio::test]
async fn the_certificate_goes_by_the_name() {
    let (process, issuer) = (Process::start(), Issuer::new());
    process.install(&issuer, "wild", &["*.example.org"]).await;
    process.install(&issuer, "www", &["www.example.org", "example.org"]).await;
    process.install(&issuer, "mail", &["mail.example.net"]).await;
    for (asked, shown) in [
        ("www.example.org", "example.org www.example.org"),
        ("WWW.Example.ORG", "example.org www.example.org"),
        ("example.org", "example.org www.example.org"),
        ("other.example.org", "*.example.org"),
        ("a.other.example.org", ""),
        ("mail.example.net", "mail.example.net"),
        ("example.net", ""),
        ("org", ""),
    ] {
        assert_eq!(process.names(Some(asked)).await, shown, "{asked}");
    }
    assert_eq!(process.names(None).await, "", "several could be meant");
}

#[tokio::test]
async fn without_a_name_the_default_comes_first_then_addresses_then_the_only_one() {
    let issuer = Issuer::new();
    let mut process = Process::start();
    process.install(&issuer, "www", &["www.example.org"]).await;
    assert_eq!(process.names(None).await, "www.example.org");
    process.install(&issuer, "mail", &["mail.example.org"]).await;
    assert_eq!(process.names(None).await, "");
    process.install(&issuer, "address", &["192.0.2.1"]).await;
    assert_eq!(process.names(None).await, "192.0.2.1");
    assert_eq!(process.names(Some("unknown.example.org")).await, "");

    process.server = Rustls::builder().default_certificate(CertificateId::new("mail").unwrap()).build();
    process.install(&issuer, "address", &["192.0.2.1"]).await;
    assert_eq!(process.names(Some("unknown.example.org")).await, "", "the default is not installed");
    process.install(&issuer, "mail", &["mail.example.org"]).await;
    for asked in [None, Some("unknown.example.org")] {
        assert_eq!(process.names(asked).await, "mail.example.org");
    }
}

#[tokio::test]
async fn of_several_for_a_name_the_newest_that_the_client_can_use_is_shown() {
    let (server, issuer) = (Rustls::new(), Issuer::new());
    let names = ["www.example.org".parse().unwrap()];
    let bundle =
        |name: &str, algorithm| issuer.bundle_with(&CertificateId::new(name).unwrap(), &names, algorithm);
    let rsa = bundle("rsa", KeyAlgorithm::Rsa2048);
    let old = bundle("old", KeyAlgorithm::EcdsaP256);
    let new = bundle("new", KeyAlgorithm::EcdsaP256);
    for bundle in [&new, &rsa, &old] {
        server.install(bundle).await.unwrap();
    }
    let shown = |schemes: &[SignatureScheme]| {
        let picked = server.read().pick(Some("www.example.org"), schemes).unwrap();
        picked.cert[0].clone()
    };
    assert_eq!(
        shown(&[SignatureScheme::RSA_PSS_SHA256, SignatureScheme::ECDSA_NISTP256_SHA256]),
        *new.chain.leaf()
    );
    assert_eq!(shown(&[SignatureScheme::RSA_PSS_SHA256]), *rsa.chain.leaf());
    assert_eq!(shown(&[SignatureScheme::ED25519]), *new.chain.leaf());
    server.uninstall(&new.certificate).await.unwrap();
    assert_eq!(shown(&[SignatureScheme::ECDSA_NISTP256_SHA256]), *old.chain.leaf());
}

/// Clients on several threads, over TCP, during switches.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_handshake_fails_while_versions_are_switched() {
    let (server, issuer) = (Rustls::new(), Issuer::new());
    let certificate = CertificateId::new("www").unwrap();
    let bundles: Vec<_> =
        (0..60).map(|_| issuer.bundle(&certificate, &["www.example.org".parse().unwrap()])).collect();
    let known: BTreeSet<_> = bundles.iter().map(|bundle| bundle.chain.fingerprint()).collect();
    server.install(&bundles[0]).await.unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server.server_config(["http/1.1"]).unwrap()));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move { acceptor.accept(stream).await.map(drop) });
        }
    });

    let (done, handshakes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (done, handshakes, known) = (Arc::clone(&done), Arc::clone(&handshakes), known.clone());
            tokio::spawn(async move {
                let name = "www.example.org".parse().unwrap();
                while !done.load(Ordering::Relaxed) {
                    let shown = served_chain(address, Some(&name), PATIENCE).await.unwrap();
                    assert!(known.contains(&shown.fingerprint()));
                    handshakes.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for bundle in &bundles {
        let before = handshakes.load(Ordering::Relaxed);
        server.install(bundle).await.unwrap();
        while handshakes.load(Ordering::Relaxed) < before + 2 {
            tokio::task::yield_now().await;
        }
    }
    let name = "www.example.org".parse().unwrap();
    let shown = served_chain(address, Some(&name), PATIENCE).await.unwrap();
    assert_eq!(shown.fingerprint(), bundles[59].chain.fingerprint(), "a new connection sees the new version");
    done.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
}

fn challenge(host: &str) -> TargetResponse {
    TargetResponse::TlsAlpn(TlsAlpnResponse { identifier: host.parse().unwrap(), digest: [7; 32] })
}

#[tokio::test]
async fn protocols_are_negotiated_and_validators_kept_apart() {
    let (process, issuer) = (Process::start(), Issuer::new());
    let bundle = process.install(&issuer, "www", &["www.example.org"]).await;
    process.server.put_challenge(&challenge("www.example.org")).await.unwrap();
    let shown = async |name, protocols: &[&[u8]]| {
        let served = process.handshake(name, protocols).await.ok()?;
        Some((served.leaf() == bundle.chain.leaf(), served.protocol().map(<[u8]>::to_vec)))
    };
    let (www, own) = (Some("www.example.org"), true);
    assert_eq!(shown(www, &[]).await, Some((own, None)));
    assert_eq!(shown(www, &[b"http/1.1"]).await, Some((own, Some(b"http/1.1".to_vec()))));
    assert_eq!(shown(www, &[b"http/1.1", b"h2"]).await, Some((own, Some(b"h2".to_vec()))));
    assert_eq!(shown(www, &[b"smtp"]).await, None);
    assert_eq!(shown(www, &[b"acme-tls/1"]).await, Some((!own, Some(b"acme-tls/1".to_vec()))));
    // No validator asks like this, and nobody is to get a certificate under the wrong protocol.
    assert_eq!(shown(www, &[b"acme-tls/1", b"h2"]).await, None);
    assert_eq!(shown(www, &[b"h2", b"acme-tls/1"]).await, None);
    assert_eq!(shown(None, &[b"acme-tls/1"]).await, None);
    assert_eq!(shown(Some("other.example.org"), &[b"acme-tls/1"]).await, None);
}

#[tokio::test]
async fn a_wildcard_is_not_proven_in_a_handshake() {
    let error = Rustls::new().put_challenge(&challenge("*.example.org")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported(_)), "{error}");
}

#[tokio::test]
async fn what_the_certificate_says_counts_rather_than_what_was_ordered() {
    let (process, issuer) = (Process::start(), Issuer::new());
    let mut bundle = issuer.bundle(
        &CertificateId::new("www").unwrap(),
        &["www.example.org".parse().unwrap(), "example.org".parse().unwrap()],
    );
    bundle.identifiers = vec!["stolen.example.net".parse().unwrap()];
    process.server.install(&bundle).await.unwrap();
    process.install(&issuer, "other", &["other.example.org"]).await;
    assert_eq!(process.names(Some("stolen.example.net")).await, "");
    assert_eq!(process.names(Some("example.org")).await, "example.org www.example.org");
}

#[tokio::test]
async fn old_versions_do_not_pile_up() {
    let (server, issuer) = (Rustls::new(), Issuer::new());
    let certificate = CertificateId::new("www").unwrap();
    let names = ["www.example.org".parse().unwrap()];
    let mut receipts = Vec::new();
    for _ in 0..20 {
        receipts.push(server.install(&issuer.bundle(&certificate, &names)).await.unwrap());
    }
    for receipt in receipts.iter().rev().take(4) {
        server.rollback(receipt).await.unwrap();
    }
    let error = server.rollback(&receipts[15]).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotFound(_)), "{error}");
    // A bundle with a key that no handshake can use changes nothing.
    let mut foreign = issuer.bundle(&certificate, &names);
    foreign.key = Some(PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap());
    server.install(&foreign).await.unwrap_err();
    assert_eq!(server.installed(&certificate).await.unwrap().unwrap().version, receipts[16].replaced);
}
