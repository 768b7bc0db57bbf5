//! A real server of a test's own: how it is configured, started, told, looked at and ended.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt as _,
    process::Child,
    sync::Arc,
    time::{Duration, Instant},
};

use certlife_core::{
    Deployer, Fingerprint,
    engine::TlsEndpoint,
    tls::{StartTls, served_chain, served_chain_after},
};
use certlife_deploy::{
    Local,
    ssh::{self, HostKey, Login, Preset, Ssh, SshBuilder, Sudo},
};
use certlife_testkit::deploy::Issuer;

use crate::site::{Site, ended};

pub(crate) const CERTIFICATE: &str = "www";
pub(crate) const NAME: &str = "server.example.com";
/// Where the files of the live version are in the folder.
pub(crate) const LIVE: &str = "tls/www/live";
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a server may take to end by itself.
const GRACE: Duration = Duration::from_secs(10);

/// How one kind of server is configured and told what to do. Commands are for a shell at the server's host.
pub(crate) struct Kind {
    /// The configuration, in which `@TLS@` stands for the directory of the certificate's files.
    pub(crate) template: String,
    /// The name of the configuration in the folder.
    pub(crate) config: &'static str,
    /// The name of the configuration that `check` looks at.
    pub(crate) candidate: &'static str,
    /// Fails if the candidate is not to go live.
    pub(crate) check: String,
    /// Serves in the foreground; none if reloading starts it.
    pub(crate) start: Option<String>,
    /// Makes the server read its configuration; `$PID` is the process that was started.
    pub(crate) reload: String,
    /// Ends it; `$PID` as above.
    pub(crate) stop: String,
    /// A line that no configuration of this kind has.
    pub(crate) broken: &'static str,
    pub(crate) endpoints: Vec<(Option<StartTls>, SocketAddr)>,
    /// The group that reads private keys, if root alone does not suffice.
    pub(crate) group: Option<&'static str>,
    /// What `Ssh` knows of this kind.
    pub(crate) preset: Option<Preset>,
}

/// A running server, ended on drop.
pub(crate) struct Server {
    site: Site,
    kind: Kind,
    /// The program, or the client that started it on another machine and ends with it.
    child: Option<Child>,
}

impl Server {
    /// Starts the server with a certificate of somebody else's, and waits until it serves that.
    pub(crate) async fn start(site: Site, kind: Kind) -> Self {
        let mut server = Self { site, kind, child: None };
        let Self { site, kind, .. } = &server;
        server.foreign();
        site.write("template", &kind.template);
        let (template, config, candidate) =
            (site.inside("template"), site.inside(kind.config), site.inside(kind.candidate));
        let render = |to: &str| format!("set -e\nsed \"s#@TLS@#$1#g\" {template} > {to}\n");
        site.write("check.sh", &format!("{}{}\n", render(&candidate), kind.check));
        let pid = site.inside("started.pid");
        let reload = format!(
            "{}mv {config}.new {config}\nPID=$(cat {pid})\n{}\n",
            render(&format!("{config}.new")),
            kind.reload
        );
        site.write("reload.sh", &reload);
        site.write("started.pid", "");

        match &kind.start {
            Some(start) => {
                server.configure("foreign", "");
                server.child = Some(site.spawn(&format!("echo $$ > {pid}\n{start}")).unwrap());
            }
            None => server.put("foreign"),
        }
        let started = Instant::now();
        for (_, address) in server.kind.endpoints.clone() {
            while TcpStream::connect(address).is_err() {
                let ended = server.child.as_mut().and_then(|child| child.try_wait().unwrap());
                let goes_on = ended.is_none() && started.elapsed() < PATIENCE;
                assert!(goes_on, "{address} does not answer ({ended:?}): {}", server.site.output());
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
            self.site.run(&format!("chgrp {group} {}", self.site.inside("foreign/privkey.pem")));
        }
    }

    fn fingerprint_of_foreign(&self) -> Fingerprint {
        let pem = fs::read_to_string(self.site.path("foreign/fullchain.pem")).unwrap();
        certlife_core::Chain::from_pem(&pem).unwrap().fingerprint()
    }

    /// The deployer for this server: it checks the configuration with the new version in it, and reloads.
    pub(crate) fn deployer(&self) -> Arc<dyn Deployer> {
        let script = |name: &str, directory: String| ["/bin/sh".into(), self.site.inside(name), directory];
        let check = script("check.sh", "{directory}".into());
        let reload = script("reload.sh", self.site.inside(LIVE));
        if let Some(ssh) = self.ssh() {
            return Arc::new(ssh.check(check).reload(reload).build().unwrap());
        }
        let mut local = Local::builder(self.site.path("tls")).combined(true).check(check).reload(reload);
        if let Some(group) = self.kind.group {
            local = local.group(group).key_mode(0o640);
        }
        Arc::new(local.build().unwrap())
    }

    /// The description of the deployer by its preset alone, if the server is on another machine.
    pub(crate) fn ssh(&self) -> Option<SshBuilder> {
        let openssh = self.site.openssh()?;
        let login = Login::key(openssh.keys.plain.as_str());
        let host_key = HostKey::pinned([&openssh.host_keys.ed25519]);
        let machine = ssh::Server::new(openssh.address.ip().to_string(), &openssh.user, login, host_key)
            .port(openssh.address.port());
        let mut ssh = Ssh::builder(machine, self.site.inside("tls")).sudo(Sudo::Commands);
        if let Some(preset) = self.kind.preset {
            ssh = ssh.preset(preset);
        }
        if let Some(group) = self.kind.group {
            // Who logs in is not in that group.
            ssh = ssh.sudo(Sudo::Everything).group(group).key_mode(0o640);
        }
        Some(ssh)
    }

    pub(crate) fn endpoints(&self) -> Vec<TlsEndpoint> {
        let endpoint = |(starttls, address): &(Option<StartTls>, SocketAddr)| TlsEndpoint {
            address: *address,
            server_name: None,
            starttls: *starttls,
        };
        self.kind.endpoints.iter().map(endpoint).collect()
    }

    /// Writes a line into the template that the server does not understand; or takes it out again.
    pub(crate) fn break_configuration(&self, broken: bool) {
        let line = if broken { self.kind.broken } else { "" };
        self.site.write("template", &format!("{}{line}\n", self.kind.template));
    }

    /// Writes the configuration for the files in a directory, with one more line. The server is not told.
    pub(crate) fn configure(&self, directory: &str, line: &str) {
        let text = self.kind.template.replace("@TLS@", &self.site.inside(directory));
        self.site.write(self.kind.config, &format!("{text}{line}\n"));
    }

    /// Makes the server read the files in a directory, past every deployer.
    fn put(&self, directory: &str) {
        self.site.run(&format!("/bin/sh {} {}", self.site.inside("reload.sh"), self.site.inside(directory)));
    }

    /// Puts the certificate of somebody else on the server.
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
                let waits = started.elapsed() < PATIENCE;
                assert!(waits, "{endpoint:?} shows {shown:?}: {}", self.site.output());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let tell = |command: &str| {
            let script = format!("PID=$(cat {})\n{command}", self.site.inside("started.pid"));
            if let Ok(mut child) = self.site.spawn(&script)
                && ended(&mut child, GRACE).is_none()
            {
                let _ = child.kill();
                let _ = child.wait();
            }
        };
        tell(&self.kind.stop);
        let Some(child) = &mut self.child else { return };
        if ended(child, GRACE).is_none() {
            tell("kill -KILL $PID");
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
