//! Challenge files under the root of a web server.
//!
//! A directory that we make gets a hidden mark, so that any later process knows to remove it once it is empty.
//! Files and directories of others are never changed, and links never followed.

use certlife_core::{ErrorKind, Result, challenge::HttpFile};

use super::tree::{Kind, Made, Rights, Tree, in_the_way, io_failed, is_real_directory, unused_name};

/// The mark. No segment of a challenge's path but the first begins with a dot.
const MARK: &str = ".certlife";
const FILE_RIGHTS: Rights = Rights { mode: 0o644, user: None, group: None };
const MARK_RIGHTS: Rights = Rights { mode: 0o600, user: None, group: None };
const DIRECTORY_RIGHTS: Rights = Rights { mode: 0o755, user: None, group: None };
/// How often another process may remove a directory before we use it.
const ATTEMPTS: usize = 5;

/// Tests that a file can be made.
pub(crate) async fn probe(root: &impl Tree) -> Result<(), ErrorKind> {
    let test = unused_name(".certlife-probe-")?;
    root.create(&test, b"", MARK_RIGHTS).await?.surely("write to", root, "")?;
    root.remove_file(&test).await
}

/// Places a file.
pub(crate) async fn put(root: &impl Tree, file: &HttpFile) -> Result<(), ErrorKind> {
    // Whatever the root itself is, a link perhaps, is the host's choice; it only has to be there.
    if root.list("").await?.is_none() {
        return Err(io_failed("use", root.name(""))("it does not exist"));
    }
    for _ in 0..ATTEMPTS {
        let directory = make_directories(root, file).await?;
        let path = &file.path.as_str()[1..];
        match write(root, &directory, path, file.body.as_str()).await? {
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
    for directory in &directories {
        if !is_real_directory(root, directory).await? {
            return Ok(());
        }
    }
    let path = &file.path.as_str()[1..];
    if is_there(root, path, file).await? {
        root.remove_file(path).await?;
    }
    for directory in directories.iter().rev() {
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

async fn make_directories(root: &impl Tree, file: &HttpFile) -> Result<String, ErrorKind> {
    let mut deepest = String::new();
    for directory in directories(file) {
        if !is_real_directory(root, directory).await? {
            // Another process makes it as well, or has removed its parent: then writing fails, and starts over.
            if root.make_directory(directory).await? == Made::Done {
                root.set_directory_rights(directory, DIRECTORY_RIGHTS).await?;
                mark(root, directory).await?;
            }
        }
        directory.clone_into(&mut deepest);
    }
    Ok(deepest)
}

async fn mark(root: &impl Tree, directory: &str) -> Result<(), ErrorKind> {
    root.create(&format!("{directory}/{MARK}"), b"", MARK_RIGHTS).await.map(drop)
}

/// Removes a directory that we made if nothing is in it; returns whether it is gone.
async fn remove_if_ours(root: &impl Tree, directory: &str) -> Result<bool, ErrorKind> {
    let mark_path = format!("{directory}/{MARK}");
    if !root.look(&mark_path).await?.is_some_and(|found| found.kind == Kind::File) {
        return Ok(false);
    }
    match root.list(directory).await? {
        None => return Ok(true),
        Some(names) if names.iter().any(|(name, _)| name != MARK) => return Ok(false),
        Some(_) => {}
    }
    root.remove_file(&mark_path).await?;
    if root.remove_directory(directory).await? {
        return Ok(true);
    }
    // Somebody has just placed something in it; whoever removes that removes the directory as well.
    mark(root, directory).await?;
    Ok(false)
}

/// Writes a file that appears at once with its content, where nothing is.
async fn write(root: &impl Tree, directory: &str, path: &str, body: &str) -> Result<Made, ErrorKind> {
    let new = format!("{directory}/{}", unused_name(".certlife-new-")?);
    match root.create(&new, body.as_bytes(), FILE_RIGHTS).await? {
        Made::Done => {}
        Made::NoDirectory => return Ok(Made::NoDirectory),
        Made::Exists => return Err(io_failed("write", root.name(&new))("it is there already")),
    }
    root.label(&new).await?;
    match root.rename(&new, path).await? {
        Made::Done => root.save(directory).await.map(|()| Made::Done),
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
