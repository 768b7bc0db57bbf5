//! The suite that every [`DnsProvider`](certlife_core::DnsProvider) passes, and DNS in memory.
//!
//! A vendor supplies a [`DnsFixture`], and [`dns_conformance!`](crate::dns_conformance) turns every promise
//! of the contract into a test of its own. What a fixture cannot stage it has to say, with the reason; the
//! suite then asserts what must hold instead, so that nothing passes by not running.

mod account;
mod fixture;
mod memory;
mod memory_fixture;
pub mod suite;
#[cfg(test)]
mod tests;

pub use account::{Calls, MemoryAccount};
pub use fixture::{Cannot, Change, DnsFixture};
pub use memory::{MemoryDns, ServerFault};
pub use memory_fixture::MemoryFixture;

/// Makes one named test for every promise of [`DnsProvider`](certlife_core::DnsProvider).
///
/// Takes an expression, which may await, for a [`DnsFixture`]; each test evaluates it anew. The crate that
/// uses it needs `tokio` with `macros` and `rt` among its dev-dependencies.
///
/// ```
/// # mod tests {
/// certlife_testkit::dns_conformance!(my_vendor::Fake::start().await);
/// # mod my_vendor { pub struct Fake; impl Fake { pub async fn start() -> certlife_testkit::dns::MemoryFixture {
/// # certlife_testkit::dns::MemoryFixture::new() } } }
/// # }
/// ```
#[macro_export]
macro_rules! dns_conformance {
    ($fixture:expr) => {
        $crate::dns_promises! { @tests $fixture }
    };
}
