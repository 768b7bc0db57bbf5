//! Deployers for [certlife](https://docs.rs/certlife): local files behind the feature `local`, Unix machines over SSH
//! behind the feature `ssh`, Windows machines behind the feature `windows`, end servers that call the host behind the
//! feature `agent`, and the host's own rustls server behind the feature `rustls`.
//!
//! Each keeps the contract of [`certlife_core::Deployer`] and runs the same conformance suite.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(feature = "agent", feature = "rustls"))]
mod accept;
#[cfg(feature = "agent")]
pub mod agent;
#[cfg(any(feature = "local", feature = "ssh"))]
pub mod files;
#[cfg(feature = "local")]
pub mod local;
#[cfg(feature = "remote")]
#[cfg_attr(not(feature = "ssh"), expect(dead_code, unused_imports, reason = "the deployers work through it"))]
pub mod remote;
#[cfg(feature = "rustls")]
pub mod rustls;
#[cfg(feature = "ssh")]
pub mod ssh;
#[cfg(any(feature = "local", feature = "ssh"))]
mod versions;
#[cfg(feature = "windows")]
pub mod windows;

#[cfg(feature = "agent")]
pub use self::agent::{AgentHub, AgentTarget};
#[cfg(feature = "local")]
pub use self::local::Local;
#[cfg(feature = "rustls")]
pub use self::rustls::Rustls;
#[cfg(feature = "ssh")]
pub use self::ssh::Ssh;
#[cfg(feature = "windows")]
pub use self::windows::Windows;

/// Adds the kinds of target of this crate that can be built from settings.
///
/// The host's own rustls server and the hub of its agents are not among them: they live in the host's process and are
/// handed over as they are.
#[cfg_attr(
    not(any(feature = "local", feature = "ssh", feature = "windows")),
    expect(unused_variables, reason = "without vendors there is nothing to add")
)]
pub fn register(registry: &mut certlife_core::Registry) {
    #[cfg(feature = "local")]
    registry.register_target("local", "Local files", |settings: local::Settings, _| {
        Local::from_settings(settings)
    });
    #[cfg(feature = "ssh")]
    registry.register_target("ssh", "Unix machine over SSH", |settings: ssh::Settings, context| {
        Ssh::from_settings(settings, std::sync::Arc::clone(&context.clock))
    });
    #[cfg(feature = "windows")]
    registry.register_target("windows", "Windows with IIS", |settings: windows::Settings, context| {
        Windows::from_settings(settings, std::sync::Arc::clone(&context.clock))
    });
}
