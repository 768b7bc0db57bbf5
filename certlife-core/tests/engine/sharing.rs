//! Several engines over one store.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use certlife_core::{
    Clock as _, Store,
    model::{EventKind, OrderState},
    store::{Batch, Claim, Write},
};

use crate::world::{DAY, World, events, id, spec};

#[tokio::test]
async fn two_engines_share_the_work_and_no_step_runs_twice() {
    let world = World::new();
    let (one, two) = (world.engine().await, world.engine().await);
    for number in 0..30 {
        let name = format!("h{number}.example.com");
        one.ensure(spec(&format!("c{number}"), &[&name])).await.unwrap();
    }
    for _ in 0..40 {
        let (first, second) = tokio::join!(one.pass(), two.pass());
        let next = [first.unwrap().next, second.unwrap().next].into_iter().flatten().min();
        world.clock.advance_to(next.unwrap());
        if world.clock.now().since(certlife_core::Timestamp::from_unix_seconds(1_767_225_600))
            > Duration::from_hours(2)
        {
            break;
        }
    }
    assert_eq!(world.ca.orders_placed(), 30);
    assert!(world.ca.duplicates().is_empty());
    assert_eq!(world.account.calls().add, 30);
    assert_eq!(world.account.calls().remove, 30);
    assert_eq!(world.target.calls().install, 30);
    let mut live = BTreeMap::new();
    for event in events(&one).await {
        if let EventKind::DeploymentLive { .. } = event.occurrence.kind {
            *live.entry(event.occurrence.certificate.unwrap()).or_insert(0) += 1;
        }
    }
    assert_eq!(live.len(), 30);
    assert!(live.values().all(|times| *times == 1), "{live:?}");
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_writes_nothing() {
    let world = World::new();
    let engine = world.engine().await;
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    // Another worker takes the order, stalls, and wakes up after the engine has taken it over.
    let worker = certlife_core::WorkerId::new(world.clock.now(), [9; 10]);
    let now = world.clock.now();
    let claim = Claim { worker, now, until: now + Duration::from_secs(30), limit: 100 };
    let stalled = world.store.claim(&claim).await.unwrap();
    assert!(!stalled.work.is_empty());
    world.clock.advance(Duration::from_mins(1));
    world.work(&engine, DAY).await;
    for leased in stalled.work {
        let record = world.store.get(&leased.lease.key).await.unwrap().unwrap();
        let draft = certlife_core::store::Draft {
            key: record.key.clone(),
            body: "{}".to_owned(),
            due: None,
            index: record.index.clone(),
        };
        let leases = vec![(leased.lease, certlife_core::store::AfterCommit::Release)];
        let batch = Batch { leases, writes: vec![Write::Replace(draft, record.revision)] };
        let refused = world.store.commit(batch).await.unwrap_err();
        assert_eq!(refused.kind().code(), "lease_lost");
        assert_eq!(world.store.get(&record.key).await.unwrap().unwrap(), record);
    }
    assert_eq!(engine.orders(&id("www"), None).await.unwrap().items[0].state, OrderState::Issued);
    assert_eq!(world.ca.orders_placed(), 1);
}

#[tokio::test(start_paused = true)]
async fn run_takes_new_work_at_once_and_shuts_down_gracefully() {
    let world = Arc::new(World::new());
    let engine = world.builder(&certlife_testkit::crash::CrashPlan::never()).build().await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn({
        let engine = engine.clone();
        async move { engine.run(async { stopped.await.unwrap_or(()) }).await }
    });
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
        if world.target.served(&id("www")).is_some() {
            break;
        }
        world.clock.advance(Duration::from_millis(100));
    }
    assert!(world.target.served(&id("www")).is_some());
    stop.send(()).unwrap();
    world.clock.advance(Duration::from_secs(1));
    running.await.unwrap().unwrap();
    // Nothing is leased any more: another engine need not wait for anything.
    let now = world.clock.now() + DAY;
    let worker = certlife_core::WorkerId::new(now, [3; 10]);
    let claimed = world.store.claim(&Claim { worker, now, until: now, limit: 10 }).await.unwrap();
    assert!(claimed.work.iter().all(|leased| leased.lease.token > 0));
}

#[tokio::test]
async fn pausing_an_engine_takes_no_work() {
    let world = World::new();
    let engine = world.engine().await;
    engine.pause();
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    assert_eq!(engine.pass().await.unwrap().steps, 0);
    engine.resume();
    assert!(engine.pass().await.unwrap().steps > 0);
}

#[tokio::test]
async fn another_key_ring_is_refused_at_the_start() {
    let world = World::new();
    drop(world.engine().await);
    let other = certlife_core::LocalKeyRing::from_key(certlife_core::SecretBytes::new(vec![8; 32])).unwrap();
    let store: Arc<dyn Store> = world.store.clone();
    let refused = certlife_core::Engine::builder(store, Arc::new(other))
        .lookup(Arc::new(world.dns.clone()))
        .build()
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("check the passphrase"), "{refused}");
}
