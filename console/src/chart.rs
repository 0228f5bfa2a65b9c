//! Figures drawn, as SVG inside the page. Each has a title that says in words what is drawn; nothing is told by colour alone.
//! Sizes are in the chart's own units, about a pixel each. No style stands in an attribute: the policy of the pages forbids it.

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

/// Where a score lies on an axis from `left` to `right`.
fn x(score: f64, scale: Scale, left: f64, right: f64) -> f64 {
    let (min, max) = (f64::from(scale.min), f64::from(scale.max));
    left + (right - left) * ((score - min) / (max - min)).clamp(0.0, 1.0)
}

/// A number as SVG wants it.
fn n(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}
