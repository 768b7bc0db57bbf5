//! From the stored intent to the order at the CA: at most one that is paid for, whatever answer is lost.

use super::{
    accounts::CaAccount,
    order::{Next, Run},
};
use crate::{
    ca::{Decision, Found, OrderIntent, OrderSnapshot, Placement},
    error::{Error, ErrorKind, Operation, Result},
    model::{EventKind, OrderState, Request},
    notify::Matter,
    store::AfterCommit,
    time::Timestamp,
};

impl Run<'_> {
    /// Sends the order, unless it was sent before: then it is looked for first.
    pub(super) async fn place(&mut self) -> Result<Next> {
        let Some(intent) = self.order.value.intent.clone() else {
            return self.corrupt("an order without intent").await;
        };
        let given_up = self.order.value.requests.contains(&Request::Decide(Decision::Cancel));
        if given_up && self.sure {
            return self.end(OrderState::Cancelled, None).await;
        }
        let ca = match self.ca() {
            Ok(ca) => ca,
            Err(error) => return self.failed(error).await,
        };
        let found = if self.sure {
            Ok(Found::Nothing)
        } else {
            let _place = ca.place().await;
            ca.provider.find(&intent).await
        };
        match (found, self.settles_at(&ca)) {
            // One that is to be given up is cancelled there.
            (Ok(Found::Order(snapshot)), _) => self.placed(*snapshot, true).await,
            (Ok(_), Some(moment)) => Ok(Next::At(moment)),
            (Ok(Found::CannotTell), _) if ca.provider.capabilities().placement == Placement::Paid => {
                self.in_doubt().await
            }
            (Ok(_), _) if given_up => self.end(OrderState::Cancelled, None).await,
            (Ok(_), _) => self.send(&ca, &intent).await,
            (Err(error), _) => self.failed(error.repeatable()).await,
        }
    }

    /// Until when an order that was sent may still show; none if it has had its time, or was certainly not sent.
    fn settles_at(&self, ca: &CaAccount) -> Option<Timestamp> {
        let (now, takes) = (self.context.now(), ca.provider.capabilities().settles_in);
        let asked_at = self.order.value.asked_at.unwrap_or(self.order.value.created_at);
        // A clock that was set back must not stretch it.
        Some((asked_at + takes).min(now + takes)).filter(|moment| !self.sure && *moment > now)
    }

    async fn send(&mut self, ca: &CaAccount, intent: &OrderIntent) -> Result<Next> {
        self.sure = false;
        let answer = {
            let _place = ca.place().await;
            ca.provider.place(intent).await
        };
        match answer {
            Ok(snapshot) => self.placed(snapshot, false).await,
            Err(error) => {
                if error.did_not_arrive() {
                    self.order.value.state = OrderState::Drafted;
                }
                // It may have waited here for a good while before it was sent.
                self.order.value.asked_at = Some(self.context.now());
                // If the answer was lost the order may be there, and is looked for before anything else.
                self.failed(error.repeatable()).await
            }
        }
    }

    async fn placed(&mut self, snapshot: OrderSnapshot, found: bool) -> Result<Next> {
        self.event(EventKind::OrderPlaced { number: snapshot.number.clone(), found });
        self.order.value.attempts = 0;
        self.order.value.failure = None;
        self.absorb(snapshot).await
    }

    /// Leaves the order to a person. Whoever gave it up meanwhile did not know that it may have been paid for.
    async fn in_doubt(&mut self) -> Result<Next> {
        let error = Error::new(self.ca()?.provider.provider(), Operation::FindOrder, ErrorKind::Uncertain);
        let failure = self.context.failure(&error, &self.order.value.ca);
        self.order.value.state = OrderState::InDoubt;
        self.order.value.failure = Some(failure.clone());
        self.order.value.requests.clear();
        self.save(None, AfterCommit::Keep).await?;
        self.tell(Matter::OrderNeedsPerson { failure: Some(failure) }).await;
        Ok(Next::Asked)
    }
}
