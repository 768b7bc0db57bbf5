//! What people ask of an order: decisions, and what becomes of one in doubt.

use super::order::{Next, Run, reference};
use crate::{
    ca::{Decision, Placement},
    error::{Error, ErrorKind, Operation, Result, Retry},
    model::{OrderState, Request},
    store::AfterCommit,
};

impl Run<'_> {
    pub(super) fn next_request(&mut self) -> Option<Request> {
        match self.order.value.state {
            // Of an order that the CA has not heard of nothing can be decided but to give it up.
            OrderState::Drafted => self.order.value.requests.take(&Request::Decide(Decision::Cancel)),
            // It is not known whether it exists; placing finds out.
            OrderState::Placing => None,
            _ => self.order.value.requests.pop_first(),
        }
    }

    pub(super) async fn carry_out(&mut self, request: Request) -> Result<Next> {
        let state = self.order.value.state;
        match request {
            Request::PlaceAgain if state == OrderState::InDoubt => self.place_again().await,
            Request::Abandon if state == OrderState::InDoubt => self.end(OrderState::Cancelled, None).await,
            Request::Decide(Decision::Cancel)
                if matches!(state, OrderState::Drafted | OrderState::InDoubt) =>
            {
                self.end(OrderState::Cancelled, None).await
            }
            Request::Decide(decision) if !state.is_over() => self.decide(decision).await,
            Request::Verify if state == OrderState::Validating => self.look_at_what_people_placed().await,
            Request::Revalidate { identifier, route } if state == OrderState::Validating => {
                self.revalidate(identifier, route).await
            }
            // The order has moved on; what was asked has no meaning any more.
            _ => Ok(Next::Now),
        }
    }

    /// Places the order anew under another reference, since a person said that the first does not exist.
    async fn place_again(&mut self) -> Result<Next> {
        if let Some(intent) = &mut self.order.value.intent {
            let first = reference(self.order.value.id);
            let turn = intent.reference.strip_prefix(&first).and_then(|turn| turn.strip_prefix('-'));
            let turn = turn.and_then(|turn| turn.parse::<u32>().ok()).unwrap_or(1);
            intent.reference = format!("{first}-{}", turn + 1);
        }
        self.order.value.state = OrderState::Placing;
        self.order.value.asked_at = Some(self.context.now());
        self.save(Some(self.context.now()), AfterCommit::Keep).await?;
        self.sure = true;
        Ok(Next::Now)
    }

    async fn decide(&mut self, decision: Decision) -> Result<Next> {
        let ca = self.ca()?;
        let Some(at_ca) = self.order.value.at_ca() else {
            return self.corrupt("a placed order without handle").await;
        };
        let capabilities = ca.provider.capabilities();
        if !capabilities.decisions.contains(&decision) {
            // An order that costs nothing and lapses by itself is cancelled by leaving it.
            if decision == Decision::Cancel && capabilities.placement == Placement::Free {
                return self.end(OrderState::Cancelled, None).await;
            }
            let what = format!("{decision:?} at this CA").to_lowercase();
            let error =
                Error::new(ca.provider.provider(), Operation::Decide, ErrorKind::Unsupported(what.into()));
            self.order.value.failure = Some(self.context.failure(&error, &self.order.value.ca));
            return Ok(Next::Now);
        }
        let decided = {
            let _place = ca.place().await;
            ca.provider.decide(&at_ca, decision).await
        };
        match decided {
            Ok(snapshot) => self.absorb(snapshot).await,
            Err(error) if error.retry() == Retry::Never => {
                self.order.value.failure = Some(self.context.failure(&error, &self.order.value.ca));
                Ok(Next::Now)
            }
            Err(error) => {
                self.order.value.requests.insert(Request::Decide(decision));
                self.failed(error).await
            }
        }
    }
}
