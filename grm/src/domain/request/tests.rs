use super::super::{Query, Role, Turn};
use super::*;

fn request() -> ScoreRequest {
    let json = r#"{"id": "x", "query": "q", "responses": ["a", "b"]}"#;
    ScoreRequest::new(Item::from_json(json).unwrap().0)
}

fn broken(change: impl FnOnce(&mut ScoreRequest)) -> RequestError {
    let mut request = request();
    change(&mut request);
    request.validate().unwrap_err()
}

#[test]
fn the_defaults_are_valid() {
    assert_eq!(request().validate(), Ok(()));
    assert_eq!(request().effective_min_samples(), 4);
}

#[test]
fn every_refusal_names_its_field_and_limit() {
    let error = broken(|r| r.item.responses.clear());
    assert_eq!(error.to_string(), "item.responses: is empty; give at least 1 response");
    assert_eq!(broken(|r| r.item.query = Query::Text(" ".into())).field, "item.query");
    assert_eq!(broken(|r| r.item.query = Query::Turns(Vec::new())).field, "item.query");
    for no_number in [f64::NAN, f64::INFINITY] {
        let error = broken(|r| r.item.labels = Some(vec![0.0, no_number]));
        assert!(error.to_string().contains("labels[1]"), "{error}");
    }
    assert_eq!(
        broken(|r| r.settings.k = 0).to_string(),
        "settings.k: must be between 1 and 256, is 0"
    );
    assert_eq!(broken(|r| r.settings.k = 257).field, "settings.k");
    assert_eq!(broken(|r| r.settings.temperature = f64::NAN).field, "settings.temperature");
    assert_eq!(broken(|r| r.settings.top_p = 0.0).field, "settings.top_p");
    assert_eq!(broken(|r| r.voting.refill = 9).field, "voting.refill");
    assert_eq!(broken(|r| r.include_hidden_states = true).field, "include_hidden_states");
    assert_eq!(broken(|r| r.hinted = true).field, "hinted");
    assert_eq!(broken(|r| r.seed = 1 << 53).field, "seed");
    assert_eq!(broken(|r| r.min_samples = Some(9)).field, "min_samples");
    assert_eq!(broken(|r| r.item.best = Some(2)).field, "item.best");
    assert_eq!(broken(|r| r.item.labels = Some(vec![1.0])).field, "item.labels");
}

#[test]
fn whatever_a_caller_may_write_at_length_has_a_limit() {
    let long = || Some("x".repeat(limits::MAX_NAME_BYTES + 1));
    let error = broken(|r| r.model = long());
    assert_eq!(error.to_string(), "model: must be at most 1024 bytes, has 1025");
    assert_eq!(broken(|r| r.voting.meta = long()).field, "voting.meta");
    assert_eq!(broken(|r| r.item.source = long()).field, "item.source");
    assert_eq!(broken(|r| r.item.category = long()).field, "item.category");
    let many = || Some(vec![String::new(); limits::MAX_CRITERIA + 1]);
    let error = broken(|r| r.item.criteria = many());
    assert_eq!(error.to_string(), "item.criteria: at most 256 of them, has 257");
    assert_eq!(broken(|r| r.item.principles = many()).field, "item.principles");
    let turn = Turn { role: Role::User, content: String::new() };
    let turns = vec![turn; limits::MAX_TURNS + 1];
    assert_eq!(broken(|r| r.item.query = Query::Turns(turns)).field, "item.query");
}

#[test]
fn empty_and_identical_responses_are_allowed() {
    let mut request = request();
    request.item.responses = vec![String::new(), "same".into(), "same".into()];
    assert_eq!(request.validate(), Ok(()));
}

#[test]
fn a_request_reads_from_json_with_its_defaults() {
    let json = r#"{"item": {"query": "q", "responses": ["a"]}, "settings": {"k": 4, "scale": null}, "seed": null}"#;
    let (read, unknown) = ScoreRequest::from_json(json).unwrap();
    let mut expected = ScoreRequest::new(Item::bare(Query::Text("q".into()), vec!["a".into()]));
    expected.settings.k = 4;
    assert_eq!((read, unknown), (expected.clone(), vec![]));
    let written = serde_json::to_string(&expected).unwrap();
    assert_eq!(ScoreRequest::from_json(&written).unwrap().0, expected);
}

#[test]
fn a_request_of_another_shape_is_told_field_limit_and_way_out() {
    for (fields, message) in [
        (r#""settings": {"k": 0}"#, "settings.k: must be between 1 and 256, is 0"),
        (r#""settings": {"k": -1}"#, "settings.k: must be a whole number from 1 to 256, is -1"),
        (r#""seed": 1.0"#, "seed: must be a whole number from 0 to 9007199254740991, is 1.0"),
        (r#""min_samples": -1"#, "min_samples: must be a whole number from 1 to k, is -1"),
        (
            r#""settings": {"max_panel": -1}"#,
            "settings.max_panel: must be a whole number from 2 to 64, is -1",
        ),
        (
            r#""settings": {"scale": {"min": 0, "max": 1e12}}"#,
            "settings.scale.max: must be a whole number from 0 to 100, is 1000000000000.0",
        ),
        (r#""voting": {"refill": -1}"#, "voting.refill: must be a whole number from 0 to k, is -1"),
        (r#""settings": {"k": "8"}"#, "settings.k: must be a whole number, is a text"),
        (r#""settings": {"scale": {"min": 0}}"#, "settings.scale.max: is missing"),
        (
            r#""settings": {"readout": "sample"}"#,
            r#"settings.readout: must be "free", "sampled" or "expected", is "sample"; is "sampled" meant?"#,
        ),
        (r#""budget_ms": 0"#, "budget_ms: must be a whole number of at least 1, is 0"),
        (r#""settings": []"#, "settings: must be an object, is a list"),
        (r#""include_samples": 1"#, "include_samples: must be true or false, is a number"),
    ] {
        let json = format!(r#"{{"item": {{"query": "q", "responses": ["a"]}}, {fields}}}"#);
        assert_eq!(ScoreRequest::from_json(&json).unwrap_err().to_string(), message);
    }
    let item = r#"{"item": {"query": [{"role": "bot"}], "responses": []}}"#;
    let error = ScoreRequest::from_json(item).unwrap_err().to_string();
    assert!(error.starts_with("item.query[0].role: must be"), "{error}");
    let missing = ScoreRequest::from_json(r#"{"item": {"prompt": "q", "responses": []}}"#);
    let message = r#"item.query: is missing; is "prompt" meant to be it?"#;
    assert_eq!(missing.unwrap_err().to_string(), message);
    let bare = ScoreRequest::from_json(r#"{"query": "q", "responses": ["a"]}"#).unwrap_err();
    let message = r#"item: is missing; query and responses belong inside it: {"item": {..}}"#;
    assert_eq!(bare.to_string(), message);
}

#[test]
fn keys_of_a_request_that_nobody_reads_have_their_paths() {
    let json = r#"{"item": {"query": "q", "responses": ["a"], "x": 1}, "settings": {"max_tokens": 5}, "budget": 1}"#;
    let unknown = ScoreRequest::from_json(json).unwrap().1;
    assert_eq!(unknown, ["budget", "item.x", "settings.max_tokens"]);
}
