//! The engine against in-memory providers and a clock that the tests move.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod adopting;
mod crashes;
mod deploying;
mod desk;
mod journey;
mod people;
mod renewing;
mod revoking;
mod sharing;
mod validating;
mod world;
mod wrong_input;
