//! Waiting before a change is tried again that another one got in the way of.

use std::time::Duration;

use certlife_core::Clock;

/// Pauses after this many attempts: doubling from a tenth of a second to five, the upper half of each random,
/// so that writers who met once do not meet again.
pub(crate) async fn pause(clock: &dyn Clock, attempts: u32) {
    let whole =
        Duration::from_secs(5).min(Duration::from_millis(100) * (1 << attempts.saturating_sub(1).min(16)));
    let mut random = [0];
    // Without randomness it is a pause all the same.
    let _ = aws_lc_rs::rand::fill(&mut random);
    let pause = whole / 2 + (whole / 2).mul_f64(f64::from(random[0]) / 255.0);
    clock.sleep_until(clock.now() + pause).await;
}

#[cfg(test)]
mod tests {
    use certlife_testkit::clock::LeapClock;

    use super::*;

    #[tokio::test]
    async fn pauses_grow_up_to_a_bound() {
        for (attempts, least, most) in
            [(0, 50, 100), (1, 50, 100), (3, 200, 400), (6, 1_600, 3_200), (99, 2_500, 5_000)]
        {
            let clock = LeapClock::default();
            let start = clock.now();
            pause(&clock, attempts).await;
            let waited = clock.now().since(start);
            assert!(
                (Duration::from_millis(least)..=Duration::from_millis(most)).contains(&waited),
                "{waited:?}"
            );
        }
    }
}
