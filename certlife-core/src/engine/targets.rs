//! Which targets get a certificate (its own choice, then the longest domain mappings, then the default of the CA account),
//! and which of them get the current version now: all, or those whose wave of the rollout has come.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Context, context::mappings_key};
use crate::{
    error::{Error, Operation, Result},
    id::{AccountName, CertificateId, VersionId},
    input::InputError,
    journal::{Changes, Document, Stored, lost_race},
    model::{
        Actor, Certificate, CertificateSpec, Deployment, DeploymentState, DomainMapping, EventKind, HeldBy,
        Occurrence, RolloutProgress, TargetReason, Version,
    },
    name::Identifier,
    notify::Matter,
    store::{AfterCommit, Cursor, Field, Index, Kind, Lease, Query, Record},
    time::Timestamp,
};

type Targets = BTreeMap<AccountName, TargetReason>;

/// Chooses the targets of a certificate.
///
/// A mapping speaks for an identifier if it names targets and no longer mapping does; mappings of several identifiers
/// add up. An address has no mapping.
pub(super) fn choose(
    spec: &CertificateSpec,
    mappings: &[DomainMapping],
    account_default: &BTreeSet<AccountName>,
) -> Targets {
    let all = |targets: &BTreeSet<AccountName>, because: &TargetReason| -> Targets {
        targets.iter().map(|target| (target.clone(), because.clone())).collect()
    };
    if !spec.deploy.is_empty() {
        return all(&spec.deploy, &TargetReason::Certificate);
    }
    let mut mapped = Targets::new();
    for name in spec.identifiers.iter().filter_map(Identifier::base_name) {
        let speaks = |mapping: &&DomainMapping| !mapping.deploy.is_empty();
        if let Some(mapping) = DomainMapping::longest(mappings.iter().filter(speaks), &name.to_fqdn()) {
            mapped.extend(all(&mapping.deploy, &TargetReason::DomainMapping(mapping.domain.clone())));
        }
    }
    if mapped.is_empty() { all(account_default, &TargetReason::AccountDefault) } else { mapped }
}

/// Checks that targets are known here and take certificates.
pub(super) fn check<'a>(
    context: &Context,
    targets: impl IntoIterator<Item = &'a AccountName>,
) -> Result<(), InputError> {
    for target in targets {
        let target = context.accounts.target(target)?;
        if !target.provider.capabilities().install {
            let rule = "this target takes no certificates";
            return Err(InputError::setting(target.name.to_string(), rule));
        }
    }
    Ok(())
}

/// The choice as things are now; none if it takes an account that this process does not have.
async fn chosen(
    context: &Context,
    certificate: &Certificate,
    mappings: &[DomainMapping],
) -> Result<Option<Targets>> {
    let spec = &certificate.spec;
    let chosen = match context.accounts.ca(&spec.ca) {
        Ok(ca) => choose(spec, mappings, &ca.options.default_targets),
        Err(_) => match choose(spec, mappings, &BTreeSet::new()) {
            unknown if unknown.is_empty() => return Ok(None),
            known => known,
        },
    };
    if spec.deploy.is_empty()
        && !chosen.is_empty()
        && let Some(current) = certificate.current
        && let Some(version) = context.journal.load::<Version>(current).await?
        && version.value.key.is_none()
        && version.value.order.is_none()
    {
        // It was taken over from the CA, and its key is with those who ordered it there.
        return Ok(Some(Targets::new()));
    }
    Ok(Some(chosen))
}

/// Decides which targets get the certificate and which of them get the current version now, and puts that into
/// `changes`; the caller stores the certificate with them. Returns what people have to be told.
pub(super) async fn settle(
    context: &Context,
    changes: &mut Changes,
    certificate: &mut Certificate,
) -> Result<Option<Matter>> {
    let mappings = context.mappings().await?;
    let now = context.now();
    certificate.targets_due = false;
    if let Some(chosen) = chosen(context, certificate, &mappings).await?
        && chosen != certificate.targets
    {
        let targets = chosen.clone();
        changes.event(&event(certificate, now, EventKind::TargetsChosen { targets }));
        certificate.targets = chosen;
    }
    let Some(version) = certificate.current else { return Ok(None) };
    let mut owned = owned(context, &certificate.spec.id).await?;
    for (target, deployment) in &mut owned {
        if !certificate.targets.contains_key(target) && deployment.value.desired.take().is_some() {
            changes.replace(deployment, Some(now));
        }
    }

    let before = certificate.rollout.take().filter(|rollout| rollout.version == version);
    let mut rollout = before.unwrap_or_else(|| RolloutProgress::new(version));
    rollout.held = rollout.held.filter(|held| certificate.targets.contains_key(&held.target));
    rollout.waiting.clear();
    let waves = certificate.spec.rollout.waves(certificate.targets.keys());
    let mut failed = None;
    let mut open = true;
    for (place, wave) in waves.iter().enumerate() {
        let is_released = |target: &&AccountName| {
            owned.get(*target).is_some_and(|deployment| deployment.value.desired == Some(version))
        };
        let (released, rest): (Vec<_>, Vec<_>) = wave.iter().partition(is_released);
        if !open {
            rollout.waiting.extend(rest.into_iter().cloned());
            continue;
        }
        let awaited = place + 1 < waves.len();
        for target in &released {
            let Some(deployment) = owned.get_mut(*target) else { continue };
            let stands = standing(&deployment.value, version);
            let past = rollout.past.contains(*target);
            open &= past || stands == Standing::Live;
            if let Standing::Failed(held) = stands
                && !past
            {
                failed = failed.or(Some(held));
            }
            // Targets of later waves may have been added after it was installed.
            if awaited && !deployment.value.awaited {
                deployment.value.awaited = true;
                changes.replace(deployment, deployment.due);
            }
        }
        open &= rest.is_empty() && !rollout.held.as_ref().is_some_and(|held| wave.contains(&held.target));
        if rest.is_empty() {
            continue;
        }
        for target in &rest {
            release(changes, certificate, owned.get_mut(*target), target, version, awaited, now);
        }
        if waves.len() > 1 {
            let targets = rest.into_iter().cloned().collect();
            let kind = EventKind::WaveStarted { version, wave: place + 1, of: waves.len(), targets };
            changes.event(&event(certificate, now, kind));
        }
    }
    if rollout.waiting.is_empty() {
        return Ok(None);
    }
    let newly_held = failed.filter(|_| rollout.held.is_none());
    rollout.held = rollout.held.or(newly_held.clone());
    certificate.rollout = Some(rollout);
    Ok(newly_held.map(|HeldBy { target, failure }| {
        let kind = EventKind::RolloutHeld { version, target: target.clone(), failure: failure.clone() };
        changes.event(&event(certificate, now, kind));
        Matter::RolloutHeld { version, target, failure }
    }))
}

/// Makes a target want the version.
fn release(
    changes: &mut Changes,
    certificate: &Certificate,
    deployment: Option<&mut Stored<Deployment>>,
    target: &AccountName,
    version: VersionId,
    awaited: bool,
    now: Timestamp,
) {
    match deployment {
        Some(deployment) => {
            deployment.value.want(version);
            deployment.value.awaited = awaited;
            changes.replace(deployment, Some(now));
        }
        None => {
            let mut new = Deployment::new(certificate.spec.id.clone(), target.clone(), version);
            new.awaited = awaited;
            changes.insert(&new, Some(now));
        }
    }
}

/// Lets a rollout go on past the targets that it waits for and that have failed; returns them.
pub(super) async fn go_past(
    context: &Context,
    certificate: &mut Certificate,
) -> Result<Option<BTreeSet<AccountName>>> {
    let owned = owned(context, &certificate.spec.id).await?;
    let Some(rollout) = &mut certificate.rollout else { return Ok(None) };
    let version = rollout.version;
    let fails = |deployment: &Deployment| {
        let away = deployment.failure.is_some() && deployment.attempts > 0;
        deployment.desired == Some(version)
            && match standing(deployment, version) {
                Standing::Live => false,
                Standing::Failed(_) => true,
                Standing::UnderWay => away,
            }
    };
    let failing = owned.values().filter(|deployment| fails(&deployment.value));
    let past: BTreeSet<_> = failing.map(|deployment| deployment.value.target.clone()).collect();
    let held = rollout.held.take();
    let nothing_new = past.is_subset(&rollout.past);
    rollout.past.extend(past.iter().cloned());
    Ok((held.is_some() || !nothing_new).then_some(past))
}

/// How a target stands that should have the version.
#[derive(PartialEq, Eq)]
enum Standing {
    /// It has confirmed it and has not been found with anything else.
    Live,
    /// Nothing has failed yet, or only because an account is disabled or in another process, where the work waits.
    UnderWay,
    /// An attempt has failed, or it was found with something else that nobody puts right by itself.
    Failed(HeldBy),
}

fn standing(deployment: &Deployment, version: VersionId) -> Standing {
    let live = deployment.state == DeploymentState::Live && deployment.actual == Some(version);
    if live && !deployment.drifted {
        return Standing::Live;
    }
    let held = |failure: &crate::Failure| HeldBy::new(deployment.target.clone(), failure.clone());
    match &deployment.failure {
        Some(failure) if live => Standing::Failed(held(failure)),
        Some(failure)
            if deployment.attempts > 0
                && !matches!(failure.code.as_str(), "unknown_account" | "disabled_account") =>
        {
            Standing::Failed(held(failure))
        }
        _ => Standing::UnderWay,
    }
}

async fn owned(
    context: &Context,
    certificate: &CertificateId,
) -> Result<BTreeMap<AccountName, Stored<Deployment>>> {
    let query = Query::all(Kind::Deployment).having(Field::Owner, certificate.as_str());
    let all = context.journal.all::<Deployment>(query).await?;
    Ok(all.into_iter().map(|deployment| (deployment.value.target.clone(), deployment)).collect())
}

fn event(certificate: &Certificate, now: Timestamp, kind: EventKind) -> Occurrence {
    Occurrence::new(now, Actor::Engine, kind).on(&certificate.spec.id)
}

/// The domain mappings as they are stored.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Mappings(Vec<DomainMapping>);

impl Document for Mappings {
    const KIND: Kind = Kind::Setting;

    fn id(&self) -> String {
        mappings_key().id
    }

    fn index(&self) -> Index {
        Index::new()
    }
}

/// Where the look through all certificates is that follows a change of targets in the mappings.
#[derive(Default, Serialize, Deserialize)]
struct Sweep {
    after: Option<Cursor>,
}

impl Sweep {
    const ID: &str = "mapping-sweep";
}

impl Document for Sweep {
    const KIND: Kind = Kind::Setting;

    fn id(&self) -> String {
        Self::ID.to_owned()
    }

    fn index(&self) -> Index {
        Index::new()
    }
}

/// Stores the mappings. If they name other targets than before, every certificate is looked through after that, a page
/// at a time, by whichever engine comes to it.
pub(super) async fn set_mappings(context: &Context, mappings: &[DomainMapping]) -> Result<()> {
    for mapping in mappings {
        check(context, &mapping.deploy).map_err(|input| Error::input(Operation::Command, input))?;
    }
    let mappings = Mappings(mappings.to_vec());
    let named = |mappings: &Mappings| -> BTreeMap<_, _> {
        let naming = mappings.0.iter().filter(|mapping| !mapping.deploy.is_empty());
        naming.map(|mapping| (mapping.domain.clone(), mapping.deploy.clone())).collect()
    };
    loop {
        let stored = context.journal.load::<Mappings>(mappings_key().id).await?;
        let mut changes = Changes::new();
        let before = stored.as_ref().map(|stored| named(&stored.value)).unwrap_or_default();
        match stored {
            Some(stored) => changes.replace(&Stored { value: Mappings(mappings.0.clone()), ..stored }, None),
            None => changes.insert(&mappings, None),
        };
        if before != named(&mappings) {
            let now = Some(context.now());
            match context.journal.load::<Sweep>(Sweep::ID).await? {
                Some(sweep) => changes.replace(&Stored { value: Sweep::default(), ..sweep }, now),
                None => changes.insert(&Sweep::default(), now),
            };
        }
        match context.journal.commit(changes).await {
            Err(error) if lost_race(&error) => {}
            other => return other,
        }
    }
}

/// Looks through a page of certificates: those that get other targets by the mappings as they are now become due.
pub(super) async fn sweep(context: &Context, record: &Record, lease: &Lease) -> Result<()> {
    if record.key.id != Sweep::ID {
        return Ok(());
    }
    let mut sweep = Stored::<Sweep>::read(record)?;
    loop {
        let mappings = context.mappings().await?;
        let page = Query::all(Kind::Certificate).after(sweep.value.after.take());
        let page = context.journal.page::<Certificate>(page).await?;
        let mut changes = Changes::under(lease, AfterCommit::Release);
        for mut certificate in page.items {
            let chosen = chosen(context, &certificate.value, &mappings).await?;
            if chosen.is_some_and(|chosen| chosen != certificate.value.targets) {
                certificate.value.targets_due = true;
                changes.replace(&certificate, Some(context.now()));
            }
        }
        let due = page.next.is_some().then(|| context.now());
        sweep.value.after = page.next;
        changes.replace(&sweep, due);
        match context.journal.commit(changes).await {
            // One of them was changed meanwhile, or the mappings were.
            Err(error) if lost_race(&error) => match context.journal.load::<Sweep>(Sweep::ID).await? {
                Some(stored) => sweep = stored,
                None => return Ok(()),
            },
            other => return other,
        }
    }
}
