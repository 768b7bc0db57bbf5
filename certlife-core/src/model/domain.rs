//! The domain that is validated at a CA account apart from orders.

use serde::{Deserialize, Serialize};

use super::{
    event::Actor,
    order::{Publication, PublicationState},
    policy::Route,
};
use crate::{
    error::Failure,
    id::AccountName,
    name::Identifier,
    store::{Field, Index},
    text::VendorText,
    time::Timestamp,
};

/// A domain whose validation at a CA account the engine takes care of. Its record is the journal of what was published
/// for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ManagedDomain {
    /// The CA account.
    pub ca: AccountName,
    /// The domain.
    pub domain: Identifier,
    /// How it is proven.
    pub route: Route,
    /// Whether it is validated anew before its validation lapses.
    pub keep: bool,
    /// Who asked.
    pub actor: Actor,
    /// When.
    pub asked_at: Timestamp,
    /// How far it is.
    pub state: DomainState,
    /// Until when the CA says that it is validated.
    #[serde(default)]
    pub valid_until: Option<Timestamp>,
    /// When it is looked at again, where it is to be kept valid.
    #[serde(default)]
    pub next_check: Option<Timestamp>,
    /// The proofs that were, are or may be in place.
    #[serde(default)]
    pub publications: Vec<Publication>,
    /// The CA's words for people.
    #[serde(default)]
    pub message: Option<VendorText>,
    /// Attempts of the present step that failed.
    #[serde(default)]
    pub attempts: u32,
    /// Validations that failed since the last that did not.
    #[serde(default)]
    pub failures: u32,
    /// How often the CA was asked since it last told something new.
    #[serde(default)]
    pub polls: u32,
    /// Why the last attempt failed, or why it is over.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// What people asked for and the engine has not carried out yet.
    #[serde(default)]
    pub request: Option<DomainRequest>,
}

/// How far the validation of a domain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DomainState {
    /// The CA is being asked, or its proof published and watched.
    Pending,
    /// The CA has validated it.
    Valid,
    /// It failed. One that is to be kept valid is tried again.
    Failed,
    /// Somebody gave it up.
    Cancelled,
}

/// What people asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DomainRequest {
    /// Begin anew.
    Begin {
        /// How it is proven from now on.
        route: Route,
        /// Whether it is to be kept valid.
        keep: bool,
        /// Who asked.
        actor: Actor,
    },
    /// Look now, such as for what a person has put in place.
    Look,
    /// Give it up.
    Cancel,
}

impl ManagedDomain {
    /// A wish that nothing was done for yet.
    pub(crate) fn wanted(
        ca: AccountName,
        domain: Identifier,
        route: Route,
        keep: bool,
        actor: Actor,
        now: Timestamp,
    ) -> Self {
        Self {
            ca,
            domain,
            route,
            keep,
            actor,
            asked_at: now,
            state: DomainState::Pending,
            valid_until: None,
            next_check: None,
            publications: Vec::new(),
            message: None,
            attempts: 0,
            polls: 0,
            failures: 0,
            failure: None,
            request: None,
        }
    }

    pub(crate) fn id_of(ca: &AccountName, domain: &Identifier) -> String {
        format!("{ca}/{domain}")
    }

    /// Whether it is being proven, so that what was published for it has to stay.
    pub fn is_under_way(&self) -> bool {
        self.state == DomainState::Pending
    }

    /// Whether something that was published for it may still be in place.
    pub fn has_leftovers(&self) -> bool {
        self.publications.iter().any(|publication| publication.state.may_be_in_place())
    }

    /// Whether a person has to publish something, or to answer a message.
    pub fn waits_for_person(&self) -> bool {
        let by_hand = |publication: &Publication| publication.state == PublicationState::ByHand;
        self.is_under_way() && self.publications.iter().any(by_hand)
    }

    pub(crate) fn index(&self) -> Index {
        let mut index = Index::from([
            (Field::Account, self.ca.to_string()),
            (Field::Name, self.domain.to_string()),
            (
                Field::State,
                if self.is_under_way() || self.has_leftovers() { "open" } else { "closed" }.to_owned(),
            ),
        ]);
        for publication in self.publications.iter().filter(|publication| publication.state.may_be_in_place())
        {
            index.insert((Field::Publication, publication.place()));
        }
        index
    }
}
