//! What is sent for an order, what its states mean, and how often the CA is asked.

use certlife_core::{
    ErrorKind, Retry, RevocationReason,
    ca::{Contact, ContactRole, Revocation},
    challenge::{AuthorizationStatus, Proof},
};

use super::*;
use crate::sectigo::fake::{DEPARTMENT, FIELD, RSA_PROFILE};

#[tokio::test]
async fn an_order_costs_four_requests() {
    let fx = Fixture::start().await;
    let intent = fx.intent(&["www.suite.example", "api.suite.example"]);
    let placed = fx.sectigo().place(&intent).await.unwrap();
    let id = ssl_id(&placed);
    assert_eq!(fx.requests(), ["POST /api/ssl/v1/enroll".to_owned(), format!("GET /api/ssl/v1/{id}")]);
    assert_eq!(
        (placed.stage, placed.number.as_ref().unwrap().as_str()),
        (Stage::Processing, &*id.to_string())
    );
    fx.finish(&intent, placed).await;
    assert_eq!(fx.requests(), [format!("GET /api/ssl/v1/{id}"), format!("GET /api/ssl/v1/collect/{id}")]);
}

#[tokio::test]
async fn everything_that_was_asked_for_arrives() {
    let fx = Fixture::start().await;
    let options = OrderOptions::default()
        .comments("For the relaunch")
        .external_requester("ops@acme.test")
        .external_requester("web@acme.test")
        .custom_field(FIELD, "4410");
    let requester = Contact {
        role: ContactRole::Requester,
        email: "dev@acme.test".into(),
        first_name: String::new(),
        last_name: String::new(),
        title: String::new(),
        phone: String::new(),
    };
    let technical =
        Contact { role: ContactRole::Technical, email: "nobody@acme.test".into(), ..requester.clone() };
    let request = OrderRequest {
        organization: Some(DEPARTMENT.to_string()),
        contacts: vec![requester, technical],
        options: options.into(),
        ..fx.request(identifiers(&["www.suite.example", "*.suite.example"]))
    };
    let intent = intent(request);
    let id = ssl_id(&fx.sectigo().place(&intent).await.unwrap());
    let record = fx.fake.world().records[&id].clone();
    assert_eq!((record.org_id, record.profile, record.term), (DEPARTMENT, PROFILE, 90));
    assert_eq!(record.names, intent.request.identifiers);
    assert_eq!(record.comments.unwrap(), format!("For the relaunch [{}]", intent.reference));
    assert_eq!(record.external_requester.unwrap(), "ops@acme.test, web@acme.test, dev@acme.test");
    assert_eq!((&*record.custom_fields[0].name, &*record.custom_fields[0].value), (FIELD, "4410"));
    assert_eq!(record.dcv_mode, None);
}

#[tokio::test]
async fn without_a_validity_the_first_term_of_the_profile_is_ordered() {
    let fx = Fixture::start().await;
    let request = OrderRequest { validity: None, ..fx.request(identifiers(&["www.suite.example"])) };
    let id = ssl_id(&fx.sectigo().place(&intent(request)).await.unwrap());
    assert_eq!(fx.fake.world().records[&id].term, 199);
    assert_eq!(fx.requests()[..2], ["GET /api/ssl/v1/types", "POST /api/ssl/v1/enroll"]);

    let request = OrderRequest {
        validity: None,
        product: Some("4711".into()),
        ..fx.request(identifiers(&["a.suite.example"]))
    };
    let error = fx.sectigo().place(&intent(request)).await.unwrap_err();
    assert!(error.to_string().contains("4711"), "{error}");
    assert_eq!(fx.paid(), 1);
}

#[tokio::test]
async fn the_reference_can_travel_in_a_custom_field() {
    let fx = Fixture::start().await;
    let ca = fx.builder().reference_field("Reference").build().unwrap();
    let comments = "x".repeat(1_024);
    let options = OrderOptions::default().comments(&comments).custom_field(FIELD, "1");
    let request = OrderRequest { options: options.into(), ..fx.request(identifiers(&["www.suite.example"])) };
    fx.sectigo().check(&request, None).expect_err("in the comments there is no room for the reference");
    let intent = intent(request);
    fx.fake.befall(Step::Place, Mishap::lose());
    assert_eq!(ca.place(&intent).await.unwrap_err().kind(), &ErrorKind::Uncertain);
    let certlife_core::ca::Found::Order(found) = ca.find(&intent).await.unwrap() else {
        panic!("it is there")
    };
    assert_eq!(fx.fake.world().records[&ssl_id(&found)].comments.as_ref(), Some(&comments));
    let issued = fx.finish(&intent, *found).await;

    // A reissue keeps the fields that it does not fill in.
    let purpose = Purpose::Reissue { of: Box::new(of(&issued)), reason: None };
    let reissue =
        super::intent(OrderRequest { purpose, options: serde_json::Value::Null, ..intent.request.clone() });
    ca.place(&reissue).await.unwrap();
    let fields = fx.fake.world().records[&ssl_id(&issued)].custom_fields.clone();
    let fields: Vec<_> = fields.iter().map(|field| (&*field.name, &*field.value)).collect();
    assert_eq!(fields, [("Reference", &*reissue.reference), (FIELD, "1")]);
}

#[tokio::test]
async fn a_renewal_is_a_new_record_with_our_reference() {
    let fx = Fixture::start().await;
    let first = fx.intent(&["www.suite.example"]);
    let issued = fx.obtain(&first).await;
    fx.requests();
    let request =
        OrderRequest { purpose: Purpose::Renewal { of: Box::new(of(&issued)) }, ..first.request.clone() };
    let renewal = intent(OrderRequest { product: None, organization: None, ..request });
    let placed = fx.sectigo().place(&renewal).await.unwrap();
    let (old, new) = (ssl_id(&issued), ssl_id(&placed));
    assert_ne!(old, new);
    assert_eq!(
        fx.requests(),
        [
            format!("POST /api/ssl/v1/renewById/{old}"),
            "PUT /api/ssl/v1".to_owned(),
            format!("GET /api/ssl/v1/{new}")
        ]
    );
    {
        let world = fx.fake.world();
        assert!(
            world.records[&new].comments.as_ref().unwrap().ends_with(&format!("[{}]", renewal.reference))
        );
        assert!(world.records[&old].renewed);
    }
    let renewed = fx.finish(&renewal, placed).await;
    let info = renewed.certificate.unwrap().info().unwrap();
    assert_eq!(info.key_hash, renewal.csr.public_key_hash());
    assert_eq!(fx.paid(), 2);
}

#[tokio::test]
async fn a_renewal_of_a_foreign_certificate_is_a_new_order_and_other_names_are_refused() {
    let fx = Fixture::start().await;
    let first = fx.intent(&["www.suite.example"]);
    let issued = fx.obtain(&first).await;
    let foreign = Box::new(IssuedRef { handle: None, ..of(&issued) });
    let request = OrderRequest { purpose: Purpose::Renewal { of: foreign.clone() }, ..first.request.clone() };
    fx.requests();
    fx.obtain(&intent(request)).await;
    assert_eq!(fx.requests()[0], "POST /api/ssl/v1/enroll");

    let others = identifiers(&["www.suite.example", "more.suite.example"]);
    let request =
        OrderRequest { purpose: Purpose::Renewal { of: Box::new(of(&issued)) }, ..fx.request(others) };
    let message = fx.sectigo().check(&request, None).unwrap_err().to_string();
    assert!(message.contains("more.suite.example"), "{message}");
    let purpose = Purpose::Reissue { of: foreign, reason: None };
    let message = fx.sectigo().check(&OrderRequest { purpose, ..request }, None).unwrap_err().to_string();
    assert!(message.contains("reissue"), "{message}");
    assert_eq!(fx.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_reissue_keeps_the_record_and_waits_for_another_serial_number() {
    let fx = Fixture::start().await;
    let first = fx.intent(&["www.suite.example"]);
    let issued = fx.obtain(&first).await;
    fx.requests();
    let purpose = Purpose::Reissue { of: Box::new(of(&issued)), reason: Some("staff left".into()) };
    let names = identifiers(&["www.suite.example", "more.suite.example"]);
    let reissue = intent(OrderRequest { purpose, options: serde_json::Value::Null, ..fx.request(names) });
    let placed = fx.sectigo().place(&reissue).await.unwrap();
    let id = ssl_id(&issued);
    assert_eq!(
        fx.requests(),
        [
            format!("GET /api/ssl/v1/{id}"),
            "PUT /api/ssl/v1".to_owned(),
            format!("POST /api/ssl/v1/replace/{id}"),
            format!("GET /api/ssl/v1/{id}")
        ]
    );
    assert_eq!((placed.stage, ssl_id(&placed)), (Stage::Processing, id));
    // Both references are there: the comments are those of one record.
    let comments = fx.fake.world().records[&id].comments.clone().unwrap();
    assert!(comments.contains(&first.reference) && comments.contains(&reissue.reference), "{comments}");
    // A CA that shows the old certificate as issued meanwhile is not believed.
    fx.fake.world().record(id).map_err(drop).unwrap().status = "Issued".to_owned();
    let seen = fx.sectigo().poll(&order(&reissue, &placed)).await.unwrap();
    assert_eq!((seen.stage, seen.certificate), (Stage::Processing, None));
    fx.fake.world().issue(id);
    let seen = fx.sectigo().poll(&order(&reissue, &placed)).await.unwrap();
    assert_eq!(seen.certificate.unwrap().info().unwrap().key_hash, reissue.csr.public_key_hash());
    assert_eq!(fx.paid(), 1);

    // The serial number names the old certificate, which the record has no more: the new one is left alone.
    let revocation = Revocation { issued: of(&issued), reason: RevocationReason::Superseded, comment: None };
    let error = fx.sectigo().revoke(&revocation, None).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotFound(_)), "{error}");
    assert_eq!(fx.fake.world().records[&id].status, "Issued");
}

#[tokio::test]
async fn a_renewal_whose_comments_cannot_be_written_stands() {
    let fx = Fixture::start().await;
    let first = fx.intent(&["www.suite.example"]);
    let issued = fx.obtain(&first).await;
    for purpose in [
        Purpose::Renewal { of: Box::new(of(&issued)) },
        Purpose::Reissue { of: Box::new(of(&issued)), reason: None },
    ] {
        fx.fake.befall(Step::Update, Mishap::refuse(-3, "You may not edit"));
        let next = intent(OrderRequest { purpose, ..first.request.clone() });
        assert_eq!(fx.obtain(&next).await.stage, Stage::Issued);
    }
    // An order whose state cannot be read at once stands, too.
    fx.fake.befall(Step::Details, Mishap::refuse(-3, "You may not read"));
    let placed = fx.sectigo().place(&fx.intent(&["b.suite.example"])).await.unwrap();
    assert_eq!(placed.stage, Stage::Processing);
}

#[tokio::test]
async fn every_state_has_its_stage() {
    let fx = Fixture::start().await;
    let intent = fx.intent(&["www.suite.example"]);
    let issued = fx.obtain(&intent).await;
    let id = ssl_id(&issued);
    for (status, stage, has_certificate) in [
        ("Requested", Stage::AwaitingApproval, false),
        ("Awaiting Approval", Stage::AwaitingApproval, false),
        ("Init", Stage::Processing, false),
        ("SA Approved", Stage::Processing, false),
        ("SAApproved", Stage::Processing, false),
        ("Issued", Stage::Issued, true),
        ("Enrolled - Pending Download", Stage::Issued, true),
        ("Expired", Stage::Expired, true),
        ("REVOKED", Stage::Revoked, false),
        ("Declined", Stage::Rejected, false),
        ("Invalid", Stage::Rejected, false),
        ("Rejected", Stage::Rejected, false),
        ("Quarantined", Stage::Processing, false),
        ("2", Stage::Issued, true),
    ] {
        let shown = if stage == Stage::Issued { "Issued" } else { status };
        fx.fake.world().record(id).map_err(drop).unwrap().status = shown.to_owned();
        if shown != status {
            let body =
                json!({ "id": id, "status": status, "serialNumber": null, "certType": "OV", "term": "90" });
            fx.fake.befall(Step::Details, Mishap::error(200, body));
        }
        let seen = fx.sectigo().poll(&order(&intent, &issued)).await.unwrap();
        assert_eq!((seen.stage, seen.certificate.is_some()), (stage, has_certificate), "{status}");
        assert_eq!(seen.message.unwrap().as_str(), status);
        assert!(seen.ask_again.is_some());
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_ready_is_waited_for() {
    let fx = Fixture::start().await;
    let intent = fx.intent(&["www.suite.example"]);
    let issued = fx.obtain(&intent).await;
    let not_ready = [
        Mishap::refuse(0, "Being processed by Comodo"),
        Mishap::refuse(-1400, "Processing"),
        Mishap::refuse(-183, "Not collectable"),
        Mishap::refuse(-109, "Try later"),
        Mishap::error(400, json!({ "code": "0", "description": "Being processed by Sectigo" })),
        Mishap::Before(200, "application/octet-stream", String::new()),
    ];
    for mishap in not_ready {
        fx.fake.befall(Step::Collect, mishap.clone());
        let seen = fx.sectigo().poll(&order(&intent, &issued)).await.unwrap();
        assert_eq!((seen.stage, seen.certificate), (Stage::Processing, None), "{mishap:?}");
    }
    for (mishap, code) in [
        (Mishap::refuse(-110, "Revoked"), "conflict"),
        (Mishap::refuse(0, "Something else"), "rejected"),
        (Mishap::Before(200, "text/html", "<html>log in</html>".into()), "protocol"),
        (Mishap::Before(200, "application/octet-stream", "-----BEGIN PKCS7-----".into()), "protocol"),
        (Mishap::error(200, json!({ "code": -5101, "description": "not found" })), "not_found"),
    ] {
        fx.fake.befall(Step::Collect, mishap);
        let error = fx.sectigo().poll(&order(&intent, &issued)).await.unwrap_err();
        assert_eq!(error.kind().code(), code, "{}", error.chain());
    }
}

#[tokio::test]
async fn domains_are_validated_with_the_order_by_each_method() {
    for (kind, mode, approver) in [
        (ChallengeKind::DnsTxt, "TXT", None),
        (ChallengeKind::DnsCname, "CNAME", None),
        (ChallengeKind::Http, "HTTP", None),
        (ChallengeKind::Email, "EMAIL", Some("admin@www.suite.example".to_owned())),
    ] {
        let fx = Fixture::with_order_validation().await;
        // The newer documents show a list here.
        fx.fake.world().shows_lists = kind == ChallengeKind::Http;
        let names = identifiers(&["www.suite.example", "api.suite.example"]);
        let proof = Proof { kind, approver };
        let challenges = names.iter().map(|name| (name.clone(), proof.clone())).collect();
        let intent = intent(OrderRequest { challenges, ..fx.request(names.clone()) });
        let placed = fx.sectigo().place(&intent).await.unwrap();
        assert_eq!(fx.fake.world().records[&ssl_id(&placed)].dcv_mode.as_deref(), Some(mode));
        assert_eq!(placed.stage, Stage::Validating);
        let open = placed.authorizations.clone().unwrap();
        assert_eq!(open.len(), 2);
        let mut ready = Vec::new();
        for (one, name) in open.iter().zip(&names) {
            assert_eq!((&one.identifier, one.challenges[0].response.kind()), (name, kind));
            if let ChallengeResponse::Http(file) = &one.challenges[0].response {
                assert!(file.path.as_str().starts_with("/.well-known/pki-validation/"));
            }
            fx.prove(name, &one.challenges[0].response).await;
            ready.push(one.challenges[0].id.clone());
        }
        fx.requests();
        let seen = fx.sectigo().respond(&order(&intent, &placed), &ready).await.unwrap();
        assert!(fx.requests()[1].ends_with("/dcv/recheck"));
        let states: Vec<_> = seen.authorizations.iter().flatten().map(|one| one.status).collect();
        assert!(seen.stage == Stage::Issued || states == [AuthorizationStatus::Valid; 2], "{seen:?}");
        assert_eq!(fx.finish(&intent, seen).await.stage, Stage::Issued);
    }
}

#[tokio::test]
async fn a_wildcard_and_its_domain_share_a_proof() {
    let fx = Fixture::with_order_validation().await;
    let intent = fx.intent(&["*.suite.example", "suite.example"]);
    let placed = fx.sectigo().place(&intent).await.unwrap();
    let open = placed.authorizations.unwrap();
    assert_eq!(
        open.iter().map(|one| &one.identifier).collect::<Vec<_>>(),
        intent.request.identifiers.iter().collect::<Vec<_>>()
    );
    assert_eq!(open[0].challenges, open[1].challenges);
}

#[tokio::test]
async fn a_rejection_tells_what_the_validation_said() {
    let fx = Fixture::with_order_validation().await;
    let intent = fx.intent(&["www.suite.example"]);
    fx.disprove(&intent.request.identifiers[0]).await;
    let placed = fx.sectigo().place(&intent).await.unwrap();
    assert_eq!(placed.stage, Stage::Rejected);
    assert_eq!(placed.message.unwrap().as_str(), "Rejected: the proof for the domain was wrong (-107)");
}

#[tokio::test]
async fn what_an_order_wants_published_stays_within_its_domains() {
    let fx = Fixture::with_order_validation().await;
    let intent = fx.intent(&["www.suite.example"]);
    let placed = fx.sectigo().place(&intent).await.unwrap();
    let instruction = |more: serde_json::Value| {
        let mut one = json!({ "domainName": "www.suite.example" });
        one.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([{ "dcvLog": null, "instructions": [one] }])
    };
    for hostile in [
        instruction(json!({ "dcvMode": "CNAME", "host": "_a.victim.example.", "point": "b.example." })),
        instruction(json!({ "dcvMode": "CNAME", "host": "_a.www.suite.example." })),
        instruction(json!({ "dcvMode": "TXT", "host": "..", "point": "x" })),
        instruction(
            json!({ "dcvMode": "HTTP", "url": "http://victim.example/.well-known/a.txt", "file": "x" }),
        ),
        instruction(json!({ "dcvMode": "HTTP", "url": "http://www.suite.example/index.html", "file": "x" })),
        instruction(
            json!({ "dcvMode": "HTTP", "url": "https://www.suite.example/.well-known/a.txt", "file": "x" }),
        ),
        instruction(
            json!({ "dcvMode": "HTTP", "url": "http://www.suite.example/.well-known/a.txt", "file": "<a>" }),
        ),
        instruction(json!({ "dcvMode": "CARRIER_PIGEON" })),
        json!({ "instructions": [{ "domainName": "victim.example", "dcvMode": "EMAIL", "dcvEmail": "a@b.c" }] }),
    ] {
        fx.fake.befall(Step::OrderDcv, Mishap::error(200, hostile.clone()));
        let error = fx.sectigo().poll(&order(&intent, &placed)).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{hostile}: {error:?}");
        assert_eq!(error.retry(), Retry::Never);
    }
}

#[tokio::test]
async fn a_profile_refuses_in_its_own_words() {
    let fx = Fixture::start().await;
    let request = OrderRequest {
        product: Some(RSA_PROFILE.to_string()),
        ..fx.request(identifiers(&["a.suite.example"]))
    };
    let error = fx.sectigo().place(&intent(request)).await.unwrap_err();
    assert!(error.to_string().contains("The public key is not supported (-78)"), "{error}");
    assert_eq!((error.retry(), fx.paid()), (Retry::Never, 0));
    let names = identifiers(&["a.unknown.example"]);
    let error = fx.sectigo().place(&intent(fx.request(names))).await.unwrap_err();
    assert!(error.to_string().contains("not allowed (-1010)"), "{error}");
}
