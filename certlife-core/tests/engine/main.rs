//! The engine against in-memory providers and a clock that the tests move.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cancelling;
mod crashes;
mod deciding;
mod deploying;
mod desk;
mod domains;
mod finding;
mod journey;
mod people;
mod policies;
mod renewing;
mod revoking;
mod sharing;
mod validating;
mod world;
mod wrong_input;
