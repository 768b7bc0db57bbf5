//! What the vendors really say: talks with the fakes that their own tests run on, written down as scripts.
#![allow(dead_code, reason = "the vendors' own tests use all of the fakes")]

use std::{net::SocketAddr, sync::Arc};

use certlife_core::{Clock, Timestamp, async_trait};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};

use super::targets::{BREAK, DOMAIN, Vendor, converse, request_of};

#[path = "../../certlife-dns/src/azure/fake.rs"]
mod azure;
#[path = "../../certlife-dns/src/cloudns/fake.rs"]
mod cloudns;
#[path = "../../certlife-dns/src/dnsmadeeasy/fake.rs"]
mod dnsmadeeasy;
#[path = "../../certlife-ca/src/entrust/fake/mod.rs"]
mod entrust;
#[path = "../../certlife-dns/src/godaddy/fake.rs"]
mod godaddy;
#[path = "../../certlife-dns/src/route53/fake.rs"]
mod route53;
#[path = "../../certlife-ca/src/sectigo/fake/mod.rs"]
mod sectigo;
#[path = "../../certlife-ca/src/sslstore/fake/mod.rs"]
mod sslstore;

/// The moment at which the clients of the targets begin, and at which it stays for the fakes.
const NOW: i64 = 1_767_225_600;

#[derive(Debug)]
struct Still;

#[async_trait]
impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_seconds(NOW)
    }

    async fn sleep_until(&self, _: Timestamp) {}
}

/// One script for each talk that a client of `vendor` can have.
pub(crate) fn scripts(vendor: Vendor) -> Vec<Vec<u8>> {
    let runtime = Runtime::new().unwrap();
    (0..vendor.talks()).map(|talk| runtime.block_on(script(vendor, talk))).collect()
}

async fn script(vendor: Vendor, talk: u8) -> Vec<u8> {
    let (fake, _playing) = start(vendor, talk).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let mut answers: Vec<Vec<u8>> = Vec::new();
    let relay = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            answers.push(pass_on(stream, fake).await);
        }
    };
    tokio::select! {
        biased;
        done = converse(vendor, talk, &url) => assert!(done, "{vendor:?}, talk {talk}"),
        () = relay => {}
    }
    [vec![talk], answers.join(&BREAK)].concat()
}

/// Passes one request on, and returns the answer as a script has it.
async fn pass_on(mut client: TcpStream, fake: SocketAddr) -> Vec<u8> {
    let (head, body) = message(&mut client).await;
    let mut server = TcpStream::connect(fake).await.unwrap();
    server.write_all(format!("{}\r\n\r\n", head.join("\r\n")).as_bytes()).await.unwrap();
    server.write_all(&body).await.unwrap();
    let request = request_of(&head[0]).to_owned();

    let (head, body) = message(&mut server).await;
    let status =
        head.first().expect("a fake that is asked for what there is answers").split(' ').nth(1).unwrap();
    let framing = ["content-length", "connection", "transfer-encoding", "date"];
    let of_framing =
        |line: &&String| framing.iter().any(|name| line.to_lowercase().starts_with(&format!("{name}:")));
    let headers: Vec<&str> = head[1..].iter().filter(|line| !of_framing(line)).map(String::as_str).collect();
    let answer = format!(
        "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n{}\r\n\r\n",
        body.len(),
        headers.join("\r\n")
    );
    client.write_all(answer.as_bytes()).await.unwrap();
    client.write_all(&body).await.unwrap();
    let script = [&[&request, status], &headers[..], &["", ""]].concat().join("\n");
    [script.into_bytes(), body].concat()
}

/// The lines of a message's head, and its body.
async fn message(stream: &mut (impl AsyncRead + Unpin)) -> (Vec<String>, Vec<u8>) {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).await.unwrap();
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push(line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await.unwrap();
    (head, body)
}

/// Starts a fake that has what the client asks for; it goes on as long as what is returned besides its address.
async fn start(vendor: Vendor, talk: u8) -> (SocketAddr, Box<dyn std::any::Any + Send>) {
    let clock: Arc<dyn Clock> = Arc::new(Still);
    match vendor {
        Vendor::Azure => {
            let fake = azure::FakeAzure::start(&[DOMAIN], || NOW).await;
            (*fake.server.address(), Box::new(fake))
        }
        Vendor::ClouDns => {
            let fake = cloudns::FakeClouDns::start(&[DOMAIN]).await;
            (*fake.server.address(), Box::new(fake))
        }
        Vendor::DnsMadeEasy => {
            let fake = dnsmadeeasy::FakeDnsMadeEasy::start(&[DOMAIN], Arc::new(|| NOW)).await;
            (*fake.server.address(), Box::new(fake))
        }
        Vendor::Entrust => {
            let fake = entrust::Fake::start(clock).await;
            fake.world().domains.push(entrust::FakeDomain::approved(DOMAIN, 1));
            (*fake.server.address(), Box::new(fake))
        }
        Vendor::GoDaddy => {
            let fake = godaddy::FakeGoDaddy::start(&[DOMAIN]).await;
            (*fake.server.address(), Box::new(fake))
        }
        Vendor::Route53 => {
            let fake = route53::FakeRoute53::start(&[DOMAIN], Arc::new(|| NOW)).await;
            (*fake.server.address(), Box::new(fake))
        }
        Vendor::Sectigo => {
            let scheme = if talk < 3 { sectigo::Scheme::Password } else { sectigo::Scheme::OAuth };
            let fake = sectigo::FakeSectigo::start(scheme, clock).await;
            fake.world().polls = 0;
            (*fake.server.address(), Box::new(fake))
        }
        Vendor::SslStore => {
            let fake = sslstore::FakeStore::start(clock).await;
            fake.world().eyes = Some(Arc::new(|_| true));
            (*fake.server.address(), Box::new(fake))
        }
    }
}
