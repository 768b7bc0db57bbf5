//! A web server for nothing but challenges, for hosts that have none on port 80.

use std::{convert::Infallible, future::ready, io, net::SocketAddr, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use super::http01::Http01;
use crate::accept;

/// How many connections are served at once; more wait in the operating system's queue.
const MAX_CONNECTIONS: usize = 256;
/// How long one connection may last, from its first byte to its last. It gets one answer.
const MAX_DURATION: Duration = Duration::from_secs(10);
/// The most of a request's head that is read; hyper takes no less.
const MAX_HEAD: usize = 8_192;
const MAX_HEADERS: usize = 64;

/// Answers `http-01` challenges on an address of its own; made by
/// [`Rustls::http01_listener`](super::Rustls::http01_listener).
///
/// Speaks HTTP/1.1, one request a connection, for at most ten seconds and with at most 8 KiB of head, on at
/// most 256 connections at once.
#[derive(Debug)]
pub struct Http01Listener {
    listener: TcpListener,
    http01: Http01,
}

impl Http01Listener {
    pub(super) async fn bind(http01: Http01, address: SocketAddr) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, http01 })
    }

    /// The address that is listened on: with the port that was chosen if none was asked for.
    ///
    /// # Errors
    ///
    /// The operating system's own.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` is ready. Dropping the future, too, ends it and closes every connection.
    pub async fn serve(self, shutdown: impl Future<Output = ()> + Send) {
        accept::serve(self.listener, MAX_CONNECTIONS, shutdown, |stream| {
            let http01 = self.http01.clone();
            async move {
                // Whoever is too slow, or breaks the protocol, is left alone.
                let _ = tokio::time::timeout(MAX_DURATION, answer(http01, stream)).await;
            }
        })
        .await;
    }
}

async fn answer(http01: Http01, stream: TcpStream) -> hyper::Result<()> {
    let service = service_fn(move |request| ready(Ok::<_, Infallible>(http01.answer_or_404(&request))));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(MAX_DURATION)
        .keep_alive(false)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service)
        .await
}
