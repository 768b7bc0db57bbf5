//! The engine: it names no vendor, and every step is read → decide → store the intent → act → store the outcome.

mod accounts;
mod adopt;
mod audit;
mod backoff;
mod builder;
mod catalog;
mod certificate;
mod commands;
mod context;
mod deployment;
mod explain;
mod feed;
mod issue;
mod order;
mod order_desk;
mod principal;
mod publish;
mod queries;
mod renewal;
mod revocation;
mod routes;
mod wish;
mod worker;

use std::{fmt, sync::Arc, time::Duration};

pub(crate) use self::context::Context;
pub use self::{
    accounts::{CaOptions, DnsOptions, TargetOptions, TlsEndpoint},
    audit::RenewalReport,
    builder::EngineBuilder,
    explain::{DeploymentStatus, Explanation, OrderStatus, ValidationStatus},
    order_desk::ImportReport,
    principal::Principal,
    queries::{AccountInfo, DnsCheck, PendingPublication, PrivateExport},
    worker::Pass,
};

use crate::{seal::KeyRing, store::Store};

/// Runs the whole life of the certificates in one store.
///
/// Cheap to clone; every command and query may be called at once from any task. Several engines, in one
/// process or many, may share a store: leases see to it that a step runs once.
///
/// Dropping the future of a command leaves the store as it was or as it should be, never in between. What the
/// engine does by itself happens in [`run`](Self::run) or [`pass`](Self::pass) and nowhere else.
#[derive(Clone)]
pub struct Engine {
    context: Arc<Context>,
}

impl Engine {
    /// Starts building an engine over a store, with a key ring that seals what the store must not see.
    pub fn builder(store: Arc<dyn Store>, keyring: Arc<dyn KeyRing>) -> EngineBuilder {
        EngineBuilder::new(store, keyring)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("worker", &self.context.worker).finish_non_exhaustive()
    }
}

/// How an engine works. Every duration is of the engine's [`Clock`](crate::Clock).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EngineSettings {
    /// The most steps at once. Defaults to 64.
    pub concurrency: usize,
    /// How long a lease lasts; it is extended while a step runs. Defaults to a minute.
    pub lease: Duration,
    /// Waits up to this long happen inside a step; longer ones are stored. Defaults to five seconds.
    pub linger: Duration,
    /// How often work of other engines is looked for. Defaults to ten seconds.
    pub poll: Duration,
    /// How long steps may go on after the shutdown signal. Defaults to 30 seconds.
    pub grace: Duration,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            concurrency: 64,
            lease: Duration::from_mins(1),
            linger: Duration::from_secs(5),
            poll: Duration::from_secs(10),
            grace: Duration::from_secs(30),
        }
    }
}
