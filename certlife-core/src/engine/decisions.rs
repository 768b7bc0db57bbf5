//! Decisions on issued versions: stored when they are asked for, then carried out until the CA confirms or refuses.
//!
//! Those on orders that are open go through the order's mailbox; see [`requests`](super::requests).

use super::{
    Context, Engine, Principal, accounts,
    backoff::Backoff,
    certificate::{self, event},
    principal::{not_now, unknown},
    revocation::Carried,
};
use crate::{
    ca::{Decision, OrderRef},
    error::{Error, ErrorKind, Operation, Result, Retry},
    id::VersionId,
    input::InputError,
    journal::{Changes, lost_race},
    model::{Certificate, EventKind, Occurrence, Order, PendingDecision, Version},
    notify::Matter,
};

impl Principal {
    /// Decides on an issued version: suspend, resume, deactivate, reactivate. A decision takes the place of its contrary
    /// that the CA has not confirmed.
    ///
    /// The engine carries it out and keeps trying for as long as the CA does not answer; what became of it is in the
    /// certificate's [`decisions`](Certificate::decisions), in the [`Version`] and in the feed. Asked again, it tries
    /// again at once. As long as the current version is suspended or deactivated, nothing is ordered by itself: whoever
    /// set it aside has not decided yet whether it goes on.
    ///
    /// # Errors
    ///
    /// [`InputError::Unknown`]; an [`InputError`] if the decision is one for orders; [`ErrorKind::Unsupported`] if the CA
    /// does not take it; [`ErrorKind::NotNow`] if the version is revoked or the CA account does not know it.
    pub async fn decide_version(&self, version: VersionId, decision: Decision) -> Result<()> {
        let context = self.context();
        let fail = |input| Error::input(Operation::Decide, input);
        if contrary(decision).is_none() {
            let (field, value) = ("decision".into(), decision.to_string().as_str().into());
            let rule = "what is issued can be suspended, resumed, deactivated and reactivated".into();
            return Err(fail(InputError::Value { field, value, rule }));
        }
        loop {
            let stored = context.journal.load::<Version>(version).await?;
            let stored = stored.ok_or_else(|| unknown("version", &version))?.value;
            let ca = context.accounts.ca(&stored.ca).map_err(fail)?;
            if !ca.provider.capabilities().decisions.contains(&decision) {
                let kind = ErrorKind::Unsupported(format!("to {decision} at this CA").into());
                return Err(Error::new(ca.provider.provider(), Operation::Decide, kind));
            }
            if stored.revoked.is_some() {
                return Err(not_now("the version is revoked"));
            }
            if stored.handle.is_none() {
                return Err(not_now("the CA account does not know the version"));
            }
            let now = context.now();
            let mut certificate = self.load(&stored.certificate).await?;
            let pending = &mut certificate.value.decisions;
            pending.retain(|other| other.version != version || !is_about(other.decision, decision));
            pending.push(PendingDecision {
                version,
                decision,
                actor: self.actor.clone(),
                attempts: 0,
                failure: None,
                next_attempt: Some(now),
            });
            let policy = context.policy(&certificate.value.spec.ca).await?;
            let due = certificate::settle(&mut certificate.value, &policy, now);
            let asked = self.event(EventKind::DecisionAsked { version, decision });
            let mut changes = Changes::new();
            changes.replace(&certificate, due).event(&asked.on(&stored.certificate));
            match context.journal.commit(changes).await {
                Err(error) if lost_race(&error) => {}
                other => return other,
            }
        }
    }
}

impl Engine {
    /// [`Principal::decide_version`] in the host's own name.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn decide_version(&self, version: VersionId, decision: Decision) -> Result<()> {
        self.host().decide_version(version, decision).await
    }
}

/// The decision that undoes one on an issued version; none for those on orders.
fn contrary(decision: Decision) -> Option<Decision> {
    Some(match decision {
        Decision::Suspend => Decision::Resume,
        Decision::Resume => Decision::Suspend,
        Decision::Deactivate => Decision::Reactivate,
        Decision::Reactivate => Decision::Deactivate,
        _ => return None,
    })
}

fn is_about(other: Decision, decision: Decision) -> bool {
    other == decision || Some(other) == contrary(decision)
}

/// Asks the CA for each decision that is due, but for those on versions that were just changed: they come with the next
/// step. To ask twice, after a crash, is harmless: what is decided already counts as success.
pub(super) async fn carry_out(
    context: &Context,
    certificate: &mut Certificate,
    mut carried: Carried,
) -> Result<Carried> {
    let now = context.now();
    for mut pending in std::mem::take(&mut certificate.decisions) {
        let changed = carried.versions.iter().any(|version| version.value.id == pending.version);
        if changed || pending.next_attempt.is_none_or(|next| next > now) {
            certificate.decisions.push(pending);
            continue;
        }
        let version = context.journal.load::<Version>(pending.version).await?;
        // It may have been deleted or revoked meanwhile.
        let Some(mut version) = version.filter(|version| version.value.revoked.is_none()) else { continue };
        match decide(context, &version.value, pending.decision).await.map_err(Error::repeatable) {
            Ok(()) => {
                let (version_id, decision) = (pending.version, pending.decision);
                let kind = EventKind::VersionDecided { version: version_id, decision };
                carried.events.push(Occurrence::new(now, pending.actor, kind).on(&certificate.spec.id));
                let is_current = certificate.current == Some(version_id);
                match decision {
                    Decision::Suspend | Decision::Resume => {
                        version.value.suspended = (decision == Decision::Suspend).then_some(now);
                        if is_current {
                            certificate.suspended = version.value.suspended;
                        }
                    }
                    _ => {
                        version.value.deactivated = (decision == Decision::Deactivate).then_some(now);
                        if is_current {
                            certificate.deactivated = version.value.deactivated;
                        }
                    }
                }
                carried.versions.push(version);
            }
            Err(error) => {
                let failure = context.failure(&error, &version.value.ca);
                pending.attempts += 1;
                pending.failure = Some(failure.clone());
                let what = pending.version.to_string();
                pending.next_attempt = (error.retry() != Retry::Never)
                    .then(|| Backoff::CALL.next(now, pending.attempts, error.retry(), &what));
                let kind = match pending.next_attempt {
                    Some(next) => EventKind::Retrying { failure, next },
                    None => {
                        carried.refused = Some(Matter::DecisionRefused { failure: failure.clone() });
                        let (version, decision) = (pending.version, pending.decision);
                        EventKind::DecisionRefused { version, decision, failure }
                    }
                };
                carried.events.push(event(certificate, now, kind));
                certificate.decisions.push(pending);
            }
        }
    }
    Ok(carried)
}

async fn decide(context: &Context, version: &Version, decision: Decision) -> Result<()> {
    let ca = context.accounts.ca(&version.ca).map_err(|input| accounts::absent(Operation::Decide, input))?;
    let unknown = || not_now("the CA account does not know the version");
    let handle = version.handle.clone().ok_or_else(unknown)?;
    let intent = match version.order {
        Some(order) => context.journal.load::<Order>(order).await?.and_then(|order| order.value.intent),
        None => None,
    };
    let _place = ca.place().await;
    ca.provider.decide(&OrderRef { intent, handle }, decision).await.map(drop)
}
