//! Certificates on real servers: installed, reloaded, and looked at from outside, by TLS and STARTTLS.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod journeys;
mod mail;
mod presets;
mod server;
mod site;
mod web;
mod world;
