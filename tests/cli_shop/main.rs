//! The command-line program at the shops that take money, each played by the fake that its own tests run on: a
//! certificate's life from the catalog to its import, with every order paid once.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod entrust;
mod journey;
#[path = "../programs/mod.rs"]
mod programs;
mod sectigo;
mod sslstore;
