//! The database file: created for its owner alone, recognized, migrated, and set up to be durable.

use std::{
    fs, io,
    path::{self, Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use certlife_core::{Error, Operation, Result};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::{
    NAME,
    refusal::{self, fault, is_busy},
    settings::bad_path,
};

/// Marks the file as ours: `CeLi` in ASCII (<https://sqlite.org/pragma.html#pragma_application_id>).
pub(super) const APPLICATION: i32 = 0x4365_4c69;

/// What leads from each schema version to the next; the version is how many were carried out.
pub(super) const MIGRATIONS: &[&str] = &[include_str!("migrations/0001.sql")];

/// How many statements a connection keeps prepared: all that this module has.
const STATEMENTS: usize = 64;

/// How long to wait before a lock is asked for again that SQLite does not wait for itself.
const NAP: Duration = Duration::from_millis(10);

/// Makes `path` independent of the working directory. SQLite gives a meaning of their own to `:memory:`
/// and to the empty path; an absolute path is always a file.
pub(super) fn absolute(path: &Path) -> Result<PathBuf> {
    if path.file_name().is_none() || path.is_dir() {
        return Err(bad_path(path, "is not a file; name the database file"));
    }
    path::absolute(path).map_err(|error| bad_path(path, &error.to_string()))
}

/// Opens the connection that writes.
pub(super) fn open(path: &Path, patience: Duration) -> Result<Connection> {
    create(path)?;
    let mut db = connect(path, patience)?;
    adopt(&mut db, path)?;
    let mode = journal_mode(&db, patience).map_err(|error| refused(path, error))?;
    if mode != "wal" {
        return Err(bad_path(path, "lies on a file system that SQLite cannot share between connections"));
    }
    // FULL syncs at every commit, which is what survives a power cut; on macOS only with `fullfsync`.
    db.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON;
         PRAGMA journal_size_limit = 67108864;",
    )
    .map_err(|error| refused(path, error))?;
    Ok(db)
}

/// Opens a connection that cannot write.
pub(super) fn open_reader(path: &Path, patience: Duration) -> Result<Connection> {
    let db = connect(path, patience)?;
    db.pragma_update(None, "query_only", true).map_err(|error| refused(path, error))?;
    Ok(db)
}

/// Creates the file, so that nobody but its owner can open it at any moment.
fn create(path: &Path) -> Result<()> {
    /// Closing any descriptor of a file drops all locks that the process holds on it (POSIX `fcntl`), also
    /// those of an SQLite connection; so nothing else may open the file between creating and closing it.
    static CREATING: Mutex<()> = Mutex::new(());

    let _guard = CREATING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(bad_path(path, "lies in a directory that does not exist"))
        }
        Err(error) => {
            let text = format!("{} cannot be created: {error}", path.display());
            Err(Error::new(NAME, Operation::Configure, refusal::io(&text)).because(error))
        }
    }
}

fn connect(path: &Path, patience: Duration) -> Result<Connection> {
    // Without the URI flag, so that a path that begins with `file:` is a path.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).map_err(|error| refused(path, error))?;
    // SQLite opens a file that it may not write for reading, and says nothing.
    if db.is_readonly("main").map_err(|error| refused(path, error))? {
        let text = format!("{} cannot be written", path.display());
        return Err(Error::new(NAME, Operation::Configure, refusal::io(&text)));
    }
    db.busy_timeout(patience).map_err(|error| refused(path, error))?;
    // Functions in the schema of a file that somebody else wrote are not run.
    db.pragma_update(None, "trusted_schema", false).map_err(|error| refused(path, error))?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(db)
}

/// Checks that the file is ours and brings its schema up to date, in one transaction, so that several
/// processes may open a new file at once.
fn adopt(db: &mut Connection, path: &Path) -> Result<()> {
    let refused = |error| refused(path, error);
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate).map_err(refused)?;
    let number = |sql: &str| transaction.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(refused);

    let application = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    let new = application == 0 && version == 0 && number("SELECT count(*) FROM sqlite_schema")? == 0;
    if !new && application != i64::from(APPLICATION) {
        return Err(bad_path(path, "is a database of another program"));
    }
    let known = MIGRATIONS.len();
    let pending = usize::try_from(version).ok().and_then(|version| MIGRATIONS.get(version..));
    let Some(pending) = pending else {
        let why = format!(
            "was written by a newer version of certlife (schema {version}, this one knows up to {known}); \
             upgrade this program"
        );
        return Err(bad_path(path, &why));
    };
    for migration in pending {
        transaction.execute_batch(migration).map_err(refused)?;
    }
    if !pending.is_empty() {
        let marks = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {known};");
        transaction.execute_batch(&marks).map_err(refused)?;
    }
    transaction.commit().map_err(refused)
}

/// Switches to the write-ahead log, so that readers and the writer do not wait for each other, and returns
/// the mode that came of it.
fn journal_mode(db: &Connection, patience: Duration) -> rusqlite::Result<String> {
    // Another process that opens or closes the file stands in the way without SQLite waiting for it.
    let mut naps = patience.as_millis() / NAP.as_millis();
    loop {
        match db.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)) {
            Err(error) if is_busy(&error) && naps > 0 => naps -= 1,
            mode => return mode,
        }
        thread::sleep(NAP);
    }
}

/// Says why SQLite does not open the file.
fn refused(path: &Path, error: rusqlite::Error) -> Error {
    let why = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => return bad_path(path, "is not an SQLite database"),
        Some(ErrorCode::ReadOnly) => "cannot be written",
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            "or a file beside it cannot be opened for reading and writing"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => "is held by another process",
        _ => return fault(Operation::Configure, error),
    };
    let text = format!("{} {why}", path.display());
    Error::new(NAME, Operation::Configure, refusal::io(&text)).because(error)
}
