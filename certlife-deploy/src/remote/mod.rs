//! SSH connections to targets: one way in for every deployer that works on another machine.
//!
//! A connection is opened for one call of a deployer and closed after it, so that nothing has to be kept alive
//! or mended in between. A server is believed only if its key was stated; commands are given as lists of words
//! and quoted in one place.
//!
//! <https://www.rfc-editor.org/rfc/rfc4251>, <https://man.openbsd.org/sshd.8>

mod host_keys;
pub(crate) mod quote;
mod session;
mod settings;
mod sftp;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

use certlife_core::{Clock, Error, ErrorKind, InputError, Operation, ProviderName, Result};
use russh::{
    Preferred,
    client::{self, AuthResult, KeyboardInteractiveAuthResponse},
    keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

use self::{
    host_keys::Accepted,
    settings::{Hop, Proof},
};

pub use self::settings::{HostKey, Login, Server};
pub(crate) use self::{
    session::{Exit, Limits, Output, Session},
    sftp::{Refusal, Sftp},
};

/// How long a server may be silent until it is asked for a sign of life, and how many are waited for.
const KEEP_ALIVE: (Duration, usize) = (Duration::from_secs(15), 3);
/// How often an interactive login is answered: a first question, and one more that may be empty.
const MAX_QUESTIONS: usize = 4;

/// The way to a server, whose settings were checked.
#[derive(Debug)]
pub(crate) struct Route {
    server: Hop,
    jump: Option<Hop>,
    patience: Duration,
    clock: Arc<dyn Clock>,
}

impl Route {
    /// Checks the settings `server` and `jump`, and `connect_timeout_seconds`, 1 to 300, for each of the two.
    pub(crate) fn new(
        server: Server,
        jump: Option<Server>,
        connect_timeout_seconds: u64,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, InputError> {
        if !(1..=300).contains(&connect_timeout_seconds) {
            return Err(InputError::setting("connect_timeout_seconds", "use 1 to 300 seconds"));
        }
        Ok(Self {
            server: Hop::new("server", server)?,
            jump: jump.map(|jump| Hop::new("jump", jump)).transpose()?,
            patience: Duration::from_secs(connect_timeout_seconds),
            clock,
        })
    }

    /// The user and the server, for people: `deploy@www.example.org`.
    pub(crate) fn name(&self) -> String {
        self.server.name()
    }

    /// Connects and logs in.
    pub(crate) async fn open(&self) -> Result<Session, Refused> {
        let Some(jump) = &self.jump else {
            let handle = self.enter(&self.server, self.dial(&self.server)).await?;
            return Ok(Session::new(handle, None, self.server.name()));
        };
        let over = self.enter(jump, self.dial(jump)).await.map_err(|refused| refused.at_jump(jump))?;
        let (host, port) = (self.server.host.clone(), u32::from(self.server.port));
        let forwarded = async {
            // The address of the one who asks is information for the log of the jump host, and ours is no news.
            let channel = over.channel_open_direct_tcpip(host, port, "127.0.0.1", 0).await;
            channel.map(russh::Channel::into_stream).map_err(|cause| not_forwarded(&cause))
        };
        let handle = self.enter(&self.server, forwarded).await?;
        Ok(Session::new(handle, Some(over), self.server.name()))
    }

    async fn dial(&self, hop: &Hop) -> Result<TcpStream, Refused> {
        let stream = TcpStream::connect((hop.host.as_str(), hop.port)).await;
        let stream = stream.map_err(|cause| {
            Refused::because(ErrorKind::Unreachable, format!("{}:{}: {cause}", hop.host, hop.port))
        })?;
        // Requests are small and each waits for its answer.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    /// Makes a stream, shakes hands over it and logs in.
    async fn enter<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        hop: &Hop,
        stream: impl Future<Output = Result<S, Refused>>,
    ) -> Result<client::Handle<Gate>, Refused> {
        let entering = async {
            let accepted = hop.trust.accepted().await.map_err(Refused::from)?;
            let config = Arc::new(client::Config {
                preferred: Preferred {
                    key: accepted.algorithms().into(),
                    host_key_certificates: accepted.certificate_algorithms().into(),
                    ..Preferred::default()
                },
                keepalive_interval: Some(KEEP_ALIVE.0),
                keepalive_max: KEEP_ALIVE.1,
                ..client::Config::default()
            });
            let gate = Gate { accepted, clock: Arc::clone(&self.clock) };
            let mut handle = client::connect_stream(config, stream.await?, gate).await?;
            log_in(&mut handle, hop).await?;
            Ok(handle)
        };
        timeout(self.patience, entering).await.unwrap_or_else(|_| {
            let words = format!("{}: no connection within {} s", hop.name(), self.patience.as_secs());
            Err(Refused::because(ErrorKind::Timeout, words))
        })
    }
}

/// Proves who we are.
async fn log_in(handle: &mut client::Handle<Gate>, hop: &Hop) -> Result<(), Refused> {
    let user = hop.user.clone();
    let (outcome, what) = match &hop.proof {
        Proof::Key { key, certificate: Some(certificate) } => {
            let outcome =
                handle.authenticate_openssh_cert(user, Arc::clone(key), certificate.as_ref().clone()).await?;
            (outcome, format!("the certificate {:?}", certificate.key_id()))
        }
        Proof::Key { key, certificate: None } => {
            let hash = if key.algorithm().is_rsa() {
                handle.best_supported_rsa_hash().await?.flatten()
            } else {
                None
            };
            let shown = PrivateKeyWithHashAlg::new(Arc::clone(key), hash);
            let outcome = handle.authenticate_publickey(user, shown).await?;
            (outcome, format!("the key {}", key.fingerprint(russh::keys::HashAlg::Sha256)))
        }
        Proof::Password(password) => {
            let mut outcome = handle.authenticate_password(user.clone(), password.expose()).await?;
            let asks = |outcome: &AuthResult| {
                matches!(outcome, AuthResult::Failure { remaining_methods, .. }
                    if remaining_methods.contains(&russh::MethodKind::KeyboardInteractive)
                        && !remaining_methods.contains(&russh::MethodKind::Password))
            };
            if asks(&outcome) {
                outcome = answer(handle, user, password.expose()).await?;
            }
            (outcome, "the password".to_owned())
        }
    };
    match outcome {
        AuthResult::Success => Ok(()),
        AuthResult::Failure { partial_success: true, .. } => {
            let words = format!("{}: {what} is right, but the server wants a second proof", hop.name());
            Err(Refused::because(ErrorKind::Unauthorized, words))
        }
        AuthResult::Failure { remaining_methods, .. } => {
            let takes: Vec<&str> = remaining_methods.iter().map(Into::into).collect();
            let words = format!("{}: {what} was refused; the server takes {takes:?}", hop.name());
            Err(Refused::because(ErrorKind::Unauthorized, words))
        }
    }
}

/// Answers the only question of an interactive login (RFC 4256) with the password.
async fn answer(
    handle: &mut client::Handle<Gate>,
    user: String,
    password: &str,
) -> Result<AuthResult, Refused> {
    let mut asked = handle.authenticate_keyboard_interactive_start(user, None).await?;
    for _ in 0..MAX_QUESTIONS {
        let answers = match asked {
            KeyboardInteractiveAuthResponse::Success => return Ok(AuthResult::Success),
            KeyboardInteractiveAuthResponse::Failure { remaining_methods, partial_success } => {
                return Ok(AuthResult::Failure { remaining_methods, partial_success });
            }
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => match prompts.len() {
                0 => Vec::new(),
                1 => vec![password.to_owned()],
                _ => break,
            },
        };
        asked = handle.authenticate_keyboard_interactive_respond(answers).await?;
    }
    let words = "the server asks for more than a password";
    Err(Refused::because(ErrorKind::Unauthorized, words.to_owned()))
}

/// Looks at the key that a server shows.
pub(super) struct Gate {
    accepted: Arc<Accepted>,
    clock: Arc<dyn Clock>,
}

impl client::Handler for Gate {
    type Error = Refused;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Refused> {
        self.accepted.check(shown, self.clock.now())?;
        Ok(true)
    }
}

/// Why there is no session: what went wrong, and the words of whoever said so.
#[derive(Debug)]
pub(crate) struct Refused {
    kind: ErrorKind,
    cause: Option<String>,
}

impl Refused {
    fn because(kind: ErrorKind, cause: String) -> Self {
        Self { kind, cause: Some(cause) }
    }

    fn at_jump(mut self, jump: &Hop) -> Self {
        let cause = self.cause.take().map_or_else(String::new, |cause| format!(": {cause}"));
        self.cause = Some(format!("at the jump host {}{cause}", jump.name()));
        self
    }

    /// The error of a provider that was doing something.
    pub(crate) fn error(self, provider: ProviderName, operation: Operation) -> Error {
        let error = Error::new(provider, operation, self.kind);
        match self.cause {
            Some(cause) => error.because(Words(cause)),
            None => error,
        }
    }
}

impl From<ErrorKind> for Refused {
    fn from(kind: ErrorKind) -> Self {
        Self { kind, cause: None }
    }
}

impl From<russh::Error> for Refused {
    fn from(cause: russh::Error) -> Self {
        let kind = match &cause {
            russh::Error::NoCommonAlgo { .. } => {
                ErrorKind::Protocol("the server and we have no algorithm in common".into())
            }
            russh::Error::IO(_)
            | russh::Error::HUP
            | russh::Error::Disconnect
            | russh::Error::SendError
            | russh::Error::RecvError => ErrorKind::Unreachable,
            russh::Error::ConnectionTimeout
            | russh::Error::KeepaliveTimeout
            | russh::Error::InactivityTimeout
            | russh::Error::Elapsed(_) => ErrorKind::Timeout,
            _ => ErrorKind::Protocol("the server does not speak SSH as we do".into()),
        };
        Self::because(kind, cause.to_string())
    }
}

fn not_forwarded(cause: &russh::Error) -> Refused {
    let words = "the jump host makes no connection to the server".to_owned();
    match cause {
        russh::Error::ChannelOpenFailure(russh::ChannelOpenFailure::AdministrativelyProhibited) => {
            Refused::because(ErrorKind::Forbidden("to connect through the jump host".into()), words)
        }
        cause => Refused::because(ErrorKind::Unreachable, format!("{words}: {cause}")),
    }
}

/// Words as a cause, made safe to print.
#[derive(Debug)]
struct Words(String);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        certlife_core::VendorText::new(&self.0).fmt(f)
    }
}

impl std::error::Error for Words {}
