//! End servers that need no inbound port: a program there, the agent, calls the host, waits for work, does it with the
//! deployers of its own configuration, and reports.
//!
//! The host mounts an [`AgentHub`] and adds each block of an agent's configuration as a target; the agent's program runs an
//! [`AgentWorker`]. Enrolled with an invitation that is good once, an agent speaks by mutual TLS with a certificate of
//! the hub's own CA, and renews it through the hub. Work is stored before anybody hears of it, and so are outcomes until
//! they are reported, so that either side can restart at any time.
//!
//! The agent does what its own configuration allows and nothing else: the host says which block is meant, never a path, a
//! command or an address.

mod authority;
mod fault;
mod hub;
mod listener;
mod record;
mod service;
mod target;
#[cfg(test)]
mod tests;
mod wire;
mod worker;

use certlife_core::ProviderName;

pub use self::{
    hub::{AgentHub, AgentHubBuilder, AgentStatus},
    listener::AgentListener,
    service::PeerCertificate,
    target::AgentTarget,
    worker::{AgentWorker, AgentWorkerBuilder},
};

const AGENT: ProviderName = ProviderName::new("agent");
/// What an invitation begins with: what it is for, and the version of the protocol.
const TOKEN_PREFIX: &str = "certlife-agent-1";
