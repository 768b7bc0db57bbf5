//! Contract: *ordered*.

use std::sync::Arc;

use certlife_core::{
    Store,
    store::{Cursor, Field, Index, Kind, Query, Record, Write, event_id},
};

use super::{
    StoreFixture,
    samples::{event, list_all, write},
};

/// Contract: *ordered*. Events get positions from 1 upwards, are records like any other and are found by
/// their index values; deleting one frees no position.
pub async fn events_are_numbered_from_one(fx: &impl StoreFixture) {
    let store = fx.open().await;
    let index: Index = [(Field::Owner, "www".to_owned())].into();
    let append = |body: &str| Write::Append { body: body.to_owned(), index: index.clone() };
    for round in 0..3 {
        let committed = write(&*store, vec![append("odd"), append("even")]).await.unwrap();
        assert_eq!(committed.position, Some(2 * round + 2));
    }
    let listed = list_all(&*store, &Query::all(Kind::Event).having(Field::Owner, "www").limit(4)).await;
    assert_eq!(positions(&listed), [1, 2, 3, 4, 5, 6]);
    for (event, body) in listed.iter().zip(["odd", "even"].into_iter().cycle()) {
        assert_eq!((event.revision, event.body.as_str(), event.due), (1, body, None));
        assert_eq!(event.index, index);
        assert_eq!(store.get(&event.key).await.unwrap().as_ref(), Some(event));
    }
    write(&*store, vec![Write::Delete(listed[5].key.clone(), 1)]).await.unwrap();
    assert_eq!(write(&*store, vec![append("odd")]).await.unwrap().position, Some(7));
}

/// Contract: *ordered*. A follower that pages while eight writers append sees every event once, in order.
pub async fn a_follower_misses_no_event(fx: &impl StoreFixture) {
    const WRITERS: usize = 8;
    const BATCHES: usize = 25;
    const EVENTS: usize = WRITERS * BATCHES * 2;

    let store = fx.open().await;
    let writers = (0..WRITERS).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for batch in 0..BATCHES {
                let body = format!("{writer}/{batch}");
                write(&*store, vec![event(&*body), event(body)]).await.unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();

    let mut seen: Vec<Record> = Vec::new();
    let mut query = Query::all(Kind::Event).limit(7);
    while seen.len() < EVENTS {
        let over = writers.iter().all(tokio::task::JoinHandle::is_finished);
        let page = store.list(&query).await.unwrap();
        assert!(!(over && page.items.is_empty()), "the follower missed {} events", EVENTS - seen.len());
        seen.extend(page.items);
        query.after = seen.last().map(|event| Cursor { value: String::new(), id: event.key.id.clone() });
        tokio::task::yield_now().await;
    }

    let expected: Vec<u64> = (1..).take(EVENTS).collect();
    assert_eq!(positions(&seen), expected);
    let (bodies, _) = seen.as_chunks::<2>();
    assert!(bodies.iter().all(|[a, b]| a.body == b.body), "the events of a batch stand together");
    for writer in 0..WRITERS {
        let mine = seen.iter().filter_map(|event| event.body.strip_prefix(&format!("{writer}/")));
        let expected: Vec<String> =
            (0..BATCHES).flat_map(|batch| [batch.to_string(), batch.to_string()]).collect();
        assert!(mine.eq(expected), "the events of a writer keep its order");
    }
    assert!(list_newest(&*store).await.iter().rev().eq(&seen));
}

async fn list_newest(store: &dyn Store) -> Vec<Record> {
    list_all(store, &Query::all(Kind::Event).descending()).await
}

fn positions(events: &[Record]) -> Vec<u64> {
    let positions: Vec<u64> = events.iter().map(|event| event.key.id.parse().unwrap()).collect();
    let ids = positions.iter().map(|position| event_id(*position));
    assert!(ids.eq(events.iter().map(|event| event.key.id.clone())));
    positions
}
