//! What the engine keeps: certificates, versions, orders, deployments and events.
//!
//! Every type here is stored as JSON and shown to hosts, so fields are only ever added, each with a default.

mod account_policy;
mod certificate;
mod deployment;
mod domain;
mod event;
mod order;
mod policy;
mod rollout;
mod version;
mod words;

pub use self::{
    account_policy::{AccountPolicy, DecidedBy, Selection},
    certificate::{
        Certificate, CertificateSpec, CertificateState, CertificateStatus, PendingDecision,
        PendingRevocation, RenewalSchedule, RenewalTrigger,
    },
    deployment::{Deployment, DeploymentState, Evidence},
    domain::{DomainRequest, DomainState, ManagedDomain},
    event::{Actor, Event, EventKind, Occurrence},
    order::{Order, OrderState, Publication, PublicationState, Request, RouteReason},
    policy::{
        DomainMapping, KeyChange, KeyPolicy, KeySource, RenewBefore, RenewalPolicy, Route, TargetKey,
        ValidationPolicy,
    },
    rollout::{HeldBy, Rollout, RolloutProgress, TargetReason},
    version::Version,
};
