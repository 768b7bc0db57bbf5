//! The API for tokens, which changes records.

use super::*;

certlife_testkit::dns_conformance!(Fixture::token().await);

#[tokio::test]
async fn an_addition_costs_a_question_and_a_removal_nothing_but_itself() {
    let fx = Fixture::token().await;
    let dns = fx.dns();
    let added = dns.add(&record("a")).await.unwrap();
    let records = "/v3/domains/zones/example.org/dns-records";
    let (ask, create) = (&*format!("GET {records}"), &*format!("POST {records}"));
    assert_eq!(fx.requests(), ["GET /v3/domains/domain-names", ask, create]);
    let id = added.handle.vendor["record"].as_str().unwrap().to_owned();
    fx.dns().remove(&added.handle).await.unwrap();
    assert_eq!(fx.requests(), [format!("DELETE {records}/{id}")]);
    dns.remove(&RecordHandle::unknown(record("a"))).await.unwrap();
    assert_eq!(fx.requests(), [ask]);
}

#[tokio::test]
async fn ids_in_a_handle_that_are_none_or_of_another_zone_are_not_used() {
    let fx = Fixture::token().await;
    for vendor in [
        json!({ "zone": "example.org", "record": "../../x" }),
        json!({ "zone": "example.net", "record": "b7c1e0d2" }),
        json!({ "zone": "example.org", "record": "" }),
        json!("odd"),
    ] {
        let mut handle = fx.dns().add(&record("value")).await.unwrap().handle;
        handle.vendor = vendor;
        fx.dns().remove(&handle).await.unwrap();
        assert!(fx.records().is_empty());
    }
}

#[tokio::test]
async fn a_duplicate_that_was_not_seen_is_there_already() {
    let fx = Fixture::token().await;
    fx.fake.world().intruders.push_back((OWNER.into(), "same".into()));
    let added = fx.dns().add(&record("same")).await.unwrap();
    assert!(added.existed);
    assert!(added.handle.vendor["record"].is_string());
}

#[tokio::test]
async fn a_lost_answer_to_an_addition_is_uncertain_and_not_sent_again() {
    let fx = Fixture::token().await;
    fx.fake.insert(OWNER, "theirs");
    fx.fake.world().lose_next_answer = true;
    let error = fx.dns().add(&record("ours")).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (&ErrorKind::Uncertain, Retry::Never));
    assert_eq!(fx.count("POST"), 1);
    fx.dns().remove(&RecordHandle::unknown(record("ours"))).await.unwrap();
    assert_eq!(fx.fake.txt_values(OWNER), ["theirs"]);
}

#[tokio::test]
async fn records_are_read_to_the_last_page() {
    let fx = Fixture::token().await;
    for number in 0..250 {
        fx.fake.insert(OWNER, &format!("value-{number}"));
    }
    assert!(fx.dns().add(&record("value-249")).await.unwrap().existed);
    fx.dns().remove(&RecordHandle::unknown(record("value-230"))).await.unwrap();
    assert_eq!(fx.records().len(), 249);
}

#[tokio::test]
async fn pages_of_domains_lead_nowhere_else() {
    let fx = Fixture::token().await;
    for number in 0..150 {
        fx.fake.world().add_zone(&format!("zone-{number}.example"), "ACTIVE");
    }
    fx.fake.world().relative_links = true;
    fx.dns().zone_of(&name("a.zone-149.example")).await.unwrap();
    for link in ["https://api.godaddy.com.example.net/", "//example.net/", "http://127.0.0.1:9/", "https://["]
    {
        fx.fake.world().next_link = Some(link.into());
        let error = fx.dns().zone_of(&name("a.zone-149.example")).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{link}: {}", error.chain());
    }
}

#[tokio::test]
async fn a_value_of_more_than_512_characters_is_refused() {
    let fx = Fixture::token().await;
    let error = fx.dns().add(&record(&"x".repeat(513))).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Rejected(_)), "{}", error.chain());
}

#[tokio::test]
async fn a_missing_scope_is_named() {
    let fx = Fixture::token().await;
    for scope in ["domains.domain:read", "domains.dns:update"] {
        fx.fake.world().denied = vec![scope];
        for error in [fx.dns().probe().await.err(), fx.dns().add(&record("a")).await.err()] {
            let told = error.unwrap().to_string();
            assert!(
                told.contains("a right is missing") && told.contains(&format!("scope {scope},")),
                "{told}"
            );
        }
    }
}
