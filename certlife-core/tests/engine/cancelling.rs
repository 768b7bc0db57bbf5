//! Orders that are given up while it is not known whether the CA has them.

use std::time::Duration;

use certlife_core::{
    Clock as _, Operation,
    ca::{Placement, Stage},
    model::OrderState,
};
use certlife_testkit::{
    ca::{Fault, MemoryCaBuilder},
    crash::CrashPlan,
};

use crate::world::{DAY, World, only_order, spec};

fn paid(ca: MemoryCaBuilder) -> MemoryCaBuilder {
    ca.placement(Placement::Paid).polls_to_issue(1_000)
}

#[tokio::test]
async fn an_order_that_the_ca_never_heard_of_ends_at_once() {
    let world = World::with_ca(paid);
    let engine = world.engine().await;
    let now = world.clock.now();
    world.ca.down_between(now, now + 30 * DAY);
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, DAY).await;
    let order = only_order(&engine, "www").await;
    assert!(order.intent.is_some() && order.attempts > 3, "{order:#?}");
    assert_eq!(order.state, OrderState::Drafted);

    engine.cancel(order.id).await.unwrap();
    engine.pass().await.unwrap();
    assert_eq!(only_order(&engine, "www").await.state, OrderState::Cancelled);
    world.work(&engine, 60 * DAY).await;
    assert_eq!((world.ca.ledger(), world.ca.requests()), (Vec::new(), 0));
}

#[tokio::test]
async fn an_order_that_waited_for_the_ca_is_placed_once_with_the_first_key() {
    let world = World::with_ca(|ca| ca.placement(Placement::Paid));
    let engine = world.engine().await;
    let now = world.clock.now();
    world.ca.down_between(now, now + DAY);
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, Duration::from_hours(2)).await;
    let waiting = only_order(&engine, "www").await;
    world.work(&engine, 2 * DAY).await;
    let order = only_order(&engine, "www").await;
    assert_eq!((order.state, order.key, order.intent), (OrderState::Issued, waiting.key, waiting.intent));
    assert_eq!(world.ca.orders_placed(), 1);
    assert_eq!(world.ca.requests_for(Operation::FindOrder), 0, "what never arrived need not be looked for");
}

#[tokio::test]
async fn an_order_whose_answer_was_lost_is_looked_for_and_cancelled_there() {
    let world = World::with_ca(paid);
    let engine = world.engine().await;
    world.ca.inject(Some(Operation::PlaceOrder), Fault::LoseAnswer);
    for _ in 0..3 {
        world.ca.inject(Some(Operation::FindOrder), Fault::Fail);
    }
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    engine.pass().await.unwrap();
    let order = only_order(&engine, "www").await;
    assert_eq!(order.state, OrderState::Placing);
    engine.cancel(order.id).await.unwrap();
    engine.pass().await.unwrap();
    assert_eq!(only_order(&engine, "www").await.state, OrderState::Placing, "the CA cannot be asked yet");
    world.work(&engine, DAY).await;
    assert_eq!(only_order(&engine, "www").await.state, OrderState::Cancelled);
    let stages: Vec<_> = world.ca.ledger().iter().map(|line| line.stage).collect();
    assert_eq!(stages, [Stage::Cancelled]);
}

#[tokio::test]
async fn an_order_that_the_ca_cannot_tell_is_not_given_up_unseen() {
    let world = World::with_ca(|ca| paid(ca).findable(false));
    let engine = world.engine().await;
    world.ca.inject(Some(Operation::PlaceOrder), Fault::LoseAnswer);
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    engine.pass().await.unwrap();
    let order = only_order(&engine, "www").await.id;
    engine.cancel(order).await.unwrap();
    world.work(&engine, DAY).await;
    assert_eq!(only_order(&engine, "www").await.state, OrderState::InDoubt);
    engine.cancel(order).await.unwrap();
    world.work(&engine, DAY).await;
    assert_eq!(only_order(&engine, "www").await.state, OrderState::Cancelled);
}

#[tokio::test]
async fn whatever_the_point_of_a_crash_nothing_that_was_given_up_stays_open_at_the_ca() {
    let (mut at, mut placed) = (1, 0);
    loop {
        let world = World::with_ca(paid);
        let plan = CrashPlan::freeze_at(at);
        let work = async {
            let engine = world.builder(&plan).build().await.unwrap();
            engine.ensure(spec("www", &["example.com"])).await.unwrap();
            world.work(&engine, Duration::from_mins(1)).await;
        };
        let crashed = plan.interrupts(work).await;
        world.clock.advance(Duration::from_mins(2));
        let engine = world.engine().await;
        engine.ensure(spec("www", &["example.com"])).await.unwrap();
        let order = only_order(&engine, "www").await.id;
        engine.cancel(order).await.unwrap();
        world.work(&engine, 60 * DAY).await;
        let order = only_order(&engine, "www").await;
        assert_eq!((order.state, order.is_closed()), (OrderState::Cancelled, true), "point {at}: {order:#?}");
        let ledger = world.ca.ledger();
        assert!(ledger.iter().all(|line| line.stage == Stage::Cancelled), "point {at}: {ledger:#?}");
        assert_eq!(world.records_in_dns(), 0, "point {at}");
        placed += ledger.len();
        if !crashed {
            break;
        }
        at += 1;
    }
    assert!(at > 12 && placed > 3 && placed < at, "{at} points, {placed} orders");
}
