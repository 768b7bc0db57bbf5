//! Route 53 and STS over zones in memory, which refuse what the real ones refuse and everything else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use quick_xml::escape::escape;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::any};

// Relative to this file, from wherever it is included.
#[path = "fake_keys.rs"]
mod keys;
#[path = "fake_sets.rs"]
mod sets;

use self::{
    keys::{FakeKey, Fault, authenticated, fault, rfc3339},
    sets::is_within,
};

pub(super) const KEY_ID: &str = "AKIAINVENTED00000001";
pub(super) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYINVENTEDKEY";
pub(super) const ROLE: &str = "arn:aws:iam::123456789012:role/dns";
pub(super) const EXTERNAL_ID: &str = "external-0001";
const NAMESPACE: &str = "https://route53.amazonaws.com/doc/2013-04-01/";
const STS_NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

pub(super) struct FakeRoute53 {
    pub(super) server: MockServer,
    world: Arc<Mutex<World>>,
}

pub(super) struct World {
    /// Seconds since 1970.
    clock: Arc<dyn Fn() -> i64 + Send + Sync>,
    pub(super) zones: Vec<FakeZone>,
    pub(super) sets: Vec<FakeSet>,
    keys: Vec<FakeKey>,
    /// By id, and how often each is still pending when asked for.
    pub(super) changes: BTreeMap<String, u32>,
    next_id: u64,
    pub(super) throttled: bool,
    /// Says so while it is throttled, in seconds.
    pub(super) retry_after: Option<u64>,
    /// How many changes are refused since the zone is busy.
    pub(super) busy: u32,
    pub(super) lose_next_answer: bool,
    pub(super) fail_in_body: bool,
    /// Answers every change like this.
    pub(super) refuse_changes: Option<(u16, String)>,
    /// Somebody else's values, each added just before one of the next changes.
    pub(super) meddling: Vec<(String, String)>,
    /// What the policy does not allow, such as `route53:GetChange`.
    pub(super) denied: BTreeSet<&'static str>,
    pub(super) requests: Vec<String>,
}

#[derive(Debug, Clone)]
pub(super) struct FakeZone {
    pub(super) id: String,
    /// Without the final dot.
    pub(super) name: String,
    pub(super) private: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FakeSet {
    pub(super) zone: String,
    /// With the final dot.
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) ttl: u32,
    pub(super) values: Vec<String>,
    /// Elements that a plain set does not have, in front of the TTL and behind the values.
    pub(super) extra: (String, String),
}

impl FakeRoute53 {
    pub(super) async fn start(zones: &[&str], clock: Arc<dyn Fn() -> i64 + Send + Sync>) -> Self {
        let server = MockServer::start().await;
        let mut world = World {
            clock,
            zones: Vec::new(),
            sets: Vec::new(),
            keys: Vec::new(),
            changes: BTreeMap::new(),
            next_id: 0,
            throttled: false,
            retry_after: None,
            busy: 0,
            lose_next_answer: false,
            fail_in_body: false,
            refuse_changes: None,
            meddling: Vec::new(),
            denied: BTreeSet::new(),
            requests: Vec::new(),
        };
        world.add_key(KEY_ID, SECRET, None, i64::MAX);
        for zone in zones {
            world.add_zone(zone, false);
        }
        let world = Arc::new(Mutex::new(world));
        Mock::given(any()).respond_with(Answers(world.clone())).mount(&server).await;
        Self { server, world }
    }

    /// Of both services.
    pub(super) fn base_url(&self) -> url::Url {
        self.server.uri().parse().unwrap()
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

type Answer = Result<String, Fault>;

impl World {
    pub(super) fn add_zone(&mut self, name: &str, private: bool) -> String {
        let id = self.id("Z");
        self.zones.push(FakeZone { id: id.clone(), name: name.to_owned(), private });
        id
    }

    pub(super) fn add_key(&mut self, id: &str, secret: &str, token: Option<&str>, expires: i64) {
        self.keys.push(FakeKey::new(id, secret, token, expires));
    }

    /// Ends the sessions of the role before their time.
    pub(super) fn revoke_sessions(&mut self) {
        self.keys.iter_mut().filter(|key| key.is_temporary()).for_each(FakeKey::revoke);
    }

    /// Adds a value, as the API shows it, to the set of that name and type.
    pub(super) fn insert(&mut self, kind: &str, name: &str, value: &str) {
        let (owner, value) = (format!("{name}."), value.to_owned());
        if let Some(set) = self.sets.iter_mut().find(|set| set.name == owner && set.kind == kind) {
            set.values.push(value);
            return;
        }
        let inside = |zone: &&FakeZone| !zone.private && is_within(&owner, zone);
        let zone = self.zones.iter().filter(inside).max_by_key(|zone| zone.name.len()).unwrap().id.clone();
        let (kind, values) = (kind.to_owned(), vec![value]);
        self.sets.push(FakeSet { zone, name: owner, kind, ttl: 300, values, extra: Default::default() });
    }

    /// The values of that name and type, as the API shows them.
    pub(super) fn values(&self, kind: &str, name: &str) -> Vec<String> {
        let here = self.sets.iter().filter(|set| set.kind == kind && set.name.trim_end_matches('.') == name);
        here.flat_map(|set| set.values.clone()).collect()
    }

    fn id(&mut self, prefix: &str) -> String {
        self.next_id += 1;
        format!("{prefix}{:019X}", self.next_id)
    }

    fn respond(&mut self, request: &Request) -> ResponseTemplate {
        self.requests.push(format!("{} {}", request.method, request.url.path()));
        let is_sts = request.url.path() == "/";
        let namespace = if is_sts { STS_NAMESPACE } else { NAMESPACE };
        let is_change = request.method.as_str() == "POST" && !is_sts;
        let outcome = if self.throttled {
            fault(400, "Throttling", "Rate exceeded")
        } else {
            let service = if is_sts { "sts" } else { "route53" };
            authenticated(&self.keys, (self.clock)(), request, service)
                .and_then(|key| if is_sts { self.sts(&key, request) } else { self.route(request) })
        };
        if is_change && outcome.is_ok() && std::mem::take(&mut self.lose_next_answer) {
            // What a gateway says when it lost the server behind it.
            return ResponseTemplate::new(502).set_body_raw("<html>502 Bad Gateway</html>", "text/html");
        }
        let answer = match outcome {
            Ok(body) => ResponseTemplate::new(200).set_body_raw(body, "text/xml"),
            Err((status, code, message)) => {
                let body = if code.is_empty() { message } else { error(namespace, &code, &message) };
                ResponseTemplate::new(status).set_body_raw(body, "text/xml")
            }
        };
        match self.retry_after.filter(|_| self.throttled) {
            Some(wait) => answer.insert_header("retry-after", wait.to_string().as_str()),
            None => answer,
        }
    }

    fn sts(&mut self, key: &FakeKey, request: &Request) -> Answer {
        assert_eq!(request.method.as_str(), "POST");
        assert_eq!(request.headers["content-type"], "application/x-www-form-urlencoded");
        let mut form: BTreeMap<String, String> =
            url::form_urlencoded::parse(&request.body).into_owned().collect();
        assert_eq!(form.remove("Version").as_deref(), Some("2011-06-15"));
        let action = form.remove("Action").expect("an action");
        let result = match action.as_str() {
            "GetCallerIdentity" => {
                assert!(form.is_empty(), "{form:?}");
                let arn = if key.is_temporary() {
                    "arn:aws:sts::123456789012:assumed-role/dns/certlife"
                } else {
                    "arn:aws:iam::123456789012:user/certlife"
                };
                format!("<Arn>{arn}</Arn><UserId>AIDAINVENTED</UserId><Account>123456789012</Account>")
            }
            "AssumeRole" => {
                let known = ["RoleArn", "RoleSessionName", "DurationSeconds", "ExternalId"];
                assert!(form.keys().all(|name| known.contains(&name.as_str())), "{form:?}");
                let external = form.get("ExternalId").map(String::as_str);
                if form["RoleArn"] != ROLE || external != Some(EXTERNAL_ID) {
                    let told = "User: arn:aws:iam::123456789012:user/certlife is not authorized to perform: \
                                sts:AssumeRole on resource: "
                        .to_owned()
                        + &form["RoleArn"];
                    return fault(403, "AccessDenied", told);
                }
                let (id, token) = (self.id("ASIA"), format!("token+of/{}==", self.next_id));
                let expires = (self.clock)() + form["DurationSeconds"].parse::<i64>().unwrap();
                self.add_key(&id, "secret/of+the+assumed+role/0001", Some(&token), expires);
                format!(
                    "<AssumedRoleUser><Arn>a</Arn><AssumedRoleId>b</AssumedRoleId></AssumedRoleUser><Credentials>\
                     <AccessKeyId>{id}</AccessKeyId><SecretAccessKey>secret/of+the+assumed+role/0001\
                     </SecretAccessKey><SessionToken>{token}</SessionToken><Expiration>{}</Expiration></Credentials>",
                    rfc3339(expires)
                )
            }
            other => return fault(400, "InvalidAction", format!("no {other}")),
        };
        Ok(format!(
            "<{action}Response xmlns=\"{STS_NAMESPACE}\">\n  <{action}Result>{result}</{action}Result>\n  \
             <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>\n</{action}Response>"
        ))
    }

    fn route(&mut self, request: &Request) -> Answer {
        let path = request.url.path().strip_prefix("/2013-04-01/").expect("the version of the API");
        let query: BTreeMap<String, String> = request.url.query_pairs().into_owned().collect();
        let segments: Vec<&str> = path.split('/').collect();
        match (request.method.as_str(), &segments[..]) {
            ("GET", ["hostedzonesbyname"]) => {
                self.may("ListHostedZonesByName", "*")?;
                Ok(self.list_zones(&query))
            }
            ("GET", ["hostedzone", id]) => {
                self.may("GetHostedZone", id)?;
                let zone = shown_zone(self.zone(id)?);
                Ok(format!(
                    "{DECLARATION}<GetHostedZoneResponse xmlns=\"{NAMESPACE}\">{zone}<DelegationSet><NameServers>\
                     <NameServer>ns-1.awsdns-01.org</NameServer><NameServer>ns-2.awsdns-02.com</NameServer>\
                     </NameServers></DelegationSet></GetHostedZoneResponse>"
                ))
            }
            ("GET", ["hostedzone", id, "rrset"]) => {
                self.may("ListResourceRecordSets", id)?;
                self.zone(id)?;
                Ok(self.list_sets(id, &query))
            }
            ("POST", ["hostedzone", id, "rrset", ""]) => {
                self.may("ChangeResourceRecordSets", id)?;
                self.change(id, request)
            }
            ("GET", ["change", id]) => {
                self.may("GetChange", id)?;
                let Some(pending) = self.changes.get_mut(*id) else {
                    return fault(404, "NoSuchChange", format!("Could not find resource with ID: {id}"));
                };
                let status = if *pending == 0 { "INSYNC" } else { "PENDING" };
                *pending = pending.saturating_sub(1);
                Ok(shown_change("GetChangeResponse", id, status))
            }
            (method, path) => panic!("the API has no {method} {path:?}"),
        }
    }

    fn may(&self, action: &str, on: &str) -> Result<(), Fault> {
        if !self.denied.contains(action) {
            return Ok(());
        }
        let told = format!(
            "User: arn:aws:iam::123456789012:user/certlife is not authorized to perform: route53:{action} on \
             resource: arn:aws:route53:::hostedzone/{on} because no identity-based policy allows it"
        );
        fault(403, "AccessDenied", told)
    }

    fn zone(&self, id: &str) -> Result<&FakeZone, Fault> {
        match self.zones.iter().find(|zone| zone.id == id) {
            Some(zone) => Ok(zone),
            None => fault(404, "NoSuchHostedZone", format!("No hosted zone found with ID: {id}")),
        }
    }

    fn list_zones(&self, query: &BTreeMap<String, String>) -> String {
        assert!(query.keys().all(|key| ["dnsname", "hostedzoneid", "maxitems"].contains(&key.as_str())));
        let most: usize = query.get("maxitems").map_or(100, |text| text.parse().unwrap());
        assert!((1..=100).contains(&most), "{most} on a page");
        let start = query.get("dnsname").map(|name| reversed(name)).unwrap_or_default();
        let start = (start, query.get("hostedzoneid").cloned().unwrap_or_default());
        let mut zones: Vec<(String, String, &FakeZone)> =
            self.zones.iter().map(|zone| (reversed(&zone.name), zone.id.clone(), zone)).collect();
        zones.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        zones.retain(|(name, id, _)| (name, id) >= (&start.0, &start.1));
        let next = zones.get(most).map(|(_, _, zone)| {
            format!(
                "<NextDNSName>{}.</NextDNSName><NextHostedZoneId>{}</NextHostedZoneId>",
                zone.name, zone.id
            )
        });
        let shown: String = zones.iter().take(most).map(|(_, _, zone)| shown_zone(zone)).collect();
        format!(
            "{DECLARATION}<ListHostedZonesByNameResponse xmlns=\"{NAMESPACE}\"><HostedZones>{shown}</HostedZones>\
             <IsTruncated>{}</IsTruncated>{}<MaxItems>{most}</MaxItems></ListHostedZonesByNameResponse>",
            next.is_some(),
            next.unwrap_or_default()
        )
    }

    fn list_sets(&self, zone: &str, query: &BTreeMap<String, String>) -> String {
        assert!(query.keys().eq(["maxitems", "name", "type"]), "{query:?}");
        let most: usize = query["maxitems"].parse().unwrap();
        let start = (reversed(&query["name"]), query["type"].clone());
        let key = |set: &FakeSet| (reversed(&set.name), set.kind.clone());
        let mut sets: Vec<&FakeSet> =
            self.sets.iter().filter(|set| set.zone == zone && key(set) >= start).collect();
        sets.sort_by_key(|set| key(set));
        let shown: String = sets.iter().take(most).map(|set| set.shown()).collect();
        format!(
            "{DECLARATION}<ListResourceRecordSetsResponse xmlns=\"{NAMESPACE}\"><ResourceRecordSets>{shown}\
             </ResourceRecordSets><IsTruncated>{}</IsTruncated><MaxItems>{most}</MaxItems>\
             </ListResourceRecordSetsResponse>",
            sets.len() > most
        )
    }

    fn change(&mut self, zone: &str, request: &Request) -> Answer {
        let zone = self.zone(zone)?.clone();
        assert_eq!(request.headers["content-type"], "text/xml");
        if self.fail_in_body {
            return fault(200, "InvalidInput", "Something went wrong");
        }
        if let Some((status, body)) = &self.refuse_changes {
            return fault(*status, "", body.clone());
        }
        if self.busy > 0 {
            self.busy -= 1;
            let told = "The request was rejected because Route 53 was still processing a prior request.";
            return fault(400, "PriorRequestNotComplete", told);
        }
        if let Some((name, value)) = self.meddling.pop() {
            self.insert("TXT", &name, &value);
        }
        sets::apply(&mut self.sets, &zone, &request.body)?;
        let id = self.id("C");
        self.changes.insert(id.clone(), 2);
        Ok(shown_change("ChangeResourceRecordSetsResponse", &id, "PENDING"))
    }
}

const DECLARATION: &str = "<?xml version=\"1.0\"?>\n";

fn error(namespace: &str, code: &str, message: &str) -> String {
    format!(
        "{DECLARATION}<ErrorResponse xmlns=\"{namespace}\"><Error><Type>Sender</Type><Code>{code}</Code><Message>{}\
         </Message></Error><RequestId>6b1f0f2e-2f64-4a3b-9c1d-0e5a7b8c9d01</RequestId></ErrorResponse>",
        escape(message)
    )
}

fn shown_zone(zone: &FakeZone) -> String {
    let FakeZone { id, name, private } = zone;
    format!(
        "<HostedZone><Id>/hostedzone/{id}</Id><Name>{name}.</Name><CallerReference>c</CallerReference><Config>\
         <Comment>of a test</Comment><PrivateZone>{private}</PrivateZone></Config><ResourceRecordSetCount>2\
         </ResourceRecordSetCount></HostedZone>"
    )
}

fn shown_change(answer: &str, id: &str, status: &str) -> String {
    format!(
        "{DECLARATION}<{answer} xmlns=\"{NAMESPACE}\"><ChangeInfo><Id>/change/{id}</Id><Status>{status}</Status>\
         <SubmittedAt>2026-01-15T09:30:01.412Z</SubmittedAt></ChangeInfo></{answer}>"
    )
}

/// Listings are ordered by the labels from the right, each with its dot.
fn reversed(name: &str) -> String {
    name.trim_end_matches('.').rsplit('.').map(|label| format!("{label}.")).collect::<Vec<_>>().concat()
}
