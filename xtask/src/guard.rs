//! Children that never outlive us, however we end.
//!
//! A server is started by a second process of this program, its guard, which holds one end of a pipe to
//! us. When the pipe closes, because we dropped it, were interrupted, panicked or were killed, the guard
//! stops the child's whole process group. Guard and child each lead a process group, so that Ctrl-C
//! reaches us first and the guard survives to do its work.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::process::{Child, ChildStdin, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;

/// The task name under which this program stands guard; not one for people.
pub(crate) const TASK: &str = "guard";

/// How long a child may take to end by itself before it is killed.
const GRACE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// A running child, stopped on drop.
pub(crate) struct Guarded {
    guard: Child,
    lifeline: Option<ChildStdin>,
}

impl Guarded {
    /// Starts `command`; only its program, arguments, environment and folder count.
    pub(crate) fn spawn(command: &Command, stdout: Stdio, stderr: Stdio) -> Result<Self> {
        let mut guard = Command::new(std::env::current_exe()?);
        guard.arg(TASK).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => guard.env(name, value),
                None => guard.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            guard.current_dir(folder);
        }
        lead_group(&mut guard);
        let mut guard = guard.stdin(Stdio::piped()).stdout(stdout).stderr(stderr).spawn()?;
        let lifeline = guard.stdin.take();
        Ok(Self { guard, lifeline })
    }

    /// Waits until the child ends by itself.
    pub(crate) fn wait(mut self) -> io::Result<ExitStatus> {
        // `Child::wait` closes the pipe if it still owns it; it does not, so the child is left alone.
        self.guard.wait()
    }

    /// Tells whether the child has ended.
    pub(crate) fn ended(&mut self) -> bool {
        !matches!(self.guard.try_wait(), Ok(None))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let _ = self.guard.wait();
    }
}

/// The guard's own life: start the child, wait for its end or ours.
pub(crate) fn stand(command: &[OsString]) -> ExitCode {
    let Some((program, arguments)) = command.split_first() else {
        return ExitCode::FAILURE;
    };
    let mut child = Command::new(program);
    child.args(arguments).stdin(Stdio::null());
    lead_group(&mut child);
    let mut child = match child.spawn() {
        Ok(child) => child,
        Err(error) => {
            eprintln!("cannot start {}: {error}", program.display());
            return ExitCode::FAILURE;
        }
    };
    let lifeline = watch_lifeline();
    let code = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status.code(),
            Ok(None) => {}
            Err(_) => break None,
        }
        if lifeline.recv_timeout(POLL) != Err(RecvTimeoutError::Timeout) {
            signal_group(&child, "TERM");
            await_end(&mut child);
            break None;
        }
    };
    // What the child itself may have left behind.
    signal_group(&child, "KILL");
    let _ = child.wait();
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// Disconnects when the other end of our standard input is gone.
fn watch_lifeline() -> Receiver<()> {
    let (alive, lifeline) = mpsc::channel();
    thread::spawn(move || {
        let _alive = alive;
        let mut byte = [0];
        while matches!(io::stdin().read(&mut byte), Ok(1..)) {}
    });
    lifeline
}

fn await_end(child: &mut Child) {
    let started = Instant::now();
    while started.elapsed() < GRACE && matches!(child.try_wait(), Ok(None)) {
        thread::sleep(POLL);
    }
}

#[cfg(unix)]
fn lead_group(command: &mut Command) {
    std::os::unix::process::CommandExt::process_group(command, 0);
}

#[cfg(not(unix))]
fn lead_group(_: &mut Command) {}

/// Signals the child and all that it started. The `kill` program, because the system call is `unsafe`.
#[cfg(unix)]
fn signal_group(child: &Child, signal: &str) {
    let group = format!("-{}", child.id());
    let mut kill = Command::new("kill");
    let _ = kill.args(["-s", signal, "--", &group]).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

#[cfg(not(unix))]
fn signal_group(child: &Child, signal: &str) {
    if signal == "KILL" {
        let mut kill = Command::new("taskkill");
        let _ = kill.args(["/T", "/F", "/PID", &child.id().to_string()]).output();
    }
}
