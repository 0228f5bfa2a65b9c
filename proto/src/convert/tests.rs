//! A domain value survives the round trip over the wire.

use jury_grm::domain::*;
use jury_grm::prompt::{Message, Span, Trust};
use proptest::prelude::*;

use super::{SampleGroup, TooLong};
use crate::error::{ErrorCode, JuryError};
use crate::v1;

fn text() -> impl Strategy<Value = String> {
    ".{0,12}"
}

fn item() -> impl Strategy<Value = Item> {
    let query = prop_oneof![
        text().prop_map(|text| Query::Text(format!("q{text}"))),
        text().prop_map(|content| {
            Query::Turns(vec![
                Turn { role: Role::Assistant, content },
                Turn { role: Role::User, content: "ask".into() },
            ])
        }),
    ];
    let responses = prop::collection::vec(text(), 1..5);
    let list = || prop::option::of(prop::collection::vec(text(), 1..3));
    (text(), query, responses, prop::option::of(text()), list(), list(), any::<bool>()).prop_map(
        |(id, query, responses, reference, criteria, principles, labelled)| Item {
            id,
            source: reference.clone(),
            query,
            best: labelled.then_some(0),
            labels: labelled.then(|| vec![0.25; responses.len()]),
            category: None,
            responses,
            reference,
            criteria,
            principles,
        },
    )
}

fn settings() -> impl Strategy<Value = Settings> {
    let readout = prop::sample::select(vec![Readout::Free, Readout::Sampled, Readout::Expected]);
    (1..=limits::MAX_K, 0.0..2.0f64, 0.1..1.0f64, 1u32..999, readout, 0.0..1.0f64, 2u32..64)
        .prop_map(|(k, temperature, top_p, max_critique_tokens, readout, mass, max_panel)| {
            Settings {
                k,
                temperature,
                top_p,
                max_critique_tokens,
                readout,
                min_readout_mass: mass,
                scale: Scale::BINARY,
                max_panel,
            }
        })
}

fn voting() -> impl Strategy<Value = Voting> {
    let rules = [VoteRule::Mean, VoteRule::Top, VoteRule::Majority, VoteRule::Weighted];
    let stop = (0..4, 0.6..0.9f64).prop_map(|(which, limit)| match which {
        0 => StopRule::Never,
        1 => StopRule::Lossless,
        2 => StopRule::Confidence(limit),
        _ => StopRule::Width(limit),
    });
    let rule = prop::option::of(prop::sample::select(rules.to_vec()));
    let k_meta = prop::option::of(0..9u32);
    (prop::option::of(".{1,9}"), rule, k_meta, stop, 0..9u32)
        .prop_map(|(meta, rule, k_meta, stop, refill)| Voting { meta, rule, k_meta, stop, refill })
}

fn sample() -> impl Strategy<Value = Sample> {
    let scores = (any::<bool>(), 0.0..1.0f64).prop_map(|(forced, mass)| {
        Outcome::Scored(Scores {
            scores: vec![7.5, 2.0],
            score_distribution: forced.then(|| vec![vec![mass, 1.0 - mass]; 2]),
            readout_mass: forced.then_some(mass),
            forced,
        })
    });
    let failed = text().prop_map(|detail| Outcome::Failed {
        failure: Failure { kind: FailureKind::WrongCount, detail },
    });
    (0u32..99, 0..limits::MAX_SEED, text(), prop_oneof![scores, failed]).prop_map(
        |(index, seed, critique, outcome)| Sample {
            spec: SampleSpec { index, seed, order: vec![3, 1] },
            principles: "p".into(),
            critique,
            outcome,
            finish: Finish::Box,
            issues: vec![Issue::BareBrackets, Issue::Fraction, Issue::NeutralisedSpecials],
            prompt_tokens: 17,
            generated_tokens: index,
            meta_score: (index % 2 == 0).then_some(-0.5),
            hidden_state: (index % 3 == 0).then(|| vec![0.25, -1.0]),
        },
    )
}

fn verdict() -> impl Strategy<Value = Verdict> {
    let samples = prop::option::of(prop::collection::vec(sample(), 0..3));
    let reward = prop::option::of(0.0..10.0f64);
    (settings(), voting(), samples, reward).prop_map(|(settings, voting, samples, reward)| {
        let reason = Reason { code: ReasonCode::Budget, detail: "2 of 8".into() };
        Verdict {
            item_id: "i".into(),
            status: Status::Partial,
            rewards: vec![reward, None],
            reasons: vec![None, Some(reason)],
            pick: reward.map(|_| 0),
            tied: vec![0, 1],
            confidence: reward,
            agreement: None,
            stopped_by: StoppedBy::Budget,
            voters: vec![0, 2],
            weights: vec![0.75, 0.25],
            meta_unavailable: reward.map(|_| "no worker ranks".into()),
            counts: Counts { asked: 8, valid: 4, voted: 4, timed_out: 4, ..Counts::default() },
            usage: Usage { prompt_tokens: 9, generated_tokens: 99 },
            provenance: Provenance {
                model: Some("m".into()),
                model_digest: None,
                numerics: Some("n".into()),
                method_digest: "d".into(),
                meta_digest: None,
                meta_numerics: reward.map(|_| "c".into()),
                seed: 3,
                settings,
                voting,
                min_samples: reward.map(|_| 5),
                hinted: reward.is_some(),
                forced_panel: reward.map(|_| 3),
                escaped_markers: 2,
                reproducible: Reproducible::Seeded,
                item_digest: reward.map(|_| "i".into()),
                version: "0".into(),
            },
            samples,
            run: RunReport { workers: vec!["w".into()], total_ms: 5, ..RunReport::default() },
        }
    })
}

proptest! {
    #[test]
    fn a_request_survives_the_wire(item in item(), settings in settings(), stop in voting(), seed in 0..99u64) {
        let mut request = ScoreRequest::new(item);
        request.settings = settings;
        request.seed = seed;
        request.voting = Voting { rule: None, meta: None, k_meta: None, refill: 1, stop: stop.stop };
        request.model = (seed % 2 == 0).then(|| "m".to_owned());
        request.budget_ms = std::num::NonZeroU64::new(seed);
        let back = ScoreRequest::try_from(v1::ScoreRequest::from(request.clone()));
        prop_assert_eq!(back, Ok(request));
    }

    #[test]
    fn a_verdict_survives_the_wire(verdict in verdict()) {
        let back = Verdict::try_from(v1::Verdict::from(verdict.clone()));
        prop_assert_eq!(back, Ok(verdict));
    }

    #[test]
    fn a_group_survives_the_wire(settings in settings(), text in text()) {
        let order = vec![1, 0];
        let spans = vec![
            Span { text: "t".into(), trust: Trust::Trusted, response: None },
            Span { text: text.into(), trust: Trust::Untrusted, response: Some(1) },
        ];
        let group = SampleGroup {
            model_digest: "d".into(),
            numerics: "n".into(),
            method_version: "v".into(),
            messages: vec![Message { role: Role::User, spans }],
            samples: (0..3).map(|index| SampleSpec { index, seed: 9, order: order.clone() }).collect(),
            settings,
            request_id: "r".into(),
            remaining_ms: Some(1500),
            head_digest: Some("h".into()),
            hidden_states: true,
            cache_salt: Some("s".into()),
        };
        prop_assert_eq!(SampleGroup::try_from(v1::SampleGroup::from(group.clone())), Ok(group));
    }
}

#[test]
fn too_long_survives_the_wire() {
    let too_long = TooLong {
        prompt_tokens: 9000,
        limit_tokens: 8000,
        over_by: 1000,
        longest_response: Some(2),
        longest_response_tokens: 7000,
    };
    assert_eq!(TooLong::from(v1::TooLong::from(too_long)), too_long);
}

#[test]
fn an_empty_message_takes_every_default_but_the_item() {
    let error = ScoreRequest::try_from(v1::ScoreRequest::default()).unwrap_err();
    assert_eq!(error, JuryError::invalid("item", "is missing"));
}

#[test]
fn a_zero_on_the_wire_is_a_zero_and_not_a_default() {
    let request = v1::ScoreRequest {
        item: Some(v1::Item {
            query: vec![v1::Turn { role: v1::Role::User.into(), content: "q".into() }],
            responses: vec!["a".into()],
            ..v1::Item::default()
        }),
        settings: Some(v1::Settings { k: Some(0), ..v1::Settings::default() }),
        ..v1::ScoreRequest::default()
    };
    let error = ScoreRequest::try_from(request).unwrap_err();
    assert_eq!(
        (error.code, error.field.as_deref()),
        (ErrorCode::InvalidArgument, Some("settings.k"))
    );
}

#[test]
fn a_sample_with_too_few_scores_is_refused() {
    let scores = v1::Scores { scores: vec![7.0], ..v1::Scores::default() };
    let spec = v1::SampleSpec { index: 0, seed: 0, order: vec![0, 1] };
    let sample = v1::Sample {
        spec: Some(spec),
        outcome: Some(v1::sample::Outcome::Scores(scores)),
        ..v1::Sample::default()
    };
    let error = Sample::try_from(sample).unwrap_err();
    assert_eq!(error.field.as_deref(), Some("sample.scores"));
}
