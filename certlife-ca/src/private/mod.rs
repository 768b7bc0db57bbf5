//! A certificate authority inside the host: its keys sealed in the account's [`Vault`], its orders beside them.
//!
//! For networks of one's own, for tests, and below a company's existing root. On first use it makes a root
//! and an issuing certificate; only the root has to be given to clients. Orders are records in the vault under
//! their reference, so that placing one twice is placing it once, and whether one exists is certain.
//!
//! It answers no OCSP and serves nothing: the host publishes [`Private::crl`] at the URL of the settings.

mod builder;
mod encode;
mod issuer;
mod leaf;
mod order;
mod proof;
mod revocation;
mod settings;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use certlife_core::{
    AccountSummary, CertificateAuthority, CertificateInfo, Chain, Clock, DnsName, Error, ErrorKind,
    Identifier, InputError, KeyAlgorithm, Operation, ProviderName, Registry, Result, RevocationReason,
    SecretBytes, Timestamp, Vault, VendorText,
    ca::{
        CaCapabilities, Catalog, Decision, DomainValidation, Found, ImportFilter, IssuedRef, OrderIntent,
        OrderRef, OrderRequest, OrderSnapshot, Placement, Product, PurposeKind, RenewalWindow, Revocation,
        Signer, Stage,
    },
    challenge::{self, AuthorizationStatus, ChallengeId, ChallengeKind},
    store::{Cursor, Page, Revision},
};
use der::pem::LineEnding;
use futures_util::future::join_all;

pub use self::{
    builder::PrivateBuilder,
    revocation::Crl,
    settings::{Import, OrderOptions, Profile, Settings, Validation},
};
use self::{
    encode::Parts,
    issuer::{Issuer, Source},
    order::Order,
    proof::Inspector,
    revocation::{Revocations, Subject},
};

/// The embedded authority, in errors, logs and metrics.
pub const PROVIDER: ProviderName = ProviderName::new("private");

/// Adds the embedded authority to what can be built from settings, as kind `private`.
pub fn register(registry: &mut Registry) {
    registry.register_ca("private", "Embedded private CA", |settings: Settings, context| {
        PrivateBuilder::from_settings(settings, context).build()
    });
    registry.describe_order_options::<OrderOptions>("private");
}

/// A certificate authority of the host's own. Cloning shares it.
///
/// ```
/// # use std::sync::Arc;
/// # use certlife_core::{AccountName, KeyRing, LocalKeyRing, Sealer, SecretBytes, Vault, store::MemoryStore};
/// use certlife_ca::private::Private;
///
/// # async fn root(vault: Vault) -> Result<String, Box<dyn std::error::Error>> {
/// let ca = Private::builder(vault).name("Example").build()?;
/// // Give this to the clients.
/// Ok(ca.root_pem().await?)
/// # }
/// ```
///
/// # The life of its own certificates
///
/// The issuing certificate is made anew before it would cut a certificate short: with the same name and key,
/// so that everything that stands stays good under both. The root is not: clients trust it by its bytes.
/// Towards its end certificates end with it, and [`probe`](CertificateAuthority::probe) warns; then open a new
/// account, and give its root to the clients before the old one ends.
#[derive(Clone)]
pub struct Private(Arc<Shared>);

struct Shared {
    vault: Vault,
    clock: Arc<dyn Clock>,
    settings: Settings,
    permitted: Vec<DnsName>,
    source: Source,
    inspector: Inspector,
    page_size: usize,
}

/// What takes an order on.
#[derive(Clone, Copy)]
enum Step<'a> {
    Respond(&'a [ChallengeId]),
    Poll,
    Decide(Decision),
}

impl Step<'_> {
    fn operation(self) -> Operation {
        match self {
            Self::Respond(_) => Operation::Respond,
            Self::Poll => Operation::PollOrder,
            Self::Decide(_) => Operation::Decide,
        }
    }
}

impl Private {
    /// Starts an authority whose keys and orders live in `vault`.
    pub fn builder(vault: Vault) -> PrivateBuilder {
        PrivateBuilder::new(vault)
    }

    /// The root in PEM, which clients have to trust; of an authority that was imported without its root, the
    /// topmost certificate. Makes the authority on first use.
    ///
    /// # Errors
    ///
    /// What the vault says.
    pub async fn root_pem(&self) -> Result<String> {
        let issuer = self.issuer().await?;
        der::pem::encode_string("CERTIFICATE", LineEnding::LF, issuer.root_der())
            .map_err(|error| encode::unwritable(error.into()))
    }

    /// The issuing certificate with those above it, the root included if it is known. Makes the authority on
    /// first use.
    ///
    /// # Errors
    ///
    /// What the vault says.
    pub async fn chain(&self) -> Result<Chain> {
        Ok(self.issuer().await?.chain.clone())
    }

    /// The revocation list as of now. It is signed anew after each revocation and once half of its time is
    /// over, so call it as often as clients do.
    ///
    /// # Errors
    ///
    /// What the vault says.
    pub async fn crl(&self) -> Result<Crl> {
        let issuer = self.issuer().await?;
        Revocations::list(&self.0.vault, &issuer, &self.0.settings, self.now()).await
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    async fn issuer(&self) -> Result<Arc<Issuer>> {
        self.0.source.issuer(&self.0.settings, self.now()).await
    }

    async fn read(&self, reference: &str) -> Result<Option<(Order, Revision)>> {
        let Some(entry) = self.0.vault.read(&order::entry(reference)).await? else { return Ok(None) };
        let order = serde_json::from_slice(entry.secret.expose()).map_err(|error| {
            let kind = ErrorKind::Corrupt("an order of the private CA".into());
            Error::new(PROVIDER, Operation::ReadStore, kind).because(error)
        })?;
        Ok(Some((order, entry.revision)))
    }

    /// Writes an order; false if another writer came first.
    async fn write(&self, order: &Order, replaces: Option<Revision>) -> Result<bool> {
        let bytes = serde_json::to_vec(order).map_err(|error| {
            let kind = ErrorKind::Corrupt("an order of the private CA".into());
            Error::new(PROVIDER, Operation::WriteStore, kind).because(error)
        })?;
        match self.0.vault.write(&order::entry(&order.reference), &SecretBytes::new(bytes), replaces).await {
            Ok(_) => Ok(true),
            Err(error) if *error.kind() == ErrorKind::RevisionConflict => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes an order a step on and writes it. A writer that came first is built upon.
    async fn step(&self, order: &OrderRef, step: Step<'_>) -> Result<OrderSnapshot> {
        let unknown = || Error::new(PROVIDER, step.operation(), ErrorKind::NotFound("the order".into()));
        let reference = order::reference(&order.handle).ok_or_else(unknown)?;
        loop {
            let (stored, revision) = self.read(reference).await?.ok_or_else(unknown)?;
            let mut order = stored.clone();
            match step {
                Step::Respond(ready) => order.answer(ready),
                Step::Poll => {}
                Step::Decide(decision) => decide(&mut order, decision)?,
            }
            self.advance(&mut order).await?;
            if order == stored || self.write(&order, Some(revision)).await? {
                return self.snapshot(&order).await;
            }
        }
    }

    /// Looks at proofs and issues, as far as the order has come.
    async fn advance(&self, order: &mut Order) -> Result<()> {
        let Shared { settings, inspector, .. } = &*self.0;
        if order.stage == Stage::Validating && self.now() <= order.expires {
            let looks = order.proofs.iter().map(|proof| async {
                let open = proof.answered && proof.status == AuthorizationStatus::Pending;
                if open { Some(inspector.look(proof, settings.validation, &order.csr).await) } else { None }
            });
            let seen = join_all(looks).await;
            order.looked(seen);
        }
        let now = self.now();
        order.advance(settings, now);
        if order.stage != Stage::Processing {
            return Ok(());
        }
        let issuer = self.issuer().await?;
        // The profile may have gone since the order was placed, and the constraints are the issuer's.
        let profile = settings.profile(order.product.as_deref());
        let barred = order.identifiers.iter().find(|name| !settings::is_permitted(&issuer.permitted, name));
        match (profile, barred) {
            (_, Some(name)) => order.reject(VendorText::new(&format!("this CA may not issue for {name}"))),
            (Err(error), None) => order.reject(VendorText::new(&error.to_string())),
            (Ok(profile), None) => order.issued(leaf::issue(order, profile, settings, &issuer, now)?)?,
        }
        Ok(())
    }

    async fn snapshot(&self, order: &Order) -> Result<OrderSnapshot> {
        let revoked = match order.serial() {
            None => false,
            Some(serial) => {
                let (revocations, _) = Revocations::read(&self.0.vault, &*self.issuer().await?).await?;
                revocations.reason(serial).is_some()
            }
        };
        Ok(order.snapshot(&self.0.settings, self.now(), revoked))
    }
}

fn decide(order: &mut Order, decision: Decision) -> Result<()> {
    match (decision, order.stage) {
        (Decision::Approve, Stage::AwaitingApproval) => order.approve(),
        (Decision::Decline, Stage::AwaitingApproval) => order.reject("the order was declined".into()),
        (Decision::Cancel, _) if order.is_open() => order.stage = Stage::Cancelled,
        // What was carried out already changes nothing.
        (Decision::Approve, Stage::Issued)
        | (Decision::Decline, Stage::Rejected)
        | (Decision::Cancel, Stage::Cancelled) => {}
        (_, stage) => {
            let kind = ErrorKind::NotNow(format!("the order is {stage:?}").into());
            return Err(Error::new(PROVIDER, Operation::Decide, kind));
        }
    }
    Ok(())
}

fn unsupported(operation: Operation, what: &'static str) -> Error {
    Error::new(PROVIDER, operation, ErrorKind::Unsupported(what.into()))
}

#[async_trait]
impl CertificateAuthority for Private {
    fn provider(&self) -> ProviderName {
        PROVIDER
    }

    fn capabilities(&self) -> CaCapabilities {
        let settings = &self.0.settings;
        let challenges: BTreeSet<_> = match settings.validation {
            Validation::None => [].into(),
            Validation::Http => [ChallengeKind::Http].into(),
            Validation::Dns => [ChallengeKind::DnsTxt].into(),
        };
        let mut decisions = BTreeSet::from([Decision::Cancel]);
        if settings.approval {
            decisions.extend([Decision::Approve, Decision::Decline]);
        }
        CaCapabilities {
            purposes: [PurposeKind::New, PurposeKind::Renewal, PurposeKind::Reissue].into(),
            challenges,
            wildcards: settings.validation != Validation::Http,
            addresses: settings.validation != Validation::Dns && self.0.permitted.is_empty(),
            max_identifiers: settings.max_identifiers,
            key_algorithms: KeyAlgorithm::ALL.iter().copied().collect(),
            placement: Placement::Free,
            settles_in: Duration::ZERO,
            decisions,
            approvers: false,
            revalidation: false,
            domain_challenges: [].into(),
            catalog: true,
            import: true,
            revocation: true,
            renewal_info: false,
        }
    }

    fn check(&self, request: &OrderRequest, _catalog: Option<&Catalog>) -> Result<(), InputError> {
        self.capabilities().check(request)?;
        OrderOptions::read(&request.options)?;
        let profile = self.0.settings.profile(request.product.as_deref())?;
        if let Some(organization) = &request.organization {
            return Err(InputError::Value {
                field: "organization".into(),
                value: organization.as_str().into(),
                rule: "this CA has no organizations to choose from".into(),
            });
        }
        if let Some(validity) = request.validity
            && (validity.is_zero() || validity > profile.max_validity())
        {
            return Err(InputError::Value {
                field: "validity".into(),
                value: format!("{} seconds", validity.as_secs()).into(),
                rule: format!("this product is valid for at most {} days", profile.max_validity_days).into(),
            });
        }
        let barred = request.identifiers.iter().find(|name| !settings::is_permitted(&self.0.permitted, name));
        match barred {
            Some(name) => Err(InputError::Identifier {
                identifier: name.to_string(),
                rule: format!("this CA issues only below {}", self.0.settings.permitted_names.join(", "))
                    .into(),
            }),
            None => Ok(()),
        }
    }

    async fn probe(&self) -> Result<AccountSummary> {
        let issuer = self.issuer().await?;
        let unreadable = |error| Error::input(Operation::Probe, error);
        let own = issuer.chain.info().map_err(unreadable)?;
        let root = CertificateInfo::read(issuer.root_der()).map_err(unreadable)?;
        let mut warnings = Vec::new();
        // A year to bring a new root to all clients, besides the time that certificates last.
        let margin = self.0.settings.max_validity() + settings::days(365);
        for info in [&own, &root] {
            let renewed_in_time = info.sha256 == own.sha256 && self.0.settings.import.is_none();
            if self.now() + margin > info.not_after && (!renewed_in_time || own.sha256 == root.sha256) {
                let words = format!("{} ends at {}: replace it soon", info.subject, info.not_after);
                warnings.push(VendorText::new(&words));
            }
        }
        warnings.dedup();
        Ok(AccountSummary {
            identity: Some(own.subject),
            details: [
                ("root".to_owned(), root.subject),
                ("root fingerprint".to_owned(), root.sha256.to_string().into()),
                ("root ends".to_owned(), root.not_after.to_string().into()),
                ("issuing certificate ends".to_owned(), own.not_after.to_string().into()),
            ]
            .into(),
            warnings,
        })
    }

    async fn catalog(&self) -> Result<Catalog> {
        let capabilities = self.capabilities();
        let product = |(id, profile): (&String, &Profile)| Product {
            id: id.clone(),
            name: if profile.title.is_empty() { id.as_str() } else { &profile.title }.into(),
            available: true,
            validity: vec![profile.validity()],
            key_algorithms: capabilities.key_algorithms.clone(),
            max_identifiers: Some(capabilities.max_identifiers),
            wildcards: Some(capabilities.wildcards),
            details: [("max_validity_days".to_owned(), profile.max_validity_days.to_string().into())].into(),
        };
        let products = self.0.settings.profiles.iter().map(product).collect();
        Ok(Catalog { products, ..Catalog::default() })
    }

    async fn place(&self, intent: &OrderIntent) -> Result<OrderSnapshot> {
        self.capabilities().require(PROVIDER, &intent.request)?;
        let refused = |error| Error::input(Operation::PlaceOrder, error);
        self.check(&intent.request, None).map_err(refused)?;
        if !order::is_reference(&intent.reference) {
            return Err(refused(InputError::Value {
                field: "reference".into(),
                value: intent.reference.as_str().into(),
                rule: "1 to 50 lower-case letters, digits or hyphens".into(),
            }));
        }
        let names = intent.request.identifiers.iter().cloned().collect();
        intent.csr.check_against(&names, None).map_err(refused)?;
        let options = OrderOptions::read(&intent.request.options).map_err(refused)?;
        let mut order = Order::new(intent, options, &self.0.settings, self.now())?;
        self.advance(&mut order).await?;
        if self.write(&order, None).await? {
            return Ok(order.snapshot(&self.0.settings, self.now(), false));
        }
        // The order was placed before: by a call whose answer was lost, or by another worker.
        match self.find(intent).await? {
            Found::Order(order) => Ok(*order),
            _ => {
                let kind = ErrorKind::Conflict("the reference belongs to an order for another key".into());
                Err(Error::new(PROVIDER, Operation::PlaceOrder, kind))
            }
        }
    }

    async fn find(&self, intent: &OrderIntent) -> Result<Found> {
        if !order::is_reference(&intent.reference) {
            return Ok(Found::Nothing);
        }
        match self.read(&intent.reference).await? {
            Some((order, _)) if order.csr == intent.csr => {
                Ok(Found::Order(Box::new(self.snapshot(&order).await?)))
            }
            _ => Ok(Found::Nothing),
        }
    }

    async fn respond(&self, order: &OrderRef, ready: &[ChallengeId]) -> Result<OrderSnapshot> {
        self.step(order, Step::Respond(ready)).await
    }

    async fn poll(&self, order: &OrderRef) -> Result<OrderSnapshot> {
        self.step(order, Step::Poll).await
    }

    async fn decide(&self, order: &OrderRef, decision: Decision) -> Result<OrderSnapshot> {
        if !self.capabilities().decisions.contains(&decision) {
            return Err(unsupported(Operation::Decide, "this decision"));
        }
        self.step(order, Step::Decide(decision)).await
    }

    async fn approvers(&self, _: &Identifier, _: Option<&str>) -> Result<Vec<String>> {
        Err(unsupported(Operation::ListApprovers, "choosing an approver"))
    }

    async fn revalidate(&self, _: &OrderRef, _: &Identifier, _: &challenge::Proof) -> Result<OrderSnapshot> {
        Err(unsupported(Operation::Revalidate, "another proof in the same order"))
    }

    async fn validate_domain(&self, _: &Identifier, _: &challenge::Proof) -> Result<DomainValidation> {
        Err(unsupported(Operation::ValidateDomain, "validating domains apart from orders"))
    }

    async fn revoke(&self, revocation: &Revocation, _key: Option<&dyn Signer>) -> Result<()> {
        if revocation.reason == RevocationReason::RemoveFromCrl {
            return Err(unsupported(Operation::Revoke, "taking a revocation back"));
        }
        let issuer = self.issuer().await?;
        let leaf = revocation.issued.chain.leaf();
        if !issuer.signed(leaf) {
            return Err(Error::new(
                PROVIDER,
                Operation::Revoke,
                ErrorKind::NotFound("the certificate".into()),
            ));
        }
        let info = revocation.issued.chain.info().map_err(|error| Error::input(Operation::Revoke, error))?;
        let parts = Parts::read(leaf).map_err(encode::unwritable)?;
        let subject = Subject { serial: parts.serial, not_after: info.not_after };
        let Shared { vault, settings, .. } = &*self.0;
        Revocations::revoke(vault, &issuer, settings, &subject, revocation.reason, self.now()).await
    }

    async fn orders(&self, filter: &ImportFilter, page: Option<Cursor>) -> Result<Page<OrderSnapshot>> {
        let (revocations, _) = Revocations::read(&self.0.vault, &*self.issuer().await?).await?;
        let mut items = Vec::new();
        let mut next = page;
        // A page of the vault may hold nothing that is wanted; an empty one would look like the end.
        loop {
            let names = self.0.vault.entries(next, self.0.page_size).await?;
            for name in names.items {
                let Some(reference) = name.strip_prefix(order::PREFIX) else { continue };
                let Some((order, _)) = self.read(reference).await? else { continue };
                let revoked = order.serial().is_some_and(|serial| revocations.reason(serial).is_some());
                if admits(filter, &order, order.stage_at(self.now(), revoked)) {
                    items.push(order.snapshot(&self.0.settings, self.now(), revoked));
                }
            }
            next = names.next;
            if !items.is_empty() || next.is_none() {
                return Ok(Page { items, next });
            }
        }
    }

    async fn renewal_window(&self, _issued: &IssuedRef) -> Result<Option<RenewalWindow>> {
        Ok(None)
    }
}

fn admits(filter: &ImportFilter, order: &Order, stage: Stage) -> bool {
    let skipped = match stage {
        Stage::Expired => filter.skip_expired,
        Stage::Revoked => filter.skip_revoked,
        Stage::Cancelled | Stage::Rejected => filter.skip_cancelled,
        _ => false,
    };
    let product = order.product.as_deref().unwrap_or(Settings::DEFAULT_PRODUCT);
    !skipped
        && filter.placed_after.is_none_or(|start| order.placed_at >= start)
        && (filter.products.is_empty() || filter.products.contains(product))
        && (filter.names.is_empty() || order.identifiers.iter().any(|name| filter.names.contains(name)))
}

impl fmt::Debug for Private {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Private").field("account", self.0.vault.account()).finish_non_exhaustive()
    }
}
