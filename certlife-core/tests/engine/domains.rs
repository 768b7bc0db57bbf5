//! Domains validated apart from orders: published by the engine, kept valid, and nothing left behind.

use std::time::Duration;

use certlife_core::{
    AccountName, DnsProvider as _, Engine, Identifier, Operation,
    challenge::{ChallengeKind, ChallengeResponse},
    dns::DnsRecord,
    model::{DomainState, EventKind, ManagedDomain, OrderState, PublicationState, Route},
};
use certlife_testkit::{ca::Fault, crash::CrashPlan};

use crate::world::{DAY, World, events, only_order, spec};

fn world() -> World {
    World::with_ca(|ca| ca.order_desk(true).ask_again(Duration::from_mins(1)))
}

fn ca() -> AccountName {
    "ca".parse().unwrap()
}

fn name() -> Identifier {
    "example.com".parse().unwrap()
}

fn dns() -> Route {
    Route::Dns("dns".parse().unwrap())
}

async fn domain(engine: &Engine) -> ManagedDomain {
    engine.managed_domain(&ca(), &name()).await.unwrap()
}

/// Whether nothing is published that nobody proves anything with.
fn tidy(world: &World) -> bool {
    world.records_in_dns() == 0 && world.target.responses().is_empty()
}

#[tokio::test]
async fn a_domain_is_proven_by_record_and_by_file_and_nothing_stays() {
    for route in [dns(), Route::Http("web".parse().unwrap())] {
        let world = world();
        let engine = world.engine().await;
        engine.by("erin").prove_domain(&ca(), &name(), route, false).await.unwrap();
        world.work(&engine, DAY).await;
        let proven = domain(&engine).await;
        assert_eq!(proven.state, DomainState::Valid, "{proven:#?}");
        assert!(proven.valid_until.is_some() && !proven.has_leftovers() && tidy(&world));
        let told = events(&engine).await;
        let told: Vec<_> = told.iter().map(|event| event.occurrence.kind.to_string()).collect();
        for words in ["asked to validate", "challenge response in place", "is validated at ca", "gone for"] {
            assert!(told.iter().any(|line| line.contains(words)), "{words}: {told:#?}");
        }
        engine.forget_domain(&ca(), &name()).await.unwrap();
        assert!(engine.managed_domains(None).await.unwrap().items.is_empty());
    }
}

#[tokio::test]
async fn one_that_is_kept_is_proven_anew_when_it_lapses_and_others_are_not() {
    for keep in [true, false] {
        let world = world();
        let engine = world.engine().await;
        engine.prove_domain(&ca(), &name(), dns(), keep).await.unwrap();
        world.work(&engine, DAY).await;
        let first = domain(&engine).await.valid_until.unwrap();
        let asked = world.ca.requests_for(Operation::ValidateDomain);
        world.work(&engine, 420 * DAY).await;
        let later = domain(&engine).await;
        let asked = world.ca.requests_for(Operation::ValidateDomain) - asked;
        if keep {
            assert!(later.state == DomainState::Valid && later.valid_until.unwrap() > first, "{later:#?}");
            assert!((3..30).contains(&asked), "{asked} questions in more than a year");
        } else {
            assert_eq!((later.valid_until, asked), (Some(first), 0));
        }
        assert!(tidy(&world));
    }
}

#[tokio::test]
async fn a_ca_that_is_away_or_refuses_is_told_and_leaves_nothing() {
    let world = world();
    let engine = world.engine().await;
    for fault in [Fault::Fail, Fault::LoseAnswer, Fault::Throttle(Some(Duration::from_hours(1)))] {
        world.ca.inject(Some(Operation::ValidateDomain), fault);
    }
    engine.prove_domain(&ca(), &name(), dns(), false).await.unwrap();
    engine.pass().await.unwrap();
    assert!(domain(&engine).await.failure.is_some());
    world.work(&engine, DAY).await;
    assert_eq!(domain(&engine).await.state, DomainState::Valid);

    // A record that is never seen.
    let world = self::world();
    let engine = world.engine().await;
    world.dns.lag(0, 1_000 * DAY);
    engine.prove_domain(&ca(), &name(), dns(), false).await.unwrap();
    world.work(&engine, DAY).await;
    let failed = domain(&engine).await;
    assert_eq!((failed.state, tidy(&world)), (DomainState::Failed, true), "{failed:#?}");
    world.dns.lag(0, Duration::ZERO);
    engine.prove_domain(&ca(), &name(), dns(), false).await.unwrap();
    world.work(&engine, DAY).await;
    assert_eq!(domain(&engine).await.state, DomainState::Valid, "asked again, it begins anew");
}

#[tokio::test]
async fn what_a_person_publishes_is_looked_at_and_another_route_takes_over() {
    let world = world();
    let engine = world.engine().await;
    engine.prove_domain(&ca(), &name(), Route::Manual(ChallengeKind::DnsTxt), false).await.unwrap();
    world.work(&engine, Duration::from_hours(1)).await;
    let waiting = domain(&engine).await;
    assert!(waiting.waits_for_person(), "{waiting:#?}");
    assert_eq!(engine.forget_domain(&ca(), &name()).await.unwrap_err().kind().code(), "not_now");
    let ChallengeResponse::DnsTxt { name: owner, value } = &waiting.publications[0].response else {
        panic!("{waiting:#?}")
    };
    let added = world.account.add(&DnsRecord::txt(owner.clone(), value.clone())).await.unwrap();
    engine.verify_domain(&ca(), &name()).await.unwrap();
    world.work(&engine, Duration::from_hours(1)).await;
    assert_eq!(domain(&engine).await.state, DomainState::Valid);
    assert_eq!(world.records_in_dns(), 1, "what a person placed, a person removes");
    world.account.remove(&added.handle).await.unwrap();

    let world = self::world();
    let engine = world.engine().await;
    for route in [Route::Manual(ChallengeKind::DnsTxt), dns()] {
        engine.prove_domain(&ca(), &name(), route, false).await.unwrap();
        world.work(&engine, Duration::from_hours(1)).await;
    }
    assert_eq!((domain(&engine).await.state, tidy(&world)), (DomainState::Valid, true));
}

#[tokio::test]
async fn one_that_is_given_up_takes_back_what_it_published() {
    let world = world();
    let engine = world.engine().await;
    world.dns.lag(0, 1_000 * DAY);
    engine.prove_domain(&ca(), &name(), dns(), true).await.unwrap();
    world.work(&engine, Duration::from_secs(30)).await;
    assert_eq!(domain(&engine).await.publications[0].state, PublicationState::Placed);
    assert_eq!(world.records_in_dns(), 1);
    engine.cancel_domain(&ca(), &name()).await.unwrap();
    world.work(&engine, 30 * DAY).await;
    let over = domain(&engine).await;
    assert_eq!((over.state, tidy(&world)), (DomainState::Cancelled, true), "{over:#?}");
    let told = events(&engine).await;
    assert!(told.iter().any(|event| matches!(event.occurrence.kind, EventKind::DomainEnded { .. })));
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_anything_is_stored() {
    let world = world();
    let engine = world.engine().await;
    let wildcard: Identifier = "*.example.com".parse().unwrap();
    let web = Route::Http("web".parse().unwrap());
    for (account, domain, route, code) in [
        ("nobody", name(), dns(), "unknown_account"),
        ("ca", name(), Route::Dns("nobody".parse().unwrap()), "unknown_account"),
        ("ca", wildcard, web, "no_validation"),
        ("ca", name(), Route::Email("admin@example.com".into()), "no_validation"),
    ] {
        let account = account.parse().unwrap();
        let refused = engine.prove_domain(&account, &domain, route, false).await.unwrap_err();
        assert_eq!(refused.kind().code(), code, "{refused}");
    }
    assert!(engine.managed_domains(None).await.unwrap().items.is_empty());
    let plain = World::new();
    let refused = plain.engine().await.prove_domain(&ca(), &name(), dns(), false).await.unwrap_err();
    assert_eq!(refused.kind().code(), "unsupported");
}

#[tokio::test]
async fn an_order_and_a_domain_do_not_take_each_others_records_away() {
    let world = world();
    let engine = world.engine().await;
    engine.ensure(spec("www", &["example.com"])).await.unwrap();
    engine.prove_domain(&ca(), &name(), dns(), false).await.unwrap();
    world.work(&engine, DAY).await;
    assert_eq!(only_order(&engine, "www").await.state, OrderState::Issued);
    assert_eq!((domain(&engine).await.state, tidy(&world)), (DomainState::Valid, true));
}

#[tokio::test]
async fn whatever_the_point_of_a_crash_the_domain_is_proven_and_nothing_is_left() {
    for route in [dns(), Route::Http("web".parse().unwrap())] {
        let mut at = 1;
        loop {
            let world = world();
            let plan = CrashPlan::freeze_at(at);
            let work = async {
                let engine = world.builder(&plan).build().await.unwrap();
                engine.prove_domain(&ca(), &name(), route.clone(), false).await.unwrap();
                world.work(&engine, DAY).await;
            };
            let crashed = plan.interrupts(work).await;
            world.clock.advance(Duration::from_mins(2));
            let engine = world.engine().await;
            if engine.managed_domain(&ca(), &name()).await.is_err() {
                engine.prove_domain(&ca(), &name(), route.clone(), false).await.unwrap();
            }
            world.work(&engine, DAY).await;
            let proven = domain(&engine).await;
            assert_eq!(proven.state, DomainState::Valid, "point {at}: {proven:#?}");
            assert!(!proven.has_leftovers() && tidy(&world), "point {at}: {proven:#?}");
            if !crashed {
                break;
            }
            at += 1;
        }
        assert!(at > 12, "only {at} points were tried");
    }
}
