//! [Sectigo Certificate Manager](https://docs.sectigo.com/scm/) as a [`CertificateAuthority`].
//!
//! Needs an administrator of type API, or an API key, for whom the web API is enabled in the organization. There is no
//! "order" there: one SSL record is request, order and certificate at once, and keeps its id when its certificate is
//! replaced. Nothing in the interface makes enrolling safe to repeat, so the reference of an order travels in its
//! comments (or a custom field) and is looked for there. A renewal by id takes no comments; they are written into the
//! new record afterwards, and until then the key of the certificate tells whose it is.
//!
//! An order cannot be cancelled at Sectigo, only declined while it waits for approval.

mod api;
mod catalog;
mod check;
mod domain;
#[cfg(test)]
mod fake;
mod fault;
mod find;
mod import;
mod login;
mod options;
mod order;
mod proof;
mod revocation;
mod settings;
mod snapshot;
#[cfg(test)]
mod tests;
mod wire;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use certlife_core::{
    AccountSummary, CertificateAuthority, Clock, Error, ErrorKind, Identifier, InputError, KeyAlgorithm,
    Operation, ProviderName, Registry, Result, Secret,
    ca::{
        CaCapabilities, Catalog, Decision, DomainValidation, Found, ImportFilter, IssuedRef, OrderIntent,
        OrderRef, OrderRequest, OrderSnapshot, Placement, PurposeKind, RenewalWindow, Revocation, Signer,
    },
    challenge::{ChallengeId, ChallengeKind, Proof},
    http,
    store::{Cursor, Page},
};

use self::api::Api;
pub use self::{
    options::OrderOptions,
    settings::{SectigoBuilder, Settings},
};

/// `sectigo` in errors, logs and metrics.
pub const NAME: ProviderName = ProviderName::new("sectigo");

/// One account at Sectigo Certificate Manager.
///
/// `product` of a request is the id of a certificate profile and `organization` that of an organization or department,
/// both from the catalog. `validity` is one of the profile's terms; without one, the first that the profile offers.
/// Contacts who are requesters become external requesters. A renewal keeps names, profile and organization of the
/// record; Sectigo picks its term.
pub struct Sectigo {
    api: Api,
    clock: Arc<dyn Clock>,
    order_validation: bool,
    reference_field: Option<String>,
    max_identifiers: usize,
    settles_in: Duration,
    has_password: bool,
    identity: String,
}

/// Adds Sectigo to what can be built from settings, as kind `sectigo`.
pub fn register(registry: &mut Registry) {
    registry.register_ca("sectigo", "Sectigo Certificate Manager", |settings: Settings, context| {
        Sectigo::from_settings(settings, context.clock.clone())
    });
    registry.describe_order_options::<OrderOptions>("sectigo");
}

impl Sectigo {
    /// Starts a provider that logs in with the password of an administrator.
    pub fn builder(
        customer_uri: impl Into<String>,
        login: impl Into<String>,
        password: impl Into<Secret>,
    ) -> SectigoBuilder {
        SectigoBuilder::new(Settings {
            customer_uri: Some(customer_uri.into()),
            login: Some(login.into()),
            password: Some(password.into()),
            ..Settings::default()
        })
    }

    /// Starts a provider that logs in with a client certificate: the certificate, its chain and its private key as one
    /// PEM text.
    pub fn builder_with_certificate(
        customer_uri: impl Into<String>,
        login: impl Into<String>,
        identity: impl Into<Secret>,
    ) -> SectigoBuilder {
        let mut http = http::Settings::default();
        http.client_identity = Some(identity.into());
        SectigoBuilder::new(Settings {
            customer_uri: Some(customer_uri.into()),
            login: Some(login.into()),
            http,
            ..Settings::default()
        })
    }

    /// Starts a provider that uses an API key, on the newer host.
    pub fn builder_with_api_key(
        client_id: impl Into<String>,
        client_secret: impl Into<Secret>,
    ) -> SectigoBuilder {
        SectigoBuilder::new(Settings {
            client_id: Some(client_id.into()),
            client_secret: Some(client_secret.into()),
            ..Settings::default()
        })
    }

    /// Makes the provider from its settings.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] names the setting that is wrong and what it should look like.
    pub fn from_settings(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, InputError> {
        SectigoBuilder::new(settings).clock(clock).build()
    }
}

#[async_trait]
impl CertificateAuthority for Sectigo {
    fn provider(&self) -> ProviderName {
        NAME
    }

    fn capabilities(&self) -> CaCapabilities {
        use ChallengeKind::{DnsCname, DnsTxt, Email, Http};
        let keys = KeyAlgorithm::ALL.iter().copied();
        CaCapabilities {
            purposes: [PurposeKind::New, PurposeKind::Renewal, PurposeKind::Reissue].into(),
            challenges: [DnsCname, DnsTxt, Email, Http].into(),
            wildcards: true,
            addresses: true,
            max_identifiers: self.max_identifiers,
            // Which of them the profile says.
            key_algorithms: keys.filter(|key| *key != KeyAlgorithm::Ed25519).collect(),
            placement: Placement::Paid,
            settles_in: self.settles_in,
            decisions: [Decision::Approve, Decision::Decline].into(),
            approvers: true,
            // A method cannot be changed once the order is placed.
            revalidation: false,
            domain_challenges: [DnsCname, DnsTxt, Email, Http].into(),
            catalog: true,
            import: true,
            revocation: true,
            renewal_info: false,
        }
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
        self.place_order(intent).await
    }

    async fn find(&self, intent: &OrderIntent) -> Result<Found> {
        self.find_order(intent).await
    }

    async fn respond(&self, order: &OrderRef, ready: &[ChallengeId]) -> Result<OrderSnapshot> {
        self.have_checked(order, ready).await
    }

    async fn poll(&self, order: &OrderRef) -> Result<OrderSnapshot> {
        self.look_at(Operation::PollOrder, order).await
    }

    async fn decide(&self, order: &OrderRef, decision: Decision) -> Result<OrderSnapshot> {
        self.carry_out(order, decision).await
    }

    async fn approvers(&self, domain: &Identifier, _product: Option<&str>) -> Result<Vec<String>> {
        self.list_approvers(domain).await
    }

    async fn revalidate(&self, _: &OrderRef, _: &Identifier, _: &Proof) -> Result<OrderSnapshot> {
        Err(unsupported(Operation::Revalidate, "another proof in the same order"))
    }

    async fn validate_domain(&self, domain: &Identifier, proof: &Proof) -> Result<DomainValidation> {
        self.validate(domain, proof).await
    }

    async fn revoke(&self, revocation: &Revocation, _key: Option<&dyn Signer>) -> Result<()> {
        self.revoke_certificate(revocation).await
    }

    async fn orders(&self, filter: &ImportFilter, page: Option<Cursor>) -> Result<Page<OrderSnapshot>> {
        self.list_orders(filter, page.as_ref()).await
    }

    async fn renewal_window(&self, _issued: &IssuedRef) -> Result<Option<RenewalWindow>> {
        Ok(None)
    }
}

impl fmt::Debug for Sectigo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sectigo").field("api", &self.api).finish_non_exhaustive()
    }
}

fn unsupported(operation: Operation, what: &'static str) -> Error {
    Error::new(NAME, operation, ErrorKind::Unsupported(what.into()))
}
