//! When a request is sent again, after which pause, and what is told in the end.

use std::time::Duration;

use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

use super::{Act, Broken, OK, builder, client};
use crate::{
    error::{ErrorKind, Operation, Retry},
    http::FailedExchange,
    time::Clock as _,
};

async fn answering(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(matchers::any()).respond_with(answer).mount(&server).await;
    server
}

async fn count(server: &MockServer) -> usize {
    server.received_requests().await.unwrap().len()
}

#[tokio::test]
async fn statuses_are_retried_by_what_is_safe() {
    for (status, replayable, requests, kind, retry) in [
        (429, true, 4, ErrorKind::RateLimited, Retry::Backoff),
        (429, false, 4, ErrorKind::RateLimited, Retry::Backoff),
        (408, true, 4, ErrorKind::Timeout, Retry::Backoff),
        (408, false, 1, ErrorKind::Uncertain, Retry::Never),
        (500, true, 4, ErrorKind::Unavailable, Retry::Backoff),
        (500, false, 1, ErrorKind::Uncertain, Retry::Never),
        (503, true, 4, ErrorKind::Unavailable, Retry::Backoff),
        (503, false, 1, ErrorKind::Uncertain, Retry::Never),
        (401, true, 1, ErrorKind::Unauthorized, Retry::Never),
    ] {
        let server = answering(ResponseTemplate::new(status)).await;
        let (client, clock) = client(&server.uri());
        let request = client.post(Operation::PlaceOrder, &[]).replayable(replayable);
        let failed = request.send().await.unwrap_err();
        assert_eq!((failed.kind(), failed.retry()), (&kind, retry), "{status} {replayable}");
        assert_eq!(count(&server).await, requests, "{status} {replayable}");
        assert_eq!(clock.sleeps().len(), requests - 1);
    }
}

#[tokio::test]
async fn methods_are_replayable_by_rfc_9110() {
    for (method, requests) in [("GET", 2), ("HEAD", 2), ("PUT", 2), ("DELETE", 2), ("POST", 1), ("PATCH", 1)]
    {
        let server = answering(ResponseTemplate::new(500)).await;
        let client = builder(&server.uri()).0.retries(2).build().unwrap();
        let method: crate::http::Method = method.parse().unwrap();
        client.request(method.clone(), Operation::Probe, &[]).send().await.unwrap_err();
        assert_eq!(count(&server).await, requests, "{method}");
    }
}

#[tokio::test]
async fn pauses_grow_and_the_failure_tells_attempts_and_time() {
    let server = answering(ResponseTemplate::new(502)).await;
    let (client, clock) = client(&server.uri());
    let failed = client.get(Operation::Probe, &[]).send().await.unwrap_err();
    let sleeps = clock.sleeps();
    for (sleep, whole) in sleeps.iter().zip([500, 1_000, 2_000]) {
        assert!(*sleep >= Duration::from_millis(whole / 2 - 1) && *sleep <= Duration::from_millis(whole));
    }
    let source = std::error::Error::source(&failed).unwrap().downcast_ref::<FailedExchange>().unwrap();
    assert_eq!((source.attempts(), source.elapsed()), (4, sleeps.iter().sum()));
}

#[tokio::test]
async fn retry_after_beats_the_back_off() {
    let server = MockServer::start().await;
    let seconds = ResponseTemplate::new(429).insert_header("retry-after", "20");
    Mock::given(matchers::any()).respond_with(seconds).up_to_n_times(1).mount(&server).await;
    let date = ResponseTemplate::new(503).insert_header("retry-after", "Thu, 15 Jan 2026 09:30:25 GMT");
    Mock::given(matchers::any()).respond_with(date).up_to_n_times(1).mount(&server).await;
    Mock::given(matchers::any()).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    let (client, clock) = client(&server.uri());
    client.get(Operation::Probe, &[]).send().await.unwrap();
    assert_eq!(clock.sleeps(), [Duration::from_secs(20), Duration::from_secs(5)]);
}

#[tokio::test]
async fn a_wait_beyond_the_deadline_is_returned_instead_of_slept() {
    let server = answering(ResponseTemplate::new(429).insert_header("retry-after", "20")).await;
    let (client, clock) = client(&server.uri());
    let failed = client.get(Operation::Probe, &[]).send().await.unwrap_err();
    assert_eq!(failed.retry(), Retry::After(Duration::from_secs(20)));
    assert_eq!(clock.sleeps().len(), 1, "the second 20 seconds do not fit into 30");
    assert_eq!(count(&server).await, 2);

    let failed = client.get(Operation::Probe, &[]).deadline(Duration::ZERO).send().await.unwrap_err();
    assert_eq!(failed.retry(), Retry::After(Duration::from_secs(20)));
    assert_eq!((clock.sleeps().len(), count(&server).await), (1, 3));
}

#[tokio::test]
async fn a_server_that_says_when_to_come_back_has_not_done_it() {
    let server = answering(ResponseTemplate::new(503).insert_header("retry-after", "7")).await;
    let (client, _) = client(&server.uri());
    let failed = client.post(Operation::PlaceOrder, &[]).send().await.unwrap_err();
    assert_eq!(failed.kind(), &ErrorKind::Unavailable);
    assert_eq!((failed.retry(), count(&server).await), (Retry::After(Duration::from_secs(7)), 1));
}

#[tokio::test]
async fn a_refused_connection_is_always_tried_again() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let (client, clock) = client(&format!("http://127.0.0.1:{port}"));
    let failed = client.post(Operation::PlaceOrder, &[]).send().await.unwrap_err();
    assert_eq!((failed.kind(), failed.retry()), (&ErrorKind::Unreachable, Retry::Backoff));
    assert_eq!(clock.sleeps().len(), 3);
}

#[tokio::test]
async fn a_lost_answer_is_uncertain_unless_replayable() {
    for acts in [
        &[Act::Close, OK],
        &[Act::Say("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart"), OK],
        &[Act::Say("\u{16}garbage that is no HTTP\r\n\r\n"), OK],
    ] {
        let server = Broken::start(acts).await;
        let (client, _) = client(&server.url);
        let failed = client.post(Operation::PlaceOrder, &[]).send().await.unwrap_err();
        assert_eq!((failed.kind(), failed.retry()), (&ErrorKind::Uncertain, Retry::Never), "{acts:?}");
        assert_eq!(server.requests(), 1, "{acts:?}");

        let server = Broken::start(acts).await;
        let (client, _) = self::client(&server.url);
        let answer = client.post(Operation::PlaceOrder, &[]).replayable(true).send().await.unwrap();
        assert_eq!((answer.text().unwrap(), server.requests()), ("ok", 2), "{acts:?}");
    }
}

#[tokio::test]
async fn a_slow_answer_is_uncertain_unless_replayable() {
    for acts in [&[Act::Hang(""), OK], &[Act::Hang("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nslow"), OK]]
    {
        let soon = Duration::from_millis(150);
        let server = Broken::start(acts).await;
        let (client, _) = client(&server.url);
        let failed = client.post(Operation::PlaceOrder, &[]).timeout(soon).send().await.unwrap_err();
        assert_eq!((failed.kind(), failed.retry()), (&ErrorKind::Uncertain, Retry::Never));
        assert_eq!(server.requests(), 1);

        let server = Broken::start(acts).await;
        let (client, _) = self::client(&server.url);
        client.get(Operation::Probe, &[]).timeout(soon).send().await.unwrap();
        assert_eq!(server.requests(), 2);
    }
    let server = Broken::start(&[Act::Hang("")]).await;
    let client = builder(&server.url).0.retries(1).build().unwrap();
    let request = client.get(Operation::Probe, &[]).timeout(Duration::from_millis(100));
    assert_eq!(request.send().await.unwrap_err().kind(), &ErrorKind::Timeout);
}

#[tokio::test]
async fn raw_keeps_the_rules_for_lost_answers() {
    let server = Broken::start(&[Act::Close, OK]).await;
    let (client, _) = client(&server.url);
    let failed = client.post(Operation::PlaceOrder, &[]).raw().send().await.unwrap_err();
    assert_eq!(failed.kind(), &ErrorKind::Uncertain);
    let server = Broken::start(&[Act::Close, OK]).await;
    let (client, _) = self::client(&server.url);
    client.get(Operation::Probe, &[]).raw().send().await.unwrap();
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn clones_share_the_rate_and_a_turn_too_late_is_told() {
    let server = answering(ResponseTemplate::new(200)).await;
    let (builder, clock) = builder(&server.uri());
    let client = builder.rate(2, Duration::from_secs(20)).build().unwrap();
    let start = clock.now();
    for _ in 0..4 {
        client.clone().get(Operation::Probe, &[]).send().await.unwrap();
    }
    assert_eq!(clock.now().since(start), Duration::from_secs(20), "two at once, two a period later");
    let failed = client.get(Operation::Probe, &[]).deadline(Duration::from_secs(5)).send().await.unwrap_err();
    assert_eq!(failed.kind(), &ErrorKind::RateLimited);
    assert_eq!((failed.retry(), count(&server).await), (Retry::After(Duration::from_secs(20)), 4));
}

#[tokio::test]
async fn retries_count_against_the_rate() {
    let server = answering(ResponseTemplate::new(500)).await;
    let (builder, clock) = builder(&server.uri());
    let client = builder.rate(1, Duration::from_secs(8)).build().unwrap();
    let start = clock.now();
    client.get(Operation::Probe, &[]).send().await.unwrap_err();
    assert_eq!(count(&server).await, 4);
    assert!(clock.now().since(start) >= Duration::from_secs(24));
}
