//! Programs that are not ours: found on this machine, or installed.

use std::cell::Cell;
use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{output, run};
use crate::{Result, Workspace};

/// Where programs are that the search path of an ordinary user may leave out.
const MORE_FOLDERS: [&str; 6] =
    ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/go/bin", "/opt/homebrew/bin", "/opt/homebrew/sbin"];

/// The folder of tools that we install for this workspace alone, ours while this value lives.
pub(crate) struct Tools {
    folder: PathBuf,
    lists_are_fresh: Cell<bool>,
    /// Keeps two runs from installing the same thing at once; released by the system with the file.
    _lock: File,
}

impl Tools {
    pub(crate) fn open(workspace: &Workspace) -> Result<Self> {
        let folder = workspace.scratch().join("tools");
        fs::create_dir_all(&folder)?;
        let lock = File::create(folder.join("lock"))?;
        lock.lock()?;
        Ok(Self { folder, lists_are_fresh: Cell::new(false), _lock: lock })
    }

    /// The folder for one tool in one version, so that a new version is never mistaken for the old one.
    pub(crate) fn folder(&self, tool: &str, version: &str) -> PathBuf {
        self.folder.join(format!("{tool}-{version}"))
    }

    /// Installs Debian packages unless all `programs` are there already.
    pub(crate) fn need(&self, programs: &[&str], packages: &[&str]) -> Result<()> {
        let missing: Vec<&str> = programs.iter().copied().filter(|program| find(program).is_none()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.apt_install(packages).map_err(|error| {
            format!(
                "needs {}, which could not be installed ({error}).\nInstall it by hand: \
                 apt-get install {} (Debian, Ubuntu), or the same programs from your system's packages",
                missing.join(", "),
                packages.join(" "),
            )
        })?;
        missing.into_iter().try_for_each(|program| {
            let absent = || format!("{program} is still missing after installing {}", packages.join(" "));
            find(program).map(drop).ok_or_else(|| absent().into())
        })
    }

    /// Installs what tests ask for a second opinion on keys and certificates.
    pub(crate) fn need_second_opinions(&self) -> Result<()> {
        self.need(&["openssl"], &["openssl"])?;
        self.need(&["keytool"], &["default-jre-headless"])
    }

    fn apt_install(&self, packages: &[&str]) -> Result<()> {
        let apt_get = find("apt-get").ok_or("no apt-get on this machine")?;
        let prefix = privilege()?;
        // In run level 1 Debian's packages do not start the services that they bring (invoke-rc.d(8)).
        let apt = |arguments: &[&str]| {
            let mut words = prefix.iter().map(String::as_str).chain([
                "env",
                "DEBIAN_FRONTEND=noninteractive",
                "RUNLEVEL=1",
            ]);
            let mut command = Command::new(words.next().unwrap_or("env"));
            command.args(words).arg(&apt_get).args(arguments);
            run(&mut command)
        };
        if !self.lists_are_fresh.replace(true) {
            apt(&["update", "-qq"])?;
        }
        apt(&[&["install", "-y", "-qq", "--no-install-recommends"], packages].concat())
    }
}

/// Looks a program up in the search path and in the usual places beside it.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(MORE_FOLDERS.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

/// Like [`find`], for a program that an installation step has made sure of.
pub(crate) fn require(program: &str) -> Result<PathBuf> {
    find(program).ok_or_else(|| format!("{program} is not on this machine").into())
}

/// Installs one program of a Go module into `folder`, unless it is there.
pub(crate) fn go_install(folder: &Path, package: &str, version: &str) -> Result<()> {
    let name = package.rsplit('/').next().unwrap_or(package);
    if folder.join(name).is_file() {
        return Ok(());
    }
    let go = find("go").ok_or_else(|| {
        format!("needs Go to build {name}.\nInstall Go 1.24 or newer: https://go.dev/doc/install")
    })?;
    run(Command::new(go).arg("install").arg(format!("{package}@{version}")).env("GOBIN", folder))
}

/// Whether we have root's rights.
pub(crate) fn is_root() -> Result<bool> {
    Ok(output(Command::new("id").arg("-u"))?.trim_ascii() == b"0")
}

/// What to put before a command so that it runs as root: nothing, or sudo where it asks no password.
fn privilege() -> Result<Vec<String>> {
    if is_root()? {
        return Ok(Vec::new());
    }
    output(Command::new("sudo").args(["-n", "true"]))
        .map_err(|_| "neither root nor sudo without a password")?;
    Ok(vec!["sudo".into(), "-n".into()])
}
