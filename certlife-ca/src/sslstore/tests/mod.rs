//! The provider against a strict server in this process.

mod answers;
mod checks;
mod conformance;
mod ends;
mod engine;
mod listing;
mod orders;
mod proofs;
mod tokens;

use std::sync::Arc;

use certlife_core::{
    CertificateAuthority as _, Csr, CsrTemplate, Identifier, KeyAlgorithm, PrivateKey,
    ca::{
        Contact, ContactRole, IssuedRef, OrderIntent, OrderRef, OrderRequest, OrderSnapshot, Purpose, Stage,
    },
    challenge::{AuthorizationStatus, ChallengeId, ChallengeKind, Proof},
};
use certlife_testkit::{ca::Fault, clock::LeapClock};
use serde_json::Value;

use super::{
    SslStore, SslStoreBuilder,
    fake::{FakeStore, PARTNER, TOKEN},
};

/// A provider, the server behind it, and the time of both.
struct Desk {
    fake: FakeStore,
    clock: LeapClock,
}

impl Desk {
    async fn start() -> Self {
        let clock = LeapClock::default();
        Self { fake: FakeStore::start(Arc::new(clock.clone())).await, clock }
    }

    fn builder(&self) -> SslStoreBuilder {
        self.with_token(TOKEN)
    }

    fn with_token(&self, token: &str) -> SslStoreBuilder {
        self.aimed(SslStore::builder(PARTNER, token))
    }

    fn aimed(&self, builder: SslStoreBuilder) -> SslStoreBuilder {
        // The server speaks plain HTTP; built-in roots spare each of the many providers from reading the platform's.
        let mut http = certlife_core::http::Settings::default();
        http.bundled_roots = certlife_core::http::BundledRoots::Always;
        builder.base_url(self.fake.base_url()).clock(Arc::new(self.clock.clone())).http(http).page_size(2)
    }

    /// A provider without memory.
    fn ca(&self) -> SslStore {
        self.builder().build().unwrap()
    }

    /// The calls since the last time.
    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.fake.world().requests)
    }

    /// The newest body of a call.
    fn body(&self, path: &str) -> Value {
        self.fake.world().bodies[path].last().unwrap().clone()
    }

    /// Takes an order to its end as the engine does, with a new provider for each call.
    async fn finish(&self, intent: &OrderIntent, mut snapshot: OrderSnapshot) -> OrderSnapshot {
        for _ in 0..30 {
            let order = order_ref(intent, &snapshot);
            snapshot = match snapshot.stage {
                Stage::Validating => {
                    let ready = self.prove(&snapshot);
                    self.ca().respond(&order, &ready).await.unwrap()
                }
                Stage::Processing => {
                    for order in &mut self.fake.world().orders {
                        order.vetting = order.vetting.map(|_| true);
                    }
                    self.ca().poll(&order).await.unwrap()
                }
                _ => return snapshot,
            };
        }
        panic!("no end: {snapshot:?}");
    }

    /// Puts in place what an order asks for.
    fn prove(&self, snapshot: &OrderSnapshot) -> Vec<ChallengeId> {
        let mut ready = Vec::new();
        let open = snapshot.authorizations.iter().flatten();
        for open in open.filter(|open| open.status == AuthorizationStatus::Pending) {
            let challenge = open.challenges.first().unwrap();
            assert!(self.fake.world().show(&open.identifier, &challenge.response));
            ready.push(challenge.id.clone());
        }
        ready
    }

    async fn obtain(&self, intent: &OrderIntent) -> OrderSnapshot {
        let placed = self.ca().place(intent).await.unwrap();
        let issued = self.finish(intent, placed).await;
        assert_eq!(issued.stage, Stage::Issued, "{:?}", issued.message);
        issued
    }
}

/// The next call of this path has its effect, and its answer is lost.
fn lose(desk: &Desk, path: &str) {
    desk.fake.world().faults.push((path.to_owned(), Fault::LoseAnswer));
}

fn request(product: &str, names: &[&str]) -> OrderRequest {
    OrderRequest {
        purpose: Purpose::New,
        identifiers: names.iter().map(|name| name.parse().unwrap()).collect(),
        key_algorithm: None,
        validity: None,
        product: Some(product.to_owned()),
        organization: None,
        contacts: vec![Contact {
            role: ContactRole::Administrative,
            email: "ada@example.org".into(),
            first_name: "Ada".into(),
            last_name: "Lind".into(),
            title: "Engineer".into(),
            phone: "4612345678".into(),
        }],
        challenges: [].into(),
        options: Value::Null,
    }
}

/// The same, with every name proven like this.
fn proven_by(kind: ChallengeKind, request: OrderRequest) -> OrderRequest {
    let challenges = request.identifiers.iter().map(|name| (name.clone(), Proof::from(kind))).collect();
    OrderRequest { challenges, ..request }
}

fn csr(names: &[Identifier]) -> Csr {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    CsrTemplate::new(names.iter().cloned()).sign(&key).unwrap()
}

fn intent(request: OrderRequest) -> OrderIntent {
    let csr = csr(&request.identifiers);
    let reference = format!("certlife-{}", &csr.public_key_hash().to_string()[..20]);
    OrderIntent { reference, request, csr }
}

fn simple() -> OrderIntent {
    intent(request("positivessl", &["shop.example.org"]))
}

fn order_ref(intent: &OrderIntent, snapshot: &OrderSnapshot) -> OrderRef {
    let text =
        serde_json::to_string(&OrderRef { intent: Some(intent.clone()), handle: snapshot.handle.clone() });
    serde_json::from_str(&text.unwrap()).unwrap()
}

fn issued_ref(snapshot: &OrderSnapshot) -> IssuedRef {
    IssuedRef { handle: Some(snapshot.handle.clone()), chain: snapshot.certificate.clone().unwrap() }
}

fn name(text: &str) -> Identifier {
    text.parse().unwrap()
}
