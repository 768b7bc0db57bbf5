//! How an order fails and how it ends: in one commit with its certificate.

use super::{
    backoff::Backoff,
    certificate,
    order::{Next, Run, is_our_store},
};
use crate::{
    ca::Placement,
    error::{Error, ErrorKind, Operation, ProviderName, Result, Retry},
    journal::Changes,
    model::{EventKind, OrderState},
    notify::Matter,
    store::AfterCommit,
};

impl Run<'_> {
    /// Ends an order that the CA gave up.
    pub(super) async fn lost(&mut self, state: OrderState) -> Result<Next> {
        let words = self.order.value.message.clone().unwrap_or_else(|| "the CA gave no reason".into());
        let problems = self.order.value.authorizations.iter().filter_map(|authorization| {
            authorization.problem.as_ref().map(|problem| format!("{}: {problem}", authorization.identifier))
        });
        let words = std::iter::once(words.to_string()).chain(problems).collect::<Vec<_>>().join("; ");
        let error = Error::new(self.provider(), Operation::PollOrder, ErrorKind::Rejected(words.into()));
        self.end(state, Some(&error)).await
    }

    /// Stores a failure: with another attempt if there may be one, else as the end of the order.
    pub(super) async fn failed(&mut self, error: Error) -> Result<Next> {
        if is_our_store(&error) {
            // The journal itself failed, so there is nothing to write this to.
            return Err(error);
        }
        let needs_person = error.retry() == Retry::Never;
        if needs_person && !self.is_bought(&error) {
            return self.end(OrderState::Failed, Some(&error)).await;
        }
        let now = self.context.now();
        let failure = self.context.failure(&error, &self.order.value.ca);
        self.order.value.attempts += 1;
        let attempts = self.order.value.attempts;
        let next = Backoff::CALL.next(now, attempts, error.retry(), &self.order.value.id.to_string());
        // The trail shows that a failure goes on without growing with every attempt.
        if attempts.is_power_of_two() {
            self.event(EventKind::Retrying { failure: failure.clone(), next });
        }
        if attempts == 1 && needs_person {
            self.tell(Matter::OrderNeedsPerson { failure: Some(failure.clone()) }).await;
        }
        self.order.value.failure = Some(failure);
        Ok(Next::At(next))
    }

    /// Whether the order is at a CA that was paid for it, and the failure does not say that it is gone. Only the CA's word
    /// ends such an order: a token that is refused today may be put right tomorrow.
    fn is_bought(&self, error: &Error) -> bool {
        let paid = self.ca().is_ok_and(|ca| ca.provider.capabilities().placement == Placement::Paid);
        let about_account = matches!(
            error.operation(),
            Operation::PollOrder | Operation::Respond | Operation::FetchCertificate
        );
        paid && about_account
            && self.order.value.handle.is_some()
            && !matches!(error.kind(), ErrorKind::NotFound(_))
    }

    pub(super) async fn corrupt(&mut self, what: &'static str) -> Result<Next> {
        let error = Error::new(ProviderName::ENGINE, Operation::ReadStore, ErrorKind::Corrupt(what.into()));
        self.end(OrderState::Failed, Some(&error)).await
    }

    /// Ends the order without a version, and tells its certificate, in one commit.
    pub(super) async fn end(&mut self, state: OrderState, error: Option<&Error>) -> Result<Next> {
        let now = self.context.now();
        let failure = error.map(|error| self.context.failure(error, &self.order.value.ca));
        self.order.value.end(state, failure.clone(), now);
        self.event(EventKind::OrderEnded { state, failure: failure.clone() });
        let paid = self.ca().is_ok_and(|ca| ca.provider.capabilities().placement == Placement::Paid);
        loop {
            let mut changes = Changes::under(self.lease, AfterCommit::Keep);
            if let Some(mut certificate) = self.certificate().await?
                && certificate.value.order == Some(self.order.value.id)
            {
                certificate::order_ended(&mut certificate.value, state, failure.as_ref(), paid, now);
                let policy = self.context.policy(&certificate.value.spec.ca).await?;
                let due = certificate::settle(&mut certificate.value, &policy, now);
                changes.replace(&certificate, due);
            }
            if self.commit(changes, Some(now)).await? {
                break;
            }
        }
        let needs_person = paid || failure.as_ref().is_some_and(|failure| failure.retry == Retry::Never);
        if needs_person && state != OrderState::Cancelled {
            self.tell(Matter::OrderNeedsPerson { failure }).await;
        }
        Ok(Next::Now)
    }
}
