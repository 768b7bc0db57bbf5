//! The engine against real servers: Pebble (ACME) and BIND (RFC 2136). Run with `cargo xtask test`.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod agents;
mod journeys;
mod misfortunes;
mod world;
