//! A batch that is resumed in another numerics class, or with another model.

use serde_json::Value;

use super::super::sandbox::{ITEM, stable_bytes};
use super::super::tiny;
use super::{SETTINGS, ended, jury_on_a_card};

#[test]
fn a_batch_says_that_it_goes_on_in_another_numerics_class_and_refuses_another_model_even_when_it_is_done()
 {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [judge, other] = ["qwen2", "llama"].map(|family| tiny::model(folder.path(), family));
    let [items, out] = ["items.jsonl", "verdicts.jsonl"].map(|name| {
        let path = folder.path().join(name);
        path.to_str().expect("a temporary path is UTF-8").to_owned()
    });
    let item: Value = serde_json::from_str(ITEM).expect("it is an item");
    let line = |id: &str| {
        let mut item = item.clone();
        item["id"] = id.into();
        format!("{item}\n")
    };
    std::fs::write(&items, line("a")).expect("the folder is ours");
    let run = |more: &[&str]| {
        let arguments = [&["score", "--items", &items, "--out", &out][..], &SETTINGS, more];
        ended(jury_on_a_card(&[]), &arguments.concat())
    };
    let verdicts = || -> Vec<Value> {
        let text = std::fs::read_to_string(&out).expect("it is written");
        text.lines().map(|line| serde_json::from_str(line).expect("a verdict")).collect()
    };
    let first = run(&["--model", &judge, "--device", "cpu"]);
    assert!(matches!(first.code, Some(0 | 1 | 3)), "{}", first.stderr);
    let before = verdicts();

    let eight = ["--resume", "--model", &judge, "--device", "cuda:0", "--card-weights", "int8"];
    let done = run(&eight);
    let note = "samples are now drawn in numerics class cuda-int8-";
    assert!(done.stderr.contains(note), "nothing is left to judge: {}", done.stderr);
    assert_eq!(verdicts(), before);

    let refused = run(&["--resume", "--model", &other, "--device", "cpu"]);
    assert_eq!(refused.code, Some(64), "{}", refused.stderr);
    for words in ["--resume: the model was qwen2", "is llama", "--allow-mixed"] {
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }

    std::fs::write(&items, line("a") + &line("b")).expect("the folder is ours");
    let more = run(&eight);
    assert_eq!(more.stderr.matches(note).count(), 1, "{}", more.stderr);
    let both = verdicts();
    assert_eq!(stable_bytes(&both[0]), stable_bytes(&before[0]));
    assert!(both[1]["provenance"]["numerics"].as_str().is_some_and(|it| it.starts_with("cuda-")));
}
