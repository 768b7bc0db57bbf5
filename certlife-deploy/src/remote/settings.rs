//! What a host says about an SSH server: where it is, who logs in, and how the server is recognized.

use std::{path::PathBuf, sync::Arc};

use certlife_core::{InputError, Result, Secret};
use russh::keys::{Certificate, PrivateKey, decode_secret_key};
use schemars::JsonSchema;
use serde::Deserialize;

use super::host_keys::{self, Trust};

/// An SSH server, and the login there.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Server {
    /// The server's name or address.
    pub host: String,
    /// The port. Defaults to 22.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1))]
    pub port: u16,
    /// The user to log in as.
    pub user: String,
    /// What proves that we are that user.
    pub login: Login,
    /// What proves that the server is the right one.
    pub host_key: HostKey,
}

fn default_port() -> u16 {
    22
}

/// What proves who logs in.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(tag = "method", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Login {
    /// A private key, with or without a certificate for it.
    Key {
        /// The private key as text: OpenSSH's form (`BEGIN OPENSSH PRIVATE KEY`), PKCS#8, SEC 1 or `PuTTY`'s. Ed25519
        /// and ECDSA; RSA with the feature `ssh-rsa` alone.
        private_key: Secret,
        /// The passphrase, if the key is encrypted.
        #[serde(default)]
        passphrase: Option<Secret>,
        /// The OpenSSH certificate of the user for this key, as one line (`ssh-ed25519-cert-v01@openssh.com …`).
        #[serde(default)]
        certificate: Option<String>,
    },
    /// A password. Servers that ask for it interactively get it as the answer to the only question.
    Password {
        /// The password.
        password: Secret,
    },
}

/// What proves that the server is the right one. Any of what is stated suffices; nothing is ever learnt from
/// the server itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct HostKey {
    /// Public keys as in `/etc/ssh/ssh_host_ed25519_key.pub`, or fingerprints as `ssh-keygen -l` prints them
    /// (`SHA256:…`). A key is better than a fingerprint: it says which of its keys the server has to show.
    #[serde(default)]
    pub pinned: Vec<String>,
    /// The text of a `known_hosts` file ([sshd(8)]), with patterns, hashed names, `@cert-authority` and `@revoked`.
    /// A server on another port than 22 is looked for as `[host]:port` alone.
    ///
    /// [sshd(8)]: https://man.openbsd.org/sshd.8#SSH_KNOWN_HOSTS_FILE_FORMAT
    #[serde(default)]
    pub known_hosts: Option<String>,
    /// The path of such a file on the host's machine, read anew for each connection.
    #[serde(default)]
    pub known_hosts_file: Option<PathBuf>,
}

impl Server {
    /// Names a server on port 22, the user, and the two proofs.
    pub fn new(host: impl Into<String>, user: impl Into<String>, login: Login, host_key: HostKey) -> Self {
        Self { host: host.into(), port: default_port(), user: user.into(), login, host_key }
    }

    /// Connects to another port. Defaults to 22.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }
}

impl Login {
    /// Logs in with a private key that is not encrypted.
    pub fn key(private_key: impl Into<Secret>) -> Self {
        Self::Key { private_key: private_key.into(), passphrase: None, certificate: None }
    }

    /// Logs in with an encrypted private key.
    pub fn encrypted_key(private_key: impl Into<Secret>, passphrase: impl Into<Secret>) -> Self {
        Self::Key { private_key: private_key.into(), passphrase: Some(passphrase.into()), certificate: None }
    }

    /// Logs in with a password.
    pub fn password(password: impl Into<Secret>) -> Self {
        Self::Password { password: password.into() }
    }

    /// Shows this OpenSSH certificate beside the key. A password has none: there it changes nothing.
    #[must_use]
    pub fn certificate(mut self, line: impl Into<String>) -> Self {
        if let Self::Key { certificate, .. } = &mut self {
            *certificate = Some(line.into());
        }
        self
    }
}

impl HostKey {
    /// Accepts these public keys or `SHA256:…` fingerprints.
    pub fn pinned<S: Into<String>>(keys: impl IntoIterator<Item = S>) -> Self {
        Self { pinned: keys.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Accepts what the text of a `known_hosts` file says.
    pub fn known_hosts(text: impl Into<String>) -> Self {
        Self { known_hosts: Some(text.into()), ..Self::default() }
    }

    /// Accepts what a `known_hosts` file says, read anew for each connection.
    pub fn known_hosts_file(path: impl Into<PathBuf>) -> Self {
        Self { known_hosts_file: Some(path.into()), ..Self::default() }
    }
}

/// A server whose settings were checked.
#[derive(Debug)]
pub(super) struct Hop {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) proof: Proof,
    pub(super) trust: Trust,
}

/// A login that was checked. Its `Debug` shows the secret of neither.
pub(super) enum Proof {
    Key { key: Arc<PrivateKey>, certificate: Option<Box<Certificate>> },
    Password(Secret),
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key { key, .. } => f
                .debug_tuple("Key")
                .field(&key.fingerprint(russh::keys::HashAlg::Sha256).to_string())
                .finish(),
            Self::Password(password) => f.debug_tuple("Password").field(password).finish(),
        }
    }
}

impl Hop {
    /// Checks the settings that stand under `name`.
    pub(super) fn new(name: &'static str, server: Server) -> Result<Self, InputError> {
        let wrong = |field: &str, rule: String| Err(InputError::setting(format!("{name}.{field}"), rule));
        let host = server.host.to_ascii_lowercase();
        let is_host = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:%".contains(&byte));
        if host.is_empty() || host.len() > 253 || !is_host || host.starts_with('-') {
            return wrong("host", "use a host name or an address, without port and brackets".to_owned());
        }
        if server.port == 0 {
            return wrong("port", "use 1 to 65535".to_owned());
        }
        let is_user = !server.user.chars().any(char::is_control);
        if server.user.is_empty() || server.user.len() > 256 || !is_user {
            return wrong("user", "use the name of a user of the server".to_owned());
        }
        let proof = match Proof::new(server.login) {
            Ok(proof) => proof,
            Err((field, rule)) => return wrong(&format!("login.{field}"), rule),
        };
        let trust = match host_keys::Trust::new(&host, server.port, server.host_key) {
            Ok(trust) => trust,
            Err((field, rule)) => return wrong(&format!("host_key{field}"), rule),
        };
        Ok(Self { host, port: server.port, user: server.user, proof, trust })
    }

    /// The server and the user, for people.
    pub(super) fn name(&self) -> String {
        match self.port {
            22 => format!("{}@{}", self.user, self.host),
            port if self.host.contains(':') => format!("{}@[{}]:{port}", self.user, self.host),
            port => format!("{}@{}:{port}", self.user, self.host),
        }
    }
}

impl Proof {
    fn new(login: Login) -> Result<Self, (&'static str, String)> {
        let (private_key, passphrase, certificate) = match login {
            Login::Key { private_key, passphrase, certificate } => (private_key, passphrase, certificate),
            Login::Password { password } if password.is_empty() => {
                return Err(("password", "it is empty".to_owned()));
            }
            Login::Password { password } => return Ok(Self::Password(password)),
        };
        let key = read_key(&private_key, passphrase.as_ref())?;
        let certificate = certificate.map(|line| read_certificate(&line, &key)).transpose()?;
        Ok(Self::Key { key: Arc::new(key), certificate: certificate.map(Box::new) })
    }
}

const RSA_NEEDS_FEATURE: &str = "RSA keys need the feature `ssh-rsa`, which brings in a crate with an open advisory \
                                 (RUSTSEC-2023-0071); use an Ed25519 or ECDSA key instead";

fn read_key(text: &Secret, passphrase: Option<&Secret>) -> Result<PrivateKey, (&'static str, String)> {
    if !cfg!(feature = "ssh-rsa") && text.expose().contains("BEGIN RSA PRIVATE KEY") {
        return Err(("private_key", RSA_NEEDS_FEATURE.to_owned()));
    }
    // What the library says about a key that it cannot read is no help to people, and may repeat parts of it.
    let key = decode_secret_key(text.expose(), passphrase.map(Secret::expose));
    let key = match (key, passphrase) {
        (Ok(key), _) if key.is_encrypted() => {
            return Err(("passphrase", "the private key is encrypted; state its passphrase".to_owned()));
        }
        (Ok(key), _) => key,
        (Err(_), Some(_)) => {
            let rule =
                "the passphrase does not open the private key, or the key is in none of the known forms";
            return Err(("passphrase", rule.to_owned()));
        }
        (Err(russh::keys::Error::KeyIsEncrypted), None) => {
            return Err(("passphrase", "the private key is encrypted; state its passphrase".to_owned()));
        }
        (Err(_), None) => {
            let rule = "use a private key in the form of OpenSSH, PKCS#8, SEC 1 or PuTTY, with its BEGIN and END lines";
            return Err(("private_key", rule.to_owned()));
        }
    };
    if key.algorithm().is_rsa() && !cfg!(feature = "ssh-rsa") {
        return Err(("private_key", RSA_NEEDS_FEATURE.to_owned()));
    }
    Ok(key)
}

fn read_certificate(line: &str, key: &PrivateKey) -> Result<Certificate, (&'static str, String)> {
    let wrong = |rule: &str| ("certificate", rule.to_owned());
    let certificate = Certificate::from_openssh(line.trim()).map_err(|_| {
        wrong("use the one line of an OpenSSH certificate, such as `ssh-ed25519-cert-v01@openssh.com …`")
    })?;
    if !certificate.cert_type().is_user() {
        return Err(wrong("it is the certificate of a host; use that of a user"));
    }
    if certificate.public_key() != key.public_key().key_data() {
        return Err(wrong("it is another key's"));
    }
    Ok(certificate)
}
