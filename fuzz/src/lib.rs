//! One function for each parser of data from outside: it takes any bytes, must neither panic nor hang, and
//! what it accepts must hold what the accepting type promises. It returns whether anything was accepted.
//!
//! The fuzzer calls them with what it invents (`cargo fuzz run <target>`), and `tests/fuzz_smoke.rs` with
//! seeds that it mutates, in every run of the tests. What is private to a crate is reached the way that an
//! attacker would: by a server on loopback that answers with the bytes.

mod agents;
mod http_peer;
mod parsers;
mod peers;
mod starttls;
mod vendors;

pub use agents::*;
pub use parsers::*;
pub use peers::*;
pub use starttls::*;
pub use vendors::*;
