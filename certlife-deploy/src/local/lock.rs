//! One change at a time in a directory of certificates, among all processes of the machine.
//!
//! The commands run under the lock as well, so that a failing reload is blamed on the version that caused it.

use std::{
    fs::{self, File, TryLockError},
    sync::Arc,
    time::Duration,
};

use certlife_core::{ErrorKind, Result};
use tokio::{sync::OwnedMutexGuard, time::Instant};

use super::settings::Plan;
use crate::versions::{in_the_way, io_failed};

/// Holds the lock until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
    _turn: OwnedMutexGuard<()>,
}

/// How long to wait for another process.
const PATIENCE: Duration = Duration::from_mins(2);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Opens the file to be locked, and makes the directory that it is in.
pub(super) fn open(plan: &Plan) -> Result<File, ErrorKind> {
    fs::create_dir_all(&plan.directory).map_err(io_failed("make", plan.directory.display()))?;
    let path = plan.directory.join(".lock");
    if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
        return Err(in_the_way(&path.display().to_string(), "is not the file that it was made as"));
    }
    let mut options = File::options();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&path).map_err(io_failed("open", path.display()))
}

/// Waits until the file can be locked.
pub(super) async fn acquire(file: File, turn: OwnedMutexGuard<()>) -> Result<Arc<Lock>, ErrorKind> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Arc::new(Lock { _file: file, _turn: turn })),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            Err(TryLockError::WouldBlock) => return Err(ErrorKind::Timeout),
            Err(TryLockError::Error(cause)) => {
                return Err(ErrorKind::Io(format!("cannot lock the directory: {cause}").into()));
            }
        }
    }
}
