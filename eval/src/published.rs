//! Published preference sets: their files as items, and the figures that their authors report.
//!
//! ```text
//! file (JSON, JSON lines, Parquet) -> records -> set by its fields -> items     records, detect, read
//! items + rewards -> the set's own figures, by method and k                      figures, curve
//! ```
//!
//! The fields are documented in the sets' data cards and in their authors' evaluation code. An item keeps its set as
//! `source` and its subset as `category`, and the figures need nothing else: hand-written items with the same values
//! get them too.

mod curve;
mod detect;
mod figures;
mod read;
mod records;

use jury_grm::domain::Item;

pub use curve::{SetReport, curve};
pub use detect::{Format, FormatError, format_of};
pub use figures::{Answered, Figure, figures};
pub use read::{RecordError, items};
pub use records::{Record, RecordsError, records};

/// A published set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Set {
    /// RewardBench (Lambert et al., 2024), including its prior sets.
    RewardBench,
    /// RewardBench 2 (Malik et al., 2025).
    RewardBench2,
    /// RM-Bench (Liu et al., 2024).
    RmBench,
    /// RMB (Zhou et al., 2024).
    Rmb,
    /// Preference Proxy Evaluations (Frick et al., 2024).
    Ppe,
    /// JudgeBench (Tan et al., 2024).
    JudgeBench,
    /// LLMBar (Zeng et al., 2023).
    LlmBar,
    /// ReaLMistake (Kamoi et al., 2024).
    RealMistake,
}

// === impl Set ===

impl Set {
    /// All sets.
    pub const ALL: [Self; 8] = [
        Self::RewardBench,
        Self::RewardBench2,
        Self::RmBench,
        Self::Rmb,
        Self::Ppe,
        Self::JudgeBench,
        Self::LlmBar,
        Self::RealMistake,
    ];

    /// Its name in options, and as the `source` of its items.
    pub fn name(self) -> &'static str {
        match self {
            Self::RewardBench => "rewardbench",
            Self::RewardBench2 => "rewardbench2",
            Self::RmBench => "rm-bench",
            Self::Rmb => "rmb",
            Self::Ppe => "ppe",
            Self::JudgeBench => "judgebench",
            Self::LlmBar => "llmbar",
            Self::RealMistake => "realmistake",
        }
    }

    /// The set that an item belongs to.
    pub fn of(item: &Item) -> Option<Self> {
        let source = item.source.as_deref()?;
        Self::ALL.into_iter().find(|set| set.name() == source)
    }

    /// Figures that its authors report and [`figures`] does not compute.
    pub fn not_computed(self) -> &'static str {
        match self {
            Self::RewardBench | Self::RewardBench2 | Self::RmBench | Self::LlmBar => "",
            Self::Rmb => "the correlation with downstream tasks",
            Self::Ppe => {
                "best-of-k curves and ROC-AUC of the correctness sets; rank correlations, separability and calibration of \
                 the human preferences"
            }
            Self::JudgeBench => {
                "the share of pairs on which both orders agree: orders are balanced within the vote"
            }
            Self::RealMistake => {
                "precision, recall and F1 of error detection, which need a threshold: the reward's ROC-AUC is told instead"
            }
        }
    }
}

/// Whether an item has several right responses that its set's figures use one by one, so that no single one is best:
/// RewardBench 2's Ties, and RM-Bench.
pub fn is_graded(item: &Item) -> bool {
    let is_one = match Set::of(item) {
        Some(Set::RmBench) => true,
        Some(Set::RewardBench2) => item.category.as_deref() == Some(figures::TIES),
        _ => false,
    };
    let labels = item.labels.as_deref().unwrap_or_default();
    is_one && item.best.is_none() && labels.iter().any(|label| *label > 0.0)
}

#[cfg(test)]
mod tests;
