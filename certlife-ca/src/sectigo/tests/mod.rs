//! The contract, twice: with domains validated apart from orders and approvals, and with validation in each order on
//! the newer host. Then what only Sectigo has.

mod desk;
mod engine;
mod errors;
mod listing;
mod lost;
mod orders;
mod settings;

use std::{net::IpAddr, sync::Arc, time::Duration};

use certlife_core::{
    CertificateAuthority, Clock, CsrTemplate, DnsName, Identifier, KeyAlgorithm, Operation, PrivateKey,
    Timestamp,
    ca::{IssuedRef, OrderHandle, OrderIntent, OrderRef, OrderRequest, OrderSnapshot, Purpose, Stage},
    challenge::{ChallengeKind, ChallengeResponse},
};
use certlife_testkit::{
    ca::{Ability, Booked, CaFixture, Fault},
    clock::LeapClock,
};
use rustls_pki_types::CertificateDer;
use serde_json::json;

use super::{
    OrderOptions, Sectigo, SectigoBuilder,
    fake::{
        CLIENT_ID, CLIENT_SECRET, CUSTOMER, DOMAIN, FakeSectigo, LOGIN, Mishap, ORGANIZATION, PASSWORD,
        PROFILE, Scheme, Step,
    },
};

struct Fixture {
    fake: FakeSectigo,
    clock: LeapClock,
}

impl Fixture {
    /// Pre-validated domains, header login.
    async fn start() -> Self {
        Self::with(Scheme::Password).await
    }

    async fn with(scheme: Scheme) -> Self {
        let clock = LeapClock::default();
        Self { fake: FakeSectigo::start(scheme, Arc::new(clock.clone())).await, clock }
    }

    async fn with_approval() -> Self {
        let fixture = Self::start().await;
        fixture.fake.world().approval = true;
        fixture
    }

    /// Domains validated with each order, an API key on the newer host.
    async fn with_order_validation() -> Self {
        let fixture = Self::with(Scheme::OAuth).await;
        fixture.fake.world().prevalidation = false;
        fixture
    }

    fn builder(&self) -> SectigoBuilder {
        let (scheme, with_orders) = {
            let world = self.fake.world();
            (world.scheme, !world.prevalidation)
        };
        let url = |path: &str| format!("{}{path}", self.fake.server.uri()).parse().unwrap();
        let builder = match scheme {
            Scheme::Password => Sectigo::builder(CUSTOMER, LOGIN, PASSWORD),
            Scheme::Certificate => Sectigo::builder_with_certificate(CUSTOMER, LOGIN, settings::identity()),
            Scheme::OAuth => Sectigo::builder_with_api_key(CLIENT_ID, CLIENT_SECRET).token_url(url("/token")),
        };
        let builder = builder.order_validation(with_orders).clock(Arc::new(self.clock.clone()));
        builder.base_url(url(if scheme == Scheme::Certificate { "/private/api" } else { "" }))
    }

    fn sectigo(&self) -> Sectigo {
        self.builder().build().unwrap()
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.fake.world().requests)
    }

    fn intent(&self, names: &[&str]) -> OrderIntent {
        intent(self.request(identifiers(names)))
    }

    /// Takes an order to its certificate.
    async fn obtain(&self, intent: &OrderIntent) -> OrderSnapshot {
        let placed = self.sectigo().place(intent).await.unwrap();
        self.finish(intent, placed).await
    }

    async fn finish(&self, intent: &OrderIntent, placed: OrderSnapshot) -> OrderSnapshot {
        let mut snapshot = placed;
        for _ in 0..10 {
            if snapshot.stage == Stage::Issued || snapshot.stage.is_lost() {
                return snapshot;
            }
            snapshot = self.sectigo().poll(&order(intent, &snapshot)).await.unwrap();
        }
        panic!("{snapshot:?}");
    }

    fn paid(&self) -> usize {
        self.fake.world().ledger.iter().filter(|line| line.paid).count()
    }
}

fn identifiers(names: &[&str]) -> Vec<Identifier> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// An intent with a key of its own; the first name is the common name, as the engine has it.
fn intent(request: OrderRequest) -> OrderIntent {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let mut template = CsrTemplate::new(request.identifiers.iter().cloned());
    template.common_name = request.identifiers.first().cloned();
    let csr = template.sign(&key).unwrap();
    let reference = format!("certlife-{}", &csr.public_key_hash().to_string()[..24]);
    OrderIntent { reference, request: OrderRequest { key_algorithm: csr.key_algorithm(), ..request }, csr }
}

fn order(intent: &OrderIntent, snapshot: &OrderSnapshot) -> OrderRef {
    OrderRef { intent: Some(intent.clone()), handle: snapshot.handle.clone() }
}

/// What the engine knows of an issued order.
fn of(snapshot: &OrderSnapshot) -> IssuedRef {
    IssuedRef { handle: Some(snapshot.handle.clone()), chain: snapshot.certificate.clone().unwrap() }
}

fn ssl_id(snapshot: &OrderSnapshot) -> u64 {
    snapshot.handle.0["ssl_id"].as_u64().unwrap()
}

impl CaFixture for Fixture {
    fn ca(&self) -> Arc<dyn CertificateAuthority> {
        Arc::new(self.sectigo())
    }

    fn name(&self, label: &str) -> DnsName {
        match label {
            // Apart from orders only registered domains are validated.
            "apart" | "approved" => format!("{label}.example"),
            label => format!("{label}.{DOMAIN}"),
        }
        .parse()
        .unwrap()
    }

    fn address(&self) -> IpAddr {
        [192, 0, 2, 1].into()
    }

    fn request(&self, identifiers: Vec<Identifier>) -> OrderRequest {
        OrderRequest {
            purpose: Purpose::New,
            identifiers,
            key_algorithm: None,
            validity: Some(Duration::from_hours(24 * 90)),
            product: Some(PROFILE.to_string()),
            organization: Some(ORGANIZATION.to_string()),
            contacts: Vec::new(),
            challenges: [].into(),
            options: OrderOptions::default().comments("From the suite").into(),
        }
    }

    fn bad_requests(&self) -> Vec<(OrderRequest, &'static str)> {
        let plain = || self.request(vec![self.name("bad").into()]);
        let day = Duration::from_hours(24);
        vec![
            (OrderRequest { options: json!({ "colour": "blue" }), ..plain() }, "colour"),
            (OrderRequest { product: None, ..plain() }, "product"),
            (OrderRequest { organization: Some("acme".into()), ..plain() }, "acme"),
            (OrderRequest { validity: Some(365 * day), ..plain() }, "365 days"),
            (OrderRequest { validity: Some(Duration::from_hours(30)), ..plain() }, "whole days"),
        ]
    }

    fn unknown_handle(&self) -> OrderHandle {
        OrderHandle(json!({ "ssl_id": 999_999_999 }))
    }

    fn secrets(&self) -> Vec<String> {
        vec![PASSWORD.into(), CLIENT_SECRET.into(), "invented-access-token".into()]
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn wait(&self, time: Duration) {
        self.clock.advance(time);
    }

    async fn roots(&self) -> Vec<CertificateDer<'static>> {
        vec![self.fake.world().issuer.root().clone()]
    }

    async fn prove(&self, _: &Identifier, response: &ChallengeResponse) -> bool {
        let kind = response.kind().to_string();
        let (kind, place, value) = match response {
            ChallengeResponse::DnsTxt { name, value } => ("TXT", name.to_string(), value.clone()),
            ChallengeResponse::DnsCname { name, target } => ("CNAME", name.to_string(), target.to_string()),
            ChallengeResponse::Http(file) => {
                ("HTTP", format!("http://{}{}", file.host, file.path), file.body.as_str().to_owned())
            }
            ChallengeResponse::Email { address } => ("EMAIL", address.clone(), String::new()),
            _ => panic!("Sectigo does not ask for {kind}"),
        };
        self.fake.world().proofs.insert((kind.to_owned(), place, value));
        true
    }

    async fn disprove(&self, identifier: &Identifier) {
        self.fake.world().disproven.insert(identifier.to_string());
    }

    async fn help(&self, _: &OrderHandle) {}

    async fn booked(&self, intent: &OrderIntent) -> Booked {
        let (world, csr) = (self.fake.world(), intent.csr.pem());
        let lines: Vec<_> = world.ledger.iter().filter(|line| line.csr == csr).collect();
        Booked {
            orders: lines.len(),
            paid: lines.iter().filter(|line| line.paid).count(),
            certificates: world.issued.iter().filter(|issued| **issued == csr).count(),
        }
    }

    fn requests(&self) -> u64 {
        self.fake.world().requests.len() as u64
    }

    fn inject(&self, operation: Operation, fault: Fault) {
        let step = match operation {
            Operation::PlaceOrder => Step::Place,
            Operation::Respond => Step::Recheck,
            Operation::PollOrder => Step::Details,
            Operation::Revoke => Step::Revoke,
            other => panic!("no step for {other:?}"),
        };
        let mishap = match fault {
            Fault::LoseAnswer => Mishap::lose(),
            Fault::Throttle(pause) => Mishap::Throttle(pause),
            Fault::Fail => Mishap::Before(503, "text/plain", "down".to_owned()),
            Fault::Garble => Mishap::After(200, "application/json", "this is not JSON".to_owned()),
            Fault::Slow(time) => Mishap::Slow(time),
        };
        self.fake.befall(step, mishap);
    }

    fn lacks(&self, _: Ability) -> Option<&'static str> {
        None
    }
}

mod prevalidated {
    use super::*;

    certlife_testkit::ca_conformance!(Fixture::with_approval().await);
}

mod with_orders {
    use super::*;

    certlife_testkit::ca_conformance!(Fixture::with_order_validation().await);
}
