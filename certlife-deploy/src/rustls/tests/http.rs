use std::{convert::Infallible, net::SocketAddr, time::Duration};

use ::http::{Method, Request, Response};
use certlife_core::{
    Deployer as _,
    challenge::{HttpBody, HttpFile, HttpPath},
    deploy::TargetResponse,
};
use http_body_util::BodyExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
};
use tower_service::Service as _;

use super::super::*;

const TOKEN: &str = "/.well-known/acme-challenge/token";

async fn server_with(files: &[(&str, &str)]) -> Rustls {
    let server = Rustls::new();
    for (host, body) in files {
        let file = HttpFile {
            host: host.parse().unwrap(),
            path: HttpPath::new(TOKEN).unwrap(),
            body: HttpBody::new(*body).unwrap(),
        };
        server.put_challenge(&TargetResponse::Http(file)).await.unwrap();
    }
    server
}

fn request(method: Method, target: &str, host: &str) -> Request<()> {
    Request::builder().method(method).uri(target).header("host", host).body(()).unwrap()
}

/// Status and body.
async fn ask(server: &Rustls, request: Request<()>) -> (u16, String) {
    let response = server.http01().call(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn only_the_exact_path_is_answered_and_only_to_readers() {
    let server = server_with(&[("www.example.org", "proof")]).await;
    let www = "www.example.org";
    assert_eq!(ask(&server, request(Method::GET, TOKEN, www)).await, (200, "proof".into()));
    for target in [
        "/",
        "/.well-known/acme-challenge/",
        "/.well-known/acme-challenge/token/",
        "/.well-known/acme-challenge//token",
        "/.well-known/acme-challenge/../acme-challenge/token",
        "/.well-known/acme-challenge/toke%6E",
        "/.well-known/acme-challenge/token?x",
        "/.WELL-KNOWN/acme-challenge/token",
        "/.well-known/acme-challenge/Token",
        "*",
    ] {
        assert_eq!(ask(&server, request(Method::GET, target, www)).await.0, 404, "{target}");
    }
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        assert_eq!(ask(&server, request(method, TOKEN, www)).await.0, 404);
    }
}

#[tokio::test]
async fn the_head_is_the_same_without_the_body() {
    let server = server_with(&[("www.example.org", "proof")]).await;
    let get = server.http01().call(request(Method::GET, TOKEN, "www.example.org")).await.unwrap();
    let head = server.http01().call(request(Method::HEAD, TOKEN, "www.example.org")).await.unwrap();
    assert_eq!(get.headers(), head.headers());
    assert_eq!(get.headers()["content-type"], "application/octet-stream");
    assert_eq!(get.headers()["content-length"], "5");
    assert!(head.into_body().collect().await.unwrap().to_bytes().is_empty());
}

#[tokio::test]
async fn each_host_gets_its_own_file() {
    let server = server_with(&[("a.example.org", "a"), ("b.example.org", "b"), ("192.0.2.1", "c")]).await;
    for (host, answer) in [
        ("a.example.org", (200, "a")),
        ("A.EXAMPLE.ORG:80", (200, "a")),
        ("b.example.org:8080", (200, "b")),
        ("192.0.2.1:80", (200, "c")),
        ("c.example.org", (404, "")),
        ("not a host", (404, "")),
    ] {
        assert_eq!(
            ask(&server, request(Method::GET, TOKEN, host)).await,
            (answer.0, answer.1.into()),
            "{host}"
        );
    }
    let absolute = request(Method::GET, &format!("http://b.example.org{TOKEN}"), "a.example.org");
    assert_eq!(ask(&server, absolute).await.1, "b", "the target of a request beats its header");
    // Behind a proxy that changes the host there is one answer as long as there is no doubt.
    let server = server_with(&[("a.example.org", "same"), ("b.example.org", "same")]).await;
    assert_eq!(ask(&server, request(Method::GET, TOKEN, "backend:8080")).await, (200, "same".into()));
}

#[tokio::test]
async fn everything_else_falls_through_to_the_host() {
    /// A host that answers with the path.
    #[derive(Clone)]
    struct Host;

    impl tower_service::Service<Request<()>> for Host {
        type Response = Response<String>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Response<String>, Infallible>>;

        fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
            std::task::Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<()>) -> Self::Future {
            std::future::ready(Ok(Response::new(format!("host: {}", request.uri().path()))))
        }
    }

    let server = server_with(&[("www.example.org", "proof")]).await;
    let mut service = server.http01().or(Host);
    let mut text = async |method, target| {
        let response = service.call(request(method, target, "www.example.org")).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    };
    assert_eq!(text(Method::GET, TOKEN).await, "proof");
    assert_eq!(text(Method::GET, "/").await, "host: /");
    assert_eq!(text(Method::POST, TOKEN).await, format!("host: {TOKEN}"));
    let other = "/.well-known/acme-challenge/other";
    assert_eq!(text(Method::GET, other).await, format!("host: {other}"));
}

async fn listening(server: &Rustls) -> (SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
    let listener = server.http01_listener("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let serving = tokio::spawn(listener.serve(async { stopped.await.unwrap_or_default() }));
    (address, stop, serving)
}

/// Sends bytes and reads all that comes back until the server closes.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut answer = Vec::new();
    // The server may close before everything is sent.
    let _ = stream.write_all(bytes).await;
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn the_listener_answers_once_and_closes() {
    let server = server_with(&[("www.example.org", "proof")]).await;
    let (address, stop, serving) = listening(&server).await;
    let get = format!("GET {TOKEN} HTTP/1.1\r\nHost: www.example.org\r\n\r\n");
    let answer = exchange(address, format!("{get}{get}").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nproof"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1);
    let head = exchange(address, get.replace("GET", "HEAD").as_bytes()).await;
    assert!(head.contains("content-length: 5") && head.ends_with("\r\n\r\n"), "{head}");
    let old = exchange(address, format!("GET {TOKEN} HTTP/1.0\r\n\r\n").as_bytes()).await;
    assert!(old.ends_with("proof"), "{old}");
    let missing = exchange(address, b"GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n").await;
    assert!(missing.starts_with("HTTP/1.1 404 "), "{missing}");
    stop.send(()).unwrap();
    serving.await.unwrap();
    // A process that another test is just starting may hold a copy of the socket until it runs its program.
    let mut tries = 0;
    while TcpStream::connect(address).await.is_ok() {
        tries += 1;
        assert!(tries < 100, "it still listens");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_listener_refuses_what_is_too_much_or_no_http() {
    let server = server_with(&[("www.example.org", "proof")]).await;
    let (address, _stop, _serving) = listening(&server).await;
    let long_header = format!("GET {TOKEN} HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    let many_headers = format!("GET {TOKEN} HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(200));
    let long_target = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100_000));
    for bytes in [
        long_header.as_bytes(),
        many_headers.as_bytes(),
        long_target.as_bytes(),
        b"\x16\x03\x01\x02\x00\x01",
        b"GET /.well-known/acme-challenge/token\r\n\r\n",
        b"GET /.well-known/acme-challenge/token HTTP/1.1\nHost : x\r\n\r\n",
    ] {
        let answer = exchange(address, bytes).await;
        assert!(!answer.contains("200 OK") && !answer.contains("proof"), "{answer}");
    }
    // Whoever says nothing does not keep others waiting.
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let answer = exchange(address, format!("GET {TOKEN} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
    assert!(answer.ends_with("proof"), "{answer}");
}

#[tokio::test]
async fn an_address_in_use_is_told() {
    let server = Rustls::new();
    let (address, _stop, _serving) = listening(&server).await;
    let error = server.http01_listener(address).await.unwrap_err();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}
