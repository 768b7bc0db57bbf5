//! The contract, line by line.

use std::{net::IpAddr, sync::Arc, time::Duration};

use certlife_core::{
    AccountSummary, CertificateAuthority, DnsName, Identifier, InputError, KeyAlgorithm, Operation,
    PrivateKey, ProviderName, Result, Secret, Timestamp, Vault, async_trait,
    ca::{
        CaCapabilities, Catalog, Decision, DomainValidation, Found, ImportFilter, IssuedRef, OrderHandle,
        OrderIntent, OrderRef, OrderRequest, OrderSnapshot, RenewalWindow, Revocation, Signer,
    },
    challenge::{ChallengeId, ChallengeKind, ChallengeResponse, Proof},
    store::{Cursor, Page},
};
use certlife_testkit::ca::{Ability, Booked, CaFixture, Fault};
use rustls_pki_types::CertificateDer;
use serde_json::json;

use super::{
    super::ExternalAccount,
    Acme, builder,
    fake::{Fake, Mishap, Step},
    now, request, vault,
};

const MAC_KEY: &str = "c2VjcmV0LWtleS1vZi10aGUtZXh0ZXJuYWwtYWNjb3VudA";

struct Fixture {
    fake: Arc<Fake>,
    vault: Vault,
    key: PrivateKey,
}

impl Fixture {
    async fn start() -> Self {
        let fake = Fake::start().await;
        let mac_key = b"secret-key-of-the-external-account".to_vec();
        fake.world().external_accounts.insert("external-1".into(), mac_key);
        Self { fake, vault: vault(), key: PrivateKey::generate(KeyAlgorithm::EcdsaP384).unwrap() }
    }

    fn acme(&self) -> Acme {
        let external = ExternalAccount { key_id: "external-1".into(), hmac_key: Secret::new(MAC_KEY) };
        builder(&self.fake, &self.vault)
            .account_key(self.key.clone())
            .external_account(external)
            .build()
            .unwrap()
    }
}

impl CaFixture for Fixture {
    fn ca(&self) -> Arc<dyn CertificateAuthority> {
        Arc::new(Watched { acme: self.acme(), fake: self.fake.clone() })
    }

    fn name(&self, label: &str) -> DnsName {
        format!("{label}.suite.example").parse().unwrap()
    }

    fn address(&self) -> IpAddr {
        [192, 0, 2, 1].into()
    }

    fn request(&self, identifiers: Vec<Identifier>) -> OrderRequest {
        OrderRequest { identifiers, ..request(&[]) }
    }

    fn bad_requests(&self) -> Vec<(OrderRequest, &'static str)> {
        let plain = || self.request(vec![Identifier::Wildcard(self.name("bad"))]);
        let wildcard = plain().identifiers.remove(0);
        vec![
            (OrderRequest { options: json!({ "colour": "blue" }), ..plain() }, "colour"),
            (OrderRequest { organization: Some("org-1".into()), ..plain() }, "organization"),
            (OrderRequest { product: Some("gold".into()), ..plain() }, "shortlived"),
            (
                OrderRequest { challenges: [(wildcard, ChallengeKind::Http.into())].into(), ..plain() },
                "challenges",
            ),
        ]
    }

    fn unknown_handle(&self) -> OrderHandle {
        let url = &self.fake.url;
        OrderHandle(json!({ "order": format!("{url}/order/999"), "account": format!("{url}/account/0") }))
    }

    fn secrets(&self) -> Vec<String> {
        let pem = self.key.to_pkcs8_pem().unwrap();
        vec![MAC_KEY.into(), pem.expose().lines().nth(1).unwrap().to_owned()]
    }

    fn now(&self) -> Timestamp {
        now()
    }

    async fn wait(&self, _: Duration) {}

    async fn roots(&self) -> Vec<CertificateDer<'static>> {
        self.fake.world().issuer.ways.iter().map(|(root, _)| root.clone()).collect()
    }

    async fn prove(&self, identifier: &Identifier, response: &ChallengeResponse) -> bool {
        self.fake.world().prove(identifier, response)
    }

    async fn disprove(&self, identifier: &Identifier) {
        self.fake.world().disproven.insert(identifier.clone());
    }

    async fn help(&self, _: &OrderHandle) {}

    async fn booked(&self, intent: &OrderIntent) -> Booked {
        let world = self.fake.world();
        let orders: Vec<_> =
            world.orders.iter().filter(|order| order.reference.as_ref() == Some(&intent.reference)).collect();
        let certificates = orders.iter().filter(|order| order.certificate.is_some()).count();
        Booked { orders: orders.len(), paid: 0, certificates }
    }

    fn requests(&self) -> u64 {
        self.fake.requests()
    }

    fn inject(&self, operation: Operation, fault: Fault) {
        let step = match operation {
            Operation::PlaceOrder => Step::NewOrder,
            Operation::Respond => Step::Challenge,
            Operation::PollOrder => Step::Order,
            Operation::Revoke => Step::Revoke,
            other => panic!("no step for {other:?}"),
        };
        let mishap = match fault {
            Fault::LoseAnswer => Mishap::LoseAnswer,
            Fault::Throttle(wait) => Mishap::throttle(wait),
            Fault::Fail => Mishap::problem(503, "serverInternal", None),
            Fault::Garble => Mishap::Garble,
            Fault::Slow(time) => Mishap::Slow(time),
        };
        self.fake.befall(step, mishap);
    }

    fn lacks(&self, _: Ability) -> Option<&'static str> {
        None
    }
}

/// Tells the server which intent an order belongs to: ACME orders carry no reference by which its books could.
#[derive(Debug)]
struct Watched {
    acme: Acme,
    fake: Arc<Fake>,
}

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fake")
    }
}

#[async_trait]
impl CertificateAuthority for Watched {
    fn provider(&self) -> ProviderName {
        self.acme.provider()
    }

    fn capabilities(&self) -> CaCapabilities {
        self.acme.capabilities()
    }

    fn check(&self, request: &OrderRequest, catalog: Option<&Catalog>) -> Result<(), InputError> {
        self.acme.check(request, catalog)
    }

    async fn probe(&self) -> Result<AccountSummary> {
        self.acme.probe().await
    }

    async fn catalog(&self) -> Result<Catalog> {
        self.acme.catalog().await
    }

    async fn place(&self, intent: &OrderIntent) -> Result<OrderSnapshot> {
        let expected = (intent.request.identifiers.clone(), intent.reference.clone());
        self.fake.world().expected.push(expected);
        self.acme.place(intent).await
    }

    async fn find(&self, intent: &OrderIntent) -> Result<Found> {
        self.acme.find(intent).await
    }

    async fn respond(&self, order: &OrderRef, ready: &[ChallengeId]) -> Result<OrderSnapshot> {
        self.acme.respond(order, ready).await
    }

    async fn poll(&self, order: &OrderRef) -> Result<OrderSnapshot> {
        self.acme.poll(order).await
    }

    async fn decide(&self, order: &OrderRef, decision: Decision) -> Result<OrderSnapshot> {
        self.acme.decide(order, decision).await
    }

    async fn approvers(&self, domain: &Identifier, product: Option<&str>) -> Result<Vec<String>> {
        self.acme.approvers(domain, product).await
    }

    async fn revalidate(
        &self,
        order: &OrderRef,
        identifier: &Identifier,
        proof: &Proof,
    ) -> Result<OrderSnapshot> {
        self.acme.revalidate(order, identifier, proof).await
    }

    async fn validate_domain(&self, domain: &Identifier, proof: &Proof) -> Result<DomainValidation> {
        self.acme.validate_domain(domain, proof).await
    }

    async fn revoke(&self, revocation: &Revocation, key: Option<&dyn Signer>) -> Result<()> {
        self.acme.revoke(revocation, key).await
    }

    async fn orders(&self, filter: &ImportFilter, page: Option<Cursor>) -> Result<Page<OrderSnapshot>> {
        self.acme.orders(filter, page).await
    }

    async fn renewal_window(&self, issued: &IssuedRef) -> Result<Option<RenewalWindow>> {
        self.acme.renewal_window(issued).await
    }
}

certlife_testkit::ca_conformance!(Fixture::start().await);
