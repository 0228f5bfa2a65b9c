"""What all adapters share, without a trainer."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

import jury
from jury.trainers.judging import Judge
from jury.trainers.round import Round
from jury.trainers.rows import checked_end_tokens, grouped, numbers, per_row, plain, without_end
from jury.trainers.trl import reward_function

from .cluster import Part, free_port

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
    for index, error in enumerate([jury.DeadlineExceeded("a"), jury.InvalidArgument("b", field="item"), jury.DeadlineExceeded("c")]):
        turn.record(answer(index, error))
    assert turn.wait(now=0.0) == 1.0
    assert turn.pending() == [0, 2]
    turn.record(answer(1, jury.DeadlineExceeded("c")))
    assert turn.wait(now=1.0) == 2.0
    assert turn.pending() == [2]
    turn.record(answer(0, jury.DeadlineExceeded("again")))
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
    turn.record(answer(0, jury.DeadlineExceeded("away")))
    turn.record(answer(1, jury.InvalidArgument("item.responses[0]: odd", field="item.responses[0]")))
    assert turn.wait(now=0.0) == 0.0
    assert turn.items() == [{"query": "q", "responses": ["b"]}]
    turn.record(answer(0, jury.DeadlineExceeded("away, too")))
    assert turn.wait(now=0.0) == 1.0
    assert turn.pending() == [0, 1]


def test_once_the_service_is_away_the_pass_ends_and_all_that_is_left_is_sent_again_after_a_wait() -> None:
    turn = Round([ITEM, {"query": "q", "responses": ["a", "b"]}, ITEM, ITEM], patience=3.5, now=0.0)
    assert turn.record(answer(0, jury.InvalidArgument("odd", field="item")))
    assert turn.record(answer(1, jury.InvalidArgument("item.responses[0]: odd", field="item.responses[0]")))
    assert not turn.record(answer(2, jury.Unreachable("away")))
    assert turn.wait(now=0.0) == 1.0 and turn.pending() == [1, 2, 3]
    assert not turn.record(answer(0, jury.WrongService("an ingress with nothing behind it")))
    assert turn.wait(now=3.0) is None
    assert [outcome.judged.code for outcome in turn.outcomes() if isinstance(outcome.judged, jury.JuryError)] == [
        "INVALID_ARGUMENT", "WRONG_SERVICE", "WRONG_SERVICE", "WRONG_SERVICE",
    ]
    assert turn.absence(was_there=True) is None, "one item failed for itself"


class Away(jury.Client):
    """A client whose service is away: each item is given up alone, and those that were asked for are counted."""

    asked = 0

    def with_settings(self, **settings: Any) -> jury.Client:
        return self

    def score_many(self, items: Any, **settings: Any) -> Iterator[jury.Answer]:
        for index, _ in enumerate(items):
            self.asked += 1
            yield answer(index, jury.Unreachable("away"))


def test_an_outage_takes_one_give_up_and_not_one_for_each_item() -> None:
    client = Away("127.0.0.1:2")
    with pytest.raises(jury.Unreachable):
        Judge(client, 0).judge([ITEM] * 40)
    assert client.asked == 1


def test_a_busy_fleet_is_waited_for_as_long_as_it_gives_verdicts_and_an_absent_one_is_not() -> None:
    for error, judged_at, waits in [
        (jury.Overloaded("full"), 95.0, True),
        (jury.OverQuota("quota"), 95.0, True),
        (jury.Overloaded("full"), 5.0, False),
        (jury.Unreachable("away"), 95.0, False),
    ]:
        turn = Round([ITEM], patience=10.0, now=0.0)
        turn.record(answer(0, error))
        assert (turn.wait(100.0, judged_at) is not None) == waits, error.code


def test_a_trainer_with_a_timeout_of_its_own_waits_no_longer_for_a_busy_fleet(tiny: jury.Client) -> None:
    def waits(**options: Any) -> bool:
        judge = Judge(tiny, 0.0, **options)
        judge.judge([ITEM])
        judge.patience = 3600.0
        turn = Round([ITEM], 3600.0, now=time.monotonic() - 3700)
        turn.record(answer(0, jury.Overloaded("full")))
        return judge._wait(turn) is not None

    assert waits() and not waits(has_timeout=True)


WHOLE_BATCHES = [jury.WrongService("worker"), jury.Internal("unreadable"), jury.Unreachable("nobody"), jury.ShuttingDown("down")]


@pytest.mark.parametrize("error", WHOLE_BATCHES)
def test_a_whole_batch_without_the_service_is_raised(error: jury.JuryError) -> None:
    turn = Round([ITEM] * 2, patience=0, now=0.0)
    for index in range(2):
        turn.record(answer(index, error))
    assert turn.wait(now=0.0) is None
    assert turn.absence(was_there=False) is error
    # A judge that was there may have failed at these items alone.
    assert turn.absence(was_there=True) is (None if error.code == "INTERNAL" else error)


def test_a_fallback_is_for_a_judge_that_was_there(tiny: jury.Client) -> None:
    with pytest.raises(jury.Unreachable):
        Judge(Away("127.0.0.1:3"), 0, has_fallback=True).judge([ITEM])
    Judge(tiny, 0).judge([ITEM])
    gone = Away(tiny.address)
    (outcome,) = Judge(gone, 0, has_fallback=True).judge([ITEM])
    assert isinstance(outcome.judged, jury.Unreachable)
    with pytest.raises(jury.Unreachable):
        Judge(gone, 0).judge([ITEM])


def test_a_worker_at_the_address_of_the_coordinator_ends_a_training_at_once(tiny_model: str) -> None:
    at = f"127.0.0.1:{free_port()}"
    worker = Part("worker", "--listen", at, "--model", tiny_model)
    try:
        with pytest.raises(jury.WrongService):
            reward_function(at, patience=0)(prompts=["p"] * 4, completions=["a", "b", "c", "d"])
    finally:
        worker.kill()


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


def test_end_tokens_are_taken_off_whole_and_a_lone_text_or_a_blank_one_is_refused() -> None:
    assert without_end("4 <|im_end|></s> \n", ("<|im_end|>", "</s>")) == "4"
    assert without_end("2 < 3 and", ("<|im_end|>",)) == "2 < 3 and"
    odd = [{"role": "assistant", "content": "4</s>"}]
    assert without_end(odd, ("</s>",)) is odd
    refused: list[Any] = ["<|im_end|>", [""], [" "], [None]]
    for end_tokens in refused:
        with pytest.raises(ValueError, match="end_tokens: "):
            checked_end_tokens(end_tokens)


def test_an_array_without_dimensions_is_its_value() -> None:
    class Scalar:
        """As numpy has it."""

        ndim = 0

        def __iter__(self) -> Iterator[Any]:
            raise TypeError("iteration over a 0-d array")

        def item(self) -> str:
            return "x"

    assert plain({"k": Scalar(), "l": [1]}) == {"k": "x", "l": [1]}


def test_a_row_without_reward_has_its_reason_and_the_keys_of_every_other(tiny: jury.Client) -> None:
    groups = grouped([{"query": "q"}, {"query": ""}, {"query": "r" * 9000}], ["a", "b", "c"])
    rows = per_row(groups, Judge(tiny, 0).judge([group.item for group in groups]))
    scored, malformed, too_long = rows
    assert scored.reward is not None and scored.reason is None
    assert malformed.reward is None and "item.query" in str(malformed.reason)
    assert too_long.reward is None and str(too_long.reason).startswith("too_long")
    assert [numbers(row)["valid"] for row in rows] == [1.0, 0.0, 0.0]
    assert len({tuple(sorted(numbers(row))) for row in rows}) == 1
