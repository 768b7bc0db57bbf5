//! An authoritative server with dynamic update, over UDP and TCP, that refuses what it does not know.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
};

use certlife_core::Fqdn;
use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{SOA, tsig::TSIG},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
};

use super::{
    message::wire_name,
    tsig::{FUDGE, Key, last_record, length},
};

#[derive(Clone)]
pub(super) struct FakeServer {
    pub(super) address: SocketAddr,
    world: Arc<Mutex<World>>,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a switch that a test throws")]
pub(super) struct World {
    pub(super) keys: Vec<Key>,
    pub(super) zones: BTreeMap<Fqdn, Vec<Record>>,
    pub(super) now: i64,
    /// Makes the next update, but answers neither it nor its repetitions.
    pub(super) lose_next_update: bool,
    lost: Option<u16>,
    pub(super) truncate_udp: bool,
    /// Reports this response code for updates, signed or not.
    pub(super) refuse: Option<(ResponseCode, Signing)>,
    /// Reports success and changes nothing.
    pub(super) ignore_updates: bool,
    /// Neither looks at keys nor signs where it has no zone, as Knot.
    pub(super) like_knot: bool,
    /// What somebody else adds just before the next update is carried out.
    pub(super) intruder: Option<Record>,
    pub(super) seen: Vec<Seen>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Signing {
    Signed,
    Unsigned,
    /// Not signed, with this TSIG error.
    Error(u16),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    pub(super) by_tcp: bool,
    pub(super) message: Message,
}

impl FakeServer {
    pub(super) async fn start(keys: Vec<Key>, zones: &[&str], now: i64) -> Self {
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            // The same port may be taken for UDP.
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let zones = zones.iter().map(|zone| (zone.parse().unwrap(), Vec::new())).collect();
        let world = World {
            keys,
            zones,
            now,
            lose_next_update: false,
            lost: None,
            truncate_udp: false,
            refuse: None,
            ignore_updates: false,
            like_knot: false,
            intruder: None,
            seen: Vec::new(),
        };
        let server = Self { address: udp.local_addr().unwrap(), world: Arc::new(Mutex::new(world)) };
        let by_udp = server.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                let (length, peer) = udp.recv_from(&mut buffer).await.unwrap();
                let answer = by_udp.world().answer(&buffer[..length], false);
                if let Some(answer) = answer {
                    udp.send_to(&answer, peer).await.unwrap();
                }
            }
        });
        let by_tcp = server.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = tcp.accept().await.unwrap();
                tokio::spawn(by_tcp.clone().serve(stream));
            }
        });
        server
    }

    async fn serve(self, mut stream: TcpStream) {
        let Ok(length) = stream.read_u16().await else { return };
        let mut request = vec![0; usize::from(length)];
        if stream.read_exact(&mut request).await.is_err() {
            return;
        }
        let answer = self.world().answer(&request, true);
        if let Some(answer) = answer {
            let framed = [&self::length(&answer)[..], &answer].concat();
            // Whoever asked may have given up.
            stream.write_all(&framed).await.ok();
        }
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }
}

impl World {
    pub(super) fn at<'a>(&'a self, name: &Fqdn) -> impl Iterator<Item = &'a RData> {
        let name = wire_name(name);
        self.zones.values().flatten().filter(move |record| record.name == name).map(|record| &record.data)
    }

    pub(super) fn updates(&self) -> Vec<&Message> {
        let updates = self.seen.iter().filter(|seen| seen.message.metadata.op_code == OpCode::Update);
        updates.map(|seen| &seen.message).collect()
    }

    fn answer(&mut self, bytes: &[u8], by_tcp: bool) -> Option<Vec<u8>> {
        let request = Message::from_vec(bytes).unwrap();
        self.seen.push(Seen { by_tcp, message: request.clone() });
        let (id, op_code) = (request.metadata.id, request.metadata.op_code);
        if self.lost == Some(id) {
            return None;
        }
        let mut answer = Message::new(id, MessageType::Response, op_code);
        answer.queries.clone_from(&request.queries);
        let signature = request.signature.clone().expect("every message is signed");
        let tsig = &signature.data;
        let bare = |mut answer: Message, code| {
            answer.metadata.response_code = code;
            answer.to_vec().unwrap()
        };
        if self.like_knot && self.zone_of(&request.queries[0].name).is_none() {
            let update = op_code == OpCode::Update;
            return Some(bare(answer, if update { ResponseCode::NotAuth } else { ResponseCode::Refused }));
        }
        let refused = |answer: Message, error: u16, key: Option<&Key>, now: i64| {
            // RFC 8945 §5.2: BADKEY and BADSIG have no MAC, BADTIME has one and the server's clock.
            let other = if error == 18 { now.to_be_bytes()[2..].to_vec() } else { Vec::new() };
            let bytes = bare(answer, ResponseCode::NotAuth);
            let mac = key.map(|key| {
                let variables = key.variables(tsig.time, FUDGE, error, &other);
                key.mac(&[&length(&tsig.mac), &tsig.mac, &bytes, &variables])
            });
            let mut message = Message::from_vec(&bytes).unwrap();
            let data = TSIG::new(
                tsig.algorithm.clone(),
                tsig.time,
                FUDGE,
                mac.unwrap_or_default(),
                id,
                Some(error.into()),
                other,
            );
            message.set_signature(Box::new(hickory_proto::rr::rdata::tsig::make_tsig_record(
                signature.name.clone(),
                data,
            )));
            Some(message.to_vec().unwrap())
        };

        let known = self.keys.iter().find(|key| wire_name(key.name()) == signature.name).cloned();
        let Some(key) = known else { return refused(answer, 17, None, self.now) };
        if key.algorithm().name_on_wire()
            != tsig.algorithm.to_name().to_ascii().to_lowercase().trim_end_matches('.')
        {
            return refused(answer, 17, None, self.now);
        }
        let mut unsigned = bytes[..last_record(bytes).unwrap()].to_vec();
        unsigned[11] -= 1;
        let expected = key.mac(&[&unsigned, &key.variables(tsig.time, tsig.fudge, 0, &[])]);
        if expected != tsig.mac {
            return refused(answer, 16, None, self.now);
        }
        if self.now.abs_diff(i64::try_from(tsig.time).unwrap()) > u64::from(FUDGE) {
            return refused(answer, 18, Some(&key), self.now);
        }
        if self.truncate_udp && !by_tcp {
            answer.metadata.truncation = true;
        } else if op_code == OpCode::Update {
            if let Some((code, signing)) = self.refuse {
                match signing {
                    Signing::Signed => answer.metadata.response_code = code,
                    Signing::Unsigned => return Some(bare(answer, code)),
                    Signing::Error(error) => return refused(answer, error, None, self.now),
                }
            } else {
                answer.metadata.response_code =
                    if self.ignore_updates { ResponseCode::NoError } else { self.update(&request) };
            }
            if std::mem::take(&mut self.lose_next_update) {
                self.lost = Some(id);
                return None;
            }
        } else {
            self.look_up(&request, &mut answer);
        }
        let mut bytes = answer.to_vec().unwrap();
        let time = u64::try_from(self.now).unwrap();
        let mac = key.mac(&[&length(&tsig.mac), &tsig.mac, &bytes, &key.variables(time, FUDGE, 0, &[])]);
        bytes[11] += 1;
        key.append_record(&mut bytes, time, &mac, id.to_be_bytes());
        Some(bytes)
    }

    fn zone_of(&self, name: &Name) -> Option<&Fqdn> {
        let name: Fqdn = name.to_ascii().parse().ok()?;
        self.zones.keys().filter(|zone| name.is_within(zone)).max_by_key(|zone| zone.as_str().len())
    }

    fn look_up(&self, request: &Message, answer: &mut Message) {
        let [query] = &request.queries[..] else { panic!("one question at a time") };
        assert!(!request.metadata.recursion_desired);
        let Some(zone) = self.zone_of(&query.name) else {
            answer.metadata.response_code = ResponseCode::Refused;
            return;
        };
        answer.metadata.authoritative = true;
        let apex = wire_name(zone);
        let soa = SOA::new(apex.clone(), apex.clone(), 1, 1, 1, 1, 1);
        let soa = Record::from_rdata(apex.clone(), 1, RData::SOA(soa));
        if query.query_type == RecordType::SOA && query.name == apex {
            answer.add_answer(soa);
            return;
        }
        let here: Vec<&Record> = self.zones[zone].iter().filter(|record| record.name == query.name).collect();
        let wanted = here
            .iter()
            .filter(|record| [query.query_type, RecordType::CNAME].contains(&record.record_type()));
        answer.add_answers(wanted.copied().cloned());
        if here.is_empty() && query.name != apex {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        if answer.answers.is_empty() {
            answer.add_authority(soa);
        }
    }

    /// RFC 2136 §3, as far as it is known here.
    fn update(&mut self, request: &Message) -> ResponseCode {
        let [zone] = &request.queries[..] else { return ResponseCode::FormErr };
        let apex: Fqdn = zone.name.to_ascii().parse().unwrap();
        if zone.query_type != RecordType::SOA || zone.query_class != DNSClass::IN {
            return ResponseCode::FormErr;
        }
        let Some(records) = self.zones.get_mut(&apex) else { return ResponseCode::NotAuth };
        if let Some(theirs) = self.intruder.take() {
            add(records, &theirs);
        }
        for needed in &request.answers {
            let used = needed.name == zone.name || records.iter().any(|record| record.name == needed.name);
            let bare = needed.ttl == 0 && matches!(needed.data, RData::Update0(RecordType::ANY));
            match needed.dns_class {
                DNSClass::ANY if bare && used => {}
                DNSClass::ANY if bare => return ResponseCode::NXDomain,
                DNSClass::NONE if bare && !used => {}
                DNSClass::NONE if bare => return ResponseCode::YXDomain,
                _ => return ResponseCode::FormErr,
            }
        }
        for change in &request.authorities {
            if !zone.name.zone_of(&change.name) {
                return ResponseCode::NotZone;
            }
            match (change.dns_class, &change.data) {
                (DNSClass::IN, RData::TXT(_) | RData::CNAME(_)) => add(records, change),
                (DNSClass::NONE, RData::TXT(_) | RData::CNAME(_)) if change.ttl == 0 => {
                    records.retain(|record| record.name != change.name || record.data != change.data);
                }
                // Nothing of ours deletes whole sets.
                _ => return ResponseCode::FormErr,
            }
        }
        ResponseCode::NoError
    }
}

/// RFC 2136 §3.4.2.2: what does not go together is dropped without a word, and a CNAME replaces another.
fn add(records: &mut Vec<Record>, new: &Record) {
    let is_alias = |record: &Record| record.record_type() == RecordType::CNAME;
    let here = |record: &&Record| record.name == new.name;
    if records.iter().filter(here).any(|record| is_alias(record) != is_alias(new)) {
        return;
    }
    records.retain(|record| record.name != new.name || (!is_alias(record) && record.data != new.data));
    records.push(new.clone());
}
