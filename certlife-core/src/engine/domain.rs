//! Domains validated at a CA account apart from orders: asked for, published, watched, and withdrawn again.

use std::time::Duration;

use super::{Context, accounts, backoff::Backoff, order::is_our_store, publication, routes};
use crate::{
    ca::DomainValidation,
    challenge::AuthorizationStatus,
    error::{Error, ErrorKind, Operation, Result, Retry},
    journal::{Changes, Document, Stored, lost_race},
    model::{
        Actor, DomainRequest, DomainState, EventKind, ManagedDomain, Occurrence, Publication,
        PublicationState,
    },
    store::{AfterCommit, Index, Kind, Lease, Record},
    time::Timestamp,
};

const DAY: Duration = Duration::from_hours(24);

impl Document for ManagedDomain {
    const KIND: Kind = Kind::Domain;

    fn id(&self) -> String {
        Self::id_of(&self.ca, &self.domain)
    }

    fn index(&self) -> Index {
        ManagedDomain::index(self)
    }
}

/// Takes the validation of a domain as far as it goes now.
pub(super) async fn step(context: &Context, record: &Record, lease: &Lease) -> Result<()> {
    let domain = Stored::read(record)?;
    Run { context, lease, domain, events: Vec::new(), sure: false }.finish().await
}

/// One worker's run over one domain, under its lease.
struct Run<'a> {
    context: &'a Context,
    lease: &'a Lease,
    domain: Stored<ManagedDomain>,
    /// Events of the next commit.
    events: Vec<Occurrence>,
    /// Whether this run itself stored what is to be published, so that none of it can be in place yet.
    sure: bool,
}

/// What comes after a step.
enum Next {
    /// The next step, at once.
    Now,
    /// The next step, not before this moment.
    At(Timestamp),
    /// Nothing until somebody asks for something.
    Asked,
}

impl Run<'_> {
    async fn finish(mut self) -> Result<()> {
        loop {
            let due = match self.advance().await? {
                Next::Now => {
                    self.save(Some(self.context.now()), AfterCommit::Keep).await?;
                    continue;
                }
                Next::At(moment) => Some(moment),
                Next::Asked => None,
            };
            if self.save(due, AfterCommit::Release).await? {
                return Ok(());
            }
        }
    }

    async fn advance(&mut self) -> Result<Next> {
        if let Some(request) = self.domain.value.request.take() {
            return self.carry_out(request).await;
        }
        match self.domain.value.state {
            DomainState::Pending => self.validate().await,
            _ if self.domain.value.has_leftovers() => Ok(self.withdraw().await),
            DomainState::Valid | DomainState::Failed if self.domain.value.keep => Ok(self.wait()),
            _ => Ok(Next::Asked),
        }
    }

    async fn carry_out(&mut self, request: DomainRequest) -> Result<Next> {
        let domain = &mut self.domain.value;
        match request {
            DomainRequest::Begin { route, keep, actor } => {
                (domain.route, domain.keep, domain.actor) = (route, keep, actor);
                (domain.attempts, domain.failure) = (0, None);
            }
            DomainRequest::Look => {
                publication::look_at_what_people_placed(self.context, &mut domain.publications).await;
            }
            DomainRequest::Cancel => {
                domain.keep = false;
                self.end(DomainState::Cancelled, None);
                return Ok(Next::Now);
            }
        }
        (domain.state, domain.polls) = (DomainState::Pending, 0);
        Ok(Next::Now)
    }

    /// Waits until one that is to be kept valid has to be looked at again.
    fn wait(&mut self) -> Next {
        match self.domain.value.next_check {
            Some(moment) if moment > self.context.now() => Next::At(moment),
            _ => {
                (self.domain.value.state, self.domain.value.polls) = (DomainState::Pending, 0);
                Next::Now
            }
        }
    }

    // ---- publishing and asking ----

    /// Publishes what is to be published, and asks the CA once it is seen.
    async fn validate(&mut self) -> Result<Next> {
        let route = self.domain.value.route.clone();
        if let Err(error) = self.make_room(|publication| publication.route == route).await {
            return self.failed(error);
        }
        if self.any(PublicationState::Placing) {
            let publications = &mut self.domain.value.publications;
            let put = publication::put_in_place(self.context, publications, self.sure).await;
            self.sure = false;
            for kind in put.events {
                self.event(kind);
            }
            if let Some(error) = put.fatal {
                return self.failed(error);
            }
            self.save(Some(self.context.now()), AfterCommit::Keep).await?;
            if self.any(PublicationState::Placing) {
                let now = self.context.now();
                return Ok(Next::At(publication::next_try(&self.domain.value.publications, now)));
            }
        }
        if self.any(PublicationState::Placed) {
            match publication::look(self.context, &mut self.domain.value.publications).await {
                Ok(None) => {}
                Ok(Some(next)) => return Ok(Next::At(next)),
                Err(error) => return Ok(self.fail(&error)),
            }
        }
        match self.ask().await {
            Ok(answer) => self.absorb(answer).await,
            Err(error) => self.failed(error),
        }
    }

    fn any(&self, state: PublicationState) -> bool {
        self.domain.value.publications.iter().any(|publication| publication.state == state)
    }

    /// Removes what is published and not to be kept, and forgets it. Repeated after a crash, it ends in the same place.
    async fn make_room(&mut self, keep: impl Fn(&Publication) -> bool) -> Result<()> {
        let owner = self.domain.value.key();
        let all = std::mem::take(&mut self.domain.value.publications);
        let (kept, mut stale): (Vec<_>, Vec<_>) = all.into_iter().partition(keep);
        let withdrawal = publication::withdraw(self.context, &owner, &mut stale).await;
        self.domain.value.publications = kept;
        if !withdrawal.gone.is_empty() {
            self.event(EventKind::Withdrawn { identifiers: withdrawal.gone });
        }
        match withdrawal.error {
            Some(error) => {
                stale.retain(|publication| publication.state.may_be_in_place());
                self.domain.value.publications.extend(stale);
                Err(error)
            }
            None => Ok(()),
        }
    }

    async fn ask(&self) -> Result<DomainValidation> {
        let ManagedDomain { ca, domain, route, .. } = &self.domain.value;
        self.context.check_enabled(ca).await?;
        let ca = self
            .context
            .accounts
            .ca(ca)
            .map_err(|input| accounts::absent(Operation::ValidateDomain, input))?;
        let offered = ca.provider.capabilities().domain_challenges;
        // An account that is gone here may be with another process.
        let proof = routes::proof(self.context, route, domain, &offered)
            .map_err(|input| accounts::absent(Operation::PlanValidation, input))?;
        let _place = ca.place().await;
        ca.provider.validate_domain(domain, &proof).await.map_err(Error::repeatable)
    }

    /// Takes over what the CA says, and stores what it newly asks for before anything is done for it.
    async fn absorb(&mut self, answer: DomainValidation) -> Result<Next> {
        let now = self.context.now();
        for publication in &mut self.domain.value.publications {
            if publication.state == PublicationState::Visible {
                publication.state = PublicationState::Answered;
                publication.failure = None;
            }
        }
        let domain = &mut self.domain.value;
        (domain.attempts, domain.failure) = (0, None);
        domain.message.clone_from(&answer.authorization.problem);
        match answer.authorization.status {
            AuthorizationStatus::Valid => {
                domain.failures = 0;
                // What a person was to publish is of no use any more.
                domain.publications.retain(|publication| publication.state.may_be_in_place());
                let news = domain.valid_until.is_none() || domain.valid_until != answer.valid_until;
                domain.valid_until = answer.valid_until;
                (domain.state, domain.next_check) =
                    (DomainState::Valid, Some(next_check(answer.valid_until, now)));
                if news {
                    let (account, domain, valid_until) =
                        (domain.ca.clone(), domain.domain.clone(), domain.valid_until);
                    self.event(EventKind::DomainValidated { account, domain, valid_until });
                }
                Ok(Next::Now)
            }
            AuthorizationStatus::Invalid => {
                let words = domain.message.clone().unwrap_or_else(|| "the CA gave no reason".into());
                let provider = self.context.accounts.ca(&domain.ca).map(|ca| ca.provider.provider());
                let provider = provider.unwrap_or(crate::error::ProviderName::ENGINE);
                let error = Error::new(provider, Operation::ValidateDomain, ErrorKind::Rejected(words));
                Ok(self.fail(&error))
            }
            AuthorizationStatus::Pending => self.plan(answer).await,
        }
    }

    /// Plans what the CA newly asks for, if it does.
    async fn plan(&mut self, answer: DomainValidation) -> Result<Next> {
        let route = self.domain.value.route.clone();
        let planned = match routes::plan_domain(self.context, &answer.authorization, &route).await {
            Ok(planned) => planned,
            Err(error) => return self.failed(error),
        };
        let known = |new: &Publication| {
            self.domain.value.publications.iter().any(|old| {
                old.response == new.response
                    && (old.state.may_be_in_place() || old.state == PublicationState::ByHand)
            })
        };
        let Some(new) = planned.filter(|new| !known(new)) else {
            let polls = self.domain.value.polls;
            self.domain.value.polls += 1;
            return Ok(Next::At(self.context.now() + pause(polls, answer.ask_again)));
        };
        let ready = async {
            if let Some(account) = route.account() {
                self.context.check_enabled(account).await?;
            }
            self.make_room(|_| false).await
        };
        if let Err(error) = ready.await {
            return self.failed(error);
        }
        let identifiers: Vec<_> = new.identifiers.iter().cloned().collect();
        let because = new.because.clone();
        self.event(EventKind::ValidationPlanned { identifiers: identifiers.clone(), route, because });
        let by_hand = new.state == PublicationState::ByHand;
        if by_hand {
            self.event(EventKind::PublicationByHand { identifiers });
        }
        (self.domain.value.publications, self.domain.value.polls) = (vec![new], 0);
        self.save(Some(self.context.now()), AfterCommit::Keep).await?;
        self.sure = true;
        let wait = if by_hand { pause(3, answer.ask_again) } else { Duration::ZERO };
        Ok(Next::At(self.context.now() + wait))
    }

    /// Removes everything that is, or may be, in place for one that is over. Goes on for as long as it takes.
    async fn withdraw(&mut self) -> Next {
        let Err(error) = self.make_room(|_| false).await else {
            self.domain.value.attempts = 0;
            return Next::Now;
        };
        let (now, what) = (self.context.now(), self.domain.value.id());
        self.domain.value.attempts += 1;
        let attempts = self.domain.value.attempts;
        let next = Backoff::CLEAN_UP.next(now, attempts, error.retry(), &what);
        if attempts.is_power_of_two() {
            let failure = self.context.failure(&error, &self.domain.value.ca);
            self.event(EventKind::Retrying { failure, next });
        }
        Next::At(next)
    }

    // ---- failing and ending ----

    fn failed(&mut self, error: Error) -> Result<Next> {
        if is_our_store(&error) {
            return Err(error);
        }
        if error.retry() == Retry::Never {
            return Ok(self.fail(&error));
        }
        let (now, what) = (self.context.now(), self.domain.value.id());
        let failure = self.context.failure(&error, &self.domain.value.ca);
        self.domain.value.attempts += 1;
        let attempts = self.domain.value.attempts;
        let next = Backoff::CALL.next(now, attempts, error.retry(), &what);
        if attempts.is_power_of_two() {
            self.event(EventKind::Retrying { failure: failure.clone(), next });
        }
        self.domain.value.failure = Some(failure);
        Ok(Next::At(next))
    }

    /// Ends it without success. One that is to be kept valid is begun anew after a good while.
    fn fail(&mut self, error: &Error) -> Next {
        let (now, what) = (self.context.now(), self.domain.value.id());
        self.domain.value.failures += 1;
        let retry = if error.retry() == Retry::Never { Retry::Backoff } else { error.retry() };
        self.domain.value.next_check =
            Some(Backoff::ORDER.next(now, self.domain.value.failures, retry, &what));
        self.end(DomainState::Failed, Some(error));
        Next::Now
    }

    fn end(&mut self, state: DomainState, error: Option<&Error>) {
        let failure = error.map(|error| self.context.failure(error, &self.domain.value.ca));
        self.domain.value.state = state;
        self.domain.value.failure.clone_from(&failure);
        let (account, domain) = (self.domain.value.ca.clone(), self.domain.value.domain.clone());
        self.event(EventKind::DomainEnded { account, domain, state, failure });
    }

    // ---- small helpers ----

    fn event(&mut self, kind: EventKind) {
        self.events.push(Occurrence::new(self.context.now(), Actor::Engine, kind));
    }

    /// Stores the record. Returns false if somebody asked for something meanwhile, which then comes first.
    async fn save(&mut self, due: Option<Timestamp>, after: AfterCommit) -> Result<bool> {
        loop {
            let mut changes = Changes::under(self.lease, after);
            changes.replace(&self.domain, due).events(&self.events);
            match self.context.journal.commit(changes).await {
                Ok(()) => {
                    self.domain.revision += 1;
                    self.events.clear();
                    return Ok(true);
                }
                Err(error) if lost_race(&error) => {
                    let stored = self.context.journal.load::<ManagedDomain>(self.domain.value.id()).await?;
                    let Some(stored) = stored else { return Err(error) };
                    self.domain.revision = stored.revision;
                    self.domain.value.request = stored.value.request;
                    if after == AfterCommit::Release {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// When one that is to be kept valid is looked at again: a month before it lapses, sooner and sooner if the CA only says
/// that it still holds, and soon after it has lapsed.
fn next_check(valid_until: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let Some(end) = valid_until else { return now + DAY * 30 };
    let lead = (DAY * 30).min(end.since(now) / 3);
    (end - lead).max(now + DAY).min(end.max(now + Duration::from_hours(1)))
}

/// How long until the CA is asked again: as it says, then ever more slowly, at least daily.
fn pause(polls: u32, ask_again: Option<Duration>) -> Duration {
    let growth = 1.5_f64.powi(i32::try_from(polls.min(30)).unwrap_or(30));
    let own = Duration::from_secs(2).mul_f64(growth).min(DAY);
    ask_again.map_or(own, |wait| wait.max(own / 8))
}
