//! Draws the planned samples on the fleet: the driver around [`Workbench`] and [`assign`].
//!
//! ```text
//! pending -> assign -> one call a chunk -> events -> workbench -> (lost? pending again)
//! ```
//!
//! Ends when every sample is done, when the budget ends, or when no worker of the class has been
//! there for a while. Dropping the future, or its end, drops the calls, which frees the workers
//! within a decode step.

mod assign;
mod call;
mod workbench;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use jury_grm::domain::{FailureKind, Sample, SampleSpec, Settings};
use jury_grm::prompt::Message;
use jury_proto::convert::SampleGroup;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, info, warn};

pub use assign::{Assignment, MIN_CHUNK, assign};
pub use workbench::{CallId, Refused, Tally, Workbench};

use crate::fleet::{Class, Fleet, Reservation, WorkerRef};
use crate::progress::Phase;
use call::{CallEnd, CallEvent};

/// Events that calls may be ahead of the workbench.
const EVENT_BACKLOG: usize = 256;

/// What to draw.
#[derive(Debug)]
pub struct Job {
    /// Every planned sample, by index.
    pub specs: Vec<SampleSpec>,
    /// The rendered prompt of each order.
    pub prompts: BTreeMap<Vec<usize>, Vec<Message>>,
    /// How samples are drawn.
    pub settings: Settings,
    /// Who may draw them.
    pub class: Class,
    /// For logs.
    pub request_id: String,
    /// When the answer is due.
    pub deadline: Instant,
    /// Times that a sample is drawn anew.
    pub max_reissues: u32,
    /// How long to go on without any worker of the class.
    pub worker_wait: Duration,
}

/// What was drawn.
#[derive(Debug)]
pub struct Drawn {
    /// Every planned sample in index order, failed ones included.
    pub samples: Vec<Sample>,
    /// True when the budget ended before every sample did.
    pub out_of_time: bool,
    /// Re-issues and waste.
    pub tally: Tally,
    /// Prompt tokens that workers did not have to prefill.
    pub cached_tokens: u64,
    /// Ids of the workers that delivered samples.
    pub workers: BTreeSet<String>,
}

/// How far a job is.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// What is going on.
    pub phase: Phase,
    /// Samples that came to their end.
    pub samples_done: u32,
    /// Tokens generated so far.
    pub tokens: u64,
}

/// Draws every sample of `job`, telling each step.
pub async fn draw(job: &Job, fleet: &Fleet, tell: impl Fn(Step)) -> Drawn {
    let mut drawing = Drawing::new(job, fleet);
    let (sender, mut events) = mpsc::channel(EVENT_BACKLOG);
    let mut fleet_changes = fleet.changes();
    let mut alone_since: Option<Instant> = None;
    loop {
        drawing.issue_pending(&sender);
        if drawing.workbench.is_complete() {
            return drawing.finish(false, FailureKind::Worker, "");
        }
        // Without a call under way and with none possible, only the fleet can change that.
        let is_alone = drawing.calls.is_empty() && drawing.busy_until.is_empty();
        alone_since = if is_alone { alone_since.or(Some(Instant::now())) } else { None };
        let give_up = alone_since.map(|since| since + job.worker_wait);
        tokio::select! {
            Some((call, event)) = events.recv() => drawing.record(call, event),
            changed = fleet_changes.changed() => {
                if changed.is_err() {
                    return drawing.finish(false, FailureKind::Worker, "the coordinator is going down");
                }
            }
            () = wake_at(drawing.next_retry()) => drawing.forget_busy(),
            () = wake_at(give_up) => {
                let detail = "no worker of this model is left";
                return drawing.finish(false, FailureKind::Worker, detail);
            }
            () = tokio::time::sleep_until(job.deadline) => {
                return drawing.finish(true, FailureKind::TimedOut, "the budget ended first");
            }
        }
        tell(drawing.step());
    }
}

/// One job while it is drawn.
struct Drawing<'a> {
    job: &'a Job,
    fleet: &'a Fleet,
    workbench: Workbench,
    /// Tasks of the calls; dropping them drops the streams.
    tasks: JoinSet<()>,
    /// Open calls, with the samples that they still hold.
    calls: HashMap<CallId, Reservation>,
    /// Workers that had no room, until when they are left alone.
    busy_until: HashMap<WorkerRef, Instant>,
    cached_tokens: u64,
    workers: BTreeSet<String>,
    has_prefilled: bool,
}

// === impl Drawing ===

impl<'a> Drawing<'a> {
    fn new(job: &'a Job, fleet: &'a Fleet) -> Self {
        Self {
            job,
            fleet,
            workbench: Workbench::new(job.specs.clone(), job.max_reissues),
            tasks: JoinSet::new(),
            calls: HashMap::new(),
            busy_until: HashMap::new(),
            cached_tokens: 0,
            workers: BTreeSet::new(),
            has_prefilled: false,
        }
    }

    /// Opens a call for everything that is pending, as far as there are workers with room.
    fn issue_pending(&mut self, events: &mpsc::Sender<(CallId, CallEvent)>) {
        if self.workbench.pending().next().is_none() {
            return;
        }
        let mut candidates = self.fleet.candidates(&self.job.class);
        candidates.retain(|candidate| !self.busy_until.contains_key(&candidate.worker));
        let pick = |n: usize| rand::random_range(0..n);
        for assignment in assign(self.workbench.pending(), candidates, pick) {
            let Assignment { worker, indices } = assignment;
            let n_samples = u32::try_from(indices.len()).expect("k is below the request's limit");
            let Some(reservation) = self.fleet.reserve(&worker, n_samples) else { continue };
            let call = self.workbench.issue(&worker.id, &indices);
            info!(worker_id = %worker, call = call.0, ?indices, "samples issued");
            let group = self.group(&indices);
            let channel = reservation.channel();
            self.calls.insert(call, reservation);
            self.tasks.spawn(call::run(call, channel, group, events.clone()));
        }
    }

    fn group(&self, indices: &[u32]) -> SampleGroup {
        let samples: Vec<SampleSpec> =
            indices.iter().map(|&index| self.job.specs[index as usize].clone()).collect();
        let class = &self.job.class;
        SampleGroup {
            model_digest: class.model_digest.clone(),
            numerics: class.numerics.clone(),
            method_version: class.method_version.clone(),
            messages: self.job.prompts.get(&samples[0].order).cloned().unwrap_or_default(),
            samples,
            settings: self.job.settings.clone(),
            request_id: self.job.request_id.clone(),
            remaining_ms: None,
        }
    }

    fn record(&mut self, call: CallId, event: CallEvent) {
        let Some(reservation) = self.calls.get_mut(&call) else { return };
        if matches!(event, CallEvent::Finished(_) | CallEvent::Failed { .. }) {
            reservation.give_back_one();
        }
        let worker = reservation.worker().clone();
        let worker_id = worker.id.to_string();
        match event {
            CallEvent::Load(load) => self.fleet.record_load(&worker, load),
            CallEvent::Accepted { cached_tokens } => {
                self.cached_tokens += u64::from(cached_tokens);
                self.has_prefilled = true;
            }
            CallEvent::Progress { index, tokens } => {
                self.workbench.record_progress(call, index, tokens);
            }
            CallEvent::Finished(sample) => self.record_finished(call, worker_id, *sample),
            CallEvent::Failed { index, failure } => {
                let detail = format!("worker {worker_id}: {failure}");
                self.workbench.record_failed(call, index, failure.kind, &detail);
            }
            CallEvent::TooLong(detail) => {
                for index in 0..self.job.settings.k {
                    self.workbench.record_failed(call, index, FailureKind::TooLong, &detail);
                }
            }
            CallEvent::Ended(end) => self.record_end(call, &worker, end),
        }
    }

    fn record_finished(&mut self, call: CallId, worker_id: String, sample: Sample) {
        let in_scale = |sample: &Sample| {
            let scale = self.job.settings.scale;
            sample.scores().is_none_or(|s| s.scores.iter().all(|&score| scale.contains(score)))
        };
        let index = sample.spec.index;
        if !in_scale(&sample) {
            warn!(worker_id, index, "worker sent a score outside the scale");
            let detail = format!("worker {worker_id} sent a score outside the scale");
            self.workbench.record_failed(call, index, FailureKind::Worker, &detail);
            return;
        }
        match self.workbench.record_finished(call, sample) {
            Ok(()) => {
                debug!(worker_id, index, "sample finished");
                self.workers.insert(worker_id);
            }
            Err(refused) => warn!(worker_id, %refused, "result does not count"),
        }
    }

    fn record_end(&mut self, call: CallId, worker: &WorkerRef, end: CallEnd) {
        self.calls.remove(&call);
        match end {
            CallEnd::Complete => {
                self.workbench.record_lost(call, "the worker ended the stream early");
            }
            CallEnd::Busy(retry_after) => {
                self.workbench.record_busy(call);
                self.busy_until.insert(worker.clone(), Instant::now() + retry_after);
            }
            CallEnd::Lost(error) => {
                let detail = format!("worker {worker}: {error}");
                let indices = self.workbench.record_lost(call, &detail);
                warn!(
                    worker_id = %worker, call = call.0, ?indices, %error,
                    "samples in flight were lost, issuing them again"
                );
                self.fleet.record_failed_call(worker, &error);
            }
        }
    }

    fn next_retry(&self) -> Option<Instant> {
        self.busy_until.values().min().copied()
    }

    fn forget_busy(&mut self) {
        let now = Instant::now();
        self.busy_until.retain(|_, until| *until > now);
    }

    fn step(&self) -> Step {
        let samples_done = self.workbench.n_done();
        let tokens = self.workbench.tokens();
        let phase = match (self.calls.is_empty(), self.has_prefilled || tokens > 0) {
            (true, false) => Phase::Waiting,
            (false, false) => Phase::Prefill,
            (_, true) => Phase::Sampling,
        };
        Step { phase, samples_done, tokens }
    }

    fn finish(self, out_of_time: bool, kind: FailureKind, detail: &str) -> Drawn {
        let (samples, tally) = self.workbench.into_samples(kind, detail);
        Drawn {
            samples,
            out_of_time,
            tally,
            cached_tokens: self.cached_tokens,
            workers: self.workers,
        }
    }
}

/// Sleeps until `at`, or for ever.
async fn wake_at(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
