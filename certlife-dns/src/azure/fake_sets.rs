//! Record sets: what may be written into them, and how they are shown.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use wiremock::Request;

use super::{Answer, FakeSet, Fault, World, flat, wrapped, zone_id};

/// The fields that a record set may have.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    properties: Properties,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Properties {
    #[serde(rename = "TTL")]
    ttl: i64,
    #[serde(default)]
    metadata: Map<String, Value>,
    #[serde(default, rename = "TXTRecords")]
    texts: Vec<Text>,
    #[serde(rename = "CNAMERecord")]
    alias: Option<Alias>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    value: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Alias {
    cname: String,
}

impl World {
    pub(super) fn change(&mut self, request: &Request, key: &[String; 4]) -> Answer {
        if self.fail_in_body {
            return Err(wrapped(200, "InternalServerError", "Something went wrong"));
        }
        if let Some(refusal) = self.refuse_changes.clone() {
            return Err(refusal);
        }
        if let Some(value) = self.intruders.pop_front() {
            self.insert_text(key.clone(), &value);
        }
        let header = |name: &str| request.headers.get(name).map(|value| value.to_str().unwrap());
        let there = self.sets.get(key);
        let holds = match (header("if-match"), header("if-none-match")) {
            (Some(etag), None) => there.is_some_and(|set| set.etag == etag),
            (None, Some("*")) => there.is_none(),
            _ => panic!("a change without a condition overwrites what others write"),
        };
        if request.method.as_str() == "DELETE" {
            assert!(request.body.is_empty());
            if there.is_some() && !holds {
                return Err(flat(
                    412,
                    "PreconditionFailed",
                    "The condition in the If-Match header was not met.",
                ));
            }
            return Ok((if self.sets.remove(key).is_some() { 200 } else { 204 }, Value::Null));
        }
        if !holds {
            return Err(flat(412, "PreconditionFailed", "The condition in the If-Match header was not met."));
        }
        let existed = there.is_some();
        assert_eq!(request.headers["content-type"], "application/json");
        let body = serde_json::from_slice(&request.body)
            .map_err(|error| flat(400, "BadRequest", &format!("The body is not valid: {error}")))?;
        let mut set = self.check(key, body)?;
        set.etag = self.id();
        self.sets.insert(key.clone(), set.clone());
        Ok((if existed { 200 } else { 201 }, set.shown(key)))
    }

    fn check(&self, key: &[String; 4], body: Body) -> Result<FakeSet, Fault> {
        let bad = |words: &str| Err(flat(400, "BadRequest", words));
        let Properties { ttl, metadata, texts, alias } = body.properties;
        let texts: Vec<Vec<String>> = texts.into_iter().map(|text| text.value).collect();
        let strings = || texts.iter().flatten();
        if !(1..=2_147_483_647).contains(&ttl) {
            return bad("The TTL is out of range.");
        }
        if strings().any(|string| string.chars().count() > 255) {
            return bad("A string is longer than 255 characters.");
        }
        if texts.len() > 20 || strings().map(|string| string.chars().count()).sum::<usize>() > 4_096 {
            return bad("The record set is too large.");
        }
        let mut apart: Vec<String> = texts.iter().map(|text| text.concat()).collect();
        apart.sort();
        apart.dedup();
        if apart.len() < texts.len() || texts.iter().any(Vec::is_empty) {
            return bad("The record set has a record twice, or an empty one.");
        }
        let other = match key[2].as_str() {
            "txt" if texts.is_empty() || alias.is_some() => return bad("The record set has no TXT records."),
            "cname" if alias.is_none() || !texts.is_empty() => {
                return bad("The record set has no CNAME record.");
            }
            "cname" if key[3] == "@" => return bad("A CNAME cannot be at the apex."),
            "txt" => "cname",
            _ => "txt",
        };
        let beside = [key[0].clone(), key[1].clone(), other.into(), key[3].clone()];
        if self.sets.contains_key(&beside) {
            let detail = json!([{
                "code": "CannotCreateRecordDueToCNameNamingRestriction",
                "message": "A CNAME record with the same name already exists in this zone, or other records.",
            }]);
            return Err((
                409,
                json!({ "code": "Conflict", "message": "The record could not be created.", "details": detail }),
            ));
        }
        Ok(FakeSet { etag: String::new(), ttl, metadata, texts, alias: alias.map(|alias| alias.cname) })
    }
}

impl FakeSet {
    pub(super) fn shown(&self, [group, zone, kind, name]: &[String; 4]) -> Value {
        let kind = kind.to_uppercase();
        let mut properties = json!({
            "fqdn": format!("{name}.{zone}."), "TTL": self.ttl, "metadata": self.metadata,
            "provisioningState": "Succeeded", "targetResource": {},
        });
        match &self.alias {
            Some(alias) => properties["CNAMERecord"] = json!({ "cname": alias }),
            None => {
                let texts = self.texts.iter().map(|text| json!({ "value": text }));
                properties["TXTRecords"] = texts.collect();
            }
        }
        let id = format!("{}/{kind}/{name}", zone_id(group, zone));
        let kind = format!("Microsoft.Network/dnszones/{kind}");
        json!({ "id": id, "name": name, "type": kind, "etag": self.etag, "properties": properties })
    }
}
