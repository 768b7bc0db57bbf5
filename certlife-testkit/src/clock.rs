//! Clocks that tests and demonstrations move.

use async_trait::async_trait;
use certlife_core::{Clock, SystemClock, Timestamp};
use std::time::Duration;
use tokio::sync::watch;

/// Stands still until it is moved; then it wakes everybody whose deadline has come.
///
/// Clones show the same time.
#[derive(Debug, Clone)]
pub struct ManualClock(watch::Sender<Timestamp>);

impl ManualClock {
    /// Starts at a moment.
    pub fn starting_at(moment: Timestamp) -> Self {
        Self(watch::Sender::new(moment))
    }

    /// Moves forward.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now = *now + by);
    }

    /// Moves to a moment, in either direction: wall clocks are set back, too.
    pub fn set(&self, moment: Timestamp) {
        self.0.send_replace(moment);
    }

    /// Moves forward to a moment; one that has passed changes nothing.
    pub fn advance_to(&self, moment: Timestamp) {
        self.0.send_modify(|now| *now = (*now).max(moment));
    }
}

impl Default for ManualClock {
    /// Starts at 2026-01-01T00:00:00Z.
    fn default() -> Self {
        Self::starting_at(Timestamp::from_unix_seconds(1_767_225_600))
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        let mut time = self.0.subscribe();
        // The sender lives in `self`, so the channel cannot be closed meanwhile.
        let _ = time.wait_for(|now| *now >= deadline).await;
    }
}

/// Leaps to the deadline of whoever sleeps: what waits for hours is tested at once.
///
/// Clones show the same time.
#[derive(Debug, Clone, Default)]
pub struct LeapClock(ManualClock);

impl LeapClock {
    /// Starts at a moment.
    pub fn starting_at(moment: Timestamp) -> Self {
        Self(ManualClock::starting_at(moment))
    }

    /// Moves forward.
    pub fn advance(&self, by: Duration) {
        self.0.advance(by);
    }
}

impl AsRef<ManualClock> for LeapClock {
    /// The clock that leaps, to be moved by hand.
    fn as_ref(&self) -> &ManualClock {
        &self.0
    }
}

impl From<ManualClock> for LeapClock {
    /// Moves a clock that others read too: whoever sleeps by this one takes them along.
    fn from(clock: ManualClock) -> Self {
        Self(clock)
    }
}

#[async_trait]
impl Clock for LeapClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        self.0.advance_to(deadline);
        // Others get their turn, as they would during a real sleep.
        tokio::task::yield_now().await;
    }
}

/// Runs like the operating system's clock, and can be moved forward: to show in seconds what takes months.
///
/// Clones show the same time.
#[derive(Debug, Clone, Default)]
pub struct TravelClock(watch::Sender<Duration>);

impl TravelClock {
    /// Moves forward; everybody whose deadline has come wakes.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|ahead| *ahead += by);
    }
}

#[async_trait]
impl Clock for TravelClock {
    fn now(&self) -> Timestamp {
        SystemClock::default().now() + *self.0.borrow()
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        let (mut moved, system) = (self.0.subscribe(), SystemClock::default());
        loop {
            let ahead = *moved.borrow_and_update();
            tokio::select! {
                () = system.sleep_until(deadline - ahead) => return,
                // The sender lives in `self`, so the channel cannot be closed meanwhile.
                _ = moved.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleepers_wake_when_their_moment_comes_and_not_before() {
        let clock = ManualClock::default();
        let deadline = clock.now() + Duration::from_hours(1);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(deadline).await }
        });
        tokio::task::yield_now().await;
        clock.advance(Duration::from_mins(59));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_mins(1));
        sleeper.await.unwrap();
    }

    #[tokio::test]
    async fn a_leap_takes_no_time_and_never_goes_back() {
        let clock = LeapClock::default();
        let before = clock.now();
        let deadline = before + Duration::from_hours(24);
        clock.sleep_until(deadline).await;
        clock.sleep_until(before).await;
        assert_eq!(clock.now(), deadline);
    }

    #[tokio::test]
    async fn travel_wakes_sleepers_and_time_goes_on() {
        let clock = TravelClock::default();
        let before = clock.now();
        let deadline = before + Duration::from_hours(24 * 60);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(deadline).await }
        });
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_hours(24 * 60));
        sleeper.await.unwrap();
        assert!(clock.now() >= deadline);
    }
}
