//! Policies of CA accounts: what the certificate says comes first, then the account, then the default.

use std::time::Duration;

use certlife_core::{
    Clock as _, Engine, KeyAlgorithm,
    ca::{Contact, ContactRole, ImportFilter},
    engine::{Hindrance, RenewalOutlook},
    model::{
        AccountPolicy, CertificateSpec, DecidedBy, EventKind, RenewBefore, RenewalPolicy, RenewalTrigger,
        Route, RouteReason, Selection,
    },
    store::{Kind, Query, Store as _},
};
use certlife_testkit::crash::CrashPlan;

use crate::world::{DAY, World, certificate, id, only_order, spec};

async fn set(engine: &Engine, policy: AccountPolicy) {
    engine.set_account_policy(&"ca".parse().unwrap(), policy).await.unwrap();
}

async fn outlook(engine: &Engine, name: &str) -> RenewalOutlook {
    let all = engine.renewal_outlook(None).await.unwrap().items;
    all.into_iter().find(|one| one.certificate == id(name)).unwrap()
}

async fn versions(engine: &Engine, name: &str) -> usize {
    engine.versions(&id(name), None).await.unwrap().items.len()
}

#[tokio::test]
async fn an_account_that_is_switched_off_and_on_again_reaches_what_exists() {
    let world = World::new();
    let engine = world.engine().await;
    let stated = RenewalPolicy { automatic: Some(true), ..RenewalPolicy::default() };
    engine.ensure(spec("silent", &["a.example.com"])).await.unwrap();
    engine.ensure(spec("stated", &["b.example.com"]).renewal(stated)).await.unwrap();
    world.work(&engine, DAY).await;
    set(&engine, AccountPolicy { automatic: Some(false), ..AccountPolicy::default() }).await;
    world.work(&engine, 70 * DAY).await;
    assert_eq!((versions(&engine, "silent").await, versions(&engine, "stated").await), (1, 2));
    let told = outlook(&engine, "silent").await;
    assert_eq!((told.automatic, told.hindrance), ((false, DecidedBy::Account), Some(Hindrance::Off)));
    let told = outlook(&engine, "stated").await;
    assert_eq!((told.automatic, told.hindrance), ((true, DecidedBy::Certificate), None));
    let explanation = engine.explain(&id("silent")).await.unwrap();
    let why = "the settings of its CA account say so";
    assert!(explanation.sentences.iter().any(|sentence| sentence.contains(why)), "{explanation:#?}");

    set(&engine, AccountPolicy { automatic: Some(true), ..AccountPolicy::default() }).await;
    world.work(&engine, DAY).await;
    assert_eq!(versions(&engine, "silent").await, 2);
    let renewals = engine.renewals(Some(&id("silent")), None).await.unwrap().items;
    assert_eq!(
        (renewals[0].trigger, renewals[0].decided_by),
        (Some(RenewalTrigger::Policy), Some(DecidedBy::Account))
    );
    let changes = engine.events_after(0, 1_000).await.unwrap();
    let changes = changes
        .iter()
        .filter(|event| matches!(event.occurrence.kind, EventKind::AccountPolicyChanged { .. }));
    assert_eq!(changes.count(), 2);
}

#[tokio::test]
async fn the_account_says_when_and_the_certificate_may_say_otherwise() {
    let world = World::new();
    let engine = world.engine().await;
    set(&engine, AccountPolicy { before: Some(RenewBefore::Days(10)), ..AccountPolicy::default() }).await;
    let own = RenewalPolicy { before: Some(RenewBefore::Days(40)), ..RenewalPolicy::default() };
    engine.ensure(spec("silent", &["a.example.com"])).await.unwrap();
    engine.ensure(spec("own", &["b.example.com"]).renewal(own)).await.unwrap();
    world.work(&engine, 52 * DAY).await;
    assert_eq!((versions(&engine, "silent").await, versions(&engine, "own").await), (1, 2));
    let told = outlook(&engine, "silent").await;
    assert_eq!(told.before, (RenewBefore::Days(10), DecidedBy::Account));
    let lead = told.not_after.since(told.schedule.unwrap().at);
    assert!((10 * DAY..12 * DAY).contains(&lead), "{lead:?}");
}

#[tokio::test]
async fn orders_take_route_key_and_contacts_from_the_account() {
    let world = World::new();
    let engine = world.engine().await;
    let contact = Contact {
        role: ContactRole::Technical,
        email: "pki@example.com".into(),
        first_name: "Mira".into(),
        last_name: "Okafor".into(),
        title: String::new(),
        phone: String::new(),
    };
    let policy = AccountPolicy {
        route: Some(Route::Dns("dns".parse().unwrap())),
        key_algorithm: Some(KeyAlgorithm::EcdsaP384),
        contacts: vec![contact.clone()],
        ..AccountPolicy::default()
    };
    set(&engine, policy).await;
    let silent =
        CertificateSpec::new(id("www"), "ca".parse().unwrap()).identifiers(["example.com".parse().unwrap()]);
    engine.ensure(silent).await.unwrap();
    world.work(&engine, DAY).await;
    let order = only_order(&engine, "www").await;
    assert_eq!(order.publications[0].because, RouteReason::AccountDefault);
    let request = order.intent.unwrap().request;
    assert_eq!((request.key_algorithm, request.contacts), (Some(KeyAlgorithm::EcdsaP384), vec![contact]));
}

#[tokio::test]
async fn imported_certificates_are_renewed_only_if_the_account_says_so() {
    let world = World::with_ca(|ca| ca.challenges([]));
    let engine = world.engine().await;
    for (name, imported) in [("first", false), ("second", true)] {
        set(&engine, AccountPolicy { imported, ..AccountPolicy::default() }).await;
        engine.ensure(spec(name, &[&format!("{name}.example.com")])).await.unwrap();
        world.work(&engine, DAY).await;
        engine.delete(&id(name)).await.unwrap();
        engine.import(&"ca".parse().unwrap(), &ImportFilter::default()).await.unwrap();
    }
    let mut told = Vec::new();
    for certificate in engine.certificates(None).await.unwrap().items {
        told.push((certificate.spec.identifiers[0].to_string(), certificate.spec.renewal.automatic));
    }
    told.sort();
    assert_eq!(
        told,
        [("first.example.com".to_owned(), Some(false)), ("second.example.com".to_owned(), None)]
    );
    world.work(&engine, 80 * DAY).await;
    assert_eq!(world.ca.orders_placed(), 3, "the second one alone was renewed");
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let world = World::new();
    let engine = world.engine().await;
    let open = AccountPolicy::default;
    for (account, policy, code) in [
        ("nobody", open(), "unknown_account"),
        ("ca", AccountPolicy { before: Some(RenewBefore::Percent(95)), ..open() }, "bad_value"),
        ("ca", AccountPolicy { before: Some(RenewBefore::Days(0)), ..open() }, "bad_value"),
        ("ca", AccountPolicy { route: Some(Route::Dns("x".parse().unwrap())), ..open() }, "unknown_account"),
    ] {
        let refused = engine.set_account_policy(&account.parse().unwrap(), policy).await.unwrap_err();
        assert_eq!(refused.kind().code(), code, "{refused}");
    }
    assert_eq!(engine.account_policy(&"ca".parse().unwrap()).await.unwrap(), open());
}

/// A change reaches more certificates than fit on a page, whatever the point of a crash.
#[tokio::test]
async fn a_crash_while_a_change_is_applied_leaves_nobody_out() {
    const CERTIFICATES: usize = 230;
    let mut at = 1;
    loop {
        let world = World::with_ca(|ca| ca.challenges([]));
        let engine = world.engine().await;
        for number in 0..CERTIFICATES {
            let mut wish = spec(&format!("n{number:03}"), &[&format!("n{number}.example.com")]);
            wish.deploy.clear();
            wish.key.algorithm = Some(KeyAlgorithm::EcdsaP256);
            engine.ensure(wish).await.unwrap();
        }
        world.work(&engine, Duration::from_hours(1)).await;
        drop(engine);
        let policy = AccountPolicy {
            only: Selection::AllBut([id("n007")].into()),
            before: Some(RenewBefore::Days(5)),
            ..AccountPolicy::default()
        };
        let plan = CrashPlan::freeze_at(at);
        let work = async {
            let engine = world.builder(&plan).build().await.unwrap();
            set(&engine, policy.clone()).await;
            engine.pass().await.unwrap();
        };
        let crashed = plan.interrupts(work).await;
        world.clock.advance(Duration::from_mins(2));
        let engine = world.engine().await;
        set(&engine, policy).await;
        engine.pass().await.unwrap();
        let now = world.clock.now();
        let mut page = None;
        loop {
            let certificates = world.store.list(&Query::all(Kind::Certificate).after(page)).await.unwrap();
            for record in certificates.items {
                let schedule = certificate(&engine, &record.key.id).await.schedule.unwrap();
                assert!(schedule.at > now + 80 * DAY, "point {at}: {} {schedule:?}", record.key);
            }
            page = certificates.next;
            if page.is_none() {
                break;
            }
        }
        assert_eq!(outlook_of(&engine, "n007").await, Some(Hindrance::Off), "point {at}");
        if !crashed {
            break;
        }
        at += 1;
    }
    assert!(at > 6, "only {at} points were tried");
}

async fn outlook_of(engine: &Engine, name: &str) -> Option<Hindrance> {
    let mut page = None;
    loop {
        let listed = engine.renewal_outlook(page).await.unwrap();
        if let Some(found) = listed.items.iter().find(|one| one.certificate == id(name)) {
            return found.hindrance;
        }
        page = Some(listed.next.expect("it is listed"));
    }
}
