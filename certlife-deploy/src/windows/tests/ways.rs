//! The ways to PowerShell, and what comes back over them: a real SSH connection to a server in this process, and a
//! program in place of `powershell.exe`.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use certlife_core::{Deployer as _, ErrorKind, KeyAlgorithm, Operation, PrivateKey, SecretBytes};
use russh::{
    Channel, ChannelId, ChannelMsg,
    server::{self, Auth, ChannelOpenHandle, Msg, Session},
};
use serde_json::json;

use super::{
    super::{script::BOOTSTRAP, transport::*, *},
    Case, SITE,
    machine::*,
};

/// A server that knows one password, and in place of PowerShell a machine.
struct Sshd {
    machine: Machine,
    channels: Vec<Channel<Msg>>,
}

impl server::Handler for Sshd {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, russh::Error> {
        Ok(if (user, password) == ("deploy", "open sesame") { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.channels.push(channel);
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        line: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_success(id)?;
        let at = self.channels.iter().position(|channel| channel.id() == id).unwrap();
        let mut channel = self.channels.swap_remove(at);
        let (machine, line) = (self.machine.clone(), String::from_utf8(line.to_vec()).unwrap());
        tokio::spawn(async move {
            let mut stdin = Vec::new();
            while let Some(message) = channel.wait().await {
                match message {
                    ChannelMsg::Data { data } => stdin.extend_from_slice(&data),
                    ChannelMsg::Eof => break,
                    _ => {}
                }
            }
            runs_the_bootstrap(&line);
            match machine.run(Operation::Probe, &SecretBytes::new(stdin)).await {
                Ok(printed) => {
                    channel.data_bytes(printed).await.unwrap();
                    channel.exit_status(0).await.unwrap();
                }
                Err(_) => {
                    channel.data_bytes(b"#< CLIXML out of memory".to_vec()).await.unwrap();
                    channel.exit_status(1).await.unwrap();
                }
            }
            let _ = channel.eof().await;
            let _ = channel.close().await;
        });
        Ok(())
    }
}

/// Asserts that `cmd.exe` would take the line, and that it starts the bootstrap.
fn runs_the_bootstrap(line: &str) {
    assert!(line.len() <= 8_191, "{} characters", line.len());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" .-+/=".contains(&byte);
    assert!(line.bytes().all(plain), "nothing means anything to a shell: {line}");
    let words: Vec<_> = line.split(' ').collect();
    let [program, options @ .., "-EncodedCommand", encoded] = &words[..] else { panic!("{line}") };
    assert_eq!(*program, "powershell.exe");
    assert!(options.contains(&"-NonInteractive") && options.contains(&"-NoProfile"));
    let utf16: Vec<u16> = STANDARD
        .decode(encoded)
        .unwrap()
        .chunks(2)
        .map(|pair| u16::from_le_bytes(pair.try_into().unwrap()))
        .collect();
    assert_eq!(String::from_utf16(&utf16).unwrap(), BOOTSTRAP);
}

/// Starts the server; it ends with the test.
async fn sshd(machine: &Machine) -> Server {
    let pem = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap().to_pkcs8_pem().unwrap();
    let key = russh::keys::decode_secret_key(pem.expose(), None).unwrap();
    let pinned = key.public_key().to_openssh().unwrap();
    let config = Arc::new(server::Config { keys: vec![key], ..server::Config::default() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let machine = machine.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sshd = Sshd { machine: machine.clone(), channels: Vec::new() };
            let running = server::run_stream(Arc::clone(&config), stream, sshd).await.unwrap();
            tokio::spawn(running);
        }
    });
    Server::new("127.0.0.1", "deploy", Login::password("open sesame"), HostKey::pinned([pinned])).port(port)
}

#[tokio::test]
async fn everything_goes_through_a_real_connection() {
    let case = Case::new();
    let server = sshd(&case.machine).await;
    let windows = Windows::builder(Connection::ssh(server))
        .binding(Binding::new(SITE).each_name(true))
        .challenge_site(SITE)
        .friendly_name("größe \u{1f512}")
        .build()
        .unwrap();
    let summary = windows.probe().await.unwrap();
    assert!(summary.identity.unwrap().as_str().contains("by deploy@127.0.0.1"));
    let (first, second) = (case.bundle(), case.bundle());
    windows.install(&first).await.unwrap();
    let receipt = windows.install(&second).await.unwrap();
    assert_eq!(case.served("www.example.org"), Some(second.chain.fingerprint()));
    assert!(case.entry(&second).unwrap().name.starts_with("größe \u{1f512} ["));
    windows.rollback(&receipt).await.unwrap();
    assert_eq!(windows.installed(&case.www).await.unwrap().unwrap().version, Some(first.version));
    // A PowerShell that fails by itself is told in its own words.
    case.machine.orders().offline = true;
    let error = windows.probe().await.unwrap_err();
    let ErrorKind::CommandFailed(words) = error.kind() else { panic!("{error}") };
    assert!(words.as_str().contains("exit status: 1") && words.as_str().contains("out of memory"), "{words}");
}

#[tokio::test]
async fn a_server_with_another_key_or_login_is_refused() {
    let case = Case::new();
    let right = sshd(&case.machine).await;
    let other = sshd(&case.machine).await;
    for (server, trusted) in [
        (Server { host_key: other.host_key.clone(), ..right.clone() }, false),
        (Server { login: Login::password("wrong"), ..right.clone() }, true),
    ] {
        let windows = Windows::builder(Connection::ssh(server)).build().unwrap();
        let error = windows.install(&case.bundle()).await.unwrap_err();
        match error.kind() {
            ErrorKind::Untrusted(_) => assert!(!trusted, "{error}"),
            ErrorKind::Unauthorized => assert!(trusted, "{error}"),
            _ => panic!("{}", error.chain()),
        }
    }
    assert!(case.machine.world().calls.is_empty(), "nothing was sent");
}

#[tokio::test]
async fn nobody_at_the_address_is_told() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let server = sshd(&Machine::new()).await.port(port);
    let windows = Windows::builder(Connection::ssh(server)).build().unwrap();
    assert_eq!(*windows.probe().await.unwrap_err().kind(), ErrorKind::Unreachable);
}

/// A program in place of `powershell.exe`.
#[cfg(unix)]
fn program(directory: &std::path::Path, text: &str) -> Process {
    use std::os::unix::fs::PermissionsExt as _;
    let path = directory.join("powershell.exe");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    Process::new(path, Duration::from_secs(10)).unwrap()
}

#[cfg(unix)]
#[tokio::test]
async fn a_process_gets_the_same_words_and_the_same_document() {
    let directory = tempfile::tempdir().unwrap();
    let text = "#!/bin/sh\ncd \"$(dirname \"$0\")\"\necho \"$*\" > words\ncat > stdin\necho answer; echo noise >&2\n";
    let process = program(directory.path(), text);
    let document = SecretBytes::new(vec![b'a'; 300_000]);
    let printed = process.run(Operation::Probe, &document).await.unwrap();
    assert_eq!(printed, b"answer\n");
    let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    runs_the_bootstrap(&format!("powershell.exe {}", read("words").trim_end()));
    assert_eq!(read("stdin").as_bytes(), document.expose());
}

#[cfg(unix)]
#[tokio::test]
async fn a_process_that_fails_reads_nothing_or_is_missing_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let document = SecretBytes::new(vec![b'a'; 300_000]);
    let process = program(directory.path(), "#!/bin/sh\necho 'no memory' >&2\nexit 5\n");
    let error = process.run(Operation::Install, &document).await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::CommandFailed(words) if words.as_str() == "no memory"),
        "{error}"
    );
    let missing = Process::new(directory.path().join("nothing.exe"), Duration::from_secs(10)).unwrap();
    let error = missing.run(Operation::Install, &document).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::CommandFailed(_)), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_process_that_hangs_is_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let text = "#!/bin/sh\nexec sleep 600\n";
    program(directory.path(), text);
    let path = directory.path().join("powershell.exe");
    let process = Process::new(path, Duration::from_millis(50)).unwrap();
    let error = process.run(Operation::Install, &SecretBytes::new(Vec::new())).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Timeout);
}

/// What a machine prints around an answer.
fn framed(text: &str) -> Vec<u8> {
    format!("-----BEGIN CERTLIFE-----{}-----END CERTLIFE-----", STANDARD.encode(text)).into_bytes()
}

#[tokio::test]
async fn hostile_output_is_an_error_and_nothing_else() {
    let case = Case::new();
    let windows = case.windows(|it| it);
    let state = "a".repeat(1_000_000);
    for printed in [
        Vec::new(),
        b"powershell.exe : command not found".to_vec(),
        b"-----BEGIN CERTLIFE-----".to_vec(),
        b"-----END CERTLIFE----------BEGIN CERTLIFE-----".to_vec(),
        b"-----BEGIN CERTLIFE-----!!!-----END CERTLIFE-----".to_vec(),
        b"-----BEGIN CERTLIFE-----\xff\xfe-----END CERTLIFE-----".to_vec(),
        framed(""),
        framed("null"),
        framed("{}"),
        framed(r#"{"result":{}}"#),
        framed(r#"{"result":null,"error":null}"#),
        framed(r#"{"error":{"kind":"failed"}}"#),
        framed(r#"{"error":{"kind":"failed","message":"x","more":1}}"#),
        framed(&"[".repeat(100_000)),
        framed(
            &json!({ "result": { "state": state, "certificates": [], "iis": true, "bindings": [], "files": [], "kept": [] } })
                .to_string(),
        ),
        framed(
            r#"{"result":{"state":null,"certificates":[{"store":"My","thumbprint":"'; iex","fingerprint":"00",
            "name":"","has_key":true,"archived":false}],"iis":true,"bindings":[],"files":[],"kept":[]}}"#,
        ),
    ] {
        case.machine.orders().prints = Some(printed.clone());
        for error in [
            windows.install(&case.bundle()).await.unwrap_err(),
            windows.installed(&case.www).await.unwrap_err(),
        ] {
            let known = matches!(error.kind(), ErrorKind::Protocol(_) | ErrorKind::Corrupt(_));
            assert!(known, "{}: {error}", String::from_utf8_lossy(&printed[..printed.len().min(100)]));
            assert!(error.chain().len() < 300, "{error}");
        }
    }
}

#[tokio::test]
async fn words_of_a_machine_are_made_safe() {
    let case = Case::new();
    let windows = case.windows(|it| it);
    let message = format!("line 1\r\nline 2\u{1b}[31m\u{202e} {}", "x".repeat(5_000));
    for (kind, code) in [
        ("not-found", "not_found"),
        ("denied", "forbidden"),
        ("conflict", "conflict"),
        ("in-use", "command_failed"),
        ("bad-pfx", "rejected"),
        ("failed", "command_failed"),
        ("$(anything)", "command_failed"),
        ("changed", "not_now"),
    ] {
        case.machine.orders().prints =
            Some(framed(&json!({ "error": { "kind": kind, "message": message } }).to_string()));
        let error = windows.install(&case.bundle()).await.unwrap_err();
        assert_eq!(error.kind().code(), code, "{error}");
        let text = error.chain();
        assert!(!text.contains(['\r', '\n', '\u{1b}', '\u{202e}']) && text.len() < 1_500, "{text:?}");
    }
}
