//! Whose requests they are, what they may do, and on which zone.

use futures_util::future::join_all;
use serde_json::json;

use super::*;

#[tokio::test]
async fn a_missing_right_is_named_with_what_it_is_missing_on() {
    let fx = Fixture::new().await;
    let zone = fx.fake.world().zones[0].id.clone();
    for right in ["ListHostedZonesByName", "ChangeResourceRecordSets"] {
        fx.fake.world().denied = [right].into();
        let error = fx.dns().add(&record("value")).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Forbidden(_)), "{error}");
        assert!(error.to_string().contains(&format!("perform: route53:{right} on resource")), "{error}");
    }
    for right in ["ListResourceRecordSets", "ChangeResourceRecordSets"] {
        fx.fake.world().denied = [right].into();
        let warnings = fx.dns().probe().await.unwrap().warnings;
        assert_eq!(warnings.len(), 2, "one a zone: {warnings:?}");
        assert!(warnings[0].as_str().contains(&format!("route53:{right} on resource")), "{warnings:?}");
        assert!(warnings[0].as_str().contains(&zone), "{warnings:?}");
        let error = fx.builder().hosted_zone_id(&zone).build().unwrap().probe().await.unwrap_err();
        assert!(error.to_string().contains(right), "{error}");
    }
    fx.fake.world().denied = ["GetChange"].into();
    let warnings = fx.dns().probe().await.unwrap().warnings;
    assert!(warnings.len() == 1 && warnings[0].as_str().contains("route53:GetChange"), "{warnings:?}");
    fx.fake.world().denied = ["ListHostedZonesByName"].into();
    assert!(matches!(fx.dns().probe().await.unwrap_err().kind(), ErrorKind::Forbidden(_)));
}

#[tokio::test]
async fn an_account_tells_who_it_is_and_is_left_as_it_was() {
    let fx = Fixture::new().await;
    let summary = fx.dns().probe().await.unwrap();
    assert_eq!(summary.identity.unwrap().as_str(), "arn:aws:iam::123456789012:user/certlife");
    assert_eq!(summary.details["account"].as_str(), "123456789012");
    assert!(summary.warnings.is_empty() && fx.fake.world().sets.is_empty());
    fx.fake.world().zones.clear();
    assert!(fx.dns().probe().await.unwrap().warnings[0].as_str().contains("no public zone"));
}

#[tokio::test]
async fn private_zones_are_passed_over_and_public_twins_need_an_id() {
    let fx = Fixture::new().await;
    let private = fx.fake.world().add_zone("example.org", true);
    fx.fake.world().add_zone("www.example.org", true);
    let found = fx.dns().zone_of(&record("").name).await.unwrap();
    assert_eq!(found.name, name("example.org"));
    assert_ne!(found.id, private);
    let stated = fx.builder().hosted_zone_id(&private).build().unwrap();
    assert!(stated.probe().await.unwrap().warnings[0].as_str().contains("is private"));

    let twin = fx.fake.world().add_zone("example.org", false);
    let error = fx.dns().add(&record("value")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict(_)) && error.to_string().contains("hosted_zone_id"));
    fx.builder().hosted_zone_id(&twin).build().unwrap().add(&record("value")).await.unwrap();
    assert_eq!(fx.fake.world().sets[0].zone, twin);
}

#[tokio::test]
async fn a_stated_zone_needs_no_search() {
    let fx = Fixture::new().await;
    let id = fx.fake.world().zones[0].id.clone();
    let foreign = DnsRecord::txt(name("a.example.net"), "value");
    for (builder, requests) in [
        (fx.builder().hosted_zone_id(format!("/hostedzone/{id}")).zone("example.org"), 1),
        (fx.builder().hosted_zone_id(&id), 2),
    ] {
        let dns = builder.build().unwrap();
        let added = dns.add(&record("value")).await.unwrap();
        assert_eq!(fx.requests().len(), requests);
        dns.remove(&RecordHandle::unknown(added.handle.record)).await.unwrap();
        assert_eq!(fx.requests().len(), 1, "the name is asked for once");
        let error = dns.add(&foreign).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::ZoneNotFound(foreign.name.clone()));
        dns.probe().await.unwrap();
        fx.requests();
    }
    let dns = fx.builder().hosted_zone_id(&id).build().unwrap();
    assert_eq!(dns.zone_of(&record("").name).await.unwrap().name_servers.len(), 2);
}

#[tokio::test]
async fn a_remembered_zone_that_is_gone_is_looked_up_again() {
    let fx = Fixture::new().await;
    let dns = fx.dns();
    let first = dns.add(&record("a")).await.unwrap();
    let replace_zone = || {
        let mut world = fx.fake.world();
        world.zones.retain(|zone| zone.name != "example.org");
        world.sets.clear();
        world.add_zone("example.org", false)
    };
    let made_anew = replace_zone();
    dns.add(&record("b")).await.unwrap();
    assert_eq!(fx.fake.world().sets[0].zone, made_anew);
    dns.remove(&first.handle).await.unwrap();
    assert_eq!(fx.values(&record("").name), ["b"], "the first value went with its zone");
    let made_anew = replace_zone();
    dns.remove(&RecordHandle::unknown(record("b"))).await.unwrap();
    dns.add(&record("c")).await.unwrap();
    assert_eq!(fx.fake.world().sets[0].zone, made_anew);
    fx.fake.world().zones.clear();
    let error = dns.add(&record("d")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::ZoneNotFound(record("").name));
}

#[tokio::test]
async fn a_role_is_assumed_once_for_all_and_again_before_its_end() {
    let fx = Fixture::new().await;
    let dns = fx.with_role().role_duration_seconds(900).build().unwrap();
    let assumed = |requests: Vec<String>| requests.iter().filter(|request| *request == "POST /").count();
    let records: Vec<_> = (0..4).map(|n| DnsRecord::txt(name(&format!("n{n}.example.org")), "v")).collect();
    for added in join_all(records.iter().map(|record| dns.add(record))).await {
        added.unwrap();
    }
    assert_eq!(assumed(fx.requests()), 1);
    fx.clock.advance(Duration::from_mins(13));
    dns.add(&record("a")).await.unwrap();
    assert_eq!(assumed(fx.requests()), 0);
    fx.clock.advance(Duration::from_secs(90));
    dns.add(&record("b")).await.unwrap();
    assert_eq!(assumed(fx.requests()), 1);
    assert!(dns.probe().await.unwrap().identity.unwrap().as_str().contains("assumed-role"));
}

#[tokio::test]
async fn revoked_sessions_are_renewed_and_refused_roles_told() {
    let fx = Fixture::new().await;
    let dns = fx.with_role().build().unwrap();
    dns.add(&record("a")).await.unwrap();
    fx.fake.world().revoke_sessions();
    dns.add(&record("b")).await.unwrap();
    assert_eq!(fx.values(&record("").name), ["a", "b"]);

    let stranger = fx.builder().role_arn(ROLE).external_id("external-0002").build().unwrap();
    let error = stranger.add(&record("c")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Forbidden(_)), "{error}");
    assert!(error.to_string().contains("sts:AssumeRole"), "{error}");
}

#[tokio::test]
async fn a_session_token_goes_along_and_a_wrong_clock_is_told() {
    let fx = Fixture::new().await;
    let (id, token) = ("ASIAINVENTED00000002", "session+token/of/a/test==");
    fx.fake.world().add_key(id, SECRET, Some(token), i64::MAX);
    let with = |token: &str| {
        let builder = Route53::builder(id, SECRET).session_token(token).base_url(fx.fake.base_url());
        builder.clock(fx.clock.clone()).build().unwrap()
    };
    with(token).add(&record("value")).await.unwrap();
    let error = with("session+token/of/another==").add(&record("value")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unauthorized);
    assert!(!format!("{error:?} {}", error.chain()).contains("another=="));

    let late = LeapClock::starting_at(fx.clock.now() + Duration::from_mins(6));
    let error = fx.builder().clock(Arc::new(late)).build().unwrap().add(&record("value")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unauthorized);
    assert!(error.chain().contains("Signature expired"), "{}", error.chain());
}

#[test]
fn settings_that_cannot_work_are_named() {
    for (settings, setting) in [
        (json!({ "access_key_id": "short" }), "access_key_id"),
        (json!({ "access_key_id": "AKIA INVENTED 000001" }), "access_key_id"),
        (json!({ "secret_access_key": " " }), "secret_access_key"),
        (json!({ "secret_access_key": "\"quoted\"" }), "secret_access_key"),
        (json!({ "session_token": "two words" }), "session_token"),
        (json!({ "region": "example.com/" }), "region"),
        (json!({ "region": "frankfurt" }), "region"),
        (json!({ "hosted_zone_id": "../Z1" }), "hosted_zone_id"),
        (json!({ "zone": "example.org" }), "hosted_zone_id"),
        (json!({ "hosted_zone_id": "Z1", "zone": "a b" }), "zone"),
        (json!({ "external_id": "x" }), "role_arn"),
        (json!({ "role_arn": "arn:aws:iam::123456789012:user/x" }), "role_arn"),
        (json!({ "role_arn": ROLE, "role_session_name": "a b" }), "role_session_name"),
        (json!({ "role_arn": ROLE, "external_id": "x" }), "external_id"),
        (json!({ "role_arn": ROLE, "role_duration_seconds": 60 }), "role_duration_seconds"),
        (json!({ "ttl": 2_147_483_648_u32 }), "ttl"),
        (json!({ "base_url": "http://api.example" }), "base_url"),
        (json!({ "sts_url": "http://sts.example" }), "sts_url"),
    ] {
        let mut all = json!({ "access_key_id": KEY_ID, "secret_access_key": SECRET });
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let parsed: Settings = serde_json::from_value(all).unwrap();
        let message = Route53::from_settings(parsed, Arc::new(LeapClock::default())).unwrap_err().to_string();
        assert!(message.starts_with(&format!("setting `{setting}`")), "{settings}: {message}");
    }
    assert!(serde_json::from_value::<Settings>(json!({ "access_key_id": KEY_ID })).is_err());
    let schema = serde_json::to_value(schemars::schema_for!(Settings)).unwrap();
    for secret in ["secret_access_key", "session_token"] {
        assert!(schema["properties"][secret].to_string().contains("writeOnly"), "{schema:#}");
    }
}

#[test]
fn each_partition_has_its_address() {
    let debug = |region: &str| {
        let builder = Route53::builder(KEY_ID, format!("{SECRET}\n")).region(region);
        format!("{:?}", builder.build().unwrap())
    };
    for (region, host) in [
        ("eu-central-1", "https://route53.amazonaws.com/"),
        ("cn-north-1", "https://route53.amazonaws.com.cn/"),
        ("us-gov-east-1", "https://route53.us-gov.amazonaws.com/"),
        ("eusc-de-east-1", "https://route53.amazonaws.eu/"),
    ] {
        assert!(debug(region).contains(host), "{region}: {}", debug(region));
    }
}
