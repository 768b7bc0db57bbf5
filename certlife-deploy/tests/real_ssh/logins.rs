//! Who logs in where, and which server is believed.

use certlife_core::{Deployer as _, Error, ErrorKind};
use certlife_deploy::{
    remote::Server,
    ssh::{HostKey, Login, Ssh},
};

use super::Machine;

async fn probe(machine: &Machine, server: Server) -> Result<(), Error> {
    let ssh = Ssh::builder(server, machine.inside("certificates")).build().unwrap();
    ssh.probe().await.map(drop)
}

fn but(mut server: Server, change: impl FnOnce(&mut Server)) -> Server {
    change(&mut server);
    server
}

#[tokio::test]
async fn keys_certificates_and_passwords_log_in() {
    let machine = Machine::plain();
    let keys = &machine.openssh.keys;
    let mut logins = vec![
        Login::key(keys.plain.as_str()),
        Login::key(keys.ecdsa.as_str()),
        Login::encrypted_key(keys.encrypted.as_str(), machine.openssh.passphrase.as_str()),
        Login::key(keys.certified.as_str()).certificate(&keys.certificate),
        Login::password(machine.openssh.password.as_str()),
    ];
    if cfg!(feature = "ssh-rsa") {
        logins.push(Login::key(keys.rsa.as_str()));
    }
    for login in logins {
        let what = format!("{login:?}");
        probe(&machine, machine.server_as(login))
            .await
            .unwrap_or_else(|error| panic!("{what}: {}", error.chain()));
    }
}

#[tokio::test]
async fn a_login_that_is_refused_is_told() {
    let machine = Machine::plain();
    let keys = &machine.openssh.keys;
    for (login, words) in [
        (Login::key(keys.stranger.as_str()), "the key SHA256:"),
        (Login::key(keys.certified.as_str()), "the key SHA256:"),
        (Login::password("hunter2"), "the password was refused"),
    ] {
        let error = probe(&machine, machine.server_as(login)).await.unwrap_err();
        assert_eq!(*error.kind(), ErrorKind::Unauthorized, "{}", error.chain());
        assert!(error.chain().contains(words) && !error.chain().contains("hunter2"), "{}", error.chain());
    }
    let nobody = but(machine.server(), |server| server.user = "no-such-user".to_owned());
    assert_eq!(*probe(&machine, nobody).await.unwrap_err().kind(), ErrorKind::Unauthorized);
    // What opens the key is known before a connection is made.
    let login = Login::encrypted_key(keys.encrypted.as_str(), "wrong");
    let error = Ssh::builder(machine.server_as(login), "/srv").build().unwrap_err();
    assert!(error.to_string().contains("login.passphrase"), "{error}");
    let error =
        Ssh::builder(machine.server_as(Login::key(keys.encrypted.as_str())), "/srv").build().unwrap_err();
    assert!(error.to_string().contains("is encrypted"), "{error}");
    let rsa = Ssh::builder(machine.server_as(Login::key(keys.rsa.as_str())), "/srv").build();
    assert_eq!(rsa.is_ok(), cfg!(feature = "ssh-rsa"));
}

#[tokio::test]
async fn a_server_is_known_by_any_of_its_keys_its_authority_or_a_file() {
    let machine = Machine::plain();
    let (hosts, port) = (&machine.openssh.host_keys, machine.openssh.address.port());
    let file = machine.path("known_hosts");
    std::fs::write(&file, format!("[127.0.0.1]:{port} {}", hosts.ed25519)).unwrap();
    let authority = format!("@cert-authority [127.0.0.1]:{port} {}", machine.openssh.authority);
    let mut known = vec![
        HostKey::pinned([&hosts.ed25519]),
        // The key decides which one the server is asked for.
        HostKey::pinned([&hosts.ecdsa]),
        HostKey::known_hosts(format!("[127.0.0.1]:{port} {}", hosts.ecdsa)),
        HostKey::known_hosts_file(&file),
        HostKey::known_hosts(authority),
    ];
    if cfg!(feature = "ssh-rsa") {
        known.push(HostKey::pinned([&hosts.rsa]));
    }
    for host_key in known {
        let what = format!("{host_key:?}");
        let server = but(machine.server(), |server| server.host_key = host_key);
        probe(&machine, server).await.unwrap_or_else(|error| panic!("{what}: {}", error.chain()));
    }
}

#[tokio::test]
async fn a_server_that_is_not_known_gets_no_login_and_its_key_is_told() {
    let machine = Machine::plain();
    let (hosts, port) = (&machine.openssh.host_keys, machine.openssh.address.port());
    let file = machine.path("known_hosts");
    std::fs::write(&file, format!("[127.0.0.1]:22 {}", hosts.ed25519)).unwrap();
    let authority = &machine.openssh.authority;
    for host_key in [
        HostKey::pinned([authority]),
        HostKey::pinned(["SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]),
        HostKey::known_hosts_file(&file),
        HostKey::known_hosts(format!("@cert-authority * {}", hosts.ecdsa)),
        HostKey::known_hosts(format!("@revoked * {0}[127.0.0.1]:{port} {0}", hosts.ed25519)),
    ] {
        let what = format!("{host_key:?}");
        // A login that would be refused as well: it is not even tried.
        let login = Login::key(machine.openssh.keys.stranger.as_str());
        let server = but(machine.server_as(login), |server| server.host_key = host_key);
        let error = probe(&machine, server).await.unwrap_err();
        let ErrorKind::Untrusted(words) = error.kind() else { panic!("{what}: {}", error.chain()) };
        for part in ["SHA256:", "`host_key`", "127.0.0.1"] {
            assert!(words.as_str().contains(part), "{what}: {words}");
        }
    }
    assert!(!machine.path("certificates").exists());
}

#[tokio::test]
async fn a_jump_host_leads_on_and_its_own_refusals_are_told_as_its() {
    let machine = Machine::plain();
    let through = |jump: Server| {
        let ssh = Ssh::builder(machine.server(), machine.inside("certificates")).jump(jump);
        let ssh = ssh.build().unwrap();
        async move { ssh.probe().await.map(drop) }
    };
    through(machine.server()).await.unwrap();
    let stranger = machine.server_as(Login::key(machine.openssh.keys.stranger.as_str()));
    let error = through(stranger).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unauthorized);
    assert!(error.chain().contains("at the jump host"), "{}", error.chain());
    let impostor =
        but(machine.server(), |server| server.host_key = HostKey::pinned([&machine.openssh.authority]));
    assert!(matches!(through(impostor).await.unwrap_err().kind(), ErrorKind::Untrusted(_)));
    let limited = but(machine.server(), |server| server.user.clone_from(&machine.openssh.limited_user));
    let error = through(limited).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Forbidden(_)), "{}", error.chain());
}

#[tokio::test]
async fn a_server_that_is_away_or_silent_is_told() {
    let machine = Machine::plain();
    // It accepts and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = machine.server().port(silent.local_addr().unwrap().port());
    let ssh = Ssh::builder(server.clone(), "/srv").connect_timeout(std::time::Duration::from_secs(1));
    assert_eq!(*ssh.build().unwrap().probe().await.unwrap_err().kind(), ErrorKind::Timeout);
    drop(silent);
    assert_eq!(*probe(&machine, server).await.unwrap_err().kind(), ErrorKind::Unreachable);
    let unknown = but(machine.server(), |server| server.host = "no-such-host.invalid".to_owned());
    let error = probe(&machine, unknown).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Unreachable);
    assert!(error.chain().contains("no-such-host.invalid"), "{}", error.chain());
}
