//! The line to the hub: enrolled once, mutual TLS from then on, renewed in time.

use std::{path::PathBuf, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use certlife_core::{
    AccountName, CertificateInfo, Clock, Csr, CsrTemplate, DnsName, Error, ErrorKind, Fingerprint, Operation,
    PrivateKey, Result, Retry, Secret, Timestamp,
    http::{Client, Refinement, Settings},
    tls,
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tokio::sync::Mutex;
use url::Url;

use super::{
    super::{
        AGENT, TOKEN_PREFIX,
        wire::{Certified, Enrol, MAX_ANSWER, Refusal, RefusalCode, Renew},
    },
    home::{Home, Identity, failed},
    on_disk,
};

/// How long the first look at the hub may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long after a failed renewal it is tried again.
const RENEW_AGAIN: Duration = Duration::from_mins(5);
/// The most of a token file that is read.
const MAX_TOKEN: usize = 1_024;

/// A connection to the hub under one certificate.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) client: Client,
    /// Counts the certificates that were used.
    pub(super) generation: u64,
    renew_at: Timestamp,
    not_after: Timestamp,
}

/// What it takes to connect.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) hub: Url,
    pub(super) agent: AccountName,
    pub(super) home: Home,
    pub(super) token_file: Option<PathBuf>,
    /// Whom to trust as the hub's server, in place of the hub's own CA.
    pub(super) roots: Option<String>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    line: Option<Line>,
    generation: u64,
    /// The hub does not know the certificate any more.
    refused: bool,
}

impl Connector {
    /// The line to use now. Enrols if the agent is nobody yet, and renews what is due.
    pub(super) async fn line(&self) -> Result<Line> {
        let mut state = self.state.lock().await;
        let now = self.clock.now();
        if let Some(line) = state.line.clone().filter(|_| !state.refused) {
            if now < line.renew_at {
                return Ok(line);
            }
            match self.renew(&line).await {
                Ok(()) => tracing::info!(agent = %self.agent, "the agent's certificate was renewed"),
                Err(error) if *error.kind() == ErrorKind::Unauthorized => {
                    state.refused = true;
                    return Err(error);
                }
                Err(error) if now < line.not_after => {
                    tracing::warn!(error = %error.chain(), "the agent's certificate could not be renewed yet");
                    let later = Line { renew_at: now + RENEW_AGAIN, ..line };
                    state.line = Some(later.clone());
                    return Ok(later);
                }
                Err(error) => return Err(error),
            }
        } else if state.refused || self.on_home(Home::identity).await?.is_none() {
            match self.enrol().await {
                Ok(()) => tracing::info!(agent = %self.agent, hub = %self.hub, "the agent has enrolled"),
                // Something between here and the hub may have refused it; so it is shown again, until there is an invitation.
                Err(error) if state.refused => {
                    tracing::error!(error = %error.chain(), "the hub does not know this agent, which cannot enrol again");
                }
                Err(error) => return Err(error),
            }
        }
        let identity = self.on_home(Home::identity).await?.ok_or_else(nobody)?;
        state.generation += 1;
        state.refused = false;
        let line = self.connect(&identity, state.generation).await?;
        state.line = Some(line.clone());
        Ok(line)
    }

    /// Passes on what came over a line. If the hub does not know its certificate the agent has to enrol again; unless
    /// another is in use since, which ended this one: then nothing is wrong, and nothing came.
    pub(super) async fn heard<T>(&self, line: &Line, heard: Result<T>) -> Result<Option<T>> {
        match heard {
            Err(error) if *error.kind() == ErrorKind::Unauthorized => {
                let mut state = self.state.lock().await;
                if state.generation != line.generation {
                    return Ok(None);
                }
                state.refused = true;
                Err(error)
            }
            heard => heard.map(Some),
        }
    }

    async fn connect(&self, identity: &Identity, generation: u64) -> Result<Line> {
        let mut settings = self.settings(self.on_home(Home::authority).await?)?;
        settings.client_identity = Some(identity.pem.clone());
        let client = self.client(&settings)?;
        let lifetime = identity.not_after.since(identity.not_before);
        let renew_at = identity.not_before + lifetime / 3 * 2;
        Ok(Line { client, generation, renew_at, not_after: identity.not_after })
    }

    fn settings(&self, authority: Option<String>) -> Result<Settings> {
        let mut settings = Settings::default();
        settings.roots = Some(self.roots.clone().or(authority).ok_or_else(nobody)?);
        settings.only_roots = true;
        Ok(settings)
    }

    fn client(&self, settings: &Settings) -> Result<Client> {
        let client = Client::builder(AGENT)
            .base_url(&self.hub)
            .settings(settings)
            .clock(Arc::clone(&self.clock))
            .max_body(MAX_ANSWER)
            // The loops above this wait and try again by themselves.
            .retries(1)
            .refine(|answer| refusal(answer.json()?));
        client.build().map_err(|input| Error::input(Operation::Configure, input))
    }

    // ---- certificates ----

    async fn enrol(&self) -> Result<()> {
        let token = self.token().await?;
        let known = self.on_home(Home::authority).await?;
        let authority = match known.filter(|pem| is(pem, token.authority)) {
            Some(pem) => pem,
            None if self.roots.is_some() => String::new(),
            None => self.find_authority(token.authority).await?,
        };
        let client = self.client(&self.settings(Some(authority))?)?;
        let key = self.on_home(Home::next_key).await?;
        let asked =
            Enrol { agent: self.agent.clone(), token: token.secret.expose().to_owned(), csr: request(&key)? };
        let request = client.post(Operation::Enrol, &["v1", "enrol"]).hide(&token.secret).json(&asked);
        let certified: Certified = request.replayable(true).send().await?.json()?;
        if !is(&certified.authority, token.authority) {
            return Err(untrusted("the hub names another CA than the invitation"));
        }
        self.accept(certified, key).await?;
        if let Some(path) = &self.token_file {
            // It is used up; whoever put it there may have kept it from us to remove.
            let _ = tokio::fs::remove_file(path).await;
        }
        Ok(())
    }

    async fn renew(&self, line: &Line) -> Result<()> {
        let key = self.on_home(Home::next_key).await?;
        let asked = Renew { csr: request(&key)? };
        let request = line.client.post(Operation::Enrol, &["v1", "renew"]).json(&asked);
        let certified: Certified = request.replayable(true).send().await?.json()?;
        self.accept(certified, key).await
    }

    /// Takes a certificate that is for our key, and keeps it with the CA.
    async fn accept(&self, certified: Certified, key: PrivateKey) -> Result<()> {
        let leaf = CertificateDer::from_pem_slice(certified.certificate.as_bytes()).ok();
        let info = leaf.and_then(|leaf| CertificateInfo::read(&leaf).ok());
        if info
            .is_none_or(|info| info.key_hash != key.public_key_hash() || !info.is_valid_at(self.clock.now()))
        {
            return Err(untrusted(
                "the hub sent a certificate that is not for this agent's key, or not good now",
            ));
        }
        self.on_home(move |home| {
            home.trust(&certified.authority)?;
            home.become_certified(&certified.certificate, &key)
        })
        .await
    }

    async fn token(&self) -> Result<Token> {
        let need = |what: String| {
            Error::new(AGENT, Operation::Enrol, ErrorKind::Unauthorized)
                .retry_as(Retry::Backoff)
                .because(what)
        };
        let path = self.token_file.clone().ok_or_else(|| need("no token file is configured".to_owned()))?;
        let read = tokio::fs::read_to_string(&path).await;
        let text = Secret::new(match read {
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                return Err(need(format!("put an invitation of the hub into {}", path.display())));
            }
            read => read.map_err(|cause| failed("read", &path, cause))?,
        });
        let token = Some(text.expose()).filter(|text| text.len() <= MAX_TOKEN).and_then(Token::read);
        token.ok_or_else(|| need(format!("what is in {} is no invitation of a hub", path.display())))
    }

    /// Finds the hub's CA among the certificates that the hub shows, by the digest in the invitation. Nothing is sent
    /// before it is found.
    async fn find_authority(&self, wanted: Fingerprint) -> Result<String> {
        let unreachable = || Error::new(AGENT, Operation::Enrol, ErrorKind::Unreachable);
        let host = self.hub.host_str().unwrap_or_default();
        let port = self.hub.port_or_known_default().unwrap_or(443);
        let name: Option<DnsName> = self.hub.domain().and_then(|domain| domain.parse().ok());
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let addresses =
            tokio::net::lookup_host((bare, port)).await.map_err(|cause| unreachable().because(cause))?;
        let mut last = unreachable();
        for address in addresses {
            match tls::served_chain(address, name.as_ref(), HANDSHAKE).await {
                Ok(chain) => {
                    let ours = |der: &&CertificateDer<'_>| {
                        CertificateInfo::read(der).is_ok_and(|info| info.sha256 == wanted && info.is_ca)
                    };
                    if let Some(found) = chain.certificates().find(ours) {
                        return Ok(pem(found));
                    }
                    last = untrusted("the hub does not show the CA that the invitation names");
                }
                Err(error) => last = unreachable().because(error),
            }
        }
        Err(last)
    }

    async fn on_home<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Home) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let home = self.home.clone();
        on_disk(move || work(&home)).await
    }
}

/// An invitation, taken apart.
struct Token {
    secret: Secret,
    authority: Fingerprint,
}

impl Token {
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.trim().splitn(3, '.');
        if parts.next()? != TOKEN_PREFIX {
            return None;
        }
        let secret = Secret::new(parts.next().filter(|secret| secret.len() == 43)?);
        Some(Self { secret, authority: parts.next()?.parse().ok()? })
    }
}

/// A signing request for a key. The hub takes nothing from it but the key: it knows the agent's name.
fn request(key: &PrivateKey) -> Result<Csr> {
    // RFC 6761 §6.4: a name that is nobody's.
    let nobody = "agent.invalid".parse().map_err(|input| Error::input(Operation::Enrol, input))?;
    CsrTemplate::new([nobody]).sign(key)
}

/// What the hub means by a refusal.
fn refusal(refusal: Refusal) -> Option<Refinement> {
    let refinement = |kind| Some(Refinement::new(kind));
    match refusal.code {
        RefusalCode::EnrolAgain => Some(Refinement::new(ErrorKind::Unauthorized).retry_as(Retry::Never)),
        RefusalCode::InvitationRefused => refinement(ErrorKind::Forbidden(refusal.message)),
        // Kinds that no status stands for, so that it is the hub that said so and nothing between.
        RefusalCode::UnknownWork | RefusalCode::Malformed => {
            refinement(ErrorKind::NotNow(refusal.message.as_str().to_owned().into()))
        }
        RefusalCode::UnknownPath => refinement(ErrorKind::Unsupported("this version of the protocol".into())),
        RefusalCode::Unavailable => refinement(ErrorKind::Unavailable),
    }
}

fn is(pem: &str, wanted: Fingerprint) -> bool {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok();
    der.and_then(|der| CertificateInfo::read(&der).ok()).is_some_and(|info| info.sha256 == wanted)
}

fn pem(der: &CertificateDer<'_>) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

fn untrusted(what: &'static str) -> Error {
    Error::new(AGENT, Operation::Enrol, ErrorKind::BadCertificate(what.into())).retry_as(Retry::Backoff)
}

fn nobody() -> Error {
    let kind = ErrorKind::NotNow("this agent has not enrolled".into());
    Error::new(AGENT, Operation::Enrol, kind).retry_as(Retry::Backoff)
}
