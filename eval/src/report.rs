//! What an evaluation found, in one value: `jury eval` writes it as JSON, draws it and sets it as tables from it.

mod build;
mod markdown;
mod plot;
mod tradeoff;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::judged::LeftOut;
use crate::method::Method;
use crate::published::SetReport;
use crate::scalar::ScalarReport;
use crate::stats::{Interval, Paired};
use crate::stopping::Stopped;

pub use build::{Beside, build};
pub use markdown::markdown;
pub use plot::{png, svg};
pub use tradeoff::{tradeoff_png, tradeoff_svg};

/// Version of the shape. Readers refuse another.
pub const FORMAT: u32 = 1;

/// What an evaluation found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// Who judged what.
    pub about: About,
    /// Items that are measured.
    pub n_items: usize,
    /// Distinct queries among them: the units of all intervals.
    pub n_queries: usize,
    /// Items that are not.
    pub left_out: LeftOut,
    /// Accuracy by method and number of samples.
    pub curve: BTreeMap<Method, BTreeMap<usize, Cell>>,
    /// Scalar reward models on the same items, by name.
    #[serde(default)]
    pub scalars: BTreeMap<String, ScalarReport>,
    /// Judges that read nothing, on the same items.
    pub baselines: BTreeMap<String, Cell>,
    /// Comparisons on the same items; the first was named in advance, the others are exploratory.
    pub comparisons: Vec<Comparison>,
    /// The curve's largest k by source and category.
    pub categories: BTreeMap<String, Category>,
    /// The same by number of responses: `single responses`, `pairs` and `best of n`.
    #[serde(default)]
    pub sizes: BTreeMap<String, Category>,
    /// The figures that the authors of published sets report, by set.
    #[serde(default)]
    pub published: BTreeMap<String, SetReport>,
    /// Stop rules, replayed on the samples as they were drawn: under a plain vote, and under that of the best half by meta score.
    #[serde(default)]
    pub stopping: Vec<Stopped>,
    /// How far the judge prefers places, by place shown: mean score minus the mean over all places.
    pub position_bias: Vec<f64>,
    /// Share of samples whose own text gave no scores.
    pub parse_failed: f64,
    /// Means an item, of all samples drawn.
    pub cost: CostAnItem,
}

/// Who judged what.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct About {
    /// The file of items.
    pub items: String,
    /// Digest of its bytes, hex.
    pub items_digest: String,
    /// The judge.
    pub model: Option<String>,
    /// Digest of its file.
    pub model_digest: Option<String>,
    /// The numerics classes of the samples, in alphabetical order: one, unless the evaluation went on elsewhere.
    #[serde(default)]
    pub numerics: Vec<String>,
    /// Digest of template, parser and guide.
    pub method_digest: Option<String>,
    /// Digest of the Meta RM.
    pub meta_digest: Option<String>,
    /// Seed of requests and subsets.
    pub seed: u64,
    /// Subsets behind each point.
    pub n_draws: usize,
}

/// One point of the curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Share of items whose best response is strictly highest; null without items of several responses.
    pub accuracy: Option<f64>,
    /// Its 95 % interval by a bootstrap of queries.
    pub interval: Option<Interval>,
    /// The same share when ties are broken at random.
    pub accuracy_random_ties: Option<f64>,
    /// Single responses: ROC-AUC of the reward.
    pub auc: Option<f64>,
    /// Its 95 % interval.
    pub auc_interval: Option<Interval>,
    /// Items behind it.
    pub n_items: usize,
    /// Samples behind it: k for each item, or as many as show each of its responses.
    pub n_samples: u64,
}

/// Two points of the curve on the same items.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The first, like `meta@8`.
    pub one: String,
    /// The second.
    pub other: String,
    /// Named before anything was measured.
    pub is_planned: bool,
    /// What came out.
    pub paired: Paired,
}

/// Items that have something in common.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Category {
    /// Items of it.
    pub n_items: usize,
    /// Strict accuracy by method.
    pub accuracy: BTreeMap<Method, Option<f64>>,
    /// By method, as a point of the curve: with intervals, and for single responses with the ROC-AUC.
    #[serde(default)]
    pub cells: BTreeMap<Method, Cell>,
}

/// What an item took.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct CostAnItem {
    /// Samples drawn.
    pub samples: f64,
    /// Tokens of distinct prompts.
    pub prompt_tokens: f64,
    /// Tokens generated.
    pub generated_tokens: f64,
    /// Seconds from request to answer, items beside each other included.
    pub seconds: f64,
    /// Tokens that a Meta RM of its own computed, where it ranked after the samples were drawn.
    #[serde(default)]
    pub rank_tokens: f64,
    /// Seconds that it took.
    #[serde(default)]
    pub rank_seconds: f64,
}

// === impl Report ===

impl Report {
    /// What an item takes under `method` with `k` samples, or as many as show each response: its share of all samples. An
    /// estimate, since k samples are not k requests; prompts count whole.
    pub fn cost_at(&self, method: Method, k: usize) -> CostAnItem {
        let cell = self.curve.get(&method).and_then(|by_k| by_k.get(&k));
        let measured = cell.filter(|cell| cell.n_items > 0 && cell.n_samples > 0);
        let samples = measured.map_or(k as f64, |cell| cell.n_samples as f64 / cell.n_items as f64);
        let share = samples / self.cost.samples.max(1.0);
        let rank_share = if method.needs_meta() { share } else { 0.0 };
        CostAnItem {
            samples,
            prompt_tokens: self.cost.prompt_tokens,
            generated_tokens: self.cost.generated_tokens * share,
            seconds: self.cost.seconds * share + self.cost.rank_seconds * rank_share,
            rank_tokens: self.cost.rank_tokens * rank_share,
            rank_seconds: self.cost.rank_seconds * rank_share,
        }
    }
}
