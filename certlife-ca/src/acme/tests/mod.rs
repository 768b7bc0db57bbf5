//! The provider against a strict server in this process.

mod account;
mod conformance;
mod counts;
mod fake;
mod hostile;
mod orders;

use std::sync::Arc;

use certlife_core::{
    AccountName, CertificateAuthority as _, Clock as _, CsrTemplate, Identifier, KeyAlgorithm, LocalKeyRing,
    PrivateKey, Sealer, SecretBytes, Store, SystemClock, Vault,
    ca::{IssuedRef, OrderIntent, OrderRef, OrderRequest, OrderSnapshot, Purpose, Stage},
    challenge::ChallengeKind,
    store::MemoryStore,
};

use self::fake::Fake;
use super::{Acme, AcmeBuilder};

/// A vault in a store of its own.
fn vault() -> Vault {
    vault_in(Arc::new(MemoryStore::new()))
}

fn vault_in(store: Arc<dyn Store>) -> Vault {
    let ring = LocalKeyRing::from_key(SecretBytes::new(vec![7; 32])).unwrap();
    Vault::new(store, Sealer::new(Arc::new(ring)), AccountName::new("acme").unwrap())
}

fn builder(fake: &Fake, vault: &Vault) -> AcmeBuilder {
    // The server speaks plain HTTP; one root spares each of the many providers from reading the platform's.
    let mut http = certlife_core::http::Settings::default();
    http.roots = Some(fake.world().issuer.ways[0].1.clone());
    http.only_roots = true;
    Acme::builder(fake.directory(), vault.clone()).terms_agreed(true).http(http)
}

fn acme(fake: &Fake, vault: &Vault) -> Acme {
    builder(fake, vault).build().unwrap()
}

fn request(names: &[&str]) -> OrderRequest {
    OrderRequest {
        purpose: Purpose::New,
        identifiers: names.iter().map(|name| name.parse().unwrap()).collect(),
        key_algorithm: None,
        validity: None,
        product: None,
        organization: None,
        contacts: Vec::new(),
        challenges: [].into(),
        options: serde_json::Value::Null,
    }
}

fn intent(request: OrderRequest) -> OrderIntent {
    intent_with(request).0
}

fn intent_with(request: OrderRequest) -> (OrderIntent, PrivateKey) {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let csr = CsrTemplate::new(request.identifiers.iter().cloned()).sign(&key).unwrap();
    (OrderIntent { reference: "r".into(), request, csr }, key)
}

fn order(intent: &OrderIntent, snapshot: &OrderSnapshot) -> OrderRef {
    OrderRef { intent: Some(intent.clone()), handle: snapshot.handle.clone() }
}

fn issued(snapshot: &OrderSnapshot) -> IssuedRef {
    IssuedRef { handle: Some(snapshot.handle.clone()), chain: snapshot.certificate.clone().unwrap() }
}

/// Proves every identifier, by DNS where it can be, and tells the CA.
async fn prove(fake: &Fake, acme: &Acme, intent: &OrderIntent, placed: &OrderSnapshot) -> OrderSnapshot {
    let mut ready = Vec::new();
    for authorization in placed.authorizations.iter().flatten() {
        let by_dns = |kind| kind == ChallengeKind::DnsTxt;
        let challenges = &authorization.challenges;
        let chosen = challenges.iter().find(|one| by_dns(one.response.kind())).or(challenges.first());
        let Some(chosen) = chosen else { continue };
        assert!(fake.world().prove(&authorization.identifier, &chosen.response));
        ready.push(chosen.id.clone());
    }
    acme.respond(&order(intent, placed), &ready).await.unwrap()
}

/// Takes an order from place to certificate without waiting.
async fn obtain(fake: &Fake, acme: &Acme, intent: &OrderIntent) -> OrderSnapshot {
    let placed = acme.place(intent).await.unwrap();
    let mut seen =
        if placed.stage == Stage::Validating { prove(fake, acme, intent, &placed).await } else { placed };
    for _ in 0..10 {
        if seen.stage == Stage::Issued {
            return seen;
        }
        seen = acme.poll(&order(intent, &seen)).await.unwrap();
    }
    panic!("not issued: {seen:?}");
}

fn identifier(text: &str) -> Identifier {
    text.parse().unwrap()
}

fn now() -> certlife_core::Timestamp {
    SystemClock::default().now()
}
