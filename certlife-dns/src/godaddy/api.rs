//! What both of GoDaddy's APIs have in common: domains, records, errors.

use std::time::Duration;

use certlife_core::{
    ErrorKind, Fqdn, Operation, Result, Retry, VendorText,
    dns::RecordData,
    http::{Answer, Refinement, Request, StatusCode},
};
use serde::{Deserialize, Serialize};

use super::{v1, v3};

/// Which API, by the credential.
#[derive(Debug)]
pub(super) enum Api {
    /// Changes sets of records.
    Classic(v1::Api),
    /// Changes records that have ids.
    Token(v3::Api),
}

impl Api {
    /// Lists the active domains of the account.
    pub(super) async fn zones(&self, operation: Operation) -> Result<Vec<Zone>> {
        let domains = match self {
            Self::Classic(api) => api.domains(operation).await?,
            Self::Token(api) => api.domains(operation).await?,
        };
        Ok(domains.into_iter().filter_map(Listed::usable).collect())
    }

    /// Lists the records of one name and type.
    pub(super) async fn records(&self, operation: Operation, set: SetId<'_>) -> Result<Vec<Record>> {
        let mut records = match self {
            Self::Classic(api) => api.records(operation, set).await?,
            Self::Token(api) => api.records(operation, set).await?,
        };
        records.retain(|record| record.is_of(set));
        Ok(records)
    }

    /// Creates a record beside others. Returns its id if it has one. [`ErrorKind::Conflict`] if it, or something
    /// that excludes it, is there.
    pub(super) async fn create(&self, set: SetId<'_>, data: &RecordData, ttl: u32) -> Result<Option<String>> {
        match self {
            Self::Classic(api) => api.append(set, data, ttl).await.map(|()| None),
            Self::Token(api) => api.create(set, data, ttl).await,
        }
    }
}

/// An active domain, which is a zone.
#[derive(Debug, Clone)]
pub(super) struct Zone {
    pub(super) name: Fqdn,
    /// Empty if it was not told.
    pub(super) name_servers: Vec<Fqdn>,
}

impl Zone {
    /// Whether the world is served from other servers than GoDaddy's, as far as was told.
    pub(super) fn is_served_elsewhere(&self) -> bool {
        let own = |server: &Fqdn| server.as_str().ends_with(".domaincontrol.com");
        !self.name_servers.is_empty() && !self.name_servers.iter().any(own)
    }
}

/// A domain as it is listed. The other fields hold contacts and the transfer code, which are left alone.
#[derive(Debug, Deserialize)]
pub(super) struct Listed {
    domain: String,
    #[serde(default)]
    status: String,
    #[serde(default, rename = "nameServers")]
    name_servers: Option<Vec<String>>,
}

impl Listed {
    pub(super) fn name(&self) -> &str {
        &self.domain
    }

    fn usable(self) -> Option<Zone> {
        let servers = self.name_servers.unwrap_or_default();
        let name_servers = servers.iter().filter_map(|server| server.parse().ok()).collect();
        let active = self.status.eq_ignore_ascii_case("ACTIVE");
        active.then_some(Zone { name: self.domain.parse().ok()?, name_servers })
    }
}

/// Which records.
#[derive(Debug, Clone, Copy)]
pub(super) struct SetId<'a> {
    pub(super) zone: &'a Fqdn,
    /// `TXT` or `CNAME`.
    pub(super) kind: &'static str,
    /// The name relative to the zone, `@` at its apex.
    pub(super) name: &'a str,
}

/// A record, as far as it matters here.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    /// Plain text, or an absolute name.
    pub(super) data: String,
    #[serde(rename = "ttl")]
    pub(super) ttl_seconds: u32,
    #[serde(default, rename = "recordId", skip_serializing)]
    pub(super) id: Option<String>,
    #[serde(default, skip_serializing)]
    name: Option<String>,
    #[serde(default, rename = "type", skip_serializing)]
    kind: Option<String>,
}

impl Record {
    /// Whether it is of the set that was asked for, as far as it says: a set is replaced by what is read from it.
    fn is_of(&self, set: SetId<'_>) -> bool {
        let fits = |found: &Option<String>, wanted: &str| {
            found.as_ref().is_none_or(|found| found.eq_ignore_ascii_case(wanted))
        };
        fits(&self.name, set.name) && fits(&self.kind, set.kind)
    }

    /// Whether it means `data`. Targets may have a final dot, and `@` is the apex of the zone.
    pub(super) fn is(&self, data: &RecordData, zone: &Fqdn) -> bool {
        match data {
            RecordData::Txt(value) => self.data == *value,
            RecordData::Cname(target) if self.data == "@" => target == zone,
            RecordData::Cname(target) => self.data.parse::<Fqdn>().is_ok_and(|found| found == *target),
        }
    }
}

/// A new record.
#[derive(Debug, Serialize)]
pub(super) struct NewRecord<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
    pub(super) name: &'a str,
    pub(super) data: String,
    #[serde(rename = "ttl")]
    pub(super) ttl_seconds: u32,
}

/// Lets a request wait for its turn: the limit is by the minute, so that a minute may be what is left to wait.
pub(super) fn patient(request: Request) -> Request {
    request.deadline(Duration::from_secs(90))
}

/// An error: `code` is the classic API's word, `name` the other's.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fault {
    #[serde(alias = "name")]
    code: String,
    message: String,
    #[serde(default)]
    fields: Vec<Detail>,
    #[serde(default)]
    details: Vec<Detail>,
    #[serde(default)]
    retry_after_sec: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Detail {
    #[serde(default, alias = "field")]
    path: String,
    #[serde(default, alias = "description")]
    message: String,
    #[serde(default, alias = "issue")]
    code: String,
}

/// Whether a body says that a set is absent, and not the domain.
pub(super) fn is_absent_set(body: &[u8]) -> bool {
    serde_json::from_slice::<Fault>(body).is_ok_and(|fault| fault.code == "NOT_FOUND")
}

impl Fault {
    fn words(&self) -> VendorText {
        let details = self.fields.iter().chain(&self.details);
        let told = details.map(|Detail { path, message, code }| format!("; {path} {code} {message}"));
        VendorText::from(format!("{}: {}{}", self.code, self.message, told.collect::<String>()))
    }
}

/// Says what an answer means by its code, and where that tells nothing, by the status. `forbidden` is what a 403
/// means.
///
/// <https://developer.godaddy.com/doc/endpoint/domains>
pub(super) fn refine(answer: &Answer<'_>, forbidden: fn(VendorText) -> ErrorKind) -> Option<Refinement> {
    let fault: Fault = answer.json()?;
    let (status, words) = (answer.status(), fault.words());
    // Examples of the newer API have either case.
    let code = fault.code.to_ascii_uppercase();
    Some(match code.as_str() {
        "TOO_MANY_REQUESTS" => throttled(&fault),
        _ if status == StatusCode::TOO_MANY_REQUESTS => throttled(&fault),
        "UNABLE_TO_AUTHENTICATE" => Refinement::new(ErrorKind::Unauthorized),
        "UNKNOWN_DOMAIN" => Refinement::new(ErrorKind::NotFound("the domain".into())),
        "DUPLICATE_RECORD" | "INACTIVE_DOMAIN" | "DNS_RECORD_NOT_MUTABLE" => {
            Refinement::new(ErrorKind::Conflict(words))
        }
        _ if status == StatusCode::FORBIDDEN => Refinement::new(forbidden(words)),
        // The zone is being rebuilt after another change, mostly. Who asks again has to look again first, so
        // that the request itself is never replayed.
        _ if status == StatusCode::CONFLICT => {
            Refinement::new(ErrorKind::Conflict(words)).retry_as(Retry::Backoff)
        }
        // Among these is an error whose status says success.
        _ if matches!(status.as_u16(), 200..=299 | 400 | 422) => Refinement::new(ErrorKind::Rejected(words)),
        _ => return None,
    })
}

fn throttled(fault: &Fault) -> Refinement {
    match fault.retry_after_sec {
        // More than a day is no answer to wait by.
        Some(seconds @ 0..=86_400) => {
            Refinement::throttled().retry_as(Retry::After(Duration::from_secs(seconds)))
        }
        _ => Refinement::throttled(),
    }
}
