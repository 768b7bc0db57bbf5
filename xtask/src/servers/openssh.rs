//! [OpenSSH](https://www.openssh.com/), a machine to deploy to: with users, directories and disks of its own.
//!
//! The server runs in a mount and a process namespace where `/etc/passwd` and what belongs to it are ours, so
//! that nothing of this machine is changed, and whatever a session leaves running ends with the server.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::Server;
use crate::Result;
use crate::fleet::{Site, accepts};
use crate::process::output;
use crate::tools::{Tools, require};

pub(super) struct OpenSsh;

/// Whom tests log in as: may do anything by sudo; may neither do that nor connect through the server.
const USERS: [(&str, u32); 2] = [("deploy", 4_242), ("limited", 4_243)];
const PASSWORD: &str = "correct horse 'battery' $taple";
const PASSPHRASE: &str = "only for tests";
/// Where the directories of tests are for those who log in. An empty directory on every machine.
const INSIDE: &str = "/mnt";
/// Where systems keep the file transfer's program.
const SFTP_SERVERS: [&str; 4] = [
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/lib/ssh/sftp-server",
    "/usr/libexec/sftp-server",
];

impl Server for OpenSsh {
    fn name(&self) -> &'static str {
        "openssh"
    }

    fn install(&self, tools: &Tools) -> Result<()> {
        let programs = ["sshd", "ssh", "ssh-keygen", "sudo", "unshare", "flock", "openssl"];
        let packages = ["openssh-server", "openssh-client", "sudo", "util-linux", "openssl"];
        tools.need(&programs, &packages)?;
        if output(Command::new("id").arg("-u"))?.trim_ascii() == b"0" {
            return Ok(());
        }
        Err("needs root, to log users of its own in; run `cargo xtask` as root, such as in a container"
            .into())
    }

    fn start(&self, _: &Tools, site: &mut Site) -> Result<Value> {
        let folder = site.folder("openssh")?;
        let port = site.ports.take()?;
        let keys = Keys::generate(&folder)?;
        write_users(&folder)?;
        fs::write(folder.join("sshd_config"), configuration(&folder, port)?)?;
        fs::create_dir(folder.join("machine"))?;
        fs::write(folder.join("start"), start(&folder)?)?;
        let mut unshare = Command::new(require("unshare")?);
        unshare.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "/bin/sh"]);
        unshare.arg(folder.join("start")).current_dir(&folder);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let known =
            format!("[{}]:{port} {}", address.ip(), keys.hosts["ed25519"].as_str().unwrap_or_default());
        fs::write(folder.join("known_hosts"), known)?;
        site.launch("sshd", &unshare, || accepts(address))?;
        Ok(json!({
            "address": address,
            "user": USERS[0].0,
            "user_id": USERS[0].1,
            "limited_user": USERS[1].0,
            "password": PASSWORD,
            "keys": keys.users,
            "passphrase": PASSPHRASE,
            "host_keys": keys.hosts,
            "authority": keys.authority,
            "ssh": require("ssh")?,
            "identity": folder.join("plain"),
            "known_hosts": folder.join("known_hosts"),
            "outside": folder.join("machine"),
            "inside": INSIDE,
        }))
    }
}

/// All keys, as text.
struct Keys {
    users: Value,
    hosts: Value,
    authority: String,
}

impl Keys {
    fn generate(folder: &Path) -> Result<Self> {
        let keygen = require("ssh-keygen")?;
        let make = |name: &str, kind: &[&str], passphrase: &str| {
            let mut command = Command::new(&keygen);
            command
                .args(["-q", "-C", name, "-N", passphrase, "-f"])
                .arg(folder.join(name))
                .arg("-t")
                .args(kind);
            output(&mut command)
        };
        make("plain", &["ed25519"], "")?;
        make("encrypted", &["ed25519"], PASSPHRASE)?;
        make("ecdsa", &["ecdsa", "-b", "384"], "")?;
        make("rsa", &["rsa", "-b", "2048"], "")?;
        make("certified", &["ed25519"], "")?;
        make("stranger", &["ed25519"], "")?;
        make("authority", &["ed25519"], "")?;
        make("host_ed25519", &["ed25519"], "")?;
        make("host_ecdsa", &["ecdsa"], "")?;
        make("host_rsa", &["rsa", "-b", "2048"], "")?;
        let sign = |options: &[&str], name: &str| {
            let mut command = Command::new(&keygen);
            command.arg("-q").arg("-s").arg(folder.join("authority")).args(options);
            output(command.arg(folder.join(format!("{name}.pub"))))
        };
        sign(&["-I", "user of tests", "-n", USERS[0].0], "certified")?;
        sign(&["-h", "-I", "host of tests", "-n", "127.0.0.1,localhost"], "host_ed25519")?;

        let read = |name: &str| fs::read_to_string(folder.join(name));
        let public: Result<String, _> =
            ["plain", "encrypted", "ecdsa", "rsa"].iter().map(|name| read(&format!("{name}.pub"))).collect();
        fs::write(folder.join("authorized_keys"), public?)?;
        let mut users = json!({ "certificate": read("certified-cert.pub")? });
        for name in ["plain", "encrypted", "ecdsa", "rsa", "certified", "stranger"] {
            users[name] = read(name)?.into();
        }
        let mut hosts = json!({});
        for kind in ["ed25519", "ecdsa", "rsa"] {
            hosts[kind] = read(&format!("host_{kind}.pub"))?.into();
        }
        Ok(Self { users, hosts, authority: read("authority.pub")? })
    }
}

/// The machine's own lists of users with ours added, and a list of who may do what by sudo.
fn write_users(folder: &Path) -> Result<()> {
    let mut hash = Command::new(require("openssl")?);
    let hash = String::from_utf8(output(hash.args(["passwd", "-6", PASSWORD]))?)?;
    for (list, mode) in [("passwd", 0o644), ("group", 0o644), ("shadow", 0o600)] {
        let mut text = fs::read_to_string(Path::new("/etc").join(list))?;
        for (name, id) in USERS {
            let line = match list {
                "passwd" => format!("{name}:x:{id}:{id}::{INSIDE}:/bin/sh\n"),
                "group" => format!("{name}:x:{id}:\n"),
                _ => format!("{name}:{}:19000:0:99999:7:::\n", hash.trim()),
            };
            text.push_str(&line);
        }
        write_as(&folder.join(list), &text, mode)?;
    }
    write_as(&folder.join("sudoers"), &format!("{} ALL=(root) NOPASSWD: ALL\n", USERS[0].0), 0o440)
}

fn write_as(path: &Path, text: &str, mode: u32) -> Result<()> {
    fs::write(path, text)?;
    output(Command::new("chmod").arg(format!("{mode:04o}")).arg(path)).map(drop)
}

fn configuration(folder: &Path, port: u16) -> Result<String> {
    let sftp_server = SFTP_SERVERS.iter().find(|path| Path::new(path).is_file());
    let sftp_server = sftp_server.ok_or("this system keeps sftp-server where nobody looked for it")?;
    let folder = folder.display();
    let limited = USERS[1].0;
    // Tests are wrong about who they are on purpose, which newer servers punish.
    let penalties = if has_penalties()? { "PerSourcePenalties no\n" } else { "" };
    Ok(format!(
        "\
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host_ed25519
HostKey {folder}/host_ecdsa
HostKey {folder}/host_rsa
HostCertificate {folder}/host_ed25519-cert.pub
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
TrustedUserCAKeys {folder}/authority.pub
StrictModes no
UsePAM no
PasswordAuthentication yes
KbdInteractiveAuthentication no
MaxStartups 500
{penalties}Subsystem sftp {sftp_server}
Match User {limited}
  AllowTcpForwarding no
"
    ))
}

fn has_penalties() -> Result<bool> {
    let mut sshd = Command::new(require("sshd")?);
    let parsed = sshd.args(["-G", "-f", "/dev/null", "-o", "PerSourcePenalties=no"]).output()?;
    Ok(parsed.status.success())
}

/// What makes the machine inside the namespaces, and becomes its server. The machine seems to have `SELinux`: what
/// would be relabelled is written to a list.
fn start(folder: &Path) -> Result<String> {
    let sshd = require("sshd")?;
    let (user, folder, sshd) = (USERS[0].1, folder.display(), sshd.display());
    Ok(format!(
        "\
set -e
for list in passwd group shadow sudoers; do mount --bind '{folder}'/$list /etc/$list; done
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/sshd
mount --bind '{folder}/machine' {INSIDE}
chmod 755 {INSIDE}
mkdir {INSIDE}/small {INSIDE}/read-only
mount -t tmpfs -o mode=755 tmpfs /usr/local/sbin
printf '#!/bin/sh\\nexit 0\\n' > /usr/local/sbin/selinuxenabled
printf '#!/bin/sh\\necho \"$3\" >> {INSIDE}/restorecon.log\\n' > /usr/local/sbin/restorecon
chmod 755 /usr/local/sbin/*
touch {INSIDE}/restorecon.log
chmod 666 {INSIDE}/restorecon.log
mount -t tmpfs -o mode=755,size=128k,uid={user},gid={user} tmpfs {INSIDE}/small
mount --bind -o ro {INSIDE}/read-only {INSIDE}/read-only
exec {sshd} -D -e -f '{folder}/sshd_config'
"
    ))
}
