//! What is refused: by the authority's limits, by the rules, or because it does not exist.

use certlife_core::{
    ErrorKind, Operation, Retry,
    ca::{Decision, ImportFilter, OrderRef},
};

use super::drive::{assert_refused_unsent, dns, intent, lacks};
use crate::ca::{Ability, CaFixture, Fault};

/// Contract: *declared*, for the number of names.
pub async fn too_many_names_are_refused_unsent(fx: &impl CaFixture) {
    let limit = fx.ca().capabilities().max_identifiers;
    assert!((1..=10_000).contains(&limit), "a limit of {limit} names is not believable");
    let names = (0..=limit).map(|number| dns(fx, &format!("n{number}"))).collect();
    let intent = intent(fx, names);
    let message = fx.ca().check(&intent.request, None).expect_err("too many names").to_string();
    assert!(message.contains(&limit.to_string()), "{message}");
    let before = fx.requests();
    assert_refused_unsent(fx, before, fx.ca().place(&intent).await, "too many names");
}

/// Contract: *declared*, for whole calls.
pub async fn what_is_missing_is_refused_unsent(fx: &impl CaFixture) {
    let capabilities = fx.ca().capabilities();
    let before = fx.requests();
    if capabilities.catalog {
        fx.ca().catalog().await.unwrap();
    } else {
        assert_refused_unsent(fx, before, fx.ca().catalog().await, "the catalog");
    }
    let before = fx.requests();
    if capabilities.import {
        fx.ca().orders(&ImportFilter::default(), None).await.unwrap();
    } else {
        let listed = fx.ca().orders(&ImportFilter::default(), None).await;
        assert_refused_unsent(fx, before, listed, "the listing");
    }
}

/// `check` names field, value and rule, and sends nothing.
pub async fn bad_requests_are_named(fx: &impl CaFixture) {
    let bad = fx.bad_requests();
    assert!(!bad.is_empty(), "every authority has a request that it refuses, such as an unknown option");
    let has_catalog = fx.ca().capabilities().catalog;
    let catalog = if has_catalog { Some(fx.ca().catalog().await.unwrap()) } else { None };
    let before = fx.requests();
    for (request, word) in bad {
        let error = fx.ca().check(&request, catalog.as_ref()).expect_err(word);
        assert!(error.to_string().contains(word), "{error} does not mention {word}");
    }
    assert_eq!(fx.requests(), before);
}

/// An order that does not exist is `NotFound`, and no handle makes a provider panic.
pub async fn an_unknown_order_is_not_found(fx: &impl CaFixture) {
    let intent = intent(fx, vec![dns(fx, "unknown")]);
    let unknown = OrderRef { intent: Some(intent.clone()), handle: fx.unknown_handle() };
    let decision = fx.ca().capabilities().decisions.first().copied().unwrap_or(Decision::Cancel);
    let decides = fx.ca().capabilities().decisions.contains(&decision);
    let mut outcomes = vec![fx.ca().poll(&unknown).await, fx.ca().respond(&unknown, &[]).await];
    if decides {
        outcomes.push(fx.ca().decide(&unknown, decision).await);
    }
    for outcome in outcomes {
        let error = outcome.expect_err("an order that does not exist");
        assert!(matches!(error.kind(), ErrorKind::NotFound(_)), "{error:?}");
    }
    for junk in [serde_json::Value::Null, serde_json::json!([1]), serde_json::json!({ "x": { "y": "z" } })] {
        let order = OrderRef { intent: Some(intent.clone()), handle: certlife_core::ca::OrderHandle(junk) };
        let error = fx.ca().poll(&order).await.expect_err("a handle of another provider");
        assert_eq!(error.retry(), Retry::Never, "{error:?}");
    }
}

/// Neither `Debug` nor an error shows a credential.
pub async fn nothing_secret_is_printed(fx: &impl CaFixture) {
    let secrets = fx.secrets();
    assert!(!secrets.is_empty(), "every authority has a secret: a key if nothing else");
    let intent = intent(fx, vec![dns(fx, "secret")]);
    let ca = fx.ca();
    let unknown = OrderRef { intent: Some(intent.clone()), handle: fx.unknown_handle() };
    let mut printed = format!("{ca:?} {ca:#?} {:?}", ca.capabilities());
    let mut note = |error: certlife_core::Error| {
        for text in [format!("{error:?} {error:#?}"), error.chain()] {
            printed.push_str(&text);
        }
    };
    ca.poll(&unknown).await.err().map(&mut note);
    for (ability, fault) in [
        (Ability::Fail, Fault::Fail),
        (Ability::Throttle, Fault::Throttle(None)),
        (Ability::Garble, Fault::Garble),
        (Ability::LoseAnswers, Fault::LoseAnswer),
    ] {
        if !lacks(fx, ability) {
            fx.inject(Operation::PollOrder, fault);
            ca.poll(&unknown).await.err().map(&mut note);
        }
    }
    for secret in secrets {
        assert!(secret.len() >= 6, "{secret:?} is too short to look for");
        assert!(!printed.contains(&secret), "a secret is printed");
    }
}
