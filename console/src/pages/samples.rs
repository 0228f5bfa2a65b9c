//! Every sample: its scores in the caller's order in one table, and the details of each on demand.

use std::collections::HashSet;

use jury_grm::domain::{Sample, Scores, VoteRule};
use maud::{Markup, html};

use super::opened::words_of_others;
use crate::chart;
use crate::opened::{Opened, Place, Voice};
use crate::text::line;
use crate::words;

pub(super) fn section(opened: &Opened<'_>) -> Markup {
    let has_meta =
        opened.places.iter().any(|place| place.sample.is_some_and(|s| s.meta_score.is_some()));
    html! {
        section aria-labelledby="samples" {
            div.heading { h2 #samples { "Samples" } p { "scores in the caller's order; a sample's own best is underlined" } }
            @if opened.places.is_empty() {
                p.empty { "No sample is planned yet." }
            } @else {
                (matrix(opened, has_meta))
                div.samples #sample-list data-list="samples" {
                    @for place in &opened.places {
                        @if let Some(sample) = place.sample { (one(opened, place, sample)) }
                    }
                }
            }
        }
    }
}

fn matrix(opened: &Opened<'_>, has_meta: bool) -> Markup {
    let n_responses = opened.item.responses.len();
    html! {
        div.wide-table tabindex="0" role="region" aria-label="Scores of every sample" #matrix data-key="matrix" {
            table {
                thead {
                    tr {
                        th scope="col" { "Sample" }
                        @for response in 0..n_responses {
                            th.number.pick[opened.is_pick(response)] scope="col" { "[" (response) "]" }
                        }
                        @if has_meta { th.number scope="col" { "Meta score" } }
                        th scope="col" { "Vote" }
                        @if opened.verdict.is_some() { th scope="col" { "On the pick" } }
                    }
                }
                tbody {
                    @for place in &opened.places {
                        tr.unheard[!place.voice.is_heard()] {
                            th scope="row" {
                                @if place.sample.is_some() { a href={ "#sample-" (place.spec.index) } { (place.spec.index) } } @else { (place.spec.index) }
                            }
                            @let best = place.best();
                            @for response in 0..n_responses {
                                @let distinct = opened.duplicate_of[response];
                                td.number.pick[opened.is_pick(response)] {
                                    @match place.score(distinct) {
                                        Some(score) if best.contains(&distinct) => b { (words::score(score)) },
                                        Some(score) => (words::score(score)),
                                        None => span.muted { "·" },
                                    }
                                }
                            }
                            @if has_meta { td.number { (place.sample.and_then(|s| s.meta_score).map_or("-".to_owned(), |m| format!("{m:.2}"))) } }
                            td { (said_of(place)) }
                            @if opened.verdict.is_some() { td { (words::ballot(opened.ballot(place))) } }
                        }
                    }
                }
            }
        }
    }
}

/// Whether a sample counts, or why it has no scores.
fn said_of(place: &Place<'_>) -> String {
    let failure =
        place.sample.and_then(Sample::failure).map(|failure| words::failure(failure.kind));
    failure.map_or_else(|| words::voice(place.voice), str::to_owned)
}

fn one(opened: &Opened<'_>, place: &Place<'_>, sample: &Sample) -> Markup {
    let index = place.spec.index;
    html! {
        details.sample #{ "sample-" (index) } data-key={ "sample-" (index) } {
            summary {
                span.index { "Sample " (index) }
                span.figure { (scores_in_short(opened, place)) }
                span.grow {}
                span.muted { (said_of(place)) }
            }
            @if let Some(failure) = sample.failure() { p.why { "No scores: " (line(&failure.detail)) "." } }
            @if place.voice == Voice::Silent { p.why { (why_silent(opened, sample)) } }
            @if let Some(scores) = sample.scores() { (score_table(opened, place, scores)) }
            div.trajectory {
                div { h4 { "Principles" } (words_of_others(&sample.principles)) }
                div { h4 { "Critique" } (words_of_others(&sample.critique)) }
            }
            (facts(place, sample))
        }
    }
}

fn why_silent(opened: &Opened<'_>, sample: &Sample) -> String {
    let Some(verdict) = opened.verdict else { return String::new() };
    let voting = &verdict.provenance.voting;
    let distinct = |response: &usize| opened.duplicate_of[*response];
    let shown: HashSet<usize> = sample.spec.order.iter().map(distinct).collect();
    let why = match sample.meta_score {
        _ if voting.effective_rule() == VoteRule::Majority && shown.len() == 1 => {
            "it showed a single response, so it compared nothing".to_owned()
        }
        _ if verdict.voters.is_empty() => {
            "nobody voted, since too few samples are valid".to_owned()
        }
        Some(meta) => {
            format!("a reward is {}, and its meta score is {meta:.2}", words::rule(voting))
        }
        None => "the vote is by meta scores, and it has none".to_owned(),
    };
    format!("It did not vote: {why}.")
}

/// A few scores are listed one by one; of many, only the sample's own best.
fn scores_in_short(opened: &Opened<'_>, place: &Place<'_>) -> String {
    let n_responses = opened.item.responses.len();
    let said = |response: usize| {
        let score = place.score(opened.duplicate_of[response])?;
        Some(format!("[{response}] {}", words::score(score)))
    };
    if n_responses <= 8 {
        return (0..n_responses).filter_map(said).collect::<Vec<_>>().join("   ");
    }
    let best = place.best().into_iter().take(3).filter_map(said).collect::<Vec<_>>();
    if best.is_empty() { String::new() } else { format!("best {}", best.join("   ")) }
}

/// The responses in the order that the sample saw them, with its scores.
fn score_table(opened: &Opened<'_>, place: &Place<'_>, scores: &Scores) -> Markup {
    let order = &place.spec.order;
    let is_read = scores.score_distribution.is_some();
    html! {
        div.wide-table tabindex="0" role="region" aria-label={ "Scores of sample " (place.spec.index) } {
            table.order {
                thead {
                    tr {
                        th scope="col" { "In its text" }
                        th scope="col" { "is" }
                        th.number scope="col" { "Score" }
                        @if is_read { th scope="col" { "Probability of each score, " (opened.scale().min) " to " (opened.scale().max) } }
                    }
                }
                tbody {
                    @for (at, response) in order.iter().enumerate() {
                        tr {
                            th scope="row" { "Response " (at + 1) }
                            td { a href={ "#response-" (response) } { "responses[" (response) "]" } }
                            td.number { (place.score(*response).map_or("-".to_owned(), words::score)) }
                            @if is_read {
                                td { @if let Some(shares) = place.distribution(*response) { (chart::small_spread(shares, opened.scale())) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn facts(place: &Place<'_>, sample: &Sample) -> Markup {
    let scores = sample.scores();
    let issues =
        sample.issues.iter().map(|issue| words::issue(*issue)).collect::<Vec<_>>().join("; ");
    html! {
        dl.facts {
            (fact("Ended", words::finish(sample.finish)))
            @if scores.is_some_and(|scores| scores.forced) { (fact("Forced", "the critique hit its token limit before the read-out")) }
            @if let Some(mass) = scores.and_then(|scores| scores.readout_mass) { (fact("Read-out mass", &format!("{mass:.3}"))) }
            @if let Some(meta) = sample.meta_score { (fact("Meta score", &format!("{meta:.3}"))) }
            (fact("Tokens", &format!("{} of prompt, {} generated", words::thousands(sample.prompt_tokens.into()), words::thousands(sample.generated_tokens.into()))))
            (fact("Seed", &place.spec.seed.to_string()))
            @if !issues.is_empty() { (fact("Oddities", &issues)) }
        }
    }
}

fn fact(name: &str, value: &str) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}
