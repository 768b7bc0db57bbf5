//! Questions and answers as bytes.

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode as WireCode},
    rr::{Name, RData, Record, RecordType},
};

use super::{Answer, NoAnswer, RecordKind, ResponseCode};
use crate::{dns::RecordData, name::Fqdn};

/// The most values of one answer that are kept.
const MAX_VALUES: usize = 256;
/// The longest value that is kept, in bytes.
const MAX_VALUE: usize = 8 << 10;
/// The datagram size that we advertise (DNS flag day 2020; RFC 9715 §3.2 sets the ceiling at 1400).
const PAYLOAD: u16 = 1_232;

/// Writes a question of class IN.
pub(super) fn encode(name: &Fqdn, kind: RecordType, recurse: bool) -> Result<Vec<u8>, NoAnswer> {
    let mut message = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = recurse;
    message.add_query(Query::query(to_wire(name)?, kind));
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD).set_version(0);
    message.set_edns(edns);
    message.to_vec().map_err(|_| NoAnswer::Malformed)
}

/// Reads an answer and holds it against the question, which a server has to repeat (RFC 5452 §9.1).
pub(super) fn decode(bytes: &[u8], name: &Fqdn, kind: RecordType) -> Result<Message, NoAnswer> {
    let message = Message::from_vec(bytes).map_err(|_| NoAnswer::Malformed)?;
    let asked = Query::query(to_wire(name)?, kind);
    // A server that refuses early may leave the question out (RFC 1035 §4.1.1 does not forbid it).
    let silent = message.queries.is_empty() && message.metadata.response_code != WireCode::NoError;
    if silent || message.queries == [asked] { Ok(message) } else { Err(NoAnswer::Malformed) }
}

pub(super) fn answer(message: &Message, name: &Fqdn, kind: RecordKind) -> Answer {
    Answer {
        authoritative: message.metadata.authoritative,
        code: code(message),
        values: values(&message.answers, name, kind),
    }
}

pub(super) fn code(message: &Message) -> ResponseCode {
    match message.metadata.response_code {
        WireCode::NoError => ResponseCode::NoError,
        WireCode::ServFail => ResponseCode::ServFail,
        WireCode::NXDomain => ResponseCode::NxDomain,
        WireCode::Refused => ResponseCode::Refused,
        other => ResponseCode::Other(other.into()),
    }
}

fn values(answers: &[Record], name: &Fqdn, kind: RecordKind) -> Vec<RecordData> {
    let owner = if kind == RecordKind::Txt { chain_end(answers, name) } else { name.clone() };
    let at_owner = answers.iter().filter(|record| from_wire(&record.name).as_ref() == Some(&owner));
    at_owner.filter_map(|record| value(record, kind)).take(MAX_VALUES).collect()
}

/// Where the CNAMEs within one answer lead. Each hop uses up a record, so a loop ends too.
fn chain_end(answers: &[Record], name: &Fqdn) -> Fqdn {
    let mut owner = name.clone();
    for _ in answers {
        match alias(answers, &owner) {
            Some(target) => owner = target,
            None => break,
        }
    }
    owner
}

/// The usable target of a CNAME at `owner`.
fn alias(answers: &[Record], owner: &Fqdn) -> Option<Fqdn> {
    answers.iter().find_map(|record| match &record.data {
        RData::CNAME(target) if from_wire(&record.name).as_ref() == Some(owner) => from_wire(&target.0),
        _ => None,
    })
}

fn value(record: &Record, kind: RecordKind) -> Option<RecordData> {
    match (&record.data, kind) {
        (RData::TXT(txt), RecordKind::Txt) => {
            let joined = txt.txt_data.concat();
            let fits = joined.len() <= MAX_VALUE;
            fits.then(|| RecordData::Txt(String::from_utf8_lossy(&joined).into_owned()))
        }
        (RData::CNAME(target), RecordKind::Cname) => from_wire(&target.0).map(RecordData::Cname),
        _ => None,
    }
}

/// Every [`Fqdn`] fits a message; only hickory's signature says otherwise.
pub(super) fn to_wire(name: &Fqdn) -> Result<Name, NoAnswer> {
    let mut wire = Name::from_ascii(name.as_str()).map_err(|_| NoAnswer::Malformed)?;
    wire.set_fqdn(true);
    Ok(wire)
}

/// None for the root and for names that hold anything but letters, digits, `-` and `_`.
pub(super) fn from_wire(name: &Name) -> Option<Fqdn> {
    name.to_ascii().parse().ok()
}

impl From<RecordKind> for RecordType {
    fn from(kind: RecordKind) -> Self {
        match kind {
            RecordKind::Txt => Self::TXT,
            RecordKind::Cname => Self::CNAME,
        }
    }
}
