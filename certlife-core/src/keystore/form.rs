//! The forms as settings, and what each asks of its password.

use schemars::JsonSchema;
use serde::Deserialize;

#[cfg(any(feature = "jks", feature = "pkcs12"))]
use super::FriendlyName;
use crate::{input::InputError, secret::Secret};

/// A form of certificate and key, as settings carry it: `{"format": "pem", "contents": "full-chain"}`.
///
/// Passwords are secrets, so that it cannot be serialized.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(tag = "format", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Form {
    /// PEM text (RFC 7468), with line feeds.
    Pem {
        /// What is in it, in which order.
        contents: PemContents,
        /// The form of the key, where there is one. Defaults to `pkcs8`.
        #[serde(default)]
        key: KeyEncoding,
        /// Encrypts the key: PBES2 with PBKDF2-HMAC-SHA-256 and AES-256 (RFC 8018). Defaults to none.
        #[serde(default)]
        password: Option<Secret>,
    },
    /// One thing in DER.
    Der {
        /// Which thing.
        contents: DerContents,
        /// Encrypts the key, as in PEM. Defaults to none.
        #[serde(default)]
        password: Option<Secret>,
    },
    /// PKCS#7 with certificates and nothing else (RFC 5652 §5), leaf first: `.p7b`, which Windows and Java import.
    Pkcs7 {
        /// PEM or DER. Defaults to `pem`.
        #[serde(default)]
        encoding: Pkcs7Encoding,
    },
    /// PKCS#12 (RFC 7292) with key and chain: `.pfx`, `.p12`.
    #[cfg(feature = "pkcs12")]
    Pkcs12 {
        /// Protects the key and the whole. Printable ASCII, because tools disagree on how other characters are
        /// encoded and Java refuses them.
        password: Secret,
        /// Which algorithms. Defaults to `modern`.
        #[serde(default)]
        protection: Protection,
        /// The friendly name of certificate and key, which Java takes as the alias. Defaults to the leaf's first identifier.
        #[serde(default)]
        friendly_name: Option<FriendlyName>,
    },
    /// A Java key store of the old kind, with key and chain: `.jks`. Java 9 and newer read PKCS#12 as well.
    #[cfg(feature = "jks")]
    Jks {
        /// Protects the entry and the whole. At least six characters of printable ASCII, as `keytool` asks. The format
        /// itself protects weakly: salted SHA-1.
        password: Secret,
        /// The alias of the entry, written in lower case as `keytool` does. Defaults to the leaf's first identifier.
        #[serde(default)]
        alias: Option<FriendlyName>,
    },
}

/// What a PEM text holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PemContents {
    /// The leaf.
    Certificate,
    /// What follows the leaf in the chain; empty if there is nothing.
    Intermediates,
    /// The leaf and what follows it, each signed by the next: what TLS servers send.
    FullChain,
    /// The chain the other way round, the leaf last.
    RootFirst,
    /// The private key.
    Key,
    /// The private key, then the full chain.
    KeyAndFullChain,
    /// The full chain, then the private key.
    FullChainAndKey,
}

/// The form of a private key in PEM.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum KeyEncoding {
    /// PKCS#8 version 1, which every tool reads: `BEGIN PRIVATE KEY`.
    #[default]
    Pkcs8,
    /// PKCS#1 for RSA and SEC 1 for ECDSA, which old programs expect: `BEGIN RSA PRIVATE KEY`. Not for Ed25519, and not with a password.
    Traditional,
}

/// What a DER file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DerContents {
    /// The leaf.
    Certificate,
    /// The private key in PKCS#8.
    Key,
}

/// The encoding of PKCS#7.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Pkcs7Encoding {
    /// Text: `BEGIN PKCS7`.
    #[default]
    Pem,
    /// Bytes.
    Der,
}

/// The algorithms of PKCS#12.
#[cfg(feature = "pkcs12")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Protection {
    /// PBES2 with AES-256, and a MAC with SHA-256: for Windows 10 1709, Windows Server 2019, Java 8u301, OpenSSL 1.0 and newer.
    #[default]
    Modern,
    /// Triple DES and SHA-1 (RFC 7292 appendix C), for what is older. OpenSSL 3 reads it with `-legacy` only.
    Legacy,
}

impl Form {
    /// PEM without a password.
    pub fn pem(contents: PemContents) -> Self {
        Self::Pem { contents, key: KeyEncoding::default(), password: None }
    }

    /// Whether the bytes hold the private key, encrypted or not, so that few may read them.
    pub fn holds_key(&self) -> bool {
        match self {
            Self::Pem { contents, .. } => contents.holds_key(),
            Self::Der { contents, .. } => *contents == DerContents::Key,
            Self::Pkcs7 { .. } => false,
            #[cfg(feature = "pkcs12")]
            Self::Pkcs12 { .. } => true,
            #[cfg(feature = "jks")]
            Self::Jks { .. } => true,
        }
    }

    /// The password, if there is one.
    pub fn password(&self) -> Option<&Secret> {
        match self {
            Self::Pem { password, .. } | Self::Der { password, .. } => password.as_ref(),
            Self::Pkcs7 { .. } => None,
            #[cfg(feature = "pkcs12")]
            Self::Pkcs12 { password, .. } => Some(password),
            #[cfg(feature = "jks")]
            Self::Jks { password, .. } => Some(password),
        }
    }

    /// Checks what can be checked before there is a certificate, as when settings are read.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] names the field and the rule.
    pub fn check(&self) -> Result<(), InputError> {
        match self {
            Self::Pem { key: KeyEncoding::Traditional, password: Some(_), .. } => Err(InputError::setting(
                "key",
                "use `pkcs8` with a password: traditional keys have no encryption that is worth the name",
            )),
            Self::Pem { key: KeyEncoding::Traditional, contents, .. } if !contents.holds_key() => {
                Err(InputError::setting("key", "leave it out where `contents` holds no key"))
            }
            Self::Pem { password: Some(_), .. } | Self::Der { password: Some(_), .. }
                if !self.holds_key() =>
            {
                Err(InputError::setting("password", "leave it out where `contents` holds no key"))
            }
            Self::Pem { password: Some(password), .. } | Self::Der { password: Some(password), .. } => {
                password_of(password, 1, false)
            }
            Self::Pem { .. } | Self::Der { .. } | Self::Pkcs7 { .. } => Ok(()),
            #[cfg(feature = "pkcs12")]
            Self::Pkcs12 { password, .. } => password_of(password, 1, true),
            #[cfg(feature = "jks")]
            Self::Jks { password, .. } => password_of(password, 6, true),
        }
    }
}

impl PemContents {
    fn holds_key(self) -> bool {
        matches!(self, Self::Key | Self::KeyAndFullChain | Self::FullChainAndKey)
    }
}

/// The longest password that OpenSSL takes (`PEM_BUFSIZE`).
const MAX_PASSWORD: usize = 1_024;

fn password_of(password: &Secret, least: usize, ascii: bool) -> Result<(), InputError> {
    let text = password.expose();
    let plain =
        |character: char| if ascii { matches!(character, ' '..='~') } else { !character.is_control() };
    if (least..=MAX_PASSWORD).contains(&text.len()) && text.chars().all(plain) {
        return Ok(());
    }
    let characters = if ascii { "printable ASCII characters" } else { "bytes without control characters" };
    Err(InputError::setting("password", format!("use {least} to {MAX_PASSWORD} {characters}")))
}
