//! Certificates in files of this machine, for web servers and whatever else reads PEM, PKCS#12 or JKS.
//!
//! Each version is a directory that never changes, and one rename makes it the live one, so that a crash at
//! any instruction leaves the old version or the new. All work on files runs on blocking threads, which go on
//! when a call is dropped; a file lock keeps others out until they are done.

mod command;
mod disk;
mod lock;
mod os;
mod settings;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, Read as _},
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

use self::{disk::Disk, settings::Plan};
use crate::versions::{self, AllRights, Layout, Machine, Slots, Step, io_failed};

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
/// switched; if reloading fails, the version before is switched back and reloaded. The very first version is
/// switched to before it is checked, and taken away again if it fails: a server whose configuration names files
/// that are not there would not pass. The reload command runs again when the same version is installed again, since a
/// crash may have come between. Taking the last version away runs no command: a server that is still told to
/// read it would not start.
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
    /// One at a time in the web root, so that few directories disappear from under each other.
    web_turn: tokio::sync::Mutex<()>,
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
            web_turn: tokio::sync::Mutex::default(),
        })))
    }

    async fn lock(&self) -> Result<Locked, ErrorKind> {
        let turn = Arc::clone(&self.0.turn).lock_owned().await;
        let plan = Arc::clone(&self.0.plan);
        let opened = blocking(move || lock::open(&plan));
        let lock = lock::acquire(opened.await?, turn).await?;
        let disk = Disk::new(&self.0.plan.directory, Some(lock));
        Ok(Locked { plan: Arc::clone(&self.0.plan), disk })
    }

    /// The files without the lock, for looking.
    fn disk(&self) -> Disk {
        Disk::new(&self.0.plan.directory, None)
    }

    fn web(&self) -> Option<Disk> {
        self.0.plan.web_root.as_deref().map(|root| Disk::new(root, None))
    }
}

/// The machine while nobody else changes its certificates.
struct Locked {
    plan: Arc<Plan>,
    disk: Disk,
}

impl Machine for Locked {
    type Tree = Disk;

    fn tree(&self) -> &Disk {
        &self.disk
    }

    fn layout(&self) -> &Layout {
        &self.plan.layout
    }

    async fn rights(&self) -> Result<AllRights, ErrorKind> {
        rights(Arc::clone(&self.plan)).await
    }

    async fn run(&self, step: Step, directory: &str, certificate: &CertificateId) -> Result<(), ErrorKind> {
        let command = match step {
            Step::Check => &self.plan.check,
            Step::Reload => &self.plan.reload,
        };
        match command {
            Some(command) => {
                command::run(command, Slots { directory, certificate }, self.plan.command_timeout).await
            }
            None => Ok(()),
        }
    }
}

/// The most of a list of users or groups that is read.
const MAX_LIST: u64 = 4 * 1_024 * 1_024;

async fn rights(plan: Arc<Plan>) -> Result<AllRights, ErrorKind> {
    blocking(move || {
        let (users, groups) = plan.layout.lists();
        let read = |wanted: bool, list: &str| {
            if wanted { read_list(Path::new(list)) } else { Ok(String::new()) }
        };
        plan.layout.rights(&read(users, "/etc/passwd")?, &read(groups, "/etc/group")?)
    })
    .await
}

fn read_list(list: &Path) -> Result<String, ErrorKind> {
    let mut text = Vec::new();
    File::open(list).and_then(|file| file.take(MAX_LIST).read_to_end(&mut text)).map_err(io_failed::<
        io::Error,
    >(
        "read",
        list.display(),
    ))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ErrorKind> + Send + 'static,
) -> Result<T, ErrorKind> {
    let working = tokio::task::spawn_blocking(work).await;
    working.unwrap_or_else(|_| Err(ErrorKind::Io("the work on files was interrupted".into())))
}

/// The error of this target at an operation.
fn failed(operation: Operation) -> impl FnOnce(ErrorKind) -> Error {
    move |kind| Error::new(LOCAL, operation, kind)
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
        let probing = async {
            let locked = self.lock().await?;
            versions::probe(&locked.disk, &locked.rights().await?).await?;
            if let Some(root) = self.web() {
                versions::probe_web(&root).await?;
            }
            let plan = Arc::clone(&self.0.plan);
            blocking(move || {
                let mut commands = [&plan.check, &plan.reload].into_iter().flatten();
                commands.try_for_each(|command| command::find(command).map(drop))
            })
            .await
        };
        probing.await.map_err(failed(Operation::Probe))?;
        Ok(AccountSummary {
            identity: Some(self.0.plan.directory.display().to_string().into()),
            details: BTreeMap::new(),
            warnings: Vec::new(),
        })
    }

    async fn make_key(&self, wanted: &KeyRequest) -> Result<Csr> {
        let operation = Operation::MakeKey;
        if !self.capabilities().keys.contains(&wanted.algorithm) {
            let what = format!("making {} keys on the target", wanted.algorithm);
            return Err(Error::new(LOCAL, operation, ErrorKind::Unsupported(what.into())));
        }
        let making = async { versions::make_key(&self.lock().await?, wanted).await };
        making.await.map_err(failed(operation))
    }

    async fn install(&self, bundle: &Bundle) -> Result<Receipt> {
        let installing = async { versions::install(&self.lock().await?, bundle).await };
        installing.await.map_err(failed(Operation::Install))
    }

    async fn installed(&self, certificate: &CertificateId) -> Result<Option<Installed>> {
        let installed = versions::installed(&self.disk(), &self.0.plan.layout, certificate).await;
        installed.map_err(failed(Operation::Inspect))
    }

    async fn rollback(&self, receipt: &Receipt) -> Result<()> {
        let going_back = async { versions::roll_back(&self.lock().await?, receipt).await };
        going_back.await.map_err(failed(Operation::RollBack))
    }

    async fn uninstall(&self, certificate: &CertificateId) -> Result<()> {
        let removing = async {
            let locked = self.lock().await?;
            versions::uninstall(&locked.disk, &locked.plan.layout, certificate).await
        };
        removing.await.map_err(failed(Operation::Uninstall))
    }

    async fn put_challenge(&self, response: &TargetResponse) -> Result<ChallengeHandle> {
        let operation = Operation::PutChallenge;
        let (TargetResponse::Http(file), Some(root)) = (response, self.web()) else {
            let what = format!("answering {} challenges", response.kind());
            return Err(Error::new(LOCAL, operation, ErrorKind::Unsupported(what.into())));
        };
        let _turn = self.0.web_turn.lock().await;
        versions::put_challenge(&root, file).await.map_err(failed(operation))?;
        Ok(ChallengeHandle::unknown(response.clone()))
    }

    async fn remove_challenge(&self, handle: &ChallengeHandle) -> Result<()> {
        // What cannot be placed is not there.
        let (TargetResponse::Http(file), Some(root)) = (&handle.response, self.web()) else { return Ok(()) };
        let _turn = self.0.web_turn.lock().await;
        versions::remove_challenge(&root, file).await.map_err(failed(Operation::RemoveChallenge))
    }
}
