//! The API for keys, which changes sets.

use super::*;

certlife_testkit::dns_conformance!(Fixture::classic().await);

#[tokio::test]
async fn a_change_costs_a_question_before_and_one_after() {
    let fx = Fixture::classic().await;
    let dns = fx.dns();
    let first = dns.add(&record("a")).await.unwrap();
    let set = "/v1/domains/example.org/records/TXT/_acme-challenge.www";
    let (ask, append) = (&*format!("GET {set}"), "PATCH /v1/domains/example.org/records");
    assert_eq!(fx.requests(), ["GET /v1/domains", ask, append, ask]);
    let second = dns.add(&record("b")).await.unwrap();
    assert_eq!(fx.requests(), [ask, append, ask]);
    assert!(dns.add(&record("b")).await.unwrap().existed);
    assert_eq!(fx.requests(), [ask]);
    dns.remove(&first.handle).await.unwrap();
    assert_eq!(fx.requests(), [ask, &*format!("PUT {set}"), ask]);
    dns.remove(&second.handle).await.unwrap();
    assert_eq!(fx.requests(), [ask, &*format!("DELETE {set}"), ask]);
}

#[tokio::test]
async fn others_keep_their_time_to_live_and_blanks_go() {
    let fx = Fixture::classic().await;
    for value in ["theirs", "", " "] {
        fx.fake.insert(OWNER, value);
    }
    let dns = fx.builder().ttl_seconds(900).build().unwrap();
    let added = dns.add(&record("ours")).await.unwrap();
    assert_eq!(fx.records().last().unwrap(), &("ours".to_owned(), 900));
    dns.remove(&added.handle).await.unwrap();
    assert_eq!(fx.records(), [("theirs".to_owned(), 3_600)]);
    dns.remove(&RecordHandle::unknown(record("theirs"))).await.unwrap();
    let error = dns.add(&record(" ")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported(_)), "{}", error.chain());
}

#[tokio::test]
async fn a_set_of_blanks_is_deleted_with_the_last_value() {
    let fx = Fixture::classic().await;
    fx.fake.insert(OWNER, " ");
    fx.fake.insert(OWNER, "ours");
    fx.dns().remove(&RecordHandle::unknown(record("ours"))).await.unwrap();
    assert!(fx.records().is_empty());
}

#[tokio::test]
async fn a_value_that_others_add_just_before_us_existed() {
    let fx = Fixture::classic().await;
    fx.fake.world().intruders.push_back((OWNER.into(), "same".into()));
    assert!(fx.dns().add(&record("same")).await.unwrap().existed, "somebody was faster");
}

#[tokio::test]
async fn a_change_that_others_undo_is_made_again() {
    let fx = Fixture::classic().await;
    fx.fake.insert(OWNER, "theirs");
    fx.fake.world().restorers = 1;
    let added = fx.dns().add(&record("ours")).await.unwrap();
    assert!(!added.existed);
    assert_eq!((fx.fake.txt_values(OWNER).len(), fx.count("PATCH")), (2, 2));
    fx.fake.world().restorers = 1;
    fx.dns().remove(&added.handle).await.unwrap();
    assert_eq!((fx.fake.txt_values(OWNER), fx.count("PUT")), (vec!["theirs".to_owned()], 2));
    fx.fake.world().restorers = 100;
    let error = fx.dns().add(&record("ours")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict(_)), "{}", error.chain());
    assert_eq!(error.retry(), Retry::Backoff);
}

#[tokio::test]
async fn a_change_that_does_not_show_yet_is_waited_for_and_not_repeated() {
    let fx = Fixture::classic().await;
    let dns = fx.dns();
    dns.add(&record("a")).await.unwrap();
    // The question before the change sees what was before the last one, and so do two after it.
    fx.fake.world().stale_reads = 3;
    let added = dns.add(&record("b")).await.unwrap();
    assert_eq!((fx.count("PATCH"), fx.fake.world().stale_reads), (2, 0));
    dns.remove(&added.handle).await.unwrap();
    assert_eq!(fx.fake.txt_values(OWNER), ["a"]);
}

#[tokio::test]
async fn a_busy_zone_is_asked_again_and_then_told() {
    let fx = Fixture::classic().await;
    let dns = fx.dns();
    for busy in [1, 4] {
        fx.fake.world().busy = busy;
        let added = dns.add(&record("a")).await.unwrap();
        fx.fake.world().busy = busy;
        dns.remove(&added.handle).await.unwrap();
        assert!(fx.records().is_empty());
    }
    fx.fake.world().busy = 100;
    let error = dns.add(&record("a")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict(_)), "{}", error.chain());
    assert_eq!(error.retry(), Retry::Backoff);
    assert!(error.to_string().contains("being rebuilt"), "{error}");
}

#[tokio::test]
async fn a_lost_answer_to_an_addition_is_uncertain_and_to_a_removal_looked_into() {
    let fx = Fixture::classic().await;
    let dns = fx.dns();
    fx.fake.world().lose_next_answer = true;
    let error = dns.add(&record("ours")).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (&ErrorKind::Uncertain, Retry::Never));
    assert_eq!(fx.count("PATCH"), 1);
    fx.fake.insert(OWNER, "theirs");
    fx.fake.world().lose_next_answer = true;
    fx.dns().remove(&RecordHandle::unknown(record("ours"))).await.unwrap();
    assert_eq!((fx.fake.txt_values(OWNER), fx.count("PUT")), (vec!["theirs".to_owned()], 1));
}

#[tokio::test]
async fn a_set_that_may_not_be_whole_is_not_replaced() {
    let fx = Fixture::classic().await;
    for number in 0..500 {
        fx.fake.insert(OWNER, &format!("value-{number}"));
    }
    let error = fx.dns().remove(&RecordHandle::unknown(record("value-7"))).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported(_)), "{}", error.chain());
    assert_eq!(fx.records().len(), 500);
}

#[tokio::test]
async fn a_set_that_is_absent_may_be_an_error() {
    let fx = Fixture::classic().await;
    fx.fake.world().absent_is_an_error = true;
    let added = fx.dns().add(&record("value")).await.unwrap();
    assert!(!added.existed);
    fx.dns().remove(&added.handle).await.unwrap();
    fx.dns().remove(&added.handle).await.unwrap();
    assert!(fx.records().is_empty());
}

#[tokio::test]
async fn an_alias_to_the_apex_may_be_an_at_sign() {
    let fx = Fixture::classic().await;
    let alias = |target: &str| DnsRecord::cname(name("www.example.org"), name(target));
    fx.dns().add(&alias("example.org")).await.unwrap();
    fx.fake.world().records[0].data = "@".into();
    assert!(fx.dns().add(&alias("example.org")).await.unwrap().existed);
    let error = fx.dns().add(&alias("example.net")).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict(_)), "{}", error.chain());
    assert_eq!(fx.count("PATCH"), 1, "a second target is not even tried");
    fx.dns().remove(&RecordHandle::unknown(alias("example.org"))).await.unwrap();
    assert!(fx.records().is_empty());
}

#[tokio::test]
async fn the_limit_is_sixty_requests_a_minute() {
    let fx = Fixture::classic().await;
    let clock = Arc::new(LeapClock::default());
    let dns = fx.builder().clock(clock.clone()).build().unwrap();
    let start = clock.now();
    for number in 0..20 {
        dns.add(&DnsRecord::txt(name(&format!("a{number}.example.org")), "value")).await.unwrap();
    }
    assert_eq!(fx.requests().len(), 61);
    assert_eq!(clock.now().since(start), Duration::from_mins(1));
}
