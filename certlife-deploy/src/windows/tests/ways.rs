//! The ways to PowerShell, and what comes back over them: a real SSH connection to a server in this process, and a
//! program in place of `powershell.exe`.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use certlife_core::{Deployer as _, ErrorKind, Operation, SecretBytes};
use serde_json::json;

use super::{
    super::{transport::*, *},
    Case, SITE,
    console::Console,
    sshd::{nobody, runs_the_bootstrap, sshd},
};

#[tokio::test]
async fn everything_goes_through_a_real_connection() {
    let case = Case::new();
    let server = sshd(Console::new(&case.machine));
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
    case.machine.orders().out_of_memory = true;
    let error = windows.probe().await.unwrap_err();
    let ErrorKind::CommandFailed(words) = error.kind() else { panic!("{error}") };
    assert!(words.as_str().contains("exit status: 1") && words.as_str().contains("out of memory"), "{words}");
}

#[tokio::test]
async fn a_server_with_another_key_or_login_is_refused() {
    let case = Case::new();
    let right = sshd(Console::new(&case.machine));
    let other = sshd(Console::new(&case.machine));
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
async fn a_script_ends_with_its_connection_or_goes_on_by_itself() {
    for goes_on in [false, true] {
        let case = Case::new();
        case.machine.orders().goes_on = goes_on;
        let server = sshd(Console::new(&case.machine));
        let windows = Windows::builder(Connection::ssh(server)).pfx(Pfx::Legacy).build().unwrap();
        let bundle = case.bundle();
        let is_locked = || case.machine.0.mutex.try_lock().is_err();
        let at_work = async {
            while !is_locked() {
                tokio::task::yield_now().await;
            }
            case.machine.orders().stuck = true;
        };
        tokio::select! {
            biased;
            outcome = windows.install(&bundle) => panic!("nothing was seen at work: {outcome:?}"),
            () = at_work => {}
        }
        let killed = async {
            while is_locked() {
                tokio::task::yield_now().await;
            }
        };
        if goes_on {
            for _ in 0..1_000 {
                tokio::task::yield_now().await;
            }
            assert!(is_locked(), "the script is at work by itself");
        } else {
            tokio::time::timeout(Duration::from_mins(1), killed).await.expect("nothing is at work any more");
        }
        case.machine.orders().stuck = false;
        let again = tokio::time::timeout(Duration::from_mins(1), windows.install(&bundle));
        again.await.expect("nothing is in the way").unwrap();
        assert!(!is_locked() && case.entry(&bundle).is_some());
    }
}

#[tokio::test]
async fn nobody_at_the_address_is_told() {
    let windows = Windows::builder(Connection::ssh(nobody())).build().unwrap();
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
