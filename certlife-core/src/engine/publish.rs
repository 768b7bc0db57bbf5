//! Publications of an order: put in place, watched, answered, withdrawn. All of one order at once.

use std::time::Duration;

use futures_util::future::join_all;

use super::{
    Context,
    backoff::Backoff,
    order::{Next, Run},
    routes,
};
use crate::{
    challenge::ChallengeResponse,
    deploy::{ChallengeHandle, TargetResponse},
    dns::{Distribution, RecordHandle},
    error::{Error, ErrorKind, Failure, Operation, ProviderName, Result, Retry},
    journal::Stored,
    lookup::{self, ServerReport, Visibility},
    model::{EventKind, Order, OrderState, Publication, PublicationState, Request, Route},
    name::Identifier,
    store::{AfterCommit, Field, Kind, Query},
    time::Timestamp,
};

/// What looking for a published record found.
enum Look {
    Visible,
    NotYet { servers: Vec<ServerReport>, again: Option<Duration> },
    Overdue(Vec<ServerReport>),
}

impl Run<'_> {
    /// Takes the publications of an order one step further, and asks the CA once all are answered.
    pub(super) async fn validate(&mut self) -> Result<Next> {
        if self.any(PublicationState::Placing)
            && let Some(error) = self.put_in_place().await?
        {
            return self.end(OrderState::Failed, Some(&error)).await;
        }
        let mut again = None;
        if self.any(PublicationState::Placed) {
            match self.look().await {
                Ok(next) => again = next,
                Err(error) => return self.end(OrderState::Failed, Some(&error)).await,
            }
        }
        if self.any(PublicationState::Visible) {
            return self.answer().await;
        }
        if self.any(PublicationState::Placing) {
            return Ok(Next::At(self.next_try()));
        }
        if self.any(PublicationState::Placed) {
            return Ok(Next::At(again.unwrap_or_else(|| self.context.now() + Duration::from_secs(1))));
        }
        self.poll().await
    }

    fn any(&self, state: PublicationState) -> bool {
        self.order.value.publications.iter().any(|publication| publication.state == state)
    }

    /// Puts every response in place that is not, concurrently, and stores the handles in one commit. Returns
    /// the error of one that no retry mends.
    async fn put_in_place(&mut self) -> Result<Option<Error>> {
        let (context, sure) = (self.context, self.sure);
        let now = context.now();
        let waiting = |publication: &Publication| {
            publication.state == PublicationState::Placing
                && publication.retry_at.is_none_or(|next| next <= now)
        };
        let outcomes = join_all(
            self.order
                .value
                .publications
                .iter()
                .enumerate()
                .filter(|(_, publication)| waiting(publication))
                .map(|(index, publication)| async move { (index, put(context, publication).await) }),
        )
        .await;
        self.sure = false;
        let mut fatal = None;
        for (index, outcome) in outcomes {
            let now = context.now();
            let publication = &mut self.order.value.publications[index];
            match outcome {
                Ok((handle, existed)) => {
                    // On a repeated attempt a value that is there is most likely our own.
                    publication.foreign = existed && sure && publication.attempts == 0;
                    publication.handle = Some(handle);
                    publication.since = Some(now);
                    publication.attempts = 0;
                    publication.retry_at = None;
                    publication.failure = None;
                    publication.state = if publication.record().is_some() {
                        PublicationState::Placed
                    } else {
                        PublicationState::Visible
                    };
                    let identifiers = publication.identifiers.iter().cloned().collect();
                    self.event(EventKind::Published { identifiers });
                }
                Err(error) => {
                    // The next attempt finds what the first one did.
                    let error = error.repeatable();
                    publication.attempts += 1;
                    publication.failure =
                        Some(Failure::new(&error, publication.route.account().cloned(), now));
                    let next =
                        Backoff::CALL.next(now, publication.attempts, error.retry(), &publication.place());
                    publication.retry_at = Some(next);
                    let (failure, attempts) = (publication.failure.clone(), publication.attempts);
                    if error.retry() == Retry::Never {
                        fatal = Some(error);
                    } else if let (Some(failure), true) = (failure, attempts.is_power_of_two()) {
                        self.event(EventKind::Retrying { failure, next });
                    }
                }
            }
        }
        if fatal.is_none() {
            self.save(Some(context.now()), AfterCommit::Keep).await?;
        }
        Ok(fatal)
    }

    /// When the earliest repeated attempt is due.
    fn next_try(&self) -> Timestamp {
        let placing = |publication: &&Publication| publication.state == PublicationState::Placing;
        let tries = self
            .order
            .value
            .publications
            .iter()
            .filter(placing)
            .filter_map(|publication| publication.retry_at);
        tries.min().unwrap_or_else(|| self.context.now())
    }

    /// Looks whether placed records are seen, concurrently; returns when to look again.
    async fn look(&mut self) -> Result<Option<Timestamp>> {
        let context = self.context;
        let placed = |publication: &Publication| publication.state == PublicationState::Placed;
        let looks = join_all(
            self.order
                .value
                .publications
                .iter()
                .enumerate()
                .filter(|(_, publication)| placed(publication))
                .map(|(index, publication)| async move { (index, look_for(context, publication).await) }),
        )
        .await;
        let now = context.now();
        let mut next: Option<Timestamp> = None;
        for (index, look) in looks {
            let publication = &mut self.order.value.publications[index];
            match look {
                Look::Visible => {
                    publication.state = PublicationState::Visible;
                    publication.servers.clear();
                }
                Look::NotYet { servers, again } => {
                    publication.servers = servers;
                    let age = now.since(publication.since.unwrap_or(now));
                    let usual = (age / 4).clamp(Duration::from_millis(500), Duration::from_secs(20));
                    let moment = now + again.unwrap_or(usual);
                    next = Some(next.map_or(moment, |next| next.min(moment)));
                }
                Look::Overdue(servers) => {
                    let lacking = servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                    publication.servers = servers;
                    let names = publication
                        .identifiers
                        .iter()
                        .map(Identifier::to_string)
                        .collect::<Vec<_>>()
                        .join(", ");
                    let words = format!("the record for {names} is not visible in time: {lacking}");
                    let kind = ErrorKind::NotConfirmed(words.into());
                    return Err(Error::new(ProviderName::ENGINE, Operation::Resolve, kind));
                }
            }
        }
        Ok(next)
    }

    /// Tells the CA about everything that is visible.
    async fn answer(&mut self) -> Result<Next> {
        let Some(at_ca) = self.at_ca() else { return self.corrupt("a placed order without handle").await };
        let visible = |publication: &&Publication| publication.state == PublicationState::Visible;
        let ready: Vec<_> = self
            .order
            .value
            .publications
            .iter()
            .filter(visible)
            .flat_map(|publication| publication.challenges.iter().cloned())
            .collect();
        let answered = match self.ca() {
            Ok(ca) => {
                let _place = ca.place().await;
                ca.provider.respond(&at_ca, &ready).await
            }
            Err(error) => Err(error),
        };
        match answered {
            Ok(snapshot) => {
                let mut identifiers = Vec::new();
                for publication in &mut self.order.value.publications {
                    if publication.state == PublicationState::Visible {
                        publication.state = PublicationState::Answered;
                        identifiers.extend(publication.identifiers.iter().cloned());
                    }
                }
                self.event(EventKind::Answered { identifiers });
                self.order.value.attempts = 0;
                self.order.value.polls = 0;
                self.absorb(snapshot).await
            }
            // Whether the answer arrived shows in the next one.
            Err(error) => self.failed(error.repeatable()).await,
        }
    }

    /// Looks at what people say they have put in place. What is not seen stays pending, with the reason.
    pub(super) async fn look_at_what_people_placed(&mut self) -> Result<Next> {
        let context = self.context;
        for publication in &mut self.order.value.publications {
            if publication.state == PublicationState::ByHand {
                publication.since = Some(context.now());
                match look_for(context, publication).await {
                    Look::Visible => {
                        publication.state = PublicationState::Visible;
                        publication.servers.clear();
                        // What a person placed, a person removes.
                        publication.foreign = true;
                    }
                    Look::NotYet { servers, .. } | Look::Overdue(servers) => publication.servers = servers,
                }
            }
        }
        Ok(Next::Now)
    }

    /// Has an identifier proven by another route, or once more by the same. What was published for it alone is
    /// removed first. Repeated after a crash, it ends in the same place.
    pub(super) async fn revalidate(&mut self, identifier: Identifier, route: Route) -> Result<Next> {
        let again = Request::Revalidate { identifier: identifier.clone(), route: route.clone() };
        let Some(at_ca) = self.at_ca() else { return self.corrupt("a placed order without handle").await };
        let ca = self.ca()?;
        let proof = routes::proof(self.context, &route, &identifier, &ca.provider.capabilities());
        let proof = match proof {
            Ok(proof) => proof,
            Err(input) => return Ok(self.refused(&Error::input(Operation::Revalidate, input))),
        };
        // The request stays in the record until the CA has answered.
        self.order.value.requests.insert(again.clone());
        if self.order.value.routes.get(&identifier) != Some(&route) {
            if let Err(error) = self.make_room(&identifier).await {
                return self.failed(error).await;
            }
            self.order.value.routes.insert(identifier.clone(), route);
            self.save(Some(self.context.now()), AfterCommit::Keep).await?;
        }
        let asked = {
            let _place = ca.place().await;
            ca.provider.revalidate(&at_ca, &identifier, &proof).await
        };
        match asked.map_err(Error::repeatable) {
            Ok(snapshot) => {
                self.order.value.requests.remove(&again);
                self.absorb(snapshot).await
            }
            Err(error) if error.retry() == Retry::Never => {
                self.order.value.requests.remove(&again);
                Ok(self.refused(&error))
            }
            Err(error) => self.failed(error).await,
        }
    }

    /// Notes that what a person asked for cannot be; the order goes on without.
    fn refused(&mut self, error: &Error) -> Next {
        self.order.value.failure = Some(self.failure(error));
        Next::Now
    }

    /// Withdraws what was published for this identifier and no other.
    async fn make_room(&mut self, identifier: &Identifier) -> Result<()> {
        let only_for = |publication: &Publication| {
            publication.identifiers.len() == 1 && publication.identifiers.contains(identifier)
        };
        for index in 0..self.order.value.publications.len() {
            let publication = &self.order.value.publications[index];
            if !only_for(publication) || publication.state == PublicationState::Withdrawn {
                continue;
            }
            if publication.state.may_be_in_place() {
                take_down(self.context, &self.order.value, publication).await?;
            }
            self.order.value.publications[index].state = PublicationState::Withdrawn;
            self.event(EventKind::Withdrawn { identifiers: vec![identifier.clone()] });
        }
        Ok(())
    }

    /// Removes everything that is, or may be, in place for an order that is over. Goes on for as long as it takes.
    pub(super) async fn withdraw(&mut self) -> Result<Next> {
        if !self.order.value.has_leftovers() {
            return Ok(Next::Asked);
        }
        let (context, order) = (self.context, &self.order.value);
        let outcomes =
            join_all(
                order
                    .publications
                    .iter()
                    .enumerate()
                    .filter(|(_, publication)| publication.state.may_be_in_place())
                    .map(|(index, publication)| async move {
                        (index, take_down(context, order, publication).await)
                    }),
            )
            .await;
        let mut withdrawn = Vec::new();
        let mut last_error = None;
        for (index, outcome) in outcomes {
            let publication = &mut self.order.value.publications[index];
            match outcome {
                Ok(state) => {
                    publication.state = state;
                    publication.failure = None;
                    if state == PublicationState::Withdrawn {
                        withdrawn.extend(publication.identifiers.iter().cloned());
                    }
                }
                Err(error) => {
                    let account = publication.route.account().cloned();
                    publication.failure = Some(Failure::new(&error, account, context.now()));
                    last_error = Some(error);
                }
            }
        }
        if !withdrawn.is_empty() {
            self.event(EventKind::Withdrawn { identifiers: withdrawn });
        }
        let Some(error) = last_error else { return Ok(Next::Asked) };
        self.order.value.attempts += 1;
        let attempts = self.order.value.attempts;
        let next =
            Backoff::CLEAN_UP.next(context.now(), attempts, error.retry(), &self.order.value.id.to_string());
        if attempts.is_power_of_two() {
            let failure = self.failure(&error);
            self.event(EventKind::Retrying { failure, next });
        }
        Ok(Next::At(next))
    }
}

/// Puts one response in place; returns its handle and whether it was there before.
async fn put(context: &Context, publication: &Publication) -> Result<(serde_json::Value, bool)> {
    let absent = |input| super::accounts::absent(Operation::PublishRecord, input);
    match (&publication.route, target_response(&publication.response)) {
        (Route::Dns(account), _) => {
            let dns = context.accounts.dns(account).map_err(absent)?;
            let record = publication.record().ok_or_else(|| mismatch(publication))?;
            let _place = dns.place().await;
            let added = dns.provider.add(&record).await?;
            Ok((to_value(&added.handle)?, added.existed))
        }
        (Route::Http(account) | Route::TlsAlpn(account), Some(response)) => {
            let target = context.accounts.target(account).map_err(absent)?;
            let _place = target.place().await;
            let handle = target.provider.put_challenge(&response).await?;
            Ok((to_value(&handle)?, false))
        }
        _ => Err(mismatch(publication)),
    }
}

/// Removes one response, unless it is not ours to remove.
async fn take_down(context: &Context, order: &Order, publication: &Publication) -> Result<PublicationState> {
    if publication.foreign || needed_elsewhere(context, order, publication).await? {
        return Ok(PublicationState::LeftAlone);
    }
    let absent = |input| super::accounts::absent(Operation::WithdrawRecord, input);
    let removed = match (&publication.route, target_response(&publication.response)) {
        (Route::Dns(account), _) => {
            let dns = context.accounts.dns(account).map_err(absent)?;
            let record = publication.record().ok_or_else(|| mismatch(publication))?;
            let handle =
                from_value(publication.handle.as_ref()).unwrap_or_else(|| RecordHandle::unknown(record));
            let _place = dns.place().await;
            dns.provider.remove(&handle).await
        }
        (Route::Http(account) | Route::TlsAlpn(account), Some(response)) => {
            let target = context.accounts.target(account).map_err(absent)?;
            let handle =
                from_value(publication.handle.as_ref()).unwrap_or_else(|| ChallengeHandle::unknown(response));
            let _place = target.place().await;
            target.provider.remove_challenge(&handle).await
        }
        _ => Err(mismatch(publication)),
    };
    match removed {
        Ok(()) => Ok(PublicationState::Withdrawn),
        // Where there is no zone any more there is no record.
        Err(error) if matches!(error.kind(), ErrorKind::ZoneNotFound(_)) => Ok(PublicationState::Withdrawn),
        Err(error) => Err(error),
    }
}

/// Whether another open order has the same value at the same place.
async fn needed_elsewhere(context: &Context, order: &Order, publication: &Publication) -> Result<bool> {
    let query = Query::all(Kind::Order).having(Field::Publication, publication.place()).limit(8);
    let others = context.journal.page::<Order>(query).await?;
    let open = |other: &Stored<Order>| other.value.id != order.id && !other.value.state.is_over();
    Ok(others.items.iter().any(open))
}

async fn look_for(context: &Context, publication: &Publication) -> Look {
    let Some(record) = publication.record() else { return Look::Visible };
    let now = context.now();
    let age = now.since(publication.since.unwrap_or(now));
    let account = match &publication.route {
        Route::Dns(account) => context.accounts.dns(account).ok(),
        _ => None,
    };
    let options = account.as_ref().map(|account| account.options.clone()).unwrap_or_default();
    if let Some(account) = &account
        && account.provider.capabilities().distribution
        && let Some(handle) = from_value::<RecordHandle>(publication.handle.as_ref())
    {
        let _place = account.place().await;
        // A vendor that cannot say leaves the question to the name servers.
        if let Ok(Distribution::Pending(again)) = account.provider.distribution(&handle).await
            && age < options.patience
        {
            return Look::NotYet { servers: Vec::new(), again: Some(again) };
        }
    }
    if let Visibility::Wait(wait) = options.visibility
        && age < wait
    {
        return Look::NotYet { servers: Vec::new(), again: Some(wait.saturating_sub(age)) };
    }
    let report = lookup::check(&*context.lookup, &record, &options.visibility).await;
    if report.visible {
        Look::Visible
    } else if age < options.patience {
        Look::NotYet { servers: report.servers, again: None }
    } else if report.only_broken_servers_lack_it() {
        Look::Visible
    } else {
        Look::Overdue(report.servers)
    }
}

fn target_response(response: &ChallengeResponse) -> Option<TargetResponse> {
    match response {
        ChallengeResponse::Http(file) => Some(TargetResponse::Http(file.clone())),
        ChallengeResponse::TlsAlpn(alpn) => Some(TargetResponse::TlsAlpn(alpn.clone())),
        _ => None,
    }
}

fn mismatch(publication: &Publication) -> Error {
    let what = format!("a {} challenge by {:?}", publication.response.kind(), publication.route);
    Error::new(ProviderName::ENGINE, Operation::PublishRecord, ErrorKind::Unsupported(what.into()))
}

fn to_value<T: serde::Serialize>(handle: &T) -> Result<serde_json::Value> {
    serde_json::to_value(handle).map_err(|error| {
        let kind = ErrorKind::Protocol("a handle that is not JSON".into());
        Error::new(ProviderName::ENGINE, Operation::PublishRecord, kind).because(error)
    })
}

fn from_value<T: serde::de::DeserializeOwned>(value: Option<&serde_json::Value>) -> Option<T> {
    value.and_then(|value| serde_json::from_value(value.clone()).ok())
}
