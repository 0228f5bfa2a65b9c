use std::sync::atomic::{AtomicU32, Ordering};

use jury_grm::domain::{
    Counts, Item, Provenance, Reason, Reproducible, RunReport, StoppedBy, Usage,
};
use tokio::sync::Notify;

use super::*;

fn request(request_id: &str, k: u32) -> ScoreRequest {
    let (item, _) = Item::from_json(r#"{"id": "i", "query": "q", "responses": ["a"]}"#).unwrap();
    let mut request = ScoreRequest::new(item);
    request.request_id = request_id.to_owned();
    request.settings.k = k;
    request
}

fn verdict(status: Status, reason: Option<ReasonCode>) -> Verdict {
    Verdict {
        item_id: "i".into(),
        status,
        rewards: vec![reason.is_none().then_some(7.0)],
        reasons: vec![reason.map(|code| Reason { code, detail: String::new() })],
        pick: None,
        tied: Vec::new(),
        confidence: None,
        agreement: None,
        stopped_by: StoppedBy::Complete,
        counts: Counts::default(),
        usage: Usage::default(),
        provenance: Provenance {
            model: None,
            model_digest: None,
            numerics: None,
            method_digest: String::new(),
            meta_digest: None,
            seed: 0,
            settings: jury_grm::domain::Settings::default(),
            escaped_markers: 0,
            reproducible: Reproducible::Bitwise,
            version: String::new(),
        },
        samples: None,
        run: RunReport::default(),
    }
}

fn memory() -> Idempotency {
    Idempotency::new(2, Duration::from_secs(60))
}

async fn judged(memory: &Idempotency, request: &ScoreRequest, answer: Verdict) -> bool {
    let judged = AtomicU32::new(0);
    let judge = || async {
        judged.fetch_add(1, Ordering::Relaxed);
        Ok(answer)
    };
    memory.once(request, judge).await.unwrap();
    judged.into_inner() == 1
}

#[tokio::test]
async fn a_repeated_request_is_not_judged_again() {
    let memory = memory();
    assert!(judged(&memory, &request("r", 8), verdict(Status::Ok, None)).await);
    assert!(!judged(&memory, &request("r", 8), verdict(Status::Ok, None)).await);
}

#[tokio::test]
async fn another_payload_under_the_same_id_is_an_error() {
    let memory = memory();
    judged(&memory, &request("r", 8), verdict(Status::Ok, None)).await;
    let error = memory.once(&request("r", 9), || async { unreachable!() }).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::RequestIdReused);
}

#[tokio::test]
async fn what_depended_on_the_moment_is_judged_again() {
    for (status, reason) in
        [(Status::Partial, None), (Status::Unscored, Some(ReasonCode::NoWorker))]
    {
        let memory = memory();
        assert!(judged(&memory, &request("r", 8), verdict(status, reason)).await);
        assert!(judged(&memory, &request("r", 8), verdict(status, reason)).await);
    }
}

#[tokio::test]
async fn of_identical_requests_at_once_one_is_judged_and_a_follower_takes_over_if_it_goes() {
    let memory = memory();
    let may_end = Arc::new(Notify::new());
    let started = Arc::new(Notify::new());
    let leader = tokio::spawn({
        let (memory, may_end, started) = (memory.clone(), may_end.clone(), started.clone());
        async move {
            let judge = || async {
                started.notify_one();
                may_end.notified().await;
                Ok(verdict(Status::Ok, None))
            };
            memory.once(&request("r", 8), judge).await
        }
    });
    started.notified().await;
    let follower = tokio::spawn({
        let memory = memory.clone();
        async move { judged(&memory, &request("r", 8), verdict(Status::Ok, None)).await }
    });
    tokio::task::yield_now().await;
    assert!(!follower.is_finished());
    leader.abort();
    assert!(follower.await.unwrap(), "the follower judged in the leader's place");
}

#[tokio::test(start_paused = true)]
async fn a_verdict_is_forgotten_after_its_time_and_when_there_are_too_many() {
    let memory = memory();
    judged(&memory, &request("a", 8), verdict(Status::Ok, None)).await;
    tokio::time::advance(Duration::from_secs(61)).await;
    assert!(judged(&memory, &request("a", 8), verdict(Status::Ok, None)).await);
    tokio::time::advance(Duration::from_secs(1)).await;
    judged(&memory, &request("b", 8), verdict(Status::Ok, None)).await;
    judged(&memory, &request("c", 8), verdict(Status::Ok, None)).await;
    assert!(judged(&memory, &request("a", 8), verdict(Status::Ok, None)).await);
}
