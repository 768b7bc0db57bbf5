//! The engine against in-memory providers and a clock that the tests move.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod crashes;
mod deploying;
mod desk;
mod drifting;
mod journey;
mod mapping;
mod people;
mod renewing;
mod revoking;
mod rolling;
mod sharing;
mod validating;
mod world;
mod wrong_input;
