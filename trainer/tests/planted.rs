//! Training on states with a known truth.

#![allow(clippy::unwrap_used)] // Tests may.

use jury_engine::head::{Calibration, Head, HeadCard, Network, Standardisation, StatePlace};
use jury_grm::domain::{FailureKind, Outcome, Sample, SampleSpec, Scores};
use jury_grm::vote::{Rule, vote};
use jury_trainer::meta::{LabelledState, MetaConfig, TrainError, TrainedMeta, train};

const WIDTH: usize = 24;
const QUERIES: u64 = 150;
const SAMPLES: u64 = 8;

/// SplitMix64, as numbers of -1..1.
fn noise(seed: u64, place: u64) -> f32 {
    let mut bits = (seed << 20 ^ place).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((bits ^ (bits >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// Samples labelled by `truth` from their state, except for one in fifty.
fn rows(truth: impl Fn(&[f32]) -> bool) -> Vec<LabelledState> {
    let row = |query: u64, sample: u64| {
        let seed = query * SAMPLES + sample;
        let state: Vec<f32> =
            (0..WIDTH as u64).map(|place| 50.0 + 3.0 * noise(seed, place)).collect();
        let is_flipped = noise(seed, 999) > 0.96;
        let correct = truth(&state) != is_flipped;
        LabelledState {
            item: format!("item {query}"),
            query: format!("query {query}"),
            state,
            correct,
        }
    };
    (0..QUERIES).flat_map(|query| (0..SAMPLES).map(move |sample| row(query, sample))).collect()
}

fn config() -> MetaConfig {
    MetaConfig { learning_rate: 1e-2, ..MetaConfig::new("meta-test", "5c".repeat(32)) }
}

fn run(rows: &[LabelledState], config: &MetaConfig) -> TrainedMeta {
    train(rows, config, |_| {}).unwrap()
}

/// A weighted sum of the state.
fn along_a_line(state: &[f32]) -> bool {
    state.iter().zip([2.0, -1.0, 1.0]).map(|(x, weight)| (x - 50.0) * weight).sum::<f32>() > 0.0
}

/// Not separable by a weighted sum.
fn by_distance(state: &[f32]) -> bool {
    (state[0] - 50.0).abs() > 1.5
}

/// Not determined by the state at all.
fn by_nothing(state: &[f32]) -> bool {
    noise(u64::from(state[0].to_bits()), 77) > 0.0
}

#[test]
fn a_planted_signal_is_found_and_its_probabilities_hold() {
    let trained = run(&rows(along_a_line), &config());
    let report = &trained.report;
    assert!(report.auc.auc > 0.9, "{:?}", report.auc);
    assert!(report.auc.is_above_chance() && report.auc_within_item.unwrap().auc > 0.9);
    assert!(report.calibration_error < 0.1, "{}", report.calibration_error);
    assert!(report.finding().starts_with("The head tells correct samples"));
    let last = report.curve.last().unwrap();
    assert!(report.best_epoch <= last.epoch && last.train < 0.6, "{last:?}");
}

#[test]
fn no_signal_is_told_as_none() {
    let report = run(&rows(by_nothing), &config()).report;
    assert!(report.auc.low < 0.5 && report.auc.high > 0.5, "{:?}", report.auc);
    assert!(report.finding().contains("No signal was found"), "{}", report.finding());
    assert!(report.to_markdown("h").contains("No signal was found"));
}

#[test]
fn an_inner_layer_finds_what_a_weighted_sum_cannot() {
    let rows = rows(by_distance);
    let linear = run(&rows, &config());
    let mlp = run(&rows, &MetaConfig { inner: 16, ..config() });
    assert!(linear.report.auc.auc < 0.6, "{:?}", linear.report.auc);
    assert!(mlp.report.auc.auc > 0.8, "{:?}", mlp.report.auc);
}

#[test]
fn equal_rows_and_seeds_give_equal_files() {
    let rows = rows(along_a_line);
    for inner in [0, 4] {
        let config = MetaConfig { inner, max_epochs: 5, ..config() };
        let (one, other) = (run(&rows, &config), run(&rows, &config));
        assert_eq!(one.head.to_bytes(), other.head.to_bytes());
        assert_eq!(one.report.to_markdown("h"), other.report.to_markdown("h"));
        let reseeded = run(&rows, &MetaConfig { seed: 1, ..config });
        assert_ne!(one.head.to_bytes(), reseeded.head.to_bytes());
    }
}

#[test]
fn what_is_written_is_what_was_trained() {
    let trained = run(&rows(along_a_line), &MetaConfig { max_epochs: 3, ..config() });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("head.safetensors");
    let card = trained.write(&path).unwrap();
    let (head, _) = Head::load(&path).unwrap();
    assert_eq!(head, trained.head);
    assert_eq!(head.card().data_digest.as_ref(), Some(&trained.report.data_digest));
    let card = std::fs::read_to_string(card).unwrap();
    for picture in ["loss", "reliability"] {
        let beside =
            |ending: &str| folder.path().join(format!("head.safetensors.{picture}.{ending}"));
        assert!(std::fs::read(beside("png")).unwrap().starts_with(b"\x89PNG"));
        assert!(std::fs::read_to_string(beside("svg")).unwrap().contains("</svg>"));
        assert!(card.contains(&format!("(head.safetensors.{picture}.svg)")), "{card}");
    }
    assert!(card.contains(&trained.report.data_digest) && card.contains("# meta-test"), "{card}");
    assert!(trained.write(&folder.path().join("none/head")).is_err());
}

#[test]
fn rows_that_teach_nothing_are_refused_with_the_reason() {
    let refused = |rows: &[LabelledState]| train(rows, &config(), |_| {}).unwrap_err();
    assert!(matches!(refused(&[]), TrainError::NoRows));
    let mut narrow = rows(along_a_line);
    narrow[3].state.pop();
    assert!(matches!(refused(&narrow), TrainError::WrongWidth { row: 3, .. }));
    let mut damaged = rows(along_a_line);
    damaged[7].state[0] = f32::NAN;
    assert!(matches!(refused(&damaged), TrainError::NotANumber { row: 7 }));
    let error = refused(&rows(|_| true)[..1]);
    assert!(matches!(error, TrainError::OneKind { .. }), "{error}");
    let named = MetaConfig { name: "no name".to_owned(), max_epochs: 1, ..config() };
    let error = train(&rows(along_a_line), &named, |_| {}).unwrap_err();
    assert!(error.to_string().contains("no name"), "{error}");
}

/// A perfect head: the first number of a state is the label.
fn oracle() -> Head {
    let card = HeadCard {
        name: "oracle".to_owned(),
        model_digest: "5c".repeat(32),
        data_digest: None,
        place: StatePlace::ScoreLine,
    };
    let standardisation = Standardisation { mean: vec![0.0; 2], deviation: vec![1.0; 2] };
    let network = Network::Linear { weights: vec![1.0, 0.0], bias: 0.0 };
    Head::new(card, standardisation, network, Calibration::NONE).unwrap()
}

/// Three items whose first response is best. Of the four samples of each, two are right by a small margin (7 and 4),
/// two wrong by a large one (1 and 9). A plain vote gives means of 4 and 6.5, and picks the wrong response; the two
/// samples that the head ranks highest give 7 and 4.
#[test]
fn a_head_as_good_as_an_oracle_lifts_accuracy_from_none_to_all() {
    let head = oracle();
    for item in 0..3 {
        let sample = |index: u32| {
            let is_right = (index + item).is_multiple_of(2);
            let state = [if is_right { 1.0 } else { -1.0 }, 0.3];
            let scores = if is_right { [7.0, 4.0] } else { [1.0, 9.0] };
            let outcome = Outcome::Scored(Scores {
                scores: scores.to_vec(),
                score_distribution: None,
                readout_mass: None,
                forced: false,
            });
            let spec = SampleSpec { index, seed: index.into(), order: vec![0, 1] };
            let meta_score = Some(head.score(&state).unwrap());
            Sample { outcome, meta_score, ..Sample::failed(spec, FailureKind::NoBox, "") }
        };
        let samples: Vec<Sample> = (0..4).map(sample).collect();
        let plain = vote(&[0, 1], &samples, Rule::Mean);
        assert_eq!((plain.pick, plain.rewards), (Some(1), vec![Some(4.0), Some(6.5)]));
        let guided = vote(&[0, 1], &samples, Rule::Top { k_meta: 2 });
        assert_eq!((guided.pick, guided.rewards), (Some(0), vec![Some(7.0), Some(4.0)]));
    }
}
