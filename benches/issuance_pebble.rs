//! What an issuance costs at a real ACME server: Pebble on loopback, `http-01`, SQLite on disk.
//!
//! Pebble rejects a fifth of all good nonces and polls are waited for, so wall time tells more of Pebble than
//! of us; CPU time is this process's own. The baseline is what no client gets around: making the key and
//! signing the request.
//!
//! Needs the servers that `cargo xtask servers` runs.

#![expect(clippy::unwrap_used, reason = "a bench that cannot set up has nothing to measure")]
#![expect(clippy::print_stdout, reason = "a bench is there to print")]

mod support;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header::HOST},
    routing::get,
};
use certlife_ca::acme::Acme;
use certlife_core::{
    Clock as _, Engine, KeyAlgorithm, SystemClock,
    challenge::HttpPath,
    engine::{CaOptions, TargetOptions},
    http,
};
use certlife_store::sqlite::Sqlite;
use certlife_testkit::{deploy::MemoryTarget, servers::Servers};
use support::{Cost, Meter, Mode, Ratios, fleet};

const HOW: &str = "\
issuance_pebble: CERTLIFE_TEST_SERVERS is not set, so there is nothing to measure. In one terminal
    cargo xtask servers
and, with the `export` line that it prints, in another one
    cargo bench --bench issuance_pebble";

#[tokio::main]
async fn main() {
    #[expect(clippy::disallowed_methods, reason = "a program may read its environment")]
    if std::env::var_os("CERTLIFE_TEST_SERVERS").is_none() {
        return println!("{HOW}");
    }
    let mode = Mode::from_args();
    let site = Site::open().await;
    for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Rsa2048] {
        let floor = fleet::floor(algorithm, mode.pick(50, 10, 1));
        let baseline = format!("one key and one signed request ({algorithm})");
        let mut walls =
            Ratios::of_time(format!("Pebble, {algorithm}: wall time an issuance"), &*baseline, floor);
        let mut cpus = Ratios::of_time(format!("Pebble, {algorithm}: CPU time an issuance"), baseline, floor);
        for at_once in [1, 16] {
            let count = mode.pick(if at_once == 1 { 16 } else { 64 }, 4, 1);
            let Issuance { cost, requests } = site.issue(algorithm, at_once, count).await;
            let rate = 1.0 / cost.wall.as_secs_f64();
            println!(
                "{algorithm}, {at_once} at a time: {rate:.1} a second, {requests:.1} requests an issuance"
            );
            walls.time(format!("{at_once} at a time"), cost.wall);
            cpus.time(format!("{at_once} at a time"), cost.cpu);
        }
        walls.print();
        cpus.print();
    }
}

struct Issuance {
    cost: Cost,
    requests: f64,
}

/// The servers, and a web server of our own that answers challenges.
struct Site {
    servers: Servers,
    target: MemoryTarget,
}

impl Site {
    async fn open() -> Self {
        let servers = Servers::from_env();
        let target = MemoryTarget::new();
        let (address, listener) = servers.pebble.mock_dns.listen_http().await;
        for number in 0..64 {
            servers.pebble.challenge_server.add_a(&fleet::host(number), &[address]).await;
        }
        let files = Router::new()
            .route("/.well-known/acme-challenge/{token}", get(challenge_file))
            .with_state(target.clone());
        tokio::spawn(async move { axum::serve(listener, files).await });
        Self { servers, target }
    }

    async fn issue(&self, algorithm: KeyAlgorithm, at_once: usize, count: u32) -> Issuance {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let store = Sqlite::builder(folder.path().join("bench.db")).open().unwrap();
        let builder = Engine::builder(Arc::new(store), fleet::ring()).concurrency(at_once);
        let pebble = &self.servers.pebble.mock_dns;
        let mut settings = http::Settings::default();
        settings.roots = Some(pebble.tls_roots_pem());
        let acme = Acme::builder(&pebble.directory_url, builder.vault("ca".parse().unwrap()))
            .terms_agreed(true)
            .http(settings)
            .build()
            .unwrap();
        let acme = Arc::new(acme);
        let engine = builder
            .ca("ca".parse().unwrap(), acme.clone(), CaOptions::default())
            .target("web".parse().unwrap(), Arc::new(self.target.clone()), TargetOptions::default())
            .build()
            .await
            .unwrap();
        // The account exists before the first order that is measured.
        engine.probe(&"ca".parse().unwrap()).await.unwrap();
        for number in 0..count as usize {
            engine.ensure(fleet::wish_by_http(number, algorithm)).await.unwrap();
        }
        let before = acme.statistics().requests;
        let meter = Meter::start();
        while !fleet::all_issued(&engine, count as usize).await {
            let pass = engine.pass().await.unwrap();
            if let Some(next) = pass.next.filter(|_| pass.steps == 0) {
                SystemClock::default().sleep_until(next).await;
            }
        }
        let cost = meter.per(count);
        let sent = u32::try_from(acme.statistics().requests - before).unwrap_or(u32::MAX);
        let requests = f64::from(sent) / f64::from(count);
        Issuance { cost, requests }
    }
}

async fn challenge_file(
    State(target): State<MemoryTarget>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Result<String, StatusCode> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default().parse().map_err(|_| StatusCode::BAD_REQUEST)?;
    let path = HttpPath::acme(&token).map_err(|_| StatusCode::BAD_REQUEST)?;
    target.http(&host, &path).ok_or(StatusCode::NOT_FOUND)
}
