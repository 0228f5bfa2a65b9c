//! One job while it is drawn: when to call which worker, when to wait, and when to stop.

mod record;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::stream::SelectAll;
use futures::{FutureExt, StreamExt};
use jury_grm::domain::{FailureKind, Phase, Progress, SampleSpec};
use jury_proto::convert::{SampleGroup, TooLong};
use tokio::time::Instant;
use tracing::info;

use super::call::{self, CallEvents, Canceller, Order};
use super::hedging::{self, Pace};
use super::waking::{Needs, Wake, Waking};
use super::{Assignment, CallId, Drew, Effort, Job, Workbench, assign};
use crate::fleet::{Candidate, Fleet, Reservation, WorkerRef};
use crate::progress::Spent;

/// One job while it is drawn.
pub struct Drawing {
    job: Job,
    fleet: Fleet,
    workbench: Workbench,
    /// Events of all open calls.
    events: SelectAll<CallEvents>,
    calls: HashMap<CallId, OpenCall>,
    waking: Waking,
    effort: Effort,
    has_prefilled: bool,
    /// The sample with the lowest index among those whose prompt is too long.
    too_long: Option<(u32, TooLong)>,
    /// The last worker that refused a call, and why.
    last_refusal: Option<String>,
    /// Pace of the finished samples.
    pace: Pace,
    /// When to look for stragglers next; `None` before a typical pace is known.
    next_look: Option<Instant>,
}

/// A call whose stream has not ended.
struct OpenCall {
    worker: WorkerRef,
    reservation: Reservation,
    canceller: Canceller,
    /// Bytes of the group's prompt.
    prompt_bytes: u64,
    /// When the worker reported that drawing has started.
    accepted: Option<Instant>,
    /// The worker has refused the group, so the end of the stream loses nothing.
    is_turned_down: bool,
}

// === impl Drawing ===

impl Drawing {
    /// Starts to draw `job`; nothing is sent before the first [`Self::next`].
    pub fn new(job: Job, fleet: Fleet) -> Self {
        let workbench = Workbench::new(job.specs.clone(), job.max_reissues);
        job.hedge_budget.record_planned(workbench.n_planned());
        Self {
            workbench,
            events: SelectAll::new(),
            calls: HashMap::new(),
            waking: Waking::new(&fleet, job.deadline, job.worker_wait),
            effort: Effort::default(),
            has_prefilled: false,
            too_long: None,
            last_refusal: None,
            pace: Pace::default(),
            next_look: None,
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
            if self.workbench.has_waiting() && self.waking.take_try() {
                // Samples that fail together are reassigned together, rather than in one call per sample.
                self.drain();
                if self.workbench.has_waiting() {
                    self.issue_waiting();
                }
                continue;
            }
            let needs = Needs {
                is_idle: self.calls.is_empty(),
                has_waiting: self.workbench.has_waiting(),
                look: self.next_look,
            };
            tokio::select! {
                biased;
                wake = self.waking.next(needs) => self.on_wake(wake),
                Some((call, event)) = self.events.next(), if !self.events.is_empty() => {
                    self.record(call, event);
                    return Some(self.workbench.pop_ended().map_or(Drew::Progress, Drew::Sample));
                }
            }
        }
    }

    /// Draws another sample as well. Its index must be the next after those of the job, and the job must have a prompt
    /// for its order.
    pub fn add(&mut self, spec: SampleSpec) {
        self.workbench.add(spec);
        self.waking.try_again();
    }

    /// The sample with the lowest index whose prompt is longer than the model's context, and what a worker reported
    /// about it.
    pub fn too_long(&self) -> Option<(u32, TooLong)> {
        self.too_long
    }

    /// The verdict is decided: samples that have not ended end as not needed, and workers are told to stop.
    pub fn stop(&mut self) {
        let all = 0..self.workbench.n_planned();
        self.not_needed(all);
    }

    /// The verdict no longer needs these samples.
    pub fn not_needed(&mut self, indices: impl IntoIterator<Item = u32>) {
        self.workbench.record_not_needed(indices);
        self.send_cancels();
    }

    /// Progress of the job.
    pub fn progress(&self) -> Progress {
        let generated_tokens = self.workbench.tokens();
        let phase = match (self.calls.is_empty(), self.has_prefilled || generated_tokens > 0) {
            (true, false) => Phase::Waiting,
            (false, false) => Phase::Prefill,
            (_, true) => Phase::Drawing,
        };
        Progress {
            phase,
            samples_done: self.workbench.n_ended(),
            samples_asked: self.workbench.n_planned(),
            generated_tokens,
        }
    }

    /// The tokens that workers have computed so far.
    pub fn spent(&self) -> Spent {
        Spent {
            prompt_tokens: self.effort.drawn.prompted.tokens,
            generated_tokens: self.workbench.tokens() + self.workbench.tally().wasted_tokens,
        }
    }

    /// The effort, all of it counted as waste; ends every open call.
    pub fn abandon(self) -> Effort {
        let tokens = self.workbench.tokens();
        let mut effort = self.into_effort();
        effort.tally.wasted_tokens += tokens;
        effort
    }

    /// The effort; ends every open call.
    pub fn into_effort(self) -> Effort {
        Effort { tally: self.workbench.tally(), ..self.effort }
    }

    /// Opens calls for the waiting samples, as far as there are workers for them.
    fn issue_waiting(&mut self) {
        let now = Instant::now();
        if now >= self.job.deadline {
            return;
        }
        let candidates = self.candidates();
        self.waking.patience.forget_absent(&candidates, now);
        let may_ask = |worker: &WorkerRef| self.waking.patience.may_ask(worker, now);
        let pick = |n: usize| rand::random_range(0..n);
        let assignments = assign(self.workbench.waiting(), &candidates, may_ask, pick);
        for index in assignments.too_large {
            self.workbench.record_too_large_everywhere(index);
        }
        for Assignment { worker, indices } in assignments.calls {
            let n_samples = u32::try_from(indices.len()).expect("k is below the request's limit");
            let Some(reservation) = self.fleet.reserve(&worker, n_samples) else {
                // Gone since the list was made; the fleet signals when that changes.
                self.waking.patience.record_refused(&worker, now);
                continue;
            };
            let call = self.workbench.issue(&worker, &indices, now.into_std());
            self.open(call, worker, reservation);
        }
        if self.calls.is_empty() {
            self.waking.patience.record_nobody(now);
        }
    }

    /// Lets free workers draw samples that lag behind at other workers.
    fn hedge_stragglers(&mut self, now: Instant) {
        let typical = self.pace.typical(self.workbench.n_planned());
        // A spare sample may have pushed the finished share below half; the next one to finish sets another time.
        self.next_look = typical.map(|typical| now + typical.look_interval());
        let Some(typical) = typical else { return };
        // Waiting samples come first, and an attempt that cannot end in time is not started.
        if self.workbench.has_waiting() || now + typical.took > self.job.deadline {
            return;
        }
        let candidates = self.candidates();
        let may_ask = |worker: &WorkerRef| self.waking.patience.may_ask(worker, now);
        let underway = self.workbench.underway();
        let hedges = hedging::hedges(underway, typical, &candidates, may_ask, now.into_std());
        let n_samples = hedges.iter().map(|call| call.indices.len()).sum();
        if n_samples == 0 || !self.job.hedge_budget.spend(n_samples) {
            return;
        }
        for Assignment { worker, indices } in hedges {
            let n_samples = u32::try_from(indices.len()).expect("k is below the request's limit");
            if let Some(reservation) = self.fleet.reserve(&worker, n_samples) {
                let call = self.workbench.hedge(&worker, &indices, now.into_std());
                self.open(call, worker, reservation);
            }
        }
    }

    /// Opens the call that the workbench has issued.
    fn open(&mut self, call: CallId, worker: WorkerRef, reservation: Reservation) {
        let indices: Vec<u32> = self.workbench.owed(call).collect();
        let Some(order) = self.order(&worker, &indices) else { return };
        info!(worker_id = &*worker.id, call = call.0, ?indices, "samples issued");
        let spans = order.prompt.iter().flat_map(|message| &message.spans);
        let prompt_bytes = spans.map(|span| span.text.len() as u64).sum();
        let (canceller, events) =
            call::open(call, Arc::clone(&worker.id), reservation.channel(), order);
        let (accepted, is_turned_down) = (None, false);
        let open =
            OpenCall { worker, reservation, canceller, prompt_bytes, accepted, is_turned_down };
        self.calls.insert(call, open);
        self.events.push(events);
    }

    /// Candidate workers: those with the head that ranks; if none of them is left, all of the class. An unranked
    /// sample is better than none.
    fn candidates(&self) -> Vec<Candidate> {
        let all = self.fleet.candidates(&self.job.class);
        let ranks = |candidate: &Candidate| self.head_at(&candidate.worker).is_some();
        let rankers: Vec<Candidate> = all.iter().filter(|one| ranks(one)).cloned().collect();
        if rankers.is_empty() { all } else { rankers }
    }

    /// The head that ranks, if this worker has it.
    fn head_at(&self, worker: &WorkerRef) -> Option<&String> {
        let digest = self.job.head_digest.as_ref()?;
        self.fleet.has_head(worker, digest).then_some(digest)
    }

    fn order(&self, worker: &WorkerRef, indices: &[u32]) -> Option<Order> {
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
            head_digest: self.head_at(worker).cloned(),
            hidden_states: self.job.hidden_states,
            cache_salt: self.job.cache_salt.clone(),
        };
        Some(Order { group, prompt })
    }

    fn on_wake(&mut self, wake: Wake) {
        match wake {
            Wake::Deadline => {
                self.drain();
                self.workbench.give_up(FailureKind::TimedOut, "the budget ended first");
            }
            Wake::Hopeless => {
                let mut detail = "no worker of this model is left".to_owned();
                detail.extend(self.last_refusal.iter().flat_map(|refusal| ["; ", refusal]));
                self.workbench.give_up(FailureKind::Worker, &detail);
            }
            Wake::GoingDown => {
                self.workbench.give_up(FailureKind::Worker, "the coordinator is going down");
            }
            Wake::Again => {
                let now = Instant::now();
                if self.next_look.is_some_and(|look| look <= now) {
                    self.hedge_stragglers(now);
                }
            }
        }
    }

    /// Records what workers have sent but has not been read yet, so that it counts.
    fn drain(&mut self) {
        loop {
            let received = tokio::task::coop::unconstrained(self.events.next()).now_or_never();
            let Some(Some((call, event))) = received else { return };
            self.record(call, event);
        }
    }

    /// Tells workers which samples are no longer wanted, in one message per call.
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
