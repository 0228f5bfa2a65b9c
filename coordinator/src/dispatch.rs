//! Draws the planned samples on the fleet: the driver around [`Workbench`] and [`assign`].
//!
//! ```text
//! waiting -> assign -> one call a chunk -> events -> workbench -> ended samples, one by one
//!                                                        ^
//!                         not_needed (ranking, stopping) +
//! ```
//!
//! A [`Drawing`] is a stream: whoever reads it gets each sample when it ends, and may say that
//! the rest is not needed. It ends when every sample has: drawn, too long, out of time, or given
//! up because no worker of the class has been there for a while. Calls are polled by the reader
//! itself, so they run inside the request's span, and dropping the drawing drops them, which frees
//! the workers within a decode step.

mod assign;
mod call;
mod patience;
mod workbench;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::SelectAll;
use futures::{FutureExt, StreamExt};
use jury_grm::domain::{FailureKind, Sample, SampleSpec, Settings};
use jury_grm::prompt::Message;
use jury_proto::JuryError;
use jury_proto::convert::SampleGroup;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};
use tracing::{debug, info, warn};

pub use assign::{Assignment, Assignments, MIN_CHUNK, assign};
pub use workbench::{Attempt, CallId, Refused, Tally, Waiting, Workbench};

use crate::fleet::{Class, Fleet, Reservation, WorkerRef};
use crate::progress::Phase;
use call::{CallEnd, CallEvent, CallEvents, Canceller, Order, Told};
use patience::Patience;

/// What to draw.
#[derive(Debug)]
pub struct Job {
    /// Every planned sample, by index.
    pub specs: Vec<SampleSpec>,
    /// The rendered prompt of each order, shared by all calls.
    pub prompts: BTreeMap<Vec<usize>, Arc<[Message]>>,
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

/// What happened next.
#[derive(Debug)]
pub enum Drew {
    /// A planned sample ended, drawn or not. Each comes exactly once, in any order.
    Sample(Sample),
    /// Something moved; [`Drawing::step`] tells how far it is.
    Progress,
}

/// What is known beside the samples once they are drawn.
#[derive(Debug, Clone, Default)]
pub struct Effort {
    /// Re-issues, hedges and waste.
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

/// One job while it is drawn.
pub struct Drawing {
    job: Job,
    fleet: Fleet,
    fleet_changes: watch::Receiver<u64>,
    workbench: Workbench,
    /// Events of all open calls.
    events: SelectAll<CallEvents>,
    calls: HashMap<CallId, OpenCall>,
    patience: Patience,
    /// True when waiting samples may find a worker that they did not find before.
    is_worth_a_try: bool,
    /// One timer for whatever is due next.
    timer: Pin<Box<Sleep>>,
    effort: Effort,
    has_prefilled: bool,
    /// Who turned a call away last, and why.
    last_refusal: Option<String>,
}

/// A call whose stream has not ended.
struct OpenCall {
    worker: WorkerRef,
    reservation: Reservation,
    canceller: Canceller,
    /// The worker has said that drawing has begun.
    is_accepted: bool,
    /// The worker has turned the group down; the end of the stream is no loss.
    is_turned_down: bool,
}

// === impl Drawing ===

impl Drawing {
    /// Begins to draw `job`; nothing is sent before the first [`Self::next`].
    pub fn new(job: Job, fleet: Fleet) -> Self {
        Self {
            workbench: Workbench::new(job.specs.clone(), job.max_reissues),
            fleet_changes: fleet.changes(),
            events: SelectAll::new(),
            calls: HashMap::new(),
            patience: Patience::new(job.worker_wait),
            is_worth_a_try: true,
            timer: Box::pin(tokio::time::sleep_until(job.deadline)),
            effort: Effort::default(),
            has_prefilled: false,
            last_refusal: None,
            job,
            fleet,
        }
    }

    /// What happens next; `None` when every planned sample has come out. Cancel-safe.
    pub async fn next(&mut self) -> Option<Drew> {
        loop {
            if let Some(sample) = self.workbench.pop_ended() {
                self.send_cancels();
                return Some(Drew::Sample(sample));
            }
            if self.workbench.is_complete() {
                return None;
            }
            if self.is_worth_a_try && self.workbench.has_waiting() {
                self.issue_waiting();
                continue;
            }
            self.arm_timer();
            tokio::select! {
                biased;
                () = &mut self.timer => self.on_time(),
                Some((call, event)) = self.events.next(), if !self.events.is_empty() => {
                    self.record(call, event);
                    return Some(self.workbench.pop_ended().map_or(Drew::Progress, Drew::Sample));
                }
                changed = self.fleet_changes.changed() => match changed {
                    Ok(()) => self.is_worth_a_try = true,
                    Err(_) => {
                        let detail = "the coordinator is going down";
                        self.workbench.give_up(FailureKind::Worker, detail);
                    }
                }
            }
        }
    }

    /// The verdict is decided: whatever has not ended ends as not needed, and workers are told.
    pub fn stop(&mut self) {
        let all = 0..self.workbench.n_planned();
        self.not_needed(all);
    }

    /// The verdict does not need these samples any more.
    pub fn not_needed(&mut self, indices: impl IntoIterator<Item = u32>) {
        self.workbench.record_not_needed(indices);
        self.send_cancels();
    }

    /// How far the job is.
    pub fn step(&self) -> Step {
        let samples_done = self.workbench.n_ended();
        let tokens = self.workbench.tokens();
        let phase = match (self.calls.is_empty(), self.has_prefilled || tokens > 0) {
            (true, false) => Phase::Waiting,
            (false, false) => Phase::Prefill,
            (_, true) => Phase::Sampling,
        };
        Step { phase, samples_done, tokens }
    }

    /// What is known beside the samples; ends every call that is still open.
    pub fn into_effort(self) -> Effort {
        Effort { tally: self.workbench.tally(), ..self.effort }
    }

    /// Opens a call for everything that waits, as far as there are workers for it.
    fn issue_waiting(&mut self) {
        self.is_worth_a_try = false;
        let now = Instant::now();
        if now >= self.job.deadline {
            return;
        }
        let candidates = self.fleet.candidates(&self.job.class);
        self.patience.forget_absent(&candidates, now);
        let may_ask = |worker: &WorkerRef| self.patience.may_ask(worker, now);
        let pick = |n: usize| rand::random_range(0..n);
        let assignments = assign(self.workbench.waiting(), &candidates, may_ask, pick);
        for index in assignments.too_large {
            self.workbench.record_too_large_everywhere(index);
        }
        for Assignment { worker, indices } in assignments.calls {
            let n_samples = u32::try_from(indices.len()).expect("k is below the request's limit");
            let Some(reservation) = self.fleet.reserve(&worker, n_samples) else {
                // Gone since the list was made; the fleet tells when that changes.
                self.patience.record_refused(&worker, now);
                continue;
            };
            let call = self.workbench.issue(&worker, &indices, now.into_std());
            self.open(call, worker, reservation);
        }
        if self.calls.is_empty() {
            self.patience.record_nobody(now);
        }
    }

    /// Opens the call that the workbench has issued.
    fn open(&mut self, call: CallId, worker: WorkerRef, reservation: Reservation) {
        let indices: Vec<u32> = self.workbench.owed(call).collect();
        let Some(order) = self.order(&indices) else { return };
        info!(worker_id = &*worker.id, call = call.0, ?indices, "samples issued");
        let (canceller, events) = call::open(call, reservation.channel(), order);
        let (is_accepted, is_turned_down) = (false, false);
        let open = OpenCall { worker, reservation, canceller, is_accepted, is_turned_down };
        self.calls.insert(call, open);
        self.events.push(events);
    }

    fn order(&self, indices: &[u32]) -> Option<Order> {
        let specs = indices.iter().filter_map(|&index| self.workbench.spec(index));
        let samples: Vec<SampleSpec> = specs.cloned().collect();
        let prompt = Arc::clone(self.job.prompts.get(&samples.first()?.order)?);
        let class = &self.job.class;
        let remaining = self.job.deadline.saturating_duration_since(Instant::now());
        let group = SampleGroup {
            model_digest: class.model_digest.clone(),
            numerics: class.numerics.clone(),
            method_version: class.method_version.clone(),
            messages: Vec::new(),
            samples,
            settings: self.job.settings.clone(),
            request_id: self.job.request_id.clone(),
            remaining_ms: Some(u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX)),
        };
        Some(Order { group, prompt })
    }

    fn record(&mut self, call: CallId, event: CallEvent) {
        match event {
            CallEvent::Message { told, load } => {
                let Some(open) = self.calls.get(&call) else { return };
                if let Some(load) = load {
                    self.fleet.record_load(&open.worker, load);
                }
                if let Some(told) = told {
                    self.record_told(call, told);
                }
            }
            CallEvent::Ended(end) => self.record_end(call, end),
        }
        self.send_cancels();
    }

    fn record_told(&mut self, call: CallId, told: Told) {
        let Some(open) = self.calls.get_mut(&call) else { return };
        match told {
            Told::Accepted { cached_tokens } => {
                open.is_accepted = true;
                debug!(worker_id = &*open.worker.id, call = call.0, "samples started");
                self.effort.cached_tokens += u64::from(cached_tokens);
                self.has_prefilled = true;
                self.patience.record_taken(&open.worker);
            }
            Told::Progress { index, tokens } => {
                self.workbench.record_progress(call, index, tokens);
            }
            Told::Finished(sample) => {
                open.reservation.give_back_one();
                self.record_finished(call, *sample);
            }
            Told::Failed { index, failure } => {
                open.reservation.give_back_one();
                let detail = format!("worker {}: {failure}", &*open.worker.id);
                self.workbench.record_failed(call, index, failure.kind, &detail);
                self.is_worth_a_try = true;
            }
            Told::TooLong(too_long) => {
                let detail = call::describe(too_long);
                let owed: Vec<u32> = self.workbench.owed(call).collect();
                for index in owed {
                    self.workbench.record_failed(call, index, FailureKind::TooLong, &detail);
                }
            }
            Told::TooLarge(too_large) => {
                open.is_turned_down = true;
                self.workbench.record_too_large(call, too_large.needed_tokens);
                self.is_worth_a_try = true;
            }
            Told::Busy(retry_after) => {
                open.is_turned_down = true;
                self.patience.record_busy(&open.worker, Instant::now() + retry_after);
                self.workbench.record_refused(call);
                self.is_worth_a_try = true;
            }
        }
    }

    fn record_finished(&mut self, call: CallId, sample: Sample) {
        let Some(open) = self.calls.get(&call) else { return };
        let (worker_id, index) = (&*open.worker.id, sample.spec.index);
        let scale = self.job.settings.scale;
        let in_scale =
            sample.scores().is_none_or(|s| s.scores.iter().all(|&score| scale.contains(score)));
        if !in_scale {
            warn!(worker_id, index, "worker sent a score outside the scale");
            let detail = format!("worker {worker_id} sent a score outside the scale");
            self.workbench.record_failed(call, index, FailureKind::Worker, &detail);
            self.is_worth_a_try = true;
            return;
        }
        match self.workbench.record_finished(call, sample) {
            Ok(()) => {
                debug!(worker_id, index, "sample finished");
                if !self.effort.workers.contains(worker_id) {
                    self.effort.workers.insert(worker_id.to_owned());
                }
            }
            Err(refused) => debug!(worker_id, %refused, "result does not count"),
        }
    }

    fn record_end(&mut self, call: CallId, end: CallEnd) {
        let Some(open) = self.calls.remove(&call) else { return };
        self.is_worth_a_try = true;
        let now = Instant::now();
        match end {
            CallEnd::Complete => {
                self.workbench.record_lost(call, "the worker ended the stream early");
            }
            CallEnd::Refused(error) => self.record_refused(call, &open.worker, &error, now),
            CallEnd::Broken(error) if !open.is_accepted && call::is_refusal(&error) => {
                self.record_refused(call, &open.worker, &error, now);
            }
            CallEnd::Broken(error) if open.is_turned_down => {
                debug!(worker_id = &*open.worker.id, %error, "call broke after it was turned down");
            }
            CallEnd::Broken(error) => {
                let worker_id = &*open.worker.id;
                let detail = format!("worker {worker_id}: {error}");
                let indices = self.workbench.record_lost(call, &detail);
                warn!(
                    worker_id, call = call.0, ?indices, %error,
                    "samples in flight were lost, issuing them again"
                );
                self.patience.record_taken(&open.worker);
                self.fleet.record_failed_call(&open.worker, &error);
            }
        }
        if self.calls.is_empty() {
            self.patience.record_nobody(now);
        }
    }

    /// Nothing has started: the samples wait again, and the worker is left alone for a while.
    fn record_refused(
        &mut self,
        call: CallId,
        worker: &WorkerRef,
        error: &JuryError,
        now: Instant,
    ) {
        debug!(worker_id = &*worker.id, call = call.0, %error, "call was refused");
        self.last_refusal = Some(format!("worker {}: {error}", &*worker.id));
        self.workbench.record_refused(call);
        self.patience.record_refused(worker, now);
        self.fleet.record_failed_call(worker, error);
    }

    fn on_time(&mut self) {
        let now = Instant::now();
        if now >= self.job.deadline {
            self.drain();
            self.workbench.give_up(FailureKind::TimedOut, "the budget ended first");
            return;
        }
        if self.is_hopeless(now) {
            let mut detail = "no worker of this model is left".to_owned();
            detail.extend(self.last_refusal.iter().flat_map(|refusal| ["; ", refusal]));
            self.workbench.give_up(FailureKind::Worker, &detail);
            return;
        }
        self.is_worth_a_try = true;
    }

    /// Takes in what workers have sent and nobody has read yet: it counts.
    fn drain(&mut self) {
        loop {
            let received = tokio::task::coop::unconstrained(self.events.next()).now_or_never();
            let Some(Some((call, event))) = received else { return };
            self.record(call, event);
        }
    }

    fn is_hopeless(&self, now: Instant) -> bool {
        self.calls.is_empty() && self.patience.ends_at().is_some_and(|end| end <= now)
    }

    /// Due next: the deadline, a worker that may be asked again, or the end of all patience.
    fn arm_timer(&mut self) {
        let give_up = if self.calls.is_empty() { self.patience.ends_at() } else { None };
        let retry = if self.workbench.has_waiting() {
            self.patience.next_retry(Instant::now())
        } else {
            None
        };
        let due = [give_up, retry].into_iter().flatten().fold(self.job.deadline, Instant::min);
        if self.timer.deadline() != due {
            self.timer.as_mut().reset(due);
        }
    }

    /// Tells workers what nobody wants any more, one message a call.
    fn send_cancels(&mut self) {
        let mut by_call: BTreeMap<CallId, Vec<u32>> = BTreeMap::new();
        while let Some((call, index)) = self.workbench.pop_cancel() {
            by_call.entry(call).or_default().push(index);
        }
        for (call, indices) in by_call {
            if let Some(open) = self.calls.get(&call) {
                open.canceller.cancel(indices);
            }
        }
    }
}
