//! Entrust Certificate Services in its own words: one function for each endpoint of the Enterprise API, version 2.
//!
//! Sources are Entrust's published document of the API (version 2.1.0) and clients in use; `SPEC` below means the
//! document.

use std::collections::BTreeMap;

use certlife_core::{
    Error, ErrorKind, Operation, Result,
    http::{Answer, Client, FailedExchange, Paged, Refinement, Request, Response, StatusCode},
};
use serde::de::DeserializeOwned;

use super::{
    NAME,
    wire::{
        Certificate, CertificatePage, Clients, CompanyUnit, CustomField, Domain, DomainBody, DomainPage,
        Fault, Inventories, Inventory, Operate, OrderBody, Organization, Organizations, RevocationBody,
        Summary, Version,
    },
};

/// Items on a page of a complete listing. The server takes up to 1000, but is known to fail with long pages.
const PAGE: &str = "100";
/// By number, so that what is added meanwhile comes last.
const OLDEST_FIRST: &str = "trackingId:asc";

#[derive(Debug)]
pub(super) struct Api {
    pub(super) http: Client,
}

/// What an answer to a changing call says that may be refused for the state of the order.
pub(super) enum Done {
    /// Carried out; the answer.
    Yes(Box<Response>),
    /// 400, with the CA's words: the order is not in a state for it, or something in the request is wrong.
    Refused(Fault),
}

impl Api {
    /// Tells the version of the API; the CA's own way to test credentials.
    pub(super) async fn version(&self) -> Result<Option<String>> {
        let answer = self.http.get(Operation::Probe, &["application", "version"]).send().await?;
        Ok(object::<Version>(&answer)?.version)
    }

    /// Lists the company units of the account.
    pub(super) async fn clients(&self, operation: Operation) -> Result<Vec<CompanyUnit>> {
        Ok(self.http.get(operation, &["clients"]).send().await?.json::<Clients>()?.clients)
    }

    /// Lists the organizations of all company units.
    pub(super) async fn organizations(&self, operation: Operation) -> Result<Vec<Organization>> {
        let answer = self.http.get(operation, &["organizations"]).send().await?;
        Ok(answer.json::<Organizations>()?.organizations)
    }

    /// Lists the products with what is left of them.
    pub(super) async fn inventories(&self) -> Result<Vec<Inventory>> {
        let answer = self.http.get(Operation::Catalog, &["inventories"]).send().await?;
        Ok(answer.json::<Inventories>()?.inventories)
    }

    /// Lists the account's own fields of orders; 404 means that it has none.
    pub(super) async fn custom_fields(&self) -> Result<BTreeMap<String, CustomField>> {
        let answer = self.http.get(Operation::Catalog, &["customFields"]);
        let answer = answer.accept_status(&[StatusCode::NOT_FOUND]).send().await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(BTreeMap::new());
        }
        let fields: BTreeMap<String, Option<CustomField>> = answer.json()?;
        Ok(fields.into_iter().filter_map(|(name, field)| Some((name, field?))).collect())
    }

    /// Lists the domains of all company units, all pages.
    pub(super) async fn domains(&self) -> Result<Vec<Domain>> {
        let page = |offset: Option<usize>| async move {
            let offset = offset.unwrap_or(0);
            let request = self.http.get(Operation::Catalog, &["domains"]);
            let request = request.query("sort", "domainName:asc").query("limit", PAGE);
            let answer = request.query("offset", &offset.to_string()).send().await?;
            let page: DomainPage = object(&answer)?;
            let items = page.domains.ok_or_else(|| answer.unexpected("the list has no `domains`"))?;
            Ok(paged(items, page.summary.as_ref(), offset))
        };
        self.http.pages(Operation::Catalog).collect(page).await
    }

    /// Reads one domain with what its validation asks for; none if the CA does not know it.
    pub(super) async fn domain(&self, client: i64, name: &str) -> Result<Option<Domain>> {
        let request =
            self.http.get(Operation::ValidateDomain, &["clients", &client.to_string(), "domains", name]);
        let answer = request.accept_status(&[StatusCode::NOT_FOUND]).send().await?;
        if answer.status() == StatusCode::NOT_FOUND { Ok(None) } else { object(&answer).map(Some) }
    }

    /// Adds a domain and starts its validation.
    pub(super) async fn add_domain(&self, client: i64, body: &DomainBody<'_>) -> Result<()> {
        let request = self.http.post(Operation::ValidateDomain, &["clients", &client.to_string(), "domains"]);
        request.json(body).send().await?.text().map(drop)
    }

    /// Validates a domain once more, or in another way.
    pub(super) async fn change_domain(&self, client: i64, name: &str, body: &DomainBody<'_>) -> Result<()> {
        let request =
            self.http.put(Operation::ValidateDomain, &["clients", &client.to_string(), "domains", name]);
        request.json(body).send().await?.text().map(drop)
    }

    /// Places a new order.
    pub(super) async fn order(&self, body: &OrderBody) -> Result<Certificate> {
        placed(self.http.post(Operation::PlaceOrder, &["certificates"]), body).await
    }

    /// Renews a certificate, which becomes an order with a number of its own.
    pub(super) async fn renew(&self, of: i64, body: &OrderBody) -> Result<Certificate> {
        let path = ["certificates", &of.to_string(), "renewals"];
        placed(self.http.post(Operation::PlaceOrder, &path), body).await
    }

    /// Reissues a certificate, which becomes an order with a number of its own.
    pub(super) async fn reissue(&self, of: i64, body: &OrderBody) -> Result<Certificate> {
        let path = ["certificates", &of.to_string(), "reissues"];
        placed(self.http.post(Operation::PlaceOrder, &path), body).await
    }

    /// Reads one order with its certificate.
    pub(super) async fn certificate(&self, operation: Operation, id: i64) -> Result<(Certificate, Response)> {
        let answer = of_order(self.http.get(operation, &["certificates", &id.to_string()])).send().await?;
        Ok((object(&answer)?, answer))
    }

    /// Reads one page of the orders that have these properties, from the item `offset` on.
    pub(super) async fn certificates(
        &self,
        operation: Operation,
        filters: &[(&str, &str)],
        limit: usize,
        offset: usize,
    ) -> Result<Paged<Certificate, usize>> {
        let mut request = self.http.get(operation, &["certificates"]);
        for (name, value) in filters {
            request = request.query(name, value);
        }
        // Without `fields` type, organization and tracking are left out (SPEC).
        let request = request.query("fields", "*").query("sort", OLDEST_FIRST);
        let request = request.query("limit", &limit.to_string()).query("offset", &offset.to_string());
        let answer = request.send().await?;
        let page: CertificatePage = object(&answer)?;
        let items = page.certificates.ok_or_else(|| answer.unexpected("the list has no `certificates`"))?;
        Ok(paged(items, page.summary.as_ref(), offset))
    }

    /// Lists all orders that have these properties.
    pub(super) async fn search(
        &self,
        operation: Operation,
        filters: &[(&str, &str)],
    ) -> Result<Vec<Certificate>> {
        let page = |offset: Option<usize>| self.certificates(operation, filters, 100, offset.unwrap_or(0));
        self.http.pages(operation).limit(100).collect(page).await
    }

    /// Approves, declines, suspends or resumes.
    pub(super) async fn operate(&self, id: i64, body: &Operate) -> Result<Done> {
        let request = self.http.patch(Operation::Decide, &["certificates", &id.to_string()]);
        done(of_order(request.json(body))).await
    }

    /// Takes an order out of management, by `deactivations`, or back into it, by `reactivations`.
    ///
    /// SPEC has no `reactivations`, and no client is known that calls it: the path follows from that of its opposite.
    pub(super) async fn manage(&self, id: i64, what: &str) -> Result<Done> {
        done(of_order(self.http.post(Operation::Decide, &["certificates", &id.to_string(), what]))).await
    }

    /// Revokes. Sent again it is refused, which is told from other refusals by the status of the order.
    pub(super) async fn revoke(&self, id: i64, body: &RevocationBody) -> Result<Done> {
        let request = self.http.post(Operation::Revoke, &["certificates", &id.to_string(), "revocations"]);
        done(of_order(request.json(body).replayable(true))).await
    }
}

/// Sends an order. It costs money, so that an answer which cannot be read is a lost one.
async fn placed(request: Request, body: &OrderBody) -> Result<Certificate> {
    // Sent again after a lost answer, it would be a second order.
    let answer = match request.json(body).replayable(false).send().await {
        Err(error) if is_unread_success(&error) => {
            return Err(Error::new(NAME, error.operation(), ErrorKind::Uncertain).because(error));
        }
        outcome => outcome?,
    };
    let lost = |error: Error| answer.error(ErrorKind::Uncertain).because(error);
    let mut certificate: Certificate = object(&answer).map_err(lost)?;
    // The answer to an order that is to wait tells nothing but its number.
    if answer.status() == StatusCode::ACCEPTED && body.queue_for_approval == Some(true) {
        certificate.status.get_or_insert_with(|| "PENDING".to_owned());
    }
    match certificate.tracking_id {
        Some(id) if id > 0 => Ok(certificate),
        _ => Err(lost(answer.unexpected("the order has no `trackingId`"))),
    }
}

/// Whether the request had its effect, but the answer was too long to read.
fn is_unread_success(error: &Error) -> bool {
    let exchange =
        std::error::Error::source(error).and_then(|source| source.downcast_ref::<FailedExchange>());
    let status = exchange.and_then(FailedExchange::status);
    matches!(error.kind(), ErrorKind::Protocol(_)) && status.is_some_and(|status| status.is_success())
}

async fn done(request: Request) -> Result<Done> {
    let answer = request.accept_status(&[StatusCode::BAD_REQUEST]).send().await?;
    if answer.status() != StatusCode::BAD_REQUEST {
        // Success mostly has no body. A page for people comes from somebody else.
        answer.text()?;
        return Ok(Done::Yes(Box::new(answer)));
    }
    // A proxy's page has no words for people.
    Ok(Done::Refused(answer.json().unwrap_or_default()))
}

/// Reads an object. All members of ours may be missing, so that a list would pass for an object without any.
fn object<T: DeserializeOwned>(answer: &Response) -> Result<T> {
    let read = answer.json()?;
    match answer.bytes().trim_ascii_start().first() {
        Some(b'{') => Ok(read),
        _ => Err(answer.unexpected("a JSON object was expected")),
    }
}

/// Lets 404 mean that the order does not exist.
fn of_order(request: Request) -> Request {
    request.refine(|answer| {
        let missing = answer.status() == StatusCode::NOT_FOUND;
        missing.then(|| Refinement::new(ErrorKind::NotFound("the order".into())))
    })
}

/// The server counts items, not pages, and may give fewer than were asked for.
fn paged<T>(items: Vec<T>, summary: Option<&Summary>, offset: usize) -> Paged<T, usize> {
    let next = offset + items.len();
    let total = summary.and_then(|summary| summary.total).and_then(|total| usize::try_from(total).ok());
    let more = !items.is_empty() && total.is_none_or(|total| next < total);
    Paged { items, next: more.then_some(next) }
}

/// Says what an answer means by its body: all messages become the words of the error. One whose status says success is
/// an error all the same if its body says so.
pub(super) fn refine(answer: &Answer<'_>) -> Option<Refinement> {
    let fault: Fault = answer.json()?;
    let status = if answer.status().is_success() {
        fault.status.filter(|status| *status >= 400)?
    } else {
        i64::from(answer.status().as_u16())
    };
    let (words, is_success) = (fault.words(), answer.status().is_success());
    let kind = match (status, words) {
        (401, _) => ErrorKind::Unauthorized,
        (403, Some(words)) => ErrorKind::Forbidden(words),
        (409, Some(words)) => ErrorKind::Conflict(words),
        (404, _) => ErrorKind::NotFound("what was asked for".into()),
        (429, _) => return Some(Refinement::throttled()),
        (408 | 500.., _) if is_success => ErrorKind::Unavailable,
        (400..=499, Some(words)) => ErrorKind::Rejected(words),
        (400..=499, None) if is_success => ErrorKind::Rejected("the CA gives no reason".into()),
        _ => return None,
    };
    Some(Refinement::new(kind))
}
