//! Watches an upstream: does it live, how busy is it, is it still the same?
//!
//! An upstream that comes back with another model, version or mode ends the worker: its digest or its class would be a lie.

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

/// Between two looks.
const EVERY: Duration = Duration::from_secs(2);
/// Between two looks while it does not answer: each group that is sent there meanwhile costs its samples an attempt.
const WHILE_FAILING: Duration = Duration::from_millis(500);
/// Looks in a row that must fail before the worker leaves the fleet.
const FAILURES: u32 = 3;

/// Most that a sample waits to hear whether the upstream that lost it is down.
const SETTLES_WITHIN: Duration = Duration::from_secs(5);

/// Whom it watches.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    pub(super) http: Http,
    /// By the operator.
    pub(super) told_flavour: Option<Flavour>,
    pub(super) flavour: Flavour,
    /// The model's name there.
    pub(super) model: String,
    /// What digest and class are made of.
    pub(super) identity: [String; 2],
}

/// What the last look saw.
#[derive(Debug)]
pub(super) struct Seen {
    /// Away while it does not answer, dead once it serves something else.
    availability: watch::Sender<Availability>,
    /// Somebody has reason to think that it is.
    suspected: Notify,
    /// Grows whenever it is known again whether it is.
    settled: watch::Sender<u64>,
    /// Requests that wait there, whoever sent them.
    waiting: AtomicU32,
    /// Its own count of work; 0: not told.
    work: AtomicU64,
}

/// A look at its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Numbers {
    waiting: u32,
    work: u64,
}

// === impl Seen ===

impl Seen {
    /// Nobody has looked.
    pub(super) fn new() -> Self {
        let (suspected, waiting, work) = Default::default();
        let availability = watch::Sender::new(Availability::Up);
        let settled = watch::Sender::new(0);
        Self { availability, suspected, settled, waiting, work }
    }

    /// Whether it accepts work, from now on.
    pub(super) fn watch_availability(&self) -> watch::Receiver<Availability> {
        self.availability.subscribe()
    }

    /// Whether it accepts work now.
    pub(super) fn availability(&self) -> Availability {
        self.availability.borrow().clone()
    }

    /// Has it looked at, and waits until it is known whether it is down. A sample that it lost is told as failed after that: whoever
    /// draws the sample anew no longer finds this worker in the fleet then.
    pub(super) async fn settle(&self) {
        let mut settled = self.settled.subscribe();
        self.suspected.notify_one();
        drop(timeout(SETTLES_WITHIN, settled.changed()).await);
    }

    fn tell_settled(&self) {
        self.settled.send_modify(|times| *times += 1);
    }

    /// Grows while it works, what it sends us included; 0 where it does not count its own work, for then nobody can tell a
    /// long prompt from a server that hangs.
    fn steps(&self, events: u64) -> u64 {
        match self.work.load(Ordering::Relaxed) {
            0 => 0,
            work => work.saturating_add(events),
        }
    }

    /// How busy the backend is that has had so many `events` from it. What runs there for others is left out: a number of two seconds ago
    /// would take seats for used that have just become free, and matters only once requests wait.
    pub(super) fn load(&self, occupancy: &Occupancy, events: u64) -> Load {
        let mut load = occupancy.load(self.steps(events));
        // What others have waiting there keeps ours waiting, too.
        load.queued = load.queued.max(self.waiting.load(Ordering::Relaxed));
        load
    }
}

/// Looks until it has come back as another.
pub(super) async fn run(upstream: Watched, seen: Arc<Seen>) {
    let mut failures = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(if failures == 0 { EVERY } else { WHILE_FAILING }) => {}
            () = seen.suspected.notified(), if failures == 0 => {}
        }
        let mut health = upstream.http.get_text(upstream.flavour.health_path()).await.map(drop);
        if health.is_ok() && failures > 0 {
            // However short it was away, another may have come back; until that is known, it is not back.
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

/// Whether it still serves the model that it served at first. Behind a gateway, what answers may be of another kind
/// until all of it is there: that tells nothing yet.
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
            // 1 more, since 0 means "not told".
            seen.work.store(work.saturating_add(1), Ordering::Relaxed);
        }
        Ok(None) | Err(UpstreamError::Status { .. }) => seen.work.store(0, Ordering::Relaxed),
        Err(_) => {}
    }
}

/// From a Prometheus page, summed over labels. `None` where it lacks any of them.
fn numbers(page: &str, [waiting, work]: [&str; 2]) -> Option<Numbers> {
    // Casts saturate, and a sum that is no number becomes 0.
    Some(Numbers { waiting: metric(page, waiting)? as u32, work: metric(page, work)? as u64 })
}

/// A metric of a page as Prometheus reads it, summed over its labels; `None` where the page lacks it.
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
