//! What a host may choose about a Windows machine.

use std::{path::PathBuf, sync::Arc, time::Duration};

use certlife_core::{Clock, InputError, Result, Secret, SystemClock};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Windows,
    binding::{Binding, Listener},
    names::MARKER,
    transport::{PowerShell, Process, Ssh},
};
use crate::remote::{Route, Server};

/// The most superseded versions that are kept by number.
pub(super) const MAX_KEEP: usize = 20;

/// The settings of a Windows machine, as a host keeps them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// How PowerShell is reached.
    pub connection: Connection,
    /// The certificate store of the machine: `My`, `WebHosting`, or another that exists. Letters, digits, spaces,
    /// `.`, `_` and `-`. Defaults to `My`.
    #[serde(default = "default_store")]
    pub store: String,
    /// Whether the key may leave the machine again. Defaults to no.
    #[serde(default)]
    pub exportable: bool,
    /// Accounts that may read the key besides administrators, such as `NT SERVICE\MSSQLSERVER` or
    /// `IIS AppPool\www`. IIS itself needs none. Defaults to none.
    #[serde(default)]
    pub accounts: Vec<String>,
    /// What the friendly name of each certificate begins with; which certificate and version it is follows.
    /// At most 500 characters. Defaults to nothing.
    #[serde(default)]
    pub friendly_name: Option<String>,
    /// The IIS bindings that are to show certificates. Defaults to none: then certificates are put into the store,
    /// and superseded ones archived, so that programs find the newest alone.
    #[serde(default)]
    pub bindings: Vec<Binding>,
    /// The central certificate store of IIS, for the bindings that use it.
    #[serde(default)]
    pub central_store: Option<CentralStore>,
    /// How many superseded versions to keep besides the one that the newest replaced, 0 to 20; older ones are
    /// removed with their keys. Defaults to nothing being removed.
    #[serde(default)]
    #[schemars(range(max = 20))]
    pub keep: Option<usize>,
    /// The IIS site whose directory challenge files are put into, where it answers on port 80. Defaults to none, and
    /// then HTTP challenges are not answered here.
    #[serde(default)]
    pub challenge_site: Option<String>,
    /// The form in which key and certificate travel and lie in the central store. Defaults to `modern`.
    #[serde(default)]
    pub pfx: Pfx,
    /// How long a script may take: 10 to 600 seconds. Defaults to 180.
    #[serde(default = "default_timeout")]
    #[schemars(range(min = 10, max = 600))]
    pub timeout_seconds: u64,
}

/// How PowerShell is reached.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Connection {
    /// As a process of this machine.
    Local {
        /// The path of `powershell.exe`. Defaults to the one of Windows.
        #[serde(default = "default_program")]
        program: PathBuf,
    },
    /// Over SSH. The user's shell is `cmd.exe`, as Windows has it.
    Ssh {
        /// The server.
        server: Box<Server>,
        /// A server to connect through. Defaults to none.
        #[serde(default)]
        jump: Option<Box<Server>>,
        /// How long connecting to each may take: 1 to 300 seconds. Defaults to 30.
        #[serde(default = "default_connect_timeout")]
        #[schemars(range(min = 1, max = 300))]
        connect_timeout_seconds: u64,
    },
}

impl Connection {
    /// A process of this machine, by the `powershell.exe` of Windows.
    pub fn local() -> Self {
        Self::Local { program: default_program() }
    }

    /// Over SSH, without a jump host.
    pub fn ssh(server: Server) -> Self {
        let connect_timeout_seconds = default_connect_timeout();
        Self::Ssh { server: Box::new(server), jump: None, connect_timeout_seconds }
    }
}

/// The central certificate store of IIS: a directory with one PFX a host name.
///
/// <https://learn.microsoft.com/en-us/iis/get-started/whats-new-in-iis-8/iis-80-centralized-ssl-certificate-support-ssl-scalability-and-manageability>
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CentralStore {
    /// The directory, as `C:\…` or `\\server\share\…`.
    pub path: String,
    /// The password of the private keys, as IIS has it. Printable ASCII.
    pub password: Secret,
}

/// The form of a PFX.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Pfx {
    /// AES-256 and SHA-256: Windows Server 2019, Windows 10 1709, and newer.
    #[default]
    Modern,
    /// Triple DES and SHA-1: Windows Server 2016 as well.
    Legacy,
}

fn default_store() -> String {
    "My".to_owned()
}

fn default_program() -> PathBuf {
    PathBuf::from(r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe")
}

fn default_connect_timeout() -> u64 {
    30
}

fn default_timeout() -> u64 {
    180
}

/// Settings that were checked.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) store: String,
    pub(super) exportable: bool,
    pub(super) accounts: Vec<String>,
    pub(super) friendly_name: Option<String>,
    pub(super) bindings: Vec<Listener>,
    pub(super) central: Option<CentralStore>,
    pub(super) keep: Option<usize>,
    pub(super) challenge_site: Option<String>,
    pub(super) pfx: Pfx,
}

impl Settings {
    /// Names the connection and leaves the rest at its defaults.
    pub fn new(connection: Connection) -> Self {
        Self {
            connection,
            store: default_store(),
            exportable: false,
            accounts: Vec::new(),
            friendly_name: None,
            bindings: Vec::new(),
            central_store: None,
            keep: None,
            challenge_site: None,
            pfx: Pfx::default(),
            timeout_seconds: default_timeout(),
        }
    }

    pub(super) fn check(self, clock: Arc<dyn Clock>) -> Result<(Plan, Arc<dyn PowerShell>), InputError> {
        if !(10..=600).contains(&self.timeout_seconds) {
            return Err(InputError::setting("timeout_seconds", "use 10 to 600 seconds"));
        }
        let timeout = Duration::from_secs(self.timeout_seconds);
        let shell = self.connection.clone().check(timeout, clock)?;
        Ok((self.plan()?, shell))
    }

    /// Checks everything but the connection.
    pub(super) fn plan(self) -> Result<Plan, InputError> {
        let plain = |character: char| character.is_ascii_alphanumeric() || " ._-".contains(character);
        if self.store.trim().is_empty() || self.store.len() > 100 || !self.store.chars().all(plain) {
            let rule = "use 1 to 100 letters, digits, spaces, `.`, `_` and `-`, such as `My` or `WebHosting`";
            return Err(InputError::setting("store", rule));
        }
        for account in &self.accounts {
            text("accounts", account, 300)?;
        }
        if let Some(name) = &self.friendly_name {
            text("friendly_name", name, 500)?;
            if name.contains(MARKER) {
                return Err(InputError::setting("friendly_name", format!("leave out `{MARKER}`")));
            }
        }
        if let Some(store) = &self.central_store {
            store.check()?;
        }
        if let Some(site) = &self.challenge_site {
            text("challenge_site", site, 1_000)?;
        }
        if self.keep.is_some_and(|keep| keep > MAX_KEEP) {
            return Err(InputError::setting("keep", format!("use 0 to {MAX_KEEP}")));
        }
        let central = self.central_store.is_some();
        let bindings = self.bindings.into_iter().map(|binding| binding.check(central));
        Ok(Plan {
            bindings: bindings.collect::<Result<_, _>>()?,
            store: self.store,
            exportable: self.exportable,
            accounts: self.accounts,
            friendly_name: self.friendly_name,
            central: self.central_store,
            keep: self.keep,
            challenge_site: self.challenge_site,
            pfx: self.pfx,
        })
    }
}

impl Connection {
    fn check(self, timeout: Duration, clock: Arc<dyn Clock>) -> Result<Arc<dyn PowerShell>, InputError> {
        Ok(match self {
            Self::Local { program } => Arc::new(Process::new(program, timeout)?),
            Self::Ssh { server, jump, connect_timeout_seconds } => {
                let jump = jump.map(|jump| *jump);
                Arc::new(Ssh { route: Route::new(*server, jump, connect_timeout_seconds, clock)?, timeout })
            }
        })
    }
}

impl CentralStore {
    /// Names the directory, and the password that IIS has for it.
    pub fn new(path: impl Into<String>, password: impl Into<Secret>) -> Self {
        Self { path: path.into(), password: password.into() }
    }

    fn check(&self) -> Result<(), InputError> {
        let drive =
            matches!(self.path.as_bytes(), [letter, b':', b'\\', _, ..] if letter.is_ascii_alphabetic());
        let share = self.path.strip_prefix(r"\\").is_some_and(|rest| {
            let parts: Vec<_> = rest.split('\\').collect();
            parts.len() >= 2 && !matches!(parts[0], "" | "." | "?") && !parts[1].is_empty()
        });
        let climbs = self.path.split(['\\', '/']).any(|part| part == "..");
        if !(drive || share) || climbs || self.path.len() > 200 || self.path.contains(char::is_control) {
            let rule = "use an absolute path without `..`, such as `C:\\certificates` or `\\\\server\\share`";
            return Err(InputError::setting("central_store.path", rule));
        }
        let password = self.password.expose();
        if password.is_empty()
            || password.len() > 1_024
            || !password.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        {
            let rule = "use 1 to 1024 printable ASCII characters";
            return Err(InputError::setting("central_store.password", rule));
        }
        Ok(())
    }
}

/// Names reach Windows as data, so that nothing in them has to be forbidden but what no name there holds.
pub(super) fn text(setting: &'static str, text: &str, most: usize) -> Result<(), InputError> {
    if text.trim().is_empty() || text.chars().count() > most || text.contains('\0') {
        let rule = format!("use 1 to {most} characters, none of them a zero byte");
        return Err(InputError::setting(setting, rule));
    }
    Ok(())
}

/// Describes a Windows machine; made by [`Windows::builder`].
#[derive(Debug, Clone)]
pub struct WindowsBuilder {
    settings: Settings,
    clock: Arc<dyn Clock>,
}

impl From<Settings> for WindowsBuilder {
    fn from(settings: Settings) -> Self {
        Self { settings, clock: Arc::new(SystemClock::default()) }
    }
}

impl WindowsBuilder {
    /// Puts certificates into this store of the machine. Defaults to `My`.
    #[must_use]
    pub fn store(mut self, store: impl Into<String>) -> Self {
        self.settings.store = store.into();
        self
    }

    /// Lets keys leave the machine again. Defaults to no.
    #[must_use]
    pub fn exportable(mut self, exportable: bool) -> Self {
        self.settings.exportable = exportable;
        self
    }

    /// Lets this account read the keys as well. Defaults to administrators alone.
    #[must_use]
    pub fn account(mut self, account: impl Into<String>) -> Self {
        self.settings.accounts.push(account.into());
        self
    }

    /// Begins friendly names with this. Defaults to nothing.
    #[must_use]
    pub fn friendly_name(mut self, name: impl Into<String>) -> Self {
        self.settings.friendly_name = Some(name.into());
        self
    }

    /// Shows certificates at this binding as well. Defaults to none.
    #[must_use]
    pub fn binding(mut self, binding: Binding) -> Self {
        self.settings.bindings.push(binding);
        self
    }

    /// Uses this central certificate store for the bindings that ask for it. Defaults to none.
    #[must_use]
    pub fn central_store(mut self, store: CentralStore) -> Self {
        self.settings.central_store = Some(store);
        self
    }

    /// Keeps this many superseded versions, 0 to 20, besides the one that the newest replaced, and removes older
    /// ones. Defaults to removing none.
    #[must_use]
    pub fn keep(mut self, keep: usize) -> Self {
        self.settings.keep = Some(keep);
        self
    }

    /// Answers HTTP challenges by files of this IIS site. Defaults to none.
    #[must_use]
    pub fn challenge_site(mut self, site: impl Into<String>) -> Self {
        self.settings.challenge_site = Some(site.into());
        self
    }

    /// Writes PFX files in this form. Defaults to [`Pfx::Modern`].
    #[must_use]
    pub fn pfx(mut self, pfx: Pfx) -> Self {
        self.settings.pfx = pfx;
        self
    }

    /// Stops a script after this time: 10 s to 10 min, in whole seconds, rounded up. Defaults to 3 min.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout_seconds = timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0);
        self
    }

    /// Tells the time, by which certificates of SSH servers are judged. Defaults to the system's clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Checks the settings and returns the deployer. Opens no connection and reads no file.
    ///
    /// # Errors
    ///
    /// Those of [`Windows::from_settings`].
    pub fn build(self) -> Result<Windows, InputError> {
        Windows::from_settings(self.settings, self.clock)
    }
}

#[cfg(test)]
impl From<WindowsBuilder> for Settings {
    fn from(builder: WindowsBuilder) -> Self {
        builder.settings
    }
}
