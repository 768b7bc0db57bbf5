//! SSL records: request, order and certificate at once.

use std::collections::BTreeMap;

use certlife_core::{Chain, Identifier};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Answer, FIELD, Outcome, Scheme, World,
    account::{is_organization, profile},
    done, fault, ok, only, page, raw, refusal,
    rules::{Refused, check_notes, common_name, length, names, request},
};

/// What was ordered, and whether it costs money.
#[derive(Debug, Clone)]
pub(crate) struct LedgerLine {
    pub(crate) id: u64,
    pub(crate) csr: String,
    pub(crate) paid: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) org_id: u64,
    pub(crate) profile: u64,
    pub(crate) term: u64,
    pub(crate) csr: String,
    pub(crate) names: Vec<Identifier>,
    pub(crate) common_name: Option<String>,
    pub(crate) status: String,
    pub(crate) comments: Option<String>,
    pub(crate) external_requester: Option<String>,
    pub(crate) custom_fields: Vec<Field>,
    pub(crate) requested: String,
    pub(crate) renewed: bool,
    pub(crate) serial: Option<String>,
    pub(crate) chain: Option<Chain>,
    pub(crate) dcv_mode: Option<String>,
    pub(crate) polls: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Enrol {
    org_id: u64,
    csr: String,
    cert_type: u64,
    term: u64,
    subj_alt_names: Option<String>,
    comments: Option<String>,
    external_requester: Option<String>,
    #[serde(default)]
    custom_fields: Vec<Field>,
    dcv_mode: Option<String>,
    dcv_email: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Renew {
    csr: String,
    dcv_mode: Option<String>,
    dcv_email: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Replace {
    csr: String,
    reason: String,
    common_name: Option<String>,
    #[serde(default)]
    subject_alternative_names: Vec<String>,
    dcv_mode: Option<String>,
    dcv_email: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Update {
    ssl_id: u64,
    comments: Option<String>,
    external_requester: Option<String>,
    custom_fields: Option<Vec<Field>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Revoke {
    reason_code: Value,
    reason: String,
}

impl World {
    pub(super) fn enroll(&mut self, body: Enrol) -> Outcome {
        if !is_organization(body.org_id) {
            return Err(refusal(-1023, "Organization not found"));
        }
        let terms =
            profile(body.cert_type).ok_or_else(|| refusal(-111, "There is no profile with that id"))?;
        if !terms.days.contains(&body.term) {
            return Err(refusal(-36, &format!("Term {} is not available for this profile", body.term)));
        }
        let csr = request(&body.csr, terms.keys)?;
        let common_name = common_name(&csr);
        let names =
            names(common_name.as_deref(), body.subj_alt_names.as_deref().unwrap_or_default().split(','))?;
        check_notes(body.comments.as_deref(), body.external_requester.as_deref(), &body.custom_fields)?;
        if self.mandatory_field && !body.custom_fields.iter().any(|field| field.name == FIELD) {
            return Err(refusal(-62, "A mandatory custom field is missing"));
        }
        self.check_domains(&names, body.dcv_mode.as_deref(), body.dcv_email.as_deref())?;
        let record = Record {
            org_id: body.org_id,
            profile: body.cert_type,
            term: body.term,
            csr: body.csr,
            names,
            common_name,
            status: if self.approval { "Requested" } else { "Applied" }.to_owned(),
            comments: body.comments,
            external_requester: body.external_requester,
            custom_fields: body.custom_fields,
            requested: self.today(),
            renewed: false,
            serial: None,
            chain: None,
            dcv_mode: body.dcv_mode,
            polls: self.polls,
        };
        let id = self.book(record);
        Ok(ok(json!({ "sslId": id, "renewId": format!("Qk3vT9xLw0Zp{id:08}") })))
    }

    pub(super) fn renew(&mut self, id: u64, body: Renew) -> Outcome {
        let old = self.record(id)?.clone();
        if old.status != "Issued" && old.status != "Expired" {
            return Err(refusal(-123, "The certificate to renew is invalid"));
        }
        request(&body.csr, profile(old.profile).unwrap().keys)?;
        self.check_domains(&old.names, body.dcv_mode.as_deref(), body.dcv_email.as_deref())?;
        self.record(id)?.renewed = true;
        let record = Record {
            csr: body.csr,
            status: if self.approval { "Requested" } else { "Applied" }.to_owned(),
            comments: None,
            requested: self.today(),
            renewed: false,
            serial: None,
            chain: None,
            dcv_mode: body.dcv_mode,
            polls: self.polls,
            ..old
        };
        let renewed = self.book(record);
        Ok(if self.renews_without_id { done(204) } else { ok(json!({ "sslId": renewed })) })
    }

    pub(super) fn replace(&mut self, id: u64, body: Replace) -> Outcome {
        let old = self.record(id)?.clone();
        if old.status != "Issued" {
            return Err(refusal(-130, "The record is not in the issued state"));
        }
        length("reason", &body.reason, 1..=512)?;
        request(&body.csr, profile(old.profile).unwrap().keys)?;
        if let Some(name) = &body.common_name {
            length("commonName", name, 1..=64)?;
        }
        let sent = body.subject_alternative_names.iter().map(String::as_str);
        let names = names(body.common_name.as_deref(), sent)?;
        self.check_domains(&names, body.dcv_mode.as_deref(), body.dcv_email.as_deref())?;
        self.reasons.push(body.reason);
        let (polls, csr) = (self.polls, body.csr);
        self.ledger.push(LedgerLine { id, csr: csr.clone(), paid: false });
        let record = self.record(id)?;
        *record = Record { csr, names, status: "Applied".to_owned(), polls, dcv_mode: body.dcv_mode, ..old };
        Ok(done(204))
    }

    pub(super) fn update(&mut self, body: Update) -> Outcome {
        let fields = body.custom_fields.as_deref().unwrap_or_default();
        check_notes(body.comments.as_deref(), body.external_requester.as_deref(), fields)?;
        let record = self.record(body.ssl_id)?;
        record.comments = body.comments.or(record.comments.take());
        record.external_requester = body.external_requester.or(record.external_requester.take());
        if let Some(fields) = body.custom_fields {
            record.custom_fields = fields;
        }
        Ok(ok(self.shown(body.ssl_id)))
    }

    pub(super) fn details(&mut self, id: u64) -> Outcome {
        self.record(id)?;
        self.advance(id);
        Ok(ok(self.shown(id)))
    }

    pub(super) fn list(&self, query: &BTreeMap<String, String>) -> Answer {
        only(query, &["size", "position", "commonName", "orgId", "sslTypeId", "serialNumber", "status"]);
        let wanted =
            |name: &str, value: Option<&str>| query.get(name).is_none_or(|told| Some(&**told) == value);
        let lines = self.records.iter().filter(|(_, record)| {
            wanted("commonName", record.common_name.as_deref())
                && wanted("orgId", Some(&record.org_id.to_string()))
                && wanted("sslTypeId", Some(&record.profile.to_string()))
                && wanted("serialNumber", record.serial.as_deref())
                && wanted("status", Some(&record.status))
        });
        let lines = lines.map(|(id, record)| {
            let names: Vec<String> = record.names.iter().map(ToString::to_string).collect();
            let mut line = json!({ "sslId": id, "commonName": record.common_name });
            // Lines may lack these.
            if id % 2 == 0 {
                line["subjectAlternativeNames"] = json!(names);
                line["serialNumber"] = json!(record.serial);
            }
            line
        });
        page(lines.collect(), query)
    }

    pub(super) fn collect(&mut self, id: u64, query: &BTreeMap<String, String>) -> Outcome {
        only(query, &["format"]);
        let formats =
            ["x509", "x509CO", "x509IO", "x509IOR", "x509R", "pem", "pemco", "pemia", "base64", "bin"];
        if !query.get("format").is_none_or(|format| formats.contains(&format.as_str())) {
            return Err(refusal(-1450, "Unsupported format"));
        }
        assert_eq!(query["format"], "pemia", "the only form that this one writes");
        let root = self.issuer.root_pem();
        let Some(record) = self.records.get(&id) else {
            return Err(fault(404, -5101, "Certificate not found"));
        };
        match (record.status.as_str(), &record.chain) {
            ("Issued" | "Expired", Some(chain)) => Ok(raw((chain.pem() + &root).replace('\n', "\r\n"))),
            ("Revoked", _) => Err(refusal(-110, "The certificate is revoked")),
            _ => Err(refusal(0, "Being processed by Sectigo")),
        }
    }

    pub(super) fn decide(&mut self, verb: &str, id: u64, body: Message) -> Outcome {
        length("message", &body.message, 1..=512)?;
        let record = self.record(id)?;
        if record.status != "Requested" {
            return Err(refusal(-1112, "The request cannot be approved in its current state"));
        }
        record.status = if verb == "approve" { "Approved" } else { "Declined" }.into();
        Ok(done(204))
    }

    pub(super) fn revoke(&mut self, serial: &str, body: Revoke) -> Outcome {
        length("reason", &body.reason, 1..=512)?;
        let code = match (&body.reason_code, self.scheme) {
            (Value::String(code), Scheme::OAuth) => code.parse().unwrap(),
            (Value::Number(code), Scheme::Password | Scheme::Certificate) => code.as_u64().unwrap(),
            (other, _) => panic!("{other} is no reason code at this host"),
        };
        if ![0, 1, 3, 4, 5].contains(&code) {
            return Err(refusal(-1601, "reasonCode has an invalid value"));
        }
        let serial = serial.replace("%3A", ":");
        let found = self.records.values_mut().find(|record| record.serial.as_deref() == Some(&*serial));
        let Some(record) = found else { return Err(refusal(-5101, "Certificate not found")) };
        if record.status != "Issued" {
            return Err(refusal(-102, "Revocation is possible for issued certificates only"));
        }
        record.status = "Revoked".into();
        Ok(done(204))
    }

    pub(super) fn recheck(&mut self, id: u64) -> Outcome {
        if self.record(id)?.status != "Applied" {
            return Err(refusal(-724, "Wrong validation status"));
        }
        self.advance(id);
        let shown = self.shown_dcv(id);
        Ok(Answer { status: 202, ..ok(shown) })
    }

    pub(super) fn order_dcv(&mut self, id: u64) -> Outcome {
        self.record(id)?;
        if self.prevalidation {
            return Err(refusal(-1603, "Domain validation error"));
        }
        let shown = self.shown_dcv(id);
        Ok(ok(if self.shows_lists { json!([shown]) } else { shown }))
    }

    pub(crate) fn record(&mut self, id: u64) -> Result<&mut Record, Refused> {
        self.records.get_mut(&id).ok_or_else(|| refusal(-124, "Wrong SSL certificate id"))
    }

    /// Puts a record into the world past the interface, and returns its id.
    pub(crate) fn insert(&mut self, record: Record) -> u64 {
        self.next_id += 1;
        self.records.insert(self.next_id, record);
        self.next_id
    }

    fn book(&mut self, record: Record) -> u64 {
        let csr = record.csr.clone();
        let id = self.insert(record);
        self.ledger.push(LedgerLine { id, csr, paid: true });
        id
    }

    fn check_domains(
        &self,
        names: &[Identifier],
        mode: Option<&str>,
        email: Option<&str>,
    ) -> Result<(), Refused> {
        if names.is_empty() {
            return Err(refusal(-7, "The common name is missing"));
        }
        if self.prevalidation {
            assert!(mode.is_none() && email.is_none(), "domains are validated apart from orders");
        } else if let Some(mode) = mode
            && !["CNAME", "EMAIL", "HTTP", "HTTPS", "TXT"].contains(&mode)
        {
            return Err(refusal(-1601, "dcvMode has an invalid value"));
        }
        assert_eq!(mode == Some("EMAIL"), email.is_some(), "an address goes with this method");
        for name in names.iter().filter_map(Identifier::base_name) {
            let name = name.as_str();
            let registered: Vec<&str> = name.rsplitn(3, '.').take(2).collect();
            let registered = format!("{}.{}", registered[1], registered[0]);
            let Some(domain) = self.domains.get(&registered) else {
                return Err(refusal(-1010, &format!("Domain {name} is not allowed")));
            };
            if self.prevalidation && domain.status != "VALIDATED" {
                return Err(refusal(-1137, &format!("Domain {registered} is not validated")));
            }
        }
        Ok(())
    }
}
