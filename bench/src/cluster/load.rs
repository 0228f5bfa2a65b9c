//! Requests in a closed loop: a fixed number is in flight, and each answer starts the next request.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::ensure;
use jury_client::Client;
use jury_grm::domain::{Item, Query, ScoreRequest, Settings, Status};
use tokio::task::JoinSet;

use super::config::{Config, Point};
use super::coordinator::CoordinatorProcess;

/// Connections to the coordinator, as if from several trainer processes.
const CONNECTIONS: usize = 4;

/// Bytes of a query.
const QUERY_BYTES: usize = 400;

/// The measurement of one point in its window.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    pub samples_per_second: f64,
    /// CPU time of the coordinator per sample, in microseconds.
    pub cpu_us_per_sample: f64,
    /// Median latency of a request, in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile, in milliseconds.
    pub p99_ms: f64,
    /// Requests without a complete verdict.
    pub not_whole: u64,
}

/// Generates requests.
pub struct Generator {
    k: u32,
    in_flight: usize,
    warm_up: Duration,
    window: Duration,
    seed: u64,
    responses: usize,
    response_bytes: usize,
}

/// What the loops have recorded.
#[derive(Default)]
struct Seen {
    samples: AtomicU64,
    not_whole: AtomicU64,
    next_request: AtomicU64,
    /// Latencies of requests that ended in the window, in seconds.
    latencies: Mutex<Vec<f64>>,
    counts: AtomicBool,
    ends: AtomicBool,
}

// === impl Generator ===

impl Generator {
    pub fn new(config: &Config, point: &Point) -> Self {
        Self {
            k: point.k,
            in_flight: point.in_flight,
            warm_up: point.warm_up,
            window: point.window,
            seed: config.seed,
            responses: config.responses,
            response_bytes: config.response_bytes,
        }
    }

    /// Runs until the window is over, then drops the requests in flight.
    pub async fn measure(&self, coordinator: &CoordinatorProcess) -> anyhow::Result<Measured> {
        let seen = Arc::new(Seen::default());
        let template = Arc::new(self.request());
        let mut loops = JoinSet::new();
        let clients =
            (0..CONNECTIONS).map(|_| coordinator.client()).collect::<anyhow::Result<Vec<_>>>()?;
        for number in 0..self.in_flight {
            let client = clients[number % CONNECTIONS].clone();
            loops.spawn(ask(client, template.clone(), seen.clone()));
        }
        let window = async {
            tokio::time::sleep(self.warm_up).await;
            let cpu = coordinator.cpu_seconds()?;
            let (samples, started) = (seen.samples.load(Ordering::Relaxed), Instant::now());
            seen.counts.store(true, Ordering::Relaxed);
            tokio::time::sleep(self.window).await;
            let seconds = started.elapsed().as_secs_f64();
            let samples = (seen.samples.load(Ordering::Relaxed) - samples) as f64;
            let cpu = coordinator.cpu_seconds()? - cpu;
            ensure!(samples > 0.0, "no sample came within {:?}; give --seconds more", self.window);
            Ok((samples, seconds, cpu))
        };
        let (samples, seconds, cpu) = tokio::select! {
            measured = window => measured?,
            Some(ended) = loops.join_next() => match ended? {
                Err(error) => return Err(error),
                Ok(()) => unreachable!("a loop goes on until it is told to end"),
            },
        };
        seen.ends.store(true, Ordering::Relaxed);
        let mut latencies =
            std::mem::take(&mut *seen.latencies.lock().unwrap_or_else(PoisonError::into_inner));
        latencies.sort_by(f64::total_cmp);
        Ok(Measured {
            samples_per_second: samples / seconds,
            cpu_us_per_sample: cpu / samples * 1e6,
            p50_ms: quantile(&latencies, 0.5) * 1e3,
            p99_ms: quantile(&latencies, 0.99) * 1e3,
            not_whole: seen.not_whole.load(Ordering::Relaxed),
        })
    }

    fn request(&self) -> ScoreRequest {
        let words = |bytes: usize| "a word or two ".repeat(bytes / 14 + 1);
        let responses = (0..self.responses)
            .map(|number| format!("{number} {}", words(self.response_bytes)))
            .collect();
        let item = Item::bare(Query::Text(String::new()), responses);
        ScoreRequest {
            settings: Settings { k: self.k, ..Settings::default() },
            seed: self.seed,
            ..ScoreRequest::new(item)
        }
    }
}

/// Sends one request after another, each with a different item.
async fn ask(client: Client, template: Arc<ScoreRequest>, seen: Arc<Seen>) -> anyhow::Result<()> {
    while !seen.ends.load(Ordering::Relaxed) {
        let mut request = (*template).clone();
        let number = seen.next_request.fetch_add(1, Ordering::Relaxed);
        request.item.id = number.to_string();
        request.item.query =
            Query::Text(format!("{number} {}", "a word or two ".repeat(QUERY_BYTES / 14)));
        let started = Instant::now();
        let verdict = client.score(request).await?;
        let latency = started.elapsed().as_secs_f64();
        let counts = verdict.counts;
        seen.samples.fetch_add(u64::from(counts.valid + counts.parse_failed), Ordering::Relaxed);
        if seen.counts.load(Ordering::Relaxed) {
            seen.latencies.lock().unwrap_or_else(PoisonError::into_inner).push(latency);
            if verdict.status != Status::Ok {
                seen.not_whole.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    Ok(())
}

/// Quantile of sorted values; 0 if there are none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_has_its_share_below_it() {
        let values: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!((quantile(&values, 0.5), quantile(&values, 0.99)), (50.0, 99.0));
        assert_eq!((quantile(&[7.0], 0.99), quantile(&[], 0.5)), (7.0, 0.0));
    }
}
