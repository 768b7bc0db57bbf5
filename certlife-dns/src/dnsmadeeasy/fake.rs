//! The API of DNS Made Easy over zones in memory, which refuses what the real one refuses and everything else.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use aws_lc_rs::hmac;
use serde::Deserialize;
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::any};

pub(super) const API_KEY: &str = "1c1a3c91-4770-4ce7-96f4-54c0eb0e457a";
pub(super) const SECRET_KEY: &str = "5a6c1b1e-2f3d-4c4b-9a8e-0f1e2d3c4b5a";
/// So many requests are answered in any five minutes.
pub(super) const LIMIT: usize = 150;
const ZONES_A_PAGE: usize = 100;

pub(super) struct FakeDnsMadeEasy {
    pub(super) server: MockServer,
    world: Arc<Mutex<World>>,
}

pub(super) struct World {
    /// Seconds since 1970.
    clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    pub(super) zones: Vec<FakeZone>,
    pub(super) records: Vec<FakeRecord>,
    next_id: u64,
    pub(super) throttled: bool,
    /// Says so while it is throttled, in seconds; the real one never does.
    pub(super) retry_after: Option<u64>,
    pub(super) lose_next_answer: bool,
    pub(super) fail_in_body: bool,
    /// Answers every change like this.
    pub(super) refuse_changes: Option<(u16, String)>,
    /// When the last requests came.
    came: VecDeque<i64>,
    pub(super) requests: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) struct FakeZone {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) pending: i64,
}

#[derive(Debug, Clone)]
pub(super) struct FakeRecord {
    pub(super) id: u64,
    pub(super) zone: u64,
    /// Relative to the zone.
    pub(super) name: String,
    pub(super) kind: String,
    /// Without quotes.
    pub(super) value: String,
    pub(super) ttl: u32,
    pub(super) source: i64,
}

/// The fields that a new record may have, and must.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Body {
    name: String,
    r#type: String,
    value: String,
    ttl: u32,
    gtd_location: String,
}

impl FakeDnsMadeEasy {
    pub(super) async fn start(zones: &[&str], clock: Arc<dyn Fn() -> i64 + Send + Sync>) -> Self {
        let server = MockServer::start().await;
        let mut world = World {
            clock,
            zones: Vec::new(),
            records: Vec::new(),
            next_id: 878_950,
            throttled: false,
            retry_after: None,
            lose_next_answer: false,
            fail_in_body: false,
            refuse_changes: None,
            came: VecDeque::new(),
            requests: Vec::new(),
        };
        for zone in zones {
            world.add_zone(zone);
        }
        let world = Arc::new(Mutex::new(world));
        Mock::given(any()).respond_with(Answers(world.clone())).mount(&server).await;
        Self { server, world }
    }

    pub(super) fn base_url(&self) -> url::Url {
        format!("{}/V2.0", self.server.uri()).parse().unwrap()
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

/// Status and JSON, which is null for an empty body; or status and body of an error.
type Answer = Result<(u16, Value), (u16, String)>;

fn fault<T>(status: u16, words: impl Into<String>) -> Result<T, (u16, String)> {
    Err((status, json!({ "error": [words.into()] }).to_string()))
}

const NO_PAGE: &str = "<html><head><title>404</title></head><body>Not Found</body></html>";

impl World {
    pub(super) fn add_zone(&mut self, name: &str) -> u64 {
        let id = self.id();
        self.zones.push(FakeZone { id, name: name.to_owned(), pending: 0 });
        id
    }

    /// Adds a value, without quotes.
    pub(super) fn insert(&mut self, kind: &str, name: &str, value: &str) -> u64 {
        let (zone, name) = self.place(name).unwrap();
        let (id, kind, value) = (self.id(), kind.to_owned(), value.to_owned());
        self.records.push(FakeRecord { id, zone, name, kind, value, ttl: 300, source: 1 });
        id
    }

    /// The values of that name and type, without quotes.
    pub(super) fn values(&self, kind: &str, name: &str) -> Vec<String> {
        let Some(place) = self.place(name) else { return Vec::new() };
        let here = |record: &&FakeRecord| (record.zone, record.name.clone()) == place && record.kind == kind;
        self.records.iter().filter(here).map(|record| record.value.clone()).collect()
    }

    /// The id of the zone and the relative name.
    fn place(&self, name: &str) -> Option<(u64, String)> {
        let inside = |zone: &&FakeZone| name == zone.name || name.ends_with(&format!(".{}", zone.name));
        let zone = self.zones.iter().filter(inside).max_by_key(|zone| zone.name.len())?;
        Some((zone.id, name.strip_suffix(&zone.name)?.trim_end_matches('.').to_owned()))
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn respond(&mut self, request: &Request) -> ResponseTemplate {
        self.requests.push(format!("{} {}", request.method, request.url.path()));
        let now = (self.clock)();
        self.came.retain(|came| now - came < 300);
        self.came.push_back(now);
        let outcome = if self.throttled || self.came.len() > LIMIT {
            // Looks like JSON and is none.
            Err((400, "{error: [\"Rate limit exceeded\"]}".to_owned()))
        } else {
            authenticated(request, now).and_then(|()| self.route(request))
        };
        let changed = request.method.as_str() != "GET" && outcome.is_ok();
        if changed && std::mem::take(&mut self.lose_next_answer) {
            // What a gateway says when it lost the server behind it.
            return ResponseTemplate::new(502).set_body_raw("<html>502 Bad Gateway</html>", "text/html");
        }
        let answer = match outcome {
            Ok((status, Value::Null)) => ResponseTemplate::new(status),
            Ok((status, body)) => ResponseTemplate::new(status).set_body_json(body),
            Err((status, body)) if body.starts_with('<') => {
                ResponseTemplate::new(status).set_body_raw(body, "text/html")
            }
            Err((status, body)) => ResponseTemplate::new(status).set_body_raw(body, "application/json"),
        };
        let left = LIMIT.saturating_sub(self.came.len()).to_string();
        let answer = answer.insert_header("x-dnsme-requestsRemaining", left.as_str());
        match self.retry_after.filter(|_| self.throttled) {
            Some(wait) => answer.insert_header("retry-after", wait.to_string().as_str()),
            None => answer,
        }
    }

    fn route(&mut self, request: &Request) -> Answer {
        let path = request.url.path().strip_prefix("/V2.0/dns/managed").expect("the path of the API");
        let query: BTreeMap<String, String> = request.url.query_pairs().into_owned().collect();
        let known = |keys: &[&str]| {
            assert!(query.keys().all(|key| keys.contains(&key.as_str())), "{query:?}");
        };
        // A final slash changes nothing.
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        match (request.method.as_str(), &segments[..]) {
            ("GET", []) => {
                known(&["page"]);
                let zones = self.zones.iter().map(|zone| zone.shown(false)).collect();
                Ok((200, page(zones, &query, ZONES_A_PAGE)))
            }
            ("GET", ["name"]) => {
                known(&["domainname"]);
                match self.zones.iter().find(|zone| zone.name == query["domainname"]) {
                    Some(zone) => Ok((200, zone.shown(true))),
                    None => Err((404, NO_PAGE.to_owned())),
                }
            }
            ("GET", [zone, "records"]) => {
                known(&["recordName", "type", "page"]);
                let zone = self.zone(zone)?;
                let wanted = |key: &str, value: &str| query.get(key).is_none_or(|wanted| wanted == value);
                let here = self.records.iter().filter(|record| record.zone == zone);
                let here =
                    here.filter(|found| wanted("recordName", &found.name) && wanted("type", &found.kind));
                Ok((200, page(here.map(FakeRecord::shown).collect(), &query, 1_000)))
            }
            ("POST", [zone, "records"]) => {
                let zone = self.zone(zone)?;
                self.may_change()?;
                assert_eq!(request.headers["content-type"], "application/json");
                match serde_json::from_slice(&request.body) {
                    Ok(body) => self.create(zone, body),
                    Err(error) => fault(400, format!("Bad body: {error}")),
                }
            }
            ("DELETE", [zone, "records", record]) => {
                let zone = self.zone(zone)?;
                self.may_change()?;
                let id: u64 = record.parse().expect("the id of a record");
                match self.records.iter().position(|found| found.id == id && found.zone == zone) {
                    Some(there) => {
                        assert_eq!(self.records[there].source, 1, "a record of a template");
                        self.records.remove(there);
                        Ok((200, Value::Null))
                    }
                    None => fault(404, "Not Found"),
                }
            }
            (method, path) => panic!("the API has no {method} {path:?}"),
        }
    }

    fn may_change(&self) -> Result<(), (u16, String)> {
        if self.fail_in_body {
            return fault(200, "Something went wrong");
        }
        self.refuse_changes.clone().map_or(Ok(()), Err)
    }

    fn zone(&self, id: &str) -> Result<u64, (u16, String)> {
        let id: u64 = id.parse().expect("the id of a zone");
        if self.zones.iter().any(|zone| zone.id == id) { Ok(id) } else { Err((404, NO_PAGE.to_owned())) }
    }

    fn create(&mut self, zone: u64, body: Body) -> Answer {
        let Body { name, r#type: kind, value, ttl, gtd_location } = body;
        assert_eq!(gtd_location, "DEFAULT");
        if name != name.to_lowercase() || name.ends_with('.') || name == "@" {
            return fault(400, "Record name is not valid.");
        }
        if ttl == 0 || i32::try_from(ttl).is_err() {
            return fault(400, "TTL is not valid.");
        }
        let value = match kind.as_str() {
            "TXT" => {
                let bare = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(&value);
                if bare.is_empty() || bare.contains(['"', '\\']) || !bare.is_ascii() {
                    return fault(400, "Record value is not valid.");
                }
                bare.to_owned()
            }
            "CNAME" if name.is_empty() => return fault(400, "A CNAME cannot be at the root of a domain."),
            "CNAME" => match value.strip_suffix('.') {
                Some(absolute) => absolute.to_owned(),
                None => {
                    let apex = self.zones.iter().find(|found| found.id == zone).unwrap();
                    format!("{value}.{}", apex.name)
                }
            },
            other => panic!("{other} is not to be published"),
        };
        let here = || self.records.iter().filter(|record| record.zone == zone && record.name == name);
        if here().any(|record| record.kind == kind && record.value == value) {
            return fault(
                400,
                format!(
                    "Record with this type ({kind}), name ({name}), and value (\"{value}\") already exists."
                ),
            );
        }
        if here().any(|record| record.kind == "CNAME" || kind == "CNAME") {
            return fault(400, "Some other words about what is at this name.");
        }
        let record = FakeRecord { id: self.id(), zone, name, kind, value, ttl, source: 1 };
        self.records.push(record.clone());
        Ok((201, record.shown()))
    }
}

impl FakeZone {
    fn shown(&self, alone: bool) -> Value {
        let Self { id, name, pending } = self;
        let mut zone = json!({
            "id": id, "name": name, "gtdEnabled": false, "folderId": 2052, "pendingActionId": pending,
            "processMulti": false, "created": 1_521_590_400_000_u64, "updated": 1_768_469_000_000_u64,
        });
        if alone {
            zone["nameServers"] =
                json!([{ "fqdn": "ns10.dnsmadeeasy.com", "ipv4": "192.0.2.20", "ipv6": "2001:db8::20" }]);
            zone["delegateNameServers"] = json!(["ns10.dnsmadeeasy.com."]);
        }
        zone
    }
}

impl FakeRecord {
    /// TXT comes back in quoted strings of at most 255 bytes without space between them.
    fn shown(&self) -> Value {
        let Self { id, zone, name, kind, value, ttl, source } = self;
        let value = match kind.as_str() {
            "TXT" => {
                let strings = value.as_bytes().chunks(255).map(String::from_utf8_lossy);
                strings.map(|string| format!("\"{string}\"")).collect::<Vec<_>>().concat()
            }
            _ => format!("{value}."),
        };
        json!({
            "id": id, "name": name, "type": kind, "value": value, "ttl": ttl, "sourceId": zone, "source": source,
            "gtdLocation": "DEFAULT", "failover": false, "monitor": false, "dynamicDns": false, "failed": false,
            "hardLink": false,
        })
    }
}

/// Pages count from 0.
fn page(items: Vec<Value>, query: &BTreeMap<String, String>, size: usize) -> Value {
    let number: usize = query.get("page").map_or(0, |page| page.parse().unwrap());
    let (total, pages) = (items.len(), items.len().div_ceil(size));
    let shown: Vec<Value> = items.into_iter().skip(number * size).take(size).collect();
    json!({ "totalRecords": total, "totalPages": pages, "data": shown, "page": number })
}

/// The right key, a date within half a minute, and the right digest of it.
fn authenticated(request: &Request, now: i64) -> Result<(), (u16, String)> {
    let header = |name: &str| request.headers.get(name).expect(name).to_str().unwrap();
    assert_eq!(header("accept"), "application/json");
    if header("x-dnsme-apikey") != API_KEY {
        return fault(403, "API key not found");
    }
    let date = header("x-dnsme-requestdate");
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET_KEY.as_bytes());
    let digest = hmac::sign(&key, date.as_bytes());
    let digest: Vec<String> = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    if header("x-dnsme-hmac") != digest.concat() {
        return fault(403, "HMAC verification failed");
    }
    if (now - 30..=now + 30).any(|second| http_date(second) == date) {
        Ok(())
    } else {
        fault(
            400,
            "Request sent with date header too far out of sync.  Difference in times is 47971, header value is 1610379952000",
        )
    }
}

/// Writes seconds since 1970 as `Thu, 15 Jan 2026 09:30:00 GMT`.
fn http_date(seconds: i64) -> String {
    const MONTHS: [(&str, i64); 12] = [
        ("Jan", 31),
        ("Feb", 28),
        ("Mar", 31),
        ("Apr", 30),
        ("May", 31),
        ("Jun", 30),
        ("Jul", 31),
        ("Aug", 31),
        ("Sep", 30),
        ("Oct", 31),
        ("Nov", 30),
        ("Dec", 31),
    ];
    let weekdays = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let weekday = weekdays[usize::try_from(days % 7).unwrap()];
    let leaps = |year: i64| i64::from(year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
    let (mut year, mut day) = (1970, days);
    while day >= 365 + leaps(year) {
        day -= 365 + leaps(year);
        year += 1;
    }
    let mut month = "";
    for (name, length) in MONTHS {
        let length = length + if name == "Feb" { leaps(year) } else { 0 };
        month = name;
        if day < length {
            break;
        }
        day -= length;
    }
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{weekday}, {:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT", day + 1)
}
