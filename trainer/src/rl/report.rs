//! A run's report: every step as JSON, and its curves.

use serde::Serialize;

use super::{HeldOut, RlStep};
use crate::plot::{Curve, Curves};

/// The content of `report.json`.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct RlReport<'a> {
    /// Name of the start model.
    pub model: &'a str,
    /// Digest of its files, hex.
    pub model_digest: &'a str,
    /// The path of its adapter; null for a new one.
    pub init: Option<&'a str>,
    /// Weight of the KL to the start.
    pub beta: f64,
    /// How that KL is estimated.
    pub kl_estimator: &'static str,
    /// Every step.
    pub history: &'a [RlStep],
    /// The evaluations on held-out tasks.
    pub held_out: &'a [HeldOut],
}

// === impl RlReport ===

impl RlReport<'_> {
    /// Reward, KL, entropy, length, unreadable samples, groups with equal rewards and held-out tasks over steps.
    pub fn curves(&self) -> Curves {
        let steps = || self.history.iter();
        let at = |step: &RlStep, value: f64| (step.step as f64, value);
        let share = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
        let held_out = self.held_out.iter();
        let held_out = held_out.map(|held_out| (held_out.step as f64, held_out.correct));
        Curves(vec![
            Curve::new(
                "mean reward of training samples",
                steps().map(|step| at(step, step.reward)),
            ),
            Curve::new(
                "KL to the start, k3, nats a token",
                steps().filter_map(|step| Some(at(step, step.kl?))),
            ),
            Curve::new(
                "entropy, nats a token",
                steps().filter_map(|step| Some(at(step, step.entropy?))),
            ),
            Curve::new("length, tokens", steps().map(|step| at(step, step.length))),
            Curve::new(
                "share of unreadable samples",
                steps().map(|step| at(step, share(step.unreadable, step.samples))),
            ),
            Curve::new(
                "share of groups without spread",
                steps().map(|step| at(step, share(step.without_spread, step.groups))),
            ),
            Curve::new("held-out items: share of samples that are right", held_out),
        ])
    }
}
