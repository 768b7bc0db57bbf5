//! What goes wrong: a rejected challenge, and a CA that vanishes half way.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use certlife_core::Clock as _;
use certlife_core::model::{CertificateStatus, OrderState, Route};
use tokio::net::{TcpListener, TcpStream};

use crate::world::{World, last_order, spec};

#[tokio::test]
async fn a_rejected_challenge_ends_the_order_with_the_words_of_the_ca() {
    let world = World::new();
    let pebble = &world.servers.pebble.mock_dns;
    // Nobody serves this address.
    world
        .servers
        .pebble
        .challenge_server
        .add_a("nobody.engine.test", &["127.0.0.254".parse().unwrap()])
        .await;
    let engine = world.engine(pebble, "unused.test").await;
    let wish =
        spec("refused", ["nobody.engine.test".to_owned()]).validate(Route::Http("tls".parse().unwrap()));
    engine.ensure(wish).await.unwrap();
    world.work(&engine, Duration::from_mins(5)).await;
    let order = last_order(&engine, "refused").await;
    assert_eq!(order.state, OrderState::Rejected);
    assert!(order.is_closed());
    let failure = order.failure.unwrap();
    assert!(failure.message.as_str().contains("nobody.engine.test"), "{failure:?}");
    let certificate = engine.certificate(&"refused".parse().unwrap()).await.unwrap();
    assert_eq!(certificate.status(world.clock.now()), CertificateStatus::Failing);
    assert!(certificate.not_before.unwrap() > world.clock.now());
}

#[tokio::test]
async fn a_ca_that_vanishes_half_way_is_waited_for() {
    let world = World::new();
    let pebble = &world.servers.pebble.bind_dns;
    let zone = world.servers.bind.spare_zones[4].clone();
    let line = Line::to(pebble.directory_url.split('/').nth(2).unwrap().parse().unwrap()).await;
    let url = format!("https://127.0.0.1:{}/dir", line.port);
    let engine = world.engine_at(pebble, &url, &zone).await;
    engine.ensure(spec("patient", [zone.clone()]).deploy("web".parse().unwrap())).await.unwrap();

    // Half way: the record is published, and the CA is gone when it is to be told.
    for _ in 0..200 {
        let next = engine.pass().await.unwrap().next;
        if !last_order(&engine, "patient").await.publications.is_empty() {
            line.cut(true);
        }
        if line.is_cut() && last_order(&engine, "patient").await.attempts > 3 {
            break;
        }
        world.clock.advance_to(next.unwrap());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Had the whole order run within one pass, the cut would have come too late to matter.
    assert!(line.is_cut(), "the CA was never gone");
    let explanation = engine.explain(&"patient".parse().unwrap()).await.unwrap();
    assert!(explanation.order.is_some_and(|order| order.failure.is_some()), "{:#?}", explanation.sentences);
    line.cut(false);
    world.work(&engine, Duration::from_hours(6)).await;
    let orders = engine.orders(&"patient".parse().unwrap(), None).await.unwrap().items;
    assert_eq!(orders.len(), 1);
    assert_eq!(orders[0].state, OrderState::Issued, "{:#?}", orders[0].failure);
    assert_eq!(world.servers.bind.txt_count(&zone).await, 0);
    assert!(world.live_file("patient", "fullchain.pem").is_some());
}

/// A line to a server that can be cut: new connections are refused and present ones end.
struct Line {
    port: u16,
    cut: Arc<AtomicBool>,
}

impl Line {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = Arc::new(AtomicBool::new(false));
        let switch = cut.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let switch = switch.clone();
                tokio::spawn(carry(client, server, switch));
            }
        });
        Self { port, cut }
    }

    fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }

    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::SeqCst)
    }
}

async fn carry(mut client: TcpStream, server: SocketAddr, cut: Arc<AtomicBool>) {
    if cut.load(Ordering::SeqCst) {
        return;
    }
    let Ok(mut upstream) = TcpStream::connect(server).await else { return };
    let watch = async {
        while !cut.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut upstream) => {}
        () = watch => {}
    }
}
