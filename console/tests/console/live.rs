//! Update notices.

use axum::body::Body;
use axum::http::Request;
use futures::StreamExt;
use jury_worker::backend::scripted::{Act, Ending, ScriptedBackend};
use tower::ServiceExt;

use crate::site::{Site, request};

async fn events(site: &Site, path: &str) -> axum::body::BodyDataStream {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = site.router().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response.into_body().into_data_stream()
}

#[tokio::test(start_paused = true)]
async fn the_page_of_a_request_looks_again_when_a_sample_ends_and_a_last_time_when_it_is_over() {
    let held = ScriptedBackend::new().on_sample(|_, _| Act::held(Ending::BySeed));
    let handle = held.handle();
    let site = Site::open(held, 0).await;
    let judged = tokio::spawn({
        let coordinator = site.coordinator();
        async move { coordinator.score(request("q", &["Paris", "Lyon"])).await }
    });
    handle.wait_for_groups(1).await;
    let mut events = events(&site, "/requests/1/live").await;
    handle.release(0);
    let event = events.next().await.unwrap().unwrap();
    assert_eq!(&event[..], b"event: look\ndata: again\n\n");
    (1..4).for_each(|index| handle.release(index));
    judged.await.unwrap().unwrap();
    let rest: Vec<_> = events.collect().await;
    assert!(!rest.is_empty(), "it ends, after a last look");
}

#[tokio::test(start_paused = true)]
async fn the_overview_looks_at_the_fleet_even_when_nothing_is_judged() {
    let site = Site::open(ScriptedBackend::new(), 0).await;
    let mut events = events(&site, "/live").await;
    assert_eq!(&events.next().await.unwrap().unwrap()[..], b"event: look\ndata: again\n\n");
}
