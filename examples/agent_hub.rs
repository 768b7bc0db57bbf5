//! A host and the agent of an end server that needs no inbound port, in one process for the sake of showing both.
//!
//! The agent enrols with an invitation, makes the certificate's key itself, and installs what the host has issued for it.
//! On a real end server the agent's half is the program `certlife-agent` with a configuration file.
//!
//! ```text
//! cargo run --example agent_hub --features agent
//! ```
#![expect(clippy::print_stdout, reason = "it shows what happens")]

use std::{sync::Arc, time::Duration};

use certlife::{
    ca::Private,
    deploy::{AgentHub, Local, agent::AgentWorker},
    model::{DeploymentState, KeySource},
    prelude::*,
    store::Sqlite,
};
use tokio::{sync::oneshot, time::timeout};

type Anything<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Anything {
    let home = tempfile::tempdir()?;
    let (agent, files): (AccountName, AccountName) = ("web1".parse()?, "files".parse()?);

    // The host: a store, a CA, and a hub that agents call. A host with an HTTPS server of its own mounts the hub there
    // instead: it is a service, as `axum::Router::fallback_service` takes one.
    let store = Arc::new(Sqlite::builder(home.path().join("certlife.db")).open()?);
    let passphrase = Secret::from("correct horse battery staple");
    let ring = Arc::new(LocalKeyRing::from_passphrase(passphrase, PassphraseCost::default())?);
    let builder = Engine::builder(store, ring);
    let ca = Private::builder(builder.vault("house".parse()?)).build()?;
    let hub = AgentHub::builder(builder.vault("agents".parse()?)).open().await?;
    let listener = hub.listen("127.0.0.1:0".parse()?, ["127.0.0.1".parse()?]).await?;
    let address = listener.local_addr()?;
    tokio::spawn(listener.serve(std::future::pending()));
    let invitation = hub.invite(&agent, Duration::from_hours(1)).await?;
    println!("The hub listens on {address} and has invited {agent}.");

    // The end server: what the host may call `files` is a directory, and nothing else is allowed.
    let token = home.path().join("token");
    std::fs::write(&token, invitation.expose())?;
    let live = home.path().join("tls");
    let worker = AgentWorker::builder(
        format!("https://{address}/").parse()?,
        agent.clone(),
        home.path().join("agent"),
    )
    .token_file(token)
    .block(files.clone(), Arc::new(Local::builder(&live).build()?))
    .build()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let worker = tokio::spawn(worker.run(async { _ = stopped.await }));
    let reported = async {
        loop {
            let status = hub.status(&agent).await?;
            if status.is_some_and(|status| status.blocks.contains_key(&files)) {
                return Anything::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(30), reported).await??;
    println!("The agent {agent} has enrolled and says what it can do.");

    // One block of one agent is a target like any other.
    let target = hub.target(&agent, &files).await?;
    let engine = builder
        .ca("house".parse()?, Arc::new(ca), CaOptions::default())
        .target(agent.clone(), Arc::new(target), TargetOptions::default())
        .build()
        .await?;
    let key = KeyPolicy { source: KeySource::OnTarget(agent.clone()), ..KeyPolicy::default() };
    let wish = CertificateSpec::new("www".parse()?, "house".parse()?)
        .identifiers(["www.example.com".parse()?])
        .key(key)
        .deploy(agent.clone());
    engine.ensure(wish).await?;
    engine.pass().await?; // Key made and ordered with, issued, checked, installed, confirmed.

    let deployment = engine.deployments(&"www".parse()?).await?.remove(0);
    if deployment.state != DeploymentState::Live {
        return Err(format!("the agent does not have it: {deployment:#?}").into());
    }
    let version = engine.version(deployment.actual.ok_or("no version")?).await?;
    println!("The agent confirms version {} until {}.", version.id, version.info.not_after);
    println!(
        "Its key was made there; the host has {}.",
        if version.key.is_some() { "it too" } else { "none" }
    );
    println!("Server files: {}", live.join("www/live").display());
    let _ = stop.send(());
    worker.await??;
    Ok(())
}
