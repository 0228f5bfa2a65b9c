//! The last verdicts, one per line.

use std::sync::Arc;
use std::time::Duration;

use maud::{Markup, html};

use super::{name_of, time};
use crate::board::{Figures, Limits};
use crate::chart;
use crate::text::line;
use crate::words;

pub(super) fn section(verdicts: &[(Arc<Figures>, bool)], limits: Limits) -> Markup {
    html! {
        section aria-labelledby="recent" {
            div.heading {
                h2 #recent { "Recent verdicts" }
                @if limits.verdicts > 0 { p { "the last " (limits.verdicts) " can be opened" } }
            }
            div #recent-verdicts data-key="recent" {
                @if limits.verdicts == 0 { (nothing_kept()) }
                @if verdicts.is_empty() {
                    @if limits.verdicts > 0 { p.empty { "No verdict yet. Judge something: " code { "jury score examples/capital.json --endpoint http://127.0.0.1:7480" } } }
                } @else {
                    table.cards {
                        thead {
                            tr {
                                th scope="col" { "Item" }
                                th scope="col" { "Status" }
                                th scope="col" { "Pick" }
                                th scope="col" { "Rewards" }
                                th.number scope="col" { "Agreement" }
                                th.number scope="col" { "Samples" }
                                th.number scope="col" { "Took" }
                                th.number scope="col" { "At, UTC" }
                            }
                        }
                        tbody { @for (figures, is_kept) in verdicts { (row(figures, *is_kept)) } }
                    }
                }
            }
        }
    }
}

fn nothing_kept() -> Markup {
    html! {
        div.empty {
            p { strong { "Texts of verdicts are not kept." } " Figures of the last ones are shown; to open one and read its samples, start the coordinator with "
                code { "--keep-verdicts 50" } ". They stay in memory, for each tenant its own, and end with the process." }
        }
    }
}

fn row(figures: &Figures, is_kept: bool) -> Markup {
    let name = line(&name_of(&figures.item_id, &figures.request_id));
    html! {
        tr {
            th scope="row" {
                a.name href={ "/verdicts/" (figures.number.0) } { bdi { (name) } }
                @if !is_kept { span.sub { "figures only" } }
            }
            td data-label="Status" { (status(figures)) }
            td data-label="Pick" {
                @match figures.pick {
                    Some(pick) => {
                        code { "[" (pick) "]" }
                        @if !figures.tied.is_empty() { span.sub { "tied with " (figures.tied.len() - 1) } }
                    }
                    None => span.muted { "-" },
                }
            }
            td data-label="Rewards" { (rewards(figures)) }
            td.number data-label="Agreement" { (figures.agreement.map_or("-".to_owned(), words::percent)) }
            td.number data-label="Samples" { (figures.counts.voted) " of " (figures.counts.asked) }
            td.number data-label="Took" { (words::took(Duration::from_millis(figures.total_ms))) }
            td.number data-label="At, UTC" { (time(figures.at)) }
        }
    }
}

fn rewards(figures: &Figures) -> Markup {
    let known = figures.rewards.iter().filter(|reward| reward.is_some()).count();
    html! {
        @if known == 0 {
            span.muted { "none" }
            @if let Some(reason) = &figures.reason { span.sub.wrap { (line(&reason.detail)) } }
        } @else {
            span.nowrap {
                (chart::rewards(&figures.rewards, figures.pick, figures.range))
                " "
                span.figure { (listed(figures)) }
            }
        }
    }
}

/// A few rewards are listed one by one; of many, the pick's reward and the range of the others.
fn listed(figures: &Figures) -> String {
    let rewards = &figures.rewards;
    if rewards.len() <= 4 {
        let each = rewards.iter().map(|reward| words::reward(*reward));
        return each.collect::<Vec<_>>().join("   ");
    }
    let known: Vec<f64> = rewards.iter().copied().flatten().collect();
    let lowest = known.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = known.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{lowest:.2} to {highest:.2}, {} responses", rewards.len())
}

fn status(figures: &Figures) -> Markup {
    super::verdict::status(figures.status)
}
