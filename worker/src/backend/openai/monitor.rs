//! Monitors an upstream: is it alive, how busy is it, and is it still the same?
//!
//! If an upstream comes back with another model, version or mode, the worker ends: its digest or its class would no
//! longer be true.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::discover;
use super::error::UpstreamError;
use super::flavour::Flavour;
use super::http::Http;
use crate::backend::occupancy::Occupancy;
use crate::backend::{Availability, Load};

/// Interval between two checks.
const EVERY: Duration = Duration::from_secs(2);
/// Interval while it does not answer: each group that is sent to it in the meantime costs its samples an attempt.
const WHILE_FAILING: Duration = Duration::from_millis(500);
/// Checks that must fail in a row before the worker leaves the fleet.
const FAILURES: u32 = 3;

/// Maximum time that a sample waits to learn whether the upstream that lost it is down.
const SETTLES_WITHIN: Duration = Duration::from_secs(5);

/// The upstream to monitor.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    pub(super) http: Http,
    /// As set by the operator.
    pub(super) told_flavour: Option<Flavour>,
    pub(super) flavour: Flavour,
    /// The model's name at the upstream.
    pub(super) model: String,
    /// What digest and class are made of.
    pub(super) identity: [String; 2],
}

/// The result of the last check.
#[derive(Debug)]
pub(super) struct Seen {
    /// Away while it does not answer, dead once it serves something else.
    availability: watch::Sender<Availability>,
    /// Notified when somebody has reason to think that it is down.
    suspected: Notify,
    /// Grows whenever it has been determined again whether it is down.
    settled: watch::Sender<u64>,
    /// Requests that wait at the upstream, from any client.
    waiting: AtomicU32,
    /// Its own count of work; 0: not reported.
    work: AtomicU64,
}

/// The upstream's metrics at one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Numbers {
    waiting: u32,
    work: u64,
}

// === impl Seen ===

impl Seen {
    /// Before the first check.
    pub(super) fn new() -> Self {
        let (suspected, waiting, work) = Default::default();
        let availability = watch::Sender::new(Availability::Up);
        let settled = watch::Sender::new(0);
        Self { availability, suspected, settled, waiting, work }
    }

    /// Whether it accepts work: the current state and all changes.
    pub(super) fn watch_availability(&self) -> watch::Receiver<Availability> {
        self.availability.subscribe()
    }

    /// Whether it accepts work now.
    pub(super) fn availability(&self) -> Availability {
        self.availability.borrow().clone()
    }

    /// Requests a check, and waits until it is known whether the upstream is down. Only then is a sample that it lost
    /// reported as failed, so that when the sample is retried, this worker is no longer in the fleet.
    pub(super) async fn settle(&self) {
        let mut settled = self.settled.subscribe();
        self.suspected.notify_one();
        drop(timeout(SETTLES_WITHIN, settled.changed()).await);
    }

    fn tell_settled(&self) {
        self.settled.send_modify(|times| *times += 1);
    }

    /// Grows while the upstream works, including what it sends us. 0 if it does not count its own work, because a long
    /// prompt then looks the same as a server that hangs.
    fn steps(&self, events: u64) -> u64 {
        match self.work.load(Ordering::Relaxed) {
            0 => 0,
            work => work.saturating_add(events),
        }
    }

    /// The load of the backend, which has received `events` events from the upstream. Requests of other clients that
    /// are running there are left out: a two-second-old number would count seats as used that have just become free,
    /// and it matters only once requests wait.
    pub(super) fn load(&self, occupancy: &Occupancy, events: u64) -> Load {
        let mut load = occupancy.load(self.steps(events));
        // Waiting requests of other clients keep ours waiting as well.
        load.queued = load.queued.max(self.waiting.load(Ordering::Relaxed));
        load
    }
}

/// Checks the upstream until it has come back as a different one.
pub(super) async fn run(upstream: Watched, seen: Arc<Seen>) {
    let mut failures = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(if failures == 0 { EVERY } else { WHILE_FAILING }) => {}
            () = seen.suspected.notified(), if failures == 0 => {}
        }
        let mut health = upstream.http.get_text(upstream.flavour.health_path()).await.map(drop);
        if health.is_ok() && failures > 0 {
            // However short its absence, a different server may have come back; until that is checked, it does not
            // count as back.
            health = match still_serves(&upstream).await {
                Ok(true) => Ok(()),
                Ok(false) => {
                    let why = "the upstream came back with another model, version or mode; start the worker anew";
                    seen.availability.send_replace(Availability::Dead(why.into()));
                    seen.tell_settled();
                    return;
                }
                Err(error) => Err(error),
            };
        }
        match health {
            Ok(()) => {
                failures = 0;
                seen.availability.send_if_modified(|now| !std::mem::take(now).is_up());
                seen.tell_settled();
                look(&upstream, &seen).await;
            }
            Err(error) => {
                failures += 1;
                if failures >= FAILURES {
                    if seen.availability().is_up() {
                        let why = format!("the upstream is down: {error}");
                        seen.availability.send_replace(Availability::Away(why.into()));
                    }
                    seen.tell_settled();
                }
            }
        }
    }
}

/// Whether it still serves the model that it served at first. Behind a gateway, the answer may come from another kind
/// of server until everything is up again; that decides nothing yet.
async fn still_serves(upstream: &Watched) -> Result<bool, UpstreamError> {
    match discover::find(&upstream.http, &upstream.model, upstream.told_flavour).await {
        Ok(found) if found.flavour != upstream.flavour => {
            Err(UpstreamError::Malformed("it answers as another kind of server".to_owned()))
        }
        Ok(found) => Ok(found.identity() == upstream.identity),
        Err(discover::Refusal::NoSuchModel { .. } | discover::Refusal::OtherTokens { .. }) => {
            Ok(false)
        }
        Err(discover::Refusal::Upstream(error)) => Err(error),
    }
}

async fn look(upstream: &Watched, seen: &Seen) {
    let Some(names) = upstream.flavour.metrics() else { return };
    let numbers = upstream.http.get_text("/metrics").await.map(|page| numbers(&page, names));
    match numbers {
        Ok(Some(Numbers { waiting, work })) => {
            seen.waiting.store(waiting, Ordering::Relaxed);
            // Plus 1, since 0 means "not reported".
            seen.work.store(work.saturating_add(1), Ordering::Relaxed);
        }
        Ok(None) | Err(UpstreamError::Status { .. }) => seen.work.store(0, Ordering::Relaxed),
        Err(_) => {}
    }
}

/// Reads metrics from a Prometheus page, summed over labels. `None` if one of them is missing.
fn numbers(page: &str, [waiting, work]: [&str; 2]) -> Option<Numbers> {
    // Casts saturate, and a sum that is not a number becomes 0.
    Some(Numbers { waiting: metric(page, waiting)? as u32, work: metric(page, work)? as u64 })
}

/// A metric of a Prometheus page, summed over its labels; `None` if the page lacks it.
pub fn metric(page: &str, name: &str) -> Option<f64> {
    let mut values = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = match rest.strip_prefix('{') {
            Some(labels) => labels.rsplit_once('}')?.1,
            None => rest.strip_prefix(' ')?,
        };
        value.split_whitespace().next()?.parse::<f64>().ok()
    });
    let first = values.next()?;
    Some(values.fold(first, |sum, value| sum + value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_summed_over_labels_and_never_made_up() {
        let names = ["waiting", "work"];
        let page =
            "# HELP waiting x\nwaiting{a=\"{}\"} 2\nwaiting{a=\"2\"} 3.0\nwork 17\nworkers 9\n";
        assert_eq!(numbers(page, names), Some(Numbers { waiting: 5, work: 17 }));
        assert_eq!(numbers("work 17\n", names), None);
    }

    #[test]
    fn an_upstream_that_does_not_count_tells_no_steps() {
        let seen = Seen::new();
        assert_eq!(seen.steps(9), 0);
        seen.work.store(5, Ordering::Relaxed);
        assert_eq!(seen.steps(9), 14);
    }
}
