//! What a host may choose about a Unix machine.

use std::{sync::Arc, time::Duration};

use certlife_core::{Clock, InputError, Result, SystemClock, keystore::Form};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Ssh, presets::Preset};
use crate::{
    files::{FileName, NamedForm},
    remote::{Route, Server},
    versions::{Command, Layout, LayoutSettings, defaults},
};

/// The settings of a Unix machine, as a host keeps them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// The machine, and the login there.
    pub server: Server,
    /// A machine to connect through, if there is no direct way.
    #[serde(default)]
    pub jump: Option<Server>,
    /// How long connecting and logging in may take, at each of the two: 1 to 300 seconds. Defaults to 20.
    #[serde(default = "default_connect_timeout")]
    #[schemars(range(min = 1, max = 300))]
    pub connect_timeout_seconds: u64,
    /// The directory of the certificates on the machine, an absolute path. Made if it does not exist.
    pub directory: String,
    /// A server whose usual files and commands are the defaults of `combined`, `check` and `reload`. Defaults to none.
    #[serde(default)]
    pub preset: Option<Preset>,
    /// What runs with root's rights, by `sudo` without a password. Defaults to nothing.
    #[serde(default)]
    pub sudo: Sudo,
    /// Who owns the files: a name of the machine's `/etc/passwd`, or a number. Defaults to the user who logs in, or root
    /// with `sudo` for everything; another owner takes root's rights.
    #[serde(default)]
    pub owner: Option<String>,
    /// The group of files and directories: a name of the machine's `/etc/group`, or a number. Defaults to that user's.
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
    /// Whether to write `combined.pem`, key and full chain in one file, as `HAProxy` reads it. Defaults to no, or to
    /// what the preset says.
    #[serde(default)]
    pub combined: Option<bool>,
    /// Further files for each version, in forms of the host's choice, such as `site.pfx`. Files with the key get
    /// `key_mode`, the others `certificate_mode`. Defaults to none.
    #[serde(default)]
    pub files: Vec<NamedForm>,
    /// How many old versions to keep besides the live one and the one that it replaced, 0 to 100. Defaults to 3.
    #[serde(default = "defaults::keep")]
    #[schemars(range(max = 100))]
    pub keep: usize,
    /// A program with its arguments that says whether the new version may go live, by its exit status. In arguments
    /// `{directory}` stands for the directory of the new version and `{certificate}` for the certificate's name; they
    /// arrive as they are, whatever a shell would make of them. The program is an absolute path, or a name that is
    /// looked for in `/usr/local/sbin`, `/usr/local/bin`, `/usr/sbin`, `/usr/bin`, `/sbin` and `/bin`; this `PATH` is
    /// all of its environment. Defaults to none, or to what the preset says; an empty list is none in any case.
    #[serde(default)]
    pub check: Option<Vec<String>>,
    /// A program with its arguments that makes the server read the live version, as `check` otherwise.
    #[serde(default)]
    pub reload: Option<Vec<String>>,
    /// How long a command may take: 1 to 600 seconds. Defaults to 60.
    #[serde(default = "defaults::command_timeout")]
    #[schemars(range(min = 1, max = 600))]
    pub command_timeout_seconds: u64,
    /// The directory that a web server of the machine shows as `/` on port 80, an absolute path to an existing
    /// directory. Defaults to none, and then HTTP challenges are not answered here.
    #[serde(default)]
    pub web_root: Option<String>,
}

/// What runs with root's rights, by `sudo -n`: it never asks for a password, and fails where one is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Sudo {
    /// Nothing.
    #[default]
    No,
    /// The commands `check` and `reload`. The files are the login user's.
    Commands,
    /// The files as well: the file transfer's own program runs as root. `sudoers` has to allow it, `flock`, `sh` and
    /// the commands.
    Everything,
}

fn default_connect_timeout() -> u64 {
    20
}

/// Settings that were checked.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) route: Route,
    pub(super) directory: String,
    pub(super) sudo: Sudo,
    pub(super) layout: Layout,
    pub(super) check: Option<Command>,
    pub(super) reload: Option<Command>,
    pub(super) command_timeout: Duration,
    pub(super) web_root: Option<String>,
}

impl Settings {
    /// Names the machine and the directory, and leaves the rest at its defaults.
    pub fn new(server: Server, directory: impl Into<String>) -> Self {
        Self {
            server,
            jump: None,
            connect_timeout_seconds: default_connect_timeout(),
            directory: directory.into(),
            preset: None,
            sudo: Sudo::default(),
            owner: None,
            group: None,
            key_mode: defaults::key_mode(),
            certificate_mode: defaults::certificate_mode(),
            directory_mode: defaults::directory_mode(),
            combined: None,
            files: Vec::new(),
            keep: defaults::keep(),
            check: None,
            reload: None,
            command_timeout_seconds: defaults::command_timeout(),
            web_root: None,
        }
    }

    pub(super) fn check(self, clock: Arc<dyn Clock>) -> Result<Plan, InputError> {
        let directory = absolute("directory", &self.directory)?;
        let web_root = self.web_root.map(|root| absolute("web_root", &root)).transpose()?;
        let command_timeout = defaults::check_command_timeout(self.command_timeout_seconds)?;
        let usual = self.preset.map(Preset::usual).unwrap_or_default();
        let layout = LayoutSettings {
            makes_keys: false,
            owner: self.owner,
            group: self.group,
            key_mode: &self.key_mode,
            certificate_mode: &self.certificate_mode,
            directory_mode: &self.directory_mode,
            combined: self.combined.unwrap_or(usual.combined),
            files: self.files,
            keep: self.keep,
        };
        Ok(Plan {
            layout: layout.check()?,
            check: Command::new("check", self.check.unwrap_or(usual.check), is_absolute)?,
            reload: Command::new("reload", self.reload.unwrap_or(usual.reload), is_absolute)?,
            command_timeout,
            sudo: self.sudo,
            directory,
            web_root,
            route: Route::new(self.server, self.jump, self.connect_timeout_seconds, clock)?,
        })
    }
}

fn is_absolute(path: &str) -> bool {
    path.starts_with('/')
}

/// A path of the machine, in its one spelling.
fn absolute(setting: &'static str, path: &str) -> Result<String, InputError> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let is_good = path.strip_prefix('/').is_some_and(|names| {
        names.split('/').all(|name| !matches!(name, "" | "." | "..")) && !names.chars().any(char::is_control)
    });
    if is_good && path.len() <= 1_024 {
        return Ok(path.to_owned());
    }
    Err(InputError::setting(
        setting,
        "use an absolute path without `.`, `..` and empty names to a directory below the root",
    ))
}

/// Describes a Unix machine; made by [`Ssh::builder`].
#[derive(Debug, Clone)]
pub struct SshBuilder {
    settings: Settings,
    clock: Arc<dyn Clock>,
}

impl From<Settings> for SshBuilder {
    fn from(settings: Settings) -> Self {
        Self { settings, clock: Arc::new(SystemClock::default()) }
    }
}

impl SshBuilder {
    /// Connects through another machine. Defaults to the direct way.
    #[must_use]
    pub fn jump(mut self, server: Server) -> Self {
        self.settings.jump = Some(server);
        self
    }

    /// Gives up connecting and logging in after this time: 1 s to 5 min, in whole seconds, rounded up. Defaults to 20 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout_seconds = defaults::seconds(timeout);
        self
    }

    /// Takes the usual files and commands of a server where nothing else is said. Defaults to none.
    #[must_use]
    pub fn preset(mut self, preset: Preset) -> Self {
        self.settings.preset = Some(preset);
        self
    }

    /// Runs this with root's rights. Defaults to [`Sudo::No`].
    #[must_use]
    pub fn sudo(mut self, sudo: Sudo) -> Self {
        self.settings.sudo = sudo;
        self
    }

    /// Gives the files to this user, by name or number. Defaults to the user who logs in.
    #[must_use]
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.settings.owner = Some(owner.into());
        self
    }

    /// Gives files and directories to this group, by name or number. Defaults to that of the user who logs in.
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

    /// Writes `combined.pem`, key and full chain in one file. Defaults to no, or to what the preset says.
    #[must_use]
    pub fn combined(mut self, combined: bool) -> Self {
        self.settings.combined = Some(combined);
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

    /// Asks a program whether the new version may go live; see the field of the same name in [`Settings`]. Defaults
    /// to none, or to what the preset says.
    #[must_use]
    pub fn check<S: Into<String>>(mut self, command: impl IntoIterator<Item = S>) -> Self {
        self.settings.check = Some(command.into_iter().map(Into::into).collect());
        self
    }

    /// Makes the server read the live version; see the field of the same name in [`Settings`]. Defaults to none, or to
    /// what the preset says.
    #[must_use]
    pub fn reload<S: Into<String>>(mut self, command: impl IntoIterator<Item = S>) -> Self {
        self.settings.reload = Some(command.into_iter().map(Into::into).collect());
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
    pub fn web_root(mut self, directory: impl Into<String>) -> Self {
        self.settings.web_root = Some(directory.into());
        self
    }

    /// Tells by this clock whether the certificate of a server is valid. Defaults to the system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Checks the settings and returns the deployer. Opens no connection and reads no file.
    ///
    /// # Errors
    ///
    /// Those of [`Ssh::from_settings`].
    pub fn build(self) -> Result<Ssh, InputError> {
        Ssh::from_settings(self.settings, self.clock)
    }
}
