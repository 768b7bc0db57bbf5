//! A place for a server of a test's own: a folder and an address, on this machine or on one that is reached by SSH.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU8, Ordering},
    time::{Duration, Instant},
};

use certlife_testkit::servers::{OpenSsh, Place, Servers, TargetPrograms};

/// How long a script at the host may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// Whose machine the folder is on.
enum Host {
    /// This one.
    This(tempfile::TempDir),
    /// That of OpenSSH, with processes and paths of its own.
    OpenSsh(Box<OpenSsh>, Place),
}

/// A folder that every user may enter, with an address that nothing else in this test uses.
pub(crate) struct Site {
    host: Host,
    pub(crate) programs: TargetPrograms,
    address: Ipv4Addr,
}

impl Site {
    /// On this machine.
    pub(crate) fn here() -> Self {
        Self::at(|_| Host::This(tempfile::tempdir().unwrap()))
    }

    /// On the machine of OpenSSH.
    pub(crate) fn over_ssh() -> Self {
        Self::at(|openssh| {
            let place = openssh.place();
            Host::OpenSsh(Box::new(openssh), place)
        })
    }

    fn at(host: fn(OpenSsh) -> Host) -> Self {
        // Ports of outgoing connections are taken on 127.0.0.1, so that nobody takes ours between choice and use.
        static LAST: AtomicU8 = AtomicU8::new(0);
        let address = Ipv4Addr::new(127, 0, 77, LAST.fetch_add(1, Ordering::SeqCst) + 1);
        let Servers { openssh, targets: programs, .. } = Servers::from_env();
        let site = Self { host: host(openssh), programs, address };
        fs::set_permissions(site.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        site
    }

    /// The machine to log in to, if it is not this one.
    pub(crate) fn openssh(&self) -> Option<&OpenSsh> {
        match &self.host {
            Host::This(_) => None,
            Host::OpenSsh(openssh, _) => Some(openssh),
        }
    }

    /// Where a file is for tests.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let folder = match &self.host {
            Host::This(folder) => folder.path(),
            Host::OpenSsh(_, place) => place.outside(),
        };
        folder.join(name)
    }

    /// Where the folder is for what runs at the host.
    pub(crate) fn folder(&self) -> String {
        match &self.host {
            Host::This(folder) => text(folder.path()),
            Host::OpenSsh(_, place) => place.inside().to_owned(),
        }
    }

    /// Where a file is for what runs at the host.
    pub(crate) fn inside(&self, name: &str) -> String {
        format!("{}/{name}", self.folder())
    }

    pub(crate) fn port(&self) -> SocketAddr {
        TcpListener::bind((self.address, 0)).unwrap().local_addr().unwrap()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// What scripts and servers have said.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(self.path("output")).unwrap_or_default()
    }

    /// Starts a script at the host: with the rights of the tests on this machine, as root on the other.
    pub(crate) fn spawn(&self, script: &str) -> std::io::Result<Child> {
        let mut command = match &self.host {
            Host::This(_) => {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", script]);
                shell
            }
            Host::OpenSsh(openssh, _) => {
                openssh.client(&format!("sudo -n /bin/sh -c '{}'", script.replace('\'', r"'\''")))
            }
        };
        let output = fs::OpenOptions::new().create(true).append(true).open(self.path("output"))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).spawn()
    }

    /// Runs a script at the host to its end.
    pub(crate) fn run(&self, script: &str) {
        let mut child = self.spawn(script).unwrap();
        let ended = ended(&mut child, PATIENCE);
        if !ended.is_some_and(|status| status.success()) {
            let _ = child.kill();
            panic!("{script}: {ended:?}: {}", self.output());
        }
    }
}

/// Waits for a process to end, but no longer than this.
pub(crate) fn ended(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let started = Instant::now();
    while started.elapsed() < patience {
        if let Some(status) = child.try_wait().unwrap_or_default() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

/// A path as a configuration or shell command has it.
pub(crate) fn text(path: &Path) -> String {
    path.display().to_string()
}
