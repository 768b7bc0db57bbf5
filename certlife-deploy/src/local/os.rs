//! What differs between systems: rights, durable directories, and the pointer to the live version.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use certlife_core::ErrorKind;

use crate::versions::{Rights, in_the_way, io_failed};

/// Moves a file or directory to where nothing is.
pub(super) fn rename_to_nothing(from: &Path, to: &Path) -> io::Result<()> {
    if fs::symlink_metadata(from)?.is_dir() {
        // Fails if anything but an empty directory is there, which nobody makes.
        return fs::rename(from, to);
    }
    // A second name is made where none is, or not at all; a rename would take what is there away.
    match fs::hard_link(from, to) {
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => Err(cause),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Err(cause),
        Ok(()) => fs::remove_file(from),
        // A file system without such names.
        Err(_) if fs::symlink_metadata(to).is_ok() => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(from, to),
    }
}

pub(super) use system::*;

#[cfg(unix)]
mod system {
    use std::os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, fchown,
        symlink,
    };

    use super::{ErrorKind, File, Path, Rights, fs, in_the_way, io, io_failed};

    /// Makes a file that nobody else can read, not even before it has its rights. Fails if something is there.
    pub(in super::super) fn create_private(path: &Path) -> io::Result<File> {
        File::options().write(true).create_new(true).mode(0o600).open(path)
    }

    pub(in super::super) fn set_file_rights(file: &File, rights: Rights) -> io::Result<()> {
        if rights.user.is_some() || rights.group.is_some() {
            fchown(file, rights.user, rights.group)?;
        }
        // After the owner, whose change takes bits away; and past the umask.
        file.set_permissions(fs::Permissions::from_mode(rights.mode))
    }

    /// Mode, user and group.
    #[expect(clippy::unnecessary_wraps, reason = "other systems have none of this")]
    pub(in super::super) fn owned(found: &fs::Metadata) -> Option<(u32, u32, u32)> {
        Some((found.mode(), found.uid(), found.gid()))
    }

    /// Makes a directory that nobody else can enter.
    pub(in super::super) fn create_private_directory(path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(path)
    }

    pub(in super::super) fn set_directory_rights(path: &Path, rights: Rights) -> io::Result<()> {
        if rights.group.is_some() {
            chown(path, None, rights.group)?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(rights.mode))
    }

    /// Makes the names in a directory survive a power cut.
    pub(in super::super) fn sync_directory(path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    pub(in super::super) fn is_executable(path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0)
    }

    /// Reads where the pointer leads; none if there is no pointer.
    pub(in super::super) fn read_pointer(path: &Path) -> Result<Option<String>, ErrorKind> {
        match fs::read_link(path) {
            Ok(target) => Ok(Some(target.to_string_lossy().into_owned())),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            // EINVAL: there is something else.
            Err(cause) if cause.kind() == io::ErrorKind::InvalidInput => {
                Err(in_the_way(&path.display().to_string(), "is not the symbolic link that it was made as"))
            }
            Err(cause) => Err(io_failed("read", path.display())(cause)),
        }
    }

    /// Makes a pointer at `path`, where nothing is.
    pub(in super::super) fn create_pointer(path: &Path, target: &str) -> io::Result<()> {
        symlink(target, path)
    }
}

#[cfg(not(unix))]
mod system {
    use super::{ErrorKind, File, Path, Rights, fs, in_the_way, io, io_failed};

    pub(in super::super) fn create_private(path: &Path) -> io::Result<File> {
        File::options().write(true).create_new(true).open(path)
    }

    /// Rights are inherited from the directory.
    pub(in super::super) fn set_file_rights(_: &File, _: Rights) -> io::Result<()> {
        Ok(())
    }

    pub(in super::super) fn owned(_: &fs::Metadata) -> Option<(u32, u32, u32)> {
        None
    }

    pub(in super::super) fn create_private_directory(path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    pub(in super::super) fn set_directory_rights(_: &Path, _: Rights) -> io::Result<()> {
        Ok(())
    }

    /// Directories cannot be opened as files here; the file system keeps their order itself.
    pub(in super::super) fn sync_directory(_: &Path) -> io::Result<()> {
        Ok(())
    }

    pub(in super::super) fn is_executable(path: &Path) -> bool {
        fs::metadata(path).is_ok_and(|found| found.is_file())
    }

    /// Symbolic links take a right that services lack, so the pointer is a file with the path in it.
    pub(in super::super) fn read_pointer(path: &Path) -> Result<Option<String>, ErrorKind> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Some(text.trim_end().to_owned())),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(_) if path.is_dir() => {
                Err(in_the_way(&path.display().to_string(), "is not the file that it was made as"))
            }
            Err(cause) => Err(io_failed("read", path.display())(cause)),
        }
    }

    pub(in super::super) fn create_pointer(path: &Path, target: &str) -> io::Result<()> {
        use io::Write as _;
        let mut file = create_private(path)?;
        file.write_all(target.as_bytes())?;
        file.sync_all()
    }
}
