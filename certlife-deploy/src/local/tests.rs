#![cfg(unix)]

mod crashes;
mod files;
mod forms;
mod keys;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use certlife_core::{CertificateId, Deployer, Identifier, challenge::HttpPath, deploy::Bundle};
use certlife_testkit::{
    crash::CrashPlan,
    deploy::{
        DeployFixture, Issuer, Seen,
        directories::{DirectoryFixture, DirectorySettings, Folder},
    },
    dns::Cannot,
};
use rustls_pki_types::CertificateDer;
use serde_json::json;
use tempfile::TempDir;

use super::{Local, LocalBuilder};
use crate::files::NamedForm;

/// A directory of certificates and a web root.
struct Machine {
    root: TempDir,
    folder: Folder,
    describe: fn(&Path) -> LocalBuilder,
}

impl Machine {
    fn new(describe: fn(&Path) -> LocalBuilder) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("web")).unwrap();
        let folder = Folder::new(root.path());
        Self { root, folder, describe }
    }

    fn plain() -> Self {
        Self::new(|root| Local::builder(root.join("certificates")))
    }

    fn with_everything() -> Self {
        Self::new(|root| {
            Local::builder(root.join("certificates"))
                .web_root(root.join("web"))
                .combined(true)
                .key_mode(0o600)
                .directory_mode(0o750)
                .check(["/bin/sh", "-c", "test -s \"$1/fullchain.pem\"", "check", "{directory}"])
                .reload(["true"])
        })
    }

    fn with_stores() -> Self {
        Self::new(|root| {
            let mut builder = Local::builder(root.join("certificates"));
            for NamedForm { name, form } in stores() {
                builder = builder.file(name, form);
            }
            builder
        })
    }

    fn local(&self) -> Local {
        (self.describe)(self.root.path()).build().unwrap()
    }

    fn path(&self, rest: &str) -> PathBuf {
        self.folder.path(rest)
    }

    fn certificates(&self) -> PathBuf {
        self.path("certificates")
    }
}

impl DeployFixture for Machine {
    fn deployer(&self) -> Arc<dyn Deployer> {
        Arc::new(self.local())
    }

    async fn seen(&self, certificate: &CertificateId, _: &Identifier) -> Option<Seen> {
        self.folder.seen(certificate)
    }

    async fn tamper(&self, bundle: &Bundle) {
        let stores: Vec<_> = stores().into_iter().map(|it| (it.name.to_string(), it.form)).collect();
        self.folder.tamper(bundle, &stores);
    }

    async fn http(&self, _: &Identifier, path: &HttpPath) -> Option<String> {
        self.folder.http(path)
    }

    async fn tls_alpn(&self, _: &Identifier) -> Option<CertificateDer<'static>> {
        None
    }

    async fn exposed_keys(&self) -> Result<Vec<String>, Cannot> {
        Ok(self.folder.exposed_keys())
    }

    fn with_broken_target(&self) -> Result<Arc<dyn Deployer>, Cannot> {
        let file = self.path("file");
        fs::write(&file, "").unwrap();
        let broken = Local::builder(file.join("certificates")).web_root(file.join("web"));
        Ok(Arc::new(broken.build().unwrap()))
    }

    fn crashing(&self, plan: &Arc<CrashPlan>) -> Result<Arc<dyn Deployer>, Cannot> {
        Ok(Arc::new(crashes::Mortal { local: self.local(), plan: Arc::clone(plan) }))
    }

    async fn remains(&self) -> Result<Vec<String>, Cannot> {
        Ok(self.folder.remains())
    }

    fn secrets(&self) -> Result<Vec<String>, Cannot> {
        Err(Cannot("local files take no credentials"))
    }

    fn debug_of_builder(&self) -> String {
        format!("{:?}", (self.describe)(self.root.path()))
    }
}

/// One file with the key in each form that is salted and cheap, and one without the key.
fn stores() -> Vec<NamedForm> {
    let password = "correct horse";
    [
        ("site.pfx", json!({ "format": "pkcs12", "password": password, "protection": "legacy" })),
        ("keystore.jks", json!({ "format": "jks", "password": password, "alias": "site" })),
        ("chain.p7b", json!({ "format": "pkcs7" })),
    ]
    .into_iter()
    .map(|(name, form)| serde_json::from_value(json!({ "name": name, "form": form })).unwrap())
    .collect()
}

impl DirectoryFixture for Machine {
    fn folder(&self) -> &Folder {
        &self.folder
    }

    fn inside(&self) -> String {
        self.root.path().display().to_string()
    }

    fn configured(&self, settings: DirectorySettings) -> Arc<dyn Deployer> {
        let DirectorySettings { check, reload, command_timeout, keep } = settings;
        let local = Local::builder(self.certificates()).web_root(self.path("web"));
        let local = local.check(check).reload(reload).command_timeout(command_timeout).keep(keep);
        Arc::new(local.build().unwrap())
    }

    fn give(&self, _: &Path) {}
}

mod promises {
    certlife_testkit::deployer_conformance!(super::Machine::plain());
}

mod promises_with_every_setting {
    certlife_testkit::deployer_conformance!(super::Machine::with_everything());
}

mod promises_with_key_stores {
    certlife_testkit::deployer_conformance!(super::Machine::with_stores());
}

mod promises_of_directories {
    certlife_testkit::directory_conformance!(super::Machine::plain());
}

/// A machine, a certificate, and the means to issue versions of it.
struct Case {
    machine: Machine,
    local: Local,
    issuer: Issuer,
    www: CertificateId,
}

impl Case {
    fn new(describe: fn(&Path) -> LocalBuilder) -> Self {
        let machine = Machine::new(describe);
        let local = machine.local();
        Self { machine, local, issuer: Issuer::new(), www: CertificateId::new("www").unwrap() }
    }

    fn plain() -> Self {
        Self::new(|root| Local::builder(root.join("certificates")))
    }

    fn bundle(&self) -> Bundle {
        self.issuer.bundle(&self.www, &["www.example.org".parse().unwrap()])
    }

    /// A path below the certificate's directory.
    fn path(&self, rest: &str) -> PathBuf {
        self.machine.folder.of(&self.www, rest)
    }

    fn live(&self) -> Option<String> {
        self.machine.folder.live(&self.www)
    }

    fn versions(&self) -> Vec<String> {
        self.machine.folder.versions(&self.www)
    }
}
