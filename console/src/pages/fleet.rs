//! The workers: health, load, numerics class.

use jury_client::{FleetStatus, WorkerStatus};
use maud::{Markup, html};

use crate::chart;
use crate::text::line;
use crate::words::{short, thousands};

pub(super) fn section(status: &FleetStatus) -> Markup {
    html! {
        section aria-labelledby="fleet" {
            div.heading {
                h2 #fleet { "Fleet" }
                p {
                    "workers from " (line(&status.directory))
                    @if !status.directory_connected {
                        strong.warn { ", which cannot be reached: this is the last known fleet" }
                    }
                }
            }
            div #fleet-workers data-key="fleet" {
                @if status.workers.is_empty() { (nobody()) } @else { (table(&status.workers)) }
            }
        }
    }
}

fn nobody() -> Markup {
    html! {
        div.empty {
            p { strong { "No worker is known." } " Requests are answered without rewards until there is one. Start it on the machine that shall draw:" }
            pre { code { "jury worker --model smollm2-135m --listen 127.0.0.1:7481" } }
            p { "and name it to the coordinator with " code { "--worker http://127.0.0.1:7481" } ", or let both meet in etcd with " code { "--etcd" } "." }
        }
    }
}

fn table(workers: &[WorkerStatus]) -> Markup {
    html! {
        table.cards {
            thead {
                tr {
                    th scope="col" { "Worker" }
                    th scope="col" { "State" }
                    th scope="col" { "Load" }
                    th scope="col" { "Model" }
                    th scope="col" { "Class" }
                    th.number scope="col" { "Context" }
                }
            }
            tbody {
                @for worker in workers { (row(worker)) }
            }
        }
    }
}

fn row(worker: &WorkerStatus) -> Markup {
    html! {
        tr {
            th scope="row" {
                bdi.name { (line(&worker.worker_id)) }
                @if worker.address != worker.worker_id { span.sub { (line(&worker.address)) } }
            }
            td data-label="State" {
                (state(&worker.state))
                @if !worker.state_detail.is_empty() { span.sub.wrap { (line(&worker.state_detail)) } }
            }
            td.load-cell data-label="Load" {
                span.nowrap { (chart::load(worker.running, worker.capacity)) " "
                    span.figure { (worker.running) " of " (worker.capacity) } }
                @if worker.queued > 0 { span.sub { (worker.queued) " waiting for a place" } }
            }
            td data-label="Model" {
                @if worker.model.is_empty() { span.muted { "not yet known" } } @else {
                    (line(&worker.model))
                    @let heads = worker.heads.iter().map(|head| line(&head.name)).collect::<Vec<_>>().join(", ");
                    @if worker.roles.iter().any(|role| role == "meta") { span.sub { "Meta RM: ranks, draws nothing" } }
                    @if !heads.is_empty() { span.sub { "heads: " (heads) } }
                }
            }
            td data-label="Class" {
                @if worker.model_digest.is_empty() { span.muted { "-" } } @else {
                    code title=(line(&worker.model_digest)) { (short(&line(&worker.model_digest))) }
                    span.sub { (line(&worker.numerics)) }
                }
            }
            td.number data-label="Context" {
                @if worker.context_tokens == 0 { span.muted { "-" } } @else { (thousands(worker.context_tokens.into())) }
            }
        }
    }
}

/// A state, shown by shape and word.
fn state(state: &str) -> Markup {
    let (class, mark) = match state {
        "ready" => ("good", "●"),
        "draining" => ("warn", "◐"),
        "unknown" | "probing" => ("warn", "○"),
        "suspect" => ("bad", "▲"),
        _ => ("bad", "■"),
    };
    html! { span class={ "state " (class) } { span aria-hidden="true" { (mark) } " " (state) } }
}
