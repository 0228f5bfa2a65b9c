//! How a training went.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{AucInterval, LabelledState, MetaConfig};

/// Losses after a pass: binary cross-entropy in nats, both kinds of rows weighing the same, so ln 2 = 0.693 without any
/// knowledge.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EpochLoss {
    /// From 1.
    pub epoch: usize,
    /// On the training rows.
    pub train: f64,
    /// On the validation rows.
    pub validation: f64,
}

/// What a part holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PartReport {
    /// Rows.
    pub rows: usize,
    /// Correct ones.
    pub correct: usize,
    /// Different queries.
    pub queries: usize,
}

/// Rows whose probabilities are near each other: of a head that is calibrated, the share of correct ones is their
/// probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ReliabilityBin {
    /// Their mean probability, 0..=1.
    pub probability: f64,
    /// The share of correct ones, 0..=1.
    pub correct: f64,
    /// How many, at least 1.
    pub rows: usize,
}

/// How a training went, and how good its head is.
#[derive(Debug, Clone, PartialEq)]
pub struct MetaReport {
    /// What was asked for.
    pub config: MetaConfig,
    /// Numbers of a state.
    pub width: usize,
    /// Digest of all rows, hex.
    pub data_digest: String,
    /// Rows that weights were fitted to.
    pub train: PartReport,
    /// Rows that told when to stop, and calibrated.
    pub validation: PartReport,
    /// Rows that only measured.
    pub test: PartReport,
    /// On the test rows.
    pub auc: AucInterval,
    /// On the test rows, among the samples of each query; `None` where no query has correct and wrong ones.
    pub auc_within_item: Option<AucInterval>,
    /// How the probabilities hold on the test rows, ascending.
    pub reliability: Vec<ReliabilityBin>,
    /// Expected calibration error on the test rows, 0..=1.
    pub calibration_error: f64,
    /// The pass whose weights the head has, from 1.
    pub best_epoch: usize,
    /// Losses of every pass.
    pub curve: Vec<EpochLoss>,
}

// === impl PartReport ===

impl PartReport {
    pub(super) fn of(rows: &[&LabelledState]) -> Self {
        let queries: BTreeSet<&str> = rows.iter().map(|row| row.query.as_str()).collect();
        let correct = rows.iter().filter(|row| row.correct).count();
        Self { rows: rows.len(), correct, queries: queries.len() }
    }

    /// Whether it cannot tell correct rows from wrong ones.
    pub(super) fn is_of_one_kind(&self) -> bool {
        self.correct == 0 || self.correct == self.rows
    }
}

// === impl MetaReport ===

impl MetaReport {
    /// What the test rows say, in a sentence or two.
    pub fn finding(&self) -> String {
        let AucInterval { auc, low, high } = self.auc;
        let figures = format!("AUC {auc:.3} (95 % interval {low:.3} to {high:.3})");
        let overall = match self.auc.is_above_chance() {
            true => format!("The head tells correct samples from wrong ones: {figures}."),
            false if high < 0.5 => {
                format!(
                    "The head ranks wrong samples above correct ones: {figures}. Do not use it."
                )
            }
            false => format!(
                "No signal was found: {figures}, and 0.5 is chance. Ranking by this head may do no good."
            ),
        };
        let within = match self.auc_within_item {
            None => "No item of the test part has both correct and wrong samples.".to_owned(),
            Some(AucInterval { auc, low, high }) => format!(
                "Among the samples of one item, which is what a vote ranks, the mean AUC is {auc:.3} ({low:.3} to {high:.3})."
            ),
        };
        format!("{overall} {within}")
    }
}
