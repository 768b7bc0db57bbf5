//! Servers that serve certificates: nginx, `HAProxy`, Postfix, Dovecot, slapd and `PostgreSQL`.
//!
//! Each test wants one of its own, to reload and to break, so they are installed here and started there.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::Server;
use crate::Result;
use crate::fleet::Site;
use crate::tools::{Tools, find, is_root, require};

pub(super) struct Targets;

/// Where Debian keeps the programs of each version of `PostgreSQL`, outside the search path.
const POSTGRESQL: &str = "/usr/lib/postgresql";

impl Server for Targets {
    fn name(&self) -> &'static str {
        "targets"
    }

    fn install(&self, tools: &Tools) -> Result<()> {
        tools.need(&["nginx"], &["nginx-light"])?;
        tools.need(&["haproxy"], &["haproxy"])?;
        tools.need(&["postfix"], &["postfix"])?;
        tools.need(&["dovecot", "doveconf"], &["dovecot-imapd", "dovecot-pop3d"])?;
        tools.need(&["slapd", "slaptest"], &["slapd"])?;
        if postgresql("postgres").is_err() {
            // `pg_config` of the client library would be found too early.
            tools.need(&["pg_ctlcluster"], &["postgresql"])?;
        }
        tools.need(&["setpriv"], &["util-linux"])
    }

    fn start(&self, _: &Tools, _: &mut Site) -> Result<Value> {
        let mut programs = json!({ "root": is_root()? });
        for name in ["nginx", "haproxy", "postfix", "dovecot", "doveconf", "slapd", "slaptest", "setpriv"] {
            programs[name] = json!(require(name)?);
        }
        for name in ["postgres", "initdb"] {
            programs[name] = json!(postgresql(name)?);
        }
        Ok(programs)
    }
}

/// Finds a program of `PostgreSQL`: in the search path, or the newest that Debian has.
fn postgresql(name: &str) -> Result<PathBuf> {
    if let Some(path) = find(name) {
        return Ok(path);
    }
    let versions = fs::read_dir(POSTGRESQL).into_iter().flatten().flatten();
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).filter(|path| number(path).is_some()).max_by_key(number);
    let program = newest.map(|version| version.join("bin").join(name)).filter(|program| program.is_file());
    program.ok_or_else(|| format!("{name} is not on this machine").into())
}
