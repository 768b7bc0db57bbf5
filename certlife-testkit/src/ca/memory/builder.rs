//! How a [`MemoryCa`] is set up.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use certlife_core::{
    Clock, Identifier, KeyAlgorithm, ProviderName,
    ca::{CaCapabilities, Catalog, Decision, Placement, PurposeKind},
    challenge::{ChallengeKind, ChallengeResponse},
};

use super::{MemoryCa, Plan, issue::Issuer, world::World};

/// Looks whether what a challenge asks for is in place; the error is the CA's words.
pub(super) type Validator =
    Arc<dyn Fn(&Identifier, &ChallengeResponse) -> Result<(), String> + Send + Sync + 'static>;

/// What the clones of an authority share.
pub(super) struct Shared {
    pub(super) name: ProviderName,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) plan: Plan,
    pub(super) issuer: Issuer,
    pub(super) validator: Option<Validator>,
    world: Mutex<World>,
}

impl Shared {
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        // A panic in one test thread leaves the world as it was between two calls.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a [`MemoryCa`]. Without further settings it is free, asks for no proof and issues at once.
#[must_use]
pub struct MemoryCaBuilder {
    name: ProviderName,
    clock: Arc<dyn Clock>,
    plan: Plan,
    validator: Option<Validator>,
}

impl MemoryCaBuilder {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let capabilities = CaCapabilities {
            purposes: [PurposeKind::New, PurposeKind::Renewal, PurposeKind::Reissue].into(),
            challenges: BTreeSet::new(),
            wildcards: true,
            addresses: true,
            max_identifiers: 100,
            key_algorithms: KeyAlgorithm::ALL.iter().copied().collect(),
            placement: Placement::Free,
            settles_in: Duration::ZERO,
            decisions: [Decision::Cancel].into(),
            approvers: false,
            revalidation: false,
            domain_challenges: [].into(),
            catalog: false,
            import: true,
            revocation: true,
            renewal_info: false,
        };
        let plan = Plan {
            capabilities,
            catalog: None,
            seed: 0,
            approval: false,
            polls_to_check: 0,
            polls_to_issue: 0,
            validity: Duration::from_hours(45 * 24),
            backdate: Duration::ZERO,
            order_lifetime: Duration::from_hours(30 * 24),
            renewal_windows: None,
            failure_rate: 0.0,
            lost_answer_rate: 0.0,
            latency: Duration::ZERO,
            ask_again: None,
            term: None,
            page_size: 100,
            findable: true,
        };
        Self { name: ProviderName::new("memory"), clock, plan, validator: None }
    }

    /// Names the provider in errors. Defaults to `memory`.
    pub fn name(mut self, name: &'static str) -> Self {
        self.name = ProviderName::new(name);
        self
    }

    /// Decides all that is left to chance. Defaults to 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.plan.seed = seed;
        self
    }

    /// Asks for a proof of every identifier, by any of these. Defaults to none.
    ///
    /// Wildcards and addresses are issued only if one of them suits.
    pub fn challenges(mut self, kinds: impl IntoIterator<Item = ChallengeKind>) -> Self {
        let capabilities = &mut self.plan.capabilities;
        capabilities.challenges = kinds.into_iter().collect();
        if !capabilities.domain_challenges.is_empty() {
            capabilities.domain_challenges = capabilities.challenges.clone();
        }
        self
    }

    /// Looks at each proof with `validator`, whose error becomes the CA's words. It must not call the
    /// authority itself. Defaults to taking the subscriber's word.
    pub fn validator(
        mut self,
        validator: impl Fn(&Identifier, &ChallengeResponse) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.validator = Some(Arc::new(validator));
        self
    }

    /// Sells orders for this long, within which certificates are reissued. Defaults to the life of one certificate.
    pub fn term(mut self, term: Duration) -> Self {
        self.plan.term = Some(term);
        self
    }

    /// Lists approvers, takes another proof in the same order, and validates domains apart from orders, as commercial
    /// CAs do. Defaults to no.
    pub fn order_desk(mut self, offered: bool) -> Self {
        let capabilities = &mut self.plan.capabilities;
        capabilities.approvers = offered;
        capabilities.revalidation = offered;
        capabilities.domain_challenges = if offered { capabilities.challenges.clone() } else { [].into() };
        self
    }

    /// Checks a proof only at the poll after this many. Defaults to 0: within `respond`.
    pub fn polls_to_check(mut self, polls: u32) -> Self {
        self.plan.polls_to_check = polls;
        self
    }

    /// Issues only at the poll after this many. Defaults to 0: as soon as nothing else is wanted.
    pub fn polls_to_issue(mut self, polls: u32) -> Self {
        self.plan.polls_to_issue = polls;
        self
    }

    /// Waits for an approval before it issues. Defaults to no.
    pub fn approval(mut self, wanted: bool) -> Self {
        self.plan.approval = wanted;
        for decision in [Decision::Approve, Decision::Decline] {
            if wanted {
                self.plan.capabilities.decisions.insert(decision);
            } else {
                self.plan.capabilities.decisions.remove(&decision);
            }
        }
        self
    }

    /// Takes exactly these decisions. Defaults to `Cancel`, and `Approve` and `Decline` with
    /// [approval](Self::approval).
    pub fn decisions(mut self, decisions: impl IntoIterator<Item = Decision>) -> Self {
        self.plan.capabilities.decisions = decisions.into_iter().collect();
        self
    }

    /// Takes exactly these purposes. Defaults to all.
    pub fn purposes(mut self, purposes: impl IntoIterator<Item = PurposeKind>) -> Self {
        self.plan.capabilities.purposes = purposes.into_iter().collect();
        self
    }

    /// Takes money for orders, reissues excepted. Defaults to free.
    pub fn placement(mut self, placement: Placement) -> Self {
        self.plan.capabilities.placement = placement;
        self
    }

    /// Whether it can tell if an order exists. Defaults to yes.
    pub fn findable(mut self, findable: bool) -> Self {
        self.plan.findable = findable;
        self
    }

    /// Shows an order only after this time to whoever looks for it. Defaults to at once.
    pub fn settles_in(mut self, time: Duration) -> Self {
        self.plan.capabilities.settles_in = time;
        self
    }

    /// How long certificates are valid, and at most. Defaults to 45 days.
    pub fn validity(mut self, validity: Duration) -> Self {
        self.plan.validity = validity;
        self
    }

    /// Dates certificates back by this much. Defaults to zero, so that tests reckon in round numbers.
    pub fn backdate(mut self, backdate: Duration) -> Self {
        self.plan.backdate = backdate;
        self
    }

    /// Gives an order up that is not issued after this long. Defaults to 30 days.
    pub fn order_lifetime(mut self, lifetime: Duration) -> Self {
        self.plan.order_lifetime = lifetime;
        self
    }

    /// Suggests to renew between these fractions of the validity period, such as 0.6 and 0.7 (RFC 9773).
    /// Defaults to suggesting nothing.
    pub fn renewal_windows(mut self, from: f64, to: f64) -> Self {
        self.plan.renewal_windows = Some((from, to));
        self.plan.capabilities.renewal_info = true;
        self
    }

    /// The most identifiers in one certificate. Defaults to 100.
    pub fn max_identifiers(mut self, limit: usize) -> Self {
        self.plan.capabilities.max_identifiers = limit;
        self
    }

    /// Whether it issues for wildcards. Defaults to yes.
    pub fn wildcards(mut self, issues: bool) -> Self {
        self.plan.capabilities.wildcards = issues;
        self
    }

    /// Whether it issues for IP addresses. Defaults to yes.
    pub fn addresses(mut self, issues: bool) -> Self {
        self.plan.capabilities.addresses = issues;
        self
    }

    /// Certifies exactly these keys. Defaults to all.
    pub fn key_algorithms(mut self, algorithms: impl IntoIterator<Item = KeyAlgorithm>) -> Self {
        self.plan.capabilities.key_algorithms = algorithms.into_iter().collect();
        self
    }

    /// Shows this catalog. Defaults to having none.
    pub fn catalog(mut self, catalog: Catalog) -> Self {
        self.plan.catalog = Some(catalog);
        self.plan.capabilities.catalog = true;
        self
    }

    /// Whether its orders can be listed. Defaults to yes.
    pub fn import(mut self, lists: bool) -> Self {
        self.plan.capabilities.import = lists;
        self
    }

    /// Whether it revokes. Defaults to yes.
    pub fn revocation(mut self, revokes: bool) -> Self {
        self.plan.capabilities.revocation = revokes;
        self
    }

    /// Lists this many orders a page. Defaults to 100.
    pub fn page_size(mut self, size: usize) -> Self {
        self.plan.page_size = size.max(1);
        self
    }

    /// Lets this share of calls, from 0 to 1, fail without effect: throttled or unavailable. Defaults to 0.
    pub fn failure_rate(mut self, share: f64) -> Self {
        self.plan.failure_rate = share;
        self
    }

    /// Loses the answers to this share of calls, from 0 to 1. Defaults to 0.
    pub fn lost_answer_rate(mut self, share: f64) -> Self {
        self.plan.lost_answer_rate = share;
        self
    }

    /// Takes this long for every call, by its clock. Defaults to no time at all.
    pub fn latency(mut self, latency: Duration) -> Self {
        self.plan.latency = latency;
        self
    }

    /// Says in unfinished snapshots when to ask again. Defaults to not saying.
    pub fn ask_again(mut self, pause: Duration) -> Self {
        self.plan.ask_again = Some(pause);
        self
    }

    /// Makes the authority, with a root and an intermediate of its own.
    ///
    /// # Panics
    ///
    /// If the cryptographic library has no source of randomness.
    pub fn build(mut self) -> MemoryCa {
        let capabilities = &mut self.plan.capabilities;
        let suits = |sample: &Identifier| {
            capabilities.challenges.is_empty()
                || capabilities.challenges.iter().any(|kind| kind.suits(sample))
        };
        let wildcard = "*.example.com".parse().is_ok_and(|sample| suits(&sample));
        let address = "192.0.2.1".parse().is_ok_and(|sample| suits(&sample));
        capabilities.wildcards &= wildcard;
        capabilities.addresses &= address;
        MemoryCa(Arc::new(Shared {
            issuer: Issuer::new(self.name.as_str()),
            name: self.name,
            clock: self.clock,
            plan: self.plan,
            validator: self.validator,
            world: Mutex::default(),
        }))
    }
}

impl fmt::Debug for MemoryCaBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryCaBuilder").field("plan", &self.plan).finish_non_exhaustive()
    }
}
