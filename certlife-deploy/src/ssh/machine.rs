//! A machine during one call: its files over SFTP, its commands over the connection beside it, and its lock.

use std::{sync::Arc, time::Duration};

use certlife_core::{CertificateId, ErrorKind, Result, SecretBytes};
use russh::{Channel, client::Msg};
use russh_sftp::protocol::FileAttributes;
use tokio::sync::OnceCell;

use super::settings::{Plan, Sudo};
use crate::{
    remote::{Limits, Output, Refusal, Session, Sftp, quote},
    versions::{
        AllRights, Command, Found, Kind, Layout, Machine, Made, PATH, Rights, Slots, Step, Tree, in_the_way,
        io_failed,
    },
};

/// How long to wait for others, and for commands of ours.
const PATIENCE: Duration = Duration::from_mins(2);
/// How much of the end of a command's output is kept.
const MAX_OUTPUT: usize = 800;
/// The most of a list of users or groups that is read.
const MAX_LIST: usize = 4 * 1_024 * 1_024;

/// Holds the lock until its input ends, as it does with the connection, but no longer than `$2` seconds. Prints a
/// line when it has it.
const LOCK: &str = r#"
command -v flock >/dev/null || exit 96
mkdir -p -- "$1" || exit
if [ -L "$1/.lock" ] || { [ -e "$1/.lock" ] && [ ! -f "$1/.lock" ]; }; then exit 97; fi
umask 077
exec flock "$1/.lock" sh -c 'echo locked; command -v timeout >/dev/null && exec timeout "$1" cat; exec cat' sh "$2"
"#;
/// The program of the file transfer, where systems keep it.
const SFTP_SERVER: &str = r#"
for path in /usr/lib/openssh /usr/libexec/openssh /usr/lib/ssh /usr/libexec /usr/lib/misc /usr/local/libexec; do
  if [ -x "$path/sftp-server" ]; then exec "$path/sftp-server"; fi
done
exit 96
"#;
/// Whether a program is there and may be run. Some shells' `command -v` finds paths to what may not.
const FIND: &str =
    r#"case $1 in */*) [ -f "$1" ] && [ -x "$1" ] ;; *) command -v -- "$1" >/dev/null ;; esac"#;
/// Gives files the labels of the policy, where there is one.
const RELABEL: &str = r#"exec restorecon -R -- "$1""#;
const HAS_LABELS: &str =
    "command -v selinuxenabled >/dev/null && command -v restorecon >/dev/null && selinuxenabled";

/// A connection, and what it is for.
pub(super) struct Visit {
    /// Before the session, so that what is under way ends first.
    files: Files,
    lock: Option<Channel<Msg>>,
}

/// A directory of the machine as a [`Tree`].
#[derive(Clone)]
pub(super) struct Files {
    connection: Arc<Connection>,
    root: String,
}

struct Connection {
    sftp: Sftp,
    session: Session,
    plan: Arc<Plan>,
    /// Whether `SELinux` is on.
    has_labels: OnceCell<bool>,
}

impl Visit {
    pub(super) async fn new(session: Session, plan: Arc<Plan>) -> Result<Self, ErrorKind> {
        let sftp = match plan.sudo {
            Sudo::Everything => session.sftp_by(&script(&plan, true, SFTP_SERVER, &[])).await?,
            Sudo::No | Sudo::Commands => session.sftp().await?,
        };
        let root = plan.directory.clone();
        let connection = Arc::new(Connection { sftp, session, plan, has_labels: OnceCell::new() });
        Ok(Self { files: Files { connection, root }, lock: None })
    }

    /// Waits until nobody else changes the certificates, and keeps others out until the visit is over.
    pub(super) async fn lock(&mut self) -> Result<(), ErrorKind> {
        let Connection { session, plan, .. } = &*self.files.connection;
        // Longer than all commands of an install and its undoing take, should the machine not learn of our end.
        let longest = (plan.command_timeout * 4 + Duration::from_mins(10)).as_secs().to_string();
        let line = script(plan, plan.sudo == Sudo::Everything, LOCK, &[&plan.directory, &longest]);
        let mut channel = session.start(&line).await?;
        let mut output = Output::default();
        let waiting = async {
            while !output.note(channel.wait().await, MAX_OUTPUT) {
                if output.stdout.bytes.starts_with(b"locked\n") {
                    return true;
                }
            }
            false
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(true) => {
                self.lock = Some(channel);
                Ok(())
            }
            Ok(false) => Err(self.not_locked(&output)),
            Err(_) => Err(ErrorKind::Timeout),
        }
    }

    fn not_locked(&self, output: &Output) -> ErrorKind {
        use crate::remote::Exit;
        let Connection { plan, session, .. } = &*self.files.connection;
        match output.exit {
            Exit::Status(96) => {
                ErrorKind::Unsupported("a machine without flock (of util-linux or BusyBox)".into())
            }
            Exit::Status(97) => {
                in_the_way(&format!("{}/.lock", plan.directory), "is not the file that it was made as")
            }
            Exit::Unknown => session.lost(),
            _ => {
                let words = output.words(MAX_OUTPUT);
                ErrorKind::Io(format!("cannot lock {}: {words}", plan.directory).into())
            }
        }
    }

    /// Tests that the programs of the commands are there, and that sudo runs them if it has to.
    pub(super) async fn probe_commands(&self) -> Result<(), ErrorKind> {
        let Connection { plan, session, .. } = &*self.files.connection;
        for command in [&plan.check, &plan.reload].into_iter().flatten() {
            if plan.sudo == Sudo::No {
                let line = script(plan, false, FIND, &[&command.program]);
                if !session.exec(&line, &[], limits(PATIENCE)).await?.succeeded() {
                    return Err(command.failed("there is no such program, or it may not be run"));
                }
                continue;
            }
            // Asks whether it is there and would be allowed; nothing runs. Who logs in need not see it.
            let line = quote::line(["env", "-i", &path(), "sudo", "-n", "-l", "--", &command.program]);
            let output = session.exec(&line, &[], limits(PATIENCE)).await?;
            if !output.succeeded() {
                return Err(command.failed(&format!("sudo: {}", output.words(MAX_OUTPUT))));
            }
        }
        Ok(())
    }

    /// The web root, if there is one.
    pub(super) fn web(&self) -> Option<Files> {
        let root = self.files.connection.plan.web_root.clone()?;
        Some(Files { connection: Arc::clone(&self.files.connection), root })
    }

    /// Ends the visit. One that is dropped ends as well.
    pub(super) async fn leave(self) {
        if let Some(lock) = self.lock {
            let _ = lock.eof().await;
        }
        if let Some(connection) = Arc::into_inner(self.files.connection) {
            drop(connection.sftp);
            connection.session.close().await;
        }
    }
}

impl Machine for Visit {
    type Tree = Files;

    fn tree(&self) -> &Files {
        &self.files
    }

    fn layout(&self) -> &Layout {
        &self.files.connection.plan.layout
    }

    async fn rights(&self) -> Result<AllRights, ErrorKind> {
        let layout = self.layout();
        let (users, groups) = layout.lists();
        let (mut passwd, mut group) = (String::new(), String::new());
        for (wanted, list, text) in [(users, "/etc/passwd", &mut passwd), (groups, "/etc/group", &mut group)]
        {
            if wanted {
                let read = self.files.connection.sftp.read(list, MAX_LIST).await;
                let read = read.map_err(|refusal| refusal.doing("read", list))?;
                *text =
                    read.map_or_else(String::new, |read| String::from_utf8_lossy(read.expose()).into_owned());
            }
        }
        layout.rights(&passwd, &group)
    }

    async fn run(&self, step: Step, directory: &str, certificate: &CertificateId) -> Result<(), ErrorKind> {
        let Connection { plan, session, .. } = &*self.files.connection;
        let command = match step {
            Step::Check => &plan.check,
            Step::Reload => &plan.reload,
        };
        let Some(command) = command else { return Ok(()) };
        let line = command_line(plan, command, Slots { directory, certificate });
        let output = session.exec(&line, &[], limits(plan.command_timeout)).await?;
        if output.succeeded() {
            return Ok(());
        }
        Err(command.failed(&format!("{}: {}", output.exit, output.words(MAX_OUTPUT))))
    }
}

fn limits(time: Duration) -> Limits {
    Limits { keep: MAX_OUTPUT, time }
}

fn path() -> String {
    format!("PATH={PATH}")
}

/// A command of the host as a line: without the environment of the login, in the root directory.
fn command_line(plan: &Plan, command: &Command, slots: Slots<'_>) -> String {
    let path = path();
    let mut words = vec!["env", "-i", &path];
    if plan.sudo != Sudo::No {
        words.extend(["sudo", "-n", "--"]);
    }
    words.push(&command.program);
    let arguments: Vec<_> = command.arguments(slots).collect();
    words.extend(arguments.iter().map(String::as_str));
    format!("cd / && exec {}", quote::line(words))
}

/// A script of ours as a line.
fn script(plan: &Plan, as_root: bool, script: &str, arguments: &[&str]) -> String {
    debug_assert!(!as_root || plan.sudo == Sudo::Everything, "sudo is asked for where it is wanted");
    let path = path();
    let mut words = vec!["env", "-i", &path];
    if as_root {
        words.extend(["sudo", "-n", "--"]);
    }
    words.extend(["sh", "-c", script, "sh"]);
    words.extend(arguments);
    format!("cd / && exec {}", quote::line(words))
}

impl Files {
    fn path(&self, path: &str) -> String {
        if path.is_empty() { self.root.clone() } else { format!("{}/{path}", self.root) }
    }

    fn sftp(&self) -> &Sftp {
        &self.connection.sftp
    }

    /// What a refusal means where nothing may be: whether something is there, or nothing can be.
    async fn made(&self, done: Result<(), Refusal>, doing: &str, path: &str) -> Result<Made, ErrorKind> {
        match done {
            Ok(()) => Ok(Made::Done),
            Err(Refusal::NotFound) => Ok(Made::NoDirectory),
            Err(refusal @ Refusal::Failed(_)) => {
                // The protocol has one word for everything else that goes wrong.
                let there = self.sftp().look(path).await.map_err(|refusal| refusal.doing(doing, path))?;
                if there.is_some() {
                    return Ok(Made::Exists);
                }
                Err(self.explain(refusal, doing, path).await)
            }
            Err(refusal) => Err(refusal.doing(doing, path)),
        }
    }

    /// Says more than "failure" where more can be known.
    async fn explain(&self, refusal: Refusal, doing: &str, path: &str) -> ErrorKind {
        let is_full = matches!(refusal, Refusal::Failed(_)) && self.sftp().is_full(&self.root).await;
        if is_full {
            io_failed(doing, path)("no room is left on the disk")
        } else {
            refusal.doing(doing, path)
        }
    }
}

impl Tree for Files {
    fn name(&self, path: &str) -> String {
        self.path(path)
    }

    async fn look(&self, path: &str) -> Result<Option<Found>, ErrorKind> {
        let path = self.path(path);
        let found = self.sftp().look(&path).await.map_err(|refusal| refusal.doing("look at", &path))?;
        Ok(found.map(|found| Found {
            kind: kind_of(&found),
            length: found.size.unwrap_or(u64::MAX),
            owned: found.permissions.zip(found.uid.zip(found.gid)).map(|(mode, (uid, gid))| (mode, uid, gid)),
        }))
    }

    async fn read(&self, path: &str, length: usize) -> Result<Option<SecretBytes>, ErrorKind> {
        let path = self.path(path);
        self.sftp().read(&path, length).await.map_err(|refusal| refusal.doing("read", &path))
    }

    async fn create(&self, path: &str, content: &[u8], rights: Rights) -> Result<Made, ErrorKind> {
        let path = self.path(path);
        let created = self.sftp().create(&path, content, |found| attributes(rights, found)).await;
        let is_ours = created.is_started;
        match created.outcome {
            // What was made in vain is in nobody's way, but a full disk needs the room.
            Err(refusal) if is_ours => {
                let _ = self.sftp().remove(&path).await;
                Err(self.explain(refusal, "write", &path).await)
            }
            outcome => self.made(outcome, "write", &path).await,
        }
    }

    async fn make_directory(&self, path: &str) -> Result<Made, ErrorKind> {
        let path = self.path(path);
        self.made(self.sftp().make_directory(&path).await, "make", &path).await
    }

    async fn set_directory_rights(&self, path: &str, rights: Rights) -> Result<(), ErrorKind> {
        let path = self.path(path);
        let setting = async {
            let found = match rights.group {
                Some(_) => self.sftp().look(&path).await?.unwrap_or_default(),
                None => FileAttributes::empty(),
            };
            self.sftp().set(&path, attributes(rights, &found)).await
        };
        setting.await.map_err(|refusal| refusal.doing("set the rights of", &path))
    }

    async fn list(&self, path: &str) -> Result<Option<Vec<(String, bool)>>, ErrorKind> {
        let path = self.path(path);
        match self.sftp().list(&path).await {
            Ok(found) => Ok(Some(
                found.into_iter().map(|(name, found)| (name, kind_of(&found) == Kind::Directory)).collect(),
            )),
            Err(Refusal::NotFound) => Ok(None),
            Err(refusal) => Err(refusal.doing("list", &path)),
        }
    }

    async fn rename(&self, from: &str, to: &str) -> Result<Made, ErrorKind> {
        let (from, to) = (self.path(from), self.path(to));
        self.made(self.sftp().rename(&from, &to).await, "write", &to).await
    }

    async fn replace(&self, from: &str, to: &str) -> Result<(), ErrorKind> {
        let (from, to) = (self.path(from), self.path(to));
        match self.sftp().replace(&from, &to).await {
            // A server without that extension; `-T` keeps mv from moving into the directory that a link leads to.
            Err(Refusal::Unsupported) => {
                let Connection { plan, session, .. } = &*self.connection;
                let line = script(
                    plan,
                    plan.sudo == Sudo::Everything,
                    r#"exec mv -f -T -- "$1" "$2""#,
                    &[&from, &to],
                );
                let output = session.exec(&line, &[], limits(PATIENCE)).await?;
                if output.succeeded() {
                    Ok(())
                } else {
                    Err(io_failed("write", &to)(output.words(MAX_OUTPUT)))
                }
            }
            Err(refusal) => Err(self.explain(refusal, "write", &to).await),
            Ok(()) => Ok(()),
        }
    }

    async fn remove_file(&self, path: &str) -> Result<(), ErrorKind> {
        let path = self.path(path);
        self.sftp().remove(&path).await.map_err(|refusal| refusal.doing("remove", &path))
    }

    async fn remove_directory(&self, path: &str) -> Result<bool, ErrorKind> {
        match self.sftp().remove_directory(&self.path(path)).await {
            Err(Refusal::Lost(kind)) => Err(kind),
            // Fails if something is in it.
            done => Ok(matches!(done, Ok(()) | Err(Refusal::NotFound))),
        }
    }

    async fn save(&self, path: &str) -> Result<(), ErrorKind> {
        let path = self.path(path);
        self.sftp().sync_directory(&path).await.map_err(|refusal| refusal.doing("save", &path))
    }

    async fn read_pointer(&self, path: &str) -> Result<Option<String>, ErrorKind> {
        let Some(found) = self.look(path).await? else { return Ok(None) };
        let path = self.path(path);
        if found.kind != Kind::Link {
            return Err(in_the_way(&path, "is not the symbolic link that it was made as"));
        }
        match self.sftp().read_link(&path).await {
            Ok(target) => Ok(Some(target)),
            Err(Refusal::NotFound) => Ok(None),
            Err(refusal) => Err(refusal.doing("read", &path)),
        }
    }

    async fn make_pointer(&self, path: &str, target: &str) -> Result<(), ErrorKind> {
        let path = self.path(path);
        match self.sftp().link(&path, target).await {
            Err(refusal) => Err(self.explain(refusal, "switch", &path).await),
            Ok(()) => Ok(()),
        }
    }

    async fn label(&self, path: &str) -> Result<(), ErrorKind> {
        let Connection { plan, session, has_labels, .. } = &*self.connection;
        let run = async |words: &str, path: &str| {
            let line = script(plan, plan.sudo == Sudo::Everything, words, &[path]);
            session.exec(&line, &[], limits(PATIENCE)).await
        };
        let has_labels = has_labels
            .get_or_try_init(|| async { run(HAS_LABELS, "").await.map(|output| output.succeeded()) })
            .await?;
        if !has_labels {
            return Ok(());
        }
        let path = self.path(path);
        let output = run(RELABEL, &path).await?;
        if output.succeeded() { Ok(()) } else { Err(io_failed("label", &path)(output.words(MAX_OUTPUT))) }
    }
}

fn kind_of(found: &FileAttributes) -> Kind {
    // The type in a mode, as `stat` has it.
    match found.permissions.map(|mode| mode & 0o170_000) {
        Some(0o100_000) => Kind::File,
        Some(0o040_000) => Kind::Directory,
        Some(0o120_000) => Kind::Link,
        _ => Kind::Other,
    }
}

/// Rights as SFTP sets them: user and group together, so that who is not to change has to be repeated.
fn attributes(rights: Rights, found: &FileAttributes) -> FileAttributes {
    let owners = (rights.user.or(found.uid), rights.group.or(found.gid));
    let (uid, gid) = match owners {
        (Some(uid), Some(gid)) if rights.user.is_some() || rights.group.is_some() => (Some(uid), Some(gid)),
        _ => (None, None),
    };
    FileAttributes { uid, gid, permissions: Some(rights.mode), ..FileAttributes::empty() }
}
