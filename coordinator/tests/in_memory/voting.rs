//! Vote rules, stop rules, spare samples and forced panels, over gRPC.

use jury_grm::domain::{
    FailureKind, Item, Query, ReasonCode, SampleSpec, ScoreRequest, Status, StopRule, StoppedBy,
    Verdict, VoteRule,
};
use jury_proto::convert::{SampleGroup, TooLong};
use jury_worker::backend::scripted::{Act, Ending, GroupAct, ScriptedBackend};

use crate::cluster::{Cluster, request};

/// The first response gets 9 or 10, all others 1 or 2.
fn clear(spec: &SampleSpec) -> Ending {
    let noise = f64::from(spec.index % 2);
    let score = |&response: &usize| if response == 0 { 9.0 + noise } else { 1.0 + noise };
    Ending::Scores(spec.order.iter().map(score).collect())
}

fn clear_judge() -> ScriptedBackend {
    ScriptedBackend::new().on_sample(|spec, _| Act::now(clear(spec)))
}

fn lossless(k: u32) -> ScoreRequest {
    let mut request = request(k);
    request.voting.stop = StopRule::Lossless;
    request
}

/// The verdict without the fields that may differ between two runs.
fn stable(verdict: Verdict) -> Verdict {
    Verdict { run: jury_grm::domain::RunReport::default(), ..verdict }
}

#[tokio::test]
async fn a_verdict_that_stopped_early_is_whole_and_says_what_it_saved() {
    let cluster = Cluster::start(&[("w", clear_judge())]).await;
    let verdict = cluster.score(lossless(16)).await.unwrap();
    assert_eq!((verdict.status, verdict.stopped_by), (Status::Ok, StoppedBy::Lossless));
    let counts = verdict.counts;
    assert_eq!((counts.asked, counts.voted, counts.not_needed), (16, 10, 6));
    assert_eq!(verdict.voters, (0..10).collect::<Vec<u32>>());
    assert_eq!(verdict.rewards, [Some(9.5), Some(1.5)]);
    assert_eq!(verdict.provenance.voting.stop, StopRule::Lossless);
    let samples = verdict.samples.unwrap();
    let not_needed = |sample: &jury_grm::domain::Sample| {
        sample.failure().is_some_and(|failure| failure.kind == FailureKind::NotNeeded)
    };
    assert!(samples[10..].iter().all(not_needed));
}

#[tokio::test]
async fn what_arrives_first_changes_no_byte_of_a_verdict_that_stopped_early() {
    let in_order = Cluster::start(&[("w", clear_judge())]).await;
    let expected = stable(in_order.score(lossless(16)).await.unwrap());

    // Samples end from the last to the first.
    let held = ScriptedBackend::new().on_sample(|spec, _| Act::held(clear(spec)));
    let handle = held.handle();
    let cluster = Cluster::start(&[("w", held)]).await;
    let releasing = async {
        handle.wait_for_groups(2).await;
        for (n_ended, index) in (1..).zip((0..16).rev()) {
            handle.release(index);
            handle.wait_for_ends(n_ended).await;
        }
    };
    let (backwards, ()) = tokio::join!(cluster.score(lossless(16)), releasing);
    assert_eq!(stable(backwards.unwrap()), expected);

    // The samples after the prefix never end: they are cancelled.
    let slow = ScriptedBackend::new().on_sample(|spec, _| match spec.index {
        0..10 => Act::now(clear(spec)),
        _ => Act::hangs(),
    });
    let handle = slow.handle();
    let cluster = Cluster::start(&[("w", slow)]).await;
    assert_eq!(stable(cluster.score(lossless(16)).await.unwrap()), expected);
    handle.wait_until_idle().await;
}

#[tokio::test]
async fn a_worker_that_dies_changes_no_byte_of_a_verdict_that_stopped_early() {
    let undisturbed = Cluster::start(&[("a", clear_judge())]).await;
    let expected = stable(undisturbed.score(lossless(16)).await.unwrap());
    let hanging = ScriptedBackend::new().on_sample(|_, _| Act::hangs());
    let victim = hanging.handle();
    let cluster = Cluster::start(&[("a", hanging), ("b", clear_judge())]).await;
    let killing = async {
        victim.wait_for_groups(1).await;
        victim.die("killed by the test");
    };
    let (verdict, ()) = tokio::join!(cluster.score(lossless(16)), killing);
    assert_eq!(stable(verdict.unwrap()), expected);
}

#[tokio::test]
async fn a_spare_sample_takes_the_place_of_one_without_scores() {
    let judge = ScriptedBackend::new().on_sample(|spec, _| match spec.index {
        1 | 3 => Act::now(Ending::Unparsed(FailureKind::NoBox)),
        _ => Act::now(clear(spec)),
    });
    let cluster = Cluster::start(&[("w", judge)]).await;
    let mut refilled = request(4);
    refilled.voting.refill = 3;
    let verdict = cluster.score(refilled).await.unwrap();
    let counts = verdict.counts;
    assert_eq!((verdict.status, counts.asked, counts.spare), (Status::Ok, 6, 2));
    assert_eq!((counts.valid, counts.voted, counts.parse_failed), (4, 4, 2));
    assert_eq!(verdict.voters, [0, 2, 4, 5]);
}

#[tokio::test]
async fn spare_samples_replace_each_other_and_end_with_the_refill() {
    let unreadable =
        ScriptedBackend::new().on_sample(|_, _| Act::now(Ending::Unparsed(FailureKind::NoBox)));
    let cluster = Cluster::start(&[("w", unreadable)]).await;
    let mut refilled = request(2);
    refilled.voting.refill = 2;
    let verdict = cluster.score(refilled).await.unwrap();
    assert_eq!((verdict.counts.asked, verdict.counts.spare), (4, 2));
    assert_eq!(verdict.reasons[0].as_ref().unwrap().code, ReasonCode::ParseFailed);
}

#[tokio::test]
async fn which_spare_samples_are_drawn_does_not_depend_on_who_fails_first() {
    let fails = |spec: &SampleSpec| matches!(spec.index, 0 | 5 | 8);
    let ending = move |spec: &SampleSpec| match fails(spec) {
        true => Ending::Unparsed(FailureKind::NoBox),
        false => clear(spec),
    };
    let mut refilled = request(8);
    refilled.voting.refill = 4;
    let judge = ScriptedBackend::new().on_sample(move |spec, _| Act::now(ending(spec)));
    let expected = Cluster::start(&[("w", judge)]).await.score(refilled.clone()).await.unwrap();
    assert_eq!((expected.counts.spare, expected.counts.valid), (3, 8));

    let held = ScriptedBackend::new().on_sample(move |spec, _| Act::held(ending(spec)));
    let handle = held.handle();
    let cluster = Cluster::start(&[("w", held)]).await;
    let releasing = async {
        handle.wait_for_groups(2).await;
        for (n_ended, index) in (1..).zip((0..8).rev()) {
            handle.release(index);
            handle.wait_for_ends(n_ended).await;
        }
        handle.release_all();
    };
    let (verdict, ()) = tokio::join!(cluster.score(refilled), releasing);
    assert_eq!(stable(verdict.unwrap()), stable(expected));
}

#[tokio::test]
async fn preferences_are_counted_where_that_is_asked_for() {
    // Two slight preferences for the second response, one clear preference for the first.
    let judge = ScriptedBackend::new().on_sample(|spec, _| {
        let scores = if spec.index == 0 { [10.0, 1.0] } else { [5.0, 6.0] };
        Act::now(Ending::Scores(spec.order.iter().map(|&shown| scores[shown]).collect()))
    });
    let cluster = Cluster::start(&[("w", judge)]).await;
    assert_eq!(cluster.score(request(3)).await.unwrap().pick, Some(0));
    let mut majority = request(3);
    majority.voting.rule = Some(VoteRule::Majority);
    let verdict = cluster.score(majority).await.unwrap();
    assert_eq!((verdict.pick, verdict.rewards), (Some(1), vec![Some(1.0 / 3.0), Some(2.0 / 3.0)]));
    assert_eq!(verdict.provenance.voting.rule, Some(VoteRule::Majority));
}

#[tokio::test]
async fn without_the_meta_rm_all_vote_and_the_verdict_says_why() {
    let cluster = Cluster::start(&[("w", clear_judge())]).await;
    let mut ranked = request(4);
    ranked.voting.meta = Some("away".to_owned());
    let verdict = cluster.score(ranked).await.unwrap();
    assert_eq!((verdict.status, verdict.counts.voted), (Status::Partial, 4));
    let why = verdict.meta_unavailable.unwrap();
    assert_eq!(
        why,
        "no worker with the role meta serves \"away\", and no worker of model \"scripted\" has a head of that name"
    );
    let voting = verdict.provenance.voting;
    assert_eq!((voting.rule, voting.k_meta), (Some(VoteRule::Mean), None));
    assert_eq!(verdict.provenance.meta_digest, None);
}

/// Accepts prompts of at most `room` tokens: 100, plus 10 for each response shown, most of which are for the markers
/// around it.
fn short_of_room(room: u32) -> ScriptedBackend {
    clear_judge().on_group(move |group: &SampleGroup| {
        let shown = &group.samples[0].order;
        let prompt_tokens = 100 + 10 * shown.len() as u32;
        if prompt_tokens <= room {
            return GroupAct::Draw;
        }
        GroupAct::TooLong(TooLong {
            prompt_tokens,
            limit_tokens: room,
            over_by: prompt_tokens - room,
            longest_response: Some(shown[0]),
            longest_response_tokens: 2,
        })
    })
}

fn of_responses(n: usize, k: u32) -> ScoreRequest {
    let responses = (0..n).map(|i| format!("response {i:02}")).collect();
    let item = Item::bare(Query::Text("Which is best?".to_owned()), responses);
    ScoreRequest { item, ..request(k) }
}

#[tokio::test]
async fn responses_too_long_for_one_prompt_are_judged_in_panels() {
    for (n, room, max_panel, k, panel) in
        [(6, 130, 8, 8, 3), (64, 145, 8, 8, 4), (64, 145, 64, 64, 4), (5, 110, 8, 3, 1)]
    {
        let cluster =
            Cluster::start(&[("a", short_of_room(room)), ("b", short_of_room(room))]).await;
        let mut long = of_responses(n, k);
        long.settings.max_panel = max_panel;
        let verdict = cluster.score(long).await.unwrap();
        assert_eq!(verdict.status, Status::Ok, "{:?}", verdict.reasons);
        assert_eq!(verdict.provenance.forced_panel, Some(panel), "{n} responses, {room} tokens");
        assert_eq!(verdict.provenance.settings.max_panel, max_panel);
        assert!(verdict.rewards.iter().all(Option::is_some));
        assert_eq!(verdict.pick, Some(0));
        let samples = verdict.samples.unwrap();
        assert!(samples.iter().all(|sample| sample.spec.order.len() <= panel as usize));
    }
}

#[tokio::test]
async fn a_verdict_says_what_else_its_samples_and_voters_depended_on() {
    let cluster = Cluster::start(&[("w", clear_judge())]).await;
    let plain = cluster.score(of_responses(2, 4)).await.unwrap().provenance;
    assert_eq!((plain.min_samples, plain.hinted), (None, false));
    let mut request = of_responses(2, 4);
    (request.min_samples, request.hinted, request.item.best) = (Some(3), true, Some(0));
    let hinted = cluster.score(request).await.unwrap().provenance;
    assert_eq!((hinted.min_samples, hinted.hinted), (Some(3), true));
}

#[tokio::test]
async fn a_majority_needs_samples_that_compare() {
    let cluster = Cluster::start(&[("w", short_of_room(110))]).await;
    let mut request = of_responses(3, 6);
    assert_eq!(cluster.score(request.clone()).await.unwrap().status, Status::Ok);
    request.voting.rule = Some(VoteRule::Majority);
    let verdict = cluster.score(request).await.unwrap();
    assert_eq!((verdict.status, verdict.counts.valid), (Status::Unscored, 6));
    assert_eq!((verdict.rewards, verdict.pick), (vec![None; 3], None));
    let reason = verdict.reasons[0].clone().unwrap();
    assert_eq!(reason.code, ReasonCode::NotShown);
    assert!(reason.detail.contains("showed it alone"), "{}", reason.detail);
}

/// Accepts prompts of at most 1000 tokens: 100, 10 for each response shown, and `long` for the one with index 1. A
/// server that takes text does not count the tokens of a response.
fn short_of_a_thousand(long: u32, takes_text: bool) -> ScriptedBackend {
    clear_judge().on_group(move |group: &SampleGroup| {
        let tokens = |&response: &usize| if response == 1 { long } else { 10 };
        let shown = &group.samples[0].order;
        let prompt_tokens = 100 + shown.iter().map(tokens).sum::<u32>();
        let longest = shown.iter().max_by_key(|&response| tokens(response)).copied();
        let longest = longest.filter(|_| !takes_text);
        if prompt_tokens <= 1000 {
            return GroupAct::Draw;
        }
        GroupAct::TooLong(TooLong {
            prompt_tokens,
            limit_tokens: 1000,
            over_by: prompt_tokens - 1000,
            longest_response: longest,
            longest_response_tokens: longest.as_ref().map_or(0, tokens),
        })
    })
}

#[tokio::test]
async fn a_response_that_fits_no_prompt_costs_the_others_nothing() {
    // At 910 tokens, the second response is known to be too long only once it is tried alone; with a server that takes
    // text, that is always the case.
    for (long, takes_text) in [(5000, false), (910, false), (5000, true), (910, true)] {
        let cluster = Cluster::start(&[("w", short_of_a_thousand(long, takes_text))]).await;
        let mut request = of_responses(4, 6);
        request.item.responses[1] = "x".repeat(6000);
        let verdict = cluster.score(request).await.unwrap();
        assert_eq!(verdict.status, Status::Ok, "{:?}", verdict.reasons);
        assert_eq!((verdict.counts.asked, verdict.counts.valid), (6, 6));
        assert_eq!(verdict.provenance.forced_panel, None);
        let reason = verdict.reasons[1].as_ref().unwrap();
        assert_eq!(reason.code, ReasonCode::TooLong);
        let tokens = if takes_text { long + 100 } else { long };
        assert!(reason.detail.contains(&format!("{tokens} tokens")), "{}", reason.detail);
        let has_reward: Vec<bool> = verdict.rewards.iter().map(Option::is_some).collect();
        assert_eq!(has_reward, [true, false, true, true], "{long}");
        let samples = verdict.samples.unwrap();
        assert!(samples.iter().all(|sample| sample.spec.order.len() == 3));

        let mut without = of_responses(4, 6);
        without.item.responses.remove(1);
        let roomy = Cluster::start(&[("w", clear_judge())]).await;
        let without = roomy.score(without).await.unwrap();
        let seeds = |samples: &[jury_grm::domain::Sample]| -> Vec<u64> {
            samples.iter().map(|sample| sample.spec.seed).collect()
        };
        assert_eq!(seeds(&samples), seeds(&without.samples.unwrap()));
    }
}

#[tokio::test]
async fn what_does_not_fit_alone_is_too_long() {
    let cluster = Cluster::start(&[("w", short_of_room(109))]).await;
    let verdict = cluster.score(of_responses(3, 4)).await.unwrap();
    assert_eq!((verdict.status, verdict.counts.too_long), (Status::Unscored, 4));
    assert_eq!(verdict.reasons[0].as_ref().unwrap().code, ReasonCode::TooLong);
}
