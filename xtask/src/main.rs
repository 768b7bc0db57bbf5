//! The tasks of this repository: `cargo xtask check` is what CI runs, `cargo xtask test` its first step.
//!
//! Everything with a branch in it is here rather than in a shell script, so that it runs the same on a
//! laptop and in CI. Plain processes, no async runtime: the task program has to build in seconds.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a task program talks to the terminal")]
#![expect(clippy::disallowed_methods, reason = "and it is the host whose environment libraries leave alone")]

mod checks;
mod fleet;
mod guard;
mod ports;
mod process;
mod servers;
mod tools;
mod workspace;

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use fleet::Fleet;
use workspace::Workspace;

/// What a task ends in: nothing, or the words to print before exiting with failure.
type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

const USAGE: &str = "\
usage: cargo xtask <task>

  test [-- <cargo test arguments>]   every test, with the real servers running on loopback
  servers                            the real servers alone, until Ctrl-C, to run single tests against
  check                              what CI runs: test, then each step below, in this order

  fmt        formatting
  clippy     lints: the workspace with all features, then each feature of the facade alone
  docs       documentation builds without a warning
  deny       licences, bans and sources of all dependencies; advisories where a database can be had
  vendors    each vendor has a conformance run, its features and its rows in the documentation
  stack      one TLS stack and one crypto library in the dependency graph
  examples   the examples that need nothing but this machine run to their end";

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let task = arguments.next().unwrap_or_default();
    let rest: Vec<OsString> = arguments.collect();
    if task == guard::TASK {
        return guard::stand(&rest);
    }
    match run(&task.to_string_lossy(), &rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {}: {error}", task.to_string_lossy());
            ExitCode::FAILURE
        }
    }
}

fn run(task: &str, rest: &[OsString]) -> Result<()> {
    let rest = rest.strip_prefix(&[OsString::from("--")]).unwrap_or(rest);
    if task == "test" {
        return checks::test(&Workspace::find()?, rest);
    }
    if let Some(unknown) = rest.first() {
        return Err(format!("unexpected argument {}\n\n{USAGE}", unknown.display()).into());
    }
    if task == "check" {
        return checks::all(&Workspace::find()?);
    }
    if task == "servers" {
        return Fleet::start(&Workspace::find()?)?.stay();
    }
    let step = checks::STEPS.iter().find(|step| step.name == task).ok_or(USAGE)?;
    (step.run)(&Workspace::find()?)
}
