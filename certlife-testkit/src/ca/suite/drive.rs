//! Takes orders from intent to certificate, the way the engine does.

use std::{collections::BTreeSet, time::Duration};

use certlife_core::{
    Chain, CsrTemplate, DnsName, Error, ErrorKind, Identifier, KeyAlgorithm, PrivateKey, Retry,
    ca::{Decision, IssuedRef, OrderIntent, OrderRef, OrderRequest, OrderSnapshot, Stage},
    challenge::{Authorization, AuthorizationStatus, ChallengeId},
    x509::{Expectation, check_issued},
};

use crate::ca::{Ability, CaFixture};

/// How often an order is asked after before the suite gives up.
const ROUNDS: usize = 60;

pub(super) fn dns(fx: &impl CaFixture, label: &str) -> Identifier {
    Identifier::Dns(fx.name(label))
}

pub(super) fn name(fx: &impl CaFixture, label: &str) -> DnsName {
    fx.name(label)
}

/// An intent for these names with a new key.
pub(super) fn intent(fx: &impl CaFixture, identifiers: Vec<Identifier>) -> OrderIntent {
    intent_for(fx.request(identifiers), KeyAlgorithm::EcdsaP256)
}

pub(super) fn intent_for(request: OrderRequest, algorithm: KeyAlgorithm) -> OrderIntent {
    let key = PrivateKey::generate(algorithm).unwrap();
    let csr = CsrTemplate::new(request.identifiers.iter().cloned()).sign(&key).unwrap();
    let reference = format!("suite-{}", &csr.public_key_hash().to_string()[..24]);
    OrderIntent { reference, request: OrderRequest { key_algorithm: Some(algorithm), ..request }, csr }
}

/// What a record of an order holds after a restart: nothing but what survived serialization.
pub(super) fn stored(intent: &OrderIntent, snapshot: &OrderSnapshot) -> OrderRef {
    let order = OrderRef { intent: Some(intent.clone()), handle: snapshot.handle.clone() };
    let text = serde_json::to_string(&order).unwrap();
    assert!(snapshot.handle.0.to_string().len() <= 16 * 1_024, "a handle has at most 16 KiB");
    serde_json::from_str(&text).unwrap()
}

/// Places an order and takes it to its certificate.
pub(super) async fn obtain(fx: &impl CaFixture, intent: &OrderIntent) -> OrderSnapshot {
    let placed = fx.ca().place(intent).await.unwrap();
    let issued = finish(fx, intent, placed).await;
    check(fx, intent, &issued).await;
    issued
}

/// A later answer, with the authorizations as they were last told.
pub(super) fn later(earlier: &OrderSnapshot, answer: OrderSnapshot) -> OrderSnapshot {
    let authorizations = answer.authorizations.or_else(|| earlier.authorizations.clone());
    OrderSnapshot { authorizations, ..answer }
}

/// Takes a placed order to its end, with a new provider for each call.
pub(super) async fn finish(
    fx: &impl CaFixture,
    intent: &OrderIntent,
    placed: OrderSnapshot,
) -> OrderSnapshot {
    let mut snapshot = placed;
    let mut told: Vec<Authorization> = Vec::new();
    let mut answered = BTreeSet::new();
    for _ in 0..ROUNDS {
        if let Some(news) = &snapshot.authorizations {
            told.clone_from(news);
        }
        let order = stored(intent, &snapshot);
        let ca = fx.ca();
        snapshot = match snapshot.stage {
            Stage::Issued => return snapshot,
            stage if stage.is_lost() => return snapshot,
            Stage::Validating => {
                let ready = prove(fx, &told).await;
                let news: Vec<_> = ready.iter().filter(|id| !answered.contains(*id)).cloned().collect();
                if news.is_empty() {
                    pause(fx, &snapshot).await;
                    ca.poll(&order).await.unwrap()
                } else {
                    answered.extend(news);
                    ca.respond(&order, &ready).await.unwrap()
                }
            }
            Stage::AwaitingApproval if ca.capabilities().decisions.contains(&Decision::Approve) => {
                ca.decide(&order, Decision::Approve).await.unwrap()
            }
            _ => {
                fx.help(&order.handle).await;
                pause(fx, &snapshot).await;
                ca.poll(&order).await.unwrap()
            }
        };
    }
    panic!("the order is still {:?} after {ROUNDS} rounds: {snapshot:?}", snapshot.stage);
}

async fn pause(fx: &impl CaFixture, snapshot: &OrderSnapshot) {
    fx.wait(snapshot.ask_again.unwrap_or(Duration::from_millis(50))).await;
}

/// Puts the proof of every open authorization in place and returns the challenges that are ready.
pub(super) async fn prove(fx: &impl CaFixture, authorizations: &[Authorization]) -> Vec<ChallengeId> {
    let mut ready = Vec::new();
    for open in authorizations.iter().filter(|one| one.status == AuthorizationStatus::Pending) {
        let mut proven = false;
        for challenge in &open.challenges {
            if fx.prove(&open.identifier, &challenge.response).await {
                ready.push(challenge.id.clone());
                proven = true;
                break;
            }
        }
        assert!(proven, "the fixture can answer none of the challenges for {}", open.identifier);
    }
    ready
}

/// Checks that an issued order carries what was asked for, down to a root.
pub(super) async fn check(fx: &impl CaFixture, intent: &OrderIntent, snapshot: &OrderSnapshot) {
    assert_eq!(snapshot.stage, Stage::Issued, "{:?}", snapshot.message);
    let chain = chain(snapshot);
    let identifiers = intent.request.identifiers.iter().cloned().collect();
    let expectation = Expectation::new(intent.csr.public_key_hash(), identifiers, fx.now())
        .allow_extra(true)
        .trust(fx.roots().await);
    check_issued(&chain, &expectation).unwrap();
}

pub(super) fn chain(snapshot: &OrderSnapshot) -> Chain {
    snapshot.certificate.clone().unwrap_or_else(|| panic!("an issued order carries its certificate"))
}

pub(super) fn issued_ref(snapshot: &OrderSnapshot) -> IssuedRef {
    IssuedRef { handle: Some(snapshot.handle.clone()), chain: chain(snapshot) }
}

/// Asserts that a call was refused as unsupported before anything was sent.
pub(super) fn assert_refused_unsent<T: std::fmt::Debug>(
    fx: &impl CaFixture,
    requests_before: u64,
    outcome: Result<T, Error>,
    what: &str,
) {
    let error = outcome.expect_err(what);
    assert!(matches!(error.kind(), ErrorKind::Unsupported(_)), "{what}: {error}");
    assert_eq!(error.retry(), Retry::Never, "{what}");
    if !lacks(fx, Ability::CountRequests) {
        assert_eq!(fx.requests(), requests_before, "{what}: a request was sent");
    }
}

/// Asserts that the engine may go on after this error: by a repetition, or by looking first.
pub(super) fn assert_passing(error: &Error) {
    let looks_first = matches!(error.kind(), ErrorKind::Uncertain);
    assert!(looks_first || error.retry() != Retry::Never, "{error:?} would stop the order for good");
}

/// Whether the fixture lacks an ability, which it has to say in a sentence.
pub(super) fn lacks(fx: &impl CaFixture, ability: Ability) -> bool {
    let reason = fx.lacks(ability);
    if let Some(reason) = reason {
        assert!(
            reason.split_whitespace().count() >= 3,
            "{ability:?} is lacking without a reason: {reason:?}"
        );
        tracing::info!(?ability, reason, "the fixture lacks an ability");
    }
    reason.is_some()
}
