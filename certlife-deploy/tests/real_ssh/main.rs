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
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use certlife_core::{
    CertificateId, Chain, Deployer, Identifier, PrivateKey, Secret, challenge::HttpPath, deploy::Bundle,
};
use certlife_deploy::remote::Server;
use certlife_deploy::ssh::{HostKey, Login, Ssh, SshBuilder, Sudo};
use certlife_testkit::{
    crash::CrashPlan,
    deploy::{DeployFixture, Issuer, Seen},
    dns::Cannot,
    servers::{OpenSsh, Place, Servers},
};
use rustls_pki_types::CertificateDer;

use self::wire::{Points, Wire};

/// A place on the machine, and how it is described to the deployer.
struct Machine {
    openssh: OpenSsh,
    place: Place,
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
        Self { openssh, place, describe, points: Points { every: 4, from: 0 } }
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
        self.place.outside().join(rest)
    }
}

impl DeployFixture for Machine {
    fn deployer(&self) -> Arc<dyn Deployer> {
        Arc::new(self.ssh())
    }

    async fn seen(&self, certificate: &CertificateId, _: &Identifier) -> Option<Seen> {
        let place = self.path("certificates").join(certificate.as_str());
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
        let live = self.path("certificates").join(bundle.certificate.as_str()).join("live");
        let key = bundle.key.as_ref().unwrap().to_pkcs8_pem().unwrap();
        fs::write(live.join("fullchain.pem"), bundle.chain.pem()).unwrap();
        fs::write(live.join("cert.pem"), bundle.chain.leaf_pem()).unwrap();
        fs::write(live.join("chain.pem"), bundle.chain.intermediates_pem()).unwrap();
        fs::write(live.join("privkey.pem"), key.expose()).unwrap();
        if live.join("combined.pem").exists() {
            fs::write(live.join("combined.pem"), format!("{}{}", key.expose(), bundle.chain.pem())).unwrap();
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
            others && fs::read_to_string(path).is_ok_and(|text| text.contains("PRIVATE KEY"))
        };
        let files = files_below(self.place.outside());
        Ok(files.iter().filter(|path| open(path)).map(|path| path.display().to_string()).collect())
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
        let mut found = entries_below(&self.path("certificates"));
        found.retain(|path| !path.ends_with(".lock"));
        found.extend(entries_below(&self.path("web")));
        Ok(found.iter().map(|path| path.display().to_string()).collect())
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
        self.machine.path("certificates/www").join(rest)
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
