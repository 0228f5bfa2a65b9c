//! What telemetry itself has lost, as metrics.

use std::fmt::Error as FormatError;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;

use super::lines::dropped_lines;
use super::otlp::lost_spans;

#[derive(Debug)]
struct Losses;

/// Counts what this process has lost of its own telemetry: `jury_log_lines_dropped_total` and
/// `jury_spans_lost_total`.
pub fn register_losses(registry: &mut Registry) {
    registry.register_collector(Box::new(Losses));
}

impl Collector for Losses {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), FormatError> {
        let counters = [
            (
                "jury_log_lines_dropped",
                "Log lines dropped because nobody took them",
                dropped_lines(),
            ),
            ("jury_spans_lost", "Spans in batches that the collector did not take", lost_spans()),
        ];
        for (name, help, count) in counters {
            let counter = ConstCounter::new(count);
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The counts are per process: other tests may add to them meanwhile.
    #[test]
    fn both_losses_are_told_as_counts() {
        let mut registry = Registry::default();
        register_losses(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for name in ["jury_log_lines_dropped_total ", "jury_spans_lost_total "] {
            let count = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            assert!(count.parse::<u64>().is_ok(), "{text}");
        }
    }
}
