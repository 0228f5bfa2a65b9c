//! The published figures by method and number of samples.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Answered, Figure, Set, figures};
use crate::curve::{CurveConfig, rewards_by_draw, samples_of};
use crate::judged::Judged;
use crate::method::Method;

/// The figures of one set.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SetReport {
    /// By method and number of samples; each value is the mean over the draws.
    pub figures: BTreeMap<Method, BTreeMap<usize, Vec<Figure>>>,
    /// Figures that its authors report and that are missing here; empty if there are none.
    pub not_computed: String,
}

/// The figures of every set with items here, by its name.
pub fn curve(items: &[Judged], config: &CurveConfig) -> BTreeMap<String, SetReport> {
    let mut by_set = BTreeMap::<Set, Vec<(usize, &Judged)>>::new();
    for (place, judged) in items.iter().enumerate() {
        if let Some(set) = Set::of(judged.item()) {
            by_set.entry(set).or_default().push((place, judged));
        }
    }
    let methods = config.methods_for(items);
    let report = |(set, items): (Set, Vec<(usize, &Judged)>)| {
        let mut report =
            SetReport { not_computed: set.not_computed().to_owned(), ..SetReport::default() };
        for &method in &methods {
            for &k in config.ks_of(method) {
                let found = at(set, &items, method, k, config);
                if !found.is_empty() {
                    report.figures.entry(method).or_default().insert(k, found);
                }
            }
        }
        (set.name().to_owned(), report)
    };
    by_set.into_iter().map(report).collect()
}

fn at(
    set: Set,
    items: &[(usize, &Judged)],
    method: Method,
    k: usize,
    config: &CurveConfig,
) -> Vec<Figure> {
    let drawn: Vec<(&Judged, Vec<Vec<Option<f64>>>)> = items
        .iter()
        .filter_map(|(place, judged)| {
            let samples = samples_of(judged, method).filter(|samples| k <= samples.len())?;
            Some((*judged, rewards_by_draw(judged, *place, method, &samples, k, config).collect()))
        })
        .collect();
    let n_draws = drawn.iter().map(|(_, rewards)| rewards.len()).max().unwrap_or(0);
    let mut sum: Vec<Figure> = Vec::new();
    for draw in 0..n_draws {
        // Samples that are always used completely are the same in every draw.
        let answered: Vec<Answered<'_>> = drawn
            .iter()
            .map(|(judged, rewards)| Answered {
                item: judged.item(),
                rewards: &rewards[draw % rewards.len()],
            })
            .collect();
        let found = figures(set, &answered);
        if sum.is_empty() {
            sum = found;
        } else {
            sum.iter_mut().zip(found).for_each(|(sum, figure)| sum.value += figure.value);
        }
    }
    sum.iter_mut().for_each(|figure| figure.value /= n_draws as f64);
    sum
}
