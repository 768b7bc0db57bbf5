//! Contract: *atomic*, *compared*.

use certlife_core::store::{Field, Key, Kind, Query, Write};
use futures_util::future::join_all;

use super::{
    StoreFixture,
    samples::{
        Shape, assert_conflict, claim, event, insert, key, list_all, list_ids, order, read, write, written,
    },
};

/// Contract: *atomic*. What was written is read back as it was, and what was not is absent.
pub async fn a_record_reads_back_as_written(fx: &impl StoreFixture) {
    let store = fx.open().await;
    let draft = order("a")
        .body(r#"{"text":"Grüße, 'quoted' \"twice\" \u0000"}"#)
        .due(-5)
        .found_by(Field::Name, "b.example")
        .found_by(Field::Name, "a.example")
        .found_by(Field::State, "");
    assert_eq!(store.get(&draft.key).await.unwrap(), None);
    insert(&*store, [draft.clone()]).await;
    assert_eq!(store.get(&draft.key).await.unwrap(), Some(written(draft, 1)));
    assert_eq!(store.get(&Key::new(Kind::Certificate, "a")).await.unwrap(), None, "kinds are apart");
}

/// Contract: *atomic*. If one write of a batch fails, none of it happens, whichever one it is.
pub async fn one_failing_write_undoes_the_batch(fx: &impl StoreFixture) {
    let store = fx.open().await;
    insert(&*store, [order("taken").body("1"), order("other").body("1")]).await;
    let failing = [
        Write::Insert(order("taken")),
        Write::Replace(order("taken"), 7),
        Write::Replace(order("absent"), 1),
        Write::Delete(key("taken"), 2),
        Write::Delete(key("absent"), 1),
    ];
    for fails in failing {
        for first in [true, false] {
            let mut writes = vec![
                Write::Insert(order("new").due(0).found_by(Field::State, "new")),
                Write::Replace(order("other").body("2").due(0), 1),
                event("never"),
            ];
            writes.insert(if first { 0 } else { writes.len() }, fails.clone());
            assert_conflict(write(&*store, writes).await);
        }
    }
    assert_eq!(list_ids(&*store, &Query::all(Kind::Order)).await, ["other", "taken"]);
    assert_eq!(read(&*store, "other").await, written(order("other").body("1"), 1));
    assert!(list_all(&*store, &Query::all(Kind::Order).having(Field::State, "new")).await.is_empty());
    assert!(list_all(&*store, &Query::all(Kind::Event)).await.is_empty());
    assert!(claim(&*store, 1, 100, 200, 10).await.work.is_empty(), "nothing became due");
    let position = write(&*store, vec![event("first")]).await.unwrap().position;
    assert_eq!(position, Some(1), "failed batches use up no position");
}

/// Contract: *atomic*. A batch of several writes happens as a whole; an empty one is none.
pub async fn a_batch_happens_as_a_whole(fx: &impl StoreFixture) {
    let store = fx.open().await;
    assert_eq!(write(&*store, Vec::new()).await.unwrap().position, None);
    insert(&*store, [order("replaced"), order("deleted")]).await;
    let committed = write(
        &*store,
        vec![
            Write::Insert(order("inserted")),
            Write::Replace(order("replaced").body("2"), 1),
            Write::Delete(key("deleted"), 1),
            event("a"),
            event("b"),
        ],
    )
    .await
    .unwrap();
    assert_eq!(committed.position, Some(2), "the position of the last event");
    assert_eq!(list_ids(&*store, &Query::all(Kind::Order)).await, ["inserted", "replaced"]);
    assert_eq!(read(&*store, "replaced").await.body, "2");
}

/// Contract: *compared*. A taken key cannot be inserted again; a deleted one can, from revision 1.
pub async fn insert_needs_a_free_key(fx: &impl StoreFixture) {
    let store = fx.open().await;
    insert(&*store, [order("a").body("1")]).await;
    assert_conflict(write(&*store, vec![Write::Insert(order("a").body("2"))]).await);
    assert_eq!(read(&*store, "a").await.body, "1");
    write(&*store, vec![Write::Replace(order("a"), 1)]).await.unwrap();
    write(&*store, vec![Write::Delete(key("a"), 2)]).await.unwrap();
    insert(&*store, [order("a").body("3")]).await;
    assert_eq!(read(&*store, "a").await, written(order("a").body("3"), 1));
}

/// Contract: *compared*. Revisions count writes, and only the current one can be replaced or deleted.
pub async fn only_the_current_revision_is_replaced_or_deleted(fx: &impl StoreFixture) {
    let store = fx.open().await;
    insert(&*store, [order("a")]).await;
    for revision in 1..=5 {
        let text = revision.to_string();
        write(&*store, vec![Write::Replace(order("a").body(text.as_str()), revision)]).await.unwrap();
        assert_eq!(read(&*store, "a").await, written(order("a").body(text), revision + 1));
    }
    for wrong in [0, 1, 5, 7, u64::MAX] {
        assert_conflict(write(&*store, vec![Write::Replace(order("a"), wrong)]).await);
        assert_conflict(write(&*store, vec![Write::Delete(key("a"), wrong)]).await);
    }
    write(&*store, vec![Write::Delete(key("a"), 6)]).await.unwrap();
    assert_eq!(store.get(&key("a")).await.unwrap(), None);
    assert_conflict(write(&*store, vec![Write::Delete(key("a"), 6)]).await);
}

/// Contract: *compared*. Of writers that replace the same revision at once, one succeeds.
pub async fn one_of_concurrent_writers_wins(fx: &impl StoreFixture) {
    let store = fx.open().await;
    insert(&*store, [order("a")]).await;
    for revision in 1..=10 {
        let attempts = (0..8).map(|writer| {
            let store = &*store;
            let draft = order("a").body(writer.to_string());
            async move { write(store, vec![Write::Replace(draft, revision), event("won")]).await }
        });
        let won: Vec<_> = join_all(attempts).await.into_iter().filter_map(Result::ok).collect();
        assert_eq!(won.len(), 1);
        assert_eq!(won[0].position, Some(revision));
    }
    assert_eq!(read(&*store, "a").await.revision, 11);
}
