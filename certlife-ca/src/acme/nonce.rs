//! The nonces that answers bring along, kept for the next requests (RFC 8555 §6.5).

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use certlife_core::Timestamp;
use tokio::sync::{Notify, futures::Notified};

/// Nonces of one CA. A request takes one and its answer brings one back, so that their number stays what
/// the widest wave of requests needed.
#[derive(Debug, Default)]
pub(super) struct Nonces {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The latest last, with the time it came.
    kept: Vec<(String, Timestamp)>,
    /// How many requests are under way with one.
    out: usize,
}

impl Nonces {
    /// The most that are kept.
    pub(super) const MOST: usize = 16;
    /// CAs forget nonces; after this long a fresh one costs no more than a refusal does.
    const AGE: Duration = Duration::from_mins(10);

    /// Takes the latest, which is the one that the CA is least likely to have forgotten.
    pub(super) fn take(&self, now: Timestamp) -> Option<Nonce<'_>> {
        let mut state = self.lock();
        state.kept.retain(|(_, came)| now.since(*came) < Self::AGE);
        let (value, _) = state.kept.pop()?;
        state.out += 1;
        drop(state);
        Some(Nonce { value, pool: self })
    }

    /// Takes what a `Replay-Nonce` header holds right away.
    pub(super) fn take_from(&self, header: Option<&str>) -> Option<Nonce<'_>> {
        let value = header.filter(|value| is_valid(value))?.to_owned();
        self.lock().out += 1;
        Some(Nonce { value, pool: self })
    }

    /// Keeps what a `Replay-Nonce` header holds, unless it breaks RFC 8555 §6.5.1.
    pub(super) fn keep(&self, header: Option<&str>, now: Timestamp) {
        let Some(value) = header.filter(|value| is_valid(value)) else { return };
        let mut state = self.lock();
        if state.kept.len() < Self::MOST && !state.kept.iter().any(|(known, _)| known == value) {
            state.kept.push((value.to_owned(), now));
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Whether a request is under way that will bring one back or end.
    pub(super) fn some_are_out(&self) -> bool {
        self.lock().out > 0
    }

    /// Waits until one came back or a request ended. What happens after this call is not missed.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it is base64url (RFC 8555 §6.5.1) of a sane length.
fn is_valid(value: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=512).contains(&value.len()) && value.bytes().all(plain)
}

/// A nonce on its way to the CA.
#[derive(Debug)]
pub(super) struct Nonce<'a> {
    value: String,
    pool: &'a Nonces,
}

impl Nonce<'_> {
    pub(super) fn as_str(&self) -> &str {
        &self.value
    }
}

impl Drop for Nonce<'_> {
    fn drop(&mut self) {
        self.pool.lock().out -= 1;
        self.pool.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    #[test]
    fn the_latest_goes_first_and_old_ones_are_forgotten() {
        let nonces = Nonces::default();
        nonces.keep(Some("old"), NOW);
        nonces.keep(Some("young"), NOW + Duration::from_mins(6));
        let later = NOW + Duration::from_mins(12);
        assert_eq!(nonces.take(later).unwrap().as_str(), "young");
        assert!(nonces.take(later).is_none());
    }

    #[test]
    fn what_is_no_nonce_is_ignored_and_no_more_than_sixteen_are_kept() {
        let nonces = Nonces::default();
        for bad in [None, Some(""), Some("a b"), Some("a+b="), Some(&*"a".repeat(513))] {
            nonces.keep(bad, NOW);
            assert!(nonces.take(NOW).is_none(), "{bad:?}");
        }
        for number in 0..40 {
            nonces.keep(Some(&format!("n{number}")), NOW);
        }
        let taken: Vec<_> = std::iter::from_fn(|| nonces.take(NOW)).collect();
        assert_eq!(taken.len(), Nonces::MOST);
        assert!(nonces.some_are_out());
        drop(taken);
        assert!(!nonces.some_are_out());
    }
}
