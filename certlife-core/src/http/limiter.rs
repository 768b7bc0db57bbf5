//! Keeps a credential below the rate that its vendor publishes.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::time::{Clock, Timestamp};

/// At most `requests` in any stretch of time as long as `period`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) requests: u32,
    pub(super) period: Duration,
}

/// Hands out moments at which a request may be sent, for all clones of a client together.
///
/// It remembers the moments of the last period, so that a burst up to the whole figure goes out at once
/// and yet no window holds more. (A token bucket of that size would let twice the figure through: a full
/// bucket, and what drips in while it is emptied.)
#[derive(Debug)]
pub(super) struct Limiter {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    windows: Vec<Window>,
    /// The latest time seen, to notice a clock that was set back.
    seen: Timestamp,
}

#[derive(Debug)]
struct Window {
    rate: Rate,
    /// When the last requests were or will be sent, oldest first, at most `rate.requests` of them.
    sent: VecDeque<Timestamp>,
}

impl Limiter {
    pub(super) fn new(rates: &[Rate]) -> Self {
        let windows = rates.iter().map(|&rate| Window { rate, sent: VecDeque::new() }).collect();
        Self { state: Mutex::new(State { windows, seen: Timestamp::MIN }) }
    }

    /// Takes the next free moment, or says how long it would be to wait if that is more than `patience`.
    ///
    /// A moment that is taken and not used is lost, which errs on the vendor's side.
    pub(super) fn reserve(&self, clock: &dyn Clock, patience: Duration) -> Result<Timestamp, Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock.now();
        state.follow(now);
        let at = state.windows.iter().map(|window| window.next_free(now)).max().unwrap_or(now);
        let wait = at.since(now);
        if wait > patience {
            return Err(wait);
        }
        for window in &mut state.windows {
            window.take(at);
        }
        Ok(at)
    }
}

impl State {
    /// Moves what is remembered along when the clock was set back, or it would block until then.
    fn follow(&mut self, now: Timestamp) {
        let step = self.seen.since(now);
        if !step.is_zero() {
            for sent in self.windows.iter_mut().flat_map(|window| &mut window.sent) {
                *sent = *sent - step;
            }
        }
        self.seen = now;
    }
}

impl Window {
    fn next_free(&self, now: Timestamp) -> Timestamp {
        let full = self.sent.len() >= self.rate.requests as usize;
        let freed = self.sent.front().filter(|_| full).map_or(now, |&oldest| oldest + self.rate.period);
        let last = self.sent.back().copied().unwrap_or(now);
        now.max(freed).max(last)
    }

    fn take(&mut self, at: Timestamp) {
        if self.sent.len() >= self.rate.requests as usize {
            self.sent.pop_front();
        }
        self.sent.push_back(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::TestClock;

    const SECOND: Duration = Duration::from_secs(1);

    fn limiter(rates: &[(u32, Duration)]) -> Limiter {
        let rates: Vec<Rate> = rates.iter().map(|&(requests, period)| Rate { requests, period }).collect();
        Limiter::new(&rates)
    }

    #[test]
    fn no_window_ever_holds_more_than_the_figure() {
        let (limiter, clock) = (limiter(&[(3, SECOND), (5, SECOND * 10)]), TestClock::new());
        let start = clock.now();
        let sent: Vec<Duration> =
            (0..9).map(|_| limiter.reserve(&*clock, Duration::MAX).unwrap().since(start)).collect();
        assert_eq!(sent[..3], [Duration::ZERO; 3], "the whole burst goes at once");
        for (requests, period) in [(3, SECOND), (5, SECOND * 10)] {
            for window in sent.windows(requests + 1) {
                assert!(window[requests].saturating_sub(window[0]) >= period, "{sent:?}");
            }
        }
    }

    #[test]
    fn a_wait_beyond_the_patience_is_told_and_takes_nothing() {
        let (limiter, clock) = (limiter(&[(1, SECOND * 60)]), TestClock::new());
        limiter.reserve(&*clock, Duration::ZERO).unwrap();
        for _ in 0..3 {
            assert_eq!(limiter.reserve(&*clock, SECOND * 30), Err(SECOND * 60));
        }
        clock.advance(SECOND * 45);
        assert_eq!(limiter.reserve(&*clock, SECOND * 30), Ok(clock.now() + SECOND * 15));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_block() {
        let (limiter, clock) = (limiter(&[(1, SECOND)]), TestClock::new());
        limiter.reserve(&*clock, Duration::ZERO).unwrap();
        clock.step_back(Duration::from_hours(5));
        assert_eq!(limiter.reserve(&*clock, SECOND), Ok(clock.now() + SECOND));
    }
}
