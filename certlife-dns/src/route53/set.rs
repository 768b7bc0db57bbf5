//! Sets of records, as they travel.

use certlife_core::{
    Error, ErrorKind, Fqdn, Operation, Result,
    dns::{DnsRecord, RecordData},
};
use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::NAME;
use crate::txt::{self, Escape};

/// All records of one name and type. The fields stand in the order that the schema wants.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RecordSet {
    name: String,
    r#type: String,
    /// Tells it from others of the same name and type: weighted, multivalue, by place.
    #[serde(skip_serializing)]
    set_identifier: Option<String>,
    #[serde(rename = "TTL", skip_serializing_if = "Option::is_none")]
    ttl_seconds: Option<u32>,
    #[serde(default)]
    resource_records: Values,
    #[serde(skip_serializing)]
    alias_target: Option<IgnoredAny>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health_check_id: Option<String>,
    #[serde(skip_serializing)]
    traffic_policy_instance_id: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Values {
    #[serde(rename = "ResourceRecord", default)]
    list: Vec<Value>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Value {
    #[serde(rename = "Value")]
    text: String,
}

impl RecordSet {
    /// The set of this record alone.
    pub(super) fn new(record: &DnsRecord, ttl_seconds: u32) -> Self {
        Self {
            name: format!("{}.", record.name),
            r#type: record.data.type_name().to_owned(),
            set_identifier: None,
            ttl_seconds: Some(ttl_seconds),
            resource_records: Values { list: vec![Value::new(&record.data)] },
            alias_target: None,
            health_check_id: None,
            traffic_policy_instance_id: None,
        }
    }

    pub(super) fn is_of(&self, name: &Fqdn, kind: &str) -> bool {
        self.r#type == kind && self.name.parse::<Fqdn>().is_ok_and(|found| found == *name)
    }

    /// What makes it a set that is not changed here, in words.
    pub(super) fn oddity(&self) -> Option<&'static str> {
        if self.set_identifier.is_some() {
            Some("is split up by a routing policy")
        } else if self.alias_target.is_some() {
            Some("is an alias")
        } else if self.traffic_policy_instance_id.is_some() {
            Some("belongs to a traffic policy")
        } else {
            None
        }
    }

    pub(super) fn holds(&self, data: &RecordData) -> bool {
        self.resource_records.list.iter().any(|value| value.is(data))
    }

    /// The set with one value more. None if there can only be one.
    pub(super) fn with(&self, data: &RecordData) -> Option<Self> {
        let mut more = self.clone();
        more.resource_records.list.push(Value::new(data));
        matches!(data, RecordData::Txt(_)).then_some(more)
    }

    /// The set without a value. None if nothing is left.
    pub(super) fn without(&self, data: &RecordData) -> Option<Self> {
        let mut less = self.clone();
        less.resource_records.list.retain(|value| !value.is(data));
        (!less.resource_records.list.is_empty()).then_some(less)
    }
}

impl Value {
    fn new(data: &RecordData) -> Self {
        let text = match data {
            RecordData::Txt(value) => txt::quoted_as(Escape::Octal, value),
            RecordData::Cname(target) => format!("{target}."),
        };
        Self { text }
    }

    /// Whether it means `data`. Targets stay as they were written, with or without a final dot.
    fn is(&self, data: &RecordData) -> bool {
        match data {
            RecordData::Txt(value) => txt::unquoted_as(Escape::Octal, &self.text) == *value,
            RecordData::Cname(target) => self.text.parse::<Fqdn>().is_ok_and(|found| found == *target),
        }
    }
}

/// What is deleted and what is created, as one change.
#[derive(Serialize)]
#[serde(rename = "ChangeResourceRecordSetsRequest")]
pub(super) struct Batch<'a> {
    #[serde(rename = "@xmlns")]
    xmlns: &'static str,
    #[serde(rename = "ChangeBatch")]
    batch: ChangeBatch<'a>,
}

#[derive(Serialize)]
struct ChangeBatch<'a> {
    #[serde(rename = "Changes")]
    changes: Changes<'a>,
}

#[derive(Serialize)]
struct Changes<'a> {
    #[serde(rename = "Change")]
    list: Vec<Change<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Change<'a> {
    action: &'static str,
    resource_record_set: &'a RecordSet,
}

impl<'a> Batch<'a> {
    pub(super) fn new(old: Option<&'a RecordSet>, new: Option<&'a RecordSet>) -> Self {
        let change = |action| move |resource_record_set| Change { action, resource_record_set };
        let list = old.map(change("DELETE")).into_iter().chain(new.map(change("CREATE"))).collect();
        let xmlns = "https://route53.amazonaws.com/doc/2013-04-01/";
        Self { xmlns, batch: ChangeBatch { changes: Changes { list } } }
    }

    pub(super) fn to_xml(&self, operation: Operation) -> Result<String> {
        let body = quick_xml::se::to_string(self).map_err(|error| {
            let kind = ErrorKind::Protocol("the record set does not fit into XML".into());
            Error::new(NAME, operation, kind).because(error.to_string())
        })?;
        Ok(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: &str) -> DnsRecord {
        DnsRecord::txt("_acme-challenge.example.com".parse().unwrap(), value)
    }

    #[test]
    fn a_batch_looks_as_documented() {
        let old = RecordSet::new(&record("first-value"), 60);
        let new = old.with(&record("<second> \"value\"").data).unwrap();
        let xml = Batch::new(Some(&old), Some(&new)).to_xml(Operation::PublishRecord).unwrap();
        let set = |values: &str| {
            format!(
                "<ResourceRecordSet><Name>_acme-challenge.example.com.</Name><Type>TXT</Type><TTL>60</TTL>\
                 <ResourceRecords>{values}</ResourceRecords></ResourceRecordSet></Change>"
            )
        };
        let first = "<ResourceRecord><Value>\"first-value\"</Value></ResourceRecord>";
        let both = format!(
            "{first}<ResourceRecord><Value>\"&lt;second&gt; \\\"value\\\"\"</Value></ResourceRecord>"
        );
        assert_eq!(
            xml,
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ChangeResourceRecordSetsRequest \
                 xmlns=\"https://route53.amazonaws.com/doc/2013-04-01/\"><ChangeBatch><Changes>\
                 <Change><Action>DELETE</Action>{}<Change><Action>CREATE</Action>{}\
                 </Changes></ChangeBatch></ChangeResourceRecordSetsRequest>",
                set(first),
                set(&both)
            )
        );
    }

    #[test]
    fn what_is_not_a_plain_set_is_known() {
        let set = |inner: &str| -> RecordSet {
            let records = "<ResourceRecords><ResourceRecord><Value>&quot;a &quot;</Value></ResourceRecord></ResourceRecords>";
            quick_xml::de::from_str(&format!(
                "<ResourceRecordSet><Name>a.example.</Name><Type>TXT</Type>{inner}<TTL>60</TTL>{records}</ResourceRecordSet>"
            ))
            .unwrap()
        };
        let plain = set("");
        assert!(plain.oddity().is_none() && plain.holds(&record("a ").data));
        assert!(plain.without(&record("a ").data).is_none());
        assert!(set("<SetIdentifier>x</SetIdentifier><Weight>1</Weight>").oddity().is_some());
        let alias = "<AliasTarget><HostedZoneId>Z1</HostedZoneId><DNSName>b.example.</DNSName></AliasTarget>";
        assert!(set(alias).oddity().is_some());
        assert!(set("<TrafficPolicyInstanceId>x</TrafficPolicyInstanceId>").oddity().is_some());
    }
}
