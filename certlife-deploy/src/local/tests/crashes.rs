//! A process that dies before any of its steps on this machine's files and commands.

use std::sync::Arc;

use certlife_core::{
    AccountSummary, CertificateId, Csr, Deployer, ErrorKind, Operation, ProviderName, Result, SecretBytes,
    async_trait,
    deploy::{Bundle, ChallengeHandle, DeployCapabilities, Installed, KeyRequest, Receipt, TargetResponse},
};
use certlife_testkit::crash::CrashPlan;

use super::super::{Disk, Local, Locked, failed};
use crate::versions::{self, AllRights, Found, Layout, Machine, Made, Rights, Step, Tree};

/// A deployer that dies where its plan says.
#[derive(Debug)]
pub(super) struct Mortal {
    pub(super) local: Local,
    pub(super) plan: Arc<CrashPlan>,
}

impl Mortal {
    async fn machine(&self) -> Result<MortalMachine, ErrorKind> {
        let locked = self.local.lock().await?;
        let files = self.files(locked.disk.clone());
        Ok(MortalMachine { locked, files })
    }

    fn files(&self, disk: Disk) -> MortalFiles {
        MortalFiles { disk, plan: Arc::clone(&self.plan) }
    }

    fn web(&self) -> Option<MortalFiles> {
        self.local.web().map(|disk| self.files(disk))
    }
}

#[async_trait]
impl Deployer for Mortal {
    fn provider(&self) -> ProviderName {
        self.local.provider()
    }

    fn capabilities(&self) -> DeployCapabilities {
        self.local.capabilities()
    }

    async fn probe(&self) -> Result<AccountSummary> {
        let probing = async {
            let machine = self.machine().await?;
            versions::probe(&machine.files, &machine.rights().await?).await?;
            match self.web() {
                Some(web) => versions::probe_web(&web).await,
                None => Ok(()),
            }
        };
        probing.await.map_err(failed(Operation::Probe))?;
        self.local.probe().await
    }

    async fn make_key(&self, wanted: &KeyRequest) -> Result<Csr> {
        let making = async { versions::make_key(&self.machine().await?, wanted).await };
        making.await.map_err(failed(Operation::MakeKey))
    }

    async fn install(&self, bundle: &Bundle) -> Result<Receipt> {
        let installing = async { versions::install(&self.machine().await?, bundle).await };
        installing.await.map_err(failed(Operation::Install))
    }

    async fn installed(&self, certificate: &CertificateId) -> Result<Option<Installed>> {
        self.local.installed(certificate).await
    }

    async fn rollback(&self, receipt: &Receipt) -> Result<()> {
        let going_back = async { versions::roll_back(&self.machine().await?, receipt).await };
        going_back.await.map_err(failed(Operation::RollBack))
    }

    async fn uninstall(&self, certificate: &CertificateId) -> Result<()> {
        let removing = async {
            let machine = self.machine().await?;
            versions::uninstall(&machine.files, machine.layout(), certificate).await
        };
        removing.await.map_err(failed(Operation::Uninstall))
    }

    async fn put_challenge(&self, response: &TargetResponse) -> Result<ChallengeHandle> {
        let (TargetResponse::Http(file), Some(web)) = (response, self.web()) else {
            return self.local.put_challenge(response).await;
        };
        versions::put_challenge(&web, file).await.map_err(failed(Operation::PutChallenge))?;
        Ok(ChallengeHandle::unknown(response.clone()))
    }

    async fn remove_challenge(&self, handle: &ChallengeHandle) -> Result<()> {
        let (TargetResponse::Http(file), Some(web)) = (&handle.response, self.web()) else {
            return self.local.remove_challenge(handle).await;
        };
        versions::remove_challenge(&web, file).await.map_err(failed(Operation::RemoveChallenge))
    }
}

struct MortalMachine {
    locked: Locked,
    files: MortalFiles,
}

impl Machine for MortalMachine {
    type Tree = MortalFiles;

    fn tree(&self) -> &MortalFiles {
        &self.files
    }

    fn layout(&self) -> &Layout {
        self.locked.layout()
    }

    async fn rights(&self) -> Result<AllRights, ErrorKind> {
        self.locked.rights().await
    }

    async fn run(&self, step: Step, directory: &str, certificate: &CertificateId) -> Result<(), ErrorKind> {
        self.files.plan.point().await;
        self.locked.run(step, directory, certificate).await
    }
}

struct MortalFiles {
    disk: Disk,
    plan: Arc<CrashPlan>,
}

impl Tree for MortalFiles {
    fn name(&self, path: &str) -> String {
        self.disk.name(path)
    }

    async fn look(&self, path: &str) -> Result<Option<Found>, ErrorKind> {
        self.disk.look(path).await
    }

    async fn read(&self, path: &str, length: usize) -> Result<Option<SecretBytes>, ErrorKind> {
        self.disk.read(path, length).await
    }

    async fn create(&self, path: &str, content: &[u8], rights: Rights) -> Result<Made, ErrorKind> {
        self.plan.point().await;
        self.disk.create(path, content, rights).await
    }

    async fn make_directory(&self, path: &str) -> Result<Made, ErrorKind> {
        self.plan.point().await;
        self.disk.make_directory(path).await
    }

    async fn set_directory_rights(&self, path: &str, rights: Rights) -> Result<(), ErrorKind> {
        self.plan.point().await;
        self.disk.set_directory_rights(path, rights).await
    }

    async fn list(&self, path: &str) -> Result<Option<Vec<(String, bool)>>, ErrorKind> {
        self.disk.list(path).await
    }

    async fn rename(&self, from: &str, to: &str) -> Result<Made, ErrorKind> {
        self.plan.point().await;
        self.disk.rename(from, to).await
    }

    async fn replace(&self, from: &str, to: &str) -> Result<(), ErrorKind> {
        self.plan.point().await;
        self.disk.replace(from, to).await
    }

    async fn remove_file(&self, path: &str) -> Result<(), ErrorKind> {
        self.plan.point().await;
        self.disk.remove_file(path).await
    }

    async fn remove_directory(&self, path: &str) -> Result<bool, ErrorKind> {
        self.plan.point().await;
        self.disk.remove_directory(path).await
    }

    async fn save(&self, path: &str) -> Result<(), ErrorKind> {
        self.plan.point().await;
        self.disk.save(path).await
    }

    async fn read_pointer(&self, path: &str) -> Result<Option<String>, ErrorKind> {
        self.disk.read_pointer(path).await
    }

    async fn make_pointer(&self, path: &str, target: &str) -> Result<(), ErrorKind> {
        self.plan.point().await;
        self.disk.make_pointer(path, target).await
    }

    async fn label(&self, path: &str) -> Result<(), ErrorKind> {
        self.plan.point().await;
        self.disk.label(path).await
    }
}
