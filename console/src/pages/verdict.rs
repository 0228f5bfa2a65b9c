//! `/verdicts/N`: one verdict in detail.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use jury_coordinator::observe::RequestNumber;
use jury_grm::domain::{Counts, Status, Verdict};
use maud::{Markup, html};

use super::missing::Number;
use super::{Shell, missing, name_of, opened, provenance, samples, time};
use crate::Console;
use crate::board::{Case, Figures, Found};
use crate::chart;
use crate::opened::{Ballot, Opened};
use crate::text::line;
use crate::viewer::Viewer;
use crate::words;

pub(crate) async fn show(
    State(console): State<Console>,
    viewer: Viewer,
    Number(number): Number,
) -> Response {
    match console.board.find(viewer.tenant(), RequestNumber(number)) {
        None => missing::unknown(number).into_response(),
        Some(Found::Running(_)) => Redirect::to(&format!("/requests/{number}")).into_response(),
        Some(Found::Judged(figures, case)) => {
            page(&figures, case.as_ref(), &viewer).into_response()
        }
    }
}

/// A verdict's page; without its texts it shows only the numbers.
pub(crate) fn page(figures: &Figures, case: Option<&Arc<Case>>, viewer: &Viewer) -> Markup {
    let name = name_of(&figures.item_id, &figures.request_id);
    let outcome = match figures.pick {
        Some(pick) => format!("responses[{pick}] is best"),
        None => words::status(figures.status).to_owned(),
    };
    let shell =
        Shell { title: format!("{name}: {outcome}"), live: None, tenant: viewer.shown_name() };
    let opened = case.map(|case| Opened::judged(case));
    shell.around(&html! {
        nav.back aria-label="Breadcrumb" { a href="/" { "Overview" } }
        div.heading.wide {
            h1 { bdi { (line(&name)) } }
            p { (status(figures.status)) " at " (time(figures.at)) " UTC" }
        }
        (summary(figures))
        @match (&opened, case) {
            (Some(opened), Some(case)) => {
                (opened::query(opened.item))
                (opened::scores(opened))
                (agreement(opened))
                (opened::responses(opened))
                (samples::section(opened))
                (provenance::section(&case.verdict))
            }
            _ => (not_kept(figures)),
        }
    })
}

/// A status, shown by word and mark.
pub(super) fn status(status: Status) -> Markup {
    let (class, mark) = match status {
        Status::Ok => ("good", "●"),
        Status::Partial => ("warn", "◐"),
        Status::Unscored => ("bad", "○"),
    };
    html! { span class={ "state " (class) } { span aria-hidden="true" { (mark) } " " (words::status(status)) } }
}

fn summary(figures: &Figures) -> Markup {
    let counts = figures.counts;
    html! {
        div.summary {
            p.lead {
                @match figures.pick {
                    Some(pick) => {
                        strong { "responses[" (pick) "]" } " is best"
                        @if let Some(reward) = figures.rewards.get(pick).copied().flatten() { ", with a reward of " strong { (format!("{reward:.2}")) } }
                        "."
                        @if !figures.tied.is_empty() {
                            " It shares the highest reward with "
                            (figures.tied.iter().filter(|tied| **tied != pick).map(|tied| format!("responses[{tied}]")).collect::<Vec<_>>().join(", "))
                            ", and is picked for its place in the list."
                        }
                    }
                    None => {
                        @match (figures.status, figures.rewards.first().copied().flatten()) {
                            (Status::Unscored, _) => { "There is no reward: "
                                (figures.reason.as_ref().map_or_else(|| "no reason is known".to_owned(), |reason| line(&reason.detail))) "." }
                            (_, Some(reward)) => { "The reward is " strong { (format!("{reward:.2}")) } ". There is nothing to pick from." }
                            (_, None) => "There is no pick.",
                        }
                    }
                }
            }
            dl.figures {
                (share("Agreement", figures.agreement, "of the votes"))
                (share("Confidence", figures.confidence, "of the same pick"))
                (figure("Voted", &counts.voted.to_string(), &format!("of {} samples", counts.asked)))
                (figure("Took", &words::took(Duration::from_millis(figures.total_ms)), ""))
            }
            @if let Some(missing) = missing_samples(counts) { p.sub { (missing) } }
        }
    }
}

/// A share, if there is one.
fn share(name: &str, value: Option<f64>, of: &str) -> Markup {
    value.map_or_else(|| figure(name, "none", ""), |share| figure(name, &words::percent(share), of))
}

fn figure(name: &str, value: &str, of: &str) -> Markup {
    html! { div { dt { (name) } dd { strong { (value) } " " span { (of) } } } }
}

/// What happened to the samples that did not vote.
fn missing_samples(counts: Counts) -> Option<String> {
    let parts = [
        (counts.valid.saturating_sub(counts.voted), "valid but not among the voters"),
        (counts.parse_failed, "without readable scores"),
        (counts.too_long, "too long"),
        (counts.timed_out, "cut off by the budget"),
        (counts.failed, "lost with workers"),
        (counts.not_needed, "not needed"),
        (counts.forced, "forced to their read-out at the token limit (they count)"),
        (counts.spare, "spare"),
        (counts.neutralised, "from prompts whose special tokens were neutralised"),
    ];
    let said = parts.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}"));
    let said = said.collect::<Vec<_>>().join(", ");
    (!said.is_empty()).then(|| format!("Of {} samples: {said}.", counts.asked))
}

/// How each sample relates to the pick.
fn agreement(opened: &Opened<'_>) -> Markup {
    let Some(verdict) = opened.verdict else { return html! {} };
    let ballots: Vec<Ballot> = opened.places.iter().map(|place| opened.ballot(place)).collect();
    html! {
        @if verdict.pick.is_some() {
            section aria-labelledby="agreement" {
                div.heading { h2 #agreement { "Do the samples agree?" } p { (rule(verdict)) } }
                (chart::votes(&ballots))
                p.legend {
                    span { (chart::key(Ballot::Agrees)) " " (count(&ballots, Ballot::Agrees)) " put the pick first" }
                    span { (chart::key(Ballot::Ties)) " " (count(&ballots, Ballot::Ties)) " put it first with others" }
                    span { (chart::key(Ballot::Differs)) " " (count(&ballots, Ballot::Differs)) " put another first" }
                    @let others = count(&ballots, Ballot::None) + count(&ballots, Ballot::NotShown);
                    @if others > 0 { span { (chart::key(Ballot::None)) " " (others) " did not vote, or were not shown it" } }
                }
            }
        }
    }
}

fn count(ballots: &[Ballot], ballot: Ballot) -> usize {
    ballots.iter().filter(|given| **given == ballot).count()
}

fn rule(verdict: &Verdict) -> String {
    let mut said = format!("a reward is {}", words::rule(&verdict.provenance.voting));
    if let Some(why) = &verdict.meta_unavailable {
        said.push_str(&format!("; nobody ranked the samples: {}", line(why)));
    }
    said
}

fn not_kept(figures: &Figures) -> Markup {
    html! {
        section aria-labelledby="rewards" {
            h2 #rewards { "Rewards" }
            ol.plain start="0" {
                @for (response, reward) in figures.rewards.iter().enumerate() {
                    li { code { "[" (response) "]" } " " (words::reward(*reward)) }
                }
            }
        }
        div.empty {
            p { strong { "The texts of this verdict are not kept." } " Its query, responses and samples were in memory only while it was judged, or newer ones have taken their place. "
                "Start the coordinator with " code { "--keep-verdicts 50" } " to open the last 50 of each tenant." }
        }
    }
}
