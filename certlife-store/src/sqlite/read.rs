//! What reads: one statement a call, so that each sees one state of the whole database.

use std::{cmp::Ordering, ops::Bound};

use certlife_core::{
    Timestamp,
    store::{Cursor, Filter, Key, Kind, Page, Query, Record},
};
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter, types::ToSqlOutput};

use super::refusal::Refusal;

/// The columns that [`record`] reads.
const COLUMNS: &str = "r.id, r.revision, r.due, r.found_by, b.text";

pub(super) fn get(db: &Connection, key: &Key) -> Result<Option<Record>, Refusal> {
    let sql =
        format!("SELECT {COLUMNS} FROM record r JOIN body b ON b.row = r.row WHERE r.kind = ? AND r.id = ?");
    let mut statement = db.prepare_cached(&sql)?;
    statement.query_row((key.kind.as_str(), &key.id), |row| Ok(record(key.kind, row))).optional()?.transpose()
}

pub(super) fn list(db: &Connection, query: &Query) -> Result<Page<Record>, Refusal> {
    let limit = query.limit.clamp(1, Query::MAX_LIMIT);
    // One more than the page holds tells whether there is another page.
    let listing = Listing::of(query, i64::try_from(limit + 1).unwrap_or(i64::MAX));
    let mut statement = db.prepare_cached(&listing.sql)?;
    let mut rows = statement.query(params_from_iter(listing.parameters))?;

    let mut page = Page::<Record> { items: Vec::new(), next: None };
    let mut last = String::new();
    while let Some(row) = rows.next()? {
        if page.items.len() == limit {
            page.next = page.items.last().map(|record| Cursor { value: last, id: record.key.id.clone() });
            break;
        }
        page.items.push(record(query.kind, row)?);
        last = row.get("value")?;
    }
    Ok(page)
}

/// Builds a record from a row of [`COLUMNS`].
pub(super) fn record(kind: Kind, row: &Row<'_>) -> Result<Record, Refusal> {
    let revision: i64 = row.get(1)?;
    let due: Option<i64> = row.get(2)?;
    let index: String = row.get(3)?;
    Ok(Record {
        key: Key { kind, id: row.get(0)? },
        revision: u64::try_from(revision).map_err(|_| Refusal::Corrupt("a revision is negative"))?,
        due: due.map(Timestamp::from_unix_millis),
        index: serde_json::from_str(&index).map_err(|_| Refusal::Corrupt("index values"))?,
        body: row.get(4)?,
    })
}

/// The statement for a query; its last parameter is the limit.
pub(super) struct Listing<'q> {
    pub(super) sql: String,
    pub(super) parameters: Vec<ToSqlOutput<'q>>,
}

impl<'q> Listing<'q> {
    /// The statement for at most `limit` rows.
    pub(super) fn of(query: &'q Query, limit: i64) -> Self {
        let mut listing = match &query.filter {
            Some(filter) => Self::by_value(query, filter),
            None => Self::by_id(query),
        };
        listing.add(" LIMIT ?", [limit.into()]);
        listing
    }

    fn by_id(query: &'q Query) -> Self {
        let mut listing = Self { sql: format!("SELECT {COLUMNS}, '' AS value"), parameters: Vec::new() };
        listing.add(
            " FROM record r CROSS JOIN body b ON b.row = r.row WHERE r.kind = ?",
            [query.kind.as_str().into()],
        );
        if let Some(after) = &query.after {
            listing.add(if query.descending { " AND r.id < ?" } else { " AND r.id > ?" }, [text(&after.id)]);
        }
        listing.add(if query.descending { " ORDER BY r.id DESC" } else { " ORDER BY r.id" }, []);
        listing
    }

    fn by_value(query: &'q Query, filter: &'q Filter) -> Self {
        let mut listing = Self { sql: format!("SELECT {COLUMNS}, p.value AS value"), parameters: Vec::new() };
        // `CROSS JOIN` keeps SQLite from starting at another table than `place`.
        listing.add(
            " FROM place p CROSS JOIN record r ON r.kind = p.kind AND r.id = p.id \
             CROSS JOIN body b ON b.row = r.row WHERE p.kind = ? AND p.field = ?",
            [query.kind.as_str().into(), filter.field.as_str().into()],
        );
        // SQLite seeks by one condition at each end and tests the others row by row. So each end gets one
        // only, the narrower: where the last page ended, or where the filter begins.
        let after = |descending: bool| query.after.as_ref().filter(|_| query.descending == descending);
        match (after(false), &filter.from) {
            (Some(after), from) if !excludes(from, |from| after.value.as_str().cmp(from)) => {
                listing.add(" AND (p.value, p.id) > (?, ?)", [text(&after.value), text(&after.id)]);
            }
            (_, Bound::Included(from)) => listing.add(" AND p.value >= ?", [text(from)]),
            (_, Bound::Excluded(from)) => listing.add(" AND p.value > ?", [text(from)]),
            (_, Bound::Unbounded) => {}
        }
        match (after(true), &filter.to) {
            (Some(after), to) if !excludes(to, |to| to.cmp(&after.value)) => {
                listing.add(" AND (p.value, p.id) < (?, ?)", [text(&after.value), text(&after.id)]);
            }
            (_, Bound::Included(to)) => listing.add(" AND p.value <= ?", [text(to)]),
            (_, Bound::Excluded(to)) => listing.add(" AND p.value < ?", [text(to)]),
            (_, Bound::Unbounded) => {}
        }
        let order =
            if query.descending { " ORDER BY p.value DESC, p.id DESC" } else { " ORDER BY p.value, p.id" };
        listing.add(order, []);
        listing
    }

    fn add<const N: usize>(&mut self, sql: &str, parameters: [ToSqlOutput<'q>; N]) {
        self.sql.push_str(sql);
        self.parameters.extend(parameters);
    }
}

fn text(text: &str) -> ToSqlOutput<'_> {
    ToSqlOutput::from(text)
}

/// Whether a value lies outside one end of a range. `inward` compares it with the end: greater is inside.
fn excludes(end: &Bound<String>, inward: impl FnOnce(&str) -> Ordering) -> bool {
    match end {
        Bound::Included(end) => inward(end).is_lt(),
        Bound::Excluded(end) => inward(end).is_le(),
        Bound::Unbounded => false,
    }
}
