//! One [SQLite](https://sqlite.org) file as a [`Store`].
//!
//! One thread writes and a few read, each with a connection of its own, so that no async task waits on a
//! disk. The writer carries out everything that waits in one transaction with one sync to disk, each batch
//! in its own savepoint (group commit): a hundred concurrent commits cost little more than one. Several
//! processes may share the file if it lies on a local disk; SQLite's locks do not hold on most network file
//! systems.

mod call;
#[cfg(test)]
mod conformance;
mod file;
mod read;
mod refusal;
mod settings;
#[cfg(test)]
mod tests;
mod write;
mod writer;

use std::{
    convert::Infallible,
    fmt,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use async_trait::async_trait;
use certlife_core::{
    ErrorKind, Operation, ProviderName, Result, Timestamp, VendorText,
    store::{Batch, Claim, Claimed, Committed, Key, Lease, Page, Query, Record, Store},
};
use rusqlite::Connection;

use self::{
    call::{Job, call},
    writer::{Counters, Writer},
};
pub use self::{
    settings::{Settings, SqliteBuilder},
    writer::Statistics,
};

const NAME: ProviderName = ProviderName::new("sqlite");

/// A [`Store`] in one SQLite file. Cloning it gives another handle on the same connections.
///
/// Once the last handle is dropped, the threads finish what was handed to them and close the file;
/// [`close`](Self::close) waits for that.
#[derive(Clone)]
pub struct Sqlite {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    writes: Sender<Box<dyn Job>>,
    reads: Sender<Box<dyn Job>>,
    counters: Arc<Counters>,
    /// Ends once every thread has closed its connection.
    threads: tokio::sync::mpsc::Receiver<Infallible>,
}

impl Sqlite {
    /// Starts to describe a store in the file at `path`, which is created if it does not exist.
    pub fn builder(path: impl AsRef<Path>) -> SqliteBuilder {
        SqliteBuilder::from(Settings::new(path.as_ref()))
    }

    /// Opens the file, creating or migrating it as needed. Blocks meanwhile: some milliseconds as a rule,
    /// and up to [`Settings::busy_timeout_seconds`] if another process holds the file.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Input`] names the setting that is wrong, also where the file is no database, belongs to
    /// another program or was written by a newer version. [`ErrorKind::Io`] if the file cannot be read or
    /// written, or stays locked.
    pub fn from_settings(settings: Settings) -> Result<Self> {
        let patience = settings.check()?;
        let path = file::absolute(&settings.path)?;
        let db = file::open(&path, patience)?;
        let readers: Vec<Connection> =
            (0..settings.readers).map(|_| file::open_reader(&path, patience)).collect::<Result<_>>()?;

        let (alive, threads) = tokio::sync::mpsc::channel(1);
        let counters = Arc::new(Counters::default());
        let (writes, queue) = mpsc::channel();
        let work = Writer::new(db, queue, patience, Arc::clone(&counters));
        spawn("certlife-sqlite-write", alive.clone(), move || work.run())?;
        let (reads, queue) = mpsc::channel();
        let queue = Arc::new(Mutex::new(queue));
        for db in readers {
            let queue = Arc::clone(&queue);
            spawn("certlife-sqlite-read", alive.clone(), move || serve_reads(&db, &queue))?;
        }
        Ok(Self { shared: Arc::new(Shared { settings, writes, reads, counters, threads }) })
    }

    /// How well group commit works.
    pub fn statistics(&self) -> Statistics {
        self.shared.counters.read()
    }

    /// Gives this handle back. If it was the last one, returns once the file is closed; else at once.
    pub async fn close(self) {
        if let Some(Shared { writes, reads, mut threads, .. }) = Arc::into_inner(self.shared) {
            drop((writes, reads));
            threads.recv().await;
        }
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

/// Runs `work` on a thread of its own; `alive` is dropped after everything that `work` owns.
fn spawn(
    name: &str,
    alive: tokio::sync::mpsc::Sender<Infallible>,
    work: impl FnOnce() + Send + 'static,
) -> Result<()> {
    let body = move || {
        work();
        drop(alive);
    };
    thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|error| {
        let text = VendorText::new(&format!("no thread could be started: {error}"));
        certlife_core::Error::new(NAME, Operation::Configure, ErrorKind::Io(text))
    })?;
    Ok(())
}

fn serve_reads(db: &Connection, queue: &Mutex<Receiver<Box<dyn Job>>>) {
    loop {
        // One reader waits at the queue and the others wait for it to leave.
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(mut job) = next else { return };
        job.run(db);
        job.answer(None);
    }
}

#[async_trait]
impl Store for Sqlite {
    async fn get(&self, key: &Key) -> Result<Option<Record>> {
        let key = key.clone();
        call(&self.shared.reads, Operation::ReadStore, move |db| read::get(db, &key)).await
    }

    async fn list(&self, query: &Query) -> Result<Page<Record>> {
        let query = query.clone();
        call(&self.shared.reads, Operation::ReadStore, move |db| read::list(db, &query)).await
    }

    async fn commit(&self, batch: Batch) -> Result<Committed> {
        call(&self.shared.writes, Operation::WriteStore, move |db| write::commit(db, &batch)).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed> {
        let claim = claim.clone();
        call(&self.shared.writes, Operation::Claim, move |db| write::claim(db, &claim)).await
    }

    async fn extend(&self, lease: &Lease, until: Timestamp) -> Result<Lease> {
        let lease = lease.clone();
        call(&self.shared.writes, Operation::WriteStore, move |db| write::extend(db, lease, until)).await
    }

    async fn release(&self, lease: &Lease) -> Result<()> {
        let lease = lease.clone();
        call(&self.shared.writes, Operation::WriteStore, move |db| write::release(db, &lease)).await
    }
}
