//! From nothing to a certificate that is served, and renewed, with what certlife brings along.
//!
//! A private CA asks for an HTTP proof on a loopback port; records go into an SQLite file; the certificate is
//! deployed to a directory and to a TLS server in this process. Then the clock moves on by 60 days. Needs no
//! network, no rights and no account, and leaves nothing behind.
//!
//! ```text
//! cargo run --example quickstart
//! ```
#![expect(clippy::print_stdout, reason = "it shows what happens")]

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use certlife::{ca::private, deploy, prelude::*, store::Sqlite, tls};
use certlife_testkit::clock::TravelClock;
use futures_util::StreamExt as _;
use tokio::{net::TcpListener, time::timeout};
use tokio_rustls::TlsAcceptor;

type Anything<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Anything<()> {
    let home = tempfile::tempdir()?;
    let clock = TravelClock::default();

    // A TLS server in this process, and a port for HTTP proofs, both fed by the same deployer.
    let server = deploy::Rustls::new();
    let proofs = server.http01_listener("127.0.0.1:0".parse()?).await?;
    let proofs_at = proofs.local_addr()?;
    tokio::spawn(proofs.serve(std::future::pending()));
    let address = serve_tls(&server).await?;

    // Records are kept in one file; private keys are sealed under a passphrase before they get there.
    let store = Sqlite::builder(home.path().join("certlife.db")).open()?;
    let ring =
        LocalKeyRing::from_passphrase("correct horse battery staple".into(), PassphraseCost::default())?;
    let builder = Engine::builder(Arc::new(store.clone()), Arc::new(ring)).clock(Arc::new(clock.clone()));

    // The accounts: a CA, and two targets.
    let house = private::Private::builder(builder.vault("house".parse()?))
        .validation(private::Validation::Http)
        .resolve(move |_| Some(proofs_at))
        .clock(Arc::new(clock.clone()))
        .build()?;
    let files = deploy::Local::builder(home.path().join("live")).build()?;
    let engine = builder
        .ca("house".parse()?, Arc::new(house), CaOptions::default())
        .target("server".parse()?, Arc::new(server), TargetOptions::default().served_at(address))
        .target("files".parse()?, Arc::new(files), TargetOptions::default())
        .build()
        .await?;

    // What is wanted. The rest happens in `run`.
    let wish = CertificateSpec::new("www".parse()?, "house".parse()?)
        .identifiers(["www.example.com".parse()?])
        .validate(Route::Http("server".parse()?))
        .deploy("server".parse()?)
        .deploy("files".parse()?);
    engine.ensure(wish).await?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let work = tokio::spawn({
        let engine = engine.clone();
        async move { engine.run(async move { drop(stopped.await) }).await }
    });

    println!("Ordering, proving, issuing, deploying:");
    let position = watch(&engine, 0).await?;
    let first = served(address).await?;
    println!("\nOn the wire at {address}: {first}\n\nSixty days later:");

    clock.advance(Duration::from_hours(24 * 60));
    watch(&engine, position).await?;
    let second = served(address).await?;
    println!("\nOn the wire at {address}: {second}\n");
    for sentence in engine.explain(&"www".parse()?).await?.sentences {
        println!("{sentence}");
    }
    if first == second {
        return Err("the renewal did not go live".into());
    }

    // Ends gracefully, and closes the file before its directory goes.
    drop(stop);
    work.await??;
    drop(engine);
    store.close().await;
    Ok(home.close()?)
}

/// Prints events from a position on until both targets have confirmed a version; returns the last position.
async fn watch(engine: &Engine, position: u64) -> Anything<u64> {
    const STEPS: usize = 15;
    let mut events = pin!(engine.events(position));
    let (mut step, mut live, mut last) = (0, 0, position);
    while live < 2 {
        let event = timeout(Duration::from_secs(30), events.next()).await?.ok_or("the feed has ended")??;
        step += 1;
        let filled = "█".repeat(step.min(STEPS));
        println!("  {filled:░<STEPS$}  {event}");
        live += usize::from(matches!(event.occurrence.kind, EventKind::DeploymentLive { .. }));
        last = event.position;
    }
    Ok(last)
}

/// What a client sees: the fingerprint of the certificate, and until when it is valid.
async fn served(address: SocketAddr) -> Anything<String> {
    let chain = tls::served_chain(address, Some(&"www.example.com".parse()?), Duration::from_secs(5)).await?;
    Ok(format!("{:.16}…, valid until {}", chain.fingerprint().to_string(), chain.info()?.not_after))
}

/// A server that only shakes hands: each with the certificate that is deployed at the moment.
async fn serve_tls(server: &deploy::Rustls) -> Anything<SocketAddr> {
    let acceptor = TlsAcceptor::from(Arc::new(server.server_config(["http/1.1"])?));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A handshake without a certificate yet fails, as it should.
                let _ = acceptor.accept(stream).await;
            });
        }
    });
    Ok(address)
}
