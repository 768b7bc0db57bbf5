//! The order: one attempt at a CA to get a version, with every publication that it made.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    ca::{Decision, OrderHandle, OrderIntent, OrderRef, PurposeKind, Stage},
    challenge::{Authorization, ChallengeId, ChallengeResponse},
    dns::DnsRecord,
    error::Failure,
    id::{AccountName, CertificateId, KeyId, OrderId, VersionId},
    lookup::ServerReport,
    name::{Fqdn, Identifier},
    store::{Field, Index},
    text::VendorText,
    time::Timestamp,
};

use super::{
    account_policy::DecidedBy,
    certificate::RenewalTrigger,
    policy::{Route, TargetKey},
};

/// One attempt at a CA to get a version. Its record is the journal of everything that was done for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Order {
    /// Its id.
    pub id: OrderId,
    /// The certificate that it is for.
    pub certificate: CertificateId,
    /// The CA account.
    pub ca: AccountName,
    /// What it is for.
    pub purpose: PurposeKind,
    /// By which rule it was due, for one that follows or replaces a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<RenewalTrigger>,
    /// Whose word had it renewed, for one that was ordered by a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<DecidedBy>,
    /// The version that it follows or replaces.
    #[serde(default)]
    pub predecessor: Option<VersionId>,
    /// Why it is reissued, for the CA's record.
    #[serde(default)]
    pub reason: Option<VendorText>,
    /// When it was drafted.
    pub created_at: Timestamp,
    /// How far it is here.
    pub state: OrderState,
    /// How far it is at the CA, as last told.
    #[serde(default)]
    pub stage: Option<Stage>,
    /// The sealed private key; none if the key is elsewhere.
    #[serde(default)]
    pub key: Option<KeyId>,
    /// The private key, if it is made on a target. Stored before the target is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_key: Option<TargetKey>,
    /// What is, or was, asked of the CA. Stored before it is asked.
    #[serde(default)]
    pub intent: Option<OrderIntent>,
    /// When the CA was last asked to place it. Stored before it is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<Timestamp>,
    /// How the CA finds it again.
    #[serde(default)]
    pub handle: Option<OrderHandle>,
    /// The order's number at the CA, as people there know it.
    #[serde(default)]
    pub number: Option<VendorText>,
    /// The authorizations, as last told.
    #[serde(default)]
    pub authorizations: Vec<Authorization>,
    /// The challenge responses that were, are or may be in place.
    #[serde(default)]
    pub publications: Vec<Publication>,
    /// The routes that were asked for in this order alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub routes: BTreeMap<Identifier, Route>,
    /// Until when it was paid for, where its certificate ends earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term_ends: Option<Timestamp>,
    /// When the CA gives the order up.
    #[serde(default)]
    pub expires: Option<Timestamp>,
    /// The CA's words for people.
    #[serde(default)]
    pub message: Option<VendorText>,
    /// Attempts of the present step that failed.
    #[serde(default)]
    pub attempts: u32,
    /// Polls since the CA last told something new.
    #[serde(default)]
    pub polls: u32,
    /// Why the last attempt failed, or why the order did.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// The version that came of it.
    #[serde(default)]
    pub version: Option<VersionId>,
    /// When it was over.
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
    /// What people asked for and the engine has not carried out yet.
    #[serde(default)]
    pub requests: BTreeSet<Request>,
}

impl Order {
    /// How the CA finds it again, once it is placed.
    pub fn at_ca(&self) -> Option<OrderRef> {
        Some(OrderRef { intent: self.intent.clone(), handle: self.handle.clone()? })
    }

    /// Whether something that it published may still be in place.
    pub fn has_leftovers(&self) -> bool {
        self.publications.iter().any(|publication| publication.state.may_be_in_place())
    }

    /// Whether nothing is left to do for it.
    pub fn is_closed(&self) -> bool {
        self.state.is_over() && !self.has_leftovers()
    }

    pub(crate) fn index(&self) -> Index {
        let mut index = Index::from([
            (Field::Owner, self.certificate.to_string()),
            (Field::Account, self.ca.to_string()),
            (Field::State, if self.is_closed() { "closed" } else { "open" }.to_owned()),
        ]);
        if let Some(number) = &self.number {
            index.insert((Field::Reference, number.as_str().to_owned()));
        }
        for publication in self.publications.iter().filter(|publication| publication.state.may_be_in_place())
        {
            index.insert((Field::Publication, publication.place()));
        }
        index
    }

    /// Takes over what the host may have written into the stored record while a worker held the order.
    pub(crate) fn adopt_requests(&mut self, stored: &Self) {
        self.requests.extend(stored.requests.iter().cloned());
    }

    pub(crate) fn end(&mut self, state: OrderState, failure: Option<Failure>, now: Timestamp) {
        self.state = state;
        self.failure = failure;
        self.ended_at = Some(now);
        self.attempts = 0;
        self.requests.clear();
    }
}

/// How far an order is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OrderState {
    /// Wanted; the CA was not asked yet, or could not be reached.
    Drafted,
    /// Key and intent are stored; the CA is being asked, or was and the answer is not known.
    Placing,
    /// The CA cannot say whether the order exists, and a second one would cost money: a person decides
    /// with [`Request::PlaceAgain`] or [`Request::Abandon`].
    InDoubt,
    /// Challenges are being published, watched and answered.
    Validating,
    /// Somebody has to approve it.
    AwaitingApproval,
    /// Held until somebody resumes it.
    Suspended,
    /// The CA works on it.
    Processing,
    /// The version is stored.
    Issued,
    /// Given up here: something that no retry mends.
    Failed,
    /// The CA refused it.
    Rejected,
    /// Cancelled.
    Cancelled,
    /// The CA gave it up.
    Expired,
}

impl OrderState {
    /// Whether the order is over, with a version or without.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Issued | Self::Failed | Self::Rejected | Self::Cancelled | Self::Expired)
    }
}

/// What people asked of an order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Request {
    /// A decision for the CA.
    Decide(Decision),
    /// What is published by hand is in place: look, and tell the CA.
    Verify,
    /// Prove an identifier in another way, or have the CA look or write once more.
    Revalidate {
        /// The identifier.
        identifier: Identifier,
        /// How from now on.
        route: Route,
    },
    /// The order in doubt does not exist: place it again.
    PlaceAgain,
    /// The order in doubt is to be given up.
    Abandon,
}

/// One challenge response that we put somewhere, with what is needed to remove it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Publication {
    /// The identifiers whose control it proves; two if they share one response.
    pub identifiers: BTreeSet<Identifier>,
    /// The challenges that it answers.
    pub challenges: BTreeSet<ChallengeId>,
    /// What the CA asked for.
    pub response: ChallengeResponse,
    /// How it is published.
    pub route: Route,
    /// Why that way.
    pub because: RouteReason,
    /// The owner name that is written, where CNAMEs lead elsewhere.
    #[serde(default)]
    pub delegated_to: Option<Fqdn>,
    /// How far it is.
    pub state: PublicationState,
    /// Whether the value was there before us, so that it stays when we go.
    #[serde(default)]
    pub foreign: bool,
    /// The handle that removes it: of a DNS record or of a response on a target.
    #[serde(default)]
    pub handle: Option<serde_json::Value>,
    /// Since when it is in place.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Attempts of the present step that failed.
    #[serde(default)]
    pub attempts: u32,
    /// When the next attempt is made.
    #[serde(default)]
    pub retry_at: Option<Timestamp>,
    /// Why the last attempt failed.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// What each server said, while it is not visible everywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<ServerReport>,
}

impl Publication {
    /// The DNS record that is written, for a challenge that DNS answers.
    pub fn record(&self) -> Option<DnsRecord> {
        match &self.response {
            ChallengeResponse::DnsTxt { name, value } => {
                Some(DnsRecord::txt(self.delegated_to.clone().unwrap_or_else(|| name.clone()), value.clone()))
            }
            ChallengeResponse::DnsCname { name, target } => {
                Some(DnsRecord::cname(name.clone(), target.clone()))
            }
            _ => None,
        }
    }

    /// Names the account and the value, equal for two orders that published the same value.
    pub(crate) fn place(&self) -> String {
        let account = self.route.account().map(AccountName::as_str).unwrap_or_default();
        match (&self.response, self.record()) {
            (_, Some(record)) => format!("{account} {} {:?}", record.name, record.data),
            (ChallengeResponse::Http(file), _) => format!("{account} http://{}{}", file.host, file.path),
            (ChallengeResponse::TlsAlpn(alpn), _) => format!("{account} tls-alpn {}", alpn.identifier),
            (other, _) => format!("{account} {other:?}"),
        }
        .chars()
        .take(500)
        .collect()
    }
}

/// How far a publication is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PublicationState {
    /// It is being put in place; it may or may not be there.
    Placing,
    /// A person has to put it in place.
    ByHand,
    /// It is in place but not seen everywhere yet.
    Placed,
    /// It is seen where the CA will look.
    Visible,
    /// The CA was told.
    Answered,
    /// It is gone.
    Withdrawn,
    /// It was there before us, or another order still needs it; it stays.
    LeftAlone,
}

impl PublicationState {
    /// Whether something of ours may be in place.
    pub fn may_be_in_place(self) -> bool {
        matches!(self, Self::Placing | Self::Placed | Self::Visible | Self::Answered)
    }
}

/// Why a publication goes the way it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RouteReason {
    /// It was asked for in this order.
    OrderRoute,
    /// It was asked for with the validation of the domain.
    DomainRoute,
    /// The certificate names the route for this identifier.
    IdentifierRoute,
    /// The certificate names the route.
    CertificateRoute,
    /// A domain mapping names the route.
    DomainMapping(Fqdn),
    /// The CA account has a default route.
    AccountDefault,
}
