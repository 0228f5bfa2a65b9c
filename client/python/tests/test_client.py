"""What a client promises, against a real judge."""

from __future__ import annotations

import asyncio
import dataclasses
import pickle
from collections.abc import AsyncIterator
from typing import Any

import pytest

import jury

PAIR = ("What is the capital of France?", ["It is Paris.", "It is Lyon."])


def test_a_verdict_has_a_reward_for_every_response(judge: jury.Client) -> None:
    verdict = judge.score(*PAIR, include_samples=True)
    assert verdict.status == "OK"
    assert [reason for reason in verdict.reasons if reason is not None] == []
    assert all(reward is not None and 1 <= reward <= 10 for reward in verdict.rewards)
    assert verdict.samples is not None and len(verdict.samples) == verdict.counts.asked == 2
    assert verdict.raw["rewards"] == verdict.rewards


def test_every_key_of_a_verdict_has_its_attribute(tiny: jury.Client) -> None:
    verdict = tiny.score(*PAIR, include_samples=True)
    whole = dataclasses.asdict(verdict)
    assert verdict.raw.keys() <= whole.keys()
    for name in ("counts", "usage", "provenance", "run"):
        assert verdict.raw[name].keys() == whole[name].keys()
    assert verdict.raw["samples"][0].keys() <= whole["samples"][0].keys()


def test_the_same_request_gives_the_same_rewards_however_it_is_made(judge: jury.Client) -> None:
    query, responses = PAIR
    one = judge.score({"query": query, "responses": responses})
    turns: list[jury.Turn] = [{"role": "user", "content": query}]
    other = asyncio.run(judge.ascore(turns, responses))
    assert one.rewards == other.rewards


def test_a_response_without_a_reward_is_none_with_a_reason(judge: jury.Client) -> None:
    verdict = judge.score("Say it.", ["word " * 20_000])
    assert (verdict.status, verdict.rewards, verdict.pick) == ("UNSCORED", [None], None)
    reason = verdict.reasons[0]
    assert reason is not None and reason.code == "too_long"


def test_a_budget_that_ends_leaves_responses_unscored(judge: jury.Client) -> None:
    verdict = judge.score(*PAIR, k=32, max_critique_tokens=4096, budget=0.2)
    assert verdict.rewards == [None, None]
    assert verdict.stopped_by == "budget"


def test_a_malformed_request_names_its_field(tiny: jury.Client) -> None:
    with pytest.raises(jury.InvalidArgument, match="between 1 and 256, is 0") as told:
        tiny.score(*PAIR, k=0)
    assert (told.value.field, told.value.attempts) == ("settings.k", 0)
    with pytest.raises(jury.InvalidArgument) as told:
        tiny.score("q", [])
    assert told.value.field == "item.responses"
    with pytest.raises(jury.InvalidArgument) as told:
        tiny.score({"query": "q", "responses": ["a"], "labels": [float("nan")]})
    assert isinstance(told.value, ValueError)
    with pytest.raises(jury.InvalidArgument, match="a list of texts"):
        tiny.score("q", "one text")
    unordered: list[Any] = [{"x": "one"}, {"one", "two"}, frozenset(["one"]), {"x": "one"}.keys(), 5]
    for responses in unordered:
        with pytest.raises(jury.InvalidArgument, match=type(responses).__name__) as told:
            tiny.score("q", responses)
        assert told.value.field == "item.responses"
    assert len(tiny.score("q", {"x": "one", "y": "two"}.values()).rewards) == 2  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="max_tokens"):
        tiny.score(*PAIR, max_tokens=5)  # type: ignore[call-arg]


def test_data_that_is_not_plain_is_refused_by_its_path(tiny: jury.Client) -> None:
    loop: list[Any] = []
    loop.append(loop)
    refused: list[tuple[Any, str]] = [
        (("q", ["a", "half \udc00"]), "item.responses[1]"),
        (("q", ["a", b"b"]), "item.responses[1]"),
        (([{"role": "user", "content": [{"type": "image", "image": object()}]}], ["a"]), "item.query[0].content[0].image"),
        ({"query": "q", "responses": ["a"], "labels": [float("nan")]}, "item.labels[0]"),
        ({"query": loop, "responses": ["a"]}, "item.query"),
        ({"query": [{"role": "user", "content": "q", b"k": 1}], "responses": ["a"]}, "item.query[0]"),
    ]
    for item, field in refused:
        with pytest.raises(jury.InvalidArgument) as told:
            tiny.score(item)
        assert told.value.field == field
    with pytest.raises(jury.InvalidArgument) as told:
        tiny.score(*PAIR, seed=object())  # type: ignore[arg-type]
    assert told.value.field == "seed"


def test_a_key_that_nobody_reads_is_warned_of(tiny: jury.Client) -> None:
    with pytest.warns(UserWarning, match="item.answers"):
        tiny.score({"query": "q", "responses": ["a"], "answers": ["a"]})


def test_a_coordinator_that_is_not_there_is_told_by_its_address() -> None:
    with pytest.raises(jury.Unreachable, match="127.0.0.1:1.*running there") as told:
        jury.Client("127.0.0.1:1", budget=1).score(*PAIR)
    assert isinstance(told.value, ConnectionError) and told.value.attempts > 1
    with pytest.raises(jury.InvalidArgument, match="port is missing"):
        jury.Client("localhost")


@pytest.mark.parametrize("in_flight", [None, 2])
def test_every_item_of_a_batch_is_answered_once_under_its_index(tiny: jury.Client, in_flight: int | None) -> None:
    client = jury.Client(tiny.address, in_flight=in_flight, k=1, max_critique_tokens=1, min_readout_mass=0)
    items = [(f"question {index}", ["a"] * (1 + index % 3)) for index in range(600)]
    items[7] = ("", ["a"])
    answers = {answer.index: answer for answer in client.score_many(iter(items))}
    assert sorted(answers) == list(range(600))
    assert isinstance(answers.pop(7).error, jury.InvalidArgument)
    for index, answer in answers.items():
        assert len(answer.get().rewards) == len(items[index][1])


def test_answers_come_before_a_slow_source_has_ended(tiny: jury.Client) -> None:
    taken: list[int] = []

    def source() -> AsyncIterator[tuple[str, list[str]]]:
        async def items() -> AsyncIterator[tuple[str, list[str]]]:
            yield ("first", ["a"])
            while not taken:
                await asyncio.sleep(0.01)
            yield ("second", ["a"])

        return items()

    async def main() -> None:
        async for answer in tiny.ascore_many(source()):
            answer.get()
            taken.append(answer.index)

    asyncio.run(main())
    assert taken == [0, 1]


def test_a_thousand_calls_of_one_event_loop_are_all_answered(tiny: jury.Client) -> None:
    async def main() -> list[jury.Verdict]:
        client = jury.AsyncClient(tiny.address, k=1, max_critique_tokens=1, min_readout_mass=0)
        return await asyncio.gather(*(client.score(f"question {n}", ["a"]) for n in range(1000)))

    verdicts = asyncio.run(main())
    assert sum(verdict.rewards[0] is not None for verdict in verdicts) == 1000
    assert len({verdict.run.request_id for verdict in verdicts}) == 1000


def test_cancelling_a_task_cancels_the_call(judge: jury.Client) -> None:
    async def main() -> None:
        call = asyncio.ensure_future(judge.ascore(*PAIR, k=32, max_critique_tokens=4096, budget=600))
        while (await judge.astatus()).requests_running == 0:
            await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        while (await judge.astatus()).requests_running > 0:
            await asyncio.sleep(0.01)

    asyncio.run(main())


def test_leaving_a_batch_cancels_what_is_unanswered(judge: jury.Client) -> None:
    answers = judge.score_many([("q", ["a"]), ("r", ["b"])], k=32, max_critique_tokens=2048)
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    while judge.status().requests_running > 0:
        pass


def test_settings_of_a_client_go_below_those_of_a_call(tiny: jury.LocalClient) -> None:
    other = tiny.with_settings(seed=7)
    assert other.address == tiny.address
    assert other.score("q", ["a"]).provenance.seed == 7
    assert other.score("q", ["a"], seed=8).provenance.seed == 8
    assert tiny.score("q", ["a"]).provenance.seed == 0


def test_the_fleet_is_told(tiny: jury.Client) -> None:
    fleet = tiny.status()
    assert [worker.state for worker in fleet.workers] == ["ready"]
    assert fleet.raw["workers"][0]["capacity"] == fleet.workers[0].capacity


def test_errors_and_clients_travel_between_processes(tiny: jury.Client) -> None:
    with pytest.raises(jury.InvalidArgument) as told:
        tiny.score(*PAIR, k=0)
    again = pickle.loads(pickle.dumps(told.value))
    assert (type(again), str(again), again.field) == (jury.InvalidArgument, str(told.value), "settings.k")
    client = pickle.loads(pickle.dumps(tiny))
    assert type(client) is jury.Client
    assert client.score("q", ["a"]).rewards == tiny.score("q", ["a"]).rewards
    kinds = [jury.Overloaded("m"), jury.Unreachable("m"), jury.DeadlineExceeded("m")]
    assert [str(pickle.loads(pickle.dumps(error))) for error in kinds] == ["m", "m", "m"]
