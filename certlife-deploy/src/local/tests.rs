#![cfg(unix)]

mod challenges;
mod commands;
mod crashes;
mod files;
mod forms;
mod keys;

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use certlife_core::{
    CertificateId, Chain, Deployer, Identifier, Keystore, PrivateKey, Secret, challenge::HttpPath,
    deploy::Bundle,
};
use certlife_testkit::{
    crash::CrashPlan,
    deploy::{DeployFixture, Issuer, Seen},
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
    describe: fn(&Path) -> LocalBuilder,
}

impl Machine {
    fn new(describe: fn(&Path) -> LocalBuilder) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("web")).unwrap();
        Self { root, describe }
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
        self.root.path().join(rest)
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
        let place = self.certificates().join(certificate.as_str());
        let live = place.join(fs::read_link(place.join("live")).ok()?);
        // A server that runs as somebody else gets there.
        for directory in [&place, &place.join("versions"), &live] {
            let mode = fs::metadata(directory).unwrap().mode();
            assert_eq!(mode & 0o050, 0o050, "{} has {mode:o}", directory.display());
        }
        let chain = Chain::from_pem(&fs::read_to_string(live.join("fullchain.pem")).unwrap()).unwrap();
        let key_hash = chain.info().unwrap().key_hash;
        let key_in = |name: &str| {
            let text = fs::read_to_string(live.join(name)).ok()?;
            Some(PrivateKey::from_pem(&Secret::new(text)).unwrap().public_key_hash() == key_hash)
        };
        let combined = key_in("combined.pem");
        let key_fits = key_in("privkey.pem").map(|fits| fits && combined.unwrap_or(true));
        Some(Seen { chain: chain.certificates().cloned().collect(), key_fits })
    }

    async fn tamper(&self, bundle: &Bundle) {
        let live = self.certificates().join(bundle.certificate.as_str()).join("live");
        let key = bundle.key.as_ref().unwrap().to_pkcs8_pem().unwrap();
        fs::write(live.join("fullchain.pem"), bundle.chain.pem()).unwrap();
        fs::write(live.join("cert.pem"), bundle.chain.leaf_pem()).unwrap();
        fs::write(live.join("chain.pem"), bundle.chain.intermediates_pem()).unwrap();
        fs::write(live.join("privkey.pem"), key.expose()).unwrap();
        if live.join("combined.pem").exists() {
            fs::write(live.join("combined.pem"), format!("{}{}", key.expose(), bundle.chain.pem())).unwrap();
        }
        let keystore = Keystore::new(bundle.chain.clone(), bundle.key.clone()).unwrap();
        for store in stores().iter().filter(|store| live.join(&store.name).exists()) {
            fs::write(live.join(&store.name), keystore.encode(&store.form).unwrap().expose()).unwrap();
        }
    }

    async fn http(&self, _: &Identifier, path: &HttpPath) -> Option<String> {
        fs::read_to_string(self.path("web").join(&path.as_str()[1..])).ok()
    }

    async fn tls_alpn(&self, _: &Identifier) -> Option<CertificateDer<'static>> {
        None
    }

    async fn exposed_keys(&self) -> Result<Vec<String>, Cannot> {
        let open = |path: &PathBuf| {
            let others = fs::metadata(path).is_ok_and(|found| found.mode() & 0o077 != 0);
            let store = path.extension().is_some_and(|kind| kind == "pfx" || kind == "jks");
            others && (store || fs::read_to_string(path).is_ok_and(|text| text.contains("PRIVATE KEY")))
        };
        Ok(files_below(self.root.path())
            .iter()
            .filter(|path| open(path))
            .map(|path| format!("{path:?}"))
            .collect())
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
        let mut found = entries_below(&self.certificates());
        found.retain(|path| !path.ends_with(".lock"));
        found.extend(entries_below(&self.path("web")));
        Ok(found.iter().map(|path| path.display().to_string()).collect())
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

/// Everything below a directory, links not followed. What disappears meanwhile is passed over.
fn entries_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(entries_below(&entry.path()));
        }
        found.push(entry.path());
    }
    found
}

/// Every file below a directory.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = entries_below(directory);
    files.retain(|path| fs::symlink_metadata(path).is_ok_and(|found| found.is_file()));
    files
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
        self.machine.certificates().join("www").join(rest)
    }

    fn write(&self, rest: &str, text: &str) {
        fs::write(self.machine.path(rest), text).unwrap();
    }

    fn read(&self, rest: &str) -> String {
        fs::read_to_string(self.machine.path(rest)).unwrap_or_default()
    }

    fn live(&self) -> Option<String> {
        let target = fs::read_link(self.path("live")).ok()?;
        Some(target.to_str().unwrap().strip_prefix("versions/").unwrap().to_owned())
    }

    fn versions(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.path("versions"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}
