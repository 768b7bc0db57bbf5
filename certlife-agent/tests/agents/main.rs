//! A host and two agents as processes of their own: killed, cut off, and put to work again.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod journeys;
mod network;
mod processes;
