//! Who we are and what we may: tokens, rights, errors, settings.

use std::fs;

use super::*;

#[tokio::test]
async fn a_token_is_kept_replaced_before_it_ends_and_after_it_was_refused() {
    let fx = Fixture::new().await;
    let dns = fx.dns();
    let fetches = || fx.requests().iter().filter(|request| request.ends_with("/token")).count();
    dns.add(&record("a")).await.unwrap();
    dns.add(&record("b")).await.unwrap();
    assert_eq!(fetches(), 1);
    fx.clock.advance(Duration::from_secs(TOKEN_LASTS.unsigned_abs() - 59));
    dns.add(&record("c")).await.unwrap();
    assert_eq!(fetches(), 1, "a minute before its end");
    fx.fake.world().tokens.clear();
    dns.add(&record("d")).await.unwrap();
    assert_eq!(fetches(), 1, "revoked, it is fetched anew and the request repeated");
    assert_eq!(fx.fake.txt_values(OWNER).len(), 4);
}

#[tokio::test]
async fn a_machine_has_its_own_identity_or_one_that_is_named() {
    let fx = Fixture::new().await;
    fx.fake.world().machine = vec![String::new(), CLIENT.into()];
    let machine = |client_id: Option<&str>| {
        let builder = AzureDns::builder_with_managed_identity(SUBSCRIPTION, client_id.map(str::to_owned));
        fx.set_up(builder).token_url(fx.fake.machine_url()).build().unwrap()
    };
    machine(None).add(&record("a")).await.unwrap();
    let summary = machine(Some(CLIENT)).probe().await.unwrap();
    assert_eq!(summary.identity.unwrap().as_str(), format!("managed identity {CLIENT}"));
    let unknown = CLIENT.replace('5', "6");
    let error = machine(Some(&unknown)).add(&record("b")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unauthorized);
    assert!(error.chain().contains("Identity not found"), "{}", error.chain());
    fx.fake.world().refuse_tokens = Some((410, json!({ "error": "gone" })));
    assert_eq!(*machine(None).add(&record("b")).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_federated_token_is_read_from_its_file_for_each_fetch() {
    let fx = Fixture::new().await;
    let path = std::env::temp_dir().join(format!("certlife-federated-{}", std::process::id()));
    let builder = AzureDns::builder_with_federated_token_file(SUBSCRIPTION, TENANT, CLIENT, &path);
    let dns = fx.set_up(builder).build().unwrap();
    let error = dns.add(&record("a")).await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Io(_)) && error.to_string().contains("certlife-federated"),
        "{error}"
    );

    for number in 1..=2 {
        let token = format!("eyJhbGciOi.federated-{number}.jwt");
        fx.fake.world().trusted.clone_from(&token);
        fs::write(&path, format!("{token}\n")).unwrap();
        dns.add(&record(&format!("value-{number}"))).await.unwrap();
        fx.clock.advance(Duration::from_hours(1));
    }
    fs::write(&path, "eyJhbGciOi.mistaken.jwt").unwrap();
    let error = dns.add(&record("b")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unauthorized);
    assert!(
        error.chain().contains("AADSTS700213") && !error.chain().contains("mistaken.jwt"),
        "{}",
        error.chain()
    );
    fs::write(&path, " ").unwrap();
    assert!(matches!(dns.add(&record("b")).await.unwrap_err().kind(), ErrorKind::Io(_)));
    fs::remove_file(&path).unwrap();
}

#[tokio::test]
async fn a_federated_token_can_be_a_setting() {
    let fx = Fixture::new().await;
    let token = "eyJhbGciOi.federated.jwt";
    fx.fake.world().trusted = token.into();
    let settings = json!({
        "subscription_id": SUBSCRIPTION, "tenant_id": TENANT, "client_id": CLIENT, "federated_token": token,
        "base_url": fx.fake.base_url(), "token_url": fx.fake.token_url(),
    });
    let settings: Settings = serde_json::from_value(settings).unwrap();
    assert!(!format!("{settings:?}").contains(token));
    let dns = AzureDns::from_settings(settings, Arc::new(fx.clock.clone())).unwrap();
    dns.add(&record("value")).await.unwrap();
    assert!(!format!("{dns:?}").contains(token));
}

#[tokio::test]
async fn refused_tokens_have_their_meaning() {
    let fx = Fixture::new().await;
    for (status, error, number, expected) in [
        (401, "invalid_client", 7_000_215, "unauthorized"),
        (401, "invalid_client", 7_000_222, "unauthorized"),
        (400, "unauthorized_client", 700_016, "unauthorized"),
        (400, "invalid_request", 90_002, "unauthorized"),
        (400, "invalid_client", 70_021, "unauthorized"),
        (400, "invalid_resource", 500_011, "rejected"),
        (400, "invalid_scope", 70_011, "rejected"),
        (400, "invalid_request", 1, "rejected"),
        (400, "access_denied", 53_003, "forbidden"),
        (400, "temporarily_unavailable", 1, "unavailable"),
        (500, "odd", 1, "unavailable"),
        (429, "odd", 1, "rate_limited"),
    ] {
        let words = format!("AADSTS{number}: words of the vendor");
        let body = json!({ "error": error, "error_description": words, "error_codes": [number] });
        fx.fake.world().refuse_tokens = Some((status, body));
        let failed = fx.dns().add(&record("value")).await.unwrap_err();
        assert_eq!(failed.kind().code(), expected, "{error} {number}: {}", failed.chain());
        assert!(failed.chain().contains(&words), "{}", failed.chain());
    }
    for body in [
        json!({}),
        json!({ "access_token": "two\nlines" }),
        json!({ "access_token": "a", "expires_in": "x" }),
    ] {
        fx.fake.world().refuse_tokens = Some((200, body));
        assert_eq!(fx.dns().add(&record("value")).await.unwrap_err().kind().code(), "protocol");
    }
}

#[tokio::test]
async fn refused_changes_have_their_meaning() {
    let fx = Fixture::new().await;
    let flat = |code: &str| json!({ "code": code, "message": "words of the vendor" });
    let wrapped = |code: &str| json!({ "error": flat(code) });
    let restricted = json!({
        "code": "BadRequest", "message": "no", "details": [flat("CannotCreateRecordDueToCNameNamingRestriction")],
    });
    for (status, body, expected) in [
        (400, flat("BadRequest"), "rejected"),
        (400, restricted, "conflict"),
        (401, wrapped("InvalidAuthenticationToken"), "unauthorized"),
        (401, wrapped("ExpiredAuthenticationToken"), "unauthorized"),
        (403, wrapped("AuthorizationFailed"), "forbidden"),
        (403, wrapped("RequestDisallowedByPolicy"), "forbidden"),
        (404, wrapped("SubscriptionNotFound"), "forbidden"),
        (404, wrapped("ResourceNotFound"), "zone_not_found"),
        (404, wrapped("ParentResourceNotFound"), "zone_not_found"),
        (404, wrapped("ResourceGroupNotFound"), "zone_not_found"),
        (409, flat("Conflict"), "conflict"),
        (409, wrapped("ScopeLocked"), "conflict"),
        (409, wrapped("MissingSubscriptionRegistration"), "not_eligible"),
        (409, wrapped("ReadOnlyDisabledSubscription"), "not_eligible"),
        (409, wrapped("AnotherOperationInProgress"), "rate_limited"),
        (429, flat("RetryableErrorDueToAnotherOperation"), "rate_limited"),
        (429, flat("TooManyRequests"), "rate_limited"),
        (400, flat("QuotaExceeded"), "quota_exceeded"),
        (500, wrapped("InternalServerError"), "uncertain"),
        (503, Value::Null, "uncertain"),
        (200, flat("Odd"), "rejected"),
        (200, json!({}), "protocol"),
    ] {
        fx.fake.world().refuse_changes = Some((status, body.clone()));
        let error = fx.dns().add(&record("value")).await.unwrap_err();
        assert_eq!(error.kind().code(), expected, "{body}: {}", error.chain());
        let told = body.is_null() || body == json!({}) || error.chain().contains("words of the vendor");
        assert!(told, "{}", error.chain());
    }
}

#[tokio::test]
async fn a_missing_right_is_named_with_its_scope() {
    let fx = Fixture::new().await;
    for (right, action) in [("TXT/write", "publish"), ("TXT/read", "publish"), ("read", "publish")] {
        fx.fake.world().denied = vec![format!("Microsoft.Network/dnsZones/{right}")];
        let error = fx.dns().add(&record("value")).await.unwrap_err();
        let told = error.to_string();
        assert!(matches!(error.kind(), ErrorKind::Forbidden(_)), "{}", error.chain());
        assert!(told.contains(&format!("Microsoft.Network/dnsZones/{right} on /subscriptions/")), "{told}");
        assert!(told.contains(action) && told.contains("DNS Zone Contributor"), "{told}");
        assert!(told.contains("request 9e1f3c1a"), "{told}");
    }
}

#[tokio::test]
async fn testing_the_account_changes_nothing_and_names_what_is_missing() {
    let fx = Fixture::new().await;
    let dns = fx.dns();
    let summary = dns.probe().await.unwrap();
    assert_eq!(summary.identity.unwrap().as_str(), format!("application {CLIENT}"));
    assert_eq!(summary.details["zones"].as_str(), "2");
    assert!(summary.warnings.is_empty());
    assert_eq!(fx.requests().len(), 4, "the token, the zones, a write and a deletion that fail");
    assert!(fx.fake.world().sets.is_empty());

    for right in ["read", "TXT/write", "TXT/delete"] {
        fx.fake.world().denied = vec![format!("Microsoft.Network/dnsZones/{right}")];
        for dns in [fx.dns(), fx.builder().zone(GROUP, "example.org").build().unwrap()] {
            let told = dns.probe().await.unwrap_err().to_string();
            assert!(
                told.contains(&format!("a right is missing: Microsoft.Network/dnsZones/{right} on")),
                "{told}"
            );
        }
    }
    fx.add_zone("other", "example.net", "Public");
    fx.fake.world().denied = vec!["Microsoft.Network/dnsZones/TXT/write@other".into()];
    let warnings = dns.probe().await.unwrap().warnings;
    assert_eq!(warnings.len(), 1, "in one of two groups");
    assert!(warnings[0].as_str().contains("/resourceGroups/other/"), "{warnings:?}");
    fx.fake.world().zones.clear();
    let warnings = dns.probe().await.unwrap().warnings;
    assert!(warnings[0].as_str().contains("DNS Zone Contributor"), "{warnings:?}");
    let stated = fx.builder().zone(GROUP, "example.org").build().unwrap();
    assert_eq!(*stated.probe().await.unwrap_err().kind(), ErrorKind::ZoneNotFound(name("example.org")));
}

#[tokio::test]
async fn a_resource_group_that_is_not_there_is_named() {
    let fx = Fixture::new().await;
    let dns = fx.builder().resource_group("nowhere").build().unwrap();
    fx.fake.world().zones.clear();
    let error = dns.probe().await.unwrap_err();
    assert!(error.chain().contains("the resource group does not exist"), "{}", error.chain());
    let error = dns.zone_of(&name(OWNER)).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::ZoneNotFound(name(OWNER)));
    assert!(error.chain().contains("'nowhere' could not be found"), "{}", error.chain());
}

#[test]
fn settings_that_cannot_work_are_named() {
    let whole = json!({
        "subscription_id": SUBSCRIPTION, "tenant_id": TENANT, "client_id": CLIENT, "client_secret": SECRET,
    });
    let build = |changes: Value| {
        let mut settings = whole.clone();
        for (key, value) in changes.as_object().unwrap() {
            settings[key] = value.clone();
        }
        settings.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let settings: Settings = serde_json::from_value(settings).unwrap();
        assert!(!format!("{settings:?}").contains(SECRET));
        AzureDns::from_settings(settings, Arc::new(LeapClock::default()))
    };
    for (changes, setting) in [
        (json!({ "subscription_id": null }), "subscription_id"),
        (json!({ "subscription_id": "../x" }), "subscription_id"),
        (json!({ "tenant_id": null }), "tenant_id"),
        (json!({ "tenant_id": "common" }), "tenant_id"),
        (json!({ "tenant_id": "a/b.example" }), "tenant_id"),
        (json!({ "client_id": null }), "client_id"),
        (json!({ "client_id": "app" }), "client_id"),
        (json!({ "client_secret": null }), "client_secret"),
        (json!({ "client_secret": " " }), "client_secret"),
        (json!({ "managed_identity": true }), "client_secret"),
        (json!({ "federated_token": "t" }), "client_secret"),
        (json!({ "client_secret": null, "federated_token": "" }), "federated_token"),
        (json!({ "client_secret": null, "federated_token_file": "token" }), "federated_token_file"),
        (json!({ "client_secret": null, "managed_identity": true, "client_id": "x" }), "client_id"),
        (json!({ "resource_group": "a/b" }), "resource_group"),
        (json!({ "resource_group": "" }), "resource_group"),
        (json!({ "zone": "example.org" }), "resource_group"),
        (json!({ "zone": "a b", "resource_group": "g" }), "zone"),
        (json!({ "ttl": 0 }), "ttl"),
        (json!({ "ttl": 2_147_483_648_u32 }), "ttl"),
        (json!({ "base_url": "http://api.example" }), "base_url"),
        (json!({ "token_url": "http://api.example" }), "token_url"),
        (json!({ "audience": " / " }), "audience"),
    ] {
        let message = build(changes.clone()).unwrap_err().to_string();
        assert!(message.starts_with(&format!("setting `{setting}`")), "{changes}: {message}");
    }
    for changes in [
        json!({ "tenant_id": "contoso.example", "resource_group": "a-b_c.(d)" }),
        json!({ "subscription_id": SUBSCRIPTION.to_uppercase(), "zone": "Example.ORG.", "resource_group": "g" }),
        json!({ "client_secret": null, "client_id": null, "tenant_id": null, "managed_identity": true }),
        json!({ "cloud": "china" }),
        json!({ "cloud": "AzureUSGovernmentCloud", "ttl": 1 }),
    ] {
        build(changes).unwrap();
    }
    assert!(serde_json::from_value::<Settings>(json!({ "subscription": "s" })).is_err());
    assert!(serde_json::from_value::<Settings>(json!({ "cloud": "german" })).is_err());
    let schema = serde_json::to_value(schemars::schema_for!(Settings)).unwrap();
    assert!(schema["properties"]["client_secret"].to_string().contains("writeOnly"), "{schema:#}");
    assert!(schema["properties"]["federated_token"].to_string().contains("writeOnly"), "{schema:#}");
}

#[test]
fn each_cloud_has_its_own_addresses() {
    for (cloud, host) in [
        (Cloud::Public, "https://management.azure.com/"),
        (Cloud::UsGovernment, "https://management.usgovcloudapi.net/"),
        (Cloud::China, "https://management.chinacloudapi.cn/"),
    ] {
        let dns = AzureDns::builder(SUBSCRIPTION, TENANT, CLIENT, SECRET).cloud(cloud).build().unwrap();
        assert!(format!("{dns:?}").contains(host), "{dns:?}");
    }
}
