//! A directory of this machine as a [`Tree`]. All work on files runs on threads that may block.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::PathBuf,
    sync::Arc,
};

use certlife_core::{ErrorKind, Result, SecretBytes};

use super::{lock::Lock, os};
use crate::versions::{Found, Kind, Made, Rights, Tree, io_failed};

/// A directory, and the lock under which it is changed.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    root: PathBuf,
    /// Held by whatever is still being done when a call is dropped.
    lock: Option<Arc<Lock>>,
}

impl Disk {
    pub(super) fn new(root: &std::path::Path, lock: Option<Arc<Lock>>) -> Self {
        Self { root: root.to_owned(), lock }
    }

    fn path(&self, path: &str) -> PathBuf {
        if path.is_empty() { self.root.clone() } else { self.root.join(path) }
    }

    /// Works on files, and goes on if the caller loses interest.
    async fn on_files<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ErrorKind> + Send + 'static,
    ) -> Result<T, ErrorKind> {
        let lock = self.lock.clone();
        let working = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(lock);
            done
        });
        working.await.unwrap_or_else(|_| Err(ErrorKind::Io("the work on files was interrupted".into())))
    }
}

impl Tree for Disk {
    fn name(&self, path: &str) -> String {
        self.path(path).display().to_string()
    }

    async fn look(&self, path: &str) -> Result<Option<Found>, ErrorKind> {
        let path = self.path(path);
        self.on_files(move || {
            let found = existing(fs::symlink_metadata(&path));
            let found = found.map_err(io_failed("look at", path.display()))?;
            Ok(found.map(|found| Found {
                kind: match found.file_type() {
                    kind if kind.is_file() => Kind::File,
                    kind if kind.is_dir() => Kind::Directory,
                    kind if kind.is_symlink() => Kind::Link,
                    _ => Kind::Other,
                },
                length: found.len(),
                owned: os::owned(&found),
            }))
        })
        .await
    }

    async fn read(&self, path: &str, length: usize) -> Result<Option<SecretBytes>, ErrorKind> {
        let path = self.path(path);
        self.on_files(move || {
            let Some(file) = existing(File::open(&path)).map_err(io_failed("read", path.display()))? else {
                return Ok(None);
            };
            // With room for all, nothing is left behind unwiped when the buffer grows.
            let mut bytes = Vec::with_capacity(length + 1);
            let limit = u64::try_from(length).unwrap_or(u64::MAX);
            let read = file.take(limit).read_to_end(&mut bytes);
            let bytes = SecretBytes::new(bytes);
            read.map_err(io_failed("read", path.display()))?;
            Ok(Some(bytes))
        })
        .await
    }

    async fn create(&self, path: &str, content: &[u8], rights: Rights) -> Result<Made, ErrorKind> {
        let (path, content) = (self.path(path), SecretBytes::new(content.to_vec()));
        self.on_files(move || {
            made(os::create_private(&path).and_then(|mut file| {
                file.write_all(content.expose())?;
                os::set_file_rights(&file, rights)?;
                file.sync_all()
            }))
            .map_err(io_failed("write", path.display()))
        })
        .await
    }

    async fn make_directory(&self, path: &str) -> Result<Made, ErrorKind> {
        let path = self.path(path);
        self.on_files(move || {
            made(os::create_private_directory(&path)).map_err(io_failed("make", path.display()))
        })
        .await
    }

    async fn set_directory_rights(&self, path: &str, rights: Rights) -> Result<(), ErrorKind> {
        let path = self.path(path);
        self.on_files(move || {
            os::set_directory_rights(&path, rights).map_err(io_failed("set the rights of", path.display()))
        })
        .await
    }

    async fn list(&self, path: &str) -> Result<Option<Vec<(String, bool)>>, ErrorKind> {
        let path = self.path(path);
        self.on_files(move || {
            let mut found = Vec::new();
            let entries = existing(fs::read_dir(&path)).map_err(io_failed("list", path.display()))?;
            let Some(entries) = entries else { return Ok(None) };
            for entry in entries {
                let entry = entry.map_err(io_failed("list", path.display()))?;
                let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
                // A name that is no text is not ours, but it is there.
                found.push((entry.file_name().to_string_lossy().into_owned(), is_directory));
            }
            Ok(Some(found))
        })
        .await
    }

    async fn rename(&self, from: &str, to: &str) -> Result<Made, ErrorKind> {
        let (from, to) = (self.path(from), self.path(to));
        self.on_files(move || {
            made(os::rename_to_nothing(&from, &to)).map_err(io_failed("write", to.display()))
        })
        .await
    }

    async fn replace(&self, from: &str, to: &str) -> Result<(), ErrorKind> {
        let (from, to) = (self.path(from), self.path(to));
        self.on_files(move || fs::rename(&from, &to).map_err(io_failed("write", to.display()))).await
    }

    async fn remove_file(&self, path: &str) -> Result<(), ErrorKind> {
        let path = self.path(path);
        self.on_files(move || {
            existing(fs::remove_file(&path)).map(drop).map_err(io_failed("remove", path.display()))
        })
        .await
    }

    async fn remove_directory(&self, path: &str) -> Result<bool, ErrorKind> {
        let path = self.path(path);
        // Fails if something is in it.
        self.on_files(move || Ok(existing(fs::remove_dir(&path)).is_ok())).await
    }

    async fn save(&self, path: &str) -> Result<(), ErrorKind> {
        let path = self.path(path);
        self.on_files(move || match os::sync_directory(&path) {
            // A directory that may be written to but not read cannot be opened; nothing is lost but the guarantee.
            Err(cause) if cause.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            saved => saved.map_err(io_failed("save", path.display())),
        })
        .await
    }

    async fn read_pointer(&self, path: &str) -> Result<Option<String>, ErrorKind> {
        let path = self.path(path);
        self.on_files(move || os::read_pointer(&path)).await
    }

    async fn make_pointer(&self, path: &str, target: &str) -> Result<(), ErrorKind> {
        let (path, target) = (self.path(path), target.to_owned());
        self.on_files(move || os::create_pointer(&path, &target).map_err(io_failed("switch", path.display())))
            .await
    }

    /// What is made in a directory gets its label, which is right where the directory was labelled for servers.
    async fn label(&self, _: &str) -> Result<(), ErrorKind> {
        Ok(())
    }
}

/// Nothing where nothing is.
fn existing<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        outcome => outcome.map(Some),
    }
}

fn made<T>(outcome: io::Result<T>) -> io::Result<Made> {
    match outcome {
        Ok(_) => Ok(Made::Done),
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => Ok(Made::Exists),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(Made::NoDirectory),
        Err(cause) => Err(cause),
    }
}
