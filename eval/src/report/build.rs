//! From points to a report.

use std::collections::{BTreeMap, BTreeSet};

use super::{About, Category, Cell, Comparison, CostAnItem, FORMAT, Report};
use crate::baseline::Baseline;
use crate::curve::{self, CurveConfig, Point, Points};
use crate::judged::{Judged, LeftOut};
use crate::method::Method;
use crate::scalar::{Scalar, ScalarReport};
use crate::{published, stopping};

/// The comparison chosen in advance: does ranking help at eight samples?
const PLANNED: ((Method, usize), (Method, usize)) = ((Method::Meta, 8), (Method::Vote, 8));

/// Results of models other than the judge.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Beside {
    /// Scalar reward models that judged the same items.
    pub scalars: Vec<Scalar>,
    /// Tokens and seconds per item for ranking the samples.
    pub ranking: (f64, f64),
}

/// Builds the report that `config` asks for from `items`.
pub fn build(
    about: About,
    items: &[Judged],
    left_out: LeftOut,
    config: &CurveConfig,
    beside: &Beside,
) -> Report {
    let scalars: Vec<(&Scalar, Point)> =
        beside.scalars.iter().map(|scalar| (scalar, scalar.point(items))).collect();
    let points = &curve::points(items, config);
    let mut curve = BTreeMap::<Method, BTreeMap<usize, Cell>>::new();
    for ((method, k), point) in points {
        curve.entry(*method).or_default().insert(*k, cell(items, point));
    }
    let baselines = Baseline::ALL.map(|baseline| {
        (baseline.name().to_owned(), cell(items, &curve::baseline(items, baseline)))
    });
    Report {
        format: FORMAT,
        about,
        n_items: items.len(),
        n_queries: items.iter().map(|judged| judged.key).collect::<BTreeSet<_>>().len(),
        left_out,
        curve,
        baselines: baselines.into(),
        comparisons: [comparisons(items, points), against_scalars(items, points, &scalars)]
            .concat(),
        scalars: scalars.iter().map(|(scalar, point)| of_scalar(items, scalar, point)).collect(),
        categories: groups(items, points, names_of),
        sizes: groups(items, points, size_of),
        published: published::curve(items, config),
        stopping: stopping::compare(items),
        position_bias: position_bias(items),
        parse_failed: parse_failed(items),
        cost: CostAnItem {
            rank_tokens: beside.ranking.0,
            rank_seconds: beside.ranking.1,
            ..cost(items)
        },
    }
}

fn cell(items: &[Judged], point: &Point) -> Cell {
    cell_of(items, point, |_| true)
}

/// The cell over the items for which `is_in` is true.
fn cell_of(items: &[Judged], point: &Point, is_in: impl Fn(&Judged) -> bool) -> Cell {
    let summary = curve::summary(items, point, &is_in);
    let places = || {
        let places = point.credits.keys().chain(point.singles.keys());
        places.filter(|place| is_in(&items[**place]))
    };
    Cell {
        accuracy: summary.accuracy,
        interval: summary.interval,
        accuracy_random_ties: summary.accuracy_random_ties,
        auc: summary.auc.map(|(area, _)| area),
        auc_interval: summary.auc.and_then(|(_, interval)| interval),
        n_items: places().count(),
        n_samples: places().filter_map(|place| point.n_samples.get(place)).sum(),
    }
}

/// The planned comparison first, and the ranked vote against the plain vote of all samples. Then, at every k: each
/// method against the plain vote, and the full panel weighted by meta scores against the best half.
fn comparisons(items: &[Judged], points: &Points) -> Vec<Comparison> {
    let largest = points.keys().map(|(_, k)| *k).max().unwrap_or(1);
    let mut pairs = vec![PLANNED, (PLANNED.0, (Method::Vote, largest))];
    for &(method, k) in points.keys() {
        let vote_k = if method == Method::Greedy { 1 } else { k };
        if method != Method::Vote {
            pairs.push(((method, k), (Method::Vote, vote_k)));
        }
        if method == Method::Weighted {
            pairs.push(((method, k), (Method::Meta, k)));
        }
    }
    let mut seen = BTreeSet::new();
    pairs.retain(|pair| pair.0 != pair.1 && seen.insert(*pair));
    let name = |(method, k): (Method, usize)| format!("{method}@{k}");
    let compared = pairs.into_iter().filter_map(|(one, other)| {
        let paired = curve::paired(items, points.get(&one)?, points.get(&other)?)?;
        let is_planned = (one, other) == PLANNED;
        Some(Comparison { one: name(one), other: name(other), is_planned, paired })
    });
    compared.collect()
}

/// Each scalar model against the plain vote of all samples.
fn against_scalars(
    items: &[Judged],
    points: &Points,
    scalars: &[(&Scalar, Point)],
) -> Vec<Comparison> {
    let mut votes = points.iter().filter(|((method, _), _)| *method == Method::Vote);
    let Some(((_, k), vote)) = votes.next_back() else { return Vec::new() };
    let against = |(scalar, point): &(&Scalar, Point)| {
        let paired = curve::paired(items, point, vote)?;
        let (one, other) = (scalar.name.clone(), format!("vote@{k}"));
        Some(Comparison { one, other, is_planned: false, paired })
    };
    scalars.iter().filter_map(against).collect()
}

fn of_scalar(items: &[Judged], scalar: &Scalar, point: &Point) -> (String, ScalarReport) {
    let report = ScalarReport {
        model_digest: scalar.model_digest.clone(),
        cell: cell(items, point),
        published: scalar.published(items),
        tokens: scalar.tokens,
        seconds: scalar.seconds,
    };
    (scalar.name.clone(), report)
}

/// Results of groups of items at the largest k of each method. An item belongs to every group that `names_of` returns
/// for it.
fn groups<N: IntoIterator<Item = String>>(
    items: &[Judged],
    points: &Points,
    names_of: impl Fn(&Judged) -> N,
) -> BTreeMap<String, Category> {
    let names: BTreeSet<String> = items.iter().flat_map(&names_of).collect();
    let mut largest = BTreeMap::<Method, &Point>::new();
    // Keys ascend, so the largest k of each method stays.
    largest.extend(points.iter().map(|((method, _), point)| (*method, point)));
    let group = |name: String| {
        let is_in = |judged: &Judged| names_of(judged).into_iter().any(|of_item| of_item == name);
        let cells: BTreeMap<Method, Cell> = largest
            .iter()
            .map(|(method, point)| (*method, cell_of(items, point, is_in)))
            .filter(|(_, cell)| cell.n_items > 0)
            .collect();
        let accuracy = largest
            .keys()
            .map(|method| (*method, cells.get(method).and_then(|cell| cell.accuracy)));
        let accuracy = accuracy.collect();
        let n_items = items.iter().filter(|judged| is_in(judged)).count();
        (name, Category { n_items, accuracy, cells })
    };
    names.into_iter().map(group).collect()
}

/// The class of the item by its number of responses: the more there are, the less a guess earns.
fn size_of(judged: &Judged) -> Option<String> {
    let name = match judged.item().responses.len() {
        1 => "single responses",
        2 => "pairs",
        _ => "best of n",
    };
    Some(name.to_owned())
}

/// An item is counted under its source, and under its category within that source.
fn names_of(judged: &Judged) -> impl Iterator<Item = String> + use<> {
    let source = judged.item().source.clone().unwrap_or_else(|| "unnamed".to_owned());
    let category = judged.item().category.as_ref().map(|category| format!("{source} / {category}"));
    std::iter::once(source).chain(category)
}

/// Mean score by position shown, minus the mean over all positions. A balanced plan shows every response equally
/// often in each position, so any remaining difference is the judge's position bias.
fn position_bias(items: &[Judged]) -> Vec<f64> {
    let mut sums = Vec::<(f64, u32)>::new();
    for sample in items.iter().flat_map(|judged| &judged.samples) {
        let Some(scores) = sample.scores() else { continue };
        let mean = scores.scores.iter().sum::<f64>() / scores.scores.len().max(1) as f64;
        for (place, score) in scores.scores.iter().enumerate() {
            if sums.len() <= place {
                sums.push((0.0, 0));
            }
            sums[place].0 += score - mean;
            sums[place].1 += 1;
        }
    }
    sums.into_iter().map(|(sum, n)| sum / f64::from(n)).collect()
}

fn parse_failed(items: &[Judged]) -> f64 {
    let samples = || items.iter().flat_map(|judged| &judged.samples);
    let failed = samples().filter(|sample| sample.scores().is_none()).count();
    failed as f64 / samples().count().max(1) as f64
}

fn cost(items: &[Judged]) -> CostAnItem {
    let n = items.len().max(1) as f64;
    let mean = |of: fn(&Judged) -> u64| items.iter().map(of).sum::<u64>() as f64 / n;
    CostAnItem {
        samples: mean(|judged| judged.samples.len() as u64),
        prompt_tokens: mean(|judged| judged.cost.prompt_tokens),
        generated_tokens: mean(|judged| judged.cost.generated_tokens),
        seconds: mean(|judged| judged.cost.total_ms) / 1000.0,
        ..CostAnItem::default()
    }
}

#[cfg(test)]
mod tests;
