//! An order whose key is made on an end server that calls the host, against Pebble.

use std::{sync::Arc, time::Duration};

use certlife_core::{
    AccountName, Deployer, Engine, KeyAlgorithm, PrivateKey, Store, Vault,
    engine::TargetOptions,
    model::{DeploymentState, KeyPolicy, KeySource, OrderState},
    store::{Kind, Query},
};
use certlife_deploy::{AgentHub, Local, agent::AgentWorker};
use certlife_store::Sqlite;

use crate::world::{World, last_order, spec};

/// Works until it is so: the agent has its own time.
#[expect(clippy::future_not_send, reason = "each test waits in its own thread")]
async fn work_until(world: &World, engine: &Engine, so: impl AsyncFn() -> bool) {
    let working = async {
        while !so().await {
            world.work(engine, Duration::from_mins(2)).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_mins(2), working).await;
    assert!(ended.is_ok(), "{:#?}", engine.explain(&"edge".parse().unwrap()).await);
}

/// Everything that the store holds, as bytes on disk.
fn bytes_of_store(world: &World) -> Vec<u8> {
    let files = ["certlife.db", "certlife.db-wal"].map(|name| world.directory.path().join(name));
    files.iter().flat_map(|file| std::fs::read(file).unwrap_or_default()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_made_on_an_agent_never_leaves_it() {
    let world = World::new();
    let zone = world.servers.bind.spare_zones[0].clone();
    let engine = world.engine(&world.servers.pebble.bind_dns, &zone).await;
    let store: Arc<dyn Store> = Arc::new(world.store.clone());
    let sealer = certlife_core::Sealer::new(world.ring.clone());
    let hub = AgentHub::builder(Vault::new(store, sealer, "agents".parse().unwrap())).open().await.unwrap();
    let listener = hub.listen("127.0.0.1:0".parse().unwrap(), ["127.0.0.1".parse().unwrap()]).await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let server = tokio::spawn(listener.serve(std::future::pending()));

    let (edge, files): (AccountName, AccountName) = ("edge".parse().unwrap(), "files".parse().unwrap());
    let tls = world.directory.path().join("edge-tls");
    let block: Arc<dyn Deployer> = Arc::new(Local::builder(&tls).build().unwrap());
    let token = world.directory.path().join("token");
    std::fs::write(&token, hub.invite(&edge, Duration::from_hours(1)).await.unwrap().expose()).unwrap();
    let agent = AgentWorker::builder(url, edge.clone(), world.directory.path().join("edge-state"))
        .token_file(&token)
        .block(files.clone(), block)
        .build()
        .unwrap();
    let agent = tokio::spawn(agent.run(std::future::pending()));
    let told = async {
        while hub.status(&edge).await.unwrap().is_none_or(|status| status.blocks.is_empty()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), told).await.unwrap();
    let target = hub.target(&edge, &files).await.unwrap();
    engine.add_target(edge.clone(), Arc::new(target), TargetOptions::default());

    let policy = KeyPolicy { source: KeySource::OnTarget(edge.clone()), ..KeyPolicy::default() };
    let id = "edge".parse().unwrap();
    engine.ensure(spec("edge", [format!("edge.{zone}")]).key(policy).deploy(edge)).await.unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for versions in 1..=2 {
        work_until(&world, &engine, async || {
            let deployments = engine.deployments(&id).await.unwrap();
            let live = deployments.iter().any(|deployment| deployment.state == DeploymentState::Live);
            live && engine.versions(&id, None).await.unwrap().items.len() == versions
                && deployments[0].actual == deployments[0].desired
        })
        .await;
        let order = last_order(&engine, "edge").await;
        assert_eq!(order.state, OrderState::Issued, "{:#?}", order.failure);
        let version = engine.version(order.version.unwrap()).await.unwrap();
        assert_eq!((version.key, version.info.key_algorithm), (None, Some(KeyAlgorithm::EcdsaP256)));
        let live = |name: &str| std::fs::read_to_string(tls.join("edge/live").join(name)).unwrap();
        assert_eq!(live("fullchain.pem").trim(), version.chain.pem().trim());
        let key = PrivateKey::from_pem(&live("privkey.pem").into()).unwrap();
        assert_eq!(key.public_key_hash(), version.info.key_hash, "the agent serves it with its own key");
        assert!(seen.insert(version.info.key_hash), "a renewal asks for another key");
        nowhere_here(&world, &key).await;
        if versions == 1 {
            engine.renew(&id).await.unwrap();
        }
    }
    server.abort();
    agent.abort();
}

/// Asserts that a private key is nowhere in the host's store: not as a record, not as bytes, not even sealed.
async fn nowhere_here(world: &World, key: &PrivateKey) {
    let sqlite: &Sqlite = &world.store;
    assert!(sqlite.list(&Query::all(Kind::Key)).await.unwrap().items.is_empty(), "a key is kept here");
    let der = key.to_pkcs8_der().unwrap();
    // The scalar of a P-256 key in PKCS#8 (RFC 5915 §3, RFC 5208 §5) lies at this place.
    let scalar = &der.expose()[36..68];
    let pem = key.to_pkcs8_pem().unwrap();
    let line = pem.expose().lines().nth(1).unwrap().as_bytes();
    let bytes = bytes_of_store(world);
    assert!(bytes.len() > 4_096, "the store was read");
    for secret in [scalar, line] {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "the key is in the store");
    }
}
