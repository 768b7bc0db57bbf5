//! The real servers that `cargo xtask test` runs on loopback, as tests find and use them.
//!
//! Tests that need them are targets of their own, `tests/real_*.rs`, so that everything else runs by plain
//! `cargo test`. Nothing here skips: a server that is missing or refuses fails the test, so every function
//! panics, with the reason, instead of returning an error that a test could only unwrap.
#![expect(clippy::missing_panics_doc, reason = "the module's own documentation says it once for all")]

mod bind;
mod challtestsrv;
mod name_server;
mod openssh;
mod pebble;
mod targets;

use std::env;
use std::fs;

use serde::Deserialize;

pub use bind::{Bind, Delegation};
pub use challtestsrv::ChallTestSrv;
pub use name_server::{DnsRecord, Limited, NameServer, TsigKey};
pub use openssh::{HostKeys, OpenSsh, Place, UserKeys};
pub use pebble::{CertificateStatus, ExternalAccount, Pebble, Pebbles};
pub use targets::TargetPrograms;

const VARIABLE: &str = "CERTLIFE_TEST_SERVERS";

/// Every server of this test run.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Servers {
    /// The ACME servers and what they validate through.
    pub pebble: Pebbles,
    /// The authoritative DNS server that validation asks.
    pub bind: Bind,
    /// Knot, with the same zones, for what a second server does otherwise.
    pub knot: NameServer,
    /// The programs of servers that serve certificates, of which each test starts its own.
    pub targets: TargetPrograms,
    /// A machine to deploy to over SSH.
    pub openssh: OpenSsh,
}

impl Servers {
    /// Finds the servers that `cargo xtask test` started for this process.
    pub fn from_env() -> Self {
        #[expect(clippy::disallowed_methods, reason = "a test process has no other host to tell it")]
        let path = env::var_os(VARIABLE);
        let path = path.unwrap_or_else(|| {
            panic!("{VARIABLE} is not set: this test needs real servers; run `cargo xtask test`")
        });
        let description = fs::read(&path).unwrap_or_else(|error| {
            panic!("{}: {error}; the servers are gone; run `cargo xtask test`", path.display())
        });
        serde_json::from_slice(&description).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}
