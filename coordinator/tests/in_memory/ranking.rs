//! Meta scores by the workers' heads, over gRPC.

use jury_grm::domain::{ScoreRequest, Status, VoteRule};
use jury_worker::backend::Backend;
use jury_worker::backend::scripted::{Act, Ending, ScriptedBackend, example_head, scripted_state};
use jury_worker::heads::Heads;

use crate::cluster::{Cluster, request};

fn backend() -> ScriptedBackend {
    ScriptedBackend::new().with_states()
}

fn heads() -> Heads {
    let folder = tempfile::tempdir().expect("a folder for a head");
    let path = folder.path().join("head.safetensors");
    std::fs::write(&path, example_head("meta-1").to_bytes()).expect("a new file");
    Heads::load(&[path], &backend().info()).expect("a head of this model")
}

fn ranked(k: u32) -> ScoreRequest {
    let mut request = request(k);
    request.voting.meta = Some("meta-1".to_owned());
    request
}

#[tokio::test]
async fn the_samples_that_the_head_ranks_highest_vote() {
    let cluster = Cluster::start_with_heads(&[("w", backend())], |_| heads()).await;
    let verdict = cluster.score(ranked(8)).await.unwrap();
    assert_eq!((verdict.status, &verdict.meta_unavailable), (Status::Ok, &None));
    assert_eq!(verdict.provenance.meta_digest, Some(heads().list()[0].digest.clone()));
    assert_eq!(verdict.provenance.voting.rule, Some(VoteRule::Top));

    let mut samples = verdict.samples.unwrap();
    for sample in &samples {
        assert_eq!(sample.meta_score, Some(scripted_state(sample.spec.seed)[0].into()));
        assert_eq!(sample.hidden_state, None, "nobody asked for it");
    }
    samples.sort_by(|a, b| b.meta_score.unwrap().total_cmp(&a.meta_score.unwrap()));
    let mut best: Vec<u32> = samples[..4].iter().map(|sample| sample.spec.index).collect();
    best.sort_unstable();
    assert_eq!(verdict.voters, best);
}

#[tokio::test]
async fn where_some_workers_have_the_head_they_draw_the_request() {
    let alone = Cluster::start_with_heads(&[("a", backend())], |_| heads()).await;
    let expected = alone.score(ranked(8)).await.unwrap();
    let (a, b) = (backend(), backend());
    let unranked = b.handle();
    let cluster = Cluster::start_with_heads(&[("a", a), ("b", b)], |id| match id {
        "a" => heads(),
        _ => Heads::default(),
    })
    .await;
    let found = cluster.score(ranked(8)).await.unwrap();
    assert!(unranked.groups().is_empty(), "it cannot rank");
    assert_eq!((found.rewards, found.voters), (expected.rewards, expected.voters));
}

#[tokio::test]
async fn workers_that_have_the_head_draw_the_request_though_others_are_of_a_larger_class() {
    let card = backend().with_info(|info| {
        info.numerics = "card".to_owned();
        info.capacity *= 8;
    });
    let unranked = card.handle();
    let cluster = Cluster::start_with_heads(&[("a", backend()), ("b", card)], |id| match id {
        "a" => heads(),
        _ => Heads::default(),
    })
    .await;
    let found = cluster.score(ranked(8)).await.unwrap();
    assert_eq!((found.status, found.meta_unavailable), (Status::Ok, None));
    assert_eq!(found.provenance.numerics, Some(backend().info().numerics));
    assert!(unranked.groups().is_empty(), "it cannot rank");
    let plain = cluster.score(request(8)).await.unwrap();
    assert_eq!(plain.provenance.numerics.as_deref(), Some("card"));
}

#[tokio::test]
async fn a_head_that_goes_away_leaves_a_plain_vote_that_says_so() {
    let held = backend().on_sample(|_, _| Act::held(Ending::BySeed));
    let (ranker, handle) = (held.clone(), held.handle());
    let workers = [("ranker", ranker), ("plain", backend())];
    let cluster = Cluster::start_with_heads(&workers, |id| match id {
        "ranker" => heads(),
        _ => Heads::default(),
    })
    .await;
    let leaving = async {
        handle.wait_for_groups(2).await; // one per order
        cluster.leaves_unnoticed("ranker");
    };
    let (verdict, ()) = tokio::join!(cluster.score(ranked(8)), leaving);
    let verdict = verdict.unwrap();
    assert_eq!((verdict.status, verdict.counts.valid), (Status::Partial, 8));
    assert!(verdict.meta_unavailable.unwrap().contains("without a meta score"));
    assert_eq!(verdict.provenance.meta_digest, None);
    assert_eq!(verdict.voters, (0..8).collect::<Vec<u32>>());

    let plain = Cluster::start(&[("w", backend())]).await.score(request(8)).await.unwrap();
    assert_eq!(verdict.rewards, plain.rewards);
}

#[tokio::test]
async fn samples_carry_their_states_where_a_request_asks_for_them() {
    let cluster = Cluster::start(&[("w", backend())]).await;
    let mut request = request(4);
    request.include_hidden_states = true;
    for sample in cluster.score(request).await.unwrap().samples.unwrap() {
        assert_eq!(sample.hidden_state, Some(scripted_state(sample.spec.seed)));
        assert_eq!(sample.meta_score, None);
    }
}
