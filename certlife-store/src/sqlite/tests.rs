//! What only this store has: its plans, its group commit, and what it says about files it cannot use.

use std::{
    path::Path,
    task::{Context, Waker},
    time::Duration,
};

use certlife_core::{
    ErrorKind, InputError, Operation, Retry, Store, Timestamp, WorkerId,
    store::{Batch, Claim, Cursor, Draft, Field, Index, Key, Kind, Query, Write},
};
use rusqlite::{Connection, StatementStatus, params_from_iter};
use tempfile::TempDir;

use super::{Settings, Sqlite, Statistics, call::call, file, read::Listing, write};

fn insert(id: impl std::fmt::Display) -> Batch {
    let draft = Draft {
        key: Key::new(Kind::Order, id),
        body: "{}".to_owned(),
        due: Some(Timestamp::from_unix_seconds(0)),
        index: Index::new(),
    };
    Batch { leases: Vec::new(), writes: vec![Write::Insert(draft)] }
}

fn place() -> (TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("certlife.db");
    (directory, path)
}

/// Opens a file that must be refused.
fn refused(path: &Path) -> certlife_core::Error {
    Sqlite::builder(path).busy_timeout(Duration::from_secs(1)).open().unwrap_err()
}

fn assert_bad_path(path: &Path, why: &str) {
    let error = refused(path);
    let ErrorKind::Input(InputError::Setting { setting, rule }) = error.kind() else { panic!("{error:?}") };
    assert_eq!((&**setting, error.retry()), ("path", Retry::Never));
    assert!(rule.contains(why), "{rule}");
    assert!(rule.contains(&path.display().to_string()), "{rule}");
}

#[tokio::test]
async fn a_hundred_waiting_commits_share_one_transaction() {
    let (_directory, path) = place();
    let store = Sqlite::builder(&path).open().unwrap();
    // While another connection writes, everything has to wait, and so waits together.
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // Every tenth is refused, which is its own affair.
    let mut commits: Vec<_> =
        (0..100).map(|id| store.commit(insert(if id % 10 == 9 { id - 1 } else { id }))).collect();
    for commit in &mut commits {
        let mut context = Context::from_waker(Waker::noop());
        assert!(commit.as_mut().poll(&mut context).is_pending());
    }
    other.execute_batch("COMMIT").unwrap();
    let mut conflicts = 0;
    for commit in commits {
        if let Err(error) = commit.await {
            assert_eq!(*error.kind(), ErrorKind::RevisionConflict);
            conflicts += 1;
        }
    }
    assert_eq!(conflicts, 10);
    assert_eq!(store.statistics(), Statistics { batches: 90, transactions: 1 });
    assert_eq!(store.list(&Query::all(Kind::Order)).await.unwrap().items.len(), 90);
}

#[tokio::test]
async fn a_lock_that_stays_is_an_error_to_try_again_after() {
    let (_directory, path) = place();
    let store = Sqlite::builder(&path).busy_timeout(Duration::from_secs(1)).open().unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.commit(insert("a")).await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Io(why) if why.as_str().contains("another process")),
        "{error}"
    );
    assert_eq!(error.retry(), Retry::Backoff);
    assert_eq!(store.get(&Key::new(Kind::Order, "a")).await.unwrap(), None, "reading goes on");
    other.execute_batch("ROLLBACK").unwrap();
    store.commit(insert("a")).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_fails_the_commit_and_not_the_store() {
    let (_directory, path) = place();
    let store = Sqlite::builder(&path).open().unwrap();
    // The limit holds for the connection that sets it, which has to be the writer's.
    let limit = |pages: u32| {
        call(&store.shared.writes, Operation::WriteStore, move |db| {
            Ok(db.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |row| row.get::<_, u32>(0))?)
        })
    };
    store.commit(insert("before")).await.unwrap();
    let pages = limit(1).await.unwrap();
    let mut large = insert("large");
    let Write::Insert(draft) = &mut large.writes[0] else { unreachable!() };
    draft.body = "x".repeat(1 << 20);
    // Both are in one group, or the small one is alone: it is written unless it shares the other's fate.
    let (failed, _) = tokio::join!(store.commit(large.clone()), store.commit(insert("beside")));
    let error = failed.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Io(why) if why.as_str().contains("full")), "{error}");
    assert_eq!(error.retry(), Retry::Backoff);
    assert_eq!(store.get(&Key::new(Kind::Order, "large")).await.unwrap(), None);
    assert!(limit(pages * 1_000).await.unwrap() > pages);
    store.commit(large).await.unwrap();
    store.commit(insert("after")).await.unwrap();
}

/// Carries out `sql` and returns its plan, and how many steps of SQLite's virtual machine it took.
fn cost(db: &Connection, sql: &str, parameters: Vec<rusqlite::types::ToSqlOutput<'_>>) -> (String, i32) {
    let mut statement = db.prepare(sql).unwrap();
    let mut rows = statement.query(params_from_iter(parameters.clone())).unwrap();
    while rows.next().unwrap().is_some() {}
    drop(rows);
    let steps = statement.get_status(StatementStatus::VmStep);
    let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let plan = statement.query_map(params_from_iter(parameters), |row| row.get::<_, String>(3)).unwrap();
    (plan.collect::<Result<Vec<_>, _>>().unwrap().join("; "), steps)
}

/// A file with 100,000 orders, all due and in one state.
fn crowded() -> (TempDir, Connection) {
    let (directory, path) = place();
    let db = file::open(&path, Duration::from_secs(1)).unwrap();
    db.execute_batch(
        r#"BEGIN;
        INSERT INTO record (kind, id, revision, due, ready_at, found_by)
            WITH RECURSIVE number (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n < 99999)
            SELECT 'order', printf('%06d', n), 1, n, n, '[["state","open"]]' FROM number;
        INSERT INTO body SELECT row, '{}' FROM record;
        INSERT INTO place SELECT kind, 'state', 'open', id FROM record;
        COMMIT;"#,
    )
    .unwrap();
    (directory, db)
}

#[test]
fn claims_and_listings_cost_what_they_return() {
    let (_directory, db) = crowded();
    let (plan, steps) = cost(&db, write::READY, vec![11.into()]);
    assert_eq!(plan, "SEARCH record USING COVERING INDEX record_ready (ready_at>?)");
    assert!(steps < 200, "{steps}");

    let middle = Cursor { value: "open".to_owned(), id: "050000".to_owned() };
    let by_state = Query::all(Kind::Order).having(Field::State, "open");
    let tail = "SEARCH r USING INDEX sqlite_autoindex_record_1 (kind=? AND id=?); \
                SEARCH b USING INTEGER PRIMARY KEY (rowid=?)";
    let cases = [
        (by_state.clone(), "value>? AND value<?"),
        (by_state.clone().after(Some(middle.clone())), "(value,id)>(?,?) AND value<?"),
        (by_state.after(Some(middle.clone())).descending(), "value>? AND (value,id)<(?,?)"),
    ];
    for (query, seeks) in cases {
        let listing = Listing::of(&query, 10);
        let (plan, steps) = cost(&db, &listing.sql, listing.parameters);
        assert_eq!(plan, format!("SEARCH p USING PRIMARY KEY (kind=? AND field=? AND {seeks}); {tail}"));
        assert!(steps < 500, "{query:?}: {steps}");
    }
    for (query, seeks) in [
        (Query::all(Kind::Order).after(Some(middle.clone())), "kind=? AND id>?"),
        (Query::all(Kind::Order).after(Some(middle)).descending(), "kind=? AND id<?"),
    ] {
        let listing = Listing::of(&query, 10);
        let (plan, steps) = cost(&db, &listing.sql, listing.parameters);
        let expected = format!(
            "SEARCH r USING INDEX sqlite_autoindex_record_1 ({seeks}); \
             SEARCH b USING INTEGER PRIMARY KEY (rowid=?)"
        );
        assert_eq!(plan, expected);
        assert!(steps < 500, "{query:?}: {steps}");
    }
}

#[tokio::test]
async fn a_claim_among_many_takes_the_earliest() {
    let (_directory, db) = crowded();
    let path = db.path().unwrap().to_owned();
    drop(db);
    let store = Sqlite::builder(path).open().unwrap();
    let now = Timestamp::from_unix_millis(200_000);
    let wish = Claim { worker: WorkerId::new(now, [1; 10]), now, until: now, limit: 3 };
    let claimed = store.claim(&wish).await.unwrap();
    let ids: Vec<_> = claimed.work.iter().map(|leased| leased.record.key.id.as_str()).collect();
    assert_eq!(ids, ["000000", "000001", "000002"]);
    assert_eq!(claimed.next, Some(Timestamp::from_unix_millis(3)));
}

#[test]
fn files_that_are_no_store_of_ours_are_left_alone() {
    let (directory, path) = place();
    assert_bad_path(directory.path(), "is not a file");
    assert_bad_path(&directory.path().join("absent/certlife.db"), "directory that does not exist");

    let text = b"this is a text file, and long enough to be taken for the header of a database by its size";
    std::fs::write(&path, text.repeat(20)).unwrap();
    assert_bad_path(&path, "is not an SQLite database");
    assert_eq!(std::fs::read(&path).unwrap(), text.repeat(20));

    let foreign = directory.path().join("foreign.db");
    let db = Connection::open(&foreign).unwrap();
    db.execute_batch("CREATE TABLE theirs (a)").unwrap();
    assert_bad_path(&foreign, "is a database of another program");
    let mode: String = db.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "delete", "not even its journal mode was changed");
    db.execute_batch("DROP TABLE theirs; PRAGMA application_id = 7").unwrap();
    assert_bad_path(&foreign, "is a database of another program");
}

#[test]
fn a_newer_schema_is_refused_and_an_older_one_migrated() {
    let (_directory, path) = place();
    let known = i64::try_from(file::MIGRATIONS.len()).unwrap();
    // A file that is marked as ours and holds nothing yet is at version 0.
    let db = Connection::open(&path).unwrap();
    db.pragma_update(None, "application_id", file::APPLICATION).unwrap();
    drop(Sqlite::builder(&path).open().unwrap());
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, known);
    for newer in [known + 1, -1] {
        db.pragma_update(None, "user_version", newer).unwrap();
        assert_bad_path(&path, &format!("schema {newer}, this one knows up to {known}"));
    }
}

#[test]
fn names_that_sqlite_reads_in_its_own_way_are_files() {
    let directory = tempfile::tempdir().unwrap();
    for name in [":memory:", "file:x?mode=memory", "with ' quote"] {
        let path = directory.path().join(name);
        drop(Sqlite::builder(&path).open().unwrap());
        assert!(path.metadata().unwrap().len() > 0, "{name}");
    }
    assert!(matches!(refused(Path::new("")).kind(), ErrorKind::Input(_)));
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let (directory, path) = place();
    let store = Sqlite::builder(&path).open().unwrap();
    store.commit(insert("a")).await.unwrap();
    let mut files = 0;
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        files += 1;
    }
    assert_eq!(files, 3, "database, log and shared memory");
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_written_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let (_directory, path) = place();
    drop(Sqlite::builder(&path).open().unwrap());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
    // The superuser writes everywhere.
    if std::fs::OpenOptions::new().write(true).open(&path).is_ok() {
        drop(Sqlite::builder(&path).open().unwrap());
    } else {
        let error = refused(&path);
        assert!(matches!(error.kind(), ErrorKind::Io(why) if why.as_str().contains("cannot be written")));
    }
}

#[tokio::test]
async fn closing_the_last_handle_closes_the_file() {
    let (directory, path) = place();
    let store = Sqlite::builder(&path).readers(2).open().unwrap();
    let second = store.clone();
    store.commit(insert("a")).await.unwrap();
    store.close().await;
    second.commit(insert("b")).await.unwrap();
    second.close().await;
    let files: Vec<_> =
        std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files, [path], "the last connection folds the log into the database");
}

#[tokio::test]
async fn work_that_was_handed_over_is_finished_after_the_last_handle_is_dropped() {
    let (_directory, path) = place();
    let store = Sqlite::builder(&path).open().unwrap();
    let mut commit = store.commit(insert("a"));
    let mut context = Context::from_waker(Waker::noop());
    let _ = commit.as_mut().poll(&mut context);
    drop(commit);
    store.close().await;
    let store = Sqlite::builder(&path).open().unwrap();
    assert!(store.get(&Key::new(Kind::Order, "a")).await.unwrap().is_some());
}

#[tokio::test]
async fn damaged_rows_are_told_apart_from_absent_ones() {
    let (_directory, path) = place();
    let store = Sqlite::builder(&path).open().unwrap();
    store.commit(insert("a")).await.unwrap();
    let other = Connection::open(&path).unwrap();
    for damage in ["found_by = 'x'", "found_by = '[[\"invented\",\"x\"]]'", "found_by = '[]', revision = -1"]
    {
        other.execute_batch(&format!("UPDATE record SET {damage}")).unwrap();
        for result in [
            store.get(&Key::new(Kind::Order, "a")).await.map(drop),
            store.list(&Query::all(Kind::Order)).await.map(drop),
        ] {
            let error = result.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Corrupt(_)), "{damage}: {error}");
        }
    }
}

#[test]
fn settings_are_checked_and_described() {
    let (_directory, path) = place();
    let json = serde_json::json!({ "path": path });
    let settings: Settings = serde_json::from_value(json).unwrap();
    assert_eq!(settings, Settings::new(&path));
    assert!(serde_json::from_value::<Settings>(serde_json::json!({ "path": "x", "pth": 1 })).is_err());
    let schema = schemars::schema_for!(Settings);
    assert_eq!(schema.as_value()["required"], serde_json::json!(["path"]));
    for (bad, named) in [
        (Settings { readers: 0, ..settings.clone() }, "readers"),
        (Settings { readers: 65, ..settings.clone() }, "readers"),
        (Settings { busy_timeout_seconds: 0, ..settings.clone() }, "busy_timeout_seconds"),
        (Settings { busy_timeout_seconds: 601, ..settings }, "busy_timeout_seconds"),
    ] {
        let error = Sqlite::from_settings(bad).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Input(InputError::Setting { setting, .. }) if setting == named),
            "{error}"
        );
    }
    assert!(!path.exists(), "nothing was created");
}
