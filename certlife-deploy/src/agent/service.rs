//! The hub as a service: requests of agents, each checked before anything is read of it.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    error::Error as StdError,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use certlife_core::{AccountName, CertificateInfo, Error, Fingerprint};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Body;
use rustls_pki_types::CertificateDer;
use serde::{Serialize, de::DeserializeOwned};
use tower_service::Service;

use super::{
    hub::{AgentHub, Change},
    record::{Enrolment, Issued, Reported, TokenHash},
    wire::{
        Certified, Enrol, Fetch, Given, MAX_BLOCKS, MAX_HOLDING, MAX_REQUEST, MAX_WAIT, Outcome, Refusal,
        RefusalCode, Renew, WorkId,
    },
};

/// How long an agent may take to send a request that it has begun.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The certificate that a client showed in the handshake, and proved to have the key for.
///
/// Whoever runs the TLS server puts it into the extensions of each request, as [`AgentListener`](super::AgentListener)
/// does. Nothing else has to be checked of it: the hub knows the certificates that it has issued.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "TLS servers outside this crate build it")]
pub struct PeerCertificate(pub CertificateDer<'static>);

type Answered<T> = Result<T, Refused>;

/// Who asks, and by which certificate.
struct Caller {
    agent: AccountName,
    certificate: Fingerprint,
}

/// A refusal on its way out.
struct Refused(StatusCode, RefusalCode, String);

impl Refused {
    fn enrol_again(why: &str) -> Self {
        let message = format!("{why}; invite this agent again, and give it the new token");
        Self(StatusCode::UNAUTHORIZED, RefusalCode::EnrolAgain, message)
    }

    fn malformed(what: &str) -> Self {
        Self(StatusCode::BAD_REQUEST, RefusalCode::Malformed, what.to_owned())
    }
}

impl From<Error> for Refused {
    /// What is wrong here is the host's business, and in its log.
    fn from(error: Error) -> Self {
        tracing::error!(error = %error.chain(), "an agent could not be answered");
        let message = "the hub cannot answer now; try again later".to_owned();
        Self(StatusCode::SERVICE_UNAVAILABLE, RefusalCode::Unavailable, message)
    }
}

impl<B> Service<Request<B>> for AgentHub
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let hub = self.clone();
        Box::pin(async move { Ok(hub.answer(request).await.unwrap_or_else(refuse)) })
    }
}

impl AgentHub {
    async fn answer<B>(&self, request: Request<B>) -> Answered<Response<Full<Bytes>>>
    where
        B: Body + Send,
        B::Data: Send,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let path = request.uri().path().trim_start_matches('/').to_owned();
        let Some(path) = path.strip_prefix("v1/").filter(|_| *request.method() == Method::POST) else {
            return Err(nothing_here());
        };
        if path == "enrol" {
            return Ok(json(StatusCode::OK, &self.enrol(read(request).await?).await?));
        }
        let caller = self.recognise(request.extensions().get()).await?;
        match path.split_once('/') {
            None if path == "renew" => {
                Ok(json(StatusCode::OK, &self.renew(&caller, read(request).await?).await?))
            }
            None if path == "work" => {
                Ok(json(StatusCode::OK, &self.fetch(&caller, read(request).await?).await?))
            }
            Some(("work", id)) => {
                let id = id.parse().map_err(|_| Refused::malformed("this is no work id"))?;
                self.report(&caller, &id, read(request).await?).await?;
                Ok(json(StatusCode::OK, &()))
            }
            _ => Err(nothing_here()),
        }
    }

    /// Finds out who asks: an agent whose certificate is one that the hub gave it and has not taken back.
    async fn recognise(&self, shown: Option<&PeerCertificate>) -> Answered<Caller> {
        let stranger = || Refused::enrol_again("this certificate is not known here");
        let shown = shown.ok_or_else(|| Refused::enrol_again("a client certificate is needed"))?;
        let info = CertificateInfo::read(&shown.0).map_err(|_| stranger())?;
        let name = info.subject.as_str().strip_prefix("CN=").and_then(|name| AccountName::new(name).ok());
        let agent = name.ok_or_else(stranger)?;
        let now = self.0.clock.now();
        let known = self.change(&agent, |record| {
            Ok(match record.recognise(info.sha256, now) {
                Some(true) => Change::Store(true),
                Some(false) => Change::Keep(true),
                None => Change::Keep(false),
            })
        });
        match known.await? {
            Some(true) => Ok(Caller { agent, certificate: info.sha256 }),
            _ if info.not_after < now => Err(Refused::enrol_again("this certificate has expired")),
            _ => Err(stranger()),
        }
    }

    async fn enrol(&self, asked: Enrol) -> Answered<Certified> {
        let refused = || {
            let message = "the invitation is not for this agent, was used, or is over".to_owned();
            Refused(StatusCode::FORBIDDEN, RefusalCode::InvitationRefused, message)
        };
        let (token, now) = (TokenHash::of(&asked.token), self.0.clock.now());
        let authority = &self.0.authority;
        // A key that cannot be certified must not cost the invitation.
        let certify =
            || authority.certify(&asked.agent, &asked.csr, Some(token.clone()), now, self.0.lifetime);
        let issued = certify().map_err(|_| Refused::malformed("an agent's key is on P-256"))?;
        let admitted = self.change(&asked.agent, |record| {
            Ok(match record.enrolment(&token, asked.csr.public_key_hash(), now) {
                Enrolment::Refused => Change::Keep(None),
                Enrolment::Again(before) => Change::Keep(Some(*before)),
                Enrolment::Welcome => {
                    record.enrolled(issued.clone());
                    Change::Store(Some(issued.clone()))
                }
            })
        });
        let issued = admitted.await?.flatten().ok_or_else(refused)?;
        tracing::info!(agent = %asked.agent, expires = %issued.not_after, "an agent has enrolled");
        Ok(self.certified(issued))
    }

    async fn renew(&self, Caller { agent, .. }: &Caller, asked: Renew) -> Answered<Certified> {
        let now = self.0.clock.now();
        let lifetime = self.0.lifetime;
        let next = self.0.authority.certify(agent, &asked.csr, None, now, lifetime);
        let next = next.map_err(|_| Refused::malformed("an agent's key is on P-256"))?;
        let renewed = self.change(agent, |record| {
            // The answer may have been lost; a certificate that is still young is as good as another.
            let fresh_until = now + lifetime / 2;
            if let Some(before) = record.renewed_before(asked.csr.public_key_hash(), fresh_until) {
                return Ok(Change::Keep(before.clone()));
            }
            record.renewed(next.clone());
            Ok(Change::Store(next.clone()))
        });
        let issued = renewed.await?.ok_or_else(|| Refused::enrol_again("this agent was removed"))?;
        Ok(self.certified(issued))
    }

    fn certified(&self, issued: Issued) -> Certified {
        Certified { certificate: issued.pem, authority: self.0.authority.pem().to_owned() }
    }

    /// Gives out what there is to do, as soon as there is something.
    async fn fetch(&self, Caller { agent, certificate }: &Caller, asked: Fetch) -> Answered<Given> {
        if asked.blocks.len() > MAX_BLOCKS || asked.holding.len() > MAX_HOLDING {
            return Err(Refused::malformed("more blocks or work than an agent can have"));
        }
        let clock = &self.0.clock;
        let until = clock.now() + Duration::from_secs(asked.wait_seconds).min(MAX_WAIT);
        let holding: BTreeSet<_> = asked.holding.into_iter().collect();
        let presence = self.presence(agent);
        let mut news = presence.listen();
        loop {
            let now = clock.now();
            presence.latest().seen = Some(now);
            let open = self.change(agent, |record| {
                // The certificate may have been taken back since the request came in.
                if record.recognise(*certificate, now).is_none() {
                    return Ok(Change::Keep(None));
                }
                let tidied = record.tidy(now);
                let items = record.open(&holding, now);
                if record.blocks == asked.blocks && !tidied {
                    return Ok(Change::Keep(Some(items)));
                }
                record.blocks.clone_from(&asked.blocks);
                Ok(Change::Store(Some(items)))
            });
            let over = || Refused::enrol_again("this certificate is not good any more");
            let items = open.await?.flatten().ok_or_else(over)?;
            if !items.is_empty() || now >= until {
                return Ok(Given { items });
            }
            tokio::select! {
                _ = news.changed() => {}
                () = clock.sleep_until(until.min(now + self.0.look_every)) => {}
            }
        }
    }

    async fn report(&self, Caller { agent, .. }: &Caller, id: &WorkId, outcome: Outcome) -> Answered<()> {
        let now = self.0.clock.now();
        self.presence(agent).latest().seen = Some(now);
        let reported = self.change(agent, |record| {
            Ok(match record.report(id, &outcome, now) {
                Reported::Taken => Change::Store(Reported::Taken),
                other => Change::Keep(other),
            })
        });
        match reported.await? {
            Some(Reported::Taken | Reported::Repeated) => {
                self.presence(agent).ring(id);
                Ok(())
            }
            Some(Reported::Unknown) | None => {
                let message = "this work was never given to this agent, or is over".to_owned();
                Err(Refused(StatusCode::NOT_FOUND, RefusalCode::UnknownWork, message))
            }
        }
    }
}

/// Reads a request, within bounds.
async fn read<T, B>(request: Request<B>) -> Answered<T>
where
    T: DeserializeOwned,
    B: Body + Send,
    B::Data: Send,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let body = Limited::new(request.into_body(), MAX_REQUEST).collect();
    let body = tokio::time::timeout(READ_TIMEOUT, body)
        .await
        .map_err(|_| Refused::malformed("it takes too long"))?;
    let body = body.map_err(|_| Refused::malformed("it is larger than 1 MiB, or was cut off"))?;
    serde_json::from_slice(&body.to_bytes()).map_err(|_| Refused::malformed("it is not what is sent here"))
}

fn nothing_here() -> Refused {
    let message = "agents of this version are served by POST below /v1/".to_owned();
    Refused(StatusCode::NOT_FOUND, RefusalCode::UnknownPath, message)
}

fn refuse(Refused(status, code, message): Refused) -> Response<Full<Bytes>> {
    json(status, &Refusal { code, message: message.as_str().into() })
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(serde_json::to_vec(value).unwrap_or_default()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}
