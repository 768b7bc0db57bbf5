//! Questions and updates as messages, and what answers mean.

use certlife_core::{Error, ErrorKind, Fqdn, Operation, Retry, dns::RecordData, lookup::NoAnswer};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{CNAME, TXT},
    },
};

use super::{NAME, tsig::Distrust};
use crate::txt;

/// A question without recursion.
pub(super) fn question(name: &Fqdn, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = false;
    message.add_query(Query::query(wire_name(name), kind));
    message
}

/// An update of `zone` that changes nothing yet (RFC 2136 §2).
pub(super) fn update(zone: &Fqdn) -> Message {
    let mut message = Message::new(Message::query().metadata.id, MessageType::Query, OpCode::Update);
    message.add_query(Query::query(wire_name(zone), RecordType::SOA));
    message
}

/// Adds one record (RFC 2136 §2.5.1).
pub(super) fn add(message: &mut Message, name: &Fqdn, data: RData, ttl_seconds: u32) {
    message.add_authority(Record::from_rdata(wire_name(name), ttl_seconds, data));
}

/// Deletes one record by its value (RFC 2136 §2.5.4).
pub(super) fn delete(message: &mut Message, name: &Fqdn, data: RData) {
    let mut record = Record::from_rdata(wire_name(name), 0, data);
    record.dns_class = DNSClass::NONE;
    message.add_authority(record);
}

/// Makes the update wait on that nothing is at `name` (RFC 2136 §2.4.5).
pub(super) fn require_unused(message: &mut Message, name: &Fqdn) {
    let mut record = Record::update0(wire_name(name), 0, RecordType::ANY);
    record.dns_class = DNSClass::NONE;
    message.add_answer(record);
}

/// Makes the update wait on that something is at `name` (RFC 2136 §2.4.4).
pub(super) fn require_used(message: &mut Message, name: &Fqdn) {
    let mut record = Record::update0(wire_name(name), 0, RecordType::ANY);
    record.dns_class = DNSClass::ANY;
    message.add_answer(record);
}

/// A value as it goes over the wire.
pub(super) fn to_wire(data: &RecordData) -> RData {
    match data {
        RecordData::Txt(value) => RData::TXT(TXT::from_bytes(txt::strings(value))),
        RecordData::Cname(target) => RData::CNAME(CNAME(wire_name(target))),
    }
}

pub(super) fn kind(data: &RecordData) -> RecordType {
    match data {
        RecordData::Txt(_) => RecordType::TXT,
        RecordData::Cname(_) => RecordType::CNAME,
    }
}

/// Whether a record of an answer is `data`, however its text is cut into strings.
pub(super) fn is(record: &Record, data: &RecordData) -> bool {
    match (&record.data, data) {
        (RData::TXT(txt), RecordData::Txt(value)) => txt.txt_data.concat() == value.as_bytes(),
        (RData::CNAME(target), RecordData::Cname(wanted)) => target.0 == wire_name(wanted),
        _ => false,
    }
}

pub(super) fn wire_name(name: &Fqdn) -> Name {
    match Name::from_ascii(name.as_str()) {
        Ok(mut wire) => {
            wire.set_fqdn(true);
            wire
        }
        Err(_) => unreachable!("an Fqdn keeps to the limits of RFC 1035 §3.1"),
    }
}

/// What an exchange without a usable answer means. An update that got lost is harmless to repeat.
pub(super) fn no_answer(operation: Operation, reason: NoAnswer) -> Error {
    Error::new(NAME, operation, reason.into())
}

/// What a signature that was refused, or cannot be trusted, means.
pub(super) fn distrust(operation: Operation, reason: Distrust) -> Error {
    let kind = match reason {
        Distrust::BadSig | Distrust::BadKey | Distrust::BadTime { .. } => ErrorKind::Unauthorized,
        Distrust::BadTrunc | Distrust::Unknown(_) => ErrorKind::Rejected(reason.to_string().into()),
        Distrust::Unsigned | Distrust::OtherKey | Distrust::Forged | Distrust::Stale => {
            ErrorKind::Protocol(reason.to_string().into())
        }
    };
    Error::new(NAME, operation, kind).because(reason)
}

/// What a response code other than NOERROR means (RFC 2136 §2.2), for a change at `name`.
pub(super) fn refusal(operation: Operation, code: ResponseCode, name: &Fqdn) -> Error {
    let kind = match code {
        ResponseCode::ServFail => ErrorKind::Unavailable,
        ResponseCode::Refused => ErrorKind::Forbidden(
            format!("the server refuses this key at {name} (allow-update, update-policy, acl or the like)")
                .into(),
        ),
        ResponseCode::NotAuth | ResponseCode::NotZone => ErrorKind::ZoneNotFound(name.clone()),
        ResponseCode::NotImp => ErrorKind::Unsupported("dynamic update at this server".into()),
        ResponseCode::YXDomain | ResponseCode::YXRRSet => {
            ErrorKind::Conflict(format!("other records stand at {name}").into())
        }
        other => ErrorKind::Rejected(format!("the server answers {}", rcode_name(other)).into()),
    };
    let error = Error::new(NAME, operation, kind).because(rcode_name(code));
    // A zone whose files the server cannot write, or that is being reloaded.
    if code == ResponseCode::ServFail { error.retry_as(Retry::Backoff) } else { error }
}

fn rcode_name(code: ResponseCode) -> String {
    let mnemonic = match code {
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::YXDomain => "YXDOMAIN",
        ResponseCode::YXRRSet => "YXRRSET",
        ResponseCode::NXRRSet => "NXRRSET",
        ResponseCode::NotAuth => "NOTAUTH",
        ResponseCode::NotZone => "NOTZONE",
        other => return format!("response code {}", u16::from(other)),
    };
    mnemonic.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_has_the_bytes_of_the_check_value() {
        let name: Fqdn = "_acme-challenge.example.com".parse().unwrap();
        let mut message = update(&"example.com".parse().unwrap());
        message.metadata.id = 0x1234;
        add(&mut message, &name, to_wire(&RecordData::Txt("abc".into())), 120);
        let expected = b"\x124(\0\0\x01\0\0\0\x01\0\0\x07example\x03com\0\0\x06\0\x01\
            \x0f_acme-challenge\xc0\x0c\0\x10\0\x01\0\0\0\x78\0\x04\x03abc";
        assert_eq!(message.to_vec().unwrap(), expected);
    }

    #[test]
    fn deletion_and_prerequisites_have_their_classes() {
        let name: Fqdn = "a.example".parse().unwrap();
        let mut message = update(&"example".parse().unwrap());
        message.metadata.id = 0;
        require_unused(&mut message, &name);
        require_used(&mut message, &name);
        delete(&mut message, &name, to_wire(&RecordData::Cname("b.example".parse().unwrap())));
        let expected = b"\0\0(\0\0\x01\0\x02\0\x01\0\0\x07example\0\0\x06\0\x01\
            \x01a\xc0\x0c\0\xff\0\xfe\0\0\0\0\0\0\
            \xc0\x19\0\xff\0\xff\0\0\0\0\0\0\
            \xc0\x19\0\x05\0\xfe\0\0\0\0\0\x04\x01b\xc0\x0c";
        assert_eq!(message.to_vec().unwrap(), expected);
    }

    #[test]
    fn text_is_compared_joined() {
        let long = "x".repeat(300);
        let data = RecordData::Txt(long.clone());
        let cut = RData::TXT(TXT::new(vec![
            long[..10].to_owned(),
            long[10..].chars().take(200).collect(),
            long[210..].to_owned(),
        ]));
        let record = Record::from_rdata(Name::root(), 0, cut);
        assert!(is(&record, &data));
        assert!(!is(&record, &RecordData::Txt("x".repeat(299))));
    }
}
