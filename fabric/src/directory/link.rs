//! The way to a server that a directory is in: one log line for each change between reached and lost, and the waits
//! between attempts.

use std::fmt::Display;
use std::time::Duration;

use tracing::{info, warn};

use crate::backoff::Backoff;

/// Bounds of the waits between sessions: a lease of ten seconds survives an etcd that comes back.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Tells the log when a server is reached and when it is lost, once each, and spaces the attempts.
pub(super) struct Link {
    /// What the log calls the server.
    server: &'static str,
    /// What depends on it, for the log.
    purpose: &'static str,
    /// What the log was told last; `None` before the first attempt has ended.
    told: Option<bool>,
    backoff: Backoff,
}

// === impl Link ===

impl Link {
    pub(super) fn new(server: &'static str, purpose: &'static str) -> Self {
        Self { server, purpose, told: None, backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT) }
    }

    /// A session works.
    pub(super) fn reached(&mut self) {
        self.backoff.reset();
        if self.told != Some(true) {
            info!(purpose = self.purpose, "{} reached", self.server);
        }
        self.told = Some(true);
    }

    /// A session has ended; returns when to try the next.
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
