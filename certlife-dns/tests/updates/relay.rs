//! A relay in front of a server, which counts what passes by UDP and by TCP.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};

/// TC, in the third byte of a message (RFC 1035 §4.1.1).
const TRUNCATED: u8 = 0b10;

/// Stops when it is dropped.
pub(crate) struct Relay {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    _tasks: JoinSet<io::Result<()>>,
}

/// What has passed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    /// Answers by UDP that say of themselves to be cut short.
    pub(crate) cut_short: usize,
    /// Connections by TCP.
    pub(crate) by_tcp: usize,
}

impl Relay {
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let (listener, socket) = loop {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            // The same port may be taken for UDP.
            if let Ok(socket) = UdpSocket::bind(listener.local_addr().unwrap()).await {
                break (listener, socket);
            }
        };
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let mut tasks = JoinSet::new();
        tasks.spawn(relay_udp(socket, server, seen.clone()));
        tasks.spawn(relay_tcp(listener, server, seen.clone()));
        Self { address, seen, _tasks: tasks }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn seen(&self) -> Seen {
        *self.seen.lock().unwrap()
    }
}

/// One message at a time, which is enough for one caller.
async fn relay_udp(socket: UdpSocket, server: SocketAddr, seen: Arc<Mutex<Seen>>) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let (length, client) = socket.recv_from(&mut buffer).await?;
        let upstream = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        upstream.send_to(&buffer[..length], server).await?;
        let length = upstream.recv(&mut buffer).await?;
        seen.lock().unwrap().cut_short += usize::from(buffer[2] & TRUNCATED != 0);
        socket.send_to(&buffer[..length], client).await?;
    }
}

async fn relay_tcp(listener: TcpListener, server: SocketAddr, seen: Arc<Mutex<Seen>>) -> io::Result<()> {
    loop {
        let (mut client, _) = listener.accept().await?;
        seen.lock().unwrap().by_tcp += 1;
        let mut upstream = TcpStream::connect(server).await?;
        copy_bidirectional(&mut client, &mut upstream).await?;
    }
}
