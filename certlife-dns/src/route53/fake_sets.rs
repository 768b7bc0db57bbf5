//! What the service makes of a batch of changes.

use std::{collections::BTreeSet, fmt::Write as _};

use quick_xml::escape::escape;
use serde::Deserialize;

use super::{FakeSet, FakeZone, Fault, NAMESPACE, fault};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    #[serde(rename = "@xmlns")]
    xmlns: String,
    #[serde(rename = "ChangeBatch")]
    batch: ChangeBatch,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeBatch {
    #[serde(rename = "Changes")]
    changes: Changes,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Changes {
    #[serde(rename = "Change")]
    list: Vec<Change>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Change {
    action: String,
    resource_record_set: Set,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Set {
    name: String,
    r#type: String,
    #[serde(rename = "TTL")]
    ttl: u32,
    resource_records: Values,
    health_check_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Values {
    #[serde(rename = "ResourceRecord")]
    list: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Value {
    #[serde(rename = "Value")]
    text: String,
}

/// Carries a batch out, as a whole or not at all.
pub(super) fn apply(sets: &mut Vec<FakeSet>, zone: &FakeZone, body: &[u8]) -> Result<(), Fault> {
    let batch: Batch = quick_xml::de::from_reader(body).expect("a batch");
    assert_eq!(batch.xmlns, NAMESPACE);
    let mut changed = sets.clone();
    for Change { action, resource_record_set } in batch.batch.changes.list {
        change(&mut changed, zone, &action, resource_record_set)?;
    }
    *sets = changed;
    Ok(())
}

fn bad_batch<T>(message: impl Into<String>) -> Result<T, Fault> {
    fault(400, "InvalidChangeBatch", format!("[{}]", message.into()))
}

fn change(sets: &mut Vec<FakeSet>, zone: &FakeZone, action: &str, set: Set) -> Result<(), Fault> {
    let Set { name, r#type: kind, ttl, resource_records, health_check_id } = set;
    assert!(name.ends_with('.') && name == name.to_lowercase(), "{name}");
    let values: Vec<String> = resource_records.list.into_iter().map(|value| value.text).collect();
    if !is_within(&name, zone) {
        return bad_batch(format!("RRSet with DNS name {name} is not permitted in zone {}.", zone.name));
    }
    if i32::try_from(ttl).is_err() || !values.iter().all(|value| is_well_formed(&kind, value)) {
        return fault(400, "InvalidInput", format!("Invalid Resource Record: FATAL problem: {values:?}"));
    }
    if values.iter().collect::<BTreeSet<_>>().len() < values.len() {
        return bad_batch(format!("Duplicate Resource Record: '{values:?}'"));
    }
    let behind = health_check_id.map(|id| format!("<HealthCheckId>{id}</HealthCheckId>")).unwrap_or_default();
    let set = FakeSet { zone: zone.id.clone(), name, kind, ttl, values, extra: (String::new(), behind) };
    let FakeSet { name, kind, .. } = &set;
    let what = format!("resource record set [name='{name}', type='{kind}']");
    let here = |other: &&FakeSet| other.zone == zone.id && other.name == *name;
    let same = sets.iter().position(|other| here(&other) && other.kind == *kind);
    match (action, same) {
        ("CREATE", Some(there)) if sets[there].extra.0.contains("SetIdentifier") => bad_batch(format!(
            "RRSet with DNS name {name}, type {kind} cannot be created as other RRSets exist with the same name and type."
        )),
        ("CREATE", Some(_)) => bad_batch(format!("Tried to create {what} but it already exists")),
        ("CREATE", None) => {
            if sets.iter().any(|other| here(&other) && other.kind == "CNAME") {
                return bad_batch(format!(
                    "RRSet of type {kind} with DNS name {name} is not permitted because a conflicting RRSet of type  \
                     CNAME with the same DNS name already exists in zone {}.",
                    zone.name
                ));
            }
            if kind == "CNAME"
                && (sets.iter().any(|other| here(&other)) || *name == format!("{}.", zone.name))
            {
                return bad_batch(format!(
                    "RRSet of type CNAME with DNS name {name} is not permitted as it conflicts with other records \
                     with the same DNS name in zone {}.",
                    zone.name
                ));
            }
            sets.push(set);
            Ok(())
        }
        ("DELETE", None) => bad_batch(format!("Tried to delete {what} but it was not found")),
        ("DELETE", Some(there)) => {
            let mut exact = sets[there].clone();
            exact.values.sort();
            let mut stated = set.clone();
            stated.values.sort();
            if exact != stated {
                return bad_batch(format!(
                    "Tried to delete {what} but the values provided do not match the current values"
                ));
            }
            sets.remove(there);
            Ok(())
        }
        (action, _) => panic!("{action} is not to be used"),
    }
}

impl FakeSet {
    pub(super) fn shown(&self) -> String {
        let Self { name, kind, ttl, values, extra: (before, behind), .. } = self;
        let mut text = format!("<ResourceRecordSet><Name>{name}</Name><Type>{kind}</Type>{before}");
        if !values.is_empty() {
            write!(text, "<TTL>{ttl}</TTL><ResourceRecords>").unwrap();
            for value in values {
                write!(text, "<ResourceRecord><Value>{}</Value></ResourceRecord>", escape(value)).unwrap();
            }
            text += "</ResourceRecords>";
        }
        text + behind + "</ResourceRecordSet>"
    }
}

/// TXT has to be quoted strings of at most 255 bytes with octal escapes, a target a name.
fn is_well_formed(kind: &str, value: &str) -> bool {
    if kind == "CNAME" {
        return value.contains('.') && !value.contains(['"', ' ']);
    }
    let (mut inside, mut bytes, mut length) = (false, value.bytes(), 0);
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => (inside, length) = (!inside, 0),
            b' ' if !inside => {}
            b'\\' if inside => match bytes.next() {
                Some(b'"' | b'\\') => length += 1,
                Some(b'0'..=b'3')
                    if bytes.by_ref().take(2).filter(|byte| (b'0'..=b'7').contains(byte)).count() == 2 =>
                {
                    length += 1;
                }
                _ => return false,
            },
            b' '..=b'~' if inside => length += 1,
            _ => return false,
        }
        if length > 255 {
            return false;
        }
    }
    !inside && value.len() >= 2 && value.len() <= 4_000
}

pub(super) fn is_within(name: &str, zone: &FakeZone) -> bool {
    let apex = format!("{}.", zone.name);
    name == apex || name.ends_with(&format!(".{apex}"))
}
