//! The contract of `Store`, line by line.

use std::sync::Arc;

use certlife_core::Store;
use certlife_testkit::store::StoreFixture;
use tempfile::TempDir;

use super::Sqlite;

/// A file in a directory of its own, opened anew each time.
struct File(TempDir);

impl File {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn store(&self) -> Sqlite {
        Sqlite::builder(self.0.path().join("certlife.db")).open().unwrap()
    }
}

impl StoreFixture for File {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.store())
    }
}

certlife_testkit::store_conformance!(File::new());
