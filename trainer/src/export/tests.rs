use std::collections::BTreeMap;
use std::process::Command;

use jury_grm::domain::{Item, Query};
use serde_json::Value;

use super::*;

fn config() -> ExportConfig {
    ExportConfig {
        model: "owner/model".to_owned(),
        group: 4,
        beta: 0.002,
        max_prompt_tokens: 3000,
        max_critique_tokens: 1000,
        seed: 1,
    }
}

/// One that nothing can be learned from, and a batch of others.
fn items() -> Vec<Item> {
    let item = |id: String, best| Item {
        best,
        ..Item::bare(Query::Text(format!("what {id}")), vec!["a".to_owned(), "b".to_owned()])
    };
    let item = |id: String, best| Item { id: id.clone(), ..item(id, best) };
    let fit = (0..GROUPS).map(|at| item(at.to_string(), Some(at % 2)));
    std::iter::once(item("none".to_owned(), None)).chain(fit).collect()
}

#[test]
fn a_folder_holds_data_rule_and_launch_file_without_a_blank_left() {
    for trainer in [Trainer::Trl, Trainer::Verl, Trainer::OpenRlhf] {
        let folder = tempfile::tempdir().unwrap();
        let exported = export(trainer, &items(), &config(), folder.path()).unwrap();
        assert_eq!((exported.rows, exported.unfit), (GROUPS, vec!["none".to_owned()]));
        let (name, _) = trainer.launch();
        for file in [name, "reward.py"] {
            let text = std::fs::read_to_string(folder.path().join(file)).unwrap();
            assert!(!text.contains('@') || file == "train.sh", "{text}");
            for blank in ["@MODEL@", "@TOKENS@", "@BETA@", "@EPISODES@"] {
                assert!(!text.contains(blank), "{text}");
            }
        }
        let data = std::fs::read_to_string(folder.path().join("data.jsonl")).unwrap();
        for line in data.lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            let prompt = row.get("prompt").unwrap_or(&row["messages"]);
            assert!(prompt[0]["content"].as_str().unwrap().contains("Responses to be Scored"));
            // Neither prompt reveals the best response; only the input of the rule does.
            assert!(!prompt.to_string().contains("best response is"));
        }
    }
}

#[test]
fn the_best_response_stands_in_every_place_equally_often() {
    let item = |at: usize, n: usize| Item {
        best: Some(at * 7 % n),
        ..Item::bare(
            Query::Text(format!("what {at}")),
            (0..n).map(|response| format!("{at} {response}")).collect(),
        )
    };
    let mut places = Places::default();
    let mut found = BTreeMap::<(usize, Option<usize>), usize>::new();
    for (at, n) in (0..36).map(|at| (at, 2 + at % 3)) {
        let item = item(at, n);
        let order = places.next_order(&item);
        let place = order.iter().position(|response| Some(*response) == item.best);
        *found.entry((n, place)).or_default() += 1;
    }
    let expected = [(2, 6), (3, 4), (4, 3)];
    let expected = expected
        .into_iter()
        .flat_map(|(n, times)| (0..n).map(move |place| ((n, Some(place)), times)));
    assert_eq!(found, expected.collect());
    // A copy is shown once, and a single response is shown as such.
    let twice = Item { responses: vec!["a".into(), "b".into(), "a".into()], ..item(7, 3) };
    assert_eq!(places.next_order(&Item { best: Some(0), ..twice }).len(), 2);
    assert_eq!(places.next_order(&Item { best: None, ..item(0, 1) }), [0]);
}

#[test]
fn bash_and_python_read_what_is_written() {
    for trainer in [Trainer::Trl, Trainer::Verl, Trainer::OpenRlhf] {
        let folder = tempfile::tempdir().unwrap();
        export(trainer, &items(), &config(), folder.path()).unwrap();
        let (name, _) = trainer.launch();
        for file in [name, "reward.py"] {
            let path = folder.path().join(file);
            let parse = "import ast, sys; ast.parse(open(sys.argv[1]).read())";
            let (program, flags) = if file.ends_with(".sh") {
                ("bash", vec!["-n"])
            } else {
                ("python3", vec!["-c", parse])
            };
            let read = Command::new(program).args(flags).arg(&path).output().unwrap();
            assert!(read.status.success(), "{trainer} {file}: {read:?}");
        }
    }
}

#[test]
fn a_folder_is_written_again_as_it_is_and_refused_once_a_file_differs() {
    let folder = tempfile::tempdir().unwrap();
    let export_for = |trainer| export(trainer, &items(), &config(), folder.path());
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    export_for(Trainer::Verl).unwrap();
    export_for(Trainer::Verl).unwrap();
    for other in [Trainer::Trl, Trainer::OpenRlhf] {
        let error = export_for(other).unwrap_err().to_string();
        assert!(error.contains("data.jsonl") && error.contains("--out"), "{error}");
    }
    assert!(read("reward.py").contains("verl"), "nothing was written");

    std::fs::write(folder.path().join("train.sh"), "edited").unwrap();
    let error = export_for(Trainer::Verl).unwrap_err().to_string();
    assert!(error.contains("train.sh"), "{error}");
    assert_eq!(read("train.sh"), "edited");
    std::fs::remove_file(folder.path().join("train.sh")).unwrap();
    std::fs::write(folder.path().join("train.py"), "of TRL").unwrap();
    assert!(export_for(Trainer::Verl).unwrap_err().to_string().contains("train.py"));
}

#[test]
fn nothing_to_learn_from_and_a_name_that_breaks_quotes_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(export(Trainer::Trl, &items()[..1], &config(), folder.path()).is_err());
    let config = ExportConfig { model: "a\"; rm".to_owned(), ..config() };
    let error = export(Trainer::Verl, &items(), &config, folder.path()).unwrap_err();
    assert!(error.to_string().contains("quotes"), "{error}");
    let nameless = ExportConfig { model: " ".to_owned(), ..config };
    let error = export(Trainer::Verl, &items(), &nameless, folder.path()).unwrap_err();
    assert!(error.to_string().starts_with("--model: "), "{error}");
}

#[test]
fn fewer_rows_than_a_batch_are_refused_where_the_trainer_would_take_no_step() {
    for (trainer, is_refused) in
        [(Trainer::Trl, false), (Trainer::Verl, true), (Trainer::OpenRlhf, true)]
    {
        let folder = tempfile::tempdir().unwrap();
        let few = &items()[..GROUPS];
        let exported = export(trainer, few, &config(), folder.path());
        assert_eq!(exported.is_err(), is_refused, "{trainer}");
        if let Err(error) = exported {
            assert!(error.to_string().contains("here are 127"), "{error}");
        }
    }
}

#[test]
fn the_steps_of_verl_end_a_training_and_not_its_passes_over_the_data() {
    let folder = tempfile::tempdir().unwrap();
    export(Trainer::Verl, &items(), &config(), folder.path()).unwrap();
    let text = std::fs::read_to_string(folder.path().join("train.sh")).unwrap();
    assert!(text.contains(&format!("trainer.total_training_steps={STEPS}")));
    assert!(text.contains(&format!("trainer.total_epochs={STEPS}")));
}
