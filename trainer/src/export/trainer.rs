//! The supported trainers: their rows, reward functions and launch files.

use std::fmt;

use serde_json::{Value, json};

use crate::chat::Turn;

/// A supported trainer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trainer {
    /// Hugging Face's TRL.
    Trl,
    /// verl.
    Verl,
    /// OpenRLHF.
    OpenRlhf,
}

// === impl Trainer ===

impl Trainer {
    /// `reward.py`: the rule in the form that this trainer calls.
    pub(super) fn reward(self) -> &'static str {
        match self {
            Trainer::Trl => include_str!("reward_trl.py"),
            Trainer::Verl => include_str!("reward_verl.py"),
            Trainer::OpenRlhf => include_str!("reward_openrlhf.py"),
        }
    }

    /// The launch file: its name, and its text with placeholders between `@`.
    pub(super) fn launch(self) -> (&'static str, &'static str) {
        match self {
            Trainer::Trl => ("train.py", include_str!("trl.py")),
            Trainer::Verl => ("train.sh", include_str!("verl.sh")),
            Trainer::OpenRlhf => ("train.sh", include_str!("openrlhf.sh")),
        }
    }

    /// The fewest rows that it trains on: verl and OpenRLHF take whole batches from a pass over the data, and divide by
    /// their number. TRL's launch file says so itself, once it has left out what is too long.
    pub(super) fn fewest_rows(self) -> usize {
        match self {
            Trainer::Trl => 1,
            Trainer::Verl | Trainer::OpenRlhf => super::GROUPS,
        }
    }

    /// A row of data: an item in one order.
    pub(super) fn row(self, prompt: &[Turn], item: &str, order: &[usize]) -> Value {
        let truth = || json!({"item": item, "order": order}).to_string();
        match self {
            Trainer::Trl => {
                json!({"prompt": prompt, "item": item, "order": json!(order).to_string()})
            }
            Trainer::Verl => json!({
                "data_source": "jury",
                "prompt": prompt,
                "ability": "judging",
                "reward_model": {"style": "rule", "ground_truth": truth()},
                "extra_info": {"split": "train"},
            }),
            Trainer::OpenRlhf => json!({"messages": prompt, "label": truth()}),
        }
    }
}

impl fmt::Display for Trainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Trainer::Trl => "TRL",
            Trainer::Verl => "verl",
            Trainer::OpenRlhf => "OpenRLHF",
        })
    }
}
