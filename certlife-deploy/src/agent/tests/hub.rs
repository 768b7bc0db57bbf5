//! What the hub remembers and for how long, on a clock that the tests move.

use std::{sync::Arc, time::Duration};

use certlife_core::{
    Clock as _, Deployer as _, Error, ErrorKind, Retry,
    deploy::{Bundle, Receipt},
};
use certlife_testkit::{clock::ManualClock, deploy::Issuer};
use http::StatusCode;

use super::{
    super::{
        AgentTarget,
        wire::{Answer, Task, WorkItem},
    },
    pretender::Pretender,
    world::{DAY, World, bundle, name, until, www},
};

const PATIENCE: Duration = Duration::from_mins(2);

fn receipt(bundle: &Bundle) -> Receipt {
    let (certificate, version) = (bundle.certificate.clone(), bundle.version);
    Receipt { certificate, version, replaced: None, vendor: serde_json::Value::Null }
}

async fn install(target: &AgentTarget, bundle: &Bundle) -> tokio::task::JoinHandle<Result<Receipt, Error>> {
    let (target, bundle) = (target.clone(), bundle.clone());
    let call = tokio::spawn(async move { target.install(&bundle).await });
    tokio::task::yield_now().await;
    call
}

fn version_of(item: &WorkItem) -> Bundle {
    match &item.task {
        Task::Install(bundle) => Bundle::from((**bundle).clone()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_call_after_a_crash_of_the_host_finds_its_work_and_its_outcome() {
    let (world, clock) = (World::new(), ManualClock::default());
    let hub = world.hub_with(Arc::new(clock.clone()), PATIENCE).await;
    let agent = Pretender::enrolled(&hub, "web1").await;
    let target = hub.target(&name("web1"), &name("files")).await.unwrap();
    let bundle = bundle(&Issuer::new());
    let call = install(&target, &bundle).await;
    let first = agent.work(&[]).await.remove(0);
    call.abort();
    drop((hub, target));

    let hub = world.hub_with(Arc::new(clock.clone()), PATIENCE).await;
    let target = hub.target(&name("web1"), &name("files")).await.unwrap();
    let agent = agent.at(&hub);
    let again = install(&target, &bundle).await;
    let found = agent.work(&[]).await;
    assert_eq!((found.len(), &found[0].id), (1, &first.id), "the work is not doubled");
    again.abort();
    // The report comes when nobody waits; the next call finds it, and the one after that is asked anew.
    assert_eq!(agent.report(&first, Answer::Receipt(receipt(&bundle))).await.0, StatusCode::OK);
    assert_eq!(target.install(&bundle).await.unwrap(), receipt(&bundle));
    let third = install(&target, &bundle).await;
    let anew = agent.work(&[]).await.remove(0);
    assert_ne!(anew.id, first.id);
    agent.report(&anew, Answer::Receipt(receipt(&bundle))).await;
    third.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_asked_about_one_certificate_keeps_its_order() {
    let (world, clock) = (World::new(), ManualClock::default());
    let hub = world.hub_with(Arc::new(clock), PATIENCE).await;
    let agent = Pretender::enrolled(&hub, "web1").await;
    let target = hub.target(&name("web1"), &name("files")).await.unwrap();
    let issuer = Issuer::new();
    let (one, two) = (bundle(&issuer), bundle(&issuer));
    let mut calls = Vec::new();
    for bundle in [&one, &two, &one, &one] {
        calls.push(install(&target, bundle).await);
        until("it is stored", async || agent.work(&[]).await.len() >= calls.len().min(3)).await;
    }
    let work = agent.work(&[]).await;
    let versions: Vec<_> = work.iter().map(|item| version_of(item).version).collect();
    assert_eq!(versions, [one.version, two.version, one.version], "the last word is the first version");
    for item in &work {
        agent.report(item, Answer::Receipt(receipt(&version_of(item)))).await;
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(agent.fetch(&[], 0).await.1["items"], serde_json::json!([]));
}

#[tokio::test]
async fn an_agent_that_is_away_is_unreachable_and_one_that_is_slow_is_late() {
    let (world, clock) = (World::new(), ManualClock::default());
    let hub = world.hub_with(Arc::new(clock.clone()), PATIENCE).await;
    let agent = Pretender::enrolled(&hub, "web1").await;
    let target = hub.target(&name("web1"), &name("files")).await.unwrap();
    let bundle = bundle(&Issuer::new());
    for (shows_up, kind) in [(false, ErrorKind::Unreachable), (true, ErrorKind::Timeout)] {
        let call = install(&target, &bundle).await;
        until("it is stored", async || hub.status(&name("web1")).await.unwrap().is_some()).await;
        clock.advance(PATIENCE / 2);
        if shows_up {
            assert_eq!(agent.work(&[]).await.len(), 1);
        }
        clock.advance(PATIENCE / 2);
        let error = call.await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.retry()), (&kind, Retry::Backoff));
        clock.advance(Duration::from_secs(1));
    }
    // The change waits on; a question that nobody waits for is gone.
    let asked = tokio::spawn(async move { target.installed(&www()).await });
    until("both are there", async || agent.work(&[]).await.len() == 2).await;
    clock.advance(PATIENCE);
    asked.await.unwrap().unwrap_err();
    let left = agent.work(&[]).await;
    assert_eq!((left.len(), version_of(&left[0]).version), (1, bundle.version));
    clock.advance(8 * DAY);
    let kept = async || world.vault().read("agent/web1").await.unwrap().unwrap().secret.expose().to_vec();
    let key = super::world::heart(&bundle.key.as_ref().unwrap().to_pkcs8_pem().unwrap());
    assert!(String::from_utf8(kept().await).unwrap().contains(&key));
    assert_eq!(agent.fetch(&[], 0).await.1["items"], serde_json::json!([]), "after a week it is forgotten");
    assert!(!String::from_utf8(kept().await).unwrap().contains(&key), "with its key");
}

/// An agent may keep outcomes of work that it did under the same name before it was removed here.
#[tokio::test]
async fn an_agent_that_was_removed_and_invited_again_gets_work_under_new_names() {
    let (world, clock) = (World::new(), ManualClock::default());
    let bundle = bundle(&Issuer::new());
    let mut given = Vec::new();
    for _ in 0..2 {
        let hub = world.hub_with(Arc::new(clock.clone()), PATIENCE).await;
        let agent = Pretender::enrolled(&hub, "web1").await;
        let target = hub.target(&name("web1"), &name("files")).await.unwrap();
        let call = install(&target, &bundle).await;
        given.push(agent.work(&[]).await.remove(0));
        call.abort();
        hub.remove(&name("web1")).await.unwrap();
        clock.advance(Duration::from_secs(1));
    }
    assert_ne!(given[0].id, given[1].id);
    assert_eq!(version_of(&given[0]).version, version_of(&given[1]).version);
}

#[tokio::test]
async fn an_agent_that_says_too_much_has_failed_and_fills_no_store() {
    let (world, clock) = (World::new(), ManualClock::default());
    let hub = world.hub_with(Arc::new(clock.clone()), PATIENCE).await;
    let agent = Pretender::enrolled(&hub, "web1").await;
    let target = hub.target(&name("web1"), &name("files")).await.unwrap();
    let (issuer, large) = (Issuer::new(), "x".repeat(1_000_000));
    let mut said_too_much = 0;
    for _ in 0..6 {
        let bundle = bundle(&issuer);
        let call = install(&target, &bundle).await;
        let item = agent.work(&[]).await.remove(0);
        let receipt = Receipt { vendor: large.as_str().into(), ..receipt(&bundle) };
        assert_eq!(agent.report(&item, Answer::Receipt(receipt)).await.0, StatusCode::OK);
        // The contract allows 4 KiB of it; the store keeps 4 MiB of an agent.
        let error = call.await.unwrap().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{}", error.chain());
        said_too_much += usize::from(error.to_string().contains("says too much"));
    }
    assert_eq!(said_too_much, 2);
    let kept = world.vault().read("agent/web1").await.unwrap().unwrap().secret.expose().len();
    assert!(kept < 5 << 20, "{kept} bytes are kept");
}

#[tokio::test]
async fn a_certificate_lasts_its_time_and_the_next_one_ends_it() {
    let (world, clock) = (World::new(), ManualClock::default());
    let hub = world.hub_with(Arc::new(clock.clone()), PATIENCE).await;
    let mut agent = Pretender::enrolled(&hub, "web1").await;
    clock.advance(20 * DAY);
    let old = agent.at(&hub);
    agent.key = Pretender::new(&hub).key;
    let (status, answer) = agent.renew().await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(agent.renew().await.1, answer, "a repeated renewal brings the same certificate");
    assert_eq!(old.fetch(&[], 0).await.0, StatusCode::OK, "the old one is good until the new one is used");
    agent.adopt(&answer);
    assert_eq!(agent.fetch(&[], 0).await.0, StatusCode::OK);
    assert_eq!(old.fetch(&[], 0).await.0, StatusCode::UNAUTHORIZED);
    clock.advance(29 * DAY);
    assert_eq!(agent.fetch(&[], 0).await.0, StatusCode::OK);
    assert!(hub.status(&name("web1")).await.unwrap().unwrap().enrolled);
    clock.advance(2 * DAY);
    let (status, refusal) = agent.fetch(&[], 0).await;
    assert_eq!((status, refusal["code"].as_str()), (StatusCode::UNAUTHORIZED, Some("enrol_again")));
    assert!(
        refusal["message"].as_str().unwrap().contains("has expired; invite this agent again"),
        "{refusal}"
    );
    assert!(!hub.status(&name("web1")).await.unwrap().unwrap().enrolled);
}

#[tokio::test]
async fn work_is_bounded_and_handed_out_in_portions() {
    let (world, clock) = (World::new(), ManualClock::default());
    let hub = world.hub_with(Arc::new(clock.clone()), PATIENCE).await;
    let agent = Pretender::enrolled(&hub, "web1").await;
    let target = hub.target(&name("web1"), &name("files")).await.unwrap();
    let calls: Vec<_> = (0..257)
        .map(|number| {
            let target = target.clone();
            tokio::spawn(async move { target.uninstall(&format!("c{number}").parse().unwrap()).await })
        })
        .collect();
    let refused = async {
        loop {
            if let Some(refused) = calls.iter().position(tokio::task::JoinHandle::is_finished) {
                return refused;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let refused = tokio::time::timeout(super::world::PATIENCE, refused).await.unwrap();
    let mut calls = calls;
    let error = calls.swap_remove(refused).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.retry()), (&ErrorKind::RateLimited, Retry::Backoff));
    let portion = agent.work(&[]).await;
    assert_eq!(portion.len(), 16);
    let holding: Vec<_> = portion.iter().collect();
    let next = agent.work(&holding).await;
    assert!(next.iter().all(|item| portion.iter().all(|held| held.id != item.id)));
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    assert!(clock.now() == ManualClock::default().now(), "nobody waited");
}
