//! Prometheus metrics of what was drawn: `jury_worker_*`.
//!
//! Counted where samples leave the worker, so that every backend is counted alike. The unfinished samples of a call
//! that was dropped count as cancelled.

use std::time::Instant;

use jury_grm::domain::{FailureKind, Outcome};
use jury_proto::convert::Ranked;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::backend::BackendEvent;

/// Seconds from the start of a group to the end of a sample; a sample may wait for minutes on a small machine.
const SAMPLE_SECONDS_BUCKETS: [f64; 12] =
    [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];

/// A worker's metrics; clones share state.
#[derive(Debug, Clone)]
pub struct WorkerMetrics {
    samples: Family<OutcomeLabels, Counter>,
    groups: Family<AnswerLabels, Counter>,
    running: Gauge,
    generated_tokens: Counter,
    prefill_tokens: Counter,
    cached_tokens: Counter,
    sample_seconds: Histogram,
    trajectories: Family<RankLabels, Counter>,
    absences: Counter,
    absent: Gauge,
}

/// The metrics of one group while it is drawn.
#[derive(Debug)]
pub(crate) struct GroupMetrics {
    metrics: WorkerMetrics,
    started_at: Instant,
    /// Samples whose end has not been recorded.
    unfinished: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: OutcomeLabel,
}

/// The outcome of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types)] // the labels' spelling
enum OutcomeLabel {
    scored,
    unparsed,
    cancelled,
    timed_out,
    failed,
}

/// The metrics of one call of `Rank` until it is answered.
#[derive(Debug)]
pub(crate) struct RankMetrics {
    metrics: WorkerMetrics,
    /// Trajectories whose outcome has not been recorded.
    unranked: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RankLabels {
    outcome: RankLabel,
}

/// The outcome of a trajectory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types)] // the labels' spelling
enum RankLabel {
    ranked,
    too_long,
    timed_out,
    failed,
    /// The call was rejected, or dropped by its caller.
    unanswered,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    answer: AnswerLabel,
}

/// How a group was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types)] // the labels' spelling
enum AnswerLabel {
    accepted,
    too_long,
    too_large,
    busy,
}

// === impl RankLabel ===

impl RankLabel {
    const ALL: [Self; 5] =
        [Self::ranked, Self::too_long, Self::timed_out, Self::failed, Self::unanswered];
}

// === impl WorkerMetrics ===

impl WorkerMetrics {
    /// Registers every metric, each label at zero.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::unregistered();
        registry.register(
            "jury_worker_samples",
            "Samples that ended, by what came of them",
            metrics.samples.clone(),
        );
        registry.register(
            "jury_worker_groups",
            "Groups answered, by the answer",
            metrics.groups.clone(),
        );
        registry.register(
            "jury_worker_running_samples",
            "Samples begun and not ended",
            metrics.running.clone(),
        );
        registry.register(
            "jury_worker_generated_tokens",
            "Tokens generated for samples that came to their end",
            metrics.generated_tokens.clone(),
        );
        registry.register(
            "jury_worker_prefill_tokens",
            "Prompt tokens computed",
            metrics.prefill_tokens.clone(),
        );
        registry.register(
            "jury_worker_cached_tokens",
            "Prompt tokens that an earlier group had computed",
            metrics.cached_tokens.clone(),
        );
        registry.register_with_unit(
            "jury_worker_sample",
            "Time from the start of a group to the end of each sample",
            Unit::Seconds,
            metrics.sample_seconds.clone(),
        );
        registry.register(
            "jury_worker_trajectories",
            "Trajectories that came to be ranked, by what came of them",
            metrics.trajectories.clone(),
        );
        registry.register(
            "jury_worker_absences",
            "Times that the worker left the fleet for a while: its card was lost, or its upstream was down",
            metrics.absences.clone(),
        );
        registry.register(
            "jury_worker_absent",
            "1 while the worker is out of the fleet: it loads its model anew, or waits for its upstream",
            metrics.absent.clone(),
        );
        metrics
    }

    /// Metrics that are not collected, for embedded use and tests.
    pub fn unregistered() -> Self {
        use AnswerLabel::{accepted, busy, too_large, too_long};
        use OutcomeLabel::{cancelled, failed, scored, timed_out, unparsed};
        let samples = Family::<OutcomeLabels, Counter>::default();
        for outcome in [scored, unparsed, cancelled, timed_out, failed] {
            drop(samples.get_or_create(&OutcomeLabels { outcome }));
        }
        let groups = Family::<AnswerLabels, Counter>::default();
        for answer in [accepted, too_long, too_large, busy] {
            drop(groups.get_or_create(&AnswerLabels { answer }));
        }
        let trajectories = Family::<RankLabels, Counter>::default();
        for outcome in RankLabel::ALL {
            drop(trajectories.get_or_create(&RankLabels { outcome }));
        }
        Self {
            trajectories,
            samples,
            groups,
            running: Gauge::default(),
            generated_tokens: Counter::default(),
            prefill_tokens: Counter::default(),
            cached_tokens: Counter::default(),
            sample_seconds: Histogram::new(SAMPLE_SECONDS_BUCKETS),
            absences: Counter::default(),
            absent: Gauge::default(),
        }
    }

    /// Records that the worker leaves the fleet for a while.
    pub(crate) fn left(&self) {
        self.absences.inc();
        self.absent.set(1);
    }

    /// Records that it is back.
    pub(crate) fn came_back(&self) {
        self.absent.set(0);
    }

    /// Starts counting a call over `n_trajectories`.
    pub(crate) fn call(&self, n_trajectories: usize) -> RankMetrics {
        RankMetrics { metrics: self.clone(), unranked: n_trajectories }
    }

    /// Starts counting a group of `n_samples`.
    pub(crate) fn group(&self, n_samples: usize) -> GroupMetrics {
        self.running.inc_by(n_samples as i64);
        GroupMetrics { metrics: self.clone(), started_at: Instant::now(), unfinished: n_samples }
    }
}

// === impl RankMetrics ===

impl RankMetrics {
    /// Counts an answer.
    pub(crate) fn record(mut self, ranked: &[Ranked]) {
        for ranked in ranked {
            self.ended(match &ranked.outcome {
                Ok(_) => RankLabel::ranked,
                Err(failure) => match failure.kind {
                    FailureKind::TooLong | FailureKind::TooLarge => RankLabel::too_long,
                    FailureKind::TimedOut => RankLabel::timed_out,
                    _ => RankLabel::failed,
                },
            });
        }
    }

    fn ended(&mut self, outcome: RankLabel) {
        self.metrics.trajectories.get_or_create(&RankLabels { outcome }).inc();
        self.unranked = self.unranked.saturating_sub(1);
    }
}

impl Drop for RankMetrics {
    fn drop(&mut self) {
        for _ in 0..self.unranked {
            self.ended(RankLabel::unanswered);
        }
    }
}

// === impl GroupMetrics ===

impl GroupMetrics {
    /// Counts an event when it is sent.
    pub(crate) fn record(&mut self, event: &BackendEvent) {
        match event {
            BackendEvent::Accepted { prompt_tokens, cached_tokens } => {
                self.answered(AnswerLabel::accepted);
                let computed = prompt_tokens.saturating_sub(*cached_tokens);
                self.metrics.prefill_tokens.inc_by(u64::from(computed));
                self.metrics.cached_tokens.inc_by(u64::from(*cached_tokens));
            }
            BackendEvent::TooLong(_) => self.refused(AnswerLabel::too_long),
            BackendEvent::TooLarge(_) => self.refused(AnswerLabel::too_large),
            BackendEvent::Busy { .. } => self.refused(AnswerLabel::busy),
            BackendEvent::Progress { .. } => {}
            BackendEvent::Finished(sample) => {
                let tokens = u64::from(sample.generated_tokens);
                self.metrics.generated_tokens.inc_by(tokens);
                self.metrics.sample_seconds.observe(self.started_at.elapsed().as_secs_f64());
                self.ended(match sample.outcome {
                    Outcome::Scored(_) => OutcomeLabel::scored,
                    Outcome::Failed { .. } => OutcomeLabel::unparsed,
                });
            }
            BackendEvent::Failed { failure, .. } => self.ended(match failure.kind {
                FailureKind::NotNeeded => OutcomeLabel::cancelled,
                FailureKind::TimedOut => OutcomeLabel::timed_out,
                _ => OutcomeLabel::failed,
            }),
        }
    }

    fn answered(&self, answer: AnswerLabel) {
        self.metrics.groups.get_or_create(&AnswerLabels { answer }).inc();
    }

    /// The samples of a rejected group never began.
    fn refused(&mut self, answer: AnswerLabel) {
        self.answered(answer);
        self.metrics.running.dec_by(self.unfinished as i64);
        self.unfinished = 0;
    }

    fn ended(&mut self, outcome: OutcomeLabel) {
        self.metrics.samples.get_or_create(&OutcomeLabels { outcome }).inc();
        self.metrics.running.dec();
        self.unfinished = self.unfinished.saturating_sub(1);
    }
}

impl Drop for GroupMetrics {
    fn drop(&mut self) {
        for _ in 0..self.unfinished {
            self.ended(OutcomeLabel::cancelled);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;

    #[test]
    fn every_label_is_there_from_the_start_and_a_dropped_call_counts_as_cancelled() {
        let mut registry = Registry::default();
        let metrics = WorkerMetrics::register(&mut registry);
        let mut group = metrics.group(3);
        group.record(&BackendEvent::Accepted { prompt_tokens: 10, cached_tokens: 4 });
        drop(group);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            r#"jury_worker_samples_total{outcome="scored"} 0"#,
            r#"jury_worker_samples_total{outcome="cancelled"} 3"#,
            r#"jury_worker_groups_total{answer="accepted"} 1"#,
            "jury_worker_running_samples 0",
            "jury_worker_prefill_tokens_total 6",
            "jury_worker_cached_tokens_total 4",
            "jury_worker_sample_seconds_count 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
