//! Stores for [certlife](https://docs.rs/certlife): memory, and SQLite behind the feature `sqlite`.
//!
//! Both keep the contract of [`certlife_core::Store`] and run the same conformance suite. Neither ever sees
//! a private key in the clear: the engine seals what is secret before it arrives here.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "sqlite")]
pub mod sqlite;

pub use certlife_core::store::MemoryStore;
#[cfg(feature = "sqlite")]
pub use sqlite::Sqlite;

use certlife_core::Registry;

/// The settings of the memory store: none.
#[derive(Debug, Clone, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MemorySettings {}

/// Adds the kinds of store of this crate to what can be opened from settings.
pub fn register(registry: &mut Registry) {
    registry.register_store("memory", "Memory, gone with the process", |_: MemorySettings| {
        Ok(MemoryStore::new())
    });
    #[cfg(feature = "sqlite")]
    registry.register_store("sqlite", "SQLite file", Sqlite::from_settings);
}
