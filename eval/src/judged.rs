//! Items together with their judgements.

use std::collections::{HashMap, HashSet};

use jury_grm::domain::{Item, Sample, ScoreRequest, Settings, Verdict};
use jury_grm::plan::{Fitting, Overflow, Plan, duplicate_of, plan_fitting};

use crate::draws::Orders;
use crate::split::{QueryKey, query_key};
use crate::trajectories::{DrawnBy, Trajectory};
use crate::truth::{self, Truth};

/// One item, its truth, and everything that was drawn for it.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The request: item, settings and seed, which determine the plan.
    pub request: ScoreRequest,
    /// The key by which it is clustered.
    pub key: QueryKey,
    /// The truth to compare rewards with.
    pub truth: Truth,
    /// For each response, the lowest index with the same text.
    pub duplicate_of: Vec<usize>,
    /// The samples in index order, including those without scores.
    pub samples: Vec<Sample>,
    /// The greedy sample, if one was drawn.
    pub greedy: Option<Vec<Sample>>,
    /// The lowest legal score.
    pub lowest_score: f64,
    /// How many samples it takes to show each response.
    pub orders: Orders,
    /// The cost of the verdict.
    pub cost: Cost,
    /// Which model drew the samples, and how.
    pub drawn_by: DrawnBy,
}

/// The cost of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Tokens of its distinct prompts.
    pub prompt_tokens: u64,
    /// Tokens generated.
    pub generated_tokens: u64,
    /// From the request's arrival to its answer, in milliseconds; includes waiting.
    pub total_ms: u64,
}

/// Items that cannot be measured, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct LeftOut {
    /// The best response is unknown.
    pub without_truth: usize,
    /// Not judged yet.
    pub not_judged: usize,
    /// Judged, but some samples were not drawn because of workers, budget or context, which is not a fault of the
    /// measured method.
    pub not_drawn: usize,
}

/// Joins items and verdicts by id, ignoring verdicts of another item with the same id. `greedy` may be missing for
/// any item.
pub fn join(
    items: Vec<Item>,
    verdicts: Vec<Verdict>,
    greedy: Vec<Verdict>,
) -> (Vec<Judged>, LeftOut) {
    let (mut verdicts, mut greedy) = (by_id(verdicts), by_id(greedy));
    let mut left_out = LeftOut::default();
    let mut judged = Vec::with_capacity(items.len());
    for item in items {
        let Some(truth) = truth::of(&item) else {
            left_out.without_truth += 1;
            continue;
        };
        let Some(verdict) = take_of(&mut verdicts, &item) else {
            left_out.not_judged += 1;
            continue;
        };
        if !is_drawn(&verdict) {
            left_out.not_drawn += 1;
            continue;
        }
        let request = request(item, &verdict);
        let samples = verdict.samples.as_deref().unwrap_or_default();
        let greedy = take_of(&mut greedy, &request.item)
            .filter(is_drawn)
            .and_then(|verdict| verdict.samples);
        judged.push(Judged {
            key: query_key(&request.item),
            truth,
            duplicate_of: duplicate_of(&request.item.responses),
            orders: Orders::of(samples),
            lowest_score: f64::from(verdict.provenance.settings.scale.min),
            cost: Cost {
                prompt_tokens: verdict.usage.prompt_tokens,
                generated_tokens: verdict.usage.generated_tokens,
                total_ms: verdict.run.total_ms,
            },
            drawn_by: drawn_by(&verdict),
            samples: verdict.samples.unwrap_or_default(),
            greedy,
            request,
        });
    }
    (judged, left_out)
}

/// Ids of verdicts that belong to none of the items.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Strangers {
    /// Ids of items for which the only verdicts are of another item with the same id.
    pub of_others: Vec<String>,
    /// Ids that no item has.
    pub unknown: Vec<String>,
}

/// The verdicts that belong to `items` ([`Verdict::is_of`]), the last one if an item has several; and the ids of the
/// others.
pub fn of_items(items: &[Item], verdicts: Vec<Verdict>) -> (Vec<Verdict>, Strangers) {
    let by_id: HashMap<&str, &Item> = items.iter().map(|item| (&*item.id, item)).collect();
    let mut last = HashMap::new();
    for (place, verdict) in verdicts.iter().enumerate() {
        if by_id.get(&*verdict.item_id).is_some_and(|item| verdict.is_of(item)) {
            last.insert(verdict.item_id.clone(), place);
        }
    }
    let (mut kept, mut strangers) = (Vec::with_capacity(last.len()), Strangers::default());
    for (place, verdict) in verdicts.into_iter().enumerate() {
        match last.get(&verdict.item_id) {
            Some(of_item) if *of_item == place => kept.push(verdict),
            Some(_) => {}
            None if by_id.contains_key(&*verdict.item_id) => {
                strangers.of_others.push(verdict.item_id);
            }
            None => strangers.unknown.push(verdict.item_id),
        }
    }
    for ids in [&mut strangers.of_others, &mut strangers.unknown] {
        let mut seen = HashSet::new();
        ids.retain(|id| seen.insert(id.clone()));
    }
    (kept, strangers)
}

fn by_id(verdicts: Vec<Verdict>) -> HashMap<String, Vec<Verdict>> {
    let mut by_id = HashMap::<String, Vec<Verdict>>::new();
    for verdict in verdicts {
        by_id.entry(verdict.item_id.clone()).or_default().push(verdict);
    }
    by_id
}

/// The verdict of an item; if there are several, the last one, as above.
fn take_of(verdicts: &mut HashMap<String, Vec<Verdict>>, item: &Item) -> Option<Verdict> {
    let same_id = verdicts.remove(&item.id)?;
    same_id.into_iter().rev().find(|verdict| verdict.is_of(item))
}

impl Judged {
    /// The item.
    pub fn item(&self) -> &Item {
        &self.request.item
    }

    /// The plan of `request`, which has this item, as it was drawn: a response that no sample shows fitted no prompt.
    pub(crate) fn plan(&self, request: &ScoreRequest) -> Plan {
        let is_shown = |response: &usize| {
            self.samples.iter().any(|sample| sample.spec.order.contains(response))
        };
        let distinct = (0..self.duplicate_of.len())
            .filter(|&response| self.duplicate_of[response] == response);
        let not_shown = distinct.filter(|response| !is_shown(response));
        let apart = not_shown.map(|response| (response, Overflow::default())).collect();
        plan_fitting(request, &Fitting { panel: None, apart })
    }

    /// Its samples as rows of a file.
    pub fn trajectories(&self) -> impl Iterator<Item = Trajectory> {
        let scale = self.request.settings.scale;
        self.samples.iter().map(move |sample| Trajectory {
            is_correct: truth::is_correct(self.truth, &self.duplicate_of, scale, sample),
            ..row(self.item(), &self.key, sample.clone(), self.drawn_by.clone())
        })
    }
}

/// The samples of a verdict as rows of a file; empty if the verdict was requested without samples. If the best
/// response of the item is unknown, no sample counts as right or wrong.
pub fn trajectories(item: &Item, verdict: &Verdict) -> Vec<Trajectory> {
    let (truth, key) = (truth::of(item), query_key(item));
    let (drawn_by, duplicate_of) = (drawn_by(verdict), duplicate_of(&item.responses));
    let scale = verdict.provenance.settings.scale;
    let is_correct = |sample| truth::is_correct(truth?, &duplicate_of, scale, sample);
    let samples = verdict.samples.iter().flatten();
    let rows = samples.map(|sample| Trajectory {
        is_correct: is_correct(sample),
        ..row(item, &key, sample.clone(), drawn_by.clone())
    });
    rows.collect()
}

/// A row whose correctness is not set yet.
fn row(item: &Item, key: &QueryKey, sample: Sample, drawn_by: DrawnBy) -> Trajectory {
    Trajectory {
        item_id: item.id.clone(),
        query_key: key.to_string(),
        source: item.source.clone(),
        category: item.category.clone(),
        sample,
        is_correct: None,
        drawn_by,
    }
}

/// The request whose plan was drawn: including the panels that the model's context may have forced.
fn request(item: Item, verdict: &Verdict) -> ScoreRequest {
    let asked = &verdict.provenance.settings;
    let settings = Settings {
        k: verdict.counts.asked.saturating_sub(verdict.counts.spare),
        max_panel: verdict.provenance.forced_panel.unwrap_or(asked.max_panel),
        ..asked.clone()
    };
    ScoreRequest { settings, seed: verdict.provenance.seed, ..ScoreRequest::new(item) }
}

/// Which model drew a verdict's samples, and how.
pub fn drawn_by(verdict: &Verdict) -> DrawnBy {
    let provenance = &verdict.provenance;
    DrawnBy {
        model: provenance.model.clone().unwrap_or_default(),
        model_digest: provenance.model_digest.clone().unwrap_or_default(),
        numerics: provenance.numerics.clone().unwrap_or_default(),
        method_digest: provenance.method_digest.clone(),
        settings: serde_json::to_string(&provenance.settings).unwrap_or_default(),
        meta_digest: provenance.meta_digest.clone(),
        meta_numerics: provenance.meta_numerics.clone(),
    }
}

/// True if every planned sample ran to its own end, so that anything missing is due to the model itself. The Meta RM
/// does not count, because other methods do not need one.
fn is_drawn(verdict: &Verdict) -> bool {
    let counts = &verdict.counts;
    let undrawn = counts.too_long + counts.timed_out + counts.failed + counts.not_needed;
    let has_samples = verdict.samples.as_ref().is_some_and(|samples| !samples.is_empty());
    has_samples && undrawn == 0
}
