//! A coordinator over scripted workers, all in one process, over in-memory gRPC.

mod batch;
mod cluster;
mod counted;
mod forecast;
mod hedging;
mod meta;
mod observing;
mod progress;
mod ranking;
mod refusals;
mod scaling;
mod tenants;
mod turned_away;
mod voting;
mod workers;

use std::num::NonZeroU64;
use std::time::Duration;

use jury_coordinator::Config;
use jury_grm::domain::{FailureKind, ReasonCode, Status, StoppedBy};
use jury_proto::convert::TooLong;
use jury_proto::v1::reward_service_client::RewardServiceClient;
use jury_proto::{ErrorCode, JuryError, v1};
use jury_worker::backend::scripted::{Act, Ending, GroupAct, ScriptedBackend};

use cluster::{Cluster, request};

#[tokio::test]
async fn every_sample_votes_in_an_undisturbed_request() {
    let cluster = Cluster::start(&[("w", ScriptedBackend::new())]).await;
    let verdict = cluster.score(request(8)).await.unwrap();
    assert_eq!((verdict.status, verdict.stopped_by), (Status::Ok, StoppedBy::Complete));
    assert_eq!((verdict.counts.asked, verdict.counts.voted), (8, 8));
    assert!(verdict.rewards.iter().all(Option::is_some));
    assert!(verdict.reasons.iter().all(Option::is_none));
    assert_eq!(verdict.run.workers, ["w"]);
}

#[tokio::test]
async fn one_worker_and_three_give_the_same_verdict() {
    let one = Cluster::start(&[("a", ScriptedBackend::new())]).await;
    let three = Cluster::start(&[
        ("a", ScriptedBackend::new()),
        ("b", ScriptedBackend::new()),
        ("c", ScriptedBackend::new()),
    ])
    .await;
    let alone = one.score(request(32)).await.unwrap();
    let mut shared = three.score(request(32)).await.unwrap();
    assert!(shared.run.workers.len() > 1, "{:?}", shared.run);
    shared.run = alone.run.clone();
    assert_eq!(shared, alone);
}

#[tokio::test]
async fn samples_of_a_worker_that_dies_are_drawn_elsewhere_and_the_verdict_is_the_same() {
    let undisturbed = Cluster::start(&[("a", ScriptedBackend::new())]).await;
    let expected = undisturbed.score(request(16)).await.unwrap();

    let hanging = ScriptedBackend::new().on_sample(|_, _| Act::hangs());
    let victim = hanging.handle();
    let cluster = Cluster::start(&[("a", hanging), ("b", ScriptedBackend::new())]).await;
    let scoring = cluster.score(request(16));
    let killing = async {
        victim.wait_for_groups(1).await;
        victim.die("killed by the test");
    };
    let (verdict, ()) = tokio::join!(scoring, killing);
    let mut verdict = verdict.unwrap();
    assert!(verdict.run.reissued > 0);
    assert_eq!(verdict.run.workers, ["b"]);
    verdict.run = expected.run.clone();
    assert_eq!(verdict, expected);
}

#[tokio::test(start_paused = true)]
async fn at_the_budget_the_answer_is_partial_with_what_is_there() {
    let half = ScriptedBackend::new().on_sample(|spec, _| match spec.index % 2 {
        0 => Act::now(Ending::BySeed),
        _ => Act::hangs(),
    });
    let cluster = Cluster::start(&[("w", half)]).await;
    let verdict = cluster.score(request(8)).await.unwrap();
    assert_eq!((verdict.status, verdict.stopped_by), (Status::Partial, StoppedBy::Budget));
    assert_eq!((verdict.counts.valid, verdict.counts.timed_out), (4, 4));
    assert!(verdict.rewards.iter().all(Option::is_some));
}

#[tokio::test(start_paused = true)]
async fn with_too_few_samples_at_the_budget_there_is_no_reward_and_never_a_zero() {
    let straggling = ScriptedBackend::new().on_sample(|spec, _| match spec.index {
        0 => Act::now(Ending::BySeed),
        _ => Act::hangs(),
    });
    let handle = straggling.handle();
    let cluster = Cluster::start(&[("w", straggling)]).await;
    let verdict = cluster.score(request(8)).await.unwrap();
    assert_eq!(verdict.status, Status::Unscored);
    assert_eq!(verdict.rewards, [None, None]);
    let reason = verdict.reasons[0].clone().unwrap();
    assert_eq!(reason.code, ReasonCode::Budget);
    assert!(reason.detail.starts_with("1 of 8 samples are valid, 4 are needed"), "{reason:?}");
    handle.wait_until_idle().await;
}

#[tokio::test]
async fn unreadable_samples_are_told_from_lost_ones() {
    let unreadable =
        ScriptedBackend::new().on_sample(|_, _| Act::now(Ending::Unparsed(FailureKind::NoBox)));
    let cluster = Cluster::start(&[("w", unreadable)]).await;
    let verdict = cluster.score(request(4)).await.unwrap();
    assert_eq!(verdict.status, Status::Unscored);
    assert_eq!((verdict.counts.parse_failed, verdict.counts.failed), (4, 0));
    assert_eq!(verdict.reasons[1].as_ref().unwrap().code, ReasonCode::ParseFailed);

    let lossy =
        ScriptedBackend::new().on_sample(|_, _| Act::now(Ending::Failed(FailureKind::Worker)));
    let cluster = Cluster::start(&[("w", lossy)]).await;
    let verdict = cluster.score(request(4)).await.unwrap();
    assert_eq!((verdict.counts.parse_failed, verdict.counts.failed), (0, 4));
    assert_eq!(verdict.reasons[1].as_ref().unwrap().code, ReasonCode::WorkerFailed);
    assert_eq!(verdict.run.reissued, 4 * 3, "every sample was tried again, and not for ever");
}

#[tokio::test(start_paused = true)]
async fn what_a_server_rejects_is_drawn_by_another_and_else_is_no_loss_that_may_pass() {
    let rejecting =
        || ScriptedBackend::new().on_sample(|_, _| Act::now(Ending::Failed(FailureKind::Rejected)));
    let cluster = Cluster::start(&[("w", rejecting()), ("other", ScriptedBackend::new())]).await;
    let verdict = cluster.score(request(8)).await.unwrap();
    assert_eq!((verdict.status, verdict.counts.valid), (Status::Ok, 8));

    let cluster = Cluster::start(&[("w", rejecting())]).await;
    let verdict = cluster.score(request(4)).await.unwrap();
    assert_eq!((verdict.status, verdict.counts.failed), (Status::Unscored, 4));
    let reason = verdict.reasons[0].as_ref().unwrap();
    assert_eq!(reason.code, ReasonCode::Rejected);
    assert!(reason.detail.contains("worker w: ") && !reason.code.may_pass(), "{reason:?}");
}

#[tokio::test(start_paused = true)]
async fn a_busy_worker_is_asked_again_and_not_blamed() {
    let first_time = std::sync::atomic::AtomicBool::new(true);
    let busy_once = ScriptedBackend::new().on_group(move |_| {
        match first_time.swap(false, std::sync::atomic::Ordering::Relaxed) {
            true => GroupAct::Busy(Duration::from_millis(300)),
            false => GroupAct::Draw,
        }
    });
    let cluster = Cluster::start(&[("w", busy_once)]).await;
    let verdict = cluster.score(request(4)).await.unwrap();
    assert_eq!((verdict.status, verdict.run.reissued), (Status::Ok, 0));
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_a_model_that_is_started_on_demand_and_for_no_other() {
    let config = Config { awaited_models: vec!["scripted".to_owned()], ..Config::default() };
    let workers = [("w", ScriptedBackend::new())];
    let (cluster, arrive) = Cluster::start_before_workers(config, &workers).await;
    let mut asked = request(4);
    asked.model = Some("scripted".to_owned());
    asked.budget_ms = NonZeroU64::new(240_000);
    let started_late = async {
        tokio::time::sleep(Duration::from_secs(180)).await;
        arrive();
    };
    let (verdict, ()) = tokio::join!(cluster.score(asked), started_late);
    let verdict = verdict.unwrap();
    assert_eq!((verdict.status, verdict.counts.valid), (Status::Ok, 4));
    assert!(verdict.run.queue_ms >= 180_000, "{:?}", verdict.run);

    let mut other = request(2);
    other.model = Some("gpt-17".to_owned());
    let verdict = cluster.score(other).await.unwrap();
    assert_eq!(verdict.reasons[0].as_ref().unwrap().code, ReasonCode::UnknownModel);
}

#[tokio::test(start_paused = true)]
async fn without_a_worker_or_the_right_model_the_verdict_says_so() {
    let empty = Cluster::start::<ScriptedBackend>(&[]).await;
    let verdict = empty.score(request(2)).await.unwrap();
    assert_eq!((verdict.status, verdict.stopped_by), (Status::Unscored, StoppedBy::Refused));
    assert_eq!(verdict.reasons[0].as_ref().unwrap().code, ReasonCode::NoWorker);

    let cluster = Cluster::start(&[("w", ScriptedBackend::new())]).await;
    let mut other = request(2);
    other.model = Some("gpt-17".to_owned());
    let verdict = cluster.score(other).await.unwrap();
    let reason = verdict.reasons[0].clone().unwrap();
    assert_eq!(reason.code, ReasonCode::UnknownModel);
    assert_eq!(reason.detail, "no worker serves model \"gpt-17\"; the fleet serves scripted");
}

#[tokio::test]
async fn a_request_id_is_judged_once_and_held_to_its_payload() {
    let scripted = ScriptedBackend::new();
    let handle = scripted.handle();
    let cluster = Cluster::start(&[("w", scripted)]).await;
    let mut first = request(4);
    first.request_id = "r-1".to_owned();
    let verdict = cluster.score(first.clone()).await.unwrap();
    let n_groups = handle.groups().len();
    assert_eq!(cluster.score(first.clone()).await.unwrap(), verdict);
    assert_eq!(handle.groups().len(), n_groups, "nothing was drawn again");

    first.seed = 5;
    assert_eq!(cluster.score(first).await.unwrap_err().code, ErrorCode::RequestIdReused);
}

#[tokio::test]
async fn a_malformed_item_of_a_stream_fails_alone() {
    let cluster = Cluster::start(&[("w", ScriptedBackend::new())]).await;
    let mut client = RewardServiceClient::new(cluster.channel());
    let good = |sequence| v1::ScoreStreamRequest::new(sequence, &request(2).into());
    let bad = v1::ScoreStreamRequest::new(1, &v1::ScoreRequest::default());
    let requests = tokio_stream::iter([good(0), bad, good(2)]);
    let mut answers = client.score_stream(requests).await.unwrap().into_inner();
    let mut seen = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        match answer.result.unwrap() {
            v1::score_stream_response::Result::Verdict(_) => assert_ne!(answer.sequence, 1),
            v1::score_stream_response::Result::Progress(_) => panic!("nobody asked for it"),
            v1::score_stream_response::Result::Error(error) => {
                assert_eq!(answer.sequence, 1);
                assert_eq!(JuryError::from(error).field.as_deref(), Some("item"));
            }
        }
        seen.push(answer.sequence);
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2]);
}

#[tokio::test]
async fn an_item_that_cannot_be_decoded_fails_alone() {
    let cluster = Cluster::start(&[("w", ScriptedBackend::new())]).await;
    let mut client = RewardServiceClient::new(cluster.channel());
    let good = |sequence| v1::ScoreStreamRequest::new(sequence, &request(2).into());
    // The field "model", with bytes that are not UTF-8.
    let bytes = vec![0x12, 0x02, 0xff, 0xfe];
    let bad =
        v1::ScoreStreamRequest { sequence: 1, request: Some(bytes.into()), with_progress: false };
    let requests = tokio_stream::iter([good(0), bad, good(2)]);
    let mut answers = client.score_stream(requests).await.unwrap().into_inner();
    let mut n_verdicts = 0;
    while let Some(answer) = answers.message().await.unwrap() {
        match answer.result.unwrap() {
            v1::score_stream_response::Result::Verdict(_) => n_verdicts += 1,
            v1::score_stream_response::Result::Progress(_) => panic!("nobody asked for it"),
            v1::score_stream_response::Result::Error(error) => {
                let error = JuryError::from(error);
                assert_eq!((answer.sequence, error.code), (1, ErrorCode::InvalidArgument));
            }
        }
    }
    assert_eq!(n_verdicts, 2);
}

#[tokio::test]
async fn what_a_stream_brought_before_a_message_over_the_limit_is_still_answered() {
    let cluster = Cluster::start(&[("w", ScriptedBackend::new())]).await;
    let mut client =
        RewardServiceClient::new(cluster.channel()).max_encoding_message_size(usize::MAX);
    let good = v1::ScoreStreamRequest::new(0, &request(2).into());
    let bytes = vec![0; jury_fabric::transport::MAX_MESSAGE_BYTES + 1];
    let bad =
        v1::ScoreStreamRequest { sequence: 1, request: Some(bytes.into()), with_progress: false };
    let requests = tokio_stream::iter([good, bad]);
    let mut answers = client.score_stream(requests).await.unwrap().into_inner();
    let first = answers.message().await.unwrap().unwrap();
    assert_eq!(first.sequence, 0);
    assert!(matches!(first.result, Some(v1::score_stream_response::Result::Verdict(_))));
    assert!(answers.message().await.unwrap_err().message().contains("too large"));
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_was_asked_for_outlasts_the_deadline_of_the_call_and_is_used_whole() {
    let hanging = ScriptedBackend::new().on_sample(|_, _| Act::hangs());
    let cluster = Cluster::start(&[("w", hanging)]).await;
    let mut asked = request(2);
    asked.budget_ms = NonZeroU64::new(60_000);
    let mut call = tonic::Request::new(v1::ScoreRequest::from(asked));
    call.set_timeout(Duration::from_secs(65));
    let mut client = RewardServiceClient::new(cluster.channel());
    let verdict = client.score(call).await.unwrap().into_inner().verdict.unwrap();
    assert_eq!(verdict.run.unwrap().total_ms, 60_000);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_is_answered_within_its_own_budget() {
    let hanging = ScriptedBackend::new().on_sample(|_, _| Act::hangs());
    let handle = hanging.handle();
    let cluster = Cluster::start(&[("w", hanging)]).await;
    let with_budget = |ms| {
        let mut same = request(2);
        same.request_id = "r".to_owned();
        same.budget_ms = NonZeroU64::new(ms);
        same
    };
    let duplicate = async {
        handle.wait_for_groups(2).await;
        cluster.score(with_budget(2_000)).await.unwrap()
    };
    let (leader, duplicate) = tokio::join!(cluster.score(with_budget(60_000)), duplicate);
    assert_eq!(duplicate.run.total_ms, 2_000);
    assert_eq!(duplicate.reasons[0].as_ref().unwrap().code, ReasonCode::Budget);
    assert_eq!(leader.unwrap().run.total_ms, 60_000);
}

#[tokio::test(start_paused = true)]
async fn the_load_of_a_worker_whose_call_ended_at_the_budget_is_told_anew() {
    let hanging = ScriptedBackend::new().on_sample(|_, _| Act::hangs());
    let cluster = Cluster::start(&[("w", hanging)]).await;
    cluster.score(request(12)).await.unwrap();
    assert_eq!(cluster.n_running("w"), 0);
}

#[tokio::test]
async fn a_caller_that_goes_away_stops_the_work() {
    let hanging = ScriptedBackend::new().on_sample(|_, _| Act::hangs());
    let handle = hanging.handle();
    let cluster = Cluster::start(&[("w", hanging)]).await;
    tokio::select! {
        _ = cluster.score(request(4)) => panic!("it hangs"),
        () = handle.wait_for_groups(2) => {}
    }
    handle.wait_until_idle().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_that_left_unnoticed_is_soon_known_to_be_away() {
    let fleet = [("stays", ScriptedBackend::new()), ("leaves", ScriptedBackend::new())];
    let cluster = Cluster::start(&fleet).await;
    cluster.leaves_unnoticed("leaves");
    tokio::time::timeout(Duration::from_secs(10), async {
        while cluster.is_ready("leaves") {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .expect("it is asked every two seconds");
    assert!(cluster.is_ready("stays"));
}

#[tokio::test]
async fn a_prompt_too_long_is_unscored_with_its_figures_and_no_failure_of_a_worker() {
    let too_long = TooLong {
        prompt_tokens: 9375,
        limit_tokens: 7680,
        over_by: 1695,
        longest_response: Some(1),
        longest_response_tokens: 9000,
    };
    let backend = ScriptedBackend::new().on_group(move |_| GroupAct::TooLong(too_long));
    let cluster = Cluster::start(&[("w", backend)]).await;
    let verdict = cluster.score(request(2)).await.unwrap();
    assert_eq!((verdict.counts.too_long, verdict.counts.failed), (2, 0));
    assert_eq!((verdict.status, &verdict.rewards[..]), (Status::Unscored, &[None, None][..]));
    for reason in verdict.reasons {
        let reason = reason.unwrap();
        assert_eq!(reason.code, ReasonCode::TooLong);
        for figure in ["9375", "1695", "7680", "responses[1]", "9000"] {
            assert!(reason.detail.contains(figure), "{} lacks {figure}", reason.detail);
        }
    }
}

#[tokio::test]
async fn status_tells_the_fleet() {
    let cluster = Cluster::start(&[("w", ScriptedBackend::new())]).await;
    let mut client = RewardServiceClient::new(cluster.channel());
    let status = client.get_status(v1::GetStatusRequest {}).await.unwrap().into_inner();
    assert_eq!(status.directory, "in-process");
    let worker = &status.workers[0];
    assert_eq!((worker.worker_id.as_str(), worker.model.as_str()), ("w", "scripted"));
    assert_eq!(worker.state(), v1::WorkerState::Ready);
}

#[tokio::test]
async fn a_stream_without_items_in_flight_ends_when_the_coordinator_leaves() {
    let cluster = Cluster::start(&[("w", ScriptedBackend::new())]).await;
    let (_requests, sent) = tokio::sync::mpsc::channel::<v1::ScoreStreamRequest>(1);
    let mut client = RewardServiceClient::new(cluster.channel());
    let messages = tokio_stream::wrappers::ReceiverStream::new(sent);
    let mut answers = client.score_stream(messages).await.unwrap().into_inner();
    cluster.close();
    assert_eq!(answers.message().await.unwrap(), None);
}
