//! The contract, line by line, at Sectigo by DNS and at DigiCert by file.

use std::{net::IpAddr, sync::Arc, time::Duration};

use certlife_core::{
    CertificateAuthority, Clock as _, DnsName, Identifier, Operation, Timestamp,
    ca::{OrderHandle, OrderIntent, OrderRequest},
    challenge::{ChallengeKind, ChallengeResponse},
};
use certlife_testkit::ca::{Ability, Booked, CaFixture, Fault};
use rustls_pki_types::CertificateDer;
use serde_json::json;

use super::{
    super::{
        Vendor,
        fake::{ORDER_SECRET, PASSWORD, TOKEN},
    },
    Desk, proven_by, request,
};

struct Fixture {
    desk: Desk,
    product: &'static str,
    kind: ChallengeKind,
}

impl Fixture {
    async fn sectigo() -> Self {
        Self::new("positivemdcwildcard", ChallengeKind::DnsCname).await
    }

    async fn digicert() -> Self {
        Self::new("digi_ssl_dv_geotrust_flex", ChallengeKind::Http).await
    }

    async fn new(product: &'static str, kind: ChallengeKind) -> Self {
        let desk = Desk::start().await;
        desk.fake.world().nulls = true;
        desk.fake.world().polls_to_issue = 1;
        Self { desk, product, kind }
    }
}

impl CaFixture for Fixture {
    fn ca(&self) -> Arc<dyn CertificateAuthority> {
        let builder = self.desk.builder();
        // An account for one vendor knows which records are wanted.
        let sectigo = !self.product.starts_with("digi_");
        let builder = if sectigo { builder.vendor(Vendor::Sectigo) } else { builder };
        Arc::new(builder.build().unwrap())
    }

    fn name(&self, label: &str) -> DnsName {
        format!("{label}.suite.example").parse().unwrap()
    }

    fn address(&self) -> IpAddr {
        [192, 0, 2, 1].into()
    }

    fn request(&self, identifiers: Vec<Identifier>) -> OrderRequest {
        let wildcard = identifiers.iter().any(Identifier::is_wildcard);
        let kind = if wildcard { ChallengeKind::DnsCname } else { self.kind };
        let first_wildcard = identifiers.first().is_some_and(Identifier::is_wildcard);
        // At Sectigo products are for wildcards or not.
        let product = match self.product {
            "positivemdcwildcard" if !first_wildcard => "positivemdcssl",
            product => product,
        };
        proven_by(kind, OrderRequest { identifiers, ..request(product, &[]) })
    }

    fn bad_requests(&self) -> Vec<(OrderRequest, &'static str)> {
        let plain = || self.request(vec![Identifier::Dns(self.name("bad"))]);
        vec![
            (OrderRequest { options: json!({ "colour": "blue" }), ..plain() }, "colour"),
            (OrderRequest { options: json!({ "server_count": 0 }), ..plain() }, "options.server_count"),
            (OrderRequest { product: None, ..plain() }, "product"),
            (OrderRequest { organization: Some("nobody".into()), ..plain() }, "organization"),
            (OrderRequest { validity: Some(Duration::from_hours(45 * 24)), ..plain() }, "validity"),
            (OrderRequest { contacts: Vec::new(), ..plain() }, "contacts"),
        ]
    }

    fn unknown_handle(&self) -> OrderHandle {
        OrderHandle(json!({ "order": "9999999" }))
    }

    fn secrets(&self) -> Vec<String> {
        [TOKEN, ORDER_SECRET, PASSWORD].map(str::to_owned).into()
    }

    fn now(&self) -> Timestamp {
        self.desk.clock.now()
    }

    async fn wait(&self, time: Duration) {
        self.desk.clock.advance(time);
    }

    async fn roots(&self) -> Vec<CertificateDer<'static>> {
        vec![self.desk.fake.world().root().into()]
    }

    async fn prove(&self, identifier: &Identifier, response: &ChallengeResponse) -> bool {
        self.desk.fake.world().show(identifier, response)
    }

    async fn disprove(&self, identifier: &Identifier) {
        self.desk.fake.world().disproven.insert(identifier.to_string());
    }

    async fn help(&self, _: &OrderHandle) {
        for order in &mut self.desk.fake.world().orders {
            order.vetting = order.vetting.map(|_| true);
        }
    }

    async fn booked(&self, intent: &OrderIntent) -> Booked {
        let world = self.desk.fake.world();
        let lines: Vec<_> = world.ledger.iter().filter(|line| line.0 == intent.reference).collect();
        Booked {
            orders: lines.len(),
            paid: lines.iter().filter(|line| line.2).count(),
            certificates: world.issued.iter().filter(|reference| **reference == intent.reference).count(),
        }
    }

    fn requests(&self) -> u64 {
        self.desk.fake.world().requests.len() as u64
    }

    fn inject(&self, operation: Operation, fault: Fault) {
        let path = match operation {
            Operation::PlaceOrder => "order/neworder",
            Operation::Respond if self.product.starts_with("digi_") => "digicert/checkdcv",
            Operation::Respond | Operation::PollOrder => "order/status",
            Operation::Revoke => "order/certificaterevokerequest",
            Operation::Revalidate => "order/resend",
            other => panic!("no call for {other:?}"),
        };
        self.desk.fake.world().faults.push((path.to_owned(), fault));
    }

    fn lacks(&self, _: Ability) -> Option<&'static str> {
        None
    }
}

mod sectigo {
    use super::Fixture;

    certlife_testkit::ca_conformance!(Fixture::sectigo().await);
}

mod digicert {
    use super::Fixture;

    certlife_testkit::ca_conformance!(Fixture::digicert().await);
}
