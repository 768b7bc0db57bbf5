//! The suite on the reference store, and a check that the list of cases is complete.

use std::{collections::BTreeSet, sync::Arc};

use certlife_core::{Store, store::MemoryStore};

use super::StoreFixture;

#[derive(Default)]
struct Memory(Arc<MemoryStore>);

impl StoreFixture for Memory {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::clone(&self.0) as _
    }
}

mod conformance {
    crate::store_conformance!(super::Memory::default());
}

#[test]
fn every_public_case_is_on_the_list() {
    let sources = [
        include_str!("batches.rs"),
        include_str!("claims.rs"),
        include_str!("events.rs"),
        include_str!("leases.rs"),
        include_str!("listings.rs"),
        include_str!("model.rs"),
        include_str!("restarts.rs"),
    ];
    let written: BTreeSet<&str> = sources
        .iter()
        .flat_map(|source| source.split("\npub async fn ").skip(1))
        .filter_map(|case| case.split('(').next())
        .collect();
    let (_, list) = include_str!("mod.rs").split_once("@cases $fixture;\n").unwrap();
    let listed: BTreeSet<&str> = list.lines().map(str::trim).take_while(|line| *line != "}").collect();
    assert_eq!(written, listed);
}
