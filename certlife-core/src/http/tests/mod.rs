//! The layer against servers on loopback, good and broken ones.

mod broken;
mod retrying;
mod secrets;
mod sending;
mod statuses;
mod telemetry;
mod tls;
mod tokens;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use url::Url;

use super::{Client, ClientBuilder};
use crate::{
    error::ProviderName,
    time::{Clock, Timestamp},
};

/// A clock that jumps to the end of each sleep at once, and remembers the sleeps.
#[derive(Debug)]
pub(in crate::http) struct TestClock {
    now: Mutex<Timestamp>,
    sleeps: Mutex<Vec<Duration>>,
}

impl TestClock {
    pub(in crate::http) fn new() -> Arc<Self> {
        let now = Mutex::new(Timestamp::parse("2026-01-15T09:30:00Z").unwrap());
        Arc::new(Self { now, sleeps: Mutex::default() })
    }

    pub(in crate::http) fn advance(&self, by: Duration) {
        let mut now = self.now.lock().unwrap();
        *now = *now + by;
    }

    pub(in crate::http) fn step_back(&self, by: Duration) {
        let mut now = self.now.lock().unwrap();
        *now = *now - by;
    }

    /// The sleeps that took time.
    fn sleeps(&self) -> Vec<Duration> {
        self.sleeps.lock().unwrap().clone()
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        let sleep = deadline.since(self.now());
        if !sleep.is_zero() {
            self.advance(sleep);
            self.sleeps.lock().unwrap().push(sleep);
        }
        tokio::task::yield_now().await;
    }
}

const NAME: ProviderName = ProviderName::new("testvendor");

/// Starts a client for `url` on a test clock.
fn builder(url: &str) -> (ClientBuilder, Arc<TestClock>) {
    let clock = TestClock::new();
    let builder =
        Client::builder(NAME).base_url(&Url::parse(url).unwrap()).clock(clock.clone()).jitter_seed(7);
    (builder, clock)
}

fn client(url: &str) -> (Client, Arc<TestClock>) {
    let (builder, clock) = builder(url);
    (builder.build().unwrap(), clock)
}

/// What a [`Broken`] server does with a connection after it has read a request.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// Sends this and closes.
    Say(&'static str),
    /// Closes without a word.
    Close,
    /// Sends this and then nothing more.
    Hang(&'static str),
    /// Sends this, and then bytes without end.
    Flood(&'static str),
}

const OK: Act = Act::Say("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");

/// A server that misbehaves as told: one act a request, the last one for all that follow.
struct Broken {
    url: String,
    requests: Arc<AtomicUsize>,
    flooded: Arc<AtomicUsize>,
}

impl Broken {
    async fn start(acts: &'static [Act]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/base", listener.local_addr().unwrap());
        let broken = Self { url, requests: Arc::default(), flooded: Arc::default() };
        let (requests, flooded) = (broken.requests.clone(), broken.flooded.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, acts, requests.clone(), flooded.clone()));
            }
        });
        broken
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn serve(
    mut stream: TcpStream,
    acts: &'static [Act],
    requests: Arc<AtomicUsize>,
    flooded: Arc<AtomicUsize>,
) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let number = requests.fetch_add(1, Ordering::SeqCst);
    match acts[number.min(acts.len() - 1)] {
        Act::Close => {}
        Act::Say(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
        Act::Hang(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            std::future::pending::<()>().await;
        }
        Act::Flood(text) => {
            let _ = stream.write_all(text.as_bytes()).await;
            while stream.write_all(&[b'x'; 1_024]).await.is_ok() {
                flooded.fetch_add(1_024, Ordering::SeqCst);
            }
        }
    }
}
