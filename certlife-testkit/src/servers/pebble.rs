//! Pebble over its management interface: what a certificate authority would never tell its clients.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use reqwest::{Certificate, Client, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::ChallTestSrv;

/// The ACME servers. Each offers the profiles `default` (90 days) and `shortlived` (6 days), two alternate
/// chains and renewal information, rejects a fifth of good nonces, and refuses `blocked.test`.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Pebbles {
    /// Asks [`challenge_server`](Self::challenge_server) for every DNS answer; each order validates anew.
    pub mock_dns: Pebble,
    /// Asks [`Bind`](super::Bind); each order validates anew.
    pub bind_dns: Pebble,
    /// Accepts accounts with an external binding only, reuses every valid authorization, has RSA chains.
    /// Asks [`challenge_server`](Self::challenge_server).
    pub external_account: Pebble,
    /// Answers DNS questions and challenges for those that ask it.
    pub challenge_server: ChallTestSrv,
}

/// One ACME server.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Pebble {
    /// Where an ACME client starts.
    pub directory_url: String,
    /// The port at which `http-01` challenges are asked for, on whatever address the name has.
    pub http_port: u16,
    /// The port at which `tls-alpn-01` challenges are asked for, likewise.
    pub tls_port: u16,
    /// Known external accounts; empty where none is required.
    pub external_accounts: Vec<ExternalAccount>,
    management_url: String,
    tls_roots: PathBuf,
}

/// What a certificate authority hands out for external account binding, RFC 8555 §7.3.4.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct ExternalAccount {
    /// The key identifier.
    pub key_id: String,
    /// The MAC key in base64url without padding.
    pub hmac_key: String,
}

/// What the server knows about a certificate that it issued.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "Pebble knows no third state")]
pub enum CertificateStatus {
    /// Issued, and not revoked.
    Valid,
    /// Revoked, for this reason code of RFC 5280 §5.3.1 if one was given.
    Revoked(Option<u8>),
}

impl Pebble {
    /// Reads the root that vouches for the server's own HTTPS endpoints, as PEM.
    pub fn tls_roots_pem(&self) -> String {
        fs::read_to_string(&self.tls_roots)
            .unwrap_or_else(|error| panic!("{}: {error}", self.tls_roots.display()))
    }

    /// Fetches the roots of issued certificates as PEM: of the default chain, then of each alternate one.
    pub async fn roots_pem(&self) -> Vec<String> {
        self.numbered("roots").await
    }

    /// Fetches the certificates between leaf and root, as PEM, one text a chain, in the order of
    /// [`roots_pem`](Self::roots_pem).
    pub async fn intermediates_pem(&self) -> Vec<String> {
        self.numbered("intermediates").await
    }

    /// Asks what became of a certificate; `None` if this server never issued it.
    ///
    /// `serial` is hexadecimal without separators.
    pub async fn certificate_status(&self, serial: &str) -> Option<CertificateStatus> {
        let answer = self.manage_get(&format!("cert-status-by-serial/{serial}")).await?;
        let answer: Value = answer.json().await.expect("Pebble describes a certificate in JSON");
        match answer["Status"].as_str() {
            Some("Valid") => Some(CertificateStatus::Valid),
            Some("Revoked") => {
                let reason = answer["Reason"].as_u64().and_then(|code| u8::try_from(code).ok());
                Some(CertificateStatus::Revoked(reason))
            }
            _ => panic!("Pebble told an unknown certificate status: {answer}"),
        }
    }

    /// Makes the server answer `body`, well-formed or not, when asked when to renew `certificate_pem`.
    pub async fn set_renewal_info(&self, certificate_pem: &str, body: &str) {
        let request = json!({ "Certificate": certificate_pem, "ARIResponse": body });
        let url = format!("{}set-renewal-info/", self.management_url);
        let answer = self.client().post(url).body(request.to_string()).send().await;
        let answer = answer.expect("Pebble's management interface answers");
        assert_eq!(answer.status(), StatusCode::OK, "Pebble does not know this certificate");
    }

    /// Listens at [`http_port`](Self::http_port) on a loopback address that nobody else serves on.
    ///
    /// Point the name to that address by [`ChallTestSrv::add_a`]: unlike the ports, addresses of
    /// `127.0.0.0/8` are plenty, so that tests of several processes answer their own challenges.
    pub async fn listen_http(&self) -> (Ipv4Addr, TcpListener) {
        listen(self.http_port).await
    }

    /// Listens at [`tls_port`](Self::tls_port), like [`listen_http`](Self::listen_http).
    pub async fn listen_tls(&self) -> (Ipv4Addr, TcpListener) {
        listen(self.tls_port).await
    }

    async fn numbered(&self, what: &str) -> Vec<String> {
        let mut found = Vec::new();
        while let Some(answer) = self.manage_get(&format!("{what}/{}", found.len())).await {
            found.push(answer.text().await.expect("Pebble sends PEM"));
        }
        found
    }

    /// `None` for what the server does not have.
    async fn manage_get(&self, path: &str) -> Option<Response> {
        let url = format!("{}{path}", self.management_url);
        let answer = self.client().get(&url).send().await.expect("Pebble's management interface answers");
        match answer.status() {
            StatusCode::OK => Some(answer),
            StatusCode::NOT_FOUND => None,
            status => panic!("{url}: {status}"),
        }
    }

    fn client(&self) -> Client {
        let root = Certificate::from_pem(self.tls_roots_pem().as_bytes()).expect("the root is PEM");
        let builder = Client::builder().tls_certs_only([root]).no_proxy();
        // Pebble refuses a request without it.
        builder.user_agent("certlife-testkit").build().expect("a client with one root builds")
    }
}

async fn listen(port: u16) -> (Ipv4Addr, TcpListener) {
    for last in 2..=254 {
        let address = Ipv4Addr::new(127, 0, 0, last);
        if let Ok(listener) = TcpListener::bind((address, port)).await {
            return (address, listener);
        }
    }
    panic!("port {port} is taken on every loopback address that was tried (or they are not set up here)")
}
