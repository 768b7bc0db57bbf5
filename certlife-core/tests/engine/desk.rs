//! The order desk: other proofs in an open order, approvers, domains apart from orders.

use std::time::Duration;

use certlife_core::{
    CertificateAuthority as _, CsrTemplate, Identifier, KeyAlgorithm, Operation, PrivateKey,
    ca::{Catalog, ImportFilter, OrderIntent, OrderRequest, Product, Purpose},
    challenge::{AuthorizationStatus, ChallengeKind, ChallengeResponse},
    model::{Event, EventKind, OrderState, PublicationState, Route, RouteReason},
};
use certlife_testkit::{ca::Fault, crash::CrashPlan};

use crate::world::{DAY, World, only_order, spec};

fn name() -> Identifier {
    "example.com".parse().unwrap()
}

fn by(account: &str) -> Route {
    Route::Dns(account.parse().unwrap())
}

#[tokio::test]
async fn another_route_takes_over_what_waited_for_a_person() {
    let world = World::with_ca(|ca| ca.order_desk(true));
    let engine = world.engine().await;
    engine
        .ensure(spec("www", &["example.com"]).validate(Route::Manual(ChallengeKind::DnsTxt)))
        .await
        .unwrap();
    world.work(&engine, Duration::from_hours(1)).await;
    let order = only_order(&engine, "www").await;
    assert_eq!(order.publications[0].state, PublicationState::ByHand);

    engine.by("frank").revalidate(order.id, &name(), by("dns")).await.unwrap();
    world.work(&engine, DAY).await;
    let order = only_order(&engine, "www").await;
    assert_eq!(order.state, OrderState::Issued, "{order:#?}");
    assert_eq!(order.publications[1].because, RouteReason::OrderRoute);
    assert_eq!(world.records_in_dns(), 0);
}

#[tokio::test]
async fn what_was_published_is_gone_before_another_proof_is_asked_for() {
    let world = World::with_ca(|ca| ca.order_desk(true).polls_to_check(1_000));
    let engine = world.engine().await;
    engine.ensure(spec("www", &["example.com"]).validate(by("dns"))).await.unwrap();
    world.work(&engine, Duration::from_mins(10)).await;
    let order = only_order(&engine, "www").await;
    assert_eq!((order.state, world.records_in_dns()), (OrderState::Validating, 1));

    let http = Route::Http("web".parse().unwrap());
    engine.revalidate(order.id, &name(), http.clone()).await.unwrap();
    engine.revalidate(order.id, &name(), http).await.unwrap();
    world.work(&engine, Duration::from_mins(10)).await;
    let order = only_order(&engine, "www").await;
    assert_eq!((order.state, world.records_in_dns()), (OrderState::Validating, 0));
    let states: Vec<_> = order.publications.iter().map(|publication| publication.state).collect();
    assert_eq!(states, [PublicationState::Withdrawn, PublicationState::Answered]);
    assert_eq!(world.ca.requests_for(Operation::Revalidate), 1, "asking twice at once is asking once");
    engine.cancel(order.id).await.unwrap();
    world.work(&engine, DAY).await;
    assert!(only_order(&engine, "www").await.is_closed());
}

#[tokio::test]
async fn an_approver_is_chosen_changed_and_written_to_again() {
    let kinds = [ChallengeKind::Email, ChallengeKind::DnsTxt];
    let world = World::with_ca(|ca| ca.challenges(kinds).order_desk(true).polls_to_check(1_000));
    let engine = world.engine().await;
    let approvers = engine.approvers(&"ca".parse().unwrap(), &name(), None).await.unwrap();
    assert!(approvers.contains(&"hostmaster@example.com".to_owned()), "{approvers:?}");

    engine.ensure(spec("www", &["example.com"]).validate(Route::Email(approvers[0].clone()))).await.unwrap();
    world.work(&engine, Duration::from_hours(1)).await;
    let order = only_order(&engine, "www").await;
    for address in [&approvers[0], &approvers[1]] {
        engine.revalidate(order.id, &name(), Route::Email(address.clone())).await.unwrap();
        world.work(&engine, Duration::from_mins(1)).await;
        let order = only_order(&engine, "www").await;
        let shown = &order.authorizations[0].challenges[0].response;
        assert!(
            matches!(shown, ChallengeResponse::Email { address: shown } if shown == address),
            "{shown:?}"
        );
    }
    assert_eq!(world.ca.requests_for(Operation::Revalidate), 2);
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_anything_is_stored() {
    let world = World::with_ca(|ca| ca.order_desk(true).approval(true));
    let engine = world.engine().await;
    engine
        .ensure(spec("www", &["example.com"]).validate(Route::Manual(ChallengeKind::DnsTxt)))
        .await
        .unwrap();
    world.work(&engine, Duration::from_hours(1)).await;
    let order = only_order(&engine, "www").await.id;
    let other: Identifier = "other.example.com".parse().unwrap();
    for (identifier, route, code) in [
        (&other, by("dns"), "unknown_object"),
        (&name(), by("nobody"), "unknown_account"),
        (&name(), Route::Email("admin@example.com".into()), "no_validation"),
    ] {
        let refused = engine.revalidate(order, identifier, route).await.unwrap_err();
        assert_eq!(refused.kind().code(), code, "{refused}");
    }
    assert!(only_order(&engine, "www").await.requests.is_empty());

    let plain = World::new();
    let engine = plain.engine().await;
    engine
        .ensure(spec("www", &["example.com"]).validate(Route::Manual(ChallengeKind::DnsTxt)))
        .await
        .unwrap();
    plain.work(&engine, Duration::from_hours(1)).await;
    let order = only_order(&engine, "www").await.id;
    let refused = engine.revalidate(order, &name(), by("dns")).await.unwrap_err();
    assert_eq!(refused.kind().code(), "unsupported");
}

#[tokio::test]
async fn a_domain_is_validated_apart_from_orders() {
    let world = World::with_ca(|ca| ca.order_desk(true));
    let engine = world.engine().await;
    let (account, proof) = ("ca".parse().unwrap(), ChallengeKind::DnsTxt.into());
    let wanted = engine.validate_domain(&account, &name(), &proof).await.unwrap();
    assert_eq!(wanted.authorization.status, AuthorizationStatus::Pending);
    let ChallengeResponse::DnsTxt { name: owner, value } = &wanted.authorization.challenges[0].response
    else {
        panic!("{wanted:?}")
    };
    let record = certlife_core::dns::DnsRecord::txt(owner.clone(), value.clone());
    let added = certlife_core::DnsProvider::add(&world.account, &record).await.unwrap();
    let found = engine.validate_domain(&account, &name(), &proof).await.unwrap();
    assert_eq!(found.authorization.status, AuthorizationStatus::Valid, "{found:?}");
    certlife_core::DnsProvider::remove(&world.account, &added.handle).await.unwrap();
}

#[tokio::test]
async fn two_thousand_orders_are_taken_over_once_whatever_happens() {
    const ORDERS: usize = 2_000;
    let world = World::with_ca(|ca| ca.challenges([]));
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let csr = CsrTemplate::new([name()]).sign(&key).unwrap();
    for number in 0..ORDERS {
        let request = OrderRequest {
            purpose: Purpose::New,
            identifiers: vec![name()],
            key_algorithm: None,
            validity: None,
            product: None,
            organization: None,
            contacts: Vec::new(),
            challenges: [].into(),
            options: serde_json::Value::Null,
        };
        let intent = OrderIntent { reference: format!("elsewhere-{number}"), request, csr: csr.clone() };
        world.ca.place(&intent).await.unwrap();
    }
    let (account, all) = ("ca".parse().unwrap(), ImportFilter::default());

    // A crash at the commit of some page in the middle: the key ring's canary and ten pages come before.
    let plan = CrashPlan::freeze_at(24);
    let engine = world.builder(&plan).build().await.unwrap();
    tokio::select! {
        biased;
        () = plan.crashed() => {}
        report = engine.import(&account, &all) => panic!("{report:?}"),
    }
    drop(engine);
    let engine = world.engine().await;
    let asked = world.ca.requests_for(Operation::ListOrders);
    let report = engine.import(&account, &all).await.unwrap();
    assert!(report.known > 0 && report.imported > 0, "the crash was in the middle: {report:?}");
    assert_eq!((report.listed, report.known + report.imported), (ORDERS, ORDERS));
    assert_eq!(world.ca.requests_for(Operation::ListOrders) - asked, 20, "a hundred orders a page");
    let again = engine.import(&account, &all).await.unwrap();
    assert_eq!((again.imported, again.known), (0, ORDERS));

    let (mut taken, mut page) = (0, None);
    loop {
        let certificates = engine.certificates(page).await.unwrap();
        taken += certificates.items.len();
        page = certificates.next;
        if page.is_none() {
            break;
        }
    }
    assert_eq!(taken, ORDERS);
    let last = |event: &Event| matches!(event.occurrence.kind, EventKind::ImportProgress { last: true, .. });
    let pages = engine.events_after(engine.feed_position().await.unwrap() - 20, 1_000).await.unwrap();
    assert_eq!((pages.len(), pages.iter().filter(|event| last(event)).count()), (20, 1));

    // What was taken over can be renewed from here, but not reissued.
    let one = engine.certificates(None).await.unwrap().items.remove(0).spec.id;
    assert_eq!(engine.reissue(&one, None).await.unwrap_err().kind().code(), "not_now");
    world.clock.advance(DAY);
    engine.renew(&one).await.unwrap();
    world.work(&engine, Duration::from_hours(1)).await;
    let versions = engine.versions(&one, None).await.unwrap().items;
    assert_eq!(versions.len(), 2);
    assert!(versions[0].key.is_some() && versions[1].key.is_none());
}

#[tokio::test]
async fn a_catalog_is_read_weekly_and_when_a_wish_does_not_fit_it() {
    let product = Product {
        id: "dv".into(),
        name: "Domain validated".into(),
        available: true,
        validity: Vec::new(),
        key_algorithms: [].into(),
        max_identifiers: None,
        wildcards: None,
        details: [].into(),
    };
    let catalog = Catalog { products: vec![product], ..Catalog::default() };
    let world = World::with_ca(|ca| ca.catalog(catalog.clone()));
    world.ca.inject(Some(Operation::Catalog), Fault::Fail);
    let (engine, account) = (world.engine().await, "ca".parse().unwrap());
    assert_eq!(engine.catalog(&account).await.unwrap(), None);
    world.work(&engine, Duration::from_hours(1)).await;
    assert_eq!(engine.catalog(&account).await.unwrap(), Some(catalog), "a failed attempt is repeated");
    let read = || world.ca.requests_for(Operation::Catalog);
    assert_eq!(read(), 1);
    world.work(&engine, 20 * DAY).await;
    assert!((2..=3).contains(&read()), "{} times in three weeks", read());

    let before = read();
    world.clock.advance(Duration::from_hours(2));
    for _ in 0..2 {
        let refused =
            engine.ensure(spec("www", &["example.com"]).product("ev")).await.unwrap_err().to_string();
        assert!(refused.contains("product") && refused.contains("dv"), "{refused}");
    }
    assert_eq!(read() - before, 1, "a fresh catalog is not read again");
    engine.ensure(spec("www", &["example.com"]).product("dv")).await.unwrap();
    assert_eq!(read() - before, 1);
}
