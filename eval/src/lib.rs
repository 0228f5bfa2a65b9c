//! How accuracy grows with k: many votes from few samples, with the statistics to tell them apart.
//!
//! ```text
//! files -> items                items, of Jury's own form or of published sets (published); choice   which of them
//! items + verdicts (k samples each)
//!    |
//! judged       an item, its truth, its samples     truth, split     first   fewer samples out of many
//!    |
//! draws        subsets of samples, in whole order blocks
//! method       a subset -> rewards                 credit   rewards + truth -> right or wrong
//!    |
//! curve        accuracy by method and k            stats    intervals, paired tests, AUC
//!    |
//! report       JSON, Markdown, SVG and PNG               weakness   what the judge loses on
//! ```
//!
//! asked        items and samples -> what other models are asked     answers   what they said, resumable
//!
//! Samples are drawn once, at the largest k; every smaller k and every other rule is computed from
//! them. Nothing but `items`, `published` (its readers), `answers`, `trajectories` and
//! `whole_file` touches a file.

pub mod answers;
pub mod asked;
mod baseline;
pub mod choice;
pub mod compare;
mod credit;
pub mod curve;
mod draws;
pub mod first;
pub mod font;
pub mod items;
pub mod judged;
mod markdown;
pub mod method;
pub mod picture;
pub mod published;
pub mod report;
pub mod scalar;
pub mod split;
pub mod stats;
mod stopping;
pub mod trajectories;
pub mod truth;
pub mod weakness;
pub mod whole_file;

/// Digest of bytes, hex: what a report is told apart by.
pub fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}
