"""The installed OpenRLHF's own executor: it loads and calls the reward function, and asks a coordinator over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import jury

pytest.importorskip("openrlhf")

from .cluster import http_judge  # noqa: E402
from .test_trl import TOO_LONG, policy, small  # noqa: E402

__all__ = ["small"]


def rollout(client: jury.Client, folder: Path, prompt: str, options: str = "") -> dict[str, Any]:
    """A rollout that is rewarded by a file."""
    file = folder / "reward.py"
    file.write_text(
        "from jury.trainers.openrlhf import make_reward_func\n"
        f"reward_func = make_reward_func({client.address!r}, k=2, max_critique_tokens=4, min_readout_mass=0,\n"
        f"    patience=0, end_tokens=['</s>'], {options})\n"
    )
    return executed(str(file), prompt)


def executed(remote_url: str, prompt: str) -> dict[str, Any]:
    """A rollout whose engine writes " four" and ends its turn, rewarded by what ``--reward.remote_url`` names."""
    from openrlhf.utils.agent import SingleTurnAgentExecutor

    _, tokenizer = policy()

    class Engine:
        async def generate(self, prompt_ids: Any, parameters: Any, **_: Any) -> Any:
            ids = tokenizer.encode(" four</s>", add_special_tokens=False)
            return SimpleNamespace(outputs=[SimpleNamespace(token_ids=ids, finish_reason="stop", logprobs=None)])

    executor = SingleTurnAgentExecutor(remote_url)
    parameters = SimpleNamespace(max_tokens=8, logprobs=None)
    execute = executor.execute(prompt, "4", parameters, 4096, tokenizer, Engine())
    result: dict[str, Any] = asyncio.run(execute)
    return result


def test_the_response_behind_the_prompt_is_judged(small: jury.Client, tmp_path: Path) -> None:
    told = rollout(small, tmp_path, "two and two?")
    expected = small.score("two and two?", [" four"]).rewards[0]
    assert float(told["reward"]) == pytest.approx(expected)
    assert expected is not None
    assert float(told["scores"]) == pytest.approx((expected - 1) / 9), "its place on 0 to 1, by which groups are filtered"
    assert float(told["extra_logs"]["valid"]) == 1.0


def test_what_is_unscored_has_no_reward_or_the_fallback(small: jury.Client, tmp_path: Path) -> None:
    assert rollout(small, tmp_path, TOO_LONG)["reward"] is None
    assert float(rollout(small, tmp_path, TOO_LONG, "fallback=-1.0")["reward"]) == -1.0


def test_a_query_without_its_prompt_has_the_fallback_and_the_others_are_judged(small: jury.Client) -> None:
    from jury.trainers.openrlhf import make_reward_func

    settings: dict[str, Any] = {"k": 2, "max_critique_tokens": 4, "min_readout_mass": 0}
    queries, prompts = ["a prompt four", "was cut four", "b prompt four"], ["a prompt", "it was cut", "b prompt"]
    told = make_reward_func(small, fallback=1.5, **settings)(queries, prompts, ["", "", ""])
    expected = [small.score(prompt, [" four"], **settings).rewards[0] for prompt in ("a prompt", "b prompt")]
    assert told["rewards"].tolist() == [pytest.approx(expected[0]), 1.5, pytest.approx(expected[1])]
    assert told["extra_logs"]["valid"].tolist() == [1.0, 0.0, 1.0]
    with pytest.raises(jury.JuryError, match="no_response"):
        make_reward_func(small, **settings)(queries, prompts, ["", "", ""])


@pytest.mark.parametrize(
    ("query", "prompt", "response"),
    [
        # Qwen's tokenizers normalise.
        ("Qu\u00e9 es esto? Nada", "Que\u0301 es esto?", " Nada"),
        ("fine \ufb01ve", "\ufb01ne", " \ufb01ve"),
        # SentencePiece drops the first space.
        ("two 4", " two", " 4"),
        ("as it is", "as it is", ""),
        ("cut at its beginning 4", "it was cut at its beginning", None),
    ],
)
def test_the_response_is_what_follows_the_prompt_as_a_tokenizer_gives_it_back(query: str, prompt: str, response: str | None) -> None:
    from jury.trainers.openrlhf import response_of

    assert response_of(query, prompt) == response


@pytest.mark.parametrize(
    ("settings", "share"),
    [({"scale": (0, 1)}, 0.5), ({"scale": {"min": 0, "max": 2}}, 0.25), ({"voting": {"rule": "majority"}}, 0.5), ({}, 0.0)],
)
def test_a_fallback_without_a_verdict_has_its_place_on_the_scale_of_the_settings(
    small: jury.Client, settings: dict[str, Any], share: float
) -> None:
    from jury.trainers.openrlhf import make_reward_func

    told = make_reward_func(small, fallback=0.5, **settings)(["was cut"], ["it was cut"], [""])
    assert told["scores"].tolist() == [share]


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[jury.LocalClient, str]]:
    """A judge, and the URL of its ``/get_reward``."""
    with http_judge(tmp_path_factory.mktemp("remote"), k=2, max_critique_tokens=4, min_readout_mass=0) as (judge, url):
        yield judge, f"{url}/get_reward?k=2&max_critique_tokens=4&min_readout_mass=0&trim=%3C%2Fs%3E"


def test_openrlhf_asks_get_reward_over_http(remote: tuple[jury.LocalClient, str]) -> None:
    judge, url = remote
    told = executed(url, "two and two?")
    expected = judge.score({"query": "two and two?", "responses": [" four"], "reference": "4"}).rewards[0]
    assert expected is not None
    # Lists of one, as OpenRLHF's own server of reward models answers.
    assert told["reward"] == [expected]
    assert told["scores"] == [pytest.approx((expected - 1) / 9)]
    assert told["extra_logs"]["valid"] == 1.0
    assert all(isinstance(value, (int, float)) for value in told["extra_logs"].values())


def test_without_a_reward_over_http_openrlhf_has_none_or_the_number_that_was_named(
    remote: tuple[jury.LocalClient, str],
) -> None:
    _, url = remote
    assert executed(url, TOO_LONG)["reward"] is None
    named = executed(f"{url}&unscored=-1", TOO_LONG)
    assert named["reward"] == [-1.0] and named["extra_logs"]["valid"] == 0.0
    assert named["extra_logs"].keys() == executed(url, "two and two?")["extra_logs"].keys()
