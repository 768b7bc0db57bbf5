//! Route 53 and STS in their own words: <https://docs.aws.amazon.com/Route53/latest/APIReference/>.

use certlife_core::{
    ErrorKind, Fqdn, Operation, Result, VendorText,
    http::{Answer, Client, Method, Paged, Refinement, Request, Response},
};
use serde::{Deserialize, de::DeserializeOwned};
use url::Url;

use super::{
    credentials::Source,
    set::{Batch, RecordSet},
};

const VERSION: &str = "2013-04-01";
pub(super) const STS_VERSION: &str = "2011-06-15";
/// The most zones on a page that the API allows.
const ZONES_A_PAGE: &str = "100";

/// The clients, which send with the same credentials.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) http: Client,
    pub(super) base_url: Url,
    pub(super) sts: Client,
    pub(super) source: Source,
}

/// A hosted zone, as far as it matters here.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HostedZone {
    id: String,
    name: String,
    #[serde(default)]
    config: ZoneConfig,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ZoneConfig {
    #[serde(default)]
    private_zone: bool,
}

impl HostedZone {
    /// The bare id, if it is one: it becomes part of a path.
    pub(super) fn id(&self) -> Option<&str> {
        bare_id(&self.id)
    }

    /// The apex. None for a name with escapes, which is never that of a certificate.
    pub(super) fn name(&self) -> Option<Fqdn> {
        self.name.parse().ok()
    }

    /// Whether only certain networks are served from it.
    pub(super) fn is_private(&self) -> bool {
        self.config.private_zone
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ZonePage {
    #[serde(default)]
    hosted_zones: HostedZones,
    #[serde(default)]
    is_truncated: bool,
    #[serde(rename = "NextDNSName")]
    next_dns_name: Option<String>,
    next_hosted_zone_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct HostedZones {
    #[serde(rename = "HostedZone", default)]
    list: Vec<HostedZone>,
}

/// A hosted zone with the servers that were assigned to it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ZoneDetails {
    pub(super) hosted_zone: HostedZone,
    /// Private zones have none.
    #[serde(default)]
    delegation_set: DelegationSet,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DelegationSet {
    #[serde(default)]
    name_servers: NameServers,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct NameServers {
    #[serde(rename = "NameServer", default)]
    list: Vec<String>,
}

impl ZoneDetails {
    pub(super) fn name_servers(&self) -> Vec<Fqdn> {
        self.delegation_set.name_servers.list.iter().filter_map(|server| server.parse().ok()).collect()
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SetPage {
    #[serde(default)]
    resource_record_sets: RecordSets,
}

#[derive(Debug, Default, Deserialize)]
struct RecordSets {
    #[serde(rename = "ResourceRecordSet", default)]
    list: Vec<RecordSet>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ChangeAnswer {
    change_info: ChangeInfo,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ChangeInfo {
    id: String,
    status: String,
}

/// Who the credentials belong to.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Caller {
    pub(super) arn: String,
    pub(super) account: String,
}

#[derive(Debug, Deserialize)]
struct CallerAnswer {
    #[serde(rename = "GetCallerIdentityResult")]
    caller: Caller,
}

impl Api {
    /// Lists the zones at and below `base`.
    ///
    /// The API lists zones by name with the labels reversed, so that these stand together, those at `base` first.
    ///
    /// <https://docs.aws.amazon.com/Route53/latest/APIReference/API_ListHostedZonesByName.html>
    pub(super) async fn zones_below(&self, operation: Operation, base: &Fqdn) -> Result<Vec<HostedZone>> {
        let fetch = |from: Option<(String, String)>| async move {
            let (name, id) = from.unwrap_or_else(|| (format!("{base}."), String::new()));
            let mut page = self.zone_page(operation, &name, &id).await?;
            let outside = |zone: &HostedZone| zone.name().is_some_and(|name: Fqdn| !name.is_within(base));
            let leaves = page.hosted_zones.list.iter().any(outside);
            let next = page.next_dns_name.take().zip(page.next_hosted_zone_id.take());
            Ok(Paged { items: page.hosted_zones.list, next: next.filter(|_| page.is_truncated && !leaves) })
        };
        let mut zones = self.http.pages(operation).collect(fetch).await?;
        zones.retain(|zone| zone.name().is_some_and(|name| name.is_within(base)));
        Ok(zones)
    }

    /// Lists the first zones of the account.
    pub(super) async fn some_zones(&self, operation: Operation) -> Result<Vec<HostedZone>> {
        Ok(self.zone_page(operation, "", "").await?.hosted_zones.list)
    }

    async fn zone_page(&self, operation: Operation, name: &str, id: &str) -> Result<ZonePage> {
        let make = || {
            let mut request = self.http.get(operation, &[VERSION, "hostedzonesbyname"]);
            for (key, value) in [("dnsname", name), ("hostedzoneid", id)] {
                if !value.is_empty() {
                    request = request.query(key, value);
                }
            }
            request.query("maxitems", ZONES_A_PAGE)
        };
        parsed(&self.send(make).await?)
    }

    /// Reads one zone.
    ///
    /// <https://docs.aws.amazon.com/Route53/latest/APIReference/API_GetHostedZone.html>
    pub(super) async fn zone(&self, operation: Operation, id: &str) -> Result<ZoneDetails> {
        let make = || self.http.get(operation, &[VERSION, "hostedzone", id]);
        parsed(&self.send(make).await?)
    }

    /// Reads the set of a name and type; if it is split up for routing, one of them.
    ///
    /// <https://docs.aws.amazon.com/Route53/latest/APIReference/API_ListResourceRecordSets.html>
    pub(super) async fn record_set(
        &self,
        operation: Operation,
        zone: &str,
        name: &Fqdn,
        kind: &str,
    ) -> Result<Option<RecordSet>> {
        let start = format!("{name}.");
        let make = || {
            let request = self.http.get(operation, &[VERSION, "hostedzone", zone, "rrset"]);
            request.query("name", &start).query("type", kind).query("maxitems", "1")
        };
        let page: SetPage = parsed(&self.send(make).await?)?;
        // What was asked for is where the listing starts, not what it is limited to.
        Ok(page.resource_record_sets.list.into_iter().find(|set| set.is_of(name, kind)))
    }

    /// Replaces one set by another, if it is exactly as stated. Returns the id of the change.
    ///
    /// [`ErrorKind::RevisionConflict`] if it is not, and nothing was changed. A batch is carried out as a whole
    /// or not at all, and a deletion has to state TTL and values as they are.
    ///
    /// <https://docs.aws.amazon.com/Route53/latest/APIReference/API_ChangeResourceRecordSets.html>
    pub(super) async fn replace(
        &self,
        operation: Operation,
        zone: &str,
        old: Option<&RecordSet>,
        new: Option<&RecordSet>,
    ) -> Result<Option<String>> {
        let body = Batch::new(old, new).to_xml(operation)?;
        let mut url = self.base_url.clone();
        // The documented path ends in a slash.
        let path = format!("{}/{VERSION}/hostedzone/{zone}/rrset/", url.path().trim_end_matches('/'));
        url.set_path(&path);
        // Sent again after a lost answer, it would look as if the value had been there before.
        let make = || {
            let request = self.http.absolute(Method::POST, operation, &url);
            request.body(body.clone(), "text/xml").replayable(false)
        };
        let answer: ChangeAnswer = parsed(&self.send(make).await?)?;
        Ok(bare_id(&answer.change_info.id).map(str::to_owned))
    }

    /// Asks whether a change has reached all servers.
    ///
    /// <https://docs.aws.amazon.com/Route53/latest/APIReference/API_GetChange.html>
    pub(super) async fn is_in_sync(&self, operation: Operation, change: &str) -> Result<bool> {
        let make = || self.http.get(operation, &[VERSION, "change", change]);
        let answer: ChangeAnswer = parsed(&self.send(make).await?)?;
        Ok(answer.change_info.status == "INSYNC")
    }

    /// Asks whose the credentials are. Needs no right.
    ///
    /// <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>
    pub(super) async fn caller(&self, operation: Operation) -> Result<Caller> {
        let make = || {
            let form = [("Action", "GetCallerIdentity"), ("Version", STS_VERSION)];
            self.sts.post(operation, &[]).form(&form).replayable(true)
        };
        let answer: CallerAnswer = parsed(&self.send(make).await?)?;
        Ok(answer.caller)
    }

    /// Sends a request, and once more with new keys if those of a role were refused: they may end early.
    async fn send(&self, make: impl Fn() -> Request + Send + Sync) -> Result<Response> {
        let Source::Role(role) = &self.source else { return make().send().await };
        let used = role.token().await?;
        match make().send().await {
            Err(error) if *error.kind() == ErrorKind::Unauthorized => {
                role.invalidate(&used).await;
                make().send().await
            }
            outcome => outcome,
        }
    }
}

/// Reads the XML of an answer. The error does not quote it: it may hold keys.
pub(super) fn parsed<T: DeserializeOwned>(response: &Response) -> Result<T> {
    let text = response.text()?;
    quick_xml::de::from_str(text)
        .map_err(|_| response.unexpected("the XML does not have the elements that it should"))
}

/// An id without the kind in front of it, `/hostedzone/` or `/change/`; none if it is not an id.
pub(super) fn bare_id(text: &str) -> Option<&str> {
    let id = text.rsplit('/').next().unwrap_or_default();
    ((1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(id)
}

/// The two forms of an error: with a code, and that of a batch, which has messages alone.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Faults {
    error: Option<Fault>,
    messages: Option<Messages>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Fault {
    code: String,
    #[serde(default)]
    message: String,
}

#[derive(Debug, Deserialize)]
struct Messages {
    #[serde(rename = "Message", default)]
    list: Vec<String>,
}

/// Says what an answer means: by its code, and where that tells nothing, by the status.
pub(super) fn refine(answer: &Answer<'_>) -> Option<Refinement> {
    let faults: Faults = quick_xml::de::from_str(answer.text()).ok()?;
    let Fault { code, message } = match (faults.error, faults.messages) {
        (Some(fault), _) => fault,
        (None, Some(messages)) => {
            Fault { code: "InvalidChangeBatch".into(), message: messages.list.join("; ") }
        }
        (None, None) => return None,
    };
    let words = VendorText::from(format!("{message} ({code})"));
    // An error whose status says success has to become one.
    let unknown = || answer.status().is_success().then(|| ErrorKind::Rejected(words.clone()));
    meaning(&code, &message, &words).or_else(unknown).map(Refinement::new)
}

/// <https://docs.aws.amazon.com/Route53/latest/APIReference/CommonErrors.html>, the pages of the calls, and what
/// is seen in the field.
fn meaning(code: &str, message: &str, words: &VendorText) -> Option<ErrorKind> {
    let words = words.clone();
    Some(match code {
        "InvalidChangeBatch" => batch_meaning(message, words),
        // Changes to a zone are carried out one after the other.
        "PriorRequestNotComplete" | "Throttling" | "ThrottlingException" | "RequestLimitExceeded" => {
            ErrorKind::RateLimited
        }
        "AccessDenied" | "AccessDeniedException" => ErrorKind::Forbidden(words),
        "InvalidClientTokenId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "UnrecognizedClientException" => ErrorKind::Unauthorized,
        "OptInRequired" => ErrorKind::NotEligible(words),
        "NoSuchHostedZone" => ErrorKind::NotFound("the zone".into()),
        "NoSuchChange" => ErrorKind::NotFound("the change".into()),
        "LimitsExceeded" => ErrorKind::QuotaExceeded(words),
        "ServiceUnavailable" | "InternalFailure" | "InternalError" => ErrorKind::Unavailable,
        _ => return None,
    })
}

/// Most are told apart by words alone. A CNAME in the way "already exists" too, so it comes first.
fn batch_meaning(message: &str, words: VendorText) -> ErrorKind {
    let says = |part: &str| message.contains(part);
    if says("conflict") {
        ErrorKind::Conflict(words)
    } else if says("already exists")
        || says("not found")
        || says("do not match the current values")
        // By other sets of that name and type, which are split up for routing.
        || says("cannot be created")
    {
        ErrorKind::RevisionConflict
    } else {
        ErrorKind::Rejected(words)
    }
}
