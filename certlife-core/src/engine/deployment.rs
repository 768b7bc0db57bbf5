//! The steps of a deployment: install, verify, roll back, look after. Issued is not done; this is.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::future::join_all;

use super::{Context, OnDrift, TlsEndpoint, accounts::TargetAccount, backoff::Backoff};
use crate::{
    deploy::Bundle,
    digest::Fingerprint,
    error::{Error, ErrorKind, Operation, ProviderName, Result, Retry},
    journal::{Changes, Stored, lost_race},
    model::{Actor, Certificate, Deployment, DeploymentState, EventKind, Evidence, Occurrence, Version},
    name::Identifier,
    notify::{Matter, Notice},
    store::{AfterCommit, Field, Kind, Lease, Query, Record},
    time::Timestamp,
    tls,
};

/// How long a handshake with a target may take, connection and all that comes before TLS included.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Takes a deployment as far as it goes now.
pub(super) async fn step(context: &Context, record: &Record, lease: &Lease) -> Result<()> {
    let deployment = Stored::read(record)?;
    Run { context, lease, deployment, events: Vec::new(), news: false }.finish().await
}

/// Lets targets that forgot everything with the process have again what they should have.
pub(super) async fn restore(context: &Context) -> Result<()> {
    for target in context.accounts.forgetful() {
        let query = Query::all(Kind::Deployment).having(Field::Account, target.as_str());
        for mut deployment in context.journal.all::<Deployment>(query).await? {
            deployment.value.forgotten();
            let mut changes = Changes::new();
            changes.replace(&deployment, Some(context.now()));
            match context.journal.commit(changes).await {
                // Its step runs meanwhile; the next pass tries again.
                Err(error) if lost_race(&error) => return Ok(()),
                outcome => outcome?,
            }
        }
        context.accounts.restored(&target);
    }
    Ok(())
}

struct Run<'a> {
    context: &'a Context,
    lease: &'a Lease,
    deployment: Stored<Deployment>,
    events: Vec<Occurrence>,
    /// Whether it has become live or failed since it was last stored.
    news: bool,
}

/// What comes after a step.
enum Next {
    Now,
    At(Timestamp),
    Never,
}

impl Run<'_> {
    async fn finish(mut self) -> Result<()> {
        loop {
            let due = match self.advance().await? {
                Next::Now => continue,
                Next::At(moment) => Some(moment),
                Next::Never => None,
            };
            if let Some(moment) = due
                && !self.context.settings.linger.is_zero()
                && moment.since(self.context.now())
                    <= self.context.settings.linger.min(Duration::from_secs(1))
            {
                self.context.clock.sleep_until(moment).await;
                continue;
            }
            if self.save(due, AfterCommit::Release).await? {
                return Ok(());
            }
        }
    }

    async fn advance(&mut self) -> Result<Next> {
        let deployment = &self.deployment.value;
        if deployment.desired.is_none() && deployment.state != DeploymentState::Removed {
            return self.remove().await;
        }
        if deployment.redeploy && deployment.state.is_at_rest() {
            let deployment = &mut self.deployment.value;
            (deployment.redeploy, deployment.attempts) = (false, 0);
            deployment.state = DeploymentState::Wanted;
        }
        match self.deployment.value.state {
            DeploymentState::Wanted | DeploymentState::Failing => self.intend().await,
            DeploymentState::Installing => self.install().await,
            DeploymentState::Verifying => self.verify().await,
            DeploymentState::Live => self.look_after().await,
            DeploymentState::RollingBack => self.roll_back().await,
            DeploymentState::Removing => self.remove().await,
            DeploymentState::Removed => Ok(Next::Never),
        }
    }

    /// Stores that the target is about to be changed.
    async fn intend(&mut self) -> Result<Next> {
        self.deployment.value.state = DeploymentState::Installing;
        self.deployment.value.looks = 0;
        if let Some(version) = self.deployment.value.desired
            && self.deployment.value.attempts == 0
        {
            let target = self.deployment.value.target.clone();
            self.event(EventKind::Installing { target, version });
        }
        self.save(Some(self.context.now()), AfterCommit::Keep).await?;
        Ok(Next::Now)
    }

    async fn install(&mut self) -> Result<Next> {
        let (target, version) = match self.parts().await {
            Ok(parts) => parts,
            Err(error) => return self.failed(error, DeploymentState::Failing).await,
        };
        let ready = match super::target_key::still_there(&target, &version).await {
            Ok(()) => self.bundle(&version).await,
            Err(error) => Err(error),
        };
        let installed = match ready {
            Ok(bundle) => {
                let _place = target.place().await;
                target.provider.install(&bundle).await
            }
            Err(error) => Err(error),
        };
        match installed {
            Ok(receipt) => {
                self.deployment.value.receipt = Some(receipt);
                self.deployment.value.state = DeploymentState::Verifying;
                self.deployment.value.looks = 0;
                Ok(Next::Now)
            }
            Err(error) => self.failed(error, DeploymentState::Failing).await,
        }
    }

    /// Asks the target for the version until it confirms it or its patience is over; then the old one comes back.
    async fn verify(&mut self) -> Result<Next> {
        let (target, version) = match self.parts().await {
            Ok(parts) => parts,
            Err(error) => return self.failed(error, DeploymentState::Verifying).await,
        };
        match evidence(self.context, &target, &version).await {
            Ok(evidence) => {
                let fingerprint = evidence.fingerprint;
                let deployment = &mut self.deployment.value;
                deployment.actual = Some(version.id);
                deployment.evidence = Some(evidence);
                deployment.state = DeploymentState::Live;
                deployment.attempts = 0;
                deployment.looks = 0;
                deployment.failure = None;
                deployment.drifted = false;
                self.news = true;
                let (target, version_id) = (target.name.clone(), version.id);
                self.event(EventKind::DeploymentLive { target, version: version_id, fingerprint });
                Ok(self.next_look())
            }
            Err(error) => {
                let deployment = &mut self.deployment.value;
                deployment.looks += 1;
                let looks = deployment.looks;
                deployment.failure = Some(self.context.failure(&error, &target.name));
                // Looks at 0.25, 0.5, 1, 2… seconds add up to twice the last, which bounds the whole by the patience.
                let wait = Duration::from_millis(250).saturating_mul(1 << looks.saturating_sub(1).min(20));
                if wait.saturating_mul(2) <= target.options.patience {
                    return Ok(Next::At(self.context.now() + wait));
                }
                self.deployment.value.state = DeploymentState::RollingBack;
                self.save(Some(self.context.now()), AfterCommit::Keep).await?;
                Ok(Next::Now)
            }
        }
    }

    /// Puts the version before back, so that what was served goes on being served, and tries again later.
    async fn roll_back(&mut self) -> Result<Next> {
        let Some(receipt) = self.deployment.value.receipt.clone() else {
            self.deployment.value.state = DeploymentState::Failing;
            return Ok(Next::Now);
        };
        let target = match self.target() {
            Ok(target) => target,
            Err(error) => return self.failed(error, DeploymentState::RollingBack).await,
        };
        let why = self.deployment.value.failure.clone();
        if receipt.replaced.is_some() {
            let rolled_back = {
                let _place = target.place().await;
                target.provider.rollback(&receipt).await
            };
            if let Err(error) = rolled_back {
                return self.failed(error, DeploymentState::RollingBack).await;
            }
            let (target, version) = (target.name.clone(), receipt.replaced);
            self.event(EventKind::RolledBack { target, version });
        }
        self.deployment.value.receipt = None;
        let words = why.map_or_else(|| "it was rolled back".into(), |why| why.message);
        let error = Error::new(target.provider.provider(), Operation::Verify, ErrorKind::NotConfirmed(words));
        self.failed(error, DeploymentState::Failing).await
    }

    /// Compares a live target with what it confirmed. What is found otherwise is told and put right.
    async fn look_after(&mut self) -> Result<Next> {
        if self.deployment.value.actual != self.deployment.value.desired {
            self.deployment.value.state = DeploymentState::Wanted;
            return Ok(Next::Now);
        }
        let checked_at = self.deployment.value.evidence.as_ref().map(|evidence| evidence.at);
        let now = self.context.now();
        if let Next::At(due) = self.next_look()
            && due > now
            && checked_at.is_some()
        {
            return Ok(Next::At(due));
        }
        let (target, version) = match self.parts().await {
            Ok(parts) => parts,
            Err(error) => return self.failed(error, DeploymentState::Live).await,
        };
        match evidence(self.context, &target, &version).await {
            Ok(evidence) => {
                let deployment = &mut self.deployment.value;
                deployment.evidence = Some(evidence);
                deployment.failure = None;
                deployment.attempts = 0;
                if std::mem::take(&mut deployment.drifted) {
                    self.news = true;
                    self.event(EventKind::DriftGone { target: target.name.clone() });
                }
                Ok(self.next_look())
            }
            // A target that cannot be asked may serve the right thing; one that shows something else does not.
            Err(error) if !matches!(error.kind(), ErrorKind::NotConfirmed(_)) => {
                self.failed(error, DeploymentState::Live).await
            }
            Err(error) => self.drifted(&target, error).await,
        }
    }

    /// Tells of a target that was found with something else, and does with it what the policy says.
    async fn drifted(&mut self, target: &TargetAccount, error: Error) -> Result<Next> {
        let repair = target.options.on_drift == OnDrift::Repair;
        // Left as it is, it is found again and again until somebody acts.
        let error = if repair { error } else { error.retry_as(Retry::Never) };
        let failure = self.context.failure(&error, &target.name);
        let deployment = &mut self.deployment.value;
        let known = std::mem::replace(&mut deployment.drifted, true);
        self.news = !known;
        deployment.failure = Some(failure.clone());
        deployment.attempts = 0;
        let evidence = deployment.evidence.as_ref();
        // A look that somebody asked for has forgotten the moment.
        let confirmed_at = evidence.map(|evidence| evidence.at).filter(|at| *at > Timestamp::MIN);
        let target_name = target.name.clone();
        if !known {
            self.event(EventKind::DriftFound { target: target_name.clone(), failure: failure.clone() });
        }
        if repair {
            self.deployment.value.state = DeploymentState::Wanted;
            return Ok(Next::Now);
        }
        if !known {
            self.tell(Matter::DriftFound { target: target_name, confirmed_at, failure }).await;
        }
        Ok(Next::At(self.context.now() + target.options.drift_check))
    }

    async fn remove(&mut self) -> Result<Next> {
        if self.deployment.value.state != DeploymentState::Removing {
            self.deployment.value.state = DeploymentState::Removing;
            self.save(Some(self.context.now()), AfterCommit::Keep).await?;
        }
        let removed = match self.target() {
            Ok(target) => {
                let _place = target.place().await;
                target.provider.uninstall(&self.deployment.value.certificate).await
            }
            Err(error) => Err(error),
        };
        match removed {
            Ok(()) => {
                let deployment = &mut self.deployment.value;
                deployment.state = DeploymentState::Removed;
                deployment.actual = None;
                deployment.evidence = None;
                deployment.receipt = None;
                deployment.failure = None;
                let target = deployment.target.clone();
                self.event(EventKind::Uninstalled { target });
                Ok(Next::Never)
            }
            Err(error) => self.failed(error, DeploymentState::Removing).await,
        }
    }

    // ---- helpers ----

    /// Stores a failure and when the state is tried again. A failed deployment goes on for ever, ever more slowly,
    /// and never orders anything.
    async fn failed(&mut self, error: Error, state: DeploymentState) -> Result<Next> {
        if super::order::is_our_store(&error) {
            return Err(error);
        }
        let now = self.context.now();
        let deployment = &mut self.deployment.value;
        deployment.state = state;
        deployment.attempts += 1;
        self.news = true;
        let failure = self.context.failure(&error, &deployment.target);
        deployment.failure = Some(failure.clone());
        let (attempts, target) = (deployment.attempts, deployment.target.clone());
        let what = format!("{}/{target}", deployment.certificate);
        let next = Backoff::DEPLOY.next(now, attempts, error.retry(), &what);
        if let Some(version) = deployment.desired
            && attempts.is_power_of_two()
        {
            let (target, failure) = (target.clone(), failure.clone());
            self.event(EventKind::DeploymentFailed { target, version, failure, next });
        }
        // The second failure in a row is worth a person's time; so is every doubling after it.
        if attempts > 1 && attempts.is_power_of_two() {
            self.tell(Matter::DeploymentFailed { target, failure }).await;
        }
        Ok(Next::At(next))
    }

    async fn tell(&self, matter: Matter) {
        let certificate = self.deployment.value.certificate.clone();
        self.context.tell(&Notice::new(certificate, self.context.now(), matter)).await;
    }

    fn next_look(&self) -> Next {
        let every = self.target().map_or(Duration::from_hours(24), |target| target.options.drift_check);
        let last = self
            .deployment
            .value
            .evidence
            .as_ref()
            .map_or_else(|| self.context.now(), |evidence| evidence.at);
        Next::At(last + every)
    }

    fn target(&self) -> Result<Arc<TargetAccount>> {
        let name = &self.deployment.value.target;
        self.context.accounts.target(name).map_err(|input| super::accounts::absent(Operation::Install, input))
    }

    async fn parts(&self) -> Result<(Arc<TargetAccount>, Version)> {
        let target = self.target()?;
        self.context.check_enabled(&target.name).await?;
        let id = self.deployment.value.desired;
        let version = match id {
            Some(id) => self.context.journal.load::<Version>(id).await?,
            None => None,
        };
        let gone = || {
            let kind = ErrorKind::NotFound("the version to deploy".into());
            Error::new(ProviderName::ENGINE, Operation::Install, kind)
        };
        Ok((target, version.ok_or_else(gone)?.value))
    }

    async fn bundle(&self, version: &Version) -> Result<Bundle> {
        let key = match version.key {
            Some(id) => Some(self.context.open_key(id).await?),
            None => None,
        };
        Ok(Bundle {
            certificate: version.certificate.clone(),
            version: version.id,
            identifiers: version.info.identifiers.iter().cloned().collect(),
            chain: version.chain.clone(),
            key,
            replaces: self.deployment.value.actual.filter(|actual| *actual != version.id),
        })
    }

    fn event(&mut self, kind: EventKind) {
        let occurrence = Occurrence::new(self.context.now(), Actor::Engine, kind);
        self.events.push(occurrence.on(&self.deployment.value.certificate));
    }

    /// Sends the certificate to look, in the same commit, where targets of later waves may wait for this one.
    async fn report(&mut self, changes: &mut Changes) -> Result<()> {
        let deployment = &mut self.deployment.value;
        if !self.news || !deployment.awaited {
            return Ok(());
        }
        let certificate = self.context.journal.load::<Certificate>(&deployment.certificate).await?;
        let waits = |certificate: &Certificate| {
            certificate.rollout.as_ref().is_some_and(|rollout| Some(rollout.version) == deployment.desired)
        };
        match certificate.filter(|certificate| waits(&certificate.value)) {
            Some(mut certificate) => {
                certificate.value.targets_due = true;
                changes.replace(&certificate, Some(self.context.now()));
            }
            None => deployment.awaited = false,
        }
        Ok(())
    }

    /// Stores the deployment. Returns false if another version is wanted meanwhile, which then comes first.
    async fn save(&mut self, due: Option<Timestamp>, after: AfterCommit) -> Result<bool> {
        loop {
            let mut changes = Changes::under(self.lease, after);
            self.report(&mut changes).await?;
            changes.replace(&self.deployment, due).events(&self.events);
            match self.context.journal.commit(changes).await {
                Ok(()) => {
                    self.deployment.revision += 1;
                    self.events.clear();
                    self.news = false;
                    return Ok(true);
                }
                Err(error) if lost_race(&error) => {
                    let stored =
                        self.context.journal.load::<Deployment>(record_id(&self.deployment.value)).await?;
                    let gone =
                        || Error::new(ProviderName::ENGINE, Operation::WriteStore, ErrorKind::LeaseLost);
                    let stored = stored.ok_or_else(gone)?;
                    self.deployment.revision = stored.revision;
                    if self.deployment.value.adopt_desired(&stored.value) && after == AfterCommit::Release {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn record_id(deployment: &Deployment) -> String {
    Deployment::key(&deployment.certificate, &deployment.target).id
}

/// What shows that the target has the version: every endpoint serves it, or, without endpoints, the target says
/// that it holds it.
pub(super) async fn evidence(
    context: &Context,
    target: &TargetAccount,
    version: &Version,
) -> Result<Evidence> {
    let wanted = version.chain.fingerprint();
    let now = context.now();
    if target.options.endpoints.is_empty() {
        let _place = target.place().await;
        let installed = target.provider.installed(&version.certificate).await?;
        let found = installed.map(|installed| installed.fingerprint);
        return match found {
            Some(found) if found == wanted => Ok(Evidence::new(now, found, None)),
            found => Err(not_confirmed(target, "holds", found)),
        };
    }
    let looks = join_all(target.options.endpoints.iter().map(|endpoint| async move {
        let name = endpoint.server_name.clone().or_else(|| first_name(version));
        (endpoint.address, served(endpoint, name.as_ref()).await)
    }))
    .await;
    let mut confirmed_at: Option<SocketAddr> = None;
    for (address, served) in looks {
        let verb = format!("serves at {address}");
        match served {
            Ok(found) if found == wanted => {}
            Ok(found) => return Err(not_confirmed(target, &verb, Some(found))),
            // A server that refuses the name, as one in memory does after a restart, or to start TLS, as one without a
            // usable key does, does not serve the certificate.
            Err(error) if matches!(error.kind(), ErrorKind::Rejected(_)) => {
                return Err(not_confirmed(target, &verb, None).because(error));
            }
            Err(error) => return Err(error),
        }
        confirmed_at = Some(address);
    }
    Ok(Evidence::new(now, wanted, confirmed_at))
}

async fn served(endpoint: &TlsEndpoint, name: Option<&crate::DnsName>) -> Result<Fingerprint> {
    let chain = match endpoint.starttls {
        Some(protocol) => tls::served_chain_after(protocol, endpoint.address, name, HANDSHAKE).await?,
        None => tls::served_chain(endpoint.address, name, HANDSHAKE).await?,
    };
    Ok(chain.fingerprint())
}

/// A name that SNI can carry: the first DNS name, or a host that the first wildcard covers.
fn first_name(version: &Version) -> Option<crate::DnsName> {
    version.info.identifiers.iter().find_map(|identifier| match identifier {
        Identifier::Dns(name) => Some(name.clone()),
        Identifier::Wildcard(base) => format!("certlife-check.{base}").parse().ok(),
        Identifier::Ip(_) => None,
    })
}

fn not_confirmed(target: &TargetAccount, verb: &str, found: Option<Fingerprint>) -> Error {
    let words = match found {
        Some(found) => format!("it {verb} the certificate {found}"),
        None => format!("it {verb} no certificate"),
    };
    Error::new(target.provider.provider(), Operation::Verify, ErrorKind::NotConfirmed(words.into()))
}
