//! No secret leaves through an error, a log or `Debug`, even if the server sends it back.

use std::fmt::Write as _;

use wiremock::{Mock, MockServer, Request as Received, ResponseTemplate, matchers};

use super::builder;
use crate::{
    error::{ErrorKind, Operation},
    http::{Answer, Refinement, Settings},
    secret::Secret,
    text::VendorText,
};

/// Sends back everything it got, as a careless server's error message does.
async fn echo(status: u16) -> MockServer {
    let server = MockServer::start().await;
    let answer = move |received: &Received| {
        let mut text = format!("{} {}\n", received.method, received.url);
        for (name, value) in &received.headers {
            writeln!(text, "{name}: {}", value.to_str().unwrap()).unwrap();
        }
        text += &String::from_utf8_lossy(&received.body);
        ResponseTemplate::new(status).set_body_raw(text, "text/plain")
    };
    Mock::given(matchers::any()).respond_with(answer).mount(&server).await;
    server
}

const SECRETS: [&str; 7] =
    ["bearer-1111", "header/2222", "hidden\"3333", "query 4444&", "request-5555", "form+6666=", "path/7777"];

#[tokio::test]
async fn an_echoed_secret_is_masked_in_every_form() {
    for status in [400, 403, 404, 409, 422, 500] {
        let server = echo(status).await;
        let secret = |index: usize| Secret::new(SECRETS[index]);
        let refine = |answer: &Answer<'_>| {
            let seen = answer.text().to_owned();
            (answer.status().as_u16() == 422)
                .then(|| Refinement::new(ErrorKind::QuotaExceeded(VendorText::new(&seen))))
        };
        let (builder, _) = builder(&server.uri());
        let builder =
            builder.bearer(secret(0)).secret_header("x-a", secret(1)).hide(&secret(2)).refine(refine);
        let client = builder.retries(1).build().unwrap();
        let request = client
            .post(Operation::PlaceOrder, &["hook", SECRETS[6]])
            .secret_query("key", &secret(3))
            .secret_header("x-b", &secret(4))
            .form(&[("json", &format!("{{\"password\":{}}}", serde_json::json!(SECRETS[2])))])
            .secret_form("password", &secret(5))
            .hide(&secret(6));
        let shown = format!("{client:?} {request:?}");
        let failed = request.send().await.unwrap_err();
        let told = format!("{shown} {failed} {failed:?} {} {:?}", failed.chain(), failed.kind());
        for trace in ["1111", "2222", "3333", "4444", "5555", "6666", "7777"] {
            assert!(!told.contains(trace), "{status}: {trace} in {told}");
        }
        if status == 400 {
            assert!(told.contains("[REDACTED]"), "the echo was there: {told}");
        }
    }
}

#[tokio::test]
async fn basic_credentials_are_masked_as_sent() {
    let server = echo(400).await;
    let client = builder(&server.uri()).0.basic("user", "hunter2").build().unwrap();
    let failed = client.get(Operation::Probe, &[]).send().await.unwrap_err();
    let told = format!("{failed:?}");
    assert!(told.contains("Basic [REDACTED]"), "{told}");
}

#[tokio::test]
async fn a_failed_connection_does_not_tell_the_url() {
    let client = builder("http://127.0.0.1:1").0.retries(1).build().unwrap();
    let request = client.get(Operation::Probe, &["a"]).query("token", "hunter2");
    let failed = request.send().await.unwrap_err();
    assert!(failed.chain().contains("/a?token=…"), "{}", failed.chain());
    assert!(!format!("{failed:?}").contains("hunter2"));
}

#[test]
fn settings_and_builders_show_no_secret() {
    let secret = || Some(Secret::new("hunter2"));
    let settings = Settings { proxy_password: secret(), client_identity: secret(), ..Settings::default() };
    let builder = builder("http://127.0.0.1:1").0.bearer("hunter2");
    assert!(!format!("{settings:?} {builder:?}").contains("hunter2"));
}
