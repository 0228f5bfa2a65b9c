//! How accuracy grows with k: many votes from few samples, with the statistics to compare them.
//!
//! ```text
//! files -> items                Jury's own format or published sets (published); choice   which of them
//! items + verdicts (k samples each)
//!    |
//! judged       an item, its truth, its samples     truth, split     first   fewer samples out of many
//!    |
//! draws        subsets of samples, in whole order blocks
//! method       a subset -> rewards                 credit   rewards + truth -> right or wrong
//!    |                                             baseline judges that ignore the content
//! curve        accuracy by method and k            stats    intervals, paired tests, AUC
//!    |                                             stopping every stop rule on the same samples
//! report       JSON, Markdown, SVG and PNG         weakness what the judge loses on
//! compare      reports side by side                picture  SVG and PNG    font  the built-in font
//!
//! asked        items and samples -> questions to other models
//! answers      their answers, resumable            scalar   scalar reward models on the same items
//! trajectories samples as Parquet                  markdown untrusted text inside Markdown
//! whole_file   files written completely or not at all
//! ```
//!
//! Samples are drawn once, at the largest k; every smaller k and every other rule is computed from them. Only `items`,
//! `published` (its readers), `answers`, `trajectories` and `whole_file` access files.

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

/// Digest of bytes, hex, for telling reports apart.
pub fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}
