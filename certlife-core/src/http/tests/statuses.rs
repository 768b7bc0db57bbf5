//! What an answer means: by status, by refinement, by what its body turns out to be.

use serde::Deserialize;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

use super::{builder, client};
use crate::{
    error::{ErrorKind, Operation, Retry},
    http::{Answer, Client, FailedExchange, Refinement, StatusCode},
    text::VendorText,
};

#[derive(Debug, Deserialize, PartialEq)]
struct Zone {
    id: u32,
}

async fn answering(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(matchers::any()).respond_with(answer).mount(&server).await;
    server
}

async fn count(server: &MockServer) -> usize {
    server.received_requests().await.unwrap().len()
}

fn json(status: u16, body: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_raw(body, "application/json")
}

#[tokio::test]
async fn an_answer_is_read_as_its_type() {
    let server = answering(json(200, r#"{"id":7,"more":1}"#)).await;
    let (client, _) = client(&server.uri());
    let answer = client.get(Operation::FindZone, &["z"]).send().await.unwrap();
    assert_eq!(answer.json::<Zone>().unwrap(), Zone { id: 7 });
    assert_eq!(answer.text().unwrap(), r#"{"id":7,"more":1}"#);
}

#[tokio::test]
async fn a_misfit_names_what_was_expected_and_quotes_nothing() {
    for (body, media, told) in [
        (r#"{"id":"hunter2"}"#, "application/json", "expected u32"),
        ("hunter2", "text/plain", "not JSON"),
        ("", "application/json", "an empty body"),
        ("<!doctype html>hunter2", "application/json", "a web page"),
        ("hunter2", "text/html; charset=x", "a web page"),
    ] {
        let server = answering(ResponseTemplate::new(200).set_body_raw(body, media)).await;
        let (client, _) = client(&server.uri());
        let answer = client.get(Operation::FindZone, &[]).send().await.unwrap();
        let failed = answer.json::<Zone>().unwrap_err();
        assert!(matches!(failed.kind(), ErrorKind::Protocol(_)), "{failed:?}");
        assert!(failed.chain().contains(told) && !failed.chain().contains("hunter2"), "{}", failed.chain());
        assert_eq!(failed.retry(), Retry::Backoff);

        let answer = client.post(Operation::PlaceOrder, &[]).send().await.unwrap();
        assert_eq!(answer.json::<Zone>().unwrap_err().retry(), Retry::Never, "the order was placed");
    }
}

#[tokio::test]
async fn json_with_the_media_type_of_a_page_is_still_json() {
    let server = answering(ResponseTemplate::new(200).set_body_raw(r#"{"id":1}"#, "text/html")).await;
    let (client, _) = client(&server.uri());
    assert_eq!(client.get(Operation::FindZone, &[]).send().await.unwrap().json::<Zone>().unwrap().id, 1);
}

#[tokio::test]
async fn a_failure_records_the_exchange() {
    let server = answering(json(422, "{\"message\":\"no\r\nsuch thing\"}")).await;
    let (client, _) = client(&server.uri());
    let failed = client.put(Operation::PublishRecord, &["a"]).query("q", "v").send().await.unwrap_err();
    assert_eq!(failed.kind(), &ErrorKind::Rejected(r#"{"message":"no such thing"}"#.into()));
    let source = std::error::Error::source(&failed).unwrap().downcast_ref::<FailedExchange>().unwrap();
    assert_eq!((source.method().as_str(), source.attempts()), ("PUT", 1));
    assert_eq!(source.status(), Some(StatusCode::UNPROCESSABLE_ENTITY));
    assert_eq!(source.url().as_str(), format!("{}/a?q=…", server.uri()));
    assert_eq!(failed.chain().matches("such thing").count(), 1, "words are told once: {}", failed.chain());
}

#[tokio::test]
async fn an_error_page_is_named_and_not_quoted() {
    let page = ResponseTemplate::new(403).set_body_raw("<html><body>Blocked by policy", "text/html");
    let server = answering(page).await;
    let (client, _) = client(&server.uri());
    let failed = client.get(Operation::Probe, &[]).send().await.unwrap_err();
    assert!(matches!(failed.kind(), ErrorKind::Forbidden(words) if words.as_str().starts_with("a web page")));
}

#[tokio::test]
async fn an_empty_refusal_still_says_something() {
    let server = answering(ResponseTemplate::new(400)).await;
    let (client, _) = client(&server.uri());
    let failed = client.get(Operation::Probe, &[]).send().await.unwrap_err();
    assert_eq!(failed.kind(), &ErrorKind::Rejected("400 Bad Request".into()));
}

#[tokio::test]
async fn accepted_statuses_are_answers() {
    let server = answering(json(404, r#"{"id":3}"#)).await;
    let (builder, _) = builder(&server.uri());
    let client = builder.refine(|_| Some(Refinement::new(ErrorKind::Unauthorized))).build().unwrap();
    let request = client.delete(Operation::WithdrawRecord, &["r"]).accept_status(&[StatusCode::NOT_FOUND]);
    let answer = request.send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.json::<Zone>().unwrap().id), (404, 3));
}

/// Reads `{"error": …}` whatever the status, as several vendors do.
fn refining(url: &str) -> Client {
    #[derive(Deserialize)]
    struct Body {
        error: String,
    }
    let refine = |answer: &Answer<'_>| {
        let body: Body = answer.json()?;
        Some(match body.error.as_str() {
            "throttled" => Refinement::throttled(),
            "busy" => Refinement::new(ErrorKind::Conflict("zone is busy".into())).retry_as(Retry::Backoff),
            "down" => Refinement::new(ErrorKind::Unavailable),
            _ => Refinement::new(ErrorKind::Rejected(VendorText::new(&body.error))),
        })
    };
    builder(url).0.refine(refine).build().unwrap()
}

#[tokio::test]
async fn an_error_inside_status_200_is_an_error() {
    let server = answering(json(200, r#"{"error":"no credit"}"#)).await;
    let client = refining(&server.uri());
    let failed = client.get(Operation::PlaceOrder, &[]).send().await.unwrap_err();
    assert_eq!(failed.kind(), &ErrorKind::Rejected("no credit".into()));
    assert_eq!(count(&server).await, 1);
}

#[tokio::test]
async fn a_throttle_with_status_400_is_a_throttle() {
    let server = MockServer::start().await;
    let throttle = json(400, r#"{"error":"throttled"}"#);
    Mock::given(matchers::any()).respond_with(throttle).up_to_n_times(2).mount(&server).await;
    Mock::given(matchers::any()).respond_with(json(200, r#"{"id":1}"#)).mount(&server).await;
    let client = refining(&server.uri());
    client.post(Operation::PlaceOrder, &[]).send().await.unwrap();
    assert_eq!(count(&server).await, 3, "a throttled request is sent again even if not replayable");
}

#[tokio::test]
async fn a_refined_kind_decides_about_retries() {
    for (error, replayable, kind, retry, requests) in [
        ("busy", true, "conflict", Retry::Backoff, 4),
        ("busy", false, "conflict", Retry::Backoff, 1),
        ("down", true, "unavailable", Retry::Backoff, 4),
        ("down", false, "uncertain", Retry::Never, 1),
        ("other", true, "rejected", Retry::Never, 1),
    ] {
        let server = answering(json(500, &format!(r#"{{"error":"{error}"}}"#))).await;
        let client = refining(&server.uri());
        let request = client.post(Operation::PlaceOrder, &[]).replayable(replayable);
        let failed = request.send().await.unwrap_err();
        assert_eq!((failed.kind().code(), failed.retry()), (kind, retry), "{error} {replayable}");
        assert_eq!(count(&server).await, requests, "{error} {replayable}");
    }
}

#[tokio::test]
async fn the_request_refines_before_the_client() {
    let server = answering(json(400, r#"{"error":"x"}"#)).await;
    let client = refining(&server.uri());
    let mine = |answer: &Answer<'_>| {
        (answer.status().as_u16() == 400).then(|| Refinement::new(ErrorKind::NotFound("the zone".into())))
    };
    let failed = client.get(Operation::FindZone, &[]).refine(mine).send().await.unwrap_err();
    assert_eq!(failed.kind(), &ErrorKind::NotFound("the zone".into()));
    let failed = client.get(Operation::FindZone, &[]).refine(|_| None).send().await.unwrap_err();
    assert_eq!(failed.kind(), &ErrorKind::Rejected("x".into()));
}
