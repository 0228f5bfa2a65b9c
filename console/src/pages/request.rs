//! `/requests/N`: a request in flight, with its samples as they arrive.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use jury_coordinator::observe::RequestNumber;
use maud::{Markup, html};

use super::missing::Number;
use super::{Shell, missing, name_of, opened, samples};
use crate::Console;
use crate::board::{Found, Running};
use crate::chart;
use crate::opened::{Opened, Voice};
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
        Some(Found::Judged(..)) => Redirect::to(&format!("/verdicts/{number}")).into_response(),
        Some(Found::Running(running)) => page(&running, &viewer).into_response(),
    }
}

pub(crate) fn page(running: &Running, viewer: &Viewer) -> Markup {
    let request = &running.request;
    let name = name_of(&request.item.id, &request.request_id);
    let opened = Opened::running(running);
    let shell = Shell {
        title: format!("Judging {name}"),
        live: Some(format!("/requests/{}/live", running.number.0)),
        tenant: viewer.shown_name(),
    };
    shell.around(&html! {
        nav.back aria-label="Breadcrumb" { a href="/" { "Overview" } }
        h1 { "Judging " bdi { (line(&name)) } }
        (state(running, &opened))
        (opened::query(opened.item))
        (opened::scores(&opened))
        (opened::responses(&opened))
        (samples::section(&opened))
    })
}

fn state(running: &Running, opened: &Opened<'_>) -> Markup {
    let voices: Vec<Voice> = opened.places.iter().map(|place| place.voice).collect();
    let n_ended = opened.n_ended();
    html! {
        div #state .summary data-key="state" {
            p.lead {
                @if voices.is_empty() {
                    "It waits for its turn."
                } @else {
                    strong { (n_ended) " of " (voices.len()) } " samples have ended, "
                    (words::phase(running.progress.phase)) "."
                }
            }
            @if !voices.is_empty() { (chart::slots(&voices)) }
            p.sub {
                (words::took(running.since.elapsed())) " so far, "
                (words::thousands(running.progress.generated_tokens)) " tokens generated. "
                "Rewards are voted on when it is over; until then every ended sample is drawn as if it counted."
            }
        }
    }
}
