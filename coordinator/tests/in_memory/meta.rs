//! Meta scores by a separate model, whose workers have the role `meta`, over gRPC.

use std::collections::BTreeSet;
use std::num::NonZeroU64;

use jury_grm::domain::{
    Failure, FailureKind, Issue, Reproducible, Sample, ScoreRequest, Status, VoteRule,
};
use jury_grm::trajectory;
use jury_proto::{ErrorCode, JuryError};
use jury_worker::backend::Backend;
use jury_worker::backend::scripted::{Act, Ending, RankAct, ScriptedBackend, scripted_score};

use crate::cluster::{Cluster, request};

fn meta() -> ScriptedBackend {
    ScriptedBackend::new().as_meta("judge-of-judges")
}

fn ranked(k: u32) -> ScoreRequest {
    let mut request = request(k);
    request.voting.meta = Some("judge-of-judges".to_owned());
    request
}

#[tokio::test]
async fn the_samples_that_the_model_ranks_highest_vote() {
    let cluster = Cluster::start(&[("grm", ScriptedBackend::new()), ("meta", meta())]).await;
    let verdict = cluster.score(ranked(8)).await.unwrap();
    assert_eq!((verdict.status, &verdict.meta_unavailable), (Status::Ok, &None));
    assert_eq!(verdict.provenance.meta_digest, Some(meta().info().model_digest));
    assert_eq!(verdict.provenance.voting.rule, Some(VoteRule::Top));
    let mut samples = verdict.samples.unwrap();
    for sample in &samples {
        let said = trajectory::text(sample).unwrap();
        assert_eq!(sample.meta_score, Some(scripted_score(&said)));
    }
    samples.sort_by(|a, b| {
        let by_score = b.meta_score.unwrap().total_cmp(&a.meta_score.unwrap());
        by_score.then(a.spec.index.cmp(&b.spec.index))
    });
    let mut best: Vec<u32> = samples[..4].iter().map(|sample| sample.spec.index).collect();
    best.sort_unstable();
    assert_eq!(verdict.voters, best);
}

/// Which samples vote depends as much on the bits of the Meta RM as on those of the judge.
#[tokio::test]
async fn a_verdict_is_as_reproducible_as_the_model_that_ranked_and_names_its_numerics() {
    let upstream = || {
        meta().with_info(|info| {
            info.reproducible = Reproducible::None;
            info.numerics = "upstream".to_owned();
        })
    };
    let provenance = async |workers: &[(&str, ScriptedBackend)], request| {
        Cluster::start(workers).await.score(request).await.unwrap().provenance
    };
    let grm = ScriptedBackend::new;
    let found = provenance(&[("grm", grm()), ("meta", upstream())], ranked(4)).await;
    assert_eq!(found.reproducible, Reproducible::None);
    assert_eq!(found.meta_numerics.as_deref(), Some("upstream"));
    let found = provenance(&[("grm", grm()), ("meta", meta())], ranked(4)).await;
    assert_eq!(found.reproducible, Reproducible::Bitwise);
    assert_eq!(found.meta_numerics, Some(meta().info().numerics));
    // A Meta RM that ranked nothing had no part in the verdict.
    let failed = Failure { kind: FailureKind::Worker, detail: "not a number".to_owned() };
    let failing = upstream().on_rank(move |_| RankAct::Fail(failed.clone()));
    let found = provenance(&[("grm", grm()), ("meta", failing)], ranked(4)).await;
    assert_eq!((found.reproducible, found.meta_numerics), (Reproducible::Bitwise, None));
    let found = provenance(&[("grm", grm()), ("meta", upstream())], request(4)).await;
    assert_eq!((found.reproducible, found.meta_numerics), (Reproducible::Bitwise, None));
}

#[tokio::test]
async fn a_verdict_says_that_texts_were_changed_to_be_ranked() {
    let changing = meta().on_rank(|_| RankAct::RankNeutralised);
    for (meta, neutralised) in [(changing, 8), (meta(), 0)] {
        let cluster = Cluster::start(&[("grm", ScriptedBackend::new()), ("meta", meta)]).await;
        let verdict = cluster.score(ranked(8)).await.unwrap();
        assert_eq!(verdict.meta_unavailable, None);
        assert_eq!((verdict.counts.valid, verdict.counts.neutralised), (8, neutralised));
        let says = |sample: &Sample| sample.issues.contains(&Issue::NeutralisedSpecials);
        assert!(verdict.samples.unwrap().iter().all(|sample| says(sample) == (neutralised > 0)));
    }
}

#[tokio::test]
async fn each_trajectory_is_ranked_once_with_the_prompt_that_its_sample_saw() {
    let (grm, meta) = (ScriptedBackend::new(), meta());
    let (drawn, calls) = (grm.handle(), meta.handle());
    let cluster = Cluster::start(&[("grm", grm), ("meta", meta)]).await;
    cluster.score(ranked(8)).await.unwrap();
    let mut seen = BTreeSet::new();
    for call in calls.rankings() {
        for said in &call.trajectories {
            assert!(seen.insert(said.index), "sample {} is ranked twice", said.index);
            let groups = drawn.groups();
            let of_sample = |group: &&jury_proto::convert::SampleGroup| {
                group.samples.iter().any(|spec| spec.index == said.index)
            };
            let group = groups.iter().find(of_sample).unwrap();
            assert_eq!(call.messages, group.messages);
        }
    }
    assert_eq!(seen, (0..8).collect());
}

#[tokio::test]
async fn a_sample_without_scores_is_not_ranked_and_its_spare_one_is() {
    let grm = ScriptedBackend::new().on_sample(|spec, _| match spec.index {
        1 => Act::now(Ending::Unparsed(FailureKind::NoBox)),
        _ => Act::now(Ending::BySeed),
    });
    let meta = meta();
    let calls = meta.handle();
    let cluster = Cluster::start(&[("grm", grm), ("meta", meta)]).await;
    let mut request = ranked(4);
    request.voting.refill = 1;
    let verdict = cluster.score(request).await.unwrap();
    assert_eq!((verdict.status, verdict.counts.valid), (Status::Ok, 4));
    let said = calls.rankings().into_iter().flat_map(|call| call.trajectories);
    let indices: BTreeSet<u32> = said.map(|said| said.index).collect();
    assert_eq!(indices, [0, 2, 3, 4].into());
}

#[tokio::test(start_paused = true)]
async fn what_one_worker_does_not_rank_another_does() {
    let expected = Cluster::start(&[("grm", ScriptedBackend::new()), ("meta", meta())])
        .await
        .score(ranked(8))
        .await
        .unwrap();
    let busy = || JuryError::new(ErrorCode::Overloaded, "no room");
    let broken = || JuryError::new(ErrorCode::Internal, "a bug");
    let failed = || Failure { kind: FailureKind::Worker, detail: "not a number".to_owned() };
    for act in [RankAct::Refuse(busy()), RankAct::Refuse(broken()), RankAct::Fail(failed())] {
        let bad = meta().on_rank(move |_| act.clone());
        let workers = [("grm", ScriptedBackend::new()), ("bad", bad), ("good", meta())];
        let found = Cluster::start(&workers).await.score(ranked(8)).await.unwrap();
        assert_eq!(found.status, Status::Ok, "{:?}", found.meta_unavailable);
        assert_eq!(
            (found.rewards, found.voters),
            (expected.rewards.clone(), expected.voters.clone())
        );
    }
}

/// Checks that all valid samples voted, with status PARTIAL, and returns why.
async fn plain_vote(meta: ScriptedBackend, request: ScoreRequest) -> String {
    let plain = Cluster::start(&[("grm", ScriptedBackend::new())]).await;
    let mut unranked = request.clone();
    unranked.voting.meta = None;
    let expected = plain.score(unranked).await.expect("nothing refuses it");
    let cluster = Cluster::start(&[("grm", ScriptedBackend::new()), ("meta", meta)]).await;
    let verdict = cluster.score(request).await.expect("nothing refuses it");
    assert_eq!((verdict.status, verdict.rewards), (Status::Partial, expected.rewards));
    assert_eq!(verdict.provenance.meta_digest, None);
    verdict.meta_unavailable.expect("PARTIAL has a reason")
}

#[tokio::test]
async fn what_cannot_be_ranked_leaves_a_plain_vote_that_says_so() {
    let failing = |kind, detail: &str| {
        let failure = Failure { kind, detail: detail.to_owned() };
        meta().on_rank(move |_| RankAct::Fail(failure.clone()))
    };
    let why = plain_vote(failing(FailureKind::TooLong, "9 tokens over"), ranked(4)).await;
    assert!(why.contains("4 of 4 valid samples") && why.contains("9 tokens over"), "{why}");
    let why = plain_vote(failing(FailureKind::Worker, "not a number"), ranked(4)).await;
    assert!(why.contains("worker meta: not a number"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_meta_rm_that_never_answers_costs_the_budget_and_no_more() {
    let hanging = meta().on_rank(|_| RankAct::Hang);
    let request = ScoreRequest { budget_ms: NonZeroU64::new(700), ..ranked(4) };
    let why = plain_vote(hanging, request).await;
    assert!(why.contains("the budget ended first"), "{why}");
}

#[tokio::test]
async fn a_model_that_nobody_serves_as_a_meta_rm_is_named() {
    let cluster = Cluster::start(&[("grm", ScriptedBackend::new())]).await;
    let mut request = ranked(2);
    // It draws, but does not rank.
    request.voting.meta = Some("scripted".to_owned());
    let why = cluster.score(request).await.unwrap().meta_unavailable.unwrap();
    assert!(why.contains("no worker with the role meta serves \"scripted\""), "{why}");
}
