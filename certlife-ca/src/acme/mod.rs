//! Any server that speaks [ACME](https://www.rfc-editor.org/rfc/rfc8555) as a [`CertificateAuthority`]:
//! Let's Encrypt, `ZeroSSL`, Google Trust Services, and private ones such as step-ca.
//!
//! Of [instant-acme](https://docs.rs/instant-acme) this takes what it does well: the objects of the protocol,
//! the form of stored credentials, the addresses of CAs. Its account and order handles are not used. They
//! make keys inside the very call that may be lost, sign with P-256 only, read authorizations one after the
//! other, and drop `Retry-After` and alternate chains; wrapping them and signing the rest here would be two
//! clients side by side. So there is one way to send a request, for everything.

mod account;
mod chain;
mod challenge;
mod handle;
mod jws;
mod nonce;
mod order;
mod problem;
mod renewal;
mod revocation;
mod session;
mod settings;
#[cfg(test)]
mod tests;
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use async_trait::async_trait;
use certlife_core::{
    AccountSummary, CertificateAuthority, ErrorKind, Identifier, InputError, KeyAlgorithm, Operation,
    ProviderName, Registry, Result, Vault, VendorText,
    ca::{
        CaCapabilities, Catalog, Decision, DomainValidation, Found, ImportFilter, IssuedRef, OrderIntent,
        OrderRef, OrderRequest, OrderSnapshot, Placement, Product, PurposeKind, RenewalWindow, Revocation,
        Signer,
    },
    challenge::{ChallengeId, ChallengeKind, Proof},
    http::Response,
    store::{Cursor, Page},
};

use self::{
    account::Accounts,
    chain::Preference,
    problem::Failure,
    session::{Call, Session},
    wire::{AccountStatus, Status},
};
pub use self::{
    session::Statistics,
    settings::{AcmeBuilder, ExternalAccount, Settings},
};

const NAME: ProviderName = ProviderName::new("acme");
/// What Let's Encrypt and most others put into one certificate
/// (<https://letsencrypt.org/docs/rate-limits/>); some profiles allow fewer, which the CA then says.
const MAX_IDENTIFIERS: usize = 100;

/// One account at one ACME server.
///
/// The account is opened, and registered if need be, by the first call that needs it. Everything it needs
/// later is in the vault; directory, account and nonces are only kept in memory.
///
/// `product` of a request is the CA's profile. `validity` is passed on as `notAfter`, which public CAs refuse;
/// their profiles say how long certificates last. Contacts of a request are not used: ACME knows contacts of
/// the account only.
#[derive(Debug)]
pub struct Acme {
    session: Session,
    accounts: Accounts,
    preferred_chain: Option<Preference>,
}

/// Registers `acme` with its settings.
pub fn register(registry: &mut Registry) {
    registry.register_ca::<Settings, Acme>("acme", "ACME (RFC 8555)", Settings::build);
}

impl Acme {
    /// Starts a provider for the server whose directory is at `directory`: a URL, or one of the names that
    /// [`Settings::directory`] lists. The account's key is kept in `vault`.
    pub fn builder(directory: impl Into<String>, vault: Vault) -> AcmeBuilder {
        AcmeBuilder::new(directory.into(), vault)
    }

    /// Replaces the account's key at the CA and in the vault ([RFC 8555 §7.3.5]).
    ///
    /// The new key is in the vault before the CA hears of it, so that neither a crash nor a lost answer loses
    /// the account: the next call that needs it finds out which key won, or tries again. Orders whose challenges
    /// are not answered yet fail, because their proofs hold the old key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] if the CA offers no key change, [`ErrorKind::Uncertain`] if its answer was
    /// lost, and what the CA and the vault say.
    ///
    /// [RFC 8555 §7.3.5]: https://www.rfc-editor.org/rfc/rfc8555#section-7.3.5
    pub async fn roll_account_key(&self) -> Result<()> {
        self.accounts.roll_key(&self.session).await
    }

    /// How many requests were sent so far.
    pub fn statistics(&self) -> Statistics {
        self.session.statistics()
    }

    /// Sends a request signed by the account; again if the account turns out to have another key or URL by
    /// now, such as after a key change by another process.
    async fn signed(&self, call: &Call<'_>) -> Result<Response, Failure> {
        let account = self.accounts.open(&self.session).await?;
        let refusal = match self.session.post(call, account.signs()).await {
            Err(Failure::Refused(refusal)) if refusal.doubts_the_account() => refusal,
            answered => return answered,
        };
        let missing = refusal.is("accountDoesNotExist");
        match self.accounts.renewed(&self.session, &account, missing).await? {
            Some(renewed) => self.session.post(call, renewed.signs()).await,
            None => Err(Failure::Refused(refusal)),
        }
    }

    fn unsupported(&self, operation: Operation, what: &'static str) -> certlife_core::Error {
        self.session.error(operation, ErrorKind::Unsupported(what.into()))
    }
}

#[async_trait]
impl CertificateAuthority for Acme {
    fn provider(&self) -> ProviderName {
        NAME
    }

    fn capabilities(&self) -> CaCapabilities {
        CaCapabilities {
            purposes: [PurposeKind::New, PurposeKind::Renewal, PurposeKind::Reissue].into(),
            challenges: [ChallengeKind::DnsTxt, ChallengeKind::Http, ChallengeKind::TlsAlpn].into(),
            wildcards: true,
            addresses: true,
            max_identifiers: MAX_IDENTIFIERS,
            // Each CA has its own list, which the protocol does not tell; it refuses others by `badCSR`.
            key_algorithms: KeyAlgorithm::ALL.iter().copied().collect(),
            // An order that is never finalized lapses by itself (RFC 8555 §7.1.6).
            placement: Placement::Free,
            settles_in: Duration::ZERO,
            decisions: BTreeSet::new(),
            approvers: false,
            revalidation: false,
            domain_challenges: [].into(),
            catalog: true,
            import: false,
            revocation: true,
            renewal_info: true,
        }
    }

    fn check(&self, request: &OrderRequest, catalog: Option<&Catalog>) -> Result<(), InputError> {
        self.capabilities().check(request)?;
        let refused = |field: &'static str, value: VendorText, rule: String| {
            Err(InputError::Value { field: field.into(), value, rule: rule.into() })
        };
        for (identifier, Proof { kind, .. }) in &request.challenges {
            if !kind.suits(identifier) {
                let rule = format!("it cannot prove control of {identifier} (RFC 8555 §8, RFC 8738 §7)");
                return refused("challenges", kind.as_str().into(), rule);
            }
        }
        if let Some(organization) = &request.organization {
            let rule = "ACME certificates name no organization; leave it out".to_owned();
            return refused("organization", organization.as_str().into(), rule);
        }
        if request.options.as_object().map_or(!request.options.is_null(), |options| !options.is_empty()) {
            let value = VendorText::new(&request.options.to_string());
            return refused("options", value, "ACME orders have none; leave them out".to_owned());
        }
        match (&request.product, catalog) {
            (Some(wanted), Some(catalog))
                if !catalog.products.iter().any(|product| product.id == *wanted) =>
            {
                let known: Vec<_> = catalog.products.iter().map(|product| product.id.as_str()).collect();
                refused(
                    "product",
                    wanted.as_str().into(),
                    format!("the CA's profiles are: {}", known.join(", ")),
                )
            }
            _ => Ok(()),
        }
    }

    async fn probe(&self) -> Result<AccountSummary> {
        const OPERATION: Operation = Operation::Probe;
        let directory = self.session.fresh_directory(OPERATION).await?;
        let (account, object) = self.accounts.describe(&self.session).await?;
        let status = match object.status {
            Status::Known(AccountStatus::Valid) => "valid".into(),
            Status::Known(AccountStatus::Deactivated | AccountStatus::Revoked) => {
                let kind = ErrorKind::NotEligible("the account is deactivated at the CA".into());
                return Err(self.session.error(OPERATION, kind));
            }
            Status::Unknown(word) => word,
        };
        let mut details = BTreeMap::from([("status".to_owned(), status)]);
        let meta = &directory.meta;
        let joined = |texts: &[VendorText]| {
            let texts: Vec<_> = texts.iter().map(VendorText::as_str).collect();
            Some(VendorText::new(&texts.join(", "))).filter(|text| !text.is_empty())
        };
        let profiles = meta
            .profiles
            .as_ref()
            .map(|profiles| profiles.keys().map(|name| VendorText::new(name)).collect::<Vec<_>>());
        for (name, detail) in [
            ("contacts", object.contact.as_deref().and_then(joined)),
            ("terms_of_service", meta.terms_of_service.clone()),
            ("website", meta.website.clone()),
            ("caa_identities", meta.caa_identities.as_deref().and_then(joined)),
            ("profiles", profiles.as_deref().and_then(joined)),
            ("external_account_required", meta.external_account_required.then(|| "yes".into())),
        ] {
            details.extend(detail.map(|detail| (name.to_owned(), detail)));
        }
        Ok(AccountSummary { identity: Some(account.url().into()), details, warnings: Vec::new() })
    }

    /// Reads the profiles, which become products.
    async fn catalog(&self) -> Result<Catalog> {
        const MOST: usize = 100;
        let directory = self.session.fresh_directory(Operation::Catalog).await?;
        let profiles = directory.meta.profiles.iter().flatten().take(MOST);
        let products = profiles.map(|(name, description)| Product {
            id: name.clone(),
            name: name.as_str().into(),
            available: true,
            validity: Vec::new(),
            key_algorithms: BTreeSet::new(),
            max_identifiers: None,
            wildcards: None,
            details: [("description".to_owned(), description.clone())].into(),
        });
        Ok(Catalog { products: products.collect(), ..Catalog::default() })
    }

    async fn place(&self, intent: &OrderIntent) -> Result<OrderSnapshot> {
        self.capabilities().require(NAME, &intent.request)?;
        self.check(&intent.request, None)
            .map_err(|input| self.session.error(Operation::PlaceOrder, ErrorKind::Input(input)))?;
        self.place_order(intent).await
    }

    /// Says that another order may be placed: orders carry no reference of ours, few CAs list them
    /// (RFC 8555 §7.1.2.1), and one that is not finalized costs nothing and lapses (RFC 8555 §7.1.6).
    async fn find(&self, _: &OrderIntent) -> Result<Found> {
        Ok(Found::Nothing)
    }

    async fn respond(&self, order: &OrderRef, ready: &[ChallengeId]) -> Result<OrderSnapshot> {
        self.answer_challenges(order, ready).await
    }

    async fn poll(&self, order: &OrderRef) -> Result<OrderSnapshot> {
        self.poll_order(order).await
    }

    async fn decide(&self, _: &OrderRef, _: Decision) -> Result<OrderSnapshot> {
        Err(self.unsupported(Operation::Decide, "a decision on an ACME order"))
    }

    async fn approvers(&self, _: &Identifier, _: Option<&str>) -> Result<Vec<String>> {
        Err(self.unsupported(Operation::ListApprovers, "choosing an approver"))
    }

    async fn revalidate(&self, _: &OrderRef, _: &Identifier, _: &Proof) -> Result<OrderSnapshot> {
        Err(self.unsupported(Operation::Revalidate, "another proof in the same order"))
    }

    async fn validate_domain(&self, _: &Identifier, _: &Proof) -> Result<DomainValidation> {
        Err(self.unsupported(Operation::ValidateDomain, "validating domains apart from orders"))
    }

    async fn revoke(&self, revocation: &Revocation, key: Option<&dyn Signer>) -> Result<()> {
        self.revoke_certificate(revocation, key).await
    }

    async fn orders(&self, _: &ImportFilter, _: Option<Cursor>) -> Result<Page<OrderSnapshot>> {
        Err(self.unsupported(Operation::ListOrders, "listing the orders of an ACME account"))
    }

    async fn renewal_window(&self, issued: &IssuedRef) -> Result<Option<RenewalWindow>> {
        self.suggested_window(issued).await
    }
}
