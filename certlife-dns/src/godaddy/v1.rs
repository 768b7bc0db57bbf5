//! The classic API: <https://developer.godaddy.com/doc/endpoint/domains>.
//!
//! It has calls that replace all records of a type or the whole zone. They are not here, and must not be.

use certlife_core::{
    Error, ErrorKind, Operation, Result, VendorText,
    dns::RecordData,
    http::{Answer, Client, Method, Paged, Refinement, Request, StatusCode},
};

use super::{
    NAME, api,
    api::{Listed, NewRecord, Record, SetId, patient},
};

/// The most domains on a page that the API allows.
const DOMAINS_A_PAGE: usize = 1_000;
/// The most records in an answer that the API allows.
const MOST_RECORDS: usize = 500;

#[derive(Debug)]
pub(super) struct Api {
    pub(super) client: Client,
}

impl Api {
    fn set(&self, method: Method, operation: Operation, set: SetId<'_>) -> Request {
        let path = ["v1", "domains", set.zone.as_str(), "records", set.kind, set.name];
        patient(self.client.request(method, operation, &path))
    }

    pub(super) async fn domains(&self, operation: Operation) -> Result<Vec<Listed>> {
        let page = |marker: Option<String>| async move {
            let request = patient(self.client.get(operation, &["v1", "domains"])).query("statuses", "ACTIVE");
            let request = request.query("limit", &DOMAINS_A_PAGE.to_string());
            let request = match &marker {
                Some(marker) => request.query("marker", marker),
                None => request,
            };
            let items: Vec<Listed> = request.send().await?.json()?;
            let last = items.last().filter(|_| items.len() >= DOMAINS_A_PAGE);
            let next = last.map(|domain| domain.name().to_owned());
            Ok(Paged { items, next })
        };
        self.client.pages(operation).collect(page).await
    }

    /// Lists the records of a set; without any if there is none.
    pub(super) async fn records(&self, operation: Operation, set: SetId<'_>) -> Result<Vec<Record>> {
        let request = self.set(Method::GET, operation, set).query("limit", &MOST_RECORDS.to_string());
        let response = request.accept_status(&[StatusCode::NOT_FOUND]).send().await?;
        if response.status() == StatusCode::NOT_FOUND {
            // An empty list is what is seen; the documentation has 404, too.
            return if api::is_absent_set(response.bytes()) {
                Ok(Vec::new())
            } else {
                Err(response.error(ErrorKind::NotFound(format!("domain {}", set.zone).into())))
            };
        }
        let records: Vec<Record> = response.json()?;
        if records.len() >= MOST_RECORDS {
            // What does not fit into an answer would be lost when the set is replaced.
            let kind = ErrorKind::Unsupported("a name with 500 records or more".into());
            return Err(Error::new(NAME, operation, kind));
        }
        Ok(records)
    }

    /// Adds one record to whatever is there.
    pub(super) async fn append(&self, set: SetId<'_>, data: &RecordData, ttl_seconds: u32) -> Result<()> {
        let data = match data {
            RecordData::Txt(value) => value.clone(),
            RecordData::Cname(target) => target.to_string(),
        };
        let new = NewRecord { kind: set.kind, name: set.name, data, ttl_seconds };
        let path = ["v1", "domains", set.zone.as_str(), "records"];
        let request = patient(self.client.request(Method::PATCH, Operation::PublishRecord, &path));
        request.json(&[new]).send().await.map(drop)
    }

    /// Replaces one set by `records`, of which there is at least one: the API ignores an empty list.
    pub(super) async fn replace(
        &self,
        operation: Operation,
        set: SetId<'_>,
        records: &[Record],
    ) -> Result<()> {
        // Before it is sent again the set has to be read again, since others write, too.
        self.set(Method::PUT, operation, set).json(records).replayable(false).send().await.map(drop)
    }

    /// Deletes one set.
    pub(super) async fn delete(&self, operation: Operation, set: SetId<'_>) -> Result<()> {
        let request = self.set(Method::DELETE, operation, set).replayable(false);
        request.accept_status(&[StatusCode::NOT_FOUND]).send().await.map(drop)
    }
}

/// Says what an answer means.
pub(super) fn refine(answer: &Answer<'_>) -> Option<Refinement> {
    // The key is valid then. There are no finer rights; what is refused is the account, or a domain of others.
    // <https://developer.godaddy.com/getstarted>
    api::refine(answer, |words| {
        let what = "GoDaddy opens this API to accounts with 10 domains or a Discount Domain Club plan, and to \
                    their own domains only";
        ErrorKind::NotEligible(VendorText::from(format!("{what}: {words}")))
    })
}
