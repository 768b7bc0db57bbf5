//! A real web server on the machine: what it serves after an install, and after a configuration that it refuses.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};

use certlife_core::{Deployer as _, ErrorKind, Fingerprint, tls::served_chain};
use certlife_deploy::ssh::Ssh;
use certlife_testkit::servers::Servers;

use super::Case;

/// nginx as the login user runs it, with a configuration in its place.
struct Nginx<'a> {
    case: &'a Case,
    program: String,
    address: SocketAddr,
}

impl<'a> Nginx<'a> {
    fn new(case: &'a Case) -> Self {
        let program = Servers::from_env().nginx.program.display().to_string();
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        Self { case, program, address }
    }

    fn configure(&self, more: &str) {
        let (place, address) = (self.case.machine.place.inside(), self.address);
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {place}/{name};"))
            .concat();
        self.case.write(
            "nginx.conf",
            &format!(
                "pid {place}/nginx.pid; error_log {place}/error.log; worker_processes 1;
                 events {{ worker_connections 64; }}
                 http {{ access_log off; {temporary}
                   server {{ listen {address} ssl; {more}
                     ssl_certificate {place}/certificates/www/live/fullchain.pem;
                     ssl_certificate_key {place}/certificates/www/live/privkey.pem; }} }}"
            ),
        );
    }

    fn command(&self, options: &[&str]) -> Vec<String> {
        let place = self.case.machine.place.inside();
        let mut words = vec![self.program.clone(), "-e".to_owned(), format!("{place}/error.log")];
        words.extend(["-c".to_owned(), format!("{place}/nginx.conf")]);
        words.extend(options.iter().map(|option| (*option).to_owned()));
        words
    }

    async fn run(&self, options: &[&str]) {
        self.case.machine.openssh.run(&self.command(options).join(" ")).await;
    }

    async fn serves(&self) -> Option<Fingerprint> {
        let served = served_chain(self.address, None, Duration::from_secs(5)).await.ok()?;
        Some(served.fingerprint())
    }

    /// Waits until it serves this: workers of before go on for a moment after a reload.
    async fn comes_to_serve(&self, wanted: Fingerprint) {
        let waiting = async {
            while self.serves().await != Some(wanted) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap();
    }
}

#[tokio::test]
async fn nginx_serves_what_is_installed_and_keeps_the_old_when_it_refuses_the_new() {
    let case = Case::plain();
    let (first, second, third) = (case.bundle(), case.bundle(), case.bundle());
    case.ssh.install(&first).await.unwrap();
    let nginx = Nginx::new(&case);
    nginx.configure("");
    nginx.run(&[]).await;
    nginx.comes_to_serve(first.chain.fingerprint()).await;

    let ssh = Ssh::builder(case.machine.server(), case.machine.inside("certificates"));
    let ssh = ssh.check(nginx.command(&["-t"])).reload(nginx.command(&["-s", "reload"])).build().unwrap();
    ssh.probe().await.unwrap();
    let receipt = ssh.install(&second).await.unwrap();
    nginx.comes_to_serve(second.chain.fingerprint()).await;

    nginx.configure("no_such_directive on;");
    let error = ssh.install(&third).await.unwrap_err();
    let ErrorKind::CommandFailed(words) = error.kind() else { panic!("{error}") };
    for part in ["nginx", "exit status: 1", "no_such_directive"] {
        assert!(words.as_str().contains(part), "{words}");
    }
    assert_eq!(nginx.serves().await, Some(second.chain.fingerprint()));
    assert_eq!(ssh.installed(&case.www).await.unwrap().unwrap().version, Some(second.version));

    nginx.configure("");
    ssh.rollback(&receipt).await.unwrap();
    nginx.comes_to_serve(first.chain.fingerprint()).await;
    ssh.install(&third).await.unwrap();
    nginx.comes_to_serve(third.chain.fingerprint()).await;
    nginx.run(&["-s", "quit"]).await;
}
