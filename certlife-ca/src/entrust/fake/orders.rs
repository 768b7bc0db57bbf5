//! Orders and their certificates.

use std::time::Duration;

use certlife_core::{Chain, Csr, Identifier, Timestamp};
use certlife_testkit::ca::Template;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Answer, World, fault, field};

/// A line in the CA's books.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) order: i64,
    pub(crate) tracking_info: String,
    pub(crate) paid: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct FakeOrder {
    pub(crate) id: i64,
    pub(crate) product: String,
    pub(crate) client: i64,
    pub(crate) org: String,
    pub(crate) names: Vec<String>,
    pub(crate) status: String,
    pub(crate) tracking: Tracking,
    pub(crate) deactivated: bool,
    pub(crate) foreign: bool,
    pub(crate) decline_reason: Option<String>,
    pub(crate) issued: Option<Issued>,
    pub(crate) revoked: Option<(String, String)>,
    /// What was sent, for the test to look at.
    pub(crate) body: Value,
    csr: Csr,
    taken_at: Timestamp,
    polls_left: u32,
    last_day: Option<String>,
    lifetime: Duration,
    /// The end of the certificate that this one replaces, which it shares.
    term: Option<Timestamp>,
}

#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) chain: Chain,
    pub(crate) serial: String,
    pub(crate) at: Timestamp,
    pub(crate) end: Timestamp,
}

/// What a new order may say. Renewals and reissues say less.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Body {
    #[serde(skip_serializing_if = "Option::is_none")]
    cert_type: Option<String>,
    client_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    org: Option<String>,
    csr: Option<String>,
    #[serde(default)]
    subject_alt_name: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_alg: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    eku: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ct_log: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cert_expiry_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cert_lifetime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_for_approval: Option<bool>,
    tracking: Tracking,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Tracking {
    #[serde(rename = "trackingInfo")]
    pub(crate) info: String,
    pub(crate) requester_name: String,
    pub(crate) requester_email: String,
    pub(crate) requester_phone: String,
    #[serde(default)]
    pub(crate) additional_emails: Vec<String>,
    #[serde(default)]
    pub(crate) custom_fields: Map<String, Value>,
}

pub(super) fn no_order() -> (u16, Value) {
    fault(404, "Unknown trackingId")
}

impl FakeOrder {
    /// What the list shows, or with more in it what reading shows.
    pub(super) fn shown(&self, in_full: bool) -> Value {
        let mut tracking = serde_json::to_value(&self.tracking).unwrap();
        tracking["deactivated"] = json!(self.deactivated);
        let names: Vec<_> =
            self.names.iter().map(|name| json!({ "type": "dNSName", "value": name })).collect();
        let first = self.names.first().cloned().unwrap_or_default();
        let mut shown = json!({
            "trackingId": self.id, "status": self.status, "subjectAltName": names, "signingAlg": "SHA-2",
            "dn": format!("cn={first},o={},l=Ottawa,st=Ontario,c=CA", self.org), "org": self.org, "ou": [],
            "certType": self.product, "domainUsed": first, "isThirdParty": self.foreign, "tracking": tracking,
        });
        if let Some(issued) = &self.issued {
            shown["serialNumber"] = json!(issued.serial);
            shown["issueDateTime"] = json!(issued.at);
            shown["expiresAfter"] = json!(issued.end);
        }
        if !in_full {
            shown["uri"] = json!(format!("/enterprise/v2/certificates/{}", self.id));
            return shown;
        }
        shown["csr"] = json!(self.csr.pem());
        shown["creatorName"] = json!("northwind-api-user");
        if let Some(reason) = &self.decline_reason {
            shown["declineReason"] = json!(reason);
        }
        if let Some(issued) = &self.issued {
            let chain = issued.chain.certificates().count();
            let pems: Vec<String> = issued
                .chain
                .pem()
                .split_inclusive("-----END CERTIFICATE-----\n")
                .map(str::to_owned)
                .collect();
            assert_eq!(pems.len(), chain);
            shown["endEntityCert"] = json!(pems[0]);
            shown["chainCerts"] = json!(pems);
        }
        shown
    }

    pub(super) fn receipt(&self) -> Value {
        let full = self.shown(true);
        let mut receipt = json!({ "trackingId": self.id });
        for member in ["endEntityCert", "chainCerts", "serialNumber", "expiresAfter"] {
            if let Some(value) = full.get(member) {
                receipt[member] = value.clone();
            }
        }
        receipt
    }
}

impl World {
    pub(crate) fn order(&mut self, id: i64) -> &mut FakeOrder {
        self.orders.iter_mut().find(|order| order.id == id).expect("the order is known")
    }

    pub(super) fn take_order(&mut self, body: &Body) -> Answer {
        let product = body.cert_type.clone().ok_or_else(|| field("certType", "Required"))?;
        self.use_licence(&product)?;
        if self.pooling && body.cert_expiry_date.is_none() {
            return Err(field("certExpiryDate", "Required for this account"));
        }
        self.take(&product, None, body, true)
    }

    fn use_licence(&mut self, product: &str) -> Result<(), (u16, Value)> {
        let is_flexible = product.contains("SSL") && product != "PD_SSL";
        let has_flex = is_flexible && self.inventories.iter().any(|line| line["productType"] == "FLEX");
        let line = self.inventories.iter_mut().find(|line| line["productType"] == product);
        if line.as_ref().is_some_and(|line| line["consumptionType"] == "UNLIMITED") {
            return Ok(());
        }
        let count = |line: &Value| match &line["remainingCount"] {
            Value::String(text) => text.parse().unwrap_or(0),
            number => number.as_i64().unwrap_or(0),
        };
        match line {
            Some(line) if count(line) > 0 => line["remainingCount"] = json!(count(line) - 1),
            _ if has_flex => {}
            _ => return Err(field("certType", "No licences are left for this product")),
        }
        Ok(())
    }

    pub(super) fn take_renewal(&mut self, id: &str, body: &Body) -> Answer {
        let earlier = self.predecessor(id, body, &["ACTIVE", "READY", "EXPIRED"])?;
        let taken = self.take(&earlier.product, None, body, true)?;
        self.order(earlier.id).status = "RENEWED".into();
        Ok(taken)
    }

    pub(super) fn take_reissue(&mut self, id: &str, body: &Body) -> Answer {
        if body.cert_expiry_date.is_some() || body.cert_lifetime.is_some() {
            return Err(field("certExpiryDate", "Not allowed for a reissue"));
        }
        let earlier = self.predecessor(id, body, &["ACTIVE", "READY", "RENEWED"])?;
        let term = earlier.issued.as_ref().map(|issued| issued.end);
        let taken = self.take(&earlier.product, term, body, false)?;
        self.order(earlier.id).status = "REISSUED".into();
        Ok(taken)
    }

    fn predecessor(&self, id: &str, body: &Body, statuses: &[&str]) -> Result<FakeOrder, (u16, Value)> {
        if body.cert_type.is_some() || body.queue_for_approval.is_some() {
            return Err(field("certType", "Not allowed here"));
        }
        let order = self.orders.iter().find(|order| order.id.to_string() == id).ok_or_else(no_order)?;
        if !statuses.contains(&order.status.as_str()) || order.deactivated {
            return Err(fault(400, "The certificate is not in a state for this"));
        }
        Ok(order.clone())
    }

    fn take(&mut self, product: &str, term: Option<Timestamp>, body: &Body, paid: bool) -> Answer {
        let is_private = matches!(product, "PRIVATE_SSL" | "PD_SSL");
        let client = body.client_id.unwrap_or(1);
        if !(1..=2).contains(&client) {
            return Err(fault(404, "Unknown clientId"));
        }
        let org = match &body.org {
            Some(_) if client != 1 && product != "PD_SSL" => {
                return Err(field("org", "Not allowed for this client"));
            }
            Some(name) => {
                let approved =
                    |org: &&Value| org["name"] == name.as_str() && org["verificationStatus"] == "APPROVED";
                self.organizations
                    .iter()
                    .find(approved)
                    .ok_or_else(|| field("org", "Unapproved organization"))?;
                name.clone()
            }
            None => "Northwind Trial Ltd".to_owned(),
        };
        let csr = body.csr.as_deref().ok_or_else(|| field("csr", "Required"))?;
        let csr = Csr::from_pem(csr).map_err(|error| field("csr", &error.to_string()))?;
        let names = names(&csr, &body.subject_alt_name, product)?;
        if let Some(name) = names.iter().find(|name| !is_private && !self.covers(client, name)) {
            let cause = json!({ "message": name });
            let error = json!({ "message": "The domain is not approved for this client.", "field": "subjectAltName", "cause": cause });
            return Err((400, json!({ "status": 400, "errors": [error] })));
        }
        if !matches!(body.signing_alg.as_deref(), None | Some("SHA-1" | "SHA-2")) {
            return Err(field("signingAlg", "Unknown algorithm"));
        }
        let eku = body.eku.as_deref();
        if !matches!(eku, None | Some("SERVER_AUTH" | "CLIENT_AUTH" | "SERVER_AND_CLIENT_AUTH"))
            || (eku.is_some() && is_private)
        {
            return Err(field("eku", "Not allowed"));
        }
        self.check_tracking(&body.tracking)?;
        let last_day = body.cert_expiry_date.clone();
        if last_day.is_some() && body.cert_lifetime.is_some() {
            return Err(field("certLifetime", "Excludes certExpiryDate"));
        }
        let is_day = |day: &String| {
            day.len() == 10 && Timestamp::parse(&format!("{day}T00:00:00Z")).is_ok_and(|end| end > self.now())
        };
        if last_day.as_ref().is_some_and(|day| !is_day(day)) {
            return Err(field("certExpiryDate", "Not a day in the future"));
        }
        let lifetime = match body.cert_lifetime.as_deref() {
            None | Some("P1Y") => Duration::from_hours(24 * 365),
            Some("P90D") => Duration::from_hours(24 * 90),
            Some(_) => return Err(field("certLifetime", "Not offered")),
        };
        let (id, queue) = (self.new_id(), body.queue_for_approval == Some(true));
        self.ledger.push(Line { order: id, tracking_info: body.tracking.info.clone(), paid });
        let status = if queue { "PENDING" } else { "APPROVED" }.to_owned();
        self.orders.push(FakeOrder {
            id,
            product: product.to_owned(),
            client,
            org,
            names,
            status,
            tracking: body.tracking.clone(),
            deactivated: false,
            foreign: false,
            decline_reason: None,
            issued: None,
            revoked: None,
            body: serde_json::to_value(body).unwrap(),
            csr,
            taken_at: self.now(),
            polls_left: self.polls_to_issue,
            last_day,
            lifetime,
            term,
        });
        if queue || self.polls_to_issue > 0 {
            return Ok((202, Some(json!({ "trackingId": id }))));
        }
        self.issue(id);
        Ok((201, Some(self.order(id).receipt())))
    }

    fn check_tracking(&self, tracking: &Tracking) -> Result<(), (u16, Value)> {
        let Tracking { info, requester_name, requester_email, requester_phone, .. } = tracking;
        if info.len() > 128 {
            return Err(field("tracking.trackingInfo", "Too long"));
        }
        if requester_name.is_empty() || !requester_email.contains('@') || requester_phone.is_empty() {
            return Err(field("tracking.requesterName", "Name, email and phone are required"));
        }
        let none = Map::new();
        let fields = self.custom_fields.as_ref().unwrap_or(&none);
        let enabled = |name: &String| fields.get(name).is_some_and(|field| field["enabled"] == true);
        if let Some(name) = tracking.custom_fields.keys().find(|name| !enabled(name)) {
            return Err(field(&format!("tracking.customFields.{name}"), "The field is not enabled"));
        }
        let required = |field: &Value| {
            field["enabled"] == true && (field["mandatory"] == "BOTH" || field["mandatory"] == "ADMIN_API")
        };
        let missing = fields
            .iter()
            .find(|(name, field)| required(field) && !tracking.custom_fields.contains_key(*name));
        missing.map_or(Ok(()), |(name, _)| Err(field(&format!("tracking.customFields.{name}"), "Required")))
    }

    pub(crate) fn issue(&mut self, id: i64) {
        let now = Timestamp::from_unix_seconds(self.now().unix_seconds());
        let order = self.orders.iter().find(|order| order.id == id).expect("the order is known");
        let day = |day: &String| Timestamp::parse(&format!("{day}T23:59:59Z")).expect("it was checked");
        let end = order.term.or(order.last_day.as_ref().map(day)).unwrap_or(now + order.lifetime);
        let identifiers: Vec<Identifier> = order.names.iter().filter_map(|name| name.parse().ok()).collect();
        let mut serial = [0x5d; 16];
        serial[8..].copy_from_slice(&id.to_be_bytes());
        let template =
            Template { csr: &order.csr, identifiers: &identifiers, serial, not_before: now, not_after: end };
        let chain = self.issuer.issue(&template).expect("the request was checked");
        let serial = format!("{:032X}", u128::from_be_bytes(serial));
        let order = self.order(id);
        order.status = "ACTIVE".into();
        order.issued = Some(Issued { chain, serial, at: now, end });
    }

    /// Issues what has been approved for long enough.
    pub(super) fn generate(&mut self) {
        let (Some(time), now) = (self.generates_in, self.now()) else { return };
        let is_due = |order: &&FakeOrder| order.status == "APPROVED" && order.taken_at + time <= now;
        for id in self.orders.iter().filter(is_due).map(|order| order.id).collect::<Vec<_>>() {
            self.issue(id);
        }
    }

    /// Reading is what time is counted in, where the clock is not.
    pub(super) fn show_order(&mut self, id: &str) -> Answer {
        let order = self.orders.iter_mut().find(|order| order.id.to_string() == id).ok_or_else(no_order)?;
        let id = order.id;
        if order.status == "APPROVED" {
            if order.polls_left > 0 {
                order.polls_left -= 1;
            } else {
                self.issue(id);
            }
        }
        Ok((200, Some(self.order(id).shown(true))))
    }
}

/// The common name of the request, and the names that the order says, or else those of the request.
fn names(csr: &Csr, said: &[String], product: &str) -> Result<Vec<String>, (u16, Value)> {
    let subject = csr.subject().to_string();
    let common = subject.split(',').find_map(|part| part.trim().strip_prefix("CN=").map(str::to_owned));
    let asked = || csr.identifiers().map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>());
    let said = if said.is_empty() {
        asked().map_err(|error| field("csr", &error.to_string()))?
    } else {
        said.to_vec()
    };
    if product == "STANDARD_SSL" {
        let twin = |name: &String| {
            common.as_ref().is_none_or(|common| {
                name == common
                    || name.strip_prefix("www.") == Some(common)
                    || common.strip_prefix("www.") == Some(name)
            })
        };
        if !said.iter().all(twin) {
            return Err(field("subjectAltName", "Only the name with or without www is allowed"));
        }
    }
    let mut names: Vec<String> = common.into_iter().collect();
    for name in said {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}
