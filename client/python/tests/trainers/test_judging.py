"""What all adapters share, without a trainer."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest

import jury
from jury.trainers.judging import Judge
from jury.trainers.round import Round
from jury.trainers.rows import grouped, numbers, per_row


ITEM = {"query": "q", "responses": ["a"]}


def rows_of(prompts: list[Any]) -> list[list[int]]:
    contexts = [{"query": prompt} for prompt in prompts]
    return [group.rows for group in grouped(contexts, ["a"] * len(prompts))]


def test_neighbours_of_one_prompt_are_judged_together() -> None:
    assert rows_of(["p", "p", "q", "q", "p"]) == [[0, 1], [2, 3], [4]]
    conversation = [{"role": "user", "content": "p"}]
    assert rows_of([conversation, list(conversation)]) == [[0, 1]]
    assert rows_of([]) == []


def test_a_large_group_is_split_evenly() -> None:
    assert [len(rows) for rows in rows_of(["p"] * 130)] == [43, 43, 44]


def test_another_reference_is_another_group() -> None:
    contexts = [{"query": "p", "reference": reference} for reference in (7, 7, None)]
    groups = grouped(contexts, ["a", "b", "c"])
    assert [group.item for group in groups] == [
        {"query": "p", "reference": "7", "responses": ["a", "b"]},
        {"query": "p", "responses": ["c"]},
    ]


class NAType:
    """As pandas has it: a comparison is no answer."""

    def __ne__(self, other: object) -> Any:
        return self

    def __bool__(self) -> bool:
        raise TypeError("boolean value of NA is ambiguous")


@pytest.mark.parametrize("missing", [None, float("nan"), Decimal("nan"), NAType(), "", " \n"])
def test_a_missing_value_is_no_reference(missing: Any) -> None:
    contexts = [{"query": "p", "reference": missing}, {"query": "p"}]
    assert [group.item for group in grouped(contexts, ["a", "b"])] == [{"query": "p", "responses": ["a", "b"]}]


def test_a_text_is_a_reference_whatever_it_says_and_missing_criteria_are_none() -> None:
    contexts = [{"query": "p", "reference": "nan", "criteria": float("nan")}]
    assert [group.item for group in grouped(contexts, ["a"])] == [{"query": "p", "reference": "nan", "responses": ["a"]}]


def test_a_blank_reference_changes_no_reward(tiny: jury.Client) -> None:
    item = {"query": "p", "responses": ["a", "b"]}
    without = tiny.score(item)
    for blank in ("", "  "):
        verdict = tiny.score({**item, "reference": blank})
        assert (verdict.rewards, verdict.usage) == (without.rewards, without.usage)
    assert tiny.score({**item, "reference": "nan"}).usage != without.usage


def answer(index: int, error: jury.JuryError) -> jury.Answer:
    return jury.Answer(index, None, error)


def test_only_what_failed_with_the_service_is_sent_again_and_not_for_ever() -> None:
    turn = Round([ITEM] * 3, patience=3.5, now=0.0)
    for index, error in enumerate([jury.Unreachable("a"), jury.InvalidArgument("b", field="item"), jury.Unreachable("c")]):
        turn.record(answer(index, error))
    assert turn.wait(now=0.0) == 1.0
    assert turn.pending() == [0, 2]
    turn.record(answer(1, jury.Unreachable("c")))
    assert turn.wait(now=1.0) == 2.0
    assert turn.pending() == [2]
    turn.record(answer(0, jury.Unreachable("again")))
    assert turn.wait(now=3.0) is None
    assert [str(outcome.judged) for outcome in turn.outcomes()] == ["a", "b", "again"]


@pytest.mark.parametrize("settings", [{"k": 0}, {"voting": {"meta": b"m"}}, {"hinted": True}])
def test_settings_are_checked_before_a_training_begins(settings: Any) -> None:
    with pytest.raises(jury.InvalidArgument) as told:
        Judge("127.0.0.1:1", 600, **settings)
    assert told.value.field is not None and not told.value.field.startswith("item")


def test_a_client_that_adapters_cannot_use_is_refused_at_once() -> None:
    client: Any = jury.AsyncClient("127.0.0.1:1")
    with pytest.raises(TypeError, match="jury.Client or an address, is AsyncClient"):
        Judge(client, 600)


def test_one_request_id_for_a_whole_training_is_refused() -> None:
    with pytest.raises(jury.InvalidArgument, match="request_id: one id cannot") as told:
        Judge("127.0.0.1:1", 0, request_id="run")
    assert told.value.field == "request_id"
    with pytest.raises(jury.InvalidArgument, match="request_id"):
        Judge(jury.Client("127.0.0.1:1", request_id="run"), 0)


class Array:
    """As numpy has it: its comparison is an array, too."""

    def __eq__(self, other: object) -> Any:
        return self

    def __ne__(self, other: object) -> Any:
        return self

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")


class Picture:
    """What a dataset of images puts into a message."""


@pytest.mark.parametrize(
    ("odd", "path"),
    [
        ({"query": "half \ud83d"}, "item.query"),
        ({"query": [{"role": "user", "content": [{"type": "image", "image": Picture()}]}]}, r"item.query\[0\].content\[0\].image"),
        ({"query": b"bytes"}, "item.query"),
        ({"query": Array()}, "item.query"),
        ({"query": "q", "criteria": {"a", "b"}}, "item.criteria"),
        ({"query": "q", "criteria": [float("nan")]}, r"item.criteria\[0\]"),
    ],
)
def test_an_odd_row_is_unscored_with_its_path_and_the_others_are_judged(
    tiny: jury.Client, odd: dict[str, Any], path: str
) -> None:
    groups = grouped([odd, {**odd}, {"query": "p"}], ["a", "a", "b"])
    first, _, second = per_row(groups, Judge(tiny, 0).judge([group.item for group in groups]))
    assert first.reward is None and re.match(f"INVALID_ARGUMENT: {path}: ", str(first.reason))
    assert second.reward is not None


@pytest.mark.parametrize("error", [jury.Unauthenticated("token"), jury.WrongModel("another"), jury.InvalidArgument("k", field="k")])
def test_an_error_that_every_item_would_meet_is_raised_at_the_first(error: jury.JuryError) -> None:
    turn = Round([ITEM] * 2, patience=600, now=0.0)
    with pytest.raises(type(error)) as told:
        turn.record(answer(0, error))
    assert told.value is error


def test_a_model_that_nobody_serves_is_told_while_waiting_and_raised_when_patience_ends(tiny: jury.Client) -> None:
    unserved = tiny.score("q", ["a"], model="typo")
    turn = Round([ITEM] * 2, patience=1.0, now=0.0)
    for index in range(2):
        turn.record(jury.Answer(index, unserved, None))
    assert turn.wait(now=0.0) == 1.0
    assert 'no worker serves model "typo"' in turn.why_again()
    for index in range(2):
        turn.record(jury.Answer(index, unserved, None))
    assert turn.wait(now=1.0) is None
    with pytest.raises(jury.WrongModel, match="typo.*the fleet serves"):
        turn.outcomes()
    with pytest.raises(jury.WrongModel):
        Judge(tiny, 0, model="typo").judge([{"query": "q", "responses": ["a"]}])


def test_a_model_that_went_away_under_a_part_of_a_batch_leaves_that_unscored(tiny: jury.Client) -> None:
    turn = Round([ITEM] * 2, patience=0, now=0.0)
    turn.record(jury.Answer(0, tiny.score("q", ["a"], model="typo"), None))
    turn.record(jury.Answer(1, tiny.score("q", ["a"]), None))
    assert turn.wait(now=0.0) is None
    assert [isinstance(outcome.judged, jury.Verdict) for outcome in turn.outcomes()] == [True, True]


def rewards_of(judge: jury.Client, responses: list[Any], query: Any = "q") -> tuple[list[float | None], list[str | None]]:
    groups = grouped([{"query": query}] * len(responses), responses)
    rows = per_row(groups, Judge(judge, 0).judge([group.item for group in groups]))
    return [row.reward for row in rows], [row.reason for row in rows]


def test_a_malformed_candidate_is_left_out_and_the_others_are_judged_as_if_it_were_not_there(tiny: jury.Client) -> None:
    tool = {"role": "tool", "content": "4"}
    rewards, reasons = rewards_of(tiny, [b"bytes", "one", [tool], "two"])
    assert rewards[1::2] == tiny.score("q", ["one", "two"]).rewards and rewards[::2] == [None, None]
    assert reasons[1::2] == [None, None]
    assert str(reasons[0]).startswith("INVALID_ARGUMENT: item.responses[0]: ") and "bytes" in str(reasons[0])
    assert str(reasons[2]).startswith("INVALID_ARGUMENT: item.responses[2][0]: ") and "role" in str(reasons[2])


def test_of_an_item_that_is_too_large_the_longest_response_is_left_out(tiny: jury.Client) -> None:
    rewards, reasons = rewards_of(tiny, ["one", "x" * (4 << 20), "two"])
    assert [rewards[0], rewards[2]] == tiny.score("q", ["one", "two"]).rewards
    assert rewards[1] is None and "item.responses[1]: is the longest" in str(reasons[1]) and "4194304" in str(reasons[1])


def test_where_no_response_is_left_each_has_its_reason(tiny: jury.Client) -> None:
    rewards, reasons = rewards_of(tiny, [b"one", b"two"])
    assert rewards == [None, None]
    assert [str(reason).split(": ")[1] for reason in reasons] == ["item.responses[0]", "item.responses[1]"]
    rewards, reasons = rewards_of(tiny, ["one", "two"], query="x" * (4 << 20))
    assert rewards == [None, None] and all("4194304" in str(reason) for reason in reasons)


def test_why_a_response_is_unscored_is_logged_once(tiny: jury.Client, caplog: pytest.LogCaptureFixture) -> None:
    rewards_of(tiny, [b"one"])
    rewards_of(tiny, ["one", b"two", b"three"])
    assert [message.split(": ")[2] for message in caplog.messages] == [f"item.responses[{place}]" for place in (0, 1, 2)]


def test_a_response_is_left_out_at_once_and_what_is_away_still_has_its_patience() -> None:
    turn = Round([ITEM, {"query": "q", "responses": ["a", "b"]}], patience=1.0, now=0.0)
    turn.record(answer(0, jury.Unreachable("away")))
    turn.record(answer(1, jury.InvalidArgument("item.responses[0]: odd", field="item.responses[0]")))
    assert turn.wait(now=0.0) == 0.0
    assert turn.items() == [{"query": "q", "responses": ["b"]}]
    turn.record(answer(0, jury.Unreachable("away, too")))
    assert turn.wait(now=0.0) == 1.0
    assert turn.pending() == [0, 1]


def test_a_refusal_that_names_no_field_is_raised_when_the_whole_batch_has_it() -> None:
    unnamed = jury.InvalidArgument("refused on the way")
    turn = Round([ITEM] * 2, patience=0, now=0.0)
    turn.record(answer(0, unnamed))
    turn.record(answer(1, jury.InvalidArgument("b", field="item")))
    assert len(turn.outcomes()) == 2
    turn = Round([ITEM], patience=0, now=0.0)
    turn.record(answer(0, unnamed))
    with pytest.raises(jury.InvalidArgument, match="on the way"):
        turn.outcomes()


def test_an_item_without_an_answer_is_never_left_out_in_silence() -> None:
    turn = Round([ITEM] * 2, patience=0, now=0.0)
    turn.record(answer(1, jury.InvalidArgument("b", field="item")))
    assert turn.wait(now=0.0) is None
    with pytest.raises(jury.Internal, match="1 of 2 items"):
        turn.outcomes()


def test_a_row_without_reward_has_its_reason_and_the_keys_of_every_other(tiny: jury.Client) -> None:
    groups = grouped([{"query": "q"}, {"query": ""}, {"query": "r" * 9000}], ["a", "b", "c"])
    rows = per_row(groups, Judge(tiny, 0).judge([group.item for group in groups]))
    scored, malformed, too_long = rows
    assert scored.reward is not None and scored.reason is None
    assert malformed.reward is None and "item.query" in str(malformed.reason)
    assert too_long.reward is None and str(too_long.reason).startswith("too_long")
    assert [numbers(row)["valid"] for row in rows] == [1.0, 0.0, 0.0]
    assert len({tuple(sorted(numbers(row))) for row in rows}) == 1
