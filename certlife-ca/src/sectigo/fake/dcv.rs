//! The validation of domains apart from orders.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Outcome, Scheme, World, body, done, ok, only, page, refusal};

const DAY: Duration = Duration::from_hours(24);

/// A domain that the account has, and how its validation is.
#[derive(Debug, Clone)]
pub(crate) struct DomainRecord {
    pub(crate) status: &'static str,
    pub(crate) order_status: &'static str,
    pub(crate) mode: Option<String>,
    pub(crate) expires: Option<String>,
    pub(crate) email: Option<String>,
    /// How often it was begun; each time other values are wanted.
    pub(crate) turn: u32,
}

impl Default for DomainRecord {
    fn default() -> Self {
        Self {
            status: "NOT_VALIDATED",
            order_status: "NOT_INITIATED",
            mode: None,
            expires: None,
            email: None,
            turn: 0,
        }
    }
}

impl DomainRecord {
    pub(crate) fn validated() -> Self {
        Self { status: "VALIDATED", expires: Some("2030-11-17".to_owned()), ..Self::default() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfDomain {
    domain: String,
    email: Option<String>,
}

/// What is wanted for a domain by a method.
fn wanted(domain: &str, mode: &str, turn: u32) -> Value {
    match mode {
        "CNAME" => json!({
            "host": format!("_cname{turn}.{domain}."), "point": format!("target{turn}.sectigo.com."),
        }),
        "TXT" => json!({
            "host": format!("_pki-validation.{domain}."), "point": format!("sectigo-{turn} \"quoted\"; value"),
        }),
        "HTTP" => json!({
            "url": format!("http://{domain}/.well-known/pki-validation/FILE{turn}.txt"),
            "firstLine": format!("first{turn}"), "secondLine": "sectigo.com",
        }),
        _ => json!({}),
    }
}

fn offered(domain: &str) -> Vec<String> {
    ["admin", "administrator", "hostmaster", "webmaster", "postmaster"]
        .map(|mailbox| format!("{mailbox}@{domain}"))
        .into()
}

impl World {
    pub(super) fn dcv(
        &mut self,
        method: &str,
        version: &str,
        path: &[&str],
        query: &BTreeMap<String, String>,
        bytes: &[u8],
    ) -> Outcome {
        let right = match self.scheme {
            Scheme::OAuth => version == "v2",
            // Only the status is there in the second version too.
            _ => version == "v1" || (version == "v2" && path == ["status"]),
        };
        assert!(right, "this host has no /dcv/{version}/validation/{path:?}");
        if (method, path) == ("GET", &[]) {
            only(query, &["size", "position", "domain", "org", "dcvStatus", "orderStatus", "expiresIn"]);
            let lines = self.domains.iter().map(|(name, record)| {
                json!({ "domain": name, "dcvStatus": record.status, "expirationDate": record.expires })
            });
            return Ok(page(lines.collect(), query));
        }
        assert_eq!(method, "POST");
        let OfDomain { domain, email } = body(bytes)?;
        assert!(email.is_none() || path == ["submit", "domain", "email"], "no e-mail address goes there");
        if domain.split('.').count() != 2 {
            return Err(refusal(-723, "Only high-level domains can be validated"));
        }
        if !self.domains.contains_key(&domain) {
            return Err(refusal(-727, &format!("Domain '{domain}' is not known to this account")));
        }
        match path {
            ["status"] => Ok(ok(self.dcv_state(&domain))),
            ["sync"] => {
                assert_eq!(query.get("force").map(String::as_str), Some("true"));
                self.look_for_proof(&domain);
                Ok(ok(self.dcv_state(&domain)))
            }
            ["clear"] => {
                let record = self.domains.get_mut(&domain).unwrap();
                (record.order_status, record.mode) = ("NOT_INITIATED", None);
                Ok(ok(
                    json!({ "status": record.status, "orderStatus": "NOT_INITIATED", "message": "Cleared" }),
                ))
            }
            ["delete"] => Ok(done(200)),
            ["start", "domain", mode @ ("cname" | "http" | "email")] => {
                let mode = mode.to_uppercase();
                let record = self.domains.get_mut(&domain).unwrap();
                if record.order_status == "SUBMITTED" {
                    return Err(refusal(-724, "Wrong validation status"));
                }
                record.turn += 1;
                record.order_status = "AWAITING_SUBMISSION";
                record.mode = Some(mode.clone());
                Ok(ok(if mode == "EMAIL" {
                    json!({ "emails": offered(&domain), "dcvEmails": [{
                        "domainName": domain, "adminEmails": offered(&domain),
                        "whoisEmails": [format!("registrant@{domain}"), "not an address"], "dnsTxtEmails": null,
                    }] })
                } else {
                    wanted(&domain, &mode, record.turn)
                }))
            }
            ["submit", "domain", mode @ ("cname" | "http" | "txt" | "email")] => {
                self.submit(&domain, &mode.to_uppercase(), email)
            }
            path => panic!("there is no /dcv/{version}/validation/{path:?}"),
        }
    }

    fn submit(&mut self, domain: &str, mode: &str, email: Option<String>) -> Outcome {
        let record = self.domains.get_mut(domain).unwrap();
        let started = record.order_status == "AWAITING_SUBMISSION" && record.mode.as_deref() == Some(mode);
        let idle = mode == "TXT" && record.order_status == "NOT_INITIATED";
        if !started && !idle {
            return Err(refusal(-724, "Wrong validation status"));
        }
        if mode == "EMAIL" {
            let Some(email) = email.filter(|email| offered(domain).contains(email)) else {
                return Err(refusal(-1601, "The address is not one of those that are offered"));
            };
            record.email = Some(email);
        }
        if mode == "TXT" {
            record.turn += 1;
        }
        (record.order_status, record.mode) = ("SUBMITTED", Some(mode.to_owned()));
        let mut answer = json!({
            "status": record.status, "orderStatus": "SUBMITTED", "message": "Submitted successfully",
            "orderBackendId": "88120045",
        });
        match mode {
            "TXT" => extend(&mut answer, wanted(domain, mode, record.turn)),
            "EMAIL" => extend(&mut answer, json!({ "emailValidationReferenceNumber": "4711" })),
            _ => {}
        }
        Ok(ok(answer))
    }

    fn dcv_state(&self, domain: &str) -> Value {
        let record = &self.domains[domain];
        let mut state = json!({
            "status": record.status, "orderStatus": record.order_status, "expirationDate": record.expires,
        });
        if let Some(mode) = &record.mode {
            state["orderMode"] = json!(mode);
            extend(&mut state, wanted(domain, mode, record.turn));
            if mode == "EMAIL" {
                state["validationEmail"] = json!(record.email);
            }
        }
        state
    }

    fn look_for_proof(&mut self, domain: &str) {
        let until = self.clock.now() + 199 * DAY;
        let record = &self.domains[domain];
        let (Some(mode), "SUBMITTED") = (record.mode.clone(), record.order_status) else { return };
        let text = |value: &Value| value.as_str().unwrap_or_default().trim_end_matches('.').to_owned();
        let wanted = wanted(domain, &mode, record.turn);
        let proof = match mode.as_str() {
            "EMAIL" => (mode, record.email.clone().unwrap_or_default(), String::new()),
            "HTTP" => {
                let content = format!("{}\n{}", text(&wanted["firstLine"]), text(&wanted["secondLine"]));
                (mode, text(&wanted["url"]), content)
            }
            _ => (mode, text(&wanted["host"]), text(&wanted["point"])),
        };
        let is_proven = self.sees(&proof);
        let record = self.domains.get_mut(domain).unwrap();
        if self.disproven.contains(domain) {
            record.order_status = "REJECTED";
        } else if is_proven {
            let day = until.to_string().split('T').next().unwrap_or_default().to_owned();
            *record = DomainRecord { expires: Some(day), ..DomainRecord::validated() };
        }
    }
}

pub(super) fn extend(value: &mut Value, more: Value) {
    if let (Value::Object(value), Value::Object(more)) = (value, more) {
        value.extend(more);
    }
}
