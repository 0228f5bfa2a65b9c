//! How busy a worker is: running samples and capacity.

use maud::{Markup, html};

use super::n;

const WIDTH: f64 = 88.0;

/// A bar that shows running samples as a share of those that can run at once.
pub(crate) fn load(running: u32, capacity: u32) -> Markup {
    let share = if capacity == 0 { 0.0 } else { f64::from(running) / f64::from(capacity) };
    let filled = WIDTH * share.clamp(0.0, 1.0);
    html! {
        svg.load width=(n(WIDTH)) height="8" viewBox="0 0 88 8" aria-hidden="true" {
            rect.track x="0" y="0" width=(n(WIDTH)) height="8" rx="4" {}
            @if filled > 0.0 {
                rect.fill x="0" y="0" width=(n(filled.max(8.0))) height="8" rx="4" {}
            }
        }
    }
}
