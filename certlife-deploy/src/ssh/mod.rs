//! Certificates in files of a Unix machine, over SSH.
//!
//! The same versions in directories, the same switch by one rename and the same commands as for files of this
//! machine; only that files go over SFTP, and commands over the connection beside it. A connection is opened for each
//! call. A lock on the machine, held by the connection itself, keeps others out, so that it is gone with it.

mod machine;
mod presets;
mod settings;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_trait::async_trait;
use certlife_core::{
    AccountSummary, CertificateId, Clock, Csr, Deployer, Error, ErrorKind, InputError, Operation,
    ProviderName, Result,
    challenge::ChallengeKind,
    deploy::{Bundle, ChallengeHandle, DeployCapabilities, Installed, KeyRequest, Receipt, TargetResponse},
};
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use self::{machine::Visit, settings::Plan};
use crate::versions;

pub use self::{
    presets::Preset,
    settings::{Settings, SshBuilder, Sudo},
};
pub use crate::remote::{HostKey, Login, Server};

const SSH: ProviderName = ProviderName::new("ssh");
/// How many connections to a machine one deployer has at a time. OpenSSH drops the eleventh that is logging in.
const CONNECTIONS: usize = 4;

/// A Unix machine as a [`Deployer`], over SSH.
///
/// ```text
/// <directory>/www/versions/019b…/fullchain.pem   leaf and intermediates
///                               /cert.pem        the leaf alone
///                               /chain.pem       the intermediates alone
///                               /privkey.pem     the private key in PKCS#8
///                               /combined.pem    key and full chain, if asked for
///                               /site.pfx …      further files, in forms of the host's choice
///                               /install.json    what the deployer has to know
/// <directory>/www/live -> versions/019b…
/// ```
///
/// Servers are pointed to `<directory>/www/live/fullchain.pem` and so on. `live` is a symbolic link that is replaced
/// by one rename. Earlier versions stay for a while, for readers that are still at it and for
/// [rollback](Deployer::rollback).
///
/// An install runs the check command, switches, and runs the reload command. If the check fails nothing is
/// switched; if reloading fails, the version before is switched back and reloaded. The very first version is
/// switched to before it is checked, and taken away again if it fails: a server whose configuration names files
/// that are not there would not pass. The reload command runs again when the same version is installed again, since the
/// connection may have been lost between. Taking the last version away runs no command: a server that is still told
/// to read it would not start.
///
/// The machine needs an OpenSSH server or one like it with SFTP, `flock` (util-linux, `BusyBox`), and a POSIX shell as
/// the login shell of the user. Where `SELinux` is on, what was written gets the labels of the policy by `restorecon`.
#[derive(Debug, Clone)]
pub struct Ssh(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    plan: Arc<Plan>,
    /// In front of the lock on the machine, which knows no order of arrival.
    turn: Arc<Mutex<()>>,
    /// One at a time in the web root, so that few directories disappear from under each other.
    web_turn: Arc<Mutex<()>>,
    connections: Arc<Semaphore>,
}

/// What a call holds until it is over.
struct Turn {
    _turn: Option<OwnedMutexGuard<()>>,
    _connection: Option<OwnedSemaphorePermit>,
}

impl Ssh {
    /// Starts the description of a machine that keeps its certificates under `directory`, an absolute path there. It
    /// is made if it does not exist.
    pub fn builder(server: Server, directory: impl Into<String>) -> SshBuilder {
        SshBuilder::from(Settings::new(server, directory))
    }

    /// Checks the settings and returns the deployer. Opens no connection and reads no file.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] names the setting that is wrong and what it should look like.
    pub fn from_settings(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, InputError> {
        Ok(Self(Arc::new(Shared {
            plan: Arc::new(settings.check(clock)?),
            turn: Arc::default(),
            web_turn: Arc::default(),
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
        })))
    }

    /// Waits for its turn, connects and logs in.
    async fn visit(&self, operation: Operation, turn: Option<&Arc<Mutex<()>>>) -> Result<(Visit, Turn)> {
        let turn = match turn {
            Some(turn) => Some(Arc::clone(turn).lock_owned().await),
            None => None,
        };
        let connection = Arc::clone(&self.0.connections).acquire_owned().await.ok();
        let session = self.0.plan.route.open().await.map_err(|refused| refused.error(SSH, operation))?;
        let visit = Visit::new(session, Arc::clone(&self.0.plan)).await.map_err(failed(operation))?;
        Ok((visit, Turn { _turn: turn, _connection: connection }))
    }

    /// As [`visit`](Self::visit), and keeps everybody else out.
    async fn locked(&self, operation: Operation) -> Result<(Visit, Turn)> {
        let (mut visit, turn) = self.visit(operation, Some(&self.0.turn)).await?;
        visit.lock().await.map_err(failed(operation))?;
        Ok((visit, turn))
    }
}

/// The error of this target at an operation.
fn failed(operation: Operation) -> impl FnOnce(ErrorKind) -> Error {
    move |kind| Error::new(SSH, operation, kind)
}

#[async_trait]
impl Deployer for Ssh {
    fn provider(&self) -> ProviderName {
        SSH
    }

    fn capabilities(&self) -> DeployCapabilities {
        let http = self.0.plan.web_root.is_some().then_some(ChallengeKind::Http);
        DeployCapabilities {
            install: true,
            challenges: BTreeSet::from_iter(http),
            volatile: false,
            keys: BTreeSet::new(),
        }
    }

    async fn probe(&self) -> Result<AccountSummary> {
        let operation = Operation::Probe;
        let (visit, _turn) = self.locked(operation).await?;
        let probing = async {
            visit.probe_commands().await?;
            let rights = versions::Machine::rights(&visit).await?;
            versions::probe(versions::Machine::tree(&visit), &rights).await?;
            match visit.web() {
                Some(root) => versions::probe_web(&root).await,
                None => Ok(()),
            }
        };
        probing.await.map_err(failed(operation))?;
        visit.leave().await;
        Ok(AccountSummary {
            identity: Some(format!("{}:{}", self.0.plan.route.name(), self.0.plan.directory).into()),
            details: BTreeMap::new(),
            warnings: Vec::new(),
        })
    }

    async fn make_key(&self, wanted: &KeyRequest) -> Result<Csr> {
        let what = format!("making {} keys on the target", wanted.algorithm);
        Err(Error::new(SSH, Operation::MakeKey, ErrorKind::Unsupported(what.into())))
    }

    async fn install(&self, bundle: &Bundle) -> Result<Receipt> {
        let operation = Operation::Install;
        let (visit, _turn) = self.locked(operation).await?;
        let receipt = versions::install(&visit, bundle).await.map_err(failed(operation))?;
        visit.leave().await;
        Ok(receipt)
    }

    async fn installed(&self, certificate: &CertificateId) -> Result<Option<Installed>> {
        let operation = Operation::Inspect;
        let (visit, _turn) = self.visit(operation, None).await?;
        let tree = versions::Machine::tree(&visit);
        let installed = versions::installed(tree, &self.0.plan.layout, certificate).await;
        let installed = installed.map_err(failed(operation))?;
        visit.leave().await;
        Ok(installed)
    }

    async fn rollback(&self, receipt: &Receipt) -> Result<()> {
        let operation = Operation::RollBack;
        let (visit, _turn) = self.locked(operation).await?;
        versions::roll_back(&visit, receipt).await.map_err(failed(operation))?;
        visit.leave().await;
        Ok(())
    }

    async fn uninstall(&self, certificate: &CertificateId) -> Result<()> {
        let operation = Operation::Uninstall;
        let (visit, _turn) = self.locked(operation).await?;
        let tree = versions::Machine::tree(&visit);
        versions::uninstall(tree, &self.0.plan.layout, certificate).await.map_err(failed(operation))?;
        visit.leave().await;
        Ok(())
    }

    async fn put_challenge(&self, response: &TargetResponse) -> Result<ChallengeHandle> {
        let operation = Operation::PutChallenge;
        let (TargetResponse::Http(file), Some(_)) = (response, &self.0.plan.web_root) else {
            let what = format!("answering {} challenges", response.kind());
            return Err(Error::new(SSH, operation, ErrorKind::Unsupported(what.into())));
        };
        let (visit, _turn) = self.visit(operation, Some(&self.0.web_turn)).await?;
        if let Some(root) = visit.web() {
            versions::put_challenge(&root, file).await.map_err(failed(operation))?;
        }
        visit.leave().await;
        Ok(ChallengeHandle::unknown(response.clone()))
    }

    async fn remove_challenge(&self, handle: &ChallengeHandle) -> Result<()> {
        // What cannot be placed is not there.
        let (TargetResponse::Http(file), Some(_)) = (&handle.response, &self.0.plan.web_root) else {
            return Ok(());
        };
        let operation = Operation::RemoveChallenge;
        let (visit, _turn) = self.visit(operation, Some(&self.0.web_turn)).await?;
        if let Some(root) = visit.web() {
            versions::remove_challenge(&root, file).await.map_err(failed(operation))?;
        }
        visit.leave().await;
        Ok(())
    }
}
