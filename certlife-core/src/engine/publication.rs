//! Publications, whoever they belong to: put in place, watched, withdrawn, all of one owner at once.
//!
//! The owner's record is their journal: it stores them before anything is published, and their handles after.

use std::time::Duration;

use futures_util::future::join_all;

use super::{Context, backoff::Backoff};
use crate::{
    challenge::ChallengeResponse,
    deploy::{ChallengeHandle, TargetResponse},
    dns::{Distribution, RecordHandle},
    error::{Error, ErrorKind, Failure, Operation, ProviderName, Result, Retry},
    journal::Stored,
    lookup::{self, ServerReport, Visibility},
    model::{EventKind, ManagedDomain, Order, Publication, PublicationState, Route},
    name::Identifier,
    store::{Field, Key, Kind, Query},
    time::Timestamp,
};

/// What looking for a published record found.
enum Look {
    Visible,
    NotYet { servers: Vec<ServerReport>, again: Option<Duration> },
    Overdue(Vec<ServerReport>),
}

/// What came of an attempt to put responses in place.
#[derive(Default)]
pub(super) struct Put {
    pub(super) events: Vec<EventKind>,
    /// The error of one that no retry mends.
    pub(super) fatal: Option<Error>,
}

/// Puts every response in place that is not, concurrently. `sure` says that nothing can be in place yet. The caller
/// stores the handles in one commit.
pub(super) async fn put_in_place(context: &Context, publications: &mut [Publication], sure: bool) -> Put {
    let now = context.now();
    let waiting = |publication: &Publication| {
        publication.state == PublicationState::Placing && publication.retry_at.is_none_or(|next| next <= now)
    };
    let outcomes = join_all(
        publications
            .iter()
            .enumerate()
            .filter(|(_, publication)| waiting(publication))
            .map(|(index, publication)| async move { (index, put(context, publication).await) }),
    )
    .await;
    let mut result = Put::default();
    for (index, outcome) in outcomes {
        let now = context.now();
        let publication = &mut publications[index];
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
                result.events.push(EventKind::Published { identifiers });
            }
            Err(error) => {
                // The next attempt finds what the first one did.
                let error = error.repeatable();
                publication.attempts += 1;
                let failure = Failure::new(&error, publication.route.account().cloned(), now);
                publication.failure = Some(failure.clone());
                let next = Backoff::CALL.next(now, publication.attempts, error.retry(), &publication.place());
                publication.retry_at = Some(next);
                if error.retry() == Retry::Never {
                    result.fatal = Some(error);
                } else if publication.attempts.is_power_of_two() {
                    result.events.push(EventKind::Retrying { failure, next });
                }
            }
        }
    }
    result
}

/// When the earliest repeated attempt is due.
pub(super) fn next_try(publications: &[Publication], now: Timestamp) -> Timestamp {
    let placing = publications.iter().filter(|publication| publication.state == PublicationState::Placing);
    placing.filter_map(|publication| publication.retry_at).min().unwrap_or(now)
}

/// Looks whether placed records are seen, concurrently; returns when to look again.
///
/// # Errors
///
/// If one is not seen in time.
pub(super) async fn look(context: &Context, publications: &mut [Publication]) -> Result<Option<Timestamp>> {
    let placed = |publication: &Publication| publication.state == PublicationState::Placed;
    let looks = join_all(
        publications
            .iter()
            .enumerate()
            .filter(|(_, publication)| placed(publication))
            .map(|(index, publication)| async move { (index, look_for(context, publication).await) }),
    )
    .await;
    let now = context.now();
    let mut next: Option<Timestamp> = None;
    for (index, look) in looks {
        let publication = &mut publications[index];
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
                let names =
                    publication.identifiers.iter().map(Identifier::to_string).collect::<Vec<_>>().join(", ");
                let words = format!("the record for {names} is not visible in time: {lacking}");
                let kind = ErrorKind::NotConfirmed(words.into());
                return Err(Error::new(ProviderName::ENGINE, Operation::Resolve, kind));
            }
        }
    }
    Ok(next)
}

/// Looks at what people say they have put in place. What is not seen stays pending, with the reason.
pub(super) async fn look_at_what_people_placed(context: &Context, publications: &mut [Publication]) {
    for publication in publications.iter_mut().filter(|one| one.state == PublicationState::ByHand) {
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

/// What came of an attempt to remove what is in place.
#[derive(Default)]
pub(super) struct Withdrawal {
    /// The identifiers whose responses are gone.
    pub(super) gone: Vec<Identifier>,
    /// Why something is still in place.
    pub(super) error: Option<Error>,
}

/// Removes everything that is, or may be, in place, concurrently. `owner` is the record that they belong to.
pub(super) async fn withdraw(context: &Context, owner: &Key, publications: &mut [Publication]) -> Withdrawal {
    let outcomes = join_all(
        publications
            .iter()
            .enumerate()
            .filter(|(_, publication)| publication.state.may_be_in_place())
            .map(|(index, publication)| async move { (index, take_down(context, owner, publication).await) }),
    )
    .await;
    let mut result = Withdrawal::default();
    for (index, outcome) in outcomes {
        let publication = &mut publications[index];
        match outcome {
            Ok(state) => {
                publication.state = state;
                publication.failure = None;
                if state == PublicationState::Withdrawn {
                    result.gone.extend(publication.identifiers.iter().cloned());
                }
            }
            Err(error) => {
                let account = publication.route.account().cloned();
                publication.failure = Some(Failure::new(&error, account, context.now()));
                result.error = Some(error);
            }
        }
    }
    result
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
pub(super) async fn take_down(
    context: &Context,
    owner: &Key,
    publication: &Publication,
) -> Result<PublicationState> {
    if publication.foreign || needed_elsewhere(context, owner, publication).await? {
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

/// Whether another order or domain that is under way has the same value at the same place.
async fn needed_elsewhere(context: &Context, owner: &Key, publication: &Publication) -> Result<bool> {
    for kind in [Kind::Order, Kind::Domain] {
        let query = Query::all(kind).having(Field::Publication, publication.place()).limit(8);
        for record in context.journal.store.list(&query).await?.items {
            let under_way = match kind {
                Kind::Order => !Stored::<Order>::read(&record)?.value.state.is_over(),
                _ => Stored::<ManagedDomain>::read(&record)?.value.is_under_way(),
            };
            if under_way && record.key != *owner {
                return Ok(true);
            }
        }
    }
    Ok(false)
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
