//! How requests are counted when they end.

use std::time::Duration;

use jury_coordinator::Config;
use jury_coordinator::tenants::{Tenants, TokenDigest};
use jury_proto::ErrorCode;
use jury_proto::v1;
use jury_proto::v1::reward_service_client::RewardServiceClient;
use jury_proto::v1::score_with_progress_response::Event;
use jury_worker::backend::scripted::{Act, Ending, ScriptedBackend};
use tonic::Request;

use crate::cluster::{Cluster, request};

fn requests(cluster: &Cluster, outcome: &str) -> u64 {
    figure(cluster, &format!("jury_coordinator_requests_total{{outcome=\"{outcome}\"}}"))
}

fn figure(cluster: &Cluster, series: &str) -> u64 {
    let text = cluster.metrics();
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    line.unwrap_or_else(|| panic!("{series}: {text}"))
        .trim()
        .parse()
        .expect("a counter is a whole number")
}

#[tokio::test]
async fn a_request_whose_caller_leaves_is_counted_with_what_was_drawn_for_it() {
    // Half of the samples finish, so tokens have been spent; the others keep the request open.
    let half = ScriptedBackend::new().on_sample(|spec, _| match spec.index {
        0 | 1 => Act::now(Ending::BySeed),
        _ => Act::hangs(),
    });
    let handle = half.handle();
    let cluster = Cluster::start(&[("w", half)]).await;
    let asked = v1::ScoreWithProgressRequest { request: Some(request(4).into()) };
    let mut client = RewardServiceClient::new(cluster.channel());
    let mut steps = client.score_with_progress(asked).await.unwrap().into_inner();
    loop {
        match steps.message().await.unwrap().and_then(|step| step.event) {
            Some(Event::Progress(step)) if step.samples_done == 2 => break,
            Some(Event::Progress(_)) => {}
            other => panic!("half of it hangs, {other:?}"),
        }
    }
    drop(steps);
    handle.wait_until_idle().await;
    while requests(&cluster, "abandoned") == 0 {
        tokio::task::yield_now().await;
    }
    let wasted = figure(&cluster, "jury_coordinator_wasted_tokens_total");
    let of_tenant = figure(&cluster, "jury_coordinator_tenant_tokens_total{tenant=\"default\"}");
    assert!(wasted > 0 && of_tenant > wasted, "{wasted} wasted, {of_tenant} with the prompts");
    for outcome in ["ok", "partial", "unscored", "invalid", "over_quota", "refused"] {
        assert_eq!(requests(&cluster, outcome), 0, "{outcome}");
    }
}

#[tokio::test]
async fn a_callers_mistake_and_a_quota_are_told_from_too_much_work() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tenants.toml");
    let digest = TokenDigest::of("token-of-a");
    let text = format!(
        "[[tenant]]\nname = \"a\"\ntoken_digests = [\"{digest}\"]\nsamples_per_minute = 4\n"
    );
    std::fs::write(&path, text).unwrap();
    let config = Config { tenants: Tenants::load(&path).unwrap(), ..Config::default() };
    let cluster =
        Cluster::start_with(config, Duration::ZERO, &[("w", ScriptedBackend::new())]).await;
    let score = async |asked: jury_grm::domain::ScoreRequest| {
        let mut call = Request::new(v1::ScoreRequest::from(asked));
        call.metadata_mut().insert("authorization", "Bearer token-of-a".parse().unwrap());
        RewardServiceClient::new(cluster.channel()).score(call).await
    };
    let mut first = request(4);
    first.request_id = "r".to_owned();
    score(first.clone()).await.unwrap();
    let mut reused = first;
    reused.seed = 7;
    let codes = [score(reused).await, score(request(0)).await, score(request(4)).await];
    let codes = codes.map(|answer| jury_proto::JuryError::from(answer.unwrap_err()).code);
    let [reused, malformed, over] = codes;
    assert_eq!(
        [reused, malformed, over],
        [ErrorCode::RequestIdReused, ErrorCode::InvalidArgument, ErrorCode::OverQuota]
    );
    cluster.close();
    score(request(4)).await.unwrap_err();
    let counted = ["ok", "invalid", "over_quota", "refused"].map(|name| requests(&cluster, name));
    assert_eq!(counted, [1, 2, 1, 1]);
}
