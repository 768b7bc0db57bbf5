//! The contract of `Store`, line by line, on the memory store; SQLite keeps its own beside it.

use std::sync::Arc;

use certlife_core::Store;
use certlife_store::MemoryStore;
use certlife_testkit::store::StoreFixture;

/// The same store again: memory has nothing to reopen.
#[derive(Default)]
struct Memory(Arc<MemoryStore>);

impl StoreFixture for Memory {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::clone(&self.0) as _
    }
}

certlife_testkit::store_conformance!(Memory::default());
