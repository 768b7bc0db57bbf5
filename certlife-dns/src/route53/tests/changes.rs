//! What happens to records.

use certlife_core::Retry;
use futures_util::future::join_all;
use serde_json::json;

use super::*;

#[tokio::test]
async fn a_value_alone_at_its_name_costs_one_request_and_a_shared_name_three() {
    let fx = Fixture::new().await;
    let dns = fx.dns();
    let zone = fx.fake.world().zones[0].id.clone();
    let change = format!("POST /2013-04-01/hostedzone/{zone}/rrset/");
    let read = format!("GET /2013-04-01/hostedzone/{zone}/rrset");
    let compared = [change.clone(), read.clone(), change.clone()];

    let a = dns.add(&record("a")).await.unwrap();
    assert_eq!(
        fx.requests(),
        ["GET /2013-04-01/hostedzonesbyname", &change],
        "one search for all zones below"
    );
    let b = dns.add(&record("b")).await.unwrap();
    assert_eq!(fx.requests(), compared);
    assert!(dns.add(&record("b")).await.unwrap().existed);
    assert_eq!(fx.requests(), compared[..2]);
    dns.remove(&a.handle).await.unwrap();
    assert_eq!(fx.requests(), compared);
    dns.remove(&b.handle).await.unwrap();
    assert_eq!(fx.requests(), [change.as_str()]);
    dns.remove(&b.handle).await.unwrap();
    assert_eq!(fx.requests(), compared[..2]);
    dns.add(&DnsRecord::txt(name("_acme-challenge.sub.example.org"), "c")).await.unwrap();
    assert_eq!(fx.requests().len(), 1, "the nested zone is known already");
}

#[tokio::test]
async fn five_requests_a_second_are_sent_and_no_more() {
    let fx = Fixture::new().await;
    let (dns, began) = (fx.dns(), fx.clock.now());
    let records: Vec<_> = (0..20).map(|n| DnsRecord::txt(name(&format!("n{n}.example.org")), "v")).collect();
    for added in join_all(records.iter().map(|record| dns.add(record))).await {
        added.unwrap();
    }
    assert_eq!(fx.requests().len(), 21, "one search, and a change for each");
    assert!(fx.clock.now().since(began) >= Duration::from_secs(4));
}

#[tokio::test]
async fn a_set_that_others_change_all_the_time_is_given_up_for_now() {
    let fx = Fixture::new().await;
    let owner = record("").name;
    let meddle = |count: usize| {
        let values = (0..count).map(|number| (owner.to_string(), format!("\"{count}-{number}\"")));
        fx.fake.world().meddling = values.collect();
    };
    meddle(2);
    fx.dns().add(&record("ours")).await.unwrap();
    assert_eq!(fx.values(&owner).len(), 3, "twice is no reason");

    meddle(20);
    let error = fx.dns().add(&record("more")).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (&ErrorKind::RevisionConflict, Retry::Backoff));
    let told = error.chain();
    assert!(told.contains("do not match the current values"), "{told}");
}

#[tokio::test]
async fn what_a_set_has_besides_its_values_is_kept() {
    let fx = Fixture::new().await;
    let check = "<HealthCheckId>abc</HealthCheckId>";
    let before = fx.insert_set("", check, &["theirs"]);
    let added = fx.dns().add(&record("ours")).await.unwrap();
    let shared = fx.fake.world().sets[0].clone();
    assert_eq!((shared.ttl, &shared.extra.1, shared.values.len()), (300, &check.to_owned(), 2));
    fx.dns().remove(&added.handle).await.unwrap();
    assert_eq!(fx.fake.world().sets, [before]);
}

#[tokio::test]
async fn sets_with_a_routing_policy_and_aliases_are_never_touched() {
    for (before, behind, values, word) in [
        ("<SetIdentifier>x</SetIdentifier><Weight>1</Weight>", "", vec!["theirs", "ours"], "routing policy"),
        (
            "",
            "<AliasTarget><HostedZoneId>Z1</HostedZoneId><DNSName>b.</DNSName></AliasTarget>",
            vec![],
            "alias",
        ),
        ("", "<TrafficPolicyInstanceId>x</TrafficPolicyInstanceId>", vec!["theirs"], "traffic policy"),
    ] {
        let fx = Fixture::new().await;
        let set = fx.insert_set(before, behind, &values);
        let error = fx.dns().add(&record("ours")).await.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Conflict(_)) && error.to_string().contains(word),
            "{error}"
        );
        assert_eq!(error.retry(), Retry::Never);
        fx.dns().remove(&RecordHandle::unknown(record("ours"))).await.unwrap();
        assert_eq!(fx.fake.world().sets, [set]);
    }
}

#[tokio::test]
async fn a_lost_answer_to_a_change_is_uncertain_and_not_sent_again() {
    let fx = Fixture::new().await;
    let dns = fx.dns();
    dns.zone_of(&record("").name).await.unwrap();
    fx.requests();
    fx.fake.world().lose_next_answer = true;
    let error = dns.add(&record("value")).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (&ErrorKind::Uncertain, Retry::Never));
    assert_eq!(fx.requests().len(), 1);
}

#[tokio::test]
async fn after_a_crash_exactly_our_value_is_removed() {
    let fx = Fixture::new().await;
    fx.fake.world().insert("TXT", record("").name.as_str(), "\"theirs\"");
    fx.fake.world().lose_next_answer = true;
    fx.dns().add(&record("ours")).await.unwrap_err();
    assert_eq!(fx.values(&record("").name), ["theirs", "ours"]);
    fx.dns().remove(&RecordHandle::unknown(record("ours"))).await.unwrap();
    assert_eq!(fx.values(&record("").name), ["theirs"]);
}

#[tokio::test]
async fn a_busy_zone_is_waited_for() {
    let fx = Fixture::new().await;
    fx.fake.world().busy = 5;
    let began = fx.clock.now();
    fx.dns().add(&record("value")).await.unwrap();
    assert!(fx.clock.now().since(began) > Duration::from_secs(5));
    fx.fake.world().busy = 50;
    let error = fx.dns().add(&record("other")).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (&ErrorKind::RateLimited, Retry::Backoff));
    assert!(error.chain().contains("still processing a prior request"), "{}", error.chain());
}

#[tokio::test]
async fn distribution_follows_the_change_until_it_is_in_sync() {
    let fx = Fixture::new().await;
    let handle = fx.dns().add(&record("value")).await.unwrap().handle;
    let restarted = fx.dns();
    for expected in
        [Distribution::Pending(ASK_AGAIN), Distribution::Pending(ASK_AGAIN), Distribution::Complete]
    {
        assert_eq!(restarted.distribution(&handle).await.unwrap(), expected);
    }
    fx.fake.world().changes.clear();
    assert_eq!(restarted.distribution(&handle).await.unwrap(), Distribution::Unknown);
    let existed = restarted.add(&record("value")).await.unwrap();
    assert_eq!(restarted.distribution(&existed.handle).await.unwrap(), Distribution::Unknown);
}

#[tokio::test]
async fn ids_in_a_handle_that_are_no_ids_are_not_used() {
    let fx = Fixture::new().await;
    for vendor in [
        json!({ "zone": "../Z1", "change": "C1" }),
        json!({ "zone": fx.fake.world().zones[0].id, "change": "/change/../x" }),
    ] {
        let mut handle = fx.dns().add(&record("value")).await.unwrap().handle;
        handle.vendor = vendor;
        assert_eq!(fx.dns().distribution(&handle).await.unwrap(), Distribution::Unknown);
        fx.dns().remove(&handle).await.unwrap();
        assert!(fx.values(&handle.record.name).is_empty());
    }
}

#[tokio::test]
async fn errors_have_their_meaning() {
    let fx = Fixture::new().await;
    let plain = |code: &str, message: &str| {
        format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
        )
    };
    let batch = |message: &str| {
        format!("<InvalidChangeBatch><Messages><Message>{message}</Message></Messages></InvalidChangeBatch>")
    };
    for (status, body, expected) in [
        (403, plain("AccessDenied", "not authorized to perform: x"), "forbidden"),
        (403, plain("InvalidClientTokenId", "x"), "unauthorized"),
        (403, plain("SignatureDoesNotMatch", "x"), "unauthorized"),
        (403, plain("ExpiredToken", "x"), "unauthorized"),
        (400, plain("RequestExpired", "x"), "unauthorized"),
        (403, plain("OptInRequired", "x"), "not_eligible"),
        (400, plain("Throttling", "Rate exceeded"), "rate_limited"),
        (400, plain("ThrottlingException", "x"), "rate_limited"),
        (400, plain("RequestLimitExceeded", "x"), "rate_limited"),
        (400, plain("PriorRequestNotComplete", "x"), "rate_limited"),
        (400, plain("LimitsExceeded", "x"), "quota_exceeded"),
        (404, plain("NoSuchHostedZone", "x"), "zone_not_found"),
        (400, plain("InvalidInput", "x"), "rejected"),
        (400, plain("InvalidDomainName", "x"), "rejected"),
        (400, plain("InvalidChangeBatch", "[Duplicate Resource Record: 'x']"), "rejected"),
        (400, plain("InvalidChangeBatch", "[RRSet with DNS name x is not permitted in zone y]"), "rejected"),
        (400, plain("InvalidChangeBatch", "[a conflicting RRSet of type CNAME already exists]"), "conflict"),
        (400, batch("x is not permitted as it conflicts with other records"), "conflict"),
        (400, batch("Tried to create resource record set but it already exists"), "revision_conflict"),
        (400, batch("x is odd"), "rejected"),
        (500, plain("InternalFailure", "x"), "uncertain"),
        (503, plain("ServiceUnavailable", "x"), "uncertain"),
        (400, "no XML".to_owned(), "rejected"),
        (400, "<x>".repeat(100_000), "rejected"),
        (
            403,
            "<!DOCTYPE x [<!ENTITY a 'AccessDenied'>]><E><Error><Code>&a;</Code></Error></E>".to_owned(),
            "forbidden",
        ),
        (200, plain("Odd", "x"), "rejected"),
        (200, "<ChangeResourceRecordSetsResponse/>".to_owned(), "protocol"),
    ] {
        fx.fake.world().refuse_changes = Some((status, body.clone()));
        let error = fx.dns().add(&record("value")).await.unwrap_err();
        assert_eq!(error.kind().code(), expected, "{}", error.chain());
    }
}

#[tokio::test]
async fn targets_are_compared_without_their_final_dot() {
    let fx = Fixture::new().await;
    let owner = record("").name;
    fx.fake.world().insert("CNAME", owner.as_str(), "Target.example.net");
    let alias = DnsRecord::cname(owner, name("target.example.net"));
    assert!(fx.dns().add(&alias).await.unwrap().existed);
    fx.dns().remove(&RecordHandle::unknown(alias)).await.unwrap();
    assert!(fx.fake.world().sets.is_empty());
}

#[tokio::test]
async fn what_is_not_ascii_is_escaped_in_octal() {
    let fx = Fixture::new().await;
    fx.dns().add(&record("über")).await.unwrap();
    assert_eq!(fx.fake.world().sets[0].values, [r#""\303\274ber""#]);
    assert!(fx.dns().add(&record("über")).await.unwrap().existed);
}

#[tokio::test]
async fn new_sets_have_the_stated_time_to_live() {
    let fx = Fixture::new().await;
    fx.dns().add(&record("value")).await.unwrap();
    assert_eq!(fx.fake.world().sets[0].ttl, 10);
    let other = fx.builder().ttl_seconds(0).build().unwrap();
    // With another one than it was made with, a value is removed all the same.
    other.remove(&RecordHandle::unknown(record("value"))).await.unwrap();
    other.add(&record("value")).await.unwrap();
    assert_eq!(fx.fake.world().sets[0].ttl, 0);
}
