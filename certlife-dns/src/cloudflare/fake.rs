//! Cloudflare's API over zones in memory, which refuses what the real one refuses and everything else.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use serde::Deserialize;
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::any};

pub(super) const TOKEN: &str = "invented_token_of_forty_characters_00001";
pub(super) const EMAIL: &str = "ops@example.org";
pub(super) const KEY: &str = "0123456789abcdef0123456789abcdef01234";
pub(super) const ACCOUNT: &str = "01a7362d577a6c3019a474fd6f485823";

pub(super) struct FakeCloudflare {
    pub(super) server: MockServer,
    world: Arc<Mutex<World>>,
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch that a test throws")]
pub(super) struct World {
    pub(super) zones: Vec<FakeZone>,
    pub(super) records: Vec<FakeRecord>,
    next_id: u128,
    pub(super) throttled: bool,
    /// Says so while it is throttled.
    pub(super) retry_after: Option<Duration>,
    pub(super) lose_next_answer: bool,
    pub(super) fail_in_body: bool,
    /// Answers every change like this.
    pub(super) refuse_changes: Option<(u16, Value)>,
    /// Whether the token belongs to the account rather than to a user.
    pub(super) account_token: bool,
    pub(super) requests: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) struct FakeZone {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) status: &'static str,
    pub(super) account: String,
}

#[derive(Debug, Clone)]
pub(super) struct FakeRecord {
    pub(super) id: String,
    pub(super) zone: String,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) content: String,
    pub(super) ttl: u32,
}

/// The fields that a new record may have, and must.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    content: String,
    ttl: u32,
    proxied: bool,
}

impl FakeCloudflare {
    pub(super) async fn start(zones: &[&str]) -> Self {
        let server = MockServer::start().await;
        let world = Arc::new(Mutex::new(World { next_id: 0xa000, ..World::default() }));
        for zone in zones {
            world.lock().unwrap().add_zone(zone, "full", "active", ACCOUNT);
        }
        Mock::given(any()).respond_with(Answers(world.clone())).mount(&server).await;
        Self { server, world }
    }

    pub(super) fn base_url(&self) -> url::Url {
        format!("{}/client/v4", self.server.uri()).parse().unwrap()
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }
}

struct Answers(Arc<Mutex<World>>);

impl Respond for Answers {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        self.0.lock().unwrap().respond(request)
    }
}

type Answer = Result<Value, (u16, Value)>;

fn fault(status: u16, code: u32, message: &str) -> (u16, Value) {
    (status, json!([{ "code": code, "message": message }]))
}

impl World {
    pub(super) fn add_zone(
        &mut self,
        name: &str,
        kind: &'static str,
        status: &'static str,
        account: &str,
    ) -> String {
        let id = self.id();
        let (name, account) = (name.to_owned(), account.to_owned());
        self.zones.push(FakeZone { id: id.clone(), name, kind, status, account });
        id
    }

    pub(super) fn insert(&mut self, zone: &str, kind: &str, name: &str, content: &str) -> String {
        let id = self.id();
        let zone = self.zones.iter().find(|found| found.name == zone).unwrap().id.clone();
        let (kind, name, content) = (kind.to_owned(), name.to_owned(), content.to_owned());
        self.records.push(FakeRecord { id: id.clone(), zone, kind, name, content, ttl: 1 });
        id
    }

    pub(super) fn contents(&self, kind: &str, name: &str) -> Vec<String> {
        let here = self.records.iter().filter(|record| record.kind == kind && record.name == name);
        here.map(|record| record.content.clone()).collect()
    }

    fn id(&mut self) -> String {
        self.next_id += 1;
        format!("{:032x}", self.next_id)
    }

    fn respond(&mut self, request: &Request) -> ResponseTemplate {
        self.requests.push(format!("{} {}", request.method, request.url.path()));
        if self.throttled {
            let answer = ResponseTemplate::new(429).set_body_json(
                json!({ "success": false, "errors": [{ "code": 10100, "message": "slow down" }] }),
            );
            return match self.retry_after {
                Some(wait) => answer.insert_header("retry-after", wait.as_secs().to_string().as_str()),
                None => answer,
            };
        }
        let outcome = authenticate(request).and_then(|()| self.route(request));
        let changes = request.method.as_str() != "GET";
        if changes && std::mem::take(&mut self.lose_next_answer) {
            // What a gateway says when it lost the server behind it.
            return ResponseTemplate::new(502).set_body_raw("<html>502 Bad Gateway</html>", "text/html");
        }
        match outcome {
            Ok(body) => ResponseTemplate::new(200).set_body_json(body),
            Err((status, errors)) => ResponseTemplate::new(status)
                .set_body_json(json!({ "result": null, "success": false, "errors": errors, "messages": [] })),
        }
    }

    fn route(&mut self, request: &Request) -> Answer {
        let path = request.url.path().strip_prefix("/client/v4/").expect("the path of the API");
        let query: BTreeMap<String, String> = request.url.query_pairs().into_owned().collect();
        let segments: Vec<&str> = path.split('/').collect();
        match (request.method.as_str(), &segments[..]) {
            ("GET", ["user", "tokens", "verify"]) if !self.account_token => {
                Ok(single(&json!({ "id": "f267e341f3dd4697bd3b9f71dd96247f", "status": "active" })))
            }
            ("GET", ["user", "tokens", "verify"]) => Err(fault(401, 1000, "Invalid API Token")),
            ("GET", ["accounts", ACCOUNT, "tokens", "verify"]) if self.account_token => {
                Ok(single(&json!({ "id": "a267e341f3dd4697bd3b9f71dd96247f", "status": "active" })))
            }
            ("GET", ["user"]) => Ok(single(&json!({ "email": EMAIL }))),
            ("GET", ["zones"]) => Ok(self.list_zones(&query)),
            ("GET", ["zones", zone]) => {
                let zone = self.zone(zone)?;
                Ok(single(&shown(&zone)))
            }
            ("GET", ["zones", zone, "dns_records"]) => {
                let zone = self.zone(zone)?;
                Ok(self.list_records(&zone, &query))
            }
            ("POST", ["zones", zone, "dns_records"]) => {
                let zone = self.zone(zone)?;
                self.may_change()?;
                let kind = request.headers.get("content-type").expect("a content type");
                assert_eq!(kind, "application/json");
                let body = serde_json::from_slice(&request.body)
                    .map_err(|error| fault(400, 9207, &format!("Content-type or body: {error}")))?;
                self.create(&zone, body)
            }
            ("DELETE", ["zones", zone, "dns_records", record]) => {
                let zone = self.zone(zone)?;
                self.may_change()?;
                let there =
                    self.records.iter().position(|found| found.id == *record && found.zone == zone.id);
                let there = there.ok_or_else(|| fault(404, 81044, "Record does not exist."))?;
                self.records.remove(there);
                Ok(single(&json!({ "id": record })))
            }
            (method, path) => panic!("the API has no {method} {path:?}"),
        }
    }

    fn may_change(&self) -> Result<(), (u16, Value)> {
        if self.fail_in_body {
            return Err((200, json!([{ "code": 1099, "message": "Something went wrong" }])));
        }
        self.refuse_changes.clone().map_or(Ok(()), Err)
    }

    fn zone(&self, id: &str) -> Result<FakeZone, (u16, Value)> {
        let found = self.zones.iter().find(|zone| zone.id == id).cloned();
        found.ok_or_else(|| {
            fault(404, 7003, "Could not route to /zones, perhaps your object identifier is invalid?")
        })
    }

    fn list_zones(&self, query: &BTreeMap<String, String>) -> Value {
        assert!(query.keys().all(|key| ["name", "account.id", "per_page", "page"].contains(&key.as_str())));
        let wanted = |key: &str, value: &str| query.get(key).is_none_or(|wanted| wanted == value);
        let zones = self
            .zones
            .iter()
            .filter(|zone| wanted("name", &zone.name) && wanted("account.id", &zone.account));
        page(zones.map(shown).collect(), query, 5..=50)
    }

    fn list_records(&self, zone: &FakeZone, query: &BTreeMap<String, String>) -> Value {
        assert!(query.keys().all(|key| ["type", "name", "per_page", "page"].contains(&key.as_str())));
        let wanted = |key: &str, value: &str| query.get(key).is_none_or(|wanted| wanted == value);
        let here = self.records.iter().filter(|record| record.zone == zone.id);
        let records = here.filter(|record| wanted("name", &record.name) && wanted("type", &record.kind));
        page(records.map(FakeRecord::shown).collect(), query, 5..=5_000_000)
    }

    fn create(&mut self, zone: &FakeZone, body: Body) -> Answer {
        let inside = body.name == zone.name || body.name.ends_with(&format!(".{}", zone.name));
        if !inside || body.name != body.name.to_lowercase() {
            return Err(invalid(9000, "DNS name is invalid."));
        }
        if !matches!(body.ttl, 1 | 60..=86_400) {
            return Err(invalid(9021, "TTL must be between 60 and 86400 seconds, or 1 for Automatic."));
        }
        if body.proxied {
            return Err(invalid(9004, "This record type cannot be proxied."));
        }
        if !is_well_formed(&body.kind, &body.content) {
            return Err(invalid(9998, "Content for this record is invalid."));
        }
        let here = || self.records.iter().filter(|record| record.name == body.name);
        if here().any(|record| record.kind == body.kind && record.content == body.content) {
            return Err(fault(400, 81058, "An identical record already exists."));
        }
        if here().any(|record| record.kind == "CNAME") {
            return Err(fault(400, 81054, "A CNAME record with that host already exists."));
        }
        if body.kind == "CNAME" && here().next().is_some() {
            return Err(fault(400, 81053, "An A, AAAA, or CNAME record with that host already exists."));
        }
        let Body { kind, name, content, ttl, .. } = body;
        let record = FakeRecord { id: self.id(), zone: zone.id.clone(), kind, name, content, ttl };
        self.records.push(record.clone());
        Ok(single(&record.shown()))
    }
}

impl FakeRecord {
    fn shown(&self) -> Value {
        let Self { id, kind, name, content, ttl, .. } = self;
        json!({
            "id": id, "type": kind, "name": name, "content": content, "ttl": ttl, "proxied": false,
            "proxiable": false, "settings": {}, "meta": {}, "comment": null, "tags": [],
        })
    }
}

/// One scheme, and the right secret in it.
fn authenticate(request: &Request) -> Result<(), (u16, Value)> {
    let header = |name: &str| request.headers.get(name).map(|value| value.to_str().unwrap());
    let malformed = |code: u32| {
        let chain = json!([{ "code": code, "message": "Invalid format for header" }]);
        (400, json!([{ "code": 6003, "message": "Invalid request headers", "error_chain": chain }]))
    };
    match (header("authorization"), header("x-auth-email"), header("x-auth-key")) {
        (Some(bearer), None, None) => match bearer.strip_prefix("Bearer ") {
            Some(TOKEN) => Ok(()),
            Some(token) if token.len() == TOKEN.len() => Err(fault(403, 9109, "Invalid access token")),
            _ => Err(malformed(6111)),
        },
        (None, Some(EMAIL), Some(KEY)) => Ok(()),
        (None, Some(_), Some(key)) if key.len() == KEY.len() => {
            Err(fault(403, 9103, "Unknown X-Auth-Key or X-Auth-Email"))
        }
        (None, Some(_), Some(_)) => Err(malformed(6103)),
        _ => panic!("one scheme is to be used"),
    }
}

fn invalid(code: u32, message: &str) -> (u16, Value) {
    let chain = json!([{ "code": code, "message": message }]);
    (400, json!([{ "code": 1004, "message": "DNS Validation Error", "error_chain": chain }]))
}

/// TXT has to be quoted strings of at most 255 bytes, a target a name without final dot.
fn is_well_formed(kind: &str, content: &str) -> bool {
    match kind {
        "CNAME" => content.contains('.') && !content.ends_with('.') && !content.contains('"'),
        "TXT" => {
            let mut inside = false;
            let mut escaped = false;
            let mut length = 0;
            for byte in content.bytes() {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' if inside => escaped = true,
                    b'"' => (inside, length) = (!inside, 0),
                    b' ' if !inside => {}
                    _ if inside && length < 2 * 255 => length += 1,
                    _ => return false,
                }
            }
            !inside && content.len() <= 2_048 && content.len() > 2
        }
        _ => false,
    }
}

fn shown(zone: &FakeZone) -> Value {
    let FakeZone { id, name, kind, status, account } = zone;
    json!({
        "id": id, "name": name, "type": kind, "status": status, "paused": false,
        "account": { "id": account, "name": "Example Org" },
        "name_servers": ["ada.ns.cloudflare.com", "bob.ns.cloudflare.com"],
    })
}

fn single(result: &Value) -> Value {
    json!({ "result": result, "success": true, "errors": [], "messages": [] })
}

fn page(
    items: Vec<Value>,
    query: &BTreeMap<String, String>,
    allowed: std::ops::RangeInclusive<usize>,
) -> Value {
    let per_page: usize = query["per_page"].parse().unwrap();
    assert!(allowed.contains(&per_page), "{per_page} on a page");
    let number: usize = query.get("page").map_or(1, |page| page.parse().unwrap());
    let (total, pages) = (items.len(), items.len().div_ceil(per_page));
    let shown: Vec<Value> = items.into_iter().skip((number - 1) * per_page).take(per_page).collect();
    let info = json!({
        "page": number, "per_page": per_page, "count": shown.len(), "total_count": total, "total_pages": pages,
    });
    json!({ "result": shown, "result_info": info, "success": true, "errors": [], "messages": [] })
}
