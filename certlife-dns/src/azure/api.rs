//! Azure DNS in its own words: <https://learn.microsoft.com/en-us/rest/api/dns/>.

use certlife_core::{
    Error, ErrorKind, Fqdn, Operation, Result,
    dns::RecordData,
    http::{Client, Method, Paged, Request, StatusCode},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use super::{NAME, fault::Fault};
use crate::txt;

const VERSION: &str = "2018-05-01";

/// One client a kind of request, since each kind has a limit of its own.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) subscription: String,
    /// The only resource group, if it is stated.
    pub(super) group: Option<String>,
    pub(super) lists: Client,
    pub(super) reads: Client,
    pub(super) writes: Client,
}

/// A public zone, as far as it matters here.
#[derive(Debug, Clone)]
pub(super) struct Zone {
    pub(super) name: Fqdn,
    pub(super) group: String,
    pub(super) name_servers: Vec<Fqdn>,
}

#[derive(Debug, Deserialize)]
struct ZoneList {
    value: Vec<ZoneResource>,
    #[serde(default, rename = "nextLink")]
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ZoneResource {
    id: String,
    name: String,
    #[serde(default)]
    properties: ZoneProperties,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ZoneProperties {
    #[serde(default)]
    zone_type: Option<String>,
    #[serde(default)]
    name_servers: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct RecordSet {
    #[serde(default)]
    etag: Option<String>,
    properties: Properties,
}

/// What a record set holds. All of it is written back, since a PUT replaces the whole.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Properties {
    #[serde(rename = "TTL")]
    ttl_seconds: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metadata: Option<Map<String, Value>>,
    #[serde(default, rename = "TXTRecords", skip_serializing_if = "Option::is_none")]
    texts: Option<Vec<Text>>,
    #[serde(default, rename = "CNAMERecord", skip_serializing_if = "Option::is_none")]
    alias: Option<Alias>,
}

/// One TXT record: its character-strings, without quotes and escapes, of at most 255 bytes each.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Text {
    value: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Alias {
    cname: String,
}

impl Properties {
    pub(super) fn new(ttl_seconds: u32) -> Self {
        Self { ttl_seconds: ttl_seconds.into(), metadata: None, texts: None, alias: None }
    }

    /// Whether `data` is among it. Targets may have a final dot.
    pub(super) fn holds(&self, data: &RecordData) -> bool {
        match data {
            RecordData::Txt(value) => self.texts.iter().flatten().any(|text| text.value.concat() == *value),
            RecordData::Cname(target) => self
                .alias
                .as_ref()
                .is_some_and(|alias| alias.cname.parse::<Fqdn>().is_ok_and(|it| it == *target)),
        }
    }

    pub(super) fn insert(&mut self, data: &RecordData) {
        match data {
            RecordData::Txt(value) => {
                let value = txt::text_strings(value).into_iter().map(str::to_owned).collect();
                self.texts.get_or_insert_default().push(Text { value });
            }
            RecordData::Cname(target) => self.alias = Some(Alias { cname: target.to_string() }),
        }
    }

    /// Takes `data` out. Returns whether anything is left.
    pub(super) fn take(&mut self, data: &RecordData) -> bool {
        match data {
            RecordData::Txt(value) => {
                let texts = self.texts.get_or_insert_default();
                texts.retain(|text| text.value.concat() != *value);
                !texts.is_empty()
            }
            RecordData::Cname(_) => {
                self.alias = None;
                false
            }
        }
    }

    /// How many TXT records there are, and how many characters in them.
    pub(super) fn size(&self) -> (usize, usize) {
        let texts = self.texts.as_deref().unwrap_or_default();
        let strings = texts.iter().flat_map(|text| &text.value);
        (texts.len(), strings.map(|string| string.chars().count()).sum())
    }
}

/// Which record set.
#[derive(Debug, Clone, Copy)]
pub(super) struct SetId<'a> {
    pub(super) zone: &'a Zone,
    /// `TXT` or `CNAME`.
    pub(super) kind: &'static str,
    /// The name relative to the zone, `@` at its apex.
    pub(super) name: &'a str,
}

/// What a record set must be like for a change to be made.
#[derive(Debug)]
pub(super) enum Expected {
    Absent,
    Unchanged(String),
}

impl Expected {
    fn guard(&self, request: Request) -> Request {
        match self {
            Self::Absent => request.header("If-None-Match", "*"),
            Self::Unchanged(etag) => request.header("If-Match", etag),
        }
    }
}

impl Api {
    fn zone_path<'a>(&'a self, zone: &'a Zone) -> [&'a str; 8] {
        let (subscription, group, name) =
            (self.subscription.as_str(), zone.group.as_str(), zone.name.as_str());
        [
            "subscriptions",
            subscription,
            "resourceGroups",
            group,
            "providers",
            "Microsoft.Network",
            "dnsZones",
            name,
        ]
    }

    fn set(&self, client: &Client, method: Method, operation: Operation, set: SetId<'_>) -> Request {
        let mut path = self.zone_path(set.zone).to_vec();
        path.extend([set.kind, set.name]);
        client.request(method, operation, &path).query("api-version", VERSION)
    }

    /// The id by which Azure knows a zone.
    pub(super) fn id(&self, zone: &Zone) -> String {
        format!("/{}", self.zone_path(zone).join("/"))
    }

    /// Lists the public zones of the resource group, or of the subscription if none is stated.
    ///
    /// <https://learn.microsoft.com/en-us/rest/api/dns/zones/list>
    pub(super) async fn zones(&self, operation: Operation) -> Result<Vec<Zone>> {
        let subscription = self.subscription.as_str();
        let all = ["subscriptions", subscription, "providers", "Microsoft.Network", "dnszones"];
        let page = |next: Option<String>| async move {
            let request = match (&next, &self.group) {
                (Some(next), _) => {
                    let url =
                        Url::parse(next).map_err(|_| protocol(operation, "its `nextLink` is not a URL"))?;
                    self.lists.absolute(Method::GET, operation, &url)
                }
                (None, None) => self.lists.get(operation, &all).query("api-version", VERSION),
                (None, Some(group)) => {
                    let path = ["subscriptions", subscription, "resourceGroups", group];
                    let path = [&path[..], &["providers", "Microsoft.Network", "dnsZones"]].concat();
                    self.lists.get(operation, &path).query("api-version", VERSION)
                }
            };
            let list: ZoneList = request.send().await?.json()?;
            Ok(Paged { items: list.value, next: list.next.filter(|next| !next.is_empty()) })
        };
        let listed = self.lists.pages(operation).collect(page).await?;
        Ok(listed.into_iter().filter_map(|zone| self.usable(zone)).collect())
    }

    /// Reads one zone. None if it is not public.
    ///
    /// <https://learn.microsoft.com/en-us/rest/api/dns/zones/get>
    pub(super) async fn zone(&self, operation: Operation, zone: &Zone) -> Result<Option<Zone>> {
        let request = self.reads.get(operation, &self.zone_path(zone)).query("api-version", VERSION);
        Ok(self.usable(request.send().await?.json()?))
    }

    /// Takes from a listed zone what we need, if the world is served from it and its id is what an id is like:
    /// parts of it become parts of paths.
    fn usable(&self, zone: ZoneResource) -> Option<Zone> {
        let ZoneResource { id, name, properties } = zone;
        if properties.zone_type.is_some_and(|kind| kind.eq_ignore_ascii_case("Private")) {
            return None;
        }
        let parts: Vec<&str> = id.split('/').collect();
        let &["", subscriptions, subscription, groups, group, "providers", ..] = &parts[..] else {
            return None;
        };
        let fits = subscriptions.eq_ignore_ascii_case("subscriptions")
            && subscription.eq_ignore_ascii_case(&self.subscription)
            && groups.eq_ignore_ascii_case("resourceGroups")
            && is_group(group)
            && self.group.as_ref().is_none_or(|only| only.to_lowercase() == group.to_lowercase());
        let servers = properties.name_servers.unwrap_or_default();
        let name_servers = servers.iter().filter_map(|server| server.parse().ok()).collect();
        fits.then_some(Zone { name: name.parse().ok()?, group: group.to_owned(), name_servers })
    }

    /// Reads a record set and its tag. None if there is none.
    ///
    /// <https://learn.microsoft.com/en-us/rest/api/dns/record-sets/get>
    pub(super) async fn read(
        &self,
        operation: Operation,
        set: SetId<'_>,
    ) -> Result<Option<(Properties, Expected)>> {
        let request = self.set(&self.reads, Method::GET, operation, set);
        let response = request.accept_status(&[StatusCode::NOT_FOUND]).send().await?;
        if response.status() == StatusCode::NOT_FOUND {
            return if Fault::of(response.bytes()).is_some_and(|fault| fault.is_absent_record()) {
                Ok(None)
            } else {
                let what = format!("zone {} in resource group {}", set.zone.name, set.zone.group);
                Err(response.error(ErrorKind::NotFound(what.into())))
            };
        }
        let found: RecordSet = response.json()?;
        let etag = found.etag.as_deref().or_else(|| response.header("etag")).filter(|etag| is_etag(etag));
        // Without it we would overwrite what others write.
        let etag = etag.ok_or_else(|| response.unexpected("the record set has no `etag`"))?.to_owned();
        Ok(Some((found.properties, Expected::Unchanged(etag))))
    }

    /// Writes a whole record set. False if it is not what was `expected`.
    ///
    /// <https://learn.microsoft.com/en-us/rest/api/dns/record-sets/create-or-update>
    pub(super) async fn write(
        &self,
        operation: Operation,
        set: SetId<'_>,
        properties: &Properties,
        expected: &Expected,
    ) -> Result<bool> {
        let request = expected.guard(self.set(&self.writes, Method::PUT, operation, set));
        let request = request.json(&serde_json::json!({ "properties": properties }));
        // Sent again after a lost answer, it would look as if the value had been there before.
        let request = request.replayable(operation == Operation::WithdrawRecord);
        let response = request.accept_status(&[StatusCode::PRECONDITION_FAILED]).send().await?;
        if response.status() == StatusCode::PRECONDITION_FAILED {
            return Ok(false);
        }
        let _: RecordSet = response.json()?;
        Ok(true)
    }

    /// Deletes a record set. False if it is not what was `expected`.
    ///
    /// <https://learn.microsoft.com/en-us/rest/api/dns/record-sets/delete>
    pub(super) async fn delete(
        &self,
        operation: Operation,
        set: SetId<'_>,
        expected: &Expected,
    ) -> Result<bool> {
        let request = expected.guard(self.set(&self.writes, Method::DELETE, operation, set));
        let accepted = [StatusCode::PRECONDITION_FAILED, StatusCode::NOT_FOUND];
        let response = request.accept_status(&accepted).send().await?;
        Ok(response.status() != StatusCode::PRECONDITION_FAILED)
    }
}

fn protocol(operation: Operation, what: &'static str) -> Error {
    Error::new(NAME, operation, ErrorKind::Protocol(what.into()))
}

/// Whether it may be sent back. `*` would stand for any state.
fn is_etag(text: &str) -> bool {
    (1..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) && text != "*"
}

/// Whether it can be the name of a resource group.
///
/// <https://learn.microsoft.com/en-us/azure/azure-resource-manager/management/resource-name-rules>
pub(super) fn is_group(text: &str) -> bool {
    let fits = |character: char| character.is_alphanumeric() || "-_.()".contains(character);
    (1..=90).contains(&text.chars().count()) && text.chars().all(fits) && !text.ends_with('.')
}
