//! The selection of rejective fine-tuning (paper, section 3.2): which drawn samples are trained on, and why the
//! others are not.
//!
//! ```text
//! an item's n unhinted samples    all right: the item is too easy, all are dropped      else: the right ones are kept
//! its hinted sample               kept if it is right
//! ```
//!
//! `batches` says what to draw, `sift` decides the fate of every sample, `kept` turns the kept samples into data.
//!
//! A sample without scores of its own is not right. In addition to the paper's rules: a critique that was cut off at
//! its token limit teaches the model to stop mid-critique, so such samples are dropped as well, unless they are
//! wanted.

mod batches;
mod kept;
mod table;

use std::collections::BTreeMap;

use jury_eval::truth::{self, Truth};
use jury_grm::correct::is_one_text;
use jury_grm::domain::{FailureKind, Item, Sample, Scale};
use jury_grm::plan::duplicate_of;

pub use batches::{Batch, batches};
pub use kept::{Drawn, Kept, KeptSample, keep};
pub use table::Table;

/// The samples of one item.
#[derive(Debug, Clone, Copy)]
pub struct Draws<'a> {
    /// The judged item.
    pub item: &'a Item,
    /// Its known answer.
    pub truth: Truth,
    /// The scale of the scores: 0..1 for single responses.
    pub scale: Scale,
    /// Samples without a hint, in index order.
    pub unhinted: &'a [Sample],
    /// Samples whose prompt revealed the best response.
    pub hinted: &'a [Sample],
}

/// Rules that the paper leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Unhinted samples per item; with fewer, an item cannot be called too easy.
    pub n: usize,
    /// Whether to keep samples whose critique was cut off at its limit.
    pub keeps_cut: bool,
}

/// What became of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// It is trained on.
    Kept,
    /// Its scores are wrong: the best response is not strictly highest, or the label is missed.
    Wrong,
    /// It has no scores of its own.
    Unreadable,
    /// It is right, and so are all unhinted samples of its item.
    TooEasy,
    /// It is right, but its critique was cut off at its token limit.
    CutOff,
    /// Its prompt is too long for the context.
    TooLong,
    /// It has scores, but its panel did not show the best response beside another one, so its judgement cannot be
    /// checked.
    NoComparison,
    /// It was never drawn: the budget ran out, or a worker failed.
    NotDrawn,
}

/// A sample and its fate.
#[derive(Debug, Clone, Copy)]
pub struct Sifted<'a> {
    /// The sample.
    pub sample: &'a Sample,
    /// Whether its prompt revealed the best response.
    pub is_hinted: bool,
    /// What became of it.
    pub fate: Fate,
}

// === impl Fate ===

impl Fate {
    /// All fates, in the order of the table's columns.
    pub const ALL: [Fate; 8] = [
        Fate::Kept,
        Fate::Wrong,
        Fate::Unreadable,
        Fate::TooEasy,
        Fate::CutOff,
        Fate::TooLong,
        Fate::NoComparison,
        Fate::NotDrawn,
    ];

    /// The name in the table.
    pub fn words(self) -> &'static str {
        match self {
            Fate::Kept => "kept",
            Fate::Wrong => "wrong",
            Fate::Unreadable => "no scores",
            Fate::TooEasy => "too easy",
            Fate::CutOff => "cut off",
            Fate::TooLong => "too long",
            Fate::NoComparison => "no comparison",
            Fate::NotDrawn => "not drawn",
        }
    }
}

/// Why an item cannot be trained on at all; `None` if it can.
pub fn unfit(item: &Item) -> Option<&'static str> {
    match truth::of(item) {
        Some(Truth::Single(label)) if label != 0.0 && label != 1.0 => {
            Some("a single response's label must be 0 or 1")
        }
        Some(Truth::Graded) => Some("several right responses"),
        Some(_) => None,
        None if item.responses.len() == 1 => Some("a single response without a label"),
        None if is_one_text(item) => Some("all responses are one text"),
        None if item.labels.is_some() => Some("several labels share the highest place"),
        None => Some("neither best nor labels"),
    }
}

/// The items that can be trained on, and the ids of the others by reason.
pub fn learnable(items: Vec<Item>) -> (Vec<Item>, BTreeMap<&'static str, Vec<String>>) {
    let mut left_out: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    let mut learnable = Vec::with_capacity(items.len());
    for item in items {
        match unfit(&item) {
            None => learnable.push(item),
            Some(why) => left_out.entry(why).or_default().push(item.id),
        }
    }
    (learnable, left_out)
}

/// Decides the fate of every sample of an item: the unhinted ones first, in their order.
pub fn sift<'a>(draws: &Draws<'a>, rules: Rules) -> Vec<Sifted<'a>> {
    let duplicate_of = duplicate_of(&draws.item.responses);
    let by_itself = |sample: &Sample| own_fate(draws, &duplicate_of, sample);
    let unhinted: Vec<Fate> = draws.unhinted.iter().map(by_itself).collect();
    let is_too_easy =
        unhinted.len() >= rules.n.max(1) && unhinted.iter().all(|fate| *fate == Fate::Kept);
    let cut = |sample: &Sample| sample.scores().is_some_and(|scores| scores.forced);
    let kept = |sample: &Sample, fate| match fate {
        Fate::Kept if !rules.keeps_cut && cut(sample) => Fate::CutOff,
        fate => fate,
    };
    let unhinted = draws.unhinted.iter().zip(unhinted).map(|(sample, fate)| Sifted {
        sample,
        is_hinted: false,
        fate: if is_too_easy { Fate::TooEasy } else { kept(sample, fate) },
    });
    let hinted = draws.hinted.iter().map(|sample| Sifted {
        sample,
        is_hinted: true,
        fate: kept(sample, by_itself(sample)),
    });
    unhinted.chain(hinted).collect()
}

/// The fate of a sample on its own: kept, wrong or without scores.
fn own_fate(draws: &Draws<'_>, duplicate_of: &[usize], sample: &Sample) -> Fate {
    if let Some(failure) = sample.failure() {
        return match failure.kind {
            kind if kind.is_parse() => Fate::Unreadable,
            FailureKind::TooLong => Fate::TooLong,
            _ => Fate::NotDrawn,
        };
    }
    match truth::is_correct(draws.truth, duplicate_of, draws.scale, sample) {
        Some(true) => Fate::Kept,
        Some(false) => Fate::Wrong,
        None => Fate::NoComparison,
    }
}

#[cfg(test)]
mod tests;
