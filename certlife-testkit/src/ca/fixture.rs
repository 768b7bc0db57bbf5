//! What an authority has to bring along to be tested.

use std::{future::Future, net::IpAddr, sync::Arc, time::Duration};

use certlife_core::{
    CertificateAuthority, DnsName, Identifier, Operation, Timestamp,
    ca::{OrderHandle, OrderIntent, OrderRequest},
    challenge::ChallengeResponse,
};
use rustls_pki_types::CertificateDer;

use super::Fault;

/// A provider, and a second view of the world behind it that does not go through the provider.
///
/// Each case of [`ca_conformance!`](crate::ca_conformance) gets a fixture of its own.
pub trait CaFixture: Send + Sync {
    /// A provider with no memory of earlier ones, as after a restart.
    fn ca(&self) -> Arc<dyn CertificateAuthority>;

    /// A host name that the authority would issue for.
    fn name(&self, label: &str) -> DnsName;

    /// An address that the authority would issue for, if it issues for any.
    fn address(&self) -> IpAddr;

    /// A request for a first certificate, with what this authority wants besides the identifiers, such as
    /// product and contacts.
    fn request(&self, identifiers: Vec<Identifier>) -> OrderRequest;

    /// Requests that `check` refuses, each with a word that the refusal holds, such as the field. At least
    /// one has an option that does not exist.
    fn bad_requests(&self) -> Vec<(OrderRequest, &'static str)>;

    /// The handle of an order that does not exist.
    fn unknown_handle(&self) -> OrderHandle;

    /// Texts that nothing may print: credentials and keys.
    fn secrets(&self) -> Vec<String>;

    /// The time by the provider's clock.
    fn now(&self) -> Timestamp;

    /// Lets about this much time pass by the provider's clock. Need not take as long by the wall clock.
    fn wait(&self, time: Duration) -> impl Future<Output = ()> + Send;

    /// The roots that its chains lead to, in DER.
    fn roots(&self) -> impl Future<Output = Vec<CertificateDer<'static>>> + Send;

    /// Puts in place what a challenge asks for. Returns whether it can do that for this kind.
    fn prove(
        &self,
        identifier: &Identifier,
        response: &ChallengeResponse,
    ) -> impl Future<Output = bool> + Send;

    /// Lets every proof for this identifier fail, now and later.
    fn disprove(&self, identifier: &Identifier) -> impl Future<Output = ()> + Send;

    /// Does what the order waits for and `decide` cannot do, such as the approval by the authority's staff.
    fn help(&self, handle: &OrderHandle) -> impl Future<Output = ()> + Send;

    /// What the authority's books say about an intent.
    fn booked(&self, intent: &OrderIntent) -> impl Future<Output = Booked> + Send;

    /// How many requests have reached the authority.
    fn requests(&self) -> u64;

    /// Lets `fault` befall the next request that carries `operation` out, not one that only prepares it.
    fn inject(&self, operation: Operation, fault: Fault);

    /// Why the fixture cannot do something; none if it can. A reason is a sentence for people.
    fn lacks(&self, ability: Ability) -> Option<&'static str>;
}

/// What the authority's books say about one intent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "fixtures build it")]
pub struct Booked {
    /// The orders placed.
    pub orders: usize,
    /// Those of them that cost money.
    pub paid: usize,
    /// The certificates issued.
    pub certificates: usize,
}

/// Something that not every fixture can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a fixture answers for each")]
pub enum Ability {
    /// [`Fault::LoseAnswer`].
    LoseAnswers,
    /// [`Fault::Throttle`].
    Throttle,
    /// [`Fault::Fail`].
    Fail,
    /// [`Fault::Garble`].
    Garble,
    /// [`Fault::Slow`].
    Slow,
    /// [`CaFixture::disprove`]. Only an authority that asks for no proof may lack it.
    RefuseProofs,
    /// Counting requests. Only an authority that sends none may lack it.
    CountRequests,
}
