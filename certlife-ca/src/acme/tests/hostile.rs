//! A server that lies, babbles and points elsewhere.

use std::time::Duration;

use certlife_core::{
    BuildContext, CertificateAuthority as _, ErrorKind, Registry, Retry, SystemClock, ca::Stage,
};
use serde_json::{Value, json};

use super::{
    super::register,
    Acme, acme,
    fake::{Fake, Mishap, Step},
    intent, obtain, order, prove, request, vault,
};

#[tokio::test]
async fn addresses_elsewhere_are_never_called() {
    let elsewhere = Fake::start().await;
    let away = |path: &str| format!("{}/{path}", elsewhere.url);
    let changes: [(Step, &str, String); 5] = [
        (Step::Directory, "/newNonce", away("nonce")),
        (Step::Directory, "/newOrder", away("new-order")),
        (Step::NewOrder, "/authorizations/0", away("authz/0")),
        (Step::Authorization, "/challenges/0/url", away("challenge/0/http-01")),
        (Step::NewOrder, "/authorizations/0", format!("https://{}.test/", "a".repeat(3_000))),
    ];
    for (step, place, url) in changes {
        let (fake, vault) = (Fake::start().await, vault());
        fake.befall(step, Mishap::json(move |value| *value.pointer_mut(place).unwrap() = url.into()));
        let error = acme(&fake, &vault).place(&intent(request(&["a.example"]))).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{place}: {error:?}");
        assert_eq!(error.retry(), Retry::Never, "{place}");
    }
    for step in [Step::NewOrder, Step::NewAccount] {
        let (fake, vault) = (Fake::start().await, vault());
        let url = away("order/0");
        fake.befall(
            step,
            Mishap::Edit(Box::new(move |answer| {
                for (name, value) in &mut answer.headers {
                    if name == "location" {
                        value.clone_from(&url);
                    }
                }
            })),
        );
        let error = acme(&fake, &vault).place(&intent(request(&["a.example"]))).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{step:?}: {error:?}");
    }
    assert_eq!(elsewhere.requests(), 0);
}

#[tokio::test]
async fn further_origins_are_called_if_the_host_allows_them() {
    let (fake, vault) = (Fake::start().await, vault());
    let other = fake.url.replace("127.0.0.1", "localhost");
    let moved = format!("{other}/nonce");
    fake.befall(Step::Directory, Mishap::json(move |value| value["newNonce"] = moved.into()));
    let acme = super::builder(&fake, &vault).also_allow([other.parse().unwrap()]).build().unwrap();
    obtain(&fake, &acme, &intent(request(&["a.example"]))).await;
}

#[tokio::test]
async fn hostile_authorizations_are_refused() {
    let changes: [fn(&mut Value); 4] = [
        |value| value["challenges"][0]["token"] = "../../../../etc/cron.d/x-and-more-to-be-long".into(),
        |value| value["challenges"][0]["token"] = "short".into(),
        |value| value["identifier"]["value"] = "victim.example".into(),
        |value| value["identifier"] = json!({ "type": "dns", "value": "a..b" }),
    ];
    for change in changes {
        let (fake, vault) = (Fake::start().await, vault());
        fake.befall(Step::Authorization, Mishap::json(change));
        let error = acme(&fake, &vault).place(&intent(request(&["a.example"]))).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{error:?}");
        assert_eq!(error.retry(), Retry::Never);
    }
}

#[tokio::test]
async fn more_authorizations_than_an_order_can_have_are_refused() {
    let (fake, vault) = (Fake::start().await, vault());
    fake.befall(
        Step::NewOrder,
        Mishap::json(|value| {
            let url = value["authorizations"][0].clone();
            value["authorizations"] = vec![url; 5_000].into();
        }),
    );
    acme(&fake, &vault).place(&intent(request(&["a.example"]))).await.unwrap_err();
    assert_eq!(fake.requests_for(Step::Authorization), 0);
}

#[tokio::test]
async fn pages_and_empty_bodies_are_told_apart_from_problems() {
    let (fake, vault) = (Fake::start().await, vault());
    let acme = acme(&fake, &vault);
    let page = "<html><body>Blocked by policy</body></html>";
    for (status, media_type, body, words) in [
        (403, "text/html", page, "web page"),
        (403, "application/json", "", "without a word"),
        (400, "application/json", "{}", "{}"),
        (400, "text/plain", "go away", "go away"),
    ] {
        fake.befall(
            Step::NewOrder,
            Mishap::Instead { status, media_type, body: body.into(), retry_after: None },
        );
        let error = acme.place(&intent(request(&["a.example"]))).await.unwrap_err();
        assert!(error.chain().contains(words), "{}", error.chain());
        assert!(!error.chain().contains("<html"), "{}", error.chain());
    }
    fake.befall(
        Step::NewOrder,
        Mishap::Instead { status: 201, media_type: "text/html", body: page.into(), retry_after: None },
    );
    let error = acme.place(&intent(request(&["a.example"]))).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Uncertain, "an order may stand behind the page");
}

#[tokio::test]
async fn an_endless_body_ends() {
    let (fake, vault) = (Fake::start().await, vault());
    let body = format!("{{\"status\":\"{}\"}}", "x".repeat(2 << 20));
    fake.befall(
        Step::NewOrder,
        Mishap::Instead { status: 201, media_type: "application/json", body, retry_after: None },
    );
    acme(&fake, &vault).place(&intent(request(&["a.example"]))).await.unwrap_err();
}

#[tokio::test]
async fn an_unknown_status_is_processing_with_the_word() {
    let (fake, vault) = (Fake::start().await, vault());
    let acme = acme(&fake, &vault);
    let intent = intent(request(&["a.example"]));
    let placed = acme.place(&intent).await.unwrap();
    prove(&fake, &acme, &intent, &placed).await;
    fake.befall(Step::Order, Mishap::json(|value| value["status"] = "pondering".into()));
    let seen = acme.poll(&order(&intent, &placed)).await.unwrap();
    assert_eq!(seen.stage, Stage::Processing);
    assert!(seen.message.unwrap().as_str().contains("pondering"));
}

#[tokio::test]
async fn an_expired_order_is_expired() {
    let (fake, vault) = (Fake::start().await, vault());
    let acme = acme(&fake, &vault);
    let intent = intent(request(&["a.example"]));
    let placed = acme.place(&intent).await.unwrap();
    fake.befall(
        Step::Order,
        Mishap::json(|value| {
            value["status"] = "invalid".into();
            value["expires"] = "2020-01-01T00:00:00Z".into();
        }),
    );
    assert_eq!(acme.poll(&order(&intent, &placed)).await.unwrap().stage, Stage::Expired);
    fake.befall(
        Step::Order,
        Mishap::json(|value| {
            value["status"] = "invalid".into();
            value["error"] = json!({ "type": "urn:ietf:params:acme:error:caa", "detail": "CAA says no" });
        }),
    );
    let over = acme.poll(&order(&intent, &placed)).await.unwrap();
    assert_eq!((over.stage, over.message.unwrap().as_str()), (Stage::Rejected, "CAA says no"));
}

#[tokio::test]
async fn a_certificate_of_another_key_or_none_is_refused() {
    for body in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let (fake, vault) = (Fake::start().await, vault());
        let acme = acme(&fake, &vault);
        let intent = intent(request(&["a.example"]));
        let placed = acme.place(&intent).await.unwrap();
        prove(&fake, &acme, &intent, &placed).await;
        acme.poll(&order(&intent, &placed)).await.unwrap();
        let media_type = "application/pem-certificate-chain";
        fake.befall(
            Step::Certificate,
            Mishap::Instead { status: 200, media_type, body: body.into(), retry_after: None },
        );
        let error = acme.poll(&order(&intent, &placed)).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::BadCertificate(_)), "{error:?}");
        assert_eq!(acme.poll(&order(&intent, &placed)).await.unwrap().stage, Stage::Issued);
    }
}

#[tokio::test]
async fn refused_nonces_are_replaced_at_once_and_not_for_ever() {
    let (fake, vault) = (Fake::start().await, vault());
    fake.world().refuses_nonces = Some(3);
    let acme = acme(&fake, &vault);
    let names: Vec<_> = (0..20).map(|number| format!("n{number}.example")).collect();
    obtain(&fake, &acme, &intent(request(&names.iter().map(String::as_str).collect::<Vec<_>>()))).await;
    assert!(acme.statistics().refused_nonces >= 15, "{:?}", acme.statistics());

    fake.world().refuses_nonces = None;
    fake.world().forget_nonces();
    obtain(&fake, &acme, &intent(request(&["a.example"]))).await;

    fake.world().refuses_nonces = Some(1);
    let before = fake.requests_for(Step::NewOrder);
    let error = acme.place(&intent(request(&["a.example"]))).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Protocol(_)) && error.retry() == Retry::Backoff, "{error:?}");
    assert_eq!(fake.requests_for(Step::NewOrder) - before, 8);
}

#[tokio::test]
async fn throttled_nonces_are_waited_for_while_others_bring_some_back() {
    let (fake, vault) = (Fake::start().await, vault());
    let acme = acme(&fake, &vault);
    acme.probe().await.unwrap();
    for _ in 0..14 {
        fake.befall(Step::NewNonce, Mishap::throttle(Some(Duration::from_mins(1))));
    }
    let names: Vec<_> = (0..16).map(|number| format!("n{number}.example")).collect();
    obtain(&fake, &acme, &intent(request(&names.iter().map(String::as_str).collect::<Vec<_>>()))).await;
    assert_eq!(fake.requests_for(Step::NewOrder), 1);
}

#[tokio::test]
async fn a_server_without_nonces_is_told() {
    let (fake, vault) = (Fake::start().await, vault());
    let media_type = "text/plain";
    for _ in 0..2 {
        fake.befall(
            Step::NewNonce,
            Mishap::Instead { status: 429, media_type, body: String::new(), retry_after: Some(90) },
        );
    }
    let error = acme(&fake, &vault).probe().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (&ErrorKind::RateLimited, Retry::After(Duration::from_secs(90)))
    );
}

#[tokio::test]
async fn settings_are_checked_and_described() {
    let (fake, vault) = (Fake::start().await, vault());
    let mut registry = Registry::new();
    register(&mut registry);
    let context = BuildContext {
        vault: vault.clone(),
        clock: std::sync::Arc::new(SystemClock::default()),
        lookup: None,
    };
    let good = json!({ "directory": fake.directory(), "terms_agreed": true, "contacts": ["a@x.test"] });
    registry.ca("acme", good, &context).unwrap().probe().await.unwrap();
    registry.ca("acme", json!({ "directory": "letsencrypt-staging" }), &context).unwrap();
    for (settings, setting) in [
        (json!({}), "directory"),
        (json!({ "directory": "letsencrypd" }), "directory"),
        (json!({ "directory": "http://ca.example/dir" }), "directory"),
        (json!({ "directory": "letsencrypt", "colour": 1 }), "colour"),
        (json!({ "directory": "letsencrypt", "preferred_chain": " " }), "preferred_chain"),
        (json!({ "directory": "letsencrypt", "account_key": "no key" }), "account_key"),
        (json!({ "directory": "letsencrypt", "eab": { "key_id": "", "hmac_key": "AAAA" } }), "eab.key_id"),
    ] {
        let error = registry.ca("acme", settings, &context).unwrap_err().to_string();
        assert!(error.contains(setting), "{setting}: {error}");
    }
    let schema = registry.kinds().remove(0).settings;
    assert_eq!(schema["properties"]["account_key"]["writeOnly"], true, "{schema}");
    assert!(Acme::builder("zerossl", vault).build().is_ok());
}
