//! Forged, replayed, expired: each is refused with words that say what to do, and changes nothing.

use std::{sync::Arc, time::Duration};

use certlife_core::{
    Clock as _, Deployer as _, ErrorKind, Operation, ProviderName, Secret, SystemClock,
    http::{Client, Settings},
};
use certlife_testkit::{clock::ManualClock, deploy::Issuer};
use http::StatusCode;
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::json;

use super::{
    super::wire::{Answer, Outcome},
    pretender::Pretender,
    world::{DAY, PATIENCE, World, bundle, memory, name, run, serve, until, www},
};

#[tokio::test]
async fn an_invitation_is_good_once_for_one_name_and_one_key() {
    let (world, clock) = (World::new(), ManualClock::default());
    let hub = world.hub_with(Arc::new(clock.clone()), PATIENCE).await;
    let token = hub.invite(&name("web1"), DAY).await.unwrap();
    hub.invite(&name("web2"), DAY).await.unwrap();
    let (mut agent, mut thief) = (Pretender::new(&hub), Pretender::new(&hub));
    let refused = async |caller: &mut Pretender, agent: &str, token: &Secret| {
        let (status, refusal) = caller.enrol(agent, token).await;
        assert_eq!((status, refusal["code"].as_str()), (StatusCode::FORBIDDEN, Some("invitation_refused")));
        assert!(caller.certificate.is_none());
    };
    refused(&mut thief, "web2", &token).await;
    refused(&mut thief, "nobody", &token).await;
    refused(&mut thief, "web1", &Secret::new("certlife-agent-1.guessed.00")).await;
    let (_, first) = agent.enrol("web1", &token).await;
    // The agent that lost the answer gets it again; whoever overheard the token does not.
    assert_eq!(agent.enrol("web1", &token).await.1, first);
    refused(&mut thief, "web1", &token).await;

    let void = hub.invite(&name("web3"), DAY).await.unwrap();
    let late = hub.invite(&name("web3"), DAY).await.unwrap();
    refused(&mut thief, "web3", &void).await;
    clock.advance(DAY);
    refused(&mut thief, "web3", &late).await;
    assert!(hub.invite(&name("web3"), 31 * DAY).await.is_err());
    assert!(hub.target(&name("nobody"), &name("files")).await.is_err());
}

#[tokio::test]
async fn only_certificates_of_the_hub_are_agents() {
    let world = World::new();
    let hub = world.hub().await;
    let agent = Pretender::enrolled(&hub, "web1").await;
    let mut stranger = Pretender::new(&hub);
    let refused = async |stranger: &Pretender| {
        for path in ["work", "renew", "work/00000000000000000000000000000000-1"] {
            let (status, refusal) = stranger.post(path, &json!({})).await;
            let expected = (StatusCode::UNAUTHORIZED, Some("enrol_again"));
            assert_eq!((status, refusal["code"].as_str()), expected, "{path}");
        }
    };
    refused(&stranger).await;
    // Somebody else's certificate with the right name, and one that is no certificate.
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "web1");
    let forged = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    for der in [forged.der().clone(), vec![0x30, 0].into()] {
        stranger.certificate = Some(der);
        refused(&stranger).await;
    }
    // Another hub's certificate for an agent of the same name.
    let elsewhere = World::new();
    stranger.certificate = Pretender::enrolled(&elsewhere.hub().await, "web1").await.certificate;
    refused(&stranger).await;
    assert_eq!(agent.fetch(&[], 0).await.0, StatusCode::OK);
}

#[tokio::test]
async fn reports_count_once_and_only_from_whom_the_work_was_given_to() {
    let world = World::new();
    let hub = world.hub().await;
    let (agent, other) = (Pretender::enrolled(&hub, "web1").await, Pretender::enrolled(&hub, "web2").await);
    let target = hub.target(&name("web1"), &name("files")).await.unwrap();
    let bundle = bundle(&Issuer::new());
    let call = tokio::spawn(async move { target.uninstall(&www()).await });
    let item = agent.work(&[]).await.remove(0);
    let forged = other.report(&item, Answer::Nothing).await;
    assert_eq!((forged.0, forged.1["code"].as_str()), (StatusCode::NOT_FOUND, Some("unknown_work")));
    assert!(!call.is_finished());
    let mut invented = item.clone();
    invented.id = "0123456789abcdef0123456789abcdef-7".parse().unwrap();
    assert_eq!(agent.report(&invented, Answer::Nothing).await.0, StatusCode::NOT_FOUND);
    for bad in ["../../etc", "0123456789ABCDEF0123456789abcdef-7", "0123456789abcdef0123456789abcdef-07"] {
        let answer = agent.post(&format!("work/{bad}"), &Outcome::Done(Answer::Nothing)).await;
        assert_eq!(answer.0, StatusCode::BAD_REQUEST, "{bad}");
    }
    assert_eq!(agent.report(&item, Answer::Nothing).await.0, StatusCode::OK);
    call.await.unwrap().unwrap();
    // A replayed report is no mistake, and changes nothing; not even if it says something else.
    assert_eq!(agent.report(&item, Answer::Installed(None)).await.0, StatusCode::OK);

    let target = hub.target(&name("web1"), &name("files")).await.unwrap();
    let call = tokio::spawn(async move { target.install(&bundle).await });
    let item = agent.work(&[]).await.remove(0);
    agent.report(&item, Answer::Nothing).await;
    let error = call.await.unwrap().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Protocol(_)), "{}", error.chain());
}

#[tokio::test]
async fn what_is_too_large_or_means_nothing_is_refused() {
    let world = World::new();
    let hub = world.hub().await;
    let agent = Pretender::enrolled(&hub, "web1").await;
    let large = "x".repeat(2 << 20);
    let holding: Vec<_> = (0..513).map(|n| format!("{n:032}-1")).collect();
    for body in [
        json!({ "blocks": {}, "holding": [], "wait_seconds": 0, "more": large }),
        json!({ "blocks": {}, "holding": holding, "wait_seconds": 0 }),
        json!({ "blocks": { "../x": {} }, "holding": [], "wait_seconds": 0 }),
        json!([]),
    ] {
        let (status, refusal) = agent.post("work", &body).await;
        assert_eq!((status, refusal["code"].as_str()), (StatusCode::BAD_REQUEST, Some("malformed")));
    }
    let (status, refusal) = agent.post("party", &json!({})).await;
    assert_eq!((status, refusal["code"].as_str()), (StatusCode::NOT_FOUND, Some("unknown_path")));
}

#[tokio::test]
async fn an_agent_that_is_revoked_or_removed_is_refused_at_once() {
    let world = World::new();
    let hub = world.hub().await;
    for revoked in [true, false] {
        let agent = Pretender::enrolled(&hub, "web1").await;
        let waiting = agent.at(&hub);
        let waiting = tokio::spawn(async move { waiting.fetch(&[], 50).await });
        until("it waits", async || hub.status(&name("web1")).await.unwrap().unwrap().seen.is_some()).await;
        if revoked {
            hub.revoke(&name("web1")).await.unwrap();
            assert!(!hub.agents().await.unwrap()[0].enrolled);
        } else {
            hub.remove(&name("web1")).await.unwrap();
            assert!(hub.agents().await.unwrap().is_empty());
        }
        let (status, _) = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(agent.fetch(&[], 0).await.0, StatusCode::UNAUTHORIZED);
        assert_eq!(agent.renew().await.0, StatusCode::UNAUTHORIZED);
    }
}

/// Over real TLS: the handshake lets an expired certificate pass, so that the answer can say what to do; and an agent
/// that finds a new invitation enrols again by itself.
#[tokio::test]
async fn an_expired_agent_is_told_to_enrol_again_and_does() {
    let world = World::new();
    let back_then = ManualClock::starting_at(SystemClock::default().now() - 60 * DAY);
    let old = Pretender::enrolled(&world.hub_with(Arc::new(back_then), PATIENCE).await, "web1").await;
    let hub = world.hub().await;
    let (url, _server) = serve(&hub).await;
    let entry = world.vault().read("authority").await.unwrap().unwrap().secret;
    let entry: serde_json::Value = serde_json::from_slice(entry.expose()).unwrap();
    let certificate = rcgen_pem(old.certificate.as_ref().unwrap());
    let identity = format!("{certificate}{}", old.key.to_pkcs8_pem().unwrap().expose());
    let mut settings = Settings::default();
    settings.roots = entry["certificate"].as_str().map(str::to_owned);
    settings.only_roots = true;
    settings.client_identity = Some(Secret::new(identity.clone()));
    let client =
        Client::builder(ProviderName::new("test")).base_url(&url).settings(&settings).build().unwrap();
    let ask = client.post(Operation::ExchangeWork, &["v1", "work"]).json(&json!({})).raw();
    let answer = ask.timeout(Duration::from_secs(10)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let words = answer.text().unwrap().to_owned();
    assert!(words.contains("has expired; invite this agent again"), "{words}");

    let (target, block) = memory();
    let agent = world.agent(&url, "web1").block(name("files"), block);
    private_directory(&world.home("web1"));
    std::fs::write(world.home("web1").join("identity.pem"), identity).unwrap();
    std::fs::write(world.home("web1").join("hub.pem"), settings.roots.unwrap()).unwrap();
    let _running = run(agent);
    let token = hub.invite(&name("web1"), DAY).await.unwrap();
    std::fs::write(world.token_file("web1"), token.expose()).unwrap();
    let bundle = bundle(&Issuer::new());
    let files = hub.target(&name("web1"), &name("files")).await.unwrap();
    files.install(&bundle).await.unwrap();
    assert_eq!(target.served_version(&www()), Some(bundle.version));
    until("the token is used up", async || !world.token_file("web1").exists()).await;
}

fn rcgen_pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

fn private_directory(path: &std::path::Path) {
    std::fs::create_dir(path).unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
}
