//! Certificate Manager over records in memory, which refuses what the real one refuses and everything else.
//!
//! It issues real certificates, keeps a ledger of what was ordered, and can fail in every way that a test asks for.

#![expect(clippy::needless_pass_by_value, reason = "bodies are spent on what they order")]
#![allow(dead_code, unused_imports, reason = "each test that includes this uses a part of it")]

mod account;
mod dcv;
mod progress;
mod rules;
mod ssl;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use certlife_core::Clock;
use certlife_testkit::ca::Issuer;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::any};

pub(crate) use self::{
    dcv::DomainRecord,
    ssl::{LedgerLine, Record},
};

pub(crate) const CUSTOMER: &str = "acme-corp";
pub(crate) const LOGIN: &str = "pki-bot";
pub(crate) const PASSWORD: &str = "invented-Passw0rd!";
pub(crate) const CLIENT_ID: &str = "0b5c7d4e-api-key";
pub(crate) const CLIENT_SECRET: &str = "invented-client-secret-0001";
/// An organization that is validated, one that is not, and a department of the first.
pub(crate) const ORGANIZATION: u64 = 20_417;
pub(crate) const UNVALIDATED: u64 = 20_999;
pub(crate) const DEPARTMENT: u64 = 20_418;
/// A profile with every key, and one with RSA alone.
pub(crate) const PROFILE: u64 = 3_188;
pub(crate) const RSA_PROFILE: u64 = 3_190;
/// A field that the account makes mandatory once [`World::mandatory_field`] is set.
pub(crate) const FIELD: &str = "Cost center";
/// A domain that is validated for orders; those below the other one are known and not validated.
pub(crate) const DOMAIN: &str = "suite.example";

/// Tells whether a proof is out in the world, by its kind (`TXT`, `CNAME`, `HTTP`), place and value.
pub(crate) type Eyes = Arc<dyn Fn(&str, &str, &str) -> bool + Send + Sync>;

/// How clients log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Password,
    /// Below `/private/api`. Whether the certificate was shown is TLS, which this server does not speak.
    Certificate,
    OAuth,
}

/// What a request does, so that something can befall it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Enrolling, renewing, replacing.
    Place,
    Details,
    Collect,
    List,
    Update,
    Decide,
    Revoke,
    Recheck,
    OrderDcv,
    Dcv,
    Submit,
    Token,
    Account,
}

/// What befalls a request.
#[derive(Debug, Clone)]
pub(crate) enum Mishap {
    /// Answered like this, without effect.
    Before(u16, &'static str, String),
    /// Carried out, and answered like this.
    After(u16, &'static str, String),
    Throttle(Option<Duration>),
    Slow(Duration),
}

impl Mishap {
    /// Carried out, and a gateway lost the answer.
    pub(crate) fn lose() -> Self {
        Self::After(502, "text/html", "<html>502 Bad Gateway</html>".to_owned())
    }

    /// Refused with a code, as most errors are.
    pub(crate) fn refuse(code: i64, description: &str) -> Self {
        Self::error(400, json!({ "code": code, "description": description }))
    }

    pub(crate) fn error(status: u16, body: Value) -> Self {
        Self::Before(status, "application/json", body.to_string())
    }
}

pub(crate) struct FakeSectigo {
    pub(crate) server: MockServer,
    world: Arc<Mutex<World>>,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a switch that a test throws")]
pub(crate) struct World {
    pub(crate) scheme: Scheme,
    clock: Arc<dyn Clock>,
    pub(crate) issuer: Issuer,
    pub(crate) records: BTreeMap<u64, Record>,
    pub(crate) ledger: Vec<LedgerLine>,
    /// The requests for which a certificate was issued, in PEM.
    pub(crate) issued: Vec<String>,
    /// Why certificates were replaced.
    pub(crate) reasons: Vec<String>,
    next_id: u64,
    next_serial: u64,
    /// Whether domains are validated apart from orders.
    pub(crate) prevalidation: bool,
    /// Whether orders wait for approval.
    pub(crate) approval: bool,
    /// How often an order is asked after before it is issued.
    pub(crate) polls: u32,
    pub(crate) mandatory_field: bool,
    pub(crate) renews_without_id: bool,
    /// Whether the validation of an order is shown in a list.
    pub(crate) shows_lists: bool,
    pub(crate) domains: BTreeMap<String, DomainRecord>,
    /// What was published: kind, name and value.
    pub(crate) proofs: BTreeSet<(String, String, String)>,
    /// Where proofs are looked for besides.
    pub(crate) eyes: Option<Eyes>,
    /// The names whose proofs fail.
    pub(crate) disproven: BTreeSet<String>,
    pub(crate) password_state: Value,
    /// Whether the validation of organizations may be read.
    pub(crate) hides_validations: bool,
    pub(crate) tokens: BTreeSet<String>,
    mishaps: VecDeque<(Step, Mishap)>,
    pub(crate) requests: Vec<String>,
}

/// An answer: status, headers, and a body that is JSON unless it is raw.
pub(crate) struct Answer {
    status: u16,
    total: Option<usize>,
    body: Body,
}

enum Body {
    Empty,
    Json(Value),
    Raw(String),
}

type Outcome = Result<Answer, Answer>;

fn ok(body: Value) -> Answer {
    Answer { status: 200, total: None, body: Body::Json(body) }
}

fn done(status: u16) -> Answer {
    Answer { status, total: None, body: Body::Empty }
}

fn raw(text: String) -> Answer {
    Answer { status: 200, total: None, body: Body::Raw(text) }
}

fn fault(status: u16, code: i64, description: &str) -> Answer {
    Answer { status, total: None, body: Body::Json(json!({ "code": code, "description": description })) }
}

fn refusal(code: i64, description: &str) -> Answer {
    fault(400, code, description)
}

impl FakeSectigo {
    pub(crate) async fn start(scheme: Scheme, clock: Arc<dyn Clock>) -> Self {
        let server = MockServer::start().await;
        let world = World {
            scheme,
            clock,
            issuer: Issuer::new("Sectigo"),
            records: BTreeMap::new(),
            ledger: Vec::new(),
            issued: Vec::new(),
            reasons: Vec::new(),
            next_id: 7_741_925,
            next_serial: 1,
            prevalidation: true,
            approval: false,
            polls: 1,
            mandatory_field: false,
            renews_without_id: false,
            shows_lists: false,
            domains: account::domains(),
            proofs: BTreeSet::new(),
            eyes: None,
            disproven: BTreeSet::new(),
            password_state: json!({ "state": "NEVER_EXPIRE" }),
            hides_validations: false,
            tokens: BTreeSet::new(),
            mishaps: VecDeque::new(),
            requests: Vec::new(),
        };
        let world = Arc::new(Mutex::new(world));
        Mock::given(any()).respond_with(Answers(world.clone())).mount(&server).await;
        Self { server, world }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Lets something befall the next request that does this.
    pub(crate) fn befall(&self, step: Step, mishap: Mishap) {
        self.world().mishaps.push_back((step, mishap));
    }
}

struct Answers(Arc<Mutex<World>>);

impl Respond for Answers {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).respond(request)
    }
}

impl World {
    fn respond(&mut self, request: &Request) -> ResponseTemplate {
        let path = request.url.path().to_owned();
        self.requests.push(format!("{} {path}", request.method));
        if path == "/token" {
            let mishap = self.mishap(Step::Token);
            return befallen(mishap, || written(self.hand_out_token(request)));
        }
        let prefix = if self.scheme == Scheme::Certificate { "/private/api/" } else { "/api/" };
        let path = path.strip_prefix(prefix).unwrap_or_else(|| panic!("{path} is not below {prefix}"));
        let segments: Vec<&str> = path.split('/').collect();
        if !self.is_logged_in(request) {
            return written(Err(fault(401, -16, "Unknown user")));
        }
        let mishap = self.mishap(step(request.method.as_str(), &segments));
        befallen(mishap, || written(self.route(request, &segments)))
    }

    fn mishap(&mut self, step: Step) -> Option<Mishap> {
        let at = self.mishaps.iter().position(|(befalls, _)| *befalls == step)?;
        self.mishaps.remove(at).map(|(_, mishap)| mishap)
    }

    fn is_logged_in(&self, request: &Request) -> bool {
        let header = |name: &str| request.headers.get(name).map(|value| value.to_str().unwrap());
        let told = (header("login"), header("customeruri"), header("password"), header("authorization"));
        match self.scheme {
            Scheme::Password => told == (Some(LOGIN), Some(CUSTOMER), Some(PASSWORD), None),
            Scheme::Certificate => told == (Some(LOGIN), Some(CUSTOMER), None, None),
            Scheme::OAuth => match told {
                (None, _, None, Some(bearer)) => {
                    bearer.strip_prefix("Bearer ").is_some_and(|token| self.tokens.contains(token))
                }
                _ => false,
            },
        }
    }

    fn hand_out_token(&mut self, request: &Request) -> Outcome {
        assert_eq!(request.method.as_str(), "POST");
        assert_eq!(request.headers["content-type"], "application/x-www-form-urlencoded");
        let form: BTreeMap<String, String> =
            url::form_urlencoded::parse(&request.body).into_owned().collect();
        assert_eq!(form.len(), 3, "{:?}", form.keys());
        assert_eq!(form["grant_type"], "client_credentials");
        if form["client_id"] != CLIENT_ID || form["client_secret"] != CLIENT_SECRET {
            let body = json!({ "error": "invalid_client", "error_description": "Invalid client" });
            return Err(Answer { status: 401, total: None, body: Body::Json(body) });
        }
        let token = format!("invented-access-token-{}", self.requests.len());
        self.tokens.insert(token.clone());
        Ok(ok(json!({ "access_token": token, "expires_in": 300, "token_type": "Bearer" })))
    }

    fn route(&mut self, request: &Request, segments: &[&str]) -> Outcome {
        let query: BTreeMap<String, String> = request.url.query_pairs().into_owned().collect();
        let sends_body = matches!(request.method.as_str(), "POST" | "PUT");
        if sends_body && !request.body.is_empty() {
            assert!(request.headers["content-type"].to_str().unwrap().starts_with("application/json"));
        }
        match (request.method.as_str(), segments) {
            ("GET", ["ssl", "v1", "types"]) => Self::types(&query),
            ("GET", ["ssl", "v1", "customFields"]) => Ok(self.custom_fields()),
            ("GET", ["organization", "v1"]) => Ok(Self::organizations()),
            ("GET", ["organization", "v2", id, "validations"]) => self.validations(id),
            ("GET", ["domain", "v1"]) => Ok(self.list_domains(&query)),
            ("GET", ["admin", "v1", "password"]) if self.scheme != Scheme::OAuth => {
                Ok(ok(self.password_state.clone()))
            }
            (method, ["dcv", version, "validation", rest @ ..]) => {
                self.dcv(method, version, rest, &query, &request.body)
            }
            ("GET", ["ssl", "v1"]) => Ok(self.list(&query)),
            ("PUT", ["ssl", "v1"]) => self.update(body(&request.body)?),
            ("POST", ["ssl", "v1", "enroll"]) => self.enroll(body(&request.body)?),
            ("POST", ["ssl", "v1", "renewById", id]) => self.renew(number(id), body(&request.body)?),
            ("POST", ["ssl", "v1", "replace", id]) => self.replace(number(id), body(&request.body)?),
            ("POST", ["ssl", "v1", verb @ ("approve" | "decline"), id]) => {
                self.decide(verb, number(id), body(&request.body)?)
            }
            ("POST", ["ssl", "v1", "revoke", "serial", serial]) => self.revoke(serial, body(&request.body)?),
            ("GET", ["ssl", "v1", "collect", id]) => self.collect(number(id), &query),
            ("GET", ["ssl", "v1", id, "dcv"]) => self.order_dcv(number(id)),
            ("POST", ["ssl", "v1", id, "dcv", "recheck"]) => self.recheck(number(id)),
            ("GET", ["ssl", "v1", id]) => self.details(number(id)),
            (method, path) => panic!("the interface has no {method} {path:?}"),
        }
    }
}

fn step(method: &str, segments: &[&str]) -> Step {
    match (method, segments) {
        ("POST", ["ssl", "v1", "enroll"] | ["ssl", "v1", "renewById" | "replace", _]) => Step::Place,
        ("PUT", ["ssl", "v1"]) => Step::Update,
        ("GET", ["ssl", "v1"]) => Step::List,
        (_, ["ssl", "v1", "types" | "customFields"]) => Step::Account,
        (_, ["ssl", "v1", "collect", _]) => Step::Collect,
        (_, ["ssl", "v1", "approve" | "decline", _]) => Step::Decide,
        (_, ["ssl", "v1", "revoke", ..]) => Step::Revoke,
        (_, ["ssl", "v1", _, "dcv", "recheck"]) => Step::Recheck,
        (_, ["ssl", "v1", _, "dcv"]) => Step::OrderDcv,
        (_, ["ssl", "v1", _]) => Step::Details,
        (_, ["dcv", _, "validation", "submit", ..]) => Step::Submit,
        (_, ["dcv", ..]) => Step::Dcv,
        _ => Step::Account,
    }
}

fn befallen(mishap: Option<Mishap>, carry_out: impl FnOnce() -> ResponseTemplate) -> ResponseTemplate {
    match mishap {
        None => carry_out(),
        Some(Mishap::Before(status, kind, text)) => ResponseTemplate::new(status).set_body_raw(text, kind),
        Some(Mishap::After(status, kind, text)) => {
            drop(carry_out());
            ResponseTemplate::new(status).set_body_raw(text, kind)
        }
        Some(Mishap::Throttle(pause)) => {
            let answer = ResponseTemplate::new(429);
            match pause {
                Some(pause) => answer.insert_header("retry-after", pause.as_secs().to_string().as_str()),
                None => answer,
            }
        }
        Some(Mishap::Slow(time)) => carry_out().set_delay(time),
    }
}

fn written(outcome: Outcome) -> ResponseTemplate {
    let answer = outcome.unwrap_or_else(|refused| refused);
    let mut template = ResponseTemplate::new(answer.status);
    if let Some(total) = answer.total {
        template = template.insert_header("x-total-count", total.to_string().as_str());
    }
    match answer.body {
        Body::Empty => template,
        Body::Json(value) => template.set_body_json(value),
        Body::Raw(text) => template.set_body_raw(text, "application/octet-stream;charset=UTF-8"),
    }
}

/// A body of exactly this form; another one is told as the real server tells it.
fn body<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Answer> {
    serde_json::from_slice(bytes).map_err(|error| refusal(-1002, &format!("Cannot parse the body: {error}")))
}

fn number(segment: &str) -> u64 {
    segment.parse().unwrap_or_else(|_| panic!("{segment} is not an id"))
}

/// One page of a listing, with the total in its header.
fn page(items: Vec<Value>, query: &BTreeMap<String, String>) -> Answer {
    let of = |name: &str| -> usize { query[name].parse().unwrap() };
    let (size, position, total) = (of("size"), of("position"), items.len());
    assert!((1..=200).contains(&size), "{size} on a page");
    let shown: Vec<Value> = items.into_iter().skip(position).take(size).collect();
    Answer { status: 200, total: Some(total), body: Body::Json(json!(shown)) }
}

fn only(query: &BTreeMap<String, String>, allowed: &[&str]) {
    let unknown = query.keys().find(|name| !allowed.contains(&name.as_str()));
    assert_eq!(unknown, None, "a parameter that does not exist");
}
