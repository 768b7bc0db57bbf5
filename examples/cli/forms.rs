//! Forms of certificate and key on the command line. Passwords come from files: others see a command line.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
};

use certlife::{Secret, keystore::Form};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::Failure;

/// A form by one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The leaf.
    PemCertificate,
    /// What follows the leaf.
    PemIntermediates,
    /// Leaf first, as servers send it.
    PemFullChain,
    /// Leaf last.
    PemRootFirst,
    /// The key in PKCS#8; encrypted with a password.
    PemKey,
    /// The key in PKCS#1 or SEC 1, for old programs.
    PemTraditionalKey,
    /// As `HAProxy` reads it; the key encrypted with a password.
    PemKeyAndFullChain,
    /// The other way round.
    PemFullChainAndKey,
    /// The leaf.
    DerCertificate,
    /// The key in PKCS#8; encrypted with a password.
    DerKey,
    /// The chain, in PEM.
    Pkcs7,
    /// The chain, in DER.
    Pkcs7Der,
    /// Key and chain, with AES-256 and SHA-256.
    Pkcs12,
    /// Key and chain, for Windows and Java from before 2018.
    Pkcs12Legacy,
    /// Key and chain, for Java before version 9.
    Jks,
}

/// Where a password and a name come from.
#[derive(Debug, Args)]
pub(crate) struct Protection {
    /// The file whose first line is the password.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<std::path::PathBuf>,
}

impl Protection {
    pub(crate) fn password(&self) -> Result<Option<Secret>, Failure> {
        let Some(path) = &self.password_file else { return Ok(None) };
        let text = fs::read_to_string(path).map_err(|error| file(path, error))?;
        let line = text.lines().next().unwrap_or_default();
        if line.is_empty() {
            return Err(Failure::Usage(format!("{}: the password is empty", path.display())));
        }
        Ok(Some(Secret::new(line)))
    }
}

impl Format {
    /// The form as the library takes it.
    pub(crate) fn form(self, password: Option<&Secret>, name: Option<&str>) -> Result<Form, Failure> {
        let mut settings = self.settings();
        let store = matches!(self, Self::Pkcs12 | Self::Pkcs12Legacy | Self::Jks);
        if let Some(password) = password {
            settings["password"] = json!(password.expose());
        } else if store {
            return Err(Failure::Usage(
                "this format needs a password: name its file with --password-file".into(),
            ));
        }
        if let Some(name) = name {
            settings[if self == Self::Jks { "alias" } else { "friendly_name" }] = json!(name);
        }
        // A format that was built out and a name where none belongs are refused here, by name.
        let form: Form =
            serde_json::from_value(settings).map_err(|error| Failure::Usage(error.to_string()))?;
        form.check()?;
        Ok(form)
    }

    fn settings(self) -> Value {
        match self {
            Self::PemCertificate => json!({ "format": "pem", "contents": "certificate" }),
            Self::PemIntermediates => json!({ "format": "pem", "contents": "intermediates" }),
            Self::PemFullChain => json!({ "format": "pem", "contents": "full-chain" }),
            Self::PemRootFirst => json!({ "format": "pem", "contents": "root-first" }),
            Self::PemKey => json!({ "format": "pem", "contents": "key" }),
            Self::PemTraditionalKey => json!({ "format": "pem", "contents": "key", "key": "traditional" }),
            Self::PemKeyAndFullChain => json!({ "format": "pem", "contents": "key-and-full-chain" }),
            Self::PemFullChainAndKey => json!({ "format": "pem", "contents": "full-chain-and-key" }),
            Self::DerCertificate => json!({ "format": "der", "contents": "certificate" }),
            Self::DerKey => json!({ "format": "der", "contents": "key" }),
            Self::Pkcs7 => json!({ "format": "pkcs7" }),
            Self::Pkcs7Der => json!({ "format": "pkcs7", "encoding": "der" }),
            Self::Pkcs12 => json!({ "format": "pkcs12" }),
            Self::Pkcs12Legacy => json!({ "format": "pkcs12", "protection": "legacy" }),
            Self::Jks => json!({ "format": "jks" }),
        }
    }
}

/// Writes to a file that does not exist yet, so that no link leads the key elsewhere and no mode is inherited.
pub(crate) fn write_secret(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(path).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    written.map_err(|error| file(path, error))
}

/// Writes what everybody may read.
pub(crate) fn write_open(path: &Path, content: &[u8]) -> Result<(), Failure> {
    fs::write(path, content).map_err(|error| file(path, error))
}

/// Reads files that are brought along; several are PEM, one after the other.
pub(crate) fn read_all(paths: &[std::path::PathBuf]) -> Result<certlife::SecretBytes, Failure> {
    let mut all = Vec::new();
    for path in paths {
        let bytes = certlife::SecretBytes::new(fs::read(path).map_err(|error| file(path, error))?);
        all.extend_from_slice(bytes.expose());
        if paths.len() > 1 {
            all.push(b'\n');
        }
    }
    Ok(certlife::SecretBytes::new(all))
}

fn file(path: &Path, error: std::io::Error) -> Failure {
    Failure::File(path.display().to_string(), error)
}
