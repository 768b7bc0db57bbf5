//! A wire to the server that can be cut.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use certlife_testkit::crash::CrashPlan;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What a client sends before it is logged in, in packets. Nothing is changed by then.
const LOGIN: u64 = 8;

/// Relays connections to a server, counts what goes there, and cuts all of them: when told, after so many bytes, or where a
/// plan says.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    relay: Arc<Relay>,
    cut: watch::Sender<bool>,
}

struct Relay {
    server: SocketAddr,
    sent: AtomicU64,
    limit: AtomicU64,
    packets: AtomicU64,
    points: Points,
    plan: Arc<CrashPlan>,
}

/// Which packets are points of a plan: of those after the login every so many, from the first or a later one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Points {
    pub(crate) every: u64,
    pub(crate) from: u64,
}

impl Wire {
    pub(crate) fn to(server: SocketAddr) -> Self {
        Self::dying(server, Points { every: 1, from: 0 }, CrashPlan::never())
    }

    /// A wire that is cut before the packet at which the plan crashes.
    pub(crate) fn dying(server: SocketAddr, points: Points, plan: Arc<CrashPlan>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, is_cut) = watch::channel(false);
        let relay = Arc::new(Relay {
            server,
            sent: AtomicU64::new(0),
            limit: AtomicU64::new(u64::MAX),
            packets: AtomicU64::new(0),
            points,
            plan,
        });
        let relaying = Arc::clone(&relay);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (mut is_cut, relay) = (is_cut.clone(), Arc::clone(&relaying));
                tokio::spawn(async move {
                    tokio::select! {
                        () = relay.run(client) => {}
                        () = relay.plan.crashed() => {}
                        Ok(_) = is_cut.wait_for(|cut| *cut) => {}
                    }
                });
            }
        });
        Self { address, relay, cut }
    }

    /// How many bytes went to the server.
    pub(crate) fn sent(&self) -> u64 {
        self.relay.sent.load(Ordering::SeqCst)
    }

    /// Lets only so many more bytes through, and then ends every connection.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.relay.limit.store(self.sent() + bytes, Ordering::SeqCst);
    }

    /// Ends every connection, and every later one at once.
    pub(crate) fn cut(&self) {
        self.cut.send_replace(true);
    }
}

impl Relay {
    async fn run(&self, mut client: TcpStream) {
        let Ok(mut server) = TcpStream::connect(self.server).await else { return };
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let forth = async {
            let mut buffer = [0; 4_096];
            while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
                let passed = self.pass(length).await;
                if to_server.write_all(&buffer[..passed]).await.is_err() || passed < length {
                    break;
                }
                self.sent.fetch_add(passed as u64, Ordering::SeqCst);
            }
        };
        let back = async {
            let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
        };
        tokio::select! {
            () = forth => {}
            () = back => {}
        }
    }

    /// How much of a packet may pass, if it ever does.
    async fn pass(&self, length: usize) -> usize {
        let packet = self.packets.fetch_add(1, Ordering::SeqCst).checked_sub(LOGIN + self.points.from);
        if packet.is_some_and(|packet| packet % self.points.every == 0) {
            self.plan.point().await;
        }
        let left = self.limit.load(Ordering::SeqCst).saturating_sub(self.sent.load(Ordering::SeqCst));
        usize::try_from(left).unwrap_or(length).min(length)
    }
}
