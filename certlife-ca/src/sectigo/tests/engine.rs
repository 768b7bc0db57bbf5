//! With the engine around it: nine days of waiting, every order once, a crash at every point, and proofs that Sectigo
//! really looks for.

use certlife_core::{
    Engine, EngineBuilder, RevocationReason,
    ca::{Decision, ImportFilter},
    dns::DnsRecord,
    model::{CertificateSpec, DomainState, OrderState, Route},
};
use certlife_testkit::crash::CrashPlan;

use super::*;
use crate::{
    sectigo::{Settings, fake::DomainRecord},
    testing::{self, DAY, Outside, newest_order, www},
};

/// A host with one account, and with DNS and a web server that it may change.
struct Host {
    fx: Fixture,
    base: testing::Host,
    outside: Outside,
}

impl Host {
    /// Domains validated apart from orders.
    async fn new() -> Self {
        Self::over(Fixture::start().await)
    }

    /// Domains validated with each order, by what can be seen.
    async fn with_order_validation() -> Self {
        Self::over(Fixture::with_order_validation().await)
    }

    fn over(fx: Fixture) -> Self {
        let (base, outside) = (testing::Host::new("sectigo", &fx.clock), Outside::new(&fx.clock, DOMAIN));
        let seen = outside.clone();
        fx.fake.world().eyes = Some(Arc::new(move |kind, place, value| seen.sees(kind, place, value)));
        Self { fx, base, outside }
    }

    fn builder(&self, plan: &Arc<CrashPlan>) -> EngineBuilder {
        let (uri, with_orders) = (self.fx.fake.server.uri(), !self.fx.fake.world().prevalidation);
        let mut settings = match self.fx.fake.world().scheme {
            Scheme::OAuth => json!({
                "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "token_url": format!("{uri}/token"),
            }),
            _ => json!({ "customer_uri": CUSTOMER, "login": LOGIN, "password": PASSWORD }),
        };
        settings["base_url"] = json!(uri);
        settings["order_validation"] = json!(with_orders);
        settings["http"] = json!({ "roots": self.fx.fake.world().issuer.root_pem(), "only_roots": true });
        let settings: Settings = serde_json::from_value(settings).unwrap();
        let builder = self
            .base
            .builder(plan, |context| Sectigo::from_settings(settings, context.clock.clone()).unwrap());
        self.outside.added_to(builder, plan)
    }

    async fn engine(&self) -> Engine {
        self.builder(&CrashPlan::never()).build().await.unwrap()
    }

    async fn work(&self, engine: &Engine, horizon: Duration) {
        self.base.work(engine, horizon).await;
    }

    /// What was paid for, and everything that was ordered.
    fn booked(&self) -> (usize, usize) {
        (self.fx.paid(), self.fx.fake.world().ledger.len())
    }

    fn is_tidy(&self) -> bool {
        self.outside.dns.all_records().is_empty() && self.outside.web.responses().is_empty()
    }
}

fn spec() -> CertificateSpec {
    let mut spec = CertificateSpec::new(www(), "sectigo".parse().unwrap())
        .identifiers(identifiers(&["www.suite.example", "shop.suite.example"]));
    spec.product = Some(PROFILE.to_string());
    spec.organization = Some(ORGANIZATION.to_string());
    spec.options = OrderOptions::default().comments("For the relaunch").into();
    spec
}

fn by_dns() -> CertificateSpec {
    spec().validate(Route::Dns("dns".parse().unwrap()))
}

#[tokio::test]
async fn an_order_waits_nine_days_for_its_approval_and_lives_on() {
    let host = Host::new().await;
    host.fx.fake.world().approval = true;
    let account = host.base.account.clone();
    let engine = host.engine().await;
    engine.refresh_catalog(&account).await.unwrap();
    engine.ensure(spec()).await.unwrap();
    host.fx.requests();
    host.work(&engine, 9 * DAY).await;
    let order = newest_order(&engine).await;
    assert_eq!(order.state, OrderState::AwaitingApproval, "{order:#?}");
    let requests = host.fx.requests().len();
    assert!(requests < 120, "{requests} requests in nine days");

    engine.decide(order.id, Decision::Approve).await.unwrap();
    host.work(&engine, Duration::from_mins(5)).await;
    let versions = async || engine.versions(&www(), None).await.unwrap().items;
    assert_eq!((versions().await.len(), host.booked()), (1, (1, 1)));
    let first = engine.certificate(&www()).await.unwrap().current.unwrap();

    // A third of 199 days before the end it is renewed, which is approved as well.
    host.work(&engine, 150 * DAY).await;
    let order = newest_order(&engine).await;
    assert_eq!(order.state, OrderState::AwaitingApproval, "{order:#?}");
    engine.decide(order.id, Decision::Approve).await.unwrap();
    host.work(&engine, DAY).await;
    assert_eq!((versions().await.len(), host.booked()), (2, (2, 2)));

    engine.reissue(&www(), Some("the key was replaced")).await.unwrap();
    host.work(&engine, DAY).await;
    assert_eq!((versions().await.len(), host.booked()), (3, (2, 3)));
    assert!(host.fx.fake.world().reasons.contains(&"the key was replaced".to_owned()));
    let import = async || {
        let report = engine.import(&account, &ImportFilter::default()).await.unwrap();
        (report.listed, report.known, report.imported, report.without_certificate)
    };
    assert_eq!(import().await, (2, 2, 0, 0), "a replaced certificate keeps its record");

    engine.revoke(first, RevocationReason::Superseded, None, false).await.unwrap();
    host.work(&engine, DAY).await;
    let statuses: Vec<_> =
        host.fx.fake.world().records.values().map(|record| record.status.clone()).collect();
    assert_eq!(statuses, ["Revoked", "Issued"]);
    assert_eq!(import().await, (2, 1, 0, 1), "a revoked certificate is not handed out");

    engine.delete(&www()).await.unwrap();
    assert_eq!(import().await, (2, 0, 1, 1));
    let taken_over = engine.certificates(None).await.unwrap().items.remove(0).spec.id;
    engine.renew(&taken_over).await.unwrap();
    host.work(&engine, DAY).await;
    let order = engine.orders(&taken_over, None).await.unwrap().items.remove(0);
    engine.decide(order.id, Decision::Approve).await.unwrap();
    host.work(&engine, DAY).await;
    let current = engine.certificate(&taken_over).await.unwrap().current.unwrap();
    assert_eq!(engine.version(current).await.unwrap().order, Some(order.id));
    assert_eq!((host.booked(), import().await), ((3, 4), (3, 2, 0, 1)));
}

#[tokio::test]
async fn whatever_the_point_of_a_crash_one_order_is_paid() {
    let mut at = 1;
    loop {
        let host = Host::new().await;
        host.fx.fake.world().polls = 3;
        let plan = CrashPlan::freeze_at(at);
        let work = async {
            let engine = host.builder(&plan).build().await.unwrap();
            engine.ensure(spec()).await.unwrap();
            host.work(&engine, Duration::from_hours(1)).await;
        };
        if !plan.interrupts(work).await {
            break;
        }
        host.fx.clock.advance(Duration::from_mins(2));
        let engine = host.engine().await;
        engine.ensure(spec()).await.unwrap();
        host.work(&engine, DAY).await;
        let order = newest_order(&engine).await;
        assert_eq!((order.state, host.booked()), (OrderState::Issued, (1, 1)), "point {at}: {order:#?}");
        at += 1;
    }
    assert!(at > 10, "only {at} points were tried");
}

#[tokio::test]
async fn whatever_the_point_of_a_crash_one_validated_order_is_paid_and_dns_is_tidy() {
    let mut at = 1;
    loop {
        let host = Host::with_order_validation().await;
        let plan = CrashPlan::freeze_at(at);
        let work = async {
            let engine = host.builder(&plan).build().await.unwrap();
            engine.ensure(by_dns()).await.unwrap();
            host.work(&engine, Duration::from_hours(1)).await;
        };
        if !plan.interrupts(work).await {
            break;
        }
        host.fx.clock.advance(Duration::from_mins(2));
        let engine = host.engine().await;
        engine.ensure(by_dns()).await.unwrap();
        host.work(&engine, DAY).await;
        let order = newest_order(&engine).await;
        assert_eq!((order.state, host.booked()), (OrderState::Issued, (1, 1)), "point {at}: {order:#?}");
        assert!(host.is_tidy(), "point {at}: {:?}", host.outside.dns);
        at += 1;
    }
    assert!(at > 20, "only {at} points were tried");
}

#[tokio::test]
async fn whatever_the_point_of_a_crash_one_renewal_is_paid() {
    let mut at = 1;
    loop {
        let host = Host::new().await;
        let engine = host.engine().await;
        engine.ensure(spec()).await.unwrap();
        host.work(&engine, DAY).await;
        drop(engine);
        let plan = CrashPlan::freeze_at(at);
        let work = async {
            let engine = host.builder(&plan).build().await.unwrap();
            engine.renew(&www()).await.unwrap();
            host.work(&engine, Duration::from_hours(1)).await;
        };
        if !plan.interrupts(work).await {
            break;
        }
        host.fx.clock.advance(Duration::from_mins(2));
        let engine = host.engine().await;
        host.work(&engine, DAY).await;
        if engine.orders(&www(), None).await.unwrap().items.len() == 1 {
            engine.renew(&www()).await.unwrap();
            host.work(&engine, DAY).await;
        }
        let order = newest_order(&engine).await;
        assert_eq!((order.state, host.booked()), (OrderState::Issued, (2, 2)), "point {at}: {order:#?}");
        at += 1;
    }
    assert!(at > 10, "only {at} points were tried");
}

/// What can befall a request that orders.
fn outages() -> Vec<Mishap> {
    let after = |text: &str| Mishap::After(200, "application/json", text.to_owned());
    vec![
        Mishap::Before(503, "text/plain", "down".to_owned()),
        Mishap::lose(),
        after("this is not JSON"),
        after("{}"),
        Mishap::Throttle(None),
        Mishap::Throttle(Some(Duration::from_hours(2))),
    ]
}

#[tokio::test]
async fn an_outage_while_ordering_costs_time_and_no_second_order() {
    for mishap in outages() {
        let host = Host::new().await;
        host.fx.fake.befall(Step::Place, mishap.clone());
        let engine = host.engine().await;
        engine.ensure(spec()).await.unwrap();
        host.work(&engine, DAY).await;
        let order = newest_order(&engine).await;
        let outcome = (order.state, host.booked());
        assert_eq!(outcome, (OrderState::Issued, (1, 1)), "{mishap:?}: {order:#?}");
    }
}

/// A renewal takes no reference: while none is noted, only the certificate tells whose the record is.
#[tokio::test]
async fn an_outage_while_renewing_costs_time_and_no_second_renewal() {
    for mishap in outages() {
        let host = Host::new().await;
        host.fx.fake.world().polls = 9;
        let engine = host.engine().await;
        engine.ensure(spec()).await.unwrap();
        host.work(&engine, DAY).await;
        host.fx.fake.befall(Step::Place, mishap.clone());
        host.fx.fake.befall(Step::Update, mishap.clone());
        engine.renew(&www()).await.unwrap();
        host.work(&engine, DAY).await;
        let order = newest_order(&engine).await;
        let outcome = (order.state, host.booked());
        assert_eq!(outcome, (OrderState::Issued, (2, 2)), "{mishap:?}: {order:#?}");
    }
}

#[tokio::test]
async fn a_renewal_without_a_number_is_found_though_listing_is_refused_at_first() {
    let host = Host::new().await;
    host.fx.fake.world().polls = 9;
    host.fx.fake.world().renews_without_id = true;
    let engine = host.engine().await;
    engine.ensure(spec()).await.unwrap();
    host.work(&engine, DAY).await;
    host.fx.fake.befall(Step::List, Mishap::refuse(-3, "You are not authorized to perform this action"));
    engine.renew(&www()).await.unwrap();
    host.work(&engine, DAY).await;
    let order = newest_order(&engine).await;
    assert_eq!((order.state, host.booked()), (OrderState::Issued, (2, 2)), "{order:#?}");
}

/// Nobody says when a renewal that may be another's gets its certificate, so in the end a person decides.
#[tokio::test]
async fn a_renewal_that_nobody_approves_is_left_to_a_person() {
    let host = Host::new().await;
    let engine = host.engine().await;
    engine.ensure(spec()).await.unwrap();
    host.work(&engine, DAY).await;
    host.fx.fake.world().approval = true;
    host.fx.fake.befall(Step::Place, Mishap::lose());
    engine.renew(&www()).await.unwrap();
    host.work(&engine, DAY).await;
    assert_eq!(newest_order(&engine).await.state, OrderState::Placing);
    host.work(&engine, 3 * DAY).await;
    assert_eq!((newest_order(&engine).await.state, host.booked()), (OrderState::InDoubt, (2, 2)));
}

#[tokio::test]
async fn domains_are_validated_in_dns_with_each_order_and_nothing_stays_there() {
    let host = Host::with_order_validation().await;
    let engine = host.engine().await;
    engine.ensure(by_dns()).await.unwrap();
    host.work(&engine, DAY).await;
    let order = newest_order(&engine).await;
    assert_eq!((order.state, host.booked()), (OrderState::Issued, (1, 1)), "{order:#?}");
    engine.renew(&www()).await.unwrap();
    host.work(&engine, DAY).await;
    engine.reissue(&www(), None).await.unwrap();
    host.work(&engine, DAY).await;
    assert_eq!((engine.versions(&www(), None).await.unwrap().items.len(), host.booked()), (3, (2, 3)));
    assert!(host.is_tidy(), "{:?}", host.outside.dns);
    assert!(host.fx.fake.world().proofs.is_empty(), "nobody but DNS told it");
}

#[tokio::test]
async fn domains_are_validated_by_files_with_each_order() {
    let host = Host::with_order_validation().await;
    let engine = host.engine().await;
    engine.ensure(spec().validate(Route::Http("web".parse().unwrap()))).await.unwrap();
    host.work(&engine, DAY).await;
    let order = newest_order(&engine).await;
    assert_eq!((order.state, host.booked()), (OrderState::Issued, (1, 1)), "{order:#?}");
    assert!(host.outside.web.calls().put_challenge >= 2);
    assert!(host.is_tidy());
    let id = *host.fx.fake.world().records.first_key_value().unwrap().0;
    let file = format!("http://www.{DOMAIN}/.well-known/pki-validation/H{id}.txt");
    assert!(!host.outside.serves(&file, &format!("hash{id}\nsectigo.com")));
}

#[tokio::test]
async fn an_order_waits_until_its_records_are_seen() {
    let host = Host::with_order_validation().await;
    let engine = host.engine().await;
    engine.ensure(spec().validate(Route::Manual(ChallengeKind::DnsTxt))).await.unwrap();
    host.work(&engine, 2 * DAY).await;
    let order = newest_order(&engine).await;
    assert_eq!(order.state, OrderState::Validating, "{order:#?}");
    let pending = engine.pending().await.unwrap();
    assert_eq!(pending.len(), 2, "{pending:#?}");
    let id = *host.fx.fake.world().records.first_key_value().unwrap().0;
    for name in ["www", "shop"] {
        let place = format!("_pki-validation.{name}.{DOMAIN}").parse().unwrap();
        host.outside.dns.insert(DnsRecord::txt(place, format!("token-{id}")));
    }
    engine.verify(order.id).await.unwrap();
    host.work(&engine, DAY).await;
    assert_eq!((newest_order(&engine).await.state, host.booked()), (OrderState::Issued, (1, 1)));
}

#[tokio::test]
async fn whatever_the_point_of_a_crash_a_domain_is_proven_and_nothing_is_left() {
    let domain: Identifier = DOMAIN.parse().unwrap();
    for route in [Route::Dns("dns".parse().unwrap()), Route::Http("web".parse().unwrap())] {
        let mut at = 1;
        loop {
            let host = Host::new().await;
            host.fx.fake.world().domains.insert(DOMAIN.to_owned(), DomainRecord::default());
            let account = host.base.account.clone();
            let plan = CrashPlan::freeze_at(at);
            let work = async {
                let engine = host.builder(&plan).build().await.unwrap();
                engine.prove_domain(&account, &domain, route.clone(), true).await.unwrap();
                host.work(&engine, DAY).await;
            };
            let crashed = plan.interrupts(work).await;
            host.fx.clock.advance(Duration::from_mins(2));
            let engine = host.engine().await;
            if engine.managed_domain(&account, &domain).await.is_err() {
                engine.prove_domain(&account, &domain, route.clone(), true).await.unwrap();
            }
            host.work(&engine, DAY).await;
            let proven = engine.managed_domain(&account, &domain).await.unwrap();
            assert_eq!(proven.state, DomainState::Valid, "point {at}: {proven:#?}");
            assert!(!proven.has_leftovers() && host.is_tidy(), "point {at}: {proven:#?}");
            assert!(host.fx.fake.world().proofs.is_empty(), "nobody but DNS and the web told it");
            if !crashed {
                break;
            }
            at += 1;
        }
        assert!(at > 12, "only {at} points were tried");
    }
}

#[tokio::test]
async fn a_domain_that_is_kept_is_proven_anew_when_it_lapses() {
    let host = Host::new().await;
    host.fx.fake.world().domains.insert(DOMAIN.to_owned(), DomainRecord::default());
    let (account, domain) = (host.base.account.clone(), DOMAIN.parse().unwrap());
    let engine = host.engine().await;
    engine.prove_domain(&account, &domain, Route::Dns("dns".parse().unwrap()), true).await.unwrap();
    host.work(&engine, DAY).await;
    let first = engine.managed_domain(&account, &domain).await.unwrap().valid_until.unwrap();
    host.work(&engine, 190 * DAY).await;
    host.fx.fake.world().domains.insert(DOMAIN.to_owned(), DomainRecord::default());
    host.work(&engine, 30 * DAY).await;
    let later = engine.managed_domain(&account, &domain).await.unwrap();
    assert!(later.state == DomainState::Valid && later.valid_until.unwrap() > first, "{later:#?}");
    assert!(host.is_tidy());
}
