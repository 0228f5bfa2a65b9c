"""slime by the calls of its published source, since it is in no package registry; AReaL and verifiers without them."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import pytest

import jury
from jury.trainers import Unscored
from jury.trainers.areal import RewardFunction
from jury.trainers.slime import group_reward_function, reward_function
from jury.trainers.verifiers import Scorer
from jury.trainers.verl import compute_score

TOO_LONG = "r" * 9000


@dataclass
class Sample:
    """The fields of slime's ``Sample`` that a reward sees."""

    prompt: str
    response: str
    label: str | None = None
    remove_sample: bool = False


def test_a_group_of_slime_is_judged_together_in_its_order(tiny: jury.Client) -> None:
    samples = [Sample("p", response) for response in ("one", "two", "three")]
    rewards = asyncio.run(group_reward_function(tiny)(None, samples))
    assert rewards == tiny.score("p", ["one", "two", "three"]).rewards
    assert not any(sample.remove_sample for sample in samples)


def test_an_unscored_sample_of_slime_is_removed_and_leaves_the_mean(tiny: jury.Client) -> None:
    # Two panels: the response that is too long leaves the other panel's alone.
    samples = [Sample("p", response) for response in ("one", TOO_LONG, "three", "four")]
    rewards = asyncio.run(group_reward_function(tiny, max_panel=2, min_samples=1, k=4)(None, samples))
    removed = [index for index, sample in enumerate(samples) if sample.remove_sample]
    assert 1 in removed and len(removed) < 4
    scored = [reward for index, reward in enumerate(rewards) if index not in removed]
    assert all(rewards[index] == pytest.approx(sum(scored) / len(scored)) for index in removed)


class Halves(jury.Client):
    """A client that judges each item's responses, but has no time for the first item."""

    def with_settings(self, **settings: Any) -> jury.Client:
        return self

    async def ascore_many(self, items: Any, **settings: Any) -> AsyncIterator[jury.Answer]:
        async for answer in super().ascore_many(items, **settings):
            if answer.index == 0:
                answer = jury.Answer(0, None, jury.Internal("unreadable"))
            yield answer


def test_a_large_group_of_slime_has_one_mean_and_is_trained_on_while_one_is_scored(tiny: jury.Client) -> None:
    client = Halves(tiny.address, k=1, max_critique_tokens=1, min_readout_mass=0, max_panel=2)
    samples = [Sample("p", f"response {number}") for number in range(70)]
    rewards = asyncio.run(group_reward_function(client)(None, samples))
    scored = [reward for reward, sample in zip(rewards, samples) if not sample.remove_sample]
    assert [sample.remove_sample for sample in samples[:35]] == [True] * 35 and scored
    assert rewards[:35] == [pytest.approx(sum(scored) / len(scored))] * 35


def test_the_token_that_ends_a_response_is_not_judged(tiny: jury.Client) -> None:
    expected = tiny.score("p", ["one"]).rewards[0]
    assert asyncio.run(reward_function(tiny)(None, Sample("p", "one<|im_end|>"))) == expected
    assert RewardFunction(tiny)("p", "one<|im_end|>", [1], [2]) == expected
    assert RewardFunction(tiny, end_tokens=["<end>"])("p", "one<end>", [1], [2]) == expected


def test_a_single_sample_of_slime_without_reward_raises(tiny: jury.Client) -> None:
    reward = reward_function(tiny, patience=0)
    assert asyncio.run(reward(None, Sample("p", "one"))) == tiny.score("p", ["one"]).rewards[0]
    with pytest.raises(Unscored, match="too_long"):
        asyncio.run(reward(None, Sample("p", TOO_LONG)))


def test_the_function_of_areal_works_in_a_process_pool(tiny: jury.Client) -> None:
    reward_fn = RewardFunction(tiny)
    assert reward_fn("p", "one", [1], [2], answer="4") == tiny.score("p", ["one"]).rewards[0]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(reward_fn, "p", "one", [1], [2]).result() == reward_fn("p", "one", [1], [2])
    with pytest.raises(Unscored):
        reward_fn("p", TOO_LONG, [1], [2])
    with pytest.raises(ValueError, match="timeout"):
        RewardFunction(tiny, timeout=5)


def test_an_odd_response_takes_the_fallback(tiny: jury.Client) -> None:
    assert RewardFunction(tiny, fallback=0.5)("p", "half \ud83d", [1], [2]) == 0.5
    settings: dict[str, Any] = {"k": 1, "max_critique_tokens": 1, "min_readout_mass": 0}
    called = compute_score("d", "half \ud83d", None, {"question": "p"}, address=tiny.address, fallback=0.5, **settings)
    told = asyncio.run(called)
    assert (told["score"], told["valid"]) == (0.5, 0.0)


def test_the_deadline_for_areal_lies_below_its_own(tiny: jury.Client) -> None:
    for budget in ({}, {"budget": None}):
        options: dict[str, Any] = {"timeout": 15, **budget}
        reward_fn = pickle.loads(pickle.dumps(RewardFunction(tiny.address, **options)))
        assert reward_fn._judge.client._settings["budget"] + 5 < 15


def test_budget_and_patience_for_verifiers_end_below_its_timeout() -> None:
    def limits(**arguments: Any) -> tuple[float | None, float]:
        judge = Scorer("127.0.0.1:1", **arguments)._judge
        return judge.client._settings.get("budget"), judge.patience

    assert limits() == (None, 300.0)
    assert limits(timeout=180) == (174.0, 0.0)
    assert limits(timeout=180, budget=60) == (60, 114.0)
    assert limits(timeout=180, budget=60, patience=10) == (60, 10)
    impossible: list[dict[str, Any]] = [{"timeout": 6}, {"timeout": 180, "budget": 175}]
    for arguments in impossible:
        with pytest.raises(ValueError, match="timeout|budget"):
            Scorer("127.0.0.1:1", **arguments)


@dataclass
class Data:
    prompt_text: str
    answer: str


@dataclass
class Trace:
    last_reply: str


def test_the_last_reply_of_a_trace_of_verifiers_is_judged(tiny: jury.Client) -> None:
    score = Scorer(tiny, reference="answer", patience=0)
    given = asyncio.run(score(Data("p", "4"), Trace("one")))
    assert given == tiny.score({"query": "p", "responses": ["one"], "reference": "4"}).rewards[0]
    with pytest.raises(Unscored):
        asyncio.run(score(Data("p", "4"), Trace(TOO_LONG)))
