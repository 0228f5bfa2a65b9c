//! The results of an evaluation in one value: `jury eval` writes it as JSON, and creates plots and tables from it.

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

/// Version of the JSON format. Readers reject any other.
pub const FORMAT: u32 = 1;

/// The results of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// What was judged, and by which model.
    pub about: About,
    /// Number of items measured.
    pub n_items: usize,
    /// Distinct queries among them: the units of resampling for all intervals.
    pub n_queries: usize,
    /// Items that are not measured.
    pub left_out: LeftOut,
    /// Accuracy by method and number of samples.
    pub curve: BTreeMap<Method, BTreeMap<usize, Cell>>,
    /// Scalar reward models on the same items, by name.
    #[serde(default)]
    pub scalars: BTreeMap<String, ScalarReport>,
    /// Judges that ignore the content, on the same items.
    pub baselines: BTreeMap<String, Cell>,
    /// Comparisons on the same items. The first was chosen in advance, the others are exploratory.
    pub comparisons: Vec<Comparison>,
    /// The results at the curve's largest k, by source and category.
    pub categories: BTreeMap<String, Category>,
    /// The same by number of responses: `single responses`, `pairs` and `best of n`.
    #[serde(default)]
    pub sizes: BTreeMap<String, Category>,
    /// The figures that the authors of published sets report, by set.
    #[serde(default)]
    pub published: BTreeMap<String, SetReport>,
    /// Stop rules, replayed on the recorded samples: under a plain vote, and under the vote of the best half by meta
    /// score.
    #[serde(default)]
    pub stopping: Vec<Stopped>,
    /// Position bias of the judge, by position shown: mean score minus the mean over all positions.
    pub position_bias: Vec<f64>,
    /// Share of samples whose own text gave no scores.
    pub parse_failed: f64,
    /// Means per item, over all samples drawn.
    pub cost: CostAnItem,
}

/// What was judged, and by which model.
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
    /// The numerics classes of the samples, in alphabetical order: one, unless the evaluation was continued on
    /// another machine.
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
    /// Share of items whose best response is strictly highest; null if no item has several responses.
    pub accuracy: Option<f64>,
    /// Its 95 % interval by a bootstrap of queries.
    pub interval: Option<Interval>,
    /// The same share when ties are broken at random.
    pub accuracy_random_ties: Option<f64>,
    /// Single responses: ROC-AUC of the reward.
    pub auc: Option<f64>,
    /// Its 95 % interval.
    pub auc_interval: Option<Interval>,
    /// Number of items that it is based on.
    pub n_items: usize,
    /// Number of samples that it is based on: k for each item, or as many as it takes to show each of its responses.
    pub n_samples: u64,
}

/// Two points of the curve on the same items.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The first point, for example `meta@8`.
    pub one: String,
    /// The second point.
    pub other: String,
    /// Whether it was chosen before anything was measured.
    pub is_planned: bool,
    /// The result.
    pub paired: Paired,
}

/// A group of items with a common property.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Category {
    /// Number of items.
    pub n_items: usize,
    /// Strict accuracy by method.
    pub accuracy: BTreeMap<Method, Option<f64>>,
    /// By method, in the form of a point of the curve: with intervals, and for single responses with the ROC-AUC.
    #[serde(default)]
    pub cells: BTreeMap<Method, Cell>,
}

/// The cost of an item.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct CostAnItem {
    /// Samples drawn.
    pub samples: f64,
    /// Tokens of distinct prompts.
    pub prompt_tokens: f64,
    /// Tokens generated.
    pub generated_tokens: f64,
    /// Seconds from request to answer, while other items were judged concurrently.
    pub seconds: f64,
    /// Tokens that a separate Meta RM computed, if it ranked after the samples were drawn.
    #[serde(default)]
    pub rank_tokens: f64,
    /// Seconds that it took.
    #[serde(default)]
    pub rank_seconds: f64,
}

// === impl Report ===

impl Report {
    /// The cost of an item under `method` with `k` samples, or as many as it takes to show each response: their share
    /// of all samples. An estimate, because k samples are not k requests; prompts count fully.
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
