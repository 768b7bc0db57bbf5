//! What only this authority promises; the contract itself is the suite's matter.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use certlife_core::{
    CertificateAuthority as _, CsrTemplate, ErrorKind, KeyAlgorithm, Operation, PrivateKey, SystemClock,
    ca::{Found, OrderIntent, OrderRef, OrderRequest, Placement, Purpose, Stage},
    x509::{Expectation, check_issued},
};

use super::*;

fn builder() -> MemoryCaBuilder {
    MemoryCa::builder(Arc::new(SystemClock::default()))
}

fn intent(reference: &str, algorithm: KeyAlgorithm, names: &[&str]) -> OrderIntent {
    let identifiers: Vec<Identifier> = names.iter().map(|name| name.parse().unwrap()).collect();
    let key = PrivateKey::generate(algorithm).unwrap();
    let csr = CsrTemplate::new(identifiers.iter().cloned()).sign(&key).unwrap();
    let request = OrderRequest {
        purpose: Purpose::New,
        identifiers,
        key_algorithm: Some(algorithm),
        validity: None,
        product: None,
        organization: None,
        contacts: Vec::new(),
        challenges: BTreeMap::new(),
        options: serde_json::Value::Null,
    };
    OrderIntent { reference: reference.to_owned(), request, csr }
}

#[tokio::test]
async fn every_kind_of_key_gets_a_certificate_that_leads_to_the_root() {
    let ca = builder().build();
    for algorithm in KeyAlgorithm::ALL {
        let intent = intent(algorithm.as_str(), *algorithm, &["a.example", "*.b.example", "192.0.2.1"]);
        let placed = ca.place(&intent).await.unwrap();
        assert_eq!(placed.stage, Stage::Issued);
        let names: BTreeSet<_> = intent.request.identifiers.iter().cloned().collect();
        let now = SystemClock::default();
        let expectation =
            Expectation::new(intent.csr.public_key_hash(), names, certlife_core::Clock::now(&now));
        check_issued(&placed.certificate.unwrap(), &expectation.trust(vec![ca.root().clone()])).unwrap();
    }
    let line = &ca.ledger()[0];
    let (start, end) = line.validity.unwrap();
    assert_eq!(end.since(start), Duration::from_hours(45 * 24) - Duration::from_secs(1));
}

#[tokio::test]
async fn chance_follows_the_seed_and_the_order_whatever_overlaps() {
    async fn outcomes(seed: u64, references: &[&str]) -> BTreeMap<String, bool> {
        let ca = builder().seed(seed).failure_rate(0.5).build();
        let mut outcomes = BTreeMap::new();
        for reference in references {
            let intent = intent(reference, KeyAlgorithm::EcdsaP256, &["a.example"]);
            outcomes.insert((*reference).to_owned(), ca.place(&intent).await.is_ok());
        }
        outcomes
    }
    let references: Vec<_> = (0..40).map(|number| format!("r-{number}")).collect();
    let forth: Vec<_> = references.iter().map(String::as_str).collect();
    let back: Vec<_> = forth.iter().rev().copied().collect();
    let first = outcomes(1, &forth).await;
    assert_eq!(first, outcomes(1, &back).await);
    assert_ne!(first, outcomes(2, &forth).await);
    let failed = first.values().filter(|succeeded| !**succeeded).count();
    assert!((8..32).contains(&failed), "{failed} of 40 failed");
}

#[tokio::test]
async fn a_lost_order_stands_in_the_ledger_and_a_second_one_is_a_duplicate() {
    let ca = builder().placement(Placement::Paid).build();
    let intent = intent("r", KeyAlgorithm::EcdsaP256, &["a.example"]);
    ca.inject(Some(Operation::PlaceOrder), Fault::LoseAnswer);
    let lost = ca.place(&intent).await.unwrap_err();
    assert_eq!(lost.kind(), &ErrorKind::Uncertain);
    assert_eq!(ca.placed("r"), 1);
    assert!(matches!(ca.clone().find(&intent).await.unwrap(), Found::Order(_)));
    ca.place(&intent).await.unwrap();
    assert_eq!(ca.duplicates(), [("r".to_owned(), 2)].into());
    assert!(ca.ledger().iter().all(|line| line.paid));
}

#[tokio::test]
async fn a_proof_that_is_refused_rejects_the_order_with_the_words() {
    let ca =
        builder().challenges([certlife_core::challenge::ChallengeKind::DnsTxt]).polls_to_check(1).build();
    ca.refuse("a.example".parse().unwrap(), "no such record");
    let intent = intent("r", KeyAlgorithm::EcdsaP256, &["a.example"]);
    let placed = ca.place(&intent).await.unwrap();
    let challenge = placed.authorizations.unwrap()[0].challenges[0].id.clone();
    let order = OrderRef { intent: Some(intent), handle: placed.handle };
    assert_eq!(ca.respond(&order, &[challenge]).await.unwrap().stage, Stage::Validating);
    assert_eq!(ca.poll(&order).await.unwrap().stage, Stage::Validating);
    let over = ca.poll(&order).await.unwrap();
    assert_eq!((over.stage, over.message.unwrap().as_str()), (Stage::Rejected, "no such record"));
}

#[tokio::test]
async fn nothing_arrives_while_it_is_down() {
    let ca = builder().build();
    let now = certlife_core::Clock::now(&SystemClock::default());
    ca.down_between(now - Duration::from_secs(1), now + Duration::from_hours(1));
    let intent = intent("r", KeyAlgorithm::EcdsaP256, &["a.example"]);
    assert_eq!(ca.place(&intent).await.unwrap_err().kind(), &ErrorKind::Unreachable);
    assert_eq!((ca.orders_placed(), ca.requests()), (0, 0));
}
