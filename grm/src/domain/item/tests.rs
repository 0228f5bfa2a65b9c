use super::*;

#[test]
fn an_unknown_key_is_named_and_the_item_still_read() {
    let (item, unknown) =
        Item::from_json(r#"{"query": "q", "responses": ["a"], "respones": 1}"#).unwrap();
    assert_eq!(item.responses, ["a"]);
    assert_eq!(unknown, ["respones"]);
}

#[test]
fn a_missing_field_is_named() {
    let error = Item::from_json(r#"{"query": "q"}"#).unwrap_err();
    assert!(error.to_string().contains("responses"), "{error}");
}

#[test]
fn a_misspelt_key_is_told_which_one_it_is_like() {
    for key in ["respones", "response", "Responses", "responsess", "repsonses", "rezponses"] {
        assert_eq!(Item::key_hint(key), Some(KeyHint::Like("responses")), "{key}");
    }
    assert_eq!(Item::key_hint("colour"), None);
}

#[test]
fn a_field_of_another_shape_is_named_in_the_words_of_json() {
    for (json, message) in [
        (
            r#"{"query": [{"role": "bot", "content": "q"}], "responses": ["a"]}"#,
            r#"query[0].role: must be "system", "user", "assistant", "tool" or "developer", is "bot""#,
        ),
        (r#"{"query": [{"content": "q"}], "responses": ["a"]}"#, "query[0].role: is missing"),
        (
            r#"{"query": 3, "responses": ["a"]}"#,
            r#"query: must be a text, or a list of turns like {"role": "user", "content": ".."}, is a number"#,
        ),
        (
            r#"{"query": "q", "responses": ["a", {"text": "b"}]}"#,
            r#"responses[1]: must be a text, or a message like {"role": "assistant", "content": ".."}, is an object"#,
        ),
        (r#"{"query": "q", "responses": "a"}"#, "responses: must be a list, is a text"),
        (r#"{"query": "q"}"#, "responses: is missing"),
        (
            r#"{"query": "q", "respones": ["a"]}"#,
            r#"responses: is missing; is "respones" meant to be it?"#,
        ),
        (
            r#"{"query": "q", "responses": ["a", "b"], "best": -1}"#,
            "best: must be the index of a response, 0 to 1, is -1",
        ),
        (
            r#"[{"query": "q", "responses": ["a"]}]"#,
            r#"an item is one object with "query" and "responses", this is a list"#,
        ),
        (
            r#"{"messages": [{"role": "user", "content": "q"}], "responses": ["a"]}"#,
            r#"query: is missing; is "messages" meant to be it?"#,
        ),
        (
            r#"{"query": [["user", "q"]], "responses": ["a"]}"#,
            r#"query[0]: must be a turn like {"role": "user", "content": ".."}, is a list"#,
        ),
        (
            r#"{"query": "q", "responses": ["a"], "labels": ["x"]}"#,
            "labels[0]: must be a number, is a text",
        ),
        (
            r#"{"query": "q", "responses": ["a"], "id": 1.5}"#,
            "id: must be a text or a whole number below 2^64, is a number",
        ),
        (
            r#"{"query": "a \ud83d b", "responses": ["a"]}"#,
            "not JSON at line 1, column 20: \\ud83d is the first half of a surrogate pair, and its second half does not follow",
        ),
        ("not json", "not JSON at line 1, column 2: this is no JSON value"),
    ] {
        assert_eq!(Item::from_json(json).unwrap_err().to_string(), message);
    }
}

#[test]
fn what_follows_an_item_and_a_field_given_twice_are_errors() {
    let error = Item::from_json("{}\n{}").unwrap_err();
    assert_eq!(error, JsonError::MoreFollows { line: 2, column: 1 });
    let twice = r#"{"query": "q", "responses": ["a"], "responses": ["b"]}"#;
    assert_eq!(Item::from_json(twice).unwrap_err().to_string(), "responses: is given twice");
}

#[test]
fn null_is_the_same_as_leaving_an_optional_field_out() {
    let json = r#"{"query": "q", "responses": ["a"], "best": null, "criteria": null}"#;
    assert_eq!(Item::from_json(json).unwrap().0.best, None);
}

#[test]
fn a_blank_reference_is_no_reference() {
    let digest = |rest: &str| crate::plan::content_digest(&read(r#""q""#, rest).unwrap(), &[0, 1]);
    let without = digest("");
    for blank in [r#""""#, r#"" \n""#, "null"] {
        assert_eq!(digest(&format!(r#", "reference": {blank}"#)), without, "{blank}");
    }
    assert_ne!(digest(r#", "reference": "nan""#), without, "a text is never guessed at");
}

#[test]
fn a_conversation_reads_as_turns() {
    let (item, _) =
        Item::from_json(r#"{"query": [{"role": "user", "content": "hi"}], "responses": ["a"]}"#)
            .unwrap();
    assert_eq!(item.query.turns()[0].role, Role::User);
}

fn read(query: &str, rest: &str) -> Result<Item, JsonError> {
    let json = format!(r#"{{"query": {query}, "responses": ["a", "b"]{rest}}}"#);
    Item::from_json(&json).map(|(item, _)| item)
}

/// The turns of a query, as `role: content`.
fn turns(query: &str) -> Vec<String> {
    let turns = read(query, "").unwrap().query.turns();
    turns.into_iter().map(|turn| format!("{:?}: {}", turn.role, turn.content)).collect()
}

#[test]
fn a_text_in_parts_is_the_same_text() {
    let plain = read(r#""How warm?""#, "").unwrap();
    let part =
        read(r#"[{"role": "user", "content": [{"type": "text", "text": "How warm?"}]}]"#, "");
    let digest = |item: &Item| crate::plan::content_digest(item, &[0, 1]);
    assert_eq!(digest(&plain), digest(&part.unwrap()));
    let two = r#"[{"role": "user", "content": [{"type": "text", "text": "One."}, "Two."]}]"#;
    assert_eq!(turns(two), ["User: One.\nTwo."]);
    assert_eq!(turns(r#"[{"role": "user", "content": []}]"#), ["User: "]);
}

#[test]
fn calls_of_tools_and_their_results_are_shown() {
    let query = r#"[
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": null, "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "weather", "arguments": "{\"at\": 1}"}},
            {"function": {"name": "time", "arguments": {"zone": "CET"}}}]},
        {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "4 degrees"}]},
        {"role": "assistant", "content": "Hm.", "function_call": {"name": "now"}},
        {"role": "assistant"},
        {"role": "user", "content": "So?"}
    ]"#;
    assert_eq!(
        turns(query),
        [
            "Developer: Be brief.",
            "User: Weather?",
            "Assistant: Tool call: weather({\"at\": 1})\nTool call: time({\"zone\":\"CET\"})",
            "Tool: 4 degrees",
            "Assistant: Hm.\nTool call: now()",
            "Assistant: ",
            "User: So?",
        ]
    );
}

#[test]
fn what_is_no_text_is_refused_by_name_and_path() {
    let part = |part: &str| {
        read(&format!(r#"[{{"role": "user", "content": [{part}]}}]"#), "").unwrap_err().to_string()
    };
    let image = part(r#"{"type": "image_url", "image_url": {"url": "data:"}}"#);
    assert!(image.starts_with("query[0].content[0]: is an image"), "{image}");
    let sound = part(r#""a", {"type": "input_audio", "input_audio": {}}"#);
    assert!(sound.starts_with("query[0].content[1]: is a sound"), "{sound}");
    let voice = r#"[{"role": "assistant", "content": "a", "audio": {"id": "x"}}]"#;
    let voice = read(voice, "").unwrap_err().to_string();
    assert!(voice.starts_with("query[0].audio: is a sound"), "{voice}");
    let call = r#"[{"role": "assistant", "tool_calls": [{"type": "custom"}]}]"#;
    let call = read(call, "").unwrap_err().to_string();
    assert_eq!(call, "query[0].tool_calls[0].function: is missing");
}

#[test]
fn responses_may_be_messages() {
    let responses = |responses: &str| {
        Item::from_json(&format!(r#"{{"query": "q", "responses": [{responses}]}}"#))
            .map(|(item, _)| item.responses)
    };
    let message = r#"{"role": "assistant", "content": "A coat."}"#;
    let written = format!(r#"[{message}], {message}, [{{"type": "text", "text": "Hat"}}], null"#);
    assert_eq!(responses(&written).unwrap(), ["A coat.", "A coat.", "Hat", ""]);
    let two = responses(&format!("[{message}, {message}]")).unwrap_err().to_string();
    assert!(two.starts_with("responses[0]: holds 2 messages"), "{two}");
    let refused = r#"{"role": "assistant", "content": null, "refusal": "I won't."}"#;
    assert_eq!(responses(refused).unwrap(), ["I won't."]);
    let part = r#"{"role": "assistant", "content": [{"type": "refusal", "refusal": "I won't."}]}"#;
    assert_eq!(responses(part).unwrap(), ["I won't."]);
    let only_a_call = r#"{"role": "assistant", "content": "", "refusal": "", "tool_calls": [{"function": {"name": "f"}}]}"#;
    assert_eq!(responses(only_a_call).unwrap(), ["Tool call: f()"]);
    let other_key = r#"{"role": "assistant", "text": "A coat."}"#;
    let other_key = responses(other_key).unwrap_err().to_string();
    assert!(other_key.starts_with("responses[0]: has a text and no content"), "{other_key}");
}

#[test]
fn an_id_may_be_a_number_and_a_key_nobody_reads_is_named_with_its_path() {
    let json = r#"{"id": 17, "query": [{"role": "user", "content": "q", "nmae": "x"}], "responses": ["a"]}"#;
    let (item, unknown) = Item::from_json(json).unwrap();
    assert_eq!((item.id.as_str(), unknown), ("17", vec!["query[0].nmae".to_owned()]));
    let json = r#"{"query": "q", "responses": ["a", [{"role": "assistant", "content": "b", "conten": ""}]]}"#;
    assert_eq!(Item::from_json(json).unwrap().1, ["responses[1].conten"]);
    assert_eq!(read(r#""q""#, r#", "id": null"#).unwrap().id, "");
}
