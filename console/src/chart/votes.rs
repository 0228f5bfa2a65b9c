//! Agreement: how each sample relates to the pick, in index order.

use maud::{Markup, html};

use super::n;
use crate::opened::Ballot;

const CELL: f64 = 18.0;
const PER_ROW: usize = 32;

/// A filled square agrees, a half-filled one ties, a hollow one differs; a dot has no vote.
pub(crate) fn votes(ballots: &[Ballot]) -> Markup {
    let n_columns = ballots.len().clamp(1, PER_ROW);
    let n_rows = ballots.len().div_ceil(PER_ROW).max(1);
    let (width, height) = (CELL * n_columns as f64, CELL * n_rows as f64);
    let count = |ballot: Ballot| ballots.iter().filter(|given| **given == ballot).count();
    html! {
        svg.votes width=(n(width)) height=(n(height)) viewBox={ "0 0 " (n(width)) " " (n(height)) } role="img" {
            title {
                (count(Ballot::Agrees)) " samples agree with the pick, " (count(Ballot::Ties)) " tie, "
                (count(Ballot::Differs)) " differ"
            }
            @for (at, ballot) in ballots.iter().enumerate() {
                (cell(*ballot, CELL * (at % PER_ROW) as f64, CELL * (at / PER_ROW) as f64))
            }
        }
    }
}

/// One square, for the legend of the chart.
pub(crate) fn key(ballot: Ballot) -> Markup {
    html! { svg.votes width="18" height="18" viewBox="0 0 18 18" aria-hidden="true" { (cell(ballot, 0.0, 0.0)) } }
}

fn cell(ballot: Ballot, left: f64, top: f64) -> Markup {
    let (x, y) = (left + 2.5, top + 2.5);
    html! {
        @match ballot {
            Ballot::Agrees => rect.agrees x=(n(x)) y=(n(y)) width="13" height="13" rx="2.5" {},
            Ballot::Ties => {
                rect.differs x=(n(x)) y=(n(y)) width="13" height="13" rx="2.5" {}
                path.agrees d={ "M" (n(x)) " " (n(y + 13.0)) "v-13l13 13z" } {}
            }
            Ballot::Differs => rect.differs x=(n(x)) y=(n(y)) width="13" height="13" rx="2.5" {},
            Ballot::NotShown | Ballot::None => {
                circle.none cx=(n(x + 6.5)) cy=(n(y + 6.5)) r="2" {}
            }
        }
    }
}
