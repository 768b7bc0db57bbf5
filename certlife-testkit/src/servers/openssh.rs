//! A machine to deploy to: OpenSSH with users and disks of its own, and a way to look at it past any deployer.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;
use tokio::time::timeout;

/// How long a script may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// An OpenSSH server on loopback, with its defaults but for the number of connections.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct OpenSsh {
    /// Where it listens.
    pub address: SocketAddr,
    /// Who logs in with every key of [`keys`](Self::keys) but [`stranger`](UserKeys::stranger), with
    /// [`password`](Self::password), and may run anything by `sudo -n`.
    pub user: String,
    /// The number of that user and of its group.
    pub user_id: u32,
    /// Who logs in likewise, but may neither use sudo nor connect elsewhere through the server.
    pub limited_user: String,
    /// The password of both users.
    pub password: String,
    /// Private keys of users.
    pub keys: UserKeys,
    /// What opens [`UserKeys::encrypted`].
    pub passphrase: String,
    /// The server's public keys, each as one line.
    pub host_keys: HostKeys,
    /// The public key of the authority that signed a certificate for the server, as 127.0.0.1 and `localhost`, with
    /// its Ed25519 key, and [`UserKeys::certificate`].
    pub authority: String,
    ssh: PathBuf,
    identity: PathBuf,
    known_hosts: PathBuf,
    outside: PathBuf,
    inside: String,
}

/// Private keys in OpenSSH's form.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct UserKeys {
    /// Ed25519.
    pub plain: String,
    /// Ed25519, encrypted.
    pub encrypted: String,
    /// P-384.
    pub ecdsa: String,
    /// RSA, 2048 bits.
    pub rsa: String,
    /// Ed25519, which the server knows by its certificate alone.
    pub certified: String,
    /// The certificate of [`certified`](Self::certified), for [`OpenSsh::user`].
    pub certificate: String,
    /// Ed25519, which the server does not know.
    pub stranger: String,
}

/// Public keys of the server.
#[derive(Debug, Clone, Deserialize)]
#[non_exhaustive]
pub struct HostKeys {
    /// Ed25519.
    pub ed25519: String,
    /// P-256.
    pub ecdsa: String,
    /// RSA.
    pub rsa: String,
}

/// A directory of the machine that one test has for itself, removed when dropped.
#[derive(Debug)]
pub struct Place {
    outside: TempDir,
    inside: String,
}

impl Place {
    /// Where it is for those who log in.
    pub fn inside(&self) -> &str {
        &self.inside
    }

    /// Where it is for tests.
    pub fn outside(&self) -> &Path {
        self.outside.path()
    }
}

impl OpenSsh {
    /// Makes a directory that belongs to [`user`](Self::user).
    pub fn place(&self) -> Place {
        let made = tempfile::Builder::new().prefix("test-").tempdir_in(&self.outside);
        let outside = made.unwrap_or_else(|error| panic!("{}: {error}", self.outside.display()));
        let name = outside.path().file_name().expect("it has a name").to_string_lossy();
        let inside = format!("{}/{name}", self.inside);
        self.give(outside.path());
        Place { outside, inside }
    }

    /// Gives a file or directory to [`user`](Self::user).
    pub fn give(&self, path: &Path) {
        #[cfg(unix)]
        std::os::unix::fs::chown(path, Some(self.user_id), Some(self.user_id))
            .unwrap_or_else(|error| panic!("{}: {error}; tests of SSH run as root", path.display()));
        #[cfg(not(unix))]
        panic!("{}: tests of SSH run on Linux", path.display());
    }

    /// A file system with room for 128 KiB, for those who log in. Whoever uses it has to be the only one.
    pub fn small_disk(&self) -> String {
        format!("{}/small", self.inside)
    }

    /// A file system that nobody can write to, for those who log in.
    pub fn read_only_disk(&self) -> String {
        format!("{}/read-only", self.inside)
    }

    /// The paths, for those who log in, that were given the labels of the machine's policy.
    pub fn labelled(&self) -> Vec<String> {
        let list = self.outside.join("restorecon.log");
        let text =
            std::fs::read_to_string(&list).unwrap_or_else(|error| panic!("{}: {error}", list.display()));
        text.lines().map(str::to_owned).collect()
    }

    /// Runs a script as [`user`](Self::user) within a minute, by OpenSSH's own client, and returns what it printed.
    pub async fn run(&self, script: &str) -> String {
        let mut client = tokio::process::Command::from(self.client(script));
        let running = timeout(PATIENCE, client.kill_on_drop(true).output()).await;
        let output = running.unwrap_or_else(|_| panic!("{script}: does not end")).expect("ssh starts");
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{script}: {}\n{stdout}\n{stderr}", output.status);
        stdout.into_owned()
    }

    /// Describes OpenSSH's own client, running a script as [`user`](Self::user). It ends with the script, or with a
    /// connection that is silent, but the script goes on when the client is killed.
    pub fn client(&self, script: &str) -> Command {
        let (host, port) = (self.address.ip(), self.address.port());
        let mut client = Command::new(&self.ssh);
        client.args(["-F", "none", "-i"]).arg(&self.identity);
        for option in ["BatchMode=yes", "IdentitiesOnly=yes", "ConnectTimeout=20", "ServerAliveInterval=20"] {
            client.args(["-o", option]);
        }
        client.arg("-o").arg(format!("UserKnownHostsFile={}", self.known_hosts.display()));
        client.args(["-p", &port.to_string(), "-l", &self.user, &host.to_string(), "--", script]);
        client
    }
}
