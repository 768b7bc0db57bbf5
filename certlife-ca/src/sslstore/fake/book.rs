//! The books: how orders are placed, proven and issued.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use certlife_core::{
    CertificateAuthority, Chain, Csr, Identifier,
    ca::{OrderIntent, OrderRequest, Purpose},
    challenge::ChallengeResponse,
};
use serde_json::{Value, json};

use super::{Answer, Caller, FakeOrder, World, refusal, shelf, words};

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

    pub(super) fn approvers(body: &Value) -> Answer {
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
        body["AdminContact"]["Email"].as_str().unwrap().clone_into(&mut order.email);
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
        let eyes = self.eyes.clone();
        let holds = |line: &str| shown.contains(line) || eyes.as_ref().is_some_and(|sees| sees(line));
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
            if looks && holds(&order.wanted(domain)) {
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
