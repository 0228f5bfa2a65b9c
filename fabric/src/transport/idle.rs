//! When a draining server may cut its connections: no call is running, and nothing is being written any more.

use std::time::Duration;

use super::calls::Calls;
use super::severable::Connections;

/// Once no call is running, connections have this long to close by themselves; an answer that is still being written
/// restarts it.
const CLOSING_TIME: Duration = Duration::from_secs(1);

/// Waits until no call is running and nothing has been written for a while.
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
