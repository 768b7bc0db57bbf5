//! SIGKILL at every point of the order and of the deployment, then a restart.

use std::{net::SocketAddr, path::PathBuf};

use certlife_core::{
    CertificateAuthority as _, Store as _,
    ca::ImportFilter,
    model::{DeploymentState, OrderState},
    store::{Kind, Query},
};
use certlife_testkit::crash::CrashPlan;

use crate::child::{self, Home};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_point_one_order_one_key_one_deployment_and_nothing_left() {
    let mut point = 1;
    loop {
        let directory = tempfile::tempdir().unwrap();
        let home = Home(directory.path().to_owned());
        std::fs::create_dir(home.web_root()).unwrap();
        let web_server = serve(home.web_root()).await;
        let path = home.0.clone();
        let killed =
            tokio::task::spawn_blocking(move || child::run(&path, web_server, Some(point))).await.unwrap();
        if killed.success() {
            break;
        }
        assert_eq!(signal(killed), Some(9), "point {point}: the child failed instead of being killed");
        let path = home.0.clone();
        let status = tokio::task::spawn_blocking(move || child::run(&path, web_server, None)).await.unwrap();
        assert!(status.success(), "point {point}: the restarted engine did not come to its end");
        check(&home, web_server, point).await;
        point += 1;
    }
    assert!(point > 25, "only {point} points were tried");
}

async fn check(home: &Home, web_server: SocketAddr, point: usize) {
    let store = home.store();
    let engine = home.engine(web_server, &CrashPlan::never()).await;
    let id = "www".parse().unwrap();
    let orders = engine.orders(&id, None).await.unwrap().items;
    assert_eq!(orders.len(), 1, "point {point}");
    assert_eq!(orders[0].state, OrderState::Issued, "point {point}");
    assert!(orders[0].is_closed(), "point {point}");
    let versions = engine.versions(&id, None).await.unwrap().items;
    assert_eq!(versions.len(), 1, "point {point}: issued twice");
    let deployment = &engine.deployments(&id).await.unwrap()[0];
    assert_eq!(
        (deployment.state, deployment.actual),
        (DeploymentState::Live, Some(versions[0].id)),
        "point {point}"
    );
    let keys = store.list(&Query::all(Kind::Key)).await.unwrap().items;
    assert_eq!(keys.len(), 1, "point {point}: another key was made");
    let at_ca = Home::ca(&store, web_server).orders(&ImportFilter::default(), None).await.unwrap().items;
    assert_eq!(at_ca.len(), 1, "point {point}: ordered twice");
    let left: Vec<_> = files(home.web_root());
    assert!(left.is_empty(), "point {point}: left behind: {left:?}");
    let live = home.live().join("www").join("live").join("cert.pem");
    assert_eq!(std::fs::read_to_string(live).unwrap().trim(), versions[0].chain.leaf_pem().trim());
}

fn files(directory: PathBuf) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries
        .flatten()
        .flat_map(|entry| if entry.path().is_dir() { files(entry.path()) } else { vec![entry.path()] })
        .collect()
}

/// Serves the files below a web root over plain HTTP, as the end server would.
async fn serve(root: PathBuf) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let files = axum::Router::new().fallback(move |uri: axum::http::Uri| {
        let path = root.join(uri.path().trim_start_matches('/'));
        async move { tokio::fs::read(path).await.map_err(|_| axum::http::StatusCode::NOT_FOUND) }
    });
    tokio::spawn(async move { axum::serve(listener, files).await });
    address
}

#[cfg(unix)]
fn signal(status: std::process::ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}
