//! The engine against in-memory providers and a clock that the tests move.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod adopting;
mod cancelling;
mod crashes;
mod deciding;
mod deploying;
mod desk;
mod domains;
mod drifting;
mod finding;
mod journey;
mod mapping;
mod people;
mod policies;
mod renewing;
mod revoking;
mod rolling;
mod sharing;
mod target_keys;
mod validating;
mod world;
mod wrong_input;
