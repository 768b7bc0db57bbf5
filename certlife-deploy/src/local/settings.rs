//! What a host may choose about local files.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use certlife_core::{InputError, Result, keystore::Form};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Local;
use crate::{
    files::{FileName, NamedForm},
    versions::{Command, Layout, LayoutSettings, defaults},
};

/// The settings of a target of local files, as a host keeps them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// The directory of the certificates, an absolute path. Made if it does not exist.
    pub directory: PathBuf,
    /// Who owns the files: a user name of `/etc/passwd`, or a number. Defaults to whoever the host runs as;
    /// another owner takes root's rights.
    #[serde(default)]
    pub owner: Option<String>,
    /// The group of files and directories: a name of `/etc/group`, or a number. Defaults to the host's.
    #[serde(default)]
    pub group: Option<String>,
    /// Who may read and write the files with the key, in octal digits: at most `0660`. Defaults to `0600`.
    #[serde(default = "defaults::key_mode")]
    pub key_mode: String,
    /// Who may read and write the files without the key, in octal digits: at most `0664`. Defaults to `0644`.
    #[serde(default = "defaults::certificate_mode")]
    pub certificate_mode: String,
    /// Who may enter the directories, in octal digits: `0700`, `0750` or `0755`. Defaults to `0755`.
    #[serde(default = "defaults::directory_mode")]
    pub directory_mode: String,
    /// Whether to write `combined.pem`, key and full chain in one file, as `HAProxy` reads it. Defaults to no.
    #[serde(default)]
    pub combined: bool,
    /// Further files for each version, in forms of the host's choice, such as `site.pfx`. Files with the key get
    /// `key_mode`, the others `certificate_mode`. Defaults to none.
    #[serde(default)]
    pub files: Vec<NamedForm>,
    /// How many old versions to keep besides the live one and the one that it replaced, 0 to 100. Defaults to 3.
    #[serde(default = "defaults::keep")]
    #[schemars(range(max = 100))]
    pub keep: usize,
    /// A program with its arguments that says whether the new version may go live, by its exit status. No
    /// shell is involved. In arguments `{directory}` stands for the directory of the new version and
    /// `{certificate}` for the certificate's name. The program is an absolute path, or a name that is looked
    /// for in `/usr/local/sbin`, `/usr/local/bin`, `/usr/sbin`, `/usr/bin`, `/sbin` and `/bin`; this `PATH` is
    /// all of its environment. Defaults to none.
    #[serde(default)]
    pub check: Vec<String>,
    /// A program with its arguments that makes the server read the live version, as `check` otherwise.
    #[serde(default)]
    pub reload: Vec<String>,
    /// How long a command may take: 1 to 600 seconds. Defaults to 60.
    #[serde(default = "defaults::command_timeout")]
    #[schemars(range(min = 1, max = 600))]
    pub command_timeout_seconds: u64,
    /// The directory that a web server shows as `/` on port 80, an absolute path to an existing directory.
    /// Defaults to none, and then HTTP challenges are not answered here.
    #[serde(default)]
    pub web_root: Option<PathBuf>,
}

/// Settings that were checked.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) directory: PathBuf,
    pub(super) layout: Layout,
    pub(super) check: Option<Command>,
    pub(super) reload: Option<Command>,
    pub(super) command_timeout: Duration,
    pub(super) web_root: Option<PathBuf>,
}

impl Settings {
    /// Names the directory and leaves the rest at its defaults.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            owner: None,
            group: None,
            key_mode: defaults::key_mode(),
            certificate_mode: defaults::certificate_mode(),
            directory_mode: defaults::directory_mode(),
            combined: false,
            files: Vec::new(),
            keep: defaults::keep(),
            check: Vec::new(),
            reload: Vec::new(),
            command_timeout_seconds: defaults::command_timeout(),
            web_root: None,
        }
    }

    pub(super) fn check(self) -> Result<Plan, InputError> {
        absolute("directory", &self.directory)?;
        if let Some(root) = &self.web_root {
            absolute("web_root", root)?;
        }
        let layout = LayoutSettings {
            makes_keys: true,
            owner: self.owner,
            group: self.group,
            key_mode: &self.key_mode,
            certificate_mode: &self.certificate_mode,
            directory_mode: &self.directory_mode,
            combined: self.combined,
            files: self.files,
            keep: self.keep,
        };
        let layout = layout.check()?;
        let command_timeout = defaults::check_command_timeout(self.command_timeout_seconds)?;
        Ok(Plan {
            layout,
            check: Command::new("check", self.check, is_absolute)?,
            reload: Command::new("reload", self.reload, is_absolute)?,
            command_timeout,
            directory: self.directory,
            web_root: self.web_root,
        })
    }
}

fn absolute(setting: &'static str, path: &Path) -> Result<(), InputError> {
    let climbs = path.components().any(|part| matches!(part, std::path::Component::ParentDir));
    if !path.is_absolute() || climbs || path.parent().is_none() {
        return Err(InputError::setting(
            setting,
            "use an absolute path without `..` to a directory below the root",
        ));
    }
    Ok(())
}

fn is_absolute(program: &str) -> bool {
    Path::new(program).is_absolute()
}

/// Describes a target of local files; made by [`Local::builder`].
#[derive(Debug, Clone)]
pub struct LocalBuilder {
    settings: Settings,
}

impl From<Settings> for LocalBuilder {
    fn from(settings: Settings) -> Self {
        Self { settings }
    }
}

impl LocalBuilder {
    /// Gives the files to this user, by name or number. Defaults to whoever the host runs as.
    #[must_use]
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.settings.owner = Some(owner.into());
        self
    }

    /// Gives files and directories to this group, by name or number. Defaults to the host's.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.settings.group = Some(group.into());
        self
    }

    /// Lets these read and write files with the key: at most `0o660`. Defaults to `0o600`.
    #[must_use]
    pub fn key_mode(mut self, mode: u32) -> Self {
        self.settings.key_mode = format!("{mode:04o}");
        self
    }

    /// Lets these read and write files without the key: at most `0o664`. Defaults to `0o644`.
    #[must_use]
    pub fn certificate_mode(mut self, mode: u32) -> Self {
        self.settings.certificate_mode = format!("{mode:04o}");
        self
    }

    /// Lets these enter the directories: `0o700` to `0o755`. Defaults to `0o755`.
    #[must_use]
    pub fn directory_mode(mut self, mode: u32) -> Self {
        self.settings.directory_mode = format!("{mode:04o}");
        self
    }

    /// Writes `combined.pem`, key and full chain in one file. Defaults to no.
    #[must_use]
    pub fn combined(mut self, combined: bool) -> Self {
        self.settings.combined = combined;
        self
    }

    /// Writes a further file for each version, in a form of the host's choice. May be called again. Defaults to none.
    #[must_use]
    pub fn file(mut self, name: FileName, form: Form) -> Self {
        self.settings.files.push(NamedForm::new(name, form));
        self
    }

    /// Keeps this many old versions, 0 to 100, besides the live one and the one that it replaced. Defaults to 3.
    #[must_use]
    pub fn keep(mut self, keep: usize) -> Self {
        self.settings.keep = keep;
        self
    }

    /// Asks a program whether the new version may go live; see the field of the same name in [`Settings`]. Defaults to none.
    #[must_use]
    pub fn check<S: Into<String>>(mut self, command: impl IntoIterator<Item = S>) -> Self {
        self.settings.check = command.into_iter().map(Into::into).collect();
        self
    }

    /// Makes the server read the live version; see the field of the same name in [`Settings`]. Defaults to none.
    #[must_use]
    pub fn reload<S: Into<String>>(mut self, command: impl IntoIterator<Item = S>) -> Self {
        self.settings.reload = command.into_iter().map(Into::into).collect();
        self
    }

    /// Stops a command after this time: 1 s to 10 min, in whole seconds, rounded up. Defaults to 1 min.
    #[must_use]
    pub fn command_timeout(mut self, timeout: Duration) -> Self {
        self.settings.command_timeout_seconds = defaults::seconds(timeout);
        self
    }

    /// Answers HTTP challenges by files under this directory, which a web server shows as `/` on port 80.
    /// Defaults to none.
    #[must_use]
    pub fn web_root(mut self, directory: impl Into<PathBuf>) -> Self {
        self.settings.web_root = Some(directory.into());
        self
    }

    /// Checks the settings and returns the deployer. Reads and writes no file.
    ///
    /// # Errors
    ///
    /// Those of [`Local::from_settings`].
    pub fn build(self) -> Result<Local, InputError> {
        Local::from_settings(self.settings)
    }
}
