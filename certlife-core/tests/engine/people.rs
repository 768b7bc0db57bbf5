//! What people do: publish by hand, approve, cancel, revoke, pause.

use std::time::Duration;

use certlife_core::{
    Clock as _, Party,
    ca::{Decision, Stage},
    challenge::ChallengeKind,
    dns::DnsRecord,
    model::{CertificateStatus, OrderState, Route},
};

use crate::world::{DAY, World, certificate, id, only_order, spec};

#[tokio::test]
async fn a_record_published_by_hand_is_shown_verified_and_left_alone() {
    let world = World::new();
    let engine = world.engine().await;
    engine
        .ensure(spec("www", &["example.com"]).validate(Route::Manual(ChallengeKind::DnsTxt)))
        .await
        .unwrap();
    world.work(&engine, DAY).await;
    let pending = engine.pending().await.unwrap();
    assert_eq!(pending.len(), 1);
    assert_eq!(engine.explain(&id("www")).await.unwrap().who_acts, Party::Operator);

    // Not there yet: it stays pending, and says which server lacks it.
    engine.verify(pending[0].order).await.unwrap();
    world.work(&engine, Duration::from_mins(1)).await;
    assert_eq!(engine.pending().await.unwrap().len(), 1);

    let record: DnsRecord = pending[0].record.clone().unwrap();
    world.dns.insert(record);
    engine.verify(pending[0].order).await.unwrap();
    world.work(&engine, DAY).await;
    assert_eq!(only_order(&engine, "www").await.state, OrderState::Issued);
    assert_eq!(world.records_in_dns(), 1, "what a person published, a person removes");
}

#[tokio::test]
async fn nine_days_with_an_approval_in_between_need_no_special_case() {
    let world = World::with_ca(|ca| ca.approval(true).polls_to_issue(3).ask_again(DAY));
    let engine = world.engine().await;
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, 9 * DAY).await;
    let order = only_order(&engine, "www").await;
    assert_eq!(order.state, OrderState::AwaitingApproval);
    assert_eq!(engine.explain(&id("www")).await.unwrap().who_acts, Party::Approver);
    engine.decide(order.id, Decision::Approve).await.unwrap();
    world.work(&engine, 9 * DAY).await;
    assert_eq!(only_order(&engine, "www").await.stage, Some(Stage::Issued));
    assert_eq!(world.ca.orders_placed(), 1);
    assert_eq!(world.records_in_dns(), 0);
}

#[tokio::test]
async fn a_declined_order_ends_with_the_words_of_the_ca_and_cleans_up() {
    let world = World::with_ca(|ca| ca.approval(true).placement(certlife_core::ca::Placement::Paid));
    let engine = world.engine().await;
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, DAY).await;
    let order = only_order(&engine, "www").await.id;
    engine.decide(order, Decision::Decline).await.unwrap();
    world.work(&engine, 30 * DAY).await;
    let order = only_order(&engine, "www").await;
    assert_eq!(order.state, OrderState::Rejected);
    assert!(order.is_closed());
    assert_eq!(world.records_in_dns(), 0);
    assert_eq!(certificate(&engine, "www").await.status(world.clock.now()), CertificateStatus::Failing);
    assert_eq!(world.ca.orders_placed(), 1, "money is not spent again by itself");
    let late = engine.decide(order.id, Decision::Approve).await.unwrap_err();
    assert_eq!(late.kind().code(), "not_now");
}

#[tokio::test]
async fn a_cancelled_order_leaves_nothing_and_is_not_repeated() {
    let world = World::with_ca(|ca| ca.approval(true));
    let engine = world.engine().await;
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, DAY).await;
    let order = only_order(&engine, "www").await.id;
    engine.cancel(order).await.unwrap();
    world.work(&engine, 100 * DAY).await;
    assert_eq!(only_order(&engine, "www").await.state, OrderState::Cancelled);
    assert_eq!(world.records_in_dns(), 0);
}

#[tokio::test]
async fn a_paused_certificate_is_not_renewed_until_it_goes_on() {
    let world = World::new();
    let engine = world.engine().await;
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, DAY).await;
    let principal = engine.by("dave");
    principal.set_paused(&id("www"), true, Some("the shop is closed")).await.unwrap();
    world.work(&engine, 80 * DAY).await;
    assert_eq!(engine.versions(&id("www"), None).await.unwrap().items.len(), 1);
    principal.set_paused(&id("www"), false, None).await.unwrap();
    world.work(&engine, DAY).await;
    assert_eq!(engine.versions(&id("www"), None).await.unwrap().items.len(), 2);
}
