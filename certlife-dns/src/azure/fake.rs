//! Azure Resource Manager with zones in memory and the token endpoints of Entra ID and of a machine, which
//! refuse what the real ones refuse and everything else.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use serde_json::{Map, Value, json};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::any};

// Relative to this file, from wherever it is included.
#[path = "fake_sets.rs"]
mod sets;
#[path = "fake_tokens.rs"]
mod tokens;

pub(super) const SUBSCRIPTION: &str = "77aa0c1e-5b2d-4f6e-8a90-1b2c3d4e5f60";
pub(super) const TENANT: &str = "0f2b6d3e-4a57-4c61-9d0e-7b1c2d3e4f50";
pub(super) const CLIENT: &str = "5d1e7c0a-93b2-4f08-8a6d-1c2b3a495867";
pub(super) const SECRET: &str = "q8~NotARealSecret+/=1";
pub(super) const GROUP: &str = "dns-rg";
/// How long a token lasts, in seconds.
pub(super) const TOKEN_LASTS: i64 = 3_599;

pub(super) struct FakeAzure {
    pub(super) server: MockServer,
    world: Arc<Mutex<World>>,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a switch that a test throws")]
pub(super) struct World {
    now: Box<dyn Fn() -> i64 + Send + Sync>,
    pub(super) zones: Vec<FakeZone>,
    /// By resource group, zone, type and relative name, in lower case.
    pub(super) sets: BTreeMap<[String; 4], FakeSet>,
    /// The tokens handed out, and when each ends.
    pub(super) tokens: BTreeMap<String, i64>,
    next_id: u64,
    pub(super) zones_a_page: usize,
    /// What `nextLink` says in place of the truth.
    pub(super) next_link: Option<String>,
    /// The federated token that the application trusts.
    pub(super) trusted: String,
    /// The client ids of the identities that the machine has; empty for the one that Azure assigned.
    pub(super) machine: Vec<String>,
    /// The actions that the role lacks: everywhere, or with `@` and a resource group, there.
    pub(super) denied: Vec<String>,
    pub(super) throttled: bool,
    /// Says so while it is throttled.
    pub(super) retry_after: Option<Duration>,
    pub(super) lose_next_answer: bool,
    pub(super) fail_in_body: bool,
    /// Answers every change like this.
    pub(super) refuse_changes: Option<(u16, Value)>,
    /// Answers every request for a token like this.
    pub(super) refuse_tokens: Option<(u16, Value)>,
    /// Values that somebody else adds, one just before each change.
    pub(super) intruders: VecDeque<String>,
    /// Leaves the tag out of the body, so that only the header has it.
    pub(super) tag_in_header_only: bool,
    pub(super) requests: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) struct FakeZone {
    pub(super) group: String,
    pub(super) name: String,
    pub(super) kind: &'static str,
}

#[derive(Debug, Clone, Default)]
pub(super) struct FakeSet {
    pub(super) etag: String,
    pub(super) ttl: i64,
    pub(super) metadata: Map<String, Value>,
    /// The character-strings of each record.
    pub(super) texts: Vec<Vec<String>>,
    pub(super) alias: Option<String>,
}

impl FakeAzure {
    /// Starts with these public zones in one resource group. `now` tells the time in seconds since 1970.
    pub(super) async fn start(zones: &[&str], now: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        let zone = |name: &&str| FakeZone { group: GROUP.into(), name: (*name).into(), kind: "Public" };
        let world = Arc::new(Mutex::new(World {
            now: Box::new(now),
            zones: zones.iter().map(zone).collect(),
            sets: BTreeMap::new(),
            tokens: BTreeMap::new(),
            next_id: 0,
            zones_a_page: 100,
            next_link: None,
            trusted: String::new(),
            machine: Vec::new(),
            denied: Vec::new(),
            throttled: false,
            retry_after: None,
            lose_next_answer: false,
            fail_in_body: false,
            refuse_changes: None,
            refuse_tokens: None,
            intruders: VecDeque::new(),
            tag_in_header_only: false,
            requests: Vec::new(),
        }));
        let server = MockServer::start().await;
        Mock::given(any()).respond_with(Answers(world.clone(), server.uri())).mount(&server).await;
        Self { server, world }
    }

    pub(super) fn base_url(&self) -> url::Url {
        self.server.uri().parse().unwrap()
    }

    /// Where the application gets its tokens.
    pub(super) fn token_url(&self) -> url::Url {
        format!("{}/{TENANT}/oauth2/v2.0/token", self.server.uri()).parse().unwrap()
    }

    /// Where a machine gets its tokens.
    pub(super) fn machine_url(&self) -> url::Url {
        format!("{}/metadata/identity/oauth2/token", self.server.uri()).parse().unwrap()
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Puts a TXT value beside what is at `name`.
    pub(super) fn insert(&self, name: &str, value: &str) {
        let mut world = self.world();
        let key = world.key(name, "txt").expect("a zone for the name");
        world.insert_text(key, value);
    }

    /// The TXT values at `name`.
    pub(super) fn txt_values(&self, name: &str) -> Vec<String> {
        let world = self.world();
        let set = world.key(name, "txt").and_then(|key| world.sets.get(&key));
        set.map_or_else(Vec::new, |set| set.texts.iter().map(|text| text.concat()).collect())
    }

    /// The target of the CNAME at `name`.
    pub(super) fn cname(&self, name: &str) -> Option<String> {
        let world = self.world();
        world.key(name, "cname").and_then(|key| world.sets.get(&key)?.alias.clone())
    }
}

struct Answers(Arc<Mutex<World>>, String);

impl Respond for Answers {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        self.0.lock().unwrap().respond(request, &self.1)
    }
}

type Fault = (u16, Value);
type Answer = Result<(u16, Value), Fault>;

/// An error as the DNS service writes it.
fn flat(status: u16, code: &str, message: &str) -> Fault {
    (status, json!({ "code": code, "message": message }))
}

/// An error as Resource Manager writes it.
fn wrapped(status: u16, code: &str, message: &str) -> Fault {
    (status, json!({ "error": { "code": code, "message": message } }))
}

impl World {
    fn id(&mut self) -> String {
        self.next_id += 1;
        format!("{:08x}-58c4-4f1e-9a0b-2b7c6f0e1d11", self.next_id)
    }

    /// Where a record set is: in the longest zone that encloses the name.
    pub(super) fn key(&self, name: &str, kind: &str) -> Option<[String; 4]> {
        let inside = |zone: &&FakeZone| name == zone.name || name.ends_with(&format!(".{}", zone.name));
        let zone = self.zones.iter().filter(inside).max_by_key(|zone| zone.name.len())?;
        let relative = name.strip_suffix(&zone.name)?.trim_end_matches('.');
        let relative = if relative.is_empty() { "@" } else { relative };
        Some([zone.group.to_lowercase(), zone.name.clone(), kind.into(), relative.into()])
    }

    pub(super) fn insert_text(&mut self, key: [String; 4], value: &str) {
        let etag = self.id();
        let set = self.sets.entry(key).or_insert_with(|| FakeSet { ttl: 3_600, ..FakeSet::default() });
        set.texts.push(vec![value.to_owned()]);
        set.etag = etag;
    }

    fn respond(&mut self, request: &Request, origin: &str) -> ResponseTemplate {
        self.requests.push(format!("{} {}", request.method, request.url.path()));
        let path = request.url.path();
        if path.ends_with("/token") {
            let refused = self.refuse_tokens.clone().map_or(Ok(()), Err);
            let machine = path.starts_with("/metadata/");
            let given = refused
                .and_then(|()| if machine { self.machine_token(request) } else { self.token(request) });
            let (status, body) = given.unwrap_or_else(|fault| fault);
            return ResponseTemplate::new(status).set_body_json(body);
        }
        if self.throttled {
            let (status, body) = flat(429, "TooManyRequests", "The request is being throttled.");
            let answer = ResponseTemplate::new(status)
                .set_body_json(body)
                .insert_header("x-ms-ratelimit-remaining-subscription-resource-requests", "0");
            return match self.retry_after {
                Some(wait) => answer.insert_header("retry-after", wait.as_secs().to_string().as_str()),
                None => answer,
            };
        }
        let outcome = self.authenticate(request).and_then(|()| self.route(request, origin));
        let changes = request.method.as_str() != "GET";
        if changes && std::mem::take(&mut self.lose_next_answer) {
            // What a gateway says when it lost the server behind it.
            return ResponseTemplate::new(502).set_body_raw("<html>502 Bad Gateway</html>", "text/html");
        }
        let (status, mut body) = outcome.unwrap_or_else(|fault| fault);
        let etag = body.get("etag").and_then(Value::as_str).map(str::to_owned);
        if let (true, Some(body)) = (self.tag_in_header_only, body.as_object_mut()) {
            body.remove("etag");
        }
        // Slashes are escaped, as in the real answers.
        let text = if body.is_null() { String::new() } else { body.to_string().replace('/', "\\/") };
        let answer = ResponseTemplate::new(status)
            .insert_header("x-ms-request-id", "9e1f3c1a-request")
            .set_body_raw(text, "application/json; charset=utf-8");
        match etag {
            Some(etag) => answer.insert_header("ETag", etag.as_str()),
            None => answer,
        }
    }

    fn route(&mut self, request: &Request, origin: &str) -> Answer {
        let mut query: BTreeMap<String, String> = request.url.query_pairs().into_owned().collect();
        assert_eq!(query.remove("api-version").as_deref(), Some("2018-05-01"));
        let skip = query.remove("$skipToken").map_or(0, |skip| skip.parse().unwrap());
        assert!(query.is_empty(), "unknown query {query:?}");
        let path = request.url.path().replace("%40", "@").replace("%28", "(").replace("%29", ")");
        let segments: Vec<String> = path.split('/').skip(1).map(str::to_lowercase).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let ["subscriptions", subscription, rest @ ..] = &segments[..] else {
            panic!("no path of the API: {path}")
        };
        if *subscription != SUBSCRIPTION {
            let words = format!("The subscription '{subscription}' could not be found.");
            return Err(wrapped(404, "SubscriptionNotFound", &words));
        }
        match (request.method.as_str(), rest) {
            ("GET", ["providers", "microsoft.network", "dnszones"]) => self.list(None, skip, origin, &path),
            ("GET", ["resourcegroups", group, "providers", "microsoft.network", "dnszones"]) => {
                self.group(group)?;
                self.list(Some(group), skip, origin, &path)
            }
            ("GET", ["resourcegroups", group, "providers", "microsoft.network", "dnszones", zone]) => {
                self.may("read", &path)?;
                let zone = self.zone(group, zone)?;
                Ok((200, shown_zone(zone)))
            }
            (
                method,
                ["resourcegroups", group, "providers", "microsoft.network", "dnszones", zone, kind, name],
            ) => {
                assert!(["txt", "cname"].contains(kind), "{kind}");
                assert!(!name.ends_with(zone), "an absolute name makes {name}.{zone}");
                let right = match method {
                    "GET" => "read",
                    "PUT" => "write",
                    "DELETE" => "delete",
                    _ => panic!("the API has no {method} here"),
                };
                self.may(&format!("{}/{right}", kind.to_uppercase()), &path)?;
                self.zone(group, zone)?;
                let key = [(*group).into(), (*zone).into(), (*kind).into(), (*name).into()];
                if method == "GET" {
                    let words =
                        format!("The resource record '{name}' does not exist in resource group '{group}'.");
                    let set = self.sets.get(&key).ok_or_else(|| flat(404, "NotFound", &words))?;
                    return Ok((200, set.shown(&key)));
                }
                self.change(request, &key)
            }
            (method, _) => panic!("the API has no {method} {path}"),
        }
    }

    fn may(&self, right: &str, scope: &str) -> Result<(), Fault> {
        let action = format!("Microsoft.Network/dnsZones/{right}");
        let lacks = |denied: &String| match denied.split_once('@') {
            Some((right, group)) => right == action && scope.contains(&format!("/{group}/")),
            None => *denied == action,
        };
        if !self.denied.iter().any(lacks) {
            return Ok(());
        }
        let words = format!(
            "The client '{CLIENT}' with object id '{CLIENT}' does not have authorization to perform action \
             '{action}' over scope '{scope}' or the scope is invalid.",
        );
        Err(wrapped(403, "AuthorizationFailed", &words))
    }

    fn group(&self, name: &str) -> Result<(), Fault> {
        let there = self.zones.iter().any(|zone| zone.group.to_lowercase() == name);
        let words = format!("Resource group '{name}' could not be found.");
        if there { Ok(()) } else { Err(wrapped(404, "ResourceGroupNotFound", &words)) }
    }

    fn zone(&self, group: &str, name: &str) -> Result<&FakeZone, Fault> {
        self.group(group)?;
        let found = self.zones.iter().find(|zone| zone.group.to_lowercase() == group && zone.name == name);
        let words = format!("The Resource 'Microsoft.Network/dnszones/{name}' was not found.");
        found.ok_or_else(|| wrapped(404, "ParentResourceNotFound", &words))
    }

    fn list(&self, group: Option<&str>, skip: usize, origin: &str, path: &str) -> Answer {
        self.may("read", path)?;
        let wanted = |zone: &&FakeZone| group.is_none_or(|group| zone.group.to_lowercase() == group);
        let zones: Vec<Value> = self.zones.iter().filter(wanted).map(shown_zone).collect();
        let shown: Vec<Value> = zones.iter().skip(skip).take(self.zones_a_page).cloned().collect();
        let mut body = json!({ "value": shown });
        if skip + shown.len() < zones.len() {
            let next = format!("{origin}{path}?api-version=2018-05-01&$skipToken={}", skip + shown.len());
            body["nextLink"] = self.next_link.clone().unwrap_or(next).into();
        }
        Ok((200, body))
    }
}

fn zone_id(group: &str, name: &str) -> String {
    format!(
        "/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}/providers/Microsoft.Network/dnszones/{name}"
    )
}

fn shown_zone(zone: &FakeZone) -> Value {
    let FakeZone { group, name, kind } = zone;
    json!({
        "id": zone_id(group, name), "name": name, "type": "Microsoft.Network/dnszones", "location": "global",
        "etag": "00000002-0000-0000-5ede-e1e3aa60d901", "tags": { "owner": "ops" },
        "properties": {
            "maxNumberOfRecordSets": 10_000, "maxNumberOfRecordsPerRecordSet": null, "numberOfRecordSets": 2,
            "nameServers": ["ns1-07.azure-dns.com.", "ns2-07.azure-dns.net."], "zoneType": kind,
        },
    })
}
