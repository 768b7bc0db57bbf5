//! nginx, which each test starts with a configuration of its own.

use std::path::PathBuf;

use serde::Deserialize;

/// Where the program is.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct Nginx {
    /// The program.
    pub program: PathBuf,
}
