//! Slow workers: others draw the samples that lag behind, and the verdict stays the same.

use std::time::Duration;

use jury_coordinator::Config;
use jury_grm::domain::{FailureKind, Reproducible, Status, StoppedBy, Verdict};
use jury_worker::backend::scripted::{Act, Ending, ScriptedBackend};

use crate::cluster::{Cluster, request};

/// Generates one token of each sample by the time the other worker has finished, and no more for a long time.
fn slow() -> ScriptedBackend {
    let first_token = Act { progress: vec![1], ..Act::hangs() };
    ScriptedBackend::new().on_sample(move |_, _| first_token.clone())
}

/// Judges 16 samples with a slow worker and another one.
async fn judge(hedge_budget: f64, other: ScriptedBackend) -> Verdict {
    let workers = [("slow", slow()), ("other", other)];
    let config = Config { hedge_budget, ..Config::default() };
    let cluster = Cluster::start_with(config, Duration::ZERO, &workers).await;
    cluster.score(request(16)).await.expect("the service answers")
}

#[tokio::test(start_paused = true)]
async fn stragglers_are_drawn_elsewhere_and_the_verdict_is_the_same() {
    let undisturbed = Cluster::start(&[("a", ScriptedBackend::new())]).await;
    let expected = undisturbed.score(request(16)).await.unwrap();

    let mut verdict = judge(1.0, ScriptedBackend::new()).await;
    assert_eq!((verdict.run.hedged, verdict.run.reissued), (8, 0));
    assert_eq!(verdict.run.wasted_tokens, 8, "what the slow one had");
    assert_eq!(verdict.run.workers, ["other"]);
    assert!(verdict.run.total_ms < 1_000, "{} ms", verdict.run.total_ms);
    verdict.run = expected.run.clone();
    assert_eq!(verdict, expected);
}

#[tokio::test(start_paused = true)]
async fn without_a_budget_or_beyond_it_nothing_is_hedged() {
    for hedge_budget in [0.0, 7.9 / 16.0] {
        let verdict = judge(hedge_budget, ScriptedBackend::new()).await;
        assert_eq!(verdict.run.hedged, 0, "{hedge_budget}");
        assert_eq!((verdict.status, verdict.stopped_by), (Status::Partial, StoppedBy::Budget));
    }
}

#[tokio::test(start_paused = true)]
async fn where_a_repeat_promises_nothing_nothing_is_hedged() {
    let fickle =
        |backend: ScriptedBackend| backend.with_info(|info| info.reproducible = Reproducible::None);
    let workers = [("slow", fickle(slow())), ("other", fickle(ScriptedBackend::new()))];
    let config = Config { hedge_budget: 1.0, ..Config::default() };
    let cluster = Cluster::start_with(config, Duration::ZERO, &workers).await;
    let verdict = cluster.score(request(16)).await.unwrap();
    assert_eq!((verdict.run.hedged, verdict.status), (0, Status::Partial));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_tells_no_tokens_is_judged_by_time() {
    let silent = ScriptedBackend::new().on_sample(|_, _| Act::hangs());
    let workers = [("slow", silent), ("other", ScriptedBackend::new())];
    let config = Config { hedge_budget: 1.0, ..Config::default() };
    let cluster = Cluster::start_with(config, Duration::ZERO, &workers).await;
    let verdict = cluster.score(request(16)).await.unwrap();
    assert_eq!((verdict.run.hedged, verdict.status), (8, Status::Ok));
}

#[tokio::test(start_paused = true)]
async fn one_worker_alone_is_never_hedged() {
    let half = ScriptedBackend::new().on_sample(|spec, _| match spec.index % 2 {
        0 => Act::now(Ending::BySeed),
        _ => Act::hangs(),
    });
    let config = Config { hedge_budget: 1.0, ..Config::default() };
    let cluster = Cluster::start_with(config, Duration::ZERO, &[("w", half)]).await;
    assert_eq!(cluster.score(request(16)).await.unwrap().run.hedged, 0);
}

#[tokio::test(start_paused = true)]
async fn a_spare_sample_that_leaves_less_than_half_finished_puts_the_next_look_off() {
    // The first of two ends without scores after a while; the other one and its spare take longer than the look
    // interval.
    let backend = ScriptedBackend::new().on_sample(|spec, _| match spec.index {
        0 => Act::after(Duration::from_millis(200), Ending::Unparsed(FailureKind::NoBox)),
        _ => Act::after(Duration::from_secs(5), Ending::BySeed),
    });
    let config = Config { hedge_budget: 1.0, ..Config::default() };
    let cluster = Cluster::start_with(config, Duration::ZERO, &[("w", backend)]).await;
    let mut refilled = request(2);
    refilled.voting.refill = 1;
    let verdict = cluster.score(refilled).await.unwrap();
    assert_eq!((verdict.status, verdict.counts.spare), (Status::Ok, 1));
}
