//! Two engines on one SQLite file, each with its own connections, as two processes have.

use std::{sync::Arc, time::Duration};

use certlife_core::challenge::ChallengeKind;
use certlife_core::{
    Clock as _, Engine, Store, SystemClock,
    engine::{CaOptions, DnsOptions, TargetOptions},
    model::{CertificateSpec, DeploymentState, Route},
};
use certlife_store::Sqlite;
use certlife_testkit::{
    ca::MemoryCa,
    deploy::MemoryTarget,
    dns::{MemoryAccount, MemoryDns},
};

use crate::child::{name, ring};

const CERTIFICATES: usize = 40;

async fn engine(
    path: &std::path::Path,
    ca: &MemoryCa,
    dns: &MemoryDns,
    account: &MemoryAccount,
    target: &MemoryTarget,
) -> Engine {
    let store: Arc<dyn Store> = Arc::new(Sqlite::builder(path).open().unwrap());
    Engine::builder(store, ring())
        .lookup(Arc::new(dns.clone()))
        .poll(Duration::from_millis(50))
        .concurrency(8)
        .ca(name("ca"), Arc::new(ca.clone()), CaOptions::default())
        .dns(name("dns"), Arc::new(account.reopened()), DnsOptions::default())
        .target(name("web"), Arc::new(target.clone()), TargetOptions::default())
        .build()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_step_runs_twice_and_both_take_part() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("certlife.db");
    let dns = MemoryDns::new();
    dns.add_zone("example.com");
    let account = dns.account(&["example.com"]);
    let target = MemoryTarget::new();
    let ca = MemoryCa::builder(Arc::new(SystemClock::default())).challenges([ChallengeKind::DnsTxt]).build();
    let one = engine(&path, &ca, &dns, &account, &target).await;
    let two = engine(&path, &ca, &dns, &account, &target).await;
    for number in 0..CERTIFICATES {
        let wish = CertificateSpec::new(format!("c{number}").parse().unwrap(), name("ca"))
            .identifiers([format!("h{number}.example.com").parse().unwrap()])
            .validate(Route::Dns(name("dns")))
            .deploy(name("web"));
        one.ensure(wish).await.unwrap();
    }
    let stop = tokio_util::sync::CancellationToken::new();
    let running: Vec<_> = [one.clone(), two.clone()]
        .into_iter()
        .map(|engine| {
            let stop = stop.clone();
            tokio::spawn(async move { engine.run(stop.cancelled_owned()).await })
        })
        .collect();
    let end = SystemClock::default().now() + Duration::from_mins(2);
    loop {
        let mut live = 0;
        for number in 0..CERTIFICATES {
            let deployments = one.deployments(&format!("c{number}").parse().unwrap()).await.unwrap();
            live += usize::from(deployments.iter().any(|d| d.state == DeploymentState::Live));
        }
        if live == CERTIFICATES && two.open_orders(None).await.unwrap().items.is_empty() {
            break;
        }
        assert!(SystemClock::default().now() < end, "only {live} are live");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stop.cancel();
    for engine in running {
        engine.await.unwrap().unwrap();
    }
    assert_eq!(ca.orders_placed(), CERTIFICATES);
    assert!(ca.duplicates().is_empty());
    assert_eq!((account.calls().add, account.calls().remove), (CERTIFICATES, CERTIFICATES));
    assert_eq!(target.calls().install, CERTIFICATES);
    assert!(dns.all_records().is_empty());
}
