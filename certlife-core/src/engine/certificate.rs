//! The step of a certificate: revoke what is to be revoked, let its targets have the version in their order, ask the CA for
//! its window, draft an order when one is due, tell people in time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Context,
    backoff::{Backoff, fraction},
    decisions, renewal, revocation, targets, wish,
};
use crate::{
    ca::{IssuedRef, PurposeKind, RenewalWindow},
    error::{Failure, Operation, Result, Retry},
    id::VersionId,
    journal::{Changes, Stored, lost_race},
    model::{
        AccountPolicy, Actor, Certificate, CertificateState, DecidedBy, EventKind, Occurrence, Order,
        OrderState, RenewalSchedule, RenewalTrigger, Version,
    },
    name::Identifier,
    notify::{Matter, Notice},
    store::{AfterCommit, Lease, Record},
    text::VendorText,
    time::Timestamp,
};

/// How often the CA is asked for its window (RFC 9773 §4.3), unless it says otherwise.
const WINDOW_EVERY: Duration = Duration::from_hours(12);

/// Does what is due for a certificate and finds out what is due next.
pub(super) async fn step(context: &Context, record: &Record, lease: &Lease) -> Result<()> {
    let mut certificate = Stored::<Certificate>::read(record)?;
    loop {
        let policy = context.policy(&certificate.value.spec.ca).await?;
        let mut events = Vec::new();
        let mut notices = Vec::new();
        let mut changes = Changes::under(lease, AfterCommit::Release);
        let carried = revocation::carry_out(context, &mut certificate.value).await?;
        let carried = decisions::carry_out(context, &mut certificate.value, carried).await?;
        for version in &carried.versions {
            changes.replace(version, None);
        }
        events.extend(carried.events);
        notices.extend(carried.refused);
        if certificate.value.targets_due {
            notices.extend(targets::settle(context, &mut changes, &mut certificate.value).await?);
        }
        refresh_window(context, &mut certificate.value, &mut events).await?;
        let now = context.now();
        settle(&mut certificate.value, &policy, now);
        if let Some((mut purpose, trigger)) = order_due(&certificate.value, &policy, now) {
            if purpose == PurposeKind::Renewal && reissues(context, &certificate.value) {
                purpose = PurposeKind::Reissue;
            }
            let drafted = Drafted {
                purpose,
                trigger,
                decided_by: trigger
                    .filter(|trigger| !is_asked(*trigger))
                    .map(|_| policy.automatic(&certificate.value.spec).1),
                reason: None,
                actor: Actor::Engine,
            };
            match draft(context, &mut certificate.value, drafted).await {
                Ok((order, drafted)) => {
                    changes.insert(&order, Some(now));
                    if let Some(trigger) = trigger {
                        events.push(event(&certificate.value, now, EventKind::RenewalDue { trigger }));
                    }
                    events.push(drafted);
                }
                Err(error) if is_wish(&error) => {
                    let failure = context.failure(&error, &certificate.value.spec.ca);
                    order_ended(&mut certificate.value, OrderState::Failed, Some(&failure), false, now);
                    notices.push(Matter::OrderNeedsPerson { failure: Some(failure) });
                }
                Err(error) => return Err(error),
            }
        }
        if let (Some(days), _) = renewal::notices(&certificate.value, &policy, now)
            && certificate.value.state != CertificateState::Revoked
        {
            certificate.value.noticed_days = Some(days);
            events.push(event(&certificate.value, now, EventKind::ExpiryNoticed { days }));
            if let Some((_, not_after)) = certificate.value.validity {
                notices.push(Matter::Expiring { not_after, days });
            }
        }
        let due = settle(&mut certificate.value, &policy, now);
        changes.replace(&certificate, due).events(&events);
        match context.journal.commit(changes).await {
            Ok(()) => {
                for matter in notices {
                    context.tell(&Notice::new(certificate.value.spec.id.clone(), now, matter)).await;
                }
                return Ok(());
            }
            // The host changed its wish meanwhile: what was decided for the old one is decided again.
            Err(error) if lost_race(&error) => {
                match context.journal.load(&certificate.value.spec.id).await? {
                    Some(stored) => certificate = stored,
                    None => return Ok(()),
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether an error is about what the host wants, rather than about the store.
pub(super) fn is_wish(error: &crate::Error) -> bool {
    !matches!(error.operation(), Operation::ReadStore | Operation::WriteStore | Operation::Claim)
}

/// Asks the CA when it wants the current version renewed, if that is due. A CA that does not answer is asked
/// again later; renewal goes by what is known.
async fn refresh_window(
    context: &Context,
    certificate: &mut Certificate,
    events: &mut Vec<Occurrence>,
) -> Result<()> {
    let now = context.now();
    let Some(version) = certificate.current else { return Ok(()) };
    if certificate.order.is_some()
        || certificate.state != CertificateState::Active
        || !certificate.spec.renewal.follow_ca
        || certificate.window_due.is_none_or(|due| due > now)
    {
        return Ok(());
    }
    let answer = ask_window(context, certificate, version).await;
    let wait = match answer {
        Ok(Some(window)) => {
            let changed = certificate
                .window
                .as_ref()
                .is_none_or(|known| (known.start, known.end) != (window.start, window.end));
            if changed {
                let (start, end, explanation) = (window.start, window.end, window.explanation.clone());
                events.push(event(certificate, now, EventKind::RenewalWindow { start, end, explanation }));
            }
            let wait = window.ask_again.unwrap_or(WINDOW_EVERY);
            certificate.window = Some(window);
            // RFC 9773 §4.3.2: neither so often as to be a burden nor so rarely as to miss a change.
            wait.clamp(Duration::from_mins(1), Duration::from_hours(24))
        }
        Ok(None) => {
            certificate.window = None;
            Duration::from_hours(24 * 7)
        }
        Err(error) => {
            tracing::debug!(certificate = %certificate.spec.id, error = %error.chain(), "no renewal information");
            match error.retry() {
                Retry::After(wait) => wait.clamp(Duration::from_mins(1), Duration::from_hours(24)),
                _ => Duration::from_hours(6),
            }
        }
    };
    certificate.window_due = Some(now + wait);
    Ok(())
}

async fn ask_window(
    context: &Context,
    certificate: &Certificate,
    version: VersionId,
) -> Result<Option<RenewalWindow>> {
    let ca = context
        .accounts
        .ca(&certificate.spec.ca)
        .map_err(|input| super::accounts::absent(Operation::RenewalInfo, input))?;
    if !ca.provider.capabilities().renewal_info {
        return Ok(None);
    }
    let Some(version) = context.journal.load::<Version>(version).await? else { return Ok(None) };
    let issued: IssuedRef = version.value.issued_ref();
    let _place = ca.place().await;
    ca.provider.renewal_window(&issued).await
}

/// Which order is due at `now`, and why; none if one is under way, or nothing is due, or a failure forbids it yet.
fn order_due(
    certificate: &Certificate,
    policy: &AccountPolicy,
    now: Timestamp,
) -> Option<(PurposeKind, Option<RenewalTrigger>)> {
    if certificate.order.is_some()
        || certificate.state != CertificateState::Active
        || certificate.not_before.is_some_and(|earliest| earliest > now)
    {
        return None;
    }
    if certificate.current.is_none() {
        return Some((PurposeKind::New, None));
    }
    let schedule = certificate.schedule.as_ref().filter(|schedule| schedule.at <= now)?;
    if !is_asked(schedule.trigger) && !renews_itself(certificate, policy) {
        return None;
    }
    Some((PurposeKind::Renewal, Some(schedule.trigger)))
}

/// Whether the next version comes from the same order: if that was paid for a good while longer than the current version
/// lasts, which is at least a third of the version's own time. A later order would be paid for twice.
fn reissues(context: &Context, certificate: &Certificate) -> bool {
    let (Some(term_ends), Some((not_before, not_after))) = (certificate.term_ends, certificate.validity)
    else {
        return false;
    };
    let capable = context
        .accounts
        .ca(&certificate.spec.ca)
        .is_ok_and(|ca| ca.provider.capabilities().purposes.contains(&PurposeKind::Reissue));
    capable && term_ends > not_after && term_ends.since(not_after) >= not_after.since(not_before) / 3
}

/// Recomputes the schedule and returns when the certificate is due next. `policy` is that of its CA account.
pub(super) fn settle(
    certificate: &mut Certificate,
    policy: &AccountPolicy,
    now: Timestamp,
) -> Option<Timestamp> {
    certificate.schedule = renewal::schedule(certificate, policy);
    let revocations = certificate.revocations.iter().filter_map(|pending| pending.next_attempt);
    let decisions = certificate.decisions.iter().filter_map(|pending| pending.next_attempt);
    let mut due: Vec<Timestamp> = revocations.chain(decisions).collect();
    due.extend(certificate.targets_due.then_some(now));
    if certificate.state == CertificateState::Revoked {
        return due.into_iter().min();
    }
    let (_, next_notice) = renewal::notices(certificate, policy, now);
    due.extend(next_notice);
    if certificate.order.is_none() && certificate.state == CertificateState::Active {
        let wanted_at = match (&certificate.schedule, certificate.current) {
            (_, None) => Some(now),
            (Some(schedule), _) if renews_itself(certificate, policy) || is_asked(schedule.trigger) => {
                Some(schedule.at)
            }
            _ => None,
        };
        due.extend(wanted_at.map(|at| certificate.not_before.map_or(at, |earliest| at.max(earliest))));
        if certificate.current.is_some() && certificate.spec.renewal.follow_ca {
            due.extend(certificate.window_due);
        }
    }
    due.into_iter().min().filter(|due| *due < Timestamp::MAX)
}

/// Whether a renewal is ordered without anybody asking. What a person set aside at the CA waits for that person.
fn renews_itself(certificate: &Certificate, policy: &AccountPolicy) -> bool {
    let set_aside = certificate.suspended.is_some() || certificate.deactivated.is_some();
    policy.automatic(&certificate.spec).0 && !set_aside
}

pub(super) fn is_asked(trigger: RenewalTrigger) -> bool {
    !matches!(trigger, RenewalTrigger::CaWindow | RenewalTrigger::Policy)
}

/// What is to be drafted: what for, by which rule, why, and at whose wish.
#[derive(Debug, Clone)]
pub(super) struct Drafted {
    pub(super) purpose: PurposeKind,
    pub(super) trigger: Option<RenewalTrigger>,
    /// Whose word it is, where nobody asked.
    pub(super) decided_by: Option<DecidedBy>,
    pub(super) reason: Option<VendorText>,
    pub(super) actor: Actor,
}

/// Drafts an order for a certificate whose wish was checked. The caller stores both.
pub(super) async fn draft(
    context: &Context,
    certificate: &mut Certificate,
    Drafted { purpose, trigger, decided_by, reason, actor }: Drafted,
) -> Result<(Order, Occurrence)> {
    wish::check(context, &certificate.spec, purpose).await?;
    context.check_enabled(&certificate.spec.ca).await?;
    let now = context.now();
    let order = Order {
        id: context.new_order_id(),
        certificate: certificate.spec.id.clone(),
        ca: certificate.spec.ca.clone(),
        purpose,
        trigger,
        decided_by,
        predecessor: certificate.current,
        reason,
        created_at: now,
        state: OrderState::Drafted,
        stage: None,
        key: None,
        target_key: None,
        intent: None,
        asked_at: None,
        handle: None,
        number: None,
        authorizations: Vec::new(),
        publications: Vec::new(),
        routes: BTreeMap::new(),
        term_ends: None,
        expires: None,
        message: None,
        attempts: 0,
        polls: 0,
        failure: None,
        version: None,
        ended_at: None,
        requests: BTreeSet::new(),
    };
    certificate.order = Some(order.id);
    certificate.not_before = None;
    let kind = EventKind::OrderDrafted { purpose, ca: order.ca.clone() };
    let drafted = Occurrence::new(now, actor, kind).on(&order.certificate).in_order(order.id);
    Ok((order, drafted))
}

/// Takes note of a new current version. `ordered` is what was asked of the CA: if the wish has changed since, the
/// next renewal is due at once.
pub(super) fn became_current(
    certificate: &mut Certificate,
    version: &Version,
    ordered: &BTreeSet<Identifier>,
    now: Timestamp,
) {
    let wanted: BTreeSet<_> = certificate.spec.identifiers.iter().cloned().collect();
    certificate.current = Some(version.id);
    certificate.validity = Some((version.info.not_before, version.info.not_after));
    // What was not ordered from here cannot be reissued from here.
    certificate.term_ends = version.term_ends.filter(|_| version.order.is_some() && version.handle.is_some());
    certificate.order = None;
    certificate.schedule =
        (wanted != *ordered).then(|| RenewalSchedule::new(now, RenewalTrigger::SpecChanged));
    certificate.failed_orders = 0;
    certificate.failure = None;
    (certificate.suspended, certificate.deactivated) = (None, None);
    certificate.not_before = None;
    certificate.window = None;
    certificate.noticed_days = None;
    // Not all at once: the CA is first asked within half a day, spread by name.
    certificate.window_due = Some(now + WINDOW_EVERY.mul_f64(fraction(certificate.spec.id.as_str(), 1)));
    if certificate.state == CertificateState::Revoked {
        certificate.state = CertificateState::Active;
    }
}

/// Takes note of an order that ended without a version, and when there may be another.
pub(super) fn order_ended(
    certificate: &mut Certificate,
    state: OrderState,
    failure: Option<&Failure>,
    paid: bool,
    now: Timestamp,
) {
    certificate.order = None;
    certificate.failed_orders += 1;
    certificate.failure = failure.cloned();
    // Money is not spent a second time, and a decision of a person is not undone, by a program.
    certificate.not_before = Some(if paid || state == OrderState::Cancelled {
        Timestamp::MAX
    } else {
        let retry = failure.map_or(Retry::Backoff, |failure| failure.retry);
        Backoff::ORDER.next(now, certificate.failed_orders, retry, certificate.spec.id.as_str())
    });
}

pub(super) fn event(certificate: &Certificate, now: Timestamp, kind: EventKind) -> Occurrence {
    Occurrence::new(now, Actor::Engine, kind).on(&certificate.spec.id)
}
