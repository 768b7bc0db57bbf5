//! What a provider does when the vendor or the network does not cooperate.

use std::time::Duration;

use certlife_core::{
    Error, ErrorKind, Retry,
    dns::{Distribution, RecordHandle},
};

use super::{super::fixture::DnsFixture, Case, works_all_the_same};

/// `probe` succeeds for an account that works.
pub async fn the_account_can_be_tested(fx: &impl DnsFixture) {
    let case = Case::new(fx, "probe");
    let name = case.dns.provider();
    assert_eq!(name.as_str(), name.as_str().to_lowercase());
    case.dns.probe().await.unwrap_or_else(|error| panic!("{}", error.chain()));
    case.holds(&[]).await;
}

/// Refused credentials are told as such, by every call, and not worth another try.
pub async fn wrong_credentials_are_unauthorized(fx: &impl DnsFixture) {
    let dns = match fx.with_wrong_credentials() {
        Ok(dns) => dns,
        Err(reason) => {
            the_account_can_be_tested(fx).await;
            return works_all_the_same(fx, reason).await;
        }
    };
    let case = Case::new(fx, "credentials");
    let record = case.txt("value");
    let outcomes = [
        dns.probe().await.err(),
        dns.zone_of(&case.name).await.err(),
        dns.add(&record).await.err(),
        dns.remove(&RecordHandle::unknown(record)).await.err(),
    ];
    for error in outcomes {
        let error = error.expect("wrong credentials are refused");
        assert_eq!(*error.kind(), ErrorKind::Unauthorized, "{}", error.chain());
        assert_eq!(error.retry(), Retry::Never);
        print_no_secrets(fx, &error);
    }
    case.holds(&[]).await;
}

/// `Retry-After` reaches the caller, and the same call succeeds later.
pub async fn throttling_for_a_stated_time_is_told(fx: &impl DnsFixture) {
    let stated = Duration::from_hours(1);
    if let Err(reason) = fx.throttle(Some(stated)) {
        return works_all_the_same(fx, reason).await;
    }
    let error = throttled(fx).await;
    let Retry::After(wait) = error.retry() else { panic!("{:?} does not say when", error.retry()) };
    // A server may state it as a moment, from which some of the time has passed.
    assert!(wait <= stated && wait > stated.mul_f32(0.9), "{wait:?}");
}

/// Without `Retry-After` the caller is told to back off.
pub async fn throttling_for_an_unknown_time_is_told(fx: &impl DnsFixture) {
    if let Err(reason) = fx.throttle(None) {
        return works_all_the_same(fx, reason).await;
    }
    let error = throttled(fx).await;
    assert_ne!(error.retry(), Retry::Never);
}

async fn throttled(fx: &impl DnsFixture) -> Error {
    let case = Case::new(fx, "throttled");
    let error = case.dns.add(&case.txt("value")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::RateLimited, "{}", error.chain());
    case.holds(&[]).await;
    fx.recover();
    case.add("value").await;
    case.holds(&["value"]).await;
    error
}

/// After a lost answer the same call succeeds, and the value is there once.
pub async fn a_lost_answer_is_repaired_by_asking_again(fx: &impl DnsFixture) {
    if let Err(reason) = fx.lose_next_answer() {
        return works_all_the_same(fx, reason).await;
    }
    let case = Case::new(fx, "lost");
    let record = case.txt("value");
    if let Err(error) = case.dns.add(&record).await {
        answer_is_missing(&error);
    }
    case.holds(&["value"]).await;
    let again = fx.provider().add(&record).await.unwrap();
    assert!(again.existed);
    case.holds(&["value"]).await;
    case.remove(&again.handle).await;
    case.holds(&[]).await;
}

/// After a lost answer the record can be removed without knowing whether it was published.
pub async fn a_lost_answer_is_repaired_by_removing(fx: &impl DnsFixture) {
    if let Err(reason) = fx.lose_next_answer() {
        return works_all_the_same(fx, reason).await;
    }
    let case = Case::new(fx, "lost-removed");
    let record = case.txt("value");
    if let Err(error) = case.dns.add(&record).await {
        answer_is_missing(&error);
    }
    fx.provider().remove(&RecordHandle::unknown(record)).await.unwrap();
    case.holds(&[]).await;
}

/// After a lost answer to a removal the same call succeeds.
pub async fn a_lost_answer_to_a_removal_is_repaired_by_asking_again(fx: &impl DnsFixture) {
    let case = Case::new(fx, "lost-removal");
    let added = case.add("value").await;
    if let Err(reason) = fx.lose_next_answer() {
        case.remove(&added.handle).await;
        return works_all_the_same(fx, reason).await;
    }
    if let Err(error) = case.dns.remove(&added.handle).await {
        answer_is_missing(&error);
    }
    case.holds(&[]).await;
    fx.provider().remove(&added.handle).await.unwrap();
    case.holds(&[]).await;
}

fn answer_is_missing(error: &Error) {
    let kind = error.kind();
    let fits = matches!(
        kind,
        ErrorKind::Uncertain | ErrorKind::Timeout | ErrorKind::Unavailable | ErrorKind::Unreachable
    );
    assert!(fits, "a lost answer is {}", error.chain());
}

/// An error is an error, whatever the status beside it says.
pub async fn an_error_in_the_body_is_an_error(fx: &impl DnsFixture) {
    if let Err(reason) = fx.fail_in_body() {
        return works_all_the_same(fx, reason).await;
    }
    let case = Case::new(fx, "body");
    let record = case.txt("value");
    assert!(case.dns.add(&record).await.is_err());
    case.holds(&[]).await;
    fx.recover();
    case.add("value").await;
    case.holds(&["value"]).await;
}

/// Neither the provider nor its builder nor an error prints a secret.
pub async fn secrets_are_never_printed(fx: &impl DnsFixture) {
    let secrets = match fx.secrets() {
        Ok(secrets) => secrets,
        Err(reason) => return works_all_the_same(fx, reason).await,
    };
    assert!(secrets.iter().all(|secret| secret.len() >= 8), "secrets that can be told from other text");
    let case = Case::new(fx, "secrets");
    let mut printed = vec![format!("{:?}", case.dns), format!("{:#?}", case.dns), fx.debug_of_builder()];
    printed.push(format!("{:?}", case.add("value").await));
    if let Err(error) = case.dns.zone_of(&fx.foreign_name()).await {
        printed.push(format!("{error:?} {} ", error.chain()));
    }
    for text in &printed {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "a secret is printed: {text}");
        }
    }
}

fn print_no_secrets(fx: &impl DnsFixture, error: &Error) {
    let printed = format!("{error:?} {}", error.chain());
    for secret in fx.secrets().unwrap_or_default() {
        assert!(!printed.contains(&secret), "a secret is printed: {printed}");
    }
}

/// `distribution` says what the capabilities promise, and comes to an end.
pub async fn distribution_is_honest(fx: &impl DnsFixture) {
    let case = Case::new(fx, "distribution");
    let added = case.add("value").await;
    let handles = [added.handle.clone(), RecordHandle::unknown(added.handle.record)];
    for handle in &handles {
        let mut answer = case.dns.distribution(handle).await.unwrap();
        if !case.dns.capabilities().distribution {
            assert_eq!(answer, Distribution::Unknown);
        }
        for _ in 0..100 {
            let Distribution::Pending(wait) = answer else { break };
            assert!(wait <= Duration::from_mins(10), "{wait:?} is a long time to ask again after");
            answer = case.dns.distribution(handle).await.unwrap();
        }
        assert!(!matches!(answer, Distribution::Pending(_)), "distribution ends");
    }
}
