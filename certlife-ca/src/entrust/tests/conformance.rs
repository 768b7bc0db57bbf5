//! The contract, line by line: at once, with approval, and with patience.

use std::{net::IpAddr, sync::Arc, time::Duration};

use certlife_core::{
    CertificateAuthority, Clock as _, DnsName, Identifier, Operation, Timestamp,
    ca::{OrderHandle, OrderIntent, OrderRequest},
    challenge::ChallengeResponse,
};
use certlife_testkit::ca::{Ability, Booked, CaFixture, Fault};
use rustls_pki_types::CertificateDer;
use serde_json::json;

use super::{
    super::{
        OrderOptions,
        fake::{KEY, Mishap, Step, World},
    },
    Scene, request,
};

struct Fixture {
    scene: Scene,
    options: OrderOptions,
}

impl Fixture {
    async fn new(options: OrderOptions, set_up: impl FnOnce(&mut World)) -> Self {
        let scene = Scene::new().await;
        set_up(&mut scene.fake.world());
        Self { scene, options }
    }
}

impl CaFixture for Fixture {
    fn ca(&self) -> Arc<dyn CertificateAuthority> {
        // A restart takes some minutes here, within which the CA shows what it was asked for.
        self.scene.clock.advance(Duration::from_mins(11));
        Arc::new(self.scene.ca())
    }

    fn name(&self, label: &str) -> DnsName {
        format!("{label}.suite.example").parse().unwrap()
    }

    fn address(&self) -> IpAddr {
        [192, 0, 2, 1].into()
    }

    fn request(&self, identifiers: Vec<Identifier>) -> OrderRequest {
        OrderRequest { identifiers, options: serde_json::to_value(&self.options).unwrap(), ..request(&[]) }
    }

    fn bad_requests(&self) -> Vec<(OrderRequest, &'static str)> {
        let plain = || self.request(vec![Identifier::Dns(self.name("bad"))]);
        let elsewhere = vec!["shop.elsewhere.example".parse().unwrap()];
        vec![
            (OrderRequest { options: json!({ "colour": "blue" }), ..plain() }, "colour"),
            (OrderRequest { product: Some("EV_SSL".into()), ..plain() }, "EV_SSL"),
            (OrderRequest { organization: Some("1/Northwind Holding".into()), ..plain() }, "organization"),
            (OrderRequest { identifiers: elsewhere, ..plain() }, "shop.elsewhere.example"),
        ]
    }

    fn unknown_handle(&self) -> OrderHandle {
        OrderHandle(json!({ "order": 99 }))
    }

    fn secrets(&self) -> Vec<String> {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        vec![KEY.into(), STANDARD.encode(format!("{}:{KEY}", super::USER))]
    }

    fn now(&self) -> Timestamp {
        self.scene.clock.now()
    }

    async fn wait(&self, time: Duration) {
        self.scene.clock.advance(time);
    }

    async fn roots(&self) -> Vec<CertificateDer<'static>> {
        vec![self.scene.fake.world().issuer.root().clone()]
    }

    async fn prove(&self, identifier: &Identifier, response: &ChallengeResponse) -> bool {
        let mut world = self.scene.fake.world();
        let domain = world.domain(&identifier.to_string());
        let ChallengeResponse::DnsTxt { value, .. } = response else { return false };
        domain.proven = *value == domain.value();
        domain.proven
    }

    async fn disprove(&self, _: &Identifier) {}

    async fn help(&self, _: &OrderHandle) {}

    async fn booked(&self, intent: &OrderIntent) -> Booked {
        let world = self.scene.fake.world();
        let lines: Vec<_> =
            world.ledger.iter().filter(|line| line.tracking_info.ends_with(&intent.reference)).collect();
        let is_issued = |id: i64| world.orders.iter().any(|order| order.id == id && order.issued.is_some());
        Booked {
            orders: lines.len(),
            paid: lines.iter().filter(|line| line.paid).count(),
            certificates: lines.iter().filter(|line| is_issued(line.order)).count(),
        }
    }

    fn requests(&self) -> u64 {
        self.scene.fake.world().requests.len() as u64
    }

    fn inject(&self, operation: Operation, fault: Fault) {
        let step = match operation {
            Operation::PlaceOrder => Step::Order,
            Operation::PollOrder => Step::Read,
            Operation::Revoke => Step::Revoke,
            other => panic!("no step for {other:?}"),
        };
        let mishap = match fault {
            Fault::LoseAnswer => Mishap::Lose,
            Fault::Throttle(wait) => Mishap::Throttle(wait),
            Fault::Fail => Mishap::Fail,
            Fault::Garble => Mishap::Garble,
            Fault::Slow(time) => Mishap::Slow(time),
        };
        self.scene.fake.befall(step, mishap);
    }

    fn lacks(&self, ability: Ability) -> Option<&'static str> {
        (ability == Ability::RefuseProofs).then_some("orders at this authority ask for no proof")
    }
}

mod at_once {
    use super::*;

    certlife_testkit::ca_conformance!(Fixture::new(OrderOptions::new(), |world| world.max_page = 2).await);
}

mod with_approval {
    use super::*;

    certlife_testkit::ca_conformance!(
        Fixture::new(OrderOptions::new().queue_for_approval(true), |world| {
            world.value_after = 2;
            world.max_page = 3;
        })
        .await
    );
}

mod in_time {
    use super::*;

    certlife_testkit::ca_conformance!(
        Fixture::new(OrderOptions::new().friendly_name("the suite"), |world| {
            world.polls_to_issue = 2;
            world.max_page = 2;
            world.hides_unfinished = true;
            world.generates_in = Some(Duration::from_mins(5));
        })
        .await
    );
}
