//! When to send again: the back-off, and `Retry-After`.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use ::http::{HeaderMap, header};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use time::{Date, Month, PrimitiveDateTime, Time};

use crate::time::Timestamp;

/// Picks the pauses between attempts: doubling from half a second to ten, the upper half of each random,
/// so that clients which failed together do not return together.
#[derive(Debug)]
pub(super) struct Backoff {
    random: Mutex<StdRng>,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(10);

    pub(super) fn new(seed: u64) -> Self {
        Self { random: Mutex::new(StdRng::seed_from_u64(seed)) }
    }

    /// Returns the pause after this many attempts.
    pub(super) fn after(&self, attempts: u32) -> Duration {
        let doublings = attempts.saturating_sub(1).min(16);
        let whole = Self::LONGEST.min(Self::FIRST * (1 << doublings));
        let random = self.random.lock().unwrap_or_else(PoisonError::into_inner).next_u32();
        whole / 2 + (whole / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

/// The longest `Retry-After` that is believed. Rate limits of CAs go up to a week.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(7 * 24);

/// Reads `Retry-After`, a number of seconds or a date, as the time from `now` on ([RFC 9110 §10.2.3]).
///
/// A date that has passed is zero, more than a week counts as a week, and what is neither form is ignored.
///
/// [RFC 9110 §10.2.3]: https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // What overflows is a long time.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        http_date(text, now)?.since(now)
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

/// Reads the three forms of a date that a recipient must accept ([RFC 9110 §5.6.7]).
///
/// [RFC 9110 §5.6.7]: https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7
fn http_date(text: &str, now: Timestamp) -> Option<Timestamp> {
    let parts: Vec<&str> = text.split([' ', ',', '-']).filter(|part| !part.is_empty()).collect();
    // Sun, 06 Nov 1994 08:49:37 GMT, and with a year of two digits Sunday, 06-Nov-94 08:49:37 GMT;
    // Sun Nov  6 08:49:37 1994 is the form of C's `asctime`.
    let ([_, day, month, year, time, "GMT"] | [_, month, day, time, year]) = parts[..] else {
        return None;
    };
    let year = match (year.len(), year.parse::<i32>().ok()?) {
        (2, short) => century(short, now),
        (_, year) => year,
    };
    let date = Date::from_calendar_date(year, short_month(month)?, day.parse().ok()?).ok()?;
    let mut clock = time.split(':').map(str::parse::<u8>);
    let mut next = || clock.next()?.ok();
    let (hour, minute, second) = (next()?, next()?, next()?);
    // A leap second (60) is as good as the one before it.
    let time = Time::from_hms(hour, minute, second.min(59)).ok()?;
    Some(PrimitiveDateTime::new(date, time).assume_utc().into())
}

/// A year of two digits that seems more than 50 years ahead is the last past year with those digits.
fn century(short: i32, now: Timestamp) -> i32 {
    let this_year = now.to_utc().year();
    let year = this_year - this_year.rem_euclid(100) + short;
    if year > this_year + 50 { year - 100 } else { year }
}

fn short_month(text: &str) -> Option<Month> {
    const NAMES: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let index = NAMES.iter().position(|name| *name == text)?;
    Month::try_from(u8::try_from(index + 1).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(value: &str, now: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, value.parse().unwrap());
        retry_after(&headers, Timestamp::parse(now).unwrap())
    }

    #[test]
    fn retry_after_is_seconds_or_any_form_of_date() {
        let now = "1994-11-06T08:49:00Z";
        for text in [
            "37",
            " 37 ",
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(waits(text, now), Some(Duration::from_secs(37)), "{text}");
        }
        assert_eq!(waits("Sun, 06 Nov 1994 08:48:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(waits("Friday, 06-Nov-26 08:49:37 GMT", "2026-11-06T08:49:00Z").unwrap().as_secs(), 37);
    }

    #[test]
    fn hostile_retry_after_is_capped_or_ignored() {
        let now = "2026-01-15T00:00:00Z";
        for long in ["99999999999999999999999999", "604801", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            assert_eq!(waits(long, now), Some(LONGEST_RETRY_AFTER), "{long}");
        }
        for bad in [
            "",
            "-1",
            "1.5",
            "soon",
            "Sun, 99 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "a b c d e",
        ] {
            assert_eq!(waits(bad, now), None, "{bad}");
        }
    }

    #[test]
    fn pauses_double_up_to_ten_seconds_and_differ() {
        let backoff = Backoff::new(1);
        for (attempts, whole) in [(1, 500), (2, 1_000), (3, 2_000), (6, 10_000), (u32::MAX, 10_000)] {
            let whole = Duration::from_millis(whole);
            let pauses: Vec<Duration> = (0..50).map(|_| backoff.after(attempts)).collect();
            assert!(
                pauses.iter().all(|pause| *pause >= whole / 2 && *pause <= whole),
                "{attempts}: {pauses:?}"
            );
            assert!(pauses.iter().any(|pause| *pause != pauses[0]));
        }
    }
}
