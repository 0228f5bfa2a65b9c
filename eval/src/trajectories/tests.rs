use jury_grm::domain::{FailureKind, Finish, Issue, Outcome, SampleSpec, Scores};

use super::*;

fn trajectory(index: u32, outcome: Option<Scores>) -> Trajectory {
    let spec = SampleSpec { index, seed: (1 << 53) - 1, order: vec![1, 0] };
    let failed = Sample::failed(spec, FailureKind::NoBox, "no box; “quoted”");
    let sample = match outcome {
        None => failed,
        Some(scores) => Sample {
            outcome: Outcome::Scored(scores),
            finish: Finish::Box,
            issues: vec![Issue::BareBrackets, Issue::Fraction],
            principles: "Öl\n\u{2028}".to_owned(),
            meta_score: Some(-0.25),
            hidden_state: Some(vec![0.5, -1.5, 3.0]),
            ..failed
        },
    };
    Trajectory {
        item_id: format!("item {index}"),
        query_key: "00".to_owned(),
        source: (index > 0).then(|| "set".to_owned()),
        category: None,
        sample,
        is_correct: (index != 1).then_some(index == 0),
        drawn_by: DrawnBy {
            model: "m".to_owned(),
            settings: "{}".to_owned(),
            meta_digest: (index == 0).then(|| "ab12".to_owned()),
            meta_numerics: (index == 0).then(|| "cpu".to_owned()),
            ..DrawnBy::default()
        },
    }
}

#[test]
fn trajectories_come_back_as_they_were() {
    let whole = Scores {
        scores: vec![8.0, 3.0],
        score_distribution: None,
        readout_mass: None,
        forced: true,
    };
    let guided = Scores {
        score_distribution: Some(vec![vec![0.25, 0.75], vec![1.0, 0.0]]),
        readout_mass: Some(0.5),
        forced: false,
        ..whole.clone()
    };
    let rows = [trajectory(0, Some(whole)), trajectory(1, None), trajectory(2, Some(guided))];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples.parquet");
    write(&path, &rows).unwrap();
    assert_eq!(read(&path).unwrap(), rows);
    write(&path, &rows[..1]).unwrap();
    assert_eq!(read(&path).unwrap(), rows[..1]);
    write(&path, &[]).unwrap();
    assert_eq!(read(&path).unwrap(), []);
}

#[test]
fn another_file_is_named_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.parquet");
    std::fs::write(&path, "no Parquet").unwrap();
    assert!(matches!(read(&path).unwrap_err(), TrajectoryError::Parquet(_)));
}
