//! The API for tokens, in which each value is a record.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wiremock::Request;

use super::{Answer, Body, FakeZone, World, fault, parse};

impl World {
    pub(super) fn newer(
        &mut self,
        request: &Request,
        path: &[&str],
        query: &mut BTreeMap<String, String>,
        here: &str,
    ) -> Answer {
        match (request.method.as_str(), path) {
            ("GET", ["domains", "domain-names"]) => {
                self.scope("domains.domain:read")?;
                let size: usize = query.remove("pageSize").unwrap().parse().unwrap();
                assert!((1..=100).contains(&size));
                let skip: usize = query.remove("pageToken").map_or(0, |token| token.parse().unwrap());
                let items: Vec<Value> =
                    self.zones.iter().skip(skip).take(size).map(FakeZone::shown).collect();
                let mut links = vec![json!({ "rel": "self", "href": here })];
                if skip + items.len() < self.zones.len() {
                    let here = if self.relative_links { request.url.path() } else { here };
                    let next = format!("{here}?pageSize={size}&pageToken={}", skip + items.len());
                    links.push(json!({ "rel": "next", "href": self.next_link.clone().unwrap_or(next) }));
                }
                Ok((200, json!({ "items": items, "links": links })))
            }
            ("GET", ["domains", "zones", zone, "dns-records"]) => {
                self.scope("domains.domain:read")?;
                self.known(zone)?;
                assert_eq!(query.remove("totalRequired").as_deref(), Some("true"));
                let mut number = |name: &str| query.remove(name).unwrap().parse::<usize>().unwrap();
                let (page, size) = (number("page"), number("pageSize"));
                assert!(page >= 1 && (1..=100).contains(&size));
                let (kind, name) = (query.remove("type").unwrap(), query.remove("name").unwrap());
                let found = self.found(zone, &kind, &name);
                let shown: Vec<Value> = found
                    .iter()
                    .skip((page - 1) * size)
                    .take(size)
                    .map(|record| record.shown(true))
                    .collect();
                let mut body = json!({ "items": shown, "links": [] });
                if !found.is_empty() {
                    body["totalItems"] = found.len().into();
                    body["totalPages"] = found.len().div_ceil(size).into();
                }
                Ok((200, body))
            }
            ("POST", ["domains", "zones", zone, "dns-records"]) => {
                self.scope("domains.dns:update")?;
                self.known(zone)?;
                let body: Body = parse(request)?;
                if body.data.chars().count() > 512 {
                    return Err(fault(422, "INVALID_BODY", "The data is too long"));
                }
                let made = self.create(zone, &body, 86_400)?;
                Ok((201, made.shown(true)))
            }
            ("DELETE", ["domains", "zones", zone, "dns-records", id]) => {
                self.scope("domains.dns:update")?;
                self.known(zone)?;
                let there = self.records.iter().position(|record| record.id == *id && record.zone == *zone);
                let there = there.ok_or_else(|| fault(404, "NOT_FOUND", "No such record"))?;
                self.records.remove(there);
                Ok((204, Value::Null))
            }
            (method, path) => panic!("no call that we may make: {method} {path:?}"),
        }
    }

    fn scope(&self, scope: &'static str) -> Result<(), (u16, Value)> {
        let words = format!("The token lacks the scope {scope}");
        if self.denied.contains(&scope) { Err(fault(403, "FORBIDDEN", &words)) } else { Ok(()) }
    }
}
