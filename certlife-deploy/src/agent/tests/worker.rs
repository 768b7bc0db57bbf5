//! The agent's side over real TLS: what it keeps, what it refuses, and what survives a restart.

use std::sync::Arc;

use certlife_core::{
    Clock as _, Deployer as _, ErrorKind, InputError, KeyAlgorithm, PrivateKey, SystemClock,
    store::{Kind, Query, Store as _},
};
use certlife_testkit::{
    clock::ManualClock,
    crash::CrashPlan,
    deploy::{Issuer, MemoryTarget},
};

use super::{
    super::AgentHub,
    dying::Road,
    world::{
        Running, World, bundle, connected, heart, memory, name, run, serve, serve_at, text_below, until, www,
    },
};

#[tokio::test]
async fn keys_pass_through_and_stay_nowhere() {
    let world = World::new();
    let hub = world.hub().await;
    let (url, _server) = serve(&hub).await;
    let (target, block) = memory();
    let _agent = run(world.invited(&hub, &url, "web1").await.block(name("files"), block));
    let files = connected(&hub, "web1", "files").await;
    let bundle = bundle(&Issuer::new());
    files.install(&bundle).await.unwrap();
    assert_eq!(target.served_version(&www()), Some(bundle.version));
    let secret = heart(&bundle.key.as_ref().unwrap().to_pkcs8_pem().unwrap());
    assert!(!text_below(world.root.path()).contains(&secret), "the agent kept a key that it installed");
    for record in world.store.list(&Query::all(Kind::Vault)).await.unwrap().items {
        assert!(!record.body.contains(&secret) && !record.body.contains("PRIVATE KEY"), "{:?}", record.key);
    }
    assert!(!world.token_file("web1").exists(), "the invitation is used up");
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let mode = |path: &str| std::fs::metadata(world.home("web1").join(path)).unwrap().mode() & 0o777;
        assert_eq!((mode(""), mode("outcomes"), mode("identity.pem")), (0o700, 0o700, 0o600));
    }
}

#[tokio::test]
async fn what_the_configuration_does_not_have_is_refused_there() {
    let world = World::new();
    let hub = world.hub().await;
    let (url, _server) = serve(&hub).await;
    let (target, block) = memory();
    let _agent = run(world.invited(&hub, &url, "web1").await.block(name("files"), block));
    connected(&hub, "web1", "files").await;
    let other = hub.target(&name("web1"), &name("secrets")).await.unwrap();
    let error = other.install(&bundle(&Issuer::new())).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Forbidden(_)), "{}", error.chain());
    assert!(error.to_string().contains("no block secrets; its configuration has: files"), "{error}");
    assert_eq!(target.calls().install, 0);
}

/// The hub goes away while the work is done, and so does the agent before it can report. The outcome is reported by the
/// agent that starts next, to the call that still waits, and nothing is done twice.
#[tokio::test]
async fn an_outcome_is_reported_after_a_restart_and_not_repeated() {
    let world = World::new();
    let hub = world.hub().await;
    let (url, server) = serve(&hub).await;
    let (target, block) = memory();
    let agent = run(world.invited(&hub, &url, "web1").await.block(name("files"), Arc::clone(&block)));
    let files = connected(&hub, "web1", "files").await;
    let bundle = bundle(&Issuer::new());
    target.delay(std::time::Duration::from_millis(500));
    let call = Running(tokio::spawn(async move { files.install(&bundle).await }));
    until("the agent works", async || target.calls().install == 1).await;
    drop(server);
    let outcomes = world.home("web1").join("outcomes");
    // Under its name, and no longer under the hidden one that it is written by.
    let kept = || {
        std::fs::read_dir(&outcomes).unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok())
    };
    until("the outcome is kept", async || kept().any(|name| !name.starts_with('.'))).await;
    agent.end().await;
    assert!(!call.0.is_finished());

    let address = format!("127.0.0.1:{}", url.port().unwrap());
    let mut server = None;
    until("the address is free", async || std::net::TcpListener::bind(&address).is_ok()).await;
    server.replace(serve_at(&hub, &address).await);
    let _agent = run(world.agent(&url, "web1").block(name("files"), block));
    until("the call ends", async || call.0.is_finished()).await;
    assert_eq!(target.calls().install, 1, "the work was done twice");
    until("the outcome is forgotten", async || kept().count() == 0).await;
}

#[tokio::test]
async fn the_certificate_is_renewed_in_time_with_another_key() {
    let world = World::new();
    let clock = ManualClock::starting_at(SystemClock::default().now());
    let hub = AgentHub::builder(world.vault()).certificate_lifetime(std::time::Duration::from_hours(1));
    let hub = hub.open().await.unwrap();
    let (url, _server) = serve(&hub).await;
    let (_, block) = memory();
    let agent = world.invited(&hub, &url, "web1").await.clock(Arc::new(clock.clone()));
    let _agent = run(agent.block(name("files"), block));
    let files = connected(&hub, "web1", "files").await;
    let identity = || std::fs::read_to_string(world.home("web1").join("identity.pem")).unwrap();
    let first = identity();
    files.probe().await.unwrap();
    assert_eq!(identity(), first);
    clock.advance(std::time::Duration::from_mins(50));
    // Whatever it says next, it says with a new certificate.
    files.probe().await.unwrap();
    until("it is renewed", async || identity() != first).await;
    let key = |text: &str| text[text.find("-----BEGIN PRIVATE").unwrap()..].to_owned();
    assert_ne!(key(&identity()), key(&first));
    files.probe().await.unwrap();
    assert!(!world.home("web1").join("next-key.pem").exists());
}

#[tokio::test]
async fn a_hub_that_is_not_the_one_of_the_invitation_learns_nothing() {
    let (world, elsewhere) = (World::new(), World::new());
    let (hub, impostor) = (world.hub().await, elsewhere.hub().await);
    let (url, _server) = serve(&impostor).await;
    let (_, block) = memory();
    // It even has invited an agent of that name, but never hears the secret: nothing is sent to it, and nothing is trusted.
    impostor.invite(&name("web1"), super::world::DAY).await.unwrap();
    let agent = world.invited(&hub, &url, "web1").await.block(name("files"), block).build().unwrap();
    let error = agent.connect().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::BadCertificate(_)), "{}", error.chain());
    assert!(error.to_string().contains("does not show the CA that the invitation names"), "{error}");
    assert!(world.token_file("web1").exists());
    assert!(!world.home("web1").join("hub.pem").exists());
    assert!(!world.home("web1").join("next-key.pem").exists());
    assert!(!impostor.status(&name("web1")).await.unwrap().unwrap().enrolled);
}

#[tokio::test]
async fn settings_are_checked_before_anything_is_done() {
    let world = World::new();
    let (_, block) = memory();
    let url = |text: &str| text.parse().unwrap();
    let refused = |result: Result<_, InputError>| -> InputError {
        let result: Result<super::super::AgentWorker, _> = result;
        result.err().unwrap()
    };
    let plain = world.agent(&url("http://hub.example/"), "web1").block(name("files"), Arc::clone(&block));
    assert!(refused(plain.build()).to_string().contains("`https`"));
    let bare = world.agent(&url("https://hub.example/"), "web1");
    assert!(refused(bare.build()).to_string().contains("1 to 64"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::create_dir(world.home("web1")).unwrap();
        std::fs::set_permissions(world.home("web1"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let open =
            world.agent(&url("https://hub.example/"), "web1").block(name("files"), block).build().unwrap();
        let error = open.run(std::future::ready(())).await.unwrap_err();
        assert!(error.to_string().contains("mode 0700"), "{error}");
    }
}

/// Something between agent and hub may refuse a request as well; an agent without an invitation goes on asking.
#[tokio::test]
async fn an_agent_whose_hub_forgot_it_works_again_when_it_is_invited_again() {
    let world = World::new();
    let hub = world.hub().await;
    let (url, _server) = serve(&hub).await;
    let (target, block) = memory();
    let _agent = run(world.invited(&hub, &url, "web1").await.block(name("files"), block));
    let files = connected(&hub, "web1", "files").await;
    hub.revoke(&name("web1")).await.unwrap();
    let bundle = bundle(&Issuer::new());
    let call = Running(tokio::spawn(async move { files.install(&bundle).await }));
    let token = hub.invite(&name("web1"), super::world::DAY).await.unwrap();
    std::fs::write(world.token_file("web1"), token.expose()).unwrap();
    until("it has enrolled again", async || target.calls().install == 1).await;
    until("the call ends", async || call.0.is_finished()).await;
}

/// What the first agent was about to do is not done after all once the next one has done it, and newer work.
#[tokio::test]
async fn nothing_goes_on_behind_an_agent_that_has_ended() {
    let world = World::new();
    let hub = world.hub().await;
    let (url, _server) = serve(&hub).await;
    let clock = ManualClock::default();
    let target = MemoryTarget::with_clock(Arc::new(clock.clone()));
    target.delay(super::world::DAY);
    let agent = run(world.invited(&hub, &url, "web1").await.block(name("files"), Arc::new(target.clone())));
    let files = connected(&hub, "web1", "files").await;
    let issuer = Issuer::new();
    let (old, new) = (bundle(&issuer), bundle(&issuer));
    let call = {
        let (files, old) = (files.clone(), old.clone());
        Running(tokio::spawn(async move { files.install(&old).await }))
    };
    until("the agent works", async || target.calls().most_at_once == 1).await;
    agent.end().await;
    target.delay(std::time::Duration::ZERO);
    let _agent = run(world.agent(&url, "web1").block(name("files"), Arc::new(target.clone())));
    until("the call ends", async || call.0.is_finished()).await;
    files.install(&new).await.unwrap();
    clock.advance(2 * super::world::DAY);
    files.probe().await.unwrap();
    assert_eq!(target.history(&www()), [old.version, new.version]);
}

#[tokio::test]
async fn two_agents_over_one_directory_are_one_too_many() {
    let world = World::new();
    let hub = world.hub().await;
    let (url, _server) = serve(&hub).await;
    let (_, block) = memory();
    let first = run(world.invited(&hub, &url, "web1").await.block(name("files"), Arc::clone(&block)));
    connected(&hub, "web1", "files").await;
    let second = || world.agent(&url, "web1").block(name("files"), Arc::clone(&block)).build().unwrap();
    let error = second().run(std::future::pending()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Conflict(_)), "{}", error.chain());
    assert!(error.to_string().contains("another agent works over"), "{error}");
    first.end().await;
    second().run(std::future::ready(())).await.unwrap();
}

/// A process that is killed while it writes a file leaves one behind that may hold a key, and one that is killed while it
/// becomes certified leaves its key twice.
#[tokio::test]
async fn what_a_killed_agent_left_behind_goes_when_the_next_one_starts() {
    let world = World::new();
    let hub = world.hub().await;
    let (url, _server) = serve(&hub).await;
    let (_, block) = memory();
    let agent = world.invited(&hub, &url, "web1").await.block(name("files"), block);
    agent.clone().build().unwrap().connect().await.unwrap();
    let home = world.home("web1");
    let identity = std::fs::read_to_string(home.join("identity.pem")).unwrap();
    let key = &identity[identity.find("-----BEGIN PRIVATE").unwrap()..];
    let left = [".new-a1b2c3", "outcomes/.new-d4e5f6", "next-key.pem"].map(|path| home.join(path));
    for path in &left {
        std::fs::write(path, key).unwrap();
    }
    agent.clone().build().unwrap().connect().await.unwrap();
    assert!(left.iter().all(|path| !path.exists()), "{left:?}");
    assert_eq!(std::fs::read_to_string(home.join("identity.pem")).unwrap(), identity);

    // A key that somebody may have certified meanwhile stays.
    let next = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap().to_pkcs8_pem().unwrap();
    std::fs::write(home.join("next-key.pem"), next.expose()).unwrap();
    agent.build().unwrap().connect().await.unwrap();
    assert!(home.join("next-key.pem").exists());
}

/// The invitation is good for the one agent that has shown it, however often that asks.
#[tokio::test]
async fn an_agent_may_die_at_every_step_of_its_enrolment() {
    let world = World::new();
    let hub = world.hub().await;
    let (host, _server) = serve(&hub).await;
    let (road, url, _way) = Road::open(&host).await;
    for step in 1.. {
        let agent = format!("web{step}");
        let enrolling = world.invited(&hub, &url, &agent).await.block(name("files"), memory().1);
        let plan = CrashPlan::freeze_at(step);
        road.pass(Some(Arc::clone(&plan)));
        let dying = enrolling.clone().build().unwrap();
        let crashed = plan.interrupts(async { dying.connect().await.unwrap() }).await;
        road.pass(None);
        enrolling.build().unwrap().connect().await.unwrap();
        assert!(hub.status(&name(&agent)).await.unwrap().unwrap().enrolled, "step {step}");
        let left = std::fs::read_dir(world.home(&agent)).unwrap();
        let mut left: Vec<_> = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, ["hub.pem", "identity.pem", "lock", "outcomes"], "step {step}");
        assert!(!world.token_file(&agent).exists(), "step {step}");
        if !crashed {
            assert!(step > 5, "there were {step} steps");
            return;
        }
    }
}
