use jury_grm::domain::{
    Counts, Item, Provenance, Reason, Reproducible, RunReport, StoppedBy, Usage,
};
use tokio::sync::Notify;

use super::*;

/// An identity for the default tenant.
fn identity(request: &ScoreRequest) -> Option<Identity> {
    Identity::of(&"default".into(), request, true)
}

fn request(request_id: &str, k: u32) -> ScoreRequest {
    let (item, _) = Item::from_json(r#"{"id": "i", "query": "q", "responses": ["a"]}"#).unwrap();
    let mut request = ScoreRequest::new(item);
    request.request_id = request_id.to_owned();
    request.settings.k = k;
    request
}

/// A verdict with one response and no other contents.
pub(crate) fn verdict(status: Status, reason: Option<ReasonCode>) -> Verdict {
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
        voters: Vec::new(),
        weights: Vec::new(),
        meta_unavailable: None,
        counts: Counts::default(),
        usage: Usage::default(),
        provenance: Provenance {
            model: None,
            model_digest: None,
            numerics: None,
            method_digest: String::new(),
            meta_digest: None,
            meta_numerics: None,
            seed: 0,
            settings: jury_grm::domain::Settings::default(),
            voting: jury_grm::domain::Voting::default(),
            min_samples: None,
            hinted: false,
            forced_panel: None,
            escaped_markers: 0,
            reproducible: Reproducible::Bitwise,
            item_digest: None,
            version: String::new(),
        },
        samples: None,
        run: RunReport::default(),
    }
}

fn memory() -> Idempotency {
    let ttl = Duration::from_secs(60);
    Idempotency::new(Limits { max_entries: 2, max_bytes: 1 << 20, ttl })
}

fn after(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

async fn judged(memory: &Idempotency, request: &ScoreRequest, answer: Verdict) -> bool {
    let judge = || async { Ok(answer) };
    let answered = memory.once(identity(request), after(60), judge).await.unwrap();
    matches!(answered, Answered::Judged(_))
}

/// A leader with a budget of `seconds` that has begun, and judges until `end` is notified.
async fn leader(
    memory: &Idempotency,
    seconds: u64,
    answer: Verdict,
) -> (tokio::task::JoinHandle<Answered>, Arc<Notify>) {
    let (end, begun) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let leader = tokio::spawn({
        let (memory, end, begun) = (memory.clone(), end.clone(), begun.clone());
        async move {
            let judge = || async {
                begun.notify_one();
                end.notified().await;
                Ok(answer)
            };
            memory.once(identity(&request("r", 8)), after(seconds), judge).await.unwrap()
        }
    });
    begun.notified().await;
    (leader, end)
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
    let again = memory.once(identity(&request("r", 9)), after(60), || async { unreachable!() });
    assert_eq!(again.await.unwrap_err().code, ErrorCode::RequestIdReused);
}

#[tokio::test]
async fn a_batch_may_go_under_one_request_id() {
    let memory = memory();
    judged(&memory, &request("r", 8), verdict(Status::Ok, None)).await;
    let mut other = request("r", 9);
    other.item.id = "another".to_owned();
    assert!(judged(&memory, &other, verdict(Status::Ok, None)).await);
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
    let (leader, _) = leader(&memory, 60, verdict(Status::Ok, None)).await;
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
async fn a_duplicate_is_answered_within_its_own_budget() {
    let memory = memory();
    let (_leader, _end) = leader(&memory, 60, verdict(Status::Ok, None)).await;
    let begun = Instant::now();
    let identity = identity(&request("r", 8));
    let answered = memory.once(identity, after(2), || async { unreachable!() }).await.unwrap();
    assert_eq!(answered, Answered::OutOfTime);
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn followers_with_no_more_time_than_a_partial_leader_share_its_verdict() {
    let memory = memory();
    let (leader, end) = leader(&memory, 10, verdict(Status::Partial, None)).await;
    let follow = || {
        memory.once(identity(&request("r", 8)), after(10), || async {
            unreachable!("it could do no better")
        })
    };
    let followers = async { tokio::join!(follow(), follow(), follow()) };
    let ((a, b, c), ()) = tokio::join!(followers, async { end.notify_one() });
    let Answered::Judged(partial) = leader.await.unwrap() else { panic!("it led") };
    for answered in [a, b, c] {
        assert_eq!(answered.unwrap(), Answered::Replayed(Arc::clone(&partial)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_with_more_time_than_a_partial_leader_judges_again_within_its_budget() {
    let memory = memory();
    let (_leader, end) = leader(&memory, 10, verdict(Status::Partial, None)).await;
    let follower = tokio::spawn({
        let memory = memory.clone();
        async move { judged(&memory, &request("r", 8), verdict(Status::Ok, None)).await }
    });
    tokio::task::yield_now().await;
    end.notify_one();
    assert!(follower.await.unwrap());
    assert!(!judged(&memory, &request("r", 8), verdict(Status::Ok, None)).await, "it is kept");
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

#[tokio::test]
async fn verdicts_kept_are_bounded_in_bytes() {
    let large = || Verdict { item_id: "i".repeat(600), ..verdict(Status::Ok, None) };
    let ttl = Duration::from_secs(60);
    let memory = Idempotency::new(Limits { max_entries: 100, max_bytes: 1000, ttl });
    judged(&memory, &request("a", 8), large()).await;
    assert!(!judged(&memory, &request("a", 8), large()).await);
    judged(&memory, &request("b", 8), large()).await;
    assert!(!judged(&memory, &request("b", 8), large()).await);
    assert!(judged(&memory, &request("a", 8), large()).await, "the oldest went first");
    let larger = Verdict { item_id: "i".repeat(2000), ..verdict(Status::Ok, None) };
    judged(&memory, &request("c", 8), larger.clone()).await;
    assert!(judged(&memory, &request("c", 8), larger).await, "it is larger than all room");
}
