//! Servers that serve certificates.

use std::path::PathBuf;

use serde::Deserialize;

/// Where the programs of servers are that serve certificates. None of them runs: a test starts one of its own, with its
/// own configuration, and reloads and breaks it at will.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct TargetPrograms {
    /// The web server.
    pub nginx: PathBuf,
    /// The load balancer.
    pub haproxy: PathBuf,
    /// The mail server; see [`need_root`](Self::need_root).
    pub postfix: PathBuf,
    /// The mailbox server; see [`need_root`](Self::need_root).
    pub dovecot: PathBuf,
    /// Reads Dovecot's configuration.
    pub doveconf: PathBuf,
    /// The directory server.
    pub slapd: PathBuf,
    /// Reads slapd's configuration.
    pub slaptest: PathBuf,
    /// The database server, which refuses to run as root.
    pub postgres: PathBuf,
    /// Makes the database server's data.
    pub initdb: PathBuf,
    /// Runs a program as another user.
    pub setpriv: PathBuf,
    /// Whether the tests run with root's rights.
    pub root: bool,
}

impl TargetPrograms {
    /// Fails unless the tests run with root's rights, which Postfix and Dovecot take to start with their own users.
    pub fn need_root(&self) {
        assert!(self.root, "Postfix and Dovecot start as root only: run `cargo xtask test` as root");
    }
}
