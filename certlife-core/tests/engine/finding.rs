//! Orders whose answer was lost, at a CA that shows them late.

use std::time::Duration;

use certlife_core::{Clock as _, Operation, ca::Placement, model::OrderState};
use certlife_testkit::{
    ca::{Fault, MemoryCaBuilder},
    crash::CrashPlan,
};

use crate::world::{DAY, World, only_order, spec};

const LATE: Duration = Duration::from_mins(10);

fn late(ca: MemoryCaBuilder) -> MemoryCaBuilder {
    ca.placement(Placement::Paid).settles_in(LATE)
}

#[tokio::test]
async fn an_order_that_does_not_show_yet_is_looked_for_again_and_not_placed_twice() {
    let world = World::with_ca(late);
    let engine = world.engine().await;
    world.ca.inject(Some(Operation::PlaceOrder), Fault::LoseAnswer);
    let start = world.clock.now();
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    world.work(&engine, Duration::from_mins(5)).await;
    assert_eq!(only_order(&engine, "www").await.state, OrderState::Placing);
    assert_eq!(world.ca.requests_for(Operation::FindOrder), 1, "once at once, then when it has had its time");
    world.work(&engine, DAY).await;
    assert_eq!(only_order(&engine, "www").await.state, OrderState::Issued);
    assert_eq!((world.ca.orders_placed(), world.ca.requests_for(Operation::FindOrder)), (1, 2));
    assert!(world.clock.now().since(start) >= LATE);
}

#[tokio::test]
async fn whatever_the_point_of_a_crash_an_order_that_shows_late_is_paid_once() {
    let mut at = 1;
    loop {
        let world = World::with_ca(late);
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
        world.work(&engine, DAY).await;
        assert_eq!(only_order(&engine, "www").await.state, OrderState::Issued, "point {at}");
        assert_eq!(world.ca.orders_placed(), 1, "point {at}: {:?}", world.ca.ledger());
        if !crashed {
            break;
        }
        at += 1;
    }
    assert!(at > 20, "only {at} points were tried");
}
