//! The provider against a strict account in this process.

mod account;
mod conformance;
mod decisions;
mod domains;
mod engine;
mod errors;
mod finding;
mod import;
mod orders;
mod revocation;
mod settings;

use std::sync::Arc;

use certlife_core::{
    AccountName, CertificateAuthority as _, CsrTemplate, KeyAlgorithm, LocalKeyRing, PrivateKey, Sealer,
    SecretBytes, Vault,
    ca::{IssuedRef, OrderIntent, OrderRef, OrderRequest, OrderSnapshot, Purpose},
    store::MemoryStore,
};
use certlife_testkit::clock::LeapClock;

use super::{
    Entrust, EntrustBuilder, OrderOptions, Requester,
    fake::{Fake, FakeDomain, KEY, USER},
};

/// An account, and what a host keeps for it.
struct Scene {
    fake: Fake,
    clock: LeapClock,
    vault: Vault,
}

impl Scene {
    async fn new() -> Self {
        let clock = LeapClock::default();
        let fake = Fake::start(Arc::new(clock.clone())).await;
        for name in ["suite.example", "northwind.example"] {
            fake.world().domains.push(FakeDomain::approved(name, 1));
        }
        let ring = LocalKeyRing::from_key(SecretBytes::new(vec![7; 32])).unwrap();
        let sealer = Sealer::new(Arc::new(ring));
        let vault = Vault::new(Arc::new(MemoryStore::new()), sealer, AccountName::new("entrust").unwrap());
        Self { fake, clock, vault }
    }

    fn builder(&self) -> EntrustBuilder {
        // The server speaks plain HTTP; one root spares each of the many providers from reading the platform's.
        let mut http = certlife_core::http::Settings::default();
        http.roots = Some(self.fake.world().issuer.root_pem());
        http.only_roots = true;
        Entrust::builder(USER, KEY)
            .base_url(self.fake.base_url())
            .http(http)
            .clock(Arc::new(self.clock.clone()))
            .requester(requester())
    }

    /// A provider after a restart.
    fn ca(&self) -> Entrust {
        self.builder().build().unwrap()
    }

    /// The requests since the last call.
    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.fake.world().requests)
    }

    /// The orders that were ever taken with this reference.
    fn taken(&self, intent: &OrderIntent) -> usize {
        self.fake.world().ledger.iter().filter(|line| line.tracking_info.ends_with(&intent.reference)).count()
    }
}

fn requester() -> Requester {
    Requester {
        name: "Mira Okafor".into(),
        email: "mira.okafor@northwind.example".into(),
        phone: "+1-613-555-0142".into(),
    }
}

fn request(names: &[&str]) -> OrderRequest {
    OrderRequest {
        purpose: Purpose::New,
        identifiers: names.iter().map(|name| name.parse().unwrap()).collect(),
        key_algorithm: None,
        validity: None,
        product: Some("UC_SSL".into()),
        organization: None,
        contacts: Vec::new(),
        challenges: [].into(),
        options: serde_json::Value::Null,
    }
}

fn intent(request: OrderRequest) -> OrderIntent {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let csr = CsrTemplate::new(request.identifiers.iter().cloned()).sign(&key).unwrap();
    let reference = format!("certlife-{}", &csr.public_key_hash().to_string()[..20]);
    OrderIntent { reference, request, csr }
}

fn order(intent: &OrderIntent, snapshot: &OrderSnapshot) -> OrderRef {
    OrderRef { intent: Some(intent.clone()), handle: snapshot.handle.clone() }
}

fn issued(snapshot: &OrderSnapshot) -> IssuedRef {
    IssuedRef { handle: Some(snapshot.handle.clone()), chain: snapshot.certificate.clone().unwrap() }
}

fn with_options(options: &OrderOptions) -> OrderRequest {
    OrderRequest { options: serde_json::to_value(options).unwrap(), ..request(&["shop.northwind.example"]) }
}

async fn placed(scene: &Scene, request: OrderRequest) -> (OrderIntent, OrderSnapshot) {
    let intent = intent(request);
    let snapshot = scene.ca().place(&intent).await.unwrap();
    (intent, snapshot)
}
