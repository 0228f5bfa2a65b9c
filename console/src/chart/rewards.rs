//! All rewards of a verdict on one small axis, for lists.

use maud::{Markup, html};

use super::n;

const WIDTH: f64 = 120.0;
const EDGE: f64 = 5.0;

/// A mark for each reward between `low` and `high`; the pick has a disc.
pub(crate) fn rewards(
    rewards: &[Option<f64>],
    pick: Option<usize>,
    (low, high): (f64, f64),
) -> Markup {
    let x =
        |reward: f64| EDGE + (WIDTH - 2.0 * EDGE) * ((reward - low) / (high - low)).clamp(0.0, 1.0);
    let others = rewards.iter().enumerate().filter(|(response, _)| Some(*response) != pick);
    html! {
        svg.strip width=(n(WIDTH)) height="16" viewBox="0 0 120 16" aria-hidden="true" {
            line.axis x1=(n(EDGE)) y1="8" x2=(n(WIDTH - EDGE)) y2="8" {}
            @for reward in others.filter_map(|(_, reward)| *reward) {
                line.mark x1=(n(x(reward))) y1="3" x2=(n(x(reward))) y2="13" {}
            }
            @if let Some(reward) = pick.and_then(|pick| rewards.get(pick).copied().flatten()) {
                circle.pick cx=(n(x(reward))) cy="8" r="4.5" {}
            }
        }
    }
}
