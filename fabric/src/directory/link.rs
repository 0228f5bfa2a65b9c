//! The connection to the server behind a directory: one log line for each change between reached and lost, and the
//! waits between attempts.

use std::fmt::Display;
use std::time::Duration;

use tracing::{info, warn};

use crate::backoff::Backoff;

/// Bounds of the waits between sessions. A ten-second lease survives an etcd that comes back.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Logs once when a server is reached and once when it is lost, and spaces the attempts.
pub(super) struct Link {
    /// Name of the server in the log.
    server: &'static str,
    /// What depends on it, for the log.
    purpose: &'static str,
    /// What was last logged; `None` before the first attempt has ended.
    told: Option<bool>,
    backoff: Backoff,
}

// === impl Link ===

impl Link {
    pub(super) fn new(server: &'static str, purpose: &'static str) -> Self {
        Self { server, purpose, told: None, backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT) }
    }

    /// Records that a session works.
    pub(super) fn reached(&mut self) {
        self.backoff.reset();
        if self.told != Some(true) {
            info!(purpose = self.purpose, "{} reached", self.server);
        }
        self.told = Some(true);
    }

    /// Records that a session has ended, and waits until the next attempt is due.
    pub(super) async fn wait_after(&mut self, trouble: &(impl Display + Sync)) {
        let (server, purpose) = (self.server, self.purpose);
        match self.told {
            None => warn!(purpose, %trouble, "{server} not reached yet, trying again"),
            Some(true) => warn!(purpose, %trouble, "{server} lost, trying again"),
            Some(false) => {}
        }
        self.told = Some(false);
        tokio::time::sleep(self.backoff.next_wait(rand::random())).await;
    }
}
