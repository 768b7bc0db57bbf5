//! The file transfer of a connection: SFTP version 3 as OpenSSH speaks it, with its extensions where it has them.
//!
//! <https://datatracker.ietf.org/doc/html/draft-ietf-secsh-filexfer-02>,
//! <https://cvsweb.openbsd.org/src/usr.bin/ssh/PROTOCOL?rev=HEAD>

use std::fmt;

use certlife_core::{ErrorKind, SecretBytes};
use russh::{Channel, client::Msg};
use russh_sftp::{
    client::{RawSftpSession, error::Error as SftpError, rawsession::SftpResult},
    extensions::HardlinkExtension,
    protocol::{FileAttributes, OpenFlags, Packet, StatusCode},
};

const POSIX_RENAME: &str = "posix-rename@openssh.com";
const FSYNC: &str = "fsync@openssh.com";
/// How long an answer may take.
const PATIENCE_SECONDS: u64 = 30;
/// How much is read or written at once: what every server has to take (section 3 of the draft).
const CHUNK: usize = 32_000;
/// The most names in a directory that are read.
const MAX_NAMES: usize = 100_000;

/// A file transfer. Its paths are the server's, absolute, with `/`.
pub(crate) struct Sftp {
    raw: RawSftpSession,
    name: String,
    replaces: bool,
    syncs: bool,
}

/// Why something was not done with a file.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It does not exist, or a directory on the way to it.
    NotFound,
    /// The user has no right to.
    Denied,
    /// The server cannot do this.
    Unsupported,
    /// The server says no more than that it failed: something is there already, is not empty, or is full.
    Failed(String),
    /// Nothing more is possible over this connection.
    Lost(ErrorKind),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("it does not exist"),
            Self::Denied => f.write_str("permission denied"),
            Self::Unsupported => f.write_str("the server cannot do that"),
            Self::Failed(words) => f.write_str(words),
            Self::Lost(kind) => kind.fmt(f),
        }
    }
}

/// What became of making a file.
pub(crate) struct Created {
    pub(crate) outcome: Done<()>,
    /// Whether there was nothing, and now is at least a part of it.
    pub(crate) is_started: bool,
}

impl Refusal {
    /// Says what could not be done with which path.
    pub(crate) fn doing(self, doing: &str, path: &str) -> ErrorKind {
        match self {
            Self::Lost(kind) => kind,
            refusal => ErrorKind::Io(format!("cannot {doing} {path}: {refusal}").into()),
        }
    }
}

pub(crate) type Done<T> = Result<T, Refusal>;

impl Sftp {
    pub(super) async fn start(channel: Channel<Msg>, name: &str) -> Result<Self, ErrorKind> {
        let raw = RawSftpSession::new(channel.into_stream());
        raw.set_timeout(PATIENCE_SECONDS);
        let version = raw.init().await.map_err(|cause| match cause {
            SftpError::Timeout => ErrorKind::Timeout,
            SftpError::UnexpectedPacket | SftpError::Status(_) => {
                ErrorKind::Protocol("the server does not answer as an SFTP server does".into())
            }
            _ => ErrorKind::Io(format!("the SFTP server of {name} ended, or the connection was lost").into()),
        })?;
        let has = |extension: &str| version.extensions.contains_key(extension);
        Ok(Self { raw, name: name.to_owned(), replaces: has(POSIX_RENAME), syncs: has(FSYNC) })
    }

    /// What stands at `path`, links not followed; none if nothing does.
    pub(crate) async fn look(&self, path: &str) -> Done<Option<FileAttributes>> {
        self.optional(self.raw.lstat(path).await.map(|answer| answer.attrs))
    }

    /// Reads a file to at most `limit` bytes; none if there is none.
    pub(crate) async fn read(&self, path: &str, limit: usize) -> Done<Option<SecretBytes>> {
        let opened = self.raw.open(path, OpenFlags::READ, FileAttributes::empty()).await;
        let Some(handle) = self.optional(opened.map(|handle| handle.handle))? else { return Ok(None) };
        // With room for all, nothing is left behind unwiped when the buffer grows.
        let mut bytes = Vec::with_capacity(limit);
        let outcome = loop {
            let wanted = (limit - bytes.len()).min(CHUNK);
            if wanted == 0 {
                break Ok(());
            }
            let (offset, length) = (bytes.len() as u64, u32::try_from(wanted).unwrap_or(u32::MAX));
            match self.raw.read(handle.as_str(), offset, length).await {
                Ok(data) if data.data.is_empty() || data.data.len() > wanted => {
                    break Err(Refusal::Lost(ErrorKind::Protocol("a read of another length".into())));
                }
                Ok(data) => bytes.extend_from_slice(&data.data),
                Err(SftpError::Status(status)) if status.status_code == StatusCode::Eof => break Ok(()),
                Err(cause) => break Err(self.refusal(cause)),
            }
        };
        let bytes = SecretBytes::new(bytes);
        self.close(&handle).await;
        outcome.map(|()| Some(bytes))
    }

    /// Makes a file where nothing is, with these bytes and then the attributes that `rights` makes of those that it was
    /// given, and waits until it would survive a power cut, where the server can tell. Until then its mode is `0600`.
    pub(crate) async fn create(
        &self,
        path: &str,
        bytes: &[u8],
        rights: impl FnOnce(&FileAttributes) -> FileAttributes + Send,
    ) -> Created {
        let private = FileAttributes { permissions: Some(0o600), ..FileAttributes::empty() };
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUDE;
        let handle = match self.raw.open(path, flags, private).await {
            Ok(handle) => handle.handle,
            Err(cause) => return Created { outcome: Err(self.refusal(cause)), is_started: false },
        };
        let filled = async {
            let given = self.raw.fstat(handle.as_str()).await?.attrs;
            self.fill(&handle, bytes, rights(&given)).await
        };
        let outcome = match filled.await {
            Ok(()) => self.raw.close(handle).await.map(drop),
            Err(cause) => {
                self.close(&handle).await;
                Err(cause)
            }
        };
        Created { outcome: outcome.map_err(|cause| self.refusal(cause)), is_started: true }
    }

    async fn fill(&self, handle: &str, bytes: &[u8], rights: FileAttributes) -> SftpResult<()> {
        let mut offset = 0;
        for chunk in bytes.chunks(CHUNK) {
            self.raw.write(handle, offset, chunk.to_vec()).await?;
            offset += chunk.len() as u64;
        }
        if let Some(owners) = owners_of(&rights) {
            self.raw.fsetstat(handle, owners).await?;
        }
        if rights.permissions.is_some() {
            // After the owner, whose change takes bits away.
            let mode = FileAttributes { permissions: rights.permissions, ..FileAttributes::empty() };
            self.raw.fsetstat(handle, mode).await?;
        }
        if self.syncs {
            self.raw.fsync(handle).await?;
        }
        Ok(())
    }

    /// Makes a directory where nothing is, which nobody else can enter.
    pub(crate) async fn make_directory(&self, path: &str) -> Done<()> {
        let private = FileAttributes { permissions: Some(0o700), ..FileAttributes::empty() };
        self.done(self.raw.mkdir(path, private).await)
    }

    /// Sets owner and mode, the owner first.
    pub(crate) async fn set(&self, path: &str, rights: FileAttributes) -> Done<()> {
        if let Some(owners) = owners_of(&rights) {
            self.done(self.raw.setstat(path, owners).await)?;
        }
        let mode = FileAttributes { permissions: rights.permissions, ..FileAttributes::empty() };
        self.done(self.raw.setstat(path, mode).await)
    }

    /// Makes the names in a directory survive a power cut, where the server can.
    pub(crate) async fn sync_directory(&self, path: &str) -> Done<()> {
        if !self.syncs {
            return Ok(());
        }
        // A directory opens for reading as a file does on most systems; elsewhere nothing is lost but the guarantee.
        let Ok(opened) = self.raw.open(path, OpenFlags::READ, FileAttributes::empty()).await else {
            return Ok(());
        };
        let synced = self.raw.fsync(opened.handle.as_str()).await;
        self.close(&opened.handle).await;
        match synced.map_err(|cause| self.refusal(cause)) {
            Err(lost @ Refusal::Lost(_)) => Err(lost),
            _ => Ok(()),
        }
    }

    /// Renames onto whatever is there, at once. Unsupported where only the draft's own rename is known.
    pub(crate) async fn replace(&self, from: &str, to: &str) -> Done<()> {
        if !self.replaces {
            return Err(Refusal::Unsupported);
        }
        let names = HardlinkExtension { oldpath: from.to_owned(), newpath: to.to_owned() };
        let request: Vec<u8> =
            names.try_into().map_err(|_| Refusal::Failed("the path cannot be sent".to_owned()))?;
        match self.raw.extended(POSIX_RENAME, request).await {
            Ok(Packet::Status(status)) if status.status_code == StatusCode::Ok => Ok(()),
            Ok(Packet::Status(status)) => Err(self.refusal(status.into())),
            Ok(_) => Err(self.refusal(SftpError::UnexpectedPacket)),
            Err(cause) => Err(self.refusal(cause)),
        }
    }

    /// Renames to where nothing is.
    pub(crate) async fn rename(&self, from: &str, to: &str) -> Done<()> {
        self.done(self.raw.rename(from, to).await)
    }

    /// Removes a file or a link, if there is one.
    pub(crate) async fn remove(&self, path: &str) -> Done<()> {
        self.optional(self.raw.remove(path).await).map(drop)
    }

    /// Removes an empty directory.
    pub(crate) async fn remove_directory(&self, path: &str) -> Done<()> {
        self.done(self.raw.rmdir(path).await)
    }

    /// The names in a directory, with what stands there.
    pub(crate) async fn list(&self, path: &str) -> Done<Vec<(String, FileAttributes)>> {
        let handle = self.raw.opendir(path).await.map_err(|cause| self.refusal(cause))?.handle;
        let mut found = Vec::new();
        let outcome = loop {
            match self.raw.readdir(handle.as_str()).await {
                Ok(names) if names.files.is_empty() || found.len() > MAX_NAMES => {
                    break Err(Refusal::Failed("the list of names has no end".to_owned()));
                }
                Ok(names) => found.extend(names.files.into_iter().map(|file| (file.filename, file.attrs))),
                Err(SftpError::Status(status)) if status.status_code == StatusCode::Eof => break Ok(()),
                Err(cause) => break Err(self.refusal(cause)),
            }
        };
        self.close(&handle).await;
        found.retain(|(name, _)| name != "." && name != "..");
        outcome.map(|()| found)
    }

    /// Where a symbolic link leads, unchecked.
    pub(crate) async fn read_link(&self, path: &str) -> Done<String> {
        let answer = self.raw.readlink(path).await.map_err(|cause| self.refusal(cause))?;
        answer
            .files
            .into_iter()
            .next()
            .map(|file| file.filename)
            .ok_or_else(|| Refusal::Lost(ErrorKind::Protocol("a link that leads nowhere".into())))
    }

    /// Makes a symbolic link where nothing is.
    pub(crate) async fn link(&self, path: &str, target: &str) -> Done<()> {
        // In the order in which OpenSSH takes them, which is not the draft's (its PROTOCOL file, section 4.1).
        self.done(self.raw.symlink(target, path).await)
    }

    /// Whether the file system of `path` has no room left; no where the server cannot tell.
    pub(crate) async fn is_full(&self, path: &str) -> bool {
        self.raw
            .statvfs(path)
            .await
            .is_ok_and(|found| found.blocks_avail == 0 || found.inodes_avail == 0 && found.inodes > 0)
    }

    async fn close(&self, handle: &str) {
        let _ = self.raw.close(handle).await;
    }

    fn done<T>(&self, answer: SftpResult<T>) -> Done<()> {
        answer.map(drop).map_err(|cause| self.refusal(cause))
    }

    /// Nothing where nothing is.
    fn optional<T>(&self, answer: SftpResult<T>) -> Done<Option<T>> {
        match answer.map_err(|cause| self.refusal(cause)) {
            Err(Refusal::NotFound) => Ok(None),
            answer => answer.map(Some),
        }
    }

    fn refusal(&self, cause: SftpError) -> Refusal {
        match cause {
            SftpError::Status(status) => match status.status_code {
                StatusCode::NoSuchFile => Refusal::NotFound,
                StatusCode::PermissionDenied => Refusal::Denied,
                StatusCode::OpUnsupported => Refusal::Unsupported,
                StatusCode::NoConnection | StatusCode::ConnectionLost => self.lost(),
                _ => Refusal::Failed(status.error_message.to_lowercase()),
            },
            SftpError::Timeout => Refusal::Lost(ErrorKind::Timeout),
            SftpError::Limited(what) => Refusal::Failed(what),
            SftpError::UnexpectedPacket => {
                Refusal::Lost(ErrorKind::Protocol("an SFTP answer to another question".into()))
            }
            SftpError::IO(_) | SftpError::UnexpectedBehavior(_) => self.lost(),
        }
    }

    fn lost(&self) -> Refusal {
        Refusal::Lost(ErrorKind::Io(format!("the connection to {} was lost", self.name).into()))
    }
}

impl fmt::Debug for Sftp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sftp").field("name", &self.name).finish_non_exhaustive()
    }
}

/// User and group, which can be set together alone.
fn owners_of(rights: &FileAttributes) -> Option<FileAttributes> {
    let (uid, gid) = (rights.uid?, rights.gid?);
    Some(FileAttributes { uid: Some(uid), gid: Some(gid), ..FileAttributes::empty() })
}
