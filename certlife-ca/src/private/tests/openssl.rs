//! What OpenSSL makes of certificates, lists and requests, in both directions.

use std::{
    path::Path,
    process::{Command, Output},
};

use certlife_core::{
    CertificateAuthority as _, Chain, Csr, KeyAlgorithm, RevocationReason, Secret,
    ca::{IssuedRef, OrderIntent, OrderSnapshot, Revocation, Stage},
};
use tempfile::TempDir;

use super::{Ground, intent, intent_with, request};
use crate::private::Private;

fn run(arguments: &[&str], directory: &Path) -> Output {
    Command::new("openssl")
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("these tests need the `openssl` command")
}

fn openssl(arguments: &[&str], directory: &Path) -> String {
    let output = run(arguments, directory);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {words}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A directory with the root, the issuing certificate and the leaf of an order.
async fn laid_out(ca: &Private, chain: &Chain) -> TempDir {
    let directory = TempDir::new().unwrap();
    let write = |name, text: String| std::fs::write(directory.path().join(name), text).unwrap();
    write("root.pem", ca.root_pem().await.unwrap());
    write("issuers.pem", chain.intermediates_pem());
    write("leaf.pem", chain.leaf_pem());
    directory
}

const VERIFY: &[&str] = &["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", "root.pem"];

fn chain(snapshot: OrderSnapshot) -> Chain {
    assert_eq!(snapshot.stage, Stage::Issued, "{:?}", snapshot.message);
    snapshot.certificate.unwrap()
}

/// Verifies at the time of the test clock.
fn at(ground: &Ground) -> String {
    certlife_core::Clock::now(&*ground.clock).unix_seconds().to_string()
}

#[tokio::test]
async fn every_key_on_either_side_verifies_strictly() {
    use KeyAlgorithm::{EcdsaP256, EcdsaP384, EcdsaP521, Ed25519, Rsa2048};
    for (root, issuing) in [
        (EcdsaP384, EcdsaP256),
        (Rsa2048, Rsa2048),
        (EcdsaP521, EcdsaP384),
        (Ed25519, Ed25519),
        (EcdsaP256, EcdsaP521),
    ] {
        let ground = Ground::new();
        let ca = ground.builder().root_key(root).issuing_key(issuing).build().unwrap();
        for algorithm in [Rsa2048, EcdsaP256, EcdsaP384, EcdsaP521, Ed25519] {
            let names = ["a.example", "*.b.example", "192.0.2.1", "2001:db8::1"];
            let intent = intent_with(algorithm.as_str(), request(&names), algorithm);
            let directory = laid_out(&ca, &chain(ca.place(&intent).await.unwrap())).await;
            let time = at(&ground);
            let rest = [
                "-attime",
                &time,
                "-untrusted",
                "issuers.pem",
                "-verify_hostname",
                "x.b.example",
                "leaf.pem",
            ];
            openssl(&[VERIFY, &rest].concat(), directory.path());
        }
    }
}

#[tokio::test]
async fn requests_made_by_openssl_are_certified_with_their_very_key() {
    let ground = Ground::new();
    let ca = ground.ca();
    let directory = TempDir::new().unwrap();
    let staple = "tlsfeature=status_request";
    for (number, (key, extra)) in [
        (&["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"][..], &["-sha256"][..]),
        (&["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"], &["-sha256"]),
        (&["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"], &["-sha512", "-addext", staple]),
        (&["-newkey", "rsa:2048"], &["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"]),
        (&["-newkey", "rsa:2048"], &["-sha384", "-addext", "keyUsage=critical,digitalSignature"]),
        (&["-newkey", "rsa:5120"], &[]),
        (&["-newkey", "ed25519"], &[]),
    ]
    .into_iter()
    .enumerate()
    {
        let subject = [
            "-subj",
            "/C=DE/O=Else/OU=One/OU=Two/CN=odd.example",
            "-addext",
            "subjectAltName=DNS:odd.example",
        ];
        let files = ["-nodes", "-keyout", "key.pem", "-out", "csr.pem"];
        openssl(&[&["req", "-new"][..], key, extra, &subject, &files].concat(), directory.path());
        let csr = Csr::from_pem(&std::fs::read_to_string(directory.path().join("csr.pem")).unwrap()).unwrap();
        let reference = format!("odd-{number}");
        let intent = OrderIntent { reference, request: request(&["odd.example"]), csr };
        let chain = chain(ca.place(&intent).await.unwrap());
        let laid_out = laid_out(&ca, &chain).await;
        openssl(
            &[VERIFY, &["-attime", &at(&ground), "-untrusted", "issuers.pem", "leaf.pem"]].concat(),
            laid_out.path(),
        );
        let leaf = laid_out.path().join("leaf.pem");
        let certified =
            openssl(&["x509", "-noout", "-pubkey", "-in", leaf.to_str().unwrap()], directory.path());
        let asked = openssl(&["req", "-noout", "-pubkey", "-in", "csr.pem"], directory.path());
        assert_eq!(certified, asked);
        let info = chain.info().unwrap();
        assert_eq!(info.must_staple, extra.contains(&staple));
        // Nothing else of the request comes through: neither its subject nor its other extensions.
        assert_eq!(info.subject.as_str(), "CN=odd.example");
        assert_eq!(info.key_hash, intent.csr.public_key_hash());
    }
}

#[tokio::test]
async fn a_request_cannot_widen_its_order() {
    let ground = Ground::new();
    let wide = intent("wide", request(&["a.example", "admin.example"]));
    let intent = OrderIntent { request: request(&["a.example"]), ..wide };
    let error = ground.ca().place(&intent).await.unwrap_err();
    assert!(error.to_string().contains("also asks for admin.example"), "{error}");
}

#[tokio::test]
async fn the_list_convinces_openssl() {
    let ground = Ground::new();
    let ca = ground.builder().crl_url("http://crl.example/inside.crl".parse().unwrap()).build().unwrap();
    let kept = chain(ca.place(&intent("kept", request(&["kept.example"]))).await.unwrap());
    let revoked = chain(ca.place(&intent("revoked", request(&["revoked.example"]))).await.unwrap());
    assert_eq!(revoked.info().unwrap().crl_urls[0].as_str(), "http://crl.example/inside.crl");
    let first = ca.crl().await.unwrap();
    let revocation = Revocation {
        issued: IssuedRef { handle: None, chain: revoked.clone() },
        reason: RevocationReason::KeyCompromise,
        comment: None,
    };
    ca.revoke(&revocation, None).await.unwrap();
    let second = ca.crl().await.unwrap();
    assert_eq!((first.number, second.number), (1, 2));
    for (chain, word) in [(kept, None), (revoked, Some("certificate revoked"))] {
        let directory = laid_out(&ca, &chain).await;
        std::fs::write(directory.path().join("list.pem"), second.pem().unwrap()).unwrap();
        let time = at(&ground);
        let rest =
            ["-attime", &time, "-untrusted", "issuers.pem", "-crl_check", "-CRLfile", "list.pem", "leaf.pem"];
        let arguments = [VERIFY, &rest].concat();
        match word {
            None => _ = openssl(&arguments, directory.path()),
            Some(word) => {
                let output = run(&arguments, directory.path());
                let words = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(!output.status.success() && words.contains(word), "{words}");
            }
        }
        let text = openssl(
            &["crl", "-noout", "-text", "-in", "list.pem", "-CAfile", "issuers.pem"],
            directory.path(),
        );
        assert!(text.contains("Key Compromise") && text.contains("X509v3 CRL Number"), "{text}");
    }
}

/// Makes a CA with OpenSSL whose name has that form, and returns key and certificate in PEM.
fn foreign(directory: &Path, key: &[&str], subject: &str, extra: &[&str]) -> (Secret, String) {
    let files = ["-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "3650"];
    let extensions = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"];
    let start = ["req", "-x509", "-new", "-subj", subject];
    openssl(&[&start[..], key, extra, &extensions, &files].concat(), directory);
    let read = |name| std::fs::read_to_string(directory.join(name)).unwrap();
    (Secret::new(read("ca.key")), read("ca.pem"))
}

#[tokio::test]
async fn below_a_foreign_authority_names_stay_the_bytes_that_they_are() {
    let p256: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    for (key, subject, extra) in [
        (p256, "/DC=com/DC=example/CN=AD CA", &[][..]),
        (&["-newkey", "rsa:2048"], "/DC=com/DC=example/CN=AD CA", &[]),
        (p256, "/O=Two/OU=First/OU=Second/CN=Units", &[]),
        (p256, "/O=Multi+OU=Valued/CN=Set", &["-multivalue-rdn"]),
        (p256, "/C=DE/O=M\u{fc}ller/CN=Umlaut", &["-utf8"]),
        (p256, "/O=Müller/CN=Old", &["-nameopt", "oneline"]),
        (p256, "/CN=Mail/emailAddress=ca@example.com", &[]),
    ] {
        let made = TempDir::new().unwrap();
        let (key, pem) = foreign(made.path(), key, subject, extra);
        let ground = Ground::new();
        // The certificate is from the wall clock.
        let clock = std::sync::Arc::new(certlife_core::SystemClock::default());
        let ca = ground.builder().clock(clock).import(key, pem).build().unwrap();
        let chain = chain(ca.place(&intent("leaf", request(&["leaf.example"]))).await.unwrap());
        let directory = laid_out(&ca, &chain).await;
        openssl(&[VERIFY, &["leaf.pem"]].concat(), directory.path());
        let issuer = openssl(&["x509", "-noout", "-issuer_hash", "-in", "leaf.pem"], directory.path());
        let subject = openssl(&["x509", "-noout", "-subject_hash", "-in", "root.pem"], directory.path());
        assert_eq!(issuer, subject);
        std::fs::write(directory.path().join("list.pem"), ca.crl().await.unwrap().pem().unwrap()).unwrap();
        openssl(&[VERIFY, &["-crl_check", "-CRLfile", "list.pem", "leaf.pem"]].concat(), directory.path());
    }
}

#[tokio::test]
async fn an_imported_key_must_belong_to_an_authority() {
    let made = TempDir::new().unwrap();
    let p256: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let (key, pem) = foreign(made.path(), p256, "/CN=One", &[]);
    let (other, _) = foreign(made.path(), p256, "/CN=Two", &[]);
    let (leaf_key, leaf) =
        foreign(made.path(), p256, "/CN=Leaf", &["-addext", "basicConstraints=critical,CA:FALSE"]);
    let ground = Ground::new();
    let refused = |key: Secret, pem: &str| ground.builder().import(key, pem).build().unwrap_err().to_string();
    assert!(refused(other, &pem).contains("import.chain"));
    assert!(refused(leaf_key, &leaf).contains("may not sign certificates"));
    assert!(refused(Secret::new("secret junk"), &pem).contains("import.key"));
    assert!(!refused(Secret::new("secret junk"), &pem).contains("secret junk"));
    assert!(ground.builder().import(key, pem).build().is_ok());
}

#[tokio::test]
async fn names_outside_the_permitted_ones_are_refused_here_and_by_openssl() {
    let ground = Ground::new();
    let narrow = ground.builder().permitted_names(["inside.example".parse().unwrap()]).build().unwrap();
    let good = chain(narrow.place(&intent("good", request(&["a.inside.example"]))).await.unwrap());
    let directory = laid_out(&narrow, &good).await;
    let time = at(&ground);
    let verify = [VERIFY, &["-attime", &time, "-untrusted", "issuers.pem", "leaf.pem"]].concat();
    openssl(&verify, directory.path());
    let refused = narrow.place(&intent("bad", request(&["outside.example"]))).await.unwrap_err();
    assert!(refused.to_string().contains("only below inside.example"), "{refused}");
    let refused = narrow.place(&intent("ip", request(&["10.0.0.1"]))).await.unwrap_err();
    assert!(refused.chain().contains("10.0.0.1"), "{refused}");
    // Settings that are widened later do not widen what the certificates say.
    let wide = ground.ca();
    let over = wide.place(&intent("late", request(&["outside.example"]))).await.unwrap();
    assert_eq!(over.stage, Stage::Rejected);
    assert!(over.message.unwrap().as_str().contains("outside.example"));
    let text = openssl(&["x509", "-noout", "-text", "-in", "root.pem"], directory.path());
    assert!(text.contains("DNS:inside.example") && text.contains("pathlen:1"), "{text}");
}
