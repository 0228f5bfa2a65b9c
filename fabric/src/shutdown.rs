//! When to stop: SIGTERM and SIGINT.
//!
//! The first signal asks for a drain. On the second, the process ends at once, whatever is still running.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

/// What the operator has requested so far.
#[derive(Debug, Clone)]
pub struct Shutdown {
    /// Cancelled by the first signal: stop taking work, finish what runs.
    pub drain: CancellationToken,
    /// Cancelled by the second signal: end now.
    pub cut: CancellationToken,
}

/// Listens for SIGTERM and SIGINT from now on; they no longer end the process by themselves. Must be called inside a
/// tokio runtime.
///
/// # Errors
/// If the system does not allow a signal handler.
pub fn on_signals() -> io::Result<Shutdown> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = Shutdown { drain: CancellationToken::new(), cut: CancellationToken::new() };
    let tokens = shutdown.clone();
    tokio::spawn(async move {
        for (token, consequence) in [(tokens.drain, "drain"), (tokens.cut, "cut")] {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            info!(signal = name, consequence, "asked to stop");
            token.cancel();
        }
    });
    Ok(shutdown)
}
