//! How long to wait before the next attempt: one place for the whole engine.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};

use crate::{error::Retry, time::Timestamp};

/// A growing delay with a cap.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Backoff {
    first: Duration,
    cap: Duration,
}

impl Backoff {
    /// Calls to providers within a step: a second at first, an hour at most.
    pub(crate) const CALL: Self = Self { first: Duration::from_secs(1), cap: Duration::from_hours(1) };
    /// Removing what was published: five seconds at first, six hours at most, for ever.
    pub(crate) const CLEAN_UP: Self = Self { first: Duration::from_secs(5), cap: Duration::from_hours(6) };
    /// Installing on a target: five seconds at first, an hour at most, for ever.
    pub(crate) const DEPLOY: Self = Self { first: Duration::from_secs(5), cap: Duration::from_hours(1) };
    /// New orders after failed ones: ten minutes at first, a day at most, for ever. Public CAs count failed
    /// validations by the hour.
    pub(crate) const ORDER: Self = Self { first: Duration::from_mins(10), cap: Duration::from_hours(24) };

    /// The moment of the attempt after `failures` failed ones: doubling, with up to a quarter more by a hash of
    /// `what`, so that many failing together do not come back together. `Retry::After` is a lower bound.
    pub(crate) fn next(self, now: Timestamp, failures: u32, retry: Retry, what: &str) -> Timestamp {
        let doubled = self.first.saturating_mul(1 << failures.saturating_sub(1).min(20));
        let delay = doubled.min(self.cap);
        let spread = delay.mul_f64(fraction(what, failures) / 4.0);
        let asked = if let Retry::After(delay) = retry { delay } else { Duration::ZERO };
        now + (delay + spread).max(asked)
    }
}

/// A number in `0.0..1.0` that `what` and `salt` determine, evenly spread.
pub(crate) fn fraction(what: &str, salt: u32) -> f64 {
    let hash = digest(&SHA256, format!("{salt} {what}").as_bytes());
    let bits = hash.as_ref().iter().take(4).fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte));
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_follow_the_provider() {
        let now = Timestamp::from_unix_seconds(0);
        let delay = |failures, retry| Backoff::CALL.next(now, failures, retry, "order").since(now);
        assert!((Duration::from_secs(1)..Duration::from_millis(1_250)).contains(&delay(1, Retry::Backoff)));
        assert!((Duration::from_secs(8)..Duration::from_secs(10)).contains(&delay(4, Retry::Backoff)));
        assert!(delay(60, Retry::Backoff) <= Duration::from_mins(75));
        assert_eq!(delay(1, Retry::After(Duration::from_mins(5))), Duration::from_mins(5));
    }

    #[test]
    fn fractions_spread_evenly() {
        let low = (0..1_000).filter(|n| fraction(&n.to_string(), 0) < 0.5).count();
        assert!((400..600).contains(&low), "{low} of 1000 are below one half");
    }
}
