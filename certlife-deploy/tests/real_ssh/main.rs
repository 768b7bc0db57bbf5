//! The `ssh` deployer against OpenSSH: the conformance suite, logins, hosts that are not who they should be, and
//! everything that can go wrong on the way.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests to us, if not to the lint")]

mod commands;
mod cuts;
mod files;
mod logins;
mod wire;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use certlife_core::{CertificateId, Deployer, Identifier, challenge::HttpPath, deploy::Bundle};
use certlife_deploy::remote::Server;
use certlife_deploy::ssh::{HostKey, Login, Ssh, SshBuilder, Sudo};
use certlife_testkit::{
    crash::CrashPlan,
    deploy::{
        DeployFixture, Issuer, Seen,
        directories::{DirectoryFixture, DirectorySettings, Folder},
    },
    dns::Cannot,
    servers::{OpenSsh, Place, Servers},
};
use rustls_pki_types::CertificateDer;

use self::wire::{Points, Wire};

/// A place on the machine, and how it is described to the deployer.
struct Machine {
    openssh: OpenSsh,
    place: Place,
    folder: Folder,
    describe: fn(&Machine, SshBuilder) -> SshBuilder,
    /// Where the connection of a process that dies is cut: in the suite's two runs at different packets.
    points: Points,
}

impl Machine {
    fn new(describe: fn(&Machine, SshBuilder) -> SshBuilder) -> Self {
        let openssh = Servers::from_env().openssh;
        let place = openssh.place();
        fs::create_dir(place.outside().join("web")).unwrap();
        openssh.give(&place.outside().join("web"));
        let folder = Folder::new(place.outside());
        Self { openssh, place, folder, describe, points: Points { every: 4, from: 0 } }
    }

    fn plain() -> Self {
        Self::new(|_, ssh| ssh)
    }

    /// Everything that can be set, and the way over a jump host.
    fn with_everything() -> Self {
        let machine = Self::new(|machine, ssh| {
            ssh.web_root(machine.inside("web"))
                .jump(machine.server())
                .sudo(Sudo::Everything)
                .owner("deploy")
                .group("deploy")
                .combined(true)
                .directory_mode(0o755)
                .check(["/bin/sh", "-c", "test -s \"$1/fullchain.pem\"", "check", "{directory}"])
                .reload(["true"])
        });
        Self { points: Points { every: 8, from: 2 }, ..machine }
    }

    /// The server with the plainest of logins.
    fn server(&self) -> Server {
        self.server_as(Login::key(self.openssh.keys.plain.as_str()))
    }

    fn server_as(&self, login: Login) -> Server {
        let (host, port) = (self.openssh.address.ip().to_string(), self.openssh.address.port());
        Server::new(host, &self.openssh.user, login, HostKey::pinned([&self.openssh.host_keys.ed25519]))
            .port(port)
    }

    fn builder(&self) -> SshBuilder {
        (self.describe)(self, Ssh::builder(self.server(), self.inside("certificates")))
    }

    fn ssh(&self) -> Ssh {
        self.builder().build().unwrap()
    }

    /// A path for those who log in.
    fn inside(&self, rest: &str) -> String {
        format!("{}/{rest}", self.place.inside())
    }

    /// The same path for tests.
    fn path(&self, rest: &str) -> PathBuf {
        self.folder.path(rest)
    }
}

impl DeployFixture for Machine {
    fn deployer(&self) -> Arc<dyn Deployer> {
        Arc::new(self.ssh())
    }

    async fn seen(&self, certificate: &CertificateId, _: &Identifier) -> Option<Seen> {
        // A reader that never pauses would leave no time to the thread that speaks SSH.
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.folder.seen(certificate)
    }

    async fn tamper(&self, bundle: &Bundle) {
        self.folder.tamper(bundle, &[]);
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
        // Nobody listens at the address of a listener that was closed.
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let broken = Ssh::builder(self.server().port(closed.port()), self.inside("certificates"));
        Ok(Arc::new(broken.web_root(self.inside("web")).build().unwrap()))
    }

    fn crashing(&self, plan: &Arc<CrashPlan>) -> Result<Arc<dyn Deployer>, Cannot> {
        let wire = Wire::dying(self.openssh.address, self.points, Arc::clone(plan));
        let builder = Ssh::builder(self.server().port(wire.address.port()), self.inside("certificates"));
        Ok(Arc::new((self.describe)(self, builder).build().unwrap()))
    }

    async fn remains(&self) -> Result<Vec<String>, Cannot> {
        Ok(self.folder.remains())
    }

    fn secrets(&self) -> Result<Vec<String>, Cannot> {
        Ok(self
            .openssh
            .keys
            .plain
            .lines()
            .filter(|line| !line.starts_with("---"))
            .map(str::to_owned)
            .collect())
    }

    fn debug_of_builder(&self) -> String {
        format!("{:?}", self.builder())
    }
}

impl DirectoryFixture for Machine {
    fn folder(&self) -> &Folder {
        &self.folder
    }

    fn inside(&self) -> String {
        self.place.inside().to_owned()
    }

    fn configured(&self, settings: DirectorySettings) -> Arc<dyn Deployer> {
        let DirectorySettings { check, reload, command_timeout, keep } = settings;
        let ssh = Ssh::builder(self.server(), self.inside("certificates")).web_root(self.inside("web"));
        let ssh = ssh.check(check).reload(reload).command_timeout(command_timeout).keep(keep);
        Arc::new(ssh.build().unwrap())
    }

    fn give(&self, path: &Path) {
        self.openssh.give(path);
    }
}

mod promises {
    certlife_testkit::deployer_conformance!(super::Machine::plain());
}

mod promises_with_every_setting {
    certlife_testkit::deployer_conformance!(super::Machine::with_everything());
}

mod promises_of_directories {
    certlife_testkit::directory_conformance!(super::Machine::plain());
}

/// A machine, a certificate, and the means to issue versions of it.
struct Case {
    machine: Machine,
    ssh: Ssh,
    issuer: Issuer,
    www: CertificateId,
}

impl Case {
    fn new(describe: fn(&Machine, SshBuilder) -> SshBuilder) -> Self {
        let machine = Machine::new(describe);
        let ssh = machine.ssh();
        Self { machine, ssh, issuer: Issuer::new(), www: CertificateId::new("www").unwrap() }
    }

    fn plain() -> Self {
        Self::new(|_, ssh| ssh)
    }

    fn bundle(&self) -> Bundle {
        self.issuer.bundle(&self.www, &["www.example.org".parse().unwrap()])
    }

    /// A path below the certificate's directory.
    fn path(&self, rest: &str) -> PathBuf {
        self.machine.folder.of(&self.www, rest)
    }

    fn write(&self, rest: &str, text: &str) {
        let path = self.machine.path(rest);
        fs::write(&path, text).unwrap();
        self.machine.openssh.give(&path);
    }

    fn read(&self, rest: &str) -> String {
        fs::read_to_string(self.machine.path(rest)).unwrap_or_default()
    }

    fn live(&self) -> Option<String> {
        self.machine.folder.live(&self.www)
    }
}
