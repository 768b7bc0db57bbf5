//! What CI runs, step by step. Each step is also a task of its own.

mod deny;
mod stack;
mod vendors;

use std::ffi::OsString;
use std::num::NonZero;
use std::time::{Duration, Instant};
use std::{env, thread};

use crate::fleet::{Fleet, run_guarded};
use crate::process::{cargo, run};
use crate::workspace::FACADE;
use crate::{Result, Workspace};

/// One thing that has to hold before a change is accepted.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&Workspace) -> Result<()>,
}

/// The steps after the tests, in the order of CI.
pub(crate) const STEPS: [Step; 7] = [
    Step { name: "fmt", run: fmt },
    Step { name: "clippy", run: clippy },
    Step { name: "docs", run: docs },
    Step { name: "deny", run: deny::check },
    Step { name: "vendors", run: vendors::check },
    Step { name: "stack", run: stack::check },
    Step { name: "examples", run: examples },
];

/// How many tests a test program runs at once, as Rust's test harness reads it.
const TEST_THREADS: &str = "RUST_TEST_THREADS";
const TWICE: NonZero<usize> = NonZero::new(2).unwrap();

/// Examples that need no server and no account, so that they can run anywhere.
const EXAMPLES: [&str; 1] = ["quickstart"];

/// Runs the tests and every step, also after one failed: a contributor sees all that is wrong at once.
pub(crate) fn all(workspace: &Workspace) -> Result<()> {
    const TEST: Step = Step { name: "test", run: |workspace| test(workspace, &[]) };
    let outcomes: Vec<_> = std::iter::once(&TEST).chain(&STEPS).map(|step| timed(step, workspace)).collect();

    println!("\n== summary ==");
    for (name, took, result) in &outcomes {
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        println!("{name:<10} {verdict:<8} {:>7.1} s", took.as_secs_f64());
    }
    let failed: Vec<&str> =
        outcomes.iter().filter(|(_, _, result)| result.is_err()).map(|(name, ..)| *name).collect();
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", ")).into()) }
}

fn timed(step: &Step, workspace: &Workspace) -> (&'static str, Duration, Result<()>) {
    println!("\n== {} ==", step.name);
    let started = Instant::now();
    let result = (step.run)(workspace);
    if let Err(error) = &result {
        println!("{}: {error}", step.name);
    }
    (step.name, started.elapsed(), result)
}

/// Runs `cargo test` with the real servers up; `arguments` go to it as they are.
pub(crate) fn test(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    let fleet = Fleet::start(workspace)?;
    let mut tests = cargo(&workspace.root);
    tests.arg("test").arg("--all-features");
    if env::var_os(TEST_THREADS).is_none() {
        // Many tests wait for servers, and leave their processor to others meanwhile.
        tests.env(TEST_THREADS, thread::available_parallelism()?.saturating_mul(TWICE).to_string());
    }
    if !arguments.iter().any(|argument| selects_packages(&argument.to_string_lossy())) {
        tests.arg("--workspace");
    }
    tests.args(arguments);
    fleet.describe_to(&mut tests);
    if run_guarded(&tests)? {
        return Ok(());
    }
    Err(format!("tests failed; the servers' logs are in {}", fleet.keep_logs().display()).into())
}

/// `cargo test --workspace -p x` tests the whole workspace, which is not what was asked for.
fn selects_packages(argument: &str) -> bool {
    argument.starts_with("-p") || argument == "--package" || argument.starts_with("--package=")
}

fn fmt(workspace: &Workspace) -> Result<()> {
    run(cargo(&workspace.root).args(["fmt", "--all", "--check"]))
}

fn clippy(workspace: &Workspace) -> Result<()> {
    let lint = |arguments: &[&str]| {
        run(cargo(&workspace.root).arg("clippy").args(arguments).args(["--", "-D", "warnings"]))
    };
    lint(&["--workspace", "--all-features", "--all-targets"])?;
    lint(&["-p", FACADE, "--no-default-features"])?;
    for (feature, _) in workspace.features(FACADE)? {
        if feature != "default" {
            lint(&["-p", FACADE, "--no-default-features", "--features", &feature])?;
        }
    }
    Ok(())
}

fn docs(workspace: &Workspace) -> Result<()> {
    let mut doc = cargo(&workspace.root);
    doc.args(["doc", "--workspace", "--exclude", "xtask", "--all-features", "--no-deps"]);
    run(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

fn examples(workspace: &Workspace) -> Result<()> {
    EXAMPLES
        .iter()
        .try_for_each(|example| run(cargo(&workspace.root).args(["run", "-p", FACADE, "--example", example])))
}
