//! What a host may choose about the SQLite store.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use certlife_core::{Error, ErrorKind, InputError, Operation, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{NAME, Sqlite};

/// The settings of an SQLite store, as a host keeps them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// The database file, on a local disk. Created, readable by its owner only, if it does not exist; its
    /// directory must exist and be writable, for SQLite puts two more files beside it.
    pub path: PathBuf,
    /// How long to wait while another process holds the file: 1 to 600 seconds. Defaults to 10.
    #[serde(default = "default_busy_timeout")]
    #[schemars(range(min = 1, max = 600))]
    pub busy_timeout_seconds: u64,
    /// How many threads read, 1 to 64. Defaults to 4. One more writes.
    #[serde(default = "default_readers")]
    #[schemars(range(min = 1, max = 64))]
    pub readers: usize,
}

fn default_busy_timeout() -> u64 {
    10
}

fn default_readers() -> usize {
    4
}

impl Settings {
    /// Names the file and leaves the rest at its defaults.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), busy_timeout_seconds: default_busy_timeout(), readers: default_readers() }
    }

    /// Checks the numbers and returns how long to wait for a lock.
    pub(super) fn check(&self) -> Result<Duration> {
        if !(1..=600).contains(&self.busy_timeout_seconds) {
            return Err(bad_setting("busy_timeout_seconds", "use 1 to 600 seconds"));
        }
        if !(1..=64).contains(&self.readers) {
            return Err(bad_setting("readers", "use 1 to 64"));
        }
        Ok(Duration::from_secs(self.busy_timeout_seconds))
    }
}

fn bad_setting(setting: &'static str, rule: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(NAME, Operation::Configure, ErrorKind::Input(InputError::setting(setting, rule)))
}

/// Says that the file at `path` cannot be the database, and why.
pub(super) fn bad_path(path: &Path, why: &str) -> Error {
    bad_setting("path", format!("{} {why}", path.display()))
}

/// Describes an SQLite store; made by [`Sqlite::builder`].
#[derive(Debug, Clone)]
pub struct SqliteBuilder {
    settings: Settings,
}

impl From<Settings> for SqliteBuilder {
    fn from(settings: Settings) -> Self {
        Self { settings }
    }
}

impl SqliteBuilder {
    /// Waits this long while another process holds the file: 1 s to 10 min, in whole seconds, rounded up.
    /// Defaults to 10 s.
    #[must_use]
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.settings.busy_timeout_seconds = timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0);
        self
    }

    /// Reads with this many threads, 1 to 64. Defaults to 4.
    #[must_use]
    pub fn readers(mut self, readers: usize) -> Self {
        self.settings.readers = readers;
        self
    }

    /// Opens the store; see [`Sqlite::from_settings`].
    ///
    /// # Errors
    ///
    /// Those of [`Sqlite::from_settings`].
    pub fn open(self) -> Result<Sqlite> {
        Sqlite::from_settings(self.settings)
    }
}
