//! Parts shared by the pages of a request in flight and of a verdict: query, scores, responses.

use jury_grm::domain::{Item, Role, VoteRule};
use maud::{Markup, html};

use crate::chart;
use crate::opened::Opened;
use crate::text::{line, text};
use crate::words;

/// A shorter query is expanded by default.
const SHORT_QUERY_BYTES: usize = 600;
/// Length of the excerpt of a response beside its scores.
const EXCERPT_CHARS: usize = 120;

/// The conversation, and the judge's other inputs.
pub(super) fn query(item: &Item) -> Markup {
    let turns = item.query.turns();
    let n_bytes: usize = turns.iter().map(|turn| turn.content.len()).sum();
    html! {
        section aria-labelledby="query" {
            h2 #query { "Query" }
            @if n_bytes <= SHORT_QUERY_BYTES { (conversation(item)) } @else {
                details { summary { "Show the conversation (" (turns.len()) " turns, " (words::thousands(n_bytes as u64)) " bytes)" } (conversation(item)) }
            }
            @if let Some(reference) = &item.reference { details { summary { "Reference answer" } (words_of_others(reference)) } }
            @if let Some(criteria) = &item.criteria { details { summary { "Criteria of the item (" (criteria.len()) ")" } (list(criteria)) } }
            @if let Some(principles) = &item.principles { details { summary { "Principles written ahead (" (principles.len()) ")" } (list(principles)) } }
        }
    }
}

fn conversation(item: &Item) -> Markup {
    let turns = item.query.turns();
    html! {
        div.turns {
            @for turn in &turns {
                div.turn {
                    @if turns.len() > 1 { p.role { (role(turn.role)) } }
                    (words_of_others(&turn.content))
                }
            }
        }
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
        Role::Developer => "developer",
    }
}

fn list(texts: &[String]) -> Markup {
    html! { ol { @for one in texts { li { (words_of_others(one)) } } } }
}

/// Text from a caller or from a model.
pub(super) fn words_of_others(others: &str) -> Markup {
    html! {
        @if others.is_empty() { p.muted { "(empty)" } } @else { div.said dir="auto" { (text(others)) } }
    }
}

/// Every response's reward, with the scores behind it.
pub(super) fn scores(opened: &Opened<'_>) -> Markup {
    let is_share =
        opened.verdict.is_some_and(|v| v.provenance.voting.rule == Some(VoteRule::Majority));
    html! {
        section aria-labelledby="scores" {
            div.heading {
                h2 #scores { "Scores" }
                p {
                    "a dot a sample, filled where it votes"
                    @if opened.verdict.is_some() && !is_share { "; the line is the reward" }
                    @if is_share { "; the reward is a share of votes, not a score" }
                }
            }
            div.rows #score-rows data-key="scores" {
                @for response in 0..opened.item.responses.len() { (score_row(opened, response, is_share)) }
            }
        }
    }
}

fn score_row(opened: &Opened<'_>, response: usize, is_share: bool) -> Markup {
    let points = opened.points(response);
    let reward = opened.reward(response);
    let reason = opened.verdict.and_then(|verdict| verdict.reasons.get(response)?.as_ref());
    let duplicate_of = opened.duplicate_of[response];
    html! {
        div.row.pick[opened.is_pick(response)] {
            div.who {
                a href={ "#response-" (response) } { "[" (response) "]" }
                @if opened.is_pick(response) { span.tag { "pick" } }
                @if opened.verdict.is_some() { span.reward-value { (words::reward(reward)) } }
            }
            @if let Some(reason) = reason {
                p.why { "no reward: " (line(&reason.detail)) }
            } @else if points.is_empty() {
                p.why.muted { "no scores yet" }
            }
            @if duplicate_of != response {
                p.why { "the same text as [" (duplicate_of) "], whose reward it shares" }
            } @else if !points.is_empty() {
                (chart::scores(&points, opened.scale(), reward.filter(|_| !is_share), response))
                @if let Some(spread) = opened.spread(response) { (chart::spread(&spread, opened.scale(), response)) }
                p.excerpt aria-hidden="true" dir="auto" { (excerpt(&opened.item.responses[response])) }
            }
        }
    }
}

/// The beginning of a response, for recognising it.
fn excerpt(said: &str) -> String {
    let start: String = said.chars().take(EXCERPT_CHARS).collect();
    let more = if start.len() < said.len() { "…" } else { "" };
    line(&start) + more
}

/// The responses side by side.
pub(super) fn responses(opened: &Opened<'_>) -> Markup {
    html! {
        section aria-labelledby="responses" {
            div.heading { h2 #responses { "Responses" } p { "numbered as the caller listed them, from 0" } }
            div.responses {
                @for (response, said) in opened.item.responses.iter().enumerate() {
                    article.response.pick[opened.is_pick(response)] #{ "response-" (response) } aria-label={ "responses[" (response) "]" } {
                        header {
                            h3 { "[" (response) "]" }
                            @if opened.is_pick(response) { span.tag { "pick" } }
                            @if opened.duplicate_of[response] != response { span.tag { "same as [" (opened.duplicate_of[response]) "]" } }
                            span.grow {}
                            @if opened.verdict.is_some() { span.reward-value { (words::reward(opened.reward(response))) } }
                        }
                        div.scroll tabindex="0" role="region" aria-label={ "Text of responses[" (response) "]" } { (words_of_others(said)) }
                    }
                }
            }
        }
    }
}
