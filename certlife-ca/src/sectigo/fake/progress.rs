//! What becomes of a record at the CA, and how it is shown.

use std::time::Duration;

use certlife_core::Csr;
use certlife_testkit::ca::Template;
use serde_json::{Value, json};

use super::{Record, World};

const DAY: Duration = Duration::from_hours(24);

impl World {
    /// What happens at the CA between two looks.
    pub(super) fn advance(&mut self, id: u64) {
        let record = &self.records[&id];
        match record.status.as_str() {
            "Approved" => {
                self.records.get_mut(&id).unwrap().status = "Applied".into();
                return;
            }
            "Applied" => {}
            _ => return,
        }
        if record.names.iter().any(|name| self.disproven.contains(&name.to_string())) {
            self.records.get_mut(&id).unwrap().status = "Rejected".into();
            return;
        }
        if !self.prevalidation && !wanted(id, record).iter().all(|one| self.is_proven(one)) {
            return;
        }
        let record = self.records.get_mut(&id).unwrap();
        if record.polls > 0 {
            record.polls -= 1;
            return;
        }
        self.issue(id);
    }

    /// Issues now, whatever is missing.
    pub(crate) fn issue(&mut self, id: u64) {
        self.next_serial += 1;
        let mut serial = [0x5c; 16];
        serial[8..].copy_from_slice(&(self.next_serial << 8).to_be_bytes());
        let now = self.clock.now();
        let record = self.records.get_mut(&id).unwrap();
        let csr = Csr::from_pem(&record.csr).unwrap();
        let term = DAY * u32::try_from(record.term).unwrap();
        let template = Template {
            csr: &csr,
            identifiers: &record.names,
            serial,
            not_before: now - DAY,
            not_after: now + term,
        };
        record.chain = Some(self.issuer.issue(&template).unwrap());
        record.serial = Some(serial.map(|byte| format!("{byte:02X}")).join(":"));
        record.status = "Issued".into();
        self.issued.push(record.csr.clone());
    }

    fn is_proven(&self, wanted: &Wanted) -> bool {
        self.sees(&(wanted.mode.clone(), wanted.place.clone(), wanted.value.clone()))
    }

    /// Looks for a proof: kind, place and value.
    pub(super) fn sees(&self, proof: &(String, String, String)) -> bool {
        let (kind, place, value) = proof;
        self.proofs.contains(proof) || self.eyes.as_ref().is_some_and(|sees| sees(kind, place, value))
    }

    pub(super) fn shown_dcv(&self, id: u64) -> Value {
        let record = &self.records[&id];
        let wanted = wanted(id, record);
        let log: Vec<Value> = wanted
            .iter()
            .map(|one| {
                let status = if self.is_proven(one) { "Validated" } else { "Awaiting Validation" };
                json!({ "dcvStatus": status, "domainName": one.domain, "lastCheck": "2026-01-01 10:00:00" })
            })
            .collect();
        let error = if record.status == "Rejected" {
            json!({ "code": -107, "description": "the proof for the domain was wrong" })
        } else {
            json!({ "code": null, "description": null })
        };
        let instructions: Vec<Value> = wanted.iter().map(Wanted::shown).collect();
        json!({ "dcvLog": { "error": error, "log": log }, "instructions": instructions })
    }

    pub(super) fn shown(&self, id: u64) -> Value {
        let record = &self.records[&id];
        let names: Vec<String> = record.names.iter().map(ToString::to_string).collect();
        let fields: Vec<Value> = record
            .custom_fields
            .iter()
            .map(|field| json!({ "name": field.name, "value": field.value }))
            .collect();
        let mut shown = json!({
            "commonName": record.common_name, "sslId": id, "id": id, "orgId": record.org_id,
            "status": record.status, "backendCertId": "2093847561", "vendor": "Sectigo Limited",
            "certType": { "id": record.profile, "name": "OV Multi-Domain", "terms": [199, 90] },
            "term": record.term, "requester": "pki-bot@acme.test", "requestedVia": "Web API",
            "requested": record.requested, "approved": "", "renewed": record.renewed, "keySize": 0,
            "subjectAlternativeNames": names, "customFields": fields, "suspendNotifications": false,
            "certificateDetails": {}, "autoRenewDetails": { "state": "Not scheduled" },
        });
        for (member, value) in [
            ("comments", &record.comments),
            ("externalRequester", &record.external_requester),
            ("serialNumber", &record.serial),
        ] {
            if let Some(value) = value {
                shown[member] = json!(value);
            }
        }
        shown
    }

    /// The day as details tell it.
    pub(super) fn today(&self) -> String {
        let text = self.clock.now().to_string();
        format!("{}/{}/{}", &text[5..7], &text[8..10], &text[..4])
    }
}

/// What an order wants for one of its domains.
struct Wanted {
    domain: String,
    mode: String,
    place: String,
    value: String,
}

impl Wanted {
    fn shown(&self) -> Value {
        let Self { domain, mode, place, value } = self;
        let mut shown = json!({ "domainName": domain, "dcvMode": mode });
        let more = match mode.as_str() {
            "HTTP" => json!({ "url": place, "file": value }),
            "EMAIL" => json!({ "dcvEmail": place }),
            "CNAME" => json!({ "host": format!("{place}."), "point": format!("{value}.") }),
            _ => json!({ "host": format!("{place}."), "point": value }),
        };
        super::dcv::extend(&mut shown, more);
        shown
    }
}

fn wanted(id: u64, record: &Record) -> Vec<Wanted> {
    let mut domains: Vec<String> = Vec::new();
    for name in &record.names {
        let domain = name.base_name().map_or_else(|| name.to_string(), ToString::to_string);
        if !domains.contains(&domain) {
            domains.push(domain);
        }
    }
    let one = |domain: String| {
        let is_address = domain.parse::<std::net::IpAddr>().is_ok();
        let mode = if is_address { "HTTP" } else { record.dcv_mode.as_deref().unwrap_or("CNAME") };
        let (place, value) = match mode {
            "HTTP" => (
                format!("http://{domain}/.well-known/pki-validation/H{id}.txt"),
                format!("hash{id}\nsectigo.com"),
            ),
            "EMAIL" => (format!("admin@{domain}"), String::new()),
            "TXT" => (format!("_pki-validation.{domain}"), format!("token-{id}")),
            _ => (format!("_h{id}.{domain}"), format!("p{id}.sectigo.com")),
        };
        Wanted { domain, mode: mode.to_owned(), place, value }
    };
    domains.into_iter().map(one).collect()
}
