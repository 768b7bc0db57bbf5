//! With the engine around it: days of waiting, every order once, a crash at every point, and proofs that are looked at.

use std::time::Duration;

use certlife_core::{
    Engine, EngineBuilder, RevocationReason,
    ca::{
        ImportFilter,
        PurposeKind::{self, New, Reissue, Renewal},
    },
    challenge::ChallengeResponse,
    model::{CertificateSpec, OrderState, PublicationState, Route},
};
use certlife_testkit::crash::CrashPlan;
use serde_json::json;

use super::{super::Settings, *};
use crate::testing::{DAY, Host, Outside, newest_order, www};

const HOUR: Duration = Duration::from_hours(1);
/// A product of Sectigo, and one of DigiCert.
const MULTI: &str = "positivemdcssl";
const FLEX: &str = "digi_ssl_dv_geotrust_flex";
const NAMES: [&str; 2] = ["www.northwind.example", "shop.northwind.example"];

/// A host with one account, and what lies around it, into which the CA looks.
struct House {
    desk: Desk,
    host: Host,
    outside: Outside,
}

impl House {
    async fn new() -> Self {
        let desk = Desk::start().await;
        let outside = Outside::new(&desk.clock, "northwind.example");
        let house = Self { host: Host::new("sslstore", &desk.clock), outside, desk };
        house.open_eyes();
        house
    }

    /// From now on the CA sees what is out there.
    fn open_eyes(&self) {
        let outside = self.outside.clone();
        self.desk.fake.world().eyes = Some(Arc::new(move |line| sees(&outside, line)));
    }

    fn builder(&self, plan: &Arc<CrashPlan>) -> EngineBuilder {
        let settings = json!({
            "partner_code": PARTNER, "auth_token": TOKEN, "base_url": self.desk.fake.base_url(),
            "administrator": {
                "first_name": "Ada", "last_name": "Lind", "phone": "4612345678", "email": "pki@northwind.example",
            },
            "organization": {
                "name": "Northwind AB", "phone": "4612345678",
                "address": { "line_1": "Kaj 1", "region": "Skåne", "postal_code": "22100", "country": "SE" },
            },
            "http": { "bundled_roots": "always" }, "page_size": 2,
        });
        let settings: Settings = serde_json::from_value(settings).unwrap();
        let builder = self
            .host
            .builder(plan, |context| SslStore::from_settings(settings, context.clock.clone()).unwrap());
        self.outside.added_to(builder, plan)
    }

    async fn engine(&self) -> Engine {
        self.builder(&CrashPlan::never()).build().await.unwrap()
    }

    /// The documents are looked at, and found good.
    fn vet(&self) {
        for order in &mut self.desk.fake.world().orders {
            order.vetting = order.vetting.map(|_| true);
        }
    }

    /// How many orders and reissues the vendor has booked, and how many of them cost money.
    fn booked(&self) -> (usize, usize) {
        let world = self.desk.fake.world();
        (world.ledger.len(), world.ledger.iter().filter(|line| line.2).count())
    }

    /// The newest order is issued, so much is booked, and nothing is left behind.
    async fn assert_ended(&self, engine: &Engine, purpose: PurposeKind, booked: (usize, usize), when: &str) {
        let order = newest_order(engine).await;
        assert_eq!((order.state, order.purpose), (OrderState::Issued, purpose), "{when}: {order:#?}");
        assert_eq!((self.booked(), self.published()), (booked, [0, 0]), "{when}");
    }

    /// How many records and files are published.
    fn published(&self) -> [usize; 2] {
        [self.outside.dns.all_records().len(), self.outside.web.responses().len()]
    }
}

/// Whether a CA that looks finds this, which is written as the fake writes it.
fn sees(outside: &Outside, line: &str) -> bool {
    let (what, rest) = line.split_once(' ').unwrap();
    match (what, rest.split_once(' ')) {
        ("CNAME", Some((name, target))) => outside.has_cname(name, target),
        ("TXT", Some((name, value))) => outside.has_txt(name, value),
        ("mail", _) => false,
        _ => outside.serves(what, rest),
    }
}

fn spec(product: &str, names: &[&str], route: Route) -> CertificateSpec {
    CertificateSpec::new(www(), "sslstore".parse().unwrap())
        .identifiers(names.iter().map(|text| name(text)))
        .product(product)
        .validate(route)
}

fn by_dns() -> Route {
    Route::Dns("dns".parse().unwrap())
}

fn by_file() -> Route {
    Route::Http("web".parse().unwrap())
}

#[tokio::test]
async fn an_order_waits_nine_days_for_its_documents_and_lives_on() {
    let house = House::new().await;
    let (engine, account) = (house.engine().await, house.host.account.clone());
    engine.refresh_catalog(&account).await.unwrap();
    engine.ensure(spec("sectigomdc", &NAMES, by_dns())).await.unwrap();
    house.desk.calls();
    house.host.work(&engine, 9 * DAY).await;
    let order = newest_order(&engine).await;
    assert_eq!(order.state, OrderState::Processing, "{order:#?}");
    let message = order.message.unwrap();
    assert!(message.as_str().contains("Organization: in progress"), "{message}");
    let calls = house.desk.calls();
    assert!(calls.len() < 80, "{} calls in nine days: {calls:?}", calls.len());

    house.vet();
    house.host.work(&engine, DAY).await;
    let purposes = async || {
        let versions = engine.versions(&www(), None).await.unwrap().items;
        versions.into_iter().rev().map(|version| version.purpose).collect::<Vec<_>>()
    };
    assert_eq!((purposes().await, house.booked(), house.published()), (vec![New], (1, 1), [0, 0]));

    // The certificate lasts 199 days and the term a year: what comes next is in it, and what follows is not.
    house.host.work(&engine, 150 * DAY).await;
    assert_eq!((purposes().await, house.booked()), (vec![New, Reissue], (2, 1)));
    house.host.work(&engine, 150 * DAY).await;
    assert_eq!(newest_order(&engine).await.state, OrderState::Processing);
    assert_eq!(house.desk.body("order/neworder")["RelatedTheSSLStoreOrderID"], "7000001");
    house.vet();
    house.host.work(&engine, DAY).await;
    assert_eq!((purposes().await, house.booked()), (vec![New, Reissue, Renewal], (3, 2)));

    engine.reissue(&www(), Some("the key was replaced")).await.unwrap();
    house.host.work(&engine, DAY).await;
    assert_eq!((purposes().await, house.booked()), (vec![New, Reissue, Renewal, Reissue], (4, 2)));
    let reason = newest_order(&engine).await.reason.unwrap();
    assert_eq!(reason.as_str(), "the key was replaced");
    assert_eq!(house.desk.body("order/reissue")["TheSSLStoreOrderID"], "7000002");

    let report = engine.import(&account, &ImportFilter::default()).await.unwrap();
    assert_eq!((report.listed, report.known, report.imported), (2, 2, 0));
    let current = engine.certificate(&www()).await.unwrap().current.unwrap();
    engine.revoke(current, RevocationReason::Superseded, None, false).await.unwrap();
    house.host.work(&engine, DAY).await;
    assert_eq!(house.desk.fake.world().order("7000002").minor, "REVOKED");
    assert_eq!(house.desk.body("order/certificaterevokerequest")["RevokeReason"], "Superseded");
    // The vendor hands out no certificate that is revoked.
    let report = engine.import(&account, &ImportFilter::default()).await.unwrap();
    assert_eq!((report.listed, report.known, report.without_certificate, report.imported), (2, 1, 1, 0));
    assert_eq!(house.published(), [0, 0]);
}

#[tokio::test]
async fn what_was_deleted_here_comes_back_by_import_and_is_not_reissued() {
    let house = House::new().await;
    let (engine, account) = (house.engine().await, house.host.account.clone());
    engine.ensure(spec(MULTI, &NAMES, by_dns())).await.unwrap();
    house.host.work(&engine, DAY).await;
    let report = engine.import(&account, &ImportFilter::default()).await.unwrap();
    assert_eq!((report.listed, report.known, report.imported), (1, 1, 0));
    engine.delete(&www()).await.unwrap();
    let report = engine.import(&account, &ImportFilter::default()).await.unwrap();
    assert_eq!((report.listed, report.known, report.imported), (1, 0, 1));

    let imported = engine.certificates(None).await.unwrap().items.remove(0);
    assert_eq!(imported.spec.product.as_deref(), Some(MULTI));
    let id = imported.spec.id;
    let refused = engine.reissue(&id, Some("the key was replaced")).await.unwrap_err();
    assert!(matches!(refused.kind(), certlife_core::ErrorKind::NotNow(_)), "{refused}");
    assert!(refused.to_string().contains("was not ordered from here; renew it instead"), "{refused}");
    house.host.work(&engine, 300 * DAY).await;
    assert_eq!(house.booked(), (1, 1), "nothing is ordered by itself for what was imported");
}

#[tokio::test]
async fn whatever_the_point_of_a_crash_one_order_is_paid() {
    for (product, route) in [(MULTI, by_dns()), (FLEX, by_file())] {
        let wish = || spec(product, &NAMES, route.clone());
        let mut at = 1;
        loop {
            let house = House::new().await;
            house.desk.fake.world().polls_to_issue = 3;
            let plan = CrashPlan::freeze_at(at);
            let work = async {
                let engine = house.builder(&plan).build().await.unwrap();
                engine.ensure(wish()).await.unwrap();
                house.host.work(&engine, DAY).await;
            };
            if !plan.interrupts(work).await {
                break;
            }
            house.desk.clock.advance(Duration::from_mins(2));
            let engine = house.engine().await;
            engine.ensure(wish()).await.unwrap();
            house.host.work(&engine, DAY).await;
            house.assert_ended(&engine, New, (1, 1), &format!("{product}, point {at}")).await;
            at += 1;
        }
        assert!(at > 20, "only {at} points were tried");
    }
}

#[tokio::test]
async fn whatever_the_point_of_a_crash_one_reissue_is_asked_for() {
    // Some orders take the reference of their reissue.
    for (product, route, renames) in
        [(MULTI, by_dns(), false), (MULTI, by_file(), true), (FLEX, by_file(), false)]
    {
        let mut at = 1;
        loop {
            let house = House::new().await;
            let engine = house.engine().await;
            engine.ensure(spec(product, &NAMES, route.clone())).await.unwrap();
            house.host.work(&engine, DAY).await;
            {
                let mut world = house.desk.fake.world();
                (world.polls_to_issue, world.reissue_renames) = (3, renames);
            }
            let plan = CrashPlan::freeze_at(at);
            let work = async {
                let engine = house.builder(&plan).build().await.unwrap();
                engine.reissue(&www(), None).await.unwrap();
                house.host.work(&engine, DAY).await;
            };
            if !plan.interrupts(work).await {
                break;
            }
            house.desk.clock.advance(Duration::from_mins(2));
            let engine = house.engine().await;
            if engine.orders(&www(), None).await.unwrap().items.len() == 1 {
                engine.reissue(&www(), None).await.unwrap();
            }
            house.host.work(&engine, DAY).await;
            house.assert_ended(&engine, Reissue, (2, 1), &format!("{product}, point {at}")).await;
            at += 1;
        }
        assert!(at > 20, "only {at} points were tried");
    }
}

#[tokio::test]
async fn an_outage_while_ordering_costs_time_and_no_second_order() {
    for (product, route) in [(MULTI, by_dns()), (FLEX, by_file())] {
        for fault in [Fault::Fail, Fault::LoseAnswer, Fault::Garble, Fault::Throttle(None)] {
            let house = House::new().await;
            // Nor can the order be looked for at once.
            let befall = |path: &str| {
                let paths = [path, "order/status", "order/query", "order/download", "csr/download"];
                house.desk.fake.world().faults = paths.map(|path| (path.to_owned(), fault)).into();
            };
            let struck = |path: &str| house.desk.fake.world().faults.iter().all(|(left, _)| left != path);
            let during = format!("{product}, {fault:?}");
            befall("order/neworder");
            let engine = house.engine().await;
            engine.ensure(spec(product, &NAMES, route.clone())).await.unwrap();
            house.host.work(&engine, DAY).await;
            house.assert_ended(&engine, New, (1, 1), &during).await;
            assert!(struck("order/neworder") && struck("order/status"), "{during}");

            befall("order/reissue");
            engine.reissue(&www(), None).await.unwrap();
            house.host.work(&engine, DAY).await;
            house.assert_ended(&engine, Reissue, (2, 1), &during).await;
            assert!(struck("order/reissue") && struck("order/status"), "{during}");
        }
    }
}

#[tokio::test]
async fn records_and_files_stay_until_the_ca_has_seen_them() {
    for (product, route, kind) in [
        (MULTI, by_dns(), ChallengeKind::DnsCname),
        (MULTI, by_file(), ChallengeKind::Http),
        (FLEX, by_dns(), ChallengeKind::DnsTxt),
        (FLEX, by_file(), ChallengeKind::Http),
    ] {
        let house = House::new().await;
        house.desk.fake.world().eyes = None;
        let engine = house.engine().await;
        engine.ensure(spec(product, &NAMES, route)).await.unwrap();
        house.host.work(&engine, HOUR).await;
        let order = newest_order(&engine).await;
        assert_eq!(order.state, OrderState::Validating, "{product}: {order:#?}");
        for publication in &order.publications {
            let shown = (publication.response.kind(), publication.state);
            assert_eq!(shown, (kind, PublicationState::Answered), "{product}");
        }
        let both = if kind == ChallengeKind::Http { [0, 2] } else { [2, 0] };
        assert_eq!(house.published(), both, "{product} by {kind}");

        house.open_eyes();
        house.host.work(&engine, HOUR).await;
        let order = newest_order(&engine).await;
        assert_eq!((order.state, house.published()), (OrderState::Issued, [0, 0]), "{product}: {order:#?}");
    }
}

#[tokio::test]
async fn a_name_is_proven_by_a_file_in_place_of_its_record() {
    let house = House::new().await;
    house.desk.fake.world().eyes = None;
    let engine = house.engine().await;
    engine.ensure(spec(MULTI, &NAMES, by_dns())).await.unwrap();
    house.host.work(&engine, HOUR).await;
    let order = newest_order(&engine).await.id;
    engine.revalidate(order, &name(NAMES[1]), by_file()).await.unwrap();
    house.host.work(&engine, HOUR).await;
    let order = newest_order(&engine).await;
    assert_eq!((order.state, house.published()), (OrderState::Validating, [1, 1]), "{order:#?}");
    house.open_eyes();
    house.host.work(&engine, HOUR).await;
    let order = newest_order(&engine).await;
    assert_eq!((order.state, house.published()), (OrderState::Issued, [0, 0]), "{order:#?}");
}

#[tokio::test]
async fn another_approver_is_asked_while_the_order_waits() {
    let house = House::new().await;
    let engine = house.engine().await;
    let (shop, old, new) = (name(NAMES[1]), "admin@northwind.example", "hostmaster@northwind.example");
    engine.ensure(spec("positivessl", &NAMES[1..], Route::Email(old.into()))).await.unwrap();
    house.host.work(&engine, HOUR).await;
    let order = newest_order(&engine).await;
    assert_eq!(order.state, OrderState::Validating, "{order:#?}");

    lose(&house.desk, "order/changeapproveremail");
    engine.revalidate(order.id, &shop, Route::Email(new.into())).await.unwrap();
    house.host.work(&engine, HOUR).await;
    assert!(newest_order(&engine).await.requests.is_empty());
    // The answer is lost, so the order is asked who has to confirm; the message is not sent twice.
    let calls = |path| house.desk.fake.world().calls(path);
    assert_eq!((calls("order/changeapproveremail"), calls("order/resend")), (1, 0));
    // Asked once more by a person, it is sent once more.
    engine.revalidate(order.id, &shop, Route::Email(new.into())).await.unwrap();
    house.host.work(&engine, HOUR).await;
    assert_eq!((calls("order/changeapproveremail"), calls("order/resend")), (1, 1));
    for (address, state) in [(old, OrderState::Validating), (new, OrderState::Issued)] {
        let confirmed = ChallengeResponse::Email { address: address.into() };
        assert!(house.desk.fake.world().show(&shop, &confirmed));
        house.host.work(&engine, HOUR).await;
        let order = newest_order(&engine).await;
        assert_eq!(order.state, state, "{address}: {order:#?}");
    }
    assert_eq!(house.booked(), (1, 1));
}

#[tokio::test]
async fn a_record_that_the_product_does_not_take_is_told_before_anything_is_sent() {
    let house = House::new().await;
    let engine = house.engine().await;
    engine.refresh_catalog(&house.host.account).await.unwrap();
    house.desk.calls();
    let by_hand = Route::Manual(ChallengeKind::DnsTxt);
    let refused = engine.ensure(spec("positivessl", &NAMES[1..], by_hand)).await.unwrap_err().to_string();
    assert!(refused.contains("dns-txt") && refused.contains("dns-cname, http, email"), "{refused}");
    assert!(house.desk.calls().is_empty());
    // An account that publishes records of both types is asked for the one that the product takes.
    engine.ensure(spec("positivessl", &NAMES[1..], by_dns())).await.unwrap();
    house.host.work(&engine, HOUR).await;
    let request = newest_order(&engine).await.intent.unwrap().request;
    assert_eq!(request.challenges[&name(NAMES[1])].kind, ChallengeKind::DnsCname);
}
