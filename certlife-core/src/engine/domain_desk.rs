//! Commands and queries about domains that are validated at a CA account apart from orders.

use super::{
    Engine, Principal,
    principal::{not_now, unknown},
    routes,
};
use crate::{
    error::{Error, ErrorKind, Operation, Result},
    id::AccountName,
    journal::{Changes, lost_race},
    model::{DomainRequest, EventKind, ManagedDomain, Route},
    name::Identifier,
    store::{Cursor, Key, Kind, Page, Query},
};

impl Principal {
    /// Has a domain validated at a CA account apart from orders, by a DNS account, a target, a message or by hand: the
    /// engine asks what to publish, publishes it, watches it, has the CA look, and removes it again. With `keep` it is
    /// validated anew before it lapses. Asked again, it begins anew; what becomes of it is in the
    /// [`ManagedDomain`] and in the feed.
    ///
    /// # Errors
    ///
    /// An [`InputError`](crate::InputError) if the route does not suit the domain, the CA or the account;
    /// [`ErrorKind::Unsupported`] if the CA validates domains with orders only.
    pub async fn prove_domain(
        &self,
        account: &AccountName,
        domain: &Identifier,
        route: Route,
        keep: bool,
    ) -> Result<ManagedDomain> {
        let context = self.context();
        let fail = |input| Error::input(Operation::ValidateDomain, input);
        let ca = context.accounts.ca(account).map_err(fail)?;
        let offered = ca.provider.capabilities().domain_challenges;
        if offered.is_empty() {
            let kind = ErrorKind::Unsupported("validating domains apart from orders".into());
            return Err(Error::new(ca.provider.provider(), Operation::ValidateDomain, kind));
        }
        routes::proof(context, &route, domain, &offered).map_err(fail)?;
        let now = context.now();
        loop {
            let id = ManagedDomain::id_of(account, domain);
            let (asked_account, asked_domain) = (account.clone(), domain.clone());
            let kind =
                EventKind::DomainAsked { account: asked_account, domain: asked_domain, route: route.clone() };
            let mut changes = Changes::new();
            let value = match context.journal.load::<ManagedDomain>(&id).await? {
                Some(mut stored) => {
                    let (route, actor) = (route.clone(), self.actor.clone());
                    stored.value.request = Some(DomainRequest::Begin { route, keep, actor });
                    changes.replace(&stored, Some(now));
                    stored.value
                }
                None => {
                    let (route, actor) = (route.clone(), self.actor.clone());
                    let new = ManagedDomain::wanted(account.clone(), domain.clone(), route, keep, actor, now);
                    changes.insert(&new, Some(now));
                    new
                }
            };
            changes.event(&self.event(kind));
            match context.journal.commit(changes).await {
                Ok(()) => return Ok(value),
                Err(error) if lost_race(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Has the engine look now at a domain's proof, such as one that a person has put in place, and ask the CA.
    ///
    /// # Errors
    ///
    /// [`InputError::Unknown`](crate::InputError::Unknown) if the domain is not managed at that account.
    pub async fn verify_domain(&self, account: &AccountName, domain: &Identifier) -> Result<()> {
        self.ask_of_domain(account, domain, DomainRequest::Look).await
    }

    /// Gives the validation of a domain up, now and for later, and removes what was published for it. At the CA nothing
    /// changes.
    ///
    /// # Errors
    ///
    /// As [`verify_domain`](Self::verify_domain).
    pub async fn cancel_domain(&self, account: &AccountName, domain: &Identifier) -> Result<()> {
        self.ask_of_domain(account, domain, DomainRequest::Cancel).await
    }

    async fn ask_of_domain(
        &self,
        account: &AccountName,
        domain: &Identifier,
        request: DomainRequest,
    ) -> Result<()> {
        let context = self.context();
        loop {
            let id = ManagedDomain::id_of(account, domain);
            let stored = context.journal.load::<ManagedDomain>(&id).await?;
            let mut stored = stored.ok_or_else(|| unknown("managed domain", &id))?;
            stored.value.request = Some(request.clone());
            let mut changes = Changes::new();
            changes.replace(&stored, Some(context.now()));
            match context.journal.commit(changes).await {
                Err(error) if lost_race(&error) => {}
                other => return other,
            }
        }
    }

    /// Forgets a domain whose validation is over. At the CA nothing changes.
    ///
    /// # Errors
    ///
    /// As [`verify_domain`](Self::verify_domain); [`ErrorKind::NotNow`] while it is under way, or something that was
    /// published for it is still in place: cancel it first.
    pub async fn forget_domain(&self, account: &AccountName, domain: &Identifier) -> Result<()> {
        let context = self.context();
        let id = ManagedDomain::id_of(account, domain);
        let stored = context.journal.load::<ManagedDomain>(&id).await?;
        let stored = stored.ok_or_else(|| unknown("managed domain", &id))?;
        let value = &stored.value;
        if value.is_under_way() || value.has_leftovers() || value.request.is_some() {
            return Err(not_now("the validation is under way or being cleaned up; cancel it and try again"));
        }
        let mut changes = Changes::new();
        changes.delete(Key::new(Kind::Domain, &id), stored.revision);
        context.journal.commit(changes).await
    }
}

impl Engine {
    /// [`Principal::prove_domain`] in the host's own name.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn prove_domain(
        &self,
        account: &AccountName,
        domain: &Identifier,
        route: Route,
        keep: bool,
    ) -> Result<ManagedDomain> {
        self.host().prove_domain(account, domain, route, keep).await
    }

    /// [`Principal::verify_domain`] in the host's own name.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn verify_domain(&self, account: &AccountName, domain: &Identifier) -> Result<()> {
        self.host().verify_domain(account, domain).await
    }

    /// [`Principal::cancel_domain`] in the host's own name.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn cancel_domain(&self, account: &AccountName, domain: &Identifier) -> Result<()> {
        self.host().cancel_domain(account, domain).await
    }

    /// [`Principal::forget_domain`] in the host's own name.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn forget_domain(&self, account: &AccountName, domain: &Identifier) -> Result<()> {
        self.host().forget_domain(account, domain).await
    }

    /// Reads how far the validation of a domain is.
    ///
    /// # Errors
    ///
    /// [`InputError::Unknown`](crate::InputError::Unknown) if the domain is not managed at that account.
    pub async fn managed_domain(&self, account: &AccountName, domain: &Identifier) -> Result<ManagedDomain> {
        let id = ManagedDomain::id_of(account, domain);
        let stored = self.context.journal.load::<ManagedDomain>(&id).await?;
        stored.map(|stored| stored.value).ok_or_else(|| unknown("managed domain", &id))
    }

    /// Lists the domains whose validation the engine takes care of, by account and name.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn managed_domains(&self, page: Option<Cursor>) -> Result<Page<ManagedDomain>> {
        let listed = self.context.journal.page::<ManagedDomain>(Query::all(Kind::Domain).after(page)).await?;
        listed.try_map(|stored| Ok(stored.value))
    }
}
