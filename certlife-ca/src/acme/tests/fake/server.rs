//! The wire: HTTP, nonces, signatures.

use std::{convert::Infallible, fmt, io, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Answer, Fake, Mishap, Rounds, Step, World, jws::Jws, world::Signer};

pub(super) async fn start(rounds: Option<Arc<Rounds>>) -> Arc<Fake> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let fake = Arc::new(Fake {
        world: World::new(url.clone()).into(),
        url,
        mishaps: Vec::new().into(),
        requests: std::collections::BTreeMap::new().into(),
        total: 0.into(),
        rounds,
    });
    let serving = fake.clone();
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            let fake = serving.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| handle(fake.clone(), request));
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    fake
}

/// Ends the connection without an answer.
#[derive(Debug)]
struct HangUp;

impl fmt::Display for HangUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection breaks")
    }
}

impl std::error::Error for HangUp {}

impl From<Infallible> for HangUp {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<io::Error> for HangUp {
    fn from(_: io::Error) -> Self {
        Self
    }
}

async fn handle(fake: Arc<Fake>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, HangUp> {
    let path = request.uri().path().to_owned();
    let step = step(&path);
    if let Some(step) = step {
        fake.count(step);
    }
    if let Some(rounds) = &fake.rounds {
        rounds.wait().await;
    }
    let method = request.method().clone();
    let media_type =
        request.headers().get("content-type").and_then(|value| value.to_str().ok().map(str::to_owned));
    assert!(request.headers().contains_key("user-agent"), "RFC 8555 §6.1");
    let body = request.into_body().collect().await.map_err(|_| HangUp)?.to_bytes();
    let Some(step) = step else { return Ok(finish(problem(404, "malformed", "no such page"), None)) };

    let mut edit = None;
    let (mut lose, mut garble) = (false, false);
    match fake.mishap(step) {
        Some(Mishap::Instead { status, media_type, body, retry_after }) => {
            let mut answer = Answer {
                status: StatusCode::from_u16(status).unwrap(),
                headers: vec![("content-type".into(), media_type.into())],
                body,
            };
            answer.headers.extend(retry_after.map(|wait| ("retry-after".into(), wait.to_string())));
            return Ok(finish(answer, Some(fake.world().nonce())));
        }
        Some(Mishap::Slow(time)) => tokio::time::sleep(time).await,
        Some(Mishap::LoseAnswer) => lose = true,
        Some(Mishap::Garble) => garble = true,
        Some(Mishap::Edit(change)) => edit = Some(change),
        None => {}
    }
    let mut world = fake.world();
    let mut answer = answer(&mut world, step, &method, &path, media_type.as_deref(), &body);
    // `GET` of the directory and of renewal information bring no nonce here, as at most CAs.
    let nonce = (!matches!(step, Step::Directory | Step::RenewalInfo)).then(|| world.nonce());
    drop(world);
    if lose {
        return Err(HangUp);
    }
    if garble {
        answer.body = "this is { not JSON".into();
        answer.status = StatusCode::OK;
    }
    if let Some(edit) = edit {
        edit(&mut answer);
    }
    Ok(finish(answer, nonce))
}

fn step(path: &str) -> Option<Step> {
    let first = path.split('/').nth(1)?;
    Some(match first {
        "dir" => Step::Directory,
        "nonce" => Step::NewNonce,
        "new-account" => Step::NewAccount,
        "account" => Step::Account,
        "key-change" => Step::KeyChange,
        "new-order" => Step::NewOrder,
        "order" => Step::Order,
        "authz" => Step::Authorization,
        "challenge" => Step::Challenge,
        "finalize" => Step::Finalize,
        "certificate" => Step::Certificate,
        "revoke" => Step::Revoke,
        "renewal-info" => Step::RenewalInfo,
        _ => return None,
    })
}

fn answer(
    world: &mut World,
    step: Step,
    method: &Method,
    path: &str,
    media_type: Option<&str>,
    body: &[u8],
) -> Answer {
    match step {
        Step::Directory => return world.directory(),
        Step::NewNonce => return Answer { status: StatusCode::OK, headers: Vec::new(), body: String::new() },
        Step::RenewalInfo => return world.renewal_info(path.rsplit('/').next().unwrap_or_default()),
        _ => {}
    }
    if method != Method::POST {
        return problem(405, "malformed", "RFC 8555 §6.3 wants POST");
    }
    if media_type != Some("application/jose+json") {
        return problem(415, "malformed", "RFC 8555 §6.2 wants application/jose+json");
    }
    let Some(jws) = Jws::read(body) else { return problem(400, "malformed", "not a flattened JWS") };
    let url = format!("{}{path}", world.url);
    if jws.header["url"] != url.as_str() {
        return problem(403, "unauthorized", "the URL in the JWS is another one");
    }
    if !world.spend(jws.header["nonce"].as_str()) {
        return problem(400, "badNonce", "unknown nonce");
    }
    let signer = match (jws.header["kid"].as_str(), &jws.header["jwk"]) {
        (Some(kid), Value::Null) => match world.account_at(kid) {
            None => return problem(400, "accountDoesNotExist", "no such account"),
            Some(account) if !jws.is_by(&world.accounts[account].jwk) => {
                return problem(400, "malformed", "JWS verification error");
            }
            Some(account) if world.accounts[account].deactivated => {
                return problem(403, "unauthorized", "the account is deactivated");
            }
            Some(account) => Signer::Account(account),
        },
        (None, jwk @ Value::Object(_)) if jws.is_by(jwk) => Signer::Key(jwk.clone()),
        _ => return problem(400, "malformed", "exactly one of kid and jwk, and a good signature"),
    };
    world.perform(step, path, &signer, &jws)
}

pub(super) fn problem(status: u16, name: &str, detail: &str) -> Answer {
    let body =
        json!({ "type": format!("urn:ietf:params:acme:error:{name}"), "detail": detail, "status": status });
    Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers: vec![("content-type".into(), "application/problem+json".into())],
        body: body.to_string(),
    }
}

fn finish(answer: Answer, nonce: Option<String>) -> Response<Full<Bytes>> {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers.into_iter().chain(nonce.map(|nonce| ("replay-nonce".into(), nonce))) {
        response = response.header(name, value);
    }
    response.body(Full::from(answer.body)).unwrap()
}
