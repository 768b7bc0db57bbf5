//! Letting the engine work: for ever, or until certificates have settled.

use std::{collections::BTreeSet, pin::pin, time::Duration};

use certlife::{
    AccountName, CertificateId, Identifier, Timestamp,
    engine::Explanation,
    model::{
        AccountPolicy, Certificate, CertificateState, DeploymentState, DomainState, OrderState,
        PublicationState, RenewalTrigger,
    },
};
use futures_util::StreamExt as _;
use tokio::{sync::oneshot, time};

use crate::{Failure, Outcome, host::Host, output::Output};

/// How often the state is looked at, besides after each event.
const LOOK: Duration = Duration::from_millis(200);

/// Works until a signal comes, and prints what happens.
pub(crate) async fn for_ever(host: &Host, output: &Output) -> Result<(), Failure> {
    let engine = &host.engine;
    let mut events = pin!(engine.events(engine.feed_position().await?));
    for id in host.wishes.keys() {
        host.want(id).await?;
    }
    let (stop, stopped) = oneshot::channel::<()>();
    let mut work = pin!(engine.run(async move { drop(stopped.await) }));
    let mut signal = pin!(interrupted());
    let mut stop = Some(stop);
    loop {
        tokio::select! {
            finished = &mut work => return Ok(finished?),
            () = &mut signal, if stop.is_some() => {
                output.status("finishing what is under way");
                drop(stop.take());
            }
            Some(event) = events.next() => output.event(&event?),
        }
    }
}

/// Works until each of the certificates has settled, and for no longer than `patience`.
///
/// `since` is where the feed was before the command, `looked` the moment from which on targets must have been looked
/// at.
pub(crate) async fn until_settled(
    host: &Host,
    output: &Output,
    ids: &[CertificateId],
    since: u64,
    looked: Option<Timestamp>,
    patience: Duration,
) -> Result<Outcome, Failure> {
    meanwhile(host, output, patience, watch(host, output, ids, since, looked)).await
}

/// Works until the validation of a domain has settled, and for no longer than `patience`.
pub(crate) async fn until_proven(
    host: &Host,
    output: &Output,
    (account, domain): (&AccountName, &Identifier),
    patience: Duration,
) -> Result<Outcome, Failure> {
    let watch = async {
        let mut ticks = time::interval(LOOK);
        loop {
            ticks.tick().await;
            let managed = host.engine.managed_domain(account, domain).await?;
            match managed.state {
                _ if managed.request.is_some() || managed.has_leftovers() => {}
                DomainState::Valid | DomainState::Cancelled => return Ok(Outcome::Done),
                DomainState::Failed => return Ok(Outcome::Failed),
                _ if managed.waits_for_person() => return Ok(Outcome::WaitsForPerson),
                _ => {}
            }
            let failure = managed.failure.map(|failure| format!(", but {}", failure.message));
            output.status(format!("{domain} is being validated{}", failure.unwrap_or_default()));
        }
    };
    meanwhile(host, output, patience, watch).await
}

/// Lets the engine work until `watch` has seen enough, and for no longer than `patience`.
async fn meanwhile(
    host: &Host,
    output: &Output,
    patience: Duration,
    watch: impl Future<Output = Result<Outcome, Failure>>,
) -> Result<Outcome, Failure> {
    let engine = &host.engine;
    let (stop, stopped) = oneshot::channel::<()>();
    let work = tokio::spawn({
        let engine = engine.clone();
        async move { engine.run(async move { drop(stopped.await) }).await }
    });
    let outcome = tokio::select! {
        outcome = watch => outcome,
        () = time::sleep(patience) => Ok(Outcome::Unfinished),
        () = interrupted() => Ok(Outcome::Unfinished),
    };
    drop(stop);
    output.status("finishing what is under way");
    if let Ok(finished) = work.await {
        finished?;
    }
    outcome
}

async fn watch(
    host: &Host,
    output: &Output,
    ids: &[CertificateId],
    since: u64,
    looked: Option<Timestamp>,
) -> Result<Outcome, Failure> {
    let mut events = pin!(host.engine.events(since));
    let mut ticks = time::interval(LOOK);
    let mut open: BTreeSet<_> = ids.iter().collect();
    let mut outcome = Outcome::Done;
    let mut turn = 0;
    while !open.is_empty() {
        tokio::select! {
            Some(event) = events.next() => {
                let event = event?;
                if event.occurrence.certificate.as_ref().is_some_and(|id| ids.contains(id)) {
                    output.progress(&event);
                }
            }
            _ = ticks.tick() => turn += 1,
        }
        let mut still = BTreeSet::new();
        for id in open {
            match look(host, id, looked).await? {
                Look::Settled(settled) => outcome = worst(outcome, settled),
                Look::Moving(what) => {
                    output.status(format!("{} {id}: {what}", ["⠋", "⠙", "⠸", "⠴", "⠦", "⠇"][turn % 6]));
                    still.insert(id);
                }
            }
        }
        open = still;
    }
    Ok(outcome)
}

fn worst(left: Outcome, right: Outcome) -> Outcome {
    let rank = |outcome| match outcome {
        Outcome::Done => 0,
        Outcome::Unfinished => 1,
        Outcome::WaitsForPerson => 2,
        Outcome::Failed => 3,
    };
    if rank(left) >= rank(right) { left } else { right }
}

enum Look {
    /// Nothing more happens by itself, or only much later.
    Settled(Outcome),
    /// Something is under way.
    Moving(String),
}

/// Finds out whether a certificate has settled.
async fn look(host: &Host, id: &CertificateId, looked: Option<Timestamp>) -> Result<Look, Failure> {
    let engine = &host.engine;
    let certificate = match engine.certificate(id).await {
        Err(error) if error.kind().code() == "unknown_object" => return Ok(Look::Settled(Outcome::Done)),
        other => other?,
    };
    let orders = engine.orders(id, None).await?.items;
    if let Some(order) = orders.iter().find(|order| !order.is_closed()) {
        let asked = !order.requests.is_empty();
        let by_hand = order.state == OrderState::Validating
            && order.publications.iter().any(|publication| publication.state == PublicationState::ByHand);
        let decides =
            matches!(order.state, OrderState::InDoubt | OrderState::AwaitingApproval | OrderState::Suspended);
        return Ok(if (by_hand || decides) && !asked {
            Look::Settled(Outcome::WaitsForPerson)
        } else if order.state.is_over() {
            Look::Moving("cleaning up".to_owned())
        } else {
            let failure = order.failure.as_ref().map(|failure| format!(", but {}", failure.message));
            Look::Moving(format!("the order is {}{}", order.state, failure.unwrap_or_default()))
        });
    }
    if certificate.order.is_some() {
        return Ok(Look::Moving("order drafted".to_owned()));
    }
    if let Some(pending) = certificate.revocations.first() {
        return Ok(match pending.next_attempt {
            Some(_) => Look::Moving(format!("version {} is being revoked", pending.version)),
            None => Look::Settled(Outcome::Failed),
        });
    }
    if let Some(pending) = certificate.decisions.first() {
        return Ok(match pending.next_attempt {
            Some(_) => {
                Look::Moving(format!("the CA is asked to {} version {}", pending.decision, pending.version))
            }
            None => Look::Settled(Outcome::Failed),
        });
    }
    if certificate.failed_orders > 0 {
        return Ok(Look::Settled(Outcome::Failed));
    }
    let policy = engine.account_policy(&certificate.spec.ca).await?;
    if order_is_due(&certificate, &policy, host.clock.now()) {
        return Ok(Look::Moving("an order is due".to_owned()));
    }
    Ok(deployments(&certificate, &engine.explain(id).await?, looked))
}

fn order_is_due(certificate: &Certificate, policy: &AccountPolicy, now: Timestamp) -> bool {
    let scheduled = certificate.schedule.as_ref().is_some_and(|schedule| {
        let by_itself = matches!(schedule.trigger, RenewalTrigger::Policy | RenewalTrigger::CaWindow);
        schedule.at <= now && (policy.automatic(&certificate.spec).0 || !by_itself)
    });
    certificate.state == CertificateState::Active && (certificate.current.is_none() || scheduled)
}

fn deployments(certificate: &Certificate, explanation: &Explanation, looked: Option<Timestamp>) -> Look {
    let mut outcome = Outcome::Done;
    for target in &certificate.spec.deploy {
        let Some(deployment) = explanation.deployments.iter().find(|status| status.target == *target) else {
            return Look::Moving(format!("{target} waits for its version"));
        };
        let confirmed = deployment.actual == certificate.current
            && deployment
                .evidence
                .as_ref()
                .is_some_and(|evidence| looked.is_none_or(|since| evidence.at >= since));
        match (deployment.state, &deployment.failure) {
            (DeploymentState::Live, None) if confirmed => {}
            (DeploymentState::Failing | DeploymentState::Live, Some(failure))
                if looked.is_none_or(|since| failure.at >= since) =>
            {
                outcome = Outcome::Failed;
            }
            (state, _) => return Look::Moving(format!("{target} is {state}")),
        }
    }
    Look::Settled(outcome)
}

/// Returns once the program is told to end.
async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
