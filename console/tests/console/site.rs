//! A console over an embedded cluster with a scripted worker.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use jury_console::{Board, Limits, Reach, router};
use jury_coordinator::tenants::Tenants;
use jury_coordinator::{Config, Coordinator};
use jury_embedded::{Embedded, default_config};
use jury_grm::domain::{Item, Query, ScoreRequest};
use jury_worker::backend::Backend;
use jury_worker::backend::scripted::ScriptedBackend;
use jury_worker::heads::Heads;
use prometheus_client::registry::Registry;
use scraper::{Html, Selector};
use tower::ServiceExt;

/// Stops when dropped.
pub struct Site {
    cluster: Embedded,
    /// One router for all calls, because it holds the sessions.
    router: Router,
}

/// A complete answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

/// A request with these responses; everything else has its default, except for four samples.
pub fn request(query: &str, responses: &[&str]) -> ScoreRequest {
    let responses = responses.iter().map(|&text| text.to_owned()).collect();
    let item = Item::bare(Query::Text(query.to_owned()), responses);
    let mut request = ScoreRequest::new(Item { id: "capital".to_owned(), ..item });
    request.settings.k = 4;
    request
}

impl Site {
    /// Waits until the worker is ready.
    pub async fn open(backend: ScriptedBackend, keep: usize) -> Self {
        let site = Self::start(backend, keep, Tenants::open());
        while !site.page("/").await.has(".state.good") {
            tokio::task::yield_now().await;
        }
        site
    }

    /// Starts it for these tenants.
    pub fn start(backend: ScriptedBackend, keep: usize, tenants: Tenants) -> Self {
        let board = Arc::new(Board::new(Limits::of(keep), tenants.clone()));
        let config = Config { observer: Some(board.clone()), tenants, ..default_config() };
        let backend: Arc<dyn Backend> = Arc::new(backend);
        let cluster = Embedded::start(backend, Heads::default(), config, &mut Registry::default());
        let cluster = cluster.unwrap();
        let router = router(cluster.coordinator(), board, Reach::Plain);
        Self { cluster, router }
    }

    pub fn coordinator(&self) -> Coordinator {
        self.cluster.coordinator()
    }

    pub fn router(&self) -> Router {
        self.router.clone()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    /// A page that must exist.
    pub async fn page(&self, path: &str) -> Page {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        Page(Html::parse_document(&answer.text))
    }
}

/// A page as parsed by a browser.
pub struct Page(pub Html);

impl Page {
    /// The text of every element that matches, in order.
    pub fn texts(&self, selector: &str) -> Vec<String> {
        let selector = Selector::parse(selector).unwrap();
        let text = |element: scraper::ElementRef<'_>| element.text().collect::<String>();
        self.0.select(&selector).map(text).collect()
    }

    /// The text of the one element that matches.
    pub fn text(&self, selector: &str) -> String {
        let [text] = &self.texts(selector)[..] else {
            panic!("{selector}: {:?}", self.texts(selector))
        };
        text.clone()
    }

    pub fn has(&self, selector: &str) -> bool {
        !self.texts(selector).is_empty()
    }
}
