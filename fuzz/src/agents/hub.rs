//! A hub that a hostile agent calls: it has enrolled and says what it likes.

use std::{
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use certlife_core::{
    Chain, Clock, Csr, CsrTemplate, Deployer, KeyAlgorithm, PrivateKey, Timestamp, async_trait,
};
use certlife_deploy::agent::{AgentHub, PeerCertificate};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, StatusCode, body::Bytes};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};
use tower_service::Service as _;

use super::{
    super::http_peer::{runtime, vault},
    CALLS, Wish,
};

/// Stands for the secret of an invitation that is good, in what is said.
const TOKEN: &str = "TOKEN";
/// The paths that agents call. The work of the last is the one that the host waits for.
const PATHS: [&str; 4] = ["enrol", "renew", "work", "work/"];
const DAY: Duration = Duration::from_hours(24);

/// What an agent says to the hub. The first byte says what the host wants of it meanwhile, and which path it calls.
pub fn agent_request(data: &[u8]) -> bool {
    static RUNTIME: OnceLock<(Runtime, PrivateKey)> = OnceLock::new();
    let (runtime, key) =
        RUNTIME.get_or_init(|| (runtime(), PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap()));
    let [first, said @ ..] = data else { return false };
    let path = PATHS[usize::from(first / CALLS) % PATHS.len()];
    let talk = async {
        let vault = vault("agents");
        let (hub, agent) = Agent::enrolled(&vault, key).await;
        let target = hub.target(&"web".parse().unwrap(), &"files".parse().unwrap()).await.unwrap();
        let (asked, status) = tokio::join!(agent.wish.ask(&target, *first), agent.say(path, said));
        // What is kept of it reads back.
        let agents = open(&vault).await.agents().await.unwrap();
        assert!(agents.iter().any(|known| known.agent.as_str() == "web"));
        status == StatusCode::OK && (asked.is_ok() || path != "work/")
    };
    let ended = runtime.block_on(async { tokio::time::timeout(Duration::from_mins(1), talk).await });
    ended.expect("a talk ends")
}

/// What an honest agent says: at each path that has no work in it.
pub fn agent_requests() -> Vec<Vec<u8>> {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let csr = request(&key);
    let capabilities =
        json!({ "install": true, "challenges": ["http"], "volatile": false, "keys": ["ecdsa-p256"] });
    let said = [
        json!({ "agent": "new", "token": TOKEN, "csr": csr }),
        json!({ "csr": csr }),
        json!({
            "blocks": { "files": capabilities }, "wait_seconds": 40,
            "holding": ["0123456789abcdef0123456789abcdef-18446744073709551615"],
        }),
    ];
    (0..).step_by(usize::from(CALLS)).zip(said).map(|(path, said)| request_of(path, &said)).collect()
}

/// The input by which a report is said while the host waits for this call.
pub(super) fn report(call: u8, outcome: &[u8]) -> Vec<u8> {
    [&[3 * CALLS + call], outcome].concat()
}

fn request_of(first: u8, said: &Value) -> Vec<u8> {
    [&[first][..], said.to_string().as_bytes()].concat()
}

fn request(key: &PrivateKey) -> Csr {
    CsrTemplate::new(["agent.invalid".parse().unwrap()]).sign(key).unwrap()
}

async fn open(vault: &certlife_core::Vault) -> AgentHub {
    AgentHub::builder(vault.clone()).clock(Arc::new(Courteous::default())).open().await.unwrap()
}

/// An agent that has a certificate of the hub.
struct Agent {
    hub: AgentHub,
    certificate: CertificateDer<'static>,
    wish: Wish,
}

impl Agent {
    async fn enrolled(vault: &certlife_core::Vault, key: &PrivateKey) -> (AgentHub, Self) {
        let hub = open(vault).await;
        let token = invitation(&hub, "web").await;
        let asked = json!({ "agent": "web", "token": token, "csr": request(key) });
        let (status, answer) = post(&hub, None, "enrol", asked.to_string().into_bytes()).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let pem = answer["certificate"].as_str().unwrap();
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let wish = Wish::new(key, Chain::from_pem(pem).unwrap());
        (hub.clone(), Self { hub, certificate, wish })
    }

    /// Says it at this path; then sees to it that the host waits for nothing. Returns how it was answered.
    async fn say(&self, path: &str, said: &[u8]) -> StatusCode {
        let fetched = self.fetch().await;
        let work = fetched["items"][0]["id"].as_str().unwrap().to_owned();
        let token = if path == "enrol" { invitation(&self.hub, "new").await } else { String::new() };
        let said = match std::str::from_utf8(said) {
            Ok(text) => text.replace(TOKEN, &token).into_bytes(),
            Err(_) => said.to_vec(),
        };
        let path = if path == "work/" { format!("work/{work}") } else { path.to_owned() };
        let (status, answer) = self.post(&path, said).await;
        let refused = answer["code"].is_string() && answer["message"].is_string();
        assert!(status == StatusCode::OK || refused, "{status} {answer}");
        assert_ne!(status, StatusCode::SERVICE_UNAVAILABLE, "the hub broke down");
        let failed = json!({ "failed": { "code": "io", "words": "no", "retry": "never" } });
        let (status_of_failure, answer) = self.post(&format!("work/{work}"), failed.to_string().into()).await;
        assert_eq!(status_of_failure, StatusCode::OK, "{answer}");
        status
    }

    /// The work that there is, as the hub says it.
    async fn fetch(&self) -> Value {
        let asked = json!({ "blocks": {}, "holding": [], "wait_seconds": 50 });
        self.post("work", asked.to_string().into()).await.1
    }

    async fn post(&self, path: &str, said: Vec<u8>) -> (StatusCode, Value) {
        post(&self.hub, Some(&self.certificate), path, said).await
    }
}

/// What a hub gives an agent for each of the calls, one at a time.
pub(super) async fn given(key: &PrivateKey) -> Vec<Vec<u8>> {
    let mut given = Vec::new();
    for call in 0..CALLS {
        let (hub, agent) = Agent::enrolled(&vault("agents"), key).await;
        let target = hub.target(&"web".parse().unwrap(), &"files".parse().unwrap()).await.unwrap();
        tokio::select! {
            biased;
            asked = agent.wish.ask(&target as &dyn Deployer, call) => panic!("nobody answers, but {asked:?}"),
            work = agent.fetch() => given.push(work.to_string().into_bytes()),
        }
    }
    given
}

/// The secret of an invitation.
async fn invitation(hub: &AgentHub, agent: &str) -> String {
    let token = hub.invite(&agent.parse().unwrap(), DAY).await.unwrap();
    token.expose().split('.').nth(1).unwrap().to_owned()
}

async fn post(
    hub: &AgentHub,
    certificate: Option<&CertificateDer<'static>>,
    path: &str,
    said: Vec<u8>,
) -> (StatusCode, Value) {
    let mut request = Request::post(format!("/v1/{path}")).body(Full::new(Bytes::from(said))).unwrap();
    if let Some(certificate) = certificate {
        request.extensions_mut().insert(PeerCertificate(certificate.clone()));
    }
    let (head, body) = hub.clone().call(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (head.status, serde_json::from_slice(&body).unwrap())
}

/// Sleeps in no time, but lets everybody else go first.
#[derive(Debug)]
struct Courteous(Mutex<Timestamp>);

impl Default for Courteous {
    fn default() -> Self {
        Self(Mutex::new(Timestamp::from_unix_seconds(1_767_225_600)))
    }
}

#[async_trait]
impl Clock for Courteous {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        tokio::task::yield_now().await;
        let mut now = self.0.lock().unwrap();
        *now = deadline.max(*now);
    }
}
