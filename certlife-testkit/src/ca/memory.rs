//! A certificate authority in memory: the reference that the engine's tests and simulations run against.
//!
//! A clone is a provider after a restart: it shares the world behind it and remembers nothing else. For one
//! seed the same calls have the same outcome in whatever order they overlap, because each outcome follows
//! from the seed, the order and the count of calls about it. Only keys and signatures differ between runs.

mod builder;
#[cfg(test)]
mod conformance;
mod dice;
mod issue;
mod order;
#[cfg(test)]
mod teeth;
#[cfg(test)]
mod tests;
mod world;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use certlife_core::{
    AccountSummary, CertificateAuthority, Error, ErrorKind, Identifier, InputError, Operation, ProviderName,
    Result, Retry, Timestamp, VendorText,
    ca::{
        CaCapabilities, Catalog, Decision, DomainValidation, Found, ImportFilter, IssuedRef, OrderHandle,
        OrderIntent, OrderRef, OrderRequest, OrderSnapshot, Placement, RenewalWindow, Revocation, Signer,
    },
    challenge::{ChallengeId, Proof},
    store::{Cursor, Page},
};
use rustls_pki_types::CertificateDer;
use serde_json::json;

pub(crate) use self::issue::SubjectKey;
pub use self::{
    builder::MemoryCaBuilder,
    issue::{Issuer, Template},
    world::LedgerLine,
};
use self::{builder::Shared, world::World};
use super::Fault;

/// An authority that lives in memory. Cloning it is restarting it: the world behind it is shared.
///
/// ```
/// use std::sync::Arc;
///
/// use certlife_core::{SystemClock, challenge::ChallengeKind};
/// use certlife_testkit::ca::MemoryCa;
///
/// let ca = MemoryCa::builder(Arc::new(SystemClock::default()))
///     .challenges([ChallengeKind::DnsTxt])
///     .seed(7)
///     .build();
/// let restarted = Arc::new(ca.clone());
/// assert_eq!(ca.orders_placed(), 0);
/// # drop(restarted);
/// ```
#[derive(Clone)]
pub struct MemoryCa(Arc<Shared>);

impl MemoryCa {
    /// Starts an authority whose certificates are valid by `clock`.
    pub fn builder(clock: Arc<dyn certlife_core::Clock>) -> MemoryCaBuilder {
        MemoryCaBuilder::new(clock)
    }

    /// The root that its chains lead to, in DER. The chains leave it out.
    pub fn root(&self) -> &CertificateDer<'static> {
        self.0.issuer.root()
    }

    /// The root in PEM.
    pub fn root_pem(&self) -> String {
        self.0.issuer.root_pem()
    }

    /// Lets `fault` befall the next call of `operation`, or the next of any if it is none. Faults queue up.
    pub fn inject(&self, operation: Option<Operation>, fault: Fault) {
        self.0.world().faults.push_back((operation, fault));
    }

    /// Makes it unreachable from `start` until before `end`.
    pub fn down_between(&self, start: Timestamp, end: Timestamp) {
        self.0.world().down.push((start, end));
    }

    /// Lets every proof for `identifier` fail from now on, with these words.
    pub fn refuse(&self, identifier: Identifier, words: impl Into<String>) {
        self.0.world().refused.insert(identifier, words.into());
    }

    /// Takes a [refusal](Self::refuse) back.
    pub fn accept(&self, identifier: &Identifier) {
        self.0.world().refused.remove(identifier);
    }

    /// Refuses to revoke from now on, or revokes again.
    pub fn refuse_revocations(&self, refuse: bool) {
        self.0.world().refuses_revocations = refuse;
    }

    /// Wants every certificate that was issued so far renewed within `window`, as before a mass revocation.
    /// Shows only if it offers [renewal windows](MemoryCaBuilder::renewal_windows).
    pub fn hurry_renewals(&self, window: RenewalWindow) {
        let now = self.0.clock.now();
        self.0.world().hurry = Some((now, window));
    }

    /// How many orders were ever placed.
    pub fn orders_placed(&self) -> usize {
        self.0.world().order_count()
    }

    /// How many orders were placed under this reference of an intent. More than one is a duplicate.
    pub fn placed(&self, reference: &str) -> usize {
        self.0.world().count_of(reference)
    }

    /// The references under which more than one order was placed, with their number.
    pub fn duplicates(&self) -> BTreeMap<String, usize> {
        self.0.world().duplicates()
    }

    /// Every order that was ever placed, oldest first.
    pub fn ledger(&self) -> Vec<LedgerLine> {
        let now = self.0.clock.now();
        self.0.world().ledger(now)
    }

    /// How many requests reached it: calls that were refused locally do not count.
    pub fn requests(&self) -> u64 {
        self.0.world().requests.values().sum()
    }

    /// How many requests for `operation` reached it.
    pub fn requests_for(&self, operation: Operation) -> u64 {
        self.0.world().requests.get(&operation).copied().unwrap_or(0)
    }

    fn error(&self, operation: Operation, kind: ErrorKind) -> Error {
        Error::new(self.0.name.clone(), operation, kind)
    }

    fn unsupported(&self, operation: Operation, what: &'static str) -> Error {
        self.error(operation, ErrorKind::Unsupported(what.into()))
    }

    /// Carries out one request: what befalls it, then its effect, then what befalls the answer.
    async fn request<T>(
        &self,
        operation: Operation,
        subject: &str,
        effect: impl FnOnce(&mut World, &Shared, Timestamp) -> Result<T, ErrorKind> + Send,
    ) -> Result<T> {
        let shared = &*self.0;
        let fault = shared.world().arrive(operation, subject, &shared.plan, shared.clock.now());
        let wait = match fault {
            Some(Fault::Slow(time)) => time,
            _ => shared.plan.latency,
        };
        if !wait.is_zero() {
            shared.clock.sleep_until(shared.clock.now() + wait).await;
        }
        let now = shared.clock.now();
        if shared.world().is_down(now) {
            return Err(self.error(operation, ErrorKind::Unreachable));
        }
        match fault {
            Some(Fault::Throttle(pause)) => {
                let retry = pause.map_or(Retry::Backoff, Retry::After);
                return Err(self.error(operation, ErrorKind::RateLimited).retry_as(retry));
            }
            Some(Fault::Fail) => return Err(self.error(operation, ErrorKind::Unavailable)),
            Some(Fault::LoseAnswer | Fault::Garble | Fault::Slow(_)) | None => {}
        }
        let outcome = {
            let mut world = shared.world();
            *world.requests.entry(operation).or_default() += 1;
            effect(&mut world, shared, now)
        };
        let lost = match fault {
            Some(Fault::LoseAnswer) => ErrorKind::Timeout,
            Some(Fault::Garble) => ErrorKind::Protocol("this is not JSON".into()),
            _ => return outcome.map_err(|kind| self.error(operation, kind)),
        };
        // Orders and decisions may not be repeated blindly; everything else may.
        if matches!(operation, Operation::PlaceOrder | Operation::Decide) {
            let lost = self.error(operation, lost);
            return Err(self.error(operation, ErrorKind::Uncertain).because(lost));
        }
        Err(self.error(operation, lost))
    }

    /// Reads the order's number out of its handle.
    fn number(&self, operation: Operation, handle: &OrderHandle) -> Result<String> {
        let number = handle.0.get("order").and_then(serde_json::Value::as_str);
        number.map(str::to_owned).ok_or_else(|| self.error(operation, no_such_order()))
    }
}

fn no_such_order() -> ErrorKind {
    ErrorKind::NotFound("the order".into())
}

#[async_trait]
impl CertificateAuthority for MemoryCa {
    fn provider(&self) -> ProviderName {
        self.0.name.clone()
    }

    fn capabilities(&self) -> CaCapabilities {
        self.0.plan.capabilities.clone()
    }

    fn check(&self, request: &OrderRequest, catalog: Option<&Catalog>) -> Result<(), InputError> {
        self.0.plan.capabilities.check(request)?;
        if let Some(option) = request.options.as_object().and_then(|options| options.keys().next()) {
            return Err(InputError::Value {
                field: format!("options.{option}").into(),
                value: VendorText::new(&request.options[option].to_string()),
                rule: "this CA has no options".into(),
            });
        }
        match (&request.product, catalog) {
            (Some(product), Some(catalog)) if !catalog.products.iter().any(|known| known.id == *product) => {
                let known: Vec<_> = catalog.products.iter().map(|known| known.id.as_str()).collect();
                Err(InputError::Value {
                    field: "product".into(),
                    value: VendorText::new(product),
                    rule: format!("this CA offers {}", known.join(", ")).into(),
                })
            }
            _ => Ok(()),
        }
    }

    async fn probe(&self) -> Result<AccountSummary> {
        self.request(Operation::Probe, "", |world, shared, _| {
            Ok(AccountSummary {
                identity: Some(shared.name.as_str().into()),
                details: [("orders".to_owned(), VendorText::new(&world.order_count().to_string()))].into(),
                warnings: Vec::new(),
            })
        })
        .await
    }

    async fn catalog(&self) -> Result<Catalog> {
        let Some(catalog) = &self.0.plan.catalog else {
            return Err(self.unsupported(Operation::Catalog, "a catalog"));
        };
        self.request(Operation::Catalog, "", |_, _, _| Ok(catalog.clone())).await
    }

    async fn place(&self, intent: &OrderIntent) -> Result<OrderSnapshot> {
        let plan = &self.0.plan;
        plan.capabilities.require(self.0.name.clone(), &intent.request)?;
        let known = intent.csr.key_algorithm().filter(|key| plan.capabilities.key_algorithms.contains(key));
        if known.is_none() {
            return Err(self.unsupported(Operation::PlaceOrder, "the key in the request"));
        }
        self.request(Operation::PlaceOrder, &intent.reference, |world, shared, now| {
            world.place(shared, intent, now)
        })
        .await
    }

    async fn find(&self, intent: &OrderIntent) -> Result<Found> {
        if !self.0.plan.findable {
            return Ok(Found::CannotTell);
        }
        self.request(Operation::FindOrder, &intent.reference, |world, shared, now| {
            Ok(world.find(&intent.reference, &shared.plan, now))
        })
        .await
    }

    async fn respond(&self, order: &OrderRef, ready: &[ChallengeId]) -> Result<OrderSnapshot> {
        let number = self.number(Operation::Respond, &order.handle)?;
        self.request(Operation::Respond, &number, |world, shared, now| {
            world.respond(shared, &number, ready, now)
        })
        .await
    }

    async fn poll(&self, order: &OrderRef) -> Result<OrderSnapshot> {
        let number = self.number(Operation::PollOrder, &order.handle)?;
        self.request(Operation::PollOrder, &number, |world, shared, now| world.poll(shared, &number, now))
            .await
    }

    async fn decide(&self, order: &OrderRef, decision: Decision) -> Result<OrderSnapshot> {
        if !self.0.plan.capabilities.decisions.contains(&decision) {
            return Err(self.unsupported(Operation::Decide, "this decision"));
        }
        let number = self.number(Operation::Decide, &order.handle)?;
        self.request(Operation::Decide, &number, |world, shared, now| {
            world.decide(shared, &number, decision, now)
        })
        .await
    }

    async fn approvers(&self, domain: &Identifier, _: Option<&str>) -> Result<Vec<String>> {
        if !self.0.plan.capabilities.approvers {
            return Err(self.unsupported(Operation::ListApprovers, "choosing an approver"));
        }
        self.request(Operation::ListApprovers, &domain.to_string(), |_, _, _| {
            let base = domain.base_name().ok_or_else(|| ErrorKind::NotFound("a mailbox".into()))?;
            // BR §3.2.2.4.4.
            let boxes = ["admin", "administrator", "webmaster", "hostmaster", "postmaster"];
            Ok(boxes.map(|mailbox| format!("{mailbox}@{base}")).into())
        })
        .await
    }

    async fn revalidate(
        &self,
        order: &OrderRef,
        identifier: &Identifier,
        proof: &Proof,
    ) -> Result<OrderSnapshot> {
        let capabilities = &self.0.plan.capabilities;
        if !capabilities.revalidation || !capabilities.challenges.contains(&proof.kind) {
            return Err(self.unsupported(Operation::Revalidate, "this proof in the same order"));
        }
        let number = self.number(Operation::Revalidate, &order.handle)?;
        self.request(Operation::Revalidate, &number, |world, shared, now| {
            world.revalidate(shared, &number, identifier, proof, now)
        })
        .await
    }

    async fn validate_domain(&self, domain: &Identifier, proof: &Proof) -> Result<DomainValidation> {
        let capabilities = &self.0.plan.capabilities;
        if !capabilities.domain_challenges.contains(&proof.kind) {
            return Err(self.unsupported(Operation::ValidateDomain, "this proof of a domain"));
        }
        self.request(Operation::ValidateDomain, &domain.to_string(), |world, shared, now| {
            world.validate_domain(shared, domain, proof, now)
        })
        .await
    }

    async fn revoke(&self, revocation: &Revocation, _key: Option<&dyn Signer>) -> Result<()> {
        if !self.0.plan.capabilities.revocation {
            return Err(self.unsupported(Operation::Revoke, "revocation"));
        }
        let fingerprint = revocation.issued.chain.fingerprint();
        self.request(Operation::Revoke, &fingerprint.to_string(), |world, _, _| {
            world.revoke(fingerprint, revocation.reason)
        })
        .await
    }

    async fn orders(&self, filter: &ImportFilter, page: Option<Cursor>) -> Result<Page<OrderSnapshot>> {
        if !self.0.plan.capabilities.import {
            return Err(self.unsupported(Operation::ListOrders, "listing orders"));
        }
        self.request(Operation::ListOrders, "", |world, shared, now| {
            Ok(world.list(filter, page.as_ref(), &shared.plan, now))
        })
        .await
    }

    async fn renewal_window(&self, issued: &IssuedRef) -> Result<Option<RenewalWindow>> {
        if !self.0.plan.capabilities.renewal_info {
            return Ok(None);
        }
        let fingerprint = issued.chain.fingerprint();
        self.request(Operation::RenewalInfo, &fingerprint.to_string(), |world, shared, _| {
            world.renewal_window(&shared.plan, fingerprint)
        })
        .await
    }
}

impl fmt::Debug for MemoryCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryCa").field("name", &self.0.name).finish_non_exhaustive()
    }
}

fn handle(number: &str) -> OrderHandle {
    OrderHandle(json!({ "order": number }))
}

/// What every CA of this kind has in common, from the builder.
#[derive(Debug, Clone)]
struct Plan {
    capabilities: CaCapabilities,
    catalog: Option<Catalog>,
    seed: u64,
    approval: bool,
    polls_to_check: u32,
    polls_to_issue: u32,
    validity: Duration,
    backdate: Duration,
    order_lifetime: Duration,
    renewal_windows: Option<(f64, f64)>,
    failure_rate: f64,
    lost_answer_rate: f64,
    latency: Duration,
    ask_again: Option<Duration>,
    /// How long an order is sold for; none means for one certificate.
    term: Option<Duration>,
    page_size: usize,
    findable: bool,
}

impl Plan {
    fn is_paid(&self) -> bool {
        self.capabilities.placement == Placement::Paid
    }
}
