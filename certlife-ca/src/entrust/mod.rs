//! [Entrust Certificate Services](https://www.entrust.com/products/digital-certificates) as a
//! [`CertificateAuthority`], by version 2 of its Enterprise API.
//!
//! Orders and certificates are one and the same here, under a number that the CA calls `trackingId`. Domains and
//! organizations are validated once for the account, so that orders ask for no proof:
//! [`validate_domain`](CertificateAuthority::validate_domain) does it, and `check` refuses names below domains that
//! are not validated. Orders are issued at once, or wait for an administrator's approval.
//!
//! Our reference travels in `tracking.trackingInfo`, and by it an order is found whose answer was lost.

mod api;
mod catalog;
mod check;
mod domain;
#[cfg(test)]
mod fake;
mod import;
mod options;
mod order;
mod product;
mod revoke;
mod settings;
mod snapshot;
#[cfg(test)]
mod tests;
mod wire;

use std::{fmt, sync::Arc, time::Duration};

use certlife_core::{
    AccountSummary, CertificateAuthority, Clock, Error, ErrorKind, Identifier, InputError, KeyAlgorithm,
    Operation, ProviderName, Registry, Result, Secret, async_trait,
    ca::{
        CaCapabilities, Catalog, Decision, DomainValidation, Found, ImportFilter, IssuedRef, OrderIntent,
        OrderRef, OrderRequest, OrderSnapshot, Placement, PurposeKind, RenewalWindow, Revocation, Signer,
    },
    challenge::{ChallengeId, Proof},
    store::{Cursor, Page},
};

use self::api::Api;
pub use self::{
    options::{CustomValue, ExtendedKeyUsage, OrderOptions, SignatureAlgorithm},
    settings::{EntrustBuilder, Requester, Settings, ValidityAs},
};

/// `entrust` in errors, logs and metrics.
const NAME: ProviderName = ProviderName::new("entrust");
/// The API states no limit. This is what the largest product is sold with.
const MAX_IDENTIFIERS: usize = 250;

/// One account at Entrust Certificate Services.
///
/// `product` of a request is a `certType` such as `ADVANTAGE_SSL`. `organization` is a company unit (client) by its
/// number, `2`, or one of its organizations, `1/Example Ltd`; none means the unit of the settings. `validity` becomes
/// an expiry date or a lifetime, as the settings say. All else is in [`OrderOptions`].
///
/// Renewals and reissues are orders of their own, and a reissue revokes the certificate that it replaces. Approving,
/// declining, suspending and resuming need an API user with an administrator's rights.
pub struct Entrust {
    api: Api,
    clock: Arc<dyn Clock>,
    client_id: i64,
    requester: Option<Requester>,
    validity_as: ValidityAs,
    extra_products: Vec<String>,
    settles_in: Duration,
}

/// Registers `entrust` with its settings and the options of its orders.
pub fn register(registry: &mut Registry) {
    registry.register_ca::<Settings, Entrust>("entrust", "Entrust Certificate Services", Settings::build);
    registry.describe_order_options::<OrderOptions>("entrust");
}

impl Entrust {
    /// Starts a provider that logs in as an API user.
    pub fn builder(username: impl Into<String>, api_key: impl Into<Secret>) -> EntrustBuilder {
        EntrustBuilder::new(username.into(), api_key.into())
    }

    fn capabilities_of_account(&self) -> CaCapabilities {
        CaCapabilities {
            purposes: [PurposeKind::New, PurposeKind::Renewal, PurposeKind::Reissue].into(),
            // Domains are validated apart from orders.
            challenges: [].into(),
            wildcards: true,
            addresses: false,
            max_identifiers: MAX_IDENTIFIERS,
            // Mozilla's root store policy §5.1 leaves public CAs these.
            key_algorithms: [
                KeyAlgorithm::Rsa2048,
                KeyAlgorithm::Rsa3072,
                KeyAlgorithm::Rsa4096,
                KeyAlgorithm::EcdsaP256,
                KeyAlgorithm::EcdsaP384,
            ]
            .into(),
            placement: Placement::Paid,
            // The list leaves out orders that are approved and not yet generated, and a server that a gateway has given up
            // on may still be at work.
            settles_in: self.settles_in,
            decisions: order::DECISIONS.into(),
            approvers: false,
            revalidation: false,
            domain_challenges: domain::KINDS.into(),
            catalog: true,
            import: true,
            revocation: true,
            renewal_info: false,
        }
    }

    fn unsupported(operation: Operation, what: &'static str) -> Error {
        Error::new(NAME, operation, ErrorKind::Unsupported(what.into()))
    }
}

#[async_trait]
impl CertificateAuthority for Entrust {
    fn provider(&self) -> ProviderName {
        NAME
    }

    fn capabilities(&self) -> CaCapabilities {
        self.capabilities_of_account()
    }

    fn check(&self, request: &OrderRequest, catalog: Option<&Catalog>) -> Result<(), InputError> {
        self.check_request(request, catalog)
    }

    async fn probe(&self) -> Result<AccountSummary> {
        self.test_login().await
    }

    async fn catalog(&self) -> Result<Catalog> {
        self.read_catalog().await
    }

    async fn place(&self, intent: &OrderIntent) -> Result<OrderSnapshot> {
        self.capabilities_of_account().require(NAME, &intent.request)?;
        self.check(&intent.request, None)
            .map_err(|input| Error::new(NAME, Operation::PlaceOrder, ErrorKind::Input(input)))?;
        self.place_order(intent).await
    }

    async fn find(&self, intent: &OrderIntent) -> Result<Found> {
        self.find_order(intent).await
    }

    /// Asks how the order is: there are no challenges to answer.
    async fn respond(&self, order: &OrderRef, _: &[ChallengeId]) -> Result<OrderSnapshot> {
        self.ask(Operation::Respond, order).await
    }

    async fn poll(&self, order: &OrderRef) -> Result<OrderSnapshot> {
        self.ask(Operation::PollOrder, order).await
    }

    async fn decide(&self, order: &OrderRef, decision: Decision) -> Result<OrderSnapshot> {
        self.decide_on(order, decision).await
    }

    async fn approvers(&self, _: &Identifier, _: Option<&str>) -> Result<Vec<String>> {
        Err(Self::unsupported(Operation::ListApprovers, "listing approvers at Entrust"))
    }

    async fn revalidate(&self, _: &OrderRef, _: &Identifier, _: &Proof) -> Result<OrderSnapshot> {
        Err(Self::unsupported(Operation::Revalidate, "a proof within an order at Entrust"))
    }

    async fn validate_domain(&self, domain: &Identifier, proof: &Proof) -> Result<DomainValidation> {
        self.validate(domain, proof).await
    }

    async fn revoke(&self, revocation: &Revocation, _: Option<&dyn Signer>) -> Result<()> {
        self.revoke_certificate(revocation).await
    }

    async fn orders(&self, filter: &ImportFilter, page: Option<Cursor>) -> Result<Page<OrderSnapshot>> {
        self.list_orders(filter, page).await
    }

    async fn renewal_window(&self, _: &IssuedRef) -> Result<Option<RenewalWindow>> {
        Ok(None)
    }
}

impl fmt::Debug for Entrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entrust")
            .field("api", &self.api)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}
