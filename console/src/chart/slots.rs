//! The samples of a request in flight, one mark each, in index order.

use maud::{Markup, html};

use super::n;
use crate::opened::Voice;

const CELL: f64 = 11.0;
const PER_ROW: usize = 32;

/// A filled disc for a sample with scores, a cross for one without, a ring for a pending one.
pub(crate) fn slots(voices: &[Voice]) -> Markup {
    let n_columns = voices.len().clamp(1, PER_ROW);
    let n_rows = voices.len().div_ceil(PER_ROW).max(1);
    let (width, height) = (CELL * n_columns as f64, CELL * n_rows as f64);
    let n_scored = voices.iter().filter(|voice| voice.is_heard()).count();
    let n_without = voices.iter().filter(|voice| **voice == Voice::Without).count();
    html! {
        svg.slots width=(n(width)) height=(n(height)) viewBox={ "0 0 " (n(width)) " " (n(height)) } role="img" {
            title {
                (n_scored) " of " (voices.len()) " samples have scores"
                @if n_without > 0 { ", " (n_without) " ended without" }
            }
            @for (at, voice) in voices.iter().enumerate() {
                @let cx = CELL * ((at % PER_ROW) as f64 + 0.5);
                @let cy = CELL * ((at / PER_ROW) as f64 + 0.5);
                @match voice {
                    Voice::Pending => circle.pending cx=(n(cx)) cy=(n(cy)) r="3.2" {},
                    Voice::Without => {
                        path.without d={ "M" (n(cx - 2.8)) " " (n(cy - 2.8)) "l5.6 5.6m0 -5.6l-5.6 5.6" } {}
                    }
                    _ => circle.heard cx=(n(cx)) cy=(n(cy)) r="3.8" {},
                }
            }
        }
    }
}
