//! The few things that are done with files, as a target does them.

use std::fmt;

use certlife_core::{ErrorKind, Result, SecretBytes};

/// A directory of a machine, and what can be done below it.
///
/// Paths are relative to it, with `/` between names, and lead to nothing outside: they consist of names that were
/// checked, and no link is ever followed but by whoever made the directory. The empty path is the directory itself.
/// Everything can be dropped at any moment, and is then done, or not.
pub(crate) trait Tree: Sync {
    /// The whole path, for people and commands.
    fn name(&self, path: &str) -> String;

    /// What stands at `path`; none if nothing does.
    fn look(&self, path: &str) -> impl Future<Output = Result<Option<Found>, ErrorKind>> + Send;

    /// Reads a plain file of this length; none if it is gone.
    fn read(
        &self,
        path: &str,
        length: usize,
    ) -> impl Future<Output = Result<Option<SecretBytes>, ErrorKind>> + Send;

    /// Makes a file where nothing is, which survives a power cut. Nobody else can read it before it has its rights.
    fn create(
        &self,
        path: &str,
        content: &[u8],
        rights: Rights,
    ) -> impl Future<Output = Result<Made, ErrorKind>> + Send;

    /// Makes a directory where nothing is, which nobody else can enter.
    fn make_directory(&self, path: &str) -> impl Future<Output = Result<Made, ErrorKind>> + Send;

    /// Sets the group of a directory, and then its mode.
    fn set_directory_rights(
        &self,
        path: &str,
        rights: Rights,
    ) -> impl Future<Output = Result<(), ErrorKind>> + Send;

    /// The names in a directory, and which of them are directories; none if there is no such directory. A name that
    /// is no text is told as some other name.
    fn list(&self, path: &str)
    -> impl Future<Output = Result<Option<Vec<(String, bool)>>, ErrorKind>> + Send;

    /// Moves a file or directory to where nothing is.
    fn rename(&self, from: &str, to: &str) -> impl Future<Output = Result<Made, ErrorKind>> + Send;

    /// Moves a file or pointer to where one may be, at once.
    fn replace(&self, from: &str, to: &str) -> impl Future<Output = Result<(), ErrorKind>> + Send;

    /// Removes a file or link, if there is one.
    fn remove_file(&self, path: &str) -> impl Future<Output = Result<(), ErrorKind>> + Send;

    /// Removes a directory if it is empty; returns whether none is there, which it need not have been before.
    fn remove_directory(&self, path: &str) -> impl Future<Output = Result<bool, ErrorKind>> + Send;

    /// Makes the names in a directory survive a power cut, as far as the machine can.
    fn save(&self, path: &str) -> impl Future<Output = Result<(), ErrorKind>> + Send;

    /// Where the pointer at `path` leads, unchecked; none if there is none.
    fn read_pointer(&self, path: &str) -> impl Future<Output = Result<Option<String>, ErrorKind>> + Send;

    /// Makes a pointer where nothing is.
    fn make_pointer(&self, path: &str, target: &str) -> impl Future<Output = Result<(), ErrorKind>> + Send;

    /// Gives what is at and below `path` the labels that the machine's policy wants, if it has one.
    fn label(&self, path: &str) -> impl Future<Output = Result<(), ErrorKind>> + Send;
}

/// Rights on a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rights {
    pub(crate) mode: u32,
    pub(crate) user: Option<u32>,
    pub(crate) group: Option<u32>,
}

/// What stands at a path, links not followed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) kind: Kind,
    pub(crate) length: u64,
    /// Mode, user and group; none on machines that have no such thing.
    pub(crate) owned: Option<(u32, u32, u32)>,
}

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Link,
    Other,
}

/// What became of making something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Made {
    Done,
    /// Something is there already.
    Exists,
    /// There is no such directory to make it in.
    NoDirectory,
}

impl Made {
    /// Nothing but success is expected at `path`.
    pub(super) fn surely(self, doing: &str, tree: &impl Tree, path: &str) -> Result<(), ErrorKind> {
        match self {
            Self::Done => Ok(()),
            Self::Exists => Err(in_the_way(&tree.name(path), "is there already")),
            Self::NoDirectory => Err(io_failed(doing, tree.name(path))("its directory is gone")),
        }
    }
}

impl Found {
    pub(super) fn has(&self, rights: Rights) -> bool {
        self.owned.is_none_or(|(mode, user, group)| {
            mode & 0o7777 == rights.mode
                && rights.user.is_none_or(|wanted| wanted == user)
                && rights.group.is_none_or(|wanted| wanted == group)
        })
    }
}

/// Makes sure that what is at `path` is a real directory, if anything is; returns it.
///
/// A symbolic link inside our tree is nobody's doing but an attacker's or a mistake.
pub(super) async fn real_directory(tree: &impl Tree, path: &str) -> Result<Option<Found>, ErrorKind> {
    let found = tree.look(path).await?;
    match found.map(|found| found.kind) {
        Some(Kind::Directory) | None => Ok(found),
        Some(Kind::Link) => Err(in_the_way(&tree.name(path), "is a symbolic link; a directory is wanted")),
        Some(_) => Err(in_the_way(&tree.name(path), "is not a directory")),
    }
}

/// As [`real_directory`]; returns whether there is one.
pub(super) async fn is_real_directory(tree: &impl Tree, path: &str) -> Result<bool, ErrorKind> {
    Ok(real_directory(tree, path).await?.is_some())
}

/// Says what could not be done with which path.
pub(crate) fn io_failed<E: fmt::Display>(
    doing: &str,
    path: impl fmt::Display,
) -> impl FnOnce(E) -> ErrorKind {
    move |cause| ErrorKind::Io(format!("cannot {doing} {path}: {cause}").into())
}

/// Says that something stands at a path that is not ours.
pub(crate) fn in_the_way(path: &str, what: &str) -> ErrorKind {
    ErrorKind::Conflict(format!("{path} {what}").into())
}
