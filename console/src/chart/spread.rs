//! The distribution of scores over the legal ones: one bar for each.

use jury_grm::domain::Scale;
use maud::{Markup, html};

use super::n;
use crate::opened::Spread;
use crate::words;

/// The distribution of a response's scores.
pub(crate) fn spread(spread: &Spread, scale: Scale, response: usize) -> Markup {
    let kind =
        if spread.is_read { "Probability of each score" } else { "How often each score was given" };
    let title = format!("{kind}, responses[{response}]: {}", listed(&spread.shares, scale));
    bars(&spread.shares, Size { width: 132.0, height: 52.0 }, &title, Some(scale))
}

/// The probabilities of one sample's score.
pub(crate) fn small_spread(shares: &[f64], scale: Scale) -> Markup {
    let title = format!("Probability of each score: {}", listed(shares, scale));
    bars(shares, Size { width: 88.0, height: 20.0 }, &title, None)
}

struct Size {
    width: f64,
    height: f64,
}

fn bars(
    shares: &[f64],
    Size { width, height }: Size,
    title: &str,
    labels: Option<Scale>,
) -> Markup {
    let highest = shares.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let step = width / shares.len().max(1) as f64;
    let gap = if step > 4.0 { 1.5 } else { 0.0 };
    let whole = if labels.is_some() { height + 18.0 } else { height };
    html! {
        svg.spread width=(n(width)) height=(n(whole)) viewBox={ "0 0 " (n(width)) " " (n(whole)) } role="img" {
            title { (title) }
            @for (at, share) in shares.iter().enumerate() {
                @let tall = ((height - 2.0) * share / highest).max(0.0);
                @if tall >= 0.05 {
                    rect.bar x=(n(step * at as f64 + gap / 2.0)) y=(n(height - tall)) width=(n((step - gap).max(0.5))) height=(n(tall)) {}
                }
            }
            line.axis x1="0" y1=(n(height)) x2=(n(width)) y2=(n(height)) {}
            @if let Some(scale) = labels {
                text.label x=(n(step / 2.0)) y=(n(height + 15.0)) text-anchor="middle" { (scale.min) }
                text.label x=(n(width - step / 2.0)) y=(n(height + 15.0)) text-anchor="middle" { (scale.max) }
            }
        }
    }
}

/// The significant shares, in words.
fn listed(shares: &[f64], scale: Scale) -> String {
    let worth_saying =
        std::iter::zip(scale.min..=scale.max, shares).filter(|(_, share)| **share >= 0.005);
    let said = worth_saying.map(|(score, share)| format!("{score}: {}", words::percent(*share)));
    said.collect::<Vec<_>>().join(", ")
}
