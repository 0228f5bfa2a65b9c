//! Meta scores by a separate model: sends samples to the workers that serve it, and returns them ranked, or without a
//! score if none could be given by the request's deadline.
//!
//! ```text
//! push -> waiting, by order -> assign -> Rank -> score -----------------> next
//!            ^                              |
//!            +---- worker failed, refused --+---- no score (why) ------> next
//! ```
//!
//! While an order is being ranked, further samples of it wait for the next call; a call takes what is waiting at that
//! time. The reader itself polls the calls; dropping them frees the workers within a step.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use jury_fabric::trace;
use jury_grm::domain::{FailureKind, Issue, Sample};
use jury_grm::prompt::Message;
use jury_grm::trajectory;
use jury_proto::convert::{RankRequest, Ranked, Trajectory};
use jury_proto::v1::sampling_service_client::SamplingServiceClient;
use jury_proto::{ErrorCode, JuryError, v1};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::dispatch::{Assignment, Needs, Waiting, Wake, Waking, assign, is_refusal};
use crate::fleet::{Fleet, Reservation, WorkerClass, WorkerRef};

/// Pause after a refusal that does not name one.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// A ranking job: how the samples of one request are ranked.
#[derive(Debug)]
pub(crate) struct MetaJob {
    /// The workers that may rank them.
    pub(crate) class: WorkerClass,
    /// The prompt of each order.
    pub(crate) prompts: BTreeMap<Vec<usize>, Arc<[Message]>>,
    /// As [`crate::dispatch::Job::cache_salt`].
    pub(crate) cache_salt: Option<String>,
    /// For logs.
    pub(crate) request_id: String,
    /// When the answer is due.
    pub(crate) deadline: Instant,
    /// How often a trajectory is retried after a worker failed.
    pub(crate) max_reissues: u32,
    /// How long to continue without any worker of the class.
    pub(crate) worker_wait: Duration,
}

/// The samples of one request that are being ranked.
pub(crate) struct MetaCalls {
    job: MetaJob,
    fleet: Fleet,
    /// Samples that are in no call, by index.
    waiting: BTreeMap<u32, Unranked>,
    /// Open calls. Calls that have ended in `calls` are removed.
    open: Vec<OpenCall>,
    calls: FuturesUnordered<BoxFuture<'static, Called>>,
    next_call: u64,
    waking: Waking,
    ended: VecDeque<Sample>,
    /// The first reason why a sample has no score.
    why: Option<String>,
}

/// A sample that is not ranked yet, with its history.
struct Unranked {
    sample: Sample,
    failed_on: BTreeSet<WorkerRef>,
    too_large_for: BTreeSet<WorkerRef>,
    /// Times that a worker failed it.
    failures: u32,
}

/// A call and the samples that it ranks.
struct OpenCall {
    number: u64,
    order: Vec<usize>,
    samples: Vec<Unranked>,
    reservation: Reservation,
}

/// How a call ended.
struct Called {
    number: u64,
    answer: Result<(Vec<Ranked>, Option<v1::Load>), JuryError>,
}

// === impl MetaCalls ===

impl MetaCalls {
    /// Nothing is sent before the first [`Self::next`].
    pub(crate) fn new(job: MetaJob, fleet: Fleet) -> Self {
        Self {
            waiting: BTreeMap::new(),
            open: Vec::new(),
            calls: FuturesUnordered::new(),
            next_call: 0,
            waking: Waking::new(&fleet, job.deadline, job.worker_wait),
            ended: VecDeque::new(),
            why: None,
            job,
            fleet,
        }
    }

    /// Takes a sample that has ended. A sample without scores needs no rank.
    pub(crate) fn push(&mut self, sample: Sample) {
        if sample.scores().is_none() {
            self.ended.push_back(sample);
            return;
        }
        let (failed_on, too_large_for) = (BTreeSet::new(), BTreeSet::new());
        let unranked = Unranked { sample, failed_on, too_large_for, failures: 0 };
        self.waiting.insert(unranked.sample.spec.index, unranked);
        self.waking.try_again();
    }

    /// True if every sample taken has been returned.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.open.is_empty() && self.ended.is_empty()
    }

    /// Why samples were returned without a score.
    pub(crate) fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    /// The verdict is decided: samples that are not ranked yet are returned unranked.
    pub(crate) fn stop(&mut self) {
        self.calls.clear();
        let open = self.open.drain(..).flat_map(|call| call.samples);
        let waiting = std::mem::take(&mut self.waiting).into_values();
        self.ended.extend(open.chain(waiting).map(|unranked| unranked.sample));
    }

    /// The next sample, ranked if possible; waits while there is none. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Sample {
        loop {
            if let Some(sample) = self.ended.pop_front() {
                return sample;
            }
            if self.waking.take_try() {
                self.issue_waiting();
                continue;
            }
            let needs = Needs {
                is_idle: self.open.is_empty(),
                has_waiting: !self.waiting.is_empty(),
                look: None,
            };
            tokio::select! {
                biased;
                wake = self.waking.next(needs) => self.on_wake(wake),
                Some(called) = self.calls.next(), if !self.calls.is_empty() => self.record(called),
            }
        }
    }

    /// Opens a call for each order that has none, as far as there are workers.
    fn issue_waiting(&mut self) {
        let now = Instant::now();
        if now >= self.job.deadline {
            return;
        }
        let candidates = self.fleet.candidates(&self.job.class);
        self.waking.patience.forget_absent(&candidates, now);
        let is_open = |order: &[usize]| self.open.iter().any(|call| call.order == order);
        let free = self.waiting.values().filter(|unranked| !is_open(&unranked.sample.spec.order));
        let waiting = free.map(|unranked| Waiting {
            spec: &unranked.sample.spec,
            failed_on: &unranked.failed_on,
            too_large_for: &unranked.too_large_for,
            needed_tokens: 0,
        });
        let may_ask = |worker: &WorkerRef| self.waking.patience.may_ask(worker, now);
        let assigned = assign(waiting, &candidates, may_ask, |n| rand::random_range(0..n));
        for index in assigned.too_large {
            if let Some(unranked) = self.waiting.remove(&index) {
                self.give_up(unranked, "the trajectory fits the memory of no worker");
            }
        }
        for Assignment { worker, indices } in assigned.calls {
            self.open(&worker, &indices, now);
        }
        if self.open.is_empty() && !self.waiting.is_empty() {
            self.waking.patience.record_nobody(now);
        }
    }

    fn open(&mut self, worker: &WorkerRef, indices: &[u32], now: Instant) {
        let n_samples = u32::try_from(indices.len()).expect("k is below the request's limit");
        let Some(reservation) = self.fleet.reserve(worker, n_samples) else {
            self.waking.patience.record_refused(worker, now);
            return;
        };
        let samples: Vec<Unranked> =
            indices.iter().filter_map(|index| self.waiting.remove(index)).collect();
        let Some(first) = samples.first() else { return };
        let order = first.sample.spec.order.clone();
        let number = self.next_call;
        self.next_call += 1;
        debug!(worker_id = &*worker.id, call = number, ?indices, "trajectories issued");
        let request = self.request(&order, &samples, now);
        let channel = reservation.channel();
        let span = trace::client_span("jury.v1.SamplingService/Rank");
        span.record("worker_id", &*worker.id);
        span.record("samples", samples.len() as i64);
        let call = async move {
            let mut client = SamplingServiceClient::new(channel)
                .max_decoding_message_size(jury_fabric::transport::MAX_MESSAGE_BYTES);
            let request = trace::Place::of(&span).outgoing(v1::RankRequest::from(request));
            let answer = match client.rank(request).await {
                Ok(response) => read(response.into_inner()),
                Err(status) => Err(status.into()),
            };
            Called { number, answer }
        };
        self.calls.push(call.boxed());
        self.open.push(OpenCall { number, order, samples, reservation });
    }

    fn request(&self, order: &[usize], samples: &[Unranked], now: Instant) -> RankRequest {
        let said = |unranked: &Unranked| {
            let text = trajectory::text(&unranked.sample)?;
            Some(Trajectory { index: unranked.sample.spec.index, text })
        };
        let remaining = self.job.deadline.saturating_duration_since(now);
        RankRequest {
            model_digest: self.job.class.model_digest.clone(),
            numerics: self.job.class.numerics.clone(),
            messages: self.job.prompts.get(order).map_or_else(Vec::new, |prompt| prompt.to_vec()),
            trajectories: samples.iter().filter_map(said).collect(),
            request_id: self.job.request_id.clone(),
            remaining_ms: Some(u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX)),
            cache_salt: self.job.cache_salt.clone(),
        }
    }

    fn record(&mut self, Called { number, answer }: Called) {
        let Some(place) = self.open.iter().position(|call| call.number == number) else { return };
        let OpenCall { samples, mut reservation, .. } = self.open.swap_remove(place);
        let worker = reservation.worker().clone();
        self.waking.try_again();
        match answer {
            Ok((ranked, load)) => {
                samples.iter().for_each(|_| reservation.give_back_one());
                if let Some(load) = load {
                    self.fleet.record_load(&worker, load);
                }
                self.waking.patience.record_taken(&worker);
                let mut outcomes: BTreeMap<u32, Ranked> =
                    ranked.into_iter().map(|ranked| (ranked.index, ranked)).collect();
                for mut unranked in samples {
                    let ranked = outcomes.remove(&unranked.sample.spec.index);
                    let issues = &mut unranked.sample.issues;
                    if ranked.as_ref().is_some_and(|ranked| ranked.neutralised)
                        && !issues.contains(&Issue::NeutralisedSpecials)
                    {
                        issues.push(Issue::NeutralisedSpecials);
                    }
                    self.settle(unranked, &worker, ranked.map(|ranked| ranked.outcome));
                }
            }
            Err(error) => self.record_error(samples, &worker, &error),
        }
        if self.open.is_empty() && !self.waiting.is_empty() {
            self.waking.patience.record_nobody(Instant::now());
        }
    }

    fn settle(
        &mut self,
        mut unranked: Unranked,
        worker: &WorkerRef,
        outcome: Option<Result<f64, jury_grm::domain::Failure>>,
    ) {
        match outcome {
            Some(Ok(score)) => {
                unranked.sample.meta_score = Some(score);
                self.ended.push_back(unranked.sample);
            }
            Some(Err(failure)) if failure.kind == FailureKind::TooLong => {
                // It would fail on every worker of the class.
                self.give_up(unranked, &failure.detail);
            }
            Some(Err(failure)) if failure.kind == FailureKind::TooLarge => {
                unranked.too_large_for.insert(worker.clone());
                self.wait_again(unranked);
            }
            Some(Err(failure)) => self.fail(unranked, worker, &failure.detail),
            None => self.fail(unranked, worker, "it left a trajectory out of its answer"),
        }
    }

    fn record_error(&mut self, samples: Vec<Unranked>, worker: &WorkerRef, error: &JuryError) {
        let now = Instant::now();
        let is_refused = is_refusal(error);
        if is_refused {
            debug!(worker_id = &*worker.id, %error, "trajectories were refused");
        } else {
            warn!(worker_id = &*worker.id, %error, "trajectories were not ranked, issuing them again");
        }
        match error.code {
            ErrorCode::Overloaded => {
                let pause = error.retry_delay.unwrap_or(BUSY_PAUSE);
                self.waking.patience.record_busy(worker, now, pause);
            }
            _ if is_refused => self.waking.patience.record_refused(worker, now),
            _ => self.waking.patience.record_taken(worker),
        }
        self.fleet.record_failed_call(worker, error);
        for unranked in samples {
            match is_refused {
                true => self.wait_again(unranked),
                false => self.fail(unranked, worker, &error.to_string()),
            }
        }
    }

    /// The worker failed; another may succeed.
    fn fail(&mut self, mut unranked: Unranked, worker: &WorkerRef, why: &str) {
        unranked.failed_on.insert(worker.clone());
        unranked.failures += 1;
        if unranked.failures > self.job.max_reissues {
            self.give_up(unranked, &format!("worker {}: {why}", &*worker.id));
        } else {
            self.wait_again(unranked);
        }
    }

    fn wait_again(&mut self, unranked: Unranked) {
        self.waiting.insert(unranked.sample.spec.index, unranked);
    }

    fn give_up(&mut self, unranked: Unranked, why: &str) {
        self.why.get_or_insert_with(|| why.to_owned());
        self.ended.push_back(unranked.sample);
    }

    fn give_all_up(&mut self, why: &str) {
        if !self.waiting.is_empty() || !self.open.is_empty() {
            self.why.get_or_insert_with(|| why.to_owned());
        }
        self.stop();
    }

    fn on_wake(&mut self, wake: Wake) {
        match wake {
            Wake::Deadline => self.give_all_up("the budget ended first"),
            Wake::Hopeless => {
                let model = &self.job.class.model;
                self.give_all_up(&format!("no worker that serves the Meta RM {model:?} is left"));
            }
            Wake::GoingDown => self.give_all_up("the coordinator is going down"),
            Wake::Again => {}
        }
    }
}

fn read(response: v1::RankResponse) -> Result<(Vec<Ranked>, Option<v1::Load>), JuryError> {
    let ranked = response.ranked.into_iter().map(TryInto::try_into);
    Ok((ranked.collect::<Result<_, JuryError>>()?, response.load))
}
