//! ClouDNS in its own words: <https://www.cloudns.net/wiki/article/41/>.
//!
//! Every call is a POST, so that the password travels in a form and stays out of addresses and their logs.

use std::{collections::BTreeMap, pin::pin};

use certlife_core::{
    ErrorKind, Fqdn, Operation, Result, Secret, VendorText,
    dns::RecordData,
    http::{Answer, Client, Paged, Refinement, Request, Response},
};
use futures_util::TryStreamExt as _;
use serde::{Deserialize, de::DeserializeOwned};

use crate::txt;

/// The most on a page that the API allows.
const ROWS_A_PAGE: usize = 100;

/// The client, and who it is.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) http: Client,
    pub(super) user: User,
    pub(super) password: Secret,
}

/// Who calls: <https://www.cloudns.net/wiki/article/42/>.
#[derive(Debug)]
pub(super) enum User {
    Main(String),
    Sub(String),
    SubNamed(String),
}

impl User {
    /// The field of the form, and what goes into it.
    pub(super) fn field(&self) -> (&'static str, &str) {
        match self {
            Self::Main(id) => ("auth-id", id),
            Self::Sub(id) => ("sub-auth-id", id),
            Self::SubNamed(name) => ("sub-auth-user", name),
        }
    }
}

/// A number, a truth value or text: the API writes the same thing now in one way, now in another.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Loose {
    Flag(bool),
    Number(u64),
    Text(String),
}

impl Loose {
    fn is_on(&self) -> bool {
        match self {
            Self::Flag(on) => *on,
            Self::Number(number) => *number != 0,
            Self::Text(text) => !matches!(text.as_str(), "" | "0" | "false"),
        }
    }

    /// The id that it is, checked, since ids come back to us in handles.
    fn id(&self) -> Option<String> {
        let text = match self {
            Self::Flag(_) => return None,
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        };
        is_id(&text).then_some(text)
    }
}

pub(super) fn is_id(text: &str) -> bool {
    (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A listing: an object by ids, or an array, such as `[]` when there is nothing.
#[derive(Deserialize)]
#[serde(untagged)]
enum Listing<T> {
    Array(Vec<T>),
    Object(BTreeMap<String, T>),
}

impl<T> Listing<T> {
    fn items(self) -> Vec<T> {
        match self {
            Self::Array(items) => items,
            Self::Object(items) => items.into_values().collect(),
        }
    }
}

/// A zone, as far as it matters here.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Zone {
    /// Not every reverse zone has a name that we could hold.
    name: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    status: Option<Loose>,
    /// The zone that holds the records, in a group of domains with the same ones.
    #[serde(default, rename = "cloud-master")]
    pub(super) cloud_master: Option<Fqdn>,
}

impl Zone {
    fn is_named(&self, name: &Fqdn) -> bool {
        self.name.parse::<Fqdn>().is_ok_and(|found| found == *name)
    }

    /// Whether it takes changes: not a copy of another primary, not a page that a registrar parked.
    pub(super) fn takes_changes(&self) -> bool {
        !matches!(self.kind.as_str(), "slave" | "parked")
    }

    /// Whether the world is served from it now.
    pub(super) fn is_active(&self) -> bool {
        self.status.as_ref().is_none_or(Loose::is_on)
    }

    pub(super) fn is_cloud(&self) -> bool {
        self.kind == "cloud"
    }
}

/// Where records are: the zone that holds them, and the host in it, which is empty at the apex.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) zone: Fqdn,
    pub(super) host: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Record {
    id: Loose,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    host: String,
    /// Types that are of no interest here have other fields.
    #[serde(default, rename = "record")]
    content: Option<String>,
    #[serde(default)]
    status: Option<Loose>,
}

impl Record {
    pub(super) fn id(&self) -> Option<String> {
        self.id.id()
    }

    fn is_served_at(&self, host: &str) -> bool {
        let found = if self.host == "@" { "" } else { &self.host };
        found.eq_ignore_ascii_case(host) && self.status.as_ref().is_none_or(Loose::is_on)
    }

    /// Whether it means `data`. Long values may be shown as quoted strings, targets with a final dot.
    pub(super) fn is(&self, data: &RecordData) -> bool {
        let Some(content) = &self.content else { return false };
        self.kind.eq_ignore_ascii_case(data.type_name())
            && match data {
                RecordData::Txt(value) => txt::unquoted(content) == *value,
                RecordData::Cname(target) => content.parse::<Fqdn>().is_ok_and(|found| found == *target),
            }
    }

    /// Whether `data` cannot stand beside it: a name that has a CNAME has nothing else (RFC 1034 §3.6.2).
    pub(super) fn excludes(&self, data: &RecordData) -> bool {
        matches!(data, RecordData::Cname(_)) || self.kind.eq_ignore_ascii_case("CNAME")
    }
}

impl Api {
    /// Tests the credential.
    ///
    /// The documentation has it at `/login/login.json`; here it answers too, as acme.sh shows.
    pub(super) async fn log_in(&self) -> Result<()> {
        let response = self.call(Operation::Probe, "login").replayable(true).send().await?;
        succeeded(&response).map(drop)
    }

    /// Finds the zone of exactly this name, on whatever page of those that contain it.
    ///
    /// <https://www.cloudns.net/wiki/article/50/>
    pub(super) async fn zone_named(&self, operation: Operation, name: &Fqdn) -> Result<Option<Zone>> {
        let page = |page: Option<u32>| async move {
            let request = self.call(operation, "list-zones").form(&[("search", name.as_str())]);
            listed(request, page).await
        };
        let mut zones = pin!(self.http.pages(operation).stream(page));
        while let Some(zone) = zones.try_next().await? {
            let zone: Zone = zone;
            if zone.is_named(name) {
                return Ok(Some(zone));
            }
        }
        Ok(None)
    }

    /// Lists the zones on the first page, and says whether there are more.
    pub(super) async fn some_zones(&self) -> Result<(usize, bool)> {
        let page: Paged<Zone, u32> = listed(self.call(Operation::Probe, "list-zones"), None).await?;
        Ok((page.items.len(), page.next.is_some()))
    }

    /// Reads one zone. [`ErrorKind::ZoneNotFound`] if the user does not see it.
    ///
    /// <https://www.cloudns.net/wiki/article/134/>
    pub(super) async fn zone(&self, operation: Operation, name: &Fqdn) -> Result<Zone> {
        self.call_about(operation, "get-zone-info", name, name).replayable(true).send().await?.json()
    }

    /// Lists the records of every type that are served at a place. `name` is for the error if its zone is gone.
    ///
    /// <https://www.cloudns.net/wiki/article/57/>
    pub(super) async fn records(
        &self,
        operation: Operation,
        name: &Fqdn,
        place: &Place,
    ) -> Result<Vec<Record>> {
        let page = |page: Option<u32>| async move {
            let request = self.call_about(operation, "records", name, &place.zone);
            // Whether an empty host means the apex or every host is not documented.
            listed(request.form(&[("host", &place.host)]), page).await
        };
        let mut records: Vec<Record> = self.http.pages(operation).collect(page).await?;
        records.retain(|record| record.is_served_at(&place.host));
        Ok(records)
    }

    /// Adds one record and returns its id, if the answer has it.
    ///
    /// <https://www.cloudns.net/wiki/article/58/>
    pub(super) async fn add_record(
        &self,
        name: &Fqdn,
        place: &Place,
        data: &RecordData,
        ttl_seconds: u32,
    ) -> Result<Option<String>> {
        let content = match data {
            RecordData::Txt(value) => value.as_str(),
            RecordData::Cname(target) => target.as_str(),
        };
        let request = self.call_about(Operation::PublishRecord, "add-record", name, &place.zone).form(&[
            ("record-type", data.type_name()),
            ("host", &place.host),
            ("record", content),
            ("ttl", &ttl_seconds.to_string()),
        ]);
        // Sent again after a lost answer, it might make a second record.
        let response = request.replayable(false).send().await?;
        let made = succeeded(&response)?;
        let id = made.data.get("id").and_then(|id| Loose::deserialize(id).ok());
        Ok(id.and_then(|id| id.id()))
    }

    /// Deletes one record. [`ErrorKind::NotFound`] if it is gone.
    ///
    /// <https://www.cloudns.net/wiki/article/59/>
    pub(super) async fn delete_record(&self, name: &Fqdn, zone: &Fqdn, id: &str) -> Result<()> {
        let request = self.call_about(Operation::WithdrawRecord, "delete-record", name, zone);
        let response = request.form(&[("record-id", id)]).replayable(true).send().await?;
        succeeded(&response).map(drop)
    }

    /// Counts the name servers of a zone that have its latest version, and those that do not. (`is-updated`
    /// sums that up, but is not documented for sub-users.)
    ///
    /// <https://www.cloudns.net/wiki/article/53/>
    pub(super) async fn update_status(&self, name: &Fqdn, zone: &Fqdn) -> Result<(usize, usize)> {
        #[derive(Deserialize)]
        struct Server {
            updated: Loose,
        }
        let request = self.call_about(Operation::AskDistribution, "update-status", name, zone);
        let servers: Listing<Server> = request.replayable(true).send().await?.json()?;
        let (updated, behind): (Vec<_>, Vec<_>) =
            servers.items().into_iter().partition(|server| server.updated.is_on());
        Ok((updated.len(), behind.len()))
    }

    fn call(&self, operation: Operation, function: &str) -> Request {
        let request = self.http.post(operation, &["dns", &format!("{function}.json")]);
        request.form(&[self.user.field()]).secret_form("auth-password", &self.password)
    }

    /// Starts a call about a zone, which fails with [`ErrorKind::ZoneNotFound`] of `name` if there is none.
    fn call_about(&self, operation: Operation, function: &str, name: &Fqdn, zone: &Fqdn) -> Request {
        let name = name.clone();
        let missing = move |answer: &Answer<'_>| {
            let words = failure(answer)?;
            // Said of a zone that the user does not see, although the field was sent.
            let missing = says(&words, "missing domain-name");
            missing.then(|| Refinement::new(ErrorKind::ZoneNotFound(name.clone())))
        };
        self.call(operation, function).form(&[("domain-name", zone.as_str())]).refine(missing)
    }
}

/// What a change answers.
#[derive(Deserialize)]
struct Outcome {
    status: String,
    #[serde(default)]
    data: serde_json::Value,
}

fn succeeded(response: &Response) -> Result<Outcome> {
    let outcome: Outcome = response.json()?;
    if outcome.status.eq_ignore_ascii_case("success") {
        Ok(outcome)
    } else {
        Err(response.unexpected("the answer says neither `Success` nor `Failed`"))
    }
}

/// Reads one page, and takes the listing to go on while pages are full, since none says so.
async fn listed<T: DeserializeOwned>(request: Request, page: Option<u32>) -> Result<Paged<T, u32>> {
    let page = page.unwrap_or(1);
    let request = request.form(&[("page", &page.to_string()), ("rows-per-page", &ROWS_A_PAGE.to_string())]);
    let listing: Listing<T> = request.replayable(true).send().await?.json()?;
    let items = listing.items();
    let next = (items.len() >= ROWS_A_PAGE).then_some(page + 1);
    Ok(Paged { items, next })
}

/// Returns the words of an answer that is a failure, which its status does not tell.
fn failure(answer: &Answer<'_>) -> Option<VendorText> {
    #[derive(Deserialize)]
    struct Failure {
        status: String,
        #[serde(default, rename = "statusDescription")]
        description: String,
    }
    let Failure { status, description } = answer.json()?;
    status.eq_ignore_ascii_case("failed").then(|| description.into())
}

fn says(words: &VendorText, phrase: &str) -> bool {
    words.as_str().to_ascii_lowercase().contains(phrase)
}

/// Says what an answer means: its words decide, since there are no codes.
pub(super) fn refine(answer: &Answer<'_>) -> Option<Refinement> {
    let words = failure(answer)?;
    // An error whose status says success has to become one.
    meaning(&words)
        .or_else(|| answer.status().is_success().then(|| Refinement::new(ErrorKind::Rejected(words))))
}

fn meaning(words: &VendorText) -> Option<Refinement> {
    let says = |phrase| says(words, phrase);
    // Documented with every call.
    if says("invalid authentication") {
        return Some(Refinement::new(ErrorKind::Unauthorized));
    }
    if says("invalid record-id") {
        return Some(Refinement::new(ErrorKind::NotFound("the record".into())));
    }
    // <https://github.com/acmesh-official/acme.sh/issues/6520>
    if says("access to the http api") {
        return Some(Refinement::new(ErrorKind::NotEligible(words.clone())));
    }
    // The rest is not documented; it is what such a failure would have to say.
    if says("too many requests") || says("rate limit") {
        return Some(Refinement::throttled());
    }
    let kind = if says("permission") || says("access denied") {
        ErrorKind::Forbidden
    } else if says("reached") && (says("limit") || says("maximum")) {
        ErrorKind::QuotaExceeded
    } else if says("already exist") {
        ErrorKind::Conflict
    } else {
        return None;
    };
    Some(Refinement::new(kind(words.clone())))
}
