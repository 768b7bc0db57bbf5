//! What is checked before a connection is made. `fixtures` are ssh-keygen's, of keys that were thrown away.

use std::sync::Arc;

use certlife_core::{ErrorKind, KeyAlgorithm, PrivateKey, Secret, SystemClock, Timestamp};
use russh::keys::{Algorithm, Certificate, PublicKey, PublicKeyOrCertificate};

use super::{
    HostKey, Login, Route, Server,
    host_keys::{Accepted, Trust},
};

const ED25519: &str = include_str!("fixtures/ed25519.pub");
const ECDSA: &str = include_str!("fixtures/ecdsa.pub");
const RSA: &str = include_str!("fixtures/rsa.pub");
const AUTHORITY: &str = include_str!("fixtures/authority.pub");
/// Of [`ED25519`], for `www.example.org` and `*.example.net`, valid through 2026.
const HOST_CERTIFICATE: &str = include_str!("fixtures/host-certificate.pub");
const USER_CERTIFICATE: &str = include_str!("fixtures/user-certificate.pub");
/// [`ED25519`] for `[www.example.org]:2222` and [`ECDSA`] for `www.example.org`.
const HASHED: &str = include_str!("fixtures/known_hosts.hashed");
const FINGERPRINT: &str = "SHA256:ss3GZ3JfjHymyvWlCugDjPj8T57Nu8y2iJcTFZzUhKY";

fn key(text: &str) -> PublicKeyOrCertificate {
    PublicKey::from_openssh(text).unwrap().into()
}

fn certificate(text: &str) -> PublicKeyOrCertificate {
    Certificate::from_openssh(text).unwrap().into()
}

/// A moment in 2026.
fn now() -> Timestamp {
    Timestamp::from_unix_seconds(1_780_000_000)
}

async fn accepted(host: &str, port: u16, stated: HostKey) -> Arc<Accepted> {
    Trust::new(host, port, stated).unwrap().accepted().await.unwrap()
}

async fn by_lines(host: &str, port: u16, lines: &str) -> Arc<Accepted> {
    // A line about the host that no test shows, so that there is one.
    let name = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
    accepted(host, port, HostKey::known_hosts(format!("{lines}\n{name} {ECDSA}"))).await
}

fn refusal(accepted: &Accepted, shown: &PublicKeyOrCertificate, now: Timestamp) -> String {
    match accepted.check(shown, now) {
        Err(ErrorKind::Untrusted(words)) => words.as_str().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_pinned_key_or_fingerprint_is_accepted_and_no_other() {
    for pin in [ED25519.to_owned(), FINGERPRINT.to_owned(), format!("  {ED25519}\n")] {
        let accepted = accepted("www.example.org", 22, HostKey::pinned([pin])).await;
        accepted.check(&key(ED25519), now()).unwrap();
        let words = refusal(&accepted, &key(ECDSA), now());
        let shown = PublicKey::from_openssh(ECDSA).unwrap().fingerprint(russh::keys::HashAlg::Sha256);
        for part in ["www.example.org shows", &shown.to_string(), "`host_key`"] {
            assert!(words.contains(part), "{words}");
        }
    }
}

#[tokio::test]
async fn a_known_key_says_which_algorithm_to_ask_for() {
    let by_key = accepted("www.example.org", 22, HostKey::pinned([ECDSA])).await;
    assert!(matches!(by_key.algorithms()[..], [Algorithm::Ecdsa { .. }]));
    assert!(by_key.certificate_algorithms().is_empty());
    let by_fingerprint = accepted("www.example.org", 22, HostKey::pinned([FINGERPRINT])).await;
    assert!(by_fingerprint.algorithms().len() >= 4);
}

#[tokio::test]
async fn known_hosts_is_read_as_openssh_reads_it() {
    for (hosts, host, port, meant) in [
        ("www.example.org", "www.example.org", 22, true),
        ("WWW.example.ORG", "www.Example.org", 22, true),
        ("www.example.org", "www.example.org", 2222, false),
        ("[www.example.org]:2222", "www.example.org", 2222, true),
        ("[www.example.org]:2222", "www.example.org", 22, false),
        ("mail,www.example.org,192.0.2.1", "192.0.2.1", 22, true),
        ("2001:db8::1", "2001:db8::1", 22, true),
        ("*.example.org", "www.example.org", 22, true),
        ("*.example.org", "example.org", 22, false),
        ("w?w.*.org", "www.example.org", 22, true),
        ("*", "www.example.org", 22, true),
        ("*,!www.example.org", "www.example.org", 22, false),
        ("!www.example.org,*", "www.example.org", 22, false),
        ("!mail.example.org", "www.example.org", 22, false),
        ("[*.example.org]:22??", "www.example.org", 2222, true),
        ("#www.example.org", "www.example.org", 22, false),
        ("www.example.org.evil.example", "www.example.org", 22, false),
        ("", "www.example.org", 22, false),
    ] {
        let accepted = by_lines(&host.to_ascii_lowercase(), port, &format!("{hosts} {ED25519}")).await;
        assert_eq!(accepted.check(&key(ED25519), now()).is_ok(), meant, "{hosts} for {host}:{port}");
    }
}

#[tokio::test]
async fn hashed_names_are_recognized() {
    let on_2222 = accepted("www.example.org", 2222, HostKey::known_hosts(HASHED)).await;
    on_2222.check(&key(ED25519), now()).unwrap();
    refusal(&on_2222, &key(ECDSA), now());
    let on_22 = accepted("www.example.org", 22, HostKey::known_hosts(HASHED)).await;
    on_22.check(&key(ECDSA), now()).unwrap();
    refusal(&on_22, &key(ED25519), now());
    assert!(Trust::new("mail.example.org", 22, HostKey::known_hosts(HASHED)).is_err());
}

#[tokio::test]
async fn a_revoked_key_is_refused_whatever_else_is_said() {
    let lines = format!("www.example.org {ED25519}@revoked * {ED25519}@cert-authority * {AUTHORITY}");
    let accepted = by_lines("www.example.org", 22, &lines).await;
    assert!(refusal(&accepted, &key(ED25519), now()).contains("revoked"));
    assert!(refusal(&accepted, &certificate(HOST_CERTIFICATE), now()).contains("revoked"));
    let lines = format!("@cert-authority * {AUTHORITY}@revoked * {AUTHORITY}");
    let accepted = by_lines("www.example.org", 22, &lines).await;
    assert!(refusal(&accepted, &certificate(HOST_CERTIFICATE), now()).contains("revoked"));
    // A line that takes trust away is never passed over.
    let broken = HostKey::known_hosts(format!("www.example.org {ED25519}@revoked * nonsense"));
    let (_, rule) = Trust::new("www.example.org", 22, broken).unwrap_err();
    assert!(rule.contains("line 2"), "{rule}");
}

#[tokio::test]
async fn a_certificate_counts_by_its_authority_its_names_and_the_clock() {
    let lines = format!("@cert-authority *.example.org,*.example.net {AUTHORITY}");
    let accepted_at = async |host: &str| by_lines(host, 22, &lines).await;
    for host in ["www.example.org", "a.example.net"] {
        let accepted = accepted_at(host).await;
        assert!(!accepted.certificate_algorithms().is_empty());
        accepted.check(&certificate(HOST_CERTIFICATE), now()).unwrap();
        // The authority's own key, and the bare key, prove nothing.
        refusal(&accepted, &key(AUTHORITY), now());
        refusal(&accepted, &key(ED25519), now());
    }
    let other = accepted_at("mail.example.org").await;
    assert!(refusal(&other, &certificate(HOST_CERTIFICATE), now()).contains("other hosts"));
    let accepted = accepted_at("www.example.org").await;
    for (seconds, good) in
        [(1_767_225_599, false), (1_767_225_600, true), (1_798_761_599, true), (1_798_761_600, false)]
    {
        let moment = Timestamp::from_unix_seconds(seconds);
        let outcome = accepted.check(&certificate(HOST_CERTIFICATE), moment);
        assert_eq!(outcome.is_ok(), good, "{seconds}: {outcome:?}");
    }
    assert!(refusal(&accepted, &certificate(USER_CERTIFICATE), now()).contains("not a host's"));
    let stranger = by_lines("www.example.org", 22, &format!("@cert-authority * {ECDSA}")).await;
    assert!(refusal(&stranger, &certificate(HOST_CERTIFICATE), now()).contains("unknown authority"));
    // A pinned key does not make its certificate good.
    let pinned = accepted_by_pin().await;
    refusal(&pinned, &certificate(HOST_CERTIFICATE), now());
}

async fn accepted_by_pin() -> Arc<Accepted> {
    accepted("www.example.org", 22, HostKey::pinned([ED25519])).await
}

#[tokio::test]
async fn a_file_is_read_anew_each_time() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let trust = Trust::new("www.example.org", 22, HostKey::known_hosts_file(file.path())).unwrap();
    let empty = trust.accepted().await.unwrap();
    refusal(&empty, &key(ED25519), now());
    std::fs::write(file.path(), format!("www.example.org {ED25519}")).unwrap();
    trust.accepted().await.unwrap().check(&key(ED25519), now()).unwrap();
    file.close().unwrap();
    assert!(matches!(trust.accepted().await.unwrap_err(), ErrorKind::Io(_)));
}

fn server() -> Server {
    let login = Login::key(private_key(KeyAlgorithm::Ed25519));
    Server::new("www.example.org", "deploy", login, HostKey::pinned([ED25519]))
}

fn private_key(algorithm: KeyAlgorithm) -> Secret {
    PrivateKey::generate(algorithm).unwrap().to_pkcs8_pem().unwrap()
}

fn route(server: Server) -> Result<Route, String> {
    Route::new(server, None, 20, Arc::new(SystemClock::default())).map_err(|error| error.to_string())
}

#[test]
fn keys_of_every_kind_but_rsa_log_in() {
    for algorithm in [KeyAlgorithm::Ed25519, KeyAlgorithm::EcdsaP256, KeyAlgorithm::EcdsaP384] {
        let login = Login::key(private_key(algorithm));
        route(Server { login, ..server() }).unwrap();
    }
    let login = Login::key(private_key(KeyAlgorithm::Rsa2048));
    let outcome = route(Server { login, ..server() });
    assert_eq!(outcome.is_ok(), cfg!(feature = "ssh-rsa"), "{outcome:?}");
}

#[test]
fn bad_settings_are_named() {
    let with = |change: fn(&mut Server)| {
        let mut server = server();
        change(&mut server);
        route(server).unwrap_err()
    };
    for (setting, error) in [
        ("server.host", with(|server| server.host = String::new())),
        ("server.host", with(|server| server.host = "www.example.org:22".replace(':', " "))),
        ("server.host", with(|server| server.host = "-oProxyCommand=x".to_owned())),
        ("server.host", with(|server| server.host = "[::1]".to_owned())),
        ("server.port", with(|server| server.port = 0)),
        ("server.user", with(|server| server.user = String::new())),
        ("server.user", with(|server| server.user = "a\nb".to_owned())),
        ("server.login.password", with(|server| server.login = Login::password(""))),
        ("server.login.private_key", with(|server| server.login = Login::key("not a key"))),
        (
            "server.login.private_key",
            with(|server| server.login = Login::key("-----BEGIN OPENSSH PRIVATE KEY-----")),
        ),
        (
            "server.login.certificate",
            with(|server| server.login = server.login.clone().certificate("nonsense")),
        ),
        (
            "server.login.certificate",
            with(|server| server.login = server.login.clone().certificate(HOST_CERTIFICATE)),
        ),
        (
            "server.login.certificate",
            with(|server| server.login = server.login.clone().certificate(USER_CERTIFICATE)),
        ),
        ("server.host_key", with(|server| server.host_key = HostKey::default())),
        ("server.host_key.pinned", with(|server| server.host_key = HostKey::pinned(["MD5:00:11"]))),
        ("server.host_key.pinned", with(|server| server.host_key = HostKey::pinned(["ssh-ed25519"]))),
        (
            "server.host_key.known_hosts",
            with(|server| server.host_key = HostKey::known_hosts(HASHED.replace("|1|", "|2|"))),
        ),
        (
            "server.host_key.known_hosts_file",
            with(|server| server.host_key = HostKey::known_hosts_file("known_hosts")),
        ),
    ] {
        assert!(error.starts_with(&format!("setting `{setting}`")), "{setting}: {error}");
    }
    let jump = Server { user: String::new(), ..server() };
    let error = Route::new(server(), Some(jump), 20, Arc::new(SystemClock::default())).unwrap_err();
    assert!(error.to_string().contains("`jump.user`"), "{error}");
    let error = Route::new(server(), None, 0, Arc::new(SystemClock::default())).unwrap_err();
    assert!(error.to_string().contains("connect_timeout_seconds"), "{error}");
}

#[test]
fn an_rsa_key_of_a_server_needs_the_feature() {
    let outcome = route(Server { host_key: HostKey::pinned([RSA]), ..server() });
    assert_eq!(outcome.is_ok(), cfg!(feature = "ssh-rsa"));
    if let Err(error) = outcome {
        assert!(error.contains("ssh-rsa"), "{error}");
    }
}

#[test]
fn secrets_are_not_printed() {
    let key = private_key(KeyAlgorithm::Ed25519);
    let body = key.expose().lines().nth(1).unwrap().to_owned();
    for login in [Login::key(key.clone()), Login::encrypted_key(key, "hunter2"), Login::password("hunter2")] {
        let server = Server { login, ..server() };
        let printed = format!("{server:?} {:?}", route(server.clone()));
        assert!(!printed.contains("hunter2") && !printed.contains(&body), "{printed}");
    }
}
