//! The suite that every [`Deployer`](certlife_core::Deployer) passes, and a target in memory.
//!
//! A kind of target supplies a [`DeployFixture`], and [`deployer_conformance!`](crate::deployer_conformance)
//! turns every promise of the contract into a test of its own. What a target cannot do it has to refuse as
//! unsupported, and what a fixture cannot stage it has to say with the reason; nothing passes by not running.

pub mod directories;
mod fixture;
mod issuer;
mod memory;
mod memory_fixture;
pub mod suite;
#[cfg(test)]
mod tests;

pub use fixture::{DeployFixture, Seen};
pub use issuer::Issuer;
pub use memory::{Calls, MemoryTarget};
pub use memory_fixture::MemoryFixture;

pub use crate::dns::Cannot;

/// Makes one named test for every promise of a deployer that keeps certificates in directories of versions.
///
/// Takes an expression, which may await, for a [`DirectoryFixture`](directories::DirectoryFixture); as
/// [`deployer_conformance!`](crate::deployer_conformance) otherwise.
#[macro_export]
macro_rules! directory_conformance {
    ($fixture:expr) => {
        $crate::directory_promises! { @tests $fixture }
    };
}

/// Makes one named test for every promise of [`Deployer`](certlife_core::Deployer).
///
/// Takes an expression, which may await, for a [`DeployFixture`]; each test evaluates it anew. The crate that
/// uses it needs `tokio` with `macros`, `rt` and `time` among its dev-dependencies.
///
/// ```
/// # mod tests {
/// certlife_testkit::deployer_conformance!(my_target::Fake::start().await);
/// # mod my_target { pub struct Fake; impl Fake { pub async fn start() -> certlife_testkit::deploy::MemoryFixture {
/// # certlife_testkit::deploy::MemoryFixture::new() } } }
/// # }
/// ```
#[macro_export]
macro_rules! deployer_conformance {
    ($fixture:expr) => {
        $crate::deploy_promises! { @tests $fixture }
    };
}
