//! The rest of a body that was answered before it was read.
//!
//! A server that closes a connection with bytes unread resets it, and a client that is still sending sees a broken pipe in place of
//! the answer: a wrong token would look like a server that fails now and then.

use std::time::Duration;

use axum::body::Body;
use futures::TryStreamExt;
use http_body::Body as _;
use tokio::sync::oneshot;

use super::MAX_MESSAGE_BYTES;

/// Longest time that a client may take to send the rest.
const LIMIT: Duration = Duration::from_secs(30);

/// Where a body comes back to that is dropped unread.
pub(super) struct Unread(oneshot::Receiver<Body>);

/// Gives a body back.
pub(super) type Back = oneshot::Sender<Body>;

/// The way back of a body.
pub(super) fn unread() -> (Back, Unread) {
    let (back, rest) = oneshot::channel();
    (back, Unread(rest))
}

// === impl Unread ===

impl Unread {
    /// Reads the rest, if there is one and it is no larger than any body may be, and forgets it.
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
