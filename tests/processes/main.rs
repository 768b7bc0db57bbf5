//! Real processes over one SQLite file: killed at every point with SIGKILL, and sharing the work.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod child;
mod killed;
mod shared;
