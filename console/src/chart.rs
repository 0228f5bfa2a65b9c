//! Charts as SVG inside the page. Each has a title that describes it in words, and nothing is conveyed by colour
//! alone. Sizes are in the chart's own units, about one pixel each. No styles are in attributes, because the pages'
//! Content-Security-Policy forbids that.

mod load;
mod rewards;
mod scores;
mod slots;
mod spread;
mod votes;

pub(crate) use load::load;
pub(crate) use rewards::rewards;
pub(crate) use scores::scores;
pub(crate) use slots::slots;
pub(crate) use spread::{small_spread, spread};
pub(crate) use votes::{key, votes};

use jury_grm::domain::Scale;

/// The position of a score on an axis from `left` to `right`.
fn x(score: f64, scale: Scale, left: f64, right: f64) -> f64 {
    let (min, max) = (f64::from(scale.min), f64::from(scale.max));
    left + (right - left) * ((score - min) / (max - min)).clamp(0.0, 1.0)
}

/// Formats a number for SVG.
fn n(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}
