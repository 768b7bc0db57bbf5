//! Accepting connections, for the servers that this crate runs for a host.

use std::{sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};

/// How long to wait after a failure to accept, as when the process has no file descriptor left.
const BREATHER: Duration = Duration::from_millis(100);

/// Serves connections until `shutdown` is ready, at most `at_once` at a time; more wait in the operating system's queue.
/// Dropping the future, too, ends it and closes every connection.
pub(crate) async fn serve<F>(
    listener: TcpListener,
    at_once: usize,
    shutdown: impl Future<Output = ()> + Send,
    answer: impl Fn(TcpStream) -> F + Send,
) where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::select! {
        () = shutdown => {}
        () = accept(listener, at_once, answer) => {}
    }
}

async fn accept<F>(listener: TcpListener, at_once: usize, answer: impl Fn(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(at_once));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(BREATHER).await;
            continue;
        };
        let answering = answer(stream);
        connections.spawn(async move {
            answering.await;
            drop(slot);
        });
    }
}
