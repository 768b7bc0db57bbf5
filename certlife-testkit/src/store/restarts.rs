//! Contract: *durable*, as far as a test without a power switch goes; and large bodies.

use std::sync::Arc;

use certlife_core::store::{AfterCommit, Field, Kind, Query, Write};

use super::{
    StoreFixture,
    samples::{
        Shape, assert_conflict, assert_lost, at, claim, claim_one, claimed_ids, event, insert, key, list_all,
        order, read, write, write_under, written,
    },
};

/// Contract: *durable*. A new store over the same data has all records, index values, events and positions.
pub async fn records_survive_a_restart(fx: &impl StoreFixture) {
    let draft = order("a").body("1").due(7).found_by(Field::State, "s");
    let store = fx.open().await;
    insert(&*store, [draft.clone(), order("gone")]).await;
    write(&*store, vec![Write::Replace(draft.clone(), 1), event("first")]).await.unwrap();
    write(&*store, vec![Write::Delete(key("gone"), 1)]).await.unwrap();
    drop(store);

    let store = fx.open().await;
    assert_eq!(list_all(&*store, &Query::all(Kind::Order)).await, [written(draft.clone(), 2)]);
    let found = list_all(&*store, &Query::all(Kind::Order).having(Field::State, "s")).await;
    assert_eq!(found, [written(draft, 2)]);
    assert_eq!(write(&*store, vec![event("second")]).await.unwrap().position, Some(2));
    let events = list_all(&*store, &Query::all(Kind::Event)).await;
    assert!(events.iter().map(|event| event.body.as_str()).eq(["first", "second"]));
    assert_conflict(write(&*store, vec![Write::Replace(order("a"), 1)]).await);
    assert_eq!(claim(&*store, 1, 6, 60, 10).await.next, Some(at(7)));
}

/// Contract: *durable*. Leases hold over a restart, for and against their holder, and tokens go on growing.
pub async fn leases_survive_a_restart(fx: &impl StoreFixture) {
    let store = fx.open().await;
    insert(&*store, [order("a").due(0), order("b").due(1)]).await;
    let old = claim_one(&*store, 1, 0, 10).await.lease;
    drop(store);

    let store = fx.open().await;
    assert_eq!(claimed_ids(&claim(&*store, 2, 9, 50, 10).await), ["b"], "`a` is leased until 10");
    let writes = vec![Write::Replace(order("a").due(0).body("2"), 1)];
    write_under(&*store, vec![(old.clone(), AfterCommit::Keep)], writes).await.unwrap();
    let old = store.extend(&old, at(20)).await.unwrap();
    drop(store);

    let store = fx.open().await;
    assert_eq!(claim(&*store, 2, 19, 50, 10).await.next, Some(at(20)));
    let new = claim_one(&*store, 2, 20, 50).await;
    assert!(new.lease.token > old.token);
    assert_eq!(new.record.body, "2");
    drop(store);

    let store = fx.open().await;
    assert_lost(write_under(&*store, vec![(old, AfterCommit::Keep)], vec![event("late")]).await);
    write_under(&*store, vec![(new.lease, AfterCommit::Release)], Vec::new()).await.unwrap();
    claim_one(&*store, 3, 49, 60).await;
}

/// Two stores over the same data see each other's commits and leases at once.
pub async fn two_stores_share_their_data(fx: &impl StoreFixture) {
    let (one, other) = (fx.open().await, fx.open().await);
    for number in 1..=20_u64 {
        let id = number.to_string();
        insert(&*one, [order(&id).due(0)]).await;
        assert_eq!(read(&*other, &id).await.revision, 1);
        let leased = claim_one(&*other, 2, 0, 100).await;
        assert!(claim(&*one, 1, 0, 100, 10).await.work.is_empty());
        one.release(&leased.lease).await.unwrap();
        assert_lost(other.extend(&leased.lease, at(200)).await);
        let writes = vec![Write::Replace(order(&id), 1), event(id.as_str())];
        assert_eq!(write(&*other, writes).await.unwrap().position, Some(number));
        assert_conflict(write(&*one, vec![Write::Delete(key(&id), 1)]).await);
    }
}

/// Bodies of up to a mebibyte come back whole, through every way of reading, and after a restart.
pub async fn large_bodies_come_back_whole(fx: &impl StoreFixture) {
    let sizes = [0, 1, 4_095, 4_096, 65_536, 1 << 20];
    let body = |size: usize| "€uro\0\n".chars().cycle().take(size / 2).chain("x".chars()).collect::<String>();
    let store = fx.open().await;
    let drafts = sizes.map(|size| order(format!("{size:07}")).body(body(size)).due(0));
    insert(&*store, drafts.clone()).await;
    drop(store);

    let store = fx.open().await;
    let expected = drafts.map(|draft| written(draft, 1));
    assert!(list_all(&*store, &Query::all(Kind::Order)).await == expected);
    for record in &expected {
        assert!(store.get(&record.key).await.unwrap().as_ref() == Some(record));
    }
    let claimed = claim(&*store, 1, 0, 10, 10).await.work;
    assert_eq!(claimed.len(), expected.len());
    assert!(claimed.iter().all(|leased| expected.contains(&leased.record)));
}

/// Contract: *abandonable*. A dropped call happened as a whole or not at all.
pub async fn an_abandoned_commit_is_whole_or_absent(fx: &impl StoreFixture) {
    let store = fx.open().await;
    for number in 0..40 {
        let store = Arc::clone(&store);
        let commit = tokio::spawn(async move {
            let writes = vec![
                Write::Insert(order(format!("{number}/a"))),
                Write::Insert(order(format!("{number}/b"))),
                event("both"),
            ];
            write(&*store, writes).await
        });
        if number % 2 == 0 {
            tokio::task::yield_now().await;
        }
        commit.abort();
        let _ = commit.await;
    }
    // Once this is written, so is everything that was asked for before it.
    insert(&*store, [order("last")]).await;
    let mut whole = 0;
    for number in 0..40 {
        let a = store.get(&key(format!("{number}/a"))).await.unwrap();
        let b = store.get(&key(format!("{number}/b"))).await.unwrap();
        assert_eq!(a.is_some(), b.is_some());
        whole += usize::from(a.is_some());
    }
    assert_eq!(list_all(&*store, &Query::all(Kind::Event)).await.len(), whole);
}
