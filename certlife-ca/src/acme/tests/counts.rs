//! How many requests and sequential round trips an order takes.

use std::sync::Arc;

use certlife_core::{CertificateAuthority as _, Vault, ca::OrderIntent};

use super::{
    acme,
    fake::{Fake, Step},
    intent, obtain, request, vault,
};

/// What one order cost.
#[derive(Debug, PartialEq, Eq)]
struct Cost {
    rounds: usize,
    requests: u64,
}

fn names(count: usize) -> OrderIntent {
    let names: Vec<_> = (0..count).map(|number| format!("n{number}.counted.example")).collect();
    intent(request(&names.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// A server that knows the account that the vault holds.
async fn known() -> (Arc<Fake>, Vault) {
    let (fake, vault) = (Fake::counting().await, vault());
    acme(&fake, &vault).probe().await.unwrap();
    (fake, vault)
}

/// Orders with a provider that was just made.
async fn cost(fake: &Fake, vault: &Vault, intent: &OrderIntent) -> Cost {
    let before = (fake.rounds(), fake.requests());
    let acme = acme(fake, vault);
    obtain(fake, &acme, intent).await;
    let cost = Cost { rounds: fake.rounds() - before.0, requests: fake.requests() - before.1 };
    assert_eq!(acme.statistics().requests, cost.requests);
    cost
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_to_sixteen_names_take_ten_round_trips() {
    let (fake, vault) = known().await;
    for count in [1, 10, 16] {
        let cost = cost(&fake, &vault, &names(count)).await;
        // Directory, nonce, order, nonces for the wave, authorizations, challenges, order, finalize, order,
        // certificate. One name needs no further nonce.
        let nonces = u64::from(count > 1);
        assert_eq!(cost.rounds, 9 + usize::from(count > 1), "{count} names");
        assert_eq!(cost.requests, 7 + 2 * count as u64 + nonces * (count as u64 - 1), "{count} names");
    }
    assert!(fake.world().most_nonces <= 40, "nonces of three providers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_names_take_at_most_24_round_trips_and_226_requests() {
    let (fake, vault) = known().await;
    let cost = cost(&fake, &vault, &names(100)).await;
    assert!(cost.rounds <= 24, "{cost:?}");
    assert_eq!(cost.requests, 7 + 200 + 15);
    assert_eq!(fake.requests_for(Step::Order), 2);
    assert_eq!(fake.requests_for(Step::Authorization), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_is_ready_at_once_takes_seven_requests() {
    let (fake, vault) = known().await;
    fake.world().reuses = true;
    let first = names(40);
    cost(&fake, &vault, &first).await;
    let again = cost(&fake, &vault, &names(40)).await;
    assert_eq!(again, Cost { rounds: 7, requests: 7 });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_kept_needs_neither_directory_nor_nonce() {
    let (fake, vault) = known().await;
    let acme = acme(&fake, &vault);
    obtain(&fake, &acme, &names(16)).await;
    let before = (fake.rounds(), fake.requests());
    obtain(&fake, &acme, &names(16)).await;
    assert_eq!((fake.rounds() - before.0, fake.requests() - before.1), (7, 37));
}

#[tokio::test]
async fn no_more_than_sixteen_nonces_are_ever_out() {
    let (fake, vault) = (Fake::start().await, vault());
    let acme = acme(&fake, &vault);
    let intents: Vec<_> = (0..4)
        .map(|order| {
            let names: Vec<_> = (0..30).map(|number| format!("n{number}.o{order}.example")).collect();
            intent(request(&names.iter().map(String::as_str).collect::<Vec<_>>()))
        })
        .collect();
    futures_util::future::join_all(intents.iter().map(|intent| obtain(&fake, &acme, intent))).await;
    assert!(fake.world().most_nonces <= 16, "{}", fake.world().most_nonces);
    assert!(fake.requests_for(Step::NewNonce) <= 16);
}
