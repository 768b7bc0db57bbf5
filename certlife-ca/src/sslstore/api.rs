//! The SSL Store in its own words: one function a call. <https://www.thesslstore.com/api/>
//!
//! Every call is a POST with the credentials in its body. Those that only read are sent again when an answer is
//! lost; those that change something are not, unless a second time does no harm.

use std::time::Duration;

use certlife_core::{
    Csr, ErrorKind, Operation, Result, Secret, Timestamp,
    http::{Client, Request, Response},
};
use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    order::Order,
    request::{NewOrder, Reissue},
    settings::CsrForm,
    wire::{self, Object},
};

/// Placing waits for the CA behind: the vendor's own sample allows 500 seconds. Less would leave orders in doubt
/// that are on their way.
const PLACING: Duration = Duration::from_secs(500);
const CULTURE: &str = "en-US";

/// One login at the API.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) http: Client,
    pub(super) login: Login,
    pub(super) csr_form: CsrForm,
}

/// Who asks.
#[derive(Debug)]
pub(super) enum Login {
    /// A partner, for all of its orders.
    Partner { code: String, token: Secret },
    /// The token of one order.
    Token(Secret),
    /// The same in two parts.
    Pair { id: String, code: Secret },
}

/// The block of credentials.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Credentials<'a> {
    partner_code: &'a str,
    auth_token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(rename = "TokenID", skip_serializing_if = "Option::is_none")]
    token_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_code: Option<&'a str>,
    is_used_for_token_system: bool,
    user_agent: &'static str,
}

impl Login {
    pub(super) fn is_token(&self) -> bool {
        !matches!(self, Self::Partner { .. })
    }

    pub(super) fn secrets(&self) -> [&Secret; 1] {
        match self {
            Self::Partner { token: secret, .. } | Self::Token(secret) | Self::Pair { code: secret, .. } => {
                [secret]
            }
        }
    }

    fn credentials(&self) -> Credentials<'_> {
        let (mut partner_code, mut auth_token) = ("", "");
        let (mut token, mut token_id, mut token_code) = (None, None, None);
        match self {
            Self::Partner { code, token } => (partner_code, auth_token) = (code, token.expose()),
            Self::Token(secret) => token = Some(secret.expose()),
            Self::Pair { id, code } => (token_id, token_code) = (Some(id.as_str()), Some(code.expose())),
        }
        Credentials {
            partner_code,
            auth_token,
            token,
            token_id,
            token_code,
            is_used_for_token_system: self.is_token(),
            user_agent: concat!("certlife/", env!("CARGO_PKG_VERSION")),
        }
    }
}

/// Which order a call is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which<'a> {
    /// By the vendor's number.
    Number(&'a str),
    /// By our own reference.
    Reference(&'a str),
}

impl Which<'_> {
    fn body(self) -> Value {
        match self {
            Self::Number(number) => json!({ "TheSSLStoreOrderID": number, "DateTimeCulture": CULTURE }),
            Self::Reference(reference) => json!({ "CustomOrderID": reference, "DateTimeCulture": CULTURE }),
        }
    }

    fn with(self, more: Value) -> Value {
        let mut body = self.body();
        if let (Some(members), Value::Object(more)) = (body.as_object_mut(), more) {
            members.extend(more);
        }
        body
    }
}

impl Api {
    /// Asks whether a partner's credentials are good.
    pub(super) async fn validate(&self) -> Result<()> {
        self.bare(&["health", "validate"]).send().await?.json::<Value>().map(drop)
    }

    /// Asks which order a token is for.
    pub(super) async fn validate_token(&self, operation: Operation) -> Result<Object> {
        let request = self.http.post(operation, &["health", "validatetoken"]);
        one(&request.json(&self.login.credentials()).replayable(true).send().await?)
    }

    /// Reads the account. It says `isError` even when all is well, so that it is judged by what it holds.
    pub(super) async fn account(&self) -> Result<Object> {
        let request = self.bare(&["user", "accountdetail"]).accept_status(&[StatusCode::OK]);
        let response = request.send().await?;
        let account = one(&response)?;
        if account.text("PartnerCode").or(account.text("AccountBalance")).is_some() {
            return Ok(account);
        }
        Err(response.error(ErrorKind::Rejected("no account detail was given".into())))
    }

    /// A call whose credentials are at the root of its body.
    fn bare(&self, path: &[&str]) -> Request {
        self.http.post(Operation::Probe, path).json(&self.login.credentials()).replayable(true)
    }

    /// Lists the products.
    pub(super) async fn products(&self, legacy: bool) -> Result<Vec<Object>> {
        let body = json!({
            "ProductCode": "", "ProductType": 0, "NeedSortedList": true, "IsForceNewSKUs": !legacy,
        });
        let answer = self.reading(Operation::Catalog, &["product", "query"], &body).send().await?;
        Ok(list(&answer)?.into_iter().flatten().collect())
    }

    /// Lists the organizations that DigiCert knows. Sources disagree about where the credentials belong, so they
    /// are in both places.
    pub(super) async fn organizations(&self) -> Result<Vec<Object>> {
        let body = self.login.credentials();
        let request = self.reading(Operation::Catalog, &["digicert", "organizationlist"], &body);
        Ok(one(&request.send().await?)?.objects("OrganizationList"))
    }

    /// Lists who may confirm control of a domain.
    pub(super) async fn approvers(
        &self,
        operation: Operation,
        product: &str,
        domain: &str,
    ) -> Result<Vec<String>> {
        let body = json!({ "ProductCode": product, "DomainName": domain });
        let answer = self.reading(operation, &["order", "approverlist"], &body).send().await?;
        Ok(one(&answer)?.texts("ApproverEmailList"))
    }

    /// Reads one order.
    pub(super) async fn status(&self, operation: Operation, which: Which<'_>) -> Result<Order> {
        order(&self.reading(operation, &["order", "status"], &which.body()).send().await?)
    }

    /// Lists a page of orders; pages count from 1.
    pub(super) async fn orders(
        &self,
        operation: Operation,
        page: u32,
        size: u32,
        since: Option<(Timestamp, Timestamp)>,
        product: &str,
    ) -> Result<Listed> {
        let mut body = json!({
            "ProductCode": product, "PageNumber": page, "PageSize": size, "DateTimeCulture": CULTURE,
        });
        if let (Some((start, end)), Some(members)) = (since, body.as_object_mut()) {
            members.insert("StartDate".into(), wire::date(start).into());
            members.insert("EndDate".into(), wire::date(end).into());
        }
        let answer = self.reading(operation, &["order", "query"], &body).send().await?;
        let items = list(&answer)?;
        let count = items.len();
        Ok(Listed { orders: items.into_iter().flatten().map(Order::new).collect(), count })
    }

    /// Fetches the files of an issued order.
    pub(super) async fn download(&self, operation: Operation, number: &str) -> Result<Object> {
        let body = Which::Number(number).with(json!({ "ReturnPKCS7Cert": false }));
        one(&self.reading(operation, &["order", "download"], &body).send().await?)
    }

    /// Fetches the same as an archive.
    pub(super) async fn download_archive(&self, number: &str) -> Result<(Response, Object)> {
        let body = Which::Number(number).with(json!({ "ReturnPKCS7Cert": true }));
        let request = self.reading(Operation::FetchCertificate, &["order", "downloadaszip"], &body);
        let response = request.send().await?;
        let files = one(&response)?;
        Ok((response, files))
    }

    /// Fetches the request that an order is for, from wherever the answer has it.
    pub(super) async fn csr(&self, number: &str) -> Result<Option<Csr>> {
        let body = Which::Number(number).body();
        let answer = one(&self.reading(Operation::FindOrder, &["csr", "download"], &body).send().await?)?;
        let text = ["CSR", "FileContent"].iter().find_map(|name| answer.verbatim(name));
        Ok(text.and_then(|text| Csr::from_pem(&wire::percent_decoded(&text)).ok()))
    }

    /// Places an order, or configures the one that a token is for.
    pub(super) async fn new_order(&self, body: &NewOrder) -> Result<Order> {
        placed(self.placing(&["order", "neworder"], body).refine(wire::refine_new_order)).await
    }

    /// Asks for another certificate of the same order.
    pub(super) async fn reissue(&self, body: &Reissue) -> Result<Order> {
        placed(self.placing(&["order", "reissue"], body)).await
    }

    /// Sends the message to the approver again.
    pub(super) async fn resend(&self, number: &str, domain: &str) -> Result<()> {
        let body =
            Which::Number(number).with(json!({ "ResendEmailType": "ApproverEmail", "DomainNames": domain }));
        // A second message does no harm.
        self.reading(Operation::Revalidate, &["order", "resend"], &body).send().await.map(drop)
    }

    /// Has another address confirm a domain. Sent once, since each call sends a message; whether it had its effect shows
    /// in the order.
    pub(super) async fn change_approver(&self, number: &str, domain: &str, address: &str) -> Result<()> {
        let body = Which::Number(number).with(json!({ "ResendEmail": address, "DomainNames": domain }));
        let request = self.reading(Operation::Revalidate, &["order", "changeapproveremail"], &body);
        request.replayable(false).send().await.map(drop)
    }

    /// Has DigiCert prove a domain in another way.
    pub(super) async fn set_method(&self, number: &str, domain: &str, method: &str) -> Result<()> {
        let body = json!({ "TheSSLStoreOrderID": number, "DomainName": domain, "ApproverMethod": method });
        self.reading(Operation::Revalidate, &["digicert", "setapprovermethod"], &body).send().await.map(drop)
    }

    /// Has a domain proven in another way. No source confirms one call for it; where the usual one is missing, the
    /// older one with indicators is asked. Sent once where it sends a message.
    pub(super) async fn change_method(
        &self,
        number: &str,
        domain: &str,
        method: &str,
        approver: &str,
    ) -> Result<()> {
        let body = Which::Number(number).with(json!({
            "ApproverMethod": method, "ApproverEmail": approver, "DomainNames": domain,
        }));
        let request = self.reading(Operation::Revalidate, &["order", "changeapprovermethod"], &body);
        let by_message = method == "Email";
        let request = request.replayable(!by_message).accept_status(&[StatusCode::NOT_FOUND]);
        let response = request.send().await?;
        if response.status() != StatusCode::NOT_FOUND {
            return Ok(());
        }
        let body = Which::Number(number).with(json!({
            "ResendEmail": approver, "DomainNames": domain, "FileAuthDVIndicator": method == "HTTP",
            "HTTPSFileAuthDVIndicator": method == "HTTPS", "CNAMEAuthDVIndicator": method == "DNS",
        }));
        let request = self.reading(Operation::Revalidate, &["order", "changeapproveremail"], &body);
        request.replayable(!by_message).send().await.map(drop)
    }

    /// Has DigiCert look at the proof now.
    pub(super) async fn check_proof(&self, operation: Operation, number: &str, domain: &str) -> Result<()> {
        let body = json!({ "TheSSLStoreOrderID": number, "DomainName": domain });
        self.reading(operation, &["digicert", "checkdcv"], &body).send().await.map(drop)
    }

    /// Asks for the money back, which is how an order is cancelled.
    pub(super) async fn refund(&self, number: &str, reason: &str) -> Result<()> {
        let body = Which::Number(number).with(json!({ "RefundReason": reason }));
        // A second request might be a second case for the staff.
        let request = self.reading(Operation::Decide, &["order", "refundrequest"], &body).replayable(false);
        request.send().await.map(drop)
    }

    /// Asks what became of that.
    pub(super) async fn refund_status(&self, number: &str, refund: &str) -> Result<Order> {
        let body = Which::Number(number).with(json!({ "RefundRequestID": refund }));
        order(&self.reading(Operation::Decide, &["order", "refundstatus"], &body).send().await?)
    }

    /// Asks for a certificate's revocation.
    pub(super) async fn revoke(&self, number: &str, serial: &str, reason: &str) -> Result<()> {
        let body = Which::Number(number).with(json!({ "SerialNumber": serial, "RevokeReason": reason }));
        // What is revoked already stays revoked.
        self.reading(Operation::Revoke, &["order", "certificaterevokerequest"], &body).send().await.map(drop)
    }

    /// A call that may be sent twice.
    fn reading(&self, operation: Operation, path: &[&str], body: &impl Serialize) -> Request {
        self.http.post(operation, path).json(&self.with_login(body)).replayable(true)
    }

    /// A call that is sent once.
    fn placing(&self, path: &[&str], body: &impl Serialize) -> Request {
        let request = self.http.post(Operation::PlaceOrder, path).json(&self.with_login(body));
        request.replayable(false).timeout(PLACING)
    }

    fn with_login<'a, T>(&'a self, body: &'a T) -> Call<'a, T> {
        Call { login: self.login.credentials(), body }
    }
}

/// A page of the listing.
pub(super) struct Listed {
    pub(super) orders: Vec<Order>,
    /// How many elements the page had, those included that are no orders.
    pub(super) count: usize,
}

/// A body with its credentials.
#[derive(Serialize)]
struct Call<'a, T> {
    #[serde(rename = "AuthRequest")]
    login: Credentials<'a>,
    #[serde(flatten)]
    body: &'a T,
}

/// Sends a call after which there may be an order, whatever comes back: only an error that the API tells says that
/// there is none.
async fn placed(request: Request) -> Result<Order> {
    let outcome = match request.send().await {
        Ok(response) => order(&response).and_then(|order| match order.number() {
            Some(_) => Ok(order),
            None => Err(response.unexpected("the order has no number")),
        }),
        Err(error) => Err(error),
    };
    outcome.map_err(|error| match error.kind() {
        ErrorKind::Protocol(_) => super::error(Operation::PlaceOrder, ErrorKind::Uncertain).because(error),
        _ => error,
    })
}

fn one(response: &Response) -> Result<Object> {
    let found = Object::read(response.json()?);
    found.ok_or_else(|| response.unexpected("something else came in place of a JSON object"))
}

/// A list, whose elements may be null; none at all may be null too.
fn list(response: &Response) -> Result<Vec<Option<Object>>> {
    match response.json()? {
        Value::Array(items) => Ok(items.into_iter().map(Object::read).collect()),
        Value::Null => Ok(Vec::new()),
        _ => Err(response.unexpected("something else came in place of a JSON list")),
    }
}

fn order(response: &Response) -> Result<Order> {
    let order = Order::new(one(response)?);
    if order.number().is_none() && order.major().is_none() {
        return Err(response.unexpected("the order has neither number nor status"));
    }
    Ok(order)
}
