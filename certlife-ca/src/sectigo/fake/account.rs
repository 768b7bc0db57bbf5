//! Profiles, organizations and domains.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    Answer, DEPARTMENT, DOMAIN, DomainRecord, FIELD, ORGANIZATION, Outcome, PROFILE, RSA_PROFILE,
    UNVALIDATED, World, fault, ok, only, page, refusal,
};

/// More domains than fit on two pages.
const DOMAINS: usize = 430;

pub(super) fn domains() -> BTreeMap<String, DomainRecord> {
    let filler = (0..DOMAINS).map(|number| format!("filler-{number:03}.example"));
    let validated = filler.chain([DOMAIN.to_owned()]).map(|name| (name, DomainRecord::validated()));
    let others = ["apart.example", "approved.example", "elsewhere.example"];
    validated.chain(others.map(|name| (name.to_owned(), DomainRecord::default()))).collect()
}

pub(super) struct Terms {
    pub(super) days: &'static [u64],
    pub(super) keys: &'static [&'static str],
}

pub(super) fn profile(id: u64) -> Option<Terms> {
    match id {
        PROFILE => Some(Terms { days: &[199, 90], keys: &["rsa", "ec"] }),
        RSA_PROFILE => Some(Terms { days: &[90], keys: &["rsa"] }),
        _ => None,
    }
}

impl World {
    pub(super) fn types(query: &BTreeMap<String, String>) -> Outcome {
        only(query, &["organizationId"]);
        if let Some(id) = query.get("organizationId")
            && !is_organization(id.parse().unwrap())
        {
            return Err(refusal(-1023, "Organization not found"));
        }
        let all = json!({ "RSA": ["2048", "3072", "4096"], "EC": ["P-256", "P-384", "P-521"] });
        let main = json!({
            "id": PROFILE, "name": "OV Multi-Domain", "description": "Public OV, several names",
            "terms": [199, 90], "keyTypes": all, "useSecondaryOrgName": false,
        });
        Ok(ok(json!([
            main,
            // Two identical entries have been met.
            main,
            { "id": RSA_PROFILE, "name": "OV RSA", "terms": [90], "keyTypes": { "RSA": ["2048"] } },
        ])))
    }

    pub(super) fn custom_fields(&self) -> Answer {
        ok(json!([
            { "id": 1, "name": FIELD, "mandatory": self.mandatory_field },
            { "id": 2, "name": "Reference", "mandatory": false },
        ]))
    }

    pub(super) fn organizations() -> Answer {
        ok(json!([
            {
                "id": ORGANIZATION, "name": "Acme Corp", "certTypes": ["SSL"],
                "departments": [{ "id": DEPARTMENT, "name": "Web", "parentName": "Acme Corp" }],
            },
            { "id": UNVALIDATED, "name": "Acme Labs" },
        ]))
    }

    pub(super) fn validations(&self, id: &str) -> Outcome {
        if self.hides_validations {
            return Err(refusal(-3, "You are not authorized to perform this action"));
        }
        match id.parse() {
            Ok(ORGANIZATION) => Ok(ok(json!([
                { "id": 1, "status": "FAILED", "validationLevel": "OV_SMIME", "expires": null },
                { "id": 2, "status": "EXPIRED", "validationLevel": "EV_SSL", "expires": "2024-01-01T00:00:00.000Z" },
                { "id": 3, "status": "VALIDATED", "type": "OV", "expires": "2030-05-01T00:00:00.000Z" },
            ]))),
            Ok(UNVALIDATED) => Ok(ok(json!([{ "id": 4, "status": "PENDING", "validationLevel": "OV_SSL" }]))),
            _ => Err(fault(404, -1023, "Organization not found")),
        }
    }

    pub(super) fn list_domains(&self, query: &BTreeMap<String, String>) -> Answer {
        only(query, &["size", "position", "name", "state", "status", "orgId"]);
        let lines = self.domains.keys().enumerate().map(|(id, name)| json!({ "id": id + 1, "name": name }));
        let wildcard = json!({ "id": 9_999, "name": format!("*.{DOMAIN}") });
        page(lines.chain([wildcard]).collect(), query)
    }
}

pub(super) fn is_organization(id: u64) -> bool {
    [ORGANIZATION, UNVALIDATED, DEPARTMENT].contains(&id)
}
