//! What the inputs begin as: valid data of every kind.

use std::sync::{Arc, OnceLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use certlife_core::{
    CsrTemplate, Engine, KeyAlgorithm, Keystore, LocalKeyRing, PrivateKey, SecretBytes,
    engine::{CaOptions, DnsOptions, TargetOptions},
    model::{CertificateSpec, Route},
    store::MemoryStore,
};
use certlife_testkit::{ca::MemoryCa, clock::ManualClock, deploy::MemoryTarget, dns::MemoryDns, work};
use serde_json::to_vec;

pub(crate) const NAMES: [&str; 12] = [
    "example.com",
    "*.example.com",
    "_acme-challenge.www.example.com.",
    "xn--bcher-kva.example",
    "bücher.example",
    "日本語.例え.テスト",
    "192.0.2.1",
    "[2001:db8::1]",
    "::ffff:192.0.2.1",
    "a-b.c--d.example",
    "localhost",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

pub(crate) const PATHS: [&str; 6] = [
    "/.well-known/acme-challenge/LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0",
    "/.well-known/pki-validation/A1B2C3.txt",
    "/.well-known/a/b/c",
    "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0",
    "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI",
    "A1B2C3\r\ncomodoca.com\r\n",
];

pub(crate) const WORDS: [&str; 2] = [
    "the order was rejected: CAA record for example.com prevents issuance",
    "line one\r\nline two\u{1b}[31m red \u{202e}reversed",
];

pub(crate) const MOMENTS: [&str; 3] =
    ["2026-01-15T09:30:00.5+01:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"];

/// Behind the header's first three bytes: one question, a CNAME and a TXT record, with compression.
pub(crate) const DNS_ANSWER: &[u8] =
    b"\x01\0\0\x01\0\x02\0\0\0\0\x0f_acme-challenge\x07example\x03com\0\0\x10\0\x01\
    \xc0\x0c\0\x05\0\x01\0\0\0\x01\0\x04\x01x\xc0\x1c\xc0\x39\0\x10\0\x01\0\0\0\x01\0\x06\x05value";

pub(crate) const HTTP_SUCCESSES: [&str; 2] = [
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{\"id\":\"a\",\"b\":1}",
    "HTTP/1.1 200 OK\r\nRetry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
];

pub(crate) const HTTP_FAILURES: [&str; 4] = [
    "HTTP/1.1 429 Too Many\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 503 Later\r\nRetry-After: Sunday, 06-Nov-94 08:49:37 GMT\r\nContent-Length: 2\r\n\r\n{}",
    "HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/elsewhere\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 403 No\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<!DOCTYPE html><p>Login",
];

pub(crate) const PROBLEM: &str = r#"{"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"No","status":403,"subproblems":[{"type":"urn:ietf:params:acme:error:caa","detail":"CAA","identifier":{"type":"dns","value":"example.com"}}]}"#;

/// What servers say until TLS starts, behind the number of the protocol, and then an alert in place of a handshake.
pub(crate) const STARTTLS: [&[u8]; 6] = [
    b"\x00220-mail.example ESMTP\r\n220 no spam\r\n250-mail.example\r\n250-SIZE 10240000\r\n250 STARTTLS\r\n\
    220 2.0.0 Ready to start TLS\r\n\x1e\x15\x03\x03\0\x02\x02\x28",
    b"\x01* OK [CAPABILITY IMAP4rev1] ready.\r\n* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\nc1 OK done\r\n\
    c2 OK Begin TLS negotiation now.\r\n\x1e\x15\x03\x03\0\x02\x02\x28",
    b"\x02+OK ready.\r\n+OK\r\nCAPA\r\nTOP\r\nSTLS\r\n.\r\n+OK Begin TLS negotiation now.\r\n\x1e\x15\x03\x03\0\x02\x02\x28",
    b"\x03\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\0\x04\0\x04\0\x1e\x15\x03\x03\0\x02\x02\x28",
    // As Active Directory writes lengths.
    b"\x03\x30\x84\0\0\0\x10\x02\x01\x01\x78\x84\0\0\0\x07\x0a\x01\0\x04\0\x04\0\x1e\x16\x03\x03\0\x04\x02\0\0\0",
    b"\x04S\x1e\x16\x03\x03\0\x26\x02\0\0\x22\x03\x03",
];

/// Seeds that have to be made.
pub(crate) struct Seeds {
    /// A leaf, its issuer, and a root.
    pub(crate) certificates: Vec<Vec<u8>>,
    pub(crate) requests: Vec<Vec<u8>>,
    pub(crate) keys: Vec<Vec<u8>>,
    pub(crate) records: Vec<Vec<u8>>,
    /// The leaf with its issuer and its key.
    pub(crate) keystore: Keystore,
}

impl Seeds {
    /// Makes them once a process.
    pub(crate) fn get() -> &'static Self {
        static SEEDS: OnceLock<Seeds> = OnceLock::new();
        SEEDS.get_or_init(Self::make)
    }

    /// Leaf and issuer as a CA sends them.
    pub(crate) fn chain_pem(&self) -> String {
        self.certificates.iter().take(2).map(|der| pem("CERTIFICATE", der)).collect()
    }

    fn make() -> Self {
        let keys: Vec<PrivateKey> = [
            KeyAlgorithm::EcdsaP256,
            KeyAlgorithm::EcdsaP384,
            KeyAlgorithm::EcdsaP521,
            KeyAlgorithm::Ed25519,
            KeyAlgorithm::Rsa2048,
        ]
        .into_iter()
        .map(|algorithm| PrivateKey::generate(algorithm).unwrap())
        .collect();
        let mut template =
            CsrTemplate::new(["example.com", "*.example.com", "192.0.2.1"].map(|name| name.parse().unwrap()));
        template.must_staple = true;
        let requests = keys.iter().map(|key| template.sign(key).unwrap().der().to_vec()).collect();
        let mut ders: Vec<Vec<u8>> =
            keys.iter().map(|key| key.to_pkcs8_der().unwrap().expose().to_vec()).collect();
        // What PKCS#8 wraps, behind its header: PKCS#1 of the RSA key (RFC 8017), the last one above.
        ders.extend(ders.last().map(|der| der[26..].to_vec()));
        let (certificates, records, keystore) = tokio::runtime::Runtime::new().unwrap().block_on(issue());
        Self { certificates, requests, keys: ders, records, keystore }
    }
}

/// What a whole issuance leaves behind.
async fn issue() -> (Vec<Vec<u8>>, Vec<Vec<u8>>, Keystore) {
    let clock = ManualClock::default();
    let ca = MemoryCa::builder(Arc::new(clock.clone()))
        .challenges([certlife_core::challenge::ChallengeKind::DnsTxt])
        .build();
    let dns = MemoryDns::with_clock(Arc::new(clock.clone()));
    dns.add_zone("example.com");
    let ring = LocalKeyRing::from_key(SecretBytes::new(vec![7; 32])).unwrap();
    let engine = Engine::builder(Arc::new(MemoryStore::new()), Arc::new(ring))
        .clock(Arc::new(clock.clone()))
        .lookup(Arc::new(dns.clone()))
        .linger(std::time::Duration::ZERO)
        .ca("ca".parse().unwrap(), Arc::new(ca.clone()), CaOptions::default())
        .dns("dns".parse().unwrap(), Arc::new(dns.account(&["example.com"])), DnsOptions::default())
        .target(
            "web".parse().unwrap(),
            Arc::new(MemoryTarget::with_clock(Arc::new(clock.clone()))),
            TargetOptions::default(),
        )
        .build()
        .await
        .unwrap();
    let id: certlife_core::CertificateId = "www".parse().unwrap();
    let wish = CertificateSpec::new(id.clone(), "ca".parse().unwrap())
        .identifiers(["example.com", "*.example.com"].map(|name| name.parse().unwrap()))
        .validate(Route::Dns("dns".parse().unwrap()))
        .deploy("web".parse().unwrap());
    engine.ensure(wish.clone()).await.unwrap();
    work::within(&engine, &clock, std::time::Duration::from_hours(1)).await;
    let certificate = engine.certificate(&id).await.unwrap();
    let version = engine.version(certificate.current.expect("it is issued")).await.unwrap();
    let mut certificates: Vec<Vec<u8>> = version.chain.certificates().map(|der| der.to_vec()).collect();
    certificates.push(ca.root().to_vec());
    let mut records = vec![
        to_vec(&wish).unwrap(),
        to_vec(&certificate).unwrap(),
        to_vec(&version).unwrap(),
        to_vec(&engine.explain(&id).await.unwrap()).unwrap(),
    ];
    for order in engine.orders(&id, None).await.unwrap().items {
        records.push(to_vec(&order).unwrap());
        for publication in &order.publications {
            records.push(to_vec(&publication.response).unwrap());
        }
    }
    records
        .extend(engine.deployments(&id).await.unwrap().iter().map(|deployment| to_vec(deployment).unwrap()));
    let events = engine.events_after(0, 100).await.unwrap();
    records.extend(events.iter().map(|event| to_vec(event).unwrap()));
    (certificates, records, engine.export(version.id).await.unwrap().keystore().unwrap())
}

/// Writes a PEM block.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}
