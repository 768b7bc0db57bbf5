//! What happens to TXT values at one name.

use std::{future::poll_fn, task::Poll};

use certlife_core::dns::{DnsRecord, RecordHandle};
use futures_util::future::join_all;

use super::{super::fixture::DnsFixture, Case};

/// *Additive* and *exact*: another value at the name stays.
pub async fn sibling_values_survive(fx: &impl DnsFixture) {
    let case = Case::new(fx, "sibling");
    let first = case.add("a").await;
    case.add("b").await;
    case.holds(&["a", "b"]).await;
    case.remove(&first.handle).await;
    case.holds(&["b"]).await;
}

/// *Exact*: names above, below and beside keep their values, even equal ones.
pub async fn neighbours_survive(fx: &impl DnsFixture) {
    let case = Case::new(fx, "neighbour");
    let below = case.name.child("_below").unwrap();
    let beside = fx.name("neighbour-beside");
    for name in [&below, &beside] {
        case.dns.add(&DnsRecord::txt(name.clone(), "same")).await.unwrap();
    }
    let added = case.add("same").await;
    case.remove(&added.handle).await;
    case.holds(&[]).await;
    case.holds_at(&below, &["same"]).await;
    case.holds_at(&beside, &["same"]).await;
}

/// *Additive*: `example.com` and `*.example.com` are proved at one name, at the same time, in any order.
pub async fn apex_and_wildcard_share_a_name(fx: &impl DnsFixture) {
    let case = Case::new(fx, "wildcard");
    let (apex, wildcard) = (case.txt("apex-value"), case.txt("wildcard-value"));
    let (apex, wildcard) = futures_util::join!(case.dns.add(&apex), case.dns.add(&wildcard));
    case.holds(&["apex-value", "wildcard-value"]).await;
    case.remove(&wildcard.unwrap().handle).await;
    case.holds(&["apex-value"]).await;
    case.remove(&apex.unwrap().handle).await;
    case.holds(&[]).await;
}

/// *Idempotent*: adding what is there is success and changes nothing.
pub async fn adding_twice_publishes_once(fx: &impl DnsFixture) {
    let case = Case::new(fx, "twice");
    case.add("value").await;
    let again = case.add("value").await;
    case.holds(&["value"]).await;
    case.remove(&again.handle).await;
    case.holds(&[]).await;
}

/// `existed` is false for what was published now, and true for what was there, whoever asks.
pub async fn existed_tells_who_was_there_first(fx: &impl DnsFixture) {
    let case = Case::new(fx, "existed");
    let by_hand = case.by_hand();
    assert!(!case.add("a").await.existed);
    assert_eq!(case.add("a").await.existed, !by_hand);
    assert!(!case.add("b").await.existed, "another value at the name is not this one");
    let restarted = fx.provider();
    assert_eq!(restarted.add(&case.txt("a")).await.unwrap().existed, !by_hand);
}

/// *Idempotent*: removing what is gone is success.
pub async fn removing_twice_is_success(fx: &impl DnsFixture) {
    let case = Case::new(fx, "gone");
    let added = case.add("value").await;
    case.remove(&added.handle).await;
    case.remove(&added.handle).await;
    case.holds(&[]).await;
}

/// *Idempotent* and *exact*: removing what nobody published touches nothing.
pub async fn removing_what_never_was_is_success(fx: &impl DnsFixture) {
    let case = Case::new(fx, "never");
    let never = RecordHandle::unknown(case.txt("never"));
    case.remove(&never).await;
    case.add("other").await;
    case.remove(&never).await;
    case.holds(&["other"]).await;
}

/// *Durable*: the stored handle removes the record from a new process.
pub async fn a_handle_works_after_a_restart(fx: &impl DnsFixture) {
    let case = Case::new(fx, "restart");
    case.add("other").await;
    let stored = serde_json::to_string(&case.add("value").await.handle).unwrap();
    assert!(stored.len() <= 4 << 10, "a handle is at most 4 KiB");
    let read: RecordHandle = serde_json::from_str(&stored).unwrap();
    fx.provider().remove(&read).await.unwrap();
    case.holds(&["other"]).await;
}

/// *Durable*: the record alone suffices where the answer was lost.
pub async fn a_handle_made_from_the_record_alone_works(fx: &impl DnsFixture) {
    let case = Case::new(fx, "record-alone");
    case.add("other").await;
    case.add("value").await;
    fx.provider().remove(&RecordHandle::unknown(case.txt("value"))).await.unwrap();
    case.holds(&["other"]).await;
}

/// *Concurrent*: no change at a name loses another.
pub async fn twenty_concurrent_changes_at_one_name_all_count(fx: &impl DnsFixture) {
    let case = Case::new(fx, "concurrent");
    let values: Vec<String> = (0..20).map(|number| format!("value-{number}")).collect();
    let added = join_all(values.iter().map(|value| case.add(value))).await;
    case.holds(&values.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let (stay, go) = added.split_at(5);
    let more = (20..25).map(|number| format!("value-{number}")).collect::<Vec<_>>();
    futures_util::join!(
        join_all(go.iter().map(|added| case.remove(&added.handle))),
        join_all(more.iter().map(|value| case.add(value))),
    );
    let left = values[..stay.len()].iter().chain(&more).map(String::as_str);
    case.holds(&left.collect::<Vec<_>>()).await;
}

/// Key authorizations are base64url, where case carries meaning (RFC 4648 §5).
pub async fn values_that_differ_only_in_case_are_two(fx: &impl DnsFixture) {
    let case = Case::new(fx, "case");
    assert!(!case.add("AbC").await.existed);
    let lower = case.add("abc").await;
    assert!(!lower.existed);
    case.remove(&lower.handle).await;
    case.holds(&["AbC"]).await;
}

/// Values are text, not a notation: what a vendor would quote or escape comes out as it went in.
pub async fn awkward_values_come_out_as_they_went_in(fx: &impl DnsFixture) {
    const VALUES: [&str; 9] = [
        r#"a "quoted" word"#,
        r#""quoted as a whole""#,
        r#"one " alone"#,
        r"back\slash \010 \\ and at the end\",
        "semi;colon; key=value, tab-free",
        "two  spaces",
        "v=spf1 include:_spf.example.com -all",
        r#"" ""#,
        "<a href='?a=b&c=%20+'>{}[]",
    ];
    let case = Case::new(fx, "awkward");
    let mut published = Vec::new();
    for value in VALUES {
        if let Some(reason) = fx.cannot_hold(value) {
            let refused = case.dns.add(&case.txt(value)).await;
            assert!(refused.is_err(), "{value}: {}, so it must be refused", reason.0);
        } else {
            assert!(!case.add(value).await.existed, "{value}");
            published.push(value);
        }
    }
    case.holds(&published).await;
    while let Some(value) = published.pop() {
        let again = case.add(value).await;
        assert_eq!(again.existed, !case.by_hand(), "{value} is recognized");
        fx.provider().remove(&RecordHandle::unknown(case.txt(value))).await.unwrap();
        case.holds(&published).await;
    }
}

/// A value longer than one character-string is one value (RFC 1035 §3.3.14).
pub async fn a_value_of_300_bytes_comes_out_in_one_piece(fx: &impl DnsFixture) {
    let case = Case::new(fx, "long");
    let value: String = ('a'..='z').cycle().take(300).collect();
    if let Some(reason) = fx.cannot_hold(&value) {
        let refused = case.dns.add(&case.txt(&value)).await;
        assert!(refused.is_err(), "{}, so it must be refused", reason.0);
        case.holds(&[]).await;
        return;
    }
    case.add(&value).await;
    case.holds(&[&value]).await;
    assert_eq!(case.add(&value).await.existed, !case.by_hand());
    fx.provider().remove(&RecordHandle::unknown(case.txt(&value))).await.unwrap();
    case.holds(&[]).await;
}

/// *Abandonable*: a dropped call leaves nothing behind that stops the next.
pub async fn an_abandoned_change_can_be_repaired(fx: &impl DnsFixture) {
    let case = Case::new(fx, "abandoned");
    case.add("other").await;
    let record = case.txt("value");
    // Abandoned at every step that the provider waits at, until it gets to the end.
    for steps in 0..40 {
        let mut call = case.dns.add(&record);
        let mut left = steps;
        let finished = poll_fn(|context| {
            if call.as_mut().poll(context).is_ready() {
                return Poll::Ready(true);
            }
            if left == 0 {
                return Poll::Ready(false);
            }
            left -= 1;
            Poll::Pending
        });
        if finished.await {
            break;
        }
    }
    case.add("value").await;
    case.holds(&["other", "value"]).await;
    case.remove(&RecordHandle::unknown(record)).await;
    case.holds(&["other"]).await;
}
