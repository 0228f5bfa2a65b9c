"""What is judged of a rollout, without NeMo-Gym."""

from __future__ import annotations

from typing import Any

import pytest

import jury
from jury.trainers.rollout import item_of

CALL = {"type": "function_call", "name": "weather", "arguments": '{"at": 1}', "call_id": "1", "id": None}
OUTPUT = {"type": "function_call_output", "call_id": "1", "output": "4 degrees"}


def rollout(listed: Any, **row: Any) -> dict[str, Any]:
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "A coat."}]}
    return {"responses_create_params": {"input": listed}, "response": {"output": [said]}, **row}


def test_calls_of_tools_and_their_results_are_turns() -> None:
    asked = {"role": "user", "content": "Warm?", "type": "message"}
    looked = {"type": "message", "role": "assistant", "id": "m", "status": "completed", "content": [{"type": "output_text", "text": "I look."}]}
    thought = {"type": "reasoning", "id": "r", "summary": []}
    listed = [asked, thought, looked, CALL, CALL, OUTPUT, CALL, OUTPUT]
    function = {"function": {"name": "weather", "arguments": '{"at": 1}'}}
    said = looked["content"]
    assert item_of(rollout(listed))["query"] == [
        {"role": "user", "content": "Warm?"},
        {"role": "assistant", "content": said, "tool_calls": [function, function]},
        {"role": "tool", "content": "4 degrees"},
        {"role": "assistant", "content": None, "tool_calls": [function]},
        {"role": "tool", "content": "4 degrees"},
    ]


@pytest.mark.filterwarnings("error")
def test_the_client_reads_such_a_query_and_refuses_what_is_no_text_by_its_path(tiny: jury.Client) -> None:
    silent = {"role": "assistant", "content": None}
    asked = {"role": "user", "content": "Warm?", "type": "message"}
    assert tiny.score(item_of(rollout([asked, CALL, OUTPUT]))).status == "OK"
    assert tiny.score(item_of(rollout([silent, asked]))).status == "OK"
    image = {"type": "input_image", "image_url": "data:"}
    for listed, field in [
        ([{"role": "user", "content": [{"type": "input_text", "text": "What is it?"}, image]}], "item.query[0].content[1]"),
        ([asked, CALL, {**OUTPUT, "output": [image]}], "item.query[2].content[0]"),
        ([asked, {**CALL, "name": None}, OUTPUT], "item.query[1].tool_calls[0].function.name"),
    ]:
        with pytest.raises(jury.InvalidArgument) as told:
            tiny.score(item_of(rollout(listed)))
        assert told.value.field == field


def test_a_refusal_is_what_a_response_says() -> None:
    row = rollout("q")
    row["response"]["output"][0]["content"] = [{"type": "refusal", "refusal": "I won't."}]
    assert item_of(row)["responses"] == ["I won't."]


def test_a_response_is_what_the_assistant_said_in_any_form() -> None:
    row = rollout("q")
    row["response"]["output"] = [
        {"role": "assistant", "content": "A plain text. "},
        {"role": "user", "content": "An observation of the environment."},
        {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "A part."}]},
    ]
    assert item_of(row)["responses"] == ["A plain text. A part."]
    row["response"]["output"][2]["content"] = [{"type": "output_audio", "data": ""}]
    with pytest.raises(jury.InvalidArgument) as told:
        item_of(row)
    assert told.value.field == "response.output[2].content[0]"


def test_what_is_neither_said_nor_called_is_refused_by_its_place() -> None:
    with pytest.raises(jury.InvalidArgument, match="web_search_call") as told:
        item_of(rollout([{"role": "user", "content": "q"}, {"type": "web_search_call", "id": "w"}]))
    assert told.value.field == "responses_create_params.input[1]"


@pytest.mark.parametrize("blank", [None, "", float("nan")])
def test_an_empty_answer_is_no_reference(blank: Any) -> None:
    assert item_of(rollout("q", expected_answer=blank)) == {"query": [{"role": "user", "content": "q"}], "responses": ["A coat."]}
    assert item_of(rollout("q", expected_answer=4))["reference"] == "4"
