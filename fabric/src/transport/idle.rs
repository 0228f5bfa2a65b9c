//! When a server that leaves may cut its connections: no call runs, and nothing is being written any more.

use std::time::Duration;

use super::calls::Calls;
use super::severable::Connections;

/// Once no call runs, connections have this long to close by themselves; an answer that is still
/// being written begins it anew.
const CLOSING_TIME: Duration = Duration::from_secs(1);

/// Waits until no call runs and nothing has been written for a while.
pub(super) async fn idle(calls: &Calls, connections: &Connections) {
    loop {
        calls.none().await;
        let written = connections.writes();
        tokio::time::sleep(CLOSING_TIME).await;
        if calls.running() == 0 && connections.writes() == written {
            return;
        }
    }
}
