//! GoDaddy's two APIs over one account in memory, which refuse what the real ones refuse and everything else.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use serde::Deserialize;
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::any};

// Relative to this file, from wherever it is included.
#[path = "fake_v1.rs"]
mod v1;
#[path = "fake_v3.rs"]
mod v3;

pub(super) const KEY: &str = "inventedKey_abcdefghijklm";
pub(super) const SECRET: &str = "inventedSecretNOPQRSTU";
pub(super) const TOKEN: &str = "invented-personal-access-token-0001";

pub(super) struct FakeGoDaddy {
    pub(super) server: MockServer,
    world: Arc<Mutex<World>>,
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch that a test throws")]
pub(super) struct World {
    pub(super) zones: Vec<FakeZone>,
    pub(super) records: Vec<FakeRecord>,
    next_id: u32,
    /// What records were before the last change, and how many more questions about them see that.
    before: Option<Vec<FakeRecord>>,
    pub(super) stale_reads: u32,
    /// How many more changes find the zone busy.
    pub(super) busy: u32,
    /// Names and values that somebody else adds, one just before each change.
    pub(super) intruders: VecDeque<(String, String)>,
    /// How often somebody else puts the set back as it was, just after a change.
    pub(super) restorers: u32,
    /// The scopes that the token lacks.
    pub(super) denied: Vec<&'static str>,
    pub(super) not_eligible: bool,
    /// What links to the next page say in place of the truth.
    pub(super) next_link: Option<String>,
    /// Whether links are relative.
    pub(super) relative_links: bool,
    /// Whether questions about one set are answered with all records of the zone.
    pub(super) shows_too_much: bool,
    /// Whether a set that is absent is 404 in place of an empty list.
    pub(super) absent_is_an_error: bool,
    /// The reseller's customer that has to be named.
    pub(super) shopper: Option<String>,
    pub(super) throttled: bool,
    /// Says so while it is throttled.
    pub(super) retry_after_seconds: Option<u64>,
    pub(super) lose_next_answer: bool,
    pub(super) fail_in_body: bool,
    /// Answers every change like this.
    pub(super) refuse_changes: Option<(u16, Value)>,
    pub(super) requests: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) struct FakeZone {
    pub(super) name: String,
    pub(super) status: &'static str,
    pub(super) server: &'static str,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct FakeRecord {
    pub(super) id: String,
    pub(super) zone: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) data: String,
    pub(super) ttl: u32,
}

/// The fields that a new record has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    data: String,
    ttl: u32,
}

impl FakeGoDaddy {
    /// Starts with these active domains.
    pub(super) async fn start(zones: &[&str]) -> Self {
        let server = MockServer::start().await;
        let world = Arc::new(Mutex::new(World::default()));
        for zone in zones {
            world.lock().unwrap().add_zone(zone, "ACTIVE");
        }
        Mock::given(any()).respond_with(Answers(world.clone(), server.uri())).mount(&server).await;
        Self { server, world }
    }

    pub(super) fn base_url(&self) -> url::Url {
        self.server.uri().parse().unwrap()
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Puts a TXT value beside what is at `name`.
    pub(super) fn insert(&self, name: &str, value: &str) {
        self.world().insert(name, value);
    }

    /// The TXT values at `name`.
    pub(super) fn txt_values(&self, name: &str) -> Vec<String> {
        self.world().data("TXT", name)
    }

    /// The target of the CNAME at `name`.
    pub(super) fn cname(&self, name: &str) -> Option<String> {
        self.world().data("CNAME", name).pop()
    }
}

struct Answers(Arc<Mutex<World>>, String);

impl Respond for Answers {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        self.0.lock().unwrap().respond(request, &self.1)
    }
}

/// A status and a body; null for none.
type Answer = Result<(u16, Value), (u16, Value)>;

fn fault(status: u16, code: &str, message: &str) -> (u16, Value) {
    (status, json!({ "code": code, "message": message }))
}

impl World {
    pub(super) fn add_zone(&mut self, name: &str, status: &'static str) {
        self.zones.push(FakeZone { name: name.into(), status, server: "ns27.domaincontrol.com" });
    }

    /// The longest zone that encloses a name, and the name relative to it.
    fn place(&self, name: &str) -> Option<(String, String)> {
        let inside = |zone: &&FakeZone| name == zone.name || name.ends_with(&format!(".{}", zone.name));
        let zone = self.zones.iter().filter(inside).max_by_key(|zone| zone.name.len())?;
        let relative = name.strip_suffix(&zone.name)?.trim_end_matches('.');
        Some((zone.name.clone(), if relative.is_empty() { "@" } else { relative }.to_owned()))
    }

    fn data(&self, kind: &str, name: &str) -> Vec<String> {
        let Some((zone, name)) = self.place(name) else { return Vec::new() };
        let here = self.records.iter().filter(|record| record.is(&zone, kind, &name));
        here.map(|record| record.data.clone()).collect()
    }

    fn insert(&mut self, name: &str, value: &str) {
        let (zone, name) = self.place(name).expect("a zone for the name");
        self.put(&zone, "TXT", &name, value, 3_600);
    }

    fn put(&mut self, zone: &str, kind: &str, name: &str, data: &str, ttl: u32) -> FakeRecord {
        self.next_id += 1;
        let id = format!("b7c1e0d2-{:08}", self.next_id);
        let (zone, kind, name) = (zone.to_owned(), kind.to_owned(), name.to_owned());
        let record = FakeRecord { id, zone, kind, name, data: data.to_owned(), ttl };
        self.records.push(record.clone());
        record
    }

    fn respond(&mut self, request: &Request, origin: &str) -> ResponseTemplate {
        self.requests.push(format!("{} {}", request.method, request.url.path()));
        let classic = request.url.path().starts_with("/v1/");
        if self.throttled {
            let mut body = json!({ "code": "TOO_MANY_REQUESTS", "message": "Too many requests received" });
            let mut answer = ResponseTemplate::new(429);
            match self.retry_after_seconds {
                Some(seconds) if classic => body["retryAfterSec"] = seconds.into(),
                Some(seconds) => answer = answer.insert_header("retry-after", seconds.to_string().as_str()),
                None => {}
            }
            return answer.set_body_json(body);
        }
        let outcome =
            self.authenticate(request, classic).and_then(|()| self.change_or_not(request, origin, classic));
        let changes = request.method.as_str() != "GET";
        if changes && std::mem::take(&mut self.lose_next_answer) {
            // What a gateway says when it lost the server behind it.
            return ResponseTemplate::new(502).set_body_raw("<html>502 Bad Gateway</html>", "text/html");
        }
        let failed = outcome.is_err();
        let (status, mut body) = outcome.unwrap_or_else(|fault| fault);
        if let (true, false, Some(fields)) = (failed, classic, body.as_object_mut()) {
            // The newer API calls it `name`.
            if let Some(code) = fields.remove("code") {
                fields.insert("name".into(), code);
                fields.insert("correlationId".into(), "c0ffee".into());
            }
        }
        let answer = ResponseTemplate::new(status);
        if body.is_null() { answer } else { answer.set_body_json(body) }
    }

    fn authenticate(&self, request: &Request, classic: bool) -> Result<(), (u16, Value)> {
        let header = |name: &str| request.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let expected = if classic { format!("sso-key {KEY}:{SECRET}") } else { format!("Bearer {TOKEN}") };
        assert_eq!(header("x-shopper-id"), self.shopper);
        if header("authorization") != Some(expected) {
            return Err(fault(
                401,
                "UNABLE_TO_AUTHENTICATE",
                "Unauthorized : Could not authenticate API key/secret",
            ));
        }
        if classic && self.not_eligible {
            return Err(fault(403, "ACCESS_DENIED", "Authenticated user is not allowed access"));
        }
        Ok(())
    }

    /// Carries a request out, with what others do meanwhile.
    fn change_or_not(&mut self, request: &Request, origin: &str, classic: bool) -> Answer {
        if request.method.as_str() == "GET" {
            return self.route(request, origin, classic);
        }
        if self.fail_in_body {
            return Err(fault(200, "SERVER_ERROR", "Something went wrong"));
        }
        if let Some(refusal) = self.refuse_changes.clone() {
            return Err(refusal);
        }
        if self.busy > 0 {
            self.busy -= 1;
            return Err(fault(409, "CONFLICT", "The zone is being rebuilt"));
        }
        if let Some((name, value)) = self.intruders.pop_front() {
            self.insert(&name, &value);
        }
        let before = self.records.clone();
        let outcome = self.route(request, origin, classic);
        if self.restorers > 0 && outcome.is_ok() {
            self.restorers -= 1;
            self.records.clone_from(&before);
        }
        self.before = Some(before);
        outcome
    }

    fn route(&mut self, request: &Request, origin: &str, classic: bool) -> Answer {
        let mut query: BTreeMap<String, String> = request.url.query_pairs().into_owned().collect();
        let path = request.url.path().replace("%40", "@");
        let segments: Vec<&str> = path.split('/').skip(2).collect();
        let answer = if classic {
            self.classic(request, &segments, &mut query)
        } else {
            self.newer(request, &segments, &mut query, &format!("{origin}{path}"))
        };
        assert!(answer.is_err() || query.is_empty(), "unknown query {query:?}");
        answer
    }

    fn known(&self, zone: &str) -> Result<(), (u16, Value)> {
        let there = self.zones.iter().any(|found| found.name == zone);
        if there { Ok(()) } else { Err(fault(404, "UNKNOWN_DOMAIN", "The given domain is not registered")) }
    }

    /// The records of a set, or those of before for a while after a change.
    fn found(&mut self, zone: &str, kind: &str, name: &str) -> Vec<FakeRecord> {
        let before = self.before.as_ref().filter(|_| self.stale_reads > 0);
        let records = before.unwrap_or(&self.records);
        let found = records
            .iter()
            .filter(|record| record.is(zone, kind, name) || (self.shows_too_much && record.zone == zone))
            .cloned()
            .collect();
        self.stale_reads = self.stale_reads.saturating_sub(1);
        found
    }

    fn create(&mut self, zone: &str, body: &Body, longest: u32) -> Result<FakeRecord, (u16, Value)> {
        let Body { kind, name, data, ttl } = body;
        let invalid = |path: &str, message: &str| {
            let fields = json!([{ "code": "UNEXPECTED", "message": message, "path": path }]);
            Err((
                422,
                json!({ "code": "INVALID_BODY", "message": "Request body doesn't fulfill schema", "fields": fields }),
            ))
        };
        if !(600..=longest).contains(ttl) {
            return invalid("records.ttl", "is less than the minimum");
        }
        if data.trim().is_empty() {
            return invalid("records.data", "is blank");
        }
        assert!(!name.ends_with(zone) && !name.is_empty(), "names are relative to the zone: {name}");
        // The one takes absolute names without a final dot, the other with it; both mean the same.
        let data = if kind == "CNAME" { data.trim_end_matches('.') } else { data };
        let duplicate = "Another record with the same attributes already exists";
        let mut here = self.records.iter().filter(|record| record.zone == zone && record.name == *name);
        let excluded = |record: &FakeRecord| {
            record.kind == "CNAME" || kind == "CNAME" || (record.kind == *kind && record.data == data)
        };
        if here.any(excluded) {
            return Err(fault(422, "DUPLICATE_RECORD", duplicate));
        }
        Ok(self.put(zone, kind, name, data, *ttl))
    }
}

impl FakeRecord {
    fn is(&self, zone: &str, kind: &str, name: &str) -> bool {
        self.zone == zone && self.kind == kind && self.name == name
    }

    fn shown(&self, with_id: bool) -> Value {
        let Self { id, kind, name, data, ttl, .. } = self;
        let mut shown = json!({ "type": kind, "name": name, "data": data, "ttl": ttl });
        if with_id {
            shown["recordId"] = id.as_str().into();
            if kind == "CNAME" {
                shown["data"] = format!("{data}.").into();
            }
        }
        shown
    }
}

impl FakeZone {
    fn shown(&self) -> Value {
        let Self { name, status, server } = self;
        json!({
            "domain": name, "status": status, "nameServers": [server], "domainId": 17, "expires": "2027-01-01",
            "contactAdmin": { "email": "owner@example.org" }, "authCode": "the transfer code",
        })
    }
}

fn parse<T: serde::de::DeserializeOwned>(request: &Request) -> Result<T, (u16, Value)> {
    assert_eq!(request.headers["content-type"], "application/json");
    serde_json::from_slice(&request.body).map_err(|error| fault(400, "INVALID_BODY", &error.to_string()))
}
