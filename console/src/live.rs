//! Update notices: events without content, after which the page fetches itself again.
//!
//! An event says that something happened since the last one, however much it was. Nothing is queued: a slow page or
//! connection catches up with its next fetch.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream};
use jury_coordinator::observe::RequestNumber;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::Console;
use crate::pages::missing::Number;
use crate::viewer::Viewer;

/// Minimum time between events: nobody reads faster than that.
const PAUSE: Duration = Duration::from_millis(700);
/// Workers' loads change independently of requests; the overview checks them at least this often.
const FLEET_LOOK: Duration = Duration::from_secs(4);
/// Proxies close connections that are silent for a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One page that is kept up to date.
struct Watching {
    console: Console,
    viewer: Viewer,
    /// The request that the page shows; `None` for the overview.
    number: Option<RequestNumber>,
    changes: watch::Receiver<u64>,
    /// The revision that was last seen; `None` at first, because something may have happened since the page was
    /// rendered.
    revision: Option<u64>,
    is_over: bool,
    _place: OwnedSemaphorePermit,
}

pub(crate) async fn overview(console: State<Console>, viewer: Viewer) -> Response {
    watch_page(console, viewer, None)
}

pub(crate) async fn request(
    console: State<Console>,
    viewer: Viewer,
    Number(number): Number,
) -> Response {
    watch_page(console, viewer, Some(RequestNumber(number)))
}

fn watch_page(
    State(console): State<Console>,
    viewer: Viewer,
    number: Option<RequestNumber>,
) -> Response {
    let Ok(place) = console.live_pages.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many pages are kept up to date\n")
            .into_response();
    };
    let changes = console.board.changes();
    let watching = Watching {
        console,
        viewer,
        number,
        changes,
        revision: None,
        is_over: false,
        _place: place,
    };
    Sse::new(events(watching)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

fn events(watching: Watching) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(watching, |mut watching| async move {
        if watching.is_over {
            return None;
        }
        watching.wait().await;
        Some((Ok(Event::default().event("look").data("again")), watching))
    })
}

// === impl Watching ===

impl Watching {
    /// Waits until there is something new.
    async fn wait(&mut self) {
        let Some(number) = self.number else {
            sleep(PAUSE).await;
            drop(timeout(FLEET_LOOK, self.changes.changed()).await);
            return;
        };
        loop {
            // Before each check, because the change may concern another request.
            sleep(PAUSE).await;
            let revision = self.console.board.revision(self.viewer.tenant(), number);
            // A finished request gets one last update, after which its page is a different one.
            self.is_over = revision.is_none();
            if self.is_over || revision != self.revision {
                self.revision = revision;
                return;
            }
            if self.changes.changed().await.is_err() {
                self.is_over = true;
                return;
            }
        }
    }
}
