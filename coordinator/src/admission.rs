//! Who may start now, who waits, who is refused.
//!
//! The unit is the sample: requests are admitted first come, first served while the samples of
//! those running stay within what the fleet can draw (times a factor), so that workers are busy
//! and queues stay here, where they are bounded and a waiting request costs nothing.
//!
//! Not promised: fairness between tenants; there is one queue.

mod queue;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

pub use queue::{Offer, Queue, Ticket};

/// Grants permits from one bounded queue.
#[derive(Debug, Clone)]
pub struct Admission {
    shared: Arc<Mutex<Shared>>,
}

/// The right to run. Travels with the request and is given back on drop.
#[derive(Debug)]
pub struct Permit {
    admission: Admission,
    n_samples: u32,
}

/// The queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{waiting} requests are waiting, which is the limit")]
pub struct Overloaded {
    /// Requests that wait.
    pub waiting: usize,
    /// Time after which to try again.
    pub retry_after: Duration,
}

/// What admission is doing now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionLoad {
    /// Requests with a permit.
    pub running: usize,
    /// Requests that wait.
    pub waiting: usize,
}

#[derive(Debug)]
struct Shared {
    queue: Queue,
    waiters: HashMap<Ticket, oneshot::Sender<Permit>>,
}

/// Leaves the queue when its request goes away while it waits.
struct Waiting<'a> {
    admission: &'a Admission,
    ticket: Ticket,
}

/// A full queue drains by one request in about this time; a client that is told so spreads its
/// tries with jitter of its own.
const RETRY_AFTER: Duration = Duration::from_millis(500);

// === impl Admission ===

impl Admission {
    /// An empty queue for at most `queue_limit` waiting requests.
    pub fn new(queue_limit: usize) -> Self {
        let shared = Shared { queue: Queue::new(queue_limit), waiters: HashMap::new() };
        Self { shared: Arc::new(Mutex::new(shared)) }
    }

    /// Waits for a permit for `n_samples`.
    ///
    /// # Errors
    /// [`Overloaded`] at once, when the queue is full.
    pub async fn admit(&self, n_samples: u32) -> Result<Permit, Overloaded> {
        let (ticket, granted) = {
            let mut shared = self.lock();
            match shared.queue.offer(n_samples) {
                Offer::Granted => {
                    return Ok(Permit { admission: self.clone(), n_samples });
                }
                Offer::Full { waiting } => {
                    return Err(Overloaded { waiting, retry_after: RETRY_AFTER });
                }
                Offer::Queued(ticket) => {
                    let (grant, granted) = oneshot::channel();
                    shared.waiters.insert(ticket, grant);
                    (ticket, granted)
                }
            }
        };
        let _waiting = Waiting { admission: self, ticket };
        Ok(granted.await.expect("a waiter is granted before it is forgotten"))
    }

    /// Tells how many samples may run at once from now on.
    pub fn set_capacity(&self, n_samples: u32) {
        let granted = self.lock().queue.set_capacity(n_samples);
        self.wake(granted);
    }

    /// What is running and waiting.
    pub fn load(&self) -> AdmissionLoad {
        let shared = self.lock();
        AdmissionLoad { running: shared.queue.n_running(), waiting: shared.queue.n_waiting() }
    }

    fn wake(&self, granted: Vec<(Ticket, u32)>) {
        for (ticket, n_samples) in granted {
            let waiter = self.lock().waiters.remove(&ticket);
            let permit = Permit { admission: self.clone(), n_samples };
            if let Some(grant) = waiter {
                // A waiter that has just left gives the permit back by dropping it.
                drop(grant.send(permit));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let granted = self.admission.lock().queue.release(self.n_samples);
        self.admission.wake(granted);
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let waiter = {
            let mut shared = self.admission.lock();
            shared.queue.leave(self.ticket);
            shared.waiters.remove(&self.ticket)
        };
        drop(waiter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_permit_given_back_lets_the_next_request_in() {
        let admission = Admission::new(4);

        let first = admission.admit(60).await.unwrap();
        let next = tokio::spawn({
            let admission = admission.clone();
            async move { admission.admit(60).await.map(|_| ()) }
        });
        while admission.load().waiting == 0 {
            tokio::task::yield_now().await;
        }
        drop(first);
        assert_eq!(next.await.unwrap(), Ok(()));
        assert_eq!(admission.load(), AdmissionLoad { running: 0, waiting: 0 });
    }

    #[tokio::test]
    async fn a_request_that_goes_away_leaves_the_queue() {
        let admission = Admission::new(1);

        let _running = admission.admit(60).await.unwrap();
        let waiting = tokio::spawn({
            let admission = admission.clone();
            async move { admission.admit(60).await.map(|_| ()) }
        });
        while admission.load().waiting == 0 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(admission.admit(1).await, Err(Overloaded { waiting: 1, .. })));
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        assert_eq!(admission.load().waiting, 0);
    }
}
