//! Whole APIs behind a connection: a server on loopback answers a client's requests from a script.
//!
//! The first byte of the input is the talk: which login the client has, and what it wants. The rest are answers,
//! apart by [`BREAK`]. Each begins with a line that names the request that it is for (`GET /path`), the status, the
//! headers that matter, an empty line and the body. A request for which there is none gets any of them.

use std::{
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use certlife_core::{
    BuildContext, CertificateAuthority, CsrTemplate, DnsProvider, KeyAlgorithm, PrivateKey, Registry, Result,
    RevocationReason,
    ca::{
        Decision, Found, ImportFilter, IssuedRef, OrderIntent, OrderRef, OrderRequest, OrderSnapshot,
        Purpose, Revocation,
    },
    challenge::{ChallengeKind, Proof},
    dns::{DnsRecord, RecordHandle},
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use url::Url;

use super::http_peer::{Hasty, HttpPeer, runtime, vault};

/// Stands between the answers of a script.
pub const BREAK: u8 = 0x1e;
/// In this domain are all names that the clients want something for.
pub const DOMAIN: &str = "suite.example";
/// More requests than any talk needs, even if each is refused and repeated.
const MANY: usize = 2_000;

/// A vendor whose whole API is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    Azure,
    ClouDns,
    DnsMadeEasy,
    Entrust,
    GoDaddy,
    Route53,
    Sectigo,
    SslStore,
}

/// Answers of Azure Resource Manager and of Entra ID.
pub fn azure(data: &[u8]) -> bool {
    hear(Vendor::Azure, data)
}

/// Answers of ClouDNS.
pub fn cloudns(data: &[u8]) -> bool {
    hear(Vendor::ClouDns, data)
}

/// Answers of DNS Made Easy.
pub fn dnsmadeeasy(data: &[u8]) -> bool {
    hear(Vendor::DnsMadeEasy, data)
}

/// Answers of Entrust Certificate Services.
pub fn entrust(data: &[u8]) -> bool {
    hear(Vendor::Entrust, data)
}

/// Answers of GoDaddy's two APIs.
pub fn godaddy(data: &[u8]) -> bool {
    hear(Vendor::GoDaddy, data)
}

/// Answers of Route 53 and STS.
pub fn route53(data: &[u8]) -> bool {
    hear(Vendor::Route53, data)
}

/// Answers of Sectigo Certificate Manager.
pub fn sectigo(data: &[u8]) -> bool {
    hear(Vendor::Sectigo, data)
}

/// Answers of The SSL Store.
pub fn sslstore(data: &[u8]) -> bool {
    hear(Vendor::SslStore, data)
}

/// Has a client of `vendor` hear a script.
fn hear(vendor: Vendor, data: &[u8]) -> bool {
    static WORLDS: [OnceLock<(Runtime, HttpPeer)>; 8] = [const { OnceLock::new() }; 8];
    let (runtime, peer) = WORLDS[vendor as usize].get_or_init(|| (runtime(), HttpPeer::start()));
    let Some((talk, script)) = data.split_first() else { return false };
    let script = Arc::new(Mutex::new(Script::read(script)));
    let told = script.clone();
    peer.answer(move |request| told.lock().unwrap().answer(request));
    let talk = converse(vendor, talk % vendor.talks(), &peer.url);
    let accepted = runtime.block_on(async { tokio::time::timeout(Duration::from_mins(1), talk).await });
    let requests = script.lock().unwrap().requests;
    assert!(requests <= MANY, "{requests} requests for one talk");
    accepted.expect("a talk ends")
}

/// Answers in the order in which they were written down.
struct Script {
    answers: Vec<Answer>,
    requests: usize,
}

struct Answer {
    /// The request that it is for.
    request: Vec<u8>,
    bytes: Vec<u8>,
    given: bool,
}

impl Script {
    fn read(data: &[u8]) -> Self {
        let answers = data.split(|byte| *byte == BREAK).map(Answer::read).collect();
        Self { answers, requests: 0 }
    }

    /// The next answer to this request, or its last one again, or any.
    fn answer(&mut self, line: &str) -> Vec<u8> {
        self.requests += 1;
        let wanted = request_of(line);
        let of_request = |answer: &Answer| answer.request == wanted.as_bytes();
        let next = self.answers.iter().position(|answer| of_request(answer) && !answer.given);
        let next = next.or_else(|| self.answers.iter().rposition(of_request));
        let place = next.unwrap_or(self.requests % self.answers.len());
        let answer = &mut self.answers[place];
        answer.given = true;
        answer.bytes.clone()
    }
}

impl Answer {
    fn read(text: &[u8]) -> Self {
        let line = |text: &mut &[u8]| {
            let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
            let line = text[..end].to_vec();
            *text = &text[(end + 1).min(text.len())..];
            line
        };
        let mut rest = text;
        let request = line(&mut rest);
        let status = String::from_utf8_lossy(&line(&mut rest)).parse().unwrap_or(200);
        let status: u16 = if (100..600).contains(&status) { status } else { 200 };
        let mut bytes = format!("HTTP/1.1 {status} X\r\n").into_bytes();
        loop {
            let header = line(&mut rest);
            if header.is_empty() {
                break;
            }
            bytes.extend_from_slice(&header);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", rest.len()).as_bytes());
        bytes.extend_from_slice(rest);
        Self { request, bytes, given: false }
    }
}

/// What tells a request from others: method and path.
pub fn request_of(line: &str) -> &str {
    let end = line.find('?').or_else(|| line.rfind(" HTTP/")).unwrap_or(line.len());
    line[..end].trim_end()
}

impl Vendor {
    /// How many talks there are: each login about each matter.
    pub fn talks(self) -> u8 {
        self.logins() * self.matters()
    }

    fn logins(self) -> u8 {
        if matches!(self, Self::GoDaddy | Self::Sectigo) { 2 } else { 1 }
    }

    fn matters(self) -> u8 {
        if self.is_ca() { 3 } else { 2 }
    }

    fn is_ca(self) -> bool {
        matches!(self, Self::Entrust | Self::Sectigo | Self::SslStore)
    }

    /// Kind and settings, with the credentials that the vendor's own tests invent.
    fn settings(self, login: u8, url: &Url) -> (&'static str, Value) {
        let person =
            json!({ "first_name": "Ada", "last_name": "Lind", "phone": "1", "email": "a@suite.example" });
        let (kind, mut settings) = match (self, login) {
            (Self::Azure, _) => (
                "azure",
                json!({
                    "subscription_id": "77aa0c1e-5b2d-4f6e-8a90-1b2c3d4e5f60",
                    "tenant_id": "0f2b6d3e-4a57-4c61-9d0e-7b1c2d3e4f50",
                    "client_id": "5d1e7c0a-93b2-4f08-8a6d-1c2b3a495867", "client_secret": "q8~NotARealSecret+/=1",
                    "token_url": format!("{url}0f2b6d3e-4a57-4c61-9d0e-7b1c2d3e4f50/oauth2/v2.0/token"),
                }),
            ),
            (Self::ClouDns, _) => {
                ("cloudns", json!({ "auth_id": "1337", "auth_password": "invented & p%ss+wörd=1" }))
            }
            (Self::DnsMadeEasy, _) => (
                "dnsmadeeasy",
                json!({
                    "api_key": "1c1a3c91-4770-4ce7-96f4-54c0eb0e457a",
                    "secret_key": "5a6c1b1e-2f3d-4c4b-9a8e-0f1e2d3c4b5a",
                }),
            ),
            (Self::Entrust, _) => (
                "entrust",
                json!({
                    "username": "northwind-api-user", "api_key": "invented-api-key-0123456789",
                    "requester": { "name": "PKI", "email": "pki@suite.example", "phone": "1" },
                }),
            ),
            (Self::GoDaddy, 0) => (
                "godaddy",
                json!({ "api_key": "inventedKey_abcdefghijklm", "api_secret": "inventedSecretNOPQRSTU" }),
            ),
            (Self::GoDaddy, _) => ("godaddy", json!({ "token": "invented-personal-access-token-0001" })),
            (Self::Route53, _) => (
                "route53",
                json!({
                    "access_key_id": "AKIAINVENTED00000001",
                    "secret_access_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYINVENTEDKEY", "sts_url": url,
                }),
            ),
            (Self::Sectigo, 0) => (
                "sectigo",
                json!({ "login": "pki-bot", "customer_uri": "acme-corp", "password": "invented-Passw0rd!" }),
            ),
            (Self::Sectigo, _) => (
                "sectigo",
                json!({
                    "client_id": "0b5c7d4e-api-key", "client_secret": "invented-client-secret-0001",
                    "token_url": format!("{url}token"),
                }),
            ),
            (Self::SslStore, _) => (
                "sslstore",
                json!({
                    "partner_code": "10000001", "auth_token": "INVENTED-AUTH-TOKEN-0001", "administrator": person,
                    "page_size": 2,
                }),
            ),
        };
        settings["base_url"] = match self {
            Self::DnsMadeEasy => json!(format!("{url}V2.0")),
            Self::Entrust => json!(format!("{url}enterprise/v2")),
            Self::SslStore => json!(format!("{url}rest/")),
            _ => json!(url),
        };
        // Without a look at the certificates of this machine, which takes longer than an input.
        settings["http"] = json!({ "bundled_roots": "always" });
        (kind, settings)
    }

    /// What is ordered at a CA.
    fn product(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Entrust => ("UC_SSL", None),
            Self::Sectigo => ("3188", Some("20417")),
            _ => ("positivessl", None),
        }
    }
}

/// Has a client of `vendor` talk to whoever is at `url`, and returns whether all that it wanted was done.
pub async fn converse(vendor: Vendor, talk: u8, url: &Url) -> bool {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    let registry = REGISTRY.get_or_init(|| {
        let mut registry = Registry::new();
        certlife_ca::register(&mut registry);
        certlife_dns::register(&mut registry);
        registry
    });
    let (kind, settings) = vendor.settings(talk / vendor.matters(), url);
    let context = BuildContext { vault: vault(kind), clock: Arc::new(Hasty::default()), lookup: None };
    let matter = talk % vendor.matters();
    if !vendor.is_ca() {
        let dns = registry.dns(kind, settings, &context).unwrap();
        return if matter == 0 { open_dns(&*dns).await } else { publish(&*dns).await };
    }
    let ca = registry.ca(kind, settings, &context).unwrap();
    match matter {
        0 => open_ca(&*ca, vendor).await,
        1 => order(&*ca, vendor).await,
        _ => list(&*ca).await,
    }
}

/// What was answered, unless it was refused by an error that is fit to be shown.
fn told<T>(outcome: Result<T>) -> Option<T> {
    match outcome {
        Ok(value) => Some(value),
        Err(error) => {
            let chain = error.chain();
            assert!(chain.len() <= 16 << 10, "an error of {} bytes", chain.len());
            assert!(!chain.contains(char::is_control), "an error breaks lines: {chain:?}");
            None
        }
    }
}

async fn open_dns(dns: &dyn DnsProvider) -> bool {
    let probed = told(dns.probe().await).is_some();
    let name = format!("_acme-challenge.{DOMAIN}").parse().unwrap();
    let zone = told(dns.zone_of(&name).await);
    assert!(zone.as_ref().is_none_or(|zone| name.is_within(&zone.name)), "{zone:?}");
    probed && zone.is_some()
}

async fn publish(dns: &dyn DnsProvider) -> bool {
    let name = format!("_acme-challenge.{DOMAIN}").parse().unwrap();
    let mut accepted = true;
    let alias = format!("_h1.{DOMAIN}").parse().unwrap();
    for record in [
        DnsRecord::txt(name, "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0"),
        DnsRecord::cname(alias, "p1.ca.example".parse().unwrap()),
    ] {
        let added = told(dns.add(&record).await);
        accepted &= added.is_some();
        let handle = added.map_or_else(|| RecordHandle::unknown(record.clone()), |added| added.handle);
        assert!(handle.record == record && handle.vendor.to_string().len() <= 4 << 10, "{handle:?}");
        let _ = told(dns.distribution(&handle).await);
        accepted &= told(dns.remove(&handle).await).is_some();
        accepted &= told(dns.remove(&RecordHandle::unknown(record)).await).is_some();
    }
    accepted
}

fn proof() -> Proof {
    Proof { kind: ChallengeKind::DnsTxt, approver: None }
}

async fn open_ca(ca: &dyn CertificateAuthority, vendor: Vendor) -> bool {
    let probed = told(ca.probe().await).is_some();
    let catalog = told(ca.catalog().await);
    if let Some(catalog) = &catalog {
        let _ = ca.check(&intent(vendor).request, Some(catalog));
    }
    let domain = DOMAIN.parse().unwrap();
    if let Some(approvers) = told(ca.approvers(&domain, Some(vendor.product().0)).await) {
        assert!(approvers.iter().all(|address| address.contains('@')), "{approvers:?}");
    }
    let _ = told(ca.validate_domain(&domain, &proof()).await);
    probed && catalog.is_some()
}

async fn order(ca: &dyn CertificateAuthority, vendor: Vendor) -> bool {
    let intent = intent(vendor);
    let placed = told(ca.place(intent).await);
    let found = told(ca.find(intent).await);
    let snapshot = match (placed, found) {
        (Some(snapshot), _) => snapshot,
        (None, Some(Found::Order(snapshot))) => *snapshot,
        _ => return false,
    };
    let fits = |snapshot: &OrderSnapshot| {
        assert!(snapshot.handle.0.to_string().len() <= 16 << 10, "a handle has at most 16 KiB");
    };
    fits(&snapshot);
    let order = OrderRef { intent: Some(intent.clone()), handle: snapshot.handle.clone() };
    let wanted = snapshot.authorizations.iter().flatten();
    let ready: Vec<_> =
        wanted.flat_map(|one| &one.challenges).map(|challenge| challenge.id.clone()).collect();
    let identifier = &intent.request.identifiers[0];
    let _ = told(ca.revalidate(&order, identifier, &proof()).await);
    told(ca.respond(&order, &ready).await).iter().for_each(fits);
    let polled = told(ca.poll(&order).await);
    polled.iter().for_each(fits);
    let chain = polled.and_then(|snapshot| snapshot.certificate).or(snapshot.certificate);
    let is_issued = chain.is_some();
    if let Some(chain) = chain {
        let issued = IssuedRef { handle: Some(order.handle.clone()), chain };
        let reason = RevocationReason::Superseded;
        let _ = told(ca.revoke(&Revocation { issued, reason, comment: None }, None).await);
    }
    for decision in [Decision::Approve, Decision::Suspend, Decision::Cancel] {
        let _ = told(ca.decide(&order, decision).await);
    }
    is_issued
}

async fn list(ca: &dyn CertificateAuthority) -> bool {
    let mut page = None;
    for _ in 0..3 {
        let Some(listed) = told(ca.orders(&ImportFilter::default(), page).await) else { return false };
        for order in listed.items {
            let order = OrderRef { intent: None, handle: order.handle };
            let _ = told(ca.poll(&order).await);
        }
        page = listed.next;
        if page.is_none() {
            return true;
        }
    }
    false
}

/// What is ordered, the same in each talk.
fn intent(vendor: Vendor) -> &'static OrderIntent {
    static INTENTS: [OnceLock<OrderIntent>; 8] = [const { OnceLock::new() }; 8];
    INTENTS[vendor as usize].get_or_init(|| {
        let identifiers = vec![format!("www.{DOMAIN}").parse().unwrap()];
        let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let csr = CsrTemplate::new(identifiers.clone()).sign(&key).unwrap();
        let (product, organization) = vendor.product();
        let challenges = match vendor {
            Vendor::SslStore => {
                let proof = Proof { kind: ChallengeKind::DnsCname, approver: None };
                identifiers.iter().cloned().map(|identifier| (identifier, proof.clone())).collect()
            }
            // Their domains are validated apart from orders.
            _ => [].into(),
        };
        let request = OrderRequest {
            purpose: Purpose::New,
            identifiers,
            key_algorithm: Some(KeyAlgorithm::EcdsaP256),
            validity: None,
            product: Some(product.to_owned()),
            organization: organization.map(str::to_owned),
            contacts: Vec::new(),
            challenges,
            options: Value::Null,
        };
        OrderIntent { reference: "certlife-fuzz-1".to_owned(), request, csr }
    })
}
