//! What it costs to find and take the work that is due, by how many certificates there are.
//!
//! Of 1,000, 100,000 and 1,000,000 certificates in one SQLite file, 100 are due, spread evenly. The figures
//! must not grow with the file: the baseline is the smallest one. Each size is measured in a process of its
//! own, so that its memory is its own, too.
//!
//! `cargo bench --bench due`, and `-- --quick` for 1,000 and 10,000.

#![expect(clippy::unwrap_used, reason = "a bench that cannot set up has nothing to measure")]
#![expect(clippy::print_stdout, reason = "a bench is there to print")]

mod support;

use std::{
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use certlife_core::{
    Clock as _, Engine, KeyAlgorithm, Timestamp, WorkerId,
    engine::CaOptions,
    model::Certificate,
    store::{
        AfterCommit, Batch, Claim, Draft, Field, Index, Key, Kind, Lease, MemoryStore, Query, Store as _,
        Write,
    },
};
use certlife_store::sqlite::Sqlite;
use certlife_testkit::{ca::MemoryCa, clock::ManualClock};
use support::{Mode, Ratios, fleet, median, memory_kib};

const DUE: usize = 100;
/// How many records one transaction writes while the file is filled.
const AT_ONCE: usize = 20_000;
/// The argument under which this program starts itself to measure one size.
const MEASURE: &str = "--measure";

fn now() -> Timestamp {
    ManualClock::default().now()
}

fn far() -> Timestamp {
    now() + Duration::from_hours(24 * 30)
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, path, rounds] = &arguments[..]
        && flag == MEASURE
    {
        return measure(Path::new(path), rounds.parse().unwrap()).await.tell();
    }
    let mode = Mode::from_args();
    let sizes: &[usize] = mode.pick(&[1_000, 100_000, 1_000_000], &[1_000, 10_000], &[200, 400]);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("due.db");
    let template = certificate().await;
    let mut found = Vec::new();
    let (mut held, mut due) = (0, Vec::new());
    for &size in sizes {
        let start = Instant::now();
        let store = Sqlite::builder(&path).open().unwrap();
        fill(&store, &template, held..size).await;
        held = size;
        set_due(&store, &due, far()).await;
        due = (0..DUE).map(|number| number * size / DUE).collect();
        set_due(&store, &due, now()).await;
        store.close().await;
        let megabytes = std::fs::metadata(&path).unwrap().len() >> 20;
        println!("{size} certificates: {megabytes} MB, filled in {:.1?}", start.elapsed());
        found.push((size, Measured::ask(&path, mode.pick(50, 20, 2))));
    }
    print(&found);
}

fn print(found: &[(usize, Measured)]) {
    type Figure = (&'static str, fn(&Measured) -> Duration);
    let [(smallest, least), ..] = found else { return };
    let figures: [Figure; 5] = [
        ("claim 100 due", |measured| measured.claim),
        ("find nothing due", |measured| measured.idle),
        ("write 100 back and release them", |measured| measured.write),
        ("list 100 that expire next", |measured| measured.list),
        ("open the file", |measured| measured.open),
    ];
    for (name, figure) in figures {
        let mut table = Ratios::of_time(name, format!("with {smallest} certificates"), figure(least));
        for (size, measured) in &found[1..] {
            table.time(format!("with {size} certificates"), figure(measured));
        }
        table.print();
    }
    println!("\nmemory of the process that does all this");
    for (size, Measured { memory_kib: [now, most], .. }) in found {
        println!("  with {size} certificates  VmRSS {now} KiB  VmHWM {most} KiB");
    }
}

/// The figures of one size.
struct Measured {
    open: Duration,
    claim: Duration,
    idle: Duration,
    write: Duration,
    list: Duration,
    memory_kib: [u64; 2],
}

impl Measured {
    /// Measures in a process of its own.
    fn ask(path: &Path, rounds: usize) -> Self {
        let program = std::env::current_exe().unwrap();
        let output = Command::new(program).arg(MEASURE).arg(path).arg(rounds.to_string()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let figures: Vec<u64> = text.split_whitespace().map(|figure| figure.parse().unwrap()).collect();
        let [open, claim, idle, write, list, now, most] = figures[..] else { panic!("{text}") };
        let [open, claim, idle, write, list] = [open, claim, idle, write, list].map(Duration::from_nanos);
        Self { open, claim, idle, write, list, memory_kib: [now, most] }
    }

    /// Prints what [`ask`](Self::ask) reads.
    fn tell(&self) {
        let times = [self.open, self.claim, self.idle, self.write, self.list];
        let times = times.map(|time| time.as_nanos().to_string()).join(" ");
        let [now, most] = self.memory_kib;
        println!("{times} {now} {most}");
    }
}

async fn measure(path: &Path, rounds: usize) -> Measured {
    let start = Instant::now();
    let store = Sqlite::builder(path).open().unwrap();
    let open = start.elapsed();
    let worker = WorkerId::new(now(), [1; 10]);
    let claim = |now: Timestamp| Claim { worker, now, until: now + Duration::from_mins(1), limit: DUE };
    let (mut claims, mut idles, mut writes, mut lists) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let start = Instant::now();
        let claimed = store.claim(&claim(now() - Duration::from_mins(1))).await.unwrap();
        idles.push(start.elapsed());
        assert!(claimed.work.is_empty());

        let start = Instant::now();
        let claimed = store.claim(&claim(now())).await.unwrap();
        claims.push(start.elapsed());
        assert_eq!(claimed.work.len(), DUE);

        let start = Instant::now();
        let writes_back = claimed.work.into_iter().map(|leased| {
            let record = leased.record;
            let draft = Draft { key: record.key, body: record.body, due: record.due, index: record.index };
            let leases: Vec<(Lease, _)> = vec![(leased.lease, AfterCommit::Release)];
            store.commit(Batch { leases, writes: vec![Write::Replace(draft, record.revision)] })
        });
        for outcome in futures_util::future::join_all(writes_back).await {
            outcome.unwrap();
        }
        writes.push(start.elapsed());

        let start = Instant::now();
        let soon = Query::all(Kind::Certificate)
            .between(Field::Expires, std::ops::Bound::Unbounded, std::ops::Bound::Unbounded)
            .limit(100);
        assert_eq!(store.list(&soon).await.unwrap().items.len(), 100);
        lists.push(start.elapsed());
    }
    Measured {
        open,
        claim: median(claims),
        idle: median(idles),
        write: median(writes),
        list: median(lists),
        memory_kib: [memory_kib("VmRSS"), memory_kib("VmHWM")],
    }
}

/// A certificate as an engine leaves it after an issuance.
async fn certificate() -> Certificate {
    let clock = Arc::new(ManualClock::default());
    let ca = MemoryCa::builder(clock.clone()).build();
    let engine = Engine::builder(Arc::new(MemoryStore::new()), fleet::ring())
        .clock(clock)
        .ca("ca".parse().unwrap(), Arc::new(ca), CaOptions::default())
        .build()
        .await
        .unwrap();
    engine.ensure(fleet::wish(0, KeyAlgorithm::EcdsaP256)).await.unwrap();
    engine.pass().await.unwrap();
    engine.certificate(&"c0".parse().unwrap()).await.unwrap()
}

/// Writes certificates `numbers`, none of them due, in a few large batches.
async fn fill(store: &Sqlite, template: &Certificate, numbers: std::ops::Range<usize>) {
    let numbers: Vec<usize> = numbers.collect();
    for chunk in numbers.chunks(AT_ONCE) {
        let writes = chunk.iter().map(|number| Write::Insert(draft(template, *number))).collect();
        store.commit(Batch { leases: Vec::new(), writes }).await.unwrap();
    }
}

fn draft(template: &Certificate, number: usize) -> Draft {
    let mut certificate = template.clone();
    certificate.spec.id = format!("c{number}").parse().unwrap();
    certificate.spec.identifiers = vec![fleet::host(number).parse().unwrap()];
    // Renewals of a large stock are spread over weeks, in no order that the ids would follow.
    let spread = Duration::from_secs((number as u64).wrapping_mul(7_919) % (60 * 86_400));
    let due = far() + spread;
    let not_after = due + Duration::from_hours(24 * 30);
    certificate.validity = certificate.validity.map(|(not_before, _)| (not_before, not_after));
    // Found by what the engine lets certificates be found by.
    let index = Index::from([
        (Field::Name, fleet::host(number)),
        (Field::Account, "ca".to_owned()),
        (Field::Expires, not_after.to_string()),
    ]);
    let body = serde_json::to_string(&certificate).unwrap();
    Draft { key: Key::new(Kind::Certificate, &certificate.spec.id), body, due: Some(due), index }
}

async fn set_due(store: &Sqlite, numbers: &[usize], due: Timestamp) {
    for number in numbers {
        let key = Key::new(Kind::Certificate, format_args!("c{number}"));
        let record = store.get(&key).await.unwrap().unwrap();
        let draft = Draft { key, body: record.body, due: Some(due), index: record.index };
        let writes = vec![Write::Replace(draft, record.revision)];
        store.commit(Batch { leases: Vec::new(), writes }).await.unwrap();
    }
}
