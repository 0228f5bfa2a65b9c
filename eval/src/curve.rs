//! Accuracy by method and k.

use std::collections::BTreeMap;

use jury_grm::domain::Sample;

use crate::baseline::Baseline;
use crate::credit::{self, Credit};
use crate::draws::subsets;
use crate::judged::Judged;
use crate::method::Method;
use crate::stats::{Clusters, Interval, Row, auc_of_clusters};
use crate::truth::Truth;

/// Separate seeds for resampling and drawing, so that adding a method does not change the numbers of the others.
const BOOTSTRAP_SEED: u64 = 0x6A75_7279;

/// What to compute.
#[derive(Debug, Clone, PartialEq)]
pub struct CurveConfig {
    /// The values of k.
    pub ks: Vec<usize>,
    /// The methods.
    pub methods: Vec<Method>,
    /// Subsets per k over which an item's result is averaged.
    pub n_draws: usize,
    /// Seed of the subsets.
    pub seed: u64,
}

/// One method at one k, with the result of each item.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Point {
    /// Credits by index of the item, for items with several responses.
    pub credits: BTreeMap<usize, Credit>,
    /// Rewards over the draws by index of the item, for items with a single response that has a reward.
    pub singles: BTreeMap<usize, Rewards>,
    /// Number of samples of each draw, by index of the item.
    pub n_samples: BTreeMap<usize, u64>,
}

/// The rewards of a single response, each with its share of the draws; draws without a reward contribute none.
pub type Rewards = Vec<(f64, f64)>;

/// All points of the curve. A method whose samples lack what it needs (meta scores, distributions, a greedy
/// sample) on an item has no result for it.
pub type Points = BTreeMap<(Method, usize), Point>;

/// Summary of a point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Mean strict credit; `None` if no item has several responses.
    pub accuracy: Option<f64>,
    /// Its 95 % interval, clustered by query.
    pub interval: Option<Interval>,
    /// Mean credit with ties broken at random.
    pub accuracy_random_ties: Option<f64>,
    /// Over single responses: area and interval.
    pub auc: Option<(f64, Option<Interval>)>,
}

// === impl CurveConfig ===

impl CurveConfig {
    /// The methods whose inputs are present in some sample. A ranking method needs only one meta score anywhere,
    /// because items whose samples all failed do not count as lacking one.
    pub(crate) fn methods_for(&self, items: &[Judged]) -> Vec<Method> {
        let samples = || items.iter().flat_map(|judged| &judged.samples);
        let has_meta = samples().any(|sample| sample.meta_score.is_some());
        let mut scored = samples().filter_map(Sample::scores);
        let has_distributions = scored.any(|scores| scores.score_distribution.is_some());
        let applies = |method: &Method| {
            (has_meta || !method.needs_meta())
                && (has_distributions || !method.needs_distributions())
        };
        self.methods.iter().copied().filter(applies).collect()
    }

    /// The values of k at which a method is measured.
    pub(crate) fn ks_of(&self, method: Method) -> &[usize] {
        if method == Method::Greedy { &[1] } else { &self.ks }
    }
}

/// Computes every point.
pub fn points(items: &[Judged], config: &CurveConfig) -> Points {
    let mut points = Points::new();
    for method in config.methods_for(items) {
        let ks = config.ks_of(method);
        for (place, judged) in items.iter().enumerate() {
            let Some(samples) = samples_of(judged, method) else { continue };
            for &k in ks.iter().filter(|k| **k <= samples.len()) {
                let point = points.entry((method, k)).or_default();
                add(point, place, judged, method, &samples, k, config);
            }
        }
    }
    points
}

/// The summary of a point over the items that `is_wanted` selects.
pub fn summary(items: &[Judged], point: &Point, is_wanted: impl Fn(&Judged) -> bool) -> Summary {
    let wanted = |place: usize| Some(&items[place]).filter(|judged| is_wanted(judged));
    let clusters = |of: fn(&Credit) -> f64| {
        let values = point.credits.iter();
        Clusters::new(values.filter_map(|(place, credit)| Some((wanted(*place)?.key, of(credit)))))
    };
    let strict = clusters(|credit| credit.strict);
    let middles = Middles::of(items);
    // Draws of two items are independent, so each draw of a good one is compared with each draw of a bad one: this
    // gives the mean of the draws' areas, with less noise.
    let singles = point.singles.iter().flat_map(|(place, rewards)| {
        let judged = wanted(*place)?;
        let good = middles.is_good(judged)?;
        Some(rewards.iter().map(move |&(score, weight)| (judged.key, Row { score, weight, good })))
    });
    let singles = singles.flatten();
    Summary {
        accuracy: strict.mean(),
        interval: strict.interval(BOOTSTRAP_SEED),
        accuracy_random_ties: clusters(|credit| credit.random_ties).mean(),
        auc: auc_of_clusters(singles, BOOTSTRAP_SEED),
    }
}

/// The difference in strict credit of two points, over the items that both have.
pub fn paired(items: &[Judged], one: &Point, other: &Point) -> Option<crate::stats::Paired> {
    let both = one.credits.iter().filter_map(|(place, credit)| {
        let other = other.credits.get(place)?;
        Some((items[*place].key, credit.strict - other.strict))
    });
    Clusters::new(both).paired(BOOTSTRAP_SEED)
}

/// The result of a content-blind baseline on the same items.
pub fn baseline(items: &[Judged], baseline: Baseline) -> Point {
    let credit = |(place, judged): (usize, &Judged)| match judged.truth {
        Truth::Best(best) => Some((place, baseline.credit(judged.item(), best))),
        Truth::Single(_) | Truth::Graded => None,
    };
    Point { credits: items.iter().enumerate().filter_map(credit).collect(), ..Point::default() }
}

// === private ===

/// The samples that `method` reads, or `None` if they lack what it needs.
pub(crate) fn samples_of(judged: &Judged, method: Method) -> Option<Vec<Sample>> {
    let samples = match method {
        Method::Greedy => judged.greedy.as_ref()?,
        _ => &judged.samples,
    };
    let scored = || samples.iter().filter_map(|sample| Some((sample, sample.scores()?)));
    let lacks_meta = method.needs_meta() && scored().any(|(sample, _)| sample.meta_score.is_none());
    let lacks_distributions = method.needs_distributions()
        && scored().any(|(_, scores)| scores.score_distribution.is_none());
    (!lacks_meta && !lacks_distributions).then(|| method.prepare(samples, judged.lowest_score))
}

/// The size of a draw when `k` of `samples` are requested: at least enough to show each response. Greedy samples are
/// always used completely.
fn size_of_draw(judged: &Judged, method: Method, samples: &[Sample], k: usize) -> usize {
    let size = if method == Method::Greedy { samples.len() } else { judged.orders.at_least(k) };
    size.min(samples.len())
}

/// The rewards of the item at index `place` under each draw of `k` of the prepared `samples`. Every method uses the
/// same draws.
pub(crate) fn rewards_by_draw<'a>(
    judged: &'a Judged,
    place: usize,
    method: Method,
    samples: &'a [Sample],
    k: usize,
    config: &CurveConfig,
) -> impl Iterator<Item = Vec<Option<f64>>> + use<'a> {
    let seed = config.seed ^ (place as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ k as u64;
    let size = size_of_draw(judged, method, samples, k);
    let draws = subsets(samples.len(), size, judged.orders, config.n_draws, seed);
    draws.into_iter().map(move |subset| {
        let drawn: Vec<Sample> = subset.iter().map(|index| samples[*index].clone()).collect();
        method.rewards(&judged.duplicate_of, &drawn, size)
    })
}

fn add(
    point: &mut Point,
    place: usize,
    judged: &Judged,
    method: Method,
    samples: &[Sample],
    k: usize,
    config: &CurveConfig,
) {
    let rewards = rewards_by_draw(judged, place, method, samples, k, config);
    match judged.truth {
        Truth::Best(best) => {
            let credit = credit::mean(
                rewards.map(|rewards| credit::of(&rewards, &judged.duplicate_of, best)),
            );
            point.credits.insert(place, credit);
        }
        Truth::Single(_) => {
            let rewards: Vec<Option<f64>> =
                rewards.map(|rewards| rewards.first().copied().flatten()).collect();
            let share = 1.0 / rewards.len() as f64;
            let rewards: Rewards =
                rewards.into_iter().flatten().map(|reward| (reward, share)).collect();
            if rewards.is_empty() {
                return;
            }
            point.singles.insert(place, rewards);
        }
        Truth::Graded => return,
    }
    point.n_samples.insert(place, size_of_draw(judged, method, samples, k) as u64);
}

/// The midpoint between the lowest and the highest label of single responses, because labels may be 0 and 1 or on a
/// scale. Each source has its own scale; if all labels of a source are equal, the midpoint over all sources is used.
struct Middles<'a> {
    of_source: BTreeMap<Option<&'a str>, Range>,
    of_all: Range,
}

/// The lowest and the highest label.
type Range = (f64, f64);

// === impl Middles ===

impl<'a> Middles<'a> {
    fn of(items: &'a [Judged]) -> Self {
        const NOTHING: Range = (f64::INFINITY, f64::NEG_INFINITY);
        let mut middles = Self { of_source: BTreeMap::new(), of_all: NOTHING };
        for judged in items {
            let Truth::Single(label) = judged.truth else { continue };
            let source = judged.item().source.as_deref();
            let of_source = middles.of_source.entry(source).or_insert(NOTHING);
            for (low, high) in [of_source, &mut middles.of_all] {
                (*low, *high) = (low.min(label), high.max(label));
            }
        }
        middles
    }

    /// Whether a single response is good.
    fn is_good(&self, judged: &Judged) -> Option<bool> {
        let Truth::Single(label) = judged.truth else { return None };
        let of_source = self.of_source.get(&judged.item().source.as_deref());
        let has_scale = |(low, high): &&Range| low < high;
        let (low, high) = of_source.filter(has_scale).unwrap_or(&self.of_all);
        Some(label > f64::midpoint(*low, *high))
    }
}

#[cfg(test)]
pub(crate) mod tests;
