//! The network between agents and host, which a test can cut.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Leads from an address that stays to wherever the host listens now.
pub(crate) struct Network {
    pub(crate) address: SocketAddr,
    up: Arc<watch::Sender<bool>>,
}

impl Network {
    /// `port` is the file in which the host says where it listens.
    pub(crate) async fn new(port: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let up = Arc::new(watch::Sender::new(true));
        let state = Arc::clone(&up);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(lead(stream, port.clone(), state.subscribe()));
            }
        });
        Self { address, up }
    }

    /// Breaks every connection, and lets none through any more.
    pub(crate) fn cut(&self) {
        self.up.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        self.up.send_replace(true);
    }
}

async fn lead(mut from: TcpStream, port: PathBuf, mut up: watch::Receiver<bool>) {
    if !*up.borrow() {
        return;
    }
    let port = std::fs::read_to_string(port).ok().and_then(|port| port.parse::<u16>().ok());
    let Some(port) = port else { return };
    let connect = TcpStream::connect(("127.0.0.1", port));
    let Ok(Ok(mut to)) = tokio::time::timeout(Duration::from_secs(5), connect).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut from, &mut to) => {}
        _ = up.wait_for(|up| !up) => {}
    }
}
