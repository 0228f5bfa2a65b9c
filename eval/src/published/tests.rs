//! Hand-made records with exactly the fields of each set.

use std::path::Path;
use std::sync::Arc;

use jury_grm::domain::Query;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};

use super::*;
use crate::truth::{self, Truth};

/// Writes `text` as `name` into a new folder, and reads it in the format detected from its fields.
fn read(name: &str, text: &str) -> (Format, Vec<Result<Vec<Item>, String>>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    read_file(&path)
}

fn read_file(path: &Path) -> (Format, Vec<Result<Vec<Item>, String>>) {
    let format = format_of(path).unwrap();
    let Format::Published(set) = format else { return (format, Vec::new()) };
    let of_record = |record: Result<Record, RecordsError>| {
        let record = record.unwrap();
        let fields = record.content?;
        items(set, &fields, path, record.number).map_err(|error| error.to_string())
    };
    (format, records(path).unwrap().map(of_record).collect())
}

/// The only item of the only record.
fn one(set: Set, name: &str, record: &Value) -> Item {
    let (format, read) = read(name, &format!("{record}\n"));
    assert_eq!(format, Format::Published(set));
    let [Ok(items)] = read.as_slice() else { panic!("{read:?}") };
    let [item] = items.as_slice() else { panic!("{items:?}") };
    assert_eq!((item.source.as_deref(), Set::of(item)), (Some(set.name()), Some(set)));
    item.clone()
}

fn texts(item: &Item) -> Vec<&str> {
    item.responses.iter().map(String::as_str).collect()
}

#[test]
fn rewardbench_and_its_prior_sets() {
    let record = json!({
        "prompt": "Name a colour.", "chosen": "Red", "chosen_model": "m", "rejected": "Seven",
        "rejected_model": "n", "subset": "alpacaeval-easy", "id": 30,
    });
    let item = one(Set::RewardBench, "filtered.jsonl", &record);
    assert_eq!((texts(&item), item.best), (vec!["Red", "Seven"], Some(0)));
    assert_eq!(
        (&*item.id, item.category.as_deref()),
        ("alpacaeval-easy/30", Some("alpacaeval-easy"))
    );

    let prior = json!({
        "prompt": [{"role": "user", "content": "Hello"}], "chosen": "Hi", "rejected": "Go", "subset": "x",
    });
    let item = one(Set::RewardBench, "anthropic_hhh-00000-of-00001.jsonl", &prior);
    assert_eq!(item.category.as_deref(), Some("anthropic_hhh"));
    assert!(matches!(item.query, Query::Turns(_)));
}

#[test]
fn rewardbench_2_with_its_ties() {
    let record = |subset: &str, id: &str, chosen: Value| {
        json!({
            "id": id, "prompt": "Name a colour.", "chosen": chosen, "rejected": ["Seven", "Two", "Ten"],
            "num_correct": 1, "num_incorrect": 3, "total_completions": 4, "models": ["m"],
            "subset": subset, "additional_metadata": null,
        })
    };
    let item = one(Set::RewardBench2, "test.jsonl", &record("Factuality", "7", json!(["Red"])));
    assert_eq!((item.responses.len(), truth::of(&item)), (4, Some(Truth::Best(0))));
    let item =
        one(Set::RewardBench2, "test.jsonl", &record("Ties", "tied:7", json!(["Red", "Blue"])));
    assert_eq!(item.labels, Some(vec![1.0, 1.0, 0.0, 0.0, 0.0]));
    assert_eq!((truth::of(&item), &*item.id), (Some(Truth::Graded), "Ties/tied:7"));

    let (_, read) = read("t.jsonl", &record("Math", "8", json!(["Red", "Blue"])).to_string());
    assert!(read[0].as_ref().unwrap_err().starts_with("chosen: must have one response"));
}

#[test]
fn rm_bench_as_one_array_and_by_domain() {
    let mut record = json!({
        "id": 5, "prompt": "q", "chosen": ["a", "aa", "*a*"], "rejected": ["b", "bb", "*b*"],
        "domain": "safety-refuse",
    });
    let (format, found) = read("total_dataset.json", &json!([record, 3, {"id": 6}]).to_string());
    assert_eq!(format, Format::Published(Set::RmBench));
    let item = &found[0].as_ref().unwrap()[0];
    assert_eq!((&*item.id, truth::of(item)), ("safety-refuse/5", Some(Truth::Graded)));
    assert_eq!(found[1], Err("no object".to_owned()));
    assert_eq!(found[2], Err("chosen: is missing".to_owned()));

    let fields = record.as_object_mut().unwrap();
    fields.remove("domain");
    fields.insert("subset".to_owned(), json!("xstest-should-refuse"));
    let (format, found) = read("safety-refuse_filtered.json", &json!([record]).to_string());
    assert_eq!(format, Format::Published(Set::RmBench));
    assert_eq!(found[0].as_ref().unwrap()[0].id, "safety-refuse/5");
}

#[test]
fn rmb_pairs_and_best_of_n() {
    let turns = json!([{"content": "q", "language": "English", "role": "user"}]);
    let said = |answer: &str| json!({"llm_name": "m", "answer": answer, "score": 5.0});
    let pair = json!({
        "pair_uid": "7989", "conversation_input": turns, "chosen": said("good"), "reject": said("bad"),
        "category_path": "Pairwise_set/Helpfulness/Chat/Discussion",
    });
    let item = one(Set::Rmb, "Discussion.json", &json!([pair])[0]);
    assert_eq!((texts(&item), item.best), (vec!["good", "bad"], Some(0)));
    let bon = json!({
        "bon_uid": "2616", "conversation_input": turns, "bon_best": said("good"),
        "loser_list": [said("bad"), said("worse")], "category_path": "BoN_set/Harmlessness/S11",
    });
    let item = one(Set::Rmb, "S11.json", &bon);
    assert_eq!(
        (texts(&item), &*item.id),
        (vec!["good", "bad", "worse"], "BoN_set/Harmlessness/S11/2616")
    );
}

#[test]
fn ppe_preferences_and_sampled_pairs() {
    let preference = |winner: &str| {
        json!({
            "question_id": "q1", "model_a": "m", "model_b": "n", "winner": winner, "language": "English",
            "prompt": "p", "response_1": "a", "response_2": "b",
        })
    };
    let item = one(Set::Ppe, "p.jsonl", &preference("model_b"));
    assert_eq!((texts(&item), item.best), (vec!["b", "a"], Some(0)));
    let (_, tied) = read("p.jsonl", &preference("tie (bothbad)").to_string());
    assert_eq!(tied, [Ok(Vec::new())]);

    let record = json!({
        "question_id": "q2", "model_name": "m", "prompt": "p", "response_1": "a", "response_2": "b",
        "response_3": "c", "scores": [false, true, true], "sampled_conflict_pairs": [[0, 2], [1, 0]],
    });
    let (_, read) = read("PPE-MBPP-Plus-Best-of-K/data/train.jsonl", &record.to_string());
    let items = read[0].as_ref().unwrap();
    assert_eq!(items.iter().map(texts).collect::<Vec<_>>(), [["c", "a"], ["b", "a"]]);
    assert_eq!(items[0].category.as_deref(), Some("mbpp-plus"));
    assert_ne!(items[0].id, items[1].id);
}

#[test]
fn ppes_benchmark_is_named_nearest_to_the_file() {
    let record = json!({
        "question_id": "q", "prompt": "p", "response_1": "a", "response_2": "b", "scores": [0, 1],
        "sampled_conflict_pairs": [[0, 1]],
    });
    let benchmark = |path: &str| {
        let items = items(Set::Ppe, record.as_object().unwrap(), Path::new(path), 1).unwrap();
        items[0].category.clone().unwrap()
    };
    for (path, named) in [
        ("/home/mathilde/ppe/gpqa.parquet", "gpqa"),
        ("/data/math/mbpp_plus.parquet", "mbpp-plus"),
        ("/data/math/PPE-IFEval-Best-of-K/data/train-00000-of-00001.parquet", "ifeval"),
        ("PPE-MMLU-Pro-Best-of-K/data/train.jsonl", "mmlu-pro"),
        ("ppe/MATH_best_of_k.jsonl", "math"),
        ("/home/mathilde/answers.jsonl", "answers"),
    ] {
        assert_eq!(benchmark(path), named, "{path}");
    }
}

#[test]
fn judgebench_llmbar_and_realmistake() {
    let record = json!({
        "pair_id": "u", "original_id": "o", "source": "mmlu-pro-biology", "question": "q",
        "response_model": "m", "response_A": "a", "response_B": "b", "label": "B>A",
    });
    let item = one(Set::JudgeBench, "judgebench.jsonl", &record);
    assert_eq!((texts(&item), item.best), (vec!["b", "a"], Some(0)));

    let record = json!({"input": "q", "output_1": "a", "output_2": "b", "label": 2});
    let item = one(Set::LlmBar, "LLMBar/Adversarial/Neighbor/dataset.json", &record);
    assert_eq!(
        (texts(&item), item.category.as_deref()),
        (vec!["b", "a"], Some("Adversarial/Neighbor"))
    );
    let item = one(Set::LlmBar, "LLMBar/Natural/dataset.json", &record);
    assert_eq!(item.category.as_deref(), Some("Natural"));

    for field in ["label", "error_label"] {
        let record = json!({
            "input": "q", "llm_response": "a", field: "error", "human_explanation": "", "error_categories": [],
            "metadata": {"llm_response_model": "gpt-4-0613"},
        });
        let item = one(Set::RealMistake, "math_word_problem_generation/gpt-4-0613.jsonl", &record);
        assert_eq!(truth::of(&item), Some(Truth::Single(0.0)));
        assert_eq!(item.category.as_deref(), Some("math_word_problem_generation"));
    }
}

#[test]
fn bad_lines_are_told_by_number_and_a_label_that_nobody_knows_is_one() {
    let good = json!({"input": "q", "output_1": "a", "output_2": "b", "label": 1});
    let bad = json!({"input": "q", "output_1": "a", "output_2": "b", "label": 3});
    let (_, read) = read("dataset.jsonl", &format!("not json\n{good}\n\n{bad}\n"));
    assert!(read[0].as_ref().unwrap_err().starts_with("no JSON"), "{read:?}");
    assert!(read[1].is_ok());
    assert_eq!(read[2], Err("label: must be 1 or 2, is 3".to_owned()));
}

#[test]
fn items_of_ours_are_no_published_set_and_a_table_of_something_else_is_refused() {
    let (format, _) = read("items.jsonl", r#"{"query": "q", "responses": ["a"], "label": 1}"#);
    assert_eq!(format, Format::Items);
    assert_eq!("rm-bench".parse(), Ok(Format::Published(Set::RmBench)));
    assert!("rmbench".parse::<Format>().unwrap_err().contains("rm-bench"));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.parquet");
    write_table(&path, "message m { required int64 a; }", |group| {
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&[1], None, None).unwrap();
        column.close().unwrap();
    });
    let error = format_of(&path).unwrap_err().to_string();
    assert!(error.contains("its columns are a."), "{error}");
}

type Group<'a> = parquet::file::writer::SerializedRowGroupWriter<'a, std::fs::File>;

fn write_table(path: &Path, message: &str, write: impl FnOnce(&mut Group<'_>)) {
    let schema = Arc::new(parse_message_type(message).unwrap());
    let file = std::fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    write(&mut group);
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn parquet_as_the_hub_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("PPE-GPQA-Best-of-K/data/train-00000-of-00001.parquet");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let message = "message schema {
        optional binary question_id (STRING);
        optional binary prompt (STRING);
        optional binary response_1 (STRING);
        optional binary response_2 (STRING);
        optional group scores (LIST) { repeated group list { optional boolean element; } }
        optional group sampled_conflict_pairs (LIST) { repeated group list {
            optional group element (LIST) { repeated group list { optional int64 element; } } } }
    }";
    write_table(&path, message, |group| {
        for text in ["q1", "Wie groß?", "a", "b"] {
            let mut column = group.next_column().unwrap().unwrap();
            let value = [ByteArray::from(text)];
            column.typed::<ByteArrayType>().write_batch(&value, Some(&[1]), None).unwrap();
            column.close().unwrap();
        }
        let mut scores = group.next_column().unwrap().unwrap();
        let values = [false, true];
        scores.typed::<BoolType>().write_batch(&values, Some(&[3, 3]), Some(&[0, 1])).unwrap();
        scores.close().unwrap();
        let mut pairs = group.next_column().unwrap().unwrap();
        pairs.typed::<Int64Type>().write_batch(&[0, 1], Some(&[5, 5]), Some(&[0, 2])).unwrap();
        pairs.close().unwrap();
    });
    let (format, read) = read_file(&path);
    assert_eq!(format, Format::Published(Set::Ppe));
    let item = &read[0].as_ref().unwrap()[0];
    assert_eq!((texts(item), item.category.as_deref()), (vec!["b", "a"], Some("gpqa")));
    assert_eq!(item.query, Query::Text("Wie groß?".to_owned()));
}
