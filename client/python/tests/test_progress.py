"""What is told of a call on its way, and what a callable that raises does to it."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import pytest

import jury

LONG: dict[str, Any] = {"k": 8, "max_critique_tokens": 128}
ENDLESS: dict[str, Any] = {"k": 32, "max_critique_tokens": 4096, "budget": 600}
ITEMS: list[tuple[str, list[str]]] = [("one?", ["a", "b"]), ("", ["a"]), ("two?", ["c", "d"]), ("three?", ["e"])]

Way = Callable[..., Any]


def by_score(judge: jury.Client, **arguments: Any) -> Any:
    return judge.score("one?", ["a", "b"], **arguments)


def by_ascore(judge: jury.Client, **arguments: Any) -> Any:
    return asyncio.run(judge.ascore("one?", ["a", "b"], **arguments))


def by_async_client(judge: jury.Client, **arguments: Any) -> Any:
    return asyncio.run(jury.AsyncClient(judge.address).score("one?", ["a", "b"], **arguments))


def by_score_many(judge: jury.Client, heard: list[Any] | None = None, **arguments: Any) -> Any:
    answers = []
    for answer in judge.score_many(ITEMS, **arguments):
        answers.append(answer)
        if heard is not None:
            heard.append(answer)
    return answers


def by_ascore_many(judge: jury.Client, heard: list[Any] | None = None, **arguments: Any) -> Any:
    async def main() -> list[jury.Answer]:
        answers = []
        async for answer in judge.ascore_many(ITEMS, **arguments):
            answers.append(answer)
            if heard is not None:
                heard.append(answer)
        return answers

    return asyncio.run(main())


@pytest.mark.parametrize("way", [by_score, by_ascore, by_async_client])
def test_samples_and_tokens_are_told_until_the_verdict(judge: jury.Client, way: Way) -> None:
    steps: list[jury.Progress] = []
    threads: set[int] = set()

    def hear(step: jury.Progress) -> None:
        steps.append(step)
        threads.add(threading.get_ident())

    verdict = way(judge, on_progress=hear, **LONG)
    assert verdict.rewards == judge.score("one?", ["a", "b"], **LONG).rewards, "watching changes nothing"
    assert threads == {threading.get_ident()}
    assert {(step.index, step.samples_asked) for step in steps} == {(0, 8)}
    assert all(step.phase in ("waiting", "prefill", "drawing") for step in steps)
    tokens = [step.generated_tokens for step in steps]
    done = [step.samples_done for step in steps]
    assert tokens == sorted(tokens) and done == sorted(done)
    assert 0 < tokens[-1] <= verdict.usage.generated_tokens and done[-1] <= 8
    with pytest.raises(dataclasses.FrozenInstanceError):
        steps[0].samples_done = 9  # type: ignore[misc]


@pytest.mark.parametrize("way", [by_score_many, by_ascore_many])
def test_of_a_batch_every_item_is_told_under_its_index_and_not_after_its_answer(judge: jury.Client, way: Way) -> None:
    heard: list[jury.Progress | jury.Answer] = []
    answers = way(judge, heard, on_progress=heard.append, **LONG)
    by_index = {answer.index: answer for answer in answers}
    assert len(answers) == len(ITEMS) and isinstance(by_index[1].error, jury.InvalidArgument)
    told = {one.index for one in heard if isinstance(one, jury.Progress)}
    assert told == {0, 2, 3}
    for index, answer in by_index.items():
        after = heard[heard.index(answer) :]
        assert not [one for one in after if isinstance(one, jury.Progress) and one.index == index]


@pytest.mark.parametrize("way", [by_score, by_ascore, by_score_many, by_ascore_many])
def test_a_callable_that_raises_ends_the_call_and_its_samples(judge: jury.Client, way: Way) -> None:
    calls = []

    def refuse(step: jury.Progress) -> None:
        if step.phase == "drawing":
            calls.append(step)
            raise LookupError("enough")

    with pytest.raises(LookupError, match="enough"):
        way(judge, on_progress=refuse, **ENDLESS)
    assert len(calls) == 1, "nothing is told of a call that has ended"
    while judge.status().requests_running > 0:
        pass


@pytest.mark.parametrize("way", [by_score, by_ascore, by_score_many, by_ascore_many])
def test_what_nobody_would_call_or_await_is_refused(tiny: jury.Client, way: Way) -> None:
    async def nobody_awaits_me(step: jury.Progress) -> None:
        pass

    for unusable in (7, nobody_awaits_me):
        with pytest.raises(TypeError, match="on_progress"):
            way(tiny, on_progress=unusable)
