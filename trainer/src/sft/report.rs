//! A run's report: every step as JSON, and its curves.

use serde::Serialize;

use super::SftStep;
use crate::plot::{Curve, Curves};

/// The content of `report.json`.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct SftReport<'a> {
    /// Name of the start model.
    pub model: &'a str,
    /// Digest of its files, hex.
    pub model_digest: &'a str,
    /// Samples kept after rejection.
    pub kept_samples: usize,
    /// General conversations mixed in.
    pub mixed_conversations: usize,
    /// The sum of both, without those that are too long.
    pub learned_conversations: usize,
    /// The fate of every sample, as Markdown.
    pub table: &'a str,
    /// Every step.
    pub history: &'a [SftStep],
}

// === impl SftReport ===

impl SftReport<'_> {
    /// Loss and gradient over steps.
    pub fn curves(&self) -> Curves {
        let at = |value: fn(&SftStep) -> f64| {
            self.history.iter().map(move |step| (step.step as f64, value(step)))
        };
        Curves(vec![
            Curve::new("loss, nats a token", at(|step| step.loss)),
            Curve::new("length of the gradient", at(|step| step.gradient_norm)),
        ])
    }
}
