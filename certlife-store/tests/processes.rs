//! Several processes on one SQLite file, and processes that are killed: the test binary runs itself.
#![cfg(feature = "sqlite")]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
};

use certlife_core::{
    Store, Timestamp, WorkerId,
    store::{Batch, Claim, Draft, Index, Key, Kind, Query, Record, Write},
};
use certlife_store::Sqlite;

/// Tells a child where the file is.
const PATH: &str = "CERTLIFE_TEST_STORE";

/// Runs one ignored test of this binary in a process of its own, on the file at `path`.
struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(test: &str, path: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--ignored", "--nocapture"])
            .env(PATH, path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    /// Reads the next thing that the child said; none once it has ended.
    fn hear(&mut self) -> Option<String> {
        let mut line = String::new();
        while self.output.read_line(&mut line).unwrap() > 0 {
            // The test harness talks too, and a kill may cut the last line off.
            let said = line.strip_suffix('\n').and_then(|line| line.split_once("child: "));
            if let Some((_, said)) = said {
                return Some(said.to_owned());
            }
            line.clear();
        }
        None
    }
}

/// Never leaves a child behind, also where an assertion fails.
impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn say(words: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "child: {words}").unwrap();
    out.flush().unwrap();
}

/// In a child: opens the file that the parent named.
#[expect(clippy::disallowed_methods, reason = "the parent process passes the path to its child")]
fn given_store() -> Sqlite {
    Sqlite::builder(PathBuf::from(std::env::var_os(PATH).unwrap())).open().unwrap()
}

fn order(id: impl std::fmt::Display, size: usize) -> Write {
    let due = Some(Timestamp::from_unix_seconds(0));
    Write::Insert(Draft { key: Key::new(Kind::Order, id), body: "x".repeat(size), due, index: Index::new() })
}

async fn everything(store: &Sqlite, kind: Kind) -> Vec<Record> {
    let (mut query, mut records) = (Query::all(kind).limit(1_000), Vec::new());
    loop {
        let page = store.list(&query).await.unwrap();
        records.extend(page.items);
        match page.next {
            Some(next) => query.after = Some(next),
            None => return records,
        }
    }
}

#[tokio::test]
#[ignore = "the child of `a_killed_process_loses_nothing_that_it_acknowledged`"]
async fn commit_until_killed() {
    let store = Arc::new(given_store());
    let round = everything(&store, Kind::Event).await.len();
    let writers = (0..8).map(|writer| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for number in 0.. {
                let name = format!("{round}-{writer}-{number}");
                let event = Write::Append { body: name.clone(), index: Index::new() };
                let writes = vec![order(format!("{name}/a"), 5_000), event, order(format!("{name}/b"), 10)];
                store.commit(Batch { leases: Vec::new(), writes }).await.unwrap();
                say(name);
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

#[tokio::test]
async fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("certlife.db");
    let mut acknowledged = BTreeSet::new();
    for enough in [1, 40, 150, 77] {
        let mut process = Process::start("commit_until_killed", &path);
        for _ in 0..enough {
            acknowledged.insert(process.hear().unwrap());
        }
        process.child.kill().unwrap();
        // What it said before it died was acknowledged too.
        acknowledged.extend(std::iter::from_fn(|| process.hear()));
        process.child.wait().unwrap();

        let store = Sqlite::builder(&path).open().unwrap();
        let orders: BTreeSet<String> =
            everything(&store, Kind::Order).await.into_iter().map(|record| record.key.id).collect();
        let events = everything(&store, Kind::Event).await;
        for (event, position) in events.iter().zip(1_u64..) {
            assert_eq!(event.key.id.parse::<u64>().unwrap(), position);
            for half in ["a", "b"] {
                assert!(orders.contains(&format!("{}/{half}", event.body)), "{} is half there", event.body);
            }
        }
        assert_eq!(orders.len(), 2 * events.len(), "orders without their event");
        let whole: BTreeSet<String> = events.into_iter().map(|event| event.body).collect();
        let lost: Vec<_> = acknowledged.difference(&whole).collect();
        assert!(lost.is_empty(), "{lost:?}");
    }
}

#[tokio::test]
#[ignore = "the child of `two_processes_never_claim_the_same_work`"]
async fn claim_until_nothing_is_due() {
    let store = given_store();
    say("ready");
    let mut start = String::new();
    std::io::stdin().read_line(&mut start).unwrap();
    let who: u8 = start.trim().parse().unwrap();
    let now = Timestamp::from_unix_seconds(1);
    let claim = Claim {
        worker: WorkerId::new(now, [who; 10]),
        now,
        until: Timestamp::from_unix_seconds(1_000),
        limit: 3,
    };
    loop {
        let work = store.claim(&claim).await.unwrap().work;
        if work.is_empty() {
            return store.close().await;
        }
        for leased in work {
            say(format_args!("{} {}", leased.lease.token, leased.record.key.id));
        }
    }
}

#[tokio::test]
async fn two_processes_never_claim_the_same_work() {
    const RECORDS: usize = 3_000;

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("certlife.db");
    let store = Sqlite::builder(&path).open().unwrap();
    store
        .commit(Batch { leases: Vec::new(), writes: (0..RECORDS).map(|id| order(id, 100)).collect() })
        .await
        .unwrap();
    let mut processes = [1, 2].map(|_| Process::start("claim_until_nothing_is_due", &path));
    for process in &mut processes {
        assert_eq!(process.hear().as_deref(), Some("ready"));
    }
    for (process, who) in processes.iter_mut().zip(1..) {
        writeln!(process.input, "{who}").unwrap();
    }
    let (mut tokens, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for process in &mut processes {
        let mut count = 0;
        while let Some(said) = process.hear() {
            let (token, id) = said.split_once(' ').unwrap();
            assert!(tokens.insert(token.to_owned()), "token {token} twice");
            assert!(ids.insert(id.to_owned()), "{id} twice");
            count += 1;
        }
        assert!(count > 0, "one process kept the other away");
        assert!(process.child.wait().unwrap().success());
    }
    assert_eq!(ids.len(), RECORDS);
}

#[tokio::test]
#[ignore = "the child of `processes_that_open_a_new_file_at_once_share_it`"]
async fn write_one_event() {
    let store = given_store();
    let event = Write::Append { body: String::new(), index: Index::new() };
    let committed = store.commit(Batch { leases: Vec::new(), writes: vec![event] }).await.unwrap();
    say(committed.position.unwrap());
}

#[test]
fn processes_that_open_a_new_file_at_once_share_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("certlife.db");
    let mut processes = [(); 6].map(|()| Process::start("write_one_event", &path));
    let mut positions: Vec<String> = processes.iter_mut().map(|process| process.hear().unwrap()).collect();
    positions.sort();
    assert_eq!(positions, ["1", "2", "3", "4", "5", "6"]);
}
