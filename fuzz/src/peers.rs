//! Parsers behind a connection: a server on loopback gives the answer that is to be read.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::{Arc, Mutex, OnceLock},
    thread,
    time::Duration,
};

use certlife_ca::acme::Acme;
use certlife_core::{
    CertificateAuthority as _, CsrTemplate, DnsLookup as _, DnsProvider as _, KeyAlgorithm, Lookup,
    Operation, PrivateKey, ProviderName, Secret, Timestamp,
    ca::{OrderIntent, OrderRef, OrderRequest, Purpose},
    dns::{DnsRecord, RecordHandle},
    http::Client,
    lookup::{Question, RecordKind},
};
use certlife_dns::{cloudflare::Cloudflare, rfc2136::Rfc2136};
use tokio::runtime::Runtime;

use super::http_peer::{Hasty, HttpPeer, quick_settings, runtime, vault};

/// An answer of a DNS server to a question for TXT, and for CNAME.
pub fn dns_answer(data: &[u8]) -> bool {
    static WORLD: OnceLock<(Runtime, DnsPeer, Lookup)> = OnceLock::new();
    let (runtime, peer, lookup) = WORLD.get_or_init(|| {
        let peer = DnsPeer::start();
        let lookup = Lookup::builder().resolvers([peer.address]).build().unwrap();
        (runtime(), peer, lookup)
    });
    peer.lie(data);
    let name = "_acme-challenge.example.com".parse().unwrap();
    runtime.block_on(async {
        let mut accepted = false;
        for kind in [RecordKind::Txt, RecordKind::Cname] {
            let question = Question { name: Clone::clone(&name), kind, recurse: false };
            if let Ok(answer) = lookup.ask(peer.address, &question).await {
                accepted |= !answer.values.is_empty();
                assert!(answer.values.len() <= 256);
            }
        }
        let _ = lookup.effective_name(&name).await;
        if let Ok(authority) = lookup.authority(&name).await {
            assert!(name.is_within(&authority.zone) && authority.servers.len() <= 16);
        }
        accepted
    })
}

/// An answer of a DNS server to a signed update.
pub fn update_answer(data: &[u8]) -> bool {
    static WORLD: OnceLock<(Runtime, DnsPeer, Rfc2136)> = OnceLock::new();
    let (runtime, peer, provider) = WORLD.get_or_init(|| {
        let peer = DnsPeer::start();
        let secret = Secret::new("c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTMyYg==");
        let provider = Rfc2136::builder(peer.address.to_string(), "key", secret).build().unwrap();
        (runtime(), peer, provider)
    });
    peer.lie(data);
    let record = DnsRecord::txt("_acme-challenge.example.com".parse().unwrap(), "value");
    runtime.block_on(async {
        let added = provider.add(&record).await.is_ok();
        let removed = provider.remove(&RecordHandle::unknown(record)).await.is_ok();
        // Nothing that comes is signed, so nothing may pass for success.
        assert!(!added && !removed);
        added
    })
}

/// Any bytes in place of an HTTP answer: head, `Retry-After`, `Content-Type`, body.
pub fn http_answer(data: &[u8]) -> bool {
    static WORLD: OnceLock<(Runtime, HttpPeer, Client)> = OnceLock::new();
    let (runtime, peer, client) = WORLD.get_or_init(|| {
        let peer = HttpPeer::start();
        let client = Client::builder(ProviderName::new("fuzz"))
            .base_url(&peer.url)
            .settings(&quick_settings())
            .clock(Arc::new(Hasty::default()))
            .max_body(64 << 10)
            .build();
        (runtime(), peer, client.unwrap())
    });
    let answer = data.to_vec();
    peer.answer(move |_| answer.clone());
    runtime.block_on(async {
        let Ok(response) = client.get(Operation::Probe, &["x"]).send().await else { return false };
        assert!(response.bytes().len() <= 64 << 10);
        let wait = response.retry_after(Timestamp::from_unix_seconds(0));
        assert!(wait.is_none_or(|wait| wait <= Duration::from_hours(7 * 24)));
        let _ = (response.media_type(), response.text(), response.json::<serde_json::Value>());
        true
    })
}

/// Answers of Cloudflare's API. The first byte says which request is answered by a lie, and whether the record
/// is said to be there already; the second gives the status of the lie.
pub fn cloudflare(data: &[u8]) -> bool {
    static WORLD: OnceLock<(Runtime, HttpPeer)> = OnceLock::new();
    let (runtime, peer) = WORLD.get_or_init(|| (runtime(), HttpPeer::start()));
    let [first, second, body @ ..] = data else { return false };
    let (first, status, body) = (*first, status(*second), body.to_vec());
    peer.answer(move |request| {
        let number = match request {
            _ if request.starts_with("GET /zones?") => 0,
            _ if request.starts_with("POST") => 1,
            _ if request.starts_with("GET") => 2,
            _ => 3,
        };
        let exists = number == 1 && first & 4 != 0;
        match CLOUDFLARE[number] {
            _ if number == usize::from(first % 4) => json_answer(status, "", &body),
            _ if exists => json_answer(400, "", CLOUDFLARE_CONFLICT.as_bytes()),
            truth => json_answer(200, "", truth.as_bytes()),
        }
    });
    // A new one each time, since zones are remembered.
    let provider = Cloudflare::builder("invented_token_of_forty_characters_00001")
        .base_url(peer.url.clone())
        .http(quick_settings())
        .clock(Arc::new(Hasty::default()))
        .build()
        .unwrap();
    let record = DnsRecord::txt("_acme-challenge.example.com".parse().unwrap(), "value");
    runtime.block_on(async {
        let added = provider.add(&record).await;
        let accepted = added.is_ok();
        let handle = added.map_or_else(|_| RecordHandle::unknown(record), |added| added.handle);
        assert!(handle.vendor.to_string().len() <= 4 << 10, "{handle:?}");
        provider.remove(&handle).await.is_ok() && accepted
    })
}

/// What an honest Cloudflare says: when asked for zones, when a record is made, listed, and deleted.
pub const CLOUDFLARE: [&str; 4] = [
    r#"{"success":true,"errors":[],"messages":[],"result":[{"id":"0000000000000000000000000000a001",
"name":"example.com","status":"active","type":"full","name_servers":["a.ns.example"],
"account":{"id":"01a7362d577a6c3019a474fd6f485823"}}],
"result_info":{"page":1,"per_page":50,"total_pages":1,"count":1,"total_count":1}}"#,
    r#"{"success":true,"errors":[],"messages":[],"result":{"id":"0000000000000000000000000000a002",
"type":"TXT","name":"_acme-challenge.example.com","content":"\"value\"","ttl":60,"proxied":false}}"#,
    r#"{"success":true,"errors":[],"messages":[],"result":[{"id":"0000000000000000000000000000a002",
"type":"TXT","name":"_acme-challenge.example.com","content":"\"value\"","ttl":60}],
"result_info":{"page":1,"per_page":100,"total_pages":1,"count":1,"total_count":1}}"#,
    r#"{"success":true,"errors":[],"messages":[],"result":{"id":"0000000000000000000000000000a002"}}"#,
];

/// What it says of a record that is there.
pub const CLOUDFLARE_CONFLICT: &str = r#"{"success":false,"errors":[{"code":81058,
"message":"An identical record already exists.","error_chain":[{"code":1,"message":"x"}]}],"messages":[],"result":null}"#;

/// Answers of an ACME server. The first byte says which resource lies, the second with which status and what
/// the order's state is meanwhile.
pub fn acme(data: &[u8]) -> bool {
    static WORLD: OnceLock<AcmeWorld> = OnceLock::new();
    let AcmeWorld { runtime, peer, acme, intent } = WORLD.get_or_init(AcmeWorld::start);
    let [resource, second, body @ ..] = data else { return false };
    let (liar, second, body) = (RESOURCES[usize::from(*resource) % RESOURCES.len()], *second, body.to_vec());
    let origin = peer.origin();
    peer.answer(move |request| truth_or(&origin, request, second, Some((liar, &body))));
    runtime.block_on(async {
        let _ = acme.probe().await;
        let _ = acme.catalog().await;
        let Ok(placed) = acme.place(intent).await else { return false };
        assert!(placed.handle.0.to_string().len() <= 16 << 10, "a handle has at most 16 KiB");
        let wanted = placed.authorizations.iter().flatten();
        let challenges: Vec<_> =
            wanted.flat_map(|each| &each.challenges).map(|challenge| challenge.id.clone()).collect();
        let order = OrderRef { intent: Some(intent.clone()), handle: placed.handle };
        let _ = acme.respond(&order, &challenges).await;
        acme.poll(&order).await.is_ok()
    })
}

/// Stands for the server's own origin in what is said in its place.
pub const ORIGIN: &str = "ORIGIN";

/// The resources of the ACME server, by the beginning of their paths.
pub const RESOURCES: [&str; 6] = ["/dir", "/account", "/order", "/authz", "/chall", "/cert"];

struct AcmeWorld {
    runtime: Runtime,
    peer: HttpPeer,
    acme: Acme,
    intent: OrderIntent,
}

impl AcmeWorld {
    /// Opens the account while the server still tells the truth.
    fn start() -> Self {
        let (runtime, peer) = (runtime(), HttpPeer::start());
        let origin = peer.origin();
        peer.answer(move |request| truth_or(&origin, request, 0, None));
        let acme = Acme::builder(format!("{}/dir", peer.origin()), vault("acme"))
            .terms_agreed(true)
            .http(quick_settings())
            .clock(Arc::new(Hasty::default()))
            .build()
            .unwrap();
        runtime.block_on(acme.probe()).expect("the truth is understood");
        let identifiers = vec!["example.com".parse().unwrap()];
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let csr = CsrTemplate::new(identifiers.clone()).sign(&key).unwrap();
        let request = OrderRequest {
            purpose: Purpose::New,
            identifiers,
            key_algorithm: Some(KeyAlgorithm::EcdsaP256),
            validity: None,
            product: None,
            organization: None,
            contacts: Vec::new(),
            challenges: [].into(),
            options: serde_json::Value::Null,
        };
        let intent = OrderIntent { reference: "fuzz-1".to_owned(), request, csr };
        runtime.block_on(acme.place(&intent)).expect("the truth is understood");
        Self { runtime, peer, acme, intent }
    }
}

/// What the ACME server says to a request: the truth, or at the resource that lies, the lie.
fn truth_or(origin: &str, request: &str, second: u8, lie: Option<(&str, &[u8])>) -> Vec<u8> {
    static NONCE: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let nonce = NONCE.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = request.split(' ').nth(1).unwrap_or_default();
    let resource = RESOURCES.into_iter().find(|resource| path.starts_with(resource)).unwrap_or("/nonce");
    let location = match resource {
        "/account" | "/order" => format!("Location: {origin}{resource}/1\r\n"),
        _ => String::new(),
    };
    let headers = format!("Replay-Nonce: nonce-of-sixteen-bytes-{nonce}\r\n{location}");
    if let Some((_, body)) = lie.filter(|(liar, _)| *liar == resource) {
        return match std::str::from_utf8(body) {
            Ok(text) => json_answer(status(second), &headers, text.replace(ORIGIN, origin).as_bytes()),
            Err(_) => json_answer(status(second), &headers, body),
        };
    }
    let state = ["pending", "ready", "processing", "valid"][usize::from(second >> 4) % 4];
    let body = acme_truth(origin, resource, state);
    json_answer(200, &headers, body.as_bytes())
}

/// What an honest ACME server says at one of its [`RESOURCES`], with the order in `state`.
pub fn acme_truth(origin: &str, resource: &str, state: &str) -> String {
    match resource {
        "/dir" => format!(
            r#"{{"newNonce":"{origin}/nonce","newAccount":"{origin}/account","newOrder":"{origin}/order",
"revokeCert":"{origin}/revoke","keyChange":"{origin}/key","renewalInfo":"{origin}/ari",
"meta":{{"termsOfService":"{origin}/terms","profiles":{{"default":"The usual"}}}}}}"#
        ),
        "/account" => r#"{"status":"valid","contact":["mailto:a@example.com"]}"#.to_owned(),
        "/order" => format!(
            r#"{{"status":"{state}","expires":"2030-01-01T00:00:00Z","identifiers":[{{"type":"dns","value":"example.com"}}],
"authorizations":["{origin}/authz/1"],"finalize":"{origin}/order/1/finalize","certificate":"{origin}/cert/1"}}"#
        ),
        "/authz" => format!(
            r#"{{"status":"pending","identifier":{{"type":"dns","value":"example.com"}},"challenges":[
{{"type":"http-01","url":"{origin}/chall/1","status":"pending","token":"LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"}},
{{"type":"dns-01","url":"{origin}/chall/2","status":"pending","token":"LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX1"}}]}}"#
        ),
        "/chall" => format!(
            r#"{{"type":"http-01","url":"{origin}/chall/1","status":"processing","token":"LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"}}"#
        ),
        _ => String::new(),
    }
}

fn status(byte: u8) -> u16 {
    [200, 201, 400, 403, 404, 409, 429, 500, 503, 200][usize::from(byte) % 10]
}

fn json_answer(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let kind = if status < 400 { "application/json" } else { "application/problem+json" };
    let length = body.len();
    let mut answer =
        format!("HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{headers}\r\n")
            .into_bytes();
    answer.extend_from_slice(body);
    answer
}

/// A DNS server that answers every message with the same bytes, made to fit as far as the header goes.
struct DnsPeer {
    address: SocketAddr,
    lie: Arc<Mutex<Vec<u8>>>,
}

impl DnsPeer {
    fn start() -> Self {
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
            // The same port may be taken for UDP.
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let lie = Arc::new(Mutex::new(Vec::new()));
        let told = lie.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while let Ok((length, peer)) = udp.recv_from(&mut buffer) {
                let mut answer = twisted(&buffer[..length], &told.lock().unwrap());
                answer.truncate(4_096);
                let _ = udp.send_to(&answer, peer);
            }
        });
        let told = lie.clone();
        thread::spawn(move || {
            for mut stream in tcp.incoming().flatten() {
                let mut length = [0; 2];
                if stream.read_exact(&mut length).is_err() {
                    continue;
                }
                let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
                if stream.read_exact(&mut question).is_ok() {
                    let answer = twisted(&question, &told.lock().unwrap());
                    let length = u16::try_from(answer.len()).unwrap_or(u16::MAX);
                    let _ = stream.write_all(&[&length.to_be_bytes()[..], &answer].concat());
                }
            }
        });
        Self { address, lie }
    }

    fn lie(&self, data: &[u8]) {
        *self.lie.lock().unwrap() = data.to_vec();
    }
}

/// The first byte chooses: the question itself as the answer, with single bytes changed (place and value, by
/// turns) and the rest appended, or any bytes behind a fitting header.
fn twisted(question: &[u8], data: &[u8]) -> Vec<u8> {
    let (&first, rest) = data.split_first().unwrap_or((&0, &[]));
    let mut answer = question.to_vec();
    if first % 2 == 0 {
        let (changes, appended) = rest.split_at(rest.len().min(usize::from(first / 2) % 32 * 2));
        for change in changes.chunks_exact(2) {
            let place = usize::from(change[0]) % answer.len();
            answer[place] = change[1];
        }
        answer.extend_from_slice(appended);
    } else {
        answer.truncate(3);
        answer.extend_from_slice(rest);
        answer.resize(answer.len().max(12), 0);
    }
    // Id, opcode and direction fit, or it would be passed over before it is read.
    answer[..2].copy_from_slice(&question[..2]);
    answer[2] = question[2] & 0x78 | answer[2] & 0x87 | 0x80;
    answer
}
