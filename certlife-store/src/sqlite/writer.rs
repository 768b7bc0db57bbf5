//! The thread that writes: one transaction, and so one sync to disk, for everything that waits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::Receiver,
    },
    time::Duration,
};

use rusqlite::Connection;

use super::{call::Job, refusal::is_busy};

/// How well group commit works: far more batches than transactions when many callers write at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Statistics {
    /// Commits, claims, extensions and releases that were carried out.
    pub batches: u64,
    /// Transactions that carried them, each with at most one sync to disk.
    pub transactions: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    batches: AtomicU64,
    transactions: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> Statistics {
        Statistics {
            batches: self.batches.load(Ordering::Relaxed),
            transactions: self.transactions.load(Ordering::Relaxed),
        }
    }

    fn count(&self, batches: u64) {
        self.batches.fetch_add(batches, Ordering::Relaxed);
        self.transactions.fetch_add(1, Ordering::Relaxed);
    }
}

/// The most batches in one transaction, so that the first caller does not wait for ever.
const MAX_GROUP: usize = 256;

/// How long SQLite itself waits for the lock.
///
/// Its own waiting backs off to 100 ms between looks, and a busy writer in another process lets go of the
/// lock for microseconds at a time. Asking often in short waits keeps two processes fair to each other.
const NAP: Duration = Duration::from_millis(5);

pub(super) struct Writer {
    db: Connection,
    queue: Receiver<Box<dyn Job>>,
    naps: u128,
    counters: Arc<Counters>,
}

impl Writer {
    /// Makes a writer that waits about `patience` for the lock of the file.
    pub(super) fn new(
        db: Connection,
        queue: Receiver<Box<dyn Job>>,
        patience: Duration,
        counters: Arc<Counters>,
    ) -> Self {
        Self { db, queue, naps: patience.as_millis() / NAP.as_millis(), counters }
    }

    /// Works until the last handle on the store is gone and the queue is empty.
    pub(super) fn run(self) {
        while let Ok(first) = self.queue.recv() {
            match self.begin() {
                Ok(()) => self.group(first),
                Err(error) => {
                    let why = if is_busy(&error) {
                        "another process holds the database".to_owned()
                    } else {
                        error.to_string()
                    };
                    // Those that wait behind it would wait as long in vain. They are counted before the
                    // first answer is out, so that nobody is refused who asks after that.
                    let group: Vec<_> = std::iter::once(first).chain(self.queue.try_iter()).collect();
                    for job in group {
                        job.answer(Some(&why));
                    }
                }
            }
        }
    }

    fn begin(&self) -> rusqlite::Result<()> {
        self.db.busy_timeout(NAP)?;
        let mut naps = self.naps;
        loop {
            match self.db.execute_batch("BEGIN IMMEDIATE") {
                Err(error) if is_busy(&error) && naps > 0 => naps -= 1,
                begun => return begun,
            }
        }
    }

    /// Carries out `first` and all that waits behind it, commits, and only then answers.
    fn group(&self, first: Box<dyn Job>) {
        let mut done = Vec::new();
        let mut next = Some(first);
        let mut kept = 0;
        let committed = loop {
            let Some(mut job) = next.take() else { break self.db.execute_batch("COMMIT") };
            let outcome = self.batch(&mut *job);
            done.push(job);
            match outcome {
                Ok(keep) => kept += u64::from(keep),
                Err(error) => break Err(error),
            }
            if done.len() < MAX_GROUP {
                next = self.queue.try_recv().ok();
            }
        };
        let void = committed.err().map(|error| error.to_string());
        if void.is_none() {
            self.counters.count(kept);
        } else if !self.db.is_autocommit() {
            // If even this fails, the next `BEGIN` does too, and says why.
            let _ = self.db.execute_batch("ROLLBACK");
        }
        for job in done {
            job.answer(void.as_deref());
        }
    }

    /// Carries out one batch; one that fails takes back what it did and leaves the others alone.
    ///
    /// An error means that the whole transaction is lost: SQLite rolls it back by itself where, for
    /// instance, the disk is full (<https://sqlite.org/lang_transaction.html>, section 3).
    fn batch(&self, job: &mut dyn Job) -> rusqlite::Result<bool> {
        self.db.prepare_cached("SAVEPOINT batch")?.execute([])?;
        let keep = job.run(&self.db);
        if !keep {
            self.db.prepare_cached("ROLLBACK TO batch")?.execute([])?;
        }
        self.db.prepare_cached("RELEASE batch")?.execute([])?;
        Ok(keep)
    }
}
