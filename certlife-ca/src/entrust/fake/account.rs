//! Company units, organizations, licences, and domains with their validation.

use certlife_core::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, World, fault, field, listing};
use crate::outside::Outside;

#[derive(Debug, Clone)]
pub(crate) struct FakeDomain {
    pub(crate) name: String,
    pub(crate) client: i64,
    pub(crate) method: String,
    pub(crate) status: String,
    pub(crate) email: Option<String>,
    /// How often its value was made up.
    pub(crate) turn: u32,
    /// Reads until the value is there.
    pub(crate) value_in: u32,
    /// Whether what is asked for is in place.
    pub(crate) proven: bool,
    pub(crate) ov_expiry: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NewDomain {
    domain_name: Option<String>,
    verification_method: String,
    email_method: Option<Email>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Email {
    email_source: String,
    email: Option<String>,
}

pub(super) fn clients() -> Vec<Value> {
    vec![
        json!({
            "clientId": 1, "clientName": "Northwind Trial Ltd", "friendlyClientName": "Northwind",
            "verificationStatus": "Approved", "ovExpiryDate": "2027-03-01T00:00:00Z", "evVerificationStatus": null,
            "uri": "/enterprise/v2/clients/1",
        }),
        json!({ "clientId": "2", "clientName": "Northwind Labs GmbH", "verificationStatus": "PENDING" }),
    ]
}

pub(super) fn organizations() -> Vec<Value> {
    vec![
        json!({ "name": "Northwind Trial Ltd", "verificationStatus": "APPROVED", "clientId": 1 }),
        json!({ "name": "Northwind Holding", "verificationStatus": "EXPIRED", "clientId": 1 }),
        json!({ "name": "Northwind Labs GmbH", "verificationStatus": "PENDING", "clientId": 2 }),
        json!({ "name": "Northwind Trial Ltd", "verificationStatus": "APPROVED", "clientId": 2 }),
    ]
}

pub(super) fn inventories() -> Vec<Value> {
    vec![
        json!({ "productType": "UC_SSL", "totalCount": 400, "remainingCount": 311, "usedCount": 25 }),
        json!({ "productType": "STANDARD_SSL", "totalCount": 4, "remainingCount": "2", "usedCount": 2 }),
        json!({ "productType": "EV_SSL", "totalCount": 4, "remainingCount": 0, "usedCount": 4 }),
        json!({ "productType": "PRIVATE_SSL", "consumptionType": "UNLIMITED", "usedCount": 7 }),
        json!({ "productType": "CODE_SIGNING", "totalCount": 1, "remainingCount": 1, "usedCount": 0 }),
        json!({ "productType": "CMS_1_ADMIN", "remainingCount": 1, "usedCount": 1 }),
    ]
}

fn no_domain() -> (u16, Value) {
    fault(404, "Unknown domain")
}

impl FakeDomain {
    pub(crate) fn approved(name: &str, client: i64) -> Self {
        Self {
            name: name.to_owned(),
            client,
            method: "DNS".to_owned(),
            status: "APPROVED".to_owned(),
            email: None,
            turn: 0,
            value_in: 0,
            proven: true,
            ov_expiry: Some(Timestamp::from_unix_seconds(4_000_000_000)),
        }
    }

    pub(crate) fn value(&self) -> String {
        format!("7C1E40B2D95A4F13A86E0D77{:08X}", self.turn)
    }

    /// Whether what is asked for can be seen.
    fn is_shown(&self, outside: &Outside) -> bool {
        match self.method.as_str() {
            "DNS" => outside.has_txt(&format!("_pki-validation.{}", self.name), &self.value()),
            "WEB_SERVER" => {
                let place = format!("http://{}/.well-known/pki-validation/{}.txt", self.name, self.turn);
                outside.serves(&place, &self.value())
            }
            _ => false,
        }
    }

    fn allows_orders(&self) -> bool {
        matches!(self.status.as_str(), "APPROVED" | "RE_VERIFICATION" | "EXPIRING")
    }

    fn begin(&mut self, new: &NewDomain, status: &str, value_in: u32) -> Result<(), (u16, Value)> {
        let email = match (new.verification_method.as_str(), &new.email_method) {
            ("DNS" | "WEB_SERVER", None) => None,
            ("EMAIL", Some(Email { email_source, email: Some(email) })) if email_source == "SPECIFIED" => {
                Some(email.clone())
            }
            ("EMAIL", Some(Email { email_source, email: None })) if email_source == "INCLUDE_WHOIS" => {
                Some(format!("whois@{}", self.name))
            }
            _ => return Err(field("verificationMethod", "Invalid verification method")),
        };
        if email.as_ref().is_some_and(|email| !email.ends_with(&self.name)) {
            return Err(field("email", "The address may not approve this domain"));
        }
        self.method.clone_from(&new.verification_method);
        status.clone_into(&mut self.status);
        self.email = email;
        self.turn += 1;
        self.value_in = value_in;
        self.proven = false;
        Ok(())
    }

    fn shown(&self, in_full: bool) -> Value {
        let is_valid = self.allows_orders();
        let mut shown = json!({
            "domainName": self.name, "clientId": self.client, "verificationMethod": self.method,
            "verificationStatus": self.status, "ovEligible": is_valid, "evEligible": false,
        });
        if let Some(end) = self.ov_expiry.filter(|_| is_valid) {
            shown["ovExpiry"] = json!(end);
        }
        if !in_full || self.value_in > 0 || self.turn == 0 || self.status == "APPROVED" {
            return shown;
        }
        match self.method.as_str() {
            "DNS" => {
                let place = format!("_pki-validation.{}", self.name);
                shown["dnsMethod"] =
                    json!({ "recordDomain": place, "recordType": "TXT", "recordValue": self.value() });
            }
            "WEB_SERVER" => {
                let place = format!("http://{}/.well-known/pki-validation/{}.txt", self.name, self.turn);
                shown["webServerMethod"] = json!({ "fileLocation": place, "fileContents": self.value() });
            }
            _ => shown["emailMethod"] = json!([self.email]),
        }
        shown
    }
}

impl World {
    pub(crate) fn domain(&mut self, name: &str) -> &mut FakeDomain {
        self.domains.iter_mut().find(|domain| domain.name == name).expect("the domain is known")
    }

    /// Whether a unit may order for a name.
    pub(super) fn covers(&self, client: i64, name: &str) -> bool {
        let name = name.strip_prefix("*.").unwrap_or(name);
        let encloses =
            |domain: &&FakeDomain| name == domain.name || name.ends_with(&format!(".{}", domain.name));
        let of_client = self.domains.iter().filter(|domain| domain.client == client);
        of_client.filter(encloses).any(FakeDomain::allows_orders)
    }

    pub(super) fn list_domains(&self, query: &[(String, String)]) -> Answer {
        let shown = self.domains.iter().map(|domain| domain.shown(false)).collect();
        listing::page("domains", shown, query, self.max_page, &["domainName:asc"])
    }

    pub(super) fn add_domain(&mut self, client: &str, new: &NewDomain) -> Answer {
        let client = Self::client(client)?;
        let name = new.domain_name.clone().ok_or_else(|| field("domainName", "Required"))?;
        if self.domains.iter().any(|domain| domain.name == name && domain.client == client) {
            return Err(field("domainName", "The domain exists already"));
        }
        let mut domain = FakeDomain { ov_expiry: None, ..FakeDomain::approved(&name, client) };
        domain.begin(new, "INITIAL_VERIFICATION", self.value_after)?;
        self.domains.push(domain);
        Ok((202, None))
    }

    pub(super) fn change_domain(&mut self, client: &str, name: &str, new: &NewDomain) -> Answer {
        let (client, value_after) = (Self::client(client)?, self.value_after);
        if new.domain_name.is_some() {
            return Err(field("domainName", "Not allowed here"));
        }
        let domain = self.domain_of(client, name)?;
        let status = if domain.allows_orders() { "RE_VERIFICATION" } else { "INITIAL_VERIFICATION" };
        domain.begin(new, status, value_after)?;
        Ok((202, None))
    }

    /// Reading is what time is counted in: the value comes, then the CA looks.
    pub(super) fn show_domain(&mut self, client: &str, name: &str) -> Answer {
        let (client, now) = (Self::client(client)?, self.now());
        let outside = self.outside.clone();
        let domain = self.domain_of(client, name)?;
        if matches!(domain.status.as_str(), "INITIAL_VERIFICATION" | "RE_VERIFICATION") {
            if domain.value_in > 0 {
                domain.value_in -= 1;
            } else if domain.proven || outside.is_some_and(|outside| domain.is_shown(&outside)) {
                domain.status = "APPROVED".to_owned();
                domain.ov_expiry = Some(now + std::time::Duration::from_hours(24 * 397));
            }
        }
        Ok((200, Some(domain.shown(true))))
    }

    fn domain_of(&mut self, client: i64, name: &str) -> Result<&mut FakeDomain, (u16, Value)> {
        let found = self.domains.iter_mut().find(|domain| domain.name == name && domain.client == client);
        found.ok_or_else(no_domain)
    }

    fn client(id: &str) -> Result<i64, (u16, Value)> {
        let id: i64 = id.parse().map_err(|_| fault(404, "Unknown clientId"))?;
        if (1..=2).contains(&id) { Ok(id) } else { Err(fault(404, "Unknown clientId")) }
    }
}
