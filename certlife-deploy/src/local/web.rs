//! Challenge files under the root of a web server.
//!
//! A directory that we make gets a hidden mark, so that any later process knows to remove it once it is empty.
//! Files and directories of others are never changed, and links never followed.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use certlife_core::{ErrorKind, Result, challenge::HttpFile};

use super::{
    in_the_way, io_failed,
    os::{self, Rights},
};

/// The mark. No segment of a challenge's path but the first begins with a dot.
const MARK: &str = ".certlife";
const FILE_RIGHTS: Rights = Rights { mode: 0o644, user: None, group: None };
const DIRECTORY_RIGHTS: Rights = Rights { mode: 0o755, user: None, group: None };
/// How often another process may remove a directory before we use it.
const ATTEMPTS: usize = 5;

/// Tests that a file can be made.
pub(super) fn probe(root: &Path) -> Result<(), ErrorKind> {
    tempfile::Builder::new()
        .prefix(".certlife-probe-")
        .tempfile_in(root)
        .map_err(io_failed("write to", root))?;
    Ok(())
}

/// Places a file.
pub(super) fn put(root: &Path, file: &HttpFile) -> Result<(), ErrorKind> {
    fs::read_dir(root).map_err(io_failed("use", root))?;
    for _ in 0..ATTEMPTS {
        let directory = make_directories(root, file)?;
        let path = directory.join(last_segment(file));
        match write(&directory, &path, file.body.as_str()) {
            Ok(()) => return Ok(()),
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                return match content(&path, file.body.as_str().len())? {
                    Some(found) if found == file.body.as_str().as_bytes() => Ok(()),
                    _ => Err(in_the_way(&path, "exists with another content")),
                };
            }
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(io_failed("write", &path)(cause)),
        }
    }
    Err(ErrorKind::Io(format!("directories disappear from {}", root.display()).into()))
}

/// Removes a file, if it has the content that was placed, and directories of ours that it leaves empty.
pub(super) fn remove(root: &Path, file: &HttpFile) -> Result<(), ErrorKind> {
    let directories = directories(root, file);
    for directory in &directories {
        if !os::is_real_directory(directory)? {
            return Ok(());
        }
    }
    if let Some(directory) = directories.last() {
        let path = directory.join(last_segment(file));
        if content(&path, file.body.as_str().len())?.as_deref() == Some(file.body.as_str().as_bytes()) {
            os::remove_file(&path)?;
        }
    }
    for directory in directories.iter().rev() {
        if !remove_if_ours(directory)? {
            break;
        }
    }
    Ok(())
}

/// The directories from the root's child down to the one that the file is in.
fn directories(root: &Path, file: &HttpFile) -> Vec<PathBuf> {
    let mut path = root.to_owned();
    let mut segments: Vec<_> = file.path.segments().collect();
    segments.pop();
    segments
        .into_iter()
        .map(|segment| {
            path.push(segment);
            path.clone()
        })
        .collect()
}

fn last_segment(file: &HttpFile) -> &str {
    file.path.segments().last().unwrap_or_default()
}

fn make_directories(root: &Path, file: &HttpFile) -> Result<PathBuf, ErrorKind> {
    let mut deepest = root.to_owned();
    for directory in directories(root, file) {
        if !os::is_real_directory(&directory)? {
            let made = fs::create_dir(&directory)
                .and_then(|()| os::set_directory_rights(&directory, DIRECTORY_RIGHTS))
                .and_then(|()| mark(&directory));
            match made {
                // Another process makes it as well, or has removed its parent: then writing fails, and starts over.
                Err(cause)
                    if !matches!(cause.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) =>
                {
                    return Err(io_failed("make", &directory)(cause));
                }
                _ => {}
            }
        }
        deepest = directory;
    }
    Ok(deepest)
}

fn mark(directory: &Path) -> io::Result<()> {
    match os::create_private(&directory.join(MARK)) {
        Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => Err(cause),
        _ => Ok(()),
    }
}

/// Removes a directory that we made if nothing is in it; returns whether it is gone.
fn remove_if_ours(directory: &Path) -> Result<bool, ErrorKind> {
    let mark_path = directory.join(MARK);
    if !fs::symlink_metadata(&mark_path).is_ok_and(|found| found.is_file()) {
        return Ok(false);
    }
    let mut entries = fs::read_dir(directory).map_err(io_failed("list", directory))?;
    if entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != MARK)) {
        return Ok(false);
    }
    os::remove_file(&mark_path)?;
    if fs::remove_dir(directory).is_ok() {
        return Ok(true);
    }
    // Somebody has just placed something in it; whoever removes that removes the directory as well.
    let _ = mark(directory);
    Ok(false)
}

/// Writes a file that appears at once with its content, where nothing is.
fn write(directory: &Path, path: &Path, body: &str) -> io::Result<()> {
    let mut new = tempfile::Builder::new().prefix(".certlife-new-").tempfile_in(directory)?;
    new.write_all(body.as_bytes())?;
    os::set_file_rights(new.as_file(), FILE_RIGHTS)?;
    new.as_file().sync_all()?;
    new.persist_noclobber(path).map_err(|error| error.error)?;
    os::sync_directory(directory)
}

/// Reads a plain file to a little more than `length` bytes; none if there is none.
fn content(path: &Path, length: usize) -> Result<Option<Vec<u8>>, ErrorKind> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => {}
        _ => return Ok(None),
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(length).unwrap_or(u64::MAX).saturating_add(1);
    match File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(|_| Some(bytes)).map_err(io_failed("read", path)),
    }
}
