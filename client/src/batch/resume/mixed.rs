//! How a verdict was made, held against how the next ones are to be made.

use jury_grm::domain::{Provenance, ScoreRequest, Voting};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::ServedJudge;

/// What is asked for now, as far as a request says it.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    seed: u64,
    /// The settings as JSON, field by field.
    settings: serde_json::Map<String, Value>,
    voting: Voting,
    k: u32,
    min_samples: Option<u32>,
    hinted: bool,
    /// Only where the request names it.
    model: Option<String>,
}

/// Who judged: rewards of two judges are not comparable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgedBy {
    model: String,
    model_digest: String,
    method_digest: String,
    /// Of the first verdict that a Meta RM ranked.
    meta_digest: Option<String>,
    /// Classes may follow each other in a file: they round in other ways, and are one judge all the same.
    pub(in crate::batch) numerics: Option<String>,
}

/// The provenance of a written verdict; what an older version did not write is not compared.
#[derive(Debug, Default, Deserialize)]
pub(super) struct PastProvenance {
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    model_digest: Option<String>,
    #[serde(default)]
    numerics: Option<String>,
    #[serde(default)]
    method_digest: String,
    #[serde(default)]
    meta_digest: Option<String>,
    #[serde(default)]
    pub(super) item_digest: Option<String>,
    #[serde(default)]
    seed: Option<u64>,
    #[serde(default)]
    settings: serde_json::Map<String, Value>,
    #[serde(default)]
    voting: serde_json::Map<String, Value>,
    /// The outer one is `None` where it was not written.
    #[serde(default, deserialize_with = "written")]
    min_samples: Option<Option<u32>>,
    #[serde(default)]
    hinted: Option<bool>,
}

/// Digits of a digest that a person is shown.
const DIGEST_DIGITS: usize = 8;

fn short(digest: &str) -> String {
    digest.chars().take(DIGEST_DIGITS).collect()
}

// === impl Asked ===

impl Asked {
    pub fn of(request: &ScoreRequest) -> Self {
        Self {
            seed: request.seed,
            settings: fields(&request.settings),
            voting: request.voting.clone(),
            k: request.settings.k,
            min_samples: request.min_samples,
            hinted: request.hinted,
            model: request.model.clone(),
        }
    }

    /// Every field in which a verdict was made in another way, with both values. Panels may have raised its k to `n_planned` samples;
    /// the default of `k_meta` follows that.
    pub(super) fn differ(&self, past: &PastProvenance, n_planned: Option<u32>) -> Vec<String> {
        let mut differences = Vec::new();
        if let Some(seed) = past.seed
            && seed != self.seed
        {
            differences.push(format!("seed was {seed}, is {}", self.seed));
        }
        for (field, now) in &self.settings {
            if let Some(then) = past.settings.get(field)
                && then != now
            {
                differences.push(format!("{field} was {then}, is {now}"));
            }
        }
        for (field, now) in &fields(&self.voting.effective(n_planned.unwrap_or(self.k))) {
            // Where the Meta RM was away, another rule had to do.
            let stood_in = past.stood_in() && (field == "rule" || field == "k_meta");
            if let Some(then) = past.voting.get(field).filter(|_| !stood_in)
                && then != now
            {
                differences.push(format!("{field} was {then}, is {now}"));
            }
        }
        // It decides after which prefix of the samples a stop rule fires.
        if let Some(then) = past.min_samples.filter(|_| past.may_stop())
            && then != self.min_samples
        {
            let text =
                |n: Option<u32>| n.map_or_else(|| "the default".to_owned(), |n| n.to_string());
            let (then, now) = (text(then), text(self.min_samples));
            differences.push(format!("min_samples was {then}, is {now}"));
        }
        if let Some(then) = past.hinted
            && then != self.hinted
        {
            differences.push(format!("hinted was {then}, is {}", self.hinted));
        }
        if let (Some(then), Some(now)) = (&past.model, &self.model)
            && then != now
        {
            differences.push(format!("model was {then}, is {now}"));
        }
        differences
    }
}

/// Distinguishes null from absent.
fn written<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Option<u32>>, D::Error> {
    Option::deserialize(value).map(Some)
}

/// A struct as JSON, field by field.
fn fields(of: &impl Serialize) -> serde_json::Map<String, Value> {
    match serde_json::to_value(of) {
        Ok(Value::Object(fields)) => fields,
        _ => unreachable!("it is a struct of numbers and names"),
    }
}

// === impl JudgedBy ===

impl JudgedBy {
    /// The judge of the earlier of two verdicts, with the Meta RM of the first one that was ranked.
    pub(in crate::batch) fn first(before: Option<Self>, next: Option<Self>) -> Option<Self> {
        let Some(before) = before else { return next };
        let meta_digest = before.meta_digest.or_else(|| next?.meta_digest);
        Some(Self { meta_digest, ..before })
    }

    /// The judge of a verdict; `None` when nobody judged.
    pub(in crate::batch) fn of(provenance: &Provenance) -> Option<Self> {
        Some(Self {
            model: provenance.model.clone()?,
            model_digest: provenance.model_digest.clone()?,
            method_digest: provenance.method_digest.clone(),
            meta_digest: provenance.meta_digest.clone(),
            numerics: provenance.numerics.clone(),
        })
    }

    /// What another judge differs in; `None` when it is the same one.
    pub(in crate::batch) fn differ(&self, other: &Self) -> Option<String> {
        if other.model_digest != self.model_digest {
            return Some(self.other_model(&other.model, &other.model_digest));
        }
        if other.method_digest != self.method_digest {
            let (was, is) = (short(&self.method_digest), short(&other.method_digest));
            return Some(format!("the method (template, parser, guide) was {was}, is {is}"));
        }
        // A verdict that could not be ranked has no digest.
        if let (Some(then), Some(now)) = (&self.meta_digest, &other.meta_digest)
            && then != now
        {
            return Some(format!("the Meta RM was {}, is {}", short(then), short(now)));
        }
        None
    }

    /// What all who could judge now differ in; `None` when one of them is the same judge, or nobody is known.
    pub(in crate::batch) fn differ_from_all(&self, judges: &[ServedJudge<'_>]) -> Option<String> {
        let is_same = |judge: &ServedJudge<'_>| judge.model_digest == self.model_digest;
        let first = judges.first().filter(|_| !judges.iter().any(is_same))?;
        Some(self.other_model(first.model, first.model_digest))
    }

    fn other_model(&self, model: &str, digest: &str) -> String {
        let (was, is) = (short(&self.model_digest), short(digest));
        format!("the model was {} ({was}), is {model} ({is})", self.model)
    }
}

// === impl PastProvenance ===

impl PastProvenance {
    /// True when a Meta RM was asked for and the mean took its place.
    fn stood_in(&self) -> bool {
        let is_there = |field| self.voting.get(field).is_some_and(|value| !value.is_null());
        is_there("meta") && self.voting.get("rule").is_some_and(|rule| rule == "mean")
    }

    /// True when a stop rule could end the drawing.
    fn may_stop(&self) -> bool {
        self.voting.get("stop").is_some_and(|stop| stop != "never")
    }

    pub(super) fn judged_by(&self) -> Option<JudgedBy> {
        Some(JudgedBy {
            model: self.model.clone()?,
            model_digest: self.model_digest.clone()?,
            method_digest: self.method_digest.clone(),
            meta_digest: self.meta_digest.clone(),
            numerics: self.numerics.clone(),
        })
    }
}
