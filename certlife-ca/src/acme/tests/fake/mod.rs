//! A strict ACME server in this process: it verifies every signature, nonce, URL and media type, keeps the
//! state of RFC 8555 §7.1.6, and misbehaves on request.

pub(crate) mod issuer;
pub(crate) mod jws;
mod rounds;
mod server;
mod world;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use hyper::StatusCode;
use serde_json::Value;

pub(crate) use self::{rounds::Rounds, world::World};

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Directory,
    NewNonce,
    NewAccount,
    Account,
    KeyChange,
    NewOrder,
    Order,
    Authorization,
    Challenge,
    Finalize,
    Certificate,
    Revoke,
    RenewalInfo,
}

/// What befalls one request.
pub(crate) enum Mishap {
    /// It has its effect, and the connection breaks.
    LoseAnswer,
    /// It has no effect; this comes instead.
    Instead { status: u16, media_type: &'static str, body: String, retry_after: Option<u64> },
    /// It has its effect, and nonsense comes with a status that means success.
    Garble,
    /// It takes this long.
    Slow(Duration),
    /// It has its effect, and the answer is changed on the way.
    Edit(Box<dyn FnOnce(&mut Answer) + Send>),
}

impl Mishap {
    pub(crate) fn throttle(wait: Option<Duration>) -> Self {
        Self::problem(429, "rateLimited", wait.map(|wait| wait.as_secs()))
    }

    pub(crate) fn problem(status: u16, name: &str, retry_after: Option<u64>) -> Self {
        let body = format!(r#"{{"type":"urn:ietf:params:acme:error:{name}","detail":"words about {name}"}}"#);
        Self::Instead { status, media_type: "application/problem+json", body, retry_after }
    }

    /// Changes the JSON of an answer.
    pub(crate) fn json(edit: impl FnOnce(&mut Value) + Send + 'static) -> Self {
        Self::Edit(Box::new(move |answer| {
            let mut value = serde_json::from_str(&answer.body).unwrap();
            edit(&mut value);
            answer.body = value.to_string();
        }))
    }
}

/// An answer on its way.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// The server; it runs until the test ends.
pub(crate) struct Fake {
    pub(crate) url: String,
    world: Mutex<World>,
    mishaps: Mutex<Vec<(Step, Mishap)>>,
    requests: Mutex<BTreeMap<Step, u64>>,
    total: AtomicU64,
    pub(crate) rounds: Option<Arc<Rounds>>,
}

impl Fake {
    pub(crate) async fn start() -> Arc<Self> {
        server::start(None).await
    }

    /// One that counts round trips.
    pub(crate) async fn counting() -> Arc<Self> {
        server::start(Some(Rounds::start())).await
    }

    pub(crate) fn directory(&self) -> String {
        format!("{}/dir", self.url)
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Lets `mishap` befall the next request for `step`; several queue up.
    pub(crate) fn befall(&self, step: Step, mishap: Mishap) {
        self.mishaps.lock().unwrap().push((step, mishap));
    }

    fn mishap(&self, step: Step) -> Option<Mishap> {
        let mut mishaps = self.mishaps.lock().unwrap();
        let place = mishaps.iter().position(|(of, _)| *of == step)?;
        Some(mishaps.remove(place).1)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.total.load(Ordering::SeqCst)
    }

    pub(crate) fn requests_for(&self, step: Step) -> u64 {
        self.requests.lock().unwrap().get(&step).copied().unwrap_or(0)
    }

    pub(crate) fn rounds(&self) -> usize {
        self.rounds.as_ref().unwrap().count()
    }

    fn count(&self, step: Step) {
        self.total.fetch_add(1, Ordering::SeqCst);
        *self.requests.lock().unwrap().entry(step).or_default() += 1;
    }
}
