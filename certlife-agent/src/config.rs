//! The agent's configuration: which hub, under which name, and what the hub may ask for.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use certlife_core::{AccountName, Deployer, InputError};
use certlife_deploy::{
    agent::AgentWorker,
    local::{Local, Settings},
};
use serde::{Deserialize, Deserializer, de::Error as _};
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
    pub local: Vec<LocalBlock>,
}

/// One target of local files.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LocalBlock {
    /// What the hub calls it.
    pub name: AccountName,
    /// The settings of the target.
    pub settings: Settings,
}

/// Not derived: with `flatten` a setting that is not known would be passed over.
impl<'de> Deserialize<'de> for LocalBlock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut table = toml::Table::deserialize(deserializer)?;
        let name = table.remove("name").ok_or_else(|| D::Error::missing_field("name"))?;
        let name = name.try_into().map_err(D::Error::custom)?;
        Ok(Self { name, settings: table.try_into().map_err(D::Error::custom)? })
    }
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
        let mut names = BTreeSet::new();
        for LocalBlock { name, settings } in self.local {
            let fail = |cause| ConfigError::Value { place: format!("block {name}"), cause };
            if !names.insert(name.clone()) {
                return Err(fail(InputError::setting("name", "another block has this name")));
            }
            let local: Arc<dyn Deployer> = Arc::new(Local::from_settings(settings).map_err(fail)?);
            agent = agent.block(name, local);
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
        assert_eq!(config.local.len(), 2);
        let agent = format!("{:?}", config.agent().unwrap());
        assert!(agent.contains("files") && agent.contains("mail"), "{agent}");
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_be_right() {
        for (instead, of, words) in [
            ("https://", "http://", "give an `https` URL"),
            ("\"mail\"", "\"files\"", "block files: setting `name`: another block has this name"),
            ("/etc/tls", "etc/tls", "block files: setting `directory`: use an absolute path"),
            ("0640", "0777", "block mail: setting `key_mode`"),
            ("token_file", "tokenfile", "unknown field `tokenfile`"),
            ("[[local]]", "[[windows]]", "unknown field `windows`"),
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
