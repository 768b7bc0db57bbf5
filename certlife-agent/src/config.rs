//! The agent's configuration: which hub, under which name, and what the hub may ask for.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use certlife_core::{AccountName, Deployer, InputError, SystemClock};
use certlife_deploy::{
    agent::AgentWorker,
    local::{self, Local},
    windows::{self, Windows},
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _},
};
use url::Url;

/// What the configuration file says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Where the hub is: an `https` URL.
    pub hub: Url,
    /// The name under which the hub invited this agent.
    pub name: AccountName,
    /// The directory of the agent's own certificate and of outcomes that are to be reported: an absolute path. It is made
    /// if it does not exist, for the agent alone.
    pub state: PathBuf,
    /// The file with the hub's invitation. It is removed once it is used.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// A PEM file with the root certificates of the hub's TLS server. Defaults to the hub's own CA.
    #[serde(default)]
    pub roots: Option<PathBuf>,
    /// Targets of local files, by the name under which the hub may call them.
    #[serde(default)]
    pub local: Vec<Block<local::Settings>>,
    /// Targets of the certificate store and IIS of this machine, likewise. Their settings have no `connection`: the
    /// agent runs PowerShell itself.
    #[serde(default, deserialize_with = "on_this_machine")]
    pub windows: Vec<Block<windows::Settings>>,
}

/// One target.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Block<S> {
    /// What the hub calls it.
    pub name: AccountName,
    /// The settings of the target.
    pub settings: S,
}

impl<S: DeserializeOwned> Block<S> {
    /// Takes the name out. With `flatten` a setting that is not known would be passed over.
    fn read<E: serde::de::Error>(mut table: toml::Table) -> Result<Self, E> {
        let name = table.remove("name").ok_or_else(|| E::missing_field("name"))?;
        let name = name.try_into().map_err(E::custom)?;
        Ok(Self { name, settings: table.try_into().map_err(E::custom)? })
    }
}

impl<'de, S: DeserializeOwned> Deserialize<'de> for Block<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(toml::Table::deserialize(deserializer)?)
    }
}

/// Reads blocks whose machine is this one.
fn on_this_machine<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Block<windows::Settings>>, D::Error> {
    let tables = Vec::<toml::Table>::deserialize(deserializer)?;
    let blocks = tables.into_iter().map(|mut table| {
        let here = toml::Table::from_iter([("kind".to_owned(), "local".into())]);
        match table.insert("connection".to_owned(), here.into()) {
            None => Block::read(table),
            Some(_) => Err(D::Error::custom("leave `connection` out: the agent works on its own machine")),
        }
    });
    blocks.collect()
}

/// A configuration that cannot be used: which file, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The file is not TOML, lacks something, or has something that is not known.
    #[error("{} is not a configuration", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Where, and what was expected.
        #[source]
        cause: Box<toml::de::Error>,
    },
    /// A value breaks a rule.
    #[error("{place}")]
    Value {
        /// The part of the configuration.
        place: String,
        /// The value and the rule.
        #[source]
        cause: InputError,
    },
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Read`] and [`ConfigError::Form`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = read(path)?;
        toml::from_str(&text)
            .map_err(|cause| ConfigError::Form { path: path.to_owned(), cause: Box::new(cause) })
    }

    /// Checks the values and makes the agent. Opens no connection.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Value`] names the block, the value and the rule; [`ConfigError::Read`] if the roots cannot be read.
    pub fn agent(self) -> Result<AgentWorker, ConfigError> {
        let mut agent = AgentWorker::builder(self.hub, self.name, self.state);
        if let Some(path) = self.token_file {
            agent = agent.token_file(path);
        }
        if let Some(path) = self.roots {
            agent = agent.roots(read(&path)?);
        }
        let clock = Arc::new(SystemClock::default());
        let local = self.local.into_iter().map(|block| {
            let target = Local::from_settings(block.settings);
            (block.name, target.map(|target| Arc::new(target) as Arc<dyn Deployer>))
        });
        let windows = self.windows.into_iter().map(|block| {
            let target = Windows::from_settings(block.settings, clock.clone());
            (block.name, target.map(|target| Arc::new(target) as Arc<dyn Deployer>))
        });
        let mut names = BTreeSet::new();
        for (name, target) in local.chain(windows) {
            let fail = |cause| ConfigError::Value { place: format!("block {name}"), cause };
            if !names.insert(name.clone()) {
                return Err(fail(InputError::setting("name", "another block has this name")));
            }
            agent = agent.block(name.clone(), target.map_err(fail)?);
        }
        agent.build().map_err(|cause| ConfigError::Value { place: "the configuration".to_owned(), cause })
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|cause| ConfigError::Read { path: path.to_owned(), cause })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"
        hub = "https://certs.example.com:8443/"
        name = "web1"
        state = "/var/lib/certlife-agent"
        token_file = "/etc/certlife-agent/token"

        [[local]]
        name = "files"
        directory = "/etc/tls"
        reload = ["systemctl", "reload", "nginx"]

        [[local]]
        name = "mail"
        directory = "/etc/mail/tls"
        key_mode = "0640"

        [[windows]]
        name = "iis"
        store = "WebHosting"
    "#;

    fn message(text: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("agent.toml");
        fs::write(&path, text).unwrap();
        let error = Config::read(&path).and_then(Config::agent).err().unwrap();
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        format!("{error}: {cause}")
    }

    #[test]
    fn a_whole_configuration_makes_an_agent() {
        let config: Config = toml::from_str(WHOLE).unwrap();
        assert_eq!((config.local.len(), config.windows.len()), (2, 1));
        let agent = format!("{:?}", config.agent().unwrap());
        assert!(["files", "mail", "iis"].iter().all(|block| agent.contains(block)), "{agent}");
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_be_right() {
        for (instead, of, words) in [
            ("https://", "http://", "give an `https` URL"),
            ("\"mail\"", "\"files\"", "block files: setting `name`: another block has this name"),
            ("/etc/tls", "etc/tls", "block files: setting `directory`: use an absolute path"),
            ("0640", "0777", "block mail: setting `key_mode`"),
            ("token_file", "tokenfile", "unknown field `tokenfile`"),
            ("\"iis\"", "\"mail\"", "block mail: setting `name`: another block has this name"),
            ("store = ", "stores = ", "unknown field `stores`"),
            ("store = ", "timeout_seconds = 1\nstore = ", "block iis: setting `timeout_seconds`"),
            ("store = ", "connection = 1\nstore = ", "leave `connection` out"),
            ("reload", "command", "unknown field `command`"),
            ("\"/var/lib", "\"var/lib", "setting `state`: give an absolute path"),
        ] {
            assert!(WHOLE.contains(instead), "{instead}");
            let found = message(&WHOLE.replace(instead, of));
            assert!(found.contains(words), "{found}");
        }
        let bare = WHOLE.split("[[local]]").next().unwrap();
        assert!(message(bare).contains("1 to 64"), "{}", message(bare));
    }
}
