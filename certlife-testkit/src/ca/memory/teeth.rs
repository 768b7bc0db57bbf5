//! The suite bites: each promise, broken on purpose, fails the case that holds it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use certlife_core::{
    AccountSummary, CertificateAuthority, Chain, Error, ErrorKind, Identifier, InputError, Operation,
    ProviderName, Result, Retry,
    ca::{
        CaCapabilities, Catalog, Decision, DomainValidation, Found, ImportFilter, IssuedRef, OrderIntent,
        OrderRef, OrderRequest, OrderSnapshot, Placement, RenewalWindow, Revocation, Signer, Stage,
    },
    challenge::{ChallengeId, ChallengeKind, Proof},
    store::{Cursor, Page},
};

use super::{MemoryCa, conformance::Fixture};
use crate::ca::{CaFixture, suite};

/// A promise that is not kept.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Flaw {
    RemembersInMemory,
    PlacesWhenAsked,
    RepeatsPaidOrders,
    OverlooksOrders,
    LeavesIntermediatesOut,
    DeniesCapabilities,
    LosesRetryAfter,
    StopsAtFaults,
    RefusesRepetition,
    RefusesSecondRevocation,
    ListsInCircles,
    IgnoresFilters,
    HidesTheReason,
    TakesEveryOption,
    PrintsItsKey,
    InventsOrders,
}

struct Flawed {
    ca: MemoryCa,
    flaw: Flaw,
    used: AtomicBool,
    secret: String,
}

impl Flawed {
    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    fn error(operation: Operation, kind: ErrorKind) -> Error {
        Error::new(ProviderName::new("flawed"), operation, kind)
    }

    fn spoil(&self, mut snapshot: OrderSnapshot) -> OrderSnapshot {
        if self.has(Flaw::LeavesIntermediatesOut) {
            let leaf = snapshot.certificate.map(|chain| Chain::from_ders([chain.leaf().to_vec()]).unwrap());
            snapshot.certificate = leaf;
        }
        if self.has(Flaw::HidesTheReason) && snapshot.stage == Stage::Rejected {
            (snapshot.message, snapshot.authorizations) = (None, None);
        }
        snapshot
    }

    fn spoil_error(&self, error: Error) -> Error {
        if self.has(Flaw::LosesRetryAfter) && matches!(error.retry(), Retry::After(_)) {
            return error.retry_as(Retry::Backoff);
        }
        if self.has(Flaw::StopsAtFaults) {
            return error.retry_as(Retry::Never);
        }
        error
    }
}

impl std::fmt::Debug for Flawed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.has(Flaw::PrintsItsKey) { &self.secret } else { "Flawed" })
    }
}

#[async_trait]
impl CertificateAuthority for Flawed {
    fn provider(&self) -> ProviderName {
        self.ca.provider()
    }

    fn capabilities(&self) -> CaCapabilities {
        let real = self.ca.capabilities();
        if self.has(Flaw::DeniesCapabilities) { CaCapabilities { wildcards: false, ..real } } else { real }
    }

    fn check(&self, request: &OrderRequest, catalog: Option<&Catalog>) -> Result<(), InputError> {
        if self.has(Flaw::TakesEveryOption) { Ok(()) } else { self.ca.check(request, catalog) }
    }

    async fn probe(&self) -> Result<AccountSummary> {
        self.ca.probe().await
    }

    async fn catalog(&self) -> Result<Catalog> {
        self.ca.catalog().await
    }

    async fn place(&self, intent: &OrderIntent) -> Result<OrderSnapshot> {
        self.used.store(true, Ordering::SeqCst);
        match self.ca.place(intent).await {
            Err(error) if self.has(Flaw::RepeatsPaidOrders) && *error.kind() == ErrorKind::Uncertain => {
                self.ca.place(intent).await
            }
            outcome => outcome.map(|snapshot| self.spoil(snapshot)).map_err(|error| self.spoil_error(error)),
        }
    }

    async fn find(&self, intent: &OrderIntent) -> Result<Found> {
        match self.ca.find(intent).await? {
            Found::Nothing if self.has(Flaw::PlacesWhenAsked) => {
                self.ca.place(intent).await.map(|placed| Found::Order(Box::new(placed)))
            }
            _ if self.has(Flaw::OverlooksOrders) => Ok(Found::Nothing),
            found => Ok(found),
        }
    }

    async fn respond(&self, order: &OrderRef, ready: &[ChallengeId]) -> Result<OrderSnapshot> {
        let before = self.ca.poll(order).await?;
        if self.has(Flaw::RefusesRepetition) && before.stage == Stage::Issued {
            return Err(Self::error(Operation::Respond, ErrorKind::NotNow("it is issued".into())));
        }
        self.ca.respond(order, ready).await.map(|snapshot| self.spoil(snapshot))
    }

    async fn poll(&self, order: &OrderRef) -> Result<OrderSnapshot> {
        if self.has(Flaw::RemembersInMemory) && !self.used.load(Ordering::SeqCst) {
            return Err(Self::error(Operation::PollOrder, ErrorKind::NotFound("the order".into())));
        }
        match self.ca.poll(order).await {
            Err(error) if self.has(Flaw::InventsOrders) && matches!(error.kind(), ErrorKind::NotFound(_)) => {
                Ok(OrderSnapshot::new(order.handle.clone(), Stage::Processing))
            }
            outcome => outcome.map(|snapshot| self.spoil(snapshot)).map_err(|error| self.spoil_error(error)),
        }
    }

    async fn decide(&self, order: &OrderRef, decision: Decision) -> Result<OrderSnapshot> {
        self.ca.decide(order, decision).await
    }

    async fn approvers(&self, domain: &Identifier, product: Option<&str>) -> Result<Vec<String>> {
        self.ca.approvers(domain, product).await
    }

    async fn revalidate(
        &self,
        order: &OrderRef,
        identifier: &Identifier,
        proof: &Proof,
    ) -> Result<OrderSnapshot> {
        self.ca.revalidate(order, identifier, proof).await
    }

    async fn validate_domain(&self, domain: &Identifier, proof: &Proof) -> Result<DomainValidation> {
        self.ca.validate_domain(domain, proof).await
    }

    async fn revoke(&self, revocation: &Revocation, key: Option<&dyn Signer>) -> Result<()> {
        let fingerprint = revocation.issued.chain.fingerprint();
        let mut ledger = self.ca.ledger().into_iter();
        let line = ledger.find(|line| line.fingerprint == Some(fingerprint));
        if self.has(Flaw::RefusesSecondRevocation) && line.is_some_and(|line| line.revoked.is_some()) {
            return Err(Self::error(Operation::Revoke, ErrorKind::Rejected("already revoked".into())));
        }
        self.ca.revoke(revocation, key).await
    }

    async fn orders(&self, filter: &ImportFilter, page: Option<Cursor>) -> Result<Page<OrderSnapshot>> {
        if self.has(Flaw::IgnoresFilters) {
            return self.ca.orders(&ImportFilter::default(), page).await;
        }
        let mut found = self.ca.orders(filter, page).await?;
        if self.has(Flaw::ListsInCircles) {
            found.next = Some(Cursor { value: String::new(), id: String::new() });
        }
        Ok(found)
    }

    async fn renewal_window(&self, issued: &IssuedRef) -> Result<Option<RenewalWindow>> {
        self.ca.renewal_window(issued).await
    }
}

/// A paid authority with proofs and one flaw.
fn flawed(flaw: Flaw) -> impl CaFixture {
    let kinds = [ChallengeKind::DnsTxt];
    Fixture::new(|builder| builder.placement(Placement::Paid).challenges(kinds).polls_to_issue(1))
        .wrapped(move |ca, secret| Arc::new(Flawed { ca, flaw, used: AtomicBool::new(false), secret }))
}

macro_rules! bites {
    ($($name:ident: $flaw:ident fails $case:ident with $words:literal,)*) => {$(
        #[tokio::test]
        #[should_panic(expected = $words)]
        async fn $name() {
            suite::$case(&flawed(Flaw::$flaw)).await;
        }
    )*};
}

bites! {
    memory: RemembersInMemory fails a_stored_handle_suffices_for_a_new_provider with "NotFound",
    find_that_places: PlacesWhenAsked fails an_order_that_was_never_placed_is_not_found with "never placed",
    blind_repetition: RepeatsPaidOrders fails a_lost_place_answer_is_found_again with "repeated blindly",
    oversight: OverlooksOrders fails a_lost_place_answer_is_found_again with "overlooked",
    half_a_chain: LeavesIntermediatesOut fails an_order_is_issued_for_its_key_and_names with "BadCertificate",
    denial: DeniesCapabilities fails wildcards_are_issued_or_refused_unsent with "a wildcard",
    lost_pause: LosesRetryAfter fails a_throttled_call_says_when_to_call_again with "the pause is missing",
    early_end: StopsAtFaults fails a_fault_of_the_authority_may_pass with "for good",
    no_repetition: RefusesRepetition fails responding_and_polling_may_be_repeated_in_every_stage with "NotNow",
    second_revocation: RefusesSecondRevocation fails revoking_twice_is_success with "already revoked",
    circle: ListsInCircles fails a_listing_shows_every_order_once_and_ends with "does not end",
    no_filter: IgnoresFilters fails a_listing_keeps_to_its_filter with "assertion failed",
    silence: HidesTheReason fails a_failed_proof_rejects_the_order_in_words with "gives no reason",
    any_option: TakesEveryOption fails bad_requests_are_named with "options.colour",
    loud_debug: PrintsItsKey fails nothing_secret_is_printed with "a secret is printed",
    invention: InventsOrders fails an_unknown_order_is_not_found with "does not exist",
}

#[tokio::test]
async fn without_a_flaw_the_wrapper_passes() {
    // `DeniesCapabilities` shows only where wildcards are asked for.
    suite::a_stored_handle_suffices_for_a_new_provider(&flawed(Flaw::DeniesCapabilities)).await;
    suite::a_lost_place_answer_is_found_again(&flawed(Flaw::DeniesCapabilities)).await;
    suite::a_listing_shows_every_order_once_and_ends(&flawed(Flaw::DeniesCapabilities)).await;
    suite::nothing_secret_is_printed(&flawed(Flaw::DeniesCapabilities)).await;
}
