mod central;
mod challenges;
mod console;
mod contract;
mod crashes;
mod installing;
mod machine;
mod options;
mod play;
mod play_switch;
mod play_web;
mod scripts;
mod sshd;
mod superseding;
mod ways;

use std::sync::Arc;

use certlife_core::{
    CertificateId, Deployer, Identifier, Secret,
    challenge::HttpPath,
    deploy::Bundle,
    keystore::{Form, Keystore, Protection},
};
use certlife_testkit::{
    crash::CrashPlan,
    deploy::{DeployFixture, Issuer, Seen},
    dns::Cannot,
};
use rustls_pki_types::CertificateDer;

use super::{Binding, CentralStore, Connection, Pfx, Server, Settings, Windows, WindowsBuilder, names};

use self::{
    console::Console,
    machine::{CENTRAL_PASSWORD, CENTRAL_PATH, Entry, Machine},
    sshd::{SSH_PASSWORD, nobody, sshd},
};

const SITE: &str = "Default Web Site";
const SQL: &str = r"NT SERVICE\MSSQLSERVER";

/// Where certificates go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Store,
    Bindings,
    Central,
}

/// How PowerShell is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By the deployer's trait for it, without a connection.
    Directly,
    /// Over an SSH connection.
    Ssh,
}

/// A machine, and how it is used.
struct Fixture {
    machine: Machine,
    kind: Kind,
    way: Way,
}

fn builder() -> WindowsBuilder {
    Windows::builder(Connection::Local { program: "/nowhere/powershell.exe".into() })
}

/// The deployer that a description would build, with `machine` in place of the connection.
fn deployer(builder: WindowsBuilder, machine: &Machine) -> Windows {
    by(builder, Console::new(machine))
}

fn by(builder: WindowsBuilder, console: Console) -> Windows {
    Windows::new(Settings::from(builder).plan().unwrap(), Arc::new(console))
}

impl Fixture {
    fn new(kind: Kind, way: Way) -> Self {
        Self { machine: Machine::new(), kind, way }
    }

    fn windows(&self) -> Windows {
        self.windows_by(Console::new(&self.machine))
    }

    /// A deployer that dies where the plan says.
    fn mortal(&self, plan: &Arc<CrashPlan>) -> Windows {
        self.windows_by(Console::dying(&self.machine, plan))
    }

    fn windows_by(&self, console: Console) -> Windows {
        match self.way {
            Way::Directly => by(self.describe(builder()), console),
            // A server of its own each time, since who comes by it dies where the console says.
            Way::Ssh => self.over_ssh(sshd(console)),
        }
    }

    fn over_ssh(&self, server: Server) -> Windows {
        self.describe(Windows::builder(Connection::ssh(server))).build().unwrap()
    }

    fn describe(&self, builder: WindowsBuilder) -> WindowsBuilder {
        // The old form is opened four times as fast.
        let builder = builder.pfx(Pfx::Legacy);
        match self.kind {
            Kind::Store => builder.account(SQL).friendly_name("Web"),
            Kind::Bindings => builder.binding(Binding::new(SITE).each_name(true)).challenge_site(SITE),
            Kind::Central => builder
                .binding(Binding::new(SITE).each_name(true).central(true))
                .central_store(CentralStore::new(CENTRAL_PATH, CENTRAL_PASSWORD)),
        }
    }
}

impl DeployFixture for Fixture {
    fn deployer(&self) -> Arc<dyn Deployer> {
        Arc::new(self.windows())
    }

    async fn seen(&self, certificate: &CertificateId, host: &Identifier) -> Option<Seen> {
        let mut world = self.machine.world();
        if self.kind != Kind::Store {
            return world.handshake(host);
        }
        // A program that looks for the name, and takes the latest of what it finds.
        let marker = names::marker(certificate);
        let visible = world.my().iter().filter(|entry| !entry.archived && entry.name.contains(&marker));
        let entry = visible.max_by_key(|entry| entry.name.clone())?.clone();
        Some(world.sight(&entry))
    }

    async fn tamper(&self, bundle: &Bundle) {
        let foreign = pfx(bundle, "x");
        let mut world = self.machine.world();
        let opened = world.open(&foreign, "x").unwrap();
        let marker = names::marker(&bundle.certificate);
        let ours = |entry: &Entry| entry.name.contains(&marker);
        let mut entry = Entry::with_key(&opened, "theirs");
        match self.kind {
            Kind::Store => {
                let there = world.my().iter_mut().find(|entry| ours(entry) && !entry.archived).unwrap();
                entry.name.clone_from(&there.name);
                *there = entry;
            }
            Kind::Bindings => {
                let old: Vec<_> = world.my().iter().filter(|it| ours(it)).map(Entry::thumbprint).collect();
                let thumbprint = entry.thumbprint();
                world.my().push(entry);
                for binding in &mut world.site(SITE).unwrap().bindings {
                    if binding.thumbprint.as_ref().is_some_and(|it| old.contains(it)) {
                        binding.thumbprint = Some(thumbprint.clone());
                    }
                }
            }
            Kind::Central => {
                for identifier in &bundle.identifiers {
                    world.central.insert(names::central_file(identifier), pfx(bundle, CENTRAL_PASSWORD));
                }
            }
        }
    }

    async fn http(&self, _: &Identifier, path: &HttpPath) -> Option<String> {
        self.machine.world().site(SITE).unwrap().get(path.as_str())
    }

    async fn tls_alpn(&self, _: &Identifier) -> Option<CertificateDer<'static>> {
        None
    }

    async fn exposed_keys(&self) -> Result<Vec<String>, Cannot> {
        let world = self.machine.world();
        let entries = world.stores.values().flatten();
        let open = |entry: &&Entry| entry.exportable || entry.readers.iter().any(|reader| reader != SQL);
        Ok(entries.filter(open).map(|entry| entry.name.clone()).collect())
    }

    fn with_broken_target(&self) -> Result<Arc<dyn Deployer>, Cannot> {
        Ok(Arc::new(self.over_ssh(nobody())))
    }

    fn crashing(&self, plan: &Arc<CrashPlan>) -> Result<Arc<dyn Deployer>, Cannot> {
        Ok(Arc::new(self.mortal(plan)))
    }

    async fn remains(&self) -> Result<Vec<String>, Cannot> {
        Ok(self.machine.world().remains())
    }

    fn secrets(&self) -> Result<Vec<String>, Cannot> {
        Ok(vec![CENTRAL_PASSWORD.to_owned(), SSH_PASSWORD.to_owned()])
    }

    fn debug_of_builder(&self) -> String {
        format!("{:?}", self.describe(Windows::builder(Connection::ssh(nobody()))))
    }
}

/// A PFX of somebody else.
fn pfx(bundle: &Bundle, password: &str) -> Vec<u8> {
    let form =
        Form::Pkcs12 { password: Secret::new(password), protection: Protection::Legacy, friendly_name: None };
    let keystore = Keystore::new(bundle.chain.clone(), bundle.key.clone()).unwrap();
    keystore.encode(&form).unwrap().expose().to_vec()
}

mod promises_of_the_store {
    certlife_testkit::deployer_conformance!(super::Fixture::new(super::Kind::Store, super::Way::Ssh));
}

mod promises_of_bindings {
    certlife_testkit::deployer_conformance!(super::Fixture::new(super::Kind::Bindings, super::Way::Ssh));
}

mod promises_of_the_central_store {
    certlife_testkit::deployer_conformance!(super::Fixture::new(super::Kind::Central, super::Way::Ssh));
}

/// A certificate, and the means to issue versions of it.
struct Case {
    machine: Machine,
    issuer: Issuer,
    www: CertificateId,
}

impl Case {
    fn new() -> Self {
        Self { machine: Machine::new(), issuer: Issuer::new(), www: CertificateId::new("www").unwrap() }
    }

    fn bundle(&self) -> Bundle {
        self.bundle_for(&["www.example.org"])
    }

    fn bundle_for(&self, hosts: &[&str]) -> Bundle {
        let hosts: Vec<Identifier> = hosts.iter().map(|host| host.parse().unwrap()).collect();
        self.issuer.bundle(&self.www, &hosts)
    }

    fn entry(&self, bundle: &Bundle) -> Option<Entry> {
        let fingerprint = bundle.chain.fingerprint().to_string();
        self.machine.world().my().iter().find(|entry| entry.fingerprint() == fingerprint).cloned()
    }

    /// What a client sees at the first name of a bundle, as the fingerprint of the leaf.
    fn served(&self, host: &str) -> Option<certlife_core::Fingerprint> {
        let seen = self.machine.world().handshake(&host.parse().unwrap())?;
        assert_eq!(seen.key_fits, Some(true));
        Some(
            certlife_core::Chain::from_ders(seen.chain.iter().map(|der| der.to_vec())).unwrap().fingerprint(),
        )
    }

    fn windows(&self, describe: impl FnOnce(WindowsBuilder) -> WindowsBuilder) -> Windows {
        deployer(describe(builder().pfx(Pfx::Legacy)), &self.machine)
    }
}
