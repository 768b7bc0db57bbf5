//! Contract: *stable paging*, and what a query admits.

use std::ops::Bound::{self, Excluded, Included, Unbounded};

use certlife_core::{
    Store,
    store::{Cursor, Draft, Field, Index, Key, Kind, Query, Write},
};

use super::{
    StoreFixture,
    samples::{Shape, insert, key, list_all, list_ids, order, read, write, written},
};

/// Values that sort as bytes, in that order: prefixes of each other, quotes, wildcards, all of Unicode, NUL.
const AWKWARD: [&str; 16] =
    ["", "\0", "\0\0", "\0a", " ", "\"", "%", "'", "A", "_", "a", "a\0", "aa", "ab", "é", "\u{10ffff}"];

/// A query of the orders by state.
fn states(from: Bound<&str>, to: Bound<&str>) -> Query {
    Query::all(Kind::Order).between(Field::State, from.map(str::to_owned), to.map(str::to_owned))
}

/// Without a filter, records of the kind come by id, compared as bytes, in both directions.
pub async fn records_are_listed_by_id(fx: &impl StoreFixture) {
    let store = fx.open().await;
    let everything = Query::all(Kind::Order);
    assert!(list_all(&*store, &everything).await.is_empty());
    let ids = AWKWARD.map(|value| format!("x{value}"));
    // In an order that is neither theirs nor its reverse.
    insert(&*store, ids.iter().step_by(2).map(order)).await;
    insert(&*store, ids.iter().skip(1).step_by(2).map(order)).await;
    insert(&*store, [Draft { key: Key::new(Kind::Certificate, "xb"), ..order("xb") }]).await;
    for limit in [1, 2, 3, 15, 16, 17, 1_000] {
        let query = everything.clone().limit(limit);
        assert_eq!(list_ids(&*store, &query).await, ids);
        let mut newest = list_ids(&*store, &query.descending()).await;
        newest.reverse();
        assert_eq!(newest, ids);
    }
    for id in &ids {
        assert_eq!(store.get(&key(id)).await.unwrap().unwrap().key.id, *id);
    }
}

/// `next` is there exactly if another page is.
pub async fn the_last_page_says_so(fx: &impl StoreFixture) {
    let store = fx.open().await;
    insert(&*store, (0..4).map(|id| order(id).found_by(Field::State, "s"))).await;
    for query in [Query::all(Kind::Order), Query::all(Kind::Order).having(Field::State, "s")] {
        let first = store.list(&query.clone().limit(2)).await.unwrap();
        let next = first.next.unwrap();
        assert_eq!(next.id, "1");
        let last = store.list(&query.clone().limit(2).after(Some(next))).await.unwrap();
        assert_eq!((last.items.len(), last.next), (2, None));
        assert_eq!(store.list(&query.limit(4)).await.unwrap().next, None);
    }
}

/// A page holds between 1 and [`Query::MAX_LIMIT`] records, also if the field says otherwise.
pub async fn a_limit_out_of_range_is_kept_in_range(fx: &impl StoreFixture) {
    let store = fx.open().await;
    insert(&*store, (0..=Query::MAX_LIMIT).map(order)).await;
    let page = |limit| {
        let (store, query) = (&*store, Query { limit, ..Query::all(Kind::Order) });
        async move { store.list(&query).await.unwrap() }
    };
    let most = page(usize::MAX).await;
    assert_eq!((most.items.len(), most.next.is_some()), (Query::MAX_LIMIT, true));
    let least = page(0).await;
    assert_eq!((least.items.len(), least.next.is_some()), (1, true));
}

/// A filter lists by value and then by id, and brings whole records, in both directions.
pub async fn a_filter_lists_by_value(fx: &impl StoreFixture) {
    let store = fx.open().await;
    let draft = |id: &str, state: &str, name: &str| {
        order(id).body(id).found_by(Field::State, state).found_by(Field::Name, name)
    };
    let drafts = [draft("a", "2", "x"), draft("b", "1", "y"), draft("c", "2", "z"), draft("d", "3", "2")];
    insert(&*store, drafts.clone()).await;
    insert(&*store, [order("bare")]).await;
    insert(&*store, [Draft { key: Key::new(Kind::Certificate, "other"), ..drafts[0].clone() }]).await;

    let all = states(Unbounded, Unbounded).limit(2);
    assert_eq!(list_ids(&*store, &all).await, ["b", "a", "c", "d"]);
    assert_eq!(list_ids(&*store, &all.clone().descending()).await, ["d", "c", "a", "b"]);
    let having = Query::all(Kind::Order).having(Field::State, "2").limit(1);
    assert_eq!(list_ids(&*store, &having).await, ["a", "c"]);
    assert_eq!(list_ids(&*store, &having.clone().descending()).await, ["c", "a"]);
    assert_eq!(list_all(&*store, &having).await[1], written(drafts[2].clone(), 1));
    let absent = Query::all(Kind::Order).having(Field::Issuer, "2");
    assert!(list_all(&*store, &absent).await.is_empty());
}

/// Every kind of bound at every awkward value admits what lies within and nothing else.
pub async fn ranges_admit_what_lies_within(fx: &impl StoreFixture) {
    let store = fx.open().await;
    assert!(AWKWARD.is_sorted());
    let drafts = AWKWARD.iter().enumerate().map(|(n, value)| order(99 - n).found_by(Field::State, *value));
    insert(&*store, drafts).await;
    let bounds: Vec<Bound<&str>> =
        AWKWARD.iter().flat_map(|value| [Included(*value), Excluded(*value)]).chain([Unbounded]).collect();
    for from in &bounds {
        for to in &bounds {
            let query = states(*from, *to).limit(5);
            let filter = query.filter.clone().unwrap();
            let within: Vec<String> = (0..AWKWARD.len())
                .filter(|n| filter.admits(AWKWARD[*n]))
                .map(|n| (99 - n).to_string())
                .collect();
            assert_eq!(list_ids(&*store, &query).await, within, "{filter:?}");
            let mut backward = list_ids(&*store, &query.descending()).await;
            backward.reverse();
            assert_eq!(backward, within, "{filter:?}, descending");
        }
    }
}

/// A record with several values for a field is found by each, and listed once for each within a range.
pub async fn a_record_is_found_by_each_of_its_values(fx: &impl StoreFixture) {
    let store = fx.open().await;
    let named = |id: &str, names: &[&str]| {
        names.iter().fold(order(id), |draft, name| draft.found_by(Field::Name, *name))
    };
    insert(&*store, [named("1", &["a", "b", "c"]), named("2", &["b"]), named("3", &["c", "d"])]).await;
    for (name, ids) in [("a", &["1"][..]), ("b", &["1", "2"]), ("c", &["1", "3"]), ("d", &["3"]), ("e", &[])]
    {
        assert_eq!(list_ids(&*store, &Query::all(Kind::Order).having(Field::Name, name)).await, ids);
    }
    let range = Query::all(Kind::Order)
        .between(Field::Name, Excluded("a".to_owned()), Included("c".to_owned()))
        .limit(1);
    assert_eq!(list_ids(&*store, &range).await, ["1", "2", "1", "3"]);
    assert_eq!(list_ids(&*store, &range.descending()).await, ["3", "1", "2", "1"]);
}

/// Replacing a record replaces its index values; deleting it removes them.
pub async fn index_values_follow_the_record(fx: &impl StoreFixture) {
    let store = fx.open().await;
    let having = |field, value: &str| Query::all(Kind::Order).having(field, value);
    let before = order("a").found_by(Field::State, "old").found_by(Field::Name, "kept");
    insert(&*store, [before, order("b").found_by(Field::State, "old")]).await;
    let after = order("a")
        .found_by(Field::State, "new")
        .found_by(Field::Name, "kept")
        .found_by(Field::Issuer, "added");
    write(&*store, vec![Write::Replace(after.clone(), 1)]).await.unwrap();
    assert_eq!(list_ids(&*store, &having(Field::State, "old")).await, ["b"]);
    for (field, value) in &after.index {
        let found = list_all(&*store, &having(*field, value)).await;
        assert_eq!(found, [written(after.clone(), 2)]);
    }
    write(&*store, vec![Write::Delete(key("a"), 2), Write::Replace(order("b"), 1)]).await.unwrap();
    for field in [Field::State, Field::Name, Field::Issuer] {
        let any = Query::all(Kind::Order).between(field, Unbounded, Unbounded);
        assert!(list_all(&*store, &any).await.is_empty());
    }
    assert_eq!(read(&*store, "b").await.index, Index::new());
}

/// Contract: *stable paging*. What comes and goes between pages neither hides nor repeats what stays, also
/// if the record goes that the cursor names.
pub async fn a_listing_survives_changes_between_pages(fx: &impl StoreFixture) {
    for filtered in [false, true] {
        for descending in [false, true] {
            let store = fx.open().await;
            follow_while_changing(&*store, filtered, descending).await;
            for record in list_all(&*store, &Query::all(Kind::Order)).await {
                write(&*store, vec![Write::Delete(record.key, record.revision)]).await.unwrap();
            }
        }
    }
}

/// Records whose number is even stay; those with an odd one come and go.
async fn follow_while_changing(store: &dyn Store, filtered: bool, descending: bool) {
    let draft = |number: usize| order(format!("{number:03}")).found_by(Field::State, "s");
    insert(store, (0..60).map(draft)).await;
    let mut query = Query::all(Kind::Order).limit(7);
    query.descending = descending;
    if filtered {
        query = query.having(Field::State, "s");
    }
    let mut seen = Vec::new();
    loop {
        let page = store.list(&query).await.unwrap();
        seen.extend(page.items.into_iter().map(|record| record.key.id));
        let Some(next) = page.next else { break };
        // All odd ones change: those that are there go, and those that are not come.
        for number in (1..60).step_by(2) {
            let id = format!("{number:03}");
            let change = match store.get(&key(&id)).await.unwrap() {
                Some(record) => Write::Delete(record.key, record.revision),
                None => Write::Insert(draft(number)),
            };
            write(store, vec![change]).await.unwrap();
        }
        query.after = Some(next);
    }
    seen.retain(|id| id.parse::<usize>().unwrap() % 2 == 0);
    if descending {
        seen.reverse();
    }
    let even: Vec<String> = (0..60).step_by(2).map(|number| format!("{number:03}")).collect();
    assert_eq!(seen, even, "filtered: {filtered}, descending: {descending}");
}

/// A cursor from nowhere, such as one that a client made up, fails nothing and opens nothing: the listing
/// goes on after that place, and never leaves its filter.
pub async fn a_hostile_cursor_stays_within_the_filter(fx: &impl StoreFixture) {
    let store = fx.open().await;
    let drafts = ["a", "b", "b", "c"].into_iter().zip(1..);
    insert(&*store, drafts.map(|(state, id): (_, u8)| order(id).found_by(Field::State, state))).await;
    let long = "x".repeat(100_000);
    let values = ["", "\0", "a", "a\0", "b", "bb", "c", "'; DROP TABLE record; --", "\u{10ffff}", &long];
    let ids = ["", "\0", "1", "2", "25", "3", "9", "%", &long];
    for (value, id) in values.iter().flat_map(|value| ids.iter().map(move |id| (*value, *id))) {
        let cursor = Cursor { value: value.to_owned(), id: id.to_owned() };
        let behind = |place: (&str, &str)| place > (value, id);
        let before = |place: (&str, &str)| place < (value, id);
        let within = Query::all(Kind::Order).having(Field::State, "b").after(Some(cursor.clone()));
        let expected = |admits: &dyn Fn((&str, &str)) -> bool| {
            ["2", "3"].into_iter().filter(|id| admits(("b", id))).collect::<Vec<_>>()
        };
        assert_eq!(list_ids(&*store, &within).await, expected(&behind), "{value:.9?} {id:.9?}");
        let mut backward = list_ids(&*store, &within.descending()).await;
        backward.reverse();
        assert_eq!(backward, expected(&before), "{value:.9?} {id:.9?}, descending");
        for field in [None, Some(Field::Issuer)] {
            let mut query = Query::all(Kind::Order).after(Some(cursor.clone()));
            if let Some(field) = field {
                query = query.between(field, Unbounded, Unbounded);
            }
            let forward = list_ids(&*store, &query.clone()).await;
            let backward = list_ids(&*store, &query.descending()).await;
            assert!(forward.is_sorted() && backward.is_sorted_by(|a, b| a >= b));
            assert!(field.is_none() || (forward.is_empty() && backward.is_empty()));
        }
    }
}
