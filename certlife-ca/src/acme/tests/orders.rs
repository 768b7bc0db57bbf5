//! Orders beyond the contract: profiles, predecessors, chains, revocation, and what CAs say.

use std::time::Duration;

use certlife_core::{
    CertificateAuthority as _, ErrorKind, Retry, RevocationReason,
    ca::{OrderRequest, Purpose, Revocation, Signer, Stage},
    challenge::{AuthorizationStatus, ChallengeResponse},
};
use serde_json::json;

use super::{
    acme, builder,
    fake::{Fake, Mishap, Step},
    identifier, intent, intent_with, issued, obtain, order, prove, request, vault,
};

#[tokio::test]
async fn challenges_come_in_terms_that_all_cas_share() {
    let (fake, vault) = (Fake::start().await, vault());
    let names = ["a.example", "*.a.example", "192.0.2.7"];
    let placed = acme(&fake, &vault).place(&intent(request(&names))).await.unwrap();
    let told = placed.authorizations.unwrap();
    let identifiers: Vec<_> = told.iter().map(|one| one.identifier.to_string()).collect();
    assert_eq!(identifiers, names);
    let kinds = |place: usize| -> Vec<&str> {
        told[place].challenges.iter().map(|challenge| challenge.response.kind().as_str()).collect()
    };
    assert_eq!(
        (kinds(0), kinds(1), kinds(2)),
        (vec!["http", "dns-txt", "tls-alpn"], vec!["dns-txt"], vec!["http", "tls-alpn"])
    );
    for place in [0, 1] {
        let dns = told[place].challenges.iter().find_map(|challenge| match &challenge.response {
            ChallengeResponse::DnsTxt { name, value } => Some((name.as_str(), value.len())),
            _ => None,
        });
        assert_eq!(dns, Some(("_acme-challenge.a.example", 43)));
    }
}

#[tokio::test]
async fn a_profile_is_sent_if_the_ca_has_it() {
    let (fake, vault) = (Fake::start().await, vault());
    let acme = acme(&fake, &vault);
    let with =
        |product: &str| intent(OrderRequest { product: Some(product.into()), ..request(&["a.example"]) });
    acme.place(&with("shortlived")).await.unwrap();
    assert_eq!(fake.world().orders[0].request["profile"], "shortlived");
    let refused = acme.place(&with("gold")).await.unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::Input(_)), "{refused}");
    assert!(refused.to_string().contains("default, shortlived"), "{refused}");
    assert_eq!(fake.requests_for(Step::NewOrder), 1);
    fake.world().profiles.push("gold");
    acme.place(&with("gold")).await.unwrap();
    fake.world().profiles.pop();
    let catalog = acme.catalog().await.unwrap();
    let products: Vec<_> = catalog.products.iter().map(|product| product.id.as_str()).collect();
    assert_eq!(products, ["default", "shortlived"]);
}

#[tokio::test]
async fn a_validity_becomes_not_after() {
    let (fake, vault) = (Fake::start().await, vault());
    let request = OrderRequest { validity: Some(Duration::from_hours(24)), ..request(&["a.example"]) };
    acme(&fake, &vault).place(&intent(request)).await.unwrap();
    let not_after = fake.world().orders[0].request["notAfter"].as_str().unwrap().to_owned();
    let left = certlife_core::Timestamp::parse(&not_after).unwrap().since(super::now());
    assert!(left > Duration::from_hours(23) && left <= Duration::from_hours(24), "{not_after}");
}

#[tokio::test]
async fn a_renewal_names_its_predecessor_only_where_that_means_something() {
    let (fake, vault) = (Fake::start().await, vault());
    let acme = acme(&fake, &vault);
    let first = obtain(&fake, &acme, &intent(request(&["a.example"]))).await;
    let renewal = |of| {
        let purpose = Purpose::Renewal { of: Box::new(of) };
        intent(OrderRequest { purpose, ..request(&["a.example"]) })
    };
    let of_another_account = {
        let mut of = issued(&first);
        of.handle.as_mut().unwrap().0["account"] = json!(format!("{}/account/77", fake.url));
        of
    };
    let unknown_order = certlife_core::ca::IssuedRef { handle: None, ..issued(&first) };
    acme.place(&renewal(of_another_account)).await.unwrap();
    acme.place(&renewal(unknown_order)).await.unwrap();
    acme.place(&renewal(issued(&first))).await.unwrap();
    let named: Vec<_> =
        fake.world().orders.iter().map(|order| order.request["replaces"].is_string()).collect();
    assert_eq!(named, [false, false, false, true]);
    fake.world().offers_renewal_info = false;
    super::acme(&fake, &vault).place(&renewal(issued(&first))).await.unwrap();
    assert!(fake.world().orders[4].request["replaces"].is_null());
}

#[tokio::test]
async fn no_refusal_of_a_predecessor_can_wedge_a_renewal() {
    let (fake, vault) = (Fake::start().await, vault());
    let acme = acme(&fake, &vault);
    let first = obtain(&fake, &acme, &intent(request(&["a.example"]))).await;
    let purpose = Purpose::Renewal { of: Box::new(issued(&first)) };
    let refusals = [
        (409, "alreadyReplaced"),
        (400, "malformed"),
        (403, "unauthorized"),
        (404, "malformed"),
        (500, "serverInternal"),
        (409, "somethingNew"),
    ];
    for refusal in refusals {
        fake.world().refuses_replaces = Some(refusal);
        let before = fake.requests_for(Step::NewOrder);
        let renewal = intent(OrderRequest { purpose: purpose.clone(), ..request(&["a.example"]) });
        obtain(&fake, &acme, &renewal).await;
        assert_eq!(fake.requests_for(Step::NewOrder) - before, 2, "{refusal:?}");
    }
}

#[tokio::test]
async fn the_preferred_chain_is_taken_if_there_is_one() {
    let (fake, vault) = (Fake::start().await, vault());
    let second_root = fake.world().issuer.ways[1].1.clone();
    for (preferred, root, fetched) in [
        ("Fake Root One", "Fake Root One", 1),
        ("Fake Root Two", "Fake Root Two", 2),
        (&fingerprint(&second_root), "Fake Root Two", 2),
        ("Unknown Root", "Fake Root One", 2),
    ] {
        let before = fake.requests_for(Step::Certificate);
        let acme = builder(&fake, &vault).preferred_chain(preferred).build().unwrap();
        let got = obtain(&fake, &acme, &intent(request(&["chain.example"]))).await;
        let chain = got.certificate.unwrap();
        let top = certlife_core::CertificateInfo::read(&chain.intermediates()[0]).unwrap();
        assert!(top.issuer.as_str().contains(root), "{preferred}: {}", top.issuer);
        assert_eq!(fake.requests_for(Step::Certificate) - before, fetched, "{preferred}");
    }
}

fn fingerprint(pem: &str) -> String {
    certlife_core::Chain::from_pem(pem).unwrap().fingerprint().to_string()
}

#[tokio::test]
async fn a_certificate_is_revoked_by_account_or_by_its_own_key() {
    let (fake, ours, theirs) = (Fake::start().await, vault(), vault());
    let (owner, stranger) = (acme(&fake, &ours), acme(&fake, &theirs));
    let revocation = |snapshot| Revocation {
        issued: issued(snapshot),
        reason: RevocationReason::KeyCompromise,
        comment: None,
    };
    let (first, _) = intent_with(request(&["a.example"]));
    let by_account = obtain(&fake, &owner, &first).await;
    owner.revoke(&revocation(&by_account), None).await.unwrap();

    let (second, key) = intent_with(request(&["b.example"]));
    let by_key = obtain(&fake, &owner, &second).await;
    let refused = stranger.revoke(&revocation(&by_key), None).await.unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::Forbidden(_)), "{refused}");
    let key: &dyn Signer = &key;
    stranger.revoke(&revocation(&by_key), Some(key)).await.unwrap();
    stranger.revoke(&revocation(&by_key), Some(key)).await.unwrap();

    // The handle says that it is ours, and the CA finds that it is not.
    let (third, key) = intent_with(request(&["c.example"]));
    let moved = obtain(&fake, &owner, &third).await;
    fake.befall(Step::Revoke, Mishap::problem(403, "unauthorized", None));
    owner.revoke(&revocation(&moved), Some(&key)).await.unwrap();
    for certificate in &fake.world().certificates {
        assert_eq!(certificate.revoked, Some(json!(1)));
    }
}

#[tokio::test]
async fn a_failed_proof_is_reported_for_each_identifier() {
    let (fake, vault) = (Fake::start().await, vault());
    let acme = acme(&fake, &vault);
    fake.world().disproven.insert(identifier("b.example"));
    let intent = intent(request(&["a.example", "b.example"]));
    let placed = acme.place(&intent).await.unwrap();
    prove(&fake, &acme, &intent, &placed).await;
    let over = acme.poll(&order(&intent, &placed)).await.unwrap();
    assert_eq!(over.stage, Stage::Rejected);
    let told = over.authorizations.unwrap();
    assert_eq!((told[0].status, &told[0].problem), (AuthorizationStatus::Valid, &None));
    assert_eq!(told[1].status, AuthorizationStatus::Invalid);
    assert_eq!(told[1].problem.as_ref().unwrap().as_str(), "the proof for b.example is wrong");
}

#[tokio::test]
async fn a_challenge_that_the_ca_refuses_is_not_passed_over() {
    let (fake, vault) = (Fake::start().await, vault());
    let acme = acme(&fake, &vault);
    let intent = intent(request(&["a.example", "b.example"]));
    let placed = acme.place(&intent).await.unwrap();
    let told = placed.authorizations.as_ref().unwrap();
    let ready: Vec<_> = told.iter().map(|one| one.challenges[0].id.clone()).collect();
    fake.befall(Step::Challenge, Mishap::problem(400, "malformed", None));
    let refused = acme.respond(&order(&intent, &placed), &ready).await;
    // The other one fails meanwhile, or does not: either way nobody waits for an answer that was not given.
    match refused {
        Err(error) => assert!(matches!(error.kind(), ErrorKind::Rejected(_)), "{error:?}"),
        Ok(snapshot) => assert_eq!(snapshot.stage, Stage::Rejected),
    }
}

#[tokio::test]
async fn subproblems_and_pages_for_people_are_part_of_the_words() {
    let (fake, vault) = (Fake::start().await, vault());
    let body = json!({
        "type": "urn:ietf:params:acme:error:rejectedIdentifier", "detail": "some names were refused",
        "instance": "https://ca.test/help/1",
        "subproblems": [
            { "type": "urn:ietf:params:acme:error:caa", "detail": "CAA forbids", "identifier": { "type": "dns", "value": "a.example" } },
            { "detail": "blocked", "identifier": { "type": "ip", "value": "192.0.2.1" } },
        ],
    });
    fake.befall(
        Step::NewOrder,
        Mishap::Instead {
            status: 403,
            media_type: "application/problem+json",
            body: body.to_string(),
            retry_after: None,
        },
    );
    let error = acme(&fake, &vault).place(&intent(request(&["a.example"]))).await.unwrap_err();
    let ErrorKind::Rejected(words) = error.kind() else { panic!("{error:?}") };
    assert_eq!(
        words.as_str(),
        "some names were refused; a.example: CAA forbids; 192.0.2.1: blocked; see https://ca.test/help/1"
    );
    assert_eq!(error.retry(), Retry::Never);
}

#[tokio::test]
async fn problems_have_the_kind_that_tells_who_acts() {
    let (fake, vault) = (Fake::start().await, vault());
    let acme = acme(&fake, &vault);
    for (status, name, code, retry) in [
        (429, "rateLimited", "rate_limited", Retry::After(Duration::from_hours(1))),
        (403, "userActionRequired", "not_eligible", Retry::Never),
        (403, "unauthorized", "forbidden", Retry::Never),
        (400, "externalAccountRequired", "bad_setting", Retry::Never),
        (400, "invalidContact", "bad_setting", Retry::Never),
        (400, "caa", "rejected", Retry::Never),
        (400, "unsupportedIdentifier", "rejected", Retry::Never),
        (400, "aNameStillToCome", "rejected", Retry::Never),
        (409, "aNameStillToCome", "conflict", Retry::Never),
        // After a 500 an order may stand.
        (500, "serverInternal", "uncertain", Retry::Never),
    ] {
        let retry_after = (name == "rateLimited").then_some(3_600);
        fake.befall(Step::NewOrder, Mishap::problem(status, name, retry_after));
        let error = acme.place(&intent(request(&["a.example"]))).await.unwrap_err();
        assert_eq!((error.kind().code(), error.retry()), (code, retry), "{name}");
        assert!(error.chain().contains(&format!("words about {name}")), "{}", error.chain());
    }
}

#[tokio::test]
async fn an_order_survives_authorizations_that_cannot_be_read_yet() {
    let (fake, vault) = (Fake::start().await, vault());
    let acme = acme(&fake, &vault);
    fake.befall(Step::Authorization, Mishap::throttle(Some(Duration::from_secs(30))));
    let intent = intent(request(&["a.example", "b.example"]));
    let placed = acme.place(&intent).await.unwrap();
    assert_eq!((placed.stage, placed.authorizations.clone()), (Stage::Validating, None));
    assert_eq!(placed.ask_again, Some(Duration::from_secs(30)));
    let told = acme.poll(&order(&intent, &placed)).await.unwrap();
    assert_eq!(told.authorizations.as_ref().unwrap().len(), 2);
    let later = acme.poll(&order(&intent, &told)).await.unwrap();
    assert_eq!(later.authorizations, None, "they are told once");
    assert_eq!(fake.requests_for(Step::NewOrder), 1);
}

#[tokio::test]
async fn a_lost_answer_to_any_request_does_no_harm() {
    use Step::{
        Authorization, Certificate, Challenge, Directory, Finalize, NewAccount, NewNonce, NewOrder, Order,
    };
    for step in
        [Directory, NewNonce, NewAccount, NewOrder, Authorization, Challenge, Order, Finalize, Certificate]
    {
        let (fake, vault) = (Fake::start().await, vault());
        fake.befall(step, Mishap::LoseAnswer);
        let intent = intent(request(&["a.example"]));
        let mut placed = acme(&fake, &vault).place(&intent).await;
        if let Err(error) = &placed {
            let lost = matches!(error.kind(), ErrorKind::Uncertain) || error.retry() != Retry::Never;
            assert!(lost, "{step:?}: {error:?}");
            placed = acme(&fake, &vault).place(&intent).await;
        }
        let mut seen = placed.unwrap();
        let mut answered = false;
        for _ in 0..12 {
            let acme = acme(&fake, &vault);
            let at = order(&intent, &seen);
            let answer = match &seen.authorizations {
                Some(told) if !answered => {
                    let challenge = &told[0].challenges[1];
                    assert!(fake.world().prove(&told[0].identifier, &challenge.response));
                    let responded = acme.respond(&at, std::slice::from_ref(&challenge.id)).await;
                    answered = responded.is_ok();
                    responded.map(|answer| {
                        let authorizations = answer.authorizations.or(seen.authorizations.clone());
                        certlife_core::ca::OrderSnapshot { authorizations, ..answer }
                    })
                }
                _ => acme.poll(&at).await,
            };
            match answer {
                Ok(answer) => seen = answer,
                Err(error) => assert_ne!(error.retry(), Retry::Never, "{step:?}: {error:?}"),
            }
            if seen.stage == Stage::Issued {
                break;
            }
        }
        assert_eq!(seen.stage, Stage::Issued, "{step:?}");
        assert_eq!(fake.world().certificates.len(), 1, "{step:?}");
        assert_eq!(fake.world().accounts.len(), 1, "{step:?}");
    }
}

#[tokio::test]
async fn an_order_that_processes_for_long_is_asked_after_as_the_ca_says() {
    let (fake, vault) = (Fake::start().await, vault());
    fake.world().polls_to_issue = 3;
    let acme = acme(&fake, &vault);
    let intent = intent(request(&["a.example"]));
    let placed = acme.place(&intent).await.unwrap();
    prove(&fake, &acme, &intent, &placed).await;
    for _ in 0..4 {
        let seen = acme.poll(&order(&intent, &placed)).await.unwrap();
        assert_eq!((seen.stage, seen.ask_again), (Stage::Processing, Some(Duration::from_secs(7))));
    }
    assert_eq!(acme.poll(&order(&intent, &placed)).await.unwrap().stage, Stage::Issued);
    assert_eq!(fake.requests_for(Step::Finalize), 1);
}

#[tokio::test]
async fn renewal_information_is_read_with_its_reason_and_pause() {
    let (fake, vault) = (Fake::start().await, vault());
    let acme = acme(&fake, &vault);
    let first = issued(&obtain(&fake, &acme, &intent(request(&["a.example"]))).await);
    let window = acme.renewal_window(&first).await.unwrap().unwrap();
    assert_eq!(window.explanation.unwrap().as_str(), "https://ca.test/why");
    assert_eq!(window.ask_again, Some(Duration::from_hours(6)));
    let answer = |status, body: &str, retry_after| Mishap::Instead {
        status,
        media_type: "application/json",
        body: body.to_owned(),
        retry_after,
    };
    let backwards = r#"{"suggestedWindow":{"start":"2026-02-02T00:00:00Z","end":"2026-01-01T00:00:00Z"}}"#;
    let past = r#"{"suggestedWindow":{"start":"2025-01-01T00:00:00Z","end":"2025-02-01T00:00:00Z"}}"#;
    for (mishap, expected) in [
        (answer(404, "{}", None), None),
        (answer(400, "{}", None), None),
        (answer(200, backwards, None), None),
        (answer(200, past, Some(0)), Some(Some(Duration::from_mins(1)))),
        (answer(200, past, Some(9_999_999)), Some(Some(Duration::from_hours(24)))),
        (answer(200, past, None), Some(None)),
    ] {
        fake.befall(Step::RenewalInfo, mishap);
        let told = acme.renewal_window(&first).await.unwrap();
        assert_eq!(told.map(|window| window.ask_again), expected);
    }
    fake.world().offers_renewal_info = false;
    assert_eq!(super::acme(&fake, &vault).renewal_window(&first).await.unwrap(), None);
}
