//! A watcher's task: list, send updates, watch, and resume where the last watch ended; start over if the server has
//! forgotten that version.
//!
//! kube's own watcher is not used. In version 5 of the runtime it retries forever when the start of a watch is answered
//! with 410, and it does not report a server that is back but has nothing to send.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::Status;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::link::Link;
use super::slices::View;
use super::{Shared, Update};

/// A list, or the start of a watch, that takes longer counts as failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The server ends a watch after this time, and the next one continues it. This exposes a connection that died
/// silently.
const WATCH_SECONDS: u32 = 120;
/// The same, plus time for the end to arrive.
const WATCH_TIMEOUT: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 10);
/// If the server ends a watch sooner, something is wrong: pause before the next one.
const SHORTEST_WATCH: Duration = Duration::from_secs(1);
/// Slices per page of a list.
const PAGE: u32 = 100;
/// "Gone": the server has forgotten the requested version.
const GONE: u16 = 410;
/// "Forbidden": a role is missing.
const FORBIDDEN: u16 = 403;

/// Why a session with the API server ended.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the API server has forgotten the version that the watch needs")]
    Gone,
    #[error(
        "the API server forbids it ({0}); the service account needs get, list and watch of endpointslices.discovery.k8s.io"
    )]
    Forbidden(String),
    #[error("the API server answered {code}: {message}")]
    Refused { code: u16, message: String },
    #[error("{0}")]
    Connection(String),
    #[error("the API server did not answer in time")]
    Silent,
    #[error("the API server ended the watch at once")]
    Ended,
    #[error("the API server's answer cannot be read: {0}")]
    Unreadable(String),
    #[error("the API server's list has no version")]
    NoVersion,
}

/// Follows the fleet until the receiver of `updates` is gone.
pub(super) async fn follow(shared: Arc<Shared>, updates: mpsc::Sender<Update>) {
    let mut link = Link::new("kubernetes", "directory");
    let mut view = None;
    let forever = async {
        loop {
            let Err(trouble) = session(&shared, &mut view, &updates, &mut link).await;
            shared.watching.store(false, Ordering::Relaxed);
            if !trouble.keeps_place() {
                view = None;
            }
            link.wait_after(&trouble).await;
        }
    };
    tokio::select! {
        () = updates.closed() => {}
        () = forever => {}
    }
    shared.watching.store(false, Ordering::Relaxed);
}

// === private ===

/// Lists unless there is a list already, then watches again and again from there until something breaks.
async fn session(
    shared: &Shared,
    view: &mut Option<View>,
    updates: &mpsc::Sender<Update>,
    link: &mut Link,
) -> Result<Infallible, Trouble> {
    let view = match view {
        Some(view) => view,
        None => {
            let listed = view.insert(list(shared).await?);
            shared.watching.store(true, Ordering::Relaxed);
            tell(updates, listed.as_reset()).await;
            listed
        }
    };
    let params = WatchParams::default().labels(&shared.wanted.selector()).timeout(WATCH_SECONDS);
    loop {
        let began = Instant::now();
        let watch = shared.slices.watch(&params, &view.version);
        let mut watch = pin!(in_time(REQUEST_TIMEOUT, watch).await??);
        shared.watching.store(true, Ordering::Relaxed);
        link.reached();
        while let Some(event) = in_time(WATCH_TIMEOUT, watch.next()).await? {
            for update in taken_in(view, event?)? {
                tell(updates, update).await;
            }
        }
        if began.elapsed() < SHORTEST_WATCH {
            return Err(Trouble::Ended);
        }
    }
}

async fn list(shared: &Shared) -> Result<View, Trouble> {
    let mut params = ListParams::default().labels(&shared.wanted.selector()).limit(PAGE);
    let mut listed = Vec::new();
    loop {
        let page = in_time(REQUEST_TIMEOUT, shared.slices.list(&params)).await??;
        listed.extend(page.items);
        let next = page.metadata.continue_.filter(|token| !token.is_empty());
        if next.is_none() {
            let version = page.metadata.resource_version.filter(|version| !version.is_empty());
            let version = version.ok_or(Trouble::NoVersion)?;
            return Ok(View::new(shared.wanted.clone(), version, listed));
        }
        params.continue_token = next;
    }
}

fn taken_in(view: &mut View, event: WatchEvent<EndpointSlice>) -> Result<Vec<Update>, Trouble> {
    match event {
        WatchEvent::Added(slice) | WatchEvent::Modified(slice) => Ok(view.put(slice)),
        WatchEvent::Deleted(slice) => Ok(view.remove(&slice)),
        WatchEvent::Bookmark(bookmark) => {
            view.version = bookmark.metadata.resource_version;
            Ok(Vec::new())
        }
        WatchEvent::Error(status) => Err(Trouble::from(*status)),
    }
}

/// [`follow`] notices a closed channel and then ends this task.
async fn tell(updates: &mpsc::Sender<Update>, update: Update) {
    drop(updates.send(update).await);
}

async fn in_time<T>(limit: Duration, answer: impl Future<Output = T>) -> Result<T, Trouble> {
    tokio::time::timeout(limit, answer).await.map_err(|_| Trouble::Silent)
}

/// The root cause of an error; the others are layers of the client.
fn first_cause(error: &kube::Error) -> &dyn Error {
    let mut cause: &dyn Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause
}

// === impl Trouble ===

impl Trouble {
    /// Whether the next watch may resume where this one ended, because it ended without an error.
    fn keeps_place(&self) -> bool {
        matches!(self, Self::Connection(_) | Self::Silent | Self::Ended)
    }
}

impl From<Status> for Trouble {
    fn from(status: Status) -> Self {
        match status.code {
            GONE => Self::Gone,
            FORBIDDEN => Self::Forbidden(status.message),
            code => Self::Refused { code, message: status.message },
        }
    }
}

impl From<kube::Error> for Trouble {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::from(*status),
            kube::Error::SerdeError(error) => Self::Unreadable(error.to_string()),
            other => Self::Connection(first_cause(&other).to_string()),
        }
    }
}
