//! Keeps the tenants of a file as the file has them.

use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use tokio::time::MissedTickBehavior;
use tracing::{error, info};

use super::Tenants;
use crate::metrics::Metrics;

/// How often the file is looked at. Looking is one system call, and a change of a token should not take long.
const INTERVAL: Duration = Duration::from_secs(1);

/// What changes when a file does, be it written or replaced; `None` while it is not there.
type Mark = Option<(SystemTime, u64, u64)>;

/// Reads the file of `tenants` whenever it changes, until `ended`. A broken file is told, and changes nothing.
pub(crate) async fn follow(tenants: Tenants, metrics: Metrics, ended: impl Fn() -> bool) {
    let Some(path) = tenants.source().map(Path::to_owned) else { return };
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Whatever was written between the first reading and the first look is read again.
    let mut last = None;
    loop {
        ticks.tick().await;
        if ended() {
            return;
        }
        let now = Some(mark(&path).await);
        if now != last {
            let is_change = last.is_some();
            last = now;
            let (tenants, metrics) = (tenants.clone(), metrics.clone());
            // A volume may hang; then this task hangs, and no other.
            drop(spawn_blocking(move || reload(&tenants, &metrics, is_change)).await);
        }
    }
}

/// Reads the file; that it was read is told if `is_change`.
fn reload(tenants: &Tenants, metrics: &Metrics, is_change: bool) {
    let before = tenants.names();
    match tenants.reload() {
        Ok(()) => {
            let after = tenants.names();
            metrics.record_tenants(&after, true);
            if is_change {
                // Also where names stayed: an operator who replaced a token waits for this line.
                info!(tenants = after.len(), "the file of tenants was read again");
            }
        }
        Err(problem) => {
            metrics.record_tenants(&before, false);
            error!(%problem, "the file of tenants is broken, the last good one stays in force");
        }
    }
}

async fn mark(path: &Path) -> Mark {
    let metadata = tokio::fs::metadata(path).await.ok()?;
    Some((metadata.modified().ok()?, metadata.len(), inode(&metadata)))
}

#[cfg(unix)]
fn inode(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_metadata: &std::fs::Metadata) -> u64 {
    0
}
