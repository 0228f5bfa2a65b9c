//! Reads the rest of a body that was answered early.
//!
//! Closing a connection with unread bytes resets it. A client that is still sending then sees a broken pipe instead of the
//! answer, so a wrong token would look like an unreliable server.

use std::time::Duration;

use axum::body::Body;
use futures::TryStreamExt;
use http_body::Body as _;
use tokio::sync::oneshot;

use super::MAX_MESSAGE_BYTES;

/// Maximum time to wait for the rest.
const LIMIT: Duration = Duration::from_secs(30);

/// Receives a body that was dropped before its end.
pub(super) struct Unread(oneshot::Receiver<Body>);

/// Returns a body.
pub(super) type Back = oneshot::Sender<Body>;

/// A channel for one body.
pub(super) fn unread() -> (Back, Unread) {
    let (back, rest) = oneshot::channel();
    (back, Unread(rest))
}

// === impl Unread ===

impl Unread {
    /// Reads and discards the rest, unless it is larger than any body may be.
    pub(super) async fn read_out(mut self) {
        let Ok(rest) = self.0.try_recv() else { return };
        if rest.size_hint().lower() > MAX_MESSAGE_BYTES as u64 {
            return;
        }
        let mut chunks = rest.into_data_stream();
        let until_end = async {
            let mut n_bytes = 0;
            while let Ok(Some(chunk)) = chunks.try_next().await {
                n_bytes += chunk.len();
                if n_bytes > MAX_MESSAGE_BYTES {
                    return;
                }
            }
        };
        drop(tokio::time::timeout(LIMIT, until_end).await);
    }
}
