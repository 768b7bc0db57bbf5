//! Deployers for [certlife](https://docs.rs/certlife): local files behind the feature `local`, the host's own rustls
//! server behind the feature `rustls`, and end servers that call the host behind the feature `agent`.
//!
//! Each keeps the contract of [`certlife_core::Deployer`] and runs the same conformance suite.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "agent")]
pub mod agent;
#[cfg(feature = "local")]
pub mod files;
#[cfg(feature = "local")]
pub mod local;
#[cfg(feature = "rustls")]
pub mod rustls;

#[cfg(feature = "agent")]
pub use self::agent::{AgentHub, AgentTarget};
#[cfg(feature = "local")]
pub use self::local::Local;
#[cfg(feature = "rustls")]
pub use self::rustls::Rustls;

/// Adds the kinds of target of this crate that can be built from settings.
///
/// The host's own rustls server and the hub of its agents are not among them: they live in the host's process and are
/// handed over as they are.
#[cfg_attr(
    not(feature = "local"),
    expect(unused_variables, reason = "without vendors there is nothing to add")
)]
pub fn register(registry: &mut certlife_core::Registry) {
    #[cfg(feature = "local")]
    registry.register_target("local", "Local files", |settings: local::Settings, _| {
        Local::from_settings(settings)
    });
}
