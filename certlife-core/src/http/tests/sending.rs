//! What is sent: paths, queries, headers, bodies, signatures; and what is refused before it is sent.

use std::sync::Arc;

use async_trait::async_trait;
use url::Url;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

use super::{TestClock, builder, client};
use crate::{
    error::{ErrorKind, Operation, Result, Retry},
    http::{BundledRoots, Client, Method, PreparedRequest, Settings, Signer, StatusCode},
    secret::Secret,
    time::Clock as _,
};

async fn server() -> MockServer {
    let server = MockServer::start().await;
    Mock::given(matchers::any()).respond_with(ResponseTemplate::new(200)).mount(&server).await;
    server
}

async fn last(server: &MockServer) -> wiremock::Request {
    server.received_requests().await.unwrap().pop().unwrap()
}

fn header<'a>(request: &'a wiremock::Request, name: &str) -> Option<&'a str> {
    request.headers.get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn paths_queries_and_headers_arrive_as_given() {
    let server = server().await;
    let (builder, _) = builder(&format!("{}/v4/", server.uri()));
    let client =
        builder.bearer("token-1").header("x-version", "1").header("accept", "text/x").build().unwrap();
    let request =
        client.get(Operation::FindZone, &["zones", "a/../b"]).query("name", "ä b&c").query("page", "2");
    request.header("accept", "application/json").send().await.unwrap();

    let sent = last(&server).await;
    assert_eq!(sent.method.as_str(), "GET");
    assert_eq!(sent.url.path(), "/v4/zones/a%2F..%2Fb");
    assert_eq!(sent.url.query(), Some("name=%C3%A4+b%26c&page=2"));
    assert_eq!(header(&sent, "authorization"), Some("Bearer token-1"));
    assert_eq!(header(&sent, "x-version"), Some("1"));
    let accepts: Vec<_> = sent.headers.get_all("accept").iter().collect();
    assert_eq!(accepts, ["application/json"], "a request replaces the client's header");
    assert!(header(&sent, "user-agent").unwrap().starts_with("certlife/"));
}

#[tokio::test]
async fn bodies_carry_their_type() {
    let server = server().await;
    let (client, _) = client(&server.uri());
    client.post(Operation::PlaceOrder, &["x"]).json(&serde_json::json!({"a": 1})).send().await.unwrap();
    let sent = last(&server).await;
    assert_eq!((header(&sent, "content-type"), &*sent.body), (Some("application/json"), &br#"{"a":1}"#[..]));

    let form = client.post(Operation::PlaceOrder, &["x"]).form(&[("a", "1 2"), ("b", "&")]);
    form.secret_form("password", &Secret::new("p=w")).send().await.unwrap();
    let sent = last(&server).await;
    assert_eq!(header(&sent, "content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(sent.body, b"a=1+2&b=%26&password=p%3Dw");

    client.post(Operation::PlaceOrder, &[]).body("{}", "application/jose+json").send().await.unwrap();
    let sent = last(&server).await;
    assert_eq!((header(&sent, "content-type"), &*sent.body), (Some("application/jose+json"), &b"{}"[..]));
}

#[tokio::test]
async fn basic_credentials_and_secret_headers_are_left_out_when_anonymous() {
    let server = server().await;
    let (builder, _) = builder(&server.uri());
    let client = builder.basic("user", "pass").secret_header("x-key", "key-1").build().unwrap();
    client.get(Operation::Probe, &[]).send().await.unwrap();
    let sent = last(&server).await;
    assert_eq!(header(&sent, "authorization"), Some("Basic dXNlcjpwYXNz"));
    assert_eq!(header(&sent, "x-key"), Some("key-1"));

    client.get(Operation::Probe, &[]).anonymous().send().await.unwrap();
    let sent = last(&server).await;
    assert_eq!((header(&sent, "authorization"), header(&sent, "x-key")), (None, None));
}

#[tokio::test]
async fn an_empty_or_climbing_segment_sends_nothing() {
    let server = server().await;
    let (client, _) = client(&server.uri());
    for bad in ["", ".", ".."] {
        let failed = client.delete(Operation::WithdrawRecord, &["zones", bad]).send().await.unwrap_err();
        assert!(matches!(failed.kind(), ErrorKind::Input(_)), "{failed:?}");
    }
    assert_eq!(server.received_requests().await.unwrap().len(), 0);
}

#[tokio::test]
async fn an_address_from_a_server_is_called_only_at_an_allowed_origin() {
    let (server, other, foreign) = (server().await, server().await, server().await);
    let (builder, _) = builder(&server.uri());
    let url = |text: String| Url::parse(&text).unwrap();
    let client = builder.also_allow(&url(other.uri())).bearer("secret-1").build().unwrap();
    for allowed in [&server, &other] {
        let handed = url(format!("{}/order/1?a=b", allowed.uri()));
        client.absolute(Method::POST, Operation::PollOrder, &handed).send().await.unwrap();
        assert_eq!(last(allowed).await.url.path(), "/order/1");
    }
    let with_user = server.uri().replace("http://", "http://user@");
    for handed in
        [foreign.uri(), with_user, server.uri().replace("http:", "https:"), "file:///etc/passwd".into()]
    {
        let failed =
            client.absolute(Method::GET, Operation::PollOrder, &url(handed)).send().await.unwrap_err();
        assert!(matches!(failed.kind(), ErrorKind::Protocol(_)), "{failed:?}");
        assert_eq!(failed.retry(), Retry::Never);
    }
    assert_eq!(foreign.received_requests().await.unwrap().len(), 0);
    assert_eq!(server.received_requests().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_redirect_is_an_error_and_not_followed() {
    let (server, target) = (MockServer::start().await, server().await);
    let place = format!("{}/x?token=abc", target.uri());
    let moved = ResponseTemplate::new(307).insert_header("location", &*place);
    Mock::given(matchers::any()).respond_with(moved).mount(&server).await;
    let (client, _) = client(&server.uri());
    let failed = client.get(Operation::Probe, &[]).send().await.unwrap_err();
    assert!(matches!(failed.kind(), ErrorKind::Protocol(_)));
    assert!(failed.chain().contains("/x") && !failed.chain().contains("token"), "{}", failed.chain());
    assert_eq!(target.received_requests().await.unwrap().len(), 0);
}

/// Signs with the attempt, the time and the length of the body.
#[derive(Debug)]
struct Stamp;

#[async_trait]
impl Signer for Stamp {
    async fn sign(&self, request: &mut PreparedRequest) -> Result<()> {
        let stamp = format!(
            "{} {} {} {} {}",
            request.method(),
            request.url().path(),
            request.body().len(),
            request.attempt(),
            request.now()
        );
        request.header("x-stamp", &stamp)?.secret_header("x-signature", &Secret::new("sig-1234"))?;
        request.query("signed", "1").set_body("replaced");
        Ok(())
    }
}

#[tokio::test]
async fn each_attempt_is_signed_anew() {
    let server = MockServer::start().await;
    let busy = ResponseTemplate::new(429).insert_header("retry-after", "5");
    Mock::given(matchers::any()).respond_with(busy).up_to_n_times(1).mount(&server).await;
    let echo = ResponseTemplate::new(400).set_body_string("bad signature sig-1234");
    Mock::given(matchers::any()).respond_with(echo).mount(&server).await;
    let (builder, clock) = builder(&server.uri());
    let client = builder.sign_with(Stamp).build().unwrap();
    let start = clock.now();
    let failed =
        client.post(Operation::PlaceOrder, &["o"]).body("12345", "text/plain").send().await.unwrap_err();

    let sent = server.received_requests().await.unwrap();
    let stamps: Vec<_> = sent.iter().map(|request| header(request, "x-stamp").unwrap()).collect();
    let later = start + std::time::Duration::from_secs(5);
    assert_eq!(stamps, [format!("POST /o 5 1 {start}"), format!("POST /o 5 2 {later}")]);
    assert!(
        sent.iter().all(|request| request.body == b"replaced" && request.url.query() == Some("signed=1"))
    );
    assert!(!failed.chain().contains("sig-1234"), "what a signer adds is masked too");

    client.get(Operation::Probe, &[]).anonymous().send().await.unwrap_err();
    assert_eq!(header(&last(&server).await, "x-stamp"), None);
    client.get(Operation::Probe, &[]).anonymous().sign_with(Arc::new(Stamp)).send().await.unwrap_err();
    assert!(header(&last(&server).await, "x-stamp").is_some());
}

#[tokio::test]
async fn an_unsendable_value_is_told_without_showing_it() {
    let server = server().await;
    let (client, _) = client(&server.uri());
    let request = client.get(Operation::Probe, &[]).secret_header("x-key", &Secret::new("line\nbreak"));
    let failed = request.send().await.unwrap_err();
    assert!(failed.to_string().contains("x-key") && !failed.chain().contains("break"), "{}", failed.chain());
    assert_eq!(server.received_requests().await.unwrap().len(), 0);
}

#[test]
fn bad_settings_are_named() {
    let told = |builder: crate::http::ClientBuilder| match builder.build() {
        Err(crate::InputError::Setting { setting, .. }) => setting.into_owned(),
        other => panic!("{other:?}"),
    };
    let base = || builder("http://127.0.0.1:1").0;
    let with = |change: &dyn Fn(&mut Settings)| {
        let mut settings = Settings::default();
        change(&mut settings);
        told(base().settings(&settings))
    };
    assert_eq!(told(Client::builder(super::NAME)), "base_url");
    assert_eq!(told(builder("http://example.com").0), "base_url");
    assert_eq!(told(base().also_allow(&Url::parse("http://example.com").unwrap())), "also_allow");
    assert_eq!(told(base().bearer("a\nb")), "authorization");
    assert_eq!(told(base().header("a b", "c")), "a b");
    assert_eq!(told(base().rate(0, std::time::Duration::from_secs(1))), "rate");
    assert_eq!(told(base().concurrency(0)), "concurrency");
    assert_eq!(told(base().user_agent("a\nb")), "user-agent");
    assert_eq!(with(&|settings| settings.roots = Some("none".into())), "roots");
    let not_der = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    assert_eq!(with(&|settings| settings.roots = Some(not_der.into())), "roots");
    assert_eq!(with(&|settings| settings.only_roots = true), "only_roots");
    assert_eq!(with(&|settings| settings.client_identity = Some("none".into())), "client_identity");
    assert_eq!(with(&|settings| settings.proxy = Url::parse("socks5://x").ok()), "proxy");
    assert_eq!(with(&|settings| settings.proxy = Url::parse("http://u:p@x").ok()), "proxy");
    assert_eq!(with(&|settings| settings.proxy_password = Some("pw".into())), "proxy");
}

#[test]
fn settings_read_flat_or_nested_and_have_a_schema() {
    #[derive(serde::Deserialize, schemars::JsonSchema)]
    struct Flat {
        #[serde(flatten)]
        http: Settings,
    }
    let json = r#"{"request_timeout_seconds": 5, "bundled_roots": "never", "proxy": "http://proxy:3128"}"#;
    let flat: Flat = serde_json::from_str(json).unwrap();
    assert_eq!(flat.http.request_timeout_seconds.unwrap().get(), 5);
    assert_eq!(flat.http.bundled_roots, BundledRoots::Never);
    assert_eq!(flat.http.proxy.unwrap().host_str(), Some("proxy"));
    assert!(serde_json::from_str::<Settings>(r#"{"connect_timeout_seconds": 0}"#).is_err());
    let schema = schemars::schema_for!(Flat).to_value();
    assert_eq!(schema["properties"]["proxy_password"]["writeOnly"], true);
}

#[tokio::test]
async fn a_proxy_gets_the_requests_and_the_credentials() {
    let proxy = server().await;
    let mut settings = Settings { allow_plain_http: true, ..Settings::default() };
    settings.proxy = Some(Url::parse(&proxy.uri()).unwrap());
    settings.proxy_user = Some("user".into());
    settings.proxy_password = Some("pass".into());
    let (builder, _) = builder("http://vendor.invalid/api");
    builder.settings(&settings).build().unwrap().get(Operation::Probe, &["a"]).send().await.unwrap();
    let sent = last(&proxy).await;
    assert_eq!(header(&sent, "host"), Some("vendor.invalid"));
    assert_eq!(header(&sent, "proxy-authorization"), Some("Basic dXNlcjpwYXNz"));
}

#[tokio::test]
async fn at_most_so_many_requests_are_under_way() {
    let server = MockServer::start().await;
    let slow = ResponseTemplate::new(200).set_delay(std::time::Duration::from_millis(50));
    Mock::given(matchers::any()).respond_with(slow).mount(&server).await;
    let (builder, _) = builder(&server.uri());
    let client = builder.concurrency(1).build().unwrap();
    let began = std::time::Instant::now();
    let (a, b, c) = tokio::join!(
        client.get(Operation::Probe, &["a"]).send(),
        client.get(Operation::Probe, &["b"]).send(),
        client.get(Operation::Probe, &["c"]).send(),
    );
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert!(began.elapsed() >= std::time::Duration::from_millis(150), "they went one after another");
}

#[tokio::test]
async fn raw_returns_any_status_with_all_headers() {
    let server = MockServer::start().await;
    let problem = ResponseTemplate::new(503)
        .insert_header("replay-nonce", "n-1")
        .append_header("link", "<a>;rel=up")
        .append_header("link", "<b>;rel=index")
        .set_body_raw(r#"{"type":"urn:x"}"#, "application/problem+json; charset=utf-8");
    Mock::given(matchers::any()).respond_with(problem).mount(&server).await;
    let (client, clock) = client(&server.uri());
    let answer = client.post(Operation::PlaceOrder, &[]).raw().send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.header("Replay-Nonce"), Some("n-1"));
    assert_eq!(answer.headers().get_all("link").iter().count(), 2);
    assert_eq!(answer.media_type(), "application/problem+json");
    let (_, _, body) = answer.into_parts();
    assert_eq!(body, r#"{"type":"urn:x"}"#);
    assert_eq!((server.received_requests().await.unwrap().len(), clock.sleeps().len()), (1, 0));

    let head = client.head(Operation::PlaceOrder, &[]).raw().send().await.unwrap();
    assert_eq!((head.header("replay-nonce"), head.bytes().len()), (Some("n-1"), 0));
}

#[test]
fn everything_can_cross_threads() {
    fn sendable<T: Send>(_: T) {}
    let (client, _) = client("http://127.0.0.1:1");
    sendable(client.get(Operation::Probe, &[]).send());
    let _ = TestClock::new();
}
