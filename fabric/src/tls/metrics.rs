//! TLS metrics for operators: reloads, failed handshakes, and the certificate's expiry. They cover the whole process,
//! which has one set of files.

use std::fmt::Error as FormatError;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::ServerTls;

static RELOADS: AtomicU64 = AtomicU64::new(0);
static FAILURES: AtomicU64 = AtomicU64::new(0);
static FAILING: AtomicU64 = AtomicU64::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);

#[derive(Debug)]
struct Tls {
    served: Option<ServerTls>,
}

/// Adds `jury_tls_reloads_total`, `jury_tls_reload_failures_total`, `jury_tls_reload_failing`,
/// `jury_tls_handshakes_refused_total` and, for a served certificate,
/// `jury_tls_certificate_expiry_timestamp_seconds`.
pub fn register_tls(registry: &mut Registry, served: Option<ServerTls>) {
    registry.register_collector(Box::new(Tls { served }));
}

pub(super) fn reloaded() {
    RELOADS.fetch_add(1, Relaxed);
}

pub(super) fn failed() {
    FAILURES.fetch_add(1, Relaxed);
}

pub(super) fn began_to_fail() {
    FAILING.fetch_add(1, Relaxed);
}

pub(super) fn recovered() {
    FAILING.fetch_sub(1, Relaxed);
}

/// Counts a client of one of our servers that failed its handshake.
pub(crate) fn refused_handshake() {
    REFUSED.fetch_add(1, Relaxed);
}

impl Collector for Tls {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), FormatError> {
        for (name, help, count) in [
            ("jury_tls_reloads", "Times that changed certificates were taken into use", &RELOADS),
            (
                "jury_tls_reload_failures",
                "Times that changed certificates could not be used",
                &FAILURES,
            ),
            (
                "jury_tls_handshakes_refused",
                "Connections that ended before a TLS handshake was complete",
                &REFUSED,
            ),
        ] {
            let counter = ConstCounter::new(count.load(Relaxed));
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        let failing = i64::try_from(FAILING.load(Relaxed)).unwrap_or(i64::MAX);
        let not_after = self.served.as_ref().and_then(ServerTls::not_after).unwrap_or(0);
        for (name, help, value) in [
            (
                "jury_tls_reload_failing",
                "Sets of certificates whose files cannot be used now, so that older ones are",
                failing,
            ),
            (
                "jury_tls_certificate_expiry_timestamp_seconds",
                "Unix time at which the certificate that is served expires; 0 where none is",
                not_after,
            ),
        ] {
            let gauge = ConstGauge::new(value);
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_there_from_the_start() {
        let mut registry = Registry::default();
        register_tls(&mut registry, None);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for name in [
            "jury_tls_reloads_total ",
            "jury_tls_reload_failures_total ",
            "jury_tls_reload_failing ",
            "jury_tls_handshakes_refused_total ",
            "jury_tls_certificate_expiry_timestamp_seconds 0\n",
        ] {
            assert!(text.contains(name), "{text}");
        }
    }
}
