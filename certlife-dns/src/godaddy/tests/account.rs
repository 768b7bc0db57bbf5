//! What holds for both APIs: domains, errors, settings.

use super::*;

#[tokio::test]
async fn domains_that_are_not_active_are_passed_over() {
    for with_token in [false, true] {
        let fx = Fixture::new(with_token).await;
        fx.fake.world().add_zone("www.example.org", "CANCELLED");
        let zone = fx.dns().zone_of(&name(OWNER)).await.unwrap();
        assert_eq!((zone.name, zone.id.as_str()), (name("example.org"), "example.org"));
        assert_eq!(zone.name_servers, [name("ns27.domaincontrol.com")]);
    }
}

#[tokio::test]
async fn a_stated_domain_needs_no_search() {
    for with_token in [false, true] {
        let fx = Fixture::new(with_token).await;
        let dns = fx.builder().zone("example.org").build().unwrap();
        dns.add(&record("value")).await.unwrap();
        assert!(fx.requests().iter().all(|request| request.contains("records")));
        let error = dns.add(&DnsRecord::txt(name("a.example.net"), "value")).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::ZoneNotFound(name("a.example.net")));
        fx.fake.world().zones.clear();
        let error = dns.add(&record("value")).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::ZoneNotFound(name(OWNER)));
        let error = dns.probe().await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::ZoneNotFound(name("example.org")));
    }
}

#[tokio::test]
async fn domains_that_are_gone_are_looked_up_again() {
    for with_token in [false, true] {
        let fx = Fixture::new(with_token).await;
        let dns = fx.dns();
        let owner = name("_acme-challenge.sub.example.org");
        dns.add(&DnsRecord::txt(owner.clone(), "a")).await.unwrap();
        fx.fake.world().zones.retain(|zone| zone.name == "example.org");
        dns.add(&DnsRecord::txt(owner.clone(), "b")).await.unwrap();
        assert_eq!(fx.fake.txt_values(owner.as_str()), ["b"]);
    }
}

#[tokio::test]
async fn names_are_relative_and_the_apex_is_an_at_sign() {
    for with_token in [false, true] {
        let fx = Fixture::new(with_token).await;
        for (text, relative) in [("example.org", "@"), ("a.b.example.org", "a.b")] {
            let added = fx.dns().add(&DnsRecord::txt(name(text), "value")).await.unwrap();
            assert_eq!(fx.fake.world().records[0].name, relative);
            fx.dns().remove(&added.handle).await.unwrap();
            assert!(fx.records().is_empty());
        }
        fx.dns().add(&record("value")).await.unwrap();
        assert_eq!(fx.records(), [("value".to_owned(), 600)]);
    }
}

#[tokio::test]
async fn a_crash_after_the_write_leaves_what_the_next_start_removes() {
    for with_token in [false, true] {
        let fx = Fixture::new(with_token).await;
        fx.fake.insert(OWNER, "theirs");
        drop(fx.dns().add(&record("ours")).await.unwrap());
        fx.dns().remove(&RecordHandle::unknown(record("ours"))).await.unwrap();
        assert_eq!(fx.records(), [("theirs".to_owned(), 3_600)]);
    }
}

#[tokio::test]
async fn records_of_other_sets_that_are_shown_are_left_alone() {
    for with_token in [false, true] {
        let fx = Fixture::new(with_token).await;
        for (text, value) in
            [("example.org", "ours"), (OWNER, "theirs"), (OWNER, "ours"), ("www.example.org", "b")]
        {
            fx.fake.insert(text, value);
        }
        fx.fake.world().shows_too_much = true;
        fx.dns().remove(&RecordHandle::unknown(record("ours"))).await.unwrap();
        assert_eq!(fx.fake.txt_values(OWNER), ["theirs"]);
        assert_eq!(fx.records().len(), 3);
    }
}

#[tokio::test]
async fn an_account_that_is_not_eligible_is_told_from_a_wrong_key() {
    let fx = Fixture::classic().await;
    fx.fake.world().not_eligible = true;
    let record = record("value");
    let outcomes = [
        fx.dns().probe().await.err(),
        fx.dns().add(&record).await.err(),
        fx.builder().zone("example.org").build().unwrap().add(&record).await.err(),
    ];
    for error in outcomes {
        let told = error.unwrap().to_string();
        assert!(
            told.contains("the account is not eligible") && told.contains("not allowed access"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn errors_have_their_meaning() {
    let plain = |code: &str| json!({ "code": code, "message": "words of the vendor" });
    for (status, body, expected, expected_with_token) in [
        (400, plain("BAD_REQUEST"), "rejected", "rejected"),
        (401, plain("UNABLE_TO_AUTHENTICATE"), "unauthorized", "unauthorized"),
        (403, plain("ACCESS_DENIED"), "not_eligible", "forbidden"),
        (403, Value::Null, "forbidden", "forbidden"),
        (404, plain("UNKNOWN_DOMAIN"), "zone_not_found", "zone_not_found"),
        (404, plain("NOT_FOUND"), "zone_not_found", "zone_not_found"),
        (409, plain("CONFLICT"), "conflict", "conflict"),
        (422, plain("DUPLICATE_RECORD"), "conflict", "conflict"),
        (422, plain("duplicate_record"), "conflict", "conflict"),
        (422, plain("INVALID_BODY"), "rejected", "rejected"),
        (422, plain("INACTIVE_DOMAIN"), "conflict", "conflict"),
        (429, plain("TOO_MANY_REQUESTS"), "rate_limited", "rate_limited"),
        (429, Value::Null, "rate_limited", "rate_limited"),
        (500, plain("SERVER_ERROR"), "uncertain", "uncertain"),
        (504, Value::Null, "uncertain", "uncertain"),
        (200, plain("ODD"), "rejected", "rejected"),
    ] {
        for (with_token, expected) in [(false, expected), (true, expected_with_token)] {
            let fx = Fixture::new(with_token).await;
            fx.fake.world().refuse_changes = Some((status, body.clone()));
            let error = fx.dns().add(&record("value")).await.unwrap_err();
            assert_eq!(error.kind().code(), expected, "{body}: {}", error.chain());
            assert!(body.is_null() || error.chain().contains("words of the vendor"), "{}", error.chain());
        }
    }
}

#[tokio::test]
async fn the_fields_that_are_wrong_are_named() {
    for with_token in [false, true] {
        let fx = Fixture::new(with_token).await;
        let v1 = json!([{ "code": "UNEXPECTED", "message": "no such label", "path": "records[0].name" }]);
        let v3 =
            json!([{ "issue": "UNEXPECTED", "description": "no such label", "field": "records[0].name" }]);
        let body = json!({
            "code": "INVALID_BODY", "message": "no", "fields": if with_token { json!([]) } else { v1 },
            "details": if with_token { v3 } else { json!([]) },
        });
        fx.fake.world().refuse_changes = Some((422, body));
        let told = fx.dns().add(&record("value")).await.unwrap_err().to_string();
        assert!(told.contains("INVALID_BODY: no; records[0].name UNEXPECTED no such label"), "{told}");
    }
}

#[tokio::test]
async fn testing_the_account_changes_nothing_and_tells_what_to_look_at() {
    for (with_token, requests) in [(false, 2), (true, 3)] {
        let fx = Fixture::new(with_token).await;
        fx.fake.insert(OWNER, "theirs");
        let summary = fx.dns().probe().await.unwrap();
        assert_eq!(summary.details["zones"].as_str(), "2");
        assert!(summary.warnings.is_empty());
        assert_eq!((fx.requests().len(), fx.records().len()), (requests, 1));
        fx.fake.world().zones[0].server = "ada.ns.example.net";
        let warnings = fx.dns().probe().await.unwrap().warnings;
        assert!(warnings[0].as_str().contains("example.org is served by other name servers"), "{warnings:?}");
        fx.fake.world().zones.clear();
        assert!(fx.dns().probe().await.unwrap().warnings[0].as_str().contains("no active domain"));
    }
}

#[tokio::test]
async fn a_reseller_names_the_customer() {
    let fx = Fixture::classic().await;
    fx.fake.world().shopper = Some("123456".into());
    fx.builder().shopper_id("123456").build().unwrap().add(&record("value")).await.unwrap();
}

#[test]
fn the_test_environment_has_its_own_host() {
    let production = GoDaddy::builder(KEY, SECRET).build().unwrap();
    assert!(format!("{production:?}").contains("https://api.godaddy.com/"));
    let ote = GoDaddy::builder_with_token(TOKEN).ote().build().unwrap();
    assert!(format!("{ote:?}").contains("https://api.ote-godaddy.com/"));
}

#[test]
fn settings_that_cannot_work_are_named() {
    let build = |settings: Value| {
        let settings: Settings = serde_json::from_value(settings).unwrap();
        GoDaddy::from_settings(settings, Arc::new(LeapClock::default()))
    };
    for (settings, setting) in [
        (json!({}), "api_key"),
        (json!({ "api_secret": "s" }), "api_key"),
        (json!({ "api_key": "k" }), "api_secret"),
        (json!({ "api_key": "", "api_secret": "s" }), "api_key"),
        (json!({ "api_key": "k:s", "api_secret": "s" }), "api_key"),
        (json!({ "api_key": "k", "api_secret": "\"s\"" }), "api_secret"),
        (json!({ "api_key": "k", "api_secret": "s", "token": "t" }), "token"),
        (json!({ "token": "t", "api_key": "k" }), "token"),
        (json!({ "token": " " }), "token"),
        (json!({ "token": "t", "ttl": 599 }), "ttl"),
        (json!({ "token": "t", "ttl": 86_401 }), "ttl"),
        (json!({ "api_key": "k", "api_secret": "s", "ttl": 604_801 }), "ttl"),
        (json!({ "token": "t", "zone": "a b" }), "zone"),
        (json!({ "token": "t", "shopper_id": " " }), "shopper_id"),
        (json!({ "token": "t", "ote": true, "base_url": "https://api.example" }), "ote"),
        (json!({ "token": "t", "base_url": "http://api.example" }), "base_url"),
    ] {
        let message = build(settings.clone()).unwrap_err().to_string();
        assert!(message.starts_with(&format!("setting `{setting}`")), "{settings}: {message}");
    }
    build(json!({ "api_key": " k\n", "api_secret": "s", "ttl": 604_800, "zone": "Example.ORG." })).unwrap();
    build(json!({ "token": "t", "ttl": 86_400, "ote": true })).unwrap();
    assert!(serde_json::from_value::<Settings>(json!({ "key": "k" })).is_err());
    let schema = serde_json::to_value(schemars::schema_for!(Settings)).unwrap();
    for secret in ["api_key", "api_secret", "token"] {
        assert!(schema["properties"][secret].to_string().contains("writeOnly"), "{schema:#}");
    }
}
