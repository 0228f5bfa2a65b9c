//! A page to look at: the fleet, requests in flight with their samples as they come, and verdicts opened up.
//!
//! ```text
//! board    what is known: an observer of the coordinator       viewer   who looks, and what that one may see
//! opened   a request opened up, as figures                     chart    these figures drawn, as inline SVG
//! pages    the pages, written on the server                    live     "look again", as server-sent events
//! text     hostile text, shown as what it is                   guard    headers of every answer, and who may be asked
//! ```
//!
//! People look at it to trust, or to distrust, a reward. Responses and critiques are written by models that may be
//! trained against that reward, so all text is hostile: it is escaped where markup is written (maud), characters that are
//! not seen are shown, and a strict Content-Security-Policy stands behind it. There is no state in the page: without script it
//! works by being loaded again.
//!
//! Not promised: a record. What is shown is in memory, and bounded.

mod assets;
pub mod board;
mod chart;
mod guard;
mod live;
mod opened;
mod pages;
mod sessions;
mod text;
mod viewer;
mod words;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use jury_coordinator::Coordinator;
use tokio::sync::Semaphore;

use sessions::Sessions;

pub use board::{Board, Limits};
pub use guard::Reach;

/// Pages that may be kept up to date at once; one more has to be loaded again by hand.
const MAX_LIVE_PAGES: usize = 64;

/// What handlers need.
#[derive(Clone)]
pub(crate) struct Console {
    coordinator: Coordinator,
    board: Arc<Board>,
    sessions: Arc<Sessions>,
    reach: Reach,
    live_pages: Arc<Semaphore>,
}

/// Serves the pages on `listener`, of TCP or of TLS, until this is dropped. `board` must be the observer of `coordinator`.
///
/// # Errors
/// When the listener fails.
pub async fn serve<L>(
    coordinator: Coordinator,
    board: Arc<Board>,
    reach: Reach,
    listener: L,
) -> io::Result<()>
where
    L: axum::serve::Listener,
    L::Addr: Debug,
{
    axum::serve(listener, router(coordinator, board, reach)).await
}

/// Every path of the console.
pub fn router(coordinator: Coordinator, board: Arc<Board>, reach: Reach) -> Router {
    let live_pages = Arc::new(Semaphore::new(MAX_LIVE_PAGES));
    let console = Console { coordinator, board, sessions: Arc::default(), reach, live_pages };
    Router::new()
        .route("/", get(pages::overview::show))
        .route("/live", get(live::overview))
        .route("/requests/{number}", get(pages::request::show))
        .route("/requests/{number}/live", get(live::request))
        .route("/verdicts/{number}", get(pages::verdict::show))
        .route(pages::sign_in::PATH, get(pages::sign_in::ask).post(pages::sign_in::begin))
        .route("/sign-out", post(pages::sign_in::end))
        .route("/style.css", get(assets::style))
        .route("/live.js", get(assets::script))
        .route("/icon.svg", get(assets::icon))
        .fallback(pages::missing::no_such_page)
        .method_not_allowed_fallback(pages::missing::no_such_page)
        .layer(from_fn_with_state(console.clone(), guard::guard))
        .with_state(console)
}

// === impl Console ===

impl Console {
    /// Whether it is reached over TLS alone.
    fn is_secure(&self) -> bool {
        self.reach == Reach::Tls
    }
}
