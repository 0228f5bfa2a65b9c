//! Demand per model, for autoscalers and operators that decide how many workers a model gets.
//!
//! ```text
//! jury_admitted_samples       samples of requests that run
//! jury_queued_samples         samples of requests that wait for admission or for a first worker
//! jury_queued_work_seconds    how long one place would be busy with those, from how long samples took lately
//! jury_backlog_seconds        the same over all places: about how long a request that arrives now waits
//! ```
//!
//! Only the last one depends on the number of workers. Models that may be scaled to zero are exported from the start:
//! an autoscaler must see a zero before it sees a one. No other model name that a request makes up is exported.

use std::collections::BTreeMap;
use std::fmt::Error as FormatError;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Admission;

/// Current demand for one model.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Demand {
    /// Samples of running requests.
    pub admitted_samples: u64,
    /// Samples of waiting requests.
    pub queued_samples: u64,
    /// How long a sample takes; `None` before enough were seen.
    pub a_sample: Option<Duration>,
    /// Samples that may run at once; at least 1.
    pub places: u32,
}

/// Samples that wait for a first worker, by model. Clones share one state. It holds the model names it was created
/// with, and no others.
#[derive(Debug, Clone, Default)]
pub struct Awaited {
    n_samples: Arc<Mutex<BTreeMap<Arc<str>, u64>>>,
}

/// Samples of one request that wait for a first worker, until this is dropped.
#[derive(Debug)]
pub struct Awaiting {
    awaited: Awaited,
    model: Arc<str>,
    samples: u32,
}

/// Exports the demand when metrics are collected.
#[derive(Debug)]
pub struct DemandMetrics(pub Admission);

// === impl Demand ===

impl Demand {
    /// How long one place would be busy with the waiting samples; zero while the time per sample is unknown.
    pub fn queued_work(&self) -> Duration {
        self.a_sample.unwrap_or_default().mul_f64(self.queued_samples as f64)
    }

    /// About how long a request that arrives now would wait.
    pub fn backlog(&self) -> Duration {
        self.queued_work() / self.places.max(1)
    }
}

// === impl Awaited ===

impl Awaited {
    /// Nothing waits yet for any of `models`.
    pub fn new<'a>(models: impl IntoIterator<Item = &'a str>) -> Self {
        let n_samples = models.into_iter().map(|model| (model.into(), 0)).collect();
        Self { n_samples: Arc::new(Mutex::new(n_samples)) }
    }

    /// A request of `samples` waits for a worker of `model`, or of the first awaited model if it names none. `None` if
    /// the model is not awaited.
    pub fn wait(&self, model: Option<&str>, samples: u32) -> Option<Awaiting> {
        let mut n_samples = self.n_samples.lock();
        let model = match model {
            Some(model) => n_samples.get_key_value(model)?.0,
            None => n_samples.keys().next()?,
        };
        let model = Arc::clone(model);
        *n_samples.get_mut(&model)? += u64::from(samples);
        drop(n_samples);
        Some(Awaiting { awaited: self.clone(), model, samples })
    }

    /// Waiting samples of every awaited model.
    pub(super) fn n_samples(&self) -> BTreeMap<Arc<str>, u64> {
        self.n_samples.lock().clone()
    }
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        if let Some(n_samples) = self.awaited.n_samples.lock().get_mut(&self.model) {
            *n_samples -= u64::from(self.samples);
        }
    }
}

// === impl DemandMetrics ===

impl Collector for DemandMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), FormatError> {
        let demand = self.0.demand();
        type Read = fn(&Demand) -> f64;
        let gauges: [(&str, &str, Read); 4] = [
            ("jury_admitted_samples", "Samples of requests that run", |d| {
                d.admitted_samples as f64
            }),
            (
                "jury_queued_samples",
                "Samples of requests that wait for admission or for a first worker",
                |d| d.queued_samples as f64,
            ),
            (
                "jury_queued_work_seconds",
                "Time that one place would be busy with what waits, as samples took lately",
                |d| d.queued_work().as_secs_f64(),
            ),
            (
                "jury_backlog_seconds",
                "Time that a request which comes now is expected to wait",
                |d| d.backlog().as_secs_f64(),
            ),
        ];
        for (name, help, read) in gauges {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (model, demand) in &demand {
                let labels = [("model", &**model)];
                ConstGauge::new(read(demand)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::admission::{Share, Size};

    fn told(admission: &Admission) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(DemandMetrics(admission.clone())));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn work_that_waits_does_not_depend_on_places_and_the_backlog_does() {
        let demand = Demand {
            admitted_samples: 8,
            queued_samples: 30,
            a_sample: Some(Duration::from_secs(20)),
            places: 10,
        };
        assert_eq!(demand.queued_work(), Duration::from_secs(600));
        assert_eq!(demand.backlog(), Duration::from_secs(60));
        let more = Demand { places: 20, ..demand };
        assert_eq!(more.queued_work(), demand.queued_work());
        assert_eq!(more.backlog(), Duration::from_secs(30));
        assert_eq!(Demand { a_sample: None, ..demand }.backlog(), Duration::ZERO);
    }

    #[test]
    fn an_awaited_model_is_told_from_the_start_and_a_made_up_one_never() {
        let admission = Admission::new(4, 1 << 20).awaiting(["judge", "other"]);
        assert!(told(&admission).contains(r#"jury_queued_samples{model="judge"} 0"#));
        let waiting = admission.awaited().wait(Some("judge"), 32).unwrap();
        let unnamed = admission.awaited().wait(None, 8).unwrap();
        assert!(admission.awaited().wait(Some("made up"), 8).is_none());
        let text = told(&admission);
        assert!(text.contains(r#"jury_queued_samples{model="judge"} 40"#), "{text}");
        assert!(!text.contains("made up"), "{text}");
        drop((waiting, unnamed));
        assert!(told(&admission).contains(r#"jury_queued_samples{model="judge"} 0"#));
    }

    #[tokio::test]
    async fn what_runs_and_what_waits_is_told_by_model() {
        let admission = Admission::new(4, 1 << 20);
        let share = Share::default();
        let size = Size { samples: 60, tokens: 60_000 };
        let held = || admission.hold(&share, 10).unwrap();
        let running = admission.admit(&share, "m", size, held()).await.unwrap();
        let mut waiting = Box::pin(admission.admit(&share, "m", size, held()));
        assert!(futures::poll!(&mut waiting).is_pending());
        let text = told(&admission);
        assert!(text.contains(r#"jury_admitted_samples{model="m"} 60"#), "{text}");
        assert!(text.contains(r#"jury_queued_samples{model="m"} 60"#), "{text}");
        drop(running);
        let _runs = waiting.await.unwrap();
        assert!(told(&admission).contains(r#"jury_queued_samples{model="m"} 0"#));
    }
}
