//! Ctrl-C in commands that run to an end. Servers have their own handling: their second signal closes connections.

use std::sync::OnceLock;

use jury_fabric::shutdown::{Shutdown, on_signals};
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::page::note;

/// Shared by all stages of a command, so that a signal between two of them reaches the next.
static SIGNALS: OnceLock<Shutdown> = OnceLock::new();

/// Listens from now on: the first signal asks for an orderly end, the second ends the process at once. Finished work is in
/// its files by then, and each file is complete or unchanged.
pub fn signals() -> Result<Shutdown, Failed> {
    if let Some(signals) = SIGNALS.get() {
        return Ok(signals.clone());
    }
    let signals = on_signals().or_exit(Exit::Internal)?;
    let cut = signals.cut.clone();
    tokio::spawn(async move {
        cut.cancelled().await;
        note("jury: interrupted twice, stopped at once");
        std::process::exit(Exit::Interrupted.code().into());
    });
    Ok(SIGNALS.get_or_init(|| signals).clone())
}
