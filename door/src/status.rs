//! What the door tells of itself and of the fleet.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jury_client::FleetStatus;

use crate::OPENAPI;
use crate::error::Refused;
use crate::judging::{Caller, Door};
use crate::score::json;

/// The fleet and the load, in the JSON of `jury status --json`.
pub(crate) async fn status(caller: Caller) -> Response {
    json(&FleetStatus::from(caller.coordinator.status_for(&caller.tenant)))
}

/// Whether the process answers at all.
pub(crate) async fn healthz() -> &'static str {
    "alive\n"
}

/// Whether a request sent now would be judged.
pub(crate) async fn readyz(State(door): State<Door>) -> Result<&'static str, Refused> {
    let unready = |code, message| Refused::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
    if !door.coordinator.is_open() {
        return Err(unready("SHUTTING_DOWN", "the coordinator is going down; try another"));
    }
    let fleet = FleetStatus::from(door.coordinator.status());
    if fleet.judges(None).is_empty() {
        return Err(unready("NO_WORKER", "no worker draws samples now"));
    }
    Ok("ready\n")
}

/// The contract.
pub(crate) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}
