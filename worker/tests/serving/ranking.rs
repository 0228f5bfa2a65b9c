//! Meta RMs: heads that score samples as they are drawn, and models that rank trajectories.

use std::time::Duration;

use jury_grm::domain::FailureKind;
use jury_proto::convert::{AdaptedModel, RankRequest, Ranked};
use jury_proto::v1::sample_response::Event;
use jury_proto::{ErrorCode, JuryError, v1};
use jury_worker::backend::Backend;
use jury_worker::backend::scripted::{
    Act, Ending, RankAct, ScriptedBackend, example_group, example_head, example_ranking,
    scripted_score, scripted_state,
};
use jury_worker::heads::Heads;

use crate::cluster::Cluster;

/// A worker with the example head, and its digest.
async fn with_a_head(backend: ScriptedBackend) -> (Cluster, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("head.safetensors");
    std::fs::write(&path, example_head("meta-1").to_bytes()).unwrap();
    let heads = Heads::load(&[path], &backend.info()).unwrap();
    let cluster = Cluster::start_with_heads(backend, heads, Duration::ZERO);
    let info = cluster.client.clone().get_info(v1::GetInfoRequest {}).await.unwrap();
    let [head] = &info.into_inner().heads[..] else { panic!("one head was given") };
    assert_eq!(head.name, "meta-1");
    let digest = head.digest.clone();
    (cluster, digest)
}

fn samples(events: Vec<Event>) -> Vec<v1::Sample> {
    let finished = events.into_iter().filter_map(|event| match event {
        Event::Finished(sample) => Some(sample),
        _ => None,
    });
    finished.collect()
}

#[tokio::test]
async fn a_head_that_the_group_names_scores_each_scored_sample_by_its_state() {
    let unscored = |spec: &jury_grm::domain::SampleSpec| match spec.index {
        2 => Ending::Unparsed(FailureKind::NoBox),
        _ => Ending::BySeed,
    };
    let backend = ScriptedBackend::new().with_states();
    let (cluster, digest) =
        with_a_head(backend.on_sample(move |spec, _| Act::now(unscored(spec)))).await;
    for keeps_states in [false, true] {
        let mut group = example_group(3);
        group.head_digest = Some(digest.clone());
        group.hidden_states = keeps_states;
        let samples = samples(cluster.call(group).await.unwrap().rest().await);
        assert_eq!(samples.len(), 3);
        for sample in samples {
            let spec = sample.spec.unwrap();
            let state = scripted_state(spec.seed);
            let is_scored = spec.index != 2;
            assert_eq!(sample.meta_score, is_scored.then(|| f64::from(state[0])));
            let kept = if keeps_states && is_scored { state } else { Vec::new() };
            assert_eq!(sample.hidden_state, kept);
        }
    }
    let plain = samples(cluster.call(example_group(1)).await.unwrap().rest().await);
    assert_eq!((plain[0].meta_score, plain[0].hidden_state.len()), (None, 0));
}

#[tokio::test]
async fn a_head_that_the_worker_does_not_have_refuses_the_group_by_its_digest() {
    let (cluster, _) = with_a_head(ScriptedBackend::new().with_states()).await;
    let mut group = example_group(1);
    group.head_digest = Some("another".to_owned());
    let error = cluster.call(group).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::WrongModel);
    assert!(error.message.contains("another"), "{error}");
    assert!(cluster.script.groups().is_empty(), "nothing was drawn");
}

#[tokio::test]
async fn a_head_refuses_samples_of_an_adapter_whose_states_it_does_not_know() {
    let adapter = AdaptedModel { name: "strict".into(), model_digest: "ad".repeat(32) };
    let backend =
        ScriptedBackend::new().with_states().with_info(|info| info.adapters = vec![adapter]);
    let (cluster, head) = with_a_head(backend).await;
    let mut group = example_group(1);
    group.model_digest = "ad".repeat(32);
    assert_eq!(samples(cluster.call(group.clone()).await.unwrap().rest().await).len(), 1);
    group.head_digest = Some(head);
    let error = cluster.call(group).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::WrongModel);
    assert!(error.message.contains("states of model"), "{error}");
    assert_eq!(cluster.script.groups().len(), 1, "nothing more was drawn");
}

/// Ranks over gRPC.
async fn rank(cluster: &Cluster, request: RankRequest) -> Result<Vec<Ranked>, JuryError> {
    let answer = cluster.client.clone().rank(v1::RankRequest::from(request)).await?.into_inner();
    assert!(answer.load.is_some());
    answer.ranked.into_iter().map(TryInto::try_into).collect()
}

#[tokio::test]
async fn a_meta_rm_ranks_trajectories_in_their_order_and_draws_nothing() {
    let cluster = Cluster::start(ScriptedBackend::new().as_meta("meta"));
    let info = cluster.client.clone().get_info(v1::GetInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.roles, [v1::WorkerRole::Meta as i32]);
    let request = example_ranking(3);
    let ranked = rank(&cluster, request.clone()).await.unwrap();
    for (said, ranked) in request.trajectories.iter().zip(ranked) {
        assert_eq!((ranked.index, ranked.outcome), (said.index, Ok(scripted_score(&said.text))));
    }
    let mut group = example_group(1);
    group.model_digest = info.model_digest;
    let error = cluster.call(group).await.err().unwrap();
    assert_eq!(error.code, ErrorCode::WrongModel);
    assert!(error.message.contains("role grm"), "{error}");
}

#[tokio::test]
async fn trajectories_for_another_model_or_for_a_worker_that_draws_are_refused_by_what_differs() {
    let meta = Cluster::start(ScriptedBackend::new().as_meta("meta"));
    let other = RankRequest { model_digest: "other".to_owned(), ..example_ranking(1) };
    let error = rank(&meta, other).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::WrongModel);
    assert!(error.message.contains("model digest"), "{error}");
    let grm = Cluster::start(ScriptedBackend::new());
    let error = rank(&grm, example_ranking(1)).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::WrongModel);
    assert!(error.message.contains("role meta"), "{error}");
}

#[tokio::test]
async fn a_worker_that_goes_down_cuts_what_it_ranks() {
    let backend = ScriptedBackend::new().as_meta("meta").on_rank(|_| RankAct::Hang);
    let cluster = Cluster::start_with_grace(backend, Duration::ZERO);
    let call = rank(&cluster, example_ranking(1));
    let leave = async {
        cluster.script.wait_for_rankings(1).await;
        cluster.shutdown.cancel();
    };
    let (ranked, ()) = tokio::join!(call, leave);
    assert_eq!(ranked.unwrap_err().code, ErrorCode::ShuttingDown);
}
