//! The mock DNS and challenge server beside Pebble, over its management interface.

use std::net::{Ipv4Addr, SocketAddr};

use reqwest::Client;
use serde::Deserialize;
use serde_json::{Value, json};

/// Answers DNS questions the way that tests tell it, and challenges on `127.0.0.1`.
///
/// A name without an address of its own has `127.0.0.1`, where this server answers `http-01` and
/// `tls-alpn-01` at the ports that Pebble asks.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct ChallTestSrv {
    /// Where it answers DNS questions, over UDP and TCP.
    pub dns: SocketAddr,
    management_url: String,
}

impl ChallTestSrv {
    /// Gives `host` these addresses beside those that it was given before.
    pub async fn add_a(&self, host: &str, addresses: &[Ipv4Addr]) {
        self.post("add-a", json!({ "host": host, "addresses": addresses })).await;
    }

    /// Takes all addresses from `host`, which leaves the default one.
    pub async fn clear_a(&self, host: &str) {
        self.post("clear-a", json!({ "host": host })).await;
    }

    /// Adds a TXT value at `host` beside those that are there.
    pub async fn add_txt(&self, host: &str, value: &str) {
        self.post("set-txt", json!({ "host": host, "value": value })).await;
    }

    /// Removes all TXT values at `host`.
    pub async fn clear_txt(&self, host: &str) {
        self.post("clear-txt", json!({ "host": host })).await;
    }

    /// Makes `host` an alias of `target`.
    pub async fn set_cname(&self, host: &str, target: &str) {
        self.post("set-cname", json!({ "host": host, "target": target })).await;
    }

    /// Ends what [`set_cname`](Self::set_cname) did.
    pub async fn clear_cname(&self, host: &str) {
        self.post("clear-cname", json!({ "host": host })).await;
    }

    /// Answers every question about `host` with `SERVFAIL`.
    pub async fn set_servfail(&self, host: &str) {
        self.post("set-servfail", json!({ "host": host })).await;
    }

    /// Ends what [`set_servfail`](Self::set_servfail) did.
    pub async fn clear_servfail(&self, host: &str) {
        self.post("clear-servfail", json!({ "host": host })).await;
    }

    /// Serves `key_authorization` for `token` at the well-known path of RFC 8555 §8.3.
    pub async fn add_http01(&self, token: &str, key_authorization: &str) {
        self.post("add-http01", json!({ "token": token, "content": key_authorization })).await;
    }

    /// Stops serving `token`.
    pub async fn remove_http01(&self, token: &str) {
        self.post("del-http01", json!({ "token": token })).await;
    }

    /// Answers the TLS handshake of RFC 8737 for `host`.
    pub async fn add_tls_alpn01(&self, host: &str, key_authorization: &str) {
        self.post("add-tlsalpn01", json!({ "host": host, "content": key_authorization })).await;
    }

    /// Stops answering for `host`.
    pub async fn remove_tls_alpn01(&self, host: &str) {
        self.post("del-tlsalpn01", json!({ "host": host })).await;
    }

    /// Counts the DNS questions about `host` so far.
    pub async fn dns_questions(&self, host: &str) -> usize {
        let dotted = format!("{}.", host.trim_end_matches('.'));
        self.history("dns-request-history", &dotted).await
    }

    /// Counts the HTTP requests for `host` so far.
    pub async fn http_requests(&self, host: &str) -> usize {
        self.history("http-request-history", host).await
    }

    async fn history(&self, path: &str, host: &str) -> usize {
        let events: Value = serde_json::from_str(&self.post(path, json!({ "host": host })).await)
            .expect("the challenge server tells its history in JSON");
        events.as_array().map_or(0, Vec::len)
    }

    async fn post(&self, path: &str, request: Value) -> String {
        let url = format!("{}{path}", self.management_url);
        let client = Client::builder().tls_certs_only([]).no_proxy().build().expect("a plain client builds");
        let answer = client.post(&url).body(request.to_string()).send().await;
        let answer = answer.and_then(reqwest::Response::error_for_status);
        let answer = answer.unwrap_or_else(|error| panic!("{url} with {request}: {error}"));
        answer.text().await.unwrap_or_else(|error| panic!("{url}: {error}"))
    }
}
