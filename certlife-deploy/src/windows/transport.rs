//! The ways to Windows PowerShell: a process of this machine, or a command over SSH.

use std::{fmt, io, path::PathBuf, process::Stdio, time::Duration};

use certlife_core::{Error, ErrorKind, InputError, Operation, Result, SecretBytes, async_trait};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use super::{WINDOWS, script};
use crate::remote::{Exit, Limits, Route};

/// The most that an answer may have. A machine with 5,000 bindings stays below a quarter of it.
pub(super) const MAX_ANSWER: usize = 16 * 1_024 * 1_024;
/// How much of what else is printed is kept for people.
const MAX_WORDS: usize = 800;

/// Runs the bootstrap once.
#[async_trait]
pub(super) trait PowerShell: fmt::Debug + Send + Sync {
    /// Names machine and user, for people.
    fn name(&self) -> String;

    /// Gives the bootstrap `document` on standard input, and returns what it prints.
    ///
    /// Whoever drops the future ends the script, or lets it go on: it can be repeated in any case.
    async fn run(&self, operation: Operation, document: &SecretBytes) -> Result<Vec<u8>>;
}

/// PowerShell as a process of this machine.
#[derive(Debug)]
pub(super) struct Process {
    program: PathBuf,
    timeout: Duration,
}

impl Process {
    pub(super) fn new(program: PathBuf, timeout: Duration) -> Result<Self, InputError> {
        // Absolute on Windows, whatever this machine is: a host may check settings for another one.
        let text = program.to_string_lossy();
        let drive = matches!(text.as_bytes(), [letter, b':', b'\\', ..] if letter.is_ascii_alphabetic());
        if !(drive || program.is_absolute()) {
            let rule =
                r"use an absolute path, such as C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe";
            return Err(InputError::setting("connection.program", rule));
        }
        Ok(Self { program, timeout })
    }

    async fn talk(&self, document: &SecretBytes) -> io::Result<(bool, Vec<u8>, Vec<u8>)> {
        let mut child = tokio::process::Command::new(&self.program)
            .args(script::arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let writing = async {
            if let Some(mut stdin) = stdin {
                // A script that ends early reads no further; what it says about that is in its output.
                let _ = stdin.write_all(document.expose()).await;
                let _ = stdin.shutdown().await;
            }
        };
        let reading = async { tokio::join!(read(stdout, MAX_ANSWER), read(stderr, MAX_WORDS)) };
        let ((), (stdout, stderr)) = tokio::join!(writing, reading);
        Ok((child.wait().await?.success(), stdout?, stderr?))
    }
}

#[async_trait]
impl PowerShell for Process {
    fn name(&self) -> String {
        "this machine".to_owned()
    }

    async fn run(&self, operation: Operation, document: &SecretBytes) -> Result<Vec<u8>> {
        let failed = |words: String| Error::new(WINDOWS, operation, ErrorKind::CommandFailed(words.into()));
        match tokio::time::timeout(self.timeout, self.talk(document)).await {
            Ok(Ok((true, stdout, _))) => Ok(stdout),
            Ok(Ok((false, stdout, stderr))) => Err(failed(words(&stdout, &stderr))),
            Ok(Err(cause)) => Err(failed(format!("{}: {cause}", self.program.display()))),
            Err(_) => Err(Error::new(WINDOWS, operation, ErrorKind::Timeout)),
        }
    }
}

/// PowerShell over SSH, with a connection for each script.
#[derive(Debug)]
pub(super) struct Ssh {
    pub(super) route: Route,
    pub(super) timeout: Duration,
}

#[async_trait]
impl PowerShell for Ssh {
    fn name(&self) -> String {
        self.route.name()
    }

    async fn run(&self, operation: Operation, document: &SecretBytes) -> Result<Vec<u8>> {
        let failed = |kind| Error::new(WINDOWS, operation, kind);
        let session = self.route.open().await.map_err(|refused| refused.error(WINDOWS, operation))?;
        // Nothing in it means anything to `cmd.exe`, or to PowerShell as a shell.
        let line = format!("powershell.exe {}", script::arguments().join(" "));
        let limits = Limits { keep: MAX_ANSWER, time: self.timeout };
        let output = session.exec(&line, document.expose(), limits).await;
        session.close().await;
        let output = output.map_err(failed)?;
        match output.exit {
            Exit::Status(0) => Ok(output.stdout.bytes),
            Exit::Stopped(_) => Err(failed(ErrorKind::Timeout)),
            ref exit => {
                Err(failed(ErrorKind::CommandFailed(format!("{exit}: {}", output.words(MAX_WORDS)).into())))
            }
        }
    }
}

/// Reads a stream to its end and keeps the end of it.
async fn read(stream: Option<impl AsyncRead + Unpin>, keep: usize) -> io::Result<Vec<u8>> {
    let (mut kept, mut chunk) = (Vec::new(), vec![0; 16 * 1_024]);
    let Some(mut stream) = stream else { return Ok(kept) };
    while let length @ 1.. = stream.read(&mut chunk).await? {
        kept.extend_from_slice(&chunk[..length]);
        let surplus = kept.len().saturating_sub(keep);
        kept.drain(..surplus);
    }
    Ok(kept)
}

/// The end of what a PowerShell printed that did not get as far as an answer.
fn words(stdout: &[u8], stderr: &[u8]) -> String {
    let all = [stdout, stderr].concat();
    let end = &all[all.len().saturating_sub(MAX_WORDS)..];
    if end.is_empty() {
        "powershell.exe failed and said nothing".to_owned()
    } else {
        String::from_utf8_lossy(end).into_owned()
    }
}
