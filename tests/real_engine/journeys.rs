//! What goes well: every kind of challenge, external accounts, a hundred names, renewal, revocation.

use std::{sync::Arc, time::Duration};

use certlife_core::{
    RevocationReason,
    ca::PurposeKind,
    model::{DeploymentState, EventKind, OrderState, Route},
};
use certlife_testkit::servers::CertificateStatus;

use crate::world::{DAY, World, last_order, real_now, spec};

#[tokio::test]
async fn apex_and_wildcard_by_dns_leave_no_record_behind() {
    let world = World::new();
    let zone = world.servers.bind.spare_zones[1].clone();
    let engine = world.engine(&world.servers.pebble.bind_dns, &zone).await;
    let names = [zone.clone(), format!("*.{zone}")];
    engine.ensure(spec("www", names).deploy("web".parse().unwrap())).await.unwrap();
    world.work(&engine, Duration::from_hours(1)).await;
    let order = last_order(&engine, "www").await;
    assert_eq!(order.state, OrderState::Issued, "{order:#?}");
    assert!(order.is_closed());
    assert_eq!(world.servers.bind.txt_count(&zone).await, 0, "a TXT record is left behind");
    let deployment = &engine.deployments(&"www".parse().unwrap()).await.unwrap()[0];
    assert_eq!(deployment.state, DeploymentState::Live);
    let version = engine.version(deployment.actual.unwrap()).await.unwrap();
    assert_eq!(world.live_file("www", "fullchain.pem").unwrap().trim(), version.chain.pem().trim());
    assert_eq!(version.info.identifiers.len(), 2);
}

#[tokio::test]
async fn a_delegated_challenge_is_answered_in_the_zone_that_it_leads_to() {
    let world = World::new();
    let delegation = world.servers.bind.delegation.clone();
    let engine = world.engine(&world.servers.pebble.bind_dns, &delegation.alias_zone).await;
    engine.ensure(spec("alias", [delegation.identifier.clone()])).await.unwrap();
    world.work(&engine, Duration::from_hours(1)).await;
    let order = last_order(&engine, "alias").await;
    assert_eq!(order.state, OrderState::Issued, "{order:#?}");
    let written = order.publications[0].delegated_to.clone().unwrap().to_string();
    assert_eq!(written, delegation.target.trim_end_matches('.'));
    assert!(world.servers.bind.txt_values(&delegation.target).await.is_empty());
}

#[tokio::test]
async fn a_hundred_names_in_one_order() {
    let world = World::new();
    let zone = world.servers.bind.spare_zones[2].clone();
    let engine = world.engine(&world.servers.pebble.bind_dns, &zone).await;
    engine.ensure(spec("many", (0..100).map(|n| format!("h{n}.{zone}")))).await.unwrap();
    world.work(&engine, Duration::from_hours(1)).await;
    let orders = engine.orders(&"many".parse().unwrap(), None).await.unwrap().items;
    let [order] = &orders[..] else {
        panic!("{:#?}", orders.iter().map(|order| (order.state, &order.failure)).collect::<Vec<_>>())
    };
    assert_eq!(order.state, OrderState::Issued, "{:#?}", order.failure);
    let version = engine.version(order.version.unwrap()).await.unwrap();
    assert_eq!(version.info.identifiers.len(), 100);
    assert_eq!(world.servers.bind.txt_count(&zone).await, 0);
}

#[tokio::test]
async fn one_name_by_http_through_the_responder_of_the_host() {
    let world = World::new();
    let pebble = &world.servers.pebble.mock_dns;
    let (address, listener) = pebble.listen_http().await;
    world.servers.pebble.challenge_server.add_a("http.engine.test", &[address]).await;
    let responder = axum::Router::new().fallback_service(world.rustls.http01());
    let server = tokio::spawn(async move { axum::serve(listener, responder).await });
    let engine = world.engine(pebble, "unused.test").await;
    let wish = spec("http", ["http.engine.test".to_owned()])
        .validate(Route::Http("tls".parse().unwrap()))
        .deploy("tls".parse().unwrap());
    engine.ensure(wish).await.unwrap();
    world.work(&engine, Duration::from_hours(1)).await;
    let order = last_order(&engine, "http").await;
    assert_eq!(order.state, OrderState::Issued, "{:#?}", order.failure);
    assert_eq!(engine.deployments(&"http".parse().unwrap()).await.unwrap()[0].state, DeploymentState::Live);
    server.abort();
}

#[tokio::test]
async fn one_name_by_tls_alpn_through_the_host_s_own_rustls() {
    let world = World::new();
    let pebble = &world.servers.pebble.mock_dns;
    let (address, listener) = pebble.listen_tls().await;
    world.servers.pebble.challenge_server.add_a("alpn.engine.test", &[address]).await;
    let config = Arc::new(world.rustls.server_config(["http/1.1"]).unwrap());
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move { acceptor.accept(stream).await.map(drop) });
        }
    });
    let engine = world.engine(pebble, "unused.test").await;
    let wish = spec("alpn", ["alpn.engine.test".to_owned()])
        .validate(Route::TlsAlpn("tls".parse().unwrap()))
        .deploy("tls".parse().unwrap());
    engine.ensure(wish).await.unwrap();
    world.work(&engine, Duration::from_hours(1)).await;
    let order = last_order(&engine, "alpn").await;
    assert_eq!(order.state, OrderState::Issued, "{:#?}", order.failure);
    server.abort();
}

#[tokio::test]
async fn an_account_bound_to_an_external_one() {
    let world = World::new();
    let pebble = &world.servers.pebble.external_account;
    let (address, listener) = pebble.listen_http().await;
    world.servers.pebble.challenge_server.add_a("eab.engine.test", &[address]).await;
    let responder = axum::Router::new().fallback_service(world.rustls.http01());
    let server = tokio::spawn(async move { axum::serve(listener, responder).await });
    let engine = world.engine(pebble, "unused.test").await;
    let wish = spec("eab", ["eab.engine.test".to_owned()]).validate(Route::Http("tls".parse().unwrap()));
    engine.ensure(wish).await.unwrap();
    world.work(&engine, Duration::from_hours(1)).await;
    let order = last_order(&engine, "eab").await;
    assert_eq!(order.state, OrderState::Issued, "{:#?}", order.failure);
    server.abort();
}

#[tokio::test]
async fn renewal_follows_the_window_of_the_ca_and_revocation_reaches_it() {
    let world = World::new();
    let pebble = &world.servers.pebble.bind_dns;
    let zone = world.servers.bind.spare_zones[3].clone();
    let engine = world.engine(pebble, &zone).await;
    let id = "renewed".parse().unwrap();
    engine.ensure(spec("renewed", [zone.clone()]).deploy("web".parse().unwrap())).await.unwrap();
    world.work(&engine, Duration::from_mins(30)).await;
    let first = engine.versions(&id, None).await.unwrap().items.remove(0);

    // The CA hurries: the suggested window is over.
    let (start, end) = (real_now() - 2 * DAY, real_now() - DAY);
    let body = format!(r#"{{"suggestedWindow":{{"start":"{start}","end":"{end}"}}}}"#);
    pebble.set_renewal_info(&first.chain.leaf_pem(), &body).await;
    world.work(&engine, DAY).await;
    let versions = engine.versions(&id, None).await.unwrap().items;
    assert_eq!(versions.len(), 2, "{:#?}", engine.explain(&id).await.unwrap());
    assert_eq!(versions[0].purpose, PurposeKind::Renewal);
    assert_ne!(versions[0].info.key_hash, first.info.key_hash);
    assert_eq!(world.live_file("renewed", "cert.pem").unwrap().trim(), versions[0].chain.leaf_pem().trim());
    let told = engine.events_after(0, 1_000).await.unwrap();
    assert!(told.iter().any(|event| matches!(event.occurrence.kind, EventKind::RenewalWindow { .. })));

    engine.revoke(first.id, RevocationReason::Superseded, None, false).await.unwrap();
    world.work(&engine, Duration::from_hours(1)).await;
    let status = pebble.certificate_status(&first.info.serial).await;
    assert!(matches!(status, Some(CertificateStatus::Revoked(_))), "{status:?}");
    assert_eq!(world.servers.bind.txt_count(&zone).await, 0);
}
