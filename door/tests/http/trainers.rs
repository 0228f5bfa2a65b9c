//! The services that trainers call, with the bodies that the trainers' own code sends.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use jury_grm::domain::{FailureKind, ScoreRequest, Verdict};
use jury_grm::prompt::Trust;
use jury_worker::backend::scripted::{Act, Ending, ScriptHandle, ScriptedBackend};
use serde_json::{Value, json};

use crate::door::Door;

const PATHS: [&str; 4] = ["/get_reward", "/slime", "/verify", "/v1/chat/completions"];

/// What OpenRLHF logs of a query, always under the same names.
const OPENRLHF_LOGS: [&str; 9] = [
    "valid",
    "n_requested",
    "n_valid",
    "n_parse_failed",
    "n_timed_out",
    "queue_s",
    "latency_s",
    "tokens",
    "cached_tokens",
];

/// `_fetch_rewards_via_http` of OpenRLHF 0.11's agent.py, for one sample.
fn openrlhf() -> Value {
    let prompt = "<|im_start|>user\nWhat is 2 + 2?<|im_end|>\n<|im_start|>assistant\n";
    json!({"query": [format!("{prompt}It is 4.<|im_end|>")], "prompts": [prompt], "labels": ["4"]})
}

/// `remote_rm` of slime's rm_hub.
fn slime() -> Value {
    json!({"prompt": "What is 2 + 2?", "response": "It is 4.", "label": "4"})
}

/// The client of NeMo-Gym's math_with_judge.
fn nemo_gym() -> Value {
    json!({
        "responses_create_params": {"input": [{"role": "user", "content": "What is 2 + 2?"}]},
        "response": {
            "id": "response_1", "created_at": 1.0, "model": "model_1", "object": "response",
            "output": [{
                "id": "message_1", "role": "assistant", "status": "completed", "type": "message",
                "content": [{"annotations": [], "text": "It is 4.", "type": "output_text"}],
            }],
            "parallel_tool_calls": false, "tool_choice": "none", "tools": [],
        },
        "question": "What is 2 + 2?",
        "expected_answer": "4",
    })
}

/// OpenAI's Python client.
fn chat() -> Value {
    json!({"model": "jury", "messages": [
        {"role": "user", "content": "What is 2 + 2?"},
        {"role": "assistant", "content": "It is 4."},
    ]})
}

fn bodies() -> [(&'static str, Value); 4] {
    let [openrlhf_path, slime_path, gym_path, chat_path] = PATHS;
    [
        (openrlhf_path, openrlhf()),
        (slime_path, slime()),
        (gym_path, nemo_gym()),
        (chat_path, chat()),
    ]
}

fn unreadable() -> ScriptedBackend {
    ScriptedBackend::new().on_sample(|_, _| Act::now(Ending::Unparsed(FailureKind::NoBox)))
}

/// The verdict of an item, asked for without the door.
async fn verdict(door: &Door, item: Value) -> Verdict {
    let request = json!({"item": item, "settings": {"k": 4}}).to_string();
    let request = ScoreRequest::from_json(&request).unwrap().0;
    (*door.coordinator().score(request).await.unwrap()).clone()
}

/// Whether a worker was shown `text` as a piece that nobody vouches for.
fn was_shown(handle: &ScriptHandle, text: &str) -> bool {
    let groups = handle.groups();
    let mut spans = groups.iter().flat_map(|group| &group.messages).flat_map(|turn| &turn.spans);
    spans.any(|span| span.trust == Trust::Untrusted && &*span.text == text)
}

#[tokio::test]
async fn openrlhf_gets_the_reward_of_what_follows_the_prompt() {
    let backend = ScriptedBackend::new();
    let handle = backend.handle();
    let door = Door::open(backend).await;
    let path = "/get_reward?k=4&trim=%3C%7Cim_end%7C%3E";
    let answer = door.post(path, &openrlhf()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert!(was_shown(&handle, "It is 4."), "the prompt and the end of the turn are gone");
    let prompt = &openrlhf()["prompts"][0];
    let item = json!({"query": prompt, "responses": ["It is 4."], "reference": "4"});
    let reward = verdict(&door, item).await.rewards[0].unwrap();
    let read = answer.json();
    assert_eq!(read["rewards"], json!([reward]));
    assert_eq!(read["scores"], json!([(reward - 1.0) / 9.0]));
    let logs = read["extra_logs"].as_object().unwrap();
    assert!(logs.values().all(Value::is_number), "{logs:?}");
    assert_eq!(logs.keys().collect::<Vec<_>>(), OPENRLHF_LOGS);
    assert_eq!((&logs["valid"], &logs["n_valid"]), (&json!(1.0), &json!(4.0)));
}

#[tokio::test]
async fn openrlhf_gets_empty_lists_for_empty_lists_and_answers_in_order() {
    let door = Door::open(ScriptedBackend::new()).await;
    let empty = json!({"query": [], "prompts": [], "labels": []});
    let answer = door.post("/get_reward", &empty).await;
    assert_eq!(answer.json(), json!({"rewards": [], "scores": [], "extra_logs": {}}));
    let two = json!({"query": ["q a", "q b"], "prompts": ["q", "q"], "labels": [null, null]});
    let rewards = door.post("/get_reward?k=4", &two).await.json()["rewards"].clone();
    for (at, response) in [" a", " b"].into_iter().enumerate() {
        let item = json!({"query": "q", "responses": [response]});
        assert_eq!(rewards[at], json!(verdict(&door, item).await.rewards[0].unwrap()));
    }
    let foreign = json!({"query": ["another"], "prompts": ["prompt"], "labels": [null]});
    let refused = door.post("/get_reward", &foreign).await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert_eq!(refused.json()["error"]["field"], "query[0]");
}

#[tokio::test]
async fn slime_gets_a_bare_number() {
    let door = Door::open(ScriptedBackend::new()).await;
    let item = json!({"query": "What is 2 + 2?", "responses": ["It is 4."], "reference": "4"});
    let reward = verdict(&door, item).await.rewards[0].unwrap();
    assert_eq!(door.post("/slime?k=4", &slime()).await.json(), json!(reward));
    let mut as_messages = slime();
    as_messages["prompt"] = json!([{"role": "user", "content": "What is 2 + 2?"}]);
    assert!(door.post("/slime", &as_messages).await.json().is_number());
}

#[tokio::test]
async fn nemo_gym_gets_its_body_back_with_the_reward() {
    let door = Door::open(ScriptedBackend::new()).await;
    let query = json!([{"role": "user", "content": "What is 2 + 2?"}]);
    let item = json!({"query": query, "responses": ["It is 4."], "reference": "4"});
    let reward = verdict(&door, item).await.rewards[0].unwrap();
    let mut answer = door.post("/verify?k=4", &nemo_gym()).await.json();
    let object = answer.as_object_mut().unwrap();
    assert_eq!(object.remove("reward"), Some(json!(reward)));
    assert_eq!(object.remove("verdict").unwrap()["status"], "OK");
    assert_eq!(answer, nemo_gym());
}

#[tokio::test]
async fn calls_of_tools_and_their_results_are_shown_of_a_rollout_of_nemo_gym() {
    let backend = ScriptedBackend::new();
    let handle = backend.handle();
    let door = Door::open(backend).await;
    let mut body = nemo_gym();
    let input = &mut body["responses_create_params"]["input"];
    *input = json!([
        {"role": "user", "content": "Warm?"},
        {"type": "reasoning", "id": "r", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
        {"type": "function_call", "name": "weather", "arguments": "{\"at\": 1}", "call_id": "1"},
        {"type": "function_call", "name": "time", "arguments": "{}", "call_id": "2"},
        {"type": "function_call_output", "call_id": "1", "output": "4 degrees"},
    ]);
    let answer = door.post("/verify?k=4", &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert!(was_shown(&handle, "I look.\nTool call: weather({\"at\": 1})\nTool call: time({})"));
    assert!(was_shown(&handle, "4 degrees"));
    let image = json!([{"type": "input_text", "text": "What is it?"}, {"type": "input_image", "image_url": "data:"}]);
    for (input, field) in [
        (
            json!([{"role": "user", "content": image}]),
            "responses_create_params.input[0].content[1]",
        ),
        (json!([{"type": "web_search_call", "id": "1"}]), "responses_create_params.input[0]"),
    ] {
        body["responses_create_params"]["input"] = input;
        let refused = door.post("/verify", &body).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.text);
        assert_eq!(refused.json()["error"]["field"], field);
    }
}

#[tokio::test]
async fn a_refusal_is_what_a_rollout_of_nemo_gym_says() {
    let backend = ScriptedBackend::new();
    let handle = backend.handle();
    let door = Door::open(backend).await;
    let mut body = nemo_gym();
    body["response"]["output"][0]["content"] = json!([{"type": "refusal", "refusal": "I won't."}]);
    let answer = door.post("/verify?k=4", &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert!(was_shown(&handle, "I won't."));
}

#[tokio::test]
async fn the_response_of_a_rollout_is_what_the_assistant_says_in_any_form_of_a_text() {
    let message =
        |role: &str, content: Value| json!({"type": "message", "role": role, "content": content});
    let part = |kind: &str| json!([{"type": kind, "text": "It is 4."}]);
    let environment = message("user", json!("You stand in a cave."));
    for output in [
        json!([message("assistant", json!("It is 4."))]),
        json!([{"role": "assistant", "content": "It is 4."}]),
        json!([message("assistant", part("text"))]),
        json!([message("assistant", part("input_text"))]),
        json!([
            environment,
            message("assistant", json!("It is ")),
            environment,
            message("assistant", json!("4."))
        ]),
    ] {
        let backend = ScriptedBackend::new();
        let handle = backend.handle();
        let door = Door::open(backend).await;
        let mut body = nemo_gym();
        body["response"]["output"] = output.clone();
        let answer = door.post("/verify?k=4", &body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        assert!(was_shown(&handle, "It is 4."), "{output}");
        assert!(!was_shown(&handle, ""), "{output}");
    }
    let door = Door::open(ScriptedBackend::new()).await;
    for (content, place) in
        [(json!(4), ""), (part("output_audio"), "[0]"), (json!([{"type": "text"}]), "[0]")]
    {
        let mut body = nemo_gym();
        body["response"]["output"] = json!([message("assistant", content)]);
        let refused = door.post("/verify?k=4", &body).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.text);
        let field = format!("response.output[0].content{place}");
        assert_eq!(refused.json()["error"]["field"], field.as_str());
    }
}

#[tokio::test]
async fn token_ids_of_a_rollout_may_be_many() {
    let door = Door::open(ScriptedBackend::new()).await;
    let mut body = nemo_gym();
    body["response"]["output"][0]["prompt_token_ids"] = json!(vec![151_643; 1_100_000]);
    body["response"]["output"][0]["routed_experts"] = json!(vec![vec![vec![1; 8]; 48]; 4_000]);
    let answer = door.post("/verify?k=4", &body).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json()["response"], body["response"]);

    let mut judged_before = nemo_gym();
    judged_before["reward"] = json!(0.0);
    let answer = door.post("/verify?k=4", &judged_before).await;
    assert_eq!(answer.text.matches("\"reward\":").count(), 1, "{}", answer.text);
    assert!(answer.json()["reward"].as_f64().is_some_and(|reward| reward > 0.0));
}

#[tokio::test]
async fn what_is_wrong_with_a_body_is_named_by_its_place_there() {
    let door = Door::open(ScriptedBackend::new()).await;
    let image = json!([{"type": "image_url", "image_url": {"url": "data:"}}]);
    let asked = json!({"role": "user", "content": image});
    let mut in_slime = slime();
    in_slime["prompt"] = json!([asked]);
    let mut in_query = chat();
    in_query["messages"][0]["content"] = image.clone();
    let mut in_response = chat();
    in_response["messages"][1]["content"] = image.clone();
    let mut after_instructions = nemo_gym();
    after_instructions["responses_create_params"]["instructions"] = json!("Be brief.");
    after_instructions["responses_create_params"]["input"] =
        json!([{"type": "reasoning", "summary": []}, asked]);
    for (path, body, field) in [
        ("/slime", in_slime, "prompt[0].content[0]"),
        ("/v1/chat/completions", in_query, "messages[0].content[0]"),
        ("/v1/chat/completions", in_response, "messages[1].content[0]"),
        ("/verify", after_instructions, "responses_create_params.input[1].content[0]"),
        ("/get_reward", json!({"query": [" a"], "prompts": [" "]}), "prompts[0]"),
    ] {
        let refused = door.post(path, &body).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{path}: {}", refused.text);
        let error = &refused.json()["error"];
        assert_eq!(error["field"], field, "{path}");
        assert!(error["message"].as_str().unwrap().starts_with(field), "{error}");
    }
}

#[tokio::test]
async fn a_key_given_twice_is_refused() {
    let door = Door::open(ScriptedBackend::new()).await;
    for (path, body) in bodies() {
        let body = body.to_string();
        let (key, _) = body[2..].split_once('"').unwrap();
        let twice = format!("{},\"{key}\": null}}", body.strip_suffix('}').unwrap());
        let request = Request::post(path).header("content-type", "application/json");
        let refused = door.send(request.body(Body::from(twice)).unwrap()).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{path}: {}", refused.text);
        assert_eq!(refused.json()["error"]["field"], key);
    }
}

#[tokio::test]
async fn empty_instructions_of_a_rollout_are_no_turn() {
    let backend = ScriptedBackend::new();
    let handle = backend.handle();
    let door = Door::open(backend).await;
    let mut body = nemo_gym();
    door.post("/verify?k=4", &body).await;
    body["responses_create_params"]["instructions"] = json!("");
    assert_eq!(door.post("/verify?k=4", &body).await.status, StatusCode::OK);
    let groups = handle.groups();
    assert!(groups.iter().all(|group| group.messages == groups[0].messages));
}

#[tokio::test]
async fn a_label_that_is_blank_is_no_reference() {
    let door = Door::open(ScriptedBackend::new()).await;
    let item = json!({"query": "What is 2 + 2?", "responses": ["It is 4."]});
    let reward = json!(verdict(&door, item).await.rewards[0].unwrap());
    for label in [json!(""), json!(" "), Value::Null] {
        let mut body = slime();
        body["label"] = label;
        assert_eq!(door.post("/slime?k=4", &body).await.json(), reward);
    }
}

#[tokio::test]
async fn a_judge_that_fails_is_told_to_nemo_gym_as_gym_tells_it_itself() {
    let door = Door::open(unreadable()).await;
    let answer = door.post("/verify", &nemo_gym()).await;
    assert_eq!(answer.status, StatusCode::OK);
    let row = answer.json();
    assert_eq!((&row["_ng_failure_class"], &row["reward"]), (&json!("judge_failed"), &json!(0.0)));
    assert!(row["_ng_failure_judge_error"].as_str().unwrap().contains("samples"), "{row}");
    assert_eq!(row["verdict"]["rewards"], json!([null]));
}

#[tokio::test]
async fn a_chat_client_reads_the_reward_in_the_answers_text() {
    let door = Door::open(ScriptedBackend::new()).await;
    let query = json!([{"role": "user", "content": "What is 2 + 2?"}]);
    let reward =
        verdict(&door, json!({"query": query, "responses": ["It is 4."]})).await.rewards[0];
    let answer = door.post("/v1/chat/completions?k=4", &chat()).await.json();
    let text = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert_eq!(text, format!("reward:{}", reward.unwrap()));
    for (field, value) in [("stream", json!(true)), ("n", json!(2)), ("messages", json!([]))] {
        let mut body = chat();
        body[field] = value;
        let refused = door.post("/v1/chat/completions", &body).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert_eq!(refused.json()["error"]["field"], field);
    }
}

#[tokio::test]
async fn what_has_no_reward_is_an_error_unless_a_stand_in_was_named() {
    let door = Door::open(unreadable()).await;
    for (path, body) in bodies().into_iter().filter(|(path, _)| *path != "/verify") {
        let answer = door.post(path, &body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{path}: {}", answer.text);
        let error = &answer.json()["error"];
        assert_eq!(
            (&error["code"], &error["reason"]),
            (&json!("UNSCORED"), &json!("parse_failed"))
        );
    }
    let stand_in = door.post("/get_reward?unscored=2.5", &openrlhf()).await.json();
    assert_eq!(stand_in["rewards"], json!([2.5]));
    assert_eq!(stand_in["extra_logs"]["valid"], json!(0.0), "it is told from a reward");
    let logs = stand_in["extra_logs"].as_object().unwrap();
    assert_eq!(logs.keys().collect::<Vec<_>>(), OPENRLHF_LOGS, "whatever becomes of a query");
    assert_eq!(door.post("/slime?unscored=2.5", &slime()).await.json(), json!(2.5));
}

#[tokio::test(start_paused = true)]
async fn the_answer_comes_before_the_trainer_gives_up() {
    let hanging = ScriptedBackend::new().on_sample(|_, _| Act::hangs());
    let door = Door::open(hanging).await;
    for (path, body, patience_s) in [("/get_reward", openrlhf(), 180), ("/slime", slime(), 120)] {
        let started = tokio::time::Instant::now();
        let answer = door.post(path, &body).await;
        assert!(started.elapsed() < Duration::from_secs(patience_s), "{path}");
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(answer.json()["error"]["reason"], "budget");
        assert_eq!(answer.headers["retry-after"], "1");
    }
}

#[tokio::test]
async fn a_parameter_that_is_none_is_refused_by_name() {
    let door = Door::open(ScriptedBackend::new()).await;
    for (path, body) in bodies() {
        for (query, field) in [("k=0", "settings.k"), ("kk=4", "kk"), ("unscored=x", "unscored")] {
            let refused = door.post(&format!("{path}?{query}"), &body).await;
            assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{path}?{query}: {}", refused.text);
            assert_eq!(refused.json()["error"]["field"], field, "{path}?{query}");
        }
        let deep = door.post(&format!("{path}?{}=1", "a.".repeat(30_000)), &body).await;
        assert_eq!(deep.status, StatusCode::BAD_REQUEST, "{path}");
    }
}
