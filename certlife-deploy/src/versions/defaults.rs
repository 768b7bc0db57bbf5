//! What settings of version directories are when a host says nothing, and how long its commands may take.

use std::time::Duration;

use certlife_core::{InputError, Result};

pub(crate) fn key_mode() -> String {
    "0600".to_owned()
}

pub(crate) fn certificate_mode() -> String {
    "0644".to_owned()
}

pub(crate) fn directory_mode() -> String {
    "0755".to_owned()
}

pub(crate) fn keep() -> usize {
    3
}

pub(crate) fn command_timeout() -> u64 {
    60
}

/// Checks the setting `command_timeout_seconds`.
pub(crate) fn check_command_timeout(seconds: u64) -> Result<Duration, InputError> {
    if (1..=600).contains(&seconds) {
        return Ok(Duration::from_secs(seconds));
    }
    Err(InputError::setting("command_timeout_seconds", "use 1 to 600 seconds"))
}

/// Whole seconds, rounded up.
pub(crate) fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}
