//! Orders: how they are placed, proven, issued and ended.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use certlife_core::{
    CertificateAuthority, Chain, Csr, Identifier, Timestamp,
    ca::{OrderIntent, OrderRequest, Purpose},
    challenge::ChallengeResponse,
};
use serde_json::{Value, json};

use super::{Answer, Caller, ORDER_SECRET, PASSWORD, World, refusal, shelf, words};

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
    domains: Vec<Domain>,
    /// The reference that the open issue is for.
    open: String,
    polls: u32,
    fresh: String,
}

/// The proof of one name.
struct Domain {
    name: String,
    method: &'static str,
    valid: bool,
    asked: bool,
}

impl World {
    /// Notes that what a challenge asks for is in place.
    pub fn show(&mut self, identifier: &Identifier, response: &ChallengeResponse) -> bool {
        let line = match response {
            ChallengeResponse::DnsTxt { name, value } => format!("TXT {name} {value}"),
            ChallengeResponse::DnsCname { name, target } => format!("CNAME {name} {target}"),
            ChallengeResponse::Http(file) => {
                format!("http://{}{} {}", file.host, file.path, file.body.as_str())
            }
            ChallengeResponse::Email { address } => format!("mail {address} {identifier}"),
            _ => return false,
        };
        self.shown.insert(line);
        true
    }

    /// Books an order that is paid for and not configured, for whoever has its token.
    pub fn invite(&mut self, product: &str) -> String {
        let order = self.book(product, 12);
        let number = order.number.clone();
        self.orders.push(order);
        self.ledger.push((String::new(), number.clone(), true));
        number
    }

    fn book(&self, product: &str, months: i64) -> FakeOrder {
        let (vendor, _, vetted) = shelf::find(product).expect("a product");
        let number = (7_000_001 + self.orders.len()).to_string();
        FakeOrder {
            product: product.to_owned(),
            vendor,
            purchased: self.now(),
            major: "Initial".into(),
            minor: "Initial".into(),
            vetting: vetted.then_some(false),
            months,
            lists_proofs: true,
            number,
            ..FakeOrder::empty()
        }
    }

    pub(super) fn approvers(&self, body: &Value) -> Answer {
        let domain = body["DomainName"].as_str().unwrap();
        if shelf::find(body["ProductCode"].as_str().unwrap()).is_none() {
            return refusal(-9005, "invalid product");
        }
        assert!(!domain.starts_with('*'), "{domain}");
        let mut list = vec![json!("none"), json!(""), Value::Null, json!("support@geotrust.com")];
        list.push(json!(format!("owner@whois.{domain}")));
        let parent = domain.split_once('.').map(|(_, parent)| parent).filter(|parent| parent.contains('.'));
        for host in std::iter::once(domain).chain(parent) {
            for mailbox in ["admin", "administrator", "hostmaster", "postmaster", "webmaster"] {
                list.push(json!(format!("{mailbox}@{host}")));
            }
        }
        Ok(json!({ "ApproverEmailList": list, "baseDomainName": domain }))
    }

    pub(super) fn new_order(&mut self, body: &Value, caller: &Caller) -> Answer {
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        let code = text("ProductCode");
        let Some((_, multi, _)) = shelf::find(&code) else { return refusal(-9005, "invalid product") };
        let names = names(&text("DomainName"), &body["DNSNames"]);
        let csr = self.csr(&body["CSR"])?;
        covers(&csr, &names, body["AutoWWW"] == true)?;
        if names.len() > 1 && !multi {
            return refusal(-9009, "Vendor returns error:this product is for one name");
        }
        if body["AdminContact"]["Email"].as_str().is_none_or(str::is_empty) {
            return refusal(-9002, "AdminContact.Email is a required field");
        }
        if ![12, 24].contains(&body["ValidityPeriod"].as_i64().unwrap()) {
            return refusal(-9005, "invalid validity period");
        }
        if body["ReserveSANCount"].as_i64().unwrap() + body["WildcardReserveSANCount"].as_i64().unwrap_or(0)
            < i64::try_from(names.len() - 1).unwrap()
        {
            return refusal(-9009, "Vendor returns error:more names than licences");
        }
        let related = text("RelatedTheSSLStoreOrderID");
        assert_eq!(body["isRenewalOrder"] == true, !related.is_empty());
        if !related.is_empty() && !self.orders.iter().any(|order| order.number == related) {
            return refusal(-9007, "related order not found");
        }
        let reference = text("CustomOrderID");
        let (place, paid) = match caller {
            Caller::Partner => {
                let order = self.book(&code, body["ValidityPeriod"].as_i64().unwrap());
                self.orders.push(order);
                (self.orders.len() - 1, true)
            }
            // It is paid for already; the token configures it once.
            Caller::Token(number) => {
                let place = self.orders.iter().position(|order| order.number == *number).unwrap();
                if self.orders[place].major != "Initial" || self.orders[place].product != code {
                    return refusal(-9010, "the order cannot be configured like this");
                }
                (place, false)
            }
        };
        let order = &mut self.orders[place];
        self.ledger.push((reference.clone(), order.number.clone(), paid));
        order.reference.clone_from(&reference);
        order.servers = body["ServerCount"].as_i64().unwrap();
        order.email = body["AdminContact"]["Email"].as_str().unwrap().to_owned();
        order.start(reference, names, csr, body, "ApproverEmail");
        order.major = "Pending".into();
        order.minor = "PENDING".into();
        Ok(self.orders[place].shown())
    }

    pub(super) fn reissue(&mut self, body: &Value, caller: &Caller) -> Answer {
        let number = self.which(&json!({ "TheSSLStoreOrderID": body["TheSSLStoreOrderID"] }), caller)?;
        let csr = self.csr(&body["CSR"])?;
        let renames = self.reissue_renames;
        let order = self.order(&number);
        if order.major != "Active" || order.minor == "PENDING_REISSUE" {
            return refusal(-9009, "Vendor returns error:order is not active");
        }
        if body["ReissueEmail"] != order.email.as_str() {
            return refusal(-9005, "reissue email differs from the administrator's");
        }
        let names = names(&order.names[0].clone(), &body["DNSNames"]);
        covers(&csr, &names, true)?;
        let changes = |member: &str, value: &str| -> Vec<String> {
            body[member]
                .as_array()
                .unwrap()
                .iter()
                .map(|pair| pair[value].as_str().unwrap().to_owned())
                .collect()
        };
        let missing = |from: &[String], than: &[String]| -> Vec<String> {
            from.iter().skip(1).filter(|name| !than.contains(name)).cloned().collect()
        };
        assert_eq!(changes("AddSAN", "NewValue"), missing(&names, &order.names));
        assert_eq!(changes("DeleteSAN", "OldValue"), missing(&order.names, &names));
        let reference = body["CustomOrderID"].as_str().unwrap().to_owned();
        if renames {
            order.reference.clone_from(&reference);
        }
        order.start(reference.clone(), names, csr, body, "ApproverEmails");
        order.vetting = None;
        order.minor = "PENDING_REISSUE".into();
        let shown = order.shown();
        // Within its term an order is reissued at no cost.
        self.ledger.push((reference, number, false));
        Ok(shown)
    }

    fn csr(&self, value: &Value) -> Result<Csr, (i32, String)> {
        let text = value.as_str().unwrap();
        let encoded = text.contains("%2B") || text.contains("%0A") || text.contains("%20");
        let form = if encoded { "encoded" } else { "plain" };
        if self.csr_form.is_some_and(|wanted| wanted != form) {
            return refusal(-9009, "Vendor returns error:csr_invalid Failed to parse CSR");
        }
        let decoded: String = if encoded {
            let pairs = format!("x={}", text.replace('+', "%2B"));
            url::form_urlencoded::parse(pairs.as_bytes()).next().unwrap().1.into_owned()
        } else if text.contains('\n') {
            text.to_owned()
        } else {
            text.replacen("REQUEST-----", "REQUEST-----\n", 1).replace("-----END", "\n-----END")
        };
        Csr::from_pem(&decoded)
            .or_else(|_| refusal(-9009, "Vendor returns error:csr_invalid Failed to parse CSR"))
    }

    /// What happens at the CA between two questions.
    pub(super) fn advance(&mut self, number: &str) {
        let (to_check, to_issue) = (self.polls_to_check, self.polls_to_issue);
        let (shown, disproven) = (self.shown.clone(), self.disproven.clone());
        let order = self.order(number);
        let open = order.major == "Pending" || order.minor == "PENDING_REISSUE";
        if !open || order.refund.is_some() {
            return;
        }
        order.polls += 1;
        if order.polls <= to_check {
            return;
        }
        if let Some(name) = order.names.iter().find(|name| disproven.contains(*name)) {
            order.comment = Some(format!("control of {name} could not be shown"));
            (order.major, order.minor) = ("Cancelled".into(), "Order Rejected".into());
            return;
        }
        // Sectigo looks by itself; DigiCert when it is told to, but for messages.
        let by_itself = order.vendor != "DIGICERT";
        for place in 0..order.domains.len() {
            let domain = &order.domains[place];
            let looks = by_itself || domain.asked || domain.method == "EMAIL";
            if looks && shown.contains(&order.wanted(domain)) {
                order.domains[place].valid = true;
            }
        }
        let ready = order.domains.iter().all(|domain| domain.valid) && order.vetting != Some(false);
        if ready && order.polls > to_check + to_issue {
            self.issue(number);
        }
    }

    fn issue(&mut self, number: &str) {
        let order = self.orders.iter().find(|order| order.number == number).unwrap();
        let csr = order.csr.clone().unwrap();
        let request = OrderRequest {
            purpose: Purpose::New,
            identifiers: csr.identifiers().unwrap().into_iter().collect(),
            key_algorithm: None,
            validity: None,
            product: None,
            organization: None,
            contacts: Vec::new(),
            challenges: [].into(),
            options: Value::Null,
        };
        let intent = OrderIntent { reference: format!("{}-{}", order.open, self.issued.len()), request, csr };
        let placed = at_once(self.issuer.place(&intent)).expect("the issuer issues at once");
        let reference = order.open.clone();
        let order = self.order(number);
        order.chain = placed.certificate;
        (order.major, order.minor) = ("Active".into(), "Active".into());
        self.issued.push(reference);
    }

    pub(super) fn download(&mut self, number: &str, archive: bool) -> Answer {
        let root = Chain::from_ders([self.root()]).unwrap().leaf_pem();
        let order = self.order(number);
        let Some(chain) = order.chain.clone().filter(|_| order.major == "Active") else {
            return refusal(-9011, "the certificate is not available");
        };
        let mut answer = json!({
            "PartnerOrderID": "55012399", "TheSSLStoreOrderID": null, "VendorOrderID": null,
            "CertificateStatus": "issued", "ValidationStatus": "",
        });
        if archive {
            answer["Zip"] = STANDARD.encode(chain.pem()).into();
            answer["pkcs7zip"] = STANDARD.encode("pkcs7").into();
            return Ok(answer);
        }
        // Upside down, with the root, and named by the CA's taste.
        let file =
            |name: &str, text: String| json!({ "FileName": name, "FileContent": text.replace('\n', "\r\n") });
        answer["Certificates"] = json!([
            file("Root.crt", root),
            file("CACertificate-INTERMEDIATE-1.cer", chain.intermediates_pem()),
            file("812345678.crt", chain.leaf_pem()),
            { "FileName": "bundle.p7b", "FileContent": "-----BEGIN PKCS7-----\r\nMAA=\r\n-----END PKCS7-----\r\n" },
        ]);
        Ok(answer)
    }

    pub(super) fn change_proof(&mut self, path: &str, number: &str, body: &Value) -> Answer {
        let deaf = self.deaf;
        let order = self.order(number);
        if order.major != "Pending" && order.minor != "PENDING_REISSUE" {
            return refusal(-9009, "Vendor returns error:order is not awaiting validation");
        }
        let name = body.get("DomainNames").or(body.get("DomainName")).and_then(Value::as_str).unwrap();
        let Some(place) = order.domains.iter().position(|domain| domain.name == name) else {
            return refusal(-9009, "Vendor returns error:no such domain in the order");
        };
        let address = body.get("ApproverEmail").or(body.get("ResendEmail")).and_then(Value::as_str);
        let by_flag = |name: &str| body[name] == true;
        let method = match body["ApproverMethod"].as_str() {
            Some("Email" | "EMAIL") => Some("EMAIL"),
            Some("HTTP") => Some("HTTP"),
            Some("HTTPS") => Some("HTTPS"),
            Some("DNS") => Some("CNAME"),
            Some("dns_cname_token") if order.vendor == "DIGICERT" => Some("dns_cname_token"),
            Some(other) => return refusal(-9005, &format!("invalid method {other}")),
            None if by_flag("CNAMEAuthDVIndicator") => Some("CNAME"),
            None if by_flag("FileAuthDVIndicator") => Some("HTTP"),
            None if path == "order/changeapproveremail" => Some("EMAIL"),
            None => None,
        };
        let domain = &mut order.domains[place];
        match (path, method) {
            ("digicert/checkdcv", _) if order.vendor == "DIGICERT" => domain.asked = true,
            ("order/resend", _) if domain.method == "EMAIL" => {}
            (_, Some(method)) if !deaf => {
                domain.method = if method == "CNAME" && order.vendor == "DIGICERT" { "DNS" } else { method };
                if let Some(address) = address {
                    let fallback = order.approvers.first().cloned().unwrap_or_default();
                    order.approvers.resize(order.domains.len(), fallback);
                    address.clone_into(&mut order.approvers[place]);
                }
            }
            (_, Some(_)) => {}
            _ => return refusal(-9009, "Vendor returns error:not possible for this order"),
        }
        Ok(json!({}))
    }
}

/// Runs what never waits.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the issuer waits"),
    }
}

fn names(first: &str, rest: &Value) -> Vec<String> {
    let rest = rest.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
    std::iter::once(first.to_owned()).chain(rest).collect()
}

/// Whether a request is for the names of its order and those that come with them.
fn covers(csr: &Csr, names: &[String], www: bool) -> Result<(), (i32, String)> {
    let asked = csr.identifiers().or_else(|error| refusal(-9009, &words(&error.into())))?;
    let asked: Vec<String> = asked.iter().map(ToString::to_string).collect();
    let missing = names.iter().any(|name| !asked.contains(name));
    let base = names[0].strip_prefix("*.").unwrap_or(&names[0]);
    let comes =
        |name: &String| *name == base || (www && *name == format!("www.{base}")) || names.contains(name);
    if missing || !asked.iter().all(comes) {
        return refusal(
            -9009,
            &format!("Vendor returns error:the request is for {asked:?}, the order for {names:?}"),
        );
    }
    Ok(())
}

impl FakeOrder {
    fn empty() -> Self {
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
    fn start(&mut self, reference: String, names: Vec<String>, csr: Csr, body: &Value, approvers: &str) {
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
    fn wanted(&self, domain: &Domain) -> String {
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
            "OrderExpiryDateInUTC": date(None),
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
