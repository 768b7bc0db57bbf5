//! When to stop.

/// Returns when the program is asked to stop: by Ctrl-C, or on Unix by SIGTERM.
///
/// # Errors
///
/// The operating system's own, if it does not tell of signals.
pub async fn stop_signal() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            told = tokio::signal::ctrl_c() => told,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
