//! Publications of an order: answered once they are seen, replaced on request, withdrawn when it is over.

use std::time::Duration;

use super::{
    backoff::Backoff,
    order::{Next, Run},
    publication, routes,
};
use crate::{
    error::{Error, Operation, Result, Retry},
    journal::Document as _,
    model::{EventKind, OrderState, Publication, PublicationState, Request, Route},
    name::Identifier,
    store::AfterCommit,
};

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
            match publication::look(self.context, &mut self.order.value.publications).await {
                Ok(next) => again = next,
                Err(error) => return self.end(OrderState::Failed, Some(&error)).await,
            }
        }
        if self.any(PublicationState::Visible) {
            return self.answer().await;
        }
        if self.any(PublicationState::Placing) {
            let (publications, now) = (&self.order.value.publications, self.context.now());
            return Ok(Next::At(publication::next_try(publications, now)));
        }
        if self.any(PublicationState::Placed) {
            return Ok(Next::At(again.unwrap_or_else(|| self.context.now() + Duration::from_secs(1))));
        }
        self.poll().await
    }

    fn any(&self, state: PublicationState) -> bool {
        self.order.value.publications.iter().any(|publication| publication.state == state)
    }

    /// Puts every response in place that is not, and stores the handles in one commit. Returns the error of one that no
    /// retry mends.
    async fn put_in_place(&mut self) -> Result<Option<Error>> {
        let put =
            publication::put_in_place(self.context, &mut self.order.value.publications, self.sure).await;
        self.sure = false;
        for kind in put.events {
            self.event(kind);
        }
        if put.fatal.is_none() {
            self.save(Some(self.context.now()), AfterCommit::Keep).await?;
        }
        Ok(put.fatal)
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

    /// Looks at what people say they have put in place.
    pub(super) async fn look_at_what_people_placed(&mut self) -> Result<Next> {
        publication::look_at_what_people_placed(self.context, &mut self.order.value.publications).await;
        Ok(Next::Now)
    }

    /// Has an identifier proven by another route, or once more by the same. What was published for it alone is
    /// removed first. Repeated after a crash, it ends in the same place.
    pub(super) async fn revalidate(&mut self, identifier: Identifier, route: Route) -> Result<Next> {
        let again = Request::Revalidate { identifier: identifier.clone(), route: route.clone() };
        let Some(at_ca) = self.at_ca() else { return self.corrupt("a placed order without handle").await };
        let ca = self.ca()?;
        let proof = routes::proof(self.context, &route, &identifier, &ca.provider.capabilities().challenges);
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
                publication::take_down(self.context, &self.order.value.key(), publication).await?;
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
        let owner = self.order.value.key();
        let withdrawal =
            publication::withdraw(self.context, &owner, &mut self.order.value.publications).await;
        if !withdrawal.gone.is_empty() {
            self.event(EventKind::Withdrawn { identifiers: withdrawal.gone });
        }
        let Some(error) = withdrawal.error else { return Ok(Next::Asked) };
        self.order.value.attempts += 1;
        let attempts = self.order.value.attempts;
        let next = Backoff::CLEAN_UP.next(
            self.context.now(),
            attempts,
            error.retry(),
            &self.order.value.id.to_string(),
        );
        if attempts.is_power_of_two() {
            let failure = self.failure(&error);
            self.event(EventKind::Retrying { failure, next });
        }
        Ok(Next::At(next))
    }
}
