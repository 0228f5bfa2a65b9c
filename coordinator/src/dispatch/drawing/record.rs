//! How the events of calls change a drawing.

use jury_grm::domain::{FailureKind, Reproducible, Sample};
use jury_proto::JuryError;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::Drawing;
use crate::dispatch::CallId;
use crate::dispatch::call::{self, CallEnd, CallEvent, Told};
use crate::fleet::WorkerRef;

// === impl Drawing ===

impl Drawing {
    pub(super) fn record(&mut self, call: CallId, event: CallEvent) {
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
            Told::Accepted { prompt_tokens, cached_tokens } => {
                open.accepted = Some(Instant::now());
                let prompted = &mut self.effort.drawn.prompted;
                prompted.bytes += open.prompt_bytes;
                prompted.tokens += u64::from(prompt_tokens);
                debug!(worker_id = &*open.worker.id, call = call.0, "samples started");
                self.effort.cached_tokens += u64::from(cached_tokens);
                self.has_prefilled = true;
                self.waking.patience.record_taken(&open.worker);
                self.waking.try_again();
            }
            Told::Progress { index, tokens } => {
                let now = Instant::now().into_std();
                self.workbench.record_progress(call, index, tokens, now);
            }
            Told::Finished(sample) => {
                open.reservation.give_back_one();
                self.record_finished(call, *sample);
            }
            Told::Failed { index, failure } => {
                open.reservation.give_back_one();
                let detail = format!("worker {}: {failure}", &*open.worker.id);
                self.workbench.record_failed(call, index, failure.kind, &detail);
                self.waking.try_again();
            }
            Told::TooLong(too_long) => {
                let detail = call::describe(too_long);
                let owed: Vec<u32> = self.workbench.owed(call).collect();
                if let Some(&index) = owed.first()
                    && self.too_long.is_none_or(|(lowest, _)| index < lowest)
                {
                    self.too_long = Some((index, too_long));
                }
                for index in owed {
                    self.workbench.record_failed(call, index, FailureKind::TooLong, &detail);
                }
            }
            Told::TooLarge(too_large) => {
                open.is_turned_down = true;
                self.workbench.record_too_large(call, too_large.needed_tokens);
                self.waking.try_again();
            }
            Told::Busy(retry_after) => {
                open.is_turned_down = true;
                self.waking.patience.record_busy(&open.worker, Instant::now(), retry_after);
                self.workbench.record_refused(call);
                self.waking.try_again();
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
            self.waking.try_again();
            return;
        }
        let attempts = self.workbench.attempts(index).iter();
        let started = attempts.map(|attempt| (attempt.call, attempt.started)).find(|a| a.0 == call);
        let tokens = sample.generated_tokens;
        match self.workbench.record_finished(call, sample) {
            Ok(()) => {
                debug!(worker_id, index, "sample finished");
                if !self.effort.workers.contains(worker_id) {
                    self.effort.workers.insert(worker_id.to_owned());
                }
                if let Some(accepted) = open.accepted {
                    let drawn = &mut self.effort.drawn;
                    drawn.samples += 1;
                    drawn.tokens += u64::from(tokens);
                    drawn.time += accepted.elapsed();
                }
                if let Some((_, started)) = started {
                    self.record_pace(tokens, started.into());
                }
            }
            Err(refused) => debug!(worker_id, %refused, "result does not count"),
        }
    }

    /// Records a finished sample; once enough have finished, stragglers are looked for.
    fn record_pace(&mut self, tokens: u32, started: Instant) {
        // If a repeat may differ, the shorter of two different samples would win.
        let can_be_repeated = self.job.class.reproducible != Reproducible::None;
        if !can_be_repeated || !self.job.hedge_budget.is_on() {
            return;
        }
        let now = Instant::now();
        self.pace.record(tokens, now.saturating_duration_since(started));
        if self.next_look.is_none() {
            let typical = self.pace.typical(self.workbench.n_planned());
            self.next_look = typical.map(|typical| now + typical.look_interval());
        }
    }

    fn record_end(&mut self, call: CallId, end: CallEnd) {
        let Some(open) = self.calls.remove(&call) else { return };
        self.waking.try_again();
        let now = Instant::now();
        match end {
            CallEnd::Complete => {
                self.workbench.record_lost(call, "the worker ended the stream early");
            }
            CallEnd::Refused(error) => self.record_refused(call, &open.worker, &error, now),
            CallEnd::Broken(error) if open.accepted.is_none() && call::is_refusal(&error) => {
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
                self.waking.patience.record_taken(&open.worker);
                self.fleet.record_failed_call(&open.worker, &error);
            }
        }
        if self.calls.is_empty() {
            self.waking.patience.record_nobody(now);
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
        self.waking.patience.record_refused(worker, now);
        self.fleet.record_failed_call(worker, error);
    }
}
