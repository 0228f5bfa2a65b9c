//! A worker that behaves like a GPU node: groups are prefilled one after another, samples decode in parallel in its
//! slots, their lengths vary, and some fail. The texts are made up; the timing is realistic.
//!
//! Ends are computed when a group arrives, so that a node needs one timer per end and no task per sample. Not
//! simulated: a slot that becomes free early when its sample is cancelled.

mod drawing;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jury_fabric::transport::{HealthHandle, Listener};
use jury_grm::domain::Reproducible;
use jury_proto::convert::{Capabilities, SampleGroup, WorkerRole};
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_worker::backend::{Availability, Backend, BackendInfo, GroupEvents, GroupHandle, Load};
use jury_worker::heads::Heads;
use jury_worker::metrics::WorkerMetrics;
use jury_worker::run::{Announce, SERVICE_NAME, Worker, WorkerConfig};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::drawing::{Drawing, End, Seats};

/// Bytes of text per token, roughly as in English.
const BYTES_PER_TOKEN: usize = 4;
/// Slots of an instant node: more samples than any point has in flight.
const INSTANT_CAPACITY: u32 = 4096;

/// How fast a node is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// Prompt tokens per second, one group at a time; `None`: instant.
    pub prefill_rate: Option<f64>,
    /// Generated tokens per second of each sample; `None`: instant.
    pub decode_rate: Option<f64>,
    /// Mean tokens per sample.
    pub tokens: u32,
    /// Lengths vary by this share in both directions, 0 to 1.
    pub jitter: f64,
    /// Share of samples that the node fails, 0 to 1.
    pub failures: f64,
    /// Samples that decode at once.
    pub capacity: u32,
}

/// Listening nodes. They stop when this is dropped.
pub struct Nodes {
    /// `http://127.0.0.1:port` of each.
    pub addresses: Vec<String>,
    _stop: DropGuard,
}

struct Node {
    info: BackendInfo,
    pace: Pace,
    seed: u64,
    schedule: Mutex<Schedule>,
    /// Samples that have begun and not ended.
    drawing: Arc<AtomicU32>,
    /// Number of ends so far, reported as the model's steps.
    steps: Arc<AtomicU64>,
    availability: watch::Sender<Availability>,
}

/// When the queued work will be done.
#[derive(Default)]
struct Schedule {
    /// When the last prompt will be prefilled.
    prefilled: Option<Instant>,
    /// When each slot becomes free; slots that were never used are missing.
    places: BinaryHeap<Reverse<Instant>>,
}

// === impl Pace ===

impl Pace {
    /// Does everything at once.
    pub fn instant(tokens: u32) -> Self {
        Self {
            prefill_rate: None,
            decode_rate: None,
            tokens,
            jitter: 0.0,
            failures: 0.0,
            capacity: INSTANT_CAPACITY,
        }
    }
}

// === impl Nodes ===

impl Nodes {
    /// Starts the nodes with these numbers, all in one numerics class, on loopback ports.
    pub async fn start(numbers: Range<usize>, pace: &Pace, seed: u64) -> Result<Self, Failed> {
        let stop = CancellationToken::new();
        let mut addresses = Vec::with_capacity(numbers.len());
        for number in numbers {
            let listener = TcpListener::bind("127.0.0.1:0").await.or_exit(Exit::Unavailable)?;
            let address = format!("http://{}", listener.local_addr().or_exit(Exit::Internal)?);
            let worker = Worker {
                config: WorkerConfig {
                    worker_id: format!("node-{number}"),
                    advertised_address: address.clone(),
                    grace: Duration::ZERO,
                },
                backend: Arc::new(Node::new(pace.clone(), seed)),
                heads: Heads::default(),
                announce: Announce::Nowhere,
                health: HealthHandle::new(&[SERVICE_NAME]),
                metrics: WorkerMetrics::unregistered(),
            };
            let ends = stop.child_token();
            tokio::spawn(async move {
                if let Err(error) =
                    jury_worker::run::run(worker, Listener::Tcp(listener), ends).await
                {
                    tracing::error!(%error, "simulated worker ended");
                }
            });
            addresses.push(address);
        }
        Ok(Self { addresses, _stop: stop.drop_guard() })
    }
}

// === impl Node ===

impl Node {
    fn new(pace: Pace, seed: u64) -> Self {
        let info = BackendInfo {
            role: WorkerRole::Grm,
            model: "simulated".to_owned(),
            model_digest: "51".repeat(32),
            method_version: jury_grm::method_version(),
            numerics: "simulated-1".to_owned(),
            context_tokens: 1 << 20,
            reproducible: Reproducible::Bitwise,
            capacity: pace.capacity,
            capabilities: Capabilities {
                seeds: true,
                distributions: true,
                cancel: true,
                token_prompts: true,
                ..Capabilities::default()
            },
            room_tokens: None,
            state_width: None,
            adapters: Vec::new(),
        };
        Self {
            info,
            pace,
            seed,
            schedule: Mutex::default(),
            drawing: Arc::default(),
            steps: Arc::default(),
            availability: watch::Sender::new(Availability::Up),
        }
    }

    /// The ends of a group that arrives now, earliest first.
    fn schedule(&self, group: &SampleGroup, prompt_tokens: u32) -> Vec<End> {
        let now = Instant::now();
        let seconds =
            |tokens: u32, rate: Option<f64>| rate.map_or(0.0, |rate| f64::from(tokens) / rate);
        let mut schedule = self.schedule.lock().unwrap_or_else(PoisonError::into_inner);
        let prefill = Duration::from_secs_f64(seconds(prompt_tokens, self.pace.prefill_rate));
        let prefilled = schedule.prefilled.map_or(now, |free| free.max(now)) + prefill;
        schedule.prefilled = Some(prefilled);
        let mut ends: Vec<End> = group
            .samples
            .iter()
            .map(|spec| {
                let mut random = SmallRng::seed_from_u64(self.seed ^ spec.seed);
                let stretch = 1.0 + self.pace.jitter * random.random_range(-1.0..=1.0);
                let tokens = (f64::from(self.pace.tokens) * stretch).max(1.0) as u32;
                let fails = random.random_bool(self.pace.failures);
                let decode = Duration::from_secs_f64(seconds(tokens, self.pace.decode_rate));
                let has_place = schedule.places.len() < self.pace.capacity as usize;
                let free = if has_place { None } else { schedule.places.pop() };
                let at = free.map_or(prefilled, |Reverse(free)| free.max(prefilled)) + decode;
                schedule.places.push(Reverse(at));
                End { at, spec: spec.clone(), tokens, fails }
            })
            .collect();
        ends.sort_by_key(|end| end.at);
        ends
    }
}

impl Backend for Node {
    fn info(&self) -> BackendInfo {
        self.info.clone()
    }

    fn load(&self) -> Load {
        let drawing = self.drawing.load(Ordering::Relaxed);
        Load {
            running: drawing.min(self.pace.capacity),
            queued: drawing.saturating_sub(self.pace.capacity),
            capacity: self.pace.capacity,
            steps: self.steps.load(Ordering::Relaxed),
        }
    }

    fn start(&self, group: SampleGroup, events: GroupEvents) -> GroupHandle {
        let (handle, cancels) = GroupHandle::new(&group);
        let bytes: usize = group
            .messages
            .iter()
            .flat_map(|message| &message.spans)
            .map(|span| span.text.len())
            .sum();
        let prompt_tokens = u32::try_from(bytes / BYTES_PER_TOKEN).unwrap_or(u32::MAX).max(1);
        let ends = self.schedule(&group, prompt_tokens);
        let seats = Seats::take(&self.drawing, ends.len());
        let paced = self.pace.decode_rate.is_some();
        let drawing = Drawing {
            ends,
            settings: group.settings,
            prompt_tokens,
            events,
            seats,
            steps: self.steps.clone(),
        };
        tokio::spawn(drawing.run(cancels, paced));
        handle
    }

    fn availability(&self) -> watch::Receiver<Availability> {
        self.availability.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use jury_worker::backend::scripted::example_group;

    use super::*;

    fn seconds(node: &Node, group: &SampleGroup) -> Vec<f64> {
        let now = Instant::now();
        let ends = node.schedule(group, 1000);
        ends.iter().map(|end| (end.at - now).as_secs_f64()).collect()
    }

    fn pace(capacity: u32) -> Pace {
        Pace {
            prefill_rate: Some(1000.0),
            decode_rate: Some(100.0),
            tokens: 100,
            jitter: 0.0,
            failures: 0.0,
            capacity,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn samples_decode_side_by_side_after_one_prefill() {
        let node = Node::new(pace(4), 0);
        assert_eq!(seconds(&node, &example_group(4)), [2.0; 4]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_finds_no_lane_waits_for_one() {
        let node = Node::new(pace(2), 0);
        assert_eq!(seconds(&node, &example_group(4)), [2.0, 2.0, 3.0, 3.0]);
        // The next prompt is prefilled while the slots are busy.
        assert_eq!(seconds(&node, &example_group(2)), [4.0, 4.0]);
    }

    #[tokio::test(start_paused = true)]
    async fn lengths_depend_on_the_seed_alone() {
        let pace = Pace { jitter: 0.5, ..pace(64) };
        let group = example_group(8);
        let (first, second) = (Node::new(pace.clone(), 1), Node::new(pace.clone(), 1));
        assert_eq!(seconds(&first, &group), seconds(&second, &group));
        assert_ne!(seconds(&first, &group), seconds(&Node::new(pace, 2), &group));
    }
}
