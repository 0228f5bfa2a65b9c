//! Budgets that are known to be too short are rejected before any work is done.

use std::num::NonZeroU64;
use std::time::Duration;

use jury_grm::domain::{ReasonCode, ScoreRequest, Status};
use jury_worker::backend::scripted::{Act, Ending, ScriptedBackend};

use crate::cluster::{Cluster, request};

fn with_budget(k: u32, seconds: u64) -> ScoreRequest {
    ScoreRequest { budget_ms: NonZeroU64::new(seconds * 1_000), ..request(k) }
}

#[tokio::test(start_paused = true)]
async fn a_budget_far_too_short_is_refused_with_the_estimate_while_others_run() {
    let held = ScriptedBackend::new().on_sample(|_, _| Act::held(Ending::BySeed));
    let handle = held.handle();
    let cluster = Cluster::start(&[("w", held)]).await;
    // Samples that take a minute.
    let learning = cluster.score(with_budget(16, 600));
    let minute = async {
        handle.wait_for_groups(2).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        for index in 0..16 {
            handle.release(index);
        }
    };
    assert_eq!(tokio::join!(learning, minute).0.unwrap().status, Status::Ok);

    let mut long = with_budget(32, 600);
    long.seed = 1;
    let running = cluster.score(long);
    let asking = async {
        handle.wait_for_groups(4).await;
        let n_groups = handle.groups().len();
        let verdict = cluster.score(with_budget(8, 20)).await.unwrap();
        assert_eq!((verdict.status, verdict.run.total_ms), (Status::Unscored, 0));
        let reason = verdict.reasons[0].clone().unwrap();
        assert_eq!(reason.code, ReasonCode::Budget);
        assert!(reason.detail.contains("60000 ms, the budget is 20000 ms"), "{reason:?}");
        assert_eq!(handle.groups().len(), n_groups, "no work was done for it");

        let verdict = cluster.score(with_budget(8, 40)).await.unwrap();
        assert_eq!(verdict.status, Status::Ok, "it might have been answered, so it was tried");
        handle.release_all();
    };
    assert_eq!(tokio::join!(running, asking).0.unwrap().status, Status::Ok);

    let verdict = cluster.score(with_budget(8, 20)).await.unwrap();
    assert_eq!(verdict.status, Status::Ok, "an idle fleet may have become quicker");
}
