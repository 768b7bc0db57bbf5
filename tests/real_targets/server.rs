//! A real server of a test's own, in a folder of its own, on an address of its own.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU8, Ordering},
    time::{Duration, Instant},
};

use certlife_core::{
    Fingerprint,
    engine::TlsEndpoint,
    tls::{StartTls, served_chain, served_chain_after},
};
use certlife_deploy::Local;
use certlife_testkit::deploy::Issuer;

pub(crate) const CERTIFICATE: &str = "www";
pub(crate) const NAME: &str = "server.example.com";
const PATIENCE: Duration = Duration::from_secs(15);

/// A folder that every user may enter, with an address that nothing else in this test uses.
pub(crate) struct Site {
    folder: tempfile::TempDir,
    address: Ipv4Addr,
}

impl Site {
    pub(crate) fn new() -> Self {
        // Ports of outgoing connections are taken on 127.0.0.1, so that nobody takes ours between choice and use.
        static LAST: AtomicU8 = AtomicU8::new(0);
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let address = Ipv4Addr::new(127, 0, 77, LAST.fetch_add(1, Ordering::SeqCst) + 1);
        Self { folder, address }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn port(&self) -> SocketAddr {
        TcpListener::bind((self.address, 0)).unwrap().local_addr().unwrap()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }
}

/// How one kind of server is configured and told what to do.
pub(crate) struct Kind {
    /// The configuration, in which `@TLS@` stands for the directory of the certificate's files.
    pub(crate) template: String,
    /// The name of the configuration in the folder.
    pub(crate) config: &'static str,
    /// The shell command that checks the configuration of the name `candidate` stands for.
    pub(crate) candidate: &'static str,
    pub(crate) check: String,
    /// The program that serves in the foreground; none if reloading starts it.
    pub(crate) start: Option<Vec<String>>,
    /// The shell command that makes the server read its configuration; `$PID` is the process that was started.
    pub(crate) reload: String,
    /// The shell command that ends it, if a signal to the process that was started does not.
    pub(crate) stop: Option<String>,
    /// A line that no configuration of this kind has.
    pub(crate) broken: &'static str,
    pub(crate) endpoints: Vec<(Option<StartTls>, SocketAddr)>,
    /// The group that reads private keys, if root alone does not suffice.
    pub(crate) group: Option<&'static str>,
}

/// A running server, ended on drop.
pub(crate) struct Server {
    site: Site,
    kind: Kind,
    child: Option<Child>,
}

impl Server {
    /// Starts the server with a certificate of somebody else's, and waits until it serves that.
    pub(crate) async fn start(site: Site, kind: Kind) -> Self {
        let mut server = Self { site, kind, child: None };
        server.foreign();
        server.site.write("template", &server.kind.template);
        let (template, config) = (server.shown("template"), server.shown(server.kind.config));
        let candidate = server.shown(server.kind.candidate);
        let render = |to: &str| format!("set -e\nsed \"s#@TLS@#$1#g\" {template} > {to}\n");
        let check = format!("{}{}\n", render(&candidate), server.kind.check);
        server.site.write("check.sh", &check);
        let pid = server.shown("started.pid");
        let reload = format!(
            "{}mv {config}.new {config}\nPID=$(cat {pid})\n{}\n",
            render(&format!("{config}.new")),
            server.kind.reload
        );
        server.site.write("reload.sh", &reload);

        match server.kind.start.clone() {
            Some(words) => {
                let text = server.kind.template.replace("@TLS@", &server.shown("foreign"));
                server.site.write(server.kind.config, &text);
                let log = fs::File::create(server.site.path("output")).unwrap();
                let mut command = Command::new(&words[0]);
                command.args(&words[1..]).stdin(Stdio::null()).stderr(log.try_clone().unwrap()).stdout(log);
                let child = command.spawn().unwrap();
                server.site.write("started.pid", &child.id().to_string());
                server.child = Some(child);
            }
            None => {
                server.site.write("started.pid", "");
                server.put("foreign");
            }
        }
        let started = Instant::now();
        for (_, address) in server.kind.endpoints.clone() {
            while TcpStream::connect(address).is_err() {
                assert!(started.elapsed() < PATIENCE, "{address} does not answer: {}", server.output());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        server.serves(server.fingerprint_of_foreign()).await;
        server
    }

    /// Writes a certificate that somebody else made, in the files that servers read.
    fn foreign(&self) {
        let bundle = Issuer::new().bundle(&CERTIFICATE.parse().unwrap(), &[NAME.parse().unwrap()]);
        let (chain, key) = (bundle.chain.pem(), bundle.key.unwrap().to_pkcs8_pem().unwrap());
        fs::create_dir(self.site.path("foreign")).unwrap();
        self.site.write("foreign/fullchain.pem", &chain);
        self.site.write("foreign/privkey.pem", key.expose());
        self.site.write("foreign/combined.pem", &format!("{}{chain}", key.expose()));
        self.site.write("foreign/cert.pem", &bundle.chain.leaf_pem());
        let key_file = self.site.path("foreign/privkey.pem");
        fs::set_permissions(&key_file, fs::Permissions::from_mode(0o640)).unwrap();
        if let Some(group) = self.kind.group {
            let done = Command::new("chgrp").arg(group).arg(&key_file).status().unwrap();
            assert!(done.success());
        }
    }

    fn fingerprint_of_foreign(&self) -> Fingerprint {
        let pem = fs::read_to_string(self.site.path("foreign/fullchain.pem")).unwrap();
        certlife_core::Chain::from_pem(&pem).unwrap().fingerprint()
    }

    /// The deployer for this server: it checks the configuration with the new version in it, and reloads.
    pub(crate) fn deployer(&self) -> Local {
        let (check, reload) = (self.shown("check.sh"), self.shown("reload.sh"));
        let live = self.site.path("tls").join(CERTIFICATE).join("live").display().to_string();
        let mut local = Local::builder(self.site.path("tls"))
            .combined(true)
            .check(["/bin/sh", &check, "{directory}"])
            .reload(["/bin/sh", &reload, &live]);
        if let Some(group) = self.kind.group {
            local = local.group(group).key_mode(0o640);
        }
        local.build().unwrap()
    }

    pub(crate) fn endpoints(&self) -> Vec<TlsEndpoint> {
        let endpoint = |(starttls, address): &(Option<StartTls>, SocketAddr)| TlsEndpoint {
            address: *address,
            server_name: None,
            starttls: *starttls,
        };
        self.kind.endpoints.iter().map(endpoint).collect()
    }

    /// Writes a line into the configuration that the server does not understand; or takes it out again.
    pub(crate) fn break_configuration(&self, broken: bool) {
        let line = if broken { self.kind.broken } else { "" };
        self.site.write("template", &format!("{}{line}\n", self.kind.template));
    }

    /// Puts the certificate of somebody else on the server, past every deployer.
    pub(crate) async fn tamper(&self) {
        self.put("foreign");
        self.serves(self.fingerprint_of_foreign()).await;
    }

    /// What each endpoint shows now.
    pub(crate) async fn shown_by(&self, endpoint: &TlsEndpoint) -> certlife_core::Result<Fingerprint> {
        let name = NAME.parse().unwrap();
        let chain = match endpoint.starttls {
            Some(protocol) => served_chain_after(protocol, endpoint.address, Some(&name), PATIENCE).await?,
            None => served_chain(endpoint.address, Some(&name), PATIENCE).await?,
        };
        Ok(chain.fingerprint())
    }

    /// Waits until every endpoint serves this certificate.
    pub(crate) async fn serves(&self, wanted: Fingerprint) {
        let started = Instant::now();
        for endpoint in self.endpoints() {
            loop {
                let shown = self.shown_by(&endpoint).await;
                if shown.as_ref().is_ok_and(|shown| *shown == wanted) {
                    break;
                }
                assert!(started.elapsed() < PATIENCE, "{endpoint:?} shows {shown:?}: {}", self.output());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    fn put(&self, directory: &str) {
        let done = Command::new("/bin/sh")
            .args([self.shown("reload.sh"), self.shown(directory)])
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(done.success(), "{}", self.output());
    }

    fn shown(&self, name: &str) -> String {
        self.site.path(name).display().to_string()
    }

    fn output(&self) -> String {
        fs::read_to_string(self.site.path("output")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = &self.kind.stop {
            let _ = Command::new("/bin/sh").args(["-c", stop]).stderr(Stdio::null()).status();
        }
        let Some(child) = &mut self.child else { return };
        let _ = Command::new("kill").arg(child.id().to_string()).stderr(Stdio::null()).status();
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(5) {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// A path as a configuration or shell command has it.
pub(crate) fn text(path: &Path) -> String {
    path.display().to_string()
}
