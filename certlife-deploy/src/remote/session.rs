//! One connection, logged in: commands, and the file transfer beside them.

use std::{fmt, time::Duration};

use certlife_core::{ErrorKind, Result};
use russh::{Channel, ChannelMsg, Disconnect, Sig, client};

use super::{Gate, sftp::Sftp};

/// How long output is waited for after the command has ended: what it started may hold its output open.
const AFTER_END: Duration = Duration::from_millis(500);
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// A connection to a server. Dropping it closes it, and ends what reads from it there.
pub(crate) struct Session {
    handle: client::Handle<Gate>,
    /// Has to live as long as what is forwarded through it.
    _over: Option<client::Handle<Gate>>,
    name: String,
}

/// What a command may print and how long it may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// How many bytes of the end of each stream are kept.
    pub(crate) keep: usize,
    pub(crate) time: Duration,
}

/// What came of a command.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) exit: Exit,
    pub(crate) stdout: Tail,
    pub(crate) stderr: Tail,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Exit {
    Status(u32),
    Signal(String),
    /// The server did not say.
    #[default]
    Unknown,
    /// It took too long, and was told to end.
    Stopped(Duration),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "exit status: {status}"),
            Self::Signal(signal) => write!(f, "signal: {signal}"),
            Self::Unknown => f.write_str("no exit status"),
            Self::Stopped(after) => write!(f, "stopped after {} s", after.as_secs()),
        }
    }
}

/// The end of what a command printed on one stream.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    pub(crate) bytes: Vec<u8>,
    /// Whether the beginning is missing.
    pub(crate) cut: bool,
}

impl Tail {
    fn push(&mut self, data: &[u8], keep: usize) {
        self.bytes.extend_from_slice(data);
        let surplus = self.bytes.len().saturating_sub(keep);
        self.cut |= surplus > 0;
        self.bytes.drain(..surplus);
    }
}

impl Output {
    pub(crate) fn succeeded(&self) -> bool {
        self.exit == Exit::Status(0)
    }

    /// The end of everything that was printed, for people.
    pub(crate) fn words(&self, most: usize) -> String {
        let all = [self.stdout.bytes.as_slice(), self.stderr.bytes.as_slice()].concat();
        let end = &all[all.len().saturating_sub(most)..];
        if end.is_empty() { "no output".to_owned() } else { String::from_utf8_lossy(end).into_owned() }
    }
}

impl Session {
    pub(super) fn new(
        handle: client::Handle<Gate>,
        over: Option<client::Handle<Gate>>,
        name: String,
    ) -> Self {
        Self { handle, _over: over, name }
    }

    /// Runs a command line in the login shell of the user, to its end. [`quote::line`](super::quote::line) makes
    /// one of words.
    pub(crate) async fn exec(&self, line: &str, stdin: &[u8], limits: Limits) -> Result<Output, ErrorKind> {
        let mut channel = self.start(line).await?;
        let mut output = Output::default();
        let finished =
            tokio::time::timeout(limits.time, self.follow(&mut channel, stdin, limits, &mut output));
        if let Ok(followed) = finished.await {
            followed?;
        } else {
            // Of the whole process group, as far as it is the user's.
            let _ = channel.signal(Sig::KILL).await;
            output.exit = Exit::Stopped(limits.time);
        }
        let _ = channel.close().await;
        Ok(output)
    }

    /// Starts a command line; it ends when its input does, or the connection.
    pub(crate) async fn start(&self, line: &str) -> Result<Channel<client::Msg>, ErrorKind> {
        let mut channel = self.channel().await?;
        channel.exec(true, line).await.map_err(|_| self.lost())?;
        loop {
            match channel.wait().await {
                Some(ChannelMsg::Success) => return Ok(channel),
                Some(ChannelMsg::Failure) => {
                    return Err(ErrorKind::Forbidden(format!("{}: to run commands", self.name).into()));
                }
                Some(_) => {}
                None => return Err(self.lost()),
            }
        }
    }

    /// Starts the file transfer.
    pub(crate) async fn sftp(&self) -> Result<Sftp, ErrorKind> {
        let mut channel = self.channel().await?;
        channel.request_subsystem(true, "sftp").await.map_err(|_| self.lost())?;
        loop {
            match channel.wait().await {
                Some(ChannelMsg::Success) => return Sftp::start(channel, &self.name).await,
                Some(ChannelMsg::Failure) => {
                    let what = format!("SFTP at {}", self.name);
                    return Err(ErrorKind::Unsupported(what.into()));
                }
                Some(_) => {}
                None => return Err(self.lost()),
            }
        }
    }

    /// As [`sftp`](Self::sftp), by a command that is an SFTP server itself.
    pub(crate) async fn sftp_by(&self, line: &str) -> Result<Sftp, ErrorKind> {
        Sftp::start(self.start(line).await?, &self.name).await
    }

    /// Says goodbye. What is dropped without it is closed as well.
    pub(crate) async fn close(self) {
        let _ =
            tokio::time::timeout(GOODBYE, self.handle.disconnect(Disconnect::ByApplication, "", "")).await;
    }

    async fn channel(&self) -> Result<Channel<client::Msg>, ErrorKind> {
        self.handle.channel_open_session().await.map_err(|cause| match cause {
            russh::Error::ChannelOpenFailure(reason) => {
                let words =
                    format!("{}: no further channel ({reason:?}; see MaxSessions of sshd)", self.name);
                ErrorKind::Io(words.into())
            }
            _ => self.lost(),
        })
    }

    /// Feeds a command and collects what it prints, until it has ended.
    async fn follow(
        &self,
        channel: &mut Channel<client::Msg>,
        stdin: &[u8],
        limits: Limits,
        output: &mut Output,
    ) -> Result<(), ErrorKind> {
        if stdin.is_empty() {
            let _ = channel.eof().await;
        } else {
            let feed = channel.make_writer();
            let feeding = async {
                use tokio::io::AsyncWriteExt as _;
                let mut feed = feed;
                // A command need not read all of its input.
                let _ = feed.write_all(stdin).await;
                let _ = feed.shutdown().await;
            };
            tokio::pin!(feeding);
            // Reading goes on meanwhile, for a command may print before it has read everything.
            loop {
                tokio::select! {
                    () = &mut feeding => break,
                    message = channel.wait() => {
                        if output.note(message, limits.keep) { return self.ended(output) }
                    }
                }
            }
        }
        while output.exit == Exit::Unknown {
            if output.note(channel.wait().await, limits.keep) {
                return self.ended(output);
            }
        }
        let rest = async { while !output.note(channel.wait().await, limits.keep) {} };
        let _ = tokio::time::timeout(AFTER_END, rest).await;
        Ok(())
    }

    fn ended(&self, output: &Output) -> Result<(), ErrorKind> {
        match output.exit {
            Exit::Unknown if self.handle.is_closed() => Err(self.lost()),
            _ => Ok(()),
        }
    }

    /// What it means that nothing comes any more.
    pub(crate) fn lost(&self) -> ErrorKind {
        ErrorKind::Io(format!("the connection to {} was lost", self.name).into())
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Output {
    /// Takes a message in; returns whether it was the last.
    pub(crate) fn note(&mut self, message: Option<ChannelMsg>, keep: usize) -> bool {
        match message {
            None | Some(ChannelMsg::Close) => return true,
            Some(ChannelMsg::Data { data }) => self.stdout.push(&data, keep),
            Some(ChannelMsg::ExtendedData { data, .. }) => self.stderr.push(&data, keep),
            Some(ChannelMsg::ExitStatus { exit_status }) => self.exit = Exit::Status(exit_status),
            Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                self.exit = Exit::Signal(format!("{signal_name:?}"));
            }
            Some(_) => {}
        }
        false
    }
}
