//! Cloudflare in its own words: <https://developers.cloudflare.com/api/resources/dns/>.

use certlife_core::{
    ErrorKind, Fqdn, Operation, Result, VendorText,
    dns::RecordData,
    http::{Answer, Client, Paged, Refinement},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::txt;

/// The most zones on a page that the API allows.
const ZONES_A_PAGE: &str = "50";
/// The fewest.
const FEW_ZONES: &str = "5";
const RECORDS_A_PAGE: &str = "100";

/// One client a right, which are mostly the same.
#[derive(Debug)]
pub(super) struct Api {
    /// Reads zones.
    pub(super) zones: Client,
    /// Edits records.
    pub(super) records: Client,
}

/// The envelope of every answer.
#[derive(Debug, Deserialize)]
struct Envelope<T> {
    success: bool,
    #[serde(default = "Vec::new")]
    errors: Vec<Fault>,
    #[serde(default = "none")]
    result: Option<T>,
    #[serde(default)]
    result_info: Option<ResultInfo>,
}

fn none<T>() -> Option<T> {
    None
}

#[derive(Debug, Deserialize)]
struct ResultInfo {
    page: u32,
    total_pages: u32,
    #[serde(default)]
    total_count: u64,
}

#[derive(Debug, Deserialize)]
struct Fault {
    code: u32,
    #[serde(default)]
    message: String,
    #[serde(default)]
    error_chain: Vec<Fault>,
}

/// A zone, as far as it matters here.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Zone {
    pub(super) id: String,
    pub(super) name: Fqdn,
    #[serde(default)]
    pub(super) status: String,
    #[serde(default, rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) name_servers: Vec<String>,
}

impl Zone {
    /// Whether it is served to the world and takes changes: not Internal DNS, not a copy of another primary.
    pub(super) fn is_public(&self) -> bool {
        !matches!(self.kind.as_str(), "internal" | "secondary")
    }

    /// Whether the world is served from it now.
    pub(super) fn is_active(&self) -> bool {
        self.status == "active"
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) content: String,
}

impl Record {
    /// Whether its content means `data`. Older records may be unquoted, targets may have a final dot.
    pub(super) fn is(&self, data: &RecordData) -> bool {
        match data {
            RecordData::Txt(value) => txt::unquoted(&self.content) == *value,
            RecordData::Cname(target) => self.content.parse::<Fqdn>().is_ok_and(|found| found == *target),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct NewRecord<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    name: &'a str,
    content: String,
    #[serde(rename = "ttl")]
    ttl_seconds: u32,
    /// Proxied, a CNAME would be answered with addresses.
    proxied: bool,
}

impl<'a> NewRecord<'a> {
    pub(super) fn new(name: &'a Fqdn, data: &'a RecordData, ttl_seconds: u32) -> Self {
        let content = match data {
            RecordData::Txt(value) => txt::quoted(value),
            RecordData::Cname(target) => target.to_string(),
        };
        Self { kind: data.type_name(), name: name.as_str(), content, ttl_seconds, proxied: false }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Token {
    pub(super) id: String,
    pub(super) status: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct User {
    pub(super) email: String,
}

impl Api {
    /// Lists the zones of exactly this name, of all accounts that the credential sees or of one.
    ///
    /// <https://developers.cloudflare.com/api/resources/zones/methods/list/>
    pub(super) async fn zones_named(
        &self,
        operation: Operation,
        name: &Fqdn,
        account: Option<&str>,
    ) -> Result<Vec<Zone>> {
        let page = |page: Option<u32>| async move {
            let mut request = self.zones.get(operation, &["zones"]);
            request = request.query("name", name.as_str()).query("per_page", ZONES_A_PAGE);
            if let Some(account) = account {
                request = request.query("account.id", account);
            }
            listed(request.query("page", &page.unwrap_or(1).to_string())).await
        };
        self.zones.pages(operation).limit(20).collect(page).await
    }

    /// Lists the first zones that the credential sees, and tells how many there are.
    pub(super) async fn first_zones(
        &self,
        operation: Operation,
        account: Option<&str>,
    ) -> Result<(Vec<Zone>, u64)> {
        let mut request = self.zones.get(operation, &["zones"]).query("per_page", FEW_ZONES);
        if let Some(account) = account {
            request = request.query("account.id", account);
        }
        let response = request.send().await?;
        let envelope: Envelope<Vec<Zone>> = response.json()?;
        let zones = envelope.result.ok_or_else(|| response.unexpected("the answer has no `result`"))?;
        Ok((zones, envelope.result_info.map_or(0, |info| info.total_count)))
    }

    /// Reads one zone.
    ///
    /// <https://developers.cloudflare.com/api/resources/zones/methods/get/>
    pub(super) async fn zone(&self, operation: Operation, id: &str) -> Result<Zone> {
        one(self.zones.get(operation, &["zones", id])).await
    }

    /// Lists the records of one name and type.
    ///
    /// <https://developers.cloudflare.com/api/resources/dns/subresources/records/methods/list/>
    pub(super) async fn records(
        &self,
        operation: Operation,
        zone: &str,
        name: &Fqdn,
        kind: &str,
    ) -> Result<Vec<Record>> {
        let page = |page: Option<u32>| async move {
            let request = self.records.get(operation, &["zones", zone, "dns_records"]);
            let request = request.query("type", kind).query("name", name.as_str());
            let request = request.query("per_page", RECORDS_A_PAGE);
            listed(request.query("page", &page.unwrap_or(1).to_string())).await
        };
        self.records.pages(operation).collect(page).await
    }

    /// Creates one record. [`ErrorKind::Conflict`] if it, or something that excludes it, is there.
    ///
    /// <https://developers.cloudflare.com/api/resources/dns/subresources/records/methods/create/>
    pub(super) async fn create(&self, zone: &str, new: &NewRecord<'_>) -> Result<Record> {
        let request = self.records.post(Operation::PublishRecord, &["zones", zone, "dns_records"]);
        // Sent again after a lost answer, it would look as if the record had been there before.
        one(request.json(new).replayable(false)).await
    }

    /// Deletes one record. [`ErrorKind::NotFound`] if it is gone.
    ///
    /// <https://developers.cloudflare.com/api/resources/dns/subresources/records/methods/delete/>
    pub(super) async fn delete(&self, operation: Operation, zone: &str, record: &str) -> Result<()> {
        let path = ["zones", zone, "dns_records", record];
        self.records.delete(operation, &path).send().await.map(drop)
    }

    /// Asks what a token of a user is worth.
    ///
    /// <https://developers.cloudflare.com/api/resources/user/subresources/tokens/methods/verify/>
    pub(super) async fn verify_user_token(client: &Client) -> Result<Token> {
        one(client.get(Operation::Probe, &["user", "tokens", "verify"])).await
    }

    /// Asks what a token of an account is worth.
    ///
    /// <https://developers.cloudflare.com/api/resources/accounts/subresources/tokens/methods/verify/>
    pub(super) async fn verify_account_token(client: &Client, account: &str) -> Result<Token> {
        one(client.get(Operation::Probe, &["accounts", account, "tokens", "verify"])).await
    }

    /// Asks whose the Global API Key is.
    ///
    /// <https://developers.cloudflare.com/api/resources/user/methods/get/>
    pub(super) async fn user(&self) -> Result<User> {
        one(self.records.get(Operation::Probe, &["user"])).await
    }
}

async fn one<T: DeserializeOwned>(request: certlife_core::http::Request) -> Result<T> {
    let response = request.send().await?;
    let envelope: Envelope<T> = response.json()?;
    envelope.result.ok_or_else(|| response.unexpected("the answer has no `result`"))
}

async fn listed<T: DeserializeOwned>(request: certlife_core::http::Request) -> Result<Paged<T, u32>> {
    let response = request.send().await?;
    let envelope: Envelope<Vec<T>> = response.json()?;
    let items = envelope.result.ok_or_else(|| response.unexpected("the answer has no `result`"))?;
    let more = envelope.result_info.filter(|info| info.page < info.total_pages);
    Ok(Paged { items, next: more.map(|info| info.page + 1) })
}

/// Says what an answer means: `success` decides, then the codes, the inner ones of a chain first, and where
/// they tell nothing, the status.
pub(super) fn refine(answer: &Answer<'_>) -> Option<Refinement> {
    let envelope: Envelope<serde_json::Value> = answer.json()?;
    if envelope.success {
        return None;
    }
    let mut faults = Vec::new();
    flatten(&envelope.errors, &mut faults);
    let words: Vec<String> =
        faults.iter().map(|fault| format!("{} ({})", fault.message, fault.code)).collect();
    let words = VendorText::from(words.join("; "));
    let known = faults.iter().rev().find_map(|fault| meaning(fault, &words));
    // An error whose status says success has to become one.
    known.or_else(|| answer.status().is_success().then(|| Refinement::new(ErrorKind::Rejected(words))))
}

fn flatten<'a>(faults: &'a [Fault], all: &mut Vec<&'a Fault>) {
    // As deep as the JSON parser lets it be.
    for fault in faults {
        all.push(fault);
        flatten(&fault.error_chain, all);
    }
}

/// <https://developers.cloudflare.com/support/troubleshooting/http-status-codes/> and what is seen in the field.
fn meaning(fault: &Fault, words: &VendorText) -> Option<Refinement> {
    let words = words.clone();
    Some(match fault.code {
        // One code for a token that may not and, below, for one that is not valid; only the words differ.
        9109 if fault.message.contains("access requested resource") => {
            Refinement::new(ErrorKind::Forbidden(words))
        }
        // Malformed headers, unknown e-mail address or key, and that token.
        6003 | 6103 | 6111 | 9103 | 9109 => Refinement::new(ErrorKind::Unauthorized),
        10000 | 1009 => Refinement::new(ErrorKind::Forbidden(words)),
        // No route to a zone or record of that id.
        7000 | 7003 | 1001 => Refinement::new(ErrorKind::NotFound("the zone".into())),
        81044 => Refinement::new(ErrorKind::NotFound("the record".into())),
        81053 | 81054 | 81057 | 81058 => Refinement::new(ErrorKind::Conflict(words)),
        1004 | 9000..=9102 => Refinement::new(ErrorKind::Rejected(words)),
        10100 => Refinement::throttled(),
        10013 => Refinement::new(ErrorKind::Unavailable),
        _ => return None,
    })
}
