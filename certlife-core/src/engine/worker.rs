//! The loop that claims due records and runs their steps under leases.

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::future::{Either, select};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::{Context, Engine, account_policy, catalog, certificate, deployment, domain, order, targets};
use crate::{
    error::{Error, ErrorKind, Operation, ProviderName, Result, Retry},
    journal::lost_race,
    store::{AfterCommit, Batch, Claim, Claimed, Draft, Kind, Lease, Leased, Write},
    time::Timestamp,
};

/// What a pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Pass {
    /// How many steps ran.
    pub steps: usize,
    /// When the next one is due; none if nothing waits.
    pub next: Option<Timestamp>,
}

impl Engine {
    /// Works until `shutdown` completes: whatever is due is done, whatever becomes due is done then.
    ///
    /// New work wakes it at once; work of other engines on the same store is found by polling. After the
    /// signal it takes no more work, lets running steps go on for the grace period, and gives back the leases
    /// of what is left, so that nothing is lost and another engine can go on. Dropping the future instead is
    /// a crash: safe, but the leases have to run out first.
    ///
    /// # Errors
    ///
    /// None at present: a store that fails is logged and asked again.
    pub async fn run(&self, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
        let context = &self.context;
        let mut shutdown = pin!(shutdown);
        let mut steps = JoinSet::new();
        let mut store_failures = 0;
        loop {
            while steps.try_join_next().is_some() {}
            let free = context.settings.concurrency - steps.len();
            let next = match claim(context, free).await {
                Ok(claimed) => {
                    store_failures = 0;
                    for leased in claimed.work {
                        steps.spawn(step(context.clone(), leased));
                    }
                    claimed.next
                }
                Err(error) => {
                    store_failures += 1;
                    tracing::error!(error = %error.chain(), "the store could not be asked for due work");
                    Some(super::backoff::Backoff::CALL.next(
                        context.now(),
                        store_failures,
                        Retry::Backoff,
                        "claim",
                    ))
                }
            };
            let poll_at = context.now() + context.settings.poll;
            let wake_at = next.map_or(poll_at, |next| next.min(poll_at));
            let full = steps.len() >= context.settings.concurrency;
            tokio::select! {
                biased;
                () = &mut shutdown => break,
                Some(_) = steps.join_next() => {}
                () = context.journal.wake.notified(), if !full => {}
                () = context.clock.sleep_until(wake_at), if !full => {}
            }
        }
        self.wind_down(steps).await;
        Ok(())
    }

    /// Does what is due now, and what that makes due, until nothing is; returns when the next step is due.
    ///
    /// For hosts with a scheduler of their own, and for tests that move the clock. Dropping the future is a
    /// crash: safe, but the leases have to run out first.
    ///
    /// # Errors
    ///
    /// What the store says.
    pub async fn pass(&self) -> Result<Pass> {
        let context = &self.context;
        let mut done = 0;
        loop {
            let claimed = claim(context, context.settings.concurrency).await?;
            if claimed.work.is_empty() {
                return Ok(Pass { steps: done, next: claimed.next });
            }
            done += claimed.work.len();
            let mut steps: JoinSet<_> =
                claimed.work.into_iter().map(|leased| step(context.clone(), leased)).collect();
            while steps.join_next().await.is_some() {}
        }
    }

    /// Stops taking work in this process until [`resume`](Self::resume). Steps under way go on.
    pub fn pause(&self) {
        self.context.paused.store(true, Ordering::Relaxed);
    }

    /// Takes work again after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.context.paused.store(false, Ordering::Relaxed);
        self.context.journal.wake.notify_one();
    }

    async fn wind_down(&self, mut steps: JoinSet<()>) {
        let context = &self.context;
        let end = context.now() + context.settings.grace;
        while !steps.is_empty() {
            tokio::select! {
                _ = steps.join_next() => {}
                () = context.clock.sleep_until(end) => {
                    tracing::warn!(steps = steps.len(), "steps were cut off at the end of the grace period");
                    steps.shutdown().await;
                }
            }
        }
    }
}

async fn claim(context: &Context, limit: usize) -> Result<Claimed> {
    if limit == 0 || context.paused.load(Ordering::Relaxed) {
        return Ok(Claimed::default());
    }
    deployment::restore(context).await?;
    catalog::schedule(context).await?;
    let now = context.now();
    let until = now + context.settings.lease;
    context.journal.store.claim(&Claim { worker: context.worker, now, until, limit }).await
}

/// Runs the step of one record, keeps its lease alive meanwhile, and sees to it that a failure is not lost.
async fn step(context: Arc<Context>, leased: Leased) {
    let Leased { record, lease } = leased;
    let key = record.key.clone();
    metrics::counter!("certlife_steps_total", "record" => key.kind.as_str()).increment(1);
    let work = async {
        match key.kind {
            Kind::Certificate => certificate::step(&context, &record, &lease).await,
            Kind::Order => order::step(&context, &record, &lease).await,
            Kind::Deployment => deployment::step(&context, &record, &lease).await,
            Kind::Domain => domain::step(&context, &record, &lease).await,
            Kind::Policy => account_policy::step(&context, &record, &lease).await,
            Kind::Catalog => catalog::step(&context, &record, &lease).await,
            Kind::Setting => targets::sweep(&context, &record, &lease).await,
            // Only these kinds are ever written with a due time.
            _ => Ok(()),
        }
    };
    let span = tracing::debug_span!("step", record = %key);
    let work = pin!(tracing::Instrument::instrument(work, span));
    let outcome = match select(work, pin!(keep(&context, lease.clone()))).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right((lost, _)) => Err(lost),
    };
    if let Err(error) = outcome {
        if *error.kind() == ErrorKind::LeaseLost {
            tracing::warn!(record = %key, "the lease was lost; another worker goes on");
        } else if lost_race(&error) {
            release(&context, &lease).await;
        } else {
            tracing::error!(record = %key, error = %error.chain(), "the step failed");
            metrics::counter!("certlife_steps_failed_total", "record" => key.kind.as_str()).increment(1);
            park(&context, &lease, &error).await;
        }
    }
}

/// Extends the lease for as long as it is polled; returns only once the lease is lost.
async fn keep(context: &Context, mut lease: Lease) -> Error {
    let third = context.settings.lease / 3;
    loop {
        context.clock.sleep_until(context.now() + third).await;
        match context.journal.store.extend(&lease, context.now() + context.settings.lease).await {
            Ok(extended) => lease = extended,
            Err(error) if *error.kind() == ErrorKind::LeaseLost => return error,
            // The lease may outlive a store that is away for a moment; if not, the next commit is refused.
            Err(error) => {
                tracing::warn!(record = %lease.key, error = %error.chain(), "the lease was not extended");
            }
        }
    }
}

async fn release(context: &Context, lease: &Lease) {
    if let Err(error) = context.journal.store.release(lease).await {
        tracing::warn!(record = %lease.key, error = %error.chain(), "the lease was not given back");
    }
    context.journal.wake.notify_one();
}

/// Puts a record whose step cannot run aside: for half a minute if the store failed for a moment, for ten minutes if
/// nothing will change by itself, as with a record that a newer version of certlife wrote.
async fn park(context: &Context, lease: &Lease, error: &Error) {
    let aside = Duration::from_secs(if error.retry() == Retry::Never { 600 } else { 30 });
    let parked = async {
        let record = context.journal.store.get(&lease.key).await?.ok_or_else(|| {
            Error::new(ProviderName::ENGINE, Operation::ReadStore, ErrorKind::NotFound("the record".into()))
        })?;
        let draft = Draft {
            key: record.key,
            body: record.body,
            due: Some(context.now() + aside),
            index: record.index,
        };
        let leases = vec![(lease.clone(), AfterCommit::Release)];
        context
            .journal
            .store
            .commit(Batch { leases, writes: vec![Write::Replace(draft, record.revision)] })
            .await
    };
    if let Err(error) = parked.await {
        // The lease runs out by itself, which puts the record aside for as long.
        tracing::warn!(record = %lease.key, error = %error.chain(), "the record was not put aside");
    }
}
