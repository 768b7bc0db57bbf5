//! The proof that whoever orders controls a name: what is asked for, and whether it is there.
//!
//! What is fetched is hostile: redirects are not followed, bodies and answers are capped, and an answer is
//! compared and never shown as more than its size.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use certlife_core::{
    Csr, Error, ErrorKind, Fqdn, Identifier, Operation, Result, VendorText,
    challenge::{
        AuthorizationStatus, Challenge, ChallengeId, ChallengeResponse, HttpBody, HttpFile, HttpPath,
    },
    dns::RecordData,
    http::{BundledRoots, Client, Settings as HttpSettings},
    lookup::{DnsLookup, NoAnswer, Question, RecordKind, ResponseCode},
};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{PROVIDER, settings::Validation};

/// The proof for one identifier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Proof {
    pub(super) identifier: Identifier,
    pub(super) status: AuthorizationStatus,
    /// The random part, which is the challenge's id too.
    pub(super) token: String,
    pub(super) answered: bool,
    /// How often nobody could tell.
    unclear: u32,
    pub(super) problem: Option<VendorText>,
}

/// What a look at a proof has shown.
#[derive(Debug)]
pub(super) enum Seen {
    /// It is there.
    Proven,
    /// Something else is there, or nothing.
    Refused(String),
    /// Nobody answered, which may pass.
    Unclear(String),
}

impl Proof {
    /// When to look again at what nobody answered.
    pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(30);
    /// How often nobody may answer before the proof counts as failed.
    const PATIENCE: u32 = 10;

    pub(super) fn new(identifier: &Identifier) -> Result<Self> {
        let mut token = [0; 32];
        aws_lc_rs::rand::fill(&mut token)
            .map_err(|error| Error::new(PROVIDER, Operation::PlaceOrder, ErrorKind::Crypto).because(error))?;
        Ok(Self {
            identifier: identifier.clone(),
            status: AuthorizationStatus::Pending,
            token: URL_SAFE_NO_PAD.encode(token),
            answered: false,
            unclear: 0,
            problem: None,
        })
    }

    /// Token and key, as ACME joins them (RFC 8555 §8.1); the key is that of the order.
    fn key_authorization(&self, csr: &Csr) -> String {
        format!("{}.{}", self.token, URL_SAFE_NO_PAD.encode(csr.public_key_hash().as_bytes()))
    }

    fn owner(&self) -> Option<Fqdn> {
        self.identifier.base_name()?.to_fqdn().child("_acme-challenge").ok()
    }

    fn txt_value(&self, csr: &Csr) -> String {
        let authorization = self.key_authorization(csr);
        URL_SAFE_NO_PAD.encode(digest(&SHA256, authorization.as_bytes()).as_ref())
    }

    /// What has to be shown; none once it is decided.
    pub(super) fn challenge(&self, validation: Validation, csr: &Csr) -> Option<Challenge> {
        if self.status != AuthorizationStatus::Pending {
            return None;
        }
        let response = match validation {
            Validation::None => return None,
            Validation::Http => ChallengeResponse::Http(HttpFile {
                host: self.identifier.clone(),
                path: HttpPath::acme(&self.token).ok()?,
                body: HttpBody::new(self.key_authorization(csr)).ok()?,
            }),
            Validation::Dns => ChallengeResponse::DnsTxt { name: self.owner()?, value: self.txt_value(csr) },
        };
        Some(Challenge { id: ChallengeId(self.token.clone()), response })
    }

    pub(super) fn is_unclear(&self) -> bool {
        self.status == AuthorizationStatus::Pending && self.unclear > 0
    }

    pub(super) fn looked(&mut self, seen: Seen) {
        let (status, problem) = match seen {
            Seen::Proven => (AuthorizationStatus::Valid, None),
            Seen::Refused(words) => (AuthorizationStatus::Invalid, Some(words)),
            Seen::Unclear(words) => {
                self.unclear += 1;
                let over = self.unclear >= Self::PATIENCE;
                let status = if over { AuthorizationStatus::Invalid } else { AuthorizationStatus::Pending };
                (status, Some(words))
            }
        };
        self.status = status;
        self.problem = problem.map(|words| VendorText::new(&format!("{}: {words}", self.identifier)));
    }
}

/// Where an HTTP proof is fetched from in place of the name's own addresses.
pub(super) type Resolve = Arc<dyn Fn(&Identifier) -> Option<SocketAddr> + Send + Sync>;

/// Looks at proofs from outside, as a public authority would.
#[derive(Clone)]
pub(super) struct Inspector {
    pub(super) http_port: u16,
    pub(super) resolve: Option<Resolve>,
    pub(super) lookup: Option<Arc<dyn DnsLookup>>,
}

impl Inspector {
    /// Looks whether the proof is where it should be.
    pub(super) async fn look(&self, proof: &Proof, validation: Validation, csr: &Csr) -> Seen {
        match validation {
            Validation::None => Seen::Proven,
            Validation::Http => self.fetch(proof, csr).await,
            Validation::Dns => self.query(proof, csr).await,
        }
    }

    async fn fetch(&self, proof: &Proof, csr: &Csr) -> Seen {
        let token = proof.token.as_str();
        let path = [".well-known", "acme-challenge", token];
        let request = match self.client(&proof.identifier) {
            Ok((client, host)) => {
                let request = client.get(Operation::Respond, &path).timeout(TIMEOUT).raw();
                if let Some(host) = host { request.header("host", &host) } else { request }
            }
            Err(words) => return Seen::Refused(words),
        };
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return Seen::Unclear(format!("the file could not be fetched: {}", error.kind())),
        };
        let status = answer.status();
        if status.is_server_error() {
            return Seen::Unclear(format!("the web server answered {}", status.as_u16()));
        }
        if status.as_u16() != 200 {
            return Seen::Refused(format!("the web server answered {} for the file", status.as_u16()));
        }
        // White space at the end does not count (RFC 8555 §8.3).
        let body = answer.bytes().trim_ascii_end();
        if body == proof.key_authorization(csr).as_bytes() {
            Seen::Proven
        } else {
            Seen::Refused(format!("the file holds something else ({} bytes)", body.len()))
        }
    }

    /// A client for the name's own web server, and the `Host` header where the address is another.
    fn client(&self, identifier: &Identifier) -> Result<(Client, Option<String>), String> {
        let address = self.resolve.as_ref().and_then(|resolve| resolve(identifier));
        let (place, host) = match (identifier, address) {
            (_, Some(address)) => (address.to_string(), Some(host_header(identifier))),
            (Identifier::Ip(address), None) => (SocketAddr::new(*address, self.http_port).to_string(), None),
            (name, None) => (format!("{name}:{}", self.http_port), None),
        };
        let url = Url::parse(&format!("http://{place}/")).map_err(|_| "it has no web address".to_owned())?;
        let mut settings = HttpSettings::default();
        settings.allow_plain_http = true;
        // No TLS is spoken, so the platform's roots need not be looked for.
        settings.bundled_roots = BundledRoots::Always;
        let client = Client::builder(PROVIDER)
            .base_url(&url)
            .settings(&settings)
            .retries(1)
            .max_body(MAX_FILE)
            .user_agent("certlife private CA")
            .build();
        Ok((client.map_err(|error| error.to_string())?, host))
    }

    async fn query(&self, proof: &Proof, csr: &Csr) -> Seen {
        let (Some(lookup), Some(owner)) = (&self.lookup, proof.owner()) else {
            return Seen::Refused("it cannot be proven by DNS".to_owned());
        };
        let unclear = |error: Error| Seen::Unclear(format!("DNS could not be asked: {}", error.kind()));
        let name = match lookup.effective_name(&owner).await {
            Ok(name) => name,
            Err(error) => return unclear(error),
        };
        let servers = match lookup.authority(&name).await {
            Ok(authority) => authority.servers,
            Err(error) => return unclear(error),
        };
        let question = Question { name: name.clone(), kind: RecordKind::Txt, recurse: false };
        let wanted = RecordData::Txt(proof.txt_value(csr));
        let mut silent = NoAnswer::Unreachable;
        for address in servers.into_iter().flat_map(|server| server.addresses).take(MAX_SERVERS) {
            match lookup.ask(address, &question).await {
                Ok(answer) if answer.values.contains(&wanted) => return Seen::Proven,
                Ok(answer) if matches!(answer.code, ResponseCode::NoError | ResponseCode::NxDomain) => {
                    let found = answer.values.len();
                    return Seen::Refused(format!("none of {found} TXT records at {name} has the value"));
                }
                Ok(_) => {}
                Err(reason) => silent = reason,
            }
        }
        Seen::Unclear(format!("no name server of {name} answers: {silent}"))
    }
}

/// A host as it stands in a URL (RFC 3986 §3.2.2).
fn host_header(identifier: &Identifier) -> String {
    match identifier {
        Identifier::Ip(IpAddr::V6(address)) => format!("[{address}]"),
        other => other.to_string(),
    }
}

/// How long a web server may take, from connection to last byte.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest file that is read; a key authorization has 87 bytes.
const MAX_FILE: usize = 4 * 1_024;
/// The most name servers that are tried.
const MAX_SERVERS: usize = 8;
