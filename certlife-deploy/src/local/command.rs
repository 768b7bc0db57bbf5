//! Commands on the machine: a program and its arguments, without a shell, an environment, or a long life.

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use certlife_core::{CertificateId, ErrorKind, InputError, Result};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Child,
};

use super::os;

/// Where programs are looked for, and the whole environment of a command.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How long output is waited for after the program has ended: what it started may hold its output open.
const AFTER_END: Duration = Duration::from_millis(500);
/// How much of the end of the output is kept.
const MAX_OUTPUT: usize = 800;
const CHUNK: usize = 4_096;

/// A command that the host chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    program: String,
    arguments: Vec<String>,
}

impl Command {
    /// Checks the words; none if there are none.
    pub(super) fn new(setting: &'static str, words: Vec<String>) -> Result<Option<Self>, InputError> {
        let mut words = words.into_iter();
        let Some(program) = words.next() else { return Ok(None) };
        let arguments: Vec<_> = words.collect();
        let is_name = !program.contains(['/', '\\']);
        if program.is_empty() || !(is_name || Path::new(&program).is_absolute()) || program.contains('{') {
            return Err(InputError::setting(
                setting,
                "the program is an absolute path, or a name without `/`",
            ));
        }
        if arguments.iter().chain([&program]).any(|word| word.contains('\0')) {
            return Err(InputError::setting(setting, "no word contains a zero byte"));
        }
        Ok(Some(Self { program, arguments }))
    }

    /// Finds the program.
    pub(super) fn find(&self) -> Result<PathBuf, ErrorKind> {
        let candidates: Vec<PathBuf> = if Path::new(&self.program).is_absolute() {
            vec![self.program.clone().into()]
        } else {
            PATH.split(':').map(|directory| Path::new(directory).join(&self.program)).collect()
        };
        let found = candidates.into_iter().find(|path| os::is_executable(path));
        found.ok_or_else(|| self.failed("there is no such program, or it may not be run"))
    }

    /// Runs the command to its end. Dropping the future kills it.
    pub(super) async fn run(
        &self,
        directory: &Path,
        certificate: &CertificateId,
        timeout: Duration,
    ) -> Result<(), ErrorKind> {
        let directory = directory.to_string_lossy();
        let fill = |word: &String| {
            word.replace("{directory}", &directory).replace("{certificate}", certificate.as_str())
        };
        let mut command = tokio::process::Command::new(&self.program);
        command
            .args(self.arguments.iter().map(fill))
            .env_clear()
            .env("PATH", PATH)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // A signal for the host, such as Ctrl-C, must not end a reload half way.
        #[cfg(unix)]
        command.process_group(0).current_dir("/");
        let mut child =
            command.spawn().map_err(|cause| self.failed(&format!("it did not start: {cause}")))?;
        let output = Tail::default();
        match tokio::time::timeout(timeout, finish(&mut child, &output)).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(self.failed(&format!("{status}: {}", output.text()))),
            Ok(Err(cause)) => Err(self.failed(&cause.to_string())),
            Err(_) => {
                let _ = child.kill().await;
                let text = output.text();
                Err(self.failed(&format!("stopped after {} s: {text}", timeout.as_secs())))
            }
        }
    }

    fn failed(&self, how: &str) -> ErrorKind {
        ErrorKind::CommandFailed(format!("{}: {how}", self.program).into())
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
