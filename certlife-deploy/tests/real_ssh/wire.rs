//! A wire to the server that can be cut.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Relays connections to a server, counts what goes there, and cuts all of them when told, or after so many bytes.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    sent: Arc<AtomicU64>,
    limit: Arc<AtomicU64>,
    cut: watch::Sender<bool>,
}

impl Wire {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sent, limit) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(u64::MAX)));
        let (cut, is_cut) = watch::channel(false);
        let (sent_there, limit_there) = (Arc::clone(&sent), Arc::clone(&limit));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut is_cut = is_cut.clone();
                let (sent, limit) = (Arc::clone(&sent_there), Arc::clone(&limit_there));
                tokio::spawn(async move {
                    tokio::select! {
                        () = relay(client, server, &sent, &limit) => {}
                        _ = is_cut.wait_for(|cut| *cut) => {}
                    }
                });
            }
        });
        Self { address, sent, limit, cut }
    }

    /// How many bytes went to the server.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Lets only so many more bytes through, and then ends every connection.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.limit.store(self.sent() + bytes, Ordering::SeqCst);
    }

    /// Ends every connection, and every later one at once.
    pub(crate) fn cut(&self) {
        self.cut.send_replace(true);
    }
}

async fn relay(mut client: TcpStream, server: SocketAddr, sent: &AtomicU64, limit: &AtomicU64) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let forth = async {
        let mut buffer = [0; 4_096];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            let left = limit.load(Ordering::SeqCst).saturating_sub(sent.load(Ordering::SeqCst));
            let passed = usize::try_from(left).unwrap_or(length).min(length);
            if to_server.write_all(&buffer[..passed]).await.is_err() {
                break;
            }
            sent.fetch_add(passed as u64, Ordering::SeqCst);
            if passed < length {
                break;
            }
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
