//! Protocols that begin in the clear: what is said until TLS starts (STARTTLS).
//!
//! The server is anybody, so whatever it says is bounded in length, number of lines and time, and nothing that it
//! sends ahead of TLS is carried into TLS: a server, or somebody between, that goes on talking after the go-ahead is
//! refused ([CVE-2011-0411](https://nvd.nist.gov/vuln/detail/CVE-2011-0411) and its kin).

mod imap;
mod ldap;
mod pop3;
mod postgresql;
mod smtp;
mod talk;
#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use self::talk::Talk;
use super::failed;
use crate::{
    error::{Error, ErrorKind, Result, Retry},
    text::VendorText,
};

/// A protocol that begins in the clear and switches to TLS on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum StartTls {
    /// Mail transfer: STARTTLS ([RFC 3207](https://www.rfc-editor.org/rfc/rfc3207)).
    Smtp,
    /// Mailboxes: STARTTLS ([RFC 9051 §6.2.1](https://www.rfc-editor.org/rfc/rfc9051#section-6.2.1)).
    Imap,
    /// Mailboxes: STLS ([RFC 2595 §4](https://www.rfc-editor.org/rfc/rfc2595#section-4)).
    Pop3,
    /// Directories: `StartTLS` ([RFC 4511 §4.14](https://www.rfc-editor.org/rfc/rfc4511#section-4.14)).
    Ldap,
    /// Databases: `SSLRequest` ([Message flow, "SSL Session Encryption"](https://www.postgresql.org/docs/current/protocol-flow.html)).
    PostgreSql,
}

impl StartTls {
    /// The text form, as in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::Ldap => "ldap",
            Self::PostgreSql => "postgresql",
        }
    }

    /// Talks to a server over a fresh connection until TLS is to start on it, and gives the connection back for
    /// [`served_over`](super::served_over). `patience` spans the whole conversation; dropping the future closes the
    /// connection.
    ///
    /// # Errors
    ///
    /// * [`ErrorKind::Unsupported`]: the server does not offer TLS.
    /// * [`ErrorKind::Rejected`]: it offers TLS and refuses to start it now, or refuses to talk at all.
    /// * [`ErrorKind::Protocol`]: it does not speak the protocol, says too much, goes on talking after the go-ahead, or
    ///   ends the connection.
    /// * [`ErrorKind::Timeout`]: it stalls.
    pub async fn negotiate<S>(self, stream: S, patience: Duration) -> Result<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let mut talk = Talk::new(stream);
        let conversation = async {
            match self {
                Self::Smtp => smtp::start(&mut talk).await?,
                Self::Imap => imap::start(&mut talk).await?,
                Self::Pop3 => pop3::start(&mut talk).await?,
                Self::Ldap => ldap::start(&mut talk).await?,
                Self::PostgreSql => postgresql::start(&mut talk).await?,
            }
            talk.end()
        };
        timeout(patience, conversation).await.unwrap_or_else(|_| Err(failed(ErrorKind::Timeout)))
    }
}

impl fmt::Display for StartTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The server does not offer TLS.
fn not_offered(protocol: StartTls) -> Error {
    failed(ErrorKind::Unsupported(format!("STARTTLS at this {protocol} server").into()))
}

/// The server understands and refuses, for now.
fn refused(words: &str) -> Error {
    failed(ErrorKind::Rejected(VendorText::new(words))).retry_as(Retry::Backoff)
}

/// Whether `word` comes first in `text`, in any case.
fn begins_with(text: &str, word: &str) -> bool {
    text.split(' ').next().is_some_and(|first| first.eq_ignore_ascii_case(word))
}
