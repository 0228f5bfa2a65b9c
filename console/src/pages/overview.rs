//! `/`: the fleet, requests in flight, recent verdicts.

use axum::extract::State;
use jury_client::FleetStatus;
use maud::{Markup, html};

use super::{Shell, fleet, recent, running};
use crate::Console;
use crate::viewer::Viewer;
use crate::words::thousands;

pub(crate) async fn show(State(console): State<Console>, viewer: Viewer) -> Markup {
    let status = FleetStatus::from(console.coordinator.status());
    let (in_flight, n_in_flight) = console.board.running(viewer.tenant(), running::MOST);
    let verdicts = console.board.recent(viewer.tenant());
    let shell = Shell {
        title: "Overview".to_owned(),
        live: Some("/live".to_owned()),
        tenant: viewer.shown_name(),
    };
    shell.around(&html! {
        h1.quiet { "Overview" }
        (figures(&status))
        (fleet::section(&status))
        (running::section(&in_flight, n_in_flight))
        (recent::section(&verdicts, console.board.limits()))
    })
}

/// The four numbers that show whether something needs attention.
fn figures(status: &FleetStatus) -> Markup {
    let n_ready = status.workers.iter().filter(|worker| worker.is_ready()).count();
    let ready = status.workers.iter().filter(|worker| worker.is_ready());
    let (running, capacity) = ready.fold((0, 0), |(running, capacity), worker| {
        (running + u64::from(worker.running), capacity + u64::from(worker.capacity))
    });
    let figure = |name: &str, value: String, of: String| {
        html! {
            div {
                dt { (name) }
                dd { strong { (value) } " " span { (of) } }
            }
        }
    };
    html! {
        dl #figures .figures data-key="figures" {
            (figure("Workers ready", n_ready.to_string(), format!("of {}", status.workers.len())))
            (figure("Samples running", thousands(running), format!("of {} at once", thousands(capacity))))
            (figure("Requests judged now", status.requests_running.to_string(), String::new()))
            (figure("Requests waiting", status.requests_queued.to_string(), format!("at most {} per model", thousands(status.queue_limit.into()))))
        }
    }
}
