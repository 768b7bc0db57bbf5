//! What writes: batches, claims and leases. Each function runs in a savepoint of its own, so that an
//! error on the way takes back what came before it.

use certlife_core::{
    Timestamp,
    store::{
        AfterCommit, Batch, Claim, Claimed, Committed, Draft, Index, Key, Kind, Lease, Leased, Revision,
        Write, event_id,
    },
};
use rusqlite::{Connection, OptionalExtension, params};

use super::{read, refusal::Refusal};

type Result<T> = std::result::Result<T, Refusal>;

pub(super) fn commit(db: &Connection, batch: &Batch) -> Result<Committed> {
    for (lease, _) in &batch.leases {
        if !holds(db, lease)? {
            return Err(Refusal::LeaseLost);
        }
    }
    let mut committed = Committed::default();
    for write in &batch.writes {
        match write {
            Write::Insert(draft) => insert(db, &draft.key, &draft.body, draft.due, &draft.index)?,
            Write::Replace(draft, revision) => replace(db, draft, *revision)?,
            Write::Delete(key, revision) => delete(db, key, *revision)?,
            Write::Append { body, index } => committed.position = Some(append(db, body, index)?),
        }
    }
    for (lease, after) in &batch.leases {
        if *after == AfterCommit::Release {
            release(db, lease)?;
        }
    }
    Ok(committed)
}

/// What waits, in order, from `record_ready` alone; the parameter is how many.
pub(super) const READY: &str = "SELECT row, ready_at FROM record INDEXED BY record_ready \
    WHERE ready_at IS NOT NULL ORDER BY ready_at LIMIT ?";

pub(super) fn claim(db: &Connection, claim: &Claim) -> Result<Claimed> {
    let (rows, next) = ready(db, claim)?;
    let work = rows.into_iter().map(|row| take(db, row, claim)).collect::<Result<_>>()?;
    Ok(Claimed { work, next })
}

/// Finds the rows to take, and when the first of the others is ready.
fn ready(db: &Connection, claim: &Claim) -> Result<(Vec<i64>, Option<Timestamp>)> {
    // One more than is wanted tells when to come back.
    let count = i64::try_from(claim.limit).unwrap_or(i64::MAX).saturating_add(1);
    let mut statement = db.prepare_cached(READY)?;
    let mut waiting = statement.query([count])?;
    let mut rows = Vec::new();
    while let Some(row) = waiting.next()? {
        let ready = Timestamp::from_unix_millis(row.get(1)?);
        if ready > claim.now || rows.len() == claim.limit {
            return Ok((rows, Some(ready)));
        }
        rows.push(row.get(0)?);
    }
    Ok((rows, None))
}

/// Puts a lease on one record.
fn take(db: &Connection, row: i64, claim: &Claim) -> Result<Leased> {
    let token = count(db, "token")?;
    let until = claim.until.unix_millis();
    db.prepare_cached(
        "UPDATE record SET token = ?2, worker = ?3, lease_until = ?4, ready_at = max(due, ?4) WHERE row = ?1",
    )?
    .execute(params![row, token, claim.worker.to_string(), until])?;
    let record = db
        .prepare_cached(
            "SELECT r.id, r.revision, r.due, r.found_by, b.text, r.kind
             FROM record r JOIN body b ON b.row = r.row WHERE r.row = ?",
        )?
        .query_row([row], |row| {
            let kind = row.get::<_, String>(5)?.parse::<Kind>();
            Ok(kind
                .map_err(|_| Refusal::Corrupt("the kind of a record is not known to this version"))
                .and_then(|kind| read::record(kind, row)))
        })??;
    let lease =
        Lease { key: record.key.clone(), worker: claim.worker, token: unsigned(token)?, until: claim.until };
    Ok(Leased { record, lease })
}

pub(super) fn extend(db: &Connection, lease: Lease, until: Timestamp) -> Result<Lease> {
    let changed = db
        .prepare_cached(
            "UPDATE record SET lease_until = ?4, ready_at = max(due, ?4)
             WHERE kind = ?1 AND id = ?2 AND token = ?3 AND lease_until IS NOT NULL",
        )?
        .execute(params![lease.key.kind.as_str(), lease.key.id, signed(lease.token), until.unix_millis()])?;
    if changed == 1 { Ok(Lease { until, ..lease }) } else { Err(Refusal::LeaseLost) }
}

pub(super) fn release(db: &Connection, lease: &Lease) -> Result<()> {
    db.prepare_cached(
        "UPDATE record SET lease_until = NULL, worker = NULL, ready_at = due
         WHERE kind = ? AND id = ? AND token = ? AND lease_until IS NOT NULL",
    )?
    .execute(params![lease.key.kind.as_str(), lease.key.id, signed(lease.token)])?;
    Ok(())
}

fn holds(db: &Connection, lease: &Lease) -> Result<bool> {
    let mut statement = db.prepare_cached(
        "SELECT 1 FROM record WHERE kind = ? AND id = ? AND token = ? AND lease_until IS NOT NULL",
    )?;
    Ok(statement.exists(params![lease.key.kind.as_str(), lease.key.id, signed(lease.token)])?)
}

fn insert(db: &Connection, key: &Key, body: &str, due: Option<Timestamp>, index: &Index) -> Result<()> {
    let inserted = db
        .prepare_cached(
            "INSERT INTO record (kind, id, revision, due, ready_at, found_by) VALUES (?1, ?2, 1, ?3, ?3, ?4)
             ON CONFLICT (kind, id) DO NOTHING",
        )?
        .execute(params![key.kind.as_str(), key.id, millis(due), json(index)?])?;
    if inserted == 0 {
        return Err(Refusal::RevisionConflict);
    }
    db.prepare_cached("INSERT INTO body (row, text) VALUES (?, ?)")?
        .execute(params![db.last_insert_rowid(), body])?;
    place(db, key, index)
}

fn replace(db: &Connection, draft: &Draft, revision: Revision) -> Result<()> {
    let (row, before) = find(db, &draft.key, revision)?;
    db.prepare_cached(
        "UPDATE record SET revision = revision + 1, due = ?2, found_by = ?3,
         ready_at = max(?2, ifnull(lease_until, ?2)) WHERE row = ?1",
    )?
    .execute(params![row, millis(draft.due), json(&draft.index)?])?;
    db.prepare_cached("UPDATE body SET text = ? WHERE row = ?")?.execute(params![draft.body, row])?;
    // Most values stay as they are: of an order with 100 names, the state changes.
    displace(db, &draft.key, &(&before - &draft.index))?;
    place(db, &draft.key, &(&draft.index - &before))
}

fn delete(db: &Connection, key: &Key, revision: Revision) -> Result<()> {
    let (row, index) = find(db, key, revision)?;
    db.prepare_cached("DELETE FROM record WHERE row = ?")?.execute([row])?;
    db.prepare_cached("DELETE FROM body WHERE row = ?")?.execute([row])?;
    displace(db, key, &index)
}

fn append(db: &Connection, body: &str, index: &Index) -> Result<u64> {
    let position = unsigned(count(db, "event")?)?;
    let key = Key { kind: Kind::Event, id: event_id(position) };
    insert(db, &key, body, None, index)?;
    Ok(position)
}

/// Finds the row of a record at one revision, and its index values.
fn find(db: &Connection, key: &Key, revision: Revision) -> Result<(i64, Index)> {
    let found: Option<(i64, String)> = db
        .prepare_cached("SELECT row, found_by FROM record WHERE kind = ? AND id = ? AND revision = ?")?
        .query_row(params![key.kind.as_str(), key.id, signed(revision)], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (row, index) = found.ok_or(Refusal::RevisionConflict)?;
    Ok((row, serde_json::from_str(&index).map_err(|_| Refusal::Corrupt("index values"))?))
}

fn place(db: &Connection, key: &Key, index: &Index) -> Result<()> {
    let mut statement =
        db.prepare_cached("INSERT INTO place (kind, field, value, id) VALUES (?, ?, ?, ?)")?;
    for (field, value) in index {
        statement.execute(params![key.kind.as_str(), field.as_str(), value, key.id])?;
    }
    Ok(())
}

fn displace(db: &Connection, key: &Key, index: &Index) -> Result<()> {
    let mut statement =
        db.prepare_cached("DELETE FROM place WHERE kind = ? AND field = ? AND value = ? AND id = ?")?;
    for (field, value) in index {
        statement.execute(params![key.kind.as_str(), field.as_str(), value, key.id])?;
    }
    Ok(())
}

/// Gives out the next number of a counter.
fn count(db: &Connection, counter: &str) -> Result<i64> {
    Ok(db
        .prepare_cached("UPDATE counter SET value = value + 1 WHERE name = ? RETURNING value")?
        .query_row([counter], |row| row.get(0))?)
}

fn json(index: &Index) -> Result<String> {
    serde_json::to_string(index).map_err(|_| Refusal::Corrupt("index values"))
}

fn millis(moment: Option<Timestamp>) -> Option<i64> {
    moment.map(Timestamp::unix_millis)
}

/// A number that SQLite can hold; one that is too large becomes one that no row has.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(-1)
}

fn unsigned(number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|_| Refusal::Corrupt("a counter is negative"))
}
