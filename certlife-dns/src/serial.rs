//! Taking turns: one change at a time to whatever a key stands for, others side by side.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OwnedMutexGuard;

/// Lets callers with equal keys take turns, in the order in which they asked.
#[derive(Debug)]
pub(crate) struct Serial<K> {
    turns: Mutex<HashMap<K, Arc<tokio::sync::Mutex<()>>>>,
}

/// A turn, until it is dropped.
pub(crate) type Turn = OwnedMutexGuard<()>;

impl<K: Eq + Hash> Serial<K> {
    pub(crate) fn new() -> Self {
        Self { turns: Mutex::new(HashMap::new()) }
    }

    /// Waits for the turn of `key`. Abandoning the wait gives the place in the queue up.
    pub(crate) async fn turn(&self, key: K) -> Turn {
        let queue = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            // Queues that nobody stands in are forgotten, so that the map does not outgrow the work.
            turns.retain(|_, queue| Arc::strong_count(queue) > 1);
            turns.entry(key).or_default().clone()
        };
        queue.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn equal_keys_take_turns_and_others_do_not_wait() {
        let serial = Serial::new();
        let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = async |key: &'static str| {
            let _turn = serial.turn(key).await;
            let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            tokio::task::yield_now().await;
            inside.fetch_sub(1, Ordering::SeqCst);
        };
        join_all((0..10).map(|_| work("a"))).await;
        assert_eq!(most.load(Ordering::SeqCst), 1);
        join_all(["a", "b", "c"].map(work)).await;
        assert_eq!(most.load(Ordering::SeqCst), 3);
        drop(serial.turn("d").await);
        assert_eq!(serial.turns.lock().unwrap().len(), 1, "finished queues are forgotten");
    }
}
