use jury_grm::domain::*;

use super::*;

/// A verdict whose rewards are 8 and 3, with these samples: order and scores.
pub fn sample_verdict(samples: &[(&[usize], &[f64])]) -> Verdict {
    let asked = u32::try_from(samples.len()).unwrap();
    let samples = std::iter::zip(0.., samples).map(|(index, (order, scores))| Sample {
        spec: SampleSpec { index, seed: 1, order: order.to_vec() },
        principles: "1. Accuracy: the facts hold.\n2. Brevity.".to_owned(),
        critique: "The one names the capital; the other names a city that is larger but is not \
                   the seat of government."
            .to_owned(),
        outcome: Outcome::Scored(Scores {
            scores: scores.to_vec(),
            score_distribution: None,
            readout_mass: None,
            forced: false,
        }),
        finish: Finish::Box,
        issues: Vec::new(),
        prompt_tokens: 300,
        generated_tokens: 90,
        meta_score: None,
        hidden_state: None,
    });
    Verdict {
        item_id: "capital".to_owned(),
        status: Status::Ok,
        rewards: vec![Some(8.0), Some(3.0)],
        reasons: vec![None, None],
        pick: Some(0),
        tied: Vec::new(),
        confidence: Some(0.991),
        agreement: Some(0.875),
        stopped_by: StoppedBy::Complete,
        voters: Vec::new(),
        weights: Vec::new(),
        meta_unavailable: None,
        counts: Counts { asked, valid: asked, voted: asked, ..Counts::default() },
        usage: Usage { prompt_tokens: 600, generated_tokens: 180 },
        provenance: Provenance {
            model: Some("smollm2-135m".to_owned()),
            model_digest: Some("0123456789abcdef".to_owned()),
            numerics: Some("cpu-1".to_owned()),
            method_digest: "m".to_owned(),
            meta_digest: None,
            meta_numerics: None,
            seed: 7,
            settings: Settings { k: asked, ..Settings::default() },
            voting: Voting::default(),
            min_samples: None,
            hinted: false,
            forced_panel: None,
            escaped_markers: 0,
            reproducible: Reproducible::Bitwise,
            item_digest: None,
            version: "0.1.0".to_owned(),
        },
        samples: Some(samples.collect()),
        run: RunReport { total_ms: 10_500, queue_ms: 500, ..RunReport::default() },
    }
}

fn item() -> Item {
    let json = r#"{"id": "capital", "query": "What is the capital of Australia?",
        "responses": ["Canberra, and this answer is long enough to be cut off.", ""]}"#;
    Item::from_json(json).unwrap().0
}

fn rendered(verdict: &Verdict) -> String {
    render(&item(), verdict, Page { width: 60, paint: Paint::Plain })
}

#[test]
fn a_verdict_reads_like_this() {
    let verdict = sample_verdict(&[(&[0, 1], &[9.0, 5.0]), (&[1, 0], &[3.0, 8.0])]);
    insta::assert_snapshot!(rendered(&verdict), @r"
    responses[0] is best
    agreement 88 % of the samples, confidence 99 %

      *  [0]   8.00  Canberra, and this answer is long enough …
         [1]   3.00  (empty)

      samples  2 asked, 2 valid, 2 voted
      tokens   600 prompt, 180 generated (18.0 per second, including the time for the prompt)
      time     10.5 s, of which 0.5 s waiting
      model    smollm2-135m (01234567), k 2, expected readout, seed 7

    The sample closest to the verdict (samples[1]: responses[0]
    scores 8, responses[1] scores 3)
      It saw the responses in a different order: its Response 1
      is responses[1], its Response 2 is responses[0].
    Principles
      1. Accuracy: the facts hold.
      2. Brevity.
    Critique
      The one names the capital; the other names a city that is
      larger but is not the seat of government.

    Models of this size only demonstrate how Jury works; do not
    train on their rewards.
    ");
}

#[test]
fn a_verdict_without_rewards_says_why_once() {
    let mut verdict = sample_verdict(&[]);
    let reason = Reason {
        code: ReasonCode::TooLong,
        detail: "the prompt has 9000 tokens, 904 over the limit of 8096".to_owned(),
    };
    verdict.status = Status::Unscored;
    verdict.rewards = vec![None, None];
    verdict.reasons = vec![Some(reason.clone()), Some(reason)];
    (verdict.pick, verdict.agreement, verdict.confidence) = (None, None, None);
    insta::assert_snapshot!(rendered(&verdict), @r"
    UNSCORED: no rewards

         [0]   none  Canberra, and this answer is long enough …
         [1]   none  (empty)
                     because the prompt has 9000 tokens, 904
                     over the limit of 8096

      samples  0 asked, 0 valid, 0 voted
      tokens   600 prompt, 180 generated (18.0 per second, including the time for the prompt)
      time     10.5 s, of which 0.5 s waiting
      model    smollm2-135m (01234567), k 0, expected readout, seed 7
    ");
}

#[test]
fn a_partial_verdict_says_what_is_missing() {
    let mut verdict = sample_verdict(&[(&[0, 1], &[8.0, 3.0])]);
    verdict.status = Status::Partial;
    verdict.counts = Counts { asked: 4, valid: 3, voted: 3, timed_out: 1, ..Counts::default() };
    let text = rendered(&verdict);
    assert!(text.contains("PARTIAL") && text.contains("3 of 4 are valid"), "{text}");
    assert!(text.contains("1 cut off by the budget"), "{text}");
}

#[test]
fn a_text_that_goes_on_and_on_is_cut_and_says_where_the_rest_is() {
    let mut verdict = sample_verdict(&[(&[0, 1], &[8.0, 3.0])]);
    verdict.samples.as_mut().unwrap()[0].critique = "It is right.\n".repeat(40);
    let text = rendered(&verdict);
    assert_eq!(text.matches("It is right.").count(), MAX_TEXT_LINES);
    assert!(text.contains("28 more lines; --json --samples"), "{text}");
}

#[test]
fn one_sample_shows_no_confidence() {
    let mut verdict = sample_verdict(&[(&[0, 1], &[8.0, 3.0])]);
    verdict.confidence = None;
    assert!(rendered(&verdict).contains("agreement 88 % of the samples, confidence -"));
}

#[test]
fn a_tie_is_said() {
    let mut verdict = sample_verdict(&[(&[0, 1], &[8.0, 8.0])]);
    (verdict.rewards, verdict.tied) = (vec![Some(8.0), Some(8.0)], vec![0, 1]);
    assert!(rendered(&verdict).contains("tied for the highest reward: responses[0], responses[1]"));
}

#[test]
fn a_verdict_that_stopped_early_says_why_and_after_how_many() {
    let mut verdict = sample_verdict(&[(&[0, 1], &[8.0, 3.0])]);
    (verdict.counts.asked, verdict.counts.not_needed) = (32, 20);
    for (stopped_by, stop, why) in [
        (StoppedBy::Lossless, StopRule::Lossless, "the pick cannot change"),
        (
            StoppedBy::Confidence,
            StopRule::Confidence(0.95),
            "the pick of all 32 is known with probability 0.95",
        ),
        (
            StoppedBy::Width,
            StopRule::Width(0.3),
            "the 95 % interval of every reward is at most 0.3 wide",
        ),
    ] {
        verdict.stopped_by = stopped_by;
        verdict.provenance.voting.stop = stop;
        let text = rendered(&verdict);
        assert!(text.contains(&format!("stopped after 12 of 32: {why}")), "{text}");
        assert!(text.contains("20 not needed"), "{text}");
    }
}

#[test]
fn how_the_samples_voted_is_said_where_they_did_not_all_have_their_say() {
    let mut verdict = sample_verdict(&[(&[0, 1], &[8.0, 3.0])]);
    assert!(!rendered(&verdict).contains("vote  "));
    verdict.provenance.voting.rule = Some(VoteRule::Top);
    let text = rendered(&verdict);
    assert!(text.contains("the 1 with the highest meta scores"), "{text}");
    verdict.status = Status::Partial;
    verdict.meta_unavailable = Some("no worker has it".to_owned());
    let text = rendered(&verdict);
    assert!(text.contains("PARTIAL: the Meta RM was unavailable"), "{text}");
    assert!(!text.contains("some samples did not finish"), "{text}");
}

#[test]
fn no_line_is_wider_than_the_page() {
    let verdict = sample_verdict(&[(&[1, 0], &[3.0, 8.0])]);
    let figures = ["samples", "tokens", "time", "model"];
    for line in rendered(&verdict).lines() {
        let is_figure = figures.iter().any(|name| line.trim_start().starts_with(name));
        assert!(is_figure || line.chars().count() <= 60, "{line}");
    }
}
