//! The requests in flight, one per line.

use maud::{Markup, html};

use super::name_of;
use crate::board::Running;
use crate::chart;
use crate::opened::{Opened, Voice};
use crate::text::line;
use crate::words;

/// More lines than this are not useful; the rest is only counted.
pub(super) const MOST: usize = 50;

/// The oldest requests in flight, out of `n_in_flight`.
pub(super) fn section(in_flight: &[Running], n_in_flight: usize) -> Markup {
    html! {
        section aria-labelledby="in-flight" {
            div.heading {
                h2 #in-flight { "In flight" }
                @if n_in_flight > in_flight.len() { p { "the " (in_flight.len()) " oldest of " (n_in_flight) } }
            }
            div #in-flight-requests data-key="in-flight" {
                @if in_flight.is_empty() {
                    p.empty { "Nothing is being judged. A request shows up here the moment it comes, with its samples as they end." }
                } @else {
                    ul.flights { @for running in in_flight { (item(running)) } }
                }
            }
        }
    }
}

fn item(running: &Running) -> Markup {
    let request = &running.request;
    let opened = Opened::running(running);
    let voices: Vec<Voice> = opened.places.iter().map(|place| place.voice).collect();
    html! {
        li {
            div {
                a.name href={ "/requests/" (running.number.0) } { bdi { (line(&name_of(&request.item.id, &request.request_id))) } }
                span.sub {
                    (request.item.responses.len()) " responses, "
                    (words::phase(running.progress.phase))
                }
            }
            div.grow-2 {
                @if voices.is_empty() { span.muted { "not planned yet" } } @else { (chart::slots(&voices)) }
            }
            div.figure {
                (opened.n_ended()) " of " (running.progress.samples_asked.max(1)) " samples"
                span.sub { (words::thousands(running.progress.generated_tokens)) " tokens" }
            }
            div.figure.number { (words::took(running.since.elapsed())) }
        }
    }
}
