//! Challenge files under the root of a web server.
//!
//! A directory that we make has a hidden mark beside it, which is made before it and removed after it, so that any
//! later process knows to remove the directory once it is empty. What is not yet whole has a name that the next call
//! for the same file knows. Files and directories of others are never changed, and links never followed.

use aws_lc_rs::digest::{Context, SHA256};
use certlife_core::{ErrorKind, Result, challenge::HttpFile};

use super::tree::{Kind, Made, Rights, Tree, in_the_way, io_failed, is_real_directory, real_directory};

/// What the names of ours begin with. No segment of a challenge's path but the first begins with a dot.
const MARK: &str = ".certlife-";
const PROBE: &str = ".certlife-probe";
const FILE_RIGHTS: Rights = Rights { mode: 0o644, user: None, group: None };
const MARK_RIGHTS: Rights = Rights { mode: 0o600, user: None, group: None };
const DIRECTORY_RIGHTS: Rights = Rights { mode: 0o755, user: None, group: None };
/// How often another process may remove a directory before we use it.
const ATTEMPTS: usize = 5;

/// Tests that a file can be made.
pub(crate) async fn probe(root: &impl Tree) -> Result<(), ErrorKind> {
    // A call that was interrupted may have left it; of one that is under way it says as much.
    root.remove_file(PROBE).await?;
    match root.create(PROBE, b"", MARK_RIGHTS).await? {
        Made::Done | Made::Exists => root.remove_file(PROBE).await,
        nowhere @ Made::NoDirectory => nowhere.surely("write to", root, ""),
    }
}

/// Places a file.
pub(crate) async fn put(root: &impl Tree, file: &HttpFile) -> Result<(), ErrorKind> {
    // Whatever the root itself is, a link perhaps, is the host's choice; it only has to be there.
    if root.list("").await?.is_none() {
        return Err(io_failed("use", root.name(""))("it does not exist"));
    }
    for _ in 0..ATTEMPTS {
        make_directories(root, file).await?;
        let path = &file.path.as_str()[1..];
        match write(root, file).await? {
            Made::Done => return Ok(()),
            Made::Exists => {
                if is_there(root, path, file).await? {
                    return Ok(());
                }
                return Err(in_the_way(&root.name(path), "exists with another content"));
            }
            Made::NoDirectory => {}
        }
    }
    Err(ErrorKind::Io(format!("directories disappear from {}", root.name("")).into()))
}

/// Removes a file, if it has the content that was placed, and directories of ours that it leaves empty.
pub(crate) async fn remove(root: &impl Tree, file: &HttpFile) -> Result<(), ErrorKind> {
    let directories = directories(file);
    let mut existing = 0;
    while existing < directories.len() && is_real_directory(root, directories[existing]).await? {
        existing += 1;
    }
    if existing == directories.len() {
        let path = &file.path.as_str()[1..];
        if is_there(root, path, file).await? {
            root.remove_file(path).await?;
        }
        root.remove_file(&unfinished(file)).await?;
    }
    // Of the first that does not exist there may be the mark.
    for directory in directories.iter().take(existing + 1).rev() {
        if !remove_if_ours(root, directory).await? {
            break;
        }
    }
    Ok(())
}

/// The directories from the root's child down to the one that the file is in.
fn directories(file: &HttpFile) -> Vec<&str> {
    let path = &file.path.as_str()[1..];
    path.match_indices('/').map(|(end, _)| &path[..end]).collect()
}

/// Where the mark of a directory is.
fn mark_of(directory: &str) -> String {
    let (parent, name) = split(directory);
    format!("{parent}{MARK}{name}")
}

/// Where a file is written before it gets its name: the same at each call for the same file.
fn unfinished(file: &HttpFile) -> String {
    let path = &file.path.as_str()[1..];
    let mut hash = Context::new(&SHA256);
    hash.update(path.as_bytes());
    hash.update(b"\0");
    hash.update(file.body.as_str().as_bytes());
    let tag = hash.finish().as_ref().iter().take(8).fold(0_u64, |tag, byte| tag << 8 | u64::from(*byte));
    format!("{}{MARK}new-{tag:016x}", split(path).0)
}

/// The directory of a path, with a `/` behind it if it is not the root, and the name there.
fn split(path: &str) -> (&str, &str) {
    path.split_at(path.rfind('/').map_or(0, |slash| slash + 1))
}

async fn make_directories(root: &impl Tree, file: &HttpFile) -> Result<(), ErrorKind> {
    for directory in directories(file) {
        if let Some(found) = real_directory(root, directory).await? {
            // A process may have died that had just made it.
            if !found.has(DIRECTORY_RIGHTS) && has_mark(root, directory).await? {
                root.set_directory_rights(directory, DIRECTORY_RIGHTS).await?;
            }
            continue;
        }
        mark(root, directory).await?;
        // Another process makes it as well, or has removed its parent: then writing fails, and starts over.
        if root.make_directory(directory).await? == Made::Done {
            // Somebody may have removed the mark as that of a directory that was gone.
            mark(root, directory).await?;
            root.set_directory_rights(directory, DIRECTORY_RIGHTS).await?;
        }
    }
    Ok(())
}

async fn mark(root: &impl Tree, directory: &str) -> Result<(), ErrorKind> {
    root.create(&mark_of(directory), b"", MARK_RIGHTS).await.map(drop)
}

async fn has_mark(root: &impl Tree, directory: &str) -> Result<bool, ErrorKind> {
    Ok(root.look(&mark_of(directory)).await?.is_some_and(|found| found.kind == Kind::File))
}

/// Removes a directory that we made if nothing is in it; returns whether there is none.
async fn remove_if_ours(root: &impl Tree, directory: &str) -> Result<bool, ErrorKind> {
    if !has_mark(root, directory).await? {
        return Ok(root.look(directory).await?.is_none());
    }
    if !root.remove_directory(directory).await? {
        return Ok(false);
    }
    root.remove_file(&mark_of(directory)).await?;
    if root.look(directory).await?.is_none() {
        return Ok(true);
    }
    // Somebody has just made it again, and found the mark there.
    mark(root, directory).await?;
    Ok(false)
}

/// Writes a file that appears at once with its content, where nothing is.
async fn write(root: &impl Tree, file: &HttpFile) -> Result<Made, ErrorKind> {
    let (path, new) = (&file.path.as_str()[1..], unfinished(file));
    root.remove_file(&new).await?;
    match root.create(&new, file.body.as_str().as_bytes(), FILE_RIGHTS).await? {
        Made::Done => {}
        // Another process places the same file, or has removed the directory.
        Made::Exists | Made::NoDirectory => return Ok(Made::NoDirectory),
    }
    root.label(&new).await?;
    match root.rename(&new, path).await? {
        Made::Done => root.save(split(path).0.trim_end_matches('/')).await.map(|()| Made::Done),
        made => root.remove_file(&new).await.map(|()| made),
    }
}

/// Whether there is a plain file with exactly the content that was placed.
async fn is_there(root: &impl Tree, path: &str, file: &HttpFile) -> Result<bool, ErrorKind> {
    let body = file.body.as_str().as_bytes();
    match root.look(path).await? {
        Some(found) if found.kind == Kind::File && found.length == body.len() as u64 => {
            let content = root.read(path, body.len()).await?;
            Ok(content.is_some_and(|content| content.expose() == body))
        }
        _ => Ok(false),
    }
}
