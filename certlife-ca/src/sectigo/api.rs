//! One function an endpoint: Sectigo's SCM REST reference, releases 25.4 to 25.9
//! (<https://docs.sectigo.com/scm/scm-rest-api>).

use std::time::Duration;

use certlife_core::{
    Error, ErrorKind, Operation, Result,
    http::{Client, Paged, Request, Response},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use super::{
    NAME, fault,
    wire::{
        CustomField, Dcv, Details, Domain, DomainState, Enrolled, Entry, FieldValue, OrderDcv, OrderDcvs,
        Organization, PasswordState, Profile, Validation,
    },
};

/// The most entries that a page of any listing may have.
pub(super) const PAGE: usize = 200;
const PAGE_TEXT: &str = "200";
/// Enrolling is slow: the client of Duke University had to wait up to five minutes.
const SLOW: Duration = Duration::from_mins(5);

#[derive(Debug)]
pub(super) struct Api {
    pub(super) http: Client,
    /// Whether this is the newer host, which wants other versions of some paths.
    pub(super) oauth: bool,
}

/// What enrolment sends.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Enrolment<'a> {
    pub(super) org_id: u64,
    pub(super) csr: String,
    pub(super) cert_type: u64,
    #[serde(rename = "term")]
    pub(super) term_days: u64,
    /// One text, joined by commas; a list is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subj_alt_names: Option<String>,
    #[serde(flatten)]
    pub(super) notes: Notes,
    #[serde(flatten)]
    pub(super) dcv: Option<Proofs<'a>>,
}

/// What people read of a record.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Notes {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) comments: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) external_requester: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) custom_fields: Vec<FieldValue>,
}

/// How the domains of an order are to be validated, where that happens with the order.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Proofs<'a> {
    pub(super) dcv_mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dcv_email: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct Renewal<'a> {
    pub(super) csr: String,
    #[serde(flatten)]
    pub(super) dcv: Option<Proofs<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Replacement<'a> {
    pub(super) csr: String,
    pub(super) reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) common_name: Option<String>,
    /// A list here, although enrolment wants a text.
    pub(super) subject_alternative_names: Vec<String>,
    #[serde(flatten)]
    pub(super) dcv: Option<Proofs<'a>>,
}

/// Part of the listing of records.
pub(super) struct Listed {
    pub(super) entries: Vec<Entry>,
    /// How many match, if the answer says so.
    pub(super) total: Option<usize>,
}

// ---- SSL records ----

impl Api {
    /// Enrols for a certificate and returns the id of the record. An answer that cannot be read leaves open whether
    /// there is one.
    pub(super) async fn enroll(&self, body: &Enrolment<'_>) -> Result<u64> {
        let response = self.paid(&["ssl", "v1", "enroll"]).json(body).send().await?;
        ssl_id(&response)?.ok_or_else(|| uncertain(response.unexpected("the answer has no `sslId`")))
    }

    /// Renews a record and returns the id of the new one; none if the answer is empty, as from older releases.
    pub(super) async fn renew(&self, id: u64, body: &Renewal<'_>) -> Result<Option<u64>> {
        let request = self.paid(&["ssl", "v1", "renewById", &id.to_string()]);
        let response = request.json(body).send().await?;
        if response.bytes().trim_ascii().is_empty() { Ok(None) } else { ssl_id(&response) }
    }

    /// Replaces the certificate of a record.
    pub(super) async fn replace(&self, id: u64, body: &Replacement<'_>) -> Result<()> {
        self.paid(&["ssl", "v1", "replace", &id.to_string()]).json(body).send().await.map(drop)
    }

    /// Changes what people read of a record.
    pub(super) async fn update(&self, id: u64, notes: &Notes) -> Result<()> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Update<'a> {
            ssl_id: u64,
            #[serde(flatten)]
            notes: &'a Notes,
        }
        let request = self.http.put(Operation::PlaceOrder, &["ssl", "v1"]);
        request.json(&Update { ssl_id: id, notes }).send().await.map(drop)
    }

    pub(super) async fn details(&self, operation: Operation, id: u64) -> Result<Details> {
        let response = self.http.get(operation, &["ssl", "v1", &id.to_string()]).send().await?;
        let details: Details = response.json()?;
        let told = details.id.or(details.ssl_id);
        if told.is_some_and(|told| u64::try_from(told) != Ok(id)) {
            return Err(response.unexpected("the details of another order came"));
        }
        if details.status.is_none() {
            return Err(response.unexpected("the details have no `status`"));
        }
        Ok(details)
    }

    /// Lists records from the `position`-th on that match the filter.
    pub(super) async fn list(
        &self,
        operation: Operation,
        filter: &[(&str, &str)],
        position: usize,
        size: usize,
    ) -> Result<Listed> {
        let request = self.http.get(operation, &["ssl", "v1"]);
        let request = filter.iter().fold(request, |request, (name, value)| request.query(name, value));
        let request = request.query("size", &size.to_string()).query("position", &position.to_string());
        let response = request.send().await?;
        let entries: Vec<Entry> = response.json()?;
        if entries.len() > size {
            return Err(response.unexpected("a page has more entries than were asked for"));
        }
        Ok(Listed { entries, total: total(&response) })
    }

    /// Collects the certificate with its issuers, in PEM; none while it is not ready.
    pub(super) async fn collect(&self, operation: Operation, id: u64) -> Result<Option<String>> {
        let request = self.http.get(operation, &["ssl", "v1", "collect", &id.to_string()]);
        // `pemia` is the leaf followed by its issuers. The order is looked at all the same.
        match request.query("format", "pemia").refine(fault::not_ready).send().await {
            Ok(response) => {
                let text = response.text()?.trim();
                Ok((!text.is_empty()).then(|| text.to_owned()))
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotNow(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Approves or declines. A second time it is refused with a conflict, so it may be sent again.
    pub(super) async fn decide(&self, verb: &str, id: u64) -> Result<()> {
        let request = self.http.post(Operation::Decide, &["ssl", "v1", verb, &id.to_string()]);
        let body = json!({ "message": format!("{verb}d through certlife") });
        request.json(&body).replayable(true).send().await.map(drop)
    }

    /// Revokes the certificate with this serial number. A second time it is refused with a conflict.
    pub(super) async fn revoke(&self, serial: &str, code: u8, reason: &str) -> Result<()> {
        // A number in one of the vendor's documents, an enumeration of texts in that of the newer host.
        let code = if self.oauth { json!(code.to_string()) } else { json!(code) };
        let request = self.http.post(Operation::Revoke, &["ssl", "v1", "revoke", "serial", serial]);
        let body = json!({ "reasonCode": code, "reason": reason });
        request.json(&body).replayable(true).send().await.map(drop)
    }

    /// How the domains of one order are validated.
    pub(super) async fn order_dcv(&self, operation: Operation, id: u64) -> Result<Vec<OrderDcv>> {
        let response = self.http.get(operation, &["ssl", "v1", &id.to_string(), "dcv"]).send().await?;
        Ok(match response.json()? {
            OrderDcvs::Many(parts) => parts,
            OrderDcvs::One(part) => vec![part],
        })
    }

    /// Has the CA look at the domains of one order again.
    pub(super) async fn recheck(&self, id: u64) -> Result<()> {
        let path = ["ssl", "v1", &id.to_string(), "dcv", "recheck"];
        self.http.post(Operation::Respond, &path).replayable(true).send().await.map(drop)
    }

    /// A request that may cost money, or a certificate: never sent twice.
    fn paid(&self, path: &[&str]) -> Request {
        self.http.post(Operation::PlaceOrder, path).replayable(false).timeout(SLOW)
    }
}

// ---- the account ----

impl Api {
    pub(super) async fn profiles(
        &self,
        operation: Operation,
        organization: Option<u64>,
    ) -> Result<Vec<Profile>> {
        let request = self.http.get(operation, &["ssl", "v1", "types"]);
        match organization {
            Some(id) => request.query("organizationId", &id.to_string()),
            None => request,
        }
        .send()
        .await?
        .json()
    }

    pub(super) async fn custom_fields(&self) -> Result<Vec<CustomField>> {
        self.http.get(Operation::Catalog, &["ssl", "v1", "customFields"]).send().await?.json()
    }

    pub(super) async fn organizations(&self, operation: Operation) -> Result<Vec<Organization>> {
        self.http.get(operation, &["organization", "v1"]).send().await?.json()
    }

    pub(super) async fn validations(&self, organization: i64) -> Result<Vec<Validation>> {
        let path = ["organization", "v2", &organization.to_string(), "validations"];
        self.http.get(Operation::Catalog, &path).send().await?.json()
    }

    pub(super) async fn domains(&self) -> Result<Vec<Domain>> {
        self.all(&["domain", "v1"]).await
    }

    pub(super) async fn domain_states(&self) -> Result<Vec<DomainState>> {
        self.all(&["dcv", self.dcv_version(), "validation"]).await
    }

    /// How long the password lasts. The newer host has none.
    pub(super) async fn password_state(&self) -> Result<PasswordState> {
        self.http.get(Operation::Probe, &["admin", "v1", "password"]).send().await?.json()
    }

    async fn all<T: DeserializeOwned + Send>(&self, path: &[&str]) -> Result<Vec<T>> {
        let page = |position: Option<usize>| async move {
            let position = position.unwrap_or(0);
            let request = self.http.get(Operation::Catalog, path);
            let request = request.query("size", PAGE_TEXT).query("position", &position.to_string());
            let response = request.send().await?;
            let items: Vec<T> = response.json()?;
            let next = next_position(position, items.len(), PAGE, total(&response));
            Ok(Paged { items, next })
        };
        self.http.pages(Operation::Catalog).collect(page).await
    }
}

// ---- domains apart from orders ----

impl Api {
    pub(super) async fn dcv_status(&self, operation: Operation, domain: &str) -> Result<Dcv> {
        // The older host has this one in version 2 too, and there it tells what has to be published.
        self.dcv(operation, "v2", &["status"], json!({ "domain": domain }), true).await
    }

    /// Has the CA look now.
    pub(super) async fn dcv_sync(&self, domain: &str) -> Result<Dcv> {
        let path = ["dcv", self.dcv_version(), "validation", "sync"];
        let request = self.http.post(Operation::ValidateDomain, &path).query("force", "true");
        let response = request.json(&json!({ "domain": domain })).replayable(true).send().await?;
        response.json()
    }

    pub(super) async fn dcv_start(&self, operation: Operation, mode: &str, domain: &str) -> Result<Dcv> {
        let path = ["start", "domain", mode];
        self.dcv(operation, self.dcv_version(), &path, json!({ "domain": domain }), true).await
    }

    pub(super) async fn dcv_submit(&self, mode: &str, domain: &str, email: Option<&str>) -> Result<Dcv> {
        let mut body = json!({ "domain": domain });
        if let Some(email) = email {
            body["email"] = json!(email);
        }
        let path = ["submit", "domain", mode];
        // Submitted twice it is in the wrong state; asking how it is tells whether a lost answer was one.
        let submitted = self.dcv(Operation::ValidateDomain, self.dcv_version(), &path, body, false).await;
        submitted.map_err(|error| match error.kind() {
            ErrorKind::Uncertain => error.retry_as(certlife_core::Retry::Backoff),
            _ => error,
        })
    }

    /// Gives a validation that is under way up.
    pub(super) async fn dcv_clear(&self, domain: &str) -> Result<()> {
        let path = ["dcv", self.dcv_version(), "validation", "clear"];
        let request = self.http.post(Operation::ValidateDomain, &path).json(&json!({ "domain": domain }));
        request.replayable(true).send().await.map(drop)
    }

    async fn dcv(
        &self,
        operation: Operation,
        version: &str,
        path: &[&str],
        body: serde_json::Value,
        replayable: bool,
    ) -> Result<Dcv> {
        let path = [&["dcv", version, "validation"], path].concat();
        self.http.post(operation, &path).json(&body).replayable(replayable).send().await?.json()
    }

    fn dcv_version(&self) -> &'static str {
        if self.oauth { "v2" } else { "v1" }
    }
}

/// Where the next page begins, if there is one.
pub(super) fn next_position(
    position: usize,
    count: usize,
    size: usize,
    total: Option<usize>,
) -> Option<usize> {
    let next = position + count;
    (count == size && total.is_none_or(|total| next < total)).then_some(next)
}

fn total(response: &Response) -> Option<usize> {
    response.header("x-total-count")?.trim().parse().ok()
}

/// The id in an answer to a request that has had its effect.
fn ssl_id(response: &Response) -> Result<Option<u64>> {
    let enrolled: Enrolled = response.json().map_err(uncertain)?;
    Ok(enrolled.ssl_id.and_then(|id| u64::try_from(id).ok()))
}

fn uncertain(error: Error) -> Error {
    Error::new(NAME, Operation::PlaceOrder, ErrorKind::Uncertain).because(error)
}
