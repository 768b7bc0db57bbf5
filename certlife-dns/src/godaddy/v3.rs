//! The API for personal access tokens: <https://developer.godaddy.com/openapi/domains-v3.json>.
//!
//! A PUT to one record has replaced the whole zone by it (<https://github.com/godaddy/cli/issues/136>). It is
//! not here, and must not be.

use certlife_core::{
    Error, ErrorKind, Operation, Result, VendorText,
    dns::RecordData,
    http::{Answer, Client, Method, Paged, Refinement, Request, StatusCode},
};
use serde::Deserialize;
use url::Url;

use super::{
    NAME, api,
    api::{Listed, NewRecord, Record, SetId, patient},
};

/// The most items on a page that the API allows.
const ITEMS_A_PAGE: &str = "100";
/// An id that no record has.
const NO_RECORD: &str = "00000000-0000-0000-0000-000000000000";

#[derive(Debug)]
pub(super) struct Api {
    pub(super) client: Client,
    /// What links are relative to.
    pub(super) base_url: Url,
}

/// One page of a listing. `totalPages` is absent where nothing was found.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    #[serde(default = "Vec::new")]
    items: Vec<T>,
    #[serde(default)]
    links: Vec<Link>,
    #[serde(default)]
    total_pages: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct Link {
    #[serde(default)]
    rel: String,
    #[serde(default)]
    href: String,
}

impl<T> Page<T> {
    fn next(&self) -> Option<&str> {
        self.links.iter().find(|link| link.rel == "next").map(|link| link.href.as_str())
    }
}

impl Api {
    fn reading(request: Request) -> Request {
        patient(request).refine(|answer| refine_with(answer, "domains.domain:read"))
    }

    fn writing(request: Request) -> Request {
        patient(request).refine(|answer| refine_with(answer, "domains.dns:update"))
    }

    pub(super) async fn domains(&self, operation: Operation) -> Result<Vec<Listed>> {
        let page = |next: Option<String>| async move {
            let request = match &next {
                // The client refuses addresses elsewhere.
                Some(next) => {
                    let url = self.base_url.join(next).map_err(|_| {
                        let kind = ErrorKind::Protocol("its link to the next page is not a URL".into());
                        Error::new(NAME, operation, kind)
                    })?;
                    self.client.absolute(Method::GET, operation, &url)
                }
                None => {
                    let request = self.client.get(operation, &["v3", "domains", "domain-names"]);
                    request.query("pageSize", ITEMS_A_PAGE)
                }
            };
            let page: Page<Listed> = Self::reading(request).send().await?.json()?;
            let next = page.next().map(str::to_owned);
            Ok(Paged { items: page.items, next })
        };
        self.client.pages(operation).collect(page).await
    }

    pub(super) async fn records(&self, operation: Operation, set: SetId<'_>) -> Result<Vec<Record>> {
        let page = |page: Option<u32>| async move {
            let page = page.unwrap_or(1);
            let path = ["v3", "domains", "zones", set.zone.as_str(), "dns-records"];
            let request = Self::reading(self.client.get(operation, &path));
            let request = request.query("type", set.kind).query("name", set.name);
            let request = request.query("page", &page.to_string()).query("pageSize", ITEMS_A_PAGE);
            let found: Page<Record> = request.query("totalRequired", "true").send().await?.json()?;
            let more = found.total_pages.map_or_else(|| found.next().is_some(), |pages| page < pages);
            Ok(Paged { items: found.items, next: more.then(|| page + 1) })
        };
        self.client.pages(operation).collect(page).await
    }

    /// Creates one record and returns its id.
    pub(super) async fn create(
        &self,
        set: SetId<'_>,
        data: &RecordData,
        ttl_seconds: u32,
    ) -> Result<Option<String>> {
        let data = match data {
            RecordData::Txt(value) => value.clone(),
            RecordData::Cname(target) => format!("{target}."),
        };
        let new = NewRecord { kind: set.kind, name: set.name, data, ttl_seconds };
        let path = ["v3", "domains", "zones", set.zone.as_str(), "dns-records"];
        let request = Self::writing(self.client.post(Operation::PublishRecord, &path));
        let made: Record = request.json(&new).send().await?.json()?;
        Ok(made.id)
    }

    /// Deletes one record; success also if it is gone.
    pub(super) async fn delete(&self, operation: Operation, zone: &str, id: &str) -> Result<()> {
        let path = ["v3", "domains", "zones", zone, "dns-records", id];
        let request = Self::writing(self.client.delete(operation, &path));
        request.accept_status(&[StatusCode::NOT_FOUND]).send().await.map(drop)
    }

    /// Finds out whether the token may change the zone, by deleting a record that cannot be there.
    pub(super) async fn test_writing(&self, zone: &str) -> Result<()> {
        self.delete(Operation::Probe, zone, NO_RECORD).await
    }
}

/// Says what an answer means to a request that needs `scope`.
fn refine_with(answer: &Answer<'_>, scope: &str) -> Option<Refinement> {
    // Which body says that a scope is missing is not documented.
    if answer.status() != StatusCode::FORBIDDEN {
        return api::refine(answer, ErrorKind::Forbidden);
    }
    let words = VendorText::new(answer.text());
    let what = format!("the token needs the scope {scope}, or the account is not eligible: {words}");
    Some(Refinement::new(ErrorKind::Forbidden(what.into())))
}
