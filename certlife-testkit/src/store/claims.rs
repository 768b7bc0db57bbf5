//! Contract: *exclusive*, and what a claim brings.

use std::collections::BTreeSet;

use certlife_core::{
    Timestamp,
    store::{Claim, Draft, Key, Kind, Write},
};
use futures_util::future::join_all;

use super::{
    StoreFixture,
    samples::{Shape, at, claim, claimed_ids, insert, key, order, read, worker, write, written},
};

/// Contract: *exclusive*. Of several workers that claim at once, each due record goes to exactly one.
pub async fn each_due_record_goes_to_one_worker(fx: &impl StoreFixture) {
    let store = fx.open().await;
    insert(&*store, (0..100).map(|id| order(format!("{id:03}")).due(id % 10))).await;
    let workers = (1..=6).map(|who| {
        let store = &*store;
        async move {
            let mut mine = Vec::new();
            loop {
                let claimed = claim(store, who, 50, 500, 7).await;
                if claimed.work.is_empty() {
                    return mine;
                }
                assert!(claimed.work.iter().all(|leased| leased.lease.worker == worker(who)));
                mine.extend(claimed.work);
                tokio::task::yield_now().await;
            }
        }
    });
    let taken: Vec<_> = join_all(workers).await.into_iter().flatten().collect();
    let ids: BTreeSet<_> = taken.iter().map(|leased| leased.record.key.clone()).collect();
    let tokens: BTreeSet<_> = taken.iter().map(|leased| leased.lease.token).collect();
    assert_eq!((taken.len(), ids.len()), (100, 100));
    assert_eq!(tokens.len(), 100, "no two leases share a token");
}

/// A claim takes what is due, earliest first and at most `limit`, and brings records as they are.
pub async fn the_earliest_due_come_first(fx: &impl StoreFixture) {
    let store = fx.open().await;
    let drafts = [order("c").due(3), order("a").due(5), order("b").due(1), order("never"), order("d").due(4)];
    insert(&*store, drafts).await;
    let first = claim(&*store, 1, 4, 60, 2).await;
    assert_eq!(claimed_ids(&first), ["b", "c"]);
    assert_eq!(first.work[0].record, written(order("b").due(1), 1));
    let lease = &first.work[0].lease;
    assert_eq!((&lease.key, lease.worker, lease.until), (&key("b"), worker(1), at(60)));
    let second = claim(&*store, 2, 4, 60, 10).await;
    assert_eq!(claimed_ids(&second), ["d"], "due at `now` is due; a millisecond later is not");
    assert!(second.work[0].lease.token > first.work[1].lease.token, "tokens grow");
    assert_eq!(claimed_ids(&claim(&*store, 2, 5, 60, 10).await), ["a"]);
    assert_eq!(read(&*store, "b").await.revision, 1, "a claim is no write");
}

/// A claim takes records of every kind, and moments at both ends of time.
pub async fn every_kind_and_moment_is_claimed(fx: &impl StoreFixture) {
    let store = fx.open().await;
    let due = |kind, due| Draft { key: Key::new(kind, "x"), due: Some(due), ..order("x") };
    insert(
        &*store,
        [
            due(Kind::Certificate, Timestamp::MAX),
            due(Kind::Deployment, at(0)),
            due(Kind::Catalog, Timestamp::from_unix_millis(-1)),
            due(Kind::Order, Timestamp::MIN),
        ],
    )
    .await;
    let wish = Claim { worker: worker(1), now: at(0), until: Timestamp::MAX, limit: usize::MAX };
    let claimed = store.claim(&wish).await.unwrap();
    let kinds: Vec<_> = claimed.work.iter().map(|leased| leased.record.key.kind).collect();
    assert_eq!(kinds, [Kind::Order, Kind::Catalog, Kind::Deployment]);
    assert_eq!(claimed.next, Some(Timestamp::MAX));
}

/// `next` is when the first record that was not taken becomes due or falls free.
pub async fn next_says_when_to_come_back(fx: &impl StoreFixture) {
    let store = fx.open().await;
    assert_eq!(claim(&*store, 1, 0, 60, 10).await.next, None, "an empty store waits for nothing");
    insert(&*store, [order("never")]).await;
    assert_eq!(claim(&*store, 1, 0, 60, 10).await.next, None, "nor does one where nothing is due");
    insert(&*store, [order("a").due(1), order("b").due(2), order("c").due(90)]).await;
    assert_eq!(claim(&*store, 1, 0, 60, 10).await.next, Some(at(1)), "nothing taken yet");
    assert_eq!(claim(&*store, 1, 5, 60, 0).await.next, Some(at(1)), "nothing wanted");
    assert_eq!(claim(&*store, 1, 5, 60, 1).await.next, Some(at(2)), "the limit left one that is due");
    assert_eq!(claim(&*store, 1, 5, 70, 1).await.next, Some(at(60)), "the other worker's lease ends first");
    assert_eq!(claim(&*store, 1, 5, 70, 1).await.next, Some(at(60)));
    assert_eq!(claim(&*store, 1, 60, 200, 1).await.next, Some(at(70)));
    assert_eq!(claim(&*store, 1, 70, 200, 1).await.next, Some(at(90)));
    assert_eq!(claim(&*store, 1, 95, 200, 10).await.next, Some(at(200)), "leased until then");
}

/// Replacing a record changes when it is due; deleting it ends its waiting.
pub async fn due_times_follow_the_record(fx: &impl StoreFixture) {
    let store = fx.open().await;
    insert(&*store, [order("later").due(1), order("never").due(1), order("gone").due(1), order("now")]).await;
    write(
        &*store,
        vec![
            Write::Replace(order("later").due(50), 1),
            Write::Replace(order("never"), 1),
            Write::Delete(key("gone"), 1),
            Write::Replace(order("now").due(2), 1),
        ],
    )
    .await
    .unwrap();
    let claimed = claim(&*store, 1, 10, 60, 10).await;
    assert_eq!((claimed_ids(&claimed), claimed.next), (vec!["now"], Some(at(50))));
}
