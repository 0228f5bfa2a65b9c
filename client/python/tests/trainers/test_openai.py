"""The facade of a reward model, asked by the installed client of OpenAI's API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import jury

pytest.importorskip("openai")

from .cluster import http_judge  # noqa: E402

SETTINGS: dict[str, Any] = {"k": 2, "max_critique_tokens": 4, "min_readout_mass": 0}
QUESTION: jury.Turn = {"role": "user", "content": "two and two?"}


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[jury.LocalClient, Any]]:
    """A judge, and OpenAI's client of it."""
    from openai import DefaultHttpxClient, OpenAI

    with http_judge(tmp_path_factory.mktemp("openai"), **SETTINGS) as (judge, url):
        # httpx would call loopback over the proxy of the environment.
        client = DefaultHttpxClient(trust_env=False)
        yield judge, OpenAI(base_url=f"{url}/v1", api_key="none", http_client=client, max_retries=0)


def ask(client: Any, response: str, **more: Any) -> Any:
    messages = [QUESTION, {"role": "assistant", "content": response}]
    query = {"k": 2, "min_readout_mass": 0, **more.pop("extra_query", {})}
    return client.chat.completions.create(model="jury", messages=messages, max_tokens=4, extra_query=query, **more)


def test_the_answer_is_the_reward_and_brings_the_verdict(remote: tuple[jury.LocalClient, Any]) -> None:
    judge, client = remote
    answer = ask(client, "four")
    expected = judge.score([QUESTION], ["four"])
    reward = expected.rewards[0]
    choice = answer.choices[0]
    assert reward is not None and choice.message.role == "assistant" and choice.finish_reason == "stop"
    assert float(choice.message.content.removeprefix("reward:")) == reward
    assert answer.verdict["rewards"] == expected.rewards
    assert answer.usage.completion_tokens == expected.usage.generated_tokens
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    seeded = ask(client, "four", seed=7, temperature=1.0)
    assert seeded.verdict["provenance"]["seed"] == 7
    assert seeded.verdict["provenance"]["settings"]["temperature"] == 1.0


def test_what_has_no_reward_is_an_error_of_the_client(remote: tuple[jury.LocalClient, Any]) -> None:
    import openai

    _, client = remote
    with pytest.raises(openai.UnprocessableEntityError, match="too_long"):
        ask(client, "r" * 9000)
    assert ask(client, "r" * 9000, extra_query={"unscored": -1}).choices[0].message.content == "reward:-1"


def test_what_a_reward_model_does_not_do_is_refused(remote: tuple[jury.LocalClient, Any]) -> None:
    import openai

    _, client = remote
    for unknown in ({"stream": True}, {"n": 2}):
        with pytest.raises(openai.BadRequestError):
            ask(client, "four", **unknown)
