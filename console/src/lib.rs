//! The web console: the fleet, requests in flight with their samples as they arrive, and verdicts in detail.
//!
//! ```text
//! board    what is known: an observer of the coordinator       viewer   who is looking, and what they may see
//! opened   the details of a request, as numbers                chart    these numbers drawn, as inline SVG
//! pages    the pages, rendered on the server                   live     update notices, as server-sent events
//! text     hostile text, made visible                          guard    headers of every answer, and accepted hosts
//! ```
//!
//! People use it to decide whether to trust a reward. Responses and critiques are written by models that may be trained
//! against that reward, so all text is treated as hostile: it is escaped when markup is written (maud), invisible
//! characters are made visible, and a strict Content-Security-Policy backs this up. The page has no state: without
//! JavaScript it works by reloading.
//!
//! Not guaranteed: a permanent record. Everything shown is in memory, and bounded.

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

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use axum::serve::{IncomingStream, Listener};
use jury_coordinator::Coordinator;
use jury_fabric::transport::Peer;
use tokio::sync::Semaphore;

use sessions::Sessions;

pub use board::{Board, Limits};
pub use jury_fabric::transport::Reach;

/// Maximum number of pages that are kept up to date at once; further ones have to be reloaded by hand.
const MAX_LIVE_PAGES: usize = 64;

/// The state of the handlers.
#[derive(Clone)]
pub(crate) struct Console {
    coordinator: Coordinator,
    board: Arc<Board>,
    sessions: Arc<Sessions>,
    reach: Reach,
    live_pages: Arc<Semaphore>,
}

/// Serves the pages on `listener`, over TCP or TLS, until this is dropped. `board` must be the observer of
/// `coordinator`.
///
/// # Errors
/// If the listener fails.
pub async fn serve<L>(
    coordinator: Coordinator,
    board: Arc<Board>,
    reach: Reach,
    listener: L,
) -> io::Result<()>
where
    L: Listener<Addr = SocketAddr>,
    Peer: for<'a> Connected<IncomingStream<'a, L>>,
{
    let service = router(coordinator, board, reach).into_make_service_with_connect_info::<Peer>();
    axum::serve(listener, service).await
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
    /// Whether it is reached only over TLS.
    fn is_secure(&self) -> bool {
        self.reach == Reach::Tls
    }
}
