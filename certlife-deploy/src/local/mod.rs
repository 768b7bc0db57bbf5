//! Certificates in files of this machine, for web servers and whatever else reads PEM, PKCS#12 or JKS.
//!
//! Each version is a directory that never changes, and one rename makes it the live one, so that a crash at
//! any instruction leaves the old version or the new. All work on files runs on blocking threads, which go on
//! when a call is dropped; a file lock keeps others out until they are done.

mod command;
mod keys;
mod lock;
mod os;
mod owner;
mod place;
mod settings;
#[cfg(test)]
mod tests;
mod version;
mod web;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::Arc,
};

use async_trait::async_trait;
use certlife_core::{
    AccountSummary, CertificateId, Csr, Deployer, Error, ErrorKind, InputError, KeyAlgorithm, Operation,
    ProviderName, Result,
    challenge::ChallengeKind,
    deploy::{Bundle, ChallengeHandle, DeployCapabilities, Installed, KeyRequest, Receipt, TargetResponse},
};
use serde_json::Value;

use self::{
    command::Command,
    lock::Lock,
    place::{Place, Prepared, Retreat},
    settings::Plan,
};

pub use self::settings::{LocalBuilder, Settings};

const LOCAL: ProviderName = ProviderName::new("local");

/// Files of this machine as a [`Deployer`].
///
/// ```text
/// <directory>/www/versions/019b…/fullchain.pem   leaf and intermediates
///                               /cert.pem        the leaf alone
///                               /chain.pem       the intermediates alone
///                               /privkey.pem     the private key in PKCS#8
///                               /combined.pem    key and full chain, if asked for
///                               /site.pfx …      further files, in forms of the host's choice
///                               /install.json    what the deployer has to know
/// <directory>/www/keys/019b….pem                 keys that were made here, for `KeySource::OnTarget`
/// <directory>/www/live -> versions/019b…
/// ```
///
/// Servers are pointed to `<directory>/www/live/fullchain.pem` and so on. `live` is a symbolic link that is
/// replaced by one rename; on systems other than Unix it is a file with the path in it. A program that reads
/// while the link is replaced, and opens certificate and key one after the other, has to resolve `live` first;
/// one that reads `combined.pem`, or when it is told to reload, need not care. Earlier versions stay for a
/// while, for readers that are still at it and for [rollback](Deployer::rollback).
///
/// An install runs the check command, switches, and runs the reload command. If the check fails nothing is
/// switched; if reloading fails, the version before is switched back and reloaded. The reload command runs
/// again when the same version is installed again, since a crash may have come between. Taking the last
/// version away runs no command: a server that is still told to read it would not start.
///
/// A key that is [made here](Deployer::make_key) is readable by this process alone until its certificate is installed,
/// whose directory gets a copy with the chosen rights. It is removed with the last version that has it.
#[derive(Debug, Clone)]
pub struct Local(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    plan: Arc<Plan>,
    /// In front of the file lock, which knows no order of arrival.
    turn: Arc<tokio::sync::Mutex<()>>,
    web_turn: Arc<std::sync::Mutex<()>>,
}

impl Local {
    /// Starts the description of a target that keeps its certificates under `directory`, an absolute path. It
    /// is made if it does not exist.
    pub fn builder(directory: impl Into<std::path::PathBuf>) -> LocalBuilder {
        LocalBuilder::from(Settings::new(directory))
    }

    /// Checks the settings and returns the deployer. Reads and writes no file.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] names the setting that is wrong and what it should look like.
    pub fn from_settings(settings: Settings) -> Result<Self, InputError> {
        Ok(Self(Arc::new(Shared {
            plan: Arc::new(settings.check()?),
            turn: Arc::default(),
            web_turn: Arc::default(),
        })))
    }

    /// Works on files, on a thread that may block, and goes on if the caller loses interest.
    async fn on_files<T: Send + 'static>(
        &self,
        operation: Operation,
        work: impl FnOnce(&Plan) -> Result<T, ErrorKind> + Send + 'static,
    ) -> Result<T> {
        let plan = Arc::clone(&self.0.plan);
        tokio::task::spawn_blocking(move || work(&plan))
            .await
            .unwrap_or_else(|_| Err(ErrorKind::Io("the work on files was interrupted".into())))
            .map_err(|kind| Error::new(LOCAL, operation, kind))
    }

    /// As [`on_files`](Self::on_files), where nobody else may change anything until it is done.
    async fn on_locked_files<T: Send + 'static>(
        &self,
        operation: Operation,
        lock: &Arc<Lock>,
        work: impl FnOnce(&Plan) -> Result<T, ErrorKind> + Send + 'static,
    ) -> Result<T> {
        let lock = Arc::clone(lock);
        self.on_files(operation, move |plan| {
            let done = work(plan);
            drop(lock);
            done
        })
        .await
    }

    async fn lock(&self, operation: Operation) -> Result<Arc<Lock>> {
        let turn = Arc::clone(&self.0.turn).lock_owned().await;
        let file = self.on_files(operation, lock::open).await?;
        lock::acquire(file, turn).await.map_err(|kind| Error::new(LOCAL, operation, kind))
    }

    async fn run(&self, command: Option<&Command>, place: &Path, at: &Receipt) -> Result<(), ErrorKind> {
        match command {
            Some(command) => command.run(place, &at.certificate, self.0.plan.command_timeout).await,
            None => Ok(()),
        }
    }

    /// Puts back what was live before, and tells the server.
    async fn undo(&self, lock: &Arc<Lock>, prepared: &Prepared, receipt: &Receipt) -> String {
        let back_to = match prepared.retreat.clone() {
            Retreat::Stay => return "; it had been installed before, and stays".to_owned(),
            Retreat::ToNothing => None,
            Retreat::To(dir) => Some(dir),
        };
        let (certificate, target) = (receipt.certificate.clone(), back_to.clone());
        let switched = self
            .on_locked_files(Operation::RollBack, lock, move |plan| {
                Place::open(plan, &certificate)?.map_or(Ok(()), |place| place.switch(target.as_ref()))
            })
            .await;
        if let Err(error) = switched {
            return format!("; and the previous version could not be put back: {}", error.kind());
        }
        let Some(back_to) = back_to else {
            return "; nothing was installed before, and nothing is now".to_owned();
        };
        let path = Place::path_of(&self.0.plan, &receipt.certificate, &back_to);
        match self.run(self.0.plan.reload.as_ref(), &path, receipt).await {
            Ok(()) => "; the previous version is back".to_owned(),
            Err(again) => format!("; the previous version is back, but reloading it failed too: {again}"),
        }
    }
}

#[async_trait]
impl Deployer for Local {
    fn provider(&self) -> ProviderName {
        LOCAL
    }

    fn capabilities(&self) -> DeployCapabilities {
        let http = self.0.plan.web_root.is_some().then_some(ChallengeKind::Http);
        DeployCapabilities {
            install: true,
            challenges: BTreeSet::from_iter(http),
            volatile: false,
            keys: KeyAlgorithm::ALL.iter().copied().collect(),
        }
    }

    async fn probe(&self) -> Result<AccountSummary> {
        self.on_files(Operation::Probe, |plan| {
            place::probe(plan)?;
            if let Some(root) = &plan.web_root {
                web::probe(root)?;
            }
            for command in [&plan.check, &plan.reload].into_iter().flatten() {
                command.find()?;
            }
            Ok(AccountSummary {
                identity: Some(plan.directory.display().to_string().into()),
                details: BTreeMap::new(),
                warnings: Vec::new(),
            })
        })
        .await
    }

    async fn make_key(&self, wanted: &KeyRequest) -> Result<Csr> {
        let operation = Operation::MakeKey;
        if !self.capabilities().keys.contains(&wanted.algorithm) {
            let what = format!("making {} keys on the target", wanted.algorithm);
            return Err(Error::new(LOCAL, operation, ErrorKind::Unsupported(what.into())));
        }
        let lock = self.lock(operation).await?;
        let wanted = wanted.clone();
        self.on_locked_files(operation, &lock, move |plan| keys::make(plan, &wanted)).await
    }

    async fn install(&self, bundle: &Bundle) -> Result<Receipt> {
        let operation = Operation::Install;
        let plan = &self.0.plan;
        let lock = self.lock(operation).await?;
        let copy = bundle.clone();
        let prepared =
            self.on_locked_files(operation, &lock, move |plan| place::prepare(plan, &copy)).await?;
        let receipt = Receipt {
            certificate: bundle.certificate.clone(),
            version: bundle.version,
            replaced: prepared.replaced,
            vendor: Value::Null,
        };
        let failed = |kind| Error::new(LOCAL, operation, kind);
        let path = Place::path_of(plan, &bundle.certificate, &prepared.dir);
        self.run(plan.check.as_ref(), &path, &receipt).await.map_err(failed)?;

        let (certificate, dir) = (bundle.certificate.clone(), prepared.dir.clone());
        self.on_locked_files(operation, &lock, move |plan| {
            place::existing(plan, &certificate)?.switch(Some(&dir))
        })
        .await?;
        if let Err(kind) = self.run(plan.reload.as_ref(), &path, &receipt).await {
            let ErrorKind::CommandFailed(words) = kind else { return Err(failed(kind)) };
            let outcome = self.undo(&lock, &prepared, &receipt).await;
            return Err(failed(ErrorKind::CommandFailed(format!("{words}{outcome}").into())));
        }
        let (certificate, dir) = (bundle.certificate.clone(), prepared.dir);
        self.on_locked_files(operation, &lock, move |plan| {
            place::existing(plan, &certificate)?.complete(&dir)
        })
        .await?;
        Ok(receipt)
    }

    async fn installed(&self, certificate: &CertificateId) -> Result<Option<Installed>> {
        let certificate = certificate.clone();
        self.on_files(Operation::Inspect, move |plan| {
            Place::open(plan, &certificate)?.map_or(Ok(None), |place| place.installed())
        })
        .await
    }

    async fn rollback(&self, receipt: &Receipt) -> Result<()> {
        let operation = Operation::RollBack;
        let lock = self.lock(operation).await?;
        let copy = receipt.clone();
        let back = self.on_locked_files(operation, &lock, move |plan| place::roll_back(plan, &copy)).await?;
        let Some(back) = back else { return Ok(()) };
        let path = Place::path_of(&self.0.plan, &receipt.certificate, &back);
        let reloaded = self.run(self.0.plan.reload.as_ref(), &path, receipt).await;
        reloaded.map_err(|kind| Error::new(LOCAL, operation, kind))
    }

    async fn uninstall(&self, certificate: &CertificateId) -> Result<()> {
        let operation = Operation::Uninstall;
        let lock = self.lock(operation).await?;
        let certificate = certificate.clone();
        self.on_locked_files(operation, &lock, move |plan| {
            Place::open(plan, &certificate)?.map_or(Ok(()), |place| place.remove())
        })
        .await
    }

    async fn put_challenge(&self, response: &TargetResponse) -> Result<ChallengeHandle> {
        let operation = Operation::PutChallenge;
        let file = match response {
            TargetResponse::Http(file) if self.0.plan.web_root.is_some() => file.clone(),
            other => {
                let what = format!("answering {} challenges", other.kind());
                return Err(Error::new(LOCAL, operation, ErrorKind::Unsupported(what.into())));
            }
        };
        let turn = Arc::clone(&self.0.web_turn);
        self.on_files(operation, move |plan| {
            let _turn = turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            plan.web_root.as_deref().map_or(Ok(()), |root| web::put(root, &file))
        })
        .await?;
        Ok(ChallengeHandle::unknown(response.clone()))
    }

    async fn remove_challenge(&self, handle: &ChallengeHandle) -> Result<()> {
        // What cannot be placed is not there.
        let TargetResponse::Http(file) = handle.response.clone() else { return Ok(()) };
        let turn = Arc::clone(&self.0.web_turn);
        self.on_files(Operation::RemoveChallenge, move |plan| {
            let _turn = turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            plan.web_root.as_deref().map_or(Ok(()), |root| web::remove(root, &file))
        })
        .await
    }
}

/// Says what could not be done with which path.
fn io_failed(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> ErrorKind {
    move |cause| ErrorKind::Io(format!("cannot {doing} {}: {cause}", path.display()).into())
}

/// Says that something stands at `path` that is not ours.
fn in_the_way(path: &Path, what: &str) -> ErrorKind {
    ErrorKind::Conflict(format!("{} {what}", path.display()).into())
}
