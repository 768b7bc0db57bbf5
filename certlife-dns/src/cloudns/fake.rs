//! The HTTP API of ClouDNS over zones in memory, which refuses what the real one refuses and everything else.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::any};

pub(super) const AUTH_ID: &str = "1337";
pub(super) const SUB_AUTH_ID: &str = "4711";
pub(super) const SUB_AUTH_USER: &str = "acme-bot";
/// With signs that a form has to encode.
pub(super) const PASSWORD: &str = "invented & p%ss+wörd=1";

const TTLS: [u32; 13] =
    [60, 300, 900, 1_800, 3_600, 21_600, 43_200, 86_400, 172_800, 259_200, 604_800, 1_209_600, 2_592_000];

pub(super) struct FakeClouDns {
    pub(super) server: MockServer,
    world: Arc<Mutex<World>>,
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch that a test throws")]
pub(super) struct World {
    pub(super) zones: Vec<FakeZone>,
    pub(super) records: Vec<FakeRecord>,
    next_id: u64,
    pub(super) throttled: bool,
    /// Says so while it is throttled.
    pub(super) retry_after: Option<Duration>,
    pub(super) lose_next_answer: bool,
    /// Answers every change like this.
    pub(super) refuse_changes: Option<(u16, Value)>,
    /// Is there by the time of the next addition.
    pub(super) rival: Option<FakeRecord>,
    /// Adds what is there a second time, in place of refusing it.
    pub(super) doubles: bool,
    /// Writes numbers and truth values in the other form, and leaves out what may be missing.
    pub(super) other_forms: bool,
    /// How often it is still told that the servers do not have the last change.
    behind: u32,
    /// The functions that were called, with the zone.
    pub(super) requests: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) struct FakeZone {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) status: &'static str,
    pub(super) cloud_master: Option<&'static str>,
    /// Whether the sub-user sees it.
    pub(super) given: bool,
}

#[derive(Debug, Clone)]
pub(super) struct FakeRecord {
    pub(super) id: u64,
    pub(super) zone: String,
    pub(super) kind: String,
    pub(super) host: String,
    pub(super) content: String,
    pub(super) ttl: u32,
    pub(super) active: bool,
}

impl FakeClouDns {
    pub(super) async fn start(zones: &[&str]) -> Self {
        let server = MockServer::start().await;
        let world = Arc::new(Mutex::new(World { next_id: 694_692_520, ..World::default() }));
        for zone in zones {
            world.lock().unwrap().add_zone(zone, "master");
        }
        Mock::given(any()).respond_with(Answers(world.clone())).mount(&server).await;
        Self { server, world }
    }

    pub(super) fn base_url(&self) -> String {
        self.server.uri()
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Puts a value there, as somebody else would.
    pub(super) fn insert_txt(&self, name: &str, value: &str) {
        self.world().insert("TXT", name, value);
    }

    pub(super) fn txt_values(&self, name: &str) -> Vec<String> {
        self.world().contents("TXT", name)
    }
}

struct Answers(Arc<Mutex<World>>);

impl Respond for Answers {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        self.0.lock().unwrap().respond(request)
    }
}

type Fields = BTreeMap<String, String>;
/// What is answered, or the words of a failure.
type Answer = Result<Value, String>;

impl World {
    pub(super) fn add_zone(&mut self, name: &str, kind: &'static str) -> &mut FakeZone {
        let name = name.to_owned();
        self.zones.push(FakeZone { name, kind, status: "1", cloud_master: None, given: false });
        self.zones.last_mut().unwrap()
    }

    pub(super) fn insert(&mut self, kind: &str, name: &str, content: &str) -> u64 {
        let record = self.record(kind, name, content);
        let id = record.id;
        self.records.push(record);
        id
    }

    /// Makes a record of the longest zone that encloses its name, and does not insert it.
    pub(super) fn record(&mut self, kind: &str, name: &str, content: &str) -> FakeRecord {
        self.next_id += 1;
        let (zone, host) = self.place(name);
        let (kind, content) = (kind.to_owned(), content.to_owned());
        FakeRecord { id: self.next_id, zone, kind, host, content, ttl: 3_600, active: true }
    }

    pub(super) fn contents(&self, kind: &str, name: &str) -> Vec<String> {
        let (zone, host) = self.place(name);
        let here = self.records.iter().filter(|record| record.zone == zone && record.host == host);
        here.filter(|record| record.kind == kind).map(|record| record.content.clone()).collect()
    }

    fn place(&self, name: &str) -> (String, String) {
        let places = self.zones.iter().filter_map(|zone| {
            let host = name.strip_suffix(&zone.name)?;
            let host = if host.is_empty() { "" } else { host.strip_suffix('.')? };
            Some((zone.cloud_master.unwrap_or(&zone.name).to_owned(), host.to_owned()))
        });
        places.min_by_key(|(_, host)| host.len()).unwrap_or_default()
    }

    fn respond(&mut self, request: &Request) -> ResponseTemplate {
        assert_eq!(request.method.as_str(), "POST", "a password does not belong into an address");
        assert_eq!(request.url.query(), None, "a password does not belong into an address");
        assert_eq!(request.headers["content-type"], "application/x-www-form-urlencoded");
        let path = request.url.path().strip_prefix("/dns/").expect("the path of the API");
        let function = path.strip_suffix(".json").expect("a function and its format");
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(&request.body).into_owned().collect();
        let count = pairs.len();
        let mut fields: Fields = pairs.into_iter().collect();
        assert_eq!(fields.len(), count, "each field is sent once");

        let zone = fields.get("domain-name").or_else(|| fields.get("search")).map_or("", String::as_str);
        self.requests.push(format!("{function} {zone}").trim_end().to_owned());
        if self.throttled {
            let answer = ResponseTemplate::new(429).set_body_string("Too Many Requests");
            return match self.retry_after {
                Some(wait) => answer.insert_header("retry-after", wait.as_secs().to_string().as_str()),
                None => answer,
            };
        }
        let changes = matches!(function, "add-record" | "delete-record");
        let outcome = authenticate(&mut fields).and_then(|sub_user| {
            if let Some((status, body)) = self.refuse_changes.clone().filter(|_| changes) {
                return Ok(ResponseTemplate::new(status).set_body_json(body));
            }
            let body = self.call(function, &mut fields, sub_user)?;
            assert!(fields.is_empty(), "{function} has no {fields:?}");
            Ok(ok(&body))
        });
        if changes && std::mem::take(&mut self.lose_next_answer) {
            // What a gateway says when it lost the server behind it.
            return ResponseTemplate::new(502).set_body_raw("<html>502 Bad Gateway</html>", "text/html");
        }
        outcome.unwrap_or_else(|words| ok(&failed(&words)))
    }

    /// Takes the fields that the function has out of `fields`.
    fn call(&mut self, function: &str, fields: &mut Fields, sub_user: bool) -> Answer {
        if function == "login" {
            return Ok(json!({ "status": "Success", "statusDescription": "Success login." }));
        }
        if function == "list-zones" {
            return self.list_zones(fields, sub_user);
        }
        let name = required(fields, "domain-name")?;
        let zone = self.zones.iter().find(|zone| zone.name == name && (zone.given || !sub_user));
        let zone = zone.cloned().ok_or("Missing domain-name")?;
        if function == "get-zone-info" {
            return Ok(self.show_zone(&zone, true));
        }
        if zone.kind != "master" {
            return Err("This function is available only for master zones.".into());
        }
        match function {
            "records" => Ok(self.list_records(&zone, fields)),
            "add-record" => self.add_record(&zone, fields),
            "delete-record" => self.delete_record(&zone, fields),
            "update-status" => Ok(self.update_status()),
            _ => panic!("the API has no {function}"),
        }
    }

    fn list_zones(&self, fields: &mut Fields, sub_user: bool) -> Answer {
        for required in ["page", "rows-per-page"] {
            if !fields.contains_key(required) {
                return Err(format!("Missing required parameter '{required}'."));
            }
        }
        let search = fields.remove("search").unwrap_or_default();
        let seen = self.zones.iter().filter(|zone| zone.given || !sub_user);
        let zones = seen.filter(|zone| zone.name.contains(&search));
        let shown = page(zones, fields).map(|zone| self.show_zone(zone, !self.other_forms));
        Ok(Value::Array(shown.collect()))
    }

    fn show_zone(&self, zone: &FakeZone, with_master: bool) -> Value {
        let FakeZone { name, kind, status, cloud_master, .. } = zone;
        let status = if self.other_forms { json!(*status == "1") } else { json!(status) };
        let mut shown = json!({ "name": name, "type": kind, "zone": "domain", "status": status });
        if let Some(master) = cloud_master.filter(|_| with_master) {
            shown["cloud-master"] = json!(master);
        }
        shown
    }

    fn list_records(&self, zone: &FakeZone, fields: &mut Fields) -> Value {
        let host = fields.remove("host").unwrap_or_default();
        let kind = fields.remove("type");
        let here = self.records.iter().filter(|record| record.zone == zone.name);
        // Nothing says how to ask for the apex alone.
        let here = here.filter(|record| host.is_empty() || record.host == host);
        let records = here.filter(|record| kind.as_ref().is_none_or(|kind| *kind == record.kind));
        let shown = page(records, fields).map(|record| (record.id.to_string(), self.show_record(record)));
        let shown: serde_json::Map<String, Value> = shown.collect();
        if shown.is_empty() { json!([]) } else { Value::Object(shown) }
    }

    fn show_record(&self, record: &FakeRecord) -> Value {
        let FakeRecord { id, kind, host, content, ttl, active, .. } = record;
        if self.other_forms {
            let host = if host.is_empty() { "@" } else { host };
            return json!({
                "id": id, "type": kind, "host": host, "record": content, "ttl": ttl,
                "status": u8::from(*active).to_string(),
            });
        }
        json!({
            "id": id.to_string(), "type": kind, "host": host, "record": content, "failover": "0",
            "ttl": ttl.to_string(), "status": u8::from(*active),
        })
    }

    fn add_record(&mut self, zone: &FakeZone, fields: &mut Fields) -> Answer {
        self.records.extend(self.rival.take());
        let (kind, host) = (required(fields, "record-type")?, required(fields, "host")?);
        let (content, ttl) = (required(fields, "record")?, required(fields, "ttl")?);
        let ttl = ttl.parse().ok().filter(|ttl| TTLS.contains(ttl));
        let ttl = ttl.ok_or("Invalid TTL. Choose from the list of the values we support.")?;
        let fits = match kind.as_str() {
            "CNAME" => content.contains('.') && !content.ends_with('.'),
            "TXT" => !content.is_empty() && content.trim() == content && !content.contains(['"', '`']),
            _ => panic!("nobody adds {kind} records"),
        };
        if !fits || host != host.to_lowercase() || host.ends_with(&zone.name) {
            return Err(format!("Invalid record: {kind} {content} at {host}."));
        }
        let mut here = self.records.iter().filter(|record| record.zone == zone.name && record.host == host);
        if !self.doubles && here.clone().any(|record| record.kind == kind && record.content == content) {
            return Err("You already have the same record.".into());
        }
        if here.any(|record| record.active && (kind == "CNAME" || record.kind == "CNAME")) {
            return Err("CNAME cannot be used together with other records.".into());
        }
        self.next_id += 1;
        let (id, zone) = (self.next_id, zone.name.clone());
        self.records.push(FakeRecord { id, zone, kind, host, content, ttl, active: true });
        self.behind = 2;
        let mut answer = done("The record was added successfully.");
        if !self.other_forms {
            answer["data"] = json!({ "id": id });
        }
        Ok(answer)
    }

    fn delete_record(&mut self, zone: &FakeZone, fields: &mut Fields) -> Answer {
        let id = required(fields, "record-id")?;
        let there =
            self.records.iter().position(|record| record.zone == zone.name && record.id.to_string() == id);
        self.records.remove(there.ok_or("Invalid record-id param.")?);
        self.behind = 2;
        Ok(done("The record was deleted successfully."))
    }

    fn update_status(&mut self) -> Value {
        let updated = self.behind == 0;
        self.behind = self.behind.saturating_sub(1);
        let updated = if self.other_forms { json!(u8::from(updated).to_string()) } else { json!(updated) };
        json!([
            { "server": "pns1.cloudns.net", "ip4": "192.0.2.10", "ip6": "2001:db8::10", "updated": true },
            { "server": "pns2.cloudns.net", "ip4": "192.0.2.11", "ip6": "2001:db8::11", "updated": updated },
        ])
    }
}

/// One user, and the right password. Returns whether it is the sub-user.
fn authenticate(fields: &mut Fields) -> Result<bool, String> {
    let password = fields.remove("auth-password");
    let users = ["auth-id", "sub-auth-id", "sub-auth-user"].map(|field| fields.remove(field));
    let right = password.as_deref() == Some(PASSWORD);
    match users.each_ref().map(Option::as_deref) {
        [Some(id), None, None] if right && id == AUTH_ID => Ok(false),
        [None, Some(id), None] if right && id == SUB_AUTH_ID => Ok(true),
        [None, None, Some(name)] if right && name == SUB_AUTH_USER => Ok(true),
        [Some(_), None, None] => Err("Invalid authentication, incorrect auth-id or auth-password.".into()),
        [None, Some(_), None] | [None, None, Some(_)] => {
            Err("Invalid authentication, incorrect sub-auth-id, sub-auth-user or auth-password.".into())
        }
        _ => panic!("one user is to be stated"),
    }
}

fn required(fields: &mut Fields, name: &str) -> Result<String, String> {
    fields.remove(name).ok_or_else(|| format!("Missing {name}"))
}

fn page<T>(items: impl Iterator<Item = T>, fields: &mut Fields) -> impl Iterator<Item = T> {
    let number = |text: String| text.parse::<usize>().expect("a number");
    let page = fields.remove("page").map_or(1, number);
    let rows = fields.remove("rows-per-page").map_or(10, number);
    assert!([10, 20, 30, 50, 100].contains(&rows), "{rows} on a page");
    items.skip((page - 1) * rows).take(rows)
}

fn done(words: &str) -> Value {
    json!({ "status": "Success", "statusDescription": words })
}

pub(super) fn failed(words: &str) -> Value {
    json!({ "status": "Failed", "statusDescription": words })
}

/// The status of every answer, failures included.
fn ok(body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}
