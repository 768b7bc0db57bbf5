//! Contract: *fenced*.

use certlife_core::store::{AfterCommit, Kind, Lease, Query, Write};

use super::{
    StoreFixture,
    samples::{
        Shape, assert_conflict, assert_lost, at, claim, claim_one, event, insert, key, list_all, list_ids,
        order, read, worker, write, write_under, written,
    },
};

/// A lease keeps others away until it ends, and the record can be claimed again from that moment on.
pub async fn a_lease_keeps_others_away_until_it_ends(fx: &impl StoreFixture) {
    let store = fx.open().await;
    insert(&*store, [order("a").due(0)]).await;
    let first = claim_one(&*store, 1, 10, 20).await;
    for who in [1, 2] {
        assert!(claim(&*store, who, 19, 40, 10).await.work.is_empty(), "not even its holder claims it twice");
    }
    let second = claim_one(&*store, 2, 20, 40).await;
    assert!(second.lease.token > first.lease.token);
    assert_eq!(second.lease.worker, worker(2));
}

/// Contract: *fenced*. Once a record is claimed again, its former holder can neither write nor extend, and
/// its release does no harm.
pub async fn a_former_holder_cannot_write(fx: &impl StoreFixture) {
    let store = fx.open().await;
    insert(&*store, [order("a").due(0)]).await;
    let old = claim_one(&*store, 1, 0, 10).await.lease;
    let new = claim_one(&*store, 2, 10, 20).await.lease;
    for after in [AfterCommit::Keep, AfterCommit::Release] {
        let writes = vec![Write::Replace(order("a").body("late"), 1), event("late")];
        assert_lost(write_under(&*store, vec![(old.clone(), after)], writes).await);
    }
    assert_lost(store.extend(&old, at(1_000)).await);
    store.release(&old).await.unwrap();
    assert!(claim(&*store, 3, 19, 40, 10).await.work.is_empty(), "the new lease stands");
    assert_eq!(read(&*store, "a").await, written(order("a").due(0), 1));
    let writes = vec![Write::Replace(order("a").body("in time").due(0), 1)];
    write_under(&*store, vec![(new, AfterCommit::Keep)], writes).await.unwrap();
    assert_eq!(read(&*store, "a").await.body, "in time");
}

/// Contract: *fenced*, whatever the clock. A lease that ended, but was not claimed by another since, still
/// writes and extends: the store compares tokens, not moments.
pub async fn an_unclaimed_lease_outlives_its_end(fx: &impl StoreFixture) {
    let store = fx.open().await;
    insert(&*store, [order("a").due(0)]).await;
    let lease = claim_one(&*store, 1, 0, 1).await.lease;
    assert_eq!(claim(&*store, 2, 99, 100, 0).await.next, Some(at(1)), "it has ended");
    let writes = vec![Write::Replace(order("a").body("2").due(0), 1)];
    write_under(&*store, vec![(lease.clone(), AfterCommit::Keep)], writes).await.unwrap();
    let extended = store.extend(&lease, at(50)).await.unwrap();
    assert_eq!(extended, Lease { until: at(50), ..lease });
    assert!(claim(&*store, 2, 49, 99, 10).await.work.is_empty());
    assert_eq!(claim_one(&*store, 2, 50, 99).await.record.body, "2");
}

/// A lease can be extended and shortened, any number of times, and its token stays.
pub async fn a_lease_is_extended(fx: &impl StoreFixture) {
    let store = fx.open().await;
    insert(&*store, [order("a").due(0)]).await;
    let lease = claim_one(&*store, 1, 0, 10).await.lease;
    let longer = store.extend(&lease, at(30)).await.unwrap();
    assert_eq!(longer, Lease { until: at(30), ..lease.clone() });
    assert!(claim(&*store, 2, 29, 40, 10).await.work.is_empty());
    let shorter = store.extend(&lease, at(20)).await.unwrap();
    assert_eq!(claim(&*store, 2, 19, 40, 10).await.next, Some(at(20)));
    write_under(&*store, vec![(shorter, AfterCommit::Keep)], Vec::new()).await.unwrap();
    claim_one(&*store, 2, 20, 40).await;
}

/// A released record is claimable at once, and the lease is void; releasing twice is harmless.
pub async fn a_released_record_is_free(fx: &impl StoreFixture) {
    let store = fx.open().await;
    insert(&*store, [order("a").due(0)]).await;
    let lease = claim_one(&*store, 1, 0, 100).await.lease;
    store.release(&lease).await.unwrap();
    store.release(&lease).await.unwrap();
    assert_lost(store.extend(&lease, at(200)).await);
    assert_lost(write_under(&*store, vec![(lease.clone(), AfterCommit::Keep)], vec![event("late")]).await);
    let next = claim_one(&*store, 2, 0, 100).await.lease;
    store.release(&lease).await.unwrap();
    assert!(claim(&*store, 3, 99, 200, 10).await.work.is_empty());
    assert!(next.token > lease.token);
}

/// `AfterCommit::Keep` keeps the lease over any number of commits, `Release` ends it with the commit.
pub async fn a_commit_keeps_or_releases_its_lease(fx: &impl StoreFixture) {
    let store = fx.open().await;
    insert(&*store, [order("a").due(0)]).await;
    let lease = claim_one(&*store, 1, 0, 100).await.lease;
    for revision in 1..=3_u64 {
        let writes = vec![Write::Replace(order("a").due(revision.cast_signed()), revision)];
        write_under(&*store, vec![(lease.clone(), AfterCommit::Keep)], writes).await.unwrap();
        assert!(claim(&*store, 2, 99, 200, 10).await.work.is_empty());
    }
    let writes = vec![Write::Replace(order("a").due(5), 4)];
    write_under(&*store, vec![(lease.clone(), AfterCommit::Release)], writes).await.unwrap();
    assert_eq!(claim(&*store, 2, 4, 200, 10).await.next, Some(at(5)));
    assert_eq!(claim_one(&*store, 2, 5, 200).await.record.revision, 5);
    assert_lost(write_under(&*store, vec![(lease, AfterCommit::Keep)], Vec::new()).await);
}

/// A commit that fails for another reason leaves the lease as it was.
pub async fn a_failed_commit_keeps_its_lease(fx: &impl StoreFixture) {
    let store = fx.open().await;
    insert(&*store, [order("a").due(0)]).await;
    let lease = claim_one(&*store, 1, 0, 100).await.lease;
    let writes = vec![Write::Replace(order("a"), 9)];
    assert_conflict(write_under(&*store, vec![(lease.clone(), AfterCommit::Release)], writes).await);
    assert!(claim(&*store, 2, 99, 200, 10).await.work.is_empty());
    write_under(&*store, vec![(lease, AfterCommit::Release)], Vec::new()).await.unwrap();
    claim_one(&*store, 2, 99, 200).await;
}

/// A record that others replace while it is leased keeps its lease, and its new due time counts afterwards.
pub async fn a_lease_survives_a_new_due_time(fx: &impl StoreFixture) {
    let store = fx.open().await;
    insert(&*store, [order("a").due(0)]).await;
    let lease = claim_one(&*store, 1, 0, 50).await.lease;
    write(&*store, vec![Write::Replace(order("a").due(10), 1)]).await.unwrap();
    assert_eq!(claim(&*store, 2, 20, 99, 10).await.next, Some(at(50)), "due earlier than free");
    write(&*store, vec![Write::Replace(order("a").due(70), 2)]).await.unwrap();
    assert_eq!(claim(&*store, 2, 60, 99, 10).await.next, Some(at(70)), "free earlier than due");
    write(&*store, vec![Write::Replace(order("a"), 3)]).await.unwrap();
    assert_eq!(claim(&*store, 2, 99, 199, 10).await.next, None, "never due");
    store.extend(&lease, at(80)).await.unwrap();
    assert_eq!(claim(&*store, 2, 99, 199, 10).await.next, None, "an extension makes nothing due");
    let writes = vec![Write::Replace(order("a").due(5), 4)];
    write_under(&*store, vec![(lease, AfterCommit::Release)], writes).await.unwrap();
    claim_one(&*store, 2, 5, 99).await;
}

/// Contract: *fenced*. A lease does not pass on to a record that is made anew under the same key.
pub async fn a_lease_ends_with_its_record(fx: &impl StoreFixture) {
    let store = fx.open().await;
    insert(&*store, [order("a").due(0)]).await;
    let lease = claim_one(&*store, 1, 0, 100).await.lease;
    let deleted = vec![Write::Delete(key("a"), 1)];
    write_under(&*store, vec![(lease.clone(), AfterCommit::Release)], deleted).await.unwrap();
    assert_lost(store.extend(&lease, at(200)).await);
    store.release(&lease).await.unwrap();
    insert(&*store, [order("a").due(0)]).await;
    assert_lost(write_under(&*store, vec![(lease.clone(), AfterCommit::Keep)], vec![event("late")]).await);
    assert_lost(store.extend(&lease, at(200)).await);
    let anew = claim_one(&*store, 2, 0, 100).await.lease;
    assert!(anew.token > lease.token, "tokens are not counted by record");
    assert_lost(write_under(&*store, vec![(lease, AfterCommit::Keep)], vec![event("late")]).await);
}

/// Contract: *fenced*, *atomic*. If one of several leases is lost, nothing is written or released.
pub async fn one_lost_lease_stops_the_batch(fx: &impl StoreFixture) {
    let store = fx.open().await;
    insert(&*store, [order("a").due(0), order("b").due(1)]).await;
    let mut leases: Vec<Lease> =
        claim(&*store, 1, 1, 10, 10).await.work.into_iter().map(|leased| leased.lease).collect();
    store.extend(&leases[0], at(99)).await.unwrap();
    claim_one(&*store, 2, 10, 99).await;
    for _ in 0..2 {
        let under = leases.iter().map(|lease| (lease.clone(), AfterCommit::Release)).collect();
        let writes = vec![Write::Replace(order("a").body("2"), 1), Write::Insert(order("c")), event("late")];
        assert_lost(write_under(&*store, under, writes).await);
        leases.reverse();
    }
    assert_eq!(read(&*store, "a").await, written(order("a").due(0), 1));
    assert_eq!(list_ids(&*store, &Query::all(Kind::Order)).await, ["a", "b"]);
    assert!(list_all(&*store, &Query::all(Kind::Event)).await.is_empty());
    assert!(claim(&*store, 3, 98, 199, 10).await.work.is_empty(), "both leases stand");
}

/// A lease that nobody was given is a lost one, also with numbers that no store gives out.
pub async fn an_invented_lease_is_lost(fx: &impl StoreFixture) {
    let store = fx.open().await;
    insert(&*store, [order("a").due(0), order("free")]).await;
    let real = claim_one(&*store, 1, 0, 100).await.lease;
    for token in [0, real.token + 1, u64::MAX] {
        for id in ["a", "free", "absent"] {
            let invented = Lease { key: key(id), token, ..real.clone() };
            assert_lost(store.extend(&invented, at(500)).await);
            assert_lost(
                write_under(&*store, vec![(invented.clone(), AfterCommit::Release)], Vec::new()).await,
            );
            store.release(&invented).await.unwrap();
        }
    }
    assert!(claim(&*store, 2, 99, 200, 10).await.work.is_empty());
}
