//! Metrics that show whether the directory is reachable.

use std::fmt::{self, Debug, Error as FormatError, Formatter};
use std::sync::Arc;

use jury_fabric::directory::Directory;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// Exports the directory's state when metrics are collected.
pub struct DirectoryMetrics(pub Arc<dyn Directory>);

// === impl DirectoryMetrics ===

impl Collector for DirectoryMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), FormatError> {
        let gauge = encoder.encode_descriptor(
            "jury_coordinator_directory_connected",
            "1 while the directory tells who the workers are, 0 while the last known fleet stays",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(i64::from(self.0.is_connected())).encode(gauge)
    }
}

impl Debug for DirectoryMetrics {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DirectoryMetrics").field(&self.0.kind()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures::stream::{self, BoxStream, StreamExt};
    use jury_fabric::directory::Update;
    use prometheus_client::registry::Registry;

    use super::*;

    #[derive(Default)]
    struct Sometimes(AtomicBool);

    impl Directory for Sometimes {
        fn kind(&self) -> &'static str {
            "sometimes"
        }

        fn is_connected(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }

        fn watch(&self) -> BoxStream<'static, Update> {
            stream::pending().boxed()
        }
    }

    #[test]
    fn a_directory_that_is_away_is_told_and_so_is_its_return() {
        let directory = Arc::new(Sometimes::default());
        let mut registry = Registry::default();
        registry.register_collector(Box::new(DirectoryMetrics(Arc::clone(&directory) as _)));
        for connected in [false, true, false] {
            directory.0.store(connected, Ordering::Relaxed);
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            let line = format!("\njury_coordinator_directory_connected {}\n", u8::from(connected));
            assert!(text.contains(&line), "{text}");
        }
    }
}
