//! The contract, with every kind of validation.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use certlife_core::{
    CertificateAuthority, Clock as _, DnsName, Fqdn, Identifier, Operation, Result, Timestamp,
    ca::{OrderHandle, OrderIntent, OrderRequest},
    challenge::ChallengeResponse,
    dns::RecordData,
    lookup::{Answer, Authority, DnsLookup, NameServer, NoAnswer, Question, ResponseCode},
};
use certlife_testkit::ca::{Ability, Booked, CaFixture, Fault};
use rustls_pki_types::CertificateDer;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{Ground, request};
use crate::private::{PrivateBuilder, Validation, order};

/// What the world outside shows: records and files, but for the names that are refused.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) records: Mutex<BTreeMap<Fqdn, BTreeSet<String>>>,
    pub(super) files: Mutex<BTreeMap<(String, String), String>>,
}

#[async_trait]
impl DnsLookup for World {
    async fn effective_name(&self, name: &Fqdn) -> Result<Fqdn> {
        Ok(name.clone())
    }

    async fn authority(&self, name: &Fqdn) -> Result<Authority> {
        let server =
            NameServer { name: "ns.example".parse().unwrap(), addresses: vec![([192, 0, 2, 53], 53).into()] };
        Ok(Authority { zone: name.parent().unwrap(), servers: vec![server] })
    }

    async fn ask(&self, _server: SocketAddr, question: &Question) -> Result<Answer, NoAnswer> {
        let values = self.records.lock().unwrap().get(&question.name).cloned();
        let code = if values.is_some() { ResponseCode::NoError } else { ResponseCode::NxDomain };
        let values = values.unwrap_or_default().into_iter().map(RecordData::Txt).collect();
        Ok(Answer { authoritative: true, code, values })
    }
}

/// Serves the world's files on a loopback port, by `Host` and path.
pub(super) async fn serve(world: Arc<World>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let world = world.clone();
            tokio::spawn(async move {
                let mut request = vec![0; 8_192];
                let mut length = 0;
                while !request[..length].windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read(&mut request[length..]).await {
                        Ok(0) | Err(_) => return,
                        Ok(more) => length += more,
                    }
                }
                let text = String::from_utf8_lossy(&request[..length]).into_owned();
                let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
                let host = text
                    .lines()
                    .find_map(|line| line.to_ascii_lowercase().strip_prefix("host: ").map(str::to_owned))
                    .unwrap_or_default();
                let body = world.files.lock().unwrap().get(&(host, path)).cloned();
                let answer = match body {
                    // A body that begins like this is a whole answer.
                    Some(raw) if raw.starts_with("HTTP/1.1") => raw,
                    Some(body) => {
                        let length = body.len();
                        format!(
                            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                        )
                    }
                    None => {
                        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_owned()
                    }
                };
                _ = stream.write_all(answer.as_bytes()).await;
                _ = stream.shutdown().await;
            });
        }
    });
    address
}

struct Fixture {
    ground: Ground,
    world: Arc<World>,
    validation: Validation,
    approval: bool,
    server: SocketAddr,
    refused: Mutex<BTreeSet<Identifier>>,
    secrets: Vec<String>,
}

impl Fixture {
    async fn new(validation: Validation, approval: bool) -> Self {
        let world = Arc::new(World::default());
        let server = serve(world.clone()).await;
        let mut fixture = Self {
            ground: Ground::new(),
            world,
            validation,
            approval,
            server,
            refused: Mutex::default(),
            secrets: Vec::new(),
        };
        fixture.builder().build().unwrap().root_pem().await.unwrap();
        let stored = fixture.ground.vault().read("authority").await.unwrap().unwrap();
        let stored: serde_json::Value = serde_json::from_slice(stored.secret.expose()).unwrap();
        for key in ["root_key", "key"] {
            let lines = stored[key].as_str().unwrap().lines().map(str::to_owned);
            fixture.secrets.extend(lines.filter(|line| !line.starts_with("-----")));
        }
        fixture
    }

    fn builder(&self) -> PrivateBuilder {
        let server = self.server;
        self.ground
            .builder()
            .validation(self.validation)
            .approval(self.approval)
            .page_size(2)
            .resolve(move |_| Some(server))
            .lookup(self.world.clone())
    }
}

impl CaFixture for Fixture {
    fn ca(&self) -> Arc<dyn CertificateAuthority> {
        Arc::new(self.builder().build().unwrap())
    }

    fn name(&self, label: &str) -> DnsName {
        format!("{label}.inside.example").parse().unwrap()
    }

    fn address(&self) -> IpAddr {
        [10, 0, 0, 1].into()
    }

    fn request(&self, identifiers: Vec<Identifier>) -> OrderRequest {
        OrderRequest { identifiers, ..request(&[]) }
    }

    fn bad_requests(&self) -> Vec<(OrderRequest, &'static str)> {
        let good = request(&["bad.inside.example"]);
        let options = serde_json::json!({ "colour": "blue" });
        vec![
            (OrderRequest { options, ..good.clone() }, "colour"),
            (OrderRequest { product: Some("gold".to_owned()), ..good.clone() }, "gold"),
            (OrderRequest { organization: Some("acme".to_owned()), ..good.clone() }, "organization"),
            (OrderRequest { validity: Some(Duration::from_hours(24 * 398)), ..good }, "397 days"),
        ]
    }

    fn unknown_handle(&self) -> OrderHandle {
        order::handle("never-placed")
    }

    fn secrets(&self) -> Vec<String> {
        self.secrets.clone()
    }

    fn now(&self) -> Timestamp {
        self.ground.clock.now()
    }

    async fn wait(&self, time: Duration) {
        self.ground.clock.advance(time);
    }

    async fn roots(&self) -> Vec<CertificateDer<'static>> {
        let ca = self.builder().build().unwrap();
        ca.chain().await.unwrap().certificates().last().cloned().into_iter().collect()
    }

    async fn prove(&self, identifier: &Identifier, response: &ChallengeResponse) -> bool {
        let refused = self.refused.lock().unwrap().contains(identifier);
        match response {
            ChallengeResponse::DnsTxt { name, value } => {
                let value = if refused { "something else" } else { value };
                let mut records = self.world.records.lock().unwrap();
                records.entry(name.clone()).or_default().insert(value.to_owned());
            }
            ChallengeResponse::Http(file) => {
                let body = if refused { "something else" } else { file.body.as_str() };
                let place = (file.host.to_string(), file.path.to_string());
                self.world.files.lock().unwrap().insert(place, format!("{body}\r\n"));
            }
            _ => return false,
        }
        true
    }

    async fn disprove(&self, identifier: &Identifier) {
        self.refused.lock().unwrap().insert(identifier.clone());
    }

    async fn help(&self, _handle: &OrderHandle) {}

    async fn booked(&self, intent: &OrderIntent) -> Booked {
        let stored = self.ground.vault().read(&order::entry(&intent.reference)).await.unwrap();
        let Some(stored) = stored else { return Booked::default() };
        let stored: serde_json::Value = serde_json::from_slice(stored.secret.expose()).unwrap();
        let certificates = usize::from(stored["certificate"].is_string());
        Booked { orders: 1, paid: 0, certificates }
    }

    fn requests(&self) -> u64 {
        self.ground.store.calls()
    }

    fn inject(&self, operation: Operation, fault: Fault) {
        self.ground.store.inject(operation != Operation::PollOrder, fault);
    }

    fn lacks(&self, ability: Ability) -> Option<&'static str> {
        match ability {
            Ability::Throttle => Some("nothing lies between provider and authority that could throttle"),
            Ability::Garble => Some("no answer crosses a wire that could garble it"),
            Ability::RefuseProofs if self.validation == Validation::None => {
                Some("this authority asks for no proof")
            }
            _ => None,
        }
    }
}

mod without_validation {
    use super::*;

    certlife_testkit::ca_conformance!(Fixture::new(Validation::None, false).await);
}

mod by_http {
    use super::*;

    certlife_testkit::ca_conformance!(Fixture::new(Validation::Http, false).await);
}

mod by_dns_with_approval {
    use super::*;

    certlife_testkit::ca_conformance!(Fixture::new(Validation::Dns, true).await);
}
