//! Commands on the machine: a program and its arguments, without a shell, an environment, or a long life.

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use certlife_core::{ErrorKind, Result};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Child,
};

use super::os;
use crate::versions::{Command, PATH, Slots};

/// How long output is waited for after the program has ended: what it started may hold its output open.
const AFTER_END: Duration = Duration::from_millis(500);
/// How much of the end of the output is kept.
const MAX_OUTPUT: usize = 800;
const CHUNK: usize = 4_096;

/// Finds the program of a command.
pub(super) fn find(command: &Command) -> Result<PathBuf, ErrorKind> {
    let candidates: Vec<PathBuf> = if Path::new(&command.program).is_absolute() {
        vec![command.program.clone().into()]
    } else {
        PATH.split(':').map(|directory| Path::new(directory).join(&command.program)).collect()
    };
    let found = candidates.into_iter().find(|path| os::is_executable(path));
    found.ok_or_else(|| command.failed("there is no such program, or it may not be run"))
}

/// Runs a command to its end. Dropping the future kills it.
pub(super) async fn run(command: &Command, slots: Slots<'_>, timeout: Duration) -> Result<(), ErrorKind> {
    let mut process = tokio::process::Command::new(&command.program);
    process
        .args(command.arguments(slots))
        .env_clear()
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    // A signal for the host, such as Ctrl-C, must not end a reload half way.
    #[cfg(unix)]
    process.process_group(0).current_dir("/");
    let mut child = process.spawn().map_err(|cause| command.failed(&format!("it did not start: {cause}")))?;
    let output = Tail::default();
    match tokio::time::timeout(timeout, finish(&mut child, &output)).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(command.failed(&format!("{status}: {}", output.text()))),
        Ok(Err(cause)) => Err(command.failed(&cause.to_string())),
        Err(_) => {
            let _ = child.kill().await;
            let text = output.text();
            Err(command.failed(&format!("stopped after {} s: {text}", timeout.as_secs())))
        }
    }
}

/// Reads the output until the program has ended.
async fn finish(child: &mut Child, output: &Tail) -> std::io::Result<ExitStatus> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let reading = futures_util::future::join(output.read(stdout), output.read(stderr));
    tokio::pin!(reading);
    let status = tokio::select! {
        status = child.wait() => status?,
        _ = &mut reading => return child.wait().await,
    };
    let _ = tokio::time::timeout(AFTER_END, reading).await;
    Ok(status)
}

/// The end of what a program printed.
#[derive(Default)]
struct Tail(Mutex<Vec<u8>>);

impl Tail {
    async fn read(&self, stream: Option<impl AsyncRead + Unpin>) {
        let Some(mut stream) = stream else { return };
        let mut chunk = vec![0; CHUNK];
        while let Ok(length @ 1..) = stream.read(&mut chunk).await {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend_from_slice(&chunk[..length]);
            let surplus = kept.len().saturating_sub(MAX_OUTPUT);
            kept.drain(..surplus);
        }
    }

    fn text(&self) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_empty() { "no output".to_owned() } else { String::from_utf8_lossy(&kept).into_owned() }
    }
}
