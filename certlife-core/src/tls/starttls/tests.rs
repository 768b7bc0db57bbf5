use std::sync::Arc;

use proptest::prelude::*;
use rustls::{ServerConfig, crypto::aws_lc_rs::default_provider};
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::tls::served_over;

const ALL: [StartTls; 5] =
    [StartTls::Smtp, StartTls::Imap, StartTls::Pop3, StartTls::Ldap, StartTls::PostgreSql];
const PATIENCE: Duration = Duration::from_secs(10);

/// What a server says and what it expects to hear.
#[derive(Clone)]
enum Line {
    Says(Vec<u8>),
    Hears(&'static [u8]),
}

fn says(words: impl AsRef<[u8]>) -> Line {
    Line::Says(words.as_ref().to_vec())
}

fn hears(words: &'static (impl AsRef<[u8]> + ?Sized)) -> Line {
    Line::Hears(words.as_ref())
}

const LDAP_REQUEST: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
const SSL_REQUEST: &[u8] = b"\x00\x00\x00\x08\x04\xd2\x16\x2f";

/// A conversation that ends in TLS, as real servers hold it.
fn good(protocol: StartTls) -> Vec<Line> {
    match protocol {
        StartTls::Smtp => vec![
            says("220-mail.example ESMTP\r\n220 no spam\r\n"),
            hears("EHLO [127.0.0.1]\r\n"),
            says("250-mail.example\r\n250-SIZE 10240000\r\n250-starttls\r\n250 CHUNKING\r\n"),
            hears("STARTTLS\r\n"),
            says("220 2.0.0 Ready to start TLS\r\n"),
        ],
        StartTls::Imap => vec![
            says("* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] ready.\r\n"),
            hears("c1 CAPABILITY\r\n"),
            says("* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\nc1 OK done\r\n"),
            hears("c2 STARTTLS\r\n"),
            says("c2 OK Begin TLS negotiation now.\r\n"),
        ],
        StartTls::Pop3 => vec![
            says("+OK ready.\r\n"),
            hears("CAPA\r\n"),
            says("+OK\r\nCAPA\r\nTOP\r\nSTLS\r\n.\r\n"),
            hears("STLS\r\n"),
            says("+OK Begin TLS negotiation now.\r\n"),
        ],
        StartTls::Ldap => {
            vec![hears(LDAP_REQUEST), says(b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00")]
        }
        StartTls::PostgreSql => vec![hears(SSL_REQUEST), says("S")],
    }
}

/// A conversation at whose end the server says something else.
fn ending(protocol: StartTls, last: impl AsRef<[u8]>) -> Vec<Line> {
    let mut script = good(protocol);
    script.pop();
    script.push(says(last));
    script
}

/// Plays the server; returns its end of the connection.
async fn play(mut stream: DuplexStream, script: Vec<Line>) -> DuplexStream {
    for line in script {
        match line {
            // The client may have had enough.
            Line::Says(words) => drop(stream.write_all(&words).await),
            Line::Hears(words) => {
                let mut heard = vec![0; words.len()];
                stream.read_exact(&mut heard).await.unwrap();
                assert_eq!(String::from_utf8_lossy(&heard), String::from_utf8_lossy(words));
            }
        }
    }
    stream
}

/// Talks to a server that keeps to its script and then closes the connection.
async fn refusal(protocol: StartTls, script: Vec<Line>) -> Error {
    let (client, server) = duplex(512);
    let server = tokio::spawn(async move { drop(play(server, script).await) });
    let error = protocol.negotiate(client, PATIENCE).await.unwrap_err();
    server.await.unwrap();
    error
}

#[track_caller]
fn is_protocol(error: &Error, words: &str) {
    assert!(matches!(error.kind(), ErrorKind::Protocol(how) if how.contains(words)), "{}", error.chain());
}

#[tokio::test]
async fn tls_starts_after_the_go_ahead_of_every_protocol() {
    let own = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    for protocol in ALL {
        let (client, server) = duplex(512);
        let acceptor = acceptor.clone();
        let server = tokio::spawn(async move {
            // The client leaves as soon as it has seen the certificate.
            let _: Result<_, std::io::Error> = acceptor.accept(play(server, good(protocol)).await).await;
        });
        let stream = protocol.negotiate(client, PATIENCE).await.unwrap();
        let shown = served_over(stream, None, &[], PATIENCE).await.unwrap();
        assert_eq!(shown.leaf(), own.cert.der(), "{protocol}");
        server.await.unwrap();
    }
}

#[tokio::test]
async fn words_that_arrive_one_byte_at_a_time_are_understood() {
    for protocol in ALL {
        let bytes = good(protocol).into_iter().flat_map(|line| match line {
            Line::Says(words) => words.into_iter().map(|byte| Line::Says(vec![byte])).collect(),
            hears @ Line::Hears(_) => vec![hears],
        });
        let (client, server) = duplex(1);
        let server = tokio::spawn(play(server, bytes.collect()));
        protocol.negotiate(client, PATIENCE).await.unwrap();
        server.await.unwrap();
    }
}

#[tokio::test]
async fn what_follows_the_go_ahead_in_the_clear_is_refused() {
    for protocol in ALL {
        let mut script = good(protocol);
        let Some(Line::Says(mut last)) = script.pop() else { panic!("a server has the last word") };
        last.extend_from_slice(b"250 injected\r\n");
        script.push(Line::Says(last));
        is_protocol(&refusal(protocol, script).await, "goes on in the clear");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_told_apart_from_one_that_refuses() {
    let smtp_without = vec![
        says("220 mail.example\r\n"),
        hears("EHLO [127.0.0.1]\r\n"),
        // The greeting line names no extension.
        says("250-STARTTLS mail.example\r\n250 SIZE\r\n"),
    ];
    let smtp_old = vec![says("220 mail.example\r\n"), hears("EHLO [127.0.0.1]\r\n"), says("502 what?\r\n")];
    let imap_without = vec![
        says("* OK ready\r\n"),
        hears("c1 CAPABILITY\r\n"),
        says("* CAPABILITY IMAP4rev1 NOSTARTTLS\r\nc1 OK done\r\n"),
    ];
    let pop3_without = vec![says("+OK ready\r\n"), hears("CAPA\r\n"), says("+OK\r\nTOP\r\nX-STLS\r\n.\r\n")];
    let pop3_old = vec![says("+OK ready\r\n"), hears("CAPA\r\n"), says("-ERR what?\r\n")];
    for (protocol, script) in [
        (StartTls::Smtp, smtp_without),
        (StartTls::Smtp, smtp_old),
        (StartTls::Imap, imap_without),
        (StartTls::Imap, vec![says("* PREAUTH welcome back\r\n")]),
        (StartTls::Pop3, pop3_without),
        (StartTls::Pop3, pop3_old),
        (StartTls::Ldap, ending(StartTls::Ldap, b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\x00\x04\x00")),
        (StartTls::PostgreSql, ending(StartTls::PostgreSql, "N")),
    ] {
        let error = refusal(protocol, script).await;
        assert!(matches!(error.kind(), ErrorKind::Unsupported(_)), "{protocol}: {}", error.chain());
        assert!(error.to_string().contains(protocol.as_str()), "{error}");
    }
    for (protocol, script, words) in [
        (StartTls::Smtp, vec![says("554-go\r\n554 away\r\n")], "554 go away"),
        (StartTls::Smtp, ending(StartTls::Smtp, "454 4.7.0 not now\r\n"), "454 4.7.0 not now"),
        (StartTls::Imap, vec![says("* BYE too busy\r\n")], "BYE too busy"),
        (StartTls::Imap, ending(StartTls::Imap, "c2 NO no key\r\n"), "NO no key"),
        (StartTls::Imap, ending(StartTls::Imap, "* BYE gone\r\n"), "BYE gone"),
        (StartTls::Pop3, vec![says("-ERR too busy\r\n")], "too busy"),
        (StartTls::Pop3, ending(StartTls::Pop3, "-ERR no key\r\n"), "no key"),
        (
            StartTls::Ldap,
            ending(StartTls::Ldap, b"\x30\x0f\x02\x01\x01\x78\x0a\x0a\x01\x34\x04\x00\x04\x03bad"),
            "LDAP result 52 bad",
        ),
        (
            StartTls::Ldap,
            ending(StartTls::Ldap, b"\x30\x0f\x02\x01\x00\x78\x0a\x0a\x01\x34\x04\x00\x04\x03bye"),
            "LDAP notice 52 bye",
        ),
    ] {
        let error = refusal(protocol, script).await;
        assert!(
            matches!(error.kind(), ErrorKind::Rejected(found) if found.as_str().contains(words)),
            "{}",
            error.chain()
        );
        assert_eq!(error.retry(), Retry::Backoff);
    }
}

#[tokio::test]
async fn lengths_in_four_bytes_are_read_as_active_directory_writes_them() {
    let (client, server) = duplex(512);
    let answer = b"\x30\x84\0\0\0\x10\x02\x01\x01\x78\x84\0\0\0\x07\x0a\x01\x00\x04\x00\x04\x00";
    let server = tokio::spawn(play(server, ending(StartTls::Ldap, answer)));
    StartTls::Ldap.negotiate(client, PATIENCE).await.unwrap();
    server.await.unwrap();
}

#[tokio::test]
async fn what_is_another_protocol_is_refused() {
    for (protocol, words) in [
        (StartTls::Smtp, &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]),
        (StartTls::Smtp, b"22\r\n"),
        (StartTls::Smtp, b"620 too high\r\n"),
        (StartTls::Smtp, b"220-one\r\n250 two\r\n"),
        (StartTls::Smtp, "2\u{e9}\u{e9}0 not ASCII\r\n".as_bytes()),
        (StartTls::Smtp, b"+20 a sign\r\n"),
        (StartTls::Imap, b"220 mail.example\r\n"),
        (StartTls::Imap, b"OK\r\n"),
        (StartTls::Pop3, b"* OK\r\n"),
        (StartTls::Pop3, b"+OKAY\r\n"),
        (StartTls::Ldap, b"\x15\x03\x01\0\x02\x02\x0a"),
        (StartTls::Ldap, b"\x30\x80\x02\x01\x01\0\0"),
        (StartTls::Ldap, b"\x30\x84\xff\xff\xff\xff"),
        (StartTls::Ldap, b"\x30\x88\0\0\0\0\0\0\0\x01"),
        (StartTls::Ldap, b"\x30\x0c\x02\x01\x02\x78\x07\x0a\x01\x00\x04\x00\x04\x00"),
        (StartTls::Ldap, b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00"),
        (StartTls::Ldap, b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x80\x04\x00\x04\x00"),
        (StartTls::Ldap, b"\x30\x0c\x02\x01\x01\x78\x7f\x0a\x01\x00\x04\x00\x04\x00"),
        (StartTls::Ldap, b"\x30\x00"),
        (StartTls::PostgreSql, b"ESFATAL"),
        (StartTls::PostgreSql, b"\x15"),
    ] {
        let (client, mut server) = duplex(512);
        server.write_all(words).await.unwrap();
        let error = protocol.negotiate(client, PATIENCE).await.unwrap_err();
        is_protocol(&error, "");
        assert_eq!(error.retry(), Retry::Backoff);
    }
}

#[tokio::test]
async fn endless_talk_is_cut_off() {
    let long_line = vec![b'a'; 5_000];
    let many_lines = b"220-more\r\n".repeat(300);
    let wide_lines = [&b"220-"[..], &[b'a'; 4_000], b"\r\n"].concat().repeat(20);
    for (talk, words) in
        [(long_line, "too long"), (many_lines, "too many lines"), (wide_lines, "too much before TLS")]
    {
        is_protocol(&refusal(StartTls::Smtp, vec![says(talk)]).await, words);
    }
    let untagged = b"* STATUS\r\n".repeat(300);
    let imap = vec![says("* OK\r\n"), hears("c1 CAPABILITY\r\n"), says(untagged)];
    is_protocol(&refusal(StartTls::Imap, imap).await, "too many lines");
    let pop3 = vec![says("+OK\r\n"), hears("CAPA\r\n"), says(b"+OK\r\n".repeat(300))];
    is_protocol(&refusal(StartTls::Pop3, pop3).await, "too many lines");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stalls_is_given_up() {
    for protocol in ALL {
        // It drips, so that every single read is answered.
        let (client, mut server) = duplex(512);
        let dripping = tokio::spawn(async move {
            while server.write_all(if protocol == StartTls::Ldap { b"\x30" } else { b"2" }).await.is_ok() {
                tokio::time::sleep(PATIENCE / 2).await;
            }
        });
        let error = protocol.negotiate(client, PATIENCE).await.unwrap_err();
        match protocol {
            // One byte, or the wrong second one, is enough to know.
            StartTls::PostgreSql => is_protocol(&error, "PostgreSQL"),
            _ => assert_eq!(*error.kind(), ErrorKind::Timeout, "{protocol}"),
        }
        dripping.await.unwrap();
    }
}

#[tokio::test]
async fn a_closed_connection_is_no_answer() {
    for protocol in ALL {
        for end in 0..good(protocol).len() {
            let mut script = good(protocol);
            script.truncate(end);
            is_protocol(&refusal(protocol, script).await, "before TLS");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Nothing that a server says makes the client wait for ever, panic, or speak TLS over what it has not understood.
    #[test]
    fn any_bytes_are_survived(
        which in 0..ALL.len(),
        kept in 0_usize..6,
        cut in 0_usize..200,
        noise in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let protocol = ALL[which];
            let (client, mut server) = duplex(64);
            // Part of a good conversation, and noise in place of the rest.
            let mut words: Vec<u8> = good(protocol).into_iter().take(kept).filter_map(|line| match line {
                Line::Says(words) => Some(words),
                Line::Hears(_) => None,
            }).flatten().collect();
            words.truncate(cut);
            words.extend(&noise);
            let server = async {
                let _ = server.write_all(&words).await;
                let _ = server.shutdown().await;
                // Whatever the client says is taken, so that it is never held up.
                let _ = tokio::io::copy(&mut server, &mut tokio::io::sink()).await;
            };
            // The connection is closed as soon as the client has made up its mind.
            let client = async { protocol.negotiate(client, PATIENCE).await.is_ok() };
            let (agreed, ()) = tokio::join!(client, server);
            let said = String::from_utf8_lossy(&words).to_ascii_uppercase();
            let go_ahead = match protocol {
                StartTls::Smtp => said.contains("STARTTLS") && said.matches("220").count() >= 2,
                StartTls::Imap => said.contains("STARTTLS") && said.contains("C2 OK"),
                StartTls::Pop3 => said.contains("STLS") && said.matches("+OK").count() >= 3,
                StartTls::Ldap => words.contains(&0x78),
                StartTls::PostgreSql => words == b"S",
            };
            prop_assert!(go_ahead || !agreed, "{protocol} took {said:?} for a go-ahead");
            Ok(())
        })?;
    }
}
