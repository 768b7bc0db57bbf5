//! Answers that are lost, late, wrong or no.

use std::time::Duration;

use certlife_core::{
    Error, ErrorKind, Operation, Retry, RevocationReason,
    ca::{Found, OrderSnapshot, Placement, Revocation, Stage},
    challenge::AuthorizationStatus,
};

use super::drive::{
    assert_passing, check, dns, finish, intent, issued_ref, lacks, later, obtain, prove, stored,
};
use crate::ca::{Ability, CaFixture, Fault};

/// Contract: *findable*. At most one paid order an intent, even if the answer to placing it is lost.
pub async fn a_lost_place_answer_is_found_again(fx: &impl CaFixture) {
    let intent = intent(fx, vec![dns(fx, "lost")]);
    let placement = fx.ca().capabilities().placement;
    if lacks(fx, Ability::LoseAnswers) {
        // Without a wire an answer is lost only with its process: the order must be found all the same.
        let placed = fx.ca().place(&intent).await.unwrap();
        let found = fx.ca().find(&intent).await.unwrap();
        assert!(matches!(found, Found::Order(order) if order.handle == placed.handle));
        return;
    }
    fx.inject(Operation::PlaceOrder, Fault::LoseAnswer);
    match (fx.ca().place(&intent).await, placement) {
        (Err(error), Placement::Paid) => assert_eq!(error.kind(), &ErrorKind::Uncertain, "{error:?}"),
        (Err(error), Placement::Free) => assert_passing(&error),
        // A free order may be placed again within the call.
        (Ok(_), Placement::Free) => {}
        (Ok(_), Placement::Paid) => panic!("a paid order must not be repeated blindly"),
    }
    assert!(fx.booked(&intent).await.orders >= 1, "the fixture lost the request, not the answer");
    match (fx.ca().find(&intent).await.unwrap(), placement) {
        (Found::Order(found), _) => {
            let issued = finish(fx, &intent, *found).await;
            check(fx, &intent, &issued).await;
        }
        (Found::Nothing, Placement::Free) => _ = obtain(fx, &intent).await,
        (Found::Nothing, Placement::Paid) => panic!("a paid order was overlooked"),
        // Then a person looks.
        (Found::CannotTell, Placement::Paid) => {}
        (Found::CannotTell, Placement::Free) => panic!("a free order can be placed again: that is `Nothing`"),
    }
    if placement == Placement::Paid {
        assert_eq!(fx.booked(&intent).await.paid, 1);
    }
}

/// Contract: *findable*. `find` guesses nothing and places nothing.
pub async fn an_order_that_was_never_placed_is_not_found(fx: &impl CaFixture) {
    // Another order of the same name must not be taken for it.
    let other = intent(fx, vec![dns(fx, "absent")]);
    fx.ca().place(&other).await.unwrap();
    let never = intent(fx, vec![dns(fx, "absent")]);
    match (fx.ca().find(&never).await.unwrap(), fx.ca().capabilities().placement) {
        (Found::Nothing, _) | (Found::CannotTell, Placement::Paid) => {}
        (found, _) => panic!("{found:?} for an order that was never placed"),
    }
    assert_eq!(fx.booked(&never).await.orders, 0);
}

/// Contract: *polled harmlessly*, *abandonable*. Whatever answer is lost on the way, one certificate comes.
pub async fn lost_answers_to_repeatable_calls_do_no_harm(fx: &impl CaFixture) {
    let lose = |operation| {
        if !lacks(fx, Ability::LoseAnswers) {
            fx.inject(operation, Fault::LoseAnswer);
        }
    };
    let intent = intent(fx, vec![dns(fx, "lossy")]);
    let placed = fx.ca().place(&intent).await.unwrap();
    let order = stored(&intent, &placed);
    if let Some(authorizations) = placed.authorizations.as_ref().filter(|_| placed.stage == Stage::Validating)
    {
        let ready = prove(fx, authorizations).await;
        lose(Operation::Respond);
        passes(fx.ca().respond(&order, &ready).await);
        passes(fx.ca().respond(&order, &ready).await);
    }
    lose(Operation::PollOrder);
    passes(fx.ca().poll(&order).await);
    let seen = fx.ca().poll(&order).await.unwrap();
    let issued = finish(fx, &intent, later(&placed, seen)).await;
    check(fx, &intent, &issued).await;
    assert_eq!(fx.booked(&intent).await.certificates, 1);

    let reason = RevocationReason::Superseded;
    let revocation = Revocation { issued: issued_ref(&issued), reason, comment: None };
    if fx.ca().capabilities().revocation {
        lose(Operation::Revoke);
        if let Err(error) = fx.ca().revoke(&revocation, None).await {
            assert_passing(&error);
        }
        fx.ca().revoke(&revocation, None).await.unwrap();
    }
}

fn passes(outcome: Result<OrderSnapshot, Error>) {
    if let Err(error) = outcome {
        assert_passing(&error);
    }
}

/// Contract: *honest*. A proof that fails ends the order, and the authority's words say why.
pub async fn a_failed_proof_rejects_the_order_in_words(fx: &impl CaFixture) {
    if lacks(fx, Ability::RefuseProofs) {
        let offered = fx.ca().capabilities().challenges;
        assert!(offered.is_empty(), "proofs by {offered:?} must be able to fail");
        return;
    }
    let name = dns(fx, "refused");
    fx.disprove(&name).await;
    let intent = intent(fx, vec![name]);
    let placed = fx.ca().place(&intent).await.unwrap();
    let over = finish(fx, &intent, placed).await;
    assert_eq!(over.stage, Stage::Rejected);
    let invalid = |status| status == AuthorizationStatus::Invalid;
    let mut authorizations = over.authorizations.iter().flatten().filter(|one| invalid(one.status));
    let words = over.message.clone().or_else(|| authorizations.find_map(|one| one.problem.clone()));
    assert!(words.is_some_and(|words| !words.is_empty()), "the rejection gives no reason: {over:?}");
    assert_eq!(over.certificate, None);
    assert_eq!(fx.booked(&intent).await.certificates, 0);
}

/// `Retry-After` reaches the caller; without it the shared back-off decides.
pub async fn a_throttled_call_says_when_to_call_again(fx: &impl CaFixture) {
    let intent = intent(fx, vec![dns(fx, "throttled")]);
    let placed = fx.ca().place(&intent).await.unwrap();
    let order = stored(&intent, &placed);
    if lacks(fx, Ability::Throttle) {
        fx.ca().poll(&order).await.unwrap();
        return;
    }
    let hour = Duration::from_hours(1);
    fx.inject(Operation::PollOrder, Fault::Throttle(Some(hour)));
    let error = fx.ca().poll(&order).await.expect_err("nobody waits an hour within a call");
    assert_eq!(error.kind(), &ErrorKind::RateLimited);
    let Retry::After(pause) = error.retry() else { panic!("the pause is missing: {error:?}") };
    assert!(pause.abs_diff(hour) < Duration::from_mins(1), "{pause:?}");

    fx.inject(Operation::PollOrder, Fault::Throttle(None));
    if let Err(error) = fx.ca().poll(&order).await {
        assert_eq!((error.kind(), error.retry()), (&ErrorKind::RateLimited, Retry::Backoff));
    }
    let seen = fx.ca().poll(&order).await.unwrap();
    finish(fx, &intent, later(&placed, seen)).await;
}

/// A 5xx stops nothing for good, and doubles nothing.
pub async fn a_fault_of_the_authority_may_pass(fx: &impl CaFixture) {
    let intent = intent(fx, vec![dns(fx, "faulty")]);
    let fail = |operation| {
        if !lacks(fx, Ability::Fail) {
            fx.inject(operation, Fault::Fail);
        }
    };
    fail(Operation::PlaceOrder);
    let placed = match fx.ca().place(&intent).await {
        Ok(placed) => Some(placed),
        Err(error) => {
            assert_passing(&error);
            match fx.ca().find(&intent).await.unwrap() {
                Found::Order(found) => Some(*found),
                Found::Nothing => Some(fx.ca().place(&intent).await.unwrap()),
                Found::CannotTell => None,
            }
        }
    };
    let Some(placed) = placed else {
        assert!(fx.booked(&intent).await.paid <= 1);
        return;
    };
    fail(Operation::PollOrder);
    let order = stored(&intent, &placed);
    passes(fx.ca().poll(&order).await);
    let seen = fx.ca().poll(&order).await.unwrap();
    let issued = finish(fx, &intent, later(&placed, seen)).await;
    check(fx, &intent, &issued).await;
    if fx.ca().capabilities().placement == Placement::Paid {
        assert_eq!(fx.booked(&intent).await.paid, 1);
    }
}

/// An answer that breaks the protocol is an error, and says nothing about the order.
pub async fn nonsense_is_no_answer(fx: &impl CaFixture) {
    let intent = intent(fx, vec![dns(fx, "garbled")]);
    let placed = fx.ca().place(&intent).await.unwrap();
    let order = stored(&intent, &placed);
    if lacks(fx, Ability::Garble) {
        fx.ca().poll(&order).await.unwrap();
        return;
    }
    fx.inject(Operation::PollOrder, Fault::Garble);
    let error = fx.ca().poll(&order).await.expect_err("nonsense was taken for an answer");
    assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{error:?}");
    assert_passing(&error);
    let seen = fx.ca().poll(&order).await.unwrap();
    let issued = finish(fx, &intent, later(&placed, seen)).await;
    check(fx, &intent, &issued).await;
}

/// Slowness alone is no failure.
pub async fn a_slow_answer_is_an_answer(fx: &impl CaFixture) {
    let intent = intent(fx, vec![dns(fx, "slow")]);
    if !lacks(fx, Ability::Slow) {
        fx.inject(Operation::PlaceOrder, Fault::Slow(Duration::from_millis(300)));
    }
    let placed = fx.ca().place(&intent).await.unwrap();
    let issued = finish(fx, &intent, placed).await;
    check(fx, &intent, &issued).await;
    assert_eq!(fx.booked(&intent).await.orders, 1);
}
