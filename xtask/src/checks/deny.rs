//! Licences, bans, sources and advisories of all dependencies, by [cargo-deny] and `deny.toml`.
//!
//! [cargo-deny]: https://embarkstudios.github.io/cargo-deny/

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use crate::process::{cargo, output, run};
use crate::tools::Tools;
use crate::{Result, Workspace};

const VERSION: &str = "0.20.2";

pub(super) fn check(workspace: &Workspace) -> Result<()> {
    let folder = Tools::open(workspace)?.folder("cargo-deny", VERSION);
    let program = folder.join("bin").join("cargo-deny");
    if !program.is_file() {
        println!("building cargo-deny {VERSION}, which takes some minutes once");
        let mut install = cargo(&workspace.root);
        install
            .args(["install", "--locked", "--debug", "cargo-deny", "--version", VERSION, "--root"])
            .arg(&folder);
        run(&mut install)?;
    }
    let deny = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.current_dir(&workspace.root).args(["--all-features"]).args(arguments);
        command
    };

    run(&mut deny(&["check", "--hide-inclusion-graph", "bans", "licenses", "sources"]))?;
    if let Err(error) = output(&mut deny(&["fetch", "db"])) {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default();
        if !database_at_hand() {
            println!(
                "\n!! ADVISORIES WERE NOT CHECKED: the RustSec database cannot be fetched here.\n\
                 !! Nothing is known about vulnerable dependencies until this step runs with network access.\n\
                 !! {reason}\n"
            );
            return Ok(());
        }
        println!("\n!! the RustSec database cannot be fetched here; an older copy is used\n!! {reason}\n");
    }
    run(&mut deny(&["check", "--disable-fetch", "advisories"]))
}

/// Looks where cargo-deny keeps the databases that it fetched before.
fn database_at_hand() -> bool {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    let databases = home.map(|home| home.join("advisory-dbs"));
    databases.and_then(|folder| fs::read_dir(folder).ok()).is_some_and(|mut entries| {
        entries.any(|entry| entry.is_ok_and(|entry| entry.path().join(".git").exists()))
    })
}
