//! What the coordinator counts. Every series exists from the start, at zero.

use std::sync::Arc;

use jury_fabric::telemetry::LATENCY_BUCKETS_SECONDS;
use jury_grm::domain::{Status, Verdict};
use jury_proto::ErrorCode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::progress::Spent;
use crate::tenants::Quota;

/// The coordinator's series.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    requests: Family<RequestLabels, Counter>,
    samples: Family<SampleLabels, Counter>,
    request_seconds: Histogram,
    queue_seconds: Histogram,
    replays: Counter,
    reissued: Counter,
    hedged: Counter,
    wasted_tokens: Counter,
    tenant_requests: Family<TenantLabels, Counter>,
    tenant_samples: Family<TenantLabels, Counter>,
    tenant_tokens: Family<TenantLabels, Counter>,
    tenant_over_quota: Family<QuotaLabels, Counter>,
    unauthenticated: Counter,
    tenants_reads: Family<ReadLabels, Counter>,
    tenants_file_broken: Gauge,
}

/// Names are those of the file of tenants, which bounds them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TenantLabels {
    tenant: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QuotaLabels {
    tenant: String,
    quota: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReadLabels {
    outcome: ReadOutcome,
}

/// What came of reading the file of tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types)] // the labels' spelling
enum ReadOutcome {
    ok,
    broken,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    outcome: RequestOutcome,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types)] // the labels' spelling
enum RequestOutcome {
    ok,
    partial,
    unscored,
    /// The caller's own mistake.
    invalid,
    over_quota,
    /// The coordinator is overloaded or shutting down.
    refused,
    /// The caller left before the answer.
    abandoned,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SampleLabels {
    outcome: SampleOutcome,
}

/// How a planned sample ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(non_camel_case_types)] // the labels' spelling
enum SampleOutcome {
    valid,
    parse_failed,
    too_long,
    timed_out,
    failed,
    not_needed,
}

// === impl Metrics ===

impl Metrics {
    /// Registers every series.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            samples: Family::default(),
            request_seconds: Histogram::new(LATENCY_BUCKETS_SECONDS),
            queue_seconds: Histogram::new(LATENCY_BUCKETS_SECONDS),
            replays: Counter::default(),
            reissued: Counter::default(),
            hedged: Counter::default(),
            wasted_tokens: Counter::default(),
            tenant_requests: Family::default(),
            tenant_samples: Family::default(),
            tenant_tokens: Family::default(),
            tenant_over_quota: Family::default(),
            unauthenticated: Counter::default(),
            tenants_reads: Family::default(),
            tenants_file_broken: Gauge::default(),
        };
        for outcome in [
            RequestOutcome::ok,
            RequestOutcome::partial,
            RequestOutcome::unscored,
            RequestOutcome::invalid,
            RequestOutcome::over_quota,
            RequestOutcome::refused,
            RequestOutcome::abandoned,
        ] {
            drop(metrics.requests.get_or_create(&RequestLabels { outcome }));
        }
        for outcome in [
            SampleOutcome::valid,
            SampleOutcome::parse_failed,
            SampleOutcome::too_long,
            SampleOutcome::timed_out,
            SampleOutcome::failed,
            SampleOutcome::not_needed,
        ] {
            drop(metrics.samples.get_or_create(&SampleLabels { outcome }));
        }
        let part = registry.sub_registry_with_prefix("jury_coordinator");
        part.register("requests", "Requests that have ended, by outcome", metrics.requests.clone());
        part.register("samples", "Planned samples, by final outcome", metrics.samples.clone());
        part.register(
            "request_seconds",
            "Seconds from a request's arrival to its answer",
            metrics.request_seconds.clone(),
        );
        part.register(
            "queue_seconds",
            "Seconds that a request waited for admission",
            metrics.queue_seconds.clone(),
        );
        part.register(
            "replays",
            "Requests answered with the verdict of an identical one; they count nowhere else",
            metrics.replays.clone(),
        );
        part.register(
            "samples_reissued",
            "Samples drawn again after their worker was lost",
            metrics.reissued.clone(),
        );
        part.register(
            "samples_hedged",
            "Second attempts at samples that lagged behind",
            metrics.hedged.clone(),
        );
        part.register(
            "wasted_tokens",
            "Tokens generated for nothing",
            metrics.wasted_tokens.clone(),
        );
        metrics.register_tenants(part);
        metrics
    }

    fn register_tenants(&self, part: &mut Registry) {
        for outcome in [ReadOutcome::ok, ReadOutcome::broken] {
            drop(self.tenants_reads.get_or_create(&ReadLabels { outcome }));
        }
        part.register(
            "tenant_requests",
            "Requests judged and answered, by tenant",
            self.tenant_requests.clone(),
        );
        part.register("tenant_samples", "Planned samples, by tenant", self.tenant_samples.clone());
        part.register(
            "tenant_tokens",
            "Tokens of prompts and critiques, those generated for nothing included, by tenant",
            self.tenant_tokens.clone(),
        );
        part.register(
            "tenant_over_quota",
            "Requests refused because a quota was used up, by tenant",
            self.tenant_over_quota.clone(),
        );
        part.register(
            "unauthenticated",
            "Calls refused for want of a known token",
            self.unauthenticated.clone(),
        );
        part.register(
            "tenants_reads",
            "Times that the file of tenants was read, by what came of it",
            self.tenants_reads.clone(),
        );
        part.register(
            "tenants_file_broken",
            "1 while the file of tenants cannot be read, and the last good one is in force",
            self.tenants_file_broken.clone(),
        );
    }

    /// These tenants are in force; `is_read` is whether the file that changed could be read.
    pub(crate) fn record_tenants(&self, tenants: &[(Arc<str>, u32)], is_read: bool) {
        let outcome = if is_read { ReadOutcome::ok } else { ReadOutcome::broken };
        self.tenants_reads.get_or_create(&ReadLabels { outcome }).inc();
        self.tenants_file_broken.set((!is_read).into());
        self.show_tenants(tenants);
    }

    /// Every series of these tenants exists from now on.
    pub(crate) fn show_tenants(&self, tenants: &[(Arc<str>, u32)]) {
        for (tenant, _) in tenants {
            let labels = TenantLabels { tenant: tenant.to_string() };
            for family in [&self.tenant_requests, &self.tenant_samples, &self.tenant_tokens] {
                drop(family.get_or_create(&labels));
            }
            for quota in Quota::ALL {
                let tenant = tenant.to_string();
                drop(
                    self.tenant_over_quota
                        .get_or_create(&QuotaLabels { tenant, quota: quota.name() }),
                );
            }
        }
    }

    /// A tenant's request was refused since it has used up a quota.
    pub(crate) fn record_over_quota(&self, tenant: &str, quota: Quota) {
        let labels = QuotaLabels { tenant: tenant.to_owned(), quota: quota.name() };
        self.tenant_over_quota.get_or_create(&labels).inc();
    }

    /// A call was refused for want of a known token.
    pub(crate) fn record_unauthenticated(&self) {
        self.unauthenticated.inc();
    }

    /// A request of `tenant` was judged and answered.
    pub(crate) fn record_verdict(&self, tenant: &str, verdict: &Verdict) {
        let labels = TenantLabels { tenant: tenant.to_owned() };
        self.tenant_requests.get_or_create(&labels).inc();
        self.tenant_samples.get_or_create(&labels).inc_by(verdict.counts.asked.into());
        self.tenant_tokens.get_or_create(&labels).inc_by(tokens_spent(verdict));
        let outcome = match verdict.status {
            Status::Ok => RequestOutcome::ok,
            Status::Partial => RequestOutcome::partial,
            Status::Unscored => RequestOutcome::unscored,
        };
        self.requests.get_or_create(&RequestLabels { outcome }).inc();
        let counts = &verdict.counts;
        for (outcome, n) in [
            (SampleOutcome::valid, counts.valid),
            (SampleOutcome::parse_failed, counts.parse_failed),
            (SampleOutcome::too_long, counts.too_long),
            (SampleOutcome::timed_out, counts.timed_out),
            (SampleOutcome::failed, counts.failed),
            (SampleOutcome::not_needed, counts.not_needed),
        ] {
            self.samples.get_or_create(&SampleLabels { outcome }).inc_by(n.into());
        }
        self.request_seconds.observe(seconds(verdict.run.total_ms));
        self.queue_seconds.observe(seconds(verdict.run.queue_ms));
        self.reissued.inc_by(verdict.run.reissued.into());
        self.hedged.inc_by(verdict.run.hedged.into());
        self.wasted_tokens.inc_by(verdict.run.wasted_tokens);
    }

    /// A request was answered with the verdict of an identical one.
    pub(crate) fn record_replay(&self) {
        self.replays.inc();
    }

    /// A request was answered with an error.
    pub(crate) fn record_error(&self, code: ErrorCode) {
        let outcome = match code {
            ErrorCode::InvalidArgument
            | ErrorCode::RequestIdReused
            | ErrorCode::Unauthenticated => RequestOutcome::invalid,
            ErrorCode::OverQuota => RequestOutcome::over_quota,
            ErrorCode::Overloaded
            | ErrorCode::ShuttingDown
            | ErrorCode::WrongModel
            | ErrorCode::Unreachable
            | ErrorCode::WrongService
            | ErrorCode::Cancelled
            | ErrorCode::DeadlineExceeded
            | ErrorCode::Internal => RequestOutcome::refused,
        };
        self.requests.get_or_create(&RequestLabels { outcome }).inc();
    }

    /// Counts a request of `tenant` whose caller left before the answer, and the tokens computed for it.
    pub(crate) fn record_abandoned(&self, tenant: &str, spent: Spent) {
        let Spent { prompt_tokens, generated_tokens } = spent;
        let outcome = RequestOutcome::abandoned;
        self.requests.get_or_create(&RequestLabels { outcome }).inc();
        self.wasted_tokens.inc_by(generated_tokens);
        let labels = TenantLabels { tenant: tenant.to_owned() };
        self.tenant_tokens.get_or_create(&labels).inc_by(prompt_tokens + generated_tokens);
    }
}

/// The tokens that workers computed for a verdict.
pub(crate) fn tokens_spent(verdict: &Verdict) -> u64 {
    verdict.usage.prompt_tokens + verdict.usage.generated_tokens + verdict.run.wasted_tokens
}

fn seconds(milliseconds: u64) -> f64 {
    std::time::Duration::from_millis(milliseconds).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_counts_as_a_replay_and_as_no_verdict() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.record_replay();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("jury_coordinator_replays_total 1"), "{text}");
        assert!(text.contains("jury_coordinator_requests_total{outcome=\"ok\"} 0"), "{text}");
        assert!(text.contains("jury_coordinator_samples_total{outcome=\"valid\"} 0"), "{text}");
    }
}
