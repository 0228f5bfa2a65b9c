//! Keeps the tenants in step with their file.

use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::task::spawn_blocking;
use tokio::time::MissedTickBehavior;
use tracing::{error, info};

use super::Tenants;
use crate::metrics::Metrics;

/// How often the file is checked. A check is one system call, and a changed token should take effect quickly.
const INTERVAL: Duration = Duration::from_secs(1);

/// Metadata that changes when the file is written or replaced; `None` while it does not exist.
type Mark = Option<(SystemTime, u64, u64)>;

/// Reloads the file of `tenants` whenever it changes, until `ended`. A broken file is reported and changes nothing.
pub(crate) async fn follow(tenants: Tenants, metrics: Metrics, ended: impl Fn() -> bool) {
    let Some(path) = tenants.source().map(Path::to_owned) else { return };
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Reload once at the first check: the file may have changed since it was first read.
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
            // A volume may hang; then only this task hangs.
            drop(spawn_blocking(move || reload(&tenants, &metrics, is_change)).await);
        }
    }
}

/// Reloads the file; logs that it was read if `is_change`.
fn reload(tenants: &Tenants, metrics: &Metrics, is_change: bool) {
    let before = tenants.names();
    match tenants.reload() {
        Ok(()) => {
            let after = tenants.names();
            metrics.record_tenants(&after, true);
            if is_change {
                // Logged even if the names did not change: an operator who replaced a token waits for this line.
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
