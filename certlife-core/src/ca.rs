//! The [`CertificateAuthority`] contract and what travels through it.

mod admit;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    account::AccountSummary,
    challenge::{Authorization, ChallengeId, ChallengeKind, Proof},
    csr::Csr,
    error::{ProviderName, Result},
    input::InputError,
    key::{KeyAlgorithm, PrivateKey},
    name::Identifier,
    store::{Cursor, Page},
    text::VendorText,
    time::Timestamp,
    x509::{Chain, RevocationReason},
};

/// Orders certificates at one account of a certificate authority.
///
/// The engine stores an [`OrderIntent`] before it calls [`place`](Self::place), stores the
/// [`OrderSnapshot`] that comes back, answers the challenges in it, and asks [`poll`](Self::poll) until the
/// order is issued or over. One shape fits an ACME order that takes seconds and an organization-validated
/// one that takes nine days with an approval in between.
///
/// # Contract
///
/// * **Durable.** The provider keeps nothing in memory that a later call needs: intent and handle suffice,
///   in a new process, on another machine. What an account needs beyond that lives in its
///   [`Vault`](crate::Vault).
/// * **Findable.** After a lost answer [`find`](Self::find) tells whether the intent's order exists, or says
///   that it cannot tell. It never guesses, and never places anything.
/// * **Polled harmlessly.** [`poll`](Self::poll) and [`respond`](Self::respond) may be repeated at any time, in any stage.
/// * **Honest.** A stage is reported only if the CA said so; an unknown status is `Processing` with the CA's word.
/// * **Whole.** `Issued` comes with the certificate and every intermediate that the CA sends.
/// * **Prompt.** A call returns once the CA answers; waiting is the engine's.
/// * **Declared.** What [`capabilities`](Self::capabilities) rules out is refused with
///   [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) before anything is sent.
/// * **Abandonable.** A dropped call may have had its effect; `find` and `poll` show it.
///
/// `certlife_testkit::ca_conformance!` checks every line above on every implementation.
///
/// # Errors
///
/// [`ErrorKind::Uncertain`](crate::ErrorKind::Uncertain) from a call that may have had its effect although no answer came;
/// with [`Retry::After`](crate::Retry::After) the engine waits as long before it looks.
/// [`ErrorKind::Unreachable`](crate::ErrorKind::Unreachable) and [`ErrorKind::RateLimited`](crate::ErrorKind::RateLimited)
/// from [`place`](Self::place) mean that nothing was ordered.
/// [`Error::retry`](crate::Error::retry) says whether to call again.
#[async_trait]
pub trait CertificateAuthority: fmt::Debug + Send + Sync + 'static {
    /// Names the vendor in errors, logs and metrics: lower case, never renamed.
    fn provider(&self) -> ProviderName;

    /// Tells what this account can do, so that the engine asks for nothing else.
    fn capabilities(&self) -> CaCapabilities;

    /// Checks a request locally, above all the vendor's own options and `catalog` where it is known.
    ///
    /// # Errors
    ///
    /// Names the field, the value and the rule. Nothing is sent.
    fn check(&self, request: &OrderRequest, catalog: Option<&Catalog>) -> Result<(), InputError>;

    /// Tests the account ("test login"), with a precise reason when it is refused.
    async fn probe(&self) -> Result<AccountSummary>;

    /// Reads what the account may order: organizations, domains, products.
    async fn catalog(&self) -> Result<Catalog>;

    /// Places the order. Called once an intent unless [`find`](Self::find) has said that it does not exist.
    async fn place(&self, intent: &OrderIntent) -> Result<OrderSnapshot>;

    /// Looks once for the order of an intent after the answer to [`place`](Self::place) was lost. The engine looks
    /// again once the time that orders may take to show has passed ([`CaCapabilities::settles_in`]).
    async fn find(&self, intent: &OrderIntent) -> Result<Found>;

    /// Tells the CA that the responses to these challenges are in place. Those already answered are skipped.
    async fn respond(&self, order: &OrderRef, ready: &[ChallengeId]) -> Result<OrderSnapshot>;

    /// Asks how the order is, and advances what only needs asking, such as ACME's finalize.
    async fn poll(&self, order: &OrderRef) -> Result<OrderSnapshot>;

    /// Carries out a decision on the order, or on the certificate that came of it. One that was carried out already is
    /// success.
    async fn decide(&self, order: &OrderRef, decision: Decision) -> Result<OrderSnapshot>;

    /// Lists the e-mail addresses of which one may confirm control of `domain` for a product (BR §3.2.2.4.4).
    async fn approvers(&self, domain: &Identifier, product: Option<&str>) -> Result<Vec<String>>;

    /// Has one identifier of an open order proven like this from now on. If that is how it is proven already, the CA
    /// looks, or sends its message, once more. May be repeated.
    async fn revalidate(
        &self,
        order: &OrderRef,
        identifier: &Identifier,
        proof: &Proof,
    ) -> Result<OrderSnapshot>;

    /// Starts to validate a domain apart from any order; asked again, the CA looks whether the proof is there.
    /// A domain that is validated already, and like this, is success.
    async fn validate_domain(&self, domain: &Identifier, proof: &Proof) -> Result<DomainValidation>;

    /// Revokes a certificate. One that is revoked already is success.
    ///
    /// `key` is the certificate's own key where the engine holds it: some CAs accept its signature in
    /// place of the account's. It can sign and nothing else.
    async fn revoke(&self, revocation: &Revocation, key: Option<&dyn Signer>) -> Result<()>;

    /// Lists the orders that the account already has, a page at a time, for import.
    async fn orders(&self, filter: &ImportFilter, page: Option<Cursor>) -> Result<Page<OrderSnapshot>>;

    /// Asks when the CA wants a certificate to be renewed (RFC 9773); none if it does not say.
    async fn renewal_window(&self, issued: &IssuedRef) -> Result<Option<RenewalWindow>>;
}

/// Signs on behalf of a certificate's private key without showing it.
pub trait Signer: fmt::Debug + Send + Sync {
    /// The public key as a JWK (RFC 7517).
    ///
    /// # Errors
    ///
    /// If the key cannot be written as one.
    fn jwk(&self) -> Result<serde_json::Value>;

    /// The JWS algorithm that goes with the key (RFC 7518 §3.1).
    fn jws_algorithm(&self) -> &'static str;

    /// Signs `message`; the signature is in JWS form.
    ///
    /// # Errors
    ///
    /// If the signing fails.
    fn sign_jws(&self, message: &[u8]) -> Result<Vec<u8>>;
}

impl Signer for PrivateKey {
    fn jwk(&self) -> Result<serde_json::Value> {
        Self::jwk(self)
    }

    fn jws_algorithm(&self) -> &'static str {
        Self::jws_algorithm(self)
    }

    fn sign_jws(&self, message: &[u8]) -> Result<Vec<u8>> {
        Self::sign_jws(self, message)
    }
}

/// What a CA account can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::exhaustive_structs,
    reason = "CAs outside this crate build it; a new field is a question to each"
)]
#[expect(clippy::struct_excessive_bools, reason = "each answers a question of its own")]
pub struct CaCapabilities {
    /// Which purposes [`place`](CertificateAuthority::place) accepts.
    pub purposes: BTreeSet<PurposeKind>,
    /// Which challenges its orders may ask for; empty if the CA asks for none.
    pub challenges: BTreeSet<ChallengeKind>,
    /// Whether it issues for wildcards.
    pub wildcards: bool,
    /// Whether it issues for IP addresses.
    pub addresses: bool,
    /// The most identifiers in one certificate.
    pub max_identifiers: usize,
    /// The keys it certifies.
    pub key_algorithms: BTreeSet<KeyAlgorithm>,
    /// What a second order would cost.
    pub placement: Placement,
    /// How long an order may take to show after it was sent. Until then the engine looks again
    /// instead of believing that nothing is there. Zero for a
    /// CA that shows it at once, or whose second order costs nothing.
    pub settles_in: Duration,
    /// Which decisions it accepts.
    pub decisions: BTreeSet<Decision>,
    /// Whether it lists [approvers](CertificateAuthority::approvers).
    pub approvers: bool,
    /// Whether an identifier of an open order can be [validated anew](CertificateAuthority::revalidate).
    pub revalidation: bool,
    /// Which proofs it takes for domains [apart](CertificateAuthority::validate_domain) from orders; empty if it
    /// validates with orders only.
    pub domain_challenges: BTreeSet<ChallengeKind>,
    /// Whether it has a catalog.
    pub catalog: bool,
    /// Whether existing orders can be listed.
    pub import: bool,
    /// Whether it revokes.
    pub revocation: bool,
    /// Whether it offers renewal information (RFC 9773).
    pub renewal_info: bool,
}

/// What a second order for the same intent would cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "the engine handles every case")]
pub enum Placement {
    /// Nothing: an order that is never finalized lapses by itself, and a failed one may be placed anew.
    Free,
    /// Money. In doubt a person decides.
    Paid,
}

/// What an order is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "purpose", rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "CAs handle every case")]
pub enum Purpose {
    /// The first version of a certificate.
    New,
    /// The next term: new money where the CA takes any.
    Renewal {
        /// The version that it follows.
        of: Box<IssuedRef>,
    },
    /// The same order with another key or other names.
    Reissue {
        /// The version that it replaces.
        of: Box<IssuedRef>,
        /// Why, for the CA's record.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<VendorText>,
    },
}

impl Purpose {
    /// The kind alone.
    pub fn kind(&self) -> PurposeKind {
        match self {
            Self::New => PurposeKind::New,
            Self::Renewal { .. } => PurposeKind::Renewal,
            Self::Reissue { .. } => PurposeKind::Reissue,
        }
    }

    /// The version that is followed or replaced.
    pub fn predecessor(&self) -> Option<&IssuedRef> {
        match self {
            Self::New => None,
            Self::Renewal { of } | Self::Reissue { of, .. } => Some(of),
        }
    }
}

/// A [`Purpose`] without its data, and `Import` for orders that were placed elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PurposeKind {
    /// The first version.
    New,
    /// The next term.
    Renewal,
    /// The same order again.
    Reissue,
    /// Taken over from the CA's list.
    Import,
}

/// What the host wants from a CA, before key and CSR exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "tests of CAs outside this crate build it")]
pub struct OrderRequest {
    /// What the order is for.
    #[serde(flatten)]
    pub purpose: Purpose,
    /// The identifiers, in the order the host gave; the first is the common name where there is one.
    pub identifiers: Vec<Identifier>,
    /// The algorithm of the key, where it is known.
    pub key_algorithm: Option<KeyAlgorithm>,
    /// The validity period that is wanted; none means the CA's usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validity: Option<Duration>,
    /// The product or profile, by the id that the catalog gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// The organization, by the id that the catalog gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// People that the CA may write to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contacts: Vec<Contact>,
    /// How each identifier will be validated; identifiers that are absent leave the choice to the CA.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub challenges: BTreeMap<Identifier, Proof>,
    /// The vendor's own options, as its schema describes them.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub options: serde_json::Value,
}

/// A person that a CA may write to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[expect(clippy::exhaustive_structs, reason = "hosts build it")]
pub struct Contact {
    /// What the person is asked about.
    pub role: ContactRole,
    /// E-mail address.
    pub email: String,
    /// Given name.
    #[serde(default)]
    pub first_name: String,
    /// Family name.
    #[serde(default)]
    pub last_name: String,
    /// Position in the organization.
    #[serde(default)]
    pub title: String,
    /// Telephone number.
    #[serde(default)]
    pub phone: String,
}

/// What a contact is asked about.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ContactRole {
    /// The organization's contact for the order.
    Administrative,
    /// The technical contact.
    Technical,
    /// Whoever asked for the certificate.
    Requester,
}

/// An order as it is about to be placed. Stored before anything is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "tests of CAs outside this crate build it")]
pub struct OrderIntent {
    /// Our own reference, unique to this intent, at most 50 characters of `[a-z0-9-]`; it travels in the CA's field for it.
    pub reference: String,
    /// What is wanted.
    pub request: OrderRequest,
    /// The certificate signing request.
    pub csr: Csr,
}

/// An order that was placed: the intent and the vendor's durable handle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "tests of CAs outside this crate build it")]
pub struct OrderRef {
    /// What was asked for; none for an imported order.
    pub intent: Option<OrderIntent>,
    /// How the vendor finds it again.
    pub handle: OrderHandle,
}

/// The vendor's durable handle of an order: JSON that only the vendor reads, at most 16 KiB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
#[expect(clippy::exhaustive_structs, reason = "CAs outside this crate build it")]
pub struct OrderHandle(pub serde_json::Value);

/// What [`CertificateAuthority::find`] learned.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the engine handles every case")]
pub enum Found {
    /// The order exists; this is it.
    Order(Box<OrderSnapshot>),
    /// No such order shows, and one that has had its time would. Or a second one costs nothing.
    Nothing,
    /// The CA cannot be asked with certainty.
    CannotTell,
}

/// An order as the CA shows it now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "CAs outside this crate build it")]
pub struct OrderSnapshot {
    /// How the vendor finds the order again.
    pub handle: OrderHandle,
    /// How far it is.
    pub stage: Stage,
    /// The authorizations, where the CA told them this time; none means as last told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorizations: Option<Vec<Authorization>>,
    /// The certificate with its chain, from stage `Issued` on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Chain>,
    /// When the CA wants to be asked again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask_again: Option<Duration>,
    /// When the CA gives the order up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Until when the order was paid for, where its certificates end earlier: until then the next one is a reissue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term_ends: Option<Timestamp>,
    /// The CA's words for people: why it is rejected, what it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<VendorText>,
    /// The order's number at the CA, as people there know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<VendorText>,
    /// The identifiers, for orders that were placed elsewhere; empty means those of the intent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identifiers: Vec<Identifier>,
    /// More that a person may want to see: product, organization, price.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, VendorText>,
}

impl OrderSnapshot {
    /// A snapshot with a handle and a stage and nothing else.
    pub fn new(handle: OrderHandle, stage: Stage) -> Self {
        Self {
            handle,
            stage,
            authorizations: None,
            certificate: None,
            ask_again: None,
            expires: None,
            term_ends: None,
            message: None,
            number: None,
            identifiers: Vec::new(),
            details: BTreeMap::new(),
        }
    }
}

/// How far an order is at the CA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "the engine handles every stage")]
pub enum Stage {
    /// Challenges wait for an answer, or the CA checks them.
    Validating,
    /// A person has to approve it, at the CA or here.
    AwaitingApproval,
    /// The CA works on it.
    Processing,
    /// The certificate is there.
    Issued,
    /// The CA refused it.
    Rejected,
    /// It was cancelled.
    Cancelled,
    /// It is suspended until somebody resumes it.
    Suspended,
    /// It, or its certificate, has expired.
    Expired,
    /// Its certificate is revoked.
    Revoked,
}

impl Stage {
    /// Whether the order is over without a certificate.
    pub fn is_lost(self) -> bool {
        matches!(self, Self::Rejected | Self::Cancelled | Self::Expired | Self::Revoked)
    }
}

/// A decision on an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Decision {
    /// Let it be issued.
    Approve,
    /// Refuse it.
    Decline,
    /// Hold it.
    Suspend,
    /// Let a suspended one go on.
    Resume,
    /// Give it up.
    Cancel,
    /// Take it out of the CA's management without revoking it: no more reminders, and where the CA counts
    /// certificates, it counts no longer.
    Deactivate,
    /// Take a deactivated one back into management.
    Reactivate,
}

/// How far the validation of a domain is that is apart from any order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "CAs outside this crate build it")]
pub struct DomainValidation {
    /// What the CA wants to see, and whether it has seen it.
    pub authorization: Authorization,
    /// Until when the validation holds, once it is valid and where the CA says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
    /// When the CA wants to be asked again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask_again: Option<Duration>,
}

/// A certificate that a CA issued, and the order that it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "tests of CAs outside this crate build it")]
pub struct IssuedRef {
    /// The order's handle, where it is known to this account.
    pub handle: Option<OrderHandle>,
    /// The certificate with its chain.
    pub chain: Chain,
}

/// A wish to revoke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "tests of CAs outside this crate build it")]
pub struct Revocation {
    /// Which certificate.
    pub issued: IssuedRef,
    /// Why (RFC 5280 §5.3.1).
    pub reason: RevocationReason,
    /// For the CA's record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<VendorText>,
}

/// When a CA wants a certificate to be renewed (RFC 9773 §4.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "CAs outside this crate build it")]
pub struct RenewalWindow {
    /// The start of the suggested window.
    pub start: Timestamp,
    /// The end of the suggested window.
    pub end: Timestamp,
    /// A page that explains it to people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<VendorText>,
    /// When the CA wants to be asked again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask_again: Option<Duration>,
}

/// What a CA account may order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "CAs outside this crate build it")]
pub struct Catalog {
    /// Products or profiles.
    pub products: Vec<Product>,
    /// Organizations.
    pub organizations: Vec<Organization>,
    /// Domains that the CA knows the account for.
    pub domains: Vec<CatalogDomain>,
}

/// A product or profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "CAs outside this crate build it")]
pub struct Product {
    /// What orders name.
    pub id: String,
    /// What people read.
    pub name: VendorText,
    /// Whether it can be ordered now.
    pub available: bool,
    /// The validity periods on offer; empty if the CA does not say.
    pub validity: Vec<Duration>,
    /// The keys that it certifies; empty if the CA does not say.
    pub key_algorithms: BTreeSet<KeyAlgorithm>,
    /// The most identifiers; none if the CA does not say.
    pub max_identifiers: Option<usize>,
    /// Whether wildcards are allowed; none if the CA does not say.
    pub wildcards: Option<bool>,
    /// More for people and for the vendor's own checks.
    pub details: BTreeMap<String, VendorText>,
}

/// An organization that certificates can name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "CAs outside this crate build it")]
pub struct Organization {
    /// What orders name.
    pub id: String,
    /// What people read.
    pub name: VendorText,
    /// The organization above, where this is a department.
    pub parent: Option<String>,
    /// How far its validation is.
    pub status: ValidationStatus,
    /// Until when its validation holds.
    pub valid_until: Option<Timestamp>,
}

/// A domain that the CA knows the account for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "CAs outside this crate build it")]
pub struct CatalogDomain {
    /// What the CA calls it.
    pub id: String,
    /// The domain.
    pub name: Identifier,
    /// How far its validation is.
    pub status: ValidationStatus,
    /// Until when its validation holds.
    pub valid_until: Option<Timestamp>,
}

/// How far a validation that outlives one order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ValidationStatus {
    /// Done and in force.
    Valid,
    /// Under way.
    Pending,
    /// It was in force once.
    Expired,
    /// Refused.
    Refused,
    /// The CA does not say.
    Unknown,
}

/// Which existing orders to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::exhaustive_structs, reason = "hosts build it")]
pub struct ImportFilter {
    /// Leaves expired certificates out.
    pub skip_expired: bool,
    /// Leaves revoked certificates out.
    pub skip_revoked: bool,
    /// Leaves cancelled and rejected orders out.
    pub skip_cancelled: bool,
    /// Leaves orders out that were placed before.
    pub placed_after: Option<Timestamp>,
    /// Only these products; empty means all.
    pub products: BTreeSet<String>,
    /// Only orders that hold one of these names; empty means all.
    pub names: BTreeSet<Identifier>,
}
