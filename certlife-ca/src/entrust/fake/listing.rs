//! Pages and filters.

use serde_json::{Value, json};

use super::{Answer, World, fault, field};

/// The filters of certificates, with the operators that each takes.
const FILTERS: [(&str, &[&str]); 7] = [
    ("status", &["eq", "in"]),
    ("certType", &["eq", "in"]),
    ("serialNumber", &["eq", "in", "con"]),
    ("isThirdParty", &["eq"]),
    ("tracking.trackingInfo", &["eq", "con", "in"]),
    ("org", &["eq", "con", "in"]),
    ("trackingId", &["eq", "in"]),
];

/// One page of `items`.
pub(super) fn page(
    key: &str,
    items: Vec<Value>,
    query: &[(String, String)],
    max_page: usize,
    sorts: &[&str],
) -> Answer {
    let value = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let number = |name: &str, usual: usize| {
        value(name).map_or(Ok(usual), |text| text.parse().map_err(|_| field(name, "Not a number")))
    };
    let (offset, limit) = (number("offset", 0)?, number("limit", 25)?);
    if !(1..=1_000).contains(&limit) {
        return Err(field("limit", "Out of range"));
    }
    if value("sort").is_some_and(|sort| !sorts.contains(&sort)) {
        return Err(field("sort", "Invalid sort"));
    }
    let limit = limit.min(max_page);
    let total = items.len();
    let shown: Vec<Value> = items.into_iter().skip(offset).take(limit).collect();
    let summary = json!({
        "timestamp": "2025-05-06T09:31:44.120Z", "elapsed": 212, "offset": offset, "limit": limit, "total": total,
    });
    Ok((200, Some(json!({ "summary": summary, key: shown }))))
}

impl World {
    pub(super) fn list_orders(&self, query: &[(String, String)]) -> Answer {
        let mut items: Vec<Value> = Vec::new();
        for order in &self.orders {
            if self.hides_unfinished && matches!(order.status.as_str(), "APPROVED" | "DECLINED") {
                continue;
            }
            let shown = order.shown(false);
            let mut fits = true;
            for (name, value) in query {
                fits &= match name.as_str() {
                    "offset" | "limit" | "sort" => true,
                    "fields" if value == "*" => true,
                    name => passes(&shown, name, value)?,
                };
            }
            if fits {
                items.push(shown);
            }
        }
        page("certificates", items, query, self.max_page, &["trackingId:asc", "trackingId:desc"])
    }
}

fn passes(shown: &Value, name: &str, wanted: &str) -> Result<bool, (u16, Value)> {
    let Some((_, operators)) = FILTERS.iter().find(|(known, _)| *known == name) else {
        return Err(fault(400, &format!("Unknown filter {name}")));
    };
    let (operator, wanted) = match wanted.split_once(':') {
        Some((operator, rest)) if operators.contains(&operator) => (operator, rest),
        Some(_) => return Err(field(name, "Unknown operator")),
        None => ("eq", wanted),
    };
    let pointer = format!("/{}", name.replace('.', "/"));
    let told = match shown.pointer(&pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => return Ok(false),
        Some(other) => other.to_string(),
    };
    Ok(match operator {
        "con" => told.contains(wanted),
        "in" => wanted.split(',').any(|wanted| told == wanted),
        _ => told == wanted,
    })
}
