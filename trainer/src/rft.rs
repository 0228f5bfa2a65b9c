//! Rejective fine-tuning's choice (paper, section 3.2): which drawn samples are learned from, and why the others are not.
//!
//! ```text
//! an item's n unhinted samples    all right: the item is too easy, they all go      else: the right ones stay
//! its hinted sample               stays if it is right
//! ```
//!
//! `batches` says what is drawn, `sift` gives every sample its fate, `kept` makes data of those that stay.
//!
//! A sample without scores of its own is not right. Beside the paper: a critique that was cut off at its token limit
//! teaches to stop in the middle, so such samples go, too, unless they are wanted.

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

/// What was drawn for one item.
#[derive(Debug, Clone, Copy)]
pub struct Draws<'a> {
    /// What was judged.
    pub item: &'a Item,
    /// What is known of it.
    pub truth: Truth,
    /// The scale of the scores: 0..1 for single responses.
    pub scale: Scale,
    /// Samples without a hint, in index order.
    pub unhinted: &'a [Sample],
    /// Samples that were told which response is best.
    pub hinted: &'a [Sample],
}

/// The rules that the paper leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Unhinted samples an item; with fewer, nothing tells that it is too easy.
    pub n: usize,
    /// Whether samples whose critique was cut off at its limit stay.
    pub keeps_cut: bool,
}

/// What became of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// It is learned from.
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
    /// It has scores, but its panel did not show the best response beside another: nothing tells how well it judged.
    NoComparison,
    /// It was never drawn: a budget or a worker ended it.
    NotDrawn,
}

/// A sample and its fate.
#[derive(Debug, Clone, Copy)]
pub struct Sifted<'a> {
    /// The sample.
    pub sample: &'a Sample,
    /// Whether it was told which response is best.
    pub is_hinted: bool,
    /// What became of it.
    pub fate: Fate,
}

// === impl Fate ===

impl Fate {
    /// All, in the order of the table's columns.
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

    /// As the table says it.
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

/// Why an item cannot be learned from at all; `None` for those that can.
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

/// The items that something can be learned from, and the ids of the others by why they cannot.
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

/// Gives every sample of an item its fate: the unhinted ones first, in their order.
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

/// What a sample is alone: kept, wrong or without scores.
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
