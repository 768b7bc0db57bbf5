//! Entrust's Enterprise API over an account in memory, which refuses what the real one refuses and everything else.
//!
//! What the API does not know at all (paths, verbs, parameters) is noted, and fails the test when the fake is dropped.

mod account;
mod deeds;
mod listing;
mod orders;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use certlife_core::{Clock, Timestamp};
use certlife_testkit::ca::Issuer;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::any};

use crate::outside::Outside;

pub(crate) use self::{
    account::FakeDomain,
    orders::{FakeOrder, Line},
};

pub(crate) const USER: &str = "northwind-api-user";
pub(crate) const KEY: &str = "invented-api-key-0123456789";
pub(crate) const BASE: &str = "/enterprise/v2";

pub(crate) struct Fake {
    pub(crate) server: MockServer,
    world: Arc<Mutex<World>>,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a switch that a test throws")]
pub(crate) struct World {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) issuer: Issuer,
    pub(crate) orders: Vec<FakeOrder>,
    /// Every order that was ever taken, for the test to count.
    pub(crate) ledger: Vec<Line>,
    pub(crate) domains: Vec<FakeDomain>,
    pub(crate) clients: Vec<Value>,
    pub(crate) organizations: Vec<Value>,
    pub(crate) inventories: Vec<Value>,
    /// `inventories`, or `inventory` as the document has it.
    pub(crate) inventory_key: &'static str,
    /// None if custom fields are not enabled.
    pub(crate) custom_fields: Option<Map<String, Value>>,
    /// What the server makes of `limit`.
    pub(crate) max_page: usize,
    /// Reads until an order that nobody has to approve is issued.
    pub(crate) polls_to_issue: u32,
    /// How long such an order takes at most, however seldom it is read.
    pub(crate) generates_in: Option<Duration>,
    /// Reads until the random value of a domain is there, and again until the proof is looked at.
    pub(crate) value_after: u32,
    /// Where proofs of domains are looked for besides.
    pub(crate) outside: Option<Outside>,
    /// Whether approved and declined orders are left out of the list, as a later edition of the document says.
    pub(crate) hides_unfinished: bool,
    /// Whether approval takes two administrators.
    pub(crate) quorum: bool,
    /// Whether `reactivations` exists.
    pub(crate) reactivates: bool,
    /// Whether an expiry date is required.
    pub(crate) pooling: bool,
    /// The reasons for revocation that are taken.
    pub(crate) reasons: Vec<&'static str>,
    pub(crate) requests: Vec<String>,
    faults: VecDeque<(Step, Mishap)>,
    violations: Vec<String>,
    next_id: i64,
}

/// The kinds of requests that something can befall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Version,
    Catalog,
    List,
    Read,
    Order,
    Decide,
    Revoke,
    Domain,
}

/// What befalls a request.
#[derive(Debug, Clone)]
pub(crate) enum Mishap {
    /// Carried out, but a gateway says that it lost the server.
    Lose,
    Throttle(Option<Duration>),
    /// Not carried out.
    Fail,
    /// Carried out, but the answer breaks off.
    Garble,
    /// Carried out, but the answer is a page for people.
    Page,
    Slow(Duration),
    /// Not carried out; this is said in its place.
    Say(u16, Value),
}

/// A body, or a refusal with its status.
pub(super) type Answer = Result<(u16, Option<Value>), (u16, Value)>;

impl Fake {
    pub(crate) async fn start(clock: Arc<dyn Clock>) -> Self {
        let server = MockServer::start().await;
        let world = Arc::new(Mutex::new(World::new(clock)));
        Mock::given(any()).respond_with(Answers(world.clone())).mount(&server).await;
        Self { server, world }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    pub(crate) fn base_url(&self) -> url::Url {
        format!("{}{BASE}", self.server.uri()).parse().unwrap()
    }

    pub(crate) fn befall(&self, step: Step, mishap: Mishap) {
        self.world().faults.push_back((step, mishap));
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let violations = self.world.lock().map(|world| world.violations.clone()).unwrap_or_default();
            assert!(violations.is_empty(), "the API knows no such thing: {violations:?}");
        }
    }
}

struct Answers(Arc<Mutex<World>>);

impl Respond for Answers {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        self.0.lock().unwrap().respond(request)
    }
}

pub(super) fn fault(status: u16, message: &str) -> (u16, Value) {
    (status, json!({ "status": status, "errors": [{ "message": message }] }))
}

pub(super) fn field(name: &str, message: &str) -> (u16, Value) {
    (400, json!({ "status": 400, "errors": [{ "message": message, "field": name }] }))
}

pub(super) fn body<T: DeserializeOwned>(request: &Request) -> Result<T, (u16, Value)> {
    let kind = request.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind != "application/json" {
        return Err(fault(415, "Unsupported media type"));
    }
    serde_json::from_slice(&request.body).map_err(|error| fault(400, &format!("Malformed request: {error}")))
}

impl World {
    fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            issuer: Issuer::new("Northwind test"),
            orders: Vec::new(),
            ledger: Vec::new(),
            domains: Vec::new(),
            clients: account::clients(),
            organizations: account::organizations(),
            inventories: account::inventories(),
            inventory_key: "inventories",
            custom_fields: None,
            max_page: 1_000,
            polls_to_issue: 0,
            generates_in: None,
            value_after: 0,
            outside: None,
            hides_unfinished: false,
            quorum: false,
            reactivates: true,
            pooling: false,
            reasons: vec![
                "unspecified",
                "keyCompromise",
                "affiliationChanged",
                "superseded",
                "cessationOfOperation",
            ],
            requests: Vec::new(),
            faults: VecDeque::new(),
            violations: Vec::new(),
            next_id: 4_810_276,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn new_id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id
    }

    fn respond(&mut self, request: &Request) -> ResponseTemplate {
        let (method, path) = (request.method.as_str(), request.url.path());
        let path = path.strip_prefix(BASE).unwrap_or_default().to_owned();
        self.requests.push(format!("{method} {path}"));
        let segments: Vec<String> = path.split('/').skip(1).map(percent_decoded).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let Some(step) = step(method, &segments) else { return self.violation(&format!("{method} {path}")) };
        self.generate();
        let mishap = self.befalling(step);
        match mishap {
            Some(Mishap::Throttle(wait)) => {
                let answer =
                    answer(fault(429, "Too many requests")).insert_header("X-Rate-Limit-Limit", "60");
                return match wait {
                    Some(wait) => answer.insert_header("Retry-After", wait.as_secs().to_string().as_str()),
                    None => answer,
                };
            }
            Some(Mishap::Fail) => return ResponseTemplate::new(503),
            Some(Mishap::Say(status, body)) => return answer((status, body)),
            _ => {}
        }
        let outcome = authenticate(request).and_then(|()| self.route(method, &segments, request));
        match (mishap, outcome) {
            (Some(Mishap::Lose), _) => {
                ResponseTemplate::new(502).set_body_raw("<html>502 Bad Gateway</html>", "text/html")
            }
            (Some(Mishap::Garble), _) => {
                ResponseTemplate::new(200).set_body_raw("{\"trackingId\": 48", "application/json")
            }
            (Some(Mishap::Page), _) => {
                ResponseTemplate::new(200).set_body_raw("<html>Please log in</html>", "text/html")
            }
            (Some(Mishap::Slow(time)), Ok((status, body))) => success(status, body).set_delay(time),
            (_, Ok((status, body))) => success(status, body),
            (_, Err(refusal)) => answer(refusal),
        }
    }

    fn befalling(&mut self, step: Step) -> Option<Mishap> {
        let next = self.faults.iter().position(|(of, _)| *of == step)?;
        self.faults.remove(next).map(|(_, mishap)| mishap)
    }

    fn violation(&mut self, what: &str) -> ResponseTemplate {
        self.violations.push(what.to_owned());
        answer(fault(404, "Not found"))
    }

    fn route(&mut self, method: &str, segments: &[&str], request: &Request) -> Answer {
        let query: Vec<(String, String)> = request.url.query_pairs().into_owned().collect();
        let takes_query = matches!((method, segments), ("GET", ["certificates" | "domains"]));
        if !query.is_empty() && !takes_query {
            self.violations.push(format!("{segments:?} with {query:?}"));
        }
        match (method, segments) {
            ("GET", ["application", "version"]) => Ok((200, Some(json!({ "version": "12.5.0.138" })))),
            ("GET", ["clients"]) => Ok((200, Some(json!({ "clients": self.clients })))),
            ("GET", ["organizations"]) => Ok((200, Some(json!({ "organizations": self.organizations })))),
            ("GET", ["inventories"]) => Ok((200, Some(json!({ self.inventory_key: self.inventories })))),
            ("GET", ["customFields"]) => match &self.custom_fields {
                Some(fields) => Ok((200, Some(Value::Object(fields.clone())))),
                None => Err(fault(404, "Custom fields are not enabled")),
            },
            ("GET", ["domains"]) => self.list_domains(&query),
            ("POST", ["clients", client, "domains"]) => self.add_domain(client, &body(request)?),
            ("GET", ["clients", client, "domains", name]) => self.show_domain(client, name),
            ("PUT", ["clients", client, "domains", name]) => {
                self.change_domain(client, name, &body(request)?)
            }
            ("GET", ["certificates"]) => self.list_orders(&query),
            ("POST", ["certificates"]) => self.take_order(&body(request)?),
            ("GET", ["certificates", id]) => self.show_order(id),
            ("PATCH", ["certificates", id]) => self.operate(id, &body(request)?),
            ("POST", ["certificates", id, "renewals"]) => self.take_renewal(id, &body(request)?),
            ("POST", ["certificates", id, "reissues"]) => self.take_reissue(id, &body(request)?),
            ("POST", ["certificates", id, "revocations"]) => self.revoke(id, body(request)?),
            ("POST", ["certificates", id, "deactivations"]) if request.body.is_empty() => self.deactivate(id),
            ("POST", ["certificates", id, "reactivations"]) if request.body.is_empty() => self.reactivate(id),
            _ => Err(fault(400, "Malformed request")),
        }
    }
}

fn step(method: &str, segments: &[&str]) -> Option<Step> {
    Some(match (method, segments) {
        ("GET", ["application", "version"]) => Step::Version,
        ("GET", ["clients" | "organizations" | "inventories" | "customFields" | "domains"]) => Step::Catalog,
        ("POST", ["clients", _, "domains"]) | ("GET" | "PUT", ["clients", _, "domains", _]) => Step::Domain,
        ("GET", ["certificates"]) => Step::List,
        ("GET", ["certificates", _]) => Step::Read,
        ("POST", ["certificates"] | ["certificates", _, "renewals" | "reissues"]) => Step::Order,
        ("PATCH", ["certificates", _]) | ("POST", ["certificates", _, "deactivations" | "reactivations"]) => {
            Step::Decide
        }
        ("POST", ["certificates", _, "revocations"]) => Step::Revoke,
        _ => return None,
    })
}

fn authenticate(request: &Request) -> Result<(), (u16, Value)> {
    let expected = format!("Basic {}", BASE64.encode(format!("{USER}:{KEY}")));
    let sent = request.headers.get("authorization").and_then(|value| value.to_str().ok());
    if sent == Some(&expected) { Ok(()) } else { Err(fault(401, "Bad credentials")) }
}

fn success(status: u16, body: Option<Value>) -> ResponseTemplate {
    match body {
        Some(body) => ResponseTemplate::new(status).set_body_json(body),
        None => ResponseTemplate::new(status),
    }
}

fn answer((status, body): (u16, Value)) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(body)
}

fn percent_decoded(segment: &str) -> String {
    let pair = format!("x={}", segment.replace('+', "%2B"));
    url::form_urlencoded::parse(pair.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}
