//! The API for keys, which changes sets.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use wiremock::Request;

use super::{Answer, Body, FakeZone, World, fault, parse};

/// The fields that a record of a replaced set has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetBody {
    data: String,
    ttl: u32,
}

impl World {
    pub(super) fn classic(
        &mut self,
        request: &Request,
        path: &[&str],
        query: &mut BTreeMap<String, String>,
    ) -> Answer {
        match (request.method.as_str(), path) {
            ("GET", ["domains"]) => {
                assert_eq!(query.remove("statuses").as_deref(), Some("ACTIVE"));
                let limit: usize = query.remove("limit").unwrap().parse().unwrap();
                assert!((1..=1_000).contains(&limit));
                let mut active = self.zones.iter().filter(|zone| zone.status == "ACTIVE").collect::<Vec<_>>();
                active.sort_by(|one, other| one.name.cmp(&other.name));
                let marker = query.remove("marker").unwrap_or_default();
                let after = active.into_iter().filter(|zone| zone.name > marker);
                Ok((200, after.take(limit).map(FakeZone::shown).collect()))
            }
            ("GET", ["domains", zone, "records", kind, name]) => {
                let limit: usize = query.remove("limit").unwrap().parse().unwrap();
                assert!((1..=500).contains(&limit));
                self.known(zone)?;
                let found = self.found(zone, kind, name);
                if found.is_empty() && self.absent_is_an_error {
                    return Err(fault(404, "NOT_FOUND", "No such record"));
                }
                Ok((200, found.iter().take(limit).map(|record| record.shown(false)).collect()))
            }
            ("PATCH", ["domains", zone, "records"]) => {
                self.known(zone)?;
                let bodies: Vec<Body> = parse(request)?;
                for body in bodies {
                    self.create(zone, &body, 604_800)?;
                }
                Ok((200, Value::Null))
            }
            ("PUT", ["domains", zone, "records", kind, name]) => {
                self.known(zone)?;
                let bodies: Vec<SetBody> = parse(request)?;
                assert!(!bodies.is_empty(), "an empty list is ignored");
                self.records.retain(|record| !record.is(zone, kind, name));
                for SetBody { data, ttl } in bodies {
                    let body = Body { kind: (*kind).into(), name: (*name).into(), data, ttl };
                    self.create(zone, &body, 604_800)?;
                }
                Ok((200, Value::Null))
            }
            ("DELETE", ["domains", zone, "records", kind, name]) => {
                self.known(zone)?;
                let count = self.records.len();
                self.records.retain(|record| !record.is(zone, kind, name));
                if self.records.len() == count {
                    Err(fault(404, "NOT_FOUND", "No such record"))
                } else {
                    Ok((204, Value::Null))
                }
            }
            (method, path) => panic!("no call that we may make: {method} {path:?}"),
        }
    }
}
