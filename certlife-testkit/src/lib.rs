//! What tests of [certlife](https://docs.rs/certlife) and of third-party vendors run on: conformance suites
//! for each contract, and reference implementations that live in memory.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod ca;
pub mod clock;
pub mod crash;
pub mod deploy;
pub mod dns;
pub mod servers;
pub mod store;
pub mod work;
