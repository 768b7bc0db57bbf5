//! DNS Made Easy in its own words: <https://api-docs.dnsmadeeasy.com/>.

use std::time::Duration;

use certlife_core::{
    ErrorKind, Fqdn, Operation, Result, Retry, VendorText,
    dns::RecordData,
    http::{Answer, Client, Paged, Refinement, Request},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::txt;

/// When to come back after too many requests, of which the window is five minutes. The service does not say.
const PAUSE: Duration = Duration::from_secs(30);
/// The `source` of records that are the zone's own; those of a template that zones share have another.
const OWN: i64 = 1;

#[derive(Debug)]
pub(super) struct Api {
    pub(super) http: Client,
}

/// A page of a listing, counted from 0.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    data: Vec<T>,
    #[serde(rename = "page", default)]
    number: u32,
    #[serde(default)]
    total_pages: u32,
    #[serde(default)]
    total_records: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ShownZone {
    id: u64,
    name: String,
    #[serde(default)]
    pending_action_id: i64,
    /// Listings are without.
    #[serde(default)]
    name_servers: Vec<NameServer>,
}

#[derive(Debug, Deserialize)]
struct NameServer {
    #[serde(default)]
    fqdn: String,
}

/// A zone, as far as it matters here.
#[derive(Debug, Clone)]
pub(super) struct Zone {
    pub(super) id: u64,
    pub(super) name: Fqdn,
    /// Whether it is being created, changed or deleted.
    pub(super) is_pending: bool,
    pub(super) name_servers: Vec<Fqdn>,
}

impl ShownZone {
    /// None for a name that is never that of a certificate, such as of a part of a reverse zone.
    fn known(self) -> Option<Zone> {
        let name = self.name.parse().ok()?;
        let name_servers = self.name_servers.iter().filter_map(|server| server.fqdn.parse().ok()).collect();
        Some(Zone { id: self.id, name, is_pending: self.pending_action_id != 0, name_servers })
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Record {
    pub(super) id: u64,
    #[serde(default)]
    name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    value: String,
    #[serde(default)]
    source: Option<i64>,
}

impl Record {
    /// Whether it means `data`. Values come back quoted, targets mostly with a final dot.
    pub(super) fn is(&self, data: &RecordData) -> bool {
        self.kind == data.type_name()
            && match data {
                RecordData::Txt(value) => txt::unquoted(&self.value) == *value,
                RecordData::Cname(target) => self.value.parse::<Fqdn>().is_ok_and(|found| found == *target),
            }
    }

    /// Whether it comes from a template that zones share, so that it is not of our making.
    pub(super) fn is_shared(&self) -> bool {
        self.source.is_some_and(|source| source != OWN)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Made {
    pub(super) id: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct NewRecord<'a> {
    /// Relative to the zone, empty at its apex.
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    value: String,
    #[serde(rename = "ttl")]
    ttl_seconds: u32,
    #[serde(rename = "gtdLocation")]
    location: &'static str,
}

impl<'a> NewRecord<'a> {
    pub(super) fn new(name: &'a str, data: &RecordData, ttl_seconds: u32) -> Self {
        let value = match data {
            // Long values are cut into strings by the service.
            RecordData::Txt(value) => format!("\"{value}\""),
            // Without the final dot it would be relative to the zone.
            RecordData::Cname(target) => format!("{target}."),
        };
        Self { name, kind: data.type_name(), value, ttl_seconds, location: "DEFAULT" }
    }
}

/// What there is to see of an account.
pub(super) struct Overview {
    pub(super) zones: u64,
    /// Within the window that runs.
    pub(super) requests_left: Option<u32>,
}

impl Api {
    /// Lists all zones.
    pub(super) async fn zones(&self, operation: Operation) -> Result<Vec<Zone>> {
        let zones: Vec<ShownZone> =
            self.listed(operation, || self.http.get(operation, &["dns", "managed"])).await?;
        Ok(zones.into_iter().filter_map(ShownZone::known).collect())
    }

    /// Reads the zone of exactly this name. [`ErrorKind::NotFound`] if the account has none.
    pub(super) async fn zone_named(&self, operation: Operation, name: &Fqdn) -> Result<Zone> {
        let request = self.http.get(operation, &["dns", "managed", "name"]);
        let response = request.query("domainname", name.as_str()).send().await?;
        let zone = response.json::<ShownZone>()?.known().filter(|zone| zone.name == *name);
        zone.ok_or_else(|| response.unexpected("it answers with another zone"))
    }

    /// Counts the zones and the requests that are left.
    pub(super) async fn overview(&self, operation: Operation) -> Result<Overview> {
        let response = self.http.get(operation, &["dns", "managed"]).send().await?;
        let page: Page<ShownZone> = response.json()?;
        let left = response.header("x-dnsme-requestsRemaining").and_then(|text| text.parse().ok());
        Ok(Overview { zones: page.total_records.max(page.data.len() as u64), requests_left: left })
    }

    /// Lists the records of one name, of one type or of all.
    pub(super) async fn records(
        &self,
        operation: Operation,
        zone: u64,
        name: &str,
        kind: Option<&str>,
    ) -> Result<Vec<Record>> {
        let zone = zone.to_string();
        let make = || {
            let mut request = self.http.get(operation, &["dns", "managed", &zone, "records"]);
            // What an empty name would mean there is not documented.
            if !name.is_empty() {
                request = request.query("recordName", name);
            }
            match kind {
                Some(kind) => request.query("type", kind),
                None => request,
            }
        };
        let mut records: Vec<Record> = self.listed(operation, make).await?;
        records.retain(|record| record.name.eq_ignore_ascii_case(name));
        Ok(records)
    }

    /// Creates one record.
    pub(super) async fn create(&self, zone: u64, new: &NewRecord<'_>) -> Result<Made> {
        let path = ["dns", "managed", &zone.to_string(), "records"];
        let request = self.http.post(Operation::PublishRecord, &path).json(new);
        // Sent again after a lost answer, it would look as if the record had been there before.
        request.replayable(false).send().await?.json()
    }

    /// Deletes one record. [`ErrorKind::NotFound`] if it is gone.
    pub(super) async fn delete(&self, zone: u64, record: u64) -> Result<()> {
        let path = ["dns", "managed", &zone.to_string(), "records", &record.to_string()];
        self.http.delete(Operation::WithdrawRecord, &path).send().await.map(drop)
    }

    async fn listed<T>(
        &self,
        operation: Operation,
        make: impl Fn() -> Request + Send + Sync,
    ) -> Result<Vec<T>>
    where
        T: DeserializeOwned + Send,
    {
        let fetch = |number: Option<u32>| {
            let request = make();
            let request = match number {
                Some(number) => request.query("page", &number.to_string()),
                None => request,
            };
            async move {
                let page: Page<T> = request.send().await?.json()?;
                let next = page.number.saturating_add(1);
                Ok(Paged { items: page.data, next: (next < page.total_pages).then_some(next) })
            }
        };
        self.http.pages(operation).collect(fetch).await
    }
}

/// The body of an error, as far as it is JSON: `{"error":["…"]}`, or with one text in place of the list.
#[derive(Debug, Deserialize)]
struct Fault {
    error: Words,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Words {
    Several(Vec<String>),
    One(String),
}

impl Words {
    fn joined(self) -> String {
        match self {
            Self::Several(words) => words.join("; "),
            Self::One(words) => words,
        }
    }
}

/// Says what an answer means: by its words, and where they tell nothing, by the status.
pub(super) fn refine(answer: &Answer<'_>) -> Option<Refinement> {
    let stated = answer.json::<Fault>().map(|fault| fault.error.joined()).filter(|words| !words.is_empty());
    let is_success = answer.status().is_success();
    // Some bodies look like JSON and are none, such as `{error: ["Rate limit exceeded"]}`.
    let words = match &stated {
        Some(words) => words.as_str(),
        None if is_success => return None,
        None => answer.text(),
    };
    let lower = words.to_ascii_lowercase();
    if lower.contains("rate limit exceeded") {
        let told = answer.header("retry-after").is_some();
        let throttled = Refinement::throttled();
        return Some(if told { throttled } else { throttled.retry_as(Retry::After(PAUSE)) });
    }
    // Neither key nor signature is refused with a status that all sources agree on, nor is the date.
    let refused = matches!(answer.status().as_u16(), 401 | 403)
        || ["api key not found", "out of sync"].iter().any(|words| lower.contains(words));
    if refused {
        return Some(Refinement::new(ErrorKind::Unauthorized));
    }
    let words = VendorText::new(&stated?);
    match answer.status().as_u16() {
        400 if lower.contains("already exists") => Some(Refinement::new(ErrorKind::Conflict(words))),
        400 => Some(Refinement::new(ErrorKind::Rejected(words))),
        // An error whose status says success has to become one.
        _ if is_success => Some(Refinement::new(ErrorKind::Rejected(words))),
        _ => None,
    }
}
