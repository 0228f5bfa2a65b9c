//! What a judge loses on: its wrong samples, by themes of the principles that it wrote and by category. Or what a
//! model under test loses on, whose response has the same index in every item: the samples that score another
//! response higher.
//!
//! ```text
//! trajectories + items -> samples that are known to be lost or not
//!      -> groups: the themes of a sample's principles     themes
//!                 the item's source and category
//!      -> loss rate with an interval by query, lift against all samples, the worst samples
//!      -> JSON, Markdown                                  markdown
//! ```
//!
//! A theme is what the judge chose to look at. A high loss rate does not prove that looking at it misleads, because
//! hard items call for other principles than easy ones.

mod markdown;
mod themes;

use std::collections::{BTreeMap, HashMap};

use jury_grm::domain::{Item, Query};
use jury_grm::plan::duplicate_of;
use serde::Serialize;

use crate::stats::{Clusters, Interval};
use crate::trajectories::Trajectory;
use crate::truth::{self, Truth};

pub use markdown::markdown;
pub use themes::themes;

/// Examples per group.
const N_WORST: usize = 3;

/// A separate seed for resampling, so that a report is the same every time.
const BOOTSTRAP_SEED: u64 = 0x7765_616B;

/// Whose losses are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The judge: it loses where it does not score the best response strictly highest, or does not match the label of
    /// a single one.
    Judge,
    /// The model that wrote the response with this index, from 0: it loses where the judge scores another response
    /// strictly higher. The best response need not be known.
    Response(usize),
}

/// What a judge or a model under test loses on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Weakness {
    /// The judge; if there are several, the first.
    pub model: String,
    /// Whose losses are counted.
    pub subject: Subject,
    /// Samples that are known to be lost or not lost.
    pub n_samples: usize,
    /// Number of their queries.
    pub n_queries: usize,
    /// Samples with unknown outcome: without scores, for items without a known best response, or without the
    /// subject's response beside another one.
    pub n_unknown: usize,
    /// Samples that name no principle.
    pub n_without_principles: usize,
    /// Share of lost samples; `None` without samples.
    pub loss: Option<f64>,
    /// Its 95 % interval by query.
    pub interval: Option<Interval>,
    /// Minimum samples and queries for a group to be listed.
    pub least: Least,
    /// By themes of principles, highest lift first.
    pub themes: Vec<Group>,
    /// By source and category, highest lift first.
    pub categories: Vec<Group>,
}

/// The minimum for a group to be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Least {
    /// Samples.
    pub samples: usize,
    /// Queries.
    pub queries: usize,
}

/// Samples with a common property.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// The theme or category.
    pub name: String,
    /// Samples.
    pub n_samples: usize,
    /// Number of their queries.
    pub n_queries: usize,
    /// Share of lost samples, 0..=1.
    pub loss: f64,
    /// Its 95 % interval by query.
    pub interval: Option<Interval>,
    /// `loss` divided by that of all samples; `None` if nothing was lost.
    pub lift: Option<f64>,
    /// Whether the whole interval is above the loss rate of all samples. By chance, this happens for one group in
    /// forty.
    pub stands_out: bool,
    /// Its worst samples, from different items: those in which the best response, or the subject's, fell furthest
    /// behind.
    pub worst: Vec<Example>,
}

/// A lost sample.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Example {
    /// The item.
    pub item_id: String,
    /// The sample.
    pub index: u32,
    /// The last turn of the query.
    pub query: String,
    /// By response, in the caller's order; null for a response that was not shown.
    pub scores: Vec<Option<f64>>,
    /// The best response.
    pub best: Option<usize>,
    /// The known quality of every response.
    pub labels: Option<Vec<f64>>,
    /// How far the score of the best response, or of the subject's, is below the highest one; at least 0.
    pub behind: f64,
    /// The principles that the judge wrote.
    pub principles: String,
    /// Its critique.
    pub critique: String,
}

/// A sample whose outcome is known.
#[derive(Clone, Copy)]
struct Known<'a> {
    trajectory: &'a Trajectory,
    item: &'a Item,
    subject: Subject,
    is_lost: bool,
}

/// What the `subject` of `trajectories` loses on; `items` are the judged items.
pub fn weakness(
    items: &[Item],
    trajectories: &[Trajectory],
    subject: Subject,
    least: Least,
) -> Weakness {
    let by_id: HashMap<&str, &Item> = items.iter().map(|item| (&*item.id, item)).collect();
    let known: Vec<Known<'_>> = trajectories
        .iter()
        .filter_map(|trajectory| {
            let item = by_id.get(&*trajectory.item_id)?;
            let is_lost = match subject {
                Subject::Judge => !trajectory.is_correct?,
                Subject::Response(response) => behind_others(item, trajectory, response)? > 0.0,
            };
            Some(Known { trajectory, item, subject, is_lost })
        })
        .collect();
    let clusters = clusters(&known);
    let loss = clusters.mean();
    let mut by_theme = BTreeMap::<String, Vec<Known<'_>>>::new();
    let mut by_category = BTreeMap::<(&str, Option<&str>), Vec<Known<'_>>>::new();
    let mut n_without_principles = 0;
    for known in &known {
        let themes = themes(&known.trajectory.sample.principles);
        n_without_principles += usize::from(themes.is_empty());
        for theme in themes {
            by_theme.entry(theme).or_default().push(*known);
        }
        let (source, category) = source_and_category(known.trajectory);
        by_category.entry((source, None)).or_default().push(*known);
        if category.is_some() {
            by_category.entry((source, category)).or_default().push(*known);
        }
    }
    // A source whose samples are all in one category is listed once.
    let n_of_source: HashMap<&str, usize> = by_category
        .iter()
        .filter(|((_, category), _)| category.is_none())
        .map(|((source, _), of)| (*source, of.len()))
        .collect();
    by_category.retain(|(source, category), of| {
        category.is_none() || n_of_source.get(source).is_none_or(|n| of.len() < *n)
    });
    let by_category = by_category.into_iter().map(|((source, category), of)| {
        let of_source = source.to_owned();
        (category.map_or(of_source, |category| format!("{source} / {category}")), of)
    });
    let groups = |of: BTreeMap<String, Vec<Known<'_>>>| -> Vec<Group> {
        let groups = of.into_iter().map(|(name, of)| group(name, &of, loss.unwrap_or(0.0)));
        let is_listed =
            |group: &Group| group.n_samples >= least.samples && group.n_queries >= least.queries;
        let mut groups: Vec<Group> = groups.filter(is_listed).collect();
        // Names are in ascending order, and the sort is stable.
        groups.sort_by(|a, b| b.loss.total_cmp(&a.loss));
        groups
    };
    Weakness {
        model: trajectories.first().map(|first| first.drawn_by.model.clone()).unwrap_or_default(),
        subject,
        n_samples: known.len(),
        n_queries: n_queries(&known),
        n_unknown: trajectories.len() - known.len(),
        n_without_principles,
        loss,
        interval: clusters.interval(BOOTSTRAP_SEED),
        least,
        themes: groups(by_theme),
        categories: groups(by_category.collect()),
    }
}

fn group(name: String, known: &[Known<'_>], overall: f64) -> Group {
    let clusters = clusters(known);
    let loss = clusters.mean().unwrap_or(0.0);
    let interval = clusters.interval(BOOTSTRAP_SEED);
    Group {
        name,
        n_samples: known.len(),
        n_queries: n_queries(known),
        loss,
        interval,
        lift: (overall > 0.0).then(|| loss / overall),
        stands_out: interval.is_some_and(|[low, _]| low > overall),
        worst: worst(known),
    }
}

fn worst(known: &[Known<'_>]) -> Vec<Example> {
    let mut lost: Vec<(f64, &Known<'_>)> =
        known.iter().filter(|known| known.is_lost).map(|known| (behind(known), known)).collect();
    let place =
        |known: &Known<'_>| (known.trajectory.item_id.clone(), known.trajectory.sample.spec.index);
    lost.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| place(a.1).cmp(&place(b.1))));
    let mut seen = std::collections::HashSet::new();
    lost.retain(|(_, known)| seen.insert(&*known.trajectory.item_id));
    lost.into_iter().take(N_WORST).map(|(behind, known)| example(known, behind)).collect()
}

fn example(known: &Known<'_>, behind: f64) -> Example {
    let Known { trajectory, item, .. } = *known;
    let sample = &trajectory.sample;
    Example {
        item_id: item.id.clone(),
        index: sample.spec.index,
        query: match &item.query {
            Query::Text(text) => text.clone(),
            Query::Turns(turns) => {
                turns.last().map(|turn| turn.content.clone()).unwrap_or_default()
            }
        },
        scores: scores(item, trajectory),
        best: item.best,
        labels: item.labels.clone(),
        behind,
        principles: sample.principles.clone(),
        critique: sample.critique.clone(),
    }
}

/// By response, in the caller's order.
fn scores(item: &Item, trajectory: &Trajectory) -> Vec<Option<f64>> {
    let sample = &trajectory.sample;
    let mut by_response = vec![None; item.responses.len()];
    let shown = sample.scores().map(|scores| scores.scores.as_slice()).unwrap_or_default();
    for (response, score) in sample.spec.order.iter().zip(shown) {
        if let Some(place) = by_response.get_mut(*response) {
            *place = Some(*score);
        }
    }
    by_response
}

/// How far the response is below the highest score of the others; `None` unless it was shown beside another one. A
/// copy may have been shown in its place.
fn behind_others(item: &Item, trajectory: &Trajectory, response: usize) -> Option<f64> {
    let scores = scores(item, trajectory);
    let shown = *duplicate_of(&item.responses).get(response)?;
    let own = scores[shown]?;
    let others = scores.iter().enumerate().filter(|(other, _)| *other != shown);
    let highest = others.filter_map(|(_, score)| *score).reduce(f64::max)?;
    Some((highest - own).max(0.0))
}

/// How far the best response, or the subject's, is behind; for a single response, the distance between its score and
/// its label.
fn behind(known: &Known<'_>) -> f64 {
    let (item, trajectory) = (known.item, known.trajectory);
    if let Subject::Response(response) = known.subject {
        return behind_others(item, trajectory, response).unwrap_or(0.0);
    }
    let scores = scores(item, trajectory);
    let score_of = |response: usize| scores.get(response).copied().flatten();
    match truth::of(item) {
        Some(Truth::Single(label)) => score_of(0).map_or(0.0, |score| (score - label).abs()),
        Some(Truth::Best(best)) => {
            // A copy of the best response may have been shown in its place.
            let shown = duplicate_of(&item.responses).get(best).copied();
            let of_best = shown.and_then(score_of).unwrap_or(0.0);
            scores.iter().flatten().copied().fold(of_best, f64::max) - of_best
        }
        Some(Truth::Graded) | None => 0.0,
    }
}

fn clusters(known: &[Known<'_>]) -> Clusters {
    let lost = |known: &Known<'_>| {
        (known.trajectory.query_key.clone(), f64::from(u8::from(known.is_lost)))
    };
    Clusters::new(known.iter().map(lost))
}

fn n_queries(known: &[Known<'_>]) -> usize {
    let keys = known.iter().map(|known| &*known.trajectory.query_key);
    keys.collect::<std::collections::HashSet<_>>().len()
}

fn source_and_category(trajectory: &Trajectory) -> (&str, Option<&str>) {
    (trajectory.source.as_deref().unwrap_or("unnamed"), trajectory.category.as_deref())
}

#[cfg(test)]
mod tests;
