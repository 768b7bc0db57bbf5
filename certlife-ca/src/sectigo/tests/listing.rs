//! Test login, catalog, and the orders that are there already.

use certlife_core::{
    ca::{Catalog, ImportFilter, ValidationStatus},
    store::Cursor,
};

use super::*;
use crate::sectigo::fake::{DEPARTMENT, FIELD, RSA_PROFILE, Record, UNVALIDATED};

#[tokio::test]
async fn testing_the_login_tells_who_it_is_and_what_to_look_at() {
    let fx = Fixture::start().await;
    let summary = fx.sectigo().probe().await.unwrap();
    assert_eq!(summary.identity.unwrap().as_str(), "pki-bot at acme-corp");
    assert_eq!((summary.details["profiles"].as_str(), summary.warnings.len()), ("3", 0));
    let paths = ["ssl/v1/types", "organization/v1", "admin/v1/password"];
    assert_eq!(fx.requests(), paths.map(|path| format!("GET /api/{path}")));
    for (state, words) in [
        (json!({ "state": "EXPIRED", "expirationDate": "2025-01-01" }), "has expired"),
        (json!({ "state": "ALIVE", "expirationDate": "2026-01-09" }), "ends at 2026-01-09"),
    ] {
        fx.fake.world().password_state = state;
        let warnings = fx.sectigo().probe().await.unwrap().warnings;
        assert!(warnings[0].as_str().contains(words), "{warnings:?}");
    }
    // Not every login may ask that.
    fx.fake.world().password_state = json!({ "code": -3, "description": "no" });
    fx.sectigo().probe().await.unwrap();
}

#[tokio::test]
async fn all_logins_work_and_tokens_are_kept_and_renewed() {
    for scheme in [Scheme::Certificate, Scheme::OAuth] {
        let fx = Fixture::with(scheme).await;
        let ca = fx.sectigo();
        ca.probe().await.unwrap();
        if scheme == Scheme::Certificate {
            assert_eq!(fx.requests()[0], "GET /private/api/ssl/v1/types");
            continue;
        }
        assert_eq!(ca.probe().await.unwrap().identity.unwrap().as_str(), format!("API key {CLIENT_ID}"));
        let tokens = |requests: Vec<String>| requests.iter().filter(|one| *one == "POST /token").count();
        assert_eq!(tokens(fx.requests()), 1);
        fx.clock.advance(Duration::from_mins(6));
        ca.probe().await.unwrap();
        assert_eq!(tokens(fx.requests()), 1, "it lasts five minutes");
        fx.fake.world().tokens.clear();
        ca.probe().await.unwrap();
        assert_eq!(tokens(fx.requests()), 1, "after a 401 there is a new one");
        let refused = Mishap::error(400, json!({ "error": "invalid_client", "error_description": "x" }));
        fx.fake.befall(Step::Token, refused);
        let error = fx.sectigo().probe().await.unwrap_err();
        assert_eq!(error.kind(), &certlife_core::ErrorKind::Unauthorized);
    }
}

async fn catalog(fx: &Fixture) -> Catalog {
    fx.sectigo().catalog().await.unwrap()
}

#[tokio::test]
async fn the_catalog_has_all_pages_and_states() {
    let fx = Fixture::start().await;
    let catalog = catalog(&fx).await;
    let profile = &catalog.products[0];
    let days = |count: u64| Duration::from_hours(24 * count);
    assert_eq!((profile.id.as_str(), &profile.validity[..]), ("3188", &[days(199), days(90)][..]));
    assert_eq!(profile.key_algorithms.len(), 6);
    assert_eq!(catalog.products.len(), 2, "a profile that is listed twice is one");
    let states: Vec<_> =
        catalog.organizations.iter().map(|one| (one.id.parse().unwrap(), one.status)).collect();
    let valid = ValidationStatus::Valid;
    assert_eq!(
        states,
        [(ORGANIZATION, valid), (DEPARTMENT, valid), (UNVALIDATED, ValidationStatus::Pending)]
    );
    assert_eq!(catalog.organizations[1].parent.as_deref(), Some("20417"));
    assert_eq!(catalog.organizations[0].valid_until.unwrap().to_string(), "2030-05-01T00:00:00.000Z");
    assert_eq!(catalog.domains.len(), 435);
    let state = |name: &str| {
        let domain = catalog.domains.iter().find(|one| one.name.to_string() == name).unwrap();
        (domain.status, domain.valid_until.is_some())
    };
    assert_eq!(state("filler-429.example"), (valid, true));
    assert_eq!(state("*.suite.example"), (valid, true));
    assert_eq!(state("elsewhere.example"), (ValidationStatus::Pending, false));
    let domain_pages = fx.requests().iter().filter(|one| one.ends_with("/domain/v1")).count();
    assert_eq!(domain_pages, 3);
    // Survives being stored.
    let text = serde_json::to_string(&catalog).unwrap();
    assert_eq!(serde_json::from_str::<Catalog>(&text).unwrap(), catalog);
}

#[tokio::test]
async fn what_a_login_may_not_read_is_unknown() {
    let fx = Fixture::start().await;
    fx.fake.world().hides_validations = true;
    fx.fake.befall(Step::Dcv, Mishap::refuse(-1608, "DCV is not enabled"));
    let catalog = catalog(&fx).await;
    assert!(catalog.organizations.iter().all(|one| one.status == ValidationStatus::Unknown));
    assert!(catalog.domains.iter().all(|one| one.status == ValidationStatus::Unknown));
    let request = fx.request(identifiers(&["www.elsewhere.example"]));
    fx.sectigo().check(&request, Some(&catalog)).unwrap();
}

#[tokio::test]
async fn requests_are_held_against_the_catalog() {
    let fx = Fixture::start().await;
    fx.fake.world().mandatory_field = true;
    let catalog = catalog(&fx).await;
    let filled = || OrderOptions::default().custom_field(FIELD, "1");
    let plain =
        || OrderRequest { options: filled().into(), ..fx.request(identifiers(&["www.suite.example"])) };
    let named = |name: &str| OrderRequest { identifiers: identifiers(&[name]), ..plain() };
    let days = |count: u64| Some(Duration::from_hours(24 * count));
    let check = |request: &OrderRequest| fx.sectigo().check(request, Some(&catalog));
    fx.requests();
    check(&plain()).unwrap();
    check(&named("*.suite.example")).unwrap();
    check(&named("192.0.2.1")).unwrap();
    let rsa = OrderRequest { product: Some(RSA_PROFILE.to_string()), validity: days(90), ..plain() };
    let with = |options: OrderOptions| OrderRequest { options: options.into(), ..plain() };
    for (request, words) in [
        (OrderRequest { product: Some("1".into()), ..plain() }, "offers 3188, 3190"),
        (OrderRequest { product: None, ..plain() }, "product"),
        (OrderRequest { validity: days(365), ..plain() }, "offers 199, 90 days"),
        (OrderRequest { key_algorithm: Some(KeyAlgorithm::EcdsaP256), ..rsa.clone() }, "allows rsa-2048"),
        (OrderRequest { organization: Some("1".into()), ..plain() }, "20417, 20418, 20999"),
        (OrderRequest { organization: Some(UNVALIDATED.to_string()), ..plain() }, "pending"),
        (named("www.foreign.test"), "no domain of this account"),
        (named("www.elsewhere.example"), "the validation of domain elsewhere.example is pending"),
        (OrderRequest { options: serde_json::Value::Null, ..plain() }, "\"Cost center\" is mandatory"),
        (with(filled().custom_field("Colour", "blue")), "Cost center, Reference"),
    ] {
        let message = check(&request).unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
    check(&OrderRequest { key_algorithm: Some(KeyAlgorithm::Rsa2048), ..rsa }).unwrap();
    let unvalidated = with(filled().unvalidated(true));
    check(&OrderRequest { organization: Some(UNVALIDATED.to_string()), ..unvalidated.clone() }).unwrap();
    check(&OrderRequest { identifiers: identifiers(&["www.elsewhere.example"]), ..unvalidated }).unwrap();
    let by_order = fx.builder().order_validation(true).build().unwrap();
    by_order.check(&named("www.elsewhere.example"), Some(&catalog)).unwrap();
    assert_eq!(fx.requests(), Vec::<String>::new());
}

/// Fills the account with records; every tenth is expired, revoked and declined each.
async fn filled(fx: &Fixture, count: u64) {
    let model = fx.obtain(&fx.intent(&["model.suite.example"])).await;
    let model = fx.fake.world().records[&ssl_id(&model)].clone();
    for number in 1..count {
        let name = format!("n{number}.suite.example");
        let record = Record {
            status: match number % 10 {
                3 => "Expired",
                5 => "Revoked",
                7 => "Declined",
                _ => "Issued",
            }
            .to_owned(),
            requested: if number % 2 == 0 { "12/31/2025" } else { "2026-01-02" }.to_owned(),
            profile: if number % 4 == 0 { RSA_PROFILE } else { PROFILE },
            common_name: Some(name.clone()),
            names: identifiers(&[&name]),
            ..model.clone()
        };
        fx.fake.world().insert(record);
    }
    fx.requests();
}

/// Lists all, with a provider of its own for each page, and returns how many pages there were.
async fn listed(fx: &Fixture, filter: &ImportFilter) -> (Vec<OrderSnapshot>, usize) {
    let (mut found, mut page, mut pages) = (Vec::new(), None, 0);
    loop {
        let part = fx.sectigo().orders(filter, page).await.unwrap();
        found.extend(part.items);
        pages += 1;
        match part.next {
            Some(next) => page = Some(next),
            None => return (found, pages),
        }
    }
}

#[tokio::test]
async fn existing_orders_are_listed_in_pages_for_two_requests_each() {
    let fx = Fixture::start().await;
    filled(&fx, 120).await;
    let (found, pages) = listed(&fx, &ImportFilter::default()).await;
    assert_eq!((found.len(), pages), (120, 3));
    let requests = fx.requests();
    assert_eq!(requests.iter().filter(|one| *one == "GET /api/ssl/v1").count(), 3);
    assert!(requests.len() <= 3 + 2 * 120, "{}", requests.len());
    let count = |stage| found.iter().filter(|one| one.stage == stage).count();
    assert_eq!((count(Stage::Expired), count(Stage::Revoked), count(Stage::Rejected)), (12, 12, 12));
    for order in &found {
        let has_certificate = matches!(order.stage, Stage::Issued | Stage::Expired);
        assert_eq!(order.certificate.is_some(), has_certificate, "{order:?}");
        assert!(!order.identifiers.is_empty() && order.details.contains_key("product"));
    }
    let text = serde_json::to_string(&Cursor { value: String::new(), id: "50".into() }).unwrap();
    let cursor = serde_json::from_str(&text).unwrap();
    assert_eq!(fx.sectigo().orders(&ImportFilter::default(), Some(cursor)).await.unwrap().items.len(), 50);
    let junk = Cursor { value: String::new(), id: "x".into() };
    assert_eq!(
        fx.sectigo().orders(&ImportFilter::default(), Some(junk)).await.unwrap_err().kind().code(),
        "corrupt"
    );
}

#[tokio::test]
async fn filters_leave_orders_out_and_save_requests() {
    let fx = Fixture::start().await;
    filled(&fx, 120).await;
    let plain = ImportFilter::default;
    let count = |filter: ImportFilter| {
        let fx = &fx;
        async move {
            let found = listed(fx, &filter).await.0.len();
            (found, fx.requests().len())
        }
    };
    assert_eq!(count(ImportFilter { skip_expired: true, ..plain() }).await.0, 108);
    assert_eq!(count(ImportFilter { skip_revoked: true, ..plain() }).await.0, 108);
    assert_eq!(count(ImportFilter { skip_cancelled: true, ..plain() }).await.0, 108);
    // Of the day itself the time is not told, so it is within.
    let at = |text: &str| Some(Timestamp::parse(text).unwrap());
    assert_eq!(count(ImportFilter { placed_after: at("2026-01-01T12:00:00Z"), ..plain() }).await.0, 61);
    assert_eq!(count(ImportFilter { placed_after: at("2025-12-31T12:00:00Z"), ..plain() }).await.0, 120);
    let (found, requests) = count(ImportFilter { products: ["3190".into()].into(), ..plain() }).await;
    assert_eq!(found, 29);
    assert!(requests <= 1 + 2 * 29, "the CA filters by one profile");
    let both = ["3188".to_owned(), "3190".to_owned()].into();
    assert_eq!(count(ImportFilter { products: both, ..plain() }).await.0, 120);
    assert_eq!(count(ImportFilter { products: ["gold".into()].into(), ..plain() }).await, (0, 0));
    let names = identifiers(&["n117.suite.example", "n118.suite.example"]).into_iter().collect();
    // The certificates of these are all that of the model, whose names count.
    let (found, requests) = count(ImportFilter { names, ..plain() }).await;
    assert!(found <= 2 && requests < 180, "{found} by {requests}");
}

#[tokio::test]
async fn one_bad_record_keeps_no_other_out() {
    let fx = Fixture::start().await;
    filled(&fx, 3).await;
    fx.fake.befall(Step::Collect, Mishap::Before(200, "text/plain", "no certificate".into()));
    fx.fake.befall(Step::Details, Mishap::refuse(-5101, "gone"));
    let (found, _) = listed(&fx, &ImportFilter::default()).await;
    assert_eq!(found.len(), 2);
    let bad: Vec<_> = found.iter().filter(|one| one.certificate.is_none()).collect();
    assert!(
        bad.len() == 1 && bad[0].message.as_ref().unwrap().as_str().contains("no certificate chain"),
        "{bad:?}"
    );
    // What may pass is told, so that the page is asked for again.
    for _ in 0..12 {
        fx.fake.befall(Step::Collect, Mishap::lose());
    }
    let error = fx.sectigo().orders(&ImportFilter::default(), None).await.unwrap_err();
    assert_eq!(error.retry(), certlife_core::Retry::Backoff);
}
