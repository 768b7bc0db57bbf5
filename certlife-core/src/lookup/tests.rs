use std::{
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, ResponseCode as WireCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, CNAME, NS, SOA, TXT},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
};

use super::*;
use crate::dns::DnsRecord;
/// A server whose answers a closure makes: it sees the question and whether it came over TCP.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<(String, RecordType)>>>,
}

impl Server {
    async fn start(answer: impl Fn(&Message, bool) -> Option<Message> + Send + Sync + 'static) -> Self {
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            // The same port may be taken for UDP.
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(answer);
        let log = asked.clone();
        let respond = Arc::new(move |bytes: &[u8], by_tcp: bool| {
            let question = Message::from_vec(bytes).unwrap();
            let query = &question.queries[0];
            log.lock().unwrap().push((query.name.to_ascii(), query.query_type));
            answer(&question, by_tcp).map(|message| message.to_vec().unwrap())
        });
        let by_udp = respond.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                let (length, peer) = udp.recv_from(&mut buffer).await.unwrap();
                if let Some(bytes) = by_udp(&buffer[..length], false) {
                    let mut forged = bytes.clone();
                    forged[0] ^= 0xff;
                    udp.send_to(&forged, peer).await.unwrap();
                    udp.send_to(&bytes, peer).await.unwrap();
                }
            }
        });
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let length = stream.read_u16().await.unwrap();
                let mut bytes = vec![0; usize::from(length)];
                stream.read_exact(&mut bytes).await.unwrap();
                if let Some(bytes) = respond(&bytes, true) {
                    stream.write_u16(u16::try_from(bytes.len()).unwrap()).await.unwrap();
                    stream.write_all(&bytes).await.unwrap();
                }
            }
        });
        Self { address, asked }
    }

    fn lookup(&self) -> Lookup {
        lookup([self.address])
    }

    fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn lookup(resolvers: impl IntoIterator<Item = SocketAddr>) -> Lookup {
    Lookup::builder().resolvers(resolvers).timeout(Duration::from_millis(400)).build().unwrap()
}

fn reply(question: &Message, code: WireCode) -> Message {
    let mut message = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
    message.metadata.response_code = code;
    message.metadata.authoritative = true;
    message.add_query(question.queries[0].clone());
    message
}

fn wire_name(text: &str) -> Name {
    Name::from_ascii(format!("{text}.")).unwrap()
}

fn cname(owner: &str, target: &str) -> Record {
    Record::from_rdata(wire_name(owner), 1, RData::CNAME(CNAME(wire_name(target))))
}

fn soa(owner: &str) -> Record {
    let soa = SOA::new(wire_name("ns"), wire_name("host"), 1, 1, 1, 1, 1);
    Record::from_rdata(wire_name(owner), 1, RData::SOA(soa))
}

fn txt(owner: &str, strings: &[&str]) -> Record {
    let strings = strings.iter().map(ToString::to_string).collect();
    Record::from_rdata(wire_name(owner), 1, RData::TXT(TXT::new(strings)))
}

fn fqdn(text: &str) -> Fqdn {
    text.parse().unwrap()
}

fn asks_txt(name: &str) -> Question {
    Question { name: fqdn(name), kind: RecordKind::Txt, recurse: false }
}

/// Answers CNAME questions from a table; all else does not exist.
async fn aliases(table: &'static [(&'static str, &'static str)]) -> Server {
    Server::start(|question, _| {
        let asked = question.queries[0].name.to_ascii();
        let found = table.iter().find(|(owner, _)| asked == format!("{owner}."));
        let mut message =
            reply(question, if found.is_some() { WireCode::NoError } else { WireCode::NXDomain });
        message.add_answers(found.map(|(owner, target)| cname(owner, target)));
        Some(message)
    })
    .await
}

#[tokio::test]
async fn cnames_are_followed_to_the_end() {
    let server = aliases(&[("_acme-challenge.a.example", "b.example"), ("b.example", "c.example")]).await;
    let found = server.lookup().effective_name(&fqdn("_acme-challenge.a.example")).await.unwrap();
    assert_eq!(found, fqdn("c.example"));
    assert_eq!(server.lookup().effective_name(&fqdn("none.example")).await.unwrap(), fqdn("none.example"));
}

#[tokio::test]
async fn a_circle_of_cnames_is_a_conflict_and_ends() {
    let server = aliases(&[("a.example", "b.example"), ("b.example", "a.example")]).await;
    let error = server.lookup().effective_name(&fqdn("a.example")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict(_)), "{error}");
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn an_endless_chain_of_cnames_ends() {
    let server = Server::start(|question, _| {
        let asked = question.queries[0].name.to_ascii();
        let depth: u32 = asked[1..].split('.').next().unwrap().parse().unwrap();
        let mut message = reply(question, WireCode::NoError);
        let owner = asked.trim_end_matches('.');
        message.add_answer(cname(owner, &format!("n{}.example", depth + 1)));
        Some(message)
    })
    .await;
    let error = server.lookup().effective_name(&fqdn("n0.example")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict(_)), "{error}");
    assert_eq!(server.count(), 16);
}

#[tokio::test]
async fn a_resolver_that_fails_is_followed_by_the_next() {
    let bad = Server::start(|question, _| Some(reply(question, WireCode::ServFail))).await;
    let good = aliases(&[("a.example", "b.example")]).await;
    let lookup = lookup([bad.address, good.address]);
    assert_eq!(lookup.effective_name(&fqdn("a.example")).await.unwrap(), fqdn("b.example"));
    assert_eq!(bad.count(), 1, "the one that answered is asked first from then on");
}

#[tokio::test]
async fn without_a_useful_resolver_the_failure_is_told() {
    let bad = Server::start(|question, _| Some(reply(question, WireCode::ServFail))).await;
    let error = bad.lookup().effective_name(&fqdn("a.example")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unavailable);
    assert!(error.chain().contains("CNAME of a.example"), "{}", error.chain());
}

/// A world with the zone `example.org`, one alias in it that leads elsewhere, and one server.
async fn world() -> Server {
    Server::start(|question, _| {
        let query = &question.queries[0];
        let asked = query.name.to_ascii();
        let mut message = reply(question, WireCode::NoError);
        match (asked.as_str(), query.query_type) {
            ("alias.example.org.", RecordType::SOA) => {
                message.add_answer(cname("alias.example.org", "elsewhere.example"));
                message.add_authority(soa("example"));
            }
            ("example.org.", RecordType::SOA) => {
                message.add_answer(soa("example.org"));
            }
            ("example.org.", RecordType::NS) => {
                for server in ["ns1.example.org", "ns2.example.org", "strange name"] {
                    let data =
                        RData::NS(NS(Name::from_labels(server.split('.').map(str::as_bytes)).unwrap()));
                    message.add_answer(Record::from_rdata(wire_name("example.org"), 1, data));
                }
            }
            ("ns1.example.org.", RecordType::A) => {
                for last in 0..100 {
                    let data = RData::A(A(Ipv4Addr::new(192, 0, 2, last)));
                    message.add_answer(Record::from_rdata(wire_name("ns1.example.org"), 1, data));
                }
            }
            _ => {
                message.metadata.response_code = WireCode::NXDomain;
                message.add_authority(soa("example.org"));
            }
        }
        Some(message)
    })
    .await
}

#[tokio::test]
async fn the_zone_cut_comes_from_the_denial() {
    let server = world().await;
    let found = server.lookup().authority(&fqdn("_acme-challenge.www.example.org")).await.unwrap();
    assert_eq!(found.zone, fqdn("example.org"));
    let names: Vec<&str> = found.servers.iter().map(|server| server.name.as_str()).collect();
    assert_eq!(names, ["ns1.example.org", "ns2.example.org"], "unusable names are left out");
    assert_eq!(found.servers[0].addresses.len(), 8, "addresses are capped");
    assert_eq!(found.servers[0].addresses[0], "192.0.2.0:53".parse().unwrap());
    assert!(found.servers[1].addresses.is_empty());
}

#[tokio::test]
async fn the_zone_behind_an_alias_is_not_taken_for_the_zone_of_the_name() {
    let found = world().await.lookup().authority(&fqdn("alias.example.org")).await.unwrap();
    assert_eq!(found.zone, fqdn("example.org"));
}

#[tokio::test]
async fn strings_are_joined_and_values_at_other_names_ignored() {
    let server = Server::start(|question, _| {
        let mut message = reply(question, WireCode::NoError);
        message.add_answer(txt("other.example", &["no"]));
        message.add_answer(txt("A.example", &["one ", "two"]));
        Some(message)
    })
    .await;
    let answer = server.lookup().ask(server.address, &asks_txt("a.example")).await.unwrap();
    assert_eq!(answer.values, [RecordData::Txt("one two".into())]);
    assert!(answer.authoritative);
}

#[tokio::test]
async fn values_behind_aliases_in_the_same_answer_count() {
    let server = Server::start(|question, _| {
        let mut message = reply(question, WireCode::NoError);
        message.add_answer(txt("c.example", &["yes"]));
        message.add_answer(cname("a.example", "b.example"));
        message.add_answer(cname("b.example", "c.example"));
        Some(message)
    })
    .await;
    let answer = server.lookup().ask(server.address, &asks_txt("a.example")).await.unwrap();
    assert_eq!(answer.values, [RecordData::Txt("yes".into())]);
}

#[tokio::test]
async fn a_truncated_answer_is_fetched_by_tcp_and_capped() {
    let server = Server::start(|question, by_tcp| {
        let mut message = reply(question, WireCode::NoError);
        message.metadata.truncation = !by_tcp;
        if by_tcp {
            message.add_answers((0..1_000).map(|n| txt("a.example", &[&n.to_string()])));
        }
        Some(message)
    })
    .await;
    let answer = server.lookup().ask(server.address, &asks_txt("a.example")).await.unwrap();
    assert_eq!(answer.values.len(), 256);
    assert_eq!(server.count(), 2);
}

#[tokio::test]
async fn an_overlong_value_is_left_out() {
    let server = Server::start(|question, _| {
        let mut message = reply(question, WireCode::NoError);
        message.add_answer(txt("a.example", &["x".repeat(255).as_str(); 33]));
        message.add_answer(txt("a.example", &["short"]));
        Some(message)
    })
    .await;
    let lookup = Lookup::builder().resolvers([server.address]).transport(Transport::Tcp).build().unwrap();
    let answer = lookup.ask(server.address, &asks_txt("a.example")).await.unwrap();
    assert_eq!(answer.values, [RecordData::Txt("short".into())]);
}

#[tokio::test]
async fn a_datagram_that_gets_lost_is_sent_again_and_then_tcp_is_tried() {
    let server = Server::start(|question, by_tcp| by_tcp.then(|| reply(question, WireCode::NoError))).await;
    server.lookup().ask(server.address, &asks_txt("a.example")).await.unwrap();
    assert_eq!(server.count(), 3);
}

#[tokio::test]
async fn silence_refusal_and_nonsense_are_told_apart() {
    let silent = Server::start(|_, _| None).await;
    let lookup = silent.lookup();
    let outcome = lookup.ask(silent.address, &asks_txt("a.example")).await;
    assert_eq!(outcome, Err(NoAnswer::HungUp), "it takes the connection and closes it");
    let mute = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let outcome = lookup.ask(mute.local_addr().unwrap(), &asks_txt("a.example")).await;
    assert_eq!(outcome, Err(NoAnswer::Timeout));

    let deaf = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let outcome = lookup.ask(deaf.local_addr().unwrap(), &asks_txt("a.example")).await;
    assert_eq!(outcome, Err(NoAnswer::Timeout), "what was sent by UDP may have arrived");

    let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap();
    assert_eq!(lookup.ask(closed, &asks_txt("a.example")).await, Err(NoAnswer::Unreachable));

    let other = Server::start(|question, _| {
        let mut message = reply(question, WireCode::NoError);
        message.queries[0].set_name(wire_name("b.example"));
        Some(message)
    })
    .await;
    assert_eq!(lookup.ask(other.address, &asks_txt("a.example")).await, Err(NoAnswer::Malformed));
}

#[tokio::test]
async fn questions_under_way_are_capped() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (under_way, peak) = (now.clone(), most.clone());
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(async move {
        let server = Arc::new(server);
        let mut buffer = [0; 512];
        loop {
            let (length, peer) = server.recv_from(&mut buffer).await.unwrap();
            let question = Message::from_vec(&buffer[..length]).unwrap();
            peak.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let (server, under_way) = (server.clone(), under_way.clone());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                under_way.fetch_sub(1, Ordering::SeqCst);
                let bytes = reply(&question, WireCode::NoError).to_vec().unwrap();
                server.send_to(&bytes, peer).await.unwrap();
            });
        }
    });
    let lookup = Lookup::builder().resolvers([address]).concurrency(3).build().unwrap();
    let question = asks_txt("a.example");
    let asked = (0..12).map(|_| lookup.ask(address, &question));
    assert!(futures_util::future::join_all(asked).await.iter().all(Result::is_ok));
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[test]
fn settings_that_cannot_work_are_named() {
    for (builder, setting) in [
        (Lookup::builder(), "resolvers"),
        (Lookup::builder().resolvers([([127, 0, 0, 1], 53).into(); 9]), "resolvers"),
        (Lookup::builder().resolvers([([127, 0, 0, 1], 53).into()]).concurrency(0), "concurrency"),
        (Lookup::builder().resolvers([([127, 0, 0, 1], 53).into()]).timeout(Duration::ZERO), "timeout"),
    ] {
        assert!(builder.build().unwrap_err().to_string().contains(setting));
    }
}

/// A zone with one server an outcome.
#[derive(Debug)]
struct Table(Vec<Result<Answer, NoAnswer>>);

#[async_trait]
impl DnsLookup for Table {
    async fn effective_name(&self, name: &Fqdn) -> Result<Fqdn> {
        Ok(name.clone())
    }

    async fn authority(&self, name: &Fqdn) -> Result<Authority> {
        let servers = (0..self.0.len()).map(|index| NameServer {
            name: fqdn(&format!("ns{index}.example")),
            addresses: vec![server(index)],
        });
        if self.0.is_empty() {
            return Err(crate::Error::new(DNS, crate::Operation::Resolve, ErrorKind::Timeout));
        }
        Ok(Authority { zone: name.parent().unwrap(), servers: servers.collect() })
    }

    async fn ask(&self, server: SocketAddr, question: &Question) -> Result<Answer, NoAnswer> {
        let mut outcome = self.0[usize::from(server.port())].clone();
        if let Ok(answer) = &mut outcome {
            answer.authoritative &= !question.recurse;
        }
        outcome
    }
}

fn server(index: usize) -> SocketAddr {
    ([192, 0, 2, 1], u16::try_from(index).unwrap()).into()
}

#[expect(clippy::unnecessary_wraps, reason = "it stands among outcomes that are errors")]
fn says(code: ResponseCode, authoritative: bool, values: &[&str]) -> Result<Answer, NoAnswer> {
    let values = values.iter().map(|value| RecordData::Txt((*value).to_owned())).collect();
    Ok(Answer { authoritative, code, values })
}

fn has() -> Result<Answer, NoAnswer> {
    says(ResponseCode::NoError, true, &["old", "wanted"])
}

async fn checked(outcomes: Vec<Result<Answer, NoAnswer>>) -> VisibilityReport {
    let record = DnsRecord::txt(fqdn("_acme-challenge.example.org"), "wanted");
    check(&Table(outcomes), &record, &Visibility::Authoritative).await
}

#[tokio::test]
async fn visible_means_that_every_server_that_counts_has_it() {
    assert!(checked(vec![has(), has()]).await.visible);
    assert!(checked(vec![has(), Err(NoAnswer::NoRoute)]).await.visible);
    assert!(!checked(vec![Err(NoAnswer::NoRoute)]).await.visible, "nobody was asked");
}

#[tokio::test]
async fn every_other_outcome_is_not_yet_and_says_why() {
    use ResponseCode::{NoError, NxDomain, Refused, ServFail};
    for (outcome, state, broken) in [
        (says(NoError, true, &["old"]), ServerState::Lacks, false),
        (says(NoError, true, &[]), ServerState::Lacks, false),
        (says(NxDomain, true, &[]), ServerState::Lacks, false),
        (says(NoError, false, &["wanted"]), ServerState::Lame, true),
        (says(Refused, false, &[]), ServerState::Refused, true),
        (says(ServFail, false, &[]), ServerState::Fails, true),
        (Err(NoAnswer::Timeout), ServerState::Silent, true),
        (Err(NoAnswer::HungUp), ServerState::Silent, true),
        (Err(NoAnswer::Unreachable), ServerState::Unreachable, true),
        (Err(NoAnswer::Malformed), ServerState::Malformed, true),
    ] {
        let report = checked(vec![has(), outcome]).await;
        assert!(!report.visible, "{state:?}");
        let waiting: Vec<_> = report.waiting_for().collect();
        assert_eq!((waiting.len(), waiting[0].state), (1, state));
        assert_eq!(report.only_broken_servers_lack_it(), broken, "{state:?}");
    }
}

#[tokio::test]
async fn a_zone_that_cannot_be_found_is_not_yet() {
    let report = checked(Vec::new()).await;
    assert!(!report.visible);
    assert!(report.problem.unwrap().as_str().contains("no answer in time"));
}

#[tokio::test]
async fn resolvers_need_no_authority_and_stated_servers_do() {
    let record = DnsRecord::txt(fqdn("a.example.org"), "wanted");
    let table = Table(vec![has(), says(ResponseCode::NoError, false, &["wanted"])]);
    let both = vec![server(0), server(1)];
    assert!(check(&table, &record, &Visibility::Resolvers(both.clone())).await.visible);
    let report = check(&table, &record, &Visibility::Servers(both)).await;
    assert_eq!(report.servers[1].state, ServerState::Lame);
    assert_eq!(report.servers[1].to_string(), "192.0.2.1:1 does not serve the zone");
}

#[tokio::test]
async fn waiting_and_nothing_ask_nobody() {
    let record = DnsRecord::txt(fqdn("a.example.org"), "wanted");
    for strategy in [Visibility::Wait(Duration::from_mins(1)), Visibility::None] {
        let report = check(&Table(Vec::new()), &record, &strategy).await;
        assert!(report.visible && report.servers.is_empty());
    }
    assert_eq!(Visibility::Wait(Duration::from_mins(1)).first_wait(), Duration::from_mins(1));
}

#[test]
fn strategies_read_back_from_their_settings() {
    for text in [
        r#""authoritative""#,
        r#"{"servers":["192.0.2.1:5353","[2001:db8::1]:53"]}"#,
        r#"{"resolvers":["192.0.2.1:53"]}"#,
        r#"{"wait_seconds":120}"#,
        r#""none""#,
    ] {
        let strategy: Visibility = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&strategy).unwrap(), text);
    }
    let short: Visibility = serde_json::from_str(r#"{"servers":["192.0.2.1","2001:db8::1"]}"#).unwrap();
    assert_eq!(
        short,
        Visibility::Servers(vec!["192.0.2.1:53".parse().unwrap(), "[2001:db8::1]:53".parse().unwrap()])
    );
    let wrong = |text| serde_json::from_str::<Visibility>(text).unwrap_err().to_string();
    assert!(wrong(r#"{"servers":[]}"#).contains("name 1 to 64"));
    assert!(wrong(r#"{"servers":["ns1.example"]}"#).contains("ns1.example"));
    let schema = serde_json::to_string(&schemars::schema_for!(Visibility)).unwrap();
    assert!(schema.contains("wait_seconds"), "{schema}");
}
