//! The SSL Store's API over orders in memory. It refuses what the real one refuses, and stops the test at anything
//! that no source describes: unknown calls, members and types.
//!
//! It stands on its own, so that tests elsewhere include this file by its path.

#![expect(unreachable_pub, reason = "whoever includes this file sees its items as they are")]

mod book;
mod forms;
mod order;
mod shelf;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use certlife_core::{Clock, ErrorKind, Timestamp};
use certlife_testkit::ca::{Fault, MemoryCa};
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::any};

pub use self::order::FakeOrder;

pub const PARTNER: &str = "10000001";
pub const TOKEN: &str = "INVENTED-AUTH-TOKEN-0001";
/// What the vendor hands out with orders and nobody may print.
pub const ORDER_SECRET: &str = "c3d4-code-of-the-order";
pub const PASSWORD: &str = "password-of-the-customer";

/// Tells whether a line, as [`World::show`] writes it, holds.
pub type Eyes = Arc<dyn Fn(&str) -> bool + Send + Sync>;

pub struct FakeStore {
    pub server: MockServer,
    world: Arc<Mutex<World>>,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a switch that a test throws")]
pub struct World {
    clock: Arc<dyn Clock>,
    issuer: MemoryCa,
    pub orders: Vec<FakeOrder>,
    /// One line for each order that was placed: its reference, its number, and whether it cost money.
    pub ledger: Vec<(String, String, bool)>,
    /// The references for which certificates were issued.
    pub issued: Vec<String>,
    pub products: Vec<Value>,
    pub organizations: Vec<Value>,
    /// What is published or confirmed, as [`World::show`] writes it.
    pub shown: BTreeSet<String>,
    /// Sees what is out in the world, besides what is shown here.
    pub eyes: Option<Eyes>,
    /// Names whose proofs fail.
    pub disproven: BTreeSet<String>,
    /// What befalls the next requests, by path.
    pub faults: Vec<(String, Fault)>,
    /// Answers that come in place of the usual ones, by path: status, media type and body.
    pub scripted: Vec<(String, u16, String, String)>,
    /// Paths that do not exist.
    pub missing: BTreeSet<String>,
    /// How often an order is asked after before its proofs are looked at.
    pub polls_to_check: u32,
    /// How often it is asked after before it is issued.
    pub polls_to_issue: u32,
    /// Whether a refund is granted at once.
    pub refunds_at_once: bool,
    /// Whether a reissue gives the order its own reference.
    pub reissue_renames: bool,
    /// Whether another way to prove a name is ignored without a sound.
    pub deaf: bool,
    /// Whether listings begin with an element that is null.
    pub nulls: bool,
    /// Whether listings pass over paging.
    pub ignores_paging: bool,
    /// The only form that requests are taken in; none takes every form.
    pub csr_form: Option<&'static str>,
    pub requests: Vec<String>,
    /// The bodies of requests, by path, newest last.
    pub bodies: BTreeMap<String, Vec<Value>>,
}

impl FakeStore {
    pub async fn start(clock: Arc<dyn Clock>) -> Self {
        let server = MockServer::start().await;
        let issuer = MemoryCa::builder(clock.clone()).validity(Duration::from_hours(24 * 199)).build();
        let world = World {
            clock,
            issuer,
            orders: Vec::new(),
            ledger: Vec::new(),
            issued: Vec::new(),
            products: shelf::products(),
            organizations: shelf::organizations(),
            shown: BTreeSet::new(),
            eyes: None,
            disproven: BTreeSet::new(),
            faults: Vec::new(),
            scripted: Vec::new(),
            missing: BTreeSet::new(),
            polls_to_check: 0,
            polls_to_issue: 0,
            refunds_at_once: true,
            reissue_renames: false,
            deaf: false,
            nulls: false,
            ignores_paging: false,
            csr_form: None,
            requests: Vec::new(),
            bodies: BTreeMap::new(),
        };
        let world = Arc::new(Mutex::new(world));
        Mock::given(any()).respond_with(Answers(world.clone())).mount(&server).await;
        Self { server, world }
    }

    pub fn base_url(&self) -> url::Url {
        format!("{}/rest/", self.server.uri()).parse().unwrap()
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }
}

struct Answers(Arc<Mutex<World>>);

impl Respond for Answers {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        self.0.lock().unwrap().respond(request)
    }
}

/// What a call answers, or why it refuses: a code and words.
type Answer = Result<Value, (i32, String)>;

fn refusal<T>(code: i32, words: &str) -> Result<T, (i32, String)> {
    Err((code, words.to_owned()))
}

/// Who asks.
#[derive(Clone, PartialEq, Eq)]
enum Caller {
    Partner,
    /// With the token of this order.
    Token(String),
}

impl World {
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The root that its chains lead to.
    pub fn root(&self) -> Vec<u8> {
        self.issuer.root().to_vec()
    }

    pub fn order(&mut self, number: &str) -> &mut FakeOrder {
        self.orders.iter_mut().find(|order| order.number == number).expect("an order of that number")
    }

    /// How often a call was made.
    pub fn calls(&self, path: &str) -> usize {
        self.requests.iter().filter(|request| request.as_str() == path).count()
    }

    fn respond(&mut self, request: &Request) -> ResponseTemplate {
        let path = request.url.path().strip_prefix("/rest/").expect("the path of the API").to_owned();
        let path = path.trim_end_matches('/').to_owned();
        self.requests.push(path.clone());
        let fault = self.faults.iter().position(|(wanted, _)| *wanted == path);
        let fault = fault.map(|place| self.faults.remove(place).1);
        match fault {
            Some(Fault::Throttle(wait)) => {
                let answer = ResponseTemplate::new(429).set_body_raw("slow down", "text/plain");
                return match wait {
                    Some(wait) => answer.insert_header("retry-after", wait.as_secs().to_string().as_str()),
                    None => answer,
                };
            }
            Some(Fault::Fail) => return page(503),
            _ => {}
        }
        if let Some(place) = self.scripted.iter().position(|(wanted, ..)| *wanted == path) {
            let (_, status, media_type, body) = self.scripted.remove(place);
            return ResponseTemplate::new(status).set_body_raw(body, &media_type);
        }
        if self.missing.contains(&path) {
            return page(404);
        }
        let answer = self.carry_out(request, &path);
        match fault {
            Some(Fault::LoseAnswer) => page(502),
            Some(Fault::Garble) => {
                let text = answer.to_string();
                ResponseTemplate::new(200).set_body_raw(text[..text.len() / 2].to_owned(), "application/json")
            }
            Some(Fault::Slow(time)) => ResponseTemplate::new(200).set_body_json(answer).set_delay(time),
            _ => ResponseTemplate::new(200).set_body_json(answer),
        }
    }

    fn carry_out(&mut self, request: &Request, path: &str) -> Value {
        assert_eq!(request.method.as_str(), "POST", "{path}");
        assert!(
            request.headers.get("content-type").unwrap().to_str().unwrap().starts_with("application/json")
        );
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        self.bodies.entry(path.to_owned()).or_default().push(body.clone());
        forms::check(path, &body);
        let at_root = matches!(path, "health/validate" | "health/validatetoken" | "user/accountdetail");
        let login = if at_root { &body } else { &body["AuthRequest"] };
        let outcome = match self.caller(login) {
            Ok(caller) => self.route(path, &body, &caller),
            // This one call takes any token and shows nothing for a wrong one.
            Err(_) if path == "order/query" => Ok(json!([])),
            Err(refused) => Err(refused),
        };
        envelope(path, outcome)
    }

    fn caller(&self, login: &Value) -> Result<Caller, (i32, String)> {
        let denied = || refusal(-9008, "Token/Authentication Failure");
        if login["IsUsedForTokenSystem"] != true {
            let good = login["PartnerCode"] == PARTNER && login["AuthToken"] == TOKEN;
            return if good { Ok(Caller::Partner) } else { denied() };
        }
        assert_eq!((&login["PartnerCode"], &login["AuthToken"]), (&json!(""), &json!("")));
        let owner = self.orders.iter().find(|order| {
            login["Token"] == order.token()
                || (login["TokenID"] == order.token_id() && login["TokenCode"] == ORDER_SECRET)
        });
        owner.map_or_else(denied, |order| Ok(Caller::Token(order.number.clone())))
    }

    fn route(&mut self, path: &str, body: &Value, caller: &Caller) -> Answer {
        let partner = *caller == Caller::Partner;
        match path {
            "health/validate" if partner => Ok(json!({})),
            "health/validatetoken" => match caller {
                Caller::Token(number) => Ok(self.order(&number.clone()).as_token()),
                Caller::Partner => refusal(-9002, "Token is a required field"),
            },
            "user/accountdetail" if partner => Ok(json!({
                "PartnerCode": PARTNER, "CompanyName": "Example AB", "AccountBalance": "1250.00",
                "CurrencyCode": "EUR", "CurrentPlan": null,
            })),
            "product/query" if partner => Ok(shelf::listed(&self.products, body)),
            "digicert/organizationlist" if partner => Ok(json!({ "OrganizationList": self.organizations })),
            "order/approverlist" => Self::approvers(body),
            "order/neworder" => self.new_order(body, caller),
            "order/reissue" => self.reissue(body, caller),
            "order/query" if partner => Ok(self.query(body)),
            "order/status" => {
                let number = self.which(body, caller)?;
                self.advance(&number);
                Ok(self.order(&number).shown())
            }
            "order/download" | "order/downloadaszip" => {
                let number = self.which(body, caller)?;
                self.download(&number, path == "order/downloadaszip")
            }
            "csr/download" => {
                let number = self.which(body, caller)?;
                Ok(json!({ "CSR": self.order(&number).csr.as_ref().map(certlife_core::Csr::pem) }))
            }
            "order/resend"
            | "order/changeapproveremail"
            | "order/changeapprovermethod"
            | "digicert/setapprovermethod"
            | "digicert/checkdcv" => {
                let number = self.which(body, caller)?;
                self.change_proof(path, &number, body)
            }
            "order/refundrequest" | "order/refundstatus" if partner => {
                let number = self.which(body, caller)?;
                let at_once = self.refunds_at_once;
                self.order(&number).give_back(path, at_once)
            }
            "order/certificaterevokerequest" => {
                let number = self.which(body, caller)?;
                self.order(&number).revoke(&body["SerialNumber"])
            }
            _ => refusal(-9001, "not available with this login"),
        }
    }

    /// The number of the order that a call is about.
    fn which(&self, body: &Value, caller: &Caller) -> Result<String, (i32, String)> {
        let named = |order: &&FakeOrder| match body.get("TheSSLStoreOrderID") {
            Some(number) => *number == order.number.as_str(),
            None => body["CustomOrderID"] == order.reference.as_str(),
        };
        let found = self.orders.iter().rfind(named);
        let found = found.filter(|order| match caller {
            Caller::Partner => true,
            Caller::Token(number) => order.number == *number,
        });
        // The real words are not known.
        found.map_or_else(|| refusal(-9007, "Order not found"), |order| Ok(order.number.clone()))
    }

    fn query(&self, body: &Value) -> Value {
        let (page, size) = (body["PageNumber"].as_u64().unwrap(), body["PageSize"].as_u64().unwrap());
        assert!(page >= 1 && (1..=100).contains(&size), "page {page} of {size}");
        let millis = |name: &str| {
            let text = body.get(name)?.as_str().unwrap();
            Some(text.strip_prefix("/Date(").unwrap().strip_suffix(")/").unwrap().parse::<i64>().unwrap())
        };
        let (start, end) = (millis("StartDate"), millis("EndDate"));
        let wanted = |order: &&FakeOrder| {
            let bought = order.purchased.unix_millis();
            start.is_none_or(|start| bought >= start)
                && end.is_none_or(|end| bought <= end)
                && (body["ProductCode"] == "" || body["ProductCode"] == order.product.as_str())
        };
        // Newest first.
        let found: Vec<Value> = self.orders.iter().rev().filter(wanted).map(FakeOrder::listed).collect();
        let found = if self.nulls { [vec![Value::Null], found].concat() } else { found };
        if self.ignores_paging {
            return found.into();
        }
        let (page, size) = (usize::try_from(page).unwrap(), usize::try_from(size).unwrap());
        found.into_iter().skip((page - 1) * size).take(size).collect::<Vec<_>>().into()
    }
}

/// What a proxy says.
fn page(status: u16) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_raw(format!("<html><h1>{status}</h1></html>"), "text/html")
}

/// Puts an answer into the envelope of its call: wrapped, flat, or a list.
fn envelope(path: &str, outcome: Answer) -> Value {
    let (body, error) = match outcome {
        Ok(body) => (body, None),
        Err((code, words)) => (json!({}), Some(format!("ErrorCode:{code}|Message:{words}"))),
    };
    let told = json!({
        "isError": error.is_some(), "Message": error.iter().collect::<Vec<_>>(), "Timestamp": "2026-02-03T10:00:00",
        "ReplayToken": null, "InvokingPartnerCode": PARTNER,
    });
    match path {
        "product/query" | "order/query" if error.is_some() => json!([{ "AuthResponse": told }]),
        "product/query" | "order/query" => body,
        // It says so even when all is well.
        "user/accountdetail" => {
            let mut body = body;
            body["isError"] = true.into();
            body
        }
        "health/validate"
        | "order/resend"
        | "order/changeapproveremail"
        | "order/certificaterevokerequest" => told,
        _ => {
            let mut body = body;
            body["AuthResponse"] = told;
            body
        }
    }
}

/// Words of an error, for a refusal.
fn words(error: &ErrorKind) -> String {
    error.to_string()
}
