//! Issued is not done: installs that fail, targets that lie, drift, new and lost targets.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use certlife_core::{
    Clock as _, ErrorKind, Operation, VendorText,
    challenge::ChallengeKind,
    deploy::DeployCapabilities,
    engine::TargetOptions,
    model::{DeploymentState, EventKind},
    tls::StartTls,
};
use certlife_testkit::crash::CrashPlan;
use tokio::{io::AsyncWriteExt as _, net::TcpListener};

use crate::world::{DAY, World, certificate, events, id, spec};

#[tokio::test]
async fn a_failing_target_is_tried_again_and_never_orders() {
    let world = World::new();
    let engine = world.engine().await;
    world.target.fail_next_of(Operation::Install, 6, ErrorKind::Io(VendorText::new("disk full")));
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, Duration::from_mins(1)).await;
    let deployment = &engine.deployments(&id("www")).await.unwrap()[0];
    assert_eq!(deployment.state, DeploymentState::Failing);
    let failure = deployment.failure.clone().unwrap();
    assert!(failure.message.as_str().contains("disk full"), "{failure:?}");
    let explanation = engine.explain(&id("www")).await.unwrap();
    assert!(explanation.sentences.iter().any(|s| s.contains("disk full")), "{explanation:#?}");
    world.work(&engine, DAY).await;
    assert_eq!(engine.deployments(&id("www")).await.unwrap()[0].state, DeploymentState::Live);
    assert_eq!(world.ca.orders_placed(), 1);
}

#[tokio::test]
async fn a_target_that_does_not_confirm_is_rolled_back_to_what_it_served() {
    let world = World::new();
    let engine = world.engine().await;
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, DAY).await;
    let first = world.target.served_version(&id("www")).unwrap();

    let installed = certlife_core::deploy::Installed {
        fingerprint: world.target.served(&id("www")).unwrap().0.fingerprint(),
        version: Some(first),
    };
    world.target.confirm_instead(&id("www"), Some(installed));
    engine.renew(&id("www")).await.unwrap();
    world.work(&engine, Duration::from_mins(5)).await;
    assert_eq!(world.target.served_version(&id("www")), Some(first));
    let told = events(&engine).await;
    let rolled_back = |kind: &EventKind| matches!(kind, EventKind::RolledBack { version: Some(version), .. } if *version == first);
    assert!(told.iter().any(|event| rolled_back(&event.occurrence.kind)), "{told:#?}");

    world.target.confirm_instead(&id("www"), None);
    world.target.recover();
    world.work(&engine, DAY).await;
    let current = certificate(&engine, "www").await.current;
    assert_eq!(world.target.served_version(&id("www")), current);
    assert_ne!(current, Some(first));
    assert_eq!(world.ca.orders_placed(), 2);
}

#[tokio::test]
async fn a_server_that_refuses_to_start_tls_does_not_confirm_and_its_words_are_told() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let talk = b"220 mail\r\n250-mail\r\n250 STARTTLS\r\n454 4.7.0 TLS not available\r\n";
            stream.write_all(talk).await.unwrap();
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.unwrap();
        }
    });
    let options = TargetOptions::default().served_after(StartTls::Smtp, address);
    let engine = world
        .builder(&CrashPlan::never())
        .target("web".parse().unwrap(), Arc::new(world.target.clone()), options)
        .build()
        .await
        .unwrap();
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, Duration::from_mins(3)).await;
    let failure = engine.deployments(&id("www")).await.unwrap()[0].failure.clone().unwrap();
    assert_eq!(failure.code, "not_confirmed");
    assert!(failure.message.as_str().contains("454 4.7.0 TLS not available"), "{failure:?}");
}

#[tokio::test]
async fn drift_is_found_told_and_put_right() {
    let world = World::new();
    let engine = world.engine().await;
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, Duration::from_hours(1)).await;
    world.target.wipe();
    world.work(&engine, 2 * DAY).await;
    assert_eq!(world.target.served_version(&id("www")), certificate(&engine, "www").await.current);
    let told = events(&engine).await;
    assert!(told.iter().any(|event| matches!(event.occurrence.kind, EventKind::DriftFound { .. })));
    assert!(!engine.deployments(&id("www")).await.unwrap()[0].drifted);
}

#[tokio::test]
async fn targets_that_are_added_and_left_out_follow() {
    let world = World::new();
    let engine = world.engine().await;
    let mut wish = spec("www", &["example.com"]);
    wish.deploy.clear();
    engine.ensure(wish.clone()).await.unwrap();
    world.work(&engine, DAY).await;
    assert!(world.target.served(&id("www")).is_none());
    engine.update(wish.clone().deploy("web".parse().unwrap())).await.unwrap();
    world.work(&engine, DAY).await;
    assert!(world.target.served(&id("www")).is_some());
    engine.update(wish).await.unwrap();
    world.work(&engine, DAY).await;
    assert!(world.target.served(&id("www")).is_none());
    assert_eq!(engine.deployments(&id("www")).await.unwrap()[0].state, DeploymentState::Removed);
    assert_eq!(world.ca.orders_placed(), 1, "changing targets orders nothing");
}

#[tokio::test]
async fn a_target_can_be_checked_on_demand() {
    let world = World::new();
    let engine = world.engine().await;
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, Duration::from_hours(1)).await;
    world.clock.advance(Duration::from_mins(10));
    world.target.wipe();
    engine.by("carol").check_target(&id("www"), &"web".parse().unwrap()).await.unwrap();
    world.work(&engine, Duration::from_mins(1)).await;
    assert!(world.target.served(&id("www")).is_some());
    let evidence = engine.deployments(&id("www")).await.unwrap()[0].evidence.clone().unwrap();
    assert!(evidence.at >= world.clock.now() - Duration::from_mins(5));
}

#[tokio::test]
async fn a_target_that_forgets_with_the_process_gets_its_version_again() {
    let world = World::new();
    let http = [ChallengeKind::Http].into();
    world.target.limit_to(DeployCapabilities {
        install: true,
        challenges: http,
        volatile: true,
        keys: BTreeSet::new(),
    });
    let engine = world.engine().await;
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, Duration::from_hours(1)).await;
    world.work(&engine, Duration::from_hours(1)).await;
    let first = world.target.history(&id("www"));
    assert_eq!(first.len(), 1, "the process goes on, so nothing is forgotten");
    drop(engine);

    let engine = world.engine().await;
    world.work(&engine, Duration::from_hours(1)).await;
    assert_eq!(world.target.history(&id("www")), [first[0], first[0]]);
    let deployment = &engine.deployments(&id("www")).await.unwrap()[0];
    assert_eq!((deployment.state, deployment.actual), (DeploymentState::Live, Some(first[0])));
    let events = engine.audit(&id("www"), None).await.unwrap().items;
    assert!(!events.iter().any(|event| matches!(event.occurrence.kind, EventKind::DriftFound { .. })));
    assert_eq!(engine.orders(&id("www"), None).await.unwrap().items.len(), 1);
}
