//! Servers that send too much, too little, or nonsense.

use std::sync::atomic::Ordering;

use base64::Engine as _;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

use super::{Act, Broken, builder, client};
use crate::error::{ErrorKind, Operation, Retry};

#[tokio::test]
async fn a_body_without_end_is_read_to_the_limit_only() {
    for head in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
    ] {
        let server = Broken::start(Box::leak(Box::new([Act::Flood(head)]))).await;
        let client = builder(&server.url).0.max_body(10_000).build().unwrap();
        let failed = client.get(Operation::Probe, &[]).send().await.unwrap_err();
        assert!(matches!(failed.kind(), ErrorKind::Protocol(what) if what.contains("10000")), "{failed:?}");
        assert_eq!((failed.retry(), server.requests()), (Retry::Backoff, 1));
        // What the socket buffers hold beyond the limit is all that is ever sent.
        assert!(server.flooded.load(Ordering::SeqCst) < 32 << 20);

        let failed = client.post(Operation::PlaceOrder, &[]).send().await.unwrap_err();
        assert_eq!(failed.retry(), Retry::Never, "the request was answered, so it must not be repeated");
    }
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_fine() {
    let server = Broken::start(&[super::OK]).await;
    let client = builder(&server.url).0.max_body(2).build().unwrap();
    assert_eq!(client.get(Operation::Probe, &[]).send().await.unwrap().text().unwrap(), "ok");
    let client = builder(&server.url).0.max_body(1).build().unwrap();
    client.get(Operation::Probe, &[]).send().await.unwrap_err();
}

#[tokio::test]
async fn a_compressed_body_counts_by_what_it_unpacks_to() {
    // 100 000 zeros, by `gzip -9n | base64`.
    let packed = "H4sIAAAAAAACA+3BMQEAAADCoPVPbQ0PoAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIBXA32VEdSghgEA";
    let packed = base64::engine::general_purpose::STANDARD.decode(packed).unwrap();
    assert!(packed.len() < 1_000);
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(200).insert_header("content-encoding", "gzip").set_body_bytes(packed);
    Mock::given(matchers::any()).respond_with(answer).mount(&server).await;
    let client = builder(&server.uri()).0.max_body(99_999).build().unwrap();
    let failed = client.get(Operation::Probe, &[]).send().await.unwrap_err();
    assert!(matches!(failed.kind(), ErrorKind::Protocol(what) if what.contains("99999")), "{failed:?}");
    let client = builder(&server.uri()).0.max_body(100_000).build().unwrap();
    assert_eq!(client.get(Operation::Probe, &[]).send().await.unwrap().bytes().len(), 100_000);
}

#[tokio::test]
async fn a_body_that_does_not_unpack_is_a_lost_answer() {
    let head = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope";
    let server = Broken::start(Box::leak(Box::new([Act::Say(head)]))).await;
    let (client, _) = client(&server.url);
    let failed = client.get(Operation::Probe, &[]).send().await.unwrap_err();
    assert_eq!(failed.kind(), &ErrorKind::Unavailable, "{failed:?}");
}

#[tokio::test]
async fn a_refusal_with_a_broken_body_is_still_a_refusal() {
    for act in [
        Act::Say("HTTP/1.1 400 Bad\r\ncontent-length: 100\r\n\r\nbecause"),
        Act::Flood("HTTP/1.1 400 Bad\r\nconnection: close\r\n\r\nbecause "),
    ] {
        let server = Broken::start(Box::leak(Box::new([act]))).await;
        let client = builder(&server.url).0.max_body(2_000).build().unwrap();
        let failed = client.post(Operation::PlaceOrder, &[]).send().await.unwrap_err();
        assert!(matches!(failed.kind(), ErrorKind::Rejected(words) if words.as_str().starts_with("because")));
        let failed = client.post(Operation::PlaceOrder, &[]).raw().send().await.unwrap_err();
        assert!(matches!(failed.kind(), ErrorKind::Uncertain | ErrorKind::Protocol(_)), "raw needs it whole");
    }
}

#[tokio::test]
async fn a_head_without_end_is_an_error() {
    let server = Broken::start(&[Act::Flood("HTTP/1.1 200 OK\r\nx: ")]).await;
    let client = builder(&server.url).0.retries(1).build().unwrap();
    let failed = client.get(Operation::Probe, &[]).send().await.unwrap_err();
    assert_eq!(failed.kind(), &ErrorKind::Unavailable, "{failed:?}");
}
