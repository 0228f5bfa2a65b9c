//! Tokens missing from the embedding table, and tokens whose row in it is NaN.

use std::fs;
use std::path::Path;

use jury_engine::{
    Engine, Event, Group, LoadError, Readout, ReadoutMode, SampleError, SubmitError, inspect,
};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::families::fixture;
use crate::support::{config, drive, load_file, outputs, run, sample, scores, user};

/// Tokens of the fixtures.
const VOCABULARY: u32 = 320;

/// A copy of a fixture with another tokenizer.
fn with_tokenizer(change: impl FnOnce(&mut Value)) -> TempDir {
    let folder = copy("llama");
    let path = folder.path().join("tokenizer.json");
    let mut tokenizer = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut tokenizer);
    fs::write(path, tokenizer.to_string()).unwrap();
    folder
}

fn copy(family: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in fs::read_dir(fixture(family)).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    folder
}

fn add(tokenizer: &mut Value, token: u32, text: &str, special: bool) {
    let added = json!({"id": token, "content": text, "special": special});
    tokenizer["added_tokens"].as_array_mut().unwrap().push(added);
}

#[test]
fn a_token_that_the_model_does_not_know_is_refused_where_it_occurs() {
    let folder = with_tokenizer(|tokenizer| {
        add(tokenizer, VOCABULARY, "<pad>", true);
        // Among the tokens that may follow a choice.
        add(tokenizer, VOCABULARY + 1, ", too", false);
    });
    let mut engine = load_file(folder.path(), &config(1));
    let group = |prompt| Group { prompt, samples: vec![sample(1, 0.0, 2)], cache_salt: None };
    for token in [VOCABULARY, VOCABULARY + 1, VOCABULARY + 2] {
        let error = engine.submit(group(vec![5, token, 6])).unwrap_err();
        assert!(matches!(error, SubmitError::Invalid { field: "prompt", .. }), "{error}");
    }
    let prompt = engine.encode(&user("the inn")).unwrap();
    let readout = Readout { separator: ", ".to_owned(), ..scores(ReadoutMode::Expected) };
    let spec = jury_engine::SampleSpec { readout: Some(readout), ..sample(1, 0.0, 2) };
    let output = run(&mut engine, prompt, vec![spec]).remove(0);
    assert_eq!(output.readout.unwrap().choices.len(), 2);
}

#[test]
fn a_tokenizer_whose_text_or_turns_the_model_does_not_know_is_refused() {
    let text = with_tokenizer(|tokenizer| {
        tokenizer["model"]["vocab"]["far"] = json!(VOCABULARY);
    });
    let turns = with_tokenizer(|tokenizer| add(tokenizer, VOCABULARY, "<|turn|>", true));
    let template = "<|turn|>{{ messages[0]['content'] }}";
    fs::write(turns.path().join("chat_template.jinja"), template).unwrap();
    for folder in [text, turns] {
        let error = inspect(folder.path()).unwrap_err();
        assert!(matches!(error, LoadError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains("321 tokens"), "{error}");
        assert!(error.to_string().contains("not token 320"), "{error}");
        let loaded = Engine::load(folder.path(), &config(1)).unwrap_err();
        assert_eq!(loaded.to_string(), error.to_string());
    }
}

/// An untied model whose table has NaN in a token's row.
fn damaged(token: u32) -> TempDir {
    let folder = copy("qwen2");
    let path = folder.path().join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let table = tensors.tensor("model.embed_tokens.weight").unwrap();
    let row_bytes = table.data().len() / VOCABULARY as usize;
    let at = table.data().as_ptr() as usize - bytes.as_ptr() as usize + token as usize * row_bytes;
    // Both bytes of a bfloat16: NaN.
    bytes[at..at + 2].fill(0xff);
    fs::write(path, bytes).unwrap();
    folder
}

fn engine(folder: &Path) -> Engine {
    load_file(folder, &config(1))
}

/// The errors of a group alone.
fn errors(engine: &mut Engine, prompt: &[u32], max_tokens: usize) -> Vec<SampleError> {
    let samples = vec![sample(1, 0.0, max_tokens)];
    engine.submit(Group { prompt: prompt.to_vec(), samples, cache_salt: None }).unwrap();
    let failed = |event| match event {
        Event::Failed { error, .. } => Some(error),
        _ => None,
    };
    drive(engine).into_iter().filter_map(failed).collect()
}

#[test]
fn nothing_comes_of_a_prompt_with_a_token_whose_row_is_no_number() {
    let folder = damaged(40);
    let mut engine = engine(folder.path());
    let clean = &mut load_file(&fixture("qwen2"), &config(1));
    // Longer than a page, so that its beginning is found in the cache the second time.
    let prompt: Vec<u32> = (10..100).collect();
    for _ in 0..2 {
        assert_eq!(errors(&mut engine, &prompt, 3), [SampleError::NotANumber { tokens: 0 }]);
        assert!(engine.logits_after(&prompt).unwrap().iter().all(|logit| logit.is_nan()));
    }
    let other: Vec<u32> = (41..100).collect();
    let bits = |engine: &mut Engine| -> Vec<u32> {
        engine.logits_after(&other).unwrap().into_iter().map(f32::to_bits).collect()
    };
    assert_eq!(bits(&mut engine), bits(clean), "prompts without it are as they were");
}

#[test]
fn nothing_comes_of_a_token_that_is_drawn_and_whose_row_is_no_number() {
    let mut clean = load_file(&fixture("qwen2"), &config(1));
    let prompt: Vec<u32> = (41..100).collect();
    let spec = || jury_engine::SampleSpec { ignores_end: true, ..sample(1, 0.0, 8) };
    let drawn = run(&mut clean, prompt.clone(), vec![spec()]).remove(0).tokens;
    let fresh = |index: &usize| {
        !prompt.contains(&drawn[*index]) && !drawn[..*index].contains(&drawn[*index])
    };
    let at = (0..drawn.len() - 1).find(fresh).expect("a token that is drawn for the first time");
    let folder = damaged(drawn[at]);
    let mut engine = engine(folder.path());
    engine
        .submit(Group { prompt: prompt.clone(), samples: vec![spec()], cache_salt: None })
        .unwrap();
    let events = drive(&mut engine);
    let expected = SampleError::NotANumber { tokens: at + 1 };
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::Failed { error, .. } if *error == expected)),
        "{events:?}"
    );
    // The last token is never fed back.
    let last = jury_engine::SampleSpec { ignores_end: true, ..sample(1, 0.0, at + 1) };
    engine.submit(Group { prompt, samples: vec![last], cache_salt: None }).unwrap();
    let outputs = outputs(drive(&mut engine));
    assert_eq!(outputs.into_values().next().unwrap().tokens, drawn[..=at]);
}
