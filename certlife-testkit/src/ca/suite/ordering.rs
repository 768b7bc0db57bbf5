//! Orders that go well.

use std::collections::BTreeSet;

use certlife_core::{
    Error, ErrorKind, Identifier, KeyAlgorithm, RevocationReason,
    ca::{Decision, OrderRequest, Purpose, PurposeKind, Revocation, Stage},
};
use futures_util::{FutureExt as _, future::join_all};

use super::drive::{
    assert_refused_unsent, chain, check, dns, finish, intent, intent_for, issued_ref, later, name, obtain,
    prove, stored,
};
use crate::ca::CaFixture;

/// Contract: *whole*, *honest*.
pub async fn an_order_is_issued_for_its_key_and_names(fx: &impl CaFixture) {
    let intent = intent(fx, vec![dns(fx, "one")]);
    fx.ca().check(&intent.request, None).unwrap();
    obtain(fx, &intent).await;
    let booked = fx.booked(&intent).await;
    assert_eq!((booked.orders, booked.certificates), (1, 1));
}

/// Contract: *whole*, for more names than one.
pub async fn several_names_share_a_certificate(fx: &impl CaFixture) {
    let intent = intent(fx, ["first", "second", "third"].map(|label| dns(fx, label)).to_vec());
    if fx.ca().capabilities().max_identifiers < 3 {
        let before = fx.requests();
        assert_refused_unsent(fx, before, fx.ca().place(&intent).await, "three names");
        return;
    }
    obtain(fx, &intent).await;
}

/// Contract: *declared*, for wildcards.
pub async fn wildcards_are_issued_or_refused_unsent(fx: &impl CaFixture) {
    let wildcard = Identifier::Wildcard(name(fx, "wild"));
    let capabilities = fx.ca().capabilities();
    let names =
        if capabilities.max_identifiers > 1 { vec![wildcard, dns(fx, "wild")] } else { vec![wildcard] };
    issued_or_refused(fx, capabilities.wildcards, names, "a wildcard").await;
}

/// Contract: *declared*, for addresses.
pub async fn addresses_are_issued_or_refused_unsent(fx: &impl CaFixture) {
    let address = Identifier::from(fx.address());
    issued_or_refused(fx, fx.ca().capabilities().addresses, vec![address], "an address").await;
}

async fn issued_or_refused(fx: &impl CaFixture, capable: bool, names: Vec<Identifier>, what: &str) {
    let intent = intent(fx, names);
    if capable {
        fx.ca().check(&intent.request, None).unwrap();
        obtain(fx, &intent).await;
        return;
    }
    fx.ca().check(&intent.request, None).expect_err(what);
    let before = fx.requests();
    assert_refused_unsent(fx, before, fx.ca().place(&intent).await, what);
    assert_eq!(fx.booked(&intent).await.orders, 0);
}

/// Contract: *declared*, for keys. Of RSA the smallest stands for all.
pub async fn every_key_is_certified_or_refused_unsent(fx: &impl CaFixture) {
    let larger_rsa = |algorithm: &KeyAlgorithm| algorithm.is_rsa() && *algorithm != KeyAlgorithm::Rsa2048;
    for algorithm in KeyAlgorithm::ALL.iter().copied().filter(|algorithm| !larger_rsa(algorithm)) {
        let intent = intent_for(fx.request(vec![dns(fx, algorithm.as_str())]), algorithm);
        if fx.ca().capabilities().key_algorithms.contains(&algorithm) {
            obtain(fx, &intent).await;
        } else {
            let before = fx.requests();
            assert_refused_unsent(fx, before, fx.ca().place(&intent).await, algorithm.as_str());
        }
    }
}

/// Contract: *durable*. What is stored as text suffices for another process at every step.
pub async fn a_stored_handle_suffices_for_a_new_provider(fx: &impl CaFixture) {
    let intent = intent(fx, vec![dns(fx, "durable")]);
    let placed = fx.ca().place(&intent).await.unwrap();
    let order = stored(&intent, &placed);
    let seen = fx.ca().poll(&order).await.unwrap();
    assert!(!seen.stage.is_lost(), "{:?}", seen.message);
    let issued = finish(fx, &intent, later(&placed, seen)).await;
    let again = fx.ca().poll(&stored(&intent, &issued)).await.unwrap();
    check(fx, &intent, &again).await;
    assert_eq!(chain(&again), chain(&issued));
}

/// Contract: *polled harmlessly*.
pub async fn responding_and_polling_may_be_repeated_in_every_stage(fx: &impl CaFixture) {
    let intent = intent(fx, vec![dns(fx, "again")]);
    let ca = fx.ca();
    let placed = ca.place(&intent).await.unwrap();
    let order = stored(&intent, &placed);
    let authorizations = placed.authorizations.clone().unwrap_or_default();
    let mut last = ca.respond(&order, &[]).await.unwrap();
    let ready = prove(fx, &authorizations).await;
    for _ in 0..2 {
        last = ca.respond(&order, &ready).await.unwrap();
        last = ca.poll(&stored(&intent, &last)).await.unwrap();
    }
    assert!(!last.stage.is_lost(), "{:?}: {:?}", last.stage, last.message);
    let issued = finish(fx, &intent, later(&placed, last)).await;
    let order = stored(&intent, &issued);
    for snapshot in [ca.respond(&order, &ready).await.unwrap(), ca.poll(&order).await.unwrap()] {
        check(fx, &intent, &snapshot).await;
        assert_eq!(chain(&snapshot), chain(&issued));
    }
    let booked = fx.booked(&intent).await;
    assert_eq!((booked.orders, booked.certificates), (1, 1));
}

/// Contract: *abandonable*. Calls that are dropped at their first pause can be made again.
pub async fn abandoned_calls_do_no_harm(fx: &impl CaFixture) {
    let intent = intent(fx, vec![dns(fx, "dropped")]);
    let ca = fx.ca();
    let placed = ca.place(&intent).await.unwrap();
    let order = stored(&intent, &placed);
    let ready = prove(fx, &placed.authorizations.clone().unwrap_or_default()).await;
    drop(ca.respond(&order, &ready).now_or_never());
    drop(ca.poll(&order).now_or_never());
    let seen = ca.poll(&order).await.unwrap();
    let issued = finish(fx, &intent, later(&placed, seen)).await;
    check(fx, &intent, &issued).await;
    assert_eq!(fx.booked(&intent).await.certificates, 1);
}

/// Providers are shared: orders go on side by side.
pub async fn orders_overlap(fx: &impl CaFixture) {
    let labels = ["side-a", "side-b", "side-c", "side-d"];
    let intents: Vec<_> = labels.iter().map(|label| intent(fx, vec![dns(fx, label)])).collect();
    let issued = join_all(intents.iter().map(|intent| obtain(fx, intent))).await;
    let distinct: BTreeSet<_> = issued.iter().map(|snapshot| chain(snapshot).fingerprint()).collect();
    assert_eq!(distinct.len(), labels.len());
}

/// Contract: *declared*, for purposes. Both name the certificate that they follow.
pub async fn renewals_and_reissues_are_issued_or_refused_unsent(fx: &impl CaFixture) {
    let first = intent(fx, vec![dns(fx, "follow")]);
    let issued = obtain(fx, &first).await;
    let of = Box::new(issued_ref(&issued));
    let purposes = [
        Purpose::Renewal { of: of.clone() },
        Purpose::Reissue { of, reason: Some("the key was replaced".into()) },
    ];
    for purpose in purposes {
        let kind = purpose.kind();
        let request = OrderRequest { purpose, ..fx.request(first.request.identifiers.clone()) };
        let next = intent_for(request, KeyAlgorithm::EcdsaP256);
        if fx.ca().capabilities().purposes.contains(&kind) {
            let followed = obtain(fx, &next).await;
            assert_ne!(chain(&followed), chain(&issued));
            assert_eq!(fx.booked(&next).await.orders, 1);
        } else {
            let before = fx.requests();
            assert_refused_unsent(fx, before, fx.ca().place(&next).await, &format!("{kind:?}"));
        }
    }
    assert!(fx.ca().capabilities().purposes.contains(&PurposeKind::New));
}

/// Contract of `revoke`: one that is revoked already is success.
pub async fn revoking_twice_is_success(fx: &impl CaFixture) {
    let intent = intent(fx, vec![dns(fx, "revoked")]);
    let issued = obtain(fx, &intent).await;
    let revocation = Revocation {
        issued: issued_ref(&issued),
        reason: RevocationReason::Superseded,
        comment: Some("replaced by the suite".into()),
    };
    if !fx.ca().capabilities().revocation {
        let before = fx.requests();
        assert_refused_unsent(fx, before, fx.ca().revoke(&revocation, None).await, "revocation");
        return;
    }
    fx.ca().revoke(&revocation, None).await.unwrap();
    fx.ca().revoke(&revocation, None).await.unwrap();
    let seen = fx.ca().poll(&stored(&intent, &issued)).await.unwrap();
    assert!(matches!(seen.stage, Stage::Issued | Stage::Revoked), "{:?}", seen.stage);
}

/// Contract: *declared*, for decisions.
pub async fn decisions_are_carried_out_or_refused_unsent(fx: &impl CaFixture) {
    use Decision::{Approve, Cancel, Deactivate, Decline, Reactivate, Resume, Suspend};
    let decisions = [Approve, Decline, Suspend, Resume, Cancel, Deactivate, Reactivate];
    for (number, decision) in decisions.into_iter().enumerate() {
        let intent = intent(fx, vec![dns(fx, &format!("decide-{number}"))]);
        let placed = fx.ca().place(&intent).await.unwrap();
        let order = stored(&intent, &placed);
        if !fx.ca().capabilities().decisions.contains(&decision) {
            let before = fx.requests();
            let refused = fx.ca().decide(&order, decision).await;
            assert_refused_unsent(fx, before, refused, &format!("{decision:?}"));
            continue;
        }
        let fits = match decision {
            Approve | Decline => placed.stage == Stage::AwaitingApproval,
            Resume => placed.stage == Stage::Suspended,
            Deactivate | Reactivate => false,
            _ => !placed.stage.is_lost() && placed.stage != Stage::Issued,
        };
        let outcome = fx.ca().decide(&order, decision).await;
        // Some authorities put certificates on hold, not orders: the next case shows it.
        let too_early = |error: &Error| matches!(error.kind(), ErrorKind::NotNow(_));
        if !fits || (decision == Suspend && outcome.as_ref().is_err_and(too_early)) {
            assert!(outcome.is_ok() || outcome.is_err_and(|error| !error.to_string().is_empty()));
            continue;
        }
        let seen = outcome.unwrap().stage;
        let expected = match decision {
            Approve => !seen.is_lost() && seen != Stage::AwaitingApproval,
            Decline => matches!(seen, Stage::Rejected | Stage::Cancelled),
            Suspend => seen == Stage::Suspended,
            Cancel => seen == Stage::Cancelled,
            _ => !seen.is_lost(),
        };
        assert!(expected, "{decision:?} left the order {seen:?}");
        let later = fx.ca().poll(&order).await.unwrap().stage;
        assert_eq!(later.is_lost(), seen.is_lost(), "{decision:?} did not last: {later:?}");
    }
}

/// Contract: *declared*, for decisions that come in pairs: the second undoes the first, and the certificate stays.
pub async fn what_is_put_aside_comes_back(fx: &impl CaFixture) {
    use Decision::{Deactivate, Reactivate, Resume, Suspend};
    for (label, aside, back) in [("suspend", Suspend, Resume), ("deactivate", Deactivate, Reactivate)] {
        let intent = intent(fx, vec![dns(fx, label)]);
        let issued = obtain(fx, &intent).await;
        let order = stored(&intent, &issued);
        let decisions = fx.ca().capabilities().decisions;
        if !decisions.contains(&aside) || !decisions.contains(&back) {
            continue;
        }
        match fx.ca().decide(&order, aside).await {
            Ok(put) => assert!(!put.stage.is_lost(), "{aside:?} left the order {:?}", put.stage),
            // Some authorities put orders on hold, not certificates.
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::NotNow(_)), "{error:?}");
                continue;
            }
        }
        let again = fx.ca().decide(&order, aside).await.unwrap();
        assert!(!again.stage.is_lost(), "{aside:?}, said twice, left the order {:?}", again.stage);
        let seen = fx.ca().decide(&order, back).await.unwrap();
        assert_eq!((seen.stage, chain(&seen)), (Stage::Issued, chain(&issued)), "{back:?}");
    }
}
