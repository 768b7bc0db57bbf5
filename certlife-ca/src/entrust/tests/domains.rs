//! Domains, which are validated apart from orders.

use std::time::Duration;

use certlife_core::{
    CertificateAuthority as _, ErrorKind, Identifier, Retry,
    ca::DomainValidation,
    challenge::{AuthorizationStatus, ChallengeKind, ChallengeResponse, Proof},
};
use serde_json::{Value, json};

use super::{
    super::fake::{FakeDomain, Mishap, Step},
    Scene,
};

async fn validate(scene: &Scene, name: &str, proof: impl Into<Proof>) -> DomainValidation {
    let name: Identifier = name.parse().unwrap();
    scene.ca().validate_domain(&name, &proof.into()).await.unwrap()
}

/// Kind, place and content of what is to be shown.
fn shown(told: &DomainValidation) -> Vec<String> {
    let response = |response: &ChallengeResponse| match response {
        ChallengeResponse::DnsTxt { name, value } => format!("{name} TXT {value}"),
        ChallengeResponse::Http(file) => format!("http://{}{} {}", file.host, file.path, file.body.as_str()),
        ChallengeResponse::Email { address } => format!("mail to {address}"),
        other => format!("{other:?}"),
    };
    told.authorization.challenges.iter().map(|challenge| response(&challenge.response)).collect()
}

const VALUE: &str = "7C1E40B2D95A4F13A86E0D7700000001";

#[tokio::test]
async fn a_new_domain_says_what_to_show() {
    let scene = Scene::new().await;
    for (name, kind, expected) in [
        ("dns.example", ChallengeKind::DnsTxt, format!("_pki-validation.dns.example TXT {VALUE}")),
        (
            "web.example",
            ChallengeKind::Http,
            format!("http://web.example/.well-known/pki-validation/1.txt {VALUE}"),
        ),
        ("mail.example", ChallengeKind::Email, "mail to whois@mail.example".to_owned()),
        ("*.wild.example", ChallengeKind::DnsTxt, format!("_pki-validation.wild.example TXT {VALUE}")),
    ] {
        let told = validate(&scene, name, kind).await;
        assert_eq!(shown(&told), [expected], "{name}");
        assert_eq!(told.authorization.status, AuthorizationStatus::Pending);
        assert_eq!(told.ask_again, Some(Duration::from_mins(5)));
        let path = name.trim_start_matches("*.");
        assert_eq!(
            scene.requests(),
            [
                format!("GET /clients/1/domains/{path}"),
                "POST /clients/1/domains".into(),
                format!("GET /clients/1/domains/{path}")
            ]
        );
        // Asked again it is only read.
        assert_eq!(validate(&scene, name, kind).await, told);
        assert_eq!(scene.requests().len(), 1);
        scene.fake.world().domain(path).proven = true;
        let done = validate(&scene, name, kind).await;
        assert_eq!((done.authorization.status, shown(&done).len()), (AuthorizationStatus::Valid, 0));
        assert!(done.valid_until.is_some() && done.ask_again.is_none());
        scene.requests();
    }
}

#[tokio::test]
async fn the_value_may_take_its_time() {
    let scene = Scene::new().await;
    scene.fake.world().value_after = 2;
    let mut told = validate(&scene, "slow.example", ChallengeKind::DnsTxt).await;
    assert_eq!((shown(&told).len(), told.ask_again), (0, Some(Duration::from_secs(10))));
    told = validate(&scene, "slow.example", ChallengeKind::DnsTxt).await;
    assert_eq!(told.authorization.status, AuthorizationStatus::Pending);
    assert_eq!(shown(&validate(&scene, "slow.example", ChallengeKind::DnsTxt).await).len(), 1);
}

#[tokio::test]
async fn another_way_or_another_term_is_asked_for_once() {
    let scene = Scene::new().await;
    // Another way.
    let told = validate(&scene, "suite.example", ChallengeKind::Http).await;
    assert_eq!(shown(&told).len(), 1);
    assert_eq!(scene.requests()[1], "PUT /clients/1/domains/suite.example");
    validate(&scene, "suite.example", ChallengeKind::Http).await;
    assert_eq!(scene.requests().len(), 1);
    // A term that ends soon, or has ended.
    for status in ["EXPIRING", "EXPIRED", "CANCELLED"] {
        scene.fake.world().domain("northwind.example").status = status.into();
        let told = validate(&scene, "northwind.example", ChallengeKind::DnsTxt).await;
        assert_eq!(
            (told.authorization.status, shown(&told).len()),
            (AuthorizationStatus::Pending, 1),
            "{status}"
        );
        assert_eq!(scene.requests().len(), 3, "{status}");
    }
    // As it is.
    scene.fake.world().domain("northwind.example").status = "APPROVED".into();
    let told = validate(&scene, "northwind.example", ChallengeKind::DnsTxt).await;
    assert_eq!((told.authorization.status, scene.requests().len()), (AuthorizationStatus::Valid, 1));
}

#[tokio::test]
async fn an_old_value_is_not_shown_after_a_change() {
    let scene = Scene::new().await;
    validate(&scene, "again.example", ChallengeKind::DnsTxt).await;
    {
        let mut world = scene.fake.world();
        (world.domain("again.example").status, world.value_after) = ("EXPIRED".into(), 0);
    }
    // The server has taken the change, but still shows the value of before.
    let old = |status: &str| {
        json!({
            "domainName": "again.example", "clientId": 1, "verificationMethod": "dns", "status": status,
            "dnsMethod": { "recordDomain": "_pki-validation.again.example", "recordType": "TXT", "recordValue": VALUE },
        })
    };
    scene.fake.befall(Step::Domain, Mishap::Say(200, old("EXPIRED")));
    scene.fake.befall(Step::Domain, Mishap::Say(202, Value::Null));
    scene.fake.befall(Step::Domain, Mishap::Say(200, old("RE_VERIFICATION")));
    let told = validate(&scene, "again.example", ChallengeKind::DnsTxt).await;
    assert_eq!((shown(&told).len(), told.ask_again), (0, Some(Duration::from_secs(10))));
    // Or it still says that the domain is validated.
    for status in ["EXPIRING", "", "APPROVED"] {
        let body = if status.is_empty() { Value::Null } else { old(status) };
        scene.fake.befall(Step::Domain, Mishap::Say(200, body));
    }
    let told = validate(&scene, "again.example", ChallengeKind::DnsTxt).await;
    assert_eq!(told.authorization.status, AuthorizationStatus::Pending);
    assert_eq!((told.authorization.problem, told.ask_again), (None, Some(Duration::from_mins(1))));
}

#[tokio::test]
async fn an_approver_is_chosen_and_changed() {
    let scene = Scene::new().await;
    let by = |approver: &str| Proof { kind: ChallengeKind::Email, approver: Some(approver.into()) };
    let told = validate(&scene, "mail.example", by("hostmaster@mail.example")).await;
    assert_eq!(shown(&told), ["mail to hostmaster@mail.example"]);
    let told = validate(&scene, "mail.example", by("admin@mail.example")).await;
    assert_eq!(shown(&told), ["mail to admin@mail.example"]);
    let name: Identifier = "mail.example".parse().unwrap();
    let error = scene.ca().validate_domain(&name, &by("a@elsewhere.example")).await.unwrap_err();
    assert!(error.to_string().contains("may not approve"), "{error}");
    scene.requests();
    let error = scene.ca().validate_domain(&name, &by("nobody")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Input(_)) && scene.requests().is_empty(), "{error}");
}

#[tokio::test]
async fn a_domain_that_was_declined_is_invalid_until_it_is_proven_otherwise() {
    let scene = Scene::new().await;
    scene
        .fake
        .world()
        .domains
        .push(FakeDomain { status: "DECLINED".into(), ..FakeDomain::approved("no.example", 1) });
    let told = validate(&scene, "no.example", ChallengeKind::DnsTxt).await;
    assert_eq!(told.authorization.status, AuthorizationStatus::Invalid);
    assert!(told.authorization.problem.is_some() && told.ask_again.is_none());
    let told = validate(&scene, "no.example", ChallengeKind::Http).await;
    assert_eq!(told.authorization.status, AuthorizationStatus::Pending);
    scene.fake.world().domain("no.example").status = "MOON".into();
    let told = validate(&scene, "no.example", ChallengeKind::Http).await;
    assert_eq!(told.authorization.status, AuthorizationStatus::Pending);
    assert!(told.authorization.problem.unwrap().as_str().contains("MOON"));
}

#[tokio::test]
async fn what_cannot_be_is_refused_unsent() {
    let scene = Scene::new().await;
    for (name, kind) in [
        ("a.example", ChallengeKind::DnsCname),
        ("a.example", ChallengeKind::TlsAlpn),
        ("*.a.example", ChallengeKind::Http),
        ("192.0.2.1", ChallengeKind::Http),
    ] {
        let error = scene.ca().validate_domain(&name.parse().unwrap(), &kind.into()).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Unsupported(_)), "{name} {kind}: {error}");
    }
    assert!(scene.requests().is_empty());
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again() {
    let scene = Scene::new().await;
    let name: Identifier = "lost.example".parse().unwrap();
    let proof = Proof::from(ChallengeKind::DnsTxt);
    let unknown = json!({ "status": 404, "errors": [{ "message": "Unknown domain" }] });
    scene.fake.befall(Step::Domain, Mishap::Say(404, unknown));
    scene.fake.befall(Step::Domain, Mishap::Lose);
    let error = scene.ca().validate_domain(&name, &proof).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (&ErrorKind::Uncertain, Retry::Backoff));
    let told = scene.ca().validate_domain(&name, &proof).await.unwrap();
    assert_eq!((shown(&told).len(), scene.fake.world().domains.len()), (1, 3));
    // To ask for another way twice is to ask once.
    scene.fake.befall(Step::Domain, Mishap::Slow(Duration::from_millis(1)));
    scene.fake.befall(Step::Domain, Mishap::Lose);
    let told = scene.ca().validate_domain(&name, &ChallengeKind::Http.into()).await.unwrap();
    assert_eq!(shown(&told).len(), 1);
}

#[tokio::test]
async fn what_the_ca_wants_to_see_stays_within_the_domain() {
    let scene = Scene::new().await;
    let dns = |place: &str, kind: &str| json!({ "dnsMethod": { "recordDomain": place, "recordType": kind, "recordValue": "x" } });
    let web = |place: &str, body: &str| json!({ "webServerMethod": { "fileLocation": place, "fileContents": body } });
    let file = "/.well-known/pki-validation/a.txt";
    for (method, shown_by) in [
        ("DNS", dns("_pki-validation.labs.a.example", "TXT")),
        ("DNS", dns("_pki-validation.a.example", "txt")),
        (
            "DNS",
            json!({ "dnsMethod": { "recordDomain": "labs.a.example", "recordType": null, "recordValue": "x" } }),
        ),
        ("WEB_SERVER", web(&format!("http://labs.a.example{file}"), "x\r\n")),
        ("WEB_SERVER", web(&format!("https://www.labs.a.example{file}"), "x")),
    ] {
        let told = said(&scene, method, shown_by.clone()).await.unwrap();
        assert_eq!(told.authorization.challenges.len(), 1, "{shown_by}");
    }
    for (method, hostile) in [
        ("DNS", dns("_pki-validation.b.example", "TXT")),
        ("DNS", dns("www.bank.example", "TXT")),
        ("DNS", dns("_pki-validation.labs.a.example", "CNAME")),
        ("DNS", dns("not a name", "TXT")),
        ("WEB_SERVER", web(&format!("http://b.example{file}"), "x")),
        ("WEB_SERVER", web("http://labs.a.example/etc/passwd", "x")),
        ("WEB_SERVER", web("http://labs.a.example/.well-known/../x", "x")),
        ("WEB_SERVER", web(&format!("http://labs.a.example:8080{file}"), "x")),
        ("WEB_SERVER", web(&format!("http://labs.a.example{file}?a=b"), "x")),
        ("WEB_SERVER", web(&format!("http://labs.a.example{file}"), "<script>")),
        ("WEB_SERVER", web("nonsense", "x")),
        ("WEB_SERVER", web("file:///etc/passwd", "x")),
    ] {
        let error = said(&scene, method, hostile.clone()).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{hostile}: {error}");
    }
}

async fn said(scene: &Scene, method: &str, more: Value) -> certlife_core::Result<DomainValidation> {
    let mut body = json!({ "domainName": "labs.a.example", "verificationMethod": method, "verificationStatus": "initial_verification" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    scene.fake.befall(Step::Domain, Mishap::Say(200, body));
    let kind = if method == "DNS" { ChallengeKind::DnsTxt } else { ChallengeKind::Http };
    scene.ca().validate_domain(&"labs.a.example".parse().unwrap(), &kind.into()).await
}
