//! Lets an engine work for a while, on a clock that moves from one due moment to the next.

use std::time::Duration;

use certlife_core::{Clock as _, Engine, Timestamp};

use crate::clock::ManualClock;

/// More passes than any test takes; an engine that takes more runs in circles.
const MOST_PASSES: usize = 100_000;

/// Lets `engine` work for as long as something is due within `horizon` from now.
///
/// # Panics
///
/// When a pass fails, or the engine does not come to rest.
pub async fn within(engine: &Engine, clock: &ManualClock, horizon: Duration) {
    let end = clock.now() + horizon;
    for _ in 0..MOST_PASSES {
        match next(engine).await {
            Some(next) if next <= end => clock.advance_to(next),
            _ => return,
        }
    }
    panic!("the engine does not come to rest");
}

/// As [`within`], beside servers whose time is real: they get more of it the longer the engine is ready to wait for
/// them, a twentieth of what it waits, but 20 milliseconds at least and a second at most.
///
/// # Panics
///
/// When a pass fails, or the engine does not come to rest in 2000 passes.
pub async fn among_servers(engine: &Engine, clock: &ManualClock, horizon: Duration) {
    let end = clock.now() + horizon;
    for _ in 0..2_000 {
        let Some(next) = next(engine).await.filter(|next| *next <= end) else { return };
        let wait = next.since(clock.now());
        clock.advance_to(next);
        tokio::time::sleep((wait / 20).clamp(Duration::from_millis(20), Duration::from_secs(1))).await;
    }
    panic!("the engine does not come to rest");
}

/// Carries out what is due, and tells when there is more.
async fn next(engine: &Engine) -> Option<Timestamp> {
    match engine.pass().await {
        Ok(pass) => pass.next,
        Err(error) => panic!("{}", error.chain()),
    }
}
