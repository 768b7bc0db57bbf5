//! Why a piece of work on the database came to nothing, and how that is told.

use certlife_core::{Error, ErrorKind, Operation, VendorText};
use rusqlite::ErrorCode;

use super::NAME;

#[derive(Debug)]
pub(super) enum Refusal {
    LeaseLost,
    RevisionConflict,
    /// What is stored cannot be read.
    Corrupt(&'static str),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Refusal {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Refusal {
    pub(super) fn into_error(self, operation: Operation) -> Error {
        let kind = match self {
            Self::LeaseLost => ErrorKind::LeaseLost,
            Self::RevisionConflict => ErrorKind::RevisionConflict,
            Self::Corrupt(what) => ErrorKind::Corrupt(what.into()),
            Self::Sqlite(error) => return fault(operation, error),
        };
        Error::new(NAME, operation, kind)
    }
}

/// Says what SQLite reported. Its messages show neither values nor keys.
pub(super) fn fault(operation: Operation, error: rusqlite::Error) -> Error {
    use rusqlite::Error as E;
    let kind = match (&error, error.sqlite_error_code()) {
        (_, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)) => {
            ErrorKind::Corrupt("the database file is damaged".into())
        }
        (E::FromSqlConversionFailure(..) | E::IntegralValueOutOfRange(..) | E::InvalidColumnType(..), _) => {
            ErrorKind::Corrupt("a column holds a value of another type".into())
        }
        _ if is_busy(&error) => io("another process holds the database"),
        _ => io(&error.to_string()),
    };
    Error::new(NAME, operation, kind).because(error)
}

/// Says that the file or its threads failed.
pub(super) fn io(text: &str) -> ErrorKind {
    ErrorKind::Io(VendorText::new(text))
}

/// Whether another connection holds the lock that was asked for.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}
