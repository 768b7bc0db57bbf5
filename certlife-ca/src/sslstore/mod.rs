//! [The SSL Store](https://www.thesslstore.com/api/) as a [`CertificateAuthority`]: certificates of Sectigo
//! (formerly Comodo CA), Symantec and DigiCert through one reseller account.
//!
//! Each order costs money, so each carries the intent's reference as its `CustomOrderID`, is placed by one
//! request that is never repeated, and is looked for by that reference before anything is placed again. The form
//! of answers drifted over ten years; what the sources disagree about is read in every form (`wire.rs`).

mod api;
mod catalog;
mod challenge;
mod check;
#[cfg(test)]
mod fake;
mod follow;
mod list;
mod options;
mod order;
mod party;
mod place;
mod request;
mod revalidate;
mod server;
mod settings;
#[cfg(test)]
mod tests;
mod wire;

use std::{collections::BTreeMap, fmt, sync::Arc};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use certlife_core::{
    AccountSummary, CertificateAuthority, Clock, Error, ErrorKind, Identifier, InputError, KeyAlgorithm,
    Operation, ProviderName, Registry, Result, Secret, VendorText,
    ca::{
        CaCapabilities, Catalog, Decision, DomainValidation, Found, ImportFilter, IssuedRef, OrderHandle,
        OrderIntent, OrderRef, OrderRequest, OrderSnapshot, Placement, PurposeKind, RenewalWindow,
        Revocation, Signer,
    },
    challenge::{ChallengeId, Proof},
    store::{Cursor, Page},
};

use self::{
    api::{Api, Which},
    order::Handle,
};
pub use self::{
    options::{OrderOptions, RecordType, SignatureHash, ValidationLevel, Vendor},
    party::{Address, OrganizationDetails, Person},
    server::WebServer,
    settings::{CsrForm, Settings, SslStoreBuilder},
};

/// `sslstore` in errors, logs and metrics.
pub const NAME: ProviderName = ProviderName::new("sslstore");

/// More than the multi-domain products of the three vendors hold; the catalog tells the limit of each.
const MAX_IDENTIFIERS: usize = 250;

/// One account at The SSL Store, or the token of one order there.
///
/// `product` of a request is the product's code, which the catalog lists; `validity` is the term that is paid for,
/// in whole months, within which certificates are reissued. `organization` is the number of one that DigiCert
/// knows; any other is described in the [`OrderOptions`]. The first identifier becomes the common name.
pub struct SslStore {
    api: Api,
    clock: Arc<dyn Clock>,
    vendor: Option<Vendor>,
    administrator: Option<Person>,
    technical: Option<Person>,
    organization: Option<OrganizationDetails>,
    term_months: u32,
    legacy_products: bool,
    page_size: u32,
}

/// The files of an issued order as the vendor packs them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Archive {
    /// A ZIP archive of the certificates.
    pub zip: Vec<u8>,
    /// Another one in the form of PKCS#7, where the vendor offers it.
    pub pkcs7_zip: Option<Vec<u8>>,
}

/// Registers `sslstore` with its settings and the options of its orders.
pub fn register(registry: &mut Registry) {
    registry.register_ca("sslstore", "The SSL Store", |settings: Settings, context| {
        SslStore::from_settings(settings, context.clock.clone())
    });
    registry.describe_order_options::<OrderOptions>("sslstore");
}

impl SslStore {
    /// Starts a provider that uses a partner's account.
    pub fn builder(partner_code: impl Into<String>, auth_token: impl Into<Secret>) -> SslStoreBuilder {
        SslStoreBuilder::new(Settings {
            partner_code: Some(partner_code.into()),
            auth_token: Some(auth_token.into()),
            ..Settings::default()
        })
    }

    /// Starts a provider that uses the token of one order, which was bought already.
    pub fn builder_with_token(token: impl Into<Secret>) -> SslStoreBuilder {
        SslStoreBuilder::new(Settings { token: Some(token.into()), ..Settings::default() })
    }

    /// Makes the provider from its settings.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] names the setting that is wrong and what it should look like.
    pub fn from_settings(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, InputError> {
        SslStoreBuilder::new(settings).clock(clock).build()
    }

    /// Asks for the money back for an order, issued or not. A certificate that was issued for it is revoked.
    ///
    /// An order that is not issued yet is cancelled like this by [`Decision::Cancel`] too, which leaves issued ones
    /// alone. May be repeated: a request that is open is asked after.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Uncertain`] if the answer is lost, and what the vendor says.
    pub async fn refund(&self, order: &OrderHandle, reason: &str) -> Result<OrderSnapshot> {
        self.give_back(&handle(Operation::Decide, order)?, None, reason, true).await
    }

    /// Fetches the files of an issued order as an archive, for people who want the vendor's own packing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] if no archive came, and what the vendor says.
    pub async fn archive(&self, order: &OrderHandle) -> Result<Archive> {
        let handle = handle(Operation::FetchCertificate, order)?;
        let (response, files) = self.api.download_archive(&handle.order).await?;
        let bytes = |name: &str| files.text(name).and_then(|text| BASE64.decode(text).ok());
        let zip = bytes("Zip").ok_or_else(|| response.unexpected("no archive came"))?;
        Ok(Archive { zip, pkcs7_zip: bytes("pkcs7zip") })
    }

    /// Checks a request as far as that goes without the catalog.
    fn admit(&self, request: &OrderRequest) -> Result<()> {
        self.capabilities().require(NAME, request)?;
        check::check(self, request, None).map_err(|rule| error(Operation::PlaceOrder, ErrorKind::Input(rule)))
    }
}

fn error(operation: Operation, kind: ErrorKind) -> Error {
    Error::new(NAME, operation, kind)
}

fn unsupported(operation: Operation, what: &'static str) -> Error {
    error(operation, ErrorKind::Unsupported(what.into()))
}

fn unknown_order(operation: Operation) -> Error {
    error(operation, ErrorKind::NotFound("the order".into()))
}

fn handle(operation: Operation, handle: &OrderHandle) -> Result<Handle> {
    Handle::read(handle).ok_or_else(|| unknown_order(operation))
}

#[async_trait]
impl CertificateAuthority for SslStore {
    fn provider(&self) -> ProviderName {
        NAME
    }

    fn capabilities(&self) -> CaCapabilities {
        // A token acts on its one order.
        let partner = !self.api.login.is_token();
        let mut purposes =
            [PurposeKind::New, PurposeKind::Reissue].into_iter().collect::<std::collections::BTreeSet<_>>();
        if partner {
            purposes.insert(PurposeKind::Renewal);
        }
        CaCapabilities {
            purposes,
            challenges: check::kinds(self.vendor),
            wildcards: true,
            addresses: false,
            max_identifiers: MAX_IDENTIFIERS,
            // What all three vendors certify; the API does not say.
            key_algorithms: KeyAlgorithm::ALL
                .iter()
                .copied()
                .filter(|key| {
                    key.is_rsa() || matches!(key, KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384)
                })
                .collect(),
            placement: Placement::Paid,
            settles_in: place::SETTLES_IN,
            decisions: partner.then_some(Decision::Cancel).into_iter().collect(),
            approvers: true,
            revalidation: true,
            domain_challenges: [].into(),
            catalog: true,
            import: partner,
            revocation: true,
            renewal_info: false,
        }
    }

    fn check(&self, request: &OrderRequest, catalog: Option<&Catalog>) -> Result<(), InputError> {
        self.capabilities().check(request)?;
        check::check(self, request, catalog)
    }

    /// Asks whether the credentials are good, and once more by a call that cannot find anything: `health/validate`
    /// alone has been seen to pass for what other calls then refuse.
    async fn probe(&self) -> Result<AccountSummary> {
        if self.api.login.is_token() {
            let token = self.api.validate_token(Operation::Probe).await?;
            let details =
                [("product", "ProductName"), ("status", "OrderStatus"), ("term_months", "NumberOfMonths")];
            let details =
                details.iter().filter_map(|(name, member)| Some(((*name).to_owned(), token.words(member)?)));
            return Ok(AccountSummary {
                identity: token.words("ProductCode").map(|product| format!("a token for {product}").into()),
                details: details.collect(),
                warnings: Vec::new(),
            });
        }
        self.api.validate().await?;
        match self.api.status(Operation::Probe, Which::Reference("certlife-no-such-order")).await {
            // That there is no such order is told only to those who may know.
            Ok(_) => {}
            Err(refused) if matches!(refused.kind(), ErrorKind::Rejected(_)) => {}
            Err(refused) => return Err(refused),
        }
        let account = match self.api.account().await {
            Ok(account) => account,
            Err(refused) if matches!(refused.kind(), ErrorKind::Rejected(_)) => {
                let warnings =
                    vec![VendorText::new("the credentials are good; the account's detail is not shown")];
                return Ok(AccountSummary { warnings, ..AccountSummary::default() });
            }
            Err(refused) => return Err(refused),
        };
        let shown = [
            ("partner_code", "PartnerCode"),
            ("balance", "AccountBalance"),
            ("currency", "CurrencyCode"),
            ("plan", "CurrentPlan"),
            ("type", "AccountType"),
            ("email", "Email"),
        ];
        let details: BTreeMap<_, _> = shown
            .into_iter()
            .filter_map(|(name, member)| Some((name.to_owned(), account.words(member)?)))
            .collect();
        let identity = account.words("CompanyName").or_else(|| account.words("FullName"));
        let identity = identity.or_else(|| account.words("PartnerCode"));
        Ok(AccountSummary { identity, details, warnings: Vec::new() })
    }

    async fn catalog(&self) -> Result<Catalog> {
        if self.api.login.is_token() {
            let token = self.api.validate_token(Operation::Catalog).await?;
            return Ok(Catalog {
                products: catalog::of_token(&token).into_iter().collect(),
                ..Catalog::default()
            });
        }
        let mut products = BTreeMap::new();
        for product in self.api.products(self.legacy_products).await?.iter().filter_map(catalog::product) {
            products.entry(product.id.clone()).or_insert(product);
        }
        let organizations = match self.api.organizations().await {
            Ok(organizations) => organizations,
            // An account without DigiCert has no such list.
            Err(refused) if matches!(refused.kind(), ErrorKind::Rejected(_)) => Vec::new(),
            Err(refused) => return Err(refused),
        };
        let organizations = organizations.iter().filter_map(catalog::organization);
        let organizations: BTreeMap<_, _> = organizations.map(|known| (known.id.clone(), known)).collect();
        Ok(Catalog {
            products: products.into_values().collect(),
            organizations: organizations.into_values().collect(),
            domains: Vec::new(),
        })
    }

    async fn place(&self, intent: &OrderIntent) -> Result<OrderSnapshot> {
        self.admit(&intent.request)?;
        self.place_order(intent).await
    }

    async fn find(&self, intent: &OrderIntent) -> Result<Found> {
        self.find_order(intent).await
    }

    async fn respond(&self, order: &OrderRef, ready: &[ChallengeId]) -> Result<OrderSnapshot> {
        self.answer(order, ready).await
    }

    async fn poll(&self, order: &OrderRef) -> Result<OrderSnapshot> {
        self.follow(Operation::PollOrder, order).await
    }

    async fn decide(&self, order: &OrderRef, decision: Decision) -> Result<OrderSnapshot> {
        if !self.capabilities().decisions.contains(&decision) {
            return Err(unsupported(Operation::Decide, "this decision"));
        }
        let handle = handle(Operation::Decide, &order.handle)?;
        self.give_back(&handle, order.intent.as_ref(), "cancelled by the subscriber", false).await
    }

    async fn approvers(&self, domain: &Identifier, product: Option<&str>) -> Result<Vec<String>> {
        self.list_approvers(domain, product).await
    }

    async fn revalidate(
        &self,
        order: &OrderRef,
        identifier: &Identifier,
        proof: &Proof,
    ) -> Result<OrderSnapshot> {
        self.prove_anew(order, identifier, proof).await
    }

    async fn validate_domain(&self, _: &Identifier, _: &Proof) -> Result<DomainValidation> {
        Err(unsupported(Operation::ValidateDomain, "validating domains apart from orders"))
    }

    async fn revoke(&self, revocation: &Revocation, _: Option<&dyn Signer>) -> Result<()> {
        self.revoke_certificate(revocation).await
    }

    async fn orders(&self, filter: &ImportFilter, page: Option<Cursor>) -> Result<Page<OrderSnapshot>> {
        if self.api.login.is_token() {
            return Err(unsupported(Operation::ListOrders, "listing orders with a token"));
        }
        self.list_orders(filter, page).await
    }

    async fn renewal_window(&self, _: &IssuedRef) -> Result<Option<RenewalWindow>> {
        Ok(None)
    }
}

impl fmt::Debug for SslStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SslStore").field("http", &self.api.http).finish_non_exhaustive()
    }
}
