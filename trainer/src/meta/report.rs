//! The report of a training.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{AucInterval, LabelledState, MetaConfig};

/// Losses after a pass: binary cross-entropy in nats, with equal weight for both kinds of rows, so an uninformed head
/// has ln 2 = 0.693.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EpochLoss {
    /// From 1.
    pub epoch: usize,
    /// On the training rows.
    pub train: f64,
    /// On the validation rows.
    pub validation: f64,
}

/// The contents of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PartReport {
    /// Rows.
    pub rows: usize,
    /// Correct ones.
    pub correct: usize,
    /// Different queries.
    pub queries: usize,
}

/// Rows with similar probabilities. For a calibrated head, the share of correct ones equals their probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ReliabilityBin {
    /// Their mean probability, 0..=1.
    pub probability: f64,
    /// The share of correct ones, 0..=1.
    pub correct: f64,
    /// Number of rows, at least 1.
    pub rows: usize,
}

/// How a training went, and how well its head performs.
#[derive(Debug, Clone, PartialEq)]
pub struct MetaReport {
    /// The settings.
    pub config: MetaConfig,
    /// Length of a state.
    pub width: usize,
    /// Digest of all rows, hex.
    pub data_digest: String,
    /// Rows that the weights were fitted to.
    pub train: PartReport,
    /// Rows that decided when to stop, and were used for calibration.
    pub validation: PartReport,
    /// Rows used for measurement only.
    pub test: PartReport,
    /// On the test rows.
    pub auc: AucInterval,
    /// On the test rows, among the samples of each query; `None` if no query has both correct and wrong ones.
    pub auc_within_item: Option<AucInterval>,
    /// Reliability of the probabilities on the test rows, ascending.
    pub reliability: Vec<ReliabilityBin>,
    /// Expected calibration error on the test rows, 0..=1.
    pub calibration_error: f64,
    /// The pass whose weights the head has, counted from 1.
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

    /// Whether the part has only correct or only wrong rows.
    pub(super) fn is_of_one_kind(&self) -> bool {
        self.correct == 0 || self.correct == self.rows
    }
}

// === impl MetaReport ===

impl MetaReport {
    /// What the test rows show, in a sentence or two.
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
