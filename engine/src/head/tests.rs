//! Scores of heads, and what is rejected.

use super::*;

fn card() -> HeadCard {
    let data_digest = Some("da".repeat(32));
    HeadCard {
        name: "meta-1".to_owned(),
        model_digest: "5c".repeat(32),
        data_digest,
        place: StatePlace::ScoreLine,
    }
}

fn standardisation() -> Standardisation {
    Standardisation { mean: vec![1.0, -2.0, 0.0], deviation: vec![2.0, 0.5, 1.0] }
}

fn linear() -> Network {
    Network::Linear { weights: vec![1.0, 3.0, -1.0], bias: 0.25 }
}

fn mlp() -> Network {
    Network::Mlp {
        inner_weights: vec![1.0, 0.0, 0.0, 0.0, -1.0, 0.0],
        inner_bias: vec![0.5, 0.0],
        weights: vec![2.0, 4.0],
        bias: -1.0,
    }
}

fn head(network: Network, calibration: Calibration) -> Head {
    Head::new(card(), standardisation(), network, calibration).unwrap()
}

#[test]
fn scores_are_those_computed_by_hand() {
    // Standardised: (1, 2, 3).
    let state = [3.0, -1.0, 3.0];
    assert_eq!(head(linear(), Calibration::NONE).score(&state).unwrap(), 0.25 + 1.0 + 6.0 - 3.0);
    let calibration = Calibration { slope: 0.5, intercept: 1.0 };
    assert_eq!(head(linear(), calibration).score(&state).unwrap(), 0.5 * 4.25 + 1.0);
    // Inner: 1 + 0.5 and max(-2, 0).
    assert_eq!(head(mlp(), Calibration::NONE).score(&state).unwrap(), 2.0 * 1.5 - 1.0);
    // Inner: max(0.5 - 2, 0) and 3.
    assert_eq!(head(mlp(), Calibration::NONE).score(&[-3.0, -3.5, 0.0]).unwrap(), 11.0);
}

#[test]
fn a_file_gives_the_same_head_and_the_same_head_the_same_file() {
    for network in [linear(), mlp()] {
        let head = head(network, Calibration { slope: 0.5, intercept: -0.1 });
        let bytes = head.to_bytes();
        assert_eq!(bytes, head.to_bytes());
        assert_eq!(Head::from_bytes(&bytes).unwrap(), head);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("head.safetensors");
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(Head::load(&path).unwrap(), (head, bytes));
    }
}

#[test]
fn states_that_it_cannot_read_have_no_score() {
    let head = head(linear(), Calibration::NONE);
    let wrong = head.score(&[1.0, 2.0]).unwrap_err();
    assert!(matches!(wrong, HeadError::WrongWidth { reads: 3, found: 2 }), "{wrong}");
    for number in [f32::NAN, f32::INFINITY] {
        let error = head.score(&[0.0, number, 0.0]).unwrap_err();
        assert!(matches!(error, HeadError::NotANumber), "{error}");
    }
}

#[test]
fn it_reads_no_other_models_states() {
    let head = head(linear(), Calibration::NONE);
    let model = "5c".repeat(32);
    let reads = |model: &str, width| head.reads(model, StatePlace::ScoreLine, width);
    reads(&model, Some(3)).unwrap();
    reads(&model, None).unwrap();
    let other = reads("another", None).unwrap_err();
    assert!(other.to_string().contains("another"), "{other}");
    assert!(matches!(reads(&model, Some(4)), Err(HeadError::WrongWidth { .. })));
}

#[test]
fn it_reads_no_states_of_another_place() {
    let card = HeadCard { place: StatePlace::EndOfTurn, ..card() };
    let head = Head::new(card, standardisation(), linear(), Calibration::NONE).unwrap();
    let head = Head::from_bytes(&head.to_bytes()).unwrap();
    head.reads(&"5c".repeat(32), StatePlace::EndOfTurn, Some(3)).unwrap();
    let wrong = head.reads(&"5c".repeat(32), StatePlace::ScoreLine, Some(3)).unwrap_err();
    assert!(wrong.to_string().contains("--backbone"), "{wrong}");
}

#[test]
fn unsound_parts_are_refused() {
    let refused = |change: fn(&mut Head)| {
        let mut head = head(mlp(), Calibration::NONE);
        change(&mut head);
        let Head { card, standardisation, network, calibration } = head;
        matches!(Head::new(card, standardisation, network, calibration), Err(HeadError::Unsound(_)))
    };
    assert!(!refused(|_| {}));
    assert!(refused(|head| head.card.name.clear()));
    assert!(refused(|head| head.card.name = "a name".to_owned()));
    assert!(refused(|head| head.card.model_digest.clear()));
    assert!(refused(|head| head.standardisation.mean.truncate(2)));
    assert!(refused(|head| head.standardisation.deviation[1] = 0.0));
    assert!(refused(|head| head.standardisation.mean[1] = f32::NAN));
    assert!(refused(|head| head.calibration.slope = -1.0));
    let with =
        |network| Head::new(card(), standardisation(), network, Calibration::NONE).map(|_| ());
    let Network::Mlp { inner_weights, inner_bias, weights, bias } = mlp() else { unreachable!() };
    for (inner_weights, inner_bias, weights) in [
        (inner_weights[1..].to_vec(), inner_bias.clone(), weights.clone()),
        (inner_weights.clone(), inner_bias[1..].to_vec(), weights.clone()),
        (Vec::new(), Vec::new(), Vec::new()),
    ] {
        assert!(with(Network::Mlp { inner_weights, inner_bias, weights, bias }).is_err());
    }
    assert!(with(Network::Linear { weights: vec![f32::INFINITY; 3], bias }).is_err());
}

#[test]
fn damaged_files_are_errors_and_never_panics() {
    let bytes = head(mlp(), Calibration::NONE).to_bytes();
    for length in 0..bytes.len() {
        assert!(Head::from_bytes(&bytes[..length]).is_err(), "{length} bytes");
    }
    for place in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0xff;
        if let Ok(head) = Head::from_bytes(&damaged) {
            assert_eq!(head.width(), 3);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let missing = Head::load(&folder.path().join("none")).unwrap_err();
    assert!(matches!(missing, HeadError::Io { .. }), "{missing}");
}

#[test]
fn another_file_or_another_format_is_told_apart() {
    let other =
        safetensors::serialize(Vec::<(&str, safetensors::tensor::TensorView<'_>)>::new(), None);
    let error = Head::from_bytes(&other.unwrap()).unwrap_err();
    assert!(error.to_string().contains("jury.head"), "{error}");
    let text = String::from_utf8_lossy(&head(linear(), Calibration::NONE).to_bytes()).into_owned();
    assert!(text.contains(r#"\"format\":1"#), "{text}");
    let newer = head(linear(), Calibration::NONE).to_bytes();
    let at = newer.windows(12).position(|window| window == br#"\"format\":1"#).unwrap();
    let mut newer = newer;
    newer[at + 11] = b'2';
    let error = Head::from_bytes(&newer).unwrap_err();
    assert!(error.to_string().contains("its format is 2"), "{error}");
}
