//! What the engine adds to an issuance: an in-memory CA answers at once, so that nothing is waited for.
//!
//! The baseline is what no client gets around: making a P-256 key and signing a request with it. On top of
//! that the CA here signs the certificate, and engine and store do their work. `proven` adds a file for the
//! CA on a target, and the deployment to it.
//!
//! `cargo bench --bench engine`, and `-- --quick` for a glance.

#![expect(clippy::unwrap_used, reason = "a bench that cannot set up has nothing to measure")]
#![expect(clippy::print_stdout, reason = "a bench is there to print")]

mod support;

use std::{sync::Arc, time::Duration};

use certlife_core::{
    Engine, KeyAlgorithm, Store,
    challenge::ChallengeKind,
    engine::{CaOptions, TargetOptions},
    store::MemoryStore,
};
use certlife_store::sqlite::Sqlite;
use certlife_testkit::{ca::MemoryCa, clock::ManualClock, deploy::MemoryTarget};
use support::{Cost, Meter, Mode, Ratios, fleet};

/// One way to issue.
#[derive(Debug, Clone, Copy)]
struct Case {
    at_once: usize,
    on_disk: bool,
    proven: bool,
}

impl Case {
    const ALL: [Self; 6] = [
        Self { at_once: 1, on_disk: false, proven: false },
        Self { at_once: 16, on_disk: false, proven: false },
        Self { at_once: 1, on_disk: true, proven: false },
        Self { at_once: 16, on_disk: true, proven: false },
        Self { at_once: 1, on_disk: true, proven: true },
        Self { at_once: 16, on_disk: true, proven: true },
    ];

    fn name(self) -> String {
        let store = if self.on_disk { "SQLite" } else { "memory" };
        let proven = if self.proven { ", proven and deployed" } else { "" };
        format!("{store}, {} at a time{proven}", self.at_once)
    }
}

#[tokio::main]
async fn main() {
    let mode = Mode::from_args();
    let count = mode.pick(480, 64, 4);
    let floor = fleet::floor(KeyAlgorithm::EcdsaP256, mode.pick(500, 100, 2));
    let baseline = "one key and one signed request (P-256)";
    let mut walls = Ratios::of_time("engine: wall time an issuance", baseline, floor);
    let mut cpus = Ratios::of_time("engine: CPU time an issuance", baseline, floor);
    for case in Case::ALL {
        let Issuance { cost, commits } = issue(case, count).await;
        let name = case.name();
        let rate = 1.0 / cost.wall.as_secs_f64();
        let commits = commits.map(|(batches, syncs)| {
            let of = |figure: u64| f64::from(u32::try_from(figure).unwrap_or(u32::MAX)) / f64::from(count);
            format!(", {:.1} commits in {:.1} transactions", of(batches), of(syncs))
        });
        println!("{name}: {rate:.0} a second{}", commits.unwrap_or_default());
        walls.time(&*name, cost.wall);
        cpus.time(name, cost.cpu);
    }
    walls.print();
    cpus.print();
}

struct Issuance {
    cost: Cost,
    /// Batches and transactions of the whole run.
    commits: Option<(u64, u64)>,
}

async fn issue(case: Case, count: u32) -> Issuance {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let sqlite = case.on_disk.then(|| Sqlite::builder(folder.path().join("bench.db")).open().unwrap());
    let store: Arc<dyn Store> = match &sqlite {
        Some(sqlite) => Arc::new(sqlite.clone()),
        None => Arc::new(MemoryStore::new()),
    };
    let engine = engine(case, store).await;
    for number in 0..count as usize {
        let wish = if case.proven { fleet::wish_by_http } else { fleet::wish };
        let mut wish = wish(number, KeyAlgorithm::EcdsaP256);
        if case.proven {
            wish = wish.deploy("web".parse().unwrap());
        }
        engine.ensure(wish).await.unwrap();
    }
    let before = sqlite.as_ref().map(Sqlite::statistics);
    let meter = Meter::start();
    engine.pass().await.unwrap();
    let cost = meter.per(count);
    assert!(fleet::all_issued(&engine, count as usize).await, "not everything was issued in one pass");
    let commits = sqlite.zip(before).map(|(sqlite, before)| {
        let after = sqlite.statistics();
        (after.batches - before.batches, after.transactions - before.transactions)
    });
    Issuance { cost, commits }
}

async fn engine(case: Case, store: Arc<dyn Store>) -> Engine {
    let clock = Arc::new(ManualClock::default());
    let mut ca = MemoryCa::builder(clock.clone());
    if case.proven {
        ca = ca.challenges([ChallengeKind::Http]);
    }
    Engine::builder(store, fleet::ring())
        .clock(clock.clone())
        .concurrency(case.at_once)
        .linger(Duration::ZERO)
        .ca("ca".parse().unwrap(), Arc::new(ca.build()), CaOptions::default())
        .target("web".parse().unwrap(), Arc::new(MemoryTarget::with_clock(clock)), TargetOptions::default())
        .build()
        .await
        .unwrap()
}
