//! The content of the pages.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use jury_grm::domain::{FailureKind, Status, VoteRule};
use jury_worker::backend::scripted::{Act, Ending, ScriptedBackend};

use crate::site::{Site, request};

/// The first half of the samples ends at once, the rest when the test allows it.
fn half_held() -> ScriptedBackend {
    ScriptedBackend::new().on_sample(|spec, _| match spec.index < 2 {
        true => Act::now(Ending::Scores(vec![9.0, 3.0])),
        false => Act::held(Ending::Scores(vec![8.0, 2.0])),
    })
}

#[tokio::test]
async fn an_empty_overview_teaches_what_to_do() {
    let site = Site::open(ScriptedBackend::new(), 0).await;
    let page = site.page("/").await;
    assert!(page.text("head title").starts_with("Overview"));
    assert!(page.text("#fleet-workers").contains("embedded"));
    assert!(page.text("#in-flight-requests").contains("Nothing is being judged"));
    assert!(page.text("#recent-verdicts").contains("--keep-verdicts 50"));
}

#[tokio::test]
async fn a_request_in_flight_shows_the_samples_that_have_ended() {
    let backend = half_held();
    let handle = backend.handle();
    let site = Site::open(backend, 8).await;
    let judged = tokio::spawn({
        let coordinator = site.coordinator();
        async move { coordinator.score(request("Which is it?", &["Paris", "Lyon"])).await }
    });
    while site.get("/requests/1").await.status != StatusCode::OK
        || !site.page("/requests/1").await.text("#state").contains("2 of 4")
    {
        tokio::task::yield_now().await;
    }
    let page = site.page("/requests/1").await;
    assert_eq!(page.texts("details.sample").len(), 2);
    assert!(page.text("#query + .turns").contains("Which is it?"));
    assert_eq!(page.texts("#matrix tbody tr").len(), 4, "every planned sample has its line");
    assert!(site.page("/").await.text("#in-flight-requests").contains("2 of 4 samples"));

    (2..4).for_each(|index| handle.release(index));
    assert_eq!(judged.await.unwrap().unwrap().status, Status::Ok);
    let over = site.get("/requests/1").await;
    assert_eq!(over.status, StatusCode::SEE_OTHER);
    assert_eq!(over.headers["location"], "/verdicts/1");
}

#[tokio::test]
async fn a_verdict_opens_up_with_every_sample_in_the_callers_order() {
    // Sample 1 is shown the responses in reverse order.
    let by_place = |spec: &jury_grm::domain::SampleSpec, _: &_| {
        let score = |response: &usize| if *response == 1 { 9.0 } else { 4.0 };
        Act::now(Ending::Scores(spec.order.iter().map(score).collect()))
    };
    let site = Site::open(ScriptedBackend::new().on_sample(by_place), 8).await;
    let verdict = site.coordinator().score(request("q", &["Paris", "Lyon"])).await.unwrap();
    assert_eq!((verdict.pick, &verdict.samples), (Some(1), &None), "the caller asked for none");
    let page = site.page("/verdicts/1").await;
    assert!(page.text("head title").contains("capital: responses[1] is best"));
    assert!(page.text(".lead").contains("reward of 9.00"));
    assert_eq!(page.texts("details.sample").len(), 4);
    for row in page.texts("#matrix tbody tr") {
        assert!(row.ends_with("49votedagrees"), "{row}");
    }
    assert_eq!(
        page.text("svg.votes title").trim(),
        "4 samples agree with the pick, 0 tie, 0 differ"
    );
    assert!(page.texts("svg.scores title")[1].contains("responses[1]: 9, 9, 9, 9; reward 9.00"));
    assert!(site.page("/").await.text("#recent-verdicts tbody tr").contains("[1]"));
}

#[tokio::test]
async fn without_keep_verdicts_only_figures_are_known_after_the_answer() {
    let site = Site::open(ScriptedBackend::new(), 0).await;
    site.coordinator().score(request("a secret query", &["Paris", "Lyon"])).await.unwrap();
    let page = site.get("/verdicts/1").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("are not kept"));
    for text in ["a secret query", "Paris", "A critique"] {
        assert!(!page.text.contains(text) && !site.get("/").await.text.contains(text), "{text}");
    }
}

#[tokio::test]
async fn a_verdict_without_rewards_says_why() {
    let unreadable =
        ScriptedBackend::new().on_sample(|_, _| Act::now(Ending::Unparsed(FailureKind::NoBox)));
    let site = Site::open(unreadable, 8).await;
    site.coordinator().score(request("q", &["Paris", "Lyon"])).await.unwrap();
    let page = site.page("/verdicts/1").await;
    assert!(page.text(".lead").starts_with("There is no reward: "));
    assert!(page.texts(".row .why")[0].starts_with("no reward: "));
    assert!(page.texts("details.sample")[0].contains("no score box"));
}

#[tokio::test]
async fn what_is_unknown_is_404_and_another_name_is_not_answered() {
    let site = Site::open(ScriptedBackend::new(), 8).await;
    for path in ["/requests/7", "/verdicts/7", "/nothing"] {
        assert_eq!(site.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let rebound =
        Request::get("/").header("host", "evil.example:7495").body(Body::empty()).unwrap();
    assert_eq!(site.send(rebound).await.status, StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn every_answer_forbids_script_in_pages_and_other_hosts() {
    let site = Site::open(ScriptedBackend::new(), 8).await;
    for path in ["/", "/style.css", "/live.js", "/icon.svg", "/verdicts/7", "/nothing"] {
        let answer = site.get(path).await;
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{path}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
}

/// When the caller cancels a request, its texts are removed.
#[tokio::test]
async fn a_request_whose_caller_left_is_gone() {
    let site = Site::open(ScriptedBackend::new().on_sample(|_, _| Act::hangs()), 8).await;
    let coordinator = site.coordinator();
    let judging = coordinator.score(request("q", &["Paris", "Lyon"]));
    let seen = async {
        while site.get("/requests/1").await.status != StatusCode::OK {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        _ = judging => panic!("it hangs"),
        () = seen => {}
    }
    assert_eq!(site.get("/requests/1").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_hostile_response_stays_text_on_its_way_through_all_of_it() {
    let script = "<script>alert(1)</script></main><img src=x onerror=alert(1)>\u{202e}";
    let site = Site::open(ScriptedBackend::new(), 8).await;
    let mut asked = request(script, &[script, "tame"]);
    asked.item.id = script.to_owned();
    site.coordinator().score(asked).await.unwrap();
    for path in ["/", "/verdicts/1"] {
        let page = site.page(path).await;
        assert!(page.has("main") && !page.has("img") && !page.has("main script"), "{path}");
    }
    assert!(
        site.page("/verdicts/1").await.text("#response-0 .said").starts_with("<script>alert(1)")
    );
}

#[tokio::test]
async fn a_sample_without_a_vote_says_why_it_has_none() {
    let one_valid = ScriptedBackend::new().on_sample(|spec, _| match spec.index {
        0 => Act::now(Ending::Scores(vec![9.0, 3.0])),
        _ => Act::now(Ending::Unparsed(FailureKind::NoBox)),
    });
    let site = Site::open(one_valid, 8).await;
    let verdict = site.coordinator().score(request("q", &["Paris", "Lyon"])).await.unwrap();
    assert_eq!((verdict.status, verdict.counts.valid), (Status::Unscored, 1));
    let why = site.page("/verdicts/1").await.text("#sample-0 .why");
    assert_eq!(why, "It did not vote: nobody voted, since too few samples are valid.");

    // Three responses in panels of two: one panel has a single response.
    let site = Site::open(ScriptedBackend::new(), 8).await;
    let mut by_majority = request("q", &["Paris", "Lyon", "Nice"]);
    by_majority.voting.rule = Some(VoteRule::Majority);
    by_majority.settings.max_panel = 2;
    site.coordinator().score(by_majority).await.unwrap();
    let why = site.page("/verdicts/1").await.texts(".sample .why");
    assert!(!why.is_empty() && why.iter().all(|why| why.contains("a single response")), "{why:?}");
}

#[tokio::test]
async fn an_address_that_names_no_number_is_no_page() {
    let site = Site::open(ScriptedBackend::new(), 0).await;
    for path in ["/verdicts/abc", "/requests/-1", "/verdicts/99999999999999999999"] {
        let answer = site.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(answer.text.contains("No such page"), "{path}");
    }
}
