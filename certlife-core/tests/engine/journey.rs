//! One certificate from the wish to the confirmed deployment.

use certlife_core::{
    Clock as _, CsrTemplate, KeyAlgorithm, PrivateKey,
    ca::Stage,
    model::{
        CertificateStatus, DeploymentState, EventKind, KeyChange, KeyPolicy, KeySource, OrderState,
        PublicationState, Route,
    },
};

use crate::world::{DAY, World, certificate, events, id, only_order, spec};

#[tokio::test]
async fn apex_and_wildcard_are_issued_deployed_and_leave_nothing_behind() {
    let world = World::new();
    let engine = world.engine().await;
    engine.ensure(spec("www", &["example.com", "*.example.com"])).await.unwrap();
    world.work(&engine, DAY).await;

    let order = only_order(&engine, "www").await;
    assert_eq!((order.state, order.stage), (OrderState::Issued, Some(Stage::Issued)));
    assert!(order.is_closed());
    assert!(order.publications.iter().all(|p| p.state == PublicationState::Withdrawn));
    assert_eq!(world.records_in_dns(), 0);
    assert_eq!(world.ca.orders_placed(), 1);

    let certificate = certificate(&engine, "www").await;
    assert_eq!(certificate.status(world.clock.now()), CertificateStatus::Valid);
    let deployments = engine.deployments(&id("www")).await.unwrap();
    assert_eq!(deployments[0].state, DeploymentState::Live);
    assert_eq!(deployments[0].actual, certificate.current);
    assert_eq!(world.target.served_version(&id("www")), certificate.current);

    let export = engine.export(certificate.current.unwrap()).await.unwrap();
    assert_eq!(export.key.unwrap().public_key_hash(), export.chain.info().unwrap().key_hash);
}

#[tokio::test]
async fn http_challenges_go_through_a_target() {
    let world = World::new();
    let engine = world.engine().await;
    engine
        .ensure(spec("www", &["www.example.com"]).validate(Route::Http("web".parse().unwrap())))
        .await
        .unwrap();
    world.work(&engine, DAY).await;
    assert_eq!(only_order(&engine, "www").await.state, OrderState::Issued);
    assert!(world.target.responses().is_empty());
    assert_eq!(world.account.calls().add, 0);
}

#[tokio::test]
async fn the_feed_tells_the_whole_story_in_order_and_can_be_replayed() {
    let world = World::new();
    let engine = world.engine().await;
    engine.by("alice").ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, DAY).await;
    let events = events(&engine).await;
    let names: Vec<_> = events
        .iter()
        .map(|event| serde_json::to_value(event).unwrap()["event"].as_str().unwrap().to_owned())
        .collect();
    let story = [
        "certificate_wanted",
        "order_drafted",
        "order_placing",
        "order_placed",
        "order_stage",
        "validation_planned",
        "published",
        "answered",
        "version_current",
        "withdrawn",
    ];
    let mut rest = names.iter();
    for step in story {
        assert!(rest.any(|name| name == step), "{step} is missing, or out of place, in {names:?}");
    }
    assert!(names.contains(&"deployment_live".to_owned()));
    let positions: Vec<_> = events.iter().map(|event| event.position).collect();
    assert_eq!(positions, (1..=positions.len() as u64).collect::<Vec<_>>());
    let half = engine.events_after(3, 1_000).await.unwrap();
    assert_eq!(half, events[3..]);
    assert!(serde_json::to_string(&events[0]).unwrap().contains("alice"));
    let text = serde_json::to_string(&events).unwrap();
    assert_eq!(serde_json::from_str::<Vec<certlife_core::model::Event>>(&text).unwrap(), events);
}

#[tokio::test]
async fn the_live_feed_wakes_for_new_events() {
    use futures_util::StreamExt as _;
    let world = World::new();
    let engine = world.engine().await;
    let mut feed = Box::pin(engine.events(0));
    let follower = tokio::spawn(async move {
        let mut kinds = Vec::new();
        while let Some(event) = feed.next().await {
            let event = event.unwrap();
            let last = matches!(event.occurrence.kind, EventKind::DeploymentLive { .. });
            kinds.push(event.position);
            if last {
                break;
            }
        }
        kinds
    });
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, DAY).await;
    let seen = follower.await.unwrap();
    assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>());
}

#[tokio::test]
async fn asking_twice_changes_nothing_and_another_wish_is_refused() {
    let world = World::new();
    let engine = world.engine().await;
    let first = engine.ensure(spec("www", &["example.com"])).await.unwrap();
    let before = events(&engine).await.len();
    assert_eq!(engine.ensure(spec("www", &["example.com"])).await.unwrap(), first);
    assert_eq!(events(&engine).await.len(), before);
    let refused = engine.ensure(spec("www", &["www.example.com"])).await.unwrap_err();
    assert_eq!(refused.kind().code(), "already_exists");
    world.work(&engine, DAY).await;
    assert_eq!(world.ca.orders_placed(), 1);
}

#[tokio::test]
async fn a_brought_key_and_a_brought_request_are_used() {
    let world = World::new();
    let engine = world.engine().await;
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP384).unwrap();
    let brought = engine.import_key(&key).await.unwrap();
    let policy = |source| KeyPolicy { source, on_renewal: KeyChange::Keep, ..KeyPolicy::default() };
    engine.ensure(spec("own", &["a.example.com"]).key(policy(KeySource::Brought(brought)))).await.unwrap();

    let elsewhere = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    let csr = CsrTemplate::new(["b.example.com".parse().unwrap()]).sign(&elsewhere).unwrap();
    engine
        .ensure(spec("csr", &["b.example.com"]).key(policy(KeySource::Elsewhere(Box::new(csr)))))
        .await
        .unwrap();
    world.work(&engine, DAY).await;

    for (name, key) in [("own", &key), ("csr", &elsewhere)] {
        let version = engine.version(certificate(&engine, name).await.current.unwrap()).await.unwrap();
        assert_eq!(version.info.key_hash, key.public_key_hash(), "{name}");
        assert_eq!(version.key.is_some(), name == "own");
    }
}

#[tokio::test]
async fn explain_says_who_acts_and_when() {
    let world = World::new();
    let engine = world.engine().await;
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, DAY).await;
    let explanation = engine.explain(&id("www")).await.unwrap();
    assert_eq!(explanation.who_acts, certlife_core::Party::Engine);
    assert!(explanation.next_attempt.is_some());
    assert!(explanation.sentences[0].starts_with("The certificate is valid until 2026-"), "{explanation:#?}");
    let unknown = engine.explain(&id("other")).await.unwrap_err();
    assert_eq!(unknown.kind().code(), "unknown_object");
}

#[tokio::test]
async fn deleting_removes_everything_here_and_nothing_elsewhere() {
    let world = World::new();
    let engine = world.engine().await;
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    assert_eq!(engine.delete(&id("www")).await.unwrap_err().kind().code(), "not_now");
    world.work(&engine, DAY).await;
    engine.delete(&id("www")).await.unwrap();
    assert!(engine.certificates(None).await.unwrap().items.is_empty());
    assert!(engine.versions(&id("www"), None).await.unwrap().items.is_empty());
    assert!(world.target.served(&id("www")).is_some());
    assert_eq!(engine.delete(&id("www")).await.unwrap_err().kind().code(), "unknown_object");
    assert!(!engine.audit(&id("www"), None).await.unwrap().items.is_empty());
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
}
