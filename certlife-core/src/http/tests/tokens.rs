//! Short-lived credentials.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

use super::{NAME, TestClock, builder};
use crate::{
    error::{Error, ErrorKind, Operation, Result, Retry},
    http::{FetchToken, Token, TokenSource},
    secret::Secret,
    time::Clock as _,
};

/// Hands out `token-1`, `token-2`, … after a moment, or fails when told to.
#[derive(Debug, Clone)]
struct Mint {
    clock: Arc<TestClock>,
    lasts: Option<Duration>,
    fetches: Arc<AtomicUsize>,
    failure: Arc<Mutex<Option<ErrorKind>>>,
}

impl Mint {
    fn new(lasts: Option<Duration>) -> (TokenSource, Self) {
        let clock = TestClock::new();
        let mint = Self { clock: clock.clone(), lasts, fetches: Arc::default(), failure: Arc::default() };
        (TokenSource::new(mint.clone(), clock), mint)
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    fn fail_with(&self, kind: Option<ErrorKind>) {
        *self.failure.lock().unwrap() = kind;
    }
}

#[async_trait]
impl FetchToken for Mint {
    async fn fetch(&self) -> Result<Token> {
        let number = self.fetches.fetch_add(1, Ordering::SeqCst) + 1;
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        if let Some(kind) = self.failure.lock().unwrap().clone() {
            return Err(Error::new(NAME, Operation::Probe, kind).because("told so"));
        }
        let expires = self.lasts.map(|lasts| self.clock.now() + lasts);
        Ok(Token { secret: Secret::from(format!("token-{number}")), expires })
    }
}

async fn text(source: &TokenSource) -> String {
    source.token().await.unwrap().expose().to_owned()
}

#[tokio::test]
async fn a_token_is_kept_and_replaced_before_it_ends() {
    let (source, mint) = Mint::new(Some(Duration::from_mins(10)));
    assert_eq!(text(&source).await, "token-1");
    mint.clock.advance(Duration::from_secs(539));
    assert_eq!(text(&source).await, "token-1");
    mint.clock.advance(Duration::from_secs(1));
    assert_eq!(text(&source.clone()).await, "token-2");
    assert_eq!(text(&source).await, "token-2");
    assert_eq!(mint.fetches(), 2);
}

#[tokio::test]
async fn a_token_without_end_stays_until_refused() {
    let (source, mint) = Mint::new(None);
    let first = source.token().await.unwrap();
    mint.clock.advance(Duration::from_hours(24 * 365));
    assert_eq!(text(&source).await, "token-1");
    source.invalidate(&first).await;
    assert_eq!(text(&source).await, "token-2");
    source.invalidate(&first).await;
    assert_eq!(text(&source).await, "token-2", "a late report about the old one does no harm");
}

#[tokio::test]
async fn one_caller_fetches_and_the_others_wait() {
    let (source, mint) = Mint::new(None);
    let all = futures_util::future::join_all((0..20).map(|_| text(&source))).await;
    assert!(all.iter().all(|token| token == "token-1"));
    assert_eq!(mint.fetches(), 1);
}

#[tokio::test]
async fn those_who_waited_share_the_failure() {
    let (source, mint) = Mint::new(None);
    mint.fail_with(Some(ErrorKind::Unauthorized));
    let all = futures_util::future::join_all((0..20).map(|_| source.token())).await;
    for outcome in all {
        let failed = outcome.unwrap_err();
        assert_eq!(
            failed.chain(),
            "testvendor: could not test the account: the credentials were refused: told so"
        );
    }
    assert_eq!(mint.fetches(), 1);
    mint.fail_with(None);
    assert_eq!(text(&source).await, "token-2", "the next caller asks again");
}

#[tokio::test]
async fn a_dropped_fetch_lets_the_next_caller_fetch() {
    let (source, mint) = Mint::new(None);
    let dropped = futures_util::future::select(Box::pin(source.token()), Box::pin(tokio::task::yield_now()));
    drop(dropped.await);
    assert_eq!((text(&source).await.as_str(), mint.fetches()), ("token-2", 2));
}

#[tokio::test]
async fn the_old_token_serves_to_its_end_if_the_refresh_fails() {
    let (source, mint) = Mint::new(Some(Duration::from_mins(10)));
    source.token().await.unwrap();
    mint.fail_with(Some(ErrorKind::Unavailable));
    mint.clock.advance(Duration::from_secs(550));
    assert_eq!((text(&source).await.as_str(), mint.fetches()), ("token-1", 2));
    assert_eq!((text(&source).await.as_str(), mint.fetches()), ("token-1", 2), "not at every call");
    mint.clock.advance(Duration::from_secs(49));
    assert_eq!((text(&source).await.as_str(), mint.fetches()), ("token-1", 3));
    mint.clock.advance(Duration::from_secs(1));
    let failed = source.token().await.unwrap_err();
    assert_eq!((failed.kind(), failed.retry()), (&ErrorKind::Unavailable, Retry::Backoff));
}

#[tokio::test]
async fn a_refused_token_is_replaced_and_the_request_sent_once_more() {
    let server = MockServer::start().await;
    let good = matchers::header("authorization", "Bearer token-2");
    Mock::given(good).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    Mock::given(matchers::any()).respond_with(ResponseTemplate::new(401)).mount(&server).await;
    let (source, mint) = Mint::new(None);
    let client = builder(&server.uri()).0.token(source).build().unwrap();
    client.post(Operation::PlaceOrder, &[]).send().await.unwrap();
    client.post(Operation::PlaceOrder, &[]).raw().send().await.unwrap();
    assert_eq!((mint.fetches(), server.received_requests().await.unwrap().len()), (2, 3));
}

#[tokio::test]
async fn a_second_refusal_is_final_and_shows_no_token() {
    let server = MockServer::start().await;
    let refusal = ResponseTemplate::new(401).set_body_string("token-1 and token-2 are bad");
    Mock::given(matchers::any()).respond_with(refusal).mount(&server).await;
    let (source, mint) = Mint::new(None);
    let client = builder(&server.uri()).0.token(source).build().unwrap();
    let failed = client.get(Operation::Probe, &[]).send().await.unwrap_err();
    assert_eq!((failed.kind(), failed.retry()), (&ErrorKind::Unauthorized, Retry::Never));
    assert!(failed.chain().contains("are bad") && !failed.chain().contains("token-"), "{}", failed.chain());
    assert_eq!((mint.fetches(), server.received_requests().await.unwrap().len()), (2, 2));
}

#[tokio::test]
async fn a_failed_fetch_sends_nothing() {
    let server = MockServer::start().await;
    let (source, mint) = Mint::new(None);
    mint.fail_with(Some(ErrorKind::Unavailable));
    let client = builder(&server.uri()).0.token(source).build().unwrap();
    let failed = client.get(Operation::FindZone, &[]).send().await.unwrap_err();
    assert_eq!((failed.kind(), failed.operation()), (&ErrorKind::Unavailable, Operation::Probe));
    client.get(Operation::FindZone, &[]).anonymous().send().await.unwrap_err();
    assert_eq!((mint.fetches(), server.received_requests().await.unwrap().len()), (1, 1));
}
