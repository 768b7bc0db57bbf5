//! One order: what it shows, and how it ends.

use std::time::Duration;

use certlife_core::{Chain, Csr, Timestamp};
use serde_json::{Value, json};

use super::{Answer, ORDER_SECRET, PASSWORD, refusal};

/// One order of the vendor's books.
pub struct FakeOrder {
    pub number: String,
    pub reference: String,
    pub product: String,
    pub vendor: &'static str,
    pub purchased: Timestamp,
    pub major: String,
    pub minor: String,
    pub comment: Option<String>,
    pub names: Vec<String>,
    pub months: i64,
    pub servers: i64,
    pub approvers: Vec<String>,
    pub email: String,
    pub csr: Option<Csr>,
    pub chain: Option<Chain>,
    pub refund: Option<String>,
    /// Whether people look at documents, and are done.
    pub vetting: Option<bool>,
    /// Whether each name is to be shown with its proof, or the common name alone.
    pub lists_proofs: bool,
    pub(super) domains: Vec<Domain>,
    /// The reference that the open issue is for.
    pub(super) open: String,
    pub(super) polls: u32,
    pub(super) fresh: String,
}

/// The proof of one name.
pub(super) struct Domain {
    pub(super) name: String,
    pub(super) method: &'static str,
    pub(super) valid: bool,
    pub(super) asked: bool,
}

impl FakeOrder {
    pub(super) fn empty() -> Self {
        Self {
            number: String::new(),
            reference: String::new(),
            product: String::new(),
            vendor: "",
            purchased: Timestamp::MIN,
            major: String::new(),
            minor: String::new(),
            comment: None,
            names: Vec::new(),
            months: 12,
            servers: 1,
            approvers: Vec::new(),
            email: String::new(),
            csr: None,
            chain: None,
            refund: None,
            vetting: None,
            lists_proofs: true,
            domains: Vec::new(),
            open: String::new(),
            polls: 0,
            fresh: String::new(),
        }
    }

    pub fn token_id(&self) -> String {
        format!("id-{}", self.number)
    }

    pub fn token(&self) -> String {
        format!("{}#!{ORDER_SECRET}", self.token_id())
    }

    /// Begins an issue: of a new order, or once more.
    pub(super) fn start(
        &mut self,
        reference: String,
        names: Vec<String>,
        csr: Csr,
        body: &Value,
        approvers: &str,
    ) {
        let method = if body["CNAMEAuthDVIndicator"] == true {
            if self.vendor == "DIGICERT" { "DNS" } else { "CNAME" }
        } else if body["HTTPSFileAuthDVIndicator"] == true {
            "HTTPS"
        } else if body["FileAuthDVIndicator"] == true {
            "HTTP"
        } else {
            "EMAIL"
        };
        self.approvers = body[approvers].as_str().unwrap().split(',').map(str::to_owned).collect();
        let wanted = if self.vendor == "DIGICERT" { 1 } else { names.len() };
        assert_eq!(self.approvers.len(), wanted, "approvers {:?} for {names:?}", self.approvers);
        let domain = |name: &String| Domain { name: name.clone(), method, valid: false, asked: false };
        self.domains = names.iter().map(domain).collect();
        // A value of the order's own, at Sectigo the one that it was given.
        self.fresh =
            body["CSRUniqueValue"].as_str().map_or_else(|| format!("q{}", self.polls), str::to_owned);
        let fresh = self.fresh.bytes().all(|byte| byte.is_ascii_alphanumeric());
        assert!(fresh && self.fresh.len() <= 20, "{}", self.fresh);
        (self.open, self.names, self.csr, self.polls) = (reference, names, Some(csr), 0);
    }

    /// The record of a domain: name and value.
    fn record(&self, domain: &Domain) -> (String, String) {
        let base = domain.name.trim_start_matches("*.");
        let key = &self.csr.as_ref().unwrap().public_key_hash().to_string()[..32];
        if domain.method == "dns_cname_token" {
            return (format!("_dnsauth.{base}"), format!("{key}.dcv.digicert.com"));
        }
        if self.vendor == "DIGICERT" {
            return (format!("_dnsauth.{base}"), format!("{}{key}", self.fresh));
        }
        (format!("_{key}.{base}"), format!("{key}.{key}.{}.sectigo.com", self.fresh))
    }

    fn file(&self) -> (String, String) {
        let key = self.csr.as_ref().unwrap().public_key_hash().to_string();
        if self.vendor == "DIGICERT" {
            return ("fileauth.txt".into(), format!("token{}{}", self.fresh, &key[..20]));
        }
        (format!("{}.txt", key[..32].to_uppercase()), format!("{key}\nsectigo.com\n{}", self.fresh))
    }

    fn approver(&self, place: usize) -> &str {
        self.approvers.get(place).or(self.approvers.first()).map_or("", String::as_str)
    }

    /// What has to be shown for a domain.
    pub(super) fn wanted(&self, domain: &Domain) -> String {
        let place = self.domains.iter().position(|other| other.name == domain.name).unwrap();
        match domain.method {
            "CNAME" | "dns_cname_token" => {
                let (name, value) = self.record(domain);
                format!("CNAME {name} {value}")
            }
            "DNS" => {
                let (name, value) = self.record(domain);
                format!("TXT {name} {value}")
            }
            "HTTP" | "HTTPS" => {
                let (name, body) = self.file();
                format!("http://{}/.well-known/pki-validation/{name} {body}", domain.name)
            }
            _ => format!("mail {} {}", self.approver(place), domain.name),
        }
    }

    /// The end of what was paid for.
    pub fn ends(&self) -> Timestamp {
        self.purchased + Duration::from_hours(24 * 365 / 12 * u64::try_from(self.months).unwrap())
    }

    fn open_proofs(&self) -> bool {
        self.major == "Pending" || self.minor == "PENDING_REISSUE"
    }

    /// The order in full.
    pub fn shown(&self) -> Value {
        let mut shown = self.listed();
        let first = self.domains.first().filter(|_| self.open_proofs());
        let vetting: Vec<Value> = self.domains.iter().filter(|_| self.open_proofs()).map(|domain| {
            let dns = matches!(domain.method, "CNAME" | "DNS" | "dns_cname_token").then(|| self.record(domain));
            let file = domain.method.starts_with("HTTP").then(|| self.file());
            json!({
                "domain": domain.name, "dcvMethod": domain.method,
                "dcvStatus": if domain.valid { "Validated" } else { "pending" },
                "FileName": file.as_ref().map(|file| &file.0), "FileContents": file.as_ref().map(|file| &file.1),
                "DNSName": dns.as_ref().map(|dns| &dns.0), "DNSEntry": dns.as_ref().map(|dns| &dns.1),
                "PollStatus": null, "LastPollDate": null,
            })
        }).collect();
        shown["OrderStatus"]["DomainAuthVettingStatus"] =
            if self.lists_proofs && !vetting.is_empty() { vetting.into() } else { Value::Null };
        let steps = self.vetting.map(|done| {
            json!([{ "AuthenticationStep": "Organization", "Status": if done { "done" } else { "in progress" } }])
        });
        shown["OrderStatus"]["AuthenticationStatuses"] = steps.unwrap_or_default();
        shown["OrderStatus"]["AuthenticationComments"] =
            self.comment.clone().map_or(Value::Null, Value::from);
        let dns = first
            .filter(|first| matches!(first.method, "CNAME" | "DNS" | "dns_cname_token"))
            .map(|first| self.record(first));
        let file = first.filter(|first| first.method.starts_with("HTTP")).map(|_| self.file());
        shown["CNAMEAuthName"] = dns.as_ref().map_or(Value::Null, |dns| dns.0.clone().into());
        shown["CNAMEAuthValue"] = dns.map_or(Value::Null, |dns| dns.1.into());
        shown["AuthFileName"] = file.as_ref().map_or(Value::Null, |file| file.0.clone().into());
        shown["AuthFileContent"] = file.map_or(Value::Null, |file| file.1.into());
        shown["ApproverEmail"] = self.approvers.join(",").into();
        shown["AdminContact"] = json!({ "FirstName": "Ada", "Email": self.email, "Country": "Sweden" });
        shown["TechnicalContact"] = Value::Null;
        shown
    }

    /// The order as the list shows it, without proofs and people.
    pub fn listed(&self) -> Value {
        let info = self.chain.as_ref().map(|chain| chain.info().unwrap());
        let text = |moment: Option<Timestamp>| american(moment).into();
        let date = |moment: Option<Timestamp>| -> Value { text(moment) };
        json!({
            "TheSSLStoreOrderID": self.number, "PartnerOrderID": "55012345", "CustomOrderID": self.reference,
            "VendorOrderID": 812_345_678, "ProductCode": self.product, "ProductName": self.product.to_uppercase(),
            "VendorName": self.vendor, "SubVendorName": null, "OrderAmount": "9.50",
            "OrderStatus": {
                "isTinyOrder": false, "isTinyOrderClaimed": "false", "MajorStatus": self.major,
                "MinorStatus": self.minor, "OrderNotes": null,
            },
            "PurchaseDate": "1/1/1900 12:00:00 AM", "PurchaseDateInUTC": date(Some(self.purchased)),
            "OrderExpiryDateInUTC": date(info.as_ref().map(|_| self.ends())),
            "CertificateEndDateInUTC": date(info.as_ref().map(|info| info.not_after)),
            "SerialNumber": info.as_ref().map(|info| info.serial.clone()),
            "CommonName": self.names.first().cloned().unwrap_or_else(|| "Positive SSL of the shop".into()),
            "DNSNames": self.names.iter().skip(1).cloned().collect::<Vec<_>>().join(","),
            "SANCount": "0", "ServerCount": self.servers, "Validity": self.months,
            "isRefundApproved": false, "RefundRequestID": self.refund,
            "Token": self.token(), "TokenID": self.token_id(), "TokenCode": ORDER_SECRET,
            "CustomerPassword": PASSWORD, "TinyOrderLink": format!("https://order.example/?code={ORDER_SECRET}"),
            "CustomerID": 0,
        })
    }

    pub(super) fn as_token(&self) -> Value {
        json!({
            "ProductCode": self.product, "ProductName": self.product.to_uppercase(), "VendorName": self.vendor,
            "OrderStatus": { "MajorStatus": self.major }, "NumberOfMonths": self.months, "ServerCount": 1,
        })
    }

    pub(super) fn give_back(&mut self, path: &str, at_once: bool) -> Answer {
        if self.major == "Cancelled" {
            return refusal(-9012, "the order is cancelled");
        }
        if path == "order/refundrequest" && self.refund.is_some() {
            return refusal(-9012, "a refund is asked for already");
        }
        self.refund.get_or_insert_with(|| "31".into());
        if at_once {
            self.cancel();
        }
        Ok(self.shown())
    }

    pub fn cancel(&mut self) {
        (self.major, self.minor) = ("Cancelled".into(), "REFUNDED".into());
    }

    pub(super) fn revoke(&mut self, serial: &Value) -> Answer {
        let known = self.chain.as_ref().map(|chain| chain.info().unwrap().serial);
        if known.as_deref() != serial.as_str() || self.major != "Active" {
            return refusal(-9009, "Vendor returns error:no such active certificate");
        }
        (self.major, self.minor) = ("Cancelled".into(), "REVOKED".into());
        Ok(json!({}))
    }
}

/// A moment as answers write it; 1900 stands for none.
fn american(moment: Option<Timestamp>) -> String {
    let Some(moment) = moment else { return "1/1/1900 12:00:00 AM".into() };
    let utc = moment.to_utc();
    let (half, hour) = (if utc.hour() < 12 { "AM" } else { "PM" }, (utc.hour() + 11) % 12 + 1);
    let (month, day, year) = (u8::from(utc.month()), utc.day(), utc.year());
    format!("{month}/{day}/{year} {hour}:{:02}:{:02} {half}", utc.minute(), utc.second())
}
