//! Counts sequential round trips: requests are held until no more come, and all that were held are one round.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Notify, oneshot};

#[derive(Default)]
pub(crate) struct Rounds {
    held: Mutex<Vec<oneshot::Sender<()>>>,
    arrived: Notify,
    count: AtomicUsize,
}

impl Rounds {
    /// How long nothing may arrive before a round is over.
    const QUIET: Duration = Duration::from_millis(80);

    pub(crate) fn start() -> Arc<Self> {
        let rounds = Arc::new(Self::default());
        let gate = rounds.clone();
        tokio::spawn(async move {
            loop {
                gate.arrived.notified().await;
                while tokio::time::timeout(Self::QUIET, gate.arrived.notified()).await.is_ok() {}
                gate.count.fetch_add(1, Ordering::SeqCst);
                for held in std::mem::take(&mut *gate.held.lock().unwrap()) {
                    let _ = held.send(());
                }
            }
        });
        rounds
    }

    pub(crate) async fn wait(&self) {
        let (sender, receiver) = oneshot::channel();
        self.held.lock().unwrap().push(sender);
        self.arrived.notify_one();
        let _ = receiver.await;
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}
